//! Requests of an admin, their results and their errors.

use std::time::Duration;

use serde_json::Value;

use crate::{
    clock::Timestamp,
    credential::{Credential, NewWorkload},
    id::ProofId,
    secret::{ClientSecret, verify::VerifyError},
    store::StoreError,
    store_work::CallError,
    tenant_share::Refused,
};

/// One field of a request, as far as it was sent and could be read.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Field<T> {
    /// Not sent.
    #[default]
    Absent,
    /// Sent and not readable; the decoder of the request knows why. Nothing is done, but the other
    /// fields are checked as well.
    Unreadable,
    /// Sent.
    Value(T),
}

impl<T> Field<T> {
    /// The same field with another value.
    pub fn map<U>(self, change: impl FnOnce(T) -> U) -> Field<U> {
        match self {
            Self::Absent => Field::Absent,
            Self::Unreadable => Field::Unreadable,
            Self::Value(value) => Field::Value(change(value)),
        }
    }
}

impl<T> From<T> for Field<T> {
    fn from(value: T) -> Self {
        Self::Value(value)
    }
}

impl From<&str> for Field<String> {
    fn from(text: &str) -> Self {
        Self::Value(text.to_owned())
    }
}

/// The request for a new credential, as the admin entered it.
///
/// Raw on purpose: the use case checks everything and names every fault at once.
#[derive(Debug, Clone, Default)]
pub struct CreateCredential {
    /// Required; see [`CredentialName`](crate::credential::CredentialName).
    pub name: Field<String>,
    /// Required; an API type of the catalogue.
    pub api_type: Field<String>,
    /// See [`Description`](crate::credential::Description).
    pub description: Field<String>,
    /// Scope names; none is allowed and confers nothing.
    pub scopes: Field<Vec<String>>,
    /// In the future and within the longest life
    /// ([`max_lifetime`](crate::CredentialsBuilder::max_lifetime)); `None`, as `Absent`: after that, or never if
    /// there is none.
    pub expires_at: Field<Option<Timestamp>>,
    /// See [`Networks`](crate::credential::Networks); none is allowed and restricts nothing.
    pub allowed_networks: Field<Vec<String>>,
    /// By default a secret.
    pub proof: Field<NewProof>,
    /// The request holds more than these fields say, such as an unknown field. Nothing is done; the
    /// fields are judged all the same.
    pub incomplete: bool,
}

/// What the client of a new credential is to prove itself with.
#[derive(Debug, Clone, Default)]
pub enum NewProof {
    /// A secret, which is made and shown once.
    #[default]
    Secret,
    /// Keys of its own, as a JWK Set of public keys.
    Keys(Value),
    /// The keys that it publishes at a URL.
    KeySetUrl(String),
    /// Tokens of a platform that is trusted.
    Workload(Box<NewWorkload>),
}

/// A request to put other public keys in the place of those that a credential has: one of the two fields.
#[derive(Debug, Clone, Default)]
pub struct SetKeys {
    /// A JWK Set of public keys; `None` for no keys.
    pub jwks: Field<Option<Value>>,
    /// Where the client publishes its keys; `None` for no keys.
    pub jwks_uri: Field<Option<String>>,
    /// As in [`CreateCredential`].
    pub incomplete: bool,
}

/// A request to put other trusted workloads in the place of those that a credential has.
#[derive(Debug, Clone, Default)]
pub struct SetWorkloads {
    /// Required: all of them, at most [`WorkloadRule::MAX_RULES`](crate::credential::WorkloadRule::MAX_RULES).
    pub workloads: Field<Vec<NewWorkload>>,
    /// As in [`CreateCredential`].
    pub incomplete: bool,
}

/// A credential that was just created.
#[derive(Debug)]
pub struct Created {
    /// The record.
    pub credential: Credential,
    /// The secret, which can be shown only this once; `None` if the client proves itself with something else.
    pub client_secret: Option<ClientSecret>,
}

/// The request for a change. Absent fields stay as they are.
#[derive(Debug, Clone, Default)]
pub struct UpdateCredential {
    /// The new name.
    pub name: Field<String>,
    /// The new description; empty for none.
    pub description: Field<String>,
    /// The new expiry, as in [`CreateCredential`], its longest life counted from now.
    pub expires_at: Field<Option<Timestamp>>,
    /// The new networks; none for everywhere.
    pub allowed_networks: Field<Vec<String>>,
    /// The API type that the caller named, which must be the one it has.
    pub api_type: Field<String>,
    /// As in [`CreateCredential`].
    pub incomplete: bool,
}

/// The scopes that a credential shall hold.
#[derive(Debug, Clone)]
pub enum ScopeChoice {
    /// Exactly these. What the credential holds may be among them also if the catalogue does not list
    /// it, because another version of it is in use elsewhere.
    Named(Vec<String>),
    /// Every read scope of the API type and no write scope; no wildcard, full access or acting
    /// for a user. Refused while the credential holds a scope that the catalogue does not list, since
    /// nothing says whether that one writes.
    ReadOnly,
}

/// A request to change scopes.
#[derive(Debug, Clone, Default)]
pub struct SetScopes {
    /// Required: what to hold.
    pub choice: Field<ScopeChoice>,
    /// The API type that the caller named, which must be the one it has.
    pub api_type: Field<String>,
    /// As in [`CreateCredential`].
    pub incomplete: bool,
}

/// A request for a further secret.
#[derive(Debug, Clone, Default)]
pub struct RotateSecret {
    /// How long the secrets that are live now stay live, in seconds: up to [`MAX_OVERLAP`]. Zero ends them
    /// at once. By default a day.
    pub overlap_seconds: Field<i64>,
    /// As in [`CreateCredential`].
    pub incomplete: bool,
}

/// The longest time that an old secret stays live beside a new one.
pub const MAX_OVERLAP: Duration = Duration::from_secs(7 * 24 * 3600);

/// A secret that was just made.
#[derive(Debug)]
pub struct Rotated {
    /// The record and when the change counts everywhere.
    pub changed: Changed,
    /// Which of the credential's secrets is new.
    pub selector: ProofId,
    /// The secret, which can be shown only this once.
    pub client_secret: ClientSecret,
}

/// A request to revoke every credential of the tenant.
#[derive(Debug, Clone, Default)]
pub struct RevokeAll {
    /// Required: the number of the tenant's credentials that are not revoked, in decimal digits, which shows
    /// that the admin knows what ends.
    pub confirm: Field<String>,
    /// As in [`CreateCredential`].
    pub incomplete: bool,
}

/// Every credential of a tenant was revoked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AllRevoked {
    /// How many were.
    pub revoked: usize,
    /// As in [`Changed`].
    pub effective_everywhere_at: Timestamp,
}

/// Which version of a credential an edit was decided on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Expected {
    /// Any version.
    Any,
    /// One of these.
    OneOf(Vec<u64>),
}

impl Expected {
    pub(super) fn allows(&self, version: u64) -> bool {
        match self {
            Self::Any => true,
            Self::OneOf(versions) => versions.contains(&version),
        }
    }
}

/// A change to what checks answer.
#[derive(Debug, Clone)]
pub struct Changed {
    /// The record as it is now.
    pub credential: Credential,
    /// From this time on no node answers from before the change, whatever breaks. This node does
    /// not from now on.
    pub effective_everywhere_at: Timestamp,
}

/// One page of a list, newest first.
#[derive(Debug, Clone)]
pub struct Page<T, P> {
    /// At most the limit.
    pub items: Vec<T>,
    /// Where the next page begins; `None`: this was the last.
    pub next: Option<P>,
}

/// A field and what is wrong with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// The field's name in the request.
    pub field: String,
    /// A stable word for programs, such as `required` or `unknown_scope`.
    pub code: &'static str,
    /// A sentence for people.
    pub message: String,
}

impl Fault {
    /// A fault of `field`.
    #[must_use]
    pub fn new(field: &str, code: &'static str, message: impl Into<String>) -> Self {
        Self {
            field: field.to_owned(),
            code,
            message: message.into(),
        }
    }
}

/// What is found wrong with a request while it is judged.
#[derive(Debug)]
pub(super) struct Findings {
    faults: Vec<Fault>,
    /// Something was sent that could not be read.
    unreadable: bool,
}

impl Findings {
    pub(super) fn new(incomplete: bool) -> Self {
        Self {
            faults: Vec::new(),
            unreadable: incomplete,
        }
    }

    pub(super) fn add(&mut self, field: &str, code: &'static str, message: impl Into<String>) {
        self.faults.push(Fault::new(field, code, message));
    }

    /// The value of a field that may be absent.
    pub(super) fn optional<T>(&mut self, field: Field<T>) -> Option<T> {
        match field {
            Field::Absent => None,
            Field::Unreadable => {
                self.unreadable = true;
                None
            }
            Field::Value(value) => Some(value),
        }
    }

    /// The value of a field that must be there; `message` says what is missing.
    pub(super) fn required<T>(
        &mut self,
        field: Field<T>,
        name: &str,
        message: impl Into<String>,
    ) -> Option<T> {
        if let Field::Absent = field {
            self.add(name, "required", message);
        }
        self.optional(field)
    }

    /// Whether the request may be carried out.
    pub(super) fn is_empty(&self) -> bool {
        self.faults.is_empty() && !self.unreadable
    }

    pub(super) fn into_error(self) -> ManageError {
        ManageError::Invalid(self.faults)
    }

    /// The error that an attempt to change the API type is.
    pub(super) fn into_immutable(mut self) -> ManageError {
        let fault = Fault::new(
            "api_type",
            "api_type_immutable",
            "the API type was chosen when the credential was created",
        );
        self.faults.insert(0, fault);
        ManageError::ApiTypeImmutable(self.faults)
    }
}

/// Why nothing was changed.
#[derive(Debug, thiserror::Error)]
pub enum ManageError {
    /// The host has not turned self-service on in this environment.
    #[error("self-service is not available in this environment")]
    SelfServiceUnavailable,
    /// The tenant has no such credential.
    #[error("no such credential")]
    NotFound,
    /// It is revoked; that is final.
    #[error("the credential is revoked")]
    Revoked,
    /// The caller did not say which version the edit is for.
    #[error("say which version of the credential the edit is for")]
    VersionRequired,
    /// Somebody else changed the credential first.
    #[error("the credential was changed in the meantime")]
    StaleVersion,
    /// What was asked for breaks rules: all of them. None if all that is wrong is what the caller
    /// could not read.
    #[error("{} in the request", faults_in_words(.0.len()))]
    Invalid(Vec<Fault>),
    /// An API type is chosen once. This fault first, then every other one that was found.
    #[error("the API type of a credential cannot be changed")]
    ApiTypeImmutable(Vec<Fault>),
    /// Another credential of the tenant has that name.
    #[error("another credential has that name")]
    NameTaken,
    /// The credential has two live secrets already.
    #[error("the credential has two live secrets; end one first, or end both with the new one")]
    TooManySecrets,
    /// Nothing would be left with which the client could authenticate.
    #[error(
        "nothing would be left for the client to prove itself with; add a secret or a key first, or revoke or disable the credential"
    )]
    LastProof,
    /// The tenant has reached its limit of credentials.
    #[error("the limit of {limit} credentials is reached")]
    LimitReached {
        /// How many it may have.
        limit: u32,
    },
    /// The idempotency key belongs to another request that was carried out.
    #[error("another request was carried out with that idempotency key")]
    IdempotencyKeyReused,
    /// A request with that idempotency key is running.
    #[error("a request with that idempotency key is still running")]
    IdempotencyInProgress,
    /// Too much of this tenant's work is waiting already; nothing was done.
    #[error("too many requests of this tenant are waiting; try again in {} s", .retry_after.as_secs())]
    RateLimited {
        /// When to try again: whole seconds, 1 to 120. Follows the tenant's own queue.
        retry_after: Duration,
    },
    /// The host has no [`TrailStore`](crate::store::TrailStore) to read the audit trail from.
    #[error("the audit trail cannot be read here")]
    NoTrail,
    /// The host has no [`UsageStore`](crate::store::UsageStore) that keeps how credentials are used.
    #[error("how credentials are used is not kept here")]
    NoUsage,
    /// The new secret could not be hashed.
    #[error("could not hash the secret")]
    Hash(#[source] VerifyError),
    /// The store did not answer.
    #[error("the store did not answer")]
    Store(#[source] StoreError),
}

fn faults_in_words(count: usize) -> String {
    match count {
        0 => "something unreadable".to_owned(),
        1 => "one fault".to_owned(),
        _ => format!("{count} faults"),
    }
}

impl From<StoreError> for ManageError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::NotFound => Self::NotFound,
            StoreError::Revoked => Self::Revoked,
            StoreError::StaleVersion => Self::StaleVersion,
            StoreError::NameTaken => Self::NameTaken,
            StoreError::IdempotencyKeyUsed => Self::IdempotencyInProgress,
            other => Self::Store(other),
        }
    }
}

impl From<Refused> for ManageError {
    fn from(Refused { retry_after }: Refused) -> Self {
        Self::RateLimited { retry_after }
    }
}

impl From<CallError> for ManageError {
    fn from(error: CallError) -> Self {
        match error {
            CallError::Refused(refused) => refused.into(),
            CallError::Store(error) => error.into(),
        }
    }
}
