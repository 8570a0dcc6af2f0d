//! SMART scope spellings: v1 (`.read`) and v2 (`.rs`, `.cruds`) words for one right.
//!
//! Understood for API types whose rules are `fhir`. SMART App Launch 2.2 defines v2 with single
//! letters and filters (`?category=…`); only the groups that equal a v1 word are one right here,
//! every other form is unknown.

use std::collections::HashMap;

use super::Permission;
use super::scope_set::ScopeIndex;

/// The stem of the SMART wildcard over resource types, understood even where it is not listed.
const WILDCARD_STEM: &str = "system/*";

/// What a spelling that is not itself a listed name asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Spelling {
    /// Asks for read.
    pub(super) reads: bool,
    /// Asks for write.
    pub(super) writes: bool,
    /// The listed read scope of the same resource.
    pub(super) read: Option<ScopeIndex>,
    /// The listed write scope of the same resource.
    pub(super) write: Option<ScopeIndex>,
    /// Stands for every resource type.
    pub(super) wildcard: bool,
}

/// A listed scope that has other spellings.
pub(super) struct Spelled<'a> {
    pub(super) name: &'a str,
    pub(super) permission: Permission,
    pub(super) index: ScopeIndex,
    pub(super) wildcard: bool,
}

/// Every spelling of the listed scopes; a listed name always stands for itself.
pub(super) fn spellings<'a>(
    listed: impl IntoIterator<Item = Spelled<'a>>,
) -> HashMap<Box<str>, Spelling> {
    let none = Spelling {
        reads: false,
        writes: false,
        read: None,
        write: None,
        wildcard: false,
    };
    let mut stems = HashMap::from([(
        WILDCARD_STEM,
        Spelling {
            wildcard: true,
            ..none
        },
    )]);
    for scope in listed {
        let Some(stem) = stem(scope.name, scope.permission) else {
            continue;
        };
        let entry = stems.entry(stem).or_insert(none);
        entry.wildcard |= scope.wildcard;
        match scope.permission {
            Permission::Read => entry.read = Some(scope.index),
            Permission::Write => entry.write = Some(scope.index),
        }
    }
    let mut spellings = HashMap::new();
    for (stem, scopes) in stems {
        for (suffix, reads, writes) in [
            ("read", true, false),
            ("rs", true, false),
            ("write", false, true),
            ("cud", false, true),
            ("*", true, true),
            ("cruds", true, true),
        ] {
            let asked = Spelling {
                reads,
                writes,
                read: scopes.read.filter(|_| reads),
                write: scopes.write.filter(|_| writes),
                wildcard: scopes.wildcard,
            };
            spellings.insert(format!("{stem}.{suffix}").into(), asked);
        }
    }
    spellings
}

/// The other spellings of one listed scope.
pub(super) fn others(name: &str, permission: Permission) -> Vec<String> {
    let suffixes = match permission {
        Permission::Read => ["read", "rs"],
        Permission::Write => ["write", "cud"],
    };
    let Some(stem) = stem(name, permission) else {
        return Vec::new();
    };
    suffixes
        .into_iter()
        .map(|suffix| format!("{stem}.{suffix}"))
        .filter(|spelling| spelling != name)
        .collect()
}

fn stem(name: &str, permission: Permission) -> Option<&str> {
    let (stem, suffix) = name.rsplit_once('.')?;
    let fits = match permission {
        Permission::Read => matches!(suffix, "read" | "rs"),
        Permission::Write => matches!(suffix, "write" | "cud"),
    };
    fits.then_some(stem)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_right_has_its_v1_and_v2_words_and_nothing_else() {
        assert_eq!(
            others("system/Patient.read", Permission::Read),
            ["system/Patient.rs"]
        );
        assert_eq!(
            others("system/Patient.rs", Permission::Read),
            ["system/Patient.read"]
        );
        assert_eq!(
            others("system/Patient.write", Permission::Write),
            ["system/Patient.cud"]
        );
        assert!(others("charges:read", Permission::Read).is_empty());
        assert!(others("system/Patient.write", Permission::Read).is_empty());

        let index = ScopeIndex::new(3).expect("in range");
        let all = spellings([Spelled {
            name: "system/Patient.read",
            permission: Permission::Read,
            index,
            wildcard: false,
        }]);
        let patient = |suffix: &str| all.get(format!("system/Patient.{suffix}").as_str());
        for suffix in ["read", "rs", "*", "cruds"] {
            assert_eq!(
                patient(suffix).and_then(|s| s.read),
                Some(index),
                "{suffix}"
            );
        }
        for suffix in ["write", "cud"] {
            assert_eq!(patient(suffix).and_then(|s| s.read), None, "{suffix}");
        }
        for suffix in [
            "r",
            "s",
            "sr",
            "cru",
            "crud",
            "rs?category=x",
            "Read",
            "RS",
            "",
        ] {
            assert_eq!(patient(suffix), None, "{suffix}");
        }
        let wildcard = all.get("system/*.cruds").expect("always understood");
        assert!(wildcard.wildcard && wildcard.read.is_none() && wildcard.write.is_none());
    }
}
