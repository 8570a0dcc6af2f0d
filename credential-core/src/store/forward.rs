//! A shared store is a store.

use std::sync::Arc;

use async_trait::async_trait;

use super::{
    AsOf, Changes, Committed, CredentialStore, Edit, Heartbeat, KeyCheck, ListQuery, NewCredential,
    ReplaceHash, Replay, ReplayQuery, Revoke, RevokeAll, RevokeToken, SpendAssertion, StoreError,
};
use crate::{
    credential::{Credential, CredentialName, CredentialState},
    id::{ClientId, CredentialId, ProofId, TenantId},
    secret::keyring::KeyName,
};

#[async_trait]
impl<S: CredentialStore + ?Sized> CredentialStore for Arc<S> {
    async fn insert(&self, new: NewCredential) -> Result<Committed<()>, StoreError> {
        (**self).insert(new).await
    }

    async fn may_insert(
        &self,
        tenant: &TenantId,
        name: &CredentialName,
        limit: u32,
    ) -> Result<(), StoreError> {
        (**self).may_insert(tenant, name, limit).await
    }

    async fn get(
        &self,
        tenant: &TenantId,
        id: CredentialId,
    ) -> Result<Option<Credential>, StoreError> {
        (**self).get(tenant, id).await
    }

    async fn list(
        &self,
        tenant: &TenantId,
        query: &ListQuery,
    ) -> Result<Vec<Credential>, StoreError> {
        (**self).list(tenant, query).await
    }

    async fn replace(&self, edit: Edit) -> Result<Committed<Credential>, StoreError> {
        (**self).replace(edit).await
    }

    async fn revoke(&self, revoke: Revoke) -> Result<Committed<Credential>, StoreError> {
        (**self).revoke(revoke).await
    }

    async fn revoke_all(&self, revoke: RevokeAll) -> Result<Committed<()>, StoreError> {
        (**self).revoke_all(revoke).await
    }

    async fn replay(&self, query: &ReplayQuery) -> Result<Option<Replay>, StoreError> {
        (**self).replay(query).await
    }

    async fn state(&self, id: CredentialId) -> Result<AsOf<Option<CredentialState>>, StoreError> {
        (**self).state(id).await
    }

    async fn state_by_proof(
        &self,
        proof: &ProofId,
    ) -> Result<AsOf<Option<CredentialState>>, StoreError> {
        (**self).state_by_proof(proof).await
    }

    async fn state_by_client(
        &self,
        client: &ClientId,
    ) -> Result<AsOf<Option<CredentialState>>, StoreError> {
        (**self).state_by_client(client).await
    }

    async fn spend_assertion(&self, spend: SpendAssertion) -> Result<bool, StoreError> {
        (**self).spend_assertion(spend).await
    }

    async fn replace_hash(&self, change: ReplaceHash) -> Result<(), StoreError> {
        (**self).replace_hash(change).await
    }

    async fn revoke_token(&self, revoke: RevokeToken) -> Result<Committed<()>, StoreError> {
        (**self).revoke_token(revoke).await
    }

    async fn catch_up(&self, heartbeat: &Heartbeat) -> Result<Changes, StoreError> {
        (**self).catch_up(heartbeat).await
    }

    fn retire_connections(&self) {
        (**self).retire_connections();
    }

    async fn wake_up(&self) {
        (**self).wake_up().await;
    }

    async fn check_keys(&self, keys: &[KeyCheck]) -> Result<Vec<KeyName>, StoreError> {
        (**self).check_keys(keys).await
    }

    async fn use_key(&self, key: &KeyCheck) -> Result<Vec<KeyName>, StoreError> {
        (**self).use_key(key).await
    }
}
