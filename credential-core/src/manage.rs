//! The use cases of an admin: create, get, list, edit, revoke, and the audit trail.
//!
//! Each takes a [`TenantAdmin`], which only the role check makes. What several rules refuse is
//! answered in one order: not found, self-service off, revoked, version missing, version stale,
//! invalid input (every fault at once), then a taken name or the limit.
//!
//! Each call of the store is made when it is the tenant's turn (`store_work.rs`); where too many of
//! the tenant's own wait, any use case ends with [`ManageError::RateLimited`] and nothing is done.

mod request;

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use self::request::Findings;
pub use self::request::{
    Changed, CreateCredential, Created, Expected, Fault, Field, ManageError, Page, ScopeChoice,
    SetScopes, UpdateCredential,
};
use crate::{
    actor::TenantAdmin,
    audit::{Details, Event, Subject},
    catalog::{ApiType, ScopeFault},
    clock::Timestamp,
    credential::{Credential, CredentialName, NameError, Revocation, Status, StoredSecret},
    host::Credentials,
    id::{ClientId, CredentialId},
    secret::{ClientSecret, verify::VerifyError},
    store::{
        AuditQuery, Committed, Edit, ListPosition, ListQuery, NewCredential, Revoke, StoreError,
        StoredRow,
    },
    store_work::{CallError, Side},
};

/// The most items of one page, of credentials and of audit events.
pub const MAX_PAGE: usize = 100;

impl Credentials {
    /// Creates a credential with its first secret.
    ///
    /// # Errors
    /// `SelfServiceUnavailable`; `Invalid` with every fault; `NameTaken`; `LimitReached`;
    /// `RateLimited`; `Hash`; `Store`.
    pub async fn create(
        &self,
        admin: &TenantAdmin,
        request: CreateCredential,
    ) -> Result<Created, ManageError> {
        self.require_self_service()?;
        let now = self.clock().now();
        let mut found = Findings::new(request.incomplete);
        let name = found.required(request.name, "name", NameError::Required.to_string());
        let name = name.and_then(|name| check_name(&name, &mut found));
        let api_type = found.required(request.api_type, "api_type", "choose an API type");
        let api_type = api_type.and_then(|id| self.check_api_type(&id, &mut found));
        let scopes = found.optional(request.scopes).unwrap_or_default();
        let scopes = match &api_type {
            Some(api_type) => self.check_scopes(api_type, &scopes, &mut found),
            None => None,
        };
        let expires_at = found.optional(request.expires_at).flatten();
        check_expiry(expires_at, now, &mut found);
        let (Some(name), Some(api_type), Some(scopes), true) =
            (name, api_type, scopes, found.is_empty())
        else {
            return Err(found.into_error());
        };
        let limit = self.limit();
        let refused = |error| match error {
            CallError::Store(StoreError::LimitReached) => ManageError::LimitReached { limit },
            other => other.into(),
        };
        // INVARIANT: nothing is hashed that will be refused. Only who wins a race is left to `insert`.
        let creating = self.store_work().creating(admin.tenant()).await?;
        let look = self.store().may_insert(admin.tenant(), &name, limit);
        self.call_store(admin.tenant(), Side::Admins, look)
            .await
            .map_err(refused)?;

        self.before_signing().await?;
        let (client_secret, selector) = ClientSecret::generate(
            self.prefix(),
            self.environment(),
            self.keyring(),
            self.entropy(),
        );
        let hash = self
            .verifier()
            .hash(admin.tenant(), &client_secret)
            .await
            .map_err(|error| match error {
                VerifyError::Overloaded { retry_after } => ManageError::RateLimited { retry_after },
                error => ManageError::Hash(error),
            })?;
        let credential = Credential {
            id: CredentialId::random(self.entropy()),
            tenant: admin.tenant().clone(),
            name,
            api_type: api_type.id().clone(),
            client_id: ClientId::generate(self.prefix(), self.environment(), self.entropy()),
            environment: self.environment(),
            scopes,
            created_at: now,
            created_by: admin.id().clone(),
            expires_at,
            revoked: None,
            version: 1,
            tokens_valid_from: None,
            last_used_at: None,
            secrets: vec![StoredSecret {
                selector,
                hash,
                created_at: now,
                expires_at: None,
                last_used_at: None,
            }],
        };
        let details = Details::Created {
            name: credential.name.as_str(),
            api_type: credential.api_type.as_str(),
            client_id: credential.client_id.as_str(),
            scopes: &credential.scopes,
            expires_at: credential.expires_at.map(|at| at.to_string()),
        };
        let event = self.event(admin, &credential, &details).await?;
        let insert = self.store().insert(NewCredential {
            credential: credential.clone(),
            limit,
            event,
        });
        let committed = self
            .call_store_again(admin.tenant(), Side::Admins, insert)
            .await
            .map_err(refused)?;
        drop(creating);
        self.states().own_change(credential.id, committed.change);
        self.states().confirm(committed.change).await?;
        Ok(Created {
            credential,
            client_secret,
        })
    }

    /// One credential of the admin's tenant, also a revoked one.
    ///
    /// # Errors
    /// `NotFound`, `RateLimited`, `Store`.
    pub async fn get(
        &self,
        admin: &TenantAdmin,
        id: CredentialId,
    ) -> Result<Credential, ManageError> {
        let found = self.store().get(admin.tenant(), id);
        self.call_store(admin.tenant(), Side::Admins, found)
            .await?
            .ok_or(ManageError::NotFound)
    }

    /// Whether one more request of the tenant's admins would find room now; every use case asks by
    /// itself. For who wants to refuse a request before reading it.
    ///
    /// # Errors
    /// `RateLimited`.
    pub fn check_room(&self, admin: &TenantAdmin) -> Result<(), ManageError> {
        Ok(self.room_for_admins(admin.tenant())?)
    }

    /// A page of the tenant's credentials, newest first.
    ///
    /// `limit` is brought into 1…[`MAX_PAGE`].
    ///
    /// # Errors
    /// `RateLimited`, `Store`.
    pub async fn list(
        &self,
        admin: &TenantAdmin,
        query: ListQuery,
    ) -> Result<Page<Credential, ListPosition>, ManageError> {
        let limit = query.limit.clamp(1, MAX_PAGE);
        let one_more = ListQuery {
            limit: limit + 1,
            ..query
        };
        let items = self.store().list(admin.tenant(), &one_more);
        let items = self.call_store(admin.tenant(), Side::Admins, items).await?;
        Ok(page(items, limit, |credential| ListPosition {
            created_at: credential.created_at,
            id: credential.id,
        }))
    }

    /// Renames a credential or moves its expiry. Changing nothing is allowed and leaves the
    /// version as it is.
    ///
    /// # Errors
    /// `NotFound`, `SelfServiceUnavailable`, `Revoked`, `VersionRequired`, `StaleVersion`,
    /// `ApiTypeImmutable`, `Invalid`, `NameTaken`, `RateLimited`, `Store`.
    pub async fn update(
        &self,
        admin: &TenantAdmin,
        id: CredentialId,
        expected: Option<&Expected>,
        request: UpdateCredential,
    ) -> Result<Credential, ManageError> {
        let before = self.editable(admin, id, expected).await?;
        let mut found = Findings::new(request.incomplete);
        let name = found.optional(request.name);
        let name = name.and_then(|name| check_name(&name, &mut found));
        // Why only a new expiry: saving a form unchanged must work on an expired credential.
        let expires_at = found.optional(request.expires_at);
        let expires_at = expires_at.filter(|at| *at != before.expires_at);
        check_expiry(expires_at.flatten(), self.clock().now(), &mut found);
        if changes_api_type(&request.api_type, &before) {
            return Err(found.into_immutable());
        }
        if !found.is_empty() {
            return Err(found.into_error());
        }

        let name = name.filter(|name| *name != before.name);
        let mut events = Vec::new();
        if let Some(name) = &name {
            let details = Details::Renamed {
                name: name.as_str(),
                name_before: before.name.as_str(),
            };
            events.push(self.event(admin, &before, &details).await?);
        }
        if let Some(expires_at) = expires_at {
            let details = Details::ExpiryChanged {
                expires_at: expires_at.map(|at| at.to_string()),
                expires_at_before: before.expires_at.map(|at| at.to_string()),
            };
            events.push(self.event(admin, &before, &details).await?);
        }
        if events.is_empty() {
            return Ok(before);
        }
        let edit = Edit {
            tenant: admin.tenant().clone(),
            id,
            expected_version: before.version,
            name,
            expires_at,
            scopes: None,
            events,
        };
        Ok(self.commit(edit).await?.credential)
    }

    /// Changes what a credential may do, at once for every token that it has. Setting what it
    /// already holds leaves the version as it is.
    ///
    /// # Errors
    /// `NotFound`, `SelfServiceUnavailable`, `Revoked`, `VersionRequired`, `StaleVersion`,
    /// `ApiTypeImmutable`, `Invalid`, `RateLimited`, `Store`.
    pub async fn set_scopes(
        &self,
        admin: &TenantAdmin,
        id: CredentialId,
        expected: Option<&Expected>,
        request: SetScopes,
    ) -> Result<Changed, ManageError> {
        let before = self.editable(admin, id, expected).await?;
        let mut found = Findings::new(request.incomplete);
        let api_type = self.check_api_type(before.api_type.as_str(), &mut found);
        let choice = found.required(request.choice, "scopes", "name scopes or choose a preset");
        let scopes = match (&api_type, choice) {
            (Some(api_type), Some(ScopeChoice::Named(names))) => {
                self.check_new_scopes(api_type, &before, &names, &mut found)
            }
            (Some(api_type), Some(ScopeChoice::ReadOnly)) => {
                refuse_unknown(api_type, &before, &mut found);
                Some(owned_names(api_type, &api_type.read_only()))
            }
            _ => None,
        };
        if changes_api_type(&request.api_type, &before) {
            return Err(found.into_immutable());
        }
        let (Some(scopes), true) = (scopes, found.is_empty()) else {
            return Err(found.into_error());
        };
        if scopes == before.scopes {
            return self.already_in_effect(before).await;
        }
        let details = Details::ScopesChanged {
            scopes: &scopes,
            scopes_before: &before.scopes,
        };
        let event = self.event(admin, &before, &details).await?;
        self.commit(Edit {
            tenant: admin.tenant().clone(),
            id,
            expected_version: before.version,
            name: None,
            expires_at: None,
            scopes: Some(scopes),
            events: vec![event],
        })
        .await
    }

    /// Ends a credential, all its secrets and all its tokens, for good. A repeat keeps the first
    /// revocation. Also where self-service is off: what takes away stays possible.
    ///
    /// # Errors
    /// `NotFound`, `StaleVersion` (only if a version is expected), `RateLimited`, `Store`.
    pub async fn revoke(
        &self,
        admin: &TenantAdmin,
        id: CredentialId,
        expected: Option<&Expected>,
    ) -> Result<Changed, ManageError> {
        let before = self.get(admin, id).await?;
        // Also for a repeat it is the store that decides: what was read just now may come from a
        // server that lost its place to another, where the revocation never came.
        let expected_version = match expected {
            None | Some(Expected::Any) => None,
            Some(_) if before.revoked.is_some() => None,
            Some(expected) if expected.allows(before.version) => Some(before.version),
            Some(_) => return Err(ManageError::StaleVersion),
        };
        let revocation = Revocation {
            at: self.clock().now(),
            by: admin.id().clone(),
        };
        let details = Details::Revoked {
            name: before.name.as_str(),
            client_id: before.client_id.as_str(),
        };
        let event = self.event(admin, &before, &details).await?;
        let revoke = self.store().revoke(Revoke {
            tenant: admin.tenant().clone(),
            id,
            expected_version,
            at: revocation.at,
            by: revocation.by,
            event,
        });
        let committed = self
            .call_store(admin.tenant(), Side::Admins, revoke)
            .await?;
        self.in_effect(committed).await
    }

    /// A page of the tenant's audit trail, newest first, also with rows that cannot be read.
    ///
    /// `limit` is brought into 1…[`MAX_PAGE`].
    ///
    /// # Errors
    /// `RateLimited`, `Store`.
    pub async fn audit_events(
        &self,
        admin: &TenantAdmin,
        query: AuditQuery,
    ) -> Result<Page<StoredRow, u64>, ManageError> {
        let limit = query.limit.clamp(1, MAX_PAGE);
        let one_more = AuditQuery {
            limit: limit + 1,
            ..query
        };
        let items = self.store().audit_events(admin.tenant(), &one_more);
        let items = self.call_store(admin.tenant(), Side::Admins, items).await?;
        Ok(page(items, limit, StoredRow::seq))
    }

    fn require_self_service(&self) -> Result<(), ManageError> {
        if self.self_service() {
            Ok(())
        } else {
            Err(ManageError::SelfServiceUnavailable)
        }
    }

    /// The credential, if it may be edited by who expects such a version.
    async fn editable(
        &self,
        admin: &TenantAdmin,
        id: CredentialId,
        expected: Option<&Expected>,
    ) -> Result<Credential, ManageError> {
        let credential = self.get(admin, id).await?;
        self.require_self_service()?;
        if credential.status(self.clock().now()) == Status::Revoked {
            return Err(ManageError::Revoked);
        }
        match expected {
            None => Err(ManageError::VersionRequired),
            Some(expected) if expected.allows(credential.version) => Ok(credential),
            Some(_) => Err(ManageError::StaleVersion),
        }
    }

    async fn commit(&self, edit: Edit) -> Result<Changed, ManageError> {
        let tenant = edit.tenant.clone();
        let replace = self.store().replace(edit);
        let committed = self.call_store(&tenant, Side::Admins, replace).await?;
        self.in_effect(committed).await
    }

    /// When a change that is committed is in effect on every node. On this one it is at once.
    async fn in_effect(&self, committed: Committed<Credential>) -> Result<Changed, ManageError> {
        let Committed { value, change } = committed;
        self.states().own_change(value.id, change);
        let bound = self.states().confirm(change).await?;
        Ok(self.changed(value, bound))
    }

    /// When what a credential is already like is in effect on every node. Nothing was committed, so
    /// nothing is promised unless the change log confirms what was read.
    async fn already_in_effect(&self, credential: Credential) -> Result<Changed, ManageError> {
        let (same, bound) = self.states().confirm_version(&credential).await?;
        if !same {
            return Err(ManageError::StaleVersion);
        }
        Ok(self.changed(credential, bound))
    }

    fn changed(&self, credential: Credential, bound: Duration) -> Changed {
        Changed {
            credential,
            effective_everywhere_at: self.clock().now().saturating_add(bound),
        }
    }

    fn check_api_type(&self, id: &str, found: &mut Findings) -> Option<Arc<ApiType>> {
        let api_type = self.catalog().api_type(id);
        if api_type.is_none() {
            let known: Vec<_> = self
                .catalog()
                .api_types()
                .iter()
                .map(|api_type| format!("`{}`", api_type.id()))
                .collect();
            let message = format!("no such API type; there are {}", known.join(", "));
            found.add("api_type", "unknown_api_type", message);
        }
        api_type.cloned()
    }

    fn check_scopes(
        &self,
        api_type: &ApiType,
        names: &[String],
        found: &mut Findings,
    ) -> Option<Vec<String>> {
        let parsed = self
            .catalog()
            .parse_scopes(api_type, names.iter().map(String::as_str))
            .and_then(|set| api_type.check(&set).map(|()| set));
        match parsed {
            Ok(set) => Some(owned_names(api_type, &set)),
            Err(wrong) => {
                for ScopeFault { code, message, .. } in wrong {
                    found.add("scopes", code, message);
                }
                None
            }
        }
    }

    /// As [`check_scopes`](Self::check_scopes), for a credential that may hold what this node's
    /// catalogue does not list, because another version of it is in use elsewhere: that may stay. It
    /// confers nothing here.
    fn check_new_scopes(
        &self,
        api_type: &ApiType,
        before: &Credential,
        names: &[String],
        found: &mut Findings,
    ) -> Option<Vec<String>> {
        let held: BTreeSet<&String> = before.scopes.iter().collect();
        if names.iter().collect::<BTreeSet<_>>() == held {
            // What was read may be written back, whatever the catalogue has become.
            return Some(before.scopes.clone());
        }
        let (kept, chosen): (Vec<_>, Vec<_>) = names
            .iter()
            .cloned()
            .partition(|name| held.contains(name) && api_type.scope(name).is_none());
        let mut scopes = self.check_scopes(api_type, &chosen, found)?;
        scopes.extend(kept);
        scopes.sort_unstable();
        scopes.dedup();
        Some(scopes)
    }

    async fn event(
        &self,
        admin: &TenantAdmin,
        credential: &Credential,
        details: &Details<'_>,
    ) -> Result<Event, StoreError> {
        Ok(Event::new(
            self.signer().await?,
            self.clock().now(),
            admin.id(),
            admin.tenant(),
            Subject::Credential(credential.id),
            details,
        ))
    }
}

fn owned_names(api_type: &ApiType, set: &crate::catalog::ScopeSet) -> Vec<String> {
    api_type.names(set).into_iter().map(str::to_owned).collect()
}

/// Whether a scope writes is for the catalogue to say: one that it does not list is not kept as a read
/// scope and not dropped unasked either.
fn refuse_unknown(api_type: &ApiType, before: &Credential, found: &mut Findings) {
    let unknown = before
        .scopes
        .iter()
        .filter(|name| api_type.scope(name).is_none());
    for name in unknown {
        let message = format!(
            "`{}` is not known to this version, which cannot tell whether it is read-only: take it away \
             by name first, by setting a list without it",
            name.escape_debug()
        );
        found.add("scopes", "unknown_scope", message);
    }
}

fn check_name(name: &str, found: &mut Findings) -> Option<CredentialName> {
    CredentialName::new(name)
        .map_err(|error| {
            let code = match error {
                NameError::Required => "required",
                NameError::TooLong => "too_long",
                NameError::ForbiddenCharacter | NameError::Invisible => "forbidden_character",
            };
            found.add("name", code, error.to_string());
        })
        .ok()
}

fn check_expiry(at: Option<Timestamp>, now: Timestamp, found: &mut Findings) {
    if at.is_some_and(|at| at <= now) {
        let message = "choose a time in the future, or none";
        found.add("expires_at", "in_the_past", message);
    }
}

/// Naming the API type that the credential has is no change of it.
fn changes_api_type(named: &Field<String>, before: &Credential) -> bool {
    match named {
        Field::Absent => false,
        Field::Unreadable => true,
        Field::Value(id) => id != before.api_type.as_str(),
    }
}

/// Cuts the one item too many that says whether there is a next page.
fn page<T, P>(mut items: Vec<T>, limit: usize, position: impl Fn(&T) -> P) -> Page<T, P> {
    let more = items.len() > limit;
    items.truncate(limit);
    let next = if more {
        items.last().map(position)
    } else {
        None
    };
    Page { items, next }
}
