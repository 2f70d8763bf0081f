//! Differences that depend on where requests arrive: hosts, other spellings of paths, texts that other routes name, and
//! requests that no route takes.

use torwart::policy::analysis::{Change, Difference, compare};
use torwart::target::quirks::{Quirks, Reading};

use super::support::{Any, World, difference, differences};
use super::{ALLOWS_LESS, ALLOWS_MORE, document};

/// What is different between two sets of documents, behind servers that read paths in these ways.
fn between(old: (&[&str], Quirks), new: (&[&str], Quirks)) -> Vec<Difference> {
    let (old, new) = (World::of(old.0, old.1), World::of(new.0, new.1));
    compare(&old.side(), &new.side(), &Any(&old))
}

const ADMIN: &str = "
- {path: '/admin/{x}', methods: [GET], require: {scope: admin}}
- {path: '/{x}/{y}', methods: [GET], require: {scope: read}}";

#[test]
fn a_server_that_begins_to_read_paths_in_a_way_of_its_own_is_found() {
    let text = document(ADMIN);
    let always = |set: fn(&mut Quirks)| {
        let mut quirks = Quirks::default();
        set(&mut quirks);
        quirks
    };
    let servers = [
        (always(|quirks| quirks.case = Reading::Always), "/ADMIN/"),
        (always(|quirks| quirks.path_parameters = Reading::Always), "/admin;1/"),
        (always(|quirks| quirks.trailing_dot = Reading::Always), "/admin./"),
        (always(|quirks| quirks.double_decoding = Reading::Always), "/%2561dmin/"),
        (always(|quirks| quirks.encoded_slash = Reading::Always), "/admin%2F"),
    ];
    for (quirks, path) in servers {
        let found = between((&[&text], Quirks::default()), (&[&text], quirks));
        let reached = |found: &&Difference| found.new.as_ref().is_some_and(|told| told.route.contains("admin"));
        let allowed = found.iter().filter(reached).find(|found| found.change == ALLOWS_MORE);
        let scene = &allowed.unwrap_or_else(|| panic!("{path}: {found:#?}")).witness.as_ref().unwrap().scene;
        assert!(scene.target.starts_with(path), "{path}: {}", scene.target);
    }
}

/// A server that reads one thing in this way.
type Server = fn(Reading) -> Quirks;

#[test]
fn what_follows_a_segment_that_is_read_in_another_way_is_found() {
    let text = document(
        "
- {path: '/admin/list/all', methods: [GET], require: {scope: admin}}
- {path: '/{x}/{y}', methods: [GET], require: {scope: read}}
- {path: '/{x}/{y}/{z}', methods: [GET], require: {scope: read}}",
    );
    let servers: [(Server, &str); 3] = [
        (|path_parameters| Quirks { path_parameters, ..Quirks::default() }, "/admin;1/list/all"),
        (|trailing_dot| Quirks { trailing_dot, ..Quirks::default() }, "/admin./list/all"),
        (|encoded_slash| Quirks { encoded_slash, ..Quirks::default() }, "/admin%2Flist/all"),
    ];
    for (server, target) in servers {
        let found = between((&[&text], server(Reading::Never)), (&[&text], server(Reading::Always)));
        let targets: Vec<&str> =
            found.iter().filter_map(|found| Some(found.witness.as_ref()?.scene.target.as_str())).collect();
        assert!(targets.contains(&target), "{target}: {targets:?}");
        assert_eq!(targets.len(), found.len(), "each has a witness: {found:#?}");
    }
}

#[test]
fn where_no_request_can_be_made_up_nobody_says_that_nothing_differs() {
    let text = document(
        "
- {path: '/a/{id}/c', name: own, methods: [GET], params: {id: int}, require: {scope: admin}, unbound: [id]}
- {path: '/{x}/{y}', name: any, methods: [GET], require: {scope: read}}",
    );
    let server = |encoded_slash| Quirks { encoded_slash, ..Quirks::default() };
    let (never, always) = (server(Reading::Never), server(Reading::Always));
    for (old, new, routes) in [(never, always, ["any", "own"]), (always, never, ["own", "any"])] {
        let found = between((&[&text], old), (&[&text], new));
        let told = |found: &Difference| {
            [&found.old, &found.new].map(|told| told.as_ref().map_or_else(String::new, |told| told.route.clone()))
        };
        let both = found.iter().find(|found| told(found) == routes);
        let both = both.unwrap_or_else(|| panic!("{found:#?}"));
        assert!(matches!(&both.change, Change::Undecided(why) if why.contains("no request")), "{both:?}");
    }
}

#[test]
fn routes_that_differ_in_case_alone_are_compared_each_with_its_own() {
    let never = Quirks { case: Reading::Never, ..Quirks::default() };
    let old = document(
        "
- {path: '/admin/{x}', methods: [GET], require: {scope: admin}}
- {path: '/Admin/{x}', methods: [GET], require: {scope: admin}}
- {path: '/other', methods: [GET], require: {scope: admin}}",
    );
    for path in ["/admin", "/Admin"] {
        let asked = format!("path: '{path}/{{x}}', methods: [GET], require: {{scope: admin}}");
        let new = old.replace(&asked, &asked.replace("{scope: admin}", "authenticated")).replace("/other", "/another");
        let found = between((&[&old], never), (&[&new], never));
        let targets: Vec<_> = found
            .iter()
            .filter(|found| found.change == ALLOWS_MORE)
            .filter_map(|found| found.witness.as_ref())
            .collect();
        assert!(targets.iter().any(|shown| shown.scene.target.starts_with(path)), "{path}: {found:#?}");
    }
}

#[test]
fn every_host_is_compared_and_named_as_it_is_written() {
    let route = "- {path: /a, methods: [GET], require: {scope: s}}";
    for (hosts, shown) in [
        ("['*']", &["*"][..]),
        ("[host0.invalid, '*', host1.invalid]", &["*", "host0.invalid", "host1.invalid"]),
        ("['*.example.com']", &["*.example.com"]),
        ("[api.example.com, b.example.com]", &["api.example.com", "b.example.com"]),
    ] {
        let old = document(route).replace("[api.example.com]", hosts);
        let found = differences(&old, &old.replace("{scope: s}", "authenticated"));
        let mut named: Vec<_> = found.iter().flat_map(|found| found.hosts.clone()).collect();
        named.sort();
        assert_eq!(named, shown);
        assert!(found.iter().all(|found| found.change == ALLOWS_MORE && found.methods == ["GET", "HEAD"]), "{found:?}");
    }
}

#[test]
fn texts_that_other_routes_name_are_not_the_only_ones_that_are_tried() {
    let usual = [
        "a1", "b2", "c3", "d4", "4711", "4712", "-5", "one-two", "two-one", "x_1", "y_2", "A b", "z.9", "v1", "v2",
        "v3",
    ];
    let own = "- {path: '/{x}', methods: [GET], require: {scope: s, subject: '{x}'}}";
    let others = usual.map(|text| format!("\n- {{path: '/{text}', methods: [GET], require: {{scope: s}}}}")).concat();
    let old = document(&format!("{own}{others}"));
    let found = difference(&old, &old.replace("scope: s, subject", "subject"));
    assert_eq!(found.change, ALLOWS_MORE);
    assert_eq!(found.old.unwrap().route, "GET /{x}");
    // The same where the tables do not route alike.
    let found = differences(&old, &old.replace("scope: s, subject", "subject").replace("/z.9", "/z.8"));
    let is_it = |found: &&Difference| found.old.as_ref().is_some_and(|told| told.route == "GET /{x}");
    let found: Vec<_> = found
        .iter()
        .filter(is_it)
        .filter(|found| found.new.as_ref().is_some_and(|told| told.route == "GET /{x}"))
        .collect();
    assert!(found.iter().any(|found| found.change == ALLOWS_MORE), "{found:#?}");
}

#[test]
fn requests_that_no_route_takes_are_compared_where_documents_observe() {
    let enforced = "- {path: /a, methods: [GET], mode: enforce, require: authenticated}";
    let base = "base_path: '/shop/{tenant}'\nmode: observe\n";
    for other in [enforced.to_owned(), enforced.replace("/a,", "/b,")] {
        let old = super::with(base, enforced);
        let new = super::with(&base.replace("mode: observe", "mode: enforce"), &other);
        let found = differences(&old, &new);
        let stray = found.iter().find(|found| found.old.is_none() && found.new.is_none());
        let stray = stray.unwrap_or_else(|| panic!("{found:#?}"));
        assert_eq!(stray.change, Change::Decision("observed", "denied"));
        let target = &stray.witness.as_ref().unwrap().scene.target;
        assert!(target.starts_with("/shop/"), "{target}");
    }
}

#[test]
fn requests_that_no_route_takes_are_compared_however_many_paths_there_are() {
    let routes: Vec<String> = (0..40)
        .map(|number| {
            format!("- {{path: '/p{number}/q{number}', methods: [GET], mode: enforce, require: authenticated}}")
        })
        .collect();
    let crowd = super::with("base_path: /crowd\nmode: enforce\n", &routes.join("\n"));
    let quiet = "- {path: /q, methods: [GET], mode: enforce, require: authenticated}";
    let observing = super::with("base_path: /quiet\nmode: observe\n", quiet).replace("policy: p", "policy: quiet");
    let enforcing = observing.replace("mode: observe", "mode: enforce");
    let more = crowd.replace("/p0/q0", "/p0/q1");
    let found = between((&[&crowd, &observing], Quirks::default()), (&[&more, &enforcing], Quirks::default()));
    let stray = found.iter().find(|found| found.old.is_none() && found.new.is_none() && found.witness.is_some());
    let target = &stray.unwrap_or_else(|| panic!("{found:#?}")).witness.as_ref().unwrap().scene.target;
    assert!(target.starts_with("/quiet"), "{target}");
}

#[test]
fn a_path_that_goes_on_behind_a_route_is_compared_with_the_rest() {
    let old = "
- {path: /a, methods: [GET], require: {scope: s}}
- {path: '/a/{*rest}', methods: [GET], require: {scope: s}}";
    let new = old
        .replace(
            "'/a/{*rest}', methods: [GET], require: {scope: s}",
            "'/a/{*rest}', methods: [GET], require: authenticated",
        )
        .replace("/a,", "/a, name: other,");
    let found =
        differences(&document(old), &document(&format!("{new}\n- {{path: /b, methods: [GET], require: public}}")));
    let targets: Vec<_> =
        found.iter().filter_map(|found| Some((&found.change, found.witness.as_ref()?.scene.target.as_str()))).collect();
    assert!(targets.iter().any(|(change, target)| **change == ALLOWS_MORE && target.starts_with("/a/")), "{targets:?}");
    assert!(targets.iter().all(|(change, _)| **change != ALLOWS_LESS), "{targets:?}");
}
