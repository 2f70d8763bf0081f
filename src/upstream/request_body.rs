//! Request bodies: counted, timed, filtered, never copied, and never buffered beyond one piece that came with a head.

use std::cell::Cell;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http::HeaderMap;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use smallvec::SmallVec;
use tokio::time::{Instant, Sleep, sleep_until};

use super::BUFFER;
use super::failure::RequestFault;
use super::request_headers::{TrailerRules, unless_empty};

/// A request body before anything was done with it.
#[derive(Debug)]
pub enum ClientBody {
    /// Streaming in from the client.
    Incoming(Incoming),
    /// Read already, at least its beginning, because policy asked about it.
    Begun(Box<Begun>),
}

/// A body that somebody has begun to read: these bytes first, unchanged.
#[derive(Debug)]
pub struct Begun {
    pieces: SmallVec<[Bytes; 2]>,
    rest: Rest,
}

/// What follows them.
#[derive(Debug)]
enum Rest {
    Nothing,
    Trailers(HeaderMap),
    Incoming(Incoming),
}

impl From<Incoming> for ClientBody {
    fn from(body: Incoming) -> Self {
        Self::Incoming(body)
    }
}

impl ClientBody {
    /// A body that was read to its end.
    pub fn read(bytes: Bytes, trailers: Option<HeaderMap>) -> Self {
        let rest = trailers.and_then(unless_empty).map_or(Rest::Nothing, Rest::Trailers);
        Self::Begun(Box::new(Begun { pieces: SmallVec::from_iter([bytes]), rest }))
    }

    /// A body of which these pieces were read and the rest is still to come.
    pub fn begun(pieces: [Bytes; 2], rest: Incoming) -> Self {
        Self::Begun(Box::new(Begun { pieces: pieces.into(), rest: Rest::Incoming(rest) }))
    }

    /// Whether there is nothing to send.
    pub(super) fn is_empty(&self) -> bool {
        match self {
            Self::Incoming(body) => body.is_end_stream(),
            Self::Begun(begun) => begun.is_empty(),
        }
    }

    /// The exact length where it is known before the body has been read.
    pub fn length(&self) -> Option<u64> {
        match self {
            Self::Incoming(body) => body.size_hint().exact(),
            Self::Begun(begun) => begun.length(),
        }
    }

    fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        match self {
            Self::Incoming(body) => Pin::new(body).poll_frame(cx),
            Self::Begun(begun) => begun.poll_frame(cx),
        }
    }
}

impl Begun {
    fn is_empty(&self) -> bool {
        let over = match &self.rest {
            Rest::Nothing => true,
            Rest::Trailers(_) => false,
            Rest::Incoming(body) => body.is_end_stream(),
        };
        over && self.pieces.iter().all(Bytes::is_empty)
    }

    fn length(&self) -> Option<u64> {
        let rest = match &self.rest {
            Rest::Nothing => 0,
            // Trailers need chunks.
            Rest::Trailers(_) => return None,
            Rest::Incoming(body) => body.size_hint().exact()?,
        };
        let read: usize = self.pieces.iter().map(Bytes::len).sum();
        u64::try_from(read).ok()?.checked_add(rest)
    }

    fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        if let Some(piece) = self.pieces.iter_mut().find(|piece| !piece.is_empty()) {
            // No more at once than is buffered of a stream.
            let next = piece.split_to(piece.len().min(BUFFER));
            if piece.is_empty() {
                *piece = Bytes::new();
            }
            return Poll::Ready(Some(Ok(Frame::data(next))));
        }
        match &mut self.rest {
            Rest::Incoming(body) => Pin::new(body).poll_frame(cx),
            rest => match std::mem::replace(rest, Rest::Nothing) {
                Rest::Trailers(trailers) => Poll::Ready(Some(Ok(Frame::trailers(trailers)))),
                Rest::Nothing | Rest::Incoming(_) => Poll::Ready(None),
            },
        }
    }
}

/// How far the request body has come, shared between the body (which hyper owns) and the exchange that waits for the
/// answer.
#[derive(Debug)]
pub(super) struct Progress {
    fault: Cell<Option<RequestFault>>,
    finished: Cell<bool>,
    waiting_for_client: Cell<bool>,
    moved: Cell<Instant>,
}

impl Progress {
    fn new() -> Rc<Self> {
        Rc::new(Self {
            fault: Cell::new(None),
            finished: Cell::new(false),
            waiting_for_client: Cell::new(false),
            moved: Cell::new(Instant::now()),
        })
    }

    /// Why the body broke off, if it did.
    pub(super) fn fault(&self) -> Option<RequestFault> {
        self.fault.get()
    }

    /// Whether the whole body was handed to the connection.
    pub(super) fn is_finished(&self) -> bool {
        self.finished.get()
    }

    /// Since when the upstream is the one that everybody waits for; `None` while the client is.
    pub(super) fn upstream_due_since(&self) -> Option<Instant> {
        (!self.waiting_for_client.get()).then(|| self.moved.get())
    }
}

/// A request body on its way to the upstream. An error ends the connection (HTTP/1) or resets the stream (HTTP/2):
/// the upstream never takes a broken body for a whole one.
#[derive(Debug)]
pub(super) struct RequestBody(Option<Box<Streaming>>);

/// What limits a request body.
#[derive(Debug, Clone, Copy)]
pub(super) struct BodyLimits {
    /// Bytes.
    pub(super) size: u64,
    /// Longest silence of the client.
    pub(super) idle: Duration,
}

#[derive(Debug)]
struct Streaming {
    inner: ClientBody,
    limits: BodyLimits,
    trailers: TrailerRules,
    progress: Rc<Progress>,
    /// Taken from the client, counted, and put back.
    returned: Bytes,
    counted: u64,
    silence: Option<Pin<Box<Sleep>>>,
}

impl RequestBody {
    /// No body.
    pub(super) fn none() -> Self {
        Self(None)
    }

    /// This body, and the view of it that the exchange keeps.
    pub(super) fn streaming(inner: ClientBody, limits: BodyLimits, trailers: TrailerRules) -> (Self, Rc<Progress>) {
        let progress = Progress::new();
        let view = Rc::clone(&progress);
        let streaming =
            Streaming { inner, limits, trailers, progress, returned: Bytes::new(), counted: 0, silence: None };
        (Self(Some(Box::new(streaming))), view)
    }

    /// Puts back what was taken last.
    pub(super) fn put_back(&mut self, data: Bytes) {
        if let Some(streaming) = self.0.as_deref_mut().filter(|_| !data.is_empty()) {
            streaming.progress.finished.set(false);
            streaming.returned = data;
        }
    }
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = RequestFault;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, RequestFault>>> {
        let Some(streaming) = self.get_mut().0.as_deref_mut() else { return Poll::Ready(None) };
        if let Some(fault) = streaming.progress.fault() {
            // What follows a fault is no body.
            return Poll::Ready(Some(Err(fault)));
        }
        let outcome = match std::mem::take(&mut streaming.returned) {
            returned if !returned.is_empty() => Some(Ok(Frame::data(returned))),
            _ => ready!(streaming.poll(cx)),
        };
        let progress = &streaming.progress;
        match &outcome {
            Some(Ok(_)) => progress.finished.set(streaming.inner.is_empty()),
            Some(Err(fault)) => progress.fault.set(Some(*fault)),
            None => progress.finished.set(true),
        }
        Poll::Ready(outcome)
    }

    fn is_end_stream(&self) -> bool {
        self.0.as_deref().is_none_or(|streaming| {
            streaming.progress.is_finished() || (streaming.returned.is_empty() && streaming.inner.is_empty())
        })
    }

    fn size_hint(&self) -> SizeHint {
        let exact = self.0.as_deref().map_or(Some(0), |streaming| {
            streaming.inner.length()?.checked_add(u64::try_from(streaming.returned.len()).ok()?)
        });
        exact.map_or_else(SizeHint::default, SizeHint::with_exact)
    }
}

impl Streaming {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, RequestFault>>> {
        loop {
            let Poll::Ready(frame) = self.inner.poll_frame(cx) else { return self.poll_silence(cx) };
            self.silence = None;
            self.progress.waiting_for_client.set(false);
            self.progress.moved.set(Instant::now());
            let frame = match frame {
                Some(Ok(frame)) => frame,
                Some(Err(_)) => return Poll::Ready(Some(Err(RequestFault::Broken))),
                None => return Poll::Ready(None),
            };
            match frame.into_data() {
                Ok(data) => {
                    self.counted = self.counted.saturating_add(u64::try_from(data.len()).unwrap_or(u64::MAX));
                    if self.counted > self.limits.size {
                        return Poll::Ready(Some(Err(RequestFault::TooLarge(self.limits.size))));
                    }
                    return Poll::Ready(Some(Ok(Frame::data(data))));
                }
                Err(frame) => {
                    if let Some(trailers) = frame.into_trailers().ok().and_then(|found| self.trailers.filter(found)) {
                        return Poll::Ready(Some(Ok(Frame::trailers(trailers))));
                    }
                }
            }
        }
    }

    /// Nothing from the client: ends the body once that has lasted too long.
    fn poll_silence(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, RequestFault>>> {
        self.progress.waiting_for_client.set(true);
        let idle = self.limits.idle;
        let timer = self.silence.get_or_insert_with(|| Box::pin(sleep_until(Instant::now() + idle)));
        ready!(timer.as_mut().poll(cx));
        Poll::Ready(Some(Err(RequestFault::Idle(idle))))
    }
}
