//! What forwarding does to a request: everything under `forward`, compiled.

use std::time::Duration;

use http::{HeaderName, HeaderValue};

use crate::policy::decision::AuthorizationHeader;
use crate::policy::identity::{IdentityField, IdentityValues};
use crate::policy::route::{Document, Route};

/// A header to set.
#[derive(Debug, Clone)]
pub(in crate::policy) struct HeaderEntry {
    pub(in crate::policy) name: HeaderName,
    pub(in crate::policy) value: HeaderValue,
}

/// `forward` of a route, defaults of its document applied.
#[derive(Debug)]
pub(in crate::policy) struct Effects {
    /// Identity headers that this route sends, with their full names.
    pub(in crate::policy) identity: Box<[(IdentityField, HeaderName)]>,
    /// Folded names of the headers under `forward.headers` and of `Authorization` if `basic_auth` sets it.
    pub(in crate::policy) removes: Box<[Box<str>]>,
    pub(in crate::policy) authorization: AuthorizationHeader,
    pub(in crate::policy) timeout: Option<Duration>,
    pub(in crate::policy) max_body: Option<u64>,
    pub(in crate::policy) strip_prefix: Option<Box<str>>,
    pub(in crate::policy) add_prefix: Option<Box<str>>,
}

impl Effects {
    /// Identity headers of the principal, without the two that name policy and route.
    pub(in crate::policy) fn identity<'e>(
        &'e self,
        values: &'e IdentityValues,
    ) -> impl Iterator<Item = (&'e HeaderName, &'e HeaderValue)> {
        self.identity.iter().filter_map(|(field, name)| values.of(*field).map(|value| (name, value)))
    }

    /// The headers that name policy and route.
    pub(in crate::policy) fn provenance<'e>(
        &'e self,
        document: &'e Document,
        route: Option<&'e Route>,
    ) -> impl Iterator<Item = (&'e HeaderName, &'e HeaderValue)> {
        self.identity.iter().filter_map(move |(field, name)| match field {
            IdentityField::Policy => Some((name, &document.header)),
            IdentityField::Route => route.map(|route| (name, &route.header)),
            _ => None,
        })
    }
}
