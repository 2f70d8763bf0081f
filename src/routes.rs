//! The compiled route table for people and programs: what `torwart routes` and the admin surface show.

mod text;

use std::sync::Arc;

use serde_json::{Map, Value, json};

use crate::config::Config;
use crate::policy::{Policies, Route};
use crate::target::quirks::{Quirks, ReadingKind};

pub use text::text;

/// Which routes are of interest. What is not given leaves everything.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    /// Name of the policy.
    pub policy: Option<String>,
    /// Host pattern as written, or a host that such a pattern covers.
    pub host: Option<String>,
    /// Part of the path or of the route's name.
    pub path: Option<String>,
}

/// One route under one host pattern.
#[derive(Debug)]
pub struct Entry<'p> {
    /// The host pattern, which is the table's name.
    pub host: &'p str,
    /// The route.
    pub route: &'p Arc<Route>,
}

impl Filter {
    fn admits(&self, host: &str, route: &Route) -> bool {
        self.policy.as_ref().is_none_or(|policy| policy == route.policy())
            && self.host.as_ref().is_none_or(|wanted| covers(host, wanted))
            && self.path.as_ref().is_none_or(|part| route.path().contains(part) || route.name().contains(part))
    }
}

/// Whether the pattern is the wanted one, or one whose first label is open and that the wanted host falls under.
fn covers(pattern: &str, wanted: &str) -> bool {
    let open = || pattern.split_once('.').filter(|(first, _)| *first == "*" || first.starts_with('{'));
    pattern.eq_ignore_ascii_case(wanted)
        || open().is_some_and(|(_, rest)| {
            wanted.split_once('.').is_some_and(|(label, tail)| !label.is_empty() && tail.eq_ignore_ascii_case(rest))
        })
}

/// The routes of interest, table by table in the order in which policies name them.
pub fn entries<'p>(policies: &'p Policies, filter: &Filter) -> Vec<Entry<'p>> {
    let mut hosts: Vec<&str> = Vec::new();
    for host in policies.hosts() {
        if !hosts.contains(&host) {
            hosts.push(host);
        }
    }
    let of = |host: &'p str| policies.routes().filter(move |route| route.document().hosts().any(|own| own == host));
    let entries = hosts.into_iter().flat_map(|host| of(host).map(move |route| Entry { host, route }));
    entries.filter(|entry| filter.admits(entry.host, entry.route)).collect()
}

/// Names of upstreams that these routes forward to, with how their servers read requests.
pub fn upstreams<'c>(config: &'c Config, entries: &[Entry<'_>]) -> Vec<(&'c str, Quirks)> {
    let used = |index: usize| entries.iter().any(|entry| entry.route.document().upstream() == index);
    let upstreams = config.upstreams.iter().enumerate().filter(|(index, _)| used(*index));
    upstreams.map(|(_, upstream)| (&*upstream.name, upstream.quirks)).collect()
}

/// The table for programs.
pub fn to_json(config: &Config, entries: &[Entry<'_>]) -> Value {
    let upstreams = upstreams(config, entries);
    json!({
        "routes": entries.iter().map(|entry| entry.to_json(config)).collect::<Vec<_>>(),
        "upstreams": upstreams.into_iter().map(|(name, quirks)| {
            json!({"name": name, "quirks": spelled_out(quirks).collect::<Map<_, _>>()})
        }).collect::<Vec<_>>(),
    })
}

impl Entry<'_> {
    /// Name of the upstream that the route forwards to.
    pub fn upstream<'c>(&self, config: &'c Config) -> &'c str {
        config.upstreams.get(self.route.document().upstream()).map_or("", |upstream| &upstream.name)
    }

    /// Names of the issuers whose tokens count.
    pub fn issuers<'c>(&self, config: &'c Config) -> Vec<&'c str> {
        let issuers = config.issuers.iter().zip(0..);
        let accepted = issuers.filter(|(_, id)| self.route.issuers().contains(crate::principal::IssuerId(*id)));
        accepted.map(|(issuer, _)| &*issuer.name).collect()
    }

    /// `enforce` or `observe`.
    pub fn mode(&self) -> &'static str {
        if self.route.observes() { "observe" } else { "enforce" }
    }

    fn to_json(&self, config: &Config) -> Value {
        let route = self.route;
        let asks = route.asks().map(|asked| {
            let mut map = place(&asked.place);
            map.insert("asks".to_owned(), json!(asked.text));
            map.insert("lifted".to_owned(), json!(asked.lifted));
            Value::Object(map)
        });
        let mut map = place(route.place());
        let fields = [
            ("host", json!(self.host)),
            ("methods", json!(route.methods().collect::<Vec<_>>())),
            ("path", json!(route.path())),
            ("policy", json!(route.policy())),
            ("route", json!(route.name())),
            ("mode", json!(self.mode())),
            ("token", json!(route.needs_token())),
            ("issuers", json!(self.issuers(config))),
            ("params", Value::Object(route.types().map(|(name, kind)| (name, kind.into())).collect())),
            ("require", Value::Array(asks.collect())),
            ("upstream", json!(self.upstream(config))),
            ("forward", Value::Object(forwarded(route).collect())),
        ];
        map.extend(fields.map(|(name, value)| (name.to_owned(), value)));
        map.extend(route.beside().into_iter().map(|(key, text)| (key.to_owned(), text.into())));
        Value::Object(map)
    }
}

fn forwarded(route: &Route) -> impl Iterator<Item = (String, Value)> {
    route.forwarded().into_iter().map(|(key, text)| (key.to_owned(), text.into()))
}

fn place(place: &crate::diagnostic::Place) -> Map<String, Value> {
    let (line, column) = place.line_column();
    let fields = [("file", json!(place.path())), ("line", json!(line)), ("column", json!(column))];
    fields.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

/// Every key of `quirks`, what a `server` preset says included.
fn spelled_out(quirks: Quirks) -> impl Iterator<Item = (String, Value)> {
    let readings = ReadingKind::ALL.into_iter().map(move |kind| (kind.key(), quirks.reading(kind).as_str()));
    let others = [
        ("empty_segments", quirks.empty_segments.as_str()),
        ("charset", quirks.charset.as_str()),
        ("method_override", quirks.method_override.as_str()),
        ("form_parameters", quirks.form_parameters.as_str()),
    ];
    readings.chain(others).map(|(key, word)| (key.to_owned(), word.into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_is_found_under_the_pattern_that_covers_it() {
        assert!(covers("*.example.com", "a.example.com") && covers("{tenant}.example.com", "A.example.com"));
        assert!(covers("api.example.com", "API.example.com") && covers("*", "*"));
        assert!(!covers("*.example.com", "a.b.example.com") && !covers("*", "a.example.com"));
        assert!(!covers("*.example.com", ".example.com"));
    }
}
