//! True, false, unknown (policy.md). Only true allows.

use std::ops::Not;

/// Whether a condition holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(in crate::policy) enum Truth {
    /// It holds.
    True,
    /// It does not hold.
    False,
    /// What it asks about is absent or of the wrong type.
    Unknown,
}

impl Truth {
    /// Of several, all of which must hold: false if one is false, else unknown if one is unknown, else true.
    pub(in crate::policy) fn all(parts: impl IntoIterator<Item = Self>) -> Self {
        let mut result = Self::True;
        for part in parts {
            match part {
                Self::False => return Self::False,
                Self::Unknown => result = Self::Unknown,
                Self::True => {}
            }
        }
        result
    }

    /// Of several, one of which must hold: true if one is true, else unknown if one is unknown, else false.
    pub(in crate::policy) fn any(parts: impl IntoIterator<Item = Self>) -> Self {
        let mut result = Self::False;
        for part in parts {
            match part {
                Self::True => return Self::True,
                Self::Unknown => result = Self::Unknown,
                Self::False => {}
            }
        }
        result
    }

    /// Whether it holds. Unknown does not.
    pub(in crate::policy) fn holds(self) -> bool {
        self == Self::True
    }

    /// The word used in explanations.
    pub(in crate::policy) fn as_str(self) -> &'static str {
        match self {
            Self::True => "true",
            Self::False => "false",
            Self::Unknown => "unknown",
        }
    }
}

impl From<bool> for Truth {
    fn from(holds: bool) -> Self {
        if holds { Self::True } else { Self::False }
    }
}

impl Not for Truth {
    type Output = Self;

    /// Swaps true and false and keeps unknown.
    fn not(self) -> Self {
        match self {
            Self::True => Self::False,
            Self::False => Self::True,
            Self::Unknown => Self::Unknown,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Truth::{self, False, True, Unknown};

    #[test]
    fn all_is_false_before_it_is_unknown() {
        assert_eq!(Truth::all([]), True);
        assert_eq!(Truth::all([True, True]), True);
        assert_eq!(Truth::all([True, Unknown]), Unknown);
        assert_eq!(Truth::all([Unknown, False]), False);
        assert_eq!(Truth::all([False, Unknown]), False);
    }

    #[test]
    fn any_is_true_before_it_is_unknown() {
        assert_eq!(Truth::any([]), False);
        assert_eq!(Truth::any([False, False]), False);
        assert_eq!(Truth::any([False, Unknown]), Unknown);
        assert_eq!(Truth::any([Unknown, True]), True);
        assert_eq!(Truth::any([True, Unknown]), True);
    }

    #[test]
    fn not_keeps_unknown() {
        assert_eq!([!True, !False, !Unknown], [False, True, Unknown]);
    }
}
