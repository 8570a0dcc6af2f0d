//! How a credential is used, and which of its scopes are not.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::{Manage, ManageError, Page};
use crate::{
    catalog::{ApiType, Permission, ScopeCatalog, ScopeKind},
    clock::{Day, Timestamp},
    credential::Credential,
    id::CredentialId,
    store::{
        CALLS_KEPT_FOR, DayUse, ListPosition, ListQuery, REFUSALS_KEPT, REFUSALS_KEPT_FOR,
        RefusalCount, ScopeUse, UsageStore,
    },
};

/// How many days [`Manage::usage`] looks back at most.
pub const MAX_USAGE_DAYS: u16 = 400;

/// How many days without an allowed call make a scope unused: today and the 29 days before, in UTC.
pub const UNUSED_DAYS: u16 = 30;

/// How a credential was used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UsageReport {
    /// The last issued token or allowed call.
    pub last_used_at: Option<Timestamp>,
    /// The days with calls, oldest first.
    pub days: Vec<DayUse>,
    /// By scope, in the order of their names.
    pub scopes: Vec<UsedScope>,
}

/// The calls that needed one scope.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UsedScope {
    /// The scope.
    pub scope: String,
    /// How many calls were allowed that needed it first. A call that needs several scopes is counted once, by the
    /// first one.
    pub allowed: u64,
    /// How many were denied for want of it.
    pub denied: u64,
    /// When a call that needed it was last allowed, also one that needed another scope first, and also before the
    /// days that were asked for.
    pub last_used_at: Option<Timestamp>,
}

/// A credential in a list that does not show its scopes.
#[derive(Debug, Clone)]
pub struct Summary {
    /// The credential.
    pub credential: Credential,
    /// Its scopes, counted.
    pub scopes: ScopeCounts,
}

/// The scopes that a credential holds, counted. Those that the catalogue does not list are in `unused` at most.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ScopeCounts {
    /// Scopes to read one resource.
    pub read: usize,
    /// Scopes to write one resource.
    pub write: usize,
    /// Wildcards, full access, and acting on behalf of users.
    pub broad: usize,
    /// Those without an allowed call in [`UNUSED_DAYS`]; `None`: the host has no store for usage.
    pub unused: Option<usize>,
}

impl Manage<'_> {
    /// How a credential was used on the last `days` days, in UTC, today included; brought into
    /// 1…[`MAX_USAGE_DAYS`]. What was counted in the last seconds may be missing.
    ///
    /// # Errors
    /// `NoUsage`, `NotFound`, `RateLimited`, `Store`.
    pub async fn usage(self, id: CredentialId, days: u16) -> Result<UsageReport, ManageError> {
        let store = self.usage_store()?;
        let credential = self.get(id).await?;
        let days = days.clamp(1, MAX_USAGE_DAYS);
        let usage = store.usage(self.admin.tenant(), id, self.first_day(days));
        let usage = self.call(usage).await?;
        Ok(UsageReport {
            last_used_at: credential.observed.last_used_at,
            days: usage.days,
            scopes: by_scope(&usage.scopes),
        })
    }

    /// The latest refusals of a credential, newest first: at most [`REFUSALS_KEPT`] of the last seven days.
    ///
    /// # Errors
    /// `NoUsage`, `NotFound`, `RateLimited`, `Store`.
    pub async fn refusals(self, id: CredentialId) -> Result<Vec<RefusalCount>, ManageError> {
        let store = self.usage_store()?;
        self.get(id).await?;
        let now = self.credentials.clock().now();
        let since = now.saturating_sub(REFUSALS_KEPT_FOR);
        let refusals = store.refusals(self.admin.tenant(), id, since, REFUSALS_KEPT);
        Ok(self.call(refusals).await?)
    }

    /// As [`list`](Self::list), with the scopes counted.
    ///
    /// # Errors
    /// `RateLimited`, `Store`.
    pub async fn summaries(
        self,
        query: ListQuery,
    ) -> Result<Page<Summary, ListPosition>, ManageError> {
        let page = self.list(query).await?;
        let ids: Vec<_> = page.items.iter().map(|it| it.identity.id).collect();
        let used = match self.usage_store() {
            Ok(store) => {
                let since = self.first_day(UNUSED_DAYS);
                let used = store.used_scopes(self.admin.tenant(), &ids, since);
                Some(used_by_credential(self.call(used).await?))
            }
            Err(_) => None,
        };
        let catalog = self.credentials.catalog();
        let summary = |credential: Credential| {
            let nothing = BTreeSet::new();
            let used = used.as_ref();
            let used = used.map(|it| it.get(&credential.identity.id).unwrap_or(&nothing));
            Summary {
                scopes: count(catalog, &credential, used),
                credential,
            }
        };
        Ok(Page {
            items: page.items.into_iter().map(summary).collect(),
            next: page.next,
        })
    }

    pub(super) fn usage_store(&self) -> Result<&dyn UsageStore, ManageError> {
        let store = self.credentials.0.stores.usage.as_deref();
        store.ok_or(ManageError::NoUsage)
    }

    /// The first of the last `days` days.
    pub(super) fn first_day(&self, days: u16) -> Day {
        let today = self.credentials.clock().now().day();
        today.minus(days.saturating_sub(1))
    }
}

/// Each scope by itself.
fn by_scope(uses: &[ScopeUse]) -> Vec<UsedScope> {
    let mut scopes = BTreeMap::<&str, UsedScope>::new();
    for used in uses {
        // Where no scope would do there is none to be named.
        let names = used.scopes.split(' ').filter(|name| !name.is_empty());
        for (place, name) in names.enumerate() {
            let of = scopes.entry(name).or_insert_with(|| UsedScope {
                scope: name.to_owned(),
                allowed: 0,
                denied: 0,
                last_used_at: None,
            });
            of.last_used_at = of.last_used_at.max(used.last_used_at);
            if place == 0 {
                of.allowed += used.allowed;
                of.denied += used.denied;
            }
        }
    }
    let scopes = scopes.into_values();
    scopes
        .filter(|it| it.allowed + it.denied > 0 || it.last_used_at.is_some())
        .collect()
}

fn used_by_credential(
    used: Vec<(CredentialId, String)>,
) -> HashMap<CredentialId, BTreeSet<String>> {
    let mut by_credential = HashMap::<_, BTreeSet<String>>::new();
    for (id, scopes) in used {
        let of = by_credential.entry(id).or_default();
        of.extend(scopes.split(' ').map(str::to_owned));
    }
    by_credential
}

fn count(
    catalog: &ScopeCatalog,
    credential: &Credential,
    used: Option<&BTreeSet<String>>,
) -> ScopeCounts {
    let held = &credential.settings.scopes;
    let api_type = catalog.api_type(credential.identity.api_type.as_str());
    let api_type = api_type.map(|it| &**it);
    let mut counts = ScopeCounts {
        read: 0,
        write: 0,
        broad: 0,
        unused: used.map(|used| unused(api_type, held, used).len()),
    };
    let listed = held
        .iter()
        .filter_map(|it| api_type.and_then(|api_type| api_type.scope(it)));
    for scope in listed {
        match (scope.kind, scope.permission) {
            (ScopeKind::Resource, Some(Permission::Read)) => counts.read += 1,
            (ScopeKind::Resource, _) => counts.write += 1,
            _ => counts.broad += 1,
        }
    }
    counts
}

/// Whether holding `held` confers `needed`: by name, wildcard or full access.
pub(super) fn confers(api_type: Option<&ApiType>, held: &str, needed: &str) -> bool {
    let by_rule = || {
        let api_type = api_type?;
        let needed = api_type.scope(needed)?;
        let rights = api_type.rights(&api_type.resolve([held]));
        Some(rights.contains(needed.index))
    };
    held == needed || by_rule().unwrap_or(false)
}

/// The held scopes that no used one depends on. A used scope depends on itself, if it is held; else on each held one that
/// confers it. So taking all of these away breaks nothing that was used.
pub(super) fn unused<'a>(
    api_type: Option<&ApiType>,
    held: &'a [String],
    used: &BTreeSet<String>,
) -> Vec<&'a str> {
    let through_others: Vec<_> = used.iter().filter(|it| !held.contains(it)).collect();
    let is_used = |scope: &String| {
        used.contains(scope)
            || through_others
                .iter()
                .any(|needed| confers(api_type, scope, needed))
    };
    let unused = held.iter().filter(|it| !is_used(it));
    unused.map(String::as_str).collect()
}

/// The names in those uses that an allowed call needed on that day or later.
pub(super) fn used_since(uses: &[ScopeUse], since: Day) -> BTreeSet<String> {
    let recent = uses
        .iter()
        .filter(|it| it.allowed > 0 || it.last_used_at.is_some_and(|at| at >= since.begins()));
    let names = recent.flat_map(|it| it.scopes.split(' '));
    names.map(str::to_owned).collect()
}

// Nothing that is asked for here was removed already.
const _: () = assert!(MAX_USAGE_DAYS as u64 * 86_400 <= CALLS_KEPT_FOR.as_secs());
