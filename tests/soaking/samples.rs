//! What the gateway takes of the machine, every few seconds, and whether that stays the same.

use std::fmt::Write as _;
use std::fs::File;
use std::io::Write as _;
use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::site::Site;

/// What has to stay the same: the name in the samples, and how much more its median may be, as a share and as a number.
/// Memory counts in KiB.
type Bound = (&'static str, f64, f64);

/// For a run long enough for everything to have happened many times in each quarter.
const LONG: [Bound; 6] = [
    ("resident", 0.05, 4096.0),
    ("descriptors", 0.05, 16.0),
    ("threads", 0.0, 1.0),
    ("connections", 0.05, 8.0),
    ("in_flight", 0.05, 8.0),
    ("upstream_connections", 0.10, 8.0),
];

/// For a run of seconds, in which memories fill and a fault more or less shows.
const SHORT: [Bound; 3] = [("resident", 0.25, 65_536.0), ("descriptors", 0.25, 64.0), ("threads", 0.0, 4.0)];

/// More than this is too much at any time, in KiB.
const MOST: f64 = 300_000.0;

/// See the module's description.
pub(crate) struct Samples {
    all: Vec<Value>,
    file: File,
    begun: Instant,
}

impl Samples {
    /// Samples that are also written to a file, a JSON object a line.
    pub(crate) fn new(file: &Path) -> Self {
        Self { all: Vec::new(), file: File::create(file).expect("a file"), begun: Instant::now() }
    }

    pub(crate) fn take(&mut self, site: &Site) {
        let (_, metrics) = site.program.ask("GET", "/metrics").expect("metrics");
        let total = |name: &str| metric(&metrics, name, "");
        let sample = json!({
            "seconds": self.begun.elapsed().as_secs(),
            "resident": site.program.resident(),
            "descriptors": site.program.descriptors(),
            "threads": site.program.threads(),
            "connections": total("torwart_connections"),
            "in_flight": total("torwart_upstream_endpoint_requests"),
            "upstream_connections": total("torwart_upstream_connections"),
            "waiting": total("torwart_upstream_waiting"),
            "token_memory": total("torwart_token_cache_bytes"),
            "generation": total("torwart_config_generation"),
            "allowed": metric(&metrics, "torwart_decisions_total", "decision=\"allow\""),
            "denied": metric(&metrics, "torwart_decisions_total", "decision=\"deny\""),
            "wrong": site.ledger.wrongs.load(std::sync::atomic::Ordering::Relaxed),
        });
        writeln!(self.file, "{sample}").expect("a disk");
        self.all.push(sample);
    }

    /// What is not as flat as it has to be, and a table of it.
    pub(crate) fn judge(&self) -> (Vec<String>, String) {
        let long = self.begun.elapsed() >= Duration::from_mins(10);
        let bounds: &[Bound] = if long { &LONG } else { &SHORT };
        let (mut faults, mut table) = (Vec::new(), String::new());
        for (name, share, more) in bounds {
            let (second, last) = (self.median(name, 1), self.median(name, 3));
            let most = second + second * share + more;
            let _ =
                writeln!(table, "{name}: median {second} in the second quarter, {last} in the last, at most {most:.0}");
            if last > most {
                faults.push(format!("{name} grows: {second}, then {last}"));
            }
        }
        let largest = self.of("resident").fold(0.0, f64::max);
        let _ = writeln!(table, "resident: {largest} KiB at most");
        if largest > MOST {
            faults.push(format!("{largest} KiB are too much"));
        }
        (faults, table)
    }

    fn of(&self, name: &str) -> impl Iterator<Item = f64> {
        self.all.iter().filter_map(move |sample| sample[name].as_f64())
    }

    fn median(&self, name: &str, quarter: usize) -> f64 {
        let length = self.all.len() / 4;
        let mut part: Vec<_> = self.of(name).skip(quarter * length).take(length).collect();
        part.sort_by(f64::total_cmp);
        part.get(part.len() / 2).copied().unwrap_or_default()
    }
}

/// The sum over all samples of a metric with a certain label.
pub(crate) fn metric(text: &str, name: &str, label: &str) -> f64 {
    let lines = text.lines().filter_map(|line| line.strip_prefix(name)).filter(|rest| rest.starts_with(['{', ' ']));
    lines.filter(|rest| rest.contains(label)).filter_map(|rest| rest.rsplit(' ').next()?.parse::<f64>().ok()).sum()
}
