//! Requests and tokens with something changed.

use std::fmt::Write as _;
use std::sync::Arc;

use http::header::CONNECTION;
use http::{HeaderMap, HeaderName, HeaderValue};
use serde_json::Value;

use super::body;
use crate::clock::Timestamp;
use crate::policy::{Change, PlaceError};
use crate::principal::{Claims, Flow, IssuerId, Principal, Texts};
use crate::response::Refusal;
use crate::target::fold::{fold_header, folds_to};
use crate::target::method::OVERRIDE_HEADERS;
use crate::target::query::{check_escapes, decode, fold_name, name_folds_to, parameters};
use crate::target::{Authority, Scheme};
use crate::trial::{Attempt, Bearer, Loaded, Outcome, Request};

/// Hosts that are proposed at most.
const MOST_HOSTS: usize = 4;

/// A request and its token after some changes.
#[derive(Debug, Clone)]
pub(super) struct Changed {
    pub(super) request: Request,
    pub(super) bearer: Bearer,
    changes: Vec<Change>,
}

impl Changed {
    pub(super) fn nothing(request: Request, bearer: Bearer) -> Self {
        Self { request, bearer, changes: Vec::new() }
    }

    pub(super) fn size(&self) -> usize {
        self.changes.len()
    }

    /// What tells it from others: the changes in any order.
    pub(super) fn key(&self) -> Vec<String> {
        let mut key: Vec<String> = self.changes.iter().map(|change| format!("{change:?}")).collect();
        key.sort();
        key
    }

    pub(super) fn in_words(&self, loaded: &Loaded) -> Vec<String> {
        self.changes.iter().map(|change| in_words(change, loaded)).collect()
    }

    /// With one more change; `None` where that takes another one back, or cannot be made.
    pub(super) fn with(&self, change: Change, loaded: &Loaded) -> Option<Self> {
        if self.changes.iter().any(|made| slot(made) == slot(&change)) {
            return None;
        }
        let mut next = self.clone();
        next.apply(&change, loaded)?;
        next.changes.push(change);
        Some(next)
    }

    /// What could be changed next.
    pub(super) fn ideas(&self, loaded: &Loaded, attempt: &Attempt<'_>) -> Vec<Change> {
        match &attempt.outcome {
            Outcome::Refused(Refusal::Place(PlaceError::UnknownHost)) => self.hosts(loaded),
            Outcome::Refused(Refusal::Place(PlaceError::Target(_))) => {
                vec![Change::Path(clean(&self.request.target)), Change::DecodableQuery]
            }
            Outcome::Refused(Refusal::Place(PlaceError::MethodOverride)) => {
                let names = OVERRIDE_HEADERS.into_iter().map(HeaderName::from_static);
                let headers = names.map(|name| Change::Header(name, None));
                std::iter::once(Change::Query("_method".into(), None)).chain(headers).collect()
            }
            Outcome::Refused(Refusal::Place(PlaceError::MethodRefused)) => {
                ["GET", "POST"].map(|method| Change::Method(method.to_owned())).into()
            }
            Outcome::Refused(Refusal::Token(_)) => tokens(attempt),
            Outcome::Observed(_, would) if would.status == http::StatusCode::UNAUTHORIZED => {
                tokens(attempt).into_iter().chain(attempt.remedies()).collect()
            }
            Outcome::Refused(_) | Outcome::Observed(..) => attempt.remedies(),
            Outcome::Allowed(_) | Outcome::Answered(_) => Vec::new(),
        }
    }

    /// Hosts that some policy names, the most similar first.
    fn hosts(&self, loaded: &Loaded) -> Vec<Change> {
        let asked = self.request.authority.host();
        let first = asked.split('.').next().unwrap_or_default();
        let hosts = loaded.policies.hosts().filter_map(|pattern| match pattern.split_once('.') {
            None if pattern == "*" => None,
            Some((open, rest)) if open == "*" || open.starts_with('{') => Some(format!("{first}.{rest}")),
            _ => Some(pattern.to_owned()),
        });
        let mut hosts: Vec<String> = hosts.collect();
        hosts.sort_by_key(|host| strsim::levenshtein(host, asked));
        hosts.dedup();
        hosts.into_iter().take(MOST_HOSTS).map(Change::Host).collect()
    }

    fn apply(&mut self, change: &Change, loaded: &Loaded) -> Option<()> {
        let request = &mut self.request;
        match change {
            Change::Method(method) => method.clone_into(&mut request.method),
            Change::Host(host) => request.authority = Authority::parse(host, Scheme::Https).ok()?,
            Change::Path(path) | Change::Capture(_, _, path) => {
                request.target = match request.target.split_once('?') {
                    Some((_, query)) => format!("{path}?{query}"),
                    None => path.clone(),
                };
            }
            Change::Query(name, value) => set_parameter(&mut request.target, name, value.as_deref()),
            Change::QueryJson(name, pointer, value) => {
                let before = body::parameter(&request.target, name).unwrap_or_default();
                let text = body::json(before.as_bytes(), pointer, value.as_deref())?;
                set_parameter(&mut request.target, name, Some(&text));
            }
            Change::Form(name, value) => {
                // A form is written like a query.
                let before = std::str::from_utf8(&request.body).ok()?;
                let mut form = if before.is_empty() { String::new() } else { format!("?{before}") };
                set_parameter(&mut form, name, value.as_deref());
                body::set(request, form.strip_prefix('?').unwrap_or_default().to_owned(), body::FORM);
            }
            Change::Body(pointer, value) => {
                let text = body::json(&request.body, pointer, value.as_deref())?;
                body::set(request, text, body::JSON);
            }
            Change::Operation(operation) => body::set(request, body::soap(operation), body::XML),
            Change::DecodableQuery => keep(&mut request.target, |piece| check_escapes(piece).is_ok()),
            Change::Header(name, value) => set_header(&mut request.headers, name, value.as_deref())?,
            Change::Address(address) => request.address = Some(*address),
            Change::Certificate(kind, name) => {
                kind.add(request.certificate.get_or_insert_default(), name);
            }
            Change::Token(issuer) => self.bearer = token(&self.bearer, *issuer, loaded, self.request.now)?,
            change => {
                let Bearer::Principal(principal) = &self.bearer else { return None };
                let mut principal = Principal::clone(principal);
                of_principal(&mut principal, change, request.now);
                self.bearer = Bearer::Principal(Arc::new(principal));
            }
        }
        Some(())
    }
}

/// Tokens that would be accepted.
fn tokens(attempt: &Attempt<'_>) -> Vec<Change> {
    let accepted = attempt.accepted();
    accepted.iter().flat_map(crate::principal::IssuerSet::iter).map(Change::Token).collect()
}

/// The same token, of this issuer and in force; a new one where there was none.
fn token(bearer: &Bearer, issuer: IssuerId, loaded: &Loaded, now: Timestamp) -> Option<Bearer> {
    let rules = loaded.rules.get(usize::from(issuer.0))?;
    let Bearer::Principal(principal) = bearer else {
        let claims = [("sub", "somebody"), ("client_id", "some-client"), ("azp", "some-client")];
        let claims: Claims = claims.into_iter().map(|(name, text)| (name.to_owned(), text.into())).collect();
        let made = loaded.token(Some(&rules.identity().name), claims, now);
        return made.filter(|made| matches!(made, Bearer::Principal(_)));
    };
    let mut principal = Principal::clone(principal);
    principal.issuer = Arc::clone(rules.identity());
    (principal.not_before, principal.issued_at, principal.certificate_thumbprint) = (None, None, None);
    principal.expires_at = now.plus(1);
    principal.leeway = rules.issuer().leeway;
    Some(Bearer::Principal(Arc::new(principal)))
}

fn of_principal(principal: &mut Principal, change: &Change, now: Timestamp) {
    let put = |list: &mut Texts, word: &str, wanted: bool| {
        *list = list.iter().filter(|held| *held != word).chain(wanted.then_some(word)).collect();
    };
    match change {
        Change::Scope(word, wanted) => put(&mut principal.scopes, word, *wanted),
        Change::Permission(word, wanted) => put(principal.permissions.get_or_insert_default(), word, *wanted),
        Change::Organization(word, wanted) => put(principal.organizations.get_or_insert_default(), word, *wanted),
        Change::Global(global) => principal.global = Some(*global),
        Change::Subject(subject) => principal.subject = Some(subject.clone()),
        Change::Client(client) => principal.client = Some(client.clone()),
        Change::Flow(flow) => principal.flow = *flow,
        Change::Claim(path, value) => {
            let mut claims = principal.claims.to_map();
            put_claim(&mut claims, &path.0, value.as_ref());
            principal.claims = claims.into();
        }
        Change::Acr(acr) => principal.acr = Some(acr.clone()),
        Change::LogIn => principal.authenticated_at = Some(now),
        Change::Method(_)
        | Change::Host(_)
        | Change::Path(_)
        | Change::Capture(..)
        | Change::Query(..)
        | Change::QueryJson(..)
        | Change::Form(..)
        | Change::Body(..)
        | Change::Operation(_)
        | Change::DecodableQuery
        | Change::Header(..)
        | Change::Token(_)
        | Change::Address(_)
        | Change::Certificate(..) => {}
    }
}

fn put_claim(claims: &mut Claims, path: &[String], value: Option<&Value>) {
    match (path, value) {
        ([], _) => {}
        ([last], Some(value)) => {
            claims.insert(last.clone(), value.clone());
        }
        ([last], None) => {
            claims.remove(last);
        }
        ([first, rest @ ..], value) => {
            let inner = claims.entry(first.clone()).or_insert_with(|| Value::Object(Claims::new()));
            if !inner.is_object() {
                *inner = Value::Object(Claims::new());
            }
            if let Some(inner) = inner.as_object_mut() {
                put_claim(inner, rest, value);
            }
        }
    }
}

/// Leaves only these pieces of the query.
fn keep(target: &mut String, wanted: impl Fn(&str) -> bool) {
    let Some((path, query)) = target.split_once('?') else { return };
    let kept: Vec<&str> = query.split('&').filter(|piece| wanted(piece)).collect();
    *target = if kept.is_empty() { path.to_owned() } else { format!("{path}?{}", kept.join("&")) };
}

/// Sets a parameter, whatever spelling it had; an empty text stands for the value that it has.
fn set_parameter(target: &mut String, name: &str, value: Option<&str>) {
    let folded = fold_name(&name.replace('%', "%25").replace('+', "%2B"));
    let concerns = |piece: &str| {
        parameters(piece).any(|parameter| {
            let head = parameter.raw_name.split(';').next().unwrap_or_default();
            [parameter.raw_name, head].into_iter().any(|raw| name_folds_to(raw, &folded))
        })
    };
    let query = target.split_once('?').map(|(_, query)| query.to_owned()).unwrap_or_default();
    let before = query.split('&').filter(|piece| concerns(piece)).find_map(|piece| {
        let value = parameters(piece).find(|parameter| name_folds_to(parameter.raw_name, &folded))?.raw_value?;
        let value = value.split(';').next().unwrap_or_default();
        Some(String::from_utf8_lossy(&decode(value)).into_owned()).filter(|value| !value.is_empty())
    });
    keep(target, |piece| !concerns(piece));
    if let Some(value) = value {
        let value = if value.is_empty() { before.as_deref().unwrap_or("example") } else { value };
        target.push(if target.contains('?') { '&' } else { '?' });
        let _ = write!(target, "{}={}", encoded(name), encoded(value));
    }
}

/// Text as a query can hold it.
fn encoded(text: &str) -> String {
    let mut out = String::new();
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~:/,".contains(&byte) {
            out.push(char::from(byte));
        } else {
            let _ = write!(out, "%{byte:02X}");
        }
    }
    out
}

/// Sets a header, whatever spelling it had; an empty text stands for the value that it has.
fn set_header(headers: &mut HeaderMap, name: &HeaderName, value: Option<&str>) -> Option<()> {
    let folded = fold_header(name.as_str());
    let alike: Vec<HeaderName> = headers.keys().filter(|key| folds_to(key.as_str(), &folded)).cloned().collect();
    let mut before = None;
    for key in alike {
        before = headers.remove(&key).or(before);
    }
    let names = |value: &HeaderValue| {
        value.to_str().is_ok_and(|value| value.split(',').any(|option| folds_to(option.trim(), &folded)))
    };
    if headers.get_all(CONNECTION).iter().any(names) {
        headers.remove(CONNECTION);
    }
    if let Some(value) = value {
        let value = if value.is_empty() { before } else { None }
            .map_or_else(|| HeaderValue::from_str(if value.is_empty() { "example" } else { value }), Ok);
        headers.insert(name, value.ok()?);
    }
    Some(())
}

/// The path that was probably meant: no `.` and `..`, no empty segment, nothing that cannot be decoded.
fn clean(target: &str) -> String {
    let path = target.split(['?', '#']).next().unwrap_or_default().replace('\\', "/");
    let mut segments: Vec<String> = Vec::new();
    for segment in path.split('/').filter(|segment| !segment.is_empty()) {
        match segment.to_ascii_lowercase().replace("%2e", ".").as_str() {
            "." => {}
            ".." => {
                segments.pop();
            }
            _ if check_escapes(segment).is_ok() && segment.is_ascii() => segments.push(segment.to_owned()),
            _ => segments.push(segment.chars().filter(char::is_ascii_alphanumeric).collect()),
        }
    }
    format!("/{}", segments.join("/"))
}

/// What a change is about: nothing is changed twice.
fn slot(change: &Change) -> String {
    match change {
        Change::Scope(word, _) => format!("scope {word}"),
        Change::Permission(word, _) => format!("permission {word}"),
        Change::Organization(word, _) => format!("organization {word}"),
        Change::Query(name, _) => format!("query {name}"),
        Change::QueryJson(name, pointer, _) => format!("query {name}#{pointer}"),
        Change::Form(name, _) => format!("form {name}"),
        Change::Body(pointer, _) => format!("body {pointer}"),
        Change::Operation(_) => "operation".to_owned(),
        Change::Header(name, _) => format!("header {name}"),
        Change::Claim(path, _) => format!("claim {path}"),
        Change::Capture(name, ..) => format!("capture {name}"),
        Change::Certificate(kind, name) => format!("certificate {kind:?} {name}"),
        Change::Method(_) => "method".to_owned(),
        Change::Host(_) => "host".to_owned(),
        Change::Path(_) => "path".to_owned(),
        Change::DecodableQuery => "decodable".to_owned(),
        Change::Token(_) => "token".to_owned(),
        Change::Global(_) => "global".to_owned(),
        Change::Subject(_) => "subject".to_owned(),
        Change::Client(_) => "client".to_owned(),
        Change::Flow(_) => "flow".to_owned(),
        Change::Acr(_) => "acr".to_owned(),
        Change::LogIn => "login".to_owned(),
        Change::Address(_) => "address".to_owned(),
    }
}

fn in_words(change: &Change, loaded: &Loaded) -> String {
    let has = |what: &str, word: &str, wanted: bool| format!("{}{what} {word}", if wanted { "" } else { "no " });
    match change {
        Change::Method(method) => format!("method {method}"),
        Change::Host(host) => format!("host {host}"),
        Change::Path(path) => format!("path {path}"),
        Change::Capture(name, value, _) => format!("{{{name}}} in the path is {value}"),
        Change::Query(name, Some(value)) if value.is_empty() => {
            format!("query parameter {name}, spelt exactly so, once")
        }
        Change::Query(name, Some(value)) => format!("query parameter {name} is {value}"),
        Change::Query(name, None) => format!("no query parameter {name}, in no spelling"),
        Change::DecodableQuery => "no query parameter that cannot be decoded".to_owned(),
        Change::QueryJson(name, pointer, Some(value)) => format!("{pointer} in query parameter {name} is {value}"),
        Change::QueryJson(name, pointer, None) => format!("no {pointer} in query parameter {name}"),
        Change::Form(name, Some(value)) if value.is_empty() => format!("form parameter {name}, spelt exactly so, once"),
        Change::Form(name, Some(value)) => format!("form parameter {name} is {value}"),
        Change::Form(name, None) => format!("no form parameter {name}, in no spelling"),
        Change::Body(pointer, Some(value)) => format!("{pointer} in the body is {value}"),
        Change::Body(pointer, None) => format!("no {pointer} in the body"),
        Change::Operation(operation) => format!("SOAP operation {operation}"),
        Change::Header(name, Some(value)) if value.is_empty() => format!("header {name}, spelt exactly so"),
        Change::Header(name, Some(value)) => format!("header {name}: {value}"),
        Change::Header(name, None) => format!("no header {name}, in no spelling"),
        Change::Token(issuer) => {
            let rules = loaded.rules.get(usize::from(issuer.0));
            format!("a valid token of issuer {}", rules.map_or("", |rules| &rules.identity().name))
        }
        Change::Scope(word, wanted) => has("scope", word, *wanted),
        Change::Permission(word, wanted) => has("permission", word, *wanted),
        Change::Organization(word, true) => format!("a member of organisation {word}"),
        Change::Organization(word, false) => format!("no member of organisation {word}"),
        Change::Global(global) => format!("global: {global}"),
        Change::Subject(subject) => format!("subject {subject}"),
        Change::Client(client) => format!("client {client}"),
        Change::Flow(Flow::User) => "a token of a user, not of a client".to_owned(),
        Change::Flow(flow) => format!("a token of flow {}", flow.as_str()),
        Change::Claim(path, Some(value)) => format!("claim {path}: {value}"),
        Change::Claim(path, None) => format!("no claim {path}"),
        Change::Acr(acr) => format!("acr {acr}"),
        Change::LogIn => "a login just before".to_owned(),
        Change::Address(address) => format!("from address {address}"),
        Change::Certificate(kind, name) => format!("a client certificate with {} {name}", kind.as_str()),
    }
}
