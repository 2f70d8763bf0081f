//! Plain HTTP/1.1 on loopback for the provider and the echo upstream.

use std::convert::Infallible;
use std::future::Future;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpListener;

use super::echo;
use super::provider::{MAX_BODY, Provider};
use crate::clock::Timestamp;

/// Sockets on both loopback addresses with one port: `localhost` means either. A machine without IPv6 has the first
/// one only.
///
/// # Errors
/// The port is taken.
pub async fn bind(port: u16) -> io::Result<Vec<TcpListener>> {
    let first = TcpListener::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, port))).await?;
    let port = first.local_addr()?.port();
    match TcpListener::bind(SocketAddr::from((Ipv6Addr::LOCALHOST, port))).await {
        Ok(second) => Ok(vec![first, second]),
        Err(error) if error.kind() == io::ErrorKind::AddrInUse => Err(error),
        Err(_) => Ok(vec![first]),
    }
}

/// Serves the provider until the future is dropped.
pub async fn provider(listeners: Vec<TcpListener>, provider: Arc<Provider>) {
    let answer = move |request: Request<Incoming>| {
        let provider = Arc::clone(&provider);
        async move { Ok::<_, Infallible>(ask(&provider, request).await) }
    };
    all(listeners, answer).await;
}

/// Serves the echo upstream until the future is dropped.
pub async fn echo(listeners: Vec<TcpListener>) {
    all(listeners, echo::answer::<Incoming>).await;
}

async fn ask(provider: &Provider, request: Request<Incoming>) -> Response<Full<Bytes>> {
    let (head, body) = request.into_parts();
    if let Ok(body) = Limited::new(body, MAX_BODY).collect().await {
        return provider.answer(&Request::from_parts(head, body.to_bytes()), Timestamp::now()).map(Full::new);
    }
    let mut response = Response::new(Full::new(Bytes::from_static(b"the body is too large or broke off\n")));
    *response.status_mut() = StatusCode::PAYLOAD_TOO_LARGE;
    response
}

async fn all<S, F>(listeners: Vec<TcpListener>, answer: S)
where
    S: Fn(Request<Incoming>) -> F + Clone + Send + 'static,
    F: Future<Output = Result<Response<Full<Bytes>>, Infallible>> + Send + 'static,
{
    let mut accepting = tokio::task::JoinSet::new();
    for listener in listeners {
        accepting.spawn(accept(listener, answer.clone()));
    }
    while accepting.join_next().await.is_some() {}
}

/// Connections end with this task: they belong to its set.
async fn accept<S, F>(listener: TcpListener, answer: S)
where
    S: Fn(Request<Incoming>) -> F + Clone + Send + 'static,
    F: Future<Output = Result<Response<Full<Bytes>>, Infallible>> + Send + 'static,
{
    let mut connections = tokio::task::JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                let Ok((stream, _)) = accepted else {
                    // Out of descriptors, most likely; trying again at once would only burn time.
                    tokio::time::sleep(Duration::from_millis(50)).await;
                    continue;
                };
                let answer = answer.clone();
                connections.spawn(async move {
                    let mut http = http1::Builder::new();
                    http.timer(TokioTimer::new());
                    // What a client breaks off needs no word on a laptop.
                    let _ = http.serve_connection(TokioIo::new(stream), service_fn(answer)).await;
                });
            }
            Some(_) = connections.join_next() => {}
        }
    }
}
