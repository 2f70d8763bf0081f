//! Compares a tree with a declaration and reports every difference.

use std::collections::BTreeSet;
use std::fmt::Display;
use std::sync::Arc;
use std::time::Duration;

use super::node::{Entry, Mapping, Node, Value};
use super::shape::{Fields, Names, Rule, Shape};
use super::{format, scalar};
use crate::diagnostic::{Diagnostics, Source, Span, nearest};

/// Reports everything in which `node` differs from `shape`: unknown keys with the nearest valid one, missing keys,
/// wrong types, misspelt keywords. What was already reported while parsing is not reported again.
pub fn check(node: &Node, shape: &'static Shape, source: &Arc<Source>, problems: &mut Diagnostics) {
    Check { source, problems }.node(node, shape);
}

struct Check<'a> {
    source: &'a Arc<Source>,
    problems: &'a mut Diagnostics,
}

impl Check<'_> {
    fn node(&mut self, node: &Node, shape: &'static Shape) {
        if node.broken {
            return;
        }
        match shape {
            Shape::Nullable(inner) => {
                if !node.is_null() {
                    self.node(node, inner);
                }
            }
            Shape::Union(alternatives) => self.union(node, alternatives, shape),
            Shape::OneOrMany(item) => match &node.value {
                Value::List(items) => self.items(node, items, item, 1),
                _ if accepts(item, node) => self.node(node, item),
                _ => self.wrong_kind(node, shape),
            },
            _ if !accepts(shape, node) => self.wrong_kind(node, shape),
            Shape::List(item) => self.items(node, node.list(), item, 0),
            Shape::NonEmptyList(item) => self.items(node, node.list(), item, 1),
            Shape::Map(fields) => {
                if let Some(map) = node.map() {
                    self.map(node, map, fields);
                }
            }
            Shape::Names(names) => {
                if let Some(map) = node.map() {
                    self.names(map, names);
                }
            }
            _ => self.scalar(node, shape),
        }
    }

    /// A scalar of the right kind: whether it has the right value.
    fn scalar(&mut self, node: &Node, shape: &'static Shape) {
        let text = node.text().unwrap_or_default();
        let shown = self.shown(node);
        match shape {
            Shape::Format(wanted) => {
                if let Err(help) = (wanted.check)(text) {
                    let hidden = node.expanded && !text.is_empty();
                    let help = if hidden { help.replace(text, self.slice(node.span)) } else { help };
                    let message = if text.is_empty() {
                        format!("expected {}, found an empty text", wanted.what)
                    } else {
                        format!("{shown} is not {}", wanted.what)
                    };
                    self.report(node.span, message, help);
                }
            }
            Shape::Keyword(words) if !words.contains(&text) => {
                let help = nearest(text, words.iter().copied())
                    .map_or_else(|| format!("write {}", choice(words)), |word| format!("did you mean `{word}`?"));
                self.report(node.span, format!("unknown value {shown}"), help);
            }
            Shape::Int(min, max) if !node.int().is_some_and(|value| (*min..=*max).contains(&value)) => {
                self.report(node.span, format!("{shown} is out of range"), range(min, max, &i64::MAX));
            }
            Shape::Size(min, max) => match node.int().map_or_else(
                || format::size(text),
                |bytes| u64::try_from(bytes).map_err(|_| "write a size such as `32KiB`".to_owned()),
            ) {
                Err(help) => self.report(node.span, format!("{shown} is not a size"), help),
                Ok(bytes) if !(*min..=*max).contains(&bytes) => {
                    self.report(
                        node.span,
                        format!("{shown} is out of range"),
                        range(&bytes_text(*min), &bytes_text(*max), &bytes_text(u64::MAX)),
                    );
                }
                Ok(_) => {}
            },
            Shape::Duration(min, max) => match format::duration(text) {
                Err(help) => self.report(node.span, format!("{shown} is not a duration"), help),
                Ok(value) if !(*min..=*max).contains(&value) => {
                    let help = range(&duration_text(*min), &duration_text(*max), &duration_text(Duration::MAX));
                    self.report(node.span, format!("{shown} is out of range"), help);
                }
                Ok(_) => {}
            },
            Shape::Cidr => {
                if let Err(help) = format::network(text) {
                    self.report(node.span, format!("{shown} is not a network"), help);
                }
            }
            Shape::Literal => {
                if let Value::Float(value) = node.value
                    && !value.is_finite()
                {
                    self.report(
                        node.span,
                        format!("{shown} is not a number that a token could hold"),
                        "quote it to mean text",
                    );
                }
            }
            _ => {}
        }
    }

    fn items(&mut self, node: &Node, items: &[Node], item: &'static Shape, least: usize) {
        if items.len() < least {
            self.report(node.span, "an empty list", format!("write at least one entry: {}", describe(item)));
        }
        for each in items {
            self.node(each, item);
        }
    }

    fn map(&mut self, node: &Node, map: &Mapping, fields: &'static Fields) {
        for entry in map.declared() {
            match fields.fields.iter().find(|field| field.name == entry.key.text) {
                Some(field) => self.node(&entry.value, field.shape),
                None => self.unknown_key(entry, fields),
            }
        }
        let missing: Vec<_> =
            fields.fields.iter().filter(|field| field.required && map.get(field.name).is_none()).collect();
        for field in missing {
            let help = format!("add `{}:` {}", field.name, describe(field.shape));
            self.report(node.head(), format!("the key `{}` is missing", field.name), help);
        }
        for rule in fields.rules {
            self.rule(node, map, rule);
        }
    }

    fn rule(&mut self, node: &Node, map: &Mapping, rule: &Rule) {
        let written = |keys: &[&str]| -> Vec<_> { keys.iter().filter_map(|key| map.entry(key)).collect() };
        let (keys, least, most) = match rule {
            Rule::ExactlyOne(keys) => (*keys, 1, 1),
            Rule::AtMostOne(keys) => (*keys, 0, 1),
            Rule::AtLeastOne(keys) => (*keys, 1, usize::MAX),
            Rule::Together(keys) => {
                let have = written(keys);
                if let Some(first) = have.first()
                    && have.len() < keys.len()
                {
                    let missing: Vec<_> = keys.iter().copied().filter(|key| map.get(key).is_none()).collect();
                    let message = format!("`{}` needs {} beside it", first.key.text, listed(&missing));
                    self.report(first.key.span, message, format!("add {}", listed(&missing)));
                }
                return;
            }
        };
        let have = written(keys);
        if have.len() < least {
            let help = format!("write {}", choice(keys));
            let message = if most == 1 {
                format!("exactly one of {} is needed here", listed(keys))
            } else {
                format!("at least one of {} is needed here", listed(keys))
            };
            self.report(node.head(), message, help);
        }
        if let Some(first) = have.first().filter(|_| have.len() > most) {
            for other in have.iter().skip(1) {
                let message = format!("`{}` and `{}` exclude each other", first.key.text, other.key.text);
                let place = first.key.place(self.source);
                self.problems
                    .error(other.key.place(self.source), message)
                    .help("keep one of them")
                    .related(place, format!("`{}` is written here", first.key.text));
            }
        }
    }

    fn names(&mut self, map: &Mapping, names: &'static Names) {
        for entry in map.entries() {
            if let Err(help) = (names.key.check)(&entry.key.text) {
                let message = format!("`{}` is not {}", entry.key.text, names.key.what);
                self.report(entry.key.span, message, help);
            }
            self.node(&entry.value, names.value);
        }
    }

    fn unknown_key(&mut self, entry: &Entry, fields: &'static Fields) {
        let names: Vec<_> = fields.fields.iter().map(|field| field.name).collect();
        let help = nearest(&entry.key.text, names.iter().copied())
            .map_or_else(|| format!("keys here are {}", listed(&names)), |name| format!("did you mean `{name}`?"));
        self.report(entry.key.span, format!("unknown key `{}`", entry.key.text), help);
    }

    /// Chooses the alternative that is meant, so that its complaints are the ones shown.
    fn union(&mut self, node: &Node, alternatives: &'static [&'static Shape], shape: &'static Shape) {
        let mut candidates: Vec<_> = alternatives.iter().copied().filter(|each| accepts(each, node)).collect();
        if let Value::Map(map) = &node.value {
            candidates.sort_by_key(|each| std::cmp::Reverse(known_keys(each, map)));
            candidates.truncate(1);
        }
        let Some((&last, others)) = candidates.split_last() else { return self.wrong_kind(node, shape) };
        if let (Shape::Keyword(words), Some(text), []) = (last, node.text(), others)
            && !words.contains(&text)
            && nearest(text, words.iter().copied()).is_none()
        {
            return self.wrong_kind(node, shape);
        }
        let fits = |each: &'static Shape| {
            let mut scratch = Diagnostics::new();
            check(node, each, self.source, &mut scratch);
            !scratch.has_errors()
        };
        if others.iter().any(|each| fits(each)) {
            return;
        }
        if fits(last) {
            return self.node(node, last);
        }
        // Of several alternatives for text the words are what was most likely misspelt; the rest is too general to complain.
        let meant = candidates.iter().copied().find(|each| {
            matches!(each, Shape::Keyword(words)
            if node.text().is_some_and(|text| nearest(text, words.iter().copied()).is_some()))
        });
        self.node(node, meant.unwrap_or(last));
    }

    fn wrong_kind(&mut self, node: &Node, shape: &'static Shape) {
        let message = format!("expected {}, found {}", describe(shape), self.found(node));
        let help = match &node.value {
            Value::Int(_) | Value::Float(_) | Value::Bool(_) if takes_text(shape) => {
                let text = self.slice(node.span);
                format!("quote it: `\"{text}\"`")
            }
            Value::Null if takes_text(shape) && !self.slice(node.span).is_empty() => {
                format!("quote it to mean the text: `\"{}\"`", self.slice(node.span))
            }
            Value::Null => "write a value or remove the key".to_owned(),
            Value::Int(number) if matches!(shape, Shape::Duration(..)) => {
                format!("say the unit: `{number}s`, `{number}m`, `{number}ms`")
            }
            Value::Text(text) if matches!(shape, Shape::Bool) => match text.to_lowercase().as_str() {
                "yes" | "on" | "y" | "true" | "1" => "write `true`, without quotes".to_owned(),
                "no" | "off" | "n" | "false" | "0" => "write `false`, without quotes".to_owned(),
                _ => "write `true` or `false`".to_owned(),
            },
            Value::Text(text) if matches!(shape, Shape::Int(..)) && scalar::is_integer(text) => {
                "write it without quotes".to_owned()
            }
            Value::Text(_) | Value::Int(_) | Value::Float(_) | Value::Bool(_)
                if matches!(shape, Shape::List(_) | Shape::NonEmptyList(_)) =>
            {
                format!("write a list: `[{}]`", self.slice(node.span))
            }
            _ => format!("write {}", describe(shape)),
        };
        self.report(node.span, message, help);
    }

    /// What is there, in words.
    fn found(&self, node: &Node) -> String {
        match &node.value {
            Value::Null => "nothing".to_owned(),
            Value::Bool(_) => format!("the boolean `{}`", self.slice(node.span)),
            Value::Int(_) | Value::Float(_) => format!("the number `{}`", self.slice(node.span)),
            Value::Text(_) => format!("the text {}", self.shown(node)),
            Value::List(_) => "a list".to_owned(),
            Value::Map(_) => "a map".to_owned(),
        }
    }

    /// A scalar as diagnostics show it. What came from the environment may be secret: the file's own text stands for it.
    fn shown(&self, node: &Node) -> String {
        match (&node.value, node.expanded) {
            (Value::Text(text), false) => format!("`{}`", shortened(text)),
            _ => format!("`{}`", shortened(self.slice(node.span))),
        }
    }

    fn slice(&self, span: Span) -> &str {
        self.source.text.get(span.start..span.end).unwrap_or_default()
    }

    fn report(&mut self, span: Span, message: impl Into<String>, help: impl Into<String>) {
        let place = crate::diagnostic::Place { source: Arc::clone(self.source), span };
        self.problems.error(place, message).help(help);
    }
}

/// Whether what is written is of a kind that the shape takes, whatever its value.
fn accepts(shape: &Shape, node: &Node) -> bool {
    match shape {
        Shape::Any => true,
        Shape::Text | Shape::Format(_) | Shape::Keyword(_) | Shape::Duration(..) | Shape::Cidr => node.text().is_some(),
        Shape::Size(..) => node.text().is_some() || node.int().is_some(),
        Shape::Bool => node.bool().is_some(),
        Shape::Int(..) => node.int().is_some(),
        Shape::Literal => matches!(node.value, Value::Text(_) | Value::Int(_) | Value::Float(_) | Value::Bool(_)),
        Shape::List(_) | Shape::NonEmptyList(_) => matches!(node.value, Value::List(_)),
        Shape::OneOrMany(item) => matches!(node.value, Value::List(_)) || accepts(item, node),
        Shape::Map(_) | Shape::Names(_) => node.map().is_some(),
        Shape::Union(alternatives) => alternatives.iter().any(|each| accepts(each, node)),
        Shape::Nullable(inner) => node.is_null() || accepts(inner, node),
    }
}

/// Whether text of some form would have been right.
fn takes_text(shape: &Shape) -> bool {
    match shape {
        Shape::Text | Shape::Format(_) | Shape::Keyword(_) | Shape::Literal => true,
        Shape::OneOrMany(inner) | Shape::Nullable(inner) => takes_text(inner),
        Shape::Union(alternatives) => alternatives.iter().any(|each| takes_text(each)),
        _ => false,
    }
}

/// How many keys of the mapping the shape knows; a map of names knows none in particular.
fn known_keys(shape: &Shape, map: &Mapping) -> usize {
    match shape {
        Shape::Map(fields) => fields.fields.iter().filter(|field| map.get(field.name).is_some()).count() * 2 + 1,
        Shape::Union(alternatives) => alternatives.iter().map(|each| known_keys(each, map)).max().unwrap_or(0),
        Shape::OneOrMany(inner) | Shape::Nullable(inner) => known_keys(inner, map),
        Shape::Names(_) => 2,
        _ => 0,
    }
}

/// What a shape takes, in words.
pub(super) fn describe(shape: &Shape) -> String {
    match shape {
        Shape::Any => "a value".to_owned(),
        Shape::Text => "text".to_owned(),
        Shape::Format(format) => format.what.to_owned(),
        Shape::Keyword(words) => choice(words),
        Shape::Bool => "`true` or `false`".to_owned(),
        Shape::Int(min, max) if min == max => format!("`{min}`"),
        Shape::Int(..) => "a whole number".to_owned(),
        Shape::Size(..) => "a size such as `32KiB`".to_owned(),
        Shape::Duration(..) => "a duration such as `10s`".to_owned(),
        Shape::Cidr => "a network such as `10.0.0.0/8`".to_owned(),
        Shape::Literal => "text, a number or a boolean".to_owned(),
        Shape::List(_) | Shape::NonEmptyList(_) => "a list".to_owned(),
        Shape::OneOrMany(item) => format!("{} or a list", describe(item)),
        Shape::Map(fields) => {
            let required: Vec<_> =
                fields.fields.iter().filter(|field| field.required).map(|field| field.name).collect();
            let chosen = fields.rules.iter().find_map(|rule| match rule {
                Rule::ExactlyOne(keys) | Rule::AtLeastOne(keys) => Some(choice(keys)),
                Rule::AtMostOne(_) | Rule::Together(_) => None,
            });
            match (required.as_slice(), chosen) {
                ([], None) => "a map".to_owned(),
                ([], Some(chosen)) => format!("a map with {chosen}"),
                (required, _) => format!("a map with {}", listed(required)),
            }
        }
        Shape::Names(_) => "a map".to_owned(),
        Shape::Union(alternatives) => {
            let mut seen = BTreeSet::new();
            let described = alternatives.iter().flat_map(|each| match each {
                Shape::Keyword(words) => words.iter().map(|word| format!("`{word}`")).collect(),
                each => vec![describe(each)],
            });
            joined(&described.filter(|each| seen.insert(each.clone())).collect::<Vec<_>>())
        }
        Shape::Nullable(inner) => format!("{} or `null`", describe(inner)),
    }
}

/// `` `a`, `b` or `c` ``.
fn choice(words: &[&str]) -> String {
    joined(&words.iter().map(|word| format!("`{word}`")).collect::<Vec<_>>())
}

/// `` `a`, `b`, `c` ``.
fn listed(words: &[&str]) -> String {
    words.iter().map(|word| format!("`{word}`")).collect::<Vec<_>>().join(", ")
}

fn joined(parts: &[String]) -> String {
    match parts.split_last() {
        None => String::new(),
        Some((last, [])) => last.clone(),
        Some((last, rest)) => format!("{} or {last}", rest.join(", ")),
    }
}

/// What a range allows, without an upper end that is only the type's.
fn range<T: Display + PartialEq>(min: &T, max: &T, unbounded: &T) -> String {
    if min == max {
        format!("write `{min}`")
    } else if unbounded == max {
        format!("it is at least `{min}`")
    } else {
        format!("it ranges from `{min}` to `{max}`")
    }
}

fn duration_text(duration: Duration) -> String {
    let seconds = duration.as_secs();
    match (duration.subsec_millis(), seconds % 3600, seconds % 60) {
        (0, 0, _) if seconds > 0 => format!("{}h", seconds / 3600),
        (0, _, 0) if seconds > 0 => format!("{}m", seconds / 60),
        (0, _, _) => format!("{seconds}s"),
        _ => format!("{}ms", duration.as_millis()),
    }
}

fn bytes_text(bytes: u64) -> String {
    let units = [("GiB", 30), ("MiB", 20), ("KiB", 10)];
    let fitting = units.iter().find(|(_, shift)| bytes >= 1 << shift && bytes.trailing_zeros() >= *shift);
    fitting.map_or_else(|| format!("{bytes}B"), |(unit, shift)| format!("{}{unit}", bytes >> shift))
}

/// The first line of a text, not longer than a line.
fn shortened(text: &str) -> String {
    let line = text.lines().next().unwrap_or_default();
    if line.chars().count() <= 80 && line.len() == text.trim_end().len() {
        return line.to_owned();
    }
    line.chars().take(77).chain("...".chars()).collect()
}
