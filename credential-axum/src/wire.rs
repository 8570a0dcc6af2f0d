//! The JSON that the admin API sends: the only `Serialize` types of this crate beside OAuth's.
//!
//! Times are RFC 3339 in UTC; what is absent is `null`, not missing.

use std::fmt::Write as _;

use axum::body::Bytes;
use credential_core::{
    ScopeCatalog,
    audit::AuditEvent,
    catalog::{ApiType, Category, Resource, Scope, ScopeIndex, ScopeKind},
    clock::Timestamp,
    credential::StoredSecret,
    manage::{self, Changed, Created},
};
use serde::Serialize;
use serde_json::value::RawValue;
use zeroize::Zeroizing;

/// The body of a refusal (RFC 9457).
#[derive(Serialize)]
pub(crate) struct Problem<'a> {
    pub(crate) r#type: String,
    pub(crate) title: &'a str,
    pub(crate) status: u16,
    pub(crate) detail: &'a str,
    pub(crate) code: &'a str,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) errors: Vec<Fault<'a>>,
}

/// A field and what is wrong with it.
#[derive(Serialize)]
pub(crate) struct Fault<'a> {
    field: &'a str,
    code: &'a str,
    message: &'a str,
}

impl<'a> From<&'a manage::Fault> for Fault<'a> {
    fn from(fault: &'a manage::Fault) -> Self {
        Self {
            field: &fault.field,
            code: fault.code,
            message: &fault.message,
        }
    }
}

/// One page of a list.
#[derive(Serialize)]
pub(crate) struct Page<T> {
    pub(crate) items: Vec<T>,
    pub(crate) next_cursor: Option<String>,
}

/// A credential as admins see it: never a secret, never a hash.
#[derive(Serialize)]
pub(crate) struct Credential<'a> {
    id: String,
    name: &'a str,
    api_type: &'a str,
    client_id: &'a str,
    environment: &'a str,
    scopes: &'a [String],
    status: &'a str,
    created_at: String,
    created_by: &'a str,
    expires_at: Option<String>,
    revoked_at: Option<String>,
    revoked_by: Option<&'a str>,
    last_used_at: Option<String>,
    version: u64,
    secrets: Vec<Secret<'a>>,
}

impl<'a> Credential<'a> {
    pub(crate) fn at(
        now: Timestamp,
        credential: &'a credential_core::credential::Credential,
    ) -> Self {
        Self {
            id: credential.id.to_string(),
            name: credential.name.as_str(),
            api_type: credential.api_type.as_str(),
            client_id: credential.client_id.as_str(),
            environment: credential.environment.as_str(),
            scopes: &credential.scopes,
            status: credential.status(now).as_str(),
            created_at: credential.created_at.to_string(),
            created_by: credential.created_by.as_str(),
            expires_at: text(credential.expires_at),
            revoked_at: text(credential.revoked.as_ref().map(|revoked| revoked.at)),
            revoked_by: credential
                .revoked
                .as_ref()
                .map(|revoked| revoked.by.as_str()),
            last_used_at: text(credential.last_used_at),
            version: credential.version,
            secrets: credential.live_secrets(now).map(Secret::from).collect(),
        }
    }
}

/// What is known of a live secret beside the secret.
#[derive(Serialize)]
struct Secret<'a> {
    selector: &'a str,
    created_at: String,
    expires_at: Option<String>,
    last_used_at: Option<String>,
}

impl<'a> From<&'a StoredSecret> for Secret<'a> {
    fn from(secret: &'a StoredSecret) -> Self {
        Self {
            selector: secret.selector.as_str(),
            created_at: secret.created_at.to_string(),
            expires_at: text(secret.expires_at),
            last_used_at: text(secret.last_used_at),
        }
    }
}

/// The answer to a change of what checks say.
#[derive(Serialize)]
pub(crate) struct Effective<'a> {
    credential: Credential<'a>,
    effective_everywhere_at: String,
}

impl<'a> Effective<'a> {
    pub(crate) fn at(now: Timestamp, changed: &'a Changed) -> Self {
        Self {
            credential: Credential::at(now, &changed.credential),
            effective_everywhere_at: changed.effective_everywhere_at.to_string(),
        }
    }
}

/// `{"credential":{…},"client_secret":"…"}`: the one body that holds a secret, wiped once it was
/// sent.
pub(crate) fn created(now: Timestamp, created: &Created) -> serde_json::Result<Bytes> {
    let credential = serde_json::to_vec(&Credential::at(now, &created.credential))?;
    let secret = created.client_secret.expose_secret();
    // Why by hand: sized for the worst escaping, the buffer never moves and leaves no copy.
    let room = credential.len() + secret.len() * 6 + 64;
    let mut body = Zeroizing::new(Vec::with_capacity(room));
    body.extend_from_slice(b"{\"credential\":");
    body.extend_from_slice(&credential);
    body.extend_from_slice(b",\"client_secret\":");
    serde_json::to_writer(&mut *body, secret)?;
    body.push(b'}');
    Ok(Bytes::from_owner(body))
}

/// One row of the audit trail.
#[derive(Serialize)]
pub(crate) struct Event<'a> {
    seq: u64,
    at: String,
    actor: &'a str,
    action: &'a str,
    credential_id: Option<String>,
    /// To the byte as stored, because the hash covers it.
    details: Option<&'a RawValue>,
    hash: String,
}

impl<'a> From<&'a AuditEvent> for Event<'a> {
    fn from(event: &'a AuditEvent) -> Self {
        Self {
            seq: event.seq,
            at: event.at.to_string(),
            actor: event.actor.as_str(),
            action: event.action.as_str(),
            credential_id: event.subject.credential().map(|id| id.to_string()),
            details: serde_json::from_str(&event.details).ok(),
            hash: hex(&event.hash),
        }
    }
}

/// Everything that can be chosen.
#[derive(Serialize)]
pub(crate) struct Catalog<'a> {
    api_types: Vec<CatalogApiType<'a>>,
}

impl<'a> From<&'a ScopeCatalog> for Catalog<'a> {
    fn from(catalog: &'a ScopeCatalog) -> Self {
        let api_types = catalog.api_types().iter();
        Self {
            api_types: api_types
                .map(|api_type| CatalogApiType::from(&**api_type))
                .collect(),
        }
    }
}

#[derive(Serialize)]
struct CatalogApiType<'a> {
    id: &'a str,
    label: &'a str,
    description: &'a str,
    full_access_scope: Option<&'a str>,
    additional_scopes: Vec<AdditionalScope<'a>>,
    categories: Vec<CatalogCategory<'a>>,
}

impl<'a> From<&'a ApiType> for CatalogApiType<'a> {
    fn from(api_type: &'a ApiType) -> Self {
        Self {
            id: api_type.id().as_str(),
            label: api_type.label(),
            description: api_type.description(),
            full_access_scope: api_type.full_access().map(|scope| scope.name.as_str()),
            additional_scopes: api_type.scopes().filter_map(AdditionalScope::of).collect(),
            categories: api_type
                .categories()
                .iter()
                .map(|category| CatalogCategory::of(api_type, category))
                .collect(),
        }
    }
}

/// A scope that belongs to no category.
#[derive(Serialize)]
struct AdditionalScope<'a> {
    scope: &'a str,
    description: &'a str,
    kind: &'a str,
}

impl<'a> AdditionalScope<'a> {
    fn of(scope: &'a Scope) -> Option<Self> {
        let kind = match scope.kind {
            ScopeKind::FullAccess => "full_access",
            ScopeKind::OnBehalfOf => "on_behalf_of",
            ScopeKind::Resource | ScopeKind::Wildcard => return None,
        };
        Some(Self {
            scope: &scope.name,
            description: &scope.description,
            kind,
        })
    }
}

#[derive(Serialize)]
struct CatalogCategory<'a> {
    id: &'a str,
    label: &'a str,
    resources: Vec<CatalogResource<'a>>,
}

impl<'a> CatalogCategory<'a> {
    fn of(api_type: &'a ApiType, category: &'a Category) -> Self {
        Self {
            id: &category.id,
            label: &category.label,
            resources: category
                .resources
                .iter()
                .map(|resource| CatalogResource::of(api_type, resource))
                .collect(),
        }
    }
}

#[derive(Serialize)]
struct CatalogResource<'a> {
    id: &'a str,
    label: &'a str,
    wildcard: bool,
    read: Option<CatalogScope<'a>>,
    write: Option<CatalogScope<'a>>,
}

impl<'a> CatalogResource<'a> {
    fn of(api_type: &'a ApiType, resource: &'a Resource) -> Self {
        let scope = |index: Option<ScopeIndex>| {
            let scope = api_type.scope_at(index?)?;
            Some(CatalogScope {
                scope: &scope.name,
                description: &scope.description,
            })
        };
        Self {
            id: &resource.id,
            label: &resource.label,
            wildcard: resource.wildcard,
            read: scope(resource.read),
            write: scope(resource.write),
        }
    }
}

#[derive(Serialize)]
struct CatalogScope<'a> {
    scope: &'a str,
    description: &'a str,
}

fn text(at: Option<Timestamp>) -> Option<String> {
    at.map(|at| at.to_string())
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        // Writing to a `String` cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}
