use proptest::prelude::*;

use super::*;
use crate::testing::SeededEntropy;

const ISSUER: &str = "https://api.example.com";

fn ring(entries: &[(&str, u64, &str)]) -> Keyring {
    let entries: Vec<String> = entries
        .iter()
        .map(|(name, seed, role)| {
            let entropy = SeededEntropy::new(*seed);
            let entry = Keyring::generate_entry(&name.parse().unwrap(), &entropy);
            format!("{}{role}", *entry)
        })
        .collect();
    Keyring::parse(&entries.join(",")).unwrap()
}

fn sealer(keyring: Keyring) -> TokenSealer {
    TokenSealer::new(keyring, ISSUER, Environment::Sandbox)
}

fn claims(scopes: TokenScopes) -> TokenClaims {
    let entropy = SeededEntropy::new(5);
    let issued_at = Timestamp::parse_rfc3339("2026-01-31T12:00:00.000001Z").unwrap();
    TokenClaims {
        credential: CredentialId::random(&entropy),
        proof: ProofId::random(&entropy),
        id: TokenId::random(&entropy),
        issued_at,
        expires_at: issued_at.saturating_add(Duration::from_hours(10)),
        scopes,
    }
}

fn follows() -> TokenClaims {
    claims(TokenScopes::FollowsCredential)
}

/// Text that is sealed as a token, whatever it says.
fn sealed_by_hand(keyring: &Keyring, payload: &[u8], footer: Option<&[u8]>) -> String {
    let key = keyring.signing().token().unwrap();
    let assertion = &sealer(keyring.clone()).assertion.clone();
    LocalToken::encrypt(key, payload, footer, Some(assertion)).unwrap()
}

proptest! {
    #[test]
    fn claims_read_back(
        seed: u64,
        issued in Timestamp::MIN.as_micros()..=Timestamp::MAX.as_micros(),
        lifetime in 0u64..1 << 48,
        named in proptest::option::of(proptest::collection::vec(any::<u32>(), 0..=160)),
    ) {
        let entropy = SeededEntropy::new(seed);
        let issued_at = Timestamp::from_micros(issued);
        let claims = TokenClaims {
            credential: CredentialId::random(&entropy),
            proof: ProofId::random(&entropy),
            id: TokenId::random(&entropy),
            issued_at,
            expires_at: issued_at.saturating_add(Duration::from_micros(lifetime)),
            scopes: named.map_or(TokenScopes::FollowsCredential, TokenScopes::Named),
        };
        let sealer = sealer(Keyring::generate(&entropy));
        let token = sealer.seal(&claims).unwrap();
        prop_assert_eq!(sealer.open(token.expose_secret()), Ok(claims));
    }

    #[test]
    fn token_ids_read_back(bytes: [u8; 16]) {
        let id = TokenId::from_bytes(bytes);
        prop_assert_eq!(id.to_string().parse(), Ok(id));
    }
}

#[test]
fn tokens_are_short() {
    let sealer = sealer(ring(&[("k1", 1, "")]));
    let token = sealer.seal(&follows()).unwrap();
    assert!(token.expose_secret().starts_with("v4.local."));
    assert!(token.expose_secret().len() <= 210);

    let all = sealer
        .seal(&claims(TokenScopes::Named((0..151).collect())))
        .unwrap();
    assert!(all.expose_secret().len() <= 2_048);
}

#[test]
fn the_largest_token_opens() {
    let name = "a".repeat(32);
    let sealer = sealer(ring(&[(&name, 1, "")]));
    let scopes = |count: u32| claims(TokenScopes::Named((0..count).collect()));
    let token = sealer.seal(&scopes(512)).unwrap();
    assert!(token.expose_secret().len() <= TokenSealer::MAX_LEN);
    assert_eq!(sealer.open(token.expose_secret()), Ok(scopes(512)));
    assert!(matches!(
        sealer.seal(&scopes(513)),
        Err(SealError::TooManyScopes)
    ));
}

#[test]
fn lifetimes_have_bounds() {
    let sealer = sealer(ring(&[("k1", 1, "")]));
    let with = |micros: i64| {
        let mut claims = follows();
        claims.expires_at = Timestamp::from_micros(claims.issued_at.as_micros() + micros);
        sealer.seal(&claims)
    };
    assert!(with(0).is_ok() && with((1 << 48) - 1).is_ok());
    for micros in [-1, 1 << 48] {
        assert!(matches!(with(micros), Err(SealError::Lifetime)));
    }
}

#[test]
fn two_tokens_of_the_same_claims_differ() {
    let sealer = sealer(ring(&[("k1", 1, "")]));
    let (one, two) = (
        sealer.seal(&follows()).unwrap(),
        sealer.seal(&follows()).unwrap(),
    );
    assert_ne!(one.expose_secret(), two.expose_secret());
}

#[test]
fn any_other_character_anywhere_is_refused() {
    let sealer = sealer(ring(&[("k1", 1, "")]));
    let token = sealer.seal(&follows()).unwrap();
    let text = token.expose_secret();
    assert!(sealer.open(text).is_ok());
    for at in 0..text.len() {
        for other in b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_+/=. \0" {
            let mut changed = text.as_bytes().to_vec();
            if changed[at] == *other {
                continue;
            }
            changed[at] = *other;
            let changed = String::from_utf8(changed).unwrap();
            assert!(sealer.open(&changed).is_err(), "{at}: {other}");
        }
        let cut = [&text[..at], &text[at + 1..]].concat();
        assert_eq!(sealer.open(&cut), Err(NotOurToken::Foreign), "without {at}");
    }
}

#[test]
fn a_second_spelling_is_refused() {
    // These give the body and the footer every number of unused bits: 0, 2 and 4.
    for (name, scopes) in [("a", 0), ("ab", 1), ("abc", 2), ("abcd", 3)] {
        let sealer = sealer(ring(&[(name, 1, "")]));
        let token = sealer
            .seal(&claims(TokenScopes::Named((0..scopes).collect())))
            .unwrap();
        let text = token.expose_secret();
        let (body, footer) = text.rsplit_once('.').unwrap();
        for last in "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_".chars() {
            for changed in [
                format!("{}{last}.{footer}", &body[..body.len() - 1]),
                format!("{}{last}", &text[..text.len() - 1]),
            ] {
                assert!(
                    changed == text || sealer.open(&changed).is_err(),
                    "{changed}"
                );
            }
        }
        for changed in [
            format!("{text}="),
            format!("{text}=="),
            format!("{text}."),
            format!("{text} "),
            format!("{body}=.{footer}"),
            format!("{body}==.{footer}"),
            format!("{body}.{footer}.{footer}"),
            format!("{body}..{footer}"),
            body.to_owned(),
            format!("{body}."),
            text.replacen("v4.local", "V4.local", 1),
            text.replacen("v4.local", "v4.public", 1),
            format!("Bearer {text}"),
        ] {
            assert_eq!(
                sealer.open(&changed),
                Err(NotOurToken::Foreign),
                "{changed}"
            );
        }
    }
    for text in [
        "",
        "v4.local.",
        "v4.local..",
        "v4.local.AAAA.azE",
        &"v".repeat(5_000),
    ] {
        assert_eq!(
            sealer(ring(&[("k1", 1, "")])).open(text),
            Err(NotOurToken::Foreign)
        );
    }
}

#[test]
fn another_issuer_or_environment_refuses() {
    let keyring = ring(&[("k1", 1, "")]);
    let token = sealer(keyring.clone()).seal(&follows()).unwrap();
    for (issuer, environment) in [
        ("https://other.example.com", Environment::Sandbox),
        ("", Environment::Sandbox),
        (ISSUER, Environment::Production),
    ] {
        let other = TokenSealer::new(keyring.clone(), issuer, environment);
        assert_eq!(other.open(token.expose_secret()), Err(NotOurToken::Foreign));
    }
}

#[test]
fn every_key_opens_but_one_marked_tag() {
    let token = sealer(ring(&[("old", 1, "")])).seal(&follows()).unwrap();
    let text = token.expose_secret();
    let rotated = sealer(ring(&[("new", 2, ""), ("old", 1, "")]));
    assert_eq!(rotated.open(text), Ok(follows()));
    for (keyring, refusal) in [
        (
            ring(&[("new", 2, ""), ("old", 1, ":tag")]),
            NotOurToken::Foreign,
        ),
        (ring(&[("new", 2, "")]), NotOurToken::UnknownKey),
        // Other bytes under the name; the same bytes under another.
        (ring(&[("old", 2, "")]), NotOurToken::Foreign),
        (ring(&[("new", 1, "")]), NotOurToken::UnknownKey),
    ] {
        assert_eq!(sealer(keyring).open(text), Err(refusal));
    }
    let new = rotated.seal(&follows()).unwrap();
    assert!(
        new.expose_secret()
            .ends_with(&format!(".{}", URL_SAFE_NO_PAD.encode("new")))
    );
}

#[test]
fn genuine_seals_over_other_content_are_refused() {
    let keyring = ring(&[("k1", 1, "")]);
    let sealer = sealer(keyring.clone());
    let good = pack(&follows()).unwrap();
    let by_hand = |packed: &[u8]| {
        let payload = URL_SAFE_NO_PAD.encode(packed);
        sealer.open(&sealed_by_hand(&keyring, payload.as_bytes(), Some(b"k1")))
    };
    assert_eq!(by_hand(&good), Ok(follows()));

    let with = |at: usize, bytes: &[u8]| {
        let mut packed = good.clone();
        packed[at..at + bytes.len()].copy_from_slice(bytes);
        packed
    };
    for packed in [
        with(0, &[0]),
        with(0, &[3]),
        [with(0, &[129]).as_slice(), &[7; 32]].concat(), // kept free for a confirmation
        with(17, &[0xff; 12]),                           // proof
        with(45, &i64::MAX.to_be_bytes()),               // issued at
        with(45, &Timestamp::MAX.as_micros().to_be_bytes()), // expires after the last year
        good[..good.len() - 1].to_vec(),
        [good.as_slice(), &[0]].concat(),
        [good.as_slice(), &[0; 4]].concat(), // names a scope, yet follows
        [with(0, &[2]).as_slice(), &[0; 3]].concat(),
        Vec::from(b"x"),
    ] {
        assert_eq!(by_hand(&packed), Err(NotOurToken::Foreign), "{packed:?}");
    }
    let payload = URL_SAFE_NO_PAD.encode(&good);
    for (payload, footer) in [
        (payload.clone(), None),
        (payload.clone(), Some(&b"k2"[..])),
        // 59 bytes leave two bits of the last character unused.
        (format!("{}B", &payload[..payload.len() - 1]), Some(b"k1")),
        (format!("{payload}="), Some(b"k1")),
    ] {
        let token = sealed_by_hand(&keyring, payload.as_bytes(), footer);
        assert!(sealer.open(&token).is_err(), "{payload} {footer:?}");
    }
    let json = br#"{"sub":"someone"}"#;
    assert!(
        sealer
            .open(&sealed_by_hand(&keyring, json, Some(b"k1")))
            .is_err()
    );
}

#[test]
fn debug_shows_no_token() {
    let sealer = sealer(ring(&[("k1", 1, "")]));
    let token = sealer.seal(&follows()).unwrap();
    assert_eq!(format!("{token:?}"), "AccessToken([redacted])");
    assert_eq!(
        format!("{sealer:?}"),
        "TokenSealer { keyring: [Key { name: k1, role: Full, .. }], .. }"
    );
}

#[test]
fn drawn_ids_differ_within_a_process_and_between_two() {
    let [one, other] = [1, 2].map(|seed| TokenIds::new(&SeededEntropy::new(seed)));
    let mut drawn: Vec<TokenId> = (0..1_000)
        .flat_map(|_| [one.draw(), other.draw()])
        .collect();
    drawn.sort_unstable();
    drawn.dedup();
    assert_eq!(drawn.len(), 2_000);
}
