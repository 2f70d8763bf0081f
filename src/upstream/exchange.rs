//! One request, one answer: over a pooled or a fresh connection, in time, and repeated only where that is safe.
//!
//! Repeated is what nobody can have seen (no connection came about, or nothing was written), and, if it is idempotent and
//! has no body, what was on its way when the connection closed without a byte of an answer; as far as the upstream's
//! budget goes. That a pooled connection turns out to be closed before anything was written costs nothing: no server
//! gets more to do by it.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use http::{Method, Response, StatusCode, response};
use smallvec::SmallVec;
use tokio::task::yield_now;
use tokio::time::{Instant, sleep_until};

use super::abandoned::Awaited;
use super::endpoint::Endpoint;
use super::failure::{ConnectionFault, Failure, ProtocolFault};
use super::http1::{Http1, NoAnswer, Reading, Sending};
use super::load::Configured;
use super::location::Mapping;
use super::member::Call;
use super::pool::{Freshness, Pool};
use super::request_body::{Progress, RequestBody};
use super::request_headers::Draft;
use super::response_body::ResponseBody;
use super::response_headers::{self, Announced};
use super::source::Source;
use super::tunnel::Opening;
use crate::clock::Timestamp;

/// How often one request is sent at most.
const ATTEMPTS: usize = 3;

/// Everything that is needed to get an answer.
#[derive(Debug)]
pub(super) struct Exchange<'u> {
    pub(super) configured: &'u Configured,
    /// What the request is made of, as often as it has to be.
    pub(super) draft: Draft<'u>,
    /// Its body, if there is one, until something of it has been sent.
    pub(super) body: Option<RequestBody>,
    /// The view of that body.
    pub(super) progress: Option<Rc<Progress>>,
    /// Time to the response head.
    pub(super) timeout: Duration,
    /// The last second in which the token is valid, where the answer ends with it.
    pub(super) valid_until: Option<Timestamp>,
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
            self.aim(&member.endpoint);
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

    /// The addresses that are mapped back, if any are, are those of this endpoint.
    fn aim(&mut self, endpoint: &Endpoint) {
        if let Some(mapping) = &mut self.mapping {
            mapping.scheme = endpoint.scheme();
            mapping.endpoint = endpoint.authority.to_ascii_lowercase();
            mapping.host = self.draft.host(endpoint).to_str().unwrap_or_default().to_ascii_lowercase();
        }
    }

    /// The body to send; `None` if there was one and it is not there any more.
    fn take_body(&mut self) -> Option<RequestBody> {
        if self.progress.is_some() { self.body.take() } else { Some(RequestBody::none()) }
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
            let Some(connection) = self.ask(connection, &chosen) else {
                return Err(Setback::final_one(chosen, Failure::Unwritable));
            };
            let mut awaited = Awaited::new(connection, &chosen.pool);
            let answered = self.wait(&mut awaited).await;
            let connection = awaited.into_connection();
            match (answered, connection) {
                (Some(Ok(head)), Some(connection)) => {
                    let home = Some(Rc::clone(&chosen.pool));
                    return self.pass_on(head, chosen, |status, announced| {
                        Source::Http1(Reading::new(connection, status, announced), home)
                    });
                }
                // The pool's connection closed under the request. A fresh one has no such excuse.
                (Some(Err(NoAnswer::Unsent(body, _))), _) if reused => self.body = Some(body),
                (Some(Err(fault)), connection) => {
                    let untouched = connection.is_some_and(|connection| !connection.is_touched());
                    return Err(self.unanswered(chosen, fault, (untouched, reused)));
                }
                (None | Some(Ok(_)), _) => {
                    return Err(Setback::final_one(chosen, Failure::ResponseTimeout(self.timeout)));
                }
            }
        }
    }

    /// The connection, asked. `None`: what it would be asked is not there any more.
    fn ask(&mut self, mut connection: Box<Http1>, chosen: &Chosen) -> Option<Box<Http1>> {
        let head = self.draft.http1(self.draft.host(&chosen.call.member.endpoint), connection.text());
        let sending = Sending::new(head, self.take_body()?, self.draft.framing);
        connection.ask(sending, self.draft.head.method == Method::HEAD);
        Some(connection)
    }

    /// Nothing was answered over a connection of HTTP/1.1.
    fn unanswered(&mut self, chosen: Chosen, fault: NoAnswer, (untouched, reused): (bool, bool)) -> Setback {
        match fault {
            NoAnswer::Unsent(body, fault) => {
                self.body = Some(body);
                Setback { failure: self.lost(fault), chosen, again: Again::Elsewhere }
            }
            NoAnswer::Lost(fault) => self.lost_with(chosen, fault, (untouched && self.is_repeatable(reused), reused)),
            NoAnswer::Flooded => Setback::final_one(chosen, Failure::Protocol(ProtocolFault::Interim)),
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
    fn lost_with(&self, chosen: Chosen, fault: ConnectionFault, (repeatable, reused): (bool, bool)) -> Setback {
        let failure = self.lost(fault);
        let again = match &failure {
            Failure::Closed(_) if repeatable && reused => Again::Anywhere,
            Failure::Closed(_) if repeatable => Again::Elsewhere,
            _ => Again::Never,
        };
        Setback { chosen, failure, again }
    }

    /// Waits for the head; `None` where it does not come in time. The clock runs only while the upstream is the one to act:
    /// not while the client still sends.
    async fn wait<A: Future>(&self, answer: A) -> Option<A::Output> {
        let mut answer = pin!(answer);
        let mut timer = pin!(sleep_until(Instant::now() + self.timeout));
        loop {
            tokio::select! {
                biased;
                outcome = &mut answer => return Some(outcome),
                () = &mut timer => {
                    let now = Instant::now();
                    let due = self.due(now);
                    if due <= now {
                        return None;
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

    /// Checks the answer and makes it the client's. `source`: where its content comes from.
    fn pass_on(
        &self,
        mut head: response::Parts,
        chosen: Chosen,
        source: impl FnOnce(StatusCode, Announced) -> Source,
    ) -> Result<Response<ResponseBody>, Setback> {
        let announced = match response_headers::rewrite(&mut head) {
            Ok(announced) => announced,
            Err(fault) => return Err(Setback::final_one(chosen, Failure::Protocol(fault))),
        };
        if let Some(mapping) = &self.mapping {
            mapping.apply(&mut head.headers);
        }
        let source = source(head.status, announced);
        Ok(Response::from_parts(head, ResponseBody::new(source, chosen.call, self.valid_until)))
    }

    /// Why there is no answer: what the client did to its own request comes before what the upstream did about it.
    fn lost(&self, fault: ConnectionFault) -> Failure {
        if let Some(fault) = self.progress.as_ref().and_then(|progress| progress.fault()) {
            return fault.into();
        }
        match fault {
            ConnectionFault::Malformed(_) => Failure::Protocol(ProtocolFault::Malformed(fault)),
            fault => Failure::Closed(fault),
        }
    }

    /// A WebSocket is opened once: what the upstream may have seen of it is not sent again.
    async fn run_tunnel(&mut self, chosen: Chosen) -> Result<Response<ResponseBody>, Setback> {
        let connection = match chosen.pool.open().await {
            Ok(connection) => connection,
            Err(failure) => return Err(Setback::connecting(chosen, failure)),
        };
        let (Some(mut connection), Some(opening)) = (self.ask(connection, &chosen), self.opening.take()) else {
            return Err(Setback::final_one(chosen, Failure::Unwritable));
        };
        let answered = self.wait(poll_fn(|cx| connection.poll_answer(cx))).await;
        let head = match answered {
            Some(Ok(head)) => head,
            Some(Err(fault)) => {
                let setback = self.unanswered(chosen, fault, (false, false));
                return Err(Setback { again: Again::Never, ..setback });
            }
            None => return Err(Setback::final_one(chosen, Failure::ResponseTimeout(self.timeout))),
        };
        if head.status == StatusCode::SWITCHING_PROTOCOLS {
            let accepted = opening.accept(head, *connection, &chosen.call, self.valid_until);
            return accepted.map_err(|failure| Setback::final_one(chosen, failure));
        }
        match opening.check_refusal(head.status) {
            Ok(()) => self.pass_on(head, chosen, |status, announced| {
                Source::Http1(Reading::new(connection, status, announced), None)
            }),
            Err(failure) => Err(Setback::final_one(chosen, failure)),
        }
    }

    async fn run_http2(&mut self, chosen: Chosen) -> Result<Response<ResponseBody>, Setback> {
        loop {
            let (connection, freshness) = match chosen.pool.shared().await {
                Ok(found) => found,
                Err(failure) => return Err(Setback::connecting(chosen, failure)),
            };
            let reused = freshness == Freshness::Used;
            let request = self.take_body().and_then(|body| self.draft.http2(&chosen.call.member.endpoint, body));
            let Some(request) = request else { return Err(Setback::final_one(chosen, Failure::Unwritable)) };
            let mut error = match self.wait(connection.sender.clone().try_send_request(request)).await {
                Some(Ok(response)) => {
                    let (head, body) = response.into_parts();
                    return self.pass_on(head, chosen, |_, _| Source::Http2(body, connection));
                }
                Some(Err(error)) => error,
                None => return Err(Setback::final_one(chosen, Failure::ResponseTimeout(self.timeout))),
            };
            if let Some(unsent) = error.take_message() {
                self.body = Some(unsent.into_body());
                if !reused {
                    let failure = self.lost(ConnectionFault::Http2(error.into_error()));
                    return Err(Setback { failure, chosen, again: Again::Elsewhere });
                }
                chosen.pool.retire(&connection);
                continue;
            }
            // The stream may hear of the end before the connection does.
            yield_now().await;
            let closed = connection.sender.is_closed();
            if closed {
                chosen.pool.retire(&connection);
            }
            let fault = ConnectionFault::Http2(error.into_error());
            return Err(self.lost_with(chosen, fault, (closed && self.is_repeatable(reused), reused)));
        }
    }
}
