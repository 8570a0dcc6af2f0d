//! How credentials are used: counted by checks and issued tokens, written in batches.

#![expect(clippy::unwrap_used, reason = "a test that cannot be set up must fail")]

mod common;

use common::{Deployment, admin};
use std::{error::Error as _, net::IpAddr, time::Duration};

use credential_core::{
    Access,
    authorize::{CallOrigin, TokenRefusal},
    catalog::{Permission, Requirement, ScopeCatalog, ScopeKind, SearchForm},
    clock::Timestamp,
    entropy::OsEntropy,
    id::{ClientId, ClientIdPrefix, Environment},
    manage::{Expected, UpdateCredential},
    store::{RefusalCount, Usage, UsageStore as _},
};

const READ: &[&str] = &["system/patients.read"];

async fn last_used(deployment: &Deployment, key: &common::Key) -> [Option<Timestamp>; 2] {
    let credential = deployment.credential(key).await;
    [
        credential.observed.last_used_at,
        credential.settings.secrets[0].last_used_at,
    ]
}

#[tokio::test]
async fn use_is_written_at_shutdown_and_never_per_request() {
    let deployment = Deployment::new();
    let running = deployment.node.start().await.unwrap();
    let key = deployment.key("Lab", "apiv2", READ).await;
    assert_eq!(last_used(&deployment, &key).await, [None, None]);
    let token = key.token(&deployment.node, None).await;
    deployment.advance(3_000);
    deployment.node.catch_up().await.unwrap();
    let access = deployment.node.verify(&token).await.unwrap();
    let calls = deployment.store.calls();
    for _ in 0..1_000 {
        assert!(access.has_scope("system/patients.read"));
    }
    assert_eq!(deployment.store.calls(), calls);
    running.shutdown().await;
    let now = Some(deployment.node.clock().now());
    assert_eq!(last_used(&deployment, &key).await, [now, now]);
}

#[tokio::test]
async fn a_condition_of_a_call_is_no_use() {
    let deployment = Deployment::new();
    let running = deployment.node.start().await.unwrap();
    let key = deployment.key("Lab", "apiv2", READ).await;
    let token = key.token(&deployment.node, None).await;
    let issued = Some(deployment.node.clock().now());
    deployment.advance(3_000);
    deployment.node.catch_up().await.unwrap();
    let access = deployment.node.verify(&token).await.unwrap();
    let reading = access.api_type().requires(READ[0]).unwrap();
    assert!(access.meets(&reading));
    running.shutdown().await;
    assert_eq!(last_used(&deployment, &key).await, [issued, issued]);
}

#[tokio::test]
async fn an_access_says_which_credential_calls_and_a_misspelt_scope_is_an_error() {
    let deployment = Deployment::new();
    let key = deployment.key("Lab", "apiv2", READ).await;
    let token = key.token(&deployment.node, None).await;
    let access = deployment.node.verify(&token).await.unwrap();
    assert_eq!(access.credential_id(), key.id);
    assert_eq!(access.credential_name(), "Lab");

    let apiv2 = access.api_type();
    assert!(access.permits(&apiv2.requires(READ[0]).unwrap()));
    for typo in ["system/patient.read", "system/Patient.read", ""] {
        let error = apiv2.requires(typo).unwrap_err();
        assert_eq!(
            error.to_string(),
            format!("the API type `apiv2` has no scope `{typo}`")
        );
        assert!(!access.has_scope(typo));
    }
    // What could be a secret in the wrong place is not repeated.
    let secret = "x".repeat(100);
    assert!(
        !apiv2
            .requires(&secret)
            .unwrap_err()
            .to_string()
            .contains(&secret)
    );

    // A renamed credential goes by its new name.
    let rename = UpdateCredential {
        name: "Lab 2".into(),
        ..UpdateCredential::default()
    };
    let expected = Some(&Expected::Any);
    let admin = admin("alder");
    deployment
        .node
        .manage(&admin)
        .update(key.id, expected, rename)
        .await
        .unwrap();
    let access = deployment.node.verify(&token).await.unwrap();
    assert_eq!(access.credential_name(), "Lab 2");
}

#[tokio::test]
async fn a_refusal_is_an_error_with_its_reason_below() {
    let deployment = Deployment::new();
    let error = deployment.node.verify("made up").await.unwrap_err();
    assert_eq!(error.to_string(), "the access token is not valid");
    let reason: &TokenRefusal = error.source().unwrap().downcast_ref().unwrap();
    assert_eq!(*reason, TokenRefusal::NotOurs);
    let said = reason.to_string();
    assert_eq!(said, "the token is not of this deployment, or was altered");
}

#[tokio::test]
async fn a_denied_call_is_no_use_and_an_issued_token_is() {
    let deployment = Deployment::new();
    let key = deployment.key("Lab", "apiv2", READ).await;
    let token = key.token(&deployment.node, None).await;
    let issued = Some(deployment.node.clock().now());
    deployment.advance(3_000);
    let access = deployment.node.verify(&token).await.unwrap();
    assert!(!access.has_scope("system/patients.write"));
    deployment.node.start().await.unwrap().shutdown().await;
    assert_eq!(last_used(&deployment, &key).await, [issued, issued]);
}

#[tokio::test]
async fn what_could_not_be_written_is_written_later() {
    let deployment = Deployment::new();
    let running = deployment.node.start().await.unwrap();
    let key = deployment.key("Lab", "apiv2", READ).await;
    key.token(&deployment.node, None).await;
    deployment.store.fail(true);
    running.shutdown().await;
    deployment.store.fail(false);
    assert_eq!(last_used(&deployment, &key).await, [None, None]);
    deployment.node.start().await.unwrap().shutdown().await;
    assert!(last_used(&deployment, &key).await[0].is_some());
}

#[tokio::test]
async fn use_makes_no_edit_stale() {
    let deployment = Deployment::new();
    let key = deployment.key("Lab", "apiv2", READ).await;
    key.token(&deployment.node, None).await;
    deployment.node.start().await.unwrap().shutdown().await;
    let first = Expected::OneOf(vec![1]);
    deployment
        .node
        .manage(&admin("alder"))
        .revoke(key.id, Some(&first))
        .await
        .unwrap();
}

/// Everything that the store knows of the use of a key of `alder`.
async fn usage(deployment: &Deployment, key: &common::Key) -> Usage {
    let since = Timestamp::MIN.day();
    let alder = "alder".parse().unwrap();
    let found = deployment.memory.usage(&alder, key.id, since);
    found.await.unwrap()
}

/// Per needed scopes: allowed and denied.
fn counts(usage: &Usage) -> Vec<(&str, u64, u64)> {
    let scopes = usage.scopes.iter();
    scopes
        .map(|it| (&*it.scopes, it.allowed, it.denied))
        .collect()
}

async fn refusals(deployment: &Deployment, key: &common::Key) -> Vec<RefusalCount> {
    let alder = "alder".parse().unwrap();
    let found = deployment
        .memory
        .refusals(&alder, key.id, Timestamp::MIN, 50);
    found.await.unwrap()
}

/// A node that starts and stops writes what it has counted.
async fn flush(deployment: &Deployment) {
    deployment.node.start().await.unwrap().shutdown().await;
}

fn needs(api_type: &str, method: &str, target: &str) -> Requirement {
    let catalog = ScopeCatalog::elation();
    let api_type = catalog.api_type(api_type).unwrap();
    let needed = api_type.requirement(method, target, SearchForm::None);
    needed.unwrap()
}

fn call(access: &Access, method: &str, path: &str) -> bool {
    access.permits(&needs("apiv2", method, path))
}

#[tokio::test]
async fn calls_are_counted_by_the_scope_that_they_need() {
    let deployment = Deployment::new();
    let narrow = deployment
        .key(
            "Narrow",
            "apiv2",
            &["system/patients.read", "system/patients.write"],
        )
        .await;
    let full = deployment.key("Full", "apiv2", &["apiv2"]).await;
    let token = narrow.token(&deployment.node, None).await;
    let access = deployment.node.verify(&token).await.unwrap();
    for (times, method, path, allowed) in [
        (3, "GET", "/api/2.0/patients/1/", true),
        (2, "PUT", "/api/2.0/patients/1/", true),
        (1, "GET", "/api/2.0/bills/1/", false),
        (4, "GET", "/api/2.0/no_such_thing/", false),
        // No scope opens it, not even full access: by the full-access scope, as all that has none.
        (1, "PROPFIND", "/api/2.0/patients/1/", false),
    ] {
        for _ in 0..times {
            assert_eq!(call(&access, method, path), allowed, "{method} {path}");
        }
    }
    // Open to all: no scope was asked for.
    assert!(access.permits(&Requirement::Public));
    let token = full.token(&deployment.node, None).await;
    let access = deployment.node.verify(&token).await.unwrap();
    assert!(call(&access, "GET", "/api/2.0/patients/1/"));
    assert!(call(&access, "GET", "/api/2.0/no_such_thing/"));
    // A condition of a call is none.
    assert!(access.meets(&needs("apiv2", "GET", "/api/2.0/bills/")));
    flush(&deployment).await;

    let found = usage(&deployment, &narrow).await;
    let expected = [
        ("apiv2", 0, 5),
        ("system/bills.read", 0, 1),
        ("system/patients.read", 3, 0),
        ("system/patients.write", 2, 0),
    ];
    assert_eq!(counts(&found), expected);
    let now = deployment.node.clock().now();
    let [day] = &*found.days else {
        panic!("{found:?}")
    };
    assert_eq!((day.day, day.allowed, day.denied), (now.day(), 5, 6));
    let last = |scope| {
        let mut scopes = found.scopes.iter();
        scopes.find(|it| it.scopes == scope).unwrap().last_used_at
    };
    assert_eq!(last("system/patients.read"), Some(now));
    assert_eq!(last("system/bills.read"), None);
    let found = usage(&deployment, &full).await;
    let expected = [("apiv2", 1, 0), ("system/patients.read", 1, 0)];
    assert_eq!(counts(&found), expected);
}

/// Also if it was needed once only, right after a call that needed another one.
#[tokio::test]
async fn each_allowed_scope_has_a_last_use() {
    let deployment = Deployment::new();
    let held = [
        "system/bills.read",
        "system/patients.read",
        "system/vitals.read",
    ];
    let key = deployment.key("Lab", "apiv2", &held).await;
    let token = key.token(&deployment.node, None).await;
    let access = deployment.node.verify(&token).await.unwrap();
    for resource in ["patients", "vitals", "bills"] {
        let path = format!("/api/2.0/{resource}/");
        assert!(call(&access, "GET", &path));
    }
    drop(access);
    flush(&deployment).await;
    let found = usage(&deployment, &key).await;
    let now = Some(deployment.node.clock().now());
    let last = found.scopes.iter().map(|it| (it.allowed, it.last_used_at));
    assert_eq!(last.collect::<Vec<_>>(), [(1, now); 3]);
}

/// Nobody can hold what the catalogue does not list: counted, without a name. The name would be the caller's.
#[tokio::test]
async fn a_call_that_no_scope_would_allow_is_counted_without_a_name() {
    let deployment = Deployment::new();
    let key = deployment.key("App", "fhir", &["system/*.read"]).await;
    let token = key.token(&deployment.node, None).await;
    let access = deployment.node.verify(&token).await.unwrap();
    let unknown = needs("fhir", "PUT", "/fhir/r4/MaryJones/1");
    assert!(matches!(unknown, Requirement::Unlisted(_)), "{unknown:?}");
    assert!(!access.permits_call(&unknown, CallOrigin::default()));
    flush(&deployment).await;
    assert_eq!(counts(&usage(&deployment, &key).await), [("", 0, 1)]);
    let found = refusals(&deployment, &key).await;
    assert_eq!(found[0].needed_scope, None);
}

#[tokio::test]
async fn a_call_that_needs_several_scopes_is_one_call_of_all_of_them() {
    let deployment = Deployment::new();
    let key = deployment.key("App", "fhir", &["system/*.read"]).await;
    let token = key.token(&deployment.node, None).await;
    let access = deployment.node.verify(&token).await.unwrap();
    let searched = "/fhir/r4/Observation?_include=Observation:subject:Patient";
    for _ in 0..2 {
        assert!(access.permits(&needs("fhir", "GET", searched)));
    }
    // More than a counter is found by, and more than one row of the store can name.
    let fhir = access.api_type();
    let many: Vec<_> = fhir
        .scopes()
        .filter(|it| it.permission == Some(Permission::Read) && it.kind == ScopeKind::Resource)
        .map(|it| fhir.requires(&it.name).unwrap())
        .collect();
    assert!(many.len() > 16, "{}", many.len());
    let some: Vec<_> = many.iter().take(7).collect();
    assert!(access.permits_all(&some, CallOrigin::default()));
    assert!(access.permits_all(&many.iter().collect::<Vec<_>>(), CallOrigin::default()));
    flush(&deployment).await;
    let found = usage(&deployment, &key).await;
    assert_eq!(found.days[0].allowed, 4, "each call once");
    let both = found.scopes.iter().find(|it| it.allowed == 2).unwrap();
    assert_eq!(both.scopes, "system/Observation.read system/Patient.read");
    let lengths = found.scopes.iter().map(|it| it.scopes.split(' ').count());
    let mut lengths: Vec<_> = lengths.collect();
    lengths.sort_unstable();
    assert!(lengths.contains(&7) && lengths.contains(&16), "{lengths:?}");
    let seen = found.scopes.iter().flat_map(|it| it.scopes.split(' '));
    let mut seen: Vec<_> = seen.collect();
    seen.sort_unstable();
    seen.dedup();
    assert_eq!(seen.len(), many.len(), "all are seen to be used");
    assert!(found.scopes.iter().all(|it| it.last_used_at.is_some()));
}

#[tokio::test]
async fn the_first_requirement_names_a_call_and_the_missing_one_its_denial() {
    let deployment = Deployment::new();
    let held = ["system/patients.read", "act_as_user"];
    let key = deployment.key("Lab", "apiv2", &held).await;
    let token = key.token(&deployment.node, None).await;
    let access = deployment.node.verify(&token).await.unwrap();
    let apiv2 = access.api_type();
    let scope = |name| apiv2.requires(name).unwrap();
    let (read, acting) = (scope("system/patients.read"), scope("act_as_user"));
    let bills = scope("system/bills.read");
    let from = CallOrigin::default();
    assert!(access.permits_all(&[&read, &acting], from));
    assert!(!access.permits_all(&[&read, &acting, &bills], from));
    flush(&deployment).await;
    let found = usage(&deployment, &key).await;
    let expected = [
        ("system/bills.read", 0, 1),
        ("system/patients.read act_as_user", 1, 0),
    ];
    assert_eq!(counts(&found), expected);
}

/// A token of one API at another: its credential's admins see what it would have needed.
#[tokio::test]
async fn a_call_of_another_api_is_denied_by_the_scope_of_that_api() {
    let deployment = Deployment::new();
    let key = deployment.key("App", "fhir", &["system/*.read"]).await;
    let token = key.token(&deployment.node, None).await;
    let access = deployment.node.verify(&token).await.unwrap();
    let patients = needs("apiv2", "GET", "/api/2.0/patients/");
    assert!(!access.permits_call(&patients, CallOrigin::default()));
    access.note_denied(&patients, CallOrigin::default());
    flush(&deployment).await;
    let found = usage(&deployment, &key).await;
    assert_eq!(counts(&found), [("system/patients.read", 0, 2)]);
    let found = refusals(&deployment, &key).await;
    assert_eq!((found[0].count, &*found[0].reason), (2, "scope_missing"));
}

#[tokio::test]
async fn a_batch_whose_answer_was_lost_is_counted_once() {
    let deployment = Deployment::new();
    let key = deployment.key("Lab", "apiv2", READ).await;
    let token = key.token(&deployment.node, None).await;
    let access = deployment.node.verify(&token).await.unwrap();
    let read = || assert!(call(&access, "GET", "/api/2.0/patients/"));
    read();
    deployment.store.lose_answers(true);
    flush(&deployment).await;
    flush(&deployment).await;
    read();
    flush(&deployment).await;
    assert_eq!(deployment.store.batches(), 3);
    deployment.store.lose_answers(false);
    flush(&deployment).await;
    // The first one again, then what was counted since.
    assert_eq!(deployment.store.batches(), 5);
    let found = usage(&deployment, &key).await;
    assert_eq!(counts(&found), [("system/patients.read", 2, 0)]);
    flush(&deployment).await;
    assert_eq!(deployment.store.batches(), 5, "nothing to write");
}

/// While the node runs it writes one batch per interval at most, however much was counted.
#[tokio::test(start_paused = true)]
async fn there_is_one_batch_per_interval_and_the_day_ends_at_midnight() {
    let deployment = Deployment::new();
    let midnight = deployment.node.clock().now().day().after().begins();
    deployment
        .clock
        .set_now(midnight.saturating_sub(Duration::from_secs(12)));
    let key = deployment.key("Lab", "apiv2", READ).await;
    let token = key.token(&deployment.node, None).await;
    let running = deployment.node.start().await.unwrap();
    let mut batches = vec![deployment.store.batches()];
    let mut seen = Vec::new();
    for second in 0..25_u64 {
        // Calls come between the seconds, batches on them.
        let half_a_second = Duration::from_millis(500);
        deployment.clock.advance(half_a_second);
        tokio::time::sleep(half_a_second).await;
        let access = deployment.node.verify(&token).await.unwrap();
        assert!(call(&access, "GET", "/api/2.0/patients/"));
        assert!(!call(&access, "GET", "/api/2.0/bills/"));
        deployment.clock.advance(half_a_second);
        tokio::time::sleep(half_a_second).await;
        if *batches.last().unwrap() != deployment.store.batches() {
            batches.push(deployment.store.batches());
            seen.push(second + 1);
        }
    }
    running.shutdown().await;
    assert_eq!(batches, [0, 1, 2, 3, 4, 5]);
    assert_eq!(seen.len(), 5, "{seen:?}");
    let found = usage(&deployment, &key).await;
    let days: Vec<_> = found.days.iter().map(|it| (it.day, it.allowed)).collect();
    let today = midnight.day();
    assert_eq!(days, [(today.minus(1), 12), (today, 13)]);
}

#[tokio::test]
async fn refusals_are_noted_for_the_credential_that_they_concern() {
    let deployment = Deployment::new();
    let key = deployment.key("Lab", "apiv2", READ).await;
    let other = deployment.key_of("birch", "Lab", "apiv2", READ).await;
    let node = &deployment.node;
    let token = key.token(node, None).await;
    let access = node.verify(&token).await.unwrap();
    let address: IpAddr = "192.0.2.7".parse().unwrap();
    let from = |method| CallOrigin {
        method: Some(method),
        address: Some(&address),
    };
    let bills = needs("apiv2", "GET", "/api/2.0/bills/");
    let patients = needs("apiv2", "GET", "/api/2.0/patients/");
    assert!(!access.permits_call(&bills, from("GET")));
    assert!(!access.permits_call(&bills, from("GET")));
    assert!(!access.permits_call(&bills, from("MARY-JONES")));
    assert!(access.permits_call(&patients, from("GET")));
    node.bearer(&token).note_refused(&patients, from("GET"));
    // Forged, another client's, of a client that does not exist, of another environment.
    let forged = common::with_another_end(&key.secret);
    node.authenticate(&key.client_id, &forged)
        .await
        .unwrap_err();
    node.authenticate(&key.client_id, "hunter2")
        .await
        .unwrap_err();
    node.authenticate(&key.client_id, &other.secret)
        .await
        .unwrap_err();
    let prefix = ClientIdPrefix::default();
    for environment in [Environment::Sandbox, Environment::Production] {
        let stranger = ClientId::generate(&prefix, environment, &OsEntropy);
        node.authenticate(stranger.as_str(), &key.secret)
            .await
            .unwrap_err();
    }
    // A scope that it does not hold.
    let client = node
        .authenticate(&key.client_id, &key.secret)
        .await
        .unwrap();
    node.issue_from(&client, Some("system/bills.read"), &address)
        .unwrap_err();
    node.issue(&client, Some("MARY-JONES")).unwrap_err();
    deployment.revoke(&key).await;
    node.verify(&token).await.unwrap_err();
    assert_eq!(key.refusal(node).await.as_str(), "revoked");
    flush(&deployment).await;

    let found = refusals(&deployment, &key).await;
    let mut told: Vec<_> = found
        .iter()
        .map(|it| {
            (
                &*it.reason,
                it.needed_scope.as_deref(),
                it.method.as_deref(),
                it.address.is_some(),
                it.count,
            )
        })
        .collect();
    told.sort_unstable();
    let (read, lacking) = (Some("system/patients.read"), Some("system/bills.read"));
    let expected = [
        ("address_not_allowed", read, Some("GET"), true, 1),
        ("revoked", None, None, false, 2),
        ("scope_missing", lacking, None, true, 2),
        ("scope_missing", lacking, Some("GET"), true, 2),
        ("unknown_scope", None, None, false, 1),
        ("wrong_secret", None, None, false, 3),
    ];
    assert_eq!(told, expected);
    let found = usage(&deployment, &key).await;
    let expected = [("system/bills.read", 0, 3), ("system/patients.read", 1, 1)];
    assert_eq!(counts(&found), expected);
    // The owner of the secret is not told what another client tried.
    let birch = "birch".parse().unwrap();
    let found = deployment
        .memory
        .refusals(&birch, other.id, Timestamp::MIN, 50);
    assert_eq!(found.await.unwrap(), []);
}

#[tokio::test]
async fn refusals_say_how_the_credential_ended() {
    let deployment = Deployment::new();
    let node = &deployment.node;
    let key = deployment.key("Lab", "apiv2", READ).await;
    let token = key.token(node, None).await;
    node.verify(&token).await.unwrap();
    let end = node.clock().now().saturating_add(Duration::from_secs(60));
    let expiring = UpdateCredential {
        expires_at: Some(end).into(),
        ..UpdateCredential::default()
    };
    let admin = admin("alder");
    let any = Some(&Expected::Any);
    node.manage(&admin)
        .update(key.id, any, expiring)
        .await
        .unwrap();
    node.verify(&token).await.unwrap();
    deployment.advance(60_000);
    node.verify(&token).await.unwrap_err();
    flush(&deployment).await;
    let found = refusals(&deployment, &key).await;
    assert_eq!(&*found[0].reason, "expired");
    assert_eq!(found[0].at, end);
}

/// Also of a credential that is no longer cached, and through a store that was away.
#[tokio::test]
async fn what_was_counted_outlives_the_cache() {
    let deployment = Deployment::with(|builder| builder.credential_cache(1).token_cache(1));
    let mut keys = Vec::new();
    for n in 0..20 {
        let key = deployment.key(&format!("key {n}"), "apiv2", READ).await;
        let token = key.token(&deployment.node, None).await;
        let access = deployment.node.verify(&token).await.unwrap();
        assert!(call(&access, "GET", "/api/2.0/patients/"));
        keys.push(key);
    }
    deployment.node.start().await.unwrap().shutdown().await;
    for key in &keys {
        let found = usage(&deployment, key).await;
        assert_eq!(counts(&found), [("system/patients.read", 1, 0)]);
    }
}
