//! What a change of scopes would break, against what it does break.

#![expect(clippy::unwrap_used, reason = "a test that cannot be set up must fail")]

mod common;

use std::collections::BTreeSet;

use common::{Deployment, Key, admin};
use credential_core::{
    Access,
    authorize::CallOrigin,
    catalog::{Requirement, ScopeCatalog, SearchForm},
    manage::{ManageError, ScopeChoice, ScopePreview, SetScopes},
};
use proptest::{collection::vec, prelude::*, sample::subsequence};
use tokio::runtime::Builder;

/// The scopes that the random credentials hold.
const APIV2: &[&str] = &[
    "act_as_user",
    "system/bills.read",
    "system/patients.read",
    "system/patients.write",
    "system/vitals.read",
];
const FHIR: &[&str] = &[
    "system/*.read",
    "system/Condition.read",
    "system/Observation.read",
    "system/Patient.read",
];

/// The calls that they make. The flag: on behalf of a user.
const APIV2_CALLS: &[(&str, &str, bool)] = &[
    ("GET", "/api/2.0/bills/1/", false),
    ("GET", "/api/2.0/bills/1/", true),
    ("GET", "/api/2.0/patients/1/", false),
    ("GET", "/api/2.0/patients/1/", true),
    ("PUT", "/api/2.0/patients/1/", true),
    ("GET", "/api/2.0/vitals/", false),
    ("GET", "/api/2.0/no_such_thing/", false),
];
const FHIR_CALLS: &[(&str, &str, bool)] = &[
    ("GET", "/fhir/r4/Patient/1", false),
    ("GET", "/fhir/r4/Observation/1", false),
    (
        "GET",
        "/fhir/r4/Observation?_include=Observation:subject:Patient",
        false,
    ),
    (
        "GET",
        "/fhir/r4/Condition?_include=Condition:subject:Patient&_revinclude=Observation:focus",
        false,
    ),
    ("GET", "/fhir/r4/Patient/1/Observation", false),
    ("GET", "/fhir/r4/Encounter/1", false),
];

type Call = (&'static str, &'static str, bool);

fn set(names: &[&str]) -> SetScopes {
    let names = names.iter().map(|&name| name.to_owned()).collect();
    SetScopes {
        choice: ScopeChoice::Named(names).into(),
        ..SetScopes::default()
    }
}

/// Whether the call is allowed, as a guard asks.
fn permitted(access: &Access, (method, target, acting): Call) -> bool {
    let api_type = access.api_type();
    let needed = api_type.requirement(method, target, SearchForm::None);
    let mut needed: Vec<Requirement> = vec![needed.unwrap()];
    if acting {
        needed.push(api_type.requires("act_as_user").unwrap());
    }
    let needed: Vec<_> = needed.iter().collect();
    access.permits_all(&needed, CallOrigin::default())
}

struct Replay {
    deployment: Deployment,
    key: Key,
    token: String,
}

impl Replay {
    async fn of(api_type: &str, before: &[&str]) -> Self {
        let deployment = Deployment::new();
        let key = deployment.key("Lab", api_type, before).await;
        let token = key.token(&deployment.node, None).await;
        Self {
            deployment,
            key,
            token,
        }
    }

    async fn calls(&self, calls: &[Call]) -> Vec<bool> {
        let access = self.deployment.node.verify(&self.token).await.unwrap();
        calls.iter().map(|call| permitted(&access, *call)).collect()
    }

    async fn flush(&self) {
        let running = self.deployment.node.start().await.unwrap();
        running.shutdown().await;
    }

    async fn preview(&self, after: &[&str]) -> ScopePreview {
        let admin = admin("alder");
        let manage = self.deployment.node.manage(&admin);
        manage
            .preview_scopes(self.key.id, set(after))
            .await
            .unwrap()
    }
}

/// Random scopes before and after, and random calls.
fn case(
    scopes: &'static [&'static str],
    calls: &'static [Call],
) -> impl Strategy<Value = (Vec<&'static str>, Vec<&'static str>, Vec<Call>)> {
    let company = |names: &Vec<&str>| *names != ["act_as_user"];
    (
        subsequence(scopes, 1..=scopes.len()).prop_filter("lonely", company),
        subsequence(scopes, 0..=scopes.len()).prop_filter("lonely", company),
        vec(prop::sample::select(calls), 0..40),
    )
}

fn check(api_type: &str, before: &[&str], after: &[&str], calls: &[Call]) {
    let runtime = Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let replay = Replay::of(api_type, before).await;
        let allowed = replay.calls(calls).await;
        replay.flush().await;
        let preview = replay.preview(after).await;
        let unused: Vec<_> = preview.unused.iter().map(String::as_str).collect();
        let used: Vec<_> = before
            .iter()
            .copied()
            .filter(|it| !unused.contains(it))
            .collect();
        if used != ["act_as_user"] {
            let without = replay.preview(&used).await;
            let broken: u64 = without.removed.iter().map(|it| it.requests).sum();
            assert_eq!(broken, 0, "what is unused breaks nothing: {without:?}");
        }
        let sum: u64 = preview.removed.iter().map(|it| it.requests).sum();

        // The same calls after the change.
        replay.deployment.set_scopes(&replay.key, after).await;
        let now = replay.calls(calls).await;
        let refused = allowed
            .iter()
            .zip(&now)
            .filter(|(then, now)| **then && !**now);
        assert_eq!(sum, refused.count() as u64, "{preview:?}");

        // Each removed scope is there once.
        let names: BTreeSet<_> = preview.removed.iter().map(|it| &*it.scope).collect();
        let gone: BTreeSet<_> = before
            .iter()
            .copied()
            .filter(|it| !after.contains(it))
            .collect();
        assert_eq!(names, gone);
    });
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn a_preview_counts_what_is_refused_afterwards(
        (before, after, calls) in case(APIV2, APIV2_CALLS),
    ) {
        check("apiv2", &before, &after, &calls);
    }

    #[test]
    fn a_preview_counts_what_is_refused_afterwards_also_where_wildcards_confer(
        (before, after, calls) in case(FHIR, FHIR_CALLS),
    ) {
        check("fhir", &before, &after, &calls);
    }
}

#[test]
fn the_scopes_of_the_cases_are_listed() {
    let catalog = ScopeCatalog::elation();
    for (api_type, scopes) in [("apiv2", APIV2), ("fhir", FHIR)] {
        let api_type = catalog.api_type(api_type).unwrap();
        assert!(scopes.iter().all(|it| api_type.scope(it).is_some()));
    }
}

#[tokio::test]
async fn a_preview_changes_nothing_and_refuses_what_the_change_would() {
    let replay = Replay::of("apiv2", &["system/patients.read"]).await;
    let deployment = &replay.deployment;
    let alder = admin("alder");
    let node = deployment.node.manage(&alder);
    let before = deployment.credential(&replay.key).await;
    let preview = replay.preview(&["system/bills.read"]).await;
    assert_eq!(preview.added, ["system/bills.read"]);
    let removed = preview.removed.first().unwrap();
    assert_eq!((removed.requests, removed.last_used_at), (0, None));
    assert_eq!(preview.unused, ["system/patients.read"]);
    assert_eq!(deployment.credential(&replay.key).await, before);

    let id = replay.key.id;
    let unknown = node.preview_scopes(id, set(&["system/Patient.read"])).await;
    assert!(
        matches!(unknown, Err(ManageError::Invalid(_))),
        "{unknown:?}"
    );
    let birch = admin("birch");
    let strange = deployment
        .node
        .manage(&birch)
        .preview_scopes(id, set(&[]))
        .await;
    assert!(matches!(strange, Err(ManageError::NotFound)), "{strange:?}");
    deployment.revoke(&replay.key).await;
    let revoked = node.preview_scopes(id, set(&[])).await;
    assert!(matches!(revoked, Err(ManageError::Revoked)), "{revoked:?}");
}

/// A call 29 days ago counts, one 30 days ago does not.
#[tokio::test]
async fn thirty_days_make_a_scope_unused() {
    let read = ("GET", "/api/2.0/patients/1/", false);
    let replay = Replay::of("apiv2", &["system/patients.read"]).await;
    assert_eq!(replay.calls(&[read]).await, [true]);
    replay.flush().await;
    let clock = &replay.deployment.clock;
    let day = std::time::Duration::from_secs(86_400);
    clock.advance(day * 29);
    let preview = replay.preview(&[]).await;
    let removed = preview.removed.first().unwrap();
    assert_eq!((removed.requests, preview.unused.len()), (1, 0));
    let last = removed.last_used_at;
    clock.advance(day);
    let preview = replay.preview(&[]).await;
    let removed = preview.removed.first().unwrap();
    assert_eq!((removed.requests, preview.unused.len()), (0, 1));
    assert_eq!(removed.last_used_at, last, "kept for longer");
    assert!(last.is_some());
}
