//! The host's settings of the page: words, links, addresses, style.

use std::{collections::BTreeMap, fmt, sync::Arc};

use credential_core::actor::Actor;
use http::request::Parts;

use super::words::Words;

/// The host's words and addresses. The defaults are neutral and suit the routes of the README.
///
/// Texts and addresses are escaped, so any text is safe to show. Addresses that the page itself
/// loads ([`admin_api`](Self::admin_api), [`stylesheet`](Self::stylesheet)) must be of the same
/// origin; browsers refuse others, because the page's policy does.
#[derive(Debug, Clone)]
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
    pub(super) links: Vec<(String, String)>,
    words: PerRequest<ChooseWords>,
    names: PerRequest<ChooseNames>,
}

/// The names of the tenant and of the signed-in person on the page.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ShownNames {
    /// The tenant's name, such as `Alder Family Practice`.
    pub tenant: String,
    /// The person's name.
    pub person: String,
}

type ChooseWords = dyn Fn(&Parts) -> Option<Arc<Words>> + Send + Sync;
type ChooseNames = dyn Fn(&Parts, &Actor) -> Option<ShownNames> + Send + Sync;

/// What the host decides anew for each request.
struct PerRequest<F: ?Sized>(Option<Arc<F>>);

impl<F: ?Sized> Clone for PerRequest<F> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<F: ?Sized> fmt::Debug for PerRequest<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_some() { "given" } else { "default" })
    }
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
            links: Vec::new(),
            words: PerRequest(None),
            names: PerRequest(None),
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

    /// The support contact, in the words that follow "contact", and the address that it links to;
    /// default `support`, without a link.
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

    /// A link in the bar on top, such as back to the host's settings; may be called again.
    #[must_use]
    pub fn link(mut self, label: &str, url: &str) -> Self {
        self.links.push((label.to_owned(), url.to_owned()));
        self
    }

    /// The page's sentences, chosen anew for each request, for example by a language that the host
    /// knows or by `Accept-Language`. `None`: English.
    ///
    /// A host with one table says `.words(move |_| Some(table.clone()))`.
    #[must_use]
    pub fn words(
        mut self,
        choose: impl Fn(&Parts) -> Option<Arc<Words>> + Send + Sync + 'static,
    ) -> Self {
        self.words = PerRequest(Some(Arc::new(choose)));
        self
    }

    /// How the page calls the tenant and the person; by default, and for `None`, by their ids.
    #[must_use]
    pub fn names(
        mut self,
        names: impl Fn(&Parts, &Actor) -> Option<ShownNames> + Send + Sync + 'static,
    ) -> Self {
        self.names = PerRequest(Some(Arc::new(names)));
        self
    }

    pub(super) fn words_for(&self, parts: &Parts) -> Arc<Words> {
        let chosen = self.words.0.as_ref().and_then(|choose| choose(parts));
        chosen.unwrap_or_default()
    }

    pub(super) fn names_for(&self, parts: &Parts, actor: &Actor) -> ShownNames {
        let names = self.names.0.as_ref().and_then(|names| names(parts, actor));
        names.unwrap_or_else(|| ShownNames {
            tenant: actor.tenant.as_str().to_owned(),
            person: actor.id.as_str().to_owned(),
        })
    }
}
