//! What no check depends on: the audit trail as it is read, and how credentials are used.

use async_trait::async_trait;
use credential_core::{
    clock::{Day, Timestamp},
    id::{CredentialId, TenantId},
    store::{
        AuditQuery, BATCHES_KEPT_FOR, CALLS_KEPT_FOR, REFUSALS_KEPT_FOR, RefusalCount, StoreError,
        StoredRow, TrailPage, TrailStore, Usage, UsageBatch, UsageStore,
    },
};
use rusqlite::params;

use crate::SqliteStore;

#[async_trait]
impl TrailStore for SqliteStore {
    async fn audited_tenants(
        &self,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<String>, StoreError> {
        let sql = "select json_quote(tenant) from (select tenant from head union select tenant
            from audit_event) where ?1 is null or tenant > ?1 order by tenant limit ?2";
        self.run(|db| db.read(sql, params![after, limit]))
    }

    async fn trail(&self, tenant: &TenantId, query: &AuditQuery) -> Result<TrailPage, StoreError> {
        let id = query.credential_id.map(|id| id.to_string());
        let sql =
            "select json_array(seq, document) from audit_event where tenant = ?1 and (?2 is null
            or seq < ?2) and (?3 is null or credential = ?3) order by seq desc limit ?4";
        self.run(|db| {
            let head = db.head(tenant)?.map(|row| row.head().into());
            let wanted = params![tenant.as_str(), query.before, id, query.limit];
            let column = "document";
            let read = |(seq, text): (u64, String)| match serde_json::from_str(&text) {
                Ok(event) => StoredRow::Event(event),
                Err(_) => StoredRow::Unreadable { seq, column },
            };
            let rows = db.read(sql, wanted)?.into_iter().map(read).collect();
            Ok(TrailPage { head, rows })
        })
    }
}

#[async_trait]
impl UsageStore for SqliteStore {
    async fn record(&self, batch: &UsageBatch) -> Result<(), StoreError> {
        self.run(|db| {
            let sql = "insert into usage_batch values (?1, ?2, ?3)
                on conflict do update set number = ?2, at = ?3 where number < ?2";
            if db.run(sql, params![batch.node.0, batch.number, db.now.as_micros()])? == 0 {
                return Ok(());
            }
            for used in &batch.uses {
                if let Some(mut state) = db.find(used.credential_id)? {
                    used.apply_to(&mut state.credential);
                    db.put(&state)?;
                }
            }
            let sql = "insert into calls select c.id, c.tenant, value ->> 'day', value ->> 'scopes', value ->> 'allowed',
                value ->> 'denied', value ->> 'last_used_at'
                from json_each(?) join credential as c on c.id = value ->> 'credential_id' where true on conflict do
                update set allowed = allowed + excluded.allowed, denied = denied + excluded.denied, last_used_at = max(
                ifnull(last_used_at, excluded.last_used_at), ifnull(excluded.last_used_at, last_used_at))";
            db.run(sql, [serde_json::to_string(&batch.calls)?])?;
            for note in &batch.refusals {
                let sql = "select json_array(id, tenant) from credential
                    where id = ?1 ->> 'Proven' or client_id = ?1 ->> 'Claimed'";
                let client = serde_json::to_string(&note.client)?;
                let found: Option<(String, String)> = db.read(sql, [client])?.pop();
                let Some((id, tenant)) = found else { continue };
                let sql = "select document from refusal where credential = ? order by at desc";
                let mut known = db.read(sql, [&id])?;
                note.refusal.add_to(&mut known);
                db.run("delete from refusal where credential = ?", [&id])?;
                let sql = "insert into refusal select ?, ?, value->>'at', value from json_each(?)";
                db.run(sql, [id, tenant, serde_json::to_string(&known)?])?;
            }
            Ok(())
        })
    }

    async fn usage(
        &self,
        tenant: &TenantId,
        id: CredentialId,
        since: Day,
    ) -> Result<Usage, StoreError> {
        let days = "select json_object('day', day, 'allowed', sum(allowed), 'denied', sum(denied))
            from calls where tenant = ? and credential = ? and day >= ? group by day order by day";
        let scopes = "select json_object('scopes', scopes, 'last_used_at', max(last_used_at),
                'allowed', sum(iif(day >= ?3, allowed, 0)), 'denied', sum(iif(day >= ?3, denied, 0)))
            from calls where tenant = ?1 and credential = ?2 group by scopes order by scopes";
        self.run(|db| {
            let wanted = params![tenant.as_str(), id.to_string(), since.as_days()];
            let (days, scopes) = (db.read(days, wanted)?, db.read(scopes, wanted)?);
            Ok(Usage { days, scopes })
        })
    }

    async fn refusals(
        &self,
        tenant: &TenantId,
        id: CredentialId,
        since: Timestamp,
        limit: usize,
    ) -> Result<Vec<RefusalCount>, StoreError> {
        let sql = "select document from refusal where (tenant, credential) = (?, ?) and at > ? order by at desc limit ?";
        let (tenant, id, since) = (tenant.as_str(), id.to_string(), since.as_micros());
        self.run(|db| db.read(sql, params![tenant, id, since, limit]))
    }

    async fn prune(&self, most: usize) -> Result<bool, StoreError> {
        self.run(|db| {
            let since = |time| db.now.saturating_sub(time).as_micros();
            let first_day = db.now.saturating_sub(CALLS_KEPT_FOR).day().as_days();
            let sql = "delete from calls where rowid in (select rowid from calls where day < ? limit ?)";
            let calls = db.run(sql, params![first_day, most])?;
            let sql = "delete from refusal where rowid in (select rowid from refusal where at < ? limit ?)";
            let refusals = db.run(sql, params![since(REFUSALS_KEPT_FOR), most])?;
            db.run("delete from usage_batch where at < ?", [since(BATCHES_KEPT_FOR)])?;
            Ok(calls.max(refusals) >= most)
        })
    }
}
