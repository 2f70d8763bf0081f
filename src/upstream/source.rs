//! Where the content of a response comes from, and where the connection goes afterwards.

use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;

use super::failure::ConnectionFault;
use super::http1::Reading;
use super::pool::{Http2, Pool};

/// A response that is being read from its connection.
#[derive(Debug)]
pub(super) enum Source {
    /// From a connection of its own, which goes back to its pool, if it has one.
    Http1(Reading, Option<Rc<Pool>>),
    /// From one that it shares.
    Http2(Incoming, Rc<Http2>),
}

impl Source {
    pub(super) fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, ConnectionFault>>> {
        match self {
            Self::Http1(reading, _) => reading.poll_frame(cx),
            Self::Http2(body, _) => {
                Pin::new(body).poll_frame(cx).map(|frame| frame.map(|frame| frame.map_err(ConnectionFault::Http2)))
            }
        }
    }

    /// Whether all of it has been read.
    pub(super) fn is_over(&self) -> bool {
        match self {
            Self::Http1(reading, _) => reading.is_over(),
            Self::Http2(body, _) => body.is_end_stream(),
        }
    }

    pub(super) fn size_hint(&self) -> SizeHint {
        match self {
            Self::Http1(reading, _) => reading.size_hint(),
            Self::Http2(body, _) => body.size_hint(),
        }
    }

    /// The response has been read to its end. A connection whose request has not ended by then is closed: what the upstream
    /// has not read of it would be read as the next request.
    pub(super) fn finish(self) {
        match self {
            Self::Http1(reading, pool) => {
                if let (Some(pool), Some(connection)) = (pool, reading.finish()) {
                    pool.put(connection);
                }
            }
            Self::Http2(_, connection) => connection.used(),
        }
    }
}
