//! What requests and streams ask.

use std::future::pending;
use std::sync::Arc;

use super::table::{Key, Kind};
use super::target::token_id_digest;
use super::{Mark, Revocations};
use crate::authn::Fault;
use crate::clock::Timestamp;
use crate::principal::Principal;

/// The revocations as one configuration asks about them: its issuers by their positions.
#[derive(Debug)]
pub struct Register {
    revocations: Arc<Revocations>,
    issuers: Vec<Arc<Mark>>,
}

impl Register {
    /// For issuers with these URLs, in their order.
    pub fn new<'u>(revocations: Arc<Revocations>, urls: impl IntoIterator<Item = &'u str>) -> Self {
        let issuers = urls.into_iter().map(|url| revocations.mark(url)).collect();
        Self { revocations, issuers }
    }

    /// What all configurations share.
    pub fn revocations(&self) -> &Arc<Revocations> {
        &self.revocations
    }

    /// Whether nothing of what the principal's token says has been revoked.
    ///
    /// # Errors
    /// [`Fault::Revoked`], also for an issuer that is not among those of the configuration.
    pub fn check(&self, principal: &Principal, now: Timestamp) -> Result<(), Fault> {
        let mark = self.issuers.get(usize::from(principal.issuer.id.0)).ok_or(Fault::Revoked)?;
        let table = &self.revocations.table;
        let issuer = mark.number;
        let refuses = |kind, value: &[u8], folds| table.refuses(Key { kind, issuer, value }, folds, now);
        let token_id = |id: &str| match token_id_digest(id) {
            Some(digest) => refuses(Kind::TokenIdDigest, &digest, false),
            None => refuses(Kind::TokenId, id.as_bytes(), false),
        };
        let text = |kind, text: &Option<String>, folds| {
            text.as_ref().is_some_and(|text| refuses(kind, text.as_bytes(), folds))
        };
        let revoked = mark.refuses(principal, now)
            || refuses(Kind::Token, &principal.token_digest, false)
            || principal.token_id.as_deref().is_some_and(token_id)
            || text(Kind::Subject, &principal.subject, principal.issuer.subject_folds)
            || text(Kind::Client, &principal.client, principal.issuer.client_folds);
        if revoked { Err(Fault::Revoked) } else { Ok(()) }
    }

    /// Counts what was revoked: while it stays the same, every principal stays what it is.
    pub fn epoch(&self) -> u64 {
        self.revocations.epoch()
    }

    /// Returns once the principal's token has been revoked.
    pub async fn ended(self: Arc<Self>, principal: Arc<Principal>) {
        let mut told = self.revocations.told.subscribe();
        while self.check(&principal, Timestamp::now()).is_ok() {
            if told.changed().await.is_err() {
                pending::<()>().await;
            }
        }
    }
}
