//! What a request names: authority, path and query, canonicalised once (http.md, "Canonical request target").
//!
//! Pure. The value that policy is asked about is the value that is forwarded; nothing downstream parses a URL again.

pub mod quirks;

/// Host or `:authority`: lower-cased, default port and one trailing dot removed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Authority {
    host: String,
}

impl Authority {
    /// The host without port.
    pub fn host(&self) -> &str {
        &self.host
    }
}

/// Why a target has no canonical form: 400.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TargetError {
    /// It is refused.
    #[error("the target has no canonical form")]
    Refused,
}
