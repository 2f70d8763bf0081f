//! Looks at the raw bytes of an HTTP/1 connection for what hyper normalises before our code sees it: bare line feeds,
//! a fragment in the target, a length beside a transfer coding, repeated or oddly written lengths, chunk extensions
//! (building-blocks.md section 5).
//!
//! It only ever looks. Framing is hyper's business alone; when the two should ever disagree on where a message ends,
//! the worst that happens is a connection closed without need, or an oddity that is normalised and not refused.

/// What the next byte belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    RequestLine,
    Fields,
    /// A body of known length: bytes left.
    Body(u64),
    ChunkSize,
    /// Chunk data and the line end behind it: bytes left.
    Chunk(u64),
    Trailers,
    /// The place is lost; nothing more is said about this connection.
    Lost,
}

/// The longest line of which more than its length matters.
const KEPT: usize = 64;

/// See the module's description.
#[derive(Debug)]
pub(super) struct Observer {
    part: Part,
    message: u64,
    /// The beginning of a line of which the end has not arrived.
    line: Vec<u8>,
    /// The byte before the next one.
    last: u8,
    /// Bytes of the current line so far.
    seen: usize,
    /// A `#` was in the current line.
    hash: bool,
    lengths: u32,
    length: u64,
    codings: u32,
}

impl Observer {
    /// At the beginning of the first message.
    pub(super) fn new() -> Self {
        Self {
            part: Part::RequestLine,
            message: 1,
            line: Vec::new(),
            last: 0,
            seen: 0,
            hash: false,
            lengths: 0,
            length: 0,
            codings: 0,
        }
    }

    /// Whether no line end has arrived of the message behind the first `finished` ones.
    pub(super) fn in_first_line(&self, finished: u64) -> bool {
        self.part == Part::RequestLine && self.message == finished + 1
    }

    /// Takes the bytes that arrived; the number of the first message in them that is irregular, counted from 1.
    pub(super) fn look(&mut self, mut bytes: &[u8]) -> Option<u64> {
        let mut found = None;
        while !bytes.is_empty() && self.part != Part::Lost {
            let message = self.message;
            let (regular, rest) = self.step(bytes);
            if !regular {
                found = found.or(Some(message));
            }
            bytes = rest;
        }
        found
    }

    /// One body part or one line; whether it was regular, and what is left.
    fn step<'b>(&mut self, bytes: &'b [u8]) -> (bool, &'b [u8]) {
        match self.part {
            Part::Body(left) | Part::Chunk(left) => {
                let taken = usize::try_from(left).unwrap_or(usize::MAX).min(bytes.len());
                let left = left - taken as u64;
                self.part = match (self.part, left) {
                    (Part::Body(_), 0) => self.next_message(),
                    (Part::Body(_), left) => Part::Body(left),
                    (_, 0) => Part::ChunkSize,
                    (_, left) => Part::Chunk(left),
                };
                (true, bytes.get(taken..).unwrap_or_default())
            }
            _ => {
                let end = memchr::memchr(b'\n', bytes);
                self.keep(bytes.get(..end.unwrap_or(bytes.len())).unwrap_or_default());
                let regular = end.is_none() || self.line_ended();
                (regular, end.and_then(|end| bytes.get(end + 1..)).unwrap_or_default())
            }
        }
    }

    fn keep(&mut self, bytes: &[u8]) {
        if let Some(last) = bytes.last() {
            self.last = *last;
        }
        if self.part == Part::RequestLine {
            self.hash |= memchr::memchr(b'#', bytes).is_some();
        }
        let room = KEPT.saturating_sub(self.line.len()).min(bytes.len());
        self.line.extend_from_slice(bytes.get(..room).unwrap_or_default());
        self.seen += bytes.len();
    }

    /// A line feed has arrived: what the line was, and whether it was regular.
    fn line_ended(&mut self) -> bool {
        let carriage_return = self.seen > 0 && self.last == b'\r';
        let length = self.seen - usize::from(carriage_return);
        let mut line = std::mem::take(&mut self.line);
        line.truncate(length);
        let mut regular = carriage_return;
        match self.part {
            // Empty lines before a request are skipped (RFC 9112 section 2.2).
            Part::RequestLine if length == 0 => {}
            Part::RequestLine => {
                regular &= !self.hash;
                self.part = Part::Fields;
            }
            Part::Fields if length == 0 => {
                regular &= self.lengths <= 1 && self.codings <= 1 && self.lengths + self.codings <= 1;
                self.part = self.body();
            }
            Part::Fields => regular &= self.field(&line, length),
            Part::ChunkSize => regular &= self.chunk(&line),
            Part::Trailers if length == 0 => self.part = self.next_message(),
            Part::Trailers | Part::Body(_) | Part::Chunk(_) | Part::Lost => {}
        }
        self.seen = 0;
        self.hash = false;
        line.clear();
        self.line = line;
        regular
    }

    /// Notes what frames the body; `false` for a length that is not written as a plain number.
    fn field(&mut self, line: &[u8], length: usize) -> bool {
        if let Some(value) = value_of(line, b"content-length:") {
            self.lengths += 1;
            let digits = value.trim_ascii();
            let plain = length <= KEPT
                && !digits.is_empty()
                && digits.iter().all(u8::is_ascii_digit)
                && (digits.len() == 1 || digits.first() != Some(&b'0'));
            match str::from_utf8(digits).ok().and_then(|digits| digits.parse().ok()) {
                Some(number) => self.length = number,
                None => self.part = Part::Lost,
            }
            return plain;
        }
        if let Some(value) = value_of(line, b"transfer-encoding:") {
            self.codings += 1;
            return value.trim_ascii() == b"chunked";
        }
        true
    }

    fn body(&mut self) -> Part {
        if self.codings > 0 {
            Part::ChunkSize
        } else if self.length > 0 {
            Part::Body(self.length)
        } else {
            self.next_message()
        }
    }

    /// A chunk-size line: hexadecimal digits and nothing else (RFC 9112 section 7.1).
    fn chunk(&mut self, line: &[u8]) -> bool {
        let digits = line.iter().take_while(|byte| byte.is_ascii_hexdigit()).count();
        let size = line
            .get(..digits)
            .and_then(|digits| str::from_utf8(digits).ok())
            .and_then(|digits| u64::from_str_radix(digits, 16).ok());
        self.part = match size {
            Some(0) => Part::Trailers,
            Some(size) => size.checked_add(2).map_or(Part::Lost, Part::Chunk),
            None => Part::Lost,
        };
        digits == line.len() && size.is_some()
    }

    fn next_message(&mut self) -> Part {
        self.message += 1;
        self.lengths = 0;
        self.length = 0;
        self.codings = 0;
        Part::RequestLine
    }
}

fn value_of<'l>(line: &'l [u8], name: &[u8]) -> Option<&'l [u8]> {
    let (start, value) = line.split_at_checked(name.len())?;
    start.eq_ignore_ascii_case(name).then_some(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is found does not depend on where the bytes are cut.
    fn found(bytes: &[u8]) -> Option<u64> {
        let whole = Observer::new().look(bytes);
        let mut observer = Observer::new();
        let mut singly = None;
        for byte in bytes {
            singly = singly.or(observer.look(std::slice::from_ref(byte)));
        }
        assert_eq!(whole, singly);
        whole
    }

    #[test]
    fn ordinary_requests_are_regular() {
        assert_eq!(found(b"GET / HTTP/1.1\r\nHost: a\r\n\r\nGET /b HTTP/1.1\r\nHost: a\r\n\r\n"), None);
        assert_eq!(
            found(b"\r\nPOST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\na\nb#cGET / HTTP/1.1\r\n\r\n"),
            None
        );
        let chunked = b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n5\r\na\nb;c\r\n0\r\nX: y\r\n\r\nGET / HTTP/1.1\r\n\r\n";
        assert_eq!(found(chunked), None);
    }

    #[test]
    fn what_hyper_normalises_is_seen_in_the_message_that_has_it() {
        let good = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
        for bad in [
            "GET / HTTP/1.1\nHost: a\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a\n\r\n",
            "GET / HTTP/1.1\r\nHost: a\r\n\n",
            "GET /a#b HTTP/1.1\r\nHost: a\r\n\r\n",
            "POST / HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\nx",
            "POST / HTTP/1.1\r\nContent-Length: 01\r\n\r\nx",
            "POST / HTTP/1.1\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            "POST / HTTP/1.1\r\nTransfer-Encoding: Chunked\r\n\r\n0\r\n\r\n",
            "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n1;a=b\r\nx\r\n0\r\n\r\n",
            "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n1 \r\nx\r\n0\r\n\r\n",
        ] {
            assert_eq!(found(bad.as_bytes()), Some(1), "{bad:?}");
            assert_eq!(found(format!("{good}{good}{bad}").as_bytes()), Some(3), "{bad:?}");
        }
    }

    #[test]
    fn a_long_line_costs_no_memory() {
        let mut observer = Observer::new();
        for _ in 0..1000 {
            assert_eq!(observer.look(&[b'a'; 1000]), None);
        }
        assert!(observer.in_first_line(0));
        assert!(!observer.in_first_line(1));
        assert!(observer.line.capacity() <= 2 * KEPT);
    }
}
