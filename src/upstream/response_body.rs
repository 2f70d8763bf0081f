//! Response bodies: passed on as they come, never copied, ended with the token that allowed them.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, Waker, ready};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use tokio::time::{Sleep, sleep_until};

use super::abandoned;
use super::failure::{ConnectionFault, ResponseFault};
use super::member::Call;
use super::response_headers;
use super::source::Source;
use crate::clock::Timestamp;

/// A response body on its way to the client. What ends before its end is an error, which makes hyper abort the
/// client's connection or stream.
#[derive(Debug)]
pub struct ResponseBody {
    /// What had come already when the head did.
    ahead: Option<Result<Frame<Bytes>, ConnectionFault>>,
    /// A fault is the last thing ahead.
    is_broken: bool,
    /// Where the rest comes from, until all of it has been read.
    source: Option<Source>,
    /// What counts it as under way as long.
    call: Option<Call>,
    /// The last second in which the token is valid.
    valid_until: Option<Timestamp>,
    expiry: Option<Pin<Box<Sleep>>>,
}

impl ResponseBody {
    /// No body.
    pub fn empty() -> Self {
        Self { ahead: None, is_broken: false, source: None, call: None, valid_until: None, expiry: None }
    }

    /// The body of a response, whose connection goes back to its pool at the body's end. `valid_until` is
    /// the last second in which the token is valid.
    pub(super) fn new(source: Source, call: Call, valid_until: Option<Timestamp>) -> Self {
        let mut body =
            Self { ahead: None, is_broken: false, source: Some(source), call: Some(call), valid_until, expiry: None };
        body.look_ahead();
        body.settle();
        body
    }

    /// Takes what came with the head. A short response gives its connection back at once, whenever its client takes
    /// it: one that takes nothing would hold as many connections as it has streams.
    fn look_ahead(&mut self) {
        let Some(source) = self.source.as_mut().filter(|source| !source.is_over()) else { return };
        // Wakes nobody: whoever takes the response asks again, for what follows.
        match source.poll_frame(&mut Context::from_waker(Waker::noop())) {
            Poll::Pending => {}
            Poll::Ready(None) => self.end(),
            Poll::Ready(Some(found)) => {
                // Nothing follows a fault.
                self.source.take_if(|_| found.is_err());
                self.ahead = Some(found);
            }
        }
    }

    /// Gives the connection back if the response has been read to its end.
    fn settle(&mut self) {
        if self.source.as_ref().is_some_and(Source::is_over) {
            self.end();
        }
    }

    fn end(&mut self) {
        if let Some(source) = self.source.take() {
            source.finish();
            if let Some(call) = self.call.take() {
                call.succeeded();
            }
        }
    }

    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, ConnectionFault>>> {
        match (self.ahead.take(), self.source.as_mut()) {
            (Some(ahead), _) => Poll::Ready(Some(ahead)),
            (None, Some(source)) => source.poll_frame(cx),
            (None, None) => Poll::Ready(None),
        }
    }

    fn poll_expiry(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, ResponseFault>>> {
        let Some(valid_until) = self.valid_until else { return Poll::Pending };
        let timer = self.expiry.get_or_insert_with(|| Box::pin(sleep_until(super::just_after(valid_until))));
        ready!(timer.as_mut().poll(cx));
        Poll::Ready(Some(Err(self.abort(ResponseFault::Expired))))
    }

    /// Closes the connection to the upstream; nothing more is read from it.
    pub fn abort(&mut self, fault: ResponseFault) -> ResponseFault {
        if let (Some(call), ResponseFault::Upstream(_)) = (&self.call, &fault) {
            call.failed();
        }
        self.source = None;
        self.call = None;
        self.ahead = None;
        fault
    }
}

impl Drop for ResponseBody {
    fn drop(&mut self) {
        if let Some(source) = self.source.take() {
            abandoned::leave(source);
        }
    }
}

impl Body for ResponseBody {
    type Data = Bytes;
    type Error = ResponseFault;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, ResponseFault>>> {
        let this = self.get_mut();
        loop {
            let Poll::Ready(frame) = this.poll_next(cx) else { return this.poll_expiry(cx) };
            if this.valid_until.is_some_and(|valid_until| valid_until < Timestamp::now()) {
                return Poll::Ready(Some(Err(this.abort(ResponseFault::Expired))));
            }
            match frame {
                None => {
                    this.end();
                    return Poll::Ready(None);
                }
                Some(Err(fault)) if !this.is_broken => {
                    // An error drops what has not been written yet. The client is to have what came before it.
                    this.is_broken = true;
                    this.source = None;
                    this.ahead = Some(Err(fault));
                    cx.waker().wake_by_ref();
                    return Poll::Pending;
                }
                Some(Err(fault)) => return Poll::Ready(Some(Err(this.abort(ResponseFault::Upstream(fault))))),
                Some(Ok(frame)) if frame.is_data() => {
                    this.settle();
                    return Poll::Ready(Some(Ok(frame)));
                }
                Some(Ok(frame)) => {
                    let trailers = frame.into_trailers().ok().and_then(response_headers::filter_trailers);
                    this.settle();
                    if let Some(trailers) = trailers {
                        return Poll::Ready(Some(Ok(Frame::trailers(trailers))));
                    }
                }
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.ahead.is_none() && self.source.as_ref().is_none_or(Source::is_over)
    }

    fn size_hint(&self) -> SizeHint {
        let ahead = match &self.ahead {
            Some(Ok(frame)) => frame.data_ref().map_or(0, Bytes::len),
            Some(Err(_)) | None => 0,
        };
        let rest = self.source.as_ref().map_or_else(|| SizeHint::with_exact(0), Source::size_hint);
        let whole = rest.exact().and_then(|rest| rest.checked_add(u64::try_from(ahead).ok()?));
        whole.map_or_else(SizeHint::default, SizeHint::with_exact)
    }
}
