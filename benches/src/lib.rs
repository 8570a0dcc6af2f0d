//! Shared set-up of the benchmarks.

use std::{
    io::{self, Write as _},
    pin::pin,
    process::ExitCode,
    task::{Context, Poll, Waker},
};

use credential_core::{
    Credentials, ScopeCatalog,
    actor::{Actor, Role, TenantAdmin},
    entropy::OsEntropy,
    host::BuildError,
    manage::{CreateCredential, Created, ManageError},
    secret::{hash::HashCost, keyring::Keyring},
};
use credential_store_memory::MemoryStore;

/// What a measurement may fail with.
pub type Error = Box<dyn std::error::Error + Send + Sync>;

/// Runs a program's future to its end; a failure is told on standard error.
pub fn run(program: &str, future: impl Future<Output = Result<(), Error>>) -> ExitCode {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build();
    match runtime
        .map_err(Error::from)
        .and_then(|it| it.block_on(future))
    {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(io::stderr(), "{program}: {error}");
            ExitCode::FAILURE
        }
    }
}

/// A deployment in memory with cheap hashing.
///
/// # Errors
/// Never with these settings.
pub fn credentials() -> Result<Credentials, BuildError> {
    Credentials::builder(MemoryStore::new())
        .catalog(ScopeCatalog::elation())
        .keyring(Keyring::generate(&OsEntropy))
        .hash_cost(HashCost::cheap())
        .limit_per_tenant(u32::MAX)
        .build()
}

/// An admin of one tenant.
///
/// # Panics
/// Never: the names are fixed and right.
#[must_use]
pub fn admin() -> TenantAdmin {
    let actor = Actor {
        id: "bench".parse().expect("a right actor id"),
        tenant: "alder".parse().expect("a right tenant id"),
        role: Role::Admin,
    };
    actor.admin().expect("an admin")
}

/// A credential that may read patients.
///
/// # Errors
/// If the store refuses.
pub async fn create(credentials: &Credentials, name: String) -> Result<Created, ManageError> {
    let request = CreateCredential {
        name: Some(name),
        api_type: Some("apiv2".to_owned()),
        scopes: vec!["system/patients.read".to_owned()],
        ..CreateCredential::default()
    };
    credentials.create(&admin(), request).await
}

/// The value of a future that never waits, without a runtime in between: what a caller inside of
/// one pays.
///
/// # Panics
/// If the future waits after all: the caches were not warm.
pub fn ready<T>(future: impl Future<Output = T>) -> T {
    let mut context = Context::from_waker(Waker::noop());
    match pin!(future).poll(&mut context) {
        Poll::Ready(value) => value,
        Poll::Pending => panic!("the caches were not warm"),
    }
}
