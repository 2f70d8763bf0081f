use super::*;

const ANY: Circumstances<'_> =
    Circumstances { request_id: "id-1", realm: Some("crm"), resource_metadata: None, html: false, explanation: None };

fn body(refusal: &Refusal) -> serde_json::Value {
    serde_json::from_slice(refusal.answer(&ANY).body()).unwrap()
}

fn challenge(refusal: &Refusal) -> Option<String> {
    refusal.answer(&ANY).headers().get(WWW_AUTHENTICATE).map(|value| value.to_str().unwrap().to_owned())
}

#[test]
fn a_refusal_is_a_problem_document_rfc_9457_section_3() {
    let refusal = Refusal::Token(authn::Failure::Missing);
    let response = refusal.answer(&ANY);
    assert_eq!(response.status(), 401);
    assert_eq!(response.headers()[CONTENT_TYPE], "application/problem+json");
    assert_eq!(response.headers()[CACHE_CONTROL], "no-store");
    let body = body(&refusal);
    assert_eq!(body["type"], "urn:torwart:token-required");
    assert_eq!(body["status"], 401);
    assert_eq!(body["instance"], "id-1");
    assert_eq!(body["title"], "Unauthorized");
    assert!(body["detail"].is_string());
    assert_eq!(body.as_object().unwrap().len(), 5);
}

#[test]
fn challenges_carry_an_error_only_for_a_token_that_was_sent_rfc_6750_section_3_1() {
    assert_eq!(challenge(&Refusal::Token(authn::Failure::Missing)).unwrap(), "Bearer realm=\"crm\"");
    let invalid = Refusal::Token(authn::Fault::Expired.into());
    assert_eq!(challenge(&invalid).unwrap(), "Bearer realm=\"crm\", error=\"invalid_token\"");
    let twice = Refusal::Token(authn::Failure::ManyHeaders);
    assert_eq!(twice.status(), 400);
    assert_eq!(challenge(&twice).unwrap(), "Bearer realm=\"crm\", error=\"invalid_request\"");
    let down = Refusal::Token(authn::Failure::Unavailable {
        issuer: "shoen".into(),
        wanted: authn::Wanted::Keys,
        retry_after: 7,
    });
    assert_eq!(down.status(), 503);
    assert_eq!(challenge(&down), None);
    assert_eq!(down.answer(&ANY).headers()[RETRY_AFTER], "7");
}

#[test]
fn what_policy_misses_is_named_in_the_challenge_and_nowhere_else() {
    let acr_values = "gold \"x\"".to_owned();
    let step_up = Cause::StepUp(crate::policy::StepUp { acr_values, max_age: Some(900), scopes: "a b".to_owned() });
    assert_eq!(
        challenge::of(&step_up, "crm").unwrap(),
        "Bearer realm=\"crm\", error=\"insufficient_user_authentication\", acr_values=\"gold \\\"x\\\"\", max_age=\"900\", scope=\"a b\""
    );
    let scopes = Cause::InsufficientScope { reason: crate::policy::Reason::Scope, scopes: "a b".to_owned() };
    assert_eq!(
        challenge::of(&scopes, "crm").unwrap(),
        "Bearer realm=\"crm\", error=\"insufficient_scope\", scope=\"a b\""
    );
    assert_eq!(challenge::of(&Cause::Forbidden(crate::policy::Reason::Subject), "crm"), None);
    assert_eq!(wording::denied(&Cause::Forbidden(crate::policy::Reason::Subject)).slug, "forbidden");
}

#[test]
fn a_quoted_string_never_ends_early_nor_adds_a_line() {
    assert_eq!(challenge::quoted("a\"b\\c\r\nd\u{e9}"), "a\\\"b\\\\cd");
}

#[test]
fn a_page_is_sent_to_who_names_html_and_to_nobody_else() {
    let accepts = |text: &'static str| {
        let mut headers = HeaderMap::new();
        headers.insert(ACCEPT, HeaderValue::from_static(text));
        asks_for_html(&headers)
    };
    assert!(accepts("text/html,application/xhtml+xml;q=0.9,*/*;q=0.8"));
    assert!(accepts("application/json, Text/HTML ;q=0.5"));
    assert!(!accepts("*/*"));
    assert!(!accepts("text/*"));
    assert!(!accepts("text/html;q=0"));
    assert!(!accepts("text/html2"));
    assert!(!asks_for_html(&HeaderMap::new()));
}

#[test]
fn nothing_on_a_page_is_markup_of_somebody_else() {
    let circumstances = Circumstances { request_id: "<script>", html: true, explanation: Some("a < b & \"c\""), ..ANY };
    let response = Refusal::Reserved.answer(&circumstances);
    let page = str::from_utf8(response.body()).unwrap();
    assert!(!page.contains("<script>"), "{page}");
    assert!(page.contains("a &lt; b &amp; &quot;c&quot;"), "{page}");
    assert!(page.contains("<html lang=\"en\">") && page.contains("<title>404 Not Found</title>"));
    assert!(response.headers()[http::header::CONTENT_SECURITY_POLICY].to_str().unwrap().contains("default-src 'none'"));
    assert_eq!(response.headers()[CONTENT_TYPE], "text/html; charset=utf-8");
}

#[test]
fn methods_that_nobody_may_use_are_refused_with_those_that_somebody_may() {
    let response = Refusal::Place(PlaceError::MethodRefused).answer(&ANY);
    assert_eq!(response.status(), 405);
    assert!(response.headers()[ALLOW].to_str().unwrap().starts_with("GET, HEAD"));
}

#[test]
fn an_answer_in_bytes_says_that_the_connection_ends() {
    let bytes = raw(&Refusal::SlowHead.answer(&ANY));
    let text = str::from_utf8(&bytes).unwrap();
    assert!(text.starts_with("HTTP/1.1 408 Request Timeout\r\n"), "{text}");
    assert!(text.contains("\r\nconnection: close\r\n\r\n{"), "{text}");
}

#[test]
fn an_explanation_is_read_line_by_line_and_nobody_gets_one_unasked() {
    let refusal = Refusal::Token(authn::Failure::Missing);
    assert!(body(&refusal).get("explanation").is_none());
    let explained = refusal.answer(&Circumstances { explanation: Some("deny: scope\n  - scope: a\n"), ..ANY });
    let text = str::from_utf8(explained.body()).unwrap();
    let lines = serde_json::json!(["deny: scope", "  - scope: a"]);
    assert_eq!(serde_json::from_str::<serde_json::Value>(text).unwrap()["explanation"], lines);
    assert!(text.lines().count() > 5 && text.ends_with('\n'), "{text}");
}

#[test]
fn bodies_are_refused_each_with_its_status() {
    for (cause, status, slug) in [
        (Cause::Body, 400, "body"),
        (Cause::BodyTooLarge, 413, "body-too-large"),
        (Cause::UnreadableBody, 415, "unreadable-body"),
        (Cause::NoRoom, 503, "overloaded"),
    ] {
        let wording = wording::denied(&cause);
        assert_eq!((wording.status.as_u16(), wording.slug), (status, slug));
        assert_eq!(challenge::of(&cause, "crm"), None);
    }
}
