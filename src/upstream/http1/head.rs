//! The head of a response (RFC 9112 sections 4 and 5), as an upstream sends it. Pure.

use std::mem::MaybeUninit;
use std::ops::Range;

use bytes::{Bytes, BytesMut};
use http::header::{CONNECTION, HeaderName, HeaderValue};
use http::{HeaderMap, Response, StatusCode, Version, response};
use hyper::ext::ReasonPhrase;
use smallvec::SmallVec;

use crate::upstream::BUFFER;
use crate::upstream::failure::ConnectionFault;
use crate::upstream::request_headers::list;

/// Fields that a head or a trailer section may have.
pub(super) const MAX_FIELDS: usize = 100;

/// Fields that may be added to a head on its way.
const ADDED: usize = 2;

/// Finds heads in what has been received.
#[derive(Debug, Default)]
pub(super) struct Finder {
    /// Bytes in which no head ends.
    seen: usize,
}

impl Finder {
    /// Takes the head that comes next, once it is whole. One that comes in many pieces is not read anew with every piece.
    ///
    /// # Errors
    /// What is there does not begin like a head, or is longer than one may be.
    pub(super) fn next(&mut self, received: &mut BytesMut) -> Result<Option<response::Parts>, ConnectionFault> {
        if self.may_be_whole(received) {
            let mut fields = [const { MaybeUninit::uninit() }; MAX_FIELDS];
            let mut response = httparse::Response::new(&mut []);
            let parser = httparse::ParserConfig::default();
            let parsed = parser.parse_response_with_uninit_headers(&mut response, received, &mut fields);
            if let httparse::Status::Complete(length) = parsed.map_err(|_| MALFORMED)? {
                self.seen = 0;
                let mut head = start_of(&response)?;
                let places = response.headers.iter().map(|field| Place::of(field, received));
                let places: SmallVec<[Place; 16]> = places.collect();
                head.headers = fields_of(&received.split_to(length).freeze(), &places)?;
                return Ok(Some(head));
            }
        }
        self.seen = received.len();
        if received.len() < BUFFER { Ok(None) } else { Err(TOO_LONG) }
    }

    /// Whether there is the end of a head in what has come since the last look.
    fn may_be_whole(&self, received: &[u8]) -> bool {
        let recent = received.get(self.seen.saturating_sub(3)..).unwrap_or(received);
        let ends = |at: usize| {
            let behind = recent.get(at.saturating_add(1)..).unwrap_or_default();
            behind.starts_with(b"\n") || behind.starts_with(b"\r\n")
        };
        !recent.is_empty() && (self.seen == 0 || memchr::memchr_iter(b'\n', recent).any(ends))
    }
}

const MALFORMED: ConnectionFault = ConnectionFault::Malformed("it is no head of a response");
const TOO_LONG: ConnectionFault = ConnectionFault::Malformed("its head is too long");

/// The status line.
fn start_of(response: &httparse::Response<'_, '_>) -> Result<response::Parts, ConnectionFault> {
    let (mut head, ()) = Response::new(()).into_parts();
    head.status = StatusCode::from_u16(response.code.unwrap_or_default()).map_err(|_| MALFORMED)?;
    head.version = if response.version == Some(1) { Version::HTTP_11 } else { Version::HTTP_10 };
    if let Some(reason) = response.reason.filter(|reason| Some(*reason) != head.status.canonical_reason()) {
        head.extensions.insert(ReasonPhrase::try_from(reason.as_bytes()).map_err(|_| MALFORMED)?);
    }
    Ok(head)
}

/// Where in a head a field is.
struct Place {
    name: Range<usize>,
    value: Range<usize>,
}

impl Place {
    fn of(field: &httparse::Header<'_>, text: &[u8]) -> Self {
        let begin = text.as_ptr().addr();
        let range = |part: &[u8]| {
            let start = part.as_ptr().addr().saturating_sub(begin);
            start..start.saturating_add(part.len())
        };
        Self { name: range(field.name.as_bytes()), value: range(field.value) }
    }
}

/// The fields, their values parts of the text.
fn fields_of(text: &Bytes, places: &[Place]) -> Result<HeaderMap, ConnectionFault> {
    let mut headers = HeaderMap::try_with_capacity(places.len().saturating_add(ADDED)).map_err(|_| MALFORMED)?;
    for Place { name, value } in places {
        let name = HeaderName::from_bytes(text.get(name.clone()).unwrap_or_default()).map_err(|_| MALFORMED)?;
        // Only an empty value may be no part of the text.
        let value = text.slice_ref(text.get(value.clone()).unwrap_or_default());
        let value = HeaderValue::from_maybe_shared(value).map_err(|_| MALFORMED)?;
        headers.try_append(name, value).map_err(|_| MALFORMED)?;
    }
    Ok(headers)
}

/// Whether the connection may carry another exchange after this one (RFC 9112 section 9.3).
pub(super) fn keeps_alive(head: &response::Parts) -> bool {
    let named = |option: &[u8]| list(&head.headers, &CONNECTION).any(|named| named.eq_ignore_ascii_case(option));
    let closes = named(b"close");
    match head.version {
        Version::HTTP_11 => !closes,
        _ => !closes && named(b"keep-alive"),
    }
}

#[cfg(test)]
mod tests;
