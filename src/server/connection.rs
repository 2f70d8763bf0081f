//! One client connection: from its first byte to its last. The protocol comes from ALPN, every bound from `limits`.

use std::cell::Cell;
use std::convert::Infallible;
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use http::{Request, Response};
use hyper::body::Incoming;
use hyper::server::conn::http2;
use hyper::service::{Service, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_util::sync::CancellationToken;

use super::frames::Frames;
use super::http1;
use super::pace::Pace;
use super::pulse::Pulse;
use super::stall;
use super::wire::{Attached, Counted, Readable, Replace, Wire};
use crate::config::{Limits, Protocol};
use crate::gateway::Answer;
use crate::telemetry::metrics::ListenerMetrics;

/// Bytes that one stream may have in flight before its reader has taken them.
const WINDOW: u32 = 64 * 1024;
/// Resets by the peer that are still unprocessed, and errors of the peer's making, before a connection is given up
/// (CVE-2023-44487, CVE-2025-8671).
const RESETS: usize = 64;

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
pub(super) fn serve<T, F, A>(
    stream: T,
    protocol: Protocol,
    terms: Terms,
    answer: F,
) -> Pin<Box<dyn Future<Output = ()>>>
where
    T: AsyncRead + AsyncWrite + Readable + Unpin + Send + 'static,
    F: Fn(Request<Incoming>) -> A + 'static,
    A: Future<Output = Result<Response<Answer>, Infallible>> + 'static,
{
    let service = service_fn(answer);
    match protocol {
        Protocol::Http1 => {
            let Terms { limits, pulse, drain, replace, counted, .. } = terms;
            let attached = Attached { replace, counted };
            let wire = Box::new(Wire::new(stream, Arc::clone(&pulse), limits.body_idle_timeout, attached));
            Box::pin(http1::Conversation::new(wire, service, &limits, pulse).hold(drain))
        }
        Protocol::H2 => Box::pin(serve_http2(stream, terms, service)),
    }
}

async fn serve_http2<T, S>(stream: T, terms: Terms, service: S)
where
    T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    S: Service<Request<Incoming>, Response = Response<Answer>, Error = Infallible>,
    S::Future: 'static,
{
    let Terms { limits, pulse, drain, counters, counted, .. } = terms;
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
            if leaving || !enough && pace.poll(cx, &pulse, None).is_pending() {
                break;
            }
            leaving = true;
            connection.as_mut().graceful_shutdown();
        }
        // Who was told to go some time ago and says nothing more is not waited for.
        match pace.poll(cx, &pulse, None) {
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
        // Boxed before anything is built around it: a stream is some kibibytes, and would be copied into each layer.
        let future = Box::pin(future);
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
