//! `torwart test` from outside: expectations, reports, coverage and mutants, as somebody who writes policies uses them.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on fails, in its helpers too")]

#[path = "support/program.rs"]
mod program;

use std::fs;
use std::path::Path;
use std::process::{Command, Output};
use std::sync::Arc;
use std::time::{Duration, Instant};

use program::{code, directory, stderr, stdout};
use serde_json::Value;
use torwart::config::Config;
use torwart::diagnostic::Source;
use torwart::policy::analysis::coverage::Side;
use torwart::policy::analysis::mutants::Operator;
use torwart::suite::{Coverage, Fate, Mutation, Questions, Suite, Tried};
use torwart::trial::{Loaded, sketched};

const POLICY: &str = r#"
version: 1
policy: crm
hosts: [api.example.com]
base_path: /crm
upstream: crm
issuers: [shoen]
require: {scope: crm}
routes:
  - path: /customers/{customer}/contracts
    methods: [GET]
    params: {customer: uuid}
    require: {subject: "{customer}"}
    forward: {strip_prefix: /crm, headers: {X-Customer: "{customer}"}}
  - {name: status, path: /status, methods: [GET], require: public}
"#;

const PERSONAS: &str = r"
version: 1
personas:
  alice: {issuer: shoen, sub: 5f8c1a52-9d1e-4e0b-8a77-0c6f1be0a111, client_id: app, scope: crm}
tests:
";

const OWN: &str = "https://api.example.com/crm/customers/5f8c1a52-9d1e-4e0b-8a77-0c6f1be0a111/contracts";
const FOREIGN: &str = "https://api.example.com/crm/customers/0b3e7d64-21c5-4f7a-9c1e-6a2d8f4b9e02/contracts";

fn torwart(directory: &Path, arguments: &[&str]) -> Output {
    program::torwart(directory, &[&["test"], arguments].concat())
}

/// Exit code, stdout and stderr.
fn said(output: &Output) -> (i32, String, String) {
    (code(output), stdout(output), stderr(output))
}

/// Runs one test of the policy above and says what came of it.
fn outcome(test: &str) -> (i32, String, String) {
    let tests = format!("{PERSONAS}  - {test}\n");
    let directory = directory(&[("policies/crm.yaml", POLICY), ("policies/crm.test.yaml", &tests)]);
    said(&torwart(directory.path(), &[]))
}

#[test]
fn every_kind_of_expectation_can_be_met() {
    let allow_with = r#"{allow: {upstream: crm, path: /customers/5f8c1a52-9d1e-4e0b-8a77-0c6f1be0a111/contracts, query: "a=%20b", headers: {X-Customer: 5f8c1a52-9d1e-4e0b-8a77-0c6f1be0a111, X-Auth-Scopes: crm, Authorization: null, X-Auth-Org-Uids: none, X-Auth-Permissions: null, Accept: text/csv}}}"#;
    for (request, who, expected) in [
        (format!("GET {OWN}"), "alice", "allow"),
        (
            format!(
                "{{url: \"{OWN}?a=%20b\", headers: {{X-Auth-Org-Uids: all, X-Auth-Permissions: all, x-customer: me, Accept: text/csv}}}}"
            ),
            "alice",
            allow_with,
        ),
        (format!("GET {FOREIGN}"), "alice", "deny"),
        (format!("GET {FOREIGN}"), "alice", "{deny: subject}"),
        (format!("GET {FOREIGN}"), "alice", "{status: 403}"),
        (format!("GET {OWN}"), "nobody", "{deny: token}"),
        (format!("GET {OWN}"), "nobody", "{status: 401}"),
        (format!("GET {OWN}"), "{issuer: shoen, sub: x, client_id: a, exp: 1767225500}", "{deny: token}"),
        (format!("DELETE {OWN}"), "alice", "{deny: method}"),
        (format!("GET {OWN}x"), "alice", "{deny: no-route}"),
        ("GET https://other.example.com/".to_owned(), "alice", "{status: 421}"),
        ("GET https://api.example.com/crm/status".to_owned(), "nobody", "allow"),
        (format!("{{url: \"{OWN}\", time: \"2025-12-31T23:00:00Z\"}}"), "alice", "allow"),
    ] {
        let who = if who == "nobody" { String::new() } else { format!("as: {who}, ") };
        let test = format!("{{name: t, {who}request: {request}, expect: {expected}}}");
        assert_eq!(outcome(&test), (0, "1 passed, 0 failed\n".to_owned(), String::new()), "{test}");
    }
}

#[test]
fn a_failed_test_says_where_what_and_why() {
    let test = format!("{{name: nobody else's, as: alice, request: GET {FOREIGN}, expect: allow}}");
    let (code, stdout, stderr) = outcome(&test);
    assert_eq!((code, stderr.as_str()), (1, ""));
    let expected = "\
policies/crm.test.yaml:6:12: failed: nobody else's
    expected: allow
    got:      deny subject (403)
    GET /crm/customers/0b3e7d64-21c5-4f7a-9c1e-6a2d8f4b9e02/contracts
    deny: subject (403)
";
    assert!(stdout.starts_with(expected), "{stdout}");
    assert!(stdout.contains("- subject: {customer}  <- subject `5f8c1a52"), "{stdout}");
    assert!(stdout.contains("+ scope: crm  <- scopes: crm  [true]"), "{stdout}");
    assert!(stdout.ends_with("\n0 passed, 1 failed\n"), "{stdout}");
}

#[test]
fn what_came_instead_is_named() {
    for (request, expected, got) in [
        (format!("GET {OWN}"), "{deny: subject}", "allow"),
        (format!("GET {FOREIGN}"), "{deny: scope}", "deny subject (403)"),
        (format!("GET {OWN}"), "{status: 403}", "allow"),
        (
            format!("GET {OWN}"),
            "{allow: {path: /x}}",
            "allow, but path `/customers/5f8c1a52-9d1e-4e0b-8a77-0c6f1be0a111/contracts`",
        ),
        (
            format!("GET {OWN}"),
            "{allow: {headers: {X-Auth-Subject: null, X-B: c}}}",
            "allow, but header x-auth-subject `5f8c1a52-9d1e-4e0b-8a77-0c6f1be0a111`, no header x-b",
        ),
        ("GET https://api.example.com/.torwart/ping".to_owned(), "allow", "answered by the gateway itself (200)"),
        ("GET https://other.example.com/".to_owned(), "allow", "deny misdirected (421): no policy names the host"),
    ] {
        let (code, stdout, _) = outcome(&format!("{{name: t, as: alice, request: {request}, expect: {expected}}}"));
        assert_eq!(code, 1, "{stdout}");
        assert!(stdout.contains(&format!("    got:      {got}\n")), "{stdout}");
    }
}

#[test]
fn what_is_only_observed_is_neither_allowed_nor_denied() {
    let policy = POLICY.replace("base_path: /crm", "base_path: /crm\nmode: observe");
    for (expected, code) in
        [("allow", 1), ("deny", 1), ("{deny: subject}", 1), ("{would: subject}", 0), ("{would: scope}", 1)]
    {
        let tests = format!("{PERSONAS}  - {{name: t, as: alice, request: GET {FOREIGN}, expect: {expected}}}\n");
        let directory = directory(&[("policies/crm.yaml", &policy), ("policies/crm.test.yaml", &tests)]);
        let found = said(&torwart(directory.path(), &[]));
        assert_eq!(found.0, code, "{expected}: {found:?}");
    }
}

#[test]
fn what_cannot_be_read_is_exit_code_2() {
    for (test, says) in [
        ("{name: t, as: alcie, request: GET https://a/, expect: allow}", "there is no persona `alcie`"),
        (
            "{name: t, as: {sub: x, issuer: other}, request: GET https://a/, expect: allow}",
            "there is no issuer `other`",
        ),
        ("{name: t, request: GET https://a b/, expect: allow}", "the host is not a name"),
        ("{name: t, request: {url: \"https://a/\", time: noon}, expect: allow}", "`noon` is not a moment"),
        (
            "{name: t, request: {url: \"https://a/\", headers: {\"a b\": c}}, expect: allow}",
            "`a b` is not a header name",
        ),
        ("{name: t, request: GET https://a/, expect: {deny: mood}}", "unknown value `mood`"),
    ] {
        let (code, stdout, stderr) = outcome(test);
        assert_eq!((code, stdout.as_str()), (2, ""), "{stderr}");
        assert!(stderr.contains(says) && stderr.contains("crm.test.yaml:6:"), "{stderr}");
    }
    let (code, _, stderr) = outcome("{name: t, request: GET https://a/, expect: allow}\n  - 5");
    assert_eq!(code, 2, "{stderr}");
    let empty = directory(&[]);
    assert_eq!(said(&torwart(empty.path(), &[])).0, 2);
    assert_eq!(said(&torwart(empty.path(), &["nowhere"])).0, 2);
    let untested = directory(&[("policies/crm.yaml", POLICY)]);
    let (code, _, stderr) = said(&torwart(untested.path(), &[]));
    assert_eq!((code, stderr.contains("there is no such test")), (2, true), "{stderr}");
}

#[test]
fn files_directories_and_names_can_be_chosen() {
    let test =
        |name: &str, expect: &str| format!("  - {{name: {name}, as: alice, request: GET {OWN}, expect: {expect}}}\n");
    let first = format!("{PERSONAS}{}", test("good one", "allow"));
    let second = format!("version: 1\ntests:\n{}", test("bad one", "deny"));
    let files = [("acl/crm.yaml", POLICY), ("acl/a.test.yaml", &*first), ("acl/sub/b.test.yaml", &second)];
    let directory = directory(&files);
    let run = |arguments: &[&str]| {
        let (code, stdout, _) = said(&torwart(directory.path(), arguments));
        (code, stdout.lines().last().unwrap_or_default().to_owned())
    };
    let result = |code, text: &str| (code, text.to_owned());
    assert_eq!(run(&["acl"]), result(1, "1 passed, 1 failed"));
    assert_eq!(run(&["acl", "--filter", "good"]), result(0, "1 passed, 0 failed"));
    assert_eq!(run(&["acl", "--filter", "fine"]), result(2, ""));
    assert_eq!(run(&["acl/a.test.yaml"]), result(0, "1 passed, 0 failed"));
    fs::write(
        directory.path().join("torwart.yaml"),
        "version: 1\nlisteners: [{address: \"127.0.0.1:8080\"}]\npolicies: acl\nissuers: [{name: shoen, issuer: \"https://i.example.com\", audiences: [a]}]\nupstreams: {crm: {endpoints: [\"http://127.0.0.1:1\"]}}\n",
    )
    .unwrap();
    assert_eq!(run(&[]), result(1, "1 passed, 1 failed"));
    // The file lies below the configuration's policies, so all of them and all personas are there.
    assert_eq!(run(&["acl/sub/b.test.yaml"]), result(1, "0 passed, 1 failed"));
}

#[test]
fn json_and_junit_tell_the_same_as_the_text() {
    let tests = format!(
        "{PERSONAS}  - {{name: hers, as: alice, request: GET {OWN}, expect: allow}}\n  - {{name: \"<&\\\"'> \\u0007\", as: alice, request: GET {FOREIGN}, expect: allow}}\n"
    );
    let directory = directory(&[("policies/crm.yaml", POLICY), ("policies/crm.test.yaml", &tests)]);
    let (code, stdout, _) = said(&torwart(directory.path(), &["--format", "json"]));
    let json: Value = serde_json::from_str(&stdout).unwrap();
    assert_eq!((code, &json["passed"], &json["failed"]), (1, &1.into(), &1.into()));
    let failed = &json["tests"][1];
    assert_eq!((&failed["line"], &failed["passed"], &failed["reason"]), (&7.into(), &false.into(), &"subject".into()));
    assert_eq!((&failed["status"], &failed["route"]), (&403.into(), &"GET /customers/{customer}/contracts".into()));
    assert!(failed["explanation"].as_array().unwrap().len() > 3);

    let (code, stdout, _) = said(&torwart(directory.path(), &["--format", "junit"]));
    assert_eq!(code, 1);
    assert!(stdout.contains("<testsuites name=\"torwart\" tests=\"2\" failures=\"1\" errors=\"0\">"), "{stdout}");
    assert!(stdout.contains("classname=\"policies/crm.test.yaml\" file=\"policies/crm.test.yaml\" line=\"6\"/>"));
    let name = "name=\"&lt;&amp;&quot;'&gt; \u{fffd}\"";
    assert!(stdout.contains(name), "{stdout}");
    assert!(!stdout.chars().any(|c| c.is_control() && c != '\n'), "{stdout:?}");
    well_formed(&stdout);
}

/// Python's parser reads the report, where there is one; elements are balanced in any case.
fn well_formed(xml: &str) {
    for element in ["testsuites", "testsuite", "failure"] {
        let open = xml.matches(&format!("<{element} ")).count();
        assert_eq!(open, xml.matches(&format!("</{element}>")).count(), "{element}");
    }
    let file = tempfile::NamedTempFile::new().unwrap();
    fs::write(file.path(), xml).unwrap();
    let script = "import sys, xml.etree.ElementTree as t; r = t.parse(sys.argv[1]).getroot(); print(r.tag, len(list(r.iter('testcase'))), len(list(r.iter('failure'))))";
    if let Ok(output) = Command::new("python3").args(["-c", script]).arg(file.path()).output() {
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        assert_eq!(text.trim(), "testsuites 2 1", "{}", String::from_utf8_lossy(&output.stderr));
    }
}

#[test]
fn coverage_names_what_no_test_decides() {
    let tests = format!(
        "{PERSONAS}  - {{name: hers, as: alice, request: GET {OWN}, expect: allow}}\n  - {{name: not hers, as: alice, request: GET {FOREIGN}, expect: deny}}\n"
    );
    let directory = directory(&[("policies/crm.yaml", POLICY), ("policies/crm.test.yaml", &tests)]);
    let (code, stdout, _) = said(&torwart(directory.path(), &["--coverage"]));
    assert_eq!(code, 0, "coverage alone is no failure");
    let expected = "\
2 passed, 0 failed
policies/crm.yaml:8:11: no test is refused because of scope: crm
policies/crm.yaml:10:11: no test is refused because of the type of `customer`
policies/crm.yaml:15:26: no test reaches route `status`
coverage: 4 of 7 (57.1 %)
";
    assert_eq!(stdout, expected);
    let (_, stdout, _) = said(&torwart(directory.path(), &["--coverage", "--format", "json"]));
    let json: Value = serde_json::from_str(&stdout).unwrap();
    assert_eq!((&json["coverage"]["seen"], &json["coverage"]["points"]), (&4.into(), &7.into()));
    let list = json["coverage"]["list"].as_array().unwrap();
    assert_eq!(list.len(), 7);
    assert_eq!((&list[0]["what"], &list[0]["line"]), (&"scope: crm".into(), &8.into()));
}

#[test]
fn mutants_that_no_test_notices_are_listed_and_fail() {
    let tests = format!("{PERSONAS}  - {{name: hers, as: alice, request: GET {OWN}, expect: allow}}\n");
    let files = [("policies/crm.yaml", POLICY), ("policies/crm.test.yaml", &*tests)];
    let directory = directory(&files);
    let (code, stdout, _) = said(&torwart(directory.path(), &["--mutate"]));
    assert_eq!(code, 1);
    for line in [
        "policies/crm.yaml:8:11: survived: drop condition: no `scope`",
        "policies/crm.yaml:13:15: survived: drop condition: no `subject`",
        "policies/crm.yaml:12:14: survived: widen type: `customer` of any form",
        "policies/crm.yaml:14:45: survived: drop effect: `X-Customer` is not set",
        "policies/crm.yaml:11:15: killed: drop method: no GET",
    ] {
        assert!(stdout.lines().any(|found| found == line), "{line}\n{stdout}");
    }
    let failing = format!("{tests}  - {{name: wrong, as: alice, request: GET {OWN}, expect: deny}}\n");
    fs::write(directory.path().join("policies/crm.test.yaml"), failing).unwrap();
    let (code, stdout, _) = said(&torwart(directory.path(), &["--mutate"]));
    assert_eq!(code, 1);
    assert!(!stdout.contains("mutants"), "nothing is mutated while tests fail: {stdout}");
}

/// The example policies of the repository, with their tests.
fn shipped() -> Loaded {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("policies");
    Loaded::directory(&directory).unwrap_or_else(|problems| panic!("{}", problems.render())).0
}

fn survivors(suite: &Suite, loaded: &Loaded) -> Vec<String> {
    let mutation = Mutation::of(suite, loaded);
    let survived = mutation.mutants.iter().filter(|tried| tried.fate == Fate::Survived);
    let described = survived.map(|Tried { mutant, .. }| {
        let file = mutant.place.path().file_name().unwrap().to_string_lossy();
        let (line, _) = mutant.place.line_column();
        format!("{file}:{line} {}: {}", mutant.operator.as_str(), mutant.change)
    });
    described.collect()
}

#[test]
fn the_shipped_policies_are_tested_to_the_last_condition_and_no_mutant_survives() {
    let loaded = shipped();
    let suite = Suite::read(&loaded).unwrap();
    let examined = suite.examine(&loaded, Questions { coverage: true, mutants: true });
    assert_eq!(examined.report.failures(), 0, "{}", examined.report.to_text(None));
    let coverage = examined.coverage.as_ref().unwrap();
    assert_eq!(coverage.unseen().count(), 0, "{}", coverage.to_text(None));
    assert!(coverage.count().0 > 80, "{:?}", coverage.count());
    assert_eq!(survivors(&suite, &loaded), Vec::<String>::new());
    let mutation = examined.mutation.as_ref().unwrap();
    assert!(mutation.count(Fate::Killed) >= 100, "{}", mutation.to_text(None));
    assert!(examined.is_good());
}

#[test]
fn without_a_test_that_matters_a_mutant_survives() {
    let loaded = shipped();
    for (name, mutant) in [
        ("another program does not", "kusy-customers.yaml:33 bypass: `client_credentials: bypass`"),
        ("a login of an hour ago is not enough", "kusy-customers.yaml:47 drop condition: no `authentication`"),
        ("but not to another", "organizations.yaml:39 drop word: organization without `{query.to}`"),
        ("a person is named by a number", "organizations.yaml:35 widen type: `person` of any form"),
        ("but not from outside", "ameise.yaml:50 widen network: any address"),
    ] {
        let mut suite = Suite::read(&loaded).unwrap();
        let before = suite.cases.len();
        suite.cases.retain(|case| case.name != name);
        assert!(suite.cases.len() < before, "there is a test `{name}`");
        let survivors = survivors(&suite, &loaded);
        assert!(survivors.iter().any(|survivor| survivor == mutant), "without `{name}`: {survivors:?}");
    }
}

/// Policies and tests from texts, with issuers and upstreams as in dev mode.
fn texts(policy: &str, tests: &str) -> Loaded {
    let source = |name: &str, text: &str| Arc::new(Source { path: name.into(), text: text.to_owned() });
    let (documents, tests) = ([source("a.yaml", policy)], [source("a.test.yaml", tests)]);
    let config = sketched(Config::empty("torwart.yaml".into()), &documents, &tests);
    Loaded::of(config, &documents, &tests).unwrap_or_else(|problems| panic!("{}", problems.render())).0
}

const LANGUAGE: &str = r#"
version: 1
policy: a
hosts: [a.example.com]
upstream: a
issuers: [kusy]
client_credentials: {bypass: [batch], lift: [subject, permission]}
routes:
  - path: /{owner}
    methods: [GET]
    require:
      scope: read
      any_of: [{subject: "{owner}"}, {claim: {role: {equals: admin}}, network: [10.0.0.0/8]}]
      not: {client: evil}
  - {path: /all, methods: [GET], require: authenticated}
  - {path: /list, methods: [GET], require: {scope: lists}, narrow: {query.client: client}}
"#;

/// A test of the policy above whose result does not matter.
fn attempt(who: &str, path: &str, extra: &str) -> String {
    format!(
        "  - {{name: t, as: {{issuer: kusy, {who}}}, request: {{url: \"https://a.example.com{path}\"{extra}}}, expect: deny}}\n"
    )
}

/// What these tests leave unseen of the policy above.
fn unseen(attempts: &[String]) -> Vec<String> {
    let tests = if attempts.is_empty() { "[]".to_owned() } else { format!("\n{}", attempts.concat()) };
    let loaded = texts(LANGUAGE, &format!("version: 1\ntests: {tests}"));
    let coverage = Coverage::of(&Suite::read(&loaded).unwrap(), &loaded);
    let side = |side| match side {
        Side::Reached => "reached",
        Side::Allowed => "allowed",
        Side::Refused => "refused",
    };
    coverage.unseen().map(|point| format!("{} {}", side(point.side), point.what)).collect()
}

/// What one test sees of the policy above.
fn seen(attempt: String) -> Vec<String> {
    let left = unseen(&[attempt]);
    let mut seen = unseen(&[]);
    seen.retain(|point| !left.contains(point));
    seen.sort();
    seen
}

#[test]
fn there_is_something_to_see_of_every_part_of_a_policy() {
    let everything = unseen(&[]);
    for point in [
        "reached route `GET /{owner}`",
        "allowed scope: read",
        "refused any_of",
        "allowed subject: {owner}",
        "allowed the bypass of `subject: {owner}`",
        "allowed all_of 2",
        "refused claim role: {equals: \"admin\"}",
        "refused network: 10.0.0.0/8",
        "allowed not",
        "refused client: evil",
        "allowed authenticated",
        "refused authenticated",
        "refused narrow query.client: client",
    ] {
        assert!(everything.iter().any(|found| found == point), "{point}: {everything:#?}");
    }
}

#[test]
fn a_condition_is_seen_where_a_decision_turns_on_it() {
    let route = "reached route `GET /{owner}`";
    let owner = seen(attempt("sub: me, client_id: app, scope: read", "/me", ""));
    let allowed =
        ["any_of", "client: evil", "not", "scope: read", "subject: {owner}"].map(|what| format!("allowed {what}"));
    assert_eq!(owner, [&allowed[..], &[route.to_owned()]].concat());
    // Both alternatives hold: neither is what lets her in.
    let both = seen(attempt("sub: me, client_id: app, scope: read, role: admin", "/me", ", address: 10.0.0.1"));
    assert!(!both.iter().any(|point| point.contains("subject") || point.contains("all_of")), "{both:?}");
    // Of an alternative with two parts the one that fails is what is in the way.
    let outside = seen(attempt("sub: x, client_id: app, scope: read, role: admin", "/me", ", address: 192.0.2.1"));
    let refused = ["refused all_of 2", "refused any_of", "refused network: 10.0.0.0/8", "refused subject: {owner}"];
    assert_eq!(outside, [&[route][..], &refused].concat());
    let evil = seen(attempt("sub: me, client_id: evil, scope: read", "/me", ""));
    assert_eq!(evil, [route, "refused client: evil", "refused not"]);
    // Two conditions fail together: the one that the refusal names counts.
    let nothing = seen(attempt("sub: x, client_id: app", "/me", ""));
    assert_eq!(nothing, [route, "refused scope: read"]);
}

#[test]
fn a_bypass_is_seen_where_it_lets_somebody_in() {
    let program = seen(attempt("sub: batch, client_id: batch, scope: read", "/me", ""));
    assert!(program.iter().any(|point| point == "allowed the bypass of `subject: {owner}`"), "{program:?}");
    assert!(!program.iter().any(|point| point == "allowed subject: {owner}"), "{program:?}");
}

#[test]
fn a_token_is_seen_to_be_needed_where_there_is_none() {
    let stranger = "  - {name: t, request: GET https://a.example.com/all, expect: deny}\n".to_owned();
    assert_eq!(seen(stranger), ["reached route `GET /all`", "refused authenticated"]);
    let anybody = seen(attempt("sub: x, client_id: app", "/all", ""));
    assert_eq!(anybody, ["allowed authenticated", "reached route `GET /all`"]);
}

/// A policy with something for every operator.
const EVERYTHING: &str = r#"
version: 1
policy: a
hosts: [a.example.com, b.example.com]
upstream: a
issuers: [shoen]
require: {scope: {all_of: [all, other]}}
routes:
  - path: /{owner}
    methods: [GET, POST]
    params: {owner: alnum}
    client_credentials: {bypass: [batch, night], lift: [subject, permission]}
    require:
      subject: ["{owner}", root]
      permission: {any_of: [p, q]}
      all_of: [{claim: {x: {contains: {all_of: [1, 2]}}}}, {network: [10.0.0.0/8]}]
      not: {client: evil}
    forward: {add_prefix: /v1, headers: {X-A: b}}
  - {path: /list, methods: [GET], require: {scope: read}, narrow: {query.client: client}}
  - {path: /mine, methods: "*", client_credentials: deny, require: authenticated}
  - {path: /open, methods: [GET], require: public}
  - {path: /inside, methods: [GET], require: {token: none, network: [10.0.0.0/8]}}
"#;

/// Some mutants of it, each with its line.
const MUTANTS: [&str; 36] = [
    "4 drop host: hosts without `b.example.com`",
    "6 issuers: tokens of every issuer",
    "7 drop condition: no `scope`",
    "7 all_of to any_of: `any_of` of scope",
    "7 drop word: scope without `other`",
    "10 drop method: no POST",
    "11 widen type: `owner` of any form",
    "12 bypass: `client_credentials: bypass`",
    "12 enforce: `client_credentials: enforce`",
    "12 drop value: bypass without `night`",
    "12 drop lift: lift without `permission`",
    "12 drop lift: no `lift`",
    "14 drop condition: no `subject`",
    "14 drop value: subject without `root`",
    "15 any_of to all_of: `all_of` of permission",
    "15 drop word: permission without `q`",
    "16 drop condition: no `all_of`",
    "16 drop condition: all_of without `{\"network\":[\"10.0.0.0/8\"]}`",
    "16 all_of to any_of: `any_of`",
    "16 all_of to any_of: `any_of` of claim",
    "16 drop word: claim without `2`",
    "16 widen network: any address",
    "17 drop condition: no `not`",
    "17 drop not: `{\"client\":\"evil\"}`",
    "18 drop effect: no `add_prefix`",
    "18 drop effect: `X-A` is not set",
    "9 swap requirements:",
    "19 drop narrow: no `narrow`",
    "19 drop condition: no `scope`",
    "20 drop method: only GET",
    "20 enforce: `client_credentials: enforce`",
    "20 token: asks for no token",
    "21 token: asks for a token",
    "21 observe: `mode: observe`",
    "22 token: asks for a token",
    "22 drop condition: no `network`",
];

#[test]
fn every_operator_changes_what_it_says() {
    let loaded = texts(EVERYTHING, "version: 1\npersonas: {a: {issuer: kusy, sub: x, client_id: y}}\n");
    let suite = Suite::read(&loaded).unwrap();
    let mutation = Mutation::of(&suite, &loaded);
    let made: Vec<String> = mutation
        .mutants
        .iter()
        .map(|Tried { mutant, .. }| {
            format!("{} {}: {}", mutant.place.line_column().0, mutant.operator.as_str(), mutant.change)
        })
        .collect();
    for mutant in MUTANTS {
        let is_there = made
            .iter()
            .any(|found| found == mutant || mutant.ends_with(':') && found.contains(mutant.split_once(' ').unwrap().1));
        assert!(is_there, "{mutant}: {made:#?}");
    }
    let equivalent: Vec<_> = mutation.mutants.iter().filter(|tried| tried.fate == Fate::Equivalent).collect();
    assert!(
        equivalent
            .iter()
            .all(|Tried { mutant, .. }| mutant.operator == Operator::Bypass || mutant.operator == Operator::Enforce),
        "{equivalent:?}"
    );
    let untested = mutation.mutants.iter().filter(|tried| tried.fate == Fate::Survived).count();
    assert_eq!(untested + equivalent.len(), mutation.mutants.len(), "nothing kills where nothing is tested");
}

#[test]
fn a_missing_test_that_is_shown_notices_its_mutant() {
    let personas = "version: 1\npersonas: {a: {issuer: kusy, sub: x, client_id: y}}\n";
    let loaded = texts(LANGUAGE, personas);
    let mutation = Mutation::of(&Suite::read(&loaded).unwrap(), &loaded);
    let missing: Vec<_> = mutation.mutants.iter().filter_map(|tried| tried.missing.as_deref()).collect();
    let survived = mutation.count(Fate::Survived);
    assert!(missing.len() > 20 && missing.len() * 10 > survived * 9, "{} of {survived}", missing.len());
    let loaded = texts(LANGUAGE, &format!("{personas}tests:\n{}\n", missing.join("\n")));
    let suite = Suite::read(&loaded).unwrap();
    assert_eq!(suite.run(&loaded).failures(), 0, "{}", suite.run(&loaded).to_text(None));
    let again = Mutation::of(&suite, &loaded);
    assert!(again.count(Fate::Survived) <= survived - missing.len(), "{}", again.to_text(None));
}

#[test]
fn what_the_document_asks_for_anyway_is_no_survivor() {
    let policy = "version: 1\npolicy: a\nhosts: [a.example.com]\nupstream: a\nissuers: [kusy]\nrequire: {scope: all}\nroutes:\n  - {path: /, methods: [GET], require: {scope: {all_of: [all, read]}}}\n";
    let loaded = texts(policy, "version: 1\ntests: []\n");
    let mutation = Mutation::of(&Suite::read(&loaded).unwrap(), &loaded);
    let fate = |change: &str| mutation.mutants.iter().find(|tried| tried.mutant.change == change).unwrap().fate;
    assert_eq!(fate("scope without `all`"), Fate::Equivalent);
    assert_eq!(fate("scope without `read`"), Fate::Survived);
}

#[test]
fn hundreds_of_mutants_against_many_tests_take_seconds() {
    use std::fmt::Write as _;
    let (mut policy, mut tests) = (
        "version: 1\npolicy: a\nhosts: [a.example.com]\nupstream: a\nissuers: [kusy]\nroutes:\n".to_owned(),
        "version: 1\ntests:\n".to_owned(),
    );
    for number in 0..8 {
        let _ = writeln!(
            policy,
            "  - {{path: \"/r{number}/{{owner}}\", methods: [GET, POST], params: {{owner: alnum}}, require: {{scope: {{all_of: [a, b, c{number}]}}, subject: \"{{owner}}\", any_of: [{{client: c}}, {{client: d}}], not: {{client: evil}}}}}}"
        );
        for (owner, expect) in [("me", "allow"), ("you", "deny")] {
            let _ = writeln!(
                tests,
                "  - {{name: t, as: {{issuer: kusy, sub: me, client_id: c, scope: \"a b c{number}\"}}, request: GET https://a.example.com/r{number}/{owner}, expect: {expect}}}"
            );
        }
    }
    let loaded = texts(&policy, &tests);
    let suite = Suite::read(&loaded).unwrap();
    let began = Instant::now();
    let mutation = Mutation::of(&suite, &loaded);
    assert!(mutation.mutants.len() > 120, "{}", mutation.mutants.len());
    assert!(mutation.count(Fate::Killed) > 40, "{}", mutation.count(Fate::Killed));
    assert!(began.elapsed() < Duration::from_mins(1), "{:?}", began.elapsed());
}

/// The guide does what it says: its files are written, its commands run, its output compared.
#[test]
fn the_guide_to_testing_is_true() {
    let guide = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/testing.md")).unwrap();
    let directory = tempfile::tempdir().unwrap();
    let mut shown = Vec::new();
    for block in guide.split("\n```").skip(1).step_by(2) {
        let (language, text) = block.split_once('\n').unwrap();
        match (language, text.lines().next().unwrap().strip_prefix("# ")) {
            ("yaml", Some(name)) => {
                let path = directory.path().join(name);
                fs::create_dir_all(path.parent().unwrap()).unwrap();
                fs::write(path, format!("{text}\n")).unwrap();
            }
            ("yaml", None) => {
                let tests = directory.path().join("more.yaml");
                fs::write(tests, text).unwrap();
            }
            ("text", _) => shown.push(format!("{text}\n")),
            _ => {}
        }
    }
    let run = |arguments: &[&str]| said(&torwart(directory.path(), arguments)).1;
    assert_eq!([run(&[]), run(&["--coverage"]), run(&["--mutate"])], shown[..]);
    let more = fs::read_to_string(directory.path().join("more.yaml")).unwrap();
    let file = directory.path().join("policies/notes.test.yaml");
    fs::write(&file, fs::read_to_string(&file).unwrap() + &more).unwrap();
    assert_eq!(run(&[]), "4 passed, 0 failed\n");
}

#[test]
fn a_bound_token_needs_the_certificate_that_it_names() {
    let digest = "A".repeat(43);
    for (thumbprint, expected) in [("A", "allow"), ("B", "{deny: token}"), ("", "{deny: token}")] {
        let certificate = match thumbprint {
            "" => String::new(),
            letter => format!(", certificate: {{dns: [a], thumbprint: {}A}}", letter.repeat(42)),
        };
        let who = format!(
            "{{issuer: shoen, sub: 5f8c1a52-9d1e-4e0b-8a77-0c6f1be0a111, client_id: app, scope: crm, cnf: {{\"x5t#S256\": {digest}}}}}"
        );
        let test = format!("{{name: t, as: {who}, request: {{url: \"{OWN}\"{certificate}}}, expect: {expected}}}");
        assert_eq!(outcome(&test), (0, "1 passed, 0 failed\n".to_owned(), String::new()), "{test}");
    }
    let (code, _, stderr) =
        outcome("{name: t, request: {url: \"https://a/\", certificate: {thumbprint: short}}, expect: deny}");
    assert!(code == 2 && stderr.contains("`short` is not a thumbprint"), "{stderr}");
}

const BODIES: &str = r#"
version: 1
policy: a
hosts: [a.example.com]
upstream: a
issuers: [kusy]
routes:
  - name: batch
    path: /batch
    methods: [POST]
    params: {body./id: int}
    require: {client: app, subject: "{body./owner}", request: {body./kind: [a, b]}}
"#;

#[test]
fn bodies_are_read_for_tests_as_the_gateway_reads_them() {
    let case = |who: &str, body: &str, kind: &str, expect: &str| {
        format!(
            "  - {{name: t, as: {{issuer: kusy, sub: me, client_id: {who}}}, request: {{method: POST, url: \"https://a.example.com/batch\", headers: {{Content-Type: {kind}}}, body: '{body}'}}, expect: {expect}}}\n"
        )
    };
    let (good, json) = (r#"{"owner":"me","kind":"a","id":1}"#, "application/json");
    let tests = [
        case("app", good, json, "allow"),
        case("app", r#"{"owner":"me","kind":"b","id":1}"#, json, "allow"),
        case("app", r#"{"owner":"you","kind":"a","id":1}"#, json, "{deny: subject}"),
        case("app", r#"{"owner":"me","kind":"c","id":1}"#, json, "{deny: request}"),
        case("app", r#"{"owner":"me","kind":"a","id":"x"}"#, json, "{deny: value-type}"),
        case("other", good, json, "{deny: client}"),
        case("app", r#"{"owner":"me","owner":"you"}"#, json, "{deny: body}"),
        case("app", good, "text/csv", "{status: 415}"),
        case("app", &format!(r#"{{"owner":"me","x":"{}"}}"#, "a".repeat(2 << 20)), json, "{deny: body-too-large}"),
    ];
    let loaded = texts(BODIES, &format!("version: 1\ntests:\n{}", tests.concat()));
    let mut suite = Suite::read(&loaded).unwrap();
    let examined = suite.examine(&loaded, Questions { coverage: true, mutants: true });
    assert_eq!(examined.report.failures(), 0, "{}", examined.report.to_text(None));
    let coverage = examined.coverage.as_ref().unwrap();
    assert_eq!(coverage.unseen().count(), 0, "{}", coverage.to_text(None));
    let survivors = |suite: &Suite| -> Vec<String> {
        let mutation = Mutation::of(suite, &loaded);
        let survived = mutation.mutants.iter().filter(|tried| tried.fate == Fate::Survived);
        survived.map(|tried| tried.mutant.change.clone()).collect()
    };
    assert_eq!(survivors(&suite), ["`client_credentials: bypass`"]);
    suite.cases.remove(2);
    assert_eq!(survivors(&suite), ["`client_credentials: bypass`", "no `subject`"]);
}
