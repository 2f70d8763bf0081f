//! HTTP/2 in frames that the test writes by hand, so that nothing stands between it and what is malformed.

use std::collections::BTreeMap;

use super::client::Client;

/// Frame types (RFC 9113 section 6).
const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const GOAWAY: u8 = 7;
const WINDOW_UPDATE: u8 = 8;

const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;

/// What became of a stream.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Outcome {
    /// `:status`; `None` if the stream was reset before there was one.
    pub(crate) status: Option<u16>,
    pub(crate) body: Vec<u8>,
    /// The code of a reset.
    pub(crate) reset: Option<u32>,
    pub(crate) ended: bool,
}

/// A connection.
pub(crate) struct Http2 {
    client: Client,
    next: u32,
    streams: BTreeMap<u32, Outcome>,
    /// The last stream of a GOAWAY.
    pub(crate) goaway: Option<u32>,
    pub(crate) closed: bool,
    /// Windows of streams are never opened again.
    pub(crate) take_nothing: bool,
}

impl Http2 {
    /// Sends the preface and takes no interest in the settings.
    pub(crate) fn over(mut client: Client) -> Self {
        client.send(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
        let mut this =
            Self { client, next: 1, streams: BTreeMap::new(), goaway: None, closed: false, take_nothing: false };
        // No table of fields, so that every block can be read on its own (RFC 7541 section 4.2).
        this.frame(SETTINGS, 0, 0, &[0, 1, 0, 0, 0, 0]);
        // What streams and the connection may send is not what these tests are about.
        this.frame(WINDOW_UPDATE, 0, 0, &0x3fff_0000_u32.to_be_bytes());
        this
    }

    /// Writes any frame.
    pub(crate) fn frame(&mut self, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
        let mut frame = u32::try_from(payload.len()).expect("short").to_be_bytes()[1..].to_vec();
        frame.extend_from_slice(&[kind, flags]);
        frame.extend_from_slice(&stream.to_be_bytes());
        frame.extend_from_slice(payload);
        // A gateway that has had enough may be gone.
        let _ = self.client.try_send(frame);
    }

    /// Begins a stream with exactly these fields.
    pub(crate) fn begin(&mut self, fields: &[(&str, &[u8])]) -> u32 {
        self.headers(fields, 0)
    }

    /// Sends a whole request without a body.
    pub(crate) fn request(&mut self, fields: &[(&str, &[u8])]) -> u32 {
        self.headers(fields, END_STREAM)
    }

    fn headers(&mut self, fields: &[(&str, &[u8])], flags: u8) -> u32 {
        let stream = self.next;
        self.next += 2;
        self.frame(HEADERS, END_HEADERS | flags, stream, &block(fields));
        stream
    }

    /// Sends a piece of a body.
    pub(crate) fn data(&mut self, stream: u32, bytes: &[u8], last: bool) {
        self.frame(DATA, if last { END_STREAM } else { 0 }, stream, bytes);
    }

    /// Sends trailers.
    pub(crate) fn trailers(&mut self, stream: u32, fields: &[(&str, &[u8])]) {
        self.frame(HEADERS, END_HEADERS | END_STREAM, stream, &block(fields));
    }

    /// Resets a stream with `CANCEL`.
    pub(crate) fn cancel(&mut self, stream: u32) {
        self.frame(RST_STREAM, 0, stream, &8_u32.to_be_bytes());
    }

    /// Waits for the end of a stream.
    pub(crate) fn outcome(&mut self, stream: u32) -> Outcome {
        loop {
            let found = self.streams.entry(stream).or_default();
            if found.ended || self.closed {
                return found.clone();
            }
            self.step();
        }
    }

    /// One request without a body, and its outcome.
    pub(crate) fn ask(&mut self, fields: &[(&str, &[u8])]) -> Outcome {
        let stream = self.request(fields);
        self.outcome(stream)
    }

    /// Reads one frame.
    pub(crate) fn step(&mut self) {
        let Some((kind, flags, stream, payload)) = self.client.frame() else {
            self.closed = true;
            return;
        };
        match kind {
            HEADERS => {
                let found = self.streams.entry(stream).or_default();
                if found.status.is_none() {
                    found.status = Some(status(&payload));
                }
                found.ended |= flags & END_STREAM != 0;
            }
            DATA => {
                let length = u32::try_from(payload.len()).expect("short");
                if length > 0 && !self.take_nothing {
                    self.frame(WINDOW_UPDATE, 0, stream, &length.to_be_bytes());
                }
                let found = self.streams.entry(stream).or_default();
                found.body.extend_from_slice(&payload);
                found.ended |= flags & END_STREAM != 0;
            }
            RST_STREAM => {
                let found = self.streams.entry(stream).or_default();
                found.reset = Some(u32::from_be_bytes(payload[..4].try_into().expect("four bytes")));
                found.ended = true;
            }
            SETTINGS if flags & 1 == 0 => self.frame(SETTINGS, 1, 0, &[]),
            PING if flags & 1 == 0 => self.frame(PING, 1, 0, &payload),
            GOAWAY => {
                self.goaway = Some(u32::from_be_bytes(payload[..4].try_into().expect("four bytes")));
            }
            _ => {}
        }
    }
}

/// Literal fields without indexing and without Huffman coding (RFC 7541 section 6.2.2).
fn block(fields: &[(&str, &[u8])]) -> Vec<u8> {
    let mut out = Vec::new();
    for (name, value) in fields {
        out.push(0);
        text(&mut out, name.as_bytes());
        text(&mut out, value);
    }
    out
}

fn text(out: &mut Vec<u8>, bytes: &[u8]) {
    if bytes.len() < 127 {
        out.push(u8::try_from(bytes.len()).expect("short"));
    } else {
        out.push(127);
        let mut rest = bytes.len() - 127;
        while rest >= 128 {
            out.push(u8::try_from(rest % 128).expect("a digit") | 128);
            rest /= 128;
        }
        out.push(u8::try_from(rest).expect("a digit"));
    }
    out.extend_from_slice(bytes);
}

/// The `:status` that a block begins with.
fn status(block: &[u8]) -> u16 {
    let mut block = block;
    // Size updates of the table may come first (RFC 7541 section 6.3).
    while block[0] & 0xe0 == 0x20 {
        block = &block[if block[0] & 0x1f == 0x1f { 3 } else { 1 }..];
    }
    if block[0] & 0x80 != 0 {
        return match block[0] & 0x7f {
            8 => 200,
            9 => 204,
            10 => 206,
            11 => 304,
            12 => 400,
            13 => 404,
            14 => 500,
            other => panic!("index {other} is not known here"),
        };
    }
    let length = usize::from(block[1] & 0x7f);
    let value = &block[2..2 + length];
    let digits: Vec<u8> = if block[1] & 0x80 == 0 { value.to_vec() } else { unhuffman(value) };
    std::str::from_utf8(&digits).expect("digits").parse().expect("a status")
}

/// Decodes digits, which is all that a status has (RFC 7541 appendix B).
fn unhuffman(bytes: &[u8]) -> Vec<u8> {
    let bits: Vec<u8> = bytes.iter().flat_map(|byte| (0..8).rev().map(move |at| byte >> at & 1)).collect();
    let number = |bits: &[u8]| bits.iter().fold(0_u8, |sum, bit| sum << 1 | bit);
    let mut out = Vec::new();
    let mut at = 0;
    while at + 5 <= bits.len() && bits[at..].contains(&0) {
        let five = number(&bits[at..at + 5]);
        if five < 3 {
            out.push(b'0' + five);
            at += 5;
        } else {
            out.push(b'3' + number(&bits[at..at + 6]) - 0b01_1001);
            at += 6;
        }
    }
    out
}

impl Http2 {
    /// A request whose block takes several frames.
    pub(crate) fn ask_in_pieces(&mut self, fields: &[(&str, &[u8])]) -> Outcome {
        const CONTINUATION: u8 = 9;
        let block = block(fields);
        let stream = self.next;
        self.next += 2;
        let pieces: Vec<&[u8]> = block.chunks(16_000).collect();
        for (number, piece) in pieces.iter().enumerate() {
            let (kind, first) = if number == 0 { (HEADERS, END_STREAM) } else { (CONTINUATION, 0) };
            let last = if number + 1 == pieces.len() { END_HEADERS } else { 0 };
            self.frame(kind, first | last, stream, piece);
        }
        self.outcome(stream)
    }
}

impl Http2 {
    /// What became of a stream so far.
    pub(crate) fn so_far(&self, stream: u32) -> Outcome {
        self.streams.get(&stream).cloned().unwrap_or_default()
    }
}
