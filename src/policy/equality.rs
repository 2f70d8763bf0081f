//! When two texts are equal (policy.md, "Templates and request values").

/// How the text of a claim is compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::policy) enum Case {
    /// Byte for byte.
    Sensitive,
    /// Under Unicode simple case folding: the issuer declares the claim so.
    Folded,
}

impl Case {
    /// Folded if the issuer declares it.
    pub(in crate::policy) fn folded_if(declared: bool) -> Self {
        if declared { Self::Folded } else { Self::Sensitive }
    }
}

/// Equality of decoded texts: byte for byte; two that both have the form of a UUID as UUIDs; folded where declared.
pub(in crate::policy) fn equal(left: &str, right: &str, case: Case) -> bool {
    if left == right {
        return true;
    }
    match case {
        Case::Folded => left.chars().map(fold).eq(right.chars().map(fold)),
        Case::Sensitive => left.eq_ignore_ascii_case(right) && is_uuid(left) && is_uuid(right),
    }
}

/// Membership without UUID equality: scopes and permissions match whole and, unless declared otherwise,
/// case-sensitively.
pub(in crate::policy) fn same_word(left: &str, right: &str, case: Case) -> bool {
    left == right || (case == Case::Folded && left.chars().map(fold).eq(right.chars().map(fold)))
}

/// Whether the text has the form 8-4-4-4-12 hex digits.
pub(in crate::policy) fn is_uuid(text: &str) -> bool {
    let Ok(bytes) = <&[u8; 36]>::try_from(text.as_bytes()) else { return false };
    let hyphens = [8, 13, 18, 23].iter().all(|at| bytes.get(*at) == Some(&b'-'));
    let digits = bytes.iter().fold(0_u8, |digits, byte| digits.wrapping_add(byte.is_ascii_hexdigit().into()));
    hyphens && digits == 32
}

/// Unicode simple case folding of one character.
fn fold(character: char) -> char {
    if character.is_ascii() {
        return character.to_ascii_lowercase();
    }
    unicode_case_mapping::case_folded(character).and_then(|code| char::from_u32(code.get())).unwrap_or(character)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uuids_are_equal_whatever_their_case_and_nothing_else_is() {
        let lower = "5f8c1a52-9d1e-4e0b-8a77-0c6f1be0a111";
        assert!(equal(lower, &lower.to_uppercase(), Case::Sensitive));
        assert!(!equal("abc", "ABC", Case::Sensitive));
        assert!(!equal(lower, "5f8c1a52-9d1e-4e0b-8a77-0c6f1be0a112", Case::Sensitive));
        // One hex digit replaced by a letter beyond `f`: no UUID, so its case counts.
        assert!(!equal(
            "gf8c1a52-9d1e-4e0b-8a77-0c6f1be0a111",
            "GF8C1A52-9D1E-4E0B-8A77-0C6F1BE0A111",
            Case::Sensitive
        ));
        // No hyphens: no UUID.
        assert!(!equal("5f8c1a529d1e4e0b8a770c6f1be0a111", "5F8C1A529D1E4E0B8A770C6F1BE0A111", Case::Sensitive));
    }

    #[test]
    fn a_uuid_has_hyphens_in_four_places_and_digits_in_all_others() {
        let lower = "5f8c1a52-9d1e-4e0b-8a77-0c6f1be0a111";
        assert!(is_uuid(lower) && is_uuid(&lower.to_uppercase()));
        for at in 0..lower.len() {
            for other in ["-", "0", "g", "/", ":", "@", "`", "\u{e4}", ""] {
                let mut text = lower.to_owned();
                text.replace_range(at..=at, other);
                let hyphen = matches!(at, 8 | 13 | 18 | 23);
                assert_eq!(is_uuid(&text), if hyphen { other == "-" } else { other == "0" }, "{text}");
            }
        }
        assert!(!is_uuid("") && !is_uuid(&format!("{lower}0")));
    }

    #[test]
    fn folding_is_simple_case_folding() {
        assert!(equal("MÜLLER", "müller", Case::Folded));
        assert!(equal("ΣΊΣΥΦΟΣ", "σίσυφος", Case::Folded));
        assert!(equal("\u{212A}", "k", Case::Folded), "the Kelvin sign folds to k");
        assert!(!equal("straße", "STRASSE", Case::Folded), "full case folding would make these equal");
        assert!(!equal("\u{212A}", "k", Case::Sensitive));
    }

    #[test]
    fn words_have_no_uuid_equality() {
        let lower = "5f8c1a52-9d1e-4e0b-8a77-0c6f1be0a111";
        assert!(!same_word(lower, &lower.to_uppercase(), Case::Sensitive));
        assert!(same_word(lower, &lower.to_uppercase(), Case::Folded));
        assert!(!same_word("orders", "order", Case::Sensitive));
    }
}
