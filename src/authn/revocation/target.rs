//! What is revoked, how it is written, and the name that it goes by.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use aws_lc_rs::digest::{SHA256, digest};

use super::journal::Word;
use super::table::{Key, Kind};
use crate::clock::Timestamp;

/// The longest `jti` that is kept as text.
const LONGEST_TOKEN_ID: usize = 64;

/// What is revoked of an issuer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// Tokens with this `jti`. Made by [`Target::token_id`].
    TokenId(Box<str>),
    /// Tokens with a `jti` of this SHA-256.
    TokenIdDigest([u8; 32]),
    /// The token of this SHA-256: of header and payload of a JWT, of the whole of another token.
    Token([u8; 32]),
    /// All tokens of a subject.
    Subject(Box<str>),
    /// All tokens of a client.
    Client(Box<str>),
    /// All tokens issued before this moment, and those that do not say when they were.
    IssuedBefore(Timestamp),
}

impl Target {
    /// The tokens with this `jti`.
    pub fn token_id(id: &str) -> Self {
        token_id_digest(id).map_or_else(|| Self::TokenId(id.into()), Self::TokenIdDigest)
    }

    /// The word that operators name it by.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::TokenId(_) | Self::TokenIdDigest(_) => "jti",
            Self::Token(_) => "token",
            Self::Subject(_) => "subject",
            Self::Client(_) => "client",
            Self::IssuedBefore(_) => "issued_before",
        }
    }

    pub(super) fn word(&self) -> Word {
        match self {
            Self::TokenId(_) => Word::Jti,
            Self::TokenIdDigest(_) => Word::JtiDigest,
            Self::Token(_) => Word::Token,
            Self::Subject(_) => Word::Subject,
            Self::Client(_) => Word::Client,
            Self::IssuedBefore(_) => Word::IssuedBefore,
        }
    }

    /// Its value as it is written: text, hexadecimal, or seconds.
    pub(super) fn text(&self) -> Cow<'_, str> {
        match self {
            Self::TokenId(text) | Self::Subject(text) | Self::Client(text) => Cow::Borrowed(text),
            Self::TokenIdDigest(digest) | Self::Token(digest) => Cow::Owned(Hex(digest).to_string()),
            Self::IssuedBefore(moment) => Cow::Owned(moment.0.to_string()),
        }
    }

    /// What was written so; `None` for what never is.
    pub(super) fn read(word: Word, text: &str) -> Option<Self> {
        let nonempty = Some(text).filter(|text| !text.is_empty());
        match word {
            Word::Jti => nonempty.filter(|text| text.len() <= LONGEST_TOKEN_ID).map(|text| Self::TokenId(text.into())),
            Word::JtiDigest => unhex(text).map(Self::TokenIdDigest),
            Word::Token => unhex(text).map(Self::Token),
            Word::Subject => nonempty.map(|text| Self::Subject(text.into())),
            Word::Client => nonempty.map(|text| Self::Client(text.into())),
            Word::IssuedBefore => text.parse().ok().map(|moment| Self::IssuedBefore(Timestamp(moment))),
        }
    }

    /// Where the table has it; `None` for what is kept beside its issuer.
    pub(super) fn key(&self, issuer: u32) -> Option<Key<'_>> {
        let (kind, value) = match self {
            Self::TokenId(text) => (Kind::TokenId, text.as_bytes()),
            Self::TokenIdDigest(digest) => (Kind::TokenIdDigest, digest.as_slice()),
            Self::Token(digest) => (Kind::Token, digest.as_slice()),
            Self::Subject(text) => (Kind::Subject, text.as_bytes()),
            Self::Client(text) => (Kind::Client, text.as_bytes()),
            Self::IssuedBefore(_) => return None,
        };
        Some(Key { kind, issuer, value })
    }

    /// What an entry of the table stands for.
    pub(super) fn of(key: Key<'_>) -> Option<Self> {
        let text = || std::str::from_utf8(key.value).ok().map(Box::from);
        let digest = || key.value.try_into().ok();
        match key.kind {
            Kind::TokenId => text().map(Self::TokenId),
            Kind::TokenIdDigest => digest().map(Self::TokenIdDigest),
            Kind::Token => digest().map(Self::Token),
            Kind::Subject => text().map(Self::Subject),
            Kind::Client => text().map(Self::Client),
        }
    }
}

/// The name of a revocation: a digest of what it says, the same after every restart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Id(pub(super) [u8; 16]);

impl Id {
    pub(super) fn of(issuer: &str, target: &Target) -> Self {
        let text = format!("{:?}\0{issuer}\0{}", target.word(), target.text());
        let mut id = [0; 16];
        id.iter_mut().zip(sha256(text.as_bytes())).for_each(|(place, byte)| *place = byte);
        Self(id)
    }

    /// Its first half.
    pub(super) fn half(self) -> u64 {
        self.0.first_chunk().map_or(0, |half| u64::from_be_bytes(*half))
    }
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Hex(&self.0).fmt(f)
    }
}

impl FromStr for Id {
    type Err = NoId;

    fn from_str(text: &str) -> Result<Self, NoId> {
        unhex(text).map(Self).ok_or(NoId)
    }
}

/// The text is no [`Id`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a revocation's id is 32 hexadecimal digits")]
pub struct NoId;

/// What stands for a `jti` that is too long to be kept; `None` for one that is not.
pub(super) fn token_id_digest(id: &str) -> Option<[u8; 32]> {
    (id.len() > LONGEST_TOKEN_ID).then(|| sha256(id.as_bytes()))
}

pub(super) fn sha256(bytes: &[u8]) -> [u8; 32] {
    let mut out = [0; 32];
    out.copy_from_slice(digest(&SHA256, bytes).as_ref());
    out
}

/// Bytes in hexadecimal.
pub(super) struct Hex<'b>(pub(super) &'b [u8]);

impl fmt::Display for Hex<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// The bytes that stand in lower-case hexadecimal; `None` for anything else.
fn unhex<const N: usize>(text: &str) -> Option<[u8; N]> {
    let digit = |byte: u8| match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        _ => None,
    };
    let (pairs, rest) = text.as_bytes().as_chunks::<2>();
    if pairs.len() != N || !rest.is_empty() {
        return None;
    }
    let mut out = [0; N];
    for (place, [high, low]) in out.iter_mut().zip(pairs) {
        *place = digit(*high)? << 4 | digit(*low)?;
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_as_the_same() {
        let long = "j".repeat(LONGEST_TOKEN_ID + 1);
        for target in [
            Target::token_id("t-1"),
            Target::token_id(&long),
            Target::Token([7; 32]),
            Target::Subject("Ä\u{0}\n".into()),
            Target::Client("shop".into()),
            Target::IssuedBefore(Timestamp(1_800_000_000)),
        ] {
            assert_eq!(Target::read(target.word(), &target.text()).as_ref(), Some(&target));
            assert!(target.key(0).is_none_or(|key| Target::of(key).as_ref() == Some(&target)));
        }
        assert_eq!(Target::token_id(&long), Target::TokenIdDigest(sha256(long.as_bytes())));
        for (word, text) in [
            (Word::Jti, ""),
            (Word::Jti, long.as_str()),
            (Word::Subject, ""),
            (Word::Token, "00"),
            (Word::Token, "0X"),
            (Word::IssuedBefore, "soon"),
        ] {
            assert_eq!(Target::read(word, text), None, "{word:?} {text}");
        }
    }

    #[test]
    fn ids_tell_apart_what_is_not_the_same_and_are_read_back() {
        let all = [
            Id::of("https://a", &Target::Subject("x".into())),
            Id::of("https://b", &Target::Subject("x".into())),
            Id::of("https://a", &Target::Client("x".into())),
            Id::of("https://a", &Target::token_id("x")),
            Id::of("https://a", &Target::Subject("X".into())),
        ];
        for (number, id) in all.iter().enumerate() {
            assert!(!all[..number].contains(id));
            assert_eq!(id.to_string().parse(), Ok(*id));
        }
        for text in ["", "00", &"g".repeat(32), &"0".repeat(33), &"A".repeat(32)] {
            assert_eq!(text.parse::<Id>(), Err(NoId), "{text}");
        }
    }
}
