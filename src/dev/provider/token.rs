//! The token endpoint: client credentials, and authorization codes with PKCE.

use aws_lc_rs::constant_time;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64URL;
use bytes::Bytes;
use http::{Request, Response, StatusCode};
use serde_json::{Value, json};

use super::answer::{self, OauthError};
use super::client::{Client, client, form_of, invalid_client, invalid_request};
use super::form::Form;
use super::grants::Grant;
use super::{Context, inspect};
use crate::dev::key::sha256;
use crate::dev::persona::{self, Persona, TOKEN_SECONDS};
use crate::principal::{Claims, Flow};

impl Context<'_> {
    /// Exchanges what the client shows for tokens.
    pub(super) fn token(&self, request: &Request<Bytes>) -> Result<Response<Bytes>, OauthError> {
        let form = form_of(request)?;
        let client = client(request, &form)?;
        match form.get("grant_type") {
            Some("client_credentials") => self.client_credentials(&client, &form),
            Some("authorization_code") => self.authorization_code(&client, &form),
            Some(other) => {
                let description = format!("`{other}`; expected `authorization_code` or `client_credentials`");
                Err(OauthError::new("unsupported_grant_type", description))
            }
            None => Err(invalid_request("`grant_type` is missing")),
        }
    }

    /// RFC 6749 section 4.4: confidential clients only.
    fn client_credentials(&self, client: &Client, form: &Form) -> Result<Response<Bytes>, OauthError> {
        if !client.proved {
            return Err(invalid_client(format!(
                "`client_secret` is missing; every dev client's is `{}`",
                super::CLIENT_SECRET
            )));
        }
        let Some(persona) = self.realm.client_persona(&client.id) else {
            return Err(if self.realm.knows_client(&client.id) {
                let description = format!("`{}` is no persona of its own, people log in through it", client.id);
                OauthError::new("unauthorized_client", description)
            } else {
                invalid_client(format!("no persona has the client `{}`; clients: {}", client.id, self.known_clients()))
            });
        };
        let asked = form.get("scope").map(words);
        let claims = self.access_claims(persona, asked.as_deref())?;
        self.respond(&claims, None)
    }

    /// RFC 6749 section 4.1.3 with RFC 7636 section 4.6.
    fn authorization_code(&self, client: &Client, form: &Form) -> Result<Response<Bytes>, OauthError> {
        let required = |name: &str| form.get(name).ok_or_else(|| invalid_request(format!("`{name}` is missing")));
        let (code, redirect_uri, verifier) = (required("code")?, required("redirect_uri")?, required("code_verifier")?);
        let refused = |description: &str| OauthError::new("invalid_grant", description);
        let grant = self
            .grants
            .take(code, self.now)
            .filter(|grant| *grant.issuer == *self.realm.issuer.name)
            .ok_or_else(|| refused("the code is unknown, expired or has been used"))?;
        if grant.client != client.id {
            return Err(refused("the code was issued to another client"));
        }
        if grant.redirect_uri != redirect_uri {
            return Err(refused("`redirect_uri` differs from the one that the code was sent to"));
        }
        if !verifies(verifier, &grant.challenge) {
            return Err(refused("`code_verifier` does not fit the challenge"));
        }
        let persona = self
            .realm
            .persona(&grant.persona)
            .filter(|persona| persona.flow != Flow::ClientCredentials)
            .ok_or_else(|| refused("the persona is gone"))?;
        let claims = self.access_claims(persona, grant.scopes.as_deref())?;
        let wants_identity = grant.scopes.as_ref().is_some_and(|scopes| scopes.iter().any(|scope| scope == "openid"));
        self.respond(&claims, wants_identity.then_some((persona, &grant)))
    }

    /// The access token's claims, with those of the persona's scopes that were asked for.
    fn access_claims(&self, persona: &Persona, asked: Option<&[String]>) -> Result<Claims, OauthError> {
        let mut claims = self.realm.access_claims(persona, self.now, TOKEN_SECONDS);
        if let Some(asked) = asked {
            let has = persona::scopes(&persona.claims);
            let foreign = asked.iter().find(|scope| !has.contains(scope) && !is_identity_scope(scope));
            if let Some(scope) = foreign {
                let description = format!("`{}` does not have the scope `{scope}`", persona.name);
                return Err(OauthError::new("invalid_scope", description));
            }
            let kept: Vec<String> = has.into_iter().filter(|scope| asked.contains(scope)).collect();
            persona::narrow_scopes(&mut claims, &kept);
        }
        Ok(claims)
    }

    fn respond(&self, claims: &Claims, identity: Option<(&Persona, &Grant)>) -> Result<Response<Bytes>, OauthError> {
        let sign = |typ: &str, claims: &Claims| {
            self.key.sign(typ, claims).map_err(|error| OauthError::new("server_error", error.to_string()))
        };
        let token = sign(self.realm.token_type(), claims)?;
        let expires = claims.get("exp").and_then(Value::as_i64).unwrap_or_default();
        let mut body = json!({
            "access_token": token,
            "token_type": "Bearer",
            "expires_in": expires.saturating_sub(self.now.0).max(0),
            "scope": persona::scopes(claims).join(" "),
        });
        if let (Some((persona, grant)), Some(members)) = (identity, body.as_object_mut()) {
            let claims = self.identity_claims(persona, grant, &token);
            members.insert("id_token".to_owned(), json!(sign("JWT", &claims)?));
        }
        Ok(answer::json(StatusCode::OK, &body))
    }

    /// The ID token's claims (OpenID Connect Core section 2). `at_hash` tells it from an access token.
    fn identity_claims(&self, persona: &Persona, grant: &Grant, access_token: &str) -> Claims {
        let half = sha256(access_token);
        let half = half.as_ref().get(..16).unwrap_or_default();
        let mut claims = inspect::person(self.realm, persona, grant.scopes.as_deref());
        let own = [
            ("iss", json!(self.realm.issuer.issuer)),
            ("aud", json!(grant.client)),
            ("iat", json!(self.now.0)),
            ("exp", json!(self.now.plus(TOKEN_SECONDS).0)),
            ("auth_time", json!(grant.chosen_at.0)),
            ("at_hash", json!(BASE64URL.encode(half))),
        ];
        claims.extend(own.map(|(name, value)| (name.to_owned(), value)));
        claims.extend(grant.nonce.as_ref().map(|nonce| ("nonce".to_owned(), json!(nonce))));
        claims
    }
}

/// Scopes that speak about the login and not about the API.
pub(super) fn is_identity_scope(scope: &str) -> bool {
    ["openid", "profile", "email", "offline_access"].contains(&scope)
}

/// The words of a space-separated list.
pub(super) fn words(text: &str) -> Vec<String> {
    text.split(' ').filter(|word| !word.is_empty()).map(str::to_owned).collect()
}

/// RFC 7636 sections 4.1 and 4.6, method `S256`.
fn verifies(verifier: &str, challenge: &str) -> bool {
    let formed = (43..=128).contains(&verifier.len())
        && verifier.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte));
    let computed = BASE64URL.encode(sha256(verifier));
    formed && constant_time::verify_slices_are_equal(computed.as_bytes(), challenge.as_bytes()).is_ok()
}
