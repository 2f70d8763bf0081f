//! The lines of one core, between the worker that formats them and the thread that writes them.

use std::mem;
use std::sync::Mutex;
use std::time::Instant;

use super::{Full, lock};
use crate::panics;

/// Records that may be on their way at once, and at least so many for each core.
const PLACES: usize = 16 << 10;
const PLACES_OF_A_CORE: usize = 1024;
/// Bytes of lines that may wait, and at least so many for each core.
const BYTES: usize = 16 << 20;
const BYTES_OF_A_CORE: usize = 2 << 20;
/// Bytes that are worth writing although others might join them.
const MANY_BYTES: usize = 128 << 10;
/// Bytes for which a buffer keeps room while it is empty.
const KEPT: usize = 2 * MANY_BYTES;
/// Lines for which it does.
const KEPT_LINES: usize = 1024;

/// What a shard may hold.
#[derive(Debug, Clone, Copy)]
struct Bounds {
    places: usize,
    bytes: usize,
}

/// What one core has formatted. The lock is free in practice: its core's worker is the only one who adds, and the writing
/// thread holds it only to exchange the buffer. Apart from other shards by more than a cache line, which would travel.
#[repr(align(128))]
pub(super) struct Shard {
    filling: Mutex<Filling>,
    bounds: Bounds,
}

#[derive(Default)]
struct Filling {
    lines: Lines,
    /// Places that are taken: by these lines, by those that are being written, and by requests under way.
    taken: usize,
    /// Nobody takes lines out any more.
    closed: bool,
}

/// Lines, one behind the other.
#[derive(Default)]
pub(super) struct Lines {
    pub(super) bytes: Vec<u8>,
    /// For each line when its request ended, and where it ends itself.
    ends: Vec<(Instant, usize)>,
}

/// Whether a record has its place already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Claim {
    /// It takes one if there is one.
    Fresh,
    /// It was reserved.
    Reserved,
}

/// What became of a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Added {
    /// There was no place.
    Refused,
    /// Formatting it panicked.
    Unformatted,
    /// It is there, and may be the first.
    Some,
    /// It is there, and they are so many by now that they should be written.
    Many,
}

impl Shard {
    /// One of so many.
    pub(super) fn of(shards: usize) -> Self {
        let bounds = Bounds {
            places: (PLACES / shards.max(1)).max(PLACES_OF_A_CORE),
            bytes: (BYTES / shards.max(1)).max(BYTES_OF_A_CORE),
        };
        Self { filling: Mutex::default(), bounds }
    }

    /// Takes a place.
    ///
    /// # Errors
    /// All are taken.
    pub(super) fn reserve(&self) -> Result<(), Full> {
        let mut filling = lock(&self.filling);
        if filling.is_full(&self.bounds) {
            return Err(Full);
        }
        filling.taken += 1;
        Ok(())
    }

    /// Gives places back.
    pub(super) fn give_back(&self, places: usize) {
        let mut filling = lock(&self.filling);
        filling.taken = filling.taken.saturating_sub(places);
    }

    /// Formats a line behind the others, which takes a place. The one that was reserved is given back by who has it.
    pub(super) fn add(&self, ended: Instant, claim: Claim, format: impl FnOnce(&mut Vec<u8>)) -> Added {
        let mut filling = lock(&self.filling);
        let room = claim == Claim::Reserved || !filling.is_full(&self.bounds);
        if filling.closed || !room {
            return Added::Refused;
        }
        let Lines { bytes, ends } = &mut filling.lines;
        let before = bytes.len();
        if panics::caught(|| format(bytes)).is_err() {
            // One record that cannot be told does not cost the others theirs.
            bytes.truncate(before);
            return Added::Unformatted;
        }
        ends.push((ended, bytes.len()));
        let many = before < MANY_BYTES && bytes.len() >= MANY_BYTES || ends.len() == self.bounds.places / 2;
        filling.taken += 1;
        if many { Added::Many } else { Added::Some }
    }

    /// Whether nothing waits to be written.
    pub(super) fn is_empty(&self) -> bool {
        lock(&self.filling).lines.ends.is_empty()
    }

    /// Exchanges the lines for empty ones.
    pub(super) fn exchange(&self, lines: &mut Lines) {
        mem::swap(&mut lock(&self.filling).lines, lines);
    }

    /// Takes no more lines.
    pub(super) fn close(&self) {
        lock(&self.filling).closed = true;
    }

    /// Places that are taken, and how many there are.
    #[cfg(test)]
    pub(super) fn places(&self) -> (usize, usize) {
        (lock(&self.filling).taken, self.bounds.places)
    }
}

impl Filling {
    fn is_full(&self, bounds: &Bounds) -> bool {
        self.closed || self.taken >= bounds.places || self.lines.bytes.len() >= bounds.bytes
    }
}

impl Lines {
    /// How many there are.
    pub(super) fn count(&self) -> usize {
        self.ends.len()
    }

    /// Each with the moment when its request ended.
    pub(super) fn iter(&self) -> impl Iterator<Item = (Instant, &[u8])> {
        let begins = std::iter::once(0).chain(self.ends.iter().map(|(_, end)| *end));
        begins.zip(&self.ends).map(|(begin, (ended, end))| (*ended, self.bytes.get(begin..*end).unwrap_or_default()))
    }

    /// Forgets them. What a buffer had to grow to once, it does not keep.
    pub(super) fn clear(&mut self) {
        self.bytes.clear();
        self.bytes.shrink_to(KEPT);
        self.ends.clear();
        self.ends.shrink_to(KEPT_LINES);
    }
}
