use std::io::{ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Instant;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::body::{Frame, SizeHint};
use hyper::service::service_fn;
use rustls::pki_types::ServerName;
use tokio::io::ReadBuf;
use tokio_rustls::TlsAcceptor;

use super::*;
use crate::gateway::framing::tests::limits as test_limits;
use crate::server::pulse::Busy;
use crate::server::wire::Attached;

/// Short, so that connections rest all the time.
const SOON: Duration = Duration::from_millis(2);

/// A body that keeps its connection busy, like that of the gateway.
struct Held(Full<Bytes>, #[expect(dead_code, reason = "held, not asked")] Busy);

impl Body for Held {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Pin::new(&mut self.get_mut().0).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.0.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.0.size_hint()
    }
}

/// A stream of which is counted how often it was waited for and then had something.
struct Counting<T>(T, Arc<AtomicUsize>);

impl<T: Readable> Readable for Counting<T> {
    fn poll_readable(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let polled = self.0.poll_readable(cx);
        if polled.is_ready() {
            self.1.fetch_add(1, Ordering::Relaxed);
        }
        polled
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for Counting<T> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, buffer)
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Counting<T> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}

/// How a connection is served.
#[derive(Clone)]
struct With {
    limits: Limits,
    rest_after: Duration,
    tls: Option<Arc<rustls::ServerConfig>>,
}

/// A server of one connection.
struct Served {
    client: Box<dyn Stream>,
    /// How often something came while the connection rested.
    woken: Arc<AtomicUsize>,
    drain: CancellationToken,
    /// Requests answered.
    thread: JoinHandle<u64>,
}

trait Stream: Read + Write {}
impl<T: Read + Write> Stream for T {}

impl With {
    fn plain() -> Self {
        let hour = Duration::from_hours(1);
        let limits = Limits { header_timeout: hour, idle_timeout: hour, body_idle_timeout: hour, ..test_limits() };
        Self { limits, rest_after: SOON, tls: None }
    }

    /// Serves one connection on a thread of its own: every request is answered with its path, and the length of its body.
    fn serve(self) -> Served {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        client.set_nodelay(true).unwrap();
        client.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        let (stream, _) = listener.accept().unwrap();
        let (woken, drain) = (Arc::<AtomicUsize>::default(), CancellationToken::new());
        let told = (Arc::clone(&woken), drain.clone());
        let thread = thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(self.hold(stream, told))
        });
        Served { client: Box::new(client), woken, drain, thread }
    }

    /// The same over TLS.
    fn serve_tls(self) -> Served {
        self.serve_tls_behind("")
    }

    /// The same to a client that sends this with the end of its handshake.
    fn serve_tls_behind(mut self, first: &str) -> Served {
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let key = rustls_pki_types::PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
        let server = rustls::ServerConfig::builder_with_provider(Arc::clone(&provider));
        let server = server.with_safe_default_protocol_versions().unwrap().with_no_client_auth();
        self.tls = Some(Arc::new(server.with_single_cert(vec![made.cert.der().clone()], key).unwrap()));
        let mut roots = rustls::RootCertStore::empty();
        roots.add(made.cert.der().clone()).unwrap();
        let client = rustls::ClientConfig::builder_with_provider(provider);
        let client = client.with_safe_default_protocol_versions().unwrap().with_root_certificates(roots);
        let name = ServerName::try_from("localhost").unwrap();
        let mut session = rustls::ClientConnection::new(Arc::new(client.with_no_client_auth()), name).unwrap();
        session.writer().write_all(first.as_bytes()).unwrap();
        let served = self.serve();
        Served { client: Box::new(rustls::StreamOwned::new(session, served.client)), ..served }
    }

    async fn hold(self, stream: TcpStream, (woken, drain): (Arc<AtomicUsize>, CancellationToken)) -> u64 {
        stream.set_nonblocking(true).unwrap();
        stream.set_nodelay(true).unwrap();
        let stream = tokio::net::TcpStream::from_std(stream).unwrap();
        let pulse = Pulse::new();
        match self.tls.clone() {
            None => self.speak(Counting(stream, woken), &pulse, drain).await,
            Some(config) => {
                let stream = TlsAcceptor::from(config).accept(stream).await.unwrap();
                self.speak(Counting(stream, woken), &pulse, drain).await;
            }
        }
        pulse.requests()
    }

    async fn speak<T>(&self, stream: T, pulse: &Arc<Pulse>, drain: CancellationToken)
    where
        T: AsyncRead + AsyncWrite + Readable + Unpin + Send + 'static,
    {
        let attached = Attached { replace: Arc::new(|_| Bytes::from_static(b"refused")), counted: Box::new(()) };
        let wire = Wire::new(stream, Arc::clone(pulse), self.limits.body_idle_timeout, attached);
        let begun = Arc::clone(pulse);
        let service = service_fn(move |request: Request<Incoming>| {
            let (_, busy) = begun.begin();
            async move {
                let path = request.uri().path().to_owned();
                let body = request.into_body().collect().await.unwrap().to_bytes();
                Ok::<_, Infallible>(Response::new(Held(Full::new(format!("{path} {}", body.len()).into()), busy)))
            }
        });
        let mut conversation = Conversation::new(Box::new(wire), service, &self.limits, Arc::clone(pulse));
        conversation.rest_after = self.rest_after;
        conversation.hold(drain).await;
    }
}

impl Served {
    fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.client.write_all(bytes.as_ref()).unwrap();
        self.client.flush().unwrap();
    }

    /// The next answer's body; it does not say that the connection ends.
    fn receive(&mut self) -> String {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            self.client.read_exact(&mut byte).unwrap();
            head.extend(byte);
        }
        let head = String::from_utf8(head).unwrap().to_ascii_lowercase();
        assert!(head.starts_with("http/1.1 200 ") && !head.contains("connection:"), "{head}");
        let length = head.split_once("content-length: ").unwrap().1.split_once('\r').unwrap().0;
        let mut body = vec![0; length.parse().unwrap()];
        self.client.read_exact(&mut body).unwrap();
        String::from_utf8(body).unwrap()
    }

    fn ask(&mut self, path: &str) {
        self.send(get(path));
        assert_eq!(self.receive(), format!("{path} 0"));
    }

    fn woken(&self) -> usize {
        self.woken.load(Ordering::Relaxed)
    }

    /// How long it takes until the server closes without a word.
    fn closed(mut self) -> Duration {
        let since = Instant::now();
        match self.client.read(&mut [0]) {
            Ok(0) => {}
            Err(error) if error.kind() == ErrorKind::UnexpectedEof => {}
            other => panic!("not closed: {other:?}"),
        }
        let took = since.elapsed();
        self.thread.join().unwrap();
        took
    }
}

/// Says nothing for so long, which is what these tests are about.
#[expect(clippy::disallowed_methods, reason = "silence is what is tested, and not waited for")]
fn pause(time: Duration) {
    thread::sleep(time);
}

/// Says nothing for so long that a connection has been put to rest.
fn rest() {
    pause(SOON * 20);
}

fn get(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n")
}

#[test]
fn a_resting_connection_serves_its_next_request() {
    for mut served in [With::plain().serve(), With::plain().serve_tls()] {
        rest();
        assert_eq!(served.woken(), 0, "nothing was sent");
        for round in 1..=5 {
            served.ask(&format!("/{round}"));
            assert_eq!(served.woken(), round);
            rest();
        }
        drop(served.client);
        assert_eq!(served.thread.join().unwrap(), 5);
    }
}

#[test]
fn a_request_that_came_with_the_end_of_the_handshake_is_served() {
    for _ in 0..20 {
        let mut served = With::plain().serve_tls_behind(&get("/first"));
        assert_eq!(served.receive(), "/first 0");
        rest();
        served.ask("/second");
    }
}

#[test]
fn a_connection_in_use_does_not_rest() {
    let mut served = With { rest_after: Duration::from_secs(5), ..With::plain() }.serve();
    for round in 0..50 {
        served.ask(&format!("/{round}"));
    }
    assert_eq!(served.woken(), 1, "only the first request found it at rest");
}

#[test]
fn nothing_is_lost_that_comes_while_a_connection_is_put_to_rest() {
    for (mut served, rounds) in [(With::plain().serve(), 3000_u64), (With::plain().serve_tls(), 1000)] {
        let mut asked = 0;
        for round in 0..rounds {
            // Around the moment, and from time to time two at once or one in two pieces.
            let silence = SOON.mul_f64(0.8) + Duration::from_micros(round.wrapping_mul(7919) % 900);
            let wake = Instant::now() + silence;
            pause(silence.saturating_sub(Duration::from_micros(300)));
            while Instant::now() < wake {
                std::hint::spin_loop();
            }
            let path = format!("/{round}");
            match round % 10 {
                0 => {
                    served.send(get(&path).repeat(2));
                    assert_eq!([served.receive(), served.receive()], [format!("{path} 0"), format!("{path} 0")]);
                    asked += 2;
                }
                1 => {
                    let request = get(&path);
                    let (head, tail) = request.split_at(20);
                    served.send(head);
                    pause(Duration::from_micros(round % 300));
                    served.send(tail);
                    assert_eq!(served.receive(), format!("{path} 0"));
                    asked += 1;
                }
                2 => {
                    served.send(format!("POST {path} HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhe"));
                    pause(silence);
                    served.send("llo");
                    assert_eq!(served.receive(), format!("{path} 5"));
                    asked += 1;
                }
                _ => {
                    served.ask(&path);
                    asked += 1;
                }
            }
        }
        let woken = served.woken();
        assert!(woken > 20 && woken < usize::try_from(asked).unwrap(), "{woken} of {asked} found it at rest");
        drop(served.client);
        assert_eq!(served.thread.join().unwrap(), asked);
    }
}

#[test]
fn a_head_that_trickles_in_keeps_the_connection_awake() {
    let mut served = With::plain().serve();
    served.ask("/first");
    rest();
    for byte in get("/second").as_bytes() {
        served.send([*byte]);
        pause(SOON * 2);
    }
    assert_eq!(served.receive(), "/second 0");
    assert_eq!(served.woken(), 2);
}

#[test]
fn a_part_of_a_head_that_came_with_another_request_is_kept() {
    for mut served in [With::plain().serve(), With::plain().serve_tls()] {
        let second = get("/second");
        let (head, tail) = second.split_at(30);
        served.send(get("/first") + head);
        assert_eq!(served.receive(), "/first 0");
        rest();
        rest();
        served.send(tail);
        assert_eq!(served.receive(), "/second 0");
        rest();
        served.ask("/third");
        // Empty lines before a request are nothing (RFC 9112 section 2.2).
        served.send(get("/fourth") + "\r\n");
        assert_eq!(served.receive(), "/fourth 0");
        rest();
        served.ask("/fifth");
        assert_eq!(served.woken(), 2);
    }
}

#[test]
fn a_connection_that_was_offered_another_protocol_is_left_alone() {
    let mut served = With::plain().serve();
    served.send("GET /first HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: h2c\r\n\r\n");
    assert_eq!(served.receive(), "/first 0");
    rest();
    served.ask("/second");
    assert_eq!(served.woken(), 1);
}

#[test]
fn a_resting_connection_is_closed_when_it_has_been_idle_for_too_long() {
    for asks in [false, true] {
        let mut with = With::plain();
        with.limits.idle_timeout = Duration::from_millis(300);
        let mut served = with.serve();
        if asks {
            served.ask("/");
        }
        let took = served.closed();
        assert!(took >= Duration::from_millis(290) && took < Duration::from_secs(10), "{took:?}");
    }
}

#[test]
fn a_client_that_never_asks_gets_the_time_for_a_head() {
    let mut with = With::plain();
    with.limits.header_timeout = Duration::from_millis(300);
    let took = with.serve().closed();
    assert!(took >= Duration::from_millis(290) && took < Duration::from_secs(10), "{took:?}");
}

#[test]
fn a_resting_connection_hears_that_the_gateway_stops() {
    let mut served = With::plain().serve();
    served.ask("/");
    rest();
    served.drain.cancel();
    pause(Duration::from_millis(100));
    served.ask("/last-call");
    let took = served.closed();
    assert!(took > Duration::from_millis(300) && took < Duration::from_secs(10), "{took:?}");
}

#[test]
fn a_client_that_leaves_a_resting_connection_is_noticed() {
    for mut served in [With::plain().serve(), With::plain().serve_tls()] {
        served.ask("/");
        rest();
        drop(served.client);
        assert_eq!(served.thread.join().unwrap(), 1);
    }
}
