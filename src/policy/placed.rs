//! Deciding a request that has found its table (http.md, step 6).

mod crossing;
mod published;
mod wanted;

use std::sync::Arc;

use http::uri::PathAndQuery;
use http::{HeaderValue, StatusCode};
use smallvec::SmallVec;

use crate::clock::Timestamp;
use crate::policy::body::{BodyRules, BodyValues, Expected};
use crate::policy::compile::TypedValue;
use crate::policy::condition::{Condition, Test};
use crate::policy::decision::{Cause, Decision, Denial, Ground, Lifted, Permit, Reason, Refusal, Unread};
use crate::policy::evaluate::{Parameter, Question, Stance};
use crate::policy::forward::{Effects, Unforwardable};
use crate::policy::limit::{Exceeded, Limit};
use crate::policy::route::{Document, Route, RouteId};
use crate::policy::table::{Captures, Outcome, Table};
use crate::policy::template::ValueSource;
use crate::policy::truth::Truth;
use crate::policy::{Caller, Head, Needs, Policies};
use crate::principal::{Flow, IssuerSet, Principal};
use crate::target::Target;
use wanted::{missing_scopes, step_up};

/// A request that has found its table.
#[derive(Debug)]
pub struct Placed<'r> {
    pub(in crate::policy) policies: &'r Policies,
    pub(in crate::policy) table: &'r Table,
    pub(in crate::policy) head: Head<'r>,
    pub(in crate::policy) target: Target<'r>,
    pub(in crate::policy) outcome: Outcome<'r>,
    /// The target as it arrived, where it is its own canonical form.
    pub(in crate::policy) sent: Option<&'r PathAndQuery>,
    /// The method that a preflight asks about, where the route of that method says what becomes of it.
    pub(in crate::policy) preflight: Option<&'r str>,
}

/// Query parameters that a route reads.
pub(in crate::policy) type Parameters<'r> = SmallVec<[Parameter<'r>; 4]>;

impl Placed<'_> {
    /// What has to be authenticated before [`Placed::decide`].
    pub fn needs(&self) -> Needs<'_> {
        let to_tell = || if self.table.needs_token { Needs::TokenToTell(&self.table.issuers) } else { Needs::Nothing };
        match &self.outcome {
            Outcome::Route(route, _) if route.needs_token && self.preflight.is_none() => Needs::Token(&route.issuers),
            // 400 comes before 401 (http.md, step 4); who only observes wants to see the token all the same.
            Outcome::Ambiguous { .. } if self.observes() => to_tell(),
            Outcome::Route(..) | Outcome::Ambiguous { .. } => Needs::Nothing,
            Outcome::NotFound { .. } | Outcome::MethodNotAllowed { .. } => to_tell(),
        }
    }

    /// Decides, or asks for claims or the body where nothing else denies. The permit is complete: nothing has to be asked again.
    pub fn decide(&self, caller: &Caller<'_>) -> Decision {
        match &self.outcome {
            Outcome::Route(route, captures) => {
                self.decide_preflight(route).unwrap_or_else(|| self.decide_route(route, captures, caller, None))
            }
            Outcome::Ambiguous { matched: Some((route, captures)), .. } => {
                let denial = Denial::of_route(Cause::AmbiguousPath, route, None);
                self.refused(denial, Some((route, captures)), caller)
            }
            Outcome::Ambiguous { matched: None, .. } => {
                self.refused(Denial::without_route(Cause::AmbiguousPath, None), None, caller)
            }
            Outcome::NotFound { document, .. } => self.untold(Cause::NotFound, *document, caller),
            Outcome::MethodNotAllowed { allow, document } => {
                let allow = HeaderValue::from_str(allow).unwrap_or(HeaderValue::from_static(""));
                self.untold(Cause::MethodNotAllowed { allow }, Some(document), caller)
            }
        }
    }

    /// Decides with the whole body. Never [`Decision::NeedsBody`], and [`Decision::NeedsClaims`] only where
    /// [`Placed::decide`] said so before.
    pub fn decide_with_body(&self, caller: &Caller<'_>, body: &[u8]) -> Decision {
        match &self.outcome {
            Outcome::Route(route, captures) => {
                self.decide_preflight(route).unwrap_or_else(|| self.decide_route(route, captures, caller, Some(body)))
            }
            Outcome::Ambiguous { .. } | Outcome::NotFound { .. } | Outcome::MethodNotAllowed { .. } => {
                self.decide(caller)
            }
        }
    }

    /// Decides where the body that was asked for cannot be read: a refusal, or what is observed instead.
    pub fn decide_unread(&self, caller: &Caller<'_>, why: Unread) -> Decision {
        let cause = match why {
            Unread::TooLarge => Cause::BodyTooLarge,
            Unread::Exhausted => Cause::NoRoom,
        };
        match &self.outcome {
            Outcome::Route(route, captures) => {
                self.refused(Denial::of_route(cause, route, None), Some((route, captures)), caller)
            }
            Outcome::Ambiguous { .. } | Outcome::NotFound { .. } | Outcome::MethodNotAllowed { .. } => {
                self.decide(caller)
            }
        }
    }

    /// The permit of a request whose authentication failed under `mode: observe`, with the status that it would have been
    /// refused with: forwarded without identity, unless it is known whose token it is. `None`: refuse it.
    pub fn unauthenticated(&self, would: StatusCode, known: Option<&Principal>) -> Option<(Permit, StatusCode)> {
        let would = if matches!(self.outcome, Outcome::Ambiguous { .. }) { StatusCode::BAD_REQUEST } else { would };
        let nobody = Caller { principal: known, address: None, certificate: None, now: Timestamp::default() };
        let matched = match &self.outcome {
            Outcome::Route(route, captures) | Outcome::Ambiguous { matched: Some((route, captures)), .. } => {
                Some((*route, captures))
            }
            Outcome::Ambiguous { matched: None, .. } | Outcome::NotFound { .. } | Outcome::MethodNotAllowed { .. } => {
                None
            }
        };
        self.observed(matched, &nobody).map(|permit| (permit, would))
    }

    /// The limit of the matched route.
    pub fn limit(&self) -> Option<(RouteId, &Limit)> {
        match &self.outcome {
            Outcome::Route(route, _) if self.preflight.is_none() => Some((route.id, route.limit()?)),
            Outcome::Route(..)
            | Outcome::Ambiguous { .. }
            | Outcome::NotFound { .. }
            | Outcome::MethodNotAllowed { .. } => None,
        }
    }

    /// The refusal of a request that is too much for the matched route's limit before anybody is authenticated.
    pub fn limited(&self, exceeded: Exceeded) -> Option<Denial> {
        let Outcome::Route(route, _) = &self.outcome else { return None };
        Some(Denial::limited(exceeded, &route.document, Some(route)))
    }

    /// Whether the route, or the document that takes what no route matches, only observes.
    pub fn observes(&self) -> bool {
        match (self.route(), self.policy()) {
            (Some(route), _) => route.observes,
            (None, Some(document)) => document.observes,
            (None, None) => false,
        }
    }

    /// The policy of the matched route, or the one that a request without a route is under.
    pub fn policy(&self) -> Option<&Document> {
        self.document().map(|document| &**document)
    }

    /// The matched route.
    pub fn route(&self) -> Option<&Route> {
        match &self.outcome {
            Outcome::Route(route, _) | Outcome::Ambiguous { matched: Some((route, _)), .. } => Some(route),
            Outcome::Ambiguous { matched: None, .. } | Outcome::NotFound { .. } | Outcome::MethodNotAllowed { .. } => {
                None
            }
        }
    }

    /// The canonical path, for records.
    pub fn canonical_path(&self) -> &str {
        self.target.path()
    }

    fn document(&self) -> Option<&Arc<Document>> {
        match &self.outcome {
            Outcome::Route(route, _) | Outcome::Ambiguous { matched: Some((route, _)), .. } => Some(&route.document),
            Outcome::Ambiguous { matched: None, .. } => self.table.longest_base_path(&self.target),
            Outcome::NotFound { document, .. } => *document,
            Outcome::MethodNotAllowed { document, .. } => Some(document),
        }
    }

    fn decide_route(
        &self,
        route: &Arc<Route>,
        captures: &Captures<'_>,
        caller: &Caller<'_>,
        body: Option<&[u8]>,
    ) -> Decision {
        // A route that reads no token knows no principal, whoever hands one in.
        let known = &Caller { principal: caller.principal.filter(|_| route.needs_token), ..*caller };
        match self.judge(route, captures, known, body) {
            Ok(decision) => decision,
            Err(denial) => self.refused(denial, Some((route, captures)), caller),
        }
    }

    /// The permit, or what has to be asked or read first.
    fn judge(
        &self,
        route: &Arc<Route>,
        captures: &Captures<'_>,
        caller: &Caller<'_>,
        body: Option<&[u8]>,
    ) -> Result<Decision, Denial> {
        let denied = |cause| Denial::of_route(cause, route, None);
        if route.needs_token && !caller.principal.is_some_and(|principal| route.issuers.contains(principal.issuer.id)) {
            return Err(denied(Cause::Unauthenticated));
        }
        let query = self.bound_values(route).map_err(|error| denied(error.cause()))?;
        let (headers, body_values) = (self.head.headers, &BodyValues::Unread);
        // Who would be refused even if userinfo said the best is refused without asking there.
        let supposed = Truth::True;
        let question = Question { captures, query: &query, headers, body: body_values, caller, supposed };
        self.hold(route, &question)?;
        let Some(rules) = &route.body else { return self.settle(route, &question) };
        // Reading happens last, after everything that needs no body.
        let values = match (self.expected(route, body), body) {
            (Err(error), _) => return Err(denied(error.cause())),
            (Ok(Expected::Nothing), _) => BodyValues::Nothing,
            (Ok(Expected::Whole), None) if question.turns_on_userinfo(route) => return Ok(Decision::NeedsClaims),
            (Ok(Expected::Whole), None) => return Ok(Decision::NeedsBody),
            (Ok(Expected::Whole), Some(body)) => rules.read(&self.head, body).map_err(|error| denied(error.cause()))?,
        };
        let question = Question { body: &values, ..question };
        if rules.are_asked_about() {
            self.hold(route, &question)?;
        }
        self.settle(route, &question)
    }

    /// The permit of a request to which nothing that is known is an obstacle, unless it turns on what userinfo knows.
    fn settle(&self, route: &Arc<Route>, question: &Question<'_>) -> Result<Decision, Denial> {
        if question.turns_on_userinfo(route) {
            return Ok(Decision::NeedsClaims);
        }
        self.permit(route, question).map(Decision::Allow)
    }

    /// Types and conditions: those that ask about the body once it was read, all others before.
    fn hold(&self, route: &Arc<Route>, question: &Question<'_>) -> Result<(), Denial> {
        let before = matches!(question.body, BodyValues::Unread);
        let split = route.body.as_ref().is_some_and(BodyRules::are_asked_about);
        let due = |in_body: bool| !split || in_body != before;
        if !route.typed.iter().filter(|typed| due(typed.source.is_in_body())).all(|typed| fits(typed, question)) {
            return Err(Denial::of_route(Cause::ValueType, route, None));
        }
        if before && !route.narrowings().all(|narrowing| narrowing.is_readable(question)) {
            return Err(Denial::of_route(Cause::ValueType, route, None));
        }
        let mut conditions = route.conditions.iter().filter(|one| !split || due(one.asks_body()));
        match conditions.find(|one| !one.evaluate(question, Stance::Plain).holds()) {
            None => Ok(()),
            Some(failed) => Err(Denial::of_route(self.cause(failed, route, question), route, Some(failed))),
        }
    }

    fn permit(&self, route: &Arc<Route>, question: &Question<'_>) -> Result<Permit, Denial> {
        self.permitted(route, question).map_err(|refusal| {
            let (document, route) = (Some(Arc::clone(&route.document)), Some(Arc::clone(route)));
            let cause = Cause::Forbidden(refusal.reason);
            Refusal { cause, document, route, place: refusal.place, condition: None }.into()
        })
    }

    fn permitted(&self, route: &Arc<Route>, question: &Question<'_>) -> Result<Permit, Unforwardable> {
        let effects = &route.effects;
        let facts = &self.policies.identity;
        let principal = question.caller.principal;
        Ok(Permit {
            ground: Ground::Route(Arc::clone(route)),
            path_and_query: self.path_and_query(route, question)?,
            headers: effects.headers(question, facts)?,
            identity: principal.map(|principal| effects.identity_values(principal, facts)).transpose()?,
            statement: principal.map_or(Ok(None), |principal| effects.statement(principal, facts))?.map(Box::new),
            lifted: principal.map_or_else(Vec::new, |principal| lifted(&route.conditions, principal)),
            preflight: false,
        })
    }

    fn path_and_query(&self, route: &Route, question: &Question<'_>) -> Result<PathAndQuery, Unforwardable> {
        let (effects, path) = (&route.effects, self.target.path());
        let spelt = self.target.read_query().and_then(|query| route.bound_query.spelt_plainly(query));
        let query = spelt.as_deref().or(self.target.query());
        if effects.keeps_target() && route.narrowings().next().is_none() {
            return match self.sent.filter(|_| spelt.is_none()) {
                Some(sent) => Ok(sent.clone()),
                None => Effects::unchanged_target(path, query),
            };
        }
        effects.target(path, query, route.conditions.iter(), question)
    }

    /// What a failed condition answers with.
    fn cause(&self, failed: &Condition, route: &Route, question: &Question<'_>) -> Cause {
        let reason = failed.test.reason();
        let principal = question.caller.principal;
        match (reason, principal) {
            (Reason::Scope, Some(principal)) => {
                Cause::InsufficientScope { reason, scopes: missing_scopes(route, principal, question) }
            }
            (Reason::Permission, Some(principal)) if principal.permissions.is_none() => {
                match self.policies.permission_scope(principal.issuer.id) {
                    Some(scope) => Cause::InsufficientScope { reason, scopes: scope.to_owned() },
                    None => Cause::Forbidden(reason),
                }
            }
            (Reason::Authentication, Some(principal)) => {
                Cause::StepUp(step_up(&route.conditions, missing_scopes(route, principal, question)))
            }
            _ => Cause::Forbidden(reason),
        }
    }

    /// 404 and 405, which only holders of a token hear of where tokens are needed at all.
    fn untold(&self, cause: Cause, document: Option<&Arc<Document>>, caller: &Caller<'_>) -> Decision {
        let known = |issuers: &IssuerSet| caller.principal.is_some_and(|one| issuers.contains(one.issuer.id));
        let cause = if self.table.needs_token && !known(&self.table.issuers) { Cause::Unauthenticated } else { cause };
        self.refused(Denial::without_route(cause, document), None, caller)
    }

    /// The refusal, or under `mode: observe` what is done all the same.
    fn refused(&self, denial: Denial, matched: Option<(&Arc<Route>, &Captures<'_>)>, caller: &Caller<'_>) -> Decision {
        match self.observed(matched, caller) {
            Some(permit) => Decision::Observed(permit, denial),
            None => Decision::Deny(denial),
        }
    }

    /// The permit of what is only observed: parameters are not set, headers as far as they have a value.
    fn observed(&self, matched: Option<(&Arc<Route>, &Captures<'_>)>, caller: &Caller<'_>) -> Option<Permit> {
        if !self.observes() {
            return None;
        }
        let document = self.document()?;
        let effects: &Effects = matched.map_or(&document.effects, |(route, _)| &route.effects);
        let none = Captures::default();
        let query = matched.map(|(route, _)| self.parameters(route, |_| true)).unwrap_or_default();
        let captures = matched.map_or(&none, |(_, captures)| captures);
        let body = &BodyValues::Unread;
        let supposed = Truth::Unknown;
        let question = Question { captures, query: &query, headers: self.head.headers, body, caller, supposed };
        let (path, query) = (self.target.path(), self.target.query());
        let path_and_query =
            effects.plain_target(path, query).or_else(|_| Effects::unchanged_target(path, query)).ok()?;
        let facts = &self.policies.identity;
        Some(Permit {
            ground: match matched {
                Some((route, _)) => Ground::Route(Arc::clone(route)),
                None => Ground::Document(Arc::clone(document)),
            },
            path_and_query,
            identity: caller.principal.map(|principal| crate::policy::IdentityValues::of(principal, facts)),
            statement: caller
                .principal
                .and_then(|principal| effects.statement(principal, facts).ok().flatten())
                .map(Box::new),
            headers: effects.headers_found(&question, facts),
            lifted: Vec::new(),
            preflight: self.preflight.is_some(),
        })
    }
}

impl Denial {
    fn of_route(cause: Cause, route: &Arc<Route>, failed: Option<&Condition>) -> Self {
        Refusal {
            cause,
            document: Some(Arc::clone(&route.document)),
            route: Some(Arc::clone(route)),
            place: failed.map(|condition| condition.place.clone()),
            condition: failed.map(|condition| condition.test.to_string().into()),
        }
        .into()
    }

    fn without_route(cause: Cause, document: Option<&Arc<Document>>) -> Self {
        Refusal { cause, document: document.map(Arc::clone), route: None, place: None, condition: None }.into()
    }
}

/// Whether every value has its type. A capture's was asked when the route was found.
pub(in crate::policy) fn fits(typed: &TypedValue, question: &Question<'_>) -> bool {
    match typed.source {
        ValueSource::Host { .. } | ValueSource::Capture { .. } => true,
        ValueSource::Query { .. }
        | ValueSource::Header { .. }
        | ValueSource::Form { .. }
        | ValueSource::Body { .. }
        | ValueSource::Operation => {
            question.whole_texts(&typed.source).all(|text| text.is_some_and(|text| typed.kind.fits(text)))
        }
    }
}

/// The conditions that were not asked of this principal.
fn lifted(conditions: &[Condition], principal: &Principal) -> Vec<Lifted> {
    let mut found = Vec::new();
    if principal.flow == Flow::ClientCredentials {
        for condition in conditions {
            collect_lifted(condition, principal, &mut found);
        }
    }
    found
}

fn collect_lifted(condition: &Condition, principal: &Principal, found: &mut Vec<Lifted>) {
    if condition.lifted_for(Some(principal)) {
        found.push(Lifted { kind: condition.test.reason(), place: condition.place.clone() });
        return;
    }
    if let Test::AllOf(parts) | Test::AnyOf(parts) = &condition.test {
        for part in parts {
            collect_lifted(part, principal, found);
        }
    }
}
