//! What the host decides about the page: words, links, addresses, style.

use std::collections::BTreeMap;

/// The host's words and addresses. The defaults are neutral and suit the routes of the README.
///
/// Texts and addresses are escaped, so any text is safe to show. Addresses that the page itself
/// loads ([`admin_api`](Self::admin_api), [`stylesheet`](Self::stylesheet)) must be of the same
/// origin; browsers refuse others, because the page's policy does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PageConfig {
    pub(super) product: String,
    pub(super) tenant: String,
    pub(super) admins: String,
    pub(super) support: String,
    pub(super) support_url: Option<String>,
    pub(super) documentation: BTreeMap<String, String>,
    pub(super) sign_in_url: String,
    pub(super) admin_api: String,
    pub(super) mount_path: Option<String>,
    pub(super) stylesheet: Option<String>,
}

impl Default for PageConfig {
    fn default() -> Self {
        Self {
            product: "Settings".to_owned(),
            tenant: "organization".to_owned(),
            admins: "Admins".to_owned(),
            support: "support".to_owned(),
            support_url: None,
            documentation: BTreeMap::new(),
            sign_in_url: "/sign-in".to_owned(),
            admin_api: "/api-access/v1".to_owned(),
            mount_path: None,
            stylesheet: None,
        }
    }
}

impl PageConfig {
    /// The product's name, in the bar on top and in the window's title; default `Settings`.
    #[must_use]
    pub fn product(mut self, name: &str) -> Self {
        name.clone_into(&mut self.product);
        self
    }

    /// The word for one tenant, such as `practice`; default `organization`.
    #[must_use]
    pub fn tenant(mut self, noun: &str) -> Self {
        noun.clone_into(&mut self.tenant);
        self
    }

    /// The word for those who may manage keys, in the plural, such as `Practice Admins`; default
    /// `Admins`.
    #[must_use]
    pub fn admins(mut self, plural: &str) -> Self {
        plural.clone_into(&mut self.admins);
        self
    }

    /// Whom to ask, as it reads after "contact", and the address that it links to; default
    /// `support`, without a link.
    #[must_use]
    pub fn support(mut self, who: &str, url: Option<&str>) -> Self {
        who.clone_into(&mut self.support);
        self.support_url = url.map(str::to_owned);
        self
    }

    /// Where the scopes of one API type are documented. `api_type` is its id in the catalogue;
    /// an unknown one is never shown.
    #[must_use]
    pub fn documentation(mut self, api_type: &str, url: &str) -> Self {
        self.documentation
            .insert(api_type.to_owned(), url.to_owned());
        self
    }

    /// Where people sign in; default `/sign-in`.
    #[must_use]
    pub fn sign_in_url(mut self, url: &str) -> Self {
        url.clone_into(&mut self.sign_in_url);
        self
    }

    /// Where [`admin_router`](crate::admin_router) is nested; default `/api-access/v1`.
    #[must_use]
    pub fn admin_api(mut self, path: &str) -> Self {
        path.trim_end_matches('/').clone_into(&mut self.admin_api);
        self
    }

    /// The page's own path as browsers see it. Needed only behind a proxy that changes paths; by
    /// default it is the path of each request.
    #[must_use]
    pub fn mount_path(mut self, path: &str) -> Self {
        self.mount_path = Some(path.to_owned());
        self
    }

    /// A stylesheet of the host's, loaded last. Every rule of the page's own sheet is in a cascade
    /// layer, so any rule here wins; mostly it sets the custom properties `--ca-…`.
    #[must_use]
    pub fn stylesheet(mut self, url: &str) -> Self {
        self.stylesheet = Some(url.to_owned());
        self
    }
}
