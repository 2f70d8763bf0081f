//! The two fields that list the hops of a request: `X-Forwarded-For`, and `Forwarded` of RFC 7239.
//!
//! What is believed of a trusted proxy gets the peer appended. The field that is not believed is written anew: where
//! a trusted proxy told of a client, that client comes first.

use std::io::Write as _;
use std::net::{IpAddr, Ipv4Addr};

use bytes::Bytes;
use http::HeaderValue;

use super::super::Facts;

/// Most lists of hops, both fields together: one buffer is enough for them.
const USUAL: usize = 256;

/// What a trusted proxy told, where it is believed.
#[derive(Debug, Clone, Copy)]
pub(super) struct Believed<'b> {
    pub(super) x_forwarded_for: Option<&'b HeaderValue>,
    pub(super) forwarded: Option<&'b HeaderValue>,
}

/// `X-Forwarded-For` and `Forwarded`.
pub(super) fn fields(facts: &Facts, believed: Believed<'_>) -> [Bytes; 2] {
    let mut out = Vec::with_capacity(USUAL);
    x_forwarded_for(facts, believed.x_forwarded_for, &mut out);
    let end = out.len();
    forwarded(facts, believed.forwarded, &mut out);
    let mut second = Bytes::from(out);
    [second.split_to(end), second]
}

fn x_forwarded_for(facts: &Facts, believed: Option<&HeaderValue>, out: &mut Vec<u8>) {
    if let Some(before) = believed.and_then(|value| value.to_str().ok()) {
        out.extend_from_slice(before.as_bytes());
        out.extend_from_slice(b", ");
    } else if speaks_for_another(facts) {
        write_address(facts.client, out);
        out.extend_from_slice(b", ");
    }
    write_address(facts.peer, out);
}

/// RFC 7239 section 4.
fn forwarded(facts: &Facts, believed: Option<&HeaderValue>, out: &mut Vec<u8>) {
    if let Some(before) = believed.and_then(|value| value.to_str().ok()) {
        out.extend_from_slice(before.as_bytes());
        out.extend_from_slice(b", ");
    } else if speaks_for_another(facts) {
        out.extend_from_slice(b"for=");
        write_node(facts.client, out);
        out.extend_from_slice(b", ");
    }
    out.extend_from_slice(b"for=");
    write_node(facts.peer, out);
    out.extend_from_slice(b";host=\"");
    out.extend_from_slice(facts.authority.as_bytes());
    out.extend_from_slice(b"\";proto=");
    out.extend_from_slice(facts.scheme.as_str().as_bytes());
}

/// Whether the peer is a trusted proxy that named another client than itself.
fn speaks_for_another(facts: &Facts) -> bool {
    facts.peer_is_trusted && facts.client != facts.peer
}

/// RFC 7239 section 6: IPv6 addresses have brackets, and because of them quotes.
fn write_node(address: Option<IpAddr>, out: &mut Vec<u8>) {
    let quoted = matches!(address, Some(IpAddr::V6(_)));
    out.extend_from_slice(if quoted { b"\"[" } else { b"" });
    write_address(address, out);
    out.extend_from_slice(if quoted { b"]\"" } else { b"" });
}

fn write_address(address: Option<IpAddr>, out: &mut Vec<u8>) {
    match address {
        Some(IpAddr::V4(address)) => write_ipv4(address, out),
        // Writing to memory does not fail.
        Some(IpAddr::V6(address)) => drop(write!(out, "{address}")),
        None => out.extend_from_slice(b"unknown"),
    }
}

/// What `Display` writes, at a tenth of its price: every request has one.
fn write_ipv4(address: Ipv4Addr, out: &mut Vec<u8>) {
    for (at, octet) in address.octets().into_iter().enumerate() {
        if at > 0 {
            out.push(b'.');
        }
        if octet >= 100 {
            out.push(b'0' + octet / 100);
        }
        if octet >= 10 {
            out.push(b'0' + octet / 10 % 10);
        }
        out.push(b'0' + octet % 10);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_written_as_everybody_writes_them() {
        for number in (0..=u32::MAX).step_by(65_521) {
            let address = Ipv4Addr::from(number);
            let mut out = Vec::new();
            write_address(Some(address.into()), &mut out);
            assert_eq!(out, address.to_string().as_bytes());
        }
        let mut out = Vec::new();
        write_node(Some("2001:db8::1".parse().unwrap()), &mut out);
        assert_eq!(&*out, b"\"[2001:db8::1]\"");
    }
}
