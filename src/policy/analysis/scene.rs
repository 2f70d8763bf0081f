//! A concrete request with its caller, made of one mark on each axis.

use std::net::IpAddr;
use std::sync::Arc;

use http::HeaderMap;

use crate::clock::Timestamp;
use crate::policy::Head;
use crate::principal::{Claims, ClientCertificate, Flow, IssuerIdentity, Principal, Texts};
use crate::target::canonical::{KEPT_BACKSLASH, KEPT_SEMICOLON, KEPT_SLASH};
use crate::target::quirks::Charset;
use crate::target::{Authority, Scheme};

use super::axis::{Axis, Choice, Kind, Mark};
use super::content::content;

/// The moment of every request that the analysis makes up: 1 January 2026, 00:00 UTC.
pub const MOMENT: Timestamp = Timestamp(1_767_225_600);

/// A request and who makes it.
#[derive(Debug, Clone)]
pub struct Scene {
    /// The method.
    pub method: String,
    /// Host or `:authority`.
    pub authority: Authority,
    /// Path and query as sent.
    pub target: String,
    /// Every header field.
    pub headers: HeaderMap,
    /// The body; its kind is said in the headers.
    pub body: Vec<u8>,
    /// The client's address.
    pub address: Option<IpAddr>,
    /// The verified certificate of the connection.
    pub certificate: Option<ClientCertificate>,
    /// The token, as far as policies ask about it.
    pub token: Option<Wanted>,
}

/// What a token has to say for a request to be decided as foreseen.
#[derive(Debug, Clone, PartialEq)]
pub struct Wanted {
    /// The issuer's name.
    pub issuer: Arc<str>,
    /// The subject.
    pub subject: Option<String>,
    /// The OAuth client id.
    pub client: Option<String>,
    /// Granted scopes.
    pub scopes: Vec<String>,
    /// Permissions.
    pub permissions: Option<Vec<String>>,
    /// Organisations.
    pub organizations: Option<Vec<String>>,
    /// `global`.
    pub global: Option<bool>,
    /// The flow.
    pub flow: Flow,
    /// `acr`.
    pub acr: Option<String>,
    /// `auth_time`.
    pub authenticated_at: Option<Timestamp>,
    /// Claims that conditions ask for by name.
    pub claims: Claims,
}

impl Wanted {
    /// The principal that has exactly this.
    pub fn principal(&self, issuer: &Arc<IssuerIdentity>) -> Principal {
        Principal {
            subject: self.subject.clone(),
            client: self.client.clone(),
            scopes: self.scopes.iter().collect(),
            permissions: self.permissions.as_deref().map(Texts::from),
            organizations: self.organizations.as_deref().map(Texts::from),
            global: self.global,
            flow: self.flow,
            claims: (&self.claims).into(),
            expires_at: MOMENT.plus(300),
            authenticated_at: self.authenticated_at,
            acr: self.acr.clone(),
            leeway: 30,
            ..Principal::of(Arc::clone(issuer))
        }
    }
}

impl Scene {
    /// The part that routing and conditions read.
    pub fn head(&self) -> Head<'_> {
        let head = Head::new(&self.method, &self.authority, &self.target, &self.headers);
        Head { has_body: !self.body.is_empty(), ..head }
    }
}

/// What all requests of one class of paths have in common.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Frame {
    /// The method.
    pub(super) method: String,
    /// The host, or what follows its open label.
    pub(super) host: String,
    /// Whether the first label is open.
    pub(super) label: bool,
    /// The path's segments.
    pub(super) pieces: Vec<Piece>,
    /// Whether a capture of the rest takes what follows.
    pub(super) tail: bool,
    /// How the path is written.
    pub(super) charset: Charset,
}

/// A segment of a class of paths.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Piece {
    /// Every pattern of the class has this text here.
    Fixed(String),
    /// Some pattern leaves it open; the text is one that fits all shapes.
    Open(String),
}

impl Frame {
    /// The host, with this label where one is open.
    fn authority(&self, label: &str) -> Option<Authority> {
        let text = if self.label { format!("{label}.{}", self.host) } else { self.host.clone() };
        Authority::parse(&text, Scheme::Https).ok()
    }

    /// The path as it is sent.
    fn path(&self, choice: &Choice<'_>) -> String {
        let mut path = String::new();
        for (at, piece) in self.pieces.iter().enumerate() {
            let text = match piece {
                Piece::Fixed(text) => text,
                Piece::Open(sample) => text_of(choice, &Axis::Segment(at)).unwrap_or(sample),
            };
            path.push('/');
            self.write(text, &mut path);
        }
        if let Some(tail) = text_of(choice, &Axis::Tail).filter(|_| self.tail) {
            for segment in tail.split('/') {
                path.push('/');
                self.write(segment, &mut path);
            }
        }
        if path.is_empty() { "/".to_owned() } else { path }
    }

    /// A segment, percent-encoded as far as it must be.
    fn write(&self, text: &str, path: &mut String) {
        for letter in text.chars() {
            match letter {
                KEPT_SLASH => path.push_str("%2F"),
                KEPT_BACKSLASH => path.push_str("%5C"),
                KEPT_SEMICOLON => path.push_str("%3B"),
                _ if letter.is_ascii_alphanumeric() || "-._~!$&'()*+,;=:@".contains(letter) => path.push(letter),
                _ => {
                    let latin = u8::try_from(u32::from(letter)).ok().filter(|_| self.charset == Charset::Latin1);
                    let mut bytes = [0; 4];
                    let bytes = match latin {
                        Some(byte) => vec![byte],
                        None => letter.encode_utf8(&mut bytes).as_bytes().to_vec(),
                    };
                    path.extend(bytes.iter().map(|byte| format!("%{byte:02X}")));
                }
            }
        }
    }

    /// The request with these marks; axes without one take what is plainest.
    pub(super) fn scene(&self, choice: &Choice<'_>, issuers: &[Arc<str>]) -> Option<Scene> {
        let mut target = self.path(choice);
        let mut joint = '?';
        let mut headers = HeaderMap::new();
        for (axis, mark) in choice {
            match (axis, mark) {
                (Axis::Query(_), Mark::Query(pieces)) => {
                    for piece in pieces {
                        target.push(joint);
                        target.push_str(piece);
                        joint = '&';
                    }
                }
                (Axis::Header(_), Mark::Fields(fields)) => {
                    for (name, value) in fields {
                        headers.append(name.clone(), value.clone());
                    }
                }
                _ => {}
            }
        }
        let body = content(choice, &mut headers);
        Some(Scene {
            body,
            method: self.method.clone(),
            authority: self.authority(text_of(choice, &Axis::Label).unwrap_or("tenant"))?,
            target,
            headers,
            address: match choice.get(&Axis::Address) {
                Some(Mark::Address(address)) => *address,
                _ => None,
            },
            certificate: certificate(choice),
            token: wanted(choice, issuers),
        })
    }
}

/// The text on an axis.
fn text_of<'c>(choice: &Choice<'c>, axis: &Axis) -> Option<&'c str> {
    if let Some(Mark::Text(text)) = choice.get(axis) { text.as_deref() } else { None }
}

/// The client certificate, if one is shown.
pub(super) fn certificate(choice: &Choice<'_>) -> Option<ClientCertificate> {
    let Some(Mark::Flag(true)) = choice.get(&Axis::Certificate) else { return None };
    let names = |kind| match choice.get(&Axis::Names(kind)) {
        Some(Mark::Names(names)) => names.clone(),
        _ => Vec::new(),
    };
    Some(ClientCertificate {
        dns: names(Kind::Dns),
        uri: names(Kind::Uri),
        email: names(Kind::Email),
        subject: names(Kind::Subject).into_iter().next().unwrap_or_else(|| "CN=somebody".to_owned()),
        thumbprint: [0; 32],
    })
}

/// The token, if there is one.
pub(super) fn wanted(choice: &Choice<'_>, issuers: &[Arc<str>]) -> Option<Wanted> {
    let Some(Mark::Issuer(Some(issuer))) = choice.get(&Axis::Issuer) else { return None };
    let text = |axis: &Axis, plain: &str| match choice.get(axis) {
        Some(Mark::Text(text)) => text.clone(),
        _ => Some(plain.to_owned()),
    };
    let is_on = |axis: &Axis| matches!(choice.get(axis), Some(Mark::Flag(true)));
    let (mut scopes, mut permissions, mut organizations) = (Vec::new(), Vec::new(), Vec::new());
    let mut claims = Claims::new();
    for (axis, mark) in choice {
        match (axis, mark) {
            (Axis::Scope(name), Mark::Flag(true)) => scopes.push(name.to_string()),
            (Axis::Permission(name), Mark::Flag(true)) => permissions.push(name.to_string()),
            (Axis::Organization(name), Mark::Flag(true)) => organizations.push(name.to_string()),
            (Axis::Claim(path), Mark::Json(Some(value))) => insert(&mut claims, &path.0, value.clone()),
            _ => {}
        }
    }
    Some(Wanted {
        issuer: Arc::clone(issuers.get(*issuer)?),
        subject: text(&Axis::Subject, "somebody"),
        client: text(&Axis::Client, "some-client"),
        scopes,
        permissions: is_on(&Axis::Permissions).then_some(permissions),
        organizations: is_on(&Axis::Organizations).then_some(organizations),
        global: if let Some(Mark::Global(global)) = choice.get(&Axis::Global) { *global } else { None },
        flow: if let Some(Mark::Flow(flow)) = choice.get(&Axis::Flow) { *flow } else { Flow::User },
        acr: if let Some(Mark::Text(acr)) = choice.get(&Axis::Acr) { acr.clone() } else { None },
        authenticated_at: match choice.get(&Axis::Age) {
            Some(Mark::Age(Some(age))) => Some(MOMENT.plus(-age)),
            _ => None,
        },
        claims,
    })
}

/// Sets a claim at a path, unless something on the way is no object.
fn insert(claims: &mut Claims, path: &[String], value: serde_json::Value) {
    match path {
        [] => {}
        [last] => {
            claims.insert(last.clone(), value);
        }
        [first, rest @ ..] => {
            let inner = claims.entry(first.clone()).or_insert_with(|| serde_json::Value::Object(Claims::new()));
            if let serde_json::Value::Object(inner) = inner {
                insert(inner, rest, value);
            }
        }
    }
}
