//! WebSocket tunnels over HTTP/1.1 and HTTP/2.

use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, StatusCode, Version};
use http_body_util::Empty;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_util::sync::CancellationToken;

use super::support::{Gate, Local, OK, Permitted, Raw, run, status_of};
use crate::clock::Timestamp;

const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
const ASKED: &str = "GET /socket HTTP/1.1\r\nHost: a\r\nConnection: keep-alive, Upgrade\r\nUpgrade: WebSocket\r\n\
    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\nX-Auth-Subject: evil\r\n\r\n";
const SWITCHED: &str = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
    Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\nKeep-Alive: x\r\n\r\n";

/// An upstream that agrees, says `first` and echoes what it gets.
async fn echo(first: &'static [u8]) -> Raw {
    Raw::start(move |_, mut talk| async move {
        let request = talk.head().await.unwrap();
        let key = request.lines().find_map(|line| line.strip_prefix("sec-websocket-key: ")).unwrap();
        let proof = super::super::tunnel::proof_of(&key.parse().unwrap());
        talk.say(SWITCHED.replace("s3pPLMBiTxaQ9kYGzzhZRbK+xOo=", &proof)).await;
        talk.say(first).await;
        while let Some(bytes) = talk.read().await {
            talk.say(bytes).await;
        }
    })
    .await
}

async fn opened(gate: &Gate) -> (TcpStream, String) {
    let mut client = TcpStream::connect(gate.address).await.unwrap();
    client.write_all(ASKED.as_bytes()).await.unwrap();
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(client.read_u8().await.unwrap());
    }
    (client, String::from_utf8(head).unwrap())
}

async fn expect(stream: &mut (impl AsyncRead + Unpin), bytes: &[u8]) {
    let mut read = vec![0; bytes.len()];
    stream.read_exact(&mut read).await.unwrap();
    assert_eq!(read, bytes);
}

async fn expect_end(stream: &mut (impl AsyncRead + Unpin)) {
    let mut rest = Vec::new();
    let _ = stream.read_to_end(&mut rest).await;
    assert!(rest.is_empty(), "{rest:?}");
}

#[test]
fn a_websocket_is_tunnelled_both_ways() {
    run(async {
        let raw = echo(b"\x82\x02hi").await;
        let gate = Gate::start(&raw.config(), Permitted::default()).await;
        let (mut client, head) = opened(&gate).await;
        assert!(head.starts_with("HTTP/1.1 101 "), "{head} {:?}", gate.failures());
        let lower = head.to_ascii_lowercase();
        assert!(lower.contains("sec-websocket-accept: s3ppl") && lower.contains("upgrade: websocket"), "{head}");
        assert!(!lower.contains("keep-alive"), "{head}");
        expect(&mut client, b"\x82\x02hi").await;
        client.write_all(b"\x82\x83abcdxyz").await.unwrap();
        expect(&mut client, b"\x82\x83abcdxyz").await;
        assert_eq!(raw.values("upgrade"), ["websocket"]);
        assert_eq!(raw.values("connection"), ["Upgrade"]);
        assert_eq!(raw.values("x-auth-subject"), ["alice"]);
        client.shutdown().await.unwrap();
        expect_end(&mut client).await;
    });
}

#[test]
fn a_large_tunnel_holds_little_and_loses_nothing() {
    run(async {
        let raw = echo(b"").await;
        let gate = Gate::start(&raw.config(), Permitted::default()).await;
        let (client, _) = opened(&gate).await;
        let (mut reader, mut writer) = client.into_split();
        let block: Vec<u8> = (0..=u8::MAX).cycle().take(1_000_003).collect();
        let sent = block.clone();
        tokio::task::spawn_local(async move {
            writer.write_all(&sent).await.unwrap();
            writer.shutdown().await.unwrap();
        });
        expect(&mut reader, &block).await;
        expect_end(&mut reader).await;
    });
}

#[test]
fn an_upstream_that_declines_answers_as_to_any_request() {
    run(async {
        let raw = Raw::answering("HTTP/1.1 403 No\r\nContent-Length: 2\r\n\r\nno").await;
        let gate = Gate::start(&raw.config(), Permitted::default()).await;
        let answer = gate.send(ASKED.replace("keep-alive", "close")).await;
        assert!(answer.starts_with("HTTP/1.1 403 No") && answer.ends_with("no"), "{answer}");
    });
}

#[test]
fn a_wrong_handshake_is_502() {
    run(async {
        for (wrong, because) in [
            (SWITCHED.replace("s3pPL", "S3pPL"), "Handshake"),
            (SWITCHED.replace("Sec-WebSocket-Accept", "X"), "Handshake"),
            (SWITCHED.replace("Upgrade: websocket", "Upgrade: h2c"), "UnaskedSwitch"),
            (SWITCHED.replace("Connection: Upgrade", "Connection: x"), "UnaskedSwitch"),
        ] {
            let raw = Raw::answering_once(wrong).await;
            let gate = Gate::start(&raw.config(), Permitted::default()).await;
            assert_eq!(status_of(&gate.send(ASKED.replace("keep-alive", "close")).await), "502");
            assert!(gate.failures().join("").contains(because), "{:?}", gate.failures());
        }
    });
}

/// http.md: `h2c` upgrades are not tunnelled, nor is anything else.
#[test]
fn nothing_but_a_websocket_is_tunnelled() {
    run(async {
        for other in [
            ASKED.replace("WebSocket\r\n", "h2c\r\n"),
            ASKED.replace("WebSocket\r\n", "websocket, h2c\r\n"),
            ASKED.replace("keep-alive, Upgrade", "keep-alive"),
            ASKED.replace("GET", "POST"),
            ASKED.replace("Host: a", "Host: a\r\nContent-Length: 0"),
        ] {
            let raw = Raw::answering(OK).await;
            let gate = Gate::start(&raw.config(), Permitted::default()).await;
            let mut client = TcpStream::connect(gate.address).await.unwrap();
            client.write_all(other.as_bytes()).await.unwrap();
            expect(&mut client, b"HTTP/1.1 200 OK").await;
            assert!(!raw.seen().contains("upgrade"), "{}", raw.seen());
        }
    });
}

#[test]
fn a_tunnel_ends_with_its_token_and_says_1008() {
    run(async {
        let raw = echo(b"\x82\x02hi").await;
        let permitted = Permitted { valid_until: Some(Timestamp::now()), ..Permitted::default() };
        let gate = Gate::start(&raw.config(), permitted).await;
        let (mut client, _) = opened(&gate).await;
        expect(&mut client, b"\x82\x02hi\x88\x02\x03\xf0").await;
        expect_end(&mut client).await;
    });
}

#[test]
fn a_tunnel_ends_when_the_drain_begins_and_says_1001() {
    run(async {
        let raw = echo(b"").await;
        let drain = CancellationToken::new();
        let gate = Gate::start(&raw.config(), Permitted { drain: drain.clone(), ..Permitted::default() }).await;
        let (mut client, _) = opened(&gate).await;
        client.write_all(b"\x82\x01a").await.unwrap();
        expect(&mut client, b"\x82\x01a").await;
        drain.cancel();
        expect(&mut client, b"\x88\x02\x03\xe9").await;
        expect_end(&mut client).await;
        drop(client);
        super::super::tunnels_ended().await;
    });
}

#[test]
fn in_the_middle_of_a_frame_a_tunnel_just_ends() {
    run(async {
        let raw = echo(b"\x82\x05hi").await;
        let drain = CancellationToken::new();
        let gate = Gate::start(&raw.config(), Permitted { drain: drain.clone(), ..Permitted::default() }).await;
        let (mut client, _) = opened(&gate).await;
        expect(&mut client, b"\x82\x05hi").await;
        drain.cancel();
        expect_end(&mut client).await;
    });
}

/// RFC 8441.
#[test]
fn a_websocket_over_http2_reaches_an_http1_upstream() {
    run(async {
        let raw = echo(b"\x82\x02hi").await;
        let gate = Gate::start_http2(&raw.config(), Permitted::default()).await;
        let mut socket = connect(&gate).await.expect("the tunnel");
        expect(&mut socket, b"\x82\x02hi").await;
        socket.write_all(b"\x82\x83abcdxyz").await.unwrap();
        expect(&mut socket, b"\x82\x83abcdxyz").await;
        assert!(raw.seen().starts_with("get /socket http/1.1\r\n"), "{}", raw.seen());
        assert_eq!(raw.values("sec-websocket-version"), ["13"]);
        assert_ne!(raw.values("sec-websocket-key"), [KEY]);
        assert_eq!(raw.values("x-auth-subject"), ["alice"]);
        socket.shutdown().await.unwrap();
        expect_end(&mut socket).await;
    });
}

#[test]
fn over_http2_a_success_without_a_tunnel_is_502() {
    run(async {
        let raw = Raw::answering(OK).await;
        let gate = Gate::start_http2(&raw.config(), Permitted::default()).await;
        assert_eq!(connect(&gate).await.err(), Some(StatusCode::BAD_GATEWAY));
        let raw = Raw::answering("HTTP/1.1 403 No\r\nContent-Length: 0\r\n\r\n").await;
        let gate = Gate::start_http2(&raw.config(), Permitted::default()).await;
        assert_eq!(connect(&gate).await.err(), Some(StatusCode::FORBIDDEN));
    });
}

/// Extended CONNECT; the status when it is refused.
async fn connect(gate: &Gate) -> Result<TokioIo<hyper::upgrade::Upgraded>, StatusCode> {
    let stream = TcpStream::connect(gate.address).await.unwrap();
    let (mut sender, connection) = hyper::client::conn::http2::Builder::new(Local)
        .handshake::<_, Empty<Bytes>>(TokioIo::new(stream))
        .await
        .unwrap();
    tokio::task::spawn_local(connection);
    let request = Request::builder()
        .method(Method::CONNECT)
        .version(Version::HTTP_2)
        .uri("https://api.example.com/socket")
        .extension(hyper::ext::Protocol::from_static("websocket"))
        .header("sec-websocket-version", "13")
        .header("x-auth-subject", "evil")
        .body(Empty::new())
        .unwrap();
    tokio::time::sleep(Duration::from_millis(20)).await;
    let response = sender.send_request(request).await.unwrap();
    if response.status() != StatusCode::OK {
        return Err(response.status());
    }
    Ok(TokioIo::new(hyper::upgrade::on(response).await.unwrap()))
}
