//! Lines on their way to a file: formatted by the worker that ends a request, into the buffer of its core, and written by
//! one thread for each destination.
//!
//! Workers never wait for a disk or a pipe. A record needs a place in its core's buffer; without one it is counted as
//! dropped, or, where records are required, the request is refused before it is forwarded. A place is given back only
//! when its line is written, so what is reserved is bounded in memory and on its way.
//!
//! The first line after silence is written at once, those that follow it come together for a while: a steady stream of
//! records wakes nobody but the thread itself, and that rarely.

mod destination;
mod shard;
mod thread;

use std::io;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::available_parallelism;
use std::time::Duration;

pub(super) use self::destination::Destination;
use self::destination::Open;
use self::shard::{Added, Claim, Shard};
use self::thread::Thread;
use super::metrics::{Metrics, SinkMetrics};
use super::record::Record;

/// No place for a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("no room for another record")]
pub struct Full;

/// A place in the buffer of a core, given back when dropped.
#[derive(Debug)]
pub(super) struct Place {
    shared: Arc<Shared>,
    shard: usize,
}

impl Drop for Place {
    fn drop(&mut self) {
        self.shared.shard(self.shard).give_back(1);
    }
}

/// Appends a record as one line, which ends in the only newline of it.
pub(super) type Format = Box<dyn Fn(&Record, &mut Vec<u8>) + Send + Sync>;

/// The side of the workers, and of whoever asks for something.
pub(super) struct Writer {
    shared: Arc<Shared>,
    format: Format,
    thread: std::thread::Thread,
}

impl std::fmt::Debug for Writer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Writer").field("shared", &self.shared).finish_non_exhaustive()
    }
}

impl Writer {
    /// Opens the destination and starts the thread.
    ///
    /// # Errors
    /// The destination cannot be opened, or no thread can be started.
    pub(super) fn start(
        destination: Destination,
        format: Format,
        metrics: Arc<Metrics>,
        counts: fn(&Metrics) -> &SinkMetrics,
    ) -> io::Result<Self> {
        let open = destination.open()?;
        let shared = Arc::new(Shared::new(cores(), metrics, counts));
        lock(&shared.wishes).destination = Some(destination);
        let thread = Thread::new(Arc::clone(&shared), open);
        let running = std::thread::Builder::new().name("records".to_owned()).spawn(move || thread.run())?;
        Ok(Self { shared, format, thread: running.thread().clone() })
    }

    /// Takes a place.
    ///
    /// # Errors
    /// All are taken, or records that must not be lost cannot be written at the moment.
    pub(super) fn reserve(&self) -> Result<Place, Full> {
        let number = own_number();
        if self.shared.stuck.load(Ordering::Relaxed) {
            return Err(Full);
        }
        self.shared.shard(number).reserve()?;
        Ok(Place { shared: Arc::clone(&self.shared), shard: number })
    }

    /// Hands a record in; without a place of its own it takes one if there is one, else it is counted as dropped.
    pub(super) fn push(&self, record: &Record, place: Option<&Place>) {
        let (claim, number) = match place {
            Some(place) => (Claim::Reserved, place.shard),
            None => (Claim::Fresh, own_number()),
        };
        let counts = self.shared.counts();
        if claim == Claim::Fresh && self.shared.stuck.load(Ordering::Relaxed) {
            return counts.dropped.one();
        }
        let format = |out: &mut Vec<u8>| (self.format)(record, out);
        match self.shared.shard(number).add(record.ended(), claim, format) {
            Added::Refused => counts.dropped.one(),
            Added::Unformatted => counts.failed.one(),
            Added::Some => self.wake(),
            Added::Many => self.thread.unpark(),
        }
    }

    /// Whether records wait for a destination that fails, instead of being dropped.
    pub(super) fn keep_on_failure(&self, keep: Keep) {
        self.wish(|wishes| wishes.keep = keep);
    }

    /// Opens the destination anew: the file was renamed, or another destination is configured.
    ///
    /// # Errors
    /// It cannot be opened; the one in use stays.
    pub(super) fn reopen(&self, other: Option<Destination>) -> io::Result<()> {
        let destination = other.or_else(|| lock(&self.shared.wishes).destination.clone());
        let Some(destination) = destination else { return Ok(()) };
        let open = destination.open()?;
        self.wish(|wishes| {
            wishes.open = Some(open);
            wishes.destination = Some(destination);
        });
        Ok(())
    }

    /// Writes everything handed in so far and ends the thread; waits for that at most `patience`.
    pub(super) fn finish(&self, patience: Duration) {
        self.wish(|wishes| wishes.finish = true);
        let guard = lock(&self.shared.wishes);
        // Whether it was done or patience was over, there is nothing more to do.
        drop(self.shared.finished.wait_timeout_while(guard, patience, |wishes| !wishes.finished));
    }

    fn wish(&self, change: impl FnOnce(&mut Wishes)) {
        change(&mut lock(&self.shared.wishes));
        self.thread.unpark();
    }

    /// Wakes the thread if it sleeps until there is something: of many that see it asleep, one does.
    fn wake(&self) {
        let asleep = &self.shared.asleep;
        if asleep.load(Ordering::Relaxed) && asleep.swap(false, Ordering::Relaxed) {
            self.thread.unpark();
        }
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        // Nobody is left to hand records in, and nobody waits for the last ones.
        self.wish(|wishes| wishes.finish = true);
    }
}

/// Whether records are worth waiting for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Keep {
    /// What cannot be written is counted and forgotten.
    #[default]
    No,
    /// It is kept and tried again, and nobody gets a place meanwhile.
    Yes,
}

/// What both sides know.
struct Shared {
    /// One for each core. There is at least the first.
    first: Shard,
    others: Box<[Shard]>,
    /// The thread sleeps until somebody wakes it.
    asleep: AtomicBool,
    stuck: AtomicBool,
    wishes: Mutex<Wishes>,
    finished: Condvar,
    metrics: Arc<Metrics>,
    counts: fn(&Metrics) -> &SinkMetrics,
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shared").field("asleep", &self.asleep).field("stuck", &self.stuck).finish_non_exhaustive()
    }
}

impl Shared {
    fn new(cores: usize, metrics: Arc<Metrics>, counts: fn(&Metrics) -> &SinkMetrics) -> Self {
        Self {
            first: Shard::of(cores),
            others: (1..cores).map(|_| Shard::of(cores)).collect(),
            asleep: AtomicBool::new(false),
            stuck: AtomicBool::new(false),
            wishes: Mutex::default(),
            finished: Condvar::new(),
            metrics,
            counts,
        }
    }

    fn counts(&self) -> &SinkMetrics {
        (self.counts)(&self.metrics)
    }

    /// The shard of the thread that has this number. Threads beyond the number of cores share.
    fn shard(&self, number: usize) -> &Shard {
        let number = number % (self.others.len() + 1);
        number.checked_sub(1).and_then(|at| self.others.get(at)).unwrap_or(&self.first)
    }

    fn shards(&self) -> impl Iterator<Item = &Shard> {
        std::iter::once(&self.first).chain(&self.others)
    }
}

/// What the thread is asked to do. Apart from the records, because many of them must not keep an operator's wish out.
#[derive(Default)]
struct Wishes {
    destination: Option<Destination>,
    open: Option<Open>,
    keep: Keep,
    finish: bool,
    finished: bool,
}

/// How many workers there are as a rule.
fn cores() -> usize {
    available_parallelism().map_or(1, usize::from)
}

/// A number for the thread that asks: the same each time, and the next one for the next thread.
fn own_number() -> usize {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    thread_local! {
        static NUMBER: usize = NEXT.fetch_add(1, Ordering::Relaxed);
    }
    // A thread whose locals are gone already ends a request all the same.
    NUMBER.try_with(|number| *number).unwrap_or_default()
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
