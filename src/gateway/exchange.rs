//! One request and what becomes of it: the facts that the straight line collects, and the record that it leaves.

use std::any::Any;
use std::net::IpAddr;
use std::rc::Rc;
use std::sync::Arc;

use bytes::Bytes;
use http::header::CONNECTION;
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, Version};
use hyper::body::{Body as _, Incoming};
use serde_json::json;

use super::answer::{Answer, Content};
use super::connection::Connection;
use super::standing::Standing;
use super::{Worker, authority, client_address, cors, own};
use crate::authn;
use crate::clock::Timestamp;
use crate::policy::{Caller, Decision, Denial, Exceeded, Grant, Per, Permit, Placed, Published, metadata_url};
use crate::principal::{ClientCertificate, Principal};
use crate::rate::Sender;
use crate::response::{self, Circumstances, Refusal, asks_for_html, metadata_options, raw};
use crate::server::overload::Occupied;
use crate::server::pulse::Pulse;
use crate::server::stall;
use crate::snapshot::{Snapshot, Snapshots};
use crate::target::Authority;
use crate::target::fold::only_field;
use crate::telemetry::{Condition, Recording, RefusedToken, RequestId, Step, Trace, UpstreamCall, Verdict};
use crate::upstream::{self, Purpose, ResponseBody, TunnelTerms};

const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");

/// One request on its way.
pub(super) struct Exchange {
    pub(super) worker: Rc<Worker>,
    pub(super) connection: Arc<Connection>,
    /// Configuration, policies, keys and certificates from start to end.
    pub(super) snapshot: Arc<Snapshot>,
    pub(super) record: Recording,
    /// The moment that every check of this request asks about.
    pub(super) now: Timestamp,
    /// The connection's other end is a trusted proxy.
    pub(super) trusted: bool,
    /// The client's certificate, once it is known to count.
    pub(super) certificate: Option<Arc<ClientCertificate>>,
    realm: Option<Box<str>>,
    /// The path of the resource whose metadata challenges name.
    resource_path: Option<Arc<str>>,
    trace_continued: bool,
    html: bool,
    version: Version,
    head_only: bool,
    has_body: bool,
    /// The message, or one before it on the connection, was not written the way it should be.
    irregular: bool,
    /// The connection has had its number of requests.
    last: bool,
    explanation: Option<String>,
    /// What the answer says to pages of other origins.
    grant: Option<Grant>,
    standing: Standing,
    number: u64,
    pulse: Arc<Pulse>,
    pub(super) busy: Rc<Occupied>,
}

impl Exchange {
    pub(super) fn begin(
        worker: &Rc<Worker>,
        connection: &Arc<Connection>,
        pulse: &Arc<Pulse>,
        request: &Request<Incoming>,
    ) -> Self {
        let (number, busy) = pulse.begin();
        let snapshot = worker.snapshots.current();
        let headers = request.headers();
        let trace = Trace::continue_or_start(only(headers, &TRACEPARENT).map(str::as_bytes));
        let telemetry = worker.snapshots.telemetry();
        let mut record = Recording::start_in(trace, telemetry, request.method().clone(), request.version());
        record.revision = snapshot.revision;
        record.tls = connection.tls.is_some();
        let trusted = connection.trusts(&snapshot.config, connection.peer.ip());
        let told = if trusted { only(headers, &X_REQUEST_ID) } else { None };
        if let Some(given) = told.and_then(RequestId::given) {
            record.request_id = given;
        }
        record.address = client_address::client_address(&snapshot.config, connection, headers);
        Self {
            trace_continued: record.trace.parent_id.is_some(),
            now: Timestamp::of(record.time),
            trusted,
            certificate: None,
            realm: None,
            resource_path: None,
            html: asks_for_html(headers),
            version: request.version(),
            head_only: request.method() == Method::HEAD,
            has_body: !request.body().is_end_stream(),
            irregular: request.version() != Version::HTTP_2 && pulse.is_irregular(number),
            last: number >= snapshot.config.limits.requests_per_connection,
            explanation: None,
            grant: None,
            standing: Standing::begin(snapshot.issuers.register()),
            worker: Rc::clone(worker),
            connection: Arc::clone(connection),
            snapshot,
            record,
            number,
            pulse: Arc::clone(pulse),
            busy: Rc::new(Occupied::new(busy, &worker.load)),
        }
    }

    /// Whether the listener only redirects.
    pub(super) fn redirects(&self) -> bool {
        self.snapshot.config.listeners.get(self.connection.listener).is_none_or(|listener| listener.redirect_https)
    }

    /// # Errors
    /// hyper has normalised something that should not have been there (http.md, "HTTP hygiene").
    pub(super) fn check_regular(&self) -> Result<(), Refusal> {
        if self.irregular { Err(Refusal::Framing("the message is not framed the way it should be")) } else { Ok(()) }
    }

    /// Settles host and form of the target.
    pub(super) fn name(&mut self, head: &Parts) -> Result<Authority, Refusal> {
        authority::form(head, &self.connection, self.trusted)?;
        let authority = authority::authority(head, &self.connection)?;
        self.record.host = Some(authority.as_str().into());
        Ok(authority)
    }

    /// # Errors
    /// The client asked for another certificate than the host's (RFC 9110 section 7.4).
    pub(super) fn check_covered(&self, authority: &Authority) -> Result<(), Refusal> {
        if self.connection.covers(authority.host()) { Ok(()) } else { Err(Refusal::NotCovered) }
    }

    /// Settles which certificate the client has shown.
    ///
    /// # Errors
    /// The listener would not accept the connection any more: since it began, the certificate has expired, or another
    /// configuration asks for another one.
    pub(super) fn identify_client(&mut self) -> Result<(), Refusal> {
        let found = self.connection.client_certificate(&self.snapshot, self.now);
        self.certificate = found.map_err(|_| Refusal::ClientCertificate)?;
        Ok(())
    }

    /// Notes where the request belongs. Metadata and preflights are the gateway's own to answer.
    pub(super) fn place(&mut self, placed: &Placed<'_>, method: &Method) -> Result<Option<Response<Bytes>>, Refusal> {
        let path = placed.canonical_path();
        let reserved = own::is_reserved(path);
        self.record.path = Some(path.to_owned());
        if let Some(published) = placed.published() {
            return self.publish(published, method).map(Some);
        }
        let policy = placed.policy().map_or("", |document| document.name());
        let route = placed.route().map_or("", |route| route.name());
        self.record.route = self.snapshot.routes.find(policy, route).cloned();
        self.realm = Some(policy.into()).filter(|_| !policy.is_empty());
        self.resource_path = placed.resource_path();
        self.grant = placed.preflight().is_none().then(|| placed.grant()).flatten();
        if reserved {
            return Err(Refusal::Reserved);
        }
        Ok(placed.preflight().map(|answer| response::preflight(&answer)))
    }

    /// Tells what a protected resource is, to pages of other origins as well.
    fn publish(&mut self, published: Published, method: &Method) -> Result<Response<Bytes>, Refusal> {
        let preflight = *method == Method::OPTIONS;
        self.grant = (!preflight).then(Grant::everyone);
        let Some(position) = own::published(published, method)? else { return Ok(metadata_options()) };
        let metadata = self.snapshot.metadata.get(position).ok_or(Refusal::Inconsistent)?;
        Ok(metadata.answer(self.record.host.as_deref().unwrap_or_default()))
    }

    /// Counts the request where its route counts addresses. What it answers is only observed.
    ///
    /// # Errors
    /// It is too much.
    pub(super) fn flood(&mut self, placed: &Placed<'_>) -> Result<Option<Exceeded>, Refusal> {
        let Some((route, _)) = placed.limit().filter(|(_, limit)| limit.per() == Per::Address) else { return Ok(None) };
        let sender = Sender { principal: None, address: self.record.address };
        let exceeded = self.snapshot.counters.count(route, &sender, self.record.started).err();
        let Some(denial) = exceeded.and_then(|exceeded| placed.limited(exceeded)) else { return Ok(None) };
        if placed.observes() {
            return Ok(exceeded);
        }
        self.denied(&denial);
        Err(Refusal::Denied(Box::new(denial)))
    }

    /// Counts an allowed request where its route does not count addresses.
    pub(super) fn count(&self, permit: &Permit, principal: Option<&Principal>) -> Option<Exceeded> {
        permit.limit().filter(|limit| limit.per() != Per::Address)?;
        let sender = Sender { principal, address: self.record.address };
        self.snapshot.counters.count(permit.route_id()?, &sender, self.record.started).err()
    }

    /// # Errors
    /// The announced length of the body is beyond the permit's.
    pub(super) fn check_length(&self, permit: &Permit, length: Option<u64>) -> Result<(), Refusal> {
        let limit = permit.max_body().unwrap_or(self.snapshot.config.limits.body);
        if length.is_some_and(|length| length > limit) { Err(Refusal::BodyTooLarge) } else { Ok(()) }
    }

    /// # Errors
    /// `audit.required` and no place for the record.
    pub(super) fn reserve(&mut self) -> Result<(), Refusal> {
        self.record.reserve().map_err(|_| Refusal::Unrecordable)
    }

    /// Records who asks, or which token does not hold.
    pub(super) fn identified(&mut self, found: &Result<Arc<Principal>, authn::Failure>) {
        match found {
            Ok(principal) => self.record.principal = Some(Arc::clone(principal)),
            Err(authn::Failure::Invalid(token)) => {
                let (fault, issuer) = (token.fault.as_str(), token.issuer.clone());
                self.record.principal = None;
                self.record.refused_token = Some(RefusedToken { fault, issuer, digest: token.token_digest });
            }
            Err(authn::Failure::ManyHeaders | authn::Failure::Missing | authn::Failure::Unavailable { .. }) => {}
        }
    }

    /// Records a decision.
    pub(super) fn decided(&mut self, decision: &Decision) {
        match decision {
            Decision::Allow(permit) => self.permitted(permit, Verdict::Allow),
            Decision::Observed(permit, denial) => {
                self.permitted(permit, Verdict::Observed { would: denial.status().as_u16() });
                self.denied(denial);
            }
            Decision::Deny(denial) => self.denied(denial),
            Decision::NeedsClaims | Decision::NeedsBody | Decision::Answered(_) => (),
        }
    }

    /// Records that a request without a valid token passes under `mode: observe`.
    pub(super) fn observed(&mut self, permit: &Permit, would: StatusCode, refusal: &Refusal) {
        self.permitted(permit, Verdict::Observed { would: would.as_u16() });
        self.record.reason = Some(refusal.reason());
    }

    /// Records everything that it takes to decide again, where an audit record will hold it.
    pub(super) fn note(&mut self, placed: &Placed<'_>, caller: &Caller<'_>, read: Option<&[u8]>) {
        if !self.audited() {
            return;
        }
        self.record.values = read.map_or_else(|| placed.values(caller), |read| placed.values_with_body(caller, read));
        self.record.facts = placed.facts();
        let names = |shown: &ClientCertificate| json!({"dns": shown.dns, "uri": shown.uri, "email": shown.email, "subject": shown.subject});
        self.record.facts.extend(caller.certificate.map(|shown| ("certificate", names(shown))));
        let unasked = caller.principal.map(|principal| &principal.pending.claims).filter(|claims| !claims.is_empty());
        self.record.facts.extend(unasked.map(|claims| ("unasked", json!(claims))));
        let refused = self.record.refused_token.as_ref();
        let refused = refused.map(|token| ("token", json!({"issuer": token.issuer, "fault": token.fault})));
        // Opening a WebSocket is decided as `GET`, whatever the version of HTTP calls it.
        let method = (placed.method() != self.record.method).then(|| ("method", placed.method().into()));
        self.record.facts.extend(refused.into_iter().chain(method));
    }

    fn audited(&self) -> bool {
        self.worker.snapshots.telemetry().audits(self.record.verdict)
    }

    fn permitted(&mut self, permit: &Permit, verdict: Verdict) {
        self.record.verdict = verdict;
        if !permit.lifted().is_empty() && self.audited() {
            let lifted = permit.lifted().iter();
            let lifted = lifted.map(|one| Condition { text: one.kind.as_str().into(), place: Some(one.place.clone()) });
            self.record.lifted = lifted.collect();
        }
    }

    fn denied(&mut self, denial: &Denial) {
        self.record.reason = Some(denial.reason().as_str());
        if let Some(place) = denial.place().filter(|_| self.audited()) {
            let text = denial.condition().map_or_else(|| denial.reason().as_str().into(), Arc::clone);
            self.record.condition = Some(Condition { text, place: Some(place.clone()) });
        }
    }

    /// What the upstream's side needs to know.
    pub(super) fn facts(&self, authority: &Authority, purpose: Purpose) -> Result<upstream::Facts, Refusal> {
        let texts =
            [authority.as_str().as_bytes(), self.record.request_id.as_bytes(), &self.record.trace.traceparent()];
        let [authority, request_id, traceparent] = upstream::header_values(texts).map_err(|_| Refusal::Inconsistent)?;
        Ok(upstream::Facts {
            authority,
            peer: Some(self.connection.peer.ip()),
            peer_is_trusted: self.trusted,
            client: self.record.address,
            scheme: self.connection.scheme().into(),
            port: self.connection.local.port(),
            request_id,
            traceparent,
            trace_continued: self.trace_continued,
            valid_until: self.record.principal.as_ref().map(|principal| principal.valid_until()),
            tunnel: (purpose == Purpose::WebSocket).then(|| TunnelTerms {
                drain: self.worker.drain.clone(),
                standing: self.tunnelled(),
                in_use: Some(Rc::clone(&self.busy) as Rc<dyn Any>),
            }),
        })
    }

    /// Begins the record of the exchange with the upstream.
    pub(super) fn call(&self, permit: &Permit) -> Option<UpstreamCall> {
        let (name, metrics) = self.snapshot.upstream_metrics.get(permit.upstream())?;
        let step = Step { after: self.record.started.elapsed(), duration: std::time::Duration::ZERO };
        Some(UpstreamCall {
            name: Arc::clone(name),
            metrics: Arc::clone(metrics),
            endpoint: None,
            retries: 0,
            over_budget: false,
            step,
            status: None,
            failure: None,
        })
    }

    /// Records what came back.
    pub(super) fn returned(
        &mut self,
        call: Option<UpstreamCall>,
        (attempts, answered): (upstream::Attempts, Result<Response<ResponseBody>, upstream::Failure>),
    ) -> Result<Response<Content>, Refusal> {
        let refusal = answered.map_err(Refusal::Upstream);
        self.record.upstream = call.map(|mut call| {
            (call.endpoint, call.retries, call.over_budget) =
                (attempts.endpoint, attempts.retries, attempts.over_budget);
            match &refusal {
                Ok(response) => call.status = Some(response.status().as_u16()),
                Err(refusal) => call.failure = Some(refusal.slug()),
            }
            call
        });
        refusal.map(|response| response.map(Content::Upstream))
    }

    /// Records that there was nothing to decide.
    pub(super) fn answered_by_the_gateway(&mut self, answer: Response<Bytes>) -> Response<Content> {
        self.record.verdict = Verdict::Own;
        answer.map(Content::Own)
    }

    /// Makes the answer and ties to it what has to outlive this function.
    pub(super) fn conclude(mut self, outcome: Result<Response<Content>, Refusal>) -> Response<Answer> {
        let mut close = self.last || self.version == Version::HTTP_10;
        let mut response = match outcome {
            Ok(response) => response,
            Err(refusal) => {
                close |= refusal.closes() || self.has_body;
                self.refuse(&refusal).map(Content::Own)
            }
        };
        if let Some(grant) = &self.grant {
            cors::apply(grant, &mut response);
        }
        // Who is told that the connection ends does not find it closed with the next request on the way.
        close |= self.worker.drain.is_cancelled();
        // An oddity inside the body shows only after the head was judged.
        close |= self.irregular || self.pulse.is_irregular(self.number);
        if close && self.version != Version::HTTP_2 && response.status() != StatusCode::SWITCHING_PROTOCOLS {
            response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
        }
        self.record.status = Some(response.status().as_u16());
        let bodiless = self.head_only
            || matches!(
                response.status(),
                StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED | StatusCode::SWITCHING_PROTOCOLS
            );
        let Self { record, busy, snapshot, standing, .. } = self;
        response.map(|content| Answer {
            content,
            record,
            bodiless,
            ended: false,
            turn: stall::turn(),
            standing,
            _busy: busy,
            snapshot,
        })
    }

    /// Says in the refusal why, in dev mode only: anywhere else it would tell strangers how to get in.
    pub(super) fn explain(&mut self, why: impl FnOnce() -> String) {
        if self.snapshot.config.dev {
            self.explanation = Some(why());
        }
    }

    fn refuse(&mut self, refusal: &Refusal) -> Response<Bytes> {
        if matches!(self.record.verdict, Verdict::Allow | Verdict::Observed { .. }) {
            self.record.error = Some(refusal.slug());
        } else {
            self.record.verdict = Verdict::Deny;
            self.record.reason = Some(refusal.reason());
        }
        if self.explanation.is_none() {
            self.explain(|| refusal.explain());
        }
        let authority = self.record.host.as_deref().unwrap_or_default();
        let resource_metadata = self.resource_path.as_ref().map(|path| metadata_url(authority, path));
        refusal.answer(&Circumstances {
            request_id: &self.record.request_id.to_string(),
            realm: self.realm.as_deref(),
            resource_metadata: resource_metadata.as_deref(),
            html: self.html,
            explanation: self.explanation.as_deref(),
        })
    }
}

/// Answers and records a head that could not be parsed.
pub(super) fn unreadable(snapshots: &Arc<Snapshots>, connection: &Connection, status: StatusCode) -> Bytes {
    let refusal = match status {
        StatusCode::REQUEST_TIMEOUT => Refusal::SlowHead,
        StatusCode::URI_TOO_LONG => Refusal::TargetTooLong,
        StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE => Refusal::Fields,
        _ => Refusal::Framing("the request cannot be parsed"),
    };
    let snapshot = snapshots.current();
    let unknown = Method::from_bytes(b"_UNREADABLE").unwrap_or_default();
    let mut record = Recording::start(snapshots.telemetry(), unknown, Version::HTTP_11);
    let peer: IpAddr = connection.peer.ip();
    record.address = Some(peer).filter(|peer| !connection.trusts(&snapshot.config, *peer));
    record.revision = snapshot.revision;
    record.tls = connection.tls.is_some();
    record.reason = Some(refusal.reason());
    record.status = Some(refusal.status().as_u16());
    let request_id = record.request_id.to_string();
    raw(&refusal.answer(&Circumstances { request_id: &request_id, ..Circumstances::default() }))
}

/// The one field of this name, as text.
fn only<'h>(headers: &'h HeaderMap, name: &HeaderName) -> Option<&'h str> {
    only_field(headers, name)?.to_str().ok()
}
