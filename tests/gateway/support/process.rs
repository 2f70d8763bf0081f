//! The shipped program as a process of its own, and what the kernel and its admin socket tell of it.

use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use serde_json::Value;

/// How long anything may take to come about.
const PATIENCE: Duration = Duration::from_secs(30);

/// Waits until something is so.
pub(crate) fn wait_until(what: &str, mut so: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !so() {
        assert!(begun.elapsed() < PATIENCE, "never: {what}");
        std::thread::park_timeout(Duration::from_millis(5));
    }
}

/// A port at which nobody listens, and nobody is going to: it is below those that the system gives to sockets which ask for
/// none, and this process hands it out once.
pub(crate) fn free_port() -> u16 {
    static STEPS: AtomicU32 = AtomicU32::new(0);
    loop {
        let step = std::process::id().wrapping_add(STEPS.fetch_add(1, Ordering::Relaxed));
        let port = 20_000 + u16::try_from(step % 10_000).expect("small");
        if std::net::TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}

/// `torwart run`. What it writes to stderr is in `torwart.log`.
pub(crate) struct Program {
    child: Child,
    admin: PathBuf,
}

impl Program {
    /// Starts it over `torwart.yaml` in this directory, whose admin socket is `admin.sock` beside it, and waits until it answers.
    pub(crate) fn start(directory: &Path) -> Self {
        let program = Self::spawn(directory, &[]);
        program.wait_until_it_answers();
        program
    }

    /// The same with more variables in its environment, and without waiting.
    pub(crate) fn spawn(directory: &Path, variables: &[(&str, &str)]) -> Self {
        let mut command = Command::new(binary());
        command.args(["--config", "torwart.yaml", "run"]).envs(variables.iter().copied()).stdin(Stdio::null());
        Self::of(command, directory)
    }

    /// A command that becomes the program.
    pub(crate) fn of(mut command: Command, directory: &Path) -> Self {
        let log = std::fs::File::options().create(true).append(true).open(directory.join("torwart.log"));
        let child = command.current_dir(directory).stdout(Stdio::null()).stderr(log.expect("a file")).spawn();
        Self { child: child.expect("a process"), admin: directory.join("admin.sock") }
    }

    /// Waits until this very process answers.
    pub(crate) fn wait_until_it_answers(&self) {
        wait_until("it answers", || self.try_status().is_some_and(|status| status["pid"] == self.id()));
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Sends a signal by its name.
    pub(crate) fn signal(&self, name: &str) {
        let sent = Command::new("kill").args([&format!("-{name}"), &self.id().to_string()]).status();
        assert!(sent.expect("kill").success());
    }

    /// Waits for its end.
    pub(crate) fn wait(&mut self) -> ExitStatus {
        let mut ended = None;
        wait_until("it ends", || {
            ended = self.child.try_wait().expect("a child");
            ended.is_some()
        });
        ended.expect("it has ended")
    }

    /// `/api/v1/status`.
    pub(crate) fn status(&self) -> Value {
        self.try_status().expect("a status")
    }

    fn try_status(&self) -> Option<Value> {
        let (_, body) = self.ask("GET", "/api/v1/status")?;
        serde_json::from_str(&body).ok()
    }

    /// Asks to reload; whether the configuration was loaded.
    pub(crate) fn reload(&self) -> bool {
        let (status, body) = self.ask("POST", "/api/v1/reload").expect("an answer");
        let told: Value = serde_json::from_str(&body).expect("JSON");
        assert_eq!(told["reloaded"].as_bool(), Some(status == 200), "{body}");
        status == 200
    }

    /// A sample of `/metrics`.
    pub(crate) fn metric(&self, name: &str) -> f64 {
        let (_, text) = self.ask("GET", "/metrics").expect("an answer");
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.parse().ok());
        line.unwrap_or_default()
    }

    /// Status and body of an answer of the admin socket.
    pub(crate) fn ask(&self, method: &str, path: &str) -> Option<(u16, String)> {
        self.say(method, path, "")
    }

    /// The same to a request with a body.
    pub(crate) fn say(&self, method: &str, path: &str, body: &str) -> Option<(u16, String)> {
        let mut stream = UnixStream::connect(&self.admin).ok()?;
        let length = body.len();
        let fields = "Host: admin\r\nConnection: close\r\nContent-Type: application/json";
        let head = format!("{method} {path} HTTP/1.1\r\n{fields}\r\nContent-Length: {length}\r\n\r\n{body}");
        stream.write_all(head.as_bytes()).ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).ok()?;
        let (head, body) = answer.split_once("\r\n\r\n")?;
        Some((head.split(' ').nth(1)?.parse().ok()?, body.to_owned()))
    }

    /// Resident memory in KiB.
    pub(crate) fn resident(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.id())).expect("a process");
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("VmRSS");
        line.trim().trim_end_matches(" kB").parse().expect("a number")
    }

    /// Threads.
    pub(crate) fn threads(&self) -> usize {
        std::fs::read_dir(format!("/proc/{}/task", self.id())).expect("a process").count()
    }

    /// Open file descriptors.
    pub(crate) fn descriptors(&self) -> usize {
        std::fs::read_dir(format!("/proc/{}/fd", self.id())).expect("a process").count()
    }
}

/// The program that `TORWART` names, or the one that was built with the tests.
fn binary() -> PathBuf {
    std::env::var_os("TORWART").map_or_else(|| env!("CARGO_BIN_EXE_torwart").into(), PathBuf::from)
}

impl Drop for Program {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
