//! The catalogue file: TOML that describes the host's APIs, their scopes and their paths.
//!
//! ```
//! use credential_core::catalog::{Requirement, ScopeCatalog, SearchForm};
//!
//! let catalog = ScopeCatalog::from_toml(r#"
//! [[api_type]]
//! id = "payments"                # 1-32 of [a-z0-9_-], starting with a letter; never changes
//! label = "Payments API"         # shown to admins
//! description = "Move money."    # optional
//! base_path = "/v1"              # "" for the root; no trailing slash
//! token_ttl_seconds = 3600       # 60 to 86400
//! error_body = "problem"         # of refusals: also "detail" ({"detail":"…"}), "operation-outcome"
//! rules = "first-segment"        # or "fhir", or "routes-only"
//!
//! [api_type.full_access]         # optional: opens everything, also paths without a scope
//! scope = "payments.all"
//! description = "Everything"
//! excludes_resource_scopes = true   # optional: never held together with resource scopes
//!
//! [api_type.on_behalf_of]        # optional: a call may name the user it acts for
//! scope = "payments.act_as"
//! description = "Act as a named user"
//! header = "X-On-Behalf-Of"
//! format = "digits"              # or "text"
//! needs_company = true           # optional: never held alone
//!
//! [api_type.introspection]       # optional: its holder may introspect the tokens of its tenant
//! scope = "tokens.introspect"
//! description = "Ask what access tokens may do"
//!
//! [[api_type.category]]          # what the page shows together
//! id = "money"
//! label = "Money"
//!
//! [[api_type.category.resource]]
//! id = "charges"
//! label = "Charges"
//! segment = "charges"            # first path segment; optional, default the id
//! read = { scope = "charges.read", description = "View charges" }       # read, write or both
//! write = { scope = "charges.write", description = "Create charges" }
//!
//! [[api_type.category.resource]]
//! id = "*"
//! label = "All resources"
//! wildcard = true                # optional: stands for every resource; at most one
//! read = { scope = "all.read", description = "View everything" }
//!
//! [[api_type.category.resource]]
//! id = "refunds"
//! label = "Refunds"
//! write = { scope = "refunds.write", description = "Refund charges" }
//!
//! [[api_type.route]]             # where the rules do not fit; the most specific row decides
//! method = "POST"                # or "*": GET, HEAD, POST, PUT, PATCH and DELETE
//! path = "/charges/{id}/refunds" # {name}: one segment; {*name}, last: one segment or more
//! scope = "refunds.write"        # exactly one of `scope` and `public = true`
//!
//! [[api_type.route]]
//! method = "GET"                 # also covers HEAD, unless HEAD has a row of its own
//! path = "/status"
//! public = true
//! "#)?;
//!
//! let payments = catalog.api_type("payments").ok_or("listed above")?;
//! let refund = payments.requirement("POST", "/v1/charges/7/refunds", SearchForm::None)?;
//! assert_eq!(payments.describe(&refund), "refunds.write");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! Scope names are scope-tokens of RFC 6749 §3.3 of at most 128 characters, and unique in the whole
//! file. An API type lists at most 512. Unknown keys are refused. The file is checked as a whole:
//! [`CatalogError`] names every fault, except that a file which is not TOML
//! of this shape yields the first, with its line.
//!
//! A route row replaces the rules for what it matches; with `rules = "fhir"` that includes what the
//! query would need.

use std::time::Duration;

use serde::Deserialize;

use super::api_type::{ErrorBody, OnBehalfOfFormat, PathRules};
use super::build::{
    ApiTypeBuilder, CatalogBuilder, CategoryBuilder, FullAccessDef, OnBehalfOfDef, ResourceBuilder,
    RouteDef, ScopeDef,
};
use super::{CatalogError, CatalogFault, ScopeCatalog, validate};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    api_type: Vec<ApiTypeEntry>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ApiTypeEntry {
    id: String,
    label: String,
    #[serde(default)]
    description: String,
    base_path: String,
    token_ttl_seconds: u64,
    error_body: String,
    rules: String,
    full_access: Option<FullAccessEntry>,
    on_behalf_of: Option<OnBehalfOfEntry>,
    introspection: Option<ScopeEntry>,
    #[serde(default)]
    category: Vec<CategoryEntry>,
    #[serde(default)]
    route: Vec<RouteEntry>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FullAccessEntry {
    scope: String,
    description: String,
    #[serde(default)]
    excludes_resource_scopes: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct OnBehalfOfEntry {
    scope: String,
    description: String,
    header: String,
    format: String,
    #[serde(default)]
    needs_company: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct CategoryEntry {
    id: String,
    label: String,
    #[serde(default)]
    resource: Vec<ResourceEntry>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ResourceEntry {
    id: String,
    label: String,
    segment: Option<String>,
    #[serde(default)]
    wildcard: bool,
    read: Option<ScopeEntry>,
    write: Option<ScopeEntry>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ScopeEntry {
    scope: String,
    description: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RouteEntry {
    method: String,
    path: String,
    scope: Option<String>,
    public: Option<bool>,
}

/// Reads and checks a catalogue file.
pub(super) fn parse(text: &str) -> Result<ScopeCatalog, CatalogError> {
    let file: File = toml::from_str(text).map_err(|error| not_toml(text, &error))?;
    let mut faults = Vec::new();
    let api_types = file.api_type.into_iter();
    let builder = CatalogBuilder {
        api_types: api_types
            .map(|entry| api_type(entry, &mut faults))
            .collect(),
    };
    validate::catalog(&builder, faults)
}

fn not_toml(text: &str, error: &toml::de::Error) -> CatalogError {
    let start = error.span().map_or(0, |span| span.start);
    let before = text.get(..start).unwrap_or_default();
    CatalogError::new(vec![CatalogFault {
        place: format!("line {}", before.matches('\n').count() + 1),
        message: error.message().to_owned(),
    }])
}

fn api_type(entry: ApiTypeEntry, faults: &mut Vec<CatalogFault>) -> ApiTypeBuilder {
    let place = validate::api_type_place(&entry.id);
    let mut fault = |place: String, message: String| faults.push(CatalogFault { place, message });
    let rules = match entry.rules.as_str() {
        "first-segment" => PathRules::FirstSegment,
        "fhir" => PathRules::Fhir,
        "routes-only" => PathRules::RoutesOnly,
        other => {
            let other = other.escape_debug();
            fault(
                place.clone(),
                format!("rules `{other}` are not `first-segment`, `fhir` or `routes-only`"),
            );
            // Checked on as the rules that ask least, so that no fault follows from this one.
            PathRules::RoutesOnly
        }
    };
    let mut shapes = ErrorBody::ALL.into_iter();
    let error_body = shapes
        .find(|shape| shape.as_str() == entry.error_body)
        .unwrap_or_else(|| {
            let name = entry.error_body.escape_debug();
            fault(
                place.clone(),
                format!("error_body `{name}` is not `problem`, `detail` or `operation-outcome`"),
            );
            ErrorBody::default()
        });
    let on_behalf_of = entry.on_behalf_of.map(|rule| OnBehalfOfDef {
        scope: ScopeDef::new(rule.scope, rule.description),
        header: rule.header,
        format: match rule.format.as_str() {
            "digits" => OnBehalfOfFormat::Digits,
            "text" => OnBehalfOfFormat::Text,
            other => {
                let other = other.escape_debug();
                fault(
                    format!("{place}: on_behalf_of"),
                    format!("format `{other}` is not `digits` or `text`"),
                );
                OnBehalfOfFormat::Text
            }
        },
        needs_company: rule.needs_company,
    });
    let mut routes = Vec::new();
    for row in entry.route {
        let scope = match (row.scope, row.public) {
            (Some(scope), None | Some(false)) => Some(scope),
            (None, Some(true)) => None,
            (Some(_), Some(true)) | (None, None | Some(false)) => {
                fault(
                    validate::route_place(&place, &row.method, &row.path),
                    "needs exactly one of `scope` and `public = true`".to_owned(),
                );
                continue;
            }
        };
        routes.push(RouteDef {
            method: row.method,
            path: row.path,
            scope,
        });
    }
    ApiTypeBuilder {
        id: entry.id,
        label: entry.label,
        description: entry.description,
        base_path: entry.base_path,
        token_ttl: Duration::from_secs(entry.token_ttl_seconds),
        error_body,
        rules,
        full_access: entry.full_access.map(|full| FullAccessDef {
            scope: ScopeDef::new(full.scope, full.description),
            excludes_resource_scopes: full.excludes_resource_scopes,
        }),
        on_behalf_of,
        introspection: entry
            .introspection
            .map(|entry| ScopeDef::new(entry.scope, entry.description)),
        categories: entry.category.into_iter().map(category).collect(),
        routes,
    }
}

fn category(entry: CategoryEntry) -> CategoryBuilder {
    CategoryBuilder {
        id: entry.id,
        label: entry.label,
        resources: entry.resource.into_iter().map(resource).collect(),
    }
}

fn resource(entry: ResourceEntry) -> ResourceBuilder {
    let scope = |scope: ScopeEntry| ScopeDef::new(scope.scope, scope.description);
    ResourceBuilder {
        id: entry.id,
        label: entry.label,
        segment: entry.segment,
        wildcard: entry.wildcard,
        read: entry.read.map(scope),
        write: entry.write.map(scope),
    }
}
