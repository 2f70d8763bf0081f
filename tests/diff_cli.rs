//! `torwart diff` and what `torwart check` analyses, as a user runs them.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;
use tempfile::TempDir;

const POLICY: &str = "version: 1
policy: crm
hosts: [api.example.com]
upstream: crm
issuers: [shoen]
routes:
  - path: /orders/{id}
    methods: [GET]
    require:
      scope: orders
      subject: \"{id}\"
";

const CONFIGURATION: &str = "version: 1
listeners: [{address: \"127.0.0.1:0\"}]
issuers:
  - {name: shoen, preset: kusy, issuer: \"https://login.example.com\", audiences: [api]}
upstreams:
  crm: {endpoints: [\"http://127.0.0.1:9\"]}
";

fn torwart(folder: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_torwart"));
    command.args(arguments).current_dir(folder).env_remove("TORWART_CONFIG").output().unwrap()
}

fn printed(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

/// Two directories of policies.
fn folder(old: &str, new: &str) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (name, text) in [("old", old), ("new", new)] {
        fs::create_dir(folder.path().join(name)).unwrap();
        fs::write(folder.path().join(name).join("crm.yaml"), text).unwrap();
    }
    folder
}

#[test]
fn a_difference_is_printed_with_a_command_that_shows_it() {
    let folder = folder(POLICY, &POLICY.replace("      scope: orders\n", ""));
    let output = torwart(folder.path(), &["diff", "old", "new"]);
    let text = printed(&output);
    assert_eq!(output.status.code(), Some(1), "{text}{}", String::from_utf8_lossy(&output.stderr));
    for line in [
        "denied before, allowed now - GET,HEAD - api.example.com",
        "before: policy `crm`, route `GET /orders/{id}` at old/crm.yaml:7:11",
        "scope: orders at old/crm.yaml:10:7",
        "| torwart explain GET 'https://api.example.com/orders/",
        "1 difference",
    ] {
        assert!(text.contains(line), "{line}\n{text}");
    }
}

#[test]
fn no_difference_is_exit_code_0_and_an_unreadable_side_2() {
    let renamed = POLICY.replace("{id}", "{customer}").replace("policy: crm", "policy: other");
    let folder = folder(POLICY, &renamed);
    let output = torwart(folder.path(), &["diff", "old", "new"]);
    assert_eq!((printed(&output).as_str(), output.status.code()), ("no difference\n", Some(0)));
    let missing = torwart(folder.path(), &["diff", "old", "nothing"]);
    assert_eq!(missing.status.code(), Some(2));
    assert!(String::from_utf8(missing.stderr).unwrap().contains("cannot read `nothing`"));
    fs::write(folder.path().join("new/crm.yaml"), "version: 1\n").unwrap();
    let invalid = torwart(folder.path(), &["diff", "old", "new"]);
    assert_eq!(invalid.status.code(), Some(2));
    assert!(String::from_utf8(invalid.stderr).unwrap().contains("`new` is not valid"));
}

#[test]
fn json_has_the_witness_in_its_parts() {
    let folder = folder(POLICY, &POLICY.replace("[GET]", "[GET, DELETE]"));
    let output = torwart(folder.path(), &["diff", "old", "new", "--format", "json"]);
    let found: Value = serde_json::from_slice(&output.stdout).unwrap();
    let difference = &found["differences"][0];
    assert_eq!(difference["change"], "decision");
    assert_eq!(difference["methods"], serde_json::json!(["DELETE"]));
    let witness = &difference["witness"];
    assert_eq!((&witness["method"], &witness["now"]["decision"]), (&"DELETE".into(), &"allowed".into()));
    assert_eq!(witness["before"]["refusal"]["status"], 405);
    assert_eq!(witness["claims"]["issuer"], "shoen");
}

#[test]
fn configurations_are_compared_with_their_issuers_and_upstreams() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    fs::create_dir(root.join("policies")).unwrap();
    fs::write(root.join("policies/crm.yaml"), POLICY).unwrap();
    fs::write(root.join("old.yaml"), CONFIGURATION).unwrap();
    fs::write(root.join("new.yaml"), CONFIGURATION.replace("[api]", "[api, other]").replace(":9", ":10")).unwrap();
    let output = torwart(root, &["diff", "old.yaml", "new.yaml"]);
    let text = printed(&output);
    assert!(text.contains("issuer `shoen`: `audiences` changed"), "{text}");
    assert!(text.contains("upstream `crm`: `endpoints` changed"), "{text}");
    assert_eq!(output.status.code(), Some(1));
    let same = torwart(root, &["diff", "old.yaml", "old.yaml"]);
    assert_eq!(printed(&same), "no difference\n");
}

#[test]
fn what_pages_of_other_origins_are_told_is_printed_as_policies_say_it() {
    let cors = "upstream: crm\ncors: {origins: ['https://a.test'], headers: [Authorization]}";
    let folder = folder(POLICY, &POLICY.replace("upstream: crm", cors));
    let text = printed(&torwart(folder.path(), &["diff", "old", "new"]));
    let lines = "    - cors: none\n    + cors: origins: [https://a.test], headers: [Authorization]\n";
    assert!(text.contains(lines), "{text}");
}

#[test]
fn what_clients_are_told_of_resources_is_compared() {
    let metadata = |policy: &str| policy.replace("upstream: crm", "upstream: crm\nmetadata: true");
    let folder = folder(POLICY, &metadata(POLICY));
    let output = torwart(folder.path(), &["diff", "old", "new"]);
    assert_eq!(output.status.code(), Some(1));
    let text = printed(&output);
    assert!(text.contains("metadata of `https://api.example.com`: added"), "{text}");
    fs::write(folder.path().join("old/crm.yaml"), metadata(&POLICY.replace("scope: orders", "scope: other"))).unwrap();
    let text = printed(&torwart(folder.path(), &["diff", "old", "new"]));
    assert!(text.contains("metadata of `https://api.example.com`: `scopes_supported` changed"), "{text}");
}

#[test]
fn sides_can_be_revisions_of_a_repository() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    let git = |arguments: &[&str]| {
        let identity = ["-c", "user.name=t", "-c", "user.email=t@example.com", "-c", "init.defaultBranch=main"];
        let done = Command::new("git").args(identity).args(arguments).current_dir(root).output().unwrap();
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    };
    fs::create_dir(root.join("policies")).unwrap();
    fs::write(root.join("torwart.yaml"), CONFIGURATION).unwrap();
    fs::write(root.join("policies/crm.yaml"), POLICY).unwrap();
    git(&["init", "-q"]);
    git(&["add", "."]);
    git(&["commit", "-q", "-m", "first"]);
    fs::write(root.join("policies/crm.yaml"), POLICY.replace("scope: orders", "scope: other")).unwrap();
    for sides in [["main:policies", "policies"], ["main:torwart.yaml", "torwart.yaml"]] {
        let output = torwart(root, &["diff", sides[0], sides[1]]);
        let text = printed(&output);
        assert!(text.contains("allowed before, denied now"), "{text}{}", String::from_utf8_lossy(&output.stderr));
        assert!(text.contains("denied before, allowed now"), "{text}");
        assert!(text.contains("main:policies/crm.yaml:10:7"), "{text}");
    }
    let unknown = torwart(root, &["diff", "no-such-branch:policies", "policies"]);
    assert_eq!(unknown.status.code(), Some(2));
    let same = torwart(root, &["diff", "main:policies", "HEAD:policies"]);
    assert_eq!(same.status.code(), Some(0), "{}", printed(&same));
}

/// What `torwart check` says of a policy beside [`CONFIGURATION`].
fn checked(routes: &str) -> (String, Option<i32>) {
    let folder = tempfile::tempdir().unwrap();
    let head = POLICY.split("  - path").next().unwrap();
    fs::create_dir(folder.path().join("policies")).unwrap();
    fs::write(folder.path().join("torwart.yaml"), CONFIGURATION).unwrap();
    fs::write(folder.path().join("policies/crm.yaml"), format!("{head}{routes}")).unwrap();
    let output = torwart(folder.path(), &["check"]);
    (printed(&output), output.status.code())
}

#[test]
fn check_tells_what_can_never_be() {
    for (route, message) in [
        (
            "  - {path: '/a/{x}', methods: [GET], require: {all_of: [{subject: a}, {subject: b}]}, unbound: [x]}\n",
            "`subject: a` and `subject: b` can never hold together",
        ),
        (
            "  - {path: '/a/{x}', methods: [GET], require: {flow: client_credentials, subject: '{x}'}}\n",
            "`flow: client_credentials` and `subject: {x}` can never hold together",
        ),
        (
            "  - {path: /a, methods: [GET], require: {token: none, all_of: [{network: [10.0.0.0/8]}, {network: [11.0.0.0/8]}]}}\n",
            "can never hold together",
        ),
        (
            "  - {path: '/a/{x}', methods: [GET], params: {x: {regex: b}}, require: {subject: '{x}'}}\n  - {path: /a/b, methods: [GET], require: authenticated}\n",
            "no request can match this route",
        ),
        (
            "  - {path: /a, methods: [POST], require: {scope: x, request: {header.SOAPAction: urn:get}}}\n",
            "`SOAPAction` is a label that the caller chooses",
        ),
    ] {
        let (text, code) = checked(route);
        assert!(text.contains(message), "{message}\n{text}");
        assert_eq!(code, Some(0), "{text}");
    }
}

#[test]
fn what_no_accepted_issuer_can_tell_is_an_error() {
    let configuration = CONFIGURATION.replace("preset: kusy, ", "");
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("policies")).unwrap();
    fs::write(folder.path().join("torwart.yaml"), configuration).unwrap();
    for (condition, message) in [
        ("permission: p", "no token of issuer `shoen` can tell `permission: p`"),
        ("flow: user", "no token of issuer `shoen` can tell `flow: user`"),
        ("organization: '{id}'", "no token of issuer `shoen` can tell `organization: {id}`"),
    ] {
        let policy = POLICY.replace("scope: orders", condition);
        fs::write(folder.path().join("policies/crm.yaml"), policy).unwrap();
        let output = torwart(folder.path(), &["check"]);
        assert!(printed(&output).contains(message), "{message}\n{}", printed(&output));
        assert_eq!(output.status.code(), Some(1));
    }
}

#[test]
fn what_no_accepted_issuer_can_tell_stops_every_verb_and_the_start() {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("policies")).unwrap();
    fs::write(folder.path().join("torwart.yaml"), CONFIGURATION.replace("preset: kusy", "preset: ameise")).unwrap();
    let policy = POLICY.replace("scope: orders", "flow: client_credentials");
    fs::write(folder.path().join("policies/crm.yaml"), policy).unwrap();
    for (verb, code) in [("check", 1), ("routes", 2), ("run", 78)] {
        let output = torwart(folder.path(), &[verb]);
        let message = "no token of issuer `shoen` can tell `flow: client_credentials`: every request is refused";
        // For `check` it is the result, for the others what stands in the way of one.
        let said = printed(&output) + &String::from_utf8(output.stderr).unwrap();
        assert!(said.contains(message), "{verb}: {said}");
        assert_eq!(output.status.code(), Some(code), "{verb}");
    }
}

#[test]
fn policies_that_mean_what_they_say_give_no_warning() {
    let route =
        "  - {path: '/a/{x}', methods: [GET], require: {scope: s, any_of: [{subject: '{x}'}, {client: batch}]}}\n";
    let (text, code) = checked(route);
    assert!(!text.contains("never") && !text.contains("no request"), "{text}");
    assert_eq!(code, Some(0));
}
