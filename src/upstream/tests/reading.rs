//! What is read of an upstream's bytes is what another implementation reads of them, hyper's client, or nothing.

use std::future::poll_fn;
use std::net::SocketAddr;

use bytes::{Bytes, BytesMut};
use http::{Request, StatusCode};
use http_body_util::{BodyExt, Empty};
use hyper_util::rt::TokioIo;
use proptest::prelude::*;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::spawn_local;

use super::super::connect::connect;
use super::super::http1::{Http1, Reading, Sending};
use super::super::load::Configured;
use super::super::request_body::RequestBody;
use super::super::request_headers::Framing;
use super::super::response_headers;
use super::support::{run, upstream_at};
use crate::diagnostic::Diagnostics;

/// A response as somebody understands it: status and content. `None`: not to its end.
type Understood = Option<(StatusCode, Vec<u8>)>;

/// Says these bytes in two parts to whoever connects and asks, and hangs up.
async fn speaker(bytes: Vec<u8>, cut: usize) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    spawn_local(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut asked = [0; 1024];
            let _ = stream.read(&mut asked).await;
            let (first, second) = bytes.split_at(cut.min(bytes.len()));
            let _ = stream.write_all(first).await;
            tokio::task::yield_now().await;
            let _ = stream.write_all(second).await;
            let _ = stream.shutdown().await;
            // Until the other side has had its time.
            let _ = stream.read(&mut asked).await;
        }
    });
    address
}

async fn by_hyper(address: SocketAddr, method: &str) -> Understood {
    let stream = TcpStream::connect(address).await.unwrap();
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
    spawn_local(connection);
    let request = Request::builder().method(method).header("host", "a").body(Empty::<Bytes>::new()).unwrap();
    let response = sender.send_request(request).await.ok()?;
    let status = response.status();
    let content = response.into_body().collect().await.ok()?.to_bytes();
    Some((status, content.to_vec()))
}

async fn by_us(address: SocketAddr, method: &str) -> Understood {
    let mut problems = Diagnostics::new();
    let configured = Configured::load(&upstream_at(address), None, &mut problems).unwrap();
    configured.members.resolve(&configured.upstream).await;
    let seats = configured.members.seats();
    let stream = connect(&configured.upstream, &seats[0].member, None).await.unwrap();
    let mut connection = Http1::new(stream);
    let head = format!("{method} / HTTP/1.1\r\nhost: a\r\n\r\n").into_bytes();
    connection.ask(Sending::new(head, RequestBody::none(), Framing::None), method == "HEAD");
    let mut head = poll_fn(|cx| connection.poll_answer(cx)).await.ok()?;
    let announced = response_headers::rewrite(&mut head).ok()?;
    let mut reading = Reading::new(connection, head.status, announced);
    let mut content = BytesMut::new();
    while let Some(frame) = poll_fn(|cx| reading.poll_frame(cx)).await {
        if let Ok(data) = frame.ok()?.into_data() {
            content.extend_from_slice(&data);
        }
    }
    assert!(reading.is_over());
    Some((head.status, content.to_vec()))
}

fn understood(bytes: &[u8], cut: usize, method: &str) -> (Understood, Understood) {
    run(async {
        let address = speaker(bytes.to_vec(), cut).await;
        (by_us(address, method).await, by_hyper(address, method).await)
    })
}

/// Responses as servers write them.
fn responses() -> impl Strategy<Value = String> {
    let interim =
        prop::sample::select(vec!["", "", "HTTP/1.1 100 Continue\r\n\r\n", "HTTP/1.1 103 Early\r\nLink: x\r\n\r\n"]);
    let version = prop::sample::select(vec!["1.1", "1.1", "1.1", "1.0"]);
    let status =
        prop::sample::select(vec!["200 OK", "204 No Content", "206 Part", "304 Not Modified", "404", "500 Oh no"]);
    let fields = prop::collection::vec(prop::sample::select(vec!["X: y\r\n", "Connection: close\r\n", "A:\r\n"]), 0..3);
    let chunk = ("[a-z\r\n]{1,20}", prop::sample::select(vec!["", ";x", ";x=y", " ; x=\"y\""]));
    let chunks = prop::collection::vec(chunk, 0..4);
    let trailers = prop::sample::select(vec!["", "", "T: u\r\n"]);
    let chunked = (chunks, trailers).prop_map(|(chunks, trailers)| {
        let chunk = |(data, extension): &(String, &str)| format!("{:x}{extension}\r\n{data}\r\n", data.len());
        let chunks: Vec<_> = chunks.iter().map(chunk).collect();
        format!("Transfer-Encoding: chunked\r\n\r\n{}0\r\n{trailers}\r\n", chunks.concat())
    });
    let counted = "[a-z]{0,40}".prop_map(|data| format!("Content-Length: {}\r\n\r\n{data}", data.len()));
    let endless = "[a-z]{0,40}".prop_map(|data| format!("\r\n{data}"));
    let content = prop_oneof![3 => chunked, 3 => counted, 1 => endless];
    (interim, version, status, fields, content).prop_map(|(interim, version, status, fields, content)| {
        format!("{interim}HTTP/{version} {status}\r\n{}{content}", fields.concat())
    })
}

/// One byte of a response, changed.
fn changed(text: &str, place: prop::sample::Index, byte: u8, how: u8) -> Vec<u8> {
    let mut bytes = text.as_bytes().to_vec();
    let at = place.index(bytes.len());
    match how {
        0 => bytes[at] = byte,
        1 => bytes.insert(at, byte),
        _ => drop(bytes.remove(at)),
    }
    bytes
}

const METHODS: [&str; 3] = ["GET", "GET", "HEAD"];

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn what_servers_write_is_read_as_another_reads_it(
        text in responses(), cut in 0_usize..200, method in prop::sample::select(&METHODS[..])
    ) {
        let (ours, theirs) = understood(text.as_bytes(), cut, method);
        // HTTP/1.0 knows no codings.
        let strange = text.contains("HTTP/1.0") && text.contains("Transfer-Encoding");
        prop_assert!(ours.is_some() != strange && (strange || ours == theirs), "{text:?} {method}: {ours:?} {theirs:?}");
    }

    #[test]
    fn what_is_broken_is_read_as_another_reads_it_or_not_at_all(
        text in responses(), cut in 0_usize..200, method in prop::sample::select(&METHODS[..]),
        place in any::<prop::sample::Index>(), byte in prop::sample::select(&b"\r\n\0 \t:;0aF\x80"[..]), how in 0_u8..3,
    ) {
        let bytes = changed(&text, place, byte, how);
        let (ours, theirs) = understood(&bytes, cut, method);
        prop_assert!(ours.is_none() || ours == theirs, "{} {method}: {ours:?} {theirs:?}", bytes.escape_ascii());
    }
}
