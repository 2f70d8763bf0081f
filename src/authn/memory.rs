//! Verified tokens, remembered: identity is kept, never a decision (tokens.md, "Token memory").

mod common;
mod tag;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::MemoryState;
use crate::principal::Principal;
use quick_cache::sync::Cache;
use quick_cache::{Lifecycle, OptionsBuilder, Weighter};

use common::Common;
use tag::{ByTag, Tag, Tags};

/// How many tokens are remembered at most, however small. The table is made of parts that fill unevenly; with a quarter more
/// in all a hundred thousand have their place.
const MOST_TOKENS: u64 = 125_000;

/// A verified token: what it says, and under which keys that was found. The rules that it was verified under are those whose
/// identity its principal has.
#[derive(Debug, Clone)]
pub struct Remembered {
    /// The caller.
    pub principal: Arc<Principal>,
    /// The generation of the keys it was verified with.
    pub generation: u64,
    weight: u64,
}

type Tokens = Cache<Tag, Remembered, ByWeight, ByTag, Evictions>;

/// The memory. Looked up by a keyed digest of the whole token, signature included. The token itself is not kept.
#[derive(Debug)]
pub struct Memory {
    cache: Option<(Tags, Tokens)>,
    common: Common,
    evictions: Evictions,
    capacity: u64,
    least: u64,
    hits: AtomicU64,
    misses: AtomicU64,
}

#[derive(Debug, Clone)]
struct ByWeight;

impl Weighter<Tag, Remembered> for ByWeight {
    fn weight(&self, _: &Tag, entry: &Remembered) -> u64 {
        entry.weight
    }
}

/// Counts what has to go to make room.
#[derive(Debug, Clone, Default)]
struct Evictions(Arc<AtomicU64>);

impl Lifecycle<Tag, Remembered> for Evictions {
    type RequestState = ();

    // Not `on_evict`: that hears of entries that are replaced by newer ones of the same token, too.
    fn before_evict(&self, (): &mut (), _: &Tag, _: &mut Remembered) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

impl Memory {
    /// A memory of so many bytes. Too few for a handful of tokens remember nothing.
    pub fn new(bytes: usize) -> Self {
        let capacity = bytes as u64;
        // Every entry weighs at least this, which bounds their number as well as their bytes.
        let least = (capacity / MOST_TOKENS).max(1);
        let estimated = usize::try_from((capacity / 2048).min(MOST_TOKENS)).unwrap_or(0);
        let evictions = Evictions::default();
        let options = OptionsBuilder::new().estimated_items_capacity(estimated).weight_capacity(capacity).build();
        let cache = options
            .ok()
            .filter(|_| estimated >= 32)
            .map(|options| Cache::with_options(options, ByWeight, ByTag::default(), evictions.clone()))
            .and_then(|cache| Some((Tags::new()?, cache)));
        Self {
            cache,
            common: Common::default(),
            evictions,
            capacity,
            least,
            hits: AtomicU64::new(0),
            misses: AtomicU64::new(0),
        }
    }

    /// Bytes that it may take.
    pub fn capacity(&self) -> u64 {
        self.capacity
    }

    /// The entry of exactly this token.
    pub fn find(&self, token: &str) -> Option<Remembered> {
        let (tags, cache) = self.cache.as_ref()?;
        cache.get(&tags.of(token)?)
    }

    /// Counts a look-up.
    pub fn count(&self, hit: Hit) {
        let counter = match hit {
            Hit::Found => &self.hits,
            Hit::Missed => &self.misses,
        };
        counter.fetch_add(1, Ordering::Relaxed);
    }

    /// Remembers a token that has been verified, with these keys, and gives back its principal.
    pub fn insert(&self, token: &str, mut principal: Principal, generation: u64) -> Arc<Principal> {
        let remembered = self.cache.as_ref().and_then(|(tags, cache)| Some((tags.of(token)?, cache)));
        let Some((tag, cache)) = remembered else { return Arc::new(principal) };
        self.common.share(&mut principal);
        let weight = weight(&principal).max(self.least);
        let principal = Arc::new(principal);
        cache.insert(tag, Remembered { principal: Arc::clone(&principal), generation, weight });
        principal
    }

    /// Forgets a token, once it has expired or its issuer's keys or configuration have changed.
    pub fn forget(&self, token: &str) {
        if let Some((tags, cache)) = &self.cache
            && let Some(tag) = tags.of(token)
        {
            cache.remove(&tag);
        }
    }

    /// What it holds and how often it helped.
    pub fn state(&self) -> MemoryState {
        MemoryState {
            entries: self.cache.as_ref().map_or(0, |(_, cache)| cache.len() as u64),
            bytes: self.cache.as_ref().map_or(0, |(_, cache)| cache.weight()),
            hits: self.hits.load(Ordering::Relaxed),
            misses: self.misses.load(Ordering::Relaxed),
            evictions: self.evictions.0.load(Ordering::Relaxed),
        }
    }
}

/// Whether a look-up found a token still in force.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hit {
    /// It did.
    Found,
    /// It did not.
    Missed,
}

/// Bytes of the entry in memory, a little more rather than less. The table grows by doubling, so half as many places again are
/// empty on the average.
pub(super) fn weight(principal: &Principal) -> u64 {
    let place = size_of::<(Tag, Remembered)>() + 24;
    (place * 3 / 2 + principal.bytes()) as u64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::authn::rules::Rules;
    use crate::config::{Issuer, Preset};
    use crate::principal::IssuerId;

    #[test]
    fn an_entry_is_reckoned_with_its_place_and_half_an_empty_one() {
        let principal = crate::principal::tests::principal();
        let least = size_of::<(Tag, Remembered)>() * 3 / 2 + principal.bytes();
        let weight = usize::try_from(weight(&principal)).unwrap();
        assert!((least..least + 100).contains(&weight), "{weight} for {least}");
    }

    #[test]
    fn tokens_that_go_to_make_room_are_counted_and_those_replaced_or_forgotten_are_not() {
        let issuer = Issuer::new("shoen", "https://auth.example.com", Some(Preset::Kusy));
        let rules = Rules::new(&issuer, IssuerId(0));
        let claims =
            serde_json::json!({"sub": "5f8c1a52-9d1e-4e0b-8a77-0c6f1be0a111", "client_id": "app", "scope": "crm"});
        let principal = rules.claims_to_principal(claims.as_object().unwrap().clone()).unwrap();
        let memory = Memory::new(1 << 20);
        for generation in 0..10 {
            memory.insert("the same", principal.clone(), generation);
        }
        memory.forget("the same");
        assert_eq!((memory.state().entries, memory.state().evictions), (0, 0));
        let many = 10_000;
        for number in 0..many {
            memory.insert(&format!("token {number}"), principal.clone(), 0);
        }
        let state = memory.state();
        assert!(state.bytes <= memory.capacity() && state.entries > 10, "{state:?}");
        assert_eq!(state.entries + state.evictions, many);
    }
}
