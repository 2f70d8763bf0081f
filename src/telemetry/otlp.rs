//! Traces over OTLP/HTTP (OpenTelemetry Protocol 1.x, binary encoding): one span per request, with children for the
//! token, the decision and the upstream.
//!
//! Records wait in a bounded queue for a thread of their own; what a slow collector does not take is counted.

mod post;
mod spans;
mod wire;

use std::sync::Arc;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread;
use std::time::Duration;

use tokio::sync::mpsc::{Receiver, Sender, channel};

pub use self::post::EndpointError;
use self::post::{Endpoint, PostError};
use super::metrics::Metrics;
use super::record::Record;
use crate::panics::{Panicked, contained};

/// Records that may wait.
const WAITING: usize = 8192;
/// Records in one request to the collector.
const BATCH: usize = 512;
/// How long records come together.
const LINGER: Duration = Duration::from_millis(250);
/// Attempts to hand a batch over, with pauses of one, two and four seconds between.
const ATTEMPTS: u32 = 4;

/// Hands records to a collector.
#[derive(Debug)]
pub(super) struct Exporter {
    /// As configured.
    endpoint: String,
    queue: Sender<Message>,
    metrics: Arc<Metrics>,
}

#[derive(Debug)]
enum Message {
    Record(Box<Record>),
    /// Everything before has been handed over or given up when the other end hears of it.
    Finish(SyncSender<()>),
}

impl Exporter {
    /// Starts the thread. The collector need not be there yet.
    ///
    /// # Errors
    /// The endpoint is no `http` or `https` URL, or no thread can be started.
    pub(super) fn start(endpoint: &str, metrics: Arc<Metrics>) -> Result<Self, EndpointError> {
        let place = Endpoint::parse(endpoint)?;
        let (queue, receiver) = channel(WAITING);
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(EndpointError::Thread)?;
        let thread = Thread { receiver, endpoint: place, metrics: Arc::clone(&metrics), failing: false };
        let spawned = thread::Builder::new().name("traces".to_owned()).spawn(move || runtime.block_on(thread.run()));
        spawned.map_err(EndpointError::Thread)?;
        Ok(Self { endpoint: endpoint.to_owned(), queue, metrics })
    }

    /// Whether this exporter goes there.
    pub(super) fn goes_to(&self, endpoint: &str) -> bool {
        self.endpoint == endpoint
    }

    /// Hands a record in if its trace is sampled. Never waits.
    pub(super) fn push(&self, record: &mut Record) {
        if !record.trace.sampled {
            return;
        }
        match self.queue.try_reserve() {
            Ok(place) => place.send(Message::Record(Box::new(record.take()))),
            Err(_) => self.metrics.traces.dropped.one(),
        }
    }

    /// Waits until everything handed in is handed over, at most `patience`.
    pub(super) fn finish(&self, patience: Duration) {
        let (done, wait) = sync_channel(1);
        if self.queue.try_send(Message::Finish(done)).is_ok() {
            // Whether it was done or patience was over, there is nothing more to do.
            let _ = wait.recv_timeout(patience);
        }
    }
}

/// The sending thread.
struct Thread {
    receiver: Receiver<Message>,
    endpoint: Endpoint,
    metrics: Arc<Metrics>,
    /// The last batch was not taken, and the log says so.
    failing: bool,
}

impl Thread {
    async fn run(mut self) {
        let mut batch = Vec::new();
        while let Some(first) = self.receiver.recv().await {
            let mut finished = Vec::new();
            if matches!(first, Message::Record(_)) {
                tokio::time::sleep(LINGER).await;
            }
            let mut next = Some(first);
            while let Some(message) = next {
                match message {
                    Message::Record(record) => batch.push(*record),
                    Message::Finish(done) => finished.push(done),
                }
                if batch.len() == BATCH {
                    self.export(&mut batch).await;
                }
                next = self.receiver.try_recv().ok();
            }
            self.export(&mut batch).await;
            for done in finished {
                // Nobody waits any more when patience was over.
                let _ = done.send(());
            }
        }
    }

    async fn export(&mut self, batch: &mut Vec<Record>) {
        if batch.is_empty() {
            return;
        }
        let count = batch.len() as u64;
        let posted = contained(Box::pin(async { self.post(&spans::request(batch)).await })).await;
        batch.clear();
        match posted {
            Ok(Ok(())) => {
                self.metrics.traces.written.many(count);
                self.failing = false;
            }
            // A panic has been reported where it happened.
            Err(Panicked) => self.metrics.traces.failed.many(count),
            Ok(Err(error)) => {
                self.metrics.traces.failed.many(count);
                if !std::mem::replace(&mut self.failing, true) {
                    tracing::warn!(%error, endpoint = %self.endpoint, "traces cannot be exported");
                }
            }
        }
    }

    /// OTLP 1.x, "Failures": only what the collector calls temporary is tried again.
    async fn post(&mut self, body: &bytes::Bytes) -> Result<(), PostError> {
        let mut attempt = 0;
        loop {
            attempt += 1;
            let error = match self.endpoint.post(body.clone()).await {
                Ok(()) => return Ok(()),
                Err(error) if attempt == ATTEMPTS || !error.is_temporary() || self.failing => return Err(error),
                Err(error) => error,
            };
            let pause = Duration::from_secs(1 << (attempt - 1));
            tokio::time::sleep(error.retry_after().unwrap_or(pause)).await;
        }
    }
}

#[cfg(test)]
mod tests;
