//! When keys are fetched again.

use std::time::Duration;

/// The pause when the issuer does not say.
const USUAL: Duration = Duration::from_mins(15);
const SHORTEST: Duration = Duration::from_mins(5);
const LONGEST: Duration = Duration::from_hours(24);

/// The pause after a success: what the issuer says, within 5 minutes and 24 hours, up to a tenth earlier so that many
/// gateways do not come at once.
pub fn after_success(max_age: Option<Duration>) -> Duration {
    let pause = max_age.unwrap_or(USUAL).clamp(SHORTEST, LONGEST);
    earlier(pause).max(SHORTEST)
}

/// The pause after so many failures in a row. Without any key every request is refused, so that is tried often.
pub fn after_failure(in_a_row: u32, holding_keys: bool) -> Duration {
    let (first, most) = if holding_keys { (30, 300) } else { (1, 10) };
    let doubled = 1_u64.checked_shl(in_a_row.saturating_sub(1).min(10)).unwrap_or(1);
    earlier(Duration::from_secs((first * doubled).min(most)))
}

/// Up to a tenth less.
fn earlier(pause: Duration) -> Duration {
    let mut byte = [0];
    // Without randomness there is no spread, which is no reason to fail.
    let _ = aws_lc_rs::rand::fill(&mut byte);
    let [share] = byte;
    pause.saturating_sub(pause / 10 * u32::from(share) / 255)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_issuer_says_counts_between_five_minutes_and_a_day() {
        for _ in 0..100 {
            let within = |max_age: Option<u64>, from: u64, to: u64| {
                let pause = after_success(max_age.map(Duration::from_secs)).as_secs();
                assert!((from..=to).contains(&pause), "{max_age:?}: {pause}");
            };
            within(Some(0), 300, 300);
            within(Some(60), 300, 300);
            within(Some(3600), 3239, 3600);
            within(Some(1_000_000), 77_759, 86_400);
            within(None, 809, 900);
        }
    }

    #[test]
    fn failures_are_retried_within_ten_seconds_without_keys_and_five_minutes_with() {
        for _ in 0..100 {
            for in_a_row in 1..50 {
                let without = after_failure(in_a_row, false);
                assert!(without >= Duration::from_millis(900) && without <= Duration::from_secs(10), "{without:?}");
                let with = after_failure(in_a_row, true);
                assert!(with >= Duration::from_secs(27) && with <= Duration::from_mins(5), "{with:?}");
            }
        }
        for (in_a_row, holding_keys, seconds) in
            [(1, false, 1), (2, false, 2), (3, false, 4), (1, true, 30), (4, true, 240)]
        {
            let pause = after_failure(in_a_row, holding_keys);
            assert!(
                pause >= Duration::from_secs(seconds) * 9 / 10 && pause <= Duration::from_secs(seconds),
                "{pause:?}"
            );
        }
    }
}
