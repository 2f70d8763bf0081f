//! JSON lines that are safe to show: one object a line, nothing in it that a terminal, a log viewer or a line reader
//! would take for anything but text.

use std::io;
use std::time::SystemTime;

use serde::Serialize;
use serde_json::ser::Formatter;
use time::OffsetDateTime;
use time::format_description::BorrowedFormatItem;
use time::macros::format_description;

const RFC_3339_MILLIS: &[BorrowedFormatItem<'static>] =
    format_description!("[year]-[month]-[day]T[hour]:[minute]:[second].[subsecond digits:3]Z");

/// Appends the value as one line.
pub(super) fn line(value: &impl Serialize, out: &mut Vec<u8>) {
    let before = out.len();
    let mut serializer = serde_json::Serializer::with_formatter(&mut *out, Visible);
    // Our own types serialise; a value that did not would leave no half line behind.
    match value.serialize(&mut serializer) {
        Ok(()) => out.push(b'\n'),
        Err(_) => out.truncate(before),
    }
}

/// RFC 3339 in UTC with milliseconds.
pub(super) fn time(moment: SystemTime) -> String {
    OffsetDateTime::from(moment).format(RFC_3339_MILLIS).unwrap_or_default()
}

/// Compact JSON that escapes, beyond what RFC 8259 section 7 asks for, every character that is no visible text:
/// delete and C1 controls (terminals obey them), line separators, and marks that reorder the text around them.
struct Visible;

impl Formatter for Visible {
    fn write_string_fragment<W: ?Sized + io::Write>(&mut self, out: &mut W, fragment: &str) -> io::Result<()> {
        let mut rest = fragment;
        while let Some(at) = rest.find(is_invisible) {
            let (plain, tail) = rest.split_at(at);
            out.write_all(plain.as_bytes())?;
            let mut characters = tail.chars();
            if let Some(character) = characters.next() {
                write!(out, "\\u{:04x}", u32::from(character))?;
            }
            rest = characters.as_str();
        }
        out.write_all(rest.as_bytes())
    }
}

/// Whether showing the character would do something else than show it. All of them are in the basic plane.
pub(super) fn is_invisible(character: char) -> bool {
    matches!(character,
        '\0'..='\u{1f}' | '\u{7f}'..='\u{9f}' | '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
        | '\u{2060}'..='\u{2069}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_invisible_leaves_unescaped_and_nothing_is_lost() {
        let text = "a\"b\\c\nd\r\u{1b}[31m\u{7f}\u{9b}2J\u{2028}\u{202e}ü😀";
        let mut out = Vec::new();
        line(&[text], &mut out);
        let written = String::from_utf8(out).unwrap();
        assert_eq!(written.matches('\n').count(), 1);
        assert!(!written.trim_end().chars().any(is_invisible), "{written:?}");
        let read: Vec<String> = serde_json::from_str(&written).unwrap();
        assert_eq!(read, [text]);
    }

    #[test]
    fn times_have_milliseconds_and_end_in_z() {
        let moment = SystemTime::UNIX_EPOCH + std::time::Duration::from_micros(1_795_298_400_001_999);
        assert_eq!(time(moment), "2026-11-21T22:00:00.001Z");
    }
}
