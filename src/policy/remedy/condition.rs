//! What makes a condition true, or false where it stands under `not`.

use std::net::{IpAddr, Ipv4Addr};

use ipnet::IpNet;
use serde_json::Value;

use super::{Change, set};
use crate::policy::condition::{ClaimTest, Comparand, Condition, Literal, Operand, RequestTest, Test, WordSet};
use crate::policy::evaluate::{Question, Stance};
use crate::policy::narrow::{Narrowing, Owned};
use crate::policy::route::Route;
use crate::policy::template::Template;
use crate::principal::{ClaimPath, Flow, Principal, Texts};

/// Alternatives of one kind beyond these help nobody to choose.
const MOST: usize = 4;
/// A value that stands for any.
const ANY: &str = "example";
/// Addresses that documentation may use (RFC 5737).
const SOMEWHERE: [Ipv4Addr; 3] =
    [Ipv4Addr::new(192, 0, 2, 1), Ipv4Addr::new(198, 51, 100, 1), Ipv4Addr::new(203, 0, 113, 1)];

/// Changes that have been found for one condition.
pub(super) struct Remedies<'q> {
    pub(super) route: &'q Route,
    pub(super) question: &'q Question<'q>,
    pub(super) stance: Stance,
    pub(super) found: Vec<Change>,
}

impl Remedies<'_> {
    /// Looks for changes that bring a condition closer to the wanted truth.
    pub(super) fn achieve(&mut self, condition: &Condition, wanted: bool) {
        let truth = condition.evaluate(self.question, self.stance);
        let reached = if wanted { truth.holds() } else { (!truth).holds() };
        if reached {
            return;
        }
        match (&condition.test, wanted) {
            (Test::AllOf(parts), true) | (Test::AnyOf(parts), false) => {
                let failed = parts.iter().find(|part| {
                    let truth = part.evaluate(self.question, self.stance);
                    !if wanted { truth } else { !truth }.holds()
                });
                if let Some(part) = failed {
                    self.achieve(part, wanted);
                }
            }
            (Test::AnyOf(parts), true) | (Test::AllOf(parts), false) => {
                parts.iter().for_each(|part| self.achieve(part, wanted));
            }
            (Test::Not(part), _) => {
                let before = std::mem::replace(&mut self.stance, Stance::Negated);
                self.achieve(part, !wanted);
                self.stance = before;
            }
            (test, wanted) => self.plain(test, wanted),
        }
    }

    fn plain(&mut self, test: &Test, wanted: bool) {
        let caller = self.question.caller;
        match test {
            Test::Network(networks) => self.found.extend(addresses(networks, wanted)),
            Test::Certificate(kind, names) if wanted => {
                let names = names.iter().take(MOST);
                self.found.extend(names.map(|name| Change::Certificate(*kind, name.to_string())));
            }
            Test::Request(template, test) => self.request(template, test, wanted),
            test => {
                if let Some(principal) = caller.principal {
                    self.of_principal(test, principal, wanted);
                }
            }
        }
    }

    fn of_principal(&mut self, test: &Test, principal: &Principal, wanted: bool) {
        match test {
            Test::Scope(set) => self.words(set, &principal.scopes, wanted, Change::Scope),
            Test::Permission(set) => {
                let held = principal.permissions.clone().unwrap_or_default();
                self.words(set, &held, wanted, Change::Permission);
            }
            Test::Organization(templates) => self.organization(templates, principal, wanted),
            Test::Subject(values) => self.subject(values, principal, wanted),
            Test::Client(values) => self.identity(values, principal.client.as_deref(), wanted, Change::Client),
            Test::Flow(flow) => self.found.push(Change::Flow(match (wanted, flow) {
                (true, flow) => *flow,
                (false, Flow::User) => Flow::ClientCredentials,
                (false, Flow::ClientCredentials | Flow::Unknown) => Flow::User,
            })),
            Test::Global(value) => self.found.push(Change::Global(*value == wanted)),
            Test::Issuer(issuers, _) => {
                let accepted = self.route.issuers.iter().filter(|id| issuers.contains(*id) == wanted);
                self.found.extend(accepted.map(Change::Token));
            }
            Test::Claim(path, test) => self.claim(path, test, principal, wanted),
            Test::Narrow(narrowing) if wanted => self.narrow(narrowing, principal),
            Test::Acr(values) if wanted => {
                self.found.extend(values.iter().take(MOST).map(|value| Change::Acr(value.to_string())));
            }
            Test::Acr(_) => self.found.push(Change::Acr(ANY.to_owned())),
            Test::MaxAge(_) if wanted => self.found.push(Change::LogIn),
            Test::MaxAge(_)
            | Test::Narrow(_)
            | Test::Network(_)
            | Test::Certificate(..)
            | Test::Request(..)
            | Test::AllOf(_)
            | Test::AnyOf(_)
            | Test::Not(_) => {}
        }
    }

    /// A word that is missing, or that has to go.
    fn words(&mut self, set: &WordSet, held: &Texts, wanted: bool, change: fn(String, bool) -> Change) {
        let has = |word: &str| held.contains(word);
        let (WordSet::AllOf(words) | WordSet::AnyOf(words)) = set;
        let open = words.iter().filter(|word| has(word) != wanted);
        // Of what must all be there, or all be gone, the first is a step; else each is a way.
        let every = matches!((set, wanted), (WordSet::AllOf(_), true) | (WordSet::AnyOf(_), false));
        let many = if every { 1 } else { MOST };
        self.found.extend(open.take(many).map(|word| change(word.to_string(), wanted)));
    }

    fn organization(&mut self, templates: &[Template], principal: &Principal, wanted: bool) {
        let own = principal.organizations.clone().unwrap_or_default();
        if !wanted {
            self.found.extend(principal.is_global().then_some(Change::Global(false)));
            let values: Vec<_> = templates.iter().flat_map(|template| self.values(template)).collect();
            self.found.extend(values.into_iter().take(MOST).map(|value| Change::Organization(value, false)));
            return;
        }
        for template in templates {
            let values = self.values(template);
            let foreign: Vec<_> = values.iter().filter(|value| !own.contains(value)).cloned().collect();
            if !values.is_empty() && foreign.is_empty() {
                continue;
            }
            for organization in own.iter().take(MOST) {
                self.set(template, organization);
            }
            if values.is_empty() && own.is_empty() {
                self.set(template, ANY);
            }
            self.found.extend(foreign.into_iter().take(1).map(|value| Change::Organization(value, true)));
        }
        self.found.push(Change::Global(true));
    }

    /// A client-credentials token is no template's subject.
    fn subject(&mut self, values: &[Comparand], principal: &Principal, wanted: bool) {
        let template = values.iter().any(|value| matches!(value, Comparand::Template(_)));
        if template && wanted && principal.flow == Flow::ClientCredentials {
            self.found.push(Change::Flow(Flow::User));
        } else {
            self.identity(values, principal.subject.as_deref(), wanted, Change::Subject);
        }
    }

    /// The request's value becomes the principal's, or the principal's the request's.
    fn identity(&mut self, values: &[Comparand], own: Option<&str>, wanted: bool, change: fn(String) -> Change) {
        if !wanted {
            self.found.push(change(ANY.to_owned()));
            return;
        }
        for value in values.iter().take(MOST) {
            match value {
                Comparand::Literal(text) => self.found.push(change(text.to_string())),
                Comparand::Template(template) => {
                    if let Some(own) = own {
                        self.set(template, own);
                    }
                    match self.values(template).as_slice() {
                        [] if own.is_none() => self.set(template, ANY),
                        [only] => self.found.push(change(only.clone())),
                        _ => {}
                    }
                }
            }
        }
    }

    /// Not asking for anything leaves the principal's own; a principal that has nothing has to get something.
    fn narrow(&mut self, narrowing: &Narrowing, principal: &Principal) {
        self.found.push(Change::Query(narrowing.name.clone(), None));
        match narrowing.to {
            Owned::Organizations => self.found.push(Change::Organization(ANY.to_owned(), true)),
            Owned::Permissions => self.found.push(Change::Permission(ANY.to_owned(), true)),
            Owned::Client => self.found.extend(principal.client.is_none().then(|| Change::Client(ANY.to_owned()))),
            Owned::Subject => {
                self.found.extend((principal.flow == Flow::ClientCredentials).then_some(Change::Flow(Flow::User)));
            }
        }
    }

    fn claim(&mut self, path: &ClaimPath, test: &ClaimTest, principal: &Principal, wanted: bool) {
        let held = principal.claims.find(path).map(|claim| claim.to_value());
        let mut put = |value: Option<Value>| self.found.push(Change::Claim(path.clone(), value));
        match (test, wanted) {
            (ClaimTest::Exists(exists), wanted) => put((*exists == wanted).then(|| ANY.into())),
            (ClaimTest::OneOf(_), false) => put(Some(ANY.into())),
            (ClaimTest::ContainsAll(_) | ClaimTest::ContainsAny(_), false) => put(Some(Value::Array(vec![ANY.into()]))),
            (ClaimTest::OneOf(operands), true) => {
                for operand in operands.iter().take(MOST) {
                    self.operand(operand, held.as_ref().and_then(Value::as_str), |value| {
                        Change::Claim(path.clone(), Some(value))
                    });
                }
            }
            (ClaimTest::ContainsAll(operands) | ClaimTest::ContainsAny(operands), true) => {
                let items = held.as_ref().and_then(Value::as_array).cloned().unwrap_or_default();
                for operand in operands.iter().take(MOST) {
                    let own = items.iter().find_map(Value::as_str);
                    self.operand(operand, own, |value| {
                        let with = items.iter().cloned().chain([value]).collect();
                        Change::Claim(path.clone(), Some(Value::Array(with)))
                    });
                }
            }
        }
    }

    /// The claim becomes the operand, or the request's value what the claim has.
    fn operand(&mut self, operand: &Operand, own: Option<&str>, change: impl Fn(Value) -> Change) {
        match operand {
            Operand::Literal(literal) => self.found.push(change(literal.to_json())),
            Operand::Template(template) => {
                if let Some(own) = own {
                    self.set(template, own);
                }
                match self.values(template).as_slice() {
                    [] if own.is_none() => self.set(template, ANY),
                    [only] => self.found.push(change(only.clone().into())),
                    _ => {}
                }
            }
        }
    }

    fn request(&mut self, template: &Template, test: &RequestTest, wanted: bool) {
        match (test, wanted) {
            (RequestTest::OneOf(values), true) => values.iter().take(MOST).for_each(|value| self.set(template, value)),
            (RequestTest::OneOf(_) | RequestTest::Absent, false) | (RequestTest::Present, true) => {
                self.set(template, ANY);
            }
            (RequestTest::Present, false) | (RequestTest::Absent, true) => {
                let change = match set(&template.source, String::new(), self.route, self.question.captures) {
                    Some(Change::Query(name, _)) => Some(Change::Query(name, None)),
                    Some(Change::Header(name, _)) => Some(Change::Header(name, None)),
                    Some(Change::QueryJson(name, pointer, _)) => Some(Change::QueryJson(name, pointer, None)),
                    Some(Change::Form(name, _)) => Some(Change::Form(name, None)),
                    Some(Change::Body(pointer, _)) => Some(Change::Body(pointer, None)),
                    _ => None,
                };
                self.found.extend(change);
            }
        }
    }

    fn values(&self, template: &Template) -> Vec<String> {
        self.question.texts(template).flatten().map(str::to_owned).collect()
    }

    fn set(&mut self, template: &Template, text: &str) {
        let change = set(&template.source, text.to_owned(), self.route, self.question.captures);
        self.found.extend(change);
    }
}

impl Literal {
    /// The same as JSON.
    fn to_json(&self) -> Value {
        match self {
            Self::Text(text) => Value::from(&**text),
            Self::Int(value) => (*value).into(),
            Self::Float(value) => (*value).into(),
            Self::Bool(value) => (*value).into(),
        }
    }
}

/// Addresses inside, or outside, of all networks.
fn addresses(networks: &[IpNet], wanted: bool) -> Vec<Change> {
    let host = |network: &IpNet| network.hosts().next().unwrap_or_else(|| network.addr());
    if wanted {
        return networks.iter().take(MOST).map(|network| Change::Address(host(network))).collect();
    }
    let outside = SOMEWHERE.into_iter().map(IpAddr::V4);
    let outside = outside.filter(|address| !networks.iter().any(|network| network.contains(address)));
    outside.take(1).map(Change::Address).collect()
}
