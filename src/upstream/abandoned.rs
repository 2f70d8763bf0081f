//! Requests that nobody waits for any more, because their client has left or has reset their stream.
//!
//! Closing the connection would be the end of them, and the next request would have to open another one: a few clients
//! that ask and leave (CVE-2023-44487) would have the upstream do nothing but accept connections. So the upstream is given
//! a moment to answer what it was asked already; a short answer is thrown away, and its connection serves others.

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::response;
use tokio::task::spawn_local;
use tokio::time::timeout;

use super::BUFFER;
use super::http1::{Http1, NoAnswer, Reading};
use super::pool::Pool;
use super::response_headers;
use super::source::Source;

/// How long the rest of an answer may take.
const GRACE: Duration = Duration::from_millis(250);

/// A request on its way over a connection that it has for itself; the future of its answer. What is dropped before that
/// has come is abandoned.
pub(super) struct Awaited {
    connection: Option<Box<Http1>>,
    pool: Rc<Pool>,
}

impl Awaited {
    /// `connection` has been asked.
    pub(super) fn new(connection: Box<Http1>, pool: &Rc<Pool>) -> Self {
        Self { connection: Some(connection), pool: Rc::clone(pool) }
    }

    /// The connection. What has not been answered by then ends with it.
    pub(super) fn into_connection(mut self) -> Option<Box<Http1>> {
        self.connection.take()
    }
}

impl Future for Awaited {
    type Output = Result<response::Parts, NoAnswer>;

    /// Must not be asked again after the answer.
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match &mut self.get_mut().connection {
            Some(connection) => connection.poll_answer(cx),
            None => Poll::Pending,
        }
    }
}

impl Drop for Awaited {
    fn drop(&mut self) {
        // What the client did not send of a body will never come.
        if let Some(mut connection) = self.connection.take_if(|connection| connection.has_asked()) {
            let pool = Rc::clone(&self.pool);
            see_off(&self.pool, async move {
                let mut head = poll_fn(|cx| connection.poll_answer(cx)).await.ok()?;
                let announced = response_headers::rewrite(&mut head).ok()?;
                Some(Source::Http1(Reading::new(connection, head.status, announced), Some(pool)))
            });
        }
    }
}

/// Reads what is left of a response that its client does not take, if that is short, and gives the connection back.
pub(super) fn leave(source: Source) {
    if let Source::Http1(_, Some(pool)) = &source
        && source.size_hint().upper().is_some_and(|most| most <= BUFFER as u64)
    {
        see_off(&Rc::clone(pool), async { Some(source) });
    }
}

fn see_off(pool: &Pool, answer: impl Future<Output = Option<Source>> + 'static) {
    let upstream = Arc::clone(pool.upstream());
    spawn_local(async move {
        let mut wanted = std::pin::pin!(upstream.capacity.wanted.notified());
        wanted.as_mut().enable();
        // Somebody who is waited for needs the connection's place.
        if !upstream.capacity.is_wanted() {
            tokio::select! {
                _ = timeout(GRACE, read(answer)) => {}
                () = wanted => {}
            }
        }
    });
}

/// A connection goes on only after what would have been passed on, too.
async fn read(answer: impl Future<Output = Option<Source>>) {
    let Some(mut source) = answer.await else { return };
    let mut left = BUFFER;
    while let Some(frame) = poll_fn(|cx| source.poll_frame(cx)).await {
        let Ok(frame) = frame else { return };
        let Some(rest) = left.checked_sub(frame.data_ref().map_or(0, Bytes::len)) else { return };
        left = rest;
    }
    source.finish();
}
