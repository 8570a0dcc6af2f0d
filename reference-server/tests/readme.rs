//! The walk-throughs of the documents, run as written against the real server.

#![allow(clippy::allow_attributes, clippy::unwrap_used, reason = "tests")]

mod common;

use std::process::Command;

use common::Server;

const README: &str = include_str!("../../README.md");
const CLIENTS: &str = include_str!("../../docs/clients.md");
const ADMIN_API: &str = include_str!("../../docs/admin-api.md");

/// Runs the block behind the mark, and compares what it prints with the comments at its lines' ends.
fn run(document: &str, mark: &str) {
    let start = format!("<!-- {mark} -->\n```sh\n");
    let (_, behind) = document.split_once(&start).unwrap();
    let (script, _) = behind.split_once("```").unwrap();
    let expected: Vec<&str> = script
        .lines()
        .filter(|line| !line.starts_with('#'))
        .filter_map(|line| Some(line.rsplit_once(" # ")?.1))
        .collect();
    assert!(expected.len() >= 12, "{expected:?}");

    let server = Server::start(&[]);
    let script = script.replace("http://127.0.0.1:8080", &server.base);
    let folder = std::env::temp_dir().join(format!("{mark}-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let output = Command::new("bash")
        .args(["-euo", "pipefail", "-c", &script])
        .current_dir(&folder)
        .output()
        .unwrap();
    std::fs::remove_dir_all(folder).unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}");
    let printed = String::from_utf8(output.stdout).unwrap();
    assert_eq!(printed.lines().collect::<Vec<_>>(), expected, "{errors}");
}

#[test]
fn the_walkthrough_prints_what_it_says() {
    run(README, "walkthrough");
}

#[test]
fn the_admin_api_prints_what_it_says() {
    run(ADMIN_API, "admin");
}

#[test]
fn a_key_without_a_secret_prints_what_it_says() {
    run(CLIENTS, "proofs");
}

#[test]
fn a_keys_life_prints_what_it_says() {
    run(CLIENTS, "life");
}
