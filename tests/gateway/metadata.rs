//! What the gateway tells of the resources that it protects (RFC 9728).

use serde_json::{Value, json};

use crate::support::World;
use crate::support::message::Message;
use crate::support::world::Gateway;

const WELL_KNOWN: &str = "/.well-known/oauth-protected-resource";

const WHOLE: &str = "
version: 1
policy: shop
hosts: [api.test]
upstream: api
issuers: [shoen]
metadata: true
routes:
  - {path: \"/{*page}\", methods: \"*\", require: public, unbound: [page]}
  - {path: /orders, methods: [GET], require: {scope: orders}}
  - path: /admin
    methods: [GET]
    require:
      scope: {all_of: [write, admin]}
      any_of: [{scope: audit}, {not: {scope: guest}}]
";

const CRM: &str = "
version: 1
policy: crm
hosts: [api.test, \"{tenant}.wild.test\"]
base_path: /crm/v2/
upstream: api
issuers: [shoen, second]
metadata: true
routes:
  - {path: /customers, methods: [GET], require: {scope: {any_of: [customers, orders]}, authentication: {acr: [gold]}}}
";

const SILENT: &str = "
version: 1
policy: silent
hosts: [api.test, other.test]
base_path: /silent
upstream: api
issuers: [second]
routes:
  - {path: /a, methods: [GET], require: {scope: secret}}
";

const LISTENERS: &str = "  - {address: \"127.0.0.1:0\"}
  - address: \"127.0.0.1:0\"
    tls: {certificates: [{certificate: leaf.pem, key: leaf.key}], client_certificates: {mode: optional, ca: ca.pem}}
";

const SECOND: &str = "  - {name: second, issuer: \"https://second.test/\", audiences: [b], jwks_file: keys.json, sender_constraint: required}\n";

fn gateway() -> Gateway {
    World::new().listeners(LISTENERS).issuer(SECOND).policies(&[WHOLE, CRM, SILENT]).start()
}

fn ask(gateway: &Gateway, request_line: &str, host: &str, more: &str) -> Message {
    gateway.client().ask(format!("{request_line} HTTP/1.1\r\nHost: {host}\r\n{more}\r\n"))
}

fn described(gateway: &Gateway, path: &str, host: &str) -> Value {
    let answer = ask(gateway, &format!("GET {WELL_KNOWN}{path}"), host, "");
    assert_eq!((answer.status(), answer.field("content-type")), (200, Some("application/json")), "{host}{path}");
    assert_eq!(answer.field("cache-control"), Some("no-store"));
    assert_eq!(answer.field("access-control-allow-origin"), Some("*"));
    answer.json()
}

#[test]
fn a_host_describes_all_that_its_documents_protect_rfc_9728_section_2() {
    let gateway = gateway();
    let whole = json!({
        "resource": "https://api.test",
        "authorization_servers": ["https://issuer.test", "https://second.test/"],
        "scopes_supported": ["admin", "audit", "customers", "orders", "write"],
        "bearer_methods_supported": ["header"],
        "tls_client_certificate_bound_access_tokens": true,
    });
    assert_eq!(described(&gateway, "", "api.test"), whole);
    assert_eq!(described(&gateway, "/", "API.test."), whole);
    gateway.upstream.assert_silent();
}

#[test]
fn a_document_with_a_path_describes_its_own_resource_rfc_9728_section_3_1() {
    let gateway = gateway();
    let crm = |resource: &str| {
        json!({
            "resource": resource,
            "authorization_servers": ["https://issuer.test", "https://second.test/"],
            "scopes_supported": ["customers", "orders"],
            "bearer_methods_supported": ["header"],
            "tls_client_certificate_bound_access_tokens": true,
        })
    };
    assert_eq!(described(&gateway, "/crm/v2", "api.test"), crm("https://api.test/crm/v2"));
    // The resource is the one that the client has asked for: of this tenant, at this port.
    assert_eq!(described(&gateway, "/crm/v2", "a.wild.test:8443"), crm("https://a.wild.test:8443/crm/v2"));
    assert_eq!(described(&gateway, "/crm/v2", "a.wild.test:443"), crm("https://a.wild.test/crm/v2"));
    assert_eq!(described(&gateway, "", "a.wild.test"), crm("https://a.wild.test"));
}

#[test]
fn nothing_else_is_told_and_nobody_is_asked_who_they_are() {
    let mut gateway = gateway();
    for path in ["/crm", "/crm/v2/customers", "/silent", "/orders", "//"] {
        let answer = ask(&gateway, &format!("GET {WELL_KNOWN}{path}"), "api.test", "");
        let wanted = if path == "//" { 200 } else { 404 };
        assert_eq!((answer.status(), answer.field("www-authenticate")), (wanted, None), "{path}");
        assert_eq!(answer.field("access-control-allow-origin"), Some("*"), "{path}");
    }
    let token = "Authorization: Bearer x\r\nAuthorization: Bearer y\r\n";
    assert_eq!(ask(&gateway, &format!("GET {WELL_KNOWN}"), "api.test", token).status(), 200, "none is read");
    let answer = gateway.client().send(format!("HEAD {WELL_KNOWN} HTTP/1.1\r\nHost: api.test\r\n\r\n")).receive_head();
    assert_eq!((answer.status(), answer.field("content-length").is_some()), (200, true));
    let answer = ask(&gateway, &format!("DELETE {WELL_KNOWN}"), "api.test", "");
    assert_eq!((answer.status(), answer.field("allow")), (405, Some("GET, HEAD, OPTIONS")));
    let page = "Origin: https://app.test\r\nAccess-Control-Request-Method: GET\r\nAccess-Control-Request-Headers: mcp-protocol-version\r\n";
    let answer = ask(&gateway, &format!("OPTIONS {WELL_KNOWN}"), "api.test", page);
    assert_eq!((answer.status(), answer.field("access-control-allow-origin")), (200, Some("*")));
    assert_eq!(answer.field("access-control-allow-headers"), Some("*"));
    gateway.upstream.assert_silent();
    let statuses: Vec<_> = gateway.records().iter().map(|record| record["status"].clone()).collect();
    assert_eq!(statuses, [404, 404, 404, 404, 405], "what is answered is no decision");
}

#[test]
fn a_table_without_metadata_leaves_the_path_to_its_routes() {
    let gateway = gateway();
    assert_eq!(ask(&gateway, &format!("GET {WELL_KNOWN}"), "other.test", "").status(), 401);
    let gateway = World::new().policies(&[&WHOLE.replace("metadata: true\n", "")]).start();
    assert_eq!(ask(&gateway, &format!("GET {WELL_KNOWN}"), "api.test", "").status(), 200);
    assert_eq!(gateway.upstream.requests().len(), 1);
}

#[test]
fn every_challenge_names_the_metadata_rfc_9728_section_5_1() {
    let gateway = gateway();
    let bearer = |claims: Value| format!("Authorization: Bearer {}\r\n", gateway.token(&claims));
    let url = |path: &str| format!("resource_metadata=\"https://api.test{WELL_KNOWN}{path}\"");
    let many = "Authorization: Bearer x\r\nAuthorization: Bearer y\r\n".to_owned();
    let invalid = "Authorization: Bearer x\r\n".to_owned();
    for (path, headers, status, challenge, resource) in [
        ("/orders", String::new(), 401, "Bearer realm=\"shop\"", ""),
        ("/orders", invalid.clone(), 401, "Bearer realm=\"shop\", error=\"invalid_token\"", ""),
        ("/orders", many, 400, "Bearer realm=\"shop\", error=\"invalid_request\"", ""),
        (
            "/orders",
            bearer(json!({})),
            403,
            "Bearer realm=\"shop\", error=\"insufficient_scope\", scope=\"orders\"",
            "",
        ),
        ("/crm/v2/customers", String::new(), 401, "Bearer realm=\"crm\"", "/crm/v2"),
        ("/crm/v2/customers", invalid, 401, "Bearer realm=\"crm\", error=\"invalid_token\"", "/crm/v2"),
        (
            "/crm/v2/customers",
            bearer(json!({"scope": "orders"})),
            401,
            "Bearer realm=\"crm\", error=\"insufficient_user_authentication\", acr_values=\"gold\"",
            "/crm/v2",
        ),
    ] {
        let answer = ask(&gateway, &format!("GET {path}"), "api.test", &headers);
        let wanted = format!("{challenge}, {}", url(resource));
        assert_eq!((answer.status(), answer.field("www-authenticate")), (status, Some(wanted.as_str())), "{path}");
    }
    // Whoever follows the link finds the resource that was asked for.
    assert_eq!(described(&gateway, "/crm/v2", "api.test")["resource"], "https://api.test/crm/v2");
    let answer = ask(&gateway, "GET /silent/a", "api.test", "");
    assert_eq!(answer.field("www-authenticate"), Some("Bearer realm=\"silent\""), "its document tells nothing");
}

#[test]
fn a_reload_changes_what_is_told() {
    let gateway = gateway();
    gateway.write("policies/0.yaml", &WHOLE.replace("orders}", "purchases}"));
    gateway.snapshots.reload().unwrap_or_else(|problems| panic!("{}", problems.render()));
    let scopes = described(&gateway, "", "api.test")["scopes_supported"].clone();
    assert_eq!(scopes, json!(["admin", "audit", "customers", "orders", "purchases", "write"]));
}
