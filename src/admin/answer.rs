//! What the admin listener answers, by path.

use std::sync::Arc;

use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64URL;
use bytes::Bytes;
use http::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, ETAG, IF_NONE_MATCH, WWW_AUTHENTICATE, X_CONTENT_TYPE_OPTIONS};
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Response, StatusCode};
use http_body_util::Full;
use serde::Serialize;
use serde_json::json;

use super::access::Refused;
use super::revocations::{Order, Refusal, Window};
use super::{Gateway, State};
use crate::telemetry::Telemetry;
use crate::telemetry::metrics::CONTENT_TYPE as OPEN_METRICS;

/// Where the keys of assertions are.
pub(super) const KEY_SET: &str = "/.well-known/torwart/jwks.json";

/// An answer, always whole.
pub(super) type Answer = Response<Full<Bytes>>;

/// What every connection shares.
pub(super) struct Site {
    pub(super) gateway: Arc<dyn Gateway>,
    pub(super) telemetry: Arc<Telemetry>,
}

/// The answer to a request that may be answered.
pub(super) async fn answer(site: &Site, request: &Parts, body: &[u8]) -> Answer {
    let get = request.method == Method::GET || request.method == Method::HEAD;
    let post = request.method == Method::POST;
    match request.uri.path() {
        "/livez" if get => json(StatusCode::OK, &json!({"live": true})),
        "/readyz" if get => readiness(&site.gateway.state()),
        "/metrics" if get => metrics(site),
        "/api/v1/status" if get => status(&site.gateway.state()),
        "/api/v1/upstreams" if get => json(StatusCode::OK, &json!({"upstreams": site.gateway.state().upstreams})),
        "/api/v1/reload" if post => reload(&*site.gateway).await,
        KEY_SET if get => key_set(site, &request.headers),
        KEY_SET | "/livez" | "/readyz" | "/metrics" | "/api/v1/status" | "/api/v1/upstreams" => {
            method_refused("GET, HEAD")
        }
        "/api/v1/reload" => method_refused("POST"),
        "/api/v1/revocations" if get => revocations(&*site.gateway, request.uri.query()).await,
        "/api/v1/revocations" if post => revoke(&*site.gateway, body).await,
        "/api/v1/revocations" => method_refused("GET, HEAD, POST"),
        path => match path.strip_prefix("/api/v1/revocations/") {
            Some(id) if request.method == Method::DELETE => take_back(&*site.gateway, id).await,
            Some(_) => method_refused("DELETE"),
            None => problem(StatusCode::NOT_FOUND, "there is nothing under this path"),
        },
    }
}

fn readiness(state: &State) -> Answer {
    let readiness = state.readiness();
    let status = if readiness.ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    json(status, &readiness)
}

/// `/api/v1/status`.
#[derive(Serialize)]
struct Status<'s> {
    version: &'static str,
    ready: bool,
    reasons: Vec<String>,
    #[serde(flatten)]
    state: &'s State,
}

fn status(state: &State) -> Answer {
    let readiness = state.readiness();
    let version = env!("CARGO_PKG_VERSION");
    json(StatusCode::OK, &Status { version, ready: readiness.ready, reasons: readiness.reasons, state })
}

fn metrics(site: &Site) -> Answer {
    let metrics = site.telemetry.metrics();
    site.gateway.measure(metrics);
    with(StatusCode::OK, OPEN_METRICS, metrics.text())
}

/// The keys that verify assertions. Public, so that whoever is told about callers can verify it (RFC 7517 section 8.5.1
/// for the type, RFC 9110 section 13.1.2 for the comparison).
fn key_set(site: &Site, headers: &HeaderMap) -> Answer {
    let Some(keys) = site.gateway.assertion_keys() else {
        return problem(StatusCode::NOT_FOUND, "no assertions are signed: `torwart.yaml` has no `assertion`");
    };
    let digest = digest(&SHA256, keys.key_set.as_bytes());
    let tag = format!("\"{}\"", BASE64URL.encode(digest.as_ref().get(..12).unwrap_or_default()));
    let told = headers.get_all(IF_NONE_MATCH).iter().filter_map(|field| field.to_str().ok());
    let known = |one: &str| one == "*" || one.strip_prefix("W/").unwrap_or(one) == tag;
    let unchanged = told.flat_map(|field| field.split(',')).any(|one| known(one.trim()));
    let mut answer = with(StatusCode::OK, "application/jwk-set+json", keys.key_set.to_string());
    if unchanged {
        *answer.status_mut() = StatusCode::NOT_MODIFIED;
        *answer.body_mut() = Full::default();
    }
    let fields = [(CACHE_CONTROL, format!("public, max-age={}", keys.max_age)), (ETAG, tag)];
    for (name, value) in fields {
        // Both are visible ASCII.
        if let Ok(value) = HeaderValue::from_str(&value) {
            answer.headers_mut().insert(name, value);
        }
    }
    answer
}

async fn reload(gateway: &dyn Gateway) -> Answer {
    match gateway.reload().await {
        Ok(()) => {
            let state = gateway.state();
            let told = json!({"reloaded": true, "revision": state.revision, "generation": state.generation});
            json(StatusCode::OK, &told)
        }
        Err(error) => json(StatusCode::UNPROCESSABLE_ENTITY, &json!({"reloaded": false, "error": error})),
    }
}

async fn revocations(gateway: &dyn Gateway, query: Option<&str>) -> Answer {
    match Window::read(query.unwrap_or_default()) {
        Ok(window) => json(StatusCode::OK, &gateway.revocations(window).await),
        Err(refusal) => refused(&refusal),
    }
}

async fn revoke(gateway: &dyn Gateway, body: &[u8]) -> Answer {
    let made = match Order::read(body) {
        Ok(order) => gateway.revoke(order).await,
        Err(refusal) => Err(refusal),
    };
    match made {
        Ok(made) => json(if made.is_new { StatusCode::CREATED } else { StatusCode::OK }, &made),
        Err(refusal) => refused(&refusal),
    }
}

async fn take_back(gateway: &dyn Gateway, id: &str) -> Answer {
    match gateway.take_back(id.to_owned()).await {
        Ok(revocation) => json(StatusCode::OK, &revocation),
        Err(refusal) => refused(&refusal),
    }
}

fn refused(refusal: &Refusal) -> Answer {
    match refusal {
        Refusal::Wrong(detail) => problem(StatusCode::BAD_REQUEST, detail),
        Refusal::Unknown => problem(StatusCode::NOT_FOUND, "there is no revocation of this id"),
        Refusal::Unsaved(detail) => problem(StatusCode::INTERNAL_SERVER_ERROR, detail),
    }
}

/// The answer to a request that breaks a rule.
pub(super) fn refusal(refused: Refused) -> Answer {
    let mut answer = problem(refused.status(), &refused.to_string());
    if refused.status() == StatusCode::UNAUTHORIZED {
        let challenge = match refused {
            Refused::TokenWrong => r#"Bearer realm="torwart-admin", error="invalid_token""#,
            _ => r#"Bearer realm="torwart-admin""#,
        };
        answer.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static(challenge));
    }
    answer
}

/// An RFC 9457 problem.
pub(super) fn problem(status: StatusCode, detail: &str) -> Answer {
    let title = status.canonical_reason().unwrap_or_default();
    let body = json!({"type": "about:blank", "title": title, "status": status.as_u16(), "detail": detail});
    with(status, "application/problem+json", body.to_string())
}

fn method_refused(allowed: &'static str) -> Answer {
    let mut answer = problem(StatusCode::METHOD_NOT_ALLOWED, "this path does not know the method");
    answer.headers_mut().insert(ALLOW, HeaderValue::from_static(allowed));
    answer
}

fn json(status: StatusCode, value: &impl Serialize) -> Answer {
    // Serialising our own structures does not fail.
    with(status, "application/json", serde_json::to_string(value).unwrap_or_default())
}

fn with(status: StatusCode, kind: &'static str, body: String) -> Answer {
    let mut answer = Response::new(Full::new(Bytes::from(body)));
    *answer.status_mut() = status;
    let fields: [(HeaderName, &'static str); 3] =
        [(CONTENT_TYPE, kind), (CACHE_CONTROL, "no-store"), (X_CONTENT_TYPE_OPTIONS, "nosniff")];
    for (name, value) in fields {
        answer.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    answer
}
