//! What is done with an input, and what must hold of every input. Each body panics when something does not.

use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use http::header::AUTHORIZATION;
use http::{HeaderMap, HeaderName, HeaderValue};
use torwart::authn::{bearer, claims, jose};
use torwart::clock::Timestamp;
use torwart::diagnostic::Source;
use torwart::json;
use torwart::policy::{
    Ability, Caller, Decision, Head, IdentityFacts, IssuerFacts, Needs, Policies, Surroundings, UpstreamFacts,
};
use torwart::principal::IssuerId;
use torwart::soap;
use torwart::target::method::{Override, overriding};
use torwart::target::quirks::{Charset, EmptySegments, Quirks, Server};
use torwart::target::{Authority, PathRules, Scheme, Target, fold, query as parameters, split_absolute};

/// A request target: its canonical form is stable, and no path that some naive server reads as `/admin/...` is taken for a
/// public one. The first byte chooses the rules.
pub fn target(input: &[u8]) {
    let Some((choice, input)) = input.split_first() else { return };
    let text = String::from_utf8_lossy(input);
    let _ = split_absolute(&text);
    let _ = Authority::parse(&text, Scheme::Https).map(|authority| {
        assert_eq!(Authority::parse(authority.as_str(), Scheme::Https).as_ref(), Ok(&authority));
    });
    let rules = PathRules {
        empty_segments: [EmptySegments::Merge, EmptySegments::Keep, EmptySegments::Refuse][usize::from(choice % 3)],
        charset: if choice & 0x80 == 0 { Charset::Utf8 } else { Charset::Latin1 },
    };
    let Ok(target) = Target::parse(&text, rules) else { return };
    let again = Target::parse(target.path(), rules).expect("the canonical path is canonical");
    assert_eq!(again.path(), target.path());
    assert!(again.segments().eq(target.segments()));
    assert!(target.path().bytes().all(|byte| byte.is_ascii_graphic() && !b"?#\\\"<>^`{|}".contains(&byte)));
    assert_eq!(target.query(), text.split_once('?').map(|(_, query)| query));

    let Some(path) = allowed(table(), &text) else { return };
    let path = path.split('?').next().unwrap_or_default();
    for server in [one_decoding, parameters_first, two_decodings, on_windows, raw] {
        let read = server(path);
        let mut segments = read.split('/').filter(|segment| !segment.is_empty());
        assert!(!read.split('/').any(|segment| segment == "." || segment == ".."), "{path}: {read}");
        assert_ne!(segments.next(), Some("admin"), "{path}: {read}");
    }
}

/// A query: reading it never fails where it should not, and a bound parameter has the allowed value for every server.
pub fn query(input: &[u8]) {
    let text = String::from_utf8_lossy(input);
    for parameter in parameters::parameters(&text) {
        let decoded = parameters::decode(parameter.raw_name);
        assert!(decoded.len() <= parameter.raw_name.len());
        let folded = parameters::fold_name(parameter.raw_name);
        assert!(!folded.contains(['.', ' ', '+', '\0']) && fold::is_folded(&folded), "{folded}");
    }
    if parameters::check_escapes(&text).is_ok() {
        assert!(!parameters::decode(&text).contains(&0));
    }
    if overriding("GET", &HeaderMap::new(), Some(&text)) == Override::Absent {
        assert!(php(&text).all(|(name, _)| name != "_method"));
    }
    if allowed(table(), &format!("/list?{text}")).is_some() {
        // The first and the last of several, and what follows a semicolon, are all the allowed value.
        for (name, value) in php(&text).chain(semicolons(&text)) {
            assert!(name != "action" || value == "list", "{text}: {value}");
        }
    }
}

/// One `Authorization` header a line: a token comes out of exactly one Bearer line.
pub fn authorization(input: &[u8]) {
    let mut headers = HeaderMap::new();
    for line in input.split(|byte| *byte == b'\n').take(3) {
        let Ok(value) = HeaderValue::from_bytes(line) else { return };
        headers.append(AUTHORIZATION, value);
    }
    if let Ok(Some(token)) = bearer::token(&headers) {
        assert_eq!(headers.len(), 1);
        let line = headers[AUTHORIZATION].to_str().expect("what holds a token is ASCII");
        assert!(line.to_ascii_lowercase().starts_with("bearer "), "{line}");
        assert!(line.ends_with(token) && !token.is_empty() && !token.contains([' ', ',', '"']), "{line}");
        let _ = jose::Parts::split(token);
    }
}

/// A token, its header or its claims, whichever the input is.
pub fn token(input: &[u8]) {
    if let Ok(text) = std::str::from_utf8(input)
        && let Ok(parts) = jose::Parts::split(text)
    {
        read_header(&parts.header);
        read_claims(&parts.payload);
        assert_eq!(text, format!("{}.{}", parts.signed, parts.signature));
    }
    read_header(input);
    read_claims(input);
}

fn read_header(text: &[u8]) {
    if let Ok(header) = jose::Header::read(text) {
        let lax: serde_json::Value =
            serde_json::from_slice(text).expect("a strict reader takes no more than a lax one");
        assert_eq!(lax["alg"].as_str(), Some(header.algorithm.name()));
        assert!(lax.get("crit").is_none());
    }
}

fn read_claims(text: &[u8]) {
    let Ok(object) = json::object(text) else { return };
    let lax: serde_json::Value = serde_json::from_slice(text).expect("a strict reader takes no more than a lax one");
    assert_eq!(lax, serde_json::Value::Object(object.clone()));
    if let Ok(registered) = claims::Registered::read(&object) {
        assert!((0..=claims::LATEST).contains(&registered.expires_at.0));
    }
    let _ = claims::refuse_other_kinds(&object);
    let _ = claims::confirmation(&object);
    let _ = claims::authenticated_at(&object);
    for value in object.values() {
        let _ = claims::scopes(value);
        let _ = claims::strings(value);
    }
}

/// A policy document: whatever compiles decides without failing, and nobody without token passes a route that needs one.
pub fn policy_document(input: &[u8]) {
    let (policies, problems) = compile(&String::from_utf8_lossy(input));
    let _ = problems.render();
    assert_eq!(policies.is_none(), problems.has_errors());
    let Some(policies) = policies else { return };
    let hosts: Vec<String> = policies.hosts().map(|host| host.replace(['*', '{', '}'], "x")).collect();
    for host in &hosts {
        let Ok(authority) = Authority::parse(host, Scheme::Https) else { continue };
        for raw_target in ["/", "/a/b?x=1", "/A%2Fb;c/d.", "/admin/%2561"] {
            let headers = HeaderMap::new();
            let head = Head::new("GET", &authority, raw_target, &headers);
            let Ok(placed) = policies.place(&head) else { continue };
            let decision = placed.decide(&nobody());
            assert!(!matches!((placed.needs(), decision), (Needs::Token(_), Decision::Allow(_))), "{raw_target}");
        }
    }
}

fn nobody() -> Caller<'static> {
    Caller { principal: None, address: None, certificate: None, now: Timestamp(1_800_000_000) }
}

fn compile(text: &str) -> (Option<Policies>, torwart::diagnostic::Diagnostics) {
    let source = Arc::new(Source { path: PathBuf::from("policy.yaml"), text: text.to_owned() });
    let upstream = |name: &str, quirks| UpstreamFacts { name: name.into(), quirks };
    let issuer = |id, name: &str| IssuerFacts {
        id: IssuerId(id),
        name: name.into(),
        ability: Ability::EVERYTHING,
        permission_scope: None,
        introspects: false,
    };
    let surroundings = Surroundings {
        issuers: vec![issuer(0, "one"), issuer(1, "two")],
        upstreams: vec![upstream("api", Quirks::default()), upstream("tomcat", Server::Tomcat.quirks())],
        identity: IdentityFacts::default(),
        target_bytes: 8192,
        files: &|_: &Path| Ok("secret".to_owned()),
    };
    Policies::compile(&[source], &surroundings)
}

/// A pointer in the first line, a document in the others: what is found is what a tree has there, however a reader treats
/// keys that come twice or differ in case.
pub fn json_pointer(input: &[u8]) {
    let Some(at) = input.iter().position(|byte| *byte == b'\n') else { return };
    let Ok(pointer) = json::Pointer::parse(&String::from_utf8_lossy(&input[..at])) else { return };
    assert_eq!(json::Pointer::parse(pointer.as_str()).as_ref(), Ok(&pointer));
    let document = &input[at + 1..];
    let Ok(values) = json::scan(document, &[&pointer]) else { return };
    let found: Vec<_> = values.of(0).collect();
    let text = str::from_utf8(document).expect("what is read is UTF-8");
    let tree = match serde_json::from_str::<serde_json::Value>(text) {
        Ok(tree) => tree,
        // Numbers beyond those of 64 bits are no values for either.
        Err(error) => return assert!(error.to_string().contains("out of range"), "{error}: {text}"),
    };
    assert!(json::object(format!("{{\"x\":{text}}}").as_bytes()).is_ok(), "{text}");
    let (mut exact, mut lax) = (Vec::new(), Vec::new());
    descend(&tree, pointer.as_str(), false, &mut exact);
    descend(&tree, pointer.as_str(), true, &mut lax);
    assert_eq!(exact, lax, "a reader without case finds something else in {text}");
    // Beside these only values that are missing or no text may have been found.
    let texts: Vec<_> = found.iter().flatten().map(|text| (*text).to_owned()).collect();
    assert_eq!(texts, exact.iter().flatten().cloned().collect::<Vec<_>>(), "{text}");
    assert!(found.len() >= exact.len(), "{text}");
}

/// What a pointer finds in a tree; without case where `lax`.
fn descend(tree: &serde_json::Value, pointer: &str, lax: bool, found: &mut Vec<Option<String>>) {
    use serde_json::Value;
    let Some(rest) = pointer.strip_prefix('/') else {
        found.push(match tree {
            Value::String(text) => Some(text.clone()),
            // A float that is written without a fraction is an integer that 64 bits do not hold.
            Value::Number(number) if !number.is_f64() => Some(number.to_string()),
            _ => None,
        });
        return;
    };
    let (step, behind) = rest.find('/').map_or((rest, ""), |at| rest.split_at(at));
    let key = step.replace("~1", "/").replace("~0", "~");
    match tree {
        Value::Array(items) if step == "*" => items.iter().for_each(|item| descend(item, behind, lax, found)),
        Value::Array(items) => {
            let position = key.parse::<usize>().ok().filter(|position| position.to_string() == key);
            if let Some(item) = position.and_then(|position| items.get(position)) {
                descend(item, behind, lax, found);
            }
        }
        Value::Object(members) if step != "*" => {
            let same = |name: &str| *name == key || (lax && fold::fold_text(name) == fold::fold_text(&key));
            members.iter().filter(|(name, _)| same(name)).for_each(|(_, value)| descend(value, behind, lax, found));
        }
        _ => {}
    }
}

/// A urlencoded body: where it is allowed, a bound parameter has the allowed value for every server, and one that is
/// bound in the query stands in no body.
pub fn form(input: &[u8]) {
    let text = String::from_utf8_lossy(input);
    let named = |name: &str| -> Vec<String> {
        php(&text).chain(semicolons(&text)).filter(|(found, _)| found == name).map(|(_, value)| value).collect()
    };
    if allowed_with_body("/form", "application/x-www-form-urlencoded", input) {
        assert!(named("action").iter().all(|value| value == "list"), "{text}");
        assert!(!named("action").is_empty(), "{text}");
    }
    if allowed_with_body("/bound?action=list", "application/x-www-form-urlencoded", input) {
        assert!(named("action").is_empty(), "{text}");
    }
    assert!(!allowed_with_body("/form?Action[]=list", "application/x-www-form-urlencoded", input));
    assert!(!allowed_with_body("/bound?action=list", "multipart/form-data; boundary=x", input) || input.is_empty());
}

/// A SOAP message: a reader that takes anything for XML finds the same operation, and nothing is in it that parsers
/// resolve in ways of their own.
pub fn xml(input: &[u8]) {
    let Ok(message) = soap::read(input) else { return };
    let text = str::from_utf8(input).expect("what is read is UTF-8");
    assert_eq!(lax_operation(text), Some(message.operation), "{text}");
    assert!(!text.contains("<!DOCTYPE") || text.contains("<!--") || text.contains("<![CDATA["), "{text}");
    let passes = allowed_with_body("/soap", "text/xml", input);
    assert_eq!(passes, message.operation == "GetOrder" && message.agrees_with_itself(), "{text}");
}

/// The local name of the first element in an element named `Body` that is a child of the first one.
fn lax_operation(text: &str) -> Option<&str> {
    let (mut rest, mut depth, mut in_body) = (text, 0_usize, false);
    while let Some(at) = rest.find('<') {
        rest = &rest[at..];
        let skipped = [("<!--", "-->"), ("<![CDATA[", "]]>"), ("<?", "?>")].into_iter().find_map(|(begin, end)| {
            rest.strip_prefix(begin).map(|inside| inside.split_once(end).map(|(_, after)| after))
        });
        if let Some(after) = skipped {
            rest = after?;
            continue;
        }
        let mut quote = None;
        let end = rest.char_indices().find(|(_, character)| match (quote, character) {
            (None, '"' | '\'') => {
                quote = Some(*character);
                false
            }
            (Some(open), character) => {
                quote = quote.filter(|_| open != *character);
                false
            }
            (None, character) => *character == '>',
        });
        let (tag, after) = rest.split_at(end?.0);
        rest = after;
        if tag.starts_with("</") {
            depth = depth.checked_sub(1)?;
            continue;
        }
        let name = tag[1..].split([' ', '\t', '\r', '\n', '/']).next()?;
        let local = name.rsplit(':').next()?;
        if in_body {
            return Some(local);
        }
        in_body = depth == 1 && local == "Body";
        depth += usize::from(!tag.ends_with('/'));
    }
    None
}

/// Whether a request with this body passes without a token.
fn allowed_with_body(raw_target: &str, content_type: &str, body: &[u8]) -> bool {
    static TABLE: OnceLock<Policies> = OnceLock::new();
    let policies = TABLE.get_or_init(|| {
        let (policies, problems) = compile(concat!(
            "version: 1\npolicy: bodies\nhosts: ['*']\nupstream: api\nissuers: [one]\nroutes:\n",
            "  - {path: /form, methods: [POST], require: {token: none, request: {form.action: list}}}\n",
            "  - {path: /bound, methods: [POST], require: {token: none, request: {query.action: list}}}\n",
            "  - {path: /soap, methods: [POST], require: {token: none, request: {soap.operation: GetOrder}}}\n",
        ));
        policies.unwrap_or_else(|| panic!("{}", problems.render()))
    });
    let authority = Authority::parse("api.example.com", Scheme::Https).expect("a host");
    let content_type = HeaderValue::from_str(content_type).expect("a value");
    let headers = HeaderMap::from_iter([(HeaderName::from_static("content-type"), content_type)]);
    let head = Head { has_body: true, ..Head::new("POST", &authority, raw_target, &headers) };
    let Ok(placed) = policies.place(&head) else { return false };
    let decision = match placed.decide(&nobody()) {
        Decision::NeedsBody => placed.decide_with_body(&nobody(), body),
        decision => decision,
    };
    match decision {
        Decision::Allow(_) => true,
        Decision::Deny(_) => false,
        Decision::Observed(..) | Decision::Answered(_) | Decision::NeedsClaims | Decision::NeedsBody => {
            panic!("nothing is observed, no preflight is sent, and the body was read")
        }
    }
}

/// Anything but `/admin` is public, and `/list` only lists.
fn table() -> &'static Policies {
    static TABLE: OnceLock<Policies> = OnceLock::new();
    TABLE.get_or_init(|| {
        let (policies, problems) = compile(concat!(
            "version: 1\npolicy: table\nhosts: ['*']\nupstream: api\nissuers: [one]\nroutes:\n",
            "  - {path: '/admin/{*rest}', methods: '*', require: {scope: admin}, unbound: [rest]}\n",
            "  - {path: '/list', methods: [GET], require: {token: none, request: {query.action: list}}}\n",
            "  - {path: '/{*rest}', methods: '*', require: public, unbound: [rest]}\n",
        ));
        let policies = policies.unwrap_or_else(|| panic!("{}", problems.render()));
        for (target, passes) in
            [("/shop", true), ("/list?action=list", true), ("/list?action=x", false), ("/admin", false)]
        {
            assert_eq!(allowed(&policies, target).is_some(), passes, "{target}");
        }
        policies
    })
}

/// What is forwarded of a request without token, if anything.
fn allowed(policies: &Policies, raw_target: &str) -> Option<String> {
    let authority = Authority::parse("api.example.com", Scheme::Https).expect("a host");
    let headers = HeaderMap::from_iter([(HeaderName::from_static("accept"), HeaderValue::from_static("*/*"))]);
    let head = Head::new("GET", &authority, raw_target, &headers);
    match policies.place(&head).ok()?.decide(&nobody()) {
        Decision::Allow(permit) => Some(permit.path_and_query().as_str().to_owned()),
        Decision::Deny(_)
        | Decision::Observed(..)
        | Decision::Answered(_)
        | Decision::NeedsClaims
        | Decision::NeedsBody => None,
    }
}

fn percent_decoded(path: &str) -> String {
    String::from_utf8_lossy(&parameters::decode(&path.replace('+', "%2B"))).into_owned()
}

fn without_parameters(path: &str) -> String {
    path.split('/').map(|segment| segment.split(';').next().unwrap_or_default()).collect::<Vec<_>>().join("/")
}

fn raw(path: &str) -> String {
    path.to_owned()
}

/// CGI and its kin: decoded once, slashes and all.
fn one_decoding(path: &str) -> String {
    percent_decoded(path)
}

/// Servlet containers: parameters go before decoding.
fn parameters_first(path: &str) -> String {
    percent_decoded(&without_parameters(path))
}

/// A front server that decodes, and an application that decodes again.
fn two_decodings(path: &str) -> String {
    without_parameters(&percent_decoded(&percent_decoded(path)).replace('\\', "/"))
}

/// A server on Windows: decoded, backslashes, no case, no trailing dots and spaces.
fn on_windows(path: &str) -> String {
    let path = percent_decoded(path).replace('\\', "/").to_lowercase();
    let trimmed = |segment: &str| match segment.trim_end_matches(['.', ' ']) {
        "" => segment.to_owned(),
        trimmed => trimmed.to_owned(),
    };
    path.split('/').map(trimmed).collect::<Vec<_>>().join("/")
}

/// Parameters as PHP names them.
fn php(query: &str) -> impl Iterator<Item = (String, String)> {
    pairs(query.split('&')).map(|(name, value)| {
        let name = name.trim_start_matches(' ');
        let name = name.split('\0').next().unwrap_or_default();
        let name = match name.find('[') {
            Some(open) if name[open..].contains(']') => &name[..open],
            _ => name,
        };
        (name.replace([' ', '.', '['], "_").to_lowercase(), value)
    })
}

/// Parameters for servers that split at `;` as well.
fn semicolons(query: &str) -> impl Iterator<Item = (String, String)> {
    pairs(query.split(['&', ';']))
}

fn pairs<'q>(pieces: impl Iterator<Item = &'q str>) -> impl Iterator<Item = (String, String)> {
    let text = |raw: &str| String::from_utf8_lossy(&parameters::decode(raw)).into_owned();
    pieces.map(move |piece| {
        let (name, value) = piece.split_once('=').unwrap_or((piece, ""));
        (text(name), text(value))
    })
}

/// Whatever is read of the front of a connection is read the same way byte by byte, never takes a byte too many, and an address
/// that is told is the one that a second reading finds.
pub fn proxy_header(input: &[u8]) {
    use torwart::server::proxy_protocol::{Announced, LONGEST, Progress, parse};
    let at_once = parse(input);
    let mut length = 0;
    let piecewise = loop {
        match parse(&input[..length]) {
            Ok(Progress::Part(least)) if length + least <= input.len() => {
                assert!(least > 0, "nothing is waited for");
                length += least;
            }
            other => break other,
        }
    };
    match (at_once, piecewise) {
        (Ok(Progress::Whole(whole, announced)), again) => {
            assert!(whole <= LONGEST && whole <= input.len());
            assert_eq!(again, Ok(Progress::Whole(whole, announced)), "read in pieces");
            if let Announced::Client(client) = announced {
                let header = &input[..whole];
                let told = if header.starts_with(b"PROXY ") {
                    let line = std::str::from_utf8(header).expect("a line");
                    let words: Vec<&str> = line.split_whitespace().collect();
                    (words[2].parse().expect("an address"), words[4].parse().expect("a port"))
                } else if header[13] >> 4 == 1 {
                    let octets: [u8; 4] = header[16..20].try_into().expect("four");
                    (std::net::IpAddr::from(octets), u16::from_be_bytes([header[24], header[25]]))
                } else {
                    let octets: [u8; 16] = header[16..32].try_into().expect("sixteen");
                    (std::net::IpAddr::from(octets), u16::from_be_bytes([header[48], header[49]]))
                };
                assert_eq!((told.0.to_canonical(), told.1), (client.ip(), client.port()));
            }
        }
        (Ok(Progress::Part(_)) | Err(_), again) => {
            assert!(!matches!(again, Ok(Progress::Whole(..))), "whole in pieces only");
        }
    }
}
