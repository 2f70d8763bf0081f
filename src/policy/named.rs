//! What policies name of requests and tokens, over all documents: records keep it, so that a decision can be made again
//! from them.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::{HeaderMap, HeaderName, HeaderValue};
use serde_json::{Value, json};

use crate::policy::bound::{BoundHeaders, fold_decoded, is_ambiguous_header};
use crate::policy::condition::{Condition, Test};
use crate::policy::forward::{Effects, Part, PrincipalValue};
use crate::policy::route::Route;
use crate::policy::template::ValueSource;
use crate::principal::{ClaimPath, Principal};
use crate::target::query::{Separator, decode, parameters};

/// Every claim and request value that any document names. Captures are their route's own.
#[derive(Debug, Default)]
pub(in crate::policy) struct Named {
    claims: BTreeSet<ClaimPath>,
    query: BTreeSet<Box<str>>,
    headers: Vec<(HeaderName, Box<str>)>,
    /// Something is named that no record keeps.
    credentials: bool,
    ready: Ready,
}

/// What follows from the names, worked out once.
#[derive(Debug, Default)]
struct Ready {
    /// The parameters' names as they fold.
    folded: Vec<String>,
    /// The headers, as if one route bound them all.
    bound: BoundHeaders,
    /// The names of the parameters in records, in the order of the parameters.
    query: Vec<String>,
    headers: Vec<String>,
    claims: Vec<String>,
}

/// What deciding about a route may ask of a request or token besides what every record has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fact {
    /// A query parameter, by its decoded name.
    Query(Box<str>),
    /// A header.
    Header(HeaderName),
    /// A claim.
    Claim(ClaimPath),
    /// A credential, which no record keeps.
    Credential,
}

impl fmt::Display for Fact {
    /// Its name among the values of a record.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Query(name) => write!(f, "query.{name}"),
            Self::Header(name) => write!(f, "header.{name}"),
            Self::Claim(path) => write!(f, "claim.{path}"),
            Self::Credential => f.write_str("credentials"),
        }
    }
}

impl Route {
    /// Every such fact, once.
    pub fn facts(self: &Arc<Self>) -> Vec<Fact> {
        let named = Named::of(std::slice::from_ref(self));
        let query = named.query.into_iter().map(Fact::Query);
        let headers = named.headers.into_iter().map(|(name, _)| Fact::Header(name));
        let claims = named.claims.into_iter().map(Fact::Claim);
        query.chain(headers).chain(claims).chain(named.credentials.then_some(Fact::Credential)).collect()
    }
}

impl Named {
    /// What these routes name.
    pub(in crate::policy) fn of(routes: &[Arc<Route>]) -> Self {
        let mut named = Self::default();
        for route in routes {
            route.conditions.iter().for_each(|condition| named.condition(condition));
            route.typed.iter().for_each(|typed| named.source(&typed.source));
            named.query.extend(route.query.iter().map(|read| read.name.clone()));
            named.effects(&route.effects);
        }
        named.ready = named.ready();
        named
    }

    fn ready(&self) -> Ready {
        let mut bound = BoundHeaders::default();
        self.headers.iter().for_each(|(name, _)| bound.bind(name));
        Ready {
            folded: self.query.iter().map(|name| fold_decoded(name)).collect(),
            bound,
            query: self.query.iter().map(|name| Fact::Query(name.clone()).to_string()).collect(),
            headers: self.headers.iter().map(|(_, written)| format!("header.{written}")).collect(),
            claims: self.claims.iter().map(|path| Fact::Claim(path.clone()).to_string()).collect(),
        }
    }

    /// Names of query parameters, as they fold.
    pub(in crate::policy) fn folded_query(&self) -> &[String] {
        &self.ready.folded
    }

    /// Headers that a route which binds them would refuse the request for, by their names as written.
    pub(in crate::policy) fn ambiguous<'n>(&'n self, headers: &HeaderMap) -> impl Iterator<Item = &'n str> {
        // Together they are asked about without an allocation.
        let regular = self.ready.bound.check(headers).is_ok();
        let named = self.headers.iter().filter(move |_| !regular);
        named.filter(|(name, _)| is_ambiguous_header(name, headers)).map(|(_, written)| &**written)
    }

    /// What a request and a token have of it; `null` for what they do not have, so that it can be told from what nobody
    /// asked about.
    pub(in crate::policy) fn values(
        &self,
        query: Option<&str>,
        headers: &HeaderMap,
        principal: Option<&Principal>,
        values: &mut Vec<(String, Value)>,
    ) {
        for (name, recorded) in self.query.iter().zip(&self.ready.query) {
            let texts = query.into_iter().flat_map(parameters).filter(|parameter| {
                parameter.separator == Separator::Ampersand && decode(parameter.raw_name) == name.as_bytes()
            });
            let texts = texts.map(|parameter| decode(parameter.raw_value.unwrap_or_default()));
            let texts = texts.map(|text| String::from_utf8_lossy(&text).into_owned().into());
            push(recorded, texts, values);
        }
        for ((name, _), recorded) in self.headers.iter().zip(&self.ready.headers) {
            push(recorded, headers.get_all(name).iter().map(header_text), values);
        }
        // What nobody has asked userinfo for is not known to be absent.
        let Some(principal) = principal else { return };
        for (path, recorded) in self.claims.iter().zip(&self.ready.claims) {
            if !principal.pending.holds(path) {
                values.push((
                    recorded.clone(),
                    principal.claims.find(path).map_or(Value::Null, |claim| claim.to_value()),
                ));
            }
        }
    }

    fn condition(&mut self, condition: &Condition) {
        condition.each_template(&mut |template| self.source(&template.source));
        self.claims_of(condition);
    }

    fn claims_of(&mut self, condition: &Condition) {
        match &condition.test {
            Test::AllOf(parts) | Test::AnyOf(parts) => parts.iter().for_each(|part| self.claims_of(part)),
            Test::Not(part) => self.claims_of(part),
            Test::Claim(path, _) => {
                self.claims.insert(path.clone());
            }
            Test::Organization(_)
            | Test::Subject(_)
            | Test::Client(_)
            | Test::Request(..)
            | Test::Scope(_)
            | Test::Permission(_)
            | Test::Flow(_)
            | Test::Global(_)
            | Test::Issuer(..)
            | Test::Network(_)
            | Test::Narrow(_)
            | Test::Certificate(..) => {}
            Test::Acr(_) => {
                self.claims.insert(ClaimPath::top("acr"));
            }
            Test::MaxAge(_) => {
                self.claims.insert(ClaimPath::top("auth_time"));
            }
        }
    }

    fn effects(&mut self, effects: &Effects) {
        let headers = effects.headers.iter().flat_map(|setting| &setting.parts);
        for part in headers.chain(effects.query.iter().flat_map(|setting| &setting.parts)) {
            match part {
                Part::Principal(PrincipalValue::Claim(path)) => {
                    self.claims.insert(path.clone());
                }
                Part::Request(template) => self.source(&template.source),
                Part::Text(_) | Part::Principal(_) => {}
            }
        }
    }

    fn source(&mut self, source: &ValueSource) {
        self.credentials |= source.is_credential();
        if let ValueSource::Header { name, written } = source
            && !source.is_credential()
            && !self.headers.iter().any(|(known, _)| known == name)
        {
            self.headers.push((name.clone(), written.clone()));
        }
    }
}

/// A header's value; one that is no text in base64.
fn header_text(value: &HeaderValue) -> Value {
    match std::str::from_utf8(value.as_bytes()) {
        Ok(text) => text.into(),
        Err(_) => json!({"base64": STANDARD.encode(value.as_bytes())}),
    }
}

/// One value as itself, several as a list, none as `null`.
fn push(name: &str, mut texts: impl Iterator<Item = Value>, values: &mut Vec<(String, Value)>) {
    let value = match (texts.next(), texts.next()) {
        (None, _) => Value::Null,
        (Some(only), None) => only,
        (Some(first), Some(second)) => [first, second].into_iter().chain(texts).collect(),
    };
    values.push((name.to_owned(), value));
}
