//! The words of JSON (RFC 8259), read strictly: where strings and numbers begin and end, and what strings say.

use std::borrow::Cow;
use std::cmp::Ordering;
use std::hash::{DefaultHasher, Hasher as _};

use super::scan::Fault;

/// A position in a document of at most four gibibytes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Text<'j> {
    text: &'j str,
    at: usize,
}

/// Where a string (without its quotes) or number stands.
#[derive(Debug, Clone, Copy)]
pub(super) struct Span {
    pub(super) start: u32,
    pub(super) end: u32,
    /// A string holds an escape.
    pub(super) escaped: bool,
}

impl<'j> Text<'j> {
    pub(super) fn new(text: &'j str) -> Self {
        Self { text, at: 0 }
    }

    /// The next byte.
    pub(super) fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    pub(super) fn skip(&mut self, bytes: usize) {
        self.at += bytes;
    }

    pub(super) fn skip_space(&mut self) {
        while let Some(b' ' | b'\t' | b'\n' | b'\r') = self.peek() {
            self.at += 1;
        }
    }

    /// Takes a byte if it is the next one.
    pub(super) fn take(&mut self, byte: u8) -> bool {
        let there = self.peek() == Some(byte);
        self.at += usize::from(there);
        there
    }

    /// Takes `true`, `false` or `null`.
    pub(super) fn word(&mut self) -> Result<(), Fault> {
        let rest = self.text.get(self.at..).unwrap_or_default();
        let word = ["true", "false", "null"].into_iter().find(|word| rest.starts_with(word)).ok_or(Fault::Malformed)?;
        self.at += word.len();
        Ok(())
    }

    /// Takes a number (RFC 8259 section 6).
    pub(super) fn number(&mut self) -> Result<Span, Fault> {
        let start = self.at;
        self.take(b'-');
        if !self.take(b'0') {
            self.digits()?;
        }
        if self.take(b'.') {
            self.digits()?;
        }
        if self.take(b'e') || self.take(b'E') {
            let _signed = self.take(b'+') || self.take(b'-');
            self.digits()?;
        }
        Ok(self.span(start, false))
    }

    fn digits(&mut self) -> Result<(), Fault> {
        let start = self.at;
        while self.peek().is_some_and(|byte| byte.is_ascii_digit()) {
            self.at += 1;
        }
        if self.at > start { Ok(()) } else { Err(Fault::Malformed) }
    }

    /// Takes a string (RFC 8259 section 7), and checks that every escape means a character.
    pub(super) fn string(&mut self) -> Result<Span, Fault> {
        if !self.take(b'"') {
            return Err(Fault::Malformed);
        }
        let start = self.at;
        let mut escaped = false;
        loop {
            match self.peek().ok_or(Fault::Malformed)? {
                b'"' => break,
                b'\\' => {
                    escaped = true;
                    self.escape()?;
                }
                0..=0x1f => return Err(Fault::Malformed),
                _ => self.at += 1,
            }
        }
        let span = self.span(start, escaped);
        self.at += 1;
        Ok(span)
    }

    fn span(&self, start: usize, escaped: bool) -> Span {
        // The whole document has fewer bytes than `u32::MAX`, which `scan` made sure of.
        let place = |at: usize| u32::try_from(at).unwrap_or(u32::MAX);
        Span { start: place(start), end: place(self.at), escaped }
    }

    /// Takes an escape, surrogates in pairs, and answers with its character.
    fn escape(&mut self) -> Result<char, Fault> {
        self.at += 1;
        let letter = self.peek().ok_or(Fault::Malformed)?;
        self.at += 1;
        Ok(match letter {
            b'"' => '"',
            b'\\' => '\\',
            b'/' => '/',
            b'b' => '\u{8}',
            b'f' => '\u{c}',
            b'n' => '\n',
            b'r' => '\r',
            b't' => '\t',
            b'u' => {
                let unit = self.code_unit()?;
                if !(0xd800..0xdc00).contains(&unit) {
                    return char::from_u32(unit).ok_or(Fault::Malformed);
                }
                if !(self.take(b'\\') && self.take(b'u')) {
                    return Err(Fault::Malformed);
                }
                let low = self.code_unit()?;
                if !(0xdc00..0xe000).contains(&low) {
                    return Err(Fault::Malformed);
                }
                char::from_u32(0x1_0000 + ((unit - 0xd800) << 10) + (low - 0xdc00)).ok_or(Fault::Malformed)?
            }
            _ => return Err(Fault::Malformed),
        })
    }

    fn code_unit(&mut self) -> Result<u32, Fault> {
        let digits = self.text.get(self.at..self.at + 4).ok_or(Fault::Malformed)?;
        if !digits.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(Fault::Malformed);
        }
        self.at += 4;
        u32::from_str_radix(digits, 16).map_err(|_| Fault::Malformed)
    }

    /// What stands in a span, as it is written.
    pub(super) fn written(&self, span: Span) -> &'j str {
        self.text.get(span.start as usize..span.end as usize).unwrap_or_default()
    }

    /// What a string says.
    pub(super) fn unescaped(&self, span: Span) -> Cow<'j, str> {
        let written = self.written(span);
        if span.escaped { Characters(Text::new(written)).collect() } else { Cow::Borrowed(written) }
    }

    /// A number that strings which say the same have in common.
    pub(super) fn fingerprint(&self, span: Span) -> u64 {
        let mut hasher = DefaultHasher::new();
        Characters(Text::new(self.written(span))).for_each(|character| hasher.write_u32(character.into()));
        hasher.finish()
    }

    /// The order of two strings by what they say, without unescaping either.
    pub(super) fn compare(&self, left: Span, right: Span) -> Ordering {
        let (one, other) = (self.written(left), self.written(right));
        if left.escaped || right.escaped {
            Characters(Text::new(one)).cmp(Characters(Text::new(other)))
        } else {
            // UTF-8 keeps the order of characters.
            one.cmp(other)
        }
    }
}

/// The characters of a string that was taken, escapes resolved.
struct Characters<'j>(Text<'j>);

impl Iterator for Characters<'_> {
    type Item = char;

    fn next(&mut self) -> Option<char> {
        if self.0.peek()? == b'\\' {
            return self.0.escape().ok();
        }
        let character = self.0.text.get(self.0.at..)?.chars().next()?;
        self.0.at += character.len_utf8();
        Some(character)
    }
}
