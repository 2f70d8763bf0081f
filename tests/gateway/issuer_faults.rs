//! An issuer that misbehaves on order: its own tokens get the right status, its last good keys stay in force, and another
//! issuer of the same gateway is served all the while without delay.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use http::{HeaderMap, HeaderValue};
use serde_json::{Value, json};
use torwart::authn::{Failure, Fault};
use torwart::clock::Timestamp;
use torwart::principal::{IssuerId, IssuerSet};

use crate::issuer::{Answer, Server};
use crate::support::World;
use crate::support::process::wait_until;
use crate::support::tokens::Issuer;
use crate::support::world::Gateway;

/// Longest time for a token of the healthy issuer. It has nothing to wait for, and takes milliseconds; whoever waited for
/// the sick issuer would wait for the five seconds that a fetch may take.
const PATIENCE: Duration = Duration::from_secs(3);

/// The most that is taken of an endless answer: a mebibyte, and what the system keeps ready on both sides.
const TAKEN: u64 = 32 << 20;

const DISCOVERY: &str = "/.well-known/openid-configuration";

const POLICY: &str = r"
version: 1
policy: api
hosts: [api.test]
upstream: api
issuers: [sick, well]
routes:
  - {path: /me, methods: [GET], require: authenticated}
";

/// An issuer: its server and its key.
struct Party {
    server: Server,
    issuer: Issuer,
}

impl Party {
    fn new() -> Self {
        Self { server: Server::plain(), issuer: Issuer::new() }
    }

    fn provide(&self) {
        self.server.provide(&self.server.origin(), &self.issuer.key_set());
    }

    fn yaml(&self, name: &str) -> String {
        let origin = self.server.origin();
        format!(
            "  - {{name: {name}, issuer: \"{origin}\", audiences: [\"https://api.test\"], environment: integration}}\n"
        )
    }

    fn claims(&self, jti: &str) -> Value {
        json!({"iss": self.server.origin(), "jti": jti})
    }

    /// A token that nobody has seen, unless the name was used before.
    fn token(&self, jti: &str) -> String {
        self.issuer.token(&self.claims(jti))
    }
}

/// A gateway with two issuers, and a server to which nobody has a reason to go.
struct Bench {
    sick: Party,
    well: Party,
    elsewhere: Server,
    gateway: Gateway,
}

impl Bench {
    /// Starts the gateway when the issuers have been told what to say.
    fn start(told: impl FnOnce(&Party, &Server)) -> Self {
        let (sick, well, elsewhere) = (Party::new(), Party::new(), Server::plain());
        well.provide();
        elsewhere.provide(&sick.server.origin(), &sick.issuer.key_set());
        told(&sick, &elsewhere);
        let world = World::new().policies(&[POLICY]).issuer(&sick.yaml("sick")).issuer(&well.yaml("well"));
        let bench = Self { sick, well, elsewhere, gateway: world.start() };
        wait_until("the healthy issuer is known", || bench.is_ready("well"));
        bench
    }

    fn is_ready(&self, name: &str) -> bool {
        self.state(name).ready
    }

    fn state(&self, name: &str) -> torwart::authn::IssuerState {
        let states = self.gateway.snapshots.current().issuers.states(Timestamp::now());
        states.into_iter().find(|state| &*state.name == name).expect("it is configured")
    }

    /// What a bearer of this token is told.
    fn status(&self, token: &str) -> u16 {
        let answer = self.gateway.client().ask(get(token));
        assert_eq!(answer.status() == 503, answer.field("retry-after").is_some(), "{answer:?}");
        assert_eq!(answer.status() == 401, answer.field("www-authenticate").is_some(), "{answer:?}");
        answer.status()
    }

    /// What becomes of a token at a moment.
    fn fault_at(&self, token: &str, now: Timestamp) -> Option<Fault> {
        let mut headers = HeaderMap::new();
        headers.insert("authorization", HeaderValue::from_str(&format!("Bearer {token}")).expect("visible"));
        let anyone = IssuerSet::new((0..3).map(IssuerId));
        let issuers = &self.gateway.snapshots.current().issuers;
        match runtime().block_on(issuers.authenticate(&headers, &anyone, None, now)) {
            Ok(_) => None,
            Err(Failure::Invalid(invalid)) => Some(invalid.fault),
            Err(other) => panic!("{other}"),
        }
    }

    /// Has all keys fetched, whenever that would be due.
    fn refresh(&self) {
        runtime().block_on(self.gateway.snapshots.current().issuers.refresh());
    }

    /// Does something while tokens of the healthy issuer are shown all the time, some remembered and some never seen. Each
    /// has to be served at once.
    fn beside<T>(&self, work: impl FnOnce() -> T) -> T {
        let stop = AtomicBool::new(false);
        thread::scope(|scope| {
            let others = scope.spawn(|| {
                let mut client = self.gateway.client();
                let kept = self.well.token("kept");
                let mut number = 0;
                while !stop.load(Ordering::Relaxed) || number < 4 {
                    let token = if number % 2 == 0 { kept.clone() } else { self.well.token(&number.to_string()) };
                    let begun = Instant::now();
                    assert_eq!(client.ask(get(&token)).status(), 200);
                    let took = begun.elapsed();
                    assert!(took < PATIENCE, "another issuer's token takes {took:?}");
                    number += 1;
                    thread::park_timeout(Duration::from_millis(10));
                }
            });
            let outcome = {
                let _stop = Stop(&stop);
                work()
            };
            others.join().expect("the healthy issuer is served");
            outcome
        })
    }
}

/// Lets the others end, also when a test fails.
struct Stop<'s>(&'s AtomicBool);

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime")
}

fn get(token: &str) -> String {
    format!("GET /me HTTP/1.1\r\nHost: api.test\r\nAuthorization: Bearer {token}\r\n\r\n")
}

/// What the issuer's server is told to do; the other server is the one where nobody should go.
type Deed = Box<dyn Fn(&Party, &Server) + Send + Sync>;

/// Something that an issuer does instead of publishing its keys.
struct Misdeed {
    name: &'static str,
    done: Deed,
    /// What the operator is told.
    told: &'static str,
}

fn misdeed(name: &'static str, told: &'static str, done: impl Fn(&Party, &Server) + Send + Sync + 'static) -> Misdeed {
    Misdeed { name, done: Box::new(done), told }
}

fn head(length: u64) -> Vec<u8> {
    format!("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n").into_bytes()
}

/// Answers in place of the key set.
fn keys(name: &'static str, told: &'static str, answer: Answer) -> Misdeed {
    misdeed(name, told, move |party, _| {
        party.provide();
        party.server.answer("/jwks", answer.clone());
    })
}

/// A key set of one key, which is changed.
fn changed(name: &'static str, told: &'static str, change: fn(&mut Value)) -> Misdeed {
    misdeed(name, told, move |party, _| {
        party.provide();
        let mut set = party.issuer.key_set();
        change(&mut set["keys"][0]);
        party.server.publish("/jwks", &set);
    })
}

/// What takes time, or would take everything.
fn slow() -> Vec<Misdeed> {
    let second = Duration::from_secs(1);
    let chunked = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec();
    let spaces = vec![b' '; 1 << 16];
    let chunk = [b"10000\r\n".as_slice(), &spaces, b"\r\n"].concat();
    vec![
        keys("a gibibyte of keys", "larger than 1 MiB", Answer::Endless(head(1 << 30), spaces.clone())),
        keys("a gibibyte of keys in chunks", "larger than 1 MiB", Answer::Endless(chunked, chunk)),
        keys("a head without end", "broke the protocol", Answer::Endless(b"HTTP/1.1 200 OK\r\nX: ".to_vec(), spaces)),
        keys(
            "interim answers without end",
            "more than 10 interim answers",
            Answer::Endless(Vec::new(), b"HTTP/1.1 103 Early Hints\r\nX: y\r\n\r\n".repeat(1000)),
        ),
        keys("a byte of the body each second", "in time", Answer::Drip([head(30), vec![b'{'; 30]].concat(), second)),
        keys("nothing, ever", "did not answer in time", Answer::Hang),
        misdeed("a byte of the metadata each second", "in time", move |party, _| {
            party.provide();
            party.server.answer(DISCOVERY, Answer::Drip([head(30), vec![b'{'; 30]].concat(), second));
        }),
    ]
}

/// What is no key set, or not its own.
fn wrong() -> Vec<Misdeed> {
    let say = |text: &[u8]| Answer::Say(200, String::new(), text.to_vec());
    let binary: Vec<u8> = (0..=255).cycle().take(4096).collect();
    vec![
        misdeed("nobody listens where its keys are", "cannot connect", |party, _| {
            let gone = crate::support::process::free_port();
            let document =
                json!({"issuer": party.server.origin(), "jwks_uri": format!("http://localhost:{gone}/jwks")});
            party.server.publish(DISCOVERY, &document);
        }),
        keys("500", "answered 500", Answer::Say(500, String::new(), Vec::new())),
        misdeed("keys are redirected", "answered 302", |party, elsewhere| {
            party.provide();
            let location = format!("Location: {}/jwks\r\n", elsewhere.origin());
            party.server.answer("/jwks", Answer::Say(302, location, Vec::new()));
        }),
        misdeed("metadata are redirected", "answered 307", |party, elsewhere| {
            party.provide();
            let location = format!("Location: {}{DISCOVERY}\r\n", elsewhere.origin());
            party.server.answer(DISCOVERY, Answer::Say(307, location, Vec::new()));
        }),
        misdeed("the metadata of another issuer", "instead of", |party, elsewhere| {
            party.provide();
            let document = json!({"issuer": elsewhere.origin(), "jwks_uri": format!("{}/jwks", elsewhere.origin())});
            party.server.publish(DISCOVERY, &document);
        }),
        misdeed("keys without TLS elsewhere", "is not `https`", |party, _| {
            let document = json!({"issuer": party.server.origin(), "jwks_uri": "http://keys.example/jwks"});
            party.server.publish(DISCOVERY, &document);
        }),
        keys("HTML", "no JSON Web Key set", say(b"<!doctype html><title>Maintenance</title>")),
        keys("nothing", "no JSON Web Key set", say(b"")),
        keys("JSON that breaks off", "no JSON Web Key set", say(br#"{"keys":[{"kty":"EC","crv":"P-256","x":"#)),
        keys("a body that breaks off", "broke off", Answer::Raw([head(500), b"{\"keys\":[".to_vec()].concat())),
        keys("binary", "no JSON Web Key set", say(&binary)),
        keys("no HTTP", "broke the protocol", Answer::Raw(binary)),
        keys("no keys", "holds no key", say(br#"{"keys":[]}"#)),
        keys("keys that are no list", "no JSON Web Key set", say(br#"{"keys":{"kty":"EC"}}"#)),
        keys("keys that are no objects", "no usable key", say(br#"{"keys":["EC",5,null]}"#)),
        keys("arrays in arrays", "no JSON Web Key set", say(&[b"{\"keys\":".as_slice(), &[b'['; 100_000]].concat())),
        keys("a secret", "no usable key", say(br#"{"keys":[{"kty":"oct","kid":"k1","k":"c2VjcmV0"}]}"#)),
        changed("a key of another type", "no usable key", |key| key["kty"] = json!("RSA")),
        changed("a key that is a number", "no usable key", |key| key["x"] = json!(17)),
        changed("a key in no base64", "no usable key", |key| key["x"] = json!("!?*=")),
        changed("a key that is no point", "no usable key", |key| key["x"] = json!("A".repeat(43))),
        changed("a key for encryption", "no usable key", |key| key["use"] = json!("enc")),
    ]
}

/// A gateway that has never had the issuer's keys, and that gets them in the end.
fn at_the_start(misdeed: &Misdeed) {
    let name = misdeed.name;
    let bench = Bench::start(&misdeed.done);
    let told = bench.beside(|| {
        for _ in 0..2 {
            assert_eq!(bench.status(&bench.sick.token("early")), 503, "{name}: there are no keys");
        }
        wait_until(name, || bench.state("sick").last_error.is_some());
        bench.state("sick")
    });
    let error = told.last_error.unwrap_or_default();
    assert!(!told.ready && error.contains(misdeed.told), "{name}: {error}");
    bench.gateway.upstream.requests().iter().for_each(|seen| assert_eq!(seen.field("x-auth-issuer"), Some("well")));
    bench.sick.provide();
    bench.refresh();
    assert_eq!(bench.status(&bench.sick.token("early")), 200, "{name}: it is well again");
    nobody_was_led_astray(&bench, name);
}

/// A gateway that has had the issuer's keys.
fn later(misdeed: &Misdeed) {
    let name = misdeed.name;
    let bench = Bench::start(|party, _| party.provide());
    assert_eq!(bench.status(&bench.sick.token("seen")), 200);
    (misdeed.done)(&bench.sick, &bench.elsewhere);
    bench.beside(|| {
        let stranger = bench.sick.issuer.token_by("unknown", &bench.sick.claims("stranger"));
        assert_eq!(bench.status(&stranger), 401, "{name}: a key that is not known");
        let error = bench.state("sick").last_error.unwrap_or_default();
        assert!(error.contains(misdeed.told), "{name}: {error}");
        assert_eq!(bench.status(&bench.sick.token("seen")), 200, "{name}: a token that is remembered");
        assert_eq!(bench.status(&bench.sick.token("new")), 200, "{name}: a token by a key that is known");
    });
    bench.sick.provide();
    bench.refresh();
    assert_eq!(bench.state("sick").last_error, None, "{name}: it is well again");
    assert_eq!(bench.status(&bench.sick.token("after")), 200);
    nobody_was_led_astray(&bench, name);
}

fn nobody_was_led_astray(bench: &Bench, name: &str) {
    assert_eq!((bench.elsewhere.asked("/jwks"), bench.elsewhere.asked(DISCOVERY)), (0, 0), "{name}");
    let poured = bench.sick.server.poured();
    assert!(poured < TAKEN, "{name}: {poured} bytes were taken");
}

/// Every misdeed, a few at a time: each waits most of the time.
fn each(misdeeds: &[Misdeed], situation: fn(&Misdeed)) {
    for some in misdeeds.chunks(8) {
        thread::scope(|scope| {
            for misdeed in some {
                scope.spawn(move || situation(misdeed));
            }
        });
    }
}

#[test]
fn ten_interim_answers_before_the_keys_are_passed_over() {
    let bench = Bench::start(|party, _| {
        party.provide();
        let set = party.issuer.key_set().to_string().into_bytes();
        let interim = b"HTTP/1.1 103 Early Hints\r\nX: y\r\n\r\n".repeat(10);
        // One after the other: what comes together is read to its end before anybody hears of its parts.
        let all = [interim, head(set.len() as u64), set].concat();
        party.server.answer("/jwks", Answer::Drip(all, Duration::from_micros(500)));
    });
    assert_eq!(bench.status(&bench.sick.token("early")), 200);
}

#[test]
fn an_issuer_that_never_told_its_keys_is_503_and_no_other_issuer_waits_for_it() {
    each(&wrong(), at_the_start);
}

#[test]
fn an_issuer_that_goes_wrong_later_keeps_its_last_good_keys_and_no_other_issuer_waits_for_it() {
    each(&wrong(), later);
}

#[test]
fn an_issuer_that_is_slow_or_endless_from_the_start_takes_neither_memory_nor_anybody_elses_time() {
    each(&slow(), at_the_start);
}

#[test]
fn an_issuer_that_becomes_slow_or_endless_takes_neither_memory_nor_anybody_elses_time() {
    each(&slow(), later);
}

#[test]
fn keys_rotate_under_traffic_and_no_request_fails() {
    let bench = Bench::start(|party, _| party.provide());
    let (old, next) = (&bench.sick, Issuer::new());
    let by_next = |jti: &str| next.token_by("k2", &old.claims(jti));
    let both = |first: &Issuer| {
        let mut set = first.key_set();
        set["keys"].as_array_mut().expect("keys").push(next.key_set_by("k2")["keys"][0].clone());
        set
    };
    bench.beside(|| {
        assert_eq!(bench.status(&old.token("a")), 200);
        old.server.publish("/jwks", &both(&old.issuer));
        for number in 0..20 {
            assert_eq!(bench.status(&by_next(&format!("next-{number}"))), 200, "the new key is found at once");
            assert_eq!(bench.status(&old.token(&format!("old-{number}"))), 200, "and the old one counts");
        }
        assert_eq!(old.server.asked("/jwks"), 2);
        old.server.publish("/jwks", &next.key_set_by("k2"));
        bench.refresh();
        assert_eq!(bench.status(&old.token("a")), 401, "a key that is gone vouches for nothing, remembered or not");
        assert_eq!(bench.status(&by_next("next-0")), 200);
    });
}

#[test]
fn an_outage_of_ten_minutes_refuses_nobody_whose_key_is_known() {
    let bench = Bench::start(|party, _| party.provide());
    let now = Timestamp::now();
    let lasting = |jti: &str| {
        let mut claims = bench.sick.claims(jti);
        claims["exp"] = json!(now.0 + 3600);
        bench.sick.issuer.token(&claims)
    };
    let seen = lasting("seen");
    assert_eq!(bench.fault_at(&seen, now), None);
    bench.sick.server.fall_ill();
    bench.beside(|| {
        for second in 0..=600 {
            let then = now.plus(second);
            assert_eq!(bench.fault_at(&seen, then), None, "after {second} s");
            assert_eq!(bench.fault_at(&lasting(&second.to_string()), then), None, "after {second} s");
        }
        let stranger = bench.sick.issuer.token_by("unknown", &json!({"iss": bench.sick.server.origin()}));
        assert_eq!(bench.fault_at(&stranger, now), Some(Fault::UnknownKey));
    });
    assert!(bench.is_ready("sick") && bench.state("sick").last_error.is_some());
    // The token has an hour; the keys would have a day.
    assert_eq!(bench.fault_at(&seen, now.plus(3631)), Some(Fault::Expired));
    bench.sick.provide();
    bench.refresh();
    assert_eq!((bench.state("sick").last_error, bench.status(&bench.sick.token("after"))), (None, 200));
}

#[test]
fn a_hundred_thousand_random_kids_cost_one_fetch_in_ten_seconds_and_are_refused() {
    const ALL: i64 = 100_000;
    const SECONDS: i64 = 100;
    let bench = Bench::start(|party, _| party.provide());
    let begun = Timestamp::now();
    let before = bench.gateway.snapshots.current().issuers.memory().entries;
    // The signature would be wrong, but nobody gets as far as that.
    let token = bench.sick.issuer.token_by("KID", &bench.sick.claims("stranger"));
    let (_, rest) = token.split_once('.').expect("a token");
    let random = |number: i64| {
        use base64::Engine as _;
        let header = json!({"alg": "ES256", "typ": "at+jwt", "kid": format!("{number:x}-{}", number * 7919 % 104_729)});
        format!("{}.{rest}", base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(header.to_string()))
    };
    bench.beside(|| {
        for number in 0..ALL {
            let now = begun.plus(number * SECONDS / ALL);
            assert_eq!(bench.fault_at(&random(number), now), Some(Fault::UnknownKey));
        }
    });
    let fetched = bench.sick.server.asked("/jwks");
    assert!((2..=11).contains(&fetched), "{fetched} fetches in {SECONDS} seconds, the first one included");
    assert_eq!(bench.well.server.asked("/jwks"), 1, "nobody else's keys are fetched for it");
    let remembered = bench.gateway.snapshots.current().issuers.memory().entries;
    assert!(remembered - before < 10_000, "what is refused is not remembered: {remembered}");
    // The same from outside, as fast as it goes.
    let mut client = bench.gateway.client();
    bench.beside(|| {
        for number in 0..1000 {
            let answer = client.ask(get(&random(number)));
            assert_eq!(answer.status(), 401);
            assert!(answer.field("www-authenticate").is_some_and(|said| said.contains("invalid_token")));
        }
    });
    assert!(bench.sick.server.asked("/jwks") <= fetched + 2);
    assert_eq!(bench.status(&bench.sick.token("good")), 200);
}

#[test]
fn a_key_of_the_same_name_at_another_issuer_vouches_for_nobody_else() {
    let bench = Bench::start(|party, _| party.provide());
    for (by, claiming) in [(&bench.sick, &bench.well), (&bench.well, &bench.sick)] {
        let borrowed = by.issuer.token(&claiming.claims("borrowed"));
        for _ in 0..2 {
            assert_eq!(bench.status(&borrowed), 401);
        }
        bench.gateway.upstream.assert_silent();
    }
    assert_eq!(bench.status(&bench.sick.token("own")), 200);
    assert_eq!(bench.status(&bench.well.token("own")), 200);
    for (by, claiming) in [(&bench.sick, &bench.well), (&bench.well, &bench.sick)] {
        assert_eq!(bench.status(&by.issuer.token(&claiming.claims("own"))), 401, "like one that is remembered");
    }
    assert_eq!((bench.sick.server.asked("/jwks"), bench.well.server.asked("/jwks")), (1, 1));
}
