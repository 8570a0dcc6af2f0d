//! The `scope` parameter of a token request (RFC 6749 §3.3) against what the credential holds.

use super::api_type::ApiType;
use super::rights::Named;
use super::scope_set::ScopeSet;
use super::shown;

/// The scopes a token is issued with.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct RequestedScopes {
    /// Which scopes the token carries.
    pub scopes: GrantedScopes,
    /// The `scope` of the token response (RFC 6749 §5.1).
    ///
    /// The client's spelling in the client's order; where a name was narrowed, the names of what
    /// was granted stand in its place.
    pub echo: String,
}

/// Which scopes a token carries. There is no value that means "everything".
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GrantedScopes {
    /// Whatever the credential holds at the moment of each call.
    FollowsCredential,
    /// At most these, and never more than the credential confers at the moment of each call.
    Named(ScopeSet),
}

/// Why a token request is answered with `invalid_scope` (RFC 6749 §5.2).
///
/// The text is safe for `error_description`: visible ASCII without `"` and `\`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ScopeRequestError {
    /// The credential holds nothing, so there is nothing to issue.
    #[error("the credential has no scopes; an admin must grant some first")]
    NoScopes,
    /// Not the syntax of RFC 6749 §3.3.
    #[error("scope is not a list of scope-tokens separated by spaces")]
    Malformed,
    /// The API type of the credential lists no such scope.
    #[error("unknown scope `{name}`")]
    Unknown {
        /// The name as sent, unless it is too long for one: it might be a secret in the wrong field.
        name: String,
    },
    /// The credential does not hold the scope, or nothing of what the wildcard covers.
    #[error("the credential does not hold `{name}`")]
    NotHeld {
        /// The name as sent.
        name: String,
    },
    /// The scopes asked for may not be held together.
    #[error("{message}")]
    Conflict {
        /// Which ones, and why.
        message: String,
    },
}

impl ApiType {
    /// Decides which scopes a token gets: what was asked for, never more than is held.
    ///
    /// No scope asked: the token follows the credential; so it does when exactly the full-access
    /// scope is asked for and not held, as clients of Elation's own documentation do. A wildcard
    /// that is not held whole is narrowed to what is held of it.
    ///
    /// # Errors
    /// [`ScopeRequestError`]: the credential holds no scope, the text is malformed, a scope is
    /// unknown or not held, or the scopes asked for exclude each other.
    pub fn request(
        &self,
        requested: Option<&str>,
        held: &ScopeSet,
    ) -> Result<RequestedScopes, ScopeRequestError> {
        if held.is_empty() || !self.owns(held) {
            return Err(ScopeRequestError::NoScopes);
        }
        let requested = requested.unwrap_or_default();
        let tokens = || requested.split(' ').filter(|token| !token.is_empty());
        if !tokens().all(is_scope_token) {
            return Err(ScopeRequestError::Malformed);
        }
        let follows = match self.full_access() {
            Some(full) if !held.contains(full.index) => tokens().all(|token| token == full.name),
            _ => tokens().next().is_none(),
        };
        if follows {
            return Ok(RequestedScopes {
                scopes: GrantedScopes::FollowsCredential,
                echo: self.names(held).join(" "),
            });
        }

        let rights = self.rights(held);
        let mut granted = self.no_scopes();
        let mut echo = String::with_capacity(requested.len());
        for token in tokens() {
            let Some(named) = self.named(token) else {
                return Err(ScopeRequestError::Unknown { name: shown(token) });
            };
            let Some((scopes, narrowed)) = self.grant(&named, held, &rights) else {
                return Err(ScopeRequestError::NotHeld { name: shown(token) });
            };
            let new = scopes.difference(&granted);
            granted.insert_all(&scopes);
            if new.is_empty() {
                continue;
            }
            if narrowed {
                for scope in self.scopes_of(&new) {
                    push(&mut echo, &scope.name);
                }
            } else {
                push(&mut echo, token);
            }
        }
        if let Err(faults) = self.check(&granted) {
            let messages: Vec<_> = faults.into_iter().map(|fault| fault.message).collect();
            return Err(ScopeRequestError::Conflict {
                message: messages.join("; "),
            });
        }
        Ok(RequestedScopes {
            scopes: GrantedScopes::Named(granted),
            echo,
        })
    }

    /// What of `named` may be granted, and whether that is less than was asked for.
    fn grant(&self, named: &Named, held: &ScopeSet, rights: &ScopeSet) -> Option<(ScopeSet, bool)> {
        if named.whole && named.scopes.is_subset(rights) {
            return Some((named.scopes, false));
        }
        if !named.narrows {
            return None;
        }
        // The scopes held themselves come first; what only a wider scope confers is added where
        // those do not already confer it.
        let direct = held.intersection(&named.covers);
        let conferred = rights
            .intersection(&named.covers)
            .difference(&self.rights(&direct));
        let narrowed = direct.union(&conferred)?;
        (!narrowed.is_empty()).then_some((narrowed, true))
    }
}

/// A scope-token of RFC 6749 §3.3.
pub(super) fn is_scope_token(text: &str) -> bool {
    !text.is_empty()
        && text
            .bytes()
            .all(|b| matches!(b, 0x21 | 0x23..=0x5b | 0x5d..=0x7e))
}

fn push(echo: &mut String, name: &str) {
    if !echo.is_empty() {
        echo.push(' ');
    }
    echo.push_str(name);
}
