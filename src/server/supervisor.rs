//! The service manager that started the process, and what it is told (`sd_notify(3)`, `Type=notify-reload` in
//! `systemd.service(5)`): ready, reloading, stopping, still alive.

use std::io;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

/// Whom to tell; telling nobody is no error.
#[derive(Debug, Default)]
pub struct Supervisor {
    manager: Option<(UnixDatagram, SocketAddr)>,
    watchdog: Option<Duration>,
}

impl Supervisor {
    /// What `NOTIFY_SOCKET`, `WATCHDOG_USEC` and `WATCHDOG_PID` say, read through `variable`.
    ///
    /// # Errors
    /// There is a socket to be told that cannot be used; a manager that waits for it would wait in vain.
    pub fn of(variable: impl Fn(&str) -> Option<String>) -> io::Result<Self> {
        let Some(name) = variable("NOTIFY_SOCKET").filter(|name| !name.is_empty()) else { return Ok(Self::default()) };
        let address = match name.strip_prefix('@') {
            Some(name) => SocketAddr::from_abstract_name(name)?,
            None if name.starts_with('/') => SocketAddr::from_pathname(&name)?,
            None => return Err(io::Error::new(io::ErrorKind::Unsupported, format!("NOTIFY_SOCKET is `{name}`"))),
        };
        let socket = UnixDatagram::unbound()?;
        // A manager that does not read must not hold up what serves requests.
        socket.set_nonblocking(true)?;
        let ours = variable("WATCHDOG_PID").is_none_or(|id| id == std::process::id().to_string());
        let asked = variable("WATCHDOG_USEC").filter(|_| ours).and_then(|text| text.parse().ok());
        let watchdog = asked.filter(|micros| *micros > 0).map(Duration::from_micros);
        Ok(Self { manager: Some((socket, address)), watchdog })
    }

    /// How often to tell that the process is alive: half of the time after which it counts as dead.
    pub fn watchdog(&self) -> Option<Duration> {
        self.watchdog.map(|time| time / 2)
    }

    /// Everything is loaded and listens, at the start and after a reload.
    pub fn ready(&self, status: &str) {
        self.tell(&format!("READY=1\nSTATUS={}", line(status)));
    }

    /// A reload begins. The time tells it apart from one that the manager has asked for since.
    pub fn reloading(&self) {
        let now = clock_gettime(ClockId::Monotonic);
        let micros = i128::from(now.tv_sec) * 1_000_000 + i128::from(now.tv_nsec) / 1000;
        self.tell(&format!("RELOADING=1\nMONOTONIC_USEC={micros}\nSTATUS=loading the configuration"));
    }

    /// No connection is accepted any more.
    pub fn stopping(&self) {
        self.tell("STOPPING=1\nSTATUS=running requests may end");
    }

    /// Requests are being served.
    pub fn alive(&self) {
        self.tell("WATCHDOG=1");
    }

    fn tell(&self, state: &str) {
        let Some((socket, address)) = &self.manager else { return };
        if let Err(error) = socket.send_to_addr(state.as_bytes(), address) {
            tracing::warn!(%error, "the service manager cannot be told");
        }
    }
}

/// A status is one line of a protocol of lines.
fn line(status: &str) -> &str {
    status.lines().next().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(variables: &[(&str, &str)]) -> io::Result<Supervisor> {
        Supervisor::of(|name| variables.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned()))
    }

    fn received(socket: &UnixDatagram) -> String {
        let mut buffer = [0; 512];
        let length = socket.recv(&mut buffer).unwrap();
        String::from_utf8(buffer[..length].to_vec()).unwrap()
    }

    #[test]
    fn the_manager_is_told_by_path_and_by_abstract_name() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("notify");
        let name = format!("torwart-test-{}", std::process::id());
        let by_path = UnixDatagram::bind(&path).unwrap();
        let by_name = UnixDatagram::bind_addr(&SocketAddr::from_abstract_name(&name).unwrap()).unwrap();
        for (socket, told) in [(by_path, path.to_str().unwrap().to_owned()), (by_name, format!("@{name}"))] {
            let supervisor = of(&[("NOTIFY_SOCKET", &told)]).unwrap();
            assert_eq!(supervisor.watchdog(), None);
            supervisor.ready("one\nREADY=0");
            assert_eq!(received(&socket), "READY=1\nSTATUS=one");
            supervisor.reloading();
            let text = received(&socket);
            let micros = text.strip_prefix("RELOADING=1\nMONOTONIC_USEC=").unwrap().lines().next().unwrap();
            assert!(micros.parse::<u64>().unwrap() > 0, "{text}");
            supervisor.alive();
            assert_eq!(received(&socket), "WATCHDOG=1");
            supervisor.stopping();
            assert!(received(&socket).starts_with("STOPPING=1\n"));
        }
    }

    #[test]
    fn a_watchdog_of_this_process_is_fed_twice_in_its_time() {
        let own = std::process::id().to_string();
        let half = |more: &[(&str, &str)]| of(&[&[("NOTIFY_SOCKET", "/run/x")], more].concat()).unwrap().watchdog();
        assert_eq!(half(&[("WATCHDOG_USEC", "3000000")]), Some(Duration::from_millis(1500)));
        assert_eq!(half(&[("WATCHDOG_USEC", "3000000"), ("WATCHDOG_PID", &own)]), Some(Duration::from_millis(1500)));
        assert_eq!(half(&[("WATCHDOG_USEC", "3000000"), ("WATCHDOG_PID", "1")]), None);
        assert_eq!(half(&[("WATCHDOG_USEC", "0")]), None);
    }

    #[test]
    fn without_a_manager_nobody_is_told_and_one_that_cannot_be_reached_is_an_error() {
        let nobody = of(&[("WATCHDOG_USEC", "3000000")]).unwrap();
        nobody.ready("fine");
        assert_eq!(nobody.watchdog(), None);
        assert!(of(&[("NOTIFY_SOCKET", "vsock:2:1234")]).is_err());
        // Nobody is there: serving goes on.
        of(&[("NOTIFY_SOCKET", "/nowhere/at/all")]).unwrap().stopping();
    }
}
