//! What a signed assertion says of a principal (http.md, "Towards the upstream", `X-Auth-Assertion`): the payload of a
//! JWT before it is signed. Pure, so that policy can tell how long it will be before anybody signs.

use std::sync::Arc;

use serde::Serialize;

use super::{Principal, Texts};
use crate::clock::Timestamp;

/// `typ` of an assertion's header. Explicit typing (RFC 8725 section 3.11): whoever takes access tokens (`at+jwt`, `JWT`)
/// refuses it, and whoever takes assertions refuses those.
const TYPE: &str = "torwart-assertion+jwt";

/// What stands behind the identity prefix in the header's name.
pub const HEADER_SUFFIX: &str = "Assertion";

/// Seconds for which an assertion is good.
const LIFETIME: i64 = 60;

/// Length of a key's identifier: an RFC 7638 thumbprint, SHA-256 in base64url.
const KEY_ID_LENGTH: usize = 43;

/// Length of an ES256 signature in base64url.
const SIGNATURE_LENGTH: usize = 86;

/// What one upstream is told of one principal. Signing adds the time and the identifier.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Statement {
    issuer: Arc<str>,
    audience: Arc<str>,
    /// The claims about the principal, as the members of a JSON object without its braces. There is always one.
    members: String,
}

/// Whether permissions are told: they are where somebody asked for them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Permissions {
    /// They are, if they are known.
    Told,
    /// They are not.
    Withheld,
}

/// The claims about the principal. Absent, empty and `null` are three things to whoever reads them, so each is written
/// as what it is: what does not apply is absent, an empty list is a list.
#[derive(Serialize)]
struct Claims<'p> {
    #[serde(skip_serializing_if = "Option::is_none")]
    sub: Option<&'p str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    client_id: Option<&'p str>,
    issuer: &'p str,
    flow: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    scope: Option<String>,
    global: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    organizations: Option<&'p Texts>,
    #[serde(skip_serializing_if = "Option::is_none")]
    permissions: Option<&'p Texts>,
}

impl Statement {
    /// What `audience`, an upstream's name, is told of a principal by `issuer`, the gateway.
    pub fn new(principal: &Principal, permissions: Permissions, issuer: &Arc<str>, audience: &Arc<str>) -> Self {
        let none = Texts::default();
        let claims = Claims {
            sub: principal.customer(),
            client_id: principal.client.as_deref(),
            issuer: &principal.issuer.name,
            flow: principal.flow.as_str(),
            scope: (!principal.scopes.is_empty()).then(|| principal.scopes.join(" ")),
            global: principal.is_global(),
            organizations: (!principal.is_global()).then(|| principal.organizations.as_ref().unwrap_or(&none)),
            permissions: principal.permissions.as_ref().filter(|_| permissions == Permissions::Told),
        };
        let object = serde_json::to_string(&claims).unwrap_or_default();
        let members = object.strip_prefix('{').and_then(|rest| rest.strip_suffix('}')).unwrap_or_default().to_owned();
        Self { issuer: Arc::clone(issuer), audience: Arc::clone(audience), members }
    }

    /// The payload of the JWT (RFC 7519 section 4), made at `now` under this identifier.
    pub fn payload(&self, now: Timestamp, id: &str) -> String {
        let (issuer, audience) = (text(&self.issuer), text(&self.audience));
        let (issued, expires) = (now.0, now.plus(LIFETIME).0);
        let members = &self.members;
        format!(r#"{{"iss":{issuer},"aud":{audience},"iat":{issued},"exp":{expires},"jti":{},{members}}}"#, text(id))
    }

    /// How long the header's value is going to be.
    pub fn signed_length(&self) -> usize {
        let payload = self.payload(Timestamp(SOME_MOMENT), SOME_ID);
        encoded_length(header(&"k".repeat(KEY_ID_LENGTH)).len()) + encoded_length(payload.len()) + SIGNATURE_LENGTH + 2
    }
}

/// A time of as many digits as the next centuries have.
const SOME_MOMENT: i64 = 2_000_000_000;

/// An identifier as long as every other.
const SOME_ID: &str = "00000000-0000-0000-0000-000000000000";

/// The header of the JWT (RFC 7515 section 4.1).
pub fn header(key_id: &str) -> String {
    format!(r#"{{"typ":"{TYPE}","alg":"ES256","kid":{}}}"#, text(key_id))
}

/// Length of so many bytes in base64url without padding.
fn encoded_length(bytes: usize) -> usize {
    (bytes * 4).div_ceil(3)
}

fn text(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::super::tests::principal;
    use super::*;
    use crate::principal::Flow;

    fn payload(principal: &Principal, permissions: Permissions) -> Value {
        let statement = Statement::new(principal, permissions, &"https://gw".into(), &"crm".into());
        serde_json::from_str(&statement.payload(Timestamp(1_700_000_000), "id")).unwrap()
    }

    #[test]
    fn everything_that_identity_headers_tell_is_in_it() {
        let mut principal = principal();
        principal.scopes = ["a", "b"].into();
        principal.permissions = Some(["p"].into());
        principal.organizations = Some(["o\"1", "ü,\n"].into());
        assert_eq!(
            payload(&principal, Permissions::Told),
            json!({"iss": "https://gw", "aud": "crm", "iat": 1_700_000_000, "exp": 1_700_000_060, "jti": "id",
                "sub": "alice", "client_id": "app", "issuer": "shoen", "flow": "user", "scope": "a b", "global": false,
                "organizations": ["o\"1", "ü,\n"], "permissions": ["p"]})
        );
        assert_eq!(payload(&principal, Permissions::Withheld).get("permissions"), None);
    }

    #[test]
    fn what_does_not_apply_is_absent_and_an_empty_list_is_a_list() {
        let mut principal = principal();
        principal.client = None;
        principal.permissions = Some(Texts::default());
        let told = payload(&principal, Permissions::Told);
        assert_eq!((told.get("client_id"), told.get("scope")), (None, None));
        assert_eq!((&told["organizations"], &told["permissions"]), (&json!([]), &json!([])));
        principal.permissions = None;
        assert_eq!(payload(&principal, Permissions::Told).get("permissions"), None, "unknown is not empty");
        principal.global = Some(true);
        principal.organizations = Some(["o"].into());
        let told = payload(&principal, Permissions::Told);
        assert_eq!((told.get("organizations"), &told["global"]), (None, &json!(true)));
    }

    #[test]
    fn a_client_stands_for_no_customer() {
        let mut principal = principal();
        principal.flow = Flow::ClientCredentials;
        let told = payload(&principal, Permissions::Told);
        assert_eq!((told.get("sub"), &told["flow"]), (None, &json!("client_credentials")));
        principal.flow = Flow::Unknown;
        assert_eq!(payload(&principal, Permissions::Told)["sub"], "alice");
    }
}
