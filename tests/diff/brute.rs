//! `compare` against enumeration: random pairs of small documents, and every request and principal of a world in which
//! every constant of those documents occurs, in every place, beside values that occur in none.

use std::env;
use std::fmt::Write as _;
use std::net::{IpAddr, Ipv4Addr};

use http::HeaderMap;
use serde_json::{Value, json};
use torwart::policy::analysis::{Change, MOMENT, Wanted, compare};
use torwart::policy::{Caller, Decision, Head};
use torwart::principal::{Claims, Flow, Principal};
use torwart::target::{Authority, Scheme};

use super::support::{Any, World};

/// Numbers without a pattern that anybody could see (xorshift64*).
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        let drawn = self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33;
        usize::try_from(drawn).unwrap() % sides
    }

    fn one<'a, T: ?Sized>(&mut self, of: &[&'a T]) -> &'a T {
        of.get(self.roll(of.len())).unwrap()
    }
}

/// What the documents of a pair ask about: everything else has one value in their world.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Feature {
    Subject,
    Client,
    Scope,
    Organization,
    Permission,
    Claim,
    Network,
    Query,
    Age,
    Issuer,
}

const FEATURES: [Feature; 10] = [
    Feature::Subject,
    Feature::Client,
    Feature::Scope,
    Feature::Organization,
    Feature::Permission,
    Feature::Claim,
    Feature::Network,
    Feature::Query,
    Feature::Age,
    Feature::Issuer,
];

const PATHS: [(&str, &[&str]); 7] = [
    ("/a/{id}", &["id"]),
    ("/a/b", &[]),
    ("/{x}/b", &["x"]),
    ("/a/{id}/c", &["id"]),
    ("/a/{*rest}", &[]),
    ("/f-{id}", &["id"]),
    ("/{x}", &["x"]),
];

fn condition(dice: &mut Dice, features: &[Feature], captures: &[&str], depth: usize) -> String {
    let nested = if depth == 0 { 0 } else { dice.roll(5) };
    match nested {
        1 | 2 => {
            let parts: Vec<String> =
                (0..2).map(|_| format!("{{{}}}", condition(dice, features, captures, depth - 1))).collect();
            format!("{}: [{}]", if nested == 1 { "any_of" } else { "all_of" }, parts.join(", "))
        }
        3 => format!("not: {{{}}}", condition(dice, features, captures, 0)),
        _ => single(dice, features, captures),
    }
}

fn single(dice: &mut Dice, features: &[Feature], captures: &[&str]) -> String {
    let feature = features.get(dice.roll(features.len())).copied().unwrap();
    let template = |dice: &mut Dice| match captures.first() {
        Some(capture) if dice.roll(3) > 0 => format!("\"{{{capture}}}\""),
        _ if features.contains(&Feature::Query) => "\"{query.q}\"".to_owned(),
        Some(capture) => format!("\"{{{capture}}}\""),
        None => "\"t1\"".to_owned(),
    };
    match feature {
        Feature::Subject => match dice.roll(3) {
            0 => "subject: t1".to_owned(),
            1 => format!("subject: [t2, {}]", template(dice)),
            _ => format!("subject: {}", template(dice)),
        },
        Feature::Client => match dice.roll(4) {
            0 => "client: t1".to_owned(),
            1 => "client: [t1, t2]".to_owned(),
            2 => format!("client: {}", template(dice)),
            _ => format!("flow: {}", dice.one(&["user", "client_credentials"])),
        },
        Feature::Scope => {
            dice.one(&["scope: x", "scope: y", "scope: {all_of: [x, y]}", "scope: {any_of: [x, y]}"]).to_owned()
        }
        Feature::Organization => match template(dice) {
            text if dice.roll(4) > 0 && text.contains('{') => format!("organization: {text}"),
            _ => format!("global: {}", dice.one(&["true", "false"])),
        },
        Feature::Permission => {
            dice.one(&["permission: p", "permission: {any_of: [p, q]}", "permission: {all_of: [p, q]}"]).to_owned()
        }
        Feature::Claim => match dice.roll(6) {
            0 => "claim: {c: {equals: t1}}".to_owned(),
            1 => "claim: {c: {one_of: [t1, 7]}}".to_owned(),
            2 => "claim: {c: {exists: true}}".to_owned(),
            3 => "claim: {c: {contains: t1}}".to_owned(),
            4 => format!("claim: {{c: {{contains: {}}}}}", template(dice)),
            _ => format!("claim: {{c: {{equals: {}}}}}", template(dice)),
        },
        Feature::Network => {
            let networks = ["[10.0.0.0/8]", "[10.1.0.0/16]", "[10.1.0.0/16, 192.168.0.0/16]"];
            format!("network: {}", dice.one(&networks))
        }
        Feature::Query => dice
            .one(&[
                "request: {query.q: t1}",
                "request: {query.q: [t1, t2]}",
                "request: {query.q: present}",
                "request: {query.q: absent}",
            ])
            .to_owned(),
        Feature::Age => dice.one(&["authentication: {max_age: 5m}", "authentication: {max_age: 10m}"]).to_owned(),
        Feature::Issuer => dice.one(&["issuer: one", "issuer: two", "issuer: [one, two]"]).to_owned(),
    }
}

/// The parts of a document that can be changed one by one.
#[derive(Debug, Clone)]
struct Draft {
    issuers: &'static str,
    client_credentials: &'static str,
    forward: &'static str,
    routes: Vec<(usize, String, &'static str)>,
}

fn draft(dice: &mut Dice, features: &[Feature]) -> Draft {
    let mut routes: Vec<(usize, String, &'static str)> = Vec::new();
    for _ in 0..=dice.roll(3) {
        let path = dice.roll(PATHS.len());
        if routes.iter().all(|(known, ..)| *known != path) {
            routes.push(route(dice, features, path));
        }
    }
    Draft {
        issuers: if features.contains(&Feature::Issuer) { dice.one(&["[one]", "[one, two]"]) } else { "[one]" },
        client_credentials: bypass(dice, features),
        forward: forward(dice, features),
        routes,
    }
}

fn bypass(dice: &mut Dice, features: &[Feature]) -> &'static str {
    if !features.contains(&Feature::Client) {
        return "enforce";
    }
    dice.one(&[
        "enforce",
        "enforce",
        "deny",
        "bypass",
        "{bypass: [t1]}",
        "{bypass: [t1, t2], lift: [subject, client_lift]}",
    ])
}

fn forward(dice: &mut Dice, features: &[Feature]) -> &'static str {
    if dice.roll(2) == 0 {
        return "{}";
    }
    if features.contains(&Feature::Query) && dice.roll(2) == 0 {
        return "{headers: {X-Q: '{query.q}'}}";
    }
    dice.one(&[
        "{headers: {X-A: fixed}}",
        "{headers: {X-A: '{subject}'}}",
        "{identity_headers: [subject, client]}",
        "{identity_headers: none}",
        "{query: {by: '{client}'}}",
        "{timeout: 5s}",
        "{authorization: keep}",
    ])
}

fn route(dice: &mut Dice, features: &[Feature], path: usize) -> (usize, String, &'static str) {
    let captures = PATHS.get(path).unwrap().1;
    let mut entries: Vec<String> = Vec::new();
    for _ in 0..=dice.roll(2) {
        let entry = condition(dice, features, captures, 2);
        let key = entry.split(':').next().unwrap().to_owned();
        if entries.iter().all(|known| known.split(':').next() != Some(&key)) {
            entries.push(entry);
        }
    }
    let require = if dice.roll(12) == 0 { "authenticated".to_owned() } else { format!("{{{}}}", entries.join(", ")) };
    let kind = dice.one(&["", "", "", "int", "slug", "{regex: 't[0-9]'}"]);
    (path, require, if captures.is_empty() { "" } else { kind })
}

impl Draft {
    /// The same with one part made anew.
    fn changed(&self, dice: &mut Dice, features: &[Feature]) -> Self {
        let mut other = self.clone();
        match dice.roll(8) {
            0 => other.issuers = draft(dice, features).issuers,
            1 => other.client_credentials = bypass(dice, features),
            2 => other.forward = forward(dice, features),
            3 => return draft(dice, features),
            4 => {
                other.routes.pop();
                if other.routes.is_empty() {
                    return draft(dice, features);
                }
            }
            5 => {
                let path = dice.roll(PATHS.len());
                if other.routes.iter().all(|(known, ..)| *known != path) {
                    other.routes.push(route(dice, features, path));
                }
            }
            _ => {
                let at = dice.roll(other.routes.len());
                let path = other.routes.get(at).unwrap().0;
                *other.routes.get_mut(at).unwrap() = route(dice, features, path);
            }
        }
        other
    }

    fn text(&self) -> String {
        let lift = self.client_credentials.replace("subject, client_lift", "subject, claim, permission");
        let mut text = format!(
            "version: 1\npolicy: p\nhosts: [h.test]\nupstream: u\nissuers: {}\nclient_credentials: {lift}\nforward: {}\nroutes:\n",
            self.issuers, self.forward
        );
        for (path, require, kind) in &self.routes {
            let (path, captures) = PATHS.get(*path).unwrap();
            let params = match captures.first() {
                Some(capture) if !kind.is_empty() => format!("params: {{{capture}: {kind}}}, "),
                _ => String::new(),
            };
            writeln!(text, "  - {{path: '{path}', methods: [GET], {params}require: {require}}}").unwrap();
        }
        text
    }
}

/// Each of these with each value in its place.
fn with<T: Clone, V>(all: &[T], values: &[V], set: impl Fn(&mut T, &V)) -> Vec<T> {
    let one = |whole: &T, value: &V| {
        let mut whole = whole.clone();
        set(&mut whole, value);
        whole
    };
    all.iter().flat_map(|whole| values.iter().map(move |value| (whole, value))).map(|(t, v)| one(t, v)).collect()
}

fn list(items: &[&str]) -> Vec<String> {
    items.iter().map(|item| (*item).to_owned()).collect()
}

/// Everything that tokens of an issuer can say, as far as the features tell it apart.
fn tokens(issuer: &str, features: &[Feature]) -> Vec<Wanted> {
    let has = |feature| features.contains(&feature);
    let mut all = vec![Wanted {
        issuer: issuer.into(),
        subject: Some("z".to_owned()),
        client: Some("k".to_owned()),
        scopes: vec!["o".to_owned()],
        permissions: None,
        organizations: None,
        global: None,
        flow: Flow::User,
        acr: None,
        authenticated_at: None,
        claims: Claims::new(),
    }];
    if has(Feature::Subject) {
        all = with(&all, &[Some("t1".to_owned()), Some("t2".to_owned()), Some("z".to_owned()), None], |one, value| {
            one.subject.clone_from(value);
        });
    }
    if has(Feature::Client) {
        let clients = [Some("t1".to_owned()), Some("t2".to_owned()), Some("z".to_owned()), Some("w".to_owned()), None];
        all = with(&all, &clients, |one, value| one.client.clone_from(value));
    }
    if has(Feature::Client) || has(Feature::Subject) {
        let flows = [Flow::User, Flow::ClientCredentials, Flow::Unknown];
        all = with(&all, &flows, |one, value| one.flow = *value);
    }
    if has(Feature::Scope) {
        let scopes = [list(&[]), list(&["x"]), list(&["y"]), list(&["x", "y"]), list(&["o"])];
        all = with(&all, &scopes, |one, value| one.scopes.clone_from(value));
    }
    if has(Feature::Permission) {
        let permissions = [None, Some(list(&[])), Some(list(&["p"])), Some(list(&["q"])), Some(list(&["p", "q"]))];
        all = with(&all, &permissions, |one, value| one.permissions.clone_from(value));
    }
    if has(Feature::Organization) {
        let organizations = [
            (None, None),
            (Some(true), None),
            (Some(false), None),
            (None, Some(list(&[]))),
            (None, Some(list(&["t1"]))),
            (None, Some(list(&["z"]))),
            (Some(false), Some(list(&["t1", "z"]))),
            (Some(false), Some(list(&["w"]))),
        ];
        all = with(&all, &organizations, |one, value| (one.global, one.organizations) = value.clone());
    }
    if has(Feature::Claim) {
        let some =
            [json!("t1"), json!("z"), json!(7), json!({}), json!([]), json!(["t1"]), json!(["z"]), json!(["z", "t1"])];
        let claims: Vec<Option<Value>> = some.into_iter().map(Some).chain([None]).collect();
        all = with(&all, &claims, |one, value| {
            one.claims = value.iter().map(|value| ("c".to_owned(), value.clone())).collect();
        });
    }
    if has(Feature::Age) {
        let ages = [None, Some(300), Some(301), Some(600), Some(601)];
        all = with(&all, &ages, |one, value| one.authenticated_at = value.map(|age: i64| MOMENT.plus(-age)));
    }
    all
}

/// Everybody who can ask.
fn callers(world: &World, features: &[Feature]) -> Vec<(Option<Principal>, Option<IpAddr>)> {
    let issuers = if features.contains(&Feature::Issuer) { 2 } else { 1 };
    let principals: Vec<Option<Principal>> = world
        .issuers
        .iter()
        .take(issuers)
        .flat_map(|issuer| tokens(&issuer.name, features).into_iter().map(|wanted| Some(wanted.principal(issuer))))
        .collect();
    let address = |a, b| Some(IpAddr::V4(Ipv4Addr::new(a, b, 0, 1)));
    let all: Vec<_> = principals.into_iter().map(|principal| (principal, None)).collect();
    if !features.contains(&Feature::Network) {
        return all;
    }
    let addresses = [None, address(10, 0), address(10, 1), address(192, 168), address(8, 8)];
    with(&all, &addresses, |one, value| one.1 = *value)
}

fn targets(features: &[Feature]) -> Vec<String> {
    let texts = ["a", "b", "c", "B", "f-t1", "f-z", "t1", "t2", "z", "7"];
    let mut paths: Vec<String> = vec!["/".to_owned(), "/a/".to_owned()];
    for one in texts {
        paths.push(format!("/{one}"));
        for two in texts {
            paths.push(format!("/{one}/{two}"));
        }
        if one == "a" {
            paths.extend(texts.iter().flat_map(|two| ["c", "z"].map(|three| format!("/a/{two}/{three}"))));
        }
    }
    if !features.contains(&Feature::Query) {
        return paths;
    }
    let queries = ["", "?q=t1", "?q=t2", "?q=z", "?q=7", "?q=", "?q=t1&q=t2", "?q=t1&q=z", "?Q=t1"];
    paths.iter().flat_map(|path| queries.map(|query| format!("{path}{query}"))).collect()
}

/// What becomes of a request, as far as it counts.
fn outcome(world: &World, decision: &Decision) -> Option<String> {
    let Decision::Allow(permit) = decision else { return None };
    let mut headers: Vec<String> = permit
        .headers()
        .map(|(name, value)| {
            let is_name = name == "x-auth-route" || name == "x-auth-policy";
            if is_name { name.to_string() } else { format!("{name}: {value:?}") }
        })
        .collect();
    headers.sort();
    let upstream = world.upstreams.get(permit.upstream());
    let rest = (permit.removes(), permit.authorization(), permit.timeout());
    Some(format!("{upstream:?} {} {headers:?} {rest:?}", permit.path_and_query()))
}

/// A request of the world that is decided or forwarded differently.
fn enumerated(old: &World, new: &World, features: &[Feature]) -> Option<String> {
    let authority = Authority::parse("h.test", Scheme::Https).unwrap();
    let headers = HeaderMap::new();
    let callers = callers(old, features);
    for target in targets(features) {
        let head = Head::new("GET", &authority, &target, &headers);
        let (Ok(one), Ok(other)) = (old.policies.place(&head), new.policies.place(&head)) else { continue };
        for (principal, address) in &callers {
            let caller = Caller { principal: principal.as_ref(), address: *address, certificate: None, now: MOMENT };
            let (before, after) = (one.decide(&caller), other.decide(&caller));
            if matches!((&before, &after), (Decision::Deny(_), Decision::Deny(_))) {
                continue;
            }
            if outcome(old, &before) != outcome(new, &after) {
                return Some(format!("{target} {address:?} {principal:?}\n{before:?}\n{after:?}"));
            }
        }
    }
    None
}

#[test]
fn what_enumeration_finds_is_found_and_everything_found_is_true() {
    let pairs: u64 = env::var("TORWART_DIFF_PAIRS").ok().and_then(|pairs| pairs.parse().ok()).unwrap_or(40);
    let first: u64 = env::var("TORWART_DIFF_FIRST").ok().and_then(|first| first.parse().ok()).unwrap_or(1);
    let (mut differing, mut same) = (0, 0);
    for seed in first..first + pairs {
        let mut dice = Dice(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1);
        (0..4).for_each(|_| {
            dice.roll(2);
        });
        let features: Vec<Feature> = (0..3).map(|_| *FEATURES.get(dice.roll(FEATURES.len())).unwrap()).collect();
        let before = draft(&mut dice, &features);
        let after = before.changed(&mut dice, &features);
        let (old, new) = (World::new(&before.text()), World::new(&after.text()));
        let found = compare(&old.side(), &new.side(), &Any(&old));
        let enumerated = enumerated(&old, &new, &features);
        let pair = format!("pair {seed}, {features:?}\n{}\n{}", before.text(), after.text());
        if let Some(difference) = &enumerated {
            assert!(!found.is_empty(), "{pair}\nthis was missed: {difference}");
            differing += 1;
        } else {
            same += 1;
        }
        for difference in &found {
            assert!(!matches!(difference.change, Change::Undecided(_)), "{pair}\n{difference:#?}\n{enumerated:?}");
            let scene = &difference.witness.as_ref().unwrap().scene;
            let decided = |world: &World| {
                let head = scene.head();
                let issuer = scene.token.as_ref().map(|token| {
                    let issuer = world.issuers.iter().find(|issuer| issuer.name == token.issuer).unwrap();
                    token.principal(issuer)
                });
                let caller = Caller {
                    principal: issuer.as_ref(),
                    address: scene.address,
                    certificate: scene.certificate.as_ref(),
                    now: MOMENT,
                };
                world.policies.place(&head).ok().and_then(|placed| outcome(world, &placed.decide(&caller)))
            };
            assert_ne!(decided(&old), decided(&new), "{pair}\n{difference:#?}");
        }
    }
    assert!(pairs < 20 || differing > 0 && same > 0, "{differing} pairs differ, {same} do not");
}
