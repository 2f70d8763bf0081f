//! The invariant of the building blocks, section 6: identity is ours, in every spelling, in headers and in trailers.

use std::sync::Arc;

use http::request;
use http::{HeaderMap, HeaderName, HeaderValue, Request};
use proptest::prelude::*;

use super::*;
use crate::upstream::Scheme;

/// What the permit sets: identity, headers of the route, basic authentication.
const SET: [(&str, &str); 6] = [
    ("x-auth-subject", "ours"),
    ("x-auth-org-uids", "ours"),
    ("x-auth-global", "ours"),
    ("x-internal-user", "ours"),
    ("soap_user", "ours"),
    ("authorization", "Basic ours"),
];

/// Names that the permit would set, did they have a value.
const REMOVED: [&str; 6] =
    ["x-internal-user", "soap-user", "authorization", "x-empty-this-time", "x-auth-permissions", "x-auth-subject"];

/// Everything else that the gateway says itself.
const SAID: [&str; 9] = [
    "host",
    "via",
    "x-request-id",
    "traceparent",
    "x-forwarded-for",
    "x-forwarded-proto",
    "x-forwarded-host",
    "x-forwarded-port",
    "forwarded",
];

fn facts(trusted: bool) -> Facts {
    Facts {
        authority: HeaderValue::from_static("api.example.com"),
        peer: Some([192, 0, 2, 1].into()),
        peer_is_trusted: trusted,
        client: Some([192, 0, 2, 1].into()),
        scheme: Scheme::Https,
        port: 443,
        request_id: HeaderValue::from_static("ours"),
        traceparent: HeaderValue::from_static("ours"),
        trace_continued: false,
        valid_until: None,
        tunnel: None,
    }
}

fn text(written: Vec<u8>) -> String {
    String::from_utf8(written).unwrap()
}

fn identity() -> IdentityNames {
    IdentityNames { prefix: "x-auth-".into(), pass: vec!["x-auth-token".into()] }
}

fn names() -> Vec<Box<str>> {
    REMOVED.iter().map(|name| (*name).into()).collect()
}

fn effects<'p>(set: &'p [(HeaderName, HeaderValue)], removes: &'p [Box<str>]) -> Effects<'p> {
    Effects {
        set: set.iter().map(|(name, value)| (name, value)).collect(),
        assertion: None,
        removes,
        authorization: AuthorizationHeader::Strip,
        strips_method_override: true,
    }
}

fn set() -> Vec<(HeaderName, HeaderValue)> {
    SET.iter().map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value))).collect()
}

fn head(fields: &[(String, String)]) -> request::Parts {
    let (mut head, ()) = Request::new(()).into_parts();
    for (name, value) in fields {
        head.headers.append(name.parse::<HeaderName>().unwrap(), value.parse().unwrap());
    }
    head
}

fn rewritten(fields: &[(String, String)], trusted: bool) -> HeaderMap {
    let (set, removes, identity, target) = (set(), names(), Arc::new(identity()), PathAndQuery::from_static("/"));
    let delivery = Delivery {
        host: &HeaderValue::from_static("api.example.com"),
        http2: false,
        identity: &identity,
        client_address_from: ClientAddressHeader::XForwardedFor,
    };
    let (facts, effects) = (facts(trusted), effects(&set, &removes));
    let (head, framing) = (head(fields), Framing::None);
    let draft = Draft { head, facts: &facts, effects, delivery, framing, target: &target };
    draft.headers()
}

/// Another spelling of a name that servers may read as it: other letters' case, other characters for the dashes.
fn spelling(name: &'static str) -> impl Strategy<Value = String> {
    let change = prop::collection::vec((any::<bool>(), prop::sample::select(b"-_.!#$%&'*+^`|~".to_vec())), name.len());
    change.prop_map(move |changes| {
        let letter = |(byte, (upper, other)): (u8, (bool, u8))| match byte {
            b'-' | b'_' => char::from(other),
            _ if upper => char::from(byte.to_ascii_uppercase()),
            _ => char::from(byte),
        };
        name.bytes().zip(changes).map(letter).collect()
    })
}

fn any_spelling() -> impl Strategy<Value = String> {
    let known = SET.iter().map(|(name, _)| *name).chain(REMOVED).chain(SAID);
    prop::sample::select(known.collect::<Vec<_>>()).prop_flat_map(spelling)
}

fn hostile() -> impl Strategy<Value = Vec<(String, String)>> {
    let value = prop_oneof![Just("evil".to_owned()), Just("Bearer evil".to_owned())];
    let connection = any_spelling().prop_map(|name| ("connection".to_owned(), name));
    prop::collection::vec(prop_oneof![6 => (any_spelling(), value), 1 => connection], 0..24)
}

/// Names that fold to `name`, with their values.
fn read_as<'h>(headers: &'h HeaderMap, name: &str) -> Vec<&'h HeaderValue> {
    headers
        .iter()
        .filter(|(found, _)| fold_header(found.as_str()) == fold_header(name))
        .map(|(_, value)| value)
        .collect()
}

proptest! {
    #[test]
    fn the_upstream_sees_exactly_one_value_of_what_the_gateway_says_and_it_is_ours(fields in hostile()) {
        let headers = rewritten(&fields, false);
        for (name, value) in SET {
            prop_assert_eq!(read_as(&headers, name), [value], "{}", name);
        }
        for name in SAID {
            let read = read_as(&headers, name);
            prop_assert_eq!(read.len(), 1, "{}", name);
            prop_assert!(name == "via" || !read[0].to_str().unwrap().contains("evil"), "{}", name);
        }
        for name in REMOVED {
            prop_assert!(read_as(&headers, name).iter().all(|value| !value.to_str().unwrap().contains("evil")));
        }
    }

    #[test]
    fn trailers_hold_nothing_that_the_gateway_says(fields in hostile()) {
        let (set, removes) = (set(), names());
        let rules = TrailerRules::new(&Arc::new(identity()), &effects(&set, &removes));
        let trailers = head(&fields).headers;
        prop_assert!(rules.filter(trailers).is_none());
    }

    #[test]
    fn of_a_trusted_proxy_only_the_plain_spelling_counts(odd in spelling("x-forwarded-for")) {
        let fields = [("x-forwarded-for".to_owned(), "192.0.2.9".to_owned()), (odd.clone(), "evil".to_owned())];
        let headers = rewritten(&fields, true);
        let read = read_as(&headers, "x-forwarded-for");
        prop_assert_eq!(read.len(), 1);
        let plain = odd.eq_ignore_ascii_case("x-forwarded-for");
        prop_assert_eq!(read[0], if plain { "192.0.2.9, evil, 192.0.2.1" } else { "192.0.2.9, 192.0.2.1" });
    }

    #[test]
    fn other_fields_arrive_in_order(values in prop::collection::vec("[a-z]{1,5}", 1..5)) {
        let fields: Vec<_> = values.iter().map(|value| ("x-other".to_owned(), value.clone())).collect();
        let headers = rewritten(&fields, false);
        let arrived: Vec<_> = headers.get_all("x-other").iter().map(|value| value.to_str().unwrap()).collect();
        prop_assert_eq!(arrived, values);
    }
}

/// RFC 7239 sections 6 and 7.4.
#[test]
fn addresses_are_written_as_their_fields_want_them() {
    let mut facts = facts(false);
    facts.peer = Some("2001:db8::1".parse().unwrap());
    facts.client = facts.peer;
    let fields = |facts: &Facts, x_forwarded_for: Option<&HeaderValue>| {
        hops::fields(facts, Believed { x_forwarded_for, forwarded: None }).map(|value| text(value.to_vec()))
    };
    let written = "for=\"[2001:db8::1]\";host=\"api.example.com\";proto=https";
    assert_eq!(fields(&facts, None), ["2001:db8::1", written]);
    facts.peer_is_trusted = true;
    facts.client = Some([198, 51, 100, 7].into());
    assert_eq!(fields(&facts, None), ["198.51.100.7, 2001:db8::1", &format!("for=198.51.100.7, {written}")]);
    facts.client = None;
    assert_eq!(fields(&facts, None), ["unknown, 2001:db8::1", &format!("for=unknown, {written}")]);
    let before = ["192.0.2.1"; 100].join(", ");
    let [long, _] = fields(&facts, Some(&HeaderValue::from_str(&before).unwrap()));
    assert_eq!(long, format!("{before}, 2001:db8::1"), "more than is usual");
}

#[test]
fn values_in_one_buffer_are_each_what_it_was() {
    let values = header_values([b"api.example.com", b"", b"00-1"]).unwrap();
    assert_eq!(values, ["api.example.com", "", "00-1"]);
    assert!(header_values([&b"a"[..], b"b\r\nc"]).is_err());
}
