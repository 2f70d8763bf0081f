//! From counters to `OpenMetrics` text.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, MetricEncoder, NoLabelSet, text};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::Registry;

use super::histogram::Histogram;
use super::process::Process;
use super::route::{Durations, Mode, Route, Series};
use super::tally::Tally;
use super::{Count, EndpointFigures, Metrics, SinkMetrics, UpstreamMetrics, lock};
use crate::clock::Timestamp;
use crate::panics;

/// The `Content-Type` of the text.
pub(crate) const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// All metrics as text, `# EOF` included.
pub(super) fn text(metrics: &Arc<Metrics>) -> String {
    let mut registry = Registry::default();
    registry.register_collector(Box::new(Shown(Arc::clone(metrics))));
    let mut out = String::new();
    // Writing to a `String` does not fail.
    let _ = text::encode(&mut out, &registry);
    out
}

/// One sample: its labels and its value. A sample without labels is the only one of its family.
type Sample<'v> = (Vec<(&'static str, String)>, Value<'v>);

/// What a sample may be.
enum Value<'v> {
    Counter(u64),
    Seconds(f64),
    Gauge(f64),
    Histogram(&'v Histogram),
}

#[derive(Debug)]
struct Shown(Arc<Metrics>);

impl Collector for Shown {
    fn encode(&self, encoder: DescriptorEncoder) -> fmt::Result {
        let mut out = Families(encoder);
        let metrics = &*self.0;
        requests(&mut out, metrics)?;
        issuers(&mut out, metrics)?;
        upstreams(&mut out, metrics)?;
        listeners(&mut out, metrics)?;
        load(&mut out, metrics)?;
        program(&mut out, metrics)?;
        process(&mut out)
    }
}

/// Writes families of samples.
struct Families<'e>(DescriptorEncoder<'e>);

impl Families<'_> {
    fn counter<'v>(&mut self, name: &str, help: &str, samples: impl IntoIterator<Item = Sample<'v>>) -> fmt::Result {
        self.family(name, help, MetricType::Counter, samples)
    }

    fn gauge<'v>(&mut self, name: &str, help: &str, samples: impl IntoIterator<Item = Sample<'v>>) -> fmt::Result {
        self.family(name, help, MetricType::Gauge, samples)
    }

    fn histogram<'v>(&mut self, name: &str, help: &str, samples: impl IntoIterator<Item = Sample<'v>>) -> fmt::Result {
        self.family(name, help, MetricType::Histogram, samples)
    }

    fn family<'v>(
        &mut self,
        name: &str,
        help: &str,
        kind: MetricType,
        samples: impl IntoIterator<Item = Sample<'v>>,
    ) -> fmt::Result {
        let mut samples = samples.into_iter().peekable();
        if samples.peek().is_none() {
            return Ok(());
        }
        let mut family = self.0.encode_descriptor(name, help, None, kind)?;
        for (labels, value) in samples {
            if labels.is_empty() {
                return value.encode(family);
            }
            value.encode(family.encode_family(&labels)?)?;
        }
        Ok(())
    }
}

impl Value<'_> {
    fn encode(&self, mut encoder: MetricEncoder<'_>) -> fmt::Result {
        match self {
            Self::Counter(n) => encoder.encode_counter::<NoLabelSet, _, f64>(n, None),
            Self::Seconds(n) => encoder.encode_counter::<NoLabelSet, _, f64>(n, None),
            Self::Gauge(n) => encoder.encode_gauge(n),
            Self::Histogram(histogram) => {
                let (sum, count, buckets) = histogram.read();
                encoder.encode_histogram::<NoLabelSet>(sum, count, &buckets, None)
            }
        }
    }
}

fn requests(out: &mut Families<'_>, metrics: &Metrics) -> fmt::Result {
    let routes = lock(&metrics.routes);
    let all = || {
        let unrouted = std::iter::once(("", "", &metrics.unrouted));
        unrouted.chain(routes.iter().map(|route| (&*route.policy, &*route.name, &*route.series)))
    };
    let labels = |policy: &str, route: &str| vec![("policy", policy.to_owned()), ("route", route.to_owned())];
    out.histogram(
        "http_server_request_duration_seconds",
        "Time from the head of a request to the end of its answer",
        all().flat_map(|(policy, route, series)| durations(&series.durations, labels(policy, route))),
    )?;
    let decided = |(policy, route, series): (&str, &str, &Series)| -> Vec<Sample<'static>> {
        let own = labels(policy, route);
        let with = |decision: &str, reason: &str, n| {
            let more = [("decision", decision.to_owned()), ("reason", reason.to_owned())];
            (own.iter().cloned().chain(more).collect(), Value::Counter(n))
        };
        series.decisions().map(|(decision, reason, n)| with(decision, reason, n)).collect()
    };
    out.counter(
        "torwart_decisions",
        "Decisions; what no document is responsible for has no policy",
        all().flat_map(decided),
    )?;
    let watched = |route: &Arc<Route>| {
        (route.name.is_empty()).then(|| {
            let observing = f64::from(u8::from(route.mode == Mode::Observe));
            (vec![("policy", route.policy.to_string())], Value::Gauge(observing))
        })
    };
    out.gauge("torwart_observing", "1 where decisions are recorded and not enforced", routes.iter().filter_map(watched))
}

fn issuers(out: &mut Families<'_>, metrics: &Metrics) -> fmt::Result {
    let issuers = metrics.issuers.all();
    let now = Timestamp::now();
    let validations = tallied("issuer", &issuers, "result", |issuer| &issuer.validations);
    out.counter(
        "torwart_token_validations",
        "Tokens checked, remembered ones included; those of no configured issuer have none",
        validations,
    )?;
    let results = |name: &str, counts: [(&'static str, &Count); 2]| {
        counts.map(|(result, count)| {
            let labels = vec![("issuer", name.to_owned()), ("result", result.to_owned())];
            (labels, Value::Counter(count.value()))
        })
    };
    let named = || issuers.iter().filter(|(name, _)| !name.is_empty());
    let refreshes = named()
        .flat_map(|(name, issuer)| results(name, [("ok", &issuer.refreshes), ("error", &issuer.refresh_failures)]));
    out.counter("torwart_jwks_refreshes", "Attempts to fetch an issuer's keys", refreshes)?;
    let asked = named().filter(|(_, issuer)| issuer.userinfo_answers.value() + issuer.userinfo_failures.value() > 0);
    let calls = asked.flat_map(|(name, issuer)| {
        results(name, [("ok", &issuer.userinfo_answers), ("error", &issuer.userinfo_failures)])
    });
    out.counter("torwart_userinfo_calls", "Tokens that an issuer's userinfo endpoint was asked about", calls)?;
    let asked = named().filter(|(_, issuer)| issuer.introspections.value() + issuer.introspection_failures.value() > 0);
    let calls = asked.flat_map(|(name, issuer)| {
        results(name, [("ok", &issuer.introspections), ("error", &issuer.introspection_failures)])
    });
    out.counter("torwart_introspections", "Tokens that an issuer's introspection endpoint was asked about", calls)?;
    let ages = issuers.iter().filter_map(|(name, issuer)| {
        let age = issuer.keys_age(now)?;
        Some((vec![("issuer", name.to_string())], Value::Gauge(float(age))))
    });
    out.gauge("torwart_jwks_age_seconds", "Time since the issuer confirmed the keys in force", ages)?;
    let memory = &metrics.token_memory;
    out.counter("torwart_token_cache_hits", "Tokens that were remembered", one(memory.hits.value()))?;
    out.counter("torwart_token_cache_misses", "Tokens that had to be verified", one(memory.misses.value()))?;
    let help = "Tokens forgotten to make room for others";
    out.counter("torwart_token_cache_evictions", help, one(memory.evictions.value()))?;
    let entries = [(Vec::new(), Value::Gauge(float(memory.entries.value())))];
    out.gauge("torwart_token_cache_entries", "Tokens remembered", entries)?;
    let bytes = [(Vec::new(), Value::Gauge(float(memory.bytes.value())))];
    out.gauge("torwart_token_cache_bytes", "Memory of the remembered tokens", bytes)
}

fn upstreams(out: &mut Families<'_>, metrics: &Metrics) -> fmt::Result {
    let upstreams = metrics.upstreams.all();
    out.histogram(
        "http_client_request_duration_seconds",
        "Time from sending a request to an upstream to the end of its answer",
        upstreams
            .iter()
            .flat_map(|(name, upstream)| durations(&upstream.durations, vec![("upstream", name.to_string())])),
    )?;
    let open = levels("upstream", &upstreams, |upstream| upstream.connections.value());
    out.gauge("torwart_upstream_connections", "Open connections to an upstream", open)?;
    let waiting = levels("upstream", &upstreams, |upstream| upstream.waiting.value());
    out.gauge("torwart_upstream_waiting", "Requests that wait for a connection to an upstream", waiting)?;
    let failures = tallied("upstream", &upstreams, "reason", |upstream| &upstream.failures);
    out.counter("torwart_upstream_failures", "Requests that an upstream did not answer", failures)?;
    let retries = tallied("upstream", &upstreams, "result", |upstream| &upstream.retries);
    out.counter("torwart_upstream_retries", "Requests sent again, and those that the budget kept from it", retries)?;
    endpoints(out, &upstreams)
}

fn endpoints(out: &mut Families<'_>, upstreams: &[(Arc<str>, Arc<UpstreamMetrics>)]) -> fmt::Result {
    let all: Vec<_> = upstreams
        .iter()
        .flat_map(|(name, upstream)| upstream.endpoints().into_iter().map(|figures| (Arc::clone(name), figures)))
        .collect();
    let samples = |value: fn(&EndpointFigures) -> Value<'static>| {
        all.iter().map(move |(name, figures)| {
            let labels = [("upstream", name), ("endpoint", &figures.endpoint), ("address", &figures.address)];
            (labels.map(|(key, text)| (key, text.to_string())).to_vec(), value(figures))
        })
    };
    let available = samples(|figures| Value::Gauge(f64::from(u8::from(figures.available))));
    out.gauge("torwart_upstream_endpoint_available", "Whether an address of an endpoint gets requests", available)?;
    let requests = samples(|figures| Value::Gauge(amount(figures.requests)));
    out.gauge("torwart_upstream_endpoint_requests", "Requests under way at an address of an endpoint", requests)?;
    let open = samples(|figures| Value::Gauge(amount(figures.connections)));
    out.gauge("torwart_upstream_endpoint_connections", "Open connections to an address of an endpoint", open)?;
    let ejections = samples(|figures| Value::Counter(figures.ejections));
    let help = "How often an address was left alone for its failures";
    out.counter("torwart_upstream_endpoint_ejections", help, ejections)?;
    let checks = samples(|figures| Value::Counter(figures.checks_passed)).map(|sample| with_result(sample, "ok"));
    let failed = samples(|figures| Value::Counter(figures.checks_failed)).map(|sample| with_result(sample, "error"));
    out.counter("torwart_upstream_health_checks", "Health checks of an address of an endpoint", checks.chain(failed))?;
    let opened = samples(|figures| Value::Counter(figures.connects)).map(|sample| with_result(sample, "ok"));
    let failed = samples(|figures| Value::Counter(figures.connects_failed)).map(|sample| with_result(sample, "error"));
    out.counter("torwart_upstream_connects", "Connections opened for requests, and attempts to", opened.chain(failed))
}

fn with_result((mut labels, value): Sample<'static>, result: &str) -> Sample<'static> {
    labels.push(("result", result.to_owned()));
    (labels, value)
}

fn listeners(out: &mut Families<'_>, metrics: &Metrics) -> fmt::Result {
    let listeners = metrics.listeners.all();
    let open = levels("listener", &listeners, |listener| listener.open.value());
    out.gauge("torwart_connections", "Open client connections", open)?;
    let accepted = listeners
        .iter()
        .map(|(name, listener)| (vec![("listener", name.to_string())], Value::Counter(listener.accepted.value())));
    out.counter("torwart_connections_accepted", "Client connections accepted", accepted)?;
    let refused = tallied("listener", &listeners, "reason", |listener| &listener.refused);
    out.counter("torwart_connections_refused", "Client connections closed before a request, by reason", refused)?;
    let handshakes = tallied("listener", &listeners, "result", |listener| &listener.handshakes);
    out.counter("torwart_tls_handshakes", "TLS handshakes with clients", handshakes)
}

fn program(out: &mut Families<'_>, metrics: &Metrics) -> fmt::Result {
    let success = f64::from(u8::from(!metrics.last_reload_failed.load(Ordering::Relaxed)));
    let success = [(Vec::new(), Value::Gauge(success))];
    out.gauge(
        "torwart_config_last_reload_success",
        "Whether the last attempt to load the configuration succeeded",
        success,
    )?;
    let moment = [(Vec::new(), Value::Gauge(float(metrics.last_reload.load(Ordering::Relaxed))))];
    out.gauge("torwart_config_last_reload_timestamp_seconds", "When the configuration in force was loaded", moment)?;
    let generation = i64::try_from(metrics.generation.load(Ordering::Relaxed)).unwrap_or(i64::MAX);
    let generation = [(Vec::new(), Value::Gauge(float(generation)))];
    out.gauge("torwart_config_generation", "How many configurations were in force in this process", generation)?;
    let reloads = metrics.reloads.iter().map(|(result, n)| (vec![("result", result.to_owned())], Value::Counter(n)));
    out.counter("torwart_config_reloads", "Attempts to load the configuration", reloads)?;
    out.counter("torwart_audit_records", "Audit records by what became of them", sink(&metrics.audit))?;
    out.counter("torwart_access_log_lines", "Lines of the access log by what became of them", sink(&metrics.access))?;
    out.counter("torwart_traces", "Traces of requests by what became of them", sink(&metrics.traces))?;
    out.counter("torwart_panics", "Mistakes in the gateway that ended a connection or more", one(panics::count()))?;
    let build = [(vec![("version", env!("CARGO_PKG_VERSION").to_owned())], Value::Gauge(1.0))];
    out.gauge("torwart_build_info", "The version that is running", build)
}

fn load(out: &mut Families<'_>, metrics: &Metrics) -> fmt::Result {
    let requests = [(Vec::new(), Value::Gauge(amount(metrics.load.requests())))];
    out.gauge("http_server_active_requests", "Requests under way", requests)?;
    let memory = [(Vec::new(), Value::Gauge(f64::from(metrics.load.memory()) / 1000.0))];
    let help = "How much of the memory that the process may have it has";
    out.gauge("torwart_memory_used_ratio", help, memory)
}

fn process(out: &mut Families<'_>) -> fmt::Result {
    #[expect(clippy::cast_precision_loss, reason = "sizes beyond 2^53 bytes may lose their last digits")]
    let gauge = |n: Option<u64>| n.map(|n| (Vec::new(), Value::Gauge(n as f64)));
    let process = Process::read();
    let cpu = process.cpu_seconds.map(|seconds| (Vec::new(), Value::Seconds(seconds)));
    out.counter("process_cpu_seconds", "User and system time", cpu)?;
    out.gauge("process_resident_memory_bytes", "Resident memory", gauge(process.resident_bytes))?;
    out.gauge("process_virtual_memory_bytes", "Address space", gauge(process.virtual_bytes))?;
    out.gauge("process_open_fds", "Open file descriptors", gauge(process.open_fds))?;
    out.gauge("process_max_fds", "Limit of open file descriptors", gauge(process.max_fds))?;
    out.gauge("process_threads", "Threads", gauge(process.threads))?;
    let started = process.started.map(|seconds| (Vec::new(), Value::Gauge(seconds)));
    out.gauge("process_start_time_seconds", "Start of the process since the Unix epoch", started)
}

fn durations<'d>(durations: &'d Durations, labels: Vec<(&'static str, String)>) -> impl Iterator<Item = Sample<'d>> {
    durations.iter().map(move |(method, class, histogram)| {
        let own = [("http_request_method", method.to_owned()), ("http_response_status_class", class.to_owned())];
        (own.into_iter().chain(labels.iter().cloned()).collect(), Value::Histogram(histogram))
    })
}

fn tallied<'v, T>(
    key: &'static str,
    all: &'v [(Arc<str>, Arc<T>)],
    word: &'static str,
    tally: impl Fn(&T) -> &Tally + 'v,
) -> impl Iterator<Item = Sample<'v>> {
    all.iter().flat_map(move |(name, part)| {
        let samples = tally(part).iter();
        let samples =
            samples.map(|(value, n)| (vec![(key, name.to_string()), (word, value.to_owned())], Value::Counter(n)));
        samples.collect::<Vec<_>>()
    })
}

fn levels<'v, T>(
    key: &'static str,
    all: &'v [(Arc<str>, Arc<T>)],
    level: impl Fn(&T) -> i64 + 'v,
) -> impl Iterator<Item = Sample<'v>> {
    all.iter().map(move |(name, part)| (vec![(key, name.to_string())], Value::Gauge(float(level(part)))))
}

fn sink(metrics: &SinkMetrics) -> impl IntoIterator<Item = Sample<'static>> {
    let all = [("written", &metrics.written), ("dropped", &metrics.dropped), ("failed", &metrics.failed)];
    all.map(|(result, count)| (vec![("result", result.to_owned())], Value::Counter(count.value())))
}

/// A number of things as a gauge.
fn amount(n: usize) -> f64 {
    float(i64::try_from(n).unwrap_or(i64::MAX))
}

fn one(n: u64) -> [Sample<'static>; 1] {
    [(Vec::new(), Value::Counter(n))]
}

#[expect(clippy::cast_precision_loss, reason = "a gauge beyond 2^53 may lose its last digits")]
fn float(n: i64) -> f64 {
    n as f64
}
