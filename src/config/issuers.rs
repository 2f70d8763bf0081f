//! `issuers`: a preset's defaults under what the file says (tokens.md).

use std::collections::HashMap;
use std::time::Duration;

use super::document::Reader;
use super::{
    Algorithm, Audiences, ClaimSources, FileKind, FlowRule, Introspection, Issuer, KeySource, Listener, Preset,
    Userinfo, forms, is_dev_issuer, listeners,
};
use crate::diagnostic::Span;
use crate::document::{Mapping, Node};
use crate::principal::ClaimPath;

/// Reads all issuers in the order they are written.
pub(super) fn read(reader: &mut Reader<'_>, nodes: &[Node], listeners: &[Listener]) -> Vec<Issuer> {
    let mut names: HashMap<&str, Span> = HashMap::new();
    let mut urls: HashMap<&str, Span> = HashMap::new();
    for map in nodes.iter().filter_map(Node::map) {
        for (key, seen) in [("name", &mut names), ("issuer", &mut urls)] {
            let Some((node, text)) = map.get(key).and_then(|node| Some((node, node.text()?))) else { continue };
            if let Some(first) = seen.get(text) {
                let first = reader.place(*first);
                let what = if key == "name" { "name" } else { "URL" };
                let shown = reader.shown(node);
                reader
                    .error(node, format!("two issuers have the {what} `{shown}`"))
                    .help(if key == "name" {
                        "give each its own"
                    } else {
                        "tokens must belong to one issuer: merge the two"
                    })
                    .related(first, "the first is here");
            } else {
                seen.insert(text, node.span);
            }
        }
    }
    if let Some(node) = nodes.get(usize::from(u16::MAX)) {
        reader.error(node, "too many issuers");
    }
    check_sender_constraints(reader, nodes, listeners);
    nodes.iter().filter_map(Node::map).filter_map(|map| issuer(reader, map)).collect()
}

/// Tokens that must be bound to a certificate are of no use where no client is asked for one.
fn check_sender_constraints(reader: &mut Reader<'_>, nodes: &[Node], listeners: &[Listener]) {
    let asks = |listener: &Listener| listener.tls.as_ref().is_some_and(listeners::asks_for_certificates);
    if listeners.is_empty() || listeners.iter().any(asks) {
        return;
    }
    let written = nodes.iter().filter_map(Node::map).filter_map(|map| map.get("sender_constraint"));
    for node in written.filter(|node| node.text() == Some("required")) {
        reader
            .error(node, "no listener asks for client certificates, so every token of this issuer would be refused")
            .help("add `client_certificates: {mode: optional, ca: FILE}` to the `tls` of a listener");
    }
}

fn issuer(reader: &mut Reader<'_>, map: &Mapping) -> Option<Issuer> {
    let preset = map.text("preset").and_then(Preset::named);
    let mut issuer = Issuer::new(map.text("name").unwrap_or_default(), map.text("issuer").unwrap_or_default(), preset);
    issuer.integration = map.text("environment") == Some("integration");
    if let Some(node) = map.get("issuer") {
        issuer_url(reader, node, issuer.integration);
    }
    issuer.audiences = audiences(reader, map);
    if let Some(node) = map.get("leeway")
        && let Some(leeway) = node.duration()
    {
        if leeway.subsec_nanos() != 0 {
            reader.error(node, "`leeway` is whole seconds").help("write `1s` or more, or `0s`");
        }
        issuer.leeway = i64::try_from(leeway.as_secs()).unwrap_or(issuer.leeway);
    }
    issuer.strict_rfc9068 = map.text("strict").map_or(issuer.strict_rfc9068, |word| word == "rfc9068");
    issuer.keys = keys(reader, map, issuer.integration);
    issuer.algorithms = algorithms(reader, map, &issuer.keys);
    if let Some(stale) = map.map("keys").and_then(|keys| keys.duration("max_stale")) {
        issuer.keys_max_stale = stale;
    }
    if let Some(claims) = map.map("claims") {
        sources(&mut issuer.claims, claims);
    }
    if let Some(case) = map.map("claims_case") {
        issuer.case_insensitive = case.list("insensitive").iter().filter_map(path).collect();
    }
    flow_rules(reader, map, &mut issuer);
    issuer.tls_ca = map.map("tls").and_then(|tls| tls.get("ca")).map(|node| reader.file(node, FileKind::CaBundle));
    issuer.introspection = map.map("introspection").and_then(|inner| introspection(reader, inner, issuer.integration));
    issuer.userinfo = userinfo(reader, map, &issuer);
    issuer.sender_constraint_required = map.text("sender_constraint") == Some("required");
    (!issuer.name.is_empty()).then_some(issuer)
}

fn issuer_url(reader: &mut Reader<'_>, node: &Node, integration: bool) {
    https(reader, node, integration);
    let text = node.text().unwrap_or_default();
    if is_dev_issuer(text) {
        reader
            .error(node, "this is an issuer of `torwart dev`: its tokens are worth nothing outside of dev mode")
            .help("write the URL of a real authorization server");
    }
    if text.contains('?') {
        reader.error(node, "an issuer's URL has no query").help("RFC 8414 section 2: scheme, host and path only");
    }
}

/// Refuses http, except for this machine in the integration environment.
fn https(reader: &mut Reader<'_>, node: &Node, integration: bool) {
    let Some(uri) = node.text().and_then(|text| forms::url(text).ok()) else { return };
    let local = forms::is_local(&uri);
    if uri.scheme_str() == Some("https") || (local && integration) {
        return;
    }
    let help = match (local, node.text().and_then(|text| text.split_once("://"))) {
        (true, _) => "write `environment: integration` for a provider on this machine".to_owned(),
        (false, Some((_, rest))) if !node.expanded => format!("write `https://{rest}`"),
        (false, _) => "write `https://`".to_owned(),
    };
    reader.error(node, "issuers speak https: whoever is between could put keys of their own in").help(help);
}

fn audiences(reader: &mut Reader<'_>, map: &Mapping) -> Audiences {
    let Some(node) = map.get("audiences") else { return Audiences::OneOf(Vec::new()) };
    if node.text() == Some("any") {
        reader
            .warning(node, "`audiences: any` accepts tokens that were issued for other APIs")
            .help("name the audiences of this API, unless the issuer's tokens have none");
        return Audiences::Any;
    }
    Audiences::OneOf(node.list().iter().filter_map(Node::text).map(str::to_owned).collect())
}

fn keys(reader: &mut Reader<'_>, map: &Mapping, integration: bool) -> KeySource {
    if let Some(node) = map.get("secret_file") {
        return KeySource::Secret(reader.file(node, FileKind::Secret));
    }
    if let Some(node) = map.get("jwks_file") {
        return KeySource::File(reader.file(node, FileKind::KeySet));
    }
    match map.get("jwks_uri").and_then(|node| Some((node, node.text()?))) {
        Some((node, url)) => {
            https(reader, node, integration);
            KeySource::Url(url.to_owned())
        }
        None => KeySource::Discovery,
    }
}

fn algorithms(reader: &mut Reader<'_>, map: &Mapping, keys: &KeySource) -> Vec<Algorithm> {
    let secret = matches!(keys, KeySource::Secret(_));
    let fitting: &[Algorithm] = if secret { &Issuer::HMAC } else { &Issuer::ASYMMETRIC };
    if map.get("algorithms").is_none() {
        return fitting.to_vec();
    }
    let mut chosen = Vec::new();
    for node in map.list("algorithms") {
        let Some((name, algorithm)) = node.text().and_then(|name| Some((name, Algorithm::named(name)?))) else {
            continue;
        };
        if chosen.contains(&algorithm) {
            reader.error(node, format!("`{name}` is listed twice")).help("keep one");
        } else if fitting.contains(&algorithm) {
            chosen.push(algorithm);
        } else if secret {
            reader
                .error(node, format!("`{name}` has no use for the secret in `secret_file`"))
                .help("with `secret_file` only `HS256`, `HS384` and `HS512` count");
        } else {
            reader
                .error(node, format!("`{name}` needs `secret_file`"))
                .help("a key that is published can sign nothing: HMAC counts only with a secret of its own");
        }
    }
    chosen
}

fn sources(claims: &mut ClaimSources, map: &Mapping) {
    let fields = [
        (&mut claims.subject, "subject"),
        (&mut claims.client, "client"),
        (&mut claims.scopes, "scopes"),
        (&mut claims.permissions, "permissions"),
        (&mut claims.organizations, "organizations"),
        (&mut claims.global, "global"),
    ];
    for (field, key) in fields {
        let Some(node) = map.get(key) else { continue };
        *field = match node.map() {
            Some(choice) => choice.list("first_of").iter().filter_map(path).collect(),
            None => path(node).into_iter().collect(),
        };
    }
}

/// A literal name, or a list of keys to descend.
fn path(node: &Node) -> Option<ClaimPath> {
    let keys: Option<Box<[String]>> = node.one_or_many().iter().map(|key| key.text().map(str::to_owned)).collect();
    keys.filter(|keys| !keys.is_empty()).map(ClaimPath)
}

/// The two rules belong together: who writes the first does without the preset's second.
fn flow_rules(reader: &mut Reader<'_>, map: &Mapping, issuer: &mut Issuer) {
    if let Some(node) = map.get("client_credentials_when") {
        issuer.client_credentials_when = flow_rule(reader, node);
        issuer.user_when = None;
    }
    if let Some(entry) = map.entry("user_when") {
        issuer.user_when = flow_rule(reader, &entry.value);
        if issuer.client_credentials_when.is_none() {
            reader
                .error_at(entry.key.span, "`user_when` has no effect: nothing tells client credentials here")
                .help("say `client_credentials_when` too, `never` if there are no such tokens");
        }
    }
}

fn flow_rule(reader: &mut Reader<'_>, node: &Node) -> Option<FlowRule> {
    match node.text() {
        Some("client_equals_subject") => return Some(FlowRule::ClientEqualsSubject),
        Some("never") => return Some(FlowRule::Never),
        _ => {}
    }
    let map = node.map()?;
    for (key, rule) in [("any_of", FlowRule::AnyOf as fn(Vec<FlowRule>) -> FlowRule), ("all_of", FlowRule::AllOf)] {
        let Some(parts) = map.get(key) else { continue };
        for part in parts.list() {
            if part.text() == Some("never") || part.map().is_some_and(|part| part.get(key).is_some()) {
                reader
                    .error(part, format!("`{key}` holds single rules"))
                    .help(format!("`never` and another `{key}` have no place in it"));
            }
        }
        return parts.list().iter().map(|part| flow_rule(reader, part)).collect::<Option<_>>().map(rule);
    }
    if let Some(subject) = map.get("subject_is") {
        placeholders(reader, subject, ("subject_is", &["client", "client:lower"]));
        return Some(FlowRule::SubjectIs(subject.text()?.to_owned()));
    }
    let claim = path(map.get("claim")?)?;
    if let Some(value) = map.get("equals") {
        placeholders(reader, value, ("equals", &["client", "client:lower", "subject"]));
        return Some(FlowRule::ClaimEquals(claim, value.to_json()?));
    }
    Some(FlowRule::ClaimExists(claim, map.bool("exists")?))
}

/// Refuses braces that stand for nothing.
fn placeholders(reader: &mut Reader<'_>, node: &Node, (key, known): (&str, &[&str])) {
    let Some(text) = node.text() else { return };
    let names: Vec<String> = known.iter().map(|name| format!("{{{name}}}")).collect();
    let rest = names.iter().fold(text.to_owned(), |text, name| text.replace(name.as_str(), ""));
    if rest.contains(['{', '}']) {
        let names: Vec<String> = names.iter().map(|name| format!("`{name}`")).collect();
        reader
            .error(node, format!("`{key}` knows only {}", names.join(", ")))
            .help("between braces stands the name of what is put there");
    }
}

fn introspection(reader: &mut Reader<'_>, map: &Mapping, integration: bool) -> Option<Introspection> {
    if let Some(node) = map.get("endpoint") {
        https(reader, node, integration);
    }
    Some(Introspection {
        endpoint: map.text("endpoint").map(str::to_owned),
        client_id: map.text("client_id")?.to_owned(),
        client_secret_file: reader.file(map.get("client_secret_file")?, FileKind::Secret),
        cache: map.duration("cache").unwrap_or(Duration::from_mins(1)),
        always: map.bool("always").unwrap_or(false),
    })
}

fn userinfo(reader: &mut Reader<'_>, map: &Mapping, issuer: &Issuer) -> Option<Userinfo> {
    let before = issuer.userinfo.clone();
    let Some((entry, inner)) = map.entry("userinfo").and_then(|entry| Some((entry, entry.value.map()?))) else {
        listed(reader, map, issuer, before.as_ref()?);
        return before;
    };
    let mut userinfo = before.unwrap_or(Userinfo { endpoint: None, claims: Vec::new(), cache: Duration::from_mins(5) });
    if let Some(node) = inner.get("endpoint") {
        https(reader, node, issuer.integration);
        userinfo.endpoint = node.text().map(str::to_owned);
    }
    if inner.get("claims").is_some() {
        userinfo.claims = inner.list("claims").iter().filter_map(Node::text).map(str::to_owned).collect();
    } else if userinfo.claims.is_empty() {
        reader
            .error_at(entry.key.span, "`userinfo` says no `claims`, and no preset does")
            .help("list the claims to fetch: `claims: [NAME]`");
    }
    listed(reader, map, issuer, &userinfo);
    userinfo.cache = inner.duration("cache").unwrap_or(userinfo.cache);
    Some(userinfo)
}

/// Refuses claims that userinfo must not decide. Those of a preset can only be at odds with what stands beside them.
fn listed(reader: &mut Reader<'_>, map: &Mapping, issuer: &Issuer, userinfo: &Userinfo) {
    let written = map.map("userinfo").map(|inner| inner.list("claims")).unwrap_or_default();
    let beside =
        ["userinfo", "claims", "client_credentials_when", "user_when", "name"].iter().find_map(|key| map.entry(key));
    for (at, name) in userinfo.claims.iter().enumerate() {
        let Some(span) = written.get(at).map(|node| node.span).or(beside.map(|entry| entry.key.span)) else { continue };
        if REGISTERED.contains(&name.as_str()) || names_holder(issuer, name) {
            reader
                .error_at(span, format!("`{name}` counts only from the token itself"))
                .help("leave it out of `userinfo.claims`: userinfo never decides who a token stands for");
        } else if userinfo.claims.iter().take(at).any(|earlier| earlier == name) {
            reader.error_at(span, format!("`{name}` is listed twice")).help("keep one");
        }
    }
}

/// Claims that say what a token is (RFC 7519 section 4.1, RFC 8693 section 4, RFC 9068 section 2.2, RFC 7800).
static REGISTERED: [&str; 24] = [
    "iss",
    "sub",
    "aud",
    "exp",
    "nbf",
    "iat",
    "jti",
    "scope",
    "scp",
    "client_id",
    "azp",
    "cnf",
    "act",
    "may_act",
    "acr",
    "amr",
    "auth_time",
    "nonce",
    "events",
    "at_hash",
    "c_hash",
    "s_hash",
    "typ",
    "token_use",
];

/// Whether the issuer's tokens name with this claim whose they are or what they were granted.
fn names_holder(issuer: &Issuer, name: &str) -> bool {
    let sources = [&issuer.claims.subject, &issuer.claims.client, &issuer.claims.scopes];
    let mut sources = sources.into_iter().flatten();
    sources.any(|source| source.0.first().is_some_and(|first| first == name))
        || decides_flow(issuer.client_credentials_when.as_ref(), name)
        || decides_flow(issuer.user_when.as_ref(), name)
}

fn decides_flow(rule: Option<&FlowRule>, name: &str) -> bool {
    match rule {
        Some(FlowRule::ClaimEquals(claim, _) | FlowRule::ClaimExists(claim, _)) => {
            claim.0.first().is_some_and(|first| first == name)
        }
        Some(FlowRule::AnyOf(rules) | FlowRule::AllOf(rules)) => {
            rules.iter().any(|rule| decides_flow(Some(rule), name))
        }
        Some(FlowRule::ClientEqualsSubject | FlowRule::SubjectIs(_) | FlowRule::Never) | None => false,
    }
}
