use proptest::prelude::*;
use serde::Serialize;

use super::super::tests::generated;
use super::*;

/// The value as a line, the way in which a library for all values does it: what ours are compared with.
pub(in crate::telemetry) fn reference(value: &impl Serialize) -> Vec<u8> {
    let mut out = Vec::new();
    value.serialize(&mut serde_json::Serializer::with_formatter(&mut out, Escaping)).unwrap();
    out.push(b'\n');
    out
}

struct Escaping;

impl Formatter for Escaping {
    fn write_string_fragment<W: ?Sized + io::Write>(&mut self, out: &mut W, fragment: &str) -> io::Result<()> {
        fragment.chars().try_for_each(|character| match character {
            invisible if is_invisible(invisible) => write!(out, "\\u{:04x}", u32::from(invisible)),
            visible => write!(out, "{visible}"),
        })
    }
}

fn written(write: impl FnOnce(&mut Line<'_>)) -> String {
    let mut out = Vec::new();
    write(&mut Line::begin(&mut out));
    String::from_utf8(out).unwrap()
}

#[test]
fn nothing_invisible_leaves_unescaped_and_nothing_is_lost() {
    let text = "a\"b\\c\nd\r\u{1b}[31m\u{7f}\u{9b}2J\u{2028}\u{202e}ü😀";
    let line = written(|line| _ = line.text("", text));
    assert!(!line.chars().any(is_invisible), "{line:?}");
    assert_eq!(serde_json::from_str::<String>(&line).unwrap(), text);
}

#[test]
fn every_character_is_written_as_by_the_library() {
    for character in '\0'..=char::MAX {
        let text = character.to_string();
        assert_eq!(written(|line| _ = line.text("", &text).raw("\n")).as_bytes(), reference(&text), "{character:?}");
    }
}

#[test]
fn a_character_is_seen_wherever_it_stands() {
    for character in ('\0'..='\u{ff}').chain(['\u{2028}', '\u{fffb}']) {
        for (before, after) in (0..20).flat_map(|before| (0..20).map(move |after| (before, after))) {
            let text = format!("{}{character}{}", "x".repeat(before), " ".repeat(after));
            let line = written(|line| _ = line.text("", &text).raw("\n"));
            assert_eq!(line.as_bytes(), reference(&text), "{text:?}");
        }
    }
}

proptest! {
    #[test]
    fn every_text_is_written_as_by_the_library(text in generated::text()) {
        let line = written(|line| _ = line.text("", &text).raw("\n"));
        prop_assert_eq!(line.into_bytes(), reference(&text));
    }

    #[test]
    fn every_number_is_written_as_by_the_library(number: u64, bits in 0..64u32) {
        let number = number >> bits;
        prop_assert_eq!(written(|line| _ = line.number("", number)), number.to_string());
    }

    #[test]
    fn every_moment_is_written_as_by_the_library(millis in 0..253_402_300_800_000u64) {
        let moment = SystemTime::UNIX_EPOCH + Duration::from_millis(millis);
        prop_assert_eq!(written(|line| _ = line.time("", moment)), format!("\"{}\"", time(moment)));
    }
}

#[test]
#[expect(clippy::cast_precision_loss, reason = "so few microseconds are exact")]
fn every_duration_is_written_as_by_the_library() {
    let long = [1_000_000, 59_999_999, 60_000_000, 86_400_000_001, 123_456_789_012_345].into_iter();
    for micros in (0..200_000u64).chain(long) {
        let duration = Duration::from_micros(micros);
        let seconds = written(|line| _ = line.seconds("", duration));
        assert_eq!(seconds, serde_json::to_string(&(micros as f64 / 1e6)).unwrap());
        let millis = written(|line| _ = line.milliseconds("", duration));
        assert_eq!(millis, serde_json::to_string(&(micros as f64 / 1e3)).unwrap());
    }
}

#[test]
fn durations_are_rounded_to_the_microsecond() {
    let seconds = |nanos| written(|line| _ = line.seconds("", Duration::from_nanos(nanos)));
    assert_eq!([499, 500, 1_499_499, 1_499_500].map(seconds), ["0.0", "1e-6", "0.001499", "0.0015"]);
}

#[test]
fn times_have_milliseconds_and_end_in_z() {
    let moment = SystemTime::UNIX_EPOCH + std::time::Duration::from_micros(1_795_298_400_001_999);
    assert_eq!(time(moment), "2026-11-21T22:00:00.001Z");
}
