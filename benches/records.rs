//! What the records of one allowed request cost: `cargo bench --bench records 2>/dev/null`. Figures are in docs/performance.md.
//!
//! `TORWART_RECORDS=20000 TORWART_KIND=both` hands in that many of one kind and measures nothing: what callgrind is given,
//! because instruction counts repeat on a busy machine. `TORWART_RATE=500` hands in so many a second, as requests come.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a measurement that cannot go on fails")]

use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant};

use divan::Bencher;
use http::{Method, Version};
use tempfile::TempDir;
use torwart::clock::Timestamp;
use torwart::config::{AuditPath, Config};
use torwart::principal::{Flow, IssuerId, IssuerIdentity, Principal, Texts};
use torwart::telemetry::metrics::UpstreamMetrics;
use torwart::telemetry::{Mode, Recording, Revision, Route, Step, Telemetry, UpstreamCall, Verdict};

const CUSTOMER: &str = "5f8c1a52-9d1e-4e0b-8a77-0c6f1be0a111";
const ORGANIZATION: &str = "0b3e7d64-21c5-4f7a-9c1e-6a2d8f4b9e02";

/// What is kept of a request beside counters.
const KINDS: [&str; 4] = ["nothing", "audit", "access", "both"];

/// Records handed in before the threads that write are waited for: fewer than they have places.
const AT_ONCE: u64 = 1000;

fn main() {
    let Ok(kind) = std::env::var("TORWART_KIND") else { return divan::main() };
    let number = |name: &str| std::env::var(name).ok().map(|number| number.parse::<u64>().unwrap());
    let scene = Scene::of(&kind);
    let rate = number("TORWART_RATE");
    let begin = Instant::now();
    for count in 0..number("TORWART_RECORDS").unwrap_or(1) {
        scene.request(&Method::GET);
        match rate {
            Some(rate) => {
                let due = Duration::from_secs(count + 1) / u32::try_from(rate).unwrap();
                pause(due.saturating_sub(begin.elapsed()));
            }
            None if count % AT_ONCE == 0 => scene.settle(count + 1),
            None => (),
        }
    }
    scene.telemetry.finish();
}

#[divan::bench(args = KINDS)]
fn an_allowed_request(bencher: Bencher<'_, '_>, kind: &str) {
    let scene = Scene::of(kind);
    bencher.bench(|| scene.request(black_box(&Method::GET)));
}

struct Scene {
    telemetry: Arc<Telemetry>,
    route: Arc<Route>,
    principal: Arc<Principal>,
    name: Arc<str>,
    endpoint: Arc<str>,
    metrics: Arc<UpstreamMetrics>,
    audited: bool,
    kind: String,
    _directory: TempDir,
}

impl Scene {
    fn of(kind: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let mut config = Config::empty(directory.path().join("torwart.yaml"));
        let audited = ["audit", "both"].contains(&kind);
        (config.audit.allow, config.audit.deny) = (audited, audited);
        config.audit.path = AuditPath::File(directory.path().join("audit.jsonl"));
        let accessed = ["access", "both"].contains(&kind);
        config.logging.level = if accessed { tracing::Level::INFO } else { tracing::Level::WARN };
        let telemetry = Telemetry::start(&config).unwrap();
        let routes = telemetry.metrics().routes([("customers", "GET /customers/{customer}/orders", Mode::Enforce)]);
        let route = routes.find("customers", "GET /customers/{customer}/orders").cloned();
        Self {
            route: route.unwrap_or_else(|| panic!("a route")),
            metrics: telemetry.metrics().upstream("orders"),
            telemetry,
            principal: Arc::new(principal()),
            name: "orders".into(),
            endpoint: "127.0.0.1:9000".into(),
            audited,
            kind: kind.to_owned(),
            _directory: directory,
        }
    }

    /// What the gateway does for the records of one request.
    fn request(&self, method: &Method) {
        let mut record = Recording::start(&self.telemetry, method.clone(), Version::HTTP_11);
        record.tls = true;
        record.host = Some("api.example.com".into());
        record.address = Some([192, 0, 2, 10].into());
        record.path = Some(format!("/customers/{CUSTOMER}/orders"));
        record.route = Some(Arc::clone(&self.route));
        record.principal = Some(Arc::clone(&self.principal));
        record.revision = Revision([0xcd; 16]);
        record.verdict = Verdict::Allow;
        if self.audited {
            record.values = vec![("customer".into(), CUSTOMER.into())];
        }
        record.upstream = Some(UpstreamCall {
            name: Arc::clone(&self.name),
            metrics: Arc::clone(&self.metrics),
            endpoint: Some(Arc::clone(&self.endpoint)),
            retries: 0,
            over_budget: false,
            step: Step { after: record.started.elapsed(), duration: Duration::ZERO },
            status: Some(200),
            failure: None,
        });
        record.status = Some(200);
        record.response_bytes = 1024;
    }

    /// Waits until that many records are written.
    fn settle(&self, count: u64) {
        let metrics = self.telemetry.metrics();
        let sinks = [("audit", &metrics.audit), ("access", &metrics.access)];
        let used = sinks.iter().filter(|(name, _)| self.kind == *name || self.kind == "both");
        for (_, sink) in used {
            while sink.written.value() < count {
                assert_eq!((sink.dropped.value(), sink.failed.value()), (0, 0), "records are lost");
                pause(Duration::from_millis(1));
            }
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "what is measured is what happens in between")]
fn pause(duration: Duration) {
    std::thread::sleep(duration);
}

fn principal() -> Principal {
    let words = |text: &str| text.split(' ').collect::<Texts>();
    Principal {
        subject: Some(CUSTOMER.to_owned()),
        client: Some("app".to_owned()),
        scopes: words("openid crm contracts lists orders files"),
        organizations: Some(words(&format!("{CUSTOMER} {ORGANIZATION}"))),
        global: Some(false),
        flow: Flow::User,
        token_id: Some("6e1f0c2a-33d1-4c52-9b0a-2f6f0c7a9e11".to_owned()),
        token_digest: [0xab; 32],
        expires_at: Timestamp(1_700_000_300),
        leeway: 30,
        ..Principal::of(Arc::new(IssuerIdentity::named(IssuerId(0), "shoen")))
    }
}
