//! When credentials were last used.

use credential_core::store::{LastUse, StoreError};

use crate::{
    PostgresStore,
    call::{Call, in_time},
    error::store_error,
    row::{Id, Micros},
};

pub(crate) async fn record(store: &PostgresStore, uses: &[LastUse]) -> Result<(), StoreError> {
    if uses.is_empty() {
        return Ok(());
    }
    in_time(async {
        let mut call = Call::take(&store.pool).await?;
        // Why lock in order first: two nodes that report the same credentials would otherwise
        // deadlock.
        sqlx::query!(
            r#"
            with used as (
                select credential_id, selector, max(at) as at
                from unnest($1::uuid[], $2::text[], $3::timestamptz[])
                    as u (credential_id, selector, at)
                group by credential_id, selector
            ), latest as (
                select c.id, l.at from credential_management.credential as c
                join (select credential_id, max(at) as at from used group by credential_id) as l
                    on l.credential_id = c.id
                where c.last_used_at is null or c.last_used_at < l.at
                order by c.id for no key update of c
            ), credentials as (
                update credential_management.credential as c
                set last_used_at = greatest(c.last_used_at, latest.at)
                from latest where c.id = latest.id
            ), later as (
                select s.selector, u.at from credential_management.secret as s
                join used as u using (credential_id, selector)
                where (s.last_used_at is null or s.last_used_at < u.at)
                    -- Credentials are locked before their secrets, as edits lock them.
                    and (select count(*) from latest) is not null
                order by s.selector for no key update of s
            )
            update credential_management.secret as s
            set last_used_at = greatest(s.last_used_at, later.at)
            from later where s.selector = later.selector
            "#,
            uses.iter()
                .map(|u| u.credential_id.into())
                .collect::<Vec<Id>>() as _,
            &uses
                .iter()
                .map(|u| u.proof.as_str().to_owned())
                .collect::<Vec<_>>(),
            uses.iter().map(|u| u.at.into()).collect::<Vec<Micros>>() as _,
        )
        .execute(call.on())
        .await
        .map_err(store_error)?;
        call.end().await
    })
    .await
}
