//! Audit records read back (cli.md, "Audit record"): the request and the principal that they were written about.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::header::CONNECTION;
use http::{HeaderMap, HeaderName, HeaderValue};
use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::Value;
use thiserror::Error;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::authn::claims::authenticated_at;
use crate::clock::Timestamp;
use crate::policy::{Fact, is_ambiguous_header};
use crate::principal::{ClaimPath, Claims, ClientCertificate, Flow, Pending, Principal, Texts};
use crate::target::{Authority, Scheme};
use crate::trial::{Loaded, Request};

/// Text that is borrowed from its line wherever it holds no escapes.
#[derive(Debug, Clone, Deserialize)]
#[serde(transparent)]
pub struct Text<'l>(#[serde(borrow)] Cow<'l, str>);

/// One audit record.
#[derive(Debug, Deserialize)]
pub struct Record<'l> {
    /// `audit`, for lines that are one.
    #[serde(borrow)]
    pub kind: Text<'l>,
    /// When, RFC 3339.
    #[serde(borrow)]
    pub time: Text<'l>,
    /// Its name.
    #[serde(borrow)]
    pub request_id: Text<'l>,
    #[serde(borrow)]
    method: Text<'l>,
    #[serde(borrow)]
    host: Option<Text<'l>>,
    #[serde(borrow)]
    path: Option<Text<'l>>,
    #[serde(borrow)]
    values: Pairs<'l>,
    #[serde(borrow)]
    facts: Facts<'l>,
    address: Option<IpAddr>,
    /// The policy that decided.
    #[serde(borrow)]
    pub policy: Option<Text<'l>>,
    /// The route that decided.
    #[serde(borrow)]
    pub route: Option<Text<'l>>,
    #[serde(borrow)]
    decision: Text<'l>,
    would: Option<u16>,
    #[serde(borrow)]
    reason: Option<Text<'l>>,
    #[serde(borrow)]
    principal: Option<Person<'l>>,
    status: Option<u16>,
}

/// What a record has beside values.
#[derive(Debug, Default, Deserialize)]
struct Facts<'l> {
    #[serde(borrow, default)]
    method: Option<Text<'l>>,
    #[serde(borrow, default)]
    query: Option<Text<'l>>,
    #[serde(borrow, default)]
    headers: Vec<Text<'l>>,
    #[serde(borrow, default)]
    method_override: Vec<Text<'l>>,
    #[serde(default)]
    certificate: Option<Names>,
    #[serde(borrow, default)]
    token: Option<Refused<'l>>,
    #[serde(default)]
    body: Option<BTreeMap<String, Vec<String>>>,
    /// Claims that only userinfo knew and nobody asked for.
    #[serde(default)]
    unasked: Vec<String>,
}

/// Names of a client certificate.
#[derive(Debug, Default, Deserialize)]
struct Names {
    dns: Vec<String>,
    uri: Vec<String>,
    email: Vec<String>,
    subject: String,
}

/// A token that was not accepted.
#[derive(Debug, Deserialize)]
struct Refused<'l> {
    #[serde(borrow)]
    issuer: Option<Text<'l>>,
    #[serde(borrow)]
    fault: Text<'l>,
}

/// The principal as it is recorded.
#[derive(Debug, Deserialize)]
struct Person<'l> {
    #[serde(borrow)]
    issuer: Text<'l>,
    #[serde(borrow)]
    subject: Option<Text<'l>>,
    #[serde(borrow)]
    client: Option<Text<'l>>,
    #[serde(borrow)]
    flow: Text<'l>,
    scopes: Vec<String>,
    permissions: Option<Vec<String>>,
    organizations: Option<Vec<String>>,
    global: Option<bool>,
}

/// The members of an object in their order.
#[derive(Debug, Default)]
struct Pairs<'l>(Vec<(Text<'l>, Value)>);

/// What was decided then.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decided<'l> {
    /// Forwarded.
    Allow,
    /// Refused with this status, unless the client was gone before there was one.
    Deny(Option<u16>, &'l str),
    /// Forwarded although it would have been refused with this status.
    Observed(u16, &'l str),
}

/// The token that came with a recorded request, as far as the record tells.
#[derive(Debug)]
pub enum Token<'l> {
    /// It was accepted.
    Accepted(Arc<Principal>),
    /// It was accepted, of an issuer that is not configured.
    Stranger(&'l str),
    /// It was not accepted for this reason, and claims to be of this configured issuer.
    Refused(&'l str, Option<&'l str>),
    /// There was none.
    Missing,
    /// Nobody looked.
    Unread,
}

/// Why a line is no record that can be used.
#[derive(Debug, Error)]
pub enum RecordError {
    /// It is no JSON, or lacks a field.
    #[error("not an audit record: {0}")]
    Form(serde_json::Error),
    /// Another kind of line, such as an access log's.
    #[error("another kind of line")]
    OtherKind,
}

/// The kind of a line, whatever else is in it.
#[derive(Deserialize)]
struct Kind<'l> {
    #[serde(borrow, default)]
    kind: Option<Text<'l>>,
}

impl Text<'_> {
    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl<'de: 'l, 'l> Deserialize<'de> for Pairs<'l> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Members;
        impl<'de> Visitor<'de> for Members {
            type Value = Pairs<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Pairs<'de>, A::Error> {
                let mut pairs = Vec::new();
                while let Some(pair) = map.next_entry()? {
                    pairs.push(pair);
                }
                Ok(Pairs(pairs))
            }
        }
        deserializer.deserialize_map(Members)
    }
}

impl Token<'_> {
    /// Whether nobody knew of this claim whether the token's holder has it.
    pub fn lacks(&self, claim: &ClaimPath) -> bool {
        matches!(self, Self::Accepted(principal) if principal.pending.holds(claim))
    }
}

impl<'l> Record<'l> {
    /// Reads a line.
    ///
    /// # Errors
    /// [`RecordError`].
    pub fn read(line: &'l [u8]) -> Result<Self, RecordError> {
        let record: Self =
            serde_json::from_slice(line).map_err(|error| match serde_json::from_slice::<Kind<'_>>(line) {
                Ok(Kind { kind }) if kind.as_ref().is_none_or(|kind| kind.as_str() != "audit") => {
                    RecordError::OtherKind
                }
                Ok(_) | Err(_) => RecordError::Form(error),
            })?;
        if record.kind.as_str() == "audit" { Ok(record) } else { Err(RecordError::OtherKind) }
    }

    /// What was decided.
    pub fn decided(&self) -> Decided<'_> {
        let reason = self.reason.as_ref().map_or("unknown", Text::as_str);
        match (self.decision.as_str(), self.would) {
            ("allow", None) => Decided::Allow,
            ("allow", Some(would)) => Decided::Observed(would, reason),
            _ => Decided::Deny(self.status, reason),
        }
    }

    /// Host, if the request had a valid one.
    pub fn host(&self) -> Option<&str> {
        self.host.as_ref().map(Text::as_str)
    }

    /// The OAuth client that asked.
    pub fn client(&self) -> Option<&str> {
        self.principal.as_ref()?.client.as_ref().map(Text::as_str)
    }

    /// The request, as far as policies then were interested in it. `None`: it was refused before any policy was asked.
    pub fn request(&self) -> Option<Request> {
        let path = self.path.as_ref()?.as_str();
        let authority = Authority::parse(self.host()?, Scheme::Https).ok()?;
        let target = match &self.facts.query {
            Some(query) => format!("{path}?{}", query.as_str()),
            None => path.to_owned(),
        };
        let moment = OffsetDateTime::parse(self.time.as_str(), &Rfc3339).ok()?;
        let method = self.facts.method.as_ref().unwrap_or(&self.method).as_str().to_owned();
        let names = self.facts.certificate.as_ref();
        let certificate = names.map(|names| ClientCertificate {
            dns: names.dns.clone(),
            uri: names.uri.clone(),
            email: names.email.clone(),
            subject: names.subject.clone(),
            thumbprint: [0; 32],
        });
        Some(Request {
            method,
            scheme: Scheme::Https,
            authority,
            target,
            headers: self.headers()?,
            // Something that stands for the body, which no record holds.
            body: if self.has_body() { Bytes::from_static(b" ") } else { Bytes::new() },
            address: self.address,
            certificate,
            now: Timestamp(moment.unix_timestamp()),
        })
    }

    /// Whether the request had a body.
    pub fn has_body(&self) -> bool {
        self.facts.body.is_some()
    }

    /// The headers that policies name, in the way in which they came.
    fn headers(&self) -> Option<HeaderMap> {
        let mut headers = HeaderMap::new();
        for (name, value) in &self.values.0 {
            let Some(name) = name.as_str().strip_prefix("header.") else { continue };
            let name = HeaderName::from_bytes(name.as_bytes()).ok()?;
            for value in values(value) {
                headers.append(name.clone(), header(value)?);
            }
        }
        for value in &self.facts.method_override {
            let value = HeaderValue::from_bytes(value.as_str().as_bytes()).ok()?;
            headers.append(HeaderName::from_static("x-http-method-override"), value);
        }
        for (name, values) in self.facts.body.iter().flatten() {
            let name = HeaderName::from_bytes(name.as_bytes()).ok()?;
            headers.remove(&name);
            for value in values {
                headers.append(name.clone(), HeaderValue::from_bytes(value.as_bytes()).ok()?);
            }
        }
        for name in &self.facts.headers {
            let name = HeaderName::from_bytes(name.as_str().as_bytes()).ok()?;
            // Whichever way it was irregular, a route that binds it refuses it.
            if !is_ambiguous_header(&name, &headers) {
                headers.append(CONNECTION, HeaderValue::from_bytes(name.as_str().as_bytes()).ok()?);
            }
        }
        Some(headers)
    }

    /// The token that came with the request.
    pub fn token(&self, loaded: &Loaded) -> Token<'_> {
        if let Some(person) = &self.principal {
            return match self.principal(person, loaded) {
                Some(principal) => Token::Accepted(Arc::new(principal)),
                None => Token::Stranger(person.issuer.as_str()),
            };
        }
        let reason = self.reason.as_ref().map(Text::as_str);
        match (&self.facts.token, reason) {
            (Some(refused), _) => Token::Refused(refused.fault.as_str(), refused.issuer.as_ref().map(Text::as_str)),
            (None, Some("token-required")) => Token::Missing,
            (None, Some(reason @ ("invalid-token" | "invalid-request" | "issuer-unavailable"))) => {
                Token::Refused(reason, None)
            }
            (None, _) => Token::Unread,
        }
    }

    fn principal(&self, person: &Person<'_>, loaded: &Loaded) -> Option<Principal> {
        let owned = |text: &Option<Text<'_>>| text.as_ref().map(|text| text.as_str().to_owned());
        let rules = loaded.issuer(person.issuer.as_str())?;
        let claims = self.claims();
        let sources = &rules.issuer().claims;
        let unasked = |sources: &[ClaimPath]| {
            let mut firsts = sources.iter().filter_map(|source| source.0.first());
            firsts.any(|first| self.facts.unasked.contains(first))
        };
        Some(Principal {
            subject: owned(&person.subject),
            client: owned(&person.client),
            scopes: person.scopes.as_slice().into(),
            permissions: person.permissions.as_deref().map(Texts::from),
            organizations: person.organizations.as_deref().map(Texts::from),
            global: person.global,
            flow: match person.flow.as_str() {
                "user" => Flow::User,
                "client_credentials" => Flow::ClientCredentials,
                _ => Flow::Unknown,
            },
            // It was in force: nothing that passes with time is asked again.
            expires_at: Timestamp(i64::MAX),
            authenticated_at: authenticated_at(&claims),
            acr: claims.get("acr").and_then(Value::as_str).map(str::to_owned),
            leeway: rules.issuer().leeway,
            pending: Pending {
                claims: self.facts.unasked.as_slice().into(),
                permissions: person.permissions.is_none() && unasked(&sources.permissions),
                organizations: person.organizations.is_none() && unasked(&sources.organizations),
                global: person.global.is_none() && unasked(&sources.global),
            },
            claims: claims.into(),
            ..Principal::of(Arc::clone(rules.identity()))
        })
    }

    /// The claims that policies name.
    fn claims(&self) -> Claims {
        let mut claims = Claims::new();
        for (name, value) in &self.values.0 {
            if let Some(name) = name.as_str().strip_prefix("claim.")
                && !value.is_null()
            {
                put(&mut claims, &claim_path(name).0, value);
            }
        }
        claims
    }

    /// Whether the record tells what the request or the token has of this.
    pub fn knows(&self, fact: &Fact) -> bool {
        self.values.0.iter().any(|(name, _)| {
            let name = name.as_str();
            match fact {
                Fact::Query(wanted) => name.strip_prefix("query.") == Some(wanted),
                Fact::Header(wanted) => {
                    name.strip_prefix("header.").is_some_and(|name| name.eq_ignore_ascii_case(wanted.as_str()))
                }
                Fact::Claim(wanted) => name.strip_prefix("claim.").is_some_and(|name| claim_path(name) == *wanted),
                Fact::Credential => false,
            }
        })
    }
}

/// One value, several, or none.
fn values(value: &Value) -> &[Value] {
    match value {
        Value::Null => &[],
        Value::Array(several) => several,
        one => std::slice::from_ref(one),
    }
}

/// A header's value, which is in base64 where it is no text.
fn header(value: &Value) -> Option<HeaderValue> {
    match value {
        Value::String(text) => HeaderValue::from_bytes(text.as_bytes()).ok(),
        other => HeaderValue::from_bytes(&STANDARD.decode(other.get("base64")?.as_str()?).ok()?).ok(),
    }
}

/// The path that [`ClaimPath`] displays so.
fn claim_path(name: &str) -> ClaimPath {
    match name.strip_prefix('/') {
        None => ClaimPath::top(name),
        Some(keys) => ClaimPath(keys.split('/').map(|key| key.replace("~1", "/").replace("~0", "~")).collect()),
    }
}

/// Puts a value at a path, inside of what is there already.
fn put(claims: &mut Claims, path: &[String], value: &Value) {
    match path {
        [] => {}
        [last] => {
            claims.insert(last.clone(), value.clone());
        }
        [first, rest @ ..] => {
            let inner = claims.entry(first.clone()).or_insert_with(|| Value::Object(Claims::new()));
            if let Some(inner) = inner.as_object_mut() {
                put(inner, rest, value);
            }
        }
    }
}
