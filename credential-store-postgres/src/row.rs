//! Conversions between core's values and columns.
//!
//! Times and ids have types of their own here, so that they do not depend on the date or UUID crate that
//! a host enables in sqlx.

use credential_core::{
    audit::{AuditEvent, AuditHead, Event},
    clock::Timestamp,
    credential::{
        Credential, CredentialName, CredentialState, Description, Identity, Means, Networks,
        Observed, Registration, Revocation, RevokedToken, Settings, StoredSecret,
    },
    id::{ActorId, ClientId, CredentialId, ProofId, TenantId},
    secret::hash::SecretHash,
    store::{Change, ChangeId, Mark, StoreError, StoredRow},
    token::TokenId,
};
use sha2::{Digest as _, Sha256};
use sqlx::{
    Decode, Encode, Postgres, Type,
    encode::IsNull,
    error::BoxDynError,
    postgres::{
        PgArgumentBuffer, PgHasArrayType, PgTypeInfo, PgValueFormat, PgValueRef, types::Oid,
    },
};

use crate::error::{Unreadable, backend};

/// 2000-01-01T00:00:00Z, from which `timestamptz` counts, in microseconds since the Unix epoch.
const POSTGRES_EPOCH: i64 = 946_684_800_000_000;

// The same in every PostgreSQL (src/include/catalog/pg_type.dat). Why not by name: each connection
// would look the name up first.
const TIMESTAMPTZ: Oid = Oid(1184);
const TIMESTAMPTZ_ARRAY: Oid = Oid(1185);
const UUID: Oid = Oid(2950);
const UUID_ARRAY: Oid = Oid(2951);

/// A `timestamptz`: microseconds since the Unix epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Micros(i64);

impl Micros {
    /// Later than every moment: PostgreSQL's `infinity`.
    pub(crate) const INFINITY: Self = Self(i64::MAX);

    pub(crate) fn at(self) -> Timestamp {
        Timestamp::from_micros(self.0)
    }
}

impl From<Timestamp> for Micros {
    fn from(at: Timestamp) -> Self {
        Self(at.as_micros())
    }
}

impl Type<Postgres> for Micros {
    fn type_info() -> PgTypeInfo {
        PgTypeInfo::with_oid(TIMESTAMPTZ)
    }
}

impl PgHasArrayType for Micros {
    fn array_type_info() -> PgTypeInfo {
        PgTypeInfo::with_oid(TIMESTAMPTZ_ARRAY)
    }
}

impl Encode<'_, Postgres> for Micros {
    fn encode_by_ref(&self, buffer: &mut PgArgumentBuffer) -> Result<IsNull, BoxDynError> {
        // i64::MAX is `infinity`.
        let micros = match self.0 {
            i64::MAX => i64::MAX,
            micros => micros.saturating_sub(POSTGRES_EPOCH),
        };
        buffer.extend_from_slice(&micros.to_be_bytes());
        Ok(IsNull::No)
    }
}

impl Decode<'_, Postgres> for Micros {
    fn decode(value: PgValueRef<'_>) -> Result<Self, BoxDynError> {
        let bytes: [u8; 8] = binary(&value)?.try_into()?;
        Ok(Self(
            i64::from_be_bytes(bytes).saturating_add(POSTGRES_EPOCH),
        ))
    }
}

/// A `uuid`: any 16 bytes, ordered as bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Id(pub(crate) [u8; 16]);

impl Id {
    pub(crate) const MAX: Self = Self([0xff; 16]);
}

impl From<CredentialId> for Id {
    fn from(id: CredentialId) -> Self {
        Self(*id.as_bytes())
    }
}

impl Type<Postgres> for Id {
    fn type_info() -> PgTypeInfo {
        PgTypeInfo::with_oid(UUID)
    }
}

impl PgHasArrayType for Id {
    fn array_type_info() -> PgTypeInfo {
        PgTypeInfo::with_oid(UUID_ARRAY)
    }
}

impl Encode<'_, Postgres> for Id {
    fn encode_by_ref(&self, buffer: &mut PgArgumentBuffer) -> Result<IsNull, BoxDynError> {
        buffer.extend_from_slice(&self.0);
        Ok(IsNull::No)
    }
}

impl Decode<'_, Postgres> for Id {
    fn decode(value: PgValueRef<'_>) -> Result<Self, BoxDynError> {
        Ok(Self(binary(&value)?.try_into()?))
    }
}

fn binary<'a>(value: &PgValueRef<'a>) -> Result<&'a [u8], BoxDynError> {
    match value.format() {
        PgValueFormat::Binary => Ok(value.as_bytes()?),
        // Only the simple protocol answers in text, and no query here uses it.
        PgValueFormat::Text => Err("expected the binary format".into()),
    }
}

/// The value of a name that the unique index compares.
pub(crate) fn name_key(name: &CredentialName) -> Vec<u8> {
    Sha256::digest(name.comparison_key()).to_vec()
}

/// A credential with its secrets: the columns that every query for a credential selects.
#[derive(Debug)]
pub(crate) struct CredentialRow {
    pub(crate) id: Id,
    pub(crate) tenant_id: String,
    pub(crate) name: String,
    pub(crate) api_type: String,
    pub(crate) client_id: String,
    pub(crate) environment: String,
    pub(crate) scopes: Vec<String>,
    pub(crate) created_at: Micros,
    pub(crate) created_by: String,
    pub(crate) expires_at: Option<Micros>,
    pub(crate) revoked_at: Option<Micros>,
    pub(crate) revoked_by: Option<String>,
    pub(crate) version: i64,
    pub(crate) tokens_valid_from: Option<Micros>,
    pub(crate) last_used_at: Option<Micros>,
    pub(crate) description: String,
    pub(crate) disabled_at: Option<Micros>,
    pub(crate) allowed_networks: Vec<String>,
    pub(crate) registration_proof: Vec<String>,
    pub(crate) registration_means: Vec<String>,
    pub(crate) registration_created_at: Vec<Micros>,
    /// Which of these proofs were used, in no order, and when.
    pub(crate) used_proof: Vec<String>,
    pub(crate) used_at: Vec<Micros>,
    pub(crate) secret_selector: Vec<String>,
    pub(crate) secret_phc: Vec<String>,
    pub(crate) secret_key_name: Vec<String>,
    pub(crate) secret_created_at: Vec<Micros>,
    pub(crate) secret_expires_at: Vec<Option<Micros>>,
    pub(crate) secret_ended_at: Vec<Option<Micros>>,
    pub(crate) secret_last_used_at: Vec<Option<Micros>>,
}

impl TryFrom<CredentialRow> for Credential {
    type Error = StoreError;

    fn try_from(row: CredentialRow) -> Result<Self, StoreError> {
        let secrets = row
            .secret_selector
            .iter()
            .zip(&row.secret_phc)
            .zip(&row.secret_key_name)
            .zip(&row.secret_created_at)
            .zip(&row.secret_expires_at)
            .zip(&row.secret_ended_at)
            .zip(&row.secret_last_used_at)
            .map(
                |((((((selector, phc), key), created_at), expires_at), ended_at), last_used_at)| {
                    let key = key.parse().or_unreadable("secret.key_name")?;
                    Ok(StoredSecret {
                        selector: ProofId::parse(selector).or_unreadable("secret.selector")?,
                        hash: SecretHash::from_parts(phc, key).or_unreadable("secret.phc")?,
                        created_at: created_at.at(),
                        expires_at: expires_at.map(Micros::at),
                        ended_at: ended_at.map(Micros::at),
                        last_used_at: last_used_at.map(Micros::at),
                    })
                },
            )
            .collect::<Result<_, StoreError>>()?;
        let registrations = row.registrations()?;
        Ok(Self {
            identity: Identity {
                id: CredentialId::from_bytes(row.id.0),
                tenant: TenantId::new(row.tenant_id).or_unreadable("credential.tenant_id")?,
                api_type: row.api_type.parse().or_unreadable("credential.api_type")?,
                client_id: ClientId::parse(&row.client_id).or_unreadable("credential.client_id")?,
                environment: row
                    .environment
                    .parse()
                    .or_unreadable("credential.environment")?,
                created_at: row.created_at.at(),
                created_by: ActorId::new(row.created_by).or_unreadable("credential.created_by")?,
            },
            settings: Settings {
                name: CredentialName::new(&row.name).or_unreadable("credential.name")?,
                description: Description::new(&row.description)
                    .or_unreadable("credential.description")?,
                scopes: row.scopes,
                expires_at: row.expires_at.map(Micros::at),
                disabled_at: row.disabled_at.map(Micros::at),
                allowed_networks: Networks::parse(&row.allowed_networks)
                    .or_unreadable("credential.allowed_networks")?,
                secrets,
                registrations,
            },
            observed: Observed {
                tokens_valid_from: row.tokens_valid_from.map(Micros::at),
                last_used_at: row.last_used_at.map(Micros::at),
            },
            revoked: match (row.revoked_at, row.revoked_by) {
                (Some(at), Some(by)) => Some(Revocation {
                    at: at.at(),
                    by: ActorId::new(by).or_unreadable("credential.revoked_by")?,
                }),
                _ => None,
            },
            version: number(row.version)?,
        })
    }
}

impl CredentialRow {
    fn registrations(&self) -> Result<Vec<Registration>, StoreError> {
        let used = |proof: &String| {
            let place = self.used_proof.iter().position(|it| it == proof)?;
            self.used_at.get(place).map(|at| at.at())
        };
        self.registration_proof
            .iter()
            .zip(&self.registration_means)
            .zip(&self.registration_created_at)
            .map(|((proof, means), created_at)| {
                Ok(Registration {
                    proof: ProofId::parse(proof).or_unreadable("credential.registration_proof")?,
                    means: Means::from_text(means)
                        .ok_or(())
                        .or_unreadable("credential.registration_means")?,
                    created_at: created_at.at(),
                    last_used_at: used(proof),
                })
            })
            .collect()
    }
}

/// Registrations as the columns of a credential.
#[derive(Debug, Default)]
pub(crate) struct RegistrationColumns {
    pub(crate) proof: Vec<String>,
    pub(crate) means: Vec<String>,
    pub(crate) created_at: Vec<Micros>,
}

impl RegistrationColumns {
    pub(crate) fn of(registrations: &[Registration]) -> Self {
        let each = registrations.iter();
        Self {
            proof: each.clone().map(|it| it.proof.to_string()).collect(),
            means: each.clone().map(|it| it.means.to_text()).collect(),
            created_at: each.map(|it| it.created_at.into()).collect(),
        }
    }
}

/// Secrets as the columns of an `unnest`, in their order.
#[derive(Debug, Default)]
pub(crate) struct SecretColumns {
    pub(crate) selector: Vec<String>,
    pub(crate) phc: Vec<String>,
    pub(crate) key_name: Vec<String>,
    pub(crate) created_at: Vec<Micros>,
    pub(crate) expires_at: Vec<Option<Micros>>,
    pub(crate) ended_at: Vec<Option<Micros>>,
    pub(crate) last_used_at: Vec<Option<Micros>>,
}

impl SecretColumns {
    pub(crate) fn of(secrets: &[StoredSecret]) -> Self {
        let mut columns = Self::default();
        for secret in secrets {
            columns.selector.push(secret.selector.as_str().to_owned());
            columns.phc.push(secret.hash.phc().to_owned());
            columns.key_name.push(secret.hash.key().as_str().to_owned());
            columns.created_at.push(secret.created_at.into());
            columns.expires_at.push(secret.expires_at.map(Micros::from));
            columns.ended_at.push(secret.ended_at.map(Micros::from));
            columns
                .last_used_at
                .push(secret.last_used_at.map(Micros::from));
        }
        columns
    }
}

/// What a check reads, from one snapshot. If there is no credential, all its columns are null.
#[derive(Debug)]
pub(crate) struct StateRow {
    pub(crate) upto: i64,
    pub(crate) mark: Id,
    pub(crate) id: Option<Id>,
    pub(crate) tenant_id: Option<String>,
    pub(crate) name: Option<String>,
    pub(crate) api_type: Option<String>,
    pub(crate) client_id: Option<String>,
    pub(crate) environment: Option<String>,
    pub(crate) scopes: Option<Vec<String>>,
    pub(crate) created_at: Option<Micros>,
    pub(crate) created_by: Option<String>,
    pub(crate) expires_at: Option<Micros>,
    pub(crate) revoked_at: Option<Micros>,
    pub(crate) revoked_by: Option<String>,
    pub(crate) version: Option<i64>,
    pub(crate) tokens_valid_from: Option<Micros>,
    pub(crate) last_used_at: Option<Micros>,
    pub(crate) description: Option<String>,
    pub(crate) disabled_at: Option<Micros>,
    pub(crate) allowed_networks: Option<Vec<String>>,
    pub(crate) registration_proof: Option<Vec<String>>,
    pub(crate) registration_means: Option<Vec<String>>,
    pub(crate) registration_created_at: Option<Vec<Micros>>,
    pub(crate) used_proof: Option<Vec<String>>,
    pub(crate) used_at: Option<Vec<Micros>>,
    pub(crate) secret_selector: Option<Vec<String>>,
    pub(crate) secret_phc: Option<Vec<String>>,
    pub(crate) secret_key_name: Option<Vec<String>>,
    pub(crate) secret_created_at: Option<Vec<Micros>>,
    pub(crate) secret_expires_at: Option<Vec<Option<Micros>>>,
    pub(crate) secret_ended_at: Option<Vec<Option<Micros>>>,
    pub(crate) secret_last_used_at: Option<Vec<Option<Micros>>>,
    pub(crate) token_id: Option<Vec<Id>>,
    pub(crate) token_issued_at: Option<Vec<Micros>>,
    pub(crate) token_expires_at: Option<Vec<Micros>>,
}

impl StateRow {
    /// The state, if the credential exists.
    pub(crate) fn state(self) -> Result<Option<CredentialState>, StoreError> {
        let tokens = self.token_id.unwrap_or_default().into_iter();
        let revoked_tokens = tokens
            .zip(self.token_issued_at.unwrap_or_default())
            .zip(self.token_expires_at.unwrap_or_default())
            .map(|((id, issued_at), expires_at)| RevokedToken {
                id: TokenId::from_bytes(id.0),
                issued_at: issued_at.at(),
                expires_at: expires_at.at(),
            })
            .collect();
        let Some(id) = self.id else { return Ok(None) };
        let missing = || {
            backend(Unreadable {
                column: "credential",
            })
        };
        let row = CredentialRow {
            id,
            tenant_id: self.tenant_id.ok_or_else(missing)?,
            name: self.name.ok_or_else(missing)?,
            api_type: self.api_type.ok_or_else(missing)?,
            client_id: self.client_id.ok_or_else(missing)?,
            environment: self.environment.ok_or_else(missing)?,
            scopes: self.scopes.ok_or_else(missing)?,
            created_at: self.created_at.ok_or_else(missing)?,
            created_by: self.created_by.ok_or_else(missing)?,
            expires_at: self.expires_at,
            revoked_at: self.revoked_at,
            revoked_by: self.revoked_by,
            version: self.version.ok_or_else(missing)?,
            tokens_valid_from: self.tokens_valid_from,
            last_used_at: self.last_used_at,
            description: self.description.ok_or_else(missing)?,
            disabled_at: self.disabled_at,
            allowed_networks: self.allowed_networks.ok_or_else(missing)?,
            registration_proof: self.registration_proof.unwrap_or_default(),
            registration_means: self.registration_means.unwrap_or_default(),
            registration_created_at: self.registration_created_at.unwrap_or_default(),
            used_proof: self.used_proof.unwrap_or_default(),
            used_at: self.used_at.unwrap_or_default(),
            secret_selector: self.secret_selector.unwrap_or_default(),
            secret_phc: self.secret_phc.unwrap_or_default(),
            secret_key_name: self.secret_key_name.unwrap_or_default(),
            secret_created_at: self.secret_created_at.unwrap_or_default(),
            secret_expires_at: self.secret_expires_at.unwrap_or_default(),
            secret_ended_at: self.secret_ended_at.unwrap_or_default(),
            secret_last_used_at: self.secret_last_used_at.unwrap_or_default(),
        };
        Ok(Some(CredentialState {
            credential: row.try_into()?,
            revoked_tokens,
        }))
    }
}

/// One row of the audit trail.
#[derive(Debug)]
pub(crate) struct AuditRow {
    pub(crate) tenant_id: String,
    pub(crate) seq: i64,
    pub(crate) format: i16,
    pub(crate) at: Micros,
    pub(crate) actor: String,
    pub(crate) action: String,
    pub(crate) credential_id: Option<Id>,
    pub(crate) details: String,
    pub(crate) key_name: String,
    pub(crate) hash: Vec<u8>,
}

impl AuditRow {
    /// The event, or the column whose value core does not accept.
    fn event(self) -> Result<AuditEvent, &'static str> {
        Ok(AuditEvent {
            format: u8::try_from(self.format).map_err(|_| "format")?,
            tenant: TenantId::new(self.tenant_id).map_err(|_| "tenant_id")?,
            seq: u64::try_from(self.seq).map_err(|_| "seq")?,
            at: self.at.at(),
            actor: ActorId::new(self.actor).map_err(|_| "actor")?,
            action: self.action.into(),
            subject: self
                .credential_id
                .map(|id| CredentialId::from_bytes(id.0))
                .into(),
            details: self.details,
            key: self.key_name.parse().map_err(|_| "key_name")?,
            hash: self.hash.try_into().map_err(|_| "hash")?,
        })
    }

    /// The row as it is verified.
    pub(crate) fn stored(self) -> StoredRow {
        let seq = u64::try_from(self.seq).unwrap_or(0);
        match self.event() {
            Ok(event) => StoredRow::Event(event),
            Err(column) => StoredRow::Unreadable { seq, column },
        }
    }
}

/// A tenant's audit head, from the locked row.
#[derive(Debug)]
pub(crate) struct HeadRow {
    pub(crate) seq: i64,
    pub(crate) hash: Option<Vec<u8>>,
    pub(crate) key: Option<String>,
}

/// Sealed audit rows, column by column, and the head after them.
#[derive(Debug, Default)]
pub(crate) struct SealedEvents {
    pub(crate) seq: Vec<i64>,
    pub(crate) format: Vec<i16>,
    pub(crate) at: Vec<Micros>,
    pub(crate) actor: Vec<String>,
    pub(crate) action: Vec<String>,
    pub(crate) credential_id: Vec<Option<Id>>,
    pub(crate) details: Vec<String>,
    pub(crate) key_name: Vec<String>,
    pub(crate) hash: Vec<Vec<u8>>,
    pub(crate) head_seq: i64,
    pub(crate) head_hash: Option<Vec<u8>>,
    pub(crate) head_key: Option<String>,
}

impl SealedEvents {
    /// Gives events their places behind `head`. The tenant's row must be locked.
    pub(crate) fn behind(
        head: HeadRow,
        events: impl IntoIterator<Item = Event>,
    ) -> Result<Self, StoreError> {
        let mut last = match &head.hash {
            None => None,
            Some(hash) => Some(AuditHead {
                seq: number(head.seq)?,
                hash: hash
                    .as_slice()
                    .try_into()
                    .or_unreadable("tenant.audit_hash")?,
                // A value that is no key name counts as none.
                key: head.key.as_ref().and_then(|key| key.parse().ok()),
            }),
        };
        let mut sealed = Self {
            head_seq: head.seq,
            head_hash: head.hash,
            head_key: head.key,
            ..Self::default()
        };
        for event in events {
            let event = event.seal(last.as_ref());
            last = Some(event.head());
            sealed.head_seq = bigint(event.seq)?;
            sealed.head_hash = Some(event.hash.to_vec());
            sealed.head_key = Some(event.key.as_str().to_owned());
            sealed.seq.push(sealed.head_seq);
            sealed.format.push(event.format.into());
            sealed.at.push(event.at.into());
            sealed.actor.push(event.actor.as_str().to_owned());
            sealed.action.push(event.action.as_str().to_owned());
            sealed
                .credential_id
                .push(event.subject.credential().map(Id::from));
            sealed.details.push(event.details);
            sealed.key_name.push(event.key.as_str().to_owned());
            sealed.hash.push(event.hash.to_vec());
        }
        Ok(sealed)
    }
}

/// The change that a row of the change log describes.
pub(crate) fn change(
    credential_id: Option<Id>,
    tenant_id: Option<String>,
) -> Result<Change, StoreError> {
    Ok(match (credential_id, tenant_id) {
        (Some(id), _) => Change::Credential(CredentialId::from_bytes(id.0)),
        (None, Some(id)) => Change::Tenant(TenantId::new(id).or_unreadable("change.tenant_id")?),
        (None, None) => Change::Everything,
    })
}

/// A stored number that is never negative.
pub(crate) fn number(stored: i64) -> Result<u64, StoreError> {
    u64::try_from(stored).map_err(backend)
}

/// A change, from its number and its mark.
pub(crate) fn change_id(stored: i64, mark: Id) -> Result<ChangeId, StoreError> {
    Ok(ChangeId {
        number: number(stored)?,
        mark: Mark(mark.0),
    })
}

/// A number as `bigint`.
pub(crate) fn bigint(number: u64) -> Result<i64, StoreError> {
    i64::try_from(number).map_err(backend)
}

/// A page size as `bigint`. A larger one means all rows.
pub(crate) fn limit(limit: usize) -> i64 {
    i64::try_from(limit).unwrap_or(i64::MAX)
}

pub(crate) trait OrUnreadable<T> {
    /// Why the cause is dropped: it may describe the value, and the column says where to look.
    fn or_unreadable(self, column: &'static str) -> Result<T, StoreError>;
}

impl<T, E> OrUnreadable<T> for Result<T, E> {
    fn or_unreadable(self, column: &'static str) -> Result<T, StoreError> {
        self.map_err(|_| backend(Unreadable { column }))
    }
}
