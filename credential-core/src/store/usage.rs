//! Last uses, which may lag behind: [`UsageStore`].

use std::{fmt::Debug, sync::Arc};

use async_trait::async_trait;

use super::StoreError;
use crate::{
    clock::Timestamp,
    id::{CredentialId, ProofId},
};

/// When credentials were used. It may lag, and a crash may lose what one node saw since its last flush;
/// no answer of a check depends on it.
///
/// # Contract
///
/// The times are kept where [`CredentialStore`](super::CredentialStore) reads them: in `last_used_at` of the credential and of
/// the secret that the use names, and of no other. Without a `UsageStore` they stay `None`. A secret that
/// is gone, or that another credential has, moves its credential's time alone. A call that was
/// given up, or repeated, does no harm.
#[async_trait]
pub trait UsageStore: Debug + Send + Sync + 'static {
    /// Notes when credentials and their proofs were last used. Times only ever move forward, also when
    /// several nodes report; what does not exist is passed over. Neither the version nor the
    /// change log moves. A call has at most [`MAX_USES`] uses, in any order, and may name a proof twice.
    ///
    /// # Errors
    /// `Backend` only.
    async fn record(&self, uses: &[LastUse]) -> Result<(), StoreError>;
}

/// The most uses in one call of [`UsageStore::record`].
pub const MAX_USES: usize = 1_000;

#[async_trait]
impl<S: UsageStore + ?Sized> UsageStore for Arc<S> {
    async fn record(&self, uses: &[LastUse]) -> Result<(), StoreError> {
        (**self).record(uses).await
    }
}

/// When a credential, through one of its proofs, was last used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LastUse {
    /// The credential.
    pub credential_id: CredentialId,
    /// The client's proof, for this call or for the token of the call.
    pub proof: ProofId,
    /// When.
    pub at: Timestamp,
}
