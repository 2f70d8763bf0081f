//! Which workers are alive: each answers a question on its own thread, between two requests. A worker that is stuck answers
//! nothing.

use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::watch;

/// Questions and the last one that each worker has answered.
#[derive(Debug)]
pub(crate) struct Roll {
    asked: watch::Sender<u64>,
    answered: Vec<AtomicU64>,
}

impl Roll {
    /// So many workers, none of them asked yet.
    pub(super) fn of(workers: usize) -> Self {
        Self { asked: watch::Sender::new(0), answered: (0..workers).map(|_| AtomicU64::new(0)).collect() }
    }

    /// Whether all have answered the last question; asks the next one.
    pub(super) fn call(&self) -> bool {
        let asked = *self.asked.borrow();
        let all = self.answered.iter().all(|answered| answered.load(Ordering::Acquire) == asked);
        if all {
            self.asked.send_replace(asked + 1);
        }
        all
    }

    /// Answers for one worker, for ever.
    pub(super) async fn answer(&self, worker: usize) {
        let mut asked = self.asked.subscribe();
        loop {
            let question = *asked.borrow_and_update();
            if let Some(answered) = self.answered.get(worker) {
                answered.store(question, Ordering::Release);
            }
            if asked.changed().await.is_err() {
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn one_worker_that_is_stuck_is_enough() {
        let roll = Roll::of(2);
        assert!(roll.call(), "nobody was asked yet");
        let both = async { tokio::join!(roll.answer(0), roll.answer(1)) };
        let _ = tokio::time::timeout(std::time::Duration::from_millis(50), both).await;
        assert!(roll.call());
        let _ = tokio::time::timeout(std::time::Duration::from_millis(50), roll.answer(0)).await;
        assert!(!roll.call());
        assert!(!roll.call(), "the question stays the same");
        let _ = tokio::time::timeout(std::time::Duration::from_millis(50), roll.answer(1)).await;
        assert!(roll.call());
    }
}
