//! Revocations in the interface for operators: what they ask, read, and what they are answered.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::clock::Timestamp;

/// Revocations on a page, unless the request says otherwise.
const USUAL: usize = 1000;

/// Revocations on the largest page.
const MOST: usize = 10_000;

/// A revocation to be made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Order {
    /// The issuer's name in `torwart.yaml`.
    pub issuer: String,
    /// What is revoked.
    pub what: What,
    /// When it ends by itself.
    pub expires: Option<Timestamp>,
}

/// What is revoked of an issuer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum What {
    /// Tokens with this `jti`.
    TokenId(String),
    /// This token.
    Token(String),
    /// A subject's tokens.
    Subject(String),
    /// A client's tokens.
    Client(String),
    /// Everything issued before.
    IssuedBefore(Timestamp),
}

/// The part of the list that is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window {
    /// Revocations at most.
    pub most: usize,
    /// The place behind which to begin: seconds and the first half of a name.
    pub after: Option<(i64, u64)>,
}

/// A revocation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Revocation {
    /// Its name, for taking it back.
    pub id: String,
    /// The issuer's name, or its URL when no issuer of this URL is configured any more.
    pub issuer: Arc<str>,
    /// `jti`, `token`, `subject`, `client` or `issued_before`.
    pub kind: &'static str,
    /// The text; `sha256:` and the digest of what is not kept; the moment in RFC 3339.
    pub value: String,
    /// When it was made, RFC 3339.
    pub revoked: String,
    /// When it ends by itself, RFC 3339.
    pub until: Option<String>,
}

/// What came of an order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Made {
    /// The revocation.
    #[serde(flatten)]
    pub revocation: Revocation,
    /// There was none like it before.
    #[serde(skip)]
    pub is_new: bool,
    /// It refuses something: not a token that has expired.
    pub in_force: bool,
    /// It survives the process.
    pub kept: bool,
}

/// A part of the list, the newest first.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct Page {
    /// In their order.
    pub revocations: Vec<Revocation>,
    /// How many there are in all.
    pub total: usize,
    /// What to give as `after` for the next page.
    pub next: Option<String>,
    /// They survive the process.
    pub kept: bool,
}

/// Why something was not done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refusal {
    /// What was asked makes no sense, and this is why.
    Wrong(String),
    /// There is no such revocation.
    Unknown,
    /// The disk refuses.
    Unsaved(String),
}

/// The body of `POST /api/v1/revocations`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Body {
    issuer: String,
    jti: Option<String>,
    token: Option<String>,
    subject: Option<String>,
    client: Option<String>,
    issued_before: Option<String>,
    expires: Option<String>,
}

impl Order {
    /// Reads the body of a request.
    pub(super) fn read(body: &[u8]) -> Result<Self, Refusal> {
        let body: Body = serde_json::from_slice(body).map_err(|error| Refusal::Wrong(format!("the body: {error}")))?;
        let issued_before = body.issued_before.map(|text| moment("issued_before", &text)).transpose()?;
        let named = [
            body.jti.map(What::TokenId),
            body.token.map(What::Token),
            body.subject.map(What::Subject),
            body.client.map(What::Client),
            issued_before.map(What::IssuedBefore),
        ];
        let mut named = named.into_iter().flatten();
        let (Some(what), None) = (named.next(), named.next()) else {
            let wanted = "the body needs exactly one of `jti`, `token`, `subject`, `client` and `issued_before`";
            return Err(Refusal::Wrong(wanted.to_owned()));
        };
        let expires = body.expires.map(|text| moment("expires", &text)).transpose()?;
        Ok(Self { issuer: body.issuer, what, expires })
    }
}

impl Window {
    /// Reads the query of a request: `limit` and `after`.
    pub(super) fn read(query: &str) -> Result<Self, Refusal> {
        let mut window = Self { most: USUAL, after: None };
        for parameter in query.split('&').filter(|parameter| !parameter.is_empty()) {
            let (name, value) = parameter.split_once('=').unwrap_or((parameter, ""));
            match name {
                "limit" => window.most = limit(value)?,
                "after" => window.after = Some(place(value)?),
                other => return Err(Refusal::Wrong(format!("the query knows `limit` and `after`, not `{other}`"))),
            }
        }
        Ok(window)
    }
}

fn limit(text: &str) -> Result<usize, Refusal> {
    let number = text.parse().ok().filter(|most| (1..=MOST).contains(most));
    number.ok_or_else(|| Refusal::Wrong(format!("`limit` is a number from 1 to {MOST}")))
}

fn place(text: &str) -> Result<(i64, u64), Refusal> {
    let parts =
        text.split_once('-').and_then(|(at, half)| Some((at.parse().ok()?, u64::from_str_radix(half, 16).ok()?)));
    parts.ok_or_else(|| Refusal::Wrong("`after` is the `next` of another page".to_owned()))
}

/// How a place in the list is written.
pub fn place_text((at, half): (i64, u64)) -> String {
    format!("{at}-{half:016x}")
}

/// A moment in RFC 3339, rounded up: nothing of it may be lost.
fn moment(name: &str, text: &str) -> Result<Timestamp, Refusal> {
    let moment = OffsetDateTime::parse(text, &Rfc3339).map_err(|error| {
        Refusal::Wrong(format!("`{name}` is no time in RFC 3339 such as 2026-11-22T10:00:00Z: {error}"))
    })?;
    Ok(Timestamp(moment.unix_timestamp()).plus(i64::from(moment.nanosecond() > 0)))
}

/// A moment as it is told.
pub fn rfc3339(moment: Timestamp) -> String {
    let moment = OffsetDateTime::from_unix_timestamp(moment.0).ok();
    moment.and_then(|moment| moment.format(&Rfc3339).ok()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(body: &str) -> Result<Order, Refusal> {
        Order::read(body.as_bytes())
    }

    #[test]
    fn an_order_names_an_issuer_and_exactly_one_thing() {
        let order = read(r#"{"issuer": "shoen", "subject": "alice"}"#).unwrap();
        assert_eq!(order, Order { issuer: "shoen".into(), what: What::Subject("alice".into()), expires: None });
        let order = read(r#"{"issuer": "a", "jti": "t", "expires": "2027-01-15T08:00:00.2+00:00"}"#).unwrap();
        assert_eq!((order.what, order.expires), (What::TokenId("t".into()), Some(Timestamp(1_800_000_001))));
        for wrong in [
            "",
            "[]",
            "{}",
            r#"{"issuer": "a"}"#,
            r#"{"subject": "a"}"#,
            r#"{"issuer": "a", "subject": "a", "client": "b"}"#,
            r#"{"issuer": "a", "subject": "a", "subject": "b"}"#,
            r#"{"issuer": "a", "subject": 5}"#,
            r#"{"issuer": "a", "sub": "a"}"#,
            r#"{"issuer": "a", "issued_before": "yesterday"}"#,
            r#"{"issuer": "a", "issued_before": "2027-01-15T08:00:00"}"#,
            r#"{"issuer": "a", "jti": "t", "expires": 5}"#,
        ] {
            assert!(matches!(read(wrong), Err(Refusal::Wrong(_))), "{wrong}");
        }
    }

    #[test]
    fn a_moment_between_two_seconds_is_the_second_one() {
        let before = |text: &str| read(&format!(r#"{{"issuer": "a", "issued_before": "{text}"}}"#)).unwrap().what;
        assert_eq!(before("2027-01-15T08:00:00Z"), What::IssuedBefore(Timestamp(1_800_000_000)));
        assert_eq!(before("2027-01-15T08:00:00.000000001Z"), What::IssuedBefore(Timestamp(1_800_000_001)));
        assert_eq!(before("2027-01-15T09:00:00+01:00"), What::IssuedBefore(Timestamp(1_800_000_000)));
        assert_eq!(rfc3339(Timestamp(1_800_000_000)), "2027-01-15T08:00:00Z");
    }

    #[test]
    fn a_window_is_a_number_and_a_place() {
        assert_eq!(Window::read(""), Ok(Window { most: USUAL, after: None }));
        let place = (1_800_000_000, 0xab);
        let query = format!("limit=5&after={}", place_text(place));
        assert_eq!(Window::read(&query), Ok(Window { most: 5, after: Some(place) }));
        for wrong in ["limit=0", "limit=10001", "limit=x", "limit", "after=5", "after=x-y", "page=1"] {
            assert!(matches!(Window::read(wrong), Err(Refusal::Wrong(_))), "{wrong}");
        }
    }
}
