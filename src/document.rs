//! YAML files as trees with positions, and the declarations they are checked against.
//!
//! Everything that Torwart reads from YAML goes the same way:
//!
//! 1. [`parse`] turns the text into a tree of [`Node`]s that know their bytes. YAML 1.2 core types; duplicate keys,
//!    merge keys, tags, a second document and keys that are no text are errors, and all of them are found.
//! 2. [`fn@check`] compares the tree with a [`Shape`] and reports every difference: unknown and missing keys, wrong
//!    types, misspelt keywords, each with the nearest valid name.
//! 3. The reader takes what it needs with accessors that answer `None` for what is absent *or already reported*, so
//!    reading goes on past the first mistake and finds those that only meaning can show. Whether the result may be
//!    used is asked once, at the end: [`Diagnostics::has_errors`].
//!
//! # Declaring a shape
//!
//! Shapes are `static`s that refer to each other, recursively where the language is recursive. The same declaration
//! checks files, makes hints and becomes the JSON Schema that editors use ([`json_schema`]), so a field's
//! documentation is written once: in its declaration.
//!
//! ```
//! use torwart::document::{Field, Fields, Format, Names, Rule, Shape, check, parse, BOOL, TEXT};
//!
//! static CONDITION: Shape = Shape::Union(&[&Shape::Keyword(&["public", "authenticated"]), &CONDITION_MAP]);
//! static CONDITION_MAP: Shape = Shape::Map(&Fields {
//!     title: "condition",
//!     doc: "Every entry must hold.",
//!     fields: &[
//!         Field::optional("scope", &TEXT, "The granted scopes satisfy it."),
//!         Field::optional("any_of", &Shape::NonEmptyList(&CONDITION_MAP), "One of these holds."),
//!     ],
//!     rules: &[Rule::AtLeastOne(&["scope", "any_of"])],
//! });
//! static ROUTE: Shape = Shape::Map(&Fields {
//!     title: "route",
//!     doc: "One route.",
//!     fields: &[
//!         Field::required("path", &TEXT, "The pattern."),
//!         Field::required("require", &CONDITION, "Who may."),
//!     ],
//!     rules: &[],
//! });
//!
//! let source = torwart::diagnostic::Source { path: "crm.yaml".into(), text: "pth: /a\nrequire: pubic\n".into() }.into();
//! let mut problems = torwart::diagnostic::Diagnostics::new();
//! let node = parse(&source, &mut problems).unwrap();
//! check(&node, &ROUTE, &source, &mut problems);
//! let text = problems.render();
//! assert!(text.contains("unknown key `pth`") && text.contains("did you mean `path`?"));
//! assert!(text.contains("did you mean `public`?"));
//!
//! let route = node.map().unwrap();
//! assert_eq!(route.text("path"), None);
//! assert_eq!(route.get("require").and_then(|node| node.text()), Some("pubic"));
//! ```
//!
//! | a value that is | is declared as |
//! |---|---|
//! | any text | [`TEXT`]; not empty: [`NONEMPTY`] |
//! | text of a form | [`Shape::Format`] with a [`Format`] that says what it is and what is wrong with it |
//! | one of some words | [`Shape::Keyword`] |
//! | true or false, a whole number | [`BOOL`], [`Shape::Int`] |
//! | `32KiB`, `10s`, `10.0.0.0/8` | [`SIZE`], [`DURATION`] (or [`Shape::Size`], [`Shape::Duration`] with bounds), [`CIDR`] |
//! | text, number or boolean to compare with | [`LITERAL`] |
//! | a list; one or a list | [`Shape::List`], [`Shape::NonEmptyList`]; [`Shape::OneOrMany`] |
//! | a map with known keys | [`Shape::Map`]: keys that begin with `x-` are the author's own |
//! | a map whose keys are names | [`Shape::Names`]: there `x-` means nothing |
//! | of several kinds | [`Shape::Union`], decided by the kind of what is written, among maps by their keys |
//! | a value or `null` | [`Shape::Nullable`] |

mod check;
mod edit;
mod expand;
mod file;
mod format;
mod node;
mod scalar;
mod schema;
mod shape;
mod tree;

pub use check::check;
pub use edit::Edit;
pub use expand::{Environment, expand};
pub use file::read_file;
pub use format::{duration, network, size};
pub use node::{Entry, Key, Mapping, Node, Value};
pub use schema::{Variables, json_schema};
pub use shape::{BOOL, CIDR, DURATION, Field, Fields, Format, LITERAL, NONEMPTY, Names, Rule, SIZE, Shape, TEXT};
pub use tree::parse;

#[cfg(doc)]
use crate::diagnostic::Diagnostics;
