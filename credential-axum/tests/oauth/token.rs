//! The token endpoint (RFC 6749 §4.4 and §5).

use axum::body::{Body, Bytes};
use base64::{Engine, engine::general_purpose::STANDARD};
use http::{Request, StatusCode};
use http_body_util::{BodyExt, Full};

use crate::{
    FORM, RESOURCE_SERVER, TOKEN, basic, basic_of, in_body, platform, post, refused, secret,
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
        (None, grant.to_owned()),
        (None, format!("{grant}&client_id={id}")),
        (None, format!("{grant}&client_secret={genuine}")),
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
        (Some("Digest x".to_owned()), grant.to_owned()),
        (Some(format!("Bearer {RESOURCE_SERVER}")), grant.to_owned()),
    ] {
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
        bodies.push(answer.body);
    }
    bodies.dedup();
    insta::assert_snapshot!(bodies.join("\n"), @r#"{"error":"invalid_client","error_description":"client authentication failed"}"#);
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
