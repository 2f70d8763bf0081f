//! The embedded OpenID provider: an authorization server for a laptop, from discovery to userinfo.
//!
//! Every issuer has a path of its own, `/.torwart-dev/NAME`. Nobody has a password: whoever can reach it may be any
//! persona, which is why it listens on loopback only, answers to loopback names only (so that no web page reaches it
//! by pointing its own name here), and why its tokens are worth nothing elsewhere. Requests in, responses out: no
//! input or output of its own.

use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response, StatusCode, header};

use self::answer::OauthError;
use self::grants::Grants;
use super::key::SigningKey;
use super::persona::Realm;
use crate::clock::Timestamp;

mod answer;
mod authorize;
mod client;
mod discovery;
pub(super) mod form;
mod grants;
mod inspect;
mod page;
mod token;

/// What every dev issuer's URL has before its name.
pub const ISSUER_PATH: &str = "/.torwart-dev/";

/// The secret of every client. It is public: it shows that a client sends one, nothing more.
pub const CLIENT_SECRET: &str = "dev-secret";

/// Largest request body that is looked at, in bytes.
pub const MAX_BODY: usize = 64 * 1024;

/// The URL of the issuer `name` at the provider whose origin is `base`, without a trailing slash.
pub fn issuer_url(base: &str, name: &str) -> String {
    format!("{base}{ISSUER_PATH}{}", form::encode(name))
}

/// The provider.
#[derive(Debug)]
pub struct Provider {
    key: Arc<SigningKey>,
    realms: Mutex<Arc<Vec<Realm>>>,
    grants: Grants,
}

/// What an endpoint works with.
struct Context<'p> {
    key: &'p SigningKey,
    grants: &'p Grants,
    realm: &'p Realm,
    now: Timestamp,
}

impl Provider {
    /// A provider of these issuers.
    pub fn new(key: Arc<SigningKey>, realms: Vec<Realm>) -> Self {
        Self { key, realms: Mutex::new(Arc::new(realms)), grants: Grants::default() }
    }

    /// Takes other issuers and personas from here on. Codes that are under way stay good if their persona does.
    pub fn replace(&self, realms: Vec<Realm>) {
        *self.realms.lock().unwrap_or_else(PoisonError::into_inner) = Arc::new(realms);
    }

    /// Answers one request.
    pub fn answer(&self, request: &Request<Bytes>, now: Timestamp) -> Response<Bytes> {
        if !names_loopback(request) {
            return answer::plain(StatusCode::MISDIRECTED_REQUEST, "the dev provider answers to loopback names only");
        }
        let realms = Arc::clone(&self.realms.lock().unwrap_or_else(PoisonError::into_inner));
        let path = request.uri().path();
        for realm in realms.iter() {
            if let Some(endpoint) = endpoint(realm, path) {
                let context = Context { key: &self.key, grants: &self.grants, realm, now };
                let mut response = context.answer(endpoint, request);
                share_with_local_pages(request, endpoint, &mut response);
                return response;
            }
        }
        if path == "/" || path == ISSUER_PATH {
            return page::issuers(&realms);
        }
        answer::plain(StatusCode::NOT_FOUND, "no such page at the dev provider")
    }
}

/// What is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Endpoint {
    Discovery,
    Keys,
    Authorize,
    Token,
    Userinfo,
    Introspection,
}

impl Endpoint {
    fn methods(self) -> &'static [Method] {
        match self {
            Self::Discovery | Self::Keys | Self::Authorize => &[Method::GET, Method::HEAD],
            Self::Token | Self::Introspection => &[Method::POST],
            Self::Userinfo => &[Method::GET, Method::POST],
        }
    }

    /// Endpoints that a single-page application calls from the browser.
    fn serves_scripts(self) -> bool {
        matches!(self, Self::Discovery | Self::Keys | Self::Token | Self::Userinfo)
    }
}

fn endpoint(realm: &Realm, path: &str) -> Option<Endpoint> {
    let own = discovery::path(realm);
    // RFC 8414 section 3.1 puts the well-known name before the issuer's path, OpenID Connect Discovery behind it.
    if path.strip_prefix("/.well-known/oauth-authorization-server") == Some(own) {
        return Some(Endpoint::Discovery);
    }
    match path.strip_prefix(own)? {
        "/.well-known/openid-configuration" => Some(Endpoint::Discovery),
        "/jwks" => Some(Endpoint::Keys),
        "/authorize" => Some(Endpoint::Authorize),
        "/token" => Some(Endpoint::Token),
        "/userinfo" => Some(Endpoint::Userinfo),
        "/introspect" => Some(Endpoint::Introspection),
        _ => None,
    }
}

impl Context<'_> {
    fn answer(&self, endpoint: Endpoint, request: &Request<Bytes>) -> Response<Bytes> {
        if request.method() == Method::OPTIONS && endpoint.serves_scripts() {
            return answer::empty(StatusCode::NO_CONTENT);
        }
        if !endpoint.methods().contains(request.method()) {
            let mut response = answer::plain(StatusCode::METHOD_NOT_ALLOWED, "the endpoint does not take this method");
            let allowed: Vec<&str> = endpoint.methods().iter().map(Method::as_str).collect();
            if let Ok(value) = HeaderValue::from_str(&allowed.join(", ")) {
                response.headers_mut().insert(header::ALLOW, value);
            }
            return response;
        }
        match endpoint {
            Endpoint::Discovery => answer::json(StatusCode::OK, &discovery::document(self.realm)),
            Endpoint::Keys => answer::json(StatusCode::OK, &self.key.key_set()),
            Endpoint::Authorize => self.authorize(request.uri().query().unwrap_or("")),
            Endpoint::Token => self.token(request).unwrap_or_else(OauthError::into_response),
            Endpoint::Userinfo => self.userinfo(request),
            Endpoint::Introspection => self.introspect(request).unwrap_or_else(OauthError::into_response),
        }
    }
}

fn names_loopback(request: &Request<Bytes>) -> bool {
    let mut hosts = request.headers().get_all(header::HOST).iter();
    let (Some(host), None) = (hosts.next().and_then(|host| host.to_str().ok()), hosts.next()) else { return false };
    let authority: Result<http::uri::Authority, _> = host.parse();
    authority.is_ok_and(|authority| !host.contains('@') && is_loopback(authority.host()))
}

/// Whether a host, as a URL writes it, is this machine.
fn is_loopback(host: &str) -> bool {
    host.eq_ignore_ascii_case("localhost") || host == "127.0.0.1" || host == "[::1]"
}

/// Lets pages that this machine serves read the answer (Fetch standard, CORS), and no others.
fn share_with_local_pages(request: &Request<Bytes>, endpoint: Endpoint, response: &mut Response<Bytes>) {
    if !endpoint.serves_scripts() {
        return;
    }
    let headers = response.headers_mut();
    headers.insert(header::VARY, HeaderValue::from_static("Origin"));
    let Some(origin) = request.headers().get(header::ORIGIN) else { return };
    let uri: Option<http::Uri> = origin.to_str().ok().and_then(|origin| origin.parse().ok());
    if uri.is_some_and(|uri| uri.scheme().is_some() && uri.host().is_some_and(is_loopback)) {
        headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
        headers.insert(header::ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static("GET, POST"));
        headers.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, HeaderValue::from_static("Authorization, Content-Type"));
    }
}

#[cfg(test)]
mod tests;
