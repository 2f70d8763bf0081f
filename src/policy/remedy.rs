//! What would have to be otherwise for a refused request to come closer to its permit: each a single change, found from
//! what failed first. Whether a change helps is for deciding again to say.

mod condition;
mod path;

use std::net::IpAddr;

use http::{HeaderName, header};
use serde_json::Value;

use crate::json::Pointer;
use crate::policy::Caller;
use crate::policy::body::{BodyError, BodyRules, BodyValues, soap_action};
use crate::policy::bound::BoundError;
use crate::policy::compile::TypedValue;
use crate::policy::condition::{CertificateName, Condition};
use crate::policy::evaluate::{Question, Stance};
use crate::policy::placed::Placed;
use crate::policy::route::Route;
use crate::policy::table::{Captures, Outcome};
use crate::policy::template::ValueSource;
use crate::policy::truth::Truth;
use crate::policy::value_type::ValueType;
use crate::principal::{ClaimPath, Flow, IssuerId};

/// A single change of a request, its connection or its token.
#[derive(Debug, Clone, PartialEq)]
pub enum Change {
    /// This method.
    Method(String),
    /// This host.
    Host(String),
    /// This path, canonical.
    Path(String),
    /// This capture of the path has this value, which gives this path.
    Capture(Box<str>, String, String),
    /// The only parameter that servers may read as this one has this value; `None`: there is none.
    Query(Box<str>, Option<String>),
    /// The value at this place of the JSON in this parameter is this text; `None`: there is none.
    QueryJson(Box<str>, Pointer, Option<String>),
    /// Parameters that cannot be decoded are not sent.
    DecodableQuery,
    /// The only header that servers may read as this one has this value; `None`: there is none.
    Header(HeaderName, Option<String>),
    /// The only parameter of the form that servers may read as this one has this value; `None`: there is none.
    Form(Box<str>, Option<String>),
    /// The value at this place of the JSON body is this text; `None`: there is none.
    Body(Pointer, Option<String>),
    /// The body is a SOAP message with this operation.
    Operation(String),
    /// A token of this issuer.
    Token(IssuerId),
    /// The token's scopes have, or have not, this one.
    Scope(String, bool),
    /// The token's permissions have, or have not, this one.
    Permission(String, bool),
    /// The principal's organisations have, or have not, this one.
    Organization(String, bool),
    /// The principal is global, or is not.
    Global(bool),
    /// This subject.
    Subject(String),
    /// This client.
    Client(String),
    /// This flow.
    Flow(Flow),
    /// This claim has this value; `None`: it is absent.
    Claim(ClaimPath, Option<Value>),
    /// This `acr`.
    Acr(String),
    /// The user has logged in just then.
    LogIn,
    /// From this address.
    Address(IpAddr),
    /// With a client certificate that has this name of this kind.
    Certificate(CertificateName, String),
}

impl Placed<'_> {
    /// Changes of which every one gets a refused request past what failed first, as far as that can be seen from it.
    pub fn remedies(&self, caller: &Caller<'_>, body: &[u8]) -> Vec<Change> {
        match &self.outcome {
            Outcome::Route(route, captures) => self.of_route(route, captures, caller, body),
            Outcome::NotFound { misfit: Some(route), .. } => self.of_misfit(route, caller),
            Outcome::Ambiguous { .. } | Outcome::NotFound { misfit: None, .. } => self.paths(),
            Outcome::MethodNotAllowed { allow, .. } => {
                let methods = allow.split(", ").filter(|method| !matches!(*method, "HEAD" | ""));
                methods.map(|method| Change::Method(method.to_owned())).chain(self.paths()).collect()
            }
        }
    }

    fn of_route(&self, route: &Route, captures: &Captures<'_>, caller: &Caller<'_>, body: &[u8]) -> Vec<Change> {
        let accepted = |id| route.issuers.contains(id);
        if route.needs_token && !caller.principal.is_some_and(|principal| accepted(principal.issuer.id)) {
            return route.issuers.iter().map(Change::Token).collect();
        }
        let query = match self.bound_values(route) {
            Ok(query) => query,
            Err(error) => return of_binding(&error),
        };
        let unread = &BodyValues::Unread;
        let supposed = Truth::Unknown;
        let question = Question { captures, query: &query, headers: self.head.headers, body: unread, caller, supposed };
        // Reading happens last, after every condition that needs no body.
        let without_body = |one: &Condition| route.body.is_none() || !one.asks_body();
        if let Some(found) = of_question(route, &question, without_body) {
            return found;
        }
        let Some(rules) = &route.body else { return Vec::new() };
        match self.body_values(route, Some(body)) {
            Ok(read) => {
                let question = Question { body: &read, ..question };
                of_question(route, &question, |_| true).unwrap_or_default()
            }
            Err(error) => of_body(rules, &error),
        }
    }

    /// Captures that do not have their types get an example, or the principal's own value.
    fn of_misfit(&self, route: &Route, caller: &Caller<'_>) -> Vec<Change> {
        let own = caller.principal.and_then(|principal| principal.subject.clone());
        path::misfits(self.target.path(), route, own.as_deref())
    }
}

/// Changes for what failed first: a type, or one of the conditions that are due. `None`: nothing did.
fn of_question(route: &Route, question: &Question<'_>, due: impl Fn(&Condition) -> bool) -> Option<Vec<Change>> {
    if let Some(typed) = route.typed.iter().find(|typed| !fits(typed, question)) {
        let change = example(&typed.kind).and_then(|text| set(&typed.source, text, route, question.captures));
        return Some(change.into_iter().collect());
    }
    let mut conditions = route.conditions.iter().filter(|one| due(one));
    let failed = conditions.find(|one| !one.evaluate(question, Stance::Plain).holds())?;
    let mut remedies = condition::Remedies { route, question, stance: Stance::Plain, found: Vec::new() };
    remedies.achieve(failed, true);
    Some(remedies.found)
}

fn fits(typed: &TypedValue, question: &Question<'_>) -> bool {
    match typed.source {
        // Captures were asked when the route was found; of a body that is not read there are no values.
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

fn of_binding(error: &BoundError) -> Vec<Change> {
    match error {
        BoundError::Escape(_) => vec![Change::DecodableQuery],
        // Neither another path nor a query without most of its parameters would be the same request.
        BoundError::InPath | BoundError::TooMany => Vec::new(),
        BoundError::Elsewhere(name) | BoundError::Json(name, _) => vec![Change::Query(name.clone(), None)],
        BoundError::MisspeltParameter(name) | BoundError::AfterSemicolon(name) | BoundError::NotText(name) => {
            vec![Change::Query(name.clone(), Some(String::new())), Change::Query(name.clone(), None)]
        }
        BoundError::MisspeltHeader(name) | BoundError::HopByHop(name) => {
            vec![Change::Header(name.clone(), Some(String::new())), Change::Header(name.clone(), None)]
        }
    }
}

/// What would make a body readable. What is malformed is its author's to mend.
fn of_body(rules: &BodyRules, error: &BodyError) -> Vec<Change> {
    let typed = || Change::Header(header::CONTENT_TYPE, Some(rules.media_type().to_owned()));
    match error {
        BodyError::Bound(error @ (BoundError::MisspeltHeader(_) | BoundError::HopByHop(_))) => of_binding(error),
        BodyError::Bound(BoundError::Elsewhere(name)) => vec![Change::Form(name.clone(), None)],
        BodyError::Bound(
            BoundError::MisspeltParameter(name) | BoundError::AfterSemicolon(name) | BoundError::NotText(name),
        ) => vec![Change::Form(name.clone(), Some(String::new())), Change::Form(name.clone(), None)],
        BodyError::NoType | BodyError::OtherType(_) | BodyError::Multipart | BodyError::NotUtf8 => vec![typed()],
        BodyError::Encoded => vec![Change::Header(header::CONTENT_ENCODING, None)],
        BodyError::MethodOverride => vec![Change::Form("_method".into(), None)],
        BodyError::OtherAction(_) => vec![Change::Header(soap_action(), None), typed()],
        BodyError::Bound(BoundError::Escape(_) | BoundError::Json(..) | BoundError::InPath | BoundError::TooMany)
        | BodyError::Json(_)
        | BodyError::Soap(_) => Vec::new(),
    }
}

/// The change that gives a value of the request this text.
fn set(source: &ValueSource, text: String, route: &Route, captures: &Captures<'_>) -> Option<Change> {
    match source {
        ValueSource::Query { name, .. } => match name.split_once('#') {
            None => Some(Change::Query(name.clone(), Some(text))),
            Some((name, pointer)) => Some(Change::QueryJson(name.into(), Pointer::parse(pointer).ok()?, Some(text))),
        },
        ValueSource::Header { name, .. } if !source.is_credential() => Some(Change::Header(name.clone(), Some(text))),
        ValueSource::Header { .. } => None,
        ValueSource::Form { name, .. } => Some(Change::Form(name.clone(), Some(text))),
        ValueSource::Body { pointer, .. } => Some(Change::Body(pointer.clone(), Some(text))),
        ValueSource::Operation => Some(Change::Operation(text)),
        ValueSource::Capture { index, name } => {
            let path = path::with_capture(route, captures, *index, &text)?;
            Some(Change::Capture(name.clone(), text, path))
        }
        ValueSource::Host { .. } => {
            let rest =
                route.document.hosts.iter().find_map(|host| Some(host.strip_prefix('{')?.split_once("}.")?.1))?;
            Some(Change::Host(format!("{text}.{rest}")))
        }
    }
}

/// A text of this type; `None` where only the author of an expression knows one.
fn example(kind: &ValueType) -> Option<String> {
    let texts = ["1", "a", "00000000-0000-4000-8000-000000000000", "A", "a1", "0001"];
    texts.into_iter().find(|text| kind.fits(text)).map(str::to_owned)
}

#[cfg(test)]
mod tests;
