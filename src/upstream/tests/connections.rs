//! Which connection carries which request, and which requests are sent twice.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::support::{Gate, OK, Permitted, Raw, get, run, status_of, upstream_at};

/// Sends requests one after another on one client connection and tells their statuses.
async fn in_turn(gate: &Gate, requests: &[&str]) -> Vec<String> {
    let mut stream = TcpStream::connect(gate.address).await.unwrap();
    let mut statuses = Vec::new();
    for request in requests {
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        let mut buffer = [0; 4096];
        loop {
            let read = stream.read(&mut buffer).await.unwrap();
            answer.extend_from_slice(&buffer[..read]);
            let text = String::from_utf8_lossy(&answer);
            let empty = text.contains("content-length: 0") && text.ends_with("\r\n\r\n");
            if read == 0 || text.ends_with("ok") || empty {
                break;
            }
        }
        statuses.push(status_of(&String::from_utf8_lossy(&answer)).to_owned());
    }
    statuses
}

const GET: &str = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
const POST: &str = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhi";
const EMPTY_POST: &str = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n";

#[test]
fn a_connection_is_used_again_after_a_whole_exchange() {
    run(async {
        let raw = Raw::answering(OK).await;
        let gate = Gate::start(&raw.config(), Permitted::default()).await;
        assert_eq!(in_turn(&gate, &[GET, POST, GET, EMPTY_POST, GET]).await, ["200"; 5]);
        assert_eq!(raw.connections.get(), 1);
    });
}

#[test]
fn a_connection_is_not_used_again_when_the_upstream_says_close() {
    run(async {
        for head in ["HTTP/1.1 200 OK\r\nConnection: close\r\n", "HTTP/1.0 200 OK\r\n"] {
            let raw = Raw::answering(format!("{head}Content-Length: 2\r\n\r\nok")).await;
            let gate = Gate::start(&raw.config(), Permitted::default()).await;
            assert_eq!(in_turn(&gate, &[GET, GET]).await, ["200"; 2]);
            assert_eq!(raw.connections.get(), 2);
        }
    });
}

/// What follows an answer reaches nobody.
#[test]
fn bytes_behind_an_answer_never_reach_another_request() {
    run(async {
        let raw = Raw::answering(format!("{OK}HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil")).await;
        let gate = Gate::start(&raw.config(), Permitted::default()).await;
        let (first, second) = (gate.send(get("")).await, gate.send(get("")).await);
        assert!(first.ends_with("ok") && second.ends_with("ok"), "{first} {second}");
        assert_eq!(raw.connections.get(), 2);
    });
}

#[test]
fn an_answer_before_the_request_has_ended_spoils_the_connection() {
    run(async {
        let raw = Raw::start(|_, mut talk| async move {
            while talk.head().await.is_some() {
                talk.say(OK).await;
            }
        })
        .await;
        let gate = Gate::start(&raw.config(), Permitted::default()).await;
        let mut client = TcpStream::connect(gate.address).await.unwrap();
        client.write_all(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 50\r\n\r\nGET /").await.unwrap();
        let mut answer = [0; 15];
        client.read_exact(&mut answer).await.unwrap();
        assert_eq!(&answer, b"HTTP/1.1 200 OK");
        assert_eq!(status_of(&gate.send(get("")).await), "200");
        assert_eq!(raw.connections.get(), 2);
    });
}

#[test]
fn a_broken_answer_spoils_the_connection() {
    run(async {
        let raw = Raw::start(|number, mut talk| async move {
            while talk.request().await.is_some() {
                let broken = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n";
                talk.say(if number == 0 { broken } else { OK }).await;
            }
        })
        .await;
        let gate = Gate::start(&raw.config(), Permitted::default()).await;
        assert!(!gate.send(get("")).await.ends_with("0\r\n\r\n"));
        assert_eq!(status_of(&gate.send(get("")).await), "200");
        assert_eq!(raw.connections.get(), 2);
    });
}

/// An upstream that closes its first connection when the second request arrives on it.
async fn closing_on_second(counted: Rc<Cell<usize>>, first_bytes: &'static str) -> Raw {
    Raw::start(move |number, mut talk| {
        let counted = Rc::clone(&counted);
        async move {
            let mut served = 0;
            while talk.request().await.is_some() {
                counted.set(counted.get() + 1);
                if number == 0 && served == 1 {
                    talk.say(first_bytes).await;
                    return;
                }
                talk.say(OK).await;
                served += 1;
            }
        }
    })
    .await
}

#[test]
fn an_idempotent_request_is_repeated_once_when_a_used_connection_closes_without_a_byte() {
    run(async {
        let counted = Rc::new(Cell::new(0));
        let raw = closing_on_second(Rc::clone(&counted), "").await;
        let gate = Gate::start(&raw.config(), Permitted::default()).await;
        assert_eq!(in_turn(&gate, &[GET, GET]).await, ["200", "200"]);
        assert_eq!((counted.get(), raw.connections.get()), (3, 2));
    });
}

#[test]
fn nothing_else_is_repeated() {
    run(async {
        for (second, bytes) in [(POST, ""), (EMPTY_POST, ""), (GET, "HTTP/1.1 2")] {
            let counted = Rc::new(Cell::new(0));
            let raw = closing_on_second(Rc::clone(&counted), bytes).await;
            let gate = Gate::start(&raw.config(), Permitted::default()).await;
            assert_eq!(in_turn(&gate, &[GET, second]).await, ["200", "502"], "{second}");
            assert_eq!((counted.get(), raw.connections.get()), (2, 1), "{second}");
        }
        // A fresh connection that closes: no second attempt, however idempotent.
        let raw = Raw::answering_once("").await;
        let gate = Gate::start(&raw.config(), Permitted::default()).await;
        assert_eq!(status_of(&gate.send(get("")).await), "502");
        assert_eq!(raw.connections.get(), 1);
    });
}

#[test]
fn a_connection_that_the_upstream_closed_meanwhile_costs_nothing() {
    run(async {
        let raw = Raw::start(|_, mut talk| async move {
            talk.request().await;
            talk.say(OK).await;
        })
        .await;
        let gate = Gate::start(&raw.config(), Permitted::default()).await;
        assert_eq!(status_of(&gate.send(get("")).await), "200");
        tokio::time::sleep(Duration::from_millis(20)).await;
        let post = POST.replace("Host", "Connection: close\r\nHost");
        assert_eq!(status_of(&gate.send(post).await), "200");
        assert_eq!(raw.connections.get(), 2);
    });
}

#[test]
fn an_idle_connection_is_closed_after_its_time() {
    run(async {
        let ended = Rc::new(Cell::new(false));
        let flag = Rc::clone(&ended);
        let raw = Raw::start(move |_, mut talk| {
            let flag = Rc::clone(&flag);
            async move {
                while talk.request().await.is_some() {
                    talk.say(OK).await;
                }
                flag.set(true);
            }
        })
        .await;
        let mut upstream = raw.config();
        upstream.idle_timeout = Duration::from_millis(100);
        let gate = Gate::start(&upstream, Permitted::default()).await;
        assert_eq!(status_of(&gate.send(get("")).await), "200");
        while !ended.get() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    });
}

#[test]
fn no_more_connections_are_opened_than_allowed() {
    run(async {
        let raw = Raw::start(|_, mut talk| async move {
            while talk.request().await.is_some() {
                tokio::time::sleep(Duration::from_millis(100)).await;
                talk.say(OK).await;
            }
        })
        .await;
        let mut upstream = raw.config();
        upstream.max_connections = 2;
        let gate = Gate::start(&upstream, Permitted::default()).await;
        let all = tokio::join!(gate.send(get("")), gate.send(get("")), gate.send(get("")), gate.send(get("")));
        for answer in [all.0, all.1, all.2, all.3] {
            assert_eq!(status_of(&answer), "200");
        }
        upstream.connect_timeout = Duration::from_millis(20);
        upstream.max_connections = 1;
        let gate = Gate::start(&upstream, Permitted::default()).await;
        let (first, second) = tokio::join!(gate.send(get("")), gate.send(get("")));
        let mut statuses = [status_of(&first), status_of(&second)];
        statuses.sort_unstable();
        assert_eq!(statuses, ["200", "503"]);
        assert!(gate.failures().join("").contains("Saturated(1)"));
    });
}

#[test]
fn an_upstream_that_is_not_there_is_502() {
    run(async {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        drop(listener);
        let gate = Gate::start(&upstream_at(address), Permitted::default()).await;
        assert_eq!(status_of(&gate.send(get("")).await), "502");
        assert!(gate.failures().join("").contains("Unreachable"));

        let mut upstream = upstream_at(address);
        upstream.endpoints[0].host = "nowhere.invalid".into();
        let gate = Gate::start(&upstream, Permitted::default()).await;
        assert_eq!(status_of(&gate.send(get("")).await), "502");
        assert!(gate.failures().join("").contains("Unresolved"));
    });
}

#[test]
fn an_upstream_that_does_not_answer_is_504() {
    run(async {
        let raw = Raw::start(|_, mut talk| async move { while talk.read().await.is_some() {} }).await;
        let permitted = Permitted { timeout: Some(Duration::from_millis(50)), ..Permitted::default() };
        let gate = Gate::start(&raw.config(), permitted).await;
        assert_eq!(status_of(&gate.send(get("")).await), "504");
        assert!(gate.failures().join("").contains("ResponseTimeout(50ms)"));
    });
}

#[test]
fn a_client_that_goes_away_ends_the_request_upstream() {
    run(async {
        let ended = Rc::new(Cell::new(false));
        let flag = Rc::clone(&ended);
        let raw = Raw::start(move |_, mut talk| {
            let flag = Rc::clone(&flag);
            async move {
                while talk.read().await.is_some() {}
                flag.set(true);
            }
        })
        .await;
        let gate = Gate::start(&raw.config(), Permitted::default()).await;
        let mut client = TcpStream::connect(gate.address).await.unwrap();
        client.write_all(GET.as_bytes()).await.unwrap();
        while raw.seen().is_empty() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        drop(client);
        while !ended.get() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    });
}

#[test]
fn unix_sockets_are_endpoints_too() {
    run(async {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("api.sock");
        let listener = tokio::net::UnixListener::bind(&path).unwrap();
        tokio::task::spawn_local(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut buffer = [0; 1024];
            let read = stream.read(&mut buffer).await.unwrap();
            assert!(buffer[..read].starts_with(b"GET /a?b=c HTTP/1.1\r\n"));
            stream.write_all(OK.as_bytes()).await.unwrap();
        });
        let mut upstream = upstream_at("127.0.0.1:1".parse().unwrap());
        upstream.endpoints[0] =
            crate::config::Endpoint { tls: false, host: path.to_str().unwrap().to_owned(), port: 0, unix: true };
        let gate = Gate::start(&upstream, Permitted::default()).await;
        assert_eq!(status_of(&gate.send(get("")).await), "200");
    });
}
