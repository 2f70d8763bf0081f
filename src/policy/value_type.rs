//! Types of captures and request values: `params` (policy.md, "Routes").

use regex::Regex;

use crate::policy::equality::is_uuid;

/// What the text of a capture or request value must look like.
#[derive(Debug, Clone)]
pub(in crate::policy) enum ValueType {
    /// 8-4-4-4-12 hex digits.
    Uuid,
    /// `0|-?[1-9][0-9]{0,18}`.
    Int,
    /// Unicode letters and digits; the expression decides what ASCII does not.
    Alnum(Regex),
    /// `[a-z0-9]+(-[a-z0-9]+)*`.
    Slug,
    /// The author's own expression, anchored at both ends.
    Regex {
        /// As written.
        written: Box<str>,
        /// As compiled.
        anchored: Regex,
    },
    /// One value that is a list.
    List {
        /// What stands between two items.
        separator: Box<str>,
        /// What every item must look like.
        of: Box<ValueType>,
    },
}

impl ValueType {
    /// Unicode letters and digits.
    ///
    /// # Errors
    /// Only if the engine knew no Unicode classes.
    pub(in crate::policy) fn alnum() -> Result<Self, regex::Error> {
        Regex::new(r"\A[\p{L}\p{Nd}]+\z").map(Self::Alnum)
    }

    /// The author's expression. It is compiled alone first: only an expression that is complete in itself may be
    /// put between the anchors, or `a)|(b` would escape them.
    ///
    /// # Errors
    /// What is wrong with the expression.
    pub(in crate::policy) fn regex(written: &str) -> Result<Self, regex::Error> {
        Regex::new(written)?;
        let anchored = Regex::new(&format!(r"\A(?:{written})\z"))?;
        Ok(Self::Regex { written: written.into(), anchored })
    }

    /// Whether the text has this type.
    pub(in crate::policy) fn fits(&self, text: &str) -> bool {
        match self {
            Self::Uuid => is_uuid(text),
            Self::Int => is_int(text),
            Self::Alnum(class) => {
                !text.is_empty()
                    && (text.bytes().all(|byte| byte.is_ascii_alphanumeric())
                        || (!text.is_ascii() && class.is_match(text)))
            }
            Self::Slug => is_slug(text),
            Self::Regex { anchored, .. } => anchored.is_match(text),
            Self::List { separator, of } => text.split(&**separator).all(|item| of.fits(item)),
        }
    }

    /// The values in a text of this type: its items for a list, else itself.
    pub(in crate::policy) fn separator(&self) -> Option<&str> {
        if let Self::List { separator, .. } = self { Some(separator) } else { None }
    }
}

impl PartialEq for ValueType {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Uuid, Self::Uuid)
            | (Self::Int, Self::Int)
            | (Self::Slug, Self::Slug)
            | (Self::Alnum(_), Self::Alnum(_)) => true,
            (Self::Regex { written, .. }, Self::Regex { written: other, .. }) => written == other,
            (Self::List { separator, of }, Self::List { separator: other, of: others }) => {
                separator == other && of == others
            }
            _ => false,
        }
    }
}

/// `0|-?[1-9][0-9]{0,18}`.
fn is_int(text: &str) -> bool {
    let digits = text.strip_prefix('-').unwrap_or(text);
    text == "0"
        || (digits.len() <= 19
            && !digits.starts_with('0')
            && !digits.is_empty()
            && digits.bytes().all(|b| b.is_ascii_digit()))
}

/// `[a-z0-9]+(-[a-z0-9]+)*`.
fn is_slug(text: &str) -> bool {
    text.split('-')
        .all(|word| !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(kind: &ValueType, fitting: &[&str], others: &[&str]) {
        for text in fitting {
            assert!(kind.fits(text), "`{text}` should be {kind:?}");
        }
        for text in others {
            assert!(!kind.fits(text), "`{text}` should not be {kind:?}");
        }
    }

    #[test]
    fn integers_have_one_spelling() {
        let most = "9".repeat(19);
        let fitting = ["0", "1", "-1", "10", &most, &format!("-{most}")];
        check(
            &ValueType::Int,
            &fitting,
            &["", "-", "-0", "00", "01", "+1", "1.0", "1e3", " 1", "1 ", "١", &"9".repeat(20)],
        );
    }

    #[test]
    fn slugs_have_single_hyphens_inside() {
        check(&ValueType::Slug, &["a", "0", "a-b", "a1-2b-c"], &["", "-", "a-", "-a", "a--b", "A", "a_b", "ä"]);
    }

    #[test]
    fn letters_and_digits_are_those_of_unicode() {
        let kind = ValueType::alnum().unwrap();
        check(&kind, &["a", "Z9", "Müller", "Δ5", "٣"], &["", "a-b", "a b", "½", "a\u{301}", "a\n", "_", "é!"]);
    }

    #[test]
    fn expressions_are_anchored_whatever_they_contain() {
        let kind = ValueType::regex("ab|c").unwrap();
        check(&kind, &["ab", "c"], &["abx", "xc", "abc", "c\n", ""]);
        assert!(ValueType::regex("a)|(b").is_err());
        check(&ValueType::regex("(?m)^a$").unwrap(), &["a"], &["a\nb", "b\na"]);
    }

    #[test]
    fn types_are_the_same_if_they_are_written_the_same() {
        let list = |separator: &str, of| ValueType::List { separator: separator.into(), of: Box::new(of) };
        let regex = |written| ValueType::regex(written).unwrap();
        let kinds = || {
            vec![
                ValueType::Uuid,
                ValueType::Int,
                ValueType::Slug,
                ValueType::alnum().unwrap(),
                regex("a"),
                regex("b"),
                list(",", ValueType::Int),
                list(";", ValueType::Int),
                list(",", ValueType::Slug),
            ]
        };
        for (number, one) in kinds().iter().enumerate() {
            for (position, other) in kinds().iter().enumerate() {
                assert_eq!(one == other, number == position, "{one:?} and {other:?}");
            }
        }
    }

    #[test]
    fn every_item_of_a_list_must_fit() {
        let kind = ValueType::List { separator: ",".into(), of: Box::new(ValueType::Int) };
        check(&kind, &["1", "1,2", "-3,0"], &["", "1,", ",1", "1, 2", "1;2", "x"]);
    }
}
