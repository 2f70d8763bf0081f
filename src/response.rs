//! Every refusal and what the client is told: the one table from causes to status, challenge and body, and the only
//! file that writes the gateway's own answers.
//!
//! Bodies are `application/problem+json` (RFC 9457); who names `text/html` in `Accept` gets a page of the same content.
//! `detail` never tells which claim or value decided: the audit record does, under the same id.

mod page;

use bytes::Bytes;
use http::header::{ACCEPT, ALLOW, CACHE_CONTROL, CONTENT_LENGTH, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderMap, HeaderValue, Response, StatusCode};
use serde_json::json;

use crate::authn;
use crate::policy::{Cause, Denial, PlaceError};
use crate::target::{AuthorityError, TargetError};
use crate::upstream;

/// Methods that `OPTIONS *` and refusals of methods that nobody may use name.
const ORDINARY_METHODS: HeaderValue = HeaderValue::from_static("GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS");

/// Seconds after which a client may try again what failed for want of capacity.
const CAPACITY_RETRY: u32 = 1;

/// Why a request was not forwarded, or its answer not passed on.
#[derive(Debug)]
pub enum Refusal {
    /// 400: the message is not framed the way it should be. Nothing behind it on its connection is read.
    Framing(&'static str),
    /// 431: too many fields, too many bytes, or one field that is too long.
    Fields,
    /// 414: the target is longer than `limits.target_bytes`.
    TargetTooLong,
    /// 417: an `Expect` other than `100-continue` (RFC 9110 section 10.1.1).
    Expectation,
    /// 408: the head did not arrive in time.
    SlowHead,
    /// 400: no host, several, two that differ, or none that is one.
    Host(&'static str),
    /// 400: the authority is not one.
    Authority(AuthorityError),
    /// 400: the target's form does not belong to the method (RFC 9112 section 3.2).
    TargetForm,
    /// 421: the connection's certificate does not cover the host (RFC 9110 section 7.4).
    NotCovered,
    /// 400, 405 or 421: the request has no place in any table.
    Place(PlaceError),
    /// 404: a path below `/.torwart/` that is none of the gateway's.
    Reserved,
    /// 400, 401 or 503: there is no principal.
    Token(authn::Failure),
    /// What policy says.
    Denied(Box<Denial>),
    /// 413: the body is longer than `limits.body` or the route's `max_body`.
    BodyTooLarge,
    /// 503: the audit record that `audit.required` asks for cannot be written.
    Unrecordable,
    /// What forwarding says.
    Upstream(upstream::Failure),
    /// 500: the configuration in force contradicts itself. Never seen unless there is a mistake in the gateway.
    Inconsistent,
}

/// What an answer depends on besides the refusal.
#[derive(Debug, Clone, Copy, Default)]
pub struct Circumstances<'c> {
    /// The request id, in `instance`.
    pub request_id: &'c str,
    /// `realm` of challenges: the policy's name.
    pub realm: Option<&'c str>,
    /// A page was asked for.
    pub html: bool,
    /// Why, for whoever develops policies. Given in dev mode only.
    pub explanation: Option<&'c str>,
}

/// The part of a refusal that is the same for every request.
struct Wording {
    status: StatusCode,
    /// The stable code in `type`.
    slug: &'static str,
    title: &'static str,
    detail: &'static str,
}

impl Refusal {
    /// The answer's status.
    pub fn status(&self) -> StatusCode {
        self.wording().status
    }

    /// The stable code in the body's `type`, and the reason in records where policy gives none.
    pub fn slug(&self) -> &'static str {
        self.wording().slug
    }

    /// The reason in records: policy's word for what policy refused.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Denied(denial) => denial.reason().as_str(),
            _ => self.slug(),
        }
    }

    /// Whether nothing that follows on an HTTP/1 connection may be read.
    pub fn closes(&self) -> bool {
        match self {
            Self::Framing(_) | Self::Fields | Self::TargetTooLong | Self::Expectation | Self::SlowHead => true,
            Self::Host(_) | Self::Authority(_) | Self::TargetForm | Self::BodyTooLarge => true,
            Self::Place(PlaceError::MethodRefused) => true,
            Self::NotCovered | Self::Place(_) | Self::Reserved | Self::Token(_) | Self::Denied(_) => false,
            Self::Unrecordable | Self::Upstream(_) | Self::Inconsistent => false,
        }
    }

    /// Why, in full, for whoever develops policies: never shown outside dev mode.
    pub fn explain(&self) -> String {
        match self {
            Self::Denied(denial) => match denial.place() {
                Some(place) => format!("{}: {place}", denial.reason().as_str()),
                None => denial.reason().as_str().to_owned(),
            },
            Self::Token(failure) => failure.to_string(),
            Self::Upstream(failure) => chain(failure),
            Self::Authority(error) => error.to_string(),
            Self::Place(error) => error.to_string(),
            _ => self.wording().detail.to_owned(),
        }
    }

    /// The answer.
    pub fn answer(&self, circumstances: &Circumstances<'_>) -> Response<Bytes> {
        let wording = self.wording();
        let (content_type, body) = if circumstances.html {
            ("text/html; charset=utf-8", page::render(&wording, circumstances))
        } else {
            ("application/problem+json", problem(&wording, circumstances))
        };
        let mut response = Response::new(Bytes::from(body));
        *response.status_mut() = wording.status;
        let length = response.body().len();
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
        headers.insert(CONTENT_LENGTH, HeaderValue::from(length));
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if circumstances.html {
            page::harden(headers);
        }
        if let Some(challenge) = self.challenge(circumstances.realm.unwrap_or("torwart")) {
            headers.insert(WWW_AUTHENTICATE, challenge);
        }
        if let Some(allow) = self.allow() {
            headers.insert(ALLOW, allow);
        }
        if let Some(seconds) = self.retry_after() {
            headers.insert(RETRY_AFTER, HeaderValue::from(seconds));
        }
        response
    }

    /// Status, code and words of every refusal. Exhaustive: a new way to fail does not compile without them.
    fn wording(&self) -> Wording {
        match self {
            Self::Framing(detail) => Wording::new(400, "malformed", "Bad Request", detail),
            Self::Fields => Wording::new(
                431,
                "headers-too-large",
                "Request Header Fields Too Large",
                "the header fields are too many or too long",
            ),
            Self::TargetTooLong => {
                Wording::new(414, "target-too-long", "URI Too Long", "the request target is too long")
            }
            Self::Expectation => Wording::new(
                417,
                "expectation-failed",
                "Expectation Failed",
                "the only expectation that can be met is `100-continue`",
            ),
            Self::SlowHead => {
                Wording::new(408, "request-timeout", "Request Timeout", "the request did not arrive in time")
            }
            Self::Host(detail) => Wording::new(400, "invalid-host", "Bad Request", detail),
            Self::Authority(error) => Wording::new(400, error.slug(), "Bad Request", "the host is not valid"),
            Self::TargetForm => Wording::new(
                400,
                "invalid-target",
                "Bad Request",
                "the form of the request target does not belong to the method",
            ),
            Self::NotCovered => misdirected("the certificate of this connection does not cover the host"),
            Self::Place(error) => place(error),
            Self::Reserved => not_found(),
            Self::Token(failure) => token(failure),
            Self::Denied(denial) => denied(denial.cause()),
            Self::BodyTooLarge => body_too_large(),
            Self::Unrecordable => {
                Wording::new(503, "audit-unavailable", "Service Unavailable", "the request cannot be recorded")
            }
            Self::Upstream(failure) => upstream(failure),
            Self::Inconsistent => internal(),
        }
    }

    /// RFC 6750 section 3, RFC 9470 section 3.
    fn challenge(&self, realm: &str) -> Option<HeaderValue> {
        let text = match self {
            Self::Token(failure) => match failure {
                authn::Failure::ManyHeaders => format!("Bearer realm=\"{realm}\", error=\"invalid_request\""),
                authn::Failure::Missing => format!("Bearer realm=\"{realm}\""),
                authn::Failure::Invalid(_) => format!("Bearer realm=\"{realm}\", error=\"invalid_token\""),
                authn::Failure::Unavailable { .. } => return None,
            },
            Self::Denied(denial) => challenge_of(denial.cause(), realm)?,
            _ => return None,
        };
        HeaderValue::try_from(text).ok()
    }

    fn allow(&self) -> Option<HeaderValue> {
        match self {
            Self::Denied(denial) => match denial.cause() {
                Cause::MethodNotAllowed { allow } => Some(allow.clone()),
                _ => None,
            },
            Self::Place(PlaceError::MethodRefused) => Some(ORDINARY_METHODS),
            _ => None,
        }
    }

    fn retry_after(&self) -> Option<u32> {
        match self {
            Self::Token(authn::Failure::Unavailable { retry_after, .. }) => Some(*retry_after),
            Self::Unrecordable | Self::Upstream(upstream::Failure::Saturated(_)) => Some(CAPACITY_RETRY),
            _ => None,
        }
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

fn denied(cause: &Cause) -> Wording {
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
        Cause::Forbidden(_) => Wording::new(403, "forbidden", "Forbidden", "this is not allowed"),
        Cause::NotFound => not_found(),
        Cause::MethodNotAllowed { .. } => {
            Wording::new(405, "method", "Method Not Allowed", "the method is not allowed here")
        }
    }
}

fn challenge_of(cause: &Cause, realm: &str) -> Option<String> {
    match cause {
        Cause::Unauthenticated => Some(format!("Bearer realm=\"{realm}\"")),
        Cause::StepUp(wanted) => {
            let mut text = format!("Bearer realm=\"{realm}\", error=\"insufficient_user_authentication\"");
            if !wanted.acr_values.is_empty() {
                text.push_str(", acr_values=\"");
                text.push_str(&quoted(&wanted.acr_values));
                text.push('"');
            }
            if let Some(seconds) = wanted.max_age {
                text.push_str(&format!(", max_age=\"{seconds}\""));
            }
            Some(text)
        }
        Cause::InsufficientScope { scopes, .. } => {
            Some(format!("Bearer realm=\"{realm}\", error=\"insufficient_scope\", scope=\"{}\"", quoted(scopes)))
        }
        Cause::AmbiguousPath
        | Cause::AmbiguousParameter
        | Cause::AmbiguousHeader
        | Cause::ValueType
        | Cause::Forbidden(_)
        | Cause::NotFound
        | Cause::MethodNotAllowed { .. } => None,
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

/// An error with everything that caused it.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}

/// RFC 9110 section 5.6.4: what may not stand in a quoted string is escaped, or left out where it never may.
fn quoted(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for character in text.chars().filter(|character| matches!(character, ' '..='~')) {
        if matches!(character, '"' | '\\') {
            out.push('\\');
        }
        out.push(character);
    }
    out
}

fn problem(wording: &Wording, circumstances: &Circumstances<'_>) -> String {
    let mut body = json!({
        "type": format!("urn:torwart:{}", wording.slug),
        "title": wording.title,
        "status": wording.status.as_u16(),
        "detail": wording.detail,
        "instance": circumstances.request_id,
    });
    if let (Some(explanation), Some(members)) = (circumstances.explanation, body.as_object_mut()) {
        // Read by people, in a terminal: a line is a line.
        members.insert("explanation".to_owned(), explanation.lines().collect());
        return format!("{body:#}\n");
    }
    body.to_string()
}

/// Whether `Accept` names `text/html`, and not only by a wildcard or with the weight nought (RFC 9110 section 12.5.1).
pub fn asks_for_html(headers: &HeaderMap) -> bool {
    let fields = headers.get_all(ACCEPT).into_iter().filter_map(|field| field.to_str().ok());
    fields.flat_map(|field| field.split(',')).any(|range| {
        let mut parts = range.split(';').map(str::trim);
        let named = parts.next().is_some_and(|media| media.eq_ignore_ascii_case("text/html"));
        named && !parts.any(|parameter| is_nought(parameter))
    })
}

fn is_nought(parameter: &str) -> bool {
    parameter.split_once('=').is_some_and(|(name, weight)| {
        name.trim().eq_ignore_ascii_case("q") && weight.trim().parse::<f32>().is_ok_and(|weight| weight <= 0.0)
    })
}

/// The answer for load balancers at `/.torwart/ping`.
pub fn ping() -> Response<Bytes> {
    let mut response = own(StatusCode::OK, Bytes::from_static(b"ok\n"));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    response
}

/// The answer to `OPTIONS *` (RFC 9110 section 9.3.7).
pub fn options() -> Response<Bytes> {
    let mut response = own(StatusCode::OK, Bytes::new());
    response.headers_mut().insert(ALLOW, ORDINARY_METHODS);
    response
}

/// The answer of a listener that only redirects. 308 keeps method and body.
pub fn redirect(location: HeaderValue) -> Response<Bytes> {
    let mut response = own(StatusCode::PERMANENT_REDIRECT, Bytes::new());
    response.headers_mut().insert(http::header::LOCATION, location);
    response
}

fn own(status: StatusCode, body: Bytes) -> Response<Bytes> {
    let length = body.len();
    let mut response = Response::new(body);
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_LENGTH, HeaderValue::from(length));
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// The whole of an HTTP/1.1 answer as bytes, for a request that was never parsed. The connection ends with it.
pub fn raw(response: &Response<Bytes>) -> Bytes {
    let status = response.status();
    let reason = status.canonical_reason().unwrap_or_default();
    let mut out = format!("HTTP/1.1 {} {reason}\r\n", status.as_str()).into_bytes();
    for (name, value) in response.headers() {
        out.extend_from_slice(name.as_str().as_bytes());
        out.extend_from_slice(b": ");
        out.extend_from_slice(value.as_bytes());
        out.extend_from_slice(b"\r\n");
    }
    out.extend_from_slice(b"connection: close\r\n\r\n");
    out.extend_from_slice(response.body());
    out.into()
}

#[cfg(test)]
mod tests;
