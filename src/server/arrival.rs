//! A connection between being accepted and being spoken over: who it is from, and what it takes.

use std::net::SocketAddr;
use std::sync::Arc;

use tokio::net::TcpStream;

use super::census::Place;
use super::proxy_protocol::{self, Absent, Announced};
use crate::snapshot::Snapshot;
use crate::telemetry::metrics::{Entered, ListenerMetrics};

/// A connection that was let in.
pub(super) struct Arrival {
    /// The other end, as a proxy names it where the listener asks for that.
    pub(super) peer: SocketAddr,
    /// Position of its listener.
    pub(super) index: usize,
    /// What is counted of its listener.
    pub(super) counters: Arc<ListenerMetrics>,
    /// What it takes of the limits.
    pub(super) place: Place,
    /// What counts it as open.
    pub(super) open: Entered<ListenerMetrics>,
}

impl Arrival {
    /// Reads what the proxy says of its client, where the listener wants to be told. `None`: the connection is to be
    /// closed without a word, which has been counted.
    pub(super) async fn announced(&mut self, stream: &mut TcpStream, snapshot: &Snapshot) -> Option<()> {
        if !snapshot.config.listeners.get(self.index)?.proxy_protocol {
            return Some(());
        }
        let limits = &snapshot.config.limits;
        let refused = match proxy_protocol::read(stream, limits.header_timeout).await {
            Ok(announced) => {
                if let Announced::Client(client) = announced {
                    self.peer = client;
                }
                if self.place.count(self.peer.ip(), limits.connections_per_address) {
                    return Some(());
                }
                "connections_per_address"
            }
            Err(Absent::Malformed(_)) => "proxy_header",
            Err(Absent::TooSlow) => "proxy_header_timeout",
            // So do load balancers find out whether somebody listens.
            Err(Absent::Ended(_)) => return None,
        };
        self.counters.refused.count(refused);
        None
    }
}
