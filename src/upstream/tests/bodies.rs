//! Bodies: limits, faults, back-pressure, memory.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::support::{Gate, OK, Permitted, Raw, get, run, status_of};
use crate::clock::Timestamp;

const CHUNKED: &str = "POST / HTTP/1.1\r\nHost: a\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n";

/// Building-blocks M19: the connection that has half a body is closed, the client is the one to blame.
#[test]
fn a_bad_chunk_aborts_the_upstream_and_is_400() {
    run(async {
        let ended = Rc::new(Cell::new(0));
        let count = Rc::clone(&ended);
        let raw = Raw::start(move |_, mut talk| {
            let count = Rc::clone(&count);
            async move {
                while talk.read().await.is_some() {}
                count.set(count.get() + 1);
            }
        })
        .await;
        let gate = Gate::start(&raw.config(), Permitted::default()).await;
        for broken in ["3\r\nabc\r\nzz\r\n", "3\r\nabcd\r\n", "3\r\nabc\r\nffffffffffffffffff\r\n"] {
            let answer = gate.send(format!("{CHUNKED}{broken}")).await;
            assert_eq!(status_of(&answer), "400", "{broken:?} {:?}", gate.failures());
        }
        while ended.get() < raw.connections.get() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        assert!(!raw.seen().contains("\r\n0\r\n\r\n"), "no clean end: {}", raw.seen());
    });
}

#[test]
fn a_body_that_stops_arriving_never_ends_cleanly() {
    run(async {
        let raw = Raw::start(|_, mut talk| async move { while talk.read().await.is_some() {} }).await;
        let gate = Gate::start(&raw.config(), Permitted::default()).await;
        let mut client = TcpStream::connect(gate.address).await.unwrap();
        client.write_all(format!("{CHUNKED}3\r\nabc\r\n").as_bytes()).await.unwrap();
        while !raw.seen().contains("abc") {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        drop(client);
        tokio::time::sleep(Duration::from_millis(50)).await;
        assert!(!raw.seen().contains("\r\n0\r\n\r\n"), "{}", raw.seen());
    });
}

#[test]
fn a_silent_client_is_408() {
    run(async {
        let raw = Raw::answering(OK).await;
        let permitted = Permitted { body_idle: Duration::from_millis(50), ..Permitted::default() };
        let gate = Gate::start(&raw.config(), permitted).await;
        let answer = gate.send(format!("{CHUNKED}3\r\nabc\r\n")).await;
        assert_eq!(status_of(&answer), "408", "{:?}", gate.failures());
    });
}

#[test]
fn a_slow_client_is_not_the_upstream_s_delay() {
    run(async {
        let raw = Raw::answering(OK).await;
        let permitted = Permitted { timeout: Some(Duration::from_millis(60)), ..Permitted::default() };
        let gate = Gate::start(&raw.config(), permitted).await;
        let mut client = TcpStream::connect(gate.address).await.unwrap();
        client.write_all(CHUNKED.as_bytes()).await.unwrap();
        for _ in 0..5 {
            tokio::time::sleep(Duration::from_millis(40)).await;
            client.write_all(b"3\r\nabc\r\n").await.unwrap();
        }
        client.write_all(b"0\r\n\r\n").await.unwrap();
        let mut answer = String::new();
        client.read_to_string(&mut answer).await.unwrap();
        assert_eq!(status_of(&answer), "200", "{:?}", gate.failures());
    });
}

#[test]
fn an_upstream_that_does_not_read_is_504() {
    run(async {
        let raw = Raw::start(|_, talk| async move {
            let _open = talk;
            std::future::pending::<()>().await;
        })
        .await;
        let permitted = Permitted { timeout: Some(Duration::from_millis(100)), ..Permitted::default() };
        let gate = Gate::start(&raw.config(), permitted).await;
        let mut client = TcpStream::connect(gate.address).await.unwrap();
        let head = format!("POST / HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: {}\r\n\r\n", 64 << 20);
        client.write_all(head.as_bytes()).await.unwrap();
        let (mut reader, mut writer) = client.into_split();
        tokio::task::spawn_local(async move {
            let block = vec![0; 64 * 1024];
            while writer.write_all(&block).await.is_ok() {}
        });
        let mut answer = [0; 12];
        reader.read_exact(&mut answer).await.unwrap();
        assert_eq!(&answer, b"HTTP/1.1 504");
    });
}

#[test]
fn a_body_beyond_its_limit_is_413_announced_or_not() {
    run(async {
        let raw = Raw::answering(OK).await;
        let gate = Gate::start(&raw.config(), Permitted { max_body: Some(5), ..Permitted::default() }).await;
        let announced = "POST / HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: 6\r\n\r\nabcdef";
        assert_eq!(status_of(&gate.send(announced).await), "413");
        assert_eq!(raw.connections.get(), 0, "nothing was sent");
        let answer = gate.send(format!("{CHUNKED}3\r\nabc\r\n3\r\ndef\r\n0\r\n\r\n")).await;
        assert_eq!(status_of(&answer), "413");
        assert!(!raw.seen().contains("\r\n0\r\n\r\n"), "no clean end: {}", raw.seen());
        let fits = gate.send(format!("{CHUNKED}5\r\nabcde\r\n0\r\n\r\n")).await;
        assert_eq!(status_of(&fits), "200");
    });
}

#[test]
fn a_streaming_answer_ends_with_its_token() {
    run(async {
        let raw = Raw::start(|_, mut talk| async move {
            talk.request().await;
            talk.say("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n").await;
            while talk.read().await.is_some() {}
        })
        .await;
        // Valid until the present second is over.
        let permitted = Permitted { valid_until: Some(Timestamp::now()), ..Permitted::default() };
        let gate = Gate::start(&raw.config(), permitted).await;
        let answer = gate.send(get("")).await;
        assert!(answer.ends_with("\r\n2\r\nok\r\n"), "an abort, no clean end: {answer:?}");
    });
}

#[test]
fn an_answer_that_is_over_before_its_token_is_whole() {
    run(async {
        let raw = Raw::answering(OK).await;
        let permitted = Permitted { valid_until: Some(Timestamp(i64::MAX)), ..Permitted::default() };
        let gate = Gate::start(&raw.config(), permitted).await;
        assert!(gate.send(get("")).await.ends_with("ok"));
    });
}

/// Server-sent events: what the upstream says arrives at once.
#[test]
fn what_is_said_arrives_without_waiting_for_more() {
    run(async {
        let raw = Raw::start(|_, mut talk| async move {
            talk.request().await;
            talk.say("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\ndata: 1\n\n").await;
            while talk.read().await.is_some() {}
        })
        .await;
        let gate = Gate::start(&raw.config(), Permitted::default()).await;
        let mut client = TcpStream::connect(gate.address).await.unwrap();
        client.write_all(get("").as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        while !String::from_utf8_lossy(&answer).contains("data: 1\n\n") {
            let mut buffer = [0; 1024];
            let read = client.read(&mut buffer).await.unwrap();
            assert_ne!(read, 0);
            answer.extend_from_slice(&buffer[..read]);
        }
    });
}

/// Resident memory of this process in KiB.
fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

const SIZE: usize = 100_000_000;

/// An upstream that takes any body and answers with a large one where a GET asks for it.
async fn bulk() -> Raw {
    Raw::start(|_, talk| async move {
        let mut stream = talk.stream;
        let mut buffer = vec![0; 64 * 1024];
        let read = stream.read(&mut buffer).await.unwrap();
        if buffer.starts_with(b"GET") {
            stream.write_all(format!("HTTP/1.1 200 OK\r\nContent-Length: {SIZE}\r\n\r\n").as_bytes()).await.unwrap();
            write_bulk(&mut stream).await;
        } else {
            let head = super::support::find(&buffer[..read], b"\r\n\r\n").unwrap() + 4;
            let mut left = SIZE - (read - head);
            while left > 0 {
                left -= stream.read(&mut buffer).await.unwrap();
            }
            stream.write_all(OK.as_bytes()).await.unwrap();
        }
    })
    .await
}

async fn write_bulk(stream: &mut TcpStream) {
    let block = vec![b'x'; 50_000];
    for _ in 0..SIZE / block.len() {
        stream.write_all(&block).await.unwrap();
    }
}

async fn upload(gate: &Gate) {
    let mut client = TcpStream::connect(gate.address).await.unwrap();
    let head = format!("POST / HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: {SIZE}\r\n\r\n");
    client.write_all(head.as_bytes()).await.unwrap();
    write_bulk(&mut client).await;
    let mut answer = String::new();
    client.read_to_string(&mut answer).await.unwrap();
    assert_eq!(status_of(&answer), "200");
}

async fn download(gate: &Gate) {
    let mut client = TcpStream::connect(gate.address).await.unwrap();
    client.write_all(get("").as_bytes()).await.unwrap();
    let mut buffer = vec![0; 64 * 1024];
    let mut received = 0;
    loop {
        match client.read(&mut buffer).await.unwrap() {
            0 => break,
            read => received += read,
        }
    }
    assert!(received > SIZE, "{received}");
}

/// The other tests of this process run beside this one, so it asks for a process of its own.
#[test]
fn a_hundred_megabytes_either_way_take_no_memory() {
    const ALONE: &str = "TORWART_TEST_ALONE";
    if std::env::var_os(ALONE).is_none() {
        let name = "upstream::tests::bodies::a_hundred_megabytes_either_way_take_no_memory";
        let alone = std::process::Command::new(std::env::current_exe().unwrap())
            .args(["--exact", name, "--nocapture", "--test-threads=1"])
            .env(ALONE, "1")
            .output()
            .unwrap();
        let told = String::from_utf8_lossy(&alone.stdout);
        assert!(
            alone.status.success() && told.contains("1 passed"),
            "{told}{}",
            String::from_utf8_lossy(&alone.stderr)
        );
        return;
    }
    run(async {
        let small = Raw::answering(OK).await;
        let gate = Gate::start(&small.config(), Permitted::default()).await;
        assert_eq!(status_of(&gate.send(get("")).await), "200");
        let raw = bulk().await;
        let gate = Gate::start(&raw.config(), Permitted::default()).await;
        let before = resident();
        upload(&gate).await;
        download(&gate).await;
        let grown = resident().saturating_sub(before);
        assert!(grown < 4096, "grew by {grown} KiB");
    });
}
