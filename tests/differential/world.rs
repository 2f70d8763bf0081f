//! What a case consists of, in the plainest form: documents as they are written, a request as it is sent, and who sends it.

use std::fmt;
use std::net::IpAddr;

use serde_json::{Map, Value};
use torwart::policy::Encoding;

use super::Quirks;

/// The moment of every request.
pub(crate) const NOW: i64 = 1_700_000_000;
pub(crate) const UUID: &str = "5f8c1a52-9d1e-4e0b-8a77-0c6f1be0a111";
pub(crate) const LOUD_UUID: &str = "5F8C1A52-9D1E-4E0B-8A77-0C6F1BE0A111";

/// An issuer of the configuration.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Issuer {
    pub(crate) name: &'static str,
    /// `claims_case.insensitive` names the subject, the client, organisations, permissions, the claim `c` and `broker.id`.
    pub(crate) folds: bool,
    /// Its tokens tell client credentials from users.
    pub(crate) tells: bool,
}

pub(crate) const ISSUERS: [Issuer; 3] = [
    Issuer { name: "shoen", folds: false, tells: true },
    Issuer { name: "partner", folds: true, tells: true },
    Issuer { name: "quiet", folds: false, tells: false },
];

/// A configuration.
#[derive(Debug, Clone)]
pub(crate) struct World {
    pub(crate) documents: Vec<Value>,
    pub(crate) upstreams: Vec<(&'static str, Quirks)>,
    /// `identity.encoding`.
    pub(crate) encoding: Encoding,
    /// `identity.max_bytes`.
    pub(crate) max_bytes: usize,
    /// `limits.inspected_body`.
    pub(crate) inspected_body: usize,
}

/// A request.
#[derive(Debug, Clone)]
pub(crate) struct Request {
    pub(crate) method: String,
    pub(crate) host: String,
    /// Path and query as sent.
    pub(crate) target: String,
    pub(crate) headers: Vec<(String, Vec<u8>)>,
    pub(crate) body: Option<Vec<u8>>,
    /// All of `limits.inspected_total` is taken by others.
    pub(crate) crowded: bool,
    /// Nanoseconds since the gateway was started.
    pub(crate) at: u64,
}

impl fmt::Display for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{} {} of {} after {} ns{}",
            self.method,
            self.target,
            self.host,
            self.at,
            if self.crowded { ", crowded" } else { "" }
        )?;
        for (name, value) in &self.headers {
            writeln!(f, "{name}: {:?}", String::from_utf8_lossy(value))?;
        }
        match &self.body {
            Some(body) => write!(f, "body: {:?}", String::from_utf8_lossy(body)),
            None => write!(f, "no body"),
        }
    }
}

/// Who sends it, and over what connection.
#[derive(Debug, Clone)]
pub(crate) struct Sender {
    pub(crate) person: Option<Person>,
    pub(crate) address: Option<IpAddr>,
    pub(crate) certificate: Option<Certificate>,
}

/// What a valid token says.
#[derive(Debug, Clone)]
pub(crate) struct Person {
    pub(crate) issuer: usize,
    pub(crate) subject: Option<String>,
    pub(crate) client: Option<String>,
    pub(crate) scopes: Vec<String>,
    pub(crate) permissions: Option<Vec<String>>,
    pub(crate) organizations: Option<Vec<String>>,
    pub(crate) global: Option<bool>,
    pub(crate) flow: &'static str,
    pub(crate) claims: Map<String, Value>,
    pub(crate) acr: Option<String>,
    /// Seconds ago.
    pub(crate) authenticated: Option<i64>,
}

/// A client certificate that was verified.
#[derive(Debug, Clone)]
pub(crate) struct Certificate {
    pub(crate) dns: Vec<String>,
    pub(crate) uri: Vec<String>,
    pub(crate) email: Vec<String>,
    pub(crate) subject: String,
}

/// Header fields, sorted.
pub(crate) type Fields = Vec<(String, String)>;

/// What becomes of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) outcome: Outcome,
    /// The body was asked for: "Reading happens last", and "Routes that name no body stream it".
    pub(crate) reads: bool,
    /// What the answer says to pages of other origins; nothing: that is the upstream's to say.
    pub(crate) grant: Option<Fields>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Outcome {
    Refused(Refusal),
    Forwarded(Box<Forwarded>),
    /// A preflight that the gateway answers, with these fields.
    Preflight(Fields),
}

/// Why a request is refused, or would be.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Refusal {
    pub(crate) status: u16,
    pub(crate) reason: String,
    pub(crate) route: Option<String>,
    /// It is too much.
    pub(crate) exceeded: Option<Exceeded>,
}

/// What is told to whom asks too often.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Exceeded {
    /// Whose requests are counted.
    pub(crate) per: String,
    /// Requests at once.
    pub(crate) quota: u64,
    /// Seconds in which they are granted anew.
    pub(crate) window: u64,
    /// Seconds until the next.
    pub(crate) retry_after: u64,
}

/// What reaches the upstream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Forwarded {
    /// Only observed: it would have been refused.
    pub(crate) would: Option<Refusal>,
    pub(crate) policy: String,
    pub(crate) route: Option<String>,
    pub(crate) upstream: String,
    /// Path and query.
    pub(crate) target: String,
    /// Names in lower case and values as ISO 8859-1, sorted.
    pub(crate) headers: Vec<(String, String)>,
    /// Folded names that are removed beside the identity prefix, sorted.
    pub(crate) removes: Vec<String>,
    pub(crate) authorization: &'static str,
    /// Kinds of conditions that were not asked, sorted.
    pub(crate) lifted: Vec<String>,
}
