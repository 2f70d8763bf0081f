//! Requests worth pasting: for every persona one that is allowed or else what it gets, one refusal, and one without a
//! token, each with the answer to expect. The answers come from the engine that decides real requests.

use std::collections::BTreeSet;
use std::fmt::{self, Display};
use std::sync::Arc;

use http::StatusCode;
use http::header::{AUTHORIZATION, HeaderMap, HeaderName, HeaderValue};
use serde_json::Value;

use super::key::SigningKey;
use super::local::LOCALHOST;
use super::persona::{Persona, Realm, TOKEN_SECONDS};
use super::sketch::{RequestSketch, RouteSketch, Sketch};
use crate::authn::{Failure, Issuers};
use crate::clock::Timestamp;
use crate::policy::{Caller, Decision, Denial, Document, Head, Needs, PlaceError, Placed, Policies, Route};
use crate::principal::Principal;
use crate::target::{Authority, Scheme};

/// How many values of a persona's claims are tried in a route's captures.
const MOST_VALUES: usize = 12;

/// A request and what comes of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Example {
    /// Whose token it carries.
    pub persona: Option<String>,
    /// Its method.
    pub method: String,
    /// Its host.
    pub host: String,
    /// Its path and query.
    pub target: String,
    /// Headers besides the token.
    pub headers: Vec<(String, String)>,
    /// The answer.
    pub outcome: Outcome,
}

/// What the gateway does with a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// It is forwarded.
    Allowed,
    /// It is forwarded although it would be refused: the document only observes.
    Observed(Refusal),
    /// It is refused.
    Refused(Refusal),
}

/// A refusal in short.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// The answer's status.
    pub status: u16,
    /// Why: a reason's word, or what is wrong with the token.
    pub reason: String,
    /// The condition that failed, as `path:line:column`.
    pub place: Option<String>,
}

impl Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, {}", self.status, self.reason)?;
        match &self.place {
            Some(place) => write!(f, ", {place}"),
            None => Ok(()),
        }
    }
}

/// What examples are chosen with.
#[derive(Debug, Clone, Copy)]
pub struct Stage<'s> {
    /// The policies in force.
    pub policies: &'s Policies,
    /// The issuers in force.
    pub issuers: &'s Issuers,
    /// What documents and tests speak of.
    pub sketch: &'s Sketch,
    /// Everybody.
    pub realms: &'s [Realm],
    /// The key of their tokens.
    pub key: &'s SigningKey,
    /// The moment of all requests.
    pub now: Timestamp,
}

impl Stage<'_> {
    /// The examples, in the order of the personas; the one without a token comes last.
    pub async fn examples(&self) -> Vec<Example> {
        let mut examples: Vec<Example> = Vec::new();
        for persona in &self.sketch.personas {
            let found = self.realms.iter().find_map(|realm| Some((realm, realm.persona(&persona.name)?)));
            if let Some((realm, persona)) = found {
                examples.extend(self.of_persona(realm, persona).await);
            }
        }
        let shown = examples.iter().find(|example| example.outcome == Outcome::Allowed).or(examples.first());
        let bare = match shown {
            Some(shown) => {
                Some(Wish { headers: shown.headers.clone(), ..Wish::new(&shown.method, &shown.host, &shown.target) })
            }
            None => self.wishes(None).into_iter().next(),
        };
        if let Some(wish) = bare {
            examples.extend(self.example(&wish, None, None).await);
        }
        examples
    }

    /// One request that is allowed and one that is refused, if there are such; at least one of them.
    async fn of_persona(&self, realm: &Realm, persona: &Persona) -> Vec<Example> {
        let claims = realm.access_claims(persona, self.now, TOKEN_SECONDS);
        let Ok(token) = self.key.sign(realm.token_type(), &claims) else { return Vec::new() };
        let (mut allowed, mut refused, mut anything) = (None, None, None);
        for wish in self.wishes(Some((realm, persona))) {
            let Some(example) = self.example(&wish, Some(&persona.name), Some(&token)).await else { continue };
            match &example.outcome {
                Outcome::Allowed => allowed = allowed.or(Some(example)),
                // A request of a test is meant to be seen; what was made up only shows that something is refused.
                Outcome::Refused(refusal) if wish.from_test && refusal.status == 403 => {
                    refused = refused.or(Some(example));
                }
                Outcome::Refused(_) | Outcome::Observed(_) => anything = anything.or(Some(example)),
            }
        }
        if allowed.is_none() && refused.is_none() {
            return anything.into_iter().collect();
        }
        allowed.into_iter().chain(refused).collect()
    }

    /// Requests to try: those of tests first, then one of every route and value.
    fn wishes(&self, persona: Option<(&Realm, &Persona)>) -> Vec<Wish> {
        let name = persona.map(|(_, persona)| persona.name.as_str());
        let tested = self.sketch.requests.iter().filter(|request| request.persona.as_deref() == name);
        let mut wishes: Vec<Wish> = tested.filter_map(Wish::tested).collect();
        let values = persona.map(|(_, persona)| texts(persona)).unwrap_or_default();
        let accepted = |route: &&RouteSketch| {
            let issuer = persona.map(|(realm, _)| &*realm.issuer.name);
            issuer.is_none_or(|name| route.issuers.is_empty() || route.issuers.iter().any(|one| one == name))
        };
        for route in self.sketch.routes.iter().filter(accepted) {
            wishes.extend(Wish::made_up(route, &values));
        }
        // Reading is what one pastes first.
        wishes.sort_by_key(|wish| (!wish.from_test, wish.method != "GET"));
        wishes
    }

    /// The request at `localhost` where that makes no difference, else at its own host.
    async fn example(&self, wish: &Wish, persona: Option<&str>, token: Option<&str>) -> Option<Example> {
        let local = Wish { host: LOCALHOST.to_owned(), ..wish.clone() };
        let there = self.outcome(&local, token).await;
        let here = self.outcome(wish, token).await;
        match (there, here) {
            (Some((outcome, _)), None) => Some(local.with(persona, outcome)),
            (Some(there), Some(here)) if there == here => Some(local.with(persona, there.0)),
            (_, here) => here.map(|(outcome, _)| wish.with(persona, outcome)),
        }
    }

    /// The straight line of the gateway without its connections, and the policy and route that decided. `None` for a
    /// request that cannot be pasted, and for one to a host that nobody answers.
    async fn outcome(&self, wish: &Wish, token: Option<&str>) -> Option<(Outcome, Option<Decider>)> {
        let mut headers = HeaderMap::new();
        for (name, value) in &wish.headers {
            headers.append(HeaderName::try_from(name.as_str()).ok()?, HeaderValue::try_from(value.as_str()).ok()?);
        }
        if let Some(token) = token {
            headers.insert(AUTHORIZATION, HeaderValue::try_from(format!("Bearer {token}")).ok()?);
        }
        let authority = Authority::parse(&wish.host, Scheme::Https).ok()?;
        let head = Head::new(&wish.method, &authority, &wish.target, &headers);
        let placed = match self.policies.place(&head) {
            Ok(placed) => placed,
            Err(PlaceError::UnknownHost) => return None,
            Err(PlaceError::MethodRefused) => return Some((Outcome::refused(405, "method"), None)),
            Err(error @ (PlaceError::Target(_) | PlaceError::MethodOverride)) => {
                return Some((Outcome::refused(400, error.to_string()), None));
            }
        };
        let name = |(policy, route): (&Document, Option<&Route>)| {
            (policy.name().to_owned(), route.map(|route| route.name().to_owned()))
        };
        let decider = placed.policy().map(|policy| name((policy, placed.route())));
        let principal = match placed.needs() {
            // A token is no matter there: nothing to show.
            Needs::Nothing if token.is_some() && !wish.from_test => return None,
            Needs::Nothing => None,
            Needs::Token(accepted) | Needs::TokenToTell(accepted) => {
                match self.issuers.authenticate(&headers, accepted, None, self.now).await {
                    Ok(Some(principal)) => Some(principal),
                    Ok(None) => return Some((unauthenticated(&placed, &Failure::Missing), decider)),
                    Err(failure) => return Some((unauthenticated(&placed, &failure), decider)),
                }
            }
        };
        let decision = match self.decision(&placed, &headers, principal).await {
            Ok(decision) => decision,
            Err(failure) => return Some((unauthenticated(&placed, &failure), decider)),
        };
        let outcome = match decision {
            Decision::Allow(_) => Outcome::Allowed,
            Decision::Deny(denial) => Outcome::Refused(Refusal::of(&denial)),
            Decision::Observed(_, denial) => Outcome::Observed(Refusal::of(&denial)),
            // The showcase sends neither bodies nor preflights, and what cannot be decided is not shown.
            Decision::NeedsClaims | Decision::NeedsBody | Decision::Answered(_) => return None,
        };
        Some((outcome, decider))
    }

    /// The decision, with what userinfo says where it turns on that.
    async fn decision(
        &self,
        placed: &Placed<'_>,
        headers: &HeaderMap,
        principal: Option<Arc<Principal>>,
    ) -> Result<Decision, Failure> {
        let address = Some(std::net::Ipv4Addr::LOCALHOST.into());
        let caller = |principal| Caller { principal, address, certificate: None, now: self.now };
        match (placed.decide(&caller(principal.as_deref())), &principal) {
            (Decision::NeedsClaims, Some(principal)) => {
                let whole = self.issuers.complete(headers, principal, self.now).await?;
                Ok(placed.decide(&caller(Some(&whole))))
            }
            (decision, _) => Ok(decision),
        }
    }
}

impl Outcome {
    fn refused(status: u16, reason: impl Into<String>) -> Self {
        Self::Refused(Refusal { status, reason: reason.into(), place: None })
    }
}

/// What becomes of a request without a token that counts: refused, unless its document only observes.
fn unauthenticated(placed: &Placed<'_>, failure: &Failure) -> Outcome {
    let status = match failure {
        Failure::ManyHeaders => StatusCode::BAD_REQUEST,
        Failure::Missing | Failure::Invalid(_) => StatusCode::UNAUTHORIZED,
        Failure::Unavailable { .. } => StatusCode::SERVICE_UNAVAILABLE,
    };
    let refusal = Refusal { status: status.as_u16(), reason: failure.to_string(), place: None };
    match placed.unauthenticated(status, None) {
        Some(_) => Outcome::Observed(refusal),
        None => Outcome::Refused(refusal),
    }
}

impl Refusal {
    fn of(denial: &Denial) -> Self {
        Self {
            status: denial.status().as_u16(),
            reason: denial.reason().as_str().to_owned(),
            place: denial.place().map(ToString::to_string),
        }
    }
}

/// Policy and route by name.
type Decider = (String, Option<String>);

/// A request to try.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Wish {
    method: String,
    host: String,
    target: String,
    headers: Vec<(String, String)>,
    from_test: bool,
}

impl Wish {
    fn new(method: &str, host: &str, target: &str) -> Self {
        Self {
            method: method.to_owned(),
            host: host.to_owned(),
            target: target.to_owned(),
            headers: Vec::new(),
            from_test: false,
        }
    }

    fn tested(request: &RequestSketch) -> Option<Self> {
        let rest = request.url.strip_prefix("https://").or_else(|| request.url.strip_prefix("http://"))?;
        let (host, target) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
        let host = host.rsplit_once(':').filter(|(_, port)| port.parse::<u16>().is_ok()).map_or(host, |(host, _)| host);
        let slash = if target.starts_with('/') { "" } else { "/" };
        let wish = Self::new(&request.method, host, &format!("{slash}{target}"));
        Some(Self { headers: request.headers.clone(), from_test: true, ..wish })
    }

    /// The route's path with each of the values in its captures, at its first host.
    fn made_up(route: &RouteSketch, values: &[String]) -> Vec<Self> {
        let Some(host) = route.hosts.first().map(|host| sample_host(host)) else { return Vec::new() };
        let method = match route.methods.iter().find(|method| *method == "GET" || *method == "*") {
            Some(_) => "GET",
            None => match route.methods.first() {
                Some(method) => method.as_str(),
                None => return Vec::new(),
            },
        };
        let own = values.iter().map(Some).chain([None]);
        let targets: BTreeSet<String> = own.map(|value| fill(route, value.map(String::as_str))).collect();
        targets.iter().map(|target| Self::new(method, &host, target)).collect()
    }

    fn with(&self, persona: Option<&str>, outcome: Outcome) -> Example {
        Example {
            persona: persona.map(str::to_owned),
            method: self.method.clone(),
            host: self.host.clone(),
            target: self.target.clone(),
            headers: self.headers.clone(),
            outcome,
        }
    }
}

/// Some host that a pattern stands for.
fn sample_host(pattern: &str) -> String {
    match pattern.split_once('.') {
        Some((first, rest)) if first == "*" || first.starts_with('{') => format!("sample.{rest}"),
        _ if pattern == "*" => LOCALHOST.to_owned(),
        _ => pattern.to_owned(),
    }
}

/// The path with every capture filled: with the value where there is one, else with something of its type.
fn fill(route: &RouteSketch, value: Option<&str>) -> String {
    let mut out = String::new();
    let mut rest = route.path.as_str();
    while let Some((before, name, after)) = rest.split_once('{').and_then(|(before, after)| {
        let (name, after) = after.split_once('}')?;
        Some((before, name, after))
    }) {
        out.push_str(before);
        let own = value.map(super::provider::form::encode);
        let own = own.unwrap_or_else(|| match route.params.get(name).map(String::as_str) {
            Some("uuid") => "00000000-0000-4000-8000-000000000000".to_owned(),
            Some("int") => "1".to_owned(),
            _ => "sample".to_owned(),
        });
        out.push_str(if name.starts_with('*') { "sample" } else { &own });
        rest = after;
    }
    out.push_str(rest);
    out
}

/// Every text in a persona's claims, the subject first.
fn texts(persona: &Persona) -> Vec<String> {
    fn collect(value: &Value, out: &mut Vec<String>) {
        match value {
            Value::String(text) if !out.contains(text) => out.push(text.clone()),
            Value::Array(items) => items.iter().for_each(|item| collect(item, out)),
            Value::Object(members) => members.values().for_each(|member| collect(member, out)),
            Value::String(_) | Value::Number(_) | Value::Bool(_) | Value::Null => {}
        }
    }
    let mut out = Vec::new();
    if let Some(subject) = persona.claims.get("sub") {
        collect(subject, &mut out);
    }
    persona.claims.values().for_each(|claim| collect(claim, &mut out));
    out.truncate(MOST_VALUES);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn route(path: &str, methods: &[&str]) -> RouteSketch {
        RouteSketch {
            hosts: vec!["{tenant}.example.com".to_owned()],
            path: path.to_owned(),
            issuers: Vec::new(),
            methods: methods.iter().map(|method| (*method).to_owned()).collect(),
            params: [("c".to_owned(), "uuid".to_owned()), ("n".to_owned(), "int".to_owned())].into(),
        }
    }

    #[test]
    fn captures_are_filled_with_values_or_something_of_their_type() {
        let route = route("/a/{c}/b-{n}.pdf/{x}/{*rest}", &["GET"]);
        assert_eq!(fill(&route, Some("a/b")), "/a/a%2Fb/b-a%2Fb.pdf/a%2Fb/sample");
        assert_eq!(fill(&route, None), "/a/00000000-0000-4000-8000-000000000000/b-1.pdf/sample/sample");
    }

    #[test]
    fn a_route_is_tried_with_a_method_that_it_has() {
        let methods = |listed: &[&str]| {
            Wish::made_up(&route("/a", listed), &[]).into_iter().map(|wish| wish.method).collect::<Vec<_>>()
        };
        assert_eq!(methods(&["PUT", "GET"]), ["GET"]);
        assert_eq!(methods(&["*"]), ["GET"]);
        assert_eq!(methods(&["PUT", "POST"]), ["PUT"]);
        assert_eq!(Wish::made_up(&route("/a", &["GET"]), &[])[0].host, "sample.example.com");
    }

    #[test]
    fn requests_of_tests_keep_their_target_and_lose_their_port() {
        let request = |url: &str| RequestSketch {
            persona: None,
            method: "GET".to_owned(),
            url: url.to_owned(),
            headers: Vec::new(),
        };
        let wish = Wish::tested(&request("https://a.example:8443/b?c=d")).unwrap();
        assert_eq!((&*wish.host, &*wish.target), ("a.example", "/b?c=d"));
        assert_eq!(Wish::tested(&request("https://a.example")).unwrap().target, "/");
        assert_eq!(Wish::tested(&request("ftp://a.example/")), None);
    }
}
