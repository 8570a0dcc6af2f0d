//! The OpenAPI document: as the program prints it, as it is checked in, and as the server shows it.

#![allow(clippy::allow_attributes, clippy::unwrap_used, reason = "tests")]

mod common;

use std::{fs, path::Path};

use common::{Server, run};
use serde_json::{Value, json};

const CHECKED_IN: &str = "../docs/openapi.json";

fn printed(arguments: &[&str]) -> String {
    let output = run(arguments);
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn the_checked_in_document_is_up_to_date() {
    let printed = printed(&["openapi"]);
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join(CHECKED_IN);
    if std::env::var_os("ACCEPT").is_some() {
        fs::write(&file, &printed).unwrap();
    }
    let kept = fs::read_to_string(&file).unwrap_or_default();
    let differs = kept
        .lines()
        .zip(printed.lines())
        .position(|(kept, printed)| kept != printed);
    assert!(
        kept == printed,
        "docs/openapi.json is not what the program prints (first in line {:?}); to accept what it prints:\n  \
         ACCEPT=1 cargo test -p reference-server --test openapi up_to_date",
        differs.map(|line| line + 1)
    );
}

#[test]
fn it_needs_no_database_and_follows_the_options() {
    let arguments = [
        "--issuer",
        "https://keys.example/auth",
        "--database-url",
        "postgres://nobody@127.0.0.1:1/none",
        "openapi",
    ];
    let document: Value = serde_json::from_str(&printed(&arguments)).unwrap();
    assert_eq!(
        document["servers"],
        json!([{"url": "https://keys.example/auth"}])
    );
    let output = run(&["--issuer", "not a url", "openapi"]);
    assert_eq!(output.status.code(), Some(2));
}

#[test]
fn the_server_shows_its_own_and_serves_every_operation() {
    let server = Server::start(&[]);
    let client = server.client();
    let answer = client.get("/openapi.json", &[]);
    assert_eq!(
        (answer.status, answer.header("content-type")),
        (200, "application/json")
    );
    let document = answer.json();
    let mut expected: Value = serde_json::from_str(&printed(&["openapi"])).unwrap();
    expected["servers"] = json!([{"url": server.base}]);
    assert_eq!(document, expected);

    let mut called = 0;
    for (path, item) in document["paths"].as_object().unwrap() {
        let path = path
            .replace("{id}", "00000000000000000000000000000000")
            .replace("{selector}", "none");
        for (method, operation) in item.as_object().unwrap() {
            let answer = client.send(&method.to_uppercase(), &path, &[], None);
            let expected = match operation["security"].as_array().unwrap().as_slice() {
                [] => 200,
                // Whoever has not signed in learns of no address whether it exists.
                [only] if only.get("signIn").is_some() => 401,
                // A form is needed.
                _ => 400,
            };
            assert_eq!(answer.status, expected, "{method} {path}");
            called += 1;
        }
    }
    assert!(called > 20, "{called}");

    // Signed in, only the credential is not found.
    let admin = server.signed_in("alder-admin");
    for (path, item) in document["paths"].as_object().unwrap() {
        let path = path.replace("{id}", "none").replace("{selector}", "none");
        for method in item.as_object().unwrap().keys() {
            let headers = [("if-match", "*"), ("content-type", "application/json")];
            let answer = admin.send(&method.to_uppercase(), &path, &headers, Some("{}"));
            assert_ne!(answer.status, 405, "{method} {path}");
            if answer.status == 404 {
                let detail = answer.json()["detail"].clone();
                assert_eq!(detail, "There is no such credential.", "{method} {path}");
            }
        }
    }
}
