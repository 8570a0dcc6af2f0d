//! Credentials that may be used from some networks only.

mod common;

use std::{
    net::IpAddr,
    sync::atomic::{AtomicUsize, Ordering},
};

use common::{Deployment, Key};
use credential_core::{
    CallerAddress, Credentials,
    authenticate::{AuthenticateError, Refusal},
    authorize::{AuthorizeError, TokenRefusal},
};

const SCOPES: &[&str] = &["system/patients.read"];
const INSIDE: &str = "198.51.100.7";
const OUTSIDE: &str = "198.51.101.7";

/// Counts how often it is asked.
struct Counted {
    address: Option<IpAddr>,
    asked: AtomicUsize,
}

impl Counted {
    fn at(address: &str) -> Self {
        Self {
            address: address.parse().ok(),
            asked: AtomicUsize::new(0),
        }
    }

    fn asked(&self) -> usize {
        self.asked.swap(0, Ordering::Relaxed)
    }
}

impl CallerAddress for Counted {
    fn address(&self) -> Option<IpAddr> {
        self.asked.fetch_add(1, Ordering::Relaxed);
        self.address
    }
}

/// A key with a token, then bound to one network.
async fn bound(deployment: &Deployment) -> (Key, String) {
    let key = deployment.key("Lab", "apiv2", SCOPES).await;
    let token = key.token(&deployment.node, None).await;
    deployment.set_networks(&key, &["198.51.100.0/24"]).await;
    (key, token)
}

async fn used(node: &Credentials, token: &str, caller: &dyn CallerAddress) -> Option<TokenRefusal> {
    let bearer = node.bearer(token).called_from(caller);
    match bearer.verify().await {
        Ok(_) => None,
        Err(AuthorizeError::Refused(refusal)) => Some(refusal),
        Err(error) => panic!("{error}"),
    }
}

async fn proven(
    node: &Credentials,
    id: &str,
    secret: &str,
    caller: &dyn CallerAddress,
) -> Option<Refusal> {
    match node.authenticate_from(id, secret, caller).await {
        Ok(_) => None,
        Err(AuthenticateError::Refused(refusal)) => Some(refusal),
        Err(error) => panic!("{error}"),
    }
}

#[tokio::test]
async fn a_token_counts_within_its_networks_only() {
    let deployment = Deployment::new();
    let (_, token) = bound(&deployment).await;
    let node = &deployment.node;
    // Cold, then warm, then by a look-up because the proof is too old.
    for _ in 0..3 {
        let (inside, outside) = (Counted::at(INSIDE), Counted::at(OUTSIDE));
        let foreign = Some(TokenRefusal::AddressNotAllowed);
        assert_eq!(used(node, &token, &inside).await, None);
        assert_eq!(used(node, &token, &outside).await, foreign);
        assert_eq!((inside.asked(), outside.asked()), (1, 1));
        let mapped: IpAddr = "::ffff:198.51.100.7".parse().unwrap();
        assert_eq!(used(node, &token, &mapped).await, None);
        assert_eq!(used(node, &token, &None::<IpAddr>).await, foreign);
        let nobody = node.verify(&token).await.unwrap_err();
        assert!(matches!(
            nobody,
            AuthorizeError::Refused(TokenRefusal::AddressNotAllowed)
        ));
        let asked = node.bearer(&token).called_from_anywhere().verify().await;
        assert_eq!(asked.unwrap().scope(), SCOPES[0]);

        let known = node.bearer(&token).called_from(&outside).verify_known();
        assert_eq!(known.unwrap().unwrap_err(), TokenRefusal::AddressNotAllowed);
        let known = node.bearer(&token).called_from(&inside).verify_known();
        assert!(known.unwrap().is_ok());
        deployment.advance(2_000);
    }
}

#[tokio::test]
async fn without_networks_nobody_asks_where_a_call_comes_from() {
    let deployment = Deployment::new();
    deployment.node.catch_up().await.unwrap();
    let key = deployment.key("Lab", "apiv2", SCOPES).await;
    let token = key.token(&deployment.node, None).await;
    let caller = Counted::at(OUTSIDE);
    let node = &deployment.node;
    for _ in 0..2 {
        assert_eq!(used(node, &token, &caller).await, None);
        let client = proven(node, &key.client_id, &key.secret, &caller).await;
        assert_eq!(client, None);
    }
    assert_eq!(caller.asked(), 0);
    // A refusal is noted with the address.
    deployment.revoke(&key).await;
    let refused = used(node, &token, &caller).await;
    assert_eq!(refused, Some(TokenRefusal::CredentialRevoked));
    assert_eq!(caller.asked(), 1);
}

#[tokio::test]
async fn what_is_not_live_is_refused_for_that_wherever_it_comes_from() {
    let deployment = Deployment::new();
    let (key, token) = bound(&deployment).await;
    deployment.revoke(&key).await;
    let caller = Counted::at(OUTSIDE);
    let refused = used(&deployment.node, &token, &caller).await;
    assert_eq!(refused, Some(TokenRefusal::CredentialRevoked));
    let refused = proven(&deployment.node, &key.client_id, &key.secret, &caller).await;
    assert_eq!(refused, Some(Refusal::Revoked));
    assert_eq!(caller.asked(), 2, "once each, to note the refusal");
}

#[tokio::test]
async fn a_client_proves_itself_first() {
    let deployment = Deployment::new();
    let (key, _) = bound(&deployment).await;
    let other = deployment.key("Other", "apiv2", SCOPES).await;
    let node = &deployment.node;
    let (inside, outside) = (Counted::at(INSIDE), Counted::at(OUTSIDE));
    let foreign = Some(Refusal::AddressNotAllowed);
    // The first needs a hash, the second does not.
    for _ in 0..2 {
        let client = proven(node, &key.client_id, &key.secret, &outside).await;
        assert_eq!(client, foreign);
        let client = proven(node, &key.client_id, &key.secret, &inside).await;
        assert_eq!(client, None);
        assert_eq!((inside.asked(), outside.asked()), (1, 1));
    }
    assert_eq!(key.refusal(node).await, Refusal::AddressNotAllowed);
    // Whoever lacks the secret does not get so far: a refusal like any other, noted with the address.
    for (id, secret) in [
        (&*key.client_id, "made-up"),
        (&key.client_id, &other.secret),
        (&other.client_id, &key.secret),
    ] {
        let refused = proven(node, id, secret, &outside).await;
        assert!(refused.is_some_and(|it| it != Refusal::AddressNotAllowed));
        assert_eq!(outside.asked(), 1);
    }
}

#[tokio::test]
async fn the_networks_of_now_count() {
    let deployment = Deployment::new();
    let (key, token) = bound(&deployment).await;
    let other = deployment.second_node();
    other.catch_up().await.unwrap();
    let outside: IpAddr = OUTSIDE.parse().unwrap();
    let foreign = Some(TokenRefusal::AddressNotAllowed);
    for node in [&deployment.node, &other] {
        assert_eq!(used(node, &token, &outside).await, foreign);
    }
    deployment.set_networks(&key, &[]).await;
    other.catch_up().await.unwrap();
    for node in [&deployment.node, &other] {
        assert_eq!(used(node, &token, &outside).await, None);
        let client = proven(node, &key.client_id, &key.secret, &outside).await;
        assert_eq!(client, None);
    }
    deployment.set_networks(&key, &["198.51.100.0/24"]).await;
    other.catch_up().await.unwrap();
    for node in [&deployment.node, &other] {
        assert_eq!(used(node, &token, &outside).await, foreign);
    }
}
