//! The byte stream between TLS and hyper. It knows what hyper does not tell: when the first byte of a request head
//! arrived, that a client stopped reading, and that an answer is hyper's own and not the gateway's. Those answers
//! (400, 414 and 431 for heads that cannot be parsed) are replaced by answers of the gateway's form and recorded.

use std::any::Any;
use std::future::Future;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf, Bytes};
use http::StatusCode;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Sleep, sleep};
use tokio_rustls::server::TlsStream;

use super::observer::Observer;
use super::pulse::{Phase, Pulse};

/// Bytes of a refused request that are read and thrown away so that the answer is not lost in a reset.
const LINGER_BYTES: usize = 1 << 20;
/// How long a closing connection waits for the client to notice.
const LINGER_TIME: Duration = Duration::from_secs(2);
/// The longest answer that hyper makes on its own.
const OWN_ANSWER: usize = 256;

/// Turns the status of an answer that hyper made into the answer that is sent instead, and records it.
pub(super) type Replace = Arc<dyn Fn(StatusCode) -> Bytes + Send + Sync>;

/// What counts a connection for as long as it lives: its place among all, its listener's gauge.
pub(super) type Counted = Box<dyn Any + Send>;

/// A byte stream that can be waited for without a buffer.
pub(super) trait Readable {
    /// Ready when there is something to read, or the end, or an error. It may be too little to make a byte of what the stream
    /// carries, such as a part of a TLS record: whoever reads then waits.
    fn poll_readable(&mut self, cx: &mut Context<'_>) -> Poll<()>;
}

impl Readable for TcpStream {
    fn poll_readable(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        // An error is for who reads.
        self.poll_read_ready(cx).map(drop)
    }
}

impl<T: Readable> Readable for TlsStream<T> {
    fn poll_readable(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let (stream, session) = self.get_mut();
        // What was decrypted and not read yet, or the end, does not show at the socket.
        if session.wants_read() { stream.poll_readable(cx) } else { Poll::Ready(()) }
    }
}

/// What belongs to the stream beside its bytes.
pub(super) struct Attached {
    pub(super) replace: Replace,
    #[expect(dead_code, reason = "held, not asked")]
    pub(super) counted: Counted,
}

/// See the module's description.
pub(super) struct Wire<T> {
    inner: T,
    pulse: Arc<Pulse>,
    observer: Observer,
    attached: Attached,
    /// Bytes that were read and given back.
    given_back: Bytes,
    /// Bytes of a replaced answer that are not written yet.
    outgoing: Bytes,
    /// Longest time that a client may refuse to take any byte.
    patience: Duration,
    stalled: Option<Pin<Box<Sleep>>>,
    linger: Option<Linger>,
}

struct Linger {
    deadline: Pin<Box<Sleep>>,
    left: usize,
}

impl<T> Wire<T> {
    /// Wraps a stream that carries HTTP/1.
    pub(super) fn new(inner: T, pulse: Arc<Pulse>, patience: Duration, attached: Attached) -> Self {
        let observer = Observer::new();
        let (given_back, outgoing) = (Bytes::new(), Bytes::new());
        Self { inner, pulse, observer, attached, given_back, outgoing, patience, stalled: None, linger: None }
    }

    /// Takes back what was read last, to be read again.
    pub(super) fn rewind(&mut self, bytes: Bytes) {
        self.given_back = bytes;
    }
}

impl<T: AsyncRead + AsyncWrite + Unpin> Wire<T> {
    /// Answers a client whose head did not arrive in time, and closes.
    pub(super) async fn refuse_slow(&mut self) -> io::Result<()> {
        self.outgoing = (self.attached.replace)(StatusCode::REQUEST_TIMEOUT);
        self.pulse.end();
        tokio::io::AsyncWriteExt::shutdown(self).await
    }

    fn poll_outgoing(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.outgoing.has_remaining() {
            let written = ready!(Pin::new(&mut self.inner).poll_write(cx, &self.outgoing))?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.outgoing.advance(written);
        }
        Poll::Ready(Ok(()))
    }

    /// The answer to send instead, if hyper is about to send one of its own: no request is being answered, and the
    /// bytes are a whole answer without a body.
    fn replacement(&self, bytes: &[u8]) -> Option<Bytes> {
        if !matches!(self.pulse.phase(), Phase::Idle | Phase::Head) || bytes.len() > OWN_ANSWER {
            return None;
        }
        let digits = bytes.strip_prefix(b"HTTP/1.1 ")?.get(..3)?;
        if !bytes.ends_with(b"\r\n\r\n") {
            return None;
        }
        let status = match digits {
            b"431" if self.observer.in_first_line(self.pulse.requests()) => StatusCode::URI_TOO_LONG,
            b"400" | b"414" | b"431" => StatusCode::from_bytes(digits).ok()?,
            _ => return None,
        };
        Some((self.attached.replace)(status))
    }

    fn poll_stalled(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let patience = self.patience;
        let timer = self.stalled.get_or_insert_with(|| Box::pin(sleep(patience)));
        ready!(timer.as_mut().poll(cx));
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }

    fn poll_written(&mut self, cx: &mut Context<'_>, result: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        match result {
            Poll::Pending => self.poll_stalled(cx),
            ready @ Poll::Ready(_) => {
                self.stalled = None;
                ready
            }
        }
    }

    /// Reads on for a moment after the last byte was written: a socket that is closed with unread bytes in it resets
    /// the connection, and the client may lose the answer (RFC 9112 section 9.6).
    fn poll_linger(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let linger =
            self.linger.get_or_insert_with(|| Linger { deadline: Box::pin(sleep(LINGER_TIME)), left: LINGER_BYTES });
        let mut scratch = [0; 4096];
        while linger.left > 0 && linger.deadline.as_mut().poll(cx).is_pending() {
            let mut buffer = ReadBuf::new(&mut scratch);
            match ready!(Pin::new(&mut self.inner).poll_read(cx, &mut buffer)) {
                Ok(()) if !buffer.filled().is_empty() => {
                    linger.left = linger.left.saturating_sub(buffer.filled().len());
                }
                _ => break,
            }
        }
        Poll::Ready(())
    }
}

impl<T: Readable> Readable for Wire<T> {
    fn poll_readable(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.given_back.has_remaining() { Poll::Ready(()) } else { self.inner.poll_readable(cx) }
    }
}

impl<T: AsyncRead + AsyncWrite + Unpin> AsyncRead for Wire<T> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.given_back.has_remaining() {
            let length = this.given_back.len().min(buffer.remaining());
            buffer.put_slice(&this.given_back.split_to(length));
            return Poll::Ready(Ok(()));
        }
        let before = buffer.filled().len();
        ready!(Pin::new(&mut this.inner).poll_read(cx, buffer))?;
        let phase = this.pulse.phase();
        if let Some(fresh) = buffer.filled().get(before..).filter(|fresh| !fresh.is_empty() && phase != Phase::Over) {
            if let Some(number) = this.observer.look(fresh) {
                this.pulse.mark_irregular(number);
            }
            this.pulse.advance(Phase::Idle, Phase::Head);
        }
        Poll::Ready(Ok(()))
    }
}

impl<T: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Wire<T> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        if this.outgoing.has_remaining() {
            ready!(this.poll_outgoing(cx))?;
        }
        if let Some(replacement) = this.replacement(bytes) {
            this.outgoing = replacement;
            this.pulse.end();
            return Poll::Ready(Ok(bytes.len()));
        }
        let result = Pin::new(&mut this.inner).poll_write(cx, bytes);
        this.poll_written(cx, result)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if let [only] = slices {
            return self.poll_write(cx, only);
        }
        let this = self.get_mut();
        if this.outgoing.has_remaining() {
            ready!(this.poll_outgoing(cx))?;
        }
        let result = Pin::new(&mut this.inner).poll_write_vectored(cx, slices);
        this.poll_written(cx, result)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.pulse.phase() == Phase::Resting {
            // Every answer has been flushed, or the connection would not be put to rest.
            return Poll::Ready(Ok(()));
        }
        ready!(this.poll_outgoing(cx))?;
        ready!(Pin::new(&mut this.inner).poll_flush(cx))?;
        this.pulse.advance(Phase::Ending, Phase::Idle);
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.pulse.phase() == Phase::Resting {
            // It is hyper that ends, and not the stream.
            return Poll::Ready(Ok(()));
        }
        if this.linger.is_none() {
            ready!(this.poll_outgoing(cx))?;
            ready!(Pin::new(&mut this.inner).poll_shutdown(cx))?;
        }
        this.poll_linger(cx).map(Ok)
    }
}
