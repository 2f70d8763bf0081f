//! Which pairs of routes are reported as one shape, and under which readings.

use super::*;

/// What is said of two routes of upstreams that read alike.
fn conflict(first: &str, second: &str, quirks: Quirks) -> Option<ConflictKind> {
    let mut found = conflicts(&[(first, quirks), (second, quirks)]);
    assert!(found.len() <= 1, "{found:?}");
    found.pop().map(|(_, _, kind)| kind)
}

fn reading(kinds: &[ReadingKind]) -> ConflictKind {
    ConflictKind::Reading(kinds.iter().copied().collect())
}

#[test]
fn beside_a_reading_that_is_always_done_others_are_looked_at() {
    let always = Quirks { case: Reading::Always, ..Quirks::default() };
    // Nothing of these is changed by the case, which is always folded.
    assert_eq!(conflict("GET /a.", "GET /a", always), Some(reading(&[ReadingKind::TrailingDot])));
    assert_eq!(conflict("GET /a;b", "GET /a", always), Some(reading(&[ReadingKind::PathParameters])));
    // Here no server drops the dot without folding the letter.
    assert_eq!(conflict("GET /A.", "GET /A", always), Some(reading(&[ReadingKind::Case, ReadingKind::TrailingDot])));
    assert_eq!(conflict("GET /A.", "GET /b", always), None);
}

#[test]
fn routes_that_are_written_alike_are_one_shape_whatever_is_always_done() {
    let always = Quirks { case: Reading::Always, ..Quirks::default() };
    assert_eq!(conflict("GET /A", "GET /A", always), Some(same_shape(false, &["GET", "HEAD"])));
    assert_eq!(conflict("GET /A/{x}", "POST /A/{int}", always), Some(same_shape(true, &[])));
}

#[test]
fn no_kind_of_reading_is_done_twice() {
    let unknown = Quirks::default();
    assert_eq!(conflict("GET /%2541", "GET /A", unknown), Some(reading(&[ReadingKind::DoubleDecoding])));
    assert_eq!(conflict("GET /%252541", "GET /A", unknown), None);
}
