//! From test files to tests. The files have the form that `cases` declares; what a form cannot say is found here.

use std::sync::Arc;

use http::{HeaderName, HeaderValue};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::{Case, Effect, Expectation};
use crate::cases;
use crate::clock::Timestamp;
use crate::diagnostic::{Diagnostics, Source};
use crate::document::{Mapping, Node, parse};
use crate::principal::{Claims, ClientCertificate};
use crate::trial::{Bearer, Loaded, Request};

/// The tests of every file.
pub(super) fn cases(loaded: &Loaded) -> Result<Vec<Case>, Diagnostics> {
    let mut problems = Diagnostics::new();
    let mut cases = Vec::new();
    for source in &loaded.tests {
        let node = parse(source, &mut problems);
        let map = node.as_ref().and_then(Node::map);
        let mut reader = Reader { loaded, source, problems: &mut problems };
        cases.extend(map.map_or(&[][..], |map| map.list("tests")).iter().filter_map(|test| reader.case(test)));
    }
    if problems.has_errors() {
        problems.sort();
        return Err(problems);
    }
    Ok(cases)
}

struct Reader<'r> {
    loaded: &'r Loaded,
    source: &'r Arc<Source>,
    problems: &'r mut Diagnostics,
}

impl Reader<'_> {
    fn case(&mut self, node: &Node) -> Option<Case> {
        let map = node.map()?;
        let request = self.request(map.get("request")?)?;
        let bearer = match map.get("as") {
            None => Bearer::Nobody,
            Some(node) => self.bearer(node, request.now)?,
        };
        let expectation = expectation(map.get("expect")?)?;
        let place = map.get("name")?.place(self.source);
        Some(Case { name: map.text("name")?.to_owned(), place, bearer, request, expectation })
    }

    fn wrong<T>(&mut self, node: &Node, message: impl Into<String>, help: &str) -> Option<T> {
        self.problems.error(node.place(self.source), message).help(help);
        None
    }

    /// A persona's name, or claims.
    fn bearer(&mut self, node: &Node, now: Timestamp) -> Option<Bearer> {
        if let Some(name) = node.text() {
            let help = "write it under `personas`";
            return self
                .loaded
                .token_of(name, now)
                .or_else(|| self.wrong(node, format!("there is no persona `{name}`"), help));
        }
        let map = node.map()?;
        let issuer = map.text("issuer");
        let entries = map.entries().filter(|entry| entry.key.text != "issuer");
        let claims: Claims =
            entries.map(|entry| Some((entry.key.text.clone(), entry.value.to_json()?))).collect::<Option<_>>()?;
        self.loaded.token(issuer, claims, now).or_else(|| match issuer {
            Some(name) => {
                let at = map.get("issuer").unwrap_or(node);
                self.wrong(at, format!("there is no issuer `{name}`"), "name one that is configured")
            }
            None => self.wrong(node, "these claims do not say whose token they are of", "add `issuer`, the name"),
        })
    }

    fn request(&mut self, node: &Node) -> Option<Request> {
        let Some(map) = node.map() else {
            let line = Request::line(node.text()?);
            return line.map_err(|fault| self.wrong::<()>(node, fault.to_string(), "correct the request")).ok();
        };
        let url = map.get("url")?;
        let made = Request::new(map.text("method").unwrap_or("GET"), url.text()?);
        let mut request = match made {
            Ok(request) => request,
            Err(fault) => return self.wrong(url, fault.to_string(), "correct the request"),
        };
        if let Some(headers) = map.map("headers") {
            self.headers(headers, &mut request);
        }
        request.body = map.text("body").unwrap_or_default().to_owned().into();
        request.address = map.get("address").and_then(Node::network).map(|network| network.addr());
        request.certificate = map.map("certificate").map(certificate);
        if let Some(node) = map.get("time") {
            request.now = self.moment(node)?;
        }
        Some(request)
    }

    fn headers(&mut self, map: &Mapping, request: &mut Request) {
        for entry in map.entries() {
            let Ok(name) = HeaderName::from_bytes(entry.key.text.as_bytes()) else {
                let message = format!("`{}` is not a header name", entry.key.text);
                self.problems.error(entry.key.place(self.source), message).help("write a name such as `X-Tenant`");
                continue;
            };
            for node in entry.value.one_or_many() {
                match HeaderValue::from_bytes(node.text().unwrap_or_default().as_bytes()) {
                    Ok(value) => {
                        request.headers.append(name.clone(), value);
                    }
                    Err(_) => {
                        self.wrong::<()>(node, "a header cannot hold this", "remove control characters");
                    }
                }
            }
        }
    }

    fn moment(&mut self, node: &Node) -> Option<Timestamp> {
        let text = node.text()?;
        match OffsetDateTime::parse(text, &Rfc3339) {
            Ok(moment) => Some(Timestamp(moment.unix_timestamp())),
            Err(_) => {
                self.wrong(node, format!("`{text}` is not a moment"), "write it like `2026-01-01T00:00:00Z` (RFC 3339)")
            }
        }
    }
}

fn certificate(map: &Mapping) -> ClientCertificate {
    let names = |key: &str| map.list(key).iter().filter_map(Node::text).map(str::to_owned).collect();
    ClientCertificate {
        dns: names("dns"),
        uri: names("uri"),
        email: names("email"),
        subject: map.text("subject").unwrap_or_default().to_owned(),
        thumbprint: map.text("thumbprint").and_then(cases::thumbprint).unwrap_or_default(),
    }
}

fn expectation(node: &Node) -> Option<Expectation> {
    match node.text() {
        Some("allow") => return Some(Expectation::Allow(Effect::default())),
        Some("deny") => return Some(Expectation::Deny),
        _ => {}
    }
    let map = node.map()?;
    let text = |key: &str| map.text(key).map(str::to_owned);
    if let Some(reason) = text("deny") {
        return Some(Expectation::DenyFor(reason));
    }
    if let Some(reason) = text("would") {
        return Some(Expectation::Would(reason));
    }
    if let Some(status) = map.int("status") {
        return Some(Expectation::Status(u16::try_from(status).ok()?));
    }
    let effect = map.map("allow")?;
    let headers = effect.map("headers").into_iter().flat_map(Mapping::entries);
    Some(Expectation::Allow(Effect {
        upstream: effect.text("upstream").map(str::to_owned),
        path: effect.text("path").map(str::to_owned),
        query: effect.text("query").map(str::to_owned),
        headers: headers
            .map(|entry| (entry.key.text.to_ascii_lowercase(), entry.value.text().map(str::to_owned)))
            .collect(),
    }))
}
