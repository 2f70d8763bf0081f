//! Dev mode as a user meets it: the program is started, what it prints is pasted into a shell, and what comes back is
//! compared with what was announced.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::string_slice,
    reason = "a test that cannot go on fails, in its helpers too"
)]

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;

const TORWART: &str = env!("CARGO_BIN_EXE_torwart");
/// RFC 7636 appendix B.
const VERIFIER: &str = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
const CHALLENGE: &str = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM";

/// A running `torwart dev` in a directory of its own.
struct Dev {
    child: Child,
    directory: PathBuf,
    printed: String,
    errors: Arc<Mutex<String>>,
    _temporary: tempfile::TempDir,
}

/// A printed command and what was announced for it.
#[derive(Debug)]
struct Pasted {
    who: String,
    expected: String,
    command: String,
}

impl Dev {
    /// With the built-in examples.
    fn start() -> Self {
        Self::with(&[], &[])
    }

    /// With these files in the directory and these arguments.
    fn with(files: &[(&str, &str)], arguments: &[&str]) -> Self {
        let temporary = tempfile::tempdir().unwrap();
        for (name, text) in files {
            let path = temporary.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        let mut child = torwart(temporary.path())
            .args(["dev", "--port", "0"])
            .args(arguments)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let errors = Arc::new(Mutex::new(String::new()));
        let (kept, stderr) = (Arc::clone(&errors), child.stderr.take().unwrap());
        let reading = thread::spawn(move || {
            for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                let mut kept = kept.lock().unwrap();
                kept.push_str(&line);
                kept.push('\n');
            }
        });
        let mut printed = String::new();
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        while !printed.ends_with("Ctrl-C ends it.\n") {
            if stdout.read_line(&mut printed).unwrap() == 0 {
                let ended = child.wait().unwrap();
                reading.join().unwrap();
                panic!("{ended}\n{printed}\n{}", errors.lock().unwrap());
            }
        }
        // Whatever a command beside it prints must not fill the pipe.
        thread::spawn(move || stdout.read_to_end(&mut Vec::new()));
        Self { child, directory: temporary.path().canonicalize().unwrap(), printed, errors, _temporary: temporary }
    }

    fn commands(&self) -> Vec<Pasted> {
        let lines: Vec<&str> = self.printed.lines().collect();
        let pairs = lines.windows(2).filter(|pair| pair[0].starts_with("# ") && pair[1].starts_with("curl "));
        let commands: Vec<Pasted> = pairs
            .map(|pair| {
                let (who, expected) = pair[0][2..].split_once(": ").unwrap();
                Pasted { who: who.to_owned(), expected: expected.to_owned(), command: pair[1].to_owned() }
            })
            .collect();
        assert!(!commands.is_empty(), "{}", self.printed);
        commands
    }

    /// The value behind a word in the table at the top.
    fn told(&self, word: &str) -> &str {
        let line = self.printed.lines().find(|line| line.trim_start().starts_with(word)).unwrap();
        line.trim_start().strip_prefix(word).unwrap().trim()
    }

    /// The provider's origin.
    fn provider(&self) -> &str {
        self.told("provider").split("/ (").next().unwrap()
    }

    /// Runs a command line where the user would.
    fn paste(&self, command: &str) -> String {
        let output = Command::new("sh").args(["-c", command]).current_dir(&self.directory).output().unwrap();
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{command}\n{errors}\n{}", self.errors.lock().unwrap());
        String::from_utf8(output.stdout).unwrap()
    }

    fn json(&self, command: &str) -> Value {
        let answer = self.paste(command);
        serde_json::from_str(&answer).unwrap_or_else(|_| panic!("{command}\n{answer}"))
    }

    fn check(&self, pasted: &Pasted) {
        let answer = self.paste(&pasted.command);
        let announced = pasted.expected.split(',').next().unwrap();
        let status = answer.split_whitespace().nth(1).unwrap();
        assert_eq!(status, announced, "{pasted:?}\n{answer}");
        if announced == "403" {
            let reason = pasted.expected.split(", ").nth(1).unwrap();
            assert!(answer.contains(reason), "the answer explains `{reason}`\n{answer}");
        }
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.directory.join(name), text).unwrap();
    }

    fn terminate(&self) {
        Command::new("kill").args(["-TERM", &self.child.id().to_string()]).status().unwrap();
    }

    fn wait_for_error(&self, text: &str) {
        until(|| self.errors.lock().unwrap().contains(text), || self.errors.lock().unwrap().clone());
    }
}

impl Drop for Dev {
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(None)) {
            self.terminate();
            let _ = self.child.wait();
        }
    }
}

fn torwart(directory: &Path) -> Command {
    let mut command = Command::new(TORWART);
    command.current_dir(directory).env_remove("TORWART_CONFIG").stdin(Stdio::null());
    command
}

/// Asks again and again; nothing here sleeps for a fixed time and hopes.
fn until(mut holds: impl FnMut() -> bool, state: impl Fn() -> String) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !holds() {
        assert!(Instant::now() < deadline, "waited in vain:\n{}", state());
        thread::park_timeout(Duration::from_millis(20));
    }
}

#[test]
fn every_printed_command_does_what_it_says() {
    let dev = Dev::start();
    let commands = dev.commands();
    for pasted in &commands {
        dev.check(pasted);
    }
    let announced = |word: &str| commands.iter().any(|pasted| pasted.expected.starts_with(word));
    assert!(announced("200") && announced("403, ") && announced("401, "), "{}", dev.printed);
    assert_eq!(commands.last().unwrap().who, "nobody");
}

#[test]
fn there_is_a_command_for_every_persona_of_the_three_families() {
    let dev = Dev::start();
    let commands = dev.commands();
    let examples = dev.directory.join("certs/dev-examples");
    let mut personas = 0;
    for file in fs::read_dir(&examples).unwrap().map(|entry| entry.unwrap().path()) {
        let text = fs::read_to_string(&file).unwrap();
        for line in
            text.lines().filter(|line| line.starts_with("  ") && !line.starts_with("   ") && line.contains("issuer:"))
        {
            let name = line.trim().split(':').next().unwrap();
            assert!(commands.iter().any(|pasted| pasted.who == name), "{name}\n{}", dev.printed);
            personas += 1;
        }
    }
    assert!(personas >= 6, "{}", dev.printed);
}

#[test]
fn it_says_loudly_what_its_tokens_are_worth() {
    let dev = Dev::start();
    assert!(dev.printed.lines().next().unwrap().contains("worth nothing elsewhere"), "{}", dev.printed);
}

#[test]
fn nothing_listens_beyond_loopback() {
    let dev = Dev::start();
    let sockets = fs::read_to_string(format!("/proc/{}/net/tcp", dev.child.id())).unwrap();
    let inodes: Vec<String> = fs::read_dir(format!("/proc/{}/fd", dev.child.id()))
        .unwrap()
        .filter_map(|entry| fs::read_link(entry.ok()?.path()).ok()?.to_str().map(str::to_owned))
        .filter_map(|link| Some(link.strip_prefix("socket:[")?.trim_end_matches(']').to_owned()))
        .collect();
    let mut listening = 0;
    for fields in sockets.lines().skip(1).map(|line| line.split_whitespace().collect::<Vec<_>>()) {
        if fields[3] == "0A" && inodes.iter().any(|inode| inode == fields[9]) {
            listening += 1;
            // 127.0.0.1, in the machine's byte order.
            assert!(fields[1].starts_with("0100007F:"), "{}", fields[1]);
        }
    }
    assert!(listening >= 4, "gateway, provider, echo and admin");
}

#[test]
fn a_person_logs_in_through_the_page_and_the_token_is_accepted() {
    let dev = Dev::with(&[("policies/a.yaml", OPEN), ("policies/a.test.yaml", OPEN_TESTS)], &[]);
    let issuer = format!("{}/.torwart-dev/kusy", dev.provider());
    let discovery = dev.json(&format!("curl -sS {issuer}/.well-known/openid-configuration"));
    assert_eq!(discovery["issuer"], issuer);
    assert_eq!(discovery["torwart_dev"], true);

    let authorize = discovery["authorization_endpoint"].as_str().unwrap();
    let asked = format!(
        "response_type=code&client_id=app&redirect_uri=http%3A%2F%2Flocalhost%3A9%2Fback&scope=openid%20read&state=s\
         &code_challenge={CHALLENGE}&code_challenge_method=S256"
    );
    let page = dev.paste(&format!("curl -sS '{authorize}?{asked}'"));
    let link = page.split("href=\"").nth(1).unwrap().split('"').next().unwrap().replace("&amp;", "&");
    let answer = dev.paste(&format!("curl -sS -i '{authorize}{link}'"));
    let location = answer.lines().find_map(|line| line.strip_prefix("location: ")).unwrap();
    let code = location.split("code=").nth(1).unwrap().split('&').next().unwrap();

    let token = discovery["token_endpoint"].as_str().unwrap();
    let form = "grant_type=authorization_code&client_id=app&redirect_uri=http%3A%2F%2Flocalhost%3A9%2Fback";
    let exchange = format!("curl -sS -d '{form}&code={code}&code_verifier={VERIFIER}' {token}");
    let answered = dev.json(&exchange);
    assert_eq!(dev.json(&exchange)["error"], "invalid_grant", "a code works once");

    let bearer = answered["access_token"].as_str().unwrap();
    let gateway = dev.told("gateway");
    let curl = "curl -sS --cacert certs/dev-ca.pem";
    let echoed = dev.json(&format!("{curl} -H 'Authorization: Bearer {bearer}' {gateway}/read"));
    assert_eq!(echoed["headers"]["x-auth-subject"], "a-1");
    assert!(echoed["headers"].get("authorization").is_none());

    // The ID token of the same answer is no access token.
    let identity = answered["id_token"].as_str().unwrap();
    let refused = dev.json(&format!("{curl} -H 'Authorization: Bearer {identity}' {gateway}/read"));
    assert_eq!(refused["status"], 401);
}

#[test]
fn a_program_gets_its_token_with_its_secret_and_it_is_accepted() {
    let dev = Dev::with(&[("policies/a.yaml", OPEN), ("policies/a.test.yaml", OPEN_TESTS)], &[]);
    let token = format!("{}/.torwart-dev/kusy/token", dev.provider());
    let issued = dev.json(&format!("curl -sS -u batch:dev-secret -d grant_type=client_credentials {token}"));
    let (bearer, gateway) = (issued["access_token"].as_str().unwrap(), dev.told("gateway"));
    let curl = format!("curl -sS --cacert certs/dev-ca.pem -H 'Authorization: Bearer {bearer}'");
    let echoed = dev.json(&format!("{curl} {gateway}/read"));
    assert_eq!(echoed["headers"]["x-auth-flow"], "client_credentials");
}

const OPEN: &str = "version: 1
policy: open
hosts: [api.example.com]
upstream: api
issuers: [kusy]
routes:
  - {path: /read, methods: [GET], require: {scope: read}}
";
const OPEN_TESTS: &str = "version: 1
personas:
  alice: {issuer: kusy, sub: a-1, client_id: app, scope: read}
  batch: {issuer: kusy, sub: batch, client_id: batch, scope: read}
";

#[test]
fn a_broken_policy_keeps_the_old_one_and_a_mended_one_takes_effect() {
    let dev = Dev::with(&[("policies/a.yaml", OPEN), ("policies/a.test.yaml", OPEN_TESTS)], &[]);
    let alice = &dev.commands()[0];
    assert_eq!((alice.who.as_str(), alice.expected.as_str()), ("alice", "200"));
    dev.check(alice);

    dev.write("policies/a.yaml", &OPEN.replace("scope: read", "scop: read"));
    dev.wait_for_error("unknown key `scop`");
    dev.check(alice);

    dev.write("policies/a.yaml", &OPEN.replace("scope: read", "scope: write"));
    until(|| dev.paste(&alice.command).contains(" 403 "), || dev.errors.lock().unwrap().clone());
}

#[test]
fn a_refusal_says_why_condition_by_condition() {
    let tests = OPEN_TESTS.replace("client_id: app, scope: read", "client_id: app, scope: other");
    let dev = Dev::with(&[("policies/a.yaml", OPEN), ("policies/a.test.yaml", &tests)], &[]);
    let alice = &dev.commands()[0];
    assert_eq!(alice.expected, "403, scope, policies/a.yaml:7:45");
    let problem = dev.json(&alice.command.replace("curl -i", "curl -sS"));
    let explanation = problem["explanation"].as_array().unwrap();
    let condition = explanation.iter().find(|line| line.as_str().unwrap().trim_start().starts_with("- ")).unwrap();
    for part in ["scope: read", "scopes: other", "policies/a.yaml:7:"] {
        assert!(condition.as_str().unwrap().contains(part), "{condition}");
    }
}

#[test]
fn a_persona_more_is_known_without_a_restart() {
    let dev = Dev::with(&[("policies/a.yaml", OPEN), ("policies/a.test.yaml", OPEN_TESTS)], &[]);
    let more = format!("{OPEN_TESTS}  late: {{issuer: kusy, sub: late, client_id: late, scope: read}}\n");
    dev.write("policies/a.test.yaml", &more);
    let token = format!("{}/.torwart-dev/kusy/token", dev.provider());
    let ask = format!("curl -sS -u late:dev-secret -d grant_type=client_credentials {token}");
    until(|| dev.json(&ask).get("access_token").is_some(), || dev.errors.lock().unwrap().clone());
}

#[test]
fn documents_that_would_collide_keep_their_hosts_and_their_commands_work() {
    let other = OPEN.replace("policy: open", "policy: other").replace("api.example.com", "other.example.com");
    let tests = format!(
        "{OPEN_TESTS}tests:
  - {{name: one, as: alice, request: GET https://api.example.com/read, expect: allow}}
  - {{name: other, as: batch, request: GET https://other.example.com/read, expect: allow}}
"
    );
    let files = [("policies/a.yaml", OPEN), ("policies/b.yaml", &other), ("policies/a.test.yaml", &tests)];
    let dev = Dev::with(&files, &[]);
    assert!(dev.printed.contains("policies/b.yaml does not answer to `localhost`"), "{}", dev.printed);
    for pasted in dev.commands() {
        dev.check(&pasted);
    }
    let batch = dev.commands().into_iter().find(|pasted| pasted.who == "batch").unwrap();
    assert!(batch.command.contains("--connect-to ::localhost:"), "{}", batch.command);
}

#[test]
fn torwart_yaml_lends_presets_and_audiences() {
    let written = "version: 1
issuers:
  - {name: shoen, preset: kusy, issuer: https://auth.example.com, audiences: [https://api.example.com]}
upstreams: {api: {endpoints: [http://127.0.0.1:9]}}
policies: rules
";
    let policy = OPEN.replace("issuers: [kusy]", "client_credentials: {bypass: [batch]}");
    let tests = OPEN_TESTS.replace("issuer: kusy", "issuer: shoen");
    let files = [("torwart.yaml", written), ("rules/a.yaml", &policy), ("rules/a.test.yaml", &tests)];
    let dev = Dev::with(&files, &[]);
    assert!(dev.told("policies").starts_with("rules "), "{}", dev.printed);
    for pasted in dev.commands() {
        dev.check(&pasted);
    }
}

#[test]
fn a_command_runs_beside_it_as_its_upstream() {
    let arguments = ["--", "sh", "-c", "exec python3 -m http.server --bind 127.0.0.1 \"$PORT\""];
    let files = [("policies/a.yaml", OPEN), ("policies/a.test.yaml", OPEN_TESTS), ("read", "the command's own answer")];
    let dev = Dev::with(&files, &arguments);
    let alice = &dev.commands()[0];
    assert_eq!(alice.expected, "allowed, the upstream's own answer");
    until(|| dev.paste(&alice.command).contains("the command's own answer"), || dev.errors.lock().unwrap().clone());
}

#[test]
fn it_ends_when_the_command_ends() {
    let mut dev = Dev::with(&[], &["--", "sh", "-c", "while [ ! -e stop ]; do sleep 0.02; done; exit 3"]);
    dev.write("stop", "");
    assert_eq!(dev.child.wait().unwrap().code(), Some(1));
    dev.wait_for_error("the command ended with exit status: 3");
}

#[test]
fn the_command_ends_when_it_ends() {
    let script = "trap 'touch ended; exit 0' TERM; touch ready; while :; do sleep 0.02; done";
    let mut dev = Dev::with(&[], &["--", "sh", "-c", script]);
    until(|| dev.directory.join("ready").exists(), String::new);
    dev.terminate();
    assert_eq!(dev.child.wait().unwrap().code(), Some(0));
    assert!(dev.directory.join("ended").exists());
}

#[test]
fn an_upstream_that_is_named_gets_the_requests() {
    let upstream = Dev::start();
    // Any server will do; this one answers 421 to names that are not its own.
    let url = upstream.provider().replace("localhost", "127.0.0.1");
    let files = [("policies/a.yaml", OPEN), ("policies/a.test.yaml", OPEN_TESTS)];
    let dev = Dev::with(&files, &["--upstream", &url]);
    assert_eq!(dev.told("upstream"), url);
    let answer = dev.paste(&dev.commands()[0].command);
    assert!(answer.contains("no such page at the dev provider"), "{answer}");
}

#[test]
fn what_cannot_be_used_is_said_at_the_start() {
    let directory = tempfile::tempdir().unwrap();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    for (arguments, said) in [
        (["--policies", "nowhere"], "the policy directory `nowhere` does not exist"),
        (["--upstream", "ftp://x"], "`ftp://x`"),
        (["--port", &port], "choose another with `--port`"),
        (["--certs", "/dev/null/certs"], "cannot create `/dev/null/certs`"),
        (["--", "/nowhere/at/all"], "cannot run `/nowhere/at/all`"),
    ] {
        let port = if arguments[0] == "--port" { &[][..] } else { &["--port", "0"] };
        let output = torwart(directory.path()).arg("dev").args(port).args(arguments).output().unwrap();
        let errors = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}\n{errors}");
        assert!(errors.contains(said), "{arguments:?}\n{errors}");
        assert!(output.stdout.is_empty());
    }
}

#[test]
fn tokens_are_minted_without_a_server_and_survive_it() {
    let dev = Dev::with(&[("policies/a.yaml", OPEN), ("policies/a.test.yaml", OPEN_TESTS)], &[]);
    let mint = format!("{TORWART} token mint --as alice");
    let token = dev.paste(&mint);
    let curl = |token: &str| {
        let gateway = dev.told("gateway");
        dev.json(&format!(
            "curl -sS --cacert certs/dev-ca.pem -H 'Authorization: Bearer {}' {gateway}/read",
            token.trim()
        ))
    };
    assert_eq!(curl(&token)["headers"]["x-auth-subject"], "a-1");
    let expired = dev.paste(&format!("{mint} --ttl -1h"));
    assert_eq!(curl(&expired)["status"], 401);

    let output = torwart(&dev.directory).args(["token", "mint", "--as", "alcie"]).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).contains("did you mean `alice`?"));
}
