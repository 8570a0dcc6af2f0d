//! `testing::token` is a real token of a real credential, and says what keeps it from being one.

#![expect(clippy::unwrap_used, reason = "tests")]

use credential_core::{
    Credentials, ScopeCatalog,
    testing::{builder, token, token_of},
};
use credential_store_memory::MemoryStore;

fn credentials() -> Credentials {
    let catalog = ScopeCatalog::elation();
    builder(MemoryStore::new(), catalog).build().unwrap()
}

#[tokio::test]
async fn each_token_has_its_tenant_and_its_scopes() {
    let credentials = credentials();
    let alder = token_of(&credentials, "alder", "apiv2", &["system/patients.read"]).await;
    let birch = token_of(&credentials, "birch", "apiv2", &["system/patients.write"]).await;

    let access = credentials.verify(alder.bearer()).await.unwrap();
    assert_eq!(access.tenant().as_str(), "alder");
    assert_eq!(access.credential_id(), alder.credential().identity.id);
    assert_eq!(access.scope(), "system/patients.read");
    // The admin that comes with a token is of its tenant only.
    let foreign = credentials
        .manage(birch.admin())
        .revoke(alder.credential().identity.id, None);
    assert!(foreign.await.is_err());

    alder.revoke(&credentials).await;
    assert!(credentials.verify(alder.bearer()).await.is_err());
    assert!(credentials.verify(birch.bearer()).await.is_ok());
}

#[tokio::test]
#[should_panic(expected = "unknown_scope")]
async fn a_misspelt_scope_is_named() {
    token(&credentials(), "apiv2", &["system/patient.read"]).await;
}
