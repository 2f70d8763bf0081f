//! Runs `families/*.yaml`: raw claims as each family of issuers writes them, read through the issuer's own rules, and what
//! becomes of a request with such a token. The files are meant to be read; their format is in `families/README.md`.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on fails")]

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::Deserialize;
use serde_json::{Value, json};
use torwart::config::{self, Config, Preset};
use torwart::diagnostic::{Diagnostics, Source};
use torwart::document;
use torwart::principal::Claims;
use torwart::trial::{Attempt, Bearer, Loaded, MOMENT, Outcome, Request};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    about: String,
    /// As under `issuers` in torwart.yaml.
    issuer: Value,
    #[serde(default)]
    policies: Vec<String>,
    #[serde(default)]
    policy_files: Vec<String>,
    /// What is asked where a case does not say.
    request: String,
    cases: Vec<Case>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    name: String,
    claims: Claims,
    request: Option<String>,
    flow: Option<String>,
    client: Option<String>,
    expect: String,
}

#[test]
fn every_family_is_told_as_its_file_says() {
    let mut failures = String::new();
    let mut presets = BTreeSet::new();
    let mut count = 0;
    for path in files() {
        let file = read(&path);
        assert!(!file.about.is_empty());
        let loaded = load(&file);
        presets.extend(loaded.config.issuers.iter().filter_map(|issuer| issuer.preset).map(Preset::as_str));
        count += file.cases.len();
        for case in &file.cases {
            if let Err(difference) = run(case, &file, &loaded) {
                let name = path.file_name().unwrap().to_string_lossy();
                let _ = writeln!(failures, "{name}: {}: {difference}", case.name);
            }
        }
    }
    assert!(failures.is_empty(), "{failures}");
    assert_eq!(presets, Preset::ALL.iter().map(|(name, _)| *name).collect(), "a family has no file");
    assert!(count >= 120, "only {count} cases");
}

fn files() -> Vec<PathBuf> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/families");
    let mut paths: Vec<PathBuf> = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "yaml"));
    paths.sort();
    paths
}

fn read(path: &Path) -> File {
    let source = Arc::new(Source { path: path.to_owned(), text: fs::read_to_string(path).unwrap() });
    let mut problems = Diagnostics::new();
    let node = document::parse(&source, &mut problems);
    assert!(problems.is_empty(), "{}", problems.render());
    let json = node.unwrap().to_json().unwrap();
    serde_json::from_value(json).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn load(file: &File) -> Loaded {
    let written = json!({
        "version": 1,
        "issuers": [file.issuer],
        "upstreams": {"crm": {"endpoints": ["http://127.0.0.1:9"]}},
    });
    let source = |path: PathBuf, text: String| Arc::new(Source { path, text });
    let (config, problems) =
        config::read(&source("torwart.yaml".into(), written.to_string()), Path::new("/"), &|_: &str| None);
    let config: Config = config.unwrap_or_else(|| panic!("{}", problems.render()));
    let texts = file.policies.iter().enumerate();
    let mut documents: Vec<_> =
        texts.map(|(at, text)| source(format!("policy-{at}.yaml").into(), text.clone())).collect();
    for path in &file.policy_files {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
        let text = fs::read_to_string(&path).unwrap();
        documents.push(source(path, text));
    }
    match Loaded::of(config, &documents, &[]) {
        Ok((loaded, _)) => loaded,
        Err(problems) => panic!("{}", problems.render()),
    }
}

fn run(case: &Case, file: &File, loaded: &Loaded) -> Result<(), String> {
    let line = case.request.as_deref().unwrap_or(&file.request).replacen(" /", " https://api.example.com/", 1);
    let request = Request::line(&line).map_err(|error| error.to_string())?;
    let bearer = loaded.token(None, case.claims.clone(), MOMENT).ok_or("there is no issuer")?;
    let mut said = Vec::new();
    let mut compare = |what: &str, wanted: Option<&str>, found: Option<&str>| {
        if wanted.is_some() && wanted != found {
            said.push(format!("{what} {}", found.unwrap_or("none")));
        }
    };
    let attempt = loaded.attempt(&request, &bearer);
    compare("expect", Some(&case.expect), Some(&outcome(&attempt, &bearer)));
    if let Bearer::Principal(principal) = &bearer {
        compare("flow", case.flow.as_deref(), Some(principal.flow.as_str()));
        compare("client", case.client.as_deref(), principal.client.as_deref());
    }
    if said.is_empty() { Ok(()) } else { Err(said.join(", ")) }
}

/// `allow`, or the status and why: the check that the token failed, or the condition that did.
fn outcome(attempt: &Attempt<'_>, bearer: &Bearer) -> String {
    if matches!(attempt.outcome, Outcome::Allowed(_)) {
        return "allow".to_owned();
    }
    let reason = bearer.fault().map(torwart::authn::Fault::as_str).or_else(|| attempt.reason());
    let status = attempt.status().map_or_else(|| "no status".to_owned(), |status| status.as_u16().to_string());
    format!("{status} {}", reason.unwrap_or("without reason"))
}
