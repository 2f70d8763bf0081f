//! One limit's counts.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::KEYS;
use crate::policy::{Exceeded, Limit};

/// Parts that are locked by themselves, so that worker threads seldom meet.
const SHARDS: usize = 32;
/// Keys of one counter.
const KEYS_OF_ONE: usize = KEYS / 4;
/// Keys of a shard that are not worth looking through.
const FEW: usize = 64;
/// Nanoseconds between two searches of a full shard for keys that can be forgotten.
const SEARCH_PAUSE: u64 = 1_000_000_000;
const SECOND: u64 = 1_000_000_000;

/// One limit's counts, by key.
#[derive(Debug)]
pub(super) struct Counter {
    limit: Limit,
    /// Nanoseconds that one request costs.
    cost: u64,
    /// Nanoseconds that may be owed: a full burst.
    credit: u64,
    shards: [Mutex<Shard>; SHARDS],
    /// Keys of this counter, and of all.
    own: AtomicUsize,
    held: Arc<AtomicUsize>,
    /// The bucket of everybody for whom there is no room.
    rest: Mutex<u64>,
}

#[derive(Debug, Default)]
struct Shard {
    /// Theoretical arrival times in nanoseconds.
    times: HashMap<u64, u64, BuildHasherDefault<Plain>>,
    /// Keys at which those that can be forgotten are looked for.
    search_at: usize,
    /// When they may be looked for again although there is no room.
    search_after: u64,
}

/// Keys are hashes already.
#[derive(Debug, Default)]
struct Plain(u64);

impl Hasher for Plain {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(*byte);
        }
    }

    fn write_u64(&mut self, key: u64) {
        self.0 = key;
    }
}

impl Counter {
    pub(super) fn new(limit: Limit, held: Arc<AtomicUsize>) -> Self {
        let rate = limit.rate();
        let period = u64::try_from(rate.period.as_nanos()).unwrap_or(u64::MAX);
        // Rounded up: never more than what is stated.
        let cost = period.div_ceil(u64::from(rate.requests).max(1));
        let credit = cost.saturating_mul(u64::from(limit.burst()).max(1));
        Self {
            limit,
            cost,
            credit,
            shards: std::array::from_fn(|_| Mutex::default()),
            own: AtomicUsize::new(0),
            held,
            rest: Mutex::new(0),
        }
    }

    pub(super) fn limit(&self) -> &Limit {
        &self.limit
    }

    /// Counts one request of a key, `now` nanoseconds after the epoch.
    pub(super) fn take(&self, key: u64, now: u64) -> Result<(), Exceeded> {
        // The upper bits choose the shard; the map uses the others.
        let number = usize::try_from(key >> 59).unwrap_or(0);
        let Some(shard) = self.shards.get(number % SHARDS) else { return Err(self.exceeded(self.cost)) };
        let mut shard = lock(shard);
        if let Some(time) = shard.times.get_mut(&key) {
            return self.grant(time, now);
        }
        if !self.makes_room(&mut shard, now) {
            drop(shard);
            return self.grant(&mut lock(&self.rest), now);
        }
        self.own.fetch_add(1, Ordering::Relaxed);
        self.held.fetch_add(1, Ordering::Relaxed);
        self.grant(shard.times.entry(key).or_insert(0), now)
    }

    fn grant(&self, time: &mut u64, now: u64) -> Result<(), Exceeded> {
        let next = (*time).max(now).saturating_add(self.cost);
        let owed = next - now;
        if owed > self.credit {
            return Err(self.exceeded(owed - self.credit));
        }
        *time = next;
        Ok(())
    }

    fn exceeded(&self, wait: u64) -> Exceeded {
        Exceeded {
            per: self.limit.per(),
            quota: self.limit.burst(),
            window: self.credit.div_ceil(SECOND).max(1),
            retry_after: wait.div_ceil(SECOND).max(1),
        }
    }

    /// Whether a key may be added. Keys whose time has passed are forgotten where the shard has doubled since the last
    /// search, and from time to time where there is no room.
    fn makes_room(&self, shard: &mut Shard, now: u64) -> bool {
        let full = || self.own.load(Ordering::Relaxed) >= KEYS_OF_ONE || self.held.load(Ordering::Relaxed) >= KEYS;
        let grown = shard.times.len() >= shard.search_at.max(FEW);
        if grown || full() && now >= shard.search_after {
            let before = shard.times.len();
            shard.times.retain(|_, time| *time > now);
            self.forget(before - shard.times.len());
            shard.search_at = shard.times.len() * 2;
            shard.search_after = now.saturating_add(SEARCH_PAUSE);
        }
        !full()
    }

    fn forget(&self, keys: usize) {
        self.own.fetch_sub(keys, Ordering::Relaxed);
        self.held.fetch_sub(keys, Ordering::Relaxed);
    }
}

impl Drop for Counter {
    fn drop(&mut self) {
        self.forget(self.own.load(Ordering::Relaxed));
    }
}

/// Locks even if another holder panicked: a time is written whole or not at all.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::policy::{Per, Rate};

    fn limit(requests: u32, period: u64, burst: u32) -> Limit {
        Limit::new("p", None, Rate { requests, period: Duration::from_secs(period) }, burst, Per::Client)
    }

    fn counter(requests: u32, period: u64, burst: u32) -> Counter {
        Counter::new(limit(requests, period, burst), Arc::default())
    }

    /// How many of `tries` requests pass at a moment.
    fn passed(counter: &Counter, key: u64, now: u64, tries: usize) -> usize {
        (0..tries).filter(|_| counter.take(key, now).is_ok()).count()
    }

    #[test]
    fn a_burst_passes_at_once_and_then_one_request_for_each_that_is_earned() {
        let counter = counter(10, 1, 5);
        assert_eq!(passed(&counter, 1, 0, 9), 5);
        assert_eq!(passed(&counter, 1, SECOND / 10 - 1, 9), 0);
        assert_eq!(passed(&counter, 1, SECOND / 10, 9), 1);
        assert_eq!(passed(&counter, 1, SECOND / 2, 9), 4);
        assert_eq!(passed(&counter, 1, 100 * SECOND, 9), 5, "nobody saves up more than a burst");
        assert_eq!(passed(&counter, 2, 100 * SECOND, 9), 5, "everybody has a burst of one's own");
    }

    #[test]
    fn what_is_refused_is_not_counted_and_is_told_when_to_come_back() {
        let counter = counter(6, 60, 2);
        assert_eq!(passed(&counter, 1, SECOND, 100), 2);
        let refused = counter.take(1, SECOND).unwrap_err();
        assert_eq!(refused, Exceeded { per: Per::Client, quota: 2, window: 20, retry_after: 10 });
        assert_eq!(counter.take(1, 2 * SECOND + SECOND / 2).unwrap_err().retry_after, 9, "rounded up");
        assert_eq!(counter.take(1, 11 * SECOND - 1).unwrap_err().retry_after, 1);
        assert!(counter.take(1, 11 * SECOND).is_ok());
    }

    #[test]
    fn a_clock_that_goes_back_grants_nothing() {
        let counter = counter(1, 1, 1);
        assert!(counter.take(1, 10 * SECOND).is_ok());
        assert!(counter.take(1, 0).is_err());
    }

    #[test]
    fn rates_that_do_not_divide_are_never_exceeded() {
        for (requests, period) in [(7, 1), (999_983, 1), (1_000_000, 1), (11, 60), (13, 3600)] {
            let counter = counter(requests, period, 1);
            let mut passed: u64 = 0;
            let mut now = 0;
            for _ in 0..100_000_u32 {
                passed += u64::from(counter.take(1, now).is_ok());
                now += period * SECOND / u64::from(requests) / 3 + 1;
            }
            let most = u128::from(now) * u128::from(requests) / u128::from(period * SECOND) + 1;
            assert!(u128::from(passed) <= most, "{requests} in {period} s: {passed} > {most}");
            assert!(u128::from(passed) * 10 >= most * 6, "{requests} in {period} s: only {passed} of {most}");
        }
    }

    #[test]
    fn keys_whose_time_has_passed_are_forgotten() {
        let held = Arc::new(AtomicUsize::new(0));
        let counter = Counter::new(limit(1, 1, 1), Arc::clone(&held));
        let mut most = 0;
        for number in 0..1_000_000_u64 {
            // Spread like hashes; a thousand requests a second, each of another key.
            let key = (number + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
            assert!(counter.take(key, number * 1_000_000).is_ok());
            most = most.max(held.load(Ordering::Relaxed));
        }
        assert!(most < 10_000, "{most} keys were held");
        drop(counter);
        assert_eq!(held.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn keys_are_bounded_and_those_for_whom_there_is_no_room_share_one_bucket() {
        let counter = counter(1, 3600, 2);
        let key = |number: u64| (number + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let room = u64::try_from(KEYS_OF_ONE).unwrap();
        let passed = (0..room + 1000).filter(|number| counter.take(key(*number), 0).is_ok()).count();
        assert_eq!(passed, KEYS_OF_ONE + 2, "the last thousand have two requests together");
        assert_eq!(counter.own.load(Ordering::Relaxed), KEYS_OF_ONE);
        assert!(counter.take(key(0), 0).is_ok() && counter.take(key(0), 0).is_err(), "who was there stays");
        assert!(counter.take(key(room + 5), 7200 * SECOND).is_ok(), "until their time has passed");
        assert!(counter.own.load(Ordering::Relaxed) < KEYS_OF_ONE);
    }

    #[test]
    fn threads_that_count_together_pass_no_more_than_one_alone() {
        let counter = counter(1, 3600, 1000);
        let passed: usize = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..4).map(|_| scope.spawn(|| passed(&counter, 7, 0, 1000))).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).sum()
        });
        assert_eq!(passed, 1000);
    }
}
