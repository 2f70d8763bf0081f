//! TLS before HTTP: the handshake, and what it established.

use std::io;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use super::clients;
use super::socket::Socket;
use super::tls::Terminator;
use crate::config::{Listener, Protocol};
use crate::gateway::Tls;
use crate::telemetry::metrics::ListenerMetrics;

/// A connection over which HTTP can be spoken.
pub(super) struct Secured {
    /// Its bytes, in the clear.
    pub(super) stream: TlsStream<Socket>,
    /// Who is at the other end, and which names were shown to it.
    pub(super) tls: Tls,
    /// What ALPN chose.
    pub(super) protocol: Protocol,
}

/// Takes part in a handshake. `None`: it failed, took longer than `limit`, which has been counted, or chose nothing that is spoken
/// here.
pub(super) async fn complete(
    stream: TcpStream,
    terminator: &Terminator,
    listener: &Listener,
    limit: Duration,
    counters: &ListenerMetrics,
) -> Option<Secured> {
    let accepting = async {
        let shaken = TlsAcceptor::from(terminator.config()).accept(Socket::new(stream)).into_fallible().await;
        match shaken {
            Ok(mut stream) => {
                stream.get_mut().0.settle();
                Some(stream)
            }
            Err((_, mut socket)) => {
                // The client is told why; if it does not listen, nobody else is concerned.
                let _: io::Result<()> = socket.let_go().await;
                None
            }
        }
    };
    let (stream, outcome) = match tokio::time::timeout(limit, accepting).await {
        Ok(Some(stream)) => (Some(stream), "ok"),
        Ok(None) => (None, "failed"),
        Err(_) => (None, "timeout"),
    };
    counters.handshakes.count(outcome);
    let stream = stream?;
    let tls = established(terminator, &stream)?;
    let protocol = negotiated(listener, &stream)?;
    Some(Secured { stream, tls, protocol })
}

/// What the handshake established.
fn established(terminator: &Terminator, stream: &TlsStream<Socket>) -> Option<Tls> {
    let (_, session) = stream.get_ref();
    let server_name = session.server_name().map(str::to_ascii_lowercase);
    let client = clients::Shown::verified(session.peer_certificates().unwrap_or_default(), terminator.trust()).ok()?;
    Some(Tls { shown: terminator.shown(server_name.as_deref())?, server_name, client })
}

/// The protocol that ALPN chose; a client that names none speaks HTTP/1.1 where the listener does.
fn negotiated(listener: &Listener, stream: &TlsStream<Socket>) -> Option<Protocol> {
    let (_, session) = stream.get_ref();
    match session.alpn_protocol() {
        Some(b"h2") => Some(Protocol::H2),
        Some(_) => Some(Protocol::Http1),
        None => listener.protocols.contains(&Protocol::Http1).then_some(Protocol::Http1),
    }
}
