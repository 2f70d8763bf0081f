//! Lists of texts in one allocation.

use std::fmt;
use std::sync::Arc;

use serde::{Serialize, Serializer};

use super::Alike;
use super::packed::{Unpacked, footprint, is_shared, push};

/// A list of texts that nobody changes, in one allocation however many there are. A clone shares it.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Texts(pub(super) Arc<str>);

impl Texts {
    /// The texts in order.
    pub fn iter(&self) -> TextsIter<'_> {
        TextsIter(Unpacked(&self.0))
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether this is one of them, letter for letter.
    pub fn contains(&self, text: &str) -> bool {
        self.iter().any(|one| one == text)
    }

    /// Bytes that they take, rather more than less.
    pub fn bytes(&self) -> usize {
        if self.is_empty() { 0 } else { footprint(&self.0) }
    }

    /// Whether others have them too, as far as is known; of an empty list there is nothing to share.
    pub fn is_shared(&self) -> bool {
        self.is_empty() || is_shared(&self.0)
    }

    /// Takes the same list from there, if it was seen before, so that it is in memory once.
    pub fn share(&mut self, seen: &Alike<str>) {
        if !self.is_empty() {
            self.0 = seen.one(Arc::clone(&self.0));
        }
    }

    /// All of them with the separator between them.
    pub fn join(&self, separator: &str) -> String {
        self.to_vec().join(separator)
    }

    /// The same as texts of their own.
    pub fn to_vec(&self) -> Vec<String> {
        self.iter().map(str::to_owned).collect()
    }
}

/// Goes through [`Texts`].
#[derive(Debug, Clone)]
pub struct TextsIter<'t>(Unpacked<'t>);

impl<'t> Iterator for TextsIter<'t> {
    type Item = &'t str;

    #[inline]
    fn next(&mut self) -> Option<&'t str> {
        self.0.next()
    }
}

impl<'t> IntoIterator for &'t Texts {
    type Item = &'t str;
    type IntoIter = TextsIter<'t>;

    fn into_iter(self) -> TextsIter<'t> {
        self.iter()
    }
}

impl<T: AsRef<str>> FromIterator<T> for Texts {
    fn from_iter<I: IntoIterator<Item = T>>(texts: I) -> Self {
        let mut packed = String::new();
        for text in texts {
            push(text.as_ref(), &mut packed);
        }
        if packed.is_empty() { Self::default() } else { Self(packed.into()) }
    }
}

impl From<&[String]> for Texts {
    fn from(texts: &[String]) -> Self {
        texts.iter().collect()
    }
}

impl From<Vec<String>> for Texts {
    fn from(texts: Vec<String>) -> Self {
        texts.as_slice().into()
    }
}

impl<const N: usize> From<[&str; N]> for Texts {
    fn from(texts: [&str; N]) -> Self {
        texts.into_iter().collect()
    }
}

impl fmt::Debug for Texts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self).finish()
    }
}

impl Serialize for Texts {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_come_back_in_order_and_an_empty_text_is_one() {
        for list in [vec![], vec![""], vec!["", ""], vec!["a", "Müller", "a"], vec!["@", "\0", "x"]] {
            let texts: Texts = list.iter().collect();
            assert_eq!(texts.to_vec(), list);
            assert_eq!((texts.is_empty(), texts.join(", ")), (list.is_empty(), list.join(", ")));
            assert_eq!(serde_json::to_string(&texts).unwrap(), serde_json::to_string(&list).unwrap());
            assert_eq!(format!("{texts:?}"), format!("{list:?}"));
            assert!(list.iter().all(|text| texts.contains(text)) && !texts.contains("b"));
        }
        assert_ne!(Texts::from(["ab"]), Texts::from(["a", "b"]));
        assert_ne!(Texts::from([""]), Texts::default());
    }
}
