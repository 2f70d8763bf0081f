//! The tree that a YAML document becomes.

use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;

use super::{format, scalar};
use crate::diagnostic::{Place, Source, Span};

/// A value and where it is written.
#[derive(Debug, Clone)]
pub struct Node {
    /// The value.
    pub value: Value,
    /// Its bytes in the source. What an alias stands for is where the anchor is.
    pub span: Span,
    /// A scalar in quotes or in block style: text whatever it looks like.
    pub quoted: bool,
    /// Text that came, wholly or in part, from the environment. Such a value may stand where a number or boolean
    /// belongs, and diagnostics show what the file says, never what the environment holds.
    pub expanded: bool,
    /// Something inside was reported while parsing and left out: not worth a second complaint.
    pub(super) broken: bool,
}

/// What a node holds, by the core schema of YAML 1.2.2 section 10.3.
#[derive(Debug, Clone)]
pub enum Value {
    /// `null`, `~` or nothing.
    Null,
    /// `true` or `false`.
    Bool(bool),
    /// A whole number.
    Int(i64),
    /// Any other number.
    Float(f64),
    /// Text.
    Text(String),
    /// A sequence.
    List(Vec<Node>),
    /// A mapping.
    Map(Mapping),
}

/// A mapping in the order it is written, each key once.
#[derive(Debug, Clone, Default)]
pub struct Mapping {
    pub(super) entries: Vec<Entry>,
    pub(super) flow: bool,
}

/// One entry of a mapping.
#[derive(Debug, Clone)]
pub struct Entry {
    /// The key.
    pub key: Key,
    /// Its value.
    pub value: Node,
}

/// The key of an entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Key {
    /// Its text.
    pub text: String,
    /// Its bytes in the source.
    pub span: Span,
}

impl Node {
    /// The node as a place that outlives parsing.
    pub fn place(&self, source: &Arc<Source>) -> Place {
        Place { source: Arc::clone(source), span: self.span }
    }

    /// Where to point at for something that the node as a whole lacks: the first key of a block mapping, else all of it.
    pub fn head(&self) -> Span {
        match &self.value {
            Value::Map(map) if !map.flow => map.entries.first().map_or(self.span, |entry| entry.key.span),
            _ => self.span,
        }
    }

    /// Text.
    pub fn text(&self) -> Option<&str> {
        if let Value::Text(text) = &self.value { Some(text) } else { None }
    }

    /// `true` or `false`.
    pub fn bool(&self) -> Option<bool> {
        if let Value::Bool(value) = self.resolved() { Some(value) } else { None }
    }

    /// A whole number.
    pub fn int(&self) -> Option<i64> {
        if let Value::Int(value) = self.resolved() { Some(value) } else { None }
    }

    /// A whole number that fits the type asked for.
    pub fn number<T: TryFrom<i64>>(&self) -> Option<T> {
        T::try_from(self.int()?).ok()
    }

    /// A duration such as `10s`.
    pub fn duration(&self) -> Option<Duration> {
        format::duration(self.text()?).ok()
    }

    /// A size in bytes such as `32KiB`, or a plain number of bytes.
    pub fn size(&self) -> Option<u64> {
        match self.int() {
            Some(bytes) => u64::try_from(bytes).ok(),
            None => format::size(self.text()?).ok(),
        }
    }

    /// A network such as `10.0.0.0/8`; a bare address is the network of itself. IPv4-mapped IPv6 is IPv4.
    pub fn network(&self) -> Option<IpNet> {
        format::network(self.text()?).ok()
    }

    /// The items of a list; nothing for anything else.
    pub fn list(&self) -> &[Node] {
        if let Value::List(items) = &self.value { items } else { &[] }
    }

    /// The items of a list, or the node itself as the only one.
    pub fn one_or_many(&self) -> &[Node] {
        if let Value::List(items) = &self.value { items } else { std::slice::from_ref(self) }
    }

    /// A mapping.
    pub fn map(&self) -> Option<&Mapping> {
        if let Value::Map(map) = &self.value { Some(map) } else { None }
    }

    /// Whether this is `null`.
    pub fn is_null(&self) -> bool {
        matches!(self.value, Value::Null)
    }

    /// The value in JSON's terms. `None` when a number in it has none (infinity, not a number).
    pub fn to_json(&self) -> Option<serde_json::Value> {
        Some(match &self.value {
            Value::Null => serde_json::Value::Null,
            Value::Bool(value) => (*value).into(),
            Value::Int(value) => (*value).into(),
            Value::Float(value) => serde_json::Number::from_f64(*value)?.into(),
            Value::Text(text) => text.as_str().into(),
            Value::List(items) => items.iter().map(Node::to_json).collect::<Option<Vec<_>>>()?.into(),
            Value::Map(map) => {
                let entries = map.entries.iter().map(|entry| Some((entry.key.text.clone(), entry.value.to_json()?)));
                serde_json::Value::Object(entries.collect::<Option<_>>()?)
            }
        })
    }

    /// The value, with text from the environment read again by the core schema.
    pub(super) fn resolved(&self) -> Value {
        match &self.value {
            Value::Text(text) if self.expanded => scalar::resolve(text).unwrap_or_else(|_| Value::Text(String::new())),
            Value::Bool(value) => Value::Bool(*value),
            Value::Int(value) => Value::Int(*value),
            Value::Float(value) => Value::Float(*value),
            Value::Null | Value::Text(_) | Value::List(_) | Value::Map(_) => Value::Null,
        }
    }
}

impl Mapping {
    /// The value of a key.
    pub fn get(&self, key: &str) -> Option<&Node> {
        self.entry(key).map(|entry| &entry.value)
    }

    /// The entry of a key.
    pub fn entry(&self, key: &str) -> Option<&Entry> {
        self.entries.iter().find(|entry| entry.key.text == key)
    }

    /// All entries in the order they are written.
    pub fn entries(&self) -> impl Iterator<Item = &Entry> {
        self.entries.iter()
    }

    /// Those entries that are not the author's own (`x-`): for mappings with fixed keys.
    pub fn declared(&self) -> impl Iterator<Item = &Entry> {
        self.entries.iter().filter(|entry| !entry.key.text.starts_with("x-"))
    }

    /// How many entries there are.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there is no entry.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The text under a key.
    pub fn text(&self, key: &str) -> Option<&str> {
        self.get(key)?.text()
    }

    /// The boolean under a key.
    pub fn bool(&self, key: &str) -> Option<bool> {
        self.get(key)?.bool()
    }

    /// The whole number under a key.
    pub fn int(&self, key: &str) -> Option<i64> {
        self.get(key)?.int()
    }

    /// The duration under a key.
    pub fn duration(&self, key: &str) -> Option<Duration> {
        self.get(key)?.duration()
    }

    /// The size under a key, in bytes.
    pub fn size(&self, key: &str) -> Option<u64> {
        self.get(key)?.size()
    }

    /// The mapping under a key.
    pub fn map(&self, key: &str) -> Option<&Mapping> {
        self.get(key)?.map()
    }

    /// The items of the list under a key; nothing when there is none.
    pub fn list(&self, key: &str) -> &[Node] {
        self.get(key).map_or(&[], Node::list)
    }

    /// The items of the list under a key, or its only value; nothing when the key is absent.
    pub fn one_or_many(&self, key: &str) -> &[Node] {
        self.get(key).map_or(&[], Node::one_or_many)
    }
}

impl Key {
    /// The key as a place that outlives parsing.
    pub fn place(&self, source: &Arc<Source>) -> Place {
        Place { source: Arc::clone(source), span: self.span }
    }
}
