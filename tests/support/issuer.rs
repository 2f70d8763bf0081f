//! An issuer's web server in this process, on a thread of its own: answers what it is told to and counts.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rustls::ServerConfig;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use serde_json::{Value, json};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

/// What a path answers.
#[derive(Debug, Clone)]
pub(crate) enum Answer {
    /// Status, further header lines, body.
    Say(u16, String, Vec<u8>),
    /// Nothing, ever.
    Hang,
    /// These bytes, then the end of the connection.
    Raw(Vec<u8>),
    /// Status 200 with this body, as soon as [`Server::tell`] is called.
    WhenTold(Vec<u8>),
    /// These bytes one by one, with this pause before each.
    Drip(Vec<u8>, Duration),
    /// These bytes, and then the second ones over and over, a gibibyte in all, if anybody takes it.
    Endless(Vec<u8>, Vec<u8>),
    /// Status 200 with a body that depends on the request.
    Of(fn(&Heard) -> String),
}

/// Where an endless answer ends.
const GIBIBYTE: u64 = 1 << 30;

#[derive(Debug, Default)]
struct Board {
    answers: HashMap<String, Answer>,
    heard: Vec<Heard>,
    told: bool,
    poured: u64,
}

/// A request as it came.
#[derive(Debug, Clone)]
pub(crate) struct Heard {
    pub(crate) method: String,
    pub(crate) path: String,
    /// The head in full.
    pub(crate) head: String,
    pub(crate) body: String,
}

impl Heard {
    /// The value of a field that is there once.
    pub(crate) fn field(&self, name: &str) -> String {
        let lines = self.head.lines().filter_map(|line| line.split_once(": "));
        let values: Vec<_> = lines.filter(|(field, _)| field.eq_ignore_ascii_case(name)).collect();
        assert_eq!(values.len(), 1, "`{name}` in {}", self.head);
        values[0].1.to_owned()
    }
}

/// The server. It ends with the process.
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    board: Arc<Mutex<Board>>,
    /// The certificate authority of a TLS server, PEM.
    pub(crate) ca: Option<String>,
}

impl Server {
    pub(crate) fn plain() -> Self {
        Self::start(None, None)
    }

    /// A server whose certificate is for this name.
    pub(crate) fn tls(name: &str) -> Self {
        let authority = rcgen::KeyPair::generate().unwrap();
        let mut parameters = rcgen::CertificateParams::new(Vec::<String>::new()).unwrap();
        parameters.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        let root = parameters.self_signed(&authority).unwrap();
        let issuer = rcgen::Issuer::from_params(&parameters, &authority);
        let key = rcgen::KeyPair::generate().unwrap();
        let leaf = rcgen::CertificateParams::new(vec![name.to_owned()]).unwrap().signed_by(&key, &issuer).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let chain = vec![CertificateDer::from(leaf.der().to_vec())];
        let private = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(chain, private)
            .unwrap();
        Self::start(Some(TlsAcceptor::from(Arc::new(config))), Some(root.pem()))
    }

    fn start(tls: Option<TlsAcceptor>, ca: Option<String>) -> Self {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let address = listener.local_addr().unwrap();
        let board = Arc::new(Mutex::new(Board::default()));
        let shared = Arc::clone(&board);
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async move {
                let listener = TcpListener::from_std(listener).unwrap();
                loop {
                    let (stream, _) = listener.accept().await.unwrap();
                    let (board, tls) = (Arc::clone(&shared), tls.clone());
                    tokio::spawn(async move {
                        match tls {
                            None => serve(stream, &board).await,
                            Some(tls) => match tls.accept(stream).await {
                                Ok(stream) => serve(stream, &board).await,
                                Err(_) => None,
                            },
                        }
                    });
                }
            });
        });
        Self { address, board, ca }
    }

    /// Its origin under `localhost`.
    pub(crate) fn origin(&self) -> String {
        let scheme = if self.ca.is_some() { "https" } else { "http" };
        format!("{scheme}://localhost:{}", self.address.port())
    }

    pub(crate) fn answer(&self, path: &str, answer: Answer) {
        self.board.lock().unwrap().answers.insert(path.to_owned(), answer);
    }

    /// Answers 200 with this document.
    pub(crate) fn publish(&self, path: &str, document: &Value) {
        self.answer(path, Answer::Say(200, String::new(), document.to_string().into_bytes()));
    }

    /// Publishes metadata of this issuer and a key set.
    pub(crate) fn provide(&self, issuer: &str, jwks: &Value) {
        let jwks_uri = format!("{}/jwks", self.origin());
        self.publish("/.well-known/openid-configuration", &json!({"issuer": issuer, "jwks_uri": jwks_uri}));
        self.publish("/jwks", jwks);
    }

    /// Answers 500 to everything.
    pub(crate) fn fall_ill(&self) {
        for answer in self.board.lock().unwrap().answers.values_mut() {
            *answer = Answer::Say(500, String::new(), Vec::new());
        }
    }

    /// Lets answers go that wait for it.
    pub(crate) fn tell(&self) {
        self.board.lock().unwrap().told = true;
    }

    /// Waits until a path is asked for.
    pub(crate) fn wait_for(&self, path: &str) {
        let begun = std::time::Instant::now();
        while self.asked(path) == 0 {
            assert!(begun.elapsed().as_secs() < 20, "nobody asks for {path}");
            std::thread::yield_now();
        }
    }

    /// How many bytes of endless answers somebody has taken, or the system for them.
    pub(crate) fn poured(&self) -> u64 {
        self.board.lock().unwrap().poured
    }

    /// How often a path was asked for.
    pub(crate) fn asked(&self, path: &str) -> usize {
        self.heard(path).len()
    }

    /// The requests for a path in the order they came.
    pub(crate) fn heard(&self, path: &str) -> Vec<Heard> {
        self.board.lock().unwrap().heard.iter().filter(|heard| heard.path == path).cloned().collect()
    }
}

async fn serve<S: AsyncRead + AsyncWrite + Unpin>(mut stream: S, board: &Mutex<Board>) -> Option<()> {
    let heard = hear(&mut stream).await?;
    let answer = {
        let mut board = board.lock().unwrap();
        let answer = match board.answers.get(&heard.path).cloned() {
            Some(Answer::Of(said)) => Some(Answer::Say(200, String::new(), said(&heard).into_bytes())),
            answer => answer,
        };
        board.heard.push(heard);
        answer
    };
    let mut answer = answer.unwrap_or(Answer::Say(404, String::new(), Vec::new()));
    if let Answer::WhenTold(body) = answer {
        while !board.lock().unwrap().told {
            tokio::task::yield_now().await;
        }
        answer = Answer::Say(200, String::new(), body);
    }
    match answer {
        Answer::WhenTold(_) | Answer::Of(_) => None?,
        Answer::Hang => std::future::pending().await,
        Answer::Raw(bytes) => stream.write_all(&bytes).await.ok()?,
        Answer::Drip(bytes, pause) => {
            for byte in bytes {
                tokio::time::sleep(pause).await;
                stream.write_all(&[byte]).await.ok()?;
                stream.flush().await.ok()?;
            }
        }
        Answer::Endless(begin, more) => {
            stream.write_all(&begin).await.ok()?;
            let mut poured = 0;
            while poured < GIBIBYTE {
                stream.write_all(&more).await.ok()?;
                poured += more.len() as u64;
                board.lock().unwrap().poured += more.len() as u64;
            }
        }
        Answer::Say(status, headers, body) => {
            let length = body.len();
            let head = format!("HTTP/1.1 {status} X\r\n{headers}content-length: {length}\r\nconnection: close\r\n\r\n");
            stream.write_all(head.as_bytes()).await.ok()?;
            stream.write_all(&body).await.ok()?;
        }
    }
    stream.shutdown().await.ok()
}

async fn hear<S: AsyncRead + Unpin>(stream: &mut S) -> Option<Heard> {
    let mut bytes = Vec::new();
    let end = loop {
        if let Some(at) = bytes.windows(4).position(|four| four == b"\r\n\r\n") {
            break at + 4;
        }
        more(stream, &mut bytes).await?;
    };
    let head = String::from_utf8_lossy(&bytes[..end]).into_owned();
    let lines = head.lines().filter_map(|line| line.split_once(": "));
    let mut lengths = lines.filter(|(field, _)| field.eq_ignore_ascii_case("content-length"));
    let length: usize = lengths.next().map_or(0, |(_, length)| length.parse().unwrap());
    while bytes.len() < end + length {
        more(stream, &mut bytes).await?;
    }
    let body = String::from_utf8_lossy(&bytes[end..]).into_owned();
    let mut words = head.split(' ').map(str::to_owned);
    Some(Heard { method: words.next()?, path: words.next()?, head, body })
}

async fn more<S: AsyncRead + Unpin>(stream: &mut S, bytes: &mut Vec<u8>) -> Option<()> {
    let mut buffer = [0; 4096];
    let read = stream.read(&mut buffer).await.ok().filter(|read| *read > 0)?;
    bytes.extend_from_slice(&buffer[..read]);
    Some(())
}
