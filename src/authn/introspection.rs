//! Tokens that only their issuer can read: what its introspection endpoint says of them (RFC 7662; tokens.md, "Opaque
//! tokens and userinfo").

use std::path::Path;
use std::sync::Arc;

use base64::Engine as _;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use serde_json::Value;
use zeroize::Zeroizing;

use super::endpoint::Endpoint;
use super::failure::Wanted;
use super::fetch::{Client, ClientCredentials, Fetched};
use super::load::Access;
use super::lookup::{Lookups, Said, Tally, TokenDigest, Unanswered};
use super::memory::{Hit, weight};
use super::rules::{Rules, check_in_force};
use super::{Failure, Fault, InvalidToken, Issuers, SOON, refused};
use crate::clock::Timestamp;
use crate::config::Config;
use crate::json;
use crate::principal::{ClaimPath, Claims, ClientCertificate, IssuerSet, Principal};

/// Seconds for which a token that the issuer does not vouch for is not asked about again.
const REFUSED_KEPT: i64 = 10;

/// Bytes of memory that the answers of one issuer take at most.
const MOST_BYTES: usize = 32 * 1024 * 1024;

/// One issuer's introspection endpoint and what it has said.
#[derive(Debug)]
pub(super) struct Introspector {
    rules: Arc<Rules>,
    means: Arc<Means>,
    room: Arc<Lookups<Verdict>>,
}

/// What a call takes.
#[derive(Debug)]
struct Means {
    access: Access,
    client: Client,
    credentials: ClientCredentials,
    endpoint: Endpoint,
    cache: i64,
    always: bool,
}

/// What an issuer says of a token.
#[derive(Debug, Clone)]
enum Verdict {
    /// It vouches for it. Times and binding are checked on every request.
    Vouched(Arc<Principal>),
    /// It does not, or for something that is of no use here.
    Refused(Fault),
}

impl Introspector {
    /// The introspector of an issuer that has one. What `earlier` remembers is kept if neither the issuer's
    /// configuration nor the way to ask it has changed.
    ///
    /// # Errors
    /// A text for the person who configured it.
    pub(super) fn load(
        rules: &Arc<Rules>,
        access: Access,
        config: &Config,
        earlier: Option<&Arc<Self>>,
    ) -> Result<Option<Arc<Self>>, String> {
        let issuer = rules.issuer();
        let Some(introspection) = &issuer.introspection else { return Ok(None) };
        let credentials = ClientCredentials::new(&introspection.client_id, secret(&introspection.client_secret_file)?);
        if let Some(earlier) = earlier
            && Arc::ptr_eq(&earlier.rules, rules)
            && earlier.means.access == access
            && earlier.means.credentials == credentials
        {
            return Ok(Some(Arc::clone(earlier)));
        }
        let client = access.client()?;
        let endpoint = Endpoint::new(introspection.endpoint.as_deref(), issuer, "introspection_endpoint", config);
        endpoint.check(&client).map_err(|error| format!("`introspection`: {error}"))?;
        let cache = i64::try_from(introspection.cache.as_secs()).unwrap_or(i64::MAX);
        Ok(Some(Arc::new(Self {
            rules: Arc::clone(rules),
            means: Arc::new(Means { access, client, credentials, endpoint, cache, always: introspection.always }),
            room: Arc::new(Lookups::new(Arc::clone(&issuer.name), "introspection", MOST_BYTES)),
        })))
    }

    /// Makes calls on this runtime from here on.
    pub(super) fn settle(&self, home: tokio::runtime::Handle) {
        self.room.settle(home);
    }

    /// How the endpoint did.
    pub(super) fn tally(&self) -> Tally {
        self.room.tally()
    }

    /// Asks about a token that cannot exist: for command lines.
    ///
    /// # Errors
    /// Why the endpoint cannot be used.
    pub(super) async fn probe(&self) -> Result<(), String> {
        let token = format!("torwart-check-{}", uuid::Uuid::new_v4());
        self.means.answer(&token).await.map(|_| ())
    }

    /// The principal of a token as the issuer says it, or has said it a while ago. Its times are not looked at.
    async fn vouched(&self, token: &str, now: Timestamp) -> (Hit, Result<Arc<Principal>, Failure>) {
        let digest = TokenDigest::of(token);
        let (hit, outcome) = match self.room.remembered(&digest, now) {
            Some(outcome) => (Hit::Found, outcome),
            None => (Hit::Missed, self.ask(token, digest, now).await),
        };
        let issuer = Arc::clone(&self.rules.identity().name);
        let outcome = match outcome {
            Ok(Verdict::Vouched(principal)) => Ok(principal),
            Ok(Verdict::Refused(fault)) => {
                Err(Failure::Invalid(InvalidToken { fault, issuer: Some(issuer), token_digest: Some(digest.0) }))
            }
            Err(_) => Err(Failure::Unavailable { issuer, wanted: Wanted::Introspection, retry_after: SOON }),
        };
        (hit, outcome)
    }

    async fn ask(&self, token: &str, digest: TokenDigest, now: Timestamp) -> Result<Verdict, Unanswered> {
        let call = || {
            let token = Zeroizing::new(token.to_owned());
            let (rules, means) = (Arc::clone(&self.rules), Arc::clone(&self.means));
            async move {
                let verdict = judge(&rules, means.answer(&token).await?, digest, now);
                Ok(said(verdict, means.cache, now))
            }
        };
        self.room.ask(digest, now, call).await
    }
}

impl Means {
    /// The endpoint's answer: a JSON object that says whether the token is active. A signed one (RFC 9701) was not asked
    /// for.
    async fn answer(&self, token: &str) -> Result<Claims, String> {
        let url = self.endpoint.url(&self.client).await.map_err(|error| error.to_string())?;
        let form = [("token", token), ("token_type_hint", "access_token")];
        let fetched = self.client.post_form(&url, &self.credentials, &form).await.map_err(|error| error.to_string())?;
        read(&fetched)
            .ok_or_else(|| format!("the answer of `{url}` is no JSON object without duplicate names and with `active`"))
    }
}

fn read(fetched: &Fetched) -> Option<Claims> {
    let answer = json::object(&fetched.body).ok()?;
    answer.get("active").is_some_and(|active| !active.is_null()).then_some(answer)
}

/// What an answer means. Only the literal `true` vouches for anything.
fn judge(rules: &Rules, answer: Claims, digest: TokenDigest, now: Timestamp) -> Verdict {
    if answer.get("active") != Some(&Value::Bool(true)) {
        return Verdict::Refused(Fault::Inactive);
    }
    match rules.introspected_claims(answer, digest.0) {
        Ok(principal) if now >= principal.valid_until() => Verdict::Refused(Fault::Expired),
        Ok(principal) => Verdict::Vouched(Arc::new(principal)),
        Err(fault) => Verdict::Refused(fault),
    }
}

/// A verdict with its end: that of the token at the latest. A token within its leeway is still asked about once a second
/// at most.
fn said(verdict: Verdict, cache: i64, now: Timestamp) -> Said<Verdict> {
    let (until, bytes) = match &verdict {
        Verdict::Vouched(principal) => {
            let end = principal.expires_at.max(now.plus(1));
            (now.plus(cache).min(end), usize::try_from(weight(principal)).unwrap_or(usize::MAX))
        }
        Verdict::Refused(_) => (now.plus(REFUSED_KEPT), 0),
    };
    Said { answer: verdict, until, bytes }
}

/// The text of a file without its line break.
fn secret(path: &Path) -> Result<Zeroizing<String>, String> {
    let text = std::fs::read_to_string(path).map(Zeroizing::new);
    let text = text.map_err(|error| format!("`{}` cannot be read: {error}", path.display()))?;
    let line = text.strip_suffix('\n').unwrap_or(&text);
    let secret = Zeroizing::new(line.strip_suffix('\r').unwrap_or(line).to_owned());
    if secret.is_empty() { Err(format!("`{}` holds no secret", path.display())) } else { Ok(secret) }
}

/// Whether a token is a JWT of a configured issuer, or would be if it were written more carefully: those never go
/// elsewhere, so that no misspelling leads around the checks of a JWT.
pub(super) fn is_jwt_of(token: &str, configured: impl Fn(&str) -> bool) -> bool {
    let mut parts = token.split('.');
    let (Some(_), Some(payload), Some(_), None) = (parts.next(), parts.next(), parts.next(), parts.next()) else {
        return false;
    };
    let payload = payload.replace('+', "-").replace('/', "_");
    let Ok(payload) = LAX.decode(payload) else { return false };
    if !serde_json::from_slice(&payload).is_ok_and(|payload: Value| payload.is_object()) {
        return false;
    }
    // With a name twice nobody knows what it says.
    json::object(&payload).map_or(true, |claims| claims.get("iss").and_then(Value::as_str).is_some_and(configured))
}

/// Takes what a careless reader would take.
const LAX: GeneralPurpose = GeneralPurpose::new(
    &alphabet::URL_SAFE,
    GeneralPurposeConfig::new()
        .with_decode_allow_trailing_bits(true)
        .with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

impl Issuers {
    /// The issuer that is asked about a token because it is no JWT of any configured one: the only one accepted that can
    /// be asked. Where two can be, as in a table whose routes differ, neither is.
    pub(super) fn introspecting(&self, token: &str, accepted: &IssuerSet) -> Option<&Introspector> {
        let issued = accepted.iter().filter_map(|id| self.list.get(usize::from(id.0)));
        let mut introspectors = issued.filter_map(|issued| issued.introspector.as_deref());
        let (Some(only), None) = (introspectors.next(), introspectors.next()) else { return None };
        let configured = |claimed: &str| self.list.iter().any(|issued| issued.rules.issuer().issuer == claimed);
        (token.len() <= self.longest && !is_jwt_of(token, configured)).then_some(only)
    }

    /// The principal of a token that its issuer vouches for.
    pub(super) async fn introspected(
        &self,
        introspector: &Introspector,
        token: &str,
        certificate: Option<&ClientCertificate>,
        now: Timestamp,
    ) -> Result<Arc<Principal>, Failure> {
        let (hit, outcome) = introspector.vouched(token, now).await;
        self.memory.count(hit);
        let principal = outcome?;
        check_in_force(&principal, certificate, now).map_err(|fault| refused(&principal, fault))?;
        Ok(principal)
    }

    /// Who has to be asked about a JWT that has been verified: under `always`, its issuer.
    pub(super) fn confirming(&self, principal: &Principal) -> Option<&Introspector> {
        let issued = self.list.get(usize::from(principal.issuer.id.0))?;
        issued.introspector.as_deref().filter(|introspector| introspector.means.always)
    }

    /// The principal of a JWT, if its issuer vouches for it too, and for the same subject.
    pub(super) async fn confirmed(
        &self,
        principal: Arc<Principal>,
        token: &str,
        certificate: Option<&ClientCertificate>,
        now: Timestamp,
    ) -> Result<Arc<Principal>, Failure> {
        let Some(introspector) = self.confirming(&principal) else { return Ok(principal) };
        let vouched = introspector.vouched(token, now).await.1?;
        let holds = check_in_force(&vouched, certificate, now).and_then(|()| self.register().check(&vouched, now));
        holds.map_err(|fault| refused(&principal, fault))?;
        let subject =
            |principal: &Principal| principal.claims.find(&ClaimPath::top("sub")).map(|claim| claim.to_value());
        if subject(&principal) == subject(&vouched) {
            Ok(principal)
        } else {
            Err(refused(&principal, Fault::OtherSubject))
        }
    }
}

#[cfg(test)]
mod tests;
