//! What the API Access page answers before any script runs: who sees what, and the headers.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on shall stop")]

use async_trait::async_trait;
use axum::{Router, body::Body};
use credential_axum::{
    PageConfig, ShownNames, SignIn, SignInError, Words, admin_router, page_router,
};
use credential_core::{
    Credentials, ScopeCatalog,
    actor::{Actor, Role},
    id::Environment,
    secret::{hash::HashCost, keyring::Keyring},
    testing::SeededEntropy,
};
use credential_store_memory::MemoryStore;
use http::{HeaderMap, Request, StatusCode, header, request::Parts};
use http_body_util::BodyExt;
use tower::ServiceExt;

const MOUNT: &str = "/settings/api-access";

/// Believes a header, as no host should.
struct HeaderSignIn;

#[async_trait]
impl SignIn for HeaderSignIn {
    async fn actor(&self, parts: &Parts) -> Result<Option<Actor>, SignInError> {
        let role = match parts
            .headers
            .get("x-test-role")
            .map(http::HeaderValue::as_bytes)
        {
            None => return Ok(None),
            Some(b"admin") => Role::Admin,
            Some(b"member") => Role::Member,
            Some(_) => return Err(SignInError::new("the session store is down")),
        };
        Ok(Some(Actor {
            id: "ada".parse().unwrap(),
            tenant: "alder".parse().unwrap(),
            role,
        }))
    }
}

fn credentials(environment: Environment) -> Credentials {
    let entropy = SeededEntropy::new(1);
    Credentials::builder(MemoryStore::new())
        .catalog(ScopeCatalog::elation())
        .keyring(Keyring::generate(&entropy))
        .hash_cost(HashCost::cheap())
        .environment(environment)
        .issuer("https://api.example.com")
        .build()
        .unwrap()
}

fn page(environment: Environment) -> Router {
    page_router(&credentials(environment), HeaderSignIn, config())
}

fn config() -> PageConfig {
    PageConfig::default()
        .product("Alder Health")
        .tenant("practice")
        .admins("Practice Admins")
        .support("Alder support", Some("https://support.example.org"))
        .sign_in_url("/welcome")
        .stylesheet("/brand.css")
}

async fn ask(
    router: &Router,
    path: &str,
    headers: &[(&str, &str)],
) -> (StatusCode, HeaderMap, String) {
    let mut request = Request::builder().uri(path);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let request = request.body(Body::empty()).unwrap();
    let (parts, body) = router.clone().oneshot(request).await.unwrap().into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    (
        parts.status,
        parts.headers,
        String::from_utf8(body.to_vec()).unwrap(),
    )
}

async fn seen_by(role: Option<&str>, environment: Environment) -> (StatusCode, HeaderMap, String) {
    let router = Router::new().nest_service(MOUNT, page(environment));
    let header = role.map(|role| ("x-test-role", role));
    ask(&router, MOUNT, header.as_slice()).await
}

#[tokio::test]
async fn each_state_has_its_status_and_shows_nothing_else() {
    let table = [
        (None, StatusCode::UNAUTHORIZED, "href=\"/welcome\""),
        (
            Some("member"),
            StatusCode::FORBIDDEN,
            "Only Practice Admins manage the API keys of your practice.",
        ),
        (
            Some("unknowable"),
            StatusCode::SERVICE_UNAVAILABLE,
            "not available right now",
        ),
    ];
    for (role, status, words) in table {
        let (found, headers, html) = seen_by(role, Environment::Sandbox).await;
        assert_eq!(found, status);
        assert!(html.contains(words), "{html}");
        assert_eq!(headers[header::CACHE_CONTROL], "no-store");
        for never in ["data-settings", "<script", "main.js", "Sandbox"] {
            assert!(!html.contains(never), "{never} in {html}");
        }
    }
}

#[tokio::test]
async fn an_admin_gets_the_page_in_the_words_of_the_host() {
    let (status, headers, html) = seen_by(Some("admin"), Environment::Sandbox).await;
    assert_eq!(status, StatusCode::OK);
    assert_eq!(headers[header::CACHE_CONTROL], "no-store");
    for words in [
        "API Access · Alder Health",
        "Sandbox",
        "your practice",
        "href=\"/brand.css\"",
        "/main.js",
    ] {
        assert!(html.contains(words), "{words} not in {html}");
    }
    assert!(!html.contains("but not create or change them"));
}

#[tokio::test]
async fn without_self_service_it_says_what_is_left_and_whom_to_ask() {
    let (status, _, html) = seen_by(Some("admin"), Environment::Production).await;
    assert_eq!(status, StatusCode::OK);
    assert!(
        html.contains(
            "<p>You can delete API keys here, but not create or change them. For everything else, \
             contact <a href=\"https://support.example.org\">Alder support</a>.</p>"
        ),
        "{html}"
    );
    assert!(html.contains("&quot;selfService&quot;:false"), "{html}");
    assert!(!html.contains("Sandbox"));
}

#[tokio::test]
async fn every_answer_is_protected() {
    let router = Router::new().nest_service(MOUNT, page(Environment::Sandbox));
    for path in [
        "",
        "/",
        "/nothing",
        "/assets/0/main.js",
        "/assets/0/none.js",
    ] {
        let (_, headers, _) = ask(&router, &format!("{MOUNT}{path}"), &[]).await;
        let policy = headers[header::CONTENT_SECURITY_POLICY].to_str().unwrap();
        assert_eq!(
            policy,
            "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; \
             img-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
        );
        assert_eq!(headers[header::X_CONTENT_TYPE_OPTIONS], "nosniff");
        assert_eq!(headers[header::REFERRER_POLICY], "no-referrer");
        assert_eq!(headers["cross-origin-opener-policy"], "same-origin");
        assert!(headers.contains_key("permissions-policy"));
    }
}

#[tokio::test]
async fn every_address_in_the_page_works_however_it_is_mounted() {
    let page = page(Environment::Sandbox);
    let admin = [("x-test-role", "admin")];
    let mounts = [
        (Router::new().nest_service(MOUNT, page.clone()), MOUNT),
        (
            Router::new().nest_service(MOUNT, page.clone()),
            "/settings/api-access/",
        ),
        (Router::new().nest(MOUNT, page.clone()), MOUNT),
        (
            Router::new().nest_service("/{practice}/keys", page.clone()),
            "/alder/keys",
        ),
        (page, "/"),
    ];
    let pages = mounts.into_iter().flat_map(|(router, path)| {
        let key = format!("{}/keys/0123456789abcdef", path.trim_end_matches('/'));
        [(router.clone(), path.to_owned(), 11), (router, key, 18)]
    });
    for (router, path, files) in pages {
        let (status, _, html) = ask(&router, &path, &admin).await;
        assert_eq!(status, StatusCode::OK, "{path}");
        let assets: Vec<_> = html
            .split(['"'])
            .filter(|text| text.contains("/assets/"))
            .collect();
        assert_eq!(
            assets.len(),
            files,
            "icon, style, the modules that it starts with, the watch and the start: {assets:?}"
        );
        for asset in assets {
            let (status, headers, _) = ask(&router, asset, &[]).await;
            assert_eq!(status, StatusCode::OK, "{asset}");
            assert_eq!(
                headers[header::CACHE_CONTROL],
                "public, max-age=31536000, immutable"
            );
            let etag = headers[header::ETAG].to_str().unwrap();
            let (status, _, body) = ask(&router, asset, &[("if-none-match", etag)]).await;
            assert_eq!((status, body.as_str()), (StatusCode::NOT_MODIFIED, ""));
        }
    }
}

#[tokio::test]
async fn a_key_has_a_page_below_the_list_and_nothing_is_below_it() {
    let router = Router::new().nest_service("/{practice}/keys", page(Environment::Sandbox));
    let admin = [("x-test-role", "admin")];
    let (status, headers, html) = ask(&router, "/alder/keys/keys/0123abcd", &admin).await;
    assert_eq!(status, StatusCode::OK);
    assert_eq!(headers[header::CACHE_CONTROL], "no-store");
    let found = settings(&html);
    assert_eq!(
        (&found["base"], &found["key"]),
        (&"/alder/keys".into(), &"0123abcd".into())
    );
    assert!(
        html.contains("<a href=\"/alder/keys\">API Access</a>"),
        "{html}"
    );
    assert!(html.contains("signed in as <bdi>ada</bdi>"));
    assert!(html.contains("/key.js") && !html.contains("/main.js"));
    let (_, _, list) = ask(&router, "/alder/keys", &admin).await;
    let found = settings(&list);
    assert_eq!(
        (&found["base"], &found["key"]),
        (&"/alder/keys".into(), &serde_json::Value::Null)
    );
    assert!(list.contains("/main.js") && !list.contains("/key.js"));

    for path in ["/alder/keys/keys/", "/alder/keys/keys/a/b"] {
        let (status, _, _) = ask(&router, path, &admin).await;
        assert_eq!(status, StatusCode::NOT_FOUND, "{path}");
    }
    for (role, status) in [
        (None, StatusCode::UNAUTHORIZED),
        (Some("member"), StatusCode::FORBIDDEN),
    ] {
        let header = role.map(|role| ("x-test-role", role));
        let (found, _, html) = ask(&router, "/alder/keys/keys/0123abcd", header.as_slice()).await;
        assert_eq!(found, status);
        assert!(
            !html.contains("data-settings") && !html.contains("0123abcd"),
            "{html}"
        );
    }
}

async fn html_of(config: PageConfig, environment: Environment, role: Option<&str>) -> String {
    html_at("/", config, environment, role).await
}

async fn html_at(
    path: &str,
    config: PageConfig,
    environment: Environment,
    role: Option<&str>,
) -> String {
    let router = page_router(&credentials(environment), HeaderSignIn, config);
    let header = role.map(|role| ("x-test-role", role));
    ask(&router, path, header.as_slice()).await.2
}

/// The settings that the server hands to the page's scripts.
fn settings(html: &str) -> serde_json::Value {
    let (_, rest) = html.split_once("data-settings=\"").unwrap();
    let json = rest.split_once('"').unwrap().0;
    let json = json.replace("&quot;", "\"").replace("&#39;", "'");
    serde_json::from_str(&json.replace("&lt;", "<").replace("&amp;", "&")).unwrap()
}

#[tokio::test]
async fn the_page_says_for_whom_it_is_and_its_calls_say_it_too() {
    let html = html_of(config(), Environment::Sandbox, Some("admin")).await;
    assert!(html.contains("<bdi>alder</bdi> · signed in as <bdi>ada</bdi>"));
    let named = config().names(|parts, actor| {
        assert!(parts.headers.contains_key("x-test-role"));
        (actor.tenant.as_str() == "alder").then(|| ShownNames {
            tenant: "Alder & Sons".to_owned(),
            person: "Ada <L>".to_owned(),
        })
    });
    let html = html_of(named, Environment::Sandbox, Some("admin")).await;
    assert!(html.contains("<bdi>Alder &amp; Sons</bdi> · signed in as <bdi>Ada &lt;L&gt;</bdi>"));

    let mark = settings(&html)["expectedTenant"]
        .as_str()
        .unwrap()
        .to_owned();
    assert!(!mark.contains("alder"));
    let api = admin_router(&credentials(Environment::Sandbox), HeaderSignIn);
    for (mark, status) in [
        (&*mark, StatusCode::OK),
        ("alder", StatusCode::CONFLICT),
        ("", StatusCode::CONFLICT),
    ] {
        let headers = [("x-test-role", "admin"), ("x-expected-tenant", mark)];
        let (found, _, body) = ask(&api, "/credentials", &headers).await;
        assert_eq!(found, status, "{body}");
    }
}

#[tokio::test]
async fn each_request_has_the_words_that_the_host_chooses() {
    let hebrew = Words::parse("he", r#"{"title":"\u05d2\u05d9\u05e9\u05d4"}"#).unwrap();
    let hebrew = std::sync::Arc::new(hebrew.right_to_left());
    let config = config().words(move |parts| {
        let language = parts.headers.get("accept-language")?;
        (language == "he").then(|| hebrew.clone())
    });
    let router = page_router(&credentials(Environment::Sandbox), HeaderSignIn, config);
    let admin = ("x-test-role", "admin");
    let (_, _, html) = ask(&router, "/", &[admin, ("accept-language", "he")]).await;
    assert!(html.contains("<html lang=\"he\" dir=\"rtl\">"), "{html}");
    assert!(html.contains("\u{5d2}\u{5d9}\u{5e9}\u{5d4}</h1>"));
    assert_eq!(settings(&html)["lang"], "he");
    assert_eq!(
        settings(&html)["words"]["title"],
        "\u{5d2}\u{5d9}\u{5e9}\u{5d4}"
    );
    let (_, _, html) = ask(&router, "/", &[admin, ("accept-language", "fr")]).await;
    assert!(html.contains("<html lang=\"en\" dir=\"ltr\">"));
    assert_eq!(settings(&html)["words"], serde_json::json!({}));
}

/// Every letter of every sentence replaced, what stands in braces kept.
fn pseudo() -> Words {
    let mut table: serde_json::Value = serde_json::from_str(Words::ENGLISH).unwrap();
    let disguise = |text: &mut String| {
        let mut in_value = false;
        *text = text
            .chars()
            .map(|char| {
                in_value = (in_value || char == '{') && char != '}';
                if char.is_ascii_alphabetic() && !in_value {
                    '\u{3a9}'
                } else {
                    char
                }
            })
            .collect();
    };
    for sentence in table.as_object_mut().unwrap().values_mut() {
        match sentence {
            serde_json::Value::String(text) => disguise(text),
            serde_json::Value::Object(forms) => {
                for form in forms.values_mut() {
                    let serde_json::Value::String(text) = form else {
                        unreachable!()
                    };
                    disguise(text);
                }
            }
            _ => unreachable!(),
        }
    }
    Words::parse("en", &table.to_string()).unwrap()
}

#[tokio::test]
async fn no_sentence_of_the_server_is_outside_the_table() {
    let words = std::sync::Arc::new(pseudo());
    let config = PageConfig::default()
        .product("1")
        .tenant("2")
        .admins("3")
        .support("4", Some("/"))
        .names(|_, _| {
            Some(ShownNames {
                tenant: "5".to_owned(),
                person: "6".to_owned(),
            })
        })
        .words(move |_| Some(words.clone()));
    for environment in [Environment::Sandbox, Environment::Production] {
        let roles = [None, Some("member"), Some("unknowable"), Some("admin")];
        for (path, role) in ["/", "/keys/1"]
            .into_iter()
            .flat_map(|path| roles.map(|role| (path, role)))
        {
            let html = html_at(path, config.clone(), environment, role).await;
            let (_, body) = html.split_once("<title>").unwrap();
            let texts = body
                .split('<')
                .map(|piece| piece.rsplit('>').next().unwrap());
            let english: Vec<_> = texts
                .filter(|text| text.contains(|char: char| char.is_ascii_alphabetic()))
                .collect();
            assert!(english.is_empty(), "{path}, {role:?}: {english:?}");
            assert!(body.contains('\u{3a9}'));
        }
    }
}

#[tokio::test]
async fn what_only_some_hosts_have_is_theirs_to_say() {
    let html = html_of(config(), Environment::Sandbox, Some("admin")).await;
    for never in ["vendor", "lab "] {
        assert!(!html.contains(never), "{never}");
    }
    assert!(!html.contains("<nav"));
    let advice =
        r#"{"advice.integrations":"In a hurry?","advice.integrations.rest":"Ask {support}."}"#;
    let words = std::sync::Arc::new(Words::parse("en", advice).unwrap());
    let config = config()
        .words(move |_| Some(words.clone()))
        .link("Settings", "/settings");
    let html = html_of(config, Environment::Sandbox, Some("admin")).await;
    assert!(
        html.contains("<strong>In a hurry?</strong> Ask <a href=\"https://support.example.org\">")
    );
    assert!(html.contains("<a href=\"/settings\">Settings</a>"));
    assert!(html.contains("Sandbox: keys made here do not work in production."));
}
