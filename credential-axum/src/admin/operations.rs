//! What a document says of each route of the admin API.

use http::Method;
use serde_json::{Map, Value, json};

use super::{
    audit::ShownEvent,
    catalog::ShownCatalog,
    credential_json::{ShownChange, ShownCredential, ShownSecret},
    paging::ListPage,
    policy::Policy,
    revoke::AllRevoked,
    usage::{Preview, Refusals, ShownUsage},
};
use crate::openapi::{IfMatch, Operation, Schemas};

const DEPLOYMENT: &str = "Deployment";
const CREDENTIALS: &str = "Credentials";
const SECRETS: &str = "Secrets";
const USE: &str = "Use";

/// The groups of the operations, and what each is about.
pub(crate) const TAGS: &[(&str, &str)] = &[
    (CREDENTIALS, "Credentials of the signed-in admin's tenant."),
    (
        SECRETS,
        "What proves a client: secrets, of which at most two are live, public keys and trusted workloads.",
    ),
    (
        USE,
        "How credentials are used, why they are refused, and who changed them.",
    ),
    (
        DEPLOYMENT,
        "What can be chosen, and what this deployment allows.",
    ),
];

fn change(schemas: &mut Schemas) -> Value {
    schemas.of::<ShownChange<'_>>()
}

fn credential(schemas: &mut Schemas) -> Value {
    schemas.of::<ShownCredential<'_>>()
}

/// The one answer that holds a secret, with what it belongs to.
fn with_secret(
    schemas: &mut Schemas,
    name: &str,
    mut members: Value,
    kind: &Value,
    meaning: &str,
) -> Value {
    members["client_secret"] = json!({
        "type": kind,
        "description": format!("Shown in this answer only. Only its hash is kept.{meaning}"),
    });
    let required: Vec<_> = members
        .as_object()
        .into_iter()
        .flat_map(Map::keys)
        .collect();
    let schema = json!({"type": "object", "required": required, "properties": members});
    schemas.put(name, schema)
}

/// An operation on one credential that answers as most do, to begin from.
fn operation(method: Method, path: &'static str, id: &'static str) -> Operation {
    Operation {
        method,
        path,
        id,
        tag: CREDENTIALS,
        summary: "",
        description: "",
        body: None,
        body_optional: false,
        if_match: IfMatch::No,
        once: false,
        status: 200,
        answer: change,
        headers: &[],
        refusals: &[],
    }
}

/// One for each of [`ADMIN_ROUTES`](super::ADMIN_ROUTES).
#[expect(clippy::too_many_lines, reason = "a table")]
pub(crate) fn operations() -> Vec<Operation> {
    use Method as M;
    vec![
        Operation {
            tag: DEPLOYMENT,
            summary: "List the scopes that can be chosen",
            description: "Every API type with its categories, resources and scopes.",
            answer: |schemas| schemas.of::<ShownCatalog<'_>>(),
            ..operation(M::GET, "/catalog", "getCatalog")
        },
        Operation {
            tag: DEPLOYMENT,
            summary: "Say what this deployment allows",
            description: "The bounds of an admin's choices, and where the request comes from.",
            answer: |schemas| schemas.of::<Policy>(),
            ..operation(M::GET, "/policy", "getPolicy")
        },
        Operation {
            summary: "List credentials, newest first",
            description: "Revoked ones only if they are asked for. `next_cursor` is the `cursor` of the next \
                          page. With `view=summary` each has `scope_counts` and `full_access` in place of \
                          `scopes`.",
            answer: |schemas| schemas.of::<ListPage<ShownCredential<'_>>>(),
            ..operation(M::GET, "/credentials", "listCredentials")
        },
        Operation {
            summary: "Create a credential",
            description: "The only answer that shows its secret, if it has one. Refused where self-service is off.",
            body: Some("NewCredential"),
            once: true,
            status: 201,
            answer: |schemas| {
                let members = json!({"credential": credential(schemas)});
                let none = " `null` for a credential that was created without a secret.";
                with_secret(
                    schemas,
                    "CreatedCredential",
                    members,
                    &json!(["string", "null"]),
                    none,
                )
            },
            headers: &["Location", "ETag"],
            refusals: &["self_service_unavailable", "name_taken", "limit_reached"],
            ..operation(M::POST, "/credentials", "createCredential")
        },
        Operation {
            summary: "Revoke every credential of the tenant, at once",
            description: "For a tenant whose secrets may all have leaked. `confirm` is the number of \
                          credentials that are not revoked, so that nobody ends more than they have seen.",
            body: Some("Confirmation"),
            refusals: &["stale_version"],
            answer: |schemas| schemas.of::<AllRevoked>(),
            ..operation(M::POST, "/credentials/revoke-all", "revokeAllCredentials")
        },
        Operation {
            summary: "Show a credential",
            description: "Never a secret or a hash.",
            answer: credential,
            headers: &["ETag"],
            ..operation(M::GET, "/credentials/{id}", "getCredential")
        },
        Operation {
            summary: "Change the settings of a credential",
            description: "A JSON merge patch (RFC 7396): what is left out stays. An expiry in the future \
                          revives an expired credential with its unexpired tokens.",
            body: Some("CredentialEdit"),
            if_match: IfMatch::Required,
            answer: credential,
            headers: &["ETag"],
            refusals: &[
                "self_service_unavailable",
                "revoked",
                "api_type_immutable",
                "name_taken",
            ],
            ..operation(M::PATCH, "/credentials/{id}", "updateCredential")
        },
        Operation {
            summary: "Revoke a credential, for good",
            description: "Its secrets and tokens are refused at once. A repeat gives the same answer and keeps \
                          the first `revoked_at`.",
            if_match: IfMatch::Optional,
            headers: &["ETag"],
            ..operation(M::DELETE, "/credentials/{id}", "revokeCredential")
        },
        Operation {
            summary: "Set the scopes of a credential",
            description: "Its tokens follow at once, where they may do less; a token whose request named no \
                          scope follows also where it may do more.",
            body: Some("ScopeChoice"),
            if_match: IfMatch::Required,
            headers: &["ETag"],
            refusals: &["self_service_unavailable", "revoked", "api_type_immutable"],
            ..operation(M::PUT, "/credentials/{id}/scopes", "setScopes")
        },
        Operation {
            summary: "Preview what other scopes would change",
            description: "The body of `setScopes`. Changes nothing.",
            body: Some("ScopeChoice"),
            answer: |schemas| schemas.of::<Preview>(),
            refusals: &["revoked", "api_type_immutable"],
            ..operation(M::POST, "/credentials/{id}/scopes/preview", "previewScopes")
        },
        Operation {
            tag: USE,
            summary: "Show how much a credential is used",
            description: "Calls that the guard decided on, by day and by the scope that they needed; visible \
                          within 10 s.",
            answer: |schemas| schemas.of::<ShownUsage>(),
            ..operation(M::GET, "/credentials/{id}/usage", "getUsage")
        },
        Operation {
            tag: USE,
            summary: "Show why a credential was refused",
            description: "The latest 50 of 7 days, newest first; equal ones within a minute are one. Never a \
                          path, which can name a patient.",
            answer: |schemas| schemas.of::<Refusals>(),
            ..operation(M::GET, "/credentials/{id}/refusals", "listRefusals")
        },
        Operation {
            summary: "Disable a credential",
            description: "Its secrets and tokens are refused at once, until it is enabled. A repeat is \
                          harmless.",
            if_match: IfMatch::Optional,
            headers: &["ETag"],
            refusals: &["revoked"],
            ..operation(M::POST, "/credentials/{id}/disable", "disableCredential")
        },
        Operation {
            summary: "Enable a credential",
            description: "The same secrets and unexpired tokens work again. A repeat is harmless.",
            if_match: IfMatch::Optional,
            headers: &["ETag"],
            refusals: &["self_service_unavailable", "revoked"],
            ..operation(M::POST, "/credentials/{id}/enable", "enableCredential")
        },
        Operation {
            tag: SECRETS,
            summary: "Add a secret",
            description: "The only answer that shows it. The secrets that are live now end after the overlap, \
                          with their tokens.",
            body: Some("NewSecret"),
            body_optional: true,
            status: 201,
            answer: |schemas| {
                let members = json!({
                    "secret": schemas.of::<ShownSecret<'_>>(),
                    "effective_everywhere_at": {
                        "type": "string",
                        "format": "date-time",
                        "description": "As in every change.",
                    },
                });
                with_secret(schemas, "CreatedSecret", members, &json!("string"), "")
            },
            once: true,
            headers: &["ETag"],
            refusals: &["self_service_unavailable", "revoked", "too_many_secrets"],
            ..operation(M::POST, "/credentials/{id}/secrets", "rotateSecret")
        },
        Operation {
            tag: SECRETS,
            summary: "End a secret",
            description: "With its tokens, at once. One that has ended already: the same answer. The last live \
                          one cannot be ended so.",
            headers: &["ETag"],
            refusals: &["revoked", "last_proof"],
            ..operation(
                M::DELETE,
                "/credentials/{id}/secrets/{selector}",
                "endSecret",
            )
        },
        Operation {
            tag: SECRETS,
            summary: "Set the public keys",
            description: "In the place of those that it has. Keys that stay keep their tokens; the tokens of keys \
                          that go end at once.",
            body: Some("KeySet"),
            if_match: IfMatch::Required,
            headers: &["ETag"],
            refusals: &["self_service_unavailable", "revoked", "last_proof"],
            ..operation(M::PUT, "/credentials/{id}/keys", "setKeys")
        },
        Operation {
            tag: SECRETS,
            summary: "Set the trusted workloads",
            description: "In the place of those that it has. Rules that stay keep their tokens; the tokens of \
                          rules that go end at once.",
            body: Some("Workloads"),
            if_match: IfMatch::Required,
            headers: &["ETag"],
            refusals: &["self_service_unavailable", "revoked", "last_proof"],
            ..operation(M::PUT, "/credentials/{id}/workloads", "setWorkloads")
        },
        Operation {
            tag: USE,
            summary: "List the audit trail, newest first",
            description: "Who changed what, and when. `next_cursor` is the `cursor` of the next page.",
            answer: |schemas| schemas.of::<ListPage<ShownEvent<'_>>>(),
            refusals: &["not_found"],
            ..operation(M::GET, "/audit-events", "listAuditEvents")
        },
    ]
}

/// Makes two schemas of the one type that credentials and their summaries are.
pub(crate) fn tell_summaries_apart(schemas: &mut Map<String, Value>) {
    const OF_SUMMARIES: [&str; 2] = ["scope_counts", "full_access"];
    let Some(both) = schemas.get("Credential").cloned() else {
        return;
    };
    let with = |needed: &[&str], gone: &[&str]| {
        let mut schema = both.clone();
        if let Some(Value::Object(fields)) = schema.get_mut("properties") {
            fields.retain(|name, _| !gone.contains(&name.as_str()));
        }
        if let Some(Value::Array(required)) = schema.get_mut("required") {
            required.extend(needed.iter().map(|name| json!(name)));
        }
        schema
    };
    let summary = with(&OF_SUMMARIES, &["scopes"]);
    let credential = with(&["scopes"], &OF_SUMMARIES);
    schemas.insert("CredentialSummary".to_owned(), summary);
    schemas.insert("Credential".to_owned(), credential);
    let items = schemas
        .get_mut("CredentialPage")
        .and_then(|page| page.pointer_mut("/properties/items/items"));
    if let Some(items) = items {
        let either = ["Credential", "CredentialSummary"]
            .map(|name| json!({"$ref": format!("#/components/schemas/{name}")}));
        *items = json!({"anyOf": either});
    }
}
