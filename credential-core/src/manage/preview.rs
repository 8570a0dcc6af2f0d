//! What a change of scopes would do, before it is made.

use super::{
    Manage, ManageError, SetScopes,
    usage::{UNUSED_DAYS, confers, unused, used_since},
};
use crate::{
    catalog::ApiType,
    clock::{Day, Timestamp},
    credential::Status,
    id::CredentialId,
    store::ScopeUse,
};

/// What a change of scopes would do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ScopePreview {
    /// The scopes that it would add, sorted.
    pub added: Vec<String>,
    /// The scopes that it would take away, sorted.
    pub removed: Vec<RemovedScope>,
    /// Of the scopes that the credential holds now, those without an allowed call in [`UNUSED_DAYS`], whenever they were
    /// granted. Without all of them no call of those days would have been refused.
    pub unused: Vec<String>,
}

/// A scope that would be taken away.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RemovedScope {
    /// The scope.
    pub scope: String,
    /// Allowed calls of the last [`UNUSED_DAYS`] that would be refused for want of it. Each call is counted for one
    /// removed scope, so the sum of all is the number of calls: for the first scope that it needed and that would
    /// be missing, if that is removed itself; otherwise for the first removed one that conferred it.
    pub requests: u64,
    /// When a call was last allowed that needed it, or that would be refused for want of it.
    pub last_used_at: Option<Timestamp>,
}

impl Manage<'_> {
    /// What [`set_scopes`](Self::set_scopes) would do, for the same request. Changes nothing. What was counted in
    /// the last seconds may be missing. Of a call that needed more than
    /// [`CallCount::MAX_SCOPES`](crate::store::CallCount::MAX_SCOPES) scopes, the first ones are looked at.
    ///
    /// # Errors
    /// `NoUsage`, `NotFound`, `Revoked`, `ApiTypeImmutable`, `Invalid`, `RateLimited`, `Store`.
    pub async fn preview_scopes(
        self,
        id: CredentialId,
        request: SetScopes,
    ) -> Result<ScopePreview, ManageError> {
        let store = self.usage_store()?;
        let before = self.get(id).await?;
        if before.status(self.credentials.clock().now()) == Status::Revoked {
            return Err(ManageError::Revoked);
        }
        let after = self.decided_scopes(&before, request)?;
        let since = self.first_day(UNUSED_DAYS);
        let usage = store.usage(self.admin.tenant(), id, since);
        let uses = self.call(usage).await?.scopes;
        let catalog = self.credentials.catalog();
        let api_type = catalog.api_type(before.identity.api_type.as_str());
        let change = Change {
            api_type: api_type.map(|it| &**it),
            before: &before.settings.scopes,
            after: &after,
        };
        Ok(change.preview(&uses, since))
    }
}

/// A change of what is held.
struct Change<'a> {
    api_type: Option<&'a ApiType>,
    before: &'a [String],
    after: &'a [String],
}

impl Change<'_> {
    fn preview(&self, uses: &[ScopeUse], since: Day) -> ScopePreview {
        let not_in = |one: &[String], other: &[String]| -> Vec<String> {
            let mut rest: Vec<_> = one
                .iter()
                .filter(|it| !other.contains(it))
                .cloned()
                .collect();
            rest.sort_unstable();
            rest
        };
        let removed = not_in(self.before, self.after).into_iter();
        let mut removed: Vec<_> = removed
            .map(|scope| RemovedScope {
                scope,
                requests: 0,
                last_used_at: None,
            })
            .collect();
        for used in uses {
            let lost = self.lost_through(used, &removed);
            for (place, it) in removed.iter_mut().enumerate() {
                let named = used.scopes.split(' ').any(|needed| needed == it.scope);
                if named || lost == Some(place) {
                    it.last_used_at = it.last_used_at.max(used.last_used_at);
                }
                if lost == Some(place) {
                    it.requests = it.requests.saturating_add(used.allowed);
                }
            }
        }
        let recent = used_since(uses, since);
        let unused = unused(self.api_type, self.before, &recent).into_iter();
        ScopePreview {
            added: not_in(self.after, self.before),
            removed,
            unused: unused.map(str::to_owned).collect(),
        }
    }

    /// Which of the removed scopes calls would be refused for; `None`: they would not, or are refused already.
    fn lost_through(&self, used: &ScopeUse, removed: &[RemovedScope]) -> Option<usize> {
        let needed = || used.scopes.split(' ').filter(|it| !it.is_empty());
        let conferred = |held: &[String], needed: &str| {
            held.iter().any(|it| confers(self.api_type, it, needed))
        };
        if !needed().all(|it| conferred(self.before, it)) {
            return None;
        }
        let missing = needed().find(|it| !conferred(self.after, it))?;
        let itself = removed.iter().position(|it| it.scope == missing);
        let through = || {
            let mut removed = removed.iter();
            removed.position(|it| confers(self.api_type, &it.scope, missing))
        };
        itself.or_else(through)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalog::ScopeCatalog;

    fn used(scopes: &str, allowed: u64) -> ScopeUse {
        ScopeUse {
            scopes: scopes.into(),
            allowed,
            denied: 100,
            last_used_at: Some(Timestamp::from_micros(i64::try_from(allowed).unwrap())),
        }
    }

    /// Scope, calls, and when it was last used.
    type Removed = (String, u64, Option<i64>);

    /// The removed scopes, and the unused ones.
    fn preview(
        api_type: &str,
        before: &[&str],
        after: &[&str],
        uses: &[ScopeUse],
    ) -> (Vec<Removed>, Vec<String>) {
        let catalog = ScopeCatalog::elation();
        let owned =
            |names: &[&str]| -> Vec<String> { names.iter().map(|it| (*it).into()).collect() };
        let (before, after) = (owned(before), owned(after));
        let change = Change {
            api_type: catalog.api_type(api_type).map(|it| &**it),
            before: &before,
            after: &after,
        };
        let preview = change.preview(uses, Timestamp::UNIX_EPOCH.day());
        let removed = preview.removed.into_iter();
        let removed = removed.map(|it| {
            let last = it.last_used_at.map(Timestamp::as_micros);
            (it.scope, it.requests, last)
        });
        (removed.collect(), preview.unused)
    }

    const PATIENT: &str = "system/Patient.read";
    const OBSERVATION: &str = "system/Observation.read";
    const ALL: &str = "system/*.read";

    #[test]
    fn a_call_is_lost_through_its_own_scope_first() {
        let uses = [used(PATIENT, 5), used(OBSERVATION, 3)];
        let (removed, unused) = preview("fhir", &[PATIENT, ALL], &[], &uses);
        let expected = [(ALL.into(), 3, Some(3)), (PATIENT.into(), 5, Some(5))];
        assert_eq!(removed, expected);
        assert_eq!(unused, [""; 0]);
    }

    #[test]
    fn what_another_scope_confers_is_not_lost() {
        let uses = [used(PATIENT, 5)];
        let (removed, unused) = preview("fhir", &[PATIENT, ALL], &[ALL], &uses);
        assert_eq!(removed, [(PATIENT.into(), 0, Some(5))]);
        assert_eq!(unused, [ALL], "the narrower one is used");
    }

    #[test]
    fn a_call_of_several_scopes_is_lost_once() {
        let both = format!("{OBSERVATION} {PATIENT}");
        let (removed, _) = preview("fhir", &[ALL], &[], &[used(&both, 7)]);
        assert_eq!(removed, [(ALL.into(), 7, Some(7))]);
        let held = [OBSERVATION, PATIENT];
        let (removed, _) = preview("fhir", &held, &[OBSERVATION], &[used(&both, 7)]);
        assert_eq!(removed, [(PATIENT.into(), 7, Some(7))]);
        let (removed, unused) = preview("fhir", &held, &[], &[used(&both, 7)]);
        let expected = [
            (OBSERVATION.into(), 7, Some(7)),
            (PATIENT.into(), 0, Some(7)),
        ];
        assert_eq!(removed, expected);
        assert_eq!(unused, [""; 0], "the second one is used as well");
    }

    #[test]
    fn what_is_refused_already_is_not_lost() {
        let uses = [
            used(PATIENT, 5),
            used(&format!("{OBSERVATION} {PATIENT}"), 3),
        ];
        let (removed, _) = preview("fhir", &[OBSERVATION], &[], &uses);
        assert_eq!(removed, [(OBSERVATION.into(), 0, Some(3))]);
    }

    #[test]
    fn a_scope_that_is_not_listed_counts_by_its_name() {
        let uses = [used("system/new.read", 5)];
        let (removed, unused) = preview("apiv2", &["system/new.read", "system/x"], &[], &uses);
        let expected = [
            ("system/new.read".into(), 5, Some(5)),
            ("system/x".into(), 0, None),
        ];
        assert_eq!(removed, expected);
        assert_eq!(unused, ["system/x"]);
    }
}
