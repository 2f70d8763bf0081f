//! Tokens that are refused although everything about them holds (tokens.md, "revocation").
//!
//! Asked on every request, also of remembered tokens, and of everything that still streams when a revocation arrives.
//! An answer takes the time of a few look-ups, however many revocations there are.

pub mod journal;
mod keeping;
mod list;
mod order;
mod register;
mod table;
mod target;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use tokio::sync::watch;

use crate::clock::Timestamp;
use crate::principal::Principal;
use journal::{Journal, JournalError};
use keeping::line_of;
use table::{Added, Entry, Key, Table};

pub use list::{Page, Place};
pub use order::{Order, OrderError, Revoked};
pub use register::Register;
pub use target::{Id, NoId, Target};

/// The end of a revocation that has none.
const NEVER: Timestamp = Timestamp(i64::MAX);

/// Seconds that an entry stays after its end: a clock that was wrong for a while loses nothing.
const GRACE: i64 = 24 * 3600;

/// Least time between two calls to everything that streams: many revocations are told together.
const PAUSE: Duration = Duration::from_millis(100);

/// All revocations of this process, whatever configuration is in force.
#[derive(Debug)]
pub struct Revocations {
    table: Table,
    issuers: RwLock<Vec<Arc<Mark>>>,
    writer: Mutex<Writer>,
    /// Counts what was revoked.
    epoch: AtomicU64,
    told: watch::Sender<u64>,
}

/// What revocations know of an issuer.
#[derive(Debug)]
struct Mark {
    number: u32,
    url: Arc<str>,
    before: ArcSwap<Vec<Before>>,
}

/// Everything that was issued before a moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Before {
    moment: Timestamp,
    at: Timestamp,
    until: Timestamp,
}

/// What only one thread at a time does.
#[derive(Debug)]
struct Writer {
    /// One for every `state.directory` that a configuration of this process has named.
    journals: Vec<Journal>,
    told_at: Option<Instant>,
    swept_at: Timestamp,
    last_problem: Option<String>,
}

/// One revocation, for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Revocation {
    /// Its name.
    pub id: Id,
    /// The issuer's URL.
    pub issuer: Arc<str>,
    /// What is revoked.
    pub target: Target,
    /// Since when.
    pub at: Timestamp,
    /// The moment at which it ends by itself, if it does.
    pub until: Option<Timestamp>,
}

impl Revocations {
    /// None yet, and kept nowhere.
    pub fn new() -> Arc<Self> {
        Arc::new(Self {
            table: Table::new(),
            issuers: RwLock::default(),
            writer: Mutex::new(Writer {
                journals: Vec::new(),
                told_at: None,
                swept_at: Timestamp::now(),
                last_problem: None,
            }),
            epoch: AtomicU64::new(0),
            told: watch::Sender::new(0),
        })
    }

    /// Whether revocations survive the process.
    pub fn is_kept(&self) -> bool {
        !self.writer().journals.is_empty()
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        let before: usize = self.marks().iter().map(|mark| mark.before.load().len()).sum();
        self.table.len() + before
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Revokes. In force when this returns, and on the disk where it is to be kept unless an error comes beside it.
    fn revoke(&self, revocation: &Revocation) -> (Revocation, Added, Result<(), JournalError>) {
        let mut writer = self.writer();
        let mark = self.mark(&revocation.issuer);
        let added = self.add(&mark, revocation);
        if added != Added::Known {
            self.tell(&mut writer);
        }
        let held = self.find(&mark, &revocation.target).unwrap_or_else(|| revocation.clone());
        let saved = self.save(&mut writer, &line_of(&held, false).text());
        // Another process may have taken the same back, and that was read just now; this order came later.
        self.add(&mark, &held);
        self.sweep(&mut writer, Timestamp::now());
        (held, added, saved)
    }

    /// Takes a revocation back. `None`: there is none of this name.
    ///
    /// # Errors
    /// It cannot be kept that it was taken back: it stays in force.
    pub fn take_back(&self, id: &Id) -> Result<Option<Revocation>, JournalError> {
        let mut writer = self.writer();
        let Some(found) = self.by_id(id) else { return Ok(None) };
        let line = line_of(&found, true).text();
        if let Err(error) = self.save(&mut writer, &line) {
            writer.journals.iter_mut().for_each(|journal| journal.owe_less(&line));
            return Err(error);
        }
        self.remove(&self.mark(&found.issuer), &found.target);
        Ok(Some(found))
    }

    fn tell(&self, writer: &mut Writer) {
        let now = Instant::now();
        if writer.told_at.is_none_or(|told| now.duration_since(told) >= PAUSE) {
            writer.told_at = Some(now);
            self.told.send_replace(self.epoch());
        }
    }

    /// Forgets what ended long ago, at most once an hour.
    fn sweep(&self, writer: &mut Writer, now: Timestamp) {
        if now < writer.swept_at.plus(3600) {
            return;
        }
        writer.swept_at = now;
        let then = now.plus(-GRACE);
        self.table.forget_ended(then);
        for mark in self.marks().iter() {
            mark.change(|before| before.retain(|before| before.until >= then));
        }
    }

    fn epoch(&self) -> u64 {
        self.epoch.load(Ordering::Acquire)
    }

    fn add(&self, mark: &Mark, revocation: &Revocation) -> Added {
        let (at, until) = (revocation.at, revocation.until.unwrap_or(NEVER));
        let added = match (revocation.target.key(mark.number), &revocation.target) {
            (Some(Key { kind, issuer, value }), _) => {
                let id = revocation.id.half();
                self.table.add(Entry { until, at, id, value: value.into(), issuer, kind })
            }
            (None, Target::IssuedBefore(moment)) => mark.add(Before { moment: *moment, at, until }),
            (None, _) => Added::Known,
        };
        if added != Added::Known {
            self.epoch.fetch_add(1, Ordering::Release);
        }
        added
    }

    fn remove(&self, mark: &Mark, target: &Target) {
        match (target.key(mark.number), target) {
            (Some(key), _) => {
                self.table.remove(key);
            }
            (None, Target::IssuedBefore(moment)) => mark.change(|all| all.retain(|before| before.moment != *moment)),
            (None, _) => {}
        }
    }

    fn find(&self, mark: &Arc<Mark>, target: &Target) -> Option<Revocation> {
        match (target.key(mark.number), target) {
            (Some(key), _) => revocation_of(mark, &self.table.find(key)?),
            (None, Target::IssuedBefore(moment)) => {
                mark.before.load().iter().find(|before| before.moment == *moment).map(|before| before.revocation(mark))
            }
            (None, _) => None,
        }
    }

    /// The mark of the issuer with this URL, which is made if there is none.
    fn mark(&self, url: &str) -> Arc<Mark> {
        if let Some(mark) = self.marks().iter().find(|mark| *mark.url == *url) {
            return Arc::clone(mark);
        }
        let mut marks = self.issuers.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(mark) = marks.iter().find(|mark| *mark.url == *url) {
            return Arc::clone(mark);
        }
        let number = u32::try_from(marks.len()).unwrap_or(u32::MAX);
        let mark = Arc::new(Mark { number, url: url.into(), before: ArcSwap::default() });
        marks.push(Arc::clone(&mark));
        mark
    }

    fn marks(&self) -> std::sync::RwLockReadGuard<'_, Vec<Arc<Mark>>> {
        self.issuers.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn writer(&self) -> MutexGuard<'_, Writer> {
        self.writer.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Mark {
    fn add(&self, before: Before) -> Added {
        let mut added = Added::New;
        self.change(|all| match all.iter_mut().find(|other| other.moment == before.moment) {
            Some(known) if known.until >= before.until => added = Added::Known,
            Some(known) => (known.until, added) = (before.until, Added::Extended),
            None => all.push(before),
        });
        added
    }

    /// To be called by the writer only.
    fn change(&self, change: impl FnOnce(&mut Vec<Before>)) {
        let mut all = Vec::clone(&self.before.load());
        change(&mut all);
        self.before.store(Arc::new(all));
    }

    fn refuses(&self, principal: &Principal, now: Timestamp) -> bool {
        let refuses = |before: &Before| now < before.until && before.includes(principal);
        self.before.load().iter().any(refuses)
    }
}

impl Before {
    /// Whether the token was issued before, or does not say. The principal's moment is rounded up; a token that says
    /// a fraction of the second before was issued before all the same.
    fn includes(&self, principal: &Principal) -> bool {
        let Some(issued) = principal.issued_at else { return true };
        let fraction = || principal.claims.get("iat").is_some_and(|claim| !claim.is_i64());
        issued < self.moment || (issued == self.moment && fraction())
    }

    fn revocation(&self, mark: &Mark) -> Revocation {
        let target = Target::IssuedBefore(self.moment);
        Revocation {
            id: Id::of(&mark.url, &target),
            issuer: Arc::clone(&mark.url),
            target,
            at: self.at,
            until: Some(self.until).filter(|until| *until != NEVER),
        }
    }
}

fn revocation_of(mark: &Mark, entry: &Entry) -> Option<Revocation> {
    let target = Target::of(entry.key())?;
    let until = Some(entry.until).filter(|until| *until != NEVER);
    Some(Revocation { id: Id::of(&mark.url, &target), issuer: Arc::clone(&mark.url), target, at: entry.at, until })
}

#[cfg(test)]
mod tests;
