//! `routes`, `explain` and `replay` as somebody runs them: what they print and how they end.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

#[path = "support/program.rs"]
mod program;

use std::fs;

use serde_json::Value;
use tempfile::TempDir;

use program::{code, directory, stderr, stdout, torwart};

const CONFIGURATION: &str = r#"
version: 1
listeners: [{address: "127.0.0.1:8080"}]
issuers:
  - {name: shoen, preset: kusy, issuer: "https://auth.example.com", audiences: [https://api.example.com], claims: {organizations: org_uids, permissions: permissions}}
upstreams:
  crm: {endpoints: ["http://127.0.0.1:9000"], quirks: {server: iis, path_parameters: never}}
"#;

const POLICY: &str = r#"version: 1
policy: crm
hosts: [api.example.com]
base_path: /crm
upstream: crm
require: {scope: crm}
client_credentials: {bypass: [kusy]}
forward: {strip_prefix: /crm, headers: {X-Customer: "{subject}"}}
routes:
  - path: /customers/{customer}/contracts
    methods: [GET, POST]
    params: {customer: uuid}
    require:
      scope: contracts:read
      subject: "{customer}"
  - path: /orders
    methods: [GET]
    require:
      any_of:
        - {organization: "{query.org}"}
        - {all_of: [{permission: staff}, {network: [10.0.0.0/8]}]}
  - path: /health
    methods: [GET]
    require: public
"#;

fn world() -> TempDir {
    directory(&[("torwart.yaml", CONFIGURATION), ("policies/crm.yaml", POLICY)])
}

#[test]
fn the_route_table_says_what_every_route_asks_and_how_upstreams_read() {
    let world = world();
    let output = torwart(world.path(), &["routes"]);
    assert_eq!(code(&output), 0, "{}", stderr(&output));
    let text = stdout(&output);
    let first = "api.example.com

  /crm/customers/{customer}/contracts
  GET HEAD POST
    route    crm / GET,POST /customers/{customer}/contracts
    at       policies/crm.yaml:10:11
    params   customer: uuid
    asks     scope: crm
             scope: contracts:read
             subject: {customer}
               or any_of: [.., {flow: client_credentials, client: kusy}]
    issuers  shoen
    upstream crm
    forward  strip_prefix: /crm
";
    assert!(text.starts_with(first), "{text}");
    assert!(
        text.contains("asks     scope: crm\n             any_of: [{organization: {query.org}}, {all_of: "),
        "{text}"
    );
    assert!(text.contains("asks     public: no token is read\n"), "{text}");
    assert!(text.contains("\nupstream crm\n    quirks   case: always, path_parameters: never, "), "{text}");
    assert!(text.lines().all(|line| line.chars().count() <= 100), "{text}");
}

#[test]
fn routes_tell_limits_origins_bodies_and_metadata() {
    let policy = r#"version: 1
policy: orders
hosts: [api.example.com]
base_path: /v2
upstream: crm
metadata: true
limit: {rate: 60/m, burst: 10}
cors: {origins: ["https://app.example.com"], headers: [Authorization], max_age: 1h}
routes:
  - path: /orders
    methods: [POST]
    require: {organization: "{body./items/*/org_uid}"}
"#;
    let world = directory(&[("policies/orders.yaml", policy)]);
    let printed = stdout(&torwart(world.path(), &["routes"]));
    for line in [
        "limit    60/m, burst: 10, per: client, of the whole policy",
        "cors     origins: [https://app.example.com], headers: [Authorization], max_age: 3600s",
        "body     JSON, read before deciding",
        "metadata /.well-known/oauth-protected-resource/v2",
    ] {
        assert!(printed.contains(line), "{line}\n{printed}");
    }
    let table = torwart(world.path(), &["routes", "--format", "json"]);
    let table: Value = serde_json::from_str(&stdout(&table)).unwrap();
    assert_eq!(table["routes"][0]["body"], "JSON, read before deciding");
}

#[test]
fn routes_tell_what_goes_on_to_which_upstream_and_what_is_only_observed() {
    let configuration = format!("{CONFIGURATION}  pim: {{endpoints: [\"http://127.0.0.1:9001\"]}}\n");
    let policy = r#"version: 1
policy: items
hosts: [api.example.com]
upstream: pim
mode: observe
routes:
  - {path: /kept, methods: [GET], require: authenticated, forward: {authorization: keep, identity_headers: [subject, flow]}}
  - {path: /plain, methods: [GET], mode: enforce, require: authenticated, forward: {identity_headers: none}}
  - path: /machines
    methods: [GET]
    require:
      any_of:
        - {certificate: {dns: [m1.example.com], uri: ["urn:m1"]}}
        - {certificate: {email: [m1@example.com], subject: CN=m1}}
"#;
    let world = directory(&[("torwart.yaml", &configuration), ("policies/items.yaml", policy)]);
    let table = torwart(world.path(), &["routes", "--format", "json"]);
    let table: Value = serde_json::from_str(&stdout(&table)).unwrap_or_else(|_| panic!("{}", stderr(&table)));
    let told: Vec<_> =
        table["routes"].as_array().unwrap().iter().map(|route| (&route["mode"], &route["forward"])).collect();
    let all = "subject, client, issuer, flow, scopes, global, organizations, policy, route";
    assert_eq!(
        told,
        [
            (&"observe".into(), &serde_json::json!({"authorization": "keep", "identity_headers": "subject, flow"})),
            (&"enforce".into(), &serde_json::json!({"identity_headers": "none"})),
            (&"observe".into(), &serde_json::json!({"authorization": "keep", "identity_headers": all})),
        ]
    );
    assert_eq!(table["routes"][0]["upstream"], "pim");
    assert_eq!(table["upstreams"].as_array().unwrap().iter().map(|one| &one["name"]).collect::<Vec<_>>(), ["pim"]);
    let asked = table["routes"][2]["require"][0]["asks"].as_str().unwrap();
    for word in ["dns: m1.example.com", "uri: urn:m1", "email: m1@example.com", "subject: CN=m1"] {
        assert!(asked.contains(&format!("certificate {word}")), "{word}: {asked}");
    }
}

#[test]
fn routes_for_programs_can_be_narrowed_down() {
    let world = world();
    let output =
        torwart(world.path(), &["routes", "--format", "json", "--path", "/orders", "--host", "api.example.com"]);
    let table: Value = serde_json::from_str(&stdout(&output)).unwrap();
    assert_eq!(table["routes"].as_array().unwrap().len(), 1);
    let route = &table["routes"][0];
    assert_eq!(route["path"], "/crm/orders");
    assert_eq!(route["policy"], "crm");
    assert_eq!(route["line"], 16);
    assert_eq!(route["require"][0]["asks"], "scope: crm");
    assert_eq!(route["forward"]["headers"], "x-customer: {subject}");
    assert_eq!(table["upstreams"][0]["quirks"]["trailing_slash"], "unknown");
    let output = torwart(world.path(), &["routes", "--policy", "other"]);
    assert_eq!((code(&output), stdout(&output).as_str()), (0, ""));
    assert_eq!(stderr(&output), "torwart: no route fits\n");
}

#[test]
fn an_invalid_policy_is_exit_2() {
    let world =
        directory(&[("torwart.yaml", CONFIGURATION), ("policies/crm.yaml", &POLICY.replace("scope:", "scpoe:"))]);
    let output = torwart(world.path(), &["routes"]);
    assert_eq!((code(&output), stdout(&output).as_str()), (2, ""));
    assert!(stderr(&output).contains("policies/crm.yaml:6:11"), "{}", stderr(&output));
}

const PERSONAS: &str = r#"version: 1
personas:
  alice: {issuer: shoen, sub: 5f8c1a52-9d1e-4e0b-8a77-0c6f1be0a111, client_id: app, scope: "crm contracts:read"}
  kusy: {issuer: shoen, sub: kusy, client_id: kusy, scope: "crm contracts:read"}
tests: []
"#;

const ALICE: &str = "5f8c1a52-9d1e-4e0b-8a77-0c6f1be0a111";
const BOBS: &str = "https://api.example.com/crm/customers/0b3e7d64-21c5-4f7a-9c1e-6a2d8f4b9e02/contracts";

fn peopled() -> TempDir {
    directory(&[("torwart.yaml", CONFIGURATION), ("policies/crm.yaml", POLICY), ("policies/crm.test.yaml", PERSONAS)])
}

#[test]
fn a_refusal_is_explained_with_every_condition_and_the_smallest_change() {
    let world = peopled();
    let output = torwart(world.path(), &["explain", "GET", BOBS, "--as", "alice"]);
    assert_eq!(code(&output), 0, "{}", stderr(&output));
    let wanted = format!(
        "GET {BOBS}
as subject {ALICE}, client app, flow user, issuer shoen
deny: subject (403)
policy `crm`, route `GET,POST /customers/{{customer}}/contracts`  policies/crm.yaml:10:11
  + scope: crm  <- scopes: crm, contracts:read  [true] policies/crm.yaml:6:11
  + scope: contracts:read  <- scopes: crm, contracts:read  [true] policies/crm.yaml:14:7
  - subject: {{customer}}  <- subject `{ALICE}`; {{customer}} is 0b3e7d64-21c5-4f7a-9c1e-6a2d8f4b9e02  \
[false] policies/crm.yaml:15:7
change   {{customer}} in the path is {ALICE}
or       subject 0b3e7d64-21c5-4f7a-9c1e-6a2d8f4b9e02
         which is allowed: GET https://api.example.com/crm/customers/{ALICE}/contracts
"
    );
    assert_eq!(stdout(&output), wanted);
    assert_eq!(code(&torwart(world.path(), &["explain", "GET", BOBS, "--as", "alice", "--exit-code"])), 1);
}

#[test]
fn what_is_allowed_is_explained_with_what_reaches_the_upstream() {
    let world = peopled();
    let output = torwart(world.path(), &["explain", "GET", BOBS, "--as", "kusy", "--exit-code"]);
    assert_eq!(code(&output), 0, "{}", stderr(&output));
    let text = stdout(&output);
    assert!(text.contains("\nallow\n"), "{text}");
    assert!(text.contains("(not asked: any_of: [.., {flow: client_credentials, client: kusy}])"), "{text}");
    assert!(text.contains("\nforward  to upstream crm: /customers/0b3e7d64-21c5-4f7a-9c1e-6a2d8f4b9e02/contracts\n"));
    assert!(text.contains("\n         x-auth-client-id: kusy\n"), "{text}");
    assert!(!text.contains("change"), "{text}");
}

#[test]
fn without_a_token_the_smallest_change_is_a_token_and_all_that_it_has_to_say() {
    let world = peopled();
    let output = torwart(world.path(), &["explain", "GET", BOBS, "--format", "json"]);
    let said: Value = serde_json::from_str(&stdout(&output)).unwrap();
    assert_eq!((said["decision"].as_str(), said["status"].as_u64()), (Some("deny"), Some(401)));
    assert_eq!(said["reason"], "token-required");
    assert_eq!(said["answer"]["www-authenticate"], "Bearer realm=\"crm\"");
    let changes = &said["smallest_change"]["found"][0]["changes"];
    assert_eq!(
        *changes,
        serde_json::json!([
            "a valid token of issuer shoen",
            "scope crm",
            "scope contracts:read",
            "subject 0b3e7d64-21c5-4f7a-9c1e-6a2d8f4b9e02",
        ])
    );
}

#[test]
fn the_smallest_change_may_be_a_client_certificate() {
    let names =
        [("dns", "m1.example.com"), ("uri", "urn:m1"), ("email", "m1@example.com"), ("subject", "CN=m1,O=Example")];
    let routes = names.map(|(kind, name)| {
        let value = if kind == "subject" { format!("\"{name}\"") } else { format!("[\"{name}\"]") };
        format!("  - {{path: /{kind}, methods: [GET], require: {{certificate: {{{kind}: {value}}}}}}}\n")
    });
    let policy =
        format!("version: 1\npolicy: machines\nhosts: [api.example.com]\nupstream: crm\nroutes:\n{}", routes.concat());
    let world = directory(&[("torwart.yaml", CONFIGURATION), ("policies/machines.yaml", &policy)]);
    for (kind, name) in names {
        let url = format!("https://api.example.com/{kind}");
        let output = torwart(world.path(), &["explain", "GET", &url, "--format", "json"]);
        let said: Value = serde_json::from_str(&stdout(&output)).unwrap_or_else(|_| panic!("{}", stderr(&output)));
        let changes = ["a valid token of issuer shoen", &format!("a client certificate with {kind} {name}")];
        assert_eq!(said["smallest_change"]["found"][0]["changes"], serde_json::json!(changes));
    }
}

#[test]
fn what_no_condition_refuses_is_explained_too() {
    let world = peopled();
    let change = |arguments: &[&str]| {
        let mut all = vec!["explain", "--format", "json", "--as", "alice"];
        all.extend(arguments);
        let output = torwart(world.path(), &all);
        let said: Value = serde_json::from_str(&stdout(&output)).unwrap_or_else(|_| panic!("{}", stderr(&output)));
        (said["reason"].clone(), said["smallest_change"]["found"][0]["changes"].clone())
    };
    let own = format!("https://api.example.com/crm/customers/{ALICE}/contracts");
    let method = (Value::from("method"), serde_json::json!(["method GET"]));
    assert_eq!(change(&["DELETE", &own]), method);
    let near = format!("https://api.example.com/crm/customer/{ALICE}/contracts");
    let path = serde_json::json!([format!("path /crm/customers/{ALICE}/contracts")]);
    assert_eq!(change(&["GET", &near]), (Value::from("no-route"), path));
    let host = own.replace("api.", "apt.");
    assert_eq!(change(&["GET", &host]), ("misdirected".into(), serde_json::json!(["host api.example.com"])));
    let typed = own.replace(ALICE, "7");
    let (reason, found) = change(&["GET", &typed]);
    assert_eq!(
        (reason, found),
        ("no-route".into(), serde_json::json!([format!("{{customer}} in the path is {ALICE}")]))
    );
    let (reason, found) = change(&["GET", "https://api.example.com/crm/orders?ORG=o1"]);
    assert_eq!(reason, "ambiguous-parameter");
    assert_eq!(found[0], "query parameter org, spelt exactly so, once");
    assert_eq!(found[1], "a member of organisation o1");
    let (reason, found) = change(&["GET", "https://api.example.com/crm/../crm/health"]);
    assert_eq!((reason, found), ("ambiguous-path".into(), serde_json::json!(["path /crm/health"])));
}

#[test]
fn a_pasted_token_counts_with_a_note_that_its_signature_was_not_checked() {
    use base64::Engine as _;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;
    let world = peopled();
    let claims = |more: &str| {
        format!(
            r#"{{"iss": "https://auth.example.com", "aud": "https://api.example.com", "sub": "{ALICE}", "exp": 4000000000,
            "client_id": "app", "scope": "crm contracts:read"{more}}}"#
        )
    };
    let token = |claims: &str| {
        let head = BASE64.encode(r#"{"alg":"RS256","typ":"at+jwt","kid":"k"}"#);
        format!("{head}.{}.c2lnbmF0dXJl", BASE64.encode(claims))
    };
    let own = format!("https://api.example.com/crm/customers/{ALICE}/contracts");
    let output = torwart(world.path(), &["explain", "GET", &own, "--token", &token(&claims(""))]);
    assert!(stdout(&output).contains("\nallow\n"), "{}{}", stdout(&output), stderr(&output));
    assert_eq!(stderr(&output), "torwart: the signature was not checked: no key of its issuer that fits is at hand\n");
    let header = format!("Authorization: Bearer {}", token(&claims(r#", "nbf": 3999999999"#)));
    let output = torwart(world.path(), &["explain", "GET", &own, "-H", &header]);
    assert!(stdout(&output).contains("\ndeny: invalid-token (401)\n"), "{}", stdout(&output));
    assert!(stdout(&output).contains("change   a valid token of issuer shoen\n"), "{}", stdout(&output));

    fs::write(world.path().join("claims.json"), format!(r#"{{"issuer": "shoen", "sub": "{ALICE}", "scope": "crm"}}"#))
        .unwrap();
    let output = torwart(world.path(), &["explain", "GET", &own, "--claims", "claims.json", "--exit-code"]);
    assert_eq!(code(&output), 1, "{}{}", stdout(&output), stderr(&output));
    assert!(stdout(&output).contains("change   scope contracts:read\n"), "{}", stdout(&output));
}

const BODIES: &str = r#"version: 1
policy: bodies
hosts: [api.example.com]
upstream: crm
routes:
  - {path: /batch, methods: [POST], require: {scope: crm, organization: "{body./items/*/org}", request: {body./force: absent}}}
  - {path: /typed, methods: [POST], params: {body./id: int}, require: {subject: "{body./owner}"}}
  - {path: /form, methods: [POST], require: {organization: "{form.org_uid}"}}
  - {path: /search, methods: [GET], require: {organization: "{query.filter#/org}"}}
  - {path: /service, methods: [POST], require: {request: {soap.operation: [GetOrder, ListOrders]}}}
  - {path: /scoped, methods: [POST], require: {scope: batch, request: {body./kind: note}}}
  - {path: /header, methods: [GET], require: {request: {header.X-Mode: fast}}}
  - {path: /session, methods: [GET], require: {request: {header.Cookie: present}}}
  - {path: /two, methods: [GET], require: {request: {"query.a#/x": "1", "query.b#/x": "1"}}}
"#;

#[test]
fn the_smallest_change_may_be_one_of_the_body() {
    let personas = "version: 1\npersonas:\n  alice: {issuer: shoen, sub: alice, client_id: app, scope: crm, org_uids: [acme]}\ntests: []\n";
    let world = directory(&[
        ("torwart.yaml", CONFIGURATION),
        ("policies/bodies.yaml", BODIES),
        ("policies/bodies.test.yaml", personas),
    ]);
    let json = "Content-Type: application/json";
    let form = "Content-Type: application/x-www-form-urlencoded";
    let soap = |operation: &str| {
        format!(
            "<s:Envelope xmlns:s=\"http://schemas.xmlsoap.org/soap/envelope/\"><s:Body><{operation}/></s:Body></s:Envelope>"
        )
    };
    let cases = [
        // A value, of one element and of all.
        (
            "POST /batch",
            json,
            r#"{"items":[{"org":"acme"},{"org":"other"}]}"#,
            "/items/*/org in the body is acme",
            r#"{"items":[{"org":"acme"},{"org":"acme"}]}"#,
        ),
        ("POST /batch", json, r#"{"items":[]}"#, "/items/*/org in the body is acme", r#"{"items":[{"org":"acme"}]}"#),
        ("POST /batch", json, "", "/items/*/org in the body is acme", r#"{"items":[{"org":"acme"}]}"#),
        (
            "POST /batch",
            json,
            r#"{"force":1,"items":[{"org":"acme"}]}"#,
            "no /force in the body",
            r#"{"items":[{"org":"acme"}]}"#,
        ),
        ("POST /typed", json, r#"{"id":"x","owner":"alice"}"#, "/id in the body is 1", r#"{"id":"1","owner":"alice"}"#),
        // What the body is.
        ("POST /batch", "X-A: b", r#"{"items":[{"org":"acme"}]}"#, "header content-type: application/json", ""),
        (
            "POST /form",
            "Content-Type: text/plain",
            "org_uid=acme",
            "header content-type: application/x-www-form-urlencoded",
            "",
        ),
        // Forms.
        ("POST /form", form, "x=1&org_uid=other", "form parameter org_uid is acme", "x=1&org_uid=acme"),
        (
            "POST /form",
            form,
            "org_uid=acme&Org.Uid=other",
            "form parameter org_uid, spelt exactly so, once",
            "org_uid=acme",
        ),
        ("POST /form", form, "", "form parameter org_uid is acme", "org_uid=acme"),
        // JSON in a parameter.
        ("GET /search?filter=%7B%22a%22:1%7D", "X-A: b", "", "/org in query parameter filter is acme", ""),
        ("GET /two?a=%7B%22x%22:1%7D&b=%7B", "X-A: b", "", "no query parameter b, in no spelling", ""),
        // Headers.
        ("GET /header", "X-A: b", "", "header x-mode: fast", ""),
        ("GET /header", "X-Mode: slow", "", "header x-mode: fast", ""),
        // What needs no body comes first, whatever the body is.
        ("POST /scoped", "X-A: b", r#"{"kind":"note"}"#, "scope batch", ""),
        // Operations.
        ("POST /service", "Content-Type: text/xml", &soap("DeleteOrder"), "SOAP operation GetOrder", &soap("GetOrder")),
    ];
    for (asked, header, body, change, shown) in cases {
        let (method, target) = asked.split_once(' ').unwrap();
        let url = format!("https://api.example.com{target}");
        let arguments = ["explain", method, &url, "--as", "alice", "-H", header, "--data", body];
        let output = torwart(world.path(), &arguments);
        let text = stdout(&output);
        assert!(text.contains(&format!("change   {change}\n")), "{asked} {body}\n{text}{}", stderr(&output));
        let with = text.lines().find_map(|line| line.trim_start().strip_prefix("with the body ")).unwrap_or_default();
        assert_eq!(with, shown, "{text}");
    }
    let url = "https://api.example.com/batch";
    let session = ["explain", "GET", "https://api.example.com/session", "--as", "alice"];
    let text = stdout(&torwart(world.path(), &session));
    assert!(text.contains("change   none found that is allowed"), "nobody makes up a session\n{text}");
    let broken = ["explain", "POST", url, "--as", "alice", "-H", json, "--data", "{"];
    let text = stdout(&torwart(world.path(), &broken));
    assert!(text.contains("change   none found that is allowed"), "what is malformed is its author's to mend\n{text}");
}

#[test]
fn what_cannot_be_asked_is_exit_2() {
    let world = peopled();
    for (arguments, said) in [
        (&["explain", "GET", BOBS, "--as", "alcie"][..], "there is no persona `alcie`: did you mean `alice`?"),
        (&["explain", "GET", "/crm"], "the URL does not begin with `https://` or `http://`"),
        (&["explain", "GET", BOBS, "-H", "nothing"], "`nothing` is not `Name: value`"),
        (&["explain", "GET", BOBS, "--time", "today"], "`today` is not a time such as `2026-11-21T22:00:00Z`"),
        (&["explain", "GET", BOBS, "--certificate", "cn=x"], "`cn=x` does not begin with `dns=`"),
        (&["explain", "some-id"], "audit records go to standard output here"),
        (&["explain", "some-id", "--audit", "nowhere"], "cannot read `nowhere`"),
        (&["replay", "nowhere"], "cannot read `nowhere`"),
    ] {
        let output = torwart(world.path(), arguments);
        assert_eq!((code(&output), stdout(&output).as_str()), (2, ""), "{arguments:?}");
        assert!(stderr(&output).contains(said), "{}", stderr(&output));
    }
}

/// The record of a request of Alice's, as the gateway writes it.
fn record(id: &str, customer: &str, decided: &str) -> String {
    format!(
        r#"{{"kind":"audit","time":"2026-11-21T22:00:00.123Z","request_id":"{id}","trace_id":"0","method":"GET","host":"api.example.com","path":"/crm/customers/{customer}/contracts","values":{{"customer":"{customer}","query.org":null}},"facts":{{}},"address":"192.0.2.1","policy":"crm","route":"GET,POST /customers/{{customer}}/contracts","mode":"enforce",{decided},"condition":{{"text":"subject: {{customer}}","file":"policies/crm.yaml","line":15,"column":7}},"lifted":[],"principal":{{"issuer":"shoen","subject":"{ALICE}","client":"app","flow":"user","scopes":["crm","contracts:read"],"permissions":null,"organizations":null,"global":null}},"jti":null,"token_digest":"00","revision":"00","status":403,"duration_ms":1.0}}"#
    )
}

const DENIED: &str = r#""decision":"deny","would":null,"reason":"subject""#;
const BOB: &str = "0b3e7d64-21c5-4f7a-9c1e-6a2d8f4b9e02";

#[test]
fn a_request_of_the_past_is_explained_as_it_was_and_as_it_is() {
    let world = peopled();
    let lines = [record("r-1", BOB, DENIED), record("r-10", ALICE, DENIED), "garbage".to_owned()];
    fs::write(world.path().join("audit.1"), lines.join("\n")).unwrap();
    fs::write(world.path().join("audit"), "").unwrap();
    let files = ["--audit", "audit", "--audit", "audit.1"];
    let explain = |id: &str| torwart(world.path(), &[&["explain", id][..], &files].concat());
    let text = stdout(&explain("r-1"));
    let then = "then     deny: subject (403) at 2026-11-21T22:00:00.123Z
         policy crm, route GET,POST /customers/{customer}/contracts
         subject: {customer}  policies/crm.yaml:15:7
now      the same

GET https://api.example.com/crm/customers/";
    assert!(text.starts_with(then), "{text}");
    assert!(text.contains(&format!("change   {{customer}} in the path is {ALICE}\n")), "{text}");
    let text = stdout(&explain("r-10"));
    assert!(text.contains("\nnow      allow\n"), "{text}");
    let output = explain("r-100");
    assert_eq!((code(&output), stderr(&output).as_str()), (2, "torwart: no audit record of a request `r-100`\n"));
}

#[test]
fn a_replay_says_what_other_policies_would_change() {
    let world = peopled();
    let lines = [record("r-1", BOB, DENIED), record("r-2", BOB, DENIED), r#"{"kind":"access"}"#.to_owned()];
    fs::write(world.path().join("audit"), lines.join("\n")).unwrap();
    let output = torwart(world.path(), &["replay", "audit"]);
    assert_eq!(
        (code(&output), stdout(&output).as_str()),
        (0, "2 records: 2 the same, 0 changed, 0 unknown\n"),
        "{}",
        stderr(&output)
    );
    let other = POLICY.replace("      subject: \"{customer}\"\n", "").replace("[GET, POST]", "[GET]");
    let other = other.replace("params: {customer: uuid}", "params: {customer: uuid}\n    unbound: [customer]");
    fs::create_dir(world.path().join("next")).unwrap();
    fs::write(world.path().join("next/crm.yaml"), &other).unwrap();
    let output = torwart(world.path(), &["replay", "audit", "--policies", "next"]);
    let wanted = "crm / GET,POST /customers/{customer}/contracts
          2  app: deny: subject (403) -> allow
             such as r-1
2 records: 0 the same, 2 changed, 0 unknown
";
    assert_eq!((code(&output), stdout(&output).as_str()), (1, wanted), "{}", stderr(&output));
    let asks = other.replace("scope: contracts:read", "claim: {tenant: {equals: t1}}");
    fs::write(world.path().join("next/crm.yaml"), asks).unwrap();
    let output = torwart(world.path(), &["replay", "audit", "--policies", "next", "--format", "json"]);
    let said: Value = serde_json::from_str(&stdout(&output)).unwrap();
    assert_eq!((code(&output), said["unknown"].as_u64()), (0, Some(2)));
    assert_eq!(said["unknowns"][0]["why"], "it has no `claim.tenant`");
    assert_eq!(said["other_lines"], 1);
}

#[test]
fn an_access_log_tells_before_installation_what_would_be_refused() {
    let world = peopled();
    let log = format!(
        r#"192.0.2.1 - - [21/Nov/2026:22:00:00 +0000] "GET /crm/customers/{ALICE}/contracts HTTP/1.1" 200 1 "-" "-"
192.0.2.1 - - [21/Nov/2026:22:00:00 +0000] "GET /crm/orders?ORG=1 HTTP/1.1" 200 1 "-" "-"
192.0.2.1 - - [21/Nov/2026:22:00:00 +0000] "GET /crm/orders?ORG=2 HTTP/1.1" 200 1 "-" "-"
192.0.2.1 - - [21/Nov/2026:22:00:00 +0000] "GET /crm/health HTTP/1.1" 200 1 "-" "-"
192.0.2.1 - - [21/Nov/2026:22:00:00 +0000] "GET /wp-admin HTTP/1.1" 404 1 "-" "-"
192.0.2.1 - - [21/Nov/2026:22:00:00 +0000] "DELETE /crm/orders HTTP/1.1" 204 1 "-" "-"
www.example.com:443 192.0.2.1 - - [21/Nov/2026:22:00:00 +0000] "GET / HTTP/1.1" 301 1 "-" "-"
garbage
"#
    );
    fs::write(world.path().join("access.log"), log).unwrap();
    let output = torwart(world.path(), &["replay", "--format", "combined", "access.log", "--host", "api.example.com"]);
    let wanted = format!(
        "refused
          2  crm / GET /orders: ambiguous-parameter (400)
             such as GET /crm/orders?ORG=1
          1  no policy: misdirected (421)
             such as GET /
no route
          1  crm: method (405)
             such as DELETE /crm/orders
          1  no policy: no-route (404); the API answered with an error then, too
             such as GET /wp-admin
needs a token
          1  crm / GET,POST /customers/{{customer}}/contracts: token-required (401)
             such as GET /crm/customers/{ALICE}/contracts
forwarded
          1  crm / GET /health
             such as GET /crm/health
1 malformed lines, such as
  garbage: there is no time in brackets
7 requests: 4 that the API served would be refused whatever token they came with
"
    );
    assert_eq!((code(&output), stdout(&output)), (1, wanted), "{}", stderr(&output));

    let log = "#Fields: date cs-method cs-uri-stem cs-uri-query cs-host sc-status\n\
               2026-11-21 GET /crm/health - api.example.com 200\n";
    fs::write(world.path().join("iis.log"), log).unwrap();
    let output = torwart(world.path(), &["replay", "--format", "iis", "--format", "json", "iis.log"]);
    let said: Value = serde_json::from_str(&stdout(&output)).unwrap();
    assert_eq!((code(&output), said["requests"].as_u64(), said["lost"].as_u64()), (0, Some(1), Some(0)));
}
