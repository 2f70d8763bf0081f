//! What one request holds from start to end: configuration, policies, keys, certificates, upstreams. Built whole,
//! checked whole, swapped by one pointer.

mod build;
mod control;
mod watch;

use std::fmt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwap;

pub use self::build::surroundings;
pub use self::control::Control;
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

/// Reads the configuration and its policies anew. `None` when they cannot be used; what is wrong comes beside it.
pub type Reader = Box<dyn Fn() -> (Option<Material>, Diagnostics) + Send + Sync>;

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
    /// The counters of every route.
    pub routes: Routes,
    /// Name and counters of every upstream, in the order of the configuration.
    pub upstream_metrics: Vec<(Arc<str>, Arc<UpstreamMetrics>)>,
    /// Digest of what it was loaded from.
    pub revision: Revision,
    /// When it came into force.
    pub loaded: Timestamp,
    /// Every file and directory it was read from.
    pub files: Vec<PathBuf>,
}

/// The snapshot in force, and how the next one is made.
pub struct Snapshots {
    current: ArcSwap<Snapshot>,
    reader: Reader,
    telemetry: Arc<Telemetry>,
    control: tokio::runtime::Handle,
    /// Held while a reload builds, so that two never race; the value is what went wrong last.
    last_error: Mutex<Option<String>>,
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
        let (snapshot, warnings) = build::build(&reader, None, &telemetry)?;
        control.handle().spawn(snapshot.issuers.run());
        if let Some(signer) = &snapshot.signer {
            control.handle().spawn(signer.run());
        }
        telemetry.metrics().reloaded(Ok(()), Timestamp::now());
        let snapshots = Self {
            current: ArcSwap::from_pointee(snapshot),
            reader,
            telemetry,
            control: control.handle().clone(),
            last_error: Mutex::new(None),
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
        let mut last_error = self.last_error.lock().unwrap_or_else(PoisonError::into_inner);
        let before = self.current();
        let built = build::build(&self.reader, Some(&before), &self.telemetry);
        self.telemetry.metrics().reloaded(built.as_ref().map(|_| ()).map_err(|_| ()), Timestamp::now());
        match built {
            Ok((snapshot, warnings)) => {
                self.control.spawn(snapshot.issuers.run());
                let known = |signer: &&Arc<Signer>| before.signer.as_ref().is_some_and(|old| Arc::ptr_eq(old, signer));
                if let Some(signer) = snapshot.signer.as_ref().filter(|signer| !known(signer)) {
                    self.control.spawn(signer.run());
                }
                tracing::info!(revision = %Hex(&snapshot.revision.0), "a new configuration is in force");
                self.current.store(Arc::new(snapshot));
                *last_error = None;
                Ok(warnings)
            }
            Err(problems) => {
                let text = problems.render();
                tracing::error!(problems = %text, "the configuration was not loaded, the old one stays in force");
                *last_error = Some(text);
                Err(problems)
            }
        }
    }

    /// What was wrong with the last configuration that could not be loaded, if none was loaded since.
    pub fn last_error(&self) -> Option<String> {
        self.last_error.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Reloads whenever a file that the configuration reads has changed, until the snapshots are dropped.
    ///
    /// # Errors
    /// The operating system refuses to watch.
    pub fn watch(self: &Arc<Self>) -> Result<Watch, notify::Error> {
        watch::start(self)
    }
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
