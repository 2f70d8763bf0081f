//! Connections that wait for their next request: one pool per worker thread and member, last used first.
//!
//! A connection comes back only after a whole response to a whole request; whatever else happens to it, its handle
//! is dropped, and that closes it at once.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioIo, TokioTimer};
use smallvec::SmallVec;
use tokio::sync::{Mutex, Notify};
use tokio::task::{AbortHandle, spawn_local};
use tokio::time::{Instant, sleep_until, timeout};

use super::body::{Progress, RequestBody};
use super::connect::{Stream, connect};
use super::failure::{Failure, ProtocolFault};
use super::load::Upstream;
use super::member::Member;
use super::members::Seat;
use super::{BUFFER, MAX_INTERIM};
use crate::panics;

thread_local! {
    static POOLS: RefCell<HashMap<u64, Registered>> = RefCell::new(HashMap::new());
}

/// A pool, and whether its member still is one.
struct Registered {
    in_force: std::sync::Weak<()>,
    pool: Rc<Pool>,
}

type Http1Connection = http1::Connection<TokioIo<Stream>, RequestBody>;

/// How often, and for how long at most, a busy HTTP/2 connection is asked whether it still lives.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// One worker's connections to one member of an upstream.
#[derive(Debug)]
pub(super) struct Pool {
    upstream: Arc<Upstream>,
    member: Arc<Member>,
    idle: RefCell<Vec<Idle>>,
    shared: RefCell<Option<Rc<Http2>>>,
    opening: Mutex<()>,
    is_swept: Cell<bool>,
}

#[derive(Debug)]
struct Idle {
    connection: Http1,
    since: Instant,
}

/// Ends the task that drives a connection, and so the connection, when it is dropped.
#[derive(Debug)]
struct Driver(AbortHandle);

impl Drop for Driver {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// What is known of a connection's present exchange from below hyper.
#[derive(Debug)]
pub(super) struct Wire {
    received: Arc<AtomicU64>,
    interim: AtomicUsize,
    flooded: Notify,
}

impl Wire {
    fn new(stream: &Stream) -> Arc<Self> {
        Arc::new(Self { received: stream.received(), interim: AtomicUsize::new(0), flooded: Notify::new() })
    }

    /// Bytes received so far.
    pub(super) fn received(&self) -> u64 {
        self.received.load(Ordering::Relaxed)
    }

    /// Counts one interim response.
    pub(super) fn count_interim(&self) {
        if self.interim.fetch_add(1, Ordering::Relaxed) >= MAX_INTERIM {
            self.flooded.notify_one();
        }
    }

    /// Whether there were more interim responses than allowed.
    pub(super) fn is_flooded(&self) -> bool {
        self.interim.load(Ordering::Relaxed) > MAX_INTERIM
    }

    /// Begins to count anew.
    pub(super) fn reset_interim(&self) {
        self.interim.store(0, Ordering::Relaxed);
    }

    /// Waits until there are more interim responses than allowed.
    pub(super) async fn flooded(&self) {
        self.flooded.notified().await;
    }
}

/// An HTTP/1 connection that nobody else uses.
#[derive(Debug)]
pub(super) struct Http1 {
    pub(super) sender: http1::SendRequest<RequestBody>,
    pub(super) wire: Arc<Wire>,
    _driver: Driver,
}

/// An HTTP/2 connection that all exchanges of this worker share.
#[derive(Debug)]
pub(super) struct Http2 {
    pub(super) sender: http2::SendRequest<RequestBody>,
    last_used: Cell<Instant>,
    _driver: Driver,
}

/// A connection while a response is being read from it.
#[derive(Debug)]
pub(super) enum Lease {
    /// Alone; goes back to the pool at the response's end.
    Http1(Http1Lease),
    /// Alone, and closed after this exchange.
    Once(Http1),
    /// Shared.
    Http2(Rc<Http2>),
}

/// See [`Lease::Http1`].
#[derive(Debug)]
pub(super) struct Http1Lease {
    pub(super) pool: Rc<Pool>,
    pub(super) connection: Http1,
    /// The request body, if there is one.
    pub(super) request: Option<Rc<Progress>>,
}

impl Lease {
    /// The response has been read to its end. A connection whose request has not ended by then is closed: what the
    /// upstream has not read of it would be read as the next request.
    pub(super) fn give_back(self) {
        match self {
            Self::Http1(lease) => {
                if lease.request.is_none_or(|progress| progress.is_finished() && progress.fault().is_none()) {
                    lease.pool.put(lease.connection);
                }
            }
            Self::Once(connection) => drop(connection),
            Self::Http2(connection) => connection.last_used.set(Instant::now()),
        }
    }
}

impl Pool {
    /// This thread's pool for the member.
    pub(super) fn of(upstream: &Arc<Upstream>, Seat { member, in_force }: &Seat) -> Rc<Self> {
        POOLS.with_borrow_mut(|pools| {
            if let Some(registered) = pools.get(&member.id) {
                return Rc::clone(&registered.pool);
            }
            pools.retain(|_, registered| registered.in_force.strong_count() > 0);
            let pool = Rc::new(Self {
                upstream: Arc::clone(upstream),
                member: Arc::clone(member),
                idle: RefCell::default(),
                shared: RefCell::default(),
                opening: Mutex::new(()),
                is_swept: Cell::new(false),
            });
            pools.insert(member.id, Registered { in_force: Arc::downgrade(in_force), pool: Rc::clone(&pool) });
            pool
        })
    }

    /// An idle connection that is still usable.
    pub(super) fn take(&self) -> Option<Http1> {
        let mut idle = self.idle.borrow_mut();
        let now = Instant::now();
        let mut busy: SmallVec<[Idle; 2]> = SmallVec::new();
        let mut found = None;
        while let Some(waiting) = idle.pop() {
            let sender = &waiting.connection.sender;
            if sender.is_closed() || self.is_expired(&waiting, now) {
                continue;
            }
            if sender.is_ready() {
                found = Some(waiting.connection);
                break;
            }
            // Its response has been read, hyper's task has not yet seen so.
            busy.push(waiting);
        }
        idle.extend(busy.into_iter().rev());
        found
    }

    fn is_expired(&self, waiting: &Idle, now: Instant) -> bool {
        now.saturating_duration_since(waiting.since) >= self.upstream.idle_timeout
    }

    /// Whose connections these are.
    pub(super) fn upstream(&self) -> &Arc<Upstream> {
        &self.upstream
    }

    fn put(self: &Rc<Self>, connection: Http1) {
        if connection.sender.is_closed() || self.upstream.capacity.is_wanted() {
            return;
        }
        self.idle.borrow_mut().push(Idle { connection, since: Instant::now() });
        self.sweep();
    }

    /// Opens a connection of its own.
    pub(super) async fn open(&self) -> Result<Http1, Failure> {
        let (sender, wire, connection) = self.shake_hands().await?;
        Ok(Http1 { sender, wire, _driver: drive(connection) })
    }

    /// Opens a connection that may be upgraded and never comes back.
    pub(super) async fn open_upgradable(&self) -> Result<Http1, Failure> {
        let (sender, wire, connection) = self.shake_hands().await?;
        Ok(Http1 { sender, wire, _driver: drive(connection.with_upgrades()) })
    }

    async fn shake_hands(&self) -> Result<(http1::SendRequest<RequestBody>, Arc<Wire>, Http1Connection), Failure> {
        let stream = self.connect().await?;
        let wire = Wire::new(&stream);
        let mut builder = http1::Builder::new();
        let handshake = builder.max_buf_size(BUFFER).handshake(TokioIo::new(stream));
        let (sender, connection) = handshake.await.map_err(Failure::Closed)?;
        Ok((sender, wire, connection))
    }

    async fn connect(&self) -> Result<Stream, Failure> {
        let slot = self.upstream.capacity.slot(self.upstream.connect_timeout).await?;
        connect(&self.upstream, &self.member, Some(slot)).await
    }

    /// The connection that this worker shares, opened if there is none.
    pub(super) async fn shared(self: &Rc<Self>) -> Result<(Rc<Http2>, Freshness), Failure> {
        if let Some(connection) = self.usable() {
            return Ok((connection, Freshness::Used));
        }
        let within = self.upstream.connect_timeout;
        let _only_one = timeout(within, self.opening.lock()).await.map_err(|_| Failure::ConnectTimeout(within))?;
        if let Some(connection) = self.usable() {
            return Ok((connection, Freshness::Used));
        }
        let connection = Rc::new(self.open_http2().await?);
        *self.shared.borrow_mut() = Some(Rc::clone(&connection));
        self.sweep();
        Ok((connection, Freshness::Fresh))
    }

    fn usable(&self) -> Option<Rc<Http2>> {
        let mut shared = self.shared.borrow_mut();
        if shared.as_ref().is_some_and(|connection| connection.sender.is_closed()) {
            *shared = None;
        }
        shared.clone()
    }

    /// Takes the connection out of use for further exchanges.
    pub(super) fn retire(&self, connection: &Rc<Http2>) {
        let mut shared = self.shared.borrow_mut();
        if shared.as_ref().is_some_and(|current| Rc::ptr_eq(current, connection)) {
            *shared = None;
        }
    }

    async fn open_http2(&self) -> Result<Http2, Failure> {
        let stream = self.connect().await?;
        let window = u32::try_from(BUFFER).unwrap_or(u32::MAX);
        let handshake = http2::Builder::new(LocalExecutor)
            .timer(TokioTimer::new())
            .keep_alive_interval(KEEP_ALIVE)
            .keep_alive_timeout(KEEP_ALIVE)
            .initial_stream_window_size(window)
            .initial_connection_window_size(window.saturating_mul(16))
            .max_send_buf_size(BUFFER)
            .max_header_list_size(window)
            .handshake(TokioIo::new(stream));
        let within = self.upstream.connect_timeout;
        let (sender, connection) = timeout(within, handshake)
            .await
            .map_err(|_| Failure::ConnectTimeout(within))?
            .map_err(|error| Failure::Protocol(ProtocolFault::Malformed(error)))?;
        Ok(Http2 { sender, last_used: Cell::new(Instant::now()), _driver: drive(connection) })
    }

    /// Starts the task that closes what nobody needs any more, unless it runs.
    fn sweep(self: &Rc<Self>) {
        if !self.is_swept.replace(true) {
            let (pool, upstream) = (Rc::downgrade(self), Arc::clone(&self.upstream));
            let sweep = move || sweep(Weak::clone(&pool), Arc::clone(&upstream));
            spawn_local(panics::kept("closing idle connections to upstreams", sweep));
        }
    }

    /// Closes what has been idle for too long. The time of the next look, or `None` when nothing is left to watch.
    fn close_expired(&self) -> Option<Instant> {
        let now = Instant::now();
        let limit = self.upstream.idle_timeout;
        let mut idle = self.idle.borrow_mut();
        idle.retain(|waiting| !waiting.connection.sender.is_closed() && !self.is_expired(waiting, now));
        let mut shared = self.shared.borrow_mut();
        let over = |connection: &Rc<Http2>| {
            let silent = now.saturating_duration_since(connection.last_used.get()) >= limit;
            connection.sender.is_closed() || (Rc::strong_count(connection) == 1 && silent)
        };
        if shared.as_ref().is_some_and(over) {
            *shared = None;
        }
        let next = idle.iter().map(|waiting| waiting.since + limit).min();
        let next_shared = shared.as_ref().map(|connection| (connection.last_used.get() + limit).max(now + limit / 4));
        next.into_iter().chain(next_shared).min()
    }

    /// Closes the connection that has been idle for longest, so that another worker can open one.
    fn close_oldest(&self) {
        let mut idle = self.idle.borrow_mut();
        if !idle.is_empty() {
            idle.remove(0);
        }
    }
}

/// Runs a connection until it ends or its handle is dropped.
fn drive(connection: impl Future<Output = hyper::Result<()>> + 'static) -> Driver {
    let task = spawn_local(async move {
        if let Err(error) = connection.await {
            tracing::debug!(error = &error as &dyn std::error::Error, "connection to upstream ended");
        }
    });
    Driver(task.abort_handle())
}

/// Whether a shared connection was opened for this exchange.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Freshness {
    /// Opened for it.
    Fresh,
    /// It has carried others before.
    Used,
}

async fn sweep(pool: Weak<Pool>, upstream: Arc<Upstream>) {
    loop {
        let wanted = upstream.capacity.wanted.notified();
        let Some(next) = pool.upgrade().and_then(|pool| {
            if upstream.capacity.is_wanted() {
                pool.close_oldest();
            }
            let next = pool.close_expired();
            pool.is_swept.set(next.is_some());
            next
        }) else {
            return;
        };
        tokio::select! {
            () = sleep_until(next) => {}
            () = wanted => {}
        }
    }
}

/// Runs hyper's tasks on the worker's own thread.
#[derive(Debug, Clone, Copy)]
struct LocalExecutor;

impl<F: Future<Output: 'static> + 'static> hyper::rt::Executor<F> for LocalExecutor {
    fn execute(&self, future: F) {
        spawn_local(future);
    }
}
