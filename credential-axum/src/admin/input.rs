//! Named values of a request, and everything that is wrong with them.

use std::collections::BTreeSet;

use credential_core::manage::Fault;

/// The longest name that is repeated in an answer: below the length of a client secret, so that
/// one pasted into the wrong place does not come back.
const LONGEST_SHOWN: usize = 64;

/// The fields of a body, or the parameters of a query.
#[derive(Debug)]
pub(super) struct Input<V> {
    values: Vec<(String, V)>,
    accepted: Vec<&'static str>,
    faults: Vec<Fault>,
}

impl<V> Input<V> {
    pub(super) fn new(values: Vec<(String, V)>, faults: Vec<Fault>) -> Self {
        Self {
            values,
            accepted: Vec::new(),
            faults,
        }
    }

    /// Whether there is a value of that name.
    pub(super) fn has(&self, name: &str) -> bool {
        self.values.iter().any(|(key, _)| key == name)
    }

    /// The value of that name. Of several the first, and a fault.
    pub(super) fn take(&mut self, name: &'static str) -> Option<V> {
        self.accepted.push(name);
        self.take_unlisted(name)
    }

    /// As [`take`](Self::take), for what is understood only to be refused.
    pub(super) fn take_unlisted(&mut self, name: &'static str) -> Option<V> {
        let mut found = self.values.extract_if(.., |(key, _)| key == name);
        let (_, first) = found.next()?;
        if found.count() > 0 {
            self.fault(name, "duplicate", "given more than once");
        }
        Some(first)
    }

    pub(super) fn fault(&mut self, name: &str, code: &'static str, message: impl Into<String>) {
        self.faults.push(Fault::new(name, code, message));
    }

    /// Every fault; what nobody took is one, under `code`.
    pub(super) fn finish(mut self, code: &'static str) -> Vec<Fault> {
        let unknown: BTreeSet<&str> = self.values.iter().map(|(name, _)| shown(name)).collect();
        if !unknown.is_empty() {
            let accepted: Vec<_> = self
                .accepted
                .iter()
                .map(|name| format!("`{name}`"))
                .collect();
            let message = format!("not known here; accepted: {}", accepted.join(", "));
            let faults = unknown.iter().map(|name| Fault::new(name, code, &*message));
            self.faults.extend(faults);
        }
        self.faults
    }
}

/// The name, if repeating it is harmless.
pub(super) fn shown(name: &str) -> &str {
    let harmless = name.len() <= LONGEST_SHOWN && name.bytes().all(|b| b.is_ascii_graphic());
    if harmless { name } else { "" }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_of_several_counts_and_the_rest_is_named() {
        let value = |name: &str, value| (name.to_owned(), value);
        let values = vec![
            value("b", 1),
            value("a", 2),
            value("b", 3),
            value("c", 4),
            value("c", 5),
        ];
        let mut input = Input::new(values, Vec::new());
        assert_eq!(input.take("b"), Some(1));
        assert_eq!(input.take("a"), Some(2));
        assert_eq!(input.take("z"), None);
        let faults = input.finish("unknown_field");
        let codes: Vec<_> = faults.iter().map(|f| (f.field.as_str(), f.code)).collect();
        assert_eq!(codes, [("b", "duplicate"), ("c", "unknown_field")]);
    }

    #[test]
    fn long_or_unprintable_names_are_not_repeated() {
        assert_eq!(shown("scope"), "scope");
        assert_eq!(shown(&"a".repeat(65)), "");
        assert_eq!(shown("a\u{202e}"), "");
        assert_eq!(shown("a\0"), "");
    }
}
