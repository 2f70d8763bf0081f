//! `listeners`, and the TLS that the admin listener shares with them.

use std::collections::HashMap;
use std::net::SocketAddr;

use super::document::Reader;
use super::{CertificateFiles, ClientCertificates, FileKind, Listener, ListenerTls, Protocol, forms};
use crate::diagnostic::Span;
use crate::document::{Mapping, Node};

/// Reads all listeners. `proxies`: whether the file names trusted proxies for all of them.
pub(super) fn read(reader: &mut Reader<'_>, nodes: &[Node], proxies: bool) -> Vec<Listener> {
    let mut listeners: Vec<Listener> = Vec::new();
    let mut seen: HashMap<SocketAddr, Span> = HashMap::new();
    for node in nodes {
        let Some((listener, span)) = node.map().and_then(|map| listener(reader, map, proxies)) else { continue };
        match seen.get(&listener.address) {
            // Port 0 is another port each time.
            Some(first) if listener.address.port() != 0 => {
                let first = reader.place(*first);
                reader
                    .error_at(span, "two listeners have the same address")
                    .help("give each its own")
                    .related(first, "the first is here");
            }
            _ => drop(seen.insert(listener.address, span)),
        }
        listeners.push(listener);
    }
    listeners
}

fn listener(reader: &mut Reader<'_>, map: &Mapping, proxies: bool) -> Option<(Listener, Span)> {
    let tls = map.map("tls").map(|map| tls(reader, map));
    let trusted_proxies = map.get("trusted_proxies").map(|node| reader.networks(node.list()));
    let node = map.get("address")?;
    let address = forms::socket_address(node.text()?).ok()?;
    let mut protocols: Vec<Protocol> = Vec::new();
    for entry in map.list("protocols") {
        let protocol = if entry.text() == Some("h2") { Protocol::H2 } else { Protocol::Http1 };
        if protocols.contains(&protocol) {
            reader.error(entry, format!("`{}` is listed twice", entry.text().unwrap_or_default())).help("keep one");
        }
        protocols.push(protocol);
    }
    if protocols.is_empty() {
        protocols = vec![Protocol::H2, Protocol::Http1];
    }
    let listener = Listener {
        address,
        protocols,
        tls,
        proxy_protocol: map.bool("proxy_protocol").unwrap_or(false),
        redirect_https: map.get("redirect").is_some(),
        insecure: map.bool("insecure").unwrap_or(false),
        trusted_proxies,
    };
    let says_secure = map.get("insecure").is_none_or(|node| node.bool() == Some(false));
    let bare = map.get("tls").is_none() && !listener.redirect_https && says_secure;
    if bare && !address.ip().is_loopback() {
        let shown = reader.shown(node);
        reader
            .error(node, format!("the listener `{shown}` has no TLS: tokens would cross the network in the clear"))
            .help("add `tls`, or `redirect: https`, or `insecure: true` if something before it does TLS");
    }
    if let Some(entry) = map.get("insecure").filter(|_| listener.insecure && map.get("tls").is_some()) {
        reader.warning(entry, "`insecure` means nothing beside `tls`").help("remove it");
    }
    let trusted = listener.trusted_proxies.as_ref().map_or(proxies, |own| !own.is_empty());
    if let Some(entry) = map.get("proxy_protocol").filter(|_| listener.proxy_protocol && !trusted) {
        reader
            .error(entry, "`proxy_protocol` without `trusted_proxies` closes every connection")
            .help("name the networks of the load balancers under `trusted_proxies`");
    }
    Some((listener, node.span))
}

/// Reads `tls` of a listener.
pub(super) fn tls(reader: &mut Reader<'_>, map: &Mapping) -> ListenerTls {
    let mut certificates = Vec::new();
    for entry in map.one_or_many("certificates").iter().filter_map(Node::map) {
        if let Some(directory) = entry.get("directory") {
            certificates.push(CertificateFiles {
                certificate: reader.file_in(directory, "tls.crt", FileKind::Certificate),
                key: reader.file_in(directory, "tls.key", FileKind::Key),
            });
        } else if let Some(certificate) = entry.get("certificate") {
            let Some(key) = entry.get("key") else {
                reader
                    .error(certificate, "the certificate has no `key` beside it")
                    .help("add `key:` with the file of its private key");
                continue;
            };
            certificates.push(CertificateFiles {
                certificate: reader.file(certificate, FileKind::Certificate),
                key: reader.file(key, FileKind::Key),
            });
        }
    }
    let clients = map.map("client_certificates");
    let mode = match clients.and_then(|map| map.text("mode")) {
        Some("optional") => ClientCertificates::Optional,
        Some("required") => ClientCertificates::Required,
        _ => ClientCertificates::None,
    };
    // A bundle that nothing is verified against is not read, and need not be there.
    let named = clients.filter(|_| mode != ClientCertificates::None).and_then(|map| map.get("ca"));
    let client_ca = named.map(|node| reader.file(node, FileKind::CaBundle));
    if let (true, None, Some(node)) =
        (mode != ClientCertificates::None, &client_ca, clients.and_then(|map| map.get("mode")))
    {
        reader
            .error(node, "client certificates are asked for, but nothing says who may have issued them")
            .help("add `ca:` with a CA bundle");
    }
    ListenerTls { certificates, tls12: map.text("min_version") != Some("1.3"), client_certificates: mode, client_ca }
}

/// Whether clients are asked for certificates.
pub(super) fn asks_for_certificates(tls: &ListenerTls) -> bool {
    tls.client_certificates != ClientCertificates::None
}

/// Whether nobody without a verified certificate gets through.
pub(super) fn demands_certificates(tls: &ListenerTls) -> bool {
    tls.client_certificates == ClientCertificates::Required
}
