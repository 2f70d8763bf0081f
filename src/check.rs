//! What `torwart check` looks at: everything that a start would read, without the network, and all findings at once.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::assertion;
use crate::authn::Issuers;
use crate::authn::rules::Rules;
use crate::cases;
use crate::clock::Timestamp;
use crate::config::{self, Config, Documents, FileKind};
use crate::diagnostic::{Diagnostics, Source, chain};
use crate::document::Environment;
use crate::policy::Policies;
use crate::policy::analysis::{self, Side};
use crate::principal::IssuerId;
use crate::server::tls::Terminator;
use crate::snapshot::surroundings;
use crate::trial::sketched;
use crate::upstream::{Reached, Upstreams};

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

/// How far a check goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reach {
    /// Files of this machine alone.
    Offline,
    /// Also discovery, keys and introspection of every issuer, and a connection to every upstream.
    Online,
}

/// Checks the configuration at `path` with everything it names.
pub fn configuration(path: &Path, environment: &dyn Environment, reach: Reach) -> Findings {
    let now = Timestamp::now();
    let (draft, mut problems) = config::draft(path, environment);
    let Some(draft) = draft else { return Findings { problems, ..Findings::default() } };
    problems.append(config::inspect(&draft, now));
    let (sources, tests) = sources(&draft, &mut problems);
    // Names that a broken configuration lacks would be missed in every policy: they are taken for granted there.
    let complete = !problems.has_errors();
    let config = if complete { draft } else { supposed(draft, &sources, &tests) };
    if complete {
        problems.append(config.obstacles());
        problems.append(loaded(&config, reach));
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
    let (sources, tests) = sources(&config, &mut problems);
    let config = sketched(config, &sources, &tests);
    policies(&config, &sources, problems)
}

/// What a broken configuration might have been.
fn supposed(draft: Config, sources: &[Arc<Source>], tests: &[Arc<Source>]) -> Config {
    let mut config = sketched(draft, sources, tests);
    for issuer in &mut config.issuers {
        issuer.assumed = true;
    }
    config
}

/// The documents of the policy directory and its test files, which are checked by the way.
fn sources(config: &Config, problems: &mut Diagnostics) -> (Vec<Arc<Source>>, Vec<Arc<Source>>) {
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
    (sources, tests)
}

/// What only loading shows: keys that do not fit their certificates, keys that cannot be used.
fn loaded(config: &Config, reach: Reach) -> Diagnostics {
    let mut problems = Diagnostics::new();
    for listener in &config.listeners {
        if let Some(tls) = &listener.tls {
            Terminator::load(tls, &listener.protocols, &mut problems);
        }
    }
    problems.append(assertion::inspect(config));
    let issuers = Issuers::load(config, None).map_err(|found| problems.append(found)).ok();
    let (upstreams, found) = Upstreams::load(config, None);
    problems.append(found);
    if let (Reach::Online, Some(issuers), Some(upstreams)) = (reach, issuers, upstreams) {
        problems.append(reached(config, &issuers, &upstreams));
    }
    problems
}

/// What the network says: issuers without keys, upstreams that refuse.
fn reached(config: &Config, issuers: &Issuers, upstreams: &Upstreams) -> Diagnostics {
    let mut problems = Diagnostics::new();
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(fault) => {
            problems.general(format!("the network cannot be asked: {fault}"));
            return problems;
        }
    };
    let (introspections, connections) = runtime.block_on(async {
        issuers.refresh().await;
        (issuers.probe().await, upstreams.reach().await)
    });
    for state in issuers.states(Timestamp::now()) {
        let fault = match state.last_error {
            Some(fault) => format!("issuer `{}`: {fault}", state.name),
            None if !state.ready => format!("issuer `{}` has no keys", state.name),
            None => continue,
        };
        // One that issues nothing but opaque tokens may have no keys.
        if state.introspection.is_some() {
            problems.warn(fault)
        } else {
            problems.general(fault)
        };
    }
    for (name, outcome) in introspections {
        if let Err(fault) = outcome {
            problems.general(format!("introspection at issuer `{name}`: {fault}"));
        }
    }
    for (upstream, reached) in config.upstreams.iter().zip(connections) {
        unreached(&upstream.name, &reached, &mut problems);
    }
    problems
}

/// Endpoints that refuse: an error, unless another one of the same upstream does not.
fn unreached(upstream: &str, reached: &[Reached], problems: &mut Diagnostics) {
    let one_answers = reached.iter().any(|one| one.outcome.is_ok());
    for Reached { endpoint, address, outcome } in reached {
        let Err(fault) = outcome else { continue };
        let resolved = address.as_ref().filter(|address| !endpoint.ends_with(&***address));
        let at = resolved.map(|address| format!(" at `{address}`")).unwrap_or_default();
        let text = format!("upstream `{upstream}`, endpoint `{endpoint}`{at}: {}", chain(fault));
        if one_answers {
            problems.warn(text)
        } else {
            problems.general(text)
        };
    }
}

fn policies(config: &Config, sources: &[Arc<Source>], mut problems: Diagnostics) -> Findings {
    let read = |path: &Path| std::fs::read_to_string(path).map_err(|fault| fault.to_string());
    let (policies, found) = Policies::compile(sources, &surroundings(config, &read));
    problems.append(found);
    if let Some(policies) = &policies {
        let rules = config.issuers.iter().zip(0..).map(|(issuer, position)| Rules::new(issuer, IssuerId(position)));
        let issuers: Vec<_> = rules.map(|rules| Arc::clone(rules.identity())).collect();
        let upstreams: Vec<_> = config.upstreams.iter().map(|upstream| Arc::clone(&upstream.name)).collect();
        let side = Side { policies, issuers: &issuers, upstreams: &upstreams };
        problems.append(analysis::inspect(&side));
    }
    problems.sort();
    let routes = policies.map_or(0, |policies| policies.routes().count());
    Findings { problems, documents: sources.len(), routes, ..Findings::default() }
}
