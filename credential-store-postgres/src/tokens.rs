//! Tokens that were revoked one by one.

use credential_core::store::{Change, Committed, REVOKED_TOKENS_KEPT_FOR, RevokeToken, StoreError};

use crate::{
    PostgresStore,
    call::{Call, in_time},
    changes::{commit_change, latest},
    error::store_error,
    row::{Id, Micros, limit},
};

pub(crate) async fn revoke_token(
    store: &PostgresStore,
    revoke: RevokeToken,
) -> Result<Committed<()>, StoreError> {
    let id = Id::from(revoke.credential_id);
    in_time(async {
        let mut call = Call::begin(&store.pool).await?;
        // Serialises the revocations of one credential's tokens, so that the count below is right.
        let found = sqlx::query_scalar!(
            r#"select true as "found!" from credential_management.credential
            where id = $1 for no key update"#,
            id as _,
        )
        .fetch_optional(call.on())
        .await
        .map_err(store_error)?;
        if found.is_none() {
            return Err(call.roll_back(StoreError::NotFound).await);
        }
        let changed = sqlx::query_scalar!(
            r#"
            with kept as (
                select count(*) as held, max(issued_at) as latest
                from credential_management.revoked_token
                where credential_id = $1 and expires_at > now() - make_interval(secs => $5)
            ), fate as (
                select held + 1 > $6 as drop_all, latest from kept where not exists (
                    select from credential_management.revoked_token
                    where credential_id = $1 and token_id = $2
                )
            ), gone as (
                delete from credential_management.revoked_token using fate
                where credential_id = $1 and (
                    fate.drop_all or expires_at <= now() - make_interval(secs => $5)
                )
            ), added as (
                insert into credential_management.revoked_token
                    (credential_id, token_id, issued_at, expires_at)
                select $1, $2, $3, $4 from fate where not fate.drop_all
            ), moved as (
                update credential_management.credential set
                    tokens_valid_from = greatest(tokens_valid_from, now(), $3, fate.latest)
                from fate where id = $1 and fate.drop_all
            )
            select true as "changed!" from fate
            "#,
            id as _,
            Id(*revoke.token.id.as_bytes()) as _,
            Micros::from(revoke.token.issued_at) as _,
            Micros::from(revoke.token.expires_at) as _,
            REVOKED_TOKENS_KEPT_FOR.as_secs_f64(),
            limit(revoke.limit),
        )
        .fetch_optional(call.on())
        .await
        .map_err(store_error)?;
        if changed.is_some() {
            return commit_change(call, (), &Change::Credential(revoke.credential_id)).await;
        }
        let latest = latest(&mut call).await?;
        call.commit().await?;
        Ok(Committed {
            value: (),
            change: latest,
        })
    })
    .await
}
