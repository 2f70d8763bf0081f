//! Lines on their way to a file: a bounded queue and one thread that writes what has come together.
//!
//! Workers never wait for a disk or a pipe. A record needs a place in the queue; without one it is counted as dropped,
//! or, where records are required, the request is refused before it is forwarded. A place is given back only when its
//! record is written, so what is reserved is bounded in memory and on its way.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use super::metrics::{Metrics, SinkMetrics};
use super::record::Record;

/// Records that may be on their way at once.
const PLACES: usize = 8192;
/// Records formatted before they are written.
const BATCH: usize = 1024;
/// How long the thread lets records come together.
const LINGER: Duration = Duration::from_millis(5);
/// How long it waits before it tries again to write what must not be lost.
const RETRY: Duration = Duration::from_secs(1);

/// No place in the queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("no room for another record")]
pub struct Full;

/// Where lines go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Destination {
    /// Standard output.
    Stdout,
    /// Standard error, where the program's log goes too.
    Stderr,
    /// Appended to this file, which is made if it is not there, readable by its owner and group.
    File(PathBuf),
}

impl Destination {
    /// Opens it for appending.
    ///
    /// # Errors
    /// The operating system's.
    pub(super) fn open(&self) -> io::Result<File> {
        match self {
            Self::Stdout => Ok(File::from(io::stdout().as_fd().try_clone_to_owned()?)),
            Self::Stderr => Ok(File::from(io::stderr().as_fd().try_clone_to_owned()?)),
            Self::File(path) => OpenOptions::new().append(true).create(true).mode(0o640).open(path),
        }
    }
}

/// A place in a writer's queue, given back when dropped.
#[derive(Debug)]
pub(super) struct Place(Arc<Shared>);

impl Drop for Place {
    fn drop(&mut self) {
        self.0.taken.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Writes a record as a line, newline included.
pub(super) type Format = Box<dyn Fn(&Record, &mut Vec<u8>) + Send>;

/// The sending side.
#[derive(Debug)]
pub(super) struct Writer {
    queue: SyncSender<Option<(Arc<Record>, Place)>>,
    shared: Arc<Shared>,
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
        let file = destination.open()?;
        // Beside records the queue carries wake-up calls; one that finds no room is not needed.
        let (queue, receiver) = sync_channel(PLACES + 16);
        let shared = Arc::new(Shared { metrics, counts, ..Shared::default() });
        lock(&shared.wishes).destination = Some(destination);
        let thread = Thread {
            receiver,
            shared: Arc::clone(&shared),
            format,
            file,
            batch: Batch::default(),
            torn: false,
            failing: false,
        };
        thread::Builder::new().name("records".to_owned()).spawn(move || thread.run())?;
        Ok(Self { queue, shared })
    }

    /// Takes a place in the queue.
    ///
    /// # Errors
    /// All are taken, or records that must not be lost cannot be written at the moment.
    pub(super) fn reserve(&self) -> Result<Place, Full> {
        if self.shared.stuck.load(Ordering::Relaxed) {
            return Err(Full);
        }
        let taken = self.shared.taken.fetch_add(1, Ordering::Relaxed);
        // Made before it is known to be one: dropping it takes the addition back.
        let place = Place(Arc::clone(&self.shared));
        if taken < PLACES { Ok(place) } else { Err(Full) }
    }

    /// Hands a record in; without a place of its own it takes one if there is one, else it is counted as dropped.
    pub(super) fn push(&self, record: Arc<Record>, place: Option<Place>) {
        let place = place.map_or_else(|| self.reserve(), Ok);
        let sent = place.map(|place| self.queue.try_send(Some((record, place))).is_ok());
        if sent != Ok(true) {
            self.shared.counts().dropped.one();
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
        let file = destination.open()?;
        self.wish(|wishes| {
            wishes.file = Some(file);
            wishes.destination = Some(destination);
        });
        Ok(())
    }

    /// Writes everything handed in so far and ends the thread; waits for that at most `patience`.
    pub(super) fn finish(&self, patience: Duration) {
        self.wish(|wishes| wishes.finish = true);
        let guard = lock(&self.shared.wishes);
        // Whether it was done or patience was over, there is nothing more to do.
        drop(self.shared.changed.wait_timeout_while(guard, patience, |wishes| !wishes.finished));
    }

    fn wish(&self, change: impl FnOnce(&mut Wishes)) {
        change(&mut lock(&self.shared.wishes));
        self.shared.changed.notify_all();
        // A full queue means that the thread is awake.
        let _ = self.queue.try_send(None);
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
    taken: AtomicUsize,
    stuck: AtomicBool,
    wishes: Mutex<Wishes>,
    changed: Condvar,
    metrics: Arc<Metrics>,
    counts: fn(&Metrics) -> &SinkMetrics,
}

impl Default for Shared {
    fn default() -> Self {
        Self {
            taken: AtomicUsize::new(0),
            stuck: AtomicBool::new(false),
            wishes: Mutex::default(),
            changed: Condvar::new(),
            metrics: Arc::default(),
            counts: |metrics| &metrics.audit,
        }
    }
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shared").field("taken", &self.taken).field("stuck", &self.stuck).finish_non_exhaustive()
    }
}

impl Shared {
    fn counts(&self) -> &SinkMetrics {
        (self.counts)(&self.metrics)
    }
}

/// What the thread is asked to do. Apart from the queue, because a full queue must not keep an operator's wish out.
#[derive(Default)]
struct Wishes {
    destination: Option<Destination>,
    file: Option<File>,
    keep: Keep,
    finish: bool,
    finished: bool,
}

/// Lines that were formatted and not yet written.
#[derive(Default)]
struct Batch {
    bytes: Vec<u8>,
    /// Where each line ends in `bytes`, with the place it gives back.
    lines: Vec<(usize, Place)>,
}

/// The writing side.
struct Thread {
    receiver: Receiver<Option<(Arc<Record>, Place)>>,
    shared: Arc<Shared>,
    format: Format,
    file: File,
    batch: Batch,
    /// The last write ended inside a line.
    torn: bool,
    /// The last write failed, and the log says so.
    failing: bool,
}

impl Thread {
    fn run(mut self) {
        while let Ok(first) = self.receiver.recv() {
            let idle = first.is_none();
            self.take(first);
            let finish = self.obey(if idle { Duration::ZERO } else { LINGER });
            while self.fill() {
                self.write();
            }
            if finish {
                break;
            }
        }
        let mut wishes = lock(&self.shared.wishes);
        wishes.finished = true;
        drop(wishes);
        self.shared.changed.notify_all();
    }

    /// Takes over what was wished for, after waiting for more records. Whether to finish.
    fn obey(&mut self, linger: Duration) -> bool {
        let wishes = lock(&self.shared.wishes);
        let waited = self.shared.changed.wait_timeout_while(wishes, linger, |wishes| !wishes.finish);
        let mut wishes = waited.unwrap_or_else(PoisonError::into_inner).0;
        if let Some(file) = wishes.file.take() {
            self.file = file;
            self.torn = false;
        }
        wishes.finish
    }

    /// Formats what is in the queue, one batch at most. Whether there is anything to write.
    fn fill(&mut self) -> bool {
        while self.batch.lines.len() < BATCH {
            let Ok(next) = self.receiver.try_recv() else { break };
            self.take(next);
        }
        !self.batch.lines.is_empty()
    }

    fn take(&mut self, message: Option<(Arc<Record>, Place)>) {
        if let Some((record, place)) = message {
            (self.format)(&record, &mut self.batch.bytes);
            self.batch.lines.push((self.batch.bytes.len(), place));
        }
    }

    /// Writes the batch. What a failing destination does not take is dropped, or tried again until it does.
    fn write(&mut self) {
        loop {
            let outcome = self.write_once();
            let counts = self.shared.counts();
            let Err(error) = outcome else {
                if std::mem::take(&mut self.failing) {
                    tracing::info!("records are written again");
                }
                self.shared.stuck.store(false, Ordering::Relaxed);
                return;
            };
            if !std::mem::replace(&mut self.failing, true) {
                tracing::error!(%error, waiting = self.batch.lines.len(), "records cannot be written");
            }
            let (keep, finish) = {
                let wishes = lock(&self.shared.wishes);
                (wishes.keep, wishes.finish)
            };
            if keep == Keep::No || finish {
                counts.failed.many(self.batch.lines.len() as u64);
                self.batch.lines.clear();
                self.batch.bytes.clear();
                self.shared.stuck.store(false, Ordering::Relaxed);
                return;
            }
            self.shared.stuck.store(true, Ordering::Relaxed);
            self.pause();
        }
    }

    /// Waits before the next attempt; an operator's wish ends the wait.
    fn pause(&mut self) {
        let wishes = lock(&self.shared.wishes);
        let wait = |wishes: &mut Wishes| wishes.file.is_none() && !wishes.finish && wishes.keep == Keep::Yes;
        let waited = self.shared.changed.wait_timeout_while(wishes, RETRY, wait);
        let mut wishes = waited.unwrap_or_else(PoisonError::into_inner).0;
        if let Some(file) = wishes.file.take() {
            self.file = file;
            self.torn = false;
        }
    }

    /// Writes as much as the destination takes, and forgets the lines that are out.
    fn write_once(&mut self) -> io::Result<()> {
        if self.torn {
            // Whoever reads the file loses the half line, and not the whole one behind it.
            self.file.write_all(b"\n")?;
            self.torn = false;
        }
        let (written, outcome) = write_counted(&mut self.file, &self.batch.bytes);
        let whole = self.batch.lines.partition_point(|(end, _)| *end <= written);
        let start = self.batch.lines.get(whole.wrapping_sub(1)).map_or(0, |(end, _)| *end);
        self.torn = written > start;
        self.shared.counts().written.many(whole as u64);
        self.batch.lines.drain(..whole);
        self.batch.bytes.drain(..start);
        self.batch.lines.iter_mut().for_each(|(end, _)| *end -= start);
        outcome
    }
}

/// Writes until all is written or something fails; how much was.
fn write_counted(out: &mut impl Write, bytes: &[u8]) -> (usize, io::Result<()>) {
    let mut written = 0;
    while let Some(rest) = bytes.get(written..).filter(|rest| !rest.is_empty()) {
        match out.write(rest) {
            Ok(0) => return (written, Err(io::ErrorKind::WriteZero.into())),
            Ok(count) => written += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return (written, Err(error)),
        }
    }
    (written, Ok(()))
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
