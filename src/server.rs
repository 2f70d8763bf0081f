//! Steps 1 and 2 of the data path: connections are accepted, TLS is terminated, HTTP is parsed.
//!
//! Every worker is a thread with a runtime of its own and a listening socket of its own on every address; a connection
//! stays with the worker that accepted it. What workers share is the [`Snapshots`] and the count of connections.

mod arrival;
mod census;
pub(crate) mod certificate;
pub(crate) mod clients;
mod connection;
mod frames;
mod handshake;
mod http1;
pub mod inherited;
mod listener;
pub mod memory;
mod observer;
pub(crate) mod overload;
mod pace;
pub mod process;
pub mod proxy_protocol;
pub(crate) mod pulse;
mod revoking;
mod roll;
mod socket;
pub(crate) mod stall;
pub mod supervisor;
pub mod tls;
mod upstreams;
mod wire;

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::{Arc, Weak};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use bytes::Bytes;
use http::StatusCode;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinSet, LocalSet};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::config::{Config, Limits, Protocol};
use crate::gateway::{self, Connection};
use crate::panics;
use crate::snapshot::{Snapshot, Snapshots};
use crate::telemetry::metrics::{Level, ListenerMetrics};
use crate::upstream;
use arrival::Arrival;
use census::Census;
use handshake::Secured;
use inherited::Inherited;
use listener::Socket;
use memory::Memory;
use overload::Load;
use pulse::Pulse;
use roll::Roll;
use wire::{Counted, Readable};

/// How long accepting pauses when the operating system has no more descriptors or memory.
const EXHAUSTED_PAUSE: Duration = Duration::from_millis(50);
/// How long connections that had begun when the drain did may take to be complete: a round trip.
const ARRIVING: Duration = Duration::from_millis(200);

/// A gateway that accepts connections. Dropping it drains it in the background; [`Running::shutdown`] waits.
#[derive(Debug)]
pub struct Running {
    addresses: Vec<SocketAddr>,
    census: Arc<Census>,
    drain: CancellationToken,
    ended: CancellationToken,
    roll: Arc<Roll>,
    workers: Vec<JoinHandle<()>>,
}

/// A listener or a worker that could not be started.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The operating system refused the address.
    #[error("cannot listen on `{address}`: {source}")]
    Listen {
        /// The address as configured.
        address: SocketAddr,
        /// Why.
        source: io::Error,
    },
    /// A service manager has bound it, and the configuration has no listener there.
    #[error("a socket was handed over for `{0}`, where nothing is configured to listen")]
    Unwanted(String),
    /// The operating system refused a thread or an event queue.
    #[error("cannot start a worker: {0}")]
    Worker(#[from] io::Error),
}

/// How many workers serve a configuration: as many as it says, else one for each processor.
pub fn worker_count(config: &Config) -> usize {
    config.workers.unwrap_or_else(|| thread::available_parallelism().map_or(1, usize::from)).max(1)
}

/// Binds every listener that is not among the inherited ones, and starts the workers.
///
/// # Errors
/// An address that cannot be bound, an inherited socket that nobody wants, or a thread that cannot be made; nothing runs
/// then.
pub fn start(snapshots: &Arc<Snapshots>, inherited: Inherited) -> Result<Running, StartError> {
    start_within(snapshots, inherited, Memory::of_the_system())
}

/// The same, with somebody else to tell how much memory there is.
///
/// # Errors
/// See [`start`].
pub fn start_within(
    snapshots: &Arc<Snapshots>,
    mut inherited: Inherited,
    memory: Memory,
) -> Result<Running, StartError> {
    let snapshot = snapshots.current();
    let count = worker_count(&snapshot.config);
    let mut addresses = Vec::new();
    let mut sockets: Vec<Vec<Socket>> = (0..count).map(|_| Vec::new()).collect();
    for (index, listener) in snapshot.config.listeners.iter().enumerate() {
        let address = listener.address;
        let (actual, bound) = listener::sockets((index, address), count, &mut inherited)
            .map_err(|source| StartError::Listen { address, source })?;
        addresses.push(actual);
        for (number, socket) in bound.into_iter().enumerate() {
            if let Some(worker) = sockets.get_mut(number % count) {
                worker.push(socket);
            }
        }
    }
    if let Some(address) = inherited.left() {
        return Err(StartError::Unwanted(address));
    }
    let mut running = Running {
        addresses,
        census: Arc::new(Census::default()),
        drain: CancellationToken::new(),
        ended: CancellationToken::new(),
        roll: Arc::new(Roll::of(count)),
        workers: Vec::with_capacity(count),
    };
    let inspected = Arc::new(gateway::Budget::default());
    let (load, census) = (Arc::downgrade(&snapshots.telemetry().metrics().load), Arc::downgrade(&running.census));
    let watch = move || memory.clone().watch(Weak::clone(&load), Weak::clone(&census));
    let looking = panics::kept("looking after memory", watch);
    snapshots.control().spawn(running.drain.clone().run_until_cancelled_owned(looking));
    for (number, sockets) in sockets.into_iter().enumerate() {
        let shared = Shared {
            snapshots: Arc::clone(snapshots),
            census: Arc::clone(&running.census),
            drain: running.drain.clone(),
            ended: running.ended.clone(),
            inspected: Arc::clone(&inspected),
            roll: (Arc::clone(&running.roll), number),
        };
        let thread = thread::Builder::new().name(format!("worker-{number}"));
        running.workers.push(thread.spawn(move || run(shared, sockets))?);
    }
    Ok(running)
}

impl Running {
    /// The addresses listened on, in the order of the configuration, with the ports that port 0 became.
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// Client connections open at this moment.
    pub fn connections(&self) -> usize {
        self.census.open()
    }

    /// Cancelled when a worker has ended, or does not accept connections any more, although nobody has asked for it.
    pub(crate) fn ended(&self) -> &CancellationToken {
        &self.ended
    }

    /// Which workers still do what they are there for.
    pub(crate) fn roll(&self) -> &Arc<Roll> {
        &self.roll
    }

    /// Stops accepting, tells clients that the connection ends, gives running requests `limits.drain`, and returns
    /// when the last worker is done.
    pub fn shutdown(mut self) {
        self.drain.cancel();
        for worker in self.workers.drain(..) {
            if worker.join().is_err() {
                tracing::error!("a worker ended in a panic");
            }
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.drain.cancel();
    }
}

/// What the workers have in common.
struct Shared {
    snapshots: Arc<Snapshots>,
    census: Arc<Census>,
    drain: CancellationToken,
    ended: CancellationToken,
    inspected: Arc<gateway::Budget>,
    /// Where the worker answers, and its number there.
    roll: (Arc<Roll>, usize),
}

/// One worker thread's own state.
struct Worker {
    shared: Shared,
    connections: TaskTracker,
    gateway: Rc<gateway::Worker>,
}

fn run(shared: Shared, sockets: Vec<Socket>) {
    // However this thread ends.
    let _ended = shared.ended.clone().drop_guard();
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            tracing::error!(%error, "cannot start a worker");
            return;
        }
    };
    LocalSet::new().block_on(&runtime, work(shared, sockets));
}

async fn work(shared: Shared, sockets: Vec<Socket>) {
    let connections = TaskTracker::new();
    let gateway = Rc::new(gateway::Worker {
        snapshots: Arc::clone(&shared.snapshots),
        drain: shared.drain.clone(),
        inspected: Arc::clone(&shared.inspected),
        load: Rc::new(Load::new(Arc::clone(&shared.snapshots.telemetry().metrics().load))),
    });
    let worker = Rc::new(Worker { shared, connections, gateway });
    let (roll, number) = worker.shared.roll.clone();
    tokio::task::spawn_local(async move { roll.answer(number).await });
    tokio::task::spawn_local(beat());
    let mut accepting = JoinSet::new();
    for socket in sockets {
        let worker = Rc::clone(&worker);
        accepting.spawn_local(async move {
            if let Err(error) = accept(worker, socket).await {
                tracing::error!(%error, "cannot accept connections");
            }
        });
    }
    let drain = worker.shared.drain.clone();
    tokio::select! {
        () = drain.cancelled() => {}
        Some(_) = accepting.join_next() => {
            // What is being served may end in order; that this worker gets no more is for others to act on.
            worker.shared.ended.cancel();
            drain.cancelled().await;
        }
    }
    let patience = worker.shared.snapshots.current().config.limits.drain;
    let ended = async {
        while accepting.join_next().await.is_some() {}
        worker.connections.close();
        worker.connections.wait().await;
        upstream::tunnels_ended().await;
    };
    if tokio::time::timeout(patience, ended).await.is_err() {
        tracing::warn!(connections = worker.connections.len(), "cutting off connections that did not end in time");
    }
}

/// Keeps a timer set that rings before those of connections do. A timer that is to ring before all others makes the runtime
/// wake its own thread with a system call and look for events twice: two of them for every connection.
async fn beat() {
    loop {
        tokio::time::sleep(http1::REST_AFTER).await;
    }
}

async fn accept(worker: Rc<Worker>, socket: Socket) -> io::Result<()> {
    let listener = TcpListener::from_std(socket.listener)?;
    let serving = async {
        loop {
            match listener.accept().await {
                // A panic here must not end more than the connection that it is about.
                Ok((stream, peer)) => _ = panics::caught(|| worker.admit(stream, peer, socket.index)),
                Err(error) if is_the_clients(&error) => {}
                Err(error) => {
                    tracing::warn!(%error, "cannot accept a connection");
                    tokio::time::sleep(EXHAUSTED_PAUSE).await;
                }
            }
        }
    };
    let drain = worker.shared.drain.clone();
    if drain.run_until_cancelled(serving).await.is_some() || socket.inherited {
        // Connections wait in a socket that somebody keeps open for whoever comes next.
        return Ok(());
    }
    // Who is in the queue, or on the way to it, has been promised to be served: another process cannot take them over.
    if let Err(error) = listener::hold_off(&listener) {
        tracing::debug!(%error, "connections that begin at this moment may be reset");
    }
    // On loopback there is no way on which to be.
    let away = !listener.local_addr()?.ip().is_loopback();
    let until = tokio::time::Instant::now() + if away { ARRIVING } else { Duration::ZERO };
    while let Ok(accepted) = tokio::time::timeout_at(until, listener.accept()).await {
        match accepted {
            Ok((stream, peer)) => worker.admit(stream, peer, socket.index),
            Err(error) if is_the_clients(&error) => {}
            Err(_) => tokio::time::sleep(EXHAUSTED_PAUSE).await,
        }
    }
    Ok(())
}

/// Errors of `accept` that belong to the connection that would have been accepted.
fn is_the_clients(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset | io::ErrorKind::Interrupted
    )
}

impl Worker {
    /// Starts serving a connection, or closes it where there is no place or no listener for it any more.
    fn admit(self: &Rc<Self>, stream: TcpStream, peer: SocketAddr, index: usize) {
        let snapshot = self.shared.snapshots.current();
        let limits = &snapshot.config.limits;
        let peer = SocketAddr::new(peer.ip().to_canonical(), peer.port());
        let Some(listener) = snapshot.config.listeners.get(index) else { return };
        let counters = self.shared.snapshots.telemetry().metrics().listener(&listener.address.to_string());
        if listener.proxy_protocol && !snapshot.config.trusts(index, peer.ip()) {
            return counters.refused.count("untrusted_proxy");
        }
        let Some(mut place) = self.shared.census.admit(limits.connections) else {
            return counters.refused.count("connections");
        };
        if !self.gateway.load.takes_connections(self.shared.census.open()) {
            return counters.refused.count("memory");
        }
        // A proxy speaks for many: there the address counts that it names.
        if !listener.proxy_protocol && !place.count(peer.ip(), limits.connections_per_address) {
            return counters.refused.count("connections_per_address");
        }
        counters.accepted.one();
        let open = Level::enter(&counters);
        let arrival = Arrival { peer, index, counters, place, open };
        let served = Box::pin(serve(Rc::clone(self), snapshot, stream, arrival));
        self.connections.spawn_local(panics::contained(served));
    }
}

async fn serve(worker: Rc<Worker>, snapshot: Arc<Snapshot>, mut stream: TcpStream, mut arrival: Arrival) {
    if arrival.announced(&mut stream, &snapshot).await.is_none() {
        return;
    }
    let Arrival { peer, index, counters, place, open } = arrival;
    let counted: Counted = Box::new((place, open));
    let Some(listener) = snapshot.config.listeners.get(index) else { return };
    // Without it small answers wait for acknowledgements; a socket that refuses works all the same.
    let _: io::Result<()> = stream.set_nodelay(true);
    let Ok(local) = stream.local_addr() else { return };
    let mut connection = Connection { peer, local, listener: index, tls: None };
    let limits = &snapshot.config.limits;
    let spoken = match snapshot.terminators.get(index).and_then(Option::as_ref) {
        Some(terminator) => {
            let limit = limits.tls_handshake_timeout;
            // Boxed, for what a handshake needs is a multiple of what the connection needs behind it.
            let handshake = Box::pin(handshake::complete(stream, terminator, listener, limit, &counters));
            let Some(Secured { stream, tls, protocol }) = handshake.await else { return };
            connection.tls = Some(tls);
            worker.speak(limits, stream, protocol, (connection, counters, counted))
        }
        None if listener.tls.is_some() => return,
        None => {
            let protocol = match listener.protocols.as_slice() {
                [Protocol::H2] => Protocol::H2,
                _ => Protocol::Http1,
            };
            worker.speak(limits, stream, protocol, (connection, counters, counted))
        }
    };
    // Every request takes the snapshot of its own time; the connection's own must not outlive a reload.
    drop(snapshot);
    spoken.await;
}

impl Worker {
    /// Serves HTTP over an established stream.
    fn speak<T>(
        &self,
        limits: &Limits,
        stream: T,
        protocol: Protocol,
        (connection, counters, counted): (Connection, Arc<ListenerMetrics>, Counted),
    ) -> Pin<Box<dyn Future<Output = ()>>>
    where
        T: tokio::io::AsyncRead + tokio::io::AsyncWrite + Readable + Unpin + Send + 'static,
    {
        let pulse = Pulse::new();
        let connection = Arc::new(connection);
        let terms = connection::Terms {
            limits: limits.clone(),
            pulse: Arc::clone(&pulse),
            drain: self.shared.drain.clone(),
            replace: replacement(&self.shared.snapshots, &connection),
            counters,
            counted,
        };
        let gateway = Rc::clone(&self.gateway);
        let answer = move |request| gateway::answer(&gateway, &connection, &pulse, request);
        connection::serve(stream, protocol, terms, answer)
    }
}

/// Answers and records what hyper refuses to parse.
fn replacement(snapshots: &Arc<Snapshots>, connection: &Arc<Connection>) -> wire::Replace {
    let (snapshots, connection) = (Arc::clone(snapshots), Arc::clone(connection));
    Arc::new(move |status: StatusCode| -> Bytes { gateway::unreadable(&snapshots, &connection, status) })
}
