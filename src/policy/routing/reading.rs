//! The ways in which servers read paths (http.md, "Second readings"), done to segments of requests and of patterns alike.
//!
//! A [`ReadingKind`] is what people configure; a [`Step`] is one exact way of doing it. Some kinds have several, because
//! servers that all "decode `%2F`" still differ in what else they take for a slash.

use std::fmt;

use crate::target::PathRules;
use crate::target::canonical::{KEPT_BACKSLASH, KEPT_SEMICOLON, KEPT_SLASH, hex_byte, kept};
use crate::target::fold::{fold_text, is_folded};
use crate::target::quirks::{Charset, EmptySegments, Quirks, Reading, ReadingKind};

/// One exact way of reading a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Step {
    /// (6) Percent-decoded once more; a slash that comes of it is still an encoded one.
    Decode,
    /// (6) Percent-decoded once more; a slash that comes of it separates segments.
    DecodeAndSplit,
    /// (5) `%2F` and `%5C` separate segments.
    Slashes,
    /// (5) `%2F` does, `%5C` does not.
    ForwardSlashes,
    /// (5) `%5C` does, `%2F` does not.
    Backslashes,
    /// (2) `;` or `%3B` and what follows are dropped.
    Parameters,
    /// (2) `;` and what follows are dropped; `%3B` is a character like others.
    RawParameters,
    /// (2) The path ends at the first `;` and the query begins, as Fastify has it (`useSemicolonDelimiter`).
    EndAtSemicolon,
    /// `path_parameters: never`: `%3B` is the same character as `;`.
    Semicolons,
    /// (3) Trailing dots and spaces are dropped.
    TrailingDots,
    /// (4) One trailing slash is ignored.
    TrailingSlash,
    /// (1) Letters are folded.
    Case,
}

/// Why no server that reads so can be trusted with the path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::policy) enum Fault {
    /// A `.` or `..` segment appears.
    DotSegment,
    /// Nothing remains of a segment.
    EmptiedSegment,
    /// A NUL appears, where some servers end the path.
    Nul,
}

/// A set of reading kinds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, PartialOrd, Ord)]
pub(in crate::policy) struct ReadingSet(u8);

impl ReadingSet {
    /// With this kind.
    pub(super) const fn with(self, kind: ReadingKind) -> Self {
        Self(self.0 | 1 << kind as u8)
    }

    /// With this kind, if there is one.
    pub(super) fn with_all(self, kinds: impl IntoIterator<Item = ReadingKind>) -> Self {
        kinds.into_iter().fold(self, Self::with)
    }

    /// Whether the kind is in it.
    pub(in crate::policy) const fn contains(self, kind: ReadingKind) -> bool {
        self.0 & (1 << kind as u8) != 0
    }

    /// Whether all kinds of the other are in it.
    pub(super) const fn covers(self, other: Self) -> bool {
        other.0 & !self.0 == 0
    }

    /// Those of its kinds that come last and are done while looking up.
    pub(super) const fn last(self) -> Self {
        Self(self.0 & (1 << ReadingKind::Case as u8 | 1 << ReadingKind::TrailingSlash as u8))
    }

    /// The first step of every kind, in the order in which a path is read when all are done.
    pub(super) fn steps(self) -> impl Iterator<Item = Step> {
        Step::ALL.into_iter().filter(move |step| self.contains(step.kind()) && Step::first_of(step.kind()) == *step)
    }

    /// The kinds, in the order of http.md.
    pub(in crate::policy) fn kinds(self) -> impl Iterator<Item = ReadingKind> {
        ReadingKind::ALL.into_iter().filter(move |kind| self.contains(*kind))
    }
}

impl FromIterator<ReadingKind> for ReadingSet {
    fn from_iter<T: IntoIterator<Item = ReadingKind>>(kinds: T) -> Self {
        kinds.into_iter().fold(Self::default(), Self::with)
    }
}

impl fmt::Display for ReadingSet {
    /// The keys under `quirks`: `case` and `trailing_dot`.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, kind) in self.kinds().enumerate() {
            let joint = if index > 0 { " and " } else { "" };
            write!(formatter, "{joint}`{}`", kind.key())?;
        }
        Ok(())
    }
}

impl Step {
    /// The steps that come before the trailing slash and the case, in the order in which a path is read when all are done.
    pub(super) fn of_segments() -> impl Iterator<Item = Self> {
        Self::ALL.into_iter().filter(|step| step.is_of_segments())
    }

    /// Whether it comes before the trailing slash and the case.
    pub(super) const fn is_of_segments(self) -> bool {
        !matches!(self, Self::TrailingSlash | Self::Case)
    }

    /// Every step.
    pub(super) const ALL: [Self; 12] = [
        Self::Decode,
        Self::DecodeAndSplit,
        Self::Slashes,
        Self::ForwardSlashes,
        Self::Backslashes,
        Self::Parameters,
        Self::RawParameters,
        Self::EndAtSemicolon,
        Self::Semicolons,
        Self::TrailingDots,
        Self::TrailingSlash,
        Self::Case,
    ];

    /// The step that a kind does in the first place.
    pub(super) const fn first_of(kind: ReadingKind) -> Self {
        match kind {
            ReadingKind::Case => Self::Case,
            ReadingKind::PathParameters => Self::Parameters,
            ReadingKind::TrailingDot => Self::TrailingDots,
            ReadingKind::TrailingSlash => Self::TrailingSlash,
            ReadingKind::EncodedSlash => Self::Slashes,
            ReadingKind::DoubleDecoding => Self::Decode,
        }
    }

    /// The kind that it is a way of.
    pub(super) const fn kind(self) -> ReadingKind {
        match self {
            Self::Decode | Self::DecodeAndSplit => ReadingKind::DoubleDecoding,
            Self::Slashes | Self::ForwardSlashes | Self::Backslashes => ReadingKind::EncodedSlash,
            Self::Parameters | Self::RawParameters | Self::EndAtSemicolon | Self::Semicolons => {
                ReadingKind::PathParameters
            }
            Self::TrailingDots => ReadingKind::TrailingDot,
            Self::TrailingSlash => ReadingKind::TrailingSlash,
            Self::Case => ReadingKind::Case,
        }
    }

    /// Whether a server of these quirks may do it. One that is said to drop path parameters may still know only the raw `;`,
    /// as Tomcat does, but the path goes on behind them; one that is said to take encoded slashes for slashes takes both.
    pub(super) fn is_possible(self, quirks: &Quirks) -> bool {
        let reading = quirks.reading(self.kind());
        match self {
            Self::Semicolons => reading == Reading::Never,
            Self::ForwardSlashes | Self::Backslashes | Self::EndAtSemicolon => reading == Reading::Unknown,
            _ => reading != Reading::Never,
        }
    }

    /// Whether it would change a segment. The trailing slash is no matter of one segment.
    pub(super) fn changes(self, segment: &str) -> bool {
        match self {
            Self::Decode | Self::DecodeAndSplit => has_escape(segment),
            Self::Slashes => segment.contains([KEPT_SLASH, KEPT_BACKSLASH]),
            Self::ForwardSlashes => segment.contains(KEPT_SLASH),
            Self::Backslashes => segment.contains(KEPT_BACKSLASH),
            Self::Parameters | Self::RawParameters => segment.contains([';', KEPT_SEMICOLON]),
            Self::EndAtSemicolon => segment.contains(';'),
            Self::Semicolons => segment.contains(KEPT_SEMICOLON),
            Self::TrailingDots => segment.ends_with(['.', ' ']),
            Self::TrailingSlash => false,
            Self::Case => !is_folded(segment),
        }
    }

    /// Whether it would change a path.
    pub(super) fn changes_path(self, segments: &[String]) -> bool {
        match self {
            Self::TrailingSlash => segments.len() > 1 && segments.last().is_some_and(String::is_empty),
            _ => segments.iter().any(|segment| self.changes(segment)),
        }
    }

    /// Reads a path this way.
    ///
    /// # Errors
    /// What makes the path ambiguous whatever the routes are.
    pub(super) fn read(self, segments: &[String], rules: PathRules) -> Result<Vec<String>, Fault> {
        let mut read = Vec::with_capacity(segments.len());
        for segment in segments {
            self.read_segment(segment, rules.charset, &mut read)?;
            if self == Self::EndAtSemicolon && self.changes(segment) {
                break;
            }
        }
        if self == Self::TrailingSlash && read.len() > 1 && read.last().is_some_and(String::is_empty) {
            read.pop();
        }
        if self.splits() && rules.empty_segments != EmptySegments::Keep {
            merge_runs(&mut read);
        }
        if read.iter().any(|segment| matches!(segment.as_str(), "." | "..")) {
            return Err(Fault::DotSegment);
        }
        Ok(read)
    }

    const fn splits(self) -> bool {
        matches!(self, Self::DecodeAndSplit | Self::Slashes | Self::ForwardSlashes | Self::Backslashes)
    }

    fn read_segment(self, segment: &str, charset: Charset, read: &mut Vec<String>) -> Result<(), Fault> {
        match self {
            Self::Decode => read.push(decode_again(segment, charset)?),
            Self::DecodeAndSplit => read.extend(split_decoded(segment, charset)?),
            Self::Slashes => read.extend(segment.split([KEPT_SLASH, KEPT_BACKSLASH]).map(str::to_owned)),
            Self::ForwardSlashes => read.extend(segment.split(KEPT_SLASH).map(str::to_owned)),
            Self::Backslashes => read.extend(segment.split(KEPT_BACKSLASH).map(str::to_owned)),
            Self::Parameters => read.push(unless_emptied(segment, before(segment, &[';', KEPT_SEMICOLON]))?),
            Self::RawParameters => {
                read.push(unless_emptied(segment, before(segment, &[';']))?.replace(KEPT_SEMICOLON, ";"));
            }
            Self::EndAtSemicolon => read.push(unless_emptied(segment, before(segment, &[';']))?),
            Self::Semicolons => read.push(segment.replace(KEPT_SEMICOLON, ";")),
            Self::TrailingDots => read.push(unless_emptied(segment, segment.trim_end_matches(['.', ' ']))?),
            Self::TrailingSlash => read.push(segment.to_owned()),
            Self::Case => read.push(fold_text(segment)),
        }
        Ok(())
    }
}

fn before<'s>(segment: &'s str, ends: &[char]) -> &'s str {
    segment.split(ends).next().unwrap_or_default()
}

fn unless_emptied(segment: &str, remaining: &str) -> Result<String, Fault> {
    if remaining.is_empty() && !segment.is_empty() { Err(Fault::EmptiedSegment) } else { Ok(remaining.to_owned()) }
}

/// Removes empty segments; a last one is a trailing slash and stays.
fn merge_runs(segments: &mut Vec<String>) {
    let last = segments.len().saturating_sub(1);
    let mut index = 0;
    segments.retain(|segment| {
        index += 1;
        !segment.is_empty() || index > last
    });
}

fn has_escape(segment: &str) -> bool {
    let escape = |triple: &[u8]| matches!(triple, [b'%', high, low] if hex_byte(*high, *low).is_some());
    segment.as_bytes().windows(3).any(escape)
}

/// Percent-decodes text that was decoded before. What spells `%2F`, `%5C` or `%3B` afterwards is taken for the escape: a
/// server that decodes twice may well do so three times.
fn decode_again(segment: &str, charset: Charset) -> Result<String, Fault> {
    let decoded = unescape(segment, charset, &|byte| kept(byte).filter(|_| byte != b';'))?;
    Ok(spell_kept(&decoded))
}

/// The same with separators that come of it as separators.
fn split_decoded(segment: &str, charset: Charset) -> Result<Vec<String>, Fault> {
    let decoded = unescape(segment, charset, &|byte| kept(byte).filter(|_| byte != b';').map(|_| '/'))?;
    Ok(decoded.split('/').map(spell_kept).collect())
}

fn spell_kept(text: &str) -> String {
    let mut text = text.to_owned();
    for (upper, lower, marker) in
        [("%2F", "%2f", KEPT_SLASH), ("%5C", "%5c", KEPT_BACKSLASH), ("%3B", "%3b", KEPT_SEMICOLON)]
    {
        if text.contains(upper) || text.contains(lower) {
            let mut spelt = [0; 4];
            let marker = marker.encode_utf8(&mut spelt);
            text = text.replace(upper, marker).replace(lower, marker);
        }
    }
    text
}

/// Decodes the escapes in a text. Bytes for which `special` has a character become that; control characters become their
/// pictures (U+2400 and up), because they mean something else in decoded text.
fn unescape(text: &str, charset: Charset, special: &dyn Fn(u8) -> Option<char>) -> Result<String, Fault> {
    let mut read = String::with_capacity(text.len());
    let mut bytes = Vec::new();
    let flush = |bytes: &mut Vec<u8>, read: &mut String| {
        match charset {
            Charset::Utf8 => read.push_str(&String::from_utf8_lossy(bytes)),
            Charset::Latin1 => read.extend(bytes.iter().map(|byte| char::from(*byte))),
        }
        bytes.clear();
    };
    let mut rest = text;
    while let Some(letter) = rest.chars().next() {
        let escaped = match rest.as_bytes() {
            [b'%', high, low, ..] => hex_byte(*high, *low),
            _ => None,
        };
        rest = rest.get(if escaped.is_some() { 3 } else { letter.len_utf8() }..).unwrap_or_default();
        match escaped {
            Some(0) => return Err(Fault::Nul),
            Some(byte) if special(byte).is_none() && byte >= 0x20 => bytes.push(byte),
            Some(byte) => {
                flush(&mut bytes, &mut read);
                let picture = char::from_u32(0x2400 + u32::from(byte)).unwrap_or(char::REPLACEMENT_CHARACTER);
                read.push(special(byte).unwrap_or(picture));
            }
            None => {
                flush(&mut bytes, &mut read);
                read.push(letter);
            }
        }
    }
    flush(&mut bytes, &mut read);
    Ok(read)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(step: Step, path: &[&str]) -> Result<Vec<String>, Fault> {
        let segments: Vec<String> = path.iter().map(|segment| (*segment).to_owned()).collect();
        let read = step.read(&segments, PathRules::default());
        assert!(step.changes_path(&segments) || read.as_ref() == Ok(&segments), "{step:?} {path:?}");
        read
    }

    fn ok(step: Step, path: &[&str], expected: &[&str]) {
        assert_eq!(read(step, path).unwrap(), expected, "{step:?} {path:?}");
    }

    #[test]
    fn parameters_are_dropped_to_the_end_of_their_segment() {
        ok(Step::Parameters, &["a;b", "c\u{3}d;e", "f"], &["a", "c", "f"]);
        ok(Step::RawParameters, &["a;b", "c\u{3}d;e", "f\u{3}g"], &["a", "c;d", "f;g"]);
        ok(Step::EndAtSemicolon, &["a", "b\u{3}c;d", "e"], &["a", "b\u{3}c"]);
        ok(Step::Semicolons, &["a;b", "c\u{3}d"], &["a;b", "c;d"]);
        ok(Step::Parameters, &["a;b", ""], &["a", ""]);
        assert_eq!(read(Step::Parameters, &["a", ";b"]), Err(Fault::EmptiedSegment));
        assert_eq!(read(Step::Parameters, &["..;", "b"]), Err(Fault::DotSegment));
    }

    #[test]
    fn trailing_dots_and_spaces_are_dropped() {
        ok(Step::TrailingDots, &["a.", "b. .", "c.d", " e"], &["a", "b", "c.d", " e"]);
        assert_eq!(read(Step::TrailingDots, &["..."]), Err(Fault::EmptiedSegment));
        assert_eq!(read(Step::TrailingDots, &[" "]), Err(Fault::EmptiedSegment));
    }

    #[test]
    fn encoded_slashes_separate_and_runs_are_merged() {
        ok(Step::Slashes, &["a\u{1}b\u{2}c"], &["a", "b", "c"]);
        ok(Step::ForwardSlashes, &["a\u{1}b\u{2}c"], &["a", "b\u{2}c"]);
        ok(Step::Backslashes, &["a\u{1}b\u{2}c"], &["a\u{1}b", "c"]);
        ok(Step::Slashes, &["\u{1}\u{1}a\u{1}", "b", ""], &["a", "b", ""]);
        ok(Step::Slashes, &["a\u{1}"], &["a", ""]);
        ok(Step::Slashes, &["\u{1}"], &[""]);
        assert_eq!(read(Step::Slashes, &["a\u{1}..\u{2}b"]), Err(Fault::DotSegment));
        let keep = PathRules { empty_segments: EmptySegments::Keep, ..PathRules::default() };
        assert_eq!(Step::Slashes.read(&["\u{1}a".to_owned()], keep).unwrap(), ["", "a"]);
    }

    #[test]
    fn a_second_decoding_makes_what_the_first_left() {
        ok(Step::Decode, &["%61dmin", "100%", "%zz%4"], &["admin", "100%", "%zz%4"]);
        ok(Step::Decode, &["a%2Fb%5cc%3Bd"], &["a\u{1}b\u{2}c;d"]);
        ok(Step::Decode, &["a\u{1}b%20"], &["a\u{1}b "]);
        ok(Step::Decode, &["%252F%255c%253b"], &["\u{1}\u{2}\u{3}"]);
        ok(Step::Decode, &["%c3%a4%ff%0A%7f"], &["\u{e4}\u{fffd}\u{240a}\u{7f}"]);
        ok(Step::DecodeAndSplit, &["a%2Fb%5cc\u{1}d"], &["a", "b", "c\u{1}d"]);
        ok(Step::DecodeAndSplit, &["%2F%2Fa%2F"], &["a", ""]);
        assert_eq!(read(Step::Decode, &["%2e%2e"]), Err(Fault::DotSegment));
        assert_eq!(read(Step::Decode, &["a%00b"]), Err(Fault::Nul));
        let latin = PathRules { charset: Charset::Latin1, ..PathRules::default() };
        assert_eq!(Step::Decode.read(&["%e4".to_owned()], latin).unwrap(), ["\u{e4}"]);
    }

    #[test]
    fn one_trailing_slash_is_ignored_but_the_root_stays() {
        ok(Step::TrailingSlash, &["a", ""], &["a"]);
        ok(Step::TrailingSlash, &["a", "", ""], &["a", ""]);
        ok(Step::TrailingSlash, &[""], &[""]);
        ok(Step::Case, &["\u{c4}B", "c"], &["\u{e4}b", "c"]);
    }

    #[test]
    fn readings_are_named_by_their_keys() {
        let set: ReadingSet = [ReadingKind::TrailingDot, ReadingKind::Case].into_iter().collect();
        assert_eq!(set.to_string(), "`case` and `trailing_dot`");
        assert!(set.covers(ReadingSet::default().with(ReadingKind::Case)));
        assert_eq!(set.steps().collect::<Vec<_>>(), [Step::TrailingDots, Step::Case]);
    }

    #[test]
    fn never_means_that_a_semicolon_is_a_character() {
        let never = Quirks { path_parameters: Reading::Never, ..Quirks::default() };
        assert!(Step::Semicolons.is_possible(&never) && !Step::Parameters.is_possible(&never));
        assert!(
            !Step::Semicolons.is_possible(&Quirks::default()) && Step::RawParameters.is_possible(&Quirks::default())
        );
        assert!(Step::ALL.iter().all(|step| Step::first_of(step.kind()).kind() == step.kind()));
    }
}
