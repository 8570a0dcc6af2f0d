//! Is this catalogue right? Checks it as a whole, with every fault named, then makes it.

mod assemble;

pub(super) use assemble::segment;

use std::collections::{HashMap, HashSet};
use std::fmt::Display;
use std::sync::Arc;
use std::time::Duration;

use super::api_type::{ApiTypeId, PathRules};
use super::build::{ApiTypeBuilder, CatalogBuilder, ResourceBuilder, RouteDef, ScopeDef};
use super::route::{RouteAccess, RouteTable, TemplateSegment};
use super::scope_set::MAX_SCOPES;
use super::{CatalogError, CatalogFault, Inner, ScopeCatalog};
use super::{fhir, path, request, spelling, warning};

const LONGEST_ID: usize = 64;
const LONGEST_LABEL: usize = 100;
const LONGEST_DESCRIPTION: usize = 500;
const LONGEST_SCOPE: usize = 128;
const LONGEST_HEADER: usize = 64;
const LONGEST_TEMPLATE: usize = 32;
/// The methods of IANA's registry that can reach a route: all but CONNECT, PRI and TRACE, which is
/// refused everywhere.
const METHODS: [&str; 37] = [
    "ACL",
    "BASELINE-CONTROL",
    "BIND",
    "CHECKIN",
    "CHECKOUT",
    "COPY",
    "DELETE",
    "GET",
    "HEAD",
    "LABEL",
    "LINK",
    "LOCK",
    "MERGE",
    "MKACTIVITY",
    "MKCALENDAR",
    "MKCOL",
    "MKREDIRECTREF",
    "MKWORKSPACE",
    "MOVE",
    "OPTIONS",
    "ORDERPATCH",
    "PATCH",
    "POST",
    "PROPFIND",
    "PROPPATCH",
    "PUT",
    "QUERY",
    "REBIND",
    "REPORT",
    "SEARCH",
    "UNBIND",
    "UNCHECKOUT",
    "UNLINK",
    "UNLOCK",
    "UPDATE",
    "UPDATEREDIRECTREF",
    "VERSION-CONTROL",
];
const TOKEN_TTL: std::ops::RangeInclusive<Duration> =
    Duration::from_secs(60)..=Duration::from_secs(24 * 60 * 60);

/// Checks a catalogue and makes it; `faults` were found while reading it.
pub(super) fn catalog(
    builder: &CatalogBuilder,
    faults: Vec<CatalogFault>,
) -> Result<ScopeCatalog, CatalogError> {
    let mut check = Check {
        faults,
        scopes: HashMap::new(),
        spellings: Vec::new(),
    };
    if builder.api_types.is_empty() {
        check.fault("catalogue", "lists no api_type");
    }
    let (mut ids, mut bases) = (HashSet::new(), HashMap::new());
    for api_type in &builder.api_types {
        let place = api_type_place(&api_type.id);
        if !ids.insert(api_type.id.as_str()) {
            check.fault(&place, "another api_type has this id");
        }
        if let Some(other) = bases.insert(api_type.base_path.as_str(), &api_type.id) {
            let (base, other) = (shown(&api_type.base_path), shown(other));
            check.fault(
                &place,
                format!("base_path `{base}` is also that of `{other}`"),
            );
        }
        check.api_type(&place, api_type);
    }
    check.spellings();

    let made = builder.api_types.iter().map(assemble::api_type);
    match made.collect::<Option<Vec<_>>>() {
        Some(api_types) if check.faults.is_empty() => Ok(ScopeCatalog(Arc::new(Inner {
            warnings: warning::warnings(builder, &api_types),
            api_types: api_types.into_iter().map(Arc::new).collect(),
        }))),
        _ => Err(CatalogError::new(check.faults)),
    }
}

pub(super) fn api_type_place(id: &str) -> String {
    format!("api_type \"{}\"", shown(id))
}

pub(super) fn route_place(api_type: &str, method: &str, path: &str) -> String {
    format!("{api_type}: route \"{} {}\"", shown(method), shown(path))
}

/// Text of the catalogue as it may stand in a message.
fn shown(text: &str) -> impl Display {
    text.escape_debug()
}

struct Check {
    faults: Vec<CatalogFault>,
    /// Every scope so far, with its place.
    scopes: HashMap<String, String>,
    /// Other spellings of listed scopes: spelling, listed name, place.
    spellings: Vec<(String, String, String)>,
}

impl Check {
    fn fault(&mut self, place: &str, message: impl Into<String>) {
        self.faults.push(CatalogFault {
            place: place.to_owned(),
            message: message.into(),
        });
    }

    fn api_type(&mut self, place: &str, api_type: &ApiTypeBuilder) {
        if api_type.id.parse::<ApiTypeId>().is_err() {
            self.fault(
                place,
                "the id is not 1 to 32 characters `[a-z0-9_-]` starting with a letter",
            );
        }
        self.label(place, &api_type.label);
        if !is_text(&api_type.description, LONGEST_DESCRIPTION) {
            self.fault(place, description_fault());
        }
        self.base_path(place, &api_type.base_path);
        if !TOKEN_TTL.contains(&api_type.token_ttl) || api_type.token_ttl.subsec_nanos() != 0 {
            let (least, most) = (TOKEN_TTL.start().as_secs(), TOKEN_TTL.end().as_secs());
            self.fault(
                place,
                format!("token_ttl_seconds is not a whole number from {least} to {most}"),
            );
        }

        let mut named = Scopes::default();
        if let Some(full) = &api_type.full_access {
            self.scope(&format!("{place}: full_access"), &full.scope, &mut named);
        }
        if let Some(rule) = &api_type.on_behalf_of {
            let place = format!("{place}: on_behalf_of");
            self.scope(&place, &rule.scope, &mut named);
            if !is_header(&rule.header) {
                let header = shown(&rule.header);
                self.fault(
                    &place,
                    format!("header `{header}` is not an HTTP field name"),
                );
            }
        }
        if let Some(scope) = &api_type.introspection {
            self.scope(&format!("{place}: introspection"), scope, &mut named);
        }
        self.categories(place, api_type, &mut named);
        self.routes(place, api_type, &named);
        if named.opens == 0 {
            self.fault(place, "lists no scope that opens anything");
        }
        if named.digests.len() > MAX_SCOPES {
            let count = named.digests.len();
            self.fault(
                place,
                format!("lists {count} scopes, the most is {MAX_SCOPES}"),
            );
        }
    }

    fn label(&mut self, place: &str, label: &str) {
        if label.trim().is_empty() || !is_text(label, LONGEST_LABEL) {
            self.fault(
                place,
                format!(
                    "the label is not 1 to {LONGEST_LABEL} characters without control characters"
                ),
            );
        }
    }

    fn base_path(&mut self, place: &str, base: &str) {
        let literal = base
            .strip_prefix('/')
            .is_some_and(|rest| rest.split('/').all(path::is_literal_segment));
        if !base.is_empty() && !literal {
            self.fault(
                place,
                format!(
                    "base_path `{}` is neither empty nor `/` and unreserved characters without a `/` at the end",
                    shown(base)
                ),
            );
        }
    }

    /// Checks a scope and notes it as one of its API type.
    fn scope<'a>(&mut self, place: &str, scope: &'a ScopeDef, named: &mut Scopes<'a>) {
        let name = scope.name.as_str();
        if !request::is_scope_token(name) || name.len() > LONGEST_SCOPE {
            self.fault(
                place,
                format!(
                    "scope `{}` is not an RFC 6749 scope-token of at most {LONGEST_SCOPE} characters",
                    shown(name)
                ),
            );
        }
        if scope.description.trim().is_empty() || !is_text(&scope.description, LONGEST_DESCRIPTION)
        {
            self.fault(
                place,
                format!("scope `{}`: {}", shown(name), description_fault()),
            );
        }
        if let Some(other) = self.scopes.insert(name.to_owned(), place.to_owned()) {
            self.fault(
                place,
                format!("scope `{}` is also that of {other}", shown(name)),
            );
        } else if let Some(other) = named.digests.insert(assemble::digest(name), name) {
            self.fault(
                place,
                format!(
                    "scope `{}` has the digest of `{}`; one of them needs another name",
                    shown(name),
                    shown(other)
                ),
            );
        }
    }

    fn categories<'a>(
        &mut self,
        place: &str,
        api_type: &'a ApiTypeBuilder,
        named: &mut Scopes<'a>,
    ) {
        named.opens += usize::from(api_type.full_access.is_some());
        let mut seen = Seen::default();
        for category in &api_type.categories {
            let place = format!("{place}: category \"{}\"", shown(&category.id));
            if !is_id(&category.id) {
                self.fault(&place, id_fault());
            }
            if !seen.categories.insert(category.id.as_str()) {
                self.fault(&place, "another category has this id");
            }
            self.label(&place, &category.label);
            if category.resources.is_empty() {
                self.fault(&place, "lists no resource");
            }
            for resource in &category.resources {
                let place = format!("{place}: resource \"{}\"", shown(&resource.id));
                self.resource(&place, api_type.rules, resource, &mut seen);
                for (permission, scope) in resource.scopes() {
                    let place = format!("{place}: {}", assemble::word(permission));
                    self.scope(&place, scope, named);
                    named.opens += 1;
                    if api_type.rules == PathRules::Fhir {
                        for other in spelling::others(&scope.name, permission) {
                            self.spellings
                                .push((other, scope.name.clone(), place.clone()));
                        }
                    }
                }
            }
        }
    }

    fn resource<'a>(
        &mut self,
        place: &str,
        rules: PathRules,
        resource: &'a ResourceBuilder,
        seen: &mut Seen<'a>,
    ) {
        let any = resource.wildcard && resource.id == "*";
        if !any && !is_id(&resource.id) {
            self.fault(place, id_fault());
        }
        let new = seen.resources.insert(resource.id.as_str());
        if !new {
            self.fault(place, "another resource has this id");
        }
        self.label(place, &resource.label);
        if resource.read.is_none() && resource.write.is_none() {
            self.fault(place, "has neither a read nor a write scope");
        }
        if resource.wildcard {
            if seen.wildcard {
                self.fault(place, "another resource is the wildcard already");
            }
            if resource.segment.is_some() {
                self.fault(place, "a wildcard has no segment");
            }
            seen.wildcard = true;
            return;
        }
        let segment = segment(resource);
        // Two resources of one id have one segment by default: one fault is enough.
        if !seen.segments.insert(segment) && new {
            self.fault(
                place,
                format!("another resource has the segment `{}`", shown(segment)),
            );
        }
        if resource.segment.is_some() && !path::is_literal_segment(segment) {
            self.fault(
                place,
                format!(
                    "segment `{}` has a character that paths spell in two ways",
                    shown(segment)
                ),
            );
        }
        if rules == PathRules::Fhir && !fhir::is_type(segment) {
            self.fault(
                place,
                format!(
                    "`{}` is not a FHIR type name `[A-Z][A-Za-z0-9]{{0,63}}`",
                    shown(segment)
                ),
            );
        }
    }

    fn routes(&mut self, place: &str, api_type: &ApiTypeBuilder, named: &Scopes<'_>) {
        let acting = api_type.on_behalf_of.iter().map(|rule| &rule.scope);
        let idle: Vec<&str> = (acting.chain(&api_type.introspection))
            .map(|scope| scope.name.as_str())
            .collect();
        let mut table = RouteTable::default();
        for row in &api_type.routes {
            let place = route_place(place, &row.method, &row.path);
            if row.method != "*" && !METHODS.contains(&&*row.method) {
                self.fault(&place, method_fault(&row.method));
            }
            if repeats(&row.path, &api_type.base_path) {
                let base = shown(&api_type.base_path);
                self.fault(
                    &place,
                    format!("the path repeats the base_path `{base}`, behind which it begins"),
                );
            }
            match template(&row.path) {
                // Which scope does not matter here: two rows of one kind are a fault either way.
                Some(template) if table.insert(&row.method, &template, RouteAccess::Public) => {}
                Some(_) => self.fault(&place, "another route has this method and template"),
                None => self.fault(&place, template_fault()),
            }
            self.route_scope(&place, row, &idle, named);
        }
    }

    fn route_scope(&mut self, place: &str, row: &RouteDef, idle: &[&str], named: &Scopes<'_>) {
        let Some(scope) = row.scope.as_deref() else {
            return;
        };
        if idle.contains(&scope) {
            self.fault(place, format!("scope `{}` opens nothing", shown(scope)));
        } else if named.digests.get(&assemble::digest(scope)) != Some(&scope) {
            self.fault(
                place,
                format!("scope `{}` is not one of this api_type", shown(scope)),
            );
        }
    }

    /// A listed scope must not be what another one may also be called.
    fn spellings(&mut self) {
        for (spelling, name, place) in std::mem::take(&mut self.spellings) {
            if let Some(other) = self.scopes.get(&spelling) {
                let message = format!(
                    "scope `{}` may also be spelled `{}`, which is the scope of {other}",
                    shown(&name),
                    shown(&spelling)
                );
                self.fault(&place, message);
            }
        }
    }
}

/// The scopes of one API type.
#[derive(Default)]
struct Scopes<'a> {
    digests: HashMap<u32, &'a str>,
    /// How many of them open something.
    opens: usize,
}

/// What must be unique in one API type.
#[derive(Default)]
struct Seen<'a> {
    categories: HashSet<&'a str>,
    resources: HashSet<&'a str>,
    segments: HashSet<&'a str>,
    wildcard: bool,
}

/// A route's path as segments; `None` if it is not a template.
pub(super) fn template(path: &str) -> Option<Vec<TemplateSegment>> {
    let rest = path.strip_prefix('/')?;
    if rest.is_empty() {
        return Some(Vec::new());
    }
    let mut segments = Vec::new();
    let mut names = HashSet::new();
    for text in rest.split('/') {
        if segments.last() == Some(&TemplateSegment::Tail) || segments.len() == LONGEST_TEMPLATE {
            return None;
        }
        let braced = text
            .strip_prefix('{')
            .and_then(|text| text.strip_suffix('}'));
        let segment = match braced {
            None if path::is_literal_segment(text) => TemplateSegment::Literal(text.to_owned()),
            None => return None,
            Some(name) => {
                let (name, kind) = match name.strip_prefix('*') {
                    Some(name) => (name, TemplateSegment::Tail),
                    None => (name, TemplateSegment::Parameter),
                };
                if !is_id(name) || !names.insert(name) {
                    return None;
                }
                kind
            }
        };
        segments.push(segment);
    }
    Some(segments)
}

fn template_fault() -> String {
    format!(
        "the path is not a template: `/`, then at most {LONGEST_TEMPLATE} segments of unreserved \
         characters and `$`, or `{{name}}`, each name once, or `{{*name}}` as the last, no `/` at the end"
    )
}

fn method_fault(method: &str) -> String {
    let upper = method.to_ascii_uppercase();
    let meant = if method.is_empty() || ["ANY", "ALL"].contains(&&*upper) {
        "*"
    } else if METHODS.contains(&&*upper) {
        &upper
    } else {
        return format!(
            "`{}` is not a method that a call can have, such as GET, POST, PUT, PATCH or DELETE; is `*` \
             meant?",
            shown(method)
        );
    };
    let method = shown(method);
    format!("`{method}` is not a method that a call can have; is `{meant}` meant?")
}

/// Whether a path begins with a base path, as segments.
pub(super) fn repeats(path: &str, base: &str) -> bool {
    let rest = path.strip_prefix(base);
    !base.is_empty() && rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

fn is_id(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_alphanumeric())
        && text.len() <= LONGEST_ID
        && text
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'))
}

fn id_fault() -> String {
    format!(
        "the id is not 1 to {LONGEST_ID} characters `[A-Za-z0-9_.-]` starting with a letter or digit"
    )
}

fn is_text(text: &str, longest: usize) -> bool {
    text.chars().count() <= longest && !text.chars().any(char::is_control)
}

fn description_fault() -> String {
    format!(
        "the description is missing, has control characters or more than {LONGEST_DESCRIPTION} characters"
    )
}

/// A field-name of RFC 9110 §5.1.
fn is_header(text: &str) -> bool {
    (1..=LONGEST_HEADER).contains(&text.len())
        && text
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b))
}
