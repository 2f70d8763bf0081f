//! What one issuer's tokens must be, and how their claims make a principal (tokens.md). Pure: neither keys nor a clock.

use std::sync::Arc;

use serde_json::Value;

use super::claims::{self, Registered};
use super::flow::{self, Named};
use super::jose::Header;
use super::{Fault, jose};
use crate::clock::Timestamp;
use crate::config::{self, Audiences};
use crate::principal::{
    ClaimPath, Claims, ClientCertificate, Derived, Flow, IssuerId, IssuerIdentity, Pending, Principal, Texts,
};

/// The rules of one configured issuer.
#[derive(Debug)]
pub struct Rules {
    identity: Arc<IssuerIdentity>,
    issuer: config::Issuer,
}

impl Rules {
    /// The rules of the issuer at this position of the configuration.
    pub fn new(issuer: &config::Issuer, id: IssuerId) -> Self {
        let folds = |sources: &[ClaimPath]| sources.iter().any(|source| issuer.case_insensitive.contains(source));
        let identity = IssuerIdentity {
            id,
            name: Arc::clone(&issuer.name),
            case_insensitive: issuer.case_insensitive.clone(),
            subject_folds: folds(&issuer.claims.subject),
            client_folds: folds(&issuer.claims.client),
            organizations_fold: folds(&issuer.claims.organizations),
            permissions_fold: folds(&issuer.claims.permissions),
        };
        Self { identity: Arc::new(identity), issuer: issuer.clone() }
    }

    /// What principals know of the issuer.
    pub fn identity(&self) -> &Arc<IssuerIdentity> {
        &self.identity
    }

    /// The configuration these rules were made of.
    pub fn issuer(&self) -> &config::Issuer {
        &self.issuer
    }

    /// Checks the algorithm. An issuer has either public keys or a secret, and its secret is never used with an algorithm
    /// of the other sort (RFC 8725 section 3.1).
    ///
    /// # Errors
    /// [`Fault::Algorithm`].
    pub fn check_algorithm(&self, header: &Header) -> Result<(), Fault> {
        let secret = matches!(self.issuer.keys, config::KeySource::Secret(_));
        let fits = self.issuer.algorithms.contains(&header.algorithm) && jose::is_symmetric(header.algorithm) == secret;
        if fits { Ok(()) } else { Err(Fault::Algorithm) }
    }

    /// Checks algorithm and kind of token.
    ///
    /// # Errors
    /// [`Fault::Algorithm`], [`Fault::Type`].
    pub fn check_header(&self, header: &Header) -> Result<(), Fault> {
        self.check_algorithm(header)?;
        let access_token =
            |kind: &str| kind.eq_ignore_ascii_case("at+jwt") || kind.eq_ignore_ascii_case("application/at+jwt");
        let fits = match header.kind.as_deref() {
            None => !self.issuer.strict_rfc9068,
            Some(kind) if access_token(kind) => true,
            Some(kind) => !self.issuer.strict_rfc9068 && kind.eq_ignore_ascii_case("JWT"),
        };
        if fits { Ok(()) } else { Err(Fault::Type) }
    }

    /// Checks everything about the claims that does not change with time, and makes the principal of them.
    ///
    /// `digest` is the SHA-256 of the token without its signature.
    ///
    /// # Errors
    /// The [`Fault`] of the first check that fails.
    pub fn verified_claims(&self, claims: Claims, digest: [u8; 32]) -> Result<Principal, Fault> {
        let principal = self.checked(claims, digest, Said::ByToken)?;
        if self.issuer.strict_rfc9068 {
            check_profile(&principal)?;
        }
        Ok(principal)
    }

    /// Checks what the introspection endpoint says of an active token, and makes the principal of it (RFC 7662 section
    /// 2.2). The endpoint need not say who it is, nor for whom the token stands.
    ///
    /// `digest` is the SHA-256 of the whole token.
    ///
    /// # Errors
    /// The [`Fault`] of the first check that fails.
    pub fn introspected_claims(&self, mut answer: Claims, digest: [u8; 32]) -> Result<Principal, Fault> {
        if answer.get("iss").is_none_or(Value::is_null) {
            answer.insert("iss".to_owned(), Value::String(self.issuer.issuer.clone()));
        }
        claims::refuse_other_token_types(&answer)?;
        self.checked(answer, digest, Said::ByIssuer)
    }

    fn checked(&self, claims: Claims, digest: [u8; 32], said: Said) -> Result<Principal, Fault> {
        if claims.get("iss").and_then(Value::as_str) != Some(self.issuer.issuer.as_str()) {
            return Err(Fault::Issuer);
        }
        claims::refuse_other_kinds(&claims)?;
        let registered = Registered::read(&claims)?;
        self.check_audience(&registered)?;
        let principal = self.principal(claims, &registered, digest, said)?;
        self.refuse_id_token(&principal, &registered)?;
        Ok(principal)
    }

    /// The principal that a token with these claims would have, for personas and policy tests: `iss` and `exp` may be
    /// left out, the audience is not looked at.
    ///
    /// # Errors
    /// The [`Fault`] of the first check that fails.
    pub fn claims_to_principal(&self, mut claims: Claims) -> Result<Principal, Fault> {
        claims.entry("iss").or_insert_with(|| Value::String(self.issuer.issuer.clone()));
        claims.entry("exp").or_insert_with(|| claims::LATEST.into());
        let registered = Registered::read(&claims)?;
        let principal = self.principal(claims, &registered, [0; 32], Said::ByToken)?;
        // Whoever makes these up says all there is to say.
        Ok(Principal { pending: Pending::default(), ..principal })
    }

    fn check_audience(&self, registered: &Registered) -> Result<(), Fault> {
        if self.is_addressed(&registered.audiences) { Ok(()) } else { Err(Fault::Audience) }
    }

    fn is_addressed(&self, audiences: &[String]) -> bool {
        let Audiences::OneOf(configured) = &self.issuer.audiences else { return true };
        audiences.iter().any(|audience| configured.contains(audience))
    }

    /// Checks who has made a signed answer of userinfo, and for whom: OpenID Connect Core section 5.3.2 names the client
    /// that the token was issued to.
    ///
    /// # Errors
    /// [`Fault::Issuer`], [`Fault::Audience`], [`Fault::ClaimType`].
    pub fn check_userinfo(&self, claims: &Claims, principal: &Principal) -> Result<(), Fault> {
        if claims.get("iss").and_then(Value::as_str) != Some(self.issuer.issuer.as_str()) {
            return Err(Fault::Issuer);
        }
        let audiences = claims::audiences(claims)?;
        let of_client = audiences.iter().any(|audience| Some(audience) == principal.client.as_ref());
        if of_client || self.is_addressed(&audiences) { Ok(()) } else { Err(Fault::Audience) }
    }

    /// The principal with what userinfo says of it: only claims that were pending. Nothing is pending any more.
    ///
    /// # Errors
    /// [`Fault::Source`] where a claim that the principal is made of has the wrong type.
    pub fn completed(&self, principal: &Principal, said: &Claims) -> Result<Principal, Fault> {
        let mut claims = principal.claims.to_map();
        let pending = said.iter().filter(|(name, _)| principal.pending.claims.contains(name));
        claims.extend(pending.map(|(name, value)| (name.clone(), value.clone())));
        let Rights { permissions, organizations, global } = self.rights(&claims)?;
        let pending = Pending::default();
        let claims = claims.into();
        // What was derived from the principal is not in its clone.
        Ok(Principal { permissions, organizations, global, claims, pending, ..principal.clone() })
    }

    /// An ID token carries the `nonce` of its request and is addressed to the client itself (OpenID Connect Core
    /// section 2). A client that nobody names cannot be told from a single audience, so that is refused too.
    fn refuse_id_token(&self, principal: &Principal, registered: &Registered) -> Result<(), Fault> {
        if principal.claims.get("nonce").is_none_or(|nonce| nonce.is_null()) {
            return Ok(());
        }
        let raw = |name: &str| principal.claims.get(name).and_then(|claim| claim.as_str());
        let clients = [principal.client.as_deref(), raw("azp"), raw("client_id")];
        let own = |audience: &String| clients.contains(&Some(audience.as_str()));
        let nobody = clients.iter().all(Option::is_none) && registered.audiences.len() <= 1;
        let addressed_to_client = nobody || registered.audiences.iter().all(own);
        if self.issuer.audiences == Audiences::Any || addressed_to_client { Err(Fault::Kind) } else { Ok(()) }
    }

    fn principal(
        &self,
        claims: Claims,
        registered: &Registered,
        digest: [u8; 32],
        said: Said,
    ) -> Result<Principal, Fault> {
        let sources = &self.issuer.claims;
        let subject = self.subject(&claims, said)?;
        let client = self.client(&claims, said);
        let scopes =
            first(&sources.scopes, &claims).map_or(Some(Texts::default()), claims::scopes).ok_or(Fault::Source)?;
        let Rights { permissions, organizations, global } = self.rights(&claims)?;
        let named = Named { client: client.as_deref(), subject: subject.as_deref() };
        let flow = flow::flow(&self.issuer, &claims, named);
        let certificate_thumbprint = claims::confirmation(&claims)?;
        if self.issuer.sender_constraint_required && certificate_thumbprint.is_none() {
            return Err(Fault::Unbound);
        }
        Ok(Principal {
            issuer: Arc::clone(&self.identity),
            subject,
            client,
            scopes,
            permissions,
            organizations,
            global,
            flow,
            expires_at: registered.expires_at,
            not_before: registered.not_before,
            issued_at: registered.issued_at,
            authenticated_at: claims::authenticated_at(&claims),
            acr: claims.get("acr").and_then(Value::as_str).map(str::to_owned),
            token_id: registered.token_id.clone(),
            token_digest: digest,
            certificate_thumbprint: certificate_thumbprint.map(Box::new),
            leeway: self.issuer.leeway,
            pending: self.pending(&claims, flow, global),
            derived: Derived::default(),
            claims: claims.into(),
        })
    }

    fn rights(&self, claims: &Claims) -> Result<Rights, Fault> {
        let sources = &self.issuer.claims;
        let permissions = first(&sources.permissions, claims).and_then(claims::texts);
        let global = match first(&sources.global, claims) {
            None => None,
            Some(value) => Some(value.as_bool().ok_or(Fault::Source)?),
        };
        let organizations = match first(&sources.organizations, claims) {
            Some(value) if global != Some(true) => Some(claims::texts(value).ok_or(Fault::Source)?),
            _ => None,
        };
        Ok(Rights { permissions, organizations, global })
    }

    /// What only userinfo knows of the holder of these claims. A client's own token has nobody of whom it could tell.
    fn pending(&self, claims: &Claims, flow: Flow, global: Option<bool>) -> Pending {
        let Some(userinfo) = self.issuer.userinfo.as_ref().filter(|_| flow != Flow::ClientCredentials) else {
            return Pending::default();
        };
        let absent = |name: &&String| claims.get(name.as_str()).is_none_or(Value::is_null);
        let names: Box<[String]> = userinfo.claims.iter().filter(absent).cloned().collect();
        // The first source that has a value counts, so a pending one matters only before that.
        let matters = |sources: &[ClaimPath]| {
            let pending = |source: &ClaimPath| source.0.first().is_some_and(|first| names.contains(first));
            let told = sources.iter().find(|source| pending(source) || source.find(claims).is_some());
            told.is_some_and(pending)
        };
        let sources = &self.issuer.claims;
        Pending {
            permissions: matters(&sources.permissions),
            organizations: global != Some(true) && matters(&sources.organizations),
            global: matters(&sources.global),
            claims: names,
        }
    }

    /// The OAuth client. To an introspection endpoint it is `client_id` (RFC 7662 section 2.2), whatever claim has that
    /// name in the issuer's JWTs.
    fn client(&self, claims: &Claims, said: Said) -> Option<String> {
        let own = || first(&self.issuer.claims.client, claims);
        let client = match said {
            Said::ByToken => own(),
            Said::ByIssuer => claims.get("client_id").filter(|client| !client.is_null()).or_else(own),
        };
        client.and_then(Value::as_str).filter(|client| !client.is_empty()).map(str::to_owned)
    }

    fn subject(&self, claims: &Claims, said: Said) -> Result<Option<String>, Fault> {
        match first(&self.issuer.claims.subject, claims) {
            None if self.issuer.subject_optional || said == Said::ByIssuer => Ok(None),
            None => Err(Fault::Subject),
            Some(Value::String(subject)) if subject.is_empty() => Err(Fault::Subject),
            Some(Value::String(subject)) => Ok(Some(subject.clone())),
            Some(_) => Err(Fault::ClaimType),
        }
    }
}

/// What a principal may do and see.
struct Rights {
    permissions: Option<Texts>,
    organizations: Option<Texts>,
    global: Option<bool>,
}

/// Where claims come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Said {
    /// They are the token's own.
    ByToken,
    /// The introspection endpoint has answered with them.
    ByIssuer,
}

/// The first present claim among the sources.
fn first<'c>(sources: &[ClaimPath], claims: &'c Claims) -> Option<&'c Value> {
    sources.iter().find_map(|source| source.find(claims))
}

/// RFC 9068 section 2.2 requires these beside `iss`, `exp`, `aud` and `sub`, which every token must have.
fn check_profile(principal: &Principal) -> Result<(), Fault> {
    let text = |name: &str| {
        principal.claims.get(name).is_some_and(|claim| claim.as_str().is_some_and(|text| !text.is_empty()))
    };
    let addressed = principal.claims.get("aud").is_some_and(|audience| !audience.is_null());
    let complete = text("sub") && text("client_id") && text("jti") && addressed && principal.issued_at.is_some();
    if complete { Ok(()) } else { Err(Fault::Profile) }
}

/// What is asked on every request, for remembered tokens too: the token is in force at `now`, and the certificate that
/// it is bound to is this connection's (RFC 8705 section 3).
///
/// # Errors
/// [`Fault::Expired`], [`Fault::NotYet`], [`Fault::Confirmation`].
pub fn check_in_force(
    principal: &Principal,
    certificate: Option<&ClientCertificate>,
    now: Timestamp,
) -> Result<(), Fault> {
    if now >= principal.valid_until() {
        return Err(Fault::Expired);
    }
    let latest = now.plus(principal.leeway);
    let future = |time: Option<Timestamp>| time.is_some_and(|time| time > latest);
    if future(principal.not_before) || future(principal.issued_at) {
        return Err(Fault::NotYet);
    }
    match principal.certificate_thumbprint.as_deref() {
        Some(bound) if certificate.is_none_or(|shown| shown.thumbprint != *bound) => Err(Fault::Confirmation),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests;
