//! Records with anything in them that may be in one, evil texts above all.

use std::net::IpAddr;
use std::time::{Duration, SystemTime};

use http::{Method, Version};
use proptest::collection::vec;
use proptest::option::of;
use proptest::prelude::*;
use proptest::sample::select;
use serde_json::{Value, json};

use super::super::id::{RequestId, Trace};
use super::super::metrics::{Metrics, Mode};
use super::super::record::tests::{condition, principal};
use super::super::record::{Condition, Record, RefusedToken, Revision, Step, UpstreamCall, Verdict};
use crate::principal::Principal;

/// Characters that mean something to a reader of lines, or nearly do.
const EVIL: &[char] = &[
    '"', '\\', '/', '\0', '\u{8}', '\t', '\n', '\u{b}', '\u{c}', '\r', '\u{1b}', '\u{1f}', ' ', '~', '\u{7f}',
    '\u{80}', '\u{9b}', '\u{9f}', '\u{a0}', '\u{61b}', '\u{61c}', '\u{200a}', '\u{200b}', '\u{200f}', '\u{2010}',
    '\u{2027}', '\u{2028}', '\u{202e}', '\u{202f}', '\u{2060}', '\u{2069}', '\u{206a}', '\u{feff}', '\u{fff9}',
    '\u{fffb}', '\u{fffd}', 'ü', '😀',
];

pub(in crate::telemetry) fn text() -> impl Strategy<Value = String> {
    let character = prop_oneof![4 => proptest::char::range(' ', '~'), 2 => select(EVIL), 1 => any::<char>()];
    vec(character, 0..40).prop_map(|characters| characters.into_iter().collect())
}

fn texts() -> impl Strategy<Value = Vec<String>> {
    vec(text(), 0..4)
}

fn value() -> impl Strategy<Value = Value> {
    prop_oneof![
        text().prop_map(Value::from),
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        texts().prop_map(Value::from),
        (text(), text()).prop_map(|(name, value)| json!({"list": [{name: value}], "number": 1.5})),
    ]
}

/// To the microsecond: what lies in between is rounded, and is not what is compared.
fn duration() -> impl Strategy<Value = Duration> {
    prop_oneof![0..20u64, 0..5_000_000u64, 0..1u64 << 48].prop_map(Duration::from_micros)
}

fn holder() -> impl Strategy<Value = Principal> {
    let flow = select(&[crate::principal::Flow::User, crate::principal::Flow::ClientCredentials][..]);
    let lists = (texts(), of(texts()), of(texts()), of(any::<bool>()));
    let names = (of(text()), of(text()), of(text()), any::<[u8; 32]>());
    (lists, names, flow).prop_map(|((scopes, permissions, organizations, global), names, flow)| {
        let (subject, client, token_id, token_digest) = names;
        let (scopes, permissions, organizations) =
            (scopes.into(), permissions.map(Into::into), organizations.map(Into::into));
        let lists = Principal { scopes, permissions, organizations, global, flow, ..principal() };
        Principal { subject, client, token_id, token_digest, ..lists }
    })
}

fn call() -> impl Strategy<Value = UpstreamCall> {
    let failure = of(select(&["timeout", "upstream-unreachable"][..]));
    (text(), of(text()), 0..3u32, of(any::<u16>()), duration(), failure).prop_map(
        |(name, endpoint, retries, status, duration, failure)| UpstreamCall {
            name: name.into(),
            metrics: std::sync::Arc::default(),
            endpoint: endpoint.map(Into::into),
            retries,
            over_budget: false,
            step: Step { after: Duration::ZERO, duration },
            status,
            failure,
        },
    )
}

fn verdict() -> impl Strategy<Value = Verdict> {
    let observed = any::<u16>().prop_map(|would| Verdict::Observed { would });
    prop_oneof![Just(Verdict::Allow), Just(Verdict::Deny), Just(Verdict::Own), observed]
}

fn failed() -> impl Strategy<Value = Condition> {
    (text(), any::<bool>())
        .prop_map(|(text, placed)| Condition { text: text.into(), place: condition().place.filter(|_| placed) })
}

/// Who asked for what.
fn asked() -> impl Strategy<Value = Record> {
    let ids = (of("[!-~]{1,128}"), any::<[u8; 16]>(), any::<[u8; 8]>());
    let method = select(&["GET", "DELETE", "BREW", "get", "X|Y"][..]);
    let host = of(prop_oneof![Just("api.example.com".to_owned()), Just("[::1]:8443".to_owned()), text()]);
    // Until the year 9999, and many of the same second.
    let time = prop_oneof![0..253_402_300_800_000u64, 1_795_298_400_000..1_795_298_402_000u64];
    let seen = (of(any::<IpAddr>()), any::<bool>(), select(&[Version::HTTP_10, Version::HTTP_11, Version::HTTP_2][..]));
    (ids, method, host, of(text()), time, seen).prop_map(|((id, trace_id, span_id), method, host, path, time, seen)| {
        let method = Method::from_bytes(method.as_bytes()).unwrap();
        let (address, tls, version) = seen;
        let record = Record::start(method, version);
        Record {
            time: SystemTime::UNIX_EPOCH + Duration::from_millis(time),
            request_id: id.as_deref().and_then(RequestId::given).unwrap_or(record.request_id.clone()),
            trace: Trace { trace_id, span_id, ..record.trace },
            host: host.map(Into::into),
            path,
            address,
            tls,
            ..record
        }
    })
}

/// Anything.
pub(in crate::telemetry) fn record() -> impl Strategy<Value = Record> {
    let decided = (verdict(), of(select(&["scope", "subject"][..])), of(failed()), vec(failed(), 0..3));
    let noted = (vec((text(), value()), 0..4), vec((select(&["query", "body"][..]), value()), 0..3));
    let refused = of(of(any::<[u8; 32]>()))
        .prop_map(|digest| digest.map(|digest| RefusedToken { fault: "expired", issuer: None, digest }));
    let route = of((text(), prop_oneof![Just(String::new()), text()], any::<bool>()));
    let ended = (of(any::<u16>()), any::<u64>(), any::<u64>(), of(Just("client-aborted")), duration());
    let who = (of(holder()), refused, any::<[u8; 16]>());
    (asked(), decided, noted, who, route, (ended, of(call()))).prop_map(|(asked, decided, noted, who, route, end)| {
        let route = route.and_then(|(policy, route, observes)| {
            let mode = if observes { Mode::Observe } else { Mode::Enforce };
            Metrics::default().routes([(&*policy, &*route, mode)]).find(&policy, &route).cloned()
        });
        let (verdict, reason, condition, lifted) = decided;
        let (values, facts) = noted;
        let (principal, refused_token, revision) = who;
        let ((status, request_bytes, response_bytes, error, duration), upstream) = end;
        let decided = Record { route, verdict, reason, condition, lifted, values, facts, ..asked };
        let asked = Record { principal: principal.map(Into::into), refused_token, ..decided };
        Record {
            revision: Revision(revision),
            status,
            request_bytes,
            response_bytes,
            error,
            duration,
            upstream,
            ..asked
        }
    })
}
