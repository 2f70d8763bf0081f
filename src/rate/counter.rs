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

    /// Counts one request of a key, `now` nanoseconds after the epoch. `None`: there is no room for another key.
    pub(super) fn take(&self, key: u64, now: u64) -> Option<Result<(), Exceeded>> {
        // The upper bits choose the shard; the map uses the others.
        let mut shard = lock(self.shards.get(usize::try_from(key >> 59).ok()?)?);
        if let Some(time) = shard.times.get_mut(&key) {
            return Some(self.grant(time, now));
        }
        if shard.times.len() >= shard.search_at.max(FEW) {
            self.search(&mut shard, now);
        }
        if self.own.load(Ordering::Relaxed) >= KEYS_OF_ONE || self.held.load(Ordering::Relaxed) >= KEYS {
            return None;
        }
        self.own.fetch_add(1, Ordering::Relaxed);
        self.held.fetch_add(1, Ordering::Relaxed);
        Some(self.grant(shard.times.entry(key).or_insert(0), now))
    }

    /// Counts one request of those for whom there is no room.
    pub(super) fn take_together(&self, now: u64) -> Result<(), Exceeded> {
        self.grant(&mut lock(&self.rest), now)
    }

    /// Forgets every key whose time has passed.
    pub(super) fn forget_past(&self, now: u64) {
        for shard in &self.shards {
            self.search(&mut lock(shard), now);
        }
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

    /// Forgets the keys of a shard whose time has passed. The next search is where the others have doubled.
    fn search(&self, shard: &mut Shard, now: u64) {
        let before = shard.times.len();
        shard.times.retain(|_, time| *time > now);
        let left = shard.times.len();
        shard.times.shrink_to(left * 2);
        shard.search_at = left * 2;
        self.forget(before - left);
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
        (0..tries).filter(|_| counter.take(key, now).unwrap().is_ok()).count()
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
        let refused = counter.take(1, SECOND).unwrap().unwrap_err();
        assert_eq!(refused, Exceeded { per: Per::Client, quota: 2, window: 20, retry_after: 10 });
        assert_eq!(counter.take(1, 2 * SECOND + SECOND / 2).unwrap().unwrap_err().retry_after, 9, "rounded up");
        assert_eq!(counter.take(1, 11 * SECOND - 1).unwrap().unwrap_err().retry_after, 1);
        assert!(counter.take(1, 11 * SECOND).unwrap().is_ok());
    }

    #[test]
    fn a_clock_that_goes_back_grants_nothing() {
        let counter = counter(1, 1, 1);
        assert!(counter.take(1, 10 * SECOND).unwrap().is_ok());
        assert!(counter.take(1, 0).unwrap().is_err());
    }

    #[test]
    fn rates_that_do_not_divide_are_never_exceeded() {
        for (requests, period) in [(7, 1), (999_983, 1), (1_000_000, 1), (11, 60), (13, 3600)] {
            let counter = counter(requests, period, 1);
            let mut passed: u64 = 0;
            let mut now = 0;
            for _ in 0..100_000_u32 {
                passed += u64::from(counter.take(1, now).unwrap().is_ok());
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
        for number in 0..200_000_u64 {
            // Spread like hashes; a thousand requests a second, each of another key.
            let key = (number + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
            assert!(counter.take(key, number * 1_000_000).unwrap().is_ok());
            most = most.max(held.load(Ordering::Relaxed));
        }
        assert!(most < 10_000, "{most} keys were held");
        drop(counter);
        assert_eq!(held.load(Ordering::Relaxed), 0);
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
