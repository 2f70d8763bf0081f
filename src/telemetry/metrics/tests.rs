use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use http::{Method, Version};

use super::super::record::tests::denied;
use super::super::{RefusedToken, Step, UpstreamCall, Verdict};
use super::*;

/// A strict reader of the subset of `OpenMetrics` that is written here: sample name with labels, value.
fn parse(text: &str) -> BTreeMap<String, String> {
    let mut lines = text.strip_suffix("# EOF\n").expect("the end is marked").lines().peekable();
    let (mut samples, mut families) = (BTreeMap::new(), BTreeSet::new());
    while let Some(line) = lines.next() {
        let help = line.strip_prefix("# HELP ").unwrap_or_else(|| panic!("a family begins with help: {line}"));
        let family = help.split(' ').next().unwrap();
        assert!(families.insert(family.to_owned()), "{family} appears twice");
        let kind = lines.next().unwrap().strip_prefix("# TYPE ").unwrap().strip_prefix(family).unwrap().trim();
        let suffixes: &[&str] = match kind {
            "counter" => &["_total"],
            "gauge" => &[""],
            "histogram" => &["_bucket", "_count", "_sum"],
            other => panic!("unknown type {other}"),
        };
        while let Some(sample) = lines.next_if(|line| !line.starts_with('#')) {
            let (name, value) = sample.rsplit_once(' ').unwrap();
            let bare = name.split('{').next().unwrap();
            let suffix = bare.strip_prefix(family).unwrap_or_else(|| panic!("{bare} stands under {family}"));
            assert!(suffixes.contains(&suffix), "{bare} is no {kind}");
            if let Some(labels) = name.strip_prefix(bare).filter(|labels| !labels.is_empty()) {
                labels_are_well_formed(labels);
            }
            assert!(value.parse::<f64>().is_ok(), "{value} is no number");
            assert!(samples.insert(name.to_owned(), value.to_owned()).is_none(), "{name} appears twice");
        }
    }
    samples
}

fn labels_are_well_formed(labels: &str) {
    let inner = labels.strip_prefix('{').and_then(|labels| labels.strip_suffix('}')).unwrap();
    let pattern = r#"([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\\n]|\\[\\"n])*)"(?:,|$)"#;
    let label = regex::Regex::new(pattern).unwrap();
    let (mut end, mut names) = (0, BTreeSet::new());
    for found in label.captures_iter(inner) {
        let whole = found.get(0).unwrap();
        assert_eq!(whole.start(), end, "{labels}");
        end = whole.end();
        assert!(names.insert(found[1].to_owned()), "a label appears twice: {labels}");
    }
    assert_eq!(end, inner.len(), "{labels}");
}

fn call(metrics: &Metrics) -> UpstreamCall {
    UpstreamCall {
        name: "crm".into(),
        metrics: metrics.upstream("crm"),
        endpoint: None,
        retries: 0,
        over_budget: false,
        step: Step { after: Duration::ZERO, duration: Duration::from_millis(3) },
        status: Some(200),
        failure: None,
    }
}

#[test]
fn everything_the_specification_names_is_there_and_parses() {
    let metrics = Arc::new(Metrics::default());
    let record = Record { upstream: Some(call(&metrics)), ..denied(&metrics) };
    metrics.count(&record);
    let issuer = metrics.issuer("shoen");
    issuer.refreshes.reach(1);
    issuer.introspections.reach(3);
    issuer.keys_confirmed(Timestamp::now());
    let listener = metrics.listener("[::]:8443");
    let open = Level::enter(&listener);
    listener.handshakes.count("ok");
    metrics.reloaded(Ok(1), Timestamp(1_700_000_000));
    let samples = parse(&metrics.text());
    let value =
        |name: &str| samples.get(name).map_or_else(|| panic!("{name} is missing: {samples:#?}"), String::as_str);
    let route = r#"policy="crm",route="GET /customers/{customer}""#;
    assert_eq!(value(&format!(r#"torwart_decisions_total{{{route},decision="deny",reason="scope"}}"#)), "1");
    let timed = format!(r#"http_request_method="GET",http_response_status_class="4xx",{route}"#);
    assert_eq!(value(&format!("http_server_request_duration_seconds_count{{{timed}}}")), "1");
    assert_eq!(value(&format!("http_server_request_duration_seconds_sum{{{timed}}}")), "0.001234");
    assert_eq!(value(&format!(r#"http_server_request_duration_seconds_bucket{{le="0.001",{timed}}}"#)), "0");
    assert_eq!(value(&format!(r#"http_server_request_duration_seconds_bucket{{le="0.0025",{timed}}}"#)), "1");
    assert_eq!(value(&format!(r#"http_server_request_duration_seconds_bucket{{le="+Inf",{timed}}}"#)), "1");
    let called = r#"http_request_method="GET",http_response_status_class="2xx",upstream="crm""#;
    assert_eq!(value(&format!("http_client_request_duration_seconds_count{{{called}}}")), "1");
    assert_eq!(value(r#"torwart_token_validations_total{issuer="shoen",result="ok"}"#), "1");
    assert_eq!(value(r#"torwart_jwks_refreshes_total{issuer="shoen",result="ok"}"#), "1");
    assert_eq!(value(r#"torwart_introspections_total{issuer="shoen",result="ok"}"#), "3");
    assert!(value(r#"torwart_jwks_age_seconds{issuer="shoen"}"#).parse::<f64>().unwrap() < 60.0);
    assert_eq!(value(r#"torwart_connections{listener="[::]:8443"}"#), "1.0");
    assert_eq!(value(r#"torwart_tls_handshakes_total{listener="[::]:8443",result="ok"}"#), "1");
    assert_eq!(value(r#"torwart_upstream_connections{upstream="crm"}"#), "0.0");
    assert_eq!(value("torwart_config_last_reload_success"), "1.0");
    assert_eq!(value(r#"torwart_observing{policy="crm"}"#), "0.0");
    assert_eq!(value(r#"torwart_audit_records_total{result="dropped"}"#), "0");
    for name in [
        "torwart_token_cache_hits_total",
        "torwart_token_cache_evictions_total",
        "torwart_panics_total",
        "http_server_active_requests",
        "torwart_memory_used_ratio",
        "process_cpu_seconds_total",
        "process_open_fds",
    ] {
        value(name);
    }
    drop(open);
    assert_eq!(parse(&metrics.text())[r#"torwart_connections{listener="[::]:8443"}"#], "0.0");
}

#[test]
fn every_address_of_an_upstream_and_what_was_sent_again_is_shown() {
    let metrics = Arc::new(Metrics::default());
    let call = UpstreamCall { retries: 2, over_budget: true, ..call(&metrics) };
    metrics.count(&Record { upstream: Some(call), ..denied(&metrics) });
    let figures = |address: &str, available| EndpointFigures {
        endpoint: "http://crm:80".into(),
        address: address.into(),
        available,
        requests: 3,
        connections: 4,
        ejections: 5,
        checks_passed: 6,
        checks_failed: 7,
        connects: 8,
        connects_failed: 9,
    };
    metrics.upstream("crm").show_endpoints(vec![figures("10.0.0.1:80", true), figures("10.0.0.2:80", false)]);
    let samples = parse(&metrics.text());
    let labels = r#"upstream="crm",endpoint="http://crm:80",address="10.0.0.1:80""#;
    for (name, value) in [
        (format!("torwart_upstream_endpoint_available{{{labels}}}"), "1.0"),
        (format!("torwart_upstream_endpoint_available{{{}}}", labels.replace("0.1:", "0.2:")), "0.0"),
        (format!("torwart_upstream_endpoint_requests{{{labels}}}"), "3.0"),
        (format!("torwart_upstream_endpoint_connections{{{labels}}}"), "4.0"),
        (format!("torwart_upstream_endpoint_ejections_total{{{labels}}}"), "5"),
        (format!(r#"torwart_upstream_health_checks_total{{{labels},result="ok"}}"#), "6"),
        (format!(r#"torwart_upstream_health_checks_total{{{labels},result="error"}}"#), "7"),
        (format!(r#"torwart_upstream_connects_total{{{labels},result="ok"}}"#), "8"),
        (format!(r#"torwart_upstream_connects_total{{{labels},result="error"}}"#), "9"),
        (r#"torwart_upstream_retries_total{upstream="crm",result="sent"}"#.to_owned(), "2"),
        (r#"torwart_upstream_retries_total{upstream="crm",result="over-budget"}"#.to_owned(), "1"),
        (r#"torwart_upstream_waiting{upstream="crm"}"#.to_owned(), "0.0"),
    ] {
        assert_eq!(samples.get(&name).map(String::as_str), Some(value), "{name}");
    }
}

#[test]
fn refused_tokens_are_counted_for_the_issuer_that_they_claim() {
    let metrics = Arc::new(Metrics::default());
    for (fault, issuer) in [("expired", Some("shoen")), ("issuer", None)] {
        let token = RefusedToken { fault, issuer: issuer.map(Arc::from), digest: None };
        metrics.count(&Record { principal: None, refused_token: Some(token), ..denied(&metrics) });
    }
    let samples = parse(&metrics.text());
    assert_eq!(samples[r#"torwart_token_validations_total{issuer="shoen",result="expired"}"#], "1");
    assert_eq!(samples[r#"torwart_token_validations_total{issuer="",result="issuer"}"#], "1");
    assert!(!samples.keys().any(|name| name.starts_with(r#"torwart_jwks_refreshes_total{issuer="""#)));
}

#[test]
fn no_label_value_comes_from_a_request() {
    let metrics = Arc::new(Metrics::default());
    let evil = "EVIL-VALUE";
    let mut record = denied(&metrics);
    record.method = Method::from_bytes(evil.as_bytes()).unwrap();
    record.path = Some(evil.to_owned());
    record.host = Some(evil.into());
    record.request_id = super::super::RequestId::Given(evil.into());
    record.values = vec![(evil.into(), evil.into())];
    metrics.count(&record);
    metrics.count(&Record { route: None, ..record });
    let text = metrics.text();
    assert!(!text.contains(evil), "{text}");
    assert_eq!(text.matches(r#"http_request_method="_OTHER""#).count(), 2 * 19);
}

#[test]
fn a_route_name_with_quotes_and_line_breaks_is_escaped() {
    let metrics = Arc::new(Metrics::default());
    let name = "a\"b\\c\nd";
    let routes = metrics.routes([("crm", name, Mode::Enforce)]);
    let record = Record { route: routes.find("crm", name).cloned(), ..Record::start(Method::GET, Version::HTTP_11) };
    metrics.count(&record);
    let samples = parse(&metrics.text());
    assert!(
        samples.contains_key(
            r#"torwart_decisions_total{policy="crm",route="a\"b\\c\nd",decision="deny",reason="unknown"}"#
        )
    );
}

#[test]
fn counters_survive_a_reload_and_vanished_routes_do_not() {
    let metrics = Arc::new(Metrics::default());
    let count = |routes: &Routes, name: &str| {
        let route = routes.find("crm", name).cloned();
        metrics.count(&Record { route, verdict: Verdict::Allow, ..Record::start(Method::GET, Version::HTTP_11) });
    };
    let before = metrics.routes([("crm", "kept", Mode::Enforce), ("crm", "gone", Mode::Enforce)]);
    count(&before, "kept");
    count(&before, "gone");
    let after = metrics.routes([("crm", "kept", Mode::Observe)]);
    count(&after, "kept");
    // A request that still holds the old snapshot.
    count(&before, "kept");
    let text = metrics.text();
    assert!(
        text.contains(r#"torwart_decisions_total{policy="crm",route="kept",decision="allow",reason=""} 3"#),
        "{text}"
    );
    assert!(!text.contains("gone"), "{text}");
    assert!(text.contains(r#"torwart_observing{policy="crm"} 1.0"#), "{text}");
}

#[test]
fn a_failed_reload_shows_until_one_succeeds() {
    let metrics = Arc::new(Metrics::default());
    metrics.reloaded(Ok(1), Timestamp(5));
    metrics.reloaded(Err(()), Timestamp(6));
    let samples = parse(&metrics.text());
    assert_eq!(samples["torwart_config_last_reload_success"], "0.0");
    assert_eq!(samples["torwart_config_last_reload_timestamp_seconds"], "5.0");
    assert_eq!(samples["torwart_config_generation"], "1.0");
    metrics.reloaded(Ok(2), Timestamp(7));
    let samples = parse(&metrics.text());
    assert_eq!(samples["torwart_config_last_reload_success"], "1.0");
    assert_eq!(samples["torwart_config_generation"], "2.0");
    assert_eq!(samples[r#"torwart_config_reloads_total{result="error"}"#], "1");
}

#[test]
fn a_request_answered_by_the_gateway_itself_is_timed_and_no_decision() {
    let metrics = Arc::new(Metrics::default());
    let record = Record { verdict: Verdict::Own, status: Some(200), ..Record::start(Method::GET, Version::HTTP_11) };
    metrics.count(&record);
    let text = metrics.text();
    assert!(!text.contains("torwart_decisions"), "{text}");
    assert!(text.contains("http_server_request_duration_seconds_count"), "{text}");
}
