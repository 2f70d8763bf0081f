//! JSON lines that are safe to show: one object a line, nothing in it that a terminal, a log viewer or a line reader
//! would take for anything but text.
//!
//! They are written straight into the buffer that leaves the process: no text is made only to be copied.

use std::cell::Cell;
use std::io::{self, Write as _};
use std::net::IpAddr;
use std::time::{Duration, SystemTime};

use serde::Serialize as _;
use serde_json::Value;
use serde_json::ser::Formatter;
use time::OffsetDateTime;
use time::format_description::BorrowedFormatItem;
use time::macros::format_description;

use super::id::{RequestId, hex_pair};
use crate::principal::Texts;

const RFC_3339_MILLIS: &[BorrowedFormatItem<'static>] =
    format_description!("[year]-[month]-[day]T[hour]:[minute]:[second].[subsecond digits:3]Z");

/// Of [`RFC_3339_MILLIS`], what is the same for a whole second.
const SECOND: usize = "2026-11-21T22:00:00.".len();

/// Bytes of text that are looked at together.
const TOGETHER: usize = size_of::<u64>();

/// A line that is being written. What stands before a value, its name above all, is given with it as it is written.
pub(super) struct Line<'o>(&'o mut Vec<u8>);

impl<'o> Line<'o> {
    /// Begins a line behind the others.
    pub(super) fn begin(out: &'o mut Vec<u8>) -> Self {
        // More than most lines take: one look at the buffer's room instead of one for each field.
        out.reserve(2048);
        Self(out)
    }

    /// JSON as it is.
    #[inline]
    pub(super) fn raw(&mut self, json: &'static str) -> &mut Self {
        self.0.extend_from_slice(json.as_bytes());
        self
    }

    /// A text.
    #[inline]
    pub(super) fn text(&mut self, before: &'static str, text: &str) -> &mut Self {
        self.raw(before);
        self.0.push(b'"');
        if is_plain(text.as_bytes()) {
            self.0.extend_from_slice(text.as_bytes());
        } else {
            escape(text, self.0);
        }
        self.0.push(b'"');
        self
    }

    /// A word of the program's vocabulary, which is plain ASCII.
    #[inline]
    pub(super) fn word(&mut self, before: &'static str, word: &'static str) -> &mut Self {
        self.raw(before).raw("\"").raw(word).raw("\"")
    }

    /// A text, or `null`.
    #[inline]
    pub(super) fn text_or_null(&mut self, before: &'static str, text: Option<&str>) -> &mut Self {
        match text {
            Some(text) => self.text(before, text),
            None => self.raw(before).raw("null"),
        }
    }

    /// A number.
    #[inline]
    pub(super) fn number(&mut self, before: &'static str, number: impl Into<u64>) -> &mut Self {
        self.raw(before);
        digits(number.into(), self.0);
        self
    }

    /// A number, or `null`.
    pub(super) fn number_or_null(&mut self, before: &'static str, number: Option<impl Into<u64>>) -> &mut Self {
        match number {
            Some(number) => self.number(before, number),
            None => self.raw(before).raw("null"),
        }
    }

    /// A list of texts.
    pub(super) fn texts<'t>(&mut self, before: &'static str, texts: impl IntoIterator<Item = &'t str>) -> &mut Self {
        self.raw(before).raw("[");
        for (number, text) in texts.into_iter().enumerate() {
            self.text(if number == 0 { "" } else { "," }, text);
        }
        self.raw("]")
    }

    /// A list of texts, or `null`.
    pub(super) fn texts_or_null(&mut self, before: &'static str, texts: Option<&Texts>) -> &mut Self {
        match texts {
            Some(texts) => self.texts(before, texts),
            None => self.raw(before).raw("null"),
        }
    }

    /// An object with these members.
    pub(super) fn members<N: AsRef<str>>(&mut self, before: &'static str, members: &[(N, Value)]) -> &mut Self {
        self.raw(before).raw("{");
        for (number, (name, value)) in members.iter().enumerate() {
            self.text(if number == 0 { "" } else { "," }, name.as_ref()).raw(":");
            value_of(value, self.0);
        }
        self.raw("}")
    }

    /// A moment, by RFC 3339 in UTC with milliseconds.
    pub(super) fn time(&mut self, before: &'static str, moment: SystemTime) -> &mut Self {
        self.raw(before).raw("\"");
        write_time(moment, self.0);
        self.raw("\"")
    }

    /// Bytes as lower-case hexadecimal digits.
    pub(super) fn hex<const N: usize>(&mut self, before: &'static str, bytes: &[u8; N]) -> &mut Self {
        let mut pairs = [[0; 2]; N];
        for (pair, byte) in pairs.iter_mut().zip(bytes) {
            *pair = hex_pair(*byte);
        }
        self.raw(before).raw("\"");
        self.0.extend_from_slice(pairs.as_flattened());
        self.raw("\"")
    }

    /// The name of a request.
    pub(super) fn id(&mut self, before: &'static str, id: &RequestId) -> &mut Self {
        match id {
            RequestId::Made(text) => {
                self.raw(before).raw("\"");
                self.0.extend_from_slice(text);
                self.raw("\"")
            }
            RequestId::Given(text) => self.text(before, text),
        }
    }

    /// An address.
    pub(super) fn address(&mut self, before: &'static str, address: IpAddr) -> &mut Self {
        self.raw(before).raw("\"");
        match address {
            IpAddr::V4(address) => {
                let [first, rest @ ..] = address.octets();
                digits(first.into(), self.0);
                for octet in rest {
                    self.number(".", octet);
                }
            }
            // Writing to memory does not fail.
            IpAddr::V6(address) => _ = write!(self.0, "{address}"),
        }
        self.raw("\"")
    }

    /// A duration in seconds, to the microsecond.
    pub(super) fn seconds(&mut self, before: &'static str, duration: Duration) -> &mut Self {
        let micros = micros(duration);
        self.raw(before);
        if let 1..10 = micros {
            // As everybody who writes floating-point numbers in their shortest form does.
            digits(micros, self.0);
            return self.raw("e-6");
        }
        decimal(micros, [100_000, 10_000, 1000, 100, 10, 1], self.0);
        self
    }

    /// A duration in milliseconds, to the microsecond.
    pub(super) fn milliseconds(&mut self, before: &'static str, duration: Duration) -> &mut Self {
        self.raw(before);
        decimal(micros(duration), [100, 10, 1], self.0);
        self
    }
}

/// RFC 3339 in UTC with milliseconds.
pub(super) fn time(moment: SystemTime) -> String {
    OffsetDateTime::from(moment).format(RFC_3339_MILLIS).unwrap_or_default()
}

/// Appends what [`time()`] says. The calendar is asked once a second.
fn write_time(moment: SystemTime, out: &mut Vec<u8>) {
    thread_local! {
        static LAST: Cell<(u64, [u8; SECOND])> = const { Cell::new((u64::MAX, [0; SECOND])) };
    }
    let since = moment.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let (mut second, mut text) = LAST.get();
    if second != since.as_secs() {
        second = since.as_secs();
        let whole = time(SystemTime::UNIX_EPOCH + Duration::from_secs(second));
        // Four digits are enough for the years until 9999.
        let Some(begin) = whole.as_bytes().first_chunk() else { return };
        text = *begin;
        LAST.set((second, text));
    }
    out.extend_from_slice(&text);
    let millis = since.subsec_millis();
    out.extend([millis / 100, millis / 10 % 10, millis % 10].map(digit));
    out.push(b'Z');
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos().saturating_add(500) / 1000).unwrap_or(u64::MAX)
}

/// Appends a number.
fn digits(mut number: u64, out: &mut Vec<u8>) {
    let mut text = [0; 20];
    let mut begin = text.len();
    for place in text.iter_mut().rev() {
        *place = digit(number % 10);
        number /= 10;
        begin -= 1;
        if number == 0 {
            break;
        }
    }
    out.extend_from_slice(text.get(begin..).unwrap_or_default());
}

/// Appends a number of parts of a whole, as a decimal fraction: at least one digit behind the point, and no zeros at the
/// end. `values` are those of the digits behind the point.
fn decimal<const N: usize>(parts: u64, values: [u64; N], out: &mut Vec<u8>) {
    let whole = values.first().map_or(1, |first| first * 10);
    digits(parts / whole, out);
    out.push(b'.');
    let fraction = values.map(|value| digit(parts / value % 10));
    let used = fraction.iter().rposition(|digit| *digit != b'0').map_or(1, |last| last + 1);
    out.extend_from_slice(fraction.get(..used).unwrap_or_default());
}

fn digit(number: impl TryInto<u8>) -> u8 {
    b'0' + number.try_into().unwrap_or_default()
}

/// Appends a value.
fn value_of(value: &Value, out: &mut Vec<u8>) {
    match value {
        Value::Null => out.extend_from_slice(b"null"),
        Value::String(text) => _ = Line(out).text("", text),
        Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => {
            // Values serialise, and writing to memory does not fail.
            _ = value.serialize(&mut serde_json::Serializer::with_formatter(out, Visible));
        }
    }
}

/// Whether every byte stands for itself. Eight are asked about at once; what this may take for special and is not,
/// [`escape`] knows better.
fn is_plain(text: &[u8]) -> bool {
    let (words, _) = text.as_chunks();
    // The last bytes overlap with those before, or stand among spaces.
    let last = text.last_chunk().copied().unwrap_or_else(|| {
        let mut few = [b' '; TOGETHER];
        few.iter_mut().zip(text).for_each(|(place, byte)| *place = *byte);
        few
    });
    words.iter().fold(special(last), |some, word| some | special(*word)) == 0
}

/// Not zero where a byte is a control, a quotation mark, a backslash, or beyond printable ASCII.
fn special(word: [u8; TOGETHER]) -> u64 {
    const fn every(byte: u8) -> u64 {
        u64::from_ne_bytes([byte; TOGETHER])
    }
    let word = u64::from_ne_bytes(word);
    // The highest bit of a byte that is zero gets set, as it does in a byte from which more is taken than it has.
    let zero = |bytes: u64| bytes.wrapping_sub(every(1)) & !bytes;
    let named = [b'"', b'\\', b'\x7f'].map(|byte| zero(word ^ every(byte)));
    let named = named.into_iter().fold(0, |some, one| some | one);
    (word | word.wrapping_sub(every(b' ')) | named) & every(0x80)
}

/// Appends a text with everything escaped that has to be (RFC 8259 section 7) or that [`is_invisible`].
fn escape(text: &str, out: &mut Vec<u8>) {
    let mut rest = text;
    while let Some(at) = rest.find(|character| matches!(character, '"' | '\\') || is_invisible(character)) {
        let (plain, tail) = rest.split_at(at);
        out.extend_from_slice(plain.as_bytes());
        let mut characters = tail.chars();
        match characters.next() {
            Some('"') => out.extend_from_slice(b"\\\""),
            Some('\\') => out.extend_from_slice(b"\\\\"),
            Some('\u{8}') => out.extend_from_slice(b"\\b"),
            Some('\t') => out.extend_from_slice(b"\\t"),
            Some('\n') => out.extend_from_slice(b"\\n"),
            Some('\u{c}') => out.extend_from_slice(b"\\f"),
            Some('\r') => out.extend_from_slice(b"\\r"),
            // Writing to memory does not fail.
            Some(other) => _ = write!(out, "\\u{:04x}", u32::from(other)),
            None => (),
        }
        rest = characters.as_str();
    }
    out.extend_from_slice(rest.as_bytes());
}

/// The same for the texts inside of lists and objects.
struct Visible;

impl Formatter for Visible {
    fn write_string_fragment<W: ?Sized + io::Write>(&mut self, out: &mut W, fragment: &str) -> io::Result<()> {
        let mut escaped = Vec::with_capacity(fragment.len());
        // What RFC 8259 asks for is no part of a fragment.
        escape(fragment, &mut escaped);
        out.write_all(&escaped)
    }
}

/// Whether showing the character would do something else than show it: delete and the controls (terminals obey them), line
/// separators, and marks that reorder the text around them. All of them are in the basic plane.
pub(super) fn is_invisible(character: char) -> bool {
    matches!(character,
        '\0'..='\u{1f}' | '\u{7f}'..='\u{9f}' | '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
        | '\u{2060}'..='\u{2069}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}')
}

#[cfg(test)]
pub(in crate::telemetry) mod tests;
