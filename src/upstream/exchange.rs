//! One request, one answer: over a pooled or a fresh connection, in time, and repeated only where that is safe.

use std::future::pending;
use std::pin::pin;
use std::rc::Rc;
use std::time::Duration;

use http::uri::{Authority, PathAndQuery};
use http::{Method, Request, Response, StatusCode, Uri, uri};
use hyper::body::Incoming;
use hyper::client::conn::TrySendError;
use tokio::task::yield_now;
use tokio::time::{Instant, sleep_until};

use super::body::{Progress, RequestBody, ResponseBody};
use super::failure::{Failure, ProtocolFault};
use super::load::{Configured, Upstream};
use super::location::Mapping;
use super::pool::{Freshness, Http1, Http1Lease, Lease, Pool, Wire};
use super::request_headers::Delivery;
use super::response_headers;
use super::tunnel::Opening;

/// Everything that is needed to get an answer.
#[derive(Debug)]
pub(super) struct Exchange<'u> {
    pub(super) configured: &'u Configured,
    pub(super) request: Request<RequestBody>,
    /// The view of the request body, if there is one.
    pub(super) progress: Option<Rc<Progress>>,
    /// Time to the response head.
    pub(super) timeout: Duration,
    /// When the token stops being valid.
    pub(super) ends_at: Option<Instant>,
    /// How the upstream's own addresses are mapped back, if they are.
    pub(super) mapping: Option<Mapping>,
    /// The handshake to finish, if the request asks for a WebSocket.
    pub(super) opening: Option<Opening>,
}

/// What is written as request target: origin form, or with the authority for HTTP/2.
pub(super) fn target(path: &PathAndQuery, upstream: &Upstream, delivery: &Delivery<'_>) -> Result<Uri, Failure> {
    let mut parts = uri::Parts::default();
    parts.path_and_query = Some(path.clone());
    if upstream.http2 {
        let authority = Authority::try_from(delivery.host.as_bytes()).map_err(|_| Failure::Unwritable)?;
        parts.authority = Some(authority);
        parts.scheme = Some(if upstream.endpoint.tls.is_some() { uri::Scheme::HTTPS } else { uri::Scheme::HTTP });
    }
    Uri::from_parts(parts).map_err(|_| Failure::Unwritable)
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
}

impl Exchange<'_> {
    /// Sends the request and waits for the head of its answer.
    pub(super) async fn run(self) -> Result<Response<ResponseBody>, Failure> {
        let pool = Pool::of(self.configured);
        if self.opening.is_some() {
            return self.run_tunnel(&pool).await;
        }
        if self.configured.upstream.http2 { self.run_http2(&pool).await } else { self.run_http1(pool).await }
    }

    async fn run_http1(mut self, pool: Rc<Pool>) -> Result<Response<ResponseBody>, Failure> {
        let repeatable = self.is_repeatable();
        let mut idle = pool.take();
        loop {
            let reused = idle.is_some();
            let mut connection = match idle.take() {
                Some(connection) => connection,
                None => pool.open().await?,
            };
            let spare = (reused && repeatable).then(|| copy(&self.request));
            let before = connection.wire.received();
            match self.send_http1(&mut connection).await {
                Attempt::Answered(response) => return self.finish(response, pool, connection),
                // The pool's connection closed under the request. A fresh one has no such excuse.
                Attempt::Unsent(request, _) if reused => self.request = *request,
                Attempt::Unsent(_, error) => return Err(self.lost(error)),
                Attempt::Lost(error) => match spare {
                    Some(spare) if connection.wire.received() == before => self.request = spare,
                    _ => return Err(self.lost(error)),
                },
                Attempt::TimedOut => return Err(Failure::ResponseTimeout(self.timeout)),
                Attempt::Flooded => return Err(Failure::Protocol(ProtocolFault::Interim)),
            }
        }
    }

    /// Idempotent (RFC 9110 section 9.2.2) and without a body.
    fn is_repeatable(&self) -> bool {
        const IDEMPOTENT: [Method; 5] = [Method::GET, Method::HEAD, Method::OPTIONS, Method::PUT, Method::DELETE];
        self.progress.is_none() && IDEMPOTENT.contains(self.request.method())
    }

    async fn send_http1(&mut self, connection: &mut Http1) -> Attempt {
        let mut request = std::mem::replace(&mut self.request, Request::new(RequestBody::none()));
        connection.wire.reset_interim();
        let wire = std::sync::Arc::clone(&connection.wire);
        hyper::ext::on_informational(&mut request, move |_| wire.count_interim());
        let answer = connection.sender.try_send_request(request);
        self.wait(answer, Some(&connection.wire)).await
    }

    /// Waits for the head. The clock runs only while the upstream is the one to act: not while the client still sends.
    async fn wait<A>(&self, answer: A, wire: Option<&Wire>) -> Attempt
    where
        A: Future<Output = Result<Response<Incoming>, TrySendError<Request<RequestBody>>>>,
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

    fn finish(
        self,
        response: Response<Incoming>,
        pool: Rc<Pool>,
        connection: Http1,
    ) -> Result<Response<ResponseBody>, Failure> {
        let lease = Lease::Http1(Http1Lease { pool, connection, request: self.progress.clone() });
        self.pass_on(response, lease)
    }

    /// Checks the answer and makes it the client's.
    fn pass_on(&self, response: Response<Incoming>, lease: Lease) -> Result<Response<ResponseBody>, Failure> {
        let (mut head, body) = response.into_parts();
        response_headers::rewrite(&mut head).map_err(Failure::Protocol)?;
        if let Some(mapping) = &self.mapping {
            mapping.apply(&mut head.headers);
        }
        Ok(Response::from_parts(head, ResponseBody::new(body, lease, self.ends_at)))
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

    async fn run_tunnel(mut self, pool: &Pool) -> Result<Response<ResponseBody>, Failure> {
        let Some(opening) = self.opening.take() else { return Err(Failure::Unwritable) };
        let mut connection = pool.open_upgradable().await?;
        match self.send_http1(&mut connection).await {
            Attempt::Answered(response) if response.status() == StatusCode::SWITCHING_PROTOCOLS => {
                opening.accept(response, self.ends_at).await
            }
            Attempt::Answered(response) => {
                opening.check_refusal(response.status())?;
                self.pass_on(response, Lease::Once(connection))
            }
            Attempt::Unsent(_, error) | Attempt::Lost(error) => Err(self.lost(error)),
            Attempt::TimedOut => Err(Failure::ResponseTimeout(self.timeout)),
            Attempt::Flooded => Err(Failure::Protocol(ProtocolFault::Interim)),
        }
    }

    async fn run_http2(mut self, pool: &Rc<Pool>) -> Result<Response<ResponseBody>, Failure> {
        let repeatable = self.is_repeatable();
        loop {
            let (connection, freshness) = pool.shared().await?;
            let reused = freshness == Freshness::Used;
            let spare = (reused && repeatable).then(|| copy(&self.request));
            let request = std::mem::replace(&mut self.request, Request::new(RequestBody::none()));
            let answer = connection.sender.clone().try_send_request(request);
            match self.wait(answer, None).await {
                Attempt::Answered(response) => return self.pass_on(response, Lease::Http2(connection)),
                Attempt::Unsent(request, _) if reused => {
                    pool.retire(&connection);
                    self.request = *request;
                }
                Attempt::Unsent(_, error) => return Err(self.lost(error)),
                Attempt::Lost(error) => {
                    // The stream may hear of the end before the connection does.
                    yield_now().await;
                    match spare {
                        Some(spare) if connection.sender.is_closed() => {
                            pool.retire(&connection);
                            self.request = spare;
                        }
                        _ => return Err(self.lost(error)),
                    }
                }
                Attempt::TimedOut => return Err(Failure::ResponseTimeout(self.timeout)),
                Attempt::Flooded => return Err(Failure::Protocol(ProtocolFault::Interim)),
            }
        }
    }
}

/// The same request again, for one that has no body.
fn copy(request: &Request<RequestBody>) -> Request<RequestBody> {
    let mut copy = Request::new(RequestBody::none());
    *copy.method_mut() = request.method().clone();
    *copy.uri_mut() = request.uri().clone();
    *copy.headers_mut() = request.headers().clone();
    copy
}
