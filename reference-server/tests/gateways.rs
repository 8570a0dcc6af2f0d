//! The configurations of `docs/gateways.md`, run by the real gateways in front of the real server.

#![allow(clippy::allow_attributes, clippy::unwrap_used, reason = "tests")]

mod common;

use std::{
    fs,
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{Arc, Mutex},
    time::Duration,
};

use common::{Key, READ, Server, connect_from, program};

const PAGE: &str = include_str!("../../docs/gateways.md");
const CALLER: [&str; 4] = [
    "x-credential-tenant",
    "x-credential-client-id",
    "x-credential-scope",
    "x-credential-on-behalf-of",
];
const PATIENTS: &str = "/api/2.0/patients/";

/// The only block of the page that is fenced so.
fn block(language: &str) -> &'static str {
    let fence = format!("```{language}\n");
    let (_, behind) = PAGE.split_once(&fence).unwrap();
    let (block, rest) = behind.split_once("\n```").unwrap();
    assert!(!rest.contains(&fence), "{language} is there twice");
    block
}

/// One exchange over a connection of its own, byte for byte.
fn exchange(address: SocketAddr, request: &str) -> String {
    answer_on(TcpStream::connect(address).unwrap(), request)
}

/// The same from an address of this machine.
fn exchange_from(source: &str, address: SocketAddr, request: &str) -> String {
    answer_on(connect_from(source, address), request)
}

fn answer_on(mut stream: TcpStream, request: &str) -> String {
    stream
        .set_read_timeout(Some(Duration::from_secs(20)))
        .unwrap();
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = Vec::new();
    // A gateway that refuses a request line may reset the connection after its answer.
    let _ = stream.read_to_end(&mut answer);
    String::from_utf8_lossy(&answer).into_owned()
}

fn status(answer: &str) -> u16 {
    let status = answer.split(' ').nth(1).and_then(|text| text.parse().ok());
    status.unwrap_or_else(|| panic!("no answer: {answer:?}"))
}

/// The values of a header, in the order sent.
fn header<'a>(head: &'a str, name: &str) -> Vec<&'a str> {
    head.lines()
        .take_while(|line| !line.is_empty())
        .filter_map(|line| line.split_once(':'))
        .filter(|(sent, _)| sent.eq_ignore_ascii_case(name))
        .map(|(_, value)| value.trim())
        .collect()
}

/// An API that keeps what it was sent and lets everybody in.
struct Api {
    address: SocketAddr,
    seen: Arc<Mutex<Vec<String>>>,
}

impl Api {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let seen = Arc::new(Mutex::new(Vec::new()));
        let heads = Arc::clone(&seen);
        // Ends with the process.
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                let mut head = Vec::new();
                let mut byte = [0];
                while !head.ends_with(b"\r\n\r\n") && stream.read(&mut byte).unwrap_or(0) == 1 {
                    head.push(byte[0]);
                }
                if head.is_empty() {
                    continue; // a gateway looked whether somebody is there
                }
                heads
                    .lock()
                    .unwrap()
                    .push(String::from_utf8_lossy(&head).into_owned());
                let _ = stream.write_all(
                    b"HTTP/1.1 200 OK\r\ncontent-length: 3\r\nconnection: close\r\n\r\nin\n",
                );
            }
        });
        Self { address, seen }
    }

    /// The requests since the last look.
    fn seen(&self) -> Vec<String> {
        std::mem::take(&mut *self.seen.lock().unwrap())
    }
}

/// A gateway between clients and the API, with a key that may read patients and act for users.
struct Deployment {
    address: SocketAddr,
    api: Api,
    server: Server,
    gateway: Child,
    folder: PathBuf,
    token: String,
    client_id: String,
    /// May be used from 127.0.0.2 only.
    bound: Key,
}

/// Where the parts of a deployment are.
struct Places<'a> {
    folder: &'a Path,
    gateway: SocketAddr,
    server: &'a str,
    api: SocketAddr,
}

impl Places<'_> {
    /// A configuration of the page with the addresses of this deployment.
    fn fill(&self, text: &str) -> String {
        for address in ["127.0.0.1:8080", "127.0.0.1:9000", "127.0.0.1:8000"] {
            assert!(PAGE.contains(address), "{address}");
        }
        text.replace("127.0.0.1:8080", self.server)
            .replace("127.0.0.1:9000", &self.api.to_string())
            .replace("127.0.0.1:8000", &self.gateway.to_string())
            .replace(":8000", &format!(":{}", self.gateway.port()))
    }

    fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.folder.join(name);
        fs::write(&path, text).unwrap();
        path
    }
}

impl Deployment {
    fn start(name: &str, family: &str, gateway: impl FnOnce(&Places<'_>) -> Command) -> Self {
        let options = ["--forward-auth-headers", family];
        let trusted = ["--trusted-proxies", "127.0.0.1"];
        let server = Server::start(&[options, trusted].concat());
        let admin = server.signed_in("alder-admin");
        let key = Key::new(&admin, "Lab", &["act_as_user", "system/patients.read"]);
        let bound = Key::new(&admin, "Office", READ);
        bound.set_networks(&admin, &["127.0.0.2"]);
        let api = Api::start();
        let folder = std::env::temp_dir().join(format!("{name}-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        // Of 127.0.0.1, where the configurations bind. Given back, because some programs cannot say which port
        // they have drawn.
        let address = TcpListener::bind("127.0.0.1:0")
            .unwrap()
            .local_addr()
            .unwrap();
        let mut command = gateway(&Places {
            folder: &folder,
            gateway: address,
            server: server.base.strip_prefix("http://").unwrap(),
            api: api.address,
        });
        let mut gateway = command
            .current_dir(&folder)
            .env("HOME", &folder)
            .env("XDG_DATA_HOME", &folder)
            .env("XDG_CONFIG_HOME", &folder)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(fs::File::create(folder.join("log")).unwrap())
            .spawn()
            .unwrap();
        let mut tries = 0;
        while TcpStream::connect(address).is_err() {
            let ended = gateway.try_wait().unwrap();
            let log = || fs::read_to_string(folder.join("log")).unwrap();
            assert!(ended.is_none() && tries < 500, "{ended:?}\n{}", log());
            tries += 1;
            std::thread::sleep(Duration::from_millis(20));
        }
        Self {
            address,
            api,
            token: key.token,
            client_id: key.client_id,
            bound,
            server,
            gateway,
            folder,
        }
    }

    /// A call through the gateway with the key's token.
    fn call(&self, line: &str, headers: &[&str]) -> String {
        let authorization = format!("authorization: Bearer {}", self.token);
        self.send(line, &[&[authorization.as_str()], headers].concat())
    }

    fn send(&self, line: &str, headers: &[&str]) -> String {
        exchange(self.address, &request(line, headers))
    }
}

fn request(line: &str, headers: &[&str]) -> String {
    let headers = headers.join("\r\n");
    let separator = if headers.is_empty() { "" } else { "\r\n" };
    format!("{line} HTTP/1.1\r\nhost: a.example\r\nconnection: close\r\n{headers}{separator}\r\n")
}

impl Drop for Deployment {
    fn drop(&mut self) {
        let _ = self.gateway.kill();
        let _ = self.gateway.wait();
        if std::thread::panicking() {
            let log = fs::read_to_string(self.folder.join("log")).unwrap_or_default();
            // The process ends anyway: what the gateway said is why.
            let _ = writeln!(std::io::stderr(), "the gateway's log:\n{log}");
        }
        let _ = fs::remove_dir_all(&self.folder);
    }
}

/// What each gateway must do.
fn holds(deployment: &Deployment) {
    allowed_calls_name_their_caller(deployment);
    refusals_reach_the_client(deployment);
    nothing_forged_reaches_the_api(deployment);
    odd_request_lines_decide_like_the_guard(deployment);
    clients_cannot_choose_their_address(deployment);
    metadata_is_the_servers(deployment);
}

fn allowed_calls_name_their_caller(deployment: &Deployment) {
    let scope = "act_as_user system/patients.read";
    for (headers, user) in [(&[][..], ""), (&["X-On-Behalf-Of: 42"], "42")] {
        let answer = deployment.call(&format!("GET {PATIENTS}?a=b"), headers);
        assert_eq!(status(&answer), 200, "{answer}");
        let seen = deployment.api.seen();
        let [head] = &seen[..] else {
            panic!("{seen:?}");
        };
        assert!(head.starts_with("GET /api/2.0/patients/?a=b HTTP/1"));
        for (name, value) in CALLER
            .into_iter()
            .zip(["alder", &deployment.client_id, scope, user])
        {
            let sent = header(head, name);
            // Absent and empty say the same.
            assert_eq!(sent.join("|"), value, "{name}: {head}");
            assert!(sent.len() <= 1, "{name}: {head}");
        }
        assert!(header(head, "x-on-behalf-of").is_empty(), "{head}");
    }
    // A client must not talk the gateway into leaving out who calls (RFC 9110 §7.6.1).
    for name in [
        "X-Credential-Tenant",
        "x-credential-scope, X-Credential-Client-Id",
    ] {
        let answer = deployment.call(
            &format!("GET {PATIENTS}"),
            &[&format!("connection: close, {name}")],
        );
        let seen = deployment.api.seen();
        let what = format!("{name}: {answer}\n{seen:?}");
        if status(&answer) == 200 {
            for (name, value) in CALLER
                .into_iter()
                .zip(["alder", &deployment.client_id, scope])
            {
                assert_eq!(header(&seen[0], name), [value], "{what}");
            }
        } else {
            assert!(
                (400..500).contains(&status(&answer)) && seen.is_empty(),
                "{what}"
            );
        }
    }
    // Public: nobody is named.
    let answer = deployment.send("GET /fhir/r4/metadata", &[]);
    assert_eq!(status(&answer), 200, "{answer}");
    let head = deployment.api.seen().concat();
    for name in CALLER {
        assert_eq!(header(&head, name).join("|"), "", "{name}: {head}");
    }
}

fn refusals_reach_the_client(deployment: &Deployment) {
    let issuer = &deployment.server.base;
    let metadata =
        format!(r#"resource_metadata="{issuer}/.well-known/oauth-protected-resource/api/2.0""#);
    let answer = deployment.send(&format!("GET {PATIENTS}"), &[]);
    assert_eq!(status(&answer), 401, "{answer}");
    assert_eq!(
        header(&answer, "www-authenticate"),
        [format!(
            r#"Bearer realm="apiv2", scope="system/patients.read", {metadata}"#
        )]
    );
    let answer = deployment.call(&format!("DELETE {PATIENTS}1"), &[]);
    assert_eq!(status(&answer), 403, "{answer}");
    assert_eq!(
        header(&answer, "www-authenticate"),
        [format!(
            r#"Bearer realm="apiv2", error="insufficient_scope", scope="system/patients.write", {metadata}"#
        )]
    );
    // A body does not get in the way.
    let body = "content-length: 5\r\ncontent-type: text/plain\r\n\r\nhello";
    let answer = deployment.call(&format!("POST {PATIENTS}"), &[body]);
    assert_eq!(status(&answer), 403, "{answer}");
    let answer = deployment.call(&format!("GET {PATIENTS}"), &["X-On-Behalf-Of: nobody"]);
    assert!((400..500).contains(&status(&answer)), "{answer}");
    assert_eq!(deployment.api.seen(), Vec::<String>::new());
}

fn nothing_forged_reaches_the_api(deployment: &Deployment) {
    for name in [
        "X-Credential-Tenant",
        "x-credential-tenant",
        "X_Credential_Tenant",
        "X-Credential_On-Behalf_Of",
        "X_CREDENTIAL_SCOPE",
        "X-Credential-Client-Id",
        "X_On_Behalf_Of",
        "X_HTTP_Method_Override",
        "X_Method-Override",
        "X-HTTP-Method-Override",
        "X-HTTP-Method",
        "X-Method-Override",
        "X-Forwarded-Method",
        "X-Forwarded-Uri",
        "X-Original-URL",
    ] {
        for line in [
            format!("GET {PATIENTS}"),
            "GET /fhir/r4/metadata".to_owned(),
        ] {
            // Also as a header that only the next hop shall see.
            for connection in [
                "te: trailers".to_owned(),
                format!("connection: close, {name}"),
            ] {
                let answer = deployment.call(&line, &[&connection, &format!("{name}: forged")]);
                let seen = deployment.api.seen();
                let what = format!("{line} {name} {connection}: {answer}\n{seen:?}");
                // Refused, or dropped on the way.
                match status(&answer) {
                    200 => assert_eq!(seen.len(), 1, "{what}"),
                    400..500 => assert!(seen.is_empty(), "{what}"),
                    _ => panic!("{what}"),
                }
                let forwarded = name.starts_with("X-Forwarded") || name.starts_with("X-Original");
                assert!(forwarded || !seen.concat().contains("forged"), "{what}");
            }
        }
    }
    for name in [
        "X-HTTP-Method-Override",
        "X-HTTP-Method",
        "X-Method-Override",
    ] {
        let answer = deployment.call(&format!("GET {PATIENTS}"), &[&format!("{name}: DELETE")]);
        assert!((400..500).contains(&status(&answer)), "{name}: {answer}");
    }
    assert_eq!(deployment.api.seen(), Vec::<String>::new());
}

/// The gateway names the address that it sees, whatever the client says.
fn clients_cannot_choose_their_address(deployment: &Deployment) {
    let bound = &deployment.bound;
    let authorization = format!("authorization: Bearer {}", bound.token);
    let (own, other) = ("127.0.0.2", "127.0.0.3");
    for (source, headers, allowed) in [
        (own, &[][..], true),
        (other, &[], false),
        (own, &["X-Forwarded-For: 127.0.0.3"], true),
        (other, &["X-Forwarded-For: 127.0.0.2"], false),
        (other, &["X-Forwarded-For: 127.0.0.2, 127.0.0.1"], false),
        (
            other,
            &["X-Forwarded-For: 127.0.0.2", "X-Forwarded-For: 127.0.0.2"],
            false,
        ),
        (
            other,
            &[
                "connection: close, X-Forwarded-For",
                "X-Forwarded-For: 127.0.0.2",
            ],
            false,
        ),
        (other, &["X_Forwarded_For: 127.0.0.2"], false),
        (
            other,
            &["X-Real-IP: 127.0.0.2", "Forwarded: for=127.0.0.2"],
            false,
        ),
    ] {
        clients_prove_themselves_where_they_are(deployment, source, headers, allowed);
        let headers = [&[authorization.as_str()], headers].concat();
        let request = request(&format!("GET {PATIENTS}"), &headers);
        let answer = exchange_from(source, deployment.address, &request);
        let seen = deployment.api.seen();
        let what = format!("{source} {headers:?}: {answer}");
        let expected = if allowed { 200 } else { 403 };
        assert_eq!(status(&answer), expected, "{what}");
        assert_eq!(seen.len(), usize::from(allowed), "{what}");
        if !allowed {
            assert!(header(&answer, "www-authenticate").is_empty(), "{what}");
        }
    }
}

/// The server's own addresses have routes of their own, on which the client's word counts as little.
fn clients_prove_themselves_where_they_are(
    deployment: &Deployment,
    source: &str,
    headers: &[&str],
    allowed: bool,
) {
    let Key {
        client_id, secret, ..
    } = &deployment.bound;
    let proof = format!("client_id={client_id}&client_secret={secret}");
    let grant = format!("grant_type=client_credentials&{proof}");
    let revocation = format!("token=unknown&{proof}");
    for (path, form) in [
        ("/oauth2/token", &grant),
        ("/api/2.0/oauth2/token", &grant),
        ("/api/2.0/oauth2/token/", &grant),
        ("/oauth2/revoke", &revocation),
    ] {
        let body = format!(
            "content-type: application/x-www-form-urlencoded\r\ncontent-length: {}\r\n\r\n{form}",
            form.len()
        );
        let mut request = request(
            &format!("POST {path}"),
            &[headers, &[body.as_str()]].concat(),
        );
        // The body has no line's end.
        request.truncate(request.len() - "\r\n\r\n".len());
        let answer = exchange_from(source, deployment.address, &request);
        let what = format!("{source} {headers:?} {path}: {answer}");
        let expected = if allowed { 200 } else { 401 };
        assert_eq!(status(&answer), expected, "{what}");
        let has_token = answer.contains("\"access_token\"");
        assert_eq!(has_token, allowed && form == &grant, "{what}");
        assert_eq!(answer.contains("\"invalid_client\""), !allowed, "{what}");
    }
    assert_eq!(deployment.api.seen(), Vec::<String>::new());
}

/// Clients find the token endpoint without a token.
fn metadata_is_the_servers(deployment: &Deployment) {
    for path in [
        "/.well-known/oauth-authorization-server",
        "/fhir/r4/.well-known/smart-configuration",
    ] {
        let answer = deployment.send(&format!("GET {path}"), &[]);
        assert_eq!(status(&answer), 200, "{path}: {answer}");
        assert!(answer.contains("\"token_endpoint\""), "{path}: {answer}");
    }
    let answer = deployment.send("GET /.well-known/oauth-protected-resource/fhir/r4", &[]);
    assert!(answer.contains("\"authorization_servers\""), "{answer}");
    assert_eq!(deployment.api.seen(), Vec::<String>::new());
}

/// What the guard refuses never reaches the API, and what does reach it is what was asked.
fn odd_request_lines_decide_like_the_guard(deployment: &Deployment) {
    let server: SocketAddr = deployment
        .server
        .base
        .strip_prefix("http://")
        .unwrap()
        .parse()
        .unwrap();
    let authorization = format!("authorization: Bearer {}", deployment.token);
    let mut passed = 0;
    for line in [
        "GET /api/2.0/patients",
        "HEAD /api/2.0/patients/1",
        "GET /api/2.0/patients/%C3%A9",
        "GET /api/2.0/patients/1?next=/a/../b//c%2F",
        "GET /api/2.0/vitals/../patients",
        "GET /api/2.0/patients/../vitals",
        "GET /api/2.0/patients/%2e%2e/vitals",
        "GET /api/2.0/patients/..%2fvitals",
        "GET /api/2.0/patients%2F1",
        "GET //api/2.0/patients",
        "GET /api//2.0/patients",
        "GET /api/2.0/./patients",
        "GET /api/2.0/%70atients",
        "GET /api/2.0/patients;x=/../vitals",
        "GET /api/2.0/patients\\..\\vitals",
        "GET /api/2.0/patients/%00",
        "GET /api/2.0/patients#/../vitals",
        "GET /API/2.0/patients",
        "GET /../api/2.0/patients",
        "GET http://a.example/api/2.0/patients",
        "GET http://a.example/api/2.0/vitals",
        "get /api/2.0/patients",
        "PROPFIND /api/2.0/patients",
        "TRACE /api/2.0/patients",
        "GET /",
        "GET /elsewhere",
        "GET /forward-auth",
        "GET /_forward-auth",
        // Whatever a gateway makes of these, they open no further address of the server's.
        "GET /oauth2/../api/2.0/vitals",
        "GET /oauth2/%2e%2e/metrics",
        "GET /oauth2/..%2fmetrics",
        "GET /metrics",
        "GET /metrics/../oauth2/token",
        "GET /forward-auth/../oauth2/token",
        "GET /api/2.0/vitals/../oauth2/token",
    ] {
        let guarded = status(&exchange(server, &request(line, &[&authorization])));
        let through = status(&deployment.call(line, &[]));
        let seen = deployment.api.seen();
        let what = format!("{line}: guard {guarded}, gateway {through}, the API saw {seen:?}");
        if through < 400 {
            passed += 1;
            // The demo's own pages are not behind its guard.
            assert_eq!(guarded, 200, "{what}");
            let (method, target) = line.split_once(' ').unwrap();
            let target = target.strip_prefix("http://a.example").unwrap_or(target);
            let [head] = &seen[..] else {
                panic!("{what}");
            };
            let asked = head.lines().next().unwrap().replace("http://a.example", "");
            assert!(
                asked.starts_with(&format!("{method} {target} HTTP/1.")),
                "{what}"
            );
        } else {
            assert!((400..500).contains(&through), "{what}");
            assert!(seen.is_empty(), "{what}");
        }
    }
    // The plain ones at least.
    assert!(passed >= 4, "{passed}");
}

#[test]
fn nginx() {
    holds(&Deployment::start("nginx", "x-original", |places| {
        nginx_with(places, block("nginx"))
    }));
}

/// What is the system's in a real one: one process, no file outside of the test's folder.
fn nginx_with(places: &Places<'_>, inside_http: &str) -> Command {
    let folder = places.folder.display();
    let kinds = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"];
    let paths = kinds.map(|kind| format!("{kind}_temp_path {folder}/{kind};\n"));
    let configuration = format!(
        "daemon off;\nmaster_process off;\npid {folder}/pid;\nerror_log stderr;\nevents {{}}\n\
         http {{\naccess_log off;\n{}{}\n}}\n",
        paths.concat(),
        places.fill(inside_http)
    );
    let path = places.write("nginx.conf", &configuration);
    let mut command = program("nginx");
    command.arg("-e").arg("stderr").arg("-c").arg(path);
    command
}

/// What ingress-nginx makes of the page's annotations, by its own template: the whole URL in place of
/// its path, and nginx's own pages for refusals. The Ingress for the server's own addresses gets a location
/// for each path; their lines are alike.
const INGRESS: &str = r#"
server {
    listen 127.0.0.1:8000;
    location ~ ^/(oauth2/|\.well-known/|api/2\.0/oauth2/token/?$|fhir/r4/\.well-known/smart-configuration$) {
        proxy_set_header Host $http_host;
        proxy_set_header X-Request-ID $request_id;
        proxy_set_header X-Real-IP $remote_addr;
        proxy_set_header X-Forwarded-For $remote_addr;
        proxy_set_header X-Forwarded-Host $http_host;
        proxy_set_header X-Forwarded-Proto $scheme;
        proxy_http_version 1.1;
        proxy_pass http://127.0.0.1:8080;
    }
    location = /_external-auth {
        internal;
        proxy_pass_request_body off;
        proxy_set_header Content-Length "";
        proxy_set_header X-Forwarded-Proto "";
        proxy_set_header X-Request-ID $request_id;
        proxy_set_header Host 127.0.0.1;
        proxy_set_header X-Original-URL $scheme://$http_host$request_uri;
        proxy_set_header X-Original-Method $request_method;
        proxy_set_header X-Sent-From "nginx-ingress-controller";
        proxy_set_header X-Real-IP $remote_addr;
        proxy_set_header X-Forwarded-For $remote_addr;
        proxy_set_header X-Auth-Request-Redirect $request_uri;
        proxy_buffer_size 16k;
        proxy_buffers 4 16k;
        proxy_http_version 1.1;
        proxy_pass_request_headers on;
        proxy_pass http://127.0.0.1:8080/forward-auth;
    }
    location / {
        auth_request /_external-auth;
        auth_request_set $authHeader0 $upstream_http_x_credential_tenant;
        proxy_set_header 'X-Credential-Tenant' $authHeader0;
        auth_request_set $authHeader1 $upstream_http_x_credential_client_id;
        proxy_set_header 'X-Credential-Client-Id' $authHeader1;
        auth_request_set $authHeader2 $upstream_http_x_credential_scope;
        proxy_set_header 'X-Credential-Scope' $authHeader2;
        auth_request_set $authHeader3 $upstream_http_x_credential_on_behalf_of;
        proxy_set_header 'X-Credential-On-Behalf-Of' $authHeader3;
        proxy_set_header Host $http_host;
        proxy_set_header X-On-Behalf-Of "";
        proxy_http_version 1.1;
        proxy_pass http://127.0.0.1:9000;
    }
}
"#;

#[test]
fn ingress_nginx() {
    let deployment = Deployment::start("ingress-nginx", "x-original-url", |places| {
        nginx_with(places, INGRESS)
    });
    allowed_calls_name_their_caller(&deployment);
    let nobody = deployment.send(&format!("GET {PATIENTS}"), &[]);
    assert_eq!(status(&nobody), 401, "{nobody}");
    assert_eq!(header(&nobody, "www-authenticate").len(), 1, "{nobody}");
    for (line, headers) in [
        ("DELETE /api/2.0/patients/1", &[][..]),
        ("GET /api/2.0/patients/", &["X-On-Behalf-Of: nobody"]),
    ] {
        let answer = deployment.call(line, headers);
        assert_eq!(status(&answer), 403, "{line}: {answer}");
    }
    nothing_forged_reaches_the_api(&deployment);
    odd_request_lines_decide_like_the_guard(&deployment);
    clients_cannot_choose_their_address(&deployment);
    metadata_is_the_servers(&deployment);
    // The host in the URL is the client's own word.
    for host in ["a?b", "a#b", "a/api/2.0/vitals?", "a@b", "a\\b", "a b", ""] {
        let line = format!("GET {PATIENTS} HTTP/1.1");
        let token = format!("authorization: Bearer {}", deployment.token);
        let request = format!("{line}\r\nhost: {host}\r\n{token}\r\nconnection: close\r\n\r\n");
        let answer = exchange(deployment.address, &request);
        assert!((400..500).contains(&status(&answer)), "{host}: {answer}");
        assert_eq!(deployment.api.seen(), Vec::<String>::new(), "{host}");
    }
}

#[test]
fn caddy() {
    holds(&Deployment::start("caddy", "x-forwarded", |places| {
        let configuration = format!("{{\n\tadmin off\n}}\n{}\n", places.fill(block("caddyfile")));
        let path = places.write("Caddyfile", &configuration);
        let mut command = program("caddy");
        command
            .args(["run", "--adapter", "caddyfile", "--config"])
            .arg(path);
        command
    }));
}

#[test]
fn haproxy() {
    holds(&Deployment::start("haproxy", "x-forwarded", |places| {
        let lua = places.write("forward-auth.lua", &places.fill(block("lua")));
        let configuration = places
            .fill(block("haproxy"))
            .replace("/etc/haproxy/forward-auth.lua", &lua.display().to_string());
        let path = places.write("haproxy.cfg", &format!("{configuration}\n"));
        let mut command = program("haproxy");
        command.arg("-db").arg("-f").arg(path);
        command
    }));
}
