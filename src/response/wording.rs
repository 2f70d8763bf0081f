//! The table: every refusal's status, code and words.

use http::StatusCode;

use super::Refusal;
use crate::authn;
use crate::policy::{Cause, PlaceError};
use crate::target::TargetError;
use crate::upstream;

/// The part of a refusal that is the same for every request.
pub(super) struct Wording {
    pub(super) status: StatusCode,
    /// The stable code in `type`.
    pub(super) slug: &'static str,
    pub(super) title: &'static str,
    pub(super) detail: &'static str,
}

/// Status, code and words of every refusal. Exhaustive: a new way to fail does not compile without them.
pub(super) fn of(refusal: &Refusal) -> Wording {
    match refusal {
        Refusal::Framing(detail) => Wording::new(400, "malformed", "Bad Request", detail),
        Refusal::Fields => Wording::new(
            431,
            "headers-too-large",
            "Request Header Fields Too Large",
            "the header fields are too many or too long",
        ),
        Refusal::TargetTooLong => {
            Wording::new(414, "target-too-long", "URI Too Long", "the request target is too long")
        }
        Refusal::Expectation => Wording::new(
            417,
            "expectation-failed",
            "Expectation Failed",
            "the only expectation that can be met is `100-continue`",
        ),
        Refusal::SlowHead => {
            Wording::new(408, "request-timeout", "Request Timeout", "the request did not arrive in time")
        }
        Refusal::Host(detail) => Wording::new(400, "invalid-host", "Bad Request", detail),
        Refusal::Authority(error) => Wording::new(400, error.slug(), "Bad Request", "the host is not valid"),
        Refusal::TargetForm => Wording::new(
            400,
            "invalid-target",
            "Bad Request",
            "the form of the request target does not belong to the method",
        ),
        Refusal::NotCovered => misdirected("the certificate of this connection does not cover the host"),
        Refusal::ClientCertificate => misdirected("the client certificate of this connection does not count any more"),
        Refusal::Place(error) => place(error),
        Refusal::Reserved => not_found(),
        Refusal::ReadOnly => {
            Wording::new(405, "method", "Method Not Allowed", "what is described here can only be read")
        }
        Refusal::Token(failure) => token(failure),
        Refusal::Denied(denial) => denied(denial.cause()),
        Refusal::BodyTooLarge => body_too_large(),
        Refusal::Unrecordable => {
            Wording::new(503, "audit-unavailable", "Service Unavailable", "the request cannot be recorded")
        }
        Refusal::Overloaded => {
            Wording::new(503, "overloaded", "Service Unavailable", "there is too much to do at the moment")
        }
        Refusal::Upstream(failure) => upstream(failure),
        Refusal::Inconsistent => internal(),
    }
}

impl Wording {
    fn new(status: u16, slug: &'static str, title: &'static str, detail: &'static str) -> Self {
        let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        Self { status, slug, title, detail }
    }
}

fn misdirected(detail: &'static str) -> Wording {
    Wording::new(421, "misdirected", "Misdirected Request", detail)
}

fn not_found() -> Wording {
    Wording::new(404, "no-route", "Not Found", "nothing is here")
}

fn body_too_large() -> Wording {
    Wording::new(413, "body-too-large", "Content Too Large", "the request body is too large")
}

fn internal() -> Wording {
    Wording::new(500, "internal", "Internal Server Error", "the gateway made a mistake")
}

fn place(error: &PlaceError) -> Wording {
    match error {
        PlaceError::UnknownHost => misdirected("nothing is served under this host"),
        PlaceError::Target(error) => target(*error),
        PlaceError::MethodOverride => Wording::new(
            400,
            "method-override",
            "Bad Request",
            "the request names a second method beside the one of its first line",
        ),
        PlaceError::MethodRefused => Wording::new(405, "method", "Method Not Allowed", "the method is never forwarded"),
    }
}

fn target(error: TargetError) -> Wording {
    Wording::new(400, error.slug(), "Bad Request", "the request target has no single meaning")
}

fn token(failure: &authn::Failure) -> Wording {
    match failure {
        authn::Failure::ManyHeaders => {
            Wording::new(400, "invalid-request", "Bad Request", "there is more than one `Authorization` header")
        }
        authn::Failure::Missing => Wording::new(401, "token-required", "Unauthorized", "an access token is needed"),
        authn::Failure::Invalid(_) => {
            Wording::new(401, "invalid-token", "Unauthorized", "the access token is not accepted")
        }
        authn::Failure::Unavailable { .. } => Wording::new(
            503,
            "issuer-unavailable",
            "Service Unavailable",
            "access tokens cannot be checked at the moment",
        ),
    }
}

pub(super) fn denied(cause: &Cause) -> Wording {
    match cause {
        Cause::AmbiguousPath => {
            Wording::new(400, "ambiguous-path", "Bad Request", "the path has more than one meaning")
        }
        Cause::AmbiguousParameter => Wording::new(
            400,
            "ambiguous-parameter",
            "Bad Request",
            "a parameter is written in a way that has more than one meaning",
        ),
        Cause::AmbiguousHeader => Wording::new(
            400,
            "ambiguous-header",
            "Bad Request",
            "a header is written in a way that has more than one meaning",
        ),
        Cause::ValueType => {
            Wording::new(400, "value-type", "Bad Request", "a value of the request does not have its type")
        }
        Cause::Body => Wording::new(
            400,
            "body",
            "Bad Request",
            "the request body is malformed, or written in a way that has more than one meaning",
        ),
        Cause::BodyTooLarge => body_too_large(),
        Cause::UnreadableBody => Wording::new(
            415,
            "unreadable-body",
            "Unsupported Media Type",
            "the request body is of a type or encoding that is not accepted here",
        ),
        Cause::NoRoom => {
            Wording::new(503, "overloaded", "Service Unavailable", "there is no room for the request body")
        }
        Cause::Unauthenticated => token(&authn::Failure::Missing),
        Cause::StepUp(_) => Wording::new(
            401,
            "insufficient-user-authentication",
            "Unauthorized",
            "a stronger or more recent login is needed",
        ),
        Cause::InsufficientScope { .. } => {
            Wording::new(403, "insufficient-scope", "Forbidden", "the access token does not grant enough")
        }
        Cause::Limited(_) => Wording::new(429, "limit", "Too Many Requests", "too many requests: wait before the next"),
        Cause::Forbidden(_) => Wording::new(403, "forbidden", "Forbidden", "this is not allowed"),
        Cause::NotFound => not_found(),
        Cause::MethodNotAllowed { .. } => {
            Wording::new(405, "method", "Method Not Allowed", "the method is not allowed here")
        }
    }
}

fn upstream(failure: &upstream::Failure) -> Wording {
    use upstream::Failure;
    match failure {
        Failure::Unreachable(_)
        | Failure::Unresolved(_)
        | Failure::Tls(_)
        | Failure::Protocol(_)
        | Failure::Closed(_) => {
            Wording::new(502, "bad-gateway", "Bad Gateway", "the server behind the gateway gave no usable answer")
        }
        Failure::NoneHealthy(_) => Wording::new(
            503,
            "upstream-unavailable",
            "Service Unavailable",
            "the server behind the gateway is not able to answer at the moment",
        ),
        Failure::Saturated(_) => {
            Wording::new(503, "overloaded", "Service Unavailable", "the server behind the gateway is busy")
        }
        Failure::ConnectTimeout(_) | Failure::ResponseTimeout(_) => Wording::new(
            504,
            "gateway-timeout",
            "Gateway Timeout",
            "the server behind the gateway did not answer in time",
        ),
        Failure::RequestTooLarge(_) => body_too_large(),
        Failure::RequestIdle(_) => {
            Wording::new(408, "request-timeout", "Request Timeout", "the request body did not arrive in time")
        }
        Failure::RequestBroken => {
            Wording::new(400, "malformed", "Bad Request", "the request body is malformed or incomplete")
        }
        Failure::Unwritable => internal(),
    }
}
