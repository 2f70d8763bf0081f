//! Wrong configuration and policy files, each with the exact messages expected.
//!
//! `tests/config/configuration/NAME.yaml` is a `torwart.yaml`, `tests/config/policy/NAME.yaml` (or every document in
//! `tests/config/policy/NAME/`) are policies; `NAME.expected` beside it holds what is printed about it. With
//! `TORWART_EXPECT=write` the expectations are written instead of compared: read the difference before committing it.

#![expect(clippy::unwrap_used, clippy::string_slice, reason = "a test that cannot go on fails")]

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use std::sync::Arc;

use proptest::prelude::*;
use torwart::config::{self, Documents};
use torwart::diagnostic::{Diagnostics, Source};
use torwart::document::read_file;
use torwart::policy::{Ability, IdentityFacts, IssuerFacts, Policies, Surroundings, UpstreamFacts};
use torwart::principal::IssuerId;
use torwart::target::quirks::{EmptySegments, Quirks};

/// What the cases find in the environment.
fn environment(name: &str) -> Option<String> {
    match name {
        "AUTH_HOST" => Some("auth.example.com".to_owned()),
        "BIG" => Some("1000000".to_owned()),
        _ => None,
    }
}

struct Variables;

impl torwart::document::Environment for Variables {
    fn variable(&self, name: &str) -> Option<String> {
        environment(name)
    }

    fn names(&self) -> Vec<String> {
        vec!["AUTH_HOST".to_owned(), "BIG".to_owned()]
    }
}

fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/config").join(name)
}

/// Names of the cases in a folder.
fn cases(folder: &Path) -> BTreeSet<String> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries
        .filter(|path| path.extension().is_none_or(|extension| extension == "yaml"))
        .map(|path| path.file_stem().unwrap().to_str().unwrap().to_owned())
        .collect()
}

/// Compares what is said about every case of a folder with what is expected, and says all differences.
fn compare(folder: &Path, said: impl Fn(&Path) -> Diagnostics) -> usize {
    let mut differences = String::new();
    let cases = cases(folder);
    for case in &cases {
        let file = folder.join(format!("{case}.yaml"));
        let path = if file.exists() { file } else { folder.join(case) };
        let found = said(&path);
        let prefix = format!("{}/", folder.display());
        let text = found.render().replace(&prefix, "");
        assert!(!found.is_empty(), "{case}: nothing is wrong with it");
        let expected = folder.join(format!("{case}.expected"));
        if std::env::var_os("TORWART_EXPECT").is_some_and(|value| value == "write") {
            fs::write(&expected, &text).unwrap();
        } else if fs::read_to_string(&expected).unwrap_or_default() != text {
            let _ = writeln!(differences, "--- {case}: expected otherwise than\n{text}");
        }
    }
    assert!(differences.is_empty(), "{differences}");
    cases.len()
}

/// What the policies find in their surroundings: two issuers whose tokens tell everything, one whose tell nothing, all but
/// the first asked about opaque tokens, and two upstreams.
fn compile(path: &Path) -> (Option<Policies>, Diagnostics) {
    let issuer = |(position, (name, ability)): (u16, (&str, Ability))| IssuerFacts {
        id: IssuerId(position),
        name: Arc::from(name),
        ability,
        permission_scope: None,
        introspects: name != "shoen",
    };
    let issuers = [("shoen", Ability::EVERYTHING), ("ameise", Ability::EVERYTHING), ("plain", Ability::NOTHING)];
    let unusual = Quirks { empty_segments: EmptySegments::Keep, ..Quirks::default() };
    let upstreams = [("crm", Quirks::default()), ("windows", unusual)];
    let surroundings = Surroundings {
        issuers: (0..).zip(issuers).map(issuer).collect(),
        upstreams: upstreams.map(|(name, quirks)| UpstreamFacts { name: Arc::from(name), quirks }).into(),
        identity: IdentityFacts::default(),
        target_bytes: 8192,
        files: &|path| Err(format!("`{}` does not exist", path.file_name().unwrap().to_string_lossy())),
    };
    let mut problems = Diagnostics::new();
    let sources = if path.is_dir() {
        config::documents(path, Documents::Policies, None, &mut problems)
    } else {
        read_file(path, None, &mut problems).into_iter().collect()
    };
    let (policies, found) = Policies::compile(&sources, &surroundings);
    problems.append(found);
    problems.sort();
    (policies, problems)
}

#[test]
fn every_wrong_policy_is_told_what_is_wrong_with_it() {
    let count = compare(&folder("policy"), |path| compile(path).1);
    assert!(count >= 30, "only {count} cases");
}

#[test]
fn errors_refuse_a_policy() {
    let folder = folder("policy");
    for case in cases(&folder) {
        let file = folder.join(format!("{case}.yaml"));
        let (policies, problems) = compile(&if file.exists() { file } else { folder.join(&case) });
        assert_eq!(policies.is_none(), problems.has_errors(), "{case}");
    }
}

#[test]
fn every_wrong_configuration_is_told_what_is_wrong_with_it() {
    let count = compare(&folder("configuration"), |path| config::load(path, &Variables).1);
    assert!(count >= 30, "only {count} cases");
}

#[test]
fn a_missing_configuration_is_named() {
    let (config, problems) = config::load(Path::new("/nowhere/torwart.yaml"), &Variables);
    assert!(config.is_none());
    assert_eq!(problems.render(), "error: the file `/nowhere/torwart.yaml` does not exist\n");
}

#[test]
fn warnings_alone_do_not_refuse_a_configuration() {
    for case in ["everybody_is_a_trusted_proxy", "any_audience", "admin_token_in_the_clear"] {
        let (config, problems) = config::load(&folder("configuration").join(format!("{case}.yaml")), &Variables);
        assert!(config.is_some(), "{}", problems.render());
    }
}

#[test]
fn errors_refuse_a_configuration() {
    let folder = folder("configuration");
    for case in cases(&folder) {
        let (config, problems) = config::load(&folder.join(format!("{case}.yaml")), &Variables);
        assert_eq!(config.is_none(), problems.has_errors(), "{case}");
    }
}

/// A `torwart.yaml` that uses most of the format.
const EVERYTHING: &str = include_str!("config/everything.yaml");

#[test]
fn a_configuration_that_uses_everything_is_read() {
    let path = folder("everything.yaml");
    let (config, problems) = config::load(&path, &Variables);
    assert!(problems.iter().next().is_none(), "{}", problems.render());
    let config = config.unwrap();
    assert_eq!((config.listeners.len(), config.issuers.len(), config.upstreams.len()), (2, 3, 2));
    assert_eq!(config.issuers[1].issuer, "https://auth.example.com/");
    assert_eq!(config.files.len(), 15);
}

proptest! {
    /// Whatever is done to a file, reading it ends with findings at places inside of it, and never with a crash.
    #[test]
    fn a_damaged_file_is_told_what_is_wrong_with_it(
        cut in 0..EVERYTHING.len(),
        length in 0..40_usize,
        inserted in "(|: |- |\\[|\\]|\\{|\\}|,|\n|  |\"|'|\\$\\{|&a |\\*a|~|1|true|ä|x){0,3}",
    ) {
        let start = EVERYTHING.floor_char_boundary(cut);
        let end = EVERYTHING.floor_char_boundary((start + length).min(EVERYTHING.len()));
        let text = format!("{}{inserted}{}", &EVERYTHING[..start], &EVERYTHING[end..]);
        let source = Arc::new(Source { path: "t.yaml".into(), text });
        let (config, problems) = config::read(&source, Path::new("/"), &Variables);
        prop_assert_eq!(config.is_none(), problems.has_errors());
        for found in problems.iter() {
            let place = found.place.as_ref().unwrap();
            prop_assert!(source.text.get(place.span.start..place.span.end).is_some());
            prop_assert!(!found.render().is_empty());
        }
    }
}
