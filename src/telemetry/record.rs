//! What happened to one request, filled along the straight line and turned into records afterwards.

use std::net::IpAddr;
use std::ops::{Deref, DerefMut};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use http::{Method, Version};
use serde_json::Value;

use super::Telemetry;
use super::id::{RequestId, Trace};
use super::metrics::{Counted, Route, UpstreamMetrics};
use super::writer::{Full, Place as WriterPlace};
use crate::diagnostic::Place;
use crate::principal::Principal;

/// What happened to one request.
///
/// Neither tokens nor header values nor queries are in it; the principal is, and only audit records name it.
#[derive(Debug)]
pub struct Record {
    /// When the request's head was complete, on the wall clock.
    pub time: SystemTime,
    /// The same moment on the clock that durations are measured by.
    pub started: Instant,
    /// How long it took to the end of the answer. Set when the record is closed.
    pub duration: Duration,
    /// The request's name.
    pub request_id: RequestId,
    /// Its place in a trace.
    pub trace: Trace,
    /// The method as sent.
    pub method: Method,
    /// The HTTP version it was sent with.
    pub version: Version,
    /// It came over TLS.
    pub tls: bool,
    /// Canonical host; `None` when it has no valid one.
    pub host: Option<Arc<str>>,
    /// Canonical path; `None` when the target is refused. Never the query.
    pub path: Option<String>,
    /// The client's address; `None`: unknown.
    pub address: Option<IpAddr>,
    /// The route, or the policy's handle without route; `None`: no document is responsible.
    pub route: Option<Arc<Route>>,
    /// What was decided. [`Verdict::Deny`] until somebody says otherwise.
    pub verdict: Verdict,
    /// The first thing that failed (policy.md, "Reasons"), or the slug of the refusal.
    pub reason: Option<&'static str>,
    /// The condition that failed.
    pub condition: Option<Condition>,
    /// Conditions that a bypass lifted.
    pub lifted: Vec<Condition>,
    /// Bound values, and every claim and request value that a loaded policy names. Fill it only when
    /// [`Telemetry::audits`] says that somebody will read it.
    pub values: Vec<(Arc<str>, Value)>,
    /// Who asked.
    pub principal: Option<Arc<Principal>>,
    /// Digest of the loaded configuration and policies.
    pub revision: Revision,
    /// The status sent; `None` when the client was gone before there was one.
    pub status: Option<u16>,
    /// Bytes of the request's body that were read.
    pub request_bytes: u64,
    /// Bytes of the response's body that were sent.
    pub response_bytes: u64,
    /// What ended the exchange early, as a word of the program's vocabulary.
    pub error: Option<&'static str>,
    /// Authentication, when it was measured.
    pub authentication: Option<Step>,
    /// The decision, when it was measured.
    pub decision: Option<Step>,
    /// The exchange with the upstream, if there was one.
    pub upstream: Option<UpstreamCall>,
    /// A place in the audit file, reserved before forwarding.
    pub(super) place: Option<WriterPlace>,
}

/// What was decided about a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Allowed, and forwarded unless something failed afterwards.
    Allow,
    /// Refused.
    Deny,
    /// Forwarded under `mode: observe` though it would have been refused with this status.
    Observed {
        /// The status that enforcement would have answered.
        would: u16,
    },
    /// Answered by the gateway itself, nothing to decide: ping, metadata, redirect.
    Own,
}

/// A condition as records name it.
#[derive(Debug, Clone)]
pub struct Condition {
    /// What it says, as in explanations.
    pub text: Arc<str>,
    /// Where it is written.
    pub place: Option<Place>,
}

/// A part of the way that took time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Step {
    /// Since the request's start.
    pub after: Duration,
    /// How long.
    pub duration: Duration,
}

/// The exchange with an upstream.
#[derive(Debug)]
pub struct UpstreamCall {
    /// The upstream's name.
    pub name: Arc<str>,
    /// Its counters.
    pub metrics: Arc<UpstreamMetrics>,
    /// The endpoint asked.
    pub endpoint: Option<Arc<str>>,
    /// From sending the head to the end of the answer.
    pub step: Step,
    /// The status it answered.
    pub status: Option<u16>,
    /// What went wrong, as a word of the program's vocabulary.
    pub failure: Option<&'static str>,
}

/// The first half of a SHA-256 over everything a snapshot was loaded from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Revision(pub [u8; 16]);

impl Record {
    /// A record of a request that arrives now. It says "denied" until somebody says otherwise.
    pub fn start(method: Method, version: Version) -> Self {
        let time = SystemTime::now();
        let blank = Self::blank(time, Instant::now());
        Self { request_id: RequestId::new(time), trace: Trace::start(), method, version, ..blank }
    }

    /// A record that says nothing.
    fn blank(time: SystemTime, started: Instant) -> Self {
        Self {
            time,
            started,
            duration: Duration::ZERO,
            request_id: RequestId::NONE,
            trace: Trace::NONE,
            method: Method::GET,
            version: Version::HTTP_11,
            tls: false,
            host: None,
            path: None,
            address: None,
            route: None,
            verdict: Verdict::Deny,
            reason: None,
            condition: None,
            lifted: Vec::new(),
            values: Vec::new(),
            principal: None,
            revision: Revision::default(),
            status: None,
            request_bytes: 0,
            response_bytes: 0,
            error: None,
            authentication: None,
            decision: None,
            upstream: None,
            place: None,
        }
    }

    /// The step that began at `since` and ends now.
    pub fn step(&self, since: Instant) -> Step {
        Step { after: since.saturating_duration_since(self.started), duration: since.elapsed() }
    }

    /// The decision as metrics count it; `None` when there was nothing to decide.
    pub(super) fn counted(&self) -> Option<Counted> {
        let reason = self.reason.unwrap_or("unknown");
        match self.verdict {
            Verdict::Allow => Some(Counted::Allow),
            Verdict::Deny => Some(Counted::Deny(reason)),
            Verdict::Observed { .. } => Some(Counted::Observed(reason)),
            Verdict::Own => None,
        }
    }
}

/// A record that is being filled. Dropping it closes and hands it in, whatever happened: exactly one per request.
#[derive(Debug)]
pub struct Recording {
    record: Record,
    telemetry: Arc<Telemetry>,
}

impl Recording {
    /// Begins the record of a request that arrives now.
    pub fn start(telemetry: &Arc<Telemetry>, method: Method, version: Version) -> Self {
        Self { record: Record::start(method, version), telemetry: Arc::clone(telemetry) }
    }

    /// Reserves a place in the audit file when `audit.required` says that what is forwarded must be recorded.
    /// To be called before forwarding.
    ///
    /// # Errors
    /// There is none: the request must not be forwarded.
    pub fn reserve(&mut self) -> Result<(), Full> {
        self.record.place = self.telemetry.reserve()?;
        Ok(())
    }
}

impl Deref for Recording {
    type Target = Record;

    fn deref(&self) -> &Record {
        &self.record
    }
}

impl DerefMut for Recording {
    fn deref_mut(&mut self) -> &mut Record {
        &mut self.record
    }
}

impl Drop for Recording {
    fn drop(&mut self) {
        let blank = Record::blank(self.record.time, self.record.started);
        let mut record = std::mem::replace(&mut self.record, blank);
        record.duration = record.started.elapsed();
        self.telemetry.record(record);
    }
}
