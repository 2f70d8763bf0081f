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
use crate::target::scan;

/// A path as a look-up sees it: decoded text, a slash before every segment.
#[derive(Debug, Clone, Copy)]
pub(super) struct View<'v> {
    pub(super) text: &'v str,
    /// No letter in it has another case to fold to.
    pub(super) folded: bool,
}

/// Where the first segment of a path begins. Every other begins behind the slash that ends the one before; behind the last
/// one, that is beyond the end.
const FIRST: usize = 1;

impl<'v> View<'v> {
    /// The text of the segment that begins here; `None` beyond the last.
    fn segment(&self, start: usize) -> Option<&'v str> {
        let rest = self.text.get(start..)?;
        scan::find(b'/', rest.as_bytes()).map_or(Some(rest), |end| rest.get(..end))
    }

    /// Where the segments that begin here are; empty at the end when there is none.
    fn rest(&self, start: usize) -> Span {
        (start.min(self.text.len()), self.text.len())
    }

    /// Whether the last segment is empty and not the only one.
    pub(super) fn has_trailing_slash(&self) -> bool {
        self.text.len() > FIRST && self.text.ends_with('/')
    }

    /// The same without its trailing slash.
    pub(super) fn without_trailing_slash(self) -> Self {
        let text = self.text.strip_suffix('/').filter(|_| self.has_trailing_slash()).unwrap_or(self.text);
        Self { text, ..self }
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
    /// The tree of the same patterns folded finds the same: of all texts on the way and beside it, folding makes none match
    /// that does not as it is written.
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
    texts: Texts<Node>,
    capture: Option<Box<Node>>,
    rest: Option<Endpoint>,
    end: Option<Endpoint>,
    /// The texts of those children that have letters to fold, folded, and how many of them become one.
    unfolded: Option<Box<Texts<usize>>>,
}

/// Values under what a pattern says of a segment: all of it, or how it begins and ends.
#[derive(Debug)]
struct Texts<T> {
    literals: ByText<T>,
    mixed: ByLength<ByLength<T>>,
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

impl<T> ByLength<T> {
    fn find(&self, key: &str) -> Option<&T> {
        self.values.find(key)
    }

    fn entry(&mut self, key: &str) -> &mut T
    where
        T: Default,
    {
        if let Err(position) = self.lengths.binary_search_by(|length| key.len().cmp(length)) {
            self.lengths.insert(position, key.len());
        }
        self.values.entry(key, T::default)
    }

    /// Values whose key begins the text, the longest first, with the key's length.
    fn prefixes_of<'s>(&'s self, text: &str) -> impl Iterator<Item = (usize, &'s T)> {
        self.lengths.iter().filter_map(move |length| Some((*length, self.find(text.get(..*length)?)?)))
    }

    /// Values whose key ends the text, the longest first, with the key's length.
    fn suffixes_of<'s>(&'s self, text: &str) -> impl Iterator<Item = (usize, &'s T)> {
        self.lengths.iter().filter_map(move |length| {
            let begin = text.len().checked_sub(*length)?;
            Some((*length, self.find(text.get(begin..)?)?))
        })
    }
}

impl<T> Default for Texts<T> {
    fn default() -> Self {
        Self { literals: ByText::default(), mixed: ByLength::default() }
    }
}

impl<T> Texts<T> {
    /// Values whose texts leave something between them, with where that is in the segment; best shape first.
    fn around<'s>(&'s self, segment: &str) -> impl Iterator<Item = (Span, &'s T)> {
        self.mixed.prefixes_of(segment).flat_map(move |(prefix, suffixes)| {
            suffixes.suffixes_of(segment).filter_map(move |(suffix, value)| {
                let end = segment.len().checked_sub(suffix).filter(|end| prefix < *end)?;
                Some(((prefix, end), value))
            })
        })
    }

    fn is_empty(&self) -> bool {
        self.literals.is_empty() && self.mixed.values.is_empty()
    }

    /// Every value whose texts match.
    fn matching<'s>(&'s self, segment: &str) -> impl Iterator<Item = &'s T> {
        self.literals.find(segment).into_iter().chain(self.around(segment).map(|(_, value)| value))
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
                Shape::Literal(text) => {
                    if !is_folded(text) && node.texts.literals.find(text).is_none() {
                        let unfolded = node.unfolded.get_or_insert_default();
                        *unfolded.literals.entry(&fold_text(text), || 0) += 1;
                    }
                    node.texts.literals.entry(text, Node::default)
                }
                Shape::Mixed { prefix, capture, suffix } => {
                    captures.push(capture);
                    let known = node.texts.mixed.find(prefix).and_then(|suffixes| suffixes.find(suffix));
                    if known.is_none() && !(is_folded(prefix) && is_folded(suffix)) {
                        let unfolded = node.unfolded.get_or_insert_default();
                        *unfolded.mixed.entry(&fold_text(prefix)).entry(&fold_text(suffix)) += 1;
                    }
                    node.texts.mixed.entry(prefix).entry(suffix)
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
        // Segments are compared with their folded form byte by byte, which would not do for letters beyond ASCII.
        let folds_alike = view.folded || view.text.is_ascii();
        let mut walk = Walk { view, spans: Spans::new(), folds_alike };
        let endpoint = self.walk(FIRST, &mut walk)?;
        Some(Found { endpoint, spans: walk.spans, folds_alike: walk.folds_alike })
    }

    fn walk(&self, start: usize, walk: &mut Walk<'_>) -> Option<&Endpoint> {
        let Some(segment) = walk.view.segment(start) else {
            return self.end.as_ref().or_else(|| self.rest(start, walk));
        };
        let next = start + segment.len() + 1;
        walk.folds_alike = walk.folds_alike && self.folds_alike(segment, walk.view);
        let literal = self.texts.literals.find(segment);
        if let Some(endpoint) = literal.and_then(|node| node.walk(next, walk)) {
            return Some(endpoint);
        }
        for ((begin, end), node) in self.texts.around(segment) {
            if let Some(endpoint) = node.after(next, (start + begin, start + end), walk) {
                return Some(endpoint);
            }
        }
        let whole = (start, start + segment.len());
        if !segment.is_empty()
            && let Some(endpoint) = self.capture.as_ref().and_then(|node| node.after(next, whole, walk))
        {
            return Some(endpoint);
        }
        self.rest(start, walk)
    }

    /// Whether folding letters, in the segment as in the children's texts, leaves the same children matching. It loses none
    /// of them, so they need only be counted.
    fn folds_alike(&self, segment: &str, view: View<'_>) -> bool {
        let unfolded = |segment| self.unfolded.as_ref().map_or(0, |texts| texts.matching(segment).sum::<usize>());
        if view.folded || self.texts.is_empty() || is_folded(segment) {
            return unfolded(segment) == 0;
        }
        let folded: SmallVec<[u8; 64]> = segment.bytes().map(|byte| byte.to_ascii_lowercase()).collect();
        std::str::from_utf8(&folded).is_ok_and(|folded| {
            self.texts.matching(segment).count() == self.texts.matching(folded).count() + unfolded(folded)
        })
    }

    /// Goes on behind a segment in which a capture matched; forgets the capture when that leads nowhere.
    fn after(&self, next: usize, span: Span, walk: &mut Walk<'_>) -> Option<&Endpoint> {
        walk.spans.push(span);
        let endpoint = self.walk(next, walk);
        if endpoint.is_none() {
            walk.spans.pop();
        }
        endpoint
    }

    fn rest(&self, start: usize, walk: &mut Walk<'_>) -> Option<&Endpoint> {
        let endpoint = self.rest.as_ref()?;
        walk.spans.push(walk.view.rest(start));
        Some(endpoint)
    }

    /// Every endpoint of the tree.
    pub(super) fn endpoints(&self) -> Vec<&Endpoint> {
        let mut found = Vec::new();
        let mut nodes = vec![self];
        while let Some(node) = nodes.pop() {
            found.extend(node.end.iter().chain(&node.rest));
            nodes.extend(node.texts.literals.values());
            nodes.extend(node.texts.mixed.values.values().flat_map(|suffixes| suffixes.values.values()));
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

#[cfg(test)]
mod tests {
    use super::super::pattern::PathPattern;
    use super::*;

    #[test]
    fn a_path_is_looked_up_once_where_folding_lets_nothing_else_match() {
        let mut tree = Node::default();
        for (entry, path) in
            [["admin", "a"], ["Shop", "a"], ["Shop", "b"], ["Both", "a"], ["both", "a"]].iter().enumerate()
        {
            tree.insert(&path.map(str::to_owned), entry);
        }
        let folds_alike = |text: &str| {
            let view = View { text, folded: is_folded(text) };
            tree.find(view).map(|found| found.folds_alike)
        };
        for (path, alike) in [
            ("/admin/a", Some(true)),
            ("/Shop/b", Some(true)),
            ("/both/a", Some(false)),
            ("/Both/a", Some(false)),
            ("/shop/a", None),
        ] {
            assert_eq!(folds_alike(path), alike, "{path}");
        }
    }

    #[test]
    fn a_text_around_a_capture_has_letters_to_fold_if_either_part_has() {
        let pattern = |text: &str| PathPattern::parse(text).unwrap().segments().to_vec();
        let mut tree = Node::default();
        for (entry, text) in ["/{*rest}", "/a{c}B", "/C{c}d", "/e{c}f"].iter().enumerate() {
            tree.insert(&pattern(text), entry);
        }
        // Folded, another pattern would match what only the rest matches as it is written.
        for (path, alike) in [("/axb", false), ("/cxd", false), ("/exf", true), ("/x", true)] {
            let found = tree.find(View { text: path, folded: true }).unwrap();
            assert_eq!(found.folds_alike, alike, "{path}");
        }
    }
}
