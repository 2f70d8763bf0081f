use std::future::Future;
use std::pin::Pin;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UnixStream};

use super::super::revocations::{Made, Order, Page, Refusal, Revocation, What, Window};
use super::super::{AssertionState, EndpointState, IssuerState, PublicKeys, Rules, State, Terms, UpstreamState};
use super::*;
use crate::telemetry::Metrics;

/// A gateway that counts reloads and fails every second one.
#[derive(Default)]
struct Sketch {
    state: State,
    reloads: AtomicUsize,
    orders: Mutex<Vec<Order>>,
    terms: Mutex<Terms>,
}

fn revocation() -> Revocation {
    Revocation {
        id: "0123".to_owned(),
        issuer: "shoen".into(),
        kind: "subject",
        value: "alice".to_owned(),
        revoked: "2026-11-22T10:00:00Z".to_owned(),
        until: None,
    }
}

impl Gateway for Sketch {
    fn state(&self) -> State {
        self.state.clone()
    }

    fn measure(&self, metrics: &Metrics) {
        metrics.token_memory.hits.reach(7);
    }

    fn terms(&self) -> Terms {
        self.terms.lock().unwrap().clone()
    }

    fn assertion_keys(&self) -> Option<PublicKeys> {
        self.state.assertion.as_ref().map(|_| PublicKeys { key_set: "{\"keys\":[]}".into(), max_age: 300 })
    }

    fn reload(&self) -> Pin<Box<dyn Future<Output = Result<(), String>> + Send + '_>> {
        let even = self.reloads.fetch_add(1, Ordering::Relaxed).is_multiple_of(2);
        Box::pin(async move { if even { Ok(()) } else { Err("torwart.yaml:1:1: error: no".to_owned()) } })
    }

    fn revocations(&self, window: Window) -> Pin<Box<dyn Future<Output = Page> + Send + '_>> {
        let revocations = vec![revocation(); window.most.min(2)];
        Box::pin(async { Page { revocations, total: 2, next: None, kept: true } })
    }

    fn revoke(&self, order: Order) -> Pin<Box<dyn Future<Output = Result<Made, Refusal>> + Send + '_>> {
        let answer = match &*order.issuer {
            "full" => Err(Refusal::Unsaved("the disk is full".to_owned())),
            "new" => Ok(true),
            "known" => Ok(false),
            other => Err(Refusal::Wrong(format!("there is no issuer `{other}`"))),
        };
        self.orders.lock().unwrap().push(order);
        let made = |is_new| Made { revocation: revocation(), is_new, in_force: true, kept: false };
        Box::pin(async move { answer.map(made) })
    }

    fn take_back(&self, id: String) -> Pin<Box<dyn Future<Output = Result<Revocation, Refusal>> + Send + '_>> {
        Box::pin(async move { if id == revocation().id { Ok(revocation()) } else { Err(Refusal::Unknown) } })
    }
}

struct Running {
    address: AdminAddress,
    gateway: Arc<Sketch>,
    directory: tempfile::TempDir,
    _end: tokio_util::sync::DropGuard,
}

/// `file` is the content of the token file, if there is one.
fn start(address: &str, file: Option<&str>, mut rules: Rules, state: State) -> Running {
    let directory = tempfile::tempdir().unwrap();
    let token_file = directory.path().join("token");
    if let Some(token) = file {
        std::fs::write(&token_file, token).unwrap();
    }
    let address = match address {
        "unix" => AdminAddress::Unix(directory.path().join("admin.sock")),
        tcp => AdminAddress::Tcp(tcp.parse().unwrap()),
    };
    let listener = Listener::bind(&address).unwrap();
    let address = listener.address().unwrap();
    rules.token_file = file.map(|_| token_file);
    let terms = Mutex::new(Terms { tls: None, rules });
    let gateway = Arc::new(Sketch { state, terms, ..Sketch::default() });
    let end = CancellationToken::new();
    let shared: Arc<dyn Gateway> = Arc::clone(&gateway) as _;
    tokio::spawn(serve(listener, shared, Telemetry::silent(), end.clone()));
    Running { address, gateway, directory, _end: end.drop_guard() }
}

fn plain() -> Running {
    start("127.0.0.1:0", None, Rules::default(), State::default())
}

impl Running {
    fn port(&self) -> u16 {
        let AdminAddress::Tcp(address) = self.address else { panic!("a Unix socket has no port") };
        address.port()
    }

    /// The whole answer to these bytes.
    async fn raw(&self, request: &str) -> String {
        let mut stream: Box<dyn Stream> = match &self.address {
            AdminAddress::Tcp(address) => Box::new(TcpStream::connect(address).await.unwrap()),
            AdminAddress::Unix(path) => Box::new(UnixStream::connect(path).await.unwrap()),
        };
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer
    }

    /// Asks with these header lines beside a right Host.
    async fn ask(&self, line: &str, fields: &[&str]) -> String {
        let host = if matches!(self.address, AdminAddress::Tcp(_)) {
            format!("127.0.0.1:{}", self.port())
        } else {
            "admin".to_owned()
        };
        self.ask_as(&host, line, fields).await
    }

    async fn ask_as(&self, host: &str, line: &str, fields: &[&str]) -> String {
        let fields = [&["Connection: close"], fields, &["", ""]].concat().join("\r\n");
        self.raw(&format!("{line} HTTP/1.1\r\nHost: {host}\r\n{fields}")).await
    }
}

fn status(answer: &str) -> u16 {
    answer.split(' ').nth(1).unwrap_or_else(|| panic!("no answer: {answer:?}")).parse().unwrap()
}

fn body(answer: &str) -> serde_json::Value {
    serde_json::from_str(answer.split_once("\r\n\r\n").unwrap().1).unwrap()
}

const RELOAD: &str = "POST /api/v1/reload";
const JSON: &str = "Content-Type: application/json";

#[tokio::test]
async fn live_is_always_answered() {
    let answer = plain().ask("GET /livez", &[]).await;
    assert_eq!(status(&answer), 200);
    assert!(answer.contains("cache-control: no-store"), "{answer}");
}

#[tokio::test]
async fn ready_tells_its_reasons() {
    let answer = plain().ask("GET /readyz", &[]).await;
    assert_eq!(status(&answer), 503);
    assert_eq!(body(&answer)["reasons"], serde_json::json!(["no configuration is in force yet"]));
    let issuers = vec![IssuerState { name: "shoen".into(), keys: 1, age: Some(3), error: None, introspection: None }];
    let state = State { serving: true, issuers, observing: vec!["crm".into()], ..State::default() };
    let running = start("127.0.0.1:0", None, Rules::default(), state);
    let answer = running.ask("GET /readyz", &[]).await;
    assert_eq!(status(&answer), 200);
    assert_eq!(body(&answer), serde_json::json!({"ready": true, "reasons": [], "observing": ["crm"]}));
    let answer = running.ask("GET /api/v1/status", &[]).await;
    assert_eq!(body(&answer)["issuers"][0]["keys"], 1);
    assert_eq!(body(&answer)["version"], env!("CARGO_PKG_VERSION"));
}

#[tokio::test]
async fn upstreams_are_told_with_every_address() {
    let endpoint = EndpointState {
        endpoint: "http://crm:80".into(),
        address: Some("10.0.0.1:80".into()),
        available: false,
        state: "ejected",
        requests: 1,
        connections: 3,
        idle: 2,
        connects: 4,
        connects_failed: 5,
        answers: 6,
        failures: 7,
        ejections: 8,
        checks_passed: 9,
        checks_failed: 10,
        ejected_for: Some(11),
        error: Some("no".to_owned()),
    };
    let upstream = UpstreamState {
        name: "crm".into(),
        connections: 3,
        max_connections: 12,
        waiting: 0,
        endpoints: vec![endpoint],
    };
    let state = State { upstreams: vec![upstream], ..State::default() };
    let running = start("127.0.0.1:0", None, Rules { dev: true, ..Rules::default() }, state);
    let told = body(&running.ask("GET /api/v1/upstreams", &[]).await);
    let endpoint = serde_json::json!({
        "endpoint": "http://crm:80", "address": "10.0.0.1:80", "available": false, "state": "ejected", "requests": 1,
        "connections": 3, "idle": 2, "connects": 4, "connects_failed": 5, "answers": 6, "failures": 7, "ejections": 8,
        "checks_passed": 9, "checks_failed": 10, "ejected_for": 11, "error": "no",
    });
    let upstream = serde_json::json!({"name": "crm", "connections": 3, "max_connections": 12, "waiting": 0, "endpoints": [endpoint]});
    assert_eq!(told, serde_json::json!({"upstreams": [upstream]}));
    assert_eq!(status(&running.ask("POST /api/v1/upstreams", &[JSON]).await), 405);
}

#[tokio::test]
async fn metrics_are_open_metrics() {
    let answer = plain().ask("GET /metrics", &[]).await;
    assert_eq!(status(&answer), 200);
    assert!(answer.contains("content-type: application/openmetrics-text; version=1.0.0; charset=utf-8"), "{answer}");
    assert!(answer.ends_with("# EOF\n"), "{answer}");
    assert!(answer.contains("torwart_token_cache_hits_total 7\n"), "{answer}");
}

#[tokio::test]
async fn only_our_own_names_are_answered() {
    let running = plain();
    let port = running.port();
    for own in
        [format!("127.0.0.1:{port}"), format!("localhost:{port}"), format!("LOCALHOST:{port}"), "localhost".into()]
    {
        assert_eq!(status(&running.ask_as(&own, "GET /livez", &[]).await), 200, "{own}");
    }
    let others =
        ["evil.example", "127.0.0.2", "localhost.evil.example", "[::1]", "", "127.0.0.1:1", "127.1", "localhost:x"];
    for other in others {
        assert_eq!(status(&running.ask_as(other, "GET /livez", &[]).await), 421, "{other}");
    }
    let twice = running.ask("GET /livez", &["Host: localhost"]).await;
    assert_eq!(status(&twice), 421);
    let absolute = running.ask("GET http://evil.example/livez", &[]).await;
    assert_eq!(status(&absolute), 421);
    assert_eq!(status(&running.raw("GET /livez HTTP/1.0\r\n\r\n").await), 421);
}

#[tokio::test]
async fn an_ipv6_listener_answers_to_its_address_in_brackets() {
    let running = start("[::1]:0", None, Rules::default(), State::default());
    let port = running.port();
    assert_eq!(status(&running.ask_as(&format!("[::1]:{port}"), "GET /livez", &[]).await), 200);
    assert_eq!(status(&running.ask_as("::1", "GET /livez", &[]).await), 421);
    assert_eq!(status(&running.ask_as("127.0.0.1", "GET /livez", &[]).await), 421);
}

#[tokio::test]
async fn pages_of_other_sites_are_refused() {
    let running = plain();
    let own = format!("Origin: http://127.0.0.1:{}", running.port());
    for (field, wanted) in [
        ("Sec-Fetch-Site: cross-site", 403),
        ("Sec-Fetch-Site: same-site", 403),
        ("Sec-Fetch-Site: same-origin", 200),
        ("Sec-Fetch-Site: none", 200),
        ("Origin: http://evil.example", 403),
        ("Origin: null", 403),
        ("Origin: http://127.0.0.1:1", 403),
        (&own, 200),
    ] {
        for path in ["/metrics", "/livez", "/api/v1/status"] {
            assert_eq!(status(&running.ask(&format!("GET {path}"), &[field]).await), wanted, "{field} {path}");
        }
    }
}

#[tokio::test]
async fn changes_over_tcp_need_a_token_or_dev_mode() {
    let running = plain();
    assert_eq!(status(&running.ask(RELOAD, &[JSON]).await), 403);
    assert_eq!(running.gateway.reloads.load(Ordering::Relaxed), 0);
    let dev = start("127.0.0.1:0", None, Rules { dev: true, ..Rules::default() }, State::default());
    assert_eq!(status(&dev.ask(RELOAD, &[JSON]).await), 200);
    assert_eq!(dev.gateway.reloads.load(Ordering::Relaxed), 1);
}

#[tokio::test]
async fn changes_are_taken_over_the_unix_socket_as_json_only() {
    let running = start("unix", None, Rules::default(), State::default());
    for kind in ["Content-Type: text/plain", "Content-Type: application/jsonx", "X: y"] {
        assert_eq!(status(&running.ask(RELOAD, &[kind]).await), 415, "{kind}");
    }
    assert_eq!(running.gateway.reloads.load(Ordering::Relaxed), 0);
    let kind = "Content-Type: application/json; charset=utf-8";
    assert_eq!(body(&running.ask(RELOAD, &[kind]).await)["reloaded"], true);
    let failed = running.ask(RELOAD, &[kind]).await;
    assert_eq!(status(&failed), 422);
    assert_eq!(body(&failed)["error"], "torwart.yaml:1:1: error: no");
}

#[tokio::test]
async fn with_a_token_file_everything_but_probes_and_metrics_needs_the_token() {
    let running = start("127.0.0.1:0", Some("s3cret-token\n"), Rules::default(), State::default());
    for path in ["/livez", "/metrics"] {
        assert_eq!(status(&running.ask(&format!("GET {path}"), &[]).await), 200, "{path}");
    }
    assert_eq!(status(&running.ask("GET /readyz", &[]).await), 503);
    for line in ["GET /api/v1/status", RELOAD, "GET /", "GET /metrics/", "GET //metrics"] {
        let answer = running.ask(line, &[JSON]).await;
        assert_eq!(status(&answer), 401, "{line}");
        assert!(answer.contains("www-authenticate: Bearer realm=\"torwart-admin\"\r\n"), "{answer}");
    }
    for wrong in ["Bearer", "Bearer ", "Bearer s3cret", "Bearer s3cret-token2", "Basic s3cret-token", "s3cret-token"] {
        let answer = running.ask("GET /api/v1/status", &[&format!("Authorization: {wrong}")]).await;
        assert_eq!(status(&answer), 401, "{wrong}");
    }
    let right = "Authorization: bearer s3cret-token";
    assert_eq!(status(&running.ask("GET /api/v1/status", &[right]).await), 200);
    assert_eq!(status(&running.ask("GET /api/v1/status", &[right, right]).await), 401);
    assert_eq!(status(&running.ask(RELOAD, &[right]).await), 415);
    assert_eq!(status(&running.ask(RELOAD, &[right, JSON]).await), 200);
}

#[tokio::test]
async fn the_keys_of_assertions_are_for_everybody_under_any_name() {
    const KEYS: &str = "GET /.well-known/torwart/jwks.json";
    let assertion = Some(AssertionState { issuer: "https://gw".to_owned(), keys: Vec::new(), error: None });
    let state = State { assertion, ..State::default() };
    let running = start("127.0.0.1:0", Some("s3cret-token\n"), Rules::default(), state);
    let answer = running.ask_as("gateway.internal:9901", KEYS, &["Origin: https://elsewhere.example"]).await;
    assert_eq!((status(&answer), body(&answer)), (200, serde_json::json!({"keys": []})));
    assert!(answer.contains("content-type: application/jwk-set+json\r\n"), "{answer}");
    assert!(answer.contains("cache-control: public, max-age=300\r\n") && !answer.contains("no-store"), "{answer}");
    let tag = answer.lines().find_map(|line| line.strip_prefix("etag: ")).unwrap();
    for known in [tag.to_owned(), format!("\"x\", W/{tag}"), "*".to_owned()] {
        let again = running.ask(KEYS, &[&format!("If-None-Match: {known}")]).await;
        assert_eq!((status(&again), again.split_once("\r\n\r\n").unwrap().1), (304, ""), "{known}");
        assert!(again.contains(&format!("etag: {tag}\r\n")), "{again}");
    }
    assert_eq!(status(&running.ask(KEYS, &["If-None-Match: \"x\""]).await), 200);
    let head = running.ask(&KEYS.replace("GET", "HEAD"), &[]).await;
    assert_eq!((status(&head), head.split_once("\r\n\r\n").unwrap().1), (200, ""));
    for other in ["POST /.well-known/torwart/jwks.json", "GET /.well-known/torwart/jwks.json/", "GET /api/v1/status"] {
        let answer = running.ask_as("gateway.internal:9901", other, &[]).await;
        assert_eq!(status(&answer), 421, "{other}");
    }
    assert_eq!(status(&plain().ask(KEYS, &[]).await), 404, "nobody signs");
}

#[tokio::test]
async fn a_token_file_that_is_empty_or_gone_lets_nobody_in() {
    for token in ["", " \n"] {
        let running = start("127.0.0.1:0", Some(token), Rules::default(), State::default());
        for sent in ["Authorization: Bearer ", "Authorization: Bearer  ", "X: y"] {
            assert_eq!(status(&running.ask("GET /api/v1/status", &[sent]).await), 401);
        }
    }
    let running = start("127.0.0.1:0", Some("token"), Rules::default(), State::default());
    std::fs::remove_file(running.directory.path().join("token")).unwrap();
    assert_eq!(status(&running.ask("GET /api/v1/status", &["Authorization: Bearer token"]).await), 401);
}

#[tokio::test]
async fn other_methods_and_paths_are_told_so() {
    let running = start("unix", None, Rules::default(), State::default());
    let answer = running.ask("DELETE /livez", &[JSON]).await;
    assert_eq!(status(&answer), 405);
    assert!(answer.contains("allow: GET, HEAD"), "{answer}");
    assert_eq!(status(&running.ask("GET /api/v1/reload", &[]).await), 405);
    assert_eq!(status(&running.ask("GET /nothing", &[]).await), 404);
    assert_eq!(status(&running.ask("HEAD /livez", &[]).await), 200);
}

/// A change with this body.
fn change<'a>(length: &'a str, body: &'a str) -> [&'a str; 3] {
    [JSON, length, body]
}

async fn post(running: &Running, body: &str) -> String {
    let length = format!("Content-Length: {}\r\n", body.len());
    running.ask("POST /api/v1/revocations", &change(&length, body)).await
}

#[tokio::test]
async fn revocations_are_made_listed_and_taken_back() {
    let running = start("unix", None, Rules::default(), State::default());
    let made = post(&running, r#"{"issuer": "new", "subject": "alice"}"#).await;
    assert_eq!(status(&made), 201, "{made}");
    assert_eq!((&body(&made)["id"], &body(&made)["kept"]), (&"0123".into(), &false.into()));
    assert_eq!(status(&post(&running, r#"{"issuer": "known", "jti": "t"}"#).await), 200);
    let orders = running.gateway.orders.lock().unwrap().clone();
    assert_eq!(orders.len(), 2);
    assert_eq!(orders[0].what, What::Subject("alice".to_owned()));
    let listed = body(&running.ask("GET /api/v1/revocations", &[]).await);
    assert_eq!((&listed["total"], &listed["revocations"][1]["value"]), (&2.into(), &"alice".into()));
    let page = body(&running.ask("GET /api/v1/revocations?limit=1", &[]).await);
    assert_eq!(page["revocations"].as_array().unwrap().len(), 1);
    assert_eq!(status(&running.ask("DELETE /api/v1/revocations/0123", &[JSON]).await), 200);
}

#[tokio::test]
async fn what_cannot_be_revoked_is_told_why() {
    let running = start("unix", None, Rules::default(), State::default());
    let wrong = post(&running, r#"{"issuer": "other", "jti": "t"}"#).await;
    assert_eq!((status(&wrong), &body(&wrong)["detail"]), (400, &"there is no issuer `other`".into()));
    assert_eq!(status(&post(&running, r#"{"issuer": "new"}"#).await), 400);
    assert_eq!(status(&post(&running, "").await), 400);
    let full = post(&running, r#"{"issuer": "full", "jti": "t"}"#).await;
    assert_eq!((status(&full), &body(&full)["detail"]), (500, &"the disk is full".into()));
    assert_eq!(status(&running.ask("GET /api/v1/revocations?limit=x", &[]).await), 400);
    assert_eq!(status(&running.ask("DELETE /api/v1/revocations/other", &[JSON]).await), 404);
    assert_eq!(status(&running.ask("DELETE /api/v1/revocations", &[JSON]).await), 405);
    assert_eq!(status(&running.ask("GET /api/v1/revocations/0123", &[]).await), 405);
}

#[tokio::test]
async fn who_may_not_change_anything_revokes_nothing() {
    let running = plain();
    assert_eq!(status(&post(&running, r#"{"issuer": "new", "subject": "alice"}"#).await), 403);
    assert_eq!(status(&running.ask("DELETE /api/v1/revocations/0123", &[JSON]).await), 403);
    let guarded = start("127.0.0.1:0", Some("token"), Rules::default(), State::default());
    assert_eq!(status(&post(&guarded, r#"{"issuer": "new", "subject": "alice"}"#).await), 401);
    assert_eq!(status(&guarded.ask("GET /api/v1/revocations", &[]).await), 401);
    let text = start("unix", None, Rules::default(), State::default());
    assert_eq!(status(&text.ask("DELETE /api/v1/revocations/0123", &[]).await), 415);
    for gateway in [running.gateway, guarded.gateway, text.gateway] {
        assert!(gateway.orders.lock().unwrap().is_empty());
    }
}

#[tokio::test]
async fn a_body_beyond_the_limit_is_refused() {
    let running = start("unix", None, Rules::default(), State::default());
    let length = format!("Content-Length: {}", BODY + 1);
    let head = format!("{RELOAD} HTTP/1.1\r\nHost: x\r\n{JSON}\r\n{length}\r\nConnection: close\r\n\r\n");
    let answer = running.raw(&(head + &"x".repeat(BODY + 1))).await;
    assert_eq!(status(&answer), 413);
    assert_eq!(running.gateway.reloads.load(Ordering::Relaxed), 0);
}

#[tokio::test]
async fn a_socket_is_taken_over_by_who_comes_later_and_another_file_is_not_replaced() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("s");
    let address = AdminAddress::Unix(path.clone());
    // The standard library leaves the file behind.
    drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
    let older = Listener::bind(&address).unwrap();
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o660);
    let later = Listener::bind(&address).unwrap();
    drop(older);
    let connected = UnixStream::connect(&path);
    let (_, accepted) = tokio::join!(connected, accept(&later));
    assert!(accepted.is_ok(), "the name is the later one's");
    drop(later);
    assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 0, "nothing is left behind");
    std::fs::write(&path, "precious").unwrap();
    assert_eq!(Listener::bind(&address).unwrap_err().kind(), io::ErrorKind::AlreadyExists);
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "precious");
}

#[tokio::test]
async fn a_running_gateway_can_be_asked_with_what_its_configuration_says() {
    let tcp = start("127.0.0.1:0", Some("token\n"), Rules::default(), State::default());
    let unix = start("unix", None, Rules::default(), State::default());
    for (running, token_file) in [(&tcp, Some(tcp.directory.path().join("token"))), (&unix, None)] {
        let admin = crate::config::Admin { address: running.address.clone(), token_file, tls: None };
        let asked = tokio::task::spawn_blocking(move || {
            let ask = |method, path| super::super::ask(&admin, &method, path, None).unwrap();
            [
                ask(http::Method::GET, "/livez").0,
                ask(http::Method::GET, "/readyz").0,
                ask(http::Method::GET, "/api/v1/status").0,
                ask(http::Method::POST, "/api/v1/reload").0,
            ]
        });
        assert_eq!(asked.await.unwrap().map(|status| status.as_u16()), [200, 503, 200, 200]);
    }
}

#[tokio::test]
async fn nobody_listening_is_an_error_that_says_where() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("s");
    let admin = crate::config::Admin { address: AdminAddress::Unix(path.clone()), token_file: None, tls: None };
    let asked = tokio::task::spawn_blocking(move || super::super::ask(&admin, &http::Method::GET, "/livez", None));
    let error = asked.await.unwrap().unwrap_err().to_string();
    assert!(error.contains(&format!("`unix:{}`", path.display())), "{error}");
}

#[tokio::test]
async fn who_is_let_in_is_asked_anew_for_every_request() {
    let running = plain();
    assert_eq!(status(&running.ask("GET /api/v1/status", &[]).await), 200);
    let AdminAddress::Tcp(address) = running.address else { panic!("a Unix socket") };
    let mut open = TcpStream::connect(address).await.unwrap();
    let request = format!("GET /livez HTTP/1.1\r\nHost: {address}\r\n\r\n");
    open.write_all(request.as_bytes()).await.unwrap();
    let mut first = [0; 15];
    open.read_exact(&mut first).await.unwrap();
    assert_eq!(&first, b"HTTP/1.1 200 OK");

    let token = running.directory.path().join("later");
    std::fs::write(&token, "secret").unwrap();
    running.gateway.terms.lock().unwrap().rules.token_file = Some(token);
    assert_eq!(status(&running.ask("GET /api/v1/status", &[]).await), 401);
    assert_eq!(status(&running.ask("GET /api/v1/status", &["Authorization: Bearer secret"]).await), 200);

    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let key = rustls_pki_types::PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let tls = builder.with_no_client_auth().with_single_cert(vec![made.cert.der().clone()], key).unwrap();
    running.gateway.terms.lock().unwrap().tls = Some(Arc::new(tls));
    open.write_all(request.as_bytes()).await.unwrap();
    let mut rest = String::new();
    let _ = open.read_to_string(&mut rest).await;
    assert!(!rest.contains("HTTP/1.1 2") && rest.ends_with('}'), "the connection was made without TLS: {rest}");
    assert!(!running.raw(&request).await.starts_with("HTTP"), "and without it there is no answer any more");
}
