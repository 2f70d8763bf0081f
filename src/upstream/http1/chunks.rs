//! The chunked transfer coding (RFC 9112 section 7.1), as an upstream sends it. Pure.
//!
//! Read is only what everybody reads alike: a size is digits and nothing else, every line ends with CRLF, and what follows
//! the last chunk is whole before anything of it counts.

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, HeaderName, HeaderValue};

use super::head::MAX_FIELDS;
use crate::upstream::failure::ConnectionFault;

/// Bytes of the longest line that announces a chunk, its extensions included.
const LONGEST_LINE: usize = 4 * 1024;
/// Bytes of the longest trailer section.
const LONGEST_TRAILERS: usize = 16 * 1024;

/// Where in a chunked body one is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Chunks {
    /// Before the line that announces a chunk.
    #[default]
    Announcement,
    /// Inside a chunk, of which so many bytes are to come; never 0.
    Data(u64),
    /// Before the line end behind a chunk.
    DataEnd,
    /// Behind the last chunk.
    Trailers,
    /// Behind everything.
    End,
}

/// What a chunked body is made of.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Piece {
    /// Never empty.
    Data(Bytes),
    /// Never empty.
    Trailers(HeaderMap),
}

impl Chunks {
    /// Takes the next piece. `None`: it is over, or more has to be received first. What is taken up to there is never looked
    /// at again, and a piece that is the last one leaves this at the end if that has come with it.
    ///
    /// # Errors
    /// The body is no chunked one.
    pub(super) fn next(&mut self, received: &mut BytesMut) -> Result<Option<Piece>, ConnectionFault> {
        let mut piece = None;
        loop {
            match self {
                Self::Announcement => match announced(received)? {
                    None => return Ok(piece),
                    Some(0) => *self = Self::Trailers,
                    Some(length) => *self = Self::Data(length),
                },
                Self::Data(_) if piece.is_some() => return Ok(piece),
                Self::Data(left) => {
                    let length = received.len().min(usize::try_from(*left).unwrap_or(usize::MAX));
                    if length == 0 {
                        return Ok(None);
                    }
                    piece = Some(Piece::Data(received.split_to(length).freeze()));
                    *left = left.saturating_sub(length as u64);
                    if *left > 0 {
                        return Ok(piece);
                    }
                    *self = Self::DataEnd;
                }
                Self::DataEnd => match received.get(..2) {
                    Some(b"\r\n") => {
                        drop(received.split_to(2));
                        *self = Self::Announcement;
                    }
                    Some(_) => return Err(ConnectionFault::Malformed("a chunk is longer than announced")),
                    None => return Ok(piece),
                },
                // Trailers are a piece of their own.
                Self::Trailers if piece.is_some() && received.get(..2).is_none_or(|end| end != b"\r\n") => {
                    return Ok(piece);
                }
                Self::Trailers => match trailers(received)? {
                    None => return Ok(None),
                    Some(trailers) => {
                        *self = Self::End;
                        return Ok(piece.or((!trailers.is_empty()).then_some(Piece::Trailers(trailers))));
                    }
                },
                Self::End => return Ok(piece),
            }
        }
    }
}

/// The length of the chunk whose line comes next, once that is there.
fn announced(received: &mut BytesMut) -> Result<Option<u64>, ConnectionFault> {
    let Some(end) = memchr::memchr(b'\n', received) else {
        return if received.len() > LONGEST_LINE { Err(LINE) } else { Ok(None) };
    };
    let line = received.split_to(end.saturating_add(1));
    if line.len() > LONGEST_LINE {
        return Err(LINE);
    }
    let line = line.strip_suffix(b"\r\n").ok_or(LINE)?;
    let digits = line.iter().position(|byte| !byte.is_ascii_hexdigit()).unwrap_or(line.len());
    let (size, rest) = line.split_at_checked(digits).ok_or(LINE)?;
    // RFC 9112 section 7.1.1: extensions, before which there may be white space; no other control character.
    let extensions = rest.trim_ascii_start();
    let plain = extensions.is_empty() || extensions.first() == Some(&b';');
    if !plain || rest.iter().any(|byte| byte.is_ascii_control() && *byte != b'\t') {
        return Err(LINE);
    }
    // As a number must be, it is neither empty nor too large.
    let size = std::str::from_utf8(size).map_err(|_| LINE)?;
    u64::from_str_radix(size, 16).map(Some).map_err(|_| LINE)
}

const LINE: ConnectionFault = ConnectionFault::Malformed("a line does not announce a chunk");
const TRAILERS: ConnectionFault = ConnectionFault::Malformed("its trailer section is none");

/// The fields up to the empty line, once that is there.
fn trailers(received: &mut BytesMut) -> Result<Option<HeaderMap>, ConnectionFault> {
    let mut fields = [httparse::EMPTY_HEADER; MAX_FIELDS];
    let mut trailers = HeaderMap::new();
    let length = match httparse::parse_headers(received, &mut fields).map_err(|_| TRAILERS)? {
        httparse::Status::Complete((length, fields)) => {
            for field in fields {
                let name = HeaderName::from_bytes(field.name.as_bytes()).map_err(|_| TRAILERS)?;
                let value = HeaderValue::from_bytes(field.value).map_err(|_| TRAILERS)?;
                trailers.try_append(name, value).map_err(|_| TRAILERS)?;
            }
            length
        }
        httparse::Status::Partial if received.len() > LONGEST_TRAILERS => return Err(TRAILERS),
        httparse::Status::Partial => return Ok(None),
    };
    let section = received.split_to(length);
    let bare = |end: usize| end.checked_sub(1).and_then(|before| section.get(before)) != Some(&b'\r');
    if length > LONGEST_TRAILERS || memchr::memchr_iter(b'\n', &section).any(bare) {
        return Err(TRAILERS);
    }
    Ok(Some(trailers))
}

#[cfg(test)]
mod tests;
