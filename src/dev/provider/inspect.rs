//! Userinfo and introspection: what the provider says about a token it has issued.

use bytes::Bytes;
use http::{HeaderValue, Request, Response, StatusCode, header};
use serde_json::{Value, json};

use super::answer::{self, OauthError};
use super::client::{client, form_of, invalid_client, invalid_request};
use super::{CLIENT_SECRET, Context};
use crate::config::Preset;
use crate::dev::persona::{self, Persona, Realm};
use crate::principal::{Claims, Flow};

/// Claims that speak about a token and not about a person.
const OF_TOKENS: [&str; 20] = [
    "iss",
    "aud",
    "exp",
    "iat",
    "nbf",
    "jti",
    "scope",
    "scp",
    "client_id",
    "azp",
    "cid",
    "appid",
    "gty",
    "typ",
    "token_use",
    "acr",
    "amr",
    "auth_time",
    "cnf",
    "nonce",
];

/// What is told about a person: in the Ameise family permissions only under the scope of their name.
pub(super) fn person(realm: &Realm, persona: &Persona, granted: Option<&[String]>) -> Claims {
    let mut claims = persona.claims.clone();
    claims.retain(|name, _| !OF_TOKENS.contains(&name.as_str()));
    if realm.issuer.preset == Some(Preset::Ameise) {
        let permissions = "ameise/permissions";
        let has = persona::scopes(&persona.claims);
        let released = granted.unwrap_or(&has).iter().any(|scope| scope == permissions);
        if !released {
            claims.remove(permissions);
        }
    }
    claims
}

impl Context<'_> {
    /// OpenID Connect Core section 5.3.
    pub(super) fn userinfo(&self, request: &Request<Bytes>) -> Response<Bytes> {
        let token = request.headers().get(header::AUTHORIZATION).and_then(|value| bearer(value.to_str().ok()?));
        let Some(token) = token else { return challenge(StatusCode::UNAUTHORIZED, "Bearer realm=\"userinfo\"") };
        let Some(claims) = self.living(token) else {
            return challenge(StatusCode::UNAUTHORIZED, "Bearer realm=\"userinfo\", error=\"invalid_token\"");
        };
        match self.realm.holder(&claims) {
            Some(persona) if persona.flow != Flow::ClientCredentials => {
                let scopes = persona::scopes(&claims);
                let body = Value::Object(person(self.realm, persona, Some(&scopes)));
                answer::json(StatusCode::OK, &body)
            }
            // A client's own token stands for nobody.
            _ => challenge(StatusCode::FORBIDDEN, "Bearer realm=\"userinfo\", error=\"insufficient_scope\""),
        }
    }

    /// RFC 7662: any client that shows the secret may ask.
    pub(super) fn introspect(&self, request: &Request<Bytes>) -> Result<Response<Bytes>, OauthError> {
        let form = form_of(request)?;
        if !client(request, &form)?.proved {
            return Err(invalid_client(format!("`client_secret` is missing; every dev client's is `{CLIENT_SECRET}`")));
        }
        let token = form.get("token").ok_or_else(|| invalid_request("`token` is missing"))?;
        let body = match self.living(token) {
            Some(mut claims) => {
                let client = self.realm.holder(&claims).and_then(|persona| persona.client.clone());
                claims.extend(client.map(|client| ("client_id".to_owned(), json!(client))));
                claims.insert("active".to_owned(), json!(true));
                claims.insert("token_type".to_owned(), json!("Bearer"));
                Value::Object(claims)
            }
            None => json!({"active": false}),
        };
        Ok(answer::json(StatusCode::OK, &body))
    }

    /// The claims of an access token that this issuer has issued and that has not expired.
    fn living(&self, token: &str) -> Option<Claims> {
        let claims = self.key.open(token)?;
        let own = claims.get("iss").and_then(Value::as_str) == Some(self.realm.issuer.issuer.as_str());
        let expires = claims.get("exp").and_then(Value::as_i64)?;
        (own && self.now.0 < expires && !claims.contains_key("at_hash")).then_some(claims)
    }
}

fn bearer(value: &str) -> Option<&str> {
    let (scheme, token) = value.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then_some(token.trim())
}

fn challenge(status: StatusCode, value: &'static str) -> Response<Bytes> {
    let mut response = answer::empty(status);
    response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static(value));
    response
}
