//! The content of a response as it comes from an upstream (RFC 9112 section 6).

use std::task::{Context, Poll, Waker, ready};

use bytes::Bytes;
use http::StatusCode;
use http_body::{Frame, SizeHint};

use super::chunks::{Chunks, Piece};
use super::sending::{Pump, SendFault};
use super::{Asking, Http1};
use crate::upstream::failure::ConnectionFault;
use crate::upstream::response_headers::Announced;

/// A connection of whose response the head has been taken.
#[derive(Debug)]
pub(in crate::upstream) struct Reading {
    connection: Box<Http1>,
    left: Left,
    is_reusable: bool,
    /// Sends the rest of the request.
    pump: Option<Pump>,
}

/// What of the content is to come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Left {
    /// Exactly so many bytes.
    Length(u64),
    Chunks(Chunks),
    /// As much as comes until the connection ends.
    ToTheEnd,
}

impl Reading {
    /// What follows a head with this status, which announces its content so (RFC 9112 section 6.3).
    pub(in crate::upstream) fn new(mut connection: Box<Http1>, status: StatusCode, announced: Announced) -> Self {
        let none = connection.asking.head_only || [StatusCode::NO_CONTENT, StatusCode::NOT_MODIFIED].contains(&status);
        let left = match announced {
            _ if none => Left::Length(0),
            Announced::Length(length) => Left::Length(length),
            Announced::Chunks => Left::Chunks(Chunks::default()),
            Announced::Nothing => Left::ToTheEnd,
        };
        let pump = connection.asking.sending.take().map(|sending| Pump::start(sending, &connection.stream));
        let Asking { keeps_alive, ref refused, .. } = connection.asking;
        let is_reusable = keeps_alive && refused.is_none() && left != Left::ToTheEnd;
        Self { connection, left, is_reusable, pump }
    }

    /// The next piece.
    pub(in crate::upstream) fn poll_frame(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, ConnectionFault>>> {
        let found = self.poll_next(cx);
        if let Poll::Ready(Some(Err(_))) = &found {
            // Nobody knows what comes next over it.
            self.is_reusable = false;
        }
        found
    }

    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, ConnectionFault>>> {
        if let Err(fault) = self.poll_pump(cx) {
            return Poll::Ready(Some(Err(fault)));
        }
        loop {
            match self.take() {
                Ok(Some(frame)) => return Poll::Ready(Some(Ok(frame))),
                Ok(None) if self.is_over() => return Poll::Ready(None),
                Ok(None) => {}
                Err(fault) => return Poll::Ready(Some(Err(fault))),
            }
            match ready!(self.connection.poll_receive(cx)) {
                Ok(()) => {}
                Err(ConnectionFault::Ended) if self.left == Left::ToTheEnd => self.left = Left::Length(0),
                Err(fault) => return Poll::Ready(Some(Err(fault))),
            }
        }
    }

    /// Takes what is there already.
    fn take(&mut self) -> Result<Option<Frame<Bytes>>, ConnectionFault> {
        let received = &mut self.connection.received;
        let most = match &mut self.left {
            Left::Chunks(chunks) => {
                return Ok(chunks.next(received)?.map(|piece| match piece {
                    Piece::Data(data) => Frame::data(data),
                    Piece::Trailers(trailers) => Frame::trailers(trailers),
                }));
            }
            Left::Length(left) => usize::try_from(*left).unwrap_or(usize::MAX),
            Left::ToTheEnd => usize::MAX,
        };
        let data = received.split_to(received.len().min(most)).freeze();
        if let Left::Length(left) = &mut self.left {
            *left = left.saturating_sub(data.len() as u64);
        }
        Ok((!data.is_empty()).then(|| Frame::data(data)))
    }

    /// Goes on sending the request, if there is something left of it.
    fn poll_pump(&mut self, cx: &mut Context<'_>) -> Result<(), ConnectionFault> {
        let Some(pump) = &mut self.pump else { return Ok(()) };
        let Poll::Ready(ended) = pump.poll(cx) else { return Ok(()) };
        self.pump = None;
        match ended {
            Ok(()) => Ok(()),
            // An upstream that has heard enough may say so and go on talking.
            Err(SendFault::Connection(_)) => {
                self.is_reusable = false;
                Ok(())
            }
            Err(SendFault::Request(fault)) => Err(ConnectionFault::Request(fault)),
        }
    }

    /// Whether all of it has been taken.
    pub(in crate::upstream) fn is_over(&self) -> bool {
        matches!(self.left, Left::Length(0) | Left::Chunks(Chunks::End))
    }

    /// How much is to come.
    pub(in crate::upstream) fn size_hint(&self) -> SizeHint {
        match self.left {
            Left::Length(left) => SizeHint::with_exact(left),
            Left::Chunks(Chunks::End) => SizeHint::with_exact(0),
            Left::Chunks(_) | Left::ToTheEnd => SizeHint::default(),
        }
    }

    /// The connection for another exchange. `None` where what follows could be taken for a part of this one: the request or
    /// the response has not come to its end, or one of them was the last.
    pub(in crate::upstream) fn finish(mut self) -> Option<Box<Http1>> {
        // Whoever took the end may not have been told of the request's.
        let sent = self.poll_pump(&mut Context::from_waker(Waker::noop())).is_ok() && self.pump.is_none();
        (self.is_over() && sent && self.is_reusable).then_some(self.connection)
    }
}
