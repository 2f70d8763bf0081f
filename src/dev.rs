//! The gateway for a laptop (cli.md, "Dev mode"): no configuration file, no network, nothing installed.
//!
//! Everything here serves one developer on one machine and listens on loopback only. Its tokens are worth nothing
//! elsewhere: `run` refuses a configuration whose issuer is a dev issuer.
//!
//! [`Dev::start`] reads the policies, makes up what they need around them, and starts the same gateway that `run`
//! starts. Where `run` reads `torwart.yaml`, the [`scene`] is read here: at the start and at every reload.

pub mod announce;
pub mod beside;
pub mod ca;
pub mod echo;
pub mod examples;
pub mod files;
pub mod key;
pub mod local;
pub mod persona;
pub mod provider;
pub mod scene;
pub mod serve;
pub mod setup;
pub mod showcase;
pub mod sketch;
pub mod workspace;

use std::ffi::OsString;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener as StdListener};
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};

use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::oneshot;

use self::announce::Shell;
use self::beside::Beside;
use self::ca::AuthorityError;
use self::files::FileError;
use self::key::KeyError;
use self::provider::Provider;
use self::scene::{Scene, Surround};
use self::showcase::{Example, Stage};
use self::workspace::{CERTS, Workspace, default_origin};
use crate::clock::Timestamp;
use crate::config::{self, AdminAddress, Endpoint};
use crate::diagnostic::{Diagnostics, Source};
use crate::server::process::{Process, ProcessError, Service};
use crate::snapshot::{Control, Watch};
use crate::telemetry::{Telemetry, TelemetryError, log};

/// The gateway's port where nobody names another.
pub const PORT: u16 = 8443;
/// The admin listener's port, if it is free.
const ADMIN_PORT: u16 = 9901;

/// What the developer said.
#[derive(Debug, Clone)]
pub struct Options {
    /// `--policies`.
    pub policies: Option<PathBuf>,
    /// `torwart.yaml`, if there is one.
    pub written: Option<PathBuf>,
    /// `--certs`.
    pub certs: PathBuf,
    /// `--upstream`.
    pub upstream: Option<String>,
    /// `--port`; 0 is any.
    pub port: u16,
    /// What stands behind `--`.
    pub command: Vec<OsString>,
}

/// Dev mode in service.
#[derive(Debug)]
pub struct Dev {
    process: Process,
    _watch: Option<Watch>,
    scene: Arc<Scene>,
    shell: Shell,
    ends: Receiver<End>,
    stop: Option<(oneshot::Sender<()>, oneshot::Receiver<()>)>,
    side: Control,
}

/// Why dev mode ends.
#[derive(Debug)]
pub enum End {
    /// Ctrl-C, or another signal that asks for it.
    Signal,
    /// The command behind `--` has ended.
    Command(io::Result<ExitStatus>),
}

/// Why there is none.
#[derive(Debug, thiserror::Error)]
pub enum DevError {
    /// Policies, tests or the value of `--upstream`.
    #[error("{}", .0.render())]
    Problems(Diagnostics),
    /// A file cannot be read or written.
    #[error(transparent)]
    File(#[from] FileError),
    /// There is no certificate.
    #[error(transparent)]
    Authority(#[from] AuthorityError),
    /// There is no signing key.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// A port is taken.
    #[error("cannot listen on port {port} for {what}: {source}; choose another with `--port`")]
    Port {
        /// The port.
        port: u16,
        /// Who wanted it.
        what: &'static str,
        /// Why not.
        source: io::Error,
    },
    /// The command behind `--` cannot be run.
    #[error("cannot run `{command}`: {source}")]
    Command {
        /// Its first word.
        command: String,
        /// Why not.
        source: io::Error,
    },
    /// The gateway cannot be started.
    #[error(transparent)]
    Process(ProcessError),
    /// Records cannot be kept.
    #[error(transparent)]
    Telemetry(#[from] TelemetryError),
    /// The operating system refuses a thread or a socket.
    #[error("cannot start: {0}")]
    System(#[from] io::Error),
}

impl From<ProcessError> for DevError {
    fn from(error: ProcessError) -> Self {
        match error {
            ProcessError::Configuration(problems) => Self::Problems(problems),
            other => Self::Process(other),
        }
    }
}

impl Dev {
    /// Starts everything. Warnings come beside it.
    ///
    /// # Errors
    /// [`DevError`]; nothing runs then.
    pub fn start(options: &Options) -> Result<(Self, Diagnostics), DevError> {
        let environment = scene::environment();
        let workspace =
            Workspace::open(options.policies.as_deref(), options.written.clone(), &options.certs, environment)?;
        let key = Arc::new(workspace.signing_key()?);
        let side = Control::start()?;
        let (tell, ends) = channel();
        listen_to_signals(&side, &tell)?;
        let listeners = side.handle().block_on(provider_sockets(options.port))?;
        let origin = default_origin(port_of(&listeners)?);
        workspace.remember_origin(&origin)?;
        let (endpoint, beside) = upstream(options, &side)?;
        let provider = Arc::new(Provider::new(Arc::clone(&key), Vec::new()));
        side.handle().spawn(serve::provider(listeners, Arc::clone(&provider)));

        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, options.port));
        probe(address)?;
        let surround = Surround { origin, address, admin: admin_address(options.port), endpoint };
        let scene = Arc::new(Scene::new(workspace, surround, key, provider));
        let config = scene.first_config();
        log::install(&config.logging);
        let reader = Arc::clone(&scene);
        let service = Service::default();
        let (process, warnings) = Process::start(Box::new(move || reader.read()), Telemetry::start(&config)?, service)?;
        let watch = process.snapshots().watch();
        if let Err(error) = &watch {
            tracing::warn!(%error, "files are not watched: a change needs a restart");
        }
        let shell = shell(options, &scene, process.addresses().first().map_or(options.port, SocketAddr::port));
        let stop = beside.map(|beside| run_beside(beside, tell, &side));
        Ok((Self { process, _watch: watch.ok(), scene, shell, ends, stop, side }, warnings))
    }

    /// What to print: where everything is and what to paste.
    pub fn announcement(&self) -> String {
        let mut out = announce::head(&self.shell, &self.scene, self.process.admin());
        for example in self.examples() {
            out.push('\n');
            out.push_str(&self.shell.example(&example));
        }
        out.push_str("\nCtrl-C ends it.\n");
        out
    }

    /// Requests to paste, with the answers to expect at this moment.
    pub fn examples(&self) -> Vec<Example> {
        let snapshot = self.process.snapshots().current();
        let seen = self.scene.seen();
        let stage = Stage {
            policies: &snapshot.policies,
            issuers: &snapshot.issuers,
            sketch: &seen.sketch,
            realms: &seen.realms,
            key: self.scene.key(),
            now: Timestamp::now(),
        };
        self.side.handle().block_on(stage.examples())
    }

    /// How commands are written down.
    pub fn shell(&self) -> &Shell {
        &self.shell
    }

    /// The gateway itself.
    pub fn process(&self) -> &Process {
        &self.process
    }

    /// Where the provider is, without a path.
    pub fn origin(&self) -> &str {
        &self.scene.surround().origin
    }

    /// Serves until a signal, or until the command behind `--` ends.
    pub fn wait(&self) -> End {
        // An error means that nobody is left who could tell, which only happens when all is over.
        self.ends.recv().unwrap_or(End::Signal)
    }

    /// Ends the command, then the gateway, then the rest.
    pub fn shutdown(mut self) {
        if let Some((stop, stopped)) = self.stop.take()
            && stop.send(()).is_ok()
        {
            // An error only means that the command has ended already.
            let _ = self.side.handle().block_on(stopped);
        }
        self.process.shutdown();
    }
}

/// From here on a signal ends dev mode in order. A closed terminal counts as one: nothing may be left behind.
fn listen_to_signals(side: &Control, tell: &Sender<End>) -> io::Result<()> {
    let _context = side.handle().enter();
    for kind in [SignalKind::interrupt(), SignalKind::terminate(), SignalKind::hangup()] {
        let mut signal = signal(kind)?;
        let tell = tell.clone();
        side.handle().spawn(async move {
            signal.recv().await;
            // Nobody listens any more only when the process is about to end anyway.
            let _ = tell.send(End::Signal);
        });
    }
    Ok(())
}

/// The provider is the gateway's neighbour: the next port.
async fn provider_sockets(gateway: u16) -> Result<Vec<TcpListener>, DevError> {
    let port = if gateway == 0 { 0 } else { gateway.wrapping_add(1) };
    serve::bind(port).await.map_err(|source| DevError::Port { port, what: "the provider", source })
}

fn port_of(listeners: &[TcpListener]) -> io::Result<u16> {
    listeners.first().map_or(Ok(0), |listener| Ok(listener.local_addr()?.port()))
}

/// The workers share a port with whoever asks for it the same way, another `torwart dev` for instance; this does not.
fn probe(address: SocketAddr) -> Result<(), DevError> {
    StdListener::bind(address).map(drop).map_err(|source| DevError::Port {
        port: address.port(),
        what: "the gateway",
        source,
    })
}

/// The usual port, where `torwart health` looks for it; any when it is taken, or when any is what was asked for.
fn admin_address(gateway: u16) -> AdminAddress {
    let usual = SocketAddr::from((Ipv4Addr::LOCALHOST, ADMIN_PORT));
    let wanted = gateway != 0 && StdListener::bind(usual).is_ok();
    AdminAddress::Tcp(if wanted { usual } else { SocketAddr::from((Ipv4Addr::LOCALHOST, 0)) })
}

/// Where requests go: to the URL, to the command's port, or to the echo. The command is started here, with the port
/// that it is to listen on in its environment, unless a URL says where it listens anyway.
fn upstream(options: &Options, side: &Control) -> Result<(Endpoint, Option<Beside>), DevError> {
    let _context = side.handle().enter();
    let start = |port: Option<u16>| {
        Beside::start(&options.command, port).map(Some).map_err(|source| DevError::Command {
            command: options.command.first().map(|word| word.to_string_lossy().into_owned()).unwrap_or_default(),
            source,
        })
    };
    let local = |port: u16| Endpoint { tls: false, host: Ipv4Addr::LOCALHOST.to_string(), port, unix: false };
    match (&options.upstream, options.command.is_empty()) {
        (Some(url), true) => Ok((endpoint(url)?, None)),
        (Some(url), false) => {
            let endpoint = endpoint(url)?;
            let beside = start(Some(endpoint.port))?;
            Ok((endpoint, beside))
        }
        (None, false) => {
            let port = StdListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port();
            Ok((local(port), start(Some(port))?))
        }
        (None, true) => {
            let listeners = side.handle().block_on(serve::bind(0))?;
            let port = port_of(&listeners)?;
            side.handle().spawn(serve::echo(listeners));
            Ok((local(port), None))
        }
    }
}

/// A URL, judged as an endpoint of `torwart.yaml` is.
fn endpoint(url: &str) -> Result<Endpoint, DevError> {
    let text = serde_json::json!({"version": 1, "upstreams": {"upstream": {"endpoints": [url]}}}).to_string();
    let source = Arc::new(Source { path: PathBuf::from("--upstream"), text });
    let (config, problems) = config::read(&source, Path::new("/"), scene::environment());
    let endpoint = config.and_then(|config| config.upstreams.into_iter().next()?.endpoints.into_iter().next());
    endpoint.ok_or(DevError::Problems(problems))
}

fn shell(options: &Options, scene: &Scene, port: u16) -> Shell {
    let directory = std::env::current_dir().unwrap_or_default();
    let executable = std::env::current_exe().unwrap_or_else(|_| PathBuf::from("torwart"));
    Shell {
        program: announce::program(&executable, &directory),
        root: scene.workspace().certs.join("dev-ca.pem"),
        policies: options.policies.clone(),
        certs: (options.certs != Path::new(CERTS)).then(|| options.certs.clone()),
        port,
        echo: options.upstream.is_none() && options.command.is_empty(),
    }
}

/// Watches over the command: tells when it ends, and ends it when asked to.
fn run_beside(mut beside: Beside, tell: Sender<End>, side: &Control) -> (oneshot::Sender<()>, oneshot::Receiver<()>) {
    let (stop, asked) = oneshot::channel();
    let (done, stopped) = oneshot::channel();
    side.handle().spawn(async move {
        tokio::select! {
            status = beside.ended() => {
                // Nobody listens any more only when the process is about to end anyway.
                let _ = tell.send(End::Command(status));
            }
            _ = asked => {
                beside.stop().await;
                let _ = done.send(());
            }
        }
    });
    (stop, stopped)
}
