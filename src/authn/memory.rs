//! Verified tokens, remembered: identity is kept, never a decision (tokens.md, "Token memory").

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use quick_cache::sync::Cache;
use quick_cache::{DefaultHashBuilder, Lifecycle, OptionsBuilder, Weighter};
use serde_json::Value;

use super::MemoryState;
use super::rules::Rules;
use crate::principal::{Claims, Principal};

/// How many tokens are remembered at most, however small.
const MOST_TOKENS: u64 = 100_000;

/// A verified token: what it says, and under which rules and keys that was found.
#[derive(Debug)]
pub struct Remembered {
    /// The caller.
    pub principal: Arc<Principal>,
    /// The rules it was verified under; other rules, even equal ones, verify it again.
    pub rules: Arc<Rules>,
    /// The generation of the keys it was verified with.
    pub generation: u64,
    weight: u64,
}

type Tokens = Cache<Box<str>, Arc<Remembered>, ByWeight, DefaultHashBuilder, Evictions>;

/// The memory. Looked up by the whole token, signature included: a hash leads to the entry, the comparison decides.
#[derive(Debug)]
pub struct Memory {
    cache: Option<Tokens>,
    evictions: Evictions,
    capacity: u64,
    least: u64,
    hits: AtomicU64,
    misses: AtomicU64,
}

#[derive(Debug, Clone)]
struct ByWeight;

impl Weighter<Box<str>, Arc<Remembered>> for ByWeight {
    fn weight(&self, _: &Box<str>, entry: &Arc<Remembered>) -> u64 {
        entry.weight
    }
}

/// Counts what has to go to make room.
#[derive(Debug, Clone, Default)]
struct Evictions(Arc<AtomicU64>);

impl Lifecycle<Box<str>, Arc<Remembered>> for Evictions {
    type RequestState = ();

    // Not `on_evict`: that hears of entries that are replaced by newer ones of the same token, too.
    fn before_evict(&self, (): &mut (), _: &Box<str>, _: &mut Arc<Remembered>) {
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
            .map(|options| Cache::with_options(options, ByWeight, DefaultHashBuilder::default(), evictions.clone()));
        Self { cache, evictions, capacity, least, hits: AtomicU64::new(0), misses: AtomicU64::new(0) }
    }

    /// Bytes that it may take.
    pub fn capacity(&self) -> u64 {
        self.capacity
    }

    /// The entry of exactly this token.
    pub fn find(&self, token: &str) -> Option<Arc<Remembered>> {
        self.cache.as_ref()?.get(token)
    }

    /// Counts a look-up.
    pub fn count(&self, hit: Hit) {
        let counter = match hit {
            Hit::Found => &self.hits,
            Hit::Missed => &self.misses,
        };
        counter.fetch_add(1, Ordering::Relaxed);
    }

    /// Remembers a token that has been verified with these rules and keys.
    pub fn insert(&self, token: &str, principal: &Arc<Principal>, rules: &Arc<Rules>, generation: u64) {
        let Some(cache) = &self.cache else { return };
        let weight = weight(token, principal).max(self.least);
        let (principal, rules) = (Arc::clone(principal), Arc::clone(rules));
        cache.insert(token.into(), Arc::new(Remembered { principal, rules, generation, weight }));
    }

    /// Forgets a token, once it has expired or its issuer's keys or configuration have changed.
    pub fn forget(&self, token: &str) {
        if let Some(cache) = &self.cache {
            cache.remove(token);
        }
    }

    /// What it holds and how often it helped.
    pub fn state(&self) -> MemoryState {
        MemoryState {
            entries: self.cache.as_ref().map_or(0, |cache| cache.len() as u64),
            bytes: self.cache.as_ref().map_or(0, Cache::weight),
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

/// Bytes of the entry in memory, a little more rather than less: the token, the principal's own copies of its claims,
/// the claims with what a map node costs.
pub(super) fn weight(token: &str, principal: &Principal) -> u64 {
    let claims = claims_weight(&principal.claims);
    (size_of::<Principal>() + size_of::<Remembered>() + 128 + token.len() + claims + claims / 2) as u64
}

fn claims_weight(claims: &Claims) -> usize {
    claims.iter().map(|(name, value)| 96 + name.len() + value_weight(value)).sum()
}

fn value_weight(value: &Value) -> usize {
    match value {
        Value::Null | Value::Bool(_) | Value::Number(_) => 0,
        Value::String(text) => text.len(),
        Value::Array(items) => items.iter().map(|item| size_of::<Value>() + 8 + value_weight(item)).sum(),
        Value::Object(members) => claims_weight(members),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Issuer, Preset};
    use crate::principal::IssuerId;

    #[test]
    fn an_entry_weighs_what_its_token_and_its_claims_take_however_they_are_nested() {
        let of = |claims: serde_json::Value| claims_weight(claims.as_object().unwrap());
        assert_eq!(of(serde_json::json!({})), 0);
        assert_eq!(of(serde_json::json!({"name": 5})), 100);
        assert_eq!(of(serde_json::json!({"name": "value"})), 105);
        assert_eq!(of(serde_json::json!({"name": {"inner": "value"}})), 100 + 106);
        let item = size_of::<Value>() + 8;
        assert_eq!(of(serde_json::json!({"name": ["value", true]})), 100 + item + 5 + item);

        let issuer = Issuer::new("shoen", "https://auth.example.com", Some(Preset::Kusy));
        let rules = Rules::new(&issuer, IssuerId(0));
        let principal = |roles: &str| {
            let claims = serde_json::json!({"sub": "alice", "client_id": "app", "roles": roles});
            rules.claims_to_principal(claims.as_object().unwrap().clone()).unwrap()
        };
        let weighed = |roles: &str, token: &str| weight(token, &principal(roles));
        assert_eq!(weighed("", &"t".repeat(800)) - weighed("", ""), 800);
        // The claims are there once as they came and once, half of them on the average, as the principal has them.
        assert_eq!(weighed(&"r".repeat(1000), "") - weighed("", ""), 1500);
        let claims = claims_weight(&principal("").claims) * 3 / 2;
        assert!(weighed("", "") > (size_of::<Principal>() + size_of::<Remembered>() + claims) as u64);
    }

    #[test]
    fn tokens_that_go_to_make_room_are_counted_and_those_replaced_or_forgotten_are_not() {
        let issuer = Issuer::new("shoen", "https://auth.example.com", Some(Preset::Kusy));
        let rules = Arc::new(Rules::new(&issuer, IssuerId(0)));
        let claims =
            serde_json::json!({"sub": "5f8c1a52-9d1e-4e0b-8a77-0c6f1be0a111", "client_id": "app", "scope": "crm"});
        let principal = Arc::new(rules.claims_to_principal(claims.as_object().unwrap().clone()).unwrap());
        let memory = Memory::new(1 << 20);
        for generation in 0..10 {
            memory.insert("the same", &principal, &rules, generation);
        }
        memory.forget("the same");
        assert_eq!((memory.state().entries, memory.state().evictions), (0, 0));
        let many = 10_000;
        (0..many).for_each(|number| memory.insert(&format!("token {number}"), &principal, &rules, 0));
        let state = memory.state();
        assert!(state.bytes <= memory.capacity() && state.entries > 10, "{state:?}");
        assert_eq!(state.entries + state.evictions, many);
    }
}
