//! The thread that writes to one destination.

use std::io;
use std::mem;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::{Duration, Instant};

use memchr::{memchr_iter, memrchr};

use super::destination::Open;
use super::shard::{Lines, Shard};
use super::{Keep, Shared, lock};
use crate::panics;

/// How long lines come together once one was written.
const LINGER: Duration = Duration::from_millis(200);
/// How long it takes until what must not be lost is tried again.
const RETRY: Duration = Duration::from_secs(1);

/// Bytes for which the buffer of all cores' lines keeps room while it is empty.
const KEPT_TOGETHER: usize = 1 << 20;

/// The writing side.
pub(super) struct Thread {
    shared: Arc<Shared>,
    open: Open,
    /// Taken out of each shard; empty but for a moment.
    taken: Vec<Lines>,
    batch: Batch,
    /// The last write ended inside a line.
    torn: bool,
    /// The last write failed, and the log says so.
    failing: bool,
}

/// Lines that are being written.
#[derive(Default)]
pub(super) struct Batch {
    pub(super) bytes: Vec<u8>,
    /// How many lines are in `bytes`.
    pub(super) lines: usize,
    /// For each shard the places that are given back when all is done.
    pub(super) places: Vec<usize>,
}

impl Thread {
    /// One that has not begun.
    pub(super) fn new(shared: Arc<Shared>, open: Open) -> Self {
        let taken = shared.shards().map(|_| Lines::default()).collect();
        Self { shared, open, taken, batch: Batch::default(), torn: false, failing: false }
    }

    /// Writes until somebody wishes for the end.
    pub(super) fn run(mut self) {
        while panics::caught(|| self.work()).is_err() {
            // Nobody knows how far the writing had come.
            self.fail();
            self.torn = true;
        }
        lock(&self.shared.wishes).finished = true;
        self.shared.finished.notify_all();
    }

    fn work(&mut self) {
        loop {
            // Asked first: what was handed in before that wish is collected after it.
            let finish = self.obey();
            if finish {
                self.shared.shards().for_each(Shard::close);
            }
            self.collect();
            let idle = self.batch.lines == 0;
            if !idle {
                self.write();
            }
            match (finish, idle) {
                (true, _) => return,
                // A wish, or many lines, end it early.
                (false, false) => thread::park_timeout(LINGER),
                (false, true) => self.sleep(),
            }
        }
    }

    /// Takes over what was wished for. Whether that is the end.
    fn obey(&mut self) -> bool {
        let mut wishes = lock(&self.shared.wishes);
        if let Some(open) = wishes.open.take() {
            self.open = open;
            self.torn = false;
        }
        wishes.finish
    }

    /// Sleeps until somebody wishes for something or hands a record in.
    fn sleep(&self) {
        self.shared.asleep.store(true, Ordering::Relaxed);
        // A worker that added a line before it is looked for here is seen; one that adds it afterwards sees that the
        // thread sleeps, because the shard's lock was in between.
        if self.shared.shards().all(Shard::is_empty) {
            thread::park();
        }
        self.shared.asleep.store(false, Ordering::Relaxed);
    }

    /// Takes all lines out of the shards.
    fn collect(&mut self) {
        for (shard, lines) in self.shared.shards().zip(&mut self.taken) {
            shard.exchange(lines);
        }
        self.batch.append(&mut self.taken);
    }

    /// Writes the batch. What a failing destination does not take is dropped, or tried again until it does.
    fn write(&mut self) {
        loop {
            let Err(error) = self.write_once() else {
                if mem::take(&mut self.failing) {
                    tracing::info!("records are written again");
                }
                return self.done();
            };
            if !mem::replace(&mut self.failing, true) {
                tracing::error!(%error, waiting = self.batch.lines, "records cannot be written");
            }
            let (keep, finish) = {
                let wishes = lock(&self.shared.wishes);
                (wishes.keep, wishes.finish)
            };
            if keep == Keep::No || finish {
                if finish {
                    tracing::error!(%error, lost = self.batch.lines, "records are lost");
                }
                return self.fail();
            }
            self.shared.stuck.store(true, Ordering::Relaxed);
            self.pause();
        }
    }

    /// Waits before the next attempt; an operator's wish ends the wait.
    fn pause(&mut self) {
        let until = Instant::now() + RETRY;
        loop {
            let mut wishes = lock(&self.shared.wishes);
            if let Some(open) = wishes.open.take() {
                self.open = open;
                self.torn = false;
                return;
            }
            let left = until.saturating_duration_since(Instant::now());
            if wishes.finish || wishes.keep == Keep::No || left.is_zero() {
                return;
            }
            drop(wishes);
            thread::park_timeout(left);
        }
    }

    /// Writes as much as the destination takes, and forgets the lines that are out.
    fn write_once(&mut self) -> io::Result<()> {
        if self.torn {
            // Whoever reads the file loses the half line, and not the whole one behind it.
            self.open.write(b"\n").1?;
            self.torn = false;
        }
        let (written, outcome) = self.open.write(&self.batch.bytes);
        let (lines, bytes) = self.batch.forget(written);
        self.shared.counts().written.many(lines as u64);
        self.torn = bytes < written;
        outcome
    }

    /// Gives up what is not written.
    fn fail(&mut self) {
        self.shared.counts().failed.many(self.batch.lines as u64);
        self.done();
    }

    /// Nothing of the batch is left to do.
    fn done(&mut self) {
        for (shard, places) in self.shared.shards().zip(self.batch.places.drain(..)) {
            if places > 0 {
                shard.give_back(places);
            }
        }
        self.batch.clear();
        self.shared.stuck.store(false, Ordering::Relaxed);
    }
}

impl Batch {
    /// Takes lines over, in the order in which their requests ended.
    pub(super) fn append(&mut self, taken: &mut [Lines]) {
        self.places.clear();
        self.places.extend(taken.iter().map(Lines::count));
        self.lines += self.places.iter().sum::<usize>();
        let mut filled = taken.iter_mut().filter(|lines| lines.count() > 0);
        if let (Some(only), None, true) = (filled.next(), filled.next(), self.bytes.is_empty()) {
            mem::swap(&mut self.bytes, &mut only.bytes);
        } else {
            self.merge(taken);
        }
        taken.iter_mut().for_each(Lines::clear);
    }

    fn merge(&mut self, taken: &[Lines]) {
        let mut queues: Vec<_> = taken.iter().map(|lines| lines.iter().peekable()).collect();
        loop {
            let heads = queues.iter_mut().filter_map(|queue| Some((queue.peek()?.0, queue)));
            let Some((_, queue)) = heads.min_by_key(|(ended, _)| *ended) else { return };
            if let Some((_, line)) = queue.next() {
                self.bytes.extend_from_slice(line);
            }
        }
    }

    /// Forgets the lines that are out as a whole when so many bytes are. How many lines and bytes these were.
    pub(super) fn forget(&mut self, written: usize) -> (usize, usize) {
        if written == self.bytes.len() {
            self.bytes.clear();
            return (mem::take(&mut self.lines), written);
        }
        let out = self.bytes.get(..written).unwrap_or_default();
        let bytes = memrchr(b'\n', out).map_or(0, |last| last + 1);
        let lines = memchr_iter(b'\n', out).count();
        self.bytes.drain(..bytes);
        self.lines = self.lines.saturating_sub(lines);
        (lines, bytes)
    }

    fn clear(&mut self) {
        self.bytes.clear();
        self.bytes.shrink_to(KEPT_TOGETHER);
        self.lines = 0;
    }
}
