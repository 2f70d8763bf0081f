//! Query parameters as servers read them (policy.md, "Bound query parameters").

use std::borrow::Cow;

use super::canonical::{self, hex_byte};
use super::fold::fold_letter;
use super::scan;

/// A query, or the parameters in a body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Query<'a> {
    text: &'a str,
    /// Nothing in it is encoded, cut or trimmed by anybody: names and values are what is written.
    plain: bool,
}

/// One piece of a query: what stands between separators.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Parameter<'a> {
    /// The name as it is written.
    pub raw_name: &'a str,
    /// What follows the first `=`, as it is written; `None` without `=`.
    pub raw_value: Option<&'a str>,
    /// The separator before it.
    pub separator: Separator,
}

/// What stands before a parameter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Separator {
    /// `&`, or the beginning of the query.
    Ampersand,
    /// `;`, which some servers take for `&` and others for a part of the value before it.
    Semicolon,
}

/// Why a query cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum EscapeError {
    /// A `%` that two hexadecimal digits do not follow, `%u` among them.
    #[error("the query holds an invalid percent-encoding")]
    Invalid,
    /// `%00`.
    #[error("the query holds an encoded NUL")]
    Nul,
}

impl<'a> Query<'a> {
    /// The query with this text.
    pub fn of(text: &'a str) -> Self {
        Self { text, plain: canonical::is_plain_query(text) }
    }

    /// The same where it is known already whether names and values are what is written.
    pub(super) fn known(text: &'a str, plain: bool) -> Self {
        Self { text, plain }
    }

    /// Whether its names and values are what is written.
    pub fn is_plain(self) -> bool {
        self.plain
    }

    /// As it is written.
    pub fn text(self) -> &'a str {
        self.text
    }

    /// Every parameter, as [`parameters`] finds them.
    pub fn parameters(self) -> impl Iterator<Item = Parameter<'a>> {
        parameters(self.text)
    }

    /// Whether it can be read, as [`check_escapes`] says.
    ///
    /// # Errors
    /// The first escape that is none.
    pub fn check_escapes(self) -> Result<(), EscapeError> {
        if self.plain { Ok(()) } else { check_escapes(self.text) }
    }

    /// A name or value of it, decoded as [`decode`] does.
    pub fn decode(self, written: &str) -> Cow<'_, [u8]> {
        if self.plain { Cow::Borrowed(written.as_bytes()) } else { decode(written) }
    }

    /// The same as text; `None` when it is not UTF-8.
    pub fn decode_text(self, written: &str) -> Option<Cow<'_, str>> {
        if self.plain { Some(Cow::Borrowed(written)) } else { decode_text(written) }
    }

    /// Whether a name of it folds to `folded`, as [`name_folds_to`] says.
    pub fn name_folds_to(self, raw_name: &str, folded: &str) -> bool {
        if self.plain { folds_as_written(raw_name, folded) } else { name_folds_to(raw_name, folded) }
    }
}

/// Everything that a server may take for a parameter: what follows the beginning, every `&` and every `;`. The value of a
/// parameter after `&` reaches to the next `&`, so it may hold the parameters after `;` that follow it.
pub fn parameters(query: &str) -> impl Iterator<Item = Parameter<'_>> {
    let mut left = Some((query, Separator::Ampersand));
    std::iter::from_fn(move || {
        let (text, separator) = left?;
        let (piece, after) = until(scan::find_either(b'&', b';', text.as_bytes()), text);
        left = match after.split_at_checked(1) {
            Some((";", behind)) => Some((behind, Separator::Semicolon)),
            Some((_, behind)) => Some((behind, Separator::Ampersand)),
            None => None,
        };
        let whole = if separator == Separator::Ampersand && after.starts_with(';') {
            until(scan::find(b'&', text.as_bytes()), text).0
        } else {
            piece
        };
        Some(parameter(whole, separator))
    })
}

/// The text before a place and from there on; all of it before none.
fn until(place: Option<usize>, text: &str) -> (&str, &str) {
    place.and_then(|place| text.split_at_checked(place)).unwrap_or((text, ""))
}

fn parameter(piece: &str, separator: Separator) -> Parameter<'_> {
    let (raw_name, value) = until(scan::find(b'=', piece.as_bytes()), piece);
    Parameter { raw_name, raw_value: value.get(1..), separator }
}

/// Whether every `%` of the query begins a percent-encoding, and none is of NUL.
///
/// # Errors
/// The first that is not.
pub fn check_escapes(query: &str) -> Result<(), EscapeError> {
    if memchr::memchr2(b'%', 0, query.as_bytes()).is_none() {
        return Ok(());
    }
    let mut bytes = query.bytes();
    while let Some(byte) = bytes.next() {
        if byte == b'%' {
            let escaped = bytes.next().zip(bytes.next()).and_then(|(high, low)| hex_byte(high, low));
            match escaped {
                None => return Err(EscapeError::Invalid),
                Some(0) => return Err(EscapeError::Nul),
                Some(_) => {}
            }
        } else if byte == 0 {
            return Err(EscapeError::Nul);
        }
    }
    Ok(())
}

/// Percent-decoded once with `+` as space; an invalid escape stays as it is. Bytes, because they need not be UTF-8.
pub fn decode(text: &str) -> Cow<'_, [u8]> {
    if memchr::memchr2(b'%', b'+', text.as_bytes()).is_none() {
        return Cow::Borrowed(text.as_bytes());
    }
    let mut decoded = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&byte, after)) = rest.split_first() {
        rest = after;
        match (byte, after) {
            (b'+', _) => decoded.push(b' '),
            (b'%', [high, low, tail @ ..]) => {
                if let Some(escaped) = hex_byte(*high, *low) {
                    decoded.push(escaped);
                    rest = tail;
                } else {
                    decoded.push(byte);
                }
            }
            _ => decoded.push(byte),
        }
    }
    Cow::Owned(decoded)
}

/// A name of which no letter, digit, `-`, `.` or `_` is encoded, which no client has to do (RFC 3986 section 2.3); every other
/// escape is as it was. `None` where the name is one. A server that does not decode names, nginx with `$arg_name`, finds no
/// parameter of the decoded name otherwise.
pub fn without_needless_escapes(raw_name: &str) -> Option<String> {
    let (first, escapes) = raw_name.split_once('%')?;
    let mut plain = first.to_owned();
    for piece in escapes.split('%') {
        let escaped = piece.as_bytes().first_chunk().and_then(|[high, low]| hex_byte(*high, *low));
        let needless = escaped.filter(|byte| byte.is_ascii_alphanumeric() || b"-._".contains(byte));
        if let (Some(byte), Some(rest)) = (needless, piece.get(2..)) {
            plain.push(char::from(byte));
            plain.push_str(rest);
        } else {
            plain.push('%');
            plain.push_str(piece);
        }
    }
    (plain.len() < raw_name.len()).then_some(plain)
}

/// The same as text; `None` when it is not UTF-8.
pub fn decode_text(text: &str) -> Option<Cow<'_, str>> {
    if memchr::memchr2(b'%', b'+', text.as_bytes()).is_none() {
        return Some(Cow::Borrowed(text));
    }
    String::from_utf8(decode(text).into_owned()).ok().map(Cow::Owned)
}

/// `fold(name)` of policy.md: the name under which some server may read a parameter that is spelt so. Percent-decoded with
/// `+` as space, cut at NUL, cut at the first `[` that a `]` follows, trimmed; space, `.`, `+` and any other `[` as `_`;
/// without case.
pub fn fold_name(raw_name: &str) -> String {
    let decoded = decode(raw_name);
    let name = String::from_utf8_lossy(&decoded);
    let name = name.split('\0').next().unwrap_or_default();
    let name = match name.find('[') {
        Some(open) if name.get(open..).is_some_and(|rest| rest.contains(']')) => name.get(..open).unwrap_or_default(),
        _ => name,
    };
    fold_decoded(name)
}

/// The same for servers that make more of brackets: those at the beginning are skipped, and the name ends at the next one,
/// whether or not it is closed. `[org]` and `org]` are `org` to Rack before 3.0, `[org]` and `org[` are to `qs` (Express).
fn fold_bracketed(raw_name: &str) -> String {
    let decoded = decode(raw_name);
    let name = String::from_utf8_lossy(&decoded);
    let name = name.split('\0').next().unwrap_or_default().trim().trim_start_matches(['[', ']']);
    let name = name.split(['[', ']']).next().unwrap_or_default();
    fold_decoded(name)
}

fn fold_decoded(name: &str) -> String {
    let letter = |letter| if matches!(letter, ' ' | '.' | '+' | '[') { '_' } else { fold_letter(letter) };
    name.trim().chars().map(letter).collect()
}

/// Whether some server may read a name as it is written as `folded`, which [`fold_name`] made. A name without escapes
/// allocates nothing.
pub fn name_folds_to(raw_name: &str, folded: &str) -> bool {
    if canonical::is_plain_query(raw_name) {
        folds_as_written(raw_name, folded)
    } else {
        fold_name(raw_name) == folded || fold_bracketed(raw_name) == folded
    }
}

/// Whether no server decodes, cuts or trims a name or value because of the byte.
pub(super) const fn is_plain(byte: u8) -> bool {
    byte.is_ascii_graphic() && !matches!(byte, b'%' | b'+' | b'[' | b']')
}

/// [`name_folds_to`] of a name of plain bytes.
fn folds_as_written(name: &str, folded: &str) -> bool {
    let fold = |byte: u8| if byte == b'.' { b'_' } else { byte.to_ascii_lowercase() };
    name.len() == folded.len() && name.bytes().zip(folded.bytes()).all(|(byte, folded)| fold(byte) == folded)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_fold_as_policy_md_says() {
        for (raw, folded) in [
            ("org_uid", "org_uid"),
            ("Org.Uid", "org_uid"),
            ("org+uid", "org_uid"),
            ("org%20uid", "org_uid"),
            ("org%2Buid", "org_uid"),
            ("org%2euid", "org_uid"),
            ("org_uid[]", "org_uid"),
            ("org_uid%5B0%5D", "org_uid"),
            ("org[uid", "org_uid"),
            ("+org_uid+", "org_uid"),
            ("%09org_uid", "org_uid"),
            ("org_uid%00x", "org_uid"),
            ("org_uid%00[x]", "org_uid"),
            ("ORG_UID", "org_uid"),
            ("%24filter", "$filter"),
            ("a]b[c", "a]b_c"),
            ("[y]", ""),
            ("\u{212a}ey", "key"),
            ("100%", "100%"),
        ] {
            assert_eq!(fold_name(raw), folded, "{raw}");
            assert!(name_folds_to(raw, folded), "{raw}");
            assert!(!name_folds_to(raw, &format!("{folded}x")) && !name_folds_to(raw, "other"), "{raw}");
        }
    }

    #[test]
    fn brackets_around_a_name_do_not_hide_it() {
        for raw in [
            "[org]",
            "org[",
            "org]",
            "]org",
            "[[org]]",
            "[org][0]",
            "%5Borg%5D",
            "org%5b",
            "+[org",
            "[Org]%00",
            "org[x",
        ] {
            assert!(name_folds_to(raw, "org"), "{raw}");
        }
        for raw in ["[]org[", "x[org]", "[x][org]", "[]", "[", "org_"] {
            assert_eq!(name_folds_to(raw, "org"), raw == "[]org[", "{raw}");
        }
    }

    #[test]
    fn parameters_follow_every_ampersand_and_every_semicolon() {
        let found: Vec<_> = parameters("a=1;b=2&c;d=x=y&").map(|p| (p.raw_name, p.raw_value, p.separator)).collect();
        assert_eq!(
            found,
            [
                ("a", Some("1;b=2"), Separator::Ampersand),
                ("b", Some("2"), Separator::Semicolon),
                ("c;d", Some("x=y"), Separator::Ampersand),
                ("d", Some("x=y"), Separator::Semicolon),
                ("", None, Separator::Ampersand),
            ]
        );
    }

    #[test]
    fn escapes_are_checked() {
        assert_eq!(check_escapes("a=%41&b=%c3%a4"), Ok(()));
        for query in ["a=%", "a=%4", "%zz=1", "a=%u0041", "a=%4g"] {
            assert_eq!(check_escapes(query), Err(EscapeError::Invalid), "{query}");
        }
        assert_eq!(check_escapes("a=%00"), Err(EscapeError::Nul));
    }

    #[test]
    fn letters_digits_and_marks_are_encoded_needlessly_in_a_name() {
        let needless = |name| without_needless_escapes(name).is_some();
        for name in ["%6frg", "o%72g", "org%2Duid", "org%2e", "org%5F", "a%5b%30", "%zz%61"] {
            assert!(needless(name), "{name}");
        }
        for name in ["org", "org%5B%5D", "%24filter", "%7eorg", "a+b", "%C3%A4", "%", "%6", "%2", "%zz"] {
            assert!(!needless(name), "{name}");
        }
    }

    #[test]
    fn decoding_takes_plus_for_space_and_leaves_what_is_no_escape() {
        assert_eq!(decode("a+b%2B%zz%e4").as_ref(), b"a b+%zz\xe4");
        assert_eq!(decode_text("a+b%2B%zz%c3%a4").as_deref(), Some("a b+%zz\u{e4}"));
        assert_eq!(decode_text("a\u{e4}"), Some(Cow::Borrowed("a\u{e4}")));
        assert_eq!(decode_text("%e4"), None);
    }
}
