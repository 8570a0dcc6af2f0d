//! What the documents say of this repository: files that they name, and metrics.

#![allow(clippy::allow_attributes, clippy::unwrap_used, reason = "tests")]

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

/// Endings of file names that the documents mention.
const ENDINGS: [&str; 9] = [
    ".css", ".js", ".json", ".md", ".mjs", ".rs", ".sql", ".toml", ".yml",
];
/// Files of the reader's own, or made when something runs.
const NOT_OURS: [&str; 3] = ["main.rs", "src/main.rs", "src/payments.toml"];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .unwrap()
        .to_owned()
}

/// README.md, its neighbours, and docs/*.md: each with its path from the root.
fn documents() -> Vec<(PathBuf, String)> {
    let mut found = Vec::new();
    for folder in ["", "docs"] {
        for entry in fs::read_dir(root().join(folder)).unwrap() {
            let path = entry.unwrap().path();
            if path.extension().is_some_and(|ending| ending == "md") {
                let text = fs::read_to_string(&path).unwrap();
                found.push((path.strip_prefix(root()).unwrap().to_owned(), text));
            }
        }
    }
    assert!(found.len() > 8, "{found:?}");
    found
}

/// All files of the project, as paths from its root.
fn files(folder: &Path, found: &mut Vec<String>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap();
        if ["target", "node_modules", ".git"].contains(&name) {
            continue;
        }
        if path.is_dir() {
            files(&path, found);
        } else {
            let path = path.strip_prefix(root()).unwrap();
            found.push(format!("/{}", path.display()));
        }
    }
}

/// The text without its fenced blocks, which hold programs.
fn prose(text: &str) -> String {
    text.split("```").step_by(2).collect()
}

/// What is written as code, and the targets of links.
fn mentions(text: &str) -> Vec<&str> {
    let code = text.split('`').skip(1).step_by(2);
    let links = text
        .split("](")
        .skip(1)
        .filter_map(|rest| Some(rest.split_once(')')?.0))
        .map(|link| link.split_once('#').map_or(link, |(path, _)| path));
    code.chain(links).collect()
}

#[test]
fn every_file_that_a_document_names_exists() {
    let mut all = Vec::new();
    files(&root(), &mut all);
    let mut missing = Vec::new();
    let mut checked = 0;
    for (document, text) in documents() {
        let folder = root().join(&document).parent().unwrap().to_owned();
        for mention in mentions(&prose(&text)) {
            let named = ENDINGS.iter().any(|ending| mention.ends_with(ending))
                || mention.starts_with("scripts/");
            let single = !mention.contains([' ', '*', '…', '{', '<', ':', '"']);
            if !named || !single || mention.starts_with('/') || NOT_OURS.contains(&mention) {
                continue;
            }
            checked += 1;
            // By a path from the document or the root, or by its last parts: `authorize/ledger.rs`.
            let exists = folder.join(mention).exists()
                || all
                    .iter()
                    .any(|file| file.ends_with(&format!("/{mention}")));
            if !exists {
                missing.push(format!("{}: {mention}", document.display()));
            }
        }
    }
    assert!(checked > 60, "{checked}");
    assert!(missing.is_empty(), "{missing:#?}");
}

/// What is quoted directly behind any of these.
fn quoted_after<'a>(text: &'a str, starts: &[&str]) -> BTreeSet<&'a str> {
    let behind = |start| text.split(start).skip(1);
    let quoted = starts.iter().flat_map(|start| behind(*start));
    quoted
        .filter_map(|rest| rest.trim_start().strip_prefix('"')?.split('"').next())
        .collect()
}

#[test]
fn every_metric_is_described() {
    let mut all = Vec::new();
    files(&root().join("credential-core/src"), &mut all);
    let sources: String = all
        .iter()
        .map(|file| root().join(&file[1..]))
        .filter(|path| path.extension().is_some_and(|ending| ending == "rs"))
        .map(|path| fs::read_to_string(path).unwrap())
        .collect();
    let counted = quoted_after(&sources, &["counter!(", "gauge!(", "histogram!("]);
    assert!(counted.len() > 15, "{counted:?}");

    let described: BTreeSet<&str> = sources
        .lines()
        .filter_map(|line| line.strip_prefix("//! | `credential_"))
        .filter_map(|row| row.split_once(" |"))
        .flat_map(|(names, _)| names.split("`, `credential_"))
        .map(|name| name.trim_end_matches('`'))
        .collect();
    let counted: BTreeSet<&str> = counted
        .iter()
        .map(|name| name.strip_prefix("credential_").unwrap())
        .collect();
    assert_eq!(counted, described);

    let operations = fs::read_to_string(root().join("docs/operations.md")).unwrap();
    for word in operations.split(|c: char| !c.is_ascii_alphanumeric() && c != '_') {
        let metric = ["_total", "_seconds"]
            .iter()
            .any(|ending| word.ends_with(ending));
        if let Some(name) = word.strip_prefix("credential_").filter(|_| metric) {
            assert!(described.contains(name), "{word} is not counted");
        }
    }
}
