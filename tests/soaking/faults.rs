//! What goes wrong around the gateway, on schedule.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::{Duration, Instant};

use crate::clients::{Until, Way, connect};
use crate::issuer::Answer;
use crate::ledger::Fate;
use crate::site::{Mood, Site, introspect, policy, replace, write_policy};
use crate::support::tokens::Issuer;

/// How long a fault lasts and how long it is quiet before the next one.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Pace {
    pub(crate) fault: Duration,
    pub(crate) quiet: Duration,
    pub(crate) reload: Duration,
}

/// How long an upstream's fault is felt: until a health check has passed.
const LINGERS: Duration = Duration::from_secs(8);

/// How long an issuer's fault is felt: a call that hung when it ended, and the second for which a failure is kept.
const ISSUER_LINGERS: Duration = Duration::from_secs(7);

/// How long it may take until a rotated key counts: the pause between two fetches for unknown keys, and a fetch.
const ROTATION: Duration = Duration::from_secs(20);

/// Waits, unless it is time to stop.
fn wait(time: Duration, until: Until<'_>) {
    let begun = Instant::now();
    while begun.elapsed() < time && !until() {
        thread::park_timeout(Duration::from_millis(50));
    }
}

/// Upstreams that are killed, or answer what they should not.
pub(crate) fn upstreams(site: &Site, pace: Pace, until: Until<'_>) {
    let mut round = 0;
    while !until() {
        let (of, backend) = match round % 3 {
            0 => ("pair", &site.pair[round / 3 % 2]),
            _ => ("shaky", &site.shaky),
        };
        let moods = [None, Some(Mood::Garbage), Some(Mood::Half), Some(Mood::Silent), Some(Mood::Reset)];
        let mood = moods[round / 2 % moods.len()];
        site.ledger.breaks(of, LINGERS);
        match mood {
            None => backend.upstream.die(),
            Some(mood) => backend.turn(mood),
        }
        wait(pace.fault, until);
        match mood {
            None => backend.upstream.revive(),
            Some(_) => backend.turn(Mood::Well),
        }
        site.ledger.repaired(of);
        site.ledger.count(format!("fault: {of} {}", mood.map_or("killed".into(), |mood| format!("{mood:?}"))));
        round += 1;
        wait(pace.quiet, until);
    }
}

/// Issuers that are down, slow, talk nonsense, or rotate their keys.
pub(crate) fn issuers(site: &Site, pace: Pace, until: Until<'_>) {
    let ill = || Answer::Say(500, String::new(), Vec::new());
    let html = || Answer::Say(200, String::new(), b"<html>".to_vec());
    let mut round = 0_u64;
    while !until() {
        match round % 7 {
            0 => rotate(site, round, until),
            // Its last good keys are in force all the while, so nothing is excused.
            number @ 1..=3 => {
                let answer = [ill(), Answer::Hang, html()][usize::try_from(number - 1).expect("small")].clone();
                site.moving.server.answer("/jwks", answer);
                wait(pace.fault, until);
                site.moving.publish(None);
                site.ledger.count("fault: keys cannot be fetched");
            }
            number => {
                site.ledger.breaks("opaque", ISSUER_LINGERS);
                let answer = [ill(), Answer::Hang, html()][usize::try_from(number - 4).expect("small")].clone();
                site.opaque.answer("/introspect", answer);
                wait(pace.fault, until);
                site.opaque.answer("/introspect", Answer::Of(introspect));
                site.ledger.repaired("opaque");
                site.ledger.count("fault: introspection");
            }
        }
        round += 1;
        wait(pace.quiet, until);
    }
}

/// A key that is published counts within the time that is promised, and the old ones go on counting.
fn rotate(site: &Site, round: u64, until: Until<'_>) {
    let next = (format!("m{}", round + 1), Arc::new(Issuer::new()));
    site.moving.publish(Some(&next));
    let begun = Instant::now();
    loop {
        let asked = site.ledger.begin(Fate::Either);
        let token = site.moving.token_by(&next.0, &next.1);
        let head =
            format!("GET /me HTTP/1.1\r\nHost: api.test\r\nX-Soak: {asked}\r\nAuthorization: Bearer {token}\r\n\r\n");
        if connect(site, Way::Plain).ask(head).status() == 200 {
            break;
        }
        if until() {
            return;
        }
        if begun.elapsed() > ROTATION {
            site.ledger.wrong(format!("a rotated key does not count after {:?}", begun.elapsed()));
            return;
        }
        thread::park_timeout(Duration::from_millis(200));
    }
    site.moving.sign_with(next);
    site.ledger.count("rotated keys");
}

/// Good and broken configurations in turn.
pub(crate) fn reloads(site: &Site, pace: Pace, until: Until<'_>) {
    let root = site.directory.path();
    let mut round = 0_usize;
    while !until() {
        wait(pace.reload, until);
        round += 1;
        let good = site.ledger.in_force.load(Ordering::SeqCst);
        if round % 2 == 1 {
            site.ledger.written.store(good + 1, Ordering::SeqCst);
            write_policy(root, good + 1);
            if site.program.reload() {
                site.ledger.in_force.store(good + 1, Ordering::SeqCst);
                site.ledger.count("good reloads");
            } else {
                site.ledger.wrong("a good configuration was not loaded".into());
            }
            continue;
        }
        let broken = [
            ("policies/api.yaml", policy(good + 1000).replace("upstream: steady", "upstream: nobody")),
            ("policies/api.yaml", policy(good + 1000) + "  - {path: \n"),
            ("keys.json", "{\"keys\":".to_owned()),
            ("leaf.key", "nothing".to_owned()),
            ("torwart.yaml", "version: 1\nlistners: []\n".to_owned()),
        ];
        let (name, text) = &broken[round / 2 % broken.len()];
        let before = std::fs::read_to_string(root.join(name)).expect("a file");
        replace(root, name, text);
        if site.program.reload() {
            site.ledger.wrong(format!("a broken {name} was loaded"));
        }
        replace(root, name, &before);
        site.ledger.count("broken reloads");
        if !site.program.reload() {
            site.ledger.wrong(format!("{name} was put right and not loaded"));
        }
    }
}
