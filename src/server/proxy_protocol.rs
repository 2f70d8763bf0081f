//! The PROXY protocol, versions 1 and 2: what a load balancer says of its client before the client's first byte
//! (<https://www.haproxy.org/download/3.2/doc/proxy-protocol.txt>).
//!
//! [`parse`] is a pure function over the bytes that have arrived so far. It says how many more belong to the header for
//! certain, so that whoever reads takes none that belong to TLS or HTTP.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt as _};

/// The longest header of version 1, its line end included (section 2.1).
const LONGEST_LINE: usize = 107;
/// The longest header of version 2 that is taken. Addresses need at most 232 bytes; the rest is for TLVs.
pub const LONGEST: usize = 4096;
/// What version 2 begins with (section 2.2).
const SIGNATURE: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";
/// What version 1 begins with.
const WORD: &[u8; 6] = b"PROXY ";
/// The part of version 2 that is always there.
const FIXED: usize = 16;
/// The shortest header of all, `PROXY UNKNOWN` with its line end.
const SHORTEST: usize = 15;

/// What the bytes so far are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Progress {
    /// The beginning of a header; at least so many bytes of it are still to come.
    Part(usize),
    /// A header of so many bytes.
    Whole(usize, Announced),
}

/// Who is at the other end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Announced {
    /// This client. IPv4-mapped addresses are IPv4.
    Client(SocketAddr),
    /// Whoever the connection comes from: the proxy speaks for itself, or knows no address.
    Proxy,
}

/// Bytes that are no header. The connection has no meaning then: whoever sent them is not the proxy that was announced.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a header of the PROXY protocol")]
pub struct Malformed;

/// Reads a header from the front of `bytes`; what follows it is not looked at.
///
/// # Errors
/// The bytes are no beginning of a header, or of one that is too long.
pub fn parse(bytes: &[u8]) -> Result<Progress, Malformed> {
    if bytes.is_empty() {
        return Ok(Progress::Part(SHORTEST));
    }
    if begins(bytes, SIGNATURE) {
        return version2(bytes);
    }
    if begins(bytes, WORD) { version1(bytes) } else { Err(Malformed) }
}

/// Whether the bytes begin with the mark, as far as there are any.
fn begins(bytes: &[u8], mark: &[u8]) -> bool {
    bytes.iter().zip(mark).all(|(byte, mark)| byte == mark)
}

fn version1(bytes: &[u8]) -> Result<Progress, Malformed> {
    let line = bytes.get(..LONGEST_LINE).unwrap_or(bytes);
    let Some(end) = memchr::memchr(b'\r', line) else {
        let least = if line.len() < SHORTEST { SHORTEST - line.len() } else { 2 };
        return if line.len() + 2 > LONGEST_LINE { Err(Malformed) } else { Ok(Progress::Part(least)) };
    };
    let announced = announced_by_line(line.get(..end).ok_or(Malformed)?)?;
    match line.get(end + 1) {
        Some(b'\n') => Ok(Progress::Whole(end + 2, announced)),
        None if line.len() < LONGEST_LINE => Ok(Progress::Part(1)),
        _ => Err(Malformed),
    }
}

/// A line without its end (section 2.1): exactly one space between its words, numbers as they are usually written.
fn announced_by_line(line: &[u8]) -> Result<Announced, Malformed> {
    let rest = line.strip_prefix(WORD).ok_or(Malformed)?;
    if let Some(after) = rest.strip_prefix(b"UNKNOWN") {
        // What stands behind is to be ignored, but it is a word of its own, and the line has one end.
        let ignored = after.first().is_none_or(|byte| *byte == b' ') && !after.contains(&b'\n');
        return if ignored { Ok(Announced::Proxy) } else { Err(Malformed) };
    }
    let mut words = std::str::from_utf8(rest).map_err(|_| Malformed)?.split(' ');
    let mut next = || words.next().ok_or(Malformed);
    let (family, source, destination) = (next()?, next()?, next()?);
    let (source_port, destination_port) = (next()?, next()?);
    if words.next().is_some() {
        return Err(Malformed);
    }
    let address = |text: &str| -> Result<IpAddr, Malformed> {
        match family {
            "TCP4" => text.parse().map(IpAddr::V4).map_err(|_| Malformed),
            "TCP6" => text.parse().map(IpAddr::V6).map_err(|_| Malformed),
            _ => Err(Malformed),
        }
    };
    address(destination)?;
    port(destination_port)?;
    Ok(client(address(source)?, port(source_port)?))
}

/// A decimal number without signs and leading zeros.
fn port(text: &str) -> Result<u16, Malformed> {
    let plain = text.bytes().all(|byte| byte.is_ascii_digit()) && (text == "0" || !text.starts_with('0'));
    if plain { text.parse().map_err(|_| Malformed) } else { Err(Malformed) }
}

fn version2(bytes: &[u8]) -> Result<Progress, Malformed> {
    let Some((fixed, _)) = bytes.split_first_chunk::<FIXED>() else {
        // A wrong version or command shows as soon as it is there.
        bytes.get(12).copied().map_or(Ok(()), |byte| command(byte).map(drop))?;
        return Ok(Progress::Part(FIXED - bytes.len()));
    };
    let [.., commanded, family, high, low] = *fixed;
    let length = FIXED + usize::from(u16::from_be_bytes([high, low]));
    let relayed = command(commanded)?;
    let addresses = if relayed { addresses(family)? } else { Addresses::Ignored };
    if length > LONGEST || length < FIXED + addresses.length() {
        return Err(Malformed);
    }
    let Some(block) = bytes.get(FIXED..length) else { return Ok(Progress::Part(length - bytes.len())) };
    Ok(Progress::Whole(length, addresses.announced(block)?))
}

/// Whether a connection is relayed (`PROXY`) or the proxy's own (`LOCAL`).
fn command(byte: u8) -> Result<bool, Malformed> {
    match byte {
        0x20 => Ok(false),
        0x21 => Ok(true),
        _ => Err(Malformed),
    }
}

/// The form of the address block.
#[derive(Debug, Clone, Copy)]
enum Addresses {
    V4,
    V6,
    Unix,
    Ignored,
}

/// Family and transport. Datagrams do not come over TCP, and what is not assigned is invalid (section 2.2).
fn addresses(byte: u8) -> Result<Addresses, Malformed> {
    match byte {
        0x00 => Ok(Addresses::Ignored),
        0x11 => Ok(Addresses::V4),
        0x21 => Ok(Addresses::V6),
        0x31 => Ok(Addresses::Unix),
        _ => Err(Malformed),
    }
}

impl Addresses {
    fn length(self) -> usize {
        match self {
            Self::V4 => 12,
            Self::V6 => 36,
            Self::Unix => 216,
            Self::Ignored => 0,
        }
    }

    /// Source address, destination address, source port, destination port; TLVs may follow.
    fn announced(self, block: &[u8]) -> Result<Announced, Malformed> {
        match self {
            Self::V4 => {
                let (source, rest) = block.split_first_chunk::<4>().ok_or(Malformed)?;
                Ok(client(Ipv4Addr::from(*source).into(), port_behind(rest, 4)?))
            }
            Self::V6 => {
                let (source, rest) = block.split_first_chunk::<16>().ok_or(Malformed)?;
                Ok(client(Ipv6Addr::from(*source).into(), port_behind(rest, 16)?))
            }
            Self::Unix | Self::Ignored => Ok(Announced::Proxy),
        }
    }
}

/// The source port, which stands behind a destination address of so many bytes.
fn port_behind(bytes: &[u8], destination: usize) -> Result<u16, Malformed> {
    let (port, _) = bytes.get(destination..).and_then(<[u8]>::split_first_chunk::<2>).ok_or(Malformed)?;
    Ok(u16::from_be_bytes(*port))
}

fn client(address: IpAddr, port: u16) -> Announced {
    Announced::Client(SocketAddr::new(address.to_canonical(), port))
}

/// Why a connection has no header.
#[derive(Debug, thiserror::Error)]
pub(super) enum Absent {
    /// Something else was sent.
    #[error(transparent)]
    Malformed(#[from] Malformed),
    /// It did not arrive in time.
    #[error("no whole header in time")]
    TooSlow,
    /// The connection ended before.
    #[error("the connection ended: {0}")]
    Ended(#[from] io::Error),
}

/// Reads a header off a stream, and not one byte more.
pub(super) async fn read<T: AsyncRead + Unpin>(stream: &mut T, patience: Duration) -> Result<Announced, Absent> {
    let reading = async {
        let mut bytes = Vec::with_capacity(FIXED);
        loop {
            match parse(&bytes)? {
                Progress::Whole(_, announced) => return Ok(announced),
                Progress::Part(least) => {
                    let more = stream.take(least as u64).read_buf(&mut bytes).await?;
                    if more == 0 {
                        return Err(Absent::Ended(io::ErrorKind::UnexpectedEof.into()));
                    }
                }
            }
        }
    };
    tokio::time::timeout(patience, reading).await.unwrap_or(Err(Absent::TooSlow))
}

#[cfg(test)]
mod tests;
