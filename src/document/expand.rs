//! `${NAME}` and `${NAME:-default}` in the text values of a file, replaced after parsing so that nothing in the
//! environment can change the structure of the file.

use std::sync::Arc;

use super::node::{Node, Value};
use crate::diagnostic::{Diagnostics, Source, nearest};

/// Where variables are looked up; the process's own in `main`, a map in tests.
pub trait Environment {
    /// The value of a variable, if it is set.
    fn variable(&self, name: &str) -> Option<String>;

    /// The names that are set, to suggest from.
    fn names(&self) -> Vec<String> {
        Vec::new()
    }
}

impl<F: Fn(&str) -> Option<String>> Environment for F {
    fn variable(&self, name: &str) -> Option<String> {
        self(name)
    }
}

/// Replaces variables in every text value below `node`, keys excepted. `$${` is a literal `${`; an unset or empty
/// variable takes its default; an unset one without default is an error.
pub fn expand(node: &mut Node, environment: &dyn Environment, source: &Arc<Source>, problems: &mut Diagnostics) {
    match &mut node.value {
        Value::List(items) => {
            for item in items {
                expand(item, environment, source, problems);
            }
        }
        Value::Map(map) => {
            for entry in &mut map.entries {
                expand(&mut entry.value, environment, source, problems);
            }
        }
        Value::Text(text) if text.contains("${") => match replaced(text, environment) {
            Ok((value, expanded)) => {
                *text = value;
                node.expanded = expanded;
            }
            Err(fault) => {
                node.broken = true;
                let place = node.place(source);
                match fault {
                    Fault::Unset(name) => {
                        let names = environment.names();
                        let similar = nearest(&name, names.iter().map(String::as_str));
                        let help = similar.map_or_else(
                            || format!("set it, or write a default: `${{{name}:-default}}`"),
                            |similar| format!("did you mean `{similar}`? else set it, or write `${{{name}:-default}}`"),
                        );
                        problems.error(place, format!("the environment variable `{name}` is not set")).help(help);
                    }
                    Fault::Malformed => {
                        problems
                            .error(place, "`${` does not begin a variable")
                            .help("write `${NAME}` or `${NAME:-default}`; `$${` stands for `${` itself");
                    }
                }
            }
        },
        Value::Text(_) | Value::Null | Value::Bool(_) | Value::Int(_) | Value::Float(_) => {}
    }
}

enum Fault {
    Unset(String),
    Malformed,
}

/// The text with its variables replaced, and whether there was one.
fn replaced(text: &str, environment: &dyn Environment) -> Result<(String, bool), Fault> {
    let mut out = String::new();
    let mut expanded = false;
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("${") {
        if let Some(escaped) = before.strip_suffix('$') {
            out.push_str(escaped);
            out.push_str("${");
            rest = after;
            continue;
        }
        out.push_str(before);
        let (inside, behind) = after.split_once('}').ok_or(Fault::Malformed)?;
        let (name, default) = inside.split_once(":-").map_or((inside, None), |(name, default)| (name, Some(default)));
        let mut characters = name.chars();
        let named = characters.next().is_some_and(|first| first == '_' || first.is_ascii_alphabetic())
            && characters.all(|other| other == '_' || other.is_ascii_alphanumeric());
        if !named {
            return Err(Fault::Malformed);
        }
        let value = match (environment.variable(name), default) {
            (Some(value), None) => value,
            (Some(value), Some(_)) if !value.is_empty() => value,
            (_, Some(default)) => default.to_owned(),
            (None, None) => return Err(Fault::Unset(name.to_owned())),
        };
        out.push_str(&value);
        expanded = true;
        rest = behind;
    }
    out.push_str(rest);
    Ok((out, expanded))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(text: &str) -> Option<String> {
        let environment = |name: &str| match name {
            "HOST" => Some("example.com".to_owned()),
            "EMPTY" => Some(String::new()),
            "NESTED" => Some("${HOST}".to_owned()),
            _ => None,
        };
        replaced(text, &environment).ok().map(|(text, _)| text)
    }

    #[test]
    fn variables_are_replaced_once() {
        assert_eq!(with("https://${HOST}/x").as_deref(), Some("https://example.com/x"));
        assert_eq!(with("${HOST}${HOST}").as_deref(), Some("example.comexample.com"));
        assert_eq!(with("${NESTED}").as_deref(), Some("${HOST}"));
        assert_eq!(with("${EMPTY}").as_deref(), Some(""));
        assert_eq!(with("$HOST {x} $").as_deref(), Some("$HOST {x} $"));
    }

    #[test]
    fn a_default_stands_for_what_is_unset_or_empty() {
        assert_eq!(with("${HOST:-other}").as_deref(), Some("example.com"));
        assert_eq!(with("${NONE:-a:-b}").as_deref(), Some("a:-b"));
        assert_eq!(with("${NONE:-}").as_deref(), Some(""));
        assert_eq!(with("${EMPTY:-x}").as_deref(), Some("x"));
    }

    #[test]
    fn two_dollars_before_a_brace_are_literal() {
        assert_eq!(with("$${HOST}").as_deref(), Some("${HOST}"));
        assert_eq!(with("a$${b}${HOST}").as_deref(), Some("a${b}example.com"));
    }

    #[test]
    fn what_is_unset_or_malformed_is_an_error() {
        for wrong in ["${NONE}", "${HOST", "${}", "${1A}", "${A B}", "${HOST:default}"] {
            assert_eq!(with(wrong), None, "{wrong}");
        }
    }
}
