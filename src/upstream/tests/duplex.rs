//! What happens on a connection beside one request and one answer in turn: both at once, and neither.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::sleep;

use super::support::{Gate, OK, Permitted, Raw, get, run, status_of};

const HEAD: &str = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
const POST: &str = "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";

async fn read_until(client: &mut TcpStream, end: &str) -> String {
    let mut text = Vec::new();
    while !text.ends_with(end.as_bytes()) {
        text.push(client.read_u8().await.unwrap());
    }
    String::from_utf8(text).unwrap()
}

async fn until(mut done: impl FnMut() -> bool) {
    while !done() {
        sleep(Duration::from_millis(2)).await;
    }
}

#[test]
fn an_answer_may_begin_before_the_request_has_ended_and_both_go_on() {
    run(async {
        let raw = Raw::start(|_, mut talk| async move {
            while talk.head().await.is_some() {
                talk.say(HEAD).await;
                while let Some(bytes) = talk.read().await {
                    let (length, bytes) = (bytes.len(), String::from_utf8(bytes).unwrap());
                    talk.say(format!("{length:x}\r\n{bytes}\r\n")).await;
                    if bytes.ends_with("0\r\n\r\n") {
                        talk.say("0\r\n\r\n").await;
                        break;
                    }
                }
            }
        })
        .await;
        let gate = Gate::start(&raw.config(), Permitted::default()).await;
        let mut client = TcpStream::connect(gate.address).await.unwrap();
        // The connection serves one exchange after another.
        for _ in 0..2 {
            client.write_all(POST.as_bytes()).await.unwrap();
            read_until(&mut client, "\r\n\r\n").await;
            for word in ["3\r\none\r\n", "3\r\ntwo\r\n", "0\r\n\r\n"] {
                client.write_all(word.as_bytes()).await.unwrap();
                let answer = read_until(&mut client, word).await;
                assert_eq!(answer.trim_start(), format!("{:x}\r\n{word}", word.len()));
            }
            assert_eq!(read_until(&mut client, "0\r\n\r\n").await, "\r\n0\r\n\r\n");
        }
        assert_eq!(raw.connections.get(), 1);
    });
}

/// A client that sends all it has before it reads anything needs somebody who goes on taking it.
#[test]
fn a_request_goes_on_while_nobody_takes_the_answer() {
    run(async {
        let taken = Rc::new(Cell::new(0));
        let count = Rc::clone(&taken);
        let raw = Raw::start(move |_, mut talk| {
            let count = Rc::clone(&count);
            async move {
                talk.head().await.unwrap();
                let (mut reader, mut writer) = talk.stream.into_split();
                let flood = tokio::task::spawn_local(async move {
                    writer.write_all(HEAD.as_bytes()).await.unwrap();
                    let chunk = format!("10000\r\n{}\r\n", "x".repeat(0x10000));
                    while writer.write_all(chunk.as_bytes()).await.is_ok() {}
                });
                let mut buffer = vec![0; 64 * 1024];
                while let Ok(read @ 1..) = reader.read(&mut buffer).await {
                    count.set(count.get() + read);
                }
                flood.abort();
            }
        })
        .await;
        let gate = Gate::start(&raw.config(), Permitted::default()).await;
        let mut client = TcpStream::connect(gate.address).await.unwrap();
        client.write_all(POST.as_bytes()).await.unwrap();
        let chunk = format!("10000\r\n{}\r\n", "y".repeat(0x10000));
        // Until the answer fills every buffer on its way.
        sleep(Duration::from_millis(200)).await;
        for _ in 0..160 {
            client.write_all(chunk.as_bytes()).await.unwrap();
        }
        until(|| taken.get() > 160 * 0x10000).await;
    });
}

#[test]
fn an_upstream_that_has_heard_enough_is_still_heard() {
    run(async {
        let raw = Raw::start(|_, mut talk| async move {
            talk.head().await.unwrap();
            talk.say("HTTP/1.1 413 Enough\r\nContent-Length: 2\r\n\r\nno").await;
            // Closed with bytes that nobody has read: the request meets a reset.
            sleep(Duration::from_millis(20)).await;
        })
        .await;
        let gate = Gate::start(&raw.config(), Permitted::default()).await;
        let mut client = TcpStream::connect(gate.address).await.unwrap();
        client.write_all(POST.as_bytes()).await.unwrap();
        let chunk = format!("1000\r\n{}\r\n", "y".repeat(0x1000));
        while client.write_all(chunk.as_bytes()).await.is_ok() {
            if let Ok(answer) =
                tokio::time::timeout(Duration::from_millis(5), read_until(&mut client, "\r\n\r\nno")).await
            {
                assert!(answer.starts_with("HTTP/1.1 413 Enough\r\n"), "{answer}");
                break;
            }
        }
        assert_eq!(status_of(&gate.send(get("")).await), "413");
        assert_eq!(raw.connections.get(), 2);
    });
}

/// What a request has left to say would be taken for the next one.
#[test]
fn a_request_that_breaks_off_behind_its_answer_ends_the_connection() {
    run(async {
        let ended = Rc::new(Cell::new(0));
        let count = Rc::clone(&ended);
        let raw = Raw::start(move |_, mut talk| {
            let count = Rc::clone(&count);
            async move {
                talk.head().await.unwrap();
                talk.say(HEAD).await;
                while talk.read().await.is_some() {}
                count.set(count.get() + 1);
            }
        })
        .await;
        let gate = Gate::start(&raw.config(), Permitted::default()).await;
        let mut client = TcpStream::connect(gate.address).await.unwrap();
        client.write_all(POST.as_bytes()).await.unwrap();
        read_until(&mut client, "\r\n\r\n").await;
        client.write_all(b"3\r\none\r\nzz\r\n").await.unwrap();
        let mut rest = Vec::new();
        let _ = client.read_to_end(&mut rest).await;
        assert!(!rest.ends_with(b"0\r\n\r\n"), "no clean end: {}", rest.escape_ascii());
        until(|| ended.get() == 1).await;
        assert!(raw.seen().contains("one") && !raw.seen().contains("0\r\n\r\n"), "{}", raw.seen());
    });
}

/// RFC 9112 section 9.2.
#[test]
fn what_comes_on_an_idle_connection_closes_it_at_once() {
    run(async {
        for said in ["", "HTTP/1.1 408 Request Timeout\r\nContent-Length: 4\r\n\r\nevil"] {
            let ended = Rc::new(Cell::new(0));
            let count = Rc::clone(&ended);
            let raw = Raw::start(move |_, mut talk| {
                let count = Rc::clone(&count);
                async move {
                    talk.request().await.unwrap();
                    talk.say(OK).await;
                    sleep(Duration::from_millis(20)).await;
                    if said.is_empty() {
                        talk.stream.shutdown().await.unwrap();
                    }
                    talk.say(said).await;
                    // The gateway hangs up, nobody having asked it anything.
                    assert_eq!(talk.request().await, None);
                    count.set(count.get() + 1);
                }
            })
            .await;
            let gate = Gate::start(&raw.config(), Permitted::default()).await;
            assert!(gate.send(get("")).await.ends_with("ok"));
            until(|| ended.get() == 1).await;
            assert!(gate.send(get("")).await.ends_with("ok"));
            assert_eq!(raw.connections.get(), 2);
        }
    });
}

/// A body that had been taken from its client is sent whole over the connection that takes it.
#[test]
fn a_body_is_not_lost_with_a_connection_that_was_gone() {
    run(async {
        let raw = Raw::start(|number, mut talk| async move {
            talk.request().await;
            talk.say(OK).await;
            if number > 0 {
                while talk.request().await.is_some() {
                    talk.say(OK).await;
                }
            }
        })
        .await;
        let gate = Gate::start(&raw.config(), Permitted::default()).await;
        assert_eq!(status_of(&gate.send(get("")).await), "200");
        sleep(Duration::from_millis(20)).await;
        let body = "x".repeat(3000);
        let chunked = format!(
            "POST / HTTP/1.1\r\nHost: a\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\nbb8\r\n{body}\r\n0\r\n\r\n"
        );
        assert_eq!(status_of(&gate.send(chunked).await), "200");
        assert!(raw.seen().ends_with(&format!("\r\n\r\nbb8\r\n{body}\r\n0\r\n\r\n")), "{}", raw.seen());
    });
}

/// The rest of a broken body must not be taken for a whole one, wherever else it could be sent.
#[test]
fn a_body_that_breaks_off_before_anything_was_sent_reaches_nobody() {
    run(async {
        let (first, second) = (Raw::answering(OK).await, Raw::answering(OK).await);
        let mut upstream = first.config();
        upstream.endpoints.extend(second.config().endpoints);
        let gate = Gate::start(&upstream, Permitted { max_body: Some(5), ..Permitted::default() }).await;
        // From fresh connections, and from those of the pool.
        for _ in 0..4 {
            for (body, status) in [("zz\r\n", "400"), ("6\r\nabcdef\r\n1\r\ng\r\n0\r\n\r\n", "413")] {
                let answer = gate.send(format!("{}{body}", POST.replace("/ ", "/broken "))).await;
                assert_eq!(status_of(&answer), status, "{body:?}");
            }
            assert_eq!(status_of(&gate.send(get("")).await), "200");
        }
        let seen = first.seen() + &second.seen();
        assert!(!seen.contains("/broken"), "{seen}");
    });
}
