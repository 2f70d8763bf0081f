//! Where an upstream listens, as configured.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use http::HeaderValue;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;

use super::tls::Tls;
use crate::config::{self, UpstreamHost, UpstreamTls};
use crate::diagnostic::Diagnostics;

/// One entry of `endpoints`.
#[derive(Debug)]
pub(super) struct Endpoint {
    /// As it is written: `https://crm.internal:8443`.
    pub(super) name: Arc<str>,
    pub(super) address: Address,
    pub(super) tls: Option<Tls>,
    /// What is sent as Host.
    pub(super) host: Host,
    /// Its own authority, without a default port.
    pub(super) authority: String,
}

/// What is connected to.
#[derive(Debug)]
pub(super) enum Address {
    /// A host name that is resolved, and the port.
    Name(String, u16),
    /// An address that stays.
    Fixed(SocketAddr),
    /// Path of a Unix socket.
    Unix(Arc<str>),
}

/// `host`.
#[derive(Debug)]
pub(super) enum Host {
    /// What the client sent.
    Original,
    /// The endpoint's authority, or the name configured.
    Fixed(HeaderValue),
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

impl Endpoint {
    /// One endpoint; `tls` is what all of them have in common.
    pub(super) fn load(
        upstream: &config::Upstream,
        config: &config::Endpoint,
        tls: Option<&Arc<ClientConfig>>,
        problems: &mut Diagnostics,
    ) -> Option<Self> {
        let host = Host::of(upstream, config, problems);
        let tls = if config.tls {
            Some(Tls { config: Arc::clone(tls?), name: server_name(upstream, config, problems)? })
        } else {
            if upstream.tls != UpstreamTls::default() {
                problems
                    .general(format!("upstream `{}` has `tls`, but its endpoint is not `https`", upstream.name))
                    .help("write `https://` in `endpoints`, or remove `tls`");
            }
            None
        };
        Some(Self {
            name: written(config).into(),
            address: Address::of(config),
            tls,
            host: host?,
            authority: authority(config),
        })
    }

    /// `http` or `https`.
    pub(super) fn scheme(&self) -> &'static str {
        if self.tls.is_some() { "https" } else { "http" }
    }
}

impl Address {
    fn of(config: &config::Endpoint) -> Self {
        if config.unix {
            return Self::Unix(config.host.as_str().into());
        }
        match config.host.parse::<IpAddr>() {
            Ok(address) => Self::Fixed((address, config.port).into()),
            Err(_) => Self::Name(config.host.clone(), config.port),
        }
    }
}

fn server_name(
    upstream: &config::Upstream,
    endpoint: &config::Endpoint,
    problems: &mut Diagnostics,
) -> Option<ServerName<'static>> {
    let wanted = upstream.tls.server_name.as_ref().unwrap_or(&endpoint.host);
    let name = ServerName::try_from(wanted.clone());
    if name.is_err() {
        problems.general(format!("upstream `{}`: `{wanted}` is no name of a TLS server", upstream.name));
    }
    name.ok()
}

/// The endpoint's own authority, without a default port.
fn authority(endpoint: &config::Endpoint) -> String {
    if endpoint.unix {
        return "localhost".to_owned();
    }
    let host = bracketed(&endpoint.host);
    let default = if endpoint.tls { 443 } else { 80 };
    if endpoint.port == default { host } else { format!("{host}:{}", endpoint.port) }
}

fn written(endpoint: &config::Endpoint) -> String {
    if endpoint.unix {
        return format!("unix:{}", endpoint.host);
    }
    let scheme = if endpoint.tls { "https" } else { "http" };
    format!("{scheme}://{}:{}", bracketed(&endpoint.host), endpoint.port)
}

fn bracketed(host: &str) -> String {
    if host.contains(':') { format!("[{host}]") } else { host.to_owned() }
}
