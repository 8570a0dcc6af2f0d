//! Kept answers.

use credential_core::{
    id::TenantId,
    store::{NewReplay, Replay, ReplayId, ReplayQuery, StoreError},
};
use rusqlite::params;

use crate::{Db, Done};

impl Db<'_> {
    /// Keeps an answer, unless one of its names is in use.
    pub(crate) fn keep(&self, tenant: &TenantId, new: Option<NewReplay>) -> Done<()> {
        let Some(new) = new else { return Ok(()) };
        for id in new.ids() {
            if self.kept(tenant, id)?.is_some() {
                return Err(StoreError::IdempotencyKeyUsed.into());
            }
        }
        let ends = self.now.saturating_add(new.keep_for).as_micros();
        let document = serde_json::to_string(&new.replay)?;
        let values = params![tenant.as_str(), new.replay.id.0, document, ends];
        self.run("insert into replay values (?, ?, ?, ?)", values)?;
        Ok(())
    }

    pub(crate) fn replay(&self, query: &ReplayQuery) -> Done<Option<Replay>> {
        for id in &query.ids {
            let Some(mut found) = self.kept(&query.tenant, id)? else {
                continue;
            };
            found.effective_at = found.effective_at.or(query.effective_at);
            let values = params![serde_json::to_string(&found)?, query.tenant.as_str(), id.0];
            let sql = "update replay set document = ? where tenant = ? and id = ?";
            self.run(sql, values)?;
            return Ok(Some(found));
        }
        Ok(None)
    }

    fn kept(&self, tenant: &TenantId, id: &ReplayId) -> Done<Option<Replay>> {
        self.prune_replays()?;
        let sql = "select document from replay where tenant = ? and id = ?";
        Ok(self.read(sql, params![tenant.as_str(), id.0])?.pop())
    }

    pub(crate) fn prune_replays(&self) -> Done<()> {
        let ended = [self.now.as_micros()];
        self.run("delete from replay where expires_at <= ?", ended)?;
        Ok(())
    }
}
