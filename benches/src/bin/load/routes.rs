//! The routes that have a budget, and what they need to exist first.

use base64::{Engine as _, prelude::BASE64_STANDARD};
use benches::Error;
use http::{HeaderMap, HeaderValue, Method, Request, StatusCode, header};
use http_body_util::Full;
use hyper::body::Bytes;
use serde_json::Value;

use crate::{client::once, server::INTROSPECTION_SECRET};

const FORM: HeaderValue = HeaderValue::from_static("application/x-www-form-urlencoded");

/// One request that is sent again and again.
#[derive(Clone)]
pub struct Route {
    pub name: &'static str,
    pub expected: StatusCode,
    method: Method,
    path: &'static str,
    headers: HeaderMap,
    body: Bytes,
}

impl Route {
    fn new(name: &'static str, method: Method, path: &'static str) -> Self {
        Self {
            name,
            expected: StatusCode::OK,
            method,
            path,
            headers: HeaderMap::new(),
            body: Bytes::new(),
        }
    }

    /// What every ratio is to.
    pub fn floor() -> Self {
        Self::new("livez", Method::GET, "/livez")
    }

    fn header(mut self, name: &'static str, value: &str) -> Result<Self, Error> {
        self.headers.insert(name, value.parse()?);
        Ok(self)
    }

    fn form(mut self, body: String) -> Self {
        self.headers.insert(header::CONTENT_TYPE, FORM);
        self.body = body.into();
        self
    }

    pub fn request(&self) -> Result<Request<Full<Bytes>>, Error> {
        let mut request = Request::builder()
            .method(self.method.clone())
            .uri(self.path);
        if let Some(headers) = request.headers_mut() {
            headers.clone_from(&self.headers);
            headers.insert(header::HOST, HeaderValue::from_static("localhost"));
        }
        Ok(request.body(Full::new(self.body.clone()))?)
    }
}

/// A credential and a token on the server.
pub struct Setup {
    routes: Vec<Route>,
}

impl Setup {
    pub async fn new(address: &str) -> Result<Self, Error> {
        let sign_in =
            Route::new("sign-in", Method::POST, "/sign-in").form("user=alder-admin".into());
        let (parts, _) = once(address, sign_in.request()?).await?;
        let cookie = parts.headers.get(header::SET_COOKIE).ok_or("no session")?;
        let session = cookie
            .to_str()?
            .split(';')
            .next()
            .unwrap_or_default()
            .to_owned();

        let mut create = Route::new("create", Method::POST, "/api-access/v1/credentials")
            .header("cookie", &session)?
            .header("content-type", "application/json")?;
        create.body =
            r#"{"name":"load","api_type":"apiv2","scopes":["system/patients.read"]}"#.into();
        let created: Value = serde_json::from_slice(&once(address, create.request()?).await?.1)?;
        let text = |pointer: &str| {
            let found = created.pointer(pointer).and_then(Value::as_str);
            found
                .map(str::to_owned)
                .ok_or(format!("no {pointer} in the answer"))
        };
        let client_id = text("/credential/client_id")?;
        let secret = text("/client_secret")?;
        let basic = BASE64_STANDARD.encode(format!("{client_id}:{secret}"));
        let other_end = if secret.ends_with('x') { "y" } else { "x" };
        let forged = format!(
            "{}{other_end}",
            secret.get(..secret.len() - 1).unwrap_or_default()
        );
        let post = |secret: &str| {
            format!("grant_type=client_credentials&client_id={client_id}&client_secret={secret}")
        };

        let token = |name| Route::new(name, Method::POST, "/oauth2/token");
        let by_post = token("token, post").form(post(&secret));
        let issued: Value = serde_json::from_slice(&once(address, by_post.request()?).await?.1)?;
        let bearer = issued
            .get("access_token")
            .and_then(Value::as_str)
            .ok_or("no token")?;
        let authorization = format!("Bearer {bearer}");
        let introspect = |name| {
            Route::new(name, Method::POST, "/oauth2/introspect").form(format!("token={bearer}"))
        };
        let mut refused = token("token, forged").form(post(&forged));
        refused.expected = StatusCode::UNAUTHORIZED;
        Ok(Self {
            routes: vec![
                Route::new("guard", Method::GET, "/api/2.0/patients/64058687489/")
                    .header("authorization", &authorization)?,
                Route::new("forward-auth", Method::GET, "/forward-auth")
                    .header("authorization", &authorization)?
                    .header("x-original-method", "GET")?
                    .header("x-original-uri", "/api/2.0/patients/64058687489/")?,
                introspect("introspect, bearer")
                    .header("authorization", &format!("Bearer {INTROSPECTION_SECRET}"))?,
                introspect("introspect, client")
                    .header("authorization", &format!("Basic {basic}"))?,
                token("token, basic")
                    .form("grant_type=client_credentials".into())
                    .header("authorization", &format!("Basic {basic}"))?,
                by_post,
                refused,
            ],
        })
    }

    pub fn routes(&self) -> impl Iterator<Item = Route> {
        self.routes.iter().cloned()
    }
}
