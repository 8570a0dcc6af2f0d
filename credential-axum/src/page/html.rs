//! The markup that the server sends: one frame, and what stands in it per state.

use std::fmt::{self, Display, Write as _};

use credential_core::{
    ScopeCatalog,
    catalog::{ApiType, ScopeKind},
    id::Environment,
};
use serde_json::{Value, json};

use super::{
    asset,
    config::{PageConfig, ShownNames},
    words::Words,
};

/// What is shown, decided by who asks.
#[derive(Debug, Clone, Copy)]
pub(super) enum View<'a> {
    SignedOut,
    NotAdmin,
    Unavailable,
    Admin(Admin<'a>),
}

/// What an admin's page is made of.
#[derive(Debug, Clone, Copy)]
pub(super) struct Admin<'a> {
    pub(super) environment: Environment,
    pub(super) self_service: bool,
    pub(super) api_types: &'a Value,
    /// Who is signed in, as the audit trail names them.
    pub(super) actor: &'a str,
    /// What the page sends as `X-Expected-Tenant`.
    pub(super) expected_tenant: &'a str,
    pub(super) names: &'a ShownNames,
}

/// The whole document. `mount` is the page's own path without a trailing slash.
pub(super) fn render(config: &PageConfig, words: &Words, mount: &str, view: View<'_>) -> String {
    let assets = format!("{mount}/assets/{}", *asset::VERSION);
    let assets = Escaped(&assets);
    let product = Escaped(&config.product);
    let title = words.html("title", &[]);
    let mut page = format!(
        "<!doctype html>\n<html lang=\"{}\" dir=\"{}\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta name=\"color-scheme\" content=\"light dark\">\n\
         <title>{title} · {product}</title>\n\
         <link rel=\"icon\" type=\"image/svg+xml\" href=\"{assets}/icon.svg\">\n\
         <link rel=\"stylesheet\" href=\"{assets}/page.css\">\n",
        Escaped(words.lang()),
        words.dir(),
    );
    if let Some(url) = &config.stylesheet {
        put(
            &mut page,
            format_args!("<link rel=\"stylesheet\" href=\"{}\">\n", Escaped(url)),
        );
    }
    if matches!(view, View::Admin(_)) {
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
            format_args!(
                "<script src=\"{assets}/{}\" async></script>\n\
                 <script type=\"module\" src=\"{assets}/main.js\"></script>\n",
                asset::WATCH
            ),
        );
    }
    put(
        &mut page,
        format_args!(
            "</head>\n<body>\n<a class=\"skip\" href=\"#main\">{}</a>\n\
             <header class=\"bar\"><div><span class=\"product\">{product}</span>",
            words.html("skip", &[])
        ),
    );
    if !config.links.is_empty() {
        put(
            &mut page,
            format_args!("<nav aria-label=\"{}\">", words.html("navigation", &[])),
        );
        for (label, url) in &config.links {
            put(
                &mut page,
                format_args!("<a href=\"{}\">{}</a>", Escaped(url), Escaped(label)),
            );
        }
        page.push_str("</nav>");
    }
    page.push_str("</div></header>\n<main id=\"main\" tabindex=\"-1\">\n");
    body(&mut page, config, words, view);
    page.push_str("</main>\n</body>\n</html>\n");
    page
}

fn body(page: &mut String, config: &PageConfig, words: &Words, view: View<'_>) {
    let tenant = Escaped(&config.tenant).to_string();
    let admins = Escaped(&config.admins).to_string();
    let values = [("tenant", &*tenant), ("admins", &*admins)];
    let (key, link) = match view {
        View::SignedOut => ("signed_out", true),
        View::NotAdmin => ("not_admin", false),
        View::Unavailable => ("page.unavailable", false),
        View::Admin(view) => return admin(page, config, words, view),
    };
    put(
        page,
        format_args!(
            "<div class=\"lone\"><h1>{}</h1>\n<p>{}</p>",
            words.html("title", &[]),
            words.html(key, &values)
        ),
    );
    if link {
        put(
            page,
            format_args!(
                "\n<p><a class=\"button primary\" href=\"{}\">{}</a></p>",
                Escaped(&config.sign_in_url),
                words.html("sign_in", &[])
            ),
        );
    }
    page.push_str("</div>\n");
}

fn admin(page: &mut String, config: &PageConfig, words: &Words, view: Admin<'_>) {
    let [tenant, tenant_name, person_name] =
        [&config.tenant, &view.names.tenant, &view.names.person].map(|text| Escaped(text));
    let tenant = tenant.to_string();
    let support = Support(config).to_string();
    let [tenant_name, person_name] =
        [tenant_name, person_name].map(|name| format!("<bdi>{name}</bdi>"));
    let values = [
        ("tenant", &*tenant),
        ("support", &*support),
        ("tenantName", &*tenant_name),
        ("personName", &*person_name),
    ];
    let say = |key| words.html(key, &values);
    let settings = json!({
        "actor": view.actor,
        "admins": config.admins,
        "api": config.admin_api,
        "apiTypes": view.api_types,
        "expectedTenant": view.expected_tenant,
        "selfService": view.self_service,
        "signInUrl": config.sign_in_url,
        "support": config.support,
        "supportUrl": config.support_url,
        "tenant": config.tenant,
        "lang": words.lang(),
        "words": words.own(),
    });
    let (badge, note) = match view.environment {
        Environment::Sandbox => (
            format!("<span class=\"badge\">{}</span>", say("sandbox")),
            "sandbox.note",
        ),
        Environment::Production => (String::new(), "production.note"),
    };
    put(
        page,
        format_args!(
            "<div id=\"app\" data-settings=\"{}\">\n<div class=\"top\"><div>\
             <div class=\"title\"><h1 tabindex=\"-1\">{}</h1>{badge}</div>\n\
             <p class=\"who\">{}</p>\n<p class=\"lead\">{}</p>\n",
            Escaped(&settings.to_string()),
            say("title"),
            say("who"),
            say("lead"),
        ),
    );
    if view.self_service && !words.is_empty(note) {
        put(page, format_args!("<p class=\"lead\">{}</p>\n", say(note)));
    }
    page.push_str("</div>\n<div id=\"actions\"></div></div>\n");
    if !view.self_service {
        put(
            page,
            format_args!(
                "<div class=\"note\" role=\"note\"><p>{}</p></div>\n",
                say("self_service_off")
            ),
        );
    }
    put(
        page,
        format_args!(
            "<noscript><div class=\"note warn\"><p>{}</p></div></noscript>\n\
             <div id=\"incomplete\" role=\"alert\" data-words=\"{}\" data-reload=\"{}\"></div>\n\
             <div id=\"root\"><div id=\"list\"><p class=\"muted loading\">{}</p></div></div>\n",
            say("page.no_script"),
            words.html(
                "page.incomplete",
                &[("support", &Escaped(&config.support).to_string())]
            ),
            say("page.reload"),
            say("list.loading"),
        ),
    );
    if view.self_service {
        put(
            page,
            format_args!(
                "<section class=\"advice\" aria-labelledby=\"advice\"><h2 id=\"advice\">{}</h2>\n<ul>",
                say("advice")
            ),
        );
        let advice = [
            ("advice.store", "advice.store.rest"),
            ("advice.one", "advice.one.rest"),
            ("advice.delete", "advice.delete.rest"),
            ("advice.integrations", "advice.integrations.rest"),
        ];
        for (lead, rest) in advice {
            if !words.is_empty(lead) {
                put(
                    page,
                    format_args!("<li><strong>{}</strong> {}</li>", say(lead), say(rest)),
                );
            }
        }
        page.push_str("</ul></section>\n");
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
pub(super) struct Escaped<'a>(pub(super) &'a str);

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
            .stylesheet(hostile)
            .link(hostile, hostile);
        let api_types = api_types(&ScopeCatalog::elation(), &config);
        let names = ShownNames {
            tenant: hostile.to_owned(),
            person: hostile.to_owned(),
        };
        let admin = View::Admin(Admin {
            environment: Environment::Sandbox,
            self_service: false,
            api_types: &api_types,
            actor: hostile,
            expected_tenant: hostile,
            names: &names,
        });
        let json = serde_json::json!({ "sign_in": hostile, "title": hostile }).to_string();
        let words = Words::parse("en", &json).unwrap();
        for view in [View::SignedOut, View::NotAdmin, View::Unavailable, admin] {
            let page = render(&config, &words, hostile, view);
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
