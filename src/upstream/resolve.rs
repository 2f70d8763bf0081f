//! Names of endpoints: asked for again and again, and what was answered last stays good while nobody answers.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Weak};
use std::time::Duration;

use tokio::time::{sleep, timeout};

use super::endpoint::Address;
use super::failure::Failure;
use super::load::Upstream;
use super::members::Members;
use super::moment;

/// Time between two questions for the same name. The system's resolver does not tell how long its answers hold.
const EVERY: Duration = Duration::from_secs(10);
/// How long one answer may take. What comes later is asked for again.
const PATIENCE: Duration = Duration::from_secs(5);
/// Milliseconds for which nobody asks again for what was just refused, while requests wait for it.
const PAUSE: u64 = 1000;

type Answer = Pin<Box<dyn Future<Output = io::Result<Vec<SocketAddr>>> + Send>>;

/// Who is asked for addresses.
#[derive(Clone)]
pub(super) struct Lookup(Arc<dyn Fn(String, u16) -> Answer + Send + Sync>);

impl Lookup {
    /// The operating system: both families, in its order.
    pub(super) fn of_the_system() -> Self {
        Self::new(|host, port| {
            Box::pin(async move { Ok(tokio::net::lookup_host((host, port)).await?.collect::<Vec<_>>()) })
        })
    }

    pub(super) fn new(ask: impl Fn(String, u16) -> Answer + Send + Sync + 'static) -> Self {
        Self(Arc::new(ask))
    }

    /// The addresses of a name: at least one.
    async fn ask(&self, host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
        let answer = timeout(PATIENCE, (self.0)(host.to_owned(), port)).await;
        let found = answer.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))?;
        if found.is_empty() {
            return Err(io::Error::new(io::ErrorKind::NotFound, "the name has no address"));
        }
        Ok(found)
    }
}

impl fmt::Debug for Lookup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Lookup")
    }
}

/// Why names have no answer.
#[derive(Debug, Default)]
pub(super) struct Unanswered {
    /// By endpoint.
    errors: Vec<Option<(io::ErrorKind, String)>>,
    /// When they were asked for last.
    at: u64,
}

impl Unanswered {
    /// The error of one endpoint.
    pub(super) fn of(&self, endpoint: usize) -> Option<&str> {
        self.errors.get(endpoint)?.as_ref().map(|(_, text)| text.as_str())
    }

    /// Any error that is young enough to be believed without asking again.
    fn recent(&self) -> Option<io::Error> {
        let young = self.at != 0 && moment::now() < self.at.saturating_add(PAUSE);
        self.errors.iter().flatten().next().filter(|_| young).map(|(kind, text)| io::Error::new(*kind, text.clone()))
    }
}

impl Members {
    /// Returns once there is somebody to ask.
    pub(super) async fn found(&self, upstream: &Upstream) -> Result<(), Failure> {
        if !self.is_empty() {
            return Ok(());
        }
        let within = upstream.connect_timeout;
        timeout(within, self.first(upstream)).await.map_err(|_| Failure::ConnectTimeout(within))?
    }

    async fn first(&self, upstream: &Upstream) -> Result<(), Failure> {
        let _one = self.resolving.lock().await;
        if !self.is_empty() {
            return Ok(());
        }
        if let Some(error) = self.unanswered().recent() {
            return Err(Failure::Unresolved(error));
        }
        self.ask(upstream).await;
        if !self.is_empty() {
            return Ok(());
        }
        let error = self.unanswered().recent().unwrap_or_else(|| io::ErrorKind::NotFound.into());
        Err(Failure::Unresolved(error))
    }

    /// Asks for all names.
    pub(super) async fn resolve(&self, upstream: &Upstream) {
        let _one = self.resolving.lock().await;
        self.ask(upstream).await;
    }

    async fn ask(&self, upstream: &Upstream) {
        let mut errors = Vec::with_capacity(upstream.endpoints.len());
        for (position, endpoint) in upstream.endpoints.iter().enumerate() {
            let Address::Name(host, port) = &endpoint.address else {
                errors.push(None);
                continue;
            };
            let known = self.unanswered().of(position).map(str::to_owned);
            match self.lookup.ask(host, *port).await {
                Ok(addresses) => {
                    self.adopt(endpoint, &addresses);
                    errors.push(None);
                }
                Err(error) => {
                    let text = error.to_string();
                    if known.as_ref() != Some(&text) {
                        tracing::warn!(upstream = %upstream.name, endpoint = %endpoint.name, %error, "the name of an endpoint cannot be resolved");
                    }
                    errors.push(Some((error.kind(), text)));
                }
            }
        }
        *self.unanswered() = Unanswered { errors, at: moment::now() };
    }
}

/// Asks for the names of an upstream's endpoints until its members are gone.
pub(super) async fn follow(upstream: Arc<Upstream>, members: Weak<Members>) {
    if !upstream.endpoints.iter().any(|endpoint| matches!(endpoint.address, Address::Name(..))) {
        return;
    }
    while let Some(members) = members.upgrade() {
        members.resolve(&upstream).await;
        drop(members);
        sleep(EVERY).await;
    }
}

#[cfg(test)]
mod tests;
