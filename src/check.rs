//! What `torwart check` looks at: everything that a start would read, without the network, and all findings at once.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::authn::Issuers;
use crate::cases;
use crate::clock::Timestamp;
use crate::config::{self, Config, Documents, FileKind, Issuer, Preset, Upstream};
use crate::dev::sketch::Sketch;
use crate::diagnostic::{Diagnostics, Source};
use crate::document::Environment;
use crate::policy::Policies;
use crate::server::tls::Terminator;
use crate::snapshot::surroundings;
use crate::upstream::Upstreams;

/// What was found, and how much of what was looked at.
#[derive(Debug, Default)]
pub struct Findings {
    /// Errors and warnings, by file and position.
    pub problems: Diagnostics,
    /// Policy documents.
    pub documents: usize,
    /// Routes, when the policies are free of errors.
    pub routes: usize,
    /// Configured issuers.
    pub issuers: usize,
    /// Configured upstreams.
    pub upstreams: usize,
}

/// Checks the configuration at `path` with everything it names.
pub fn configuration(path: &Path, environment: &dyn Environment, now: Timestamp) -> Findings {
    let (draft, mut problems) = config::draft(path, environment);
    let Some(draft) = draft else { return Findings { problems, ..Findings::default() } };
    problems.append(config::inspect(&draft, now));
    let sources = sources(&draft, &mut problems);
    // Names that a broken configuration lacks would be missed in every policy: they are taken for granted there.
    let complete = !problems.has_errors();
    let config = if complete { draft } else { sketched(draft, &sources) };
    if complete {
        problems.append(config.obstacles());
        problems.append(loaded(&config));
    }
    let mut findings = policies(&config, &sources, problems);
    (findings.issuers, findings.upstreams) = (config.issuers.len(), config.upstreams.len());
    findings
}

/// Checks a policy directory alone: issuers and upstreams are what its documents name, as in dev mode.
pub fn directory(path: PathBuf) -> Findings {
    let mut config = Config::empty(PathBuf::new());
    config.policies = path;
    let mut problems = Diagnostics::new();
    let sources = sources(&config, &mut problems);
    let config = sketched(config, &sources);
    policies(&config, &sources, problems)
}

/// The documents of the policy directory; its test files are checked by the way.
fn sources(config: &Config, problems: &mut Diagnostics) -> Vec<Arc<Source>> {
    let at = config.files.iter().find(|file| file.kind == FileKind::Policies).map(|file| &file.place);
    let sources = config::documents(&config.policies, Documents::Policies, at, problems);
    if !problems.has_errors() && sources.is_empty() {
        problems.warn(format!("`{}` holds no policy: every request is answered with 421", config.policies.display()));
    }
    let mut unreadable = Diagnostics::new();
    let tests = config::documents(&config.policies, Documents::Tests, None, &mut unreadable);
    if config.policies.is_dir() {
        problems.append(unreadable);
    }
    problems.append(cases::inspect(&tests));
    sources
}

/// What only loading shows: keys that do not fit their certificates, keys that cannot be used.
fn loaded(config: &Config) -> Diagnostics {
    let mut problems = Diagnostics::new();
    for listener in &config.listeners {
        if let Some(tls) = &listener.tls {
            Terminator::load(tls, &listener.protocols, &mut problems);
        }
    }
    if let Err(found) = Issuers::load(config, None) {
        problems.append(found);
    }
    problems.append(Upstreams::load(config).1);
    problems
}

fn policies(config: &Config, sources: &[Arc<Source>], mut problems: Diagnostics) -> Findings {
    let read = |path: &Path| std::fs::read_to_string(path).map_err(|fault| fault.to_string());
    let (policies, found) = Policies::compile(sources, &surroundings(config, &read));
    problems.append(found);
    problems.sort();
    let routes = policies.map_or(0, |policies| policies.routes().count());
    Findings { problems, documents: sources.len(), routes, ..Findings::default() }
}

/// The configuration with every issuer and upstream that the policies name, those it does not have as in dev mode.
fn sketched(mut config: Config, sources: &[Arc<Source>]) -> Config {
    let sketch = Sketch::of(sources, &[], &mut Diagnostics::new());
    for name in sketch.issuers {
        if !config.issuers.iter().any(|issuer| *issuer.name == *name) {
            let preset = Preset::named(&name).unwrap_or(Preset::Rfc9068);
            config.issuers.push(Issuer::new(&name, &format!("https://{name}.invalid"), Some(preset)));
        }
    }
    for name in sketch.upstreams {
        if !config.upstreams.iter().any(|upstream| *upstream.name == *name) {
            config.upstreams.push(Upstream::new(&name, Vec::new()));
        }
    }
    config
}
