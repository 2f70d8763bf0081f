//! The provider's answers: JSON, pages, redirects and the errors of RFC 6749.

use bytes::Bytes;
use http::header::{self, HeaderMap, HeaderName};
use http::{HeaderValue, Response, StatusCode};
use serde_json::{Value, json};

/// A refusal of the token or introspection endpoint (RFC 6749 section 5.2).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct OauthError {
    /// `error`.
    pub(super) code: &'static str,
    /// `error_description`.
    pub(super) description: String,
}

impl OauthError {
    /// A refusal with this code.
    pub(super) fn new(code: &'static str, description: impl Into<String>) -> Self {
        Self { code, description: description.into() }
    }

    /// 401 with a challenge when it is the client that was not believed, else 400.
    pub(super) fn into_response(self) -> Response<Bytes> {
        let body = json!({"error": self.code, "error_description": self.description});
        if self.code != "invalid_client" {
            return json(StatusCode::BAD_REQUEST, &body);
        }
        let mut response = json(StatusCode::UNAUTHORIZED, &body);
        let challenge = HeaderValue::from_static("Basic realm=\"torwart dev provider\"");
        response.headers_mut().insert(header::WWW_AUTHENTICATE, challenge);
        response
    }
}

/// A JSON document. Never stored: tokens are among them (RFC 6749 section 5.1).
pub(super) fn json(status: StatusCode, value: &Value) -> Response<Bytes> {
    with_type(status, "application/json", Bytes::from(format!("{value:#}\n")))
}

/// One line of text.
pub(super) fn plain(status: StatusCode, text: &str) -> Response<Bytes> {
    with_type(status, "text/plain; charset=utf-8", Bytes::from(format!("{text}\n")))
}

/// A page, with a policy that lets it load nothing but its own style.
pub(super) fn html(status: StatusCode, page: String, policy: &str) -> Response<Bytes> {
    let mut response = with_type(status, "text/html; charset=utf-8", Bytes::from(page));
    if let Ok(policy) = HeaderValue::from_str(policy) {
        response.headers_mut().insert(header::CONTENT_SECURITY_POLICY, policy);
    }
    response
}

/// A redirect that drops the request's method.
pub(super) fn see_other(location: &str) -> Response<Bytes> {
    match HeaderValue::from_str(location) {
        Ok(location) => {
            let mut response = empty(StatusCode::SEE_OTHER);
            response.headers_mut().insert(header::LOCATION, location);
            response
        }
        Err(_) => plain(StatusCode::BAD_REQUEST, "the redirect URI cannot be sent as a header"),
    }
}

/// No body.
pub(super) fn empty(status: StatusCode) -> Response<Bytes> {
    let mut response = Response::new(Bytes::new());
    *response.status_mut() = status;
    common(response.headers_mut());
    response
}

fn with_type(status: StatusCode, content_type: &'static str, body: Bytes) -> Response<Bytes> {
    let mut response = empty(status);
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    *response.body_mut() = body;
    response
}

fn common(headers: &mut HeaderMap) {
    let fixed: [(HeaderName, &str); 4] = [
        (header::CACHE_CONTROL, "no-store"),
        (header::PRAGMA, "no-cache"),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    ];
    for (name, value) in fixed {
        headers.insert(name, HeaderValue::from_static(value));
    }
}
