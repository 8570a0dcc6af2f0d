//! One transaction. Core's values go into it and come out of it as documents.

use std::error::Error;

use credential_core::{
    audit::{AuditEvent, Event},
    clock::Timestamp,
    credential::CredentialState,
    id::{CredentialId, TenantId},
    store::{Change, ChangeId, Committed, LoggedChange, StoreError},
};
use rusqlite::{Params, Transaction, params};
use serde::de::DeserializeOwned;
use tokio::sync::Notify;

/// Or a refusal, which is a `StoreError`, or anything else that went wrong.
pub(crate) type Done<T> = Result<T, Box<dyn Error + Send + Sync>>;

/// A transaction that has the file's write lock. So transactions follow one another, and each rule is checked
/// and kept as if each tenant had been locked.
pub(crate) struct Db<'a> {
    pub(crate) transaction: Transaction<'a>,
    pub(crate) now: Timestamp,
    pub(crate) changed: &'a Notify,
}

impl Db<'_> {
    /// Returns how many rows there are now that were not.
    pub(crate) fn run(&self, sql: &str, values: impl Params) -> Done<usize> {
        Ok(self.transaction.prepare_cached(sql)?.execute(values)?)
    }

    /// Each row is one document.
    pub(crate) fn read<T: DeserializeOwned>(&self, sql: &str, values: impl Params) -> Done<Vec<T>> {
        let mut statement = self.transaction.prepare_cached(sql)?;
        let rows = statement.query_and_then(values, |row| {
            Ok(serde_json::from_str(row.get_ref(0)?.as_str()?)?)
        });
        rows?.collect()
    }

    pub(crate) fn find(&self, id: CredentialId) -> Done<Option<CredentialState>> {
        let sql = "select document from credential where id = ?";
        Ok(self.read(sql, [id.to_string()])?.pop())
    }

    /// Puts a credential in the place of what is there, unless another one has its name.
    pub(crate) fn put(&self, state: &CredentialState) -> Done<()> {
        let it = &state.credential;
        let (id, tenant) = (it.identity.id.to_string(), it.identity.tenant.as_str());
        let key = it
            .revoked
            .is_none()
            .then(|| it.settings.name.comparison_key());
        let sql = "select json_quote(id) from credential
            where tenant = ? and name_key = ? and id <> ?";
        if !self
            .read::<String>(sql, params![tenant, key, id])?
            .is_empty()
        {
            return Err(StoreError::NameTaken.into());
        }
        let sql =
            "insert into credential select ?1, ?2, i ->> 'client_id', i ->> 'created_at', ?3, ?4
            from (select ?4 -> '$.credential.identity' as i) where true
            on conflict (id) do update set name_key = ?3, document = ?4";
        self.run(sql, params![id, tenant, key, serde_json::to_string(state)?])?;
        self.run("delete from proof where credential = ?", [&id])?;
        for proof in it.settings.proofs() {
            self.run("insert into proof values (?, ?)", [proof.as_str(), &id])?;
        }
        Ok(())
    }

    /// The newest of a tenant's audit rows.
    pub(crate) fn head(&self, tenant: &TenantId) -> Done<Option<AuditEvent>> {
        let sql = "select document from head where tenant = ?";
        Ok(self.read(sql, [tenant.as_str()])?.pop())
    }

    /// Appends audit events, each behind the head of its tenant, and the change. Who is woken waits for this
    /// transaction to end.
    pub(crate) fn commit<T>(
        &self,
        events: Vec<Event>,
        change: Change,
        value: T,
    ) -> Done<Committed<T>> {
        for event in events {
            let head = self.head(event.tenant())?.map(|row| row.head());
            let row = serde_json::to_string(&event.seal(head.as_ref()))?;
            let sql = "insert into audit_event select ?1 ->> 'tenant', ?1 ->> 'seq',
                ?1 ->> '$.subject.Credential', ?1";
            self.run(sql, [&row])?;
            let sql = "insert or replace into head select ?1 ->> 'tenant', ?1";
            self.run(sql, [&row])?;
        }
        let mark = self
            .read("select json_quote(lower(hex(randomblob(16))))", [])?
            .remove(0);
        let logged = self.latest()?.next(mark, change);
        let sql = "insert into change values (?, ?, ?)";
        let document = serde_json::to_string(&logged)?;
        self.run(
            sql,
            params![logged.id.number, document, self.now.as_micros()],
        )?;
        self.changed.notify_waiters();
        self.unchanged(value)
    }

    /// What is returned where nothing changed.
    pub(crate) fn unchanged<T>(&self, value: T) -> Done<Committed<T>> {
        let change = self.latest()?;
        Ok(Committed { value, change })
    }

    pub(crate) fn latest(&self) -> Done<ChangeId> {
        let sql = "select document from change order by number desc limit 1";
        let latest: Option<LoggedChange> = self.read(sql, [])?.pop();
        Ok(latest.ok_or("the change log is empty")?.id)
    }
}
