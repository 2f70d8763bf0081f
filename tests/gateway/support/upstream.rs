//! An upstream that writes down what it gets, byte for byte, and answers as the test orders.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
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
#[derive(Debug)]
pub(crate) struct Upstream {
    pub(crate) address: SocketAddr,
    seen: Arc<Seen>,
}

#[derive(Debug, Default)]
struct Seen {
    connections: AtomicUsize,
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
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("an address");
        let seen = Arc::new(Seen::default());
        let noted = Arc::clone(&seen);
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                noted.connections.fetch_add(1, Ordering::SeqCst);
                let (noted, behaviour) = (Arc::clone(&noted), Arc::clone(&behaviour));
                thread::spawn(move || serve(stream, &noted, &behaviour));
            }
        });
        Self { address, seen }
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

fn serve(stream: TcpStream, seen: &Arc<Seen>, behaviour: &Behaviour) {
    stream.set_nodelay(true).expect("a socket");
    stream.set_read_timeout(Some(Duration::from_mins(1))).expect("a socket");
    let Ok(counted) = stream.try_clone() else { return };
    let mut reader = Reader::new(Counted { inner: counted, seen: Arc::clone(seen) });
    let mut stream = stream;
    loop {
        match reader.message(Bodies::None) {
            Ok(Some(request)) => {
                seen.requests.lock().expect("no panic").push(request.clone());
                if behaviour(&request, &mut stream) == After::Close {
                    return;
                }
            }
            Ok(None) => return,
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
