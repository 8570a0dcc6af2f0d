//! Ready-made values for the cases.

use std::{sync::Arc, time::Duration};

use crate::{
    audit::{Details, Event, Subject},
    catalog::ApiTypeId,
    clock::Timestamp,
    credential::{
        Credential, CredentialName, Description, Identity, Means, Networks, Observed, Registration,
        RevokedToken, Settings, StoredSecret,
    },
    entropy::{Entropy as _, OsEntropy},
    id::{ActorId, ClientId, ClientIdPrefix, CredentialId, Environment, ProofId, TenantId},
    secret::{
        hash::SecretHash,
        keyring::{KeySigner, Keyring},
    },
    store::{
        ChangeId, Changes, CredentialStore, Edit, Heartbeat, ListQuery, MAX_CHANGES, NewCredential,
        NodeId, Revoke, RevokeAll, RevokeToken,
    },
    token::TokenId,
};

/// 2026-01-01T00:00:00.123457Z: a store keeps times to the microsecond.
pub(super) const NOW: Timestamp = Timestamp::from_micros(1_767_225_600_123_457);

/// 2100-01-01T00:00:00Z: after every store's now, so that no record is forgotten.
pub(super) const LATER: Timestamp = Timestamp::from_micros(4_102_444_800_000_000);

/// Of every node that says nothing else.
pub(super) const ISSUER: &str = "https://api.example.com";

/// A hash in the right shape; nobody verifies it here.
const PHC: &str = "$argon2id$v=19$m=19456,t=2,p=1$\
    c2FsdHNhbHRzYWx0c2FsdA$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";

/// The first page, which has room for all that a case makes.
pub(super) const ALL: ListQuery = ListQuery {
    limit: 100,
    after: None,
    include_revoked: false,
};

pub(super) fn tenant(name: &str) -> TenantId {
    TenantId::new(name).unwrap()
}

pub(super) fn actor() -> ActorId {
    ActorId::new("dr-lee").unwrap()
}

pub(super) fn keyring() -> Keyring {
    // Why fixed: the cases verify chains that another call wrote.
    Keyring::parse("k1:AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=").unwrap()
}

pub(super) fn seconds(count: u64) -> Duration {
    Duration::from_secs(count)
}

pub(super) fn hash(keyring: &Keyring) -> SecretHash {
    SecretHash::from_parts(PHC, keyring.signing().name().clone()).unwrap()
}

/// A credential that was created `age` seconds before [`NOW`].
pub(super) fn credential(owner: &TenantId, name: &str, age: u64) -> Credential {
    let prefix = ClientIdPrefix::default();
    Credential {
        identity: Identity {
            id: CredentialId::random(&OsEntropy),
            tenant: owner.clone(),
            api_type: "apiv2".parse::<ApiTypeId>().unwrap(),
            client_id: ClientId::generate(&prefix, Environment::Sandbox, &OsEntropy),
            environment: Environment::Sandbox,
            created_at: NOW.saturating_sub(seconds(age)),
            created_by: actor(),
        },
        settings: Settings {
            name: CredentialName::new(name).unwrap(),
            description: Description::new("Sends results\nevery night").unwrap(),
            scopes: vec!["system/vitals.write".into(), "system/patients.read".into()],
            expires_at: Some(NOW.saturating_add(seconds(1_000))),
            disabled_at: Some(NOW.saturating_sub(seconds(1))),
            allowed_networks: Networks::parse(&["192.0.2.0/24", "2001:db8::/32"]).unwrap(),
            secrets: vec![secret()],
            registrations: vec![registration(KEY), registration(WORKLOAD)],
        },
        observed: Observed::default(),
        revoked: None,
        version: 1,
    }
}

/// The key of RFC 7515, appendix A.3.
const KEY: &str = r#"{"jwk":{"crv":"P-256","kid":"ü 1","kty":"EC",
    "x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU","y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"}}"#;
const WORKLOAD: &str = r#"{"workload":{"issuer":"https://ci.example.com","audience":"https://api.example.com",
    "subject":"repo:acme/*","claims":{"environment":"production","run":7}}}"#;
/// Another means than those that a credential has from the start.
pub(super) const KEY_SET_URL: &str = r#"{"jwks_uri":"https://keys.example.com/jwks.json"}"#;

/// A registration that nobody used yet.
pub(super) fn registration(means: &str) -> Registration {
    Registration {
        proof: ProofId::random(&OsEntropy),
        means: Means::from_text(means).unwrap(),
        created_at: NOW,
        last_used_at: None,
    }
}

/// A secret that nobody used yet.
pub(super) fn secret() -> StoredSecret {
    StoredSecret {
        selector: ProofId::random(&OsEntropy),
        hash: hash(&keyring()),
        created_at: NOW,
        expires_at: None,
        ended_at: None,
        last_used_at: None,
    }
}

pub(super) fn event(credential: &Credential, details: &Details<'_>) -> Event {
    event_about(
        Subject::Credential(credential.identity.id),
        credential,
        details,
    )
}

pub(super) fn event_about(
    subject: Subject,
    credential: &Credential,
    details: &Details<'_>,
) -> Event {
    let signer = KeySigner::new(&keyring(), Arc::new([]));
    Event::new(
        signer,
        NOW,
        &actor(),
        &credential.identity.tenant,
        subject,
        details,
    )
}

pub(super) fn new(credential: &Credential, limit: u32) -> NewCredential {
    let details = Details::Created {
        name: credential.settings.name.as_str(),
        api_type: credential.identity.api_type.as_str(),
        client_id: credential.identity.client_id.as_str(),
        description: credential.settings.description.as_str(),
        scopes: &credential.settings.scopes,
        expires_at: None,
        allowed_networks: Vec::new(),
        keys: Vec::new(),
        workloads: Vec::new(),
    };
    NewCredential {
        event: event(credential, &details),
        credential: credential.clone(),
        limit,
        replay: None,
    }
}

pub(super) async fn inserted(
    store: &impl CredentialStore,
    owner: &str,
    name: &str,
    age: u64,
) -> Credential {
    let credential = credential(&tenant(owner), name, age);
    store.insert(new(&credential, 1_000)).await.unwrap();
    credential
}

/// An edit to other settings.
pub(super) fn edit(credential: &Credential, settings: Settings, details: &Details<'_>) -> Edit {
    Edit {
        tenant: credential.identity.tenant.clone(),
        id: credential.identity.id,
        expected_version: credential.version,
        settings,
        events: vec![event(credential, details)],
        replay: None,
    }
}

/// An edit that renames.
pub(super) fn rename(credential: &Credential, name: &str) -> Edit {
    let settings = Settings {
        name: CredentialName::new(name).unwrap(),
        ..credential.settings.clone()
    };
    let details = Details::Renamed {
        name,
        name_before: credential.settings.name.as_str(),
    };
    edit(credential, settings, &details)
}

/// An edit of the scopes.
pub(super) fn rescope(credential: &Credential, scopes: &[&str]) -> Edit {
    let scopes: Vec<String> = scopes.iter().map(|&scope| scope.to_owned()).collect();
    let details = Details::ScopesChanged {
        scopes: &scopes,
        scopes_before: &credential.settings.scopes,
    };
    let settings = Settings {
        scopes: scopes.clone(),
        ..credential.settings.clone()
    };
    edit(credential, settings, &details)
}

pub(super) fn revoke(credential: &Credential, at: Timestamp) -> Revoke {
    let details = Details::Revoked {
        name: credential.settings.name.as_str(),
        client_id: credential.identity.client_id.as_str(),
    };
    Revoke {
        tenant: credential.identity.tenant.clone(),
        id: credential.identity.id,
        expected_version: None,
        at,
        by: actor(),
        event: event(credential, &details),
    }
}

/// Of all credentials of a tenant, which are these.
pub(super) fn revoke_all(owner: &str, credentials: &[&Credential]) -> RevokeAll {
    let events = credentials.iter().map(|credential| {
        let event = revoke(credential, NOW).event;
        (credential.identity.id, event)
    });
    RevokeAll {
        tenant: tenant(owner),
        at: NOW,
        by: actor(),
        events: events.collect(),
    }
}

/// Of a token that was issued so many seconds after [`LATER`].
pub(super) fn revoke_token(credential: &Credential, issued: u64, expires: u64) -> RevokeToken {
    RevokeToken {
        credential_id: credential.identity.id,
        token: RevokedToken {
            id: TokenId::random(&OsEntropy),
            issued_at: LATER.saturating_add(seconds(issued)),
            expires_at: LATER.saturating_add(seconds(expires)),
        },
        limit: 1_000,
    }
}

pub(super) fn node() -> NodeId {
    let mut bytes = [0; 16];
    OsEntropy.fill(&mut bytes);
    NodeId(bytes)
}

/// Of a node that says nothing special.
pub(super) fn heartbeat(node: NodeId, applied: Option<ChangeId>) -> Heartbeat {
    Heartbeat {
        node,
        applied,
        max_changes: MAX_CHANGES,
        max_staleness: seconds(1),
        issuer: ISSUER.into(),
    }
}

pub(super) async fn catch_up(
    store: &impl CredentialStore,
    node: NodeId,
    applied: Option<ChangeId>,
) -> Changes {
    store.catch_up(&heartbeat(node, applied)).await.unwrap()
}

/// The credential as it is stored now.
pub(super) async fn stored(store: &impl CredentialStore, of: &Credential) -> Credential {
    let found = store.get(&of.identity.tenant, of.identity.id).await;
    found.unwrap().unwrap()
}

/// The latest change.
pub(super) async fn latest(store: &impl CredentialStore) -> ChangeId {
    catch_up(store, node(), None).await.upto
}

/// Runs `count` calls at once and returns what they returned.
pub(super) async fn at_once<F, T>(count: usize, call: impl Fn(usize) -> F) -> Vec<T>
where
    F: Future<Output = T> + Send + 'static,
    T: Send + 'static,
{
    let tasks: Vec<_> = (0..count).map(|n| tokio::spawn(call(n))).collect();
    let mut results = Vec::with_capacity(count);
    for task in tasks {
        results.push(task.await.unwrap());
    }
    results
}
