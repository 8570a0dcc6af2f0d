//! The reads of checks, each one statement, and the few writes of authentication.

use credential_core::{
    credential::CredentialState,
    id::{CredentialId, Selector},
    store::{
        AsOf, Committed, LastUse, REVOKED_TOKENS_KEPT_FOR, ReplaceHash, RevokeToken, StoreError,
    },
};

use crate::{
    PostgresStore,
    changes::{commit_change, latest},
    error::store_error,
    lease::{Lease, in_time},
    row::{Id, Micros, StateRow, change_id, limit},
};

/// What a check reads: a [`StateRow`], by one statement and therefore from one snapshot. The row of the
/// counter always exists, the credential (`$find`) may not.
macro_rules! state {
    ($find:tt, $argument:expr) => {
        sqlx::query_as!(
            StateRow,
            r#"
            select n.value as "upto!", n.mark as "mark!: Id", c.id as "id?: Id", c.tenant_id as "tenant_id?",
                c.name as "name?", c.api_type as "api_type?", c.client_id as "client_id?",
                c.environment as "environment?", c.scopes as "scopes?",
                c.created_at as "created_at?: Micros", c.created_by as "created_by?",
                c.expires_at as "expires_at?: Micros", c.revoked_at as "revoked_at?: Micros",
                c.revoked_by as "revoked_by?", c.version as "version?",
                c.tokens_valid_from as "tokens_valid_from?: Micros",
                c.last_used_at as "last_used_at?: Micros",
                s.selector as "secret_selector?", s.phc as "secret_phc?",
                s.key_name as "secret_key_name?", s.created_at as "secret_created_at?: Vec<Micros>",
                s.expires_at as "secret_expires_at?: Vec<Option<Micros>>",
                s.last_used_at as "secret_last_used_at?: Vec<Option<Micros>>",
                t.token_id as "token_id?: Vec<Id>", t.issued_at as "token_issued_at?: Vec<Micros>",
                t.expires_at as "token_expires_at?: Vec<Micros>"
            from credential_management.change_counter as n
            left join credential_management.credential as c on c.id = "# + $find + r#"
            left join lateral (
                select array_agg(selector order by ordinal) as selector,
                    array_agg(phc order by ordinal) as phc,
                    array_agg(key_name order by ordinal) as key_name,
                    array_agg(created_at order by ordinal) as created_at,
                    array_agg(expires_at order by ordinal) as expires_at,
                    array_agg(last_used_at order by ordinal) as last_used_at
                from credential_management.secret where credential_id = c.id
            ) as s on true
            left join lateral (
                select array_agg(token_id order by token_id) as token_id,
                    array_agg(issued_at order by token_id) as issued_at,
                    array_agg(expires_at order by token_id) as expires_at
                from credential_management.revoked_token where credential_id = c.id
            ) as t on true
            "#,
            $argument,
        )
    };
}

pub(crate) async fn state(
    store: &PostgresStore,
    id: CredentialId,
) -> Result<AsOf<Option<CredentialState>>, StoreError> {
    in_time(async {
        let mut lease = Lease::take(&store.pool).await?;
        let row = state!("$1", Id::from(id) as _)
            .fetch_one(lease.on())
            .await
            .map_err(store_error)?;
        lease.end().await?;
        as_of(row)
    })
    .await
}

pub(crate) async fn state_by_selector(
    store: &PostgresStore,
    selector: &Selector,
) -> Result<AsOf<Option<CredentialState>>, StoreError> {
    in_time(async {
        let mut lease = Lease::take(&store.pool).await?;
        let row = state!(
            "(select credential_id from credential_management.secret where selector = $1)",
            selector.as_str()
        )
        .fetch_one(lease.on())
        .await
        .map_err(store_error)?;
        lease.end().await?;
        as_of(row)
    })
    .await
}

pub(crate) async fn replace_hash(
    store: &PostgresStore,
    change: ReplaceHash,
) -> Result<(), StoreError> {
    in_time(async {
        let mut lease = Lease::take(&store.pool).await?;
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
        .execute(lease.on())
        .await
        .map_err(store_error)?;
        lease.end().await
    })
    .await
}

pub(crate) async fn revoke_token(
    store: &PostgresStore,
    revoke: RevokeToken,
) -> Result<Committed<()>, StoreError> {
    let id = Id::from(revoke.credential_id);
    in_time(async {
        let mut lease = Lease::begin(&store.pool).await?;
        // Serialises the revocations of one credential's tokens, so that the count below is right.
        let found = sqlx::query_scalar!(
            r#"select true as "found!" from credential_management.credential
            where id = $1 for no key update"#,
            id as _,
        )
        .fetch_optional(lease.on())
        .await
        .map_err(store_error)?;
        if found.is_none() {
            return Err(lease.roll_back(StoreError::NotFound).await);
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
        .fetch_optional(lease.on())
        .await
        .map_err(store_error)?;
        if changed.is_some() {
            return commit_change(lease, (), revoke.credential_id).await;
        }
        let latest = latest(&mut lease).await?;
        lease.commit().await?;
        Ok(Committed {
            value: (),
            change: latest,
        })
    })
    .await
}

pub(crate) async fn record_use(store: &PostgresStore, uses: &[LastUse]) -> Result<(), StoreError> {
    if uses.is_empty() {
        return Ok(());
    }
    in_time(async {
        let mut lease = Lease::take(&store.pool).await?;
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
                where s.last_used_at is null or s.last_used_at < u.at
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
                .map(|u| u.selector.as_str().to_owned())
                .collect::<Vec<_>>(),
            uses.iter().map(|u| u.at.into()).collect::<Vec<Micros>>() as _,
        )
        .execute(lease.on())
        .await
        .map_err(store_error)?;
        lease.end().await
    })
    .await
}

fn as_of(row: StateRow) -> Result<AsOf<Option<CredentialState>>, StoreError> {
    Ok(AsOf {
        upto: change_id(row.upto, row.mark)?,
        value: row.state()?,
    })
}
