//! Requests of every kind, each with what has to become of it.

use std::time::{Duration, Instant};

use serde_json::json;

use crate::ledger::Fate;
use crate::site::{ALICE, BOB, NUMBERED, OWN, Site};

/// Tokens of each client that only their issuer can read; there are as many that are none.
const OPAQUE: u64 = 100;

/// A request, and what is right.
#[derive(Debug, Clone)]
pub(crate) struct Case {
    pub(crate) name: &'static str,
    pub(crate) method: &'static str,
    pub(crate) host: &'static str,
    pub(crate) target: String,
    /// Names in small letters.
    pub(crate) fields: Vec<(&'static str, String)>,
    pub(crate) body: Vec<u8>,
    pub(crate) right: Right,
    /// Whose faults excuse that it fails: an upstream or an issuer.
    pub(crate) relies_on: &'static str,
}

/// What is right.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Right {
    /// 200, and the upstream saw this target and subject.
    Served { target: String, subject: &'static str },
    /// One of these statuses, and no upstream saw anything.
    Refused(&'static [u16]),
}

impl Case {
    pub(crate) fn fate(&self) -> Fate {
        if matches!(self.right, Right::Served { .. }) { Fate::Served } else { Fate::Refused }
    }

    fn served(name: &'static str, target: impl Into<String>) -> Self {
        let target = target.into();
        let right = Right::Served { target: target.clone(), subject: "" };
        Self { right, ..Self::refused(name, &[], target) }
    }

    fn refused(name: &'static str, statuses: &'static [u16], target: impl Into<String>) -> Self {
        Self {
            name,
            method: "GET",
            host: "api.test",
            target: target.into(),
            fields: Vec::new(),
            body: Vec::new(),
            right: Right::Refused(statuses),
            relies_on: "steady",
        }
    }

    fn with(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.fields.push((name, value.into()));
        self
    }

    fn as_(self, token: &str) -> Self {
        self.with("authorization", format!("Bearer {token}"))
    }

    /// Alice is who the upstream is told of.
    fn alices(mut self) -> Self {
        if let Right::Served { subject, .. } = &mut self.right {
            *subject = ALICE;
        }
        self
    }

    fn post(mut self, kind: &str, body: impl Into<Vec<u8>>) -> Self {
        self.method = "POST";
        self.body = body.into();
        self.with("content-type", kind)
    }

    fn at(mut self, host: &'static str, upstream: &'static str) -> Self {
        (self.host, self.relies_on) = (host, upstream);
        self
    }
}

/// Small random numbers (xorshift).
pub(crate) struct Dice(u64);

impl Dice {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub(crate) fn below(&mut self, most: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 >> 33).expect("31 bits") % most
    }
}

/// One client's requests: whom it asks as, and what it has asked.
pub(crate) struct Catalogue<'s> {
    site: &'s Site,
    pub(crate) dice: Dice,
    number: u64,
    /// The client shows a certificate, so that it is no use to refuse it for having none.
    pub(crate) has_certificate: bool,
    kept: (String, String, Instant),
    counted: String,
    has_asked_once: bool,
}

impl<'s> Catalogue<'s> {
    pub(crate) fn new(site: &'s Site, seed: u64) -> Self {
        let counted = format!("limited-{seed}");
        let kept = (site.alice(&json!({})), site.moving.token(), Instant::now());
        Self {
            site,
            dice: Dice::new(seed),
            number: seed << 32,
            has_certificate: false,
            kept,
            counted,
            has_asked_once: false,
        }
    }

    /// A token of Alice's: mostly one that is remembered, sometimes one that nobody has seen.
    pub(crate) fn alice(&mut self) -> String {
        self.number += 1;
        if self.kept.2.elapsed() > Duration::from_secs(20) {
            self.kept = (self.site.alice(&json!({})), self.site.moving.token(), Instant::now());
        }
        if self.dice.below(8) > 0 {
            return self.kept.0.clone();
        }
        self.site.alice(&json!({"jti": self.number.to_string()}))
    }

    /// The next request.
    pub(crate) fn draw(&mut self) -> Case {
        let alice = self.alice();
        match self.dice.below(10) {
            0..=3 => self.served(&alice),
            4..=5 => self.numbered(&alice),
            6 => self.elsewhere(&alice),
            7 => self.with_a_bad_token(),
            _ => self.refused(&alice),
        }
    }

    fn served(&mut self, alice: &str) -> Case {
        let order = json!({"customer": ALICE, "number": self.number}).to_string();
        let moving = self.kept.1.clone();
        let opaque = format!("good-{ALICE}.{}", self.number % OPAQUE);
        match self.dice.below(12) {
            0 => Case::served("public", "/open/a?x=1"),
            1 => Case::served("public, posted", "/open/a").post("text/plain", "hello"),
            2 => Case::served("me", "/me").as_(alice).alices(),
            3 => Case::served("me, with forged identity", "/me")
                .as_(alice)
                .with("x-auth-subject", "root")
                .with("x_auth_subject", "root")
                .alices(),
            4 => Case::served("customer", format!("/customers/{ALICE}")).as_(alice).alices(),
            5 => Case::served("order", "/orders").as_(alice).post("application/json", order).alices(),
            6 => {
                let mut case = Case::served("list", "/list?page=2").as_(alice).alices();
                let target = format!("/list?page=2&org_uid={OWN}");
                case.right = Right::Served { target, subject: ALICE };
                case
            }
            7 => Case::served("list of one's own", format!("/list?org_uid={OWN}")).as_(alice).alices(),
            8 => Case::served("organisation", format!("/organization?org={OWN}")).as_(alice).alices(),
            9 => Case::served("another issuer", "/me").as_(&moving).alices(),
            10 => Case::served("another issuer's route", "/issuer").as_(&moving).alices(),
            _ => Case { relies_on: "opaque", ..Case::served("opaque", "/me").as_(&opaque).alices() },
        }
    }

    fn numbered(&mut self, alice: &str) -> Case {
        let number = self.dice.below(NUMBERED);
        let customer = if self.dice.below(4) > 0 { ALICE } else { BOB };
        let target = format!("/v1/r{number}/{customer}");
        if number % 8 < 4 && customer == ALICE {
            return Case::served("numbered", target).as_(alice).alices();
        }
        Case::refused("numbered, refused", &[403], target).as_(alice)
    }

    /// At upstreams that are not always well.
    fn elsewhere(&mut self, alice: &str) -> Case {
        let (host, upstream) = if self.dice.below(2) == 0 { ("pair.test", "pair") } else { ("shaky.test", "shaky") };
        match self.dice.below(5) {
            0 => Case::refused("somebody else's, elsewhere", &[403], format!("/customers/{BOB}")).as_(alice),
            1 => Case::served("posted elsewhere", format!("/customers/{ALICE}"))
                .as_(alice)
                .post("text/plain", "x")
                .alices(),
            2 => Case::served("public elsewhere", "/open/b"),
            _ => Case::served("customer elsewhere", format!("/customers/{ALICE}")).as_(alice).alices(),
        }
        .at(host, upstream)
    }

    fn with_a_bad_token(&mut self) -> Case {
        let (site, number) = (self.site, self.number.to_string());
        let refused = |name, token: &str| Case::refused(name, &[401], "/me").as_(token);
        match self.dice.below(9) {
            0 => Case::refused("no token", &[401], "/me"),
            1 => refused("expired", &site.alice(&json!({"exp": crate::site::seconds() - 5}))),
            2 => refused("not yet", &site.alice(&json!({"nbf": crate::site::seconds() + 30}))),
            3 => refused("another audience", &site.alice(&json!({"aud": "https://other.test"}))),
            4 => {
                let token = site.alice(&json!({"iss": site.moving.server.origin()}));
                // Whether that issuer has such a key is not known while the fetch that it causes hangs.
                Case::refused("another issuer's name", &[401, 503], "/me").as_(&token)
            }
            5 => {
                let good = site.alice(&json!({"jti": number}));
                refused("forged", &format!("{}.{}", good.rsplit_once('.').expect("a token").0, "A".repeat(86)))
            }
            6 => {
                let claims = json!({"iss": site.moving.server.origin(), "sub": ALICE});
                // The fetch that it causes may take as long as anybody waits.
                Case::refused("a random key", &[401, 503], "/me").as_(&site.issuer.token_by(&number, &claims))
            }
            7 => Case {
                relies_on: "opaque",
                ..Case::refused("inactive", &[401], "/me").as_(&format!("bad-{}", self.number % OPAQUE))
            },
            _ => Case::refused("two tokens", &[400], "/me").as_(&self.kept.0).as_(&self.kept.0),
        }
    }

    fn refused(&mut self, alice: &str) -> Case {
        if self.dice.below(3) == 0 { self.malformed(alice) } else { self.denied(alice) }
    }

    /// One for each condition.
    fn denied(&mut self, alice: &str) -> Case {
        let no = |name, target: &str| Case::refused(name, &[403], target).as_(alice);
        match self.dice.below(19) {
            0 => no("issuer", "/issuer"),
            1 if self.has_certificate => Case::served("certificate", "/certificate").as_(alice).alices(),
            1 => no("certificate", "/certificate"),
            2 => no("network", "/network"),
            3 => no("flow", "/flow"),
            4 => no("client", "/client"),
            5 => Case::refused("authentication", &[401], "/authentication").as_(alice),
            6 => no("scope", "/admin/x"),
            7 => no("permission", "/permission"),
            8 => no("global", "/global"),
            9 => no("organization", &format!("/organization?org={BOB}")),
            10 => no("narrow", &format!("/list?org_uid={BOB}")),
            11 => no("subject", &format!("/customers/{BOB}")),
            12 => no("claim", "/claim"),
            13 => no("request", "/request").with("x-version", "3"),
            14 => no("any_of", "/any"),
            15 => no("not", "/not"),
            16 => no("forward", "/forward"),
            17 => {
                let long = self.site.alice(&json!({"sub": "x".repeat(600)}));
                Case::refused("identity-too-large", &[403], "/me").as_(&long)
            }
            _ => {
                let token = self.site.alice(&json!({"sub": self.counted}));
                if std::mem::replace(&mut self.has_asked_once, true) {
                    return Case::refused("limit", &[429], "/limited").as_(&token);
                }
                let mut case = Case::served("the one that the limit allows", "/limited").as_(&token);
                case.right = Right::Served { target: "/limited".into(), subject: "?" };
                case
            }
        }
    }

    fn malformed(&mut self, alice: &str) -> Case {
        let order = |kind: &str, body: String| Case::refused("body", &[400], "/orders").as_(alice).post(kind, body);
        let with = |case: Case, name, statuses| Case { name, right: Right::Refused(statuses), ..case };
        match self.dice.below(12) {
            0 => Case::refused("ambiguous-path", &[400], "/open/..;/admin/x"),
            1 => {
                Case::refused("ambiguous-parameter", &[400], format!("/organization?org={OWN}&org[]={BOB}")).as_(alice)
            }
            2 => {
                let case = Case::refused("ambiguous-header", &[400], "/request");
                case.with("x-version", "2").with("x_version", "3")
            }
            3 => Case::refused("value-type", &[400], "/organization?org=x").as_(alice),
            4 => order("application/json", format!("{{\"customer\":\"{BOB}\",\"customer\":\"{ALICE}\"}}")),
            5 => with(order("application/json", " ".repeat(20_000)), "body-too-large", &[413]),
            6 => with(order("text/plain", json!({"customer": ALICE}).to_string()), "unreadable-body", &[415]),
            7 => Case::refused("no-route", &[404], "/nothing").as_(alice),
            8 => Case { method: "DELETE", ..Case::refused("method", &[405], "/me").as_(alice) },
            9 => with(order("application/json", json!({"customer": BOB}).to_string()), "somebody else's order", &[403]),
            10 => Case::refused("too large", &[413], "/small").as_(alice).post("text/plain", "x".repeat(2000)),
            _ => Case { host: "nobody.test", ..Case::refused("misdirected", &[421], "/me").as_(alice) },
        }
    }
}
