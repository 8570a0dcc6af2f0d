//! The whole workflow over HTTP, against the real process.

#![allow(clippy::allow_attributes, clippy::unwrap_used, reason = "tests")]

mod common;
#[path = "../../credential-core/tests/common/signer.rs"]
mod signer;

use common::{CREDENTIALS, Server};
use credential_core::clock::{Clock as _, SystemClock};
use oauth2::{ClientId, ClientSecret, Scope, TokenResponse as _, TokenUrl, basic::BasicClient};
use serde_json::json;
use signer::Signer;

/// Refused tokens are logged by reason, however many there are, and never the tokens.
#[test]
fn refused_tokens_leave_a_bounded_trace() {
    let server = Server::start(&["--forward-auth-headers", "path"]);
    let client = server.client();
    for number in 0..200 {
        let token = format!("made-up-{number}");
        let path = ["/api/2.0/patients/", "/forward-auth/fhir/r4/Patient"][number % 2];
        assert_eq!(client.call("GET", path, &token).status, 401);
    }
    let log = server.stop().log;
    let lines: Vec<_> = log
        .lines()
        .filter(|line| line.contains("credential_core::refused"))
        .collect();
    // One in ten seconds, and this may take longer on a busy machine.
    assert!((1..20).contains(&lines.len()), "{log}");
    assert!(
        lines[0].contains("refused a token") && lines[0].contains("not_ours"),
        "{log}"
    );
    assert!(!log.contains("made-up"), "{log}");
}

/// TRACE would send a token back to whoever made a browser send it.
#[test]
fn trace_is_refused_everywhere() {
    let server = Server::start(&["--forward-auth-headers", "path"]);
    let client = server.client();
    for path in [
        "/",
        "/nowhere",
        "/livez",
        "/readyz",
        "/metrics",
        "/sign-in",
        "/settings/api-access",
        "/settings/api-access/nowhere",
        "/api-access/v1/catalog",
        "/api-access/v1/nowhere",
        "/oauth2/token",
        "/oauth2/introspect",
        "/.well-known/oauth-authorization-server",
        "/api/2.0/patients/",
        "/api/2.0/oauth2/token/",
        "/fhir/r4/metadata",
        "/fhir/r4",
        "/forward-auth/api/2.0/patients/",
        "/forward-auth",
    ] {
        let answer = client.send("TRACE", path, &[], None);
        assert_eq!(answer.status, 405, "{path}: {}", answer.body);
        assert!(answer.headers.contains_key("allow"), "{path}");
    }
}

/// Create, token, call, narrow, widen, revoke: each change is in the very next answer. With
/// everything logged, neither secret nor token is in any log line, and the secret is in exactly
/// one answer.
#[test]
#[expect(clippy::too_many_lines, reason = "one story, told in order")]
fn every_change_is_in_the_next_answer_and_no_secret_leaks() {
    let server = Server::start(&[
        "--log",
        "trace",
        "--introspection-secret",
        "resource-server-secret",
    ]);
    let admin = server.signed_in("alder-admin");
    let created = admin.json(
        "POST",
        CREDENTIALS,
        &[],
        &json!({"name": "Lab sync", "api_type": "apiv2", "scopes": ["system/patients.read"]}),
    );
    assert_eq!(created.status, 201, "{}", created.body);
    let id = created.text("/credential/id");
    let client_id = created.text("/credential/client_id");
    let secret = created.text("/client_secret");
    let credential = created.header("location").to_owned();
    assert_eq!(credential, format!("{CREDENTIALS}/{id}"));
    let scopes_path = format!("{credential}/scopes");

    let token_request = |secret: &str| {
        admin.form(
            "/oauth2/token",
            &[
                ("grant_type", "client_credentials"),
                ("client_id", &client_id),
                ("client_secret", secret),
            ],
        )
    };
    let issued = token_request(&secret);
    assert_eq!(issued.status, 200, "{}", issued.body);
    let token = issued.text("/access_token");
    let patients = |method: &str| admin.call(method, "/api/2.0/patients/", &token).status;
    assert_eq!(patients("GET"), 200);
    assert_eq!(patients("HEAD"), 200);
    assert_eq!(patients("POST"), 403);

    let set = |scopes: &[&str], version: &str| {
        let changed = admin.json(
            "PUT",
            &scopes_path,
            &[("if-match", version)],
            &json!({"scopes": scopes}),
        );
        assert_eq!(changed.status, 200, "{}", changed.body);
    };
    set(&["system/bills.read"], "\"1\"");
    assert_eq!(patients("GET"), 403);
    set(&["system/patients.read"], "\"2\"");
    assert_eq!(patients("GET"), 200);

    let introspect = || {
        let headers = [
            ("authorization", "Bearer resource-server-secret"),
            ("content-type", "application/x-www-form-urlencoded"),
        ];
        let answer = admin.send(
            "POST",
            "/oauth2/introspect",
            &headers,
            Some(&format!("token={token}")),
        );
        answer.json()
    };
    assert_eq!(introspect()["scope"], "system/patients.read");

    // Forged: the last character is another one.
    let forged = common::with_another_end(&secret);
    assert_eq!(token_request(&forged).text("/error"), "invalid_client");

    let revoked = admin.send("DELETE", &credential, &[], None);
    assert_eq!(revoked.status, 200, "{}", revoked.body);
    assert_eq!(patients("GET"), 401);
    assert_eq!(introspect(), json!({"active": false}));
    let refused = token_request(&secret);
    assert_eq!(
        (refused.status, refused.text("/error").as_str()),
        (401, "invalid_client")
    );

    admin.get(&credential, &[]);
    admin.get("/api-access/v1/audit-events", &[]);
    admin.get(&format!("{CREDENTIALS}?include_revoked=true"), &[]);
    let stopped = server.stop();
    assert_eq!(stopped.code, Some(0));
    assert!(stopped.log.contains("TRACE"), "the log is at TRACE");
    assert!(
        stopped.log.contains("refused a client"),
        "refusals are logged"
    );
    for (what, text) in [("log", &stopped.log), ("output", &stopped.stdout)] {
        // The selector is public; everything behind it is not.
        let private = secret.rsplit('_').next().unwrap();
        let private = private.get(16..59).unwrap();
        assert!(!text.contains(private), "the secret is in the {what}");
        assert!(!text.contains(&token), "the token is in the {what}");
        assert!(
            !text.contains(&forged),
            "the forged secret is in the {what}"
        );
        assert!(!text.contains("resource-server-secret"), "in the {what}");
    }
    let seen = admin.seen.lock().unwrap();
    assert_eq!(
        seen.iter()
            .filter(|answer| answer.contains(&secret))
            .count(),
        1
    );
    assert_eq!(
        seen.iter().filter(|answer| answer.contains(&token)).count(),
        1
    );
}

fn http(request: oauth2::HttpRequest) -> Result<oauth2::HttpResponse, ureq::Error> {
    let config = ureq::Agent::config_builder().http_status_as_error(false);
    let response = ureq::Agent::from(config.build()).run(request)?;
    let (parts, mut body) = response.into_parts();
    Ok(oauth2::HttpResponse::from_parts(parts, body.read_to_vec()?))
}

/// A client library from the field, with both ways of client authentication, at the address of the metadata and at
/// Elation's. `scripts/client-tests` has those of other languages.
#[test]
fn a_generic_oauth_client_gets_tokens() {
    let server = Server::start(&[]);
    let admin = server.signed_in("alder-admin");
    let created = admin.json(
        "POST",
        CREDENTIALS,
        &[],
        &json!({"name": "FHIR app", "api_type": "fhir", "scopes": ["system/Patient.rs"]}),
    );
    let client_id = created.text("/credential/client_id");
    let secret = created.text("/client_secret");
    assert_eq!(
        created.json()["credential"]["scopes"],
        json!(["system/Patient.read"])
    );
    let metadata = admin.get("/.well-known/oauth-authorization-server", &[]);
    let published = metadata.text("/token_endpoint");
    let elations = format!("{}/api/2.0/oauth2/token/", server.base);
    let ask = |endpoint: &str, auth: oauth2::AuthType| {
        BasicClient::new(ClientId::new(client_id.clone()))
            .set_client_secret(ClientSecret::new(secret.clone()))
            .set_token_uri(TokenUrl::new(endpoint.to_owned()).unwrap())
            .set_auth_type(auth)
            .exchange_client_credentials()
            .add_scope(Scope::new("system/Patient.read".to_owned()))
            .request(&http)
    };
    let call = |token: &str| admin.call("GET", "/fhir/r4/Patient/1", token);
    let ways = || {
        [&published, &elations].into_iter().flat_map(|endpoint| {
            let ways = [oauth2::AuthType::BasicAuth, oauth2::AuthType::RequestBody];
            ways.map(|auth| (endpoint, auth))
        })
    };
    let tokens: Vec<_> = ways()
        .map(|(endpoint, auth)| ask(endpoint, auth).unwrap())
        .collect();
    for token in &tokens {
        let answer = call(token.access_token().secret());
        assert_eq!(answer.status, 200, "{}", answer.body);
        assert_eq!(answer.text("/resourceType"), "Bundle");
    }
    let revoked = admin.send("DELETE", created.header("location"), &[], None);
    assert_eq!(revoked.status, 200, "{}", revoked.body);
    for token in &tokens {
        assert_eq!(call(token.access_token().secret()).status, 401);
    }
    for (endpoint, auth) in ways() {
        let refused = ask(endpoint, auth).unwrap_err();
        let oauth2::RequestTokenError::ServerResponse(refused) = refused else {
            panic!("{refused:?}");
        };
        assert_eq!(
            *refused.error(),
            oauth2::basic::BasicErrorResponseType::InvalidClient
        );
    }
}

/// With a key in place of a secret. To this library an assertion is a parameter like any other.
#[test]
fn a_generic_oauth_client_proves_itself_with_a_key() {
    let server = Server::start(&[]);
    let admin = server.signed_in("alder-admin");
    let signer = Signer::with_kid("ES256", "k1");
    let request = json!({
        "name": "Signing app",
        "api_type": "fhir",
        "scopes": ["system/Patient.read"],
        "authentication": {"kind": "public_key", "jwks": signer.key_set()},
    });
    let created = admin.json("POST", CREDENTIALS, &[], &request);
    assert_eq!(created.status, 201, "{}", created.body);
    assert_eq!(created.json()["client_secret"], json!(null));
    let client_id = created.text("/credential/client_id");
    let metadata = admin.get("/.well-known/oauth-authorization-server", &[]);
    let endpoint = metadata.text("/token_endpoint");
    let ask = |jti: &str| {
        let now = SystemClock.now().as_micros() / 1_000_000;
        let assertion = signer.sign(&json!({
            "iss": client_id,
            "sub": client_id,
            "aud": endpoint,
            "exp": now + 60,
            "jti": jti,
        }));
        BasicClient::new(ClientId::new(client_id.clone()))
            .set_token_uri(TokenUrl::new(endpoint.clone()).unwrap())
            .set_auth_type(oauth2::AuthType::RequestBody)
            .exchange_client_credentials()
            .add_extra_param(
                "client_assertion_type",
                "urn:ietf:params:oauth:client-assertion-type:jwt-bearer",
            )
            .add_extra_param("client_assertion", assertion)
            .request(&http)
    };
    let token = ask("1").unwrap();
    let call = || admin.call("GET", "/fhir/r4/Patient/1", token.access_token().secret());
    assert_eq!(call().status, 200);
    assert!(ask("1").is_err(), "an assertion counts once");
    let revoked = admin.send("DELETE", created.header("location"), &[], None);
    assert_eq!(revoked.status, 200, "{}", revoked.body);
    assert_eq!(call().status, 401);
    assert!(ask("2").is_err());
}

/// The other practice's admin and the staff get nothing; the guard's facts are the caller's.
#[test]
fn practices_do_not_see_each_other() {
    let server = Server::start(&[]);
    let alder = server.signed_in("alder-admin");
    let request = json!({"name": "Lab", "api_type": "apiv2", "scopes": ["apiv2", "act_as_user"]});
    let created = alder.json("POST", CREDENTIALS, &[], &request);
    let id = created.text("/credential/id");
    let one = format!("{CREDENTIALS}/{id}");
    assert_eq!(server.client().get(&one, &[]).status, 401);
    assert_eq!(server.signed_in("alder-staff").get(&one, &[]).status, 403);
    let birch = server.signed_in("birch-admin");
    assert_eq!(birch.get(&one, &[]).status, 404);
    assert_eq!(birch.get(CREDENTIALS, &[]).json()["items"], json!([]));
    let cross_site = [("sec-fetch-site", "cross-site")];
    let refused = alder.json("POST", CREDENTIALS, &cross_site, &request);
    assert_eq!(
        (refused.status, refused.text("/code").as_str()),
        (403, "cross_site")
    );
}

/// What an operator's graphs are made of, and no path as sent among the labels.
#[test]
fn metrics_count_requests_tokens_and_hashes() {
    let server = Server::start(&[]);
    let admin = server.signed_in("alder-admin");
    let request = json!({"name": "Lab", "api_type": "apiv2", "scopes": ["system/bills.read"]});
    let created = admin.json("POST", CREDENTIALS, &[], &request);
    let fields = [
        ("grant_type", "client_credentials"),
        ("client_id", &created.text("/credential/client_id")),
        ("client_secret", &created.text("/client_secret")),
    ];
    let token = admin.form("/oauth2/token", &fields).text("/access_token");
    admin.form("/oauth2/token", &fields);
    admin.form("/oauth2/token", &fields[..2]);
    admin.call("GET", "/api/2.0/bills/?secret=in-the-query", &token);
    admin.call("GET", "/api/2.0/bills/", "made-up");
    assert_eq!(admin.get("/readyz", &[]).status, 200); // catches up, if nothing has yet
    let metrics = admin.get("/metrics", &[]).body;
    for line in [
        "http_requests_total{route=\"/oauth2/token\",status=\"200\"} 2",
        "http_requests_total{route=\"/oauth2/token\",status=\"401\"} 1",
        "http_requests_total{route=\"/api/2.0/{*path}\",status=\"200\"} 1",
        "credential_authentications_total{outcome=\"ok\"} 2",
        "credential_tokens_issued_total 2",
        "credential_token_refusals_total{reason=\"not_ours\"} 1",
        "credential_argon2_seconds_count 2",
        "credential_verified_cache_hits_total 1",
        "credential_verified_cache_misses_total 1",
        "credential_argon2_waiting 0",
        "credential_change_delay_seconds_count 1",
    ] {
        assert!(
            metrics.lines().any(|found| found == line),
            "{line}\n{metrics}"
        );
    }
    assert!(metrics.contains("credential_freshness_age_seconds "));
    assert!(!metrics.contains("in-the-query"));
}
