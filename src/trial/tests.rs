use std::sync::Arc;

use serde_json::json;

use super::*;
use crate::clock::Timestamp;

const POLICY: &str = r#"
version: 1
policy: crm
hosts: [api.example.com]
upstream: crm
issuers: [shoen]
routes:
  - path: /contracts/{customer}
    methods: [GET]
    params: {customer: uuid}
    require: {scope: "contracts:read", subject: "{customer}"}
    forward: {strip_prefix: /contracts, headers: {X-Key: {file: /nowhere/key}}, assertion: true}
  - {path: /health, methods: [GET], require: public}
  - {path: /upload, methods: [POST], require: public, forward: {max_body: 4B}}
  - {path: /watched, methods: [GET], require: {scope: w}, mode: observe}
"#;
const TESTS: &str = r#"
version: 1
personas:
  alice: {issuer: shoen, sub: 5f8c1a52-9d1e-4e0b-8a77-0c6f1be0a111, client_id: app, scope: "contracts:read"}
  late: {issuer: shoen, sub: x, exp: 1767225500}
  other: {issuer: kusy, sub: x, client_id: app}
"#;
const OWN: &str = "/contracts/5f8c1a52-9d1e-4e0b-8a77-0c6f1be0a111";

fn source(path: &str, text: &str) -> Arc<Source> {
    Arc::new(Source { path: path.into(), text: text.to_owned() })
}

fn loaded() -> Loaded {
    let (documents, tests) = ([source("crm.yaml", POLICY)], [source("crm.test.yaml", TESTS)]);
    let config = sketched(Config::empty("torwart.yaml".into()), &documents, &tests);
    Loaded::of(config, &documents, &tests).unwrap().0
}

fn request(line: &str) -> Request {
    let (method, path) = line.split_once(' ').unwrap();
    let url = if path.starts_with("http") { path.to_owned() } else { format!("https://api.example.com{path}") };
    Request::new(method, &url).unwrap()
}

/// Status and reason of a request; 0 where it is forwarded.
fn answer(loaded: &Loaded, request: &Request, persona: Option<&str>) -> (u16, String) {
    let bearer = persona.map_or(Bearer::Nobody, |name| loaded.token_of(name, request.now).unwrap());
    let attempt = loaded.attempt(request, &bearer);
    assert_eq!(attempt.is_forwarded(), attempt.status().is_none());
    (attempt.status().map_or(0, |status| status.as_u16()), attempt.reason().unwrap_or_default().to_owned())
}

#[test]
fn what_is_allowed_shows_what_is_forwarded() {
    let loaded = loaded();
    let request = request(&format!("GET {OWN}?a=%20b"));
    let attempt = loaded.attempt(&request, &loaded.token_of("alice", MOMENT).unwrap());
    assert!(matches!(attempt.outcome, Outcome::Allowed(_)), "{attempt:?}");
    assert_eq!((attempt.policy.as_deref(), attempt.upstream()), (Some("crm"), Some("crm")));
    assert_eq!(attempt.forwarded_path(), Some("/5f8c1a52-9d1e-4e0b-8a77-0c6f1be0a111"));
    assert_eq!((attempt.forwarded_query(), attempt.path.as_deref()), (Some("a=%20b"), Some(OWN)));
    let headers: Vec<_> = attempt.headers_set().collect();
    assert!(headers.contains(&("x-auth-client-id", b"app")), "{headers:?}");
    assert!(headers.contains(&("x-key", b"content of /nowhere/key")), "{headers:?}");
    assert!(headers.contains(&("x-auth-assertion", b"(signed when it is sent)")), "{headers:?}");
    assert_eq!(attempt.headers_sent().unwrap()["x-auth-assertion"], "trial", "the same in every test");
    assert_eq!(attempt.explanation().unwrap().decision, "allow");
}

#[test]
fn every_step_of_the_data_path_answers_as_it_does_there() {
    let loaded = loaded();
    let strange = "/contracts/0b3e7d64-21c5-4f7a-9c1e-6a2d8f4b9e02";
    for (line, persona, status, reason) in [
        (&*format!("GET {strange}"), Some("alice"), 403, "subject"),
        (&format!("GET {OWN}"), None, 401, "token-required"),
        (&format!("GET {OWN}"), Some("late"), 401, "invalid-token"),
        (&format!("GET {OWN}"), Some("other"), 401, "invalid-token"),
        (&format!("POST {OWN}"), Some("alice"), 405, "method"),
        ("GET /contracts/5", Some("alice"), 404, "no-route"),
        ("GET /contracts/5", None, 401, "token-required"),
        ("GET /contracts/%2e%2e", Some("alice"), 400, "ambiguous-path"),
        ("GET /contracts/a b", Some("alice"), 400, "malformed"),
        ("GET https://other.example.com/", Some("alice"), 421, "misdirected"),
        ("TRACE /health", None, 405, "method"),
        ("CONNECT /health", None, 405, "method"),
        ("GET /.torwart/ping", None, 200, ""),
        ("GET /.torwart/other", None, 404, "no-route"),
        ("GET /health", Some("late"), 0, ""),
        ("GET /watched", None, 0, "token-required"),
        ("GET /watched", Some("alice"), 0, "scope"),
    ] {
        assert_eq!(answer(&loaded, &request(line), persona), (status, reason.to_owned()), "{line} as {persona:?}");
    }
}

#[test]
fn headers_are_judged_as_the_gateway_judges_them() {
    let loaded = loaded();
    for (name, value, persona, status, reason) in [
        ("x-http-method-override", "DELETE", Some("alice"), 400, "method-override"),
        ("authorization", "Bearer x", Some("alice"), 400, "invalid-request"),
        ("authorization", "Bearer x", None, 401, "invalid-token"),
        ("authorization", "Basic x", None, 401, "token-required"),
        ("host", "other.example.com", Some("alice"), 400, "invalid-host"),
        ("host", "API.example.com:443", Some("alice"), 0, ""),
        ("content_length", "5", Some("alice"), 400, "malformed"),
        ("expect", "200-ok", Some("alice"), 417, "expectation-failed"),
        ("x-long", &"a".repeat(30_000), Some("alice"), 431, "headers-too-large"),
    ] {
        let mut request = request(&format!("GET {OWN}"));
        request.headers.append(http::HeaderName::from_static(name), value.parse().unwrap());
        assert_eq!(answer(&loaded, &request, persona), (status, reason.to_owned()), "{name}");
    }
}

#[test]
fn a_body_beyond_the_routes_limit_is_refused() {
    let loaded = loaded();
    let mut request = request("POST /upload");
    request.body = "1234".into();
    assert_eq!(answer(&loaded, &request, None).0, 0);
    request.body = "12345".into();
    assert_eq!(answer(&loaded, &request, None), (413, "body-too-large".to_owned()));
}

#[test]
fn tokens_live_around_the_moment_of_the_request() {
    let loaded = loaded();
    let mut request = request(&format!("GET {OWN}"));
    let token = loaded.token_of("alice", request.now).unwrap();
    for (after, status) in [(0, None), (3600 + 29, None), (3600 + 30, Some(401)), (-30, None), (-31, Some(401))] {
        request.now = Timestamp(MOMENT.0 + after);
        let attempt = loaded.attempt(&request, &token);
        assert_eq!(attempt.status().map(|status| status.as_u16()), status, "{after}");
    }
}

#[test]
fn the_checks_on_claims_are_those_of_a_verified_token() {
    let loaded = loaded();
    let fault = |claims: serde_json::Value| {
        let mut claims = claims.as_object().unwrap().clone();
        claims.insert("client_id".to_owned(), "app".into());
        loaded.token(Some("shoen"), claims, MOMENT).unwrap().fault()
    };
    assert_eq!(fault(json!({"sub": "x"})), None);
    assert_eq!(fault(json!({"sub": "x", "aud": "https://elsewhere"})), Some(Fault::Audience));
    assert_eq!(fault(json!({"sub": "x", "iss": "https://elsewhere"})), Some(Fault::Issuer));
    assert_eq!(fault(json!({"sub": "x", "token_use": "id"})), Some(Fault::Kind));
    assert_eq!(fault(json!({"sub": "x", "exp": "soon"})), Some(Fault::ClaimType));
    assert_eq!(fault(json!({})), Some(Fault::Subject));
    let bare = loaded.token(Some("shoen"), json!({"sub": "x"}).as_object().unwrap().clone(), MOMENT).unwrap();
    assert_eq!(bare.fault(), Some(Fault::Profile), "RFC 9068 asks for `client_id`");
    assert!(loaded.token(None, serde_json::Map::new(), MOMENT).is_none(), "there are two issuers");
}

#[test]
fn personas_of_nobodys_issuer_are_a_mistake() {
    let documents = [source("crm.yaml", POLICY)];
    let tests = [source("a.test.yaml", "version: 1\npersonas: {a: {sub: x}, b: {issuer: shoem, sub: x}}\n")];
    let config = sketched(Config::empty("torwart.yaml".into()), &documents, &[]);
    let mut two = config.clone();
    two.issuers.push(crate::config::Issuer::new("kusy", "https://kusy.invalid", None));
    let said = |config| -> Vec<String> {
        let problems = Loaded::of(config, &documents, &tests).unwrap_err();
        problems.iter().map(|found| found.message.clone()).collect()
    };
    assert_eq!(said(config), ["there is no issuer `shoem`"]);
    assert_eq!(said(two), ["`a` does not say whose tokens it has", "there is no issuer `shoem`"]);
}
