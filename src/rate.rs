//! Counting requests for the limits that policies state (http.md, step 7).
//!
//! Every limit has a counter, every key in it (a client, a subject, an issuer, an address) a *theoretical arrival
//! time*: the moment at which all that was granted so far will have been earned (the generic cell rate algorithm, ITU-T
//! I.371). It is one number for each key, exact to the nanosecond, and a key whose moment has passed is as good as none,
//! so forgetting it loses nothing.
//!
//! Memory is bounded: [`KEYS`] keys over all counters, a quarter of them in one. Keys beyond that share one bucket. A
//! flood of keys can therefore take room from newcomers, but never lets a request through that its limit refuses.

mod counter;
mod key;

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::time::Instant;

use counter::Counter;
use key::Keys;

use crate::policy::{Exceeded, Limit, Route, RouteId};

pub use key::Sender;

/// Keys of all counters together: some 40 MB when full.
pub const KEYS: usize = 1 << 20;

/// The counters of one load of policies.
#[derive(Debug)]
pub struct Counters {
    /// By route; routes of a document that share its limit share the counter.
    by_route: Vec<Option<Arc<Counter>>>,
    shared: Arc<Shared>,
}

/// What outlives every load.
#[derive(Debug)]
struct Shared {
    /// What moments are measured from.
    epoch: Instant,
    keys: Keys,
    /// Keys held by all counters.
    held: Arc<AtomicUsize>,
}

impl Counters {
    /// Counters for these routes, in their order. Limits that did not change go on with their counts.
    pub fn load<'r>(routes: impl IntoIterator<Item = &'r Arc<Route>>, previous: Option<&Self>) -> Self {
        let shared = previous.map_or_else(Shared::start, |previous| Arc::clone(&previous.shared));
        let before = previous.into_iter().flat_map(|previous| previous.by_route.iter().flatten());
        let mut known: HashMap<Limit, Arc<Counter>> =
            before.map(|counter| (counter.limit().clone(), Arc::clone(counter))).collect();
        let mut counter = |limit: &Limit| {
            let new = || Arc::new(Counter::new(limit.clone(), Arc::clone(&shared.held)));
            Arc::clone(known.entry(limit.clone()).or_insert_with(new))
        };
        let by_route = routes.into_iter().map(|route| route.limit().map(&mut counter)).collect();
        Self { by_route, shared }
    }

    /// Counts one request under its route's limit.
    ///
    /// # Errors
    /// It is too much. It was not counted then: who keeps asking does not wait the longer for it.
    pub fn count(&self, route: RouteId, sender: &Sender<'_>, now: Instant) -> Result<(), Exceeded> {
        let counter = usize::try_from(route.0).ok().and_then(|route| self.by_route.get(route));
        let Some(counter) = counter.and_then(Option::as_ref) else { return Ok(()) };
        let now = u64::try_from(now.saturating_duration_since(self.shared.epoch).as_nanos()).unwrap_or(u64::MAX);
        counter.take(self.shared.keys.key(counter.limit().per(), sender), now)
    }
}

impl Shared {
    fn start() -> Arc<Self> {
        Arc::new(Self { epoch: Instant::now(), keys: Keys::default(), held: Arc::default() })
    }
}
