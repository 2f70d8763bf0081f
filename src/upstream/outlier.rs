//! Passive ejection: whoever fails again and again is left alone for a while, and longer each time.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

/// Failures in a row after which a member is ejected.
pub(super) const THRESHOLD: u32 = 5;
/// How long the first time, in milliseconds. Each time in a row takes twice as long as the one before.
const FIRST: u64 = 10_000;
/// How long at most.
const LONGEST: u64 = 300_000;

/// What is known of a member from its requests. Times are [`super::moment`]s, given by who asks.
#[derive(Debug, Default)]
pub(super) struct Outlier {
    failures: AtomicU32,
    /// When the last ejection ends or ended; 0: there was none.
    until: AtomicU64,
    /// Ejections in a row.
    in_a_row: AtomicU32,
    ejections: AtomicU64,
}

impl Outlier {
    /// Whether it is ejected. Asks for the time only if it was ever ejected.
    pub(super) fn is_out(&self, now: impl FnOnce() -> u64) -> bool {
        let until = self.until.load(Ordering::Relaxed);
        until != 0 && now() < until
    }

    /// Time until it comes back; `None` when it is not ejected.
    pub(super) fn left(&self, now: u64) -> Option<Duration> {
        let left = self.until.load(Ordering::Relaxed).saturating_sub(now);
        (left > 0).then(|| Duration::from_millis(left))
    }

    /// Ejections so far.
    pub(super) fn ejections(&self) -> u64 {
        self.ejections.load(Ordering::Relaxed)
    }

    /// A request was answered. What was under way when it was ejected does not bring it back.
    pub(super) fn succeeded(&self, now: impl Fn() -> u64) {
        if self.failures.load(Ordering::Relaxed) != 0 && !self.is_out(&now) {
            self.failures.store(0, Ordering::Relaxed);
        }
        let ejected = self.in_a_row.load(Ordering::Relaxed) != 0;
        if ejected && now() >= self.until.load(Ordering::Relaxed).saturating_add(LONGEST) {
            self.in_a_row.store(0, Ordering::Relaxed);
        }
    }

    /// A request failed. Whether that is one too many.
    pub(super) fn failed(&self, now: u64) -> bool {
        if self.is_out(|| now) {
            return false;
        }
        self.failures.fetch_add(1, Ordering::Relaxed).saturating_add(1) >= THRESHOLD
    }

    /// Ejects it. When it comes back, one more failure ejects it again. Tells for how long.
    pub(super) fn eject(&self, now: u64) -> Duration {
        let times = self.in_a_row.fetch_add(1, Ordering::Relaxed).min(10);
        let long = FIRST.saturating_mul(1 << times).min(LONGEST);
        self.ejections.fetch_add(1, Ordering::Relaxed);
        self.failures.store(THRESHOLD - 1, Ordering::Relaxed);
        self.until.store(now.saturating_add(long), Ordering::Relaxed);
        Duration::from_millis(long)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Fails until it is ejected; after how many failures, and for how many seconds.
    fn ejected(outlier: &Outlier, now: u64) -> (u32, u64) {
        for count in 1..=THRESHOLD {
            if outlier.failed(now) {
                return (count, outlier.eject(now).as_secs());
            }
        }
        panic!("never");
    }

    #[test]
    fn a_success_between_failures_keeps_it_in() {
        let outlier = Outlier::default();
        for _ in 0..100 {
            assert!((1..THRESHOLD).all(|_| !outlier.failed(1)));
            outlier.succeeded(|| 1);
        }
        assert!(!outlier.is_out(|| 1));
    }

    #[test]
    fn each_ejection_in_a_row_takes_one_failure_and_twice_as_long_up_to_a_cap() {
        let outlier = Outlier::default();
        let mut now = 1;
        let mut seen = Vec::new();
        for _ in 0..7 {
            let (failures, seconds) = ejected(&outlier, now);
            seen.push((failures, seconds));
            assert!(outlier.is_out(|| now + seconds * 1000 - 1));
            now += seconds * 1000;
            assert!(!outlier.is_out(|| now));
        }
        assert_eq!(seen, [(5, 10), (1, 20), (1, 40), (1, 80), (1, 160), (1, 300), (1, 300)]);
        assert_eq!(outlier.ejections(), 7);
    }

    #[test]
    fn what_was_under_way_neither_brings_it_back_nor_keeps_it_out_longer() {
        let outlier = Outlier::default();
        assert_eq!(ejected(&outlier, 1), (5, 10));
        let left = outlier.left(1);
        outlier.succeeded(|| 2);
        assert!(outlier.is_out(|| 2));
        assert!((0..50).all(|_| !outlier.failed(3)));
        assert_eq!(outlier.left(1), left);
        assert!(outlier.failed(10_001), "and one failure after its return is one too many");
    }

    #[test]
    fn five_good_minutes_make_up_for_the_past() {
        let outlier = Outlier::default();
        assert_eq!(ejected(&outlier, 1), (5, 10));
        outlier.succeeded(|| 10_001);
        assert_eq!(ejected(&outlier, 10_002), (5, 20));
        outlier.succeeded(|| 30_002 + LONGEST);
        assert_eq!(ejected(&outlier, 30_003 + LONGEST), (5, 10));
    }
}
