//! How credentials are used: last uses, calls by day and scopes, refusals.

use credential_core::{
    clock::{Day, Timestamp},
    id::{CredentialId, TenantId},
    store::{
        BATCHES_KEPT_FOR, CALLS_KEPT_FOR, CallCount, DayUse, LastUse, REFUSALS_KEPT,
        REFUSALS_KEPT_FOR, REFUSALS_MERGE_WITHIN, RefusalCount, RefusalNote, RefusedClient,
        ScopeUse, StoreError, Usage, UsageBatch,
    },
};

use crate::{
    PostgresStore,
    call::{Call, in_time},
    error::store_error,
    row::{Id, Micros, OrUnreadable as _, bigint, limit, number},
};

/// One statement and so one transaction, in one round trip: all of it hangs on the batch being new.
///
/// Why lock in order first: two nodes that report the same credentials would otherwise deadlock. Rows that
/// are inserted are locked in the order of the insert.
#[expect(clippy::too_many_lines, reason = "one SQL statement")]
pub(crate) async fn record(store: &PostgresStore, batch: &UsageBatch) -> Result<(), StoreError> {
    let batch_number = bigint(batch.number)?;
    let uses = UseColumns::of(&batch.uses);
    let calls = CallColumns::of(&batch.calls)?;
    let refusals = RefusalColumns::of(&batch.refusals)?;
    in_time(async {
        let mut call = Call::take(&store.pool).await?;
        sqlx::query!(
            r#"
            with fresh as (
                insert into credential_management.usage_batch as b (node_id, number, at)
                values ($1, $2, now())
                on conflict (node_id) do update set number = excluded.number, at = excluded.at
                where b.number < excluded.number
                returning b.number
            ),

            -- Last uses.
            used as (
                select credential_id, selector, max(at) as at
                from unnest($3::uuid[], $4::text[], $5::timestamptz[])
                    as u (credential_id, selector, at)
                where exists (select from fresh)
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
            ),

            registrations as (
                insert into credential_management.registration_use as r
                    (credential_id, proof, last_used_at)
                select u.credential_id, u.selector, u.at from used as u
                join credential_management.credential as c on c.id = u.credential_id
                    and u.selector = any (c.registration_proof)
                where (select count(*) from latest) is not null
                order by u.credential_id, u.selector
                on conflict (credential_id, proof) do update set
                    last_used_at = greatest(r.last_used_at, excluded.last_used_at)
            ),

            -- Calls.
            calls as (
                insert into credential_management.usage_day as d
                    (tenant_id, credential_id, day, scopes, allowed, denied, last_used_at)
                select c.tenant_id, c.id, date '1970-01-01' + u.day, u.scopes,
                    sum(u.allowed)::bigint, sum(u.denied)::bigint, max(u.last_used_at)
                from unnest(
                    $6::uuid[], $7::integer[], $8::text[], $9::bigint[], $10::bigint[], $11::timestamptz[]
                ) as u (credential_id, day, scopes, allowed, denied, last_used_at)
                join credential_management.credential as c on c.id = u.credential_id
                where exists (select from fresh)
                group by c.tenant_id, c.id, u.day, u.scopes
                order by c.tenant_id, c.id, u.day, u.scopes
                on conflict (tenant_id, credential_id, day, scopes) do update set
                    allowed = d.allowed + excluded.allowed,
                    denied = d.denied + excluded.denied,
                    last_used_at = greatest(d.last_used_at, excluded.last_used_at)
            ),

            -- Refusals. What grows a refusal that is there is merged with it; the rest is added.
            noted as (
                select coalesce(p.tenant_id, c.tenant_id) as tenant_id,
                    coalesce(p.id, c.id) as credential_id,
                    n.reason, n.needed_scope, n.method, n.address, n.at, n.last_at, n.count
                from unnest(
                    $12::uuid[], $13::text[], $14::text[], $15::text[], $16::text[], $17::text[],
                    $18::timestamptz[], $19::timestamptz[], $20::bigint[]
                ) as n (proven, claimed, reason, needed_scope, method, address, at, last_at, count)
                left join credential_management.credential as p on p.id = n.proven
                left join credential_management.credential as c on c.client_id = n.claimed
                where coalesce(p.id, c.id) is not null and exists (select from fresh)
            ), matched as materialized (
                select n.*, (
                    select r.id from credential_management.refusal as r
                    where r.tenant_id = n.tenant_id and r.credential_id = n.credential_id
                        and r.reason = n.reason
                        and r.needed_scope is not distinct from n.needed_scope
                        and r.method is not distinct from n.method
                        and r.address is not distinct from n.address
                        and r.at > n.at - make_interval(secs => $21)
                        and r.at < n.at + make_interval(secs => $21)
                    order by r.at desc limit 1
                ) as id
                from noted as n
            ), growth as (
                select tenant_id, credential_id, id, min(at) as at, max(last_at) as last_at,
                    sum(count)::bigint as count
                from matched where id is not null group by tenant_id, credential_id, id
            ), growing as (
                select g.* from credential_management.refusal as r
                join growth as g using (tenant_id, credential_id, id)
                order by r.tenant_id, r.credential_id, r.id for no key update of r
            ), grown as (
                update credential_management.refusal as r
                set at = least(r.at, g.at), last_at = greatest(r.last_at, g.last_at),
                    count = r.count + g.count
                from growing as g
                where r.tenant_id = g.tenant_id and r.credential_id = g.credential_id and r.id = g.id
            ), added as (
                insert into credential_management.refusal
                    (tenant_id, credential_id, reason, needed_scope, method, address, at, last_at, count)
                select tenant_id, credential_id, reason, needed_scope, method, address, at, last_at,
                    count
                from matched where id is null
            ), beyond as (
                select r.tenant_id, r.credential_id, r.id from credential_management.refusal as r
                join (
                    select tenant_id, credential_id, id, row_number() over (
                        partition by tenant_id, credential_id order by at desc, id desc
                    ) as place
                    from credential_management.refusal
                    where (tenant_id, credential_id) in (select tenant_id, credential_id from noted)
                ) as ranked using (tenant_id, credential_id, id)
                where ranked.place > $22
                    and not exists (select from growth as g where g.id = r.id)
                order by r.tenant_id, r.credential_id, r.id for update of r skip locked
            ), gone as (
                delete from credential_management.refusal as r using beyond as b
                where r.tenant_id = b.tenant_id and r.credential_id = b.credential_id and r.id = b.id
            )

            update credential_management.secret as s
            set last_used_at = greatest(s.last_used_at, later.at)
            from later where s.selector = later.selector
            "#,
            Id(batch.node.0) as _,
            batch_number,
            uses.credential as _,
            &uses.selector,
            uses.at as _,
            calls.credential as _,
            &calls.day,
            &calls.scopes,
            &calls.allowed,
            &calls.denied,
            calls.last_used_at as _,
            refusals.proven as _,
            refusals.claimed as _,
            &refusals.reason,
            refusals.needed_scope as _,
            refusals.method as _,
            refusals.address as _,
            refusals.at as _,
            refusals.last_at as _,
            &refusals.count,
            REFUSALS_MERGE_WITHIN.as_secs_f64(),
            limit(REFUSALS_KEPT),
        )
        .execute(call.on())
        .await
        .map_err(store_error)?;
        call.end().await
    })
    .await
}

#[derive(Debug, Default)]
struct UseColumns {
    credential: Vec<Id>,
    selector: Vec<String>,
    at: Vec<Micros>,
}

impl UseColumns {
    fn of(uses: &[LastUse]) -> Self {
        let mut columns = Self::default();
        for used in uses {
            columns.credential.push(used.credential_id.into());
            columns.selector.push(used.proof.as_str().to_owned());
            columns.at.push(used.at.into());
        }
        columns
    }
}

#[derive(Debug, Default)]
struct CallColumns {
    credential: Vec<Id>,
    day: Vec<i32>,
    scopes: Vec<String>,
    allowed: Vec<i64>,
    denied: Vec<i64>,
    last_used_at: Vec<Option<Micros>>,
}

impl CallColumns {
    fn of(calls: &[CallCount]) -> Result<Self, StoreError> {
        let mut columns = Self::default();
        for count in calls {
            columns.credential.push(count.credential_id.into());
            columns.day.push(count.day.as_days());
            columns.scopes.push(count.scopes.clone());
            columns.allowed.push(bigint(count.allowed)?);
            columns.denied.push(bigint(count.denied)?);
            columns
                .last_used_at
                .push(count.last_used_at.map(Micros::from));
        }
        Ok(columns)
    }
}

#[derive(Debug, Default)]
struct RefusalColumns {
    proven: Vec<Option<Id>>,
    claimed: Vec<Option<String>>,
    reason: Vec<String>,
    needed_scope: Vec<Option<String>>,
    method: Vec<Option<String>>,
    address: Vec<Option<String>>,
    at: Vec<Micros>,
    last_at: Vec<Micros>,
    count: Vec<i64>,
}

impl RefusalColumns {
    fn of(notes: &[RefusalNote]) -> Result<Self, StoreError> {
        let mut columns = Self::default();
        for RefusalNote { client, refusal } in notes {
            let (proven, claimed) = match client {
                RefusedClient::Proven(id) => (Some(Id::from(*id)), None),
                RefusedClient::Claimed(client) => (None, Some(client.as_str().to_owned())),
            };
            columns.proven.push(proven);
            columns.claimed.push(claimed);
            columns.reason.push(refusal.reason.clone().into_owned());
            columns.needed_scope.push(refusal.needed_scope.clone());
            let method = refusal.method.as_deref();
            columns.method.push(method.map(str::to_owned));
            columns
                .address
                .push(refusal.address.map(|it| it.to_string()));
            columns.at.push(refusal.at.into());
            columns.last_at.push(refusal.last_at.into());
            columns.count.push(bigint(refusal.count)?);
        }
        Ok(columns)
    }
}

pub(crate) async fn usage(
    store: &PostgresStore,
    tenant: &TenantId,
    id: CredentialId,
    since: Day,
) -> Result<Usage, StoreError> {
    in_time(async {
        let mut call = Call::take(&store.pool).await?;
        // One statement, so that days and scopes are of one moment.
        let rows = sqlx::query!(
            r#"select day - date '1970-01-01' as "day: i32", scopes as "scopes?",
                coalesce(sum(allowed) filter (where day >= date '1970-01-01' + $3::integer), 0)::bigint
                    as "allowed!",
                coalesce(sum(denied) filter (where day >= date '1970-01-01' + $3::integer), 0)::bigint
                    as "denied!",
                max(last_used_at) as "last_used_at: Micros"
            from credential_management.usage_day
            where tenant_id = $1 and credential_id = $2
            group by grouping sets ((day), (scopes))
            having grouping(day) = 1 or day >= date '1970-01-01' + $3::integer
            order by day, scopes"#,
            tenant.as_str(),
            Id::from(id) as _,
            since.as_days(),
        )
        .fetch_all(call.on())
        .await
        .map_err(store_error)?;
        call.end().await?;
        let mut usage = Usage::default();
        for row in rows {
            let (allowed, denied) = (number(row.allowed)?, number(row.denied)?);
            if let Some(scopes) = row.scopes {
                usage.scopes.push(ScopeUse {
                    scopes,
                    allowed,
                    denied,
                    last_used_at: row.last_used_at.map(Micros::at),
                });
            } else if let Some(day) = row.day {
                usage.days.push(DayUse {
                    day: Day::from_days(day),
                    allowed,
                    denied,
                });
            }
        }
        Ok(usage)
    })
    .await
}

pub(crate) async fn used_scopes(
    store: &PostgresStore,
    tenant: &TenantId,
    ids: &[CredentialId],
    since: Day,
) -> Result<Vec<(CredentialId, String)>, StoreError> {
    let ids: Vec<Id> = ids.iter().copied().map(Id::from).collect();
    in_time(async {
        let mut call = Call::take(&store.pool).await?;
        let rows = sqlx::query!(
            r#"select distinct credential_id as "credential_id: Id", scopes
            from credential_management.usage_day
            where tenant_id = $1 and credential_id = any($2)
                and day >= date '1970-01-01' + $3::integer and last_used_at is not null"#,
            tenant.as_str(),
            &ids as _,
            since.as_days(),
        )
        .fetch_all(call.on())
        .await
        .map_err(store_error)?;
        call.end().await?;
        let rows = rows.into_iter();
        Ok(rows
            .map(|row| (CredentialId::from_bytes(row.credential_id.0), row.scopes))
            .collect())
    })
    .await
}

pub(crate) async fn refusals(
    store: &PostgresStore,
    tenant: &TenantId,
    id: CredentialId,
    since: Timestamp,
    most: usize,
) -> Result<Vec<RefusalCount>, StoreError> {
    in_time(async {
        let mut call = Call::take(&store.pool).await?;
        let rows = sqlx::query!(
            r#"select reason, needed_scope, method, address, at as "at: Micros",
                last_at as "last_at: Micros", count
            from credential_management.refusal
            where tenant_id = $1 and credential_id = $2 and at > $3
            order by at desc, id desc limit $4"#,
            tenant.as_str(),
            Id::from(id) as _,
            Micros::from(since) as _,
            limit(most),
        )
        .fetch_all(call.on())
        .await
        .map_err(store_error)?;
        call.end().await?;
        let rows = rows.into_iter().map(|row| {
            let address = row.address.map(|it| it.parse()).transpose();
            Ok(RefusalCount {
                reason: row.reason.into(),
                needed_scope: row.needed_scope,
                method: row.method.map(Into::into),
                address: address.or_unreadable("refusal.address")?,
                at: row.at.at(),
                last_at: row.last_at.at(),
                count: number(row.count)?,
            })
        });
        rows.collect()
    })
    .await
}

pub(crate) async fn prune(store: &PostgresStore, most: usize) -> Result<bool, StoreError> {
    in_time(async {
        let mut call = Call::take(&store.pool).await?;
        // What another node is removing, or adding to, is left to it.
        let removed = sqlx::query!(
            r#"
            with calls as (
                delete from credential_management.usage_day where ctid = any(array(
                    select ctid from credential_management.usage_day
                    where day < (now() at time zone 'utc' - make_interval(secs => $2))::date
                    order by day limit $1 for update skip locked
                )) returning 1
            ), refusals as (
                delete from credential_management.refusal where ctid = any(array(
                    select ctid from credential_management.refusal
                    where at < now() - make_interval(secs => $3)
                    order by at limit $1 for update skip locked
                )) returning 1
            ), batches as (
                delete from credential_management.usage_batch where ctid = any(array(
                    select ctid from credential_management.usage_batch
                    where at < now() - make_interval(secs => $4)
                    limit $1 for update skip locked
                )) returning 1
            )
            select greatest(
                (select count(*) from calls), (select count(*) from refusals),
                (select count(*) from batches)
            ) as "most!"
            "#,
            limit(most),
            CALLS_KEPT_FOR.as_secs_f64(),
            REFUSALS_KEPT_FOR.as_secs_f64(),
            BATCHES_KEPT_FOR.as_secs_f64(),
        )
        .fetch_one(call.on())
        .await
        .map_err(store_error)?;
        call.end().await?;
        Ok(removed.most >= limit(most))
    })
    .await
}
