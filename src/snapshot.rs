//! What one request holds from start to end: configuration, policies, keys, certificates, upstreams. Built whole,
//! checked whole, swapped by one pointer.

mod build;
mod control;
mod sources;
mod watch;

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arc_swap::ArcSwap;

pub use self::build::surroundings;
pub use self::control::Control;
use self::sources::Sources;
pub use self::watch::Watch;
use crate::assertion::Signer;
use crate::authn::Issuers;
use crate::clock::Timestamp;
use crate::config::Config;
use crate::diagnostic::{Diagnostics, Source};
use crate::policy::Policies;
use crate::rate::Counters;
use crate::response::Metadata;
use crate::server::tls::Terminator;
use crate::telemetry::metrics::UpstreamMetrics;
use crate::telemetry::{Revision, Routes, Telemetry};
use crate::upstream::Upstreams;

/// What a configuration is built from. Whoever makes one has read it anew: every reload asks for another.
#[derive(Debug)]
pub struct Material {
    /// The checked configuration.
    pub config: Config,
    /// The policy documents.
    pub policies: Vec<Arc<Source>>,
}

/// What came of reading the configuration and its policies.
#[derive(Debug, Default)]
pub struct Reading {
    /// `None` when they cannot be used.
    pub material: Option<Material>,
    /// What is wrong with them.
    pub problems: Diagnostics,
    /// What else was read, or looked for in vain: above all, the files of a configuration that cannot be used.
    pub named: Vec<PathBuf>,
}

/// Reads the configuration and its policies anew.
pub type Reader = Box<dyn Fn() -> Reading + Send + Sync>;

/// Everything in force at one moment.
#[derive(Debug)]
pub struct Snapshot {
    /// `torwart.yaml`.
    pub config: Config,
    /// The compiled policies.
    pub policies: Policies,
    /// What clients are told of protected resources, in the order of [`Policies::resources`].
    pub metadata: Vec<Metadata>,
    /// Authorization servers, their keys, remembered tokens.
    pub issuers: Issuers,
    /// How many requests came under every limit.
    pub counters: Counters,
    /// Protected APIs.
    pub upstreams: Upstreams,
    /// What signs assertions for them.
    pub signer: Option<Arc<Signer>>,
    /// TLS of every listener, in the order of the configuration; `None` where it has none.
    pub terminators: Vec<Option<Terminator>>,
    /// TLS of the admin listener, if it has any.
    pub admin: Option<Terminator>,
    /// The counters of every route.
    pub routes: Routes,
    /// Name and counters of every upstream, in the order of the configuration.
    pub upstream_metrics: Vec<(Arc<str>, Arc<UpstreamMetrics>)>,
    /// Digest of what it was loaded from.
    pub revision: Revision,
    /// How many configurations were in force in this process, this one included. A renewed certificate makes another
    /// generation of the same revision.
    pub generation: u64,
    /// When it came into force.
    pub loaded: Timestamp,
}

/// The snapshot in force, and how the next one is made.
pub struct Snapshots {
    current: ArcSwap<Snapshot>,
    reader: Reader,
    telemetry: Arc<Telemetry>,
    control: tokio::runtime::Handle,
    /// Held while a reload builds, so that two never race.
    building: Mutex<()>,
    /// What went wrong last, if nothing has gone right since.
    last_error: Mutex<Option<String>>,
    /// What the last attempt has read, whether anything came of it or not.
    sources: Mutex<Sources>,
}

impl Snapshots {
    /// Loads the first snapshot. Keys are fetched and kept fresh on `control`.
    ///
    /// # Errors
    /// Everything that is wrong, at once.
    pub fn load(
        reader: Reader,
        telemetry: Arc<Telemetry>,
        control: &Control,
    ) -> Result<(Arc<Self>, Diagnostics), Diagnostics> {
        let (sources, parts) = build::read(&reader, None, &Sources::default());
        let (snapshot, warnings) = build::assemble(parts?, None, &telemetry)?;
        control.handle().spawn(snapshot.issuers.run());
        snapshot.upstreams.succeed(None, control.handle());
        if let Some(signer) = &snapshot.signer {
            control.handle().spawn(signer.run());
        }
        telemetry.metrics().reloaded(Ok(snapshot.generation), Timestamp::now());
        let snapshots = Self {
            current: ArcSwap::from_pointee(snapshot),
            reader,
            telemetry,
            control: control.handle().clone(),
            building: Mutex::new(()),
            last_error: Mutex::new(None),
            sources: Mutex::new(sources),
        };
        Ok((Arc::new(snapshots), warnings))
    }

    /// The snapshot in force. Whoever takes it keeps it, whatever is loaded meanwhile.
    pub fn current(&self) -> Arc<Snapshot> {
        self.current.load_full()
    }

    /// Where records go.
    pub fn telemetry(&self) -> &Arc<Telemetry> {
        &self.telemetry
    }

    /// Reads everything anew and swaps it in if all of it is good; else the old one stays in force. Blocks while files
    /// are read. Returns the warnings.
    ///
    /// # Errors
    /// Everything that is wrong, at once.
    pub fn reload(&self) -> Result<Diagnostics, Diagnostics> {
        let _building = lock(&self.building);
        let before = self.current();
        // A panic must not look like a reload that nobody asked for: it is told as any other fault.
        let built = catch_unwind(AssertUnwindSafe(|| self.build(&before))).unwrap_or_else(|_| {
            let mut problems = Diagnostics::new();
            problems.general("loading the configuration ended in a panic");
            Err(problems)
        });
        let counted = built.as_ref().map(|(snapshot, _)| snapshot.generation).map_err(|_| ());
        self.telemetry.metrics().reloaded(counted, Timestamp::now());
        match built {
            Ok((snapshot, warnings)) => {
                // First, so that nobody who sees what is in force sees an error of before with it.
                *lock(&self.last_error) = None;
                self.enforce(snapshot, &before);
                if !warnings.is_empty() {
                    tracing::warn!(problems = %warnings.render(), "the new configuration has warnings");
                }
                Ok(warnings)
            }
            Err(problems) => {
                let text = problems.render();
                tracing::error!(problems = %text, "the configuration was not loaded, the old one stays in force");
                *lock(&self.last_error) = Some(text);
                Err(problems)
            }
        }
    }

    fn build(&self, before: &Snapshot) -> Result<(Snapshot, Diagnostics), Diagnostics> {
        let known = self.sources();
        let (sources, parts) = build::read(&self.reader, Some(before), &known);
        *lock(&self.sources) = sources;
        build::assemble(parts?, Some(before), &self.telemetry)
    }

    fn enforce(&self, snapshot: Snapshot, before: &Snapshot) {
        self.control.spawn(snapshot.issuers.run());
        let known = |signer: &&Arc<Signer>| before.signer.as_ref().is_some_and(|old| Arc::ptr_eq(old, signer));
        if let Some(signer) = snapshot.signer.as_ref().filter(|signer| !known(signer)) {
            self.control.spawn(signer.run());
        }
        let (revision, generation) = (Hex(&snapshot.revision.0).to_string(), snapshot.generation);
        let snapshot = Arc::new(snapshot);
        self.current.store(Arc::clone(&snapshot));
        snapshot.upstreams.succeed(Some(&before.upstreams), &self.control);
        tracing::info!(revision, generation, "a new configuration is in force");
    }

    /// What was wrong with the last configuration that could not be loaded, if none was loaded since.
    pub fn last_error(&self) -> Option<String> {
        lock(&self.last_error).clone()
    }

    /// Where to run what is not on a request's path.
    pub(crate) fn control(&self) -> &tokio::runtime::Handle {
        &self.control
    }

    /// What the last attempt has read.
    fn sources(&self) -> Sources {
        lock(&self.sources).clone()
    }

    /// Reloads whenever a file that the configuration reads has changed, until the snapshots are dropped.
    ///
    /// # Errors
    /// The operating system refuses to watch.
    pub fn watch(self: &Arc<Self>) -> Result<Watch, notify::Error> {
        watch::start(self)
    }
}

/// Locks even if another holder panicked: each of these is replaced whole or not at all.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl fmt::Debug for Snapshots {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Snapshots").field("current", &self.current.load().revision).finish_non_exhaustive()
    }
}

/// Bytes in hexadecimal.
pub(crate) struct Hex<'b>(pub(crate) &'b [u8]);

impl fmt::Display for Hex<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}
