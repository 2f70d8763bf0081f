//! Mutants: a policy document with one place made laxer, or plainly wrong. Tests that pass against a mutant would not
//! notice the mistake.

mod conditions;
mod routes;
mod same;

use std::sync::Arc;

pub use self::same::asks_the_same;

use crate::diagnostic::{Place, Source, Span};
use crate::document::{Edit, Mapping, Node, Value};

/// A document with one change.
#[derive(Debug, Clone)]
pub struct Mutant {
    /// Where the change is.
    pub place: Place,
    /// What sort of change it is.
    pub operator: Operator,
    /// What changes, in words.
    pub change: String,
    /// Which requests it can decide otherwise.
    pub reach: Reach,
    edits: Vec<(Vec<usize>, Edit)>,
}

/// Which requests a change can decide otherwise.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reach {
    /// Any.
    All,
    /// Those for the routes at these positions, and those that would have been for them.
    Shape(Vec<usize>),
    /// Those for the routes at these positions, and no other.
    Routes(Vec<usize>),
}

/// A sort of change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Operator {
    /// A condition is gone.
    DropCondition,
    /// One of several alternatives is gone.
    DropAlternative,
    /// `all_of` becomes `any_of`.
    AllToAny,
    /// `any_of` becomes `all_of`.
    AnyToAll,
    /// `not` is gone, what it negates stays.
    DropNot,
    /// A word of a set expression is gone.
    DropWord,
    /// One of several values that are accepted is gone.
    DropValue,
    /// `network` becomes every address.
    WidenNetwork,
    /// A type of a parameter is gone.
    WidenType,
    /// Client-credentials tokens are spared what binds them.
    Bypass,
    /// A bypass, or the refusal of client credentials, is gone.
    Enforce,
    /// `lift` is gone.
    DropLift,
    /// `narrow` is gone.
    DropNarrow,
    /// A method, or a route with its only method, is gone.
    DropMethod,
    /// Two routes ask for each other's conditions.
    SwapRequirements,
    /// A token is asked for where none was, or the other way round.
    Token,
    /// Tokens of other issuers count.
    Issuers,
    /// The policy only observes.
    Observe,
    /// A host is gone.
    DropHost,
    /// Something that forwarding does is gone.
    DropEffect,
}

impl Operator {
    /// The word used in reports.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::DropCondition => "drop condition",
            Self::DropAlternative => "drop alternative",
            Self::AllToAny => "all_of to any_of",
            Self::AnyToAll => "any_of to all_of",
            Self::DropNot => "drop not",
            Self::DropWord => "drop word",
            Self::DropValue => "drop value",
            Self::WidenNetwork => "widen network",
            Self::WidenType => "widen type",
            Self::Bypass => "bypass",
            Self::Enforce => "enforce",
            Self::DropLift => "drop lift",
            Self::DropNarrow => "drop narrow",
            Self::DropMethod => "drop method",
            Self::SwapRequirements => "swap requirements",
            Self::Token => "token",
            Self::Issuers => "issuers",
            Self::Observe => "observe",
            Self::DropHost => "drop host",
            Self::DropEffect => "drop effect",
        }
    }
}

impl Mutant {
    /// The changed document. `None`: the change does not fit this document.
    pub fn of(&self, document: &Node) -> Option<Node> {
        let mut edits = self.edits.iter();
        let (path, edit) = edits.next()?;
        let first = document.edited(path, edit)?;
        edits.try_fold(first, |changed, (path, edit)| changed.edited(path, edit))
    }

    /// The changed document with no other routes than those that the change reaches. `None`: it reaches all.
    pub fn alone(&self, document: &Node) -> Option<Node> {
        let routes = self.reach.routes()?;
        let position = document.map()?.entries().position(|entry| entry.key.text == "routes")?;
        let mut changed = only_routes(document, routes)?;
        for (path, edit) in &self.edits {
            let mut path = path.clone();
            if let [first, route, ..] = path.as_mut_slice()
                && *first == position
            {
                *route = routes.iter().position(|number| number == route)?;
            }
            changed = changed.edited(&path, edit)?;
        }
        Some(changed)
    }
}

impl Reach {
    /// The positions of the routes, unless they are all.
    pub fn routes(&self) -> Option<&[usize]> {
        match self {
            Self::All => None,
            Self::Shape(routes) | Self::Routes(routes) => Some(routes),
        }
    }
}

/// A document with no other routes than those at these positions.
pub fn only_routes(document: &Node, routes: &[usize]) -> Option<Node> {
    let map = document.map()?.keeping("routes", routes);
    Some(Node::made(Value::Map(map), document.span))
}

/// Every mutant of a document. `issuers`: the names of all that are configured. Some of them cannot be compiled.
pub fn mutants(document: &Node, source: &Arc<Source>, issuers: &[&str]) -> Vec<Mutant> {
    let mut maker = Maker { source, issuers, reach: Reach::All, found: Vec::new() };
    if let Some(map) = document.map() {
        maker.document(map);
    }
    maker.found
}

/// Collects mutants of one document.
struct Maker<'m> {
    source: &'m Arc<Source>,
    issuers: &'m [&'m str],
    /// What the changes at hand reach.
    reach: Reach,
    found: Vec<Mutant>,
}

/// Where something stands in the tree, and in the text.
#[derive(Clone)]
struct At {
    path: Vec<usize>,
    span: Span,
}

impl Maker<'_> {
    fn add(&mut self, operator: Operator, at: &At, change: impl Into<String>, edit: Edit) {
        self.add_all(operator, at.span, change.into(), vec![(at.path.clone(), edit)]);
    }

    fn add_all(&mut self, operator: Operator, span: Span, change: String, edits: Vec<(Vec<usize>, Edit)>) {
        let place = Place { source: Arc::clone(self.source), span };
        self.found.push(Mutant { place, operator, change, reach: self.reach.clone(), edits });
    }

    /// Changes that reach further than the conditions at hand.
    fn reaching(&mut self, reach: Reach, make: impl FnOnce(&mut Self)) {
        let before = std::mem::replace(&mut self.reach, reach);
        make(self);
        self.reach = before;
    }

    /// Drops the items of a list one by one, as long as there are several.
    fn drop_items(&mut self, operator: Operator, list: &Node, path: &[usize], what: &str) {
        let items = list.list();
        if items.len() < 2 {
            return;
        }
        for (number, item) in items.iter().enumerate() {
            let at = At { path: child(path, number), span: item.span };
            self.add(operator, &at, format!("{what} without `{}`", shown(item)), Edit::Remove);
        }
    }
}

/// The path of a child.
fn child(path: &[usize], number: usize) -> Vec<usize> {
    let mut path = path.to_vec();
    path.push(number);
    path
}

/// The entry of a key: its path, the place of the key, and its value.
fn entry<'n>(map: &'n Mapping, path: &[usize], key: &str) -> Option<(At, &'n Node)> {
    let number = map.entries().position(|entry| entry.key.text == key)?;
    let entry = map.entry(key)?;
    Some((At { path: child(path, number), span: entry.key.span }, &entry.value))
}

/// A value in short.
fn shown(node: &Node) -> String {
    let text = match node.text() {
        Some(text) => text.to_owned(),
        None => node.to_json().unwrap_or_default().to_string(),
    };
    if text.chars().count() > 60 { text.chars().take(57).chain("...".chars()).collect() } else { text }
}

#[cfg(test)]
mod tests;
