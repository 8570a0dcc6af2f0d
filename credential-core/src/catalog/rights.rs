//! What holding scopes confers, which may be held together, and how sets leave and enter memory.

use super::ScopeFault;
use super::api_type::{ApiType, Scope};
use super::scope_set::{ScopeIndex, ScopeSet};

impl ApiType {
    /// The preset "read-only": every resource's read scope, nothing else.
    #[must_use]
    pub fn read_only(&self) -> ScopeSet {
        self.listed.reads
    }

    /// The set of stored names. A name that the catalogue no longer lists confers nothing.
    pub fn resolve<'a>(&self, names: impl IntoIterator<Item = &'a str>) -> ScopeSet {
        let mut set = self.no_scopes();
        for name in names {
            if let Some(index) = self.listed.names.get(name) {
                set.insert(*index);
            }
        }
        set
    }

    /// The listed names of a set, sorted. A set of another API type has none.
    #[must_use]
    pub fn names(&self, set: &ScopeSet) -> Vec<&str> {
        // Scopes are kept in the order of their names.
        self.scopes_of(set)
            .map(|scope| scope.name.as_str())
            .collect()
    }

    /// Everything that holding `held` confers: wildcards and full access spelled out.
    ///
    /// Full access confers neither acting on behalf of a user nor introspection; those scopes must be held
    /// themselves.
    #[must_use]
    pub fn rights(&self, held: &ScopeSet) -> ScopeSet {
        if !self.owns(held) {
            return self.no_scopes();
        }
        let mut rights = *held;
        let holds = |index: Option<ScopeIndex>| index.is_some_and(|index| held.contains(index));
        let full = holds(self.full_access);
        if full || holds(self.wildcard.read) {
            rights.insert_all(&self.listed.reads);
        }
        if full || holds(self.wildcard.write) {
            rights.insert_all(&self.listed.writes);
        }
        if full {
            for index in [self.wildcard.read, self.wildcard.write]
                .into_iter()
                .flatten()
            {
                rights.insert(index);
            }
        }
        rights
    }

    /// Checks which scopes may be held together: full access never with resource scopes where it
    /// excludes them, and acting on behalf of a user never alone where it needs company.
    ///
    /// # Errors
    /// One `scope_conflict` for each rule broken; `scope_of_other_api_type` if the set is not of
    /// this API type.
    pub fn check(&self, set: &ScopeSet) -> Result<(), Vec<ScopeFault>> {
        if !self.owns(set) {
            return Err(vec![ScopeFault::other_api_type("", self)]);
        }
        let faults: Vec<_> = self
            .exclusion(set)
            .into_iter()
            .chain(self.loneliness(set))
            .collect();
        if faults.is_empty() {
            Ok(())
        } else {
            Err(faults)
        }
    }

    /// Full access beside scopes that it excludes.
    pub(super) fn exclusion(&self, set: &ScopeSet) -> Option<ScopeFault> {
        let full = self
            .full_access()
            .filter(|full| self.full_access_excludes_resources && set.contains(full.index))?;
        let other = self
            .scopes_of(set)
            .find(|scope| scope.permission.is_some())?;
        Some(ScopeFault::conflict(
            &full.name,
            format!(
                "`{}` already opens everything and cannot be combined with `{}`",
                full.name, other.name
            ),
        ))
    }

    /// Acting on behalf of a user without any scope that opens something.
    pub(super) fn loneliness(&self, set: &ScopeSet) -> Option<ScopeFault> {
        let rule = self.on_behalf_of().filter(|rule| rule.needs_company)?;
        let lonely = set.contains(rule.scope) && set.len() == 1;
        let scope = self.scope_at(rule.scope).filter(|_| lonely)?;
        Some(ScopeFault::conflict(
            &scope.name,
            format!(
                "`{}` opens nothing alone and needs another scope beside it",
                scope.name
            ),
        ))
    }

    /// The first 32 bits of SHA-256 of each scope's name, in the order of the names.
    ///
    /// This is how tokens carry scopes between nodes whose catalogues differ in version. The
    /// catalogue refuses to load if two names of an API type share a digest.
    pub(crate) fn digests(&self, set: &ScopeSet) -> Vec<u32> {
        if !self.owns(set) {
            return Vec::new();
        }
        set.iter()
            .filter_map(|index| self.listed.digests.get(index.position()).copied())
            .collect()
    }

    /// The set that [`ApiType::digests`] came from. A digest of no listed scope confers nothing.
    pub(crate) fn of_digests(&self, digests: impl IntoIterator<Item = u32>) -> ScopeSet {
        let mut set = self.no_scopes();
        for digest in digests {
            let found = self
                .listed
                .by_digest
                .binary_search_by_key(&digest, |(known, _)| *known);
            if let Some((_, index)) = found.ok().and_then(|at| self.listed.by_digest.get(at)) {
                set.insert(*index);
            }
        }
        set
    }

    /// What a name asks for: a listed name, or a SMART spelling where the rules are FHIR's.
    pub(super) fn named(&self, name: &str) -> Option<Named> {
        let wildcards = |reads: bool, writes: bool| {
            let mut covers = self.no_scopes();
            if reads {
                covers.insert_all(&self.listed.reads);
            }
            if writes {
                covers.insert_all(&self.listed.writes);
            }
            covers
        };
        if let Some(index) = self.listed.names.get(name) {
            let scopes = ScopeSet::of(self.listed.tag, *index);
            let mut covers = scopes;
            let narrows = self.wildcard.read == Some(*index) || self.wildcard.write == Some(*index);
            if narrows {
                covers.insert_all(&wildcards(
                    self.wildcard.read == Some(*index),
                    self.wildcard.write == Some(*index),
                ));
            }
            return Some(Named {
                scopes,
                covers,
                narrows,
                whole: true,
            });
        }
        let spelling = self.listed.spellings.get(name)?;
        let mut scopes = self.no_scopes();
        for index in [spelling.read, spelling.write].into_iter().flatten() {
            scopes.insert(index);
        }
        let mut covers = scopes;
        if spelling.wildcard {
            covers.insert_all(&wildcards(spelling.reads, spelling.writes));
        }
        Some(Named {
            scopes,
            covers,
            narrows: spelling.wildcard || (spelling.reads && spelling.writes),
            whole: spelling.reads == spelling.read.is_some()
                && spelling.writes == spelling.write.is_some(),
        })
    }

    /// The scopes of a set, sorted by name; none for a set of another API type.
    pub(super) fn scopes_of(&self, set: &ScopeSet) -> impl Iterator<Item = &Scope> {
        let set = if self.owns(set) {
            *set
        } else {
            self.no_scopes()
        };
        set.iter().filter_map(|index| self.scope_at(index))
    }
}

/// What a name asks for, before it is known who asks.
#[derive(Debug, Clone, Copy)]
pub(super) struct Named {
    /// The listed scopes that the name stands for.
    pub(super) scopes: ScopeSet,
    /// Those and, for a wildcard, everything it covers.
    pub(super) covers: ScopeSet,
    /// May be narrowed to what is held: the name says "all of …".
    pub(super) narrows: bool,
    /// Everything the name asks for is listed.
    pub(super) whole: bool,
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use proptest::{prelude::*, sample::subsequence};

    use crate::catalog::{ApiType, ScopeCatalog};

    fn api(id: &str) -> Arc<ApiType> {
        Arc::clone(ScopeCatalog::elation().api_type(id).unwrap())
    }

    #[test]
    fn digests_are_the_start_of_sha_256() {
        let v2 = api("apiv2");
        // printf apiv2 | sha256sum
        assert_eq!(v2.digests(&v2.resolve(["apiv2"])), [0xdadb_dee7]);
        let all = v2.resolve(v2.scopes().map(|scope| scope.name.as_str()));
        assert_eq!(v2.digests(&all).len(), 153);
        assert_eq!(v2.of_digests(v2.digests(&all)), all);
        assert!(v2.of_digests([0, u32::MAX]).is_empty());
    }

    #[test]
    fn a_digest_is_nothing_to_another_api_type() {
        for (one, other) in [("apiv2", "fhir"), ("fhir", "apiv2")] {
            let (one, other) = (api(one), api(other));
            let all = one.resolve(one.scopes().map(|scope| scope.name.as_str()));
            assert!(other.of_digests(one.digests(&all)).is_empty());
            assert!(other.digests(&all).is_empty());
        }
    }

    proptest! {
        #[test]
        fn digests_give_the_set_back(
            (api, names) in prop_oneof![Just("apiv2"), Just("fhir")].prop_flat_map(|id| {
                let api = api(id);
                let all: Vec<_> = api.scopes().map(|scope| scope.name.clone()).collect();
                let sizes = 0..=all.len();
                (Just(api), subsequence(all, sizes))
            })
        ) {
            let set = api.resolve(names.iter().map(String::as_str));
            prop_assert_eq!(api.of_digests(api.digests(&set)), set);
        }
    }
}
