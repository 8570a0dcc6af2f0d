//! The check values of keys.

use credential_core::{
    secret::keyring::KeyName,
    store::{KeyCheck, StoreError},
};

use crate::{
    PostgresStore,
    call::{Call, in_time},
    error::store_error,
};

pub(crate) async fn check_keys(
    store: &PostgresStore,
    keys: &[KeyCheck],
) -> Result<Vec<KeyName>, StoreError> {
    in_time(async {
        let mut call = Call::take(&store.pool).await?;
        let kept = kept_keys(&mut call).await?;
        call.end().await?;
        KeyCheck::compare(keys, &kept)
    })
    .await
}

pub(crate) async fn use_key(
    store: &PostgresStore,
    key: &KeyCheck,
) -> Result<Vec<KeyName>, StoreError> {
    in_time(async {
        let mut call = Call::begin(&store.pool).await?;
        sqlx::query!(
            r#"insert into credential_management.key_check (name, value) values ($1, $2)
            on conflict (name) do nothing"#,
            key.name.as_str(),
            &key.value,
        )
        .execute(call.on())
        .await
        .map_err(store_error)?;
        // A later statement: it sees what another node has written meanwhile.
        let kept = kept_keys(&mut call).await?;
        call.commit().await?;
        KeyCheck::compare(std::slice::from_ref(key), &kept)
    })
    .await
}

async fn kept_keys(call: &mut Call) -> Result<Vec<KeyCheck>, StoreError> {
    let rows =
        sqlx::query!("select name, value from credential_management.key_check order by ordinal")
            .fetch_all(call.on())
            .await
            .map_err(store_error)?;
    // A value that is no key name cannot be a missing key.
    let keys = rows.into_iter().filter_map(|row| {
        let (name, value) = (row.name.parse().ok()?, row.value);
        Some(KeyCheck { name, value })
    });
    Ok(keys.collect())
}
