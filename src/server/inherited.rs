//! Sockets that somebody else has bound: a service manager hands them over (systemd's socket activation, `sd_listen_fds(3)`).
//! They stay open while one process ends and the next one starts, so connections wait instead of being refused.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::unix::net::UnixListener;
use std::path::Path;

use listenfd::ListenFd;
use socket2::SockRef;

/// The sockets that nobody has taken yet.
#[derive(Debug, Default)]
pub struct Inherited {
    tcp: Vec<TcpListener>,
    unix: Vec<UnixListener>,
}

impl Inherited {
    /// What `LISTEN_FDS` says, if `LISTEN_PID` means this process. To be asked once, before there are threads.
    ///
    /// # Errors
    /// One of them is no socket that listens.
    pub fn from_env() -> io::Result<Self> {
        let mut given = ListenFd::from_env();
        let mut inherited = Self::default();
        for place in 0..given.len() {
            if let Ok(Some(socket)) = given.take_tcp_listener(place) {
                check(&SockRef::from(&socket), place)?;
                inherited.tcp.push(socket);
            } else if let Some(socket) = given.take_unix_listener(place)? {
                check(&SockRef::from(&socket), place)?;
                inherited.unix.push(socket);
            }
        }
        Ok(inherited)
    }

    /// These, for tests.
    #[cfg(test)]
    pub(super) fn of(tcp: Vec<TcpListener>) -> Self {
        Self { tcp, unix: Vec::new() }
    }

    /// The sockets on this address. Which port 0 became nobody can tell, so it is never one of them.
    pub(super) fn take_tcp(&mut self, address: SocketAddr) -> Vec<TcpListener> {
        let is_at = |socket: &mut TcpListener| address.port() != 0 && socket.local_addr().is_ok_and(|at| at == address);
        self.tcp.extract_if(.., is_at).collect()
    }

    /// The socket on this path.
    pub(super) fn take_unix(&mut self, path: &Path) -> Option<UnixListener> {
        let is_at = |socket: &UnixListener| socket.local_addr().is_ok_and(|at| at.as_pathname() == Some(path));
        let place = self.unix.iter().position(is_at)?;
        Some(self.unix.remove(place))
    }

    /// Where nobody listens who was started for it: connections there would wait for ever.
    pub(super) fn left(&self) -> Option<String> {
        let tcp = self.tcp.first().map(|socket| socket.local_addr().map(|at| at.to_string()));
        let unix = self.unix.first().map(|socket| {
            socket.local_addr().map(|at| at.as_pathname().map(|path| path.display().to_string()).unwrap_or_default())
        });
        tcp.or(unix).map(|at| at.unwrap_or_else(|error| error.to_string()))
    }
}

fn check(socket: &SockRef<'_>, place: usize) -> io::Result<()> {
    if socket.is_listener()? {
        return socket.set_nonblocking(true);
    }
    let told = format!("the socket number {place} of LISTEN_FDS does not listen");
    Err(io::Error::new(io::ErrorKind::InvalidInput, told))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sockets_are_told_apart_by_their_addresses() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("admin.sock");
        let tcp = [0; 2].map(|_| TcpListener::bind("127.0.0.1:0").unwrap());
        let [one, two] = [0, 1].map(|place| tcp[place].local_addr().unwrap());
        let unix = UnixListener::bind(&path).unwrap();
        let mut inherited = Inherited { tcp: tcp.into(), unix: vec![unix] };
        assert!(inherited.take_tcp("127.0.0.1:0".parse().unwrap()).is_empty());
        assert_eq!(inherited.take_tcp(two).len(), 1);
        assert!(inherited.take_tcp(two).is_empty(), "taken is taken");
        assert_eq!(inherited.left(), Some(one.to_string()));
        assert_eq!(inherited.take_tcp(one).len(), 1);
        assert_eq!(inherited.left(), Some(path.display().to_string()));
        assert!(inherited.take_unix(Path::new("/elsewhere")).is_none());
        assert!(inherited.take_unix(&path).is_some());
        assert_eq!(inherited.left(), None);
    }
}
