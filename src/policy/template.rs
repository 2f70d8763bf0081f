//! Where the values that conditions and headers ask for come from: captures and request values.

use std::fmt;

use http::HeaderName;

/// A capture or request value, resolved against its route.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::policy) enum ValueSource {
    /// The label that a host pattern leaves open.
    Host {
        /// As written.
        name: Box<str>,
    },
    /// A capture of the path.
    Capture {
        /// Position among the path's captures.
        index: usize,
        /// As written.
        name: Box<str>,
    },
    /// A query parameter.
    Query {
        /// Position among the route's read parameters.
        index: usize,
        /// As written.
        name: Box<str>,
    },
    /// A header.
    Header {
        /// Its name.
        name: HeaderName,
        /// As written.
        written: Box<str>,
    },
}

impl ValueSource {
    /// Whether the value is a credential, which neither records nor explanations show.
    pub(in crate::policy) fn is_credential(&self) -> bool {
        let Self::Header { name, .. } = self else { return false };
        ["authorization", "cookie", "dpop", "proxy-authorization"].contains(&name.as_str())
    }
}

impl fmt::Display for ValueSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Host { name } | Self::Capture { name, .. } => f.write_str(name),
            Self::Query { name, .. } => write!(f, "query.{name}"),
            Self::Header { written, .. } => write!(f, "header.{written}"),
        }
    }
}

/// A [`ValueSource`] as a condition uses it.
#[derive(Debug, Clone)]
pub(in crate::policy) struct Template {
    /// Where the value is.
    pub(in crate::policy) source: ValueSource,
    /// The value is a list of this separator: each item counts as a value (`params`).
    pub(in crate::policy) separator: Option<Box<str>>,
}

impl fmt::Display for Template {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{{{}}}", self.source)
    }
}
