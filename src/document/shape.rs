//! Declarations of what a file may hold.

use std::time::Duration;

/// What a value may be. Declared as `static`s that refer to each other.
#[derive(Debug)]
pub enum Shape {
    /// Any text. A number or boolean without quotes is an error that says to quote it.
    Text,
    /// Text of a form.
    Format(&'static Format),
    /// One of these words.
    Keyword(&'static [&'static str]),
    /// `true` or `false`.
    Bool,
    /// A whole number in a range, both ends included.
    Int(i64, i64),
    /// A size such as `32KiB`, in a range of bytes, both ends included.
    Size(u64, u64),
    /// A duration such as `10s`, in a range, both ends included.
    Duration(Duration, Duration),
    /// A network such as `10.0.0.0/8`, or an address.
    Cidr,
    /// Text, a finite number or a boolean, each meaning itself.
    Literal,
    /// Anything at all, such as the claims of a token.
    Any,
    /// A list of any length.
    List(&'static Shape),
    /// A list of at least one.
    NonEmptyList(&'static Shape),
    /// A value, or a list of at least one.
    OneOrMany(&'static Shape),
    /// A map with known keys; keys that begin with `x-` are the author's own.
    Map(&'static Fields),
    /// A map whose keys are names.
    Names(&'static Names),
    /// One of these, decided by the kind of what is written; among maps by how many of the keys they know.
    Union(&'static [&'static Shape]),
    /// The value, or `null`.
    Nullable(&'static Shape),
}

/// Any text.
pub static TEXT: Shape = Shape::Text;
/// Text that is not empty.
pub static NONEMPTY: Shape = Shape::Format(&Format {
    what: "text",
    pattern: Some("."),
    check: |text| if text.is_empty() { Err("write a value or remove the key".to_owned()) } else { Ok(()) },
});
/// `true` or `false`.
pub static BOOL: Shape = Shape::Bool;
/// A size of any number of bytes.
pub static SIZE: Shape = Shape::Size(0, u64::MAX);
/// A duration of any length.
pub static DURATION: Shape = Shape::Duration(Duration::ZERO, Duration::MAX);
/// A network or an address.
pub static CIDR: Shape = Shape::Cidr;
/// Text, a number or a boolean to compare with.
pub static LITERAL: Shape = Shape::Literal;

/// A form that text may have.
#[derive(Debug)]
pub struct Format {
    /// What it is, with its article: `a policy name`.
    pub what: &'static str,
    /// The form as a regular expression of JSON Schema, for editors. It may accept more than `check` does, never less.
    pub pattern: Option<&'static str>,
    /// Whether a text has the form; the error says what to write instead.
    pub check: fn(&str) -> Result<(), String>,
}

/// The keys of a map.
#[derive(Debug)]
pub struct Fields {
    /// What the map is, in a word or two, for the JSON Schema.
    pub title: &'static str,
    /// What it is for, as sentences.
    pub doc: &'static str,
    /// Its keys.
    pub fields: &'static [Field],
    /// What holds between its keys.
    pub rules: &'static [Rule],
}

/// One key of a map.
#[derive(Debug)]
pub struct Field {
    /// The key.
    pub name: &'static str,
    /// What its value may be.
    pub shape: &'static Shape,
    /// Leaving it out is an error.
    pub required: bool,
    /// What it means, as sentences.
    pub doc: &'static str,
}

impl Field {
    /// A key that must be there.
    pub const fn required(name: &'static str, shape: &'static Shape, doc: &'static str) -> Self {
        Self { name, shape, required: true, doc }
    }

    /// A key that may be there.
    pub const fn optional(name: &'static str, shape: &'static Shape, doc: &'static str) -> Self {
        Self { name, shape, required: false, doc }
    }
}

/// What holds between the keys of a map.
#[derive(Debug)]
pub enum Rule {
    /// Exactly one of these keys.
    ExactlyOne(&'static [&'static str]),
    /// One of these keys or none.
    AtMostOne(&'static [&'static str]),
    /// One or more of these keys.
    AtLeastOne(&'static [&'static str]),
    /// All of these keys or none.
    Together(&'static [&'static str]),
}

/// A map whose keys are names.
#[derive(Debug)]
pub struct Names {
    /// What it maps, in a word or two, for the JSON Schema.
    pub title: &'static str,
    /// What a key may be.
    pub key: &'static Format,
    /// What a value may be.
    pub value: &'static Shape,
}
