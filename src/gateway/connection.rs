//! What is known of a connection before anything was sent over it.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use crate::clock::Timestamp;
use crate::config::Config;
use crate::principal::ClientCertificate;
use crate::server::certificate::Names;
use crate::server::clients::{Shown, Unmet, certificate_in_force};
use crate::server::tls::Terminator;
use crate::snapshot::Snapshot;
use crate::target;
use crate::upstream;

/// A client's connection.
#[derive(Debug)]
pub struct Connection {
    /// The other end, as a trusted proxy names it where the listener speaks the PROXY protocol; IPv4-mapped addresses as
    /// IPv4.
    pub peer: SocketAddr,
    /// This end.
    pub local: SocketAddr,
    /// Position of the listener in the configuration.
    pub listener: usize,
    /// What TLS established; `None` without TLS.
    pub tls: Option<Tls>,
}

/// What a TLS handshake established.
#[derive(Debug)]
pub struct Tls {
    /// SNI, in lower case; `None` when the client sent none.
    pub(crate) server_name: Option<String>,
    /// The names of the certificate that the client was shown.
    pub(crate) shown: Arc<Names>,
    /// What the client has shown of itself, verified.
    pub(crate) client: Option<Shown>,
}

/// `http` or `https`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scheme {
    Http,
    Https,
}

impl Connection {
    pub(crate) fn scheme(&self) -> Scheme {
        if self.tls.is_some() { Scheme::Https } else { Scheme::Http }
    }

    /// The client's certificate, if it counts under the configuration in force.
    ///
    /// # Errors
    /// The listener would not accept this connection any more.
    pub(crate) fn client_certificate(
        &self,
        snapshot: &Snapshot,
        now: Timestamp,
    ) -> Result<Option<Arc<ClientCertificate>>, Unmet> {
        let terminator = snapshot.terminators.get(self.listener).and_then(Option::as_ref);
        let shown = self.tls.as_ref().and_then(|tls| tls.client.as_ref());
        certificate_in_force(shown, terminator.and_then(Terminator::trust), now)
    }

    /// Whether the certificate that the client asked for covers the host (RFC 9110 section 7.4). A client that sent no
    /// SNI asked for none, and without TLS there is none.
    pub(crate) fn covers(&self, host: &str) -> bool {
        let bare = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(host);
        self.tls.as_ref().is_none_or(|tls| tls.server_name.is_none() || tls.shown.cover(bare))
    }

    /// Whether the address is a proxy whose headers count on this listener.
    pub(crate) fn trusts(&self, config: &Config, address: IpAddr) -> bool {
        config.trusts(self.listener, address)
    }
}

impl Scheme {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
        }
    }
}

impl From<Scheme> for target::Scheme {
    fn from(scheme: Scheme) -> Self {
        match scheme {
            Scheme::Http => Self::Http,
            Scheme::Https => Self::Https,
        }
    }
}

impl From<Scheme> for upstream::Scheme {
    fn from(scheme: Scheme) -> Self {
        match scheme {
            Scheme::Http => Self::Http,
            Scheme::Https => Self::Https,
        }
    }
}
