//! Revocations on the disk: written before they are answered, read at the start and when other processes write.

use std::collections::HashSet;
use std::io::{self, Write};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use super::journal::{Found, Journal, JournalError, Line, Sink};
use super::target::{Id, Target};
use super::{GRACE, Revocation, Revocations, Writer, revocation_of};
use crate::clock::Timestamp;

/// How often other processes' revocations are looked for, and what could not be written is tried again.
const TICK: Duration = Duration::from_millis(250);

impl Revocations {
    /// Keeps the revocations in this directory from here on, and takes over those that are there. A directory that was
    /// named before goes on being written: the configuration that names another one may yet be refused.
    ///
    /// # Errors
    /// The file cannot be read, made or understood.
    pub fn keep_in(&self, directory: &Path) -> Result<(), JournalError> {
        let mut writer = self.writer();
        if writer.journals.iter().any(|journal| journal.directory() == directory) {
            return Ok(());
        }
        let before = self.len();
        let mut journal = Journal::open(directory, &mut Reading::of(self))?;
        if before > 0 || journal.is_stale(self.len() as u64) {
            self.rewrite(&mut journal)?;
        }
        writer.journals.push(journal);
        self.tell(&mut writer);
        Ok(())
    }

    /// Reads what other processes revoke, writes what could not be written, and tells streams what was not told at
    /// once, until `stop`.
    pub async fn follow(self: Arc<Self>, stop: CancellationToken) {
        let mut ticks = interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        while stop.run_until_cancelled(ticks.tick()).await.is_some() {
            if self.is_caught_up() {
                continue;
            }
            let revocations = Arc::clone(&self);
            // A panic over there has been reported over there; the next tick tries again.
            let _ = tokio::task::spawn_blocking(move || revocations.catch_up()).await;
        }
    }

    /// Whether there is nothing to read or write, nor to tell: without a file of theirs revocations are only in memory.
    fn is_caught_up(&self) -> bool {
        *self.told.borrow() == self.epoch() && self.writer.try_lock().is_ok_and(|writer| writer.journals.is_empty())
    }

    pub(super) fn catch_up(&self) {
        let mut writer = self.writer();
        let problem = if writer.journals.iter().any(Journal::is_behind) {
            self.save(&mut writer, &[]).err().map(|error| error.to_string())
        } else {
            None
        };
        if problem.is_some() && problem != writer.last_problem {
            tracing::error!(
                problem = problem.as_deref(),
                "revocations cannot be kept or read; those known stay in force"
            );
        }
        writer.last_problem = problem;
        if *self.told.borrow() != self.epoch() {
            self.tell(&mut writer);
        }
    }

    /// Reads what others have written, then writes this, everywhere. The last error is the one that is told.
    pub(super) fn save(&self, writer: &mut Writer, line: &[u8]) -> Result<(), JournalError> {
        let mut outcome = Ok(());
        for journal in &mut writer.journals {
            let appended = journal.append(line, &mut Reading::of(self));
            let gone = appended.as_ref().is_ok_and(|found| *found == Found::Gone);
            let rewritten = if gone || journal.is_stale(self.len() as u64) { self.rewrite(journal) } else { Ok(()) };
            outcome = appended.map(|_| ()).and(rewritten).and(outcome);
        }
        outcome
    }

    fn rewrite(&self, journal: &mut Journal) -> Result<(), JournalError> {
        let marks = self.marks().clone();
        let mut write = |out: &mut dyn Write| -> io::Result<()> {
            let mut outcome = Ok(());
            let mut put = |revocation: Option<Revocation>| {
                if let Some(revocation) = revocation.filter(|_| outcome.is_ok()) {
                    outcome = out.write_all(&line_of(&revocation, false).text());
                }
            };
            self.table.each(|entry| put(marks.get(entry.issuer as usize).and_then(|mark| revocation_of(mark, entry))));
            for mark in &marks {
                mark.before.load().iter().for_each(|before| put(Some(before.revocation(mark))));
            }
            outcome
        };
        journal.rewrite(&mut Reading::of(self), &mut write)
    }
}

pub(super) fn line_of(revocation: &Revocation, removed: bool) -> Line<'_> {
    Line {
        issuer: (&*revocation.issuer).into(),
        kind: revocation.target.word(),
        value: revocation.target.text(),
        at: revocation.at.0,
        until: revocation.until.map(|until| until.0),
        removed,
    }
}

/// Lines on their way into memory. What was taken back goes at the end, unless it was revoked again: while a file is
/// read a second time, nothing that it holds may be missing even for a moment.
struct Reading<'r> {
    revocations: &'r Revocations,
    now: Timestamp,
    taken_back: HashSet<Id>,
}

impl<'r> Reading<'r> {
    fn of(revocations: &'r Revocations) -> Self {
        Self { revocations, now: Timestamp::now(), taken_back: HashSet::new() }
    }
}

impl Sink for Reading<'_> {
    fn line(&mut self, line: &Line<'_>) -> bool {
        let Some(target) = Target::read(line.kind, &line.value) else { return false };
        let mark = self.revocations.mark(&line.issuer);
        let id = Id::of(&mark.url, &target);
        let until = line.until.map(Timestamp);
        if line.removed {
            self.taken_back.insert(id);
        } else {
            self.taken_back.remove(&id);
            if until.is_none_or(|until| until.plus(GRACE) >= self.now) {
                let issuer = Arc::clone(&mark.url);
                self.revocations.add(&mark, &Revocation { id, issuer, target, at: Timestamp(line.at), until });
            }
        }
        true
    }

    fn end(&mut self) {
        for id in self.taken_back.drain() {
            if let Some(found) = self.revocations.by_id(&id) {
                self.revocations.remove(&self.revocations.mark(&found.issuer), &found.target);
            }
        }
    }
}
