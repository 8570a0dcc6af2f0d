//! A new credential and its first secret.

use std::sync::Arc;

use super::{
    CreateCredential, Created, Field, Manage, ManageError, NewProof,
    proofs::check_new_proof,
    request::Findings,
    scopes::{check_api_type, check_scopes},
    settings::{
        check_description, check_expiry, check_name, check_networks, key_notes, workload_notes,
    },
};
use crate::{
    Credentials,
    audit::Details,
    catalog::ApiType,
    clock::Timestamp,
    credential::{
        Credential, CredentialName, Description, Identity, Means, NameError, Networks, Observed,
        Settings,
    },
    id::{ClientId, CredentialId},
    store::{NewCredential, NewReplay, StoreError},
    store_work::{CallError, Side},
};

impl Manage<'_> {
    /// Creates a credential with its first secret, or with what proves its client in place of one.
    ///
    /// # Errors
    /// `SelfServiceUnavailable`; `Invalid` with every fault; `NameTaken`; `LimitReached`;
    /// `RateLimited`; `Hash`; `Store`.
    pub async fn create(self, request: CreateCredential) -> Result<Created, ManageError> {
        self.require_self_service()?;
        self.create_and(request, |_| None).await
    }

    /// Creates a credential, and keeps with it what `keep` makes of it.
    pub(super) async fn create_and(
        self,
        request: CreateCredential,
        keep: impl FnOnce(&Created) -> Option<NewReplay> + Send,
    ) -> Result<Created, ManageError> {
        let host = self.credentials;
        let tenant = self.admin.tenant();
        let now = host.clock().now();
        match &request.proof {
            Field::Value(NewProof::Keys(set)) => self.charge_keys([set]),
            Field::Value(NewProof::Workload(rule)) => self.charge_keys(rule.jwks.as_ref()),
            _ => {}
        }
        let Wanted {
            name,
            api_type,
            description,
            scopes,
            expires_at,
            allowed_networks,
            means,
        } = Wanted::of(request, host, now)?;
        let limit = host.0.limit;
        let refused = |error| match error {
            CallError::Store(StoreError::LimitReached) => ManageError::LimitReached { limit },
            other => other.into(),
        };
        // INVARIANT: nothing is hashed that will be refused. Only races are left for `insert` to
        // decide.
        let creating = host.0.store_work.creating(tenant).await?;
        let look = host.store().may_insert(tenant, &name, limit);
        self.call(look).await.map_err(refused)?;

        let (client_secret, secret) = if means.is_empty() {
            let (client_secret, secret) = self.new_secret().await?;
            (Some(client_secret), Some(secret))
        } else {
            (None, None)
        };
        let register = |means| host.register(means, now);
        let credential = Credential {
            identity: Identity {
                id: CredentialId::random(&*host.0.entropy),
                tenant: tenant.clone(),
                api_type: api_type.id().clone(),
                client_id: ClientId::generate(&host.0.prefix, host.environment(), &*host.0.entropy),
                environment: host.environment(),
                created_at: now,
                created_by: self.admin.id().clone(),
            },
            settings: Settings {
                name,
                description,
                scopes,
                expires_at,
                disabled_at: None,
                allowed_networks,
                secrets: secret.into_iter().collect(),
                registrations: means.into_iter().map(register).collect(),
            },
            observed: Observed::default(),
            revoked: None,
            version: 1,
        };
        let Credential {
            identity, settings, ..
        } = &credential;
        let details = Details::Created {
            name: settings.name.as_str(),
            api_type: identity.api_type.as_str(),
            client_id: identity.client_id.as_str(),
            description: settings.description.as_str(),
            scopes: &settings.scopes,
            expires_at: settings.expires_at.map(|at| at.to_string()),
            allowed_networks: settings.allowed_networks.texts().collect(),
            keys: key_notes(settings),
            workloads: workload_notes(settings),
        };
        let id = identity.id;
        let event = self.event(&credential, &details).await?;
        let created = Created {
            credential,
            client_secret,
        };
        let insert = host.store().insert(NewCredential {
            credential: created.credential.clone(),
            limit,
            event,
            replay: keep(&created),
        });
        let committed = host
            .0
            .store_work
            .call_again(tenant, Side::Admins, insert)
            .await
            .map_err(refused)?;
        drop(creating);
        host.0.states.own_change(id, committed.change);
        host.0.states.confirm(committed.change).await?;
        Ok(created)
    }
}

/// The checked content of a new credential, without the checks that need the store.
pub(super) struct Wanted {
    name: CredentialName,
    api_type: Arc<ApiType>,
    description: Description,
    scopes: Vec<String>,
    expires_at: Option<Timestamp>,
    allowed_networks: Networks,
    /// None: a secret.
    means: Vec<Means>,
}

impl Wanted {
    /// # Errors
    /// `Invalid` with every fault.
    pub(super) fn of(
        request: CreateCredential,
        host: &Credentials,
        now: Timestamp,
    ) -> Result<Self, ManageError> {
        let catalog = host.catalog();
        let mut found = Findings::new(request.incomplete);
        let name = found.required(request.name, "name", NameError::Required.to_string());
        let name = name.and_then(|name| check_name(&name, &mut found));
        let api_type = found.required(request.api_type, "api_type", "choose an API type");
        let api_type = api_type.and_then(|id| check_api_type(catalog, &id, &mut found));
        let scopes = found.optional(request.scopes).unwrap_or_default();
        let scopes = api_type
            .as_ref()
            .and_then(|api_type| check_scopes(catalog, api_type, &scopes, &mut found));
        let expires_at = found.optional(request.expires_at).flatten();
        let expires_at = check_expiry(expires_at, now, host.max_lifetime(), &mut found);
        let description = found.optional(request.description).unwrap_or_default();
        let description = check_description(&description, &mut found).unwrap_or_default();
        let networks = found.optional(request.allowed_networks).unwrap_or_default();
        let allowed_networks = check_networks(&networks, &mut found).unwrap_or_default();
        let proof = found.optional(request.proof).unwrap_or_default();
        let means = check_new_proof(proof, host, &mut found);
        match (name, api_type, scopes, found.is_empty()) {
            (Some(name), Some(api_type), Some(scopes), true) => Ok(Self {
                name,
                api_type,
                description,
                scopes,
                expires_at,
                allowed_networks,
                means,
            }),
            _ => Err(found.into_error()),
        }
    }
}
