//! What becomes of one request on one side: the decision of the data path's own function, and what it does to the request.

use std::time::Duration;

use http::HeaderValue;

use crate::clock::Timestamp;
use crate::diagnostic::Place;
use crate::policy::decision::{AuthorizationHeader, Denial, Permit};
use crate::policy::{Decision, Limit, Reason};

use super::half::Side;
use super::pages::Pages;

/// What becomes of a request.
#[derive(Debug, Clone, PartialEq)]
pub enum Verdict {
    /// It is forwarded so.
    Allowed(Effect),
    /// It is forwarded so because nothing is enforced.
    Observed(Effect, Refusal),
    /// It is refused.
    Refused(Refusal),
    /// The gateway answers it with these fields: a preflight.
    Answered(Vec<(String, String)>),
}

/// Why a request is refused.
#[derive(Debug, Clone)]
pub struct Refusal {
    /// The answer's status.
    pub status: u16,
    /// The reason; none where a request is refused before any policy is asked.
    pub reason: Option<Reason>,
    /// The condition that failed.
    pub condition: Option<String>,
    /// Where it stands.
    pub place: Option<Place>,
}

impl PartialEq for Refusal {
    /// Why something is refused is no effect.
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

/// What reaches the upstream. Names of policies and routes are no effect.
#[derive(Debug, Clone, PartialEq)]
pub struct Effect {
    /// The upstream's name.
    pub upstream: String,
    /// Path and query.
    pub target: String,
    /// Headers that are set, in order.
    pub headers: Vec<(String, String)>,
    /// Folded names of headers that do not come from the client.
    pub removed: Vec<String>,
    /// What becomes of `Authorization`.
    pub authorization: &'static str,
    /// Whether headers that override the method are removed.
    pub strips_method_override: bool,
    /// Time to the response head, if the route says so.
    pub timeout: Option<Duration>,
    /// Longest body, if the route says so.
    pub max_body: Option<u64>,
    /// How many requests may pass, if that is limited; without names.
    pub limit: Option<Limit>,
    /// Which pages may read the answer, if that is said.
    pub cors: Option<Pages>,
}

/// A part of what reaches the upstream, in which two effects differ.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Part {
    /// The upstream.
    Upstream,
    /// Path or query.
    Target,
    /// Headers set or removed.
    Headers,
    /// `Authorization`.
    Authorization,
    /// `forward.timeout`.
    Timeout,
    /// `forward.max_body`.
    MaxBody,
    /// `limit`.
    Limit,
    /// `cors`.
    Cors,
}

impl Part {
    /// What the part is called in reports.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Upstream => "upstream",
            Self::Target => "forwarded path and query",
            Self::Headers => "headers",
            Self::Authorization => "authorization",
            Self::Timeout => "timeout",
            Self::MaxBody => "max_body",
            Self::Limit => "limit",
            Self::Cors => "cors",
        }
    }
}

impl Verdict {
    /// What a side makes of a decision.
    pub(super) fn of(side: &Side<'_>, decision: Option<Decision>) -> Self {
        match decision {
            Some(Decision::Allow(permit)) => Self::Allowed(Effect::of(side, &permit)),
            Some(Decision::Observed(permit, denial)) => Self::Observed(Effect::of(side, &permit), Refusal::of(&denial)),
            Some(Decision::Deny(denial)) => Self::Refused(Refusal::of(&denial)),
            Some(Decision::Answered(preflight)) => {
                let text = |value: &HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
                Self::Answered(preflight.fields().map(|(name, value)| (name.to_string(), text(&value))).collect())
            }
            Some(Decision::NeedsClaims | Decision::NeedsBody) | None => {
                Self::Refused(Refusal { status: 400, reason: None, condition: None, place: None })
            }
        }
    }

    /// The word for what is decided.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Allowed(_) => "allowed",
            Self::Observed(..) => "observed",
            Self::Refused(_) => "denied",
            Self::Answered(_) => "answered",
        }
    }

    /// What reaches the upstream, if anything does.
    pub fn effect(&self) -> Option<&Effect> {
        match self {
            Self::Allowed(effect) | Self::Observed(effect, _) => Some(effect),
            Self::Refused(_) | Self::Answered(_) => None,
        }
    }

    /// Why it is refused, or would be.
    pub fn refusal(&self) -> Option<&Refusal> {
        match self {
            Self::Allowed(_) | Self::Answered(_) => None,
            Self::Observed(_, refusal) | Self::Refused(refusal) => Some(refusal),
        }
    }
}

impl Refusal {
    fn of(denial: &Denial) -> Self {
        Self {
            status: denial.status().as_u16(),
            reason: Some(denial.reason()),
            condition: denial.condition().map(ToString::to_string),
            place: denial.place().cloned(),
        }
    }
}

impl Effect {
    fn of(side: &Side<'_>, permit: &Permit) -> Self {
        let prefix = &side.policies.identity.prefix;
        let names = ["policy", "route"].map(|name| format!("{prefix}{name}").to_ascii_lowercase());
        let mut headers: Vec<(String, String)> = permit
            .headers()
            .map(|(name, value)| {
                // That the name of a policy or route is told is an effect; which name it is is none.
                let told = if names.iter().any(|known| known == name.as_str()) { &b"*"[..] } else { value.as_bytes() };
                (name.to_string(), String::from_utf8_lossy(told).into_owned())
            })
            .collect();
        let asserted = permit.assertion();
        headers.extend(asserted.map(|(name, told)| (name.to_string(), told.payload(Timestamp(0), ""))));
        headers.sort();
        let mut removed: Vec<String> = permit.removes().iter().map(ToString::to_string).collect();
        removed.extend([format!("{prefix}*")]);
        removed.extend(side.policies.identity.pass.iter().map(|passed| format!("not {passed}")));
        Self {
            upstream: side.upstreams.get(permit.upstream()).map(ToString::to_string).unwrap_or_default(),
            target: permit.path_and_query().to_string(),
            headers,
            removed,
            authorization: match permit.authorization() {
                AuthorizationHeader::Strip => "strip",
                AuthorizationHeader::StripTokens => "strip tokens",
                AuthorizationHeader::Keep => "keep",
            },
            strips_method_override: permit.strips_method_override(),
            timeout: permit.timeout(),
            max_body: permit.max_body(),
            limit: permit.limit().map(Limit::nameless),
            cors: permit.matched().and_then(|route| Pages::of(route)),
        }
    }

    /// In what two effects differ.
    pub fn differences(&self, other: &Self) -> Vec<Part> {
        let headers = self.headers == other.headers
            && self.removed == other.removed
            && self.strips_method_override == other.strips_method_override;
        let same = [
            (Part::Upstream, self.upstream == other.upstream),
            (Part::Target, self.target == other.target),
            (Part::Headers, headers),
            (Part::Authorization, self.authorization == other.authorization),
            (Part::Timeout, self.timeout == other.timeout),
            (Part::MaxBody, self.max_body == other.max_body),
            (Part::Limit, self.limit == other.limit),
            (Part::Cors, self.cors == other.cors),
        ];
        same.into_iter().filter(|(_, same)| !same).map(|(part, _)| part).collect()
    }
}
