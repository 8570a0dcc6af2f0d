//! The JSON of credentials.
//!
//! Times are RFC 3339 in UTC. An absent value is `null`, not left out.

use credential_core::{
    ScopeCatalog,
    clock::Timestamp,
    credential::{Credential, StoredSecret},
    manage::{Changed, Created, ScopeCounts, Summary},
    secret::ClientSecret,
};
#[cfg(feature = "openapi")]
use credential_core::{credential::Status, id::Environment};
use serde::Serialize;
use zeroize::Zeroizing;

use super::proof_json::{ShownKey, ShownProofs, ShownWorkload};

/// A credential as admins see it: never a secret, never a hash.
#[derive(Serialize)]
#[cfg_attr(
    feature = "openapi",
    derive(schemars::JsonSchema),
    schemars(rename = "Credential")
)]
pub(super) struct ShownCredential<'a> {
    /// 32 lowercase hexadecimal digits.
    id: String,
    /// What admins call it.
    name: &'a str,
    /// A note of the admins; empty if there is none.
    description: &'a str,
    /// The `id` of an API type in `GET /catalog`.
    api_type: &'a str,
    /// What the client names itself by, at the token endpoint.
    client_id: &'a str,
    /// `sandbox` or `production`.
    #[cfg_attr(
        feature = "openapi",
        schemars(extend("enum" = Environment::ALL.map(Environment::as_str)))
    )]
    environment: &'a str,
    /// What it may do, sorted.
    #[serde(skip_serializing_if = "Option::is_none")]
    scopes: Option<&'a [String]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    scope_counts: Option<ShownCounts>,
    /// Whether it holds the scope of its API type that stands for all of them.
    #[serde(skip_serializing_if = "Option::is_none")]
    full_access: Option<bool>,
    /// The first that is true of `revoked`, `expired`, `disabled`, `active`.
    #[cfg_attr(feature = "openapi", schemars(extend("enum" = STATUSES)))]
    status: &'a str,
    created_at: String,
    /// Who created it, as the host's sign-in names them.
    created_by: &'a str,
    /// From then on it is refused; `null`: never.
    expires_at: Option<String>,
    /// Since when it is disabled; `null` while it is not.
    disabled_at: Option<String>,
    /// When it was revoked, for good; `null` while it is not.
    revoked_at: Option<String>,
    revoked_by: Option<&'a str>,
    /// When a token was last issued or a call last allowed, at most 10 s late.
    last_used_at: Option<String>,
    /// Counts the changes, not the use. The `ETag` is made of it.
    version: u64,
    /// The networks that it may be used from, in canonical CIDR notation; none: from everywhere.
    allowed_networks: Vec<String>,
    /// The live secrets, and those that have ended within 30 days.
    secrets: Vec<ShownSecret<'a>>,
    jwks_uri: Option<&'a str>,
    keys: Vec<ShownKey<'a>>,
    workloads: Vec<ShownWorkload<'a>>,
}

/// The words of `status`, the first that applies first.
#[cfg(feature = "openapi")]
const STATUSES: [&str; 4] = [
    Status::Revoked.as_str(),
    Status::Expired.as_str(),
    Status::Disabled.as_str(),
    Status::Active.as_str(),
];

impl<'a> ShownCredential<'a> {
    pub(super) fn at(now: Timestamp, credential: &'a Credential) -> Self {
        let ShownProofs {
            jwks_uri,
            keys,
            workloads,
        } = ShownProofs::of(credential);
        Self {
            id: credential.identity.id.to_string(),
            name: credential.settings.name.as_str(),
            description: credential.settings.description.as_str(),
            api_type: credential.identity.api_type.as_str(),
            client_id: credential.identity.client_id.as_str(),
            environment: credential.identity.environment.as_str(),
            scopes: Some(&credential.settings.scopes),
            scope_counts: None,
            full_access: None,
            status: credential.status(now).as_str(),
            created_at: credential.identity.created_at.to_string(),
            created_by: credential.identity.created_by.as_str(),
            expires_at: text(credential.settings.expires_at),
            disabled_at: text(credential.settings.disabled_at),
            revoked_at: text(credential.revoked.as_ref().map(|revoked| revoked.at)),
            revoked_by: credential
                .revoked
                .as_ref()
                .map(|revoked| revoked.by.as_str()),
            last_used_at: text(credential.observed.last_used_at),
            version: credential.version,
            allowed_networks: credential.settings.allowed_networks.texts().collect(),
            secrets: credential
                .listed_secrets(now)
                .map(ShownSecret::from)
                .collect(),
            jwks_uri,
            keys,
            workloads,
        }
    }
}

impl<'a> ShownCredential<'a> {
    /// With the scopes counted, not listed; and whether full access is among the broad ones.
    pub(super) fn summary(now: Timestamp, catalog: &ScopeCatalog, summary: &'a Summary) -> Self {
        let credential = &summary.credential;
        let api_type = catalog.api_type(credential.identity.api_type.as_str());
        let full = api_type.and_then(|api_type| api_type.full_access());
        let full = full.is_some_and(|full| credential.settings.scopes.contains(&full.name));
        let whole = Self::at(now, &summary.credential);
        Self {
            scopes: None,
            scope_counts: Some(summary.scopes.into()),
            full_access: Some(full),
            keys: whole.keys.into_iter().map(ShownKey::in_a_list).collect(),
            ..whole
        }
    }
}

/// Scopes, counted.
#[derive(Serialize)]
#[cfg_attr(
    feature = "openapi",
    derive(schemars::JsonSchema),
    schemars(rename = "ScopeCounts")
)]
struct ShownCounts {
    /// Those that only read.
    read: usize,
    /// Those that write.
    write: usize,
    /// Those that reach beyond one resource.
    broad: usize,
    /// Those without an allowed call in 30 days; `null` where use is not kept.
    unused_30d: Option<usize>,
}

impl From<ScopeCounts> for ShownCounts {
    fn from(counts: ScopeCounts) -> Self {
        Self {
            read: counts.read,
            write: counts.write,
            broad: counts.broad,
            unused_30d: counts.unused,
        }
    }
}

/// The public facts about a secret that is live, or ended lately.
#[derive(Serialize)]
#[cfg_attr(
    feature = "openapi",
    derive(schemars::JsonSchema),
    schemars(rename = "Secret")
)]
pub(super) struct ShownSecret<'a> {
    /// Names it, and is no secret.
    selector: &'a str,
    created_at: String,
    /// When it ends or has ended; `null`: with the credential.
    expires_at: Option<String>,
    last_used_at: Option<String>,
}

impl<'a> From<&'a StoredSecret> for ShownSecret<'a> {
    fn from(secret: &'a StoredSecret) -> Self {
        Self {
            selector: secret.selector.as_str(),
            created_at: secret.created_at.to_string(),
            expires_at: text(secret.ends_at()),
            last_used_at: text(secret.last_used_at),
        }
    }
}

/// The answer to a change that checks depend on.
#[derive(Serialize)]
#[cfg_attr(
    feature = "openapi",
    derive(schemars::JsonSchema),
    schemars(rename = "Change")
)]
pub(super) struct ShownChange<'a> {
    credential: ShownCredential<'a>,
    /// From then on no node answers from before the change, whatever breaks.
    effective_everywhere_at: String,
}

impl<'a> ShownChange<'a> {
    pub(super) fn at(now: Timestamp, changed: &'a Changed) -> Self {
        Self {
            credential: ShownCredential::at(now, &changed.credential),
            effective_everywhere_at: changed.effective_everywhere_at.to_string(),
        }
    }
}

/// `{"credential":{…},"client_secret":"…"}`; `null` without a secret.
pub(super) fn created_body(now: Timestamp, created: &Created) -> Zeroizing<String> {
    let credential = ShownCredential::at(now, &created.credential);
    with_secret(
        "credential",
        &credential,
        created.client_secret.as_ref(),
        "}",
    )
}

/// `{"secret":{…},"client_secret":"…"`, to be ended by [`in_effect_from`].
pub(super) fn new_secret_body(
    stored: Option<&StoredSecret>,
    secret: &ClientSecret,
) -> Zeroizing<String> {
    with_secret("secret", &stored.map(ShownSecret::from), Some(secret), "")
}

/// The body with `,"effective_everywhere_at":"…"}` behind it.
pub(super) fn in_effect_from(at: Option<Timestamp>, body: &str) -> Zeroizing<String> {
    let end = at.map_or("null".to_owned(), |at| format!("\"{at}\""));
    let parts = [body, ",\"effective_everywhere_at\":", &end, "}"];
    // Sized once: growing would leave a copy that is not wiped.
    let mut whole = Zeroizing::new(String::with_capacity(parts.map(str::len).iter().sum()));
    whole.extend(parts);
    whole
}

/// The only bodies that hold a secret, wiped once they were sent: `{"<name>":<value>,"client_secret":"…"`
/// and `end`.
fn with_secret(
    name: &str,
    value: &impl Serialize,
    secret: Option<&ClientSecret>,
    end: &str,
) -> Zeroizing<String> {
    const WRITES: &str = "values of these types are JSON, and memory takes them";
    let value = serde_json::to_vec(value).expect(WRITES);
    let secret = secret.map(ClientSecret::expose_secret);
    // Why by hand: sized for the worst escaping, the buffer never moves and leaves no copy.
    let room = name.len() + value.len() + secret.map_or(0, str::len) * 6 + end.len() + 64;
    let mut body = Zeroizing::new(Vec::with_capacity(room));
    body.extend_from_slice(b"{\"");
    body.extend_from_slice(name.as_bytes());
    body.extend_from_slice(b"\":");
    body.extend_from_slice(&value);
    body.extend_from_slice(b",\"client_secret\":");
    serde_json::to_writer(&mut *body, &secret).expect(WRITES);
    body.extend_from_slice(end.as_bytes());
    Zeroizing::new(String::from_utf8(std::mem::take(&mut *body)).expect("JSON is UTF-8"))
}

pub(super) fn text(at: Option<Timestamp>) -> Option<String> {
    at.map(|at| at.to_string())
}
