use super::*;
use crate::policy::tests::compiled;
use crate::principal::{ClaimPath, IssuerId, IssuerIdentity};

fn document(routes: &str) -> String {
    format!("version: 1\npolicy: p\nhosts: [api.example.com]\nupstream: crm\nissuers: [shoen]\nroutes:\n{routes}")
}

/// What is found in these routes, each with its line and, where another condition is named, with that one's text.
fn found_for(issuer: IssuerIdentity, routes: &str) -> Vec<String> {
    let policies = compiled(&[&document(routes)]);
    let side = Side { policies: &policies, issuers: &[Arc::new(issuer)], upstreams: &["crm".into()] };
    let found = inspect(&side);
    assert!(!found.has_errors(), "what cannot be meant can still be decided");
    let text = |place: &Place| place.source.text.get(place.span.start..place.span.end).unwrap().to_owned();
    let told = found.iter().map(|one| {
        assert!(one.help.as_ref().is_some_and(|help| help.len() > 20), "{one:?}");
        let place = one.place.as_ref().unwrap();
        let other = one.related.as_ref().map(|(other, note)| format!(" ({note}: {})", text(other))).unwrap_or_default();
        format!("{} {}: {}{other}", place.line_column().0, text(place), one.message)
    });
    told.collect()
}

fn found(routes: &str) -> Vec<String> {
    found_for(IssuerIdentity::named(IssuerId(0), "shoen"), routes)
}

fn nothing() -> Vec<String> {
    Vec::new()
}

#[test]
fn a_route_that_no_request_matches_is_told() {
    let shadowed = "  - {path: '/a/{x}', methods: [GET], params: {x: {regex: b}}, require: {subject: '{x}'}}
  - {path: /a/b, methods: [GET], require: authenticated}\n";
    assert_eq!(found(shadowed), ["7 '/a/{x}': no request can match this route"]);
    // No text is of this type, so that nothing else could take the requests either.
    let nothing_fits =
        "  - {path: '/a/{x}', methods: [GET], params: {x: {regex: '[^\\s\\S]'}}, require: {subject: '{x}'}}\n";
    assert_eq!(found(nothing_fits), ["7 '/a/{x}': no request can match this route"]);
    let open = "  - {path: '/a/{x}', methods: [GET], params: {x: {regex: 'b|c'}}, require: {subject: '{x}'}}
  - {path: /a/b, methods: [GET], require: public}\n";
    assert_eq!(found(open), nothing());
}

#[test]
fn a_condition_that_never_holds_is_told_alone() {
    let kept = "  - {path: /a, methods: [GET], params: {query.n: int}, require: {scope: s, request: {query.n: [x, y]}, flow: user}}\n";
    let [told] = found(kept).try_into().unwrap();
    assert!(told.ends_with("can never hold here") && told.starts_with("7 "), "{told}");
    assert_eq!(found(&kept.replace("[x, y]", "[x, '1']")), nothing());
}

#[test]
fn conditions_that_never_hold_together_are_told_with_the_first_that_is_in_the_way() {
    let two = "  - path: /a
    methods: [GET]
    require:
      all_of:
        - scope: s
        - subject: a
        - client: c
        - subject: b
        - subject: d\n";
    let told = "14 subject: `subject: a` and `subject: b` can never hold together (the other condition: subject)";
    assert_eq!(found(two), [told]);
    let three = "  - path: /a
    methods: [GET]
    require:
      all_of:
        - any_of: [{client: a}, {client: b}]
        - any_of: [{client: b}, {client: c}]
        - any_of: [{client: a}, {client: c}]\n";
    let told = found(three);
    assert_eq!(told, ["13 any_of: `any_of` can never hold together with the conditions before it"]);
    assert_eq!(
        found(&two.replace("subject: b", "subject: [b, a]").replace("subject: d", "subject: [d, a]")),
        nothing()
    );
}

/// What one issuer takes for the same, another may not.
#[test]
fn whether_conditions_can_hold_together_is_asked_of_the_issuers_there_are() {
    let route = "  - {path: /a, methods: [GET], params: {query.g: {regex: '[a-z]+'}}, require: {all_of: [{claim: {g: {equals: ABC}}}, {claim: {g: {equals: '{query.g}'}}}]}}\n";
    let folding =
        IssuerIdentity { case_insensitive: vec![ClaimPath::top("g")], ..IssuerIdentity::named(IssuerId(0), "shoen") };
    assert_eq!(found_for(folding, route), nothing());
    let [told] = found(route).try_into().unwrap();
    assert!(told.contains("can never hold together"), "{told}");
}

/// What cannot be looked at to the end is not told of.
#[test]
fn nothing_is_told_of_what_is_too_large() {
    let text = |number: usize| format!("t{number}");
    let many: Vec<String> = (0..20).map(text).collect();
    let route = format!(
        "  - {{path: /a, methods: [GET], require: {{request: {{query.q: [{}]}}, all_of: [{{subject: a}}, {{subject: b}}]}}}}\n",
        many.join(", ")
    );
    assert_eq!(found(&route), nothing());
    assert_eq!(found(&route.replace(&many[1..].join(", "), "t2")).len(), 1);
}

#[test]
fn labels_that_callers_choose_are_told_wherever_they_are_asked_about() {
    let soap = "`SOAPAction` is a label that the caller chooses: what is done can be another operation";
    let graphql = "GraphQL's `operationName` is a label that the caller chooses: what is done can be another operation";
    for (name, said) in [
        ("header.SOAPAction", Some(soap)),
        ("query.operationName", Some(graphql)),
        ("body./operationName", Some(graphql)),
        ("header.X-Action", None),
        ("query.operation", None),
        ("body./operation", None),
        ("form.operationName", None),
    ] {
        for asked in [
            format!("{{request: {{{name}: get}}}}"),
            format!("{{not: {{request: {{{name}: get}}}}}}"),
            format!("{{any_of: [{{scope: s}}, {{all_of: [{{request: {{{name}: get}}}}, {{client: c}}]}}]}}"),
        ] {
            let told = found(&format!("  - {{path: /a, methods: [POST], require: {asked}}}\n"));
            let messages: Vec<_> =
                told.iter().filter_map(|told| told.split_once(": ")).map(|(_, message)| message).collect();
            assert_eq!(messages, said.as_slice(), "{asked}");
        }
    }
}
