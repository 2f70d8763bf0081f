//! Authorization codes that have been issued and not yet exchanged.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use crate::clock::Timestamp;

/// How long a code waits for its exchange, in seconds.
const CODE_SECONDS: i64 = 60;
/// How many codes wait at once; more than a laptop needs.
const MAX_CODES: usize = 1000;

/// What a code stands for.
#[derive(Debug, Clone)]
pub(super) struct Grant {
    /// The issuer's name.
    pub(super) issuer: String,
    /// Who may exchange it.
    pub(super) client: String,
    /// Where it was sent; the exchange has to name the same (RFC 6749 section 4.1.3).
    pub(super) redirect_uri: String,
    /// PKCE, RFC 7636 section 4.2; always `S256`.
    pub(super) challenge: String,
    /// Scopes asked for; `None`: all that the persona has.
    pub(super) scopes: Option<Vec<String>>,
    /// The persona chosen.
    pub(super) persona: String,
    /// For the ID token.
    pub(super) nonce: Option<String>,
    /// When it was chosen.
    pub(super) chosen_at: Timestamp,
}

/// All codes.
#[derive(Debug, Default)]
pub(super) struct Grants(Mutex<HashMap<String, Grant>>);

impl Grants {
    /// Keeps the grant under a new code; `None` when too many wait.
    pub(super) fn issue(&self, grant: Grant) -> Option<String> {
        let mut codes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let now = grant.chosen_at;
        codes.retain(|_, waiting| is_fresh(waiting, now));
        if codes.len() >= MAX_CODES {
            return None;
        }
        let code = format!("{}{}", uuid::Uuid::new_v4().simple(), uuid::Uuid::new_v4().simple());
        codes.insert(code.clone(), grant);
        Some(code)
    }

    /// What the code stands for, once: whatever comes of the exchange, the code is spent.
    pub(super) fn take(&self, code: &str, now: Timestamp) -> Option<Grant> {
        let grant = self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(code)?;
        is_fresh(&grant, now).then_some(grant)
    }
}

fn is_fresh(grant: &Grant, now: Timestamp) -> bool {
    now < grant.chosen_at.plus(CODE_SECONDS)
}
