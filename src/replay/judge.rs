//! Deciding a recorded request with the policies that are loaded, and whether that is another answer than then.

use std::fmt;

use super::record::{Decided, Record, Token};
use crate::authn::Fault;
use crate::policy::{Fact, Policies};
use crate::principal::IssuerId;
use crate::response::Refusal;
use crate::target::{Authority, Scheme};
use crate::trial::{Attempt, Bearer, Loaded, Outcome as Tried};

/// The limit of a rate is no property of one request.
const LIMIT: &str = "limit";

/// Policies, and what each of their routes asks.
#[derive(Debug)]
pub struct Judge<'l> {
    loaded: &'l Loaded,
    /// By the route's number.
    facts: Vec<Vec<Fact>>,
}

/// What becomes of a request, as far as it can be compared.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Outcome {
    /// It is forwarded.
    Allow,
    /// It is refused with a status, if one was sent, and a reason.
    Deny(Option<u16>, Box<str>),
    /// It is forwarded although it would be refused.
    Observed(u16, Box<str>),
}

/// What deciding again says about a record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Judgement {
    /// The same as then.
    Same,
    /// Something else.
    Changed(Outcome),
    /// The record lacks something that the policies ask.
    Unknown(Box<str>),
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Allow => f.write_str("allow"),
            Self::Deny(Some(status), reason) => write!(f, "deny: {reason} ({status})"),
            Self::Deny(None, reason) => write!(f, "deny: {reason}"),
            Self::Observed(status, reason) => write!(f, "allow, only observed; else deny: {reason} ({status})"),
        }
    }
}

impl Decided<'_> {
    /// The same, on its own.
    pub fn outcome(&self) -> Outcome {
        match self {
            Self::Allow => Outcome::Allow,
            Self::Deny(status, reason) => Outcome::Deny(*status, (*reason).into()),
            Self::Observed(would, reason) => Outcome::Observed(*would, (*reason).into()),
        }
    }
}

impl<'l> Judge<'l> {
    /// A judge with these policies.
    pub fn new(loaded: &'l Loaded) -> Self {
        Self { loaded, facts: facts(&loaded.policies) }
    }

    /// Decides a recorded request.
    pub fn judge(&self, record: &Record<'_>) -> Judgement {
        let then = record.decided();
        let Some(request) = record.request() else { return self.without_place(record, &then) };
        let token = record.token(self.loaded);
        let attempt = self.loaded.attempt(&request, &bearer(&token));
        if let Some(unknown) = self.missing(record, &token, &attempt) {
            return Judgement::Unknown(unknown);
        }
        match (&token, &attempt.outcome) {
            // The same token is refused for the same reason, whatever policy it meets.
            (Token::Refused(..), Tried::Refused(Refusal::Token(_))) => match then {
                Decided::Deny(..) => Judgement::Same,
                Decided::Observed(status, reason) => Judgement::Changed(Outcome::Deny(Some(status), reason.into())),
                Decided::Allow => Judgement::Changed(outcome(&attempt)),
            },
            (Token::Refused(..), Tried::Observed(_, would)) if is_of_token(would.reason) => match then {
                Decided::Observed(..) => Judgement::Same,
                Decided::Deny(status, reason) => {
                    Judgement::Changed(Outcome::Observed(status.unwrap_or_default(), reason.into()))
                }
                Decided::Allow => Judgement::Changed(outcome(&attempt)),
            },
            _ => compared(&then, outcome(&attempt)),
        }
    }

    /// A request that was refused before any policy was asked. Only of a host that nobody serves it is certain what
    /// becomes of it.
    fn without_place(&self, record: &Record<'_>, then: &Decided<'_>) -> Judgement {
        let unserved = |host: &str| {
            Authority::parse(host, Scheme::Https).is_ok_and(|host| !self.loaded.policies.serves(host.host()))
        };
        match then {
            Decided::Deny(Some(421), _) if record.host().is_some_and(unserved) => Judgement::Same,
            _ => Judgement::Unknown("it was refused before any policy was asked".into()),
        }
    }

    /// What the decision rests on and the record does not tell.
    fn missing(&self, record: &Record<'_>, token: &Token<'_>, attempt: &Attempt<'_>) -> Option<Box<str>> {
        if attempt.reason().is_some_and(is_of_token) {
            return match token {
                Token::Unread => Some("nobody looked whether there was a token".into()),
                Token::Stranger(issuer) => Some(format!("the issuer `{issuer}` is not configured").into()),
                Token::Refused("issuer_not_accepted", Some(issuer)) if self.accepts(attempt, issuer) => {
                    Some(format!("tokens of issuer `{issuer}` were not accepted then").into())
                }
                Token::Accepted(_) | Token::Refused(..) | Token::Missing => None,
            };
        }
        let unrecorded = match record.decided() {
            Decided::Deny(_, LIMIT) | Decided::Observed(_, LIMIT) => Some("it was over a rate limit"),
            // Among the reasons is a target that would have grown too long, and no record has the whole of it.
            Decided::Deny(_, "forward") | Decided::Observed(_, "forward") => Some("it could not be forwarded"),
            Decided::Allow | Decided::Deny(..) | Decided::Observed(..) => None,
        };
        if let Some(unrecorded) = unrecorded.filter(|_| matches!(attempt.outcome, Tried::Allowed(_))) {
            return Some(unrecorded.into());
        }
        if record.has_body() && attempt.needs_body() {
            return Some("no record holds a body".into());
        }
        if attempt.needs_claims() {
            return Some("nobody had asked userinfo about the caller".into());
        }
        let facts = asked(attempt).and_then(|route| self.facts.get(usize::try_from(route).ok()?));
        let with_token = matches!(token, Token::Accepted(_));
        let lacking = facts.into_iter().flatten().find(|fact| {
            let asked = match fact {
                // What was decided without it does not turn on it.
                Fact::Claim(path) => with_token && !token.lacks(path),
                Fact::Query(_) | Fact::Header(_) | Fact::Credential => true,
            };
            asked && !record.knows(fact)
        });
        lacking.map(|fact| format!("it has no `{fact}`").into())
    }

    /// Whether the route of an attempt accepts tokens of this issuer.
    fn accepts(&self, attempt: &Attempt<'_>, issuer: &str) -> bool {
        let names = self.loaded.rules.iter().map(|rules| &*rules.identity().name).zip(0..);
        let id = names.filter(|(name, _)| *name == issuer).map(|(_, id)| IssuerId(id)).next();
        id.is_some_and(|id| attempt.accepted().is_some_and(|accepted| accepted.contains(id)))
    }
}

/// What each route asks, by its number.
fn facts(policies: &Policies) -> Vec<Vec<Fact>> {
    policies.routes().map(crate::policy::Route::facts).collect()
}

fn bearer(token: &Token<'_>) -> Bearer {
    match token {
        Token::Accepted(principal) => Bearer::Principal(std::sync::Arc::clone(principal)),
        // Which check it failed makes no difference to the answer.
        Token::Refused(..) | Token::Stranger(_) => Bearer::Refused(Fault::Signature),
        Token::Missing | Token::Unread => Bearer::Nobody,
    }
}

/// The number of the route whose conditions made the decision.
fn asked(attempt: &Attempt<'_>) -> Option<u32> {
    let route = match &attempt.outcome {
        Tried::Allowed(permit) => permit.route_id(),
        Tried::Observed(permit, would) if would.reason != "ambiguous-path" => permit.route_id(),
        Tried::Refused(Refusal::Denied(denial)) if denial.reason().as_str() != "ambiguous-path" => denial.route_id(),
        Tried::Observed(..) | Tried::Refused(_) | Tried::Answered(_) => None,
    };
    route.map(|route| route.0)
}

/// Whether a reason is one of authentication, which comes before any condition.
fn is_of_token(reason: &str) -> bool {
    matches!(reason, "token-required" | "invalid-token" | "invalid-request" | "issuer-unavailable" | "token")
}

fn outcome(attempt: &Attempt<'_>) -> Outcome {
    match &attempt.outcome {
        // The body is no matter of policies, and no part of a record.
        Tried::Allowed(_) | Tried::Answered(_) | Tried::Refused(Refusal::BodyTooLarge) => Outcome::Allow,
        Tried::Observed(_, would) => Outcome::Observed(would.status.as_u16(), would.reason.into()),
        Tried::Refused(refusal) => Outcome::Deny(Some(refusal.status().as_u16()), refusal.reason().into()),
    }
}

/// A status that was never sent differs from none.
fn compared(then: &Decided<'_>, now: Outcome) -> Judgement {
    let same = match (then, &now) {
        (Decided::Deny(None, reason), Outcome::Deny(_, other)) => **other == **reason,
        _ => then.outcome() == now,
    };
    if same { Judgement::Same } else { Judgement::Changed(now) }
}
