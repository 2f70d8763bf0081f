//! The byte stream of an HTTP/2 connection, below hyper: it counts frames that ask for work and bring nothing, which h2
//! would answer one by one for as long as they come (RFC 9113 section 10.5; CVE-2019-9511 to 9518, CVE-2023-44487).
//!
//! Two accounts are kept. Resets have one of their own, with the figures that nghttp2 chose for itself. All else that a
//! peer can send without end is paid from what requests and answers earn, so that whoever is served may send as many
//! window updates, pings and priorities as go with that. Who overdraws is cut off.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::telemetry::metrics::ListenerMetrics;

/// The word under which connections that were cut off are counted.
const REASON: &str = "http2_flood";

/// Frame types that are told apart (RFC 9113 section 6).
const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
/// Flag of `DATA` and `HEADERS`.
const END_STREAM: u8 = 1;

const PREFACE: usize = 24;
const FRAME_HEAD: usize = 9;

/// Frames that an account can pay for at once, and how many more with each second.
#[derive(Debug, Clone, Copy)]
struct Terms {
    burst: u32,
    a_second: u32,
}

/// What nghttp2 allows by default (`nghttp2_option_set_stream_reset_rate_limit`).
const RESETS: Terms = Terms { burst: 1000, a_second: 33 };
/// Everything else that asks for work.
const OTHERS: Terms = Terms { burst: 1000, a_second: 100 };
/// What a request, or a frame of an answer, is worth in frames of the client: a window update for the stream and one for
/// the connection, a priority, a ping.
const EARNED: u32 = 4;

/// How many more frames of a kind are put up with.
#[derive(Debug)]
struct Account {
    terms: Terms,
    left: u32,
    since: Instant,
}

impl Account {
    fn open(terms: Terms, now: Instant) -> Self {
        Self { terms, left: terms.burst, since: now }
    }

    fn earn(&mut self, frames: u32) {
        self.left = self.left.saturating_add(frames).min(self.terms.burst);
    }

    /// Pays for one frame; `false`: it cannot. The clock is asked only when nothing is left.
    fn pay(&mut self, now: impl FnOnce() -> Instant) -> bool {
        if self.left == 0 {
            let now = now();
            let passed = now.saturating_duration_since(self.since).min(Duration::from_mins(1));
            let frames = passed.as_millis().saturating_mul(u128::from(self.terms.a_second)) / 1000;
            self.earn(u32::try_from(frames).unwrap_or(u32::MAX));
            if frames > 0 {
                self.since = now;
            }
        }
        let paid = self.left > 0;
        self.left = self.left.saturating_sub(1);
        paid
    }
}

/// Finds the frames in one direction of a connection, however its bytes are cut.
#[derive(Debug)]
struct Finder {
    /// Bytes before the next frame's head: the preface, or a payload.
    skip: usize,
    head: [u8; FRAME_HEAD],
    filled: usize,
}

/// What is asked of a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct FrameHead {
    length: usize,
    kind: u8,
    flags: u8,
}

impl Finder {
    fn after(skip: usize) -> Self {
        Self { skip, head: [0; FRAME_HEAD], filled: 0 }
    }

    /// The next frame that begins in these bytes, which are used up to the end of its head.
    fn next(&mut self, bytes: &mut &[u8]) -> Option<FrameHead> {
        let skipped = self.skip.min(bytes.len());
        *bytes = bytes.get(skipped..)?;
        self.skip -= skipped;
        let missing = self.head.get_mut(self.filled..)?;
        let taken = missing.len().min(bytes.len());
        let (fresh, rest) = bytes.split_at_checked(taken)?;
        missing.get_mut(..taken)?.copy_from_slice(fresh);
        *bytes = rest;
        self.filled += taken;
        if self.skip > 0 || self.filled < FRAME_HEAD {
            return None;
        }
        self.filled = 0;
        let [high, middle, low, kind, flags, ..] = self.head;
        self.skip = usize::from(high) << 16 | usize::from(middle) << 8 | usize::from(low);
        Some(FrameHead { length: self.skip, kind, flags })
    }
}

/// Both accounts of a connection, and both directions.
#[derive(Debug)]
struct Ledger {
    resets: Account,
    others: Account,
    received: Finder,
    sent: Finder,
}

impl Ledger {
    fn open(now: Instant) -> Self {
        Self {
            resets: Account::open(RESETS, now),
            others: Account::open(OTHERS, now),
            received: Finder::after(PREFACE),
            sent: Finder::after(0),
        }
    }

    /// Books what the client has sent; `false`: it is too much.
    fn receive(&mut self, mut bytes: &[u8], now: impl Fn() -> Instant) -> bool {
        while let Some(frame) = self.received.next(&mut bytes) {
            let ends = frame.flags & END_STREAM != 0;
            let paid = match frame.kind {
                HEADERS if frame.length > 0 => {
                    self.others.earn(EARNED);
                    true
                }
                // What a window lets in is bounded by it.
                DATA => frame.length > 0 || ends || self.others.pay(&now),
                RST_STREAM => self.resets.pay(&now),
                _ => self.others.pay(&now),
            };
            if !paid {
                return false;
            }
        }
        true
    }

    /// Books what the gateway has sent.
    fn send(&mut self, mut bytes: &[u8]) {
        while let Some(frame) = self.sent.next(&mut bytes) {
            if matches!(frame.kind, DATA | HEADERS) {
                self.others.earn(EARNED);
            }
        }
    }
}

/// See the module's description.
pub(super) struct Frames<T> {
    inner: T,
    ledger: Ledger,
    counters: Arc<ListenerMetrics>,
}

impl<T> Frames<T> {
    /// Wraps a stream that carries HTTP/2.
    pub(super) fn new(inner: T, counters: Arc<ListenerMetrics>) -> Self {
        Self { inner, ledger: Ledger::open(Instant::now()), counters }
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for Frames<T> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = buffer.filled().len();
        ready!(Pin::new(&mut this.inner).poll_read(cx, buffer))?;
        let fresh = buffer.filled().get(before..).unwrap_or_default();
        if this.ledger.receive(fresh, Instant::now) {
            return Poll::Ready(Ok(()));
        }
        this.counters.refused.count(REASON);
        Poll::Ready(Err(io::Error::new(io::ErrorKind::ConnectionAborted, "frames without end that bring nothing")))
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Frames<T> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let written = ready!(Pin::new(&mut this.inner).poll_write(cx, bytes))?;
        this.ledger.send(bytes.get(..written).unwrap_or(bytes));
        Poll::Ready(Ok(written))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let written = ready!(Pin::new(&mut this.inner).poll_write_vectored(cx, slices))?;
        let mut left = written;
        for slice in slices {
            let taken = left.min(slice.len());
            this.ledger.send(slice.get(..taken).unwrap_or(slice));
            left -= taken;
        }
        Poll::Ready(Ok(written))
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().inner).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().inner).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WINDOW_UPDATE: u8 = 8;

    fn frame(kind: u8, flags: u8, length: u8) -> Vec<u8> {
        let mut frame = vec![0, 0, length, kind, flags, 0, 0, 0, 1];
        frame.resize(FRAME_HEAD + usize::from(length), 0xff);
        frame
    }

    fn preface() -> [u8; PREFACE] {
        *b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
    }

    /// How many of these frames in a row are put up with at one moment.
    fn endured(frame: &[u8], ledger: &mut Ledger, now: Instant) -> u32 {
        (0..100_000).find(|_| !ledger.receive(frame, || now)).unwrap_or(100_000)
    }

    #[test]
    fn frames_are_found_however_the_bytes_are_cut() {
        let bytes = [preface().to_vec(), frame(4, 0, 6), frame(HEADERS, 5, 200), frame(DATA, 1, 0)].concat();
        let wanted = [(6, 4, 0), (200, HEADERS, 5), (0, DATA, 1)];
        for size in 1..bytes.len() {
            let mut finder = Finder::after(PREFACE);
            let mut found = Vec::new();
            for mut piece in bytes.chunks(size) {
                while let Some(frame) = finder.next(&mut piece) {
                    found.push((frame.length, frame.kind, frame.flags));
                }
            }
            assert_eq!(found, wanted, "{size}");
        }
    }

    #[test]
    fn a_flood_is_cut_off_and_time_alone_earns_little() {
        let now = Instant::now();
        for (frame, terms) in [
            (frame(RST_STREAM, 0, 4), RESETS),
            (frame(2, 0, 5), OTHERS),
            (frame(4, 0, 0), OTHERS),
            (frame(6, 0, 8), OTHERS),
            (frame(6, 1, 8), OTHERS),
            (frame(WINDOW_UPDATE, 0, 4), OTHERS),
            (frame(9, 0, 0), OTHERS),
            (frame(0x77, 0, 0), OTHERS),
            (frame(DATA, 0, 0), OTHERS),
            (frame(HEADERS, 0, 0), OTHERS),
        ] {
            let mut ledger = Ledger::open(now);
            assert!(ledger.receive(&preface(), || now));
            assert_eq!(endured(&frame, &mut ledger, now), terms.burst, "{frame:?}");
            // The connection would have ended inside of the last frame.
            ledger.received = Finder::after(0);
            assert_eq!(endured(&frame, &mut ledger, now + Duration::from_secs(1)), terms.a_second, "{frame:?}");
        }
    }

    #[test]
    fn who_is_served_may_send_what_goes_with_it() {
        let now = Instant::now();
        let mut ledger = Ledger::open(now);
        assert!(ledger.receive(&preface(), || now));
        for _ in 0..10_000 {
            assert!(ledger.receive(&frame(HEADERS, 5, 30), || now));
            for _ in 0..4 {
                ledger.send(&frame(DATA, 0, 100));
                assert!((0..4).all(|_| ledger.receive(&frame(WINDOW_UPDATE, 0, 4), || now)));
            }
            ledger.send(&frame(HEADERS, 5, 20));
            assert!(ledger.receive(&frame(DATA, 1, 0), || now), "an end is no flood");
        }
        assert_eq!(endured(&frame(WINDOW_UPDATE, 0, 4), &mut ledger, now), OTHERS.burst, "nobody saves up");
    }

    #[test]
    fn answers_to_pings_earn_nothing() {
        let now = Instant::now();
        let mut ledger = Ledger::open(now);
        assert!(ledger.receive(&preface(), || now));
        let pings = (0..100_000).find(|_| {
            ledger.send(&frame(6, 1, 8));
            !ledger.receive(&frame(6, 0, 8), || now)
        });
        assert_eq!(pings, Some(OTHERS.burst));
    }
}
