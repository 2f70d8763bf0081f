//! What a million revocations cost a request, and a start. `docs/performance.md` says how to run and read it.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a measurement that cannot go on fails")]

use std::fmt::Write as _;
use std::hint::black_box;
use std::sync::{Arc, LazyLock};

use divan::Bencher;
use serde_json::json;
use tempfile::TempDir;
use torwart::authn::revocation::{Register, Revocations};
use torwart::authn::rules::Rules;
use torwart::clock::Timestamp;
use torwart::config::Issuer;
use torwart::principal::{IssuerId, Principal};

const NOW: Timestamp = Timestamp(1_800_000_000);
const URL: &str = "https://auth.example.com";

/// Revocations of each kind in turn, as many as are asked for, in a file.
fn file(count: u32) -> TempDir {
    let directory = tempfile::tempdir().unwrap();
    let mut text = String::from("{\"torwart\":\"revocations\",\"version\":1}\n");
    for number in 0..count {
        let kind = ["jti", "subject", "client"][number as usize % 3];
        let value = name(number);
        writeln!(text, r#"{{"issuer":"{URL}","kind":"{kind}","value":"{value}","at":1800000000}}"#).unwrap();
    }
    std::fs::write(directory.path().join("revocations.log"), text).unwrap();
    directory
}

/// As long as a UUID.
fn name(number: u32) -> String {
    format!("{number:08x}-9d1e-4e0b-8a77-0c6f1be0a111")
}

fn register(count: u32) -> Register {
    let revocations = Revocations::new();
    if count > 0 {
        revocations.keep_in(file(count).path()).unwrap();
    }
    Register::new(revocations, [URL])
}

static NONE: LazyLock<Register> = LazyLock::new(|| register(0));
static MILLION: LazyLock<Register> = LazyLock::new(|| register(1_000_000));

fn principal(sub: &str, insensitive: bool) -> Arc<Principal> {
    let mut issuer = Issuer::new("shoen", URL, None);
    issuer.case_insensitive = issuer.claims.subject.iter().filter(|_| insensitive).cloned().collect();
    let claims = json!({"sub": sub, "client_id": "shop", "jti": "6e1f0c2a-33d1-4c52-9b0a-2f6f0c7a9e11", "iat": NOW.0});
    let rules = Rules::new(&issuer, IssuerId(0));
    Arc::new(rules.claims_to_principal(claims.as_object().cloned().unwrap()).unwrap())
}

/// Many principals, so that no look-up finds in a cache what the one before has read.
fn crowd(insensitive: bool) -> Vec<Arc<Principal>> {
    (0..10_000).map(|number| principal(&name(number + 2_000_000), insensitive)).collect()
}

fn ask(bencher: Bencher<'_, '_>, register: &Register, crowd: &[Arc<Principal>]) {
    let next = std::sync::atomic::AtomicUsize::new(0);
    bencher.bench(|| {
        let turn = next.fetch_add(1, std::sync::atomic::Ordering::Relaxed) % crowd.len();
        black_box(register.check(black_box(&crowd[turn]), NOW)).is_ok()
    });
}

#[divan::bench(threads = [1, 2])]
fn no_revocation(bencher: Bencher<'_, '_>) {
    ask(bencher, &NONE, &crowd(false));
}

#[divan::bench(threads = [1, 2])]
fn a_million_and_none_of_this_token(bencher: Bencher<'_, '_>) {
    ask(bencher, &MILLION, &crowd(false));
}

#[divan::bench(threads = [1, 2])]
fn a_million_and_none_of_this_token_without_case(bencher: Bencher<'_, '_>) {
    ask(bencher, &MILLION, &crowd(true));
}

#[divan::bench]
fn a_million_and_this_subject_among_them(bencher: Bencher<'_, '_>) {
    let crowd: Vec<_> = (0..10_000).map(|number| principal(&name(number * 3 + 1), false)).collect();
    ask(bencher, &MILLION, &crowd);
}

#[divan::bench(sample_count = 5, sample_size = 1)]
fn a_million_loaded(bencher: Bencher<'_, '_>) {
    let directory = file(1_000_000);
    bencher.bench(|| {
        let revocations = Revocations::new();
        revocations.keep_in(directory.path()).unwrap();
        revocations
    });
}

fn main() {
    divan::main();
}
