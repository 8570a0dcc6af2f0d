//! What settings may be, and what an edit of them says in the audit trail.

use super::request::Findings;
use crate::{
    audit::Details,
    clock::Timestamp,
    credential::{CredentialName, NameError, Settings},
};

/// One entry of the trail for each thing that an edit changes, in the order of the settings.
pub(super) fn differences<'a>(before: &'a Settings, after: &'a Settings) -> Vec<Details<'a>> {
    let mut found = Vec::new();
    if after.name != before.name {
        found.push(Details::Renamed {
            name: after.name.as_str(),
            name_before: before.name.as_str(),
        });
    }
    if after.scopes != before.scopes {
        found.push(Details::ScopesChanged {
            scopes: &after.scopes,
            scopes_before: &before.scopes,
        });
    }
    if after.expires_at != before.expires_at {
        found.push(Details::ExpiryChanged {
            expires_at: after.expires_at.map(|at| at.to_string()),
            expires_at_before: before.expires_at.map(|at| at.to_string()),
        });
    }
    found
}

pub(super) fn check_name(name: &str, found: &mut Findings) -> Option<CredentialName> {
    CredentialName::new(name)
        .map_err(|error| {
            let code = match error {
                NameError::Required => "required",
                NameError::TooLong => "too_long",
                NameError::ForbiddenCharacter | NameError::Invisible => "forbidden_character",
            };
            found.add("name", code, error.to_string());
        })
        .ok()
}

pub(super) fn check_expiry(at: Option<Timestamp>, now: Timestamp, found: &mut Findings) {
    if at.is_some_and(|at| at <= now) {
        let message = "choose a time in the future, or none";
        found.add("expires_at", "in_the_past", message);
    }
}
