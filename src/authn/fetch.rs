//! The small HTTPS client that issuers are asked with: no redirects, no cookies, bounded in size and time (RFC 8414
//! section 3, ASVS 15.3.2).

mod credentials;

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::header::{ACCEPT, AUTHORIZATION, CACHE_CONTROL, CONTENT_TYPE, HOST, USER_AGENT};
use http::uri::Scheme;
use http::{HeaderMap, Method, Request, StatusCode, Uri};
use http_body_util::{BodyExt as _, Full, LengthLimitError, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use thiserror::Error;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::Notify;
use tokio_rustls::TlsConnector;

pub use credentials::ClientCredentials;

/// Longest answer in bytes.
const LARGEST: usize = 1024 * 1024;

/// Longest head of an answer, and how much is read at once: what arrives faster than it is read must not keep this
/// thread from its other work.
const BUFFER: usize = 32 * 1024;

/// Interim answers (1xx) that may come before the final one.
const MOST_INTERIM: usize = 10;

/// Longest time that one fetch may take, from resolving the name to the last byte.
pub const TIMEOUT: Duration = Duration::from_secs(5);

/// Whether an issuer may be asked without TLS.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Plain {
    /// Never.
    Refused,
    /// At `localhost`, `127.0.0.1` and `[::1]` (issuers marked `environment: integration`, and dev mode).
    Loopback,
}

/// A client for one issuer.
#[derive(Clone)]
pub struct Client {
    tls: TlsConnector,
    plain: Plain,
    timeout: Duration,
}

impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Client").field("plain", &self.plain).field("timeout", &self.timeout).finish_non_exhaustive()
    }
}

/// An answer of status 200.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fetched {
    /// The whole body.
    pub body: Bytes,
    /// `max-age` of its `Cache-Control` (RFC 9111 section 5.2.2.1); zero for `no-store` and `no-cache`.
    pub max_age: Option<Duration>,
    /// What its `Content-Type` says, in lower case and without parameters; empty when there is none or several.
    pub media_type: String,
}

/// Why nothing was fetched. All of these are the issuer's or the network's fault but the first two.
#[derive(Debug, Error)]
pub enum FetchError {
    /// No absolute URL with a host and without user information.
    #[error("`{0}` is no absolute URL")]
    Url(String),
    /// `http`, or another scheme.
    #[error("`{0}` is not `https`")]
    Insecure(String),
    /// The name did not resolve or nobody answered there.
    #[error("cannot connect to `{0}`: {1}")]
    Connect(String, #[source] io::Error),
    /// The TLS handshake failed.
    #[error("no TLS connection to `{0}`: {1}")]
    Tls(String, #[source] io::Error),
    /// The answer is no HTTP.
    #[error("`{0}` broke the protocol: {1}")]
    Http(String, #[source] hyper::Error),
    /// Interim answers (1xx) without end.
    #[error("`{0}` sent more than {MOST_INTERIM} interim answers")]
    Interim(String),
    /// The body broke off.
    #[error("the answer of `{0}` broke off")]
    Body(String),
    /// Another status than 200, whether 401, 403 or 503; redirects are not followed.
    #[error("`{0}` answered {1}")]
    Status(String, StatusCode),
    /// More than 1 MiB.
    #[error("the answer of `{0}` is larger than 1 MiB")]
    TooLarge(String),
    /// Longer than the time given.
    #[error("`{0}` did not answer in time")]
    Timeout(String),
}

impl Client {
    /// A client that trusts the certificates in `ca` (PEM), or the public roots.
    ///
    /// # Errors
    /// A text for the person who configured `ca`.
    pub fn new(ca: Option<&[u8]>, plain: Plain) -> Result<Self, String> {
        let roots = ca.map_or_else(|| Ok(public_roots()), private_roots)?;
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| error.to_string())?
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Self { tls: TlsConnector::from(Arc::new(config)), plain, timeout: TIMEOUT })
    }

    /// The same client with another bound on the time that one fetch takes.
    #[must_use]
    pub fn with_timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Checks that a URL is one that this client asks.
    ///
    /// # Errors
    /// [`FetchError::Url`], [`FetchError::Insecure`].
    pub fn check(&self, url: &str) -> Result<(), FetchError> {
        Place::read(url, self.plain).map(|_| ())
    }

    /// The body at `url`.
    ///
    /// # Errors
    /// [`FetchError`].
    pub async fn get(&self, url: &str) -> Result<Fetched, FetchError> {
        let place = Place::read(url, self.plain)?;
        self.send(&place, place.request(Method::GET, "application/json").body(Full::default())).await
    }

    /// What `url` answers to the bearer of this token.
    ///
    /// # Errors
    /// [`FetchError`].
    pub async fn get_as_bearer(&self, url: &str, token: &str) -> Result<Fetched, FetchError> {
        let place = Place::read(url, self.plain)?;
        let request = place
            .request(Method::GET, "application/json, application/jwt")
            .header(AUTHORIZATION, credentials::bearer(token))
            .body(Full::default());
        self.send(&place, request).await
    }

    /// What `url` answers to a form that this client sends.
    ///
    /// # Errors
    /// [`FetchError`].
    pub async fn post_form(
        &self,
        url: &str,
        client: &ClientCredentials,
        fields: &[(&str, &str)],
    ) -> Result<Fetched, FetchError> {
        let place = Place::read(url, self.plain)?;
        let request = place
            .request(Method::POST, "application/json")
            .header(AUTHORIZATION, client.authorization())
            .header(CONTENT_TYPE, "application/x-www-form-urlencoded")
            .body(credentials::form(fields).into());
        self.send(&place, request).await
    }

    async fn send(&self, place: &Place, request: http::Result<Request<Full<Bytes>>>) -> Result<Fetched, FetchError> {
        let request = request.map_err(|_| FetchError::Url(place.shown.clone()))?;
        let fetched = tokio::time::timeout(self.timeout, self.exchange(place, request)).await;
        fetched.unwrap_or_else(|_| Err(FetchError::Timeout(place.shown.clone())))
    }

    async fn exchange(&self, place: &Place, request: Request<Full<Bytes>>) -> Result<Fetched, FetchError> {
        let connect = |error| FetchError::Connect(place.shown.clone(), error);
        let stream = TcpStream::connect((place.host.as_str(), place.port)).await.map_err(connect)?;
        if !place.tls {
            return ask(stream, place, request).await;
        }
        let tls = |error| FetchError::Tls(place.shown.clone(), error);
        let name = ServerName::try_from(place.host.clone()).map_err(|_| FetchError::Url(place.shown.clone()))?;
        ask(self.tls.connect(name, stream).await.map_err(tls)?, place, request).await
    }
}

fn public_roots() -> RootCertStore {
    RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() }
}

fn private_roots(pem: &[u8]) -> Result<RootCertStore, String> {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(pem) {
        let certificate = certificate.map_err(|error| error.to_string())?;
        roots.add(certificate).map_err(|error| error.to_string())?;
    }
    if roots.is_empty() { Err("it holds no certificate".to_owned()) } else { Ok(roots) }
}

/// A URL taken apart.
struct Place {
    shown: String,
    authority: String,
    host: String,
    port: u16,
    tls: bool,
    path: String,
}

impl Place {
    fn read(url: &str, plain: Plain) -> Result<Self, FetchError> {
        let invalid = || FetchError::Url(url.to_owned());
        let uri: Uri = url.parse().map_err(|_| invalid())?;
        let authority = uri.authority().ok_or_else(invalid)?;
        let bracketed = authority.host();
        if url.contains('#') || authority.as_str().contains('@') || bracketed.is_empty() {
            return Err(invalid());
        }
        let tls = uri.scheme() == Some(&Scheme::HTTPS);
        let loopback = ["localhost", "127.0.0.1", "[::1]"].contains(&bracketed);
        let excepted = plain == Plain::Loopback && loopback && uri.scheme() == Some(&Scheme::HTTP);
        if !tls && !excepted {
            return Err(FetchError::Insecure(url.to_owned()));
        }
        let host = bracketed.trim_start_matches('[').trim_end_matches(']').to_owned();
        let port = authority.port_u16().unwrap_or(if tls { 443 } else { 80 });
        let path = uri.path_and_query().map_or("/", |path| path.as_str()).to_owned();
        Ok(Self { shown: url.to_owned(), authority: authority.as_str().to_owned(), host, port, tls, path })
    }

    /// The head of a request to this place. What goes wrong in it shows when the body is added.
    fn request(&self, method: Method, accept: &'static str) -> http::request::Builder {
        Request::builder()
            .method(method)
            .uri(self.path.as_str())
            .header(HOST, self.authority.as_str())
            .header(ACCEPT, accept)
            .header(USER_AGENT, concat!("torwart/", env!("CARGO_PKG_VERSION")))
    }
}

async fn ask<S>(stream: S, place: &Place, mut request: Request<Full<Bytes>>) -> Result<Fetched, FetchError>
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let broken = |error| FetchError::Http(place.shown.clone(), error);
    let handshake = http1::Builder::new().max_buf_size(BUFFER).handshake(TokioIo::new(stream));
    let (mut sender, connection) = handshake.await.map_err(broken)?;
    let flooded = count_interim(&mut request);
    let exchange = async {
        let response = sender.send_request(request).await.map_err(broken)?;
        if response.status() != StatusCode::OK {
            return Err(FetchError::Status(place.shown.clone(), response.status()));
        }
        let (max_age, media_type) = (max_age(response.headers()), media_type(response.headers()));
        let body = Limited::new(response.into_body(), LARGEST).collect().await.map_err(|error| {
            if error.is::<LengthLimitError>() {
                FetchError::TooLarge(place.shown.clone())
            } else {
                FetchError::Body(place.shown.clone())
            }
        })?;
        Ok(Fetched { body: body.to_bytes(), max_age, media_type })
    };
    // The connection may end before the last bytes of the body have been taken over; only the exchange ends the fetch.
    let drive = async {
        let _ = connection.await;
        std::future::pending::<std::convert::Infallible>().await
    };
    tokio::select! {
        fetched = exchange => fetched,
        () = flooded.notified() => Err(FetchError::Interim(place.shown.clone())),
        never = drive => match never {},
    }
}

/// Tells when more interim answers have come than anybody needs. Each is read and forgotten by hyper, however many come.
fn count_interim(request: &mut Request<Full<Bytes>>) -> Arc<Notify> {
    let (flooded, count) = (Arc::new(Notify::new()), AtomicUsize::new(0));
    let told = Arc::clone(&flooded);
    hyper::ext::on_informational(request, move |_| {
        if count.fetch_add(1, Ordering::Relaxed) >= MOST_INTERIM {
            told.notify_one();
        }
    });
    flooded
}

/// The media type of an answer. Several are as good as none.
fn media_type(headers: &HeaderMap) -> String {
    let mut lines = headers.get_all(CONTENT_TYPE).iter();
    let (Some(line), None) = (lines.next(), lines.next()) else { return String::new() };
    let text = line.to_str().unwrap_or_default();
    text.split(';').next().unwrap_or_default().trim().to_ascii_lowercase()
}

/// How long an answer may be kept by its `Cache-Control`.
fn max_age(headers: &HeaderMap) -> Option<Duration> {
    let lines = headers.get_all(CACHE_CONTROL).iter().filter_map(|line| line.to_str().ok());
    let directives = lines.flat_map(|line| line.split(',')).map(|directive| directive.trim().to_ascii_lowercase());
    let mut found = None;
    for directive in directives {
        if directive == "no-store" || directive == "no-cache" {
            return Some(Duration::ZERO);
        }
        if let Some(seconds) = directive.strip_prefix("max-age=") {
            found = seconds.trim_matches('"').parse().ok().map(Duration::from_secs);
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn check(url: &str, plain: Plain) -> Result<(), FetchError> {
        Client::new(None, plain).unwrap().check(url)
    }

    #[test]
    fn only_https_is_asked() {
        assert!(check("https://issuer.example/jwks?x=1", Plain::Refused).is_ok());
        for url in ["http://issuer.example/", "http://localhost/", "http://127.0.0.1:80/", "ftp://issuer.example/"] {
            assert!(matches!(check(url, Plain::Refused), Err(FetchError::Insecure(_))), "{url}");
        }
    }

    #[test]
    fn loopback_may_be_plain_for_integration_issuers_only() {
        for url in ["http://localhost:1/", "http://127.0.0.1/", "http://[::1]:8080/x"] {
            assert!(check(url, Plain::Loopback).is_ok(), "{url}");
        }
        for url in ["http://localhost.example/", "http://127.0.0.2/", "http://[::2]/", "http://10.0.0.1/"] {
            assert!(matches!(check(url, Plain::Loopback), Err(FetchError::Insecure(_))), "{url}");
        }
    }

    #[test]
    fn user_information_fragments_and_relative_urls_are_refused() {
        for url in
            ["https://user@issuer.example/", "https://issuer.example/#x", "/jwks", "issuer.example", "", "https://"]
        {
            assert!(check(url, Plain::Refused).is_err(), "{url}");
        }
    }

    #[test]
    fn max_age_is_read_from_cache_control_rfc_9111_5_2_2() {
        let of = |lines: &[&'static str]| {
            let mut headers = HeaderMap::new();
            for line in lines {
                headers.append(CACHE_CONTROL, HeaderValue::from_static(line));
            }
            max_age(&headers)
        };
        assert_eq!(of(&[]), None);
        assert_eq!(of(&["public"]), None);
        assert_eq!(of(&["public, Max-Age=600, must-revalidate"]), Some(Duration::from_mins(10)));
        assert_eq!(of(&["max-age=60", "no-store"]), Some(Duration::ZERO));
        assert_eq!(of(&["max-age=x"]), None);
    }

    #[test]
    fn a_media_type_is_one_word_without_parameters() {
        let of = |lines: &[&'static str]| {
            let mut headers = HeaderMap::new();
            for line in lines {
                headers.append(CONTENT_TYPE, HeaderValue::from_static(line));
            }
            media_type(&headers)
        };
        assert_eq!(of(&["Application/JSON; charset=utf-8"]), "application/json");
        assert_eq!(of(&["application/jwt"]), "application/jwt");
        assert_eq!(of(&[]), "");
        assert_eq!(of(&["application/json", "application/jwt"]), "");
    }

    #[test]
    fn a_ca_file_without_certificates_is_refused() {
        assert!(Client::new(Some(b"nothing"), Plain::Refused).is_err());
    }
}
