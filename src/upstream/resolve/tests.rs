use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::*;
use crate::config;
use crate::diagnostic::Diagnostics;
use crate::upstream::load::Configured;

/// What the next question is answered with; the last answer stays.
struct Script {
    answers: Mutex<Vec<Result<Vec<&'static str>, io::ErrorKind>>>,
    asked: AtomicUsize,
}

type Answers = &'static [Result<&'static [&'static str], io::ErrorKind>];

/// An upstream at `crm.internal` and what is answered for it.
fn scripted(answers: Answers) -> (Arc<Upstream>, Arc<Members>, Arc<Script>) {
    let endpoint = config::Endpoint { tls: false, host: "crm.internal".into(), port: 80, unix: false };
    let configured =
        Configured::load(&config::Upstream::new("crm", vec![endpoint]), None, &mut Diagnostics::new()).unwrap();
    let upstream = Arc::clone(&configured.upstream);
    let answers = answers.iter().map(|answer| answer.map(<[_]>::to_vec)).collect();
    let script = Arc::new(Script { answers: Mutex::new(answers), asked: AtomicUsize::new(0) });
    let told = Arc::clone(&script);
    let lookup = Lookup::new(move |host, port| {
        assert_eq!((host.as_str(), port), ("crm.internal", 80));
        told.asked.fetch_add(1, Ordering::SeqCst);
        let mut answers = told.answers.lock().unwrap();
        let answer = if answers.len() > 1 { answers.remove(0) } else { answers[0].clone() };
        Box::pin(async move {
            tokio::task::yield_now().await;
            Ok(answer.map_err(io::Error::from)?.into_iter().map(|text| text.parse().unwrap()).collect())
        })
    });
    let members = Arc::new(Members::new(&upstream.endpoints, lookup));
    (upstream, members, script)
}

fn names(members: &Members) -> Vec<String> {
    members.seats().iter().map(|seat| seat.member.name.to_string()).collect()
}

#[tokio::test(start_paused = true)]
async fn names_are_asked_for_again_and_the_last_good_answer_stays() {
    let (upstream, members, script) =
        scripted(&[Ok(&["10.0.0.1:80", "[fd00::1]:80"]), Err(io::ErrorKind::TimedOut), Ok(&[]), Ok(&["10.0.0.2:80"])]);
    let following = tokio::spawn(follow(Arc::clone(&upstream), Arc::downgrade(&members)));
    let after = |seconds| tokio::time::sleep(Duration::from_secs(seconds));
    after(1).await;
    let first = ["10.0.0.1:80", "[fd00::1]:80"];
    assert_eq!(names(&members), first);
    for wanted in ["timed out", "the name has no address"] {
        after(10).await;
        assert_eq!(names(&members), first);
        assert_eq!(members.unanswered().of(0), Some(wanted));
    }
    after(10).await;
    assert_eq!(names(&members), ["10.0.0.2:80"]);
    assert_eq!(members.unanswered().of(0), None);
    assert_eq!(script.asked.load(Ordering::SeqCst), 4);
    drop(members);
    after(10).await;
    assert!(following.is_finished(), "it ends with its upstream");
}

#[tokio::test]
async fn a_request_waits_for_the_first_answer_and_no_longer_than_connecting_may_take() {
    let (upstream, members, script) = scripted(&[Ok(&["10.0.0.1:80"])]);
    let (first, second) = tokio::join!(members.found(&upstream), members.found(&upstream));
    assert!(first.is_ok() && second.is_ok());
    assert_eq!(script.asked.load(Ordering::SeqCst), 1, "one question for both");

    tokio::time::pause();
    let lookup = Lookup::new(|_, _| Box::pin(std::future::pending()));
    let silent = Members::new(&upstream.endpoints, lookup);
    let begun = tokio::time::Instant::now();
    assert!(matches!(silent.found(&upstream).await, Err(Failure::ConnectTimeout(_))));
    assert_eq!(begun.elapsed().as_secs(), 2);
}

#[tokio::test]
async fn many_requests_do_not_ask_for_what_was_just_refused() {
    let (upstream, members, script) = scripted(&[Err(io::ErrorKind::NotFound)]);
    for _ in 0..20 {
        assert!(matches!(members.found(&upstream).await, Err(Failure::Unresolved(_))));
    }
    let asked = script.asked.load(Ordering::SeqCst);
    assert!(asked < 5, "{asked}");
}
