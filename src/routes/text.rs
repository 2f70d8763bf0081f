//! The route table as text that can be read in a terminal of 100 columns.

use std::fmt::Write as _;
use std::path::Path;

use super::{Entry, spelled_out, upstreams};
use crate::config::Config;
use crate::policy::Route;

/// The longest line, unless a single word is longer.
const WIDTH: usize = 100;
/// Where values begin.
const COLUMN: usize = 13;

/// The table for people. Files below `base` are named from there.
pub fn text(config: &Config, entries: &[Entry<'_>], base: Option<&Path>) -> String {
    let mut text = String::new();
    let mut host = "";
    for entry in entries {
        if entry.host != host {
            let _ = writeln!(text, "{}{}", if host.is_empty() { "" } else { "\n" }, entry.host);
            host = entry.host;
        }
        describe(entry, config, base, &mut text);
    }
    for (name, quirks) in upstreams(config, entries) {
        let _ = writeln!(text, "\nupstream {name}");
        let words = spelled_out(quirks).map(|(key, word)| format!("{key}: {}", word.as_str().unwrap_or_default()));
        labelled("quirks", &words.collect::<Vec<_>>().join(", "), &mut text);
    }
    text
}

fn describe(entry: &Entry<'_>, config: &Config, base: Option<&Path>, text: &mut String) {
    let route = entry.route;
    let methods = route.methods().collect::<Vec<_>>().join(" ");
    let _ = writeln!(text, "\n  {}\n  {methods}", route.path());
    labelled("route", &format!("{} / {}", route.policy(), route.name()), text);
    labelled("at", &route.place().shown(base), text);
    let types: Vec<_> = route.types().map(|(name, kind)| format!("{name}: {kind}")).collect();
    labelled("params", &types.join(", "), text);
    for (number, (asked, lifted)) in asks(route).into_iter().enumerate() {
        labelled(if number == 0 { "asks" } else { "" }, &asked, text);
        if let Some(lifted) = lifted {
            labelled("", &format!("  or {lifted}"), text);
        }
    }
    for (key, value) in route.beside() {
        labelled(key, &value, text);
    }
    labelled("issuers", &entry.issuers(config).join(", "), text);
    if route.observes() {
        labelled("mode", "observe: decided and recorded, forwarded all the same", text);
    }
    labelled("upstream", entry.upstream(config), text);
    for (key, value) in route.forwarded() {
        labelled("forward", &format!("{key}: {value}"), text);
    }
}

/// What the route asks, as a policy would say it, and the alternative of those whom it is not asked of.
fn asks(route: &Route) -> Vec<(String, Option<String>)> {
    let asks: Vec<_> = route.asks().map(|asked| (asked.text, asked.lifted)).collect();
    match (asks.is_empty(), route.needs_token()) {
        (true, true) => vec![("authenticated".to_owned(), None)],
        (_, false) => std::iter::once(("public: no token is read".to_owned(), None)).chain(asks).collect(),
        (false, true) => asks,
    }
}

/// A value under its label, broken between words; nothing for an empty value.
fn labelled(label: &str, value: &str, text: &mut String) {
    if value.is_empty() {
        return;
    }
    let mut line = format!("    {label:<width$}", width = COLUMN - 4);
    let mut empty = true;
    // Spaces at the beginning set what belongs to the line before it.
    let indent = value.len() - value.trim_start().len();
    line.push_str(&" ".repeat(indent));
    for word in value.split_whitespace() {
        if !empty && line.chars().count() + 1 + word.chars().count() > WIDTH {
            let _ = writeln!(text, "{line}");
            line = " ".repeat(COLUMN + indent + 2);
            empty = true;
        }
        if !empty {
            line.push(' ');
        }
        line.push_str(word);
        empty = false;
    }
    let _ = writeln!(text, "{line}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_values_are_broken_between_words_and_hang_under_their_label() {
        let mut text = String::new();
        labelled("asks", &"word ".repeat(30), &mut text);
        let lines: Vec<_> = text.lines().collect();
        assert_eq!(lines.len(), 2);
        assert!(lines[0].starts_with("    asks     word") && lines[0].len() <= WIDTH);
        assert!(lines[1].starts_with(&format!("{}word", " ".repeat(COLUMN + 2))));
        labelled("params", "", &mut text);
        assert_eq!(text.lines().count(), 2);
    }
}
