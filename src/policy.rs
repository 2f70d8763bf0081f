//! The policy engine: documents in, compiled tables out; which route a request is for and whether it may pass.
//!
//! Pure and total: no files, no network, no clock, no failure at decision time. Everything that can be wrong is found
//! by [`Policies::compile`]. A request is asked about in three steps:
//!
//! 1. [`Policies::place`] finds table and route (http.md, steps 3 and 4);
//! 2. [`Placed::needs`] says whether a token has to be authenticated, and whose;
//! 3. [`Placed::decide`] answers with a [`Decision`]; where that is [`Decision::NeedsClaims`], userinfo is asked and the
//!    question put again with a principal of whom nothing is pending; where it is [`Decision::NeedsBody`], the body is
//!    read and [`Placed::decide_with_body`] answers, or [`Placed::decide_unread`] where it cannot be read.

pub mod analysis;
mod assertion;
mod body;
mod bound;
mod compile;
mod condition;
mod cors;
mod decision;
mod equality;
mod evaluate;
mod explain;
mod forward;
mod host;
mod identity;
mod limit;
mod listing;
mod metadata;
mod named;
mod narrow;
mod pending;
mod placed;
mod reading;
mod recorded;
mod remedy;
mod route;
mod routing;
mod shape;
mod surroundings;
mod table;
mod template;
mod texts;
mod truth;
mod value_type;

use std::net::IpAddr;
use std::sync::Arc;

use http::HeaderMap;
use http::uri::PathAndQuery;

use crate::clock::Timestamp;
use crate::diagnostic::{Diagnostics, Source};
use crate::document::{Node, Variables, json_schema};
use crate::principal::{ClientCertificate, IssuerId, IssuerSet, Principal};
use crate::target::{Authority, TargetError};

pub use bound::is_ambiguous_header;
pub use condition::CertificateName;
pub use cors::{Grant, Preflight};
pub use decision::{AuthorizationHeader, Cause, Decision, Denial, Lifted, Permit, Reason, StepUp, Unread};
pub use explain::{ExplainedCondition, Explanation};
pub use identity::{Encoding, IdentityValues, RenderedBefore};
pub use limit::{Exceeded, Limit, Per, Rate};
pub use listing::{Asked, Forwarded};
pub use metadata::{Published, Resource, metadata_url, resource_url};
pub use named::Fact;
pub use placed::Placed;
pub use remedy::Change;
pub use route::{Document, Route, RouteId};
pub use surroundings::{Ability, IdentityFacts, IssuerFacts, Surroundings, UpstreamFacts};

use named::Named;
use table::Tables;

/// The JSON Schema of policy documents.
pub fn schema() -> serde_json::Value {
    json_schema(&shape::DOCUMENT, "Torwart policy", Variables::Literal)
}

/// All policies of one load.
#[derive(Debug)]
pub struct Policies {
    documents: Vec<Arc<Document>>,
    routes: Vec<Arc<Route>>,
    tables: Tables,
    hosts: Vec<Box<str>>,
    issuers: IssuerSet,
    permission_scopes: Vec<(IssuerId, Box<str>)>,
    named: Named,
    identity: IdentityFacts,
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
    /// Whether a body follows.
    pub has_body: bool,
    /// The target as it arrived: a permit for exactly that target shares its bytes. Another one than `raw_target` is
    /// not taken.
    pub arrived: Option<&'r PathAndQuery>,
}

impl<'r> Head<'r> {
    /// The head of a request without a body.
    pub fn new(method: &'r str, authority: &'r Authority, raw_target: &'r str, headers: &'r HeaderMap) -> Self {
        Self { method, authority, raw_target, headers, has_body: false, arrived: None }
    }
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

impl Policies {
    /// Compiles documents. `None` when anything found is an error; warnings come beside policies.
    pub fn compile(sources: &[Arc<Source>], surroundings: &Surroundings<'_>) -> (Option<Self>, Diagnostics) {
        compile::compile(sources, surroundings)
    }

    /// The same for documents that were parsed before, each with the file that it is reported by.
    pub fn compile_parsed(
        documents: &[(&Arc<Source>, &Node)],
        surroundings: &Surroundings<'_>,
    ) -> (Option<Self>, Diagnostics) {
        compile::compile_parsed(documents, surroundings)
    }

    /// Finds the request's table and route.
    ///
    /// # Errors
    /// What is refused whoever asks: [`PlaceError`].
    pub fn place<'r>(&'r self, head: &Head<'r>) -> Result<Placed<'r>, PlaceError> {
        let (table, label) = self.tables.find(head.authority.host()).ok_or(PlaceError::UnknownHost)?;
        let (target, method) = table.read(head)?;
        let preflight = cors::requested_method(head)
            .and_then(|asked| Some((asked, table.preflight(self, (asked, head.has_body), &target, label)?)));
        let (preflight, outcome) = match preflight {
            Some((asked, outcome)) => (Some(asked), outcome),
            None => (None, table.outcome(self, method.as_deref().unwrap_or(head.method), &target, label)),
        };
        let sent = head.arrived.filter(|sent| target.keeps_path() && sent.as_str() == head.raw_target);
        Ok(Placed { policies: self, table, head: *head, target, outcome, sent, preflight })
    }

    /// Every document.
    pub fn documents(&self) -> impl Iterator<Item = &Arc<Document>> {
        self.documents.iter()
    }

    /// Every route; a [`RouteId`] is its position.
    pub fn routes(&self) -> impl Iterator<Item = &Arc<Route>> {
        self.routes.iter()
    }

    /// Names of documents that observe, wholly or in one of their routes.
    pub fn observing(&self) -> impl Iterator<Item = &str> {
        let observes = |document: &&Arc<Document>| {
            document.observes
                || self.routes.iter().any(|route| route.observes && Arc::ptr_eq(&route.document, document))
        };
        self.documents.iter().filter(observes).map(|document| &*document.name)
    }

    /// Host patterns as written, in the order of the documents: what certificates should cover.
    pub fn hosts(&self) -> impl Iterator<Item = &str> {
        self.hosts.iter().map(|host| &**host)
    }

    /// Whether some document names this host, exactly or by a pattern.
    pub fn serves(&self, host: &str) -> bool {
        self.tables.find(host).is_some()
    }

    /// The protected resources that documents with `metadata: true` make known, table by table.
    pub fn resources(&self) -> &[Resource] {
        &self.tables.resources
    }

    /// Issuers that some route accepts.
    pub fn issuers(&self) -> &IssuerSet {
        &self.issuers
    }

    pub(in crate::policy) fn assemble(
        documents: Vec<Arc<Document>>,
        routes: Vec<Arc<Route>>,
        tables: Tables,
        hosts: Vec<Box<str>>,
        surroundings: &Surroundings<'_>,
    ) -> Self {
        let issuers = IssuerSet::new(routes.iter().flat_map(|route| route.issuers.iter()));
        let scopes = surroundings.issuers.iter();
        let permission_scopes =
            scopes.filter_map(|issuer| Some((issuer.id, issuer.permission_scope.as_deref()?.into()))).collect();
        let named = Named::of(&routes);
        let identity = surroundings.identity.clone();
        Self { documents, routes, tables, hosts, issuers, permission_scopes, named, identity }
    }

    fn route_by_id(&self, id: RouteId) -> Option<&Arc<Route>> {
        self.routes.get(usize::try_from(id.0).ok()?)
    }

    /// The scope that a denial for absent permissions asks for.
    fn permission_scope(&self, issuer: IssuerId) -> Option<&str> {
        self.permission_scopes.iter().find(|(id, _)| *id == issuer).map(|(_, scope)| &**scope)
    }
}

#[cfg(test)]
mod tests;
