//! docs/upstreams.md: the snippets in it are the files beside it, and what they verify is an assertion of the gateway and
//! nothing else. Each language that is installed is asked about the same forgeries.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stderr,
    clippy::indexing_slicing,
    clippy::string_slice,
    reason = "a test that cannot go on fails, in its helpers too, and one that cannot run says so"
)]

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use torwart::assertion::SigningKey;
use torwart::clock::Timestamp;

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn snippet(name: &str) -> PathBuf {
    root().join("docs/upstreams").join(name)
}

#[test]
fn every_snippet_is_the_file_that_is_tested() {
    let page = fs::read_to_string(root().join("docs/upstreams.md")).unwrap();
    for (language, name) in [("php", "verify.php"), ("python", "verify.py"), ("csharp", "Gateway.cs")] {
        let text = fs::read_to_string(snippet(name)).unwrap();
        let block = format!("```{language}\n{}\n```\n", text.trim_end());
        assert!(page.contains(&block), "{name} is not what docs/upstreams.md shows");
    }
    assert!(page.contains("upstreams/Gateway.java"));
}

/// A key set that can be fetched and changed, and how often it was fetched.
struct Published {
    url: String,
    set: Arc<Mutex<String>>,
    fetched: Arc<AtomicUsize>,
}

impl Published {
    fn new(keys: &[&SigningKey]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/.well-known/torwart/jwks.json", listener.local_addr().unwrap());
        let this = Self { url, set: Arc::default(), fetched: Arc::default() };
        this.publish(keys);
        let (set, fetched) = (Arc::clone(&this.set), Arc::clone(&this.fetched));
        thread::spawn(move || {
            for mut stream in listener.incoming().flatten() {
                let mut line = String::new();
                let mut reader = BufReader::new(stream.try_clone().unwrap());
                while reader.read_line(&mut line).unwrap_or(0) > 2 {
                    line.clear();
                }
                fetched.fetch_add(1, Ordering::SeqCst);
                let body = set.lock().unwrap().clone();
                let head = "HTTP/1.1 200 OK\r\nContent-Type: application/jwk-set+json\r\nConnection: close\r\n";
                let _ = write!(stream, "{head}Content-Length: {}\r\n\r\n{body}", body.len());
            }
        });
        this
    }

    fn publish(&self, keys: &[&SigningKey]) {
        let keys: Vec<Value> = keys.iter().map(|key| key.public()).collect();
        *self.set.lock().unwrap() = json!({"keys": keys}).to_string();
    }

    fn fetched(&self) -> usize {
        self.fetched.load(Ordering::SeqCst)
    }
}

/// A running program that verifies one assertion for every line that it is sent.
struct Verifier {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
    _directory: tempfile::TempDir,
}

const PYTHON: &str = r#"
import json, sys
sys.path.insert(0, sys.argv[1])
from verify import Gateway, Refused
gateway = Gateway("https://gateway.test", "crm", sys.argv[2])
for line in sys.stdin:
    line = line.rstrip("\n")
    if line == "later":
        gateway.tried -= 60
        print("ok", flush=True)
        continue
    try:
        print("claims " + json.dumps(gateway.verify(line)), flush=True)
    except Refused as refused:
        print("refused " + str(refused), flush=True)
"#;

const PHP: &str = r#"<?php
require $argv[1] . '/verify.php';
$gateway = new Gateway('https://gateway.test', 'crm', $argv[2], $argv[3]);
while (($line = fgets(STDIN)) !== false) {
    $line = rtrim($line, "\n");
    if ($line === 'later') {
        $known = json_decode(file_get_contents($argv[3]), true);
        $known['tried'] -= 60;
        file_put_contents($argv[3], json_encode($known));
        echo "ok\n";
        continue;
    }
    try {
        $claims = $gateway->verify($line);
        echo 'claims ', json_encode($claims), "\n";
    } catch (Refused $refused) {
        echo 'refused ', $refused->getMessage(), "\n";
    }
}
"#;

const JAVA: &str = r#"
import java.io.*;
import java.nio.charset.StandardCharsets;
import java.util.Base64;

public class Ask {
    public static void main(String[] args) throws Exception {
        Gateway gateway = new Gateway("https://gateway.test", "crm", args[0]);
        BufferedReader lines = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
        for (String line = lines.readLine(); line != null; line = lines.readLine()) {
            if (line.equals("later")) {
                var tried = Gateway.class.getDeclaredField("tried");
                tried.setAccessible(true);
                tried.setLong(gateway, tried.getLong(gateway) - 60);
                System.out.println("ok");
                continue;
            }
            try {
                byte[] subject = ((String) gateway.verify(line).get("sub")).getBytes(StandardCharsets.UTF_8);
                System.out.println("claims {\"base64\":\"" + Base64.getEncoder().encodeToString(subject) + "\"}");
            } catch (Gateway.Refused refused) {
                System.out.println("refused " + refused.getMessage());
            }
        }
    }
}
"#;

impl Verifier {
    /// `None` where the language is not installed.
    fn start(language: &str, url: &str) -> Option<Self> {
        let directory = tempfile::tempdir().unwrap();
        let path = |name: &str| directory.path().join(name);
        let mut command = match language {
            "python" => {
                let python = [root().join(".venv/bin/python"), PathBuf::from("python3")];
                let python = python.iter().find(|python| works(python, &["-c", "import cryptography"]))?;
                fs::write(path("ask.py"), PYTHON).unwrap();
                let mut command = Command::new(python);
                command.arg("-B").arg(path("ask.py")).arg(root().join("docs/upstreams")).arg(url);
                command
            }
            "php" => {
                let has = |extension| format!("exit(extension_loaded('{extension}') ? 0 : 1);");
                works(Path::new("php"), &["-r", &has("openssl")]).then_some(())?;
                fs::write(path("ask.php"), PHP).unwrap();
                let mut command = Command::new("php");
                command.arg(path("ask.php")).arg(root().join("docs/upstreams")).arg(url).arg(path("keys.json"));
                command
            }
            "java" => {
                works(Path::new("javac"), &["-version"]).then_some(())?;
                fs::write(path("Ask.java"), JAVA).unwrap();
                let files = [snippet("Gateway.java"), path("Ask.java")];
                let compiled = Command::new("javac")
                    .args(["-Xlint:all", "-Werror", "--release", "17", "-d"])
                    .arg(directory.path())
                    .args(files)
                    .output()
                    .unwrap();
                assert!(compiled.status.success(), "{}", String::from_utf8_lossy(&compiled.stderr));
                let mut command = Command::new("java");
                command.arg("-cp").arg(directory.path()).arg("Ask").arg(url);
                command
            }
            other => panic!("no language `{other}`"),
        };
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let (input, output) = (child.stdin.take().unwrap(), BufReader::new(child.stdout.take().unwrap()));
        Some(Self { child, input, output, _directory: directory })
    }

    fn ask(&mut self, line: &str) -> String {
        writeln!(self.input, "{line}").unwrap();
        let mut answer = String::new();
        let read = self.output.read_line(&mut answer).unwrap();
        assert!(read > 0, "no answer to `{line}`: {:?}", self.child.try_wait());
        answer.trim_end().to_owned()
    }

    fn accepts(&mut self, assertion: &str) -> Value {
        let answer = self.ask(assertion);
        let claims = answer.strip_prefix("claims ").unwrap_or_else(|| panic!("{answer}: {assertion}"));
        serde_json::from_str(claims).unwrap()
    }
}

impl Drop for Verifier {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = self.output.read_to_string(&mut String::new());
    }
}

fn works(program: &Path, arguments: &[&str]) -> bool {
    let done = Command::new(program).args(arguments).stdout(Stdio::null()).stderr(Stdio::null()).status();
    done.is_ok_and(|status| status.success())
}

fn header(kid: &str) -> Value {
    json!({"typ": "torwart-assertion+jwt", "alg": "ES256", "kid": kid})
}

fn claims() -> Value {
    let now = Timestamp::now().0;
    json!({"iss": "https://gateway.test", "aud": "crm", "iat": now, "exp": now + 60, "jti": "1", "sub": "ä\"\\\n"})
}

fn with(mut object: Value, name: &str, value: Value) -> Value {
    if value.is_null() {
        object.as_object_mut().unwrap().remove(name);
    } else {
        object[name] = value;
    }
    object
}

fn signed(key: &SigningKey, header: &Value, claims: &Value) -> String {
    key.sign(&header.to_string(), &claims.to_string()).unwrap()
}

/// What only looks like an assertion for this server at this moment.
fn forgeries(key: &SigningKey, stranger: &SigningKey) -> Vec<(&'static str, String)> {
    let now = Timestamp::now().0;
    let good = signed(key, &header(key.id()), &claims());
    let parts: Vec<&str> = good.split('.').collect();
    let other = signed(key, &header(key.id()), &with(claims(), "sub", json!("root")));
    let payload = other.split('.').nth(1).unwrap();
    let headed = |name: &str, value: Value| signed(key, &with(header(key.id()), name, value), &claims());
    let saying = |name: &str, value: Value| signed(key, &header(key.id()), &with(claims(), name, value));
    vec![
        ("nothing", String::new()),
        ("text", "nonsense".to_owned()),
        ("two parts", format!("{}.{}", parts[0], parts[1])),
        ("four parts", format!("{good}.x")),
        ("no signature", format!("{}.{}.", parts[0], parts[1])),
        ("a short signature", good[..good.len() - 8].to_owned()),
        ("another payload", format!("{}.{payload}.{}", parts[0], parts[2])),
        ("no base64url", format!("{}.{}.{}", parts[0], parts[1], parts[2].replace(parts[2].get(..4).unwrap(), "$%&/"))),
        ("a zero signature", format!("{}.{}.{}", parts[0], parts[1], "A".repeat(86))),
        ("another key under this kid", signed(stranger, &header(key.id()), &claims())),
        ("an unknown key", signed(stranger, &header(stranger.id()), &claims())),
        ("an access token", headed("typ", json!("at+jwt"))),
        ("no type", headed("typ", Value::Null)),
        ("no algorithm", headed("alg", json!("none"))),
        ("an algorithm with a shared secret", headed("alg", json!("HS256"))),
        ("another algorithm", headed("alg", json!("ES384"))),
        ("something critical", headed("crit", json!(["exp"]))),
        ("a kid that is a number", headed("kid", json!(5))),
        ("no kid", headed("kid", Value::Null)),
        ("another gateway", saying("iss", json!("https://gateway.test/"))),
        ("no issuer", saying("iss", Value::Null)),
        ("another server", saying("aud", json!("billing"))),
        ("several servers", saying("aud", json!(["crm", "billing"]))),
        ("no audience", saying("aud", Value::Null)),
        ("expired", saying("exp", json!(now - 30))),
        ("no end", saying("exp", Value::Null)),
        ("an end that is text", saying("exp", json!((now + 60).to_string()))),
        ("from the future", with_times(key, now + 60)),
        ("a list of claims", signed(key, &header(key.id()), &json!(["crm"]))),
    ]
}

fn with_times(key: &SigningKey, issued: i64) -> String {
    let claims = with(with(claims(), "iat", json!(issued)), "exp", json!(issued + 60));
    signed(key, &header(key.id()), &claims)
}

fn verifies_assertions_and_nothing_else(language: &str) {
    let (first, second, stranger) =
        (SigningKey::generate().unwrap(), SigningKey::generate().unwrap(), SigningKey::generate().unwrap());
    let published = Published::new(&[&first]);
    let Some(mut verifier) = Verifier::start(language, &published.url) else {
        eprintln!("{language} is not installed");
        return;
    };
    for _ in 0..40 {
        // Numbers of a signature are shorter than 32 bytes now and then.
        let claims = verifier.accepts(&signed(&first, &header(first.id()), &claims()));
        let subject = claims["base64"].as_str().map(|text| STANDARD.decode(text).unwrap());
        let subject = subject.map(|bytes| String::from_utf8(bytes).unwrap());
        assert_eq!(subject.as_deref().or(claims["sub"].as_str()), Some("ä\"\\\n"), "{language}");
    }
    assert_eq!(published.fetched(), 1, "{language} keeps the key set");
    for (what, forgery) in forgeries(&first, &stranger) {
        let answer = verifier.ask(&forgery);
        assert!(answer.starts_with("refused "), "{language} accepts {what}: {answer}");
    }
    assert_eq!(published.fetched(), 1, "{language} does not ask for every unknown key");
    published.publish(&[&first, &second]);
    assert!(verifier.ask(&signed(&second, &header(second.id()), &claims())).starts_with("refused "), "{language}");
    assert_eq!(verifier.ask("later"), "ok");
    verifier.accepts(&signed(&second, &header(second.id()), &claims()));
    verifier.accepts(&signed(&first, &header(first.id()), &claims()));
    assert_eq!(published.fetched(), 2, "{language} asks for a key that it does not know");
    published.publish(&[&second]);
    assert_eq!(verifier.ask("later"), "ok");
    assert!(verifier.ask(&signed(&stranger, &header(stranger.id()), &claims())).starts_with("refused "), "{language}");
    assert!(verifier.ask(&signed(&first, &header(first.id()), &claims())).starts_with("refused "), "{language}");
    verifier.accepts(&signed(&second, &header(second.id()), &claims()));
}

#[test]
fn the_python_snippet_verifies_assertions_and_nothing_else() {
    verifies_assertions_and_nothing_else("python");
}

#[test]
fn the_php_snippet_verifies_assertions_and_nothing_else() {
    verifies_assertions_and_nothing_else("php");
}

#[test]
fn the_java_snippet_verifies_assertions_and_nothing_else() {
    verifies_assertions_and_nothing_else("java");
}
