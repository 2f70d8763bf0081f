//! HTTP/1.1 towards an upstream (RFC 9112): one exchange at a time over a connection that nobody else uses.
//!
//! A connection is driven by whoever needs something of it: no task of its own stands between the upstream's bytes and the
//! client's. What can be read in two ways is not read at all: [`Reading`] is made of a head that
//! [`response_headers::rewrite`](super::response_headers::rewrite) has found to say one thing.

mod chunks;
mod head;
mod reading;
mod sending;

use std::cell::RefCell;
use std::future::{Future, poll_fn};
use std::io;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use bytes::{Bytes, BytesMut};
use http::{StatusCode, response};
use tokio::io::{AsyncRead, ReadBuf};
use tokio::task::coop::unconstrained;
use tokio_util::io::poll_read_buf;

use super::connect::Stream;
use super::failure::ConnectionFault;
use super::request_body::RequestBody;
use super::{BUFFER, MAX_INTERIM};

use self::head::{Finder, keeps_alive};
pub(super) use self::reading::Reading;
use self::sending::SendFault;
pub(super) use self::sending::{Sending, write_field};

/// Bytes that are asked for at once, until more than that comes.
const USUAL: usize = 8 * 1024;

/// Shared with what still sends the request while the response is being read.
type SharedStream = Rc<RefCell<Stream>>;

/// A connection that one exchange has for itself.
#[derive(Debug)]
pub(super) struct Http1 {
    stream: SharedStream,
    /// What has been received and not yet taken.
    received: BytesMut,
    /// Bytes to ask for at once.
    demand: usize,
    /// Room for the next request's head.
    text: Vec<u8>,
    asking: Asking,
}

/// The exchange that a connection is used for at present, up to the head of its response.
#[derive(Debug, Default)]
struct Asking {
    /// The request, until it has been sent.
    sending: Option<Sending>,
    /// Why the upstream has not taken all of it.
    refused: Option<io::Error>,
    /// It is a `HEAD`.
    head_only: bool,
    /// Something has been received.
    is_touched: bool,
    finder: Finder,
    /// Interim responses so far.
    interim: usize,
    /// The response's head allows another exchange over the connection.
    keeps_alive: bool,
}

/// Why there is no head of a response.
#[derive(Debug)]
pub(super) enum NoAnswer {
    /// Nothing of the request was written; here is its body again.
    Unsent(RequestBody, ConnectionFault),
    /// Something was, and what came back is no head.
    Lost(ConnectionFault),
    /// There were more interim responses than allowed.
    Flooded,
}

impl Http1 {
    pub(super) fn new(stream: Stream) -> Box<Self> {
        let stream = Rc::new(RefCell::new(stream));
        let (received, text, asking) = (BytesMut::new(), Vec::new(), Asking::default());
        Box::new(Self { stream, received, demand: USUAL, text, asking })
    }

    /// An empty buffer to write the head of the next request into.
    pub(super) fn text(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.text)
    }

    /// Begins an exchange. `head_only`: no content follows the response's head, whatever that says (RFC 9110 section
    /// 9.3.2).
    pub(super) fn ask(&mut self, sending: Sending, head_only: bool) {
        self.asking = Asking { sending: Some(sending), head_only, ..Asking::default() };
    }

    /// Whether the whole request has been written.
    pub(super) fn has_asked(&self) -> bool {
        self.asking.sending.is_none() && self.asking.refused.is_none()
    }

    /// Whether anything has been received since the exchange began.
    pub(super) fn is_touched(&self) -> bool {
        self.asking.is_touched
    }

    /// Sends the request and waits for the head of the final response.
    pub(super) fn poll_answer(&mut self, cx: &mut Context<'_>) -> Poll<Result<response::Parts, NoAnswer>> {
        if let Err(fault) = self.poll_send(cx) {
            return Poll::Ready(Err(self.no_answer(fault)));
        }
        if self.asking.sending.as_ref().is_some_and(|sending| !sending.has_begun()) {
            // Whatever comes before the request is no answer to it.
            return Poll::Pending;
        }
        loop {
            match self.asking.finder.next(&mut self.received) {
                Ok(Some(head)) if is_interim(head.status) => {
                    self.asking.interim = self.asking.interim.saturating_add(1);
                    if self.asking.interim > MAX_INTERIM {
                        return Poll::Ready(Err(NoAnswer::Flooded));
                    }
                }
                Ok(Some(head)) => {
                    self.asking.keeps_alive = keeps_alive(&head);
                    return Poll::Ready(Ok(head));
                }
                Ok(None) => {
                    if let Err(fault) = ready!(self.poll_receive(cx)) {
                        return Poll::Ready(Err(self.no_answer(fault)));
                    }
                }
                Err(fault) => return Poll::Ready(Err(NoAnswer::Lost(fault))),
            }
        }
    }

    fn poll_send(&mut self, cx: &mut Context<'_>) -> Result<(), ConnectionFault> {
        let Some(sending) = &mut self.asking.sending else { return Ok(()) };
        match sending.poll(&mut *self.stream.borrow_mut(), cx) {
            Poll::Pending => Ok(()),
            Poll::Ready(Ok(())) => {
                self.text = self.asking.sending.take().map(Sending::into_text).unwrap_or_default();
                Ok(())
            }
            // It may have answered before it hung up.
            Poll::Ready(Err(SendFault::Connection(error))) if sending.has_begun() => {
                self.asking.sending = None;
                self.asking.refused = Some(error);
                Ok(())
            }
            Poll::Ready(Err(SendFault::Connection(error))) => Err(ConnectionFault::Broken(error)),
            Poll::Ready(Err(SendFault::Request(fault))) => Err(ConnectionFault::Request(fault)),
        }
    }

    fn no_answer(&mut self, fault: ConnectionFault) -> NoAnswer {
        let body = self.asking.sending.take().and_then(Sending::into_body);
        match (body, fault) {
            // Of a body that broke off there is nothing more to send.
            (_, fault @ ConnectionFault::Request(_)) => NoAnswer::Lost(fault),
            (Some(body), fault) => NoAnswer::Unsent(body, fault),
            (None, fault) => NoAnswer::Lost(self.asking.refused.take().map_or(fault, ConnectionFault::Broken)),
        }
    }

    /// Receives something; the connection's end is a fault.
    fn poll_receive(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), ConnectionFault>> {
        self.received.reserve(self.demand);
        let read = poll_read_buf(Pin::new(&mut *self.stream.borrow_mut()), cx, &mut self.received);
        let length = ready!(read).map_err(ConnectionFault::Broken)?;
        self.asking.is_touched |= length > 0;
        if length >= self.demand {
            // There is more.
            self.demand = BUFFER;
        }
        Poll::Ready(if length > 0 { Ok(()) } else { Err(ConnectionFault::Ended) })
    }

    /// Whether nothing has come that nobody asked for, not even the connection's end. Wakes whom `cx` names once
    /// something does.
    pub(super) fn is_quiet(&mut self, cx: &mut Context<'_>) -> bool {
        if !self.received.is_empty() {
            return false;
        }
        let mut byte = [0];
        let mut byte = ReadBuf::new(&mut byte);
        let mut stream = self.stream.borrow_mut();
        let read = poll_fn(|cx| Pin::new(&mut *stream).poll_read(cx, &mut byte));
        // A budget that is used up would look like silence.
        pin!(unconstrained(read)).poll(cx).is_pending()
    }

    /// Ready for a rest: holds no more memory than the next exchange needs.
    pub(super) fn rest(&mut self) {
        self.asking = Asking::default();
        self.demand = USUAL;
        if self.received.capacity() > USUAL {
            self.received = BytesMut::new();
        }
        if self.text.capacity() > USUAL {
            self.text = Vec::new();
        }
    }

    /// The connection after a 101, and what has been received behind that.
    pub(super) fn into_stream(self) -> Option<(Stream, Bytes)> {
        let stream = Rc::into_inner(self.stream)?;
        Some((stream.into_inner(), self.received.freeze()))
    }
}

/// RFC 9110 section 15.2; a 101 ends HTTP on its connection.
fn is_interim(status: StatusCode) -> bool {
    status.is_informational() && status != StatusCode::SWITCHING_PROTOCOLS
}
