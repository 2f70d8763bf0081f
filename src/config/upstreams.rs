//! `upstreams`.

use std::collections::HashSet;
use std::time::Duration;

use super::document::Reader;
use super::{Balance, CertificateFiles, FileKind, HealthCheck, Protocol, Upstream, UpstreamHost, UpstreamTls, forms};
use crate::document::{Mapping, Node};
use crate::target::quirks::{Charset, EmptySegments, FormParameters, MethodOverride, Quirks, Reading, Server};

/// Reads all upstreams in the order they are written.
pub(super) fn read(reader: &mut Reader<'_>, map: Option<&Mapping>) -> Vec<Upstream> {
    let entries = map.into_iter().flat_map(Mapping::entries);
    entries.filter_map(|entry| Some(upstream(reader, &entry.key.text, entry.value.map()?))).collect()
}

fn upstream(reader: &mut Reader<'_>, name: &str, map: &Mapping) -> Upstream {
    let mut seen = HashSet::new();
    let mut endpoints = Vec::new();
    for node in map.list("endpoints") {
        let Some(endpoint) = node.text().and_then(|text| forms::endpoint(text).ok()) else { continue };
        if !seen.insert(endpoint.clone()) {
            reader.error(node, "this endpoint is listed twice").help("keep one");
        }
        endpoints.push(endpoint);
    }
    let mut upstream = Upstream::new(name, endpoints);
    if map.text("protocol") == Some("h2") {
        upstream.protocol = Protocol::H2;
    }
    if map.text("balance") == Some("round_robin") {
        upstream.balance = Balance::RoundRobin;
    }
    if let Some(timeouts) = map.map("timeouts") {
        upstream.connect_timeout = timeouts.duration("connect").unwrap_or(upstream.connect_timeout);
        upstream.response_timeout = timeouts.duration("response").unwrap_or(upstream.response_timeout);
        upstream.idle_timeout = timeouts.duration("idle").unwrap_or(upstream.idle_timeout);
    }
    upstream.health = map.map("health").and_then(|health| {
        let interval = health.duration("interval").unwrap_or(Duration::from_secs(10));
        Some(HealthCheck { path: health.text("path")?.to_owned(), interval })
    });
    upstream.tls = tls(reader, map, &upstream);
    upstream.quirks = map.map("quirks").map(quirks).unwrap_or_default();
    upstream.host = match map.text("host") {
        None | Some("original") => UpstreamHost::Original,
        Some("endpoint") => UpstreamHost::Endpoint,
        Some(name) => UpstreamHost::Name(name.to_owned()),
    };
    upstream.rewrite_location = map.bool("rewrite_location").unwrap_or(false);
    upstream.max_connections = map.get("max_connections").and_then(Node::number).unwrap_or(upstream.max_connections);
    upstream
}

fn tls(reader: &mut Reader<'_>, map: &Mapping, upstream: &Upstream) -> UpstreamTls {
    let Some((entry, tls)) = map.entry("tls").and_then(|entry| Some((entry, entry.value.map()?))) else {
        return UpstreamTls::default();
    };
    if !upstream.endpoints.is_empty() && !upstream.endpoints.iter().any(|endpoint| endpoint.tls) {
        reader
            .error_at(entry.key.span, "`tls` is set, but no endpoint is `https`")
            .help("write the endpoints as `https://host:port`, or remove `tls`");
    }
    if let Some(node) = tls.get("server_name")
        && node.text().is_some_and(|name| rustls_pki_types::ServerName::try_from(name).is_err())
    {
        reader.error(node, "this is no name that a certificate can have").help("write a DNS name or an address");
    }
    let identity = tls.get("certificate").zip(tls.get("key")).map(|(certificate, key)| CertificateFiles {
        certificate: reader.file(certificate, FileKind::Certificate),
        key: reader.file(key, FileKind::Key),
    });
    UpstreamTls {
        ca: tls.get("ca").map(|node| reader.file(node, FileKind::CaBundle)),
        server_name: tls.text("server_name").map(str::to_owned),
        identity,
    }
}

fn quirks(map: &Mapping) -> Quirks {
    let mut quirks = map.text("server").and_then(Server::named).map(Server::quirks).unwrap_or_default();
    let readings = [
        (&mut quirks.case, "case"),
        (&mut quirks.path_parameters, "path_parameters"),
        (&mut quirks.trailing_dot, "trailing_dot"),
        (&mut quirks.trailing_slash, "trailing_slash"),
        (&mut quirks.encoded_slash, "encoded_slash"),
        (&mut quirks.double_decoding, "double_decoding"),
    ];
    for (reading, key) in readings {
        match map.text(key) {
            Some("unknown") => *reading = Reading::Unknown,
            Some("never") => *reading = Reading::Never,
            Some("always") => *reading = Reading::Always,
            _ => {}
        }
    }
    quirks.empty_segments = match map.text("empty_segments") {
        Some("merge") => EmptySegments::Merge,
        Some("keep") => EmptySegments::Keep,
        Some("refuse") => EmptySegments::Refuse,
        _ => quirks.empty_segments,
    };
    quirks.charset = match map.text("charset") {
        Some("utf8") => Charset::Utf8,
        Some("latin1") => Charset::Latin1,
        _ => quirks.charset,
    };
    quirks.method_override = match map.text("method_override") {
        Some("unknown") => MethodOverride::Unknown,
        Some("ignore") => MethodOverride::Ignore,
        Some("honour") => MethodOverride::Honour,
        _ => quirks.method_override,
    };
    quirks.form_parameters = match map.text("form_parameters") {
        Some("mixed") => FormParameters::Mixed,
        Some("separate") => FormParameters::Separate,
        _ => quirks.form_parameters,
    };
    quirks
}
