//! A gateway without policy: a hyper server in front of `Upstreams::prepare`, and upstreams made of raw bytes.

use std::cell::{Cell, RefCell};
use std::convert::Infallible;
use std::future::Future;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use http::{HeaderName, HeaderValue, Request, Response, StatusCode};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{LocalSet, spawn_local};
use tokio_util::sync::CancellationToken;

use super::super::load::{Configured, Shared};
use super::super::request_body::BodyLimits;
use super::super::request_headers::{Effects, IdentityNames};
use super::super::{Facts, Failure, Order, ResponseBody, Scheme, TunnelTerms, Upstreams, asks_for_websocket};
use crate::clock::Timestamp;
use crate::config::{self, Balance, ClientAddressHeader, Endpoint, Protocol, UpstreamHost, UpstreamTls};
use crate::diagnostic::Diagnostics;
use crate::policy::AuthorizationHeader;
use crate::target::quirks::Quirks;

/// Runs a test on one thread, as a worker does; a test that hangs fails.
pub(super) fn run<T>(test: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    LocalSet::new()
        .block_on(&runtime, async { tokio::time::timeout(Duration::from_mins(1), test).await.expect("the test hangs") })
}

/// An upstream with short times at this address.
pub(super) fn upstream_at(address: SocketAddr) -> config::Upstream {
    config::Upstream {
        name: "crm".into(),
        endpoints: vec![Endpoint { tls: false, host: address.ip().to_string(), port: address.port(), unix: false }],
        protocol: Protocol::Http1,
        balance: Balance::RandomTwoLeastRequests,
        connect_timeout: Duration::from_secs(2),
        response_timeout: Duration::from_secs(5),
        idle_timeout: Duration::from_mins(1),
        health: None,
        tls: UpstreamTls::default(),
        quirks: Quirks::default(),
        host: UpstreamHost::Original,
        rewrite_location: false,
        max_connections: 1024,
    }
}

/// What the permit would say.
pub(super) struct Permitted {
    pub(super) target: String,
    pub(super) set: Vec<(&'static str, &'static str)>,
    pub(super) removes: Vec<Box<str>>,
    pub(super) authorization: AuthorizationHeader,
    pub(super) timeout: Option<Duration>,
    pub(super) max_body: Option<u64>,
    pub(super) trusted: bool,
    pub(super) valid_until: Option<Timestamp>,
    pub(super) body_idle: Duration,
    pub(super) drain: CancellationToken,
}

impl Default for Permitted {
    fn default() -> Self {
        Self {
            target: String::new(),
            set: vec![("x-auth-subject", "alice"), ("x-auth-global", "false"), ("x-auth-org-uids", "none")],
            removes: Vec::new(),
            authorization: AuthorizationHeader::Strip,
            timeout: None,
            max_body: None,
            trusted: false,
            valid_until: None,
            body_idle: Duration::from_secs(30),
            drain: CancellationToken::new(),
        }
    }
}

/// A running gateway without policy.
pub(super) struct Gate {
    pub(super) address: SocketAddr,
    pub(super) failures: Rc<RefCell<Vec<String>>>,
}

impl Gate {
    /// In front of this upstream, HTTP/1 towards clients.
    pub(super) async fn start(upstream: &config::Upstream, permitted: Permitted) -> Self {
        Self::serve(upstream, permitted, false).await
    }

    /// The same with HTTP/2 towards clients.
    pub(super) async fn start_http2(upstream: &config::Upstream, permitted: Permitted) -> Self {
        Self::serve(upstream, permitted, true).await
    }

    async fn serve(upstream: &config::Upstream, permitted: Permitted, http2: bool) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let failures = Rc::new(RefCell::new(Vec::new()));
        let upstreams = Rc::new(upstreams(upstream, permitted.body_idle));
        upstreams.succeed(None, &tokio::runtime::Handle::current());
        let permitted = Rc::new(permitted);
        let log = Rc::clone(&failures);
        spawn_local(async move {
            loop {
                let (stream, peer) = listener.accept().await.unwrap();
                let (upstreams, permitted, log) = (Rc::clone(&upstreams), Rc::clone(&permitted), Rc::clone(&log));
                let service = service_fn(move |request| {
                    answer(Rc::clone(&upstreams), Rc::clone(&permitted), Rc::clone(&log), request, peer)
                });
                spawn_local(async move {
                    let io = TokioIo::new(stream);
                    if http2 {
                        let mut builder = hyper::server::conn::http2::Builder::new(Local);
                        builder.enable_connect_protocol();
                        let _ = builder.serve_connection(io, service).await;
                    } else {
                        let mut builder = hyper::server::conn::http1::Builder::new();
                        builder.timer(TokioTimer::new());
                        let _ = builder.serve_connection(io, service).with_upgrades().await;
                    }
                });
            }
        });
        Self { address, failures }
    }

    /// Sends bytes on a connection of their own, closes the writing side, and reads all that comes back.
    pub(super) async fn send(&self, bytes: impl AsRef<[u8]>) -> String {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        stream.write_all(bytes.as_ref()).await.unwrap();
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer).await;
        String::from_utf8_lossy(&answer).into_owned()
    }

    /// The failures so far, as debug text.
    pub(super) fn failures(&self) -> Vec<String> {
        self.failures.borrow().clone()
    }
}

/// Upstreams with one member.
pub(super) fn upstreams(upstream: &config::Upstream, body_idle: Duration) -> Upstreams {
    let mut problems = Diagnostics::new();
    let configured = Configured::load(upstream, None, &mut problems);
    assert!(!problems.has_errors(), "{}", problems.render());
    Upstreams {
        list: vec![configured.unwrap()],
        shared: Shared {
            identity: Arc::new(IdentityNames { prefix: "x-auth-".into(), pass: vec!["x-auth-token".into()] }),
            client_address_from: ClientAddressHeader::XForwardedFor,
            body: BodyLimits { size: 100 * 1024 * 1024, idle: body_idle },
            stream_follows_token: true,
        },
        signer: None,
    }
}

async fn answer(
    upstreams: Rc<Upstreams>,
    permitted: Rc<Permitted>,
    log: Rc<RefCell<Vec<String>>>,
    request: Request<Incoming>,
    peer: SocketAddr,
) -> Result<Response<ResponseBody>, Infallible> {
    let target = if permitted.target.is_empty() {
        request.uri().path_and_query().unwrap().clone()
    } else {
        permitted.target.parse().unwrap()
    };
    let set: Vec<_> = permitted
        .set
        .iter()
        .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)))
        .collect();
    let effects = Effects {
        set: set.iter().map(|(name, value)| (name, value)).collect(),
        assertion: None,
        removes: &permitted.removes,
        authorization: permitted.authorization,
        strips_method_override: true,
    };
    let order = Order {
        upstream: 0,
        target: &target,
        timeout: permitted.timeout,
        max_body: permitted.max_body,
        stripped: None,
        added: None,
    };
    let facts = facts(&permitted, &request, peer);
    let request = request.map(Into::into);
    let outcome = match upstreams.prepare(&order, effects, request, &facts) {
        Ok(mut prepared) => prepared.run().await.1,
        Err(failure) => Err(failure),
    };
    Ok(outcome.unwrap_or_else(|failure| {
        log.borrow_mut().push(format!("{failure:?}"));
        let mut refusal = Response::new(ResponseBody::empty());
        *refusal.status_mut() = status(&failure);
        refusal
    }))
}

fn facts(permitted: &Permitted, request: &Request<Incoming>, peer: SocketAddr) -> Facts {
    Facts {
        authority: HeaderValue::from_static("api.example.com"),
        peer: Some(peer.ip()),
        peer_is_trusted: permitted.trusted,
        client: Some(peer.ip()),
        scheme: Scheme::Https,
        port: 8443,
        request_id: HeaderValue::from_static("0190-id"),
        traceparent: HeaderValue::from_static("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"),
        trace_continued: false,
        valid_until: permitted.valid_until,
        tunnel: asks_for_websocket(request).then(|| TunnelTerms {
            drain: permitted.drain.clone(),
            standing: None,
            in_use: None,
        }),
    }
}

fn status(failure: &Failure) -> StatusCode {
    match failure {
        Failure::Unreachable(_)
        | Failure::Unresolved(_)
        | Failure::Tls(_)
        | Failure::Protocol(_)
        | Failure::Closed(_) => StatusCode::BAD_GATEWAY,
        Failure::ConnectTimeout(_) | Failure::ResponseTimeout(_) => StatusCode::GATEWAY_TIMEOUT,
        Failure::Saturated(_) | Failure::NoneHealthy(_) => StatusCode::SERVICE_UNAVAILABLE,
        Failure::RequestTooLarge(_) => StatusCode::PAYLOAD_TOO_LARGE,
        Failure::RequestIdle(_) => StatusCode::REQUEST_TIMEOUT,
        Failure::RequestBroken => StatusCode::BAD_REQUEST,
        Failure::Unwritable => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

/// hyper's tasks on this thread.
#[derive(Debug, Clone, Copy)]
pub(super) struct Local;

impl<F: Future<Output: 'static> + 'static> hyper::rt::Executor<F> for Local {
    fn execute(&self, future: F) {
        spawn_local(future);
    }
}

/// An upstream whose connections are scripted byte by byte.
pub(super) struct Raw {
    pub(super) address: SocketAddr,
    pub(super) connections: Rc<Cell<usize>>,
    /// What arrived, over all connections, in order of arrival.
    pub(super) seen: Rc<RefCell<Vec<u8>>>,
}

impl Raw {
    /// Runs `script` for every connection, with its number from 0.
    pub(super) async fn start<F, S>(script: S) -> Self
    where
        S: Fn(usize, Conversation) -> F + 'static,
        F: Future<Output = ()> + 'static,
    {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let connections = Rc::new(Cell::new(0));
        let seen = Rc::new(RefCell::new(Vec::new()));
        let (count, log) = (Rc::clone(&connections), Rc::clone(&seen));
        spawn_local(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let number = count.get();
                count.set(number + 1);
                spawn_local(script(number, Conversation { stream, seen: Rc::clone(&log) }));
            }
        });
        Self { address, connections, seen }
    }

    /// Answers every request of every connection with these bytes, requests having bodies as announced.
    pub(super) async fn answering(answer: impl Into<String>) -> Self {
        let answer: Rc<str> = answer.into().into();
        Self::start(move |_, mut talk| {
            let answer = Rc::clone(&answer);
            async move {
                while talk.request().await.is_some() {
                    talk.say(answer.as_bytes()).await;
                }
            }
        })
        .await
    }

    /// Answers the first request of every connection with these bytes and closes.
    pub(super) async fn answering_once(answer: impl Into<Vec<u8>>) -> Self {
        let answer: Rc<[u8]> = answer.into().into();
        Self::start(move |_, mut talk| {
            let answer = Rc::clone(&answer);
            async move {
                if talk.request().await.is_some() {
                    talk.say(&answer).await;
                    let _ = talk.stream.shutdown().await;
                }
            }
        })
        .await
    }

    /// What arrived, in lower case.
    pub(super) fn seen(&self) -> String {
        String::from_utf8_lossy(&self.seen.borrow()).to_ascii_lowercase()
    }

    /// Values of a header among what arrived.
    pub(super) fn values(&self, name: &str) -> Vec<String> {
        let prefix = format!("{}: ", name.to_ascii_lowercase());
        String::from_utf8_lossy(&self.seen.borrow())
            .lines()
            .filter_map(|line| line.split_at_checked(prefix.len()))
            .filter(|(name, _)| name.to_ascii_lowercase() == prefix)
            .map(|(_, value)| value.to_owned())
            .collect()
    }

    /// The configuration of an upstream at this address.
    pub(super) fn config(&self) -> config::Upstream {
        upstream_at(self.address)
    }
}

/// The upstream's end of one connection.
pub(super) struct Conversation {
    pub(super) stream: TcpStream,
    seen: Rc<RefCell<Vec<u8>>>,
}

impl Conversation {
    /// Reads some bytes; `None` at the end.
    pub(super) async fn read(&mut self) -> Option<Vec<u8>> {
        let mut buffer = vec![0; 16 * 1024];
        let read = self.stream.read(&mut buffer).await.ok().filter(|read| *read > 0)?;
        buffer.truncate(read);
        self.seen.borrow_mut().extend_from_slice(&buffer);
        Some(buffer)
    }

    /// Reads one request with its body; `None` when the connection ends before.
    pub(super) async fn request(&mut self) -> Option<String> {
        let mut bytes = Vec::new();
        loop {
            if let Some(end) = find(&bytes, b"\r\n\r\n") {
                let head = String::from_utf8_lossy(&bytes[..end]).to_ascii_lowercase();
                let body = &bytes[end + 4..];
                let whole = if head.contains("transfer-encoding: chunked") {
                    find(body, b"0\r\n").is_some() && body.ends_with(b"\r\n\r\n")
                } else {
                    let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
                    body.len() >= length.map_or(0, |length| length.parse().unwrap())
                };
                if whole {
                    return Some(String::from_utf8_lossy(&bytes).into_owned());
                }
            }
            bytes.extend(self.read().await?);
        }
    }

    /// Reads the head of a request.
    pub(super) async fn head(&mut self) -> Option<String> {
        let mut bytes = Vec::new();
        while find(&bytes, b"\r\n\r\n").is_none() {
            bytes.extend(self.read().await?);
        }
        Some(String::from_utf8_lossy(&bytes).into_owned())
    }

    /// Writes bytes; the other end may have gone.
    pub(super) async fn say(&mut self, bytes: impl AsRef<[u8]>) {
        let _ = self.stream.write_all(bytes.as_ref()).await;
    }
}

/// Position of `needle`.
pub(super) fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    haystack.windows(needle.len()).position(|window| window == needle)
}

/// A short, whole answer.
pub(super) const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

/// A GET that closes its connection, with these further lines.
pub(super) fn get(lines: &str) -> String {
    format!("GET /a?b=c HTTP/1.1\r\nHost: api.example.com\r\nConnection: close\r\n{lines}\r\n")
}

/// The status of an answer.
pub(super) fn status_of(answer: &str) -> &str {
    answer.get(9..12).unwrap_or("none")
}
