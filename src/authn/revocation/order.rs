//! What operators ask for, checked against the issuers in force.

use std::sync::Arc;

use serde_json::Value;
use thiserror::Error;

use super::journal::JournalError;
use super::table::Added;
use super::target::sha256;
use super::{Id, Revocation, Target};
use crate::authn::claims::Registered;
use crate::authn::inspect::Offline;
use crate::authn::introspection::is_jwt_of;
use crate::authn::jose::Parts;
use crate::authn::{Issued, Issuers, signed_digest};
use crate::clock::Timestamp;
use crate::json;

/// The largest `leeway` that an issuer may have: a token may be accepted so long after its `exp`.
const LONGEST_LEEWAY: i64 = 300;

/// What is to be revoked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order<'o> {
    /// Tokens with this `jti`.
    TokenId(&'o str),
    /// This token.
    Token(&'o str),
    /// All tokens of this subject.
    Subject(&'o str),
    /// All tokens of this client.
    Client(&'o str),
    /// All tokens issued before this moment.
    IssuedBefore(Timestamp),
}

/// Why nothing was revoked.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum OrderError {
    /// No such issuer.
    #[error("there is no issuer `{name}`; the configured ones are {known}")]
    Issuer {
        /// As asked for.
        name: String,
        /// Those there are.
        known: String,
    },
    /// The token says that another issuer has issued it.
    #[error("the token is not from `{name}`: its `iss` is that of the issuer `{other}`")]
    OtherIssuer {
        /// As asked for.
        name: String,
        /// The name of the one it says.
        other: Arc<str>,
    },
    /// Nothing that a request could bring.
    #[error(
        "the token is none that the issuer `{0}` could have issued: neither a JWT with its `iss` nor, as it has no \
             `introspection`, an opaque one"
    )]
    Token(String),
    /// No value.
    #[error("the value is empty")]
    Empty,
    /// A moment that is still to come, where it would refuse everything until then.
    #[error("`issued_before` lies in the future: until then every token of the issuer would be refused")]
    Future,
    /// An end before the beginning.
    #[error("`expires` lies in the past")]
    Expired,
}

/// What came of an order.
#[derive(Debug)]
pub struct Revoked {
    /// The revocation.
    pub revocation: Revocation,
    /// There was none like it.
    pub is_new: bool,
    /// It refuses something: not a token that has expired.
    pub in_force: bool,
    /// Why it is in force but not kept where it should be.
    pub unsaved: Option<JournalError>,
}

impl Issuers {
    /// Revokes something of the issuer of this name. Blocks until it is on the disk, where revocations are kept.
    ///
    /// # Errors
    /// The order makes no sense; nothing is revoked.
    pub fn revoke(
        &self,
        issuer: &str,
        order: Order<'_>,
        expires: Option<Timestamp>,
        now: Timestamp,
    ) -> Result<Revoked, OrderError> {
        let issued = self.list.iter().find(|issued| *issued.rules.identity().name == *issuer);
        let issued = issued.ok_or_else(|| self.unknown(issuer))?;
        if expires.is_some_and(|expires| expires <= now) {
            return Err(OrderError::Expired);
        }
        let (target, useless_from) = self.target(issued, order, now)?;
        let until = expires.or(useless_from);
        let url = Arc::from(issued.rules.issuer().issuer.as_str());
        let revocation = Revocation { id: Id::of(&url, &target), issuer: url, target, at: now, until };
        if until.is_some_and(|until| until <= now) {
            return Ok(Revoked { revocation, is_new: false, in_force: false, unsaved: None });
        }
        let (revocation, added, saved) = self.register.revocations().revoke(&revocation);
        Ok(Revoked { revocation, is_new: added == Added::New, in_force: true, unsaved: saved.err() })
    }

    /// The name of the issuer with this URL, if it is configured.
    pub fn name_of(&self, url: &str) -> Option<Arc<str>> {
        let issued = self.list.iter().find(|issued| issued.rules.issuer().issuer == url)?;
        Some(Arc::clone(&issued.rules.identity().name))
    }

    fn unknown(&self, name: &str) -> OrderError {
        let known = self.identities.iter().map(|identity| format!("`{}`", identity.name)).collect::<Vec<_>>();
        OrderError::Issuer { name: name.to_owned(), known: known.join(", ") }
    }

    /// The target, and the moment from which revoking it is of no use, where that is known.
    fn target(
        &self,
        issued: &Issued,
        order: Order<'_>,
        now: Timestamp,
    ) -> Result<(Target, Option<Timestamp>), OrderError> {
        let filled = |text: &str| if text.is_empty() { Err(OrderError::Empty) } else { Ok(Box::from(text)) };
        Ok(match order {
            Order::TokenId(id) => (Target::token_id(&filled(id)?), None),
            Order::Subject(subject) => (Target::Subject(filled(subject)?), None),
            Order::Client(client) => (Target::Client(filled(client)?), None),
            Order::IssuedBefore(moment) if moment > now.plus(LONGEST_LEEWAY) => return Err(OrderError::Future),
            Order::IssuedBefore(moment) => (Target::IssuedBefore(moment), None),
            Order::Token(token) => return self.token(issued, token.trim(), now),
        })
    }

    /// Reads a token the way requests' tokens are routed: what is a JWT of a configured issuer is never an opaque one.
    /// Nobody has verified it. So its `exp` is believed only when the signature is good or the digest covers it: else
    /// somebody could hand in a copy that ends before the token itself.
    fn token(&self, issued: &Issued, token: &str, now: Timestamp) -> Result<(Target, Option<Timestamp>), OrderError> {
        if token.is_empty() {
            return Err(OrderError::Empty);
        }
        let name = || issued.rules.identity().name.as_ref().to_owned();
        let jwt = Parts::split(token).ok().and_then(|parts| Some((json::object(&parts.payload).ok()?, parts)));
        let claimed = jwt.as_ref().and_then(|(claims, _)| claims.get("iss")).and_then(Value::as_str);
        let from = self.list.iter().find(|issued| Some(issued.rules.issuer().issuer.as_str()) == claimed);
        let (Some(from), Some((claims, parts))) = (from, &jwt) else {
            let configured = |url: &str| self.list.iter().any(|issued| issued.rules.issuer().issuer == url);
            let misspelt = is_jwt_of(token, configured) || token.contains(char::is_whitespace);
            let opaque = issued.introspector.is_some() && !misspelt;
            return if opaque {
                Ok((Target::Token(sha256(token.as_bytes())), None))
            } else {
                Err(OrderError::Token(name()))
            };
        };
        if from.rules.identity().id != issued.rules.identity().id {
            return Err(OrderError::OtherIssuer { name: name(), other: Arc::clone(&from.rules.identity().name) });
        }
        let end = |expires_at: Timestamp| expires_at.plus(LONGEST_LEEWAY + 1);
        let registered = Registered::read(claims).ok();
        Ok(match registered.as_ref().and_then(|registered| registered.token_id.as_deref()) {
            Some(id) => {
                let verified = match self.check_offline(token, now) {
                    Offline::Verified(principal) => Some(principal.expires_at),
                    Offline::Unverified(_) | Offline::Refused(_) => None,
                };
                (Target::token_id(id), verified.map(end))
            }
            None => (Target::Token(signed_digest(parts)), registered.map(|registered| end(registered.expires_at))),
        })
    }
}
