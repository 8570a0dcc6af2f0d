//! Uniform random text of `[0-9A-Za-z]`: a double-click selects it, and form-encoding does not
//! change it.

use zeroize::Zeroizing;

use crate::entropy::Entropy;

/// Digits in ASCII order, so that text and number sort alike.
const ALPHABET: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/// The largest multiple of 62 in a byte. Larger bytes are drawn again, or the first digits would be
/// more frequent.
const LIMIT: u8 = 248;

/// Fills `out` with uniform characters.
pub(crate) fn fill(entropy: &dyn Entropy, out: &mut [u8]) {
    // Zeroizing, because the bytes may become a secret.
    let mut drawn = Zeroizing::new([0u8; 64]);
    let mut free = out.iter_mut();
    loop {
        // Looked at before drawing, so that a filled buffer costs no further draw.
        if free.len() == 0 {
            return;
        }
        entropy.fill(&mut drawn[..]);
        for byte in drawn.iter().filter(|byte| **byte < LIMIT) {
            match free.next() {
                Some(slot) => *slot = digit(u64::from(*byte)),
                None => return,
            }
        }
    }
}

/// A number modulo 62^N as exactly N characters.
pub(crate) fn encode<const N: usize>(mut number: u64) -> [u8; N] {
    let mut out = [b'0'; N];
    for slot in out.iter_mut().rev() {
        *slot = digit(number % 62);
        number /= 62;
    }
    out
}

/// The value of one character.
pub(crate) fn value(character: u8) -> Option<u8> {
    match character {
        b'0'..=b'9' => Some(character - b'0'),
        b'A'..=b'Z' => Some(character - b'A' + 10),
        b'a'..=b'z' => Some(character - b'a' + 36),
        _ => None,
    }
}

/// Whether all of it is base 62.
pub(crate) fn is_base62(text: &[u8]) -> bool {
    text.iter().all(u8::is_ascii_alphanumeric)
}

/// The character of `number` modulo 62.
pub(crate) fn digit(number: u64) -> u8 {
    usize::try_from(number % 62)
        .ok()
        .and_then(|index| ALPHABET.get(index).copied())
        .unwrap_or(b'0')
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::SeededEntropy;

    /// Gives out 0, 1, 2, …, 255, 0, …
    #[derive(Debug, Default)]
    struct EveryByte(std::sync::atomic::AtomicU8);

    impl Entropy for EveryByte {
        fn fill(&self, buffer: &mut [u8]) {
            for byte in buffer {
                *byte = self.0.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            }
        }
    }

    fn count(text: &[u8], character: u8) -> usize {
        text.split(|c| *c == character).count() - 1
    }

    #[test]
    fn every_character_is_equally_likely() {
        // 248 accepted bytes of each 256: each of the 62 characters exactly four times.
        let mut out = [0u8; 248];
        fill(&EveryByte::default(), &mut out);
        for character in ALPHABET {
            assert_eq!(count(&out, *character), 4);
        }
    }

    #[test]
    fn drawn_text_is_spread_over_the_alphabet() {
        let mut out = vec![0u8; 62_000];
        fill(&SeededEntropy::new(1), &mut out);
        for character in ALPHABET {
            let seen = count(&out, *character);
            // Expected 1000, standard deviation 31: six of them either way.
            assert!((814..=1186).contains(&seen), "{character}: {seen}");
        }
    }

    #[test]
    fn numbers_and_characters_correspond() {
        for (index, character) in ALPHABET.iter().enumerate() {
            assert_eq!(value(*character).map(usize::from), Some(index));
        }
        assert_eq!(value(b'_'), None);
        assert_eq!(&encode::<3>(61), b"00z");
        assert_eq!(&encode::<3>(62 * 62), b"100");
        assert!(!is_base62(b"a-b"));
    }
}
