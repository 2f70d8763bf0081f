//! HTTP/2 towards clients, towards upstreams, and end to end.

use std::cell::{Cell, RefCell};
use std::convert::Infallible;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode, Version};
use http_body_util::{BodyExt, Empty, Full};
use hyper::body::{Frame, Incoming};
use hyper::client::conn::http2::SendRequest;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::spawn_local;

use super::support::{Gate, Local, OK, Permitted, Raw, get, run, status_of, upstream_at};
use crate::config::{self, Protocol};

type Body = http_body_util::combinators::UnsyncBoxBody<Bytes, Infallible>;

/// An HTTP/2 upstream without TLS that sends the body back, with trailers that tell of the request.
struct Echo {
    address: SocketAddr,
    connections: Rc<Cell<usize>>,
    heads: Rc<RefCell<Vec<http::request::Parts>>>,
    trailers: Rc<RefCell<Vec<HeaderMap>>>,
}

impl Echo {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let echo = Self {
            address: listener.local_addr().unwrap(),
            connections: Rc::default(),
            heads: Rc::default(),
            trailers: Rc::default(),
        };
        let (connections, heads, trailers) =
            (Rc::clone(&echo.connections), Rc::clone(&echo.heads), Rc::clone(&echo.trailers));
        spawn_local(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                connections.set(connections.get() + 1);
                let (heads, trailers) = (Rc::clone(&heads), Rc::clone(&trailers));
                let service = service_fn(move |request| echo_back(request, Rc::clone(&heads), Rc::clone(&trailers)));
                let builder = hyper::server::conn::http2::Builder::new(Local);
                spawn_local(async move { builder.serve_connection(TokioIo::new(stream), service).await });
            }
        });
        echo
    }

    fn config(&self) -> config::Upstream {
        config::Upstream { protocol: Protocol::H2, ..upstream_at(self.address) }
    }
}

async fn echo_back(
    request: Request<Incoming>,
    heads: Rc<RefCell<Vec<http::request::Parts>>>,
    trailers: Rc<RefCell<Vec<HeaderMap>>>,
) -> Result<Response<Body>, Infallible> {
    let (head, body) = request.into_parts();
    heads.borrow_mut().push(head);
    let Ok(body) = body.collect().await else { return Ok(Response::new(Empty::new().boxed_unsync())) };
    trailers.borrow_mut().extend(body.trailers().cloned());
    let mut told = HeaderMap::new();
    told.insert("grpc-status", HeaderValue::from_static("0"));
    told.insert("set-cookie", HeaderValue::from_static("a=1"));
    let frames = [Ok(Frame::data(body.to_bytes())), Ok(Frame::trailers(told))];
    Ok(Response::new(Frames::from(frames).boxed_unsync()))
}

/// Frames one after another.
struct Frames(std::collections::VecDeque<Result<Frame<Bytes>, Infallible>>);

impl http_body::Body for Frames {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: std::pin::Pin<&mut Self>,
        _: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        std::task::Poll::Ready(self.0.pop_front())
    }
}

impl<S> From<S> for Frames
where
    S: Into<std::collections::VecDeque<Result<Frame<Bytes>, Infallible>>>,
{
    fn from(frames: S) -> Self {
        Self(frames.into())
    }
}

async fn client(gate: &Gate) -> SendRequest<Body> {
    let stream = TcpStream::connect(gate.address).await.unwrap();
    let (sender, connection) = hyper::client::conn::http2::handshake(Local, TokioIo::new(stream)).await.unwrap();
    spawn_local(connection);
    sender
}

fn request(method: &str) -> http::request::Builder {
    Request::builder().method(method).version(Version::HTTP_2).uri("https://api.example.com/a?b=c")
}

#[test]
fn an_http2_client_reaches_an_http1_upstream() {
    run(async {
        let raw = Raw::answering(OK).await;
        let gate = Gate::start_http2(&raw.config(), Permitted::default()).await;
        let asked = request("GET").header("cookie", "a=1").header("cookie", "b=2").header("te", "trailers");
        let answer = client(&gate).await.send_request(asked.body(Empty::new().boxed_unsync()).unwrap()).await.unwrap();
        assert_eq!(answer.status(), StatusCode::OK);
        assert_eq!(answer.headers()["via"], "1.1 torwart");
        assert_eq!(answer.into_body().collect().await.unwrap().to_bytes(), "ok");
        assert_eq!(raw.values("host"), ["api.example.com"]);
        assert_eq!(raw.values("cookie"), ["a=1; b=2"], "RFC 9113 section 8.2.3");
        assert_eq!(raw.values("via"), ["2 torwart"]);
        assert_eq!(raw.values("te"), ["trailers"]);
        assert!(raw.seen().starts_with("get /a?b=c http/1.1\r\n"), "{}", raw.seen());
    });
}

#[test]
fn a_post_without_body_and_one_of_unknown_length_are_framed_for_http1() {
    run(async {
        let raw = Raw::answering(OK).await;
        let gate = Gate::start_http2(&raw.config(), Permitted::default()).await;
        let mut sender = client(&gate).await;
        let empty = request("POST").body(Empty::new().boxed_unsync()).unwrap();
        assert_eq!(sender.send_request(empty).await.unwrap().status(), StatusCode::OK);
        assert_eq!(raw.values("content-length"), ["0"]);
        let frames: Frames = [Ok(Frame::data(Bytes::from_static(b"abc")))].into();
        let unknown = request("POST").body(frames.boxed_unsync()).unwrap();
        assert_eq!(sender.send_request(unknown).await.unwrap().status(), StatusCode::OK);
        assert_eq!(raw.values("transfer-encoding"), ["chunked"]);
        assert!(raw.seen().ends_with("3\r\nabc\r\n0\r\n\r\n"), "{}", raw.seen());
    });
}

#[test]
fn an_http1_client_reaches_an_http2_upstream() {
    run(async {
        let echo = Echo::start().await;
        let gate = Gate::start(&echo.config(), Permitted::default()).await;
        let answer = gate.send(get("X-Auth-Subject: evil\r\nCookie: a=1\r\n")).await;
        assert_eq!(status_of(&answer), "200", "{:?}", gate.failures());
        assert!(answer.to_ascii_lowercase().contains("via: 2 torwart"), "{answer}");
        let heads = echo.heads.borrow();
        assert_eq!(heads[0].uri, "http://api.example.com/a?b=c");
        assert_eq!(heads[0].headers.get_all("x-auth-subject").iter().collect::<Vec<_>>(), ["alice"]);
        for absent in ["host", "connection", "transfer-encoding"] {
            assert!(!heads[0].headers.contains_key(absent), "{absent}");
        }
    });
}

/// gRPC: HTTP/2 on both sides, `te: trailers`, a status in trailers.
#[test]
fn trailers_go_both_ways_end_to_end() {
    run(async {
        let echo = Echo::start().await;
        let gate = Gate::start_http2(&echo.config(), Permitted::default()).await;
        let mut told = HeaderMap::new();
        told.insert("x-checksum", HeaderValue::from_static("7"));
        told.insert("x-auth-subject", HeaderValue::from_static("evil"));
        told.insert("x_auth_global", HeaderValue::from_static("evil"));
        let frames: Frames = [Ok(Frame::data(Bytes::from_static(b"abc"))), Ok(Frame::trailers(told))].into();
        let asked = request("POST").header("te", "trailers").header("content-type", "application/grpc");
        let answer = client(&gate).await.send_request(asked.body(frames.boxed_unsync()).unwrap()).await.unwrap();
        assert_eq!(answer.status(), StatusCode::OK);
        let body = answer.into_body().collect().await.unwrap();
        let trailers = body.trailers().cloned().unwrap();
        assert_eq!(trailers["grpc-status"], "0");
        assert!(!trailers.contains_key("set-cookie"));
        assert_eq!(body.to_bytes(), "abc");
        assert_eq!(echo.heads.borrow()[0].headers["te"], "trailers");
        let arrived = echo.trailers.borrow();
        assert_eq!((arrived[0].len(), arrived[0]["x-checksum"].to_str().unwrap()), (1, "7"));
    });
}

#[test]
fn all_exchanges_of_a_worker_share_one_http2_connection() {
    run(async {
        let echo = Echo::start().await;
        let gate = Gate::start_http2(&echo.config(), Permitted::default()).await;
        let sender = client(&gate).await;
        let all = (0..20).map(|number| {
            let mut sender = sender.clone();
            async move {
                let body = Full::new(Bytes::from(number.to_string())).boxed_unsync();
                let answer = sender.send_request(request("POST").body(body).unwrap()).await.unwrap();
                assert_eq!(answer.into_body().collect().await.unwrap().to_bytes(), number.to_string());
            }
        });
        let tasks: Vec<_> = all.map(spawn_local).collect();
        for task in tasks {
            task.await.unwrap();
        }
        assert_eq!((echo.connections.get(), echo.heads.borrow().len()), (1, 20));
    });
}

#[test]
fn a_shared_connection_that_closed_is_replaced() {
    run(async {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let connections = Rc::new(Cell::new(0));
        let count = Rc::clone(&connections);
        spawn_local(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                count.set(count.get() + 1);
                let service = service_fn(|_| async { Ok::<_, Infallible>(Response::new(Empty::<Bytes>::new())) });
                spawn_local(async move {
                    let builder = hyper::server::conn::http2::Builder::new(Local);
                    let serve = builder.serve_connection(TokioIo::new(stream), service);
                    let _ = tokio::time::timeout(Duration::from_millis(50), serve).await;
                });
            }
        });
        let upstream = config::Upstream { protocol: Protocol::H2, ..upstream_at(address) };
        let gate = Gate::start(&upstream, Permitted::default()).await;
        assert_eq!(status_of(&gate.send(get("")).await), "200", "{:?}", gate.failures());
        tokio::time::sleep(Duration::from_millis(100)).await;
        assert_eq!(status_of(&gate.send(get("")).await), "200", "{:?}", gate.failures());
        assert_eq!(connections.get(), 2);
    });
}

#[test]
fn an_upstream_that_speaks_http1_instead_is_502() {
    run(async {
        let raw = Raw::answering_once("HTTP/1.1 400 Bad\r\n\r\n").await;
        let upstream = config::Upstream { protocol: Protocol::H2, ..raw.config() };
        let gate = Gate::start(&upstream, Permitted::default()).await;
        assert_eq!(status_of(&gate.send(get("")).await), "502", "{:?}", gate.failures());
    });
}

#[test]
fn a_broken_body_resets_only_its_own_stream() {
    run(async {
        let echo = Echo::start().await;
        let gate = Gate::start(&echo.config(), Permitted::default()).await;
        let chunked = "POST / HTTP/1.1\r\nHost: a\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n";
        let answer = gate.send(format!("{chunked}3\r\nabc\r\nzz\r\n")).await;
        assert_eq!(status_of(&answer), "400", "{:?}", gate.failures());
        let answer = gate.send(format!("{chunked}3\r\nabc\r\n0\r\n\r\n")).await;
        assert_eq!(status_of(&answer), "200", "{:?}", gate.failures());
        assert_eq!(echo.connections.get(), 1);
    });
}

/// An upstream whose first connection ends when the second request arrives on it.
async fn ending_on_second(connections: Rc<Cell<usize>>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    spawn_local(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let first = connections.get() == 0;
            connections.set(connections.get() + 1);
            let (served, end) = (Rc::new(Cell::new(0)), Rc::new(tokio::sync::Notify::new()));
            let ending = Rc::clone(&end);
            let service = service_fn(move |_| {
                served.set(served.get() + 1);
                let (second, end) = (first && served.get() == 2, Rc::clone(&ending));
                async move {
                    if second {
                        end.notify_one();
                        std::future::pending::<()>().await;
                    }
                    Ok::<_, Infallible>(Response::new(Empty::<Bytes>::new()))
                }
            });
            spawn_local(async move {
                let builder = hyper::server::conn::http2::Builder::new(Local);
                tokio::select! {
                    _ = builder.serve_connection(TokioIo::new(stream), service) => {}
                    () = end.notified() => {}
                }
            });
        }
    });
    address
}

#[test]
fn an_idempotent_request_is_repeated_once_when_the_shared_connection_ends() {
    run(async {
        for (method, status) in [("GET", "200"), ("POST", "502")] {
            let connections = Rc::new(Cell::new(0));
            let address = ending_on_second(Rc::clone(&connections)).await;
            let upstream = config::Upstream { protocol: Protocol::H2, ..upstream_at(address) };
            let gate = Gate::start(&upstream, Permitted::default()).await;
            assert_eq!(status_of(&gate.send(get("")).await), "200", "{:?}", gate.failures());
            let second = get("").replace("GET", method);
            assert_eq!(status_of(&gate.send(second).await), status, "{method} {:?}", gate.failures());
        }
    });
}
