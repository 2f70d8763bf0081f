//! Host patterns and the table that they lead to (policy.md, "Tables").

use std::fmt;

use crate::policy::texts::ByText;
use crate::target::{Authority, Scheme};

/// A host as a document names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::policy) enum HostPattern {
    /// This host.
    Exact(String),
    /// Any one label before this, with the capture that holds the label.
    FirstLabelOpen {
        /// What follows the first label, without the dot.
        rest: String,
        /// `{tenant}`.
        capture: Option<String>,
    },
    /// Every host.
    Any,
}

impl HostPattern {
    /// Reads a pattern.
    ///
    /// # Errors
    /// What to write instead.
    pub(in crate::policy) fn parse(text: &str) -> Result<Self, String> {
        if text == "*" {
            return Ok(Self::Any);
        }
        let Some((first, rest)) = text.split_once('.') else { return exact(text) };
        let capture = match first {
            "*" => None,
            _ if first.starts_with('{') && first.ends_with('}') => {
                let name = first.trim_start_matches('{').trim_end_matches('}');
                if !is_capture_name(name) {
                    return Err("name the capture with letters, digits and `_`, such as `{tenant}`".to_owned());
                }
                Some(name.to_owned())
            }
            _ => return exact(text),
        };
        match exact(rest)? {
            Self::Exact(rest) => Ok(Self::FirstLabelOpen { rest, capture }),
            other => Ok(other),
        }
    }

    /// The capture in it.
    pub(in crate::policy) fn capture(&self) -> Option<&str> {
        if let Self::FirstLabelOpen { capture, .. } = self { capture.as_deref() } else { None }
    }

    /// The table it belongs to: `*.x` and `{t}.x` are one.
    pub(in crate::policy) fn key(&self) -> HostKey {
        match self {
            Self::Exact(host) => HostKey::Exact(host.clone()),
            Self::FirstLabelOpen { rest, .. } => HostKey::FirstLabelOpen(rest.clone()),
            Self::Any => HostKey::Any,
        }
    }
}

impl fmt::Display for HostPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exact(host) => f.write_str(host),
            Self::FirstLabelOpen { rest, capture: None } => write!(f, "*.{rest}"),
            Self::FirstLabelOpen { rest, capture: Some(name) } => write!(f, "{{{name}}}.{rest}"),
            Self::Any => f.write_str("*"),
        }
    }
}

/// What host patterns have in common that lead to one table.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(in crate::policy) enum HostKey {
    /// This host.
    Exact(String),
    /// One label and this.
    FirstLabelOpen(String),
    /// Every host.
    Any,
}

impl HostKey {
    /// Whether it covers every host that the other covers, and more.
    pub(in crate::policy) fn is_wider_than(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Any, Self::Exact(_) | Self::FirstLabelOpen(_)) => true,
            (Self::FirstLabelOpen(rest), Self::Exact(host)) => {
                host.split_once('.').is_some_and(|(_, behind)| behind == rest)
            }
            (Self::Exact(_) | Self::FirstLabelOpen(_), _) | (Self::Any, Self::Any) => false,
        }
    }
}

impl fmt::Display for HostKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exact(host) => f.write_str(host),
            Self::FirstLabelOpen(rest) => write!(f, "*.{rest}"),
            Self::Any => f.write_str("*"),
        }
    }
}

/// From hosts to tables.
#[derive(Debug, Default)]
pub(in crate::policy) struct Hosts {
    exact: ByText<usize>,
    first_label_open: ByText<usize>,
    any: Option<usize>,
}

impl Hosts {
    /// The table of a pattern; `table` becomes it if there is none.
    pub(in crate::policy) fn table(&mut self, key: &HostKey, table: usize) -> usize {
        match key {
            HostKey::Exact(host) => *self.exact.entry(host, || table),
            HostKey::FirstLabelOpen(rest) => *self.first_label_open.entry(rest, || table),
            HostKey::Any => *self.any.get_or_insert(table),
        }
    }

    /// Every pattern that has a table.
    pub(in crate::policy) fn keys(&self) -> impl Iterator<Item = HostKey> {
        let exact = self.exact.texts().map(|host| HostKey::Exact(host.to_owned()));
        let open = self.first_label_open.texts().map(|rest| HostKey::FirstLabelOpen(rest.to_owned()));
        exact.chain(open).chain(self.any.map(|_| HostKey::Any))
    }

    /// The one table for a host, and its first label where the pattern leaves that open: the exact host, else a
    /// pattern with its first label open, else `*`. There is no falling back to a wider one.
    pub(in crate::policy) fn find<'h>(&self, host: &'h str) -> Option<(usize, Option<&'h str>)> {
        if let Some(table) = self.exact.find(host) {
            return Some((*table, None));
        }
        if let Some((label, rest)) = host.split_once('.')
            && !label.is_empty()
            && let Some(table) = self.first_label_open.find(rest)
        {
            return Some((*table, Some(label)));
        }
        self.any.map(|table| (table, None))
    }
}

/// Whether the text can name a capture.
pub(in crate::policy) fn is_capture_name(text: &str) -> bool {
    let mut letters = text.chars();
    letters.next().is_some_and(|first| first.is_ascii_alphabetic() || first == '_')
        && letters.all(|letter| letter.is_ascii_alphanumeric() || letter == '_' || letter == '-')
}

fn exact(text: &str) -> Result<HostPattern, String> {
    if text.contains(['{', '}', '*']) {
        return Err(
            "only the whole first label can be open: `{tenant}.example.com`, `*.example.com`, or `*`".to_owned()
        );
    }
    if text.contains("://") || text.contains('/') {
        return Err("write the host alone, without scheme and path".to_owned());
    }
    let authority =
        Authority::parse(text, Scheme::Https).map_err(|_| "write a host such as `api.example.com`".to_owned())?;
    // The default port is removed by parsing, so whether one is written shows in the text itself.
    let has_port = text.rsplit_once(':').is_some_and(|(_, port)| !port.contains(']'));
    if has_port {
        return Err(format!("the port takes no part: write `{}`", authority.host()));
    }
    Ok(HostPattern::Exact(authority.host().to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_are_exact_or_open_in_their_first_label() {
        let parse = |text| HostPattern::parse(text).unwrap().to_string();
        assert_eq!(parse("API.Example.com."), "api.example.com");
        assert_eq!(parse("{tenant}.Example.com"), "{tenant}.example.com");
        assert_eq!(parse("{_t-1}.example.com"), "{_t-1}.example.com");
        assert_eq!(parse("*.example.com"), "*.example.com");
        assert_eq!(parse("*"), "*");
        assert_eq!(parse("localhost"), "localhost");
        assert_eq!(parse("[::1]"), "[::1]");
        for wrong in [
            "a.*.com",
            "a{b}.com",
            "{1t}.com",
            "{-t}.com",
            "{a}{b}.com",
            "{}.com",
            "*.*",
            "a.com:443",
            "https://a.com",
            "a.com/",
            "",
            "a b",
        ] {
            assert!(HostPattern::parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_host_has_one_table() {
        let mut hosts = Hosts::default();
        for (at, pattern) in ["api.example.com", "*.example.com", "{t}.example.com", "*"].iter().enumerate() {
            hosts.table(&HostPattern::parse(pattern).unwrap().key(), at);
        }
        assert_eq!(hosts.find("api.example.com"), Some((0, None)));
        assert_eq!(hosts.find("x.example.com"), Some((1, Some("x"))));
        assert_eq!(hosts.find("a.x.example.com"), Some((3, None)), "one label only");
        assert_eq!(hosts.find("example.com"), Some((3, None)));
        assert_eq!(Hosts::default().find("example.com"), None);
    }
}
