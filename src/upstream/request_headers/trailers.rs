//! What may come behind a request body.

use std::sync::Arc;

use http::header::{HeaderMap, HeaderName, HeaderValue, TRAILER};
use smallvec::SmallVec;

use super::{Effects, IdentityNames, forwarding, list, never};
use crate::target::fold::{fold_header, folds_to, folds_to_any, is_token};

/// Fields that a trailer section may not carry (RFC 9110 section 6.5.1), beside those removed as headers.
const NOT_IN_TRAILERS: [&str; 16] = [
    "authorization",
    "cache-control",
    "content-encoding",
    "content-range",
    "content-type",
    "cookie",
    "forwarded",
    "max-forwards",
    "range",
    "set-cookie",
    "trailer",
    "tracestate",
    "x-forwarded-for",
    "x-http-method",
    "x-http-method-override",
    "x-method-override",
];

/// What is removed from a request's trailers: whatever would have been removed as a header, and what steers framing,
/// routing or authentication.
#[derive(Debug, Clone)]
pub(in crate::upstream) struct TrailerRules {
    identity: Arc<IdentityNames>,
    removes: Vec<Box<str>>,
}

impl TrailerRules {
    /// The rules of one request.
    pub(in crate::upstream) fn new(identity: &Arc<IdentityNames>, effects: &Effects<'_>) -> Self {
        let set = effects.set.iter().map(|(name, _)| fold_header(name.as_str()).into_boxed_str());
        Self { identity: Arc::clone(identity), removes: effects.removes.iter().cloned().chain(set).collect() }
    }

    /// What may be passed on; `None`: nothing.
    pub(in crate::upstream) fn filter(&self, mut trailers: HeaderMap) -> Option<HeaderMap> {
        let gone: SmallVec<[HeaderName; 4]> =
            trailers.keys().filter(|name| self.removes(name.as_str())).cloned().collect();
        for name in gone {
            trailers.remove(name);
        }
        unless_empty(trailers)
    }

    /// The names that `Trailer` announces and that may come.
    pub(in crate::upstream) fn announced(&self, headers: &HeaderMap) -> Option<HeaderValue> {
        let coming: Vec<&str> = list(headers, &TRAILER)
            .filter_map(|name| std::str::from_utf8(name).ok())
            .filter(|name| !self.removes(name))
            .collect();
        HeaderValue::from_str(&coming.join(", ")).ok().filter(|coming| !coming.is_empty())
    }

    fn removes(&self, name: &str) -> bool {
        !is_token(name)
            || never(name)
            || self.identity.covers(name)
            || forwarding(name, false)
            || folds_to_any(name, &NOT_IN_TRAILERS)
            || self.removes.iter().any(|set| folds_to(name, set))
    }
}

/// `trailers`, unless nothing is left of them.
pub(in crate::upstream) fn unless_empty(trailers: HeaderMap) -> Option<HeaderMap> {
    (!trailers.is_empty()).then_some(trailers)
}
