use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::task::JoinSet;
use tokio::time::sleep;

use super::*;

const NOW: Timestamp = Timestamp(1_800_000_000);

fn room() -> Arc<Lookups<u32>> {
    Arc::new(Lookups::new("shoen".into(), "introspection", 1 << 20))
}

fn token(text: &str) -> TokenDigest {
    TokenDigest::of(text)
}

/// An endpoint that counts, takes its time and then says this.
#[derive(Clone)]
struct Endpoint {
    asked: Arc<AtomicUsize>,
    takes: Duration,
    says: Result<u32, &'static str>,
}

impl Endpoint {
    fn saying(says: Result<u32, &'static str>) -> Self {
        Self { asked: Arc::default(), takes: Duration::from_millis(100), says }
    }

    fn slow() -> Self {
        Self { takes: Duration::from_hours(1), ..Self::saying(Ok(0)) }
    }

    fn call(&self) -> impl Future<Output = Result<Said<u32>, String>> + Send + use<> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        let (takes, says) = (self.takes, self.says);
        async move {
            sleep(takes).await;
            says.map(|answer| Said { answer, until: NOW.plus(60), bytes: 10 }).map_err(str::to_owned)
        }
    }

    fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }
}

async fn asked(room: &Arc<Lookups<u32>>, text: &str, now: Timestamp, endpoint: &Endpoint) -> Outcome<u32> {
    room.ask(token(text), now, || endpoint.call()).await
}

fn failed() -> Outcome<u32> {
    Err(Unanswered::Failed("down".into()))
}

#[tokio::test(start_paused = true)]
async fn a_thousand_who_ask_at_once_share_one_call() {
    let (room, endpoint) = (room(), Endpoint::saying(Ok(7)));
    let mut all = JoinSet::new();
    for late in 0..1000 {
        let (room, endpoint) = (Arc::clone(&room), endpoint.clone());
        // Some began a second earlier than the one whose call it is.
        all.spawn(async move { asked(&room, "t", NOW.plus(-(late % 2)), &endpoint).await });
    }
    assert!(all.join_all().await.into_iter().all(|outcome| outcome == Ok(7)));
    assert_eq!((endpoint.asked(), room.tally().answers), (1, 1));
}

#[test]
fn threads_share_one_call_too_and_it_is_made_at_home() {
    let control = crate::snapshot::Control::start().unwrap();
    let (room, endpoint) = (room(), Endpoint::saying(Ok(7)));
    room.settle(control.handle().clone());
    let barrier = std::sync::Barrier::new(8);
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                let worker = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
                let call = || {
                    let call = endpoint.call();
                    async {
                        assert_eq!(std::thread::current().name(), Some("control"));
                        call.await
                    }
                };
                barrier.wait();
                assert_eq!(worker.block_on(room.ask(token("t"), NOW, call)), Ok(7));
            });
        }
    });
    assert_eq!(endpoint.asked(), 1);
}

#[tokio::test(start_paused = true)]
async fn whoever_gives_up_takes_the_call_from_nobody() {
    let (room, endpoint) = (room(), Endpoint::saying(Ok(7)));
    let first = tokio::spawn({
        let (room, endpoint) = (Arc::clone(&room), endpoint.clone());
        async move { asked(&room, "t", NOW, &endpoint).await }
    });
    let second = tokio::spawn({
        let (room, endpoint) = (Arc::clone(&room), endpoint.clone());
        async move { asked(&room, "t", NOW, &endpoint).await }
    });
    sleep(Duration::from_millis(50)).await;
    first.abort();
    assert_eq!(second.await.unwrap(), Ok(7));
    assert_eq!(endpoint.asked(), 1);
}

#[tokio::test(start_paused = true)]
async fn an_answer_counts_until_its_end_and_not_a_second_longer() {
    let (room, endpoint) = (room(), Endpoint::saying(Ok(7)));
    for (later, calls) in [(0, 1), (59, 1), (60, 2)] {
        assert_eq!(asked(&room, "t", NOW.plus(later), &endpoint).await, Ok(7));
        assert_eq!(endpoint.asked(), calls, "after {later} s");
    }
    assert_eq!(asked(&room, "u", NOW, &endpoint).await, Ok(7));
    assert_eq!(endpoint.asked(), 3, "another token is another question");
}

#[tokio::test(start_paused = true)]
async fn a_clock_set_back_makes_no_answer_live_longer() {
    let (room, endpoint) = (room(), Endpoint::saying(Ok(7)));
    assert_eq!(asked(&room, "t", NOW, &endpoint).await, Ok(7));
    assert_eq!(room.remembered(&token("t"), NOW.plus(-SIMULTANEOUS)), Some(Ok(7)));
    assert_eq!(room.remembered(&token("t"), NOW.plus(-SIMULTANEOUS - 1)), None);
}

#[tokio::test(start_paused = true)]
async fn a_failure_is_shared_and_forgotten_after_a_second() {
    let (room, endpoint) = (room(), Endpoint::saying(Err("down")));
    let mut all = JoinSet::new();
    for _ in 0..100 {
        let (room, endpoint) = (Arc::clone(&room), endpoint.clone());
        all.spawn(async move { asked(&room, "t", NOW, &endpoint).await });
    }
    assert!(all.join_all().await.into_iter().all(|outcome| outcome == failed()));
    assert_eq!(endpoint.asked(), 1);
    assert_eq!(room.tally(), Tally { answers: 0, failures: 1, last_error: Some("down".into()) });
    let well = Endpoint::saying(Ok(7));
    assert_eq!(asked(&room, "t", NOW, &well).await, failed());
    assert_eq!(asked(&room, "t", NOW.plus(FAILURE_KEPT), &well).await, Ok(7));
    assert_eq!(room.tally(), Tally { answers: 1, failures: 1, last_error: None });
}

#[tokio::test(start_paused = true)]
async fn a_slow_token_holds_up_no_other() {
    let (room, slow, quick) = (room(), Endpoint::slow(), Endpoint::saying(Ok(7)));
    for number in 1..MOST_CALLS {
        let (room, slow) = (Arc::clone(&room), slow.clone());
        tokio::spawn(async move { asked(&room, &number.to_string(), NOW, &slow).await });
    }
    tokio::task::yield_now().await;
    let begun = Instant::now();
    assert_eq!(asked(&room, "t", NOW, &quick).await, Ok(7));
    assert_eq!(begun.elapsed(), quick.takes);
}

#[tokio::test(start_paused = true)]
async fn when_every_place_is_taken_the_next_waits_a_second_and_is_refused() {
    let (room, slow, quick) = (room(), Endpoint::slow(), Endpoint::saying(Ok(7)));
    for number in 0..MOST_CALLS {
        let (room, slow) = (Arc::clone(&room), slow.clone());
        tokio::spawn(async move { asked(&room, &number.to_string(), NOW, &slow).await });
    }
    sleep(Duration::from_millis(1)).await;
    let begun = Instant::now();
    assert_eq!(asked(&room, "t", NOW, &quick).await, Err(Unanswered::Crowded));
    assert!(begun.elapsed() < Duration::from_millis(1100), "{:?}", begun.elapsed());
    sleep(fetch::TIMEOUT).await;
    assert_eq!(asked(&room, "t", NOW, &quick).await, Ok(7), "the slow calls have ended");
    assert!(locked(&room.flights).is_empty());
}

#[tokio::test(start_paused = true)]
async fn tokens_beyond_the_longest_queue_are_refused_at_once() {
    let (room, slow) = (room(), Endpoint::slow());
    for number in 0..MOST_FLIGHTS {
        let (room, slow) = (Arc::clone(&room), slow.clone());
        tokio::spawn(async move { asked(&room, &number.to_string(), NOW, &slow).await });
    }
    sleep(Duration::from_millis(1)).await;
    let begun = Instant::now();
    assert_eq!(asked(&room, "t", NOW, &slow).await, Err(Unanswered::Crowded));
    assert_eq!(begun.elapsed(), Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn nobody_is_asked_about_a_token_that_nobody_waits_for() {
    let (room, slow) = (room(), Endpoint::slow());
    for number in 0..MOST_CALLS {
        let (room, slow) = (Arc::clone(&room), slow.clone());
        tokio::spawn(async move { asked(&room, &number.to_string(), NOW, &slow).await });
    }
    sleep(fetch::TIMEOUT.checked_sub(Duration::from_millis(500)).unwrap()).await;
    let polled = Arc::new(AtomicUsize::new(0));
    let waiting = tokio::spawn({
        let (room, polled) = (Arc::clone(&room), Arc::clone(&polled));
        let call = async move {
            polled.fetch_add(1, Ordering::SeqCst);
            Err("down".to_owned())
        };
        async move { room.ask(token("t"), NOW, || call).await }
    });
    sleep(Duration::from_millis(1)).await;
    waiting.abort();
    sleep(Duration::from_secs(2)).await;
    assert_eq!(polled.load(Ordering::SeqCst), 0);
    assert!(locked(&room.flights).is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_call_that_hangs_ends_for_those_who_wait() {
    let (room, slow) = (room(), Endpoint::slow());
    let begun = Instant::now();
    assert_eq!(asked(&room, "t", NOW, &slow).await, Err(Unanswered::Failed("no answer in time".into())));
    assert_eq!(begun.elapsed(), fetch::TIMEOUT);
}

#[tokio::test(start_paused = true)]
async fn a_home_that_is_gone_makes_nobody_wait() {
    let (room, endpoint) = (room(), Endpoint::saying(Ok(7)));
    let home = std::thread::spawn(|| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.handle().clone()
    });
    room.settle(home.join().unwrap());
    let begun = Instant::now();
    assert_eq!(asked(&room, "t", NOW, &endpoint).await, Err(Unanswered::Crowded));
    assert_eq!(begun.elapsed(), Duration::ZERO);
    assert!(locked(&room.flights).is_empty());
}

#[tokio::test(start_paused = true)]
async fn answers_are_bounded_in_bytes() {
    let room: Arc<Lookups<u32>> = Arc::new(Lookups::new("shoen".into(), "introspection", 100_000));
    for number in 0..1000 {
        let said = Said { answer: number, until: NOW.plus(60), bytes: 1000 };
        assert_eq!(room.ask(token(&number.to_string()), NOW, || async { Ok(said) }).await, Ok(number));
    }
    let kept = room.kept.as_ref().unwrap();
    // Each says that it takes a thousand bytes.
    assert!(kept.weight() <= 100_000 && (11..=100).contains(&kept.len()), "{} in {}", kept.len(), kept.weight());
}
