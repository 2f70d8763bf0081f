//! Values under texts that an operator wrote, looked up by texts that anybody may send.
//!
//! Only the operator adds texts, so nobody can fill the map with texts of one hash, and hashing need not be slow.

use std::collections::HashMap;

use foldhash::fast::FixedState;

/// Comparing with so many texts one by one takes less than hashing.
const FEW: usize = 4;

/// Values under texts.
#[derive(Debug)]
pub(in crate::policy) enum ByText<T> {
    /// One beside the other.
    Few(Vec<(Box<str>, T)>),
    /// By their hashes.
    Many(HashMap<Box<str>, T, FixedState>),
}

impl<T> Default for ByText<T> {
    fn default() -> Self {
        Self::Few(Vec::new())
    }
}

impl<T> ByText<T> {
    /// The value under a text.
    pub(in crate::policy) fn find(&self, text: &str) -> Option<&T> {
        match self {
            Self::Few(values) => values.iter().find(|(key, _)| **key == *text).map(|(_, value)| value),
            Self::Many(values) => values.get(text),
        }
    }

    /// The value under a text; `make` makes one where there is none.
    pub(in crate::policy) fn entry(&mut self, text: &str, make: impl FnOnce() -> T) -> &mut T {
        if let Self::Few(values) = self
            && values.len() >= FEW
        {
            *self = Self::Many(std::mem::take(values).into_iter().collect());
        }
        match self {
            Self::Few(values) => {
                let known = values.iter().position(|(key, _)| **key == *text);
                let value = known.map_or_else(|| (text.into(), make()), |position| values.swap_remove(position));
                &mut values.push_mut(value).1
            }
            Self::Many(values) => values.entry(text.into()).or_insert_with(make),
        }
    }

    /// Every text.
    pub(in crate::policy) fn texts(&self) -> impl Iterator<Item = &str> {
        self.iter().map(|(text, _)| text)
    }

    /// Every value.
    pub(in crate::policy) fn values(&self) -> impl Iterator<Item = &T> {
        self.iter().map(|(_, value)| value)
    }

    fn iter(&self) -> impl Iterator<Item = (&str, &T)> {
        let (few, many) = match self {
            Self::Few(values) => (Some(values), None),
            Self::Many(values) => (None, Some(values)),
        };
        let few = few.into_iter().flatten().map(|(text, value)| (&**text, value));
        few.chain(many.into_iter().flatten().map(|(text, value)| (&**text, value)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_value_is_found_under_its_own_text_however_many_there_are() {
        let mut values = ByText::default();
        for number in 0..20 {
            let text = format!("text-{number}");
            assert_eq!(values.find(&text), None);
            assert_eq!(*values.entry(&text, || number), number);
            assert_eq!(*values.entry(&text, || 99), number, "there is one already");
            for known in 0..=number {
                assert_eq!(values.find(&format!("text-{known}")), Some(&known));
            }
            let mut texts: Vec<&str> = values.texts().collect();
            texts.sort_unstable();
            texts.dedup();
            assert_eq!(texts.len(), number + 1);
            let mut found: Vec<usize> = values.values().copied().collect();
            found.sort_unstable();
            assert_eq!(found, (0..=number).collect::<Vec<_>>());
        }
        assert_eq!((values.find(""), values.find("text-")), (None, None));
    }
}
