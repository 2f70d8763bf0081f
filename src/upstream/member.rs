//! Who answers for an upstream at the moment: one address of an endpoint, with everything that is known of it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use smallvec::SmallVec;

use super::endpoint::Endpoint;
use super::health::Health;
use super::members::Members;
use super::moment;
use super::outlier::Outlier;

/// See the module's description.
#[derive(Debug)]
pub(super) struct Member {
    /// Tells its pools from those of every other.
    pub(super) id: u64,
    pub(super) endpoint: Arc<Endpoint>,
    pub(super) place: Place,
    /// The address as records and metrics show it.
    pub(super) name: Arc<str>,
    pub(super) outlier: Outlier,
    pub(super) health: Health,
    under_way: AtomicUsize,
    connections: AtomicUsize,
    opened: AtomicU64,
    unopened: AtomicU64,
    answered: AtomicU64,
    unanswered: AtomicU64,
}

/// Where a member listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Place {
    /// Addresses of one machine, tried in this order.
    Tcp(SmallVec<[SocketAddr; 2]>),
    /// Path of a Unix socket.
    Unix(Arc<str>),
}

impl Member {
    pub(super) fn new(endpoint: &Arc<Endpoint>, place: Place) -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let name = match &place {
            Place::Tcp(addresses) => match addresses.as_slice() {
                [only] => only.to_string().into(),
                _ => endpoint.authority.as_str().into(),
            },
            Place::Unix(path) => format!("unix:{path}").into(),
        };
        Self {
            id: NEXT.fetch_add(1, Ordering::Relaxed),
            endpoint: Arc::clone(endpoint),
            place,
            name,
            outlier: Outlier::default(),
            health: Health::default(),
            under_way: AtomicUsize::new(0),
            connections: AtomicUsize::new(0),
            opened: AtomicU64::new(0),
            unopened: AtomicU64::new(0),
            answered: AtomicU64::new(0),
            unanswered: AtomicU64::new(0),
        }
    }

    /// Whether requests may be sent to it without need.
    pub(super) fn is_fit(&self) -> bool {
        self.is_healthy() && !self.outlier.is_out(moment::now)
    }

    /// Whether nothing says that it cannot answer.
    pub(super) fn is_healthy(&self) -> bool {
        self.health.is_good()
    }

    /// Requests under way.
    pub(super) fn under_way(&self) -> usize {
        self.under_way.load(Ordering::Relaxed)
    }

    /// Connections that are open.
    pub(super) fn connections(&self) -> usize {
        self.connections.load(Ordering::Relaxed)
    }

    /// Counts an attempt to open a connection for requests.
    pub(super) fn connected<T, E>(&self, outcome: &Result<T, E>) {
        let counter = if outcome.is_ok() { &self.opened } else { &self.unopened };
        counter.fetch_add(1, Ordering::Relaxed);
    }

    /// Attempts to open a connection that succeeded, and those that failed.
    pub(super) fn connects(&self) -> (u64, u64) {
        (self.opened.load(Ordering::Relaxed), self.unopened.load(Ordering::Relaxed))
    }

    /// Requests that were answered whole, and those in which it did not do what a server does.
    pub(super) fn outcomes(&self) -> (u64, u64) {
        (self.answered.load(Ordering::Relaxed), self.unanswered.load(Ordering::Relaxed))
    }
}

/// One request that a member is to answer, under way as long as this lives.
#[derive(Debug)]
pub(super) struct Call {
    pub(super) member: Arc<Member>,
    members: Arc<Members>,
}

impl Call {
    pub(super) fn new(members: &Arc<Members>, member: &Arc<Member>) -> Self {
        member.under_way.fetch_add(1, Ordering::Relaxed);
        Self { member: Arc::clone(member), members: Arc::clone(members) }
    }

    /// The answer was whole.
    pub(super) fn succeeded(&self) {
        self.member.answered.fetch_add(1, Ordering::Relaxed);
        self.member.outlier.succeeded(moment::now);
    }

    /// The member did not do what a server does.
    pub(super) fn failed(&self) {
        self.member.unanswered.fetch_add(1, Ordering::Relaxed);
        if self.member.outlier.failed(moment::now()) {
            self.members.eject(&self.member);
        }
    }
}

impl Clone for Call {
    /// The same request, which is over when both are.
    fn clone(&self) -> Self {
        Self::new(&self.members, &self.member)
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        self.member.under_way.fetch_sub(1, Ordering::Relaxed);
    }
}

/// An open connection, counted as long as this lives.
#[derive(Debug)]
pub(super) struct Open(Arc<Member>);

impl Open {
    pub(super) fn new(member: &Arc<Member>) -> Self {
        member.connections.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(member))
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.connections.fetch_sub(1, Ordering::Relaxed);
    }
}
