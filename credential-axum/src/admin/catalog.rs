//! `GET /catalog`: the scopes that can be chosen.

use axum::{
    Json,
    extract::State,
    response::{IntoResponse, Response},
};
use credential_core::{
    Credentials, ScopeCatalog,
    catalog::{ApiType, Category, Resource, Scope, ScopeIndex, ScopeKind},
};
use serde::Serialize;

pub(super) async fn catalog(State(credentials): State<Credentials>) -> Response {
    Json(ShownCatalog::from(credentials.catalog())).into_response()
}

/// Everything that can be chosen.
#[derive(Serialize)]
#[cfg_attr(
    feature = "openapi",
    derive(schemars::JsonSchema),
    schemars(rename = "Catalog")
)]
pub(super) struct ShownCatalog<'a> {
    api_types: Vec<ShownApiType<'a>>,
}

impl<'a> From<&'a ScopeCatalog> for ShownCatalog<'a> {
    fn from(catalog: &'a ScopeCatalog) -> Self {
        let api_types = catalog.api_types().iter();
        Self {
            api_types: api_types
                .map(|api_type| ShownApiType::from(&**api_type))
                .collect(),
        }
    }
}

#[derive(Serialize)]
#[cfg_attr(
    feature = "openapi",
    derive(schemars::JsonSchema),
    schemars(rename = "ApiType")
)]
struct ShownApiType<'a> {
    id: &'a str,
    label: &'a str,
    description: &'a str,
    /// The scope that stands for all of them; `null` if there is none.
    full_access_scope: Option<&'a str>,
    /// Scopes that belong to no category.
    additional_scopes: Vec<AdditionalScope<'a>>,
    categories: Vec<ShownCategory<'a>>,
}

impl<'a> From<&'a ApiType> for ShownApiType<'a> {
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
                .map(|category| ShownCategory::of(api_type, category))
                .collect(),
        }
    }
}

/// A scope that belongs to no category.
#[derive(Serialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
struct AdditionalScope<'a> {
    scope: &'a str,
    description: &'a str,
    /// `full_access`, `on_behalf_of` or `introspection`.
    kind: &'a str,
}

impl<'a> AdditionalScope<'a> {
    fn of(scope: &'a Scope) -> Option<Self> {
        let kind = match scope.kind {
            ScopeKind::FullAccess => "full_access",
            ScopeKind::OnBehalfOf => "on_behalf_of",
            ScopeKind::Introspection => "introspection",
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
#[cfg_attr(
    feature = "openapi",
    derive(schemars::JsonSchema),
    schemars(rename = "Category")
)]
struct ShownCategory<'a> {
    id: &'a str,
    label: &'a str,
    resources: Vec<ShownResource<'a>>,
}

impl<'a> ShownCategory<'a> {
    fn of(api_type: &'a ApiType, category: &'a Category) -> Self {
        Self {
            id: &category.id,
            label: &category.label,
            resources: category
                .resources
                .iter()
                .map(|resource| ShownResource::of(api_type, resource))
                .collect(),
        }
    }
}

#[derive(Serialize)]
#[cfg_attr(
    feature = "openapi",
    derive(schemars::JsonSchema),
    schemars(rename = "Resource")
)]
struct ShownResource<'a> {
    id: &'a str,
    label: &'a str,
    /// Whether it stands for every resource of its API type.
    wildcard: bool,
    /// `null` if it cannot be read.
    read: Option<ShownScope<'a>>,
    /// `null` if it cannot be written.
    write: Option<ShownScope<'a>>,
}

impl<'a> ShownResource<'a> {
    fn of(api_type: &'a ApiType, resource: &'a Resource) -> Self {
        let scope = |index: Option<ScopeIndex>| {
            let scope = api_type.scope_at(index?)?;
            Some(ShownScope {
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
#[cfg_attr(
    feature = "openapi",
    derive(schemars::JsonSchema),
    schemars(rename = "CatalogScope")
)]
struct ShownScope<'a> {
    scope: &'a str,
    description: &'a str,
}
