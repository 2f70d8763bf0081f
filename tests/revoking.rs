//! `torwart revoke` against a running gateway: what it prints, its exit codes, and what is left after a restart.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test that cannot go on fails, in its helpers too")]

#[path = "support/program.rs"]
mod program;

use std::io::Write as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use program::{code, command, directory, stderr, stdout, torwart};

const CONFIGURATION: &str = r#"
version: 1
listeners: [{address: "127.0.0.1:0"}]
issuers:
  - {name: shoen, issuer: "https://auth.example.com", audiences: [https://api.example.com], jwks_file: keys.json}
  - name: brokers
    issuer: "https://brokers.example.com"
    audiences: [https://api.example.com]
    jwks_file: keys.json
upstreams:
  crm: {endpoints: ["http://127.0.0.1:9000"]}
admin: {address: "unix:DIRECTORY/admin.sock"}
logging: {level: error}
state: {directory: state}
"#;

const POLICY: &str = r"
version: 1
policy: crm
hosts: [api.example.com]
upstream: crm
issuers: [shoen, brokers]
routes:
  - {path: /contracts, methods: [GET], require: authenticated}
";

/// RFC 8037 appendix A.2.
const KEYS: &str =
    r#"{"keys": [{"kty": "OKP", "crv": "Ed25519", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]}"#;

/// Header and payload of `{"iss": "https://auth.example.com", "exp": 4102444800}`, signed by nobody.
const TOKEN: &str = "eyJhbGciOiJFZERTQSJ9.eyJpc3MiOiJodHRwczovL2F1dGguZXhhbXBsZS5jb20iLCJleHAiOjQxMDI0NDQ4MDB9.AAAA";

/// `torwart run`, ended by `SIGTERM` as a service manager does it.
struct Running(Child);

impl Running {
    fn start(directory: &Path) -> Self {
        let mut child = command(directory, &["run"]);
        let running = Self(child.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap());
        let begun = Instant::now();
        while code(&torwart(directory, &["health", "--live"])) != 0 {
            assert!(begun.elapsed() < Duration::from_mins(1), "it does not start");
        }
        running
    }

    fn end(mut self) {
        Command::new("kill").arg(self.0.id().to_string()).status().unwrap();
        assert!(self.0.wait().unwrap().success());
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn files() -> tempfile::TempDir {
    files_of(CONFIGURATION, POLICY)
}

fn files_of(configuration: &str, policy: &str) -> tempfile::TempDir {
    let files = directory(&[("policies/crm.yaml", policy), ("keys.json", KEYS)]);
    let configuration = configuration.replace("DIRECTORY", files.path().to_str().unwrap());
    std::fs::write(files.path().join("torwart.yaml"), configuration).unwrap();
    files
}

fn revoke(directory: &Path, arguments: &[&str]) -> (i32, String, String) {
    let output = torwart(directory, &[&["revoke"], arguments].concat());
    (code(&output), stdout(&output), stderr(&output))
}

fn listed(directory: &Path) -> Vec<Value> {
    let (code, out, err) = revoke(directory, &["--list", "--format", "json"]);
    assert_eq!((code, err.as_str()), (0, ""));
    serde_json::from_str::<Value>(&out).unwrap()["revocations"].as_array().unwrap().clone()
}

#[test]
fn revocations_are_made_listed_taken_back_and_survive_a_restart() {
    let files = files();
    let here = files.path();
    let running = Running::start(here);
    assert_eq!(revoke(here, &["--list"]), (0, String::new(), "torwart: nothing is revoked\n".to_owned()));
    let (code, out, err) = revoke(here, &["--issuer", "shoen", "--subject", "alice"]);
    assert_eq!((code, err.as_str()), (0, ""), "{out}");
    assert!(out.contains("  shoen  subject alice  since 2"), "{out}");
    let (id, _) = out.split_once(' ').unwrap();
    for arguments in [
        ["--issuer", "brokers", "--client", "shop"],
        ["--issuer", "shoen", "--jti", "t-1"],
        ["--issuer", "shoen", "--issued-before", "now"],
        ["--issuer", "shoen", "--token", TOKEN],
    ] {
        assert_eq!(revoke(here, &arguments).0, 0, "{arguments:?}");
    }
    let (_, out, _) = revoke(here, &["--issuer", "shoen", "--subject", "bob", "--expires", "2100-01-01T00:00:00Z"]);
    assert!(out.ends_with(" until 2100-01-01T00:00:00Z\n"), "{out}");
    assert_eq!(listed(here).len(), 6);

    let (code, out, _) = revoke(here, &["--remove", id]);
    assert_eq!(code, 0);
    assert!(out.starts_with(&format!("taken back: {id}  shoen  subject alice")), "{out}");
    assert_eq!(revoke(here, &["--remove", id]).0, 1, "there is none any more");
    let before = listed(here);
    assert_eq!(before.len(), 5);
    running.end();

    let _running = Running::start(here);
    assert_eq!(listed(here), before);
    assert!(before.iter().any(|one| one["kind"] == "token" && one["value"].as_str().unwrap().starts_with("sha256:")));
    assert!(!std::fs::read_to_string(here.join("state/revocations.log")).unwrap().contains(TOKEN), "only its digest");
}

#[test]
fn a_token_is_read_from_stdin_where_no_list_of_processes_shows_it() {
    let files = files();
    let _running = Running::start(files.path());
    let mut child = command(files.path(), &["revoke", "--issuer", "shoen", "--token", "-", "--format", "json"]);
    let mut child = child.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(TOKEN.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    let made: Value = serde_json::from_str(&stdout(&output)).unwrap();
    assert_eq!((&made["kind"], &made["kept"], &made["in_force"]), (&"token".into(), &true.into(), &true.into()));
    assert_eq!(made["until"], "2100-01-01T00:05:01Z", "the digest covers `exp`; five minutes for clocks that differ");
}

#[test]
fn what_cannot_be_revoked_is_exit_2_with_the_reason() {
    let files = files();
    let here = files.path();
    let (code, _, err) = revoke(here, &["--issuer", "shoen", "--subject", "alice"]);
    assert_eq!(code, 2, "nobody listens");
    assert!(err.contains("cannot connect to the admin listener"), "{err}");
    let _running = Running::start(here);
    for (arguments, reason) in [
        (
            &["--issuer", "shon", "--subject", "alice"][..],
            "there is no issuer `shon`; the configured ones are `shoen`, `brokers`",
        ),
        (&["--issuer", "shoen", "--token", "opaque"], "no `introspection`"),
        (&["--issuer", "brokers", "--token", TOKEN], "its `iss` is that of the issuer `shoen`"),
        (&["--issuer", "shoen", "--issued-before", "yesterday"], "`issued_before` is no time in RFC 3339"),
        (&["--issuer", "shoen", "--issued-before", "2100-01-01T00:00:00Z"], "lies in the future"),
        (&["--issuer", "shoen", "--subject", "a", "--expires", "2000-01-01T00:00:00Z"], "lies in the past"),
        (&["--remove", "../status"], "hexadecimal"),
        (&[], "required"),
        (&["--issuer", "shoen"], "required"),
        (&["--subject", "alice"], "--issuer"),
        (&["--issuer", "shoen", "--subject", "a", "--client", "b"], "cannot be used with"),
        (&["--issuer", "shoen", "--list"], "cannot be used with"),
    ] {
        let (code, out, err) = revoke(here, arguments);
        assert_eq!((code, out.as_str()), (2, ""), "{arguments:?}: {err}");
        assert!(err.contains(reason), "{arguments:?}: {err}");
    }
    assert!(listed(here).is_empty());
}

#[test]
fn without_a_state_directory_it_says_that_they_end_with_the_gateway() {
    let configuration = CONFIGURATION.replace("state: {directory: state}\n", "");
    let files = files_of(&configuration, POLICY);
    let _running = Running::start(files.path());
    let (code, _, err) = revoke(files.path(), &["--issuer", "shoen", "--subject", "alice"]);
    assert_eq!((code, err.as_str()), (0, "torwart: it lasts until the gateway ends: `state.directory` is not set\n"));
}

#[test]
fn a_gateway_does_not_start_without_what_was_revoked() {
    let files = files();
    std::fs::create_dir(files.path().join("state")).unwrap();
    std::fs::write(files.path().join("state/revocations.log"), "garbage\n").unwrap();
    let output = torwart(files.path(), &["run"]);
    assert_eq!(code(&output), 78);
    assert!(stderr(&output).contains("this is not a file of revocations"), "{}", stderr(&output));
}

#[test]
fn the_commands_of_the_documentation_do_what_it_says() {
    let documentation = include_str!("../docs/tokens.md").split_once("## Revocation").unwrap().1;
    let block = documentation.split("```").nth(1).unwrap().strip_prefix("sh\n").unwrap();
    let named = |text: &str| text.replace("shoen", "kusy");
    let (configuration, policy) = (named(CONFIGURATION), named(POLICY));
    let files = files_of(&configuration, &policy);
    let here = files.path();
    std::fs::write(here.join("token.txt"), TOKEN).unwrap();
    std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_torwart"), here.join("torwart")).unwrap();
    let _running = Running::start(here);
    let mut first = String::new();
    for line in block.lines() {
        let line = match line.split_once("--remove ") {
            Some((verb, _)) => format!("./{verb}--remove {}", first.split(' ').next().unwrap()),
            None => format!("./{line}"),
        };
        let output = Command::new("sh").args(["-c", &line]).current_dir(here).output().unwrap();
        assert_eq!(code(&output), 0, "{line}: {}", stderr(&output));
        if first.is_empty() {
            first = stdout(&output);
        }
    }
    assert_eq!(listed(here).len(), 3, "four are made, one is taken back");
}
