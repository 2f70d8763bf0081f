//! Requests that nobody waits for any more, because their client has left or has reset their stream.
//!
//! Closing the connection would be the end of them, and the next request would have to open another one: a few clients
//! that ask and leave (CVE-2023-44487) would have the upstream do nothing but accept connections. So the upstream is given
//! a moment to answer what it was asked already; a short answer is thrown away, and its connection serves others.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::client::conn::TrySendError;
use tokio::task::spawn_local;
use tokio::time::timeout;

use super::BUFFER;
use super::body::RequestBody;
use super::pool::{Http1Lease, Lease};
use super::response_headers;

/// How long the rest of an answer may take.
const GRACE: Duration = Duration::from_millis(250);

type Answer = Pin<Box<dyn Future<Output = Answered>>>;

/// What sending a request comes to.
pub(super) type Answered = Result<Response<Incoming>, TrySendError<Request<RequestBody>>>;

/// A request on its way over a connection that it has for itself; the future of its answer. What is dropped before that
/// has come is abandoned.
pub(super) struct Awaited {
    answer: Option<Answer>,
    lease: Option<Http1Lease>,
}

impl Awaited {
    pub(super) fn new(answer: impl Future<Output = Answered> + 'static, lease: Http1Lease) -> Self {
        Self { answer: Some(Box::pin(answer)), lease: Some(lease) }
    }

    /// The connection. What has not been answered by then ends with it.
    pub(super) fn into_lease(mut self) -> Option<Http1Lease> {
        self.answer = None;
        self.lease.take()
    }
}

impl Future for Awaited {
    type Output = Answered;

    /// Must not be asked again after the answer.
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Answered> {
        let this = self.get_mut();
        let Some(answer) = &mut this.answer else { return Poll::Pending };
        let outcome = answer.as_mut().poll(cx);
        if outcome.is_ready() {
            this.answer = None;
        }
        outcome
    }
}

impl Drop for Awaited {
    fn drop(&mut self) {
        let (Some(answer), Some(lease)) = (self.answer.take(), self.lease.take()) else { return };
        // What the client did not send of a body will never come.
        if lease.request.is_none() {
            see_off(lease, async { answer.await.ok() });
        }
    }
}

/// Reads what is left of a response that its client does not take, if that is short, and gives the connection back.
pub(super) fn leave(body: Incoming, lease: Lease) {
    if let Lease::Http1(lease) = lease
        && body.size_hint().upper().is_some_and(|most| most <= BUFFER as u64)
    {
        see_off(lease, async { Some(Response::new(body)) });
    }
}

fn see_off(lease: Http1Lease, answer: impl Future<Output = Option<Response<Incoming>>> + 'static) {
    let upstream = Arc::clone(lease.pool.upstream());
    spawn_local(async move {
        let mut wanted = std::pin::pin!(upstream.capacity.wanted.notified());
        wanted.as_mut().enable();
        // Somebody who is waited for needs the connection's place.
        if !upstream.capacity.is_wanted() {
            tokio::select! {
                _ = timeout(GRACE, read(lease, answer)) => {}
                () = wanted => {}
            }
        }
    });
}

/// A connection goes on only after what would have been passed on, too.
async fn read(lease: Http1Lease, answer: impl Future<Output = Option<Response<Incoming>>>) {
    let Some(response) = answer.await else { return };
    let (mut head, mut body) = response.into_parts();
    if lease.connection.wire.is_flooded() || response_headers::rewrite(&mut head).is_err() {
        return;
    }
    let mut left = BUFFER;
    while let Some(frame) = body.frame().await {
        let Ok(frame) = frame else { return };
        let Some(rest) = left.checked_sub(frame.data_ref().map_or(0, Bytes::len)) else { return };
        left = rest;
    }
    Lease::Http1(lease).give_back();
}
