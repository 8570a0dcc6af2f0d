//! The document as a page for people, made on the server: no script, nothing from elsewhere. The template
//! macro escapes every value.

mod schema;

use maud::{DOCTYPE, Markup, html};
use serde_json::{Map, Value};

use self::schema::{fields, kind};

/// Beside the page, as `docs/docs.css`.
pub(super) const STYLE: &str = include_str!("docs.css");

/// The whole page.
pub(super) fn render(document: &Value) -> Markup {
    let page = Page { document };
    let info = &document["info"];
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                title { (text(&info["title"])) }
                link rel="stylesheet" href="docs/docs.css";
            }
            body {
                a class="skip" href="#main" { "Skip to the operations" }
                header {
                    h1 { (text(&info["title"])) }
                    p class="fine" {
                        "Version " (text(&info["version"])) " at "
                        code { (text(&document["servers"][0]["url"])) } ". For programs: "
                        a href="openapi.json" { "openapi.json" } "."
                    }
                    @for paragraph in text(&info["description"]).split("\n\n") { p { (prose(paragraph)) } }
                }
                (page.contents())
                main id="main" tabindex="-1" {
                    @for tag in list(&document["tags"]) { (page.group(tag)) }
                    (page.sign_in())
                    (page.problems())
                    (page.schemas())
                }
            }
        }
    }
}

struct Page<'a> {
    document: &'a Value,
}

/// One operation and where it is.
struct Operation<'a> {
    method: &'a str,
    path: &'a str,
    about: &'a Value,
}

impl<'a> Page<'a> {
    fn resolve(&self, value: &'a Value) -> &'a Value {
        let target = value["$ref"].as_str().and_then(|it| it.strip_prefix('#'));
        target
            .and_then(|it| self.document.pointer(it))
            .unwrap_or(value)
    }

    fn operations(&self, tag: &str) -> Vec<Operation<'a>> {
        let mut found = Vec::new();
        for (path, item) in members(&self.document["paths"]) {
            for (method, about) in members(item) {
                if list(&about["tags"]).iter().any(|it| it == tag) {
                    found.push(Operation {
                        method,
                        path,
                        about,
                    });
                }
            }
        }
        found
    }

    fn contents(&self) -> Markup {
        html! {
            nav aria-labelledby="contents" {
                h2 id="contents" { "Contents" }
                ul {
                    @for tag in list(&self.document["tags"]) {
                        li {
                            a href=(format!("#{}", id(text(&tag["name"])))) { (text(&tag["name"])) }
                            ul {
                                @for it in self.operations(text(&tag["name"])) {
                                    li {
                                        a href=(format!("#{}", text(&it.about["operationId"]))) {
                                            (text(&it.about["summary"]))
                                        }
                                    }
                                }
                            }
                        }
                    }
                    li { a href="#authentication" { "Authentication" } }
                    li { a href="#problems" { "Problems" } }
                    li { a href="#schemas" { "Schemas" } }
                }
            }
        }
    }

    fn group(&self, tag: &'a Value) -> Markup {
        let name = text(&tag["name"]);
        html! {
            section aria-labelledby=(id(name)) {
                h2 id=(id(name)) { (name) }
                p { (prose(text(&tag["description"]))) }
                @for it in self.operations(name) { (self.operation(&it)) }
            }
        }
    }

    fn operation(&self, operation: &Operation<'a>) -> Markup {
        let about = operation.about;
        let name = text(&about["operationId"]);
        let parameters = list(&about["parameters"]);
        html! {
            article aria-labelledby=(name) {
                h3 id=(name) { (text(&about["summary"])) }
                p class="call" {
                    strong { (operation.method.to_uppercase()) } " " code { (operation.path) }
                    " " span class="fine" { (name) }
                }
                p { (prose(text(&about["description"]))) }
                p class="fine" { (who(about)) }
                @if !parameters.is_empty() {
                    h4 { "Parameters" }
                    dl {
                        @for it in parameters { (parameter(self.resolve(it))) }
                    }
                }
                @if about["requestBody"].is_object() { (body(&about["requestBody"])) }
                h4 { "Answers" }
                dl {
                    @for (status, given) in members(&about["responses"]) {
                        (answer(status, self.resolve(given)))
                    }
                }
            }
        }
    }

    fn sign_in(&self) -> Markup {
        html! {
            section aria-labelledby="authentication" {
                h2 id="authentication" { "Authentication" }
                dl {
                    @for (name, scheme) in members(&self.document["components"]["securitySchemes"]) {
                        dt {
                            code { (name) } " "
                            span class="fine" {
                                @if scheme["type"] == "apiKey" {
                                    (text(&scheme["in"])) " " code { (text(&scheme["name"])) }
                                } @else {
                                    "HTTP " (text(&scheme["scheme"]))
                                }
                            }
                        }
                        dd { (prose(text(&scheme["description"]))) }
                    }
                }
            }
        }
    }

    /// Each refusal of the admin API once, for all operations.
    fn problems(&self) -> Markup {
        html! {
            section aria-labelledby="problems" {
                h2 id="problems" { "Problems" }
                p { "How the admin API says no, by " code { "code" } "." }
                @for (code, example) in members(&self.document["components"]["examples"]) {
                    details id=(format!("problem-{code}")) {
                        summary { code { (code) } ": " (text(&example["summary"])) }
                        (pretty(&example["value"]))
                    }
                }
            }
        }
    }

    fn schemas(&self) -> Markup {
        html! {
            section aria-labelledby="schemas" {
                h2 id="schemas" { "Schemas" }
                @for (name, schema) in members(&self.document["components"]["schemas"]) {
                    article aria-labelledby=(format!("schema-{name}")) {
                        h3 id=(format!("schema-{name}")) { (name) }
                        p { (prose(text(&schema["description"]))) }
                        (fields(schema))
                    }
                }
            }
        }
    }
}

fn who(about: &Value) -> Markup {
    let ways = list(&about["security"]).iter();
    let names: Vec<_> = ways
        .flat_map(|way| members(way).map(|(name, _)| name))
        .collect();
    html! {
        @if names.is_empty() { "Public." } @else {
            "Authentication: "
            @for (at, name) in names.iter().enumerate() {
                @if at > 0 { " or " }
                a href="#authentication" { (name) }
            }
            "."
        }
    }
}

fn parameter(it: &Value) -> Markup {
    html! {
        dt {
            code { (text(&it["name"])) } " "
            span class="fine" {
                (text(&it["in"])) ", " (kind(&it["schema"]))
                @if it["required"] == true { ", required" }
            }
        }
        dd { (prose(text(&it["description"]))) }
    }
}

fn body(body: &Value) -> Markup {
    html! {
        h4 { "Body" @if body["required"] != true { ", may be left out" } }
        @for (at, (media, content)) in members(&body["content"]).enumerate() {
            p { code { (media) } ": " (kind(&content["schema"])) }
            @if at == 0 {
                @if content["schema"]["$ref"].is_null() { (fields(&content["schema"])) }
                (examples(media, content))
            }
        }
    }
}

fn answer(status: &str, answer: &Value) -> Markup {
    html! {
        dt { strong { (status) } " " (prose(text(&answer["description"]))) }
        dd {
            @for (name, _) in members(&answer["headers"]) {
                p { "Header " code { (name) } }
            }
            @for (media, content) in members(&answer["content"]) {
                p { code { (media) } ": " (kind(&content["schema"])) }
                @if content["schema"]["allOf"].is_array() {
                    @for (name, field) in members(&content["schema"]["properties"]) {
                        p { code { (name) } ": " (kind(field)) }
                    }
                } @else if content["schema"]["$ref"].is_null() {
                    (fields(&content["schema"]))
                }
                (examples(media, content))
            }
        }
    }
}

/// The examples of a body: shown here, or a link to where a problem is shown.
fn examples(media: &str, content: &Value) -> Markup {
    html! {
        @if !content["example"].is_null() { (example("Example", media, &content["example"])) }
        @for (name, given) in members(&content["examples"]) {
            @if given["$ref"].is_string() {
                p { a href=(format!("#problem-{name}")) { code { (name) } } }
            } @else {
                (example(&format!("Example: {name}"), media, &given["value"]))
            }
        }
    }
}

fn example(title: &str, media: &str, value: &Value) -> Markup {
    html! {
        details {
            summary { (title) }
            @if media == "application/x-www-form-urlencoded" {
                pre tabindex="0" { code { (form(value)) } }
            } @else {
                (pretty(value))
            }
        }
    }
}

fn pretty(value: &Value) -> Markup {
    html! { pre tabindex="0" { code { (format!("{value:#}")) } } }
}

/// A form as it is sent. The values of the examples need no escapes.
fn form(value: &Value) -> String {
    let pairs = members(value).map(|(name, value)| format!("{name}={}", text(value)));
    pairs.collect::<Vec<_>>().join("&")
}

/// Text whose code stands between backticks.
fn prose(text: &str) -> Markup {
    html! {
        @for (at, piece) in text.split('`').enumerate() {
            @if at % 2 == 1 { code { (piece) } } @else { (piece) }
        }
    }
}

/// A name as an identifier of the page.
fn id(name: &str) -> String {
    let plain = |c: char| {
        if c.is_ascii_alphanumeric() {
            c.to_ascii_lowercase()
        } else {
            '-'
        }
    };
    format!("group-{}", name.chars().map(plain).collect::<String>())
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

fn members(value: &Value) -> impl Iterator<Item = (&str, &Value)> {
    let members = value.as_object().into_iter().flat_map(Map::iter);
    members.map(|(name, member)| (name.as_str(), member))
}
