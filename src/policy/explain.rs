//! Why a request is decided as it is: each condition, what it asked, what it found, whether it held, and where it stands.
//!
//! Made from the same evaluation that decides; it only takes the time to write everything down.

mod found;

use std::fmt;
use std::path::Path;

use crate::diagnostic::Place;
use crate::policy::Caller;
use crate::policy::body::BodyValues;
use crate::policy::condition::{ClaimTest, Comparand, Condition, Lift, Literal, Operand, RequestTest, Test, WordSet};
use crate::policy::decision::{Decision, Denial};
use crate::policy::evaluate::{Question, Stance};
use crate::policy::placed::Placed;
use crate::policy::table::Outcome;
use crate::policy::truth::Truth;
use crate::principal::ClaimPath;

/// The explanation of one decision.
#[derive(Debug, Clone)]
pub struct Explanation {
    /// `allow`, or the reason of the refusal.
    pub decision: String,
    /// Method and canonical path.
    pub request: String,
    /// The route that was found, or why there is none.
    pub route: String,
    /// Where that route stands.
    pub place: Option<Place>,
    /// What was checked before any condition and failed.
    pub obstacle: Option<String>,
    /// Every condition of the route.
    pub conditions: Vec<ExplainedCondition>,
}

/// One condition in an explanation.
#[derive(Debug, Clone)]
pub struct ExplainedCondition {
    /// What it asks, as a policy would say it.
    pub asked: String,
    /// What request, connection and token have to say about it.
    pub found: String,
    /// `true`, `false` or `unknown`.
    pub truth: &'static str,
    /// For whom it is not asked, if it was not asked of this caller.
    pub lifted: Option<String>,
    /// Where it stands.
    pub place: Place,
    /// What it consists of.
    pub parts: Vec<ExplainedCondition>,
}

impl Placed<'_> {
    /// Why this caller's request is decided as it is.
    pub fn explain(&self, caller: &Caller<'_>) -> Explanation {
        self.explained(caller, &self.decide(caller), None)
    }

    /// The same for a request whose body was read.
    pub fn explain_with_body(&self, caller: &Caller<'_>, body: &[u8]) -> Explanation {
        self.explained(caller, &self.decide_with_body(caller, body), Some(body))
    }

    fn explained(&self, caller: &Caller<'_>, decision: &Decision, body: Option<&[u8]>) -> Explanation {
        let mut explanation = Explanation {
            decision: match decision {
                Decision::Allow(_) => "allow".to_owned(),
                Decision::Deny(denial) => refusal(denial),
                Decision::Answered(_) => "a preflight, which the gateway answers".to_owned(),
                Decision::Observed(_, denial) => {
                    format!("allow, because it is only observed; else {}", refusal(denial))
                }
                Decision::NeedsClaims => "userinfo decides".to_owned(),
                Decision::NeedsBody => "the body decides".to_owned(),
            },
            request: format!("{} {}", self.head.method, self.target.path()),
            route: self.route_in_words(),
            place: self.route().map(|route| route.place.clone()),
            obstacle: None,
            conditions: Vec::new(),
        };
        if let Outcome::Route(route, captures) = &self.outcome {
            match self.bound_values(route) {
                Ok(query) => {
                    let read = self.body_values(route, body);
                    explanation.obstacle = read.as_ref().err().map(ToString::to_string);
                    let read = read.unwrap_or(BodyValues::Unread);
                    let body = &read;
                    let (headers, supposed) = (self.head.headers, Truth::Unknown);
                    let question = Question { captures, query: &query, headers, body, caller, supposed };
                    let conditions = route.conditions.iter();
                    explanation.conditions =
                        conditions.map(|condition| condition.explain(&question, Stance::Plain)).collect();
                }
                Err(error) => explanation.obstacle = Some(error.to_string()),
            }
        }
        explanation
    }

    fn route_in_words(&self) -> String {
        let document = self.policy().map_or("", |document| &document.name);
        match &self.outcome {
            Outcome::Route(route, _) => format!("policy `{document}`, route `{}`", route.name),
            Outcome::Ambiguous { matched: Some((route, _)), why } => {
                format!("policy `{document}`, route `{}` is what it says, but {why}", route.name)
            }
            Outcome::Ambiguous { matched: None, why } => why.clone(),
            Outcome::NotFound { misfit: Some(route), .. } => {
                format!("policy `{document}`, route `{}`, but a capture does not have its type", route.name)
            }
            Outcome::NotFound { misfit: None, .. } => "no route".to_owned(),
            Outcome::MethodNotAllowed { allow, .. } => format!("policy `{document}` has this path for {allow} only"),
        }
    }
}

/// A refusal in a few words.
fn refusal(denial: &Denial) -> String {
    format!("deny: {} ({})", denial.reason().as_str(), denial.status().as_u16())
}

impl Condition {
    fn explain(&self, question: &Question<'_>, stance: Stance) -> ExplainedCondition {
        let principal = question.caller.principal;
        let (parts, inner): (&[Self], _) = match &self.test {
            Test::AllOf(parts) | Test::AnyOf(parts) => (parts, stance),
            Test::Not(part) => (std::slice::from_ref(&**part), Stance::Negated),
            _ => (&[], stance),
        };
        let unasked = principal.is_some_and(|principal| self.test.is_pending(principal));
        ExplainedCondition {
            asked: self.test.to_string(),
            found: match (parts, unasked) {
                ([_, ..], _) => String::new(),
                ([], true) => "only userinfo knows, which was not asked".to_owned(),
                ([], false) => self.test.found(question),
            },
            truth: self.evaluate(question, stance).as_str(),
            lifted: self.lifted_for(principal).then(|| self.lift.as_ref().map(ToString::to_string)).flatten(),
            place: self.place.clone(),
            parts: parts.iter().map(|part| part.explain(question, inner)).collect(),
        }
    }
}

impl Explanation {
    /// The same as text, files below `base` named from there.
    pub fn text(&self, base: Option<&Path>) -> String {
        From { explanation: self, base }.to_string()
    }
}

impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        From { explanation: self, base: None }.fmt(f)
    }
}

/// An explanation that names files from a directory.
struct From<'e> {
    explanation: &'e Explanation,
    base: Option<&'e Path>,
}

impl fmt::Display for From<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { explanation, base } = self;
        writeln!(f, "{}", explanation.request)?;
        writeln!(f, "{}", explanation.decision)?;
        write!(f, "{}", explanation.route)?;
        match &explanation.place {
            Some(place) => writeln!(f, "  {}", place.shown(*base))?,
            None => writeln!(f)?,
        }
        if let Some(obstacle) = &explanation.obstacle {
            writeln!(f, "{obstacle}")?;
        }
        explanation.conditions.iter().try_for_each(|condition| condition.write(f, *base, 1))
    }
}

impl ExplainedCondition {
    fn write(&self, f: &mut fmt::Formatter<'_>, base: Option<&Path>, depth: usize) -> fmt::Result {
        let mark = match self.truth {
            "true" => "+",
            "false" => "-",
            _ => "?",
        };
        write!(f, "{}{mark} {}", "  ".repeat(depth), self.asked)?;
        if !self.found.is_empty() {
            write!(f, "  <- {}", self.found)?;
        }
        if let Some(lifted) = &self.lifted {
            write!(f, "  (not asked: {lifted})")?;
        }
        writeln!(f, "  [{}] {}", self.truth, self.place.shown(base))?;
        self.parts.iter().try_for_each(|part| part.write(f, base, depth + 1))
    }
}

impl fmt::Display for Test {
    /// What it asks, as a policy would say it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Scope(set) => write!(f, "scope: {set}"),
            Self::Permission(set) => write!(f, "permission: {set}"),
            Self::Organization(templates) => write!(f, "organization: {}", one_or("all_of", templates)),
            Self::Subject(values) => write!(f, "subject: {}", one_or("", values)),
            Self::Client(values) => write!(f, "client: {}", one_or("", values)),
            Self::Flow(flow) => write!(f, "flow: {}", flow.as_str()),
            Self::Global(value) => write!(f, "global: {value}"),
            Self::Issuer(_, names) => write!(f, "issuer: {}", one_or("", names)),
            Self::Claim(path, test) => write!(f, "claim {}: {test}", claim_name(path)),
            Self::Acr(values) => write!(f, "authentication acr: {}", one_or("", values)),
            Self::MaxAge(seconds) => write!(f, "authentication max_age: {seconds}s"),
            Self::Network(networks) => write!(f, "network: {}", one_or("", networks)),
            Self::Certificate(kind, names) => {
                write!(f, "certificate {}: {}", kind.as_str(), one_or("", names))
            }
            Self::Request(template, test) => write!(f, "request {}: {test}", template.source),
            Self::Narrow(narrowing) => narrowing.fmt(f),
            Self::AllOf(_) => f.write_str("all_of"),
            Self::AnyOf(_) => f.write_str("any_of"),
            Self::Not(_) => f.write_str("not"),
        }
    }
}

fn claim_name(path: &ClaimPath) -> String {
    match &*path.0 {
        [only] => only.clone(),
        keys => format!("[{}]", keys.join(", ")),
    }
}

/// A single item as itself, several as a list under a word.
fn one_or(word: &str, items: &[impl fmt::Display]) -> String {
    match items {
        [only] => only.to_string(),
        items => {
            let list = format!("[{}]", items.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "));
            if word.is_empty() { list } else { format!("{{{word}: {list}}}") }
        }
    }
}

impl fmt::Display for WordSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AllOf(words) => f.write_str(&one_or("all_of", words)),
            Self::AnyOf(words) => write!(f, "{{any_of: [{}]}}", words.join(", ")),
        }
    }
}

impl fmt::Display for Comparand {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Literal(text) => f.write_str(text),
            Self::Template(template) => template.fmt(f),
        }
    }
}

impl fmt::Display for ClaimTest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::OneOf(values) => match &**values {
                [only] => write!(f, "{{equals: {only}}}"),
                several => write!(f, "{{one_of: {}}}", one_or("", several)),
            },
            Self::ContainsAll(values) => write!(f, "{{contains: {}}}", one_or("all_of", values)),
            Self::ContainsAny(values) => {
                let list: Vec<_> = values.iter().map(ToString::to_string).collect();
                write!(f, "{{contains: {{any_of: [{}]}}}}", list.join(", "))
            }
            Self::Exists(value) => write!(f, "{{exists: {value}}}"),
        }
    }
}

impl fmt::Display for Operand {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Literal(Literal::Text(text)) => write!(f, "{text:?}"),
            Self::Literal(Literal::Int(value)) => value.fmt(f),
            Self::Literal(Literal::Float(value)) => value.fmt(f),
            Self::Literal(Literal::Bool(value)) => value.fmt(f),
            Self::Template(template) => template.fmt(f),
        }
    }
}

impl fmt::Display for RequestTest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::OneOf(values) => f.write_str(&one_or("", values)),
            Self::Present => f.write_str("present"),
            Self::Absent => f.write_str("absent"),
        }
    }
}

impl fmt::Display for Lift {
    /// The alternative that a lifted condition has.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Every => f.write_str("any_of: [.., {flow: client_credentials}]"),
            Self::Clients(names) => {
                write!(f, "any_of: [.., {{flow: client_credentials, client: {}}}]", one_or("", names))
            }
        }
    }
}

#[cfg(test)]
mod tests;
