//! What a policy directory says about the world around it: which issuers and upstreams it needs, which hosts it
//! answers, who its personas are, and which requests its tests make.
//!
//! Documents are only looked at here, not judged: whatever is wrong with one is found when it is compiled.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::diagnostic::{Diagnostics, Place, Source};
use crate::document::{Key, Mapping, Node, Value, parse};
use crate::principal::Claims;

/// Everything of interest, in the order written and without repetition.
#[derive(Debug, Default)]
pub struct Sketch {
    /// Host patterns.
    pub hosts: Vec<String>,
    /// Names of issuers: of documents, routes and personas.
    pub issuers: Vec<String>,
    /// Names of upstreams.
    pub upstreams: Vec<String>,
    /// Routes of all documents.
    pub routes: Vec<RouteSketch>,
    /// Personas of all test files.
    pub personas: Vec<PersonaSketch>,
    /// Requests of all test files.
    pub requests: Vec<RequestSketch>,
}

/// A route as written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RouteSketch {
    /// The document's host patterns.
    pub hosts: Vec<String>,
    /// Base path and path.
    pub path: String,
    /// Names of issuers whose tokens count; none: any.
    pub issuers: Vec<String>,
    /// Methods as listed; `*` alone for any.
    pub methods: Vec<String>,
    /// Types of captures, where they are named by one word.
    pub params: BTreeMap<String, String>,
}

/// A persona as written.
#[derive(Debug, Clone)]
pub struct PersonaSketch {
    /// Its name.
    pub name: String,
    /// Its issuer's name, if it says so.
    pub issuer: Option<String>,
    /// Everything else it says.
    pub claims: Claims,
    /// Where it is written.
    pub place: Place,
}

/// A request of a test that a persona, or nobody, makes with nothing but method, URL and headers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestSketch {
    /// Who makes it.
    pub persona: Option<String>,
    /// Its method.
    pub method: String,
    /// Its URL.
    pub url: String,
    /// Headers besides the token.
    pub headers: Vec<(String, String)>,
}

impl Sketch {
    /// Looks at policy documents and test files. What is wrong with a persona's claims is a problem.
    pub fn of(documents: &[Arc<Source>], tests: &[Arc<Source>], problems: &mut Diagnostics) -> Self {
        let mut sketch = Self::default();
        for source in documents {
            // The same is said, and better placed, when the document is compiled.
            let mut ignored = Diagnostics::new();
            if let Some(node) = parse(source, &mut ignored)
                && let Some(map) = node.map()
            {
                sketch.document(map);
            }
        }
        for source in tests {
            // Likewise by `cases::inspect`.
            let mut ignored = Diagnostics::new();
            if let Some(node) = parse(source, &mut ignored)
                && let Some(map) = node.map()
            {
                sketch.test_file(map, source, problems);
            }
        }
        sketch
    }

    fn document(&mut self, map: &Mapping) {
        let hosts = texts(map.one_or_many("hosts"));
        let base = map.text("base_path").unwrap_or("").trim_end_matches('/');
        add(&mut self.hosts, hosts.iter().cloned());
        add(&mut self.issuers, texts(map.one_or_many("issuers")));
        add(&mut self.upstreams, map.text("upstream").map(str::to_owned));
        for route in map.list("routes").iter().filter_map(Node::map) {
            add(&mut self.issuers, texts(route.one_or_many("issuers")));
            let Some(path) = route.text("path") else { continue };
            let own = if route.get("issuers").is_some() { route } else { map };
            let params = route.map("params").into_iter().flat_map(Mapping::entries);
            self.routes.push(RouteSketch {
                hosts: hosts.clone(),
                path: format!("{base}/{}", path.trim_start_matches('/')),
                issuers: texts(own.one_or_many("issuers")),
                methods: texts(route.one_or_many("methods")),
                params: params
                    .filter_map(|entry| Some((entry.key.text.clone(), entry.value.text()?.to_owned())))
                    .collect(),
            });
        }
    }

    fn test_file(&mut self, map: &Mapping, source: &Arc<Source>, problems: &mut Diagnostics) {
        for entry in map.map("personas").into_iter().flat_map(Mapping::entries) {
            // Whose name is taken is told by `cases::inspect`.
            if self.personas.iter().all(|persona| persona.name != entry.key.text) {
                self.persona(&entry.key, &entry.value, source, problems);
            }
        }
        for test in map.list("tests").iter().filter_map(Node::map) {
            self.requests.extend(request(test));
        }
    }

    fn persona(&mut self, name: &Key, node: &Node, source: &Arc<Source>, problems: &mut Diagnostics) {
        let Some(map) = node.map() else { return };
        for claim in ["issuer", "sub", "client_id", "azp"] {
            if let Some(node) = map.get(claim).filter(|node| !matches!(node.value, Value::Text(_))) {
                problems.error(node.place(source), format!("`{claim}` is text")).help("put it in quotes");
            }
        }
        let issuer = map.text("issuer").map(str::to_owned);
        add(&mut self.issuers, issuer.clone());
        let claims = map.entries().filter(|entry| entry.key.text != "issuer");
        self.personas.push(PersonaSketch {
            name: name.text.clone(),
            issuer,
            claims: claims.filter_map(|entry| Some((entry.key.text.clone(), entry.value.to_json()?))).collect(),
            place: name.place(source),
        });
    }
}

/// The request of a test, unless it needs what a pasted command does not have: a body, another address, another time.
fn request(test: &Mapping) -> Option<RequestSketch> {
    let persona = match test.get("as") {
        Some(node) => Some(node.text()?.to_owned()),
        None => None,
    };
    let node = test.get("request")?;
    if let Some(text) = node.text() {
        let (method, url) = text.split_once(' ')?;
        return Some(RequestSketch { persona, method: method.to_owned(), url: url.trim().to_owned(), headers: vec![] });
    }
    let map = node.map()?;
    if ["body", "address", "certificate", "time"].iter().any(|key| map.get(key).is_some()) {
        return None;
    }
    let headers = map.map("headers").into_iter().flat_map(Mapping::entries);
    let headers = headers.map(|entry| Some((entry.key.text.clone(), entry.value.text()?.to_owned())));
    Some(RequestSketch {
        persona,
        method: map.text("method").unwrap_or("GET").to_owned(),
        url: map.text("url")?.to_owned(),
        headers: headers.collect::<Option<_>>()?,
    })
}

fn texts(nodes: &[Node]) -> Vec<String> {
    nodes.iter().filter_map(Node::text).map(str::to_owned).collect()
}

fn add(list: &mut Vec<String>, more: impl IntoIterator<Item = String>) {
    for text in more {
        if !list.contains(&text) {
            list.push(text);
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn source(path: &str, text: &str) -> Arc<Source> {
        Arc::new(Source { path: path.into(), text: text.to_owned() })
    }

    fn sketch(documents: &[&str], tests: &[&str]) -> (Sketch, String) {
        let sources = |texts: &[&str], name: &str| {
            texts.iter().enumerate().map(|(at, text)| source(&format!("{at}{name}"), text)).collect::<Vec<_>>()
        };
        let mut problems = Diagnostics::new();
        let sketch = Sketch::of(&sources(documents, ".yaml"), &sources(tests, ".test.yaml"), &mut problems);
        (sketch, problems.render())
    }

    #[test]
    fn every_name_that_needs_something_behind_it_is_found_once() {
        let document = r#"
version: 1
policy: crm
hosts: [api.example.com, "{tenant}.example.com"]
base_path: /crm/
upstream: crm
issuers: [shoen]
routes:
  - {path: "/customers/{customer}", methods: [GET, POST], params: {customer: uuid}, require: authenticated}
  - {path: /open, methods: "*", issuers: [auth0, shoen], require: public}
"#;
        let (sketch, problems) = sketch(&[document, document], &["personas: {a: {issuer: ameise, sub: x}}"]);
        assert_eq!(problems, "");
        assert_eq!(sketch.hosts, ["api.example.com", "{tenant}.example.com"]);
        assert_eq!(sketch.issuers, ["shoen", "auth0", "ameise"]);
        assert_eq!(sketch.upstreams, ["crm"]);
        assert_eq!(sketch.routes[0].path, "/crm/customers/{customer}");
        assert_eq!(sketch.routes[0].params["customer"], "uuid");
        assert_eq!((&*sketch.routes[0].issuers, sketch.routes[1].issuers.len()), (&["shoen".to_owned()][..], 2));
        assert_eq!((&*sketch.routes[1].path, &*sketch.routes[1].methods), ("/crm/open", &["*".to_owned()][..]));
    }

    #[test]
    fn personas_keep_every_claim_but_their_issuers_name() {
        let (sketch, _) = sketch(&[], &["personas: {m: {issuer: a, sub: s, global: true, org_uids: [x], n: 1.5}}"]);
        let persona = &sketch.personas[0];
        assert_eq!((persona.name.as_str(), persona.issuer.as_deref()), ("m", Some("a")));
        let claims = json!({"sub": "s", "global": true, "org_uids": ["x"], "n": 1.5});
        assert_eq!(serde_json::Value::Object(persona.claims.clone()), claims);
    }

    #[test]
    fn an_unquoted_number_where_text_belongs_is_an_error() {
        let (_, problems) = sketch(&[], &["personas: {a: {sub: 4711}}"]);
        assert!(problems.contains("0.test.yaml:1:21: error: `sub` is text"), "{problems}");
        assert!(problems.contains("put it in quotes"), "{problems}");
    }

    #[test]
    fn requests_that_a_pasted_command_can_make_are_found() {
        let tests = r#"
tests:
  - {name: a, as: alice, request: GET https://x/y, expect: allow}
  - {name: b, request: {method: PUT, url: "https://x/z", headers: {X-A: "1"}}, expect: deny}
  - {name: c, as: {sub: inline}, request: GET https://x/no, expect: deny}
  - {name: d, as: alice, request: {url: "https://x/no", body: "{}"}, expect: deny}
  - {name: e, as: alice, request: {url: "https://x/no", time: "2026-01-01T00:00:00Z"}, expect: deny}
"#;
        let (sketch, _) = sketch(&[], &[tests]);
        let plain = |persona: Option<&str>, method: &str, url: &str, headers: &[(&str, &str)]| RequestSketch {
            persona: persona.map(str::to_owned),
            method: method.to_owned(),
            url: url.to_owned(),
            headers: headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect(),
        };
        let wanted =
            [plain(Some("alice"), "GET", "https://x/y", &[]), plain(None, "PUT", "https://x/z", &[("X-A", "1")])];
        assert_eq!(sketch.requests, wanted);
    }

    #[test]
    fn a_document_that_is_no_yaml_is_left_to_the_compiler() {
        let (sketch, problems) = sketch(&["a: [", "hosts: [x]"], &[]);
        assert_eq!((sketch.hosts, problems.as_str()), (vec!["x".to_owned()], ""));
    }
}
