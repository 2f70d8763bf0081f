//! Texts one behind the other in one text, each with its length before it: the shape in which remembered principals keep
//! lists and claims, because a hundred thousand of them are remembered.

use std::sync::Arc;

/// Adds a text.
pub(super) fn push(text: &str, out: &mut String) {
    push_length(text.len(), out);
    out.push_str(text);
}

/// Adds the length of a text that is going to be added. It is written in ASCII letters of six bits each, the lowest first;
/// the seventh bit says that more follow.
pub(super) fn push_length(mut length: usize, out: &mut String) {
    loop {
        let low = u8::try_from(length & 0x3f).unwrap_or_default();
        length >>= 6;
        out.push(char::from(if length == 0 { low } else { low | 0x40 }));
        if length == 0 {
            break;
        }
    }
}

/// Bytes that a text in an allocation of its own takes. One that is shared counts for a part in each place, for more than
/// that place's part: nobody knows whose will be the last.
pub(super) fn footprint(text: &Arc<str>) -> usize {
    let bytes = allocated(size_of::<[usize; 2]>() + text.len());
    if is_shared(text) { bytes / 16 } else { bytes }
}

/// Whether somebody has it beside the owner and the list of what was seen.
pub(super) fn is_shared(text: &Arc<str>) -> bool {
    Arc::strong_count(text) > 2
}

/// What an allocation of so many bytes takes: usual allocators put eight before it and round up to sixteen.
pub(super) fn allocated(bytes: usize) -> usize {
    (bytes + 8).next_multiple_of(16).max(32)
}

/// The texts in the order they were added.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Unpacked<'t>(pub(super) &'t str);

impl<'t> Iterator for Unpacked<'t> {
    type Item = &'t str;

    #[inline]
    fn next(&mut self) -> Option<&'t str> {
        let (mut length, mut shift) = (0, 0);
        for (at, letter) in self.0.bytes().enumerate() {
            length |= usize::from(letter & 0x3f).checked_shl(shift)?;
            shift += 6;
            if letter & 0x40 == 0 {
                let (text, rest) = self.0.get(at + 1..)?.split_at_checked(length)?;
                self.0 = rest;
                return Some(text);
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_of_every_length_come_back() {
        let texts = [0, 1, 63, 64, 65, 4095, 4096, 262_143, 262_144, 262_145].map(|length| "x".repeat(length));
        let mut packed = String::new();
        for text in &texts {
            push(text, &mut packed);
        }
        push("Müller\0@", &mut packed);
        assert!(Unpacked(&packed).eq(texts.iter().map(String::as_str).chain(["Müller\0@"])));
        assert_eq!(Unpacked("").next(), None);
    }
}
