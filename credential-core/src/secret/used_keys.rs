//! Which keys the store has been used with, and the first use of this node's own.
//!
//! A key's name is kept in the store, with a value that tells other bytes under the same name, when
//! something is about to be signed with it for the first time, and not before: a node that was started
//! with a wrong keyring leaves nothing behind.

use std::sync::{
    Arc, Mutex, PoisonError,
    atomic::{AtomicBool, AtomicU64, Ordering},
};

use super::keyring::{KeyName, Keyring};
use crate::{
    clock::{Clock, Monotonic},
    live::{FAILURE_HOLDS, shared},
    store::{CredentialStore, KeyCheck, StoreError},
};

/// What this node knows of the keys that the store has been used with.
#[derive(Debug, Default)]
pub(crate) struct UsedKeys {
    names: Mutex<Arc<[KeyName]>>,
    /// In which history of the store the ring's signing key is among them, counted from 1; 0: in none.
    signing: AtomicU64,
    /// The ring lacks one of them.
    lacking: AtomicBool,
    /// Held while the signing key's name is kept: whoever else is about to sign waits, and asks nothing.
    /// When an attempt to keep it failed last, and why.
    keeping: tokio::sync::Mutex<Option<(Monotonic, Arc<StoreError>)>>,
}

impl UsedKeys {
    fn learn(&self, keyring: &Keyring, names: Vec<KeyName>, history: u64) {
        let lacking = names.iter().any(|name| keyring.get(name).is_none());
        let signing = names.contains(keyring.signing().name());
        *self.names.lock().unwrap_or_else(PoisonError::into_inner) = names.into();
        self.lacking.store(lacking, Ordering::Relaxed);
        // After the names: who sees it signs by them.
        let history = if signing { history + 1 } else { 0 };
        self.signing.store(history, Ordering::Release);
    }

    /// Compares the keyring with what the store knows, and warns of keys that the ring lacks.
    pub(crate) async fn check(
        &self,
        keyring: &Keyring,
        store: &dyn CredentialStore,
    ) -> Result<(), StoreError> {
        let checks: Vec<_> = keyring.keys().map(KeyCheck::from).collect();
        let names = store.check_keys(&checks).await?;
        let lacking: Vec<_> = names
            .iter()
            .filter(|name| keyring.get(name).is_none())
            .map(KeyName::as_str)
            .collect();
        if !lacking.is_empty() {
            tracing::warn!(
                keys = lacking.join(","),
                "the store was used with keys that this keyring lacks: secrets and tokens that they \
                 signed are refused (reason `unknown_key`), and audit rows that they signed cannot be \
                 verified"
            );
        }
        self.learn(keyring, names, 0);
        Ok(())
    }

    /// To be awaited before anything is signed: keeps the signing key's name if this is its first use, in
    /// that history of the store.
    pub(crate) async fn before_signing(
        &self,
        history: u64,
        keyring: &Keyring,
        store: &dyn CredentialStore,
        clock: &dyn Clock,
    ) -> Result<(), StoreError> {
        if self.signing.load(Ordering::Acquire) == history + 1 {
            return Ok(());
        }
        let asked = clock.monotonic();
        let mut failed = self.keeping.lock().await;
        if self.signing.load(Ordering::Acquire) == history + 1 {
            return Ok(());
        }
        // A caller that waited for an attempt that failed does not make one more.
        if let Some((ended, error)) = &*failed
            && ended.saturating_add(FAILURE_HOLDS) > asked
        {
            return Err(shared(Arc::clone(error)));
        }
        match store.use_key(&KeyCheck::from(keyring.signing())).await {
            Ok(names) => self.learn(keyring, names, history),
            Err(error @ StoreError::KeyMismatch { .. }) => return Err(error),
            Err(error) => {
                let error = Arc::new(error);
                *failed = Some((clock.monotonic(), Arc::clone(&error)));
                return Err(shared(error));
            }
        }
        Ok(())
    }

    /// The keys' names in the order in which they were first used.
    pub(crate) fn names(&self) -> Arc<[KeyName]> {
        Arc::clone(&self.names.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Whether the store has been used with a key that the ring lacks.
    pub(crate) fn lacking(&self) -> bool {
        self.lacking.load(Ordering::Relaxed)
    }
}
