//! The two fields that list the hops of a request: `X-Forwarded-For`, and `Forwarded` of RFC 7239.
//!
//! What is believed of a trusted proxy gets the peer appended. The field that is not believed is written anew: where
//! a trusted proxy told of a client, that client comes first.

use std::net::IpAddr;

use http::HeaderValue;

use super::super::Facts;

/// `X-Forwarded-For`.
pub(super) fn x_forwarded_for(facts: &Facts, believed: Option<&HeaderValue>) -> String {
    let text = |address: Option<IpAddr>| address.map_or_else(|| "unknown".to_owned(), |address| address.to_string());
    let peer = text(facts.peer);
    match believed.and_then(|value| value.to_str().ok()) {
        Some(before) => format!("{before}, {peer}"),
        None if speaks_for_another(facts) => format!("{}, {peer}", text(facts.client)),
        None => peer,
    }
}

/// `Forwarded`, RFC 7239 section 4.
pub(super) fn forwarded(facts: &Facts, believed: Option<&HeaderValue>) -> String {
    let host = facts.authority.to_str().unwrap_or_default();
    let own = format!("for={};host=\"{host}\";proto={}", node(facts.peer), facts.scheme.as_str());
    match believed.and_then(|value| value.to_str().ok()) {
        Some(before) => format!("{before}, {own}"),
        None if speaks_for_another(facts) => format!("for={}, {own}", node(facts.client)),
        None => own,
    }
}

/// Whether the peer is a trusted proxy that named another client than itself.
fn speaks_for_another(facts: &Facts) -> bool {
    facts.peer_is_trusted && facts.client != facts.peer
}

/// RFC 7239 section 6.
fn node(address: Option<IpAddr>) -> String {
    match address {
        Some(IpAddr::V4(address)) => address.to_string(),
        Some(IpAddr::V6(address)) => format!("\"[{address}]\""),
        None => "unknown".to_owned(),
    }
}
