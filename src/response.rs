//! Every refusal and what the client is told: the one table from causes to status, challenge and body, and the only
//! file that writes the gateway's own answers.
//!
//! Bodies are `application/problem+json` (RFC 9457); who names `text/html` in `Accept` gets a page of the same content.
//! `detail` never tells which claim or value decided: the audit record does, under the same id.

mod challenge;
mod metadata;
mod page;
mod wording;

use bytes::Bytes;
use http::header::{ACCEPT, ALLOW, CACHE_CONTROL, CONTENT_LENGTH, CONTENT_TYPE, RETRY_AFTER, VARY, WWW_AUTHENTICATE};
use http::{HeaderMap, HeaderValue, Response, StatusCode};
use serde_json::json;

use crate::authn;
use crate::diagnostic::chain;
use crate::policy::{Cause, Denial, Exceeded, PlaceError, Preflight};
use crate::target::AuthorityError;
use crate::upstream;
pub use metadata::{Metadata, metadata_options};
pub(crate) use page::escaped;
use wording::Wording;

/// Methods that `OPTIONS *` and refusals of methods that nobody may use name.
const ORDINARY_METHODS: HeaderValue = HeaderValue::from_static("GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS");

/// Methods by which metadata of protected resources are read.
const METADATA_METHODS: HeaderValue = HeaderValue::from_static("GET, HEAD, OPTIONS");

/// Seconds after which a client may try again what failed for want of capacity.
const CAPACITY_RETRY: u64 = 1;

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
    /// 421: the listener asks for a client certificate that the connection does not have any more.
    ClientCertificate,
    /// 400, 405 or 421: the request has no place in any table.
    Place(PlaceError),
    /// 404: a path of the gateway's own, or below `/.torwart/`, with nothing there.
    Reserved,
    /// 405: metadata of a protected resource are only read.
    ReadOnly,
    /// 400, 401 or 503: there is no principal.
    Token(authn::Failure),
    /// What policy says.
    Denied(Box<Denial>),
    /// 413: the body is longer than `limits.body` or the route's `max_body`.
    BodyTooLarge,
    /// 503: the audit record that `audit.required` asks for cannot be written.
    Unrecordable,
    /// 503: too many requests are under way, or memory is short.
    Overloaded,
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
    /// Where the protected resource describes itself (RFC 9728 section 5.1), for challenges.
    pub resource_metadata: Option<&'c str>,
    /// A page was asked for.
    pub html: bool,
    /// Why, for whoever develops policies. Given in dev mode only.
    pub explanation: Option<&'c str>,
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
            Self::Framing(_)
            | Self::Fields
            | Self::TargetTooLong
            | Self::Expectation
            | Self::SlowHead
            | Self::Host(_)
            | Self::Authority(_)
            | Self::TargetForm
            | Self::BodyTooLarge
            | Self::ClientCertificate
            | Self::Overloaded
            | Self::Place(PlaceError::MethodRefused) => true,
            Self::NotCovered
            | Self::Place(_)
            | Self::Reserved
            | Self::ReadOnly
            | Self::Token(_)
            | Self::Denied(_)
            | Self::Unrecordable
            | Self::Upstream(_)
            | Self::Inconsistent => false,
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
        if let Some(challenge) = self.challenge(circumstances) {
            headers.insert(WWW_AUTHENTICATE, challenge);
        }
        if let Some(allow) = self.allow() {
            headers.insert(ALLOW, allow);
        }
        if let Some(seconds) = self.retry_after() {
            headers.insert(RETRY_AFTER, HeaderValue::from(seconds));
        }
        if let Some(exceeded) = self.exceeded() {
            rate_limit(exceeded, headers);
        }
        response
    }

    fn wording(&self) -> Wording {
        wording::of(self)
    }

    /// RFC 6750 section 3, RFC 9470 section 3, RFC 9728 section 5.1.
    fn challenge(&self, circumstances: &Circumstances<'_>) -> Option<HeaderValue> {
        let realm = circumstances.realm.unwrap_or("torwart");
        let mut text = match self {
            Self::Token(failure) => match failure {
                authn::Failure::ManyHeaders => format!("Bearer realm=\"{realm}\", error=\"invalid_request\""),
                authn::Failure::Missing => format!("Bearer realm=\"{realm}\""),
                authn::Failure::Invalid(_) => format!("Bearer realm=\"{realm}\", error=\"invalid_token\""),
                authn::Failure::Unavailable { .. } => return None,
            },
            Self::Denied(denial) => challenge::of(denial.cause(), realm)?,
            _ => return None,
        };
        if let Some(url) = circumstances.resource_metadata {
            challenge::name_metadata(&mut text, url);
        }
        HeaderValue::try_from(text).ok()
    }

    fn allow(&self) -> Option<HeaderValue> {
        match self {
            Self::Denied(denial) => match denial.cause() {
                Cause::MethodNotAllowed { allow } => Some(allow.clone()),
                _ => None,
            },
            Self::Place(PlaceError::MethodRefused) => Some(ORDINARY_METHODS),
            Self::ReadOnly => Some(METADATA_METHODS),
            _ => None,
        }
    }

    fn exceeded(&self) -> Option<&Exceeded> {
        let Self::Denied(denial) = self else { return None };
        if let Cause::Limited(exceeded) = denial.cause() { Some(exceeded) } else { None }
    }

    fn retry_after(&self) -> Option<u64> {
        match self {
            Self::Token(authn::Failure::Unavailable { retry_after, .. }) => Some(u64::from(*retry_after)),
            Self::Denied(denial) => match denial.cause() {
                Cause::NoRoom => Some(CAPACITY_RETRY),
                Cause::Limited(exceeded) => Some(exceeded.retry_after),
                _ => None,
            },
            Self::Upstream(upstream::Failure::NoneHealthy(interval)) => Some(interval.as_secs().max(CAPACITY_RETRY)),
            Self::Overloaded | Self::Unrecordable | Self::Upstream(upstream::Failure::Saturated(_)) => {
                Some(CAPACITY_RETRY)
            }
            _ => None,
        }
    }
}

/// The fields of draft-ietf-httpapi-ratelimit-headers-10: what was counted, how many of it at once, and when there is
/// room again.
fn rate_limit(exceeded: &Exceeded, headers: &mut HeaderMap) {
    let name = exceeded.per.as_str();
    let policy = format!("\"{name}\";q={};w={}", exceeded.quota, exceeded.window);
    let left = format!("\"{name}\";r=0;t={}", exceeded.retry_after);
    for (field, text) in [("ratelimit-policy", policy), ("ratelimit", left)] {
        if let Ok(value) = HeaderValue::try_from(text) {
            headers.insert(field, value);
        }
    }
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

/// What browsers ask for.
const HTML: &str = "text/html";

/// Whether `Accept` names `text/html`, and not only by a wildcard or with the weight nought (RFC 9110 section 12.5.1).
pub fn asks_for_html(headers: &HeaderMap) -> bool {
    // Programs say `*/*`: nothing to look for.
    let fields = headers.get_all(ACCEPT).into_iter().filter(|field| field.len() >= HTML.len());
    fields.filter_map(|field| field.to_str().ok()).flat_map(|field| field.split(',')).any(|range| {
        let mut parts = range.split(';').map(str::trim);
        let named = parts.next().is_some_and(|media| media.eq_ignore_ascii_case(HTML));
        named && !parts.any(is_nought)
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

/// The answer to a preflight: 204 whatever is allowed, since to ask is no fault. What is not allowed is not named, which
/// browsers take for a refusal (Fetch, "CORS-preflight fetch").
pub fn preflight(answer: &Preflight) -> Response<Bytes> {
    let mut response = own(StatusCode::NO_CONTENT, Bytes::new());
    let headers = response.headers_mut();
    headers.remove(CONTENT_LENGTH);
    headers.extend(answer.fields());
    let varies = "Origin, Access-Control-Request-Method, Access-Control-Request-Headers";
    headers.insert(VARY, HeaderValue::from_static(varies));
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
