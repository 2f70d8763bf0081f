//! Where a request comes from: the connection's other end, or what trusted proxies say of it (config.md,
//! `client_address_from`).

use std::net::{IpAddr, SocketAddr};

use http::HeaderMap;
use http::header::{FORWARDED, HeaderName};

use super::connection::Connection;
use crate::config::{ClientAddressHeader, Config};

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// The client address: the right-most entry that is no trusted proxy. `None`: unknown, because a proxy that is trusted
/// wrote something that is no address.
pub(super) fn client_address(config: &Config, connection: &Connection, headers: &HeaderMap) -> Option<IpAddr> {
    let peer = connection.peer.ip();
    let trusted = |address: IpAddr| connection.trusts(config, address);
    if !trusted(peer) {
        return Some(peer);
    }
    match config.client_address_from {
        ClientAddressHeader::XForwardedFor => {
            let fields = headers.get_all(X_FORWARDED_FOR).into_iter();
            walk(peer, fields.rev().flat_map(|field| entries(field.as_bytes())), plain, trusted)
        }
        ClientAddressHeader::Forwarded => {
            let fields = headers.get_all(FORWARDED).into_iter();
            walk(peer, fields.rev().flat_map(|field| entries(field.as_bytes())), forwarded, trusted)
        }
    }
}

/// Walks from the entry nearest to the gateway to the one farthest away.
fn walk<'h>(
    peer: IpAddr,
    entries: impl Iterator<Item = &'h [u8]>,
    read: impl Fn(&str) -> Option<IpAddr>,
    trusted: impl Fn(IpAddr) -> bool,
) -> Option<IpAddr> {
    let mut last = peer;
    for entry in entries {
        let address = read(str::from_utf8(entry).ok()?.trim())?.to_canonical();
        if !trusted(address) {
            return Some(address);
        }
        last = address;
    }
    Some(last)
}

/// The entries of one field, the last first. A comma inside a quoted string separates nothing.
fn entries(field: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut quoted = false;
    let mut escaped = false;
    let pieces: smallvec::SmallVec<[&[u8]; 4]> = field
        .split(move |byte| {
            let separates = *byte == b',' && !quoted;
            if escaped {
                escaped = false;
            } else if quoted && *byte == b'\\' {
                escaped = true;
            } else if *byte == b'"' {
                quoted = !quoted;
            }
            separates
        })
        .collect();
    pieces.into_iter().rev()
}

/// An entry of `X-Forwarded-For`: an address, some proxies write a port behind it.
fn plain(entry: &str) -> Option<IpAddr> {
    let unbracketed = entry.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    let address = match unbracketed {
        Some(inside) => inside.parse().ok().filter(IpAddr::is_ipv6),
        None => entry.parse().ok(),
    };
    address.or_else(|| entry.parse::<SocketAddr>().ok().map(|address| address.ip()))
}

/// The `for` of an element of `Forwarded` (RFC 7239 sections 4 and 6).
fn forwarded(element: &str) -> Option<IpAddr> {
    let mut found = None;
    for pair in element.split(';') {
        let (name, value) = pair.trim().split_once('=')?;
        if name.eq_ignore_ascii_case("for") {
            if found.is_some() {
                return None;
            }
            let node = match value.strip_prefix('"') {
                Some(rest) => rest.strip_suffix('"')?,
                // Section 6.1: an IPv6 address is always quoted; without quotes a colon may not stand in a token.
                None if value.contains([':', '[']) => return None,
                None => value,
            };
            found = Some(plain(node).filter(|address| address.is_ipv4() || node.starts_with('['))?);
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn walked(read: fn(&str) -> Option<IpAddr>, fields: &[&str]) -> Option<String> {
        let peer: IpAddr = "10.0.0.1".parse().unwrap();
        let trusted = |address: IpAddr| matches!(address, IpAddr::V4(four) if four.octets()[0] == 10);
        let entries = fields.iter().rev().flat_map(|field| entries(field.as_bytes()));
        walk(peer, entries, read, trusted).map(|address| address.to_string())
    }

    #[test]
    fn the_right_most_entry_that_is_no_trusted_proxy_is_the_client() {
        assert_eq!(walked(plain, &["203.0.113.9, 198.51.100.7, 10.0.0.2"]).as_deref(), Some("198.51.100.7"));
        assert_eq!(walked(plain, &["203.0.113.9", "198.51.100.7", "10.0.0.2"]).as_deref(), Some("198.51.100.7"));
        assert_eq!(walked(plain, &["10.0.0.3, 10.0.0.2"]).as_deref(), Some("10.0.0.3"));
        assert_eq!(walked(plain, &[]).as_deref(), Some("10.0.0.1"));
    }

    #[test]
    fn an_entry_that_is_no_address_ends_the_walk_as_unknown() {
        for odd in ["unknown", "_hidden", "", "203.0.113.9.", "203.0.113.999", "203.0.113.9 x", "[203.0.113.9]"] {
            assert_eq!(walked(plain, &[&format!("198.51.100.7, {odd}, 10.0.0.2")]), None, "{odd}");
        }
        assert_eq!(walked(plain, &["198.51.100.7,"]), None);
        assert_eq!(walked(plain, &["198.51.100.7, \u{e9}"]), None);
        // What stands farther away than the client does not matter.
        assert_eq!(walked(plain, &["unknown, 198.51.100.7"]).as_deref(), Some("198.51.100.7"));
    }

    #[test]
    fn mapped_addresses_and_ports_are_read_as_what_they_mean() {
        assert_eq!(walked(plain, &["::ffff:198.51.100.7"]).as_deref(), Some("198.51.100.7"));
        assert_eq!(walked(plain, &["198.51.100.7:4711"]).as_deref(), Some("198.51.100.7"));
        assert_eq!(walked(plain, &["[2001:db8::1]:4711"]).as_deref(), Some("2001:db8::1"));
        assert_eq!(walked(plain, &["[2001:db8::1]"]).as_deref(), Some("2001:db8::1"));
        assert_eq!(walked(plain, &["2001:db8::1, ::ffff:10.0.0.9"]).as_deref(), Some("2001:db8::1"));
    }

    #[test]
    fn forwarded_is_read_by_its_for_parameter_rfc_7239_section_4() {
        let chain = "for=203.0.113.9;proto=https, For=\"[2001:db8::1]:80\";by=10.0.0.2, for=10.0.0.2";
        assert_eq!(walked(forwarded, &[chain]).as_deref(), Some("2001:db8::1"));
        assert_eq!(walked(forwarded, &["for=\"198.51.100.7:80\""]).as_deref(), Some("198.51.100.7"));
        for odd in ["for=unknown", "for=_x", "by=10.0.0.2", "for=1.2.3.4;for=5.6.7.8", "for=2001:db8::1", "x"] {
            assert_eq!(walked(forwarded, &[odd]), None, "{odd}");
        }
        // A comma in quotes is part of a value, not a second element of the attacker's making.
        assert_eq!(walked(forwarded, &["for=\"a, for=198.51.100.7\""]), None);
    }
}
