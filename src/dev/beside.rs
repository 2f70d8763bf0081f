//! The developer's own upstream, run beside the gateway: `torwart dev -- COMMAND`.

use std::ffi::OsString;
use std::io;
use std::process::ExitStatus;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use tokio::process::{Child, Command};

/// How long the command has to end by itself.
const PATIENCE: Duration = Duration::from_secs(5);

/// A running command.
#[derive(Debug)]
pub struct Beside {
    child: Child,
}

impl Beside {
    /// Starts the command with `PORT` in its environment: the port where the gateway expects it.
    ///
    /// # Errors
    /// The command cannot be started.
    pub fn start(command: &[OsString], port: Option<u16>) -> io::Result<Self> {
        let Some((program, arguments)) = command.split_first() else {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "no command"));
        };
        let mut command = Command::new(program);
        command.args(arguments).kill_on_drop(true);
        if let Some(port) = port {
            command.env("PORT", port.to_string());
        }
        Ok(Self { child: command.spawn()? })
    }

    /// Waits until the command ends by itself.
    ///
    /// # Errors
    /// The operating system does not tell.
    pub async fn ended(&mut self) -> io::Result<ExitStatus> {
        self.child.wait().await
    }

    /// Asks the command to end, and makes it end when it does not.
    pub async fn stop(mut self) {
        let id = self.child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
        if id.is_some_and(|id| kill_process(id, Signal::TERM).is_ok())
            && tokio::time::timeout(PATIENCE, self.child.wait()).await.is_ok()
        {
            return;
        }
        // It has ended, or it will not listen.
        let _ = self.child.kill().await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> Vec<OsString> {
        ["sh", "-c", script].map(OsString::from).to_vec()
    }

    #[tokio::test]
    async fn the_command_is_told_its_port_and_its_end_is_seen() {
        let mut beside = Beside::start(&shell("exit $((PORT - 9000))"), Some(9007)).unwrap();
        assert_eq!(beside.ended().await.unwrap().code(), Some(7));
    }

    #[tokio::test]
    async fn the_command_may_end_in_order() {
        let directory = tempfile::tempdir().unwrap();
        let (ready, done) = (directory.path().join("ready"), directory.path().join("done"));
        let script = format!(
            "trap 'touch {}; exit 0' TERM; touch {}; while :; do sleep 0.01; done",
            done.display(),
            ready.display()
        );
        let beside = Beside::start(&shell(&script), None).unwrap();
        while !ready.exists() {
            tokio::task::yield_now().await;
        }
        beside.stop().await;
        assert!(done.exists());
    }

    #[tokio::test]
    async fn a_command_that_is_not_there_is_an_error() {
        let error = Beside::start(&["/nowhere/at/all".into()], None).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::NotFound);
    }
}
