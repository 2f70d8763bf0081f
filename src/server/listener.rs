//! Listening sockets: one per worker and address, all bound with `SO_REUSEPORT`, so that the kernel spreads
//! connections and every connection stays with the worker that accepted it; or the ones that a service manager has bound.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::AsFd;

use socket2::{Domain, Protocol, SockFilter, SockRef, Type};

use super::inherited::Inherited;

/// Connections that the kernel keeps completed until a worker accepts them.
const BACKLOG: i32 = 1024;

/// A listening socket of one worker.
pub(super) struct Socket {
    /// The socket itself.
    pub(super) listener: TcpListener,
    /// Position in the configuration, which no reload changes.
    pub(super) index: usize,
    /// A service manager keeps it open, and with it the connections that wait.
    pub(super) inherited: bool,
}

/// The sockets of `count` workers on one address: those that were inherited, shared by all, else one for each. With port 0 the
/// first socket's port is taken by all others.
///
/// # Errors
/// What the operating system says: address in use, no such address, no permission.
pub(super) fn sockets(
    (index, address): (usize, SocketAddr),
    count: usize,
    inherited: &mut Inherited,
) -> io::Result<(SocketAddr, Vec<Socket>)> {
    let given = inherited.take_tcp(address);
    if given.is_empty() {
        let (actual, bound) = bind(address, count)?;
        let sockets = bound.into_iter().map(|listener| Socket { listener, index, inherited: false });
        return Ok((actual, sockets.collect()));
    }
    let shared = given.iter().cycle().take(count.max(given.len()));
    let sockets = shared.map(|socket| Ok(Socket { listener: socket.try_clone()?, index, inherited: true }));
    Ok((address, sockets.collect::<io::Result<_>>()?))
}

/// Lets no connection begin on this socket any more; those that have begun still arrive. A client whose first packet is
/// dropped here sends it again, and finds whoever listens by then.
///
/// # Errors
/// The operating system takes no filter.
pub(super) fn hold_off(listener: &impl AsFd) -> io::Result<()> {
    // Classic BPF over the TCP header: of the flags in byte 13, SYN without ACK is what a connection begins with.
    const LOAD_BYTE: u16 = 0x30;
    const AND: u16 = 0x54;
    const JUMP_IF_EQUAL: u16 = 0x15;
    const RETURN: u16 = 0x06;
    SockRef::from(listener).attach_filter(&[
        SockFilter::new(LOAD_BYTE, 0, 0, 13),
        SockFilter::new(AND, 0, 0, 0x12),
        SockFilter::new(JUMP_IF_EQUAL, 0, 1, 0x02),
        SockFilter::new(RETURN, 0, 0, 0),
        SockFilter::new(RETURN, 0, 0, u32::MAX),
    ])
}

/// Binds `count` sockets to one address.
fn bind(address: SocketAddr, count: usize) -> io::Result<(SocketAddr, Vec<TcpListener>)> {
    let first = bind_one(address)?;
    let actual = first.local_addr()?;
    let mut sockets = vec![first];
    for _ in 1..count {
        sockets.push(bind_one(actual)?);
    }
    Ok((actual, sockets))
}

fn bind_one(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = socket2::Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(true)?;
    if address.is_ipv6() {
        // `[::]` stands for every address of the machine; the operating system's own default differs by distribution.
        socket.set_only_v6(false)?;
    }
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_sockets_of_a_listener_share_the_port_that_the_first_one_got() {
        let (address, sockets) = bind("127.0.0.1:0".parse().unwrap(), 3).unwrap();
        assert_ne!(address.port(), 0);
        assert!(sockets.iter().all(|socket| socket.local_addr().unwrap() == address));
    }

    #[test]
    fn a_socket_that_was_given_is_shared_by_all_workers_and_none_is_left_out() {
        let given = [0; 2].map(|_| bind_one("127.0.0.1:0".parse().unwrap()).unwrap());
        let address = given[0].local_addr().unwrap();
        let second = bind_one(address).unwrap();
        let mut inherited = Inherited::of(given.into_iter().chain([second]).collect());
        let (actual, sockets) = sockets((7, address), 1, &mut inherited).unwrap();
        assert_eq!(actual, address);
        assert_eq!(sockets.len(), 2, "one worker serves both");
        assert!(sockets.iter().all(|socket| socket.inherited && socket.index == 7));
        assert!(inherited.left().is_some(), "the one on another port");
    }

    #[test]
    fn who_comes_when_a_socket_is_held_off_finds_the_other_one() {
        let (address, sockets) = bind("127.0.0.1:0".parse().unwrap(), 2).unwrap();
        hold_off(&sockets[0]).unwrap();
        let begun: Vec<_> =
            (0..8).map(|_| std::thread::spawn(move || std::net::TcpStream::connect(address).is_ok())).collect();
        let mut taken = 0;
        let mut sockets = sockets.into_iter();
        let (old, new) = (sockets.next().unwrap(), sockets.next().unwrap());
        std::thread::park_timeout(std::time::Duration::from_millis(100));
        assert!(old.accept().is_err(), "nobody has come in here");
        drop(old);
        new.set_nonblocking(false).unwrap();
        while taken < 8 {
            new.accept().unwrap();
            taken += 1;
        }
        assert!(begun.into_iter().all(|thread| thread.join().unwrap()));
    }
}
