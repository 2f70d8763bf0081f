//! `forward.assertion` of a route: what is going to be signed about a principal.

use std::sync::Arc;

use http::HeaderName;

use crate::principal::{Permissions, Principal, Statement};

/// What a route's assertions have in common.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::policy) struct Asserting {
    /// The header, with the identity prefix.
    pub(in crate::policy) name: HeaderName,
    /// `assertion.issuer` of `torwart.yaml`.
    pub(in crate::policy) issuer: Arc<str>,
    /// The upstream's name.
    pub(in crate::policy) audience: Arc<str>,
    /// Whether permissions are told.
    pub(in crate::policy) permissions: Permissions,
}

impl Asserting {
    /// What is said of a principal; `None` when the header would be longer than identity headers may be.
    pub(in crate::policy) fn statement(&self, principal: &Principal, max_bytes: usize) -> Option<Statement> {
        let statement = Statement::new(principal, self.permissions, &self.issuer, &self.audience);
        (statement.signed_length() <= max_bytes).then_some(statement)
    }
}
