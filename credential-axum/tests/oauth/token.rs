//! The token endpoint (RFC 6749 §4.4 and §5).

use std::time::Duration;

use axum::body::{Body, Bytes};
use base64::{Engine, engine::general_purpose::STANDARD};
use credential_core::{clock::Clock, manage::RotateSecret};
use http::{Request, StatusCode};
use http_body_util::{BodyExt, Full};

use crate::{
    FORM, Platform, RESOURCE_SERVER, TOKEN, basic, basic_of, in_body, platform, post, refused,
    secret,
};

#[tokio::test]
async fn a_token_by_every_way_in() {
    let platform = platform();
    let key = platform
        .key("alder", "apiv2", &["system/patients.read"])
        .await;
    let (id, secret) = secret(&key);
    let grant = "grant_type=client_credentials";
    for (path, authorization, form) in [
        (TOKEN, None, format!("{grant}&{}", in_body(&key))),
        (
            "/api/2.0/oauth2/token/",
            None,
            format!("{grant}&{}&", in_body(&key)),
        ),
        (
            "/api/2.0/oauth2/token",
            Some(basic(id, secret)),
            grant.to_owned(),
        ),
        ("/oauth2/token/", None, format!("{grant}&{}", in_body(&key))),
        // Left over from something else, beside credentials in the body.
        (
            TOKEN,
            Some(String::new()),
            format!("{grant}&{}", in_body(&key)),
        ),
        (
            TOKEN,
            Some("Bearer eyJhbGciOiJub25lIn0.e30.".to_owned()),
            format!("{grant}&{}", in_body(&key)),
        ),
        (
            TOKEN,
            Some("Bearer".to_owned()),
            format!("{grant}&{}", in_body(&key)),
        ),
        (
            TOKEN,
            Some("Digest username=\"a\"".to_owned()),
            format!("{grant}&{}", in_body(&key)),
        ),
        (
            TOKEN,
            Some("Basically nothing".to_owned()),
            format!("{grant}&{}", in_body(&key)),
        ),
        (TOKEN, Some(basic(id, secret)), grant.to_owned()),
        // Form-encoded before base64, as RFC 6749 §2.3.1 has it.
        (
            TOKEN,
            Some(basic(&id.replace('_', "%5F"), secret)),
            grant.to_owned(),
        ),
        (
            TOKEN,
            Some(basic(id, secret).replace("Basic", "bAsIc ")),
            grant.to_owned(),
        ),
        (
            TOKEN,
            Some(basic(id, secret)),
            format!("{grant}&client_id={id}"),
        ),
        (
            TOKEN,
            Some(basic(id, secret)),
            format!("{grant}&client_secret=&scope=&audience=x"),
        ),
    ] {
        let mut request = post(path);
        if let Some(value) = authorization {
            request = request.header("authorization", value);
        }
        let answer = platform.send(request, form.clone()).await;
        assert_eq!(answer.status, StatusCode::OK, "{form}: {}", answer.body);
        assert_eq!(answer.header("cache-control"), "no-store");
        assert_eq!(answer.header("pragma"), "no-cache");
        let mut json = answer.json();
        let token = json["access_token"].take();
        assert!(token.as_str().is_some_and(|token| token.len() > 40));
        insta::allow_duplicates! {
            insta::assert_snapshot!(json, @r#"{"access_token":null,"expires_in":36000,"scope":"system/patients.read","token_type":"Bearer"}"#);
        }
    }
}

#[tokio::test]
async fn what_is_no_request_is_refused_before_the_client_is_looked_at() {
    let platform = platform();
    let key = platform
        .key("alder", "apiv2", &["system/patients.read"])
        .await;
    let good = format!("grant_type=client_credentials&{}", in_body(&key));
    let twice = format!("{good}&grant_type=client_credentials");
    let with_basic = || post(TOKEN).header("authorization", basic_of(&key));
    let grant = "grant_type=client_credentials";
    for (what, request, body) in [
        ("grant_type twice", post(TOKEN), twice),
        (
            "an unknown parameter twice",
            post(TOKEN),
            format!("{good}&x=1&x=1"),
        ),
        (
            "broken percent-encoding",
            post(TOKEN),
            format!("{good}&scope=%2"),
        ),
        ("broken UTF-8", post(TOKEN), format!("{good}&scope=%ff")),
        ("secret in header and body", with_basic(), good.clone()),
        (
            "an empty Basic header beside the body",
            post(TOKEN).header("authorization", "basic"),
            good.clone(),
        ),
        (
            "Basic among several headers beside the body",
            post(TOKEN)
                .header("authorization", "Bearer x")
                .header("authorization", basic_of(&key)),
            good.clone(),
        ),
        (
            "another client in the body",
            with_basic(),
            format!("{grant}&client_id=cred"),
        ),
        (
            "two Authorization headers",
            with_basic().header("authorization", basic_of(&key)),
            grant.to_owned(),
        ),
        (
            "credentials in the URL",
            post(&format!("{TOKEN}?client_secret=x")),
            good.clone(),
        ),
        (
            "JSON",
            Request::post(TOKEN).header("content-type", "application/json"),
            good.clone(),
        ),
        ("no content type", Request::post(TOKEN), good.clone()),
        (
            "two content types",
            post(TOKEN).header("content-type", FORM),
            good.clone(),
        ),
    ] {
        let answer = platform.send(request, body).await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{what}");
        refused(&answer, 400, "invalid_request");
    }
    let huge = format!("{good}&x={}", "x".repeat(64 * 1024));
    refused(
        &platform.send(post(TOKEN), huge).await,
        413,
        "invalid_request",
    );
    refused(
        &platform.send(post(TOKEN), torn()).await,
        400,
        "invalid_request",
    );
}

/// A body that breaks off after its first bytes.
fn torn() -> Body {
    let start = Full::<Bytes>::from("grant_type=").map_err(|never| match never {});
    let end = async { Some(Err(std::io::Error::from(std::io::ErrorKind::UnexpectedEof))) };
    Body::new(start.with_trailers(end))
}

#[tokio::test]
async fn one_answer_for_every_client_that_is_not_authenticated() {
    let platform = platform();
    let key = platform
        .key("alder", "apiv2", &["system/patients.read"])
        .await;
    let other = platform
        .key("birch", "apiv2", &["system/patients.read"])
        .await;
    let dead = platform
        .key("alder", "apiv2", &["system/vitals.read"])
        .await;
    platform.revoke(&dead).await;
    let (id, genuine) = secret(&key);
    let grant = "grant_type=client_credentials";
    let last = if genuine.ends_with('A') { 'B' } else { 'A' };
    let wrong = format!("{}{last}", &genuine[..genuine.len() - 1]);
    let mut bodies = Vec::new();
    for (authorization, form) in [
        (
            None,
            format!("{grant}&client_id={id}&client_secret=made-up"),
        ),
        (
            None,
            format!("{grant}&client_id={id}&client_secret={wrong}"),
        ),
        (
            None,
            format!("{grant}&client_id={id}&client_secret={}", secret(&other).1),
        ),
        (None, format!("{grant}&{}", in_body(&dead))),
        // The client comes before the grant type.
        (
            None,
            format!("grant_type=password&client_id={id}&client_secret=made-up"),
        ),
        (Some(basic(id, "")), grant.to_owned()),
        (Some(basic(id, "%zz")), grant.to_owned()),
        (Some("Basic".to_owned()), grant.to_owned()),
        (Some("Basic !".to_owned()), grant.to_owned()),
        (
            Some(format!("Basic {}", STANDARD.encode("no colon"))),
            grant.to_owned(),
        ),
        (
            Some(format!("Basic {}", STANDARD.encode(b"\xff:\xff"))),
            grant.to_owned(),
        ),
    ] {
        bodies.push(no_client(&platform, authorization, form).await);
    }
    bodies.dedup();
    insta::assert_snapshot!(bodies.join("\n"), @r#"{"error":"invalid_client","error_description":"client authentication failed"}"#);
}

/// The body of the refusal of a client.
async fn no_client(platform: &Platform, authorization: Option<String>, form: String) -> String {
    let mut request = post(TOKEN);
    if let Some(value) = authorization {
        request = request.header("authorization", value);
    }
    let answer = platform.send(request, form).await;
    refused(&answer, 401, "invalid_client");
    assert_eq!(
        answer.header("www-authenticate"),
        r#"Basic realm="oauth2", charset="UTF-8""#
    );
    answer.body
}

#[tokio::test]
async fn who_sends_no_client_authentication_is_told_so() {
    let platform = platform();
    let key = platform
        .key("alder", "apiv2", &["system/patients.read"])
        .await;
    let (id, genuine) = secret(&key);
    let grant = "grant_type=client_credentials";
    let mut bodies = Vec::new();
    for (authorization, form) in [
        (None, grant.to_owned()),
        (None, format!("{grant}&client_id={id}")),
        (None, format!("{grant}&client_secret={genuine}")),
        (Some("Digest x".to_owned()), grant.to_owned()),
        (Some(format!("Bearer {RESOURCE_SERVER}")), grant.to_owned()),
    ] {
        bodies.push(no_client(&platform, authorization, form).await);
    }
    bodies.dedup();
    insta::assert_snapshot!(bodies.join("\n"), @r#"{"error":"invalid_client","error_description":"the request has no client authentication: send client_id and client_secret, by HTTP Basic or in the body, or a client_assertion"}"#);
}

#[tokio::test]
async fn only_client_credentials_are_granted() {
    let platform = platform();
    let key = platform
        .key("alder", "apiv2", &["system/patients.read"])
        .await;
    for (grant, error) in [
        ("", "invalid_request"),
        ("grant_type=&", "invalid_request"),
        ("grant_type=password&", "unsupported_grant_type"),
        ("grant_type=refresh_token&", "unsupported_grant_type"),
        ("grant_type=Client_Credentials&", "unsupported_grant_type"),
    ] {
        let answer = platform
            .send(post(TOKEN), format!("{grant}{}", in_body(&key)))
            .await;
        refused(&answer, 400, error);
    }
}

#[tokio::test]
async fn scopes_are_granted_narrowed_or_refused() {
    let platform = platform();
    let api = platform
        .key(
            "alder",
            "apiv2",
            &["system/patients.read", "system/patients.write"],
        )
        .await;
    let fhir = platform
        .key(
            "alder",
            "fhir",
            &["system/Patient.read", "system/Observation.read"],
        )
        .await;
    let empty = platform.key("alder", "apiv2", &[]).await;
    for (key, asked, granted) in [
        (&api, "system/patients.read", "system/patients.read"),
        (
            &api,
            "system/patients.write%20system/patients.read",
            "system/patients.write system/patients.read",
        ),
        // Elation's own example on a key without full access: the token follows the key.
        (&api, "apiv2", "system/patients.read system/patients.write"),
        (&api, "", "system/patients.read system/patients.write"),
        // The client's own spelling comes back where it says the same.
        (&fhir, "system/Patient.rs", "system/Patient.rs"),
        (
            &fhir,
            "system/*.read",
            "system/Observation.read system/Patient.read",
        ),
        (
            &fhir,
            "system/*.rs",
            "system/Observation.read system/Patient.read",
        ),
    ] {
        let answer = platform.ask(key, &format!("&scope={asked}")).await;
        assert_eq!(answer.status, StatusCode::OK, "{asked}: {}", answer.body);
        assert_eq!(answer.json()["scope"], granted, "{asked}");
    }
    for (key, asked, why) in [
        (
            &api,
            "system/vitals.read",
            "does not hold `system/vitals.read`",
        ),
        (&api, "system/Patient.read", "unknown scope"),
        (&api, "nonsense", "unknown scope `nonsense`"),
        (&api, "a%22b", "not a list of scope-tokens"),
        (&fhir, "system/patients.read", "unknown scope"),
        (&empty, "", "has no scopes"),
        (&empty, "apiv2", "has no scopes"),
    ] {
        let answer = platform.ask(key, &format!("&scope={asked}")).await;
        refused(&answer, 400, "invalid_scope");
        let json = answer.json();
        let said = json["error_description"].as_str().unwrap();
        assert!(said.contains(why), "{asked}: {said}");
    }
}

/// RFC 8707: what the token is for may be named, also twice; it must be what it will be for.
#[tokio::test]
async fn a_resource_must_be_the_api_of_the_client() {
    let platform = platform();
    let key = platform
        .key("alder", "apiv2", &["system/patients.read"])
        .await;
    for resources in [
        &["https://platform.example/api/2.0"][..],
        &["https://platform.example/api/2.0/"],
        &["https://platform.example/api/2.0/patients"],
        &["https%3A%2F%2Fplatform.example%2Fapi%2F2.0"],
        &["HTTPS://Platform.Example:443/api/2.0"],
        &[
            "https://platform.example/api/2.0",
            "https://platform.example/api/2.0/patients",
        ],
    ] {
        let more = format!("&resource={}", resources.join("&resource="));
        let answer = platform.ask(&key, &more).await;
        assert_eq!(answer.status, StatusCode::OK, "{more}: {}", answer.body);
    }
    for resources in [
        &[""][..],
        &["https://platform.example"],
        &["https://platform.example/"],
        &["https://platform.example/fhir/r4"],
        &["https://platform.example/api/2.00"],
        &["https://platform.example/api/2.0/../../fhir/r4"],
        &["https://platform.example/api/2.0/%252e%252e"],
        &["https://platform.example//api/2.0"],
        &["https://platform.example/API/2.0"],
        &["https://platform.example/api/2.0%23fragment"],
        &["https://platform.example/api/2.0?query"],
        &["https://platform.example:8443/api/2.0"],
        &["https://platform.example.evil.example/api/2.0"],
        &["https://u@platform.example/api/2.0"],
        &["http://platform.example/api/2.0"],
        &["platform.example/api/2.0"],
        &["/api/2.0"],
        &["nonsense"],
        &[
            "https://platform.example/api/2.0",
            "https://platform.example/fhir/r4",
        ],
    ] {
        let more = format!("&resource={}", resources.join("&resource="));
        let answer = platform.ask(&key, &more).await;
        refused(&answer, 400, "invalid_target");
        let said = answer.json()["error_description"]
            .as_str()
            .unwrap()
            .to_owned();
        assert!(said.contains("https://platform.example/api/2.0"), "{said}");
    }
    // Whom it is for is said to nobody else.
    let stranger = "grant_type=client_credentials&client_id=a&client_secret=b&resource=x";
    refused(
        &platform.send(post(TOKEN), stranger).await,
        401,
        "invalid_client",
    );
}

/// A client is told from thirty days before its end on, in seconds since 1970.
#[tokio::test]
async fn an_end_that_is_near_is_announced() {
    const DAY: u64 = 24 * 3_600;
    let platform = platform();
    let end = platform
        .clock
        .now()
        .saturating_add(Duration::from_secs(31 * DAY));
    let key = platform
        .key_until("alder", "apiv2", &["system/patients.read"], Some(end))
        .await;
    let announced = async || {
        let answer = platform.ask(&key, "").await.json();
        answer.get("client_secret_expires_at").cloned()
    };
    assert_eq!(announced().await, None);
    platform.clock.advance(Duration::from_secs(DAY - 1));
    assert_eq!(announced().await, None);
    platform.clock.advance(Duration::from_secs(1));
    let end = end.as_micros() / 1_000_000;
    assert_eq!(announced().await, Some(end.into()));

    // A secret that ends earlier than its credential.
    let rotation = RotateSecret {
        overlap_seconds: 3_600.into(),
        ..RotateSecret::default()
    };
    let manage = platform.credentials.manage(&key.admin);
    let id = key.created.credential.identity.id;
    manage.rotate_secret(id, rotation).await.unwrap();
    let now = platform.clock.now().as_micros() / 1_000_000;
    assert_eq!(announced().await, Some((now + 3_600).into()));

    let forever = platform.key("alder", "apiv2", &["system/bills.read"]).await;
    let answer = platform.ask(&forever, "").await.json();
    assert_eq!(answer.get("client_secret_expires_at"), None);
}

/// In its last second a key gets no token that would say `expires_in: 0`.
#[tokio::test]
async fn a_token_lives_for_a_second_at_least() {
    let platform = platform();
    let end = platform.clock.now().saturating_add(Duration::from_secs(10));
    let key = platform
        .key_until("alder", "apiv2", &["system/patients.read"], Some(end))
        .await;
    for (passed, expires_in) in [(0, 10), (8_999, 1), (1, 1)] {
        platform.clock.advance(Duration::from_millis(passed));
        let answer = platform.ask(&key, "").await;
        assert_eq!(answer.status, StatusCode::OK, "{}", answer.body);
        assert_eq!(answer.json()["expires_in"], expires_in);
    }
    for passed in [1, 998, 1, 1] {
        platform.clock.advance(Duration::from_millis(passed));
        refused(&platform.ask(&key, "").await, 401, "invalid_client");
    }
}

#[tokio::test]
async fn a_form_may_say_its_charset_in_every_spelling() {
    let platform = platform();
    let key = platform
        .key("alder", "apiv2", &["system/patients.read"])
        .await;
    for parameters in [
        "; charset=utf-8",
        ";charset=\"UTF-8\"",
        " ; Charset=\"utf-8\" ",
    ] {
        let request = Request::post(TOKEN).header("content-type", format!("{FORM}{parameters}"));
        let form = format!("grant_type=client_credentials&{}", in_body(&key));
        let answer = platform.send(request, form).await;
        assert_eq!(answer.status, StatusCode::OK, "{parameters}");
    }
}

#[tokio::test]
async fn a_token_without_scope_follows_its_key() {
    let platform = platform();
    let key = platform
        .key("alder", "apiv2", &["system/patients.read"])
        .await;
    let named = platform.issue(&key, "system/patients.read").await;
    let follows = platform.issue(&key, "").await;
    platform
        .set_scopes(&key, &["system/patients.read", "system/vitals.read"])
        .await;
    let both = "system/patients.read system/vitals.read";
    assert_eq!(platform.introspect(&follows).await.json()["scope"], both);
    let narrow = platform.introspect(&named).await.json();
    assert_eq!(narrow["scope"], "system/patients.read");
    platform.set_scopes(&key, &["system/vitals.read"]).await;
    assert_eq!(platform.introspect(&named).await.json()["scope"], "");
}

#[tokio::test]
async fn a_refused_client_is_answered_after_whoever_else_is_ready() {
    let platform = platform();
    let key = platform
        .key("alder", "apiv2", &["system/patients.read"])
        .await;
    let grant = "grant_type=client_credentials";
    let good = format!("{grant}&{}", in_body(&key));
    let forged = format!("{good}x");
    platform.send(post(TOKEN), good.clone()).await; // its first use, which takes a hash
    let order = std::sync::Mutex::new(Vec::new());
    let send = async |form: String| {
        let answer = platform.send(post(TOKEN), form).await;
        order.lock().unwrap().push(answer.status);
    };
    tokio::join!(send(forged), send(good));
    assert_eq!(
        order.into_inner().unwrap(),
        [StatusCode::OK, StatusCode::UNAUTHORIZED]
    );
}
