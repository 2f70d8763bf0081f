//! The shipped program from outside: exit codes, what goes to stdout and what to stderr (cli.md).

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

#[path = "support/program.rs"]
mod program;

use std::fs;

use serde_json::Value;

use program::{code, command, directory, stderr, stdout, torwart};

const CONFIGURATION: &str = r#"
version: 1
listeners: [{address: "127.0.0.1:8080"}]
issuers:
  - {name: shoen, preset: kusy, issuer: "https://auth.example.com", audiences: [https://api.example.com]}
upstreams:
  crm: {endpoints: ["http://127.0.0.1:9000"]}
"#;

const POLICY: &str = r"
version: 1
policy: crm
hosts: [api.example.com]
upstream: crm
routes:
  - {path: /contracts, methods: [GET], require: {scope: contracts:read}}
";

#[test]
fn a_valid_configuration_is_exit_0() {
    let directory = directory(&[("torwart.yaml", CONFIGURATION), ("policies/crm.yaml", POLICY)]);
    let output = torwart(directory.path(), &["check"]);
    assert_eq!(code(&output), 0, "{}{}", stdout(&output), stderr(&output));
    assert_eq!(stdout(&output), "valid: 1 policy, 1 route, 1 issuer, 1 upstream; 0 errors, 0 warnings\n");
    assert_eq!(stderr(&output), "");
}

#[test]
fn an_invalid_configuration_is_exit_1_with_every_finding_on_stdout() {
    let broken = CONFIGURATION.replace("kusy", "kusi");
    let wrong = POLICY.replace("scope:", "scpoe:");
    let directory = directory(&[("torwart.yaml", &broken), ("policies/crm.yaml", &wrong)]);
    let output = torwart(directory.path(), &["check"]);
    assert_eq!(code(&output), 1);
    let text = stdout(&output);
    assert!(text.contains("torwart.yaml:5:27: error: unknown value `kusi`"), "{text}");
    assert!(text.contains("= help: did you mean `kusy`?"), "{text}");
    assert!(text.contains("policies/crm.yaml:7:50: error: unknown key `scpoe`"), "{text}");
    assert!(text.ends_with("not valid; 2 errors, 0 warnings\n"), "{text}");
    assert!(!text.contains('\u{1b}'), "no colour where stdout is no terminal");
    assert_eq!(stderr(&output), "");
}

#[test]
fn a_policy_of_a_broken_configuration_is_not_blamed_for_names_that_it_lacks() {
    let broken = CONFIGURATION.replace("crm:", "crn:").replace("version: 1", "version: one");
    let directory = directory(&[("torwart.yaml", &broken), ("policies/crm.yaml", POLICY)]);
    let output = torwart(directory.path(), &["check"]);
    assert_eq!(code(&output), 1);
    assert!(stdout(&output).ends_with("not valid; 1 error, 0 warnings\n"), "{}", stdout(&output));
}

#[test]
fn json_has_everything_that_text_has() {
    let broken = CONFIGURATION.replace("upstreams:", "upstrems:");
    let directory = directory(&[("torwart.yaml", &broken), ("policies/crm.yaml", POLICY)]);
    let output = torwart(directory.path(), &["check", "--format", "json"]);
    assert_eq!(code(&output), 1);
    let result: Value = serde_json::from_str(&stdout(&output)).unwrap();
    assert_eq!(result["valid"], false);
    assert_eq!(result["errors"], 1);
    let finding = &result["diagnostics"][0];
    assert_eq!(finding["path"], "torwart.yaml");
    assert_eq!((&finding["line"], &finding["column"]), (&Value::from(6), &Value::from(1)));
    assert_eq!(finding["severity"], "error");
    assert_eq!(finding["message"], "unknown key `upstrems`");
    assert_eq!(finding["help"], "did you mean `upstreams`?");
}

#[test]
fn without_a_configuration_file_the_policies_are_checked_as_in_dev_mode() {
    let with_policies = directory(&[("policies/crm.yaml", POLICY)]);
    for policy in [POLICY.to_owned(), POLICY.replace("upstream: crm", "upstream: crm\nissuers: [kusy]")] {
        fs::write(with_policies.path().join("policies/crm.yaml"), policy).unwrap();
        let output = torwart(with_policies.path(), &["check"]);
        assert_eq!(code(&output), 0, "{}", stdout(&output));
        assert!(stdout(&output).starts_with("valid: 1 policy, 1 route"), "{}", stdout(&output));
        assert!(stderr(&output).contains("as in dev mode"), "{}", stderr(&output));
    }
    let empty = directory(&[]);
    assert_eq!(code(&torwart(empty.path(), &["check"])), 2);
}

#[test]
fn what_cannot_be_read_is_exit_2() {
    let directory = directory(&[]);
    let output = torwart(directory.path(), &["-c", "nowhere.yaml", "check"]);
    assert_eq!(code(&output), 2);
    assert_eq!(stdout(&output), "");
    assert!(stderr(&output).contains("nowhere.yaml"));
}

#[test]
fn the_configuration_is_found_by_option_then_by_environment_then_here() {
    let other = CONFIGURATION.replace("8080", "8081");
    let directory = directory(&[
        ("torwart.yaml", "version: here\n"),
        ("environment.yaml", "version: environment\n"),
        ("option.yaml", &other),
        ("policies/crm.yaml", POLICY),
    ]);
    let here = torwart(directory.path(), &["check"]);
    assert!(stdout(&here).contains("`here`"), "{}", stdout(&here));
    let mut by_environment = command(directory.path(), &["check"]);
    let output = by_environment.env("TORWART_CONFIG", "environment.yaml").output().unwrap();
    assert!(stdout(&output).contains("`environment`"), "{}", stdout(&output));
    let mut by_option = command(directory.path(), &["check", "--config", "option.yaml"]);
    let output = by_option.env("TORWART_CONFIG", "environment.yaml").output().unwrap();
    assert_eq!(code(&output), 0, "{}", stdout(&output));
}

#[test]
fn usage_errors_are_exit_2_and_help_is_a_result() {
    let directory = directory(&[]);
    for arguments in [&["chek"][..], &["check", "--fromat", "json"], &["schema", "policies"], &["completions"]] {
        let output = torwart(directory.path(), arguments);
        assert_eq!(code(&output), 2, "{arguments:?}");
        assert_eq!(stdout(&output), "", "{arguments:?}");
        assert!(stderr(&output).contains("error:"), "{arguments:?}");
    }
    for arguments in [&["--help"][..], &["-h"], &["--version"], &["check", "--help"], &["version"]] {
        let output = torwart(directory.path(), arguments);
        assert_eq!(code(&output), 0, "{arguments:?}");
        assert_eq!(stderr(&output), "", "{arguments:?}");
        assert!(!stdout(&output).is_empty(), "{arguments:?}");
    }
}

#[test]
fn run_without_a_usable_configuration_is_exit_78() {
    let empty = directory(&[]);
    assert_eq!(code(&torwart(empty.path(), &["run"])), 78);
    let broken = directory(&[("torwart.yaml", "version: 2\n"), ("policies/crm.yaml", POLICY)]);
    let output = torwart(broken.path(), &["run"]);
    assert_eq!(code(&output), 78);
    assert_eq!(stdout(&output), "");
    assert!(stderr(&output).contains("torwart.yaml:1:10: error:"), "{}", stderr(&output));
    let dev = CONFIGURATION.replace("https://auth.example.com", "https://localhost:8443/.torwart-dev/shoen");
    let dev = directory(&[("torwart.yaml", &dev), ("policies/crm.yaml", POLICY)]);
    let output = torwart(dev.path(), &["run"]);
    assert_eq!(code(&output), 78);
    assert!(stderr(&output).contains("torwart dev"), "{}", stderr(&output));
}

#[test]
fn schemas_are_of_draft_2020_12_and_refuse_unknown_keys() {
    let directory = directory(&[]);
    for (name, definition) in [("config", "configuration"), ("policy", "policy-document"), ("test", "policy-tests")] {
        let output = torwart(directory.path(), &["schema", name]);
        assert_eq!(code(&output), 0);
        let schema: Value = serde_json::from_str(&stdout(&output)).unwrap();
        assert_eq!(schema["$schema"], "https://json-schema.org/draft/2020-12/schema");
        assert_eq!(schema["$ref"], format!("#/$defs/{definition}"));
        assert_eq!(schema["$defs"][definition]["additionalProperties"], false, "{name}");
    }
}

#[test]
fn completions_know_every_verb() {
    let directory = directory(&[]);
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let output = torwart(directory.path(), &["completions", shell]);
        assert_eq!(code(&output), 0);
        for verb in ["run", "check", "schema", "version"] {
            assert!(stdout(&output).contains(verb), "{shell} {verb}");
        }
    }
}

#[test]
fn online_names_the_issuer_and_the_upstream_that_do_not_answer() {
    // Port 1 of this machine answers nobody.
    let local = CONFIGURATION
        .replace("https://auth.example.com\"", "http://127.0.0.1:1\", environment: integration")
        .replace("127.0.0.1:9000", "127.0.0.1:1");
    let directory = directory(&[("torwart.yaml", &local), ("policies/crm.yaml", POLICY)]);
    assert_eq!(code(&torwart(directory.path(), &["check"])), 0);
    let output = torwart(directory.path(), &["check", "--online"]);
    assert_eq!(code(&output), 1);
    let text = stdout(&output);
    assert!(text.contains("error: issuer `shoen`: "), "{text}");
    assert!(
        text.contains("error: upstream `crm`, endpoint `http://127.0.0.1:1`: the upstream could not be reached: "),
        "{text}"
    );
}
