//! One snapshot out of files: every room of the gateway loads its part, and all problems come together.

use std::cell::RefCell;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use aws_lc_rs::digest;

use super::sources::Sources;
use super::{Material, Reader, Reading, Snapshot};
use crate::assertion::{self, Signer};
use crate::authn::Issuers;
use crate::clock::Timestamp;
use crate::config::{Config, FlowRule, IdentityEncoding, Issuer, Protocol};
use crate::diagnostic::{Diagnostics, Source};
use crate::policy::{
    Ability, Encoding, IdentityFacts, IssuerFacts, Policies, RenderedBefore, Surroundings, UpstreamFacts,
};
use crate::principal::IssuerId;
use crate::rate::Counters;
use crate::response::Metadata;
use crate::server::tls::Terminator;
use crate::telemetry::{Mode, Revision, Telemetry};
use crate::upstream::Upstreams;

/// How often files are read anew because they were changed while they were read.
const ATTEMPTS: usize = 5;

/// Everything that a snapshot is made of, checked, and nothing of it in force.
pub(super) struct Parts {
    config: Config,
    documents: Vec<Arc<Source>>,
    policies: Policies,
    terminators: Vec<Option<Terminator>>,
    admin: Option<Terminator>,
    issuers: Issuers,
    upstreams: Upstreams,
    signer: Option<Arc<Signer>>,
    warnings: Diagnostics,
}

/// Reads and checks everything, as it was at one moment: if any of it is replaced meanwhile, all of it is read anew. What it was
/// read from comes beside it, also when it cannot be used.
pub(super) fn read(
    reader: &Reader,
    previous: Option<&Snapshot>,
    known: &Sources,
) -> (Sources, Result<Parts, Diagnostics>) {
    let mut before = Sources::look(reader().named.into_iter().chain(known.named().cloned()));
    for _ in 0..ATTEMPTS {
        let (named, parts) = attempt(reader, previous);
        let after = Sources::look(match &parts {
            Ok(_) => named,
            // What the one in force was read from still matters: to go back to it is a change as well.
            Err(_) => named.into_iter().chain(known.named().cloned()).collect(),
        });
        if before.hold(&after) {
            return (after, parts);
        }
        before = after;
    }
    let mut problems = Diagnostics::new();
    problems.general("the files of the configuration are being changed while they are read").help("try again");
    (before, Err(problems))
}

/// One pass over all files; the files beside what came of them.
fn attempt(reader: &Reader, previous: Option<&Snapshot>) -> (Vec<PathBuf>, Result<Parts, Diagnostics>) {
    let Reading { material, mut problems, named } = reader();
    let Some(Material { config, policies: documents }) = material else { return (named, Err(problems)) };
    problems.append(config.obstacles());
    if let Some(previous) = previous {
        check_unchangeable(&config, &previous.config, &mut problems);
    }
    let named = named.into_iter().chain(files(&config, &documents)).collect();
    let files = RefCell::new(named);
    let policies = policies(&config, &documents, &files, &mut problems);
    let files = files.into_inner();
    let terminators = terminators(&config, &mut problems);
    let admin = config.admin.tls.as_ref().and_then(|tls| Terminator::load(tls, &[Protocol::Http1], &mut problems));
    let issuers = collect(Issuers::load(&config, previous.map(|snapshot| &snapshot.issuers)), &mut problems);
    let (upstreams, found) = Upstreams::load(&config, previous.map(|snapshot| &snapshot.upstreams));
    problems.append(found);
    problems.append(assertion::inspect(&config));
    let signer = signer(&config, previous, &mut problems);
    problems.sort();
    let (Some(policies), Some(issuers), Some(upstreams)) = (policies, issuers, upstreams) else {
        return (files, Err(problems));
    };
    if problems.has_errors() {
        return (files, Err(problems));
    }
    let warnings = problems;
    let parts = Parts { config, documents, policies, terminators, admin, issuers, upstreams, signer, warnings };
    (files, Ok(parts))
}

/// Makes the snapshot; what outlives snapshots is told of it. Warnings come beside.
pub(super) fn assemble(
    parts: Parts,
    previous: Option<&Snapshot>,
    telemetry: &Arc<Telemetry>,
) -> Result<(Snapshot, Diagnostics), Diagnostics> {
    let Parts { config, documents, policies, terminators, admin, issuers, upstreams, signer, warnings } = parts;
    let mut problems = warnings;
    if let Some(directory) = &config.state_directory
        && let Err(error) = issuers.register().revocations().keep_in(directory)
    {
        // Without them, what was revoked would be let through.
        problems.general(format!("revocations: {error}")).help("`state.directory` says where they are kept");
        return Err(problems);
    }
    if previous.is_some()
        && let Err(error) = telemetry.reconfigure(&config)
    {
        problems.general(format!("{error}"));
        return Err(problems);
    }
    let metrics = telemetry.metrics();
    let upstream_metrics =
        config.upstreams.iter().map(|upstream| (Arc::clone(&upstream.name), metrics.upstream(&upstream.name)));
    let snapshot = Snapshot {
        upstream_metrics: upstream_metrics.collect(),
        routes: metrics.routes(policies.routes().map(|route| {
            let mode = if route.observes() { Mode::Observe } else { Mode::Enforce };
            (route.policy(), route.name(), mode)
        })),
        counters: Counters::load(policies.routes(), previous.map(|snapshot| &snapshot.counters)),
        revision: revision(&config, &documents),
        generation: previous.map_or(1, |snapshot| snapshot.generation.saturating_add(1)),
        loaded: Timestamp::now(),
        metadata: policies.resources().iter().map(|resource| Metadata::of(resource, &config.issuers)).collect(),
        config,
        policies,
        issuers,
        upstreams: upstreams.signing_with(signer.clone()),
        signer,
        terminators,
        admin,
    };
    Ok((snapshot, problems))
}

/// Sockets are bound and threads started once: they cannot follow a reload (config.md, "Reload").
fn check_unchangeable(config: &Config, before: &Config, problems: &mut Diagnostics) {
    let addresses = |config: &Config| config.listeners.iter().map(|listener| listener.address).collect::<Vec<_>>();
    if addresses(config) != addresses(before) {
        problems.general("the addresses of `listeners` have changed").help("restart to listen on other addresses");
    }
    if config.admin.address != before.admin.address {
        problems.general("the address of `admin` has changed").help("restart to listen on another address");
    }
    if config.workers != before.workers {
        problems.warn("`workers` has changed").help("restart to have another number of them");
    }
}

fn policies(
    config: &Config,
    sources: &[Arc<Source>],
    files: &RefCell<Vec<PathBuf>>,
    problems: &mut Diagnostics,
) -> Option<Policies> {
    let read = |path: &Path| {
        files.borrow_mut().push(path.to_owned());
        std::fs::read_to_string(path).map(|text| without_line_end(&text).to_owned()).map_err(|error| error.to_string())
    };
    let (policies, found) = Policies::compile(sources, &surroundings(config, &read));
    problems.append(found);
    policies
}

/// What policies need to know of `torwart.yaml`.
pub fn surroundings<'f>(config: &Config, files: &'f dyn Fn(&Path) -> Result<String, String>) -> Surroundings<'f> {
    let issuers = config.issuers.iter().zip(0..).map(|(issuer, position)| IssuerFacts {
        id: IssuerId(position),
        name: Arc::clone(&issuer.name),
        ability: ability(issuer),
        permission_scope: issuer.permission_scope.clone(),
        introspects: issuer.introspection.is_some(),
    });
    let upstreams = config
        .upstreams
        .iter()
        .map(|upstream| UpstreamFacts { name: Arc::clone(&upstream.name), quirks: upstream.quirks });
    Surroundings {
        issuers: issuers.collect(),
        upstreams: upstreams.collect(),
        identity: identity(config),
        target_bytes: config.limits.target_bytes,
        files,
    }
}

/// What tokens of an issuer can tell. What those of one that nobody has configured can is anybody's guess.
fn ability(issuer: &Issuer) -> Ability {
    let sources = &issuer.claims;
    let rule = &issuer.client_credentials_when;
    let client_credentials = !matches!(rule, None | Some(FlowRule::Never));
    if issuer.assumed {
        return Ability { client_credentials, ..Ability::EVERYTHING };
    }
    Ability {
        permissions: !sources.permissions.is_empty(),
        organizations: !sources.organizations.is_empty(),
        global: !sources.global.is_empty(),
        flow: rule.is_some(),
        client_credentials,
    }
}

fn identity(config: &Config) -> IdentityFacts {
    let identity = &config.identity;
    IdentityFacts {
        assertion: config.assertion_issuer.as_deref().map(Arc::from),
        prefix: identity.prefix.clone(),
        pass: identity.pass.clone(),
        encoding: match identity.encoding {
            IdentityEncoding::Percent => Encoding::Percent,
            IdentityEncoding::Latin1 => Encoding::Latin1,
            IdentityEncoding::Base64 => Encoding::Base64,
        },
        max_bytes: identity.max_bytes,
        before: RenderedBefore::default(),
    }
}

/// What signs assertions, where the configuration says who does.
fn signer(config: &Config, previous: Option<&Snapshot>, problems: &mut Diagnostics) -> Option<Arc<Signer>> {
    let previous = previous.and_then(|snapshot| snapshot.signer.as_ref());
    Signer::load(config, previous, Timestamp::now()).unwrap_or_else(|fault| {
        problems.general(fault.to_string()).help("let `state.directory` be one that the gateway may write");
        None
    })
}

fn terminators(config: &Config, problems: &mut Diagnostics) -> Vec<Option<Terminator>> {
    config
        .listeners
        .iter()
        .map(|listener| Terminator::load(listener.tls.as_ref()?, &listener.protocols, problems))
        .collect()
}

fn collect<T>(loaded: Result<T, Diagnostics>, problems: &mut Diagnostics) -> Option<T> {
    loaded.map_err(|found| problems.append(found)).ok()
}

/// Every file and directory to watch.
fn files(config: &Config, sources: &[Arc<Source>]) -> Vec<PathBuf> {
    let named = config.files.iter().map(|used| used.path.clone());
    let policies = sources.iter().map(|source| source.path.clone());
    std::iter::once(config.path.clone()).chain(named).chain(policies).collect()
}

/// The first half of a SHA-256 over the configuration and every document with its path.
fn revision(config: &Config, sources: &[Arc<Source>]) -> Revision {
    let mut context = digest::Context::new(&digest::SHA256);
    context.update(format!("{config:?}").as_bytes());
    for source in sources {
        for part in [source.path.as_os_str().as_encoded_bytes(), source.text.as_bytes()] {
            context.update(&part.len().to_be_bytes());
            context.update(part);
        }
    }
    let digest = context.finish();
    let mut revision = Revision::default();
    for (place, byte) in revision.0.iter_mut().zip(digest.as_ref()) {
        *place = *byte;
    }
    revision
}

fn without_line_end(text: &str) -> &str {
    text.strip_suffix('\n').map_or(text, |text| text.strip_suffix('\r').unwrap_or(text))
}
