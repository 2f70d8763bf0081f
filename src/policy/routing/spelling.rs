//! The patterns of a table as servers may read them: one tree for every list of patterns that readings make of them.
//!
//! Few readings change a pattern - letters, and a trailing slash where one is written -, so there are few trees.

use std::collections::{BTreeMap, HashSet};

use super::reading::{ReadingSet, Step};
use super::trie::{Endpoint, Node};
use super::{ConflictKind, RouteConflict, RouteEntry};
use crate::target::PathRules;
use crate::target::quirks::ReadingKind;

/// The position of a spelling.
pub(super) type SpellingId = usize;

/// The patterns after some readings, as a tree.
#[derive(Debug)]
pub(super) struct Spelling {
    pub(super) tree: Node,
    /// What every step makes of it; a step that changes nothing leads to itself.
    next: [SpellingId; Step::ALL.len()],
}

/// All spellings of a table; the first is as written.
#[derive(Debug)]
pub(super) struct Spellings {
    all: Vec<Spelling>,
    /// The kinds that change any pattern.
    pub(super) changing: ReadingSet,
}

/// Every pattern's segments; `None` where a reading left nothing that a request could match.
type Patterns = Vec<Option<Vec<String>>>;

impl Spellings {
    /// The spellings that servers with the entries' quirks may make of their patterns.
    pub(super) fn new(entries: &[RouteEntry], rules: PathRules) -> Self {
        let steps: Vec<Step> =
            Step::ALL.into_iter().filter(|step| entries.iter().any(|entry| step.is_possible(&entry.quirks))).collect();
        let mut lists: Vec<Patterns> =
            vec![entries.iter().map(|entry| Some(entry.pattern.segments().to_vec())).collect()];
        let mut nexts = Vec::new();
        let mut changing = ReadingSet::default();
        while let Some(patterns) = lists.get(nexts.len()).cloned() {
            let mut next = [nexts.len(); Step::ALL.len()];
            for step in &steps {
                let Some(read) = read_all(*step, &patterns, rules) else { continue };
                changing = changing.with(step.kind());
                let known = lists.iter().position(|list| *list == read);
                if let Some(next) = next.get_mut(*step as usize) {
                    *next = known.unwrap_or(lists.len());
                }
                if known.is_none() {
                    lists.push(read);
                }
            }
            nexts.push(next);
        }
        let all = lists.iter().zip(nexts).map(|(list, next)| Spelling { tree: tree(list, entries), next }).collect();
        Self { all, changing }
    }

    /// The tree of a spelling.
    pub(super) fn tree(&self, id: SpellingId) -> Option<&Node> {
        self.all.get(id).map(|spelling| &spelling.tree)
    }

    /// What a step makes of a spelling.
    pub(super) fn after(&self, id: SpellingId, step: Step) -> SpellingId {
        self.all.get(id).and_then(|spelling| spelling.next.get(step as usize)).copied().unwrap_or(id)
    }

    /// The spelling that requests are matched against first.
    pub(super) fn matched(&self, always: ReadingSet) -> SpellingId {
        always.steps().fold(0, |id, step| self.after(id, step))
    }

    /// Routes that are one shape where they must not be: as written, as they are matched, or as some server reads them.
    pub(super) fn conflicts(&self, entries: &[RouteEntry], always: ReadingSet) -> Vec<RouteConflict> {
        let mut found: BTreeMap<(usize, usize), ConflictKind> = BTreeMap::new();
        let mut reachable: Vec<(SpellingId, Steps)> = self.reachable().into_iter().collect();
        reachable.sort_by_key(|(id, steps)| (steps.0.count_ones(), steps.0, *id));
        for (id, steps) in reachable {
            let as_written = id == 0;
            let as_matched = id == self.matched(always);
            let is_always_read = always.steps().all(|step| steps.has_kind(step.kind()) || self.after(id, step) == id);
            if !as_written && !as_matched && !is_always_read {
                continue;
            }
            for (first, second) in self.tree(id).map(Node::endpoints).unwrap_or_default().into_iter().flat_map(pairs) {
                let (Some(one), Some(other)) = (entries.get(first), entries.get(second)) else { continue };
                let methods: Vec<Box<str>> = one.methods.common(&other.methods).map(Into::into).collect();
                let types = (as_written || as_matched) && one.types != other.types;
                let matters = as_written || as_matched || steps.are_possible(one) || steps.are_possible(other);
                if matters && (types || !methods.is_empty()) {
                    let kind = if as_written {
                        ConflictKind::SameShape { types, methods }
                    } else {
                        ConflictKind::Reading(steps.kinds())
                    };
                    found.entry((first.min(second), first.max(second))).or_insert(kind);
                }
            }
        }
        let conflict = |((first, second), kind): ((usize, usize), ConflictKind)| {
            Some(RouteConflict { first: entries.get(first)?.id, second: entries.get(second)?.id, kind })
        };
        found.into_iter().filter_map(conflict).collect()
    }

    /// Every spelling with the steps that lead to it, no kind of reading done twice and none that changes nothing.
    fn reachable(&self) -> HashSet<(SpellingId, Steps)> {
        let mut reached = HashSet::new();
        let mut open = vec![(0, Steps::default())];
        while let Some((id, steps)) = open.pop() {
            if !reached.insert((id, steps)) {
                continue;
            }
            for step in Step::ALL.into_iter().filter(|step| !steps.has_kind(step.kind())) {
                let next = self.after(id, step);
                if next != id {
                    open.push((next, Steps(steps.0 | 1 << step as u16)));
                }
            }
        }
        reached
    }
}

/// A set of steps.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
struct Steps(u16);

impl Steps {
    fn steps(self) -> impl Iterator<Item = Step> {
        Step::ALL.into_iter().filter(move |step| self.0 & 1 << *step as u16 != 0)
    }

    fn has_kind(self, kind: ReadingKind) -> bool {
        self.steps().any(|step| step.kind() == kind)
    }

    fn kinds(self) -> ReadingSet {
        self.steps().map(Step::kind).collect()
    }

    /// Whether the server behind a route may do all of them.
    fn are_possible(self, entry: &RouteEntry) -> bool {
        self.steps().all(|step| step.is_possible(&entry.quirks))
    }
}

fn pairs(endpoint: &Endpoint) -> impl Iterator<Item = (usize, usize)> {
    let entries = || endpoint.terminals.iter().map(|terminal| terminal.entry);
    entries().enumerate().flat_map(move |(index, first)| entries().skip(index + 1).map(move |second| (first, second)))
}

/// What a step makes of all patterns; `None` when it changes none.
fn read_all(step: Step, patterns: &Patterns, rules: PathRules) -> Option<Patterns> {
    if !patterns.iter().flatten().any(|pattern| step.changes_path(pattern)) {
        return None;
    }
    let read = |pattern: &Option<Vec<String>>| match pattern {
        // No path that such a server reads has a `;`.
        Some(segments) if step == Step::EndAtSemicolon && step.changes_path(segments) => None,
        Some(segments) if step.changes_path(segments) => step.read(segments, rules).ok(),
        unchanged => unchanged.clone(),
    };
    Some(patterns.iter().map(read).collect())
}

fn tree(patterns: &Patterns, entries: &[RouteEntry]) -> Node {
    let mut tree = Node::default();
    for (index, segments) in patterns.iter().enumerate() {
        if let Some(segments) = segments {
            tree.insert(segments, index).set_allow(|entry| entries.get(entry).map(|entry| &entry.methods));
        }
    }
    tree
}
