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
use crate::panics;
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
    /// Bound values, and every claim and request value that a loaded policy names; `null` for what there is none of.
    /// Fill it only when [`Telemetry::audits`] says that somebody will read it.
    pub values: Vec<(String, Value)>,
    /// What else it takes to decide again, where there is any; filled like `values`.
    pub facts: Vec<(&'static str, Value)>,
    /// Who asked.
    pub principal: Option<Arc<Principal>>,
    /// The token that was refused, where one was.
    pub refused_token: Option<RefusedToken>,
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
    /// The call to userinfo, when there was one and it was measured.
    pub userinfo: Option<Step>,
    /// The decision, when it was measured.
    pub decision: Option<Step>,
    /// The exchange with the upstream, if there was one.
    pub upstream: Option<UpstreamCall>,
    /// A place in the audit file, reserved before forwarding.
    pub(super) place: Option<WriterPlace>,
}

/// A token that does not hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RefusedToken {
    /// The check that failed, as a word of the program's vocabulary.
    pub fault: &'static str,
    /// Name of the configured issuer that the token claims; `None`: of none.
    pub issuer: Option<Arc<str>>,
    /// SHA-256 of the token without its signature.
    pub digest: Option<[u8; 32]>,
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
    /// The address of the endpoint that answered, or failed last.
    pub endpoint: Option<Arc<str>>,
    /// How often the request was sent again.
    pub retries: u32,
    /// It would have been sent again, had the upstream's budget allowed it.
    pub over_budget: bool,
    /// From sending the head to the end of the answer; a duration of zero lasts as long as the request.
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
    /// A record of a request that arrives now, in a trace of its own. It says "denied" until somebody says otherwise.
    pub fn start(method: Method, version: Version) -> Self {
        Self::start_in(Trace::start(), method, version)
    }

    fn start_in(trace: Trace, method: Method, version: Version) -> Self {
        let time = SystemTime::now();
        let blank = Self::blank(time, Instant::now());
        Self { request_id: RequestId::new(time), trace, method, version, ..blank }
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
            facts: Vec::new(),
            principal: None,
            refused_token: None,
            revision: Revision::default(),
            status: None,
            request_bytes: 0,
            response_bytes: 0,
            error: None,
            authentication: None,
            userinfo: None,
            decision: None,
            upstream: None,
            place: None,
        }
    }

    /// When its answer ended.
    pub(super) fn ended(&self) -> Instant {
        self.started + self.duration
    }

    /// Takes what is in it, for somebody who keeps it.
    pub(super) fn take(&mut self) -> Self {
        let blank = Self::blank(self.time, self.started);
        std::mem::replace(self, blank)
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
    /// Boxed, because what holds the recording is handed on again and again.
    record: Box<Record>,
    telemetry: Arc<Telemetry>,
}

impl Recording {
    /// Begins the record of a request that arrives now, in a trace of its own.
    pub fn start(telemetry: &Arc<Telemetry>, method: Method, version: Version) -> Self {
        Self::start_in(Trace::start(), telemetry, method, version)
    }

    /// Begins the record of a request that arrives now, in this trace.
    pub fn start_in(trace: Trace, telemetry: &Arc<Telemetry>, method: Method, version: Version) -> Self {
        Self { record: Box::new(Record::start_in(trace, method, version)), telemetry: Arc::clone(telemetry) }
    }

    /// The beginning of a step, where somebody will see how long it took: a look at the clock costs, too.
    pub fn begin_step(&self) -> Option<Instant> {
        self.telemetry.traces().then(Instant::now)
    }

    /// The step that began then and ends now.
    pub fn end_step(&self, begin: Option<Instant>) -> Option<Step> {
        let begin = begin?;
        Some(Step { after: begin.saturating_duration_since(self.record.started), duration: begin.elapsed() })
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
        let record = &mut self.record;
        record.duration = record.started.elapsed();
        if record.status.is_none() && panics::is_unwinding() {
            record.error = Some("panicked");
        }
        if let Some(call) = record.upstream.as_mut().filter(|call| call.step.duration.is_zero()) {
            call.step.duration = record.duration.saturating_sub(call.step.after);
        }
        self.telemetry.record(record);
    }
}

#[cfg(test)]
pub(super) mod tests {
    use std::path::PathBuf;

    use super::super::metrics::{Metrics, Mode};
    use super::*;
    use crate::clock::Timestamp;
    use crate::diagnostic::{Source, Span};
    use crate::principal::{Flow, IssuerId, IssuerIdentity};

    /// The subject of [`principal`].
    pub(in crate::telemetry) const SUBJECT: &str = "5f8c1a52-9d1e-4e0b-8a77-0c6f1be0a111";

    pub(in crate::telemetry) fn principal() -> Principal {
        Principal {
            subject: Some(SUBJECT.to_owned()),
            client: Some("app".to_owned()),
            scopes: ["crm", "contracts:read"].into(),
            organizations: Some(["o1"].into()),
            global: Some(false),
            flow: Flow::User,
            expires_at: Timestamp(2_000_000_000),
            token_id: Some("t-1".to_owned()),
            token_digest: [0xab; 32],
            leeway: 30,
            ..Principal::of(Arc::new(IssuerIdentity::named(IssuerId(0), "shoen")))
        }
    }

    pub(in crate::telemetry) fn condition() -> Condition {
        let text = "version: 1\nroutes:\n  - require: {scope: crm}\n".to_owned();
        let source = Arc::new(Source { path: PathBuf::from("policies/crm.yaml"), text });
        Condition { text: "scope: crm".into(), place: Some(Place { source, span: Span { start: 33, end: 38 } }) }
    }

    /// A denied request with everything that a record may have.
    pub(in crate::telemetry) fn denied(metrics: &Metrics) -> Record {
        let routes = metrics.routes([("crm", "GET /customers/{customer}", Mode::Enforce)]);
        Record {
            time: SystemTime::UNIX_EPOCH + Duration::from_millis(1_795_298_400_123),
            duration: Duration::from_micros(1234),
            request_id: RequestId::given("r-1").unwrap(),
            trace: Trace { trace_id: [1; 16], parent_id: None, span_id: [2; 8], sampled: true },
            tls: true,
            host: Some("api.example.com".into()),
            path: Some("/crm/customers/1".to_owned()),
            address: Some([192, 0, 2, 1].into()),
            route: routes.find("crm", "GET /customers/{customer}").cloned(),
            verdict: Verdict::Deny,
            reason: Some("scope"),
            condition: Some(condition()),
            lifted: vec![condition()],
            values: vec![("customer".into(), Value::from("1")), ("claim./a".into(), Value::Null)],
            facts: vec![("query", "a=1".into())],
            principal: Some(Arc::new(principal())),
            revision: Revision([0xcd; 16]),
            status: Some(403),
            request_bytes: 5,
            response_bytes: 7,
            ..Record::start(Method::GET, Version::HTTP_2)
        }
    }

    #[test]
    fn a_recording_is_handed_in_exactly_once_however_it_ends() {
        let telemetry = Telemetry::silent();
        let mut recording = Recording::start(&telemetry, Method::GET, Version::HTTP_11);
        recording.reason = Some("scope");
        drop(recording);
        let inner = Arc::clone(&telemetry);
        let panicked = std::thread::spawn(move || {
            let mut recording = Recording::start(&inner, Method::GET, Version::HTTP_11);
            recording.reason = Some("scope");
            panic!("somewhere on the way");
        });
        assert!(panicked.join().is_err());
        let text = telemetry.metrics().text();
        let line = r#"torwart_decisions_total{policy="",route="",decision="deny",reason="scope"} 2"#;
        assert!(text.contains(line), "{text}");
    }

    #[test]
    fn a_record_says_denied_until_somebody_says_otherwise() {
        let record = Record::start(Method::GET, Version::HTTP_11);
        assert_eq!(record.verdict, Verdict::Deny);
        assert_eq!(record.counted(), Some(Counted::Deny("unknown")));
        assert_eq!(Record { verdict: Verdict::Own, ..record }.counted(), None);
    }
}
