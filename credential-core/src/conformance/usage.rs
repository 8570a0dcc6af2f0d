//! What may lag behind.

use std::{collections::BTreeSet, time::Duration};

use super::fixture::{
    LATER, NOW, at_once, credential, inserted, latest, new, node, seconds, secret, stored, tenant,
};
use crate::{
    clock::{Day, Timestamp},
    credential::Credential,
    entropy::OsEntropy,
    id::{ClientId, ClientIdPrefix, CredentialId, Environment, ProofId},
    store::{
        BATCHES_KEPT_FOR, CallCount, CredentialStore, DayUse, LastUse, MAX_BATCH, NodeId,
        REFUSALS_KEPT, RefusalCount, RefusalNote, RefusedClient, ScopeUse, Usage, UsageBatch,
        UsageStore,
    },
};

const READ: &str = "system/patients.read";
const WRITE: &str = "system/patients.write";

/// The first batch of a new node.
fn batch() -> UsageBatch {
    UsageBatch {
        node: node(),
        number: 1,
        uses: Vec::new(),
        calls: Vec::new(),
        refusals: Vec::new(),
    }
}

/// Records last uses, as a node that does so for the first time.
pub(super) async fn record_uses(store: &impl UsageStore, uses: &[LastUse]) {
    let uses = uses.to_vec();
    store.record(&UsageBatch { uses, ..batch() }).await.unwrap();
}

async fn record_calls(store: &impl UsageStore, calls: &[CallCount]) {
    let calls = calls.to_vec();
    let batch = UsageBatch { calls, ..batch() };
    store.record(&batch).await.unwrap();
}

async fn record_refusals(store: &impl UsageStore, refusals: &[RefusalNote]) {
    let refusals = refusals.to_vec();
    let batch = UsageBatch {
        refusals,
        ..batch()
    };
    store.record(&batch).await.unwrap();
}

/// A call that was allowed so many times, `ago` days before [`NOW`].
fn allowed(of: &Credential, ago: u16, scopes: &str, count: u64) -> CallCount {
    let day = NOW.day().minus(ago);
    CallCount {
        credential_id: of.identity.id,
        day,
        scopes: scopes.to_owned(),
        allowed: count,
        denied: 0,
        last_used_at: Some(day.begins().saturating_add(seconds(count))),
    }
}

fn denied(of: &Credential, ago: u16, scopes: &str, count: u64) -> CallCount {
    CallCount {
        allowed: 0,
        denied: count,
        last_used_at: None,
        ..allowed(of, ago, scopes, 0)
    }
}

async fn usage(store: &impl UsageStore, of: &Credential, since: Day) -> Usage {
    let found = store.usage(&of.identity.tenant, of.identity.id, since);
    found.await.unwrap()
}

fn day_use(ago: u16, allowed: u64, denied: u64) -> DayUse {
    DayUse {
        day: NOW.day().minus(ago),
        allowed,
        denied,
    }
}

fn scope_use(scopes: &str, allowed: u64, denied: u64, last_used_at: Option<Timestamp>) -> ScopeUse {
    ScopeUse {
        scopes: scopes.to_owned(),
        allowed,
        denied,
        last_used_at,
    }
}

fn refusal(after: u64) -> RefusalCount {
    let at = LATER.saturating_add(seconds(after));
    RefusalCount {
        reason: "scope_missing".into(),
        needed_scope: Some(READ.into()),
        method: Some("GET".into()),
        address: Some([192, 0, 2, 1].into()),
        at,
        last_at: at.saturating_add(seconds(2)),
        count: 3,
    }
}

fn proven(of: &Credential, refusal: RefusalCount) -> RefusalNote {
    RefusalNote {
        client: RefusedClient::Proven(of.identity.id),
        refusal,
    }
}

fn claimed(client: &ClientId, refusal: RefusalCount) -> RefusalNote {
    RefusalNote {
        client: RefusedClient::Claimed(client.clone()),
        refusal,
    }
}

async fn refusals(store: &impl UsageStore, of: &Credential, limit: usize) -> Vec<RefusalCount> {
    let tenant = &of.identity.tenant;
    let found = store.refusals(tenant, of.identity.id, Timestamp::MIN, limit);
    found.await.unwrap()
}

fn stranger() -> ClientId {
    ClientId::generate(&ClientIdPrefix::default(), Environment::Sandbox, &OsEntropy)
}

/// Late reports of earlier uses, from slower nodes, take nothing back; unknown ones are passed over.
pub async fn last_use_only_moves_forward<S>(store: &S)
where
    S: CredentialStore + UsageStore + Clone,
{
    let made = inserted(store, "alder", "Lab", 0).await;
    let other = inserted(store, "alder", "Other", 0).await;
    let used = |at| LastUse {
        credential_id: made.identity.id,
        proof: made.settings.secrets.first().unwrap().selector,
        at: NOW.saturating_add(seconds(at)),
    };
    let unknown = LastUse {
        credential_id: CredentialId::random(&OsEntropy),
        proof: ProofId::random(&OsEntropy),
        at: NOW,
    };
    record_uses(store, &[]).await;
    record_uses(store, &[used(5), unknown, used(7), used(6)]).await;
    record_uses(store, &[used(3)]).await;
    let found = stored(store, &made).await;
    let latest = Some(NOW.saturating_add(seconds(7)));
    assert_eq!(found.observed.last_used_at, latest);
    assert_eq!(found.settings.secrets.first().unwrap().last_used_at, latest);
    let found = stored(store, &other).await;
    assert_eq!(found.observed.last_used_at, None);
}

/// A use is noted on the secret that it names, and on no other: neither of the same credential nor of
/// another one.
pub async fn last_use_is_of_one_proof<S>(store: &S)
where
    S: CredentialStore + UsageStore + Clone,
{
    let mut made = credential(&tenant("alder"), "Lab", 0);
    made.settings.secrets.push(secret());
    store.insert(new(&made, 100)).await.unwrap();
    let mut other = inserted(store, "alder", "Other", 0).await;
    let use_of = |proof, at| LastUse {
        credential_id: made.identity.id,
        proof,
        at: NOW.saturating_add(seconds(at)),
    };
    let of = |credential: &Credential, n: usize| {
        let secret = credential.settings.secrets.get(n);
        secret.unwrap().selector
    };
    // The last one is another credential's.
    let uses = [use_of(of(&made, 1), 5), use_of(of(&other, 0), 7)];
    record_uses(store, &uses).await;
    let at = |at| Some(NOW.saturating_add(seconds(at)));
    made.settings.secrets.last_mut().unwrap().last_used_at = at(5);
    made.observed.last_used_at = at(7);
    for expected in [&made, &other] {
        let found = store
            .get(&expected.identity.tenant, expected.identity.id)
            .await;
        assert_eq!(found.unwrap().as_ref(), Some(expected));
    }
    let uses = [use_of(of(&made, 0), 6), use_of(of(&made, 0), 9)];
    record_uses(store, &uses).await;
    made.settings.secrets.first_mut().unwrap().last_used_at = at(9);
    made.observed.last_used_at = at(9);
    other.observed.last_used_at = None;
    for expected in [made, other] {
        let found = store
            .get(&expected.identity.tenant, expected.identity.id)
            .await;
        assert_eq!(found.unwrap(), Some(expected));
    }
}

/// A call may be as large as core makes it.
pub async fn last_use_takes_a_full_batch<S>(store: &S)
where
    S: CredentialStore + UsageStore + Clone,
{
    let made = inserted(store, "alder", "Lab", 0).await;
    let mut uses: Vec<_> = (1..MAX_BATCH)
        .map(|_| LastUse {
            credential_id: CredentialId::random(&OsEntropy),
            proof: ProofId::random(&OsEntropy),
            at: NOW,
        })
        .collect();
    uses.push(LastUse {
        credential_id: made.identity.id,
        proof: made.settings.secrets.first().unwrap().selector,
        at: NOW,
    });
    record_uses(store, &uses).await;
    let found = store.get(&made.identity.tenant, made.identity.id).await;
    assert_eq!(found.unwrap().unwrap().observed.last_used_at, Some(NOW));
}

/// Use is not a change: no check answers differently, and no edit becomes stale.
pub async fn last_use_moves_neither_version_nor_log<S>(store: &S)
where
    S: CredentialStore + UsageStore + Clone,
{
    let made = inserted(store, "alder", "Lab", 0).await;
    let before = latest(store).await;
    let used = LastUse {
        credential_id: made.identity.id,
        proof: made.settings.secrets.first().unwrap().selector,
        at: NOW,
    };
    let batch = UsageBatch {
        uses: vec![used],
        calls: vec![allowed(&made, 0, READ, 1)],
        refusals: vec![proven(&made, refusal(0))],
        ..batch()
    };
    store.record(&batch).await.unwrap();
    store.prune(MAX_BATCH).await.unwrap();
    assert_eq!(latest(store).await, before);
    let found = stored(store, &made).await;
    assert_eq!(found.version, made.version);
}

/// A batch that is repeated, because its answer was lost, is counted once; so is an older one that comes late.
pub async fn a_batch_counts_once<S>(store: &S)
where
    S: CredentialStore + UsageStore + Clone,
{
    let made = inserted(store, "alder", "Lab", 0).await;
    let (first, second) = (node(), node());
    let batch = |node: NodeId, number, count| UsageBatch {
        node,
        number,
        uses: vec![LastUse {
            credential_id: made.identity.id,
            proof: made.settings.secrets.first().unwrap().selector,
            at: NOW.saturating_add(seconds(number)),
        }],
        calls: vec![
            allowed(&made, 0, READ, count),
            denied(&made, 0, WRITE, count),
        ],
        refusals: vec![proven(&made, refusal(number * 100))],
    };
    // The first number that a node uses need not be 1.
    for (node, number, count) in [
        (first, 3, 1),
        (first, 3, 1),
        (first, 2, 10),
        (second, 3, 100),
        (first, 4, 1_000),
        (first, 4, 1_000),
        (first, 3, 1),
    ] {
        store.record(&batch(node, number, count)).await.unwrap();
    }
    let found = usage(store, &made, NOW.day()).await;
    assert_eq!(found.days, [day_use(0, 1_101, 1_101)]);
    let counts = refusals(store, &made, 50).await;
    let counts: Vec<_> = counts.iter().map(|it| it.count).collect();
    assert_eq!(counts, [3, 6]);
    let last = stored(store, &made).await.observed.last_used_at;
    assert_eq!(last, Some(NOW.saturating_add(seconds(4))));
}

/// Calls are added up by credential, day and scopes, whichever node reports them, in whatever order.
pub async fn calls_add_up_over_nodes_and_days<S>(store: &S)
where
    S: CredentialStore + UsageStore + Clone,
{
    let made = inserted(store, "alder", "Lab", 0).await;
    let other = inserted(store, "alder", "Other", 0).await;
    let both = format!("{READ} act_as_user");
    record_calls(
        store,
        &[
            allowed(&made, 1, READ, 3),
            allowed(&made, 0, READ, 5),
            denied(&made, 0, WRITE, 2),
            // Twice in one batch.
            allowed(&made, 0, READ, 7),
            allowed(&other, 0, READ, 1),
        ],
    )
    .await;
    record_calls(
        store,
        &[
            denied(&made, 40, WRITE, 4),
            allowed(&made, 40, WRITE, 9),
            allowed(&made, 1, READ, 11),
            allowed(&made, 1, &both, 20),
            denied(&made, 1, "", 1),
        ],
    )
    .await;
    let at = |ago: u16, second| {
        let day = NOW.day().minus(ago);
        Some(day.begins().saturating_add(seconds(second)))
    };
    let found = usage(store, &made, NOW.day().minus(40)).await;
    let expected = [day_use(40, 9, 4), day_use(1, 34, 1), day_use(0, 12, 2)];
    assert_eq!(found.days, expected);
    let expected = [
        scope_use("", 0, 1, None),
        scope_use(READ, 26, 0, at(0, 7)),
        scope_use(&both, 20, 0, at(1, 20)),
        scope_use(WRITE, 9, 6, at(40, 9)),
    ];
    assert_eq!(found.scopes, expected);

    // Counts are since a day, the last use is of all that is kept.
    let found = usage(store, &made, NOW.day()).await;
    assert_eq!(found.days, [day_use(0, 12, 2)]);
    let used: Vec<_> = found
        .scopes
        .iter()
        .filter(|it| it.allowed + it.denied > 0 || it.last_used_at.is_some())
        .cloned()
        .collect();
    let expected = [
        scope_use(READ, 12, 0, at(0, 7)),
        scope_use(&both, 0, 0, at(1, 20)),
        scope_use(WRITE, 0, 2, at(40, 9)),
    ];
    assert_eq!(used, expected);
}

/// What names a credential or a client that does not exist is no fault, and takes nothing else with it.
pub async fn usage_of_what_does_not_exist_is_passed_over<S>(store: &S)
where
    S: CredentialStore + UsageStore + Clone,
{
    let made = inserted(store, "alder", "Lab", 0).await;
    let gone = credential(&tenant("alder"), "Gone", 0);
    let batch = UsageBatch {
        calls: vec![allowed(&gone, 0, READ, 1), allowed(&made, 0, READ, 2)],
        refusals: vec![
            proven(&gone, refusal(0)),
            claimed(&stranger(), refusal(0)),
            claimed(&gone.identity.client_id, refusal(0)),
            proven(&made, refusal(0)),
        ],
        ..batch()
    };
    store.record(&batch).await.unwrap();
    assert_eq!(usage(store, &gone, NOW.day()).await, Usage::default());
    assert_eq!(refusals(store, &gone, 50).await, []);
    let found = usage(store, &made, NOW.day()).await;
    assert_eq!(found.days, [day_use(0, 2, 0)]);
    assert_eq!(refusals(store, &made, 50).await, [refusal(0)]);
    // Nothing waits for a credential to come.
    store.insert(new(&gone, 100)).await.unwrap();
    assert_eq!(usage(store, &gone, NOW.day()).await, Usage::default());
    assert_eq!(refusals(store, &gone, 50).await, []);
}

/// Another tenant sees nothing, and what it asks for is as empty as what does not exist.
pub async fn usage_is_invisible_across_tenants<S>(store: &S)
where
    S: CredentialStore + UsageStore + Clone,
{
    let made = inserted(store, "alder", "Lab", 0).await;
    let batch = UsageBatch {
        calls: vec![allowed(&made, 0, READ, 1)],
        refusals: vec![proven(&made, refusal(0))],
        ..batch()
    };
    store.record(&batch).await.unwrap();
    let (id, since) = (made.identity.id, NOW.day());
    for (owner, seen) in [("alder", 1), ("birch", 0)] {
        let owner = tenant(owner);
        let found = store.usage(&owner, id, since).await.unwrap();
        assert_eq!((found.days.len(), found.scopes.len()), (seen, seen));
        let found = store.used_scopes(&owner, &[id], since).await.unwrap();
        assert_eq!(found.len(), seen);
        let found = store.refusals(&owner, id, Timestamp::MIN, 50);
        assert_eq!(found.await.unwrap().len(), seen);
    }
}

/// Scopes are used if a call that needed them was allowed, on that day or later.
pub async fn used_scopes_are_those_of_allowed_calls<S>(store: &S)
where
    S: CredentialStore + UsageStore + Clone,
{
    let made = inserted(store, "alder", "Lab", 0).await;
    let other = inserted(store, "alder", "Other", 0).await;
    let unasked = inserted(store, "alder", "Unasked", 0).await;
    let both = format!("{READ} {WRITE}");
    // As core reports a call that needs very many scopes.
    let seen_only = CallCount {
        allowed: 0,
        ..allowed(&made, 2, "act_as_user", 1)
    };
    record_calls(
        store,
        &[
            allowed(&made, 29, READ, 1),
            allowed(&made, 5, READ, 1),
            allowed(&made, 30, WRITE, 1),
            denied(&made, 0, WRITE, 1),
            allowed(&made, 3, &both, 1),
            seen_only,
            allowed(&other, 0, WRITE, 1),
            allowed(&unasked, 0, WRITE, 1),
        ],
    )
    .await;
    let ids = [other.identity.id, made.identity.id];
    let since = NOW.day().minus(29);
    let found = store.used_scopes(&made.identity.tenant, &ids, since).await;
    let found = found.unwrap();
    let expected = [
        (made.identity.id, READ),
        (made.identity.id, &*both),
        (made.identity.id, "act_as_user"),
        (other.identity.id, WRITE),
    ];
    let expected = expected.map(|(id, scopes)| (id, scopes.to_owned()));
    assert_eq!(found.len(), expected.len(), "each once");
    assert_eq!(
        found.into_iter().collect::<BTreeSet<_>>(),
        BTreeSet::from(expected)
    );
    let none = store.used_scopes(&made.identity.tenant, &[], since).await;
    assert_eq!(none.unwrap(), []);
}

/// A batch may be as large as core makes it, also with the longest list of the longest names.
pub async fn usage_takes_a_full_batch<S>(store: &S)
where
    S: CredentialStore + UsageStore + Clone,
{
    let made = inserted(store, "alder", "Lab", 0).await;
    let long: Vec<_> = (0..CallCount::MAX_SCOPES)
        .map(|n| format!("{n:0128}"))
        .collect();
    let long = long.join(" ");
    let mut calls = vec![allowed(&made, 0, &long, 1)];
    calls.extend((1..MAX_BATCH).map(|n| allowed(&made, 0, &format!("scope-{n}"), 1)));
    let mut notes = vec![proven(&made, refusal(0))];
    notes.extend((1..MAX_BATCH).map(|_| claimed(&stranger(), refusal(0))));
    let batch = UsageBatch {
        calls,
        refusals: notes,
        ..batch()
    };
    store.record(&batch).await.unwrap();
    let found = usage(store, &made, NOW.day()).await;
    assert_eq!(found.days, [day_use(0, MAX_BATCH as u64, 0)]);
    assert_eq!(found.scopes.len(), MAX_BATCH);
    assert!(found.scopes.iter().any(|it| it.scopes == long));
    assert_eq!(refusals(store, &made, 50).await, [refusal(0)]);
}

/// Nodes that report the same credentials at once neither lose a call nor wait for each other for ever.
pub async fn batches_of_many_nodes_add_up_under_concurrency<S>(store: &S)
where
    S: CredentialStore + UsageStore + Clone,
{
    let mut made = Vec::new();
    for n in 0..5 {
        made.push(inserted(store, "alder", &format!("key {n}"), 0).await);
    }
    let reports = at_once(8, |node_number| {
        let (store, made) = (store.clone(), made.clone());
        async move {
            let node = node();
            for number in 1..=5 {
                let mut order: Vec<_> = made.iter().collect();
                if node_number % 2 == 0 {
                    order.reverse();
                }
                let calls = order
                    .iter()
                    .flat_map(|it| [allowed(it, 0, READ, 1), denied(it, 1, WRITE, 2)]);
                let mut calls: Vec<_> = calls.collect();
                if node_number % 3 == 0 {
                    calls.reverse();
                }
                let uses = order.iter().map(|it| LastUse {
                    credential_id: it.identity.id,
                    proof: it.settings.secrets.first().unwrap().selector,
                    at: NOW.saturating_add(seconds(number)),
                });
                let notes = order.iter().map(|it| proven(it, refusal(number)));
                let batch = UsageBatch {
                    node,
                    number,
                    uses: uses.collect(),
                    refusals: notes.collect(),
                    calls,
                };
                // The answer of the first attempt may be lost.
                store.record(&batch).await.unwrap();
                store.record(&batch).await.unwrap();
            }
        }
    });
    reports.await;
    for one in &made {
        let found = usage(store, one, NOW.day().minus(1)).await;
        assert_eq!(found.days, [day_use(1, 0, 80), day_use(0, 40, 0)]);
        let refused = refusals(store, one, 50).await;
        assert_eq!(refused.iter().map(|it| it.count).sum::<u64>(), 120);
    }
}

/// Equal refusals that begin within a minute become one, over batches and nodes. One difference keeps them apart.
pub async fn equal_refusals_within_a_minute_are_one<S>(store: &S)
where
    S: CredentialStore + UsageStore + Clone,
{
    let made = inserted(store, "alder", "Lab", 0).await;
    let different = |after| {
        let it = refusal(after);
        [
            RefusalCount {
                reason: "revoked".into(),
                ..it.clone()
            },
            RefusalCount {
                needed_scope: None,
                ..it.clone()
            },
            RefusalCount {
                needed_scope: Some(WRITE.into()),
                ..it.clone()
            },
            RefusalCount {
                method: None,
                ..it.clone()
            },
            RefusalCount {
                address: None,
                ..it.clone()
            },
            RefusalCount {
                address: Some("2001:db8::1".parse().unwrap()),
                ..it
            },
        ]
    };
    for after in [100, 159, 70, 129] {
        let mut notes = vec![proven(&made, refusal(after))];
        notes.extend(different(after).map(|it| proven(&made, it)));
        record_refusals(store, &notes).await;
    }
    record_refusals(store, &[proven(&made, refusal(300))]).await;
    let merged = |it: RefusalCount, from, to, times: u64| RefusalCount {
        at: refusal(from).at,
        last_at: refusal(to).last_at,
        count: 3 * times,
        ..it
    };
    let found = refusals(store, &made, 50).await;
    assert_eq!(found.first(), Some(&refusal(300)));
    let mut kinds = vec![refusal(0)];
    kinds.extend(different(0));
    let others: Vec<_> = found.iter().skip(1).cloned().collect();
    assert_eq!(others.len(), 7, "{others:?}");
    for kind in kinds {
        assert!(others.contains(&merged(kind, 70, 159, 4)), "{others:?}");
    }
}

/// A refusal of whoever names a client is of that client's credential.
pub async fn refusals_of_a_claimed_client_are_its_credentials<S>(store: &S)
where
    S: CredentialStore + UsageStore + Clone,
{
    let made = inserted(store, "alder", "Lab", 0).await;
    let other = inserted(store, "birch", "Lab", 0).await;
    let wrong = RefusalCount {
        reason: "wrong_secret".into(),
        needed_scope: None,
        method: None,
        address: None,
        ..refusal(0)
    };
    record_refusals(
        store,
        &[
            claimed(&made.identity.client_id, wrong.clone()),
            proven(&other, refusal(0)),
        ],
    )
    .await;
    record_refusals(store, &[proven(&made, wrong.clone())]).await;
    let both = RefusalCount { count: 6, ..wrong };
    assert_eq!(refusals(store, &made, 50).await, [both]);
    assert_eq!(refusals(store, &other, 50).await, [refusal(0)]);
}

/// The newest come first, and the newest [`REFUSALS_KEPT`] are there however many came.
pub async fn refusals_are_newest_first_and_few<S>(store: &S)
where
    S: CredentialStore + UsageStore + Clone,
{
    let made = inserted(store, "alder", "Lab", 0).await;
    let other = inserted(store, "alder", "Other", 0).await;
    record_refusals(store, &[proven(&other, refusal(0))]).await;
    // Each at another minute. The oldest come last, as from a node that was cut off.
    let minutes: Vec<u64> = (100..180).chain(0..40).collect();
    for part in minutes.chunks(15) {
        let notes: Vec<_> = part
            .iter()
            .map(|minute| proven(&made, refusal(minute * 60)))
            .collect();
        record_refusals(store, &notes).await;
    }
    let expected: Vec<_> = (100..180)
        .rev()
        .take(REFUSALS_KEPT)
        .map(|minute| refusal(minute * 60))
        .collect();
    assert_eq!(refusals(store, &made, REFUSALS_KEPT).await, expected);
    let few = refusals(store, &made, 3).await;
    assert_eq!(Some(&*few), expected.get(..3));
    let since = refusal(170 * 60).at;
    let found = store
        .refusals(&made.identity.tenant, made.identity.id, since, 50)
        .await;
    assert_eq!(found.unwrap().len(), 9);
    assert_eq!(refusals(store, &other, 50).await, [refusal(0)]);
}

/// What is too old goes, a part at a time, and nothing else.
pub async fn old_usage_is_pruned<S>(store: &S)
where
    S: CredentialStore + UsageStore + Clone,
{
    let made = inserted(store, "alder", "Lab", 0).await;
    let long_ago: Timestamp = "2000-01-01T00:00:00Z".parse().unwrap();
    let of_day = |day: Day, n: usize| CallCount {
        day,
        scopes: format!("scope-{n}"),
        ..allowed(&made, 0, READ, 1)
    };
    let mut calls: Vec<_> = (0..25).map(|n| of_day(long_ago.day(), n)).collect();
    calls.push(of_day(LATER.day(), 0));
    let old = |n: u64| {
        let at = long_ago.saturating_add(seconds(n * 60));
        let refusal = RefusalCount {
            at,
            last_at: at,
            ..refusal(0)
        };
        proven(&made, refusal)
    };
    let mut notes: Vec<_> = (0..25).map(old).collect();
    notes.push(proven(&made, refusal(0)));
    let batch = UsageBatch {
        calls,
        refusals: notes,
        ..batch()
    };
    store.record(&batch).await.unwrap();
    let days = async || usage(store, &made, Timestamp::MIN.day()).await;
    assert!(store.prune(10).await.unwrap(), "there are 25 of each");
    let first = days().await.days.first().copied().unwrap();
    assert_eq!((first.day, first.allowed), (long_ago.day(), 15));
    assert_eq!(refusals(store, &made, 50).await.len(), 16);
    let mut rounds = 0;
    while store.prune(10).await.unwrap() {
        rounds += 1;
        assert!(rounds < 5, "it never ends");
    }
    let found = days().await;
    assert_eq!(found.days.len(), 1);
    assert_eq!(found.days.first().map(|it| it.day), Some(LATER.day()));
    assert_eq!(found.scopes.len(), 1);
    assert_eq!(refusals(store, &made, 50).await, [refusal(0)]);
}

/// The number of a node's latest batch is kept for its time and not much longer. `let_pass` lets so much time pass for the store.
pub async fn batch_numbers_are_kept_for_their_time<S>(store: &S, let_pass: impl AsyncFn(Duration))
where
    S: CredentialStore + UsageStore + Clone,
{
    let made = inserted(store, "alder", "Lab", 0).await;
    let batch = UsageBatch {
        calls: vec![CallCount {
            day: LATER.day(),
            ..allowed(&made, 0, READ, 1)
        }],
        ..batch()
    };
    let counted = async || {
        store.record(&batch).await.unwrap();
        usage(store, &made, LATER.day())
            .await
            .days
            .first()
            .unwrap()
            .allowed
    };
    assert_eq!(counted().await, 1);
    let_pass(BATCHES_KEPT_FOR.saturating_sub(seconds(3_600))).await;
    store.prune(MAX_BATCH).await.unwrap();
    assert_eq!(counted().await, 1);
    let_pass(BATCHES_KEPT_FOR + seconds(3_600)).await;
    store.prune(MAX_BATCH).await.unwrap();
    assert_eq!(counted().await, 2, "the number is forgotten");
}
