//! Who calls the token and introspection endpoints (RFC 6749 section 2.3).

use aws_lc_rs::constant_time;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::Bytes;
use http::{Request, header};

use super::answer::OauthError;
use super::form::{self, Form};
use super::{CLIENT_SECRET, Context};

/// A client that called.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Client {
    /// Its identifier.
    pub(super) id: String,
    /// It has shown its secret; a public client has none to show.
    pub(super) proved: bool,
}

/// The form that the request carries, and who says to have sent it.
pub(super) fn form_of(request: &Request<Bytes>) -> Result<Form, OauthError> {
    let content_type = request.headers().get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or("");
    let essence = content_type.split(';').next().unwrap_or("").trim();
    if !essence.eq_ignore_ascii_case("application/x-www-form-urlencoded") {
        return Err(invalid_request("the body must be `application/x-www-form-urlencoded`"));
    }
    let body = std::str::from_utf8(request.body()).map_err(|_| invalid_request("the body is not UTF-8"))?;
    Form::parse(body).map_err(|error| invalid_request(error.to_string()))
}

/// A malformed request.
pub(super) fn invalid_request(description: impl Into<String>) -> OauthError {
    OauthError::new("invalid_request", description)
}

/// Nobody believes that the client is who it says.
pub(super) fn invalid_client(description: impl Into<String>) -> OauthError {
    OauthError::new("invalid_client", description)
}

/// The client that shows itself by one method, and only one (RFC 6749 section 2.3).
pub(super) fn client(request: &Request<Bytes>, form: &Form) -> Result<Client, OauthError> {
    let in_header = basic(request)?;
    let in_form = form.get("client_secret");
    let (id, secret) = match (in_header, in_form) {
        (Some(_), Some(_)) => return Err(invalid_request("two ways of client authentication at once")),
        (Some((id, secret)), None) => {
            if form.get("client_id").is_some_and(|other| other != id) {
                return Err(invalid_request("`client_id` differs from the one in the `Authorization` header"));
            }
            (id, Some(secret))
        }
        (None, secret) => {
            let id = form.get("client_id").ok_or_else(|| invalid_client("no client named"))?;
            (id.to_owned(), secret.map(str::to_owned))
        }
    };
    let right =
        |secret: &String| constant_time::verify_slices_are_equal(secret.as_bytes(), CLIENT_SECRET.as_bytes()).is_ok();
    match secret {
        Some(secret) if !right(&secret) => {
            Err(invalid_client(format!("wrong client secret; every dev client's is `{CLIENT_SECRET}`")))
        }
        secret => Ok(Client { id, proved: secret.is_some() }),
    }
}

impl Context<'_> {
    /// The clients that some persona comes with.
    pub(super) fn known_clients(&self) -> String {
        let mut names: Vec<&str> = self.realm.personas.iter().filter_map(|persona| persona.client.as_deref()).collect();
        names.sort_unstable();
        names.dedup();
        if names.is_empty() { "none".to_owned() } else { format!("`{}`", names.join("`, `")) }
    }
}

/// `client_secret_basic`: both halves are form-encoded (RFC 6749 section 2.3.1).
fn basic(request: &Request<Bytes>) -> Result<Option<(String, String)>, OauthError> {
    let Some(value) = request.headers().get(header::AUTHORIZATION) else { return Ok(None) };
    let parsed = value.to_str().ok().and_then(|text| {
        let (scheme, credentials) = text.split_once(' ')?;
        if !scheme.eq_ignore_ascii_case("basic") {
            return None;
        }
        let text = String::from_utf8(BASE64.decode(credentials.trim()).ok()?).ok()?;
        let (id, secret) = text.split_once(':')?;
        form::decode(id).zip(form::decode(secret))
    });
    parsed
        .map(Some)
        .ok_or_else(|| invalid_client("the `Authorization` header is not `Basic` with a client and a secret"))
}
