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
        compare(keys, &kept)
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
        compare(std::slice::from_ref(key), &kept)
    })
    .await
}

struct KeptKey {
    name: String,
    value: String,
}

async fn kept_keys(call: &mut Call) -> Result<Vec<KeptKey>, StoreError> {
    sqlx::query_as!(
        KeptKey,
        "select name, value from credential_management.key_check order by ordinal",
    )
    .fetch_all(call.on())
    .await
    .map_err(store_error)
}

fn compare(keys: &[KeyCheck], kept: &[KeptKey]) -> Result<Vec<KeyName>, StoreError> {
    for key in keys {
        let mut kept = kept.iter();
        if kept.any(|kept| kept.name == key.name.as_str() && kept.value != key.value) {
            return Err(StoreError::KeyMismatch {
                name: key.name.clone(),
            });
        }
    }
    // A value that is no key name cannot be a missing key.
    let names = kept.iter().filter_map(|kept| kept.name.parse().ok());
    Ok(names.collect())
}
