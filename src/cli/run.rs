//! `torwart run`: the gateway.

use std::path::{Path, PathBuf};

use rustix::process::{Resource, getrlimit, setrlimit};

use super::{Common, Exit, NO_CONFIGURATION, ProcessEnvironment};
use crate::clock::Timestamp;
use crate::config::{self, Config, Documents, FileKind};
use crate::diagnostic::Diagnostics;
use crate::panics;
use crate::server;
use crate::server::process::{Process, ProcessError, Service};
use crate::snapshot::{Material, Reader, Reading};
use crate::telemetry::{Telemetry, log};

/// Arguments of `torwart run`.
#[derive(Debug, clap::Args)]
pub(super) struct Args {}

pub(super) fn run(_: &Args, common: &Common) -> Exit {
    let service = match Service::from_env() {
        Ok(service) => service,
        Err(error) => {
            common.note(&format!("what the service manager hands over cannot be used: {error}"));
            return Exit::NoAnswer;
        }
    };
    // Where AWS-LC seeds its random generator from timing jitter, too, that takes longer than all the rest of the start.
    std::thread::spawn(|| aws_lc_rs::rand::fill(&mut [0; 1]));
    let Some(path) = common.config_path() else {
        common.note(NO_CONFIGURATION);
        return Exit::Configuration;
    };
    let (config, problems) = config::load(&path, &ProcessEnvironment);
    let Some(config) = config else {
        common.report(&problems);
        return Exit::Configuration;
    };
    log::install(&config.logging);
    panics::install();
    open_more_files();
    let telemetry = match Telemetry::start(&config) {
        Ok(telemetry) => telemetry,
        Err(error) => {
            common.note(&error.to_string());
            return Exit::NoAnswer;
        }
    };
    match Process::start(reader(path), telemetry, service) {
        Ok((process, warnings)) => {
            common.report(&warnings);
            serve(&config, process)
        }
        Err(ProcessError::Configuration(problems)) => {
            common.report(&problems);
            Exit::Configuration
        }
        Err(error) => {
            common.note(&error.to_string());
            Exit::NoAnswer
        }
    }
}

fn serve(config: &Config, process: Process) -> Exit {
    for (address, listener) in process.addresses().iter().zip(&config.listeners) {
        tracing::info!(%address, tls = listener.tls.is_some(), redirect = listener.redirect_https, "listening");
    }
    for policy in process.snapshots().current().policies.observing() {
        tracing::warn!(policy, "this policy only observes: nothing under it is refused");
    }
    let watch = process.snapshots().watch();
    if let Err(error) = &watch {
        tracing::warn!(%error, "files are not watched; reload with SIGHUP");
    }
    let waited = process.wait();
    tracing::info!("shutting down");
    drop(watch);
    process.shutdown();
    match waited {
        Ok(()) => Exit::Yes,
        Err(error) => {
            tracing::error!(%error, "the gateway cannot go on");
            Exit::NoAnswer
        }
    }
}

/// Reads the configuration file and its policies, whenever asked.
fn reader(path: PathBuf) -> Reader {
    Box::new(move || read(&path))
}

fn read(path: &Path) -> Reading {
    let (config, mut problems) = config::load(path, &ProcessEnvironment);
    let Some(config) = config else { return Reading { material: None, problems, named: vec![path.to_owned()] } };
    // Says where the file is named that is missing or cannot be used; loading it would only say which.
    problems.append(config::inspect(&config, Timestamp::now()));
    problems.append(headroom(&config));
    let named = config.files.iter().map(|used| used.path.clone()).chain([path.to_owned()]).collect();
    if problems.has_errors() {
        return Reading { material: None, problems, named };
    }
    let at = config.files.iter().find(|used| used.kind == FileKind::Policies).map(|used| &used.place);
    let policies = config::documents(&config.policies, Documents::Policies, at, &mut problems);
    Reading { material: Some(Material { config, policies }), problems, named }
}

/// File descriptors that are neither clients' nor upstreams': records, watches, event queues, the admin's.
const RESERVE: usize = 64;

/// Whether there are enough file descriptors for as many connections as may come, each with one to an upstream.
fn headroom(config: &Config) -> Diagnostics {
    let mut problems = Diagnostics::new();
    let endpoints: usize = config.upstreams.iter().map(|upstream| upstream.endpoints.len()).sum();
    let beside = config
        .listeners
        .len()
        .saturating_mul(server::worker_count(config))
        .saturating_add(endpoints)
        .saturating_add(RESERVE);
    let (connections, most) = (config.limits.connections, getrlimit(Resource::Nofile).current);
    let needed = connections.saturating_mul(2).saturating_add(beside);
    if let Some(most) = most.filter(|most| *most < needed as u64) {
        problems
            .warn(format!("{most} files may be open, and `limits.connections: {connections}` can need {needed}"))
            .help("raise the limit (`LimitNOFILE=` of systemd, `ulimit -n`), or lower `limits.connections`");
    }
    problems
}

/// As many open files as the operating system lets this process have: every connection is one, usually two.
fn open_more_files() {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    if let Err(error) = setrlimit(Resource::Nofile, limit) {
        tracing::warn!(%error, "cannot raise the limit of open files");
    }
}
