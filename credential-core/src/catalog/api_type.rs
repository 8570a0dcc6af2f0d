//! One API of the host: its scopes, what each confers, and the rules its paths follow.

use std::collections::HashMap;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use super::ScopeFault;
use super::route::RouteTable;
use super::scope_set::{ScopeIndex, ScopeSet};
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
    /// The HL7 FHIR R4 RESTful API, with SMART spellings of scopes.
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
    pub(super) error_body: String,
    pub(super) rules: PathRules,
    pub(super) categories: Vec<Category>,
    pub(super) full_access: Option<ScopeIndex>,
    pub(super) full_access_excludes_resources: bool,
    pub(super) on_behalf_of: Option<OnBehalfOf>,
    /// The scopes that stand for every resource.
    pub(super) wildcard: Rights,
    /// By first segment, or by FHIR type.
    pub(super) segments: HashMap<Box<str>, Rights>,
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

/// What a name asks for, before it is known who asks.
#[derive(Debug, Clone, Copy)]
pub(super) struct Named {
    /// The listed scopes that the name stands for.
    pub(super) scopes: ScopeSet,
    /// Those and, for a wildcard, everything it covers.
    pub(super) covers: ScopeSet,
    /// May be narrowed to what is held: the name says "all of …".
    pub(super) narrows: bool,
    /// Everything the name asks for is listed.
    pub(super) whole: bool,
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

    /// The name of the shape that error bodies take; the HTTP layer renders it.
    #[must_use]
    pub fn error_body(&self) -> &str {
        &self.error_body
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

    /// The empty set of this API type.
    #[must_use]
    pub fn no_scopes(&self) -> ScopeSet {
        ScopeSet::empty(self.listed.tag)
    }

    /// True if the set belongs to this API type and this list of scopes.
    #[must_use]
    pub fn owns(&self, set: &ScopeSet) -> bool {
        set.tag() == self.listed.tag
    }

    /// The set of stored names. A name that the catalogue no longer lists confers nothing.
    pub fn resolve<'a>(&self, names: impl IntoIterator<Item = &'a str>) -> ScopeSet {
        let mut set = self.no_scopes();
        for name in names {
            if let Some(index) = self.listed.names.get(name) {
                set.insert(*index);
            }
        }
        set
    }

    /// The listed names of a set, sorted. A set of another API type has none.
    #[must_use]
    pub fn names(&self, set: &ScopeSet) -> Vec<&str> {
        // Scopes are kept in the order of their names.
        self.scopes_of(set)
            .map(|scope| scope.name.as_str())
            .collect()
    }

    /// Everything that holding `held` confers: wildcards and full access spelled out.
    ///
    /// Full access does not confer acting on behalf of a user; that scope must be held itself.
    #[must_use]
    pub fn rights(&self, held: &ScopeSet) -> ScopeSet {
        if !self.owns(held) {
            return self.no_scopes();
        }
        let mut rights = *held;
        let holds = |index: Option<ScopeIndex>| index.is_some_and(|index| held.contains(index));
        let full = holds(self.full_access);
        if full || holds(self.wildcard.read) {
            rights.insert_all(&self.listed.reads);
        }
        if full || holds(self.wildcard.write) {
            rights.insert_all(&self.listed.writes);
        }
        if full {
            for index in [self.wildcard.read, self.wildcard.write]
                .into_iter()
                .flatten()
            {
                rights.insert(index);
            }
        }
        rights
    }

    /// Checks which scopes may be held together: full access never with resource scopes where it
    /// excludes them, and acting on behalf of a user never alone where it needs company.
    ///
    /// # Errors
    /// One `scope_conflict` for each rule broken; `scope_of_other_api_type` if the set is not of
    /// this API type.
    pub fn check(&self, set: &ScopeSet) -> Result<(), Vec<ScopeFault>> {
        if !self.owns(set) {
            return Err(vec![ScopeFault::other_api_type("", self)]);
        }
        let faults: Vec<_> = self
            .exclusion(set)
            .into_iter()
            .chain(self.loneliness(set))
            .collect();
        if faults.is_empty() {
            Ok(())
        } else {
            Err(faults)
        }
    }

    /// Full access beside scopes that it excludes.
    pub(super) fn exclusion(&self, set: &ScopeSet) -> Option<ScopeFault> {
        let full = self
            .full_access()
            .filter(|full| self.full_access_excludes_resources && set.contains(full.index))?;
        let other = self
            .scopes_of(set)
            .find(|scope| scope.permission.is_some())?;
        Some(ScopeFault::conflict(
            &full.name,
            format!(
                "`{}` already opens everything and cannot be combined with `{}`",
                full.name, other.name
            ),
        ))
    }

    /// Acting on behalf of a user without any scope that opens something.
    pub(super) fn loneliness(&self, set: &ScopeSet) -> Option<ScopeFault> {
        let rule = self.on_behalf_of().filter(|rule| rule.needs_company)?;
        let lonely = set.contains(rule.scope) && set.len() == 1;
        let scope = self.scope_at(rule.scope).filter(|_| lonely)?;
        Some(ScopeFault::conflict(
            &scope.name,
            format!(
                "`{}` opens nothing alone and needs another scope beside it",
                scope.name
            ),
        ))
    }

    /// The first 32 bits of SHA-256 of each scope's name, in the order of the names.
    ///
    /// This is how tokens carry scopes between nodes whose catalogues differ in version. The
    /// catalogue refuses to load if two names of an API type share a digest.
    #[must_use]
    pub fn digests(&self, set: &ScopeSet) -> Vec<u32> {
        if !self.owns(set) {
            return Vec::new();
        }
        set.iter()
            .filter_map(|index| self.listed.digests.get(index.position()).copied())
            .collect()
    }

    /// The set that [`ApiType::digests`] came from. A digest of no listed scope confers nothing.
    pub fn from_digests(&self, digests: impl IntoIterator<Item = u32>) -> ScopeSet {
        let mut set = self.no_scopes();
        for digest in digests {
            let found = self
                .listed
                .by_digest
                .binary_search_by_key(&digest, |(known, _)| *known);
            if let Some((_, index)) = found.ok().and_then(|at| self.listed.by_digest.get(at)) {
                set.insert(*index);
            }
        }
        set
    }

    /// What a name asks for: a listed name, or a SMART spelling where the rules are FHIR's.
    pub(super) fn named(&self, name: &str) -> Option<Named> {
        let wildcards = |reads: bool, writes: bool| {
            let mut covers = self.no_scopes();
            if reads {
                covers.insert_all(&self.listed.reads);
            }
            if writes {
                covers.insert_all(&self.listed.writes);
            }
            covers
        };
        if let Some(index) = self.listed.names.get(name) {
            let scopes = ScopeSet::of(self.listed.tag, *index);
            let mut covers = scopes;
            let narrows = self.wildcard.read == Some(*index) || self.wildcard.write == Some(*index);
            if narrows {
                covers.insert_all(&wildcards(
                    self.wildcard.read == Some(*index),
                    self.wildcard.write == Some(*index),
                ));
            }
            return Some(Named {
                scopes,
                covers,
                narrows,
                whole: true,
            });
        }
        let spelling = self.listed.spellings.get(name)?;
        let mut scopes = self.no_scopes();
        for index in [spelling.read, spelling.write].into_iter().flatten() {
            scopes.insert(index);
        }
        let mut covers = scopes;
        if spelling.wildcard {
            covers.insert_all(&wildcards(spelling.reads, spelling.writes));
        }
        Some(Named {
            scopes,
            covers,
            narrows: spelling.wildcard || (spelling.reads && spelling.writes),
            whole: spelling.reads == spelling.read.is_some()
                && spelling.writes == spelling.write.is_some(),
        })
    }

    /// The scopes of a set, sorted by name; none for a set of another API type.
    pub(super) fn scopes_of(&self, set: &ScopeSet) -> impl Iterator<Item = &Scope> {
        let set = if self.owns(set) {
            *set
        } else {
            self.no_scopes()
        };
        set.iter().filter_map(|index| self.scope_at(index))
    }
}
