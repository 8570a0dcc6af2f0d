//! A credential and its state as columns.

use credential_core::{
    credential::{
        Credential, CredentialName, CredentialState, Description, Identity, Means, Networks,
        Observed, Registration, Revocation, RevokedToken, Settings, StoredSecret,
    },
    id::{ActorId, ClientId, CredentialId, ProofId, TenantId},
    secret::hash::SecretHash,
    store::StoreError,
    token::TokenId,
};

use super::{Id, Micros, OrUnreadable as _, number};
use crate::error::{Unreadable, backend};

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
