//! Compiled documents and routes: what a request is decided against.

use std::sync::Arc;

use http::HeaderValue;

use crate::diagnostic::Place;
use crate::policy::body::BodyRules;
use crate::policy::bound::{BoundHeaders, BoundQuery};
use crate::policy::compile::{ReadParameter, TypedValue};
use crate::policy::condition::Condition;
use crate::policy::cors::{Cors, CrossOrigin};
use crate::policy::forward::Effects;
use crate::policy::limit::Limit;
use crate::policy::narrow::Narrowing;
use crate::policy::routing::{MethodSet, PathPattern};
use crate::principal::IssuerSet;
use crate::target::quirks::{MethodOverride, Quirks, Reading};

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
    /// As written.
    pub(in crate::policy) base_path: Box<str>,
    /// Host patterns as written.
    pub(in crate::policy) hosts: Box<[Box<str>]>,
    /// How its upstream reads requests.
    pub(in crate::policy) quirks: Quirks,
    /// What an observing document does with requests that no route matches.
    pub(in crate::policy) effects: Arc<Effects>,
    /// Who may read the refusals of requests that no route matches.
    pub(in crate::policy) cors: Option<Cors>,
    /// `metadata: true`: the path of the resource that it protects.
    pub(in crate::policy) metadata: Option<Arc<str>>,
}

/// A route of a document.
#[derive(Debug)]
pub struct Route {
    pub(in crate::policy) id: RouteId,
    pub(in crate::policy) name: Box<str>,
    pub(in crate::policy) header: HeaderValue,
    pub(in crate::policy) place: Place,
    pub(in crate::policy) document: Arc<Document>,
    /// `mode: observe`, its own or the document's.
    pub(in crate::policy) observes: bool,
    pub(in crate::policy) needs_token: bool,
    /// Base path and path, as written.
    pub(in crate::policy) path: Box<str>,
    /// The same, compiled.
    pub(in crate::policy) pattern: PathPattern,
    pub(in crate::policy) methods: MethodSet,
    /// Whose tokens count; nobody's when it needs none.
    pub(in crate::policy) issuers: IssuerSet,
    /// All must hold; in the order in which they name the reason.
    pub(in crate::policy) conditions: Box<[Condition]>,
    /// Types of captures and request values.
    pub(in crate::policy) typed: Box<[TypedValue]>,
    /// Names of the path's captures.
    pub(in crate::policy) captures: Box<[Box<str>]>,
    /// Name of the host's capture.
    pub(in crate::policy) host_capture: Option<Box<str>>,
    /// Query parameters that conditions, types or effects read.
    pub(in crate::policy) query: Box<[ReadParameter]>,
    /// Parameters that must not be spelt otherwise.
    pub(in crate::policy) bound_query: BoundQuery,
    /// Headers that must not be spelt otherwise.
    pub(in crate::policy) bound_headers: BoundHeaders,
    /// What it reads of bodies, if anything.
    pub(in crate::policy) body: Option<BodyRules>,
    pub(in crate::policy) effects: Arc<Effects>,
    /// Which origins' pages may call.
    pub(in crate::policy) cors: Option<CrossOrigin>,
    /// How many requests may pass in what time, and where that stands.
    pub(in crate::policy) limit: Option<(Limit, Place)>,
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

    /// Position of its upstream in [`crate::policy::Surroundings::upstreams`].
    pub fn upstream(&self) -> usize {
        self.upstream
    }

    /// Whether its default mode is `observe`.
    pub fn observes(&self) -> bool {
        self.observes
    }

    /// Whether headers that override the method are removed: always but where the upstream's behaviour is declared.
    pub(in crate::policy) fn strips_method_override(&self) -> bool {
        self.quirks.method_override == MethodOverride::Unknown
    }
}

impl Route {
    /// Whether its upstream may take a `;` in a path for the beginning of the query.
    pub(in crate::policy) fn may_end_at_semicolon(&self) -> bool {
        self.document.quirks.path_parameters == Reading::Unknown && !self.path.contains(';')
    }

    /// The parameters that are kept to values of the principal.
    pub(in crate::policy) fn narrowings(&self) -> impl Iterator<Item = &Narrowing> {
        self.conditions.iter().filter_map(Condition::narrowing)
    }

    /// Its number.
    pub fn id(&self) -> RouteId {
        self.id
    }

    /// Name of its policy.
    pub fn policy(&self) -> &str {
        &self.document.name
    }

    /// Whether its mode is `observe`, its own or the document's.
    pub fn observes(&self) -> bool {
        self.observes
    }

    /// Its name, unique within the policy.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The document that it stands in.
    pub fn document(&self) -> &Document {
        &self.document
    }

    /// Where it stands.
    pub fn place(&self) -> &Place {
        &self.place
    }

    /// Whether it reads a token.
    pub fn needs_token(&self) -> bool {
        self.needs_token
    }

    /// How many requests may pass in what time.
    pub fn limit(&self) -> Option<&Limit> {
        self.limit.as_ref().map(|(limit, _)| limit)
    }

    /// Whose tokens count; nobody's when it needs none.
    pub fn issuers(&self) -> &IssuerSet {
        &self.issuers
    }
}
