//! What the upstream is told in headers: of the client's everything but what only the gateway may say or what concerns
//! one hop only, and then what the gateway says. Pure.

mod hops;
mod trailers;

use std::sync::Arc;

use bytes::Bytes;
use http::header::{
    AUTHORIZATION, CONNECTION, CONTENT_LENGTH, COOKIE, FORWARDED, HOST, HeaderMap, HeaderName, HeaderValue,
    InvalidHeaderValue, TE, TRAILER, TRANSFER_ENCODING, UPGRADE, VIA,
};
use http::uri::{self, Authority, PathAndQuery};
use http::{Method, Request, Uri, Version, request};
use smallvec::SmallVec;

use super::endpoint::{Endpoint, Host};
use super::http1::write_field;
use super::request_body::RequestBody;
use super::{Facts, Scheme};
use crate::config::ClientAddressHeader;
use crate::policy::AuthorizationHeader;
use crate::target::fold::{fold_header, folds_to, folds_to_any, is_plain, only_field, starts_folded};
use crate::target::method::OVERRIDE_HEADERS;

use self::hops::Believed;
pub(super) use self::trailers::{TrailerRules, unless_empty};

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

/// Bytes that most heads of requests do not exceed.
const USUAL_HEAD: usize = 2 * 1024;

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
    pub(super) identity: &'d Arc<IdentityNames>,
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
    /// What is sent to this endpoint as Host or authority.
    pub(super) fn host<'h>(&'h self, endpoint: &'h Endpoint) -> &'h HeaderValue {
        match &endpoint.host {
            Host::Original => self.delivery.host,
            Host::Fixed(name) => name,
        }
    }

    /// The head of the request as HTTP/1.1 writes it (RFC 9112 sections 3 and 5), in a buffer that is empty.
    pub(super) fn http1(&self, host: &HeaderValue, mut out: Vec<u8>) -> Vec<u8> {
        out.reserve(USUAL_HEAD);
        for part in [self.head.method.as_str(), " ", self.target.as_str(), " HTTP/1.1\r\n"] {
            out.extend_from_slice(part.as_bytes());
        }
        self.fields(host, |name, value| write_field(&mut out, name, value));
        out.extend_from_slice(b"\r\n");
        out
    }

    /// The request as HTTP/2 sends it (RFC 9113 section 8.3.1). `None`: it cannot be written.
    pub(super) fn http2(&self, endpoint: &Endpoint, body: RequestBody) -> Option<Request<RequestBody>> {
        let mut request = Request::new(body);
        *request.method_mut() = self.head.method.clone();
        let mut parts = uri::Parts::default();
        parts.path_and_query = Some(self.target.clone());
        parts.authority = Some(Authority::try_from(self.host(endpoint).as_bytes()).ok()?);
        parts.scheme = Some(if endpoint.tls.is_some() { uri::Scheme::HTTPS } else { uri::Scheme::HTTP });
        *request.uri_mut() = Uri::from_parts(parts).ok()?;
        *request.headers_mut() = self.headers();
        Some(request)
    }

    /// The upstream's headers.
    pub(super) fn headers(&self) -> HeaderMap {
        let capacity = self.head.headers.len() + self.effects.set.len() + OWN;
        // More than there can be grows as it has to.
        let mut headers = HeaderMap::try_with_capacity(capacity).unwrap_or_default();
        self.fields(self.delivery.host, |name, value| {
            headers.append(name, value.clone());
        });
        headers
    }

    /// Every field that the upstream gets.
    fn fields(&self, host: &HeaderValue, mut put: impl FnMut(&HeaderName, &HeaderValue)) {
        let overridden = self.effects.all().any(|(name, _)| is_own(name.as_str()));
        let rules = Rules::new(self);
        let mut own = |name: &HeaderName, value: &HeaderValue| {
            if !(overridden && self.effects.all().any(|(set, _)| set == name)) {
                put(name, value);
            }
        };
        if !self.delivery.http2 {
            own(&HOST, host);
        }
        self.framing_fields(&rules, &mut own);
        self.connection_fields(&rules, &mut own);
        self.forwarding_fields(&rules, &mut own);
        for (name, value) in &self.head.headers {
            if rules.passes(name) && !is_own(name.as_str()) && !(rules.joins_cookies && name == COOKIE) {
                put(name, value);
            }
        }
        let assertion = self.effects.assertion.as_ref().map(|(name, _)| *name);
        for (name, value) in self.effects.set.iter().filter(|(name, _)| assertion != Some(*name)) {
            put(name, value);
        }
        if let Some((name, value)) = &self.effects.assertion {
            put(name, value);
        }
    }

    /// Announces the body as it will be sent, whatever the client announced.
    fn framing_fields(&self, rules: &Rules<'_, '_>, put: &mut impl FnMut(&HeaderName, &HeaderValue)) {
        match self.framing {
            Framing::Length(length) => put(&CONTENT_LENGTH, &HeaderValue::from(length)),
            Framing::Unknown if !self.delivery.http2 => put(&TRANSFER_ENCODING, &HeaderValue::from_static("chunked")),
            Framing::None if [Method::POST, Method::PUT, Method::PATCH].contains(&self.head.method) => {
                put(&CONTENT_LENGTH, &HeaderValue::from_static("0"));
            }
            Framing::None | Framing::Unknown => {}
        }
        if self.framing != Framing::None && self.head.headers.contains_key(TRAILER) && rules.passes(&TRAILER) {
            let rules = TrailerRules::new(self.delivery.identity, &self.effects);
            if let Some(coming) = rules.announced(&self.head.headers) {
                put(&TRAILER, &coming);
            }
        }
    }

    /// What of the client's fields has a meaning for the connection to the upstream, too.
    fn connection_fields(&self, rules: &Rules<'_, '_>, put: &mut impl FnMut(&HeaderName, &HeaderValue)) {
        let headers = &self.head.headers;
        if list(headers, &TE).any(|coding| coding.eq_ignore_ascii_case(b"trailers")) {
            put(&TE, &HeaderValue::from_static("trailers"));
        }
        if self.facts.tunnel.is_some() {
            put(&CONNECTION, &HeaderValue::from_static("Upgrade"));
            put(&UPGRADE, &HeaderValue::from_static("websocket"));
        }
        if rules.joins_cookies
            && rules.passes(&COOKIE)
            && let Some(cookies) = joined(headers, &COOKIE, "; ")
        {
            put(&COOKIE, &cookies);
        }
        put(&VIA, &append(joined(headers, &VIA, ", "), received_by(self.head.version)));
    }

    /// Where the request came from.
    fn forwarding_fields(&self, rules: &Rules<'_, '_>, put: &mut impl FnMut(&HeaderName, &HeaderValue)) {
        let Self { head: request::Parts { headers, .. }, facts, .. } = self;
        let believed = |name: &HeaderName, source: ClientAddressHeader| {
            let believed = facts.peer_is_trusted && self.delivery.client_address_from == source;
            believed.then(|| joined(headers, name, ", "))?
        };
        let x_forwarded_for = believed(&X_FORWARDED_FOR, ClientAddressHeader::XForwardedFor);
        let forwarded = believed(&FORWARDED, ClientAddressHeader::Forwarded);
        let believed = Believed { x_forwarded_for: x_forwarded_for.as_ref(), forwarded: forwarded.as_ref() };
        let [x_forwarded_for, forwarded] = hops::fields(facts, believed);
        for (name, value) in [(&X_FORWARDED_FOR, x_forwarded_for), (&FORWARDED, forwarded)] {
            if let Ok(value) = HeaderValue::from_maybe_shared(value) {
                put(name, &value);
            }
        }
        // For servers that read other fields. What one trusted proxy says in them stands.
        let scheme = HeaderValue::from_static(facts.scheme.as_str());
        let port = HeaderValue::from(facts.port);
        let others = [(&X_FORWARDED_PROTO, &scheme), (&X_FORWARDED_HOST, &facts.authority), (&X_FORWARDED_PORT, &port)];
        for (name, value) in others {
            let told = if facts.peer_is_trusted && rules.passes(name) { only_field(headers, name) } else { None };
            put(name, told.unwrap_or(value));
        }
        put(&X_REQUEST_ID, &facts.request_id);
        put(&TRACEPARENT, &facts.traceparent);
    }
}

/// What the client may say to the upstream.
struct Rules<'d, 'r> {
    draft: &'d Draft<'r>,
    /// Named in `Connection`. Folded.
    named: SmallVec<[String; 4]>,
    keeps_authorization: bool,
    /// HTTP/1.1 has one line for cookies (RFC 6265 section 5.4).
    joins_cookies: bool,
}

impl<'d, 'r> Rules<'d, 'r> {
    fn new(draft: &'d Draft<'r>) -> Self {
        let client = &draft.head.headers;
        let named = list(client, &CONNECTION)
            .map(|name| fold_header(&String::from_utf8_lossy(name)))
            .filter(|name| name != "close" && name != "keep-alive")
            .collect();
        let keeps_authorization = keeps_authorization(client, draft.effects.authorization);
        let joins_cookies = !draft.delivery.http2 && several(client, &COOKIE);
        Self { draft, named, keeps_authorization, joins_cookies }
    }

    /// Whether a field with this name goes on.
    fn passes(&self, name: &HeaderName) -> bool {
        let Draft { facts, effects, delivery, .. } = self.draft;
        let text = name.as_str();
        let stays_behind = never(text)
            || self.named.iter().any(|named| folds_to(text, named))
            || reserved(text, effects, delivery.identity)
            || forwarding(text, facts.peer_is_trusted)
            || (effects.strips_method_override && folds_to_any(text, &OVERRIDE_HEADERS))
            || (text == "tracestate" && !facts.trace_continued)
            || (!self.keeps_authorization && name == AUTHORIZATION);
        !stays_behind
    }
}

/// Whether the gateway writes the field itself, be it from what the client says in it.
fn is_own(name: &str) -> bool {
    matches!(
        name,
        "connection"
            | "content-length"
            | "forwarded"
            | "host"
            | "te"
            | "traceparent"
            | "trailer"
            | "transfer-encoding"
            | "upgrade"
            | "via"
            | "x-forwarded-for"
            | "x-forwarded-host"
            | "x-forwarded-port"
            | "x-forwarded-proto"
            | "x-request-id"
    )
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

#[cfg(test)]
mod tests;
