//! Path patterns (policy.md, "Routes").

use std::fmt::Write as _;
use std::ops::Range;

use crate::target::canonical::{hex_byte, kept, shown};

/// A pattern holds at most this many captures.
const MAX_CAPTURES: usize = 32;
/// Stands for the capture with this number more in a segment's text; a pattern's literals cannot hold it.
const CAPTURE: u32 = 0x10_F000;
/// Stands for the rest with this number more.
const REST: u32 = 0x10_F100;
/// The end of the range that literals cannot hold.
const RESERVED_END: u32 = 0x10_F1FF;

/// A path pattern: literals and captures, segment by segment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::policy) struct PathPattern {
    /// Decoded like a request's segments, a placeholder where a capture is.
    segments: Vec<String>,
    captures: Vec<Capture>,
}

/// A capture of a pattern.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::policy) struct Capture {
    /// Its name.
    pub(in crate::policy) name: Box<str>,
    /// `{*name}`: zero or more segments.
    pub(in crate::policy) rest: bool,
    /// Where it stands in the pattern, braces included, in bytes.
    pub(in crate::policy) span: Range<usize>,
}

/// What is wrong with a pattern, and where.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub(in crate::policy) struct PatternError {
    /// What is wrong and what to write instead.
    pub(in crate::policy) message: String,
    /// The bytes of the pattern that it is about.
    pub(in crate::policy) span: Range<usize>,
}

/// What a segment of a pattern matches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::policy) enum Shape<'p> {
    /// This text.
    Literal(&'p str),
    /// This, something, and that.
    Mixed {
        /// What comes first.
        prefix: &'p str,
        /// The capture's number.
        capture: u8,
        /// What comes last.
        suffix: &'p str,
    },
    /// Something.
    Capture(u8),
    /// All segments that remain, if any.
    Rest(u8),
}

impl PathPattern {
    /// Reads a pattern, base path included.
    ///
    /// # Errors
    /// The first thing that no request could match or that is ambiguous in itself.
    pub(in crate::policy) fn parse(text: &str) -> Result<Self, PatternError> {
        let Some(inner) = text.strip_prefix('/') else {
            return Err(error("a path begins with `/`", 0..text.len().min(1)));
        };
        let mut captures = Vec::new();
        let mut segments = Vec::new();
        let mut start = 1;
        let count = inner.split('/').count();
        for (index, written) in inner.split('/').enumerate() {
            let span = start..start + written.len();
            start = span.end + 1;
            if written.is_empty() && index + 1 < count {
                return Err(error(
                    "runs of `/` are merged in requests: remove the empty segment",
                    span.start - 1..span.end + 1,
                ));
            }
            let segment = Reader { text: written, offset: span.start, captures: &mut captures }.segment()?;
            match segment.as_str() {
                "." | ".." => return Err(error("requests with `.` and `..` segments are refused", span)),
                _ if captures.last().is_some_and(|capture| capture.rest) && index + 1 < count => {
                    return Err(error(
                        "nothing can follow a capture of the rest",
                        span.start..text.len().max(span.end),
                    ));
                }
                _ => segments.push(segment),
            }
        }
        Ok(Self { segments, captures })
    }

    /// Its captures in order; a capture's number is its position.
    pub(in crate::policy) fn captures(&self) -> &[Capture] {
        &self.captures
    }

    /// The path with these captures, percent-encoded.
    pub(in crate::policy) fn path(&self, captures: &[String]) -> String {
        let text = |number: u8| captures.get(usize::from(number)).map_or("", String::as_str);
        let mut path = String::new();
        for segment in &self.segments {
            match shape(segment) {
                Shape::Literal(literal) => write_segment(literal, &mut path),
                Shape::Mixed { prefix, capture, suffix } => {
                    write_segment(&format!("{}{}{}", shown(prefix), text(capture), shown(suffix)), &mut path);
                }
                Shape::Capture(capture) => write_segment(text(capture), &mut path),
                Shape::Rest(rest) if text(rest).is_empty() => {}
                Shape::Rest(rest) => text(rest).split('/').for_each(|segment| write_segment(segment, &mut path)),
            }
        }
        if path.is_empty() { "/".to_owned() } else { path }
    }

    /// What its captures would hold of a path of these segments, whatever the literals are; `None` when the path has
    /// another number of segments.
    pub(in crate::policy) fn captures_of(&self, asked: &[String]) -> Option<Vec<String>> {
        let mut captures = Vec::new();
        let mut asked = asked.iter();
        for segment in &self.segments {
            match shape(segment) {
                Shape::Rest(_) => {
                    captures.push(asked.by_ref().map(String::as_str).collect::<Vec<_>>().join("/"));
                }
                Shape::Literal(_) => {
                    asked.next()?;
                }
                Shape::Capture(_) => captures.push(asked.next()?.clone()),
                Shape::Mixed { prefix, suffix, .. } => {
                    let segment = asked.next()?.as_str();
                    let inner = segment.strip_prefix(prefix).unwrap_or(segment);
                    captures.push(inner.strip_suffix(suffix).unwrap_or(inner).to_owned());
                }
            }
        }
        asked.next().is_none().then_some(captures)
    }

    /// Its segments, placeholders in them.
    pub(in crate::policy) fn segments(&self) -> &[String] {
        &self.segments
    }
}

/// Appends a segment, percent-encoded but for what stands in paths as it is (RFC 3986 section 3.3).
fn write_segment(segment: &str, path: &mut String) {
    path.push('/');
    // What stays encoded in captures is encoded already.
    for letter in shown(segment).replace("%2F", "\u{1}").replace("%5C", "\u{2}").replace("%3B", "\u{3}").chars() {
        match letter {
            '\u{1}' => path.push_str("%2F"),
            '\u{2}' => path.push_str("%5C"),
            '\u{3}' => path.push_str("%3B"),
            letter if letter.is_ascii_alphanumeric() || "-._~!$&'()*+,=:@".contains(letter) => path.push(letter),
            letter => {
                for byte in letter.encode_utf8(&mut [0; 4]).bytes() {
                    let _ = write!(path, "%{byte:02X}");
                }
            }
        }
    }
}

/// What a segment with placeholders matches. No segment holds more than one.
pub(in crate::policy) fn shape(segment: &str) -> Shape<'_> {
    let placeholder = segment.char_indices().find_map(|(at, letter)| {
        let number = |base: u32| u32::from(letter).checked_sub(base).and_then(|number| u8::try_from(number).ok());
        match u32::from(letter) {
            REST..=RESERVED_END => number(REST).map(Shape::Rest),
            CAPTURE..REST => number(CAPTURE).map(|capture| {
                let (prefix, suffix) = segment.split_at_checked(at).unwrap_or_default();
                match suffix.get(letter.len_utf8()..).unwrap_or_default() {
                    "" if prefix.is_empty() => Shape::Capture(capture),
                    suffix => Shape::Mixed { prefix, capture, suffix },
                }
            }),
            _ => None,
        }
    });
    placeholder.unwrap_or(Shape::Literal(segment))
}

struct Reader<'a> {
    text: &'a str,
    offset: usize,
    captures: &'a mut Vec<Capture>,
}

impl Reader<'_> {
    /// The segment decoded, its capture as placeholder.
    fn segment(&mut self) -> Result<String, PatternError> {
        let known = self.captures.len();
        let mut segment = Vec::new();
        let mut rest = self.text;
        while let Some(letter) = rest.chars().next() {
            let at = self.text.len() - rest.len();
            let length = match letter {
                '{' => self.capture(at, &mut segment, known)?,
                '%' => self.escape(at, &mut segment)?,
                _ => self.literal(at, letter, &mut segment)?,
            };
            rest = rest.get(length..).unwrap_or_default();
        }
        let whole = self.span(0, self.text.len());
        String::from_utf8(segment)
            .map_err(|_| error("these percent-encodings are not UTF-8: write the letter itself", whole))
    }

    fn literal(&self, at: usize, letter: char, segment: &mut Vec<u8>) -> Result<usize, PatternError> {
        let message = match letter {
            '}' => "a `}` without `{`: write `%7D` for the character itself",
            '?' | '#' => "a path holds no query and no fragment: put request values under `require`",
            '\\' => "requests with `\\` are refused: write `/`, or `%5C` for the encoded character",
            _ if letter.is_control() => "requests with control characters are refused",
            _ if (CAPTURE..=RESERVED_END).contains(&u32::from(letter)) => "this private-use character is reserved",
            _ => {
                segment.extend_from_slice(letter.encode_utf8(&mut [0; 4]).as_bytes());
                return Ok(letter.len_utf8());
            }
        };
        Err(error(message, self.span(at, letter.len_utf8())))
    }

    fn escape(&self, at: usize, segment: &mut Vec<u8>) -> Result<usize, PatternError> {
        let digits = self.text.as_bytes().get(at + 1..at + 3);
        match digits.and_then(|digits| hex_byte(*digits.first()?, *digits.last()?)) {
            None => {
                Err(error("two hexadecimal digits follow `%`: write `%25` for the character itself", self.span(at, 1)))
            }
            Some(0..=0x1f | 0x7f) => Err(error("requests with control characters are refused", self.span(at, 3))),
            Some(byte) => {
                match kept(byte) {
                    Some(marker) => segment.extend_from_slice(marker.encode_utf8(&mut [0; 4]).as_bytes()),
                    None => segment.push(byte),
                }
                Ok(3)
            }
        }
    }

    fn capture(&mut self, at: usize, segment: &mut Vec<u8>, known: usize) -> Result<usize, PatternError> {
        let after = self.text.get(at + 1..).unwrap_or_default();
        let Some(end) = after.find('}') else {
            return Err(error("a `{` without `}`: write `%7B` for the character itself", self.span(at, 1)));
        };
        let inner = after.get(..end).unwrap_or_default();
        let length = end + 2;
        let span = self.span(at, length);
        let (name, rest) = inner.strip_prefix('*').map_or((inner, false), |name| (name, true));
        if !is_name(name) {
            return Err(error("a capture's name is a letter or `_`, then letters, digits, `_` and `-`", span));
        }
        if self.captures.iter().any(|capture| *capture.name == *name) {
            return Err(error(format!("the path has two captures named `{name}`"), span));
        }
        if self.captures.len() > known {
            return Err(error("a segment holds at most one capture", span));
        }
        if rest && length < self.text.len() {
            return Err(error("a capture of the rest is a segment of its own", self.span(0, self.text.len())));
        }
        let number = u32::try_from(self.captures.len()).unwrap_or(u32::MAX);
        if self.captures.len() >= MAX_CAPTURES {
            return Err(error(format!("a path holds at most {MAX_CAPTURES} captures"), span));
        }
        let base = if rest { REST } else { CAPTURE };
        if let Some(placeholder) = char::from_u32(base + number) {
            segment.extend_from_slice(placeholder.encode_utf8(&mut [0; 4]).as_bytes());
        }
        self.captures.push(Capture { name: name.into(), rest, span });
        Ok(length)
    }

    fn span(&self, at: usize, length: usize) -> Range<usize> {
        self.offset + at..self.offset + at + length
    }
}

fn is_name(name: &str) -> bool {
    name.starts_with(|letter: char| letter.is_ascii_alphabetic() || letter == '_')
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-'))
}

fn error(message: impl Into<String>, span: Range<usize>) -> PatternError {
    PatternError { message: message.into(), span }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shapes(text: &str) -> Vec<String> {
        let pattern = PathPattern::parse(text).unwrap();
        pattern.segments().iter().map(|segment| format!("{:?}", shape(segment))).collect()
    }

    #[test]
    fn every_kind_of_segment_is_read() {
        assert_eq!(
            shapes("/a/{b}/report-{c}.pdf/Customers('{d}')/{e}:cancel/%41%20\u{e4}/{*f}"),
            [
                r#"Literal("a")"#,
                "Capture(0)",
                r#"Mixed { prefix: "report-", capture: 1, suffix: ".pdf" }"#,
                r#"Mixed { prefix: "Customers('", capture: 2, suffix: "')" }"#,
                r#"Mixed { prefix: "", capture: 3, suffix: ":cancel" }"#,
                "Literal(\"A \u{e4}\")",
                "Rest(4)",
            ]
        );
        assert_eq!(shapes("/"), [r#"Literal("")"#]);
        assert_eq!(shapes("/a/"), [r#"Literal("a")"#, r#"Literal("")"#]);
        let pattern = PathPattern::parse("/a/{b}/{*c}").unwrap();
        assert_eq!(pattern.captures()[1], Capture { name: "c".into(), rest: true, span: 7..11 });
    }

    #[test]
    fn what_no_request_could_match_is_an_error_with_its_place() {
        for (text, place, message) in [
            ("a", "a", "a path begins with `/`"),
            ("", "", "a path begins with `/`"),
            ("/a//b", "//", "runs of `/` are merged in requests: remove the empty segment"),
            ("/a/../b", "..", "requests with `.` and `..` segments are refused"),
            ("/a/%2e/b", "%2e", "requests with `.` and `..` segments are refused"),
            ("/{*a}/b", "{*a}/b", "nothing can follow a capture of the rest"),
            ("/{*a}/", "{*a}/", "nothing can follow a capture of the rest"),
            ("/x{*a}", "x{*a}", "a capture of the rest is a segment of its own"),
            ("/{a}{b}", "{b}", "a segment holds at most one capture"),
            ("/{a}/{a}", "{a}", "the path has two captures named `a`"),
            ("/{}", "{}", "a capture's name is a letter or `_`, then letters, digits, `_` and `-`"),
            ("/{1a}", "{1a}", "a capture's name is a letter or `_`, then letters, digits, `_` and `-`"),
            ("/{a.b}", "{a.b}", "a capture's name is a letter or `_`, then letters, digits, `_` and `-`"),
            ("/{a", "{", "a `{` without `}`: write `%7B` for the character itself"),
            ("/a}", "}", "a `}` without `{`: write `%7D` for the character itself"),
            ("/a?b", "?", "a path holds no query and no fragment: put request values under `require`"),
            ("/a\\b", "\\", "requests with `\\` are refused: write `/`, or `%5C` for the encoded character"),
            ("/a\tb", "\t", "requests with control characters are refused"),
            ("/%00", "%00", "requests with control characters are refused"),
            ("/50%", "%", "two hexadecimal digits follow `%`: write `%25` for the character itself"),
            ("/%\u{e4}", "%", "two hexadecimal digits follow `%`: write `%25` for the character itself"),
            ("/%ff", "%ff", "these percent-encodings are not UTF-8: write the letter itself"),
            ("/\u{10f001}", "\u{10f001}", "this private-use character is reserved"),
        ] {
            let error = PathPattern::parse(text).unwrap_err();
            assert_eq!((text.get(error.span), error.message.as_str()), (Some(place), message), "{text}");
        }
    }

    #[test]
    fn a_path_is_written_with_what_its_captures_hold() {
        for (pattern, captures, path) in [
            ("/a/{_b}/c-{d}.pdf", ["x y", "7"], "/a/x%20y/c-7.pdf"),
            ("/a/{b}/{*rest}", ["x", "y/z"], "/a/x/y/z"),
            ("/a/{b}/{*rest}", ["x", ""], "/a/x"),
        ] {
            let captures = captures.map(str::to_owned);
            assert_eq!(PathPattern::parse(pattern).unwrap().path(&captures), path, "{pattern}");
        }
        assert_eq!(PathPattern::parse("/{*rest}").unwrap().path(&[String::new()]), "/");
    }

    #[test]
    fn a_path_holds_at_most_32_captures() {
        let path = |count: usize| {
            (0..count).map(|number| ["/{c", &number.to_string(), "}"].concat()).collect::<Vec<_>>().concat()
        };
        assert!(PathPattern::parse(&path(32)).is_ok());
        assert!(PathPattern::parse(&path(33)).is_err());
    }
}
