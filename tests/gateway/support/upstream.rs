//! An upstream that writes down what it gets, byte for byte, and answers as the test orders.

use std::collections::HashMap;
use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use super::message::{Bodies, Message, Reader};

/// What becomes of the connection after an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum After {
    /// The next request is read.
    Continue,
    /// It is closed.
    Close,
}

/// How requests are answered.
pub(crate) type Behaviour = Arc<dyn Fn(&Message, &mut TcpStream) -> After + Send + Sync>;

/// See the module's description.
pub(crate) struct Upstream {
    pub(crate) address: SocketAddr,
    seen: Arc<Seen>,
    behaviour: Behaviour,
    /// What it listens with; `None` while it is dead.
    listener: Mutex<Option<TcpListener>>,
}

#[derive(Debug, Default)]
struct Seen {
    /// Nothing is written down, because it goes on for long.
    forgets: bool,
    connections: AtomicUsize,
    open: Mutex<HashMap<usize, TcpStream>>,
    bytes: AtomicUsize,
    requests: Mutex<Vec<Message>>,
    faults: Mutex<Vec<String>>,
}

/// Answers 200 and names what was asked for.
pub(crate) fn plain() -> Behaviour {
    Arc::new(|request, stream| {
        let (method, target, _) = request.request_line();
        let body = format!("{method} {target}");
        let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len());
        let body = if method == "HEAD" { "" } else { &body };
        answer(stream, format!("{head}{body}").as_bytes())
    })
}

/// Always answers with the same bytes.
pub(crate) fn fixed(bytes: &'static [u8], after: After) -> Behaviour {
    Arc::new(move |_, stream| {
        answer(stream, bytes);
        after
    })
}

/// Writes an answer and goes on.
pub(crate) fn answer(stream: &mut TcpStream, bytes: &[u8]) -> After {
    if stream.write_all(bytes).is_ok() { After::Continue } else { After::Close }
}

impl Upstream {
    pub(crate) fn start(behaviour: Behaviour) -> Self {
        Self::over(Seen::default(), behaviour)
    }

    /// One that answers and writes nothing down.
    pub(crate) fn forgetting(behaviour: Behaviour) -> Self {
        Self::over(Seen { forgets: true, ..Seen::default() }, behaviour)
    }

    fn over(seen: Seen, behaviour: Behaviour) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("an address");
        let upstream = Self { address, seen: Arc::new(seen), behaviour, listener: Mutex::new(None) };
        upstream.listen(listener);
        upstream
    }

    fn listen(&self, listener: TcpListener) {
        // Not the 128 of the standard library, which real ones do not have: beyond them a second is lost.
        socket2::SockRef::from(&listener).listen(4096).expect("a socket that listens");
        let accepting = listener.try_clone().expect("a socket");
        *self.listener.lock().expect("no panic") = Some(listener);
        let (seen, behaviour) = (Arc::clone(&self.seen), Arc::clone(&self.behaviour));
        thread::spawn(move || {
            while let Ok((stream, _)) = accepting.accept() {
                let number = seen.connections.fetch_add(1, Ordering::SeqCst);
                let (seen, behaviour) = (Arc::clone(&seen), Arc::clone(&behaviour));
                thread::spawn(move || {
                    let kept = stream.try_clone().expect("a socket");
                    seen.open.lock().expect("no panic").insert(number, kept);
                    let _leave = Leave(&seen, number);
                    serve(stream, &seen, &behaviour);
                });
            }
        });
    }

    /// Nobody listens any more, and every connection is closed.
    pub(crate) fn die(&self) {
        if let Some(listener) = self.listener.lock().expect("no panic").take() {
            let _ = socket2::SockRef::from(&listener).shutdown(Shutdown::Both);
        }
        for stream in self.seen.open.lock().expect("no panic").values() {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }

    /// Listens again where it did.
    pub(crate) fn revive(&self) {
        // The thread that accepted may not have let go of its socket yet.
        let listener = loop {
            match TcpListener::bind(self.address) {
                Ok(listener) => break listener,
                Err(_) => thread::yield_now(),
            }
        };
        self.listen(listener);
    }

    /// Everything that was received as a whole request, in order.
    pub(crate) fn requests(&self) -> Vec<Message> {
        self.seen.requests.lock().expect("no panic").clone()
    }

    /// The only request.
    pub(crate) fn only(&self) -> Message {
        let mut requests = self.requests();
        assert_eq!(requests.len(), 1, "{requests:#?}");
        requests.remove(0)
    }

    /// Nothing must have arrived: no request, no byte, and what came was framed the one right way.
    pub(crate) fn assert_silent(&self) {
        assert_eq!(self.requests().len(), 0, "{:#?}", self.requests());
        assert_eq!(self.seen.bytes.load(Ordering::SeqCst), 0, "bytes arrived");
        self.assert_sound();
    }

    /// Nothing odd must have arrived.
    pub(crate) fn assert_sound(&self) {
        let faults = self.seen.faults.lock().expect("no panic");
        assert!(faults.is_empty(), "{faults:#?}");
    }

    /// What did not read as a request.
    pub(crate) fn faults(&self) -> Vec<String> {
        self.seen.faults.lock().expect("no panic").clone()
    }

    /// Connections taken so far.
    pub(crate) fn connections(&self) -> usize {
        self.seen.connections.load(Ordering::SeqCst)
    }
}

/// Forgets a connection when it has been served, however that ends.
struct Leave<'s>(&'s Seen, usize);

impl Drop for Leave<'_> {
    fn drop(&mut self) {
        if let Ok(mut open) = self.0.open.lock() {
            open.remove(&self.1);
        }
    }
}

fn serve(stream: TcpStream, seen: &Arc<Seen>, behaviour: &Behaviour) {
    stream.set_nodelay(true).expect("a socket");
    stream.set_read_timeout(Some(Duration::from_mins(1))).expect("a socket");
    let Ok(counted) = stream.try_clone() else { return };
    let mut reader = Reader::new(Counted { inner: counted, seen: Arc::clone(seen) });
    let mut stream = stream;
    loop {
        match reader.message(Bodies::None) {
            Ok(Some(request)) => {
                if !seen.forgets {
                    seen.requests.lock().expect("no panic").push(request.clone());
                }
                if behaviour(&request, &mut stream) == After::Close {
                    return;
                }
            }
            Ok(None) => return,
            Err(_) if seen.forgets => return,
            Err(error) => {
                seen.faults.lock().expect("no panic").push(error.to_string());
                return;
            }
        }
    }
}

struct Counted {
    inner: TcpStream,
    seen: Arc<Seen>,
}

impl Read for Counted {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = self.inner.read(buffer)?;
        self.seen.bytes.fetch_add(length, Ordering::SeqCst);
        Ok(length)
    }
}
