//! JSON pointers (RFC 6901) with `*` for every element of an array.

use std::fmt;

use crate::target::fold::fold_text;

/// Nesting that is read at most; no pointer reaches deeper.
pub const MAX_DEPTH: usize = 64;

/// Where a value stands in a JSON document: object keys, array positions, and `*` for every element.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Pointer {
    written: Box<str>,
    pub(super) steps: Box<[Step]>,
}

/// One step of a pointer.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum Step {
    /// A key of an object, or a position in an array.
    Key {
        /// The key, unescaped.
        exact: Box<str>,
        /// The key without case: another key that folds alike must not stand beside it.
        folded: Box<str>,
        /// The key as a position, if it is one.
        position: Option<usize>,
    },
    /// Every element of an array.
    Each,
}

/// Why a text is no pointer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PointerError {
    /// It does not begin with a slash.
    #[error("a JSON pointer begins with `/`, such as `/items/*/id`")]
    NoSlash,
    /// A `~` that neither `0` nor `1` follows.
    #[error("in a JSON pointer `~0` is `~`, `~1` is `/`, and no other `~` may stand")]
    Escape,
    /// A `*` beside other characters.
    #[error("`*` is every element of an array and stands alone between slashes, as in `/items/*/id`")]
    Star,
    /// More steps than documents may be deep.
    #[error("no body nested so deep is read: write at most 64 steps")]
    TooDeep,
}

impl Pointer {
    /// Reads a pointer.
    ///
    /// # Errors
    /// What is wrong with it, and what to write.
    pub fn parse(written: &str) -> Result<Self, PointerError> {
        let steps = written.strip_prefix('/').ok_or(PointerError::NoSlash)?.split('/');
        let steps = steps.map(step).collect::<Result<Box<[_]>, _>>()?;
        if steps.len() > MAX_DEPTH {
            return Err(PointerError::TooDeep);
        }
        Ok(Self { written: written.into(), steps })
    }

    /// As it was written.
    pub fn as_str(&self) -> &str {
        &self.written
    }

    /// The keys and positions to descend; nothing for every element.
    pub fn keys(&self) -> impl Iterator<Item = Option<&str>> {
        self.steps.iter().map(|step| match step {
            Step::Key { exact, .. } => Some(&**exact),
            Step::Each => None,
        })
    }
}

impl AsRef<Pointer> for Pointer {
    fn as_ref(&self) -> &Self {
        self
    }
}

impl fmt::Display for Pointer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.written)
    }
}

fn step(written: &str) -> Result<Step, PointerError> {
    if written == "*" {
        return Ok(Step::Each);
    }
    if written.contains('*') {
        return Err(PointerError::Star);
    }
    let escapes = written.match_indices('~').map(|(at, _)| written.get(at + 1..at + 2));
    if escapes.into_iter().any(|escaped| !matches!(escaped, Some("0" | "1"))) {
        return Err(PointerError::Escape);
    }
    // RFC 6901 section 4: `~1` first, so that `~01` is `~1`.
    let exact = written.replace("~1", "/").replace("~0", "~");
    Ok(Step::Key { folded: fold_text(&exact).into(), position: position(&exact), exact: exact.into() })
}

/// A position in an array: decimal, without leading zeros.
fn position(text: &str) -> Option<usize> {
    let plain = text == "0" || (!text.starts_with('0') && text.bytes().all(|byte| byte.is_ascii_digit()));
    if plain { text.parse().ok() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(written: &str) -> Vec<String> {
        let steps = Pointer::parse(written).unwrap().steps.into_vec();
        let word = |step| if let Step::Key { exact, .. } = step { exact.into() } else { "<each>".to_owned() };
        steps.into_iter().map(word).collect()
    }

    #[test]
    fn pointers_are_unescaped_as_rfc_6901_section_4_says() {
        assert_eq!(keys("/items/*/org_uid"), ["items", "<each>", "org_uid"]);
        assert_eq!(keys("/a~1b/m~0n/~01"), ["a/b", "m~n", "~1"]);
        assert_eq!(keys("/"), [""]);
        assert_eq!(Pointer::parse("/items/*/id").unwrap().to_string(), "/items/*/id");
    }

    #[test]
    fn what_is_no_pointer_is_told_from_one() {
        for (written, error) in [
            ("", PointerError::NoSlash),
            ("items", PointerError::NoSlash),
            ("/a~", PointerError::Escape),
            ("/a~2", PointerError::Escape),
            ("/~é", PointerError::Escape),
            ("/a*", PointerError::Star),
            ("/items/**/id", PointerError::Star),
            (&*"/a".repeat(65), PointerError::TooDeep),
        ] {
            assert_eq!(Pointer::parse(written), Err(error), "{written}");
        }
        assert!(Pointer::parse(&"/a".repeat(64)).is_ok());
    }

    #[test]
    fn positions_have_no_leading_zeros_rfc_6901_section_4() {
        assert_eq!(["0", "7", "10", "00", "01", "-", "", "1a", "+1"].map(position), {
            [Some(0), Some(7), Some(10), None, None, None, None, None, None]
        });
    }
}
