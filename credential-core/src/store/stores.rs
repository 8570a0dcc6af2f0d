//! The stores of a node, by what each must guarantee.

use std::sync::Arc;

use super::{CredentialStore, TrailStore, UsageStore};

/// The stores of a node. Only the first is required; a use case that needs another returns an error
/// without it.
#[derive(Debug, Clone)]
pub struct Stores {
    pub(crate) credentials: Arc<dyn CredentialStore>,
    pub(crate) trail: Option<Arc<dyn TrailStore>>,
    pub(crate) usage: Option<Arc<dyn UsageStore>>,
}

impl Stores {
    /// Credentials, tokens and revocation. There is no audit trail to be read, and last uses are not kept.
    #[must_use]
    pub fn new(credentials: impl CredentialStore) -> Self {
        Self {
            credentials: Arc::new(credentials),
            trail: None,
            usage: None,
        }
    }

    /// One store for everything.
    #[must_use]
    pub fn all(store: impl CredentialStore + TrailStore + UsageStore) -> Self {
        let store = Arc::new(store);
        Self {
            credentials: store.clone(),
            trail: Some(store.clone()),
            usage: Some(store),
        }
    }

    /// The audit trail is read from there.
    #[must_use]
    pub fn trail(mut self, store: impl TrailStore) -> Self {
        self.trail = Some(Arc::new(store));
        self
    }

    /// Last uses are kept there.
    #[must_use]
    pub fn usage(mut self, store: impl UsageStore) -> Self {
        self.usage = Some(Arc::new(store));
        self
    }
}

impl<S: CredentialStore + TrailStore + UsageStore> From<Arc<S>> for Stores {
    fn from(store: Arc<S>) -> Self {
        Self::all(store)
    }
}
