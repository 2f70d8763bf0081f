//! Compiled documents and routes: what a request is decided against.

use std::sync::Arc;

use http::HeaderValue;

use crate::diagnostic::Place;
use crate::policy::forward::Effects;

/// A route's number over all documents of one load.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RouteId(pub u32);

/// A policy document.
#[derive(Debug)]
pub struct Document {
    pub(in crate::policy) name: Box<str>,
    pub(in crate::policy) header: HeaderValue,
    pub(in crate::policy) place: Place,
    /// Position in [`crate::policy::Surroundings::upstreams`].
    pub(in crate::policy) upstream: usize,
    /// `mode: observe`.
    pub(in crate::policy) observes: bool,
    /// The upstream's `quirks.method_override` is not declared.
    pub(in crate::policy) strips_method_override: bool,
    /// What an observing document does with requests that no route matches.
    pub(in crate::policy) effects: Arc<Effects>,
}

/// A route of a document.
#[derive(Debug)]
pub struct Route {
    pub(in crate::policy) id: RouteId,
    /// Name of the document it stands in.
    pub(in crate::policy) policy: Box<str>,
    pub(in crate::policy) name: Box<str>,
    pub(in crate::policy) header: HeaderValue,
    pub(in crate::policy) place: Place,
    /// `mode: observe`, its own or the document's.
    pub(in crate::policy) observes: bool,
}

impl Document {
    /// The policy's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Where the document names itself.
    pub fn place(&self) -> &Place {
        &self.place
    }

    /// Whether its default mode is `observe`.
    pub fn observes(&self) -> bool {
        self.observes
    }
}

impl Route {
    /// Its number.
    pub fn id(&self) -> RouteId {
        self.id
    }

    /// Name of its policy.
    pub fn policy(&self) -> &str {
        &self.policy
    }

    /// Whether its mode is `observe`, its own or the document's.
    pub fn observes(&self) -> bool {
        self.observes
    }

    /// Its name, unique within the policy.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Where it stands.
    pub fn place(&self) -> &Place {
        &self.place
    }
}
