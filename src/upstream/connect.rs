//! One connection to a member: TCP or Unix socket, TLS.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, UnixStream};
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::failure::{Failure, ProtocolFault};
use super::load::Upstream;
use super::member::{Member, Open, Place};
use super::tls::Tls;

/// The shortest time that one of several addresses gets before the next is tried.
const SHARE: Duration = Duration::from_millis(250);

/// A connected stream.
#[derive(Debug)]
pub(super) struct Stream {
    transport: Transport,
    /// Counts against `max_connections` for as long as the stream lives, whoever holds it. Health checks have none.
    _slot: Option<OwnedSemaphorePermit>,
    _open: Open,
}

#[derive(Debug)]
enum Transport {
    Tcp(TcpStream),
    Unix(UnixStream),
    TcpTls(Box<TlsStream<TcpStream>>),
    UnixTls(Box<TlsStream<UnixStream>>),
}

/// Connects, TLS included, within `timeouts.connect`.
pub(super) async fn connect(
    upstream: &Upstream,
    member: &Arc<Member>,
    slot: Option<OwnedSemaphorePermit>,
) -> Result<Stream, Failure> {
    let opened = open(upstream, member).await;
    if slot.is_some() {
        member.connected(&opened);
    }
    Ok(Stream { transport: opened?, _slot: slot, _open: Open::new(member) })
}

async fn open(upstream: &Upstream, member: &Member) -> Result<Transport, Failure> {
    let within = upstream.connect_timeout;
    let transport = timeout(within, establish(member, within)).await.map_err(|_| Failure::ConnectTimeout(within))??;
    if upstream.http2 && !transport.speaks_http2() {
        return Err(Failure::Protocol(ProtocolFault::NotHttp2));
    }
    Ok(transport)
}

async fn establish(member: &Member, within: Duration) -> Result<Transport, Failure> {
    let tls = member.endpoint.tls.as_ref();
    match &member.place {
        Place::Tcp(addresses) => {
            let tcp = connect_tcp(addresses, within).await?;
            Ok(match tls {
                None => Transport::Tcp(tcp),
                Some(tls) => Transport::TcpTls(Box::new(shake_hands(tls, tcp).await?)),
            })
        }
        Place::Unix(path) => {
            let unix = UnixStream::connect(&**path).await.map_err(Failure::Unreachable)?;
            Ok(match tls {
                None => Transport::Unix(unix),
                Some(tls) => Transport::UnixTls(Box::new(shake_hands(tls, unix).await?)),
            })
        }
    }
}

/// Tries the addresses of one machine in order; each but the last gets its share of the time.
async fn connect_tcp(addresses: &[SocketAddr], within: Duration) -> Result<TcpStream, Failure> {
    let share = within / u32::try_from(addresses.len().max(1)).unwrap_or(u32::MAX);
    let mut last = io::Error::from(io::ErrorKind::AddrNotAvailable);
    for address in addresses {
        match timeout(share.max(SHARE), TcpStream::connect(address)).await {
            Ok(Ok(stream)) => {
                stream.set_nodelay(true).map_err(Failure::Unreachable)?;
                return Ok(stream);
            }
            Ok(Err(error)) => last = error,
            Err(_) => last = io::ErrorKind::TimedOut.into(),
        }
    }
    if last.kind() == io::ErrorKind::TimedOut {
        return Err(Failure::ConnectTimeout(within));
    }
    Err(Failure::Unreachable(last))
}

async fn shake_hands<S: AsyncRead + AsyncWrite + Unpin>(tls: &Tls, stream: S) -> Result<TlsStream<S>, Failure> {
    TlsConnector::from(Arc::clone(&tls.config)).connect(tls.name.clone(), stream).await.map_err(Failure::Tls)
}

impl Transport {
    /// Whether the protocol agreed on is HTTP/2. Without TLS it is so by prior knowledge (RFC 9113 section 3.3).
    fn speaks_http2(&self) -> bool {
        match self {
            Self::Tcp(_) | Self::Unix(_) => true,
            Self::TcpTls(tls) => tls.get_ref().1.alpn_protocol() == Some(b"h2"),
            Self::UnixTls(tls) => tls.get_ref().1.alpn_protocol() == Some(b"h2"),
        }
    }
}

/// Calls the method of the stream inside.
macro_rules! delegate {
    ($self:expr, $stream:ident => $call:expr) => {
        match &mut $self.get_mut().transport {
            Transport::Tcp($stream) => $call,
            Transport::Unix($stream) => $call,
            Transport::TcpTls($stream) => $call,
            Transport::UnixTls($stream) => $call,
        }
    };
}

impl AsyncRead for Stream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        delegate!(self, stream => Pin::new(stream).poll_read(cx, buf))
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        delegate!(self, stream => Pin::new(stream).poll_write(cx, buf))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        delegate!(self, stream => Pin::new(stream).poll_write_vectored(cx, bufs))
    }

    fn is_write_vectored(&self) -> bool {
        match &self.transport {
            Transport::Tcp(stream) => stream.is_write_vectored(),
            Transport::Unix(stream) => stream.is_write_vectored(),
            Transport::TcpTls(stream) => stream.is_write_vectored(),
            Transport::UnixTls(stream) => stream.is_write_vectored(),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        delegate!(self, stream => Pin::new(stream).poll_flush(cx))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        delegate!(self, stream => Pin::new(stream).poll_shutdown(cx))
    }
}
