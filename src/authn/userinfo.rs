//! Claims that an issuer tells only at its userinfo endpoint (OpenID Connect Core section 5.3; tokens.md, "Opaque tokens
//! and userinfo").
//!
//! The endpoint is asked with the access token itself, once per token and `userinfo.cache`. Only the listed claims that
//! the token does not have are taken, and only from an answer about the token's own subject.

mod answer;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use http::StatusCode;
use thiserror::Error;
use tokio::runtime::Handle;

use super::endpoint::Endpoint;
use super::fetch::{Client, FetchError};
use super::keeper::Keeper;
use super::lookup::{Lookups, Said, Tally, TokenDigest, Unanswered};
use super::memory::weight;
use super::rules::Rules;
use super::{Fault, MOST_LOOKS};
use crate::clock::Timestamp;
use crate::principal::{ClaimPath, Principal};

use answer::{Answer, Told};

/// Seconds for which a token that the endpoint refuses is not shown to it again.
const REFUSAL_KEPT: i64 = 10;

/// The userinfo endpoint of one issuer under one configuration, and what it has said.
pub struct Userinfo {
    rules: Arc<Rules>,
    keeper: Arc<Keeper>,
    client: Client,
    endpoint: Endpoint,
    answers: Arc<Lookups<Arc<Told>>>,
}

/// Why a principal stays incomplete.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Incomplete {
    /// The token does not hold there, or is another subject's.
    #[error(transparent)]
    Refused(#[from] Fault),
    /// Nobody knows.
    #[error(transparent)]
    Unanswered(#[from] Unanswered),
}

impl fmt::Debug for Userinfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Userinfo")
            .field("endpoint", &self.endpoint)
            .field("answers", &self.answers)
            .finish_non_exhaustive()
    }
}

impl Userinfo {
    /// The endpoint of an issuer with these rules, whose signed answers these keys vouch for. `bytes` of answers are kept.
    pub fn new(rules: &Arc<Rules>, keeper: &Arc<Keeper>, client: Client, endpoint: Endpoint, bytes: usize) -> Self {
        let name = Arc::clone(&rules.identity().name);
        Self {
            rules: Arc::clone(rules),
            keeper: Arc::clone(keeper),
            client,
            endpoint,
            answers: Arc::new(Lookups::new(name, "userinfo", bytes)),
        }
    }

    /// Whether it is the endpoint of an issuer with exactly these rules and keys.
    pub fn belongs_to(&self, rules: &Arc<Rules>, keeper: &Arc<Keeper>) -> bool {
        Arc::ptr_eq(&self.rules, rules) && Arc::ptr_eq(&self.keeper, keeper)
    }

    /// Makes calls on this runtime from here on.
    pub fn settle(&self, home: Handle) {
        self.answers.settle(home);
    }

    /// How the endpoint did.
    pub fn tally(&self) -> Tally {
        self.answers.tally()
    }

    /// The principal of a token with everything that userinfo knows of it. Once that is remembered it is the same one
    /// every time.
    ///
    /// # Errors
    /// [`Incomplete`].
    pub async fn complete(
        self: &Arc<Self>,
        token: &str,
        principal: &Arc<Principal>,
        now: Timestamp,
    ) -> Result<Arc<Principal>, Incomplete> {
        // Nobody could tell whose answer it is (OpenID Connect Core section 5.3.2), so nobody is asked.
        if own_subject(principal).is_none() {
            return Err(Fault::UserinfoSubject.into());
        }
        let told = self.answers.ask(TokenDigest::of(token), now, || {
            let (own, token, principal) = (Arc::clone(self), token.to_owned(), Arc::clone(principal));
            async move { own.call(&token, &principal, now).await }
        });
        Ok(told.await?.whole(&self.rules, principal)?)
    }

    /// One call.
    async fn call(&self, token: &str, principal: &Arc<Principal>, now: Timestamp) -> Result<Said<Arc<Told>>, String> {
        let endpoint = self.endpoint.url(&self.client).await.map_err(|error| error.to_string())?;
        let answer = match self.client.get_as_bearer(&endpoint, token).await {
            Ok(fetched) => {
                let text = match fetched.media_type.as_str() {
                    "application/jwt" => self.verified(&fetched.body, principal, now).await?,
                    kind if matches!(kind, "" | "application/json") || kind.ends_with("+json") => fetched.body.to_vec(),
                    kind => return Err(format!("`{endpoint}` answered with `{kind}` instead of `application/json`")),
                };
                Answer::read(&text, &self.rules).map_err(|error| format!("`{endpoint}`: {error}"))?
            }
            Err(FetchError::Status(_, StatusCode::UNAUTHORIZED)) => Answer::Refused,
            Err(FetchError::Status(_, StatusCode::FORBIDDEN)) => Answer::Nothing,
            Err(error) => return Err(error.to_string()),
        };
        let told = Told::new(answer);
        let (kept, bytes) = match told.whole(&self.rules, principal) {
            Ok(whole) => (self.cache(), 2 * weight(&whole)),
            // An answer about the right subject that no principal can be made of is the issuer's fault.
            Err(Fault::Source) => return Err(format!("`{endpoint}`: {}", Fault::Source)),
            Err(_) => (REFUSAL_KEPT.min(self.cache()), 1024),
        };
        let until = now.plus(kept).min(principal.valid_until());
        Ok(Said { answer: Arc::new(told), until, bytes: usize::try_from(bytes).unwrap_or(usize::MAX) })
    }

    fn cache(&self) -> i64 {
        let cache = self.rules.issuer().userinfo.as_ref().map_or(Duration::ZERO, |userinfo| userinfo.cache);
        i64::try_from(cache.as_secs()).unwrap_or(i64::MAX)
    }

    /// The payload of a signed answer (OpenID Connect Core section 5.3.2), which has to be this issuer's, about one of
    /// our audiences or the token's client, and in force.
    async fn verified(&self, body: &[u8], principal: &Principal, now: Timestamp) -> Result<Vec<u8>, String> {
        let signed = answer::Signed::read(body, &self.rules)?;
        for _ in 0..MOST_LOOKS {
            let verdict = match self.keeper.at(now).as_deref() {
                Some(Some(held)) => signed.verdict(&held.set),
                Some(None) | None => return Err("a signed answer, and there are no keys".to_owned()),
            };
            if answer::is_valid(verdict)? {
                return signed.payload(&self.rules, principal, now);
            }
            self.keeper.renew(now).await;
        }
        Err("a signed answer by a key that nobody knows".to_owned())
    }
}

impl Incomplete {
    /// The fault of the token, if it has one.
    pub fn fault(&self) -> Option<Fault> {
        match self {
            Self::Refused(fault) => Some(*fault),
            Self::Unanswered(_) => None,
        }
    }
}

/// `sub` of the token.
fn own_subject(principal: &Principal) -> Option<&str> {
    principal.claims.get("sub").and_then(|claim| claim.as_str()).filter(|subject| !subject.is_empty())
}

/// The claim that both sides name the subject by.
pub(super) fn subject_path() -> ClaimPath {
    ClaimPath::top("sub")
}
