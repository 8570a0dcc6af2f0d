//! How credentials are used. No check depends on any of it.

use async_trait::async_trait;
use credential_core::{
    clock::{Day, Timestamp},
    id::{CredentialId, TenantId},
    store::{
        BATCHES_KEPT_FOR, CALLS_KEPT_FOR, CallCount, DayUse, LastUse, REFUSALS_KEPT,
        REFUSALS_KEPT_FOR, REFUSALS_MERGE_WITHIN, RefusalCount, RefusalNote, RefusedClient,
        ScopeUse, StoreError, Usage, UsageBatch, UsageStore,
    },
};
use rusqlite::params;

use crate::{
    SqliteStore,
    db::{Db, Failure, most},
};

/// What one more column of counts is read as.
fn time(micros: Option<i64>) -> Option<Timestamp> {
    micros.map(Timestamp::from_micros)
}

impl Db<'_> {
    /// Whether the batch is new. From now on it is not.
    fn is_new(&self, batch: &UsageBatch) -> Result<bool, Failure> {
        let sql = "insert into usage_batch values (?1, ?2, ?3)
            on conflict do update set number = excluded.number, at = excluded.at
            where number < excluded.number";
        let noted = params![batch.node.0, batch.number, self.now.as_micros()];
        Ok(self.run(sql, noted)? == 1)
    }

    fn note_use(&self, used: &LastUse) -> Result<(), Failure> {
        let Some(mut state) = self.find(used.credential_id)? else {
            return Ok(());
        };
        let at = Some(used.at);
        let credential = &mut state.credential;
        credential.observed.last_used_at = credential.observed.last_used_at.max(at);
        for secret in &mut credential.settings.secrets {
            if secret.selector == used.proof {
                secret.last_used_at = secret.last_used_at.max(at);
            }
        }
        self.put(&state)
    }

    fn add_calls(&self, count: &CallCount) -> Result<(), Failure> {
        let last = count.last_used_at.map(Timestamp::as_micros);
        self.run(
            "insert into calls select id, ?2, ?3, ?4, ?5, ?6 from credential where id = ?1
            on conflict do update set allowed = allowed + excluded.allowed,
                denied = denied + excluded.denied, last_used_at = case
                    when excluded.last_used_at > ifnull(last_used_at, excluded.last_used_at - 1)
                    then excluded.last_used_at else last_used_at end",
            params![
                count.credential_id.as_bytes(),
                count.day.as_days(),
                count.scopes,
                count.allowed,
                count.denied,
                last,
            ],
        )?;
        Ok(())
    }

    fn add_refusal(&self, note: &RefusalNote) -> Result<(), Failure> {
        let it = &note.refusal;
        let id = |row: &rusqlite::Row<'_>| Ok(row.get::<_, [u8; 16]>(0)?);
        let owner = match &note.client {
            RefusedClient::Proven(known) => {
                let sql = "select id from credential where id = ?";
                self.all(sql, [known.as_bytes()], id)
            }
            RefusedClient::Claimed(client) => {
                let sql = "select id from credential where client_id = ?";
                self.all(sql, [client.as_str()], id)
            }
        };
        let Some(owner) = owner?.pop() else {
            return Ok(());
        };
        let address = it.address.map(|it| it.to_string());
        let (at, last) = (it.at.as_micros(), it.last_at.as_micros());
        let values = params![
            owner,
            it.reason,
            it.needed_scope,
            it.method,
            address,
            at,
            last,
            it.count,
        ];
        let within = REFUSALS_MERGE_WITHIN.as_micros();
        let sql = format!(
            "update refusal set at = min(at, ?6), last_at = max(last_at, ?7), count = count + ?8
            where id = (select id from refusal where credential = ?1 and reason = ?2
                and needed_scope is ?3 and method is ?4 and address is ?5 and abs(at - ?6) < {within}
                limit 1)"
        );
        if self.run(&sql, values)? == 0 {
            let sql = "insert into refusal values (null, ?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)";
            self.run(sql, values)?;
        }
        let sql = "delete from refusal where id in (select id from refusal where credential = ?
            order by at desc limit -1 offset ?)";
        self.run(sql, params![owner, most(REFUSALS_KEPT)])?;
        Ok(())
    }

    fn owns(&self, tenant: &TenantId, id: CredentialId) -> Result<bool, Failure> {
        let sql = "select 1 from credential where id = ? and tenant = ?";
        let found = self.all(sql, params![id.as_bytes(), tenant.as_str()], |_| Ok(()))?;
        Ok(!found.is_empty())
    }
}

#[async_trait]
impl UsageStore for SqliteStore {
    async fn record(&self, batch: &UsageBatch) -> Result<(), StoreError> {
        let batch = batch.clone();
        self.run(move |db| {
            if !db.is_new(&batch)? {
                return Ok(());
            }
            batch.uses.iter().try_for_each(|it| db.note_use(it))?;
            batch.calls.iter().try_for_each(|it| db.add_calls(it))?;
            batch.refusals.iter().try_for_each(|it| db.add_refusal(it))
        })
        .await
    }

    async fn usage(
        &self,
        tenant: &TenantId,
        id: CredentialId,
        since: Day,
    ) -> Result<Usage, StoreError> {
        let tenant = tenant.clone();
        self.run(move |db| {
            if !db.owns(&tenant, id)? {
                return Ok(Usage::default());
            }
            let wanted = params![id.as_bytes(), since.as_days()];
            let days = "select day, sum(allowed), sum(denied) from calls
                where credential = ? and day >= ? group by day order by day";
            let scopes =
                "select scopes, sum(iif(day >= ?2, allowed, 0)), sum(iif(day >= ?2, denied, 0)),
                max(last_used_at) from calls where credential = ?1 group by scopes order by scopes";
            Ok(Usage {
                days: db.all(days, wanted, |row| {
                    Ok(DayUse {
                        day: Day::from_days(row.get(0)?),
                        allowed: row.get(1)?,
                        denied: row.get(2)?,
                    })
                })?,
                scopes: db.all(scopes, wanted, |row| {
                    Ok(ScopeUse {
                        scopes: row.get(0)?,
                        allowed: row.get(1)?,
                        denied: row.get(2)?,
                        last_used_at: time(row.get(3)?),
                    })
                })?,
            })
        })
        .await
    }

    async fn used_scopes(
        &self,
        tenant: &TenantId,
        ids: &[CredentialId],
        since: Day,
    ) -> Result<Vec<(CredentialId, String)>, StoreError> {
        let (tenant, ids) = (tenant.clone(), ids.to_vec());
        self.run(move |db| {
            let sql = "select distinct scopes from calls
                where credential = ? and day >= ? and last_used_at is not null";
            let mut used = Vec::new();
            for id in ids {
                if db.owns(&tenant, id)? {
                    let wanted = params![id.as_bytes(), since.as_days()];
                    used.extend(db.all(sql, wanted, |row| Ok((id, row.get(0)?)))?);
                }
            }
            Ok(used)
        })
        .await
    }

    async fn refusals(
        &self,
        tenant: &TenantId,
        id: CredentialId,
        since: Timestamp,
        limit: usize,
    ) -> Result<Vec<RefusalCount>, StoreError> {
        let tenant = tenant.clone();
        self.run(move |db| {
            if !db.owns(&tenant, id)? {
                return Ok(Vec::new());
            }
            let sql =
                "select * from refusal where credential = ? and at > ? order by at desc limit ?";
            let wanted = params![id.as_bytes(), since.as_micros(), most(limit)];
            db.all(sql, wanted, |row| {
                let text = |column| row.get::<_, Option<String>>(column);
                let at = |column| Ok::<_, Failure>(Timestamp::from_micros(row.get(column)?));
                Ok(RefusalCount {
                    reason: row.get::<_, String>("reason")?.into(),
                    needed_scope: text("needed_scope")?,
                    method: text("method")?.map(Into::into),
                    address: text("address")?.map(|it| it.parse()).transpose()?,
                    at: at("at")?,
                    last_at: at("last_at")?,
                    count: row.get("count")?,
                })
            })
        })
        .await
    }

    async fn prune(&self, rows: usize) -> Result<bool, StoreError> {
        self.run(move |db| {
            let first_day = db.now.saturating_sub(CALLS_KEPT_FOR).day().as_days();
            let since = |time| db.now.saturating_sub(time).as_micros();
            let calls = "delete from calls where (credential, day, scopes) in
                (select credential, day, scopes from calls where day < ? limit ?)";
            let refusals = "delete from refusal where id in
                (select id from refusal where at < ? limit ?)";
            let calls = db.run(calls, params![first_day, most(rows)])?;
            let refusals = db.run(refusals, params![since(REFUSALS_KEPT_FOR), most(rows)])?;
            let batches = "delete from usage_batch where at < ?";
            db.run(batches, [since(BATCHES_KEPT_FOR)])?;
            Ok(calls.max(refusals) >= rows)
        })
        .await
    }
}
