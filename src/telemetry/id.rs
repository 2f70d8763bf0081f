//! Names of one request: the request id, and its place in a distributed trace (W3C Trace Context).

use std::cell::RefCell;
use std::fmt::{self, Display};
use std::ops::Range;
use std::time::SystemTime;

use uuid::fmt::Hyphenated;

/// What a request is called in every record, in `X-Request-Id` and in the `instance` of a refusal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RequestId {
    /// Made here: the text of a `UUIDv7` (RFC 9562 section 5.7).
    Made([u8; Hyphenated::LENGTH]),
    /// Kept from a trusted proxy.
    Given(Box<str>),
}

impl RequestId {
    /// No id at all.
    pub(super) const NONE: Self = Self::Made([b'0'; Hyphenated::LENGTH]);

    /// Longest id kept from a trusted proxy.
    pub const LONGEST: usize = 128;

    /// A new id.
    pub fn new(now: SystemTime) -> Self {
        let millis = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_millis();
        let millis = u64::try_from(millis).unwrap_or(u64::MAX);
        let id = uuid::Builder::from_unix_timestamp_millis(millis, &random()).into_uuid();
        let mut text = [0; Hyphenated::LENGTH];
        id.hyphenated().encode_lower(&mut text);
        Self::Made(text)
    }

    /// The id that a trusted proxy sent, if it is one: 1 to [`Self::LONGEST`] visible ASCII characters.
    pub fn given(text: &str) -> Option<Self> {
        let fits = !text.is_empty() && text.len() <= Self::LONGEST;
        (fits && text.bytes().all(|byte| byte.is_ascii_graphic())).then(|| Self::Given(text.into()))
    }

    /// Its text, which is visible ASCII.
    pub fn as_bytes(&self) -> &[u8] {
        match self {
            Self::Made(text) => text,
            Self::Given(text) => text.as_bytes(),
        }
    }
}

impl Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(std::str::from_utf8(self.as_bytes()).unwrap_or_default())
    }
}

/// The trace that a request belongs to, and the gateway's own span in it (W3C Trace Context, section 3.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Trace {
    /// `trace-id`.
    pub trace_id: [u8; 16],
    /// The caller's span, when the trace was continued.
    pub parent_id: Option<[u8; 8]>,
    /// The gateway's span of this request.
    pub span_id: [u8; 8],
    /// The `sampled` flag.
    pub sampled: bool,
}

impl Trace {
    /// No trace at all.
    pub(super) const NONE: Self = Self { trace_id: [0; 16], parent_id: None, span_id: [0; 8], sampled: false };

    /// A new trace.
    pub fn start() -> Self {
        Self { trace_id: nonzero(), parent_id: None, span_id: nonzero(), sampled: true }
    }

    /// Continues the trace of a `traceparent` field; a malformed one starts a new trace (section 3.2.2.3 and 4.3).
    pub fn continue_or_start(traceparent: Option<&[u8]>) -> Self {
        traceparent.and_then(Self::parse).unwrap_or_else(Self::start)
    }

    /// The span of the call to the upstream: the `parent-id` that the upstream gets. It follows from the request's, so
    /// that nobody has to carry it around.
    pub fn call_id(&self) -> [u8; 8] {
        let mut id = self.span_id;
        if let Some(last) = id.last_mut() {
            // Changes at least one bit, and never to zero altogether.
            *last ^= if *last == 1 { 2 } else { 1 };
        }
        id
    }

    /// The field value for the upstream: the same trace, the span of the call as parent, version 00.
    pub fn traceparent(&self) -> [u8; 55] {
        let mut out = *b"00-00000000000000000000000000000000-0000000000000000-00";
        let mut put = |places: Range<usize>, id: &[u8]| {
            let (pairs, _) = out.get_mut(places).unwrap_or_default().as_chunks_mut();
            for (pair, byte) in pairs.iter_mut().zip(id) {
                *pair = hex_pair(*byte);
            }
        };
        put(3..35, &self.trace_id);
        put(36..52, &self.call_id());
        if let Some(last) = out.last_mut() {
            *last = if self.sampled { b'1' } else { b'0' };
        }
        out
    }

    /// Section 3.2.2: `version "-" trace-id "-" parent-id "-" trace-flags`; later versions may have more behind.
    fn parse(field: &[u8]) -> Option<Self> {
        let version = unhex::<1>(field.get(..2)?)?;
        let exact = field.len() == 55 || (version != [0] && field.get(55) == Some(&b'-'));
        let dashes = [2, 35, 52].iter().all(|at| field.get(*at) == Some(&b'-'));
        if version == [0xff] || !exact || !dashes {
            return None;
        }
        let trace_id = unhex::<16>(field.get(3..35)?)?;
        let parent = unhex::<8>(field.get(36..52)?)?;
        let [flags] = unhex::<1>(field.get(53..55)?)?;
        let valid = trace_id != [0; 16] && parent != [0; 8];
        valid.then(|| Self { trace_id, parent_id: Some(parent), span_id: nonzero(), sampled: flags & 1 == 1 })
    }
}

/// A fresh span id.
pub(super) fn span_id() -> [u8; 8] {
    nonzero()
}

/// A byte as lower-case hexadecimal digits.
pub(super) fn hex_pair(byte: u8) -> [u8; 2] {
    let digit = |nibble: u8| if nibble < 10 { b'0' + nibble } else { b'a' + nibble - 10 };
    [digit(byte >> 4), digit(byte & 15)]
}

/// Lower-case hexadecimal digits as bytes; upper case is malformed (section 3.2.2).
fn unhex<const N: usize>(digits: &[u8]) -> Option<[u8; N]> {
    let nibble = |digit: &u8| match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        _ => None,
    };
    let mut out = [0; N];
    let (pairs, []) = digits.as_chunks::<2>() else { return None };
    if pairs.len() != N {
        return None;
    }
    for (byte, [high, low]) in out.iter_mut().zip(pairs) {
        *byte = nibble(high)? << 4 | nibble(low)?;
    }
    Some(out)
}

/// Random bytes that are not all zero, as trace and span ids must be.
fn nonzero<const N: usize>() -> [u8; N] {
    let mut id = random::<N>();
    if id.iter().all(|byte| *byte == 0)
        && let Some(first) = id.first_mut()
    {
        *first = 1;
    }
    id
}

/// Random bytes from the thread's store, which is filled from the system's generator 4 KiB at a time: a request needs 34
/// bytes, and one call of the generator costs more than everything else that makes an id.
fn random<const N: usize>() -> [u8; N] {
    thread_local! {
        static STORE: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
    }
    STORE.with_borrow_mut(|store| {
        if store.len() < N {
            store.resize(4096, 0);
            if aws_lc_rs::rand::fill(store).is_err() {
                store.clear();
            }
        }
        let Some(taken) = store.last_chunk().copied() else { return [0; N] };
        store.truncate(store.len() - N);
        taken
    })
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub(in crate::telemetry) fn hex(bytes: &[u8]) -> String {
        String::from_utf8(bytes.iter().flat_map(|byte| hex_pair(*byte)).collect()).unwrap()
    }

    const PARENT: &[u8] = b"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    #[test]
    fn a_trace_is_continued_with_a_span_of_our_own() {
        let trace = Trace::continue_or_start(Some(PARENT));
        assert_eq!(hex(&trace.trace_id), "4bf92f3577b34da6a3ce929d0e0e4736");
        assert_eq!(trace.parent_id, Some([0x00, 0xf0, 0x67, 0xaa, 0x0b, 0xa9, 0x02, 0xb7]));
        assert_ne!(Some(trace.span_id), trace.parent_id);
        assert!(trace.sampled);
        let sent = String::from_utf8(trace.traceparent().to_vec()).unwrap();
        assert_eq!(sent, format!("00-4bf92f3577b34da6a3ce929d0e0e4736-{}-01", hex(&trace.call_id())));
    }

    #[test]
    fn a_call_has_a_valid_id_of_its_own() {
        for last in 0..=u8::MAX {
            let trace = Trace { span_id: [0, 0, 0, 0, 0, 0, 0, last], ..Trace::start() };
            assert_ne!(trace.call_id(), trace.span_id);
            assert_ne!(trace.call_id(), [0; 8]);
        }
    }

    #[test]
    fn the_sampled_flag_is_kept_and_the_others_are_not() {
        let unsampled = Trace::continue_or_start(Some(b"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-fe"));
        assert!(!unsampled.sampled);
        assert!(unsampled.traceparent().ends_with(b"-00"));
    }

    #[test]
    fn a_malformed_traceparent_starts_a_new_trace() {
        let wrong: [&[u8]; 9] = [
            b"",
            b"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7",
            b"00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
            b"00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            b"00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
            b"ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            b"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-x",
            b"00-4bf92f3577b34da6a3ce929d0e0e4736x00f067aa0ba902b7-01",
            b"00-4bf92f3577b34da6a3ce929d0e0e473g-00f067aa0ba902b7-01",
        ];
        for field in wrong {
            assert_eq!(Trace::continue_or_start(Some(field)).parent_id, None, "{}", field.escape_ascii());
        }
        let later = b"01-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-more";
        assert!(Trace::continue_or_start(Some(later)).parent_id.is_some());
    }

    #[test]
    fn request_ids_are_time_ordered_and_distinct() {
        let now = SystemTime::now();
        let ids: std::collections::HashSet<_> = (0..1000).map(|_| RequestId::new(now).to_string()).collect();
        assert_eq!(ids.len(), 1000);
        let id = uuid::Uuid::parse_str(&RequestId::new(now).to_string()).unwrap();
        assert_eq!(id.get_version_num(), 7);
    }

    #[test]
    fn only_short_visible_ids_are_kept_from_a_proxy() {
        assert_eq!(RequestId::given("abc-1").unwrap().to_string(), "abc-1");
        for wrong in ["", "a b", "a\nb", "ä", &"x".repeat(129)] {
            assert_eq!(RequestId::given(wrong), None, "{wrong:?}");
        }
    }
}
