//! Personas: the people and programs that dev tokens speak of, and what a token of each says.

use serde_json::{Value, json};

use crate::clock::Timestamp;
use crate::config::{Audiences, Issuer, Preset};
use crate::principal::{Claims, Flow};

/// How long a dev token is valid unless somebody asks otherwise, in seconds.
pub const TOKEN_SECONDS: i64 = 3600;

/// Somebody who can be issued a token.
#[derive(Debug, Clone, PartialEq)]
pub struct Persona {
    /// The name in `*.test.yaml`, unique over all issuers.
    pub name: String,
    /// The claims as the test file has them: in the issuer's own spelling, without those that every token has anew.
    pub claims: Claims,
    /// The OAuth client it comes with, read the way the issuer's tokens are.
    pub client: Option<String>,
    /// How it gets its token.
    pub flow: Flow,
}

/// An issuer that the embedded provider serves, and who has an account there.
#[derive(Debug, Clone)]
pub struct Realm {
    /// The issuer as the gateway knows it.
    pub issuer: Issuer,
    /// Everybody with an account there.
    pub personas: Vec<Persona>,
}

impl Realm {
    /// Whether anybody here comes with this client.
    pub fn knows_client(&self, client: &str) -> bool {
        self.personas.iter().any(|persona| persona.client.as_deref() == Some(client))
    }

    /// The persona that is the client itself.
    pub fn client_persona(&self, client: &str) -> Option<&Persona> {
        self.personas
            .iter()
            .find(|persona| persona.flow == Flow::ClientCredentials && persona.client.as_deref() == Some(client))
    }

    /// Everybody who can log in through this client, in the order written.
    pub fn users_of<'r>(&'r self, client: &'r str) -> impl Iterator<Item = &'r Persona> {
        self.personas.iter().filter(move |persona| {
            persona.flow != Flow::ClientCredentials && persona.client.as_deref().is_none_or(|own| own == client)
        })
    }

    /// The persona of this name.
    pub fn persona(&self, name: &str) -> Option<&Persona> {
        self.personas.iter().find(|persona| persona.name == name)
    }

    /// The `typ` that this family's access tokens carry.
    pub fn token_type(&self) -> &'static str {
        if self.issuer.strict_rfc9068 {
            return "at+jwt";
        }
        match self.issuer.preset {
            Some(Preset::Kusy | Preset::Rfc9068 | Preset::Duende) | None => "at+jwt",
            Some(
                Preset::Auth0Organizations
                | Preset::Ameise
                | Preset::Keycloak
                | Preset::Entra
                | Preset::Okta
                | Preset::Cognito
                | Preset::Hydra,
            ) => "JWT",
        }
    }

    /// The claims of an access token for the persona, valid from `now` for `seconds`. What the persona says itself
    /// stands, but for what its issuer tells only at userinfo; `jti` leads back to it.
    pub fn access_claims(&self, persona: &Persona, now: Timestamp, seconds: i64) -> Claims {
        let mut claims = persona.claims.clone();
        if let Some(userinfo) = self.issuer.userinfo.as_ref().filter(|_| persona.flow != Flow::ClientCredentials) {
            claims.retain(|name, _| !userinfo.claims.contains(name));
        }
        let mut fill = |name: &str, value: Value| {
            claims.entry(name).or_insert(value);
        };
        fill("iss", json!(self.issuer.issuer));
        fill("aud", self.audience());
        fill("iat", json!(now.0));
        fill("exp", json!(now.plus(seconds).0));
        fill("jti", json!(format!("{}.{}", persona.name, uuid::Uuid::new_v4().simple())));
        claims
    }

    /// The persona that a token of this realm was issued to.
    pub fn holder(&self, claims: &Claims) -> Option<&Persona> {
        let (name, _) = claims.get("jti")?.as_str()?.rsplit_once('.')?;
        self.persona(name)
    }

    fn audience(&self) -> Value {
        match &self.issuer.audiences {
            Audiences::Any => json!("torwart-dev"),
            Audiences::OneOf(list) => match list.as_slice() {
                [one] => json!(one),
                several => json!(several),
            },
        }
    }
}

/// The scopes of a token in order, whichever way its issuer writes them.
pub fn scopes(claims: &Claims) -> Vec<String> {
    match claims.get("scope").or_else(|| claims.get("scp")) {
        Some(Value::String(text)) => text.split(' ').filter(|scope| !scope.is_empty()).map(str::to_owned).collect(),
        Some(Value::Array(list)) => list.iter().filter_map(Value::as_str).map(str::to_owned).collect(),
        _ => Vec::new(),
    }
}

/// Leaves only these scopes, in the form that the claims have.
pub fn narrow_scopes(claims: &mut Claims, kept: &[String]) {
    for name in ["scope", "scp"] {
        match claims.get_mut(name) {
            Some(Value::String(text)) => *text = kept.join(" "),
            Some(Value::Array(list)) => *list = kept.iter().map(|scope| json!(scope)).collect(),
            _ => {}
        }
    }
}
