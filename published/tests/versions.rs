//! Versions that documents name are those that the manifests ask for, and no type of somebody else's stands in a
//! public signature without a line in docs/embedding.md.

#![allow(clippy::allow_attributes, clippy::unwrap_used, reason = "tests")]

use std::{collections::BTreeSet, fs, path::PathBuf};

use toml::{Table, Value};

const LIBRARIES: [&str; 5] = [
    "credential-axum",
    "credential-core",
    "credential-fetch",
    "credential-store-memory",
    "credential-store-postgres",
];

fn read(file: &str) -> String {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("..");
    fs::read_to_string(root.join(file)).unwrap_or_else(|error| panic!("{file}: {error}"))
}

fn manifest(file: &str) -> Table {
    read(file).parse().unwrap()
}

/// What a dependency, written either way, asks for.
fn version(dependency: &Value) -> Option<&str> {
    dependency
        .as_str()
        .or_else(|| dependency.get("version")?.as_str())
}

/// The version that the workspace asks for. Panics for what it does not depend on.
fn ours(workspace: &Table, name: &str) -> String {
    let found = workspace["workspace"]["dependencies"].get(name);
    let found = found.and_then(version);
    found
        .unwrap_or_else(|| panic!("the workspace has no `{name}`"))
        .to_owned()
}

/// Whether `said`, such as `0.8`, is a version that says all that matters of `exact`, such as `0.8.9`.
fn agrees(said: &str, exact: &str) -> bool {
    let significant = if exact.starts_with("0.") { 2 } else { 1 };
    said.split('.').count() >= significant
        && (said == exact || exact.starts_with(&format!("{said}.")))
}

#[test]
fn dependencies_in_documents_are_those_of_the_manifests() {
    let workspace = manifest("Cargo.toml");
    let mut files = vec!["README.md".to_owned(), "docs/embedding.md".to_owned()];
    files.extend(LIBRARIES.map(|library| format!("{library}/README.md")));
    let mut wrong = Vec::new();
    let mut seen = BTreeSet::new();
    for file in &files {
        let text = read(file);
        for block in text.split("```toml\n").skip(1) {
            let block = block.split("```").next().unwrap();
            if !block.contains("dependencies]") {
                continue;
            }
            let block: Table = block.parse().unwrap();
            for kind in ["dependencies", "dev-dependencies"] {
                let Some(dependencies) = block.get(kind).and_then(Value::as_table) else {
                    continue;
                };
                for (name, dependency) in dependencies {
                    let exact = ours(&workspace, name);
                    let said = version(dependency).unwrap_or("none");
                    if !agrees(said, &exact) {
                        wrong.push(format!("{file}: `{name}` {said}, but {exact} is used"));
                    }
                    seen.insert(file.clone());
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    for file in &files {
        assert!(seen.contains(file), "{file} says no dependencies");
    }
}

#[test]
fn each_front_page_names_the_oldest_rust_and_every_feature() {
    let workspace = manifest("Cargo.toml");
    for library in LIBRARIES {
        let manifest = manifest(&format!("{library}/Cargo.toml"));
        let page = read(&format!("{library}/README.md"));
        let rust = manifest["package"]["rust-version"].as_str();
        let rust = rust.unwrap_or_else(|| {
            workspace["workspace"]["package"]["rust-version"]
                .as_str()
                .unwrap()
        });
        assert!(page.contains(&format!("Rust {rust} or newer")), "{library}");
        let features = manifest.get("features").and_then(Value::as_table);
        for feature in features.into_iter().flat_map(Table::keys) {
            let row = format!("| `{feature}` | ");
            assert!(page.contains(&row), "{library}: feature `{feature}`");
        }
    }
}

#[test]
fn types_of_other_crates_in_signatures_are_listed_with_their_versions() {
    let workspace = manifest("Cargo.toml");
    let document = read("docs/embedding.md");
    let (_, table) = document
        .split_once("<!-- types of other crates -->\n")
        .unwrap();
    let rows: Vec<(Vec<&str>, &str)> = table
        .lines()
        .skip(2) // its head
        .map_while(|row| row.strip_prefix("| "))
        .map(|row| {
            let mut cells = row.split(" | ");
            let names = cells.next().unwrap().split('`').skip(1).step_by(2);
            (names.collect(), cells.next().unwrap())
        })
        .collect();
    let used: BTreeSet<String> = LIBRARIES
        .iter()
        .flat_map(|library| roots(&read(&format!("docs/public-api/{library}.txt"))))
        .collect();

    let mut listed = BTreeSet::new();
    for (names, said) in &rows {
        // The first name is the crate's, the others are those of crates that it re-exports.
        let exact = ours(&workspace, names[0]);
        assert!(
            agrees(said, &exact),
            "`{}` {said}, but {exact} is used",
            names[0]
        );
        let names = names.iter().map(|name| name.replace('-', "_"));
        listed.extend(names);
    }
    let missing: Vec<_> = used.difference(&listed).collect();
    assert!(
        missing.is_empty(),
        "in signatures, but not in docs/embedding.md: {missing:?}"
    );
    // A row counts if any of its names is in use.
    for (names, _) in &rows {
        let in_use = |name: &&str| used.contains(&name.replace('-', "_"));
        assert!(names.iter().any(in_use), "{names:?} is in no signature");
    }
}

/// The crates, other than ours and Rust's own, that paths in a list begin with.
fn roots(list: &str) -> BTreeSet<String> {
    let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let mut roots = BTreeSet::new();
    for (at, _) in list.match_indices("::") {
        let before = &list[..at];
        let start = before.rfind(|c| !is_name(c)).map_or(0, |at| at + 1);
        let (before, root) = before.split_at(start);
        let is_root = !before.ends_with("::") && !root.is_empty();
        let is_type = root.starts_with(|c: char| c.is_ascii_uppercase());
        // What a macro made and nobody can name.
        let is_hidden = list[at..].starts_with("::__private");
        let is_known = root.starts_with("credential_") || ["std", "core", "alloc"].contains(&root);
        if is_root && !is_type && !is_hidden && !is_known {
            roots.insert(root.to_owned());
        }
    }
    roots
}

#[test]
fn roots_are_found() {
    let list = "pub fn credential_x::f(a: &http::header::Map<T::Item>) -> core::result::Result<\n\
                pub use credential_x::<<sqlx::Pool>>\n<Self as tower_layer::Layer>::x";
    let expected = ["http", "sqlx", "tower_layer"].map(str::to_owned);
    assert_eq!(roots(list), BTreeSet::from(expected));
}

#[test]
fn versions_agree_by_what_matters() {
    assert!(agrees("0.8", "0.8.9") && agrees("1", "1.54.1") && agrees("1.5", "1.5.0"));
    assert!(!agrees("0", "0.8.9") && !agrees("0.9", "0.8.9") && !agrees("0.8", "0.80.1"));
}

#[test]
fn the_host_in_the_document_is_the_example() {
    let document = read("docs/embedding.md");
    for (file, example) in [
        ("src/main.rs", "embed.rs"),
        ("src/payments.toml", "payments.toml"),
    ] {
        let mark = format!("<!-- host: {file} -->\n```");
        let (_, block) = document.split_once(&mark).unwrap();
        let (_, block) = block.split_once('\n').unwrap();
        let (block, _) = block.split_once("```").unwrap();
        let example = read(&format!("credential-axum/examples/{example}"));
        assert_eq!(block, example, "copy the example into docs/embedding.md");
    }
}
