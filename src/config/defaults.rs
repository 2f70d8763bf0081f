//! What holds where `torwart.yaml` says nothing (config.md).

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use super::{
    Admin, AdminAddress, Algorithm, Audiences, Audit, AuditPath, Balance, ClientAddressHeader, Config, Endpoint,
    Identity, IdentityEncoding, Issuer, KeySource, Limits, Logging, Preset, Protocol, Upstream, UpstreamHost,
    UpstreamTls, preset,
};
use crate::target::quirks::Quirks;

const KIB: usize = 1024;
const MIB: usize = 1024 * KIB;

impl Config {
    /// The configuration of a file that says nothing but its version: no listener, no issuer, no upstream.
    pub fn empty(path: PathBuf) -> Self {
        let policies = path.parent().unwrap_or(Path::new("")).join("policies");
        Self {
            path,
            workers: None,
            listeners: Vec::new(),
            trusted_proxies: Vec::new(),
            client_address_from: ClientAddressHeader::XForwardedFor,
            issuers: Vec::new(),
            upstreams: Vec::new(),
            policies,
            assertion_issuer: None,
            identity: Identity::default(),
            admin: Admin::default(),
            logging: Logging::default(),
            audit: Audit::default(),
            otlp: None,
            state_directory: None,
            limits: Limits::default(),
            files: Vec::new(),
            dev: false,
        }
    }
}

impl Issuer {
    /// Accepted algorithms where nothing is said (tokens.md).
    pub const ASYMMETRIC: [Algorithm; 9] = [
        Algorithm::Rs256,
        Algorithm::Rs384,
        Algorithm::Rs512,
        Algorithm::Ps256,
        Algorithm::Ps384,
        Algorithm::Ps512,
        Algorithm::Es256,
        Algorithm::Es384,
        Algorithm::EdDsa,
    ];
    /// Algorithms of an issuer with `secret_file`.
    pub const HMAC: [Algorithm; 3] = [Algorithm::Hs256, Algorithm::Hs384, Algorithm::Hs512];

    /// An issuer about which nothing is said but these. Its audiences are an empty list, which no token fits.
    pub fn new(name: &str, issuer: &str, preset: Option<Preset>) -> Self {
        let defaults = preset::defaults(preset);
        Self {
            name: Arc::from(name),
            preset,
            issuer: issuer.to_owned(),
            audiences: Audiences::OneOf(Vec::new()),
            leeway: 30,
            integration: false,
            algorithms: Self::ASYMMETRIC.to_vec(),
            strict_rfc9068: defaults.strict_rfc9068,
            keys: KeySource::Discovery,
            keys_max_stale: Duration::from_hours(24),
            claims: defaults.claims,
            case_insensitive: defaults.case_insensitive,
            client_credentials_when: defaults.client_credentials_when,
            user_when: defaults.user_when,
            subject_optional: defaults.subject_optional,
            permission_scope: defaults.permission_scope,
            tls_ca: None,
            introspection: None,
            userinfo: defaults.userinfo,
            sender_constraint_required: false,
            assumed: false,
        }
    }
}

impl Issuer {
    /// An issuer that policies name and nobody has configured: of the preset of that name, else as RFC 9068 has it.
    pub fn assumed(name: &str, issuer: &str) -> Self {
        let preset = Preset::named(name);
        Self { assumed: preset.is_none(), ..Self::new(name, issuer, preset.or(Some(Preset::Rfc9068))) }
    }
}

impl Upstream {
    /// An upstream about which nothing is said but these.
    pub fn new(name: &str, endpoints: Vec<Endpoint>) -> Self {
        Self {
            name: Arc::from(name),
            endpoints,
            protocol: Protocol::Http1,
            balance: Balance::RandomTwoLeastRequests,
            connect_timeout: Duration::from_secs(2),
            response_timeout: Duration::from_secs(30),
            idle_timeout: Duration::from_mins(1),
            health: None,
            tls: UpstreamTls::default(),
            quirks: Quirks::default(),
            host: UpstreamHost::Original,
            rewrite_location: false,
            max_connections: 1024,
        }
    }
}

impl Default for Identity {
    fn default() -> Self {
        Self { prefix: "X-Auth-".to_owned(), pass: Vec::new(), encoding: IdentityEncoding::Percent, max_bytes: 4 * KIB }
    }
}

impl Default for Admin {
    fn default() -> Self {
        let address = AdminAddress::Tcp(SocketAddr::from((Ipv4Addr::LOCALHOST, 9901)));
        Self { address, token_file: None, tls: None }
    }
}

impl Default for Logging {
    fn default() -> Self {
        Self { json: true, level: tracing::Level::INFO }
    }
}

impl Default for Audit {
    fn default() -> Self {
        Self { path: AuditPath::Stdout, allow: true, deny: true, required: false }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 10_000,
            connections_per_address: 1000,
            requests_per_connection: 100_000,
            concurrent_streams: 128,
            header_bytes: 32 * KIB,
            headers: 100,
            target_bytes: 8 * KIB,
            token: 16 * KIB,
            token_memory: 150 * MIB,
            body: 100 * MIB as u64,
            inspected_body: MIB,
            inspected_total: 64 * MIB,
            stream_follows_token: true,
            header_timeout: Duration::from_secs(10),
            body_idle_timeout: Duration::from_secs(30),
            idle_timeout: Duration::from_secs(75),
            tls_handshake_timeout: Duration::from_secs(10),
            drain: Duration::from_secs(30),
        }
    }
}
