//! Everything at once, for half a minute or for half an hour (`tests/soak`): the real program under mixed load, while what
//! surrounds it fails on schedule. Each client knows what has to become of each of its requests, and what the upstreams saw
//! is compared with it. What the gateway takes of the machine has to stay the same.

#[cfg(test)]
#[path = "soaking/catalogue.rs"]
mod catalogue;
#[cfg(test)]
#[path = "soaking/clients.rs"]
mod clients;
#[cfg(test)]
#[path = "soaking/faults.rs"]
mod faults;
#[cfg(test)]
#[path = "support/issuer.rs"]
#[expect(dead_code, reason = "tests of tokens need more of it")]
mod issuer;
#[cfg(test)]
#[path = "soaking/ledger.rs"]
mod ledger;
#[cfg(test)]
#[path = "soaking/samples.rs"]
mod samples;
#[cfg(test)]
#[path = "soaking/site.rs"]
mod site;
#[cfg(test)]
#[path = "soaking/streams.rs"]
mod streams;

#[cfg(test)]
#[expect(dead_code, reason = "tests of the gateway need more of it")]
mod support {
    //! What the tests of the gateway share.

    #[path = "../gateway/support/authority.rs"]
    pub(crate) mod authority;
    #[path = "../gateway/support/client.rs"]
    pub(crate) mod client;
    #[path = "../gateway/support/http2.rs"]
    pub(crate) mod http2;
    #[path = "../gateway/support/message.rs"]
    pub(crate) mod message;
    #[path = "../gateway/support/process.rs"]
    pub(crate) mod process;
    #[path = "../gateway/support/tokens.rs"]
    pub(crate) mod tokens;
    #[path = "../gateway/support/upstream.rs"]
    pub(crate) mod upstream;
}

#[cfg(test)]
mod run {
    use std::collections::BTreeSet;
    use std::fs::File;
    use std::io::{BufRead as _, BufReader};
    use std::path::{Path, PathBuf};
    use std::process::Command;
    use std::thread;
    use std::time::{Duration, Instant};

    use crate::clients::{Until, Way, http1, http2};
    use crate::faults::{self, Pace};
    use crate::samples::{Samples, metric};
    use crate::site::Site;
    use crate::streams;

    /// How long it goes on unless `TORWART_SOAK_SECONDS` says so.
    const USUAL: Duration = Duration::from_secs(24);

    /// Reasons for which a request is refused in the course of it. Not among them: `overloaded`, which takes many megabytes of
    /// bodies at one moment.
    const REASONS: [&str; 30] = [
        "issuer",
        "certificate",
        "network",
        "flow",
        "client",
        "authentication",
        "scope",
        "permission",
        "global",
        "organization",
        "narrow",
        "subject",
        "claim",
        "request",
        "any_of",
        "not",
        "forward",
        "identity-too-large",
        "limit",
        "token-required",
        "invalid-token",
        "ambiguous-path",
        "ambiguous-parameter",
        "ambiguous-header",
        "value-type",
        "body",
        "body-too-large",
        "unreadable-body",
        "no-route",
        "method",
    ];

    /// What one client does all the time.
    type Work = fn(&Site, u64, Until<'_>);

    /// What takes its time, each by a client of its own, streams by two.
    const TIMED: [Work; 8] = [
        streams::sockets,
        streams::sockets,
        streams::events,
        streams::events,
        streams::bodies,
        streams::unsteady,
        streams::hostile,
        streams::revocations,
    ];

    fn pace(lasting: Duration) -> Pace {
        if lasting < Duration::from_mins(2) {
            let short = Duration::from_millis(1500);
            return Pace { fault: short, quiet: short, reload: Duration::from_secs(3) };
        }
        Pace { fault: Duration::from_secs(5), quiet: Duration::from_secs(7), reload: Duration::from_secs(30) }
    }

    fn load(site: &Site, lasting: Duration, samples: &mut Samples) {
        let begun = Instant::now();
        let over = || begun.elapsed() >= lasting;
        let (until, pace) = (&over, pace(lasting));
        thread::scope(|scope| {
            for (seed, way, most) in [
                (1, Way::Plain, 200),
                (2, Way::Tls, 200),
                (3, Way::Certified, 200),
                (4, Way::Plain, 1),
                (5, Way::Tls, 1),
            ] {
                scope.spawn(move || http1(site, seed, way, most, until));
            }
            for seed in 6..8 {
                scope.spawn(move || http2(site, seed, until));
            }
            for (seed, work) in (10..).zip(TIMED) {
                scope.spawn(move || work(site, seed, until));
            }
            scope.spawn(move || faults::upstreams(site, pace, until));
            scope.spawn(move || faults::issuers(site, pace, until));
            scope.spawn(move || faults::reloads(site, pace, until));
            let between = (lasting / 24).min(Duration::from_secs(5));
            while !over() {
                samples.take(site);
                thread::park_timeout(between);
            }
        });
    }

    /// How many records the audit has.
    fn records(site: &Site) -> u32 {
        let audit = File::open(site.directory.path().join("audit.jsonl")).expect("an audit");
        BufReader::new(audit)
            .lines()
            .map(|line| line.expect("text"))
            .filter(|line| line.ends_with('}'))
            .map(|_| 1)
            .sum()
    }

    /// The curve can be drawn.
    fn draws(samples: &Path) {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/soaking/curve.py");
        let drawn = Command::new("python3").arg(script).arg(samples).output().expect("python3");
        let image = String::from_utf8_lossy(&drawn.stdout);
        assert!(image.starts_with("<svg ") && image.matches("<polyline ").count() == 7, "{drawn:?}");
    }

    #[test]
    fn under_faults_every_decision_is_right_and_nothing_grows() {
        let seconds = std::env::var("TORWART_SOAK_SECONDS").ok().map(|text| text.parse().expect("seconds"));
        let lasting = seconds.map_or(USUAL, Duration::from_secs);
        let mut site = Site::start();
        let kept = std::env::var_os("TORWART_SOAK_SAMPLES").map(PathBuf::from);
        let file = kept.unwrap_or_else(|| site.directory.path().join("samples.jsonl"));
        let mut samples = Samples::new(&file);
        load(&site, lasting, &mut samples);
        draws(&file);
        let (_, metrics) = site.program.ask("GET", "/metrics").expect("metrics");
        let (mut faults, table) = samples.judge();
        for (what, times) in site.ledger.counts() {
            println!("{times:>9} {what}");
        }
        print!("{table}");
        let unseen: BTreeSet<_> = REASONS
            .into_iter()
            .filter(|reason| metric(&metrics, "torwart_decisions_total", &format!("reason=\"{reason}\"")) < 0.5)
            .collect();
        if !unseen.is_empty() {
            faults.push(format!("nothing was refused for {unseen:?}"));
        }
        if metric(&metrics, "torwart_audit_records_total", "dropped")
            + metric(&metrics, "torwart_audit_records_total", "failed")
            > 0.5
        {
            faults.push("audit records were lost".into());
        }
        let decided = metric(&metrics, "torwart_decisions_total", "");
        site.program.signal("TERM");
        let ended = site.program.wait();
        let recorded = records(&site);
        println!("{decided} decisions, {recorded} audit records");
        if f64::from(recorded) < decided {
            faults.push(format!("{recorded} records of {decided} decisions"));
        }
        let wrong = site.ledger.wrong_ones();
        let log = std::fs::read_to_string(site.directory.path().join("torwart.log")).unwrap_or_default();
        assert!(wrong.is_empty(), "{} wrong:\n{}", wrong.len(), wrong.join("\n"));
        assert!(faults.is_empty(), "{}", faults.join("\n"));
        assert!(!log.contains("panic"), "{log}");
        assert_eq!(ended.code(), Some(0));
    }
}
