//! What a userinfo endpoint says, and what becomes of a principal by it. Pure.

use std::sync::Arc;

use arc_swap::ArcSwapOption;
use serde_json::Value;

use crate::authn::Fault;
use crate::authn::claims;
use crate::authn::jose::{Header, Parts};
use crate::authn::keyset::{KeySet, Verdict};
use crate::authn::rules::Rules;
use crate::clock::Timestamp;
use crate::json;
use crate::principal::{Claims, Principal};

/// What was said about one token.
#[derive(Debug)]
pub(super) enum Answer {
    /// 200: whom it is about, and the listed claims.
    Claims {
        /// `sub`, as sent.
        subject: String,
        /// Nothing but what the configuration lists.
        claims: Claims,
    },
    /// 403: the token may not see the claims, so there are none.
    Nothing,
    /// 401: the token does not hold.
    Refused,
}

/// An answer with the principal that it was last added to.
#[derive(Debug)]
pub(super) struct Told {
    answer: Answer,
    added: ArcSwapOption<Added>,
}

#[derive(Debug)]
struct Added {
    to: Arc<Principal>,
    whole: Arc<Principal>,
}

/// `sub` of claims.
pub(super) fn subject_of(claims: &Claims) -> Option<&str> {
    claims.get("sub").and_then(Value::as_str).filter(|subject| !subject.is_empty())
}

impl Answer {
    /// Reads the claims of an answer.
    ///
    /// # Errors
    /// Anything but an object without duplicate names and with a `sub`, in words.
    pub(super) fn read(text: &[u8], rules: &Rules) -> Result<Self, String> {
        let mut said = json::object(text).map_err(|error| format!("the answer is no JSON object: {error}"))?;
        // Whose answer it is has to be said; whether it is the token's subject is asked whenever it is used.
        let subject = subject_of(&said).unwrap_or_default().to_owned();
        let listed = rules.issuer().userinfo.iter().flat_map(|userinfo| &userinfo.claims);
        let taken = listed.filter_map(|name| Some((name.clone(), said.remove(name).filter(|value| !value.is_null())?)));
        Ok(Self::Claims { subject, claims: taken.collect() })
    }
}

impl Told {
    /// An answer that was added to nobody yet.
    pub(super) fn new(answer: Answer) -> Self {
        Self { answer, added: ArcSwapOption::empty() }
    }

    /// The principal with everything that was said of it.
    ///
    /// # Errors
    /// [`Fault::Userinfo`], [`Fault::UserinfoSubject`], or [`Fault::Source`] for claims that no principal can be made of.
    pub(super) fn whole(&self, rules: &Rules, principal: &Arc<Principal>) -> Result<Arc<Principal>, Fault> {
        if let Some(added) = self.added.load().as_ref().filter(|added| Arc::ptr_eq(&added.to, principal)) {
            return Ok(Arc::clone(&added.whole));
        }
        let nothing = Claims::new();
        let claims = match &self.answer {
            Answer::Refused => return Err(Fault::Userinfo),
            Answer::Nothing => &nothing,
            Answer::Claims { subject, claims } => {
                let own = super::own_subject(principal).ok_or(Fault::UserinfoSubject)?;
                if !principal.issuer.is_same(&super::subject_path(), own, subject) {
                    return Err(Fault::UserinfoSubject);
                }
                claims
            }
        };
        let whole = Arc::new(rules.completed(principal, claims)?);
        self.added.store(Some(Arc::new(Added { to: Arc::clone(principal), whole: Arc::clone(&whole) })));
        Ok(whole)
    }
}

/// A signed answer.
#[derive(Debug)]
pub(super) struct Signed<'a> {
    parts: Parts<'a>,
    header: Header,
}

impl<'a> Signed<'a> {
    /// Takes it apart. Its algorithm has to be one of the issuer's.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(super) fn read(body: &'a [u8], rules: &Rules) -> Result<Self, String> {
        let text = std::str::from_utf8(body).map_err(|_| "the signed answer is no text".to_owned())?;
        let parts = Parts::split(text.trim()).map_err(in_words)?;
        let header = Header::read(&parts.header).map_err(in_words)?;
        rules.check_algorithm(&header).map_err(in_words)?;
        Ok(Self { parts, header })
    }

    /// What keys say of the signature.
    pub(super) fn verdict(&self, keys: &KeySet) -> Verdict {
        keys.verify(&self.header, self.parts.signed, self.parts.signature)
    }

    /// The payload, once the signature is known to be good.
    ///
    /// # Errors
    /// It is another issuer's, for somebody else, or not in force.
    pub(super) fn payload(&self, rules: &Rules, principal: &Principal, now: Timestamp) -> Result<Vec<u8>, String> {
        let claims =
            json::object(&self.parts.payload).map_err(|error| format!("the signed answer is no object: {error}"))?;
        rules.check_userinfo(&claims, principal).map_err(in_words)?;
        claims::check_times(&claims, rules.issuer().leeway, now).map_err(in_words)?;
        Ok(self.parts.payload.clone())
    }
}

/// Whether the signature is good; `false`: newer keys may say so.
///
/// # Errors
/// It is bad.
pub(super) fn is_valid(verdict: Verdict) -> Result<bool, String> {
    match verdict {
        Verdict::Valid => Ok(true),
        Verdict::UnknownKey => Ok(false),
        Verdict::Invalid(fault) => Err(in_words(fault)),
    }
}

/// What a token would be refused for, said of an answer.
fn in_words(fault: Fault) -> String {
    format!("the signed answer does not hold: {fault}")
}

#[cfg(test)]
mod tests;
