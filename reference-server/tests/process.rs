//! Options, start and stop of the real process.

#![allow(clippy::allow_attributes, clippy::unwrap_used, reason = "tests")]

mod common;

use common::{KEYRING, Server, run};

fn failure(arguments: &[&str]) -> (Option<i32>, String) {
    let output = run(arguments);
    assert!(output.stdout.is_empty(), "nothing was started");
    (
        output.status.code(),
        String::from_utf8(output.stderr).unwrap(),
    )
}

/// Values that cannot be used, at least one of each option.
const BAD: &[&[&str]] = &[
    &["--listen", "nowhere"],
    &["--listen", "0.0.0.0:0"],
    &["--environment", "staging"],
    &["--self-service", "maybe"],
    &["--outbound", "maybe"],
    &["--max-staleness", "100ms"],
    &["--max-lifetime", "1y"],
    &["--issuer", "ftp://example.com"],
    &["--catalog", "/does/not/exist.toml"],
    &["--forward-auth-headers", "both"],
    &["--introspection-secret", "short"],
    &["--authorization-endpoint", "authorize"],
    &["--verified-cache", "0"],
    &["--drain", "5m"],
    &["--trusted-proxies", "10.0.0.1/8"],
    &["--trusted-proxies", "10.0.0.0/8,proxy.example"],
    &["--trusted-proxies", ""],
    &["--log", "not=a=filter"],
    &["--database-url", "no url", "--keyring", KEYRING],
    &["--database-url", "mysql://u@h/d", "--keyring", KEYRING],
    &["--database-pooler", "maybe"],
    &["--keyring", "@/does/not/exist"],
];

#[test]
fn bad_configuration_names_option_fault_and_what_is_accepted() {
    for arguments in BAD {
        let (code, message) = failure(arguments);
        assert_eq!(code, Some(2), "{arguments:?}: {message}");
        let option = arguments.first().unwrap();
        assert!(message.contains(option), "{arguments:?}: {message}");
        assert!(message.contains("accepted: "), "{arguments:?}: {message}");
        assert_eq!(message.lines().count(), 1, "one message: {message}");
    }
}

#[test]
fn every_option_has_a_bad_value() {
    let help = String::from_utf8(run(&["--help"]).stdout).unwrap();
    let mut options: Vec<String> = help
        .lines()
        .filter_map(|line| line.trim_start().strip_prefix("--")?.split_once(" <"))
        .map(|(name, _)| format!("--{name}"))
        .collect();
    assert!(options.len() > 10, "{help}");
    options.retain(|option| BAD.iter().all(|arguments| arguments[0] != option));
    assert!(options.is_empty(), "{options:?}");
}

#[test]
fn secret_values_are_never_echoed() {
    const SECRET: &str = "c2VjcmV0LXNlY3JldC1zZWNyZXQ";
    for arguments in [
        &["--keyring", &format!("k1:{SECRET}")][..],
        &["--keyring", &format!("{SECRET}:k1")],
        &["--keyring", SECRET],
        &["--introspection-secret", &format!("{SECRET} with spaces")],
        &["--database-url", &format!("postgres://u:{SECRET}@h/d")],
        &[
            "--database-url",
            &format!("postgres://u:{SECRET}@h:x/d"),
            "--keyring",
            KEYRING,
        ],
        &["--issuer", &format!("https://u:{SECRET}@h")],
        &[&format!("--keyrin=k1:{SECRET}")],
        &[&format!("k1:{SECRET}")],
        &["--keyring", KEYRING, "--keyring", SECRET],
    ] {
        let (code, message) = failure(arguments);
        assert_eq!(code, Some(2), "{message}");
        assert!(!message.contains(SECRET), "{message}");
    }
}

#[test]
fn flags_win_over_the_environment() {
    let output = common::command(&["--environment", "staging"])
        .env("CREDENTIAL_ENVIRONMENT", "production")
        .output()
        .unwrap();
    assert!(
        String::from_utf8(output.stderr)
            .unwrap()
            .contains("staging")
    );
    let output = common::command(&[])
        .env("CREDENTIAL_MAX_STALENESS", "2ms")
        .output()
        .unwrap();
    let message = String::from_utf8(output.stderr).unwrap();
    assert!(
        message.contains("--max-staleness") && message.contains("2ms"),
        "{message}"
    );
}

#[test]
fn help_and_keygen_answer_on_standard_output() {
    let help = run(&["--help"]);
    assert!(help.status.success());
    let text = String::from_utf8(help.stdout).unwrap();
    for option in [
        "--listen",
        "--keyring",
        "--max-staleness",
        "--database-pooler",
        "--drain",
        "CREDENTIAL_KEYRING",
        "keygen",
    ] {
        assert!(text.contains(option), "{option}");
    }
    let keys: Vec<String> = (0..2)
        .map(|_| String::from_utf8(run(&["keygen"]).stdout).unwrap())
        .collect();
    assert_ne!(keys[0], keys[1]);
    let server = Server::start(&["--keyring", keys[0].trim()]);
    assert_eq!(server.client().get("/readyz", &[]).status, 200);
}

#[test]
fn a_keyring_file_and_another_catalogue_work() {
    let folder = std::env::temp_dir().join(format!("reference-server-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let (keys, catalog) = (folder.join("keys"), folder.join("catalog.toml"));
    std::fs::write(&keys, format!("{KEYRING}\n")).unwrap();
    let payments = include_str!("../../credential-axum/examples/payments.toml");
    std::fs::write(&catalog, payments).unwrap();
    let keys = format!("@{}", keys.display());
    let server = Server::start(&["--keyring", &keys, "--catalog", catalog.to_str().unwrap()]);
    let admin = server.signed_in("alder-admin");
    let catalog = admin.get("/api-access/v1/catalog", &[]).json();
    assert_eq!(catalog["api_types"][0]["id"], "payments");
    std::fs::remove_dir_all(folder).unwrap();
}

#[test]
fn both_signals_end_it_with_success() {
    for signal in ["TERM", "INT"] {
        let server = Server::start(&[]);
        assert_eq!(server.client().get("/livez", &[]).body, "ok\n");
        server.signal(signal);
        assert_eq!(server.stop_is_over(), Some(0), "{signal}");
    }
}

/// Load balancers learn of a stop before anybody is refused.
#[test]
fn a_stopping_server_says_so_and_serves_on() {
    let address = common::own_address().to_string();
    let server = Server::start(&["--listen", &address, "--drain", "4s"]);
    let client = server.client();
    assert_eq!(client.get("/readyz", &[]).json()["status"], "ready");
    server.signal("TERM");
    let mut asked = 0;
    let draining = loop {
        let answer = client.get("/readyz", &[]);
        if answer.status == 503 {
            break answer;
        }
        asked += 1;
        assert!(asked < 1_000, "it never says so");
    };
    assert_eq!(draining.json()["status"], "draining");
    assert_eq!(draining.header("connection"), "close");
    let live = client.get("/livez", &[]);
    assert_eq!((live.status, live.header("connection")), (200, "close"));
    assert_eq!(server.stop_is_over(), Some(0));
    let address = client.base().trim_start_matches("http://").to_owned();
    std::net::TcpStream::connect(address).unwrap_err();
}

#[test]
fn the_first_lines_tell_a_newcomer_everything() {
    let server = Server::start(&[]);
    let base = server.base.clone();
    let stopped = server.stop();
    for needed in [
        format!("{base}/settings/api-access"),
        "alder-admin".to_owned(),
        "curl".to_owned(),
        format!("{base}/oauth2/token"),
    ] {
        assert!(
            stopped.stdout.contains(&needed),
            "{needed}: {}",
            stopped.stdout
        );
    }
}

#[test]
fn what_it_tells_to_try_is_of_the_catalogue_and_works() {
    let payments = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../credential-axum/examples/payments.toml"
    );
    let cases: [(&[&str], _); 2] = [(&[], "apiv2"), (&["--catalog", payments], "payments")];
    for (options, api_type) in cases {
        let told = Server::start(options).stop().stdout;
        let (_, rest) = told.split_once("-d '{").unwrap();
        let (body, rest) = rest.split_once('\'').unwrap();
        let body: serde_json::Value = serde_json::from_str(&format!("{{{body}")).unwrap();
        assert_eq!(body["api_type"], api_type);
        let (_, call) = rest.split_once("ACCESS_TOKEN' http://").unwrap();
        let (_, path) = call.lines().next().unwrap().split_once('/').unwrap();

        let server = Server::start(options);
        let admin = server.signed_in("alder-admin");
        let made = admin.json("POST", "/api-access/v1/credentials", &[], &body);
        assert_eq!(made.status, 201, "{}", made.body);
        let (id, secret) = (
            made.text("/credential/client_id"),
            made.text("/client_secret"),
        );
        let token = server.client().form(
            "/oauth2/token",
            &[
                ("grant_type", "client_credentials"),
                ("client_id", &id),
                ("client_secret", &secret),
            ],
        );
        let bearer = format!("Bearer {}", token.text("/access_token"));
        let called = server
            .client()
            .get(&format!("/{path}"), &[("authorization", &bearer)]);
        assert_eq!(called.status, 200, "{}", called.body);
    }
}

#[test]
fn production_is_read_only_until_the_host_says_otherwise() {
    let create = serde_json::json!({"name": "Lab", "api_type": "apiv2"});
    let off = Server::start(&["--environment", "production"]);
    let refused =
        off.signed_in("alder-admin")
            .json("POST", "/api-access/v1/credentials", &[], &create);
    assert_eq!(refused.status, 403);
    assert_eq!(refused.text("/code"), "self_service_unavailable");
    let told = off.stop().stdout;
    assert!(told.contains("With `--self-service on`:"), "{told}");
    let on = Server::start(&["--environment", "production", "--self-service", "on"]);
    let created =
        on.signed_in("alder-admin")
            .json("POST", "/api-access/v1/credentials", &[], &create);
    assert_eq!(created.status, 201, "{}", created.body);
    assert!(created.text("/client_secret").contains("_production_"));
}

/// Where nothing can be fetched, nothing is registered that would have to be.
#[test]
fn keys_of_other_servers_are_refused_until_the_host_lets_them_be_fetched() {
    let refused = |options: &[&str], authentication: serde_json::Value| {
        let server = Server::start(options);
        let body = serde_json::json!({
            "name": "Lab", "api_type": "apiv2", "scopes": ["system/patients.read"],
            "authentication": authentication,
        });
        let admin = server.signed_in("alder-admin");
        let answer = admin.json("POST", common::CREDENTIALS, &[], &body);
        let fault = |of: &str| answer.text(&format!("/errors/0/{of}"));
        (answer.status, fault("field"), fault("code"))
    };
    let by_url = |url: &str| serde_json::json!({"kind": "public_key", "jwks_uri": url});
    let by_issuer = serde_json::json!({
        "kind": "workload", "issuer": "https://token.example.com", "audience": "us", "subject": "job:1",
    });
    let field = |name: &str| format!("authentication.{name}");
    let public = "https://keys.example.com/jwks.json";
    for options in [&[][..], &["--outbound", "off"]] {
        assert_eq!(
            refused(options, by_url(public)),
            (422, field("jwks_uri"), "outbound_off".to_owned())
        );
        assert_eq!(
            refused(options, by_issuer.clone()),
            (422, field("issuer"), "outbound_off".to_owned())
        );
    }
    let on = &["--outbound", "on"][..];
    for private in ["https://10.0.0.1/jwks.json", "https://[::1]/jwks.json"] {
        assert_eq!(
            refused(on, by_url(private)),
            (422, field("jwks_uri"), "private_address".to_owned())
        );
    }
    let server = Server::start(on);
    let body = serde_json::json!({
        "name": "Lab", "api_type": "apiv2", "authentication": by_url(public),
    });
    let admin = server.signed_in("alder-admin");
    let made = admin.json("POST", common::CREDENTIALS, &[], &body);
    assert_eq!(made.status, 201, "{}", made.body);
    assert_eq!(made.text("/credential/jwks_uri"), public);
}

#[test]
fn forward_auth_is_served_only_when_configured() {
    let plain = Server::start(&[]);
    assert_eq!(plain.client().get("/forward-auth", &[]).status, 404);
    let gateway = Server::start(&["--forward-auth-headers", "x-original"]);
    let headers = [
        ("x-original-method", "GET"),
        ("x-original-uri", "/api/2.0/patients/"),
    ];
    assert_eq!(gateway.client().get("/forward-auth", &headers).status, 401);
}

#[test]
fn a_mistyped_option_or_command_is_guessed() {
    for (arguments, meant) in [
        (&["--lisen", "127.0.0.1:0"][..], "`--listen`"),
        (&["--keyrin=c2VjcmV0LXNlY3JldC1zZWNyZXQ"], "`--keyring`"),
        (&["migrat"], "`migrate`"),
    ] {
        let (code, message) = failure(arguments);
        assert_eq!(code, Some(2), "{message}");
        assert!(
            message.contains(&format!("did you mean {meant}?")),
            "{message}"
        );
        assert!(!message.contains("c2Vj"), "{message}");
        assert_eq!(message.lines().count(), 1, "{message}");
    }
    let (_, message) = failure(&["--xyzzy"]);
    assert!(!message.contains("did you mean"), "{message}");
}

#[test]
fn a_cause_is_named_once() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = listener.local_addr().unwrap().to_string();
    let (code, message) = failure(&["--listen", &taken]);
    assert_eq!(code, Some(1));
    let said = format!("could not listen on {taken}: Address already in use (os error 98)\n");
    assert!(message.ends_with(&said), "{message}");
    assert_eq!(message.matches("already in use").count(), 1, "{message}");
}

#[test]
fn a_closed_database_port_is_a_refused_connection() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("postgres://u@{}/d", listener.local_addr().unwrap());
    drop(listener);
    for arguments in [&["migrate"][..], &["audit", "verify", "--keyring", KEYRING]] {
        let (code, message) = failure(&[arguments, &["--database-url", &url]].concat());
        assert_eq!(code, Some(1), "{message}");
        assert_eq!(
            message.matches("Connection refused").count(),
            1,
            "{message}"
        );
        assert!(!message.contains("timed out"), "{message}");
    }
}

#[test]
fn secrets_may_stand_in_files() {
    let folder = std::env::temp_dir().join(format!("credential-secrets-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let file = folder.join("secret");
    let option = format!("@{}", file.display());
    std::fs::write(&file, "too short\n").unwrap();
    let (code, message) = failure(&["--introspection-secret", &option]);
    assert_eq!(code, Some(2), "{message}");
    let (code, message) = failure(&["--introspection-secret", "@/does/not/exist"]);
    assert_eq!(code, Some(2), "{message}");
    assert!(message.contains("could not be read"), "{message}");
    std::fs::write(&file, "a-secret-of-resource-servers\n").unwrap();
    let server = Server::start(&["--introspection-secret", &option]);
    let asked = |secret: &str| {
        let authorization = format!("Bearer {secret}");
        let headers = [
            ("authorization", &*authorization),
            ("content-type", "application/x-www-form-urlencoded"),
        ];
        let client = server.client();
        client
            .send("POST", "/oauth2/introspect", &headers, Some("token=x"))
            .status
    };
    assert_eq!(asked("a-secret-of-resource-servers"), 200);
    assert_eq!(asked(&option), 401);
    std::fs::remove_dir_all(folder).unwrap();
}

/// A page of another site whose name points to this machine (DNS rebinding), and what is no HTTP/1.1.
#[test]
fn the_demo_answers_only_as_itself() {
    let server = Server::start(&["--issuer", "https://api.example.com:8443/base"]);
    let address = server.base.strip_prefix("http://").unwrap();
    let (_, port) = address.rsplit_once(':').unwrap();
    let status = |request: &str| {
        let mut connection = std::net::TcpStream::connect(address).unwrap();
        std::io::Write::write_all(&mut connection, request.as_bytes()).unwrap();
        let mut answer = String::new();
        std::io::Read::read_to_string(&mut connection, &mut answer).unwrap();
        assert!(
            answer
                .to_lowercase()
                .contains("x-content-type-options: nosniff"),
            "{answer}"
        );
        answer.split(' ').nth(1).unwrap().to_owned()
    };
    let asked = |path: &str, hosts: &[&str]| {
        let hosts = hosts.iter().map(|host| format!("Host: {host}\r\n"));
        let hosts = hosts.collect::<Vec<_>>().concat();
        status(&format!(
            "GET {path} HTTP/1.1\r\n{hosts}Connection: close\r\n\r\n"
        ))
    };
    for own in [
        format!("127.0.0.1:{port}"),
        format!("LocalHost:{port}"),
        "localhost".to_owned(),
        "[::1]:80".to_owned(),
        "API.example.com:8443".to_owned(),
    ] {
        assert_eq!(asked("/sign-in", &[&own]), "200", "{own}");
    }
    for path in ["/sign-in", "/api-access/v1/catalog", "/settings/api-access"] {
        for foreign in [
            "evil.example",
            "api.example.com",
            "127.0.0.1.evil.example",
            "localhost.evil.example:80",
            "evil.example:127.0.0.1",
            "",
        ] {
            assert_eq!(asked(path, &[foreign]), "421", "{path} {foreign}");
        }
        assert_eq!(asked(path, &[]), "400", "{path}");
        assert_eq!(asked(path, &["localhost", "evil.example"]), "400", "{path}");
        assert_eq!(asked(path, &["localhost", "localhost"]), "400", "{path}");
    }
    let posted = "POST /sign-in HTTP/1.1\r\nHost: evil.example\r\nConnection: close\r\n\
        Content-Type: application/x-www-form-urlencoded\r\nContent-Length: 16\r\n\r\nuser=alder-admin";
    assert_eq!(status(posted), "421");
    // What no session opens is for gateways, which pass on their clients' hosts.
    assert_eq!(asked("/oauth2/token", &["evil.example"]), "405");
    let metadata = "/.well-known/oauth-authorization-server";
    assert_eq!(asked(metadata, &["evil.example"]), "200");
}
