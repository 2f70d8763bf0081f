//! Active health checks: every address is asked for a path again and again, and gets no requests while it does not answer.

use std::pin::pin;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use bytes::Bytes;
use http::header::{HOST, HeaderValue, USER_AGENT};
use http::uri::{Authority, PathAndQuery, Scheme};
use http::{Request, Response, StatusCode, Uri, uri};
use http_body_util::Empty;
use hyper::body::Incoming;
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use thiserror::Error;
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval, timeout};

use super::BUFFER;
use super::connect::{Stream, connect};
use super::endpoint::Host;
use super::failure::Failure;
use super::load::Upstream;
use super::member::Member;
use super::members::Members;
use crate::config::HealthCheck;
use crate::diagnostic::chain;
use crate::panics::{Panicked, contained};

/// How long an answer may take, where the interval is not shorter.
const PATIENCE: Duration = Duration::from_secs(5);
/// Failures in a row that make a member unhealthy. The first check decides alone: nothing speaks for the member yet.
const FAILURES: u32 = 2;

/// What checks have found out about a member.
#[derive(Debug, Default)]
pub(super) struct Health {
    unhealthy: AtomicBool,
    failures: AtomicU32,
    passed: AtomicU64,
    failed: AtomicU64,
    error: Mutex<Option<String>>,
}

impl Health {
    /// Nothing says that it cannot answer.
    pub(super) fn is_good(&self) -> bool {
        !self.unhealthy.load(Ordering::Relaxed)
    }

    /// Checks that passed, and checks that failed.
    pub(super) fn checks(&self) -> (u64, u64) {
        (self.passed.load(Ordering::Relaxed), self.failed.load(Ordering::Relaxed))
    }

    /// What the last check met, if it failed.
    pub(super) fn error(&self) -> MutexGuard<'_, Option<String>> {
        self.error.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes note of a check; whether it changes what the member is.
    fn note(&self, error: Option<String>) -> bool {
        let bad = if error.is_some() {
            self.failed.fetch_add(1, Ordering::Relaxed);
            let in_a_row = self.failures.fetch_add(1, Ordering::Relaxed).saturating_add(1);
            in_a_row >= FAILURES || self.passed.load(Ordering::Relaxed) == 0
        } else {
            self.passed.fetch_add(1, Ordering::Relaxed);
            self.failures.store(0, Ordering::Relaxed);
            false
        };
        *self.error() = error;
        self.unhealthy.swap(bad, Ordering::Relaxed) != bad
    }
}

/// Why a check has failed.
#[derive(Debug, Error)]
enum CheckError {
    #[error("no answer within {} ms", .0.as_millis())]
    Late(Duration),
    #[error("no connection")]
    Connect(#[source] Failure),
    #[error("no answer")]
    Answer(#[source] hyper::Error),
    #[error("the answer was {0}")]
    Status(StatusCode),
    #[error("the request cannot be written")]
    Request(#[from] http::Error),
    #[error(transparent)]
    Panicked(#[from] Panicked),
}

/// Checks an upstream's members until they are gone.
pub(super) async fn watch(upstream: Arc<Upstream>, members: Weak<Members>) {
    let Some(check) = upstream.health.clone().map(Arc::new) else { return };
    let mut rounds = interval(check.interval);
    rounds.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        rounds.tick().await;
        let Some(members) = members.upgrade() else { return };
        // Without an answer for its name there is nobody to check, and that is told elsewhere.
        let _ = members.found(&upstream).await;
        let all: Vec<_> = members.seats().iter().map(|seat| Arc::clone(&seat.member)).collect();
        drop(members);
        let mut checks = JoinSet::new();
        for member in all {
            checks.spawn(look(Arc::clone(&upstream), member, Arc::clone(&check)));
        }
        while checks.join_next().await.is_some() {}
    }
}

/// One check of one member.
async fn look(upstream: Arc<Upstream>, member: Arc<Member>, check: Arc<HealthCheck>) {
    let within = PATIENCE.min(check.interval);
    let asked = contained(Box::pin(timeout(within, ask(&upstream, &member, &check.path)))).await;
    let outcome = asked.unwrap_or_else(|panicked| Ok(Err(panicked.into())));
    let error = outcome.unwrap_or(Err(CheckError::Late(within))).err();
    let error = error.map(|error| chain(&error));
    if member.health.note(error.clone()) {
        let (upstream, endpoint) = (&upstream.name, &member.endpoint.name);
        match error {
            Some(error) => {
                tracing::warn!(%upstream, %endpoint, address = %member.name, %error, "an endpoint fails its health checks, it gets no requests");
            }
            None => {
                tracing::info!(%upstream, %endpoint, address = %member.name, "an endpoint passes its health checks again");
            }
        }
    }
}

/// Asks over a connection of its own: what is checked is that one can be had. It does not count against
/// `max_connections`, or a busy upstream would be taken for a sick one.
async fn ask(upstream: &Upstream, member: &Arc<Member>, path: &str) -> Result<(), CheckError> {
    let request = request(upstream, member, path)?;
    let stream = connect(upstream, member, None).await.map_err(CheckError::Connect)?;
    let answer = if upstream.http2 { over_http2(stream, request).await } else { over_http1(stream, request).await };
    let status = answer.map_err(CheckError::Answer)?.status();
    if status.is_success() { Ok(()) } else { Err(CheckError::Status(status)) }
}

fn request(upstream: &Upstream, member: &Member, path: &str) -> Result<Request<Empty<Bytes>>, http::Error> {
    let endpoint = &member.endpoint;
    let host = match &endpoint.host {
        Host::Original => HeaderValue::from_str(&endpoint.authority)?,
        Host::Fixed(name) => name.clone(),
    };
    let mut parts = uri::Parts::default();
    parts.path_and_query = Some(PathAndQuery::try_from(path)?);
    let mut request = Request::new(Empty::new());
    if upstream.http2 {
        parts.authority = Some(Authority::try_from(host.as_bytes())?);
        parts.scheme = Some(if endpoint.tls.is_some() { Scheme::HTTPS } else { Scheme::HTTP });
    } else {
        request.headers_mut().insert(HOST, host);
    }
    request.headers_mut().insert(USER_AGENT, HeaderValue::from_static("torwart"));
    *request.uri_mut() = Uri::from_parts(parts)?;
    Ok(request)
}

async fn over_http1(stream: Stream, request: Request<Empty<Bytes>>) -> hyper::Result<Response<Incoming>> {
    let (mut sender, connection) = http1::Builder::new().max_buf_size(BUFFER).handshake(TokioIo::new(stream)).await?;
    let mut answer = pin!(sender.send_request(request));
    tokio::select! {
        biased;
        answer = &mut answer => answer,
        _ = connection => answer.await,
    }
}

async fn over_http2(stream: Stream, request: Request<Empty<Bytes>>) -> hyper::Result<Response<Incoming>> {
    let window = u32::try_from(BUFFER).unwrap_or(u32::MAX);
    let (mut sender, connection) = http2::Builder::new(TokioExecutor::new())
        .initial_stream_window_size(window)
        .max_header_list_size(window)
        .handshake(TokioIo::new(stream))
        .await?;
    let mut answer = pin!(sender.send_request(request));
    tokio::select! {
        biased;
        answer = &mut answer => answer,
        _ = connection => answer.await,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn noted(outcomes: &str) -> String {
        let health = Health::default();
        let note = |outcome| {
            health.note((outcome == '-').then(|| "down".to_owned()));
            if health.is_good() { '+' } else { '-' }
        };
        outcomes.chars().map(note).collect()
    }

    #[test]
    fn the_first_check_decides_and_later_two_failures_in_a_row_or_one_success() {
        assert_eq!(noted("+-+--+"), "++++-+");
        assert_eq!(noted("---+-+--"), "---++++-");
        assert!(Health::default().is_good(), "nobody has asked yet");
    }
}
