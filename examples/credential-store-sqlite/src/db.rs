//! One transaction, and how core's values lie in rows.

use std::error::Error;

use credential_core::{
    audit::{AuditEvent, AuditHead, Event},
    clock::Timestamp,
    credential::{
        Credential, CredentialName, CredentialState, Description, Identity, Networks, Observed,
        Revocation, RevokedToken, Settings, StoredSecret,
    },
    id::{CredentialId, TenantId},
    secret::hash::SecretHash,
    store::{Change, ChangeId, Committed, Mark, StoredRow},
    token::TokenId,
};
use rusqlite::{Params, Row, Transaction, params};
use tokio::sync::Notify;

/// A refusal, which is a `StoreError`, or anything else that went wrong.
pub(crate) type Failure = Box<dyn Error + Send + Sync>;

/// Selector, hash, its key, and when it was created, expires, was ended and was last used.
type SecretParts = (
    String,
    String,
    String,
    i64,
    Option<i64>,
    Option<i64>,
    Option<i64>,
);

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

    pub(crate) fn all<T>(
        &self,
        sql: &str,
        values: impl Params,
        read: impl FnMut(&Row<'_>) -> Result<T, Failure>,
    ) -> Result<Vec<T>, Failure> {
        let mut statement = self.transaction.prepare_cached(sql)?;
        statement.query_and_then(values, read)?.collect()
    }

    pub(crate) fn latest(&self) -> Result<ChangeId, Failure> {
        let sql = "select * from change order by number desc limit 1";
        let latest = self.all(sql, [], change_id)?.pop();
        latest.ok_or_else(|| "the change log is empty".into())
    }

    /// Appends the change. Who is woken waits for this transaction to end.
    pub(crate) fn commit<T>(&self, change: &Change, value: T) -> Result<Committed<T>, Failure> {
        let (credential, tenant) = match change {
            Change::Credential(id) => (Some(id.as_bytes()), None),
            Change::Tenant(id) => (None, Some(id.as_str())),
            Change::Everything => (None, None),
        };
        self.run(
            "insert into change (number, mark, previous, credential, tenant, at)
            select number + 1, randomblob(16), mark, ?, ?, ? from change order by number desc limit 1",
            params![credential, tenant, self.now.as_micros()],
        )?;
        self.changed.notify_waiters();
        self.unchanged(value)
    }

    /// What is returned where nothing changed.
    pub(crate) fn unchanged<T>(&self, value: T) -> Result<Committed<T>, Failure> {
        let change = self.latest()?;
        Ok(Committed { value, change })
    }

    pub(crate) fn find(&self, id: CredentialId) -> Result<Option<CredentialState>, Failure> {
        let sql = "select * from credential where id = ?";
        Ok(self.all(sql, [id.as_bytes()], state)?.pop())
    }

    /// Puts a credential in the place of what is there.
    pub(crate) fn put(&self, state: &CredentialState) -> Result<(), Failure> {
        let it = &state.credential;
        let (identity, settings) = (&it.identity, &it.settings);
        let id = identity.id.as_bytes();
        let micros = |at: Option<Timestamp>| at.map(Timestamp::as_micros);
        let secrets = settings.secrets.iter().map(|secret| {
            (
                secret.selector.as_str(),
                secret.hash.phc(),
                secret.hash.key().as_str(),
                secret.created_at.as_micros(),
                micros(secret.expires_at),
                micros(secret.ended_at),
                micros(secret.last_used_at),
            )
        });
        let tokens = state.revoked_tokens.iter().map(|token| {
            let times = (token.issued_at.as_micros(), token.expires_at.as_micros());
            (token.id.as_bytes(), times)
        });
        self.run("delete from credential where id = ?", [id])?;
        self.run("delete from proof where credential = ?", [id])?;
        for secret in &settings.secrets {
            let proof = params![secret.selector.as_str(), id];
            self.run("insert into proof values (?, ?)", proof)?;
        }
        self.run(
            "insert into credential values
                (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            params![
                id,
                identity.tenant.as_str(),
                settings.name.as_str(),
                settings.name.comparison_key(),
                identity.api_type.as_str(),
                identity.client_id.as_str(),
                identity.environment.as_str(),
                serde_json::to_string(&settings.scopes)?,
                identity.created_at.as_micros(),
                identity.created_by.as_str(),
                micros(settings.expires_at),
                micros(it.revoked.as_ref().map(|revoked| revoked.at)),
                it.revoked.as_ref().map(|revoked| revoked.by.as_str()),
                it.version,
                micros(it.observed.tokens_valid_from),
                micros(it.observed.last_used_at),
                serde_json::to_string(&secrets.collect::<Vec<_>>())?,
                serde_json::to_string(&tokens.collect::<Vec<_>>())?,
                settings.description.as_str(),
                micros(settings.disabled_at),
                serde_json::to_string(&settings.allowed_networks.texts().collect::<Vec<_>>())?,
            ],
        )?;
        Ok(())
    }

    pub(crate) fn head(&self, tenant: &TenantId) -> Result<Option<AuditHead>, Failure> {
        let sql = "select * from head where tenant = ?";
        let head = self.all(sql, [tenant.as_str()], |row| {
            Ok(AuditHead {
                seq: row.get("seq")?,
                hash: row.get("hash")?,
                key: row.get::<_, String>("key_name")?.parse().ok(),
            })
        });
        Ok(head?.pop())
    }

    /// Seals events behind the head of their tenant, one after the other, and moves the head.
    pub(crate) fn append(&self, events: impl IntoIterator<Item = Event>) -> Result<(), Failure> {
        for event in events {
            let head = self.head(event.tenant())?;
            let row = event.seal(head.as_ref());
            let (tenant, key) = (row.tenant.as_str(), row.key.as_str());
            let credential = row.subject.credential();
            self.run(
                "insert into audit_event values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                params![
                    tenant,
                    row.seq,
                    row.format,
                    row.at.as_micros(),
                    row.actor.as_str(),
                    row.action.as_str(),
                    credential.as_ref().map(CredentialId::as_bytes),
                    row.details,
                    key,
                    row.hash,
                ],
            )?;
            let head = params![tenant, row.seq, row.hash, key];
            self.run("insert or replace into head values (?, ?, ?, ?)", head)?;
        }
        Ok(())
    }

    /// A tenant's audit rows, newest first.
    pub(crate) fn trail(
        &self,
        tenant: &TenantId,
        credential: Option<CredentialId>,
        before: Option<u64>,
        limit: usize,
    ) -> Result<Vec<StoredRow>, Failure> {
        let credential = credential.as_ref().map(CredentialId::as_bytes);
        self.all(
            "select * from audit_event where tenant = ?1 and (?2 is null or seq < ?2)
                and (?3 is null or credential = ?3) order by seq desc limit ?4",
            params![tenant.as_str(), before, credential, most(limit)],
            |row| {
                let seq = row.get("seq")?;
                let unreadable = |column| StoredRow::Unreadable { seq, column };
                Ok(event(row, tenant, seq).map_or_else(unreadable, StoredRow::Event))
            },
        )
    }
}

/// At most so many rows.
pub(crate) fn most(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

pub(crate) fn change_id(row: &Row<'_>) -> Result<ChangeId, Failure> {
    Ok(ChangeId {
        number: row.get("number")?,
        mark: Mark(row.get("mark")?),
    })
}

pub(crate) fn state(row: &Row<'_>) -> Result<CredentialState, Failure> {
    let text = |column| row.get::<_, String>(column);
    let time = Timestamp::from_micros;
    let at = |column| row.get::<_, Option<i64>>(column).map(|at| at.map(time));
    let secrets: Vec<SecretParts> = serde_json::from_str(&text("secrets")?)?;
    let secrets = secrets
        .into_iter()
        .map(|(selector, phc, key, created, expires, ended, used)| {
            Ok::<_, Failure>(StoredSecret {
                selector: selector.parse()?,
                hash: SecretHash::from_parts(phc, key.parse()?)?,
                created_at: time(created),
                expires_at: expires.map(time),
                ended_at: ended.map(time),
                last_used_at: used.map(time),
            })
        });
    let tokens: Vec<([u8; 16], (i64, i64))> = serde_json::from_str(&text("revoked_tokens")?)?;
    let tokens = tokens
        .into_iter()
        .map(|(id, (issued, expires))| RevokedToken {
            id: TokenId::from_bytes(id),
            issued_at: time(issued),
            expires_at: time(expires),
        });
    let revoked = match at("revoked_at")? {
        Some(at) => Some((at, text("revoked_by")?.parse()?)),
        None => None,
    };
    let credential = Credential {
        identity: Identity {
            id: CredentialId::from_bytes(row.get("id")?),
            tenant: text("tenant")?.parse()?,
            api_type: text("api_type")?.parse()?,
            client_id: text("client_id")?.parse()?,
            environment: text("environment")?.parse()?,
            created_at: time(row.get("created_at")?),
            created_by: text("created_by")?.parse()?,
        },
        settings: Settings {
            name: CredentialName::new(&text("name")?)?,
            description: Description::new(&text("description")?)?,
            scopes: serde_json::from_str(&text("scopes")?)?,
            expires_at: at("expires_at")?,
            disabled_at: at("disabled_at")?,
            allowed_networks: networks(&text("allowed_networks")?)?,
            secrets: secrets.collect::<Result<_, _>>()?,
        },
        observed: Observed {
            tokens_valid_from: at("tokens_valid_from")?,
            last_used_at: at("last_used_at")?,
        },
        revoked: revoked.map(|(at, by)| Revocation { at, by }),
        version: row.get("version")?,
    };
    Ok(CredentialState {
        credential,
        revoked_tokens: tokens.collect(),
    })
}

fn networks(json: &str) -> Result<Networks, Failure> {
    let texts: Vec<String> = serde_json::from_str(json)?;
    Networks::parse(&texts).map_err(|_| "allowed_networks".into())
}

/// A row of the trail, or the column that core does not accept.
fn event(row: &Row<'_>, tenant: &TenantId, seq: u64) -> Result<AuditEvent, &'static str> {
    let text = |column| row.get::<_, String>(column).map_err(|_| column);
    let credential: Option<[u8; 16]> = row.get("credential").map_err(|_| "credential")?;
    Ok(AuditEvent {
        format: row.get("format").map_err(|_| "format")?,
        tenant: tenant.clone(),
        seq,
        at: Timestamp::from_micros(row.get("at").map_err(|_| "at")?),
        actor: text("actor")?.parse().map_err(|_| "actor")?,
        action: text("action")?.into(),
        subject: credential.map(CredentialId::from_bytes).into(),
        details: text("details")?,
        key: text("key_name")?.parse().map_err(|_| "key_name")?,
        hash: row.get("hash").map_err(|_| "hash")?,
    })
}
