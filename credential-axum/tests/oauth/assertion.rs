//! Clients that authenticate with a signed assertion (RFC 7523), and tokens of trusted workloads.

use axum::body::Body;
use credential_core::{
    clock::Clock as _,
    credential::NewWorkload,
    id::CredentialId,
    manage::{CreateCredential, Field, NewProof},
};
use http::{Request, StatusCode};
use serde_json::{Value, json};

use crate::{
    INTROSPECT, REVOKE, TOKEN,
    common::{Answer, ISSUER, Platform},
    in_body, platform, post, refused,
    signer::Signer,
};

const JWT: &str =
    "client_assertion_type=urn%3Aietf%3Aparams%3Aoauth%3Aclient-assertion-type%3Ajwt-bearer";
const GRANT: &str = "grant_type=urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Ajwt-bearer";

struct Client {
    id: CredentialId,
    name: String,
    signer: Signer,
}

impl Platform {
    async fn registered(
        &self,
        proof: NewProof,
        api_type: &str,
        scope: &str,
    ) -> (CredentialId, String) {
        let request = CreateCredential {
            name: "Signing".into(),
            api_type: api_type.into(),
            scopes: Field::Value(vec![scope.to_owned()]),
            proof: proof.into(),
            ..CreateCredential::default()
        };
        let admin = Self::admin("alder");
        let created = self
            .credentials
            .manage(&admin)
            .create(request)
            .await
            .unwrap();
        let identity = created.credential.identity;
        (identity.id, identity.client_id.as_str().to_owned())
    }

    async fn signing(&self, algorithm: &'static str) -> Client {
        let signer = Signer::with_kid(algorithm, "k1");
        let proof = NewProof::Keys(signer.key_set());
        let (id, name) = self.registered(proof, "fhir", "system/Patient.read").await;
        Client { id, name, signer }
    }

    fn claims(&self, client: &Client, jti: &str) -> Value {
        let now = self.clock.now().as_micros() / 1_000_000;
        json!({
            "iss": client.name, "sub": client.name, "aud": format!("{ISSUER}{TOKEN}"),
            "exp": now + 300, "jti": jti,
        })
    }

    async fn ask_with(&self, assertion: &str, more: &str) -> Answer {
        let form =
            format!("grant_type=client_credentials&{JWT}&client_assertion={assertion}{more}");
        self.send(post(TOKEN), form).await
    }
}

#[tokio::test]
async fn a_signed_assertion_gets_a_token() {
    let platform = platform();
    for (n, algorithm) in ["RS384", "ES384"].into_iter().enumerate() {
        // SMART's two.
        let signer = Signer::with_kid(algorithm, "k1");
        let proof = NewProof::Keys(signer.key_set());
        let request = CreateCredential {
            name: algorithm.into(),
            api_type: "fhir".into(),
            scopes: Field::Value(vec!["system/Patient.read".to_owned()]),
            proof: proof.into(),
            ..CreateCredential::default()
        };
        let admin = Platform::admin("alder");
        let created = platform
            .credentials
            .manage(&admin)
            .create(request)
            .await
            .unwrap();
        let client = Client {
            id: created.credential.identity.id,
            name: created.credential.identity.client_id.as_str().to_owned(),
            signer,
        };
        let text = client
            .signer
            .sign(&platform.claims(&client, &n.to_string()));
        let answer = platform
            .ask_with(&text, "&scope=system%2FPatient.read")
            .await;
        assert_eq!(answer.status, StatusCode::OK, "{}", answer.body);
        assert_eq!(answer.header("cache-control"), "no-store");
        let json = answer.json();
        assert_eq!(json["token_type"], "Bearer");
        assert_eq!(json["expires_in"], 300);
        assert_eq!(json["scope"], "system/Patient.read");
        assert_eq!(json["refresh_token"], Value::Null);
        let token = json["access_token"].as_str().unwrap().to_owned();
        let asked = platform.introspect(&token).await.json();
        assert_eq!(asked["client_id"], client.name.as_str());
        platform
            .credentials
            .manage(&admin)
            .revoke(client.id, None)
            .await
            .unwrap();
        assert_eq!(
            platform.introspect(&token).await.json(),
            json!({"active": false})
        );
        let text = client.signer.sign(&platform.claims(&client, "later"));
        refused(&platform.ask_with(&text, "").await, 401, "invalid_client");
    }
}

/// It authenticates at the other endpoints as well, with the same audiences.
#[tokio::test]
async fn every_endpoint_takes_an_assertion() {
    let platform = platform();
    let client = platform.signing("ES256").await;
    let audiences = [
        ISSUER.to_owned(),
        format!("{ISSUER}/"),
        format!("{ISSUER}/oauth2/token"),
        format!("{ISSUER}/oauth2/token/"),
        format!("{ISSUER}/api/2.0/oauth2/token/"),
    ];
    let mut token = String::new();
    for (n, aud) in audiences.iter().enumerate() {
        let mut claims = platform.claims(&client, &n.to_string());
        claims["aud"] = aud.as_str().into();
        let answer = platform.ask_with(&client.signer.sign(&claims), "").await;
        assert_eq!(answer.status, StatusCode::OK, "{aud}: {}", answer.body);
        answer.json()["access_token"]
            .as_str()
            .unwrap()
            .clone_into(&mut token);
    }
    let mut claims = platform.claims(&client, "i");
    claims["aud"] = format!("{ISSUER}{INTROSPECT}").into();
    let form = format!(
        "{JWT}&client_assertion={}&token={token}",
        client.signer.sign(&claims)
    );
    refused(
        &platform.send(post(INTROSPECT), form).await,
        401,
        "invalid_client",
    );
    claims["aud"] = ISSUER.into();
    let form = format!(
        "{JWT}&client_assertion={}&token={token}",
        client.signer.sign(&claims)
    );
    let answer = platform.send(post(INTROSPECT), form).await;
    assert_eq!(answer.json()["active"], true, "{}", answer.body);
    let claims = platform.claims(&client, "r");
    let form = format!(
        "{JWT}&client_assertion={}&token={token}",
        client.signer.sign(&claims)
    );
    let answer = platform.send(post(REVOKE), form).await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.body);
    assert_eq!(
        platform.introspect(&token).await.json(),
        json!({"active": false})
    );
}

#[tokio::test]
async fn the_form_must_be_right() {
    let platform = platform();
    let client = platform.signing("ES256").await;
    let by_secret = platform
        .key("alder", "apiv2", &["system/patients.read"])
        .await;
    let text = client.signer.sign(&platform.claims(&client, "1"));
    let other =
        "client_assertion_type=urn%3Aietf%3Aparams%3Aoauth%3Aclient-assertion-type%3Asaml2-bearer";
    let cc = "grant_type=client_credentials";
    for form in [
        format!("{cc}&client_assertion={text}"),
        format!("{cc}&{JWT}"),
        format!("{cc}&{other}&client_assertion={text}"),
        format!("{cc}&client_assertion_type=&client_assertion={text}"),
        format!("{cc}&{JWT}&client_assertion={text}&client_secret=x"),
        format!("{cc}&{JWT}&client_assertion={text}&{}", in_body(&by_secret)),
        format!("{cc}&{JWT}&client_assertion={text}&client_assertion={text}"),
        format!("{JWT}&client_assertion={text}"),
    ] {
        refused(
            &platform.send(post(TOKEN), form).await,
            400,
            "invalid_request",
        );
    }
    let basic = post(TOKEN).header("authorization", crate::basic_of(&by_secret));
    let form = format!("{cc}&{JWT}&client_assertion={text}");
    refused(
        &platform.send(basic, form.clone()).await,
        400,
        "invalid_request",
    );
    let query = post(&format!("{TOKEN}?client_assertion={text}"));
    refused(&platform.send(query, form).await, 400, "invalid_request");
    let form = format!(
        "grant_type=password&{JWT}&client_assertion={}",
        client.signer.sign(&platform.claims(&client, "2"))
    );
    refused(
        &platform.send(post(TOKEN), form).await,
        400,
        "unsupported_grant_type",
    );
    // A left-over of another scheme is no second way.
    let leftover = post(TOKEN).header("authorization", "Bearer old");
    let text = client.signer.sign(&platform.claims(&client, "3"));
    let form = format!(
        "{cc}&{JWT}&client_assertion={text}&client_id={}",
        client.name
    );
    assert_eq!(platform.send(leftover, form).await.status, StatusCode::OK);
}

/// What a developer can mend is said; of clients and keys nothing is.
#[tokio::test]
async fn reasons_help_developers_and_no_strangers() {
    let platform = platform();
    let client = platform.signing("ES256").await;
    let mut far = platform.claims(&client, "1");
    far["exp"] = (platform.clock.now().as_micros() / 1_000_000 + 3_600).into();
    let answer = platform.ask_with(&client.signer.sign(&far), "").await;
    refused(&answer, 401, "invalid_client");
    assert_eq!(
        answer.header("www-authenticate"),
        r#"Basic realm="oauth2", charset="UTF-8""#
    );
    let told = answer.json()["error_description"]
        .as_str()
        .unwrap()
        .to_owned();
    assert_eq!(told, "`exp` lies too far ahead: at most 5 minutes");
    let mut answers = Vec::new();
    // Another's key, a client that is not there, one without keys, a revoked one.
    let stranger = Signer::with_kid("ES256", "k1");
    answers.push(
        platform
            .ask_with(&stranger.sign(&platform.claims(&client, "1")), "")
            .await
            .body,
    );
    let mut nobody = platform.claims(&client, "1");
    let other = if client.name.ends_with('x') { 'y' } else { 'x' };
    let name = format!("{}{other}", &client.name[..client.name.len() - 1]);
    nobody["iss"] = name.as_str().into();
    nobody["sub"] = name.as_str().into();
    answers.push(platform.ask_with(&stranger.sign(&nobody), "").await.body);
    let by_secret = platform
        .key("alder", "apiv2", &["system/patients.read"])
        .await;
    let name = by_secret.created.credential.identity.client_id.as_str();
    nobody["iss"] = name.into();
    nobody["sub"] = name.into();
    answers.push(platform.ask_with(&stranger.sign(&nobody), "").await.body);
    let admin = Platform::admin("alder");
    platform
        .credentials
        .manage(&admin)
        .revoke(client.id, None)
        .await
        .unwrap();
    let text = client.signer.sign(&platform.claims(&client, "1"));
    answers.push(platform.ask_with(&text, "").await.body);
    answers.dedup();
    assert_eq!(answers.len(), 1, "{answers:?}");
    assert!(answers[0].contains("the assertion is not accepted"));
}

#[tokio::test]
async fn a_replay_is_refused_and_said_so() {
    let platform = platform();
    let client = platform.signing("EdDSA").await;
    let text = client.signer.sign(&platform.claims(&client, "once"));
    assert_eq!(platform.ask_with(&text, "").await.status, StatusCode::OK);
    let again = platform.ask_with(&text, "").await;
    refused(&again, 401, "invalid_client");
    assert!(again.body.contains("used before"), "{}", again.body);
}

#[tokio::test]
async fn without_the_store_an_assertion_is_unavailable() {
    let platform = platform();
    let client = platform.signing("ES256").await;
    let text = client.signer.sign(&platform.claims(&client, "1"));
    platform.store.fail(true);
    let answer = platform.ask_with(&text, "").await;
    assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(answer.header("retry-after"), "1");
    platform.store.fail(false);
    assert_eq!(platform.ask_with(&text, "").await.status, StatusCode::OK);
}

#[tokio::test]
async fn a_workloads_token_is_an_assertion_or_a_grant() {
    let platform = platform();
    let forge = Signer::with_kid("RS256", "f");
    let rule = NewWorkload {
        issuer: "https://token.actions.example.com".into(),
        audience: ISSUER.into(),
        subject: "repo:acme/*".into(),
        jwks: Some(forge.key_set()),
        ..NewWorkload::default()
    };
    let proof = NewProof::Workload(Box::new(rule));
    let (_, client_id) = platform
        .registered(proof, "apiv2", "system/patients.read")
        .await;
    let now = platform.clock.now().as_micros() / 1_000_000;
    let mut claims = json!({
        "iss": "https://token.actions.example.com", "aud": ISSUER, "sub": "repo:acme/site", "exp": now + 90,
    });
    let text = forge.sign(&claims);
    let answer = platform
        .ask_with(&text, &format!("&client_id={client_id}"))
        .await;
    assert_eq!(answer.json()["expires_in"], 90, "{}", answer.body);
    let form =
        format!("{GRANT}&assertion={text}&client_id={client_id}&scope=system%2Fpatients.read");
    let answer = platform.send(post(TOKEN), form.clone()).await;
    assert_eq!(answer.json()["expires_in"], 90, "{}", answer.body);
    assert_eq!(answer.json()["scope"], "system/patients.read");
    claims["sub"] = "repo:evil/site".into();
    let wrong = forge.sign(&claims);
    let asked = platform
        .ask_with(&wrong, &format!("&client_id={client_id}"))
        .await;
    refused(&asked, 401, "invalid_client");
    let grant = |more: &str| platform.send(post(TOKEN), format!("{GRANT}{more}"));
    let id = format!("&client_id={client_id}");
    refused(
        &grant(&format!("&assertion={wrong}{id}")).await,
        400,
        "invalid_grant",
    );
    refused(
        &grant(&format!("&assertion=x{id}")).await,
        400,
        "invalid_grant",
    );
    refused(
        &grant(&format!("&assertion={text}")).await,
        400,
        "invalid_grant",
    );
    refused(&grant(&id).await, 400, "invalid_request");
    refused(
        &grant(&format!("&assertion={text}{id}&client_secret=x")).await,
        400,
        "invalid_request",
    );
    refused(
        &grant(&format!(
            "&assertion={text}{id}&scope=system%2Fallergies.write"
        ))
        .await,
        400,
        "invalid_scope",
    );
}

#[tokio::test]
async fn the_metadata_names_what_is_there() {
    let platform = platform();
    for path in [
        "/.well-known/oauth-authorization-server",
        "/fhir/r4/.well-known/smart-configuration",
    ] {
        let json = platform
            .send(Request::get(path), Body::empty())
            .await
            .json();
        let has = |field: &str, value: &str| {
            let list = json[field].as_array().unwrap();
            assert!(list.contains(&value.into()), "{path}: {field}: {list:?}");
        };
        has("token_endpoint_auth_methods_supported", "private_key_jwt");
        for algorithm in [
            "RS256", "RS384", "PS256", "ES256", "ES384", "EdDSA", "Ed25519",
        ] {
            has(
                "token_endpoint_auth_signing_alg_values_supported",
                algorithm,
            );
        }
        has(
            "grant_types_supported",
            "urn:ietf:params:oauth:grant-type:jwt-bearer",
        );
        if path.ends_with("smart-configuration") {
            has("capabilities", "client-confidential-asymmetric");
        } else {
            for field in ["introspection", "revocation"] {
                has(
                    &format!("{field}_endpoint_auth_methods_supported"),
                    "private_key_jwt",
                );
                has(
                    &format!("{field}_endpoint_auth_signing_alg_values_supported"),
                    "ES384",
                );
            }
        }
    }
}
