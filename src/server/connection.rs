//! One client connection: from its first byte to its last. The protocol comes from ALPN, every bound from `limits`.

use std::cell::Cell;
use std::convert::Infallible;
use std::future::{Future, poll_fn};
use std::io;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use http::{Request, Response};
use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::{Instant, Sleep, sleep};
use tokio_util::sync::CancellationToken;

use super::frames::Frames;
use super::pulse::{Phase, Pulse};
use super::stall;
use super::wire::{Attached, Counted, Replace, Wire};
use crate::config::{Limits, Protocol};
use crate::gateway::Answer;
use crate::telemetry::metrics::ListenerMetrics;

/// Bytes that one stream may have in flight before its reader has taken them.
const WINDOW: u32 = 64 * 1024;
/// Resets by the peer that are still unprocessed, and errors of the peer's making, before a connection is given up
/// (CVE-2023-44487, CVE-2025-8671).
const RESETS: usize = 64;
/// How long a connection that says nothing is kept when the gateway stops. Its client may be about to ask: who asks in this time
/// is answered, and told that the connection ends, instead of finding it closed.
const LAST_CALL: Duration = Duration::from_millis(500);
/// hyper's buffer has to hold a whole head; the exact limits are checked on what was parsed.
const SMALLEST_BUFFER: usize = 64 * 1024;

/// How a connection ended.
enum End {
    Done,
    TooSlow,
}

/// What a connection needs besides its bytes.
pub(super) struct Terms {
    /// Bounds in force when it was accepted.
    pub(super) limits: Limits,
    /// What it is doing.
    pub(super) pulse: Arc<Pulse>,
    /// Set when the gateway stops.
    pub(super) drain: CancellationToken,
    /// Makes the gateway's answer of an answer that hyper made (HTTP/1).
    pub(super) replace: Replace,
    /// What is counted of its listener.
    pub(super) counters: Arc<ListenerMetrics>,
    /// What counts the connection; lives as long as its bytes do, in a tunnel too.
    pub(super) counted: Counted,
}

/// Serves HTTP until the connection ends. Errors of the client's making end it silently: whoever sent the request has
/// had the answer, or is gone.
pub(super) async fn serve<T, F, A>(stream: T, protocol: Protocol, terms: Terms, answer: F)
where
    T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    F: Fn(Request<Incoming>) -> A + 'static,
    A: Future<Output = Response<Answer>> + 'static,
{
    match protocol {
        Protocol::Http1 => serve_http1(stream, terms, answer).await,
        Protocol::H2 => serve_http2(stream, terms, answer).await,
    }
}

async fn serve_http1<T, F, A>(stream: T, terms: Terms, answer: F)
where
    T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    F: Fn(Request<Incoming>) -> A + 'static,
    A: Future<Output = Response<Answer>> + 'static,
{
    let Terms { limits, pulse, drain, replace, counted, .. } = terms;
    let wire = Wire::new(stream, Arc::clone(&pulse), limits.body_idle_timeout, Attached { replace, counted });
    let service = service_fn(move |request| {
        let answered = answer(request);
        async move { Ok::<_, Infallible>(answered.await) }
    });
    let mut connection = http1_builder(&limits).serve_connection(TokioIo::new(wire), service).with_upgrades();
    let mut pace = Pace::new(&limits);
    let mut drained = pin!(drain.cancelled());
    let mut draining = false;
    let end = poll_fn(|cx| {
        if !draining && drained.as_mut().poll(cx).is_ready() {
            // The answer to the next request says that it is the last one.
            draining = true;
            pace.hurry();
        }
        if Pin::new(&mut connection).poll(cx).is_ready() {
            return Poll::Ready(End::Done);
        }
        pace.poll_expired(cx, &pulse).map(|phase| if phase == Phase::Head { End::TooSlow } else { End::Done })
    })
    .await;
    pulse.end();
    if let (End::TooSlow, Some(parts)) = (end, connection.into_parts()) {
        // The client may be gone, and then nobody misses the answer.
        let _: io::Result<()> = parts.io.into_inner().refuse_slow().await;
    }
}

fn http1_builder(limits: &Limits) -> http1::Builder {
    let head = limits.header_bytes.saturating_add(limits.target_bytes).saturating_add(1024).max(SMALLEST_BUFFER);
    let mut builder = http1::Builder::new();
    builder
        .timer(TokioTimer::new())
        // Idle time and the time for a head are told apart by `Pace`; hyper would count both as one.
        .header_read_timeout(None)
        .half_close(false)
        .keep_alive(true)
        .max_buf_size(head)
        .max_header_size(head)
        .auto_date_header(true)
        .pipeline_flush(false);
    if limits.headers > 100 {
        // hyper keeps up to 100 fields on the stack; a number set here moves them to the heap.
        builder.max_headers(limits.headers);
    }
    builder
}

async fn serve_http2<T, F, A>(stream: T, terms: Terms, answer: F)
where
    T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    F: Fn(Request<Incoming>) -> A + 'static,
    A: Future<Output = Response<Answer>> + 'static,
{
    let Terms { limits, pulse, drain, counters, counted, .. } = terms;
    let service = service_fn(move |request| {
        let answered = answer(request);
        async move { Ok::<_, Infallible>(answered.await) }
    });
    let streams = Local { patience: limits.body_idle_timeout, marred: Rc::default() };
    let marred = Rc::clone(&streams.marred);
    let builder = http2_builder(streams, &limits);
    let mut connection = pin!(builder.serve_connection(TokioIo::new(Frames::new(stream, counters)), service));
    let mut pace = Pace::new(&limits);
    let mut drained = pin!(drain.cancelled());
    let (mut draining, mut leaving) = (false, false);
    poll_fn(|cx| {
        if !draining && drained.as_mut().poll(cx).is_ready() {
            draining = true;
            pace.hurry();
        }
        let told = leaving;
        loop {
            if connection.as_mut().poll(cx).is_ready() {
                return Poll::Ready(());
            }
            // A connection that has not asked for anything may not have sent its preface yet, and could not be told to go.
            let last = pulse.requests() >= limits.requests_per_connection || marred.get();
            let enough = last || draining && pulse.requests() > 0;
            if leaving || !enough && pace.poll_expired(cx, &pulse).is_pending() {
                break;
            }
            leaving = true;
            connection.as_mut().graceful_shutdown();
        }
        // Who was told to go some time ago and says nothing more is not waited for.
        match pace.poll_expired(cx, &pulse) {
            Poll::Ready(_) if told => Poll::Ready(()),
            _ => Poll::Pending,
        }
    })
    .await;
    drop(counted);
}

fn http2_builder(streams: Local, limits: &Limits) -> http2::Builder<Local> {
    let mut builder = http2::Builder::new(streams);
    builder
        .timer(TokioTimer::new())
        .initial_stream_window_size(WINDOW)
        .initial_connection_window_size(WINDOW.saturating_mul(4))
        .max_concurrent_streams(limits.concurrent_streams)
        .max_header_list_size(header_list_size(limits))
        .max_pending_accept_reset_streams(RESETS)
        .max_local_error_reset_streams(RESETS)
        .max_send_buf_size(WINDOW as usize)
        .max_frame_size(16 * 1024)
        .header_table_size(4096)
        .keep_alive_interval(limits.idle_timeout)
        .keep_alive_timeout(limits.header_timeout)
        .enable_connect_protocol()
        .auto_date_header(true);
    builder
}

/// RFC 9113 section 6.5.2: octets of names and values and 32 for each field; pseudo-header fields count too.
fn header_list_size(limits: &Limits) -> u32 {
    let fields = limits.headers.saturating_add(5).saturating_mul(32);
    let bytes = limits.header_bytes.saturating_add(limits.target_bytes).saturating_add(fields);
    u32::try_from(bytes).unwrap_or(u32::MAX)
}

/// Runs the streams of an HTTP/2 connection on the worker that accepted it.
#[derive(Debug, Clone)]
struct Local {
    /// How long a client may leave an answer where it is.
    patience: Duration,
    /// A stream ended in a panic. Those beside it go on, and no other is begun: what the panic has left of the connection's
    /// own state ends with it.
    marred: Rc<Cell<bool>>,
}

impl<F: Future + 'static> hyper::rt::Executor<F> for Local {
    fn execute(&self, future: F) {
        let Self { patience, marred } = self.clone();
        tokio::task::spawn_local(async move {
            let stream = async move {
                future.await;
            };
            if stall::watched(stream, patience).await.is_err() {
                marred.set(true);
            }
        });
    }
}

/// The clock of a connection: how long it may take to send a head, and how long it may say nothing.
struct Pace {
    header: Duration,
    idle: Duration,
    /// The longest silence between two requests.
    rest: Duration,
    /// What was going on when it was looked at last, and since when.
    state: (Phase, u64),
    since: Instant,
    timer: Pin<Box<Sleep>>,
}

impl Pace {
    fn new(limits: &Limits) -> Self {
        Self {
            header: limits.header_timeout,
            idle: limits.idle_timeout,
            rest: limits.idle_timeout,
            state: (Phase::Idle, 0),
            since: Instant::now(),
            timer: Box::pin(sleep(limits.header_timeout.min(limits.idle_timeout))),
        }
    }

    /// From this moment on silence is short.
    fn hurry(&mut self) {
        self.rest = self.rest.min(LAST_CALL);
        self.since = Instant::now();
        if let Some(due) = self.due().filter(|due| *due < self.timer.deadline()) {
            self.timer.as_mut().reset(due);
        }
    }

    /// Ready with the phase that has lasted too long. The timer is set anew only where it would ring too late, so that
    /// a request on a busy connection costs no timer operation.
    fn poll_expired(&mut self, cx: &mut Context<'_>, pulse: &Pulse) -> Poll<Phase> {
        let state = (pulse.phase(), pulse.requests());
        if state != self.state {
            self.state = state;
            self.since = Instant::now();
            if let Some(due) = self.due().filter(|due| *due < self.timer.deadline()) {
                self.timer.as_mut().reset(due);
            }
        }
        while self.timer.as_mut().poll(cx).is_ready() {
            match self.due() {
                Some(due) if due <= Instant::now() => return Poll::Ready(self.state.0),
                Some(due) => self.timer.as_mut().reset(due),
                None => {
                    let later = Instant::now() + self.idle;
                    self.timer.as_mut().reset(later);
                }
            }
        }
        Poll::Pending
    }

    fn due(&self) -> Option<Instant> {
        match self.state {
            // A connection that never said anything is given the time for its first head.
            (Phase::Idle, 0) => Some(self.since + self.header.min(self.rest)),
            (Phase::Head, _) => Some(self.since + self.header),
            (Phase::Idle, _) => Some(self.since + self.rest),
            (Phase::Ending, _) => Some(self.since + self.idle),
            (Phase::Busy | Phase::Over, _) => None,
        }
    }
}
