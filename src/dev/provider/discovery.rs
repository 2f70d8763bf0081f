//! What the provider says about itself (OpenID Connect Discovery 1.0 section 3, RFC 8414 section 2).

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::dev::persona::{self, Realm};

/// The issuer's path without a trailing slash: `/.torwart-dev/NAME`.
pub(super) fn path(realm: &Realm) -> &str {
    let url = base(realm);
    url.find(super::ISSUER_PATH).and_then(|at| url.get(at..)).unwrap_or(url)
}

/// The discovery document.
pub(super) fn document(realm: &Realm) -> Value {
    let base = base(realm);
    let scopes: BTreeSet<String> = realm
        .personas
        .iter()
        .flat_map(|persona| persona::scopes(&persona.claims))
        .chain(["openid".to_owned()])
        .collect();
    json!({
        "issuer": realm.issuer.issuer,
        "torwart_dev": true,
        "torwart_dev_notice": "a Torwart dev provider: anybody can be anybody here, its tokens are worth nothing elsewhere",
        "authorization_endpoint": format!("{base}/authorize"),
        "token_endpoint": format!("{base}/token"),
        "userinfo_endpoint": format!("{base}/userinfo"),
        "introspection_endpoint": format!("{base}/introspect"),
        "jwks_uri": format!("{base}/jwks"),
        "scopes_supported": scopes,
        "response_types_supported": ["code"],
        "response_modes_supported": ["query"],
        "grant_types_supported": ["authorization_code", "client_credentials"],
        "code_challenge_methods_supported": ["S256"],
        "subject_types_supported": ["public"],
        "id_token_signing_alg_values_supported": ["ES256"],
        "token_endpoint_auth_methods_supported": ["client_secret_basic", "client_secret_post", "none"],
        "introspection_endpoint_auth_methods_supported": ["client_secret_basic", "client_secret_post"],
        "authorization_response_iss_parameter_supported": true,
        "claims_parameter_supported": false,
        "request_parameter_supported": false,
        "request_uri_parameter_supported": false,
    })
}

fn base(realm: &Realm) -> &str {
    let url = realm.issuer.issuer.as_str();
    url.strip_suffix('/').unwrap_or(url)
}
