//! One API of the host: its scopes, what each confers, and the rules its paths follow.

use std::collections::HashMap;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use super::route::RouteTable;
use super::scope_set::{ScopeIndex, ScopeSet};
use super::segment_map::SegmentMap;
use super::spelling::Spelling;

/// The id of an API type: 1–32 characters `[a-z0-9_-]`, starting with a letter.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ApiTypeId(Arc<str>);

impl ApiTypeId {
    /// The id as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ApiTypeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for ApiTypeId {
    type Err = InvalidApiTypeId;

    /// Reads an id, for example from a stored credential. Whether a catalogue lists it is another
    /// question: see `ScopeCatalog::api_type`.
    ///
    /// # Errors
    /// [`InvalidApiTypeId`] if the text does not have the form of an id.
    fn from_str(text: &str) -> Result<Self, InvalidApiTypeId> {
        let form = text.starts_with(|c: char| c.is_ascii_lowercase())
            && text.len() <= 32
            && text
                .bytes()
                .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'-' | b'_'));
        if form {
            Ok(Self(text.into()))
        } else {
            Err(InvalidApiTypeId)
        }
    }
}

/// The text does not have the form of an [`ApiTypeId`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not 1 to 32 characters `[a-z0-9_-]` starting with a letter")]
pub struct InvalidApiTypeId;

/// The two rights on a resource. Write does not imply read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Permission {
    /// GET and HEAD.
    Read,
    /// POST, PUT, PATCH and DELETE.
    Write,
}

/// What kind of right a scope is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ScopeKind {
    /// Read or write on one resource.
    Resource,
    /// Read or write on every resource of the API type.
    Wildcard,
    /// Everything the API type offers, also paths that no other scope covers.
    FullAccess,
    /// Lets a call name the user it acts for; opens nothing by itself.
    OnBehalfOf,
    /// Lets its holder introspect the tokens of its tenant (RFC 7662); opens nothing of the API.
    Introspection,
}

/// One listed scope.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Scope {
    /// The scope-token of RFC 6749 §3.3, at most 128 characters.
    pub name: String,
    /// What it allows, for admins.
    pub description: String,
    /// What kind of right it is.
    pub kind: ScopeKind,
    /// Read or write, for resource scopes and wildcards.
    pub permission: Option<Permission>,
    /// Its place in a [`ScopeSet`] of its API type.
    pub index: ScopeIndex,
}

/// Resources that are shown together.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Category {
    /// Unique in its API type.
    pub id: String,
    /// The name shown to admins.
    pub label: String,
    /// In the order of the catalogue.
    pub resources: Vec<Resource>,
}

/// What a read or a write scope, or both, are about.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Resource {
    /// Unique in its API type.
    pub id: String,
    /// The name shown to admins.
    pub label: String,
    /// The scope that allows reading; see [`ApiType::scope_at`].
    pub read: Option<ScopeIndex>,
    /// The scope that allows writing.
    pub write: Option<ScopeIndex>,
    /// Stands for every resource of the API type.
    pub wildcard: bool,
}

/// How a path without a route row of its own maps to a scope.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum PathRules {
    /// The first segment names the resource, the method class read or write.
    FirstSegment,
    /// The REST API of HL7 FHIR R4, with SMART spellings of scopes.
    Fhir,
    /// Nothing: such a path needs full access.
    RoutesOnly,
}

/// What a call may say about the user it acts for.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct OnBehalfOf {
    /// The scope that allows it.
    pub scope: ScopeIndex,
    /// The request header that names the user, as listed; header names ignore case.
    pub header: String,
    /// The form of the header's value.
    pub format: OnBehalfOfFormat,
    pub(super) needs_company: bool,
}

impl OnBehalfOf {
    /// True if the header's value has the listed form.
    #[must_use]
    pub fn accepts(&self, value: &str) -> bool {
        let (longest, form): (usize, fn(u8) -> bool) = match self.format {
            OnBehalfOfFormat::Digits => (20, |b| b.is_ascii_digit()),
            OnBehalfOfFormat::Text => (128, |b| b.is_ascii_graphic()),
        };
        (1..=longest).contains(&value.len()) && value.bytes().all(form)
    }
}

/// The form of the value that names a user.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum OnBehalfOfFormat {
    /// 1–20 ASCII digits.
    Digits,
    /// 1–128 visible ASCII characters, no space.
    Text,
}

/// The shape of the bodies that say why a call was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ErrorBody {
    /// `problem`: RFC 9457 problem details.
    #[default]
    Problem,
    /// `detail`: `{"detail":"…"}`.
    Detail,
    /// `operation-outcome`: HL7 FHIR R4 `OperationOutcome`.
    OperationOutcome,
}

impl ErrorBody {
    /// Every shape.
    pub const ALL: [Self; 3] = [Self::Problem, Self::Detail, Self::OperationOutcome];

    /// Its name in a catalogue file.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Problem => "problem",
            Self::Detail => "detail",
            Self::OperationOutcome => "operation-outcome",
        }
    }
}

/// One API of the host.
///
/// Made by the catalogue only, immutable. Scopes are kept in the order of their names, so two
/// catalogues that list the same scopes give the same [`ScopeSet`]s.
#[derive(Debug, PartialEq, Eq)]
pub struct ApiType {
    pub(super) id: ApiTypeId,
    pub(super) label: String,
    pub(super) description: String,
    pub(super) base_path: String,
    pub(super) token_ttl: Duration,
    pub(super) error_body: ErrorBody,
    pub(super) rules: PathRules,
    pub(super) categories: Vec<Category>,
    pub(super) full_access: Option<ScopeIndex>,
    pub(super) full_access_excludes_resources: bool,
    pub(super) on_behalf_of: Option<OnBehalfOf>,
    pub(super) introspection: Option<ScopeIndex>,
    /// The scopes that stand for every resource.
    pub(super) wildcard: Rights,
    /// By first segment, or by FHIR type.
    pub(super) segments: SegmentMap,
    pub(super) routes: RouteTable,
    pub(super) listed: Listed,
}

/// The read and the write scope of one resource.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Rights {
    pub(super) read: Option<ScopeIndex>,
    pub(super) write: Option<ScopeIndex>,
}

impl Rights {
    pub(super) fn on(self, permission: Permission) -> Option<ScopeIndex> {
        match permission {
            Permission::Read => self.read,
            Permission::Write => self.write,
        }
    }
}

/// The scopes of one API type, found by place, name, spelling and digest.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Listed {
    /// See [`ScopeSet`].
    pub(super) tag: u64,
    /// Sorted by name.
    pub(super) scopes: Vec<Scope>,
    pub(super) names: HashMap<Box<str>, ScopeIndex>,
    /// SMART spellings that are not listed names.
    pub(super) spellings: HashMap<Box<str>, Spelling>,
    /// By place.
    pub(super) digests: Vec<u32>,
    /// Sorted.
    pub(super) by_digest: Vec<(u32, ScopeIndex)>,
    /// Every resource's read scope, no wildcard.
    pub(super) reads: ScopeSet,
    /// Every resource's write scope, no wildcard.
    pub(super) writes: ScopeSet,
}

impl ApiType {
    /// The id, which a credential stores.
    #[must_use]
    pub fn id(&self) -> &ApiTypeId {
        &self.id
    }

    /// The name shown to admins.
    #[must_use]
    pub fn label(&self) -> &str {
        &self.label
    }

    /// What the API is for; may be empty.
    #[must_use]
    pub fn description(&self) -> &str {
        &self.description
    }

    /// What every path starts with: `""` at the root, else without a trailing slash.
    #[must_use]
    pub fn base_path(&self) -> &str {
        &self.base_path
    }

    /// How long an access token lives, 60 s to 24 h.
    #[must_use]
    pub fn token_ttl(&self) -> Duration {
        self.token_ttl
    }

    /// The shape that error bodies take; the HTTP layer renders it.
    #[must_use]
    pub fn error_body(&self) -> ErrorBody {
        self.error_body
    }

    /// How a path without a route row of its own maps to a scope.
    #[must_use]
    pub fn rules(&self) -> PathRules {
        self.rules
    }

    /// The resources by category, in the order of the catalogue.
    #[must_use]
    pub fn categories(&self) -> &[Category] {
        &self.categories
    }

    /// Every scope, sorted by name.
    pub fn scopes(&self) -> impl Iterator<Item = &Scope> {
        self.listed.scopes.iter()
    }

    /// The scope listed under exactly this name.
    #[must_use]
    pub fn scope(&self, name: &str) -> Option<&Scope> {
        let index = self.listed.names.get(name)?;
        self.scope_at(*index)
    }

    /// The scope at this place.
    #[must_use]
    pub fn scope_at(&self, index: ScopeIndex) -> Option<&Scope> {
        self.listed.scopes.get(index.position())
    }

    /// The scope that opens everything, if the API type has one.
    #[must_use]
    pub fn full_access(&self) -> Option<&Scope> {
        self.scope_at(self.full_access?)
    }

    /// How a call may name the user it acts for, if the API type allows that.
    #[must_use]
    pub fn on_behalf_of(&self) -> Option<&OnBehalfOf> {
        self.on_behalf_of.as_ref()
    }

    /// The scope whose holder may introspect the tokens of its tenant, if the API type has one.
    #[must_use]
    pub fn introspection(&self) -> Option<&Scope> {
        self.scope_at(self.introspection?)
    }

    /// The empty set of this API type.
    #[must_use]
    pub fn no_scopes(&self) -> ScopeSet {
        ScopeSet::empty(self.listed.tag)
    }

    /// True if the set belongs to this API type and this list of scopes.
    #[must_use]
    pub(crate) fn owns(&self, set: &ScopeSet) -> bool {
        set.tag() == self.listed.tag
    }
}
