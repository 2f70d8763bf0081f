//! What says the same, apart from names and order, and what does not.

use super::World;
use crate::policy::Surroundings;
use crate::policy::analysis::half::Side;
use crate::policy::analysis::pages::Pages;
use crate::policy::analysis::same::{Sides, conditions, routed_alike};
use crate::policy::analysis::uses::Stand;
use crate::policy::route::Route;
use crate::policy::table::Table;
use crate::principal::{ClaimPath, IssuerIdentity};
use crate::target::quirks::{Charset, MethodOverride, Reading};
use std::sync::Arc;

/// A route with a condition of every kind, and something in every part of `forward`.
const BASE: &str = r#"
version: 1
policy: p
hosts: ["{tenant}.example.com"]
upstream: u
issuers: [one]
routes:
  - path: /a/{id}
    methods: [POST]
    params: {id: alnum, query.n: int}
    client_credentials: {bypass: [batch], lift: [subject]}
    require:
      scope: {all_of: [s, t]}
      permission: {any_of: [m, n]}
      organization: "{id}"
      subject: ["{id}", root]
      client: [app, web]
      flow: user
      global: false
      issuer: one
      claim: {c: {equals: v}, e: {exists: true}}
      authentication: {acr: [high], max_age: 60s}
      network: [10.0.0.0/8]
      certificate: {dns: [a.test]}
      request: {header.x-kind: k, query.q: [v, w], form.f: g}
      any_of: [{scope: x}, {scope: y}]
      not: {client: evil}
    narrow: {query.own: organizations}
    limit: {rate: 1/s}
    cors: {origins: ["https://a.test"]}
    forward:
      strip_prefix: /a
      add_prefix: /v1
      authorization: keep
      identity_headers: [subject, client]
      assertion: true
      headers: {X-Fixed: f, X-Told: "t {claim.c}"}
      query: {set: "{subject}"}
      timeout: 5s
      max_body: 1MiB
"#;

/// What `change` makes of the base; it has to be there.
fn changed(change: (&str, &str)) -> String {
    assert!(BASE.contains(change.0), "{}", change.0);
    BASE.replacen(change.0, change.1, 1)
}

/// Asks of the only routes of two worlds.
fn ask<T>(old: &World, new: &World, ask: impl FnOnce(&Sides<'_>, [&Stand<'_>; 2]) -> T) -> T {
    let (old_side, new_side) = (old.side(), new.side());
    let sides = Sides { old: &old_side, new: &new_side };
    let stand = |world: &World, ask: &mut dyn FnMut(&Stand<'_>)| {
        let route: &Arc<Route> = world.policies.routes().next().unwrap();
        ask(&Stand { route, pattern: &route.pattern });
    };
    let mut ask = Some(ask);
    let mut told = None;
    stand(old, &mut |one| stand(new, &mut |other| told = ask.take().map(|ask| ask(&sides, [one, other]))));
    told.unwrap()
}

fn say_the_same(old: &World, new: &World) -> bool {
    let both = ask(old, new, |sides, [one, other]| sides.routes(one, other));
    assert_eq!(ask(new, old, |sides, [one, other]| sides.routes(one, other)), both, "from the other side too");
    both
}

fn forward_alike(old: &World, new: &World) -> bool {
    ask(old, new, |sides, [one, other]| sides.effects(one.route, other.route))
}

fn ask_the_same(old: &World, new: &World) -> bool {
    ask(old, new, |_, [one, other]| conditions(&one.route.conditions, &other.route.conditions))
}

#[test]
fn names_and_order_make_no_difference() {
    let base = World::new(BASE);
    for change in [
        ("policy: p", "policy: p"),
        ("policy: p", "policy: other"),
        ("path: /a/{id}", "path: /a/{id}\n    name: other"),
        ("[{scope: x}, {scope: y}]", "[{scope: y}, {scope: x}]"),
        ("client: [app, web]\n      flow: user", "flow: user\n      client: [app, web]"),
    ] {
        let other = World::new(&changed(change));
        assert!(ask_the_same(&base, &other), "{change:?}");
        assert!(forward_alike(&base, &other), "{change:?}");
        assert!(say_the_same(&base, &other), "{change:?}");
    }
}

#[test]
fn every_condition_makes_a_difference() {
    let base = World::new(BASE);
    for change in [
        ("all_of: [s, t]", "any_of: [s, t]"),
        ("all_of: [s, t]", "all_of: [s]"),
        ("any_of: [m, n]", "any_of: [m, o]"),
        ("organization: \"{id}\"", "organization: \"{tenant}\""),
        ("subject: [\"{id}\", root]", "subject: [\"{id}\", admin]"),
        ("client: [app, web]", "client: [app]"),
        ("flow: user", "flow: client_credentials"),
        ("global: false", "global: true"),
        ("issuer: one\n", "issuer: two\n"),
        ("c: {equals: v}", "d: {equals: v}"),
        ("c: {equals: v}", "c: {equals: w}"),
        ("e: {exists: true}", "e: {exists: false}"),
        ("acr: [high]", "acr: [low]"),
        ("max_age: 60s", "max_age: 61s"),
        ("10.0.0.0/8", "10.0.0.0/9"),
        ("dns: [a.test]", "email: [a.test]"),
        ("dns: [a.test]", "dns: [b.test]"),
        ("header.x-kind: k", "header.x-sort: k"),
        ("header.x-kind: k", "header.x-kind: l"),
        ("header.x-kind: k", "header.x-kind: present"),
        ("query.q: [v, w]", "query.q: [v]"),
        ("[{scope: x}, {scope: y}]", "[{scope: x}, {scope: z}]"),
        ("[{scope: x}, {scope: y}]", "[{scope: x}, {scope: y}, {scope: z}]"),
        ("any_of: [{scope: x}, {scope: y}]", "all_of: [{scope: x}, {scope: y}]"),
        ("not: {client: evil}", "not: {client: good}"),
        ("not: {client: evil}", "not: {flow: unknown}"),
        ("query.own: organizations", "query.own: permissions"),
        ("lift: [subject]", "lift: [subject, permission]"),
        ("bypass: [batch]", "bypass: [batch, night]"),
        ("      flow: user\n", ""),
    ] {
        if change.1.contains("unknown") {
            continue;
        }
        let other = World::new(&changed(change));
        assert!(!ask_the_same(&base, &other) && !ask_the_same(&other, &base), "{change:?}");
        assert!(!say_the_same(&base, &other), "{change:?}");
        assert!(forward_alike(&base, &other) != change.0.contains("own:"), "{change:?}");
    }
}

#[test]
fn everything_else_that_a_route_reads_makes_a_difference() {
    let base = World::new(BASE);
    for change in [
        ("path: /a/{id}", "path: /a/b-{id}"),
        ("path: /a/{id}", "path: /a/{id}\n    mode: observe"),
        ("hosts: [\"{tenant}.example.com\"]", "hosts: [\"*.example.com\"]"),
        ("id: alnum", "id: slug"),
        (", query.n: int", ""),
        (", query.n: int", ", query.m: int"),
        ("query.n: int", "query.n: slug"),
        ("form.f: g", "body./f: g"),
        ("issuers: [one]", "issuers: [one, two]"),
    ] {
        let other = World::new(&changed(change));
        assert!(!say_the_same(&base, &other), "{change:?}");
        // Effects name values of a query by the places that these have among all that are read.
        let moves = change.1.contains("observe") || change.0.contains("query");
        assert!(forward_alike(&base, &other) || moves, "{change:?}");
    }
}

#[test]
fn every_effect_makes_a_difference() {
    let base = World::new(BASE);
    for change in [
        ("upstream: u", "upstream: v"),
        ("rate: 1/s", "rate: 2/s"),
        ("limit: {rate: 1/s}", ""),
        ("https://a.test", "https://b.test"),
        ("cors: {origins: [\"https://a.test\"]}", "cors: upstream"),
        ("cors: {origins: [\"https://a.test\"]}", ""),
        ("strip_prefix: /a", ""),
        ("add_prefix: /v1", "add_prefix: /v2"),
        ("authorization: keep", "authorization: strip"),
        ("identity_headers: [subject, client]", "identity_headers: [subject]"),
        ("assertion: true", "assertion: false"),
        ("X-Fixed: f", "X-Fixed: g"),
        ("X-Fixed: f", "X-Other: f"),
        ("X-Fixed: f, ", ""),
        ("X-Told: \"t {claim.c}\"", "X-Told: \"t {claim.d}\""),
        ("X-Told: \"t {claim.c}\"", "X-Telling: \"t {claim.c}\""),
        ("set: \"{subject}\"", "set: \"{client}\""),
        ("set: \"{subject}\"", "put: \"{subject}\""),
        ("set: \"{subject}\"", "set: \"{subject}\", put: x"),
        ("timeout: 5s", "timeout: 6s"),
        ("max_body: 1MiB", "max_body: 2MiB"),
    ] {
        let other = World::new(&changed(change));
        assert!(!forward_alike(&base, &other) && !forward_alike(&other, &base), "{change:?}");
        assert!(!say_the_same(&base, &other), "{change:?}");
    }
    let changes: [fn(&mut Surroundings<'_>); 4] = [
        |surroundings| surroundings.identity.pass = vec!["note".to_owned()],
        |surroundings| surroundings.target_bytes = 4096,
        |surroundings| surroundings.upstreams[0].quirks.method_override = MethodOverride::Ignore,
        |surroundings| surroundings.upstreams[0].quirks.charset = Charset::Latin1,
    ];
    for (number, change) in changes.into_iter().enumerate() {
        assert!(!forward_alike(&base, &World::within(BASE, change)), "change {number} of the surroundings");
    }
}

#[test]
fn a_token_that_is_needed_makes_a_difference_to_what_is_forwarded() {
    let route = |require: &str| {
        super::document(&format!(
            "  - {{path: /a, methods: [GET], require: {require}, forward: {{identity_headers: none}}}}"
        ))
    };
    let (open, closed) = (World::new(&route("public")), World::new(&route("authenticated")));
    assert!(forward_alike(&open, &open) && forward_alike(&closed, &closed));
    assert!(!forward_alike(&open, &closed) && !say_the_same(&open, &closed));
    let elsewhere = World::new(&route("authenticated").replace("upstream: u", "upstream: v"));
    assert!(!forward_alike(&closed, &elsewhere), "and so does another upstream");
}

#[test]
fn preflights_that_are_passed_on_are_compared_too() {
    let route = |forward: &str| {
        super::document(&format!(
            "  - {{path: /a, methods: [GET], require: authenticated, cors: upstream, forward: {forward}}}"
        ))
    };
    let kept = route("{authorization: keep, identity_headers: none}");
    let plain = World::new(&kept);
    assert!(forward_alike(&plain, &World::new(&kept)));
    // Where nothing is enforced they keep their credentials; nothing else in the effects of the two routes differs.
    let observing = World::new(&kept.replace("cors:", "mode: observe, cors:"));
    assert!(!forward_alike(&plain, &observing) && !forward_alike(&observing, &plain));
}

#[test]
fn what_is_said_to_pages_is_shown_as_it_is_written() {
    let world = World::new(BASE);
    let pages = Pages::of(world.policies.routes().next().unwrap()).unwrap();
    assert!(pages.to_string().contains("https://a.test"), "{pages}");
    let silent = World::new(&changed(("cors: {origins: [\"https://a.test\"]}", "")));
    assert!(Pages::of(silent.policies.routes().next().unwrap()).is_none());
}

#[test]
fn issuers_are_compared_by_name_and_by_how_they_compare() {
    let base = World::new(BASE);
    let changes: [fn(&mut IssuerIdentity); 6] = [
        |issuer| issuer.name = "other".into(),
        |issuer| issuer.case_insensitive = vec![ClaimPath::top("c")],
        |issuer| issuer.subject_folds = true,
        |issuer| issuer.client_folds = true,
        |issuer| issuer.organizations_fold = true,
        |issuer| issuer.permissions_fold = true,
    ];
    for (number, change) in changes.into_iter().enumerate() {
        let mut other = World::new(BASE);
        let mut issuer = IssuerIdentity::clone(&other.issuers[0]);
        change(&mut issuer);
        other.issuers[0] = Arc::new(issuer);
        assert!(!say_the_same(&base, &other), "change {number}");
        // Whose tokens do not count here makes no difference.
        other.issuers.reverse();
        other.issuers[1] = Arc::clone(&base.issuers[0]);
        assert!(say_the_same(&base, &other), "change {number}, and then its place");
    }
    let mut none = World::new(BASE);
    none.issuers.clear();
    assert!(!say_the_same(&base, &none));
}

// Routing.

/// Two routes, of which the second has this head.
fn routes(second: &str) -> String {
    super::document(&format!(
        "  - {{path: '/a/{{id}}', methods: [GET], params: {{id: int}}, require: authenticated, unbound: [id]}}
  - {{{second}, require: authenticated}}"
    ))
}

fn table<'w>(side: &Side<'w>) -> &'w Table {
    side.table("api.example.com").unwrap()
}

/// The paths of the pairs, or that some request may be routed differently.
fn pairs(old: &World, new: &World) -> Option<Vec<(String, String)>> {
    let (old, new) = (old.side(), new.side());
    let alike = routed_alike(table(&old), table(&new))?;
    let path = |side: &Side<'_>, id| side.policies.route_by_id(id).unwrap().path.to_string();
    Some(alike.into_iter().map(|(one, other)| (path(&old, one.id), path(&new, other.id))).collect())
}

#[test]
fn tables_route_alike_whose_routes_differ_in_nothing_but_conditions_and_order() {
    let second = "path: /a/b, methods: [GET, POST]";
    let base = World::new(&routes(second));
    let same = |path: &str| (path.to_owned(), path.to_owned());
    let expected = |paths: &[&str]| Some(paths.iter().map(|path| same(path)).collect::<Vec<_>>());
    let mut sorted = pairs(&base, &base).unwrap();
    sorted.sort();
    assert_eq!(Some(sorted), expected(&["/a/b", "/a/{id}"]));
    let (head, tail) = base_parts(second);
    let turned = World::new(&format!("{head}{tail}"));
    let mut sorted = pairs(&base, &turned).unwrap();
    sorted.sort();
    assert_eq!(Some(sorted), expected(&["/a/b", "/a/{id}"]), "in another order");
    for other in ["path: /a/c, methods: [GET, POST]", "path: /a/b, methods: [GET]", "path: /a/b, methods: [POST]"] {
        let other = World::new(&routes(other));
        assert_eq!((pairs(&base, &other), pairs(&other, &base)), (None, None));
    }
    let typed = World::new(&routes(second).replace("id: int", "id: slug"));
    assert_eq!((pairs(&base, &typed), pairs(&typed, &base)), (None, None));
    let more = format!("{}  - {{path: /z, methods: [GET], require: authenticated}}\n", routes(second));
    let more = World::new(&more);
    assert_eq!((pairs(&base, &more), pairs(&more, &base)), (None, None));
    let changes: [fn(&mut Surroundings<'_>); 3] = [
        |surroundings| surroundings.upstreams[0].quirks.method_override = MethodOverride::Ignore,
        |surroundings| surroundings.upstreams[0].quirks.charset = Charset::Latin1,
        |surroundings| surroundings.upstreams[0].quirks.case = Reading::Never,
    ];
    for (number, change) in changes.into_iter().enumerate() {
        assert_eq!(pairs(&base, &World::within(&routes(second), change)), None, "change {number}");
    }
}

/// The same document with its routes the other way round.
fn base_parts(second: &str) -> (String, String) {
    let whole = routes(second);
    let (head, list) = whole.split_once("routes:\n").unwrap();
    let mut lines: Vec<&str> = list.lines().collect();
    lines.reverse();
    (format!("{head}routes:\n"), lines.join("\n"))
}

#[test]
fn a_path_with_a_route_for_each_method_is_paired_by_the_methods() {
    let routes = |first: &str, second: &str| {
        let route = |method: &str| format!("  - {{path: /a, methods: [{method}], require: authenticated}}\n");
        World::new(&super::document(&format!("{}{}", route(first), route(second))))
    };
    let (one, other) = (routes("PUT", "DELETE"), routes("DELETE", "PUT"));
    let (one, other) = (one.side(), other.side());
    let alike = routed_alike(table(&one), table(&other)).unwrap();
    assert_eq!(alike.len(), 2);
    for (one, other) in alike {
        assert_eq!(one.methods, other.methods);
    }
}
