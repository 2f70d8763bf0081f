//! Posting to a collector: HTTP/1.1, over TLS for `https`, one connection kept between batches.

use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HOST, RETRY_AFTER, USER_AGENT};
use http::uri::Scheme;
use http::{Request, StatusCode, Uri};
use http_body_util::{BodyExt, Full, Limited};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

/// Where OTLP/HTTP takes traces, below the configured endpoint.
const PATH: &str = "/v1/traces";
/// Time for one request.
const PATIENCE: Duration = Duration::from_secs(10);
/// Longest pause that a collector may ask for.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
/// Bytes of an answer that are read.
const LONGEST_ANSWER: usize = 64 * 1024;

/// Why there is no exporter.
#[derive(Debug, thiserror::Error)]
pub enum EndpointError {
    /// The URL is none.
    #[error("`{0}` is no `http` or `https` URL of a collector")]
    Url(String),
    /// TLS cannot be set up.
    #[error("TLS cannot be set up: {0}")]
    Tls(#[source] rustls::Error),
    /// No thread.
    #[error("the thread that exports traces cannot be started: {0}")]
    Thread(#[source] io::Error),
}

/// Why a batch was not taken.
#[derive(Debug, thiserror::Error)]
pub(super) enum PostError {
    #[error("cannot connect: {0}")]
    Connect(#[source] io::Error),
    #[error("the connection broke: {0}")]
    Exchange(#[source] hyper::Error),
    #[error("the collector answered {status}")]
    Status { status: StatusCode, retry_after: Option<Duration> },
    #[error("the collector did not answer in time")]
    TimedOut,
}

impl PostError {
    /// Whether trying again may help (OTLP 1.x, "Retryable Response Codes").
    pub(super) fn is_temporary(&self) -> bool {
        match self {
            Self::Connect(_) | Self::Exchange(_) | Self::TimedOut => true,
            Self::Status { status, .. } => matches!(status.as_u16(), 429 | 502 | 503 | 504),
        }
    }

    /// What the collector asks for.
    pub(super) fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Status { retry_after, .. } => retry_after.map(|pause| pause.min(LONGEST_PAUSE)),
            Self::Connect(_) | Self::Exchange(_) | Self::TimedOut => None,
        }
    }
}

/// A collector.
pub(super) struct Endpoint {
    host: String,
    port: u16,
    authority: String,
    target: String,
    tls: Option<(TlsConnector, ServerName<'static>)>,
    connection: Option<SendRequest<Full<Bytes>>>,
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.tls.is_some() { "https" } else { "http" };
        write!(f, "{scheme}://{}{}", self.authority, self.target)
    }
}

impl Endpoint {
    /// Reads the configured URL.
    ///
    /// # Errors
    /// It is none, or names user information.
    pub(super) fn parse(url: &str) -> Result<Self, EndpointError> {
        let wrong = || EndpointError::Url(url.to_owned());
        let uri: Uri = url.parse().map_err(|_| wrong())?;
        let secure = match uri.scheme() {
            Some(scheme) if *scheme == Scheme::HTTPS => true,
            Some(scheme) if *scheme == Scheme::HTTP => false,
            Some(_) | None => return Err(wrong()),
        };
        let authority = uri.authority().filter(|authority| !authority.as_str().contains('@')).ok_or_else(wrong)?;
        let host = authority.host().trim_start_matches('[').trim_end_matches(']').to_owned();
        if host.is_empty() || uri.query().is_some() {
            return Err(wrong());
        }
        let tls = secure.then(|| tls(&host, url)).transpose()?;
        Ok(Self {
            port: authority.port_u16().unwrap_or(if secure { 443 } else { 80 }),
            host,
            authority: authority.as_str().to_owned(),
            target: format!("{}{PATH}", uri.path().trim_end_matches('/')),
            tls,
            connection: None,
        })
    }

    /// Hands a body over.
    ///
    /// # Errors
    /// It was not taken; the next attempt uses another connection.
    pub(super) async fn post(&mut self, body: Bytes) -> Result<(), PostError> {
        let outcome = timeout(PATIENCE, self.exchange(body)).await.unwrap_or(Err(PostError::TimedOut));
        if outcome.is_err() {
            self.connection = None;
        }
        outcome
    }

    async fn exchange(&mut self, body: Bytes) -> Result<(), PostError> {
        let mut sender = self.sender().await?;
        let request = Request::post(self.target.as_str())
            .header(HOST, self.authority.as_str())
            .header(CONTENT_TYPE, "application/x-protobuf")
            .header(USER_AGENT, concat!("torwart/", env!("CARGO_PKG_VERSION")))
            .body(Full::new(body))
            // Its parts were checked when the URL was read.
            .map_err(|error| PostError::Connect(io::Error::other(error)))?;
        let response = sender.send_request(request).await.map_err(PostError::Exchange)?;
        let status = response.status();
        let seconds = response.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok()?.parse().ok());
        // What it says beside its status is of no use, but has to be read before the connection can be used again.
        let whole = Limited::new(response.into_body(), LONGEST_ANSWER).collect().await.is_ok();
        if !status.is_success() {
            return Err(PostError::Status { status, retry_after: seconds.map(Duration::from_secs) });
        }
        self.connection = whole.then_some(sender);
        Ok(())
    }

    async fn sender(&mut self) -> Result<SendRequest<Full<Bytes>>, PostError> {
        if let Some(mut kept) = self.connection.take()
            && kept.ready().await.is_ok()
        {
            return Ok(kept);
        }
        let stream = TcpStream::connect((self.host.as_str(), self.port)).await.map_err(PostError::Connect)?;
        match &self.tls {
            Some((connector, name)) => {
                open(connector.connect(name.clone(), stream).await.map_err(PostError::Connect)?).await
            }
            None => open(stream).await,
        }
    }
}

async fn open<S>(stream: S) -> Result<SendRequest<Full<Bytes>>, PostError>
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let (sender, connection) = handshake(TokioIo::new(stream)).await.map_err(PostError::Exchange)?;
    // How it ended shows in the exchange that it was for.
    tokio::spawn(async move { drop(connection.await) });
    Ok(sender)
}

fn tls(host: &str, url: &str) -> Result<(TlsConnector, ServerName<'static>), EndpointError> {
    let name = ServerName::try_from(host.to_owned()).map_err(|_| EndpointError::Url(url.to_owned()))?;
    let roots = RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(EndpointError::Tls)?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok((TlsConnector::from(Arc::new(config)), name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endpoints_are_shown_with_the_path_that_traces_are_posted_to() {
        for (written, shown) in [
            ("http://127.0.0.1:4318", "http://127.0.0.1:4318/v1/traces"),
            ("http://[::1]:4318/", "http://[::1]:4318/v1/traces"),
            ("https://otel.example/collector/", "https://otel.example/collector/v1/traces"),
        ] {
            assert_eq!(Endpoint::parse(written).unwrap().to_string(), shown);
        }
    }

    #[test]
    fn what_is_no_url_of_a_collector_is_refused() {
        for wrong in ["", "127.0.0.1:4318", "grpc://x:4317", "http://", "http://user:secret@x", "http://x/?a=b", "/v1"]
        {
            assert!(matches!(Endpoint::parse(wrong), Err(EndpointError::Url(_))), "{wrong}");
        }
    }

    #[test]
    fn only_what_the_protocol_calls_temporary_is_tried_again() {
        let status = |code| PostError::Status { status: StatusCode::from_u16(code).unwrap(), retry_after: None };
        let temporary: Vec<u16> = (400..600).filter(|code| status(*code).is_temporary()).collect();
        assert_eq!(temporary, [429, 502, 503, 504]);
    }
}
