//! The gateway as one thing: snapshots, workers, admin listener, signals. What `run` and dev mode start.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;

use super::inherited::Inherited;
use super::roll::Roll;
use super::supervisor::Supervisor;
use super::tls::Terminator;
use super::{Running, StartError, revoking, upstreams};
use crate::admin;
use crate::admin::revocations::{Made, Order, Page, Refusal, Revocation, Window, rfc3339};
use crate::assertion;
use crate::clock::Timestamp;
use crate::config::{AdminAddress, ClientCertificates};
use crate::diagnostic::Diagnostics;
use crate::snapshot::{Control, Hex, Reader, Snapshot, Snapshots};
use crate::telemetry::{Metrics, Telemetry};

/// A gateway in service.
#[derive(Debug)]
pub struct Process {
    face: Arc<Face>,
    supervisor: Arc<Supervisor>,
    running: Running,
    admin: AdminAddress,
    admin_end: CancellationToken,
    control: Control,
}

/// What the process has of whoever started it.
#[derive(Debug, Default)]
pub struct Service {
    /// Whom to tell how it goes.
    pub supervisor: Supervisor,
    /// Sockets that are bound already.
    pub inherited: Inherited,
}

impl Service {
    /// What the environment says. To be asked once, before there are threads.
    ///
    /// # Errors
    /// It names a socket that cannot be used.
    pub fn from_env() -> io::Result<Self> {
        let supervisor = Supervisor::of(|name| std::env::var(name).ok())?;
        Ok(Self { supervisor, inherited: Inherited::from_env()? })
    }
}

/// Why there is none.
#[derive(Debug, thiserror::Error)]
pub enum ProcessError {
    /// The configuration cannot be used.
    #[error("the configuration cannot be used")]
    Configuration(Diagnostics),
    /// A listener or a worker could not be started.
    #[error(transparent)]
    Start(#[from] StartError),
    /// The admin listener could not be started.
    #[error("cannot listen on the admin address: {0}")]
    Admin(#[source] io::Error),
    /// The operating system refuses a thread or to tell signals.
    #[error("cannot start: {0}")]
    System(#[from] io::Error),
}

/// Why a gateway that was in service cannot go on. Whoever supervises the process starts another one, which is better than
/// to go on without a part.
#[derive(Debug, thiserror::Error)]
pub enum Broken {
    /// The operating system refuses to tell signals.
    #[error("cannot be told of signals: {0}")]
    Signals(#[source] io::Error),
    /// A worker has ended, or accepts no connections.
    #[error("a worker has ended")]
    Worker,
    /// Nobody hears signals any more.
    #[error("what hears signals has ended")]
    Control,
}

/// What the admin listener sees of the gateway.
#[derive(Debug)]
struct Face {
    snapshots: Arc<Snapshots>,
    listeners: Vec<String>,
    draining: AtomicBool,
}

impl Process {
    /// Loads, listens, serves. Warnings come beside the process.
    ///
    /// # Errors
    /// See [`ProcessError`]; nothing runs then.
    pub fn start(
        reader: Reader,
        telemetry: Arc<Telemetry>,
        service: Service,
    ) -> Result<(Self, Diagnostics), ProcessError> {
        let Service { supervisor, mut inherited } = service;
        let control = Control::start()?;
        let (snapshots, warnings) =
            Snapshots::load(reader, telemetry, &control).map_err(ProcessError::Configuration)?;
        let given = match &snapshots.current().config.admin.address {
            AdminAddress::Tcp(address) => inherited.take_tcp(*address).into_iter().next().map(admin::Given::Tcp),
            AdminAddress::Unix(path) => inherited.take_unix(path).map(admin::Given::Unix),
        };
        let running = super::start(&snapshots, inherited)?;
        let face = Arc::new(Face {
            listeners: running.addresses().iter().map(SocketAddr::to_string).collect(),
            snapshots,
            draining: AtomicBool::new(false),
        });
        let admin_end = CancellationToken::new();
        let admin = serve_admin(&face, &control, (given, admin_end.clone()))?;
        let supervisor = Arc::new(supervisor);
        Ok((Self { face, supervisor, running, admin, admin_end, control }, warnings))
    }

    /// The snapshots, for who wants to reload or watch them.
    pub fn snapshots(&self) -> &Arc<Snapshots> {
        &self.face.snapshots
    }

    /// The addresses listened on, in the order of the configuration.
    pub fn addresses(&self) -> &[SocketAddr] {
        self.running.addresses()
    }

    /// The address of the admin listener.
    pub fn admin(&self) -> &AdminAddress {
        &self.admin
    }

    /// Serves until `SIGTERM` or `SIGINT`, reloads at `SIGHUP`, opens the audit file anew at `SIGUSR1`.
    ///
    /// # Errors
    /// The gateway cannot go on the way it should; see [`Broken`].
    pub fn wait(&self) -> Result<(), Broken> {
        let _context = self.control.handle().enter();
        let signals = Signals::listen().map_err(Broken::Signals)?;
        let (told, ended) = std::sync::mpsc::channel();
        let (face, supervisor) = (Arc::clone(&self.face), Arc::clone(&self.supervisor));
        supervisor.ready(&face.status());
        if let Some(every) = supervisor.watchdog() {
            self.control.handle().spawn(feed(Arc::clone(&supervisor), Arc::clone(self.running.roll()), every));
        }
        let worker = self.running.ended().clone();
        self.control.handle().spawn(async move {
            let outcome = tokio::select! {
                () = signals.obey(&face, &supervisor) => Ok(()),
                () = worker.cancelled() => Err(Broken::Worker),
            };
            // The receiver is gone only when the process is.
            let _ = told.send(outcome);
        });
        // An error means that the task is gone, and with it everybody who could tell the end.
        ended.recv().unwrap_or(Err(Broken::Control))
    }

    /// Readiness turns false, listeners close, running requests get `limits.drain`; returns when all is over.
    pub fn shutdown(self) {
        self.supervisor.stopping();
        self.face.draining.store(true, Ordering::Relaxed);
        self.running.shutdown();
        self.admin_end.cancel();
        self.face.snapshots.telemetry().finish();
    }
}

/// Tells that the process is alive as long as every worker is.
async fn feed(supervisor: Arc<Supervisor>, roll: Arc<Roll>, every: Duration) {
    let mut ticks = tokio::time::interval(every);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        if roll.call() {
            supervisor.alive();
        } else {
            tracing::error!("a worker is stuck");
        }
    }
}

impl Face {
    /// One line for whoever asks the service manager.
    fn status(&self) -> String {
        let (listeners, generation) = (self.listeners.len(), self.snapshots.current().generation);
        match self.snapshots.last_error() {
            None => format!("{listeners} listeners, generation {generation} of the configuration"),
            Some(error) => format!("the last configuration was not loaded: {error}"),
        }
    }
}

impl admin::Gateway for Face {
    fn state(&self) -> admin::State {
        let snapshot = self.snapshots.current();
        let now = Timestamp::now();
        admin::State {
            pid: std::process::id(),
            serving: true,
            draining: self.draining.load(Ordering::Relaxed),
            revision: Hex(&snapshot.revision.0).to_string(),
            generation: snapshot.generation,
            loaded: rfc3339(snapshot.loaded),
            reload_error: self.snapshots.last_error(),
            observing: snapshot.policies.observing().map(Arc::from).collect(),
            issuers: snapshot
                .issuers
                .states(now)
                .into_iter()
                .map(|issuer| admin::IssuerState {
                    name: issuer.name,
                    keys: if issuer.ready { issuer.key_ids.len() } else { 0 },
                    age: issuer.fetched_at.map(|at| u64::try_from(now.0.saturating_sub(at.0)).unwrap_or(0)),
                    error: issuer.last_error,
                    introspection: issuer.introspection.map(|tally| admin::Introspection {
                        answers: tally.answers,
                        failures: tally.failures,
                        error: tally.last_error.map(|error| error.to_string()),
                    }),
                })
                .collect(),
            upstreams: upstreams::states(&snapshot),
            listeners: self.listeners.clone(),
            assertion: assertion_state(&snapshot, now),
        }
    }

    fn terms(&self) -> admin::Terms {
        let snapshot = self.snapshots.current();
        let admin = &snapshot.config.admin;
        let mode = admin.tls.as_ref().map(|tls| tls.client_certificates);
        admin::Terms {
            tls: snapshot.admin.as_ref().map(Terminator::config),
            rules: admin::Rules {
                token_file: admin.token_file.clone(),
                dev: snapshot.config.dev,
                certificates: mode == Some(ClientCertificates::Required),
            },
        }
    }

    fn assertion_keys(&self) -> Option<admin::PublicKeys> {
        let snapshot = self.snapshots.current();
        let signer = snapshot.signer.as_ref()?;
        Some(admin::PublicKeys { key_set: signer.key_set(), max_age: assertion::MAX_AGE })
    }

    fn measure(&self, metrics: &Metrics) {
        let snapshot = self.snapshots.current();
        for issuer in snapshot.issuers.states(Timestamp::now()) {
            let counters = metrics.issuer(&issuer.name);
            counters.refreshes.reach(issuer.refreshes);
            counters.refresh_failures.reach(issuer.failures);
            if let Some(userinfo) = issuer.userinfo {
                counters.userinfo_answers.reach(userinfo.answers);
                counters.userinfo_failures.reach(userinfo.failures);
            }
            if let Some(fetched_at) = issuer.fetched_at {
                counters.keys_confirmed(fetched_at);
            }
            if let Some(tally) = &issuer.introspection {
                counters.introspections.reach(tally.answers);
                counters.introspection_failures.reach(tally.failures);
            }
        }
        upstreams::measure(&snapshot);
        let memory = snapshot.issuers.memory();
        metrics.token_memory.hits.reach(memory.hits);
        metrics.token_memory.misses.reach(memory.misses);
        metrics.token_memory.evictions.reach(memory.evictions);
        metrics.token_memory.entries.set(memory.entries);
        metrics.token_memory.bytes.set(memory.bytes);
    }

    fn reload(&self) -> Pin<Box<dyn Future<Output = Result<(), String>> + Send + '_>> {
        Box::pin(async {
            let reloaded = reload(&self.snapshots).await;
            reloaded.map(|_| ()).map_err(|problems| problems.render())
        })
    }

    fn revocations(&self, window: Window) -> Pin<Box<dyn Future<Output = Page> + Send + '_>> {
        let snapshot = self.snapshots.current();
        let listed = tokio::task::spawn_blocking(move || revoking::list(&snapshot, window));
        Box::pin(async { listed.await.unwrap_or_default() })
    }

    fn revoke(&self, order: Order) -> Pin<Box<dyn Future<Output = Result<Made, Refusal>> + Send + '_>> {
        let snapshot = self.snapshots.current();
        let revoked = tokio::task::spawn_blocking(move || revoking::revoke(&snapshot, &order));
        Box::pin(async { revoked.await.unwrap_or_else(|_| Err(panicked())) })
    }

    fn take_back(&self, id: String) -> Pin<Box<dyn Future<Output = Result<Revocation, Refusal>> + Send + '_>> {
        let snapshot = self.snapshots.current();
        let taken = tokio::task::spawn_blocking(move || revoking::take_back(&snapshot, &id));
        Box::pin(async { taken.await.unwrap_or_else(|_| Err(panicked())) })
    }
}

fn panicked() -> Refusal {
    Refusal::Unsaved("it ended in a panic: whether it is in force is not known".to_owned())
}

/// Who signs assertions, with which keys.
fn assertion_state(snapshot: &Snapshot, now: Timestamp) -> Option<admin::AssertionState> {
    let signer = snapshot.signer.as_ref()?;
    let keys = signer.states(now).into_iter().map(|key| admin::AssertionKey {
        id: key.id,
        role: key.role.as_str(),
        from: rfc3339(key.from),
        age: now.0.saturating_sub(key.from.0),
    });
    Some(admin::AssertionState {
        issuer: snapshot.config.assertion_issuer.clone()?,
        keys: keys.collect(),
        error: signer.fault(),
    })
}

/// Reads files, so it has a thread of its own.
async fn reload(snapshots: &Arc<Snapshots>) -> Result<Diagnostics, Diagnostics> {
    let reloading = Arc::clone(snapshots);
    let reloaded = tokio::task::spawn_blocking(move || reloading.reload()).await;
    reloaded.unwrap_or_else(|_| {
        let mut problems = Diagnostics::new();
        problems.general("loading the configuration ended in a panic");
        Err(problems)
    })
}

struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
    reopen: Signal,
}

impl Signals {
    fn listen() -> io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hangup: signal(SignalKind::hangup())?,
            reopen: signal(SignalKind::user_defined1())?,
        })
    }

    /// Returns when the process is to end.
    async fn obey(mut self, face: &Face, supervisor: &Supervisor) {
        loop {
            tokio::select! {
                _ = self.terminate.recv() => return,
                _ = self.interrupt.recv() => return,
                _ = self.hangup.recv() => {
                    supervisor.reloading();
                    // What is wrong has been logged and kept by the reload.
                    let _ = reload(&face.snapshots).await;
                    supervisor.ready(&face.status());
                }
                _ = self.reopen.recv() => face.snapshots.telemetry().reopen(),
            }
        }
    }
}

fn serve_admin(
    face: &Arc<Face>,
    control: &Control,
    (given, end): (Option<admin::Given>, CancellationToken),
) -> Result<AdminAddress, ProcessError> {
    let address = face.snapshots.current().config.admin.address.clone();
    let (told, bound) = std::sync::mpsc::channel();
    let (face, telemetry) = (Arc::clone(face), Arc::clone(face.snapshots.telemetry()));
    control.handle().spawn(async move {
        let bound = match given {
            Some(socket) => admin::Listener::given(socket),
            None => admin::Listener::bind(&address),
        };
        let listener = match bound {
            Ok(listener) => listener,
            Err(error) => {
                let _ = told.send(Err(error));
                return;
            }
        };
        // The receiver waits for this.
        let _ = told.send(listener.address());
        admin::serve(listener, face, telemetry, end).await;
    });
    let bound = bound.recv_timeout(Duration::from_secs(5)).unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()));
    bound.map_err(ProcessError::Admin)
}
