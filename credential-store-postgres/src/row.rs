//! Conversions between core's values and columns.
//!
//! Times and ids have types of their own here, so that they do not depend on the date or UUID crate that
//! a host enables in sqlx.

mod audit;
mod credential;

use credential_core::{
    clock::Timestamp,
    credential::CredentialName,
    id::{CredentialId, TenantId},
    store::{Change, ChangeId, Mark, StoreError},
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

pub(crate) use self::{
    audit::{AuditRow, HeadRow, SealedEvents},
    credential::{CredentialRow, RegistrationColumns, SecretColumns, StateRow},
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
