//! docs/issuers.md says the truth: every configuration in it loads, and every payload makes the principal that follows it.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on fails")]

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::Arc;

use serde::Deserialize;
use serde_json::{Map, Value};
use torwart::authn::rules::Rules;
use torwart::config::{self, Preset};
use torwart::diagnostic::{Diagnostics, Severity, Source};
use torwart::document;
use torwart::principal::{Flow, IssuerId, Principal, Texts};

/// What the page says of a principal.
#[derive(Deserialize, Debug, PartialEq)]
#[serde(deny_unknown_fields)]
struct Told {
    subject: Option<String>,
    client: Option<String>,
    flow: String,
    scopes: Vec<String>,
    permissions: Option<Vec<String>>,
    organizations: Option<Vec<String>>,
    global: Option<bool>,
}

impl Told {
    fn of(principal: &Principal) -> Self {
        Self {
            subject: principal.subject.clone(),
            client: principal.client.clone(),
            flow: principal.flow.as_str().to_owned(),
            scopes: principal.scopes.to_vec(),
            permissions: principal.permissions.as_ref().map(Texts::to_vec),
            organizations: principal.organizations.as_ref().map(Texts::to_vec),
            global: principal.global,
        }
    }
}

/// The fenced blocks of the page in their order: language and text.
fn blocks(page: &str) -> Vec<(&str, &str)> {
    let fenced = page.split("```").skip(1).step_by(2);
    fenced.map(|block| block.split_once('\n').unwrap()).collect()
}

fn source(text: &str) -> Arc<Source> {
    Arc::new(Source { path: "docs/issuers.md".into(), text: text.to_owned() })
}

fn yaml(text: &str) -> Value {
    let mut problems = Diagnostics::new();
    let node = document::parse(&source(text), &mut problems);
    assert!(problems.is_empty(), "{}", problems.render());
    node.unwrap().to_json().unwrap()
}

/// The rules of the issuers that a block configures.
fn rules(text: &str) -> Vec<Rules> {
    let (config, problems) = config::read(&source(&format!("version: 1\n{text}")), Path::new("/"), &|_: &str| None);
    let config = config.unwrap_or_else(|| panic!("{}", problems.render()));
    // Cognito's tokens have no audience, and the page says so.
    let any = |found: &torwart::diagnostic::Diagnostic| found.message.contains("`audiences: any`");
    assert!(problems.iter().all(|found| found.severity == Severity::Warning && any(found)), "{}", problems.render());
    config.issuers.iter().zip(0..).map(|(issuer, position)| Rules::new(issuer, IssuerId(position))).collect()
}

#[test]
fn every_payload_makes_the_principal_that_the_page_tells() {
    let page = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/issuers.md")).unwrap();
    let mut seen: BTreeMap<&str, Vec<Flow>> = BTreeMap::new();
    let mut configured: Vec<Rules> = Vec::new();
    let mut principal: Option<Principal> = None;
    for (language, text) in blocks(&page) {
        match language {
            "yaml" if text.starts_with("principal:") => {
                let told: Told = serde_json::from_value(yaml(text).get("principal").unwrap().clone()).unwrap();
                let made = principal.take().unwrap_or_else(|| panic!("no payload stands before {text}"));
                assert_eq!(Told::of(&made), told);
            }
            "yaml" => configured = rules(text),
            "json" => {
                assert!(principal.is_none(), "nothing says what is made of the payload before {text}");
                let claims: Map<String, Value> = serde_json::from_str(text).unwrap();
                let rules =
                    configured.iter().find(|rules| claims.get("iss") == Some(&rules.issuer().issuer.as_str().into()));
                let rules = rules.unwrap_or_else(|| panic!("no issuer is configured for {text}"));
                let made = rules.verified_claims(claims, [0; 32]).unwrap_or_else(|fault| panic!("{fault}: {text}"));
                seen.entry(rules.issuer().preset.unwrap().as_str()).or_default().push(made.flow);
                principal = Some(made);
            }
            other => panic!("nobody checks blocks of `{other}`"),
        }
    }
    assert!(principal.is_none());
    for (name, preset) in Preset::ALL {
        let flows = seen.get(name).map_or(&[][..], Vec::as_slice);
        assert!(flows.contains(&Flow::User), "no user of {name}");
        // Ameise issues no such tokens.
        assert_eq!(flows.contains(&Flow::ClientCredentials), preset != Preset::Ameise, "a client of {name}");
        assert!(!flows.contains(&Flow::Unknown), "{name}");
    }
}
