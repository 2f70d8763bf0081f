//! Every way in which forwarding can fail, and whose fault it is.

use std::io;
use std::time::Duration;

use thiserror::Error;

/// Why there is no answer of the upstream to pass on. `response` maps each to its status.
#[derive(Debug, Error)]
pub enum Failure {
    /// 502: no address of the endpoint took the connection.
    #[error("the upstream could not be reached")]
    Unreachable(#[source] io::Error),
    /// 502: the endpoint's name has no address.
    #[error("the upstream's name could not be resolved")]
    Unresolved(#[source] io::Error),
    /// 503: no endpoint passes its health checks; they are done again after this time.
    #[error("no endpoint of the upstream is healthy")]
    NoneHealthy(Duration),
    /// 502: no TLS connection, or not one with the certificate or protocol that the configuration asks for.
    #[error("the upstream's TLS handshake failed")]
    Tls(#[source] io::Error),
    /// 504: connecting, TLS included, took longer than `timeouts.connect`.
    #[error("the upstream did not take the connection within {} ms", .0.as_millis())]
    ConnectTimeout(Duration),
    /// 503: `max_connections` are open and none came free within `timeouts.connect`, or too many wait for one already.
    #[error("all {0} connections to the upstream are in use")]
    Saturated(usize),
    /// 504: no response head within `timeouts.response` (or the route's `timeout`) after the request was sent.
    #[error("the upstream did not answer within {} ms", .0.as_millis())]
    ResponseTimeout(Duration),
    /// 502: what the upstream sent is no answer that may be passed on.
    #[error("the upstream broke the protocol: {0}")]
    Protocol(#[source] ProtocolFault),
    /// 502: the upstream closed or reset the connection before its answer was complete enough to be passed on.
    #[error("the upstream closed the connection before it answered")]
    Closed(#[source] ConnectionFault),
    /// 413: the request body is larger than `limits.body` (or the route's `max_body`).
    #[error("the request body is larger than {0} bytes")]
    RequestTooLarge(u64),
    /// 408: the client was silent inside the request body for `limits.body_idle_timeout`.
    #[error("the client sent nothing of its request body for {} ms", .0.as_millis())]
    RequestIdle(Duration),
    /// 400: the request body is malformed (a bad chunk, say) or ended before its end.
    #[error("the request body is malformed or incomplete")]
    RequestBroken,
    /// 500: the permit cannot be written as a request. Nothing was sent.
    #[error("the request cannot be written towards the upstream")]
    Unwritable,
}

/// Whose fault a [`Failure`] is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The client's.
    Client,
    /// The upstream's.
    Upstream,
    /// The gateway's own.
    Gateway,
}

impl Failure {
    /// Whose fault it is, for logs and metrics.
    pub fn fault(&self) -> Fault {
        match self {
            Self::Unreachable(_)
            | Self::Unresolved(_)
            | Self::NoneHealthy(_)
            | Self::Tls(_)
            | Self::ConnectTimeout(_)
            | Self::Saturated(_)
            | Self::ResponseTimeout(_)
            | Self::Protocol(_)
            | Self::Closed(_) => Fault::Upstream,
            Self::RequestTooLarge(_) | Self::RequestIdle(_) | Self::RequestBroken => Fault::Client,
            Self::Unwritable => Fault::Gateway,
        }
    }

    /// Whether it tells against the endpoint that was asked: it could not be connected to, went away, or does not speak
    /// HTTP. One that is slow may have been asked for something that takes its time.
    pub(super) fn is_the_endpoints(&self) -> bool {
        match self {
            Self::Unreachable(_) | Self::Tls(_) | Self::ConnectTimeout(_) | Self::Closed(_) => true,
            Self::Protocol(fault) => !matches!(fault, ProtocolFault::NoTunnel),
            Self::Unresolved(_)
            | Self::NoneHealthy(_)
            | Self::Saturated(_)
            | Self::ResponseTimeout(_)
            | Self::RequestTooLarge(_)
            | Self::RequestIdle(_)
            | Self::RequestBroken
            | Self::Unwritable => false,
        }
    }
}

/// What an upstream did that HTTP does not allow.
#[derive(Debug, Error)]
pub enum ProtocolFault {
    /// RFC 9110 section 7.8: 101 without having been asked, or to another protocol than was offered.
    #[error("it switched protocols without having been asked")]
    UnaskedSwitch,
    /// RFC 6455 section 4.1: the handshake's proof is missing or wrong.
    #[error("its WebSocket handshake is wrong")]
    Handshake,
    /// A WebSocket was asked for, and the upstream is configured with `protocol: h2`.
    #[error("it is spoken to in HTTP/2, which carries no WebSocket to an upstream")]
    NoTunnel,
    /// More than [`super::MAX_INTERIM`] interim answers before the final one.
    #[error("it sent more than {} interim responses", super::MAX_INTERIM)]
    Interim,
    /// RFC 9112 section 6.1: a `Transfer-Encoding` other than exactly `chunked`, or beside a `Content-Length`.
    #[error("its `Transfer-Encoding` is not exactly `chunked`")]
    TransferEncoding,
    /// RFC 9112 section 6.3: a `Content-Length` that is no single decimal number.
    #[error("its `Content-Length` is not one decimal number")]
    ContentLength,
    /// RFC 9110 section 15: a status outside 200 to 599.
    #[error("`{0}` is no final status")]
    Status(u16),
    /// The connection does not speak the configured protocol.
    #[error("it does not speak HTTP/2")]
    NotHttp2,
    /// Bytes that are no response.
    #[error("its response is malformed")]
    Malformed(#[source] ConnectionFault),
}

/// Why a connection to an upstream carries nothing more.
#[derive(Debug, Error)]
pub enum ConnectionFault {
    /// It was closed inside a message, or before one.
    #[error("the connection was closed")]
    Ended,
    /// It broke.
    #[error("the connection broke")]
    Broken(#[source] io::Error),
    /// HTTP/1.1: what came over it is no response (RFC 9112).
    #[error("{0}")]
    Malformed(&'static str),
    /// The request that it carried broke off.
    #[error("the request broke off")]
    Request(#[source] RequestFault),
    /// What hyper met on an HTTP/2 connection.
    #[error(transparent)]
    Http2(hyper::Error),
}

/// What went wrong inside the request body, which is what ends its stream towards the upstream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum RequestFault {
    /// See [`Failure::RequestTooLarge`].
    #[error("the request body is too large")]
    TooLarge(u64),
    /// See [`Failure::RequestIdle`].
    #[error("the request body stalled")]
    Idle(Duration),
    /// See [`Failure::RequestBroken`].
    #[error("the request body is broken")]
    Broken,
}

impl From<RequestFault> for Failure {
    fn from(fault: RequestFault) -> Self {
        match fault {
            RequestFault::TooLarge(limit) => Self::RequestTooLarge(limit),
            RequestFault::Idle(after) => Self::RequestIdle(after),
            RequestFault::Broken => Self::RequestBroken,
        }
    }
}

/// Why a response that had begun ends in an abort (never in a clean end).
#[derive(Debug, Error)]
pub enum ResponseFault {
    /// The upstream closed early or broke its framing.
    #[error("the upstream's response ended before its end")]
    Upstream(#[source] ConnectionFault),
    /// The token that allowed the request has expired (`limits.stream_follows_token`).
    #[error("the token expired while the response was streaming")]
    Expired,
    /// The token that allowed the request has been revoked.
    #[error("the token was revoked while the response was streaming")]
    Revoked,
}
