//! The demo sign-in: three users, one button each, no password. Because of it the server only runs on
//! loopback addresses.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use async_trait::async_trait;
use axum::{
    Form, Router,
    extract::State,
    response::{Html, IntoResponse, Redirect, Response},
    routing::{get, post},
};
use credential_axum::{Problem, ShownNames, SignIn, SignInError, refuse_cross_site};
use credential_core::{
    actor::{Actor, Role},
    entropy::{Entropy as _, OsEntropy},
    id::{ActorId, TenantId},
};
use http::{HeaderMap, HeaderValue, Method, StatusCode, header, request::Parts};
use maud::{DOCTYPE, html};
use serde::Deserialize;

pub const COOKIE: &str = "demo_session";

/// Sessions that are kept; beyond it the demo forgets them all.
const MOST_SESSIONS: usize = 10_000;

struct User {
    name: &'static str,
    tenant: &'static str,
    tenant_name: &'static str,
    role: Role,
    words: &'static str,
}

const USERS: [User; 3] = [
    User {
        name: "alder-admin",
        tenant: "alder",
        tenant_name: "Alder",
        role: Role::Admin,
        words: "Practice Admin of Alder",
    },
    User {
        name: "alder-staff",
        tenant: "alder",
        tenant_name: "Alder",
        role: Role::Member,
        words: "staff of Alder, not an admin",
    },
    User {
        name: "birch-admin",
        tenant: "birch",
        tenant_name: "Birch",
        role: Role::Admin,
        words: "Practice Admin of Birch",
    },
];

/// The users in words, for the start-up lines.
pub fn user_list() -> String {
    USERS
        .iter()
        .map(|user| format!("{} ({})", user.name, user.words))
        .collect::<Vec<_>>()
        .join(", ")
}

/// What the page calls an actor's practice and the actor.
pub fn shown_names(actor: &Actor) -> Option<ShownNames> {
    let user = USERS.iter().find(|user| user.name == actor.id.as_str())?;
    Some(ShownNames {
        tenant: user.tenant_name.to_owned(),
        person: user.name.to_owned(),
    })
}

/// Who is signed in, by the random text in their cookie.
#[derive(Debug, Clone, Default)]
pub struct Sessions(Arc<Mutex<HashMap<String, &'static str>>>);

impl Sessions {
    fn open(&self, user: &'static str) -> String {
        let mut random = [0; 16];
        OsEntropy.fill(&mut random);
        let session = format!("{:032x}", u128::from_be_bytes(random));
        let mut sessions = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if sessions.len() >= MOST_SESSIONS {
            sessions.clear();
        }
        sessions.insert(session.clone(), user);
        session
    }

    fn close(&self, headers: &HeaderMap) {
        if let Some(session) = session_of(headers) {
            let mut sessions = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            sessions.remove(session);
        }
    }

    fn user(&self, headers: &HeaderMap) -> Option<&'static User> {
        let session = session_of(headers)?;
        let sessions = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let name = sessions.get(session)?;
        USERS.iter().find(|user| user.name == *name)
    }
}

#[async_trait]
impl SignIn for Sessions {
    async fn actor(&self, parts: &Parts) -> Result<Option<Actor>, SignInError> {
        let Some(user) = self.user(&parts.headers) else {
            return Ok(None);
        };
        Ok(Some(Actor {
            id: ActorId::new(user.name).map_err(SignInError::new)?,
            tenant: TenantId::new(user.tenant).map_err(SignInError::new)?,
            role: user.role,
        }))
    }
}

/// The session in the request's cookie.
fn session_of(headers: &HeaderMap) -> Option<&str> {
    headers
        .get_all(header::COOKIE)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(';'))
        .filter_map(|pair| pair.trim().split_once('='))
        .find_map(|(name, value)| (name == COOKIE).then_some(value))
}

/// `/sign-in` and `/sign-out`.
pub fn router(sessions: Sessions) -> Router {
    Router::new()
        .route("/sign-in", get(page).post(sign_in))
        .route("/sign-out", post(sign_out))
        .with_state(sessions)
}

async fn page(State(sessions): State<Sessions>, headers: HeaderMap) -> Response {
    let user = sessions.user(&headers);
    let html = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width";
                meta name="color-scheme" content="light dark";
                title { "Sign in" }
            }
            body {
                main {
                    h1 { "Demo sign-in" }
                    @match user {
                        Some(user) => {
                            p { "Signed in as " strong { (user.name) } "." }
                            form method="post" action="/sign-out" { button { "Sign out" } }
                        },
                        None => p { "Nobody is signed in." },
                    }
                    form method="post" action="/sign-in" {
                        @for User { name, words, .. } in &USERS {
                            p { button name="user" value=(name) { (name) } " " (words) }
                        }
                    }
                }
            }
        }
    };
    let policy = "default-src 'none'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'";
    (
        [
            (header::CONTENT_SECURITY_POLICY, policy),
            (header::CACHE_CONTROL, "no-store"),
        ],
        Html(html.into_string()),
    )
        .into_response()
}

#[derive(Deserialize)]
struct SignInForm {
    user: String,
}

async fn sign_in(
    State(sessions): State<Sessions>,
    headers: HeaderMap,
    form: Result<Form<SignInForm>, axum::extract::rejection::FormRejection>,
) -> Response {
    if let Err(refused) = refuse_cross_site(&headers, &Method::POST) {
        return Problem::from(refused).into_response();
    }
    let user = form
        .ok()
        .and_then(|Form(form)| USERS.iter().find(|user| user.name == form.user));
    let Some(user) = user else {
        let message = format!("There is no such demo user. There are {}.\n", user_list());
        return (StatusCode::UNPROCESSABLE_ENTITY, message).into_response();
    };
    let cookie = format!(
        "{COOKIE}={}; Path=/; HttpOnly; SameSite=Strict",
        sessions.open(user.name)
    );
    with_cookie("/settings/api-access", &cookie)
}

async fn sign_out(State(sessions): State<Sessions>, headers: HeaderMap) -> Response {
    if let Err(refused) = refuse_cross_site(&headers, &Method::POST) {
        return Problem::from(refused).into_response();
    }
    sessions.close(&headers);
    let cookie = format!("{COOKIE}=; Path=/; HttpOnly; SameSite=Strict; Max-Age=0");
    with_cookie("/sign-in", &cookie)
}

fn with_cookie(to: &str, cookie: &str) -> Response {
    let mut response = Redirect::to(to).into_response();
    if let Ok(value) = HeaderValue::from_str(cookie) {
        response.headers_mut().insert(header::SET_COOKIE, value);
    }
    response
}
