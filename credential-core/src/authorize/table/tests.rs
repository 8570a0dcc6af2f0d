//! The table of tokens on real threads; `tests/table_model.rs` walks its interleavings.

use std::{
    sync::{Arc, Weak},
    thread,
};

use super::{
    table::{Entry, FIRST, SET_BYTES, Table, WAYS, block_of},
    token_cache::TokenDigest,
};
use crate::{clock::Timestamp, entropy::Entropy as _, testing::SeededEntropy};

#[test]
#[cfg(target_pointer_width = "64")]
fn a_set_is_one_line_of_memory() {
    assert_eq!(SET_BYTES, 64);
}

#[derive(Debug)]
struct Thing {
    digest: TokenDigest,
    ends: i64,
}

impl Entry for Thing {
    fn digest(&self) -> TokenDigest {
        self.digest
    }

    fn ends(&self) -> Timestamp {
        Timestamp::from_micros(self.ends)
    }
}

fn thing(digest: TokenDigest, ends: i64) -> Arc<Thing> {
    Arc::new(Thing { digest, ends })
}

fn digests(count: usize) -> Vec<TokenDigest> {
    let entropy = SeededEntropy::new(21);
    let mut bytes = [0; 16];
    let mut digest = || {
        entropy.fill(&mut bytes);
        TokenDigest::from_le_bytes(bytes)
    };
    (0..count).map(|_| digest()).collect()
}

/// As a node does: what is not found is made anew.
fn missed(table: &Table<Thing>, digests: &[TokenDigest]) -> usize {
    let missed = digests.iter().filter(|digest| {
        let missed = table.get(**digest).is_none();
        if missed {
            table.insert(thing(**digest, 1));
        }
        missed
    });
    missed.count()
}

#[test]
fn what_it_has_room_for_is_found() {
    const CAPACITY: usize = 20_000;
    let digests = digests(CAPACITY);
    for count in [10, 100, 300, 1_000, 3_000, 6_000, 12_000, 18_000, CAPACITY] {
        let table = Table::new(CAPACITY);
        let digests = &digests[..count];
        assert_eq!(missed(&table, digests), count, "each is new");
        assert_eq!(missed(&table, digests), 0, "of {count}");
        let (_, taken, held) = table.sizes();
        assert_eq!(taken, held);
    }
}

#[test]
fn it_grows_with_what_it_holds() {
    let table = Table::new(1_000_000);
    assert_eq!(table.sizes().0, FIRST);
    missed(&table, &digests(10_000));
    let (sets, taken, held) = table.sizes();
    assert!(
        (4_000..8_000).contains(&sets),
        "{sets} sets of {WAYS} for 10 000"
    );
    assert_eq!(taken, held);
}

#[test]
fn blocks_follow_one_another_without_a_gap() {
    let mut expected = (0, 0);
    for set in 0..10 * FIRST {
        let found = block_of(set);
        assert!(
            found == expected || found == (expected.0 + 1, 0),
            "{set}: {found:?}"
        );
        expected = (found.0, found.1 + 1);
    }
    assert_eq!(block_of(FIRST - 1), (0, FIRST - 1));
    assert_eq!(block_of(FIRST), (1, 0));
    assert_eq!(block_of(2 * FIRST), (2, 0));
}

#[test]
fn it_never_holds_more_than_twice_as_many() {
    const CAPACITY: usize = 1_000;
    let table = Table::new(CAPACITY);
    let held: Vec<Weak<Thing>> = digests(20 * CAPACITY)
        .into_iter()
        .map(|digest| {
            let thing = thing(digest, 1);
            let held = Arc::downgrade(&thing);
            table.insert(thing);
            held
        })
        .collect();
    let held = held.iter().filter(|it| it.strong_count() > 0).count();
    assert_eq!(held, 2 * CAPACITY, "and none of its places is wasted");
    assert_eq!(table.sizes().1, held);
}

#[test]
fn a_digest_has_one_entry_the_latest() {
    let table = Table::new(100);
    for digest in digests(100) {
        table.insert(thing(digest, 1));
        table.insert(thing(digest, 2));
        assert_eq!(table.get(digest).unwrap().ends, 2);
    }
}

#[test]
fn the_entry_that_ends_soonest_gives_way() {
    // Four places in all.
    let table = Table::new(2);
    let digests = digests(5);
    for (digest, ends) in digests.iter().zip([30, 10, 20, 40, 5]) {
        table.insert(thing(*digest, ends));
    }
    let mut kept: Vec<_> = digests
        .iter()
        .filter_map(|digest| Some(table.get(*digest)?.ends))
        .collect();
    kept.sort_unstable();
    assert_eq!(kept, [5, 20, 30, 40]);
}

#[test]
fn a_mark_alone_finds_nothing() {
    let table = Table::new(2);
    let digest = 0x0000_0001_0000_0002_0000_0003_0000_0004;
    table.insert(thing(digest, 1));
    // Same sets, same mark, another digest.
    assert!(table.get(digest ^ 1 << 127).is_none());
    assert!(table.get(digest).is_some());
}

#[test]
fn a_table_without_room_keeps_nothing() {
    let table = Table::new(0);
    table.insert(thing(1, 1));
    assert!(table.get(1).is_none());
}

#[test]
fn whoever_reads_meanwhile_finds_its_own_or_nothing() {
    // Small at first, full in the end: it is split and displaced from meanwhile.
    let table = Table::<Thing>::new(500);
    let digests = digests(2_000);
    thread::scope(|scope| {
        for offset in 0..4 {
            let (table, digests) = (&table, &digests);
            scope.spawn(move || {
                for turn in 0..20_000 {
                    let digest = digests[(turn * 7 + offset * 500) % digests.len()];
                    match table.get(digest) {
                        Some(found) => assert_eq!(found.digest, digest),
                        None => table.insert(thing(digest, i64::try_from(turn).unwrap())),
                    }
                }
            });
        }
    });
}
