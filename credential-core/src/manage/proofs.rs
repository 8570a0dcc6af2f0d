//! What proves a client in place of a secret: its public keys, and the workloads that it trusts.

use serde_json::Value;

use super::{
    Changed, Expected, Field, Manage, ManageError, NewProof, SetKeys, SetWorkloads,
    request::Findings,
};
use crate::{
    Credentials,
    clock::Timestamp,
    credential::{
        Credential, KeySetUrl, Means, NewWorkload, Registration, Settings, WorkloadFault,
        WorkloadRule,
    },
    id::{CredentialId, ProofId},
    jose::{MAX_KEYS, parse_key_set},
};

/// As how many listed credentials the check of a key counts: 0.4 ms of the millisecond that twenty are.
const ITEMS_PER_KEY: usize = 8;

impl Manage<'_> {
    /// Puts other public keys in the place of those that the credential has. Keys that stay keep their
    /// tokens; the tokens of keys that go end at once.
    ///
    /// # Errors
    /// `NotFound`, `SelfServiceUnavailable`, `Revoked`, `VersionRequired`, `StaleVersion`, `Invalid`,
    /// `LastProof`, `RateLimited`, `Store`.
    pub async fn set_keys(
        self,
        id: CredentialId,
        expected: Option<&Expected>,
        request: SetKeys,
    ) -> Result<Changed, ManageError> {
        let before = self.editable(id, expected).await?;
        if let Field::Value(Some(set)) = &request.jwks {
            self.charge_keys([set]);
        }
        let mut found = Findings::new(request.incomplete);
        let wanted = match (request.jwks, request.jwks_uri) {
            (Field::Absent, Field::Absent) => {
                let message = "send a key set, `null` for no keys, or `jwks_uri`";
                found.add("jwks", "required", message);
                Vec::new()
            }
            (set, Field::Absent) => match found.optional(set).flatten() {
                Some(set) => check_key_set(&set, "jwks", &mut found),
                None => Vec::new(),
            },
            (_, url) => match found.optional(url).flatten() {
                Some(url) => check_key_url(&url, self.credentials, "jwks_uri", &mut found)
                    .into_iter()
                    .collect(),
                None => Vec::new(),
            },
        };
        if !found.is_empty() {
            return Err(found.into_error());
        }
        let is_key = |it: &Means| !matches!(it, Means::Workload(_));
        self.put(before, is_key, wanted).await
    }

    /// Puts other trusted workloads in the place of those that the credential has. Rules that stay keep their
    /// tokens; the tokens of rules that go end at once.
    ///
    /// # Errors
    /// As for [`set_keys`](Self::set_keys).
    pub async fn set_workloads(
        self,
        id: CredentialId,
        expected: Option<&Expected>,
        request: SetWorkloads,
    ) -> Result<Changed, ManageError> {
        let before = self.editable(id, expected).await?;
        let mut found = Findings::new(request.incomplete);
        let message = "send a list of rules, empty for none";
        let rules = found.required(request.workloads, "workloads", message);
        let rules = rules.unwrap_or_default();
        self.charge_keys(rules.iter().filter_map(|rule| rule.jwks.as_ref()));
        if rules.len() > WorkloadRule::MAX_RULES {
            let message = format!("at most {} rules", WorkloadRule::MAX_RULES);
            found.add("workloads", "too_many", message);
        }
        let mut wanted = Vec::new();
        for (at, rule) in rules.into_iter().enumerate().take(WorkloadRule::MAX_RULES) {
            let field = |member: &str| format!("workloads[{at}].{member}");
            if let Some(rule) = check_workload(rule, self.credentials, field, &mut found) {
                if wanted.contains(&rule) {
                    let message = format!("rule {at} is there twice");
                    found.add("workloads", "duplicate", message);
                }
                wanted.push(rule);
            }
        }
        if !found.is_empty() {
            return Err(found.into_error());
        }
        let is_rule = |it: &Means| matches!(it, Means::Workload(_));
        self.put(before, is_rule, wanted).await
    }

    /// Counts the check of so many keys against the pace of the tenant's admins: a point costs as much as a
    /// verification.
    pub(super) fn charge_keys<'k>(&self, sets: impl IntoIterator<Item = &'k Value>) {
        let keys = sets
            .into_iter()
            .filter_map(|set| set.get("keys")?.as_array());
        let keys: usize = keys.map(|keys| keys.len().min(MAX_KEYS)).sum();
        let store_work = &self.credentials.0.store_work;
        store_work.charge_admins(self.admin.tenant(), keys * ITEMS_PER_KEY);
    }

    /// Puts what is wanted in the place of the registrations of one kind.
    async fn put(
        self,
        before: Credential,
        of_kind: impl Fn(&Means) -> bool,
        wanted: Vec<Means>,
    ) -> Result<Changed, ManageError> {
        let now = self.credentials.clock().now();
        let had = &before.settings.registrations;
        let mut registrations: Vec<Registration> = had
            .iter()
            .filter(|it| !of_kind(&it.means))
            .cloned()
            .collect();
        for means in wanted {
            let kept = had.iter().find(|it| it.means == means);
            registrations.push(match kept {
                Some(kept) => kept.clone(),
                None => self.credentials.register(means, now),
            });
        }
        // Keys first, so that an order does not depend on which was put last.
        registrations.sort_by_key(|it| matches!(it.means, Means::Workload(_)));
        let settings = Settings {
            registrations,
            ..before.settings.clone()
        };
        if settings.decides_as(&before.settings) {
            return self.already_in_effect(before).await;
        }
        let left = before.live_secrets(now).count() + settings.registrations.len();
        if left == 0 && before.live_proofs(now) > 0 {
            return Err(ManageError::LastProof);
        }
        self.replace(&before, settings).await
    }
}

impl Credentials {
    pub(super) fn register(&self, means: Means, now: Timestamp) -> Registration {
        Registration {
            proof: ProofId::random(&*self.0.entropy),
            means,
            created_at: now,
            last_used_at: None,
        }
    }
}

/// What a new credential is to be proven with in place of a secret; none if it is to have a secret.
pub(super) fn check_new_proof(
    proof: NewProof,
    host: &Credentials,
    found: &mut Findings,
) -> Vec<Means> {
    match proof {
        NewProof::Secret => Vec::new(),
        NewProof::Keys(set) => check_key_set(&set, "authentication.jwks", found),
        NewProof::KeySetUrl(url) => check_key_url(&url, host, "authentication.jwks_uri", found)
            .into_iter()
            .collect(),
        NewProof::Workload(rule) => {
            let field = |member: &str| format!("authentication.{member}");
            check_workload(*rule, host, field, found)
                .into_iter()
                .collect()
        }
    }
}

fn check_key_set(set: &Value, field: &str, found: &mut Findings) -> Vec<Means> {
    match parse_key_set(set) {
        Ok(keys) => keys.into_iter().map(Means::Key).collect(),
        Err(faults) => {
            for fault in faults {
                found.add(field, fault.code(), fault.to_string());
            }
            Vec::new()
        }
    }
}

fn check_key_url(
    url: &str,
    host: &Credentials,
    field: &str,
    found: &mut Findings,
) -> Option<Means> {
    if !host.may_fetch() {
        found.add(field, "outbound_off", NO_FETCH);
        return None;
    }
    let checked = KeySetUrl::parse(url);
    let checked = checked.map_err(|fault| found.add(field, fault.code(), fault.to_string()));
    checked.ok().map(Means::KeySetUrl)
}

fn check_workload(
    rule: NewWorkload,
    host: &Credentials,
    field: impl Fn(&str) -> String,
    found: &mut Findings,
) -> Option<Means> {
    if rule.jwks.is_none() && !host.may_fetch() {
        let message = format!("{NO_FETCH}; pin the issuer's keys with `jwks`");
        found.add(&field("issuer"), "outbound_off", message);
    }
    match WorkloadRule::check(rule) {
        Ok(rule) => Some(Means::Workload(rule)),
        Err(faults) => {
            for fault in faults {
                let member = WorkloadFault::member(&fault);
                found.add(&field(member), fault.code(), fault.to_string());
            }
            None
        }
    }
}

const NO_FETCH: &str = "this server does not fetch keys from other servers";
