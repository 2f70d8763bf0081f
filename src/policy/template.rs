//! Where the values that conditions and headers ask for come from: captures and request values.

use std::fmt;

use http::HeaderName;

use crate::json::Pointer;

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
        /// As written, with the pointer where the value holds JSON.
        name: Box<str>,
    },
    /// A header.
    Header {
        /// Its name.
        name: HeaderName,
        /// As written.
        written: Box<str>,
    },
    /// A parameter of a urlencoded body.
    Form {
        /// Position among the route's parameters of the body.
        index: usize,
        /// As written.
        name: Box<str>,
    },
    /// A value in a JSON body.
    Body {
        /// Position among the route's pointers.
        index: usize,
        /// Where it stands.
        pointer: Pointer,
    },
    /// The operation of a SOAP message.
    Operation,
}

impl ValueSource {
    /// Whether the value stands in the body of the request.
    pub(in crate::policy) fn is_in_body(&self) -> bool {
        match self {
            Self::Form { .. } | Self::Body { .. } | Self::Operation => true,
            Self::Host { .. } | Self::Capture { .. } | Self::Query { .. } | Self::Header { .. } => false,
        }
    }

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
            Self::Form { name, .. } => write!(f, "form.{name}"),
            Self::Body { pointer, .. } => write!(f, "body.{pointer}"),
            Self::Operation => f.write_str("soap.operation"),
        }
    }
}

/// A [`ValueSource`] as a condition uses it.
#[derive(Debug, Clone, PartialEq, Eq)]
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
