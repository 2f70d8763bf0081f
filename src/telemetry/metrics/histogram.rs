//! A histogram of durations that many threads add to without a lock.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Upper bounds in nanoseconds. OpenTelemetry's advice for HTTP durations, with two finer ones in front, because a
/// gateway answers most requests in less than its first.
const BOUNDS: [u64; 16] = [
    1_000_000,
    2_500_000,
    5_000_000,
    10_000_000,
    25_000_000,
    50_000_000,
    75_000_000,
    100_000_000,
    250_000_000,
    500_000_000,
    750_000_000,
    1_000_000_000,
    2_500_000_000,
    5_000_000_000,
    7_500_000_000,
    10_000_000_000,
];

/// Counts of durations by size, and their sum.
#[derive(Debug, Default)]
pub struct Histogram {
    /// One count for each bound, not cumulated.
    buckets: [AtomicU64; BOUNDS.len()],
    /// What exceeds every bound.
    beyond: AtomicU64,
    /// Nanoseconds.
    sum: AtomicU64,
}

impl Histogram {
    /// Adds one duration: two atomic additions.
    pub fn observe(&self, duration: Duration) {
        let nanos = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        let at = BOUNDS.partition_point(|bound| *bound < nanos);
        self.buckets.get(at).unwrap_or(&self.beyond).fetch_add(1, Ordering::Relaxed);
        self.sum.fetch_add(nanos, Ordering::Relaxed);
    }

    /// How many durations were added.
    pub fn count(&self) -> u64 {
        let inside: u64 = self.buckets.iter().map(|bucket| bucket.load(Ordering::Relaxed)).sum();
        inside + self.beyond.load(Ordering::Relaxed)
    }

    /// Sum in seconds, count, and the buckets as pairs of bound in seconds and count, the last bound infinite.
    #[expect(
        clippy::cast_precision_loss,
        reason = "a sum of nanoseconds beyond 2^53 (104 days) may lose its last digits"
    )]
    pub(super) fn read(&self) -> (f64, u64, Vec<(f64, u64)>) {
        let bounds = BOUNDS.iter().map(|bound| *bound as f64 / 1e9).chain([f64::INFINITY]);
        let counts = self.buckets.iter().chain([&self.beyond]).map(|bucket| bucket.load(Ordering::Relaxed));
        let buckets: Vec<_> = bounds.zip(counts).collect();
        let count = buckets.iter().map(|(_, count)| count).sum();
        (self.sum.load(Ordering::Relaxed) as f64 / 1e9, count, buckets)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_counts_in_the_first_bucket_that_is_not_below_it() {
        let histogram = Histogram::default();
        for millis in [1, 2, 10_000, 10_001] {
            histogram.observe(Duration::from_millis(millis));
        }
        let (sum, count, buckets) = histogram.read();
        assert!((sum - 20.004).abs() < 1e-9, "{sum}");
        assert_eq!(count, 4);
        assert_eq!(histogram.count(), 4);
        let filled: Vec<_> = buckets.iter().filter(|(_, count)| *count > 0).copied().collect();
        assert_eq!(filled, [(0.001, 1), (0.0025, 1), (10.0, 1), (f64::INFINITY, 1)]);
    }
}
