//! The markup that the server sends: one frame, and its content per state. The template macro
//! escapes every value.

use credential_core::{
    ScopeCatalog,
    catalog::{ApiType, ScopeKind},
    id::Environment,
};
use maud::{DOCTYPE, Markup, html};
use serde_json::{Value, json};

use super::{
    asset::{self, Asset, When},
    config::{PageConfig, ShownNames},
    words::Words,
};

/// The state that is shown, decided by the actor.
#[derive(Debug, Clone, Copy)]
pub(super) enum View<'a> {
    SignedOut,
    NotAdmin,
    Unavailable,
    Admin(Admin<'a>),
}

/// The parts of an admin's page.
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

/// Which page it is.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place<'a> {
    /// The page's own path without a trailing slash.
    pub(super) mount: &'a str,
    /// The key whose page it is, as its address spells it; `None` for the list.
    pub(super) key: Option<&'a str>,
}

/// The whole document.
pub(super) fn render(
    config: &PageConfig,
    words: &Words,
    place: Place<'_>,
    view: View<'_>,
) -> Markup {
    let say = |key| words.say(key, &[]);
    html! {
        (DOCTYPE)
        html lang=(words.lang()) dir=(words.dir()) {
            (head(config, words, place, view))
            body {
                a class="skip" href="#main" { (say("skip")) }
                header class="bar" {
                    div {
                        span class="product" { (config.product) }
                        @if !config.links.is_empty() {
                            nav aria-label=(say("navigation")) {
                                @for (label, url) in &config.links { a href=(url) { (label) } }
                            }
                        }
                    }
                }
                main id="main" tabindex="-1" {
                    @match view {
                        View::Admin(view) => (admin(config, words, place, view)),
                        View::SignedOut => (lone(config, words, "signed_out", true)),
                        View::NotAdmin => (lone(config, words, "not_admin", false)),
                        View::Unavailable => (lone(config, words, "page.unavailable", false)),
                    }
                }
            }
        }
    }
}

fn head(config: &PageConfig, words: &Words, place: Place<'_>, view: View<'_>) -> Markup {
    let asset = |name: &str| format!("{}/assets/{}/{name}", place.mount, *asset::VERSION);
    let (own, start) = match place.key {
        None => (When::List, "main.js"),
        Some(_) => (When::KeyPage, "key.js"),
    };
    let is_first = |file: &&Asset| file.is_module() && [When::Start, own].contains(&file.when);
    html! {
        head {
            meta charset="utf-8";
            meta name="viewport" content="width=device-width, initial-scale=1";
            meta name="color-scheme" content="light dark";
            title { (words.say("title", &[])) " · " (config.product) }
            link rel="icon" type="image/svg+xml" href=(asset("icon.svg"));
            link rel="stylesheet" href=(asset("page.css"));
            @if let Some(url) = &config.stylesheet { link rel="stylesheet" href=(url); }
            @if let View::Admin(_) = view {
                @for file in asset::FILES.iter().filter(is_first) {
                    link rel="modulepreload" href=(asset(file.name));
                }
                script src=(asset(asset::WATCH)) async {}
                script type="module" src=(asset(start)) {}
            }
        }
    }
}

/// A page of one sentence, and a link to sign in if that helps.
fn lone(config: &PageConfig, words: &Words, sentence: &str, sign_in: bool) -> Markup {
    let values = [
        ("tenant", html! { (config.tenant) }),
        ("admins", html! { (config.admins) }),
    ];
    html! {
        div class="lone" {
            h1 { (words.say("title", &[])) }
            p { (words.say(sentence, &values)) }
            @if sign_in {
                p {
                    a class="button primary" href=(config.sign_in_url) {
                        (words.say("sign_in", &[]))
                    }
                }
            }
        }
    }
}

fn admin(config: &PageConfig, words: &Words, place: Place<'_>, view: Admin<'_>) -> Markup {
    let values = [
        ("tenant", html! { (config.tenant) }),
        ("support", support(config)),
        ("tenantName", html! { bdi { (view.names.tenant) } }),
        ("personName", html! { bdi { (view.names.person) } }),
    ];
    html! {
        div id="app" data-settings=(settings(config, words, place, view)) {
            @match place.key {
                None => (top(words, view, &values)),
                Some(_) => (way_back(words, place, view, &values)),
            }
            @if !view.self_service {
                div class="note" role="note" { p { (words.say("self_service_off", &values)) } }
            }
            noscript { div class="note warn" { p { (words.say("page.no_script", &values)) } } }
            (incomplete(config, words))
            div id="root" {
                @if place.key.is_none() {
                    div id="list" { p class="muted loading" { (words.say("list.loading", &values)) } }
                } @else {
                    div id="key" { h1 { (words.say("title", &values)) } }
                }
            }
            @if view.self_service && place.key.is_none() { (advice(words, &values)) }
        }
    }
}

/// The heading of the list, and what its keys are.
fn top(words: &Words, view: Admin<'_>, values: &[(&str, Markup)]) -> Markup {
    let say = |key| words.say(key, values);
    let note = match view.environment {
        Environment::Sandbox => "sandbox.note",
        Environment::Production => "production.note",
    };
    html! {
        div class="top" {
            div {
                div class="title" { h1 tabindex="-1" { (say("title")) } (environment(words, view)) }
                p class="who" { (say("who")) }
                p class="lead" { (say("lead")) }
                @if view.self_service && !words.is_empty(note) {
                    p class="lead" { (say(note)) }
                }
            }
            div id="actions" {}
        }
    }
}

/// Above a key: the way to the list, and for whom the page is.
fn way_back(words: &Words, place: Place<'_>, view: Admin<'_>, values: &[(&str, Markup)]) -> Markup {
    let list = if place.mount.is_empty() {
        "/"
    } else {
        place.mount
    };
    html! {
        div class="way" {
            nav aria-label=(words.say("way", &[])) {
                a href=(list) { (words.say("title", &[])) }
            }
            span { (words.say("who", values)) } (environment(words, view))
        }
    }
}

fn environment(words: &Words, view: Admin<'_>) -> Markup {
    html! {
        @if let Environment::Sandbox = view.environment {
            span class="badge" { (words.say("sandbox", &[])) }
        }
    }
}

/// The settings for the page's scripts.
fn settings(config: &PageConfig, words: &Words, place: Place<'_>, view: Admin<'_>) -> String {
    json!({
        "base": place.mount,
        "key": place.key,
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
    })
    .to_string()
}

/// Where the page says that its scripts did not load. The words are texts, so no link stands in them.
fn incomplete(config: &PageConfig, words: &Words) -> Markup {
    let support = [("support", html! { (config.support) })];
    html! {
        div id="incomplete" role="alert"
            data-words=(words.say("page.incomplete", &support))
            data-reload=(words.say("page.reload", &[])) {}
    }
}

fn advice(words: &Words, values: &[(&str, Markup)]) -> Markup {
    let pieces = [
        ("advice.store", "advice.store.rest"),
        ("advice.one", "advice.one.rest"),
        ("advice.delete", "advice.delete.rest"),
        ("advice.integrations", "advice.integrations.rest"),
    ];
    let say = |key| words.say(key, values);
    html! {
        section class="advice" aria-labelledby="advice" {
            h2 id="advice" { (say("advice")) }
            ul {
                @for (lead, rest) in pieces {
                    @if !words.is_empty(lead) {
                        li { strong { (say(lead)) } " " (say(rest)) }
                    }
                }
            }
        }
    }
}

/// The support contact, with a link if there is one.
fn support(config: &PageConfig) -> Markup {
    html! {
        @match &config.support_url {
            Some(url) => a href=(url) { (config.support) },
            None => (config.support),
        }
    }
}

/// What the page must know of each API type before it has the catalogue, and what the catalogue's JSON does
/// not say: which scopes exclude others or need company, and where the scopes are documented.
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
            "id": api_type.id().as_str(),
            "label": api_type.label(),
            "description": api_type.description(),
            "documentation": config.documentation.get(api_type.id().as_str()),
            "fullAccessExcludes": match (full, resource) {
                (Some(full), Some(resource)) => refused(&[full, &resource.name]),
                _ => false,
            },
            "onBehalfNeedsCompany": on_behalf.is_some_and(|scope| refused(&[&scope.name])),
        })
    };
    let api_types = catalog.api_types().iter();
    api_types.map(|api_type| rules(api_type)).collect()
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
            let place = Place {
                mount: hostile,
                key: Some(hostile),
            };
            let page = render(&config, &words, place, view).into_string();
            assert!(!page.contains("<script>"), "{page}");
            assert!(!page.contains("alert('&')"), "{page}");
            assert!(page.contains("&quot;&gt;&lt;script&gt;"), "{page}");
        }
    }

    #[test]
    fn the_rules_of_each_api_type_are_told() {
        let config = PageConfig::default().documentation("fhir", "https://docs.example.org");
        let found = api_types(&ScopeCatalog::elation(), &config);
        let expected = json!([
            {
                "id": "apiv2",
                "label": "Elation APIv2",
                "description": found[0]["description"],
                "documentation": null,
                "fullAccessExcludes": true,
                "onBehalfNeedsCompany": true,
            },
            {
                "id": "fhir",
                "label": "FHIR",
                "description": found[1]["description"],
                "documentation": "https://docs.example.org",
                "fullAccessExcludes": false,
                "onBehalfNeedsCompany": false,
            },
        ]);
        assert_eq!(found, expected);
    }
}
