//! Revocations in memory: a hash leads to an entry, the comparison decides.
//!
//! Texts are kept as they were given, so that what folds and what does not is asked of the issuer in force and never
//! of the day of the revocation. A million entries of usual length are some 150 MB.

use std::borrow::Cow;
use std::hash::{BuildHasher as _, Hasher as _, RandomState};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use hashbrown::HashTable;

use crate::clock::Timestamp;
use crate::target::fold::{fold_text, is_folded};

/// Parts that are locked by themselves, so that worker threads seldom meet and seldom wait for one that grows.
const SHARDS: usize = 64;

/// How an entry names what it refuses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// A `jti`, as text.
    TokenId,
    /// A `jti` too long to be kept: its SHA-256.
    TokenIdDigest,
    /// SHA-256 of a token: of header and payload of a JWT, of the whole of another.
    Token,
    /// A subject.
    Subject,
    /// An OAuth client.
    Client,
}

impl Kind {
    const ALL: usize = 5;

    /// Whether its text may be compared without case.
    fn may_fold(self) -> bool {
        matches!(self, Self::Subject | Self::Client)
    }
}

/// What is looked up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Key<'k> {
    pub(super) kind: Kind,
    /// The issuer's number in this process.
    pub(super) issuer: u32,
    pub(super) value: &'k [u8],
}

/// One revocation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Entry {
    /// The first moment at which it refuses nothing any more.
    pub(super) until: Timestamp,
    pub(super) at: Timestamp,
    /// The first half of its identifier.
    pub(super) id: u64,
    pub(super) value: Box<[u8]>,
    pub(super) issuer: u32,
    pub(super) kind: Kind,
}

impl Entry {
    pub(super) fn key(&self) -> Key<'_> {
        Key { kind: self.kind, issuer: self.issuer, value: &self.value }
    }
}

/// What came of adding an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Added {
    /// There was none like it.
    New,
    /// There was one that would have ended earlier.
    Extended,
    /// There was one that refuses at least as long.
    Known,
}

/// All of them.
#[derive(Debug)]
pub(super) struct Table {
    shards: [RwLock<HashTable<Entry>>; SHARDS],
    /// How many there are of every kind: what nobody revokes is not looked up.
    held: [AtomicUsize; Kind::ALL],
    state: RandomState,
}

impl Table {
    pub(super) fn new() -> Self {
        Self {
            shards: std::array::from_fn(|_| RwLock::default()),
            held: std::array::from_fn(|_| AtomicUsize::new(0)),
            state: RandomState::new(),
        }
    }

    /// How many entries there are.
    pub(super) fn len(&self) -> usize {
        self.held.iter().map(|held| held.load(Ordering::Relaxed)).sum()
    }

    /// Whether an entry of this key refuses at `now`; where the issuer's texts fold, also one that is spelled otherwise.
    pub(super) fn refuses(&self, key: Key<'_>, folds: bool, now: Timestamp) -> bool {
        if self.held(key.kind).load(Ordering::Acquire) == 0 {
            return false;
        }
        let folded = folded(key);
        let hash = self.hash_folded(key, &folded);
        let same = |entry: &Entry| {
            let alike = if folds { self::folded(entry.key()) == folded } else { *entry.value == *key.value };
            (entry.kind, entry.issuer) == (key.kind, key.issuer) && alike && now < entry.until
        };
        read(self.shard(hash)).find(hash, same).is_some()
    }

    /// Adds an entry, or lets the one that is there refuse longer.
    pub(super) fn add(&self, entry: Entry) -> Added {
        let hash = self.hash(entry.key());
        let mut shard = write(self.shard(hash));
        if let Some(found) = shard.find_mut(hash, |other| other.key() == entry.key()) {
            if found.until >= entry.until {
                return Added::Known;
            }
            found.until = entry.until;
            return Added::Extended;
        }
        let kind = entry.kind;
        shard.insert_unique(hash, entry, |entry| self.hash(entry.key()));
        self.held(kind).fetch_add(1, Ordering::Release);
        Added::New
    }

    /// Removes the entry of exactly this key.
    pub(super) fn remove(&self, key: Key<'_>) -> bool {
        let hash = self.hash(key);
        let mut shard = write(self.shard(hash));
        let Ok(found) = shard.find_entry(hash, |entry| entry.key() == key) else { return false };
        found.remove();
        self.held(key.kind).fetch_sub(1, Ordering::Release);
        true
    }

    /// The entry of exactly this key.
    pub(super) fn find(&self, key: Key<'_>) -> Option<Entry> {
        let hash = self.hash(key);
        read(self.shard(hash)).find(hash, |entry| entry.key() == key).cloned()
    }

    /// Shows every entry, in no order. One that comes or goes meanwhile may be among them or not.
    pub(super) fn each(&self, mut see: impl FnMut(&Entry)) {
        for shard in &self.shards {
            read(shard).iter().for_each(&mut see);
        }
    }

    /// Forgets what ended before `then`.
    pub(super) fn forget_ended(&self, then: Timestamp) {
        for shard in &self.shards {
            let mut shard = write(shard);
            let ended = shard.extract_if(|entry| entry.until < then);
            ended.for_each(|entry| {
                self.held(entry.kind).fetch_sub(1, Ordering::Release);
            });
        }
    }

    fn hash(&self, key: Key<'_>) -> u64 {
        self.hash_folded(key, &folded(key))
    }

    fn hash_folded(&self, key: Key<'_>, folded: &[u8]) -> u64 {
        let mut hasher = self.state.build_hasher();
        hasher.write_u64(u64::from(key.issuer) << 8 | key.kind as u64);
        hasher.write(folded);
        hasher.finish()
    }

    /// Chosen by bits that the table of a shard does not use.
    #[expect(clippy::indexing_slicing, reason = "the remainder is below the length of the array")]
    fn shard(&self, hash: u64) -> &RwLock<HashTable<Entry>> {
        &self.shards[(hash >> 40) as usize % SHARDS]
    }

    #[expect(clippy::indexing_slicing, reason = "there is a place for every kind")]
    fn held(&self, kind: Kind) -> &AtomicUsize {
        &self.held[kind as usize]
    }
}

/// The text of a key without case, where it may be compared so. What folds alike has one hash.
fn folded(key: Key<'_>) -> Cow<'_, [u8]> {
    match std::str::from_utf8(key.value) {
        Ok(text) if key.kind.may_fold() && !is_folded(text) => Cow::Owned(fold_text(text).into_bytes()),
        _ => Cow::Borrowed(key.value),
    }
}

/// A thread that panicked while it held a shard left it whole: every change of a shard is one call.
fn read(shard: &RwLock<HashTable<Entry>>) -> RwLockReadGuard<'_, HashTable<Entry>> {
    shard.read().unwrap_or_else(PoisonError::into_inner)
}

fn write(shard: &RwLock<HashTable<Entry>>) -> RwLockWriteGuard<'_, HashTable<Entry>> {
    shard.write().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NEVER: Timestamp = Timestamp(i64::MAX);
    const NOW: Timestamp = Timestamp(1_800_000_000);

    fn key(kind: Kind, value: &str) -> Key<'_> {
        Key { kind, issuer: 0, value: value.as_bytes() }
    }

    fn entry(kind: Kind, value: &str, until: Timestamp) -> Entry {
        Entry { until, at: NOW, id: 1, value: value.as_bytes().into(), issuer: 0, kind }
    }

    #[test]
    fn what_is_refused_is_kind_issuer_and_value() {
        let table = Table::new();
        assert_eq!(table.add(entry(Kind::Subject, "alice", NEVER)), Added::New);
        assert_eq!(table.add(entry(Kind::Subject, "alice", NOW)), Added::Known);
        assert!(table.refuses(key(Kind::Subject, "alice"), false, NOW));
        table.add(entry(Kind::Client, "shop", NEVER));
        for other in [
            key(Kind::Client, "alice"),
            key(Kind::Subject, "bob"),
            key(Kind::Subject, ""),
            Key { issuer: 1, ..key(Kind::Subject, "alice") },
        ] {
            assert!(!table.refuses(other, false, NOW) && !table.refuses(other, true, NOW), "{other:?}");
        }
        assert!(!table.remove(key(Kind::Subject, "bob")));
        assert!(table.remove(key(Kind::Subject, "alice")));
        assert!(!table.refuses(key(Kind::Subject, "alice"), false, NOW));
        assert_eq!(table.len(), 1);
    }

    #[test]
    fn case_counts_as_the_one_who_asks_says_and_not_as_the_one_who_revoked() {
        let table = Table::new();
        table.add(entry(Kind::Subject, "Ädmin", NEVER));
        table.add(entry(Kind::TokenId, "T1", NEVER));
        assert!(table.refuses(key(Kind::Subject, "äDMIN"), true, NOW));
        assert!(!table.refuses(key(Kind::Subject, "äDMIN"), false, NOW));
        assert!(table.refuses(key(Kind::Subject, "Ädmin"), false, NOW));
        assert!(!table.refuses(key(Kind::TokenId, "t1"), false, NOW));
        assert!(!table.refuses(key(Kind::TokenId, "t1"), true, NOW), "of a token only the name's own spelling");
        // Two spellings are two revocations, and one of them is left when the other is removed.
        table.add(entry(Kind::Subject, "ÄDMIN", NEVER));
        assert!(table.remove(key(Kind::Subject, "Ädmin")));
        assert!(table.refuses(key(Kind::Subject, "ädmin"), true, NOW));
        assert!(!table.refuses(key(Kind::Subject, "Ädmin"), false, NOW));
    }

    #[test]
    fn an_entry_ends_and_one_that_ended_hides_none_that_did_not() {
        let table = Table::new();
        table.add(entry(Kind::Subject, "ALICE", NOW));
        assert!(!table.refuses(key(Kind::Subject, "alice"), true, NOW));
        assert!(table.refuses(key(Kind::Subject, "alice"), true, NOW.plus(-1)));
        table.add(entry(Kind::Subject, "Alice", NOW.plus(1)));
        assert!(table.refuses(key(Kind::Subject, "alice"), true, NOW));
        assert_eq!(table.add(entry(Kind::Subject, "ALICE", NOW.plus(9))), Added::Extended);
        assert!(table.refuses(key(Kind::Subject, "ALICE"), false, NOW.plus(8)));
        table.forget_ended(NOW.plus(2));
        assert_eq!(table.len(), 1);
        assert_eq!(table.find(key(Kind::Subject, "ALICE")).unwrap().until, NOW.plus(9));
    }

    #[test]
    fn many_entries_are_all_found_and_nothing_else_is() {
        let table = Table::new();
        for number in 0..20_000 {
            table.add(entry(Kind::TokenId, &format!("t{number}"), NEVER));
        }
        assert_eq!(table.len(), 20_000);
        let mut seen = 0;
        table.each(|_| seen += 1);
        assert_eq!(seen, 20_000);
        for number in 0..40_000 {
            let found = table.refuses(key(Kind::TokenId, &format!("t{number}")), false, NOW);
            assert_eq!(found, number < 20_000, "{number}");
        }
    }
}
