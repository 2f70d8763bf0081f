//! Conditions as they are decided: `require`, compiled.

use ipnet::IpNet;

use crate::diagnostic::Place;
use crate::policy::decision::Reason;
use crate::policy::narrow::{Narrowing, Owned};
use crate::policy::template::Template;
use crate::principal::{ClaimPath, ClientCertificate, Flow, IssuerSet};

/// One condition and where it stands.
#[derive(Debug)]
pub(in crate::policy) struct Condition {
    /// What it asks.
    pub(in crate::policy) test: Test,
    /// The line that explanations and records name.
    pub(in crate::policy) place: Place,
    /// For whom it is not asked.
    pub(in crate::policy) lift: Option<Lift>,
}

/// Client-credentials tokens that a condition is not asked of.
#[derive(Debug, Clone, PartialEq)]
pub(in crate::policy) enum Lift {
    /// All of them.
    Every,
    /// Those of these clients.
    Clients(Box<[Box<str>]>),
}

/// What a condition asks.
#[derive(Debug)]
pub(in crate::policy) enum Test {
    /// The granted scopes satisfy it.
    Scope(WordSet),
    /// The principal's permissions satisfy it.
    Permission(WordSet),
    /// Global, or all values of all templates are organisations of the principal.
    Organization(Box<[Template]>),
    /// The subject is one of these.
    Subject(Box<[Comparand]>),
    /// The client is one of these.
    Client(Box<[Comparand]>),
    /// The flow is this one.
    Flow(Flow),
    /// `global` is this.
    Global(bool),
    /// The issuer is one of these, with their names.
    Issuer(IssuerSet, Box<[Box<str>]>),
    /// A test of one claim.
    Claim(ClaimPath, ClaimTest),
    /// `acr` is one of these.
    Acr(Box<[Box<str>]>),
    /// `auth_time` is at most this many seconds ago.
    MaxAge(u64),
    /// The client address is in one of these.
    Network(Box<[IpNet]>),
    /// The client certificate has one of these names.
    Certificate(CertificateName, Box<[Box<str>]>),
    /// A test of one request value.
    Request(Template, RequestTest),
    /// A parameter is kept to values of the principal. Stands only beside the conditions of a route, never inside one.
    Narrow(Narrowing),
    /// All hold.
    AllOf(Box<[Condition]>),
    /// One holds.
    AnyOf(Box<[Condition]>),
    /// It is false.
    Not(Box<Condition>),
}

/// A set expression over words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::policy) enum WordSet {
    /// Every one (a single word is a list of one).
    AllOf(Box<[Box<str>]>),
    /// At least one.
    AnyOf(Box<[Box<str>]>),
}

/// What a subject or client is compared with.
#[derive(Debug, Clone, PartialEq)]
pub(in crate::policy) enum Comparand {
    /// This text.
    Literal(Box<str>),
    /// Every value of this.
    Template(Template),
}

/// A kind of name in a certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CertificateName {
    /// DNS subject alternative names.
    Dns,
    /// URI subject alternative names.
    Uri,
    /// RFC 822 subject alternative names.
    Email,
    /// The whole subject, RFC 4514.
    Subject,
}

impl CertificateName {
    /// Its word under `certificate`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Dns => "dns",
            Self::Uri => "uri",
            Self::Email => "email",
            Self::Subject => "subject",
        }
    }

    /// Gives a certificate a name of this kind.
    pub fn add(self, certificate: &mut ClientCertificate, name: &str) {
        match self {
            Self::Dns => certificate.dns.push(name.to_owned()),
            Self::Uri => certificate.uri.push(name.to_owned()),
            Self::Email => certificate.email.push(name.to_owned()),
            Self::Subject => name.clone_into(&mut certificate.subject),
        }
    }
}

/// What a claim is tested for.
#[derive(Debug, PartialEq)]
pub(in crate::policy) enum ClaimTest {
    /// It equals one of these (`equals` is a list of one).
    OneOf(Box<[Operand]>),
    /// It is an array that contains all of these (one is a list of one).
    ContainsAll(Box<[Operand]>),
    /// It is an array that contains one of these.
    ContainsAny(Box<[Operand]>),
    /// It is there, or is not.
    Exists(bool),
}

/// What a claim is compared with.
#[derive(Debug, Clone, PartialEq)]
pub(in crate::policy) enum Operand {
    /// A value of exactly this JSON type.
    Literal(Literal),
    /// Every value of this.
    Template(Template),
}

/// A value written in a policy.
#[derive(Debug, Clone, PartialEq)]
pub(in crate::policy) enum Literal {
    /// Text.
    Text(Box<str>),
    /// A whole number.
    Int(i64),
    /// Another number.
    Float(f64),
    /// `true` or `false`.
    Bool(bool),
}

/// What a request value is tested for.
#[derive(Debug, PartialEq)]
pub(in crate::policy) enum RequestTest {
    /// Every value is one of these.
    OneOf(Box<[Box<str>]>),
    /// There is a value.
    Present,
    /// There is none.
    Absent,
}

impl Test {
    /// The reason that a failure of this condition gives.
    pub(in crate::policy) fn reason(&self) -> Reason {
        match self {
            Self::Scope(_) => Reason::Scope,
            Self::Permission(_) => Reason::Permission,
            Self::Organization(_) => Reason::Organization,
            Self::Subject(_) => Reason::Subject,
            Self::Client(_) => Reason::Client,
            Self::Flow(_) => Reason::Flow,
            Self::Global(_) => Reason::Global,
            Self::Issuer(..) => Reason::Issuer,
            Self::Claim(..) => Reason::Claim,
            Self::Acr(_) | Self::MaxAge(_) => Reason::Authentication,
            Self::Network(_) => Reason::Network,
            Self::Certificate(..) => Reason::Certificate,
            Self::Request(..) => Reason::Request,
            Self::Narrow(_) => Reason::Narrow,
            // The parts of an `all_of` count for themselves; it has a reason of its own only inside another condition,
            // where nobody asks for it.
            Self::AllOf(parts) => parts.iter().map(|part| part.test.reason()).min().unwrap_or(Reason::Not),
            Self::AnyOf(_) => Reason::AnyOf,
            Self::Not(_) => Reason::Not,
        }
    }
}

impl Condition {
    /// The parameter that it keeps to values of the principal.
    pub(in crate::policy) fn narrowing(&self) -> Option<&Narrowing> {
        if let Test::Narrow(narrowing) = &self.test { Some(narrowing) } else { None }
    }

    /// Whether it asks, at any depth, about the body of the request.
    pub(in crate::policy) fn asks_body(&self) -> bool {
        let mut found = false;
        self.each_template(&mut |template| found |= template.source.is_in_body());
        found
    }

    /// Every template that it names, at any depth.
    pub(in crate::policy) fn each_template<'c>(&'c self, found: &mut impl FnMut(&'c Template)) {
        match &self.test {
            Test::AllOf(parts) | Test::AnyOf(parts) => parts.iter().for_each(|part| part.each_template(found)),
            Test::Not(part) => part.each_template(found),
            Test::Organization(templates) => templates.iter().for_each(found),
            Test::Subject(values) | Test::Client(values) => values.iter().for_each(|value| match value {
                Comparand::Template(template) => found(template),
                Comparand::Literal(_) => {}
            }),
            Test::Claim(
                _,
                ClaimTest::OneOf(operands) | ClaimTest::ContainsAll(operands) | ClaimTest::ContainsAny(operands),
            ) => operands.iter().for_each(|operand| match operand {
                Operand::Template(template) => found(template),
                Operand::Literal(_) => {}
            }),
            Test::Request(template, _) => found(template),
            Test::Claim(_, ClaimTest::Exists(_))
            | Test::Scope(_)
            | Test::Permission(_)
            | Test::Flow(_)
            | Test::Global(_)
            | Test::Issuer(..)
            | Test::Acr(_)
            | Test::MaxAge(_)
            | Test::Network(_)
            | Test::Narrow(_)
            | Test::Certificate(..) => {}
        }
    }

    /// Whether it asks, at any depth, for permissions.
    pub(in crate::policy) fn asks_permissions(&self) -> bool {
        match &self.test {
            Test::Permission(_) => true,
            Test::Narrow(narrowing) => narrowing.to == Owned::Permissions,
            Test::AllOf(parts) | Test::AnyOf(parts) => parts.iter().any(Self::asks_permissions),
            Test::Not(part) => part.asks_permissions(),
            Test::Organization(_)
            | Test::Subject(_)
            | Test::Client(_)
            | Test::Claim(..)
            | Test::Request(..)
            | Test::Scope(_)
            | Test::Flow(_)
            | Test::Global(_)
            | Test::Issuer(..)
            | Test::Acr(_)
            | Test::MaxAge(_)
            | Test::Network(_)
            | Test::Certificate(..) => false,
        }
    }
}
