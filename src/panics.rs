//! What a panic may end, and who hears of it: one connection or one round of a background task, the operator's log, one
//! counter. Nothing that served requests is gone afterwards without somebody knowing.
//!
//! A panic unwinds, so what the ended work held (places, permits, connections, its record) is given back by being
//! dropped. The runtime catches what unwinds out of a task; here is what has to be done beyond that.

use std::cell::Cell;
use std::future::{Future, poll_fn};
use std::panic::{AssertUnwindSafe, PanicHookInfo, catch_unwind};
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::thread;
use std::time::Duration;

use tokio::time::sleep;

/// How long a background task rests before it begins again: what panics at once must not do so a million times.
const REST: Duration = Duration::from_secs(1);

/// Panics of this process.
static COUNT: AtomicU64 = AtomicU64::new(0);

thread_local! {
    /// What a panic has left behind is being dropped.
    static AFTERMATH: Cell<bool> = const { Cell::new(false) };
}

/// Something ended in a panic, which has been counted and logged where it happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("it ended in a panic")]
pub struct Panicked;

/// Makes every panic of this process known by [`report`], and in no other way: the standard hook prints messages.
pub fn install() {
    std::panic::set_hook(Box::new(report));
}

/// Counts a panic and logs where it happened. Its message is told nobody: it may hold a piece of a request.
pub fn report(panic: &PanicHookInfo<'_>) {
    COUNT.fetch_add(1, Ordering::Relaxed);
    let place = panic.location().map(ToString::to_string).unwrap_or_default();
    let thread = thread::current();
    tracing::error!(place, thread = thread.name().unwrap_or_default(), "a panic: this is a mistake in the gateway");
}

/// Panics reported so far.
pub fn count() -> u64 {
    COUNT.load(Ordering::Relaxed)
}

/// Whether what is being dropped on this thread is dropped because of a panic.
pub fn is_unwinding() -> bool {
    thread::panicking() || AFTERMATH.get()
}

/// Does something that may panic. Whoever catches a panic does not use what the work has left half done.
///
/// # Errors
/// It did.
pub fn caught<T>(work: impl FnOnce() -> T) -> Result<T, Panicked> {
    catch_unwind(AssertUnwindSafe(work)).map_err(|_| Panicked)
}

/// Polls a future once; one that panics is dropped at once, and what it held knows why.
pub(crate) fn poll<F: Future>(
    mut future: Pin<&mut Option<F>>,
    cx: &mut Context<'_>,
) -> Poll<Result<F::Output, Panicked>> {
    let Some(work) = future.as_mut().as_pin_mut() else { return Poll::Ready(Err(Panicked)) };
    if let Ok(polled) = caught(|| work.poll(cx)) {
        return polled.map(Ok);
    }
    let _aftermath = Aftermath::begin();
    // A second panic, while cleaning up, changes nothing for anybody else.
    Poll::Ready(caught(|| future.set(None)).and(Err(Panicked)))
}

/// Runs something that ends alone when it panics.
///
/// # Errors
/// It did.
pub async fn contained<F: Future + Unpin>(work: F) -> Result<F::Output, Panicked> {
    let mut work = Some(work);
    poll_fn(|cx| poll(Pin::new(&mut work), cx)).await
}

/// Runs something that has to go on: when it panics, it begins again a moment later.
pub async fn kept<F: Future>(what: &'static str, mut begin: impl FnMut() -> F) -> F::Output {
    loop {
        if let Ok(output) = contained(Box::pin(begin())).await {
            return output;
        }
        tracing::error!(what, "ended in a panic and begins again");
        sleep(REST).await;
    }
}

/// Something is dropped because of a panic as long as this lives.
struct Aftermath;

impl Aftermath {
    fn begin() -> Self {
        AFTERMATH.set(true);
        Self
    }
}

impl Drop for Aftermath {
    fn drop(&mut self) {
        AFTERMATH.set(false);
    }
}

#[cfg(test)]
mod tests;
