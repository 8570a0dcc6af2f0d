//! Which refusals are logged while many are made up.

#![expect(clippy::unwrap_used, reason = "a test that cannot be set up must fail")]

mod common;

use std::{
    io,
    sync::{Arc, Mutex},
};

use common::{Deployment, Key};
use credential_core::{
    entropy::OsEntropy,
    id::{ClientId, ClientIdPrefix, Environment},
};
use tracing::subscriber::DefaultGuard;

const READ: &[&str] = &["system/patients.read"];

/// What this thread logs.
#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl Lines {
    fn capture() -> (Self, DefaultGuard) {
        let lines = Self::default();
        let writer = lines.clone();
        let subscriber = tracing_subscriber::fmt()
            .with_ansi(false)
            .with_writer(move || writer.clone())
            .finish();
        (lines, tracing::subscriber::set_default(subscriber))
    }

    /// How many lines name that client.
    fn naming(&self, client_id: &str) -> usize {
        let text = String::from_utf8(self.0.lock().unwrap().clone()).unwrap();
        let naming = text.lines().filter(|line| line.contains(client_id));
        naming.count()
    }

    fn all(&self) -> usize {
        let bytes = self.0.lock().unwrap();
        bytes.split(|byte| *byte == b'\n').count() - 1
    }
}

impl io::Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn made_up() -> String {
    let prefix = ClientIdPrefix::default();
    let id = ClientId::generate(&prefix, Environment::Sandbox, &OsEntropy);
    id.as_str().to_owned()
}

async fn revoked(deployment: &Deployment, tenant: &str, count: usize) -> Vec<Key> {
    let mut keys = Vec::new();
    for n in 0..count {
        let name = format!("key {n}");
        let key = deployment.key_of(tenant, &name, "apiv2", READ).await;
        let admin = common::admin(tenant);
        deployment
            .node
            .manage(&admin)
            .revoke(key.id, None)
            .await
            .unwrap();
        keys.push(key);
    }
    keys
}

async fn refuse(deployment: &Deployment, client_id: &str, secret: &str) {
    let refused = deployment.node.authenticate(client_id, secret).await;
    assert!(refused.is_err());
}

#[tokio::test]
async fn made_up_clients_do_not_crowd_out_those_that_exist() {
    let deployment = Deployment::new();
    let dead = revoked(&deployment, "alder", 8).await;
    let genuine = deployment.key("live", "apiv2", READ).await.secret;
    let (lines, _guard) = Lines::capture();
    for second in 0..5 {
        for n in 0..10_000 {
            // Garbage, or a secret that is ours and another client's.
            let secret = if n % 100 == 0 { &genuine } else { "garbage" };
            refuse(&deployment, &made_up(), secret).await;
        }
        for key in &dead {
            refuse(&deployment, &key.client_id, &key.secret).await;
        }
        let logged = dead.iter().filter(|key| lines.naming(&key.client_id) > 0);
        assert_eq!(logged.count(), 8, "of 8, in second {second}");
        deployment.advance(1_000);
    }
    for key in &dead {
        assert_eq!(lines.naming(&key.client_id), 1, "once in ten seconds");
    }
    assert!(lines.all() <= 8 + 5 * 20, "{}", lines.all());
    // Who comes again after ten seconds is logged again, whatever was made up since.
    deployment.advance(5_000);
    refuse(&deployment, &dead[0].client_id, &dead[0].secret).await;
    assert_eq!(lines.naming(&dead[0].client_id), 2);
}

#[tokio::test]
async fn one_tenants_dead_clients_do_not_crowd_out_anothers() {
    let deployment = Deployment::new();
    let many = revoked(&deployment, "alder", 200).await;
    let one = revoked(&deployment, "birch", 1).await;
    let (lines, _guard) = Lines::capture();
    for key in many.iter().chain(&one) {
        refuse(&deployment, &key.client_id, &key.secret).await;
    }
    assert_eq!(lines.naming(&one[0].client_id), 1);
    assert_eq!(lines.all(), 25 + 1, "half of fifty is one tenant's");
    // The others follow, second by second.
    for _ in 0..7 {
        deployment.advance(1_000);
        for key in &many {
            refuse(&deployment, &key.client_id, &key.secret).await;
        }
    }
    for key in &many {
        assert_eq!(lines.naming(&key.client_id), 1);
    }
}

#[tokio::test]
async fn tokens_of_a_client_that_exists_have_its_share() {
    let deployment = Deployment::new();
    let key = deployment.key("Lab", "apiv2", READ).await;
    let token = key.token(&deployment.node, None).await;
    deployment.node.verify(&token).await.unwrap();
    deployment.revoke(&key).await;
    let (lines, _guard) = Lines::capture();
    for _ in 0..1_000 {
        refuse(&deployment, &made_up(), "garbage").await;
    }
    assert!(deployment.node.verify(&token).await.is_err());
    assert_eq!(lines.naming(&key.client_id), 1);
}

#[tokio::test]
async fn a_store_that_is_down_and_too_many_requests_are_not_logged_one_by_one() {
    let deployment = Deployment::new();
    let key = deployment.key("Lab", "apiv2", READ).await;
    let admin = common::admin("alder");
    let node = &deployment.node;
    let client = node
        .authenticate(&key.client_id, &key.secret)
        .await
        .unwrap();
    let token = node.issue(&client, None).unwrap().access_token;
    let (lines, _guard) = Lines::capture();
    deployment.store.fail(true);
    for _ in 0..1_000 {
        node.manage(&admin).get(key.id).await.unwrap_err();
        let request = common::request("Other", "apiv2", READ);
        node.manage(&admin).create(request).await.unwrap_err();
        let token = token.expose_secret();
        node.revoke_token(&client, token).await.unwrap_err();
    }
    assert_eq!(lines.naming("the store did not answer a call"), 1);
    assert_eq!(lines.all(), 1);
    deployment.store.fail(false);

    deployment.store.hold_calls();
    let gets: Vec<_> = (0..2_000)
        .map(|_| {
            let (node, admin, id) = (node.clone(), admin.clone(), key.id);
            tokio::spawn(async move { node.manage(&admin).get(id).await.is_err() })
        })
        .collect();
    common::until(|| gets.iter().filter(|get| get.is_finished()).count() == 2_000 - 259).await;
    assert_eq!(lines.all(), 1, "counted, not logged");
    deployment.store.release_calls(10_000);
    for get in gets {
        get.await.unwrap();
    }
}
