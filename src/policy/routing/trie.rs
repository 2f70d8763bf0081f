//! The tree of shapes: per segment literal, then literal with a capture inside, then capture, then rest (policy.md, "Best
//! shape is final").
//!
//! Nothing is compared with more than the few children whose prefix lengths differ, so the number of routes does not show
//! in the time of a look-up.

use smallvec::SmallVec;

use super::methods::MethodSet;
use super::pattern::{Shape, shape};
use crate::policy::texts::ByText;
use crate::target::fold::{fold_text, is_folded};

/// A path as a look-up sees it: decoded text and where its segments begin.
#[derive(Debug, Clone, Copy)]
pub(super) struct View<'v> {
    pub(super) text: &'v str,
    pub(super) starts: &'v [usize],
    /// No letter in it has another case to fold to.
    pub(super) folded: bool,
}

impl<'v> View<'v> {
    /// The text of a segment; `None` beyond the last.
    fn segment(&self, index: usize) -> Option<&'v str> {
        let start = *self.starts.get(index)?;
        let end = self.starts.get(index + 1).map_or(self.text.len(), |next| next - 1);
        self.text.get(start..end)
    }

    /// Where the segments from `index` on are; empty at the end when there is none.
    fn rest(&self, index: usize) -> Span {
        (self.starts.get(index).map_or(self.text.len(), |start| *start), self.text.len())
    }

    /// Whether the last segment is empty and not the only one.
    pub(super) fn has_trailing_slash(&self) -> bool {
        self.starts.len() > 1 && self.text.ends_with('/')
    }

    /// The same without its trailing slash.
    pub(super) fn without_trailing_slash(self) -> Self {
        match (self.starts.split_last(), self.text.strip_suffix('/')) {
            (Some((_, starts)), Some(text)) if self.has_trailing_slash() => Self { text, starts, ..self },
            _ => self,
        }
    }
}

/// Begin and end of what a capture matched.
pub(super) type Span = (usize, usize);

/// The text that a capture matched.
pub(super) fn piece(text: &str, (start, end): Span) -> &str {
    text.get(start..end).unwrap_or_default()
}

/// What captures matched, in the order in which they stand in the path.
pub(super) type Spans = SmallVec<[Span; 4]>;

/// What a look-up finds.
#[derive(Debug)]
pub(super) struct Found<'r> {
    pub(super) endpoint: &'r Endpoint,
    pub(super) spans: Spans,
    /// The tree of the same patterns folded finds the same, as there is nothing to fold in the path, nor in any text beside
    /// its way that would match it then.
    pub(super) folds_alike: bool,
}

/// What a look-up notes on its way.
struct Walk<'v> {
    view: View<'v>,
    spans: Spans,
    folds_alike: bool,
}

/// A route at the end of its shape.
#[derive(Debug, Clone)]
pub(super) struct Terminal {
    /// Position in the router's entries.
    pub(super) entry: usize,
    /// The pattern's number of each capture along the shape, as some readings drop captures.
    pub(super) captures: SmallVec<[u8; 8]>,
}

impl Terminal {
    /// What a capture of the route matched; nothing where the shape has lost it.
    pub(super) fn span(&self, number: usize, found: &Spans) -> Span {
        let position = self.captures.iter().position(|capture| usize::from(*capture) == number);
        position.and_then(|position| found.get(position)).copied().unwrap_or_default()
    }
}

/// All routes of one shape.
#[derive(Debug, Default)]
pub(super) struct Endpoint {
    pub(super) terminals: Vec<Terminal>,
    /// The methods of all of them, as `Allow` lists them.
    pub(super) allow: Box<str>,
}

/// A node of the tree.
#[derive(Debug, Default)]
pub(super) struct Node {
    literals: ByText<Node>,
    prefixes: ByLength<ByLength<Node>>,
    capture: Option<Box<Node>>,
    rest: Option<Endpoint>,
    end: Option<Endpoint>,
    unfolded: Option<Box<Unfolded>>,
}

/// The texts of a node's children that have letters to fold, folded.
#[derive(Debug, Default)]
struct Unfolded {
    literals: ByText<()>,
    prefixes: ByLength<()>,
}

/// Values under texts, looked up by every length that occurs, the longest first.
#[derive(Debug)]
struct ByLength<T> {
    lengths: Vec<usize>,
    values: ByText<T>,
}

impl<T> Default for ByLength<T> {
    fn default() -> Self {
        Self { lengths: Vec::new(), values: ByText::default() }
    }
}

impl<T: Default> ByLength<T> {
    fn entry(&mut self, key: &str) -> &mut T {
        if let Err(position) = self.lengths.binary_search_by(|length| key.len().cmp(length)) {
            self.lengths.insert(position, key.len());
        }
        self.values.entry(key, T::default)
    }

    /// Values whose key begins the text, the longest first, with the key's length.
    fn prefixes_of<'s>(&'s self, text: &str) -> impl Iterator<Item = (usize, &'s T)> {
        self.lengths.iter().filter_map(move |length| Some((*length, self.values.find(text.get(..*length)?)?)))
    }

    /// Values whose key ends the text, the longest first, with the key's length.
    fn suffixes_of<'s>(&'s self, text: &str) -> impl Iterator<Item = (usize, &'s T)> {
        self.lengths.iter().filter_map(move |length| {
            let begin = text.len().checked_sub(*length)?;
            Some((*length, self.values.find(text.get(begin..)?)?))
        })
    }
}

impl Unfolded {
    /// Whether a text without letters to fold may match one of these texts when they are folded.
    fn would_match(&self, segment: &str) -> bool {
        self.literals.find(segment).is_some() || self.prefixes.prefixes_of(segment).next().is_some()
    }
}

impl Node {
    /// Adds a route under the shape of these segments and gives the routes that were there.
    pub(super) fn insert(&mut self, segments: &[String], entry: usize) -> &mut Endpoint {
        let mut captures = SmallVec::new();
        let endpoint = self.endpoint(segments, &mut captures);
        endpoint.terminals.push(Terminal { entry, captures });
        endpoint
    }

    fn endpoint(&mut self, segments: &[String], captures: &mut SmallVec<[u8; 8]>) -> &mut Endpoint {
        let mut node = self;
        for segment in segments {
            node = match shape(segment) {
                Shape::Literal(text) if !is_folded(text) => {
                    node.unfolded.get_or_insert_default().literals.entry(&fold_text(text), || ());
                    node.literals.entry(text, Node::default)
                }
                Shape::Literal(text) => node.literals.entry(text, Node::default),
                Shape::Mixed { prefix, capture, suffix } => {
                    captures.push(capture);
                    if !is_folded(prefix) || !is_folded(suffix) {
                        node.unfolded.get_or_insert_default().prefixes.entry(&fold_text(prefix));
                    }
                    node.prefixes.entry(prefix).entry(suffix)
                }
                Shape::Capture(capture) => {
                    captures.push(capture);
                    node.capture.get_or_insert_default()
                }
                Shape::Rest(capture) => {
                    captures.push(capture);
                    return node.rest.get_or_insert_default();
                }
            };
        }
        node.end.get_or_insert_default()
    }

    /// The best shape for a path, and what its captures matched.
    pub(super) fn find(&self, view: View<'_>) -> Option<Found<'_>> {
        let mut walk = Walk { view, spans: Spans::new(), folds_alike: view.folded };
        let endpoint = self.walk(0, &mut walk)?;
        Some(Found { endpoint, spans: walk.spans, folds_alike: walk.folds_alike })
    }

    fn walk(&self, index: usize, walk: &mut Walk<'_>) -> Option<&Endpoint> {
        let Some(segment) = walk.view.segment(index) else {
            return self.end.as_ref().or_else(|| self.rest(index, walk));
        };
        if let Some(unfolded) = &self.unfolded {
            walk.folds_alike &= !unfolded.would_match(segment);
        }
        let literal = self.literals.find(segment);
        if let Some(endpoint) = literal.and_then(|node| node.walk(index + 1, walk)) {
            return Some(endpoint);
        }
        let start = walk.view.rest(index).0;
        for (prefix, suffixes) in self.prefixes.prefixes_of(segment) {
            for (suffix, node) in suffixes.suffixes_of(segment) {
                let span = (start + prefix, start + segment.len().saturating_sub(suffix));
                if span.0 < span.1
                    && let Some(endpoint) = node.after(index, span, walk)
                {
                    return Some(endpoint);
                }
            }
        }
        let whole = (start, start + segment.len());
        if !segment.is_empty()
            && let Some(endpoint) = self.capture.as_ref().and_then(|node| node.after(index, whole, walk))
        {
            return Some(endpoint);
        }
        self.rest(index, walk)
    }

    /// Goes on behind a segment in which a capture matched; forgets the capture when that leads nowhere.
    fn after(&self, index: usize, span: Span, walk: &mut Walk<'_>) -> Option<&Endpoint> {
        walk.spans.push(span);
        let endpoint = self.walk(index + 1, walk);
        if endpoint.is_none() {
            walk.spans.pop();
        }
        endpoint
    }

    fn rest(&self, index: usize, walk: &mut Walk<'_>) -> Option<&Endpoint> {
        let endpoint = self.rest.as_ref()?;
        walk.spans.push(walk.view.rest(index));
        Some(endpoint)
    }

    /// Every endpoint of the tree.
    pub(super) fn endpoints(&self) -> Vec<&Endpoint> {
        let mut found = Vec::new();
        let mut nodes = vec![self];
        while let Some(node) = nodes.pop() {
            found.extend(node.end.iter().chain(&node.rest));
            nodes.extend(node.literals.values());
            nodes.extend(node.prefixes.values.values().flat_map(|suffixes| suffixes.values.values()));
            nodes.extend(node.capture.as_deref());
        }
        found
    }
}

impl Endpoint {
    /// Writes down what `Allow` says.
    pub(super) fn set_allow<'m>(&mut self, methods: impl Fn(usize) -> Option<&'m MethodSet>) {
        let mut all = MethodSet::default();
        for methods in self.terminals.iter().filter_map(|terminal| methods(terminal.entry)) {
            all.extend(methods);
        }
        self.allow = all.names().collect::<Vec<_>>().join(", ").into();
    }
}
