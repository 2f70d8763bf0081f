use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;

use serde_json::json;
use tempfile::TempDir;

use super::*;
use crate::authn::rules::Rules;
use crate::authn::{Fault, Issuers};
use crate::config::{Config, Introspection, Issuer};
use crate::principal::{ClaimPath, Claims, IssuerId};

const NOW: Timestamp = Timestamp(1_800_000_000);
const URLS: [&str; 2] = ["https://a.test", "https://b.test"];

fn claims(value: &serde_json::Value) -> Claims {
    value.as_object().unwrap().clone()
}

/// A principal of the first or second issuer with these claims.
fn principal_of(position: u16, claims: &serde_json::Value, insensitive: &[&str]) -> Arc<Principal> {
    let mut issuer = Issuer::new(["a", "b"][usize::from(position)], URLS[usize::from(position)], None);
    issuer.case_insensitive = insensitive.iter().map(|name| ClaimPath::top(name)).collect();
    let mut all = json!({"sub": "alice", "client_id": "shop", "jti": "t-1", "iat": NOW.0 - 100, "exp": NOW.0 + 600});
    for (name, value) in claims.as_object().unwrap() {
        all[name] = value.clone();
    }
    let rules = Rules::new(&issuer, IssuerId(position));
    Arc::new(rules.claims_to_principal(self::claims(&all)).unwrap())
}

fn principal(claims: &serde_json::Value) -> Arc<Principal> {
    principal_of(0, claims, &[])
}

fn register() -> Arc<Register> {
    Arc::new(Register::new(Revocations::new(), URLS))
}

fn register_in(directory: &std::path::Path) -> Arc<Register> {
    let register = register();
    register.revocations().keep_in(directory).unwrap();
    register
}

fn revocation(position: usize, target: Target) -> Revocation {
    let issuer = Arc::from(URLS[position]);
    Revocation { id: Id::of(&issuer, &target), issuer, target, at: NOW, until: None }
}

fn subject(name: &str) -> Target {
    Target::Subject(name.into())
}

/// Revokes something of the first issuer.
fn revoke(register: &Register, target: Target) -> Revocation {
    make(register, &revocation(0, target)).0
}

fn make(register: &Register, revocation: &Revocation) -> (Revocation, Added) {
    let (made, added, saved) = register.revocations().revoke(revocation);
    saved.unwrap();
    (made, added)
}

fn refuses(register: &Register, principal: &Principal) -> bool {
    match register.check(principal, NOW) {
        Ok(()) => false,
        Err(fault) => fault == Fault::Revoked,
    }
}

#[test]
fn every_kind_refuses_what_it_names_and_nothing_else() {
    let alice = principal(&json!({}));
    let others = [
        principal(&json!({"sub": "bob", "client_id": "other", "jti": "t-2", "iat": NOW.0})),
        principal_of(1, &json!({}), &[]),
    ];
    for target in [
        Target::token_id("t-1"),
        Target::Token(alice.token_digest),
        subject("alice"),
        Target::Client("shop".into()),
        Target::IssuedBefore(NOW),
    ] {
        let register = register();
        let id = revoke(&register, target.clone()).id;
        assert!(refuses(&register, &alice), "{target:?}");
        // These principals were made of claims, not of tokens: they all have the digest of none.
        let others = others.iter().filter(|other| !matches!(target, Target::Token(_)) || other.issuer.id.0 == 1);
        for other in others {
            assert!(!refuses(&register, other), "{target:?}");
        }
        assert!(register.revocations().take_back(&id).unwrap().is_some());
        assert!(!refuses(&register, &alice), "{target:?}");
        assert_eq!(register.revocations().take_back(&id).unwrap(), None);
        assert!(register.revocations().is_empty());
    }
}

#[test]
fn a_long_jti_is_known_by_its_digest() {
    let register = register();
    let (long, other) = ("j".repeat(5000), "j".repeat(4999));
    revoke(&register, Target::token_id(&long));
    assert!(refuses(&register, &principal(&json!({"jti": long}))));
    assert!(!refuses(&register, &principal(&json!({"jti": other}))));
    let (last, first) = ("j".repeat(64), "j".repeat(65));
    assert_eq!(Target::token_id(&last), Target::TokenId(last.as_str().into()), "files have it so");
    assert!(matches!(Target::token_id(&first), Target::TokenIdDigest(_)));
}

#[test]
fn operators_are_told_the_kind_by_the_word_that_they_gave() {
    let long = "j".repeat(100);
    let targets = [Target::token_id("t"), Target::token_id(&long), Target::Token([0; 32]), subject("s")];
    assert_eq!(targets.map(|target| target.kind()), ["jti", "jti", "token", "subject"]);
    let targets = [Target::Client("c".into()), Target::IssuedBefore(NOW)];
    assert_eq!(targets.map(|target| target.kind()), ["client", "issued_before"]);
}

#[test]
fn a_subject_is_compared_as_its_issuer_says_at_that_moment() {
    let register = register();
    revoke(&register, subject("Alice"));
    revoke(&register, Target::Client("Shop".into()));
    assert!(!refuses(&register, &principal(&json!({}))));
    assert!(refuses(&register, &principal_of(0, &json!({"client_id": "x"}), &["sub"])));
    assert!(refuses(&register, &principal_of(0, &json!({"sub": "x"}), &["client_id"])));
    assert!(!refuses(&register, &principal_of(1, &json!({}), &["sub", "client_id"])));
}

#[test]
fn a_token_without_iat_counts_as_issued_before_and_a_fraction_counts_down() {
    let register = register();
    revoke(&register, Target::IssuedBefore(NOW));
    for (iat, refused) in [
        (json!(null), true),
        (json!(NOW.0 - 1), true),
        (json!(1_799_999_999.5), true),
        (json!(NOW.0), false),
        (json!(NOW.0 + 1), false),
    ] {
        assert_eq!(refuses(&register, &principal(&json!({"iat": iat}))), refused, "{iat}");
    }
}

#[test]
fn an_issuer_that_nobody_configured_is_refused() {
    let empty = Register::new(Revocations::new(), []);
    assert!(refuses(&empty, &principal(&json!({}))));
}

#[test]
fn the_same_again_lasts_as_long_as_the_longer_of_both() {
    let register = register();
    let until = |until| Revocation { until, ..revocation(0, subject("alice")) };
    let revocations = register.revocations();
    assert_eq!(make(&register, &until(Some(NOW.plus(10)))).1, Added::New);
    assert_eq!(make(&register, &until(Some(NOW.plus(5)))).0.until, Some(NOW.plus(10)));
    assert_eq!(make(&register, &until(None)).1, Added::Extended);
    assert_eq!(make(&register, &until(Some(NOW.plus(5)))).0.until, None);
    assert_eq!(revocations.len(), 1);
    let before = |until| Revocation { until, ..revocation(0, Target::IssuedBefore(NOW)) };
    make(&register, &before(Some(NOW.plus(5))));
    assert_eq!(make(&register, &before(None)).1, Added::Extended);
    assert_eq!(make(&register, &before(None)).1, Added::Known);
    assert_eq!(make(&register, &before(Some(NOW.plus(5)))).0.until, None);
    assert_eq!(revocations.len(), 2);
}

#[test]
fn what_has_ended_refuses_nothing() {
    let register = register();
    for target in [subject("alice"), Target::IssuedBefore(NOW)] {
        let ending = Revocation { until: Some(NOW), ..revocation(0, target) };
        make(&register, &ending);
    }
    assert!(!refuses(&register, &principal(&json!({}))));
    assert_eq!(register.check(&principal(&json!({})), NOW.plus(-1)), Err(Fault::Revoked));
}

#[test]
fn the_list_has_everything_once_newest_first_whatever_the_page() {
    let register = register();
    for number in 0..50 {
        let target =
            if number % 10 == 0 { Target::IssuedBefore(Timestamp(number)) } else { subject(&number.to_string()) };
        make(&register, &Revocation { at: Timestamp(number / 3), ..revocation(0, target) });
    }
    let whole = register.revocations().list(50, None, NOW);
    assert_eq!((whole.revocations.len(), whole.total, whole.next), (50, 50, None));
    assert!(whole.revocations.is_sorted_by_key(|revocation| std::cmp::Reverse(revocation.at)));
    for most in [1, 7, 49] {
        let (mut all, mut after) = (Vec::new(), None);
        loop {
            let page = register.revocations().list(most, after, NOW);
            assert!(page.revocations.len() <= most);
            all.extend(page.revocations);
            after = page.next;
            if after.is_none() {
                break;
            }
        }
        assert_eq!(all, whole.revocations, "{most}");
    }
}

// What is on the disk.

fn log(directory: &TempDir) -> PathBuf {
    directory.path().join("revocations.log")
}

#[test]
fn revocations_survive_a_restart_and_what_was_taken_back_stays_so() {
    let directory = tempfile::tempdir().unwrap();
    let (alice, now) = (principal(&json!({})), Timestamp::now());
    let before = register_in(directory.path());
    let made = [subject("alice"), Target::token_id("t-1"), Target::Token([7; 32]), Target::IssuedBefore(NOW)]
        .map(|target| revoke(&before, target));
    revoke(&before, subject("bob"));
    let until = Revocation { until: Some(now.plus(60)), ..revocation(1, subject("carol")) };
    make(&before, &until);
    before.revocations().take_back(&made[0].id).unwrap();
    before.revocations().take_back(&made[3].id).unwrap();
    revoke(&before, made[3].target.clone());
    let after = register_in(directory.path());
    assert_eq!(after.revocations().list(9, None, now), before.revocations().list(9, None, now));
    assert_eq!(after.revocations().len(), 5);
    assert!(refuses(&after, &alice));
    assert_eq!(fs::metadata(log(&directory)).unwrap().permissions().mode() & 0o777, 0o600);
}

#[test]
fn a_last_line_that_was_not_written_to_its_end_is_cut_off() {
    let directory = tempfile::tempdir().unwrap();
    revoke(&register_in(directory.path()), subject("alice"));
    let whole = fs::read(log(&directory)).unwrap();
    let line = whole.split_inclusive(|byte| *byte == b'\n').nth(1).unwrap().to_vec();
    for torn in [line[..line.len() / 2].to_vec(), b"{".to_vec(), vec![0; 40], [vec![0; 5], line[5..].to_vec()].concat()]
    {
        fs::write(log(&directory), [whole.clone(), torn].concat()).unwrap();
        let register = register_in(directory.path());
        assert!(refuses(&register, &principal(&json!({}))));
        assert_eq!(fs::read(log(&directory)).unwrap(), whole);
    }
}

#[test]
fn a_file_that_cannot_be_read_is_an_error_and_never_an_empty_list() {
    let directory = tempfile::tempdir().unwrap();
    revoke(&register_in(directory.path()), subject("alice"));
    revoke(&register_in(directory.path()), subject("bob"));
    let whole = fs::read_to_string(log(&directory)).unwrap();
    let damaged = [
        String::new(),
        "{".to_owned(),
        "{\"torwart\":\"revocations\",\"version\":2}\n".to_owned(),
        whole.replacen("revocations", "revocation", 1),
        whole.replacen("subject", "subjects", 1),
        whole.replacen("alice", "ali\u{0}ce", 1),
        whole.replacen("\"alice\"", "\"\"", 1),
        whole.replacen('}', "}}", 2),
        format!("{whole}nonsense\n"),
        whole.split_once('\n').unwrap().1.to_owned(),
    ];
    for text in damaged {
        fs::write(log(&directory), &text).unwrap();
        let error = Revocations::new().keep_in(directory.path()).expect_err(&text).to_string();
        assert!(error.contains("revocations.log"), "{error}");
    }
    fs::remove_file(log(&directory)).unwrap();
    fs::create_dir(log(&directory)).unwrap();
    assert!(Revocations::new().keep_in(directory.path()).is_err());
    let file = directory.path().join("file");
    fs::write(&file, "").unwrap();
    assert!(Revocations::new().keep_in(&file).is_err(), "the directory is a file");
}

#[test]
fn a_file_that_others_could_read_is_closed_to_them() {
    let directory = tempfile::tempdir().unwrap();
    drop(register_in(directory.path()));
    fs::set_permissions(log(&directory), fs::Permissions::from_mode(0o644)).unwrap();
    drop(register_in(directory.path()));
    assert_eq!(fs::metadata(log(&directory)).unwrap().permissions().mode() & 0o777, 0o600);
    // What is closed to them anyway is left as it is.
    fs::set_permissions(log(&directory), fs::Permissions::from_mode(0o700)).unwrap();
    drop(register_in(directory.path()));
    assert_eq!(fs::metadata(log(&directory)).unwrap().permissions().mode() & 0o777, 0o700);
}

#[test]
fn there_is_something_to_do_when_others_have_written_or_something_could_not_be() {
    let directory = tempfile::tempdir().unwrap();
    let (first, second) = (register_in(directory.path()), register_in(directory.path()));
    let is_behind = |register: &Register| register.revocations().writer().journals[0].is_behind();
    assert!(!is_behind(&first) && !is_behind(&second));
    revoke(&first, subject("alice"));
    assert!(!is_behind(&first) && is_behind(&second), "one wrote it, the other has not read it");
    second.revocations().catch_up();
    assert!(!is_behind(&second));
    revoke(&second, subject("bob"));
    assert!(!is_behind(&second), "it wrote behind what it had read");
    let lock = directory.path().join("revocations.lock");
    fs::remove_file(&lock).unwrap();
    fs::create_dir(&lock).unwrap();
    assert!(second.revocations().revoke(&revocation(0, subject("carol"))).2.is_err());
    assert!(is_behind(&second), "it owes a line");
}

#[test]
fn a_file_is_stale_when_it_has_a_thousand_lines_too_many() {
    for (lines, stale) in [(1000, false), (1001, true), (1500, true)] {
        let directory = tempfile::tempdir().unwrap();
        let register = register_in(directory.path());
        let taken_back = line_of(&revocation(0, subject("alice")), true).text();
        let mut whole = fs::read(log(&directory)).unwrap();
        whole.extend(taken_back.repeat(lines));
        fs::write(log(&directory), &whole).unwrap();
        register.revocations().catch_up();
        let left = fs::read(log(&directory)).unwrap();
        assert_eq!(left.len() < whole.len(), stale, "{lines} lines while it runs");
        fs::write(log(&directory), &whole).unwrap();
        drop(register_in(directory.path()));
        let left = fs::read(log(&directory)).unwrap();
        assert_eq!(left.len() < whole.len(), stale, "{lines} lines at the start");
    }
}

#[test]
fn the_line_that_is_no_revocation_is_named() {
    let directory = tempfile::tempdir().unwrap();
    let register = register_in(directory.path());
    revoke(&register, subject("alice"));
    let whole = fs::read_to_string(log(&directory)).unwrap();
    for (text, named) in [
        (format!("{whole}nonsense\n"), "line 3: this is no revocation"),
        ("nonsense\n".to_owned(), "line 1: this is not a file of revocations"),
    ] {
        fs::write(log(&directory), text).unwrap();
        let error = Revocations::new().keep_in(directory.path()).unwrap_err().to_string();
        assert!(error.ends_with(named), "{error}");
    }
}

#[test]
fn a_file_that_cannot_be_looked_at_is_not_taken_for_one_that_is_gone() {
    let directory = tempfile::tempdir().unwrap();
    let register = register_in(directory.path());
    revoke(&register, subject("alice"));
    fs::remove_file(log(&directory)).unwrap();
    std::os::unix::fs::symlink("revocations.log", log(&directory)).unwrap();
    let (_, _, saved) = register.revocations().revoke(&revocation(0, subject("bob")));
    assert!(saved.is_err());
    assert!(fs::symlink_metadata(log(&directory)).unwrap().is_symlink(), "nothing was put in its place");
}

#[test]
fn two_processes_over_one_directory_know_of_each_other() {
    let directory = tempfile::tempdir().unwrap();
    let (old, new) = (register_in(directory.path()), register_in(directory.path()));
    let alice = principal(&json!({}));
    let made = revoke(&old, subject("alice"));
    assert!(!refuses(&new, &alice));
    new.revocations().catch_up();
    assert!(refuses(&new, &alice));
    // The new one takes back, the old one has not read it and revokes again: the later order counts.
    new.revocations().take_back(&made.id).unwrap();
    revoke(&old, subject("alice"));
    for register in [&old, &new] {
        register.revocations().catch_up();
        assert!(refuses(register, &alice));
    }
    revoke(&old, subject("bob"));
    old.revocations().take_back(&made.id).unwrap();
    new.revocations().catch_up();
    assert!(!refuses(&new, &alice));
    assert_eq!(register_in(directory.path()).revocations().len(), 1);
}

#[test]
fn a_stale_file_is_written_anew_and_others_notice() {
    let directory = tempfile::tempdir().unwrap();
    let (first, second) = (register_in(directory.path()), register_in(directory.path()));
    revoke(&first, subject("alice"));
    second.revocations().catch_up();
    for _ in 0..505 {
        let made = revoke(&first, subject("bob"));
        first.revocations().take_back(&made.id).unwrap();
    }
    let length = fs::metadata(log(&directory)).unwrap().len();
    assert!(length < 5000, "{length}");
    second.revocations().catch_up();
    revoke(&second, subject("carol"));
    first.revocations().catch_up();
    for register in [&first, &second, &register_in(directory.path())] {
        assert_eq!(register.revocations().len(), 2);
        assert!(refuses(register, &principal(&json!({}))) && refuses(register, &principal(&json!({"sub": "carol"}))));
    }
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 2, "the file and its lock");
}

#[test]
fn a_file_that_is_gone_is_written_again_from_memory() {
    let directory = tempfile::tempdir().unwrap();
    let register = register_in(directory.path());
    revoke(&register, subject("alice"));
    fs::remove_file(log(&directory)).unwrap();
    register.revocations().catch_up();
    fs::remove_file(log(&directory)).unwrap();
    revoke(&register, subject("bob"));
    assert_eq!(register_in(directory.path()).revocations().len(), 2);
    fs::write(log(&directory), "{\"torwart\":\"revocations\",\"version\":1}\n").unwrap();
    register.revocations().catch_up();
    assert_eq!(register_in(directory.path()).revocations().len(), 2, "cut short");
}

#[test]
fn what_cannot_be_written_is_in_force_told_and_written_later() {
    let directory = tempfile::tempdir().unwrap();
    let register = register_in(directory.path());
    let bob = revoke(&register, subject("bob"));
    let (lock, aside) = (directory.path().join("revocations.lock"), directory.path().join("aside"));
    fs::rename(&lock, &aside).unwrap();
    fs::create_dir(&lock).unwrap();
    let (_, _, saved) = register.revocations().revoke(&revocation(0, subject("alice")));
    assert!(saved.is_err());
    assert!(refuses(&register, &principal(&json!({}))));
    // What cannot be kept as taken back stays in force.
    assert!(register.revocations().take_back(&bob.id).is_err());
    assert!(refuses(&register, &principal(&json!({"sub": "bob"}))));
    fs::remove_dir(&lock).unwrap();
    register.revocations().catch_up();
    assert_eq!(register_in(directory.path()).revocations().len(), 2);
}

#[test]
fn another_directory_takes_over_what_there_is_and_the_first_is_still_written() {
    let (first, second) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    revoke(&register_in(second.path()), subject("bob"));
    let register = register();
    revoke(&register, subject("carol"));
    assert!(!register.revocations().is_kept());
    for directory in [&first, &second, &first] {
        register.revocations().keep_in(directory.path()).unwrap();
    }
    assert!(register.revocations().is_kept());
    revoke(&register, subject("alice"));
    assert!(refuses(&register, &principal(&json!({"sub": "bob"}))));
    assert_eq!(register_in(first.path()).revocations().len(), 2);
    assert_eq!(register_in(second.path()).revocations().len(), 3);
}

#[test]
fn what_ended_long_ago_is_not_loaded() {
    let directory = tempfile::tempdir().unwrap();
    let register = register_in(directory.path());
    let now = Timestamp::now();
    for (name, until) in [("old", now.plus(-GRACE - 60)), ("recent", now.plus(-60)), ("alice", now.plus(60))] {
        make(&register, &Revocation { until: Some(until), ..revocation(0, subject(name)) });
    }
    assert_eq!(register_in(directory.path()).revocations().len(), 2);
    assert_eq!(register_in(directory.path()).revocations().list(9, None, now).revocations.len(), 1);
}

#[test]
fn what_ended_long_ago_is_forgotten_once_an_hour() {
    let register = register();
    let revocations = register.revocations();
    let begin = Timestamp::now();
    for until in [begin, begin.plus(60)] {
        make(&register, &Revocation { until: Some(until), ..revocation(0, subject(&until.0.to_string())) });
        make(&register, &Revocation { until: Some(until), ..revocation(0, Target::IssuedBefore(until)) });
    }
    revoke(&register, subject("for good"));
    let left_at = |later: i64| {
        revocations.sweep(&mut revocations.writer(), begin.plus(later));
        revocations.len()
    };
    assert!(!revocations.is_empty());
    assert_eq!([GRACE, GRACE + 1, GRACE + 3599].map(left_at), [5, 5, 5], "not yet, then not again within the hour");
    assert_eq!([GRACE + 3600, GRACE + 3601].map(left_at), [1, 1]);
}

// What is told.

#[tokio::test]
async fn who_waits_for_the_end_of_a_principal_is_woken_by_its_revocation_only() {
    let register = register();
    let mut waiting = Box::pin(Arc::clone(&register).ended(principal(&json!({}))));
    let early = tokio::time::timeout(Duration::from_millis(1), &mut waiting).await;
    assert!(early.is_err());
    revoke(&register, subject("bob"));
    let early = tokio::time::timeout(Duration::from_millis(1), &mut waiting).await;
    assert!(early.is_err());
    // This one is told with the next tick, as if the one before had been told just now.
    register.revocations().writer().told_at = Some(Instant::now() + PAUSE);
    revoke(&register, subject("alice"));
    let early = tokio::time::timeout(Duration::from_millis(1), &mut waiting).await;
    assert!(early.is_err());
    let stop = tokio_util::sync::CancellationToken::new();
    let follow = tokio::spawn(Arc::clone(register.revocations()).follow(stop.clone()));
    tokio::time::timeout(Duration::from_secs(5), waiting).await.unwrap();
    stop.cancel();
    follow.await.unwrap();
    Arc::clone(&register).ended(principal(&json!({}))).await;
}

#[test]
fn a_revocation_is_told_at_once_unless_another_was_told_just_now() {
    let register = register();
    let mut told = register.revocations().told.subscribe();
    let mut is_told = |name: &str, last: Option<Instant>| {
        register.revocations().writer().told_at = last;
        revoke(&register, subject(name));
        let changed = told.has_changed().unwrap();
        told.borrow_and_update();
        changed
    };
    assert!(is_told("alice", None));
    assert!(!is_told("bob", Some(Instant::now() + PAUSE)), "the next tick tells it");
    assert!(is_told("carol", Instant::now().checked_sub(PAUSE)));
    assert!(!is_told("carol", None), "there is nothing to tell");
    register.revocations().catch_up();
    assert!(!told.has_changed().unwrap(), "a tick has nothing to tell either");
}

#[test]
fn the_epoch_counts_revocations_and_nothing_else() {
    let register = register();
    let before = register.epoch();
    let made = revoke(&register, subject("alice"));
    assert_eq!(register.epoch(), before + 1);
    revoke(&register, subject("alice"));
    register.revocations().take_back(&made.id).unwrap();
    assert_eq!(register.epoch(), before + 1);
}

// What operators ask for.

/// The second one can be asked about tokens.
fn issuers() -> Issuers {
    let directory = tempfile::tempdir().unwrap();
    let secret = directory.path().join("secret");
    fs::write(&secret, "s3cret").unwrap();
    let mut config = Config::empty(PathBuf::from("torwart.yaml"));
    config.issuers = URLS.iter().zip(["a", "b"]).map(|(url, name)| Issuer::new(name, url, None)).collect();
    config.issuers[1].introspection = Some(Introspection {
        endpoint: None,
        client_id: "gateway".to_owned(),
        client_secret_file: secret,
        cache: Duration::ZERO,
        always: false,
    });
    Issuers::load(&config, None).unwrap()
}

/// A JWT that nobody signed.
fn token(claims: &serde_json::Value) -> String {
    use base64::Engine as _;
    let part = |text: String| base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(text);
    format!("{}.{}.AAAA", part(r#"{"alg":"RS256"}"#.to_owned()), part(claims.to_string()))
}

#[test]
fn a_token_is_read_into_its_jti_or_digest_without_being_verified() {
    let issuers = issuers();
    let target = |issuer: &str, token: &str| {
        issuers
            .revoke(issuer, Order::Token(token), None, NOW)
            .map(|made| (made.revocation.target, made.revocation.until))
    };
    let named = token(&json!({"iss": URLS[0], "jti": "t-9", "exp": NOW.0 + 60}));
    // Nobody vouches for its `exp`: a copy with another one would end the revocation too early.
    assert_eq!(target("a", &named).unwrap(), (Target::token_id("t-9"), None));
    let nameless = token(&json!({"iss": URLS[0], "exp": NOW.0 + 60}));
    let signed = nameless.rsplit_once('.').unwrap().0;
    let digest = Target::Token(target::sha256(signed.as_bytes()));
    assert_eq!(target("a", &nameless).unwrap(), (digest.clone(), Some(NOW.plus(361))));
    let resigned = format!(" {signed}.BBBB\n");
    assert_eq!(target("a", &resigned).unwrap().0, digest, "never of the signature");
    let opaque = "2YotnFZFEjr1zCsicMWpAA";
    assert_eq!(target("b", opaque).unwrap(), (Target::Token(target::sha256(opaque.as_bytes())), None));
    assert_eq!(target("a", opaque).unwrap_err(), OrderError::Token("a".to_owned()));
    let other = OrderError::OtherIssuer { name: "b".to_owned(), other: "a".into() };
    assert_eq!(target("b", &named).unwrap_err(), other, "a JWT of a configured issuer is never an opaque token");
    let foreign = token(&json!({"iss": "https://elsewhere.test", "jti": "t"}));
    assert_eq!(target("b", &foreign).unwrap().0, Target::Token(target::sha256(foreign.as_bytes())));
    assert_eq!(target("a", "").unwrap_err(), OrderError::Empty);
    let misspelt = format!("{}=.AAAA", named.rsplit_once('.').unwrap().0);
    assert_eq!(
        target("b", &misspelt).unwrap_err(),
        OrderError::Token("b".to_owned()),
        "no request gets anywhere with it"
    );
    assert_eq!(target("b", "two words").unwrap_err(), OrderError::Token("b".to_owned()));
}

#[test]
fn a_token_that_has_expired_need_not_be_revoked() {
    let issuers = issuers();
    let expired = token(&json!({"iss": URLS[0], "exp": NOW.0 - 301}));
    let made = issuers.revoke("a", Order::Token(&expired), None, NOW).unwrap();
    assert!(!made.in_force && !made.is_new);
    assert!(issuers.register().revocations().is_empty());
    let made = issuers.revoke("a", Order::Token(&token(&json!({"iss": URLS[0], "exp": NOW.0 - 300}))), None, NOW);
    assert!(made.unwrap().in_force, "an issuer may allow five minutes");
}

#[test]
fn an_issuer_is_named_by_its_url() {
    let issuers = issuers();
    assert_eq!(URLS.map(|url| issuers.name_of(url)), ["a", "b"].map(|name| Some(Arc::from(name))));
    assert_eq!(issuers.name_of("https://c.test"), None);
}

#[test]
fn orders_that_make_no_sense_are_refused() {
    let issuers = issuers();
    let refused = |issuer: &str, order, expires| issuers.revoke(issuer, order, expires, NOW).unwrap_err();
    let known = "`a`, `b`".to_owned();
    assert_eq!(refused("c", Order::Subject("x"), None), OrderError::Issuer { name: "c".to_owned(), known });
    for empty in [Order::Subject(""), Order::Client(""), Order::TokenId(""), Order::Token(" ")] {
        assert_eq!(refused("a", empty, None), OrderError::Empty);
    }
    assert_eq!(refused("a", Order::IssuedBefore(NOW.plus(301)), None), OrderError::Future);
    assert_eq!(refused("a", Order::Subject("x"), Some(NOW)), OrderError::Expired);
    assert!(issuers.register().revocations().is_empty());
    assert!(issuers.revoke("a", Order::IssuedBefore(NOW.plus(300)), Some(NOW.plus(1)), NOW).unwrap().is_new);
}
