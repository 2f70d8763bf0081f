//! Active health checks.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use super::support::{Gate, OK, Permitted, Raw, get, run, status_of};
use crate::config::{self, Balance, HealthCheck, Protocol, UpstreamHost};

/// Answers health checks as the cell says, and everything else with 200.
async fn checked(healthy: &Rc<Cell<bool>>) -> Raw {
    let healthy = Rc::clone(healthy);
    Raw::start(move |_, mut talk| {
        let healthy = Rc::clone(&healthy);
        async move {
            while let Some(request) = talk.request().await {
                let sick = request.starts_with("GET /health?deep=1 ") && !healthy.get();
                talk.say(if sick { "HTTP/1.1 500 No\r\nContent-Length: 0\r\n\r\n" } else { OK }).await;
            }
        }
    })
    .await
}

fn with_checks(mut upstream: config::Upstream) -> config::Upstream {
    upstream.health = Some(HealthCheck { path: "/health?deep=1".into(), interval: Duration::from_millis(20) });
    upstream.balance = Balance::RoundRobin;
    upstream
}

/// Sends requests until one is answered with this status.
async fn until(gate: &Gate, status: &str) -> String {
    loop {
        let answer = gate.send(get("")).await;
        if status_of(&answer) == status {
            return answer;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

fn requests(raw: &Raw) -> usize {
    raw.seen().matches("get /a?b=c ").count()
}

#[test]
fn who_fails_its_checks_gets_no_requests_until_it_passes_one() {
    run(async {
        let (good, bad) = (Rc::new(Cell::new(true)), Rc::new(Cell::new(true)));
        let (first, second) = (checked(&good).await, checked(&bad).await);
        let mut upstream = with_checks(first.config());
        upstream.endpoints.extend(second.config().endpoints);
        upstream.host = UpstreamHost::Name("crm.internal".into());
        let gate = Gate::start(&upstream, Permitted::default()).await;
        bad.set(false);
        let mut unasked = 0;
        while unasked < 20 {
            let before = requests(&second);
            assert_eq!(status_of(&gate.send(get("")).await), "200");
            unasked = if requests(&second) == before { unasked + 1 } else { 0 };
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        bad.set(true);
        let before = requests(&second);
        while requests(&second) == before {
            assert_eq!(status_of(&gate.send(get("")).await), "200");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let check = second.seen();
        let check = check.split("\r\n\r\n").find(|head| head.starts_with("get /health?deep=1 ")).unwrap();
        let mut lines: Vec<_> = check.lines().skip(1).collect();
        lines.sort_unstable();
        assert_eq!(lines, ["host: crm.internal", "user-agent: torwart"], "nothing of anybody's is in it");
    });
}

#[test]
fn when_nobody_is_healthy_nobody_is_asked() {
    run(async {
        let healthy = Rc::new(Cell::new(false));
        let raw = checked(&healthy).await;
        let gate = Gate::start(&with_checks(raw.config()), Permitted::default()).await;
        until(&gate, "503").await;
        assert!(gate.failures().join("").contains("NoneHealthy(20ms)"));
        let before = requests(&raw);
        for _ in 0..10 {
            assert_eq!(status_of(&gate.send(get("")).await), "503");
        }
        assert_eq!(requests(&raw), before);
        healthy.set(true);
        until(&gate, "200").await;
    });
}

#[test]
fn a_server_that_is_not_there_or_says_nothing_fails_its_checks_and_a_busy_one_does_not() {
    run(async {
        let silent = Raw::start(|_, mut talk| async move { while talk.read().await.is_some() {} }).await;
        let gate = Gate::start(&with_checks(silent.config()), Permitted::default()).await;
        tokio::time::sleep(Duration::from_millis(100)).await;
        assert_eq!(status_of(&gate.send(get("")).await), "503");

        let raw = checked(&Rc::new(Cell::new(true))).await;
        let mut upstream = with_checks(raw.config());
        upstream.max_connections = 1;
        let gate = Gate::start(&upstream, Permitted::default()).await;
        for _ in 0..20 {
            assert_eq!(status_of(&gate.send(get("")).await), "200");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    });
}

#[test]
fn http2_upstreams_are_checked_in_http2() {
    run(async {
        let raw = checked(&Rc::new(Cell::new(true))).await;
        let mut upstream = with_checks(raw.config());
        upstream.protocol = Protocol::H2;
        let gate = Gate::start(&upstream, Permitted::default()).await;
        // One that speaks HTTP/1 only does not pass.
        until(&gate, "503").await;
        assert!(raw.seen().contains("pri * http/2.0"));
    });
}
