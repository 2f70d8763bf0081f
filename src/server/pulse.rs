//! What an HTTP connection is doing at this moment: known to the byte stream below hyper, to the service above it and
//! to the task that watches the clock.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicU64, Ordering};

/// Where an HTTP/1 connection stands between two requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Phase {
    /// Nothing is going on: no request, no byte of one, every answer written.
    Idle,
    /// Some bytes of a request head have arrived, not all.
    Head,
    /// A request is being answered.
    Busy,
    /// The answer is complete and may still have to be written.
    Ending,
    /// Nothing is going on, and hyper is being taken off the byte stream, which goes on.
    Resting,
    /// HTTP is over: the bytes belong to a tunnel, or to nobody.
    Over,
}

/// The state shared by the three; atomic because an upgraded byte stream has to be `Send`.
#[derive(Debug)]
pub(crate) struct Pulse {
    phase: AtomicU8,
    active: AtomicU32,
    requests: AtomicU64,
    irregular: AtomicU64,
    upgradable: AtomicBool,
}

/// A request is being served as long as this lives: it is held by whatever still reads the request's body or writes
/// its answer.
#[derive(Debug)]
pub(crate) struct Busy(Arc<Pulse>);

impl Pulse {
    /// A connection that has not sent anything.
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self {
            phase: AtomicU8::new(Phase::Idle as u8),
            active: AtomicU32::new(0),
            requests: AtomicU64::new(0),
            irregular: AtomicU64::new(u64::MAX),
            upgradable: AtomicBool::new(false),
        })
    }

    /// The phase at this moment.
    pub(crate) fn phase(&self) -> Phase {
        match self.phase.load(Ordering::Relaxed) {
            0 => Phase::Idle,
            1 => Phase::Head,
            2 => Phase::Busy,
            3 => Phase::Ending,
            4 => Phase::Resting,
            _ => Phase::Over,
        }
    }

    /// Moves from one phase to another; nothing happens in any other phase than `from`, and that it did is told.
    pub(super) fn advance(&self, from: Phase, to: Phase) -> bool {
        self.phase.compare_exchange(from as u8, to as u8, Ordering::Relaxed, Ordering::Relaxed).is_ok()
    }

    /// HTTP is over on this connection.
    pub(super) fn end(&self) {
        self.phase.store(Phase::Over as u8, Ordering::Relaxed);
    }

    /// A request begins; its number, counted from 1, and the guard that says that it goes on.
    pub(crate) fn begin(self: &Arc<Self>) -> (u64, Busy) {
        self.phase.store(Phase::Busy as u8, Ordering::Relaxed);
        self.active.fetch_add(1, Ordering::Relaxed);
        let number = self.requests.fetch_add(1, Ordering::Relaxed) + 1;
        (number, Busy(Arc::clone(self)))
    }

    /// Requests begun so far.
    pub(crate) fn requests(&self) -> u64 {
        self.requests.load(Ordering::Relaxed)
    }

    /// Says that the message with this number is not written the way it should be, so that nothing behind it on the
    /// connection is to be believed.
    pub(super) fn mark_irregular(&self, number: u64) {
        self.irregular.fetch_min(number, Ordering::Relaxed);
    }

    /// A request has offered to go on in another protocol.
    pub(super) fn mark_upgradable(&self) {
        self.upgradable.store(true, Ordering::Relaxed);
    }

    /// Whether one has.
    pub(super) fn is_upgradable(&self) -> bool {
        self.upgradable.load(Ordering::Relaxed)
    }

    /// Whether the request with this number, or one before it, was irregular.
    pub(crate) fn is_irregular(&self, number: u64) -> bool {
        number >= self.irregular.load(Ordering::Relaxed)
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        if self.0.active.fetch_sub(1, Ordering::Relaxed) == 1 {
            self.0.advance(Phase::Busy, Phase::Ending);
        }
    }
}
