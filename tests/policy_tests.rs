//! `torwart test` from outside: expectations, reports, coverage and mutants, as somebody who writes policies uses them.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;
use tempfile::TempDir;

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
    command.current_dir(directory).arg("test").args(arguments).env_remove("TORWART_CONFIG");
    command.output().unwrap()
}

/// Exit code, stdout and stderr.
fn said(output: &Output) -> (i32, String, String) {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    (output.status.code().unwrap(), text(&output.stdout), text(&output.stderr))
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
