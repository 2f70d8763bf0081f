//! The gateway under test: the real program with a realistic configuration, its upstreams and its issuers.

use std::fmt::Write as _;
use std::io::Write as _;
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aws_lc_rs::digest::{SHA1_FOR_LEGACY_USE_ONLY, SHA256, digest};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::issuer::{Answer, Heard, Server};
use crate::ledger::Ledger;
use crate::support::authority::{Authority, Leaf};
use crate::support::message::Message;
use crate::support::process::{Program, free_port};
use crate::support::tokens::{AUDIENCE, ISSUER, Issuer};
use crate::support::upstream::{After, Behaviour, Upstream, answer};

pub(crate) const ALICE: &str = "5f8c1a52-9d1e-4e0b-8a77-0c6f1be0a111";
pub(crate) const BOB: &str = "0b3e7d64-21c5-4f7a-9c1e-6a2d8f4b9e02";
/// Alice's organisation.
pub(crate) const OWN: &str = "7d1c2f58-33a0-4f7b-8a43-5a6f0d1b2c01";

/// Bytes of a big answer.
pub(crate) const BIG: usize = 4 << 20;

/// Routes that differ in their path and scope alone.
pub(crate) const NUMBERED: usize = 80;

/// What an upstream does instead of answering.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mood {
    Well,
    Garbage,
    Half,
    Silent,
    Reset,
}

const MOODS: [Mood; 5] = [Mood::Well, Mood::Garbage, Mood::Half, Mood::Silent, Mood::Reset];

/// An upstream whose mood can be changed.
pub(crate) struct Backend {
    pub(crate) upstream: Upstream,
    mood: Arc<AtomicUsize>,
}

impl Backend {
    fn start(name: &'static str, ledger: &Arc<Ledger>) -> Self {
        let mood = Arc::new(AtomicUsize::new(0));
        let upstream = Upstream::forgetting(behaviour(name, Arc::clone(ledger), Arc::clone(&mood)));
        Self { upstream, mood }
    }

    pub(crate) fn turn(&self, mood: Mood) {
        let number = MOODS.iter().position(|one| *one == mood).expect("a mood");
        self.mood.store(number, Ordering::SeqCst);
    }
}

fn behaviour(name: &'static str, ledger: Arc<Ledger>, mood: Arc<AtomicUsize>) -> Behaviour {
    Arc::new(move |request, stream| {
        let mood = MOODS[mood.load(Ordering::SeqCst)];
        if request.target() == "/health" {
            let status = if mood == Mood::Well { "200 OK" } else { "503 Sick" };
            return answer(stream, format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n").as_bytes());
        }
        ledger.arrived(name, request);
        match (mood, request.all("x-do").first()) {
            (Mood::Garbage, _) => close_after(stream, b"\x16\x03\x01\x00secret\r\n\r\n"),
            (Mood::Half, _) => close_after(stream, b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nsecre"),
            (Mood::Silent, _) => {
                thread::park_timeout(Duration::from_secs(3));
                After::Close
            }
            (Mood::Reset, _) => {
                let _ = socket2::SockRef::from(&*stream).set_linger(Some(Duration::ZERO));
                After::Close
            }
            (Mood::Well, Some(&"events")) => events(stream),
            (Mood::Well, Some(&"socket")) => echo_frames(request, stream),
            (Mood::Well, Some(&"big")) => {
                let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {BIG}\r\n\r\n");
                answer(stream, &[head.as_bytes(), &vec![b'b'; BIG]].concat())
            }
            (Mood::Well, _) => say_what_was_seen(name, request, stream),
        }
    })
}

fn close_after(stream: &mut TcpStream, bytes: &[u8]) -> After {
    answer(stream, bytes);
    After::Close
}

fn events(stream: &mut TcpStream) -> After {
    let head = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n";
    if answer(stream, head) == After::Close {
        return After::Close;
    }
    while stream.write_all(b"9\r\ndata: a\n\n\r\n").is_ok() {
        thread::park_timeout(Duration::from_millis(100));
    }
    After::Close
}

fn echo_frames(request: &Message, stream: &mut TcpStream) -> After {
    use std::io::Read as _;
    let text =
        format!("{}258EAFA5-E914-47DA-95CA-C5AB0DC85B11", request.field("sec-websocket-key").unwrap_or_default());
    let proof = STANDARD.encode(digest(&SHA1_FOR_LEGACY_USE_ONLY, text.as_bytes()));
    let head = format!(
        "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: {proof}\r\n\r\n"
    );
    answer(stream, head.as_bytes());
    let mut buffer = [0; 1024];
    while let Ok(length) = stream.read(&mut buffer) {
        if length == 0 || stream.write_all(&buffer[..length]).is_err() {
            break;
        }
    }
    After::Close
}

fn say_what_was_seen(name: &str, request: &Message, stream: &mut TcpStream) -> After {
    let field = |name: &str| request.all(name).join("|");
    let body = json!({
        "id": field("x-soak"), "by": name, "method": request.request_line().0, "target": request.target(),
        "subject": field("x-auth-subject"), "issuer": field("x-auth-issuer"), "generation": field("x-generation"),
        "sum": sum(&request.body),
    });
    let body = body.to_string();
    answer(stream, format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len()).as_bytes())
}

/// What a body is known by.
pub(crate) fn sum(body: &[u8]) -> String {
    STANDARD.encode(digest(&SHA256, body))
}

pub(crate) fn seconds() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs()
}

/// What the issuer of opaque tokens says: `good-SUBJECT.ANYTHING` is a token.
pub(crate) fn introspect(heard: &Heard) -> String {
    let token = heard.body.strip_prefix("token=").unwrap_or_default().split('&').next().unwrap_or_default();
    let subject = token.strip_prefix("good-").and_then(|rest| rest.split('.').next());
    match subject {
        None => json!({"active": false}),
        Some(subject) => json!({"active": true, "sub": subject, "client_id": "app", "scope": "a", "aud": AUDIENCE,
            "iss": "https://opaque.test", "exp": seconds() + 300}),
    }
    .to_string()
}

/// The issuer whose keys move.
pub(crate) struct Moving {
    pub(crate) server: Server,
    keys: Mutex<Vec<(String, Arc<Issuer>)>>,
}

impl Moving {
    fn new() -> Self {
        let moving = Self { server: Server::plain(), keys: Mutex::new(vec![("m0".into(), Arc::new(Issuer::new()))]) };
        moving.publish(None);
        moving
    }

    /// Publishes the last two keys, and one that is to come.
    pub(crate) fn publish(&self, next: Option<&(String, Arc<Issuer>)>) {
        let keys = self.keys.lock().expect("no panic");
        let all = keys.iter().chain(next).map(|(kid, key)| key.key_set_by(kid)["keys"][0].clone());
        self.server.provide(&self.server.origin(), &json!({"keys": all.collect::<Vec<_>>()}));
    }

    /// Signs with this key from here on.
    pub(crate) fn sign_with(&self, next: (String, Arc<Issuer>)) {
        let mut keys = self.keys.lock().expect("no panic");
        keys.push(next);
        if keys.len() > 2 {
            keys.remove(0);
        }
    }

    pub(crate) fn token(&self) -> String {
        let keys = self.keys.lock().expect("no panic");
        let (kid, key) = keys.last().expect("a key");
        self.token_by(kid, key)
    }

    pub(crate) fn token_by(&self, kid: &str, key: &Issuer) -> String {
        key.token_by(kid, &json!({"iss": self.server.origin(), "sub": ALICE}))
    }
}

/// Everything that takes part.
pub(crate) struct Site {
    pub(crate) program: Program,
    pub(crate) ledger: Arc<Ledger>,
    pub(crate) authority: Authority,
    pub(crate) client_certificate: Leaf,
    pub(crate) plain: SocketAddr,
    pub(crate) secure: SocketAddr,
    pub(crate) issuer: Issuer,
    pub(crate) moving: Moving,
    pub(crate) opaque: Server,
    pub(crate) pair: [Backend; 2],
    pub(crate) shaky: Backend,
    pub(crate) directory: TempDir,
    #[expect(dead_code, reason = "it only has to live")]
    steady: Backend,
}

impl Site {
    pub(crate) fn start() -> Self {
        let ledger = Arc::new(Ledger::default());
        let [steady, one, other, shaky] = ["steady", "pair", "pair", "shaky"].map(|name| Backend::start(name, &ledger));
        let (authority, issuer, moving, opaque) = (Authority::new(), Issuer::new(), Moving::new(), Server::plain());
        opaque.answer("/introspect", Answer::Of(introspect));
        let directory = tempfile::tempdir().expect("a directory");
        let root = directory.path();
        authority.leaf(&["api.test", "pair.test", "shaky.test"]).write(root, "leaf");
        let client_certificate = authority.leaf(&["client.test"]);
        std::fs::create_dir(root.join("policies")).expect("a directory");
        for (name, text) in [
            ("ca.pem", authority.pem()),
            ("keys.json", issuer.key_set().to_string()),
            ("secret", "hush".to_owned()),
            ("policies/pair.yaml", other_policy("pair")),
            ("policies/shaky.yaml", other_policy("shaky")),
        ] {
            std::fs::write(root.join(name), text).expect("a file");
        }
        write_policy(root, 0);
        let [plain, secure] = [(); 2].map(|()| free_port());
        let upstreams = format!(
            "upstreams:\n  steady: {{endpoints: [\"http://{}\"]}}\n  pair:\n    endpoints: [\"http://{}\", \"http://{}\"]\n    \
             health: {{path: /health, interval: 1s}}\n    timeouts: {{connect: 1s, response: 2s}}\n  shaky:\n    \
             endpoints: [\"http://{}\"]\n    timeouts: {{connect: 1s, response: 2s}}\n",
            steady.upstream.address, one.upstream.address, other.upstream.address, shaky.upstream.address
        );
        let text = configuration(root, [plain, secure], &moving.server.origin(), &opaque.origin()) + &upstreams;
        std::fs::write(root.join("torwart.yaml"), text).expect("a file");
        let program = Program::start(root);
        let [plain, secure] = [plain, secure].map(|port| SocketAddr::from(([127, 0, 0, 1], port)));
        let pair = [one, other];
        Self {
            program,
            ledger,
            authority,
            client_certificate,
            plain,
            secure,
            issuer,
            moving,
            opaque,
            pair,
            shaky,
            directory,
            steady,
        }
    }

    /// A token of Alice's.
    pub(crate) fn alice(&self, claims: &Value) -> String {
        let mut all = json!({"sub": ALICE, "org_uids": [OWN], "permissions": ["read"],
            "scope": "customers:read a s0 s1 s2 s3"});
        for (name, value) in claims.as_object().expect("claims") {
            all[name] = value.clone();
        }
        self.issuer.token(&all)
    }
}

fn configuration(root: &Path, [plain, secure]: [u16; 2], moving: &str, opaque: &str) -> String {
    let root = root.display();
    format!(
        r#"version: 1
workers: 2
listeners:
  - {{address: "127.0.0.1:{plain}"}}
  - address: "127.0.0.1:{secure}"
    tls:
      certificates: [{{certificate: leaf.pem, key: leaf.key}}]
      client_certificates: {{mode: optional, ca: ca.pem}}
issuers:
  - name: shoen
    issuer: {ISSUER}
    audiences: ["{AUDIENCE}"]
    leeway: 1s
    jwks_file: keys.json
    client_credentials_when: client_equals_subject
    claims: {{organizations: org_uids, permissions: permissions, global: global}}
  - {{name: moving, issuer: "{moving}", audiences: ["{AUDIENCE}"], environment: integration}}
  - name: opaque
    issuer: https://opaque.test
    audiences: ["{AUDIENCE}"]
    environment: integration
    jwks_file: keys.json
    introspection: {{endpoint: "{opaque}/introspect", client_id: gateway, client_secret_file: secret, cache: 10s}}
policies: policies
identity: {{max_bytes: 512}}
admin: {{address: "unix:{root}/admin.sock"}}
logging: {{level: error}}
audit: {{path: audit.jsonl}}
state: {{directory: state}}
limits:
  token_memory: 4MiB
  inspected_body: 16KiB
  requests_per_connection: 500
  header_timeout: 5s
  drain: 5s
"#
    )
}

/// The document of the steady upstream, which is replaced at every reload.
pub(crate) fn write_policy(root: &Path, generation: u64) {
    replace(root, "policies/api.yaml", &policy(generation));
}

/// Puts a file in its place as a whole.
pub(crate) fn replace(root: &Path, name: &str, text: &str) {
    std::fs::write(root.join("next"), text).expect("a file");
    std::fs::rename(root.join("next"), root.join(name)).expect("a file");
}

pub(crate) fn policy(generation: u64) -> String {
    let mut text = format!(
        r#"version: 1
policy: api
hosts: [api.test]
upstream: steady
issuers: [shoen, moving, opaque]
forward: {{headers: {{X-Generation: "{generation}"}}}}
routes:
  - {{path: "/open/{{*rest}}", methods: "*", require: public, unbound: [rest]}}
  - {{path: "/admin/{{*rest}}", methods: "*", require: {{scope: admin}}, unbound: [rest]}}
  - {{path: /me, methods: [GET], require: authenticated}}
  - {{path: /upload, methods: [POST], require: authenticated}}
  - {{path: /small, methods: [POST], require: authenticated, forward: {{max_body: 1KiB}}}}
  - {{path: "/customers/{{customer}}", methods: [GET], params: {{customer: uuid}}, require: {{scope: "customers:read", subject: "{{customer}}"}}}}
  - {{path: /orders, methods: [POST], require: {{subject: "{{body./customer}}"}}}}
  - {{path: /list, methods: [GET], require: authenticated, narrow: {{query.org_uid: organizations}}}}
  - {{path: /organization, methods: [GET], params: {{query.org: uuid}}, require: {{organization: "{{query.org}}"}}}}
  - {{path: /issuer, methods: [GET], require: {{issuer: moving}}}}
  - {{path: /certificate, methods: [GET], require: {{certificate: {{dns: [client.test]}}}}}}
  - {{path: /network, methods: [GET], require: {{network: [192.0.2.0/24]}}}}
  - {{path: /flow, methods: [GET], issuers: [shoen], require: {{flow: client_credentials}}}}
  - {{path: /client, methods: [GET], require: {{client: other}}}}
  - {{path: /authentication, methods: [GET], require: {{authentication: {{acr: [gold]}}}}}}
  - {{path: /permission, methods: [GET], issuers: [shoen], require: {{permission: write}}}}
  - {{path: /global, methods: [GET], issuers: [shoen], require: {{global: true}}}}
  - {{path: /claim, methods: [GET], require: {{claim: {{tenant: {{equals: acme}}}}}}}}
  - {{path: /request, methods: [GET], require: {{token: none, request: {{header.X-Version: "2"}}}}}}
  - {{path: /any, methods: [GET], require: {{any_of: [{{scope: none}}, {{client: other}}]}}}}
  - {{path: /not, methods: [GET], require: {{not: {{client: app}}}}}}
  - {{path: /forward, methods: [GET], require: authenticated, forward: {{query: {{tenant: "{{claim.tenant}}"}}}}}}
  - {{path: /limited, methods: [GET], require: authenticated, limit: {{rate: 1/h, burst: 1, per: subject}}}}
"#
    );
    for number in 0..NUMBERED {
        let _ = writeln!(
            text,
            "  - {{path: \"/v1/r{number}/{{customer}}\", methods: [GET, PUT], params: {{customer: uuid}}, require: {{scope: s{}, subject: \"{{customer}}\"}}}}",
            number % 8
        );
    }
    text
}

fn other_policy(name: &str) -> String {
    format!(
        "version: 1\npolicy: {name}\nhosts: [{name}.test]\nupstream: {name}\nissuers: [shoen]\nroutes:\n  \
         - {{path: \"/customers/{{customer}}\", methods: [GET, POST], params: {{customer: uuid}}, require: {{subject: \"{{customer}}\"}}}}\n  \
         - {{path: \"/open/{{*rest}}\", methods: [GET], require: public, unbound: [rest]}}\n"
    )
}
