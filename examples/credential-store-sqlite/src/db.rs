//! One transaction. Core's values go in and come out as documents.

use std::error::Error;

use credential_core::{
    audit::{AuditEvent, AuditHead, Event},
    clock::Timestamp,
    credential::{CredentialName, CredentialState},
    id::{CredentialId, TenantId},
    store::{AuditQuery, Change, ChangeId, Committed, Mark, StoreError, StoredRow},
};
use rusqlite::{Params, Row, Transaction, params};
use serde::de::DeserializeOwned;
use tokio::sync::Notify;

/// A refusal, which is a `StoreError`, or anything else that went wrong.
pub(crate) type Failure = Box<dyn Error + Send + Sync>;

/// A transaction that has the file's write lock. So transactions follow one another, and each rule is checked
/// and kept as if each tenant had been locked.
pub(crate) struct Db<'a> {
    pub(crate) transaction: Transaction<'a>,
    pub(crate) now: Timestamp,
    pub(crate) changed: &'a Notify,
}

impl Db<'_> {
    pub(crate) fn run(&self, sql: &str, values: impl Params) -> Result<usize, Failure> {
        Ok(self.transaction.prepare_cached(sql)?.execute(values)?)
    }

    pub(crate) fn rows<T>(&self, sql: &str, values: impl Params) -> Result<Vec<T>, Failure>
    where
        T: for<'r> TryFrom<&'r Row<'r>, Error = rusqlite::Error>,
    {
        let mut statement = self.transaction.prepare_cached(sql)?;
        let rows = statement.query_map(values, |row| T::try_from(row))?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// Rows of one column, which holds documents.
    pub(crate) fn documents<T: DeserializeOwned>(
        &self,
        sql: &str,
        values: impl Params,
    ) -> Result<Vec<T>, Failure> {
        let rows: Vec<(String,)> = self.rows(sql, values)?;
        let read = |(text,): &(String,)| Ok(serde_json::from_str(text)?);
        rows.iter().map(read).collect()
    }

    pub(crate) fn find(&self, id: CredentialId) -> Result<Option<CredentialState>, Failure> {
        let sql = "select document from credential where id = ?";
        Ok(self.documents(sql, [id.to_string()])?.pop())
    }

    /// Puts a credential in the place of what is there.
    pub(crate) fn put(&self, state: &CredentialState) -> Result<(), Failure> {
        let it = &state.credential;
        let (id, name) = (it.identity.id.to_string(), &it.settings.name);
        self.run(
            "insert into credential values (?1, ?2, ?3, ?4, ?5, ?6)
            on conflict (id) do update set name_key = ?5, document = ?6",
            params![
                id,
                it.identity.tenant.as_str(),
                it.identity.client_id.as_str(),
                it.identity.created_at.as_micros(),
                it.revoked.is_none().then(|| name.comparison_key()),
                serde_json::to_string(state)?,
            ],
        )?;
        self.run("delete from proof where credential = ?", [&id])?;
        for proof in it.settings.proofs() {
            let sql = "insert into proof values (?, ?)";
            self.run(sql, [proof.as_str(), &id])?;
        }
        Ok(())
    }

    /// Refuses a name that another credential than `this` has, and then one credential more than `limit`.
    pub(crate) fn has_room(
        &self,
        tenant: &TenantId,
        name: &CredentialName,
        this: Option<CredentialId>,
        limit: u32,
    ) -> Result<(), Failure> {
        let sql = "select name_key from credential
            where tenant = ? and name_key is not null and id is not ?";
        let this = this.map(|id| id.to_string());
        let others: Vec<(String,)> = self.rows(sql, params![tenant.as_str(), this])?;
        if others.contains(&(name.comparison_key(),)) {
            return Err(StoreError::NameTaken.into());
        }
        if others.len() >= limit as usize {
            return Err(StoreError::LimitReached.into());
        }
        Ok(())
    }

    pub(crate) fn head(&self, tenant: &TenantId) -> Result<Option<AuditHead>, Failure> {
        let sql = "select document from head where tenant = ?";
        let row = self.documents(sql, [tenant.as_str()])?.pop();
        Ok(row.map(|row: AuditEvent| row.head()))
    }

    /// A tenant's audit rows, newest first.
    pub(crate) fn trail(
        &self,
        tenant: &TenantId,
        query: &AuditQuery,
    ) -> Result<Vec<StoredRow>, Failure> {
        let credential = query.credential_id.map(|id| id.to_string());
        let rows: Vec<(u64, String)> = self.rows(
            "select seq, document from audit_event where tenant = ?1 and (?2 is null or seq < ?2)
            and (?3 is null or credential = ?3) order by seq desc limit ?4",
            params![tenant.as_str(), query.before, credential, query.limit],
        )?;
        let column = "document";
        let read = |(seq, text): (u64, String)| {
            serde_json::from_str(&text)
                .map_or(StoredRow::Unreadable { seq, column }, StoredRow::Event)
        };
        Ok(rows.into_iter().map(read).collect())
    }

    /// Appends audit events, each behind the head of its tenant, and the change. Who is woken waits for this
    /// transaction to end.
    pub(crate) fn commit<T>(
        &self,
        events: impl IntoIterator<Item = Event>,
        change: &Change,
        value: T,
    ) -> Result<Committed<T>, Failure> {
        for event in events {
            let head = self.head(event.tenant())?;
            let row = serde_json::to_string(&event.seal(head.as_ref()))?;
            self.run(
                "insert into audit_event select ?1 ->> 'tenant', ?1 ->> 'seq',
                ?1 ->> '$.subject.Credential', ?1",
                [&row],
            )?;
            let sql = "insert or replace into head select ?1 ->> 'tenant', ?1";
            self.run(sql, [&row])?;
        }
        let change = serde_json::to_string(change)?;
        self.run(
            "insert into change select number + 1, randomblob(16), mark, ?, ?
            from change order by number desc limit 1",
            params![change, self.now.as_micros()],
        )?;
        self.changed.notify_waiters();
        self.unchanged(value)
    }

    /// What is returned where nothing changed.
    pub(crate) fn unchanged<T>(&self, value: T) -> Result<Committed<T>, Failure> {
        let change = self.latest()?;
        Ok(Committed { value, change })
    }

    pub(crate) fn latest(&self) -> Result<ChangeId, Failure> {
        let sql = "select number, mark from change order by number desc limit 1";
        let (number, mark) = self.rows(sql, [])?.pop().ok_or("no change is there")?;
        let mark = Mark(mark);
        Ok(ChangeId { number, mark })
    }
}
