//! Which key signs when, and which are published. Pure: the time is part of every question.
//!
//! Every key has a moment from which it signs, and signs until the next one's. A key is published long before its
//! moment, so that whoever keeps the key set for its `max-age` has it by then, and long after its successor's, so that
//! whatever it has signed can be verified.

use std::sync::Arc;

use super::key::{KeyFault, SigningKey};
use crate::clock::Timestamp;

/// Seconds for which a key signs.
pub(super) const ROTATION: i64 = 24 * 3600;
/// Seconds for which a key is published before it signs.
pub(super) const AHEAD: i64 = 3600;
/// Seconds for which a key is published after it signed last: far more than an assertion lives and a key set is cached.
pub(super) const BEHIND: i64 = 3600;

/// A key and its moment.
#[derive(Debug, Clone)]
pub(super) struct Entry {
    pub(super) key: Arc<SigningKey>,
    /// From when it signs.
    pub(super) from: Timestamp,
}

/// All keys that are published, at least one.
#[derive(Debug, Clone)]
pub(super) struct Ring {
    oldest: Entry,
    /// In the order of their moments.
    later: Vec<Entry>,
}

impl Ring {
    /// A ring of one key that signs at once: nobody can know it before.
    pub(super) fn begin(now: Timestamp) -> Result<Self, KeyFault> {
        Ok(Self { oldest: Entry { key: Arc::new(SigningKey::generate()?), from: now }, later: Vec::new() })
    }

    /// The ring of these keys, each once, without those whose moment is further off than any rotation plans ahead: they
    /// come of a clock that was wrong. `None` when none is left.
    pub(super) fn of(entries: impl IntoIterator<Item = Entry>, now: Timestamp) -> Option<Self> {
        let latest = now.plus(ROTATION + AHEAD);
        let mut entries: Vec<Entry> = entries.into_iter().filter(|entry| entry.from <= latest).collect();
        // All gateways that share a directory have to put them into the same order.
        entries.sort_by(|a, b| (a.from, a.key.id()).cmp(&(b.from, b.key.id())));
        entries.dedup_by(|a, b| a.key.id() == b.key.id());
        let mut entries = entries.into_iter();
        Some(Self { oldest: entries.next()?, later: entries.collect() })
    }

    /// Every key in the order of their moments.
    pub(super) fn entries(&self) -> impl DoubleEndedIterator<Item = &Entry> {
        std::iter::once(&self.oldest).chain(&self.later)
    }

    /// The key that signs now. When the clock was set back behind all of them, the oldest: it is the one that caches
    /// are likeliest to have.
    pub(super) fn signing(&self, now: Timestamp) -> &Entry {
        self.entries().rev().find(|entry| entry.from <= now).unwrap_or(&self.oldest)
    }

    /// The ring of this moment: with the next key when it is time to publish it, without those that nobody needs.
    pub(super) fn advanced(&self, now: Timestamp) -> Result<Self, KeyFault> {
        let mut entries: Vec<Entry> = self.entries().cloned().collect();
        let last = entries.last().map_or(now, |entry| entry.from);
        if last.plus(ROTATION - AHEAD) <= now {
            let from = last.plus(ROTATION).max(now.plus(AHEAD));
            entries.push(Entry { key: Arc::new(SigningKey::generate()?), from });
        }
        let superseded = entries.iter().skip(1).take_while(|entry| entry.from.plus(BEHIND) <= now).count();
        let mut kept = entries.into_iter().skip(superseded);
        let oldest = kept.next().unwrap_or_else(|| self.oldest.clone());
        Ok(Self { oldest, later: kept.collect() })
    }

    /// Whether both have the same keys with the same moments.
    pub(super) fn same(&self, other: &Self) -> bool {
        let named = |entry: &Entry| (entry.key.id().to_owned(), entry.from);
        self.entries().map(named).eq(other.entries().map(named))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: i64 = 24 * 3600;
    const HOUR: i64 = 3600;

    fn at(seconds: i64) -> Timestamp {
        Timestamp(1_700_000_000 + seconds)
    }

    fn ids(ring: &Ring) -> Vec<String> {
        ring.entries().map(|entry| entry.key.id().to_owned()).collect()
    }

    #[test]
    fn a_key_is_published_an_hour_before_it_signs_and_an_hour_after() {
        let ring = Ring::begin(at(0)).unwrap();
        let first = ids(&ring);
        let ring = ring.advanced(at(DAY - HOUR - 1)).unwrap();
        assert_eq!(ids(&ring), first, "nothing to do yet");
        let ring = ring.advanced(at(DAY - HOUR)).unwrap();
        let both = ids(&ring);
        assert_eq!((both.len(), &both[0]), (2, &first[0]));
        assert_eq!(ids(&ring.advanced(at(DAY - 1)).unwrap()), both, "once is enough");
        assert_eq!(ring.signing(at(DAY - 1)).key.id(), both[0]);
        assert_eq!(ring.signing(at(DAY)).key.id(), both[1]);
        assert_eq!(ids(&ring.advanced(at(DAY + HOUR - 1)).unwrap()), both);
        assert_eq!(ids(&ring.advanced(at(DAY + HOUR)).unwrap()), both[1..]);
    }

    #[test]
    fn at_every_moment_of_a_month_whoever_looked_ten_minutes_ago_knows_the_key_and_keeps_knowing_it() {
        let mut ring = Ring::begin(at(0)).unwrap();
        let mut published: Vec<(i64, Vec<String>)> = Vec::new();
        let mut keys = std::collections::BTreeSet::new();
        for minute in 0..30 * 24 * 60 {
            let now = minute * 60;
            ring = ring.advanced(at(now)).unwrap();
            published.push((now, ids(&ring)));
            let signing = ring.signing(at(now)).key.id().to_owned();
            let cached = published.iter().rev().find(|(then, _)| *then <= now - 600).or(published.first()).unwrap();
            assert!(cached.1.contains(&signing), "minute {minute}");
            keys.insert(signing);
            published.drain(..published.len().saturating_sub(20));
            // What was signed ten minutes ago can still be verified.
            let before = ring.signing(at(now - 600)).key.id().to_owned();
            assert!(ids(&ring).contains(&before));
            assert!(ids(&ring).len() <= 3);
        }
        assert_eq!(keys.len(), 30);
    }

    #[test]
    fn after_a_long_sleep_the_known_key_signs_until_the_next_one_was_published_for_an_hour() {
        let ring = Ring::begin(at(0)).unwrap();
        let first = ids(&ring);
        let awake = 10 * DAY;
        let ring = ring.advanced(at(awake)).unwrap();
        assert_eq!(ring.signing(at(awake + HOUR - 1)).key.id(), first[0]);
        assert_ne!(ring.signing(at(awake + HOUR)).key.id(), first[0]);
    }

    #[test]
    fn a_clock_set_back_signs_with_the_oldest_key() {
        let ring = Ring::begin(at(0)).unwrap().advanced(at(DAY)).unwrap();
        assert_eq!(ring.signing(at(-DAY)).key.id(), ids(&ring)[0]);
        assert_eq!(ids(&ring.advanced(at(-DAY)).unwrap()), ids(&ring));
    }

    #[test]
    fn keys_are_merged_in_one_order_and_those_of_a_wrong_clock_are_left_out() {
        let one = Ring::begin(at(0)).unwrap();
        let two = Ring::begin(at(0)).unwrap();
        let far = Ring::begin(at(2 * DAY)).unwrap();
        let all = |rings: [&Ring; 3]| Ring::of(rings.into_iter().flat_map(Ring::entries).cloned(), at(0)).unwrap();
        let merged = all([&one, &two, &far]);
        assert!(merged.same(&all([&far, &two, &one])) && merged.same(&all([&two, &two, &one])));
        assert_eq!(ids(&merged).len(), 2);
        assert!(!merged.same(&one));
        assert!(Ring::of(far.entries().cloned(), at(0)).is_none());
    }
}
