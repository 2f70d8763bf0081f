//! What is right for each request, known before it is sent, and what the upstreams saw of it.

use std::collections::{BTreeMap, HashMap};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::support::message::Message;

/// Wrong decisions that are kept; more tell nothing more.
const KEPT: usize = 100;

/// What may become of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fate {
    /// It has to be served.
    Served,
    /// It must never reach an upstream.
    Refused,
    /// Its client leaves, or nobody can tell.
    Either,
}

impl Fate {
    fn letter(self) -> char {
        match self {
            Self::Served => 's',
            Self::Refused => 'r',
            Self::Either => 'e',
        }
    }
}

/// See the module's description.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    next: AtomicU64,
    /// Requests under way that have to be served, and how often each has arrived.
    open: Mutex<HashMap<String, usize>>,
    wrong: Mutex<Vec<String>>,
    pub(crate) wrongs: AtomicU64,
    counts: Mutex<BTreeMap<String, u64>>,
    faults: Mutex<Vec<Fault>>,
    /// The last configuration that is certainly in force.
    pub(crate) in_force: AtomicU64,
    /// The last one that may be.
    pub(crate) written: AtomicU64,
}

/// A time in which something was out of order.
#[derive(Debug)]
struct Fault {
    of: &'static str,
    begun: Instant,
    ended: Option<Instant>,
    /// How long it is felt after its end.
    lingers: Duration,
}

impl Ledger {
    /// A name for a request with this fate.
    pub(crate) fn begin(&self, fate: Fate) -> String {
        let id = format!("{}-{}", fate.letter(), self.next.fetch_add(1, Ordering::Relaxed));
        if fate == Fate::Served {
            self.open.lock().expect("no panic").insert(id.clone(), 0);
        }
        id
    }

    /// Notes that an upstream got a request.
    pub(crate) fn arrived(&self, upstream: &str, request: &Message) {
        let id = request.all("x-soak").first().map(|id| (*id).to_owned()).unwrap_or_default();
        if id.is_empty() || id.starts_with(Fate::Refused.letter()) {
            self.wrong(format!("{upstream} got what had to be refused: {id:?} {}", request.start));
        }
        if !request.all("authorization").is_empty() {
            self.wrong(format!("{upstream} got a token: {id}"));
        }
        if let Some(times) = self.open.lock().expect("no panic").get_mut(&id) {
            *times += 1;
        }
    }

    /// How often a request has arrived that has been answered.
    pub(crate) fn end(&self, id: &str) -> usize {
        self.open.lock().expect("no panic").remove(id).unwrap_or_default()
    }

    /// Notes something that must not be.
    pub(crate) fn wrong(&self, what: String) {
        self.wrongs.fetch_add(1, Ordering::Relaxed);
        let mut wrong = self.wrong.lock().expect("no panic");
        if wrong.len() < KEPT {
            println!("WRONG: {what}");
            wrong.push(what);
        }
    }

    /// Notes that something was done.
    pub(crate) fn count(&self, what: impl Into<String>) {
        *self.counts.lock().expect("no panic").entry(what.into()).or_default() += 1;
    }

    pub(crate) fn counts(&self) -> BTreeMap<String, u64> {
        self.counts.lock().expect("no panic").clone()
    }

    pub(crate) fn wrong_ones(&self) -> Vec<String> {
        self.wrong.lock().expect("no panic").clone()
    }

    /// Something gets out of order; what is felt of it is excused until so long after [`Ledger::repaired`].
    pub(crate) fn breaks(&self, of: &'static str, lingers: Duration) {
        self.faults.lock().expect("no panic").push(Fault { of, begun: Instant::now(), ended: None, lingers });
    }

    /// It is in order again.
    pub(crate) fn repaired(&self, of: &'static str) {
        let mut faults = self.faults.lock().expect("no panic");
        let open = faults.iter_mut().filter(|fault| fault.of == of && fault.ended.is_none());
        open.for_each(|fault| fault.ended = Some(Instant::now()));
    }

    /// Whether something was out of order at any time since then.
    pub(crate) fn is_excused(&self, of: &str, since: Instant) -> bool {
        let faults = self.faults.lock().expect("no panic");
        let felt = |fault: &Fault| fault.ended.is_none_or(|ended| ended + fault.lingers >= since);
        faults.iter().any(|fault| fault.of == of && fault.begun <= Instant::now() && felt(fault))
    }
}
