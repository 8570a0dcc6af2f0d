//! Every sentence of the page, in one table that a host can replace.

use std::{collections::BTreeMap, sync::LazyLock};

use maud::{Markup, html};
use serde::{Deserialize, Serialize};

/// The page's sentences in one language.
///
/// A table is a JSON object from keys to sentences; [`Words::ENGLISH`] is the whole of it, and the
/// place for a translator to begin. In a sentence `{name}` stands for a value. Sentences about a number
/// are objects by plural category (Unicode CLDR: `zero`, `one`, `two`, `few`, `many`, `other`), of
/// which `other` is needed. An empty sentence leaves out what it would say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Words {
    lang: String,
    right_to_left: bool,
    /// Only what differs from the English table.
    own: Table,
}

type Table = BTreeMap<String, Sentence>;

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
enum Sentence {
    One(String),
    ByNumber(BTreeMap<String, String>),
}

impl Sentence {
    fn forms(&self) -> impl Iterator<Item = &str> {
        let (one, many) = match self {
            Self::One(text) => (Some(text), None),
            Self::ByNumber(forms) => (None, Some(forms.values())),
        };
        one.into_iter()
            .chain(many.into_iter().flatten())
            .map(String::as_str)
    }
}

static ENGLISH: LazyLock<Table> = LazyLock::new(|| {
    // Bundled, and a test reads it. Were it wrong, keys would stand in for sentences.
    serde_json::from_str(Words::ENGLISH).unwrap_or_default()
});

impl Words {
    /// The whole table in English, as JSON.
    pub const ENGLISH: &str = include_str!("words.json");

    /// The English table: the default.
    #[must_use]
    pub fn english() -> Self {
        Self {
            lang: "en".to_owned(),
            right_to_left: false,
            own: Table::new(),
        }
    }

    /// Reads a table, or part of one: what it leaves out stays English. `lang` is a language tag of
    /// BCP 47, such as `es-419`; dates, numbers and plural forms follow it.
    ///
    /// # Errors
    /// [`WordsError`] names the first entry that is wrong: JSON of another form, a key that does not
    /// exist, a value in braces that the English sentence does not have, a number's sentence without
    /// `other`. A tag that is none is refused too.
    pub fn parse(lang: &str, json: &str) -> Result<Self, WordsError> {
        let is_tag = lang.split('-').enumerate().all(|(at, part)| {
            let longest = if at == 0 { 3 } else { 8 };
            let shortest = if at == 0 { 2 } else { 1 };
            (shortest..=longest).contains(&part.len())
                && part.bytes().all(|byte| byte.is_ascii_alphanumeric())
        });
        if !is_tag {
            return Err(WordsError(format!("`{lang}` is not a language tag")));
        }
        let mut own: Table = serde_json::from_str(json)
            .map_err(|error| WordsError(format!("the table cannot be read: {error}")))?;
        for (key, sentence) in &own {
            let Some(english) = ENGLISH.get(key) else {
                return Err(WordsError(format!("there is no sentence `{key}`")));
            };
            check(key, sentence, english)?;
        }
        own.retain(|key, sentence| ENGLISH.get(key) != Some(sentence));
        Ok(Self {
            lang: lang.to_owned(),
            right_to_left: false,
            own,
        })
    }

    /// The language is written from right to left.
    #[must_use]
    pub fn right_to_left(mut self) -> Self {
        self.right_to_left = true;
        self
    }

    pub(super) fn lang(&self) -> &str {
        &self.lang
    }

    pub(super) fn dir(&self) -> &'static str {
        if self.right_to_left { "rtl" } else { "ltr" }
    }

    /// What the browser must know beside the English table.
    pub(super) fn own(&self) -> serde_json::Value {
        serde_json::to_value(&self.own).unwrap_or_default()
    }

    /// A sentence, with the values that it names.
    pub(super) fn say(&self, key: &str, values: &[(&str, Markup)]) -> Markup {
        let sentence = self.own.get(key).or_else(|| ENGLISH.get(key));
        let text = sentence.and_then(|sentence| sentence.forms().last());
        let value = |name: &str| values.iter().find(|(known, _)| *known == name);
        html! {
            @for piece in pieces(text.unwrap_or(key)) {
                @match piece {
                    Piece::Text(text) => (text),
                    Piece::Value(name) => @if let Some((_, value)) = value(name) { (value) },
                }
            }
        }
    }

    /// Whether the sentence is left out.
    pub(super) fn is_empty(&self, key: &str) -> bool {
        self.say(key, &[]).0.is_empty()
    }
}

impl Default for Words {
    fn default() -> Self {
        Self::english()
    }
}

/// A table of [`Words`] cannot be used; says why.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct WordsError(String);

/// The plural categories of Unicode CLDR.
const CATEGORIES: [&str; 6] = ["zero", "one", "two", "few", "many", "other"];

fn check(key: &str, sentence: &Sentence, english: &Sentence) -> Result<(), WordsError> {
    if let Sentence::ByNumber(forms) = sentence {
        if matches!(english, Sentence::One(_)) {
            return Err(WordsError(format!("`{key}` is not about a number")));
        }
        if let Some(form) = forms.keys().find(|form| !CATEGORIES.contains(&&***form)) {
            let message = format!("`{form}` of `{key}` is not a plural category");
            return Err(WordsError(message));
        }
        if !forms.contains_key("other") {
            return Err(WordsError(format!("`{key}` lacks its form `other`")));
        }
    }
    let allowed: Vec<_> = english.forms().flat_map(values).collect();
    // A host's own word may name the tenant and whom to ask wherever it stands.
    let always = ["tenant", "support"];
    for value in sentence.forms().flat_map(values) {
        if !allowed.contains(&value) && !always.contains(&value) {
            return Err(WordsError(format!("`{key}` has no value `{{{value}}}`")));
        }
    }
    Ok(())
}

fn values(text: &str) -> impl Iterator<Item = &str> {
    pieces(text).filter_map(|piece| match piece {
        Piece::Value(name) => Some(name),
        Piece::Text(_) => None,
    })
}

enum Piece<'a> {
    Text(&'a str),
    Value(&'a str),
}

/// The text between the values, and the values. What is in no pair of braces is text.
fn pieces(text: &str) -> impl Iterator<Item = Piece<'_>> {
    let mut rest = text;
    std::iter::from_fn(move || {
        if let Some(inner) = rest.strip_prefix('{')
            && let Some((name, after)) = inner.split_once('}')
        {
            rest = after;
            return Some(Piece::Value(name));
        }
        let first = rest.chars().next()?;
        let skip = first.len_utf8();
        let end = rest[skip..].find('{').map_or(rest.len(), |at| at + skip);
        let (piece, after) = rest.split_at(end);
        rest = after;
        Some(Piece::Text(piece))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_english_table_is_whole() {
        assert!(ENGLISH.len() > 150, "{} sentences", ENGLISH.len());
        for (key, sentence) in &*ENGLISH {
            check(key, sentence, sentence).unwrap();
        }
        let words = Words::parse("en", Words::ENGLISH).unwrap();
        assert_eq!(words, Words::english());
    }

    #[test]
    fn what_a_table_leaves_out_stays_english() {
        let words = Words::parse("de-CH", r#"{"sign_in":"Anmelden"}"#).unwrap();
        assert_eq!(words.say("sign_in", &[]).0, "Anmelden");
        assert_eq!(words.say("cancel", &[]).0, "Cancel");
        assert_eq!((words.lang(), words.dir()), ("de-CH", "ltr"));
        assert_eq!(words.right_to_left().dir(), "rtl");
    }

    #[test]
    fn a_wrong_table_is_refused_with_its_place() {
        let table = [
            ("en", r#"{"no_such_key":"x"}"#, "`no_such_key`"),
            ("en", r#"{"sign_in":"{who}"}"#, "`{who}`"),
            ("en", r#"{"sign_in":{"other":"x"}}"#, "not about a number"),
            ("en", r#"{"list.count":{"one":"x"}}"#, "lacks its form"),
            (
                "en",
                r#"{"list.count":{"single":"x","other":"y"}}"#,
                "`single`",
            ),
            ("en", r#"{"sign_in":1}"#, "cannot be read"),
            ("en", "[]", "cannot be read"),
            ("not a tag", "{}", "`not a tag`"),
            ("", "{}", "language tag"),
            ("e", "{}", "language tag"),
            ("en_US", "{}", "language tag"),
        ];
        for (lang, json, expected) in table {
            let error = Words::parse(lang, json).unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        }
    }

    #[test]
    fn sentences_are_text_and_values_are_markup() {
        let words = Words::parse("en", r#"{"signed_out":"<b> & {tenant} {"}"#).unwrap();
        let practice = html! { i { "practice" } };
        let said = words.say("signed_out", &[("tenant", practice)]);
        assert_eq!(said.0, "&lt;b&gt; &amp; <i>practice</i> {");
    }
}
