//! What a comparison knows of both sides, what it makes of tokens, and what it tells.

use serde_json::json;

use super::*;
use crate::policy::analysis::tests::{World, document, effect};
use crate::policy::analysis::verdict::{Effect, Refusal};
use crate::principal::{ClaimPath, Flow, IssuerIdentity};
use crate::target::quirks::{MethodOverride, Quirks, Reading};

const ROUTE: &str = "  - {path: /a, methods: [GET], require: {scope: s}}";

fn world(routes: &str) -> World {
    World::new(&document(routes))
}

/// With other issuers than usual; the identities are told to `change` by name.
fn knowing(routes: &str, change: impl Fn(&mut IssuerIdentity)) -> World {
    let mut world = world(routes);
    for issuer in &mut world.issuers {
        change(Arc::make_mut(issuer));
    }
    world
}

/// Tokens as the issuers of each side make them.
struct Each<'w>([&'w World; 2]);

impl Tokens for Each<'_> {
    fn principal(&self, which: Which, wanted: &Wanted) -> Option<Arc<Principal>> {
        let [old, new] = self.0;
        if which == Which::Old { old.principal(which, wanted) } else { new.principal(which, wanted) }
    }

    fn subject_forms(&self) -> Vec<String> {
        Vec::new()
    }
}

fn found(old: &World, new: &World) -> Vec<Difference> {
    compare(&old.side(), &new.side(), &Each([old, new]))
}

fn changes(old: &World, new: &World) -> Vec<Change> {
    found(old, new).into_iter().map(|found| found.change).collect()
}

fn between(old: &str, new: &str) -> Vec<Change> {
    changes(&world(old), &world(new))
}

const MORE: Change = Change::Decision("denied", "allowed");
const LESS: Change = Change::Decision("allowed", "denied");

fn wanted() -> Wanted {
    Wanted {
        issuer: "one".into(),
        subject: Some("me".to_owned()),
        client: Some("app".to_owned()),
        scopes: vec!["s".to_owned(), "t".to_owned()],
        permissions: Some(vec!["p".to_owned(), "q".to_owned()]),
        organizations: Some(vec!["1".to_owned(), "2".to_owned()]),
        global: Some(false),
        flow: Flow::User,
        acr: Some("high".to_owned()),
        authenticated_at: Some(crate::policy::analysis::MOMENT),
        claims: [("c".to_owned(), json!("v"))].into_iter().collect(),
    }
}

#[test]
fn a_principal_is_as_wanted_in_every_part_or_not() {
    let issuer = Arc::new(IssuerIdentity::named(crate::principal::IssuerId(0), "one"));
    let made = |change: &dyn Fn(&mut Wanted)| {
        let mut other = wanted();
        change(&mut other);
        is_as_wanted(&other.principal(&issuer), &wanted())
    };
    assert!(made(&|_| {}));
    // The order of names and what else a token tells make no difference.
    assert!(made(&|other| other.scopes.reverse()));
    assert!(made(&|other| other.permissions.as_mut().unwrap().reverse()));
    assert!(made(&|other| other.organizations.as_mut().unwrap().reverse()));
    assert!(made(&|other| drop(other.claims.insert("d".to_owned(), json!(1)))));
    let others: [fn(&mut Wanted); 16] = [
        |other| other.subject = None,
        |other| other.subject = Some("you".to_owned()),
        |other| other.client = None,
        |other| other.flow = Flow::Unknown,
        |other| other.global = None,
        |other| other.global = Some(true),
        |other| other.acr = None,
        |other| other.authenticated_at = None,
        |other| drop(other.scopes.pop()),
        |other| other.scopes.push("u".to_owned()),
        |other| other.permissions = None,
        |other| drop(other.permissions.as_mut().unwrap().pop()),
        |other| other.organizations = None,
        |other| other.organizations.as_mut().unwrap().push("3".to_owned()),
        |other| drop(other.claims.insert("c".to_owned(), json!("w"))),
        |other| other.claims.clear(),
    ];
    for (number, change) in others.into_iter().enumerate() {
        assert!(!made(&change), "{number}");
    }
}

/// Tokens of which one side's issuer makes something else.
struct Stubborn<'w> {
    world: &'w World,
    side: Which,
}

impl Tokens for Stubborn<'_> {
    fn principal(&self, which: Which, wanted: &Wanted) -> Option<Arc<Principal>> {
        let mut made = wanted.clone();
        if which == self.side {
            made.scopes.clear();
        }
        self.world.principal(which, &made)
    }

    fn subject_forms(&self) -> Vec<String> {
        Vec::new()
    }
}

#[test]
fn a_replayed_request_says_whether_its_token_is_the_one_that_was_wanted() {
    let (old, new) = (world(ROUTE), world(&ROUTE.replace("scope: s", "scope: t")));
    let (old_side, new_side) = (old.side(), new.side());
    let sides = Sides { old: &old_side, new: &new_side };
    let frame = Frame {
        method: "GET".to_owned(),
        host: "api.example.com".to_owned(),
        label: false,
        pieces: vec![crate::policy::analysis::scene::Piece::Fixed("a".to_owned())],
        tail: false,
        charset: crate::target::quirks::Charset::Utf8,
    };
    let scene = |token| Scene { token, ..frame.scene(&Choice::new(), &[]).unwrap() };
    let ask = |tokens: &dyn Tokens, token| {
        let comparison = Comparison { sides, tokens, issuers: names(&sides), found: Vec::new() };
        let told = comparison.replay(&scene(token));
        told.map(|(old, new, exact)| (old.as_str(), new.as_str(), exact))
    };
    let scoped = |issuer: &str| Some(Wanted { issuer: issuer.into(), scopes: vec!["s".to_owned()], ..wanted() });
    assert_eq!(ask(&old, scoped("one")), Some(("allowed", "denied", true)));
    assert_eq!(ask(&old, None), Some(("denied", "denied", true)));
    assert_eq!(ask(&old, scoped("nobody")), Some(("denied", "denied", true)), "no side knows it: there is no token");
    let stubborn = |side| Stubborn { world: &old, side };
    assert_eq!(ask(&stubborn(Which::Old), scoped("one")), Some(("denied", "denied", false)));
    assert_eq!(ask(&stubborn(Which::New), scoped("one")), Some(("allowed", "denied", false)));
}

#[test]
fn an_issuer_of_one_side_alone_has_no_token_on_the_other() {
    let (mut old, new) = (world(ROUTE), World::new(&document(ROUTE).replace("[one]", "[one, two]")));
    old.issuers.pop();
    let found = found(&old, &new);
    let [more] = found.as_slice() else { panic!("{found:#?}") };
    assert_eq!(more.change, MORE);
    assert_eq!(&*more.witness.as_ref().unwrap().scene.token.as_ref().unwrap().issuer, "two");
    assert_eq!(changes(&new, &old), [LESS]);
}

#[test]
fn issuers_are_named_once() {
    let (old, mut new) = (world(ROUTE), world(ROUTE));
    new.issuers.push(Arc::new(IssuerIdentity::named(crate::principal::IssuerId(2), "three")));
    let (old_side, new_side) = (old.side(), new.side());
    let named = names(&Sides { old: &old_side, new: &new_side });
    assert_eq!(named.iter().map(|name| &**name).collect::<Vec<_>>(), ["one", "two", "three"]);
}

/// What an issuer may compare without case, of subjects, clients and claims.
const FOLDING: [fn(&mut IssuerIdentity); 3] = [
    |issuer| issuer.subject_folds = true,
    |issuer| issuer.client_folds = true,
    |issuer| issuer.case_insensitive = vec![ClaimPath(["c".to_owned()].into())],
];

#[test]
fn one_issuer_that_compares_without_case_is_enough() {
    let plain = world(ROUTE);
    let folds = |old: &World, new: &World| {
        let (old_side, new_side) = (old.side(), new.side());
        let sides = Sides { old: &old_side, new: &new_side };
        Comparison { sides, tokens: &plain, issuers: Vec::new(), found: Vec::new() }.folds()
    };
    assert!(!folds(&plain, &plain));
    for change in FOLDING {
        let other = knowing(ROUTE, |issuer| {
            if &*issuer.name == "two" {
                change(issuer);
            }
        });
        assert!(folds(&plain, &other) && folds(&other, &plain));
    }
}

#[test]
fn values_that_an_issuer_takes_for_the_same_are_the_same() {
    let asking = |what: &str| format!("  - {{path: /a, methods: [GET], require: {{{what}}}}}");
    for (what, change) in ["subject: NAME", "client: NAME", "claim: {c: {equals: NAME}}"].into_iter().zip(FOLDING) {
        let (small, large) = (asking(&what.replace("NAME", "ab")), asking(&what.replace("NAME", "Ab")));
        assert_eq!(between(&small, &large).len(), 2, "{what}");
        assert_eq!(changes(&knowing(&small, change), &knowing(&large, change)), [], "{what}");
        let either = asking(&what.replace("NAME", "[ab, cd]").replace("equals", "one_of"));
        assert_eq!(changes(&knowing(&small, change), &knowing(&either, change)), [MORE], "{what}");
        // What is compared without case on one side alone.
        assert_eq!(changes(&knowing(&small, |_| {}), &knowing(&small, change)), [MORE], "{what}");
        assert_eq!(changes(&knowing(&small, change), &knowing(&small, |_| {})), [LESS], "{what}");
    }
}

#[test]
fn what_one_issuer_takes_for_the_same_another_does_not() {
    let folding = |routes: &str, change: fn(&mut IssuerIdentity)| {
        let mut world = World::new(&document(routes).replace("[one]", "[one, two]"));
        change(Arc::make_mut(&mut world.issuers[0]));
        world
    };
    let asking = |what: &str| format!("  - {{path: /a, methods: [GET], require: {{{what}}}}}");
    for (what, change) in ["subject: NAME", "client: NAME", "claim: {c: {one_of: NAME}}"].into_iter().zip(FOLDING) {
        let (one, both) = (asking(&what.replace("NAME", "[ab]")), asking(&what.replace("NAME", "[ab, AB]")));
        let found = found(&folding(&one, change), &folding(&both, change));
        let [more] = found.as_slice() else { panic!("{what}: {found:#?}") };
        assert_eq!(more.change, MORE, "{what}");
        assert_eq!(&*more.witness.as_ref().unwrap().scene.token.as_ref().unwrap().issuer, "two", "{what}");
    }
    // What a parameter is kept to is compared as the token's issuer does.
    for (to, change) in ["subject", "client"].into_iter().zip(FOLDING) {
        let other = if to == "subject" { "client" } else { "subject" };
        let names = format!(
            "scope: s, permission: p, {other}: [a, b, c, d, e, f], authentication: {{acr: [g, h, i, j, k, l]}}"
        );
        let kept = format!("{to}: ab, request: {{query.own: [AB]}}, {names}}}, narrow: {{query.own: {to}");
        let found = found(&folding(&asking(&kept), change), &folding(&asking(&format!("issuer: one, {kept}")), change));
        assert!(found.is_empty(), "{to}: {found:#?}");
    }
}

#[test]
fn headers_that_override_the_method_are_read_differently() {
    let reading = |method_override| {
        World::within(&document(ROUTE), |surroundings| {
            let quirks = Quirks { method_override, ..Quirks::default() };
            surroundings.upstreams.iter_mut().for_each(|facts| facts.quirks = quirks);
        })
    };
    let (refusing, ignoring) = (reading(MethodOverride::Unknown), reading(MethodOverride::Ignore));
    for world in [&refusing, &ignoring] {
        assert_eq!(changes(world, world), []);
    }
    let found = found(&refusing, &ignoring);
    let told: Vec<&Difference> = found
        .iter()
        .filter(|found| matches!(&found.change, Change::Undecided(why) if why.contains("`quirks.method_override`")))
        .collect();
    let [told] = told.as_slice() else { panic!("{found:#?}") };
    assert_eq!((&told.hosts[..], &told.methods[..]), (&["api.example.com".to_owned()][..], &[][..]));
    assert!(told.old.is_none() && told.new.is_none() && told.witness.is_none());
    // Where one side has no such host there is nothing to be read.
    let elsewhere = World::new(&document(ROUTE).replace("api.example.com", "b.example.com"));
    let gone = changes(&ignoring, &elsewhere);
    assert!(gone.iter().all(|change| matches!(change, Change::Decision(..))), "{gone:?}");
}

#[test]
fn what_is_sent_of_a_path_is_compared_where_paths_have_other_captures() {
    let route = |path: &str, forward: &str| {
        format!(
            "  - {{path: '{path}', methods: [GET], require: {{scope: s}}, unbound: [a, b], forward: {{{forward}}}}}"
        )
    };
    for (forward, part) in [("headers: {X-A: '{a}'}", Part::Headers), ("query: {k: '{a}'}", Part::Target)] {
        let found = between(&route("/{a}/{b}", forward), &route("/{b}/{a}", forward));
        assert_eq!(found, [Change::Effect(vec![part])], "{forward}");
        assert_eq!(between(&route("/{a}/{b}", forward), &route("/{a}/{b}", forward)), []);
    }
    for forward in ["headers: {X-A: '{query.q}'}", "headers: {X-A: b}", "timeout: 3s"] {
        assert_eq!(between(&route("/{a}/{b}", forward), &route("/{b}/{a}", forward)), [], "{forward}");
    }
}

#[test]
fn a_capture_that_is_another_part_of_the_path_is_another_value() {
    let route = |path: &str| {
        format!(
            "  - {{path: '{path}', name: n, methods: [GET], require: {{scope: s}}, unbound: [a], forward: {{headers: {{X-A: '{{a}}'}}}}}}"
        )
    };
    let found = found(&world(&route("/file.{a}")), &world(&route("/{a}")));
    let both = found.iter().find(|found| found.old.is_some() && found.new.is_some());
    assert_eq!(both.unwrap_or_else(|| panic!("{found:#?}")).change, Change::Effect(vec![Part::Headers]));
}

#[test]
fn a_token_in_a_witness_says_no_more_than_is_asked_for() {
    let found = found(&world(ROUTE), &world(&ROUTE.replace("scope: s", "scope: t")));
    for found in &found {
        let token = found.witness.as_ref().unwrap().scene.token.as_ref().unwrap();
        assert_eq!((&token.permissions, &token.organizations, token.global), (&None, &None, None));
        assert_eq!(token.scopes.len(), 1, "{token:?}");
    }
    assert_eq!(found.len(), 2);
}

#[test]
fn what_is_told_of_callers_is_nothing_where_nobody_is_known() {
    let route = |names: &str| {
        format!("  - {{path: /a, methods: [GET], require: public, forward: {{identity_headers: {names}}}}}")
    };
    assert_eq!(between(&route("none"), &route("[subject, organizations]")), []);
}

#[test]
fn a_route_that_forwards_whoever_it_is_about_differs_where_that_is_told() {
    let route = |rest: &str| format!("  - {{path: /a, methods: [GET], {rest}}}");
    let public = route("require: public");
    let anybody = route("require: authenticated");
    assert_eq!(between(&public, &anybody)[0], LESS);
    let told = |names: &str| route(&format!("require: authenticated, forward: {{identity_headers: {names}}}"));
    for name in ["scopes", "permissions", "organizations", "global", "subject", "client", "issuer", "flow"] {
        let found = between(&told(&format!("[{name}]")), &told("none"));
        assert_eq!(found, [Change::Effect(vec![Part::Headers])], "{name}");
    }
}

// What is told.

#[test]
fn a_change_is_the_first_thing_that_is_another() {
    let effect = |target: &str| Effect { target: target.to_owned(), ..effect() };
    let refusal = |status| Refusal { status, reason: None, condition: None, place: None };
    let field = |value: &str| vec![("access-control-max-age".to_owned(), value.to_owned())];
    let (a, b) = (Verdict::Allowed(effect("/a")), Verdict::Allowed(effect("/b")));
    let target = Some(Change::Effect(vec![Part::Target]));
    assert_eq!(change(&a, &a), None);
    assert_eq!(change(&a, &b), target);
    assert_eq!(change(&a, &Verdict::Refused(refusal(403))), Some(LESS));
    assert_eq!(change(&Verdict::Refused(refusal(403)), &a), Some(MORE));
    assert_eq!(change(&Verdict::Refused(refusal(403)), &Verdict::Refused(refusal(404))), None);
    let observed = |target| Verdict::Observed(effect(target), refusal(403));
    assert_eq!(change(&observed("/a"), &observed("/b")), target);
    assert_eq!(change(&observed("/a"), &a), Some(Change::Decision("observed", "allowed")));
    let answered = |value| Verdict::Answered(field(value));
    assert_eq!(change(&answered("1"), &answered("1")), None);
    assert_eq!(change(&answered("1"), &answered("2")), Some(Change::Effect(vec![Part::Cors])));
    assert_eq!(change(&answered("1"), &a), Some(Change::Decision("answered", "allowed")));
}

fn told(told: Option<&Told>) -> Vec<&str> {
    told.map_or_else(Vec::new, |told| told.conditions.iter().map(|(text, _)| text.as_str()).collect())
}

#[test]
fn a_route_is_told_with_the_conditions_that_the_other_does_not_have() {
    let route = |require: &str| world(&format!("  - {{path: /a, name: n, methods: [GET], require: {{{require}}}}}"));
    let (old, new) = (route("scope: s, client: app, global: false"), route("scope: s, subject: me"));
    let found = found(&old, &new);
    let more = found.iter().find(|found| found.change == MORE).unwrap();
    // The one that refuses the request comes first, each is told once, those of both sides not at all.
    let (before, after) = (told(more.old.as_ref()), told(more.new.as_ref()));
    assert_eq!(BTreeSet::from_iter(&before), BTreeSet::from([&"client: app", &"global: false"]), "{before:?}");
    assert_eq!(before.len(), 2, "{before:?}");
    assert_eq!(after, ["subject: me"]);
    let refusal = more.witness.as_ref().unwrap().old.refusal().unwrap();
    assert_eq!(refusal.condition.as_deref(), before.first().copied());
    let less = found.iter().find(|found| found.change == LESS).unwrap();
    assert_eq!(told(less.new.as_ref()), ["subject: me"]);
    let route = less.old.as_ref().unwrap();
    assert_eq!((route.policy.as_str(), route.route.as_str()), ("p", "n"));
    assert_eq!(route.place.source.path.to_str(), Some("p.yaml"));
}

#[test]
fn a_route_that_one_side_does_not_have_is_told_with_what_refuses() {
    let other = "  - {path: /b, methods: [GET], require: {scope: s}}";
    let found = found(&world(&format!("{ROUTE}\n{other}")), &world(other));
    let [less] = found.as_slice() else { panic!("{found:#?}") };
    assert_eq!(less.change, LESS);
    assert!(less.new.is_none());
    assert_eq!(told(less.old.as_ref()), [""; 0]);
}

#[test]
fn hosts_are_told_as_some_side_writes_them() {
    let at = |host: &str, scope: &str| {
        World::new(&document(&ROUTE.replace("scope: s", &format!("scope: {scope}"))).replace("api.example.com", host))
    };
    let hosts = |old: &World, new: &World| {
        let found = found(old, new);
        let named: BTreeSet<String> = found.iter().flat_map(|found| found.hosts.clone()).collect();
        named.into_iter().collect::<Vec<_>>()
    };
    assert_eq!(hosts(&at("a.test", "s"), &at("a.test", "t")), ["a.test"]);
    assert_eq!(hosts(&at("a.test", "s"), &at("b.test", "s")), ["a.test", "b.test"]);
    assert_eq!(hosts(&at("'*.a.test'", "s"), &at("'*.a.test'", "t")), ["*.a.test"]);
    assert_eq!(hosts(&at("'*'", "s"), &at("'*'", "t")), ["*"]);
    // The host that only the new side names is another question on the old one.
    assert_eq!(hosts(&at("'*'", "s"), &at("'*', a.test", "t")), ["*", "a.test"]);
}

#[test]
fn what_could_not_be_compared_is_told_with_the_reason() {
    let many: Vec<String> = (0..300).map(|number| format!("v{number}")).collect();
    let listed = format!("subject: ['{{header.x-q}}', {}]", many.join(", "));
    let spelt = format!("any_of: [{{subject: '{{header.x-q}}'}}, {{subject: [{}]}}]", many.join(", "));
    let route = |require: &str| format!("  - {{path: /a, name: n, methods: [GET], require: {{scope: s, {require}}}}}");
    let (one, other) = (world(&route(&listed)), world(&route(&spelt)));
    let found = found(&one, &other);
    let [gap] = found.as_slice() else { panic!("{found:#?}") };
    let why = if let Change::Undecided(why) = &gap.change { why.as_str() } else { "" };
    assert_eq!(why, "a condition compares too many values at once");
    assert!(gap.old.as_ref().is_some_and(|told| told.route == "n") && gap.new.is_some() && gap.witness.is_none());
    assert_eq!((&gap.hosts[..], gap.methods.len()), (&["api.example.com".to_owned()][..], 2));
    // What is written in the same way needs no comparison.
    assert_eq!(changes(&one, &world(&route(&listed).replace("name: n", "name: m"))), []);
}

// How requests are looked for.

/// Tokens that never have a scope.
struct Scopeless<'w>(&'w World);

impl Tokens for Scopeless<'_> {
    fn principal(&self, which: Which, wanted: &Wanted) -> Option<Arc<Principal>> {
        self.0.principal(which, &Wanted { scopes: Vec::new(), ..wanted.clone() })
    }

    fn subject_forms(&self) -> Vec<String> {
        Vec::new()
    }
}

#[test]
fn where_no_token_is_possible_there_is_no_difference_whatever_else_is_asked() {
    let letters: Vec<String> = ('a'..='j').map(|letter| format!("v{letter}")).collect();
    let route = |scopes: &str| {
        let values = letters.join(", ");
        format!(
            "  - {{path: /a, methods: [GET], require: {{scope: {{all_of: [{scopes}]}}, request: {{query.q: [{values}]}}}}}}"
        )
    };
    let (old, new) = (world(&route("s, t")), world(&route("s")));
    assert_eq!(changes(&old, &new), [MORE]);
    let found = compare(&old.side(), &new.side(), &Scopeless(&old));
    assert!(found.is_empty(), "{found:#?}");
}

#[test]
fn what_is_sent_is_told_apart_by_what_it_is_made_of() {
    let route = |require: &str, name: &str| {
        format!(
            "  - {{path: /a, methods: [GET], require: {require}, forward: {{headers: {{X-A: '{{query.{name}}}'}}}}}}"
        )
    };
    // Both parameters may have the same value, and often do; who asks makes no difference.
    let token = "{scope: s, permission: p, client: [a, b, c, d, e, f], subject: [g, h, i, j, k, l], global: false}";
    for require in ["public", token] {
        let found = between(&route(require, "a"), &route(require, "b"));
        assert_eq!(found, [Change::Effect(vec![Part::Headers])], "{require}");
    }
}

#[test]
fn what_says_the_same_in_other_words_is_no_difference() {
    let route = |subjects: &str| format!("  - {{path: /a, methods: [GET], require: {{scope: s, {subjects}}}}}");
    let many: Vec<String> = ('a'..='h').map(|letter| format!("u{letter}")).collect();
    let each: Vec<String> = many.iter().map(|name| format!("{{subject: {name}}}")).collect();
    let (listed, spelt) =
        (route(&format!("subject: [{}]", many.join(", "))), route(&format!("any_of: [{}]", each.join(", "))));
    assert_eq!(between(&listed, &spelt), []);
    assert_eq!(between(&spelt, &listed), []);
    // A new route that lets nobody in, and one that is gone, are none either.
    let never = route(&format!("subject: [{}], not: {{subject: [{}]}}", many.join(", "), many.join(", ")));
    let other = "  - {path: /b, methods: [GET], require: {scope: s}}";
    assert_eq!(between(&format!("{never}\n{other}"), other), []);
    assert_eq!(between(other, &format!("{never}\n{other}")), []);
}

#[test]
fn what_is_found_is_told_of_the_routes_that_answer() {
    let any = |scope: &str| {
        format!(
            "  - {{path: '/{{x}}/{{y}}', name: any, methods: [GET], require: {{{scope}, subject: '{{x}}', client: '{{y}}', all_of: [{{subject: A1}}, {{client: A1}}]}}}}"
        )
    };
    let own = "  - {path: /A1/A1, name: own, methods: [GET], require: authenticated}";
    // Behind servers that tell upper and lower case apart.
    let exact = |routes: &str| {
        World::within(&document(routes), |surroundings| {
            let quirks = Quirks { case: Reading::Never, ..Quirks::default() };
            surroundings.upstreams.iter_mut().for_each(|facts| facts.quirks = quirks);
        })
    };
    let (old, new) = (exact(&any("scope: s")), exact(&format!("{}\n{own}", any("scope: t"))));
    for (found, change) in [(found(&old, &new), MORE), (found(&new, &old), LESS)] {
        let is_own = |told: &Option<Told>| told.as_ref().is_some_and(|told| told.route == "own");
        let of_own = |found: &Difference| is_own(&found.old) || is_own(&found.new);
        assert!(found.iter().any(|found| found.change == change), "{found:#?}");
        assert!(found.iter().all(of_own), "{found:#?}");
    }
}

#[test]
fn what_cannot_be_forwarded_is_not_allowed() {
    let route = |require: &str| {
        format!("  - {{path: /a, methods: [GET], require: {{{require}}}, forward: {{query: {{k: '{{query.q}}'}}}}}}")
    };
    // Without the parameter there is nothing to send.
    let names = "permission: p, client: [a, b, c, d, e, f], subject: [g, h, i, j, k, l], global: false";
    let own = route(&format!("scope: s, {names}"));
    let wider = route(&format!("any_of: [{{scope: s}}, {{not: {{request: {{query.q: present}}}}}}], {names}"));
    assert_eq!(between(&own, &wider), []);
    assert_eq!(between(&own, &route(names)), [MORE]);
}
