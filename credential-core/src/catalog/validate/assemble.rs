//! Makes an API type out of a definition that has been checked.

use std::collections::HashMap;

use sha2::{Digest, Sha256};

use super::super::api_type::{
    ApiType, Category, Listed, OnBehalfOf, PathRules, Permission, Resource, Rights, Scope,
    ScopeKind,
};
use super::super::build::{ApiTypeBuilder, ResourceBuilder, ScopeDef};
use super::super::route::{RouteAccess, RouteTable};
use super::super::scope_set::{ScopeIndex, ScopeSet};
use super::super::segment_map::SegmentMap;
use super::super::spelling::{self, Spelled};

/// The API type; `None` only if the definition has a fault that the check reports.
pub(super) fn api_type(def: &ApiTypeBuilder) -> Option<ApiType> {
    let listed = listed(def)?;
    let place = |scope: &ScopeDef| listed.names.get(scope.name.as_str()).copied();

    let mut wildcard = Rights::default();
    let mut segments = SegmentMap::default();
    let mut categories = Vec::new();
    for category in &def.categories {
        let mut resources = Vec::new();
        for resource in &category.resources {
            let rights = Rights {
                read: resource.read.as_ref().and_then(place),
                write: resource.write.as_ref().and_then(place),
            };
            if resource.wildcard {
                wildcard = rights;
            } else {
                segments.insert(segment(resource).into(), rights);
            }
            resources.push(Resource {
                id: resource.id.clone(),
                label: resource.label.clone(),
                read: rights.read,
                write: rights.write,
                wildcard: resource.wildcard,
            });
        }
        categories.push(Category {
            id: category.id.clone(),
            label: category.label.clone(),
            resources,
        });
    }

    let mut routes = RouteTable::default();
    for row in &def.routes {
        let access = match row.scope.as_deref() {
            Some(scope) => RouteAccess::Scope(*listed.names.get(scope)?),
            None => RouteAccess::Public,
        };
        routes.insert(&row.method, &super::template(&row.path)?, access);
    }

    let on_behalf_of = match &def.on_behalf_of {
        Some(rule) => Some(OnBehalfOf {
            scope: place(&rule.scope)?,
            header: rule.header.clone(),
            format: rule.format,
            needs_company: rule.needs_company,
        }),
        None => None,
    };
    let full = def.full_access.as_ref();
    Some(ApiType {
        id: def.id.parse().ok()?,
        label: def.label.clone(),
        description: def.description.clone(),
        base_path: def.base_path.clone(),
        token_ttl: def.token_ttl,
        error_body: def.error_body,
        rules: def.rules,
        categories,
        full_access: full.and_then(|full| place(&full.scope)),
        full_access_excludes_resources: full.is_some_and(|full| full.excludes_resource_scopes),
        on_behalf_of,
        introspection: def.introspection.as_ref().and_then(&place),
        wildcard,
        segments,
        routes,
        listed,
    })
}

/// Every scope of the API type, sorted, and the ways to find it.
fn listed(def: &ApiTypeBuilder) -> Option<Listed> {
    let full = def
        .full_access
        .iter()
        .map(|full| (&full.scope, ScopeKind::FullAccess, None));
    let acting = def
        .on_behalf_of
        .iter()
        .map(|rule| (&rule.scope, ScopeKind::OnBehalfOf, None));
    let asking = def
        .introspection
        .iter()
        .map(|scope| (scope, ScopeKind::Introspection, None));
    let of_resources = resources(def).flat_map(|resource| {
        let kind = if resource.wildcard {
            ScopeKind::Wildcard
        } else {
            ScopeKind::Resource
        };
        let scopes = resource.scopes();
        scopes.map(move |(permission, scope)| (scope, kind, Some(permission)))
    });
    let mut all: Vec<_> = full
        .chain(acting)
        .chain(asking)
        .chain(of_resources)
        .collect();
    all.sort_by(|(a, ..), (b, ..)| a.name.cmp(&b.name));

    let mut scopes = Vec::with_capacity(all.len());
    for (position, (scope, kind, permission)) in all.into_iter().enumerate() {
        scopes.push(Scope {
            name: scope.name.clone(),
            description: scope.description.clone(),
            kind,
            permission,
            index: ScopeIndex::new(position)?,
        });
    }
    let digests: Vec<u32> = scopes.iter().map(|scope| digest(&scope.name)).collect();
    let mut by_digest: Vec<_> = scopes
        .iter()
        .map(|scope| (digest(&scope.name), scope.index))
        .collect();
    by_digest.sort_unstable();
    let names: HashMap<Box<str>, ScopeIndex> = scopes
        .iter()
        .map(|scope| (scope.name.as_str().into(), scope.index))
        .collect();

    let tag = tag(def, &scopes);
    let resources = |permission| {
        let mut set = ScopeSet::empty(tag);
        let each = scopes
            .iter()
            .filter(|scope| scope.kind == ScopeKind::Resource);
        for scope in each.filter(|scope| scope.permission == Some(permission)) {
            set.insert(scope.index);
        }
        set
    };
    let mut spellings = match def.rules {
        PathRules::Fhir => spelling::spellings(scopes.iter().filter_map(|scope| {
            Some(Spelled {
                name: &scope.name,
                permission: scope.permission?,
                index: scope.index,
                wildcard: scope.kind == ScopeKind::Wildcard,
            })
        })),
        PathRules::FirstSegment | PathRules::RoutesOnly => HashMap::new(),
    };
    spellings.retain(|spelling, _| !names.contains_key(spelling));
    Some(Listed {
        tag,
        names,
        spellings,
        digests,
        by_digest,
        reads: resources(Permission::Read),
        writes: resources(Permission::Write),
        scopes,
    })
}

fn resources(def: &ApiTypeBuilder) -> impl Iterator<Item = &ResourceBuilder> {
    def.categories
        .iter()
        .flat_map(|category| &category.resources)
}

/// The first path segment that names a resource.
pub(in super::super) fn segment(resource: &ResourceBuilder) -> &str {
    resource.segment.as_deref().unwrap_or(&resource.id)
}

/// The key of a permission in the file.
pub(super) fn word(permission: Permission) -> &'static str {
    match permission {
        Permission::Read => "read",
        Permission::Write => "write",
    }
}

/// The first 32 bits of SHA-256 of a scope's name.
pub(super) fn digest(name: &str) -> u32 {
    Sha256::digest(name)
        .iter()
        .take(4)
        .fold(0, |digest, byte| (digest << 8) | u32::from(*byte))
}

/// Tells apart the [`ScopeSet`]s of different API types and of different lists of scopes.
fn tag(def: &ApiTypeBuilder, scopes: &[Scope]) -> u64 {
    let mut hash = Sha256::new();
    hash.update(&def.id);
    for scope in scopes {
        // No scope-token holds a space, so the parts cannot run together.
        hash.update(" ");
        hash.update(&scope.name);
    }
    hash.finalize()
        .iter()
        .take(8)
        .fold(0, |tag, byte| (tag << 8) | u64::from(*byte))
}
