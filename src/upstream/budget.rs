//! How much may be tried again: at most one request for every five, so that a failing upstream is not buried under
//! repetitions, and one a second however quiet it is. At the beginning there is enough to find out that one endpoint fails.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use super::moment;
use super::outlier::THRESHOLD;

/// What a repetition costs; every request earns one.
const PRICE: u32 = 5;
/// What can be saved: a hundred repetitions.
const MOST: u32 = 100 * PRICE;
/// Milliseconds between two repetitions that cost nothing.
const FREE_EVERY: u64 = 1000;

/// What an upstream's requests have earned.
#[derive(Debug)]
pub(super) struct Budget {
    saved: AtomicU32,
    /// When a repetition is free again.
    free_at: AtomicU64,
}

impl Default for Budget {
    fn default() -> Self {
        Self { saved: AtomicU32::new(THRESHOLD * PRICE), free_at: AtomicU64::new(0) }
    }
}

impl Budget {
    /// A request begins. Costs no write where as much is saved as can be.
    pub(super) fn earn(&self) {
        if self.saved.load(Ordering::Relaxed) < MOST {
            self.saved.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Whether one request may be sent again.
    pub(super) fn spend(&self) -> bool {
        self.spend_at(moment::now())
    }

    fn spend_at(&self, now: u64) -> bool {
        let pay = |saved: u32| saved.checked_sub(PRICE);
        if self.saved.fetch_update(Ordering::Relaxed, Ordering::Relaxed, pay).is_ok() {
            return true;
        }
        let free = |at: u64| (now >= at).then(|| now.saturating_add(FREE_EVERY));
        self.free_at.fetch_update(Ordering::Relaxed, Ordering::Relaxed, free).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One that has nothing left of what it began with.
    fn spent() -> Budget {
        let budget = Budget::default();
        assert_eq!((0..10).filter(|_| budget.spend_at(1)).count(), 6, "five, and the free one");
        budget
    }

    #[test]
    fn of_many_requests_a_fifth_may_be_sent_again() {
        let budget = spent();
        for _ in 0..100 {
            budget.earn();
        }
        assert_eq!((0..100).filter(|_| budget.spend_at(20)).count(), 20);
    }

    #[test]
    fn a_quiet_gateway_may_send_one_a_second_again() {
        let budget = spent();
        let allowed: Vec<u64> = (1..3000).step_by(10).filter(|now| budget.spend_at(*now)).collect();
        assert_eq!(allowed, [1001, 2001]);
    }

    #[test]
    fn what_is_saved_has_a_bound() {
        let budget = spent();
        for _ in 0..100_000 {
            budget.earn();
        }
        assert_eq!((0..1000).filter(|_| budget.spend_at(1)).count(), 100);
    }
}
