//! One request, one answer: over a pooled or a fresh connection, in time, and repeated only where that is safe.
//!
//! Repeated is what nobody can have seen (no connection came about, or nothing was written), and, if it is idempotent and
//! has no body, what was on its way when the connection closed without a byte of an answer; as far as the upstream's
//! budget goes. That a pooled connection turns out to be closed before anything was written costs nothing: no server
//! gets more to do by it.

use std::future::pending;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use http::header::HOST;
use http::uri::Authority;
use http::{Method, Request, Response, StatusCode, Uri, uri};
use hyper::body::Incoming;
use smallvec::SmallVec;
use tokio::task::yield_now;
use tokio::time::{Instant, sleep_until};

use super::abandoned::{Answered, Awaited};
use super::body::{Progress, RequestBody, ResponseBody};
use super::endpoint::{Endpoint, Host};
use super::failure::{Failure, ProtocolFault};
use super::load::Configured;
use super::location::Mapping;
use super::member::Call;
use super::pool::{Freshness, Http1, Http1Lease, Lease, Pool, Wire};
use super::request_headers::Draft;
use super::response_headers;
use super::tunnel::Opening;

/// How often one request is sent at most.
const ATTEMPTS: usize = 3;

/// Everything that is needed to get an answer.
#[derive(Debug)]
pub(super) struct Exchange<'u> {
    pub(super) configured: &'u Configured,
    /// What the request is made of, as often as it has to be: one without body can be made again.
    pub(super) draft: Draft<'u>,
    /// The request, unless it was sent.
    pub(super) request: Option<Request<RequestBody>>,
    /// The view of the request body, if there is one.
    pub(super) progress: Option<Rc<Progress>>,
    /// Time to the response head.
    pub(super) timeout: Duration,
    /// When the token stops being valid.
    pub(super) ends_at: Option<Instant>,
    /// How the upstream's own addresses are mapped back, if they are.
    pub(super) mapping: Option<Box<Mapping>>,
    /// The handshake to finish, if the request asks for a WebSocket.
    pub(super) opening: Option<Box<Opening>>,
}

/// Who was asked, and how often.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Attempts {
    /// The address that answered, or failed last.
    pub endpoint: Option<Arc<str>>,
    /// Attempts beyond the first.
    pub retries: u32,
    /// There would have been another, had the upstream's budget allowed it.
    pub over_budget: bool,
}

/// Who is asked next.
#[derive(Debug)]
struct Chosen {
    call: Call,
    pool: Rc<Pool>,
    /// Nothing from the pool will do.
    fresh: bool,
}

/// A failed attempt.
struct Setback {
    chosen: Chosen,
    failure: Failure,
    again: Again,
}

/// Where the request may be sent again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Again {
    /// Nowhere.
    Never,
    /// At another member, if there is one.
    Elsewhere,
    /// At another member, or else here over a connection of its own.
    Anywhere,
}

/// The outcome of sending a request once.
enum Attempt {
    /// The head of an answer.
    Answered(Response<Incoming>),
    /// Nothing was written; here is the request again.
    Unsent(Box<Request<RequestBody>>, hyper::Error),
    /// Written at least in part, and no whole head came back.
    Lost(hyper::Error),
    /// No head in time.
    TimedOut,
    /// More interim responses than allowed.
    Flooded,
    /// There was nothing to send.
    Unaimed,
}

impl Setback {
    fn final_one(chosen: Chosen, failure: Failure) -> Self {
        Self { chosen, failure, again: Again::Never }
    }

    /// No connection came about. Where there was no slot for one, there is none elsewhere.
    fn connecting(chosen: Chosen, failure: Failure) -> Self {
        let again = if failure.is_the_endpoints() { Again::Elsewhere } else { Again::Never };
        Self { chosen, failure, again }
    }
}

impl Exchange<'_> {
    /// Sends the request and waits for the head of its answer.
    pub(super) async fn run(&mut self) -> (Attempts, Result<Response<ResponseBody>, Failure>) {
        let mut attempts = Attempts::default();
        let answered = self.answer(&mut attempts).await;
        (attempts, answered)
    }

    async fn answer(&mut self, attempts: &mut Attempts) -> Result<Response<ResponseBody>, Failure> {
        let Configured { upstream, members, .. } = self.configured;
        upstream.budget.earn();
        if members.is_empty() {
            Box::pin(members.found(upstream)).await?;
        }
        let mut chosen = self.choose(&[]).ok_or_else(|| upstream.nobody())?;
        let mut tried: SmallVec<[u64; ATTEMPTS]> = SmallVec::new();
        loop {
            let member = Arc::clone(&chosen.call.member);
            attempts.endpoint = Some(Arc::clone(&member.name));
            tried.push(member.id);
            self.aim(&member.endpoint)?;
            let Setback { chosen: before, failure, again } = match self.attempt(chosen).await {
                Ok(response) => return Ok(response),
                Err(setback) => setback,
            };
            // Servers close connections that have been idle, and requests cross that on their way.
            if failure.is_the_endpoints() && again != Again::Anywhere {
                before.call.failed();
            }
            if tried.len() >= ATTEMPTS {
                return Err(failure);
            }
            let next = match again {
                Again::Never => None,
                Again::Elsewhere => self.choose(&tried),
                Again::Anywhere => self.choose(&tried).or(Some(Chosen { fresh: true, ..before })),
            };
            let Some(next) = next else { return Err(failure) };
            if !upstream.budget.spend() {
                attempts.over_budget = true;
                return Err(failure);
            }
            attempts.retries += 1;
            chosen = next;
        }
    }

    /// Another than those tried; `None` where there is none.
    fn choose(&self, tried: &[u64]) -> Option<Chosen> {
        let Configured { upstream, members, .. } = self.configured;
        let seats = members.seats();
        let seat = members.choose(&seats, upstream.balance, tried)?;
        let pool = Pool::of(upstream, seat);
        Some(Chosen { call: Call::new(members, &seat.member), pool, fresh: false })
    }

    /// Writes what depends on the endpoint.
    fn aim(&mut self, endpoint: &Endpoint) -> Result<(), Failure> {
        if self.request.is_none() && self.progress.is_some() {
            // What was sent of a body is not there any more.
            return Err(Failure::Unwritable);
        }
        let request = self.request.get_or_insert_with(|| self.draft.request());
        let host = match &endpoint.host {
            Host::Original => self.draft.delivery.host,
            Host::Fixed(name) => name,
        };
        if self.configured.upstream.http2 {
            let mut parts = uri::Parts::default();
            parts.path_and_query = request.uri().path_and_query().cloned();
            parts.authority = Some(Authority::try_from(host.as_bytes()).map_err(|_| Failure::Unwritable)?);
            parts.scheme = Some(if endpoint.tls.is_some() { uri::Scheme::HTTPS } else { uri::Scheme::HTTP });
            *request.uri_mut() = Uri::from_parts(parts).map_err(|_| Failure::Unwritable)?;
        } else if let Host::Fixed(name) = &endpoint.host {
            request.headers_mut().insert(HOST, name.clone());
        }
        if let Some(mapping) = &mut self.mapping {
            mapping.scheme = endpoint.scheme();
            mapping.endpoint = endpoint.authority.to_ascii_lowercase();
            mapping.host = host.to_str().unwrap_or_default().to_ascii_lowercase();
        }
        Ok(())
    }

    async fn attempt(&mut self, chosen: Chosen) -> Result<Response<ResponseBody>, Setback> {
        if self.opening.is_some() {
            Box::pin(self.run_tunnel(chosen)).await
        } else if self.configured.upstream.http2 {
            Box::pin(self.run_http2(chosen)).await
        } else {
            self.run_http1(chosen).await
        }
    }

    async fn run_http1(&mut self, chosen: Chosen) -> Result<Response<ResponseBody>, Setback> {
        let mut idle = if chosen.fresh { None } else { chosen.pool.take() };
        loop {
            let reused = idle.is_some();
            let connection = match idle.take() {
                Some(connection) => connection,
                None => match Box::pin(chosen.pool.open()).await {
                    Ok(connection) => connection,
                    Err(failure) => return Err(Setback::connecting(chosen, failure)),
                },
            };
            let repeatable = self.is_repeatable(reused);
            let wire = Arc::clone(&connection.wire);
            let before = wire.received();
            let (attempt, lease) = self.send_pooled(connection, &chosen.pool).await;
            match attempt {
                Attempt::Answered(response) => return self.pass_on(response, lease.map(Lease::Http1), chosen),
                // The pool's connection closed under the request. A fresh one has no such excuse.
                Attempt::Unsent(request, _) if reused => self.request = Some(*request),
                Attempt::Unsent(request, error) => {
                    self.request = Some(*request);
                    return Err(Setback { failure: self.lost(error), chosen, again: Again::Elsewhere });
                }
                Attempt::Lost(error) => {
                    let untouched = wire.received() == before;
                    return Err(self.lost_with(chosen, error, (repeatable && untouched, reused)));
                }
                Attempt::TimedOut => return Err(Setback::final_one(chosen, Failure::ResponseTimeout(self.timeout))),
                Attempt::Flooded => {
                    return Err(Setback::final_one(chosen, Failure::Protocol(ProtocolFault::Interim)));
                }
                Attempt::Unaimed => return Err(Setback::final_one(chosen, Failure::Unwritable)),
            }
        }
    }

    /// Whether the request may be sent again when nobody can have seen an answer to it: it is idempotent (RFC 9110 section
    /// 9.2.2), has no body, and there is where to.
    fn is_repeatable(&self, reused: bool) -> bool {
        const IDEMPOTENT: [Method; 5] = [Method::GET, Method::HEAD, Method::OPTIONS, Method::PUT, Method::DELETE];
        let elsewhere = || self.configured.members.seats().len() > 1;
        self.progress.is_none() && IDEMPOTENT.contains(&self.draft.head.method) && (reused || elsewhere())
    }

    /// The connection is gone, and the request with it. A server that has closed a fresh connection under it is not
    /// asked again.
    fn lost_with(&self, chosen: Chosen, error: hyper::Error, (repeatable, reused): (bool, bool)) -> Setback {
        let failure = self.lost(error);
        let again = match &failure {
            Failure::Closed(_) if repeatable && reused => Again::Anywhere,
            Failure::Closed(_) if repeatable => Again::Elsewhere,
            _ => Again::Never,
        };
        Setback { chosen, failure, again }
    }

    /// Sends the request over a connection that may go back to its pool.
    async fn send_pooled(&mut self, mut connection: Http1, pool: &Rc<Pool>) -> (Attempt, Option<Http1Lease>) {
        let Some(answer) = self.send(&mut connection) else { return (Attempt::Unaimed, None) };
        let wire = Arc::clone(&connection.wire);
        let lease = Http1Lease { pool: Rc::clone(pool), connection, request: self.progress.clone() };
        let mut awaited = Awaited::new(answer, lease);
        let attempt = self.wait(&mut awaited, Some(&wire)).await;
        (attempt, awaited.into_lease())
    }

    /// The answer to the request, if there is one to send.
    fn send(&mut self, connection: &mut Http1) -> Option<impl Future<Output = Answered> + use<>> {
        let mut request = self.request.take()?;
        connection.wire.reset_interim();
        let wire = Arc::clone(&connection.wire);
        hyper::ext::on_informational(&mut request, move |_| wire.count_interim());
        Some(connection.sender.try_send_request(request))
    }

    /// Waits for the head. The clock runs only while the upstream is the one to act: not while the client still sends.
    async fn wait<A>(&self, answer: A, wire: Option<&Wire>) -> Attempt
    where
        A: Future<Output = Answered>,
    {
        let mut answer = pin!(answer);
        let mut flooded = pin!(async {
            match wire {
                Some(wire) => wire.flooded().await,
                None => pending().await,
            }
        });
        let mut timer = pin!(sleep_until(Instant::now() + self.timeout));
        loop {
            tokio::select! {
                biased;
                outcome = &mut answer => return match outcome {
                    Ok(_) if wire.is_some_and(Wire::is_flooded) => Attempt::Flooded,
                    Ok(response) => Attempt::Answered(response),
                    Err(mut error) => match error.take_message() {
                        Some(request) => Attempt::Unsent(Box::new(request), error.into_error()),
                        None => Attempt::Lost(error.into_error()),
                    },
                },
                () = &mut flooded => return Attempt::Flooded,
                () = &mut timer => {
                    let now = Instant::now();
                    let due = self.due(now);
                    if due <= now {
                        return Attempt::TimedOut;
                    }
                    timer.as_mut().reset(due);
                }
            }
        }
    }

    /// When the upstream has to have answered, as things stand.
    fn due(&self, now: Instant) -> Instant {
        match &self.progress {
            None => now,
            Some(progress) => progress.upstream_due_since().unwrap_or(now) + self.timeout,
        }
    }

    /// Checks the answer and makes it the client's.
    fn pass_on(
        &self,
        response: Response<Incoming>,
        lease: Option<Lease>,
        chosen: Chosen,
    ) -> Result<Response<ResponseBody>, Setback> {
        let (mut head, body) = response.into_parts();
        if let Err(fault) = response_headers::rewrite(&mut head) {
            return Err(Setback::final_one(chosen, Failure::Protocol(fault)));
        }
        if let Some(mapping) = &self.mapping {
            mapping.apply(&mut head.headers);
        }
        Ok(Response::from_parts(head, ResponseBody::new(body, lease, chosen.call, self.ends_at)))
    }

    /// Why there is no answer: what the client did to its own request comes before what the upstream did about it.
    fn lost(&self, error: hyper::Error) -> Failure {
        if let Some(fault) = self.progress.as_ref().and_then(|progress| progress.fault()) {
            return fault.into();
        }
        if error.is_parse() || error.is_parse_too_large() {
            return Failure::Protocol(ProtocolFault::Malformed(error));
        }
        Failure::Closed(error)
    }

    /// A WebSocket is opened once: what the upstream may have seen of it is not sent again.
    async fn run_tunnel(&mut self, chosen: Chosen) -> Result<Response<ResponseBody>, Setback> {
        let mut connection = match chosen.pool.open_upgradable().await {
            Ok(connection) => connection,
            Err(failure) => return Err(Setback::connecting(chosen, failure)),
        };
        let attempt = match self.send(&mut connection) {
            Some(answer) => self.wait(answer, Some(&connection.wire)).await,
            None => Attempt::Unaimed,
        };
        let failure = match attempt {
            Attempt::Answered(response) => return self.open_tunnel(response, connection, chosen).await,
            Attempt::Unsent(_, error) | Attempt::Lost(error) => self.lost(error),
            Attempt::TimedOut => Failure::ResponseTimeout(self.timeout),
            Attempt::Flooded => Failure::Protocol(ProtocolFault::Interim),
            Attempt::Unaimed => Failure::Unwritable,
        };
        Err(Setback::final_one(chosen, failure))
    }

    async fn open_tunnel(
        &mut self,
        response: Response<Incoming>,
        connection: Http1,
        chosen: Chosen,
    ) -> Result<Response<ResponseBody>, Setback> {
        let Some(opening) = self.opening.take() else { return Err(Setback::final_one(chosen, Failure::Unwritable)) };
        if response.status() != StatusCode::SWITCHING_PROTOCOLS {
            return match opening.check_refusal(response.status()) {
                Ok(()) => self.pass_on(response, Some(Lease::Once(connection)), chosen),
                Err(failure) => Err(Setback::final_one(chosen, failure)),
            };
        }
        let accepted = opening.accept(response, &chosen.call, self.ends_at).await;
        accepted.map_err(|failure| Setback::final_one(chosen, failure))
    }

    async fn run_http2(&mut self, chosen: Chosen) -> Result<Response<ResponseBody>, Setback> {
        loop {
            let (connection, freshness) = match chosen.pool.shared().await {
                Ok(found) => found,
                Err(failure) => return Err(Setback::connecting(chosen, failure)),
            };
            let reused = freshness == Freshness::Used;
            let repeatable = self.is_repeatable(reused);
            let Some(request) = self.request.take() else {
                return Err(Setback::final_one(chosen, Failure::Unwritable));
            };
            let answer = connection.sender.clone().try_send_request(request);
            match self.wait(answer, None).await {
                Attempt::Answered(response) => return self.pass_on(response, Some(Lease::Http2(connection)), chosen),
                Attempt::Unsent(request, _) if reused => {
                    chosen.pool.retire(&connection);
                    self.request = Some(*request);
                }
                Attempt::Unsent(request, error) => {
                    self.request = Some(*request);
                    return Err(Setback { failure: self.lost(error), chosen, again: Again::Elsewhere });
                }
                Attempt::Lost(error) => {
                    // The stream may hear of the end before the connection does.
                    yield_now().await;
                    let closed = connection.sender.is_closed();
                    if closed {
                        chosen.pool.retire(&connection);
                    }
                    return Err(self.lost_with(chosen, error, (repeatable && closed, reused)));
                }
                Attempt::TimedOut => return Err(Setback::final_one(chosen, Failure::ResponseTimeout(self.timeout))),
                Attempt::Flooded => {
                    return Err(Setback::final_one(chosen, Failure::Protocol(ProtocolFault::Interim)));
                }
                Attempt::Unaimed => return Err(Setback::final_one(chosen, Failure::Unwritable)),
            }
        }
    }
}
