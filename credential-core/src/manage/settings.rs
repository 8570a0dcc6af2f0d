//! What settings may be, and what an edit of them says in the audit trail.

use std::time::Duration;

use super::request::Findings;
use crate::{
    audit::{Details, KeyNote, SecretEnd, WorkloadNote},
    clock::Timestamp,
    credential::{
        CredentialName, Description, DescriptionError, Means, NameError, NetworkError, Networks,
        Settings, StoredSecret,
    },
    jose::{Algorithm, PublicKey},
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
    if after.description != before.description {
        found.push(Details::DescriptionChanged {
            description: after.description.as_str(),
            description_before: before.description.as_str(),
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
    let name = after.name.as_str();
    match (before.disabled_at, after.disabled_at) {
        (None, Some(_)) => found.push(Details::Disabled { name }),
        (Some(_), None) => found.push(Details::Enabled { name }),
        _ => {}
    }
    if after.allowed_networks != before.allowed_networks {
        found.push(Details::NetworksChanged {
            allowed_networks: after.allowed_networks.texts().collect(),
            allowed_networks_before: before.allowed_networks.texts().collect(),
        });
    }
    found.extend(secret_differences(&before.secrets, &after.secrets));
    let (keys, keys_before) = (key_notes(after), key_notes(before));
    if keys != keys_before {
        found.push(Details::KeysChanged { keys, keys_before });
    }
    let (workloads, workloads_before) = (workload_notes(after), workload_notes(before));
    if workloads != workloads_before {
        found.push(Details::WorkloadsChanged {
            workloads,
            workloads_before,
        });
    }
    found
}

/// What the trail says of the public keys.
pub(super) fn key_notes(settings: &Settings) -> Vec<KeyNote<'_>> {
    let registrations = settings.registrations.iter();
    let notes = registrations.filter_map(|it| match &it.means {
        Means::Key(key) => Some(key_note(key)),
        Means::KeySetUrl(url) => Some(KeyNote::Url {
            jwks_uri: url.as_str(),
        }),
        Means::Workload(_) => None,
    });
    notes.collect()
}

fn key_note(key: &PublicKey) -> KeyNote<'_> {
    KeyNote::Key {
        kid: key.kid(),
        alg: key.algorithm().map(Algorithm::as_str),
        thumbprint: key.thumbprint(),
    }
}

/// What the trail says of the trusted workloads.
pub(super) fn workload_notes(settings: &Settings) -> Vec<WorkloadNote<'_>> {
    let registrations = settings.registrations.iter();
    let notes = registrations.filter_map(|it| match &it.means {
        Means::Workload(rule) => Some(WorkloadNote {
            issuer: rule.issuer(),
            audience: rule.audience(),
            subject: rule.subject(),
            claims: rule.claims(),
            pinned: rule.keys().map(|keys| keys.iter().map(key_note).collect()),
        }),
        Means::Key(_) | Means::KeySetUrl(_) => None,
    });
    notes.collect()
}

/// Secrets that are forgotten long after their end are no difference.
fn secret_differences<'a>(
    before: &'a [StoredSecret],
    after: &'a [StoredSecret],
) -> impl Iterator<Item = Details<'a>> {
    let earlier = |secret: &StoredSecret| before.iter().find(|it| it.selector == secret.selector);
    let ended = after.iter().filter(move |secret| {
        secret.ended_at.is_some() && earlier(secret).is_some_and(|it| it.ended_at.is_none())
    });
    let ended = ended.map(|secret| Details::SecretEnded {
        selector: secret.selector.as_str(),
    });
    let ends = move || {
        let moved = after.iter().filter(move |secret| {
            earlier(secret).is_some_and(|it| it.expires_at != secret.expires_at)
        });
        moved.filter_map(|secret| {
            Some(SecretEnd {
                selector: secret.selector.as_str(),
                expires_at: secret.expires_at?.to_string(),
            })
        })
    };
    let added = after.iter().filter(move |secret| earlier(secret).is_none());
    let added = added.map(move |secret| Details::SecretAdded {
        selector: secret.selector.as_str(),
        ends: ends().collect(),
    });
    ended.chain(added)
}

pub(super) fn check_description(text: &str, found: &mut Findings) -> Option<Description> {
    Description::new(text)
        .map_err(|error| {
            let code = match error {
                DescriptionError::TooLong => "too_long",
                DescriptionError::ForbiddenCharacter => "forbidden_character",
            };
            found.add("description", code, error.to_string());
        })
        .ok()
}

pub(super) fn check_networks(texts: &[String], found: &mut Findings) -> Option<Networks> {
    Networks::parse(texts)
        .map_err(|errors| {
            for error in errors {
                let code = match error {
                    NetworkError::NotANetwork { .. } => "invalid_network",
                    NetworkError::HostBits { .. } => "host_bits_set",
                    NetworkError::TooMany => "too_many",
                };
                found.add("allowed_networks", code, error.to_string());
            }
        })
        .ok()
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

/// The end of a credential's life that the admin asked for; without one, the latest that is allowed.
pub(super) fn check_expiry(
    at: Option<Timestamp>,
    now: Timestamp,
    max_lifetime: Option<Duration>,
    found: &mut Findings,
) -> Option<Timestamp> {
    let latest = max_lifetime.map(|longest| now.saturating_add(longest));
    if at.is_some_and(|at| at <= now) {
        let message = "choose a time in the future, or none";
        found.add("expires_at", "in_the_past", message);
    }
    if let (Some(at), Some(latest)) = (at, latest)
        && at > latest
    {
        let message = format!("a credential lives until {latest} at most, counted from now");
        found.add("expires_at", "too_long", message);
    }
    at.or(latest)
}
