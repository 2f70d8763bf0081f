//! Tokens that are explained without a network: personas, written claims, pasted tokens.

use std::sync::Arc;

use serde_json::Value;
use thiserror::Error;

use crate::authn::inspect::{Offline, decode};
use crate::authn::{Fault, Issuers};
use crate::clock::Timestamp;
use crate::config::is_dev_issuer;
use crate::diagnostic::{Diagnostics, nearest};
use crate::principal::{Claims, Principal};
use crate::trial::{Bearer, Loaded};

/// A token, and what has to be said about it.
#[derive(Debug)]
pub struct Known {
    /// It, for deciding.
    pub bearer: Bearer,
    /// What was not checked.
    pub note: Option<String>,
}

/// Why there is no token to explain.
#[derive(Debug, Error)]
pub enum TokenError {
    /// Nobody has this name.
    #[error("there is no persona `{name}`{}", .near.as_ref().map(|near| format!(": did you mean `{near}`?")).unwrap_or_default())]
    Persona {
        /// The name.
        name: String,
        /// The most similar one.
        near: Option<String>,
    },
    /// The claims are no JSON object.
    #[error("the claims are not a JSON object: {0}")]
    Claims(serde_json::Error),
    /// Nothing says whose the claims are.
    #[error("nothing says which issuer's the claims are: add `\"issuer\"` with one of {0}")]
    Issuer(String),
    /// The issuers cannot be loaded.
    #[error("the issuers cannot be loaded")]
    Issuers(Diagnostics),
}

/// The token of a persona.
///
/// # Errors
/// There is none of this name.
pub fn persona(loaded: &Loaded, name: &str, now: Timestamp) -> Result<Bearer, TokenError> {
    loaded.token_of(name, now).ok_or_else(|| {
        let near = nearest(name, loaded.personas.iter().map(|persona| persona.name.as_str()));
        TokenError::Persona { name: name.to_owned(), near: near.map(str::to_owned) }
    })
}

/// A token with these claims, as a persona has them: `issuer` is the issuer's name.
///
/// # Errors
/// They are no JSON object, or of nobody.
pub fn claims(loaded: &Loaded, text: &str, now: Timestamp) -> Result<Bearer, TokenError> {
    let mut claims: Claims = serde_json::from_str(text).map_err(TokenError::Claims)?;
    let named = match claims.remove("issuer") {
        Some(Value::String(name)) => Some(name),
        Some(_) | None => None,
    };
    let issuer = claims.get("iss").and_then(Value::as_str);
    let by_url = loaded.rules.iter().find(|rules| Some(rules.issuer().issuer.as_str()) == issuer);
    let name = named.or_else(|| by_url.map(|rules| rules.identity().name.to_string()));
    loaded.token(name.as_deref(), claims, now).ok_or_else(|| {
        let names: Vec<_> = loaded.rules.iter().map(|rules| format!("`{}`", rules.identity().name)).collect();
        TokenError::Issuer(names.join(", "))
    })
}

/// A token as it was sent. Its signature is checked with the keys that files hold; nobody is asked for others.
///
/// # Errors
/// The issuers cannot be loaded.
pub fn pasted(loaded: &Loaded, token: &str, now: Timestamp) -> Result<Known, TokenError> {
    let claims = decode(token).claims;
    let issuer = claims.as_ref().and_then(|claims| claims.get("iss")).and_then(Value::as_str).unwrap_or_default();
    if is_dev_issuer(issuer)
        && let Some(Value::Object(claims)) = &claims
    {
        return Ok(of_development(loaded, issuer, claims.clone(), now));
    }
    let issuers = Issuers::load(&loaded.config, None).map_err(TokenError::Issuers)?;
    let (bearer, note) = match issuers.check_offline(token, now) {
        Offline::Verified(principal) => (Bearer::Principal(principal), None),
        Offline::Unverified(principal) => {
            let note = "the signature was not checked: no key of its issuer that fits is at hand";
            (Bearer::Principal(principal), Some(note.to_owned()))
        }
        Offline::Refused(fault) => {
            let asked = fault == Fault::Opaque && issuers.states(now).iter().any(|state| state.introspection.is_some());
            let note = "only its issuer can read it, and nobody is asked here: give its claims with `--claims`";
            (Bearer::Refused(fault), asked.then(|| note.to_owned()))
        }
    };
    Ok(Known { bearer, note })
}

/// A token of dev mode counts for the issuer that it stands in for.
fn of_development(loaded: &Loaded, issuer: &str, mut claims: Claims, now: Timestamp) -> Known {
    let name = issuer.rsplit('/').next().unwrap_or_default();
    for claim in ["iss", "aud"] {
        claims.remove(claim);
    }
    let note = "a token of dev mode: neither signature nor audience was checked".to_owned();
    let bearer = loaded.token(Some(name), claims, now).unwrap_or(Bearer::Refused(Fault::Issuer));
    Known { bearer, note: Some(note) }
}

/// Who it is.
pub(super) fn in_words(bearer: &Bearer) -> String {
    match bearer {
        Bearer::Nobody => "nobody: no token".to_owned(),
        Bearer::Refused(fault) => format!("nobody: {fault}"),
        Bearer::Principal(principal) => described(principal),
    }
}

fn described(principal: &Arc<Principal>) -> String {
    let mut words = Vec::new();
    words.extend(principal.subject.as_ref().map(|subject| format!("subject {subject}")));
    words.extend(principal.client.as_ref().map(|client| format!("client {client}")));
    words.push(format!("flow {}", principal.flow.as_str()));
    words.push(format!("issuer {}", principal.issuer.name));
    words.join(", ")
}
