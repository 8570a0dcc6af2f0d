use super::*;
use crate::testing::SeededEntropy;

/// 32 bytes as base64: standard, with both characters that the alphabets write differently.
const KEY: &str = "+/8AAQIDBAUGBwgJCgsMDQ4PEBESExQVFhcYGRobHB0=";
const OTHER: &str = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";

fn check_values(ring: &Keyring) -> Vec<String> {
    ring.keys()
        .map(|key| key.check_value().to_owned())
        .collect()
}

#[test]
fn a_keyring_is_read_as_other_types_are() {
    let ring: Keyring = format!("a:{KEY}").parse().unwrap();
    assert_eq!(ring.signing().name().as_str(), "a");
    assert!("a:short".parse::<Keyring>().is_err());
}

#[test]
fn either_alphabet_with_or_without_padding_is_one_key() {
    let reference = check_values(&Keyring::parse(&format!("a:{KEY}")).unwrap());
    let url_safe = KEY.replace('+', "-").replace('/', "_");
    for key in [
        KEY.trim_end_matches('='),
        &url_safe,
        url_safe.trim_end_matches('='),
    ] {
        let ring = Keyring::parse(&format!("a:{key}")).unwrap();
        assert_eq!(check_values(&ring), reference);
    }
}

#[test]
fn a_file_may_have_lines_comments_and_blanks() {
    let in_one_line = Keyring::parse(&format!("new:{KEY},old:{OTHER}:tag")).unwrap();
    let file = format!("# since March\n new:{KEY} ,\r\n\n\t# leaked\nold : {OTHER} : tag\n");
    let file = Keyring::parse(&file).unwrap();
    assert_eq!(check_values(&file), check_values(&in_one_line));
    assert_eq!(format!("{file:?}"), format!("{in_one_line:?}"));
    let names: Vec<_> = file.names().map(KeyName::as_str).collect();
    assert_eq!(names, ["new", "old"]);
    assert_eq!(file.signing().name().as_str(), "new");
    let roles: Vec<_> = file.keys().map(Key::role).collect();
    assert_eq!(roles, [KeyRole::Full, KeyRole::Tag]);
}

#[test]
fn what_is_wrong_is_named_and_no_key_is_repeated() {
    let short = "AAECAwQFBgcICQoLDA0ODw==";
    let hex = "00112233445566778899aabbccddeeff";
    for (text, fault) in [
        (String::new(), "keyring: there is no entry"),
        (" \n# a:b\n".to_owned(), "keyring: there is no entry"),
        (KEY.to_owned(), "keyring entry 1: there is no colon"),
        (hex.to_owned(), "keyring entry 1: there is no colon"),
        (format!("a:{KEY},"), "ok"),
        (format!("a:{KEY},,"), "keyring entry 2: there is no colon"),
        (
            format!("{KEY}:a"),
            "keyring entry 1: the name is not a key name",
        ),
        (format!("{hex}:a"), "keyring entry 1: the key is not base64"),
        (
            format!("A:{KEY}"),
            "keyring entry 1: the name is not a key name",
        ),
        (
            format!(":{KEY}"),
            "keyring entry 1: the name is not a key name",
        ),
        (
            format!("{}:{KEY}", "x".repeat(33)),
            "keyring entry 1: the name is not a key name",
        ),
        (
            format!("a:{short}"),
            "keyring entry 1 (`a`): the key has 16 bytes",
        ),
        (
            format!("a:{KEY}!"),
            "keyring entry 1 (`a`): the key is not base64",
        ),
        (
            format!("a:{}", KEY.replace("B0=", "B1=")),
            "keyring entry 1 (`a`): the key is not base64",
        ),
        ("a:".to_owned(), "keyring entry 1: the key has 0 bytes"),
        (
            format!("a:{KEY}:sign"),
            "keyring entry 1 (`a`): what follows the key",
        ),
        (
            format!("a:{KEY}:tag:tag"),
            "keyring entry 1 (`a`): what follows the key",
        ),
        (
            format!("a:{KEY}:"),
            "keyring entry 1 (`a`): what follows the key",
        ),
        (
            format!("a:{KEY}:tag"),
            "keyring entry 1 (`a`): the first key signs",
        ),
        (
            format!("a:{KEY},a:{OTHER}"),
            "keyring entry 2 (`a`): the name occurs twice",
        ),
        (
            format!("a:{KEY},b:{KEY}:tag"),
            "keyring entry 2 (`b`): the key occurs under another name",
        ),
    ] {
        let shown = match Keyring::parse(&text) {
            Ok(_) => "ok".to_owned(),
            Err(error) => format!("{error}|{error:?}"),
        };
        assert!(shown.starts_with(fault), "{text:?} gave {shown}");
        for key in [KEY, OTHER, short, hex] {
            assert!(!shown.contains(&key[..key.len() - 4]), "{shown}");
        }
        assert!(shown == "ok" || shown.contains("accepted is `name:base64[:tag],...`"));
    }
}

#[test]
fn a_generated_entry_reads_back() {
    let entropy = SeededEntropy::new(1);
    let name: KeyName = "k-2026".parse().unwrap();
    let entry = Keyring::generate_entry(&name, &entropy);
    assert_eq!(entry.capacity(), entry.len(), "grew while it was written");
    let ring = Keyring::parse(&entry).unwrap();
    assert_eq!(ring.names().collect::<Vec<_>>(), [&name]);
    assert_ne!(
        check_values(&ring),
        check_values(&Keyring::parse(&Keyring::generate_entry(&name, &entropy)).unwrap())
    );
    assert_eq!(Keyring::generate(&entropy).signing().name().as_str(), "k1");
}

/// What was derived yesterday must be derived tomorrow: a changed label would orphan every secret.
/// The values were computed apart from this code, by HMAC-SHA256 calls that follow RFC 5869.
#[test]
fn derivation_does_not_change() {
    let ring = Keyring::parse(&format!("a:{OTHER}")).unwrap();
    let key = ring.signing();
    assert_eq!(key.check_value(), CHECK);
    assert_eq!(hex(key.pepper()), PEPPER);
    assert_eq!(hex(key.token().unwrap().as_bytes()), TOKEN);
    assert_eq!(hex(&key.tag(b"text").to_be_bytes()), TAG);
    assert_eq!(hex(&key.audit_mac(b"text")), AUDIT);
    let replay = key.replay_mac(&[b"seal", b"text"]).unwrap();
    assert_eq!(hex(&replay[..]), REPLAY);
}

const CHECK: &str = "0d6dec8577c77e3ede06a934ae7e6d3a";
const PEPPER: &str = "6fe365993a33b9a2989850f5b438a33cc1a0a1c9dffe53e2ee719a7e7bb34679";
const TOKEN: &str = "c0bc4f2881a2aba7067ab10701b5251616cfaf577024a5ea4cf508e6b4fc506b";
const TAG: &str = "63bf7e0ce08f10e1";
const AUDIT: &str = "f13c9548336787d69a660f554f54c484a8fbf2faa00caf7e09bd4a021b86bc65";
const REPLAY: &str = "560c9a66502c34d3c66d91257f35df217daa7e357ebcfec05fa91ac551cce950";

#[test]
fn a_tag_key_checks_but_opens_nothing() {
    let ring = Keyring::parse(&format!("a:{KEY},b:{OTHER}:tag")).unwrap();
    let full = Keyring::parse(&format!("b:{OTHER}")).unwrap();
    let name: KeyName = "b".parse().unwrap();
    let (leaked, same) = (ring.get(&name).unwrap(), full.signing());
    assert_eq!(leaked.tag(b"x"), same.tag(b"x"));
    assert_eq!(leaked.pepper(), same.pepper());
    assert_eq!(leaked.audit_mac(b"x"), same.audit_mac(b"x"));
    assert!(leaked.token().is_none() && same.token().is_some());
    assert!(leaked.replay_mac(&[b"x"]).is_none() && same.replay_mac(&[b"x"]).is_some());
}

/// The ring's first key signs, unless a key that was first used later has signed already.
#[test]
fn no_key_signs_behind_a_newer_one() {
    let signs = |ring: &str, used: &[&str], newest: Option<&str>| {
        let ring = Keyring::parse(ring).unwrap();
        let used: Arc<[KeyName]> = used.iter().map(|name| name.parse().unwrap()).collect();
        let newest: Option<KeyName> = newest.map(|name| name.parse().unwrap());
        let signer = KeySigner::new(&ring, used);
        signer.behind(newest.as_ref()).name().to_string()
    };
    let old_first = format!("a:{KEY},b:{OTHER}");
    let new_first = format!("b:{OTHER},a:{KEY}");
    let leaked = format!("b:{OTHER},a:{KEY}:tag");
    for (ring, used, newest, expected) in [
        (&old_first, &["a"][..], None, "a"),
        (&old_first, &["a"], Some("a"), "a"),
        // This node has not heard of it, or has: either way it came later.
        (&old_first, &["a"], Some("b"), "b"),
        (&old_first, &["a", "b"], Some("b"), "b"),
        (&new_first, &["a", "b"], Some("a"), "b"),
        (&new_first, &["a", "b"], Some("b"), "b"),
        // A leaked key signs nothing, whatever is said of it; neither does one that is not there.
        (&leaked, &["b"], Some("a"), "b"),
        (&leaked, &["b"], Some("c"), "b"),
    ] {
        assert_eq!(
            signs(ring, used, newest),
            expected,
            "{ring} {used:?} {newest:?}"
        );
    }
}

#[test]
fn debug_shows_names_and_roles_only() {
    let ring = Keyring::parse(&format!("a:{KEY},b:{OTHER}:tag")).unwrap();
    assert_eq!(
        format!("{ring:?}"),
        "[Key { name: a, role: Full, .. }, Key { name: b, role: Tag, .. }]"
    );
}

fn hex(bytes: &[u8]) -> String {
    let digit = |nibble: u8| char::from_digit(u32::from(nibble), 16).unwrap();
    bytes
        .iter()
        .flat_map(|byte| [digit(byte >> 4), digit(byte & 15)])
        .collect()
}
