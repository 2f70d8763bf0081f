//! Accepting connections for the admin surface.

use std::fs::Permissions;
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt as _, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use http::{Request, StatusCode};
use http_body_util::{BodyExt, Limited};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use rustls::ServerConfig;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpSocket, UnixListener};
use tokio::sync::Semaphore;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

use super::Gateway;
use super::access::{Origin, Rules};
use super::answer::{Answer, Site, answer, problem, refusal};
use crate::config::AdminAddress;
use crate::panics;
use crate::telemetry::Telemetry;

/// Connections served at once; operators and probes need few.
const CONNECTIONS: usize = 128;
/// Connections that wait to be accepted.
const BACKLOG: u32 = 128;
/// Bytes of a request's body.
const BODY: usize = 64 * 1024;
/// Time for a handshake, and for the head and body of a request.
const PATIENCE: Duration = Duration::from_secs(10);

/// A bound admin address.
#[derive(Debug)]
pub struct Listener {
    socket: Socket,
}

#[derive(Debug)]
enum Socket {
    Tcp(TcpListener),
    /// With the path and number of the file, where it was made here.
    Unix(UnixListener, Option<(PathBuf, u64)>),
}

/// A socket that a service manager has bound.
#[derive(Debug)]
pub enum Given {
    /// On an address.
    Tcp(std::net::TcpListener),
    /// On a path.
    Unix(std::os::unix::net::UnixListener),
}

impl Listener {
    /// Binds the address. Another process of the same user may have it too: the one that starts later takes a Unix socket
    /// over, and shares an address. A Unix socket may be used by its owner and group.
    ///
    /// # Errors
    /// The operating system's; a file that is in the way of a Unix socket is `AlreadyExists`.
    pub fn bind(address: &AdminAddress) -> io::Result<Self> {
        let socket = match address {
            AdminAddress::Tcp(address) => {
                let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
                socket.set_reuseaddr(true)?;
                socket.set_reuseport(true)?;
                socket.bind(*address)?;
                Socket::Tcp(socket.listen(BACKLOG)?)
            }
            AdminAddress::Unix(path) => {
                check_way(path)?;
                // Made beside and moved over: at every moment somebody listens under the name.
                let made = path.with_file_name(format!(".torwart-admin-{}", std::process::id()));
                let _ = std::fs::remove_file(&made);
                let listener = UnixListener::bind(&made)?;
                std::fs::set_permissions(&made, Permissions::from_mode(0o660))?;
                let number = std::fs::metadata(&made)?.ino();
                std::fs::rename(&made, path)?;
                Socket::Unix(listener, Some((path.clone(), number)))
            }
        };
        Ok(Self { socket })
    }

    /// Takes a socket that is bound.
    ///
    /// # Errors
    /// The operating system's.
    pub fn given(socket: Given) -> io::Result<Self> {
        let socket = match socket {
            Given::Tcp(socket) => Socket::Tcp(TcpListener::from_std(socket)?),
            Given::Unix(socket) => Socket::Unix(UnixListener::from_std(socket)?, None),
        };
        Ok(Self { socket })
    }

    /// The address bound, with the port that the system chose for port 0.
    ///
    /// # Errors
    /// The operating system's.
    pub fn address(&self) -> io::Result<AdminAddress> {
        match &self.socket {
            Socket::Tcp(listener) => listener.local_addr().map(AdminAddress::Tcp),
            Socket::Unix(_, Some((path, _))) => Ok(AdminAddress::Unix(path.clone())),
            Socket::Unix(socket, None) => {
                let address = socket.local_addr()?;
                Ok(AdminAddress::Unix(address.as_pathname().map(Path::to_owned).unwrap_or_default()))
            }
        }
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        let Socket::Unix(_, Some((path, number))) = &self.socket else { return };
        // Another process may have taken the name over. What is left behind is replaced at the next start.
        if std::fs::symlink_metadata(path).is_ok_and(|found| found.ino() == *number) {
            let _ = std::fs::remove_file(path);
        }
    }
}

/// Answers until `end` is cancelled. Meant for the control runtime, never for a worker.
pub async fn serve(listener: Listener, gateway: Arc<dyn Gateway>, telemetry: Arc<Telemetry>, end: CancellationToken) {
    let site = Arc::new(Site { gateway, telemetry });
    let room = Arc::new(Semaphore::new(CONNECTIONS));
    panics::kept("the admin listener", || accept_all(&listener, &site, &room, &end)).await;
}

async fn accept_all(listener: &Listener, site: &Arc<Site>, room: &Arc<Semaphore>, end: &CancellationToken) {
    loop {
        let Ok(permit) = Arc::clone(room).acquire_owned().await else { return };
        let accepted = tokio::select! {
            accepted = accept(listener) => accepted,
            () = end.cancelled() => return,
        };
        match accepted {
            Ok((stream, origin)) => {
                let connection = connection(stream, Arc::clone(site), origin);
                let end = end.clone();
                tokio::spawn(async move {
                    tokio::select! {
                        () = connection => {}
                        () = end.cancelled() => {}
                    }
                    drop(permit);
                });
            }
            Err(error) => {
                tracing::warn!(%error, "the admin listener cannot accept a connection");
                // Out of file descriptors, usually: trying again at once would only burn time.
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

/// Any byte stream.
pub(super) trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

async fn accept(listener: &Listener) -> io::Result<(Box<dyn Stream>, Origin)> {
    match &listener.socket {
        Socket::Tcp(socket) => {
            let (stream, _) = socket.accept().await?;
            let local = stream.local_addr()?;
            Ok((Box::new(stream), Origin::Tcp(local)))
        }
        Socket::Unix(socket, _) => Ok((Box::new(socket.accept().await?.0), Origin::Unix)),
    }
}

async fn connection(stream: Box<dyn Stream>, site: Arc<Site>, origin: Origin) {
    let Some(tls) = site.gateway.terms().tls else { return requests(stream, site, (origin, None)).await };
    match timeout(PATIENCE, TlsAcceptor::from(Arc::clone(&tls)).accept(stream)).await {
        Ok(Ok(stream)) => requests(stream, site, (origin, Some(tls))).await,
        Ok(Err(error)) => tracing::debug!(%error, "tls handshake with an admin client failed"),
        Err(_) => tracing::debug!("tls handshake with an admin client took too long"),
    }
}

/// The connection was made under other terms than those in force: what it has shown may not be enough any more.
#[derive(Debug, thiserror::Error)]
#[error("the connection was made before the configuration changed")]
struct Outdated;

async fn requests(stream: impl Stream, site: Arc<Site>, (origin, tls): (Origin, Option<Arc<ServerConfig>>)) {
    let service = service_fn(move |request: Request<Incoming>| {
        let (site, tls) = (Arc::clone(&site), tls.clone());
        async move {
            let terms = site.gateway.terms();
            let same = match (&tls, &terms.tls) {
                (None, None) => true,
                (Some(made), Some(asked)) => Arc::ptr_eq(made, asked),
                _ => false,
            };
            if same { Ok(respond(&site, &terms.rules, request, origin).await) } else { Err(Outdated) }
        }
    });
    let mut server = http1::Builder::new();
    server.timer(TokioTimer::new()).header_read_timeout(PATIENCE).max_buf_size(16 * 1024);
    if let Err(error) = server.serve_connection(TokioIo::new(stream), service).await {
        tracing::debug!(%error, "an admin connection ended early");
    }
}

/// Reads the body and answers.
async fn respond(site: &Site, rules: &Rules, request: Request<Incoming>, origin: Origin) -> Answer {
    let (head, body) = request.into_parts();
    if let Err(refused) = rules.check(&head, origin) {
        return refusal(refused);
    }
    match timeout(PATIENCE, Limited::new(body, BODY).collect()).await {
        Ok(Ok(body)) => answer(site, &head, &body.to_bytes()).await,
        Ok(Err(_)) => problem(StatusCode::PAYLOAD_TOO_LARGE, "the body is too large or broken"),
        Err(_) => problem(StatusCode::REQUEST_TIMEOUT, "the body did not arrive in time"),
    }
}

/// Whether the name may be taken: it is free, or a socket's.
fn check_way(path: &Path) -> io::Result<()> {
    match std::fs::symlink_metadata(path) {
        Ok(found) if found.file_type().is_socket() => Ok(()),
        Ok(_) => Err(io::ErrorKind::AlreadyExists.into()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests;
