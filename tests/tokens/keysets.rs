//! Key sets from issuers in the network: discovery, rotation, outages, and what an issuer may not do.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use torwart::authn::fetch::{Client, FetchError, Plain};
use torwart::authn::{Failure, Fault, Issuers};
use torwart::clock::Timestamp;
use torwart::config::{Audiences, Config, Issuer, KeySource};

use crate::issuer::{Answer, Server};
use crate::minting::{AUDIENCE, KEYS, Keys, Setup, anyone, bearer, claims, ec_jwk, with};

/// Issuers at work: their keys are kept on a thread of its own, as in the gateway.
struct Running {
    issuers: Arc<Issuers>,
    worker: tokio::runtime::Runtime,
}

impl Running {
    fn start(config: &Config) -> Self {
        Self::following(config, None)
    }

    fn following(config: &Config, previous: Option<&Issuers>) -> Self {
        let issuers = Issuers::load(config, previous).unwrap_or_else(|problems| panic!("{}", problems.render()));
        let running = issuers.run();
        std::thread::spawn(move || {
            tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(running);
        });
        let worker = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        Self { issuers: Arc::new(issuers), worker }
    }

    fn outcome(&self, token: &str, now: Timestamp) -> Result<(), Failure> {
        self.worker.block_on(self.issuers.authenticate(&bearer(token), &anyone(), None, now)).map(|_| ())
    }

    fn fault(&self, token: &str, now: Timestamp) -> Option<Fault> {
        match self.outcome(token, now) {
            Ok(()) => None,
            Err(Failure::Invalid(invalid)) => Some(invalid.fault),
            Err(other) => panic!("{other}"),
        }
    }

    fn is_unavailable(&self, token: &str, now: Timestamp) -> bool {
        matches!(self.outcome(token, now), Err(Failure::Unavailable { retry_after: 1.., .. }))
    }
}

/// A configuration of one issuer at this URL.
fn config(url: &str) -> Config {
    let mut config = Config::empty(PathBuf::from("/nowhere/torwart.yaml"));
    config.issuers.push(issuer("shoen", url));
    config
}

fn issuer(name: &str, url: &str) -> Issuer {
    let mut issuer = Issuer::new(name, url, None);
    issuer.audiences = Audiences::OneOf(vec![AUDIENCE.to_owned()]);
    issuer.integration = true;
    issuer
}

/// A token of the issuer at this URL, valid for a day from now.
fn token_of(keys: &Keys, url: &str, kid: &str) -> String {
    let now = Timestamp::now();
    let claims = with(json!({"iss": url, "exp": now.0 + 86_400, "iat": now.0 - 60}));
    keys.token("ES256", &format!("{{\"alg\":\"ES256\",\"kid\":\"{kid}\"}}"), &claims.to_string())
}

#[test]
fn keys_are_discovered_and_the_first_request_waits_for_them() {
    let server = Server::plain();
    server.provide(&server.origin(), &KEYS.jwks());
    let running = Running::start(&config(&server.origin()));
    let token = token_of(&KEYS, &server.origin(), "p256");
    assert_eq!(running.fault(&token, Timestamp::now()), None);
    assert_eq!((server.asked("/.well-known/openid-configuration"), server.asked("/jwks")), (1, 1));
    let [state] = running.issuers.states(Timestamp::now()).try_into().unwrap();
    assert!(state.ready);
    assert_eq!(state.key_ids, ["rsa", "p256", "p384", "ed25519"]);
    assert_eq!((state.refreshes, state.failures, state.last_error), (1, 0, None));
}

#[test]
fn rfc_8414_metadata_are_the_second_choice() {
    let server = Server::plain();
    let url = format!("{}/realms/a", server.origin());
    let document = json!({"issuer": url, "jwks_uri": format!("{}/jwks", server.origin())});
    server.publish("/.well-known/oauth-authorization-server/realms/a", &document);
    server.publish("/jwks", &KEYS.jwks());
    let running = Running::start(&config(&url));
    assert_eq!(running.fault(&token_of(&KEYS, &url, "p256"), Timestamp::now()), None);
    assert_eq!(server.asked("/realms/a/.well-known/openid-configuration"), 1);
}

#[test]
fn metadata_of_another_issuer_are_refused_and_nothing_else_is_tried_rfc_8414_3_3() {
    let server = Server::plain();
    server.provide(&format!("{}/", server.origin()), &KEYS.jwks());
    let running = Running::start(&config(&server.origin()));
    assert!(running.is_unavailable(&token_of(&KEYS, &server.origin(), "p256"), Timestamp::now()));
    assert_eq!((server.asked("/jwks"), server.asked("/.well-known/oauth-authorization-server")), (0, 0));
    let [state] = running.issuers.states(Timestamp::now()).try_into().unwrap();
    assert!(!state.ready && state.last_error.unwrap().contains("instead of"));
}

#[test]
fn a_rotated_key_is_fetched_at_once_and_no_request_fails() {
    let server = Server::plain();
    server.provide(&server.origin(), &KEYS.jwks());
    let running = Running::start(&config(&server.origin()));
    let now = Timestamp::now();
    let old = token_of(&KEYS, &server.origin(), "p256");
    assert_eq!(running.fault(&old, now), None);
    let rotated = Keys::make();
    server.publish("/jwks", &json!({"keys": [ec_jwk(&rotated.p256, "new"), ec_jwk(&KEYS.p256, "p256")]}));
    assert_eq!(running.fault(&token_of(&rotated, &server.origin(), "new"), now), None);
    assert_eq!(running.fault(&old, now), None);
    assert_eq!(server.asked("/jwks"), 2);
}

#[test]
fn a_key_that_is_gone_no_longer_vouches_for_remembered_tokens() {
    let server = Server::plain();
    server.provide(&server.origin(), &KEYS.jwks());
    let running = Running::start(&config(&server.origin()));
    let now = Timestamp::now();
    let old = token_of(&KEYS, &server.origin(), "p256");
    assert_eq!(running.fault(&old, now), None);
    let rotated = Keys::make();
    server.publish("/jwks", &json!({"keys": [ec_jwk(&rotated.p256, "new")]}));
    assert_eq!(running.fault(&token_of(&rotated, &server.origin(), "new"), now), None);
    assert_eq!(running.fault(&old, now), Some(Fault::UnknownKey));
}

#[test]
fn a_rotated_key_without_kid_is_found_too() {
    let server = Server::plain();
    let mut nameless = ec_jwk(&KEYS.p256, "");
    nameless.as_object_mut().unwrap().remove("kid");
    server.provide(&server.origin(), &json!({"keys": [nameless]}));
    let running = Running::start(&config(&server.origin()));
    let (now, rotated) = (Timestamp::now(), Keys::make());
    let token = |keys: &Keys| {
        let claims = with(json!({"iss": server.origin(), "exp": now.0 + 600, "iat": now.0}));
        keys.token("ES256", r#"{"alg":"ES256"}"#, &claims.to_string())
    };
    assert_eq!(running.fault(&token(&KEYS), now), None);
    let mut new = ec_jwk(&rotated.p256, "");
    new.as_object_mut().unwrap().remove("kid");
    server.publish("/jwks", &json!({"keys": [new]}));
    assert_eq!(running.fault(&token(&rotated), now), None);
    assert_eq!(running.fault(&token(&KEYS), now), Some(Fault::Signature));
}

#[test]
fn a_thousand_random_kids_cause_one_fetch_in_ten_seconds_and_leave_other_issuers_alone() {
    let (server, other) = (Server::plain(), Server::plain());
    server.provide(&server.origin(), &KEYS.jwks());
    other.provide(&other.origin(), &KEYS.jwks());
    let mut config = config(&server.origin());
    config.issuers.push(issuer("other", &other.origin()));
    let running = Running::start(&config);
    let now = Timestamp::now();
    for (server, wanted) in [(&server, None), (&other, None)] {
        assert_eq!(running.fault(&token_of(&KEYS, &server.origin(), "p256"), now), wanted);
    }
    let flood = |from: u32, now: Timestamp| {
        for number in from..from + 500 {
            let token = token_of(&KEYS, &server.origin(), &format!("random-{number}"));
            assert_eq!(running.fault(&token, now), Some(Fault::UnknownKey));
        }
    };
    flood(0, now);
    flood(500, now.plus(9));
    assert_eq!(server.asked("/jwks"), 2);
    flood(1000, now.plus(10));
    assert_eq!(server.asked("/jwks"), 3);
    assert_eq!(other.asked("/jwks"), 1);
    assert_eq!(running.fault(&token_of(&KEYS, &other.origin(), "p256"), now), None);
}

#[test]
fn the_same_kid_at_two_issuers_is_harmless() {
    let (server, other) = (Server::plain(), Server::plain());
    let others = Keys::make();
    server.provide(&server.origin(), &KEYS.jwks());
    other.provide(&other.origin(), &others.jwks());
    let mut config = config(&server.origin());
    config.issuers.push(issuer("other", &other.origin()));
    let running = Running::start(&config);
    let now = Timestamp::now();
    assert_eq!(running.fault(&token_of(&KEYS, &server.origin(), "p256"), now), None);
    assert_eq!(running.fault(&token_of(&others, &other.origin(), "p256"), now), None);
    assert_eq!(running.fault(&token_of(&others, &server.origin(), "p256"), now), Some(Fault::Signature));
    assert_eq!(running.fault(&token_of(&KEYS, &other.origin(), "p256"), now), Some(Fault::Signature));
}

#[test]
fn an_outage_leaves_known_keys_in_force_until_they_are_stale() {
    let server = Server::plain();
    server.provide(&server.origin(), &KEYS.jwks());
    let mut config = config(&server.origin());
    config.issuers[0].keys_max_stale = Duration::from_hours(1);
    let running = Running::start(&config);
    let now = Timestamp::now();
    let token = token_of(&KEYS, &server.origin(), "p256");
    assert_eq!(running.fault(&token, now), None);
    server.fall_ill();
    assert_eq!(running.fault(&token_of(&KEYS, &server.origin(), "unknown"), now), Some(Fault::UnknownKey));
    assert_eq!(running.fault(&token_of(&KEYS, &server.origin(), "rsa"), now), Some(Fault::UnknownKey));
    assert_eq!(running.fault(&token, now.plus(3590)), None);
    assert!(running.is_unavailable(&token, now.plus(3700)), "a remembered token is no exception");
}

#[test]
fn without_keys_a_good_token_is_503_and_a_bad_one_still_401() {
    let server = Server::plain();
    let running = Running::start(&config(&server.origin()));
    let now = Timestamp::now();
    assert!(running.is_unavailable(&token_of(&KEYS, &server.origin(), "p256"), now));
    assert!(running.is_unavailable(&token_of(&Keys::make(), &server.origin(), "x"), now));
    assert_eq!(running.fault(&KEYS.es256(&claims()), now), Some(Fault::Issuer));
}

#[test]
fn the_gateway_starts_while_an_issuer_is_down_and_recovers_with_its_next_fetch() {
    let server = Server::plain();
    let running = Running::start(&config(&server.origin()));
    let token = token_of(&KEYS, &server.origin(), "p256");
    assert!(running.is_unavailable(&token, Timestamp::now()));
    server.provide(&server.origin(), &KEYS.jwks());
    running.worker.block_on(running.issuers.refresh());
    assert!(running.issuers.states(Timestamp::now())[0].ready);
    assert_eq!(running.fault(&token, Timestamp::now()), None);
}

#[test]
fn key_sets_survive_a_restart_while_the_issuer_is_down() {
    let state = tempfile::tempdir().unwrap();
    let server = Server::plain();
    server.provide(&server.origin(), &KEYS.jwks());
    let mut config = config(&server.origin());
    config.state_directory = Some(state.path().to_owned());
    let token = token_of(&KEYS, &server.origin(), "p256");
    {
        let issuers = Issuers::load(&config, None).unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(issuers.refresh());
    }
    let saved = std::fs::read_dir(state.path().join("keys")).unwrap().flatten().map(|entry| entry.path());
    let [file] = saved.collect::<Vec<_>>().try_into().unwrap();
    server.fall_ill();
    let restarted = Running::start(&config);
    assert_eq!(restarted.fault(&token, Timestamp::now()), None);
    assert!(restarted.is_unavailable(&token, Timestamp::now().plus(86_410)), "it does not become younger");
    let another = Server::plain();
    let mut moved = config.clone();
    moved.issuers[0].keys = KeySource::Url(format!("{}/jwks", another.origin()));
    let moved = Running::start(&moved);
    assert!(moved.is_unavailable(&token, Timestamp::now()), "keys of another source are not taken");
    let text = std::fs::read_to_string(&file).unwrap().replace(&server.origin(), &another.origin());
    std::fs::write(&file, text).unwrap();
    let confused = Running::start(&config);
    assert!(confused.is_unavailable(&token, Timestamp::now()), "keys of another issuer are not taken");
}

#[test]
fn a_reload_keeps_keys_and_remembered_tokens_of_unchanged_issuers() {
    let server = Server::plain();
    server.provide(&server.origin(), &KEYS.jwks());
    let mut config = config(&server.origin());
    let first = Running::start(&config);
    let (now, token) = (Timestamp::now(), token_of(&KEYS, &server.origin(), "p256"));
    assert_eq!(first.fault(&token, now), None);
    let second = Running::following(&config, Some(&first.issuers));
    drop(first);
    server.fall_ill();
    let hits = second.issuers.memory().hits;
    assert_eq!(second.fault(&token, now), None);
    assert_eq!(second.issuers.memory().hits, hits + 1);
    config.issuers[0].audiences = Audiences::OneOf(vec!["https://elsewhere.example".to_owned()]);
    let third = Running::following(&config, Some(&second.issuers));
    assert_eq!(third.fault(&token, now), Some(Fault::Audience), "a changed issuer verifies again");
    assert_eq!(third.issuers.states(now)[0].key_ids.len(), 4, "with the keys it has");
}

#[test]
fn a_changed_source_of_keys_starts_without_the_keys_of_the_old_one() {
    let (server, other) = (Server::plain(), Server::plain());
    server.provide(&server.origin(), &KEYS.jwks());
    let mut config = config(&server.origin());
    let first = Running::start(&config);
    let (now, token) = (Timestamp::now(), token_of(&KEYS, &server.origin(), "p256"));
    assert_eq!(first.fault(&token, now), None);
    config.issuers[0].keys = KeySource::Url(format!("{}/jwks", other.origin()));
    let second = Running::following(&config, Some(&first.issuers));
    assert!(second.is_unavailable(&token, now));
}

#[test]
fn a_file_of_keys_is_read_again_by_a_reload() {
    let setup = Setup::new();
    let first = setup.load();
    let KeySource::File(path) = &setup.config.issuers[0].keys else { panic!() };
    let same = Issuers::load(&setup.config, Some(&first)).unwrap();
    let token = KEYS.es256(&claims());
    assert_eq!(crate::minting::fault(&first, &token), None);
    assert_eq!(crate::minting::fault(&same, &token), None);
    assert_eq!(same.memory().hits, 1, "the same keys keep what was verified with them");
    std::fs::write(path, Keys::make().jwks().to_string()).unwrap();
    let changed = Issuers::load(&setup.config, Some(&same)).unwrap();
    assert_eq!(crate::minting::fault(&changed, &token), Some(Fault::Signature));
    std::fs::write(path, "{}").unwrap();
    let problems = Issuers::load(&setup.config, Some(&changed)).unwrap_err();
    assert!(problems.render().contains("jwks.json"), "{}", problems.render());
}

#[test]
fn an_inspection_fetches_the_keys_of_the_tokens_issuer_and_no_others() {
    let (server, other) = (Server::plain(), Server::plain());
    for server in [&server, &other] {
        server.provide(&server.origin(), &KEYS.jwks());
    }
    let mut config = config(&server.origin());
    config.issuers.push(issuer("other", &other.origin()));
    let issuers = Issuers::load(&config, None).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let token = token_of(&KEYS, &server.origin(), "p256");
    let principal = runtime.block_on(issuers.inspect(&token, Timestamp::now())).unwrap();
    assert_eq!(&*principal.issuer.name, "shoen");
    assert_eq!((server.asked("/jwks"), other.asked("/jwks")), (1, 0));
}

#[test]
fn urls_that_may_not_be_asked_are_load_errors() {
    let refused = |change: &dyn Fn(&mut Issuer)| {
        let mut config = config("https://issuer.example");
        change(&mut config.issuers[0]);
        Issuers::load(&config, None).err().map(|problems| problems.render()).unwrap_or_default()
    };
    assert_eq!(refused(&|_| {}), "");
    assert!(refused(&|issuer| issuer.issuer = "http://issuer.example".to_owned()).contains("is not `https`"));
    assert!(
        refused(&|issuer| issuer.keys = KeySource::Url("http://issuer.example/jwks".to_owned()))
            .contains("is not `https`")
    );
    let loopback = |integration: bool| {
        refused(&move |issuer: &mut Issuer| {
            issuer.issuer = "http://127.0.0.1:1".to_owned();
            issuer.integration = integration;
        })
    };
    assert!(loopback(false).contains("is not `https`"));
    assert_eq!(loopback(true), "");
}

#[test]
fn two_issuers_with_one_url_are_a_load_error() {
    let mut config = config("https://issuer.example");
    config.issuers.push(issuer("second", "https://issuer.example"));
    let problems = Issuers::load(&config, None).unwrap_err().render();
    assert!(problems.contains("two issuers have the URL"), "{problems}");
}

#[test]
fn a_plain_jwks_uri_from_discovery_is_not_asked() {
    let server = Server::tls("localhost");
    let plain = Server::plain();
    plain.publish("/jwks", &KEYS.jwks());
    let document = json!({"issuer": server.origin(), "jwks_uri": format!("{}/jwks", plain.origin())});
    server.publish("/.well-known/openid-configuration", &document);
    let directory = tempfile::tempdir().unwrap();
    let ca = directory.path().join("ca.pem");
    std::fs::write(&ca, server.ca.as_ref().unwrap()).unwrap();
    let mut config = config(&server.origin());
    config.issuers[0].integration = false;
    config.issuers[0].tls_ca = Some(ca);
    let running = Running::start(&config);
    assert!(running.is_unavailable(&token_of(&KEYS, &server.origin(), "p256"), Timestamp::now()));
    assert_eq!(plain.asked("/jwks"), 0);
    server.provide(&server.origin(), &KEYS.jwks());
    let running = Running::start(&config);
    assert_eq!(running.fault(&token_of(&KEYS, &server.origin(), "p256"), Timestamp::now()), None, "over TLS it is");
}

/// What a client with this CA makes of an answer.
fn get(server: &Server, ca: Option<&str>, path: &str) -> Result<usize, FetchError> {
    let client = Client::new(ca.map(str::as_bytes), Plain::Loopback).unwrap().with_timeout(Duration::from_millis(700));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(client.get(&format!("{}{path}", server.origin()))).map(|fetched| fetched.body.len())
}

#[test]
fn redirects_are_not_followed() {
    let server = Server::plain();
    server.publish("/there", &json!({}));
    for status in [301, 302, 303, 307, 308] {
        server.answer("/here", Answer::Say(status, "location: /there\r\n".to_owned(), Vec::new()));
        assert!(matches!(get(&server, None, "/here"), Err(FetchError::Status(..))), "{status}");
    }
    assert_eq!(server.asked("/there"), 0);
}

#[test]
fn answers_larger_than_a_mebibyte_are_refused() {
    let server = Server::plain();
    server.answer("/", Answer::Say(200, String::new(), vec![b' '; 1024 * 1024]));
    assert_eq!(get(&server, None, "/").unwrap(), 1024 * 1024);
    server.answer("/", Answer::Say(200, String::new(), vec![b' '; 1024 * 1024 + 1]));
    assert!(matches!(get(&server, None, "/"), Err(FetchError::TooLarge(_))));
}

#[test]
fn slow_broken_and_silent_issuers_fail_in_bounded_time() {
    let server = Server::plain();
    server.answer("/hang", Answer::Hang);
    assert!(matches!(get(&server, None, "/hang"), Err(FetchError::Timeout(_))));
    server.answer("/cut", Answer::Raw(b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nab".to_vec()));
    assert!(matches!(get(&server, None, "/cut"), Err(FetchError::Body(_))));
    server.answer("/smtp", Answer::Raw(b"220 mail.example ESMTP\r\n".to_vec()));
    assert!(matches!(get(&server, None, "/smtp"), Err(FetchError::Http(..))));
    server.answer("/none", Answer::Raw(Vec::new()));
    assert!(get(&server, None, "/none").is_err());
    for status in [201, 204, 304, 400, 404, 500, 503] {
        server.answer("/status", Answer::Say(status, String::new(), b"{}".to_vec()));
        assert!(get(&server, None, "/status").is_err(), "{status}");
    }
}

#[test]
fn an_issuer_is_only_asked_over_a_connection_it_can_prove_to_be_its_own() {
    let server = Server::tls("localhost");
    server.publish("/", &json!({}));
    assert_eq!(get(&server, server.ca.as_deref(), "/").unwrap(), 2);
    assert!(matches!(get(&server, None, "/"), Err(FetchError::Tls(..))), "the public roots do not know it");
    let stranger = Server::tls("localhost");
    assert!(matches!(get(&server, stranger.ca.as_deref(), "/"), Err(FetchError::Tls(..))), "another authority");
    let misnamed = Server::tls("issuer.example");
    misnamed.publish("/", &json!({}));
    assert!(matches!(get(&misnamed, misnamed.ca.as_deref(), "/"), Err(FetchError::Tls(..))), "another name");
    assert_eq!((server.asked("/"), misnamed.asked("/")), (1, 0));
}
