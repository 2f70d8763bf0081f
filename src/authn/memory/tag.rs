//! What stands for a token in the memory: sixteen bytes that nobody outside the process can compute.
//!
//! The tag of AES-256-GCM-SIV (RFC 8452) over the whole token as additional data, with nothing to encrypt, one nonce, and a
//! key that is drawn at random and never leaves the memory. That is a keyed digest made to stay good under one nonce: it
//! hashes the token with POLYVAL, and enciphers the outcome. Whoever chooses tokens can find two of one tag only by trying
//! them here, because without the key there is nothing to compute. A token of N blocks of sixteen bytes has a given other
//! token's tag with a chance of at most N + 1 in 2^127 (that is how often two polynomials of this degree agree at a secret
//! point; RFC 8452 clears one bit of what it enciphers). For tokens of 16 KiB and a hundred thousand remembered that is one
//! in 2^100 a try. A try shows only whether tags are equal, and that they are not teaches nothing for the next. Enciphered,
//! the tag is as good as random, so that a table can take its bytes for a hash.
//!
//! SHA-256 of a secret and the token would do as well, at twenty times the instructions on processors that have none for it.

use std::hash::{BuildHasherDefault, Hash, Hasher};

use aws_lc_rs::aead::{AES_256_GCM_SIV, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use aws_lc_rs::rand;
use zeroize::Zeroizing;

/// Stands for one token, signature included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Tag([u8; 16]);

impl Hash for Tag {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.0.first_chunk().map_or(0, |first| u64::from_ne_bytes(*first)));
    }
}

/// Makes tags. Those of two makers have nothing to do with each other.
#[derive(Debug)]
pub(super) struct Tags(LessSafeKey);

impl Tags {
    /// With a key of its own; `None` when the system has no random bytes to give.
    pub(super) fn new() -> Option<Self> {
        let mut key = Zeroizing::new([0; 32]);
        rand::fill(&mut *key).ok()?;
        UnboundKey::new(&AES_256_GCM_SIV, &*key).ok().map(LessSafeKey::new).map(Self)
    }

    /// The tag of a token; `None` for what is longer than any token.
    pub(super) fn of(&self, token: &str) -> Option<Tag> {
        let nonce = Nonce::assume_unique_for_key([0; NONCE_LEN]);
        let sealed = self.0.seal_in_place_separate_tag(nonce, Aad::from(token.as_bytes()), &mut []).ok()?;
        sealed.as_ref().try_into().ok().map(Tag)
    }
}

/// Takes a tag for its own hash.
#[derive(Debug, Default)]
pub(super) struct AsItIs(u64);

impl Hasher for AsItIs {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(*byte);
        }
    }

    fn write_u64(&mut self, hash: u64) {
        self.0 = hash;
    }
}

/// Makes hashers of tags.
pub(super) type ByTag = BuildHasherDefault<AsItIs>;

#[cfg(test)]
mod tests {
    use std::collections::HashSet;
    use std::hash::BuildHasher;

    use super::*;

    #[test]
    fn a_token_has_one_tag_and_no_other_token_has_it() {
        let tags = Tags::new().unwrap();
        let tokens: Vec<String> = (0..200).flat_map(|length| ["a", "b"].map(|letter| letter.repeat(length))).collect();
        // Each bit of a token counts, in its signature too.
        let flipped = (0..1152 * 7).map(|bit| {
            let mut token = vec![b'A'; 1152];
            token[bit / 7] ^= 1 << (bit % 7);
            String::from_utf8(token).unwrap()
        });
        let all: HashSet<String> = tokens.into_iter().chain(flipped).collect();
        let found: HashSet<[u8; 16]> = all.iter().map(|token| tags.of(token).unwrap().0).collect();
        assert_eq!(found.len(), all.len());
        assert!(all.iter().all(|token| found.contains(&tags.of(token).unwrap().0)));
    }

    #[test]
    fn nobody_else_knows_the_tags() {
        let [one, other] = [(); 2].map(|()| Tags::new().unwrap());
        assert_ne!(one.of("token"), other.of("token"));
        let (tag, again) = (one.of("token").unwrap(), one.of("token").unwrap());
        assert_eq!(ByTag::default().hash_one(tag), ByTag::default().hash_one(again));
        assert_ne!(ByTag::default().hash_one(tag), ByTag::default().hash_one(one.of("Token").unwrap()));
    }
}
