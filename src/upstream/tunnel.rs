//! WebSocket tunnels: the opening handshake with the upstream, then bytes both ways until one side ends, the token does or
//! is revoked, or the drain begins.

use std::cell::{Cell, RefCell};
use std::io;
use std::rc::Rc;
use std::time::Duration;

use aws_lc_rs::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::header::{
    CONNECTION, CONTENT_LENGTH, HeaderValue, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_VERSION, UPGRADE,
};
use http::{HeaderMap, Method, Response, StatusCode, request, response};
use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, split};
use tokio::time::{Instant, sleep_until, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::connect::Stream;
use super::failure::{Failure, ProtocolFault};
use super::http1::Http1;
use super::member::Call;
use super::request_headers::list;
use super::response_body::ResponseBody;
use super::response_headers;
use super::{Standing, TunnelTerms};
use crate::clock::Timestamp;

/// Bytes that a tunnel holds in one direction.
const CHUNK: usize = 16 * 1024;

/// How long the client gets to take its last frame.
const FAREWELL: Duration = Duration::from_secs(2);

/// How long the client gets to take up the tunnel it asked for.
const TAKING_UP: Duration = Duration::from_secs(10);

thread_local! {
    static OPEN: TaskTracker = TaskTracker::new();
}

/// Waits until this worker has no tunnel left. Tunnels end by themselves soon after the drain begins.
pub async fn tunnels_ended() {
    let open = OPEN.with(TaskTracker::clone);
    open.close();
    open.wait().await;
}

/// What the gateway needs to finish a WebSocket's handshake on both sides.
#[derive(Debug)]
pub(super) struct Opening {
    client: OnUpgrade,
    /// RFC 8441: the client speaks HTTP/2.
    http2: bool,
    key: HeaderValue,
    terms: TunnelTerms,
}

impl Opening {
    /// Makes the request one for the upstream's HTTP/1.1 handshake (RFC 6455 section 4.1).
    pub(super) fn new(client: OnUpgrade, head: &mut request::Parts, terms: &TunnelTerms) -> Result<Self, Failure> {
        let http2 = head.method == Method::CONNECT;
        if http2 {
            head.method = Method::GET;
            let mut nonce = [0; 16];
            aws_lc_rs::rand::fill(&mut nonce).map_err(|_| Failure::Unwritable)?;
            let key = HeaderValue::from_str(&STANDARD.encode(nonce)).map_err(|_| Failure::Unwritable)?;
            head.headers.insert(SEC_WEBSOCKET_KEY, key);
            head.headers.entry(SEC_WEBSOCKET_VERSION).or_insert(HeaderValue::from_static("13"));
        }
        let key = head.headers.get(SEC_WEBSOCKET_KEY).cloned().ok_or(Failure::Unwritable)?;
        Ok(Self { client, http2, key, terms: terms.clone() })
    }

    /// Whether an answer without a tunnel can be passed on. Over HTTP/2 a success would mean that there is one.
    pub(super) fn check_refusal(&self, status: StatusCode) -> Result<(), Failure> {
        if self.http2 && status.is_success() { Err(Failure::Protocol(ProtocolFault::Handshake)) } else { Ok(()) }
    }

    /// Checks the upstream's 101, starts the tunnel, and makes the client's answer.
    pub(super) fn accept(
        self,
        mut head: response::Parts,
        connection: Http1,
        call: &Call,
        valid_until: Option<Timestamp>,
    ) -> Result<Response<ResponseBody>, Failure> {
        self.check(&head.headers).map_err(Failure::Protocol)?;
        let (upstream, ahead) = connection.into_stream().ok_or(Failure::Unwritable)?;
        call.succeeded();
        response_headers::rewrite_switch(&mut head);
        head.headers.remove(CONTENT_LENGTH);
        if self.http2 {
            head.status = StatusCode::OK;
            head.headers.remove(SEC_WEBSOCKET_ACCEPT);
        } else {
            head.headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
            head.headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
        }
        let TunnelTerms { drain, standing, in_use } = self.terms;
        let end = End { at: valid_until.map(super::just_after), drain, standing };
        let (client, in_use) = (self.client, (in_use, call.clone()));
        OPEN.with(|open| {
            open.spawn_local(async move {
                // A client that left instead of taking up its tunnel is no news.
                if let Ok(Ok(client)) = timeout(TAKING_UP, client).await {
                    relay(TokioIo::new(client), (upstream, ahead), &end).await;
                }
                drop(in_use);
            })
        });
        Ok(Response::from_parts(head, ResponseBody::empty()))
    }

    /// RFC 6455 section 4.1, the client's duties.
    fn check(&self, headers: &HeaderMap) -> Result<(), ProtocolFault> {
        let mut protocols = headers.get_all(UPGRADE).iter();
        let websocket = protocols.next().is_some_and(|name| name.as_bytes().eq_ignore_ascii_case(b"websocket"));
        let upgrade = list(headers, &CONNECTION).any(|option| option.eq_ignore_ascii_case(b"upgrade"));
        if !websocket || protocols.next().is_some() || !upgrade {
            return Err(ProtocolFault::UnaskedSwitch);
        }
        let mut proofs = headers.get_all(SEC_WEBSOCKET_ACCEPT).iter();
        let proven = proofs.next().is_some_and(|proof| proof.as_bytes() == proof_of(&self.key).as_bytes());
        if proven && proofs.next().is_none() { Ok(()) } else { Err(ProtocolFault::Handshake) }
    }
}

/// `Sec-WebSocket-Accept` for a key (RFC 6455 section 4.2.2).
pub(super) fn proof_of(key: &HeaderValue) -> String {
    let text = [key.as_bytes(), b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"].concat();
    STANDARD.encode(digest(&SHA1_FOR_LEGACY_USE_ONLY, &text))
}

/// What ends a tunnel from outside.
struct End {
    at: Option<Instant>,
    drain: CancellationToken,
    standing: Option<Rc<dyn Standing>>,
}

impl End {
    /// Waits for it; the close code to give as reason (RFC 6455 section 7.4.1).
    async fn reached(&self) -> u16 {
        let expired = async {
            match self.at {
                Some(at) => sleep_until(at).await,
                None => std::future::pending().await,
            }
        };
        let revoked = async {
            match &self.standing {
                Some(standing) => standing.ended().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = expired => 1008,
            () = revoked => 1008,
            () = self.drain.cancelled() => 1001,
        }
    }
}

/// Copies both ways until both have ended, one broke, or the tunnel's time is over.
async fn relay(client: TokioIo<Upgraded>, (upstream, ahead): (Stream, Bytes), end: &End) {
    let (mut from_client, to_client) = split(client);
    let (from_upstream, mut to_upstream) = split(upstream);
    let mut from_upstream = io::Cursor::new(ahead).chain(from_upstream);
    let to_client = RefCell::new(to_client);
    let frames = Cell::new(Frames::default());
    let code = {
        let outward = copy(&mut from_client, &mut to_upstream);
        let inward = copy_frames(&mut from_upstream, &to_client, &frames);
        let both = async { tokio::try_join!(outward, inward) };
        tokio::select! {
            _ = both => None,
            code = end.reached() => Some(code),
        }
    };
    let Some(code) = code else { return };
    // In the middle of a frame there is no place for another one: the connection just ends.
    if frames.get().at_boundary() {
        let farewell = say_goodbye(code, to_client.into_inner(), from_client);
        // The client has had its time; whether it took the frame is its business.
        let _: Result<_, _> = timeout(FAREWELL, farewell).await;
    }
}

async fn copy(mut from: impl AsyncRead + Unpin, mut to: impl AsyncWrite + Unpin) -> io::Result<()> {
    let mut buffer = vec![0; CHUNK];
    loop {
        let read = from.read(&mut buffer).await?;
        let Some(mut chunk) = buffer.get(..read).filter(|chunk| !chunk.is_empty()) else {
            return to.shutdown().await;
        };
        to.write_all_buf(&mut chunk).await?;
        to.flush().await?;
    }
}

/// Like [`copy`], and knows at every moment whether what the client has got ends with a whole frame.
#[expect(clippy::await_holding_refcell_ref, reason = "the other borrower waits for this future to be dropped")]
async fn copy_frames(
    mut from: impl AsyncRead + Unpin,
    to: &RefCell<impl AsyncWrite + Unpin>,
    frames: &Cell<Frames>,
) -> io::Result<()> {
    let mut buffer = vec![0; CHUNK];
    let mut to = to.borrow_mut();
    loop {
        let read = from.read(&mut buffer).await?;
        let mut chunk = buffer.get(..read).unwrap_or_default();
        if chunk.is_empty() {
            return to.shutdown().await;
        }
        while !chunk.is_empty() {
            let written = to.write(chunk).await?;
            let Some((done, rest)) = chunk.split_at_checked(written).filter(|_| written > 0) else {
                return Err(io::ErrorKind::WriteZero.into());
            };
            frames.set(frames.get().after(done));
            chunk = rest;
        }
        to.flush().await?;
    }
}

/// Sends a Close frame (RFC 6455 section 5.5.1) and waits until the client has ended its side, so that closing the
/// connection cannot overtake the frame.
async fn say_goodbye(code: u16, mut to: impl AsyncWrite + Unpin, mut from: impl AsyncRead + Unpin) -> io::Result<()> {
    let [high, low] = code.to_be_bytes();
    to.write_all(&[0x88, 2, high, low]).await?;
    to.flush().await?;
    to.shutdown().await?;
    let mut rest = vec![0; CHUNK];
    while from.read(&mut rest).await? > 0 {}
    Ok(())
}

/// Where in the sequence of frames (RFC 6455 section 5.2) a stream of bytes is.
#[derive(Debug, Clone, Copy, Default)]
struct Frames {
    /// Bytes of the present frame's head so far.
    seen: u8,
    /// Bytes that its head has in all, once its second byte tells.
    head: u8,
    /// Bytes of payload to come, as far as the head has told.
    left: u64,
}

impl Frames {
    /// Whether the next byte begins a frame.
    fn at_boundary(self) -> bool {
        self.seen == 0
    }

    /// The place after these bytes.
    fn after(mut self, mut bytes: &[u8]) -> Self {
        while let Some((&byte, rest)) = bytes.split_first() {
            if self.head == 0 || self.seen < self.head {
                self.read_head(byte);
                bytes = rest;
            } else {
                let skipped = bytes.len().min(usize::try_from(self.left).unwrap_or(usize::MAX));
                self.left -= u64::try_from(skipped).unwrap_or(self.left);
                bytes = bytes.split_at_checked(skipped).map_or(&[], |(_, rest)| rest);
            }
            if self.head != 0 && self.seen == self.head && self.left == 0 {
                self = Self::default();
            }
        }
        self
    }

    fn read_head(&mut self, byte: u8) {
        self.seen += 1;
        match self.seen {
            1 => {}
            2 => {
                let mask = if byte & 0x80 == 0 { 0 } else { 4 };
                let (length, inline) = match byte & 0x7f {
                    126 => (2, 0),
                    127 => (8, 0),
                    short => (0, u64::from(short)),
                };
                self.left = inline;
                self.head = 2 + length + mask;
            }
            // A head of 4 or 8 bytes ends its length with byte 4; one of 10 or 14 with byte 10.
            seen if (matches!(self.head, 4 | 8) && seen <= 4) || (matches!(self.head, 10 | 14) && seen <= 10) => {
                self.left = (self.left << 8) | u64::from(byte);
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// RFC 6455 section 1.3.
    #[test]
    fn the_proof_is_that_of_the_standard() {
        assert_eq!(proof_of(&HeaderValue::from_static("dGhlIHNhbXBsZSBub25jZQ==")), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    }

    fn frame(length: usize, masked: bool) -> Vec<u8> {
        let mask = if masked { 0x80 } else { 0 };
        let mut bytes = vec![0x82];
        match u8::try_from(length) {
            Ok(short) if short < 126 => bytes.push(mask | short),
            _ if length < 65_536 => {
                bytes.push(mask | 0x7e);
                bytes.extend(u16::try_from(length).unwrap().to_be_bytes());
            }
            _ => {
                bytes.push(mask | 0x7f);
                bytes.extend((length as u64).to_be_bytes());
            }
        }
        if masked {
            bytes.extend([0xff; 4]);
        }
        bytes.resize(bytes.len() + length, 0xff);
        bytes
    }

    proptest! {
        #[test]
        fn boundaries_are_found_however_the_bytes_are_cut(
            frames in prop::collection::vec((prop_oneof![0_usize..300, 65_530_usize..65_545], any::<bool>()), 1..4),
            cuts in prop::collection::vec(1_usize..70_000, 1..8),
        ) {
            let mut boundaries = vec![0];
            let mut bytes = Vec::new();
            for (length, masked) in frames {
                bytes.extend(frame(length, masked));
                boundaries.push(bytes.len());
            }
            let mut place = Frames::default();
            let mut at = 0;
            for cut in cuts.iter().cycle() {
                let next = (at + cut).min(bytes.len());
                place = place.after(&bytes[at..next]);
                at = next;
                prop_assert_eq!(place.at_boundary(), boundaries.contains(&at), "at {}", at);
                if at == bytes.len() {
                    break;
                }
            }
        }
    }
}
