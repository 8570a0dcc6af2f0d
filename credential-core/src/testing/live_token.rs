//! A credential with a live token, in one call.

use std::{
    fmt,
    sync::atomic::{AtomicU64, Ordering},
};

use crate::{
    Credentials, CredentialsBuilder, ScopeCatalog,
    actor::{Actor, Role, TenantAdmin},
    credential::Credential,
    entropy::OsEntropy,
    manage::{CreateCredential, Field},
    secret::{ClientSecret, hash::HashCost, keyring::Keyring},
    store::Stores,
    token::AccessToken,
};

/// The tenant of [`token`].
const TENANT: &str = "test-tenant";

/// Settings for tests: a keyring drawn now, cheap hashing, the defaults otherwise.
pub fn builder(stores: impl Into<Stores>, catalog: ScopeCatalog) -> CredentialsBuilder {
    Credentials::builder(stores)
        .catalog(catalog)
        .keyring(Keyring::generate(&OsEntropy))
        .hash_cost(HashCost::cheap())
}

/// Whether a text is a token of this deployment, expired or not: the part of a check that needs no
/// credential.
#[must_use]
pub fn opens(credentials: &Credentials, token: &str) -> bool {
    credentials.0.sealer.open(token).is_ok()
}

/// A new credential of `test-tenant` that holds these scopes, with a live token of it.
///
/// # Panics
/// As [`token_of`].
pub async fn token(credentials: &Credentials, api_type: &str, scopes: &[&str]) -> LiveToken {
    token_of(credentials, TENANT, api_type, scopes).await
}

/// As [`token`], for a tenant of your choice.
///
/// # Panics
/// If there can be no such token, with the reason: an API type or scope that the catalogue does not
/// list, self-service that is off, a store that fails.
pub async fn token_of(
    credentials: &Credentials,
    tenant: &str,
    api_type: &str,
    scopes: &[&str],
) -> LiveToken {
    static CREATED: AtomicU64 = AtomicU64::new(1);
    let actor = Actor {
        id: or_panic("test".parse()),
        tenant: or_panic(tenant.parse()),
        role: Role::Admin,
    };
    let admin = or_panic(actor.admin());
    let serial = CREATED.fetch_add(1, Ordering::Relaxed);
    let request = CreateCredential {
        name: format!("Test {serial}").into(),
        api_type: api_type.into(),
        scopes: Field::Value(scopes.iter().map(|&scope| scope.to_owned()).collect()),
        ..CreateCredential::default()
    };
    let created = or_panic(credentials.manage(&admin).create(request).await);
    let client_secret = or_panic(created.client_secret.ok_or("no secret was made"));
    let (id, secret) = (&created.credential.identity.client_id, &client_secret);
    let client = credentials.authenticate(id.as_str(), secret.expose_secret());
    let issued = credentials.issue(&or_panic(client.await), None);
    LiveToken {
        access_token: or_panic(issued).access_token,
        credential: created.credential,
        client_secret,
        admin,
    }
}

/// A credential that was made for a test, and a live token of it.
#[derive(Debug)]
pub struct LiveToken {
    access_token: AccessToken,
    credential: Credential,
    client_secret: ClientSecret,
    admin: TenantAdmin,
}

impl LiveToken {
    /// The token's text.
    #[must_use]
    pub fn bearer(&self) -> &str {
        self.access_token.expose_secret()
    }

    /// The value of an `Authorization` header that carries the token.
    #[must_use]
    pub fn authorization(&self) -> String {
        format!("Bearer {}", self.bearer())
    }

    /// The credential as it was created: its id, client id and tenant.
    #[must_use]
    pub fn credential(&self) -> &Credential {
        &self.credential
    }

    /// The credential's secret, for tests of the token endpoint.
    #[must_use]
    pub fn client_secret(&self) -> &ClientSecret {
        &self.client_secret
    }

    /// An admin of the credential's tenant, for tests that edit it.
    #[must_use]
    pub fn admin(&self) -> &TenantAdmin {
        &self.admin
    }

    /// Revokes the credential, and the token with it.
    ///
    /// # Panics
    /// If the store fails.
    pub async fn revoke(&self, credentials: &Credentials) {
        or_panic(
            credentials
                .manage(&self.admin)
                .revoke(self.credential.identity.id, None)
                .await,
        );
    }
}

/// What a test cannot go on without. Says which call of the test failed, and why.
#[track_caller]
fn or_panic<T, E: fmt::Debug>(result: Result<T, E>) -> T {
    match result {
        Ok(value) => value,
        Err(error) => panic!("the test's set-up failed: {error:?}"),
    }
}
