//! The policy engine: documents in, compiled tables out; which route a request is for and whether it may pass.
//!
//! Pure and total: no files, no network, no clock, no failure at decision time. Everything that can be wrong is found
//! by [`Policies::compile`]. A request is asked about in three steps:
//!
//! 1. [`Policies::place`] finds table and route (http.md, steps 3 and 4);
//! 2. [`Placed::needs`] says whether a token has to be authenticated, and whose;
//! 3. [`Placed::decide`] answers with a [`Decision`].

mod bound;
mod condition;
mod decision;
mod equality;
mod evaluate;
mod forward;
mod identity;
mod route;
mod routing;
mod surroundings;
mod template;
mod truth;
mod value_type;

use std::net::IpAddr;
use std::sync::Arc;

use http::HeaderMap;

use crate::clock::Timestamp;
use crate::diagnostic::{Diagnostics, Source};
use crate::principal::{ClientCertificate, IssuerSet, Principal};
use crate::target::{Authority, TargetError};

pub use decision::{AuthorizationHeader, Cause, Decision, Denial, Lifted, Permit, Reason, StepUp};
pub use identity::{Encoding, IdentityField, IdentityValues};
pub use route::{Document, Route, RouteId};
pub use surroundings::{IdentityFacts, IssuerFacts, Surroundings, UpstreamFacts};

/// All policies of one load.
#[derive(Debug)]
pub struct Policies {
    documents: Vec<Arc<Document>>,
    routes: Vec<Arc<Route>>,
    issuers: IssuerSet,
}

/// The part of a request that routing and conditions read.
#[derive(Debug, Clone, Copy)]
pub struct Head<'r> {
    /// The method as sent.
    pub method: &'r str,
    /// Host or `:authority`.
    pub authority: &'r Authority,
    /// Path and query as sent.
    pub raw_target: &'r str,
    /// Every header field.
    pub headers: &'r HeaderMap,
}

/// Why a request has no place. Enforced whatever the mode of any document.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PlaceError {
    /// 421: no document names the host.
    #[error("no policy names the host")]
    UnknownHost,
    /// 400: the target has no canonical form.
    #[error(transparent)]
    Target(TargetError),
    /// 400 `method-override`: a header or parameter asks the server for another method.
    #[error("the request names a second method")]
    MethodOverride,
    /// 405: `TRACE`, `TRACK` or `CONNECT`.
    #[error("the method is never forwarded")]
    MethodRefused,
}

/// What a request needs before it can be decided.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Needs<'p> {
    /// No token is read.
    Nothing,
    /// A token of one of these issuers.
    Token(&'p IssuerSet),
    /// The answer will be 404 or 405, and only holders of a token of one of these issuers are told so; others get 401.
    TokenToTell(&'p IssuerSet),
}

/// Who is asking, from where and when.
#[derive(Debug, Clone, Copy)]
pub struct Caller<'c> {
    /// What authentication established.
    pub principal: Option<&'c Principal>,
    /// The client's address; absent when a proxy's header is no address.
    pub address: Option<IpAddr>,
    /// The verified certificate of the connection.
    pub certificate: Option<&'c ClientCertificate>,
    /// The moment of the request.
    pub now: Timestamp,
}

/// A request that has found its table.
#[derive(Debug)]
pub struct Placed<'r> {
    policies: &'r Policies,
    head: Head<'r>,
}

impl Policies {
    /// Compiles documents. `None` when anything found is an error; warnings come beside policies.
    pub fn compile(sources: &[Arc<Source>], surroundings: &Surroundings<'_>) -> (Option<Self>, Diagnostics) {
        let _ = surroundings;
        let mut problems = Diagnostics::new();
        for source in sources {
            problems.general(format!("cannot compile `{}` yet", source.path.display()));
        }
        let policies = Self { documents: Vec::new(), routes: Vec::new(), issuers: IssuerSet::default() };
        ((!problems.has_errors()).then_some(policies), problems)
    }

    /// Finds the request's table and route.
    ///
    /// # Errors
    /// What is refused whoever asks: [`PlaceError`].
    pub fn place<'r>(&'r self, head: &Head<'r>) -> Result<Placed<'r>, PlaceError> {
        let _ = Placed { policies: self, head: *head };
        Err(PlaceError::UnknownHost)
    }

    /// Every document.
    pub fn documents(&self) -> impl Iterator<Item = &Arc<Document>> {
        self.documents.iter()
    }

    /// Every route; a [`RouteId`] is its position.
    pub fn routes(&self) -> impl Iterator<Item = &Arc<Route>> {
        self.routes.iter()
    }

    /// Names of documents that have `mode: observe`, their own or one of their routes'.
    pub fn observing(&self) -> impl Iterator<Item = &str> {
        self.documents.iter().filter(|document| document.observes).map(|document| &*document.name)
    }

    /// Host patterns as written, without repetition: what certificates should cover.
    pub fn hosts(&self) -> impl Iterator<Item = &str> {
        std::iter::empty()
    }

    /// Issuers that some route accepts.
    pub fn issuers(&self) -> &IssuerSet {
        &self.issuers
    }
}

impl Placed<'_> {
    /// What has to be authenticated before [`Placed::decide`].
    pub fn needs(&self) -> Needs<'_> {
        Needs::Token(&self.policies.issuers)
    }

    /// Decides. The permit is complete: nothing has to be asked again.
    pub fn decide(&self, caller: &Caller<'_>) -> Decision {
        let _ = (self.head.method, caller.now);
        Decision::Deny(Denial { cause: Cause::Unauthenticated, document: None, route: None, place: None })
    }

    /// The permit of a request whose authentication failed under `mode: observe`: forwarded without identity, with the
    /// status that it would have been refused with. `None`: refuse it.
    pub fn unauthenticated(&self, would: http::StatusCode) -> Option<(Permit, http::StatusCode)> {
        let _ = would;
        None
    }
}

impl Placed<'_> {
    /// The policy of the matched route, or of the observing document that takes what no route matches.
    pub fn policy(&self) -> Option<&Document> {
        None
    }

    /// The matched route.
    pub fn route(&self) -> Option<&Route> {
        None
    }

    /// The canonical path, for records.
    pub fn canonical_path(&self) -> &str {
        self.head.raw_target
    }

    /// Request values and claims that policies name, for records: `customer`, `query.ids`, `claim.tenant`, with every
    /// value found.
    pub fn values(&self, caller: &Caller<'_>) -> Vec<(String, serde_json::Value)> {
        let _ = caller;
        Vec::new()
    }
}
