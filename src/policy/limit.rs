//! Rate limits as policies state them (policy.md, "Limits and cross-origin"). Counting is another room's: it needs a
//! clock and a memory.

use std::fmt;
use std::time::Duration;

/// A rate limit of one route, or of all routes of a document that have none of their own.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Limit {
    pub(in crate::policy) policy: Box<str>,
    pub(in crate::policy) route: Option<Box<str>>,
    pub(in crate::policy) rate: Rate,
    pub(in crate::policy) burst: u32,
    pub(in crate::policy) per: Per,
}

/// So many requests in so much time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Rate {
    /// Requests, at least one.
    pub requests: u32,
    /// A second, a minute or an hour.
    pub period: Duration,
}

/// Whose requests are counted together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Per {
    /// Those of one OAuth client of one issuer.
    Client,
    /// Those of one subject of one issuer.
    Subject,
    /// Those of one issuer's tokens.
    Issuer,
    /// Those from one address, before anybody is authenticated.
    Address,
}

/// A request that is too much, with what its sender is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Exceeded {
    /// Whose requests were counted.
    pub per: Per,
    /// Requests that may come at once.
    pub quota: u32,
    /// Seconds in which that many are granted anew, rounded up.
    pub window: u64,
    /// Seconds until the next request may come, rounded up.
    pub retry_after: u64,
}

impl Limit {
    /// A limit of a policy's, or of one route of it.
    pub fn new(policy: &str, route: Option<&str>, rate: Rate, burst: u32, per: Per) -> Self {
        Self { policy: policy.into(), route: route.map(Into::into), rate, burst, per }
    }

    /// Name of the policy that states it.
    pub fn policy(&self) -> &str {
        &self.policy
    }

    /// Name of the route that states it; absent where it counts all routes of the document together.
    pub fn route(&self) -> Option<&str> {
        self.route.as_deref()
    }

    /// How many requests in how much time.
    pub fn rate(&self) -> Rate {
        self.rate
    }

    /// Requests that may come at once.
    pub fn burst(&self) -> u32 {
        self.burst
    }

    /// Whose requests are counted together.
    pub fn per(&self) -> Per {
        self.per
    }

    /// The limit whatever its policy and route are called: those of two policies that count alike are equal.
    #[must_use]
    pub fn nameless(&self) -> Self {
        let Self { policy: _, route, rate, burst, per } = self;
        Self::new("", route.as_ref().map(|_| ""), *rate, *burst, *per)
    }
}

impl fmt::Display for Limit {
    /// The limit as a policy would say it, and what is counted together. Whose it is is not told.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let unit = match self.rate.period.as_secs() {
            1 => "s",
            60 => "m",
            _ => "h",
        };
        let per = match self.per {
            Per::Client => "client",
            Per::Subject => "subject",
            Per::Issuer => "issuer",
            Per::Address => "address",
        };
        let counted = if self.route.is_some() { "of this route" } else { "of the whole policy" };
        write!(f, "{}/{unit}, burst: {}, per: {per}, {counted}", self.rate.requests, self.burst)
    }
}

impl Rate {
    /// Reads `100/s`, `60/m` or `5/h`.
    ///
    /// # Errors
    /// What to write instead.
    pub(in crate::policy) fn parse(text: &str) -> Result<Self, String> {
        let help = || "write a rate such as `100/s`, `60/m` or `5/h`".to_owned();
        let (requests, unit) = text.split_once('/').ok_or_else(help)?;
        let period = match unit {
            "s" => Duration::from_secs(1),
            "m" => Duration::from_mins(1),
            "h" => Duration::from_hours(1),
            _ => return Err(help()),
        };
        if requests.is_empty() || !requests.bytes().all(|byte| byte.is_ascii_digit()) || requests.starts_with('0') {
            return Err(help());
        }
        match requests.parse() {
            Ok(requests) if requests <= MOST_REQUESTS => Ok(Self { requests, period }),
            Ok(_) | Err(_) => Err(format!("at most {MOST_REQUESTS} requests can be counted in a period")),
        }
    }
}

/// Beyond this a rate is no longer told apart from its neighbours in nanoseconds.
pub(in crate::policy) const MOST_REQUESTS: u32 = 1_000_000;

impl Per {
    /// The word under `per`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Client => "client",
            Self::Subject => "subject",
            Self::Issuer => "issuer",
            Self::Address => "address",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_is_a_number_of_requests_in_a_second_a_minute_or_an_hour() {
        let rate = |requests, seconds| Ok(Rate { requests, period: Duration::from_secs(seconds) });
        assert_eq!(Rate::parse("100/s"), rate(100, 1));
        assert_eq!(Rate::parse("1/m"), rate(1, 60));
        assert_eq!(Rate::parse("1000000/h"), rate(1_000_000, 3600));
        for wrong in ["", "100", "100/", "/s", "0/s", "01/s", "-1/s", "1.5/s", "+1/s", "1/d", "1 /s", "1/s/s", "1/S"] {
            assert!(Rate::parse(wrong).is_err(), "{wrong}");
        }
        assert!(Rate::parse("1000001/s").is_err() && Rate::parse("99999999999/s").is_err());
    }
}
