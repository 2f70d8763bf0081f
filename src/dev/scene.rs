//! What the gateway is loaded from in dev mode: read anew at every reload, as `torwart.yaml` is in `run`.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use super::ca;
use super::key::SigningKey;
use super::local::{LOCALHOST, add_localhost};
use super::persona::Realm;
use super::provider::Provider;
use super::setup::Ground;
use super::sketch::Sketch;
use super::workspace::Workspace;
use crate::cli::ProcessEnvironment;
use crate::clock::Timestamp;
use crate::config::{
    Admin, AdminAddress, Audit, AuditPath, ClientCertificates, Config, Endpoint, FileKind, FileUse, Listener,
    ListenerTls, Logging, Protocol,
};
use crate::diagnostic::{Diagnostics, Place, Source, Span};
use crate::document::Environment;
use crate::policy::Policies;
use crate::snapshot::{Material, Reading, surroundings};

/// What does not change while dev mode runs.
#[derive(Debug, Clone)]
pub struct Surround {
    /// The provider's origin.
    pub origin: String,
    /// Where the gateway listens.
    pub address: SocketAddr,
    /// Where the admin listener listens.
    pub admin: AdminAddress,
    /// Where every upstream name leads.
    pub endpoint: Endpoint,
}

/// What was seen at the last look.
#[derive(Debug, Default)]
pub struct Seen {
    /// What documents and tests speak of.
    pub sketch: Sketch,
    /// Issuers and personas.
    pub realms: Vec<Realm>,
    /// What the developer should know.
    pub notes: Vec<String>,
}

/// Policies, and everything made up around them.
#[derive(Debug)]
pub struct Scene {
    workspace: Workspace,
    surround: Surround,
    key: Arc<SigningKey>,
    provider: Arc<Provider>,
    seen: Mutex<Arc<Seen>>,
}

impl Scene {
    /// A scene that has not been looked at.
    pub fn new(workspace: Workspace, surround: Surround, key: Arc<SigningKey>, provider: Arc<Provider>) -> Self {
        Self { workspace, surround, key, provider, seen: Mutex::default() }
    }

    /// The developer's files.
    pub fn workspace(&self) -> &Workspace {
        &self.workspace
    }

    /// What does not change.
    pub fn surround(&self) -> &Surround {
        &self.surround
    }

    /// The key that signs tokens.
    pub fn key(&self) -> &SigningKey {
        &self.key
    }

    /// What was seen when policies were last good.
    pub fn seen(&self) -> Arc<Seen> {
        Arc::clone(&self.seen.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// The configuration without anything that policies name: logging, above all.
    pub fn first_config(&self) -> Config {
        let path = self.workspace.written.as_deref().unwrap_or(&self.workspace.policies);
        let mut config = Config::empty(std::path::absolute(path).unwrap_or_else(|_| path.to_owned()));
        config.dev = true;
        // No upstream of a laptop verifies it, but policies that ask for assertions are tried there as they are.
        config.assertion_issuer = Some(self.surround.origin.clone());
        config.workers = Some(2);
        config.policies.clone_from(&self.workspace.policies);
        config.files = vec![watched(&self.workspace.policies)];
        config.admin = Admin { address: self.surround.admin.clone(), ..Admin::default() };
        config.logging = Logging { json: false, level: tracing::Level::INFO };
        config.audit = Audit { path: AuditPath::Stdout, allow: false, deny: false, required: false };
        config
    }

    /// Reads policies and tests, makes up the rest, and lets the provider know who is who if all of it is good.
    pub fn read(&self) -> Reading {
        let mut problems = Diagnostics::new();
        let named = vec![self.workspace.policies.clone()];
        let ground = match self.workspace.ground(environment()) {
            Ok(ground) => ground,
            Err(problems) => return Reading { material: None, problems, named },
        };
        let issuers = ground.issuers(&self.surround.origin, &self.workspace.key_set());
        let mut config = self.first_config();
        config.upstreams = ground.upstreams(&self.surround.endpoint);
        config.issuers.clone_from(&issuers);
        match ca::ensure(&self.workspace.certs, &ground.sketch.hosts, Timestamp::now()) {
            Ok(authority) => config.listeners = vec![listener(self.surround.address, authority.host)],
            Err(error) => {
                problems.general(error.to_string());
                return Reading { material: None, problems, named };
            }
        }
        let local = add_localhost(&ground.documents, |documents| compiles(documents, &config));
        let (realms, mut notes) = ground.realms(issuers);
        notes.extend(notes_on(&ground, &local.left_out));
        if local.compiles {
            self.provider.replace(realms.clone());
            let seen = Seen { sketch: ground.sketch, realms, notes };
            *self.seen.lock().unwrap_or_else(PoisonError::into_inner) = Arc::new(seen);
        }
        Reading { material: Some(Material { config, policies: local.documents }), problems, named }
    }
}

/// The variables of this process, for `torwart.yaml`.
pub(super) fn environment() -> &'static dyn Environment {
    &ProcessEnvironment
}

/// The policy directory as a configuration file would name it, so that it is watched.
fn watched(directory: &Path) -> FileUse {
    let source = Arc::new(Source { path: PathBuf::from("--policies"), text: String::new() });
    let path = std::path::absolute(directory).unwrap_or_else(|_| directory.to_owned());
    FileUse { kind: FileKind::Policies, path, place: Place { source, span: Span::default() } }
}

fn listener(address: SocketAddr, certificate: crate::config::CertificateFiles) -> Listener {
    Listener {
        address,
        protocols: vec![Protocol::H2, Protocol::Http1],
        tls: Some(ListenerTls {
            certificates: vec![certificate],
            tls12: true,
            client_certificates: ClientCertificates::None,
            client_ca: None,
        }),
        proxy_protocol: false,
        redirect_https: false,
        insecure: false,
        trusted_proxies: None,
    }
}

fn compiles(documents: &[Arc<Source>], config: &Config) -> bool {
    // Files that documents name are not there on every laptop; whether they are readable is told when it counts.
    let read = |path: &Path| std::fs::read_to_string(path).map_err(|error| error.to_string());
    Policies::compile(documents, &surroundings(config, &read)).0.is_some()
}

fn notes_on(ground: &Ground, left_out: &[Arc<Source>]) -> Vec<String> {
    let mut notes = Vec::new();
    if ground.written.in_part {
        notes.push("torwart.yaml has errors (see `torwart check`): only its issuers' presets are used".to_owned());
    }
    if ground.documents.is_empty() {
        notes.push("there is no policy: every request is refused".to_owned());
    }
    for source in left_out {
        let path = source.path.display();
        notes.push(format!("{path} does not answer to `{LOCALHOST}`: it would collide with another document there"));
    }
    notes
}
