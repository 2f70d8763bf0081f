//! What an upstream would be told about a request, without telling it: for policy tests and whoever tries requests.

use std::sync::Arc;

use http::request::Parts;
use http::{HeaderMap, HeaderValue};

use super::endpoint::Host;
use super::load;
use super::request_headers::{Delivery, Draft, Framing};
use super::{Facts, effects};
use crate::config::{Config, Protocol};
use crate::diagnostic::Diagnostics;
use crate::policy::Permit;

/// The header fields of the request that a permit makes out of the client's. `length`: of the body.
pub fn rehearse(head: Parts, length: usize, permit: &Permit, facts: &Facts, config: &Config) -> HeaderMap {
    let upstream = config.upstreams.get(permit.upstream());
    // What is wrong with hosts and prefixes is found when the upstreams are loaded.
    let mut ignored = Diagnostics::new();
    let host = upstream.and_then(|upstream| Host::of(upstream, upstream.endpoints.first()?, &mut ignored));
    let identity = Arc::new(load::identity(&config.identity, &mut ignored));
    let delivery = Delivery {
        host: match &host {
            Some(Host::Fixed(name)) => name,
            Some(Host::Original) | None => &facts.authority,
        },
        http2: upstream.is_some_and(|upstream| upstream.protocol == Protocol::H2),
        identity: &identity,
        client_address_from: config.client_address_from,
    };
    let framing = if length == 0 { Framing::None } else { Framing::Length(u64::try_from(length).unwrap_or(u64::MAX)) };
    // What a signature would be is different every time; that there is one is not.
    let assertion = HeaderValue::from_static("trial");
    let target = permit.path_and_query();
    Draft { head, facts, effects: effects(permit, Some(assertion)), delivery, framing, target }.headers()
}
