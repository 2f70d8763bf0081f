//! Deciding conditions: pure, total, without allocation.

mod claim;

use std::borrow::Cow;

use http::HeaderMap;
use ipnet::IpNet;

use crate::clock::Timestamp;
use crate::policy::Caller;
use crate::policy::body::BodyValues;
use crate::policy::condition::{CertificateName, Comparand, Condition, Lift, RequestTest, Test, WordSet};
use crate::policy::equality::{Case, equal, same_word};
use crate::policy::table::Captures;
use crate::policy::template::{Template, ValueSource};
use crate::policy::truth::Truth;
use crate::principal::{self, ClientCertificate, Flow, Principal};

/// Everything a condition can ask about.
#[derive(Debug, Clone, Copy)]
pub(in crate::policy) struct Question<'q> {
    /// Captures of host and path.
    pub(in crate::policy) captures: &'q Captures<'q>,
    /// Query parameters that the route reads.
    pub(in crate::policy) query: &'q [Parameter<'q>],
    /// Header fields.
    pub(in crate::policy) headers: &'q HeaderMap,
    /// What the body says.
    pub(in crate::policy) body: &'q BodyValues<'q>,
    /// Who asks, from where, when.
    pub(in crate::policy) caller: &'q Caller<'q>,
    /// What conditions are taken to be whose answer somebody else has to be asked for first: userinfo, or the body.
    pub(in crate::policy) supposed: Truth,
}

/// A query parameter's value.
#[derive(Debug, Clone)]
pub(in crate::policy) struct Parameter<'q> {
    /// Position in the route's list of what it reads.
    pub(in crate::policy) index: usize,
    /// The decoded text; absent when it is no UTF-8.
    pub(in crate::policy) text: Option<Cow<'q, str>>,
    /// A server that splits queries at `;` reads another value.
    pub(in crate::policy) differs: bool,
}

/// Whether a condition stands under `not`, where what is missing is unknown and so is what has two readings.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::policy) enum Stance {
    /// As written.
    Plain,
    /// Under `not`.
    Negated,
}

impl Condition {
    /// Whether the condition holds, or is not asked of this caller.
    pub(in crate::policy) fn evaluate(&self, question: &Question<'_>, stance: Stance) -> Truth {
        if self.lifted_for(question.caller.principal) { Truth::True } else { self.test.evaluate(question, stance) }
    }

    /// Whether the condition is lifted for this principal: client credentials, of a named client if any is named.
    pub(in crate::policy) fn lifted_for(&self, principal: Option<&Principal>) -> bool {
        let (Some(lift), Some(principal)) = (&self.lift, principal) else { return false };
        principal.flow == Flow::ClientCredentials
            && match lift {
                Lift::Every => true,
                Lift::Clients(names) => principal.client.as_deref().is_some_and(|client| {
                    let case = Case::folded_if(principal.issuer.client_folds);
                    names.iter().any(|name| equal(client, name, case))
                }),
            }
    }
}

impl Test {
    /// Whether what is asked holds.
    pub(in crate::policy) fn evaluate(&self, question: &Question<'_>, stance: Stance) -> Truth {
        let caller = question.caller;
        match self {
            Self::AllOf(parts) => Truth::all(parts.iter().map(|part| part.evaluate(question, stance))),
            Self::AnyOf(parts) => Truth::any(parts.iter().map(|part| part.evaluate(question, stance))),
            Self::Not(part) => !part.evaluate(question, Stance::Negated),
            Self::Network(networks) => network(networks, caller),
            Self::Certificate(kind, names) => certificate(*kind, names, caller.certificate),
            Self::Request(template, test) => request(template, test, question, stance),
            Self::Scope(_)
            | Self::Permission(_)
            | Self::Organization(_)
            | Self::Subject(_)
            | Self::Client(_)
            | Self::Flow(_)
            | Self::Global(_)
            | Self::Issuer(..)
            | Self::Claim(..)
            | Self::Acr(_)
            | Self::MaxAge(_)
            | Self::Narrow(_) => {
                caller.principal.map_or(Truth::Unknown, |principal| self.of_principal(principal, question, stance))
            }
        }
    }

    /// Conditions that ask about the token.
    fn of_principal(&self, principal: &Principal, question: &Question<'_>, stance: Stance) -> Truth {
        match self {
            Self::Scope(set) => scopes(set, principal),
            Self::Permission(_) if principal.pending.permissions => question.supposition(stance),
            Self::Permission(set) => principal.permissions.as_ref().map_or(Truth::Unknown, |held| {
                set.satisfied_by(held, Case::folded_if(principal.issuer.permissions_fold)).into()
            }),
            Self::Organization(templates) => organization(templates, principal, question, stance),
            Self::Subject(values) => subject(values, principal, question, stance),
            Self::Client(values) => client(values, principal, question, stance),
            Self::Flow(wanted) => match principal.flow {
                Flow::Unknown => Truth::Unknown,
                flow => (flow == *wanted).into(),
            },
            Self::Global(_) if principal.pending.global => question.supposition(stance),
            Self::Global(wanted) => match (principal.global, stance) {
                (None, Stance::Negated) => Truth::Unknown,
                (held, _) => (held.unwrap_or(false) == *wanted).into(),
            },
            Self::Issuer(issuers, _) => issuers.contains(principal.issuer.id).into(),
            Self::Claim(path, test) => claim::claim(path, test, principal, question, stance),
            Self::Acr(values) => principal
                .acr
                .as_deref()
                .map_or(Truth::Unknown, |held| values.iter().any(|value| **value == *held).into()),
            Self::MaxAge(seconds) => max_age(*seconds, principal, question.caller.now),
            Self::Narrow(narrowing) => narrowing.evaluate(principal, question),
            Self::AllOf(_)
            | Self::AnyOf(_)
            | Self::Not(_)
            | Self::Network(_)
            | Self::Certificate(..)
            | Self::Request(..) => Truth::Unknown,
        }
    }
}

impl WordSet {
    /// Whether the words held satisfy the expression.
    pub(in crate::policy) fn satisfied_by(&self, held: &principal::Texts, case: Case) -> bool {
        let has = |word: &str| held.iter().any(|one| same_word(one, word, case));
        match self {
            Self::AllOf(words) => words.iter().all(|word| has(word)),
            Self::AnyOf(words) => words.iter().any(|word| has(word)),
        }
    }
}

impl Question<'_> {
    /// Applies a test to every value of a template: no value is unknown, of several all must pass. A value that another
    /// reading of the request changes is unknown: somebody whose own name is `bob;x` must not pass for `bob` at a server
    /// that drops what follows the `;`. So are, under `not`, several values that do not agree: the server will act on one
    /// of them, and nobody can tell on which.
    fn every(&self, template: &Template, stance: Stance, ask: impl Fn(&str) -> Truth) -> Truth {
        if template.source.is_in_body() && matches!(self.body, BodyValues::Unread) {
            return self.supposition(stance);
        }
        if self.differs(template, stance) {
            return Truth::Unknown;
        }
        let answer = |text: Option<&str>| text.map_or(Truth::Unknown, &ask);
        match &template.separator {
            None => together(self.whole_texts(&template.source).map(answer), stance),
            Some(_) => together(self.texts(template).map(answer), stance),
        }
    }

    /// Whether the template names a value that another reading of the request changes. A capture that may differ in the
    /// case of its letters counts under `not` only: most identifiers have letters of both, and hardly a server folds them.
    pub(in crate::policy) fn differs(&self, template: &Template, stance: Stance) -> bool {
        match &template.source {
            ValueSource::Host { .. } => self.captures.host.is_none(),
            ValueSource::Capture { index, .. } => match stance {
                Stance::Plain => self.captures.path.is_doubtful(*index),
                Stance::Negated => self.captures.path.wavers(*index),
            },
            ValueSource::Query { index, .. } => {
                self.query.iter().any(|parameter| parameter.index == *index && parameter.differs)
            }
            ValueSource::Header { .. } => false,
            source @ (ValueSource::Form { .. } | ValueSource::Body { .. } | ValueSource::Operation) => {
                self.body.wavers(source)
            }
        }
    }

    /// Every value of a template, the items of lists one by one. `None` stands for a value that is no text.
    pub(in crate::policy) fn texts<'a>(&'a self, template: &'a Template) -> impl Iterator<Item = Option<&'a str>> {
        let separator = template.separator.as_deref();
        self.whole_texts(&template.source).flat_map(move |text| Items::of(text, separator))
    }

    /// Every value of a source as the request has it.
    pub(in crate::policy) fn whole_texts<'a>(
        &'a self,
        source: &'a ValueSource,
    ) -> impl Iterator<Item = Option<&'a str>> {
        match source {
            ValueSource::Host { .. } => Texts::Captured(self.captures.host.into_iter()),
            ValueSource::Capture { index, .. } => Texts::Captured(self.captures.path.text(*index).into_iter()),
            ValueSource::Query { index, .. } => {
                let named = self.query.iter().filter(move |parameter| parameter.index == *index);
                Texts::Query(named.map(|parameter| parameter.text.as_deref()))
            }
            ValueSource::Header { name, .. } => {
                let fields = self.headers.get_all(name).into_iter();
                Texts::Header(fields.map(|value| std::str::from_utf8(value.as_bytes()).ok()))
            }
            ValueSource::Form { .. } | ValueSource::Body { .. } | ValueSource::Operation => {
                Texts::Body(self.body.texts(source))
            }
        }
    }
}

/// The answer about several values.
fn together(mut answers: impl Iterator<Item = Truth>, stance: Stance) -> Truth {
    let Some(first) = answers.next() else { return Truth::Unknown };
    match stance {
        Stance::Plain => Truth::all([first, Truth::all(answers)]),
        Stance::Negated if answers.all(|answer| answer == first) => first,
        Stance::Negated => Truth::Unknown,
    }
}

/// The texts of one source: those of the part of the request where it stands.
enum Texts<C, Q, H, B> {
    Captured(C),
    Query(Q),
    Header(H),
    Body(B),
}

impl<'a, C, Q, H, B> Iterator for Texts<C, Q, H, B>
where
    C: Iterator<Item = &'a str>,
    Q: Iterator<Item = Option<&'a str>>,
    H: Iterator<Item = Option<&'a str>>,
    B: Iterator<Item = Option<&'a str>>,
{
    type Item = Option<&'a str>;

    fn next(&mut self) -> Option<Self::Item> {
        match self {
            Self::Captured(texts) => texts.next().map(Some),
            Self::Query(texts) => texts.next(),
            Self::Header(texts) => texts.next(),
            Self::Body(texts) => texts.next(),
        }
    }
}

/// The items of one value.
enum Items<'a> {
    Whole(std::iter::Once<Option<&'a str>>),
    List(std::str::Split<'a, &'a str>),
}

impl<'a> Items<'a> {
    fn of(text: Option<&'a str>, separator: Option<&'a str>) -> Self {
        match (text, separator) {
            (Some(text), Some(separator)) => Self::List(text.split(separator)),
            (text, _) => Self::Whole(std::iter::once(text)),
        }
    }
}

impl<'a> Iterator for Items<'a> {
    type Item = Option<&'a str>;

    fn next(&mut self) -> Option<Self::Item> {
        match self {
            Self::Whole(value) => value.next(),
            Self::List(items) => items.next().map(Some),
        }
    }
}

/// Granted scopes. A token that names none leaves nothing to say no about: unknown, which only `not` can tell from
/// false.
fn scopes(set: &WordSet, principal: &Principal) -> Truth {
    if principal.scopes.is_empty() {
        Truth::Unknown
    } else {
        set.satisfied_by(&principal.scopes, Case::Sensitive).into()
    }
}

/// The principal is global, or every value of every template is one of its organisations.
fn organization(templates: &[Template], principal: &Principal, question: &Question<'_>, stance: Stance) -> Truth {
    let global = match (principal.global, stance) {
        _ if principal.pending.global => question.supposition(stance),
        (None, Stance::Negated) => Truth::Unknown,
        (held, _) => held.unwrap_or(false).into(),
    };
    if global.holds() {
        return Truth::True;
    }
    let case = Case::folded_if(principal.issuer.organizations_fold);
    let member = |value: &str| match (&principal.organizations, stance) {
        _ if principal.pending.organizations => question.supposition(stance),
        (None, Stance::Negated) => Truth::Unknown,
        (held, _) => held.iter().flatten().any(|one| equal(one, value, case)).into(),
    };
    let members = Truth::all(templates.iter().map(|template| question.every(template, stance, member)));
    Truth::any([global, members])
}

/// The subject is one of these. A client-credentials token stands for no customer, so no template is its subject.
fn subject(values: &[Comparand], principal: &Principal, question: &Question<'_>, stance: Stance) -> Truth {
    let case = Case::folded_if(principal.issuer.subject_folds);
    Truth::any(values.iter().map(|value| match (value, principal.subject.as_deref()) {
        (Comparand::Template(_), _) if principal.flow == Flow::ClientCredentials => Truth::False,
        (_, None) => Truth::Unknown,
        (Comparand::Literal(text), Some(subject)) => equal(subject, text, case).into(),
        (Comparand::Template(template), Some(subject)) => {
            question.every(template, stance, |text| equal(subject, text, case).into())
        }
    }))
}

/// The client is one of these.
fn client(values: &[Comparand], principal: &Principal, question: &Question<'_>, stance: Stance) -> Truth {
    let Some(client) = principal.client.as_deref() else { return Truth::Unknown };
    let case = Case::folded_if(principal.issuer.client_folds);
    Truth::any(values.iter().map(|value| match value {
        Comparand::Literal(text) => equal(client, text, case).into(),
        Comparand::Template(template) => question.every(template, stance, |text| equal(client, text, case).into()),
    }))
}

/// `auth_time` is at most `seconds` old; one in the future beyond the leeway is no time at all.
fn max_age(seconds: u64, principal: &Principal, now: Timestamp) -> Truth {
    let Some(at) = principal.authenticated_at else { return Truth::Unknown };
    if at > now.plus(principal.leeway) {
        return Truth::Unknown;
    }
    let age = u64::try_from(now.0.saturating_sub(at.0)).unwrap_or(0);
    (age <= seconds).into()
}

/// The client address is inside a network.
fn network(networks: &[IpNet], caller: &Caller<'_>) -> Truth {
    let Some(address) = caller.address else { return Truth::Unknown };
    let address = address.to_canonical();
    networks.iter().any(|network| network.contains(&address)).into()
}

/// The certificate has one of these names. A certificate without any name of the kind says nothing about it.
fn certificate(kind: CertificateName, names: &[Box<str>], shown: Option<&ClientCertificate>) -> Truth {
    let Some(shown) = shown else { return Truth::Unknown };
    let among = |held: &[String]| {
        if held.is_empty() {
            Truth::Unknown
        } else {
            held.iter().any(|one| names.iter().any(|name| **name == **one)).into()
        }
    };
    match kind {
        CertificateName::Dns => among(&shown.dns),
        CertificateName::Uri => among(&shown.uri),
        CertificateName::Email => among(&shown.email),
        CertificateName::Subject => among(std::slice::from_ref(&shown.subject)),
    }
}

/// A test of a request value.
fn request(template: &Template, test: &RequestTest, question: &Question<'_>, stance: Stance) -> Truth {
    let unread = template.source.is_in_body() && matches!(question.body, BodyValues::Unread);
    match test {
        RequestTest::Present | RequestTest::Absent if unread => question.supposition(stance),
        RequestTest::OneOf(values) => question
            .every(template, stance, |text| values.iter().any(|value| equal(value, text, Case::Sensitive)).into()),
        RequestTest::Present | RequestTest::Absent
            if stance == Stance::Negated && question.differs(template, stance) =>
        {
            Truth::Unknown
        }
        RequestTest::Present => question.whole_texts(&template.source).next().is_some().into(),
        RequestTest::Absent => question.whole_texts(&template.source).next().is_none().into(),
    }
}
