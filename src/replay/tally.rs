//! What deciding again came to, counted.

use std::collections::HashMap;
use std::hash::Hash;

use serde_json::{Value, json};

use super::Outcome;

/// Malformed lines that are shown.
const SHOWN: usize = 5;
/// Bytes of such a line that are shown.
const SHOWN_BYTES: usize = 200;

/// Requests of one kind, and one of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Group {
    /// How many.
    pub count: u64,
    /// The first.
    pub example: Box<str>,
}

/// A change that requests of one route and client have in common.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Change {
    /// The policy that decided then.
    pub policy: Box<str>,
    /// The route that decided then; empty: none matched.
    pub route: Box<str>,
    /// The OAuth client; empty: none is known.
    pub client: Box<str>,
    /// What was decided then.
    pub then: Outcome,
    /// What is decided now.
    pub now: Outcome,
}

/// The outcome of a replay.
#[derive(Debug, Clone, Default)]
pub struct Tally {
    /// Records that were decided again.
    pub records: u64,
    /// Those decided as then.
    pub same: u64,
    /// Changes.
    pub changes: HashMap<Change, Group>,
    /// What records lack.
    pub unknown: HashMap<Box<str>, Group>,
    /// Lines of another kind.
    pub other: u64,
    /// Lines that are nothing that can be read.
    pub malformed: u64,
    /// Some of them, with what is wrong.
    pub shown: Vec<String>,
}

impl Tally {
    /// Counts a change.
    pub fn changed(&mut self, change: Change, example: &str) {
        self.records += 1;
        add(&mut self.changes, change, example);
    }

    /// Counts a record that lacks something.
    pub fn lacking(&mut self, what: Box<str>, example: &str) {
        self.records += 1;
        add(&mut self.unknown, what, example);
    }

    /// Counts a line that is nothing.
    pub fn malformed(&mut self, line: &[u8], why: &str) {
        self.malformed += 1;
        if self.shown.len() < SHOWN {
            let line = String::from_utf8_lossy(line.get(..SHOWN_BYTES).unwrap_or(line));
            self.shown.push(format!("{}: {why}", line.escape_debug()));
        }
    }

    /// Adds what was found further behind in the file.
    pub fn append(&mut self, behind: Self) {
        self.records += behind.records;
        self.same += behind.same;
        self.other += behind.other;
        self.malformed += behind.malformed;
        merge(&mut self.changes, behind.changes);
        merge(&mut self.unknown, behind.unknown);
        self.shown.extend(behind.shown);
        self.shown.truncate(SHOWN);
    }

    /// How many requests are decided otherwise.
    pub fn changed_requests(&self) -> u64 {
        self.changes.values().map(|group| group.count).sum()
    }

    /// How many requests cannot be decided again.
    pub fn unknown_requests(&self) -> u64 {
        self.unknown.values().map(|group| group.count).sum()
    }

    /// The changes, those that concern most requests first.
    pub fn most(&self) -> Vec<(&Change, &Group)> {
        sorted(&self.changes)
    }

    /// What is lacking, most often first.
    pub fn most_lacking(&self) -> Vec<(&str, &Group)> {
        sorted(&self.unknown).into_iter().map(|(what, group)| (&**what, group)).collect()
    }

    /// For programs.
    pub fn to_json(&self) -> Value {
        let changes = self.most().into_iter().map(|(change, group)| {
            json!({
                "policy": change.policy,
                "route": change.route,
                "client": change.client,
                "then": change.then.to_string(),
                "now": change.now.to_string(),
                "count": group.count,
                "example": group.example,
            })
        });
        let unknown = self
            .most_lacking()
            .into_iter()
            .map(|(why, group)| json!({"why": why, "count": group.count, "example": group.example}));
        json!({
            "records": self.records,
            "same": self.same,
            "changed": self.changed_requests(),
            "changes": changes.collect::<Vec<_>>(),
            "unknown": self.unknown_requests(),
            "unknowns": unknown.collect::<Vec<_>>(),
            "other_lines": self.other,
            "malformed": self.malformed,
            "malformed_lines": self.shown,
        })
    }
}

/// Counts one more.
pub(super) fn add<K: Hash + Eq>(groups: &mut HashMap<K, Group>, key: K, example: &str) {
    groups
        .entry(key)
        .and_modify(|group| group.count += 1)
        .or_insert_with(|| Group { count: 1, example: example.into() });
}

/// Adds groups whose members come later.
pub(super) fn merge<K: Hash + Eq>(groups: &mut HashMap<K, Group>, behind: HashMap<K, Group>) {
    for (key, group) in behind {
        groups.entry(key).and_modify(|known| known.count += group.count).or_insert(group);
    }
}

/// The largest groups first, those of one size in the order of their keys.
pub(super) fn sorted<K: Ord>(groups: &HashMap<K, Group>) -> Vec<(&K, &Group)> {
    let mut list: Vec<_> = groups.iter().collect();
    list.sort_by(|(left, one), (right, other)| other.count.cmp(&one.count).then_with(|| left.cmp(right)));
    list
}
