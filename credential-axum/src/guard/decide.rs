//! One decision for every way in: the guard layer and forward-auth.

use credential_core::{
    Credentials,
    authorize::{AuthorizeError, CallOrigin, TokenRefusal},
    catalog::{ApiType, Located, PathRules, Requirement, Search, SearchForm},
};
use http::{Extensions, HeaderMap};

use super::{
    access::Access,
    denial::Denial,
    header_names::{CheckedNames, IF_NONE_EXIST},
    search,
};
use crate::{authorization_header::Authorization, client_address::Caller};

/// A call as its client sent it.
#[derive(Clone, Copy)]
pub(crate) struct Call<'a> {
    pub(crate) method: &'a str,
    /// Path and query, with any prefix that a router has removed.
    pub(crate) target: &'a str,
    pub(crate) headers: &'a HeaderMap,
    pub(crate) extensions: &'a Extensions,
}

impl<'a> Call<'a> {
    /// Who sends it.
    pub(crate) fn caller(&self) -> Caller<'a> {
        Caller {
            headers: self.headers,
            extensions: self.extensions,
        }
    }
}

/// The rules that a call is checked against.
#[derive(Clone, Copy)]
pub(crate) struct Policy<'a> {
    pub(crate) credentials: &'a Credentials,
    pub(crate) api_type: &'a ApiType,
    pub(crate) names: &'a CheckedNames,
    /// The requirement of every call; `None`: the API type decides by method and path.
    pub(crate) fixed: Option<&'a Requirement>,
}

/// A call that may go on.
pub(crate) enum Decision {
    /// Open to everyone. No token was read.
    Public,
    /// Allowed to this caller.
    Allowed(Access),
}

impl<'a> Policy<'a> {
    /// Decides on a call whose body is known, or known to be unseen.
    ///
    /// # Errors
    /// In this order: `Trace`; `BadRequest` for its path, then for a header; `NoToken`, `InvalidToken`,
    /// `Unavailable`; `AddressNotAllowed`; what [`Policy::admit`] says. So only a live token gets as far as
    /// its networks, and a foreign address learns nothing of scopes.
    pub(crate) async fn decide(
        &self,
        call: Call<'_>,
        form: SearchForm<'_>,
    ) -> Result<Decision, Denial> {
        let located = self.locate(call)?;
        if self.is_public(&located) {
            return Ok(Decision::Public);
        }
        let caller = match self.caller(call.caller()).await {
            Ok(caller) => caller,
            Err(denial) => return Err(self.noted(denial, located, call, form)),
        };
        let requirement = self.requirement(located, call, form)?;
        self.admit(caller, requirement, call.caller(), Some(call.method))
            .map(Decision::Allowed)
    }

    /// As [`decide`](Self::decide) if it needs no waiting, which is almost always.
    ///
    /// # Errors
    /// As for `decide`, but `Unavailable`.
    pub(crate) fn decide_now(
        &self,
        call: Call<'_>,
        form: SearchForm<'_>,
    ) -> Option<Result<Decision, Denial>> {
        let located = match self.locate(call) {
            Ok(located) if self.is_public(&located) => return Some(Ok(Decision::Public)),
            Ok(located) => located,
            Err(denial) => return Some(Err(denial)),
        };
        let sender = call.caller();
        let known = match bearer(call.headers) {
            Ok(token) => {
                let presented = self.credentials.bearer(token);
                presented.called_from(&sender).verify_known()?
            }
            Err(denial) => return Some(Err(self.noted(denial, located, call, form))),
        };
        let caller = match known.map_err(refused) {
            Ok(caller) => caller,
            Err(denial) => return Some(Err(self.noted(denial, located, call, form))),
        };
        let admitted = self
            .requirement(located, call, form)
            .and_then(|it| self.admit(caller, it, call.caller(), Some(call.method)));
        Some(admitted.map(Decision::Allowed))
    }

    /// The denial, with what the call needs: what refused it did not know the call. A refused address is counted
    /// by it. Whoever lacks a valid token is told it, so that a client asks for a token with these scopes;
    /// except for a search, which is read for callers with a valid token only.
    pub(super) fn noted(
        &self,
        mut denial: Denial,
        located: Located<'_>,
        call: Call<'_>,
        form: SearchForm<'_>,
    ) -> Denial {
        match &mut denial {
            Denial::AddressNotAllowed => {
                if let Ok(requirement) = self.requirement(located, call, form) {
                    self.note_foreign(&requirement, call.caller(), Some(call.method));
                }
            }
            Denial::NoToken { needed } | Denial::InvalidToken { needed } => {
                let unread = matches!(located, Located::Search(_))
                    && (call.target.contains('?')
                        || search::is_search(self.api_type, call)
                        || call.headers.contains_key(IF_NONE_EXIST));
                if !unread && let Ok(requirement) = self.requirement(located, call, form) {
                    *needed = self.api_type.describe(&requirement);
                }
            }
            _ => {}
        }
        denial
    }

    /// Counts a call from an address that its credential is not for, by what the call needed.
    fn note_foreign(&self, requirement: &Requirement, sender: Caller<'_>, method: Option<&str>) {
        if let Ok(token) = bearer(sender.headers) {
            let origin = CallOrigin {
                method,
                address: Some(&sender),
            };
            let presented = self.credentials.bearer(token);
            presented.note_refused(requirement, origin);
        }
    }

    /// The target of the call. The requirement may depend on more, which is read only for callers
    /// with a valid token.
    ///
    /// # Errors
    /// `Trace`, `BadRequest`.
    pub(crate) fn locate(&self, call: Call<'a>) -> Result<Located<'a>, Denial> {
        if call.method == "TRACE" {
            return Err(Denial::Trace);
        }
        // Also where the requirement is fixed: a path that parsers read differently may reach
        // another handler behind a proxy.
        let located = self
            .api_type
            .locate(call.method, call.target)
            .map_err(|error| Denial::bad_request(error.to_string()))?;
        self.names.check(call.headers)?;
        Ok(located)
    }

    /// Whether the call is open to everyone.
    pub(crate) fn is_public(&self, located: &Located<'_>) -> bool {
        self.fixed.is_none() && matches!(located, Located::Needs(Requirement::Public))
    }

    /// What the call needs.
    ///
    /// # Errors
    /// `BadRequest`.
    pub(crate) fn requirement(
        &self,
        located: Located<'_>,
        call: Call<'_>,
        form: SearchForm<'_>,
    ) -> Result<Requirement, Denial> {
        let search = Search {
            form,
            if_none_exist: self.if_none_exist(call.headers)?,
        };
        let requirement = located
            .requirement(search)
            .map_err(|error| Denial::bad_request(error.to_string()))?;
        Ok(self.fixed.cloned().unwrap_or(requirement))
    }

    /// The criteria of a conditional create, which are a search (FHIR).
    ///
    /// # Errors
    /// `BadRequest` if there is more than one such header, or it is not text.
    fn if_none_exist<'h>(&self, headers: &'h HeaderMap) -> Result<Option<&'h str>, Denial> {
        if self.api_type.rules() != PathRules::Fhir {
            return Ok(None);
        }
        let mut values = headers.get_all(IF_NONE_EXIST).iter();
        let Some(value) = values.next() else {
            return Ok(None);
        };
        match (value.to_str(), values.next()) {
            (Ok(criteria), None) => Ok(Some(criteria)),
            _ => Err(Denial::bad_request(
                "`If-None-Exist` must be there once at most, percent-encoded",
            )),
        }
    }

    /// The caller of a call that needs no token, if it has one.
    ///
    /// # Errors
    /// `InvalidToken`, `Unavailable`, `AddressNotAllowed`; as [`Policy::admit`].
    pub(crate) async fn volunteer(&self, sender: Caller<'_>) -> Result<Option<Access>, Denial> {
        let admit = |caller| self.admit(caller, Requirement::Public, sender, None);
        match self.caller(sender).await {
            Ok(caller) => admit(caller).map(Some),
            Err(Denial::NoToken { .. }) => Ok(None),
            Err(denial) => {
                if denial == Denial::AddressNotAllowed {
                    self.note_foreign(&Requirement::Public, sender, None);
                }
                Err(denial)
            }
        }
    }

    /// The caller.
    ///
    /// # Errors
    /// `NoToken`, `InvalidToken`, `Unavailable`, `AddressNotAllowed`.
    pub(crate) async fn caller(
        &self,
        sender: Caller<'_>,
    ) -> Result<credential_core::Access, Denial> {
        let presented = self.credentials.bearer(bearer(sender.headers)?);
        let verified = presented.called_from(&sender).verify().await;
        verified.map_err(|error| match error {
            AuthorizeError::Refused(refusal) => refused(refusal),
            AuthorizeError::Store(error) => {
                tracing::debug!(error = &error as &dyn std::error::Error, "no verdict");
                Denial::Unavailable
            }
        })
    }

    /// Whether the caller may do what the call needs, and for whom. This is where a call is counted and its refusal
    /// noted, once.
    ///
    /// # Errors
    /// `OtherApiType`; `MayNotActFor`, then `BadRequest` for the header that names a user;
    /// `InsufficientScope`.
    pub(crate) fn admit(
        &self,
        caller: credential_core::Access,
        requirement: Requirement,
        sender: Caller<'_>,
        method: Option<&str>,
    ) -> Result<Access, Denial> {
        let origin = CallOrigin {
            method,
            address: Some(&sender),
        };
        if caller.api_type().id() != self.api_type.id() {
            caller.note_denied(&requirement, origin);
            return Err(Denial::OtherApiType {
                token: caller.api_type().id().to_string(),
                called: self.api_type.id().to_string(),
                needed: self.api_type.describe(&requirement),
            });
        }
        let acting = self.on_behalf_of(&caller, &requirement, sender.headers, origin)?;
        let permitted = match &acting {
            None => caller.permits_call(&requirement, origin),
            Some((acting, _)) => caller.permits_all(&[&requirement, acting], origin),
        };
        if !permitted {
            return Err(Denial::InsufficientScope {
                needed: match &acting {
                    None => self.api_type.describe(&requirement),
                    Some((acting, _)) => self.describe_both(&requirement, acting),
                },
            });
        }
        let on_behalf_of = acting.map(|(_, user)| user);
        Ok(Access::new(caller, requirement, on_behalf_of))
    }

    /// The scopes of a call that names a user: whoever asks for a token with them needs them together.
    fn describe_both(&self, requirement: &Requirement, acting: &Requirement) -> String {
        let both = [requirement, acting].map(|each| self.api_type.describe(each));
        both.join(" ").trim_start().to_owned()
    }

    /// What naming a user needs, and the user, if the call names one.
    fn on_behalf_of<'h>(
        &self,
        caller: &credential_core::Access,
        requirement: &Requirement,
        headers: &'h HeaderMap,
        origin: CallOrigin<'_>,
    ) -> Result<Option<(Requirement, &'h str)>, Denial> {
        let Some(rule) = self.api_type.on_behalf_of() else {
            return Ok(None);
        };
        let mut values = headers.get_all(&rule.header).iter();
        let Some(value) = values.next() else {
            return Ok(None);
        };
        let scope = self
            .api_type
            .scope_at(rule.scope)
            .map_or("", |scope| scope.name.as_str());
        let denied = |needed| Denial::MayNotActFor {
            needed,
            scope: scope.to_owned(),
            header: rule.header.clone(),
        };
        let acting = self.api_type.requires(scope);
        let acting = acting.map_err(|_| denied(scope.to_owned()))?;
        if !caller.meets(&acting) {
            caller.note_denied(&acting, origin);
            return Err(denied(self.describe_both(requirement, &acting)));
        }
        let user = value.to_str().ok().filter(|user| rule.accepts(user));
        match (user, values.next()) {
            (Some(user), None) => Ok(Some((acting, user))),
            _ => Err(Denial::bad_request(format!(
                "`{}` must name one user in the documented form",
                rule.header
            ))),
        }
    }
}

fn refused(refusal: TokenRefusal) -> Denial {
    match refusal {
        TokenRefusal::AddressNotAllowed => Denial::AddressNotAllowed,
        _ => Denial::INVALID_TOKEN,
    }
}

/// The access token, which is read from the `Authorization` header alone.
fn bearer(headers: &HeaderMap) -> Result<&str, Denial> {
    match Authorization::of(headers) {
        Authorization::One { scheme, value } if scheme.eq_ignore_ascii_case("Bearer") => Ok(value),
        Authorization::Absent | Authorization::One { .. } => Err(Denial::NO_TOKEN),
        Authorization::Repeated | Authorization::Unreadable => Err(Denial::INVALID_TOKEN),
    }
}
