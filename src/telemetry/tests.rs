pub(in crate::telemetry) mod generated;

use std::fs;
use std::path::Path;
use std::time::Instant;

use http::{Method, Version};
use serde_json::Value;

use super::*;

fn audit(path: &Path) -> Audit {
    Audit { path: AuditPath::File(path.to_owned()), allow: true, deny: true, required: false }
}

fn telemetry(audit: &Audit) -> Arc<Telemetry> {
    // No access log: it would go to the standard error of the test.
    Telemetry::with(&Logging { json: true, level: tracing::Level::WARN }, audit).unwrap()
}

fn request(telemetry: &Arc<Telemetry>, verdict: Verdict) -> Recording {
    let mut recording = Recording::start(telemetry, Method::GET, Version::HTTP_11);
    recording.verdict = verdict;
    recording
}

fn decisions(path: &Path) -> Vec<(String, Value)> {
    let text = fs::read_to_string(path).unwrap();
    let objects = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    objects.map(|object| (object["decision"].as_str().unwrap().to_owned(), object["would"].clone())).collect()
}

const EVERY: [Verdict; 4] = [Verdict::Allow, Verdict::Deny, Verdict::Observed { would: 403 }, Verdict::Own];

#[test]
fn every_decision_is_one_audit_record() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("audit");
    let telemetry = telemetry(&audit(&path));
    for verdict in EVERY {
        drop(request(&telemetry, verdict));
    }
    telemetry.finish();
    let wanted = [("allow", Value::Null), ("deny", Value::Null), ("allow", Value::from(403))];
    assert_eq!(decisions(&path), wanted.map(|(decision, would)| (decision.to_owned(), would)));
}

#[test]
fn only_what_is_included_is_recorded() {
    let directory = tempfile::tempdir().unwrap();
    for (allow, deny, wanted) in [(true, false, vec!["allow", "allow"]), (false, true, vec!["deny", "allow"])] {
        let path = directory.path().join(format!("{allow}"));
        let telemetry = telemetry(&Audit { allow, deny, ..audit(&path) });
        for verdict in EVERY {
            assert_eq!(
                telemetry.audits(verdict),
                matches!(verdict, Verdict::Observed { .. })
                    || (verdict == Verdict::Allow && allow)
                    || (verdict == Verdict::Deny && deny)
            );
            drop(request(&telemetry, verdict));
        }
        telemetry.finish();
        assert_eq!(decisions(&path).into_iter().map(|(decision, _)| decision).collect::<Vec<_>>(), wanted);
    }
}

#[test]
fn where_records_are_required_a_full_disk_refuses_before_forwarding() {
    let telemetry = telemetry(&Audit { required: true, ..audit(Path::new("/dev/full")) });
    let mut first = request(&telemetry, Verdict::Allow);
    assert_eq!(first.reserve(), Ok(()));
    drop(first);
    let start = Instant::now();
    while request(&telemetry, Verdict::Allow).reserve().is_ok() {
        assert!(start.elapsed() < Duration::from_secs(20), "records vanish and nobody is refused");
        std::thread::yield_now();
    }
    telemetry.finish();
}

#[test]
fn where_records_are_not_required_nobody_is_refused() {
    let telemetry = telemetry(&audit(Path::new("/dev/full")));
    for _ in 0..20_000 {
        assert_eq!(request(&telemetry, Verdict::Allow).reserve(), Ok(()));
    }
    telemetry.finish();
    let counts = &telemetry.metrics().audit;
    assert_eq!(counts.written.value(), 0);
    assert_eq!(counts.failed.value() + counts.dropped.value(), 20_000);
}

#[test]
fn a_reserved_place_is_given_back_when_the_request_ends_without_record() {
    let directory = tempfile::tempdir().unwrap();
    let telemetry = telemetry(&Audit { required: true, deny: false, ..audit(&directory.path().join("audit")) });
    // More than there are places; each ends denied, and denials are not recorded here.
    for _ in 0..10_000 {
        let mut recording = request(&telemetry, Verdict::Deny);
        assert_eq!(recording.reserve(), Ok(()));
    }
    telemetry.finish();
}

#[test]
fn another_audit_file_comes_into_use_and_a_missing_directory_does_not() {
    let directory = tempfile::tempdir().unwrap();
    let (one, two) = (directory.path().join("one"), directory.path().join("two"));
    let telemetry = telemetry(&audit(&one));
    drop(request(&telemetry, Verdict::Allow));
    let writer = telemetry.audit.as_ref().unwrap();
    while telemetry.metrics().audit.written.value() == 0 {
        std::thread::yield_now();
    }
    assert!(writer.reopen(Some(destination(&audit(&one.join("x")).path))).is_err());
    writer.reopen(Some(destination(&audit(&two).path))).unwrap();
    drop(request(&telemetry, Verdict::Deny));
    telemetry.finish();
    assert_eq!(decisions(&one).len(), 1);
    assert_eq!(decisions(&two).len(), 1);
}

#[test]
fn an_audit_file_that_cannot_be_opened_is_an_error_that_names_it() {
    let logging = Logging { json: true, level: tracing::Level::WARN };
    let error = Telemetry::with(&logging, &audit(Path::new("/no/such/directory/audit"))).unwrap_err();
    let wanted = "the audit file `/no/such/directory/audit` cannot be opened: No such file or directory (os error 2)";
    assert_eq!(error.to_string(), wanted);
}
