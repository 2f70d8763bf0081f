//! A gateway with everything it needs, started in this process on ports that the system chooses.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tempfile::TempDir;
use torwart::config::{self, Config, Documents};
use torwart::server::inherited::Inherited;
use torwart::server::memory::Memory;
use torwart::server::{self, Running};
use torwart::snapshot::{Control, Material, Reader, Reading, Snapshots};
use torwart::telemetry::Telemetry;

use super::authority::Authority;
use super::client::Client;
use super::tokens::{AUDIENCE, ISSUER, Issuer};
use super::upstream::{self, Behaviour, Upstream};

/// The customer whose tokens [`Gateway::alice`] makes.
pub(crate) const ALICE: &str = "5f8c1a52-9d1e-4e0b-8a77-0c6f1be0a111";
/// Somebody else.
pub(crate) const BOB: &str = "0b3e7d64-21c5-4f7a-9c1e-6a2d8f4b9e02";

/// The policy that most tests ask.
pub(crate) const POLICY: &str = r#"
version: 1
policy: api
hosts: [api.test, "127.0.0.1"]
upstream: api
routes:
  - {path: "/open/{*rest}", methods: "*", require: public, unbound: [rest]}
  - {path: "/admin/{*rest}", methods: "*", require: {scope: admin}, unbound: [rest]}
  - {path: /me, methods: [GET], require: authenticated}
  - path: "/customers/{customer}"
    methods: [GET, POST]
    params: {customer: uuid}
    require: {scope: "customers:read", subject: "{customer}"}
"#;

/// What a world is made of. Everything has a default.
pub(crate) struct World {
    behaviour: Behaviour,
    policies: Vec<String>,
    listeners: String,
    limits: String,
    more: String,
    upstream: String,
    endpoints: Vec<SocketAddr>,
    issuers: String,
    audit: String,
    workers: usize,
    files: Vec<(String, String)>,
    beyond: fn(&mut Config),
    memory: Memory,
}

/// A running gateway and what surrounds it.
pub(crate) struct Gateway {
    pub(crate) upstream: Upstream,
    pub(crate) issuer: Issuer,
    pub(crate) authority: Authority,
    pub(crate) directory: TempDir,
    pub(crate) snapshots: Arc<Snapshots>,
    running: Option<Running>,
    addresses: Vec<SocketAddr>,
    telemetry: Arc<Telemetry>,
    control: Control,
}

impl World {
    pub(crate) fn new() -> Self {
        Self {
            behaviour: upstream::plain(),
            policies: vec![POLICY.to_owned()],
            listeners: "  - {address: \"127.0.0.1:0\"}\n  - address: \"127.0.0.1:0\"\n    \
                        tls: {certificates: [{certificate: leaf.pem, key: leaf.key}]}\n"
                .to_owned(),
            limits: String::new(),
            more: String::new(),
            upstream: String::new(),
            endpoints: Vec::new(),
            issuers: String::new(),
            audit: "{path: audit.log}".to_owned(),
            workers: 1,
            files: Vec::new(),
            beyond: |_| {},
            memory: Memory::of_the_system(),
        }
    }

    /// How the upstream answers.
    pub(crate) fn answering(mut self, behaviour: Behaviour) -> Self {
        self.behaviour = behaviour;
        self
    }

    /// Other policies than the usual one.
    pub(crate) fn policies(mut self, policies: &[&str]) -> Self {
        self.policies = policies.iter().map(|text| (*text).to_owned()).collect();
        self
    }

    /// Other listeners than one without and one with TLS.
    pub(crate) fn listeners(mut self, yaml: &str) -> Self {
        yaml.clone_into(&mut self.listeners);
        self
    }

    /// An entry of `limits`.
    pub(crate) fn limit(mut self, entry: &str) -> Self {
        let _ = writeln!(self.limits, "  {entry}");
        self
    }

    /// More of `torwart.yaml`.
    pub(crate) fn with(mut self, yaml: &str) -> Self {
        let _ = writeln!(self.more, "{yaml}");
        self
    }

    /// More keys of the upstream.
    pub(crate) fn upstream(mut self, yaml: &str) -> Self {
        self.upstream = format!(", {yaml}");
        self
    }

    /// Another endpoint of the upstream.
    pub(crate) fn endpoint(mut self, address: SocketAddr) -> Self {
        self.endpoints.push(address);
        self
    }

    /// Another issuer.
    pub(crate) fn issuer(mut self, yaml: &str) -> Self {
        self.issuers.push_str(yaml);
        self
    }

    /// Other audit records than in `audit.log`.
    pub(crate) fn audit(mut self, yaml: &str) -> Self {
        yaml.clone_into(&mut self.audit);
        self
    }

    /// A file beside `torwart.yaml`.
    pub(crate) fn file(mut self, name: &str, text: &str) -> Self {
        self.files.push((name.to_owned(), text.to_owned()));
        self
    }

    /// A configuration that no file can ask for.
    pub(crate) fn beyond(mut self, change: fn(&mut Config)) -> Self {
        self.beyond = change;
        self
    }

    /// A kernel that tells in this directory how much memory is used.
    pub(crate) fn memory(mut self, directory: &Path) -> Self {
        self.memory = Memory::told_in(directory, directory);
        self
    }

    /// More than one worker.
    pub(crate) fn workers(mut self, count: usize) -> Self {
        self.workers = count;
        self
    }

    pub(crate) fn start(self) -> Gateway {
        let upstream = Upstream::start(Arc::clone(&self.behaviour));
        let (issuer, authority) = (Issuer::new(), Authority::new());
        let directory = tempfile::tempdir().expect("a directory");
        let root = directory.path();
        authority.leaf(&["api.test", "*.wild.test", "127.0.0.1"]).write(root, "leaf");
        authority.leaf(&["other.test"]).write(root, "other");
        write(root, "ca.pem", &authority.pem());
        write(root, "keys.json", &issuer.key_set().to_string());
        std::fs::create_dir(root.join("policies")).expect("a directory");
        for (name, text) in &self.files {
            write(root, name, text);
        }
        for (number, policy) in self.policies.iter().enumerate() {
            write(root, &format!("policies/{number}.yaml"), policy);
        }
        write(root, "torwart.yaml", &self.yaml(upstream.address));
        let path = root.join("torwart.yaml");
        let (config, problems) = config::load(&path, &|_: &str| None);
        let config = config.unwrap_or_else(|| panic!("{}", problems.render()));
        let telemetry = Telemetry::start(&config).expect("telemetry");
        let control = Control::start().expect("a thread");
        let beyond = self.beyond;
        let reader: Reader = Box::new(move || {
            let mut reading = read(&path);
            reading.material.iter_mut().for_each(|material| beyond(&mut material.config));
            reading
        });
        let (snapshots, _) = Snapshots::load(reader, Arc::clone(&telemetry), &control)
            .unwrap_or_else(|problems| panic!("{}", problems.render()));
        let running = server::start_within(&snapshots, Inherited::default(), self.memory).expect("listeners");
        Gateway {
            addresses: running.addresses().to_vec(),
            running: Some(running),
            upstream,
            issuer,
            authority,
            directory,
            snapshots,
            telemetry,
            control,
        }
    }

    fn yaml(&self, upstream: SocketAddr) -> String {
        let Self { listeners, limits, more, workers, upstream: keys, issuers, audit, .. } = self;
        let endpoints = std::iter::once(&upstream).chain(&self.endpoints);
        let endpoints: Vec<_> = endpoints.map(|address| format!("\"http://{address}\"")).collect();
        let endpoints = endpoints.join(", ");
        let limits = if limits.is_empty() { String::new() } else { format!("limits:\n{limits}") };
        format!(
            "version: 1\nworkers: {workers}\nlisteners:\n{listeners}\
             issuers:\n  - name: shoen\n    issuer: {ISSUER}\n    audiences: [\"{AUDIENCE}\"]\n    \
             jwks_file: keys.json\n    client_credentials_when: client_equals_subject\n{issuers}\
             upstreams:\n  api: {{endpoints: [{endpoints}]{keys}}}\n\
             policies: policies\nlogging: {{level: error}}\naudit: {audit}\n{limits}{more}"
        )
    }
}

impl Gateway {
    /// The listener without TLS.
    pub(crate) fn plain(&self) -> SocketAddr {
        self.addresses[0]
    }

    /// The listener with TLS.
    pub(crate) fn secure(&self) -> SocketAddr {
        self.addresses[1]
    }

    /// A connection without TLS.
    pub(crate) fn client(&self) -> Client {
        Client::plain(self.plain())
    }

    /// A connection with TLS that speaks HTTP/1.1.
    pub(crate) fn tls_client(&self, name: &str) -> Client {
        let config = Arc::new(self.authority.client(&["http/1.1"], None));
        Client::tls(self.secure(), config, name).expect("a handshake")
    }

    /// Client connections that are open.
    pub(crate) fn connections(&self) -> usize {
        self.running.as_ref().map_or(0, Running::connections)
    }

    /// Waits until no client connection is open: a client sees its connection end a moment before its place is free.
    pub(crate) fn wait_for_the_last_connection(&self) {
        let begun = Instant::now();
        while self.connections() > 0 {
            assert!(begun.elapsed() < Duration::from_secs(20), "a connection stays");
            std::thread::yield_now();
        }
    }

    /// A token of Alice's that may read her customers.
    pub(crate) fn alice(&self) -> String {
        self.issuer.token(&json!({"sub": ALICE, "scope": "customers:read"}))
    }

    /// A token with these claims.
    pub(crate) fn token(&self, claims: &Value) -> String {
        self.issuer.token(claims)
    }

    /// Waits until the gateway has ended and returns every audit record.
    pub(crate) fn records(&mut self) -> Vec<Value> {
        if let Some(running) = self.running.take() {
            running.shutdown();
        }
        self.telemetry.finish();
        let text = std::fs::read_to_string(self.directory.path().join("audit.log")).unwrap_or_default();
        text.lines().map(|line| serde_json::from_str(line).expect("a record")).collect()
    }

    /// Ends the gateway and starts another one over the same files.
    pub(crate) fn restart(&mut self) -> Result<(), String> {
        self.running().shutdown();
        let path = self.directory.path().join("torwart.yaml");
        let reader: Reader = Box::new(move || read(&path));
        let loaded = Snapshots::load(reader, Arc::clone(&self.telemetry), &self.control);
        self.snapshots = loaded.map_err(|problems| problems.render())?.0;
        let running = server::start(&self.snapshots, Inherited::default()).expect("listeners");
        self.addresses = running.addresses().to_vec();
        self.running = Some(running);
        Ok(())
    }

    /// Takes the running server, to end it.
    pub(crate) fn running(&mut self) -> Running {
        self.running.take().expect("it runs")
    }

    /// Writes a file beside `torwart.yaml`.
    pub(crate) fn write(&self, name: &str, text: &str) {
        write(self.directory.path(), name, text);
    }

    /// Changes `torwart.yaml`.
    pub(crate) fn edit(&self, from: &str, to: &str) {
        let path = self.directory.path().join("torwart.yaml");
        let text = std::fs::read_to_string(&path).expect("a file");
        assert!(text.contains(from), "{text}");
        std::fs::write(path, text.replace(from, to)).expect("a file");
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        if let Some(running) = self.running.take() {
            running.shutdown();
        }
    }
}

fn read(path: &Path) -> Reading {
    let (config, mut problems) = config::load(path, &|_: &str| None);
    let named = vec![path.to_owned()];
    let Some(config) = config else { return Reading { material: None, problems, named } };
    let policies = config::documents(&config.policies, Documents::Policies, None, &mut problems);
    Reading { material: Some(Material { config, policies }), problems, named }
}

fn write(directory: &Path, name: &str, text: &str) {
    std::fs::write(directory.join(name), text).expect("a file");
}
