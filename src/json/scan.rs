//! Reading the values that pointers name out of a JSON document, in one pass and without a tree of it.
//!
//! What is kept beside the text are the values found (twelve bytes each, and the text of those with escapes) and the
//! places of the keys of objects that are open, to tell whether one comes twice.

use std::cmp::Ordering;

use smallvec::SmallVec;

use super::pointer::{MAX_DEPTH, Pointer, Step};
use super::text::{Span, Text};
use crate::target::fold::fold_text;

/// Why a document is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// Its bytes are no UTF-8, or begin with a byte order mark.
    #[error("the text is not UTF-8 without a byte order mark")]
    NotUtf8,
    /// It is no JSON (RFC 8259), or something follows it.
    #[error("the text is not JSON from its first byte to its last")]
    Malformed,
    /// Objects and arrays inside of each other beyond [`MAX_DEPTH`].
    #[error("the text is nested deeper than 64 levels")]
    TooDeep,
    /// A key twice in one object.
    #[error("an object has one key twice")]
    DuplicateKey,
    /// A key that some servers take for one of a pointer's, and that is spelt otherwise.
    #[error("an object has a key that servers may read as another")]
    AlmostNamed,
    /// More than four gibibytes, which places are not counted for.
    #[error("the text is too long")]
    TooLong,
}

/// The values that pointers name in one document.
#[derive(Debug, Default)]
pub struct Values<'j> {
    text: &'j str,
    unescaped: String,
    found: Vec<Vec<Piece>>,
}

/// Where a value is kept.
#[derive(Debug, Clone, Copy)]
enum Piece {
    /// It is no text: no string, no integer, or missing below a `*`.
    NotText,
    /// As it is written in the document.
    Written(u32, u32),
    /// Unescaped.
    Unescaped(u32, u32),
}

impl Values<'_> {
    /// The values of one pointer, by its number, in the order of the document. Strings are text, integers that 64 bits
    /// hold the digits that they are written with; `None` is a value that is neither, or one that is missing from an
    /// element that `*` stands for.
    pub fn of(&self, pointer: usize) -> impl Iterator<Item = Option<&str>> {
        self.found.get(pointer).into_iter().flatten().map(|piece| match *piece {
            Piece::NotText => None,
            Piece::Written(start, end) => self.text.get(start as usize..end as usize),
            Piece::Unescaped(start, end) => self.unescaped.get(start as usize..end as usize),
        })
    }
}

/// Reads a whole document (RFC 8259) and answers with the values that `pointers` name.
///
/// # Errors
/// A document that is not strictly JSON in UTF-8, or in which some server may find other values.
pub fn scan<'j, P: AsRef<Pointer>>(document: &'j [u8], pointers: &[P]) -> Result<Values<'j>, Fault> {
    let text = std::str::from_utf8(document).map_err(|_| Fault::NotUtf8)?;
    if text.starts_with('\u{feff}') {
        return Err(Fault::NotUtf8);
    }
    if u32::try_from(text.len()).is_err() {
        return Err(Fault::TooLong);
    }
    let values = Values { text, unescaped: String::new(), found: vec![Vec::new(); pointers.len()] };
    let mut scanner = Scanner { text: Text::new(text), pointers, keys: Vec::new(), values };
    let whole: Cursors = (0..pointers.len()).map(|pointer| Cursor { pointer, step: 0, starred: false }).collect();
    scanner.value(1, &whole)?;
    scanner.text.skip_space();
    if scanner.text.peek().is_some() { Err(Fault::Malformed) } else { Ok(scanner.values) }
}

/// How far a pointer has come.
#[derive(Debug, Clone, Copy)]
struct Cursor {
    pointer: usize,
    step: usize,
    /// A `*` lies behind: a value has to be found.
    starred: bool,
}

/// Whether two items are equal, found by putting them in order.
fn has_equal_neighbours<T>(items: &mut [T], order: impl Fn(&T, &T) -> Ordering) -> bool {
    items.sort_unstable_by(&order);
    items.windows(2).any(|pair| matches!(pair, [left, right] if order(left, right).is_eq()))
}

/// Whether a key without case is `folded`.
fn folds_to(key: &str, folded: &str) -> bool {
    if key.is_ascii() { key.eq_ignore_ascii_case(folded) } else { fold_text(key) == *folded }
}

/// What holds other values.
#[derive(Debug, Clone, Copy)]
enum Container {
    Object,
    Array,
}

type Cursors = SmallVec<[Cursor; 4]>;

struct Scanner<'j, 'p, P> {
    text: Text<'j>,
    pointers: &'p [P],
    /// Keys of the objects that are open, outermost first.
    keys: Vec<Span>,
    values: Values<'j>,
}

impl<'p, P: AsRef<Pointer>> Scanner<'_, 'p, P> {
    fn value(&mut self, depth: usize, cursors: &[Cursor]) -> Result<(), Fault> {
        self.text.skip_space();
        match self.text.peek().ok_or(Fault::Malformed)? {
            b'{' | b'[' if depth > MAX_DEPTH => Err(Fault::TooDeep),
            b'{' => self.object(depth, cursors),
            b'[' => self.array(depth, cursors),
            b'"' => {
                let string = self.text.string()?;
                self.scalar(cursors, |values, pointer| values.string(pointer, string))
            }
            b'-' | b'0'..=b'9' => {
                let number = self.text.number()?;
                self.scalar(cursors, |values, pointer| values.number(pointer, number))
            }
            _ => {
                self.text.word()?;
                self.scalar(cursors, |values, pointer| values.push(pointer, Piece::NotText))
            }
        }
    }

    /// What a value that holds no others is to the pointers that lead here or beyond.
    fn scalar(
        &mut self,
        cursors: &[Cursor],
        found: impl Fn(&mut Values<'_>, usize) -> Result<(), Fault>,
    ) -> Result<(), Fault> {
        for cursor in cursors {
            match self.next(*cursor) {
                None => found(&mut self.values, cursor.pointer)?,
                Some(Step::Key { .. }) if !cursor.starred => {}
                Some(Step::Key { .. } | Step::Each) => self.values.push(cursor.pointer, Piece::NotText)?,
            }
        }
        Ok(())
    }

    fn object(&mut self, depth: usize, cursors: &[Cursor]) -> Result<(), Fault> {
        let first = self.keys.len();
        let mut met: SmallVec<[bool; 4]> = SmallVec::from_elem(false, cursors.len());
        self.text.skip(1);
        self.text.skip_space();
        if self.text.take(b'}') {
            return self.end(cursors, &met, Container::Object);
        }
        loop {
            self.text.skip_space();
            let key = self.text.string()?;
            self.keys.push(key);
            let below = self.below(cursors, &mut met, &self.text.unescaped(key))?;
            self.text.skip_space();
            if !self.text.take(b':') {
                return Err(Fault::Malformed);
            }
            self.value(depth + 1, &below)?;
            self.text.skip_space();
            if self.text.take(b'}') {
                break;
            }
            if !self.text.take(b',') {
                return Err(Fault::Malformed);
            }
        }
        self.close(first)?;
        self.end(cursors, &met, Container::Object)
    }

    /// The cursors that go on below a key.
    fn below(&self, cursors: &[Cursor], met: &mut [bool], key: &str) -> Result<Cursors, Fault> {
        let mut below = Cursors::new();
        if cursors.is_empty() {
            return Ok(below);
        }
        // A server that ends texts at NUL reads a shorter key.
        let short = key.split('\0').next().unwrap_or_default();
        for (cursor, met) in cursors.iter().zip(met) {
            let Some(Step::Key { exact, folded, .. }) = self.next(*cursor) else { continue };
            if **exact == *key {
                *met = true;
                below.push(Cursor { step: cursor.step + 1, ..*cursor });
            } else if folds_to(short, folded) {
                return Err(Fault::AlmostNamed);
            }
        }
        Ok(below)
    }

    /// Checks that no key of the object that ends came twice, and forgets them.
    fn close(&mut self, first: usize) -> Result<(), Fault> {
        let Some(keys) = self.keys.get_mut(first..) else { return Ok(()) };
        let text = self.text;
        let twice = if keys.iter().any(|key| key.escaped) {
            // Escapes are resolved once for each key, not once for each comparison.
            let mut keys: Vec<_> = keys.iter().map(|key| (text.fingerprint(*key), *key)).collect();
            let order = |left: &(u64, Span), right: &(u64, Span)| {
                left.0.cmp(&right.0).then_with(|| text.compare(left.1, right.1))
            };
            has_equal_neighbours(&mut keys, order)
        } else {
            has_equal_neighbours(keys, |left, right| text.compare(*left, *right))
        };
        self.keys.truncate(first);
        if twice { Err(Fault::DuplicateKey) } else { Ok(()) }
    }

    fn array(&mut self, depth: usize, cursors: &[Cursor]) -> Result<(), Fault> {
        let mut met: SmallVec<[bool; 4]> = SmallVec::from_elem(false, cursors.len());
        self.text.skip(1);
        self.text.skip_space();
        if self.text.take(b']') {
            return self.end(cursors, &met, Container::Array);
        }
        for position in 0_usize.. {
            let mut below = Cursors::new();
            for (cursor, met) in cursors.iter().zip(&mut met) {
                let starred = match self.next(*cursor) {
                    Some(Step::Each) => true,
                    Some(Step::Key { position: Some(wanted), .. }) if *wanted == position => cursor.starred,
                    Some(Step::Key { .. }) | None => continue,
                };
                *met = true;
                below.push(Cursor { step: cursor.step + 1, starred, ..*cursor });
            }
            self.value(depth + 1, &below)?;
            self.text.skip_space();
            if self.text.take(b']') {
                break;
            }
            if !self.text.take(b',') {
                return Err(Fault::Malformed);
            }
        }
        self.end(cursors, &met, Container::Array)
    }

    /// What an object or array was to the pointers that led to it and found nothing in it.
    fn end(&mut self, cursors: &[Cursor], met: &[bool], container: Container) -> Result<(), Fault> {
        for (cursor, met) in cursors.iter().zip(met) {
            let is_no_text = match (self.next(*cursor), container) {
                (None, _) | (Some(Step::Each), Container::Object) => true,
                // Behind a `*` every element has to have a value.
                (Some(Step::Key { .. }), _) | (Some(Step::Each), Container::Array) => cursor.starred && !met,
            };
            if is_no_text {
                self.values.push(cursor.pointer, Piece::NotText)?;
            }
        }
        Ok(())
    }

    fn next(&self, cursor: Cursor) -> Option<&'p Step> {
        self.pointers.get(cursor.pointer)?.as_ref().steps.get(cursor.step)
    }
}

impl Values<'_> {
    fn push(&mut self, pointer: usize, piece: Piece) -> Result<(), Fault> {
        self.found.get_mut(pointer).ok_or(Fault::Malformed)?.push(piece);
        Ok(())
    }

    fn string(&mut self, pointer: usize, string: Span) -> Result<(), Fault> {
        if !string.escaped {
            return self.push(pointer, Piece::Written(string.start, string.end));
        }
        let start = self.unescaped.len();
        self.unescaped.push_str(&Text::new(self.text).unescaped(string));
        // Unescaped text is never longer than the document, but one value may be several pointers'.
        let place = |at: usize| u32::try_from(at).map_err(|_| Fault::TooLong);
        let piece = Piece::Unescaped(place(start)?, place(self.unescaped.len())?);
        self.push(pointer, piece)
    }

    fn number(&mut self, pointer: usize, number: Span) -> Result<(), Fault> {
        // JSON has one spelling for an integer, but for nought's sign, fractions and exponents.
        let digits = Text::new(self.text).written(number);
        let integer = digits != "-0" && (digits.parse::<i64>().is_ok() || digits.parse::<u64>().is_ok());
        self.push(pointer, if integer { Piece::Written(number.start, number.end) } else { Piece::NotText })
    }
}
