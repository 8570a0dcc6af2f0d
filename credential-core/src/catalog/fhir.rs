//! What a call to a FHIR R4 server needs: its interaction first, then what its query reaches.
//!
//! The interactions are those of its REST API (HL7 FHIR R4, <https://hl7.org/fhir/R4/http.html>).
//! What is not plainly one type's business needs read on every type. What may change anything
//! (batch, operations by POST) also needs every write scope that the catalogue lists; a host opens
//! a single operation to less with a route row.

mod query;

use std::borrow::Cow;

use super::api_type::{ApiType, Permission, Rights};
use super::path::{PathError, Segments};
use super::route::{Method, Requirement, Search, SearchForm};
use super::scope_set::{ScopeIndex, ScopeSet};

/// What a call needs by the FHIR rules.
pub(super) fn requirement(
    api: &ApiType,
    method: Method,
    segments: Segments<'_>,
    query: &str,
    search: Search<'_>,
) -> Result<Requirement, PathError> {
    let mut needs = Needs {
        api,
        scopes: api.no_scopes(),
        unlisted: None,
    };
    let last = segments.clone().last();
    interaction(&mut needs, method, segments.clone());
    query::read(&mut needs, query)?;
    conditional(&mut needs, method, segments, query, search.if_none_exist)?;
    if method == Method::Post && last == Some("_search") {
        match search.form {
            SearchForm::None => {}
            SearchForm::Read(body) => query::read(&mut needs, body)?,
            SearchForm::Unseen => needs.read_everything(),
        }
    }
    Ok(needs.into_requirement())
}

/// Adds what the interaction itself needs.
fn interaction(needs: &mut Needs<'_>, method: Method, segments: Segments<'_>) {
    let mut each = segments.clone();
    let path = [each.next(), each.next(), each.next(), each.next()];
    let last = segments.clone().last();
    if { segments }.any(|segment| segment.starts_with('$')) {
        return operation(needs, method, &path);
    }
    if method == Method::Post && last == Some("_search") {
        return match path {
            [Some(kind), Some(_), None, _] if is_type(kind) => needs.read(kind),
            _ => needs.read_everything(),
        };
    }
    match path {
        // Search over all types, or a batch, which may hold any interaction.
        [None, ..] if method == Method::Post => {
            needs.read_everything();
            needs.write_everything();
        }
        [Some(kind), None, ..] if is_type(kind) => needs.on(kind, method.permission()),
        [Some(kind), Some(id), None, _] if is_type(kind) && is_id(id) => {
            needs.on(kind, method.permission());
        }
        // SMART's `r`: an instance's earlier versions are that instance (SMART App Launch 2.2, "Scopes
        // for requesting FHIR Resources").
        [Some(kind), Some(id), Some("_history"), version]
            if method == Method::Get
                && is_type(kind)
                && is_id(id)
                && version.is_none_or(is_id)
                && each.next().is_none() =>
        {
            needs.read(kind);
        }
        // Search over all types, compartments, history and whatever is not FHIR.
        _ if method == Method::Get => needs.read_everything(),
        _ => needs.unlisted(""),
    }
}

/// Adds what a conditional create, update, patch or delete needs: its criteria are a search, and the
/// answer tells what was found (<https://hl7.org/fhir/R4/http.html#cond-update>).
fn conditional(
    needs: &mut Needs<'_>,
    method: Method,
    mut segments: Segments<'_>,
    query: &str,
    if_none_exist: Option<&str>,
) -> Result<(), PathError> {
    let kind = segments.next().filter(|kind| is_type(kind));
    let by_type = segments.next().is_none();
    let writes = method != Method::Get;
    let conditional = if_none_exist.is_some()
        || writes && by_type && method != Method::Post
        || writes && query::has_criteria(query)?;
    if !conditional {
        return Ok(());
    }
    match kind {
        Some(kind) => needs.read(kind),
        None => needs.read_everything(),
    }
    let Some(criteria) = if_none_exist else {
        return Ok(());
    };
    // Some servers take `?criteria` and `Patient?criteria` as well.
    let criteria = match criteria.split_once('?') {
        None => criteria,
        Some((before, criteria)) => {
            if !before.is_empty() && Some(before) != kind {
                needs.read_everything();
            }
            criteria
        }
    };
    query::read(needs, criteria)
}

/// Adds what an `$operation` needs: it may read anything, and by POST also change it.
fn operation(needs: &mut Needs<'_>, method: Method, path: &[Option<&str>; 4]) {
    let group_export =
        matches!(path, [Some("Group"), Some(id), Some("$export"), None] if is_id(id));
    match method {
        Method::Get | Method::Post => needs.read_everything(),
        Method::Put | Method::Patch | Method::Delete => return needs.unlisted(""),
    }
    if group_export {
        needs.read("Group");
    } else if method == Method::Post {
        needs.write_everything();
    }
}

/// A resource type's name: `[A-Z][A-Za-z0-9]{0,63}`.
pub(super) fn is_type(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_uppercase())
        && text.len() <= 64
        && text.bytes().all(|b| b.is_ascii_alphanumeric())
}

/// A resource's id: `[A-Za-z0-9\-\.]{1,64}` (<https://hl7.org/fhir/R4/datatypes.html#id>).
fn is_id(text: &str) -> bool {
    (1..=64).contains(&text.len())
        && text
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.'))
}

/// What has been found to be needed so far.
struct Needs<'a> {
    api: &'a ApiType,
    scopes: ScopeSet,
    /// The first right that is needed and not listed.
    unlisted: Option<Cow<'static, str>>,
}

impl Needs<'_> {
    fn on(&mut self, kind: &str, permission: Permission) {
        match permission {
            Permission::Read => self.read(kind),
            Permission::Write => self.write(kind),
        }
    }

    /// Read on one type; on a type that the catalogue does not list: on every type.
    fn read(&mut self, kind: &str) {
        match self.listed(kind).read {
            Some(index) => self.scopes.insert(index),
            None => self.read_everything(),
        }
    }

    fn write(&mut self, kind: &str) {
        match self.listed(kind).write.or(self.api.wildcard.write) {
            Some(index) => self.scopes.insert(index),
            None => self.unlisted(format!("system/{kind}.write")),
        }
    }

    /// Read on every type, also those not listed: only the wildcard says so.
    fn read_everything(&mut self) {
        match self.api.wildcard.read {
            Some(index) => self.scopes.insert(index),
            None => self.unlisted("system/*.read"),
        }
    }

    /// Every right to write that the catalogue lists; nothing where it lists none.
    fn write_everything(&mut self) {
        match self.api.wildcard.write {
            Some(index) => self.scopes.insert(index),
            None => self.scopes.insert_all(&self.api.listed.writes),
        }
    }

    /// Read on the type whose name is `parameter` with a capital, by convention the one that a
    /// reference parameter points to; on every type if none is listed.
    fn read_target_of(&mut self, parameter: &str) {
        match self.target_of(parameter) {
            Some(index) => self.scopes.insert(index),
            None => self.read_everything(),
        }
    }

    fn target_of(&self, parameter: &str) -> Option<ScopeIndex> {
        let (initial, rest) = parameter.split_at_checked(1)?;
        let target = self.api.segments.iter().find(|(kind, _)| {
            kind.strip_prefix(|c: char| initial.starts_with(c.to_ascii_lowercase()))
                .is_some_and(|tail| tail == rest)
        });
        target.and_then(|(_, rights)| rights.read)
    }

    fn unlisted(&mut self, name: impl Into<Cow<'static, str>>) {
        match self.api.full_access {
            Some(full) => self.scopes.insert(full),
            None => {
                self.unlisted.get_or_insert_with(|| name.into());
            }
        }
    }

    fn listed(&self, kind: &str) -> Rights {
        self.api.segments.get(kind).copied().unwrap_or_default()
    }

    fn into_requirement(self) -> Requirement {
        match self.unlisted {
            Some(name) => Requirement::unlisted(name),
            None => Requirement::Scopes(self.scopes),
        }
    }
}
