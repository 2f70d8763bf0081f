//! What the upstream is told in headers: of the client's everything but what only the gateway may say or what concerns
//! one hop only, and then what the gateway says. Pure.

mod hops;
mod trailers;

use bytes::Bytes;
use http::header::{
    AUTHORIZATION, CONNECTION, CONTENT_LENGTH, COOKIE, Entry, FORWARDED, HOST, HeaderMap, HeaderName, HeaderValue,
    InvalidHeaderValue, TE, TRAILER, TRANSFER_ENCODING, UPGRADE, VIA,
};
use http::uri::PathAndQuery;
use http::{Method, Request, Version, request};
use smallvec::SmallVec;

use super::body::RequestBody;
use super::{Facts, Scheme};
use crate::config::ClientAddressHeader;
use crate::policy::AuthorizationHeader;
use crate::target::fold::{fold_header, folds_to, folds_to_any, is_plain, starts_folded};
use crate::target::method::OVERRIDE_HEADERS;

use self::hops::Believed;
pub(super) use self::trailers::TrailerRules;

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const X_FORWARDED_PORT: HeaderName = HeaderName::from_static("x-forwarded-port");
const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");

/// Names of HTTP/1 and HTTP/2 connections, of framing, and of what the gateway itself sets: never passed on as the
/// client sent them. Folded.
const NEVER: [&str; 16] = [
    "connection",
    "content-length",
    "dpop",
    "expect",
    "host",
    "http2-settings",
    "keep-alive",
    "proxy",
    "te",
    "traceparent",
    "transfer-encoding",
    "upgrade",
    "via",
    "x-original-url",
    "x-request-id",
    "x-rewrite-url",
];

/// Headers that every request gets from the gateway, whatever the permit says.
const OWN: usize = 10;

/// `identity.prefix` and `identity.pass`.
#[derive(Debug)]
pub(super) struct IdentityNames {
    /// Folded.
    pub(super) prefix: String,
    /// As written, in lower case.
    pub(super) pass: Vec<String>,
}

impl IdentityNames {
    /// Whether the client may not send this name because it could be read as an identity header.
    fn covers(&self, name: &str) -> bool {
        starts_folded(name, &self.prefix) && !self.pass.iter().any(|passed| passed == name)
    }
}

/// A header that the gateway sets, by reference.
pub(super) type Set<'p> = SmallVec<[(&'p HeaderName, &'p HeaderValue); 12]>;

/// What the permit says about headers.
#[derive(Debug)]
pub(super) struct Effects<'p> {
    /// Set, each name once.
    pub(super) set: Set<'p>,
    /// Set like them: the signed assertion.
    pub(super) assertion: Option<(&'p HeaderName, HeaderValue)>,
    /// Folded names that `forward` sets, whether or not they have a value this time.
    pub(super) removes: &'p [Box<str>],
    /// What becomes of `Authorization`.
    pub(super) authorization: AuthorizationHeader,
    /// Whether method override headers are removed.
    pub(super) strips_method_override: bool,
}

impl<'p> Effects<'p> {
    /// Every header that is set.
    fn all(&self) -> impl Iterator<Item = (&'p HeaderName, &HeaderValue)> {
        let assertion = self.assertion.iter().map(|(name, value)| (*name, value));
        self.set.iter().map(|(name, value)| (*name, *value)).chain(assertion)
    }
}

/// What one upstream gets beside what the permit says.
#[derive(Debug)]
pub(super) struct Delivery<'d> {
    /// `Host`, or the authority of HTTP/2.
    pub(super) host: &'d HeaderValue,
    /// Whether it is spoken to in HTTP/2.
    pub(super) http2: bool,
    /// Which names are identity headers.
    pub(super) identity: &'d IdentityNames,
    /// Which header a trusted proxy names the client in; the other one is not believed.
    pub(super) client_address_from: ClientAddressHeader,
}

/// How the request body is framed on the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Framing {
    /// No body.
    None,
    /// `Content-Length`.
    Length(u64),
    /// `Transfer-Encoding: chunked`, or HTTP/2 frames without announced length.
    Unknown,
}

/// The upstream's request, of which only the body is missing. It can be made as often as it has to be sent.
#[derive(Debug)]
pub(super) struct Draft<'r> {
    /// The client's.
    pub(super) head: request::Parts,
    pub(super) facts: &'r Facts,
    pub(super) effects: Effects<'r>,
    pub(super) delivery: Delivery<'r>,
    pub(super) framing: Framing,
    /// Path and query to send.
    pub(super) target: &'r PathAndQuery,
}

impl Draft<'_> {
    /// The request, without a body.
    pub(super) fn request(&self) -> Request<RequestBody> {
        let mut request = Request::new(RequestBody::none());
        *request.method_mut() = self.head.method.clone();
        *request.uri_mut() = self.target.clone().into();
        *request.headers_mut() = self.headers();
        request
    }

    /// The upstream's headers.
    pub(super) fn headers(&self) -> HeaderMap {
        let Self { head, facts, effects, delivery, framing, .. } = self;
        let kept = Kept::take(&head.headers, facts, delivery);
        // More than there can be grows as it has to.
        let capacity = head.headers.len() + effects.set.len() + OWN;
        let mut headers = HeaderMap::try_with_capacity(capacity).unwrap_or_default();
        if !delivery.http2 {
            headers.insert(HOST, delivery.host.clone());
        }
        self.pass_on(&mut headers);
        put_framing(&mut headers, &head.method, *framing, delivery.http2);
        kept.put(&mut headers, facts, delivery);
        headers.insert(VIA, append(joined(&head.headers, &VIA, ", "), received_by(head.version)));
        put_forwarding(&mut headers, facts);
        for (name, value) in effects.all() {
            headers.insert(name, value.clone());
        }
        headers
    }

    /// Adds everything that the client may say to the upstream.
    fn pass_on(&self, headers: &mut HeaderMap) {
        let client = &self.head.headers;
        let named: SmallVec<[String; 4]> = list(client, &CONNECTION)
            .map(|name| fold_header(&String::from_utf8_lossy(name)))
            .filter(|name| name != "close" && name != "keep-alive")
            .collect();
        let keeps_authorization = keeps_authorization(client, self.effects.authorization);
        for (name, value) in client {
            let text = name.as_str();
            let stays_behind = never(text)
                || named.iter().any(|named| folds_to(text, named))
                || reserved(text, &self.effects, self.delivery.identity)
                || forwarding(text, self.facts.peer_is_trusted)
                || (self.effects.strips_method_override && folds_to_any(text, &OVERRIDE_HEADERS))
                || (text == "tracestate" && !self.facts.trace_continued)
                || (!keeps_authorization && name == AUTHORIZATION);
            if !stays_behind {
                headers.append(name, value.clone());
            }
        }
    }
}

/// What of the client's own hop-by-hop and forwarding fields has a meaning for the next hop.
struct Kept {
    accepts_trailers: bool,
    forwarded_for: Option<HeaderValue>,
    forwarded: Option<HeaderValue>,
}

impl Kept {
    fn take(headers: &HeaderMap, facts: &Facts, delivery: &Delivery<'_>) -> Self {
        let believed = |name: &HeaderName, source: ClientAddressHeader| {
            (facts.peer_is_trusted && delivery.client_address_from == source).then(|| joined(headers, name, ", "))?
        };
        Self {
            accepts_trailers: list(headers, &TE).any(|coding| coding.eq_ignore_ascii_case(b"trailers")),
            forwarded_for: believed(&X_FORWARDED_FOR, ClientAddressHeader::XForwardedFor),
            forwarded: believed(&FORWARDED, ClientAddressHeader::Forwarded),
        }
    }

    fn put(self, headers: &mut HeaderMap, facts: &Facts, delivery: &Delivery<'_>) {
        if self.accepts_trailers {
            headers.insert(TE, HeaderValue::from_static("trailers"));
        }
        if facts.tunnel.is_some() {
            headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
            headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
        }
        let believed = Believed { x_forwarded_for: self.forwarded_for.as_ref(), forwarded: self.forwarded.as_ref() };
        let [x_forwarded_for, forwarded] = hops::fields(facts, believed);
        put(headers, X_FORWARDED_FOR, x_forwarded_for);
        put(headers, FORWARDED, forwarded);
        if !delivery.http2
            && let Some(cookies) = several(headers, &COOKIE).then(|| joined(headers, &COOKIE, "; ")).flatten()
        {
            headers.insert(COOKIE, cookies);
        }
    }
}

/// Whether the name belongs to one connection, to framing, or to the gateway.
fn never(name: &str) -> bool {
    folds_to_any(name, &NEVER) || starts_folded(name, "proxy-")
}

/// Whether only the gateway may say this header: an identity header, or one that `forward` sets.
fn reserved(name: &str, effects: &Effects<'_>, identity: &IdentityNames) -> bool {
    identity.covers(name)
        || effects.removes.iter().any(|set| folds_to(name, set))
        || effects.all().any(|(set, _)| alike(name, set.as_str()))
}

/// Whether two names fold to the same. Allocates nothing.
fn alike(left: &str, right: &str) -> bool {
    let same = |(left, right): (u8, u8)| {
        left.eq_ignore_ascii_case(&right) || !(left.is_ascii_alphanumeric() || right.is_ascii_alphanumeric())
    };
    left.len() == right.len() && left.bytes().zip(right.bytes()).all(same)
}

/// Whether the name tells where the request came from and is not to be believed. Of a trusted proxy the plain
/// spellings are: the others may have come through it from the client.
fn forwarding(name: &str, peer_is_trusted: bool) -> bool {
    let tells = starts_folded(name, "x-forwarded-") || folds_to(name, "forwarded") || folds_to(name, "x-real-ip");
    tells && !(peer_is_trusted && is_plain(name))
}

fn keeps_authorization(headers: &HeaderMap, rule: AuthorizationHeader) -> bool {
    match rule {
        AuthorizationHeader::Keep => true,
        AuthorizationHeader::Strip => false,
        AuthorizationHeader::StripTokens => {
            !headers.get_all(AUTHORIZATION).iter().any(|value| holds_token(value.as_bytes()))
        }
    }
}

/// Whether a server could read a Bearer or `DPoP` credential out of this value, alone or in a list.
fn holds_token(value: &[u8]) -> bool {
    value.split(|byte| *byte == b',').any(|part| {
        let part = part.trim_ascii();
        let end = part.iter().position(|byte| !byte.is_ascii_alphanumeric()).unwrap_or(part.len());
        let (scheme, _) = part.split_at(end);
        scheme.eq_ignore_ascii_case(b"bearer") || scheme.eq_ignore_ascii_case(b"dpop")
    })
}

/// Announces the body as it will be sent, whatever the client announced.
fn put_framing(headers: &mut HeaderMap, method: &Method, framing: Framing, http2: bool) {
    match framing {
        Framing::Length(length) => {
            headers.insert(CONTENT_LENGTH, HeaderValue::from(length));
        }
        Framing::Unknown if !http2 => {
            headers.insert(TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
        }
        Framing::None if [Method::POST, Method::PUT, Method::PATCH].contains(method) => {
            headers.insert(CONTENT_LENGTH, HeaderValue::from_static("0"));
        }
        Framing::None => {
            headers.remove(TRAILER);
        }
        Framing::Unknown => {}
    }
}

/// Where the request came from, for servers that read other fields than `X-Forwarded-For` and `Forwarded`.
fn put_forwarding(headers: &mut HeaderMap, facts: &Facts) {
    let scheme = HeaderValue::from_static(facts.scheme.as_str());
    set_unless_single(headers, X_FORWARDED_PROTO, scheme);
    set_unless_single(headers, X_FORWARDED_HOST, facts.authority.clone());
    set_unless_single(headers, X_FORWARDED_PORT, HeaderValue::from(facts.port));
    headers.insert(X_REQUEST_ID, facts.request_id.clone());
    headers.insert(TRACEPARENT, facts.traceparent.clone());
}

/// Sets the header unless exactly one value, of a trusted proxy, is there.
fn set_unless_single(headers: &mut HeaderMap, name: HeaderName, value: HeaderValue) {
    match headers.entry(name) {
        Entry::Occupied(mut found) if found.iter().count() != 1 => {
            found.insert(value);
        }
        Entry::Occupied(_) => {}
        Entry::Vacant(free) => {
            free.insert(value);
        }
    }
}

impl Scheme {
    /// The scheme's name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
        }
    }
}

/// RFC 9110 section 7.6.3, without a version of the software.
pub(super) fn received_by(version: Version) -> HeaderValue {
    HeaderValue::from_static(match version {
        Version::HTTP_10 => "1.0 torwart",
        Version::HTTP_2 => "2 torwart",
        _ => "1.1 torwart",
    })
}

/// The values of several fields, as parts of one buffer: whoever passes one on shares it.
///
/// # Errors
/// One of them holds a byte that no field value has (RFC 9110 section 5.5).
pub fn header_values<const N: usize>(texts: [&[u8]; N]) -> Result<[HeaderValue; N], InvalidHeaderValue> {
    let mut buffer = Bytes::from(texts.concat());
    let mut values = [const { HeaderValue::from_static("") }; N];
    for (value, text) in values.iter_mut().zip(texts) {
        *value = HeaderValue::from_maybe_shared(buffer.split_to(text.len()))?;
    }
    Ok(values)
}

/// `before, last`, or `last` alone.
pub(super) fn append(before: Option<HeaderValue>, last: HeaderValue) -> HeaderValue {
    let Some(before) = before else { return last };
    let joined = [before.as_bytes(), b", ", last.as_bytes()].concat();
    HeaderValue::from_bytes(&joined).unwrap_or(last)
}

/// All values of a header in one, or `None` when it is not there.
pub(super) fn joined(headers: &HeaderMap, name: &HeaderName, separator: &str) -> Option<HeaderValue> {
    let mut values = headers.get_all(name).iter();
    let first = values.next()?;
    let mut all = first.as_bytes().to_vec();
    for value in values {
        all.extend_from_slice(separator.as_bytes());
        all.extend_from_slice(value.as_bytes());
    }
    HeaderValue::from_bytes(&all).ok()
}

/// The members of a comma-separated header, over all its lines.
pub(super) fn list<'h>(headers: &'h HeaderMap, name: &HeaderName) -> impl Iterator<Item = &'h [u8]> {
    headers
        .get_all(name)
        .into_iter()
        .flat_map(|value| value.as_bytes().split(|byte| *byte == b','))
        .map(<[u8]>::trim_ascii)
        .filter(|member| !member.is_empty())
}

fn several(headers: &HeaderMap, name: &HeaderName) -> bool {
    headers.get_all(name).iter().nth(1).is_some()
}

fn put(headers: &mut HeaderMap, name: HeaderName, value: Bytes) {
    match HeaderValue::from_maybe_shared(value) {
        Ok(value) => headers.insert(name, value),
        Err(_) => headers.remove(name),
    };
}

#[cfg(test)]
mod tests;
