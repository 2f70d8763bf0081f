//! Names that servers read as one: header names as CGI folds them, and letters without case.

use std::collections::HashSet;

use http::{HeaderMap, HeaderName, HeaderValue};
use smallvec::SmallVec;

/// The value of a field that is there exactly once: of several, servers take the first, the last, or all.
pub fn only_field<'h>(headers: &'h HeaderMap, name: &HeaderName) -> Option<&'h HeaderValue> {
    let mut fields = headers.get_all(name).into_iter();
    match (fields.next(), fields.next()) {
        (Some(field), None) => Some(field),
        _ => None,
    }
}

/// A header name *folded* (http.md, "HTTP hygiene"): without case, every character that is neither a letter nor a digit
/// read as `-`. CGI, WSGI and PHP read `X_Org`, `X.Org` and `X-Org` as one header.
pub fn fold_header(name: &str) -> String {
    name.bytes().map(|byte| char::from(fold_byte(byte))).collect()
}

/// Whether `name`, folded, is `folded` (which [`fold_header`] made). Allocates nothing.
pub fn folds_to(name: &str, folded: &str) -> bool {
    name.len() == folded.len() && starts_folded(name, folded)
}

/// Whether `name`, folded, is one of `folded` (which [`fold_header`] made). Allocates nothing.
pub fn folds_to_any(name: &str, folded: &[&str]) -> bool {
    if is_plain(name) { folded.contains(&name) } else { folded.iter().any(|one| folds_to(name, one)) }
}

/// Whether `name`, folded, begins with `folded_prefix` (which [`fold_header`] made). Allocates nothing.
pub fn starts_folded(name: &str, folded_prefix: &str) -> bool {
    name.len() >= folded_prefix.len()
        && name.bytes().zip(folded_prefix.bytes()).all(|(byte, folded)| fold_byte(byte) == folded)
}

/// Whether a text is a token (RFC 9110 section 5.6.2), as the name of every header field has to be. HTTP/2 libraries let
/// a quotation mark pass, which HTTP/1.1 has no way to write.
pub fn is_token(text: &str) -> bool {
    let special = |byte| b"!#$%&'*+-.^_`|~".contains(&byte);
    is_plain(text) || !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || special(byte))
}

/// Whether a name is of small letters, digits and `-` only: it is a token then, and folds to itself. Quick, because nearly all
/// names are.
pub fn is_plain(name: &str) -> bool {
    const PLAIN: [bool; 256] = {
        let mut table = [false; 256];
        let mut byte = 0_u8;
        while byte < u8::MAX {
            #[expect(
                clippy::indexing_slicing,
                reason = "every byte is below 256, and this is worked out when compiling"
            )]
            {
                table[byte as usize] = byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
            }
            byte += 1;
        }
        table
    };
    let plain = |byte: u8| PLAIN.get(usize::from(byte)).copied().unwrap_or_default();
    !name.is_empty() && name.bytes().all(plain)
}

/// A set of header names under folding. Looking up a name of ordinary length allocates nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FoldedNames(HashSet<Box<[u8]>>);

impl FoldedNames {
    /// Adds a name; `false` when a name that folds like it was there.
    pub fn insert(&mut self, name: &str) -> bool {
        self.0.insert(fold_header(name).into_bytes().into_boxed_slice())
    }

    /// Whether a name that folds like this one is in the set.
    pub fn contains(&self, name: &str) -> bool {
        if self.0.is_empty() {
            return false;
        }
        let folded: SmallVec<[u8; 64]> = name.bytes().map(fold_byte).collect();
        self.0.contains(folded.as_slice())
    }

    /// Whether there is no name in it.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl<'a> FromIterator<&'a str> for FoldedNames {
    fn from_iter<T: IntoIterator<Item = &'a str>>(names: T) -> Self {
        let mut set = Self::default();
        for name in names {
            set.insert(name);
        }
        set
    }
}

/// One letter without case: Unicode simple case folding, and the dotted and dotless Turkish letters as `i`, because
/// Java's `equalsIgnoreCase` and others that compare upper-cased letters take them for one.
pub fn fold_letter(letter: char) -> char {
    match letter {
        'A'..='Z' => letter.to_ascii_lowercase(),
        '\0'..='\x7f' => letter,
        '\u{130}' | '\u{131}' => 'i',
        _ => {
            unicode_case_mapping::case_folded(letter).and_then(|folded| char::from_u32(folded.get())).unwrap_or(letter)
        }
    }
}

/// Text without case, letter by letter as [`fold_letter`] says: the number of characters stays.
pub fn fold_text(text: &str) -> String {
    text.chars().map(fold_letter).collect()
}

/// Whether folding leaves the text as it is.
pub fn is_folded(text: &str) -> bool {
    match text.bytes().find(|byte| !byte.is_ascii() || byte.is_ascii_uppercase()) {
        None => true,
        Some(first) => !first.is_ascii() && text.chars().all(|letter| fold_letter(letter) == letter),
    }
}

const fn fold_byte(byte: u8) -> u8 {
    if byte.is_ascii_alphanumeric() { byte.to_ascii_lowercase() } else { b'-' }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_found_among_others_however_it_is_spelt() {
        let names = ["te", "x-org"];
        for found in ["te", "TE", "x-org", "X-Org", "x_org", "x.org"] {
            assert!(folds_to_any(found, &names), "{found}");
        }
        for other in ["", "t", "x-orgs", "x_orgs", "xorg", "org"] {
            assert!(!folds_to_any(other, &names), "{other}");
        }
        assert!(!folds_to_any("te", &[]));
    }

    #[test]
    fn a_plain_name_is_a_token_that_folds_to_itself() {
        for byte in 0..=u8::MAX {
            let name = format!("x{}", char::from(byte));
            let expected = byte.is_ascii() && is_token(&name) && fold_header(&name) == name;
            assert_eq!(is_plain(&name), expected, "{name:?}");
        }
        assert!(!is_plain(""));
    }

    #[test]
    fn header_names_that_cgi_merges_fold_alike() {
        for name in ["X-Org", "x_org", "X.Org", "X!oRG"] {
            assert_eq!(fold_header(name), "x-org");
            assert!(folds_to(name, "x-org"));
        }
        assert!(!folds_to("X-Orgs", "x-org"));
        assert!(!folds_to("X-Or", "x-org"));
        assert!(starts_folded("X_Auth_Subject", "x-auth-"));
        assert!(!starts_folded("X-Aut", "x-auth-"));
    }

    #[test]
    fn a_set_finds_every_spelling() {
        let set: FoldedNames = ["X-Forwarded-For", "DPoP"].into_iter().collect();
        assert!(set.contains("x_forwarded.FOR"));
        assert!(set.contains("dpop"));
        assert!(!set.contains("x-forwarded"));
        assert!(!FoldedNames::default().contains(""));
    }

    #[test]
    fn letters_fold_simply() {
        assert_eq!(fold_text("ADMİN ıÄẞK\u{212a}ſ"), "admin iäßkks");
        assert!(is_folded("straße/42"));
        assert!(!is_folded("Straße"));
        assert!(!is_folded("Ä"));
        // Simple folding only: one letter stays one letter.
        assert_eq!(fold_text("ß"), "ß");
    }
}
