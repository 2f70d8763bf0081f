//! Keeps one issuer's keys: fetched in the background, at once for an unknown `kid`, the last good set kept while the
//! issuer is down (tokens.md, "Key sets").

use std::fmt;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwapOption;
use bytes::Bytes;
use tokio::sync::{Notify, watch};
use tokio::time::{Instant, sleep_until, timeout};
use tokio_util::sync::CancellationToken;

use super::keyset::{KeySet, KeySetError};
use super::schedule;
use crate::clock::Timestamp;
use crate::panics::contained;

/// How often an unknown `kid` may cause a fetch.
const BRAKE_SECONDS: i64 = 10;

/// How long a request waits for a fetch: the longest that one may take, and a little.
const LONGEST_WAIT: Duration = Duration::from_secs(6);

/// Where keys come from. A seam: tests of the schedule bring an issuer without a network.
pub trait Source: Send + Sync + fmt::Debug {
    /// Fetches the key set. The error is a text for the log and the admin surface.
    fn fetch(&self) -> Pin<Box<dyn Future<Output = Result<Published, String>> + Send + '_>>;

    /// Keeps the text of a good key set for the next start.
    fn keep(&self, published: Published, now: Timestamp) -> Pin<Box<dyn Future<Output = ()> + Send + '_>> {
        let _ = (published, now);
        Box::pin(std::future::ready(()))
    }
}

/// A key set as its issuer publishes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Published {
    /// Its text.
    pub text: Bytes,
    /// How long it may be kept, as the issuer says.
    pub max_age: Option<Duration>,
}

/// The keys of one issuer.
pub struct Keeper {
    name: Arc<str>,
    source: Option<Arc<dyn Source>>,
    max_stale: i64,
    clock: fn() -> Timestamp,
    held: ArcSwapOption<Held>,
    status: Mutex<Status>,
    finished: watch::Sender<u64>,
    wake: Notify,
    driver: tokio::sync::Mutex<()>,
}

/// A key set in force.
#[derive(Debug)]
pub struct Held {
    /// The keys.
    pub set: KeySet,
    /// When they were fetched, or read from their file.
    pub fetched_at: Timestamp,
}

/// What is known of the fetches. Guarded by one lock, which is never held over a wait.
#[derive(Debug, Default)]
struct Status {
    /// A fetch is under way, or has been asked for and will be at once.
    in_flight: bool,
    /// Somebody asked for a fetch that has not begun.
    wanted: bool,
    /// When an unknown `kid` last caused a fetch.
    asked_at: Option<Timestamp>,
    /// When the next fetch is due; `None` until the first.
    due: Option<Instant>,
    last_error: Option<String>,
    refreshes: u64,
    failures: u64,
    failures_in_a_row: u32,
}

/// What came of asking for newer keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Renewal {
    /// A fetch has ended, with or without keys: look again.
    Finished,
    /// There was a fetch for the same reason less than ten seconds ago, or there is nothing to fetch.
    Braked,
    /// The fetch takes longer than anyone should wait.
    Pending,
}

/// What is known of an issuer's keys, apart from the keys.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Report {
    /// What went wrong in the last fetch, if it failed.
    pub last_error: Option<String>,
    /// Fetches that succeeded.
    pub refreshes: u64,
    /// Fetches that failed.
    pub failures: u64,
}

impl fmt::Debug for Keeper {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Keeper").field("name", &self.name).field("source", &self.source).finish_non_exhaustive()
    }
}

impl Keeper {
    /// A keeper of keys that are fetched; `last_good` are those of an earlier configuration or run.
    pub fn fetching(
        name: Arc<str>,
        source: Arc<dyn Source>,
        max_stale: Duration,
        last_good: Option<Arc<Held>>,
    ) -> Self {
        let max_stale = i64::try_from(max_stale.as_secs()).unwrap_or(i64::MAX);
        Self::of(name, Some(source), max_stale, last_good)
    }

    /// A keeper of keys from a file, which are in force until the configuration is loaded again.
    pub fn fixed(name: Arc<str>, set: KeySet, now: Timestamp) -> Self {
        Self::of(name, None, i64::MAX, Some(Arc::new(Held { set, fetched_at: now })))
    }

    fn of(name: Arc<str>, source: Option<Arc<dyn Source>>, max_stale: i64, held: Option<Arc<Held>>) -> Self {
        Self {
            name,
            source,
            max_stale,
            clock: Timestamp::now,
            held: ArcSwapOption::new(held),
            status: Mutex::default(),
            finished: watch::Sender::new(0),
            wake: Notify::new(),
            driver: tokio::sync::Mutex::new(()),
        }
    }

    /// The same keeper reading the time elsewhere.
    #[must_use]
    pub fn with_clock(mut self, clock: fn() -> Timestamp) -> Self {
        self.clock = clock;
        self
    }

    /// The keys in force at `now`. Those last fetched longer ago than `keys.max_stale` are not.
    pub fn at(&self, now: Timestamp) -> Option<arc_swap::Guard<Option<Arc<Held>>>> {
        let held = self.held.load();
        let fresh = held.as_ref().is_some_and(|held| now <= held.fetched_at.plus(self.max_stale));
        fresh.then_some(held)
    }

    /// The number of the key set in force at `now`.
    pub fn generation(&self, now: Timestamp) -> Option<u64> {
        self.at(now)?.as_ref().map(|held| held.set.generation())
    }

    /// The keys last fetched, however old.
    pub fn last_good(&self) -> Option<Arc<Held>> {
        self.held.load_full()
    }

    /// Asks for newer keys because of a `kid` that nobody knows, and waits for them. However many ask, one fetch is in
    /// flight; those who ask meanwhile wait for that one.
    pub async fn renew(&self, now: Timestamp) -> Renewal {
        if self.source.is_none() {
            return Renewal::Braked;
        }
        let mut finished = self.finished.subscribe();
        if !self.ask(now) {
            return Renewal::Braked;
        }
        self.wake.notify_one();
        match timeout(LONGEST_WAIT, finished.changed()).await {
            Ok(Ok(())) => Renewal::Finished,
            Ok(Err(_)) | Err(_) => Renewal::Pending,
        }
    }

    /// Whether a fetch is on its way, perhaps because of this question.
    fn ask(&self, now: Timestamp) -> bool {
        let mut status = self.status();
        if status.in_flight {
            return true;
        }
        // A clock that was set back must not hold the brake for longer than it would be held anyway.
        let braked = status.asked_at.is_some_and(|asked| (asked.0.abs_diff(now.0)) < BRAKE_SECONDS.unsigned_abs());
        if !braked {
            status.asked_at = Some(now);
            status.in_flight = true;
            status.wanted = true;
        }
        !braked
    }

    /// Waits for the first fetch after the start, if it has not ended. `true`: it has ended meanwhile, look again.
    pub async fn first(&self) -> bool {
        let mut finished = self.finished.subscribe();
        if self.source.is_none() || *finished.borrow_and_update() > 0 {
            return false;
        }
        matches!(timeout(LONGEST_WAIT, finished.changed()).await, Ok(Ok(())))
    }

    /// Seconds until the next fetch, at least 1.
    pub fn retry_after(&self) -> u32 {
        let due = self.status().due;
        let left = due.map_or(Duration::ZERO, |due| due.saturating_duration_since(Instant::now()));
        u32::try_from(left.as_secs()).unwrap_or(u32::MAX).saturating_add(1)
    }

    /// What is known of the fetches.
    pub fn report(&self) -> Report {
        let status = self.status();
        Report { last_error: status.last_error.clone(), refreshes: status.refreshes, failures: status.failures }
    }

    /// Fetches whenever it is time or somebody asks, until told to stop. Keepers outlive configurations; of several
    /// drivers one drives and the others wait.
    pub async fn drive(self: Arc<Self>, stop: CancellationToken) {
        let Some(source) = self.source.clone() else { return };
        let drive = async {
            let _alone = self.driver.lock().await;
            self.take_over();
            loop {
                let due = self.status().due.unwrap_or_else(Instant::now);
                tokio::select! {
                    () = sleep_until(due) => {}
                    () = self.wake.notified() => if !self.status().wanted { continue },
                }
                self.attempt(source.as_ref()).await;
            }
        };
        tokio::select! {
            () = stop.cancelled() => {}
            () = drive => {}
        }
    }

    /// A driver that was stopped in the middle of a fetch leaves people waiting.
    fn take_over(&self) {
        let mut status = self.status();
        status.wanted = status.in_flight;
        if status.wanted {
            self.wake.notify_one();
        }
    }

    /// One fetch, whatever comes of it.
    async fn attempt(&self, source: &dyn Source) {
        self.begin();
        let fetched = async {
            let published = source.fetch().await?;
            KeySet::public(&published.text).map(|set| (set, published)).map_err(describe)
        };
        // A fetch that panics is one that failed: the next one is due as if it had.
        let outcome = contained(Box::pin(fetched)).await.unwrap_or_else(|panicked| Err(panicked.to_string()));
        let now = (self.clock)();
        let good = match outcome {
            Ok((set, published)) => {
                self.install(set, now);
                self.succeeded(published.max_age);
                Some(published)
            }
            Err(error) => {
                self.failed(error);
                None
            }
        };
        self.finished.send_modify(|count| *count += 1);
        // Nobody waits for the disk.
        if let Some(published) = good {
            source.keep(published, now).await;
        }
    }

    /// Fetches now, whatever the schedule says, and waits for it: for command lines that run no driver.
    pub async fn refresh(&self) {
        let Some(source) = &self.source else { return };
        if let Ok(_alone) = self.driver.try_lock() {
            self.attempt(source.as_ref()).await;
            return;
        }
        let mut finished = self.finished.subscribe();
        {
            let mut status = self.status();
            status.in_flight = true;
            status.wanted = true;
        }
        self.wake.notify_one();
        let _ = timeout(LONGEST_WAIT, finished.changed()).await;
    }

    fn begin(&self) {
        let mut status = self.status();
        status.in_flight = true;
        status.wanted = false;
    }

    fn install(&self, set: KeySet, now: Timestamp) {
        let previous = self.held.load_full();
        let set = set.following(previous.as_ref().map(|held| &held.set));
        let changed = previous.is_none_or(|previous| previous.set.generation() != set.generation());
        if changed {
            tracing::info!(issuer = %self.name, keys = set.ids().count(), "keys have changed");
            for key in set.skipped() {
                let id = key.id.as_deref().unwrap_or("");
                tracing::warn!(issuer = %self.name, kid = id, reason = %key.reason, "a key is not used");
            }
        }
        self.held.store(Some(Arc::new(Held { set, fetched_at: now })));
    }

    fn succeeded(&self, max_age: Option<Duration>) {
        let mut status = self.status();
        status.in_flight = false;
        status.refreshes += 1;
        status.failures_in_a_row = 0;
        status.last_error = None;
        status.due = Some(Instant::now() + schedule::after_success(max_age));
    }

    fn failed(&self, error: String) {
        let holding = self.at((self.clock)()).is_some();
        tracing::warn!(issuer = %self.name, %error, holding, "keys could not be fetched");
        let mut status = self.status();
        status.in_flight = false;
        status.failures += 1;
        status.failures_in_a_row = status.failures_in_a_row.saturating_add(1);
        status.last_error = Some(error);
        let pause = schedule::after_failure(status.failures_in_a_row, holding);
        status.due = Some(Instant::now() + pause);
    }

    /// A panic while the lock was held cannot leave the status worse than out of date.
    fn status(&self) -> MutexGuard<'_, Status> {
        self.status.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn describe(error: KeySetError) -> String {
    format!("the key set is not usable: {error}")
}

#[cfg(test)]
mod tests;
