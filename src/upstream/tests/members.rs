//! Several endpoints: who is asked, and who is asked instead.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Instant;

use tokio::net::TcpListener;

use super::support::{Gate, OK, Permitted, Raw, get, run, status_of, upstream_at};
use crate::config::{self, Balance, UpstreamHost};

const POST: &str = "POST / HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: 2\r\n\r\nhi";

/// An upstream at both addresses, asked in turn.
fn both(first: &config::Upstream, second: &config::Upstream) -> config::Upstream {
    let mut upstream = first.clone();
    upstream.endpoints.extend(second.endpoints.clone());
    upstream.balance = Balance::RoundRobin;
    upstream
}

/// Nobody listens there.
async fn absent() -> config::Upstream {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    upstream_at(listener.local_addr().unwrap())
}

/// Reads every request whole, says these bytes and closes. Counts the requests.
async fn closing(bytes: &'static str) -> (Raw, Rc<Cell<usize>>) {
    let counted = Rc::new(Cell::new(0));
    let count = Rc::clone(&counted);
    let raw = Raw::start(move |_, mut talk| {
        let count = Rc::clone(&count);
        async move {
            if talk.request().await.is_some() {
                count.set(count.get() + 1);
                talk.say(bytes).await;
            }
        }
    })
    .await;
    (raw, counted)
}

#[test]
fn requests_go_to_every_endpoint_in_turn_and_connections_stay_with_theirs() {
    run(async {
        let (first, second) = (Raw::answering(OK).await, Raw::answering(OK).await);
        let gate = Gate::start(&both(&first.config(), &second.config()), Permitted::default()).await;
        for _ in 0..10 {
            assert_eq!(status_of(&gate.send(get("")).await), "200");
        }
        for raw in [&first, &second] {
            assert_eq!((raw.values("host").len(), raw.connections.get()), (5, 1));
        }
    });
}

#[test]
fn each_endpoint_gets_its_own_host_after_a_retry_too() {
    run(async {
        let (gone, raw) = (absent().await, Raw::answering(OK).await);
        let mut upstream = both(&gone, &raw.config());
        upstream.host = UpstreamHost::Endpoint;
        let gate = Gate::start(&upstream, Permitted::default()).await;
        for _ in 0..2 {
            assert_eq!(status_of(&gate.send(get("")).await), "200");
        }
        assert_eq!(raw.values("host"), [raw.address.to_string(), raw.address.to_string()]);
    });
}

#[test]
fn what_could_not_be_sent_goes_to_another_endpoint_with_its_body() {
    run(async {
        let (gone, raw) = (absent().await, Raw::answering(OK).await);
        let gate = Gate::start(&both(&gone, &raw.config()), Permitted::default()).await;
        for _ in 0..2 {
            assert_eq!(status_of(&gate.send(POST).await), "200");
        }
        assert_eq!(raw.seen().matches("\r\n\r\nhi").count(), 2);
    });
}

#[test]
fn who_refuses_five_times_is_left_alone() {
    run(async {
        let refusing = Raw::start(|_, talk| async move { drop(talk) }).await;
        let raw = Raw::answering(OK).await;
        let gate = Gate::start(&both(&refusing.config(), &raw.config()), Permitted::default()).await;
        let mut failed = 0;
        for _ in 0..100 {
            failed += usize::from(status_of(&gate.send(POST).await) == "502");
        }
        assert_eq!((refusing.connections.get(), failed), (5, 5), "what may have been seen is not sent again");
    });
}

#[test]
fn an_idempotent_request_that_got_no_byte_is_asked_of_another_endpoint() {
    run(async {
        let (closing, counted) = closing("").await;
        let raw = Raw::answering(OK).await;
        let gate = Gate::start(&both(&closing.config(), &raw.config()), Permitted::default()).await;
        assert_eq!(status_of(&gate.send(get("")).await), "200");
        assert_eq!((counted.get(), raw.values("host").len()), (1, 1));
    });
}

#[test]
fn nothing_that_may_have_been_acted_on_is_asked_of_another_endpoint() {
    run(async {
        for (request, bytes) in [(POST.to_owned(), ""), (get(""), "HTTP/1.1 2"), (get(""), "nonsense\r\n\r\n")] {
            let (closing, counted) = closing(bytes).await;
            let raw = Raw::answering(OK).await;
            let gate = Gate::start(&both(&closing.config(), &raw.config()), Permitted::default()).await;
            assert_eq!(status_of(&gate.send(&request).await), "502", "{request} {bytes}");
            assert_eq!((counted.get(), raw.connections.get()), (1, 0), "{request} {bytes}");
        }
    });
}

#[test]
fn a_request_is_sent_three_times_at_most() {
    run(async {
        let mut raws = vec![closing("").await];
        let mut upstream = raws[0].0.config();
        for _ in 0..5 {
            let raw = closing("").await;
            upstream = both(&upstream, &raw.0.config());
            raws.push(raw);
        }
        let asked = || raws.iter().map(|(_, counted)| counted.get()).sum::<usize>();
        let gate = Gate::start(&upstream, Permitted::default()).await;
        assert_eq!(status_of(&gate.send(get("")).await), "502");
        assert_eq!(asked(), 3);
    });
}

#[test]
fn no_more_than_the_budget_is_sent_again() {
    run(async {
        let (first, second) = (closing("").await, closing("").await);
        let gate = Gate::start(&both(&first.0.config(), &second.0.config()), Permitted::default()).await;
        let begun = Instant::now();
        for _ in 0..40 {
            assert_eq!(status_of(&gate.send(get("")).await), "502");
        }
        let free = usize::try_from(begun.elapsed().as_secs()).unwrap() + 1;
        let asked = first.1.get() + second.1.get();
        assert!(asked <= 40 + 40 / 5 + 5 + free, "{asked} attempts for 40 requests");
        assert!(asked >= 40 + 5, "{asked}: some are sent again");
    });
}
