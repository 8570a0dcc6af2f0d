//! The markup that the server sends: one frame, and what stands in it per state.

use std::fmt::{self, Display, Write as _};

use credential_core::{
    ScopeCatalog,
    catalog::{ApiType, ScopeKind},
    id::Environment,
};
use serde_json::{Value, json};

use super::{asset, config::PageConfig};

/// What is shown, decided by who asks.
#[derive(Debug, Clone, Copy)]
pub(super) enum View<'a> {
    SignedOut,
    NotAdmin,
    Unavailable,
    Admin {
        environment: Environment,
        self_service: bool,
        api_types: &'a Value,
    },
}

/// The whole document. `mount` is the page's own path without a trailing slash.
pub(super) fn render(config: &PageConfig, mount: &str, view: View<'_>) -> String {
    let assets = format!("{mount}/assets/{}", *asset::VERSION);
    let assets = Escaped(&assets);
    let product = Escaped(&config.product);
    let mut page = format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta name=\"color-scheme\" content=\"light dark\">\n\
         <title>API Access · {product}</title>\n\
         <link rel=\"icon\" type=\"image/svg+xml\" href=\"{assets}/icon.svg\">\n\
         <link rel=\"stylesheet\" href=\"{assets}/page.css\">\n"
    );
    if let Some(url) = &config.stylesheet {
        put(
            &mut page,
            format_args!("<link rel=\"stylesheet\" href=\"{}\">\n", Escaped(url)),
        );
    }
    if matches!(view, View::Admin { .. }) {
        for file in asset::FILES.iter().filter(|file| file.is_module()) {
            put(
                &mut page,
                format_args!(
                    "<link rel=\"modulepreload\" href=\"{assets}/{}\">\n",
                    file.name
                ),
            );
        }
        put(
            &mut page,
            format_args!("<script type=\"module\" src=\"{assets}/main.js\"></script>\n"),
        );
    }
    put(
        &mut page,
        format_args!(
            "</head>\n<body>\n<a class=\"skip\" href=\"#main\">Skip to content</a>\n\
             <header class=\"bar\"><span class=\"product\">{product}</span></header>\n\
             <main id=\"main\" tabindex=\"-1\">\n"
        ),
    );
    body(&mut page, config, view);
    page.push_str("</main>\n</body>\n</html>\n");
    page
}

fn body(page: &mut String, config: &PageConfig, view: View<'_>) {
    let tenant = Escaped(&config.tenant);
    match view {
        View::SignedOut => put(
            page,
            format_args!(
                "<div class=\"lone\"><h1>API Access</h1>\n<p>Sign in to manage the API keys of \
                 your {tenant}.</p>\n<p><a class=\"button primary\" href=\"{}\">Sign in</a></p></div>\n",
                Escaped(&config.sign_in_url)
            ),
        ),
        View::NotAdmin => put(
            page,
            format_args!(
                "<div class=\"lone\"><h1>API Access</h1>\n<p>Only {} manage the API keys of your \
                 {tenant}.</p></div>\n",
                Escaped(&config.admins)
            ),
        ),
        View::Unavailable => page.push_str(
            "<div class=\"lone\"><h1>API Access</h1>\n<p>This page is not available right now. \
             Your API keys keep working. Try again in a moment.</p></div>\n",
        ),
        View::Admin {
            environment,
            self_service,
            api_types,
        } => admin(page, config, environment, self_service, api_types),
    }
}

fn admin(
    page: &mut String,
    config: &PageConfig,
    environment: Environment,
    self_service: bool,
    api_types: &Value,
) {
    let tenant = Escaped(&config.tenant);
    let settings = json!({
        "api": config.admin_api,
        "apiTypes": api_types,
        "selfService": self_service,
        "signInUrl": config.sign_in_url,
        "support": config.support,
        "supportUrl": config.support_url,
        "tenant": config.tenant,
    });
    let badge = match environment {
        Environment::Sandbox => "<span class=\"badge\">Sandbox</span>",
        Environment::Production => "",
    };
    put(
        page,
        format_args!(
            "<div id=\"app\" data-settings=\"{}\">\n<div class=\"top\"><div>\
             <div class=\"title\"><h1 tabindex=\"-1\">API Access</h1>{badge}</div>\n\
             <p class=\"lead\">API keys let other software reach the data of your {tenant}. Each \
             key can do only what its scopes allow.</p></div>\n\
             <div id=\"actions\"></div></div>\n",
            Escaped(&settings.to_string())
        ),
    );
    let support = Support(config);
    if !self_service {
        put(
            page,
            format_args!(
                "<div class=\"note\" role=\"note\"><p>API keys cannot be created or changed here. \
                 To create, change or revoke a key, contact {support}.</p></div>\n"
            ),
        );
    }
    page.push_str(
        "<noscript><div class=\"note warn\"><p>This page needs JavaScript.</p></div></noscript>\n\
         <div id=\"status\" role=\"status\"></div>\n\
         <div id=\"list\"><p class=\"muted loading\">Loading API keys…</p></div>\n",
    );
    if self_service {
        put(
            page,
            format_args!(
                "<section class=\"advice\" aria-labelledby=\"advice\"><h2 id=\"advice\">Keep keys \
                 safe</h2>\n<ul>\
                 <li><strong>Store secrets in a secrets manager</strong>, never in code, e-mail or \
                 chat.</li>\
                 <li><strong>One key per integration</strong>, with the narrowest scopes that \
                 work.</li>\
                 <li><strong>In doubt, delete the key.</strong> It stops working at once.</li>\
                 <li><strong>A named vendor or lab integration?</strong> It is set up for you: \
                 contact {support}.</li></ul></section>\n"
            ),
        );
    }
    page.push_str("</div>\n");
}

/// What the page must know of each API type and the catalogue's JSON does not say: which scopes
/// exclude others or need company, and where the scopes are documented.
pub(super) fn api_types(catalog: &ScopeCatalog, config: &PageConfig) -> Value {
    let rules = |api_type: &ApiType| {
        let refused = |names: &[&str]| {
            let set = api_type.resolve(names.iter().copied());
            api_type.check(&set).is_err()
        };
        let full = api_type.full_access().map(|scope| scope.name.as_str());
        let mut scopes = api_type.scopes();
        let resource = scopes.find(|scope| scope.kind == ScopeKind::Resource);
        let on_behalf = api_type.on_behalf_of();
        let on_behalf = on_behalf.and_then(|rule| api_type.scope_at(rule.scope));
        json!({
            "documentation": config.documentation.get(api_type.id().as_str()),
            "fullAccessExcludes": match (full, resource) {
                (Some(full), Some(resource)) => refused(&[full, &resource.name]),
                _ => false,
            },
            "onBehalfNeedsCompany": on_behalf.is_some_and(|scope| refused(&[&scope.name])),
        })
    };
    catalog
        .api_types()
        .iter()
        .map(|api_type| (api_type.id().as_str().to_owned(), rules(api_type)))
        .collect()
}

/// Whom to ask, with a link if there is one.
struct Support<'a>(&'a PageConfig);

impl Display for Support<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let who = Escaped(&self.0.support);
        match &self.0.support_url {
            Some(url) => write!(f, "<a href=\"{}\">{who}</a>", Escaped(url)),
            None => write!(f, "{who}"),
        }
    }
}

/// Text as it may stand in an element or a quoted attribute.
struct Escaped<'a>(&'a str);

impl Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for char in self.0.chars() {
            match char {
                '&' => f.write_str("&amp;")?,
                '<' => f.write_str("&lt;")?,
                '>' => f.write_str("&gt;")?,
                '"' => f.write_str("&quot;")?,
                '\'' => f.write_str("&#39;")?,
                char => f.write_char(char)?,
            }
        }
        Ok(())
    }
}

/// Writing to a `String` cannot fail.
fn put(page: &mut String, text: fmt::Arguments<'_>) {
    let _ = page.write_fmt(text);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_host_says_is_text_not_markup() {
        let hostile = "\"><script>alert('&')</script>";
        let config = PageConfig::default()
            .product(hostile)
            .tenant(hostile)
            .admins(hostile)
            .support(hostile, Some(hostile))
            .documentation("apiv2", hostile)
            .sign_in_url(hostile)
            .admin_api(hostile)
            .stylesheet(hostile);
        let api_types = api_types(&ScopeCatalog::elation(), &config);
        let admin = View::Admin {
            environment: Environment::Sandbox,
            self_service: false,
            api_types: &api_types,
        };
        for view in [View::SignedOut, View::NotAdmin, View::Unavailable, admin] {
            let page = render(&config, hostile, view);
            assert!(!page.contains("<script>"), "{page}");
            assert!(!page.contains("alert('"), "{page}");
            assert!(page.contains("&quot;&gt;&lt;script&gt;"), "{page}");
        }
    }

    #[test]
    fn the_rules_of_each_api_type_are_told() {
        let config = PageConfig::default().documentation("fhir", "https://docs.example.org");
        let found = api_types(&ScopeCatalog::elation(), &config);
        let expected = json!({
            "apiv2": {
                "documentation": null,
                "fullAccessExcludes": true,
                "onBehalfNeedsCompany": true,
            },
            "fhir": {
                "documentation": "https://docs.example.org",
                "fullAccessExcludes": false,
                "onBehalfNeedsCompany": false,
            },
        });
        assert_eq!(found, expected);
    }
}
