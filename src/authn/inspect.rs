//! A token taken apart for a person: what it says, and the check it fails.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::Value;

use super::keyset::Verdict;
use super::{Failure, Fault, Issuers};
use crate::clock::Timestamp;
use crate::principal::{IssuerSet, Principal};

/// What a token says, believed by nobody. The signature is not part of it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Decoded {
    /// The header, if it is JSON.
    pub header: Option<Value>,
    /// The claims, if they are JSON.
    pub claims: Option<Value>,
}

/// Decodes a token as far as that is possible, more laxly than it would be accepted.
pub fn decode(token: &str) -> Decoded {
    let mut parts = token.split('.');
    let mut part = || {
        let text = parts.next()?.trim_end_matches('=');
        serde_json::from_slice(&URL_SAFE_NO_PAD.decode(text).ok()?).ok()
    };
    Decoded { header: part(), claims: part() }
}

impl Issuers {
    /// Verifies a token as if every issuer were accepted, with the keys that its issuer has now. A token that is bound
    /// to a certificate fails that check: there is no connection.
    ///
    /// # Errors
    /// As [`Issuers::verify`].
    pub async fn inspect(&self, token: &str, now: Timestamp) -> Result<Arc<Principal>, Failure> {
        let claims = decode(token).claims;
        let claimed = claims.as_ref().and_then(|claims| claims.get("iss")).and_then(Value::as_str);
        for issued in self.list.iter().filter(|issued| Some(issued.rules.issuer().issuer.as_str()) == claimed) {
            issued.keeper.refresh().await;
        }
        let everyone = IssuerSet::new(self.identities.iter().map(|identity| identity.id));
        self.verify(token, &everyone, None, now).await
    }
}

/// What is known of a token without asking anybody.
#[derive(Debug)]
pub enum Offline {
    /// The keys that are at hand vouch for it.
    Verified(Arc<Principal>),
    /// Everything but its signature holds: no keys of its issuer are at hand.
    Unverified(Arc<Principal>),
    /// It is not accepted.
    Refused(Fault),
}

impl Issuers {
    /// Checks a token as far as that is possible with what files hold: never over the network. Times and the binding to a
    /// certificate are not looked at.
    pub fn check_offline(&self, token: &str, now: Timestamp) -> Offline {
        let everyone = IssuerSet::new(self.identities.iter().map(|identity| identity.id));
        let claimed = match self.read(token, &everyone) {
            Ok(claimed) => claimed,
            Err(Failure::Invalid(invalid)) => return Offline::Refused(invalid.fault),
            Err(Failure::ManyHeaders | Failure::Missing | Failure::Unavailable { .. }) => {
                return Offline::Refused(Fault::Credentials);
            }
        };
        match claimed.verdict(now) {
            None | Some((Verdict::UnknownKey, _)) => Offline::Unverified(Arc::new(claimed.principal)),
            Some((Verdict::Valid, _)) => Offline::Verified(Arc::new(claimed.principal)),
            Some((Verdict::Invalid(fault), _)) => Offline::Refused(fault),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn whatever_can_be_decoded_is() {
        let encode = |text: &str| URL_SAFE_NO_PAD.encode(text);
        let token = format!("{}.{}.c2ln", encode(r#"{"alg":"none"}"#), encode(r#"{"sub":"a"}"#));
        assert_eq!(decode(&token), Decoded { header: Some(json!({"alg": "none"})), claims: Some(json!({"sub": "a"})) });
        let half = format!("{}=.garbage", encode(r#"{"alg":"none"}"#));
        assert_eq!(decode(&half), Decoded { header: Some(json!({"alg": "none"})), claims: None });
        assert_eq!(decode("opaque"), Decoded::default());
        assert_eq!(decode(""), Decoded::default());
    }
}
