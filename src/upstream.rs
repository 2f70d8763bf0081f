//! Everything towards the protected API: headers in and out, connections, bodies, tunnels.
//!
//! [`Upstreams::forward`] takes a [`Permit`] by value: there is no other way to send anything. Connections belong to
//! the worker thread that opened them; the [`Upstreams`] that all workers share hold configuration, and what is known of
//! each endpoint. Must be called within a `LocalSet` of a current-thread runtime: connections are driven by local tasks.

mod abandoned;
mod budget;
mod capacity;
mod connect;
mod endpoint;
mod exchange;
mod failure;
mod health;
mod http1;
mod load;
mod location;
mod member;
mod members;
mod moment;
mod outlier;
mod pool;
mod rehearsal;
mod request_body;
mod request_headers;
mod resolve;
mod response_body;
mod response_headers;
mod source;
mod state;
mod tls;
mod tunnel;

use std::any::Any;
use std::net::IpAddr;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use http::header::{CONNECTION, CONTENT_LENGTH, HeaderValue, SEC_WEBSOCKET_KEY, TRANSFER_ENCODING, UPGRADE};
use http::{Method, Request, Response, Version};
use tokio::runtime::Handle;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::assertion::Signer;
use crate::clock::Timestamp;
use crate::config::Config;
use crate::diagnostic::Diagnostics;
use crate::panics;
use crate::policy::Permit;

use self::exchange::Exchange;
use self::load::{Configured, Shared};
use self::location::Mapping;
use self::members::Seat;
use self::request_body::{BodyLimits, RequestBody};
use self::request_headers::{Delivery, Draft, Effects, Framing, TrailerRules};
use self::tunnel::Opening;

pub use self::exchange::Attempts;
pub use self::failure::{ConnectionFault, Failure, Fault, ProtocolFault, RequestFault, ResponseFault};
pub use self::rehearsal::rehearse;
pub use self::request_body::ClientBody;
pub use self::request_headers::header_values;
pub use self::response_body::ResponseBody;
pub use self::state::{Condition, EndpointState, UpstreamState};
pub use self::tunnel::tunnels_ended;

/// Bytes that are buffered at most in one direction of one exchange (http.md, "Towards the upstream").
const BUFFER: usize = 64 * 1024;

/// Interim responses (1xx) that an upstream may send before its final one.
pub const MAX_INTERIM: usize = 10;

/// All upstreams of one configuration.
#[derive(Debug)]
pub struct Upstreams {
    list: Vec<Arc<Configured>>,
    shared: Shared,
    signer: Option<Arc<Signer>>,
}

/// What became of connecting to an endpoint.
#[derive(Debug)]
pub struct Reached {
    /// As configured.
    pub endpoint: Arc<str>,
    /// One of its addresses; `None` where it has none.
    pub address: Option<Arc<str>>,
    /// Whether there was a connection.
    pub outcome: Result<(), Failure>,
}

/// What the gateway knows about a request beside the request itself.
#[derive(Debug)]
pub struct Facts {
    /// The canonical authority (lower case, without default port).
    pub authority: HeaderValue,
    /// The other end of the connection, as the PROXY protocol names it where it is used; IPv4-mapped addresses as
    /// IPv4. `None` for what has no address.
    pub peer: Option<IpAddr>,
    /// Whether the peer is among the listener's trusted proxies.
    pub peer_is_trusted: bool,
    /// The client address that policy was asked about.
    pub client: Option<IpAddr>,
    /// How the connection came in.
    pub scheme: Scheme,
    /// The port that the connection came in on.
    pub port: u16,
    /// `X-Request-Id`.
    pub request_id: HeaderValue,
    /// `traceparent` (W3C Trace Context).
    pub traceparent: HeaderValue,
    /// Whether `traceparent` continues the client's, whose `tracestate` then goes on too.
    pub trace_continued: bool,
    /// The last moment at which the token is valid (`Principal::valid_until`); `None` without token.
    pub valid_until: Option<Timestamp>,
    /// What a tunnel needs, where [`asks_for_websocket`] told before the decision that one is asked for. `Upgrade` is removed
    /// from every other request.
    pub tunnel: Option<TunnelTerms>,
}

/// What ends a tunnel, and what it holds until then.
#[derive(Debug, Clone)]
pub struct TunnelTerms {
    /// Cancelled when the drain begins: tunnels end with close code 1001.
    pub drain: CancellationToken,
    /// Whether the token that opens it goes on standing; `None` without token.
    pub standing: Option<Rc<dyn Standing>>,
    /// What says that the client's connection is in use.
    pub in_use: Option<Rc<dyn Any>>,
}

/// A token that may be revoked while what it opened goes on.
pub trait Standing: std::fmt::Debug {
    /// Returns once it has been.
    fn ended(&self) -> Pin<Box<dyn Future<Output = ()>>>;
}

/// `http` or `https`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scheme {
    /// Without TLS.
    Http,
    /// With TLS.
    Https,
}

/// What becomes of the connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// One request, one answer. `Upgrade` is removed.
    Exchange,
    /// A WebSocket (RFC 6455 section 4, RFC 8441): tunnelled when the upstream agrees.
    WebSocket,
}

impl Upstreams {
    /// Reads the upstreams of a configuration and the certificates they name; reports every problem. `None` when one
    /// of them forbids the use. Those that are as they were in `previous` keep their connections and what is known of
    /// their endpoints.
    pub fn load(config: &Config, previous: Option<&Self>) -> (Option<Self>, Diagnostics) {
        let (list, shared, problems) = load::load(config, previous.map_or(&[], |previous| &previous.list));
        let loaded = (!problems.has_errors()).then_some(Self { list, shared, signer: None });
        (loaded, problems)
    }

    /// The same with what signs assertions. Without one, no request that needs an assertion is forwarded.
    #[must_use]
    pub fn signing_with(self, signer: Option<Arc<Signer>>) -> Self {
        Self { signer, ..self }
    }

    /// Starts what goes on in the background for those that `previous` did not have, and ends it for those that are
    /// gone: names are resolved again and again, health is checked.
    pub fn succeed(&self, previous: Option<&Self>, runtime: &Handle) {
        let among = |list: &[Arc<Configured>], one: &Arc<Configured>| list.iter().any(|other| Arc::ptr_eq(other, one));
        let before = previous.map_or(&[][..], |previous| &previous.list);
        for ended in before.iter().filter(|one| !among(&self.list, one)) {
            ended.stop.cancel();
        }
        for begun in self.list.iter().filter(|one| !among(before, one)) {
            let own = || (Arc::clone(&begun.upstream), Arc::downgrade(&begun.members));
            let ((upstream, members), stop) = (own(), begun.stop.clone());
            let follow = move || resolve::follow(Arc::clone(&upstream), members.clone());
            runtime.spawn(stop.run_until_cancelled_owned(panics::kept("resolving names of endpoints", follow)));
            let ((upstream, members), stop) = (own(), begun.stop.clone());
            let watch = move || health::watch(Arc::clone(&upstream), members.clone());
            runtime.spawn(stop.run_until_cancelled_owned(panics::kept("checking the health of endpoints", watch)));
        }
    }

    /// Forwards one request and answers with the head of the upstream's response; the body follows as it comes. Beside
    /// it, who was asked.
    ///
    /// # Errors
    /// See [`Failure`]. Nothing of a failed answer may be shown to the client.
    #[expect(clippy::manual_async_fn, reason = "an `async fn` has room for what it is given twice")]
    pub fn forward<'r>(
        &'r self,
        permit: Permit,
        request: Request<ClientBody>,
        facts: &'r Facts,
    ) -> impl Future<Output = (Attempts, Result<Response<ResponseBody>, Failure>)> {
        async move {
            let prepared = self.assertion(&permit).and_then(|assertion| {
                let order = Order::of(&permit);
                self.prepare(&order, effects(&permit, assertion), request, facts)
            });
            match prepared {
                Ok(mut exchange) => exchange.run().await,
                Err(failure) => (Attempts::default(), Err(failure)),
            }
        }
    }

    /// Opens a connection to every address of every endpoint, TLS included, and closes it again. What came of each, by
    /// upstream in the order of the configuration: for `torwart check --online`.
    pub async fn reach(&self) -> Vec<Vec<Reached>> {
        let mut answers = Vec::new();
        for configured in &self.list {
            let Configured { upstream, members, .. } = &**configured;
            members.resolve(upstream).await;
            let mut reached = Vec::new();
            for (position, endpoint) in upstream.endpoints.iter().enumerate() {
                if let Some(error) = members.unanswered().of(position) {
                    let failure = Failure::Unresolved(std::io::Error::other(error.to_owned()));
                    reached.push(Reached {
                        endpoint: Arc::clone(&endpoint.name),
                        address: None,
                        outcome: Err(failure),
                    });
                }
            }
            for Seat { member, .. } in &**members.seats() {
                let outcome = connect::connect(upstream, member, None).await.map(drop);
                let (endpoint, address) = (Arc::clone(&member.endpoint.name), Some(Arc::clone(&member.name)));
                reached.push(Reached { endpoint, address, outcome });
            }
            answers.push(reached);
        }
        answers
    }

    /// The signed assertion that the permit asks for.
    fn assertion(&self, permit: &Permit) -> Result<Option<HeaderValue>, Failure> {
        let Some((_, statement)) = permit.assertion() else { return Ok(None) };
        let signer = self.signer.as_ref().ok_or(Failure::Unwritable)?;
        // The time of signing: a body may have been waited for since the request began.
        signer.sign(statement, Timestamp::now()).map(Some).map_err(|_| Failure::Unwritable)
    }

    /// Makes the upstream's request out of the client's.
    fn prepare<'r>(
        &'r self,
        order: &Order<'r>,
        effects: Effects<'r>,
        mut request: Request<ClientBody>,
        facts: &'r Facts,
    ) -> Result<Exchange<'r>, Failure> {
        let configured = self.list.get(order.upstream).ok_or(Failure::Unwritable)?;
        let upstream = &configured.upstream;
        let terms = facts.tunnel.as_ref().map(|terms| (terms, hyper::upgrade::on(&mut request)));
        if terms.is_some() && upstream.http2 {
            return Err(Failure::Protocol(ProtocolFault::NoTunnel));
        }
        let (mut head, body) = request.into_parts();
        let opening = terms.map(|(terms, client)| Opening::new(client, &mut head, terms).map(Box::new)).transpose()?;
        let limits = BodyLimits { size: order.max_body.unwrap_or(self.shared.body.size), ..self.shared.body };
        let framing = if opening.is_some() { Framing::None } else { framing(&body, limits)? };
        let delivery = Delivery {
            host: &facts.authority,
            http2: upstream.http2,
            identity: &self.shared.identity,
            client_address_from: self.shared.client_address_from,
        };
        let draft = Draft { head, facts, effects, delivery, framing, target: order.target };
        let streaming = (framing != Framing::None).then(|| {
            let rules = TrailerRules::new(&self.shared.identity, &draft.effects);
            RequestBody::streaming(body, limits, rules)
        });
        let (body, progress) = streaming.unzip();
        Ok(Exchange {
            configured,
            draft,
            body,
            progress,
            timeout: order.timeout.unwrap_or(upstream.response_timeout),
            mapping: upstream.maps_back.then(|| Box::new(order.mapping(facts))),
            opening,
            valid_until: facts.valid_until.filter(|_| self.shared.stream_follows_token),
        })
    }
}

/// What a permit says about headers, its assertion signed.
fn effects(permit: &Permit, assertion: Option<HeaderValue>) -> Effects<'_> {
    Effects {
        set: permit.headers().collect(),
        assertion: permit.assertion().and_then(|(name, _)| Some((name, assertion?))),
        removes: permit.removes(),
        authorization: permit.authorization(),
        strips_method_override: permit.strips_method_override(),
    }
}

/// What the permit says about where and how.
#[derive(Debug)]
struct Order<'p> {
    upstream: usize,
    target: &'p http::uri::PathAndQuery,
    timeout: Option<Duration>,
    max_body: Option<u64>,
    stripped: Option<&'p str>,
    added: Option<&'p str>,
}

impl<'p> Order<'p> {
    fn of(permit: &'p Permit) -> Self {
        Self {
            upstream: permit.upstream(),
            target: permit.path_and_query(),
            timeout: permit.timeout(),
            max_body: permit.max_body(),
            stripped: permit.stripped_prefix(),
            added: permit.added_prefix(),
        }
    }

    /// How the upstream's own addresses are mapped back; what they are depends on who answers.
    fn mapping(&self, facts: &Facts) -> Mapping {
        let prefix = |prefix: Option<&str>| prefix.unwrap_or_default().trim_end_matches('/').to_owned();
        Mapping {
            scheme: "",
            endpoint: String::new(),
            host: String::new(),
            client_scheme: facts.scheme.as_str(),
            client_authority: facts.authority.to_str().unwrap_or_default().to_owned(),
            stripped: prefix(self.stripped),
            added: prefix(self.added),
        }
    }
}

/// How the body will be framed, whatever the client announced.
fn framing(body: &ClientBody, limits: BodyLimits) -> Result<Framing, Failure> {
    match body.length() {
        _ if body.is_empty() => Ok(Framing::None),
        Some(length) if length > limits.size => Err(Failure::RequestTooLarge(limits.size)),
        Some(length) => Ok(Framing::Length(length)),
        None => Ok(Framing::Unknown),
    }
}

/// The first moment at which something valid until `last` is not valid any more, on the runtime's clock.
fn just_after(last: Timestamp) -> Instant {
    let end = Duration::from_secs(u64::try_from(last.0.saturating_add(1)).unwrap_or(0));
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    // A token that outlives the clock's range ends with it: in a hundred years.
    let left = end.saturating_sub(now).min(Duration::from_hours(100 * 365 * 24));
    Instant::now() + left
}

/// Whether the request asks for a WebSocket: RFC 6455 section 4.2.1, or RFC 8441 section 5 with HTTP/2.
pub fn asks_for_websocket<B>(request: &Request<B>) -> bool {
    let headers = request.headers();
    match request.version() {
        Version::HTTP_2 => {
            let protocol = request.extensions().get::<hyper::ext::Protocol>();
            request.method() == Method::CONNECT && protocol.is_some_and(|name| name.as_str() == "websocket")
        }
        Version::HTTP_11 => {
            let named = |name, member: &[u8]| {
                request_headers::list(headers, &name).any(|found| found.eq_ignore_ascii_case(member))
            };
            let mut offered = headers.get_all(UPGRADE).iter();
            let websocket = offered.next().is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"websocket"));
            request.method() == Method::GET
                && websocket
                && offered.next().is_none()
                && named(CONNECTION, b"upgrade")
                && headers.contains_key(SEC_WEBSOCKET_KEY)
                && !headers.contains_key(CONTENT_LENGTH)
                && !headers.contains_key(TRANSFER_ENCODING)
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests;
