//! Values under texts that an operator wrote, looked up by texts that anybody may send.
//!
//! Only the operator adds texts, so nobody can fill the map with texts of one hash, and hashing need not be slow.

use std::collections::HashMap;

use foldhash::fast::FixedState;

/// Comparing with so many texts one by one takes less than hashing.
const FEW: usize = 4;

/// Values under texts.
#[derive(Debug)]
pub(in crate::policy) struct ByText<T> {
    /// A bit for the length of every text: most texts that are looked up in vain are told by theirs.
    lengths: u64,
    values: Values<T>,
}

#[derive(Debug)]
enum Values<T> {
    /// One beside the other.
    Few(Vec<(Box<str>, T)>),
    /// By their hashes.
    Many(HashMap<Box<str>, T, FixedState>),
}

impl<T> Default for ByText<T> {
    fn default() -> Self {
        Self { lengths: 0, values: Values::Few(Vec::new()) }
    }
}

impl<T> ByText<T> {
    /// The value under a text.
    pub(in crate::policy) fn find(&self, text: &str) -> Option<&T> {
        if self.lengths & length(text) == 0 {
            return None;
        }
        match &self.values {
            Values::Few(values) => values.iter().find(|(key, _)| **key == *text).map(|(_, value)| value),
            Values::Many(values) => values.get(text),
        }
    }

    /// The value under a text; `make` makes one where there is none.
    pub(in crate::policy) fn entry(&mut self, text: &str, make: impl FnOnce() -> T) -> &mut T {
        self.lengths |= length(text);
        if let Values::Few(values) = &mut self.values
            && values.len() >= FEW
        {
            self.values = Values::Many(std::mem::take(values).into_iter().collect());
        }
        match &mut self.values {
            Values::Few(values) => {
                let known = values.iter().position(|(key, _)| **key == *text);
                let value = known.map_or_else(|| (text.into(), make()), |position| values.swap_remove(position));
                &mut values.push_mut(value).1
            }
            Values::Many(values) => values.entry(text.into()).or_insert_with(make),
        }
    }

    /// Whether there is none.
    pub(in crate::policy) fn is_empty(&self) -> bool {
        self.lengths == 0
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
        let (few, many) = match &self.values {
            Values::Few(values) => (Some(values), None),
            Values::Many(values) => (None, Some(values)),
        };
        let few = few.into_iter().flatten().map(|(text, value)| (&**text, value));
        few.chain(many.into_iter().flatten().map(|(text, value)| (&**text, value)))
    }
}

/// The bit of a text's length; all long ones share one.
fn length(text: &str) -> u64 {
    1 << text.len().min(63)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_of_any_length_are_told_apart() {
        let mut values = ByText::default();
        assert!(values.is_empty());
        for length in (0..200).step_by(9) {
            values.entry(&"a".repeat(length), || length);
        }
        for length in 0..200 {
            assert_eq!(values.find(&"a".repeat(length)).is_some(), length % 9 == 0, "{length}");
        }
        assert!(!values.is_empty());
    }

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
