//! Looking for single bytes in short texts: eight at a time, because segments and parameters end before a search that is made
//! for long texts has got going.

/// One in every byte.
const ONES: u64 = u64::from_ne_bytes([1; 8]);
/// The highest bit of every byte.
const HIGHS: u64 = u64::from_ne_bytes([0x80; 8]);

/// Where a byte stands first.
pub(crate) fn find(byte: u8, bytes: &[u8]) -> Option<usize> {
    search(bytes, |word| places(word, byte), |other| other == byte)
}

/// Where one of two bytes stands first.
pub(crate) fn find_either(one: u8, other: u8, bytes: &[u8]) -> Option<usize> {
    search(bytes, |word| places(word, one) | places(word, other), |byte| byte == one || byte == other)
}

/// The first byte that is wanted. `places` gives a bit in the first such byte of a word, and none before.
#[inline]
fn search(bytes: &[u8], places: impl Fn(u64) -> u64, wanted: impl Fn(u8) -> bool) -> Option<usize> {
    let (words, rest) = bytes.as_chunks::<8>();
    let mut before = 0;
    for word in words {
        let found = places(u64::from_le_bytes(*word));
        if found != 0 {
            return usize::try_from(found.trailing_zeros() / 8).ok().map(|place| before + place);
        }
        before += 8;
    }
    rest.iter().position(|byte| wanted(*byte)).map(|place| before + place)
}

/// The highest bit of every byte of the word that is this one. Behind the first such byte others may have theirs as well,
/// because subtracting borrows.
#[inline]
fn places(word: u64, byte: u8) -> u64 {
    let differing = word ^ u64::from_ne_bytes([byte; 8]);
    differing.wrapping_sub(ONES) & !differing & HIGHS
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn bytes_next_to_the_one_looked_for_are_not_it() {
        assert_eq!(find(b'/', b"abcdefgh0.0..0./0/"), Some(15));
        assert_eq!(find(b'/', b"....0000\xaf\xaf\xaf\xaf\xaf\xaf\xaf\xaf"), None);
        assert_eq!((find(0, b"1234567\0"), find(0xff, b""), find(1, b"")), (Some(7), None, None));
    }

    proptest! {
        #[test]
        fn the_first_place_is_found(
            bytes in proptest::collection::vec(prop_oneof![b'-'..=b'0', any::<u8>()], 0..40),
            one in b'-'..=b'0',
            other: u8,
        ) {
            prop_assert_eq!(find(one, &bytes), bytes.iter().position(|byte| *byte == one));
            let either = bytes.iter().position(|byte| *byte == one || *byte == other);
            prop_assert_eq!(find_either(one, other, &bytes), either);
        }
    }
}
