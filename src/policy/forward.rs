//! What forwarding does to a request: everything under `forward`, compiled (policy.md, "Forwarding").

mod principal;

use std::sync::Arc;
use std::time::Duration;

use http::uri::PathAndQuery;
use http::{HeaderName, HeaderValue};

pub(in crate::policy) use self::principal::PrincipalValue;
use crate::diagnostic::Place;
use crate::policy::assertion::Asserting;
use crate::policy::condition::Condition;
use crate::policy::decision::{AuthorizationHeader, Reason};
use crate::policy::evaluate::Question;
use crate::policy::identity::{IdentityValues, Rendered, percent};
use crate::policy::route::{Document, Route};
use crate::policy::surroundings::IdentityFacts;
use crate::policy::template::Template;
use crate::principal::{IdentityField, Principal, Statement};
use crate::target::query::decode;
use crate::target::{PathRules, Target};

/// A header to set.
#[derive(Debug, Clone)]
pub(in crate::policy) struct HeaderEntry {
    pub(in crate::policy) name: HeaderName,
    pub(in crate::policy) value: HeaderValue,
}

/// `forward` of a route, defaults of its document applied.
#[derive(Debug)]
pub(in crate::policy) struct Effects {
    /// Identity headers that this route sends, with their full names.
    pub(in crate::policy) identity: Box<[(IdentityField, HeaderName)]>,
    /// The signed assertion, where this route sends one.
    pub(in crate::policy) assertion: Option<Asserting>,
    /// Headers whose value is always the same.
    pub(in crate::policy) fixed: Box<[HeaderEntry]>,
    /// Headers with templates.
    pub(in crate::policy) headers: Box<[Setting<HeaderName>]>,
    /// Query parameters to set.
    pub(in crate::policy) query: Box<[Setting<Box<str>>]>,
    /// Folded names of all these headers.
    pub(in crate::policy) removes: Box<[Box<str>]>,
    pub(in crate::policy) authorization: AuthorizationHeader,
    pub(in crate::policy) timeout: Option<Duration>,
    pub(in crate::policy) max_body: Option<u64>,
    pub(in crate::policy) strip_prefix: Option<Box<str>>,
    pub(in crate::policy) add_prefix: Option<Box<str>>,
    /// Bytes that path and query may have with narrowed parameters in it: `limits.target_bytes`, which is what clients
    /// may send and servers are made for.
    pub(in crate::policy) longest_target: usize,
    /// How the rewritten path is canonicalised again.
    pub(in crate::policy) rules: PathRules,
}

/// A name and the text that it is set to.
#[derive(Debug)]
pub(in crate::policy) struct Setting<N> {
    pub(in crate::policy) name: N,
    pub(in crate::policy) parts: Box<[Part]>,
    pub(in crate::policy) place: Place,
}

/// A part of such a text.
#[derive(Debug, PartialEq)]
pub(in crate::policy) enum Part {
    /// The author's own text.
    Text(Box<str>),
    /// A value of the principal.
    Principal(PrincipalValue),
    /// A value of the request.
    Request(Template),
}

/// Why forwarding is refused although the conditions hold.
#[derive(Debug)]
pub(in crate::policy) struct Unforwardable {
    /// `forward` or `identity-too-large`.
    pub(in crate::policy) reason: Reason,
    /// The entry under `forward`.
    pub(in crate::policy) place: Option<Place>,
}

/// Values of a part.
enum Values {
    /// There is none.
    Absent,
    /// A single text.
    One(String),
    /// A list, written with this separator.
    Many(Vec<String>, &'static str),
    /// The organisations of a principal that is not global.
    Organizations(Vec<String>),
    /// A claim of a type that cannot be written.
    WrongType,
}

impl Effects {
    /// Identity headers of the principal, without the two that name policy and route.
    pub(in crate::policy) fn identity<'e>(
        &'e self,
        values: &'e IdentityValues,
    ) -> impl Iterator<Item = (&'e HeaderName, &'e HeaderValue)> {
        self.identity.iter().filter_map(|(field, name)| match values.field(*field) {
            Rendered::Value(value) => Some((name, value)),
            Rendered::Absent | Rendered::TooLarge => None,
        })
    }

    /// The headers that name policy and route.
    pub(in crate::policy) fn provenance<'e>(
        &'e self,
        document: &'e Document,
        route: Option<&'e Route>,
    ) -> impl Iterator<Item = (&'e HeaderName, &'e HeaderValue)> {
        self.identity.iter().filter_map(move |(field, name)| match field {
            IdentityField::Policy => Some((name, &document.header)),
            IdentityField::Route => route.map(|route| (name, &route.header)),
            _ => None,
        })
    }

    /// The principal's identity headers, if those that this route sends fit.
    pub(in crate::policy) fn identity_values(
        &self,
        principal: &Principal,
        facts: &IdentityFacts,
    ) -> Result<Arc<IdentityValues>, Unforwardable> {
        let values = IdentityValues::of(principal, facts);
        let is_too_large = |field| matches!(values.field(field), Rendered::TooLarge);
        let too_large = values.too_large && self.identity.iter().any(|(field, _)| is_too_large(*field));
        if too_large { Err(Unforwardable { reason: Reason::IdentityTooLarge, place: None }) } else { Ok(values) }
    }

    /// What is signed about the principal, if this route sends it and it fits.
    pub(in crate::policy) fn statement(
        &self,
        principal: &Principal,
        facts: &IdentityFacts,
    ) -> Result<Option<Statement>, Unforwardable> {
        let Some(assertion) = &self.assertion else { return Ok(None) };
        let statement = assertion.statement(principal, facts.max_bytes);
        statement.map(Some).ok_or(Unforwardable { reason: Reason::IdentityTooLarge, place: None })
    }

    /// Headers with templates, rendered; those without a value are left out. A value that cannot be written is told before one
    /// that is too long (policy.md, "Reasons").
    pub(in crate::policy) fn headers(
        &self,
        question: &Question<'_>,
        facts: &IdentityFacts,
    ) -> Result<Vec<HeaderEntry>, Unforwardable> {
        let mut entries = Vec::with_capacity(self.headers.len());
        let mut refusal: Option<Unforwardable> = None;
        for setting in &self.headers {
            match setting.header(question, facts) {
                Ok(value) => entries.extend(value.map(|value| HeaderEntry { name: setting.name.clone(), value })),
                Err(reason) if refusal.as_ref().is_none_or(|first| reason < first.reason) => {
                    refusal = Some(Unforwardable { reason, place: Some(setting.place.clone()) });
                }
                Err(_) => {}
            }
        }
        refusal.map_or(Ok(entries), Err)
    }

    /// The same without a refusal: what cannot be rendered is left out.
    pub(in crate::policy) fn headers_found(&self, question: &Question<'_>, facts: &IdentityFacts) -> Vec<HeaderEntry> {
        let rendered = self.headers.iter().filter_map(|setting| {
            let value = setting.header(question, facts).ok().flatten()?;
            Some(HeaderEntry { name: setting.name.clone(), value })
        });
        rendered.collect()
    }

    /// Whether the canonical target is sent as it is.
    pub(in crate::policy) fn keeps_target(&self) -> bool {
        self.query.is_empty() && self.strip_prefix.is_none() && self.add_prefix.is_none()
    }

    /// Path and query as they are sent: parameters set, and those narrowed that were not sent. All other bytes of the
    /// query stay.
    pub(in crate::policy) fn target<'n>(
        &self,
        path: &str,
        query: Option<&str>,
        narrow: impl Iterator<Item = &'n Condition>,
        question: &Question<'_>,
    ) -> Result<PathAndQuery, Unforwardable> {
        let mut sent = Pieces::default();
        for piece in query.filter(|query| !query.is_empty()).into_iter().flat_map(|query| query.split('&')) {
            let name = decode(piece.split_once('=').map_or(piece, |(name, _)| name));
            if !self.query.iter().any(|setting| setting.name.as_bytes() == &*name) {
                sent.push(piece);
            }
        }
        for setting in &self.query {
            sent.push(&setting.parameter(question)?);
        }
        let mut longest = None;
        for condition in narrow {
            if let (Some(narrowing), Some(principal)) = (condition.narrowing(), question.caller.principal)
                && narrowing.set(principal, question, &mut sent)
            {
                longest = Some(condition);
            }
        }
        let target = self.plain_target(path, sent.0.as_deref().or(query))?;
        match longest {
            Some(condition) if target.as_str().len() > self.longest_target => {
                Err(Unforwardable { reason: Reason::Narrow, place: Some(condition.place.clone()) })
            }
            _ => Ok(target),
        }
    }

    /// Path and query as they are sent: prefixes changed, and canonical still.
    pub(in crate::policy) fn plain_target(
        &self,
        path: &str,
        query: Option<&str>,
    ) -> Result<PathAndQuery, Unforwardable> {
        let refused = || Unforwardable { reason: Reason::Forward, place: None };
        let mut sent = String::with_capacity(path.len() + query.map_or(0, |query| query.len() + 1));
        if self.strip_prefix.is_some() || self.add_prefix.is_some() {
            let rest = match &self.strip_prefix {
                Some(prefix) => without_prefix(path, prefix).ok_or_else(refused)?,
                None => path,
            };
            let added = self.add_prefix.as_deref().unwrap_or_default();
            sent.push_str(added);
            if !(rest == "/" && self.strip_prefix.is_some() && !added.is_empty()) || path.ends_with('/') {
                sent.push_str(rest);
            }
            let canonical = Target::parse(&sent, self.rules).map_err(|_| refused())?;
            if canonical.path() != sent {
                return Err(refused());
            }
        } else {
            return Self::unchanged_target(path, query);
        }
        join(sent, query)
    }

    /// Path and query as they are.
    pub(in crate::policy) fn unchanged_target(path: &str, query: Option<&str>) -> Result<PathAndQuery, Unforwardable> {
        let mut sent = String::with_capacity(path.len() + query.map_or(0, |query| query.len() + 1));
        sent.push_str(path);
        join(sent, query)
    }
}

/// What stands between the `&` of a query.
#[derive(Debug, Default)]
pub(in crate::policy) struct Pieces(Option<String>);

impl Pieces {
    /// Adds a piece.
    pub(in crate::policy) fn push(&mut self, piece: &str) {
        match &mut self.0 {
            None => self.0 = Some(piece.to_owned()),
            Some(query) => {
                query.push('&');
                query.push_str(piece);
            }
        }
    }
}

impl Setting<Box<str>> {
    /// The parameter with its one value.
    fn parameter(&self, question: &Question<'_>) -> Result<String, Unforwardable> {
        let mut text = String::new();
        for part in &self.parts {
            match part.values(question) {
                Values::One(value) => text.push_str(&value),
                Values::Many(values, _) | Values::Organizations(values) if values.len() == 1 => text.extend(values),
                Values::Absent | Values::Many(..) | Values::Organizations(_) | Values::WrongType => {
                    return Err(Unforwardable { reason: Reason::Forward, place: Some(self.place.clone()) });
                }
            }
        }
        Ok(format!("{}={}", component(&self.name), component(&text)))
    }
}

impl Setting<HeaderName> {
    /// The header's value; nothing when a part of it has none. A part that cannot be written refuses all the same.
    pub(in crate::policy) fn header(
        &self,
        question: &Question<'_>,
        facts: &IdentityFacts,
    ) -> Result<Option<HeaderValue>, Reason> {
        if let [Part::Principal(value)] = &*self.parts
            && let Some(principal) = question.caller.principal
            && let Some(field) = value.rendered_as(principal)
        {
            return match IdentityValues::of(principal, facts).field(field) {
                Rendered::Absent => Ok(None),
                Rendered::Value(value) => Ok(Some(value.clone())),
                Rendered::TooLarge => Err(Reason::IdentityTooLarge),
            };
        }
        let (mut text, mut missing) = (Vec::new(), false);
        for part in &self.parts {
            match part.values(question) {
                Values::WrongType => return Err(Reason::Forward),
                Values::Absent => missing = true,
                Values::One(value) => match part {
                    Part::Text(_) => text.extend_from_slice(value.as_bytes()),
                    Part::Principal(_) | Part::Request(_) => text.extend_from_slice(&facts.encoding.text(&value)),
                },
                Values::Many(values, separator) => text.extend_from_slice(&facts.encoding.list(&values, separator)),
                Values::Organizations(values) => {
                    text.extend_from_slice(&facts.encoding.organizations(values.iter().map(String::as_str)));
                }
            }
        }
        match facts.rendered(&text) {
            _ if missing => Ok(None),
            Rendered::Value(value) => Ok(Some(value)),
            Rendered::Absent | Rendered::TooLarge => Err(Reason::IdentityTooLarge),
        }
    }
}

fn join(mut path: String, query: Option<&str>) -> Result<PathAndQuery, Unforwardable> {
    if let Some(query) = query {
        path.push('?');
        path.push_str(query);
    }
    PathAndQuery::try_from(path).map_err(|_| Unforwardable { reason: Reason::Forward, place: None })
}

/// What follows a prefix of whole segments; `/` when nothing does.
fn without_prefix<'p>(path: &'p str, prefix: &str) -> Option<&'p str> {
    match path.strip_prefix(prefix)? {
        "" => Some("/"),
        rest if rest.starts_with('/') => Some(rest),
        _ => None,
    }
}

/// A name or value as a query can hold it (RFC 3986 section 2.3: unreserved characters stay).
pub(in crate::policy) fn component(text: &str) -> String {
    let mut out = Vec::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(byte);
        } else {
            percent(byte, &mut out);
        }
    }
    String::from_utf8(out).unwrap_or_default()
}

impl Part {
    fn values(&self, question: &Question<'_>) -> Values {
        match self {
            Self::Text(text) => Values::One(text.to_string()),
            Self::Principal(value) => question.caller.principal.map_or(Values::Absent, |principal| value.of(principal)),
            Self::Request(template) => {
                let values: Option<Vec<_>> = question.texts(template).map(|text| text.map(str::to_owned)).collect();
                match values {
                    None => Values::WrongType,
                    Some(values) => few(values),
                }
            }
        }
    }
}

/// No value, one, or a list.
fn few(mut values: Vec<String>) -> Values {
    match (values.pop(), values.is_empty()) {
        (None, _) => Values::Absent,
        (Some(only), true) => Values::One(only),
        (Some(last), false) => {
            values.push(last);
            Values::Many(values, ",")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn effects(strip: Option<&str>, add: Option<&str>) -> Effects {
        Effects {
            identity: Box::new([]),
            assertion: None,
            fixed: Box::new([]),
            headers: Box::new([]),
            query: Box::new([]),
            removes: Box::new([]),
            authorization: AuthorizationHeader::Strip,
            timeout: None,
            max_body: None,
            strip_prefix: strip.map(Into::into),
            add_prefix: add.map(Into::into),
            longest_target: 8192,
            rules: PathRules::default(),
        }
    }

    fn sent(strip: Option<&str>, add: Option<&str>, path: &str) -> Option<String> {
        effects(strip, add).plain_target(path, Some("a=%20")).ok().map(|sent| sent.to_string())
    }

    #[test]
    fn prefixes_are_of_whole_segments() {
        assert_eq!(sent(Some("/crm"), None, "/crm/a").as_deref(), Some("/a?a=%20"));
        assert_eq!(sent(Some("/crm"), None, "/crm").as_deref(), Some("/?a=%20"));
        assert_eq!(sent(Some("/crm"), None, "/crm/").as_deref(), Some("/?a=%20"));
        assert_eq!(sent(Some("/crm"), None, "/crmx/a"), None);
        assert_eq!(sent(Some("/crm"), Some("/v2"), "/crm/a/").as_deref(), Some("/v2/a/?a=%20"));
        assert_eq!(sent(Some("/crm"), Some("/v2"), "/crm").as_deref(), Some("/v2?a=%20"));
        assert_eq!(sent(Some("/crm"), Some("/v2"), "/crm/").as_deref(), Some("/v2/?a=%20"));
        assert_eq!(sent(None, Some("/v2"), "/").as_deref(), Some("/v2/?a=%20"));
        assert_eq!(sent(None, None, "/crm").as_deref(), Some("/crm?a=%20"));
    }

    #[test]
    fn query_components_hold_only_unreserved_characters() {
        assert_eq!(component("a b&c=d;e/%+ü~"), "a%20b%26c%3Dd%3Be%2F%25%2B%C3%BC~");
    }
}
