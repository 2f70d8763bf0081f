//! What deciding answers: a permit, or a denial with its reason.
//!
//! A [`Permit`] is the only thing that forwarding accepts. It cannot be copied, its fields are private, and nothing
//! outside `policy` can make one.

mod reason;

use std::sync::Arc;
use std::time::Duration;

use http::uri::PathAndQuery;
use http::{HeaderName, HeaderValue, StatusCode};

use crate::diagnostic::Place;
use crate::policy::cors::Preflight;
use crate::policy::forward::{Effects, HeaderEntry};
use crate::policy::identity::IdentityValues;
use crate::policy::limit::{Exceeded, Limit};
use crate::policy::route::{Document, Route, RouteId};
use crate::principal::Statement;

pub use reason::Reason;

/// The answer to one request.
#[derive(Debug)]
pub enum Decision {
    /// Forward it.
    Allow(Permit),
    /// Refuse it.
    Deny(Denial),
    /// The document only observes: forward it, record that it would have been refused.
    Observed(Permit, Denial),
    /// A preflight, which the gateway answers itself: nothing is asked of anybody.
    Answered(Preflight),
    /// Everything that head, connection and token can answer holds; the rest only userinfo knows, which has to be asked. The
    /// body, if it is asked about, waits.
    NeedsClaims,
    /// Everything that head, connection and token can answer holds; the rest stands in the body, which has to be read.
    NeedsBody,
}

/// Why a body that policy asks about was not read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unread {
    /// It is longer than `limits.inspected_body`.
    TooLarge,
    /// All of `limits.inspected_total` is taken.
    Exhausted,
}

impl Decision {
    /// The same where the request is too much: a refusal, or under `mode: observe` what is recorded instead. Who is
    /// refused anyway stays refused for that.
    #[must_use]
    pub fn limited(self, exceeded: Exceeded) -> Self {
        match self {
            Self::Allow(permit) | Self::Observed(permit, _) => {
                let denial = Denial::limited(exceeded, permit.document(), permit.matched());
                if permit.observed() { Self::Observed(permit, denial) } else { Self::Deny(denial) }
            }
            Self::Deny(_) | Self::Answered(_) | Self::NeedsBody | Self::NeedsClaims => self,
        }
    }
}

/// The right to forward one request, once, to one upstream, in one form.
#[derive(Debug)]
pub struct Permit {
    pub(in crate::policy) ground: Ground,
    pub(in crate::policy) path_and_query: PathAndQuery,
    pub(in crate::policy) identity: Option<Arc<IdentityValues>>,
    pub(in crate::policy) statement: Option<Box<Statement>>,
    pub(in crate::policy) headers: Vec<HeaderEntry>,
    pub(in crate::policy) lifted: Vec<Lifted>,
    /// It is for a preflight, which no limit counts.
    pub(in crate::policy) preflight: bool,
}

/// What a permit was given for, and with it what forwarding does.
#[derive(Debug)]
pub(in crate::policy) enum Ground {
    /// A request that this route matches.
    Route(Arc<Route>),
    /// A preflight for one, which is forwarded with effects of its own.
    Preflight(Arc<Route>, Arc<Effects>),
    /// A request that no route matches, in a document that only observes.
    Document(Arc<Document>),
}

/// A condition that was not asked of a client-credentials token (policy.md, "Bypass for client credentials").
#[derive(Debug, Clone)]
pub struct Lifted {
    /// The kind of condition: `subject`, `claim`, `permission` or `organization`.
    pub kind: Reason,
    /// Where the condition stands.
    pub place: Place,
}

/// What happens to the `Authorization` header on the way to the upstream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AuthorizationHeader {
    /// Removed whatever its scheme: the route needs a token.
    Strip,
    /// Removed when its scheme is `Bearer` or `DPoP`: the route needs no token.
    StripTokens,
    /// Passed on: `forward.authorization: keep`, or the document observes.
    Keep,
}

impl Permit {
    /// Position of the upstream in [`crate::policy::Surroundings::upstreams`].
    pub fn upstream(&self) -> usize {
        self.document().upstream
    }

    /// Name of the policy that allowed it.
    pub fn policy(&self) -> &str {
        &self.document().name
    }

    /// Name of the route that allowed it; absent where an observing document has no route for it.
    pub fn route(&self) -> Option<&str> {
        self.matched().map(|route| &*route.name)
    }

    /// The route's number, for metrics.
    pub fn route_id(&self) -> Option<RouteId> {
        self.matched().map(|route| route.id)
    }

    /// How many such requests may pass in what time.
    pub fn limit(&self) -> Option<&Limit> {
        self.matched().filter(|_| !self.preflight)?.limit()
    }

    /// The route that allowed it.
    pub(in crate::policy) fn matched(&self) -> Option<&Arc<Route>> {
        match &self.ground {
            Ground::Route(route) | Ground::Preflight(route, _) => Some(route),
            Ground::Document(_) => None,
        }
    }

    fn document(&self) -> &Arc<Document> {
        match &self.ground {
            Ground::Route(route) | Ground::Preflight(route, _) => &route.document,
            Ground::Document(document) => document,
        }
    }

    /// What forwarding does.
    pub(in crate::policy) fn effects(&self) -> &Effects {
        match &self.ground {
            Ground::Route(route) => &route.effects,
            Ground::Preflight(_, effects) => effects,
            Ground::Document(document) => &document.effects,
        }
    }

    /// Path and query to send, prefixes and parameters already applied.
    pub fn path_and_query(&self) -> &PathAndQuery {
        &self.path_and_query
    }

    /// Headers to set: identity headers, `forward.headers`, basic authentication. Each name once. Whatever the
    /// client sent under a name that folds to one of these, or to one of [`Permit::removes`], has to be removed first.
    pub fn headers(&self) -> impl Iterator<Item = (&HeaderName, &HeaderValue)> {
        let (effects, route) = (self.effects(), self.matched().map(|route| &**route));
        let identity = self
            .identity
            .iter()
            .flat_map(move |values| effects.identity(values).chain(effects.provenance(self.document(), route)));
        let set = effects.fixed.iter().chain(&self.headers);
        identity.chain(set.map(|entry| (&entry.name, &entry.value)))
    }

    /// The header that has to carry a signed assertion, and what it says. It goes to the upstream with one or not at all.
    pub fn assertion(&self) -> Option<(&HeaderName, &Statement)> {
        self.effects().assertion.as_ref().map(|assertion| &assertion.name).zip(self.statement.as_deref())
    }

    /// Folded names of headers that `forward` sets, whether or not they have a value this time: removed under folding (http.md,
    /// "HTTP hygiene") from what the client sent, trailers included. The identity prefix comes on top.
    pub fn removes(&self) -> &[Box<str>] {
        &self.effects().removes
    }

    /// What happens to `Authorization`.
    pub fn authorization(&self) -> AuthorizationHeader {
        self.effects().authorization
    }

    /// Whether `X-HTTP-Method-Override` and its kin are removed: always but where the upstream's
    /// `quirks.method_override` is declared.
    pub fn strips_method_override(&self) -> bool {
        self.document().strips_method_override()
    }

    /// Time to the response head, instead of the upstream's.
    pub fn timeout(&self) -> Option<Duration> {
        self.effects().timeout
    }

    /// Bytes that the request body may have, instead of `limits.body`.
    pub fn max_body(&self) -> Option<u64> {
        self.effects().max_body
    }

    /// `forward.strip_prefix`, for mapping an upstream's own paths back (`rewrite_location`).
    pub fn stripped_prefix(&self) -> Option<&str> {
        self.effects().strip_prefix.as_deref()
    }

    /// `forward.add_prefix`, for mapping an upstream's own paths back (`rewrite_location`).
    pub fn added_prefix(&self) -> Option<&str> {
        self.effects().add_prefix.as_deref()
    }

    /// Conditions that were lifted for this client.
    pub fn lifted(&self) -> &[Lifted] {
        &self.lifted
    }

    /// Whether the document only observes.
    pub fn observed(&self) -> bool {
        self.matched().map_or(self.document().observes, |route| route.observes)
    }
}

/// A refusal: what the client is told and what the record says. It is boxed so that the decisions of those who are not
/// refused stay small.
#[derive(Debug)]
pub struct Denial(Box<Refusal>);

/// What a refusal consists of.
#[derive(Debug)]
pub(in crate::policy) struct Refusal {
    pub(in crate::policy) cause: Cause,
    pub(in crate::policy) document: Option<Arc<Document>>,
    pub(in crate::policy) route: Option<Arc<Route>>,
    pub(in crate::policy) place: Option<Place>,
    pub(in crate::policy) condition: Option<Arc<str>>,
}

impl From<Refusal> for Denial {
    fn from(refusal: Refusal) -> Self {
        Self(Box::new(refusal))
    }
}

/// Why a request is refused, with what the answer has to say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Cause {
    /// 400: the path means another route to a server that reads it in a way of its own.
    AmbiguousPath,
    /// 400: a bound parameter is spelt in a way that servers read differently, or the query cannot be decoded.
    AmbiguousParameter,
    /// 400: a bound header is spelt in a way that servers read differently, or `Connection` names it.
    AmbiguousHeader,
    /// 400: a request value does not have its declared type.
    ValueType,
    /// 400: the body is malformed, or servers may read it differently.
    Body,
    /// 413: the body is longer than what is read for policy.
    BodyTooLarge,
    /// 415: the body is of a kind that policy does not read here.
    UnreadableBody,
    /// 503: there is no room to read the body.
    NoRoom,
    /// 401, bare challenge: the route needs a token and none of an accepted issuer was shown. Authentication refuses
    /// such requests earlier; this is what remains if it ever did not.
    Unauthenticated,
    /// 401 `insufficient_user_authentication` (RFC 9470 section 3).
    StepUp(StepUp),
    /// 403 `insufficient_scope` (RFC 6750 section 3.1) with these scopes, separated by spaces.
    InsufficientScope {
        /// What failed: [`Reason::Scope`] or [`Reason::Permission`].
        reason: Reason,
        /// Value of the challenge's `scope`.
        scopes: String,
    },
    /// 403 without a challenge.
    Forbidden(Reason),
    /// 429: more requests than the route's `limit`.
    Limited(Exceeded),
    /// 404: no route, or a capture that does not have its type.
    NotFound,
    /// 405 with this `Allow`.
    MethodNotAllowed {
        /// The methods of the route's shape.
        allow: HeaderValue,
    },
}

/// What a better login would have to give (RFC 9470 section 3).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StepUp {
    /// `acr_values`, separated by spaces; empty: not part of the challenge.
    pub acr_values: String,
    /// `max_age` in seconds.
    pub max_age: Option<u64>,
    /// Scopes that are missing too, separated by spaces, so that one login brings everything; empty: none is.
    pub scopes: String,
}

impl Denial {
    /// The refusal of a request that is too much.
    pub(in crate::policy) fn limited(exceeded: Exceeded, document: &Arc<Document>, route: Option<&Arc<Route>>) -> Self {
        let place = route.and_then(|route| route.limit.as_ref()).map(|(_, place)| place.clone());
        let (document, route) = (Some(Arc::clone(document)), route.map(Arc::clone));
        Refusal { cause: Cause::Limited(exceeded), document, route, place, condition: None }.into()
    }

    /// Why, with what the answer needs.
    pub fn cause(&self) -> &Cause {
        &self.0.cause
    }

    /// The answer's status.
    pub fn status(&self) -> StatusCode {
        match self.0.cause {
            Cause::AmbiguousPath
            | Cause::AmbiguousParameter
            | Cause::AmbiguousHeader
            | Cause::ValueType
            | Cause::Body => StatusCode::BAD_REQUEST,
            Cause::BodyTooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Cause::UnreadableBody => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Cause::NoRoom => StatusCode::SERVICE_UNAVAILABLE,
            Cause::Unauthenticated | Cause::StepUp(_) => StatusCode::UNAUTHORIZED,
            Cause::InsufficientScope { .. } | Cause::Forbidden(_) => StatusCode::FORBIDDEN,
            Cause::Limited(_) => StatusCode::TOO_MANY_REQUESTS,
            Cause::NotFound => StatusCode::NOT_FOUND,
            Cause::MethodNotAllowed { .. } => StatusCode::METHOD_NOT_ALLOWED,
        }
    }

    /// The reason's word in metrics, records and policy tests.
    pub fn reason(&self) -> Reason {
        match &self.0.cause {
            Cause::AmbiguousPath => Reason::AmbiguousPath,
            Cause::AmbiguousParameter => Reason::AmbiguousParameter,
            Cause::AmbiguousHeader => Reason::AmbiguousHeader,
            Cause::ValueType => Reason::ValueType,
            Cause::Body => Reason::Body,
            Cause::BodyTooLarge => Reason::BodyTooLarge,
            Cause::UnreadableBody => Reason::UnreadableBody,
            Cause::NoRoom => Reason::NoRoom,
            Cause::Unauthenticated => Reason::Token,
            Cause::StepUp(_) => Reason::Authentication,
            Cause::InsufficientScope { reason, .. } | Cause::Forbidden(reason) => *reason,
            Cause::Limited(_) => Reason::Limit,
            Cause::NotFound => Reason::NoRoute,
            Cause::MethodNotAllowed { .. } => Reason::Method,
        }
    }

    /// What the condition that failed asks, as a policy would say it.
    pub fn condition(&self) -> Option<&Arc<str>> {
        self.0.condition.as_ref()
    }

    /// Where the condition that failed stands.
    pub fn place(&self) -> Option<&Place> {
        self.0.place.as_ref()
    }

    /// Name of the policy that refused; absent where no route matched.
    pub fn policy(&self) -> Option<&str> {
        self.0.document.as_ref().map(|document| &*document.name)
    }

    /// Name of the route that refused; absent where no route matched.
    pub fn route(&self) -> Option<&str> {
        self.0.route.as_ref().map(|route| &*route.name)
    }

    /// The route's number, for metrics.
    pub fn route_id(&self) -> Option<RouteId> {
        self.0.route.as_ref().map(|route| route.id)
    }
}
