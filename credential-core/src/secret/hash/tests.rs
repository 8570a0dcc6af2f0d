use super::*;
use crate::testing::SeededEntropy;

const SECRET: &str = "cred_sandbox_something";

fn hasher(ring: &str, cost: HashCost) -> Argon2Hasher {
    let keyring = Keyring::parse(ring).unwrap();
    Argon2Hasher::new(keyring, cost, Arc::new(SeededEntropy::new(7)))
}

fn entry(name: &str, seed: u64) -> String {
    Keyring::generate_entry(&name.parse().unwrap(), &SeededEntropy::new(seed)).to_string()
}

const MATCH: Verdict = Verdict::Match { rehash: false };
const OUTDATED: Verdict = Verdict::Match { rehash: true };

#[test]
fn the_phc_string_says_algorithm_and_cost() {
    let hasher = hasher(&entry("a", 1), HashCost::default());
    let stored = hasher.hash(SECRET).unwrap();
    let rest = stored
        .phc()
        .strip_prefix("$argon2id$v=19$m=19456,t=2,p=1$")
        .unwrap();
    let (salt, hash) = rest.split_once('$').unwrap();
    assert_eq!((salt.len(), hash.len()), (22, 43));
    assert_eq!(stored.key().as_str(), "a");
    assert_eq!(hasher.verify(SECRET, &stored).unwrap(), MATCH);
}

#[test]
fn only_the_same_secret_matches_and_salts_differ() {
    let hasher = hasher(&entry("a", 1), HashCost::cheap());
    let stored = hasher.hash(SECRET).unwrap();
    assert_eq!(hasher.verify(SECRET, &stored).unwrap(), MATCH);
    assert_eq!(
        hasher.verify("cred_sandbox_somethinG", &stored).unwrap(),
        Verdict::Mismatch
    );
    assert_eq!(hasher.verify("", &stored).unwrap(), Verdict::Mismatch);
    assert_ne!(hasher.hash(SECRET).unwrap(), stored);
}

#[test]
fn a_stored_hash_reads_back() {
    let hasher = hasher(&entry("a", 1), HashCost::cheap());
    let stored = hasher.hash(SECRET).unwrap();
    let read = SecretHash::from_parts(stored.phc(), stored.key().clone()).unwrap();
    assert_eq!(read, stored);
    assert_eq!(hasher.verify(SECRET, &read).unwrap(), MATCH);
}

#[test]
fn the_pepper_matters() {
    let stored = hasher(&entry("a", 1), HashCost::cheap())
        .hash(SECRET)
        .unwrap();
    let same_name = hasher(&entry("a", 2), HashCost::cheap());
    assert_eq!(
        same_name.verify(SECRET, &stored).unwrap(),
        Verdict::Mismatch
    );
    let other_name = hasher(&entry("b", 1), HashCost::cheap());
    let error = other_name.verify(SECRET, &stored).unwrap_err();
    assert!(matches!(error, HashError::UnknownKey(name) if name.as_str() == "a"));
}

#[test]
fn another_signing_key_or_cost_asks_for_a_rehash() {
    let (old, new) = (entry("old", 1), entry("new", 2));
    let stored = hasher(&old, HashCost::cheap()).hash(SECRET).unwrap();
    for ring in [format!("{new},{old}"), format!("{new},{old}:tag")] {
        let rotated = hasher(&ring, HashCost::cheap());
        assert_eq!(rotated.verify(SECRET, &stored).unwrap(), OUTDATED);
        let replaced = rotated.hash(SECRET).unwrap();
        assert_eq!(rotated.verify(SECRET, &replaced).unwrap(), MATCH);
    }
    for cost in [(128, 1, 1), (64, 2, 1), (64, 1, 2), (32, 1, 1)] {
        let changed = hasher(&old, HashCost::unchecked(cost.0, cost.1, cost.2));
        assert_eq!(
            changed.verify(SECRET, &stored).unwrap(),
            OUTDATED,
            "{cost:?}"
        );
    }
    // A wrong secret stays wrong, whatever the cost.
    let changed = hasher(&old, HashCost::unchecked(128, 1, 1));
    assert_eq!(changed.verify("other", &stored).unwrap(), Verdict::Mismatch);
}

#[test]
fn what_we_would_not_write_is_refused_before_hashing() {
    let hasher = hasher(&entry("a", 1), HashCost::cheap());
    let stored = hasher.hash(SECRET).unwrap();
    let good = stored.phc();
    for (from, to) in [
        ("m=64", "m=262145"),
        ("m=64", "m=4294967295"),
        ("m=64", "m=99999999999"),
        ("m=64", "m=7"),
        ("m=64", "m=064"),
        ("t=1", "t=11"),
        ("t=1", "t=0"),
        ("p=1", "p=9"),
        ("p=1", "p=0"),
        ("p=1", "p=1,data=AAAA"),
        ("p=1", "p=1,keyid=AAAA"),
        (",p=1", ""),
        ("m=64,t=1", "t=1,m=64"),
        ("v=19", "v=16"),
        ("$v=19", ""),
        ("argon2id", "argon2i"),
        ("argon2id", "scrypt"),
    ] {
        let phc = good.replacen(from, to, 1);
        assert_ne!(phc, good);
        let read = SecretHash::from_parts(&phc, stored.key().clone());
        assert!(matches!(read, Err(HashError::Malformed)), "{phc}");
    }
    let cut = good.rsplit_once('$').unwrap().0;
    for phc in [
        "",
        "$",
        cut,
        &good[..good.len() - 2],
        &format!("{good}$"),
        &"$".repeat(9_999),
    ] {
        let read = SecretHash::from_parts(phc, stored.key().clone());
        assert!(matches!(read, Err(HashError::Malformed)), "{phc}");
    }
}

#[test]
fn costs_have_bounds() {
    assert_eq!(HashCost::new(19_456, 2, 1), Ok(HashCost::default()));
    for (memory, iterations, lanes) in [
        (7_167, 1, 1),
        (262_145, 1, 1),
        (19_456, 0, 1),
        (19_456, 11, 1),
        (19_456, 2, 0),
        (19_456, 2, 9),
    ] {
        assert_eq!(HashCost::new(memory, iterations, lanes), Err(HashCostError));
    }
    for (memory, iterations, lanes) in [(7_168, 1, 1), (262_144, 10, 8)] {
        assert!(HashCost::new(memory, iterations, lanes).is_ok());
    }
}

#[test]
fn working_memory_is_kept_and_used_again() {
    let hasher = hasher(&entry("a", 1), HashCost::cheap());
    let addresses = || -> Vec<*const Block> {
        hasher
            .memory
            .idle
            .lock()
            .unwrap()
            .iter()
            .map(Vec::as_ptr)
            .collect()
    };
    let stored = hasher.hash(SECRET).unwrap();
    let kept = addresses();
    assert_eq!(kept.len(), 1);
    hasher.verify(SECRET, &stored).unwrap();
    assert_eq!(addresses(), kept);
    // What came before leaves no trace in the result.
    assert_eq!(hasher.verify("other", &stored).unwrap(), Verdict::Mismatch);
    assert_eq!(hasher.verify(SECRET, &stored).unwrap(), MATCH);
}

#[test]
fn debug_shows_no_hash() {
    let hasher = hasher(&entry("a", 1), HashCost::cheap());
    let stored = hasher.hash(SECRET).unwrap();
    assert_eq!(format!("{stored:?}"), "SecretHash { key: a, .. }");
    let shown = format!("{hasher:?}");
    assert!(shown.starts_with("Argon2Hasher { keyring: [Key { name: a, role: Full, .. }]"));
}
