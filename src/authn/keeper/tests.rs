use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use serde_json::json;
use tokio::task::JoinSet;
use tokio::time::{advance, sleep};

use super::*;

/// An issuer without a network: counts what is fetched, answers what it is told to.
#[derive(Debug)]
struct Issuer {
    fetches: AtomicU64,
    answer: Mutex<Result<Published, String>>,
    delay: Duration,
}

impl Issuer {
    fn new() -> Arc<Self> {
        Self::slow(Duration::from_millis(10))
    }

    fn slow(delay: Duration) -> Arc<Self> {
        Arc::new(Self { fetches: AtomicU64::new(0), answer: Mutex::new(Ok(published("a", 3600))), delay })
    }

    fn answer(&self, answer: Result<Published, String>) {
        *self.answer.lock().unwrap() = answer;
    }

    fn fetches(&self) -> u64 {
        self.fetches.load(Ordering::SeqCst)
    }
}

impl Source for Issuer {
    fn fetch(&self) -> Pin<Box<dyn Future<Output = Result<Published, String>> + Send + '_>> {
        self.fetches.fetch_add(1, Ordering::SeqCst);
        Box::pin(async {
            sleep(self.delay).await;
            self.answer.lock().unwrap().clone()
        })
    }
}

/// A set of one Ed25519 key: RFC 8037 appendix A.2.
fn published(id: &str, max_age: u64) -> Published {
    let key = json!({"kty": "OKP", "crv": "Ed25519", "kid": id, "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"});
    Published { text: json!({"keys": [key]}).to_string().into(), max_age: Some(Duration::from_secs(max_age)) }
}

/// Wall-clock seconds of the tests; advanced by hand where it matters.
static NOW: AtomicI64 = AtomicI64::new(1_000_000);

fn now() -> Timestamp {
    Timestamp(NOW.load(Ordering::SeqCst))
}

struct Fixture {
    issuer: Arc<Issuer>,
    keeper: Arc<Keeper>,
    stop: CancellationToken,
}

impl Fixture {
    fn of(issuer: Arc<Issuer>) -> Self {
        let source: Arc<dyn Source> = Arc::<Issuer>::clone(&issuer);
        let keeper = Keeper::fetching("shoen".into(), source, Duration::from_mins(10), None).with_clock(now);
        Self { issuer, keeper: Arc::new(keeper), stop: CancellationToken::new() }
    }

    /// Starts a driver and waits for its first fetch.
    async fn driven(issuer: Arc<Issuer>) -> Self {
        let fixture = Self::of(issuer);
        fixture.drive();
        assert!(fixture.keeper.first().await);
        fixture
    }

    fn drive(&self) {
        tokio::spawn(Arc::clone(&self.keeper).drive(self.stop.clone()));
    }

    fn ids(&self) -> Vec<String> {
        let held = self.keeper.last_good();
        held.iter().flat_map(|held| held.set.ids().map(|id| id.unwrap_or_default().to_owned())).collect()
    }
}

#[tokio::test(start_paused = true)]
async fn keys_are_fetched_again_when_their_time_is_up() {
    let fixture = Fixture::driven(Issuer::new()).await;
    assert_eq!((fixture.issuer.fetches(), fixture.ids()), (1, vec!["a".to_owned()]));
    let retry = fixture.keeper.retry_after();
    assert!((3239..=3601).contains(&retry), "{retry}");
    fixture.issuer.answer(Ok(published("b", 3600)));
    sleep(Duration::from_secs(3200)).await;
    assert_eq!(fixture.issuer.fetches(), 1, "a tenth of jitter at most");
    sleep(Duration::from_secs(500)).await;
    assert_eq!((fixture.issuer.fetches(), fixture.ids()), (2, vec!["b".to_owned()]));
}

#[tokio::test(start_paused = true)]
async fn a_short_max_age_is_five_minutes() {
    let issuer = Issuer::new();
    issuer.answer(Ok(published("a", 1)));
    let fixture = Fixture::driven(issuer).await;
    sleep(Duration::from_secs(299)).await;
    assert_eq!(fixture.issuer.fetches(), 1);
    sleep(Duration::from_secs(2)).await;
    assert_eq!(fixture.issuer.fetches(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_thousand_unknown_kids_cause_one_fetch_in_ten_seconds() {
    let fixture = Fixture::driven(Issuer::new()).await;
    let start = now();
    assert_eq!(fixture.keeper.renew(start).await, Renewal::Finished);
    for second in 0..10 {
        for _ in 0..100 {
            assert_eq!(fixture.keeper.renew(start.plus(second)).await, Renewal::Braked);
        }
    }
    assert_eq!(fixture.issuer.fetches(), 2);
    assert_eq!(fixture.keeper.renew(start.plus(10)).await, Renewal::Finished);
    assert_eq!(fixture.issuer.fetches(), 3);
    sleep(Duration::from_secs(30)).await;
    assert_eq!(fixture.issuer.fetches(), 3, "nothing is left over");
}

#[tokio::test(start_paused = true)]
async fn everyone_who_asks_meanwhile_waits_for_the_one_fetch_in_flight() {
    let fixture = Fixture::driven(Issuer::new()).await;
    let mut waiting = JoinSet::new();
    for _ in 0..500 {
        let keeper = Arc::clone(&fixture.keeper);
        waiting.spawn(async move { keeper.renew(now()).await });
    }
    assert!(waiting.join_all().await.into_iter().all(|renewed| renewed == Renewal::Finished));
    assert_eq!(fixture.issuer.fetches(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_clock_set_back_does_not_hold_the_brake_for_good() {
    let fixture = Fixture::driven(Issuer::new()).await;
    assert_eq!(fixture.keeper.renew(now()).await, Renewal::Finished);
    assert_eq!(fixture.keeper.renew(now().plus(-3600)).await, Renewal::Finished);
}

#[tokio::test(start_paused = true)]
async fn an_issuer_that_is_down_leaves_the_last_good_keys_in_force_until_they_are_stale() {
    let fixture = Fixture::driven(Issuer::new()).await;
    let fetched = fixture.keeper.last_good().unwrap().fetched_at;
    fixture.issuer.answer(Err("down".to_owned()));
    sleep(Duration::from_hours(2)).await;
    assert!(fixture.issuer.fetches() > 5, "it goes on trying");
    assert_eq!(fixture.ids(), ["a"]);
    assert_eq!(fixture.keeper.report().last_error.as_deref(), Some("down"));
    assert!(fixture.keeper.at(fetched.plus(600)).is_some());
    assert!(fixture.keeper.at(fetched.plus(601)).is_none());
    assert_eq!(fixture.keeper.generation(fetched.plus(601)), None);
    assert!(fixture.keeper.report().failures > 5);
}

#[tokio::test(start_paused = true)]
async fn garbage_does_not_replace_good_keys() {
    let fixture = Fixture::driven(Issuer::new()).await;
    for text in ["<html>", "{}", "{\"keys\":[]}", "{\"keys\":[{\"kty\":\"oct\",\"k\":\"AA\"}]}", ""] {
        fixture.issuer.answer(Ok(Published { text: text.into(), max_age: None }));
        sleep(Duration::from_secs(4000)).await;
        assert_eq!(fixture.ids(), ["a"], "{text}");
        let error = fixture.keeper.report().last_error.unwrap();
        assert!(error.starts_with("the key set is not usable: ") && error.len() > 30, "{error}");
    }
}

#[tokio::test(start_paused = true)]
async fn without_any_key_the_issuer_is_tried_again_within_ten_seconds() {
    let issuer = Issuer::new();
    issuer.answer(Err("down".to_owned()));
    let fixture = Fixture::driven(issuer).await;
    assert!(fixture.keeper.at(now()).is_none());
    let retry = fixture.keeper.retry_after();
    assert!((1..=11).contains(&retry), "{retry}");
    assert_eq!(fixture.keeper.report().failures, 1);
    sleep(Duration::from_mins(1)).await;
    let before = fixture.issuer.fetches();
    fixture.issuer.answer(Ok(published("a", 3600)));
    sleep(Duration::from_secs(11)).await;
    assert_eq!(fixture.issuer.fetches(), before + 1);
    assert!(fixture.keeper.at(now()).is_some());
}

#[tokio::test(start_paused = true)]
async fn only_the_first_fetch_after_the_start_is_waited_for_without_keys() {
    let issuer = Issuer::slow(Duration::from_secs(3));
    issuer.answer(Err("down".to_owned()));
    let fixture = Fixture::of(issuer);
    fixture.drive();
    let before = Instant::now();
    assert!(fixture.keeper.first().await);
    assert_eq!(before.elapsed().as_secs(), 3);
    let before = Instant::now();
    assert!(!fixture.keeper.first().await);
    assert_eq!(before.elapsed(), Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn nobody_waits_longer_than_a_fetch_may_take() {
    let fixture = Fixture::of(Issuer::slow(Duration::from_hours(1)));
    fixture.drive();
    let before = Instant::now();
    assert!(!fixture.keeper.first().await);
    assert_eq!(fixture.keeper.renew(now()).await, Renewal::Pending);
    assert_eq!(before.elapsed(), LONGEST_WAIT * 2);
}

#[tokio::test(start_paused = true)]
async fn of_two_drivers_one_fetches_and_the_other_takes_over() {
    let fixture = Fixture::driven(Issuer::slow(Duration::from_secs(2))).await;
    let second = CancellationToken::new();
    tokio::spawn(Arc::clone(&fixture.keeper).drive(second.clone()));
    let keeper = Arc::clone(&fixture.keeper);
    let waiting = tokio::spawn(async move { keeper.renew(now()).await });
    advance(Duration::from_secs(1)).await;
    assert_eq!(fixture.issuer.fetches(), 2);
    // The first driver ends in the middle of its fetch; whoever waits for it is served by the second.
    fixture.stop.cancel();
    assert_eq!(waiting.await.unwrap(), Renewal::Finished);
    assert_eq!(fixture.issuer.fetches(), 3);
    second.cancel();
    sleep(Duration::from_secs(10_000)).await;
    assert_eq!(fixture.issuer.fetches(), 3, "nobody drives any more");
}

#[tokio::test(start_paused = true)]
async fn equal_keys_keep_their_generation_and_other_keys_get_another() {
    let fixture = Fixture::driven(Issuer::new()).await;
    let first = fixture.keeper.generation(now());
    assert_eq!(fixture.keeper.renew(now()).await, Renewal::Finished);
    assert_eq!(fixture.keeper.generation(now()), first);
    fixture.issuer.answer(Ok(published("b", 3600)));
    assert_eq!(fixture.keeper.renew(now().plus(10)).await, Renewal::Finished);
    assert_ne!(fixture.keeper.generation(now()), first);
}

#[tokio::test(start_paused = true)]
async fn keys_of_a_file_are_never_fetched_and_never_stale() {
    let set = KeySet::public(&published("a", 0).text).unwrap();
    let keeper = Arc::new(Keeper::fixed("shoen".into(), set, Timestamp(0)));
    Arc::clone(&keeper).drive(CancellationToken::new()).await;
    assert_eq!(keeper.renew(now()).await, Renewal::Braked);
    assert!(!keeper.first().await);
    assert!(keeper.at(Timestamp(i64::MAX)).is_some());
}
