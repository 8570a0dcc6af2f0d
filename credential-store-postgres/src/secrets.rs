//! The stored hash of a secret.

use credential_core::store::{ReplaceHash, StoreError};

use crate::{
    PostgresStore,
    call::{Call, in_time},
    error::store_error,
    row::Id,
};

pub(crate) async fn replace_hash(
    store: &PostgresStore,
    change: ReplaceHash,
) -> Result<(), StoreError> {
    in_time(async {
        let mut call = Call::take(&store.pool).await?;
        sqlx::query!(
            r#"update credential_management.secret set phc = $3, key_name = $4
            where credential_id = $1 and selector = $2 and phc = $5 and key_name = $6"#,
            Id::from(change.id) as _,
            change.selector.as_str(),
            change.new.phc(),
            change.new.key().as_str(),
            change.old.phc(),
            change.old.key().as_str(),
        )
        .execute(call.on())
        .await
        .map_err(store_error)?;
        call.end().await
    })
    .await
}
