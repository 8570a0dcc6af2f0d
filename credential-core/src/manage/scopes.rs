//! What a credential may do.

use std::{collections::BTreeSet, sync::Arc};

use super::{
    Changed, Expected, Field, Manage, ManageError, ScopeChoice, SetScopes, request::Findings,
};
use crate::{
    catalog::{ApiType, ScopeCatalog, ScopeFault, ScopeSet},
    credential::{Credential, Settings},
    id::CredentialId,
};

impl Manage<'_> {
    /// Changes what a credential may do, at once for every token that it has. Setting what it
    /// already holds leaves the version as it is.
    ///
    /// # Errors
    /// `NotFound`, `SelfServiceUnavailable`, `Revoked`, `VersionRequired`, `StaleVersion`,
    /// `ApiTypeImmutable`, `Invalid`, `RateLimited`, `Store`.
    pub async fn set_scopes(
        self,
        id: CredentialId,
        expected: Option<&Expected>,
        request: SetScopes,
    ) -> Result<Changed, ManageError> {
        let before = self.editable(id, expected).await?;
        let scopes = self.decided_scopes(&before, request)?;
        if scopes == before.settings.scopes {
            return self.already_in_effect(before).await;
        }
        let settings = Settings {
            scopes,
            ..before.settings.clone()
        };
        self.replace(&before, settings).await
    }

    /// The scopes that the credential would hold.
    ///
    /// # Errors
    /// `ApiTypeImmutable`, `Invalid`.
    pub(super) fn decided_scopes(
        &self,
        before: &Credential,
        request: SetScopes,
    ) -> Result<Vec<String>, ManageError> {
        let mut found = Findings::new(request.incomplete);
        let catalog = self.credentials.catalog();
        let api_type = check_api_type(catalog, before.identity.api_type.as_str(), &mut found);
        let choice = found.required(request.choice, "scopes", "name scopes or choose a preset");
        let scopes = match (&api_type, choice) {
            (Some(api_type), Some(ScopeChoice::Named(names))) => {
                check_new_scopes(catalog, api_type, before, &names, &mut found)
            }
            (Some(api_type), Some(ScopeChoice::ReadOnly)) => {
                refuse_unknown(api_type, before, &mut found);
                Some(owned_names(api_type, &api_type.read_only()))
            }
            _ => None,
        };
        if changes_api_type(&request.api_type, before) {
            return Err(found.into_immutable());
        }
        match scopes {
            Some(scopes) if found.is_empty() => Ok(scopes),
            _ => Err(found.into_error()),
        }
    }
}

/// The API type of that name.
pub(super) fn check_api_type(
    catalog: &ScopeCatalog,
    id: &str,
    found: &mut Findings,
) -> Option<Arc<ApiType>> {
    let api_type = catalog.api_type(id);
    if api_type.is_none() {
        let known: Vec<_> = catalog
            .api_types()
            .iter()
            .map(|api_type| format!("`{}`", api_type.id()))
            .collect();
        let message = format!("no such API type; there are {}", known.join(", "));
        found.add("api_type", "unknown_api_type", message);
    }
    api_type.cloned()
}

/// The most names of scopes in a request: more than an API type can list. Each may be a fault of its own, and how
/// long an answer is must have a bound.
const MAX_NAMES: usize = 600;

/// The scopes of those names, canonical and sorted.
pub(super) fn check_scopes(
    catalog: &ScopeCatalog,
    api_type: &ApiType,
    names: &[String],
    found: &mut Findings,
) -> Option<Vec<String>> {
    if names.len() > MAX_NAMES {
        found.add("scopes", "too_many", format!("at most {MAX_NAMES} names"));
        return None;
    }
    let parsed = catalog
        .parse_scopes(api_type, names.iter().map(String::as_str))
        .and_then(|set| api_type.check(&set).map(|()| set));
    match parsed {
        Ok(set) => Some(owned_names(api_type, &set)),
        Err(wrong) => {
            for ScopeFault { code, message, .. } in wrong {
                found.add("scopes", code, message);
            }
            None
        }
    }
}

/// As [`check_scopes`], for a credential that may hold what this node's
/// catalogue does not list, because another version of it is in use elsewhere: that may stay. It
/// confers nothing here.
fn check_new_scopes(
    catalog: &ScopeCatalog,
    api_type: &ApiType,
    before: &Credential,
    names: &[String],
    found: &mut Findings,
) -> Option<Vec<String>> {
    let held: BTreeSet<&String> = before.settings.scopes.iter().collect();
    if names.iter().collect::<BTreeSet<_>>() == held {
        // What was read may be written back, whatever the catalogue has become.
        return Some(before.settings.scopes.clone());
    }
    let (kept, chosen): (Vec<_>, Vec<_>) = names
        .iter()
        .cloned()
        .partition(|name| held.contains(name) && api_type.scope(name).is_none());
    let mut scopes = check_scopes(catalog, api_type, &chosen, found)?;
    scopes.extend(kept);
    scopes.sort_unstable();
    scopes.dedup();
    Some(scopes)
}

fn owned_names(api_type: &ApiType, set: &ScopeSet) -> Vec<String> {
    api_type.names(set).into_iter().map(str::to_owned).collect()
}

/// Whether a scope writes is for the catalogue to say: one that it does not list is not kept as a read
/// scope and not dropped unasked either.
fn refuse_unknown(api_type: &ApiType, before: &Credential, found: &mut Findings) {
    let held = before.settings.scopes.iter();
    for name in held.filter(|name| api_type.scope(name).is_none()) {
        let message = format!(
            "`{}` is not known to this version, which cannot tell whether it is read-only: take it away \
             by name first, by setting a list without it",
            name.escape_debug()
        );
        found.add("scopes", "unknown_scope", message);
    }
}

/// Naming the API type that the credential has is no change of it.
pub(super) fn changes_api_type(named: &Field<String>, before: &Credential) -> bool {
    match named {
        Field::Absent => false,
        Field::Unreadable => true,
        Field::Value(id) => id != before.identity.api_type.as_str(),
    }
}
