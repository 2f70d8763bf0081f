//! `routes`, `explain` and `replay` as somebody runs them: what they print and how they end.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;
use tempfile::TempDir;

/// A directory with these files.
fn directory(files: &[(&str, &str)]) -> TempDir {
    let directory = tempfile::tempdir().unwrap();
    for (name, text) in files {
        let path = directory.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    directory
}

fn torwart(directory: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_torwart"));
    command.current_dir(directory).args(arguments).env_remove("TORWART_CONFIG").env_remove("NO_COLOR");
    command.output().unwrap()
}

fn code(output: &Output) -> i32 {
    output.status.code().unwrap()
}

fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

const CONFIGURATION: &str = r#"
version: 1
listeners: [{address: "127.0.0.1:8080"}]
issuers:
  - {name: shoen, preset: kusy, issuer: "https://auth.example.com", audiences: [https://api.example.com]}
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
