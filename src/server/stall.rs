//! Streams of an HTTP/2 connection whose client stops taking the answer.
//!
//! On HTTP/1 a client that does not read shows at the socket. On HTTP/2 it shows nowhere: the client keeps a stream's
//! window at zero, and neither hyper nor the answer's body is asked again. Each stream runs as a task of its own, so
//! the task is watched: it is the client's turn from the moment a piece of the body was handed out until the next is
//! asked for.

use std::cell::Cell;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::{Instant, Sleep, sleep_until};

use crate::panics::{self, Panicked};

/// Since when it is the client's turn, if it is.
pub(crate) type Turn = Rc<Cell<Option<Instant>>>;

tokio::task_local! {
    /// The turn of the stream that the current task serves.
    static TURN: Turn;
}

/// The turn of the stream that is being served. Outside of HTTP/2 nobody watches.
pub(crate) fn turn() -> Option<Turn> {
    TURN.try_with(Rc::clone).ok()
}

/// Runs a stream until it ends or its client has been silent for `patience`. Dropping a stream's future resets it.
///
/// # Errors
/// It ended in a panic; it is reset then, too.
pub(super) async fn watched(stream: impl Future<Output = ()>, patience: Duration) -> Result<(), Panicked> {
    let turn = Turn::default();
    let mut watch = Watch { turn: Rc::clone(&turn), patience, timer: None };
    let mut stream = std::pin::pin!(Some(TURN.scope(turn, stream)));
    std::future::poll_fn(|cx| match panics::poll(stream.as_mut(), cx) {
        Poll::Pending => watch.poll(cx).map(Ok),
        ended @ Poll::Ready(_) => ended,
    })
    .await
}

struct Watch {
    turn: Turn,
    patience: Duration,
    timer: Option<Pin<Box<Sleep>>>,
}

impl Watch {
    /// Ready when the client has had its time.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Some(since) = self.turn.get() else {
            self.timer = None;
            return Poll::Pending;
        };
        let due = since + self.patience;
        let timer = self.timer.get_or_insert_with(|| Box::pin(sleep_until(due)));
        if timer.deadline() != due {
            timer.as_mut().reset(due);
        }
        timer.as_mut().poll(cx)
    }
}
