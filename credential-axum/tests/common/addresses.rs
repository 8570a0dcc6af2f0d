//! The table of callers, `data/addresses.txt`.

#![allow(
    dead_code,
    clippy::allow_attributes,
    clippy::unwrap_used,
    reason = "test set-up, of which each test binary uses its own part"
)]

use std::net::IpAddr;

const TABLE: &str = include_str!("../data/addresses.txt");

pub struct Table {
    pub trusted: Vec<&'static str>,
    pub lists: Vec<List>,
    pub callers: Vec<Caller>,
}

/// The networks of one credential.
pub struct List {
    pub name: char,
    pub networks: Vec<&'static str>,
}

pub struct Caller {
    /// Where it stands, for messages.
    pub line: usize,
    pub peer: Option<IpAddr>,
    /// The value of each `X-Forwarded-For`.
    pub forwarded: Vec<String>,
    /// The address that counts.
    pub address: Option<IpAddr>,
    /// The lists that it is in.
    opens: &'static str,
}

impl Table {
    pub fn read() -> Self {
        let mut table = Self {
            trusted: Vec::new(),
            lists: Vec::new(),
            callers: Vec::new(),
        };
        for (at, line) in TABLE.lines().enumerate() {
            if line.is_empty() || line.starts_with('#') {
            } else if let Some(trusted) = line.strip_prefix("trusted ") {
                table.trusted = trusted.split(' ').collect();
            } else if let Some(list) = line.strip_prefix("list ") {
                let (name, networks) = list.split_once(' ').unwrap();
                table.lists.push(List {
                    name: name.parse().unwrap(),
                    networks: networks.split(' ').collect(),
                });
            } else {
                table.callers.push(Caller::read(at + 1, line));
            }
        }
        assert!(table.lists.len() >= 25 && table.callers.len() >= 40);
        table
    }
}

impl Caller {
    fn read(line: usize, text: &'static str) -> Self {
        let columns: Vec<&str> = text.split('|').map(str::trim).collect();
        let [peer, forwarded, address, opens] = columns[..] else {
            panic!("line {line}: {text}");
        };
        let known = |text: &str| (text != "-").then(|| text.parse().unwrap());
        Self {
            line,
            peer: known(peer),
            forwarded: if forwarded == "-" {
                Vec::new()
            } else {
                quoted(forwarded)
            },
            address: known(address),
            opens: if opens == "-" { "" } else { opens },
        }
    }

    pub fn is_in(&self, list: &List) -> bool {
        self.opens.contains(list.name)
    }
}

/// `"a" "b"`, with `\t` and `\"` inside.
fn quoted(text: &str) -> Vec<String> {
    let mut values = Vec::new();
    let mut value = None::<String>;
    let mut characters = text.chars();
    while let Some(character) = characters.next() {
        match (&mut value, character) {
            (None, '"') => value = Some(String::new()),
            (None, other) => assert_eq!(other, ' ', "{text}"),
            (Some(_), '"') => values.extend(value.take()),
            (Some(value), '\\') => value.push(match characters.next() {
                Some('t') => '\t',
                Some('"') => '"',
                other => panic!("{other:?}: {text}"),
            }),
            (Some(value), other) => value.push(other),
        }
    }
    assert!(value.is_none(), "{text}");
    values
}
