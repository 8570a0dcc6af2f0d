//! The scope catalogue: the host's APIs, their scopes, and what a call needs.
//!
//! A [`ScopeCatalog`] is loaded once, from a [file](mod@file) or in code, and checked as a whole. It is
//! the only source of [`ScopeSet`]s, so a set never holds a scope that is not listed.

mod api_type;
mod build;
mod fhir;
pub mod file;
mod path;
mod request;
mod rights;
mod route;
mod scope_set;
mod segment_map;
mod spelling;
mod validate;
mod warning;

use std::fmt;
use std::sync::{Arc, OnceLock};

pub use api_type::{
    ApiType, ApiTypeId, Category, ErrorBody, InvalidApiTypeId, OnBehalfOf, OnBehalfOfFormat,
    PathRules, Permission, Resource, Scope, ScopeKind,
};
pub use build::{ApiTypeBuilder, CatalogBuilder, CategoryBuilder, ResourceBuilder};
pub use path::PathError;
pub use request::{GrantedScopes, RequestedScopes, ScopeRequestError};
pub use route::{Located, Requirement, Search, SearchCall, SearchForm, UnknownScope, Unlisted};
pub use scope_set::{ScopeIndex, ScopeSet};
pub use warning::CatalogWarning;

/// The host's APIs and their scopes. Cheap to clone.
#[derive(Clone, PartialEq, Eq)]
pub struct ScopeCatalog(Arc<Inner>);

#[derive(Default, PartialEq, Eq)]
struct Inner {
    api_types: Vec<Arc<ApiType>>,
    warnings: Vec<CatalogWarning>,
}

impl ScopeCatalog {
    /// The bundled catalogue of Elation's two APIs, `apiv2` and `fhir`. Parsed once.
    #[must_use]
    pub fn elation() -> Self {
        static ELATION: OnceLock<ScopeCatalog> = OnceLock::new();
        // A bundled file is right or wrong for good, and a test proves that it loads. Were it
        // wrong, a catalogue without API types would refuse everything.
        ELATION
            .get_or_init(|| {
                Self::from_toml(include_str!("catalog/elation.toml"))
                    .unwrap_or_else(|_| Self(Arc::default()))
            })
            .clone()
    }

    /// Reads a catalogue in the [file format](mod@file).
    ///
    /// # Errors
    /// [`CatalogError`] with every fault.
    pub fn from_toml(text: &str) -> Result<Self, CatalogError> {
        file::parse(text)
    }

    /// Starts a catalogue in code.
    #[must_use]
    pub fn builder() -> CatalogBuilder {
        CatalogBuilder::default()
    }

    /// The API types, in the order of the catalogue.
    #[must_use]
    pub fn api_types(&self) -> &[Arc<ApiType>] {
        &self.0.api_types
    }

    /// Entries of the catalogue that have no effect. Show them to the catalogue's author.
    #[must_use]
    pub fn warnings(&self) -> &[CatalogWarning] {
        &self.0.warnings
    }

    /// The API type with this id.
    #[must_use]
    pub fn api_type(&self, id: &str) -> Option<&Arc<ApiType>> {
        self.api_types()
            .iter()
            .find(|known| known.id().as_str() == id)
    }

    /// The API type whose base path `path` lies under: the longest one that ends at a segment
    /// boundary. A query is ignored.
    #[must_use]
    pub fn api_type_of_path(&self, path: &str) -> Option<&Arc<ApiType>> {
        let path = path.split('?').next().unwrap_or_default();
        self.api_types()
            .iter()
            .filter(|known| path::below(path, known.base_path()).is_some())
            .max_by_key(|known| known.base_path().len())
    }

    /// An admin's choice of scopes for a credential of `api_type`. Duplicates are fine, and SMART
    /// spellings stand for the listed names.
    ///
    /// # Errors
    /// Every fault at once: `unknown_scope`, `scope_of_other_api_type`, `scope_conflict`.
    pub fn parse_scopes<'a>(
        &self,
        api_type: &ApiType,
        names: impl IntoIterator<Item = &'a str>,
    ) -> Result<ScopeSet, Vec<ScopeFault>> {
        let mut set = api_type.no_scopes();
        let mut faults = Vec::new();
        for name in names {
            match api_type
                .named(name)
                .filter(|known| !known.scopes.is_empty())
            {
                Some(known) => set.insert_all(&known.scopes),
                None if self.belongs_elsewhere(api_type, name) => {
                    faults.push(ScopeFault::other_api_type(name, api_type));
                }
                None => faults.push(ScopeFault::unknown(name)),
            }
        }
        // A scope may lack its companion only because that was misspelt: one fault is enough.
        if faults.is_empty() {
            faults.extend(api_type.loneliness(&set));
        }
        faults.extend(api_type.exclusion(&set));
        if faults.is_empty() {
            Ok(set)
        } else {
            Err(faults)
        }
    }

    fn belongs_elsewhere(&self, api_type: &ApiType, name: &str) -> bool {
        self.api_types()
            .iter()
            .filter(|known| known.id() != api_type.id())
            .filter_map(|known| known.named(name))
            .any(|named| !named.scopes.is_empty())
    }
}

impl fmt::Debug for ScopeCatalog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ids = self
            .api_types()
            .iter()
            .map(|api_type| api_type.id().as_str());
        f.write_str("ScopeCatalog ")?;
        f.debug_list().entries(ids).finish()
    }
}

/// A catalogue is refused, with everything that is wrong with it, one fault per line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CatalogError {
    faults: Vec<CatalogFault>,
}

impl CatalogError {
    fn new(faults: Vec<CatalogFault>) -> Self {
        Self { faults }
    }

    /// Every fault; at least one.
    #[must_use]
    pub fn faults(&self) -> &[CatalogFault] {
        &self.faults
    }
}

impl std::error::Error for CatalogError {}

impl fmt::Display for CatalogError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (line, fault) in self.faults.iter().enumerate() {
            if line > 0 {
                f.write_str("\n")?;
            }
            fault.fmt(f)?;
        }
        Ok(())
    }
}

/// One thing that is wrong with a catalogue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CatalogFault {
    /// Where: `api_type "payments": category "money"`, or the line of a syntax error.
    pub place: String,
    /// What.
    pub message: String,
}

impl fmt::Display for CatalogFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.place, self.message)
    }
}

/// One thing that is wrong with an admin's choice of scopes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ScopeFault {
    /// The scope, as given; not if it is too long for one.
    pub scope: String,
    /// `unknown_scope`, `scope_of_other_api_type` or `scope_conflict`.
    pub code: &'static str,
    /// For the admin.
    pub message: String,
}

impl ScopeFault {
    fn unknown(name: &str) -> Self {
        Self {
            scope: shown(name),
            code: "unknown_scope",
            message: format!("`{}` is not a scope", shown(name).escape_debug()),
        }
    }

    fn other_api_type(name: &str, api_type: &ApiType) -> Self {
        let label = api_type.label();
        Self {
            scope: name.to_owned(),
            code: "scope_of_other_api_type",
            message: if name.is_empty() {
                format!("the scopes are not those of {label}")
            } else {
                format!("`{}` is not a scope of {label}", name.escape_debug())
            },
        }
    }

    fn conflict(name: &str, message: String) -> Self {
        Self {
            scope: name.to_owned(),
            code: "scope_conflict",
            message,
        }
    }
}

/// A name that errors may repeat. A text longer than any sensible scope may be a client secret in
/// the wrong field, and is not shown.
fn shown(name: &str) -> String {
    const LONGEST: usize = 64;
    if name.len() <= LONGEST {
        name.to_owned()
    } else {
        "(not shown: too long for a scope)".to_owned()
    }
}
