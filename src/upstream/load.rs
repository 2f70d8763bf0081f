//! Upstreams out of the configuration: names resolved to types, certificates read, every problem told at once.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use http::HeaderValue;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::sync::{Notify, Semaphore};

use super::body::BodyLimits;
use super::request_headers::IdentityNames;
use crate::config::{self, ClientAddressHeader, Config, Protocol, UpstreamHost, UpstreamTls};
use crate::diagnostic::Diagnostics;
use crate::target::fold::fold_header;

/// What all upstreams have in common.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) identity: Arc<IdentityNames>,
    pub(super) client_address_from: ClientAddressHeader,
    pub(super) body: BodyLimits,
    pub(super) stream_follows_token: bool,
}

/// An upstream, and the mark of being in force: pools of what no configuration names any more are closed.
#[derive(Debug)]
pub(super) struct Configured {
    pub(super) upstream: Arc<Upstream>,
    pub(super) in_force: Arc<()>,
}

/// One protected API.
#[derive(Debug)]
pub(super) struct Upstream {
    /// Tells the pools of one load from those of every other.
    pub(super) id: u64,
    pub(super) endpoint: Endpoint,
    pub(super) http2: bool,
    pub(super) host: Host,
    /// The endpoint's authority, where `rewrite_location` maps it back.
    pub(super) own_authority: Option<String>,
    pub(super) connect_timeout: Duration,
    pub(super) response_timeout: Duration,
    pub(super) idle_timeout: Duration,
    pub(super) capacity: Capacity,
}

/// Connections that may be open at once, over all workers.
#[derive(Debug)]
pub(super) struct Capacity {
    pub(super) max: usize,
    pub(super) slots: Arc<Semaphore>,
    /// Exchanges that wait for a slot.
    pub(super) waiting: AtomicUsize,
    /// Asks the workers to close an idle connection each.
    pub(super) wanted: Notify,
}

/// Where an upstream listens.
#[derive(Debug)]
pub(super) struct Endpoint {
    pub(super) address: Address,
    pub(super) tls: Option<Tls>,
}

/// What is connected to.
#[derive(Debug)]
pub(super) enum Address {
    /// Host name or address without brackets, and port.
    Tcp(String, u16),
    /// Path of a Unix socket.
    Unix(String),
}

/// TLS towards an endpoint.
#[derive(Debug)]
pub(super) struct Tls {
    pub(super) config: Arc<ClientConfig>,
    pub(super) name: ServerName<'static>,
}

/// `host`.
#[derive(Debug)]
pub(super) enum Host {
    /// What the client sent.
    Original,
    /// The endpoint's authority, or the name configured.
    Fixed(HeaderValue),
}

/// Reads what the configuration says and names.
pub(super) fn load(config: &Config) -> (Vec<Configured>, Shared, Diagnostics) {
    let mut problems = Diagnostics::new();
    let list = config.upstreams.iter().filter_map(|upstream| Upstream::load(upstream, &mut problems)).collect();
    let shared = Shared {
        identity: Arc::new(identity(&config.identity, &mut problems)),
        client_address_from: config.client_address_from,
        body: BodyLimits { size: config.limits.body, idle: config.limits.body_idle_timeout },
        stream_follows_token: config.limits.stream_follows_token,
    };
    (list, shared, problems)
}

pub(super) fn identity(config: &config::Identity, problems: &mut Diagnostics) -> IdentityNames {
    let prefix = fold_header(&config.prefix);
    if prefix.is_empty() {
        problems.general("`identity.prefix` is empty: every header would be an identity header");
    }
    IdentityNames { prefix, pass: config.pass.iter().map(|name| name.to_ascii_lowercase()).collect() }
}

impl Upstream {
    /// One upstream; its problems are added to those found so far.
    pub(super) fn load(config: &config::Upstream, problems: &mut Diagnostics) -> Option<Configured> {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let name = &config.name;
        if config.endpoints.len() > 1 {
            problems.general(format!("upstream `{name}`: more than one endpoint is not supported yet"));
        }
        let Some(endpoint) = config.endpoints.first() else {
            problems.general(format!("upstream `{name}` has no endpoint"));
            return None;
        };
        let host = Host::of(config, endpoint, problems);
        let own_authority = config.rewrite_location.then(|| authority(endpoint));
        let endpoint = Endpoint::load(config, endpoint, problems);
        let upstream = Self {
            id: NEXT.fetch_add(1, Ordering::Relaxed),
            endpoint: endpoint?,
            http2: config.protocol == Protocol::H2,
            host: host?,
            own_authority,
            connect_timeout: config.connect_timeout,
            response_timeout: config.response_timeout,
            idle_timeout: config.idle_timeout,
            capacity: Capacity {
                max: config.max_connections,
                slots: Arc::new(Semaphore::new(config.max_connections.min(Semaphore::MAX_PERMITS))),
                waiting: AtomicUsize::new(0),
                wanted: Notify::new(),
            },
        };
        Some(Configured { upstream: Arc::new(upstream), in_force: Arc::new(()) })
    }
}

impl Host {
    pub(super) fn of(
        config: &config::Upstream,
        endpoint: &config::Endpoint,
        problems: &mut Diagnostics,
    ) -> Option<Self> {
        let text = match &config.host {
            UpstreamHost::Original => return Some(Self::Original),
            UpstreamHost::Endpoint => authority(endpoint),
            UpstreamHost::Name(name) => name.clone(),
        };
        let valid = text.parse::<http::uri::Authority>().is_ok_and(|parsed| !parsed.as_str().contains('@'));
        if let (true, Ok(value)) = (valid, HeaderValue::from_str(&text)) {
            return Some(Self::Fixed(value));
        }
        problems.general(format!("upstream `{}`: `{text}` is no host", config.name));
        None
    }
}

/// The endpoint's own authority, without a default port.
fn authority(endpoint: &config::Endpoint) -> String {
    if endpoint.unix {
        return "localhost".to_owned();
    }
    let host = if endpoint.host.contains(':') { format!("[{}]", endpoint.host) } else { endpoint.host.clone() };
    let default = if endpoint.tls { 443 } else { 80 };
    if endpoint.port == default { host } else { format!("{host}:{}", endpoint.port) }
}

impl Endpoint {
    fn load(upstream: &config::Upstream, config: &config::Endpoint, problems: &mut Diagnostics) -> Option<Self> {
        let address = if config.unix {
            Address::Unix(config.host.clone())
        } else {
            Address::Tcp(config.host.clone(), config.port)
        };
        if !config.tls {
            if upstream.tls != UpstreamTls::default() {
                problems
                    .general(format!("upstream `{}` has `tls`, but its endpoint is not `https`", upstream.name))
                    .help("write `https://` in `endpoints`, or remove `tls`");
            }
            return Some(Self { address, tls: None });
        }
        Some(Self { address, tls: Some(Tls::load(upstream, config, problems)?) })
    }
}

impl Tls {
    fn load(upstream: &config::Upstream, endpoint: &config::Endpoint, problems: &mut Diagnostics) -> Option<Self> {
        let wanted = upstream.tls.server_name.as_ref().unwrap_or(&endpoint.host);
        let name = ServerName::try_from(wanted.clone());
        if name.is_err() {
            problems.general(format!("upstream `{}`: `{wanted}` is no name of a TLS server", upstream.name));
        }
        match client_config(&upstream.tls, upstream.protocol) {
            Ok(config) => Some(Self { config: Arc::new(config), name: name.ok()? }),
            Err(reason) => {
                problems.general(format!("upstream `{}`: {reason}", upstream.name));
                None
            }
        }
    }
}

fn client_config(tls: &UpstreamTls, protocol: Protocol) -> Result<ClientConfig, String> {
    let provider = CryptoProvider::get_default()
        .map_or_else(|| Arc::new(rustls::crypto::aws_lc_rs::default_provider()), Arc::clone);
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?
        .with_root_certificates(roots(tls.ca.as_deref())?);
    let mut config = match &tls.identity {
        None => builder.with_no_client_auth(),
        Some(files) => {
            let chain = certificates(&files.certificate)?;
            let key = PrivateKeyDer::from_pem_file(&files.key)
                .map_err(|error| format!("key `{}` cannot be read: {error}", files.key.display()))?;
            builder.with_client_auth_cert(chain, key).map_err(|error| {
                format!("certificate `{}` cannot be used with its key: {error}", files.certificate.display())
            })?
        }
    };
    config.alpn_protocols = vec![match protocol {
        Protocol::H2 => b"h2".to_vec(),
        Protocol::Http1 => b"http/1.1".to_vec(),
    }];
    Ok(config)
}

fn roots(ca: Option<&Path>) -> Result<RootCertStore, String> {
    let Some(path) = ca else { return Ok(RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() }) };
    let mut store = RootCertStore::empty();
    for certificate in certificates(path)? {
        store.add(certificate).map_err(|error| format!("CA `{}` cannot be used: {error}", path.display()))?;
    }
    Ok(store)
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let read = |error| format!("certificates `{}` cannot be read: {error}", path.display());
    let list: Vec<_> = CertificateDer::pem_file_iter(path).map_err(read)?.collect::<Result<_, _>>().map_err(read)?;
    if list.is_empty() { Err(format!("`{}` holds no certificate", path.display())) } else { Ok(list) }
}
