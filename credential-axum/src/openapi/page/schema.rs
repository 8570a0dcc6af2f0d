//! A schema in words: what a value is, and which members it has.

use maud::{Markup, html};
use serde_json::Value;

use super::{list, members, prose, text};

/// The members of an object, or of each of several.
pub(super) fn fields(schema: &Value) -> Markup {
    let required = list(&schema["required"]);
    let needed = |name: &str| required.iter().any(|it| it == name);
    let (choices, ways) = ways(schema);
    html! {
        @for (at, way) in ways.iter().enumerate() {
            p { @if at == 0 { "Either:" } @else { "Or:" } }
            (fields(way))
        }
        @if schema["properties"].is_object() {
            dl {
                @for (name, field) in members(&schema["properties"]) {
                    dt {
                        code { (name) } " "
                        span class="fine" { (kind(field)) @if needed(name) { ", required" } }
                    }
                    dd { (prose(text(&field["description"]))) (inside(field)) }
                }
            }
        }
        @if !choices.is_empty() {
            p {
                "Exactly one of "
                @for (at, name) in choices.iter().enumerate() {
                    @if at > 0 { ", " }
                    code { (name) }
                }
                "."
            }
        }
    }
}

/// The members of an object that has no name of its own, or of the entries of a list of them.
fn inside(field: &Value) -> Markup {
    let item = if field["items"].is_object() {
        &field["items"]
    } else {
        field
    };
    fields(item)
}

/// The forms that an object may have; and the members of which it has one.
fn ways(schema: &Value) -> (Vec<&str>, Vec<&Value>) {
    let all = || list(&schema["oneOf"]).iter();
    let choices = all()
        .filter(|way| way["type"].is_null())
        .flat_map(|way| list(&way["required"]))
        .map(text)
        .collect();
    let ways = all().filter(|way| way["properties"].is_object());
    (choices, ways.collect())
}

/// What a value is, in a few words.
pub(super) fn kind(schema: &Value) -> Markup {
    if let Some(target) = schema["$ref"].as_str() {
        let name = target.rsplit('/').next().unwrap_or_default();
        return html! { a href=(format!("#schema-{name}")) { (name) } };
    }
    let (_, forms) = ways(schema);
    if !forms.is_empty() {
        return html! { "object, in one of " (forms.len()) " forms" };
    }
    for several in ["anyOf", "oneOf", "allOf"] {
        let mut ways = list(&schema[several])
            .iter()
            .filter(|way| !way["type"].is_null() || way["$ref"].is_string())
            .peekable();
        if ways.peek().is_some() {
            return html! {
                @for (at, way) in ways.enumerate() {
                    @if at > 0 { " or " }
                    (kind(way))
                }
            };
        }
    }
    let only = std::slice::from_ref(&schema["const"]);
    let words = if schema["const"].is_string() {
        only
    } else {
        list(&schema["enum"])
    };
    let bounds = ["minimum", "maximum", "minLength", "maxLength", "maxItems"];
    html! {
        @match &schema["type"] {
            Value::Array(kinds) => {
                @for (at, kind) in kinds.iter().enumerate() {
                    @if at > 0 { " or " }
                    (text(kind))
                }
            },
            kind => (text(kind)),
        }
        @if schema["items"].is_object() { " of " (kind(&schema["items"])) }
        @if let Some(format) = schema["format"].as_str() { " (" (format) ")" }
        @if !words.is_empty() {
            ": "
            @for (at, word) in words.iter().enumerate() {
                @if at > 0 { ", " }
                @if word == "" { "or empty" } @else { code { (text(word)) } }
            }
        }
        @for bound in bounds {
            @if let Some(limit) = schema[bound].as_i64() { ", " (bound) " " (limit) }
        }
        @if !schema["default"].is_null() { ", default " (schema["default"].to_string()) }
    }
}
