//! What is refused, and how (http.md): status, challenge, body. What is not refused, and what the upstream is told.

use serde_json::{Value, json};

use crate::support::message::Message;
use crate::support::world::{ALICE, BOB, Gateway, POLICY};
use crate::support::{After, World, upstream};

fn ask(gateway: &Gateway, line: &str, fields: &str) -> Message {
    let fields = if fields.is_empty() { String::new() } else { format!("{fields}\r\n") };
    gateway.client().ask(format!("{line} HTTP/1.1\r\nHost: api.test\r\n{fields}\r\n"))
}

fn bearer(token: &str) -> String {
    format!("Authorization: Bearer {token}")
}

fn kind(answer: &Message) -> String {
    answer.json()["type"].as_str().expect("a type").trim_start_matches("urn:torwart:").to_owned()
}

#[test]
fn no_token_is_a_bare_challenge_rfc_6750_section_3_1() {
    let gateway = World::new().start();
    let answer = ask(&gateway, "GET /me", "");
    assert_eq!((answer.status(), kind(&answer).as_str()), (401, "token-required"));
    assert_eq!(answer.field("www-authenticate"), Some("Bearer realm=\"api\""));
    let answer = ask(&gateway, "GET /me", "Authorization: Basic eDp5");
    assert_eq!(answer.field("www-authenticate"), Some("Bearer realm=\"api\""), "another scheme is no token");
    gateway.upstream.assert_silent();
}

#[test]
fn a_bad_token_is_told_as_invalid_and_no_more_rfc_6750_section_3_1() {
    let gateway = World::new().start();
    let good = gateway.alice();
    let (rest, _) = good.rsplit_once('.').expect("three parts");
    for bad in [
        "x".to_owned(),
        format!("{rest}."),
        format!("{rest}.{}", "A".repeat(86)),
        gateway.token(&json!({"exp": 1})),
        gateway.token(&json!({"aud": "https://other.test"})),
        gateway.token(&json!({"iss": "https://other.test"})),
    ] {
        let answer = ask(&gateway, "GET /me", &bearer(&bad));
        assert_eq!((answer.status(), kind(&answer).as_str()), (401, "invalid-token"), "{bad}");
        assert_eq!(answer.field("www-authenticate"), Some("Bearer realm=\"api\", error=\"invalid_token\""));
        assert!(!answer.text().contains("exp") && !answer.text().contains("aud"), "{}", answer.text());
    }
    assert_eq!(ask(&gateway, "GET /me", "Authorization: Bearer").status(), 401);
    gateway.upstream.assert_silent();
}

#[test]
fn two_authorization_headers_are_an_invalid_request_rfc_6750_section_3_1() {
    let gateway = World::new().start();
    let token = gateway.alice();
    let answer = ask(&gateway, "GET /me", &format!("{0}\r\n{0}", bearer(&token)));
    assert_eq!((answer.status(), kind(&answer).as_str()), (400, "invalid-request"));
    assert_eq!(answer.field("www-authenticate"), Some("Bearer realm=\"api\", error=\"invalid_request\""));
    gateway.upstream.assert_silent();
}

#[test]
fn a_missing_scope_is_named_in_the_challenge_rfc_6750_section_3_1() {
    let gateway = World::new().start();
    let answer = ask(&gateway, "GET /admin/x", &bearer(&gateway.alice()));
    assert_eq!((answer.status(), kind(&answer).as_str()), (403, "insufficient-scope"));
    assert_eq!(
        answer.field("www-authenticate"),
        Some("Bearer realm=\"api\", error=\"insufficient_scope\", scope=\"admin\"")
    );
    gateway.upstream.assert_silent();
}

#[test]
fn somebody_elses_data_is_forbidden_without_saying_why() {
    let gateway = World::new().start();
    let answer = ask(&gateway, &format!("GET /customers/{BOB}"), &bearer(&gateway.alice()));
    assert_eq!((answer.status(), kind(&answer).as_str()), (403, "forbidden"));
    assert_eq!(answer.field("www-authenticate"), None);
    for told in ["subject", ALICE, BOB, "customer"] {
        assert!(!answer.text().contains(told), "{}", answer.text());
    }
    gateway.upstream.assert_silent();
}

#[test]
fn whether_something_is_there_is_told_only_to_holders_of_a_token() {
    let gateway = World::new().start();
    for line in ["GET /nothing", "POST /me", "GET /customers/not-a-uuid"] {
        let answer = ask(&gateway, line, "");
        assert_eq!((answer.status(), answer.field("allow")), (401, None), "{line}");
    }
    let token = bearer(&gateway.alice());
    assert_eq!(ask(&gateway, "GET /nothing", &token).status(), 404);
    assert_eq!(ask(&gateway, "GET /customers/not-a-uuid", &token).status(), 404);
    let answer = ask(&gateway, "POST /me", &token);
    assert_eq!((answer.status(), answer.field("allow")), (405, Some("GET, HEAD")));
    gateway.upstream.assert_silent();
}

#[test]
fn where_everything_is_public_404_and_405_are_told() {
    let public = "version: 1\npolicy: api\nhosts: [api.test]\nupstream: api\nroutes:\n  - {path: /a, methods: [GET], require: public}\n";
    let gateway = World::new().policies(&[public]).start();
    assert_eq!(ask(&gateway, "GET /nothing", "").status(), 404);
    assert_eq!(ask(&gateway, "PUT /a", "").status(), 405);
    gateway.upstream.assert_silent();
}

#[test]
fn a_host_that_no_policy_names_is_misdirected_rfc_9110_section_15_5_20() {
    let gateway = World::new().start();
    let answer = gateway.client().ask("GET /open/a HTTP/1.1\r\nHost: nobody.test\r\n\r\n");
    assert_eq!((answer.status(), kind(&answer).as_str()), (421, "misdirected"));
    gateway.upstream.assert_silent();
}

#[test]
fn an_ambiguous_path_is_told_before_any_token_is_asked_for() {
    let rest = "  - {path: \"/{*rest}\", methods: \"*\", require: public, unbound: [rest]}\n";
    let gateway = World::new().policies(&[&format!("{POLICY}{rest}")]).start();
    for target in ["/ADMIN/x", "/admin;x/y", "/admin%2Fx", "/%2561dmin/x", "/open/..;/admin", "/admin./x"] {
        let answer = ask(&gateway, &format!("GET {target}"), "");
        assert_eq!((answer.status(), kind(&answer).as_str()), (400, "ambiguous-path"), "{target}");
    }
    gateway.upstream.assert_silent();
}

#[test]
fn a_second_method_is_refused() {
    let gateway = World::new().start();
    for fields in ["X-HTTP-Method-Override: DELETE", "X-Http-Method: DELETE", "X_Method_Override: DELETE"] {
        let answer = ask(&gateway, "POST /open/a", fields);
        assert_eq!((answer.status(), kind(&answer).as_str()), (400, "method-override"), "{fields}");
    }
    assert_eq!(ask(&gateway, "POST /open/a?_method=DELETE", "").status(), 400);
    gateway.upstream.assert_silent();
    assert_eq!(ask(&gateway, "POST /open/a", "X-HTTP-Method-Override: POST").status(), 200);
    assert_eq!(gateway.upstream.only().field("x-http-method-override"), None);
}

#[test]
fn without_keys_nothing_is_allowed_and_nothing_is_called_invalid() {
    let keyless = "version: 1\npolicy: api\nhosts: [api.test]\nupstream: api\nissuers: [down]\nroutes:\n  - {path: /me, methods: [GET], require: authenticated}\n";
    // An issuer on a port that nobody listens on.
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = listener.local_addr().expect("an address").port();
    drop(listener);
    let url = format!("http://127.0.0.1:{port}");
    let gateway = World::new().policies(&[keyless]).issuer(&format!(
        "  - {{name: down, issuer: \"{url}\", audiences: [\"https://api.test\"], environment: integration}}\n"
    ));
    let gateway = gateway.start();
    let answer = ask(&gateway, "GET /me", &bearer(&gateway.token(&json!({"iss": url}))));
    assert_eq!((answer.status(), kind(&answer).as_str()), (503, "issuer-unavailable"));
    assert!(answer.field("retry-after").is_some_and(|seconds| seconds.parse::<u32>().is_ok_and(|seconds| seconds > 0)));
    assert_eq!(answer.field("www-authenticate"), None);
    gateway.upstream.assert_silent();
}

#[test]
fn an_upstream_that_is_gone_is_502_and_one_that_is_slow_is_504() {
    let gateway = World::new()
        .upstream("timeouts: {response: 200ms}")
        .answering(std::sync::Arc::new(|_, _| {
            // Never answers; the gateway closes the connection.
            After::Continue
        }))
        .start();
    let answer = ask(&gateway, "GET /open/a", "");
    assert_eq!((answer.status(), kind(&answer).as_str()), (504, "gateway-timeout"));
    let gateway = World::new().answering(upstream::fixed(b"", After::Close)).start();
    assert_eq!(ask(&gateway, "GET /open/a", "").status(), 502);
}

#[test]
fn the_gateway_answers_load_balancers_itself() {
    let gateway = World::new().start();
    for host in ["api.test", "10.0.0.1", "nobody.test:99"] {
        let answer = gateway.client().ask(format!("GET /.torwart/ping HTTP/1.1\r\nHost: {host}\r\n\r\n"));
        assert_eq!((answer.status(), answer.field("cache-control")), (200, Some("no-store")), "{host}");
    }
    let open = "version: 1\npolicy: api\nhosts: [api.test]\nupstream: api\nroutes:\n  - {path: \"/{*r}\", methods: \"*\", require: public, unbound: [r]}\n";
    let gateway = World::new().policies(&[open]).start();
    for target in ["/.torwart/other", "/.torwart", "/%2Etorwart/x", "//.torwart/x", "/.torwart/ping/x"] {
        assert_eq!(ask(&gateway, &format!("GET {target}"), "").status(), 404, "{target}");
    }
    assert_eq!(ask(&gateway, "POST /.torwart/ping", "").status(), 404);
    gateway.upstream.assert_silent();
}

#[test]
fn a_page_is_sent_to_who_names_html_and_to_nobody_else() {
    let gateway = World::new().start();
    let page = ask(&gateway, "GET /me", "Accept: text/html,*/*;q=0.5");
    assert_eq!((page.status(), page.field("content-type")), (401, Some("text/html; charset=utf-8")));
    assert!(page.field("www-authenticate").is_some());
    let problem = ask(&gateway, "GET /me", "Accept: */*");
    assert_eq!(problem.field("content-type"), Some("application/problem+json"));
}

#[test]
fn a_head_is_refused_without_a_body() {
    let gateway = World::new().start();
    let mut client = gateway.client();
    client.send("HEAD /me HTTP/1.1\r\nHost: api.test\r\n\r\n");
    let answer = client.receive_head();
    assert_eq!(answer.status(), 401);
    assert_ne!(answer.field("content-length"), Some("0"));
    assert_eq!(client.ask("GET /open/a HTTP/1.1\r\nHost: api.test\r\n\r\n").status(), 200);
}

#[test]
fn what_is_allowed_is_forwarded_with_the_identity_and_without_the_token() {
    let gateway = World::new().start();
    let token = gateway.alice();
    let answer =
        ask(&gateway, &format!("GET /customers/{ALICE}"), &format!("{}\r\nX-Auth-Subject: root", bearer(&token)));
    assert_eq!(answer.status(), 200);
    let seen = gateway.upstream.only();
    assert_eq!(seen.field("authorization"), None);
    assert_eq!(seen.all("x-auth-subject"), [ALICE]);
    assert_eq!(seen.field("x-auth-client-id"), Some("app"));
    assert_eq!(seen.field("x-auth-issuer"), Some("shoen"));
    assert_eq!(seen.field("x-auth-flow"), Some("user"));
    assert_eq!(seen.field("x-auth-scopes"), Some("customers:read"));
    assert_eq!(seen.field("x-auth-global"), Some("false"));
    assert_eq!(seen.field("x-auth-org-uids"), Some("none"));
    assert_eq!(seen.field("x-auth-policy"), Some("api"));
    let whole = format!("{seen:?}");
    assert!(!whole.contains(&token), "the token went on");
    assert_eq!(seen.field("x-request-id").map(str::len), Some(36));
    assert_eq!(seen.field("traceparent").map(str::len), Some(55));
    assert!(seen.field("via").is_some_and(|via| via.starts_with("1.1 ")), "{seen:?}");
}

#[test]
fn a_denial_and_its_record_have_the_same_id_and_only_the_record_says_why() {
    let mut gateway = World::new().start();
    let answer = ask(&gateway, &format!("GET /customers/{BOB}"), &bearer(&gateway.alice()));
    let id = answer.json()["instance"].clone();
    let records = gateway.records();
    assert_eq!(records.len(), 1, "{records:#?}");
    let record = &records[0];
    assert_eq!(record["request_id"], id);
    assert_eq!(
        (&record["decision"], &record["reason"], &record["status"]),
        (&json!("deny"), &json!("subject"), &json!(403))
    );
    assert_eq!(
        (&record["policy"], &record["method"], &record["host"]),
        (&json!("api"), &json!("GET"), &json!("api.test"))
    );
    assert_eq!(record["path"], format!("/customers/{BOB}"));
    assert_eq!(record["principal"]["subject"], ALICE);
    assert!(!record.to_string().contains("eyJ"), "a token in a record");
}

#[test]
fn every_request_leaves_exactly_one_record() {
    let mut gateway = World::new().start();
    let token = bearer(&gateway.alice());
    let own = format!("GET /customers/{ALICE}");
    for (line, fields) in [
        ("GET /open/a", ""),
        ("GET /me", ""),
        (own.as_str(), token.as_str()),
        ("GET /nothing", token.as_str()),
        ("GET /a b", ""),
        ("GET /open/../x", ""),
    ] {
        ask(&gateway, line, fields);
    }
    let records = gateway.records();
    assert_eq!(records.len(), 6, "{records:#?}");
    let ids: std::collections::HashSet<_> = records.iter().map(|record| record["request_id"].to_string()).collect();
    assert_eq!(ids.len(), 6);
    let decisions: Vec<&Value> = records.iter().map(|record| &record["decision"]).collect();
    assert_eq!(decisions.iter().filter(|decision| **decision == "allow").count(), 2, "{decisions:?}");
}

#[test]
fn an_observing_policy_refuses_nothing_and_records_what_it_would_have() {
    let observing = crate::support::world::POLICY.replace("upstream: api", "upstream: api\nmode: observe");
    let mut gateway = World::new().policies(&[&observing]).start();
    let answer = ask(&gateway, "GET /admin/x", "X-Auth-Subject: root\r\nAuthorization: Basic eDp5");
    assert_eq!((answer.status(), answer.text()), (200, "GET /admin/x"));
    let bad = ask(&gateway, "GET /admin/x", "Authorization: Bearer nonsense");
    assert_eq!(bad.status(), 200);
    let denied = ask(&gateway, &format!("GET /customers/{BOB}"), &bearer(&gateway.alice()));
    assert_eq!(denied.status(), 200);
    assert_eq!(ask(&gateway, "GET /nothing/here", "").status(), 200);
    assert_eq!(ask(&gateway, "GET /open/../x", "").status(), 400, "the canonical target is always enforced");
    let seen = gateway.upstream.requests();
    assert_eq!(seen.len(), 4);
    assert_eq!(seen[0].field("x-auth-subject"), None, "what a client asserts is removed all the same");
    assert_eq!(seen[0].field("authorization"), Some("Basic eDp5"), "kept while observing");
    assert_eq!(seen[2].field("x-auth-subject"), Some(ALICE), "set where the token is valid");
    let records = gateway.records();
    let would: Vec<&Value> = records.iter().map(|record| &record["would"]).collect();
    assert_eq!(would[..4], [&json!(401), &json!(401), &json!(403), &json!(401)]);
}

#[test]
fn a_record_that_cannot_be_written_forbids_to_forward_where_it_is_required() {
    // Writing to this device fails always.
    let gateway = World::new().audit("{path: /dev/full, required: true}").start();
    let mut statuses = Vec::new();
    for _ in 0..50 {
        statuses.push(ask(&gateway, "GET /open/a", "").status());
    }
    assert!(statuses.iter().all(|status| matches!(status, 200 | 503)), "{statuses:?}");
}
