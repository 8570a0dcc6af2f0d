//! Credentials on the server, made through its own admin API, and the requests of their clients.

use base64::{Engine as _, prelude::BASE64_STANDARD};
use benches::{Error, fixture::forge};
use serde_json::{Value, json};

use crate::{
    client::{Connection, Exchange, render},
    server::INTROSPECTION_SECRET,
};

const FORM: (&str, &str) = ("content-type", "application/x-www-form-urlencoded");
const JSON: (&str, &str) = ("content-type", "application/json");
const PATH: &str = "/api/2.0/patients/64058687489/";

/// A practice admin who is signed in.
pub struct Admin {
    connection: Connection,
    cookie: String,
}

/// A client's credential.
#[derive(Debug)]
pub struct Key {
    pub id: String,
    pub client_id: String,
    pub secret: String,
}

impl Admin {
    pub async fn sign_in(address: &str) -> Result<Self, Error> {
        Self::sign_in_as(address, "alder-admin").await
    }

    pub async fn sign_in_as(address: &str, user: &str) -> Result<Self, Error> {
        let mut connection = Connection::open(address).await?;
        let request = render("POST", "/sign-in", &[FORM], &format!("user={user}"));
        let answer = connection.exchange(&request).await?;
        let cookie = answer.header("set-cookie").ok_or("no session")?;
        let cookie = cookie.split(';').next().unwrap_or_default().to_owned();
        Ok(Self { connection, cookie })
    }

    pub async fn create(&mut self, name: &str) -> Result<Key, Error> {
        let body = json!({
            "name": name,
            "api_type": "apiv2",
            "scopes": ["system/patients.read"],
        });
        let created = self.send("POST", "", &[], &body, 201).await?;
        let text = |pointer: &str| {
            let found = created.pointer(pointer).and_then(Value::as_str);
            found
                .map(str::to_owned)
                .ok_or_else(|| format!("no {pointer} in the answer"))
        };
        Ok(Key {
            id: text("/credential/id")?,
            client_id: text("/credential/client_id")?,
            secret: text("/client_secret")?,
        })
    }

    pub async fn revoke(&mut self, key: &Key) -> Result<(), Error> {
        let path = format!("/{}", key.id);
        self.send("DELETE", &path, &[], &Value::Null, 200).await?;
        Ok(())
    }

    /// Lets a credential end by itself at a time (RFC 3339).
    pub async fn expire_at(&mut self, key: &Key, at: &str) -> Result<(), Error> {
        let path = format!("/{}", key.id);
        let body = json!({"expires_at": at});
        let any = ("if-match", "*");
        self.send("PATCH", &path, &[any], &body, 200).await?;
        Ok(())
    }

    /// A request that others may send for this admin.
    pub fn request(
        &self,
        name: &'static str,
        method: &str,
        path: &str,
        body: &Value,
        expected: u16,
    ) -> Exchange {
        exchange(name, expected, self.render(method, path, &[], body))
    }

    fn render(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &Value,
    ) -> std::sync::Arc<[u8]> {
        let path = format!("/api-access/v1/credentials{path}");
        let mut headers = headers.to_vec();
        headers.push(("cookie", &self.cookie));
        let mut text = String::new();
        if !body.is_null() {
            headers.push(JSON);
            text = body.to_string();
        }
        render(method, &path, &headers, &text)
    }

    async fn send(
        &mut self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &Value,
        expected: u16,
    ) -> Result<Value, Error> {
        let request = self.render(method, path, headers, body);
        let answer = self.connection.exchange(&request).await?;
        if answer.status != expected {
            let body = String::from_utf8_lossy(answer.body);
            return Err(format!("{method} {path} answered {}: {body}", answer.status).into());
        }
        Ok(serde_json::from_slice(answer.body)?)
    }
}

pub fn livez() -> Exchange {
    exchange("livez", 200, render("GET", "/livez", &[], ""))
}

/// A token request with the secret in the form.
pub fn token_by_post(name: &'static str, client_id: &str, secret: &str, expected: u16) -> Exchange {
    let body =
        format!("grant_type=client_credentials&client_id={client_id}&client_secret={secret}");
    let request = render("POST", "/oauth2/token", &[FORM], &body);
    exchange(name, expected, request)
}

/// A guarded call with a token of that key's.
pub async fn warm_check(address: &str, key: &Key) -> Result<Exchange, Error> {
    let by_post = token_by_post("token", &key.client_id, &key.secret, 200);
    let token = token(address, &by_post).await?;
    let bearer = format!("Bearer {token}");
    let request = render("GET", PATH, &[("authorization", &bearer)], "");
    Ok(exchange("guard", 200, request))
}

async fn token(address: &str, by_post: &Exchange) -> Result<String, Error> {
    let mut connection = Connection::open(address).await?;
    let answer = connection.exchange(&by_post.request).await?;
    let issued: Value = serde_json::from_slice(answer.body)?;
    let token = issued.get("access_token").and_then(Value::as_str);
    Ok(token.ok_or("no token")?.to_owned())
}

/// The routes that have a budget, as one client's requests to them.
pub async fn routes(address: &str) -> Result<Vec<Exchange>, Error> {
    let key = Admin::sign_in(address).await?.create("load").await?;
    let by_post = token_by_post("token, post", &key.client_id, &key.secret, 200);
    let token = token(address, &by_post).await?;
    let bearer = format!("Bearer {token}");
    let basic = BASE64_STANDARD.encode(format!("{}:{}", key.client_id, key.secret));
    let basic = format!("Basic {basic}");
    let introspect = |name, authorization: &str| {
        let headers = [FORM, ("authorization", authorization)];
        let body = format!("token={token}");
        exchange(
            name,
            200,
            render("POST", "/oauth2/introspect", &headers, &body),
        )
    };
    let forward = [
        ("authorization", bearer.as_str()),
        ("x-original-method", "GET"),
        ("x-original-uri", PATH),
    ];
    let by_basic = [FORM, ("authorization", basic.as_str())];
    let grant = "grant_type=client_credentials";
    Ok(vec![
        exchange(
            "guard",
            200,
            render("GET", PATH, &[("authorization", &bearer)], ""),
        ),
        exchange(
            "forward-auth",
            200,
            render("GET", "/forward-auth", &forward, ""),
        ),
        introspect(
            "introspect, bearer",
            &format!("Bearer {INTROSPECTION_SECRET}"),
        ),
        introspect("introspect, client", &basic),
        exchange(
            "token, basic",
            200,
            render("POST", "/oauth2/token", &by_basic, grant),
        ),
        by_post,
        token_by_post("token, forged", &key.client_id, &forge(&key.secret), 401),
    ])
}

fn exchange(name: &'static str, expected: u16, request: std::sync::Arc<[u8]>) -> Exchange {
    Exchange::new(name, request, expected)
}
