//! `max_connections`: how many connections may be open at once, over all workers and endpoints, and the queue before it.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

use super::failure::Failure;

/// Exchanges that may wait at once, where `max_connections` is not more. Each holds its request head and, of its body,
/// what the client's connection buffers.
const QUEUE: usize = 100;

/// Connections that may be open at once, over all workers.
#[derive(Debug)]
pub(super) struct Capacity {
    max: usize,
    slots: Arc<Semaphore>,
    /// Exchanges that wait for a slot.
    waiting: AtomicUsize,
    /// Asks the workers to close an idle connection each.
    pub(super) wanted: Notify,
}

impl Capacity {
    pub(super) fn new(max: usize) -> Self {
        let max = max.min(Semaphore::MAX_PERMITS);
        Self { max, slots: Arc::new(Semaphore::new(max)), waiting: AtomicUsize::new(0), wanted: Notify::new() }
    }

    /// Whether somebody waits for a connection to be closed.
    pub(super) fn is_wanted(&self) -> bool {
        self.waiting() > 0
    }

    /// Exchanges that wait for a slot.
    pub(super) fn waiting(&self) -> usize {
        self.waiting.load(Ordering::SeqCst)
    }

    /// Connections that may be open.
    pub(super) fn most(&self) -> usize {
        self.max
    }

    /// Connections that are open or being opened.
    pub(super) fn in_use(&self) -> usize {
        self.max.saturating_sub(self.slots.available_permits())
    }

    /// The right to open one connection; waits for it as long as connecting may take, if the queue has room.
    pub(super) async fn slot(&self, within: Duration) -> Result<OwnedSemaphorePermit, Failure> {
        if let Ok(slot) = Arc::clone(&self.slots).try_acquire_owned() {
            return Ok(slot);
        }
        let _waiting = Waiting::new(&self.waiting, self.max.max(QUEUE)).ok_or(Failure::Saturated(self.max))?;
        self.wanted.notify_waiters();
        match timeout(within, Arc::clone(&self.slots).acquire_owned()).await {
            Ok(Ok(slot)) => Ok(slot),
            Ok(Err(_)) | Err(_) => Err(Failure::Saturated(self.max)),
        }
    }
}

/// Counts as waiting as long as it lives.
struct Waiting<'c>(&'c AtomicUsize);

impl<'c> Waiting<'c> {
    /// A place in the queue, if there is one.
    fn new(counter: &'c AtomicUsize, room: usize) -> Option<Self> {
        let place = Self(counter);
        (counter.fetch_add(1, Ordering::SeqCst) < room).then_some(place)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}
