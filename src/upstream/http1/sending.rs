//! A request on its way to an upstream: its head, and its body as it comes from the client.

use std::future::poll_fn;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use http::{HeaderMap, HeaderName, HeaderValue};
use http_body::{Body, Frame};
use thiserror::Error;
use tokio::io::AsyncWrite;
use tokio::task::{JoinHandle, spawn_local};

use super::SharedStream;
use crate::upstream::failure::RequestFault;
use crate::upstream::request_body::RequestBody;
use crate::upstream::request_headers::Framing;

/// Why a request cannot be sent to its end.
#[derive(Debug, Error)]
pub(in crate::upstream) enum SendFault {
    /// The connection takes no more.
    #[error("the connection takes no more of the request")]
    Connection(#[source] io::Error),
    /// The request breaks off.
    #[error("the request breaks off")]
    Request(#[source] RequestFault),
}

/// What of a request has not been written yet.
#[derive(Debug)]
pub(in crate::upstream) struct Sending {
    /// Written first: the head, what announces a chunk, trailers.
    text: Vec<u8>,
    /// Bytes of it that have been written.
    written: usize,
    /// A piece of the body.
    data: Bytes,
    /// What ends a chunk, and the body.
    tail: &'static [u8],
    body: RequestBody,
    left: Left,
    /// Something has been written.
    has_begun: bool,
    /// The body cannot be put together again.
    is_spent: bool,
}

/// What of the body has not been taken from the client yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Left {
    Nothing,
    /// Exactly so many bytes.
    Length(u64),
    /// As much as comes, in chunks.
    Chunks,
}

impl Sending {
    /// A request with this head, whose framing is as it says.
    pub(in crate::upstream) fn new(head: Vec<u8>, body: RequestBody, framing: Framing) -> Self {
        let left = match framing {
            Framing::None | Framing::Length(0) => Left::Nothing,
            Framing::Length(length) => Left::Length(length),
            Framing::Unknown => Left::Chunks,
        };
        Self { text: head, written: 0, data: Bytes::new(), tail: b"", body, left, has_begun: false, is_spent: false }
    }

    /// Whether anything has been written.
    pub(in crate::upstream) fn has_begun(&self) -> bool {
        self.has_begun
    }

    /// The whole body, if nothing has been written of it.
    pub(in crate::upstream) fn into_body(mut self) -> Option<RequestBody> {
        self.body.put_back(self.data);
        (!self.has_begun && !self.is_spent).then_some(self.body)
    }

    /// Its buffer, once everything is written.
    pub(super) fn into_text(mut self) -> Vec<u8> {
        self.text.clear();
        self.text
    }

    /// Writes until everything is written. Head and what of the body is there already are written together.
    pub(super) fn poll(
        &mut self,
        stream: &mut (impl AsyncWrite + Unpin),
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), SendFault>> {
        loop {
            let taken = self.take(cx)?;
            while !self.is_written() {
                ready!(self.write(stream, cx)).map_err(SendFault::Connection)?;
            }
            self.text.clear();
            self.written = 0;
            if taken.is_pending() || self.left == Left::Nothing {
                ready!(Pin::new(&mut *stream).poll_flush(cx)).map_err(SendFault::Connection)?;
                return taken.map(Ok);
            }
        }
    }

    fn is_written(&self) -> bool {
        self.written >= self.text.len() && self.data.is_empty() && self.tail.is_empty()
    }

    fn write(&mut self, stream: &mut (impl AsyncWrite + Unpin), cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let text = self.text.get(self.written..).unwrap_or_default();
        let mut length = if self.data.is_empty() && self.tail.is_empty() {
            ready!(Pin::new(stream).poll_write(cx, text))?
        } else {
            let all = [IoSlice::new(text), IoSlice::new(&self.data), IoSlice::new(self.tail)];
            ready!(Pin::new(stream).poll_write_vectored(cx, &all))?
        };
        if length == 0 {
            return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
        }
        self.has_begun = true;
        let of_text = length.min(text.len());
        self.written = self.written.saturating_add(of_text);
        length = length.saturating_sub(of_text);
        let of_data = length.min(self.data.len());
        self.data.advance(of_data);
        length = length.saturating_sub(of_data);
        self.tail = self.tail.get(length..).unwrap_or_default();
        Poll::Ready(Ok(()))
    }

    /// Takes the next piece of the body, unless there is one. Pending while the client is the one to act.
    fn take(&mut self, cx: &mut Context<'_>) -> Result<Poll<()>, SendFault> {
        while self.left != Left::Nothing && self.data.is_empty() && self.tail.is_empty() {
            let Poll::Ready(frame) = Pin::new(&mut self.body).poll_frame(cx) else { return Ok(Poll::Pending) };
            match frame.transpose().map_err(SendFault::Request)?.map(Frame::into_data) {
                Some(Ok(data)) => self.take_data(data)?,
                Some(Err(other)) => self.take_trailers(&other.into_trailers().unwrap_or_default()),
                None => self.end()?,
            }
        }
        Ok(Poll::Ready(()))
    }

    fn take_data(&mut self, data: Bytes) -> Result<(), SendFault> {
        match &mut self.left {
            // Nothing but an end may look like one.
            _ if data.is_empty() => return Ok(()),
            Left::Length(left) => {
                *left = left.checked_sub(data.len() as u64).ok_or(SendFault::Request(RequestFault::Broken))?;
                if *left == 0 {
                    self.left = Left::Nothing;
                }
            }
            Left::Chunks => {
                self.text.extend_from_slice(format!("{:x}\r\n", data.len()).as_bytes());
                self.tail = b"\r\n";
                if self.body.is_end_stream() {
                    self.tail = b"\r\n0\r\n\r\n";
                    self.left = Left::Nothing;
                }
            }
            Left::Nothing => return Err(SendFault::Request(RequestFault::Broken)),
        }
        self.data = data;
        Ok(())
    }

    /// Where there are no chunks, there is no place for trailers.
    fn take_trailers(&mut self, trailers: &HeaderMap) {
        if self.left == Left::Chunks {
            self.text.extend_from_slice(b"0\r\n");
            for (name, value) in trailers {
                write_field(&mut self.text, name, value);
            }
            self.text.extend_from_slice(b"\r\n");
            self.left = Left::Nothing;
            self.is_spent = true;
        }
    }

    /// The client's end, which has to be the announced one.
    fn end(&mut self) -> Result<(), SendFault> {
        match self.left {
            Left::Length(_) => Err(SendFault::Request(RequestFault::Broken)),
            Left::Chunks | Left::Nothing => {
                self.tail = if self.left == Left::Chunks { b"0\r\n\r\n" } else { b"" };
                self.left = Left::Nothing;
                Ok(())
            }
        }
    }
}

/// Sends what is left of a request while its response is being read already. Ends with whoever holds it.
#[derive(Debug)]
pub(super) struct Pump(JoinHandle<Result<(), SendFault>>);

impl Pump {
    pub(super) fn start(mut sending: Sending, stream: &SharedStream) -> Self {
        let stream = Rc::clone(stream);
        Self(spawn_local(poll_fn(move |cx| sending.poll(&mut *stream.borrow_mut(), cx))))
    }

    /// Must not be asked again after the end.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), SendFault>> {
        let ended = ready!(Pin::new(&mut self.0).poll(cx));
        Poll::Ready(ended.unwrap_or(Err(SendFault::Request(RequestFault::Broken))))
    }
}

impl Drop for Pump {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Writes one field line (RFC 9112 section 5).
pub(in crate::upstream) fn write_field(out: &mut Vec<u8>, name: &HeaderName, value: &HeaderValue) {
    out.extend_from_slice(name.as_str().as_bytes());
    out.extend_from_slice(b": ");
    out.extend_from_slice(value.as_bytes());
    out.extend_from_slice(b"\r\n");
}

#[cfg(test)]
mod tests;
