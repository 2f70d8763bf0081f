//! Reads `torwart.yaml`: text to checked [`Config`], every problem collected.
//!
//! The shape is declared in `config/shape.rs`; what only meaning can show is checked here and in the siblings, one for
//! each large section. Readers take what is there and leave the default where something is absent or already
//! reported: a configuration is only handed out when nothing was.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use ipnet::IpNet;

use super::shape::CONFIGURATION;
use super::{
    Admin, AdminAddress, Audit, AuditPath, ClientAddressHeader, Config, FileKind, FileUse, Identity, IdentityEncoding,
    Limits, Logging, forms, issuers, listeners, upstreams,
};
use crate::diagnostic::{Diagnostic, Diagnostics, Place, Source, Span};
use crate::document::{Environment, Mapping, Node, check, expand, parse, read_file};
use crate::principal::{NotPassed, check_passed};

/// Reads the file at `path`.
pub fn load(path: &Path, environment: &dyn Environment) -> (Option<Config>, Diagnostics) {
    let (config, problems) = draft(path, environment);
    (config.filter(|_| !problems.has_errors()), problems)
}

/// Reads the file at `path` as far as it goes: with errors there is still what could be read, to look for more errors
/// elsewhere. Such a configuration is never to be put in force.
pub fn draft(path: &Path, environment: &dyn Environment) -> (Option<Config>, Diagnostics) {
    let mut problems = Diagnostics::new();
    let Some(source) = read_file(path, None, &mut problems) else { return (None, problems) };
    let whole = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    read_draft(&source, whole.parent().unwrap_or(Path::new("/")), environment)
}

/// Reads the text of a `torwart.yaml` whose relative paths start at `base`. Opens no file.
pub fn read(source: &Arc<Source>, base: &Path, environment: &dyn Environment) -> (Option<Config>, Diagnostics) {
    let (config, problems) = read_draft(source, base, environment);
    (config.filter(|_| !problems.has_errors()), problems)
}

fn read_draft(source: &Arc<Source>, base: &Path, environment: &dyn Environment) -> (Option<Config>, Diagnostics) {
    let mut problems = Diagnostics::new();
    let config = parse(source, &mut problems).and_then(|mut node| {
        expand(&mut node, environment, source, &mut problems);
        check(&node, &CONFIGURATION, source, &mut problems);
        let mut reader = Reader { source, base, problems: &mut problems, files: Vec::new() };
        node.map().map(|map| reader.configuration(map))
    });
    problems.sort();
    (config, problems)
}

/// What reading needs at hand.
pub(super) struct Reader<'r> {
    source: &'r Arc<Source>,
    base: &'r Path,
    pub(super) problems: &'r mut Diagnostics,
    files: Vec<FileUse>,
}

impl Reader<'_> {
    fn configuration(&mut self, map: &Mapping) -> Config {
        let mut config = Config::empty(self.source.path.clone());
        config.policies = self.base.join("policies");
        if let Some(node) = map.get("policies") {
            config.policies = self.file(node, FileKind::Policies);
        }
        config.workers = map.get("workers").and_then(Node::number);
        config.trusted_proxies = self.networks(map.list("trusted_proxies"));
        if map.text("client_address_from") == Some("forwarded") {
            config.client_address_from = ClientAddressHeader::Forwarded;
        }
        config.listeners = listeners::read(self, map.list("listeners"), !config.trusted_proxies.is_empty());
        config.issuers = issuers::read(self, map.list("issuers"), &config.listeners);
        config.upstreams = upstreams::read(self, map.map("upstreams"));
        config.assertion_issuer = map.map("assertion").and_then(|map| map.text("issuer")).map(str::to_owned);
        config.identity = self.identity(map.map("identity"));
        config.admin = self.admin(map.map("admin"));
        config.logging = logging(map.map("logging"));
        config.audit = self.audit(map.map("audit"));
        config.otlp = map.map("telemetry").and_then(|map| map.text("otlp")).map(str::to_owned);
        let directory = map.map("state").and_then(|map| map.text("directory"));
        config.state_directory = directory.map(|directory| self.base.join(directory));
        config.limits = limits(map.map("limits"));
        config.files = std::mem::take(&mut self.files);
        config
    }

    fn identity(&mut self, map: Option<&Mapping>) -> Identity {
        let mut identity = Identity::default();
        let Some(map) = map else { return identity };
        if let Some(prefix) = map.text("prefix") {
            prefix.clone_into(&mut identity.prefix);
        }
        for node in map.list("pass") {
            let Some(name) = node.text().filter(|name| (forms::HEADER.check)(name).is_ok()) else { continue };
            match check_passed(&identity.prefix, name) {
                Err(NotPassed::OutsidePrefix) => {
                    let shown = self.shown(node);
                    self.error(node, format!("`{shown}` does not begin with the identity prefix"))
                        .help("remove it: other names are passed anyway");
                }
                Err(NotPassed::SetByGateway) => {
                    let shown = self.shown(node);
                    self.error(node, format!("the gateway sets `{shown}` itself"))
                        .help("remove it: a client's own would be believed");
                }
                Ok(()) => identity.pass.push(name.to_owned()),
            }
        }
        identity.encoding = match map.text("encoding") {
            Some("latin1") => IdentityEncoding::Latin1,
            Some("base64") => IdentityEncoding::Base64,
            _ => IdentityEncoding::Percent,
        };
        set(&mut identity.max_bytes, map, "max_bytes");
        identity
    }

    fn admin(&mut self, map: Option<&Mapping>) -> Admin {
        let mut admin = Admin::default();
        let Some(map) = map else { return admin };
        if let Some(address) = map.text("address").and_then(|text| forms::admin_address(text).ok()) {
            admin.address = address;
        }
        admin.token_file = map.get("token_file").map(|node| self.file(node, FileKind::Secret));
        admin.tls = map.map("tls").map(|tls| listeners::tls(self, tls));
        let guarded = admin.token_file.is_some() || admin.tls.as_ref().is_some_and(listeners::demands_certificates);
        if let (AdminAddress::Tcp(address), Some(node)) = (&admin.address, map.get("address"))
            && !super::unmapped(address.ip()).is_loopback()
        {
            let shown = self.shown(node);
            if !guarded {
                self.error(node, format!("the admin listener `{shown}` is open to the network")).help(
                    "add `admin.token_file`, or `admin.tls` with `client_certificates: {mode: required, ca: FILE}`",
                );
            } else if admin.tls.is_none() {
                self.warning(node, format!("the admin token crosses the network in the clear to `{shown}`"))
                    .help("add `admin.tls`");
            }
        }
        if let (AdminAddress::Unix(_), Some(entry)) = (&admin.address, map.entry("tls")) {
            self.error_at(entry.key.span, "a Unix socket has no TLS").help("remove `tls`");
        }
        admin
    }

    fn audit(&mut self, map: Option<&Mapping>) -> Audit {
        let mut audit = Audit::default();
        let Some(map) = map else { return audit };
        match map.text("path") {
            None | Some("-") => {}
            Some(path) => audit.path = AuditPath::File(self.base.join(path)),
        }
        if map.get("include").is_some() {
            let listed = |word: &str| map.list("include").iter().any(|node| node.text() == Some(word));
            (audit.allow, audit.deny) = (listed("allow"), listed("deny"));
        }
        audit.required = map.bool("required").unwrap_or(false);
        if let (false, Some(node)) = (audit.allow && audit.deny, map.get("required").filter(|_| audit.required)) {
            self.warning(node, "`required` holds only for decisions that `include` names");
        }
        audit
    }

    /// The networks of a list, with a warning for one that is everybody.
    pub(super) fn networks(&mut self, nodes: &[Node]) -> Vec<IpNet> {
        let mut networks = Vec::new();
        for node in nodes {
            let Some(network) = node.network() else { continue };
            if network.prefix_len() == 0 {
                self.warning(node, format!("`{network}` trusts everybody to say where a request comes from"))
                    .help("name the networks of your proxies");
            }
            networks.push(network);
        }
        networks
    }

    /// The path that a value names, kept for checking and watching.
    pub(super) fn file(&mut self, node: &Node, kind: FileKind) -> PathBuf {
        let path = self.base.join(node.text().unwrap_or_default());
        self.files.push(FileUse { kind, path: path.clone(), place: node.place(self.source) });
        path
    }

    /// A file inside of a directory that a value names, kept likewise.
    pub(super) fn file_in(&mut self, directory: &Node, name: &str, kind: FileKind) -> PathBuf {
        let path = self.base.join(directory.text().unwrap_or_default()).join(name);
        self.files.push(FileUse { kind, path: path.clone(), place: directory.place(self.source) });
        path
    }

    pub(super) fn error(&mut self, node: &Node, message: impl Into<String>) -> &mut Diagnostic {
        self.error_at(node.span, message)
    }

    pub(super) fn error_at(&mut self, span: Span, message: impl Into<String>) -> &mut Diagnostic {
        let place = self.place(span);
        self.problems.error(place, message)
    }

    pub(super) fn warning(&mut self, node: &Node, message: impl Into<String>) -> &mut Diagnostic {
        let place = self.place(node.span);
        self.problems.warning(place, message)
    }

    /// A value as findings show it: what the file says, never what the environment holds.
    pub(super) fn shown(&self, node: &Node) -> String {
        let written = self.source.text.get(node.span.start..node.span.end);
        if node.expanded { written } else { node.text().or(written) }.unwrap_or_default().to_owned()
    }

    pub(super) fn place(&self, span: Span) -> Place {
        Place { source: Arc::clone(self.source), span }
    }
}

fn logging(map: Option<&Mapping>) -> Logging {
    let mut logging = Logging::default();
    let Some(map) = map else { return logging };
    logging.json = map.text("format") != Some("pretty");
    if let Some(level) = map.text("level").and_then(|level| level.parse().ok()) {
        logging.level = level;
    }
    logging
}

fn limits(map: Option<&Mapping>) -> Limits {
    let mut limits = Limits::default();
    let Some(map) = map else { return limits };
    set(&mut limits.connections, map, "connections");
    set(&mut limits.connections_per_address, map, "connections_per_address");
    set(&mut limits.requests_per_connection, map, "requests_per_connection");
    set(&mut limits.concurrent_streams, map, "concurrent_streams");
    set(&mut limits.header_bytes, map, "header_bytes");
    set(&mut limits.headers, map, "headers");
    set(&mut limits.target_bytes, map, "target_bytes");
    set(&mut limits.token, map, "token");
    set(&mut limits.token_memory, map, "token_memory");
    set(&mut limits.body, map, "body");
    set(&mut limits.inspected_body, map, "inspected_body");
    set(&mut limits.inspected_total, map, "inspected_total");
    if let Some(value) = map.bool("stream_follows_token") {
        limits.stream_follows_token = value;
    }
    let durations = [
        (&mut limits.header_timeout, "header_timeout"),
        (&mut limits.body_idle_timeout, "body_idle_timeout"),
        (&mut limits.idle_timeout, "idle_timeout"),
        (&mut limits.tls_handshake_timeout, "tls_handshake_timeout"),
        (&mut limits.drain, "drain"),
    ];
    for (limit, key) in durations {
        if let Some(value) = map.duration(key) {
            *limit = value;
        }
    }
    limits
}

/// Sets a number from a count or a size.
fn set<T: TryFrom<u64>>(target: &mut T, map: &Mapping, key: &str) {
    if let Some(value) = map.size(key).and_then(|value| T::try_from(value).ok()) {
        *target = value;
    }
}

#[cfg(test)]
mod tests {
    use super::super::FlowRule;
    use super::*;

    fn none(_: &str) -> Option<String> {
        None
    }

    fn read_text(text: &str) -> (Option<Config>, String) {
        let source = Arc::new(Source { path: "torwart.yaml".into(), text: text.to_owned() });
        let (config, problems) = read(&source, Path::new("/base"), &none);
        (config, problems.render())
    }

    fn good(text: &str) -> Config {
        let (config, problems) = read_text(text);
        config.unwrap_or_else(|| panic!("{problems}"))
    }

    /// The example of config.md without what is absent unless written.
    const SPELT_OUT: &str = r#"
version: 1
client_address_from: x-forwarded-for
policies: policies
identity: {prefix: X-Auth-, pass: [], encoding: percent, max_bytes: 4KiB}
admin: {address: 127.0.0.1:9901}
logging: {format: json, level: info}
audit: {path: "-", include: [allow, deny], required: false}
state: {directory: null}
limits:
  connections: 10000
  connections_per_address: 1000
  requests_per_connection: 100000
  concurrent_streams: 128
  header_bytes: 32KiB
  headers: 100
  target_bytes: 8KiB
  token: 16KiB
  token_memory: 150MiB
  body: 100MiB
  inspected_body: 1MiB
  inspected_total: 64MiB
  stream_follows_token: true
  header_timeout: 10s
  body_idle_timeout: 30s
  idle_timeout: 75s
  tls_handshake_timeout: 10s
  drain: 30s
workers: auto
"#;

    #[test]
    fn an_almost_empty_file_means_every_default_of_the_specification() {
        let mut spelt_out = good(SPELT_OUT);
        spelt_out.files.clear();
        assert_eq!(format!("{spelt_out:#?}"), format!("{:#?}", good("version: 1\n")));
    }

    #[test]
    fn each_part_has_the_defaults_of_the_specification() {
        let config = good(
            r#"
version: 1
listeners:
  - {address: "127.0.0.1:8443", tls: {certificates: [{certificate: a.pem, key: a.key}]}}
issuers:
  - {name: shoen, issuer: "https://auth.example.com", audiences: [https://api.example.com]}
upstreams:
  crm: {endpoints: ["http://127.0.0.1:9000"]}
"#,
        );
        let spelt_out = good(
            r#"
version: 1
listeners:
  - address: "127.0.0.1:8443"
    protocols: [h2, http/1.1]
    tls: {certificates: [{certificate: a.pem, key: a.key}], min_version: "1.2", client_certificates: {mode: none}}
    proxy_protocol: false
    insecure: false
issuers:
  - name: shoen
    issuer: https://auth.example.com
    audiences: [https://api.example.com]
    leeway: 30s
    environment: production
    algorithms: [RS256, RS384, RS512, PS256, PS384, PS512, ES256, ES384, EdDSA]
    keys: {max_stale: 24h}
    claims: {subject: sub, client: client_id, scopes: {first_of: [scope, scp]}}
    claims_case: {insensitive: []}
    sender_constraint: optional
upstreams:
  crm:
    endpoints: ["http://127.0.0.1:9000"]
    protocol: http1
    balance: random_two_least_requests
    timeouts: {connect: 2s, response: 30s, idle: 60s}
    quirks: {case: unknown, empty_segments: merge, charset: utf8, method_override: unknown, form_parameters: mixed}
    host: original
    rewrite_location: false
    max_connections: 1024
"#,
        );
        let parts =
            |config: &Config| format!("{:#?}\n{:#?}\n{:#?}", config.listeners, config.issuers, config.upstreams);
        assert_eq!(parts(&config), parts(&spelt_out));
    }

    #[test]
    fn paths_are_relative_to_the_file() {
        let config = good(
            "version: 1\npolicies: rules\nstate: {directory: state}\naudit: {path: audit.jsonl}\nadmin: {token_file: /etc/token}\n",
        );
        assert_eq!(config.policies, Path::new("/base/rules"));
        assert_eq!(config.state_directory.as_deref(), Some(Path::new("/base/state")));
        assert_eq!(config.audit.path, AuditPath::File("/base/audit.jsonl".into()));
        assert_eq!(config.admin.token_file.as_deref(), Some(Path::new("/etc/token")));
        let kinds: Vec<_> = config.files.iter().map(|file| file.kind).collect();
        assert_eq!(kinds, [FileKind::Policies, FileKind::Secret]);
    }

    #[test]
    fn a_number_may_come_from_the_environment_and_is_never_shown() {
        let environment = |name: &str| match name {
            "WORKERS" => Some("4".to_owned()),
            "STRICT" => Some("true".to_owned()),
            "SECRET" => Some("hunter2".to_owned()),
            _ => None,
        };
        let text = "version: 1\nworkers: ${WORKERS}\naudit: {required: \"${STRICT}\"}\n";
        let source = Arc::new(Source { path: "t.yaml".into(), text: text.to_owned() });
        let (config, problems) = read(&source, Path::new("/"), &environment);
        let config = config.unwrap_or_else(|| panic!("{}", problems.render()));
        assert_eq!(config.workers, Some(4));
        assert!(config.audit.required);

        let text = "version: 1\nworkers: ${SECRET}\nlimits: {drain: \"${SECRET}\", connections: \"${SECRET}\"}\nadmin: {address: \"${SECRET}\"}\n";
        let source = Arc::new(Source { path: "t.yaml".into(), text: text.to_owned() });
        let (config, problems) = read(&source, Path::new("/"), &environment);
        assert!(config.is_none());
        assert_eq!(problems.iter().count(), 4, "{}", problems.render());
        assert!(!problems.render().contains("hunter2"), "{}", problems.render());
    }

    #[test]
    fn presets_are_defaults_that_the_file_overrides() {
        let config = good(
            r#"
version: 1
issuers:
  - {name: a, preset: kusy, issuer: "https://a.example", audiences: [x]}
  - {name: b, preset: kusy, issuer: "https://b.example", audiences: [x], client_credentials_when: never, claims: {client: azp, permissions: [realm_access, roles]}}
  - {name: c, preset: ameise, issuer: "https://c.example", audiences: [x], userinfo: {cache: 1m}}
"#,
        );
        let rules: Vec<_> = config.issuers.iter().map(|issuer| issuer.client_credentials_when.clone()).collect();
        assert_eq!(rules, [Some(FlowRule::ClientEqualsSubject), Some(FlowRule::Never), Some(FlowRule::Never)]);
        assert_eq!(config.issuers[1].claims.permissions[0].0.as_ref(), ["realm_access", "roles"]);
        assert_eq!(config.issuers[2].userinfo.as_ref().unwrap().cache.as_secs(), 60);
        assert_eq!(config.issuers[2].userinfo.as_ref().unwrap().claims.len(), 3);
    }

    #[test]
    fn dev_issuers_are_refused() {
        let (config, problems) = read_text(
            "version: 1\nissuers: [{name: a, environment: integration, issuer: \"http://127.0.0.1:1/.torwart-dev/a\", audiences: [x]}]\n",
        );
        assert!(config.is_none());
        assert!(problems.contains("torwart dev"), "{problems}");
    }

    #[test]
    fn the_schema_names_every_key_and_refuses_others() {
        let schema = super::super::schema();
        let root = &schema["$defs"]["configuration"];
        assert_eq!(root["additionalProperties"], serde_json::json!(false));
        assert_eq!(root["properties"].as_object().unwrap().len(), 16);
        assert!(schema["$defs"]["limits"]["properties"]["token_memory"]["description"].is_string());
    }
}
