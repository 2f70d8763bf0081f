//! What the client is told of an upstream's answer: nothing that concerns the connection behind the gateway, and no
//! answer at all whose framing could be read in two ways. Pure.

use http::header::{CONNECTION, CONTENT_LENGTH, HeaderMap, HeaderName, HeaderValue, TRANSFER_ENCODING, VIA};
use http::{StatusCode, Version, response};
use smallvec::SmallVec;

use super::failure::ProtocolFault;
use super::request_headers::{append, joined, list, received_by, unless_empty};
use crate::target::fold::{fold_header, folds_to, folds_to_any, is_token, starts_folded};

/// Fields that concern one connection (RFC 9110 section 7.6.1), or that only hyper writes.
const NEVER: [&str; 6] = ["connection", "http2-settings", "keep-alive", "te", "transfer-encoding", "upgrade"];

/// Fields that a trailer section may not carry (RFC 9110 section 6.5.1).
const NOT_IN_TRAILERS: [&str; 12] = [
    "authorization",
    "cache-control",
    "content-encoding",
    "content-length",
    "content-range",
    "content-type",
    "host",
    "location",
    "set-cookie",
    "trailer",
    "vary",
    "www-authenticate",
];

/// What a head says about the content behind it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Announced {
    /// So many bytes of it.
    Length(u64),
    /// That it comes in chunks.
    Chunks,
    /// Nothing.
    Nothing,
}

/// Checks the head of a final response and makes it one that the gateway may send. A 101 is none of these. Beside it,
/// what it announced.
pub(super) fn rewrite(head: &mut response::Parts) -> Result<Announced, ProtocolFault> {
    check_status(head.status)?;
    let announced = check_framing(head)?;
    let via = joined(&head.headers, &VIA, ", ");
    remove_connection_fields(&mut head.headers);
    head.headers.insert(VIA, append(via, received_by(head.version)));
    if head.status == StatusCode::NO_CONTENT {
        head.headers.remove(CONTENT_LENGTH);
    }
    head.version = Version::HTTP_11;
    Ok(announced)
}

/// Makes a 101 that was asked for one that the gateway may send.
pub(super) fn rewrite_switch(head: &mut response::Parts) {
    let via = joined(&head.headers, &VIA, ", ");
    remove_connection_fields(&mut head.headers);
    head.headers.insert(VIA, append(via, received_by(head.version)));
    head.version = Version::HTTP_11;
}

fn check_status(status: StatusCode) -> Result<(), ProtocolFault> {
    match status.as_u16() {
        101 => Err(ProtocolFault::UnaskedSwitch),
        200..=599 => Ok(()),
        other => Err(ProtocolFault::Status(other)),
    }
}

/// RFC 9112 sections 6.1 to 6.3, more strictly: one coding, one length, never both.
fn check_framing(head: &mut response::Parts) -> Result<Announced, ProtocolFault> {
    let mut codings = head.headers.get_all(TRANSFER_ENCODING).iter();
    if let Some(coding) = codings.next() {
        let sole = codings.next().is_none() && !head.headers.contains_key(CONTENT_LENGTH);
        let chunked = coding.as_bytes().eq_ignore_ascii_case(b"chunked") && head.version == Version::HTTP_11;
        return if sole && chunked { Ok(Announced::Chunks) } else { Err(ProtocolFault::TransferEncoding) };
    }
    let mut lengths = head.headers.get_all(CONTENT_LENGTH).iter();
    let Some(length) = lengths.next() else { return Ok(Announced::Nothing) };
    let number = length.to_str().ok().filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()));
    let number: Option<u64> = number.and_then(|text| text.parse().ok());
    let (Some(number), None) = (number, lengths.next()) else { return Err(ProtocolFault::ContentLength) };
    // `007` is written as everybody writes it.
    if length.as_bytes().first() == Some(&b'0') {
        head.headers.insert(CONTENT_LENGTH, HeaderValue::from(number));
    }
    Ok(Announced::Length(number))
}

/// Removes what concerns the connection to the upstream only.
fn remove_connection_fields(headers: &mut HeaderMap) {
    let named: SmallVec<[String; 2]> = list(headers, &CONNECTION)
        .map(|name| fold_header(&String::from_utf8_lossy(name)))
        .filter(|name| name != "close" && name != "keep-alive")
        .collect();
    let gone: SmallVec<[HeaderName; 6]> = headers
        .keys()
        .filter(|name| {
            let text = name.as_str();
            stays_behind(text) || named.iter().any(|named| folds_to(text, named))
        })
        .cloned()
        .collect();
    for name in gone {
        headers.remove(name);
    }
}

/// Whether a field stays behind: it concerns one connection, or not every version of HTTP can write its name.
fn stays_behind(name: &str) -> bool {
    !is_token(name) || folds_to_any(name, &NEVER) || starts_folded(name, "proxy-")
}

/// What of a response's trailers may be passed on; `None`: nothing.
pub(super) fn filter_trailers(mut trailers: HeaderMap) -> Option<HeaderMap> {
    let gone: SmallVec<[HeaderName; 4]> = trailers
        .keys()
        .filter(|name| {
            let text = name.as_str();
            stays_behind(text) || folds_to_any(text, &NOT_IN_TRAILERS)
        })
        .cloned()
        .collect();
    for name in gone {
        trailers.remove(name);
    }
    unless_empty(trailers)
}
