//! What a catalogue says without effect: it loads, and its author may have meant something else.

use std::fmt;

use super::ApiType;
use super::api_type::{PathRules, ScopeKind};
use super::build::{ApiTypeBuilder, CatalogBuilder, RouteDef};
use super::route::Requirement;
use super::scope_set::ScopeSet;
use super::validate;

/// The methods that `*` stands for, HEAD apart, which GET covers.
const METHODS: [&str; 5] = ["GET", "POST", "PUT", "PATCH", "DELETE"];

/// Something in a catalogue that has no effect.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum CatalogWarning {
    /// A route row that never decides, because others decide for all that it matches.
    HiddenRoute {
        /// Where: `api_type "payments": route "* /charges"`.
        place: String,
        /// What decides in its place.
        by: String,
    },
    /// A route row that begins as its base path ends, which is then in the URL twice.
    RepeatedSegment {
        /// Where.
        place: String,
        /// The URL's path that it matches.
        path: String,
    },
    /// A scope that no call needs: neither a route row nor the rules lead to it.
    UnneededScope {
        /// Where: `api_type "payments"`.
        place: String,
        /// Its name.
        scope: String,
    },
}

impl fmt::Display for CatalogWarning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::HiddenRoute { place, by } => {
                write!(f, "{place}: the row never decides, because {by}")
            }
            Self::RepeatedSegment { place, path } => {
                write!(f, "{place}: the row matches `{path}`; is that meant?")
            }
            Self::UnneededScope { place, scope } => write!(
                f,
                "{place}: no call needs scope `{scope}`, unless the host's code requires it by name"
            ),
        }
    }
}

/// Looks for what has no effect in a catalogue that was checked.
pub(super) fn warnings(builder: &CatalogBuilder, api_types: &[ApiType]) -> Vec<CatalogWarning> {
    let mut warnings = Vec::new();
    for (def, api_type) in builder.api_types.iter().zip(api_types) {
        let place = validate::api_type_place(&def.id);
        for row in &def.routes {
            let place = validate::route_place(&place, &row.method, &row.path);
            if let Some(by) = hidden(row, def, builder) {
                warnings.push(CatalogWarning::HiddenRoute { place, by });
            } else if begins_as_the_base_ends(row, &def.base_path) {
                let path = format!("{}{}", def.base_path, row.path);
                warnings.push(CatalogWarning::RepeatedSegment { place, path });
            }
        }
        let needed = needed(def, api_type);
        let unneeded = api_type
            .scopes()
            .filter(|scope| scope.kind == ScopeKind::Resource && !needed.contains(scope.index));
        warnings.extend(unneeded.map(|scope| CatalogWarning::UnneededScope {
            place: place.clone(),
            scope: scope.name.clone(),
        }));
    }
    warnings
}

/// What decides for all that a row matches, if anything does. Between templates that differ the more
/// specific one matches less, so only rows of the same template can hide one.
fn hidden(row: &RouteDef, def: &ApiTypeBuilder, catalog: &CatalogBuilder) -> Option<String> {
    let url = format!("{}{}", def.base_path, row.path);
    let longer = catalog.api_types.iter().find(|other| {
        other.base_path.len() > def.base_path.len() && validate::repeats(&url, &other.base_path)
    });
    if let Some(other) = longer {
        let (base, id) = (&other.base_path, &other.id);
        return Some(format!("`{base}` is the base_path of api_type `{id}`"));
    }
    let template = validate::template(&row.path);
    let named = |method: &&str| {
        def.routes
            .iter()
            .any(|other| other.method == **method && validate::template(&other.path) == template)
    };
    (row.method == "*" && METHODS.iter().all(named))
        .then(|| format!("{} have rows of their own", METHODS.join(", ")))
}

fn begins_as_the_base_ends(row: &RouteDef, base: &str) -> bool {
    let (_, last) = base.rsplit_once('/').unwrap_or_default();
    !last.is_empty() && validate::repeats(&row.path, &format!("/{last}"))
}

/// Every scope that some call needs: asked of the API type itself, for each segment at every depth at
/// which a row could decide, and a step beyond.
fn needed(def: &ApiTypeBuilder, api_type: &ApiType) -> ScopeSet {
    let mut needed = api_type.no_scopes();
    // Without rows, routes-only leaves every call to the host's code.
    if def.rules == PathRules::RoutesOnly && def.routes.is_empty() {
        for scope in api_type.scopes() {
            needed.insert(scope.index);
        }
        return needed;
    }
    for row in &def.routes {
        let scope = row.scope.as_deref().and_then(|name| api_type.scope(name));
        if let Some(scope) = scope {
            needed.insert(scope.index);
        }
    }
    let deepest = def.routes.iter().map(|row| row.path.matches('/').count());
    let deepest = deepest.max().unwrap_or(0) + 1;
    let categories = def.categories.iter();
    for resource in categories.flat_map(|category| &category.resources) {
        let mut path = format!("{}/{}", def.base_path, validate::segment(resource));
        for _ in 0..deepest {
            for method in METHODS {
                let requirement = api_type.requirement(method, &path, super::SearchForm::None);
                if let Ok(Requirement::Scopes(scopes)) = requirement {
                    needed.insert_all(&scopes);
                }
            }
            // A segment that no row spells: only parameters match it.
            path.push_str("/~");
        }
    }
    needed
}
