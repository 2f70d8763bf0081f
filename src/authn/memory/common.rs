//! What remembered tokens have in common, so that it is in memory once: issuer, audience, client, scopes and roles are the same
//! in most tokens of one client.

use std::hash::{BuildHasher, RandomState};
use std::sync::{Mutex, PoisonError};

use crate::principal::{Alike, CommonClaims, Principal};

/// How many kinds of tokens are known at a time.
const KINDS: usize = 256;

/// What was seen. Nothing but space depends on it.
#[derive(Debug)]
pub(super) struct Common {
    lists: Alike<str>,
    /// One place for each client of each issuer, as far as their hashes differ.
    claims: Mutex<Vec<CommonClaims>>,
    hasher: RandomState,
}

impl Common {
    /// Lets the principal share what others have too. It stays the same.
    pub(super) fn share(&self, principal: &mut Principal) {
        principal.scopes.share(&self.lists);
        for list in [&mut principal.permissions, &mut principal.organizations].into_iter().flatten() {
            list.share(&self.lists);
        }
        let kind = self.hasher.hash_one((principal.issuer.id, principal.client.as_deref()));
        let place = usize::try_from(kind % KINDS as u64).unwrap_or_default();
        // A panic while the lock was held cannot leave anything but whole claims.
        let mut claims = self.claims.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(common) = claims.get_mut(place) {
            principal.claims.share(common);
        }
    }
}

impl Default for Common {
    fn default() -> Self {
        let claims = Mutex::new((0..KINDS).map(|_| CommonClaims::default()).collect());
        Self { lists: Alike::default(), claims, hasher: RandomState::new() }
    }
}

#[cfg(test)]
mod tests;
