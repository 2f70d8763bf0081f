//! What becomes of a connection whose client has left before it had its answer.

use std::rc::Rc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::Notify;
use tokio::time::sleep;

use super::support::{Gate, OK, Permitted, Raw, get, run, status_of};

const GET: &str = "GET /left HTTP/1.1\r\nHost: a\r\n\r\n";

/// Sends `request`, leaves as soon as the upstream has something of it, lets the upstream say `answer`, and asks again. How
/// many connections the upstream saw by then, and what the second answer was.
async fn after_leaving(request: &str, answer: &'static [u8]) -> (usize, String) {
    let (left, said) = (Rc::new(Notify::new()), Rc::new(Notify::new()));
    let (awaited, telling) = (Rc::clone(&left), Rc::clone(&said));
    let raw = Raw::start(move |number, mut talk| {
        let (left, said) = (Rc::clone(&awaited), Rc::clone(&telling));
        async move {
            if number == 0 {
                talk.head().await.unwrap();
                left.notified().await;
                talk.say(answer).await;
                said.notify_one();
            }
            while talk.request().await.is_some() {
                talk.say(OK).await;
            }
        }
    })
    .await;
    let gate = Gate::start(&raw.config(), Permitted::default()).await;
    let mut client = TcpStream::connect(gate.address).await.unwrap();
    client.write_all(request.as_bytes()).await.unwrap();
    while !raw.seen().contains("/left") {
        sleep(Duration::from_millis(1)).await;
    }
    drop(client);
    // Until the gateway has heard of it.
    sleep(Duration::from_millis(50)).await;
    left.notify_one();
    said.notified().await;
    sleep(Duration::from_millis(50)).await;
    let outcome = gate.send(get("")).await;
    (raw.connections.get(), outcome)
}

#[test]
fn a_short_answer_that_nobody_waits_for_keeps_its_connection() {
    run(async {
        let (connections, outcome) = after_leaving(GET, b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nstale").await;
        assert_eq!((connections, status_of(&outcome)), (1, "200"));
        assert!(outcome.ends_with("ok") && !outcome.contains("stale"), "the answer is its own: {outcome}");
    });
}

#[test]
fn an_answer_that_is_not_whole_too_long_or_wrong_ends_its_connection() {
    run(async {
        let long = format!("HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n{}", "x".repeat(100_000));
        let interim = format!("{}{OK}", "HTTP/1.1 103 Early Hints\r\n\r\n".repeat(20));
        for answer in [
            b"HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\nhalf".as_slice(),
            long.leak().as_bytes(),
            b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok",
            b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: else\r\n\r\n",
            interim.leak().as_bytes(),
            b"garbage\r\n\r\n",
            b"",
        ] {
            let (connections, outcome) = after_leaving(GET, answer).await;
            assert_eq!((connections, status_of(&outcome)), (2, "200"), "{}", String::from_utf8_lossy(answer));
        }
    });
}

/// What the client did not send of it will never come.
#[test]
fn a_request_whose_body_broke_off_ends_its_connection() {
    run(async {
        let request = "POST /left HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nhalf";
        assert_eq!(after_leaving(request, OK.as_bytes()).await.0, 2);
    });
}

#[test]
fn the_rest_of_a_short_answer_is_read_when_its_client_leaves_in_the_middle() {
    run(async {
        let raw = Raw::start(|number, mut talk| async move {
            while talk.request().await.is_some() {
                if number == 0 {
                    talk.say("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nfirst").await;
                    sleep(Duration::from_millis(100)).await;
                    talk.say("later").await;
                    while talk.request().await.is_some() {
                        talk.say(OK).await;
                    }
                } else {
                    talk.say(OK).await;
                }
            }
        })
        .await;
        let gate = Gate::start(&raw.config(), Permitted::default()).await;
        let mut client = TcpStream::connect(gate.address).await.unwrap();
        client.write_all(GET.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        while !answer.ends_with(b"first") {
            assert_ne!(client.read_buf(&mut answer).await.unwrap(), 0);
        }
        drop(client);
        sleep(Duration::from_millis(200)).await;
        let outcome = gate.send(get("")).await;
        assert_eq!((raw.connections.get(), status_of(&outcome)), (1, "200"));
        assert!(outcome.ends_with("\r\n\r\nok"), "{outcome}");
    });
}
