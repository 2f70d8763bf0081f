//! Connections that wait for their next request: one pool per worker thread and member, last used first.
//!
//! A connection comes back only after a whole response to a whole request; whatever else happens to it, it is dropped, and
//! that closes it at once.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::future::poll_fn;
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use foldhash::fast::RandomState;
use hyper::client::conn::http2;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::sync::Mutex;
use tokio::task::{AbortHandle, spawn_local};
use tokio::time::{Instant, sleep_until, timeout};

use super::BUFFER;
use super::connect::{Stream, connect};
use super::failure::{ConnectionFault, Failure, ProtocolFault};
use super::http1::Http1;
use super::load::Upstream;
use super::member::Member;
use super::members::Seat;
use super::request_body::RequestBody;
use crate::panics;

thread_local! {
    /// By the numbers of members, which nobody outside chooses.
    static POOLS: RefCell<HashMap<u64, Registered, RandomState>> = RefCell::default();
}

/// A pool, and whether its member still is one.
struct Registered {
    in_force: std::sync::Weak<()>,
    pool: Rc<Pool>,
}

/// How often, and for how long at most, a busy HTTP/2 connection is asked whether it still lives.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// One worker's connections to one member of an upstream.
#[derive(Debug)]
pub(super) struct Pool {
    upstream: Arc<Upstream>,
    member: Arc<Member>,
    idle: RefCell<Vec<Idle>>,
    /// Wakes the task that closes connections.
    sweeper: RefCell<Option<Waker>>,
    shared: RefCell<Option<Rc<Http2>>>,
    opening: Mutex<()>,
    is_swept: Cell<bool>,
}

#[derive(Debug)]
struct Idle {
    connection: Box<Http1>,
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

/// An HTTP/2 connection that all exchanges of this worker share.
#[derive(Debug)]
pub(super) struct Http2 {
    pub(super) sender: http2::SendRequest<RequestBody>,
    last_used: Cell<Instant>,
    _driver: Driver,
}

impl Http2 {
    /// An exchange over it has ended.
    pub(super) fn used(&self) {
        self.last_used.set(Instant::now());
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
                sweeper: RefCell::default(),
                shared: RefCell::default(),
                opening: Mutex::new(()),
                is_swept: Cell::new(false),
            });
            pools.insert(member.id, Registered { in_force: Arc::downgrade(in_force), pool: Rc::clone(&pool) });
            pool
        })
    }

    /// An idle connection that is still usable.
    pub(super) fn take(&self) -> Option<Box<Http1>> {
        let mut idle = self.idle.borrow_mut();
        let now = Instant::now();
        while let Some(mut waiting) = idle.pop() {
            // Whoever takes it asks again.
            if !self.is_expired(&waiting, now) && waiting.connection.is_quiet(&mut Context::from_waker(Waker::noop())) {
                return Some(waiting.connection);
            }
        }
        None
    }

    fn is_expired(&self, waiting: &Idle, now: Instant) -> bool {
        now.saturating_duration_since(waiting.since) >= self.upstream.idle_timeout
    }

    /// Whose connections these are.
    pub(super) fn upstream(&self) -> &Arc<Upstream> {
        &self.upstream
    }

    /// Keeps a connection whose exchange is over. One on which the upstream goes on talking is closed.
    pub(super) fn put(self: &Rc<Self>, mut connection: Box<Http1>) {
        if self.upstream.capacity.is_wanted() {
            return;
        }
        connection.rest();
        let sweeper = self.sweeper.borrow();
        if connection.is_quiet(&mut Context::from_waker(sweeper.as_ref().unwrap_or(Waker::noop()))) {
            self.idle.borrow_mut().push(Idle { connection, since: Instant::now() });
            self.sweep();
        }
    }

    /// Opens a connection of its own.
    pub(super) async fn open(&self) -> Result<Box<Http1>, Failure> {
        Ok(Http1::new(self.connect().await?))
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
            .map_err(|error| Failure::Protocol(ProtocolFault::Malformed(ConnectionFault::Http2(error))))?;
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
        idle.retain(|waiting| !self.is_expired(waiting, now));
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

    /// Closes every idle connection on which something comes: its end, or what nobody has asked for (RFC 9112 section 9.2).
    /// Wakes the task when there is another one.
    fn watch(&self, cx: &mut Context<'_>) {
        self.idle.borrow_mut().retain_mut(|waiting| waiting.connection.is_quiet(cx));
        let mut sweeper = self.sweeper.borrow_mut();
        if sweeper.as_ref().is_none_or(|known| !known.will_wake(cx.waker())) {
            *sweeper = Some(cx.waker().clone());
        }
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
            if next.is_none() {
                pool.sweeper.take();
            }
            next
        }) else {
            return;
        };
        let watched = poll_fn(|cx| {
            if let Some(pool) = pool.upgrade() {
                pool.watch(cx);
            }
            Poll::<()>::Pending
        });
        tokio::select! {
            biased;
            () = sleep_until(next) => {}
            () = wanted => {}
            () = watched => {}
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
