//! May this credential call that endpoint? Method and path to the scopes a call needs.
//!
//! A path outside the base path is nobody's. Inside it, a route row decides if one matches, else
//! the API type's rules do. Nothing here allocates, except to name a scope that is not listed.

use std::borrow::Cow;
use std::collections::BTreeMap;

use super::api_type::{ApiType, ApiTypeId, PathRules, Permission};
use super::fhir;
use super::path::{self, PathError, Segments};
use super::scope_set::{ScopeIndex, ScopeSet};
use super::shown;

/// What a call needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Requirement {
    /// Nothing, not even a token.
    Public,
    /// Every one of these scopes, held or conferred.
    Scopes(ScopeSet),
    /// A right that nobody can hold: refused to all.
    Unlisted(Unlisted),
}

/// A right that the catalogue does not list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unlisted(Cow<'static, str>);

impl Unlisted {
    /// What the right would be called; empty if it has no name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.0
    }
}

/// The API type lists no scope of that name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the API type `{api_type}` has no scope `{scope}`")]
pub struct UnknownScope {
    /// Which API type was asked.
    pub api_type: ApiTypeId,
    /// The name as given, unless it is too long for one.
    pub scope: String,
}

impl Requirement {
    pub(super) fn unlisted(name: impl Into<Cow<'static, str>>) -> Self {
        Self::Unlisted(Unlisted(name.into()))
    }

    /// True if `rights` (see [`ApiType::rights`]) suffice. Rights of another API type never do.
    #[must_use]
    pub fn is_met_by(&self, rights: &ScopeSet) -> bool {
        match self {
            Self::Public => true,
            // An empty requirement would be open to all; that has a name of its own.
            Self::Scopes(needed) => !needed.is_empty() && needed.is_subset(rights),
            Self::Unlisted(_) => false,
        }
    }
}

/// The body of a search by POST (`POST …/_search`, FHIR), which holds parameters like a query.
///
/// Only such a search reads it; for any other call pass [`SearchForm::None`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SearchForm<'a> {
    /// There is no body, or the call is not a search by POST.
    None,
    /// The body, as sent (`application/x-www-form-urlencoded`).
    Read(&'a str),
    /// There may be a body, which was not read: it could name anything.
    Unseen,
}

/// What a call says of a search outside of its target. Only FHIR rules look at it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Search<'a> {
    /// The body of a search by POST.
    pub form: SearchForm<'a>,
    /// The criteria of a conditional create: the value of `If-None-Exist`.
    pub if_none_exist: Option<&'a str>,
}

impl<'a> From<SearchForm<'a>> for Search<'a> {
    fn from(form: SearchForm<'a>) -> Self {
        Self {
            form,
            if_none_exist: None,
        }
    }
}

/// The six methods that the rules know (RFC 9110 §9.3, RFC 5789), GET and HEAD as one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Method {
    Get,
    Post,
    Put,
    Patch,
    Delete,
}

impl Method {
    fn of(method: &str) -> Option<Self> {
        Some(match method {
            "GET" | "HEAD" => Self::Get,
            "POST" => Self::Post,
            "PUT" => Self::Put,
            "PATCH" => Self::Patch,
            "DELETE" => Self::Delete,
            _ => return None,
        })
    }

    pub(super) fn permission(self) -> Permission {
        match self {
            Self::Get => Permission::Read,
            Self::Post | Self::Put | Self::Patch | Self::Delete => Permission::Write,
        }
    }
}

/// What method and path alone say of a call.
#[derive(Debug)]
pub enum Located<'a> {
    /// All that it needs.
    Needs(Requirement),
    /// A search, which its query and what comes with it have a say in. Reading them costs more than
    /// anything else here, so that who calls should be known first.
    Search(SearchCall<'a>),
}

/// See [`Located::Search`].
#[derive(Debug)]
pub struct SearchCall<'a> {
    api: &'a ApiType,
    method: Method,
    segments: Segments<'a>,
    query: &'a str,
}

impl Located<'_> {
    /// What the call needs.
    ///
    /// # Errors
    /// [`PathError`] if parsers could read the query differently, or it is too long to be read.
    pub fn requirement<'s>(self, search: impl Into<Search<'s>>) -> Result<Requirement, PathError> {
        match self {
            Self::Needs(requirement) => Ok(requirement),
            Self::Search(SearchCall {
                api,
                method,
                segments,
                query,
            }) => fhir::requirement(api, method, segments, query, search.into()),
        }
    }
}

impl ApiType {
    /// What a call needs: `target` is path and query as sent, with the base path.
    ///
    /// # Errors
    /// [`PathError`] if parsers could read the path, or a query that matters, differently.
    pub fn requirement<'a>(
        &self,
        method: &str,
        target: &str,
        search: impl Into<Search<'a>>,
    ) -> Result<Requirement, PathError> {
        self.locate(method, target)?.requirement(search)
    }

    /// The first half of [`requirement`](Self::requirement): a query is not read yet.
    ///
    /// # Errors
    /// [`PathError`] if parsers could read the path differently.
    pub fn locate<'a>(&'a self, method: &str, target: &'a str) -> Result<Located<'a>, PathError> {
        let (path, query) = path::checked(target)?;
        let Some(segments) = path::below(path, &self.base_path) else {
            return Ok(Located::Needs(Requirement::unlisted("")));
        };
        if let Some(access) = self.routes.find(method, segments.clone()) {
            return Ok(Located::Needs(match access {
                RouteAccess::Public => Requirement::Public,
                RouteAccess::Scope(index) => self.needs(index),
            }));
        }
        let Some(method) = Method::of(method) else {
            return Ok(Located::Needs(Requirement::unlisted("")));
        };
        Ok(match self.rules {
            PathRules::FirstSegment => Located::Needs(self.first_segment(method, segments)),
            PathRules::RoutesOnly => Located::Needs(self.everything_else("")),
            PathRules::Fhir => Located::Search(SearchCall {
                api: self,
                method,
                segments,
                query,
            }),
        })
    }

    /// What a host that names one scope itself requires.
    ///
    /// # Errors
    /// [`UnknownScope`] if it is misspelt, or of another API type.
    pub fn requires(&self, scope: &str) -> Result<Requirement, UnknownScope> {
        let listed = self.scope(scope).ok_or_else(|| UnknownScope {
            api_type: self.id.clone(),
            scope: shown(scope),
        })?;
        Ok(self.needs(listed.index))
    }

    /// Whether a target lies at or below the base path, so that the rules have a say about it.
    #[must_use]
    pub fn covers(&self, target: &str) -> bool {
        let path = target.split('?').next().unwrap_or_default();
        path::below(path, &self.base_path).is_some()
    }

    /// The names of what a call needs, separated by spaces; empty if it needs nothing or what it
    /// needs has no name. For `scope` in a 403 (RFC 6750 §3) and for `required_scope`.
    #[must_use]
    pub fn describe(&self, requirement: &Requirement) -> String {
        match requirement {
            Requirement::Public => String::new(),
            Requirement::Scopes(needed) => self.names(needed).join(" "),
            Requirement::Unlisted(unlisted) => unlisted.name().to_owned(),
        }
    }

    fn first_segment(&self, method: Method, mut segments: Segments<'_>) -> Requirement {
        let scope = segments
            .next()
            .and_then(|resource| self.segments.get(resource))
            .and_then(|rights| rights.on(method.permission()));
        match scope {
            Some(index) => self.needs(index),
            None => self.everything_else(""),
        }
    }

    fn needs(&self, index: ScopeIndex) -> Requirement {
        Requirement::Scopes(ScopeSet::of(self.listed.tag, index))
    }

    /// What no other scope covers: full access, or nobody's.
    pub(super) fn everything_else(&self, name: impl Into<Cow<'static, str>>) -> Requirement {
        match self.full_access {
            Some(full) => self.needs(full),
            None => Requirement::unlisted(name),
        }
    }
}

/// What a route row says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum RouteAccess {
    Public,
    Scope(ScopeIndex),
}

/// One segment of a route's template.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum TemplateSegment {
    Literal(String),
    /// `{name}`: exactly one segment.
    Parameter,
    /// `{*name}`: one segment or more, last in its template.
    Tail,
}

/// The route rows of an API type, as a tree by segment.
///
/// Of the rows that match method and path the most specific decides: segment by segment from the
/// left, a literal beats a parameter and a parameter a tail; on one template the method itself
/// beats GET for HEAD, which beats `*`.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct RouteTable {
    /// How many rows there are.
    rows: usize,
    root: Node,
}

#[derive(Debug, Default, PartialEq, Eq)]
struct Node {
    literals: BTreeMap<Box<str>, Node>,
    parameter: Option<Box<Node>>,
    tail: Rows,
    rows: Rows,
}

/// The rows of one template, by method.
#[derive(Debug, Default, PartialEq, Eq)]
struct Rows(Vec<(Box<str>, RouteAccess)>);

impl RouteTable {
    /// Adds a row. False if the table has one for the same method and template.
    pub(super) fn insert(
        &mut self,
        method: &str,
        template: &[TemplateSegment],
        access: RouteAccess,
    ) -> bool {
        self.rows += 1;
        let mut node = &mut self.root;
        for segment in template {
            node = match segment {
                TemplateSegment::Literal(text) => {
                    node.literals.entry(text.as_str().into()).or_default()
                }
                TemplateSegment::Parameter => node.parameter.get_or_insert_default(),
                TemplateSegment::Tail => return node.tail.insert(method, access),
            };
        }
        node.rows.insert(method, access)
    }

    fn find(&self, method: &str, segments: Segments<'_>) -> Option<RouteAccess> {
        if self.rows == 0 {
            return None;
        }
        self.root.find(method, segments)
    }
}

impl Node {
    /// Each step goes one segment deeper into a tree as deep as its longest template, and no node
    /// is visited twice, so a hostile path costs no more than the catalogue has rows.
    fn find(&self, method: &str, mut segments: Segments<'_>) -> Option<RouteAccess> {
        let Some(segment) = segments.next() else {
            return self.rows.find(method);
        };
        let literal = || self.literals.get(segment)?.find(method, segments.clone());
        let parameter = || self.parameter.as_ref()?.find(method, segments.clone());
        literal()
            .or_else(parameter)
            .or_else(|| self.tail.find(method))
    }
}

impl Rows {
    fn insert(&mut self, method: &str, access: RouteAccess) -> bool {
        let new = self.exactly(method).is_none();
        if new {
            self.0.push((method.into(), access));
        }
        new
    }

    fn exactly(&self, method: &str) -> Option<RouteAccess> {
        let row = self.0.iter().find(|(known, _)| **known == *method);
        row.map(|(_, access)| *access)
    }

    fn find(&self, method: &str) -> Option<RouteAccess> {
        if self.0.is_empty() {
            return None;
        }
        let head = || self.exactly("GET").filter(|_| method == "HEAD");
        // Why: `*` means the methods the rules know; TRACE or a WebDAV method must be named.
        let any = || Method::of(method).and_then(|_| self.exactly("*"));
        // A request for the method `*` is not a request for any method.
        let exact = self.exactly(method).filter(|_| method != "*");
        exact.or_else(head).or_else(any)
    }
}
