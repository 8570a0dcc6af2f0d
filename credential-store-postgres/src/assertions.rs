//! Assertions that were used.

use credential_core::store::{ASSERTIONS_KEPT_FOR, SpendAssertion, StoreError};

use crate::{
    PostgresStore,
    call::{Call, in_time},
    error::store_error,
    row::{Id, Micros},
};

pub(crate) async fn spend(
    store: &PostgresStore,
    spend: SpendAssertion,
) -> Result<bool, StoreError> {
    in_time(async {
        let mut call = Call::take(&store.pool).await?;
        // Each removes more than it adds, so there are never many.
        let first = sqlx::query_scalar!(
            r#"
            with old as (
                select credential_id, digest from credential_management.spent_assertion
                where until < now() - make_interval(secs => $4)
                order by until limit 16 for update skip locked
            ), gone as (
                delete from credential_management.spent_assertion as s using old
                where s.credential_id = old.credential_id and s.digest = old.digest
            ), durable as materialized (
                -- As for changes: a crash must not bring the assertion back.
                select set_config('synchronous_commit',
                    case when current_setting('synchronous_commit') in ('off', 'local')
                        then 'on' else current_setting('synchronous_commit') end,
                    true)
            )
            insert into credential_management.spent_assertion (credential_id, digest, until)
            select $1, $2, greatest($3, now()) from durable
            on conflict (credential_id, digest) do nothing
            returning true as "first!"
            "#,
            Id::from(spend.credential_id) as _,
            &spend.digest[..],
            Micros::from(spend.until) as _,
            ASSERTIONS_KEPT_FOR.as_secs_f64(),
        )
        .fetch_optional(call.on())
        .await
        .map_err(store_error)?;
        call.end().await?;
        Ok(first.is_some())
    })
    .await
}
