//! Counting requests for the limits that policies state (http.md, step 7).
//!
//! Every limit has a counter, every key in it (a client, a subject, an issuer, an address) a *theoretical arrival
//! time*: the moment at which all that was granted so far will have been earned (the generic cell rate algorithm, ITU-T
//! I.371). It is one number for each key, exact to the nanosecond, and a key whose moment has passed is as good as none,
//! so forgetting it loses nothing.
//!
//! Memory is bounded: [`KEYS`] keys over all counters, a quarter of them in one. Keys beyond that share one bucket. A
//! flood of keys can therefore take room from newcomers, but never lets a request through that its limit refuses.

mod counter;
mod key;

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Instant;

use counter::Counter;
use key::Keys;

use crate::policy::{Exceeded, Limit, Route, RouteId};

pub use key::Sender;

/// Keys of all counters together: some 40 MB when full.
pub const KEYS: usize = 1 << 20;

/// Nanoseconds between two searches for keys that can be forgotten, where there is no room.
const SEARCH_PAUSE: u64 = 1_000_000_000;

/// The counters of one load of policies.
#[derive(Debug)]
pub struct Counters {
    /// By route; routes of a document that share its limit share the counter.
    by_route: Vec<Option<Arc<Counter>>>,
    /// Each once.
    all: Vec<Arc<Counter>>,
    shared: Arc<Shared>,
}

/// What outlives every load.
#[derive(Debug)]
struct Shared {
    /// What moments are measured from.
    epoch: Instant,
    keys: Keys,
    /// Keys held by all counters.
    held: Arc<AtomicUsize>,
    /// When keys whose time has passed may be looked for again, because there is no room.
    search_after: AtomicU64,
}

impl Counters {
    /// Counters for these routes, in their order. Limits that did not change go on with their counts.
    pub fn load<'r>(routes: impl IntoIterator<Item = &'r Arc<Route>>, previous: Option<&Self>) -> Self {
        Self::of(routes.into_iter().map(|route| route.limit()), previous)
    }

    fn of<'l>(limits: impl Iterator<Item = Option<&'l Limit>>, previous: Option<&Self>) -> Self {
        let shared = previous.map_or_else(Shared::start, |previous| Arc::clone(&previous.shared));
        let before: HashMap<&Limit, &Arc<Counter>> =
            previous.into_iter().flat_map(|previous| &previous.all).map(|counter| (counter.limit(), counter)).collect();
        let mut counters: HashMap<Limit, Arc<Counter>> = HashMap::new();
        let mut counter = |limit: &Limit| {
            let new = || Arc::new(Counter::new(limit.clone(), Arc::clone(&shared.held)));
            let found = || before.get(limit).map_or_else(new, |counter| Arc::clone(counter));
            Arc::clone(counters.entry(limit.clone()).or_insert_with(found))
        };
        let by_route = limits.map(|limit| limit.map(&mut counter)).collect();
        Self { by_route, all: counters.into_values().collect(), shared }
    }

    /// Counts one request under its route's limit.
    ///
    /// # Errors
    /// It is too much. It was not counted then: who keeps asking does not wait the longer for it.
    pub fn count(&self, route: RouteId, sender: &Sender<'_>, now: Instant) -> Result<(), Exceeded> {
        let counter = usize::try_from(route.0).ok().and_then(|route| self.by_route.get(route));
        let Some(counter) = counter.and_then(Option::as_ref) else { return Ok(()) };
        let now = u64::try_from(now.saturating_duration_since(self.shared.epoch).as_nanos()).unwrap_or(u64::MAX);
        self.take(counter, self.shared.keys.key(counter.limit().per(), sender), now)
    }

    fn take(&self, counter: &Counter, key: u64, now: u64) -> Result<(), Exceeded> {
        if let Some(counted) = counter.take(key, now) {
            return counted;
        }
        self.make_room(now);
        counter.take(key, now).unwrap_or_else(|| counter.take_together(now))
    }

    /// Forgets keys of all counters, those that nobody asks any more included; at most once a second.
    fn make_room(&self, now: u64) {
        let due = self.shared.search_after.load(Ordering::Relaxed);
        let next = now.saturating_add(SEARCH_PAUSE);
        let mine = || self.shared.search_after.compare_exchange(due, next, Ordering::Relaxed, Ordering::Relaxed);
        if now >= due && mine().is_ok() {
            self.all.iter().for_each(|counter| counter.forget_past(now));
        }
    }
}

impl Shared {
    fn start() -> Arc<Self> {
        Arc::new(Self {
            epoch: Instant::now(),
            keys: Keys::default(),
            held: Arc::default(),
            search_after: AtomicU64::new(0),
        })
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::policy::{Per, Rate};

    const HOUR: u64 = 3600 * 1_000_000_000;

    fn limit(policy: &str, burst: u32) -> Limit {
        let rate = Rate { requests: 1, period: Duration::from_hours(1) };
        Limit::new(policy, None, rate, burst, Per::Address)
    }

    /// Spread like hashes.
    fn key(number: usize) -> u64 {
        (u64::try_from(number).unwrap() + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15)
    }

    /// How many of these keys' requests pass.
    fn passed(counters: &Counters, route: usize, keys: std::ops::Range<usize>, now: u64) -> usize {
        let counter = counters.by_route[route].as_ref().unwrap();
        keys.filter(|number| counters.take(counter, key(*number), now).is_ok()).count()
    }

    #[test]
    fn keys_are_bounded_and_those_for_whom_there_is_no_room_share_one_bucket() {
        let counters = Counters::of([Some(&limit("a", 2))].into_iter(), None);
        let room = KEYS / 4;
        assert_eq!(passed(&counters, 0, 0..room + 1000, 0), room + 2, "the last thousand have two requests together");
        assert_eq!(counters.shared.held.load(Ordering::Relaxed), room);
        assert_eq!(passed(&counters, 0, 0..1, 0), 1, "who was there stays");
        assert_eq!(passed(&counters, 0, 0..1, 0), 0);
        assert_eq!(passed(&counters, 0, room..room + 1000, 3 * HOUR), 1000, "until their time has passed");
        assert_eq!(counters.shared.held.load(Ordering::Relaxed), 1000);
    }

    #[test]
    fn a_counter_that_nobody_asks_any_more_takes_no_room_from_others() {
        let limits = ["a", "b", "c", "d", "e"].map(|policy| limit(policy, 1));
        let counters = Counters::of(limits.iter().map(Some), None);
        for route in 0..4 {
            assert_eq!(passed(&counters, route, 0..KEYS / 4, 0), KEYS / 4);
        }
        assert_eq!(passed(&counters, 4, 0..1000, 1), 1, "all of the memory is taken");
        assert_eq!(passed(&counters, 4, 0..1000, 2 * HOUR), 1000);
        assert_eq!(counters.shared.held.load(Ordering::Relaxed), 1000);
    }

    #[test]
    fn limits_that_did_not_change_go_on_with_their_counts() {
        let (kept, changed) = (limit("a", 1), limit("b", 1));
        let before = Counters::of([Some(&kept), Some(&changed), None].into_iter(), None);
        assert_eq!([0, 1].map(|route| passed(&before, route, 0..1, 0)), [1, 1]);
        let after = Counters::of([Some(&limit("b", 2)), Some(&kept), Some(&kept)].into_iter(), Some(&before));
        assert_eq!([0, 1, 2].map(|route| passed(&after, route, 0..1, 0)), [1, 0, 0]);
        drop(before);
        assert_eq!(after.shared.held.load(Ordering::Relaxed), 2);
        let nobody = Sender { principal: None, address: None };
        assert_eq!(after.count(RouteId(9), &nobody, Instant::now()), Ok(()), "no limit");
    }
}
