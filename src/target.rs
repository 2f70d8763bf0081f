//! What a request names: authority, path and query, canonicalised once (http.md, "Canonical request target").
//!
//! Pure. The value that policy is asked about is the value that is forwarded; nothing downstream parses a URL again.

use std::borrow::Cow;

pub mod authority;
pub(crate) mod canonical;
pub mod fold;
pub mod method;
pub mod query;
pub mod quirks;
pub(crate) mod scan;

pub use authority::{Authority, AuthorityError, Scheme};

use canonical::Marks;
use query::Query;
use quirks::{Charset, EmptySegments, Quirks};

/// The quirks that act before the upstream is known; equal for all documents of a table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct PathRules {
    /// Runs of `/`.
    pub empty_segments: EmptySegments,
    /// What decoded bytes may be.
    pub charset: Charset,
}

impl From<&Quirks> for PathRules {
    fn from(quirks: &Quirks) -> Self {
        Self { empty_segments: quirks.empty_segments, charset: quirks.charset }
    }
}

/// Why a request target is refused; always 400.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TargetError {
    /// The path does not begin with `/`.
    #[error("the path does not begin with `/`")]
    NotAbsolute,
    /// A `.` or `..` segment, plain or encoded; they are never resolved.
    #[error("the path holds a `.` or `..` segment")]
    DotSegment,
    /// A run of `/` under `empty_segments: refuse`.
    #[error("the path holds an empty segment")]
    EmptySegment,
    /// A raw `\`.
    #[error("the path holds a `\\`")]
    Backslash,
    /// A control character, plain or encoded, `%00` among them.
    #[error("the path holds a control character")]
    Control,
    /// A `%` that two hexadecimal digits do not follow.
    #[error("the path holds an invalid percent-encoding")]
    Escape,
    /// `%u`, which some servers read as UTF-16.
    #[error("the path holds a `%u` escape")]
    UnicodeEscape,
    /// A `#`.
    #[error("the target holds a fragment")]
    Fragment,
    /// A raw byte beyond ASCII.
    #[error("the target holds a raw character beyond ASCII")]
    NonAscii,
    /// Decoded bytes that are not UTF-8.
    #[error("the decoded path is not UTF-8")]
    Charset,
    /// A control character or a space in the query.
    #[error("the query holds a control character or a space")]
    QueryCharacter,
}

impl TargetError {
    /// The short code that the client gets.
    pub const fn slug(self) -> &'static str {
        match self {
            Self::DotSegment | Self::EmptySegment | Self::Backslash => "ambiguous-path",
            Self::NotAbsolute
            | Self::Control
            | Self::Escape
            | Self::UnicodeEscape
            | Self::Fragment
            | Self::NonAscii
            | Self::Charset
            | Self::QueryCharacter => "malformed-target",
        }
    }
}

/// A path and query that were canonicalised. What is not canonical already is the only thing copied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target<'a> {
    path: Cow<'a, str>,
    /// The path percent-decoded once, all but `%2F`, `%5C` and `%3B`; `None` when that is the path itself.
    decoded: Option<String>,
    marks: Marks,
    query: Option<Query<'a>>,
    rules: PathRules,
}

impl<'a> Target<'a> {
    /// Canonicalises an origin-form target (RFC 9112 section 3.2.1): a path, and optionally `?` and a query.
    ///
    /// # Errors
    /// Everything that servers are known to read in different ways and that no reading of routes can settle.
    pub fn parse(path_and_query: &'a str, rules: PathRules) -> Result<Self, TargetError> {
        let mark = scan::find(b'?', path_and_query.as_bytes());
        let (path, query) = match mark.and_then(|mark| path_and_query.split_at_checked(mark)) {
            Some((path, query)) => (path, query.get(1..)),
            None => (path_and_query, None),
        };
        let (path, decoded, marks) = if let Some(marks) = canonical::read_plain(path) {
            (Cow::Borrowed(path), None, marks)
        } else {
            let (path, decoded) = canonical::read(path, rules)?;
            let marks = Marks::of(decoded.as_deref().unwrap_or(&path));
            (path, decoded, marks)
        };
        let query = query.map(canonical::check_query).transpose()?;
        Ok(Self { path, decoded, marks, query, rules })
    }

    /// The canonical path: what policy matches and what is forwarded.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// What follows the first `?`, byte for byte; an empty query is `Some("")`.
    pub fn query(&self) -> Option<&'a str> {
        self.query.map(Query::text)
    }

    /// The same, to be read.
    pub fn read_query(&self) -> Option<Query<'a>> {
        self.query
    }

    /// The rules it was read by.
    pub fn rules(&self) -> PathRules {
        self.rules
    }

    /// The segments, percent-decoded - all but `%2F`, `%5C` and `%3B`. A trailing slash is a last, empty segment.
    pub fn segments(&self) -> impl Iterator<Item = Cow<'_, str>> {
        self.text().split('/').skip(1).map(canonical::shown)
    }

    /// The decoded path with the escapes that stay encoded as characters of their own (`canonical::kept`).
    pub(crate) fn text(&self) -> &str {
        self.decoded.as_deref().unwrap_or(&self.path)
    }

    /// The same where it is the path as it was sent.
    pub(crate) fn sent_text(&self) -> Option<&'a str> {
        match (&self.decoded, &self.path) {
            (None, Cow::Borrowed(path)) => Some(path),
            (None, Cow::Owned(_)) | (Some(_), _) => None,
        }
    }

    /// Whether the canonical path is the path as it was sent.
    pub(crate) fn keeps_path(&self) -> bool {
        matches!(self.path, Cow::Borrowed(_))
    }

    /// What stands in [`Self::text`] that servers read in ways of their own.
    pub(crate) fn marks(&self) -> Marks {
        self.marks
    }
}

/// Splits an absolute-form target (RFC 9112 section 3.2.2) into scheme, authority and path with query; `None` when it is of
/// another form. An absent path is `/`.
pub fn split_absolute(target: &str) -> Option<(Scheme, &str, Cow<'_, str>)> {
    let (scheme, rest) = target.split_once("://")?;
    let scheme = match scheme {
        _ if scheme.eq_ignore_ascii_case("http") => Scheme::Http,
        _ if scheme.eq_ignore_ascii_case("https") => Scheme::Https,
        _ => return None,
    };
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (authority, path) = rest.split_at_checked(end)?;
    let path = if path.starts_with('/') { Cow::Borrowed(path) } else { Cow::Owned(format!("/{path}")) };
    Some((scheme, authority, path))
}

#[cfg(test)]
mod tests;
