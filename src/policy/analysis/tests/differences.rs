//! What two documents decide and do differently, and what of it is told.

use std::time::Duration;

use super::{World, document, effect};
use crate::policy::analysis::{Change, Difference, Effect, Part, Refusal, Verdict, compare};

fn differences(old: &str, new: &str) -> Vec<Difference> {
    let (old, new) = (World::new(&document(old)), World::new(&document(new)));
    compare(&old.side(), &new.side(), &old)
}

/// A route for a list of somebody's own orders.
fn route(rest: &str) -> String {
    format!("  - {{path: /a, methods: [GET], {rest}}}")
}

fn decided(old: &str, new: &str) -> Vec<Change> {
    differences(&route(old), &route(new)).into_iter().map(|difference| difference.change).collect()
}

/// Only what is allowed on one side and not on the other.
fn turned(old: &str, new: &str) -> Vec<Change> {
    let mut found = decided(old, new);
    found.retain(|change| matches!(change, Change::Decision(..)));
    found
}

const MORE: Change = Change::Decision("denied", "allowed");
const LESS: Change = Change::Decision("allowed", "denied");

#[test]
fn what_is_narrowed_is_found_to_be_no_more() {
    for (to, value) in
        [("organizations", "organization"), ("permissions", "permission"), ("subject", "subject"), ("client", "client")]
    {
        for style in ["repeat", "comma", "json"] {
            let narrowed = format!("require: authenticated, narrow: {{query.own: {{to: {to}, style: {style}}}}}");
            let found = decided(&narrowed, "require: authenticated");
            assert!(found.contains(&MORE), "{value} {style}: {found:?}");
            let found = decided("require: authenticated", &narrowed);
            assert!(found.contains(&LESS), "{value} {style}: {found:?}");
            assert_eq!(decided(&narrowed, &narrowed), [], "{value} {style}");
        }
    }
    let narrowed = |to: &str| format!("require: authenticated, narrow: {{query.own: {to}}}");
    assert!(decided(&narrowed("organizations"), &narrowed("permissions")).contains(&MORE));
    // A value with a comma in it cannot be set in a list with commas.
    let styled =
        |style: &str| format!("require: authenticated, narrow: {{query.own: {{to: permissions, style: {style}}}}}");
    assert!(!decided(&styled("comma"), &styled("repeat")).is_empty());
}

#[test]
fn sets_are_compared_by_their_members() {
    let scope = |set: &str| format!("require: {{scope: {{{set}}}}}");
    assert_eq!(turned(&scope("all_of: [x, y]"), &scope("any_of: [x, y]")), [MORE]);
    assert_eq!(turned(&scope("any_of: [x, y]"), &scope("any_of: [y, x]")), []);
    assert_eq!(turned(&scope("any_of: [x, y]"), &scope("any_of: [x]")), [LESS]);
    let not = |inner: &str| format!("require: {{scope: s, not: {{{inner}}}}}");
    assert_eq!(turned(&not("permission: p"), &not("permission: {any_of: [p, q]}")), [LESS]);
    assert_eq!(turned(&not("permission: p"), "require: {scope: s}"), [MORE]);
    // Who tells no permissions at all is refused by neither of these two alone, but by both.
    let either = "require: {any_of: [{permission: p}, {not: {permission: p}}]}";
    assert_eq!(turned(either, "require: authenticated"), [MORE]);
    let organization = |inner: &str| format!("require: {{request: {{query.o: present}}, {inner}}}");
    assert_eq!(turned(&organization("organization: '{query.o}'"), &organization("scope: s")).len(), 2);
    assert_eq!(turned(&organization("organization: '{query.o}'"), &organization("global: true")), [LESS]);
    let not = organization("not: {organization: '{query.o}'}");
    assert_eq!(turned(&not, &organization("global: false")), [MORE]);
    let either = organization("any_of: [{organization: '{query.o}'}, {not: {organization: '{query.o}'}}]");
    let found = turned(&either, "require: {request: {query.o: present}, scope: s}");
    assert!(found.contains(&LESS), "who tells organisations, and no scope: {found:?}");
}

#[test]
fn everything_that_is_sent_is_compared() {
    let plain = "require: {scope: s}";
    for (forward, part) in [
        ("add_prefix: /b", Part::Target),
        ("headers: {X-A: a}", Part::Headers),
        ("headers: {X-A: '{claim.c}'}", Part::Headers),
        ("headers: {X-A: '{query.q}'}", Part::Headers),
        ("headers: {X-A: '{permissions}'}", Part::Headers),
        ("identity_headers: none", Part::Headers),
        ("identity_headers: [subject]", Part::Headers),
        ("assertion: true", Part::Headers),
        ("authorization: keep", Part::Authorization),
        ("timeout: 3s", Part::Timeout),
        ("max_body: 1KiB", Part::MaxBody),
    ] {
        let new = format!("{plain}, forward: {{{forward}}}");
        for (old, new) in [(plain, new.as_str()), (new.as_str(), plain)] {
            let found = decided(old, new);
            assert!(
                found.iter().any(|change| matches!(change, Change::Effect(parts) if parts.contains(&part))),
                "{forward}: {found:?}"
            );
        }
        assert_eq!(decided(&new, &new), [], "{forward}");
    }
    for told in ["a", "'{subject}'"] {
        let header = |value: &str| format!("{plain}, forward: {{headers: {{X-A: {value}}}}}");
        let found = decided(&header(told), &header("b"));
        assert!(found.contains(&Change::Effect(vec![Part::Headers])), "{told}: {found:?}");
    }
    // A request that sends the parameter itself, spelt otherwise, is refused beside.
    let found = decided(plain, &format!("{plain}, forward: {{query: {{k: '{{client}}'}}}}"));
    assert!(found.contains(&LESS), "{found:?}");
    for (other, part) in [
        ("limit: {rate: 1/s}", Part::Limit),
        ("cors: {origins: ['https://a.test'], headers: [Authorization]}", Part::Cors),
    ] {
        let found = decided(plain, &format!("{plain}, {other}"));
        assert!(
            found.iter().any(|change| matches!(change, Change::Effect(parts) if *parts == [part])),
            "{other}: {found:?}"
        );
    }
}

#[test]
fn what_is_only_observed_is_told_apart_from_what_is_enforced() {
    let found = decided("require: {scope: s}", "require: {scope: s}, mode: observe");
    assert!(found.contains(&Change::Decision("denied", "observed")), "{found:?}");
    let observed = decided("require: {scope: s}, mode: observe", "require: {scope: t}, mode: observe");
    assert!(!observed.is_empty());
    assert_eq!(decided("require: {scope: s}, mode: observe", "require: {scope: s}, mode: observe"), []);
    let found = decided(
        "require: {scope: s}, mode: observe",
        "require: {scope: s}, mode: observe, forward: {headers: {X-A: b}}",
    );
    assert!(found.iter().any(|change| matches!(change, Change::Effect(_))), "{found:?}");
}

#[test]
fn what_becomes_of_refused_requests_is_compared_where_documents_observe() {
    let header = "forward: {headers: {X-A: b}}";
    let never = "require: {all_of: [{subject: a}, {subject: b}]}, mode: observe";
    let found = decided(never, &format!("{never}, {header}"));
    assert!(
        found.iter().any(|change| matches!(change, Change::Effect(parts) if parts.contains(&Part::Headers))),
        "{found:?}"
    );
    // Without a route a document that observes forwards the request all the same.
    let observing = |routes: &str| World::new(&document(routes).replace("issuers:", "mode: observe\nissuers:"));
    let other = "  - {path: /b, methods: [GET], require: {scope: s}}";
    let enforced = format!("{}\n{other}", route("mode: enforce, require: {scope: s}"));
    let (old, new) = (observing(&enforced), observing(other));
    let found: Vec<Change> =
        compare(&old.side(), &new.side(), &old).into_iter().map(|difference| difference.change).collect();
    assert!(found.contains(&Change::Decision("denied", "observed")), "{found:?}");
}

#[test]
fn each_condition_that_decides_has_a_witness_of_its_own() {
    let old = "require: {scope: s, permission: p, network: [10.0.0.0/8]}";
    let found = turned(old, "require: {scope: s}");
    assert_eq!(found, [MORE, MORE], "one for the permission, one for the network");
}

#[test]
fn what_refusals_say_to_pages_is_told_where_nothing_is_ever_allowed() {
    let never = "require: {all_of: [{subject: a}, {subject: b}]}";
    let paged = |origin: &str| format!("{never}, cors: {{origins: ['{origin}'], headers: [Authorization]}}");
    let found = decided(&paged("https://a.test"), &paged("https://b.test"));
    assert!(matches!(found.as_slice(), [Change::Undecided(why)] if why.contains("`cors`")), "{found:?}");
    assert_eq!(decided(&paged("https://a.test"), &paged("https://a.test")), []);
    assert_eq!(decided(never, &format!("{never}, forward: {{headers: {{X-A: b}}}}")), [], "nobody sees the header");
}

// Verdicts.

/// A change of an effect, and the part that is another by it.
type Changed = (fn(&mut Effect), Part);

#[test]
fn two_effects_differ_in_the_parts_that_are_not_the_same() {
    assert_eq!(effect().differences(&effect()), []);
    let changes: [Changed; 8] = [
        (|effect| effect.upstream = "v".to_owned(), Part::Upstream),
        (|effect| effect.target = "/b".to_owned(), Part::Target),
        (|effect| effect.headers.clear(), Part::Headers),
        (|effect| effect.removed.clear(), Part::Headers),
        (|effect| effect.strips_method_override = false, Part::Headers),
        (|effect| effect.authorization = "keep", Part::Authorization),
        (|effect| effect.timeout = Some(Duration::from_secs(1)), Part::Timeout),
        (|effect| effect.max_body = Some(1), Part::MaxBody),
    ];
    for (change, part) in changes {
        let mut other = effect();
        change(&mut other);
        assert_eq!(effect().differences(&other), [part]);
        assert_eq!(other.differences(&effect()), [part]);
    }
}

#[test]
fn parts_and_verdicts_have_their_words() {
    let parts = [
        Part::Upstream,
        Part::Target,
        Part::Headers,
        Part::Authorization,
        Part::Timeout,
        Part::MaxBody,
        Part::Limit,
        Part::Cors,
    ];
    let words =
        ["upstream", "forwarded path and query", "headers", "authorization", "timeout", "max_body", "limit", "cors"];
    assert_eq!(parts.map(Part::as_str), words);
    let refusal = |status| Refusal { status, reason: None, condition: None, place: None };
    let verdicts = [
        Verdict::Allowed(effect()),
        Verdict::Observed(effect(), refusal(403)),
        Verdict::Refused(refusal(404)),
        Verdict::Answered(Vec::new()),
    ];
    assert_eq!(verdicts.each_ref().map(Verdict::as_str), ["allowed", "observed", "denied", "answered"]);
    assert_eq!(verdicts.each_ref().map(|verdict| verdict.effect().is_some()), [true, true, false, false]);
    let statuses = verdicts.each_ref().map(|verdict| verdict.refusal().map(|refusal| refusal.status));
    assert_eq!(statuses, [None, Some(403), Some(404), None]);
    assert_eq!(Verdict::Refused(refusal(401)), Verdict::Refused(refusal(403)), "why it is refused is no effect");
    assert_ne!(verdicts[0], verdicts[1]);
}
