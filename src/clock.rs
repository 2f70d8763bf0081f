//! Points in time as tokens and audit records use them.
//!
//! Deciding never reads a clock: `now` is part of the question. The one place that asks the operating system is
//! [`Timestamp::now`], called by the data path once per request.

use std::time::{SystemTime, UNIX_EPOCH};

/// Whole seconds since the Unix epoch: a `NumericDate` of RFC 7519 section 2 without its fraction.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Timestamp(pub i64);

impl Timestamp {
    /// The operating system's idea of now. A clock before 1970 counts as 1970.
    pub fn now() -> Self {
        Self::of(SystemTime::now())
    }

    /// The whole second that this moment is in. One before 1970 counts as 1970.
    pub fn of(moment: SystemTime) -> Self {
        let elapsed = moment.duration_since(UNIX_EPOCH).unwrap_or_default();
        Self(i64::try_from(elapsed.as_secs()).unwrap_or(i64::MAX))
    }

    /// This point moved by `seconds`, saturating at the ends of the range.
    #[must_use]
    pub fn plus(self, seconds: i64) -> Self {
        Self(self.0.saturating_add(seconds))
    }
}
