mod conflicts;
mod model;

use super::*;
use crate::target::quirks::Server;

/// A table written as `METHODS /pattern` lines; the number of a route is its position.
fn router(routes: &[(&str, Quirks)]) -> (Router, Vec<RouteConflict>) {
    let entries = routes.iter().enumerate().map(|(index, (line, quirks))| entry(index, line, *quirks)).collect();
    Router::build(entries)
}

fn entry(index: usize, line: &str, quirks: Quirks) -> RouteEntry {
    let (listed, path) = line.split_once(' ').unwrap();
    let mut methods = MethodSet::default();
    if listed == "*" {
        methods = MethodSet::usual();
    } else {
        listed.split(',').for_each(|method| methods.insert(method).unwrap());
    }
    let pattern = PathPattern::parse(path).unwrap();
    let types = pattern.captures().iter().map(|capture| match &*capture.name {
        "uuid" => Some(ValueType::Uuid),
        "int" => Some(ValueType::Int),
        _ => None,
    });
    let types = types.collect();
    RouteEntry { id: RouteId(u32::try_from(index).unwrap()), pattern, methods, types, quirks }
}

fn sound(routes: &[(&str, Quirks)]) -> Router {
    let (built, conflicts) = router(routes);
    assert_eq!(conflicts, []);
    built
}

fn simple(routes: &[&str]) -> Router {
    sound(&routes.iter().map(|route| (*route, Quirks::default())).collect::<Vec<_>>())
}

/// What a look-up says, in a word: the route's number, or the status.
fn ask(router: &Router, request: &str) -> String {
    let (method, path) = request.split_once(' ').unwrap_or(("GET", request));
    let rules = router.rules;
    let target = Target::parse(path, rules).unwrap();
    match router.lookup(method, &target) {
        Lookup::Route(matched) => {
            let captures = matched.entry.pattern.captures().iter().enumerate().map(|(number, capture)| {
                let wavers = match (matched.captures.is_doubtful(number), matched.captures.wavers(number)) {
                    (true, _) => "~~",
                    (false, true) => "~",
                    (false, false) => "",
                };
                format!(" {}{wavers}={}", capture.name, matched.captures.text(number).unwrap_or("-"))
            });
            format!("{}{}", matched.route().0, captures.collect::<String>())
        }
        Lookup::Ambiguous(_, _) => "400".to_owned(),
        Lookup::CaptureMisfit(_) => "404 misfit".to_owned(),
        Lookup::NotFound => "404".to_owned(),
        Lookup::MethodNotAllowed { allowed, .. } => format!("405 {allowed}"),
    }
}

#[test]
fn the_best_shape_is_final() {
    let router = simple(&[
        "GET /customers/{int}",
        "GET /customers/export",
        "GET /customers/report-{id}.pdf",
        "GET /customers/report-{id}",
        "GET /customers/{id}:cancel",
        "POST /customers/{rest}/contracts",
        "GET /{*all}",
    ]);
    for (request, answer) in [
        ("/customers/4711", "0 int=4711"),
        ("/customers/export", "1"),
        ("/customers/report-7.pdf", "2 id=7"),
        ("/customers/report-7.txt", "3 id=7.txt"),
        ("/customers/report-", "404 misfit"),
        ("/customers/7:cancel", "4 id=7"),
        ("/customers/7%3Acancel", "4 id=7"),
        // A capture that does not fit its type is 404, though a laxer route would take it.
        ("/customers/x", "404 misfit"),
        // So is a method that is not listed 405.
        ("/customers/7/contracts", "405 POST"),
        ("POST /customers/7/contracts", "5 rest=7"),
        ("POST /customers/7", "405 GET, HEAD"),
        ("HEAD /customers/7", "0 int=7"),
        ("TRACE /customers/7", "405 GET, HEAD"),
        // Shapes are tried again from the left: `export` leads nowhere, a capture does.
        ("POST /customers/export/contracts", "5 rest=export"),
        ("/customers/7/other", "6 all=customers/7/other"),
        ("/", "6 all=-"),
    ] {
        assert_eq!(ask(&router, request), answer, "{request}");
    }
}

#[test]
fn a_rest_is_zero_or_more_segments() {
    let router = simple(&["GET /admin/{*rest}"]);
    for (path, answer) in [
        ("/admin", "0 rest=-"),
        ("/admin/", "0 rest=-"),
        ("/admin/a/b/", "0 rest~~=a/b/"),
        ("/administration", "404"),
        ("/", "404"),
    ] {
        assert_eq!(ask(&router, path), answer, "{path}");
    }
}

#[test]
fn captures_are_never_empty() {
    let router = simple(&["GET /a/{x}", "GET /b/c{x}d"]);
    assert_eq!(ask(&router, "/a/"), "404");
    assert_eq!(ask(&router, "/b/cd"), "404");
    assert_eq!(ask(&router, "/b/cxd"), "1 x=x");
}

#[test]
fn odata_keys_match_however_they_are_encoded() {
    let router = simple(&["GET /Customers('{id}')", "GET /Customers({int})"]);
    for path in ["/Customers('4711')", "/Customers(%274711%27)", "/Customers%28%274711%27%29"] {
        assert_eq!(ask(&router, path), "0 id=4711", "{path}");
    }
    assert_eq!(ask(&router, "/Customers(4711)"), "1 int=4711");
}

#[test]
fn the_examples_of_http_md_hold() {
    let router = simple(&["GET /admin/{*r}", "GET /{*r}"]);
    for path in ["/ADMIN/x", "/admin./x", "/admin;x/y", "/admin%2Fx", "/%2561dmin/x", "/x/..;/admin"] {
        assert_eq!(ask(&router, path), "400", "{path}");
    }
    for path in ["/shop/a;jsessionid=1", "/shop/ACME%20Ltd.", "/Shop/Item", "/a%2Fb"] {
        assert!(ask(&router, path).starts_with("1 "), "{path}: {}", ask(&router, path));
    }
    assert_eq!(ask(&router, "/admin/x"), "0 r=x");
}

#[test]
fn readings_are_combined_and_done_in_any_order() {
    let router = simple(&["GET /admin/{x}", "GET /{*r}"]);
    for path in [
        "/ADMIN%2Fx",
        "/Admin.;a/x",
        "/admin;.%20/x",
        "/%2541DMIN/x",
        "/admin%252Fx",
        "/admin%25252Fx",
        "/admin%255Cx",
        "/a/%252e%252e/b",
        "/a%2F..%2Fb",
        "/x/...",
        "/x/;y",
        "/a%2500b",
        // A server that takes `%2F` but not `%5C` for a slash reads `/admin/{x}` here, one that takes both does not.
        "/admin%2Fx%5Cy",
        "/admin%5Cx%2Fy",
        // One that drops parameters before it decodes slashes sees `/admin`, another `/admin/x`.
        "/admin;a%2Fx",
        "/%61dmin/%2578/%2E%20",
    ] {
        assert_eq!(ask(&router, path), "400", "{path}");
    }
    for path in ["/a%2Fb%5Cc;d/E./f", "/100%25", "/50%25abc", "/a/", "/admin/a/b", "/admin", "/administrator/X"] {
        assert!(ask(&router, path).starts_with("1 "), "{path}");
    }
    // The trailing slash alone makes another route of it.
    assert_eq!(ask(&router, "/admin/x/"), "400");
}

#[test]
fn a_reading_that_is_no_route_is_ambiguous_too() {
    let router = simple(&["GET /shop/{id}"]);
    assert_eq!(ask(&router, "/shop/a%2Fb"), "400");
    assert_eq!(ask(&router, "/shop/a;b"), "0 id~~=a;b");
}

#[test]
fn patterns_are_read_as_requests_are() {
    let router =
        simple(&["GET /Admin/{x}", "GET /files;v1/{x}", "GET /a%2Fb", "GET /dot./x", "GET /slash/", "GET /{*r}"]);
    for (path, answer) in [
        ("/Admin/x", "0 x=x"),
        ("/admin/x", "400"),
        ("/files;v1/x", "1 x=x"),
        ("/files;V1/x", "400"),
        ("/files/x", "400"),
        ("/a%2fb", "2"),
        ("/a/b", "400"),
        ("/dot./x", "3"),
        ("/dot/x", "400"),
        ("/slash/", "4"),
        ("/slash", "400"),
        ("/other", "5 r=other"),
    ] {
        assert_eq!(ask(&router, path), answer, "{path}");
    }
}

#[test]
fn a_reading_that_is_never_done_is_not_checked() {
    let quirks = |set: fn(&mut Quirks)| {
        let mut quirks = Quirks::default();
        set(&mut quirks);
        quirks
    };
    for (path, never) in [
        ("/ADMIN/x", quirks(|q| q.case = Reading::Never)),
        ("/admin./x", quirks(|q| q.trailing_dot = Reading::Never)),
        ("/admin;x/y", quirks(|q| q.path_parameters = Reading::Never)),
        ("/admin%2Fx", quirks(|q| q.encoded_slash = Reading::Never)),
        ("/%2561dmin/x", quirks(|q| q.double_decoding = Reading::Never)),
        ("/x/..;/admin", quirks(|q| q.path_parameters = Reading::Never)),
    ] {
        let router = sound(&[("GET /admin/{*r}", never), ("GET /{*r}", never)]);
        assert!(ask(&router, path).starts_with("1 "), "{path}");
        // What counts is the upstream that the request would go to: the catch-all's.
        let router = sound(&[("GET /admin/{*r}", never), ("GET /{*r}", Quirks::default())]);
        assert_eq!(ask(&router, path), "400", "{path}");
        let router = sound(&[("GET /admin/{*r}", Quirks::default()), ("GET /{*r}", never)]);
        assert!(ask(&router, path).starts_with("1 "), "{path}");
    }
}

#[test]
fn a_capture_that_only_some_way_of_a_reading_leaves_is_doubtful() {
    let always = Quirks { path_parameters: Reading::Always, ..Quirks::default() };
    let router = sound(&[("GET /a%3B{x}", always)]);
    // Dropped with what follows an encoded semicolon, and `b` for servers that drop only what follows a raw one.
    assert_eq!(ask(&router, "/a%3Bb"), "0 x~~=-");
}

#[test]
fn letters_that_grow_when_they_are_folded_shift_no_capture() {
    let router = simple(&["GET /{a}/{b}"]);
    // The Kelvin sign has three bytes and is a `k` for who folds, U+023A has two and becomes one of three.
    assert_eq!(ask(&router, "/%E2%84%AA/x"), "0 a~=\u{212a} b=x");
    assert_eq!(ask(&router, "/%C8%BA/x"), "0 a~=\u{23a} b=x");
}

#[test]
fn a_misreading_names_the_route_that_is_read_even_if_it_has_another_method() {
    let router = simple(&["GET /{x}", "POST /b/c"]);
    let problem = |path: &str| match router.lookup("GET", &Target::parse(path, router.rules).unwrap()) {
        Lookup::Ambiguous(_, misreading) => misreading.problem,
        found => panic!("{found:?}"),
    };
    assert_eq!(problem("/b%2Fc"), Problem::OtherRoute(RouteId(1)));
    assert_eq!(problem("/b%2Fd"), Problem::NoRoute);
}

#[test]
fn without_path_parameters_an_encoded_semicolon_is_a_semicolon() {
    let never = Quirks { path_parameters: Reading::Never, ..Quirks::default() };
    let router = sound(&[("GET /a;b", never), ("GET /{x}", never)]);
    assert_eq!(ask(&router, "/a;b"), "0");
    assert_eq!(ask(&router, "/a;c"), "1 x=a;c");
    assert_eq!(ask(&router, "/a%3Bb"), "400");
    assert_eq!(ask(&router, "/a%3Bc"), "1 x~~=a%3Bc");
}

#[test]
fn a_reading_that_is_always_done_is_what_is_matched() {
    let always = |set: fn(&mut Quirks)| {
        let mut quirks = Quirks::default();
        set(&mut quirks);
        sound(&[("GET /admin/{x}", quirks), ("GET /{*r}", quirks)])
    };
    assert_eq!(ask(&always(|q| q.case = Reading::Always), "/ADMIN/Xy"), "0 x=Xy");
    assert_eq!(
        ask(&always(|q| q.case = Reading::Always), "/ADMIN/\u{c4}".replace('\u{c4}', "%C3%84").as_str()),
        "0 x=\u{c4}"
    );
    assert_eq!(ask(&always(|q| q.path_parameters = Reading::Always), "/admin;a/x;b"), "0 x=x");
    assert_eq!(ask(&always(|q| q.trailing_dot = Reading::Always), "/admin./x. ".replace(' ', "%20").as_str()), "0 x=x");
    assert_eq!(ask(&always(|q| q.trailing_slash = Reading::Always), "/admin/x/"), "0 x=x");
    assert_eq!(ask(&always(|q| q.encoded_slash = Reading::Always), "/admin%2Fx"), "0 x=x");
    assert_eq!(ask(&always(|q| q.double_decoding = Reading::Always), "/%2561dmin/%2578"), "0 x=x");
    assert_eq!(ask(&always(|q| q.path_parameters = Reading::Always), "/admin/..;x"), "400");
    assert_eq!(ask(&always(|q| q.path_parameters = Reading::Always), "/admin/;x"), "400");
}

fn conflicts(routes: &[(&str, Quirks)]) -> Vec<(u32, u32, ConflictKind)> {
    let (_, conflicts) = router(routes);
    conflicts.into_iter().map(|conflict| (conflict.first.0, conflict.second.0, conflict.kind)).collect()
}

fn same_shape(types: bool, methods: &[&str]) -> ConflictKind {
    ConflictKind::SameShape { types, methods: methods.iter().map(|method| (*method).into()).collect() }
}

#[test]
fn entries_of_one_shape_need_disjoint_methods_and_equal_types() {
    let quirks = Quirks::default();
    for (first, second, expected) in [
        ("GET /a/{x}", "POST /a/{y}", None),
        ("GET /a/{x}", "GET /a/{y}", Some(same_shape(false, &["GET", "HEAD"]))),
        ("GET /a/{x}", "HEAD /a/{y}", Some(same_shape(false, &["HEAD"]))),
        ("* /a/b", "PURGE,DELETE /a/b", Some(same_shape(false, &["DELETE"]))),
        ("GET /a/{x}", "POST /a/{int}", Some(same_shape(true, &[]))),
        ("GET /a/{*x}", "GET /a/{*y}", Some(same_shape(false, &["GET", "HEAD"]))),
        ("GET /a/{x}", "GET /a/{*y}", None),
        ("GET /a/p{x}", "GET /a/q{y}", None),
        ("GET /a/p{x}s", "GET /a/p{y}s", Some(same_shape(false, &["GET", "HEAD"]))),
        ("GET /%61", "GET /a", Some(same_shape(false, &["GET", "HEAD"]))),
    ] {
        let found = conflicts(&[(first, quirks), (second, quirks)]);
        assert_eq!(found, expected.map(|kind| (0, 1, kind)).into_iter().collect::<Vec<_>>(), "{first} {second}");
    }
}

#[test]
fn routes_that_a_reading_makes_equal_conflict_unless_it_is_never_done() {
    for (first, second, kind, never) in [
        ("GET /Admin/{x}", "GET /admin/{x}", ReadingKind::Case, Quirks { case: Reading::Never, ..Quirks::default() }),
        (
            "GET /a",
            "GET /a/",
            ReadingKind::TrailingSlash,
            Quirks { trailing_slash: Reading::Never, ..Quirks::default() },
        ),
        ("GET /a.", "GET /a", ReadingKind::TrailingDot, Quirks { trailing_dot: Reading::Never, ..Quirks::default() }),
        (
            "GET /a;b",
            "GET /a",
            ReadingKind::PathParameters,
            Quirks { path_parameters: Reading::Never, ..Quirks::default() },
        ),
        (
            "GET /a%2Fb",
            "GET /a/b",
            ReadingKind::EncodedSlash,
            Quirks { encoded_slash: Reading::Never, ..Quirks::default() },
        ),
        (
            "GET /%2561",
            "GET /a",
            ReadingKind::DoubleDecoding,
            Quirks { double_decoding: Reading::Never, ..Quirks::default() },
        ),
    ] {
        let unknown = Quirks::default();
        let expected = vec![(0, 1, ConflictKind::Reading([kind].into_iter().collect()))];
        assert_eq!(conflicts(&[(first, unknown), (second, unknown)]), expected, "{first} {second}");
        assert_eq!(conflicts(&[(first, never), (second, unknown)]), expected, "{first} {second}");
        assert_eq!(conflicts(&[(first, unknown), (second, never)]), expected, "{first} {second}");
        assert_eq!(conflicts(&[(first, never), (second, never)]), [], "{first} {second}");
        // Disjoint methods are told apart by every server.
        assert_eq!(conflicts(&[(first, unknown), (&second.replace("GET", "POST"), unknown)]), [], "{first} {second}");
    }
    // Two readings together make them equal; it takes only one `never`.
    let unknown = Quirks::default();
    let both = ConflictKind::Reading([ReadingKind::Case, ReadingKind::TrailingSlash].into_iter().collect());
    assert_eq!(conflicts(&[("GET /A", unknown), ("GET /a/", unknown)]), [(0, 1, both)]);
    let never = Quirks { case: Reading::Never, ..unknown };
    assert_eq!(conflicts(&[("GET /A", never), ("GET /a/", never)]), []);
}

#[test]
fn a_reading_that_is_always_done_makes_routes_equal_whatever_their_methods_types() {
    let always = Quirks { case: Reading::Always, ..Quirks::default() };
    let case = || ConflictKind::Reading([ReadingKind::Case].into_iter().collect());
    assert_eq!(conflicts(&[("GET /A/{x}", always), ("POST /a/{x}", always)]), []);
    assert_eq!(conflicts(&[("GET /A/{x}", always), ("POST /a/{int}", always)]), [(0, 1, case())]);
    assert_eq!(conflicts(&[("GET /A/{x}", always), ("GET /a/{x}", always)]), [(0, 1, case())]);
}

#[test]
fn captures_that_readings_change_waver() {
    let router = simple(&["GET /x/{uuid}/{name}", "GET /files/{*path}"]);
    for (path, answer) in [
        ("/x/5F8C1A52-9D1E-4E0B-8A77-0C6F1BE0A111/ann", "0 uuid=5F8C1A52-9D1E-4E0B-8A77-0C6F1BE0A111 name=ann"),
        ("/x/5f8c1a52-9d1e-4e0b-8a77-0c6f1be0a111/Ann", "0 uuid=5f8c1a52-9d1e-4e0b-8a77-0c6f1be0a111 name~=Ann"),
        ("/x/5f8c1a52-9d1e-4e0b-8a77-0c6f1be0a111/ann.", "0 uuid=5f8c1a52-9d1e-4e0b-8a77-0c6f1be0a111 name~~=ann."),
        ("/files/a;b/c", "1 path~~=a;b/c"),
        ("/files/a%2Fb", "1 path~~=a%2Fb"),
        ("/files/a%252Fb", "1 path~~=a%2Fb"),
        ("/files/a%20b/100%25", "1 path=a b/100%"),
    ] {
        assert_eq!(ask(&router, path), answer, "{path}");
    }
}

#[test]
fn presets_let_honest_requests_through() {
    let tomcat = Server::Tomcat.quirks();
    let router = sound(&[("GET /shop/list", tomcat), ("GET /shop/{id}", tomcat), ("GET /{*r}", tomcat)]);
    assert_eq!(ask(&router, "/shop/list;jsessionid=0A1B"), "0");
    assert_eq!(ask(&router, "/shop/4711;jsessionid=0A1B"), "1 id=4711");
    // Tomcat does not take `%3B` for the beginning of parameters: there it is another path.
    assert_eq!(ask(&router, "/shop/list%3Bx"), "400");
    let iis = Server::Iis.quirks();
    let router = sound(&[("GET /Customers/{id}", iis), ("GET /{*r}", iis)]);
    assert_eq!(ask(&router, "/CUSTOMERS/Ann"), "0 id=Ann");
    assert_eq!(ask(&router, "/customers./Ann"), "400");
}

#[test]
fn runs_that_a_reading_makes_are_merged_unless_runs_are_kept() {
    let router = simple(&["GET /a/{x}", "GET /{*r}"]);
    assert_eq!(ask(&router, "/a%2F%2Fx"), "400");
    assert_eq!(ask(&router, "/%2Fa/x"), "400");
    let keep = Quirks { empty_segments: crate::target::quirks::EmptySegments::Keep, ..Quirks::default() };
    let router = sound(&[("GET /a/{x}", keep), ("GET /{*r}", keep)]);
    assert_eq!(ask(&router, "/a//x"), "1 r=a//x");
    assert_eq!(ask(&router, "/a/x"), "0 x=x");
}

#[test]
fn a_long_path_made_of_every_quirk_is_refused_rather_than_worked_through() {
    let router = simple(&["GET /{*r}"]);
    let quirk = "/a%2Fb/c;d/e./f%5Cg./%2541;h%3Bi/j%252Fk./l%253Bm";
    // Where nothing can matter, even this passes; but not at any price.
    assert!(ask(&router, &quirk.repeat(8)).starts_with("0 "));
    let path = quirk.repeat(160);
    let target = Target::parse(&path, PathRules::default()).unwrap();
    let Lookup::Ambiguous(_, misreading) = router.lookup("GET", &target) else { panic!("it passed") };
    assert_eq!(misreading.problem, Problem::TooMany);
}

#[test]
fn misreadings_are_explained() {
    let router = simple(&["GET /admin/{*r}", "GET /{*r}"]);
    for (path, words) in [
        ("/ADMIN/x", "a server that does `case` reads the path of another route"),
        ("/admin;a%2Fx", "a server that does `path_parameters` and `encoded_slash` reads the path of another route"),
        ("/x/..;/y", "a server that does `path_parameters` reads a `.` or `..` segment"),
        ("/x/;y", "a server that does `path_parameters` reads an empty segment"),
        ("/x/%2500", "a server that does `double_decoding` reads a NUL"),
    ] {
        let target = Target::parse(path, PathRules::default()).unwrap();
        let Lookup::Ambiguous(Some(matched), misreading) = router.lookup("GET", &target) else { panic!("{path}") };
        assert_eq!(matched.route().0, 1);
        let first = misreading.to_string();
        assert!(first == words || path.contains('%'), "{path}: {first}");
        assert!(first.starts_with("a server that does"), "{first}");
    }
}

#[test]
fn ten_thousand_routes_are_no_slower_to_find_than_one() {
    let lines: Vec<String> =
        (0..10_000).map(|number| format!("GET /service{number}/{{id}}/part-{{x}}-{number}")).collect();
    let quirks = Quirks::default();
    let router = sound(&lines.iter().map(|line| (line.as_str(), quirks)).collect::<Vec<_>>());
    assert_eq!(ask(&router, "/service9999/a/part-b-9999"), "9999 id=a x=b");
    assert_eq!(ask(&router, "/service9999/a/part-b-1"), "404");
}
