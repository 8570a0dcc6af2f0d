//! A new credential and its first secret.

use std::sync::Arc;

use super::{
    CreateCredential, Created, Manage, ManageError,
    request::Findings,
    scopes::{check_api_type, check_scopes},
    settings::{check_expiry, check_name},
};
use crate::{
    audit::Details,
    catalog::{ApiType, ScopeCatalog},
    clock::Timestamp,
    credential::{
        Credential, CredentialName, Identity, NameError, Observed, Settings, StoredSecret,
    },
    id::{ClientId, CredentialId},
    secret::{ClientSecret, verify::VerifyError},
    store::{NewCredential, StoreError},
    store_work::{CallError, Side},
};

impl Manage<'_> {
    /// Creates a credential with its first secret.
    ///
    /// # Errors
    /// `SelfServiceUnavailable`; `Invalid` with every fault; `NameTaken`; `LimitReached`;
    /// `RateLimited`; `Hash`; `Store`.
    pub async fn create(self, request: CreateCredential) -> Result<Created, ManageError> {
        self.require_self_service()?;
        let host = self.credentials;
        let tenant = self.admin.tenant();
        let now = host.clock().now();
        let Wanted {
            name,
            api_type,
            scopes,
            expires_at,
        } = Wanted::of(request, host.catalog(), now)?;
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

        host.before_signing().await?;
        let (client_secret, selector) = ClientSecret::generate(
            &host.0.prefix,
            host.environment(),
            &host.0.keyring,
            &*host.0.entropy,
        );
        let hash =
            host.0
                .verifier
                .hash(tenant, &client_secret)
                .await
                .map_err(|error| match error {
                    VerifyError::Overloaded { retry_after } => {
                        ManageError::RateLimited { retry_after }
                    }
                    error => ManageError::Hash(error),
                })?;
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
                scopes,
                expires_at,
                secrets: vec![StoredSecret {
                    selector,
                    hash,
                    created_at: now,
                    expires_at: None,
                    last_used_at: None,
                }],
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
            scopes: &settings.scopes,
            expires_at: settings.expires_at.map(|at| at.to_string()),
        };
        let id = identity.id;
        let event = self.event(&credential, &details).await?;
        let insert = host.store().insert(NewCredential {
            credential: credential.clone(),
            limit,
            event,
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
        Ok(Created {
            credential,
            client_secret,
        })
    }
}

/// The checked content of a new credential, without the checks that need the store.
struct Wanted {
    name: CredentialName,
    api_type: Arc<ApiType>,
    scopes: Vec<String>,
    expires_at: Option<Timestamp>,
}

impl Wanted {
    /// # Errors
    /// `Invalid` with every fault.
    fn of(
        request: CreateCredential,
        catalog: &ScopeCatalog,
        now: Timestamp,
    ) -> Result<Self, ManageError> {
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
        check_expiry(expires_at, now, &mut found);
        match (name, api_type, scopes, found.is_empty()) {
            (Some(name), Some(api_type), Some(scopes), true) => Ok(Self {
                name,
                api_type,
                scopes,
                expires_at,
            }),
            _ => Err(found.into_error()),
        }
    }
}
