//! The canonical path and its decoded form (http.md, "Canonical request target").

use std::borrow::Cow;

use super::fold::is_folded;
use super::query::{Query, is_plain};
use super::quirks::{Charset, EmptySegments};
use super::{PathRules, TargetError, scan};

/// Stands for `%2F` in decoded text: control characters are refused in paths, so nothing else can be it.
pub(crate) const KEPT_SLASH: char = '\u{1}';
/// Stands for `%5C` in decoded text.
pub(crate) const KEPT_BACKSLASH: char = '\u{2}';
/// Stands for `%3B` in decoded text.
pub(crate) const KEPT_SEMICOLON: char = '\u{3}';

/// The escape that stays encoded when segments are decoded, and the character that stands for it inside.
pub(crate) const fn kept(byte: u8) -> Option<char> {
    match byte {
        b'/' => Some(KEPT_SLASH),
        b'\\' => Some(KEPT_BACKSLASH),
        b';' => Some(KEPT_SEMICOLON),
        _ => None,
    }
}

/// Decoded text as it is shown and compared: escapes that stayed encoded are written as such.
pub(crate) fn shown(text: &str) -> Cow<'_, str> {
    if !text.contains([KEPT_SLASH, KEPT_BACKSLASH, KEPT_SEMICOLON]) {
        return Cow::Borrowed(text);
    }
    let mut shown = String::with_capacity(text.len() + 8);
    for letter in text.chars() {
        match letter {
            KEPT_SLASH => shown.push_str("%2F"),
            KEPT_BACKSLASH => shown.push_str("%5C"),
            KEPT_SEMICOLON => shown.push_str("%3B"),
            other => shown.push(other),
        }
    }
    Cow::Owned(shown)
}

/// What stands in a path that some servers read in a way of their own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Marks {
    /// Something that a reading other than those of case and trailing slash changes: an escape, a `;`, a dot or space at the
    /// end of a segment.
    pub(crate) special: bool,
    /// A letter that has another case.
    pub(crate) unfolded: bool,
}

impl Marks {
    /// What stands in decoded text.
    pub(crate) fn of(text: &str) -> Self {
        let ends_a_name = |byte: u8| matches!(byte, b'.' | b' ');
        let mut before = 0;
        let special = text.bytes().any(|byte| {
            let special = matches!(byte, 1..=3 | b';' | b'%') || (byte == b'/' && ends_a_name(before));
            before = byte;
            special
        });
        Self { special: special || ends_a_name(before), unfolded: !is_folded(text) }
    }
}

/// The byte has to be encoded, decoded or refused.
const REWRITTEN: u8 = 1;
/// The byte begins path parameters.
const PARAMETERS: u8 = 2;
/// The byte is a letter that has another case.
const UNFOLDED: u8 = 4;
/// A query cannot hold the byte.
const NOT_IN_QUERY: u8 = 8;
/// In a query, something is decoded, cut or trimmed because of the byte.
const CODED: u8 = 16;

/// What each byte is, so that a target is read in one go.
const CLASSES: [u8; 256] = {
    let mut classes = [0; 256];
    let mut rest: &mut [u8] = &mut classes;
    let mut byte: u8 = 0;
    while let Some((class, after)) = rest.split_first_mut() {
        if !stays(byte) {
            *class |= REWRITTEN;
        }
        if byte == b';' {
            *class |= PARAMETERS;
        }
        if byte.is_ascii_uppercase() {
            *class |= UNFOLDED;
        }
        if matches!(byte, b'#' | 0..=0x20 | 0x7f..) {
            *class |= NOT_IN_QUERY;
        }
        if !is_plain(byte) {
            *class |= CODED;
        }
        byte = byte.wrapping_add(1);
        rest = after;
    }
    classes
};

/// Everything that stands in a text.
fn classes(text: &str) -> u8 {
    let and = |seen, byte: &u8| seen | CLASSES.get(usize::from(*byte)).copied().unwrap_or(u8::MAX);
    // Words are as long as each other, so that each is read without a loop.
    let (words, rest) = text.as_bytes().as_chunks::<8>();
    let seen = rest.iter().fold(0, and);
    words.iter().fold(seen, |seen, [a, b, c, d, e, f, g, h]| [a, b, c, d, e, f, g, h].into_iter().fold(seen, and))
}

/// A path that is its own canonical and decoded text, as most are; `None` where it takes a closer look to know.
pub(super) fn read_plain(raw: &str) -> Option<Marks> {
    let seen = classes(raw);
    if seen & REWRITTEN != 0 || raw.ends_with('.') {
        return None;
    }
    let mut rest = raw.as_bytes().strip_prefix(b"/")?;
    while let Some((segment, after)) = scan::find(b'/', rest).and_then(|end| rest.split_at_checked(end)) {
        // A run of slashes, or a segment that ends in a dot and may be nothing but dots.
        if matches!(segment.last(), None | Some(b'.')) {
            return None;
        }
        rest = after.get(1..)?;
    }
    Some(Marks { special: seen & PARAMETERS != 0, unfolded: seen & UNFOLDED != 0 })
}

/// The canonical text of a raw path.
pub(super) fn canonicalise(raw: &str, empty_segments: EmptySegments) -> Result<Cow<'_, str>, TargetError> {
    if !raw.starts_with('/') {
        return Err(TargetError::NotAbsolute);
    }
    let runs = raw.as_bytes().windows(2).any(|pair| pair == b"//");
    if runs && empty_segments == EmptySegments::Refuse {
        return Err(TargetError::EmptySegment);
    }
    let merge = runs && empty_segments == EmptySegments::Merge;
    let path = if !merge && raw.bytes().all(stays) { Cow::Borrowed(raw) } else { Cow::Owned(rewrite(raw, merge)?) };
    if path.split('/').any(|segment| matches!(segment, "." | "..")) {
        return Err(TargetError::DotSegment);
    }
    Ok(path)
}

fn rewrite(raw: &str, merge: bool) -> Result<String, TargetError> {
    let mut path = String::with_capacity(raw.len() + 16);
    let mut bytes = raw.bytes();
    while let Some(byte) = bytes.next() {
        match byte {
            b'/' if merge && path.ends_with('/') => {}
            b'%' => push_escape(&mut path, &mut bytes)?,
            b'\\' => return Err(TargetError::Backslash),
            b'#' => return Err(TargetError::Fragment),
            0..=0x1f | 0x7f => return Err(TargetError::Control),
            0x80.. => return Err(TargetError::NonAscii),
            _ if stays(byte) => path.push(char::from(byte)),
            _ => push_encoded(&mut path, byte),
        }
    }
    Ok(path)
}

/// Reads what follows a `%`.
fn push_escape(path: &mut String, bytes: &mut std::str::Bytes<'_>) -> Result<(), TargetError> {
    let high = bytes.next().ok_or(TargetError::Escape)?;
    if matches!(high, b'u' | b'U') {
        return Err(TargetError::UnicodeEscape);
    }
    let low = bytes.next().ok_or(TargetError::Escape)?;
    match hex_byte(high, low).ok_or(TargetError::Escape)? {
        0..=0x1f | 0x7f => return Err(TargetError::Control),
        byte if is_unreserved(byte) => path.push(char::from(byte)),
        byte => push_encoded(path, byte),
    }
    Ok(())
}

/// The decoded text of a canonical path; `None` when nothing in it is encoded.
pub(super) fn decode(path: &str, charset: Charset) -> Result<Option<String>, TargetError> {
    if !path.contains('%') {
        return Ok(None);
    }
    let mut text = Vec::with_capacity(path.len());
    let mut bytes = path.bytes();
    while let Some(byte) = bytes.next() {
        if byte != b'%' {
            text.push(byte);
            continue;
        }
        let escaped = bytes.next().zip(bytes.next()).and_then(|(high, low)| hex_byte(high, low));
        let escaped = escaped.ok_or(TargetError::Escape)?;
        match (kept(escaped), charset) {
            (Some(marker), _) => text.extend_from_slice(marker.encode_utf8(&mut [0; 4]).as_bytes()),
            (None, Charset::Utf8) => text.push(escaped),
            (None, Charset::Latin1) => text.extend_from_slice(char::from(escaped).encode_utf8(&mut [0; 4]).as_bytes()),
        }
    }
    let text = String::from_utf8(text).map_err(|_| TargetError::Charset)?;
    // U+0080 to U+009F are control characters as well; ISO 8859-1 bytes of that range are letters of Windows-1252.
    if charset == Charset::Utf8 && text.chars().any(|letter| matches!(letter, '\u{80}'..='\u{9f}')) {
        return Err(TargetError::Control);
    }
    Ok(Some(text))
}

/// What the path is, canonical and decoded.
pub(super) fn read(raw: &str, rules: PathRules) -> Result<(Cow<'_, str>, Option<String>), TargetError> {
    let path = canonicalise(raw, rules.empty_segments)?;
    let decoded = decode(&path, rules.charset)?;
    Ok((path, decoded))
}

/// Checks a query, which is forwarded byte for byte.
pub(super) fn check_query(query: &str) -> Result<Query<'_>, TargetError> {
    let seen = classes(query);
    if seen & NOT_IN_QUERY == 0 {
        return Ok(Query::known(query, seen & CODED == 0));
    }
    for byte in query.bytes() {
        match byte {
            b'#' => return Err(TargetError::Fragment),
            0..=0x20 | 0x7f => return Err(TargetError::QueryCharacter),
            0x80.. => return Err(TargetError::NonAscii),
            _ => {}
        }
    }
    Ok(Query::of(query))
}

/// Whether names and values of a query are what is written.
pub(super) fn is_plain_query(query: &str) -> bool {
    classes(query) & CODED == 0
}

/// The byte that two hexadecimal digits spell.
pub(crate) fn hex_byte(high: u8, low: u8) -> Option<u8> {
    let digit = |byte| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    Some(digit(high)? << 4 | digit(low)?)
}

/// RFC 3986 section 2.3.
pub(crate) const fn is_unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~')
}

/// RFC 3986 section 3.3: what a path holds as it is.
const fn stays(byte: u8) -> bool {
    is_unreserved(byte)
        || matches!(
            byte,
            b'/' | b':' | b'@' | b'!' | b'$' | b'&' | b'\'' | b'(' | b')' | b'*' | b'+' | b',' | b';' | b'='
        )
}

fn push_encoded(text: &mut String, byte: u8) {
    const DIGITS: [char; 16] = ['0', '1', '2', '3', '4', '5', '6', '7', '8', '9', 'A', 'B', 'C', 'D', 'E', 'F'];
    let digit = |value: u8| DIGITS.get(usize::from(value)).copied().unwrap_or('0');
    text.extend(['%', digit(byte >> 4), digit(byte & 15)]);
}
