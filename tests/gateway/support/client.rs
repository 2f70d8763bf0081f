//! A client that sends exactly the bytes it is given.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, HandshakeKind, StreamOwned};

use super::message::{Bodies, Message, Reader};

/// How long a client waits for anything.
const PATIENCE: Duration = Duration::from_secs(20);

/// A connection to the gateway.
pub(crate) struct Client {
    reader: Reader<Box<dyn Stream>>,
}

/// Any byte stream.
pub(crate) trait Stream: Read + Write + Send {}
impl<T: Read + Write + Send> Stream for T {}

fn connect(address: SocketAddr) -> io::Result<TcpStream> {
    let stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

impl Client {
    /// Without TLS.
    pub(crate) fn plain(address: SocketAddr) -> Self {
        let stream = connect(address).expect("a connection");
        Self { reader: Reader::new(Box::new(stream)) }
    }

    /// With TLS; the handshake is complete when this returns.
    pub(crate) fn tls(address: SocketAddr, config: Arc<ClientConfig>, name: &str) -> io::Result<Self> {
        Self::tls_as(address, config, name).map(|(client, _)| client)
    }

    /// The same behind bytes that stand before the handshake.
    pub(crate) fn tls_behind(
        address: SocketAddr,
        config: Arc<ClientConfig>,
        name: &str,
        before: &[u8],
    ) -> io::Result<Self> {
        let mut stream = connect(address)?;
        stream.write_all(before)?;
        Self::handshake(stream, config, name).map(|(client, _)| client)
    }

    /// The same, with how the session came about.
    pub(crate) fn tls_as(
        address: SocketAddr,
        config: Arc<ClientConfig>,
        name: &str,
    ) -> io::Result<(Self, HandshakeKind)> {
        Self::handshake(connect(address)?, config, name)
    }

    fn handshake(mut stream: TcpStream, config: Arc<ClientConfig>, name: &str) -> io::Result<(Self, HandshakeKind)> {
        let name = ServerName::try_from(name.to_owned()).map_err(io::Error::other)?;
        let mut session = ClientConnection::new(config, name).map_err(io::Error::other)?;
        while session.is_handshaking() {
            session.complete_io(&mut stream)?;
        }
        let kind = session.handshake_kind().ok_or(io::ErrorKind::UnexpectedEof)?;
        Ok((Self { reader: Reader::new(Box::new(StreamOwned::new(session, stream))) }, kind))
    }

    /// Sends bytes.
    pub(crate) fn send(&mut self, bytes: impl AsRef<[u8]>) -> &mut Self {
        self.try_send(bytes).expect("the gateway reads");
        self
    }

    /// Sends bytes to a gateway that may have closed.
    pub(crate) fn try_send(&mut self, bytes: impl AsRef<[u8]>) -> io::Result<()> {
        self.reader.inner.write_all(bytes.as_ref())?;
        self.reader.inner.flush()
    }

    /// The next response.
    pub(crate) fn receive(&mut self) -> Message {
        self.try_receive().expect("a response").expect("a response before the end")
    }

    /// The next response, if the connection brings one.
    pub(crate) fn try_receive(&mut self) -> io::Result<Option<Message>> {
        self.reader.message(Bodies::UntilClose)
    }

    /// The next response, which answers a `HEAD`.
    pub(crate) fn receive_head(&mut self) -> Message {
        self.reader.message(Bodies::Never).expect("a response").expect("a response before the end")
    }

    /// Reads until the gateway closes; what came must be nothing.
    pub(crate) fn assert_closed(&mut self) {
        let mut rest = std::mem::take(&mut self.reader.buffer);
        loop {
            match self.reader.fill() {
                Ok(true) => {}
                Ok(false) => break,
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => break,
                Err(error) if error.kind() == io::ErrorKind::ConnectionReset => break,
                Err(error) => panic!("not closed: {error}"),
            }
        }
        rest.append(&mut self.reader.buffer);
        assert!(rest.is_empty(), "something follows: {:?}", String::from_utf8_lossy(&rest));
    }

    /// Whatever comes until the gateway closes, as raw bytes.
    pub(crate) fn rest(&mut self) -> Vec<u8> {
        while self.reader.fill().unwrap_or(false) {}
        std::mem::take(&mut self.reader.buffer)
    }

    /// One request, one response.
    pub(crate) fn ask(&mut self, request: impl AsRef<[u8]>) -> Message {
        self.send(request).receive()
    }
}

impl Client {
    /// The next HTTP/2 frame: type, flags, stream, payload. `None` at the end.
    pub(crate) fn frame(&mut self) -> Option<(u8, u8, u32, Vec<u8>)> {
        let head = self.bytes(9)?;
        let length = usize::from(head[0]) << 16 | usize::from(head[1]) << 8 | usize::from(head[2]);
        let stream = u32::from_be_bytes(head[5..9].try_into().ok()?);
        Some((head[3], head[4], stream, self.bytes(length)?))
    }

    /// Exactly so many bytes; `None` at the end.
    pub(crate) fn bytes(&mut self, length: usize) -> Option<Vec<u8>> {
        while self.reader.buffer.len() < length {
            match self.reader.fill() {
                Ok(true) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => panic!("the gateway says nothing"),
                Ok(false) | Err(_) => return None,
            }
        }
        Some(self.reader.buffer.drain(..length).collect())
    }
}
