//! How credentials are used. No check depends on any of it.

use async_trait::async_trait;
use credential_core::{
    clock::{Day, Timestamp},
    id::{CredentialId, TenantId},
    store::{
        BATCHES_KEPT_FOR, CALLS_KEPT_FOR, REFUSALS_KEPT, REFUSALS_KEPT_FOR, RefusalCount,
        RefusalNote, StoreError, Usage, UsageBatch, UsageStore,
    },
};
use rusqlite::params;

use crate::{
    SqliteStore,
    db::{Db, Failure},
};

impl Db<'_> {
    fn add_refusal(&self, note: &RefusalNote) -> Result<(), Failure> {
        let client = serde_json::to_string(&note.client)?;
        let sql = "select id, tenant from credential
            where id = ?1 ->> 'Proven' or client_id = ?1 ->> 'Claimed'";
        let Some((owner, tenant)) = self.rows::<(String, String)>(sql, [client])?.pop() else {
            return Ok(());
        };
        let sql = "select id, document from refusal where credential = ? order by at desc";
        let mut known = None;
        let mut refusal = note.refusal.clone();
        for (id, document) in self.rows::<(i64, String)>(sql, [&owner])? {
            let earlier: RefusalCount = serde_json::from_str(&document)?;
            if earlier.merges_with(&note.refusal) {
                known = Some(id);
                refusal.merge(&earlier);
                break;
            }
        }
        let (at, document) = (refusal.at.as_micros(), serde_json::to_string(&refusal)?);
        let sql = "insert or replace into refusal values (?, ?, ?, ?, ?)";
        self.run(sql, params![known, owner, tenant, at, document])?;
        let sql = "delete from refusal where id in (select id from refusal where credential = ?
            order by at desc limit -1 offset ?)";
        self.run(sql, params![owner, REFUSALS_KEPT])?;
        Ok(())
    }
}

#[async_trait]
impl UsageStore for SqliteStore {
    async fn record(&self, batch: &UsageBatch) -> Result<(), StoreError> {
        self.run(|db| {
            let sql = "insert into usage_batch values (?1, ?2, ?3)
                on conflict do update set number = ?2, at = ?3 where number < ?2";
            let noted = params![batch.node.0, batch.number, db.now.as_micros()];
            if db.run(sql, noted)? == 0 {
                return Ok(());
            }
            for used in &batch.uses {
                if let Some(mut state) = db.find(used.credential_id)? {
                    used.apply_to(&mut state.credential);
                    db.put(&state)?;
                }
            }
            let sql = "insert into calls
                select id, tenant, value ->> 'day', value ->> 'scopes', value ->> 'allowed',
                    value ->> 'denied', value ->> 'last_used_at'
                from json_each(?) join credential on id = value ->> 'credential_id' where true
                on conflict do update set allowed = allowed + excluded.allowed,
                    denied = denied + excluded.denied, last_used_at = max(
                        ifnull(last_used_at, excluded.last_used_at),
                        ifnull(excluded.last_used_at, last_used_at))";
            db.run(sql, [serde_json::to_string(&batch.calls)?])?;
            batch.refusals.iter().try_for_each(|it| db.add_refusal(it))
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
        let scopes = "select json_object('scopes', scopes,
                'allowed', sum(iif(day >= ?3, allowed, 0)), 'denied', sum(iif(day >= ?3, denied, 0)),
                'last_used_at', max(last_used_at))
            from calls where tenant = ?1 and credential = ?2 group by scopes order by scopes";
        self.run(|db| {
            let wanted = params![tenant.as_str(), id.to_string(), since.as_days()];
            Ok(Usage {
                days: db.documents(days, wanted)?,
                scopes: db.documents(scopes, wanted)?,
            })
        })
    }

    async fn refusals(
        &self,
        tenant: &TenantId,
        id: CredentialId,
        since: Timestamp,
        limit: usize,
    ) -> Result<Vec<RefusalCount>, StoreError> {
        let sql = "select document from refusal
            where tenant = ? and credential = ? and at > ? order by at desc limit ?";
        let (tenant, id, since) = (tenant.as_str(), id.to_string(), since.as_micros());
        self.run(|db| db.documents(sql, params![tenant, id, since, limit]))
    }

    async fn prune(&self, most: usize) -> Result<bool, StoreError> {
        self.run(|db| {
            let first_day = db.now.saturating_sub(CALLS_KEPT_FOR).day().as_days();
            let since = |time| db.now.saturating_sub(time).as_micros();
            let calls = "delete from calls where (credential, day, scopes) in
                (select credential, day, scopes from calls where day < ? limit ?)";
            let calls = db.run(calls, params![first_day, most])?;
            let refusals = "delete from refusal where id in
                (select id from refusal where at < ? limit ?)";
            let refusals = db.run(refusals, params![since(REFUSALS_KEPT_FOR), most])?;
            let batches = "delete from usage_batch where at < ?";
            db.run(batches, [since(BATCHES_KEPT_FOR)])?;
            Ok(calls.max(refusals) >= most)
        })
    }
}
