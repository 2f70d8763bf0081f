//! An HTTP/1 connection. hyper speaks; between two requests, when there has been silence for a moment, it is taken off the
//! byte stream and put on again when something arrives: its buffers and the room for the work on a request are several
//! times what an idle connection needs besides.
//!
//! It is hyper that says whether nothing is under way: told to shut down, it is done at once exactly when every request that it
//! has read is answered. That the answers are written is known from the [`Pulse`]. Nothing reaches the wire by all that, and what
//! hyper has read and not used it hands back.

use std::convert::Infallible;
use std::future::{Future, poll_fn};
use std::io;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use http::{Request, Response};
use hyper::body::{Body, Incoming};
use hyper::server::conn::http1;
use hyper::service::{HttpService, Service};
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_util::sync::CancellationToken;

use super::pace::{Due, Pace};
use super::pulse::{Phase, Pulse};
use super::wire::{Readable, Wire};
use crate::config::Limits;

/// hyper's buffer has to hold a whole head; the exact limits are checked on what was parsed.
const SMALLEST_BUFFER: usize = 64 * 1024;
/// Silence after which a connection rests. Whoever asks several times a second never gets there; who asks less often pays
/// less for what is built anew than for the request.
pub(super) const REST_AFTER: Duration = Duration::from_millis(250);

/// How a connection ended.
enum End {
    Done,
    TooSlow,
}

/// Who has the byte stream.
enum Turn<T, S: HttpService<Incoming>> {
    /// Nobody: no byte of a request is here.
    Resting(Box<Wire<T>>, S),
    /// hyper.
    Speaking(Box<http1::UpgradeableConnection<TokioIo<Box<Wire<T>>>, S>>),
    /// Nobody any more.
    Over,
}

/// Answers requests, and notes which of them offer to go on in another protocol: hyper keeps the offer until the connection ends,
/// whether it is taken or not, and could then not be taken off the byte stream without giving that away.
pub(super) struct Noting<S> {
    service: S,
    pulse: Arc<Pulse>,
}

impl<S: Service<Request<Incoming>>> Service<Request<Incoming>> for Noting<S> {
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    fn call(&self, request: Request<Incoming>) -> S::Future {
        if request.extensions().get::<OnUpgrade>().is_some() {
            self.pulse.mark_upgradable();
        }
        self.service.call(request)
    }
}

/// See the module's description.
pub(super) struct Conversation<T, S>
where
    Noting<S>: HttpService<Incoming>,
{
    turn: Turn<T, Noting<S>>,
    builder: http1::Builder,
    pulse: Arc<Pulse>,
    pace: Pace,
    rest_after: Duration,
    /// With how many requests it could not be put to rest.
    restless: Option<u64>,
}

impl<T, S, B> Conversation<T, S>
where
    T: AsyncRead + AsyncWrite + Readable + Unpin + Send + 'static,
    S: Service<Request<Incoming>, Response = Response<B>, Error = Infallible>,
    B: Body + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    /// A connection whose client has not said anything.
    pub(super) fn new(wire: Box<Wire<T>>, service: S, limits: &Limits, pulse: Arc<Pulse>) -> Self {
        Self {
            turn: Turn::Resting(wire, Noting { service, pulse: Arc::clone(&pulse) }),
            builder: builder(limits),
            pulse,
            pace: Pace::new(limits),
            rest_after: REST_AFTER,
            restless: None,
        }
    }

    /// Speaks until the connection ends.
    #[expect(clippy::manual_async_fn, reason = "an asynchronous function would keep its arguments twice")]
    pub(super) fn hold(mut self, drain: CancellationToken) -> impl Future<Output = ()> {
        async move {
            let mut drained = pin!(drain.cancelled());
            let mut draining = false;
            let end = poll_fn(|cx| {
                if !draining && drained.as_mut().poll(cx).is_ready() {
                    // The answer to the next request says that it is the last one.
                    draining = true;
                    self.pace.hurry();
                }
                self.poll(cx)
            })
            .await;
            self.pulse.end();
            if let (End::TooSlow, Turn::Speaking(connection)) = (end, self.turn)
                && let Some(parts) = connection.into_parts()
            {
                // The client may be gone, and then nobody misses the answer.
                let _: io::Result<()> = parts.io.into_inner().refuse_slow().await;
            }
        }
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<End> {
        loop {
            let rest_after = match &mut self.turn {
                Turn::Resting(wire, _) => {
                    if wire.poll_readable(cx).is_ready() {
                        self.speak();
                        continue;
                    }
                    None
                }
                Turn::Speaking(connection) => {
                    if Pin::new(connection.as_mut()).poll(cx).is_ready() {
                        return Poll::Ready(End::Done);
                    }
                    let restless = self.restless == Some(self.pulse.requests()) || self.pulse.is_upgradable();
                    Some(self.rest_after).filter(|_| !restless)
                }
                Turn::Over => return Poll::Ready(End::Done),
            };
            match self.pace.poll(cx, &self.pulse, rest_after) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Due::End(Phase::Head)) => return Poll::Ready(End::TooSlow),
                Poll::Ready(Due::End(_)) => return Poll::Ready(End::Done),
                Poll::Ready(Due::Rest) => {
                    if self.rest(cx).is_ready() {
                        return Poll::Ready(End::Done);
                    }
                }
            }
        }
    }

    /// Gives hyper the byte stream.
    fn speak(&mut self) {
        self.turn = match std::mem::replace(&mut self.turn, Turn::Over) {
            Turn::Resting(wire, service) => {
                let connection = self.builder.serve_connection(TokioIo::new(wire), service);
                Turn::Speaking(Box::new(connection.with_upgrades()))
            }
            other => other,
        };
    }

    /// Takes the byte stream from hyper. Ready: the connection has ended.
    fn rest(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Turn::Speaking(connection) = &mut self.turn else { return Poll::Pending };
        if !self.pulse.advance(Phase::Idle, Phase::Resting) {
            return Poll::Pending;
        }
        let mut connection = Pin::new(connection.as_mut());
        connection.as_mut().graceful_shutdown();
        let over = connection.poll(cx);
        self.pulse.advance(Phase::Resting, Phase::Idle);
        match over {
            // hyper knows of something that is under way; its end is the connection's.
            Poll::Pending => self.restless = Some(self.pulse.requests()),
            Poll::Ready(Err(_)) => return Poll::Ready(()),
            Poll::Ready(Ok(())) => {
                if let Turn::Speaking(connection) = std::mem::replace(&mut self.turn, Turn::Over)
                    && let Some(parts) = connection.into_parts()
                {
                    let mut wire = parts.io.into_inner();
                    if parts.read_buf.is_empty() {
                        // Dropped here, for even without a byte in it it keeps hyper's buffer.
                        drop(parts.read_buf);
                        self.turn = Turn::Resting(wire, parts.service);
                    } else {
                        // A part of a head that came with the request before it: hyper has to know it when the rest comes.
                        wire.rewind(parts.read_buf);
                        self.restless = Some(self.pulse.requests());
                        self.turn = Turn::Resting(wire, parts.service);
                        self.speak();
                    }
                }
            }
        }
        Poll::Pending
    }
}

fn builder(limits: &Limits) -> http1::Builder {
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

#[cfg(test)]
mod tests;
