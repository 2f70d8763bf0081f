//! Claims from userinfo: what is taken, what is not, and what becomes of a token whose issuer says anything else
//! (OpenID Connect Core section 5.3).

use std::cell::OnceCell;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use torwart::authn::{Failure, Fault, Issuers};
use torwart::clock::Timestamp;
use torwart::config::{Audiences, Config, FlowRule, Issuer, Preset, Userinfo};
use torwart::principal::{ClaimPath, Principal};

use crate::issuer::{Answer, Server};
use crate::minting::{AUDIENCE, KEYS, anyone, bearer};

/// An issuer of the Ameise family, and a gateway that knows its keys.
struct World {
    server: Server,
    config: Config,
    issuers: Arc<Issuers>,
    runtime: tokio::runtime::Runtime,
    now: Timestamp,
    /// A token without any claim of those that only userinfo knows: signatures differ from time to time.
    plain: OnceCell<String>,
}

impl World {
    fn new() -> Self {
        Self::with(|_| {})
    }

    fn with(change: impl FnOnce(&mut Issuer)) -> Self {
        let server = Server::plain();
        let origin = server.origin();
        server.publish(
            "/.well-known/openid-configuration",
            &json!({"issuer": origin, "jwks_uri": format!("{origin}/jwks"), "userinfo_endpoint": format!("{origin}/userinfo")}),
        );
        server.publish("/jwks", &KEYS.jwks());
        server.publish("/userinfo", &json!({"sub": "E4711", "ameise/permissions": ["ameise", "verwaltung"]}));
        let mut issuer = Issuer::new("ameise", &origin, Some(Preset::Ameise));
        issuer.audiences = Audiences::OneOf(vec![AUDIENCE.to_owned()]);
        issuer.integration = true;
        change(&mut issuer);
        let mut config = Config::empty(PathBuf::from("/nowhere/torwart.yaml"));
        config.issuers.push(issuer);
        let issuers = Issuers::load(&config, None).unwrap_or_else(|problems| panic!("{}", problems.render()));
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(issuers.refresh());
        let issuers = Arc::new(issuers);
        Self { server, config, issuers, runtime, now: Timestamp::now(), plain: OnceCell::new() }
    }

    fn says(self, answer: &Value) -> Self {
        self.server.publish("/userinfo", answer);
        self
    }

    fn answers(self, status: u16, fields: &str, body: &str) -> Self {
        self.server.answer("/userinfo", Answer::Say(status, fields.to_owned(), body.as_bytes().to_vec()));
        self
    }

    fn token(&self, claims: &Value) -> String {
        let mut all = json!({"iss": self.server.origin(), "aud": AUDIENCE, "sub": "E4711", "azp": "web",
            "scope": "employees", "iat": self.now.0 - 60, "exp": self.now.0 + 3600});
        for (name, value) in claims.as_object().unwrap() {
            all[name] = value.clone();
        }
        all.as_object_mut().unwrap().retain(|_, value| *value != json!("none"));
        KEYS.es256(&all)
    }

    fn plain(&self) -> &str {
        self.plain.get_or_init(|| self.token(&json!({})))
    }

    fn principal(&self, token: &str) -> Arc<Principal> {
        let (headers, anyone) = (bearer(token), anyone());
        let found = self.issuers.authenticate(&headers, &anyone, None, self.now);
        self.runtime.block_on(found).unwrap().unwrap()
    }

    fn complete_at(&self, token: &str, now: Timestamp) -> Result<Arc<Principal>, Failure> {
        let principal = self.principal(token);
        self.runtime.block_on(self.issuers.complete(&bearer(token), &principal, now))
    }

    fn complete(&self, token: &str) -> Result<Arc<Principal>, Failure> {
        self.complete_at(token, self.now)
    }

    fn whole(&self) -> Principal {
        Principal::clone(&self.complete(self.plain()).unwrap())
    }

    fn fault(&self) -> Option<Fault> {
        match self.complete(self.plain()) {
            Err(Failure::Invalid(invalid)) => {
                assert_eq!(invalid.issuer.as_deref(), Some("ameise"));
                Some(invalid.fault)
            }
            Ok(_) => None,
            Err(other) => panic!("{other}"),
        }
    }

    fn is_unavailable(&self) -> bool {
        matches!(self.complete(self.plain()), Err(Failure::Unavailable { retry_after: 1.., .. }))
    }

    fn calls(&self) -> usize {
        self.server.asked("/userinfo")
    }
}

#[test]
fn listed_claims_are_taken_and_no_other_says_anything() {
    let world = World::new().says(&json!({
        "sub": "e4711", "ameise/permissions": ["ameise"], "broker": {"id": "B1"}, "client": null,
        "name": "Erika", "scope": "admin", "azp": "evil", "exp": 1, "iss": "https://evil.example", "aud": "x",
        "acr": "high", "auth_time": 1, "cnf": {"jkt": "x"}, "client_id": "evil", "global": true,
    }));
    let token = world.token(&json!({}));
    let before = world.principal(&token);
    assert_eq!((before.permissions.as_ref(), before.pending.claims.len()), (None, 3));
    assert!(before.pending.permissions && !before.pending.organizations && !before.pending.global);
    let after = world.complete(&token).unwrap();
    assert_eq!(after.permissions, Some(["ameise"].into()));
    assert!(after.pending.is_empty());
    let mut claims = after.claims.to_map();
    assert_eq!(claims.remove("ameise/permissions"), Some(json!(["ameise"])));
    assert_eq!(claims.remove("broker"), Some(json!({"id": "B1"})));
    assert_eq!(claims, before.claims.to_map(), "and nothing else");
    let rest = Principal {
        claims: before.claims.clone(),
        permissions: None,
        pending: before.pending.clone(),
        ..Principal::clone(&after)
    };
    assert_eq!(format!("{rest:?}"), format!("{before:?}"));
    let [heard] = world.server.heard("/userinfo").try_into().unwrap();
    assert_eq!((heard.method.as_str(), heard.field("authorization")), ("GET", format!("Bearer {token}")));
}

#[test]
fn what_the_token_has_stays() {
    let world = World::new().says(&json!({"sub": "E4711", "ameise/permissions": ["evil"], "broker": {"id": "B2", "is_root": true}, "client": {"id": 5}}));
    let token = world.token(&json!({"ameise/permissions": [], "broker": {"id": "B1"}, "client": null}));
    let before = world.principal(&token);
    assert_eq!(*before.pending.claims, ["client".to_owned()], "null is absent, a part is not");
    assert!(!before.pending.permissions);
    let after = world.complete(&token).unwrap();
    assert_eq!(after.permissions, Some([].into()));
    assert_eq!(after.claims.to_map()["broker"], json!({"id": "B1"}));
    assert_eq!(after.claims.to_map()["client"], json!({"id": 5}));
    let full = world.token(&json!({"ameise/permissions": [], "broker": {}, "client": {}}));
    assert!(world.principal(&full).pending.is_empty());
}

#[test]
fn nothing_is_pending_of_a_clients_own_token() {
    let world = World::with(|issuer| issuer.client_credentials_when = Some(FlowRule::ClientEqualsSubject));
    assert!(world.principal(&world.token(&json!({"client_id": "E4711"}))).pending.is_empty());
    assert!(!world.principal(&world.token(&json!({"client_id": "web"}))).pending.is_empty());
    assert!(!world.principal(&world.token(&json!({}))).pending.is_empty(), "an unknown flow is no client's");
}

#[test]
fn only_sources_that_could_still_matter_are_pending() {
    let path = |keys: &[&str]| ClaimPath(keys.iter().map(|key| (*key).to_owned()).collect());
    let world = World::with(|issuer| {
        let claims = ["a", "roles", "orgs", "all"].map(str::to_owned).to_vec();
        issuer.userinfo = Some(Userinfo { endpoint: None, claims, cache: Duration::from_mins(5) });
        issuer.claims.permissions = vec![path(&["own"]), path(&["roles", "list"])];
        issuer.claims.organizations = vec![path(&["orgs"]), path(&["own_orgs"])];
        issuer.claims.global = vec![path(&["all"])];
    });
    let pending = |claims: Value| world.principal(&world.token(&claims)).pending.clone();
    let none = pending(json!({}));
    assert!(none.permissions && none.organizations && none.global);
    assert!(!pending(json!({"own": ["x"]})).permissions, "the first source has it");
    assert!(!pending(json!({"roles": {}})).permissions, "the claim is there");
    assert!(pending(json!({"own_orgs": ["x"]})).organizations, "the pending source comes first");
    let global = pending(json!({"all": true}));
    assert!(!global.global && !global.organizations, "who is global needs no organisations");
    let token = world.token(&json!({"own_orgs": ["x"]}));
    world.server.publish("/userinfo", &json!({"sub": "E4711", "orgs": ["o1"], "all": false, "roles": {"list": ["r"]}}));
    let whole = world.complete(&token).unwrap();
    assert_eq!(whole.organizations, Some(["o1"].into()));
    assert_eq!((whole.global, whole.permissions.clone()), (Some(false), Some(["r"].into())));
}

#[test]
fn a_token_is_asked_about_once_in_its_cache_time() {
    let world = World::new();
    let token = world.token(&json!({}));
    let first = world.complete(&token).unwrap();
    assert!(Arc::ptr_eq(&first, &world.complete(&token).unwrap()), "the very same principal");
    world.complete_at(&token, world.now.plus(299)).unwrap();
    assert_eq!(world.calls(), 1);
    world.complete_at(&token, world.now.plus(300)).unwrap();
    assert_eq!(world.calls(), 2);
    world.complete(&world.token(&json!({"jti": "another"}))).unwrap();
    assert_eq!(world.calls(), 3);
    assert_eq!(world.server.asked("/.well-known/openid-configuration"), 2, "once for the keys, once for the endpoint");
}

#[test]
fn a_reload_keeps_answers_unless_the_issuer_has_changed() {
    let mut world = World::new();
    let token = world.token(&json!({}));
    let mut reload = |change: fn(&mut Issuer)| {
        change(&mut world.config.issuers[0]);
        world.issuers = Arc::new(Issuers::load(&world.config, Some(&world.issuers)).unwrap());
        world.complete(&token).unwrap();
        world.calls()
    };
    assert_eq!(reload(|_| {}), 1);
    assert_eq!(reload(|_| {}), 1, "nothing has changed");
    assert_eq!(reload(|issuer| issuer.leeway += 1), 2, "a changed issuer makes other principals");
    assert_eq!(reload(|_| {}), 2);
}

#[test]
fn an_answer_counts_no_longer_than_the_token() {
    let world = World::new();
    let token = world.token(&json!({"exp": world.now.0 + 10}));
    world.complete(&token).unwrap();
    world.complete_at(&token, world.now.plus(39)).unwrap();
    assert_eq!(world.calls(), 1);
    world.complete_at(&token, world.now.plus(40)).unwrap();
    assert_eq!(world.calls(), 2);
}

#[test]
fn a_thousand_requests_make_one_call() {
    let world = World::new();
    let token = world.token(&json!({}));
    let principal = world.principal(&token);
    world.runtime.block_on(async {
        let mut requests = tokio::task::JoinSet::new();
        for _ in 0..1000 {
            let (issuers, headers, principal) = (Arc::clone(&world.issuers), bearer(&token), Arc::clone(&principal));
            let now = world.now;
            requests.spawn(async move { issuers.complete(&headers, &principal, now).await });
        }
        while let Some(outcome) = requests.join_next().await {
            assert_eq!(outcome.unwrap().unwrap().permissions.as_ref().unwrap().iter().count(), 2);
        }
    });
    assert_eq!(world.calls(), 1);
}

#[test]
fn a_token_that_userinfo_refuses_does_not_hold() {
    let world = World::new().answers(401, "WWW-Authenticate: Bearer error=\"invalid_token\"\r\n", "");
    assert_eq!(world.fault(), Some(Fault::Userinfo));
    assert_eq!(world.fault(), Some(Fault::Userinfo));
    assert_eq!(world.calls(), 1);
}

#[test]
fn what_userinfo_keeps_to_itself_is_absent_and_remembered_so() {
    let world = World::new().answers(403, "", "");
    let whole = world.whole();
    assert_eq!((whole.permissions, whole.pending.is_empty()), (None, true));
    world.whole();
    assert_eq!(world.calls(), 1);
}

#[test]
fn an_answer_about_somebody_else_is_no_answer_openid_connect_core_5_3_2() {
    for subject in [json!("E4712"), json!(""), json!(4711), json!(null), json!(["E4711"]), json!("E4711 ")] {
        let world = World::new().says(&json!({"sub": subject, "ameise/permissions": ["verwaltung"]}));
        assert_eq!(world.fault(), Some(Fault::UserinfoSubject), "{subject}");
    }
    let world = World::new().says(&json!({"ameise/permissions": ["verwaltung"]}));
    assert_eq!(world.fault(), Some(Fault::UserinfoSubject));
    let world = World::with(|issuer| issuer.case_insensitive.clear());
    world.server.publish("/userinfo", &json!({"sub": "e4711"}));
    assert_eq!(world.fault(), Some(Fault::UserinfoSubject), "case counts unless it is said not to");
}

#[test]
fn a_token_without_a_subject_is_not_asked_about() {
    let world = World::with(|issuer| issuer.subject_optional = true);
    let outcome = world.complete(&world.token(&json!({"sub": "none"})));
    assert!(
        matches!(outcome, Err(Failure::Invalid(ref invalid)) if invalid.fault == Fault::UserinfoSubject),
        "{outcome:?}"
    );
    assert_eq!(world.calls(), 0);
}

#[test]
fn whatever_is_no_answer_says_nothing_about_the_token() {
    let elsewhere = Server::plain();
    elsewhere.publish("/", &json!({"sub": "E4711", "ameise/permissions": ["verwaltung"]}));
    let good = r#"{"sub":"E4711","ameise/permissions":["verwaltung"]}"#;
    let large = format!("{}{}", good, " ".repeat(1024 * 1024));
    let redirect = format!("Location: {}/\r\n", elsewhere.origin());
    let json = "Content-Type: application/json\r\n";
    for (status, fields, body) in [
        (500, json, good),
        (503, json, good),
        (404, json, good),
        (400, json, good),
        (429, json, good),
        (201, json, good),
        (204, json, ""),
        (302, redirect.as_str(), ""),
        (307, redirect.as_str(), ""),
        (200, json, ""),
        (200, json, "[]"),
        (200, json, r#"[{"sub":"E4711"}]"#),
        (200, json, "null"),
        (200, json, r#"{"sub":"E4711","ameise/permissions":["a"],"ameise/permissions":["b"]}"#),
        (200, json, r#"{"sub":"E4711","broker":{"id":"a","id":"b"}}"#),
        (200, json, r#"{"sub":"E4711"} {}"#),
        (200, json, r#"{"sub":"E4711""#),
        (200, json, &large),
        (200, "Content-Type: text/html\r\n", good),
        (200, "Content-Type: application/jwt\r\n", good),
    ] {
        let world = World::new().answers(status, fields, body);
        assert!(world.is_unavailable(), "{status} {fields} {}", &body[..body.len().min(80)]);
    }
    assert_eq!(elsewhere.asked("/"), 0, "a redirect is not followed");
    let world = World::new();
    world.server.answer("/userinfo", Answer::Raw(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{".to_vec()));
    assert!(world.is_unavailable(), "an answer that breaks off");
    assert!(world.issuers.states(world.now)[0].userinfo.as_ref().unwrap().last_error.is_some());
}

#[test]
fn a_failure_is_forgotten_soon() {
    let world = World::new().answers(500, "", "");
    assert!(world.is_unavailable() && world.is_unavailable());
    assert_eq!(world.calls(), 1, "and shared for a second");
    world.server.publish("/userinfo", &json!({"sub": "E4711", "ameise/permissions": []}));
    assert_eq!(world.complete_at(world.plain(), world.now.plus(1)).unwrap().permissions, Some([].into()));
}

#[test]
fn claims_that_no_principal_can_be_made_of_are_the_issuers_fault() {
    let world = World::with(|issuer| {
        let claims = vec!["orgs".to_owned()];
        issuer.userinfo = Some(Userinfo { endpoint: None, claims, cache: Duration::from_mins(5) });
        issuer.claims.organizations = vec![ClaimPath::top("orgs")];
    });
    world.server.publish("/userinfo", &json!({"sub": "E4711", "orgs": "o1"}));
    assert!(world.is_unavailable());
}

#[test]
fn an_issuer_that_names_no_endpoint_cannot_be_asked() {
    let world = World::new();
    let origin = world.server.origin();
    let document = json!({"issuer": origin, "jwks_uri": format!("{origin}/jwks")});
    world.server.publish("/.well-known/openid-configuration", &document);
    assert!(world.is_unavailable());
    let other = json!({"issuer": "https://other.example", "userinfo_endpoint": format!("{origin}/userinfo")});
    world.server.publish("/.well-known/openid-configuration", &other);
    let outcome = world.complete(&world.token(&json!({"jti": "2"})));
    assert!(matches!(outcome, Err(Failure::Unavailable { .. })), "metadata of another issuer do not count");
    assert_eq!(world.calls(), 0);
}

#[test]
fn an_endpoint_of_the_configuration_needs_no_discovery() {
    let elsewhere = Server::plain();
    elsewhere.publish("/who", &json!({"sub": "E4711", "ameise/permissions": ["x"]}));
    let url = format!("{}/who", elsewhere.origin());
    let world = World::with(|issuer| issuer.userinfo.as_mut().unwrap().endpoint = Some(url));
    assert_eq!(world.whole().permissions, Some(["x"].into()));
    assert_eq!((world.calls(), elsewhere.asked("/who")), (0, 1));
}

#[test]
fn a_signed_answer_is_verified_like_a_token_openid_connect_core_5_3_2() {
    let world = World::new();
    let now = world.now.0;
    let signed = |header: &str, changes: Value| {
        let mut all = json!({"iss": world.server.origin(), "aud": "web", "sub": "E4711", "ameise/permissions": ["x"]});
        for (name, value) in changes.as_object().unwrap() {
            all[name] = value.clone();
        }
        KEYS.token("ES256", header, &all.to_string())
    };
    let header = r#"{"alg":"ES256","kid":"p256"}"#;
    let jwt = "Content-Type: application/jwt\r\n";
    let ask = |number: usize, body: &str| {
        world.server.answer("/userinfo", Answer::Say(200, jwt.to_owned(), body.as_bytes().to_vec()));
        world.complete(&world.token(&json!({"jti": number.to_string()})))
    };
    let good =
        [json!({}), json!({"aud": ["other", AUDIENCE]}), json!({"exp": now + 60, "iat": now + 30, "nbf": now + 30})];
    for (number, changes) in good.into_iter().enumerate() {
        let whole =
            ask(number, &signed(header, changes.clone())).unwrap_or_else(|failure| panic!("{changes}: {failure}"));
        assert_eq!(whole.permissions, Some(["x"].into()));
    }
    let fine = signed(header, json!({}));
    let (rest, _) = fine.rsplit_once('.').unwrap();
    let (start, payload) = rest.split_once('.').unwrap();
    let bad = [
        signed(header, json!({"iss": "https://other.example"})),
        signed(header, json!({"aud": "other"})),
        signed(header, json!({"aud": null})),
        signed(header, json!({"exp": now - 60})),
        signed(header, json!({"nbf": now + 60})),
        signed(header, json!({"iat": now + 60})),
        signed(r#"{"alg":"ES256","kid":"p384"}"#, json!({})),
        signed(r#"{"alg":"none"}"#, json!({})),
        signed(r#"{"alg":"HS256","kid":"p256"}"#, json!({})),
        signed(r#"{"alg":"ES256","kid":"p256","crit":["exp"]}"#, json!({})),
        signed(r#"{"alg":"ES256","kid":"nobody"}"#, json!({})),
        format!("{rest}."),
        format!("{rest}.{}", crate::minting::encode(&[1; 64])),
        format!("{start}.{payload}"),
        format!("{start}..{payload}.x.y"),
        r#"{"sub":"E4711"}"#.to_owned(),
    ];
    for (number, body) in bad.iter().enumerate() {
        let outcome = ask(100 + number, body);
        assert!(matches!(outcome, Err(Failure::Unavailable { .. })), "{number}: {outcome:?}");
    }
    let outcome = ask(200, &signed(header, json!({"sub": "E4712"})));
    assert!(
        matches!(outcome, Err(Failure::Invalid(ref invalid)) if invalid.fault == Fault::UserinfoSubject),
        "{outcome:?}"
    );
}
