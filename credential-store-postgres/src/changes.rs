//! The numbered log of changes, and the nodes that follow it.

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use credential_core::store::{
    CHANGES_KEPT_FOR, Change, ChangeId, Changes, Committed, Heartbeat, LoggedChange, Mark,
    NODE_ALIVE_FOR, StoreError,
};

use crate::{
    PostgresStore,
    call::{Call, Pool, in_time},
    error::store_error,
    replays,
    row::{Id, bigint, change, change_id, limit, number},
};

/// Every 1 024th heartbeat of a store also removes old changes, dead nodes and answers
/// whose time is over: every few minutes.
const PRUNE_EVERY: u64 = 1024;

pub(crate) async fn catch_up(
    store: &PostgresStore,
    heartbeat: &Heartbeat,
) -> Result<Changes, StoreError> {
    let applied = heartbeat
        .applied
        .map(|applied| bigint(applied.number))
        .transpose()?;
    let max_staleness = i64::try_from(heartbeat.max_staleness.as_micros()).unwrap_or(i64::MAX);
    let row = in_time(async {
        let mut call = store.catch_up_session.take(&store.pool).await?;
        // One statement: one round trip, one snapshot for the counter and the rows, and one
        // commit that the answer waits for. The insert is what makes it a write.
        let row = sqlx::query!(
            r#"
            with other as (
                -- Only a node that starts is compared: one that runs must go on writing.
                select issuer from credential_management.node
                where $2::bigint is null and issuer <> $6 and id <> $1
                    and seen_at >= now() - make_interval(secs => $7)
                order by seen_at desc limit 1
            ), beat as (
                insert into credential_management.node
                    (id, applied, max_staleness, issuer, seen_at)
                select $1, $2, $3, $6, now() where not exists (select from other)
                on conflict (id) do update set applied = excluded.applied,
                    max_staleness = excluded.max_staleness, seen_at = excluded.seen_at
            )
            select n.value as "upto!", n.mark as "mark!: Id",
                (select issuer from other) as other_issuer,
                greatest($3, (
                    select max(max_staleness) from credential_management.node
                    where seen_at >= now() - make_interval(secs => $4) and id <> $1
                )) as "largest!",
                (extract(epoch from clock_timestamp() - l.oldest) * 1000000)::bigint as waited,
                l.number as "number!", l.mark as "marks!: Vec<Id>",
                l.previous as "previous!: Vec<Id>", l.credential_id as "credential_id!: Vec<Option<Id>>",
                l.tenant_id as "tenant_id!: Vec<Option<String>>",
                set_config('synchronous_commit',
                    case when current_setting('synchronous_commit') in ('off', 'local')
                        then 'on' else current_setting('synchronous_commit') end,
                    true) as synchronous_commit
            -- Its only row. Said so, because without statistics the planner reckons with a thousand, and may
            -- then compile the statement (JIT) each time it runs.
            from (select value, mark from credential_management.change_counter limit 1) as n
            cross join lateral (
                select min(at) as oldest,
                    coalesce(array_agg(number order by number), '{}') as number,
                    coalesce(array_agg(mark order by number), '{}') as mark,
                    coalesce(array_agg(previous order by number), '{}') as previous,
                    coalesce(array_agg(credential_id order by number), '{}') as credential_id,
                    coalesce(array_agg(tenant_id order by number), '{}') as tenant_id
                from credential_management.change
                where number > $2 and n.value - $2 between 1 and $5
            ) as l
            "#,
            Id(heartbeat.node.0) as _,
            applied,
            max_staleness,
            CHANGES_KEPT_FOR.as_secs_f64(),
            limit(heartbeat.max_changes),
            &*heartbeat.issuer,
            NODE_ALIVE_FOR.as_secs_f64(),
        )
        .fetch_one(call.on())
        .await
        .map_err(store_error)?;
        call.end().await?;
        Ok(row)
    })
    .await?;
    if let Some(other) = row.other_issuer {
        return Err(StoreError::IssuerMismatch {
            issuer: Arc::clone(&heartbeat.issuer),
            other,
        });
    }
    prune_if_due(store);
    let missing = applied.and_then(|applied| row.upto.checked_sub(applied));
    let complete =
        missing.and_then(|missing| usize::try_from(missing).ok()) == Some(row.number.len());
    let items = || {
        let marks = row.marks.into_iter().zip(row.previous);
        let subjects = row.credential_id.into_iter().zip(row.tenant_id);
        let rows = row.number.into_iter().zip(marks).zip(subjects);
        rows.map(|((n, (mark, previous)), (credential, tenant))| {
            Ok(LoggedChange {
                id: change_id(n, mark)?,
                previous: Mark(previous.0),
                change: change(credential, tenant)?,
            })
        })
        .collect::<Result<Vec<_>, StoreError>>()
    };
    Ok(Changes {
        upto: change_id(row.upto, row.mark)?,
        items: complete.then(items).transpose()?,
        // Since the transaction began, which is a little earlier than its commit.
        waited: Duration::from_micros(row.waited.and_then(|it| it.try_into().ok()).unwrap_or(0)),
        largest_max_staleness: Duration::from_micros(number(row.largest)?),
    })
}

/// Begins to remove what is old, now and then; in a task of its own, so that no answer waits for it.
fn prune_if_due(store: &PostgresStore) {
    let heartbeats = store.heartbeats.fetch_add(1, Ordering::Relaxed);
    if heartbeats.is_multiple_of(PRUNE_EVERY) {
        tokio::spawn(prune(store.pool.clone()));
    }
}

/// Writes a change for everything, so that every node starts anew.
pub(crate) async fn invalidate(store: &PostgresStore) -> Result<(), StoreError> {
    in_time(async {
        let call = Call::begin(&store.pool).await?;
        commit_change(call, (), &Change::Everything)
            .await
            .map(|_| ())
    })
    .await
}

/// Appends the change and commits. This is always the last statement of a transaction: every writer
/// waits for the counter's lock, which is held from here to the commit and orders the changes.
pub(crate) async fn commit_change<T>(
    mut call: Call,
    value: T,
    change: &Change,
) -> Result<Committed<T>, StoreError> {
    let (credential, tenant) = match change {
        Change::Credential(id) => (Some(Id::from(*id)), None),
        Change::Tenant(id) => (None, Some(id.as_str())),
        Change::Everything => (None, None),
    };
    let change = sqlx::query!(
        r#"
        with counted as (
            update credential_management.change_counter
            set value = value + 1, previous = mark, mark = gen_random_uuid()
            returning value, mark, previous
        ), logged as (
            insert into credential_management.change (number, mark, previous, credential_id,
                tenant_id)
            select value, mark, previous, $1, $2 from counted
        )
        select value as "number!", mark as "mark!: Id",
            pg_notify('credential_management_change', '') is null as notified,
            set_config('synchronous_commit',
                case when current_setting('synchronous_commit') in ('off', 'local')
                    then 'on' else current_setting('synchronous_commit') end,
                true) as synchronous_commit
        from counted
        "#,
        credential as _,
        tenant,
    )
    .fetch_one(call.on())
    .await
    .map_err(store_error)?;
    let change = change_id(change.number, change.mark)?;
    call.commit().await?;
    Ok(Committed { value, change })
}

/// The latest change.
pub(crate) async fn latest(call: &mut Call) -> Result<ChangeId, StoreError> {
    let latest = sqlx::query!(
        r#"select value, mark as "mark: Id" from credential_management.change_counter"#
    )
    .fetch_one(call.on())
    .await
    .map_err(store_error)?;
    change_id(latest.value, latest.mark)
}

/// Removes changes, nodes and answers that are no longer needed. If that fails, a later call removes them.
async fn prune(pool: Pool) {
    let done = in_time(async {
        let mut call = Call::take(&pool).await?;
        // Why `skip locked`: another node that prunes at the same time removes those rows.
        sqlx::query!(
            r#"
            with old_changes as (
                delete from credential_management.change where number = any(array(
                    select number from credential_management.change
                    where at < now() - make_interval(secs => $1)
                        and number < (select value from credential_management.change_counter)
                    order by at limit 10000 for update skip locked
                ))
            )
            delete from credential_management.node where id = any(array(
                select id from credential_management.node
                where seen_at < now() - make_interval(secs => $1) for update skip locked
            ))
            "#,
            CHANGES_KEPT_FOR.as_secs_f64(),
        )
        .execute(call.on())
        .await
        .map_err(store_error)?;
        call.end().await
    })
    .await;
    let done = match done {
        Ok(()) => replays::prune(&pool).await,
        failed => failed,
    };
    if let Err(error) = done {
        tracing::debug!(
            error = &error as &dyn std::error::Error,
            "old changes were not removed this time"
        );
    }
}
