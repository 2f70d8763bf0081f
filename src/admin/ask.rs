//! Asking a running gateway's admin listener, for `torwart health`, `status`, `reload` and `revoke`.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_TYPE, HOST};
use http::{HeaderValue, Method, Request, StatusCode};
use http_body_util::{BodyExt, Full, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::net::{TcpStream, UnixStream};
use tokio::time::timeout;

use super::serve::Stream;
use crate::config::{Admin, AdminAddress};

/// Time for the whole exchange, except for a reload, which may have many files to read.
const PATIENCE: Duration = Duration::from_secs(5);
/// Time for a change.
const PATIENCE_WITH_CHANGES: Duration = Duration::from_mins(1);
/// Bytes of an answer.
const LONGEST: usize = 16 * 1024 * 1024;

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum AskError {
    /// Nobody listens, or not to us.
    #[error("cannot connect to the admin listener on `{address}`: {source}")]
    Connect {
        /// Where it should be.
        address: String,
        /// The operating system's reason.
        source: io::Error,
    },
    /// It does not speak HTTP as expected.
    #[error("the admin listener broke off: {0}")]
    Exchange(#[source] hyper::Error),
    /// The answer cannot be read to its end.
    #[error("the admin listener's answer cannot be read: {0}")]
    Answer(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// It did not answer in time.
    #[error("the admin listener did not answer in time")]
    TimedOut,
    /// The token that it asks for cannot be read.
    #[error("the admin token file `{path}` cannot be read: {source}", path = path.display())]
    Token {
        /// As configured.
        path: PathBuf,
        /// The operating system's reason.
        source: io::Error,
    },
    /// What is in the token file cannot be sent.
    #[error("the admin token file `{path}` holds no token", path = .0.display())]
    NoToken(PathBuf),
    /// A listener with TLS is for callers with certificates.
    #[error("the admin listener speaks TLS: ask it with a program that holds a certificate for it")]
    Tls,
    /// What is asked for cannot stand in a request.
    #[error("the admin listener cannot be asked for that")]
    Path,
    /// The process cannot do input and output.
    #[error("no runtime: {0}")]
    Runtime(#[source] io::Error),
}

/// Asks the listener that this configuration describes; blocks until it has answered. `body` is JSON; a change without
/// one has an empty object.
///
/// # Errors
/// There is no answer.
pub fn ask(admin: &Admin, method: &Method, path: &str, body: Option<String>) -> Result<(StatusCode, Bytes), AskError> {
    if admin.tls.is_some() {
        return Err(AskError::Tls);
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(AskError::Runtime)?;
    let patience = if method.is_safe() { PATIENCE } else { PATIENCE_WITH_CHANGES };
    let request = request(admin, method, path, body)?;
    runtime.block_on(async { timeout(patience, exchange(admin, request)).await.unwrap_or(Err(AskError::TimedOut)) })
}

async fn exchange(admin: &Admin, request: Request<Full<Bytes>>) -> Result<(StatusCode, Bytes), AskError> {
    let stream = connect(&admin.address).await?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(AskError::Exchange)?;
    let connection = tokio::spawn(connection);
    let answer = sender.send_request(request).await.map_err(AskError::Exchange)?;
    let status = answer.status();
    let body = Limited::new(answer.into_body(), LONGEST).collect().await.map_err(AskError::Answer)?;
    connection.abort();
    Ok((status, body.to_bytes()))
}

fn request(admin: &Admin, method: &Method, path: &str, body: Option<String>) -> Result<Request<Full<Bytes>>, AskError> {
    let empty = || if method.is_safe() { Bytes::new() } else { Bytes::from_static(b"{}") };
    let mut request = Request::new(Full::new(body.map_or_else(empty, Bytes::from)));
    *request.method_mut() = method.clone();
    *request.uri_mut() = http::Uri::try_from(path).map_err(|_| AskError::Path)?;
    let headers = request.headers_mut();
    headers.insert(HOST, HeaderValue::from_static("localhost"));
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    if let Some(path) = &admin.token_file {
        let token = std::fs::read_to_string(path).map_err(|source| AskError::Token { path: path.clone(), source })?;
        let value = HeaderValue::try_from(format!("Bearer {}", token.trim()));
        let mut value = value.map_err(|_| AskError::NoToken(path.clone()))?;
        value.set_sensitive(true);
        headers.insert(AUTHORIZATION, value);
    }
    Ok(request)
}

async fn connect(address: &AdminAddress) -> Result<Box<dyn Stream>, AskError> {
    match address {
        AdminAddress::Tcp(address) => {
            let address = reachable(*address);
            let stream = TcpStream::connect(address).await;
            let stream = stream.map_err(|source| AskError::Connect { address: address.to_string(), source })?;
            Ok(Box::new(stream))
        }
        AdminAddress::Unix(path) => {
            let stream = UnixStream::connect(path).await;
            let address = || format!("unix:{}", path.display());
            Ok(Box::new(stream.map_err(|source| AskError::Connect { address: address(), source })?))
        }
    }
}

/// Where to reach a listener on every address: on loopback.
fn reachable(address: SocketAddr) -> SocketAddr {
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(ip) if ip.is_unspecified() => IpAddr::V6(Ipv6Addr::LOCALHOST),
        named => named,
    };
    SocketAddr::new(ip, address.port())
}
