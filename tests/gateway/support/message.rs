//! A reader of HTTP/1.1 messages that shares no code with the gateway, and is strict: what it does not expect is an
//! error, never a guess.

use std::io::{self, Read};

/// A message as it came over the wire.
#[derive(Debug, Clone, Default)]
pub(crate) struct Message {
    /// Request line or status line.
    pub(crate) start: String,
    /// Fields in order, names as written.
    pub(crate) fields: Vec<(String, String)>,
    /// The body, chunks joined.
    pub(crate) body: Vec<u8>,
    /// Trailer fields in order.
    pub(crate) trailers: Vec<(String, String)>,
}

impl Message {
    /// Every value of a field, without regard to the case of its name.
    pub(crate) fn all(&self, name: &str) -> Vec<&str> {
        let named = self.fields.iter().filter(|(found, _)| found.eq_ignore_ascii_case(name));
        named.map(|(_, value)| value.as_str()).collect()
    }

    /// The only value of a field.
    pub(crate) fn field(&self, name: &str) -> Option<&str> {
        let all = self.all(name);
        assert!(all.len() < 2, "several `{name}`: {all:?}");
        all.first().copied()
    }

    /// The status of a response.
    pub(crate) fn status(&self) -> u16 {
        self.start.split(' ').nth(1).and_then(|code| code.parse().ok()).unwrap_or_else(|| panic!("{:?}", self.start))
    }

    /// Method, target and version of a request.
    pub(crate) fn request_line(&self) -> (&str, &str, &str) {
        let mut parts = self.start.split(' ');
        match (parts.next(), parts.next(), parts.next(), parts.next()) {
            (Some(method), Some(target), Some(version), None) => (method, target, version),
            _ => panic!("no request line: {:?}", self.start),
        }
    }

    /// The target of a request.
    pub(crate) fn target(&self) -> &str {
        self.request_line().1
    }

    /// The body as text.
    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).expect("text")
    }

    /// The body as JSON.
    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {:?}", self.text()))
    }
}

/// Reads messages off a stream and keeps what came beyond.
#[derive(Debug)]
pub(crate) struct Reader<R> {
    pub(crate) inner: R,
    /// Bytes read and not used.
    pub(crate) buffer: Vec<u8>,
}

/// How a body ends when nothing in the head says so.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Bodies {
    /// Requests: there is none.
    None,
    /// Responses: with the connection.
    UntilClose,
    /// The response to a `HEAD`: there is none, whatever the head says.
    Never,
}

impl<R: Read> Reader<R> {
    pub(crate) fn new(inner: R) -> Self {
        Self { inner, buffer: Vec::new() }
    }

    /// The next message; `Ok(None)` when the stream ends before one begins.
    pub(crate) fn message(&mut self, bodies: Bodies) -> io::Result<Option<Message>> {
        if self.buffer.is_empty() && !self.fill()? {
            return Ok(None);
        }
        let mut message = Message { start: self.line()?, ..Message::default() };
        message.fields = self.fields()?;
        let informational = message.start.starts_with("HTTP/1.1 1") || message.start.contains(" 204 ");
        if bodies == Bodies::Never || informational || message.start.contains(" 304 ") {
            return Ok(Some(message));
        }
        let lengths: Vec<String> = message.all("content-length").into_iter().map(str::to_owned).collect();
        let codings: Vec<String> = message.all("transfer-encoding").into_iter().map(str::to_owned).collect();
        match (lengths.as_slice(), codings.as_slice()) {
            ([], []) if bodies == Bodies::UntilClose => while self.fill()? {},
            ([], []) => return Ok(Some(message)),
            ([length], []) => {
                let plain = !length.is_empty() && length.bytes().all(|byte| byte.is_ascii_digit());
                if !plain || (length.len() > 1 && length.starts_with('0')) {
                    return Err(odd(format!("odd length {length:?}")));
                }
                message.body = self.exactly(length.parse().map_err(|_| odd("length"))?)?;
                return Ok(Some(message));
            }
            ([], [coding]) if coding == "chunked" => {
                loop {
                    let line = self.line()?;
                    let size = usize::from_str_radix(&line, 16).map_err(|_| odd(format!("chunk size {line:?}")))?;
                    if size == 0 {
                        break;
                    }
                    let mut chunk = self.exactly(size)?;
                    message.body.append(&mut chunk);
                    if !self.line()?.is_empty() {
                        return Err(odd("no line end behind a chunk"));
                    }
                }
                message.trailers = self.fields()?;
                return Ok(Some(message));
            }
            _ => return Err(odd(format!("odd framing: {lengths:?} {codings:?}"))),
        }
        message.body = std::mem::take(&mut self.buffer);
        Ok(Some(message))
    }

    fn fields(&mut self) -> io::Result<Vec<(String, String)>> {
        let mut fields = Vec::new();
        loop {
            let line = self.line()?;
            if line.is_empty() {
                return Ok(fields);
            }
            let (name, value) = line.split_once(':').ok_or_else(|| odd(format!("no colon: {line:?}")))?;
            if name.is_empty() || name.contains([' ', '\t']) {
                return Err(odd(format!("odd field name: {line:?}")));
            }
            fields.push((name.to_owned(), value.trim_matches([' ', '\t']).to_owned()));
        }
    }

    fn line(&mut self) -> io::Result<String> {
        loop {
            if let Some(end) = self.buffer.iter().position(|byte| *byte == b'\n') {
                let mut line: Vec<u8> = self.buffer.drain(..=end).collect();
                line.pop();
                if line.pop() != Some(b'\r') || line.contains(&b'\r') {
                    return Err(odd(format!("odd line end: {:?}", String::from_utf8_lossy(&line))));
                }
                return Ok(line.into_iter().map(char::from).collect());
            }
            if !self.fill()? {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
    }

    fn exactly(&mut self, length: usize) -> io::Result<Vec<u8>> {
        while self.buffer.len() < length {
            if !self.fill()? {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
        Ok(self.buffer.drain(..length).collect())
    }

    /// Reads more; `false` at the end.
    pub(crate) fn fill(&mut self) -> io::Result<bool> {
        let mut piece = [0; 16 * 1024];
        let length = self.inner.read(&mut piece)?;
        self.buffer.extend_from_slice(&piece[..length]);
        Ok(length > 0)
    }
}

fn odd(text: impl Into<String>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, text.into())
}
