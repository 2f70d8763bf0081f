//! Requests that are made up: what a choice of marks is written as.

use std::sync::Arc;

use http::{HeaderName, HeaderValue};
use serde_json::json;

use crate::policy::analysis::axis::{Axis, Choice, Kind, Mark};
use crate::policy::analysis::scene::{Frame, MOMENT, Piece, Scene};
use crate::principal::{ClaimPath, Flow, IssuerId, IssuerIdentity};
use crate::target::canonical::{KEPT_BACKSLASH, KEPT_SEMICOLON, KEPT_SLASH};
use crate::target::quirks::Charset;

fn frame() -> Frame {
    Frame {
        method: "PUT".to_owned(),
        host: "example.com".to_owned(),
        label: true,
        pieces: vec![Piece::Fixed("a".to_owned()), Piece::Open("sample".to_owned())],
        tail: true,
        charset: Charset::Utf8,
    }
}

fn text(text: &str) -> Mark {
    Mark::Text(Some(text.to_owned()))
}

fn scene(frame: &Frame, marks: &[(Axis, Mark)]) -> Scene {
    let choice: Choice<'_> = marks.iter().map(|(axis, mark)| (axis, mark)).collect();
    frame.scene(&choice, &["one".into(), "two".into()]).unwrap()
}

#[test]
fn a_request_without_marks_is_the_plainest() {
    let plain = scene(&frame(), &[]);
    assert_eq!((plain.method.as_str(), plain.target.as_str()), ("PUT", "/a/sample"));
    assert_eq!(plain.authority.host(), "tenant.example.com");
    assert!(plain.headers.is_empty() && plain.body.is_empty() && !plain.head().has_body);
    assert_eq!((plain.address, plain.certificate, plain.token), (None, None, None));
    let root = Frame { pieces: Vec::new(), label: false, ..frame() };
    let root = scene(&root, &[]);
    assert_eq!((root.target.as_str(), root.authority.host()), ("/", "example.com"));
}

#[test]
fn every_mark_of_a_request_is_written() {
    let fields = vec![
        (HeaderName::from_static("x-a"), HeaderValue::from_static("1")),
        (HeaderName::from_static("x-a"), HeaderValue::from_static("2")),
    ];
    let marks = [
        (Axis::Label, text("shop")),
        (Axis::Segment(1), text("x y")),
        (Axis::Tail, text("b/c")),
        (Axis::Query("p".into()), Mark::Query(vec!["p=1".to_owned(), "p=2".to_owned()])),
        (Axis::Query("q".into()), Mark::Query(vec!["q".to_owned()])),
        (Axis::Header("x-a".into()), Mark::Fields(fields)),
        (Axis::Body("/x".into()), Mark::Json(Some(json!("v")))),
        (Axis::Address, Mark::Address("10.0.0.1".parse().ok())),
        (Axis::Certificate, Mark::Flag(true)),
        (Axis::Names(Kind::Dns), Mark::Names(vec!["d".to_owned()])),
        (Axis::Names(Kind::Uri), Mark::Names(vec!["u".to_owned()])),
        (Axis::Names(Kind::Email), Mark::Names(vec!["e".to_owned()])),
    ];
    let full = scene(&frame(), &marks);
    assert_eq!(full.target, "/a/x%20y/b/c?p=1&p=2&q");
    assert_eq!(full.authority.host(), "shop.example.com");
    assert_eq!(full.headers.get_all("x-a").iter().collect::<Vec<_>>(), ["1", "2"]);
    assert_eq!(serde_json::from_slice::<serde_json::Value>(&full.body).unwrap(), json!({"x": "v"}));
    assert!(full.head().has_body);
    assert_eq!(full.address.unwrap().to_string(), "10.0.0.1");
    let certificate = full.certificate.unwrap();
    assert_eq!(
        (certificate.dns, certificate.uri, certificate.email),
        (vec!["d".into()], vec!["u".into()], vec!["e".into()])
    );
    assert_eq!(certificate.subject, "CN=somebody");
    let closed = Frame { tail: false, ..frame() };
    assert_eq!(scene(&closed, &marks[..3]).target, "/a/x%20y", "no rest is taken there");
}

#[test]
fn a_segment_is_written_with_what_a_path_can_hold() {
    let written = |frame: &Frame, segment: &str| scene(frame, &[(Axis::Segment(1), text(segment))]).target;
    let kept = format!("x{KEPT_SLASH}{KEPT_BACKSLASH}{KEPT_SEMICOLON}");
    assert_eq!(written(&frame(), &kept), "/a/x%2F%5C%3B");
    let plain = "azAZ09-._~!$&'()*+,;=:@";
    assert_eq!(written(&frame(), plain), format!("/a/{plain}"));
    assert_eq!(written(&frame(), "ü/%?#\"€"), "/a/%C3%BC%2F%25%3F%23%22%E2%82%AC");
    let latin = Frame { charset: Charset::Latin1, ..frame() };
    assert_eq!(written(&latin, "ü€"), "/a/%FC%E2%82%AC");
}

#[test]
fn every_mark_of_a_token_is_told() {
    let claim = |keys: &[&str]| Axis::Claim(ClaimPath(keys.iter().map(|key| (*key).to_owned()).collect()));
    let marks = [
        (Axis::Issuer, Mark::Issuer(Some(1))),
        (Axis::Flow, Mark::Flow(Flow::ClientCredentials)),
        (Axis::Global, Mark::Global(Some(false))),
        (Axis::Subject, text("s")),
        (Axis::Client, text("k")),
        (Axis::Acr, text("high")),
        (Axis::Age, Mark::Age(Some(60))),
        (Axis::Scope("x".into()), Mark::Flag(true)),
        (Axis::Scope("y".into()), Mark::Flag(false)),
        (Axis::Permissions, Mark::Flag(true)),
        (Axis::Permission("p".into()), Mark::Flag(true)),
        (Axis::Permission("q".into()), Mark::Flag(false)),
        (Axis::Organizations, Mark::Flag(true)),
        (Axis::Organization("o".into()), Mark::Flag(true)),
        (claim(&["c", "d"]), Mark::Json(Some(json!(7)))),
        (claim(&["c", "e"]), Mark::Json(Some(json!([])))),
        (claim(&["f"]), Mark::Json(None)),
    ];
    let token = scene(&frame(), &marks).token.unwrap();
    assert_eq!((&*token.issuer, token.subject.as_deref(), token.client.as_deref()), ("two", Some("s"), Some("k")));
    assert_eq!((&token.scopes, &token.permissions), (&vec!["x".to_owned()], &Some(vec!["p".to_owned()])));
    assert_eq!((&token.organizations, token.global), (&Some(vec!["o".to_owned()]), Some(false)));
    assert_eq!((token.flow, token.acr.as_deref()), (Flow::ClientCredentials, Some("high")));
    assert_eq!(token.authenticated_at, Some(MOMENT.plus(-60)));
    assert_eq!(serde_json::Value::Object(token.claims.clone()), json!({"c": {"d": 7, "e": []}}));

    let identity = Arc::new(IssuerIdentity::named(IssuerId(1), "two"));
    let principal = token.principal(&identity);
    assert_eq!((principal.subject.as_deref(), principal.client.as_deref()), (Some("s"), Some("k")));
    assert_eq!((principal.scopes, principal.permissions), (["x"].into(), Some(["p"].into())));
    assert_eq!((principal.organizations, principal.global), (Some(["o"].into()), Some(false)));
    assert_eq!((principal.flow, principal.acr.as_deref()), (Flow::ClientCredentials, Some("high")));
    assert_eq!(principal.authenticated_at, token.authenticated_at);
    assert_eq!((principal.expires_at, principal.leeway), (MOMENT.plus(300), 30));
    assert_eq!(principal.claims.to_map(), token.claims);

    let plain = scene(&frame(), &[(Axis::Issuer, Mark::Issuer(Some(0)))]).token.unwrap();
    assert_eq!((plain.subject.as_deref(), plain.client.as_deref()), (Some("somebody"), Some("some-client")));
    assert_eq!((plain.permissions, plain.organizations, plain.flow), (None, None, Flow::User));
    assert_eq!(scene(&frame(), &[(Axis::Issuer, Mark::Issuer(None))]).token, None);
}
