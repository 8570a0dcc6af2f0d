//! Query strings: decoded strictly, every fault kept, and the kinds of values of their parameters.

use credential_core::{
    id::CredentialId,
    manage::{Fault, Field},
    percent,
};
use serde_json::{Value, json};

use super::fields::{Fields, Kind, shown};

/// Splits and decodes a query string (`application/x-www-form-urlencoded`). A parameter whose
/// percent-encoding is broken or not UTF-8 is a fault.
pub(super) fn parse(query: Option<&str>) -> Fields<String> {
    let mut values = Vec::new();
    let mut faults = Vec::new();
    let pairs = query.unwrap_or_default().split('&');
    for pair in pairs.filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        let decode = |text| percent::decode(text).ok().map(|text| text.to_string());
        match (decode(name), decode(value)) {
            (Some(name), Some(value)) => values.push((name, value)),
            (name, _) => faults.push(Fault::new(
                shown(&name.unwrap_or_default()),
                "invalid_encoding",
                "the percent-encoding is broken or not UTF-8",
            )),
        }
    }
    Fields::sent(values, "unknown_parameter", faults)
}

/// `true` or `false`; not given is `false`.
pub(super) fn flag(query: &mut Fields<String>, name: &'static str, meaning: &str) -> bool {
    matches!(query.optional(name, Flag, meaning), Field::Value(true))
}

struct Flag;

impl Kind<String> for Flag {
    type Value = bool;

    fn read(self, sent: String, wrong: &mut dyn FnMut(&'static str, &str)) -> Field<bool> {
        match &*sent {
            "true" => Field::Value(true),
            "false" => Field::Value(false),
            _ => {
                wrong("wrong_type", "must be `true` or `false`");
                Field::Unreadable
            }
        }
    }

    fn schema(self) -> Value {
        json!({"type": "boolean", "default": false})
    }
}

/// A whole number from 1 to `most`.
pub(super) struct WholeNumber {
    pub(super) most: u16,
    /// Not given.
    pub(super) default: u16,
}

impl Kind<String> for WholeNumber {
    type Value = u16;

    fn read(self, sent: String, wrong: &mut dyn FnMut(&'static str, &str)) -> Field<u16> {
        let digits = !sent.is_empty() && sent.bytes().all(|b| b.is_ascii_digit());
        let code = match sent.parse() {
            Ok(number) if digits && (1..=self.most).contains(&number) => {
                return Field::Value(number);
            }
            _ if digits => "out_of_range",
            _ => "wrong_type",
        };
        let message = format!("must be a whole number from 1 to {}", self.most);
        wrong(code, &message);
        Field::Unreadable
    }

    fn schema(self) -> Value {
        json!({"type": "integer", "minimum": 1, "maximum": self.most, "default": self.default})
    }
}

/// One word, or not given.
pub(super) struct OneWord(pub(super) &'static str);

impl Kind<String> for OneWord {
    type Value = ();

    fn read(self, sent: String, wrong: &mut dyn FnMut(&'static str, &str)) -> Field<()> {
        if sent == self.0 {
            return Field::Value(());
        }
        wrong(
            "unknown_value",
            &format!("must be `{}` if it is given", self.0),
        );
        Field::Unreadable
    }

    fn schema(self) -> Value {
        json!({"type": "string", "enum": [self.0]})
    }
}

/// The `id` of a credential.
pub(super) struct Id;

impl Kind<String> for Id {
    type Value = CredentialId;

    fn read(self, sent: String, wrong: &mut dyn FnMut(&'static str, &str)) -> Field<CredentialId> {
        sent.parse().map_or_else(
            |_| {
                wrong("invalid_id", "must be the `id` of a credential");
                Field::Unreadable
            },
            Field::Value,
        )
    }

    fn schema(self) -> Value {
        json!({"type": "string", "pattern": "^[0-9a-f]{32}$"})
    }
}

#[cfg(test)]
mod tests {
    use super::{
        super::{fields::tests::faults, paging},
        *,
    };

    #[test]
    fn every_fault_is_found_at_once() {
        let query = parse(Some(
            "limit=0&cursor=%21&flag=yes&limit=5&&x=1&y=%ff&%zz=1&%66lag=true",
        ));
        let ((limit, after, flag), found) = faults(query, |query| {
            let after: Option<u64> = paging::after(query);
            (paging::limit(query), after, flag(query, "flag", ""))
        });
        assert_eq!((limit, after, flag), (50, None, false));
        assert_eq!(
            found,
            [
                ("y", "invalid_encoding"),
                ("", "invalid_encoding"),
                ("cursor", "invalid_cursor"),
                ("limit", "duplicate"),
                ("limit", "out_of_range"),
                ("flag", "duplicate"),
                ("flag", "wrong_type"),
                ("x", "unknown_parameter"),
            ]
            .map(|(name, code)| (name.to_owned(), code))
        );
    }

    #[test]
    fn limits_have_bounds() {
        let limit = |text: &str| {
            let (limit, found) = faults(parse(Some(text)), paging::limit);
            (limit, found.len())
        };
        assert_eq!(limit(""), (50, 0));
        assert_eq!(limit("limit=1"), (1, 0));
        assert_eq!(limit("limit=100"), (100, 0));
        let wrong = [
            "0",
            "101",
            "-1",
            "%2B5",
            "5.0",
            "",
            "x",
            "99999999999999999999999",
        ];
        for wrong in wrong {
            assert_eq!(limit(&format!("limit={wrong}")), (50, 1), "{wrong}");
        }
    }
}
