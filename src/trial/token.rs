//! What a token says that nobody has issued: claims of personas, completed and checked like those of a verified token.

use std::sync::Arc;

use serde_json::{Value, json};

use super::{Bearer, Loaded};
use crate::authn::Fault;
use crate::authn::rules::Rules;
use crate::clock::Timestamp;
use crate::config::Audiences;
use crate::principal::{Claims, Pending, Principal};

/// How long such a token is valid, in seconds.
const VALID: i64 = 3600;

impl Loaded {
    /// The token of a persona, issued at `now`. `None`: there is no such persona.
    pub fn token_of(&self, persona: &str, now: Timestamp) -> Option<Bearer> {
        let persona = self.persona(persona)?;
        self.token(persona.issuer.as_deref(), persona.claims.clone(), now)
    }

    /// A token with these claims, issued at `now`: `iss`, `aud`, `iat`, `exp` and, where the issuer's profile asks for
    /// it, `jti` are filled in; what the claims say themselves stands. `None`: there is no such issuer, or none is named
    /// and there are several.
    pub fn token(&self, issuer: Option<&str>, claims: Claims, now: Timestamp) -> Option<Bearer> {
        let rules = match (issuer, self.rules.as_slice()) {
            (Some(name), _) => self.issuer(name)?,
            (None, [only]) => only,
            (None, _) => return None,
        };
        Some(match rules.verified_claims(completed(claims, rules, now), [0; 32]) {
            // Whoever makes claims up says all there is to say: nobody can be asked for more.
            Ok(principal) => Bearer::Principal(Arc::new(Principal { pending: Pending::default(), ..principal })),
            Err(fault) => Bearer::Refused(fault),
        })
    }
}

impl Bearer {
    /// The check that the token failed, if it did.
    pub fn fault(&self) -> Option<Fault> {
        match self {
            Self::Refused(fault) => Some(*fault),
            Self::Nobody | Self::Principal(_) => None,
        }
    }
}

fn completed(mut claims: Claims, rules: &Rules, now: Timestamp) -> Claims {
    let issuer = rules.issuer();
    let mut fill = |name: &str, value: Value| {
        claims.entry(name).or_insert(value);
    };
    fill("iss", json!(issuer.issuer));
    fill("aud", audience(&issuer.audiences));
    fill("iat", json!(now.0));
    fill("exp", json!(now.plus(VALID).0));
    if issuer.strict_rfc9068 {
        fill("jti", json!("trial"));
    }
    claims
}

fn audience(audiences: &Audiences) -> Value {
    match audiences {
        Audiences::Any => json!("torwart-trial"),
        Audiences::OneOf(list) => match list.as_slice() {
            [one] => json!(one),
            several => json!(several),
        },
    }
}
