//! Who may ask the admin listener what (config.md, below the defaults).
//!
//! The listener is usually on loopback, where every browser on the machine can reach it for any web site. So it answers
//! only under its own name, refuses what a page of another site sends, and takes changes only in a form that a page
//! cannot send without asking first.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use aws_lc_rs::digest::{SHA256, digest};
use http::header::{AUTHORIZATION, CONTENT_TYPE, HOST, ORIGIN};
use http::request::Parts;
use http::{HeaderMap, StatusCode};

use super::answer::KEY_SET;

/// The rules of one admin listener.
#[derive(Debug, Clone, Default)]
pub struct Rules {
    /// File with the bearer token; read anew for every request that needs it, so that it can be replaced.
    pub token_file: Option<PathBuf>,
    /// Changes are taken without a token over TCP.
    pub dev: bool,
    /// Changes are taken from whoever shows a verified client certificate.
    pub certificates: bool,
}

/// The connection that a request came in on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Origin {
    /// TCP, to this local address.
    Tcp(SocketAddr),
    /// A Unix socket: the file's permissions say who may connect.
    Unix,
}

/// Why a request is refused, as it is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum Refused {
    #[error("the admin listener answers only to the address of the connection or `localhost` as Host")]
    Host,
    #[error("requests of other web sites are refused")]
    CrossSite,
    #[error("a bearer token is needed")]
    TokenMissing,
    #[error("the bearer token is not the one in `admin.token_file`")]
    TokenWrong,
    #[error("changes are taken with a token, over a Unix socket or in dev mode only")]
    ChangeUnauthenticated,
    #[error("changes are taken as `application/json` only")]
    NotJson,
}

impl Refused {
    pub(super) fn status(self) -> StatusCode {
        match self {
            Self::Host => StatusCode::MISDIRECTED_REQUEST,
            Self::CrossSite | Self::ChangeUnauthenticated => StatusCode::FORBIDDEN,
            Self::TokenMissing | Self::TokenWrong => StatusCode::UNAUTHORIZED,
            Self::NotJson => StatusCode::UNSUPPORTED_MEDIA_TYPE,
        }
    }
}

impl Rules {
    /// Whether the request may be answered at all, and, if it changes something, obeyed.
    ///
    /// # Errors
    /// The rule that it breaks.
    pub(super) fn check(&self, request: &Parts, origin: Origin) -> Result<(), Refused> {
        // Public keys are for every server that the gateway stands in front of, whatever name it calls the gateway by; and
        // a page that fetches them under a name of its own has learned nothing.
        if request.uri.path() == KEY_SET && request.method.is_safe() {
            return Ok(());
        }
        if !host_is_ours(request, origin) {
            return Err(Refused::Host);
        }
        if is_cross_site(&request.headers) {
            return Err(Refused::CrossSite);
        }
        let open = matches!(request.uri.path(), "/livez" | "/readyz" | "/metrics");
        if self.token_file.is_some() && !open {
            self.check_token(&request.headers)?;
        }
        if request.method.is_safe() {
            return Ok(());
        }
        let trusted = self.token_file.is_some() || self.dev || self.certificates || origin == Origin::Unix;
        if !trusted {
            return Err(Refused::ChangeUnauthenticated);
        }
        if is_json(&request.headers) { Ok(()) } else { Err(Refused::NotJson) }
    }

    fn check_token(&self, headers: &HeaderMap) -> Result<(), Refused> {
        let mut fields = headers.get_all(AUTHORIZATION).iter();
        let (Some(field), None) = (fields.next(), fields.next()) else { return Err(Refused::TokenMissing) };
        let sent = field.as_bytes().split_first_chunk::<7>().ok_or(Refused::TokenMissing)?;
        if !sent.0.eq_ignore_ascii_case(b"bearer ") {
            return Err(Refused::TokenMissing);
        }
        let file = self.token_file.as_ref().and_then(|path| std::fs::read_to_string(path).ok());
        let wanted = file.as_deref().map(str::trim).filter(|token| !token.is_empty()).ok_or(Refused::TokenWrong)?;
        // Digests have one length, so that the comparison's time tells nothing about the token's.
        let (sent, wanted) = (digest(&SHA256, sent.1.trim_ascii()), digest(&SHA256, wanted.as_bytes()));
        let equal = aws_lc_rs::constant_time::verify_slices_are_equal(sent.as_ref(), wanted.as_ref());
        equal.map_err(|_| Refused::TokenWrong)
    }
}

/// Whether the request names this listener: the address it came in on, or `localhost`. Against DNS rebinding.
fn host_is_ours(request: &Parts, origin: Origin) -> bool {
    let Origin::Tcp(local) = origin else { return true };
    let mut fields = request.headers.get_all(HOST).iter();
    let host = match (fields.next(), fields.next()) {
        (Some(field), None) => field.to_str().ok(),
        (None, None) => request.uri.authority().map(http::uri::Authority::as_str),
        (_, Some(_)) => None,
    };
    let Some(host) = host else { return false };
    let differs = request.uri.authority().is_some_and(|authority| !authority.as_str().eq_ignore_ascii_case(host));
    !differs && names(host, local)
}

/// Whether `host` is `localhost` or the address, with the port unless it is left out.
fn names(host: &str, local: SocketAddr) -> bool {
    let (name, port) = match host.rsplit_once(':') {
        Some((name, port)) if !port.contains(']') => (name, Some(port)),
        Some(_) | None => (host, None),
    };
    let port_fits = port.is_none_or(|port| port.parse() == Ok(local.port()));
    let bracketed = name.strip_prefix('[').and_then(|name| name.strip_suffix(']'));
    let address = bracketed.map_or_else(|| name.parse().map(IpAddr::V4), |name| name.parse().map(IpAddr::V6));
    let same = address.is_ok_and(|address| address.to_canonical() == local.ip().to_canonical());
    port_fits && (same || name.eq_ignore_ascii_case("localhost"))
}

/// Whether a browser says that another site's page is asking (Fetch Metadata; `Origin`, RFC 6454 section 7).
fn is_cross_site(headers: &HeaderMap) -> bool {
    let site = headers.get("sec-fetch-site").map(http::HeaderValue::as_bytes);
    if site.is_some_and(|site| !matches!(site, b"same-origin" | b"none")) {
        return true;
    }
    let Some(origin) = headers.get(ORIGIN) else { return false };
    let own = origin.to_str().ok().and_then(|origin| origin.split_once("://")).map(|(_, authority)| authority);
    let host = headers.get(HOST).and_then(|host| host.to_str().ok());
    own.is_none() || own != host
}

/// Whether the body is declared as JSON: what a page of another site cannot send without a preflight.
fn is_json(headers: &HeaderMap) -> bool {
    let kind = headers.get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    kind.split(';').next().unwrap_or_default().trim().eq_ignore_ascii_case("application/json")
}
