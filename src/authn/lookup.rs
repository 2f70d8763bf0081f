//! What an issuer says of single tokens when it is asked, remembered for a while: introspection and userinfo (tokens.md,
//! "Opaque tokens and userinfo").
//!
//! A room belongs to one issuer under one configuration. When either changes there is another room, and nothing that was
//! said in the old one counts.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use aws_lc_rs::digest::{SHA256, digest};
use quick_cache::sync::{Cache, DefaultLifecycle};
use quick_cache::{DefaultHashBuilder, OptionsBuilder, Weighter};
use thiserror::Error;
use tokio::runtime::Handle;
use tokio::sync::{Semaphore, watch};
use tokio::time::{Instant, timeout};

use super::fetch;
use crate::clock::Timestamp;

/// Calls of one room under way at once. A token that is slow to be answered holds one place; there are others.
const MOST_CALLS: usize = 64;

/// Tokens of one room that are being asked about or wait for their turn.
const MOST_FLIGHTS: usize = 1024;

/// Answers of one room, however small.
const MOST_ANSWERS: u64 = 100_000;

/// How long a question waits for its turn.
const LONGEST_QUEUE: Duration = Duration::from_secs(1);

/// How long a request waits: for its turn, for the answer, and a little.
const LONGEST_WAIT: Duration = Duration::from_secs(7);

/// Seconds for which a failure is not asked after again.
const FAILURE_KEPT: i64 = 1;

/// Seconds by which requests that run at the same time may differ about what time it is.
const SIMULTANEOUS: i64 = 60;

/// How often a failing endpoint is written about.
const LOG_EVERY: Duration = Duration::from_secs(10);

/// The whole token in 32 bytes. Answers are remembered without the token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct TokenDigest(pub [u8; 32]);

impl TokenDigest {
    /// SHA-256 of the token, signature included.
    pub fn of(token: &str) -> Self {
        let mut bytes = [0; 32];
        bytes.copy_from_slice(digest(&SHA256, token.as_bytes()).as_ref());
        Self(bytes)
    }
}

/// What came of one call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Said<A> {
    /// The answer.
    pub answer: A,
    /// The first moment at which it does not count any more.
    pub until: Timestamp,
    /// Bytes that it takes in memory.
    pub bytes: usize,
}

/// Why nothing is known of a token.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Unanswered {
    /// The call failed; the text is for the log and the admin surface.
    #[error("{0}")]
    Failed(Arc<str>),
    /// More tokens are asked about than anybody can answer, or the answer takes longer than anyone should wait.
    #[error("too many tokens wait for an answer")]
    Crowded,
}

type Outcome<A> = Result<A, Unanswered>;
type Flights<A> = HashMap<TokenDigest, watch::Sender<Option<Outcome<A>>>>;

/// The answers of one endpoint of one issuer.
pub struct Lookups<A> {
    /// Whose endpoint, and which: for the log.
    issuer: Arc<str>,
    endpoint: &'static str,
    kept: Option<Cache<TokenDigest, Arc<Kept<A>>, ByWeight>>,
    least: u64,
    flights: Mutex<Flights<A>>,
    turns: Semaphore,
    home: Mutex<Option<Handle>>,
    tally: Mutex<Log>,
}

/// An answer, or a failure that is shared for a moment.
struct Kept<A> {
    outcome: Outcome<A>,
    asked: Timestamp,
    until: Timestamp,
    weight: u64,
}

#[derive(Clone)]
struct ByWeight;

impl<A> Weighter<TokenDigest, Arc<Kept<A>>> for ByWeight {
    fn weight(&self, _: &TokenDigest, kept: &Arc<Kept<A>>) -> u64 {
        kept.weight
    }
}

/// How the endpoint did.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Tally {
    /// Calls that were answered.
    pub answers: u64,
    /// Calls that failed.
    pub failures: u64,
    /// What went wrong, if the last call failed.
    pub last_error: Option<Arc<str>>,
}

#[derive(Debug, Default)]
struct Log {
    tally: Tally,
    written: Option<Instant>,
}

impl<A> fmt::Debug for Lookups<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lookups")
            .field("issuer", &self.issuer)
            .field("endpoint", &self.endpoint)
            .finish_non_exhaustive()
    }
}

impl<A: Clone + Send + Sync + 'static> Lookups<A> {
    /// An empty room for so many bytes of answers. Too few for a handful remember nothing.
    pub fn new(issuer: Arc<str>, endpoint: &'static str, bytes: usize) -> Self {
        let capacity = bytes as u64;
        let estimated = usize::try_from((capacity / 2048).min(MOST_ANSWERS)).unwrap_or(0);
        let options = OptionsBuilder::new().estimated_items_capacity(estimated).weight_capacity(capacity).build();
        let kept = options.ok().filter(|_| estimated >= 32).map(|options| {
            Cache::with_options(options, ByWeight, DefaultHashBuilder::default(), DefaultLifecycle::default())
        });
        Self {
            issuer,
            endpoint,
            kept,
            // Every answer weighs at least this, which bounds their number as well as their bytes.
            least: (capacity / MOST_ANSWERS).max(1),
            flights: Mutex::default(),
            turns: Semaphore::new(MOST_CALLS),
            home: Mutex::default(),
            tally: Mutex::default(),
        }
    }

    /// Makes calls on this runtime from here on. Without a home they are made where the first who asks is.
    pub fn settle(&self, home: Handle) {
        *locked(&self.home) = Some(home);
    }

    /// What is known of a token at `now` without asking.
    pub fn remembered(&self, token: &TokenDigest, now: Timestamp) -> Option<Outcome<A>> {
        let kept = self.kept.as_ref()?.get(token)?;
        // A clock that was set back must not make an answer live longer.
        let lived = now < kept.until && kept.asked <= now.plus(SIMULTANEOUS);
        lived.then(|| kept.outcome.clone())
    }

    /// What the endpoint says of a token. However many ask at once, `call` is made by one of them and shared by all, even
    /// if the one who caused it goes away. Its answer counts from `now` on.
    ///
    /// # Errors
    /// [`Unanswered`], which is remembered for a second at most.
    pub async fn ask<F>(
        self: &Arc<Self>,
        token: TokenDigest,
        now: Timestamp,
        call: impl FnOnce() -> F,
    ) -> Result<A, Unanswered>
    where
        F: Future<Output = Result<Said<A>, String>> + Send + 'static,
    {
        if let Some(outcome) = self.remembered(&token, now) {
            return outcome;
        }
        let mut answer = match self.board(token, now)? {
            Boarded::Kept(outcome) => return outcome,
            Boarded::Passenger(answer) => answer,
            Boarded::Pilot(flight, answer) => {
                let home = locked(&self.home).clone().or_else(|| Handle::try_current().ok());
                let home = home.ok_or(Unanswered::Crowded)?;
                home.spawn(flight.fly(now, call()));
                answer
            }
        };
        match timeout(LONGEST_WAIT, answer.wait_for(Option::is_some)).await {
            Ok(Ok(outcome)) => outcome.clone().unwrap_or(Err(Unanswered::Crowded)),
            Ok(Err(_)) | Err(_) => Err(Unanswered::Crowded),
        }
    }

    /// Joins the call that is under way for a token, or begins one.
    fn board(self: &Arc<Self>, token: TokenDigest, now: Timestamp) -> Result<Boarded<A>, Unanswered> {
        let mut flights = locked(&self.flights);
        if let Some(flight) = flights.get(&token) {
            return Ok(Boarded::Passenger(flight.subscribe()));
        }
        // A call ends by keeping its answer and then leaving the list, so that what is on neither has not been asked.
        if let Some(outcome) = self.remembered(&token, now) {
            return Ok(Boarded::Kept(outcome));
        }
        if flights.len() >= MOST_FLIGHTS {
            return Err(Unanswered::Crowded);
        }
        let (sender, answer) = watch::channel(None);
        flights.insert(token, sender.clone());
        Ok(Boarded::Pilot(Flight { room: Arc::clone(self), token, answer: sender, listed: true }, answer))
    }

    fn keep(&self, token: TokenDigest, outcome: Outcome<A>, [asked, until]: [Timestamp; 2], bytes: usize) {
        let Some(cache) = &self.kept else { return };
        let weight = ((bytes + size_of::<Kept<A>>() + 128) as u64).max(self.least);
        cache.insert(token, Arc::new(Kept { outcome, asked, until, weight }));
    }

    /// How the endpoint did.
    pub fn tally(&self) -> Tally {
        locked(&self.tally).tally.clone()
    }

    fn answered(&self) {
        let mut log = locked(&self.tally);
        log.tally.answers += 1;
        log.tally.last_error = None;
    }

    fn failed(&self, error: &Arc<str>) {
        let mut log = locked(&self.tally);
        log.tally.failures += 1;
        let first = log.tally.last_error.replace(Arc::clone(error)).is_none();
        let now = Instant::now();
        if first || log.written.is_none_or(|written| now.saturating_duration_since(written) >= LOG_EVERY) {
            log.written = Some(now);
            tracing::warn!(issuer = %self.issuer, endpoint = self.endpoint, %error, "the issuer gives no usable answer");
        }
    }
}

/// How somebody takes part in a call.
enum Boarded<A> {
    /// It ended a moment ago.
    Kept(Outcome<A>),
    /// Somebody else makes it.
    Passenger(watch::Receiver<Option<Outcome<A>>>),
    /// It is to be made.
    Pilot(Flight<A>, watch::Receiver<Option<Outcome<A>>>),
}

/// A call under way. Whatever becomes of it, it leaves the list when it is dropped, and those who wait are told.
struct Flight<A> {
    room: Arc<Lookups<A>>,
    token: TokenDigest,
    answer: watch::Sender<Option<Outcome<A>>>,
    listed: bool,
}

impl<A: Clone + Send + Sync + 'static> Flight<A> {
    async fn fly<F>(mut self, now: Timestamp, call: F)
    where
        F: Future<Output = Result<Said<A>, String>> + Send + 'static,
    {
        let room = Arc::clone(&self.room);
        let turn = timeout(LONGEST_QUEUE, room.turns.acquire()).await;
        let Ok(Ok(_turn)) = turn else { return };
        if self.is_abandoned() {
            return;
        }
        let outcome = match timeout(fetch::TIMEOUT, call).await {
            Ok(Ok(said)) => {
                room.answered();
                room.keep(self.token, Ok(said.answer.clone()), [now, said.until], said.bytes);
                Ok(said.answer)
            }
            Ok(Err(error)) => Err(self.failed(now, error.into())),
            Err(_) => Err(self.failed(now, "no answer in time".into())),
        };
        self.leave();
        self.answer.send_replace(Some(outcome));
    }

    /// Whether nobody waits for the answer any more. Then nobody can come to wait either: the next one who asks begins
    /// anew.
    fn is_abandoned(&mut self) -> bool {
        let mut flights = locked(&self.room.flights);
        if self.answer.receiver_count() > 0 {
            return false;
        }
        flights.remove(&self.token);
        self.listed = false;
        true
    }

    fn failed(&self, now: Timestamp, error: Arc<str>) -> Unanswered {
        self.room.failed(&error);
        let failure = Unanswered::Failed(error);
        self.room.keep(self.token, Err(failure.clone()), [now, now.plus(FAILURE_KEPT)], 0);
        failure
    }
}

impl<A> Flight<A> {
    fn leave(&mut self) {
        if std::mem::take(&mut self.listed) {
            locked(&self.room.flights).remove(&self.token);
        }
    }
}

impl<A> Drop for Flight<A> {
    fn drop(&mut self) {
        self.leave();
    }
}

/// A panic while one of these locks was held cannot leave more than a count out of date.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
