//! Tokens that only their issuer can read (RFC 7662): which of them are asked about, what answers count, and how long.

use std::sync::Arc;

use serde_json::{Value, json};
use torwart::authn::{Failure, Fault, Issuers, Wanted};
use torwart::clock::Timestamp;
use torwart::config::{Audiences, Introspection, Issuer, KeySource, Preset};
use torwart::principal::{Flow, IssuerId, IssuerSet, Principal};

use crate::issuer::{Answer, Server};
use crate::minting::{AUDIENCE, ISSUER, KEYS, NOW, Setup, bearer, claims, encode, outcome_at, with};

const OPAQUE: &str = "2YotnFZFEjr1zCsicMWpAA";

/// An issuer whose endpoint is a server of the test.
struct World {
    server: Server,
    setup: Setup,
    issuers: Issuers,
}

impl World {
    fn new() -> Self {
        Self::with(|_| {})
    }

    fn with(change: impl FnOnce(&mut Issuer)) -> Self {
        let server = Server::plain();
        let setup = Setup::new();
        std::fs::write(setup.directory.path().join("secret"), "hush\n").unwrap();
        let introspection = introspection(&server, &setup);
        let setup = setup.change(|issuer| {
            issuer.integration = true;
            issuer.introspection = Some(introspection);
            change(issuer);
        });
        let issuers = setup.load();
        Self { server, setup, issuers }
    }

    fn answering(answer: Value) -> Self {
        let world = Self::new();
        world.server.publish("/introspect", &answer);
        world
    }

    fn outcome(&self, token: &str, now: Timestamp) -> Result<Arc<Principal>, Failure> {
        outcome_at(&self.issuers, token, now)
    }

    fn principal(&self) -> Arc<Principal> {
        self.outcome(OPAQUE, NOW).unwrap()
    }

    fn fault(&self, token: &str, now: Timestamp) -> Option<Fault> {
        match self.outcome(token, now) {
            Ok(_) => None,
            Err(Failure::Invalid(invalid)) => Some(invalid.fault),
            Err(other) => panic!("{other}"),
        }
    }

    fn is_unavailable(&self, token: &str, now: Timestamp) -> bool {
        let outcome = self.outcome(token, now);
        matches!(outcome, Err(Failure::Unavailable { retry_after: 1.., wanted: Wanted::Introspection, .. }))
    }

    fn asked(&self) -> usize {
        self.server.asked("/introspect")
    }
}

fn introspection(server: &Server, setup: &Setup) -> Introspection {
    Introspection {
        endpoint: Some(format!("{}/introspect", server.origin())),
        client_id: "torwart".to_owned(),
        client_secret_file: setup.directory.path().join("secret"),
        cache: std::time::Duration::from_mins(1),
        always: false,
    }
}

/// The answer to an active token with some members replaced; `null` removes one.
fn active(changes: Value) -> Value {
    let mut answer = with(json!({"active": true, "token_type": "Bearer", "jti": null}));
    for (name, value) in changes.as_object().unwrap() {
        answer[name] = value.clone();
        if value.is_null() {
            answer.as_object_mut().unwrap().remove(name);
        }
    }
    answer
}

#[test]
fn an_opaque_token_becomes_the_principal_that_its_issuer_describes() {
    let world = World::answering(active(json!({"permissions": ["read"]})));
    let principal = world.principal();
    assert_eq!(&*principal.issuer.name, "shoen");
    assert_eq!((principal.subject.as_deref(), principal.client.as_deref()), (Some("17"), Some("crm")));
    assert_eq!(principal.scopes, ["a", "b"].into());
    assert_eq!(principal.claims.to_map()["permissions"], json!(["read"]));
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, OPAQUE.as_bytes());
    assert_eq!(principal.token_digest, digest.as_ref(), "what revocation names it by");
    let [heard] = world.server.heard("/introspect").try_into().unwrap();
    assert_eq!((heard.method.as_str(), heard.field("authorization").as_str()), ("POST", "Basic dG9yd2FydDpodXNo"));
    assert_eq!(heard.body, format!("token={OPAQUE}&token_type_hint=access_token"));
}

#[test]
fn a_remembered_answer_is_the_same_principal_and_no_second_call() {
    let world = World::answering(active(json!({})));
    assert!(Arc::ptr_eq(&world.principal(), &world.principal()));
    assert_eq!(world.asked(), 1);
    let memory = world.issuers.memory();
    assert_eq!((memory.hits, memory.misses), (1, 1));
}

#[test]
fn only_the_literal_true_is_active() {
    for active in [json!(false), json!("true"), json!("false"), json!(1), json!(0), json!([true]), json!({})] {
        let world = World::answering(whose_active_is(active.clone()));
        assert_eq!(world.fault(OPAQUE, NOW), Some(Fault::Inactive), "{active}");
    }
}

fn whose_active_is(value: Value) -> Value {
    active(json!({"active": value}))
}

#[test]
fn answers_about_other_kinds_of_token_are_refused() {
    let kinds = [
        (json!({"token_type": "refresh_token"}), Fault::Kind),
        (json!({"token_type": "Refresh"}), Fault::Kind),
        (json!({"token_type": "id_token"}), Fault::Kind),
        (json!({"token_type": "urn:ietf:params:oauth:token-type:refresh_token"}), Fault::Kind),
        (json!({"token_type": "urn:ietf:params:oauth:token-type:id_token"}), Fault::Kind),
        (json!({"token_type": ["Bearer"]}), Fault::Kind),
        (json!({"token_use": "refresh_token"}), Fault::Kind),
        (json!({"token_use": "id"}), Fault::Kind),
        (json!({"typ": "Refresh"}), Fault::Kind),
        (json!({"typ": "ID"}), Fault::Kind),
        (json!({"typ": "Offline"}), Fault::Kind),
        (json!({"at_hash": "x"}), Fault::Kind),
        (json!({"nonce": "x", "aud": AUDIENCE, "client_id": AUDIENCE}), Fault::Kind),
        (json!({"token_type": "DPoP"}), Fault::ConfirmationMethod),
        (json!({"cnf": {"jkt": "x"}}), Fault::ConfirmationMethod),
    ];
    for (change, fault) in kinds {
        assert_eq!(World::answering(active(change.clone())).fault(OPAQUE, NOW), Some(fault), "{change}");
    }
    for kind in [json!("Bearer"), json!("bearer"), json!("access_token"), Value::Null] {
        assert_eq!(World::answering(active(json!({"token_type": kind}))).fault(OPAQUE, NOW), None, "{kind}");
    }
    let access = json!({"token_use": "access_token", "typ": "Bearer"});
    assert_eq!(World::answering(active(access)).fault(OPAQUE, NOW), None);
}

#[test]
fn issuer_audience_and_times_hold_as_for_a_jwt() {
    let rows = [
        (json!({"iss": null}), None),
        (json!({"iss": "https://other.example"}), Some(Fault::Issuer)),
        (json!({"iss": format!("{ISSUER}/")}), Some(Fault::Issuer)),
        (json!({"iss": 5}), Some(Fault::Issuer)),
        (json!({"aud": null}), Some(Fault::Audience)),
        (json!({"aud": "https://other.example"}), Some(Fault::Audience)),
        (json!({"aud": ["https://other.example", AUDIENCE]}), None),
        (json!({"exp": null}), Some(Fault::NoExpiry)),
        (json!({"exp": NOW.0.to_string()}), Some(Fault::ClaimType)),
        (json!({"exp": NOW.0 - 31}), Some(Fault::Expired)),
        (json!({"exp": NOW.0 - 29}), None),
        (json!({"nbf": NOW.0 + 31}), Some(Fault::NotYet)),
        (json!({"iat": NOW.0 + 31}), Some(Fault::NotYet)),
        (json!({"sub": null}), None),
        (json!({"sub": ""}), Some(Fault::Subject)),
        (json!({"sub": 5}), Some(Fault::ClaimType)),
        (json!({"scope": 5}), Some(Fault::Source)),
    ];
    for (change, fault) in rows {
        assert_eq!(World::answering(active(change.clone())).fault(OPAQUE, NOW), fault, "{change}");
    }
    let anyone = World::with(|issuer| issuer.audiences = Audiences::Any);
    anyone.server.publish("/introspect", &active(json!({"aud": null})));
    assert_eq!(anyone.fault(OPAQUE, NOW), None);
}

#[test]
fn a_null_issuer_is_none_and_a_subject_may_be_absent() {
    let world = World::answering(json!({"active": true, "iss": null, "aud": AUDIENCE, "exp": NOW.0 + 9, "sub": null}));
    let principal = world.principal();
    assert_eq!((principal.subject.as_deref(), principal.client.as_deref()), (None, None));
    assert_eq!(
        (principal.flow, principal.claims.get("iss").and_then(|issuer| issuer.as_str())),
        (Flow::Unknown, Some(ISSUER))
    );
}

#[test]
fn the_client_of_an_answer_is_client_id_even_where_a_jwt_says_the_tenant_there() {
    let world = World::with(|issuer| {
        let mut ameise = Issuer::new("shoen", ISSUER, Some(Preset::Ameise));
        (ameise.audiences, ameise.integration) = (issuer.audiences.clone(), true);
        (ameise.introspection, ameise.keys) = (issuer.introspection.clone(), issuer.keys.clone());
        *issuer = ameise;
    });
    world.server.publish("/introspect", &active(json!({"client_id": "app"})));
    assert_eq!(world.principal().client.as_deref(), Some("app"));
    let jwt = KEYS.es256(&with(json!({"client_id": "tenant", "azp": "app"})));
    assert_eq!(world.outcome(&jwt, NOW).unwrap().client.as_deref(), Some("app"));
    for (change, client) in [
        (json!({"client_id": null, "azp": "other"}), Some("other")),
        (json!({"client_id": 5, "azp": "other"}), None),
        (json!({"client_id": "", "azp": "other"}), None),
    ] {
        world.server.publish("/introspect", &active(change.clone()));
        let token = encode(change.to_string().as_bytes());
        assert_eq!(world.outcome(&token, NOW).unwrap().client.as_deref(), client, "{change}");
    }
}

#[test]
fn an_endpoint_that_gives_no_usable_answer_is_503() {
    let json = |text: &str| Answer::Say(200, String::new(), text.as_bytes().to_vec());
    let good = active(json!({})).to_string();
    let mut large = good.clone().into_bytes();
    large.resize(1024 * 1024 + 1, b' ');
    let elsewhere = Server::plain();
    elsewhere.publish("/", &active(json!({})));
    let location = format!("Location: {}/\r\n", elsewhere.origin());
    let signed = "Content-Type: application/token-introspection+jwt\r\n".to_owned();
    let answers = [
        json(&format!("[{good}]")),
        json(&good.replacen('{', "{\"active\":false,", 1)),
        json(&good.replacen('{', "{\"x\":{\"a\":1,\"a\":1},", 1)),
        json("{}"),
        json("{\"active\":null}"),
        json("{\"error\":\"invalid_client\"}"),
        json("true"),
        json(""),
        json(&good[..good.len() - 1]),
        Answer::Say(200, String::new(), large),
        Answer::Say(200, signed, KEYS.es256(&json!({"token_introspection": {"active": true}})).into_bytes()),
        Answer::Say(302, location.clone(), good.clone().into_bytes()),
        Answer::Say(307, location, good.clone().into_bytes()),
        Answer::Say(201, String::new(), good.clone().into_bytes()),
        Answer::Say(401, String::new(), good.clone().into_bytes()),
        Answer::Say(403, String::new(), good.clone().into_bytes()),
        Answer::Say(500, String::new(), good.clone().into_bytes()),
        Answer::Raw(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n{".to_vec()),
        Answer::Raw(Vec::new()),
    ];
    for answer in answers {
        let world = World::new();
        world.server.answer("/introspect", answer.clone());
        assert!(world.is_unavailable(OPAQUE, NOW), "{answer:?}");
        let [state] = world.issuers.states(NOW).try_into().unwrap();
        let tally = state.introspection.unwrap();
        assert_eq!((tally.answers, tally.failures), (0, 1));
        assert!(!tally.last_error.unwrap().contains("hush"));
    }
    assert_eq!(elsewhere.asked("/"), 0);
}

#[test]
fn an_endpoint_that_hangs_is_503_after_five_seconds() {
    let world = World::new();
    world.server.answer("/introspect", Answer::Hang);
    let begun = std::time::Instant::now();
    assert!(world.is_unavailable(OPAQUE, NOW));
    assert!((4..=7).contains(&begun.elapsed().as_secs()), "{:?}", begun.elapsed());
}

#[test]
fn nobody_listening_is_503_and_soon_asked_again() {
    let world = World::new();
    assert!(world.is_unavailable(OPAQUE, NOW), "there is nothing at the path");
    world.server.publish("/introspect", &active(json!({})));
    assert!(world.is_unavailable(OPAQUE, NOW), "within the same second");
    assert_eq!(world.fault(OPAQUE, NOW.plus(1)), None);
    assert_eq!(world.asked(), 2);
}

#[test]
fn a_jwt_of_a_configured_issuer_never_falls_back_however_it_is_written() {
    let world = World::answering(active(json!({})));
    let good = KEYS.es256(&claims());
    let (signed, signature) = good.rsplit_once('.').unwrap();
    let (header, payload) = signed.split_once('.').unwrap();
    let twice = claims().to_string().replacen('{', "{\"iss\":\"https://a.example\",", 1);
    let elsewhere = claims().to_string().replacen('{', &format!("{{\"iss\":\"{ISSUER}\","), 1);
    let tokens = [
        KEYS.es256(&with(json!({"exp": NOW.0 - 60}))),
        KEYS.es256(&with(json!({"aud": "https://other.example"}))),
        format!("{signed}.{}", encode(&[7; 64])),
        format!("{signed}."),
        format!("{signed}.{signature}=="),
        format!("{header}.{payload}=.{signature}"),
        format!("{header}.{payload}==.{signature}"),
        format!("x.{payload}.{signature}"),
        format!(".{payload}."),
        KEYS.token("ES256", r#"{"alg":"ES256","kid":"p256"}"#, &twice),
        KEYS.token("ES256", r#"{"alg":"ES256","kid":"p256"}"#, &elsewhere.replace(ISSUER, "https://b.example")),
        KEYS.token("ES256", r#"{"alg":"ES256","kid":"p256"}"#, &format!(" {} ", claims())),
    ];
    for token in &tokens[..tokens.len() - 1] {
        assert!(world.fault(token, NOW).is_some(), "{token}");
    }
    assert_eq!(world.fault(&tokens[tokens.len() - 1], NOW), None, "space around JSON is JSON");
    assert_eq!(world.asked(), 0);
}

#[test]
fn everything_else_goes_to_the_endpoint() {
    let world = World::answering(active(json!({})));
    let unknown = KEYS.es256(&with(json!({"iss": "https://other.example"})));
    let nameless = KEYS.es256(&with(json!({"iss": null})));
    let tokens = ["a", "a.b", "a.b.c", "a.b.c.d.e", "e30.WzFd.e30", &unknown, &nameless];
    for (number, token) in tokens.iter().enumerate() {
        assert_eq!(world.fault(token, NOW), None, "{token}");
        assert_eq!(world.asked(), number + 1, "{token}");
    }
    let long = "a".repeat(16 * 1024 + 1);
    assert_eq!(world.fault(&long, NOW), Some(Fault::TooLong));
    assert_eq!(world.asked(), tokens.len());
}

#[test]
fn only_the_one_accepted_issuer_that_can_be_asked_is_asked() {
    let mut world = World::answering(active(json!({})));
    let second = world.setup.config.issuers[0].clone();
    for (name, with) in [("plain", false), ("second", true)] {
        let mut issuer = second.clone();
        issuer.name = name.into();
        issuer.issuer = format!("https://{name}.example");
        issuer.introspection = second.introspection.clone().filter(|_| with);
        world.setup.config.issuers.push(issuer);
    }
    world.issuers = world.setup.load();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let outcome = |accepted: &[u16]| {
        let accepted = IssuerSet::new(accepted.iter().copied().map(IssuerId));
        let headers = bearer(OPAQUE);
        runtime.block_on(world.issuers.authenticate(&headers, &accepted, None, NOW))
    };
    let fault = |accepted: &[u16]| match outcome(accepted) {
        Err(Failure::Invalid(invalid)) => Some(invalid.fault),
        Err(other) => panic!("{other}"),
        Ok(_) => None,
    };
    assert_eq!(fault(&[1]), Some(Fault::Opaque), "nobody here can be asked");
    assert_eq!(fault(&[0, 1, 2]), Some(Fault::Opaque), "nobody knows which of the two");
    assert_eq!(world.asked(), 0);
    assert_eq!(fault(&[0, 1]), None);
    assert_eq!(fault(&[2, 1]), Some(Fault::Issuer), "the answer says another issuer");
}

#[test]
fn an_answer_counts_for_the_cache_time_and_ends_with_the_token() {
    let world = World::answering(active(json!({})));
    for (later, calls) in [(0, 1), (59, 1), (60, 2), (119, 2), (121, 3)] {
        assert_eq!(world.fault(OPAQUE, NOW.plus(later)), None);
        assert_eq!(world.asked(), calls, "after {later} s");
    }
    let short = World::answering(active(json!({"exp": NOW.0 + 20})));
    assert_eq!(short.fault(OPAQUE, NOW), None);
    assert_eq!(short.fault(OPAQUE, NOW.plus(19)), None);
    assert_eq!(short.asked(), 1);
    short.server.publish("/introspect", &json!({"active": false}));
    assert_eq!(short.fault(OPAQUE, NOW.plus(20)), Some(Fault::Inactive), "not even within its leeway");
    let later = World::answering(active(json!({"nbf": NOW.0 + 40})));
    assert_eq!(later.fault(OPAQUE, NOW), Some(Fault::NotYet));
    assert_eq!(later.fault(OPAQUE, NOW.plus(10)), None, "times are asked on every request");
    assert_eq!(later.asked(), 1);
}

#[test]
fn a_refusal_counts_for_ten_seconds() {
    for refusal in [json!({"active": false}), active(json!({"aud": "https://other.example"}))] {
        let world = World::answering(refusal);
        assert!(world.fault(OPAQUE, NOW).is_some());
        world.server.publish("/introspect", &active(json!({})));
        assert!(world.fault(OPAQUE, NOW.plus(9)).is_some());
        assert_eq!(world.asked(), 1);
        assert_eq!(world.fault(OPAQUE, NOW.plus(10)), None);
    }
}

#[test]
fn always_asks_about_jwts_too_and_both_must_name_one_subject() {
    let world = World::with(|issuer| issuer.introspection.as_mut().unwrap().always = true);
    let jwt = |number: usize| KEYS.es256(&with(json!({"jti": number.to_string()})));
    let rows = [
        (active(json!({})), None),
        (active(json!({"sub": "18"})), Some(Fault::OtherSubject)),
        (active(json!({"sub": null})), Some(Fault::OtherSubject)),
        (json!({"active": false}), Some(Fault::Inactive)),
        (active(json!({"active": "true"})), Some(Fault::Inactive)),
        (active(json!({"iss": "https://other.example"})), Some(Fault::Issuer)),
        (active(json!({"aud": "https://other.example"})), Some(Fault::Audience)),
        (active(json!({"exp": NOW.0 - 60})), Some(Fault::Expired)),
        (active(json!({"token_type": "refresh_token"})), Some(Fault::Kind)),
    ];
    // Every signature is another, and so is every token: it is made once.
    let tokens: Vec<_> = (0..rows.len()).map(jwt).collect();
    for (number, (answer, fault)) in rows.iter().enumerate() {
        world.server.publish("/introspect", answer);
        for _ in 0..2 {
            assert_eq!(world.fault(&tokens[number], NOW), *fault, "{answer}");
        }
        assert_eq!(world.asked(), 1 + number, "{answer}");
    }
    for broken in [with(json!({"exp": NOW.0 - 60})), with(json!({"aud": "https://other.example"}))] {
        assert!(world.fault(&KEYS.es256(&broken), NOW).is_some());
    }
    assert_eq!(world.asked(), rows.len(), "a bad JWT is nobody's question");
    world.server.fall_ill();
    assert!(world.is_unavailable(&jwt(99), NOW));
    assert_eq!(world.fault(&tokens[0], NOW.plus(59)), None, "remembered");
    assert!(world.is_unavailable(&tokens[0], NOW.plus(60)));
}

#[test]
fn the_principal_under_always_is_that_of_the_jwt() {
    let world = World::with(|issuer| issuer.introspection.as_mut().unwrap().always = true);
    world.server.publish("/introspect", &active(json!({"scope": "everything", "client_id": "other"})));
    let principal = world.outcome(&KEYS.es256(&claims()), NOW).unwrap();
    assert_eq!((principal.scopes.to_vec().join(" "), principal.client.as_deref()), ("a b".to_owned(), Some("crm")));
}

#[test]
fn without_always_a_jwt_is_nobody_elses_matter() {
    let world = World::answering(json!({"active": false}));
    assert_eq!(world.fault(&KEYS.es256(&claims()), NOW), None);
    assert_eq!(world.asked(), 0);
}

#[test]
fn a_reload_keeps_answers_unless_the_issuer_or_the_secret_has_changed() {
    let mut world = World::answering(active(json!({})));
    let reload = |world: &mut World| {
        world.issuers = Issuers::load(&world.setup.config, Some(&world.issuers)).unwrap();
        assert_eq!(world.fault(OPAQUE, NOW), None);
        world.asked()
    };
    assert_eq!(reload(&mut world), 1);
    assert_eq!(reload(&mut world), 1, "nothing has changed");
    world.setup.config.issuers[0].introspection.as_mut().unwrap().cache = std::time::Duration::from_secs(30);
    assert_eq!(reload(&mut world), 2);
    world.setup.config.issuers[0].claims.permissions = vec![torwart::principal::ClaimPath::top("roles")];
    assert_eq!(reload(&mut world), 3, "a changed issuer makes other principals");
    std::fs::write(world.setup.directory.path().join("secret"), "other").unwrap();
    assert_eq!(reload(&mut world), 4);
    assert_eq!(world.server.heard("/introspect")[3].field("authorization"), "Basic dG9yd2FydDpvdGhlcg==");
}

#[test]
fn an_issuer_without_keys_serves_opaque_tokens() {
    let world = World::with(|issuer| issuer.keys = KeySource::Url("http://127.0.0.1:1/none".to_owned()));
    world.server.publish("/introspect", &active(json!({})));
    assert_eq!(world.fault(OPAQUE, NOW), None);
    let [state] = world.issuers.states(NOW).try_into().unwrap();
    assert!(!state.ready, "it has no keys");
    assert_eq!(state.introspection.unwrap().answers, 1);
}

#[test]
fn the_endpoint_is_discovered_when_none_is_configured() {
    let server = Server::plain();
    let setup = Setup::new();
    std::fs::write(setup.directory.path().join("secret"), "hush").unwrap();
    let mut introspection = introspection(&server, &setup);
    let endpoint = introspection.endpoint.take().unwrap();
    let origin = server.origin();
    let setup = setup.change(|issuer| {
        issuer.integration = true;
        issuer.issuer.clone_from(&origin);
        issuer.introspection = Some(introspection);
    });
    let metadata = json!({"issuer": origin, "jwks_uri": "https://x.example/", "introspection_endpoint": endpoint});
    server.publish("/introspect", &active(json!({"iss": origin})));
    let issuers = setup.load();
    assert!(matches!(outcome_at(&issuers, OPAQUE, NOW), Err(Failure::Unavailable { .. })));
    server.publish("/.well-known/openid-configuration", &metadata);
    for token in [OPAQUE, "another"] {
        assert!(outcome_at(&issuers, token, NOW.plus(1)).is_ok());
    }
    assert_eq!(server.asked("/.well-known/openid-configuration"), 2, "the first found nothing, the second is kept");
}

#[test]
fn the_issuers_own_ca_is_trusted_at_its_endpoint() {
    let server = Server::tls("localhost");
    let setup = Setup::new();
    let path = |name: &str| setup.directory.path().join(name);
    std::fs::write(path("secret"), "hush").unwrap();
    std::fs::write(path("ca.pem"), server.ca.as_ref().unwrap()).unwrap();
    server.publish("/introspect", &active(json!({})));
    let (own, introspection) = (path("ca.pem"), introspection(&server, &setup));
    let setup = setup.change(|issuer| issuer.introspection = Some(introspection));
    assert!(matches!(outcome_at(&setup.load(), OPAQUE, NOW), Err(Failure::Unavailable { .. })), "public roots");
    let setup = setup.change(|issuer| issuer.tls_ca = Some(own));
    assert!(outcome_at(&setup.load(), OPAQUE, NOW).is_ok());
}

#[test]
fn what_cannot_be_asked_is_a_load_error() {
    let refused = |change: &dyn Fn(&mut Introspection)| {
        let server = Server::plain();
        let setup = Setup::new();
        std::fs::write(setup.directory.path().join("secret"), "hush").unwrap();
        let mut introspection = introspection(&server, &setup);
        change(&mut introspection);
        let setup = setup.change(|issuer| issuer.introspection = Some(introspection));
        Issuers::load(&setup.config, None).err().map(|problems| problems.render()).unwrap_or_default()
    };
    assert!(refused(&|_| {}).contains("is not `https`"), "this is no integration environment");
    let https = |introspection: &mut Introspection| introspection.endpoint = Some("https://a.example/i".to_owned());
    assert_eq!(refused(&https), "");
    let unreadable = refused(&|introspection| {
        https(introspection);
        introspection.client_secret_file.set_file_name("elsewhere");
    });
    assert!(unreadable.contains("elsewhere` cannot be read"), "{unreadable}");
    let empty = refused(&|introspection| {
        https(introspection);
        std::fs::write(&introspection.client_secret_file, "\n").unwrap();
    });
    assert!(empty.contains("holds no secret"), "{empty}");
}

#[test]
fn a_probe_tells_whether_the_endpoint_knows_the_gateway() {
    let world = World::answering(json!({"active": false}));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let probed = || runtime.block_on(world.issuers.probe());
    assert_eq!(probed(), [("shoen".into(), Ok(()))]);
    world.server.answer("/introspect", Answer::Say(401, String::new(), Vec::new()));
    let [(_, outcome)] = probed().try_into().unwrap();
    assert!(outcome.unwrap_err().ends_with("answered 401 Unauthorized"));
    let heard = world.server.heard("/introspect");
    assert!(heard.iter().all(|heard| heard.body.starts_with("token=torwart-check-")), "no real token");
    let plain = Setup::new().load();
    assert_eq!(runtime.block_on(plain.probe()), []);
}

#[test]
fn inspection_asks_about_an_opaque_token() {
    let world = World::answering(active(json!({})));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let principal = runtime.block_on(world.issuers.inspect(OPAQUE, NOW)).unwrap();
    assert_eq!(principal.subject.as_deref(), Some("17"));
}
