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
use crate::panics;

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
        while panics::caught(|| self.work()).is_err() {
            // Nobody knows how far the writing had come.
            self.shared.counts().failed.many(self.batch.lines.len() as u64);
            self.batch = Batch::default();
            self.torn = true;
        }
        let mut wishes = lock(&self.shared.wishes);
        wishes.finished = true;
        drop(wishes);
        self.shared.changed.notify_all();
    }

    /// Writes until somebody wishes for the end, or nobody is left to hand records in.
    fn work(&mut self) {
        while let Ok(first) = self.receiver.recv() {
            let idle = first.is_none();
            self.take(first);
            self.obey(if idle { Duration::ZERO } else { LINGER });
            self.empty();
            // Asked last: whoever wishes for the end says so before the wake-up call, which may just have been taken.
            if lock(&self.shared.wishes).finish {
                // Records may have come since the queue was empty, before that wish.
                self.empty();
                break;
            }
        }
    }

    /// Takes over what was wished for, after waiting for more records.
    fn obey(&mut self, linger: Duration) {
        let wishes = lock(&self.shared.wishes);
        let waited = self.shared.changed.wait_timeout_while(wishes, linger, |wishes| !wishes.finish);
        let mut wishes = waited.unwrap_or_else(PoisonError::into_inner).0;
        if let Some(file) = wishes.file.take() {
            self.file = file;
            self.torn = false;
        }
    }

    /// Writes what is in the queue.
    fn empty(&mut self) {
        while self.fill() {
            self.write();
        }
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
        let Some((record, place)) = message else { return };
        let before = self.batch.bytes.len();
        let formatted = panics::caught(|| (self.format)(&record, &mut self.batch.bytes));
        if formatted.is_err() {
            // One record that cannot be told does not cost the others theirs.
            self.batch.bytes.truncate(before);
            return self.shared.counts().failed.one();
        }
        self.batch.lines.push((self.batch.bytes.len(), place));
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
                if finish {
                    tracing::error!(%error, lost = self.batch.lines.len(), "records are lost");
                }
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
        let whole = self.batch.whole_lines(written);
        self.shared.counts().written.many(whole as u64);
        self.torn = self.batch.forget(whole) < written;
        outcome
    }
}

impl Batch {
    /// How many lines end within the first `written` bytes.
    fn whole_lines(&self, written: usize) -> usize {
        self.lines.partition_point(|(end, _)| *end <= written)
    }

    /// Forgets the first lines, giving their places back. How many bytes they were.
    fn forget(&mut self, lines: usize) -> usize {
        let bytes = self.lines.drain(..lines).next_back().map_or(0, |(end, _)| end);
        self.bytes.drain(..bytes);
        self.lines.iter_mut().for_each(|(end, _)| *end -= bytes);
        bytes
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

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;
    use std::time::Instant;

    use http::{Method, Version};

    use super::*;

    const PATIENCE: Duration = Duration::from_secs(20);

    fn writer(path: &Path) -> (Writer, Arc<Metrics>) {
        let metrics = Arc::new(Metrics::default());
        let format: Format =
            Box::new(|record, out| out.extend_from_slice(format!("{}\n", record.request_bytes).as_bytes()));
        let destination = Destination::File(path.to_owned());
        (Writer::start(destination, format, Arc::clone(&metrics), |all| &all.audit).unwrap(), metrics)
    }

    fn record(number: u64) -> Arc<Record> {
        Arc::new(Record { request_bytes: number, ..Record::start(Method::GET, Version::HTTP_11) })
    }

    fn until(what: impl Fn() -> bool) {
        let start = Instant::now();
        while !what() {
            assert!(start.elapsed() < PATIENCE, "it never happens");
            thread::yield_now();
        }
    }

    #[test]
    fn records_are_written_in_order_and_all_of_them() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("log");
        let (writer, metrics) = writer(&path);
        (0..5000).for_each(|n| writer.push(record(n), None));
        writer.finish(PATIENCE);
        let written = fs::read_to_string(&path).unwrap();
        assert!(written.ends_with('\n'));
        assert_eq!(
            written.lines().map(|line| line.parse::<u64>().unwrap()).collect::<Vec<_>>(),
            (0..5000).collect::<Vec<_>>()
        );
        assert_eq!(metrics.audit.written.value(), 5000);
        assert_eq!(writer.shared.taken.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn a_record_whose_line_cannot_be_made_costs_no_other_its_own() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("log");
        let metrics = Arc::new(Metrics::default());
        let format: Format = Box::new(|record, out| {
            out.extend_from_slice(format!("{}", record.request_bytes).as_bytes());
            assert_ne!(record.request_bytes, 2, "this one ends in the middle of its line");
            out.push(b'\n');
        });
        let destination = Destination::File(path.clone());
        let writer = Writer::start(destination, format, Arc::clone(&metrics), |all| &all.audit).unwrap();
        (0..5).for_each(|n| writer.push(record(n), None));
        writer.finish(PATIENCE);
        assert_eq!(fs::read_to_string(&path).unwrap(), "0\n1\n3\n4\n");
        assert_eq!((metrics.audit.written.value(), metrics.audit.failed.value()), (4, 1));
        assert_eq!(writer.shared.taken.load(Ordering::Relaxed), 0, "its place is free again");
    }

    #[test]
    fn a_record_that_finds_no_place_is_counted() {
        let directory = tempfile::tempdir().unwrap();
        let (writer, metrics) = writer(&directory.path().join("log"));
        let mut places: Vec<_> = (0..PLACES).map(|_| writer.reserve().unwrap()).collect();
        assert_eq!(writer.reserve().err(), Some(Full));
        writer.push(record(1), None);
        assert_eq!(metrics.audit.dropped.value(), 1);
        // What was reserved is always taken, and a place given back is there for somebody else.
        writer.push(record(2), places.pop());
        until(|| metrics.audit.written.value() == 1);
        until(|| writer.reserve().is_ok());
        assert_eq!(metrics.audit.dropped.value(), 1);
    }

    #[test]
    fn a_renamed_file_is_reopened_under_its_name() {
        let directory = tempfile::tempdir().unwrap();
        let (path, old) = (directory.path().join("log"), directory.path().join("log.1"));
        let (writer, metrics) = writer(&path);
        writer.push(record(1), None);
        until(|| metrics.audit.written.value() == 1);
        fs::rename(&path, &old).unwrap();
        writer.push(record(2), None);
        until(|| metrics.audit.written.value() == 2);
        writer.reopen(None).unwrap();
        writer.push(record(3), None);
        writer.finish(PATIENCE);
        assert_eq!(fs::read_to_string(&old).unwrap(), "1\n2\n");
        assert_eq!(fs::read_to_string(&path).unwrap(), "3\n");
    }

    #[test]
    fn a_destination_that_cannot_be_opened_leaves_the_old_one_in_use() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("log");
        let (writer, _) = writer(&path);
        let missing = Destination::File(directory.path().join("no/such/directory"));
        assert!(writer.reopen(Some(missing)).is_err());
        writer.push(record(1), None);
        writer.finish(PATIENCE);
        assert_eq!(fs::read_to_string(&path).unwrap(), "1\n");
    }

    #[test]
    fn what_a_full_disk_does_not_take_is_counted() {
        let (writer, metrics) = writer(Path::new("/dev/full"));
        writer.push(record(1), None);
        until(|| metrics.audit.failed.value() == 1);
        assert!(writer.reserve().is_ok());
        writer.push(record(2), None);
        writer.finish(PATIENCE);
        assert_eq!(metrics.audit.failed.value(), 2);
        assert_eq!(metrics.audit.written.value(), 0);
    }

    #[test]
    fn what_must_not_be_lost_waits_for_a_disk_and_nobody_gets_a_place_meanwhile() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("log");
        let (writer, metrics) = writer(Path::new("/dev/full"));
        writer.keep_on_failure(Keep::Yes);
        writer.push(record(1), None);
        until(|| writer.reserve().is_err());
        writer.push(record(2), None);
        assert_eq!(metrics.audit.dropped.value(), 1);
        writer.reopen(Some(Destination::File(path.clone()))).unwrap();
        until(|| writer.reserve().is_ok());
        writer.push(record(3), None);
        writer.finish(PATIENCE);
        assert_eq!(fs::read_to_string(&path).unwrap(), "1\n3\n");
        assert_eq!(metrics.audit.failed.value(), 0);
    }

    #[test]
    fn finishing_does_not_wait_for_a_full_disk() {
        let (writer, metrics) = writer(Path::new("/dev/full"));
        writer.keep_on_failure(Keep::Yes);
        writer.push(record(1), None);
        until(|| writer.reserve().is_err());
        writer.finish(PATIENCE);
        assert_eq!(metrics.audit.failed.value(), 1);
    }

    /// Takes a few bytes, then fails.
    struct Short(usize);

    impl Write for Short {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let taken = bytes.len().min(self.0).min(3);
            self.0 -= taken;
            if taken == 0 { Err(io::ErrorKind::StorageFull.into()) } else { Ok(taken) }
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn only_lines_that_are_out_as_a_whole_are_forgotten() {
        let shared = Arc::new(Shared::default());
        let place = || Place(Arc::clone(&shared));
        shared.taken.store(3, Ordering::Relaxed);
        let lines = vec![(4, place()), (8, place()), (12, place())];
        let mut batch = Batch { bytes: b"one\ntwo\nsix\n".to_vec(), lines };
        let (written, outcome) = write_counted(&mut Short(6), &batch.bytes);
        assert_eq!((written, outcome.unwrap_err().kind()), (6, io::ErrorKind::StorageFull));
        assert_eq!(batch.whole_lines(written), 1);
        assert_eq!(batch.forget(1), 4);
        assert_eq!(batch.bytes, b"two\nsix\n");
        assert_eq!(batch.lines.iter().map(|(end, _)| *end).collect::<Vec<_>>(), [4, 8]);
        assert_eq!(shared.taken.load(Ordering::Relaxed), 2);
    }
}
