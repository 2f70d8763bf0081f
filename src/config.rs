//! `torwart.yaml` after it has been checked: every value typed, every default filled in, every path absolute.
//!
//! The shape of the file is in [`document`]; reading it collects every problem at once.

mod defaults;
pub mod document;
mod files;
mod forms;
mod inspect;
mod issuers;
mod listeners;
pub mod preset;
mod shape;
mod upstreams;
mod written;

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;

use crate::diagnostic::{Diagnostics, Place};
use crate::document::{Shape, Variables, json_schema};
use crate::principal::ClaimPath;
use crate::target::quirks::Quirks;

pub use document::{draft, load, read};
pub use files::{Documents, documents, locate};
pub use inspect::inspect;

/// The whole configuration.
#[derive(Debug, Clone)]
pub struct Config {
    /// The file it came from.
    pub path: PathBuf,
    /// Worker threads; `None` is one per core.
    pub workers: Option<usize>,
    /// Where connections are accepted.
    pub listeners: Vec<Listener>,
    /// Peers whose `X-Forwarded-*` and PROXY headers count, for listeners without a list of their own.
    pub trusted_proxies: Vec<IpNet>,
    /// Which header a trusted proxy names the client in.
    pub client_address_from: ClientAddressHeader,
    /// Authorization servers; their position is their [`crate::principal::IssuerId`].
    pub issuers: Vec<Issuer>,
    /// Protected APIs.
    pub upstreams: Vec<Upstream>,
    /// Directory of policy documents.
    pub policies: PathBuf,
    /// `iss` of signed assertions (`forward.assertion`).
    pub assertion_issuer: Option<String>,
    /// Names and encoding of identity headers.
    pub identity: Identity,
    /// The admin listener.
    pub admin: Admin,
    /// The program's own log.
    pub logging: Logging,
    /// Audit records.
    pub audit: Audit,
    /// OTLP endpoint for traces.
    pub otlp: Option<String>,
    /// Where last good key sets and revocations are kept.
    pub state_directory: Option<PathBuf>,
    /// Bounds on everything that a client or an issuer can make large, slow or many.
    pub limits: Limits,
    /// Every file that the configuration reads besides itself, with the place that names it: for checking and watching.
    pub files: Vec<FileUse>,
    /// Set by dev mode only: explanations in refusals, dev issuers accepted, http issuers on loopback accepted.
    pub dev: bool,
}

/// A file that the configuration names.
#[derive(Debug, Clone)]
pub struct FileUse {
    /// What it holds.
    pub kind: FileKind,
    /// Where it is.
    pub path: PathBuf,
    /// The value that names it.
    pub place: Place,
}

/// What a file holds that the configuration names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FileKind {
    /// The directory of policy documents.
    Policies,
    /// A certificate chain, PEM.
    Certificate,
    /// A private key, PEM.
    Key,
    /// CA certificates, PEM.
    CaBundle,
    /// A JSON Web Key Set, RFC 7517 section 5.
    KeySet,
    /// A secret: a token, a password, an HMAC key.
    Secret,
}

impl Config {
    /// Whether the address is a proxy whose word counts on this listener, in headers and in the PROXY protocol.
    pub fn trusts(&self, listener: usize, address: IpAddr) -> bool {
        let own = self.listeners.get(listener).and_then(|listener| listener.trusted_proxies.as_ref());
        own.unwrap_or(&self.trusted_proxies).iter().any(|network| network.contains(&address))
    }

    /// What forbids `run` although the file is well-formed: nothing to listen on, or issuers of dev mode.
    pub fn obstacles(&self) -> Diagnostics {
        let mut problems = Diagnostics::new();
        if self.listeners.is_empty() {
            problems
                .general(format!("`{}` has no listener", self.path.display()))
                .help("add `listeners: [{address: \"127.0.0.1:8080\"}]`, or one with `tls`");
        }
        for issuer in self.issuers.iter().filter(|issuer| !self.dev && is_dev_issuer(&issuer.issuer)) {
            problems.general(format!("the issuer `{}` is one of dev mode: its tokens are worth nothing", issuer.name));
        }
        problems
    }
}

/// Whether a URL is that of an issuer of dev mode: `.../.torwart-dev/NAME`. Whatever follows, none of them is real.
pub fn is_dev_issuer(url: &str) -> bool {
    url.split('/').any(|segment| segment == ".torwart-dev")
}

/// The JSON Schema of `torwart.yaml`.
pub fn schema() -> serde_json::Value {
    json_schema(&shape::CONFIGURATION, "torwart.yaml", Variables::Expanded)
}

/// The declaration of `torwart.yaml`.
pub fn shape() -> &'static Shape {
    &shape::CONFIGURATION
}

/// One address that accepts connections.
#[derive(Debug, Clone)]
pub struct Listener {
    /// Address and port.
    pub address: SocketAddr,
    /// ALPN protocols in order of preference.
    pub protocols: Vec<Protocol>,
    /// TLS; `None` only for loopback, redirecting or declared insecure listeners.
    pub tls: Option<ListenerTls>,
    /// Expect a PROXY protocol header from trusted proxies.
    pub proxy_protocol: bool,
    /// Answer every request with a redirect to the same URL under `https`.
    pub redirect_https: bool,
    /// The author accepts plain HTTP on an address that is not loopback.
    pub insecure: bool,
    /// Overrides [`Config::trusted_proxies`].
    pub trusted_proxies: Option<Vec<IpNet>>,
}

/// An HTTP version spoken with clients.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    /// HTTP/2 (RFC 9113), ALPN `h2`.
    H2,
    /// HTTP/1.1 (RFC 9112), ALPN `http/1.1`.
    Http1,
}

/// TLS towards clients.
#[derive(Debug, Clone)]
pub struct ListenerTls {
    /// Certificate and key files, the default first.
    pub certificates: Vec<CertificateFiles>,
    /// Whether TLS 1.2 is offered beside 1.3.
    pub tls12: bool,
    /// Whether clients show certificates.
    pub client_certificates: ClientCertificates,
    /// CA bundle that client certificates are verified against.
    pub client_ca: Option<PathBuf>,
}

/// A certificate chain and its key, both PEM.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CertificateFiles {
    /// Chain, leaf first.
    pub certificate: PathBuf,
    /// Private key.
    pub key: PathBuf,
}

/// `client_certificates.mode`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClientCertificates {
    /// Not asked for.
    None,
    /// Verified when shown.
    Optional,
    /// A connection without one fails its handshake.
    Required,
}

/// `client_address_from`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClientAddressHeader {
    /// `X-Forwarded-For`.
    XForwardedFor,
    /// `Forwarded`, RFC 7239.
    Forwarded,
}

/// One authorization server, preset already applied.
#[derive(Debug, Clone, PartialEq)]
pub struct Issuer {
    /// Name used in policies and headers.
    pub name: Arc<str>,
    /// Preset it was written with, for `torwart issuers`.
    pub preset: Option<Preset>,
    /// `iss` of its tokens, exactly.
    pub issuer: String,
    /// Accepted `aud` values.
    pub audiences: Audiences,
    /// Seconds that clocks may differ.
    pub leeway: i64,
    /// Plain http for loopback hosts is accepted.
    pub integration: bool,
    /// Accepted signature algorithms by their JOSE names.
    pub algorithms: Vec<Algorithm>,
    /// `strict: rfc9068`.
    pub strict_rfc9068: bool,
    /// Where keys come from.
    pub keys: KeySource,
    /// How long the last good key set stays in force when the issuer is down.
    pub keys_max_stale: Duration,
    /// Which claims the principal's fields come from.
    pub claims: ClaimSources,
    /// Claims compared without case (`claims_case.insensitive`).
    pub case_insensitive: Vec<ClaimPath>,
    /// How client-credentials tokens show; `None`: every flow is unknown.
    pub client_credentials_when: Option<FlowRule>,
    /// How users' tokens show; `None`: whatever is not client credentials is a user's.
    pub user_when: Option<FlowRule>,
    /// A token without `sub` is accepted (presets that say so).
    pub subject_optional: bool,
    /// Scope that a denial for absent permissions asks for (`ameise/permissions` in the `ameise` preset).
    pub permission_scope: Option<String>,
    /// CA bundle for the issuer's own endpoints instead of the public roots.
    pub tls_ca: Option<PathBuf>,
    /// RFC 7662 introspection.
    pub introspection: Option<Introspection>,
    /// Enrichment from userinfo.
    pub userinfo: Option<Userinfo>,
    /// RFC 8705: whether a token must be bound to the client's certificate.
    pub sender_constraint_required: bool,
    /// Nobody has configured it: it stands in for a name that policies use, and what its tokens tell is a guess.
    pub assumed: bool,
}

/// `audiences`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Audiences {
    /// `any`: always a warning.
    Any,
    /// At least one of these, as exact strings.
    OneOf(Vec<String>),
}

/// A JWS signature algorithm (RFC 7518 section 3.1, RFC 8037).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "the names are those of RFC 7518")]
pub enum Algorithm {
    Rs256,
    Rs384,
    Rs512,
    Ps256,
    Ps384,
    Ps512,
    Es256,
    Es384,
    EdDsa,
    Hs256,
    Hs384,
    Hs512,
}

/// Where an issuer's keys come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeySource {
    /// `<issuer>/.well-known/openid-configuration`, else the form of RFC 8414.
    Discovery,
    /// This URL.
    Url(String),
    /// This file.
    File(PathBuf),
    /// An HMAC secret in this file.
    Secret(PathBuf),
}

/// Which claims the principal's fields come from. An empty list: the field has no source.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ClaimSources {
    /// The first present claim is the subject.
    pub subject: Vec<ClaimPath>,
    /// The first present claim is the client.
    pub client: Vec<ClaimPath>,
    /// The first present claim holds the scopes.
    pub scopes: Vec<ClaimPath>,
    /// The first present claim holds the permissions.
    pub permissions: Vec<ClaimPath>,
    /// The first present claim holds the organisations.
    pub organizations: Vec<ClaimPath>,
    /// The first present claim tells whether the principal is global.
    pub global: Vec<ClaimPath>,
}

/// `client_credentials_when` and `user_when`.
#[derive(Debug, Clone, PartialEq)]
pub enum FlowRule {
    /// The raw claims `client_id` and `sub` are equal and not empty.
    ClientEqualsSubject,
    /// The claim has this value; in a text `{client}`, `{client:lower}` and `{subject}` stand for what they name.
    ClaimEquals(ClaimPath, serde_json::Value),
    /// The claim is there (`true`) or is not (`false`).
    ClaimExists(ClaimPath, bool),
    /// The subject is this text, `{client}` standing for the client.
    SubjectIs(String),
    /// At least one holds.
    AnyOf(Vec<FlowRule>),
    /// All hold.
    AllOf(Vec<FlowRule>),
    /// All tokens are users'.
    Never,
}

/// A named set of issuer defaults (tokens.md, "Presets").
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "each is the name of a provider or profile")]
pub enum Preset {
    Kusy,
    Auth0Organizations,
    Ameise,
    Keycloak,
    Entra,
    Okta,
    Cognito,
    Hydra,
    Duende,
    Rfc9068,
}

/// `introspection` of an issuer.
#[derive(Debug, Clone, PartialEq)]
pub struct Introspection {
    /// Endpoint; `None`: from discovery.
    pub endpoint: Option<String>,
    /// The gateway's own client id at the issuer.
    pub client_id: String,
    /// Its secret.
    pub client_secret_file: PathBuf,
    /// How long an answer is kept at most.
    pub cache: Duration,
    /// JWTs are introspected too.
    pub always: bool,
}

/// `userinfo` of an issuer.
#[derive(Debug, Clone, PartialEq)]
pub struct Userinfo {
    /// Endpoint; `None`: from discovery.
    pub endpoint: Option<String>,
    /// Claims that are fetched there.
    pub claims: Vec<String>,
    /// How long an answer is kept at most.
    pub cache: Duration,
}

/// One protected API.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Upstream {
    /// Name used in policies.
    pub name: Arc<str>,
    /// Where it listens.
    pub endpoints: Vec<Endpoint>,
    /// The HTTP version spoken with it.
    pub protocol: Protocol,
    /// How an endpoint is chosen.
    pub balance: Balance,
    /// Time to connect, TLS included.
    pub connect_timeout: Duration,
    /// Time to the response head.
    pub response_timeout: Duration,
    /// How long an idle connection is kept.
    pub idle_timeout: Duration,
    /// Active health check.
    pub health: Option<HealthCheck>,
    /// TLS for `https` endpoints.
    pub tls: UpstreamTls,
    /// How its server reads paths (http.md, "Second readings").
    pub quirks: Quirks,
    /// What it gets as Host.
    pub host: UpstreamHost,
    /// Map its own origin back in `Location` and its kin.
    pub rewrite_location: bool,
    /// Connections at most, over all workers.
    pub max_connections: usize,
}

/// One address of an upstream.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Endpoint {
    /// `https`.
    pub tls: bool,
    /// Host name, address without brackets, or the path of a Unix socket.
    pub host: String,
    /// Port; 0 for a Unix socket.
    pub port: u16,
    /// `host` is the path of a Unix socket.
    pub unix: bool,
}

/// `balance`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Balance {
    /// The less busy of two drawn at random.
    RandomTwoLeastRequests,
    /// One after another.
    RoundRobin,
}

/// `health` of an upstream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HealthCheck {
    /// Path asked for.
    pub path: String,
    /// Time between two checks.
    pub interval: Duration,
}

/// `tls` of an upstream.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct UpstreamTls {
    /// CA bundle instead of the public roots.
    pub ca: Option<PathBuf>,
    /// Name expected in its certificate instead of the endpoint's host.
    pub server_name: Option<String>,
    /// The gateway's own certificate.
    pub identity: Option<CertificateFiles>,
}

/// `host` of an upstream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum UpstreamHost {
    /// What the client sent.
    Original,
    /// The endpoint's own authority.
    Endpoint,
    /// This name.
    Name(String),
}

/// `identity`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// Prefix of every identity header, `X-Auth-` by default.
    pub prefix: String,
    /// Names under the prefix that clients may send because the gateway never sets them.
    pub pass: Vec<String>,
    /// How bytes that a header cannot carry are written.
    pub encoding: IdentityEncoding,
    /// Longest value in bytes.
    pub max_bytes: usize,
}

/// `identity.encoding`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IdentityEncoding {
    /// Percent-encoded UTF-8.
    Percent,
    /// Latin-1 bytes.
    Latin1,
    /// Base64 of the UTF-8 text.
    Base64,
}

/// `admin`.
#[derive(Debug, Clone)]
pub struct Admin {
    /// Where it listens.
    pub address: AdminAddress,
    /// Bearer token file.
    pub token_file: Option<PathBuf>,
    /// TLS, for an address that is not loopback.
    pub tls: Option<ListenerTls>,
}

/// `admin.address`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AdminAddress {
    /// TCP.
    Tcp(SocketAddr),
    /// Unix socket.
    Unix(PathBuf),
}

/// `logging`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Logging {
    /// JSON or pretty lines.
    pub json: bool,
    /// `error`, `warn`, `info`, `debug` or `trace`.
    pub level: tracing::Level,
}

/// `audit`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Audit {
    /// A file, or stdout.
    pub path: AuditPath,
    /// Record what was allowed.
    pub allow: bool,
    /// Record what was denied.
    pub deny: bool,
    /// A request that cannot be recorded is refused.
    pub required: bool,
}

/// `audit.path`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AuditPath {
    /// `-`.
    Stdout,
    /// A file that is appended to.
    File(PathBuf),
}

/// `limits`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Open client connections.
    pub connections: usize,
    /// Open client connections from one address.
    pub connections_per_address: usize,
    /// Requests on one connection before it is closed.
    pub requests_per_connection: u64,
    /// HTTP/2 streams open at once on a connection.
    pub concurrent_streams: u32,
    /// Bytes of all request header fields together.
    pub header_bytes: usize,
    /// Number of request header fields.
    pub headers: usize,
    /// Bytes of the request target.
    pub target_bytes: usize,
    /// Bytes of a token.
    pub token: usize,
    /// Bytes that remembered tokens may take.
    pub token_memory: usize,
    /// Bytes of a request body.
    pub body: u64,
    /// Bytes of a body that policy reads.
    pub inspected_body: usize,
    /// Bytes of all bodies being read by policy at once.
    pub inspected_total: usize,
    /// Streams end when their token does.
    pub stream_follows_token: bool,
    /// Time for a request head to arrive.
    pub header_timeout: Duration,
    /// Longest silence inside a body.
    pub body_idle_timeout: Duration,
    /// Longest silence between requests.
    pub idle_timeout: Duration,
    /// Time for a TLS handshake.
    pub tls_handshake_timeout: Duration,
    /// Time that running requests get at shutdown.
    pub drain: Duration,
}

/// An IPv4-mapped IPv6 address as the IPv4 address it stands for (config.md: they count as IPv4 everywhere).
pub fn unmapped(address: IpAddr) -> IpAddr {
    address.to_canonical()
}
