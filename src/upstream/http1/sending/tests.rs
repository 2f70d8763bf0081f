use std::sync::Arc;
use std::task::Waker;
use std::time::Duration;

use proptest::prelude::*;
use smallvec::SmallVec;

use super::*;
use crate::policy::AuthorizationHeader;
use crate::upstream::request_body::{BodyLimits, ClientBody};
use crate::upstream::request_headers::{Effects, IdentityNames, TrailerRules};

/// Takes so many bytes at once, and then none until asked again; refuses the first ones if told so.
struct Sparing {
    taken: Vec<u8>,
    at_once: usize,
    rests: bool,
    refuses: bool,
}

impl Sparing {
    fn new(at_once: usize) -> Self {
        Self { taken: Vec::new(), at_once, rests: false, refuses: false }
    }

    fn take(&mut self, slices: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        if self.refuses {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        self.rests = !self.rests;
        if self.rests {
            return Poll::Pending;
        }
        let all: Vec<u8> = slices.iter().flat_map(|slice| slice.to_vec()).take(self.at_once).collect();
        self.taken.extend_from_slice(&all);
        Poll::Ready(Ok(all.len()))
    }
}

impl AsyncWrite for Sparing {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.get_mut().take(&[IoSlice::new(bytes)])
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.get_mut().take(slices)
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

const HEAD: &[u8] = b"POST / HTTP/1.1\r\n\r\n";

fn body(content: &[u8], trailers: &[(&'static str, &'static str)]) -> RequestBody {
    let fields = trailers.iter().map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)));
    let client = ClientBody::read(Bytes::copy_from_slice(content), Some(fields.collect()));
    let identity = Arc::new(IdentityNames { prefix: "x-auth-".into(), pass: Vec::new() });
    let effects = Effects {
        set: SmallVec::new(),
        assertion: None,
        removes: &[],
        authorization: AuthorizationHeader::Strip,
        strips_method_override: true,
    };
    let limits = BodyLimits { size: u64::MAX, idle: Duration::from_secs(1) };
    RequestBody::streaming(client, limits, TrailerRules::new(&identity, &effects)).0
}

fn send(sending: &mut Sending, to: &mut Sparing) -> Result<(), SendFault> {
    loop {
        if let Poll::Ready(outcome) = sending.poll(to, &mut Context::from_waker(Waker::noop())) {
            return outcome;
        }
    }
}

fn written(content: &[u8], trailers: &[(&'static str, &'static str)], framing: Framing, at_once: usize) -> String {
    let mut sending = Sending::new(HEAD.to_vec(), body(content, trailers), framing);
    let mut to = Sparing::new(at_once);
    send(&mut sending, &mut to).unwrap();
    String::from_utf8(to.taken).unwrap()
}

#[test]
fn what_is_written_is_the_same_however_little_is_taken_at_once() {
    for at_once in [1, 2, 3, 7, 10_000] {
        assert_eq!(written(b"", &[], Framing::None, at_once), "POST / HTTP/1.1\r\n\r\n");
        assert_eq!(written(b"hello", &[], Framing::Length(5), at_once), "POST / HTTP/1.1\r\n\r\nhello");
        assert_eq!(written(b"hello", &[], Framing::Unknown, at_once), "POST / HTTP/1.1\r\n\r\n5\r\nhello\r\n0\r\n\r\n");
        assert_eq!(
            written(b"hello", &[("a", "b"), ("c", "d")], Framing::Unknown, at_once),
            "POST / HTTP/1.1\r\n\r\n5\r\nhello\r\n0\r\na: b\r\nc: d\r\n\r\n"
        );
        assert_eq!(
            written(b"hello", &[("a", "b")], Framing::Length(5), at_once),
            "POST / HTTP/1.1\r\n\r\nhello",
            "no place for trailers"
        );
        assert_eq!(written(b"", &[("a", "b")], Framing::Unknown, at_once), "POST / HTTP/1.1\r\n\r\n0\r\na: b\r\n\r\n");
    }
}

/// RFC 9112 section 6.3: neither too little nor too much may look whole.
#[test]
fn a_body_of_another_length_than_announced_breaks_off() {
    for (length, most) in [(4, 0), (6, 5)] {
        let mut to = Sparing::new(10_000);
        let mut sending = Sending::new(HEAD.to_vec(), body(b"hello", &[]), Framing::Length(length));
        assert!(matches!(send(&mut sending, &mut to), Err(SendFault::Request(RequestFault::Broken))), "{length}");
        assert!(to.taken.len() <= HEAD.len() + most, "{}", to.taken.escape_ascii());
    }
}

#[test]
fn what_nobody_took_is_sent_whole_to_somebody_else() {
    for framing in [Framing::Length(5), Framing::Unknown] {
        let mut gone = Sparing { refuses: true, ..Sparing::new(1) };
        let mut sending = Sending::new(HEAD.to_vec(), body(b"hello", &[]), framing);
        assert!(matches!(send(&mut sending, &mut gone), Err(SendFault::Connection(_))));
        assert!(!sending.has_begun());
        let mut again = Sending::new(HEAD.to_vec(), sending.into_body().unwrap(), framing);
        let mut to = Sparing::new(3);
        send(&mut again, &mut to).unwrap();
        assert_eq!(String::from_utf8(to.taken).unwrap(), written(b"hello", &[], framing, 100));
        assert!(again.into_body().is_none(), "it has been sent");
    }
}

#[test]
fn what_cannot_be_put_together_again_is_not_sent_again() {
    let mut gone = Sparing { refuses: true, ..Sparing::new(1) };
    let mut sending = Sending::new(HEAD.to_vec(), body(b"", &[("a", "b")]), Framing::Unknown);
    assert!(send(&mut sending, &mut gone).is_err());
    assert!(sending.into_body().is_none(), "its trailers have been taken");
    let mut sending = Sending::new(HEAD.to_vec(), body(b"hello", &[]), Framing::Unknown);
    let mut halfway = Sparing::new(4);
    let mut context = Context::from_waker(Waker::noop());
    assert!(sending.poll(&mut halfway, &mut context).is_pending());
    assert!(sending.poll(&mut halfway, &mut context).is_pending());
    assert!(sending.into_body().is_none(), "something of it has been written");
}

proptest! {
    /// What is sent in chunks is what the reader of chunks reads.
    #[test]
    fn chunks_are_read_as_they_are_written(content in prop::collection::vec(any::<u8>(), 0..200), at_once in 1_usize..50) {
        let mut sending = Sending::new(Vec::new(), body(&content, &[]), Framing::Unknown);
        let mut to = Sparing::new(at_once);
        send(&mut sending, &mut to).unwrap();
        let mut received = bytes::BytesMut::from(&to.taken[..]);
        let (mut chunks, mut read) = (super::super::chunks::Chunks::default(), Vec::new());
        while let Some(super::super::chunks::Piece::Data(data)) = chunks.next(&mut received).unwrap() {
            read.extend_from_slice(&data);
        }
        prop_assert_eq!((read, received.len()), (content, 0));
    }
}
