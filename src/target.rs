//! What a request names: authority, path and query, canonicalised once (http.md, "Canonical request target").
//!
//! Pure. The value that policy is asked about is the value that is forwarded; nothing downstream parses a URL again.

pub mod quirks;
