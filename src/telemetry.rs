//! Records of what happened: one [`Record`] per request becomes metrics, a line of the access log and an audit record.
//!
//! The request's path pays for counters, and for one line of text per sink that is switched on, formatted into a buffer
//! that no other worker uses. Writing happens on threads of its own; what they cannot keep up with is counted, or, with
//! `audit.required`, refused before it is forwarded.

mod access;
mod audit;
mod id;
mod json;
pub mod log;
pub mod metrics;
mod otlp;
mod record;
mod writer;

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

pub use self::id::{RequestId, Trace};
pub use self::metrics::{Metrics, Mode, Route, Routes};
pub use self::otlp::EndpointError;
pub use self::record::{Condition, Record, Recording, RefusedToken, Revision, Step, UpstreamCall, Verdict};
pub use self::writer::Full;

use self::writer::{Destination, Keep, Place, Writer};
use arc_swap::ArcSwapOption;

use self::otlp::Exporter;
use crate::config::{Audit, AuditPath, Config, Logging};

/// How long [`Telemetry::finish`] waits for each writer.
const PATIENCE: Duration = Duration::from_secs(5);

/// Why records cannot be kept.
#[derive(Debug, thiserror::Error)]
pub enum TelemetryError {
    /// The audit file cannot be opened.
    #[error("the audit file `{path}` cannot be opened: {source}")]
    Audit {
        /// As configured.
        path: String,
        /// The operating system's reason.
        source: io::Error,
    },
    /// A writer cannot be started.
    #[error("the thread that writes the access log cannot be started: {0}")]
    Access(#[source] io::Error),
    /// Traces cannot be exported to the endpoint.
    #[error("traces cannot be exported: {0}")]
    Traces(#[source] EndpointError),
}

/// Where records go. One for the process; reloads change its settings.
#[derive(Debug)]
pub struct Telemetry {
    metrics: Arc<Metrics>,
    access: Option<Writer>,
    audit: Option<Writer>,
    traces: ArcSwapOption<Exporter>,
    settings: Settings,
}

/// What the configuration in force says, read on every request.
#[derive(Debug, Default)]
struct Settings {
    access: AtomicBool,
    access_json: Arc<AtomicBool>,
    audit_allow: AtomicBool,
    audit_deny: AtomicBool,
    audit_required: AtomicBool,
}

impl Telemetry {
    /// Opens the audit file and starts the writers.
    ///
    /// # Errors
    /// The audit file cannot be opened, or no thread can be started.
    pub fn start(config: &Config) -> Result<Arc<Self>, TelemetryError> {
        let telemetry = Self::with(&config.logging, &config.audit)?;
        telemetry.traces.store(telemetry.exporter(config.otlp.as_deref())?);
        Ok(telemetry)
    }

    fn with(logging: &Logging, audited: &Audit) -> Result<Arc<Self>, TelemetryError> {
        let metrics = Arc::new(Metrics::default());
        let settings = Settings::default();
        let json = Arc::clone(&settings.access_json);
        let format = move |record: &Record, out: &mut Vec<u8>| {
            let write = if json.load(Ordering::Relaxed) { access::write_json } else { access::write_pretty };
            write(record, out);
        };
        let access = Writer::start(Destination::Stderr, Box::new(format), Arc::clone(&metrics), |all| &all.access)
            .map_err(TelemetryError::Access)?;
        let destination = destination(&audited.path);
        let audit = Writer::start(destination, Box::new(audit::write), Arc::clone(&metrics), |all| &all.audit)
            .map_err(|source| audit_error(audited, source))?;
        let telemetry =
            Self { metrics, access: Some(access), audit: Some(audit), traces: ArcSwapOption::empty(), settings };
        telemetry.apply(logging, audited);
        Ok(Arc::new(telemetry))
    }

    /// Counts and keeps nothing else: for what serves requests without a configuration, tests above all.
    pub fn silent() -> Arc<Self> {
        let metrics = Arc::new(Metrics::default());
        Arc::new(Self {
            metrics,
            access: None,
            audit: None,
            traces: ArcSwapOption::empty(),
            settings: Settings::default(),
        })
    }

    /// Takes over the settings of a configuration that comes into force, those of the program's log too.
    ///
    /// # Errors
    /// Its audit file cannot be opened; everything stays as it was.
    pub fn reconfigure(&self, config: &Config) -> Result<(), TelemetryError> {
        let traces = self.exporter(config.otlp.as_deref())?;
        if let Some(audit) = &self.audit {
            let other = destination(&config.audit.path);
            audit.reopen(Some(other)).map_err(|source| audit_error(&config.audit, source))?;
        }
        self.traces.store(traces);
        log::change(&config.logging);
        self.apply(&config.logging, &config.audit);
        Ok(())
    }

    /// All counters.
    pub fn metrics(&self) -> &Arc<Metrics> {
        &self.metrics
    }

    /// Whether an audit record of such a decision is kept, and [`Record::values`] therefore worth filling.
    pub fn audits(&self, verdict: Verdict) -> bool {
        let allow = || self.settings.audit_allow.load(Ordering::Relaxed);
        let deny = || self.settings.audit_deny.load(Ordering::Relaxed);
        self.audit.is_some()
            && match verdict {
                Verdict::Allow => allow(),
                Verdict::Deny => deny(),
                Verdict::Observed { .. } => allow() || deny(),
                Verdict::Own => false,
            }
    }

    /// Counts a finished request and hands its record to the writers. Never waits.
    fn record(&self, record: &mut Record) {
        self.metrics.count(record);
        let place = record.place.take();
        if let Some(access) = self.access.as_ref().filter(|_| self.settings.access.load(Ordering::Relaxed)) {
            access.push(record, None);
        }
        if let Some(audit) = self.audit.as_ref().filter(|_| self.audits(record.verdict)) {
            audit.push(record, place.as_ref());
        }
        if let Some(traces) = &*self.traces.load() {
            traces.push(record);
        }
    }

    /// Whether somebody will see how long the steps of a request took, and measuring them is worth the clock's time.
    pub fn traces(&self) -> bool {
        self.traces.load().is_some()
    }

    /// Reserves a place for an audit record where `audit.required` says so; see [`Recording::reserve`].
    fn reserve(&self) -> Result<Option<Place>, Full> {
        let required = self.settings.audit_required.load(Ordering::Relaxed);
        let kept =
            [&self.settings.audit_allow, &self.settings.audit_deny].iter().any(|kept| kept.load(Ordering::Relaxed));
        match &self.audit {
            Some(audit) if required && kept => audit.reserve().map(Some),
            Some(_) | None => Ok(None),
        }
    }

    /// Opens the audit file anew: somebody has renamed it (`SIGUSR1`).
    pub fn reopen(&self) {
        if let Some(Err(error)) = self.audit.as_ref().map(|audit| audit.reopen(None)) {
            tracing::error!(%error, "the audit file cannot be reopened, the old one stays in use");
        }
    }

    /// Writes what is on its way, at shutdown, after the last request. Blocks for at most a few seconds.
    pub fn finish(&self) {
        for writer in [&self.audit, &self.access].into_iter().flatten() {
            writer.finish(PATIENCE);
        }
        if let Some(traces) = &*self.traces.load() {
            traces.finish(PATIENCE);
        }
    }

    /// The exporter for this endpoint: the one there is, if it goes there.
    fn exporter(&self, endpoint: Option<&str>) -> Result<Option<Arc<Exporter>>, TelemetryError> {
        let Some(endpoint) = endpoint else { return Ok(None) };
        if let Some(same) = self.traces.load_full().filter(|exporter| exporter.goes_to(endpoint)) {
            return Ok(Some(same));
        }
        let exporter = Exporter::start(endpoint, Arc::clone(&self.metrics)).map_err(TelemetryError::Traces)?;
        Ok(Some(Arc::new(exporter)))
    }

    fn apply(&self, logging: &Logging, audit: &Audit) {
        let settings = &self.settings;
        settings.access.store(logging.level >= tracing::Level::INFO, Ordering::Relaxed);
        settings.access_json.store(logging.json, Ordering::Relaxed);
        settings.audit_allow.store(audit.allow, Ordering::Relaxed);
        settings.audit_deny.store(audit.deny, Ordering::Relaxed);
        settings.audit_required.store(audit.required, Ordering::Relaxed);
        if let Some(writer) = &self.audit {
            writer.keep_on_failure(if audit.required { Keep::Yes } else { Keep::No });
        }
    }
}

fn destination(path: &AuditPath) -> Destination {
    match path {
        AuditPath::Stdout => Destination::Stdout,
        AuditPath::File(path) => Destination::File(path.clone()),
    }
}

fn audit_error(audit: &Audit, source: io::Error) -> TelemetryError {
    let path = match &audit.path {
        AuditPath::Stdout => "-".to_owned(),
        AuditPath::File(path) => path.display().to_string(),
    };
    TelemetryError::Audit { path, source }
}

#[cfg(test)]
mod tests;
