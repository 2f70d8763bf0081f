//! The body of an answer, and with it everything that has to live until the answer's last byte: the record, the
//! snapshot, the connection's business.

use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use tokio::time::Instant;

use super::standing::Standing;
use crate::panics;
use crate::server::overload::Occupied;
use crate::server::stall::Turn;
use crate::snapshot::Snapshot;
use crate::telemetry::Recording;
use crate::upstream::{ResponseBody, ResponseFault};

/// What is sent.
#[derive(Debug)]
pub(super) enum Content {
    /// Bytes of the gateway's own.
    Own(Bytes),
    /// The upstream's answer as it comes.
    Upstream(ResponseBody),
}

/// An answer on its way. Dropping it closes the request's record.
#[derive(Debug)]
pub struct Answer {
    pub(super) content: Content,
    pub(super) record: Recording,
    /// Nothing of the body is sent: `HEAD`, 204, 304.
    pub(super) bodiless: bool,
    pub(super) ended: bool,
    /// Whose turn it is, where somebody watches.
    pub(super) turn: Option<Turn>,
    pub(super) standing: Standing,
    pub(super) _busy: Rc<Occupied>,
    pub(super) snapshot: Arc<Snapshot>,
}

impl Body for Answer {
    type Data = Bytes;
    type Error = ResponseFault;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, ResponseFault>>> {
        let this = self.get_mut();
        if let Some(turn) = &this.turn {
            turn.set(None);
        }
        let frame = match &mut this.content {
            Content::Own(bytes) if bytes.is_empty() => None,
            Content::Own(bytes) => Some(Ok(Frame::data(std::mem::take(bytes)))),
            Content::Upstream(_) => ready!(this.poll_upstream(cx)),
        };
        match &frame {
            Some(Ok(frame)) => {
                if let Some(turn) = &this.turn {
                    turn.set(Some(Instant::now()));
                }
                let length = frame.data_ref().map_or(0, Bytes::len);
                this.record.response_bytes = this.record.response_bytes.saturating_add(length as u64);
            }
            Some(Err(ResponseFault::Expired)) => this.end_with("token-expired"),
            Some(Err(ResponseFault::Revoked)) => this.end_with("token-revoked"),
            Some(Err(ResponseFault::Upstream(_))) => this.end_with("upstream-aborted"),
            None => this.ended = true,
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        match &self.content {
            Content::Own(bytes) => bytes.is_empty(),
            Content::Upstream(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.content {
            Content::Own(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Content::Upstream(body) => body.size_hint(),
        }
    }
}

impl Answer {
    /// The upstream's next frame, unless the token has been revoked.
    fn poll_upstream(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, ResponseFault>>> {
        let Content::Upstream(body) = &mut self.content else { return Poll::Ready(None) };
        let Some(principal) = &self.record.principal else { return Pin::new(body).poll_frame(cx) };
        let register = self.snapshot.issuers.register();
        if self.standing.is_revoked(register, principal) {
            return Poll::Ready(Some(Err(body.abort(ResponseFault::Revoked))));
        }
        let frame = Pin::new(&mut *body).poll_frame(cx);
        if frame.is_pending() {
            ready!(self.standing.poll_ended(register, principal, cx));
            return Poll::Ready(Some(Err(body.abort(ResponseFault::Revoked))));
        }
        frame
    }

    fn end_with(&mut self, error: &'static str) {
        self.ended = true;
        self.record.error = Some(error);
    }
}

impl Drop for Answer {
    fn drop(&mut self) {
        if !self.ended && !self.bodiless && !self.is_end_stream() {
            self.record.error = Some(if panics::is_unwinding() { "panicked" } else { "client-aborted" });
        }
    }
}
