//! Where an issuer publishes its keys: OpenID Connect Discovery 1.0 section 4, RFC 8414 section 3.

use thiserror::Error;

use super::fetch::{Client, FetchError, Fetched};
use crate::json;

/// What is known of where the keys are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// The issuer's metadata say.
    Discovery {
        /// The issuer, exactly as configured.
        issuer: String,
        /// Whether an embedded provider of dev mode is accepted.
        dev: bool,
    },
    /// This URL.
    Url(String),
}

/// Why there is no key set.
#[derive(Debug, Error)]
pub enum DiscoveryError {
    /// The document or the key set could not be fetched.
    #[error(transparent)]
    Fetch(#[from] FetchError),
    /// The document is no metadata, or does not say what is looked for.
    #[error("`{0}` is no metadata document: a JSON object with `issuer` and `{1}`")]
    Malformed(String, &'static str),
    /// The document is another issuer's (RFC 8414 section 3.3).
    #[error("`{url}` is the metadata of issuer `{found}` instead of `{wanted}`")]
    OtherIssuer {
        /// Where it was found.
        url: String,
        /// Its `issuer`.
        found: String,
        /// The configured one.
        wanted: String,
    },
    /// The document is that of a provider for development, and this is no dev mode.
    #[error("`{0}` is a development provider, whose tokens are worth nothing")]
    Development(String),
}

/// Fetches the key set.
///
/// # Errors
/// [`DiscoveryError`].
pub async fn key_set(client: &Client, origin: &Origin) -> Result<Fetched, DiscoveryError> {
    let url = match origin {
        Origin::Url(url) => url.clone(),
        Origin::Discovery { issuer, dev } => endpoint(client, issuer, *dev, KEYS).await?,
    };
    Ok(client.get(&url).await?)
}

/// The member of the metadata that says where the keys are.
const KEYS: &str = "jwks_uri";

/// What the issuer's metadata say under a name: a URL. The second form is asked when the first does not exist or is no
/// metadata; a document of another issuer ends the search.
///
/// # Errors
/// [`DiscoveryError`].
pub async fn endpoint(client: &Client, issuer: &str, dev: bool, name: &'static str) -> Result<String, DiscoveryError> {
    let mut failure = None;
    for url in metadata_urls(issuer) {
        let outcome = match client.get(&url).await {
            Ok(fetched) => member(&url, &fetched.body, (issuer, dev), name),
            Err(error) => Err(error.into()),
        };
        match outcome {
            Ok(found) => return Ok(found),
            Err(error) if !is_absence(&error) => return Err(error),
            // The first form is what most issuers have, so its failure tells more than that of the second.
            Err(error) => failure = failure.or(Some(error)),
        }
    }
    Err(failure.unwrap_or_else(|| DiscoveryError::Malformed(issuer.to_owned(), name)))
}

fn is_absence(error: &DiscoveryError) -> bool {
    match error {
        DiscoveryError::Fetch(FetchError::Status(_, status)) => !status.is_server_error(),
        DiscoveryError::Malformed(..) => true,
        _ => false,
    }
}

/// `<issuer>/.well-known/openid-configuration` with one slash between them, then RFC 8414's form, which puts the name
/// in front of the issuer's path.
pub fn metadata_urls(issuer: &str) -> [String; 2] {
    let base = issuer.trim_end_matches('/');
    let start = base.find("://").map_or(0, |at| at + 3);
    let path_at = base.get(start..).and_then(|rest| rest.find('/')).map_or(base.len(), |at| start + at);
    let (origin, path) = base.split_at_checked(path_at).unwrap_or((base, ""));
    [
        format!("{base}/.well-known/openid-configuration"),
        format!("{origin}/.well-known/oauth-authorization-server{path}"),
    ]
}

fn member(url: &str, body: &[u8], (issuer, dev): (&str, bool), name: &'static str) -> Result<String, DiscoveryError> {
    let malformed = || DiscoveryError::Malformed(url.to_owned(), name);
    let document = json::object(body).map_err(|_| malformed())?;
    let text = |name: &str| document.get(name).and_then(serde_json::Value::as_str);
    let found = text("issuer").ok_or_else(malformed)?;
    if found != issuer {
        let (url, found, wanted) = (url.to_owned(), found.to_owned(), issuer.to_owned());
        return Err(DiscoveryError::OtherIssuer { url, found, wanted });
    }
    if !dev && document.get(DEVELOPMENT).is_some_and(|mark| *mark != serde_json::Value::Bool(false)) {
        return Err(DiscoveryError::Development(url.to_owned()));
    }
    text(name).map(str::to_owned).ok_or_else(malformed)
}

/// The member by which the embedded provider of dev mode says what it is.
pub const DEVELOPMENT: &str = "torwart_dev";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_is_one_slash_between_issuer_and_well_known() {
        let [first, second] = metadata_urls("https://auth.example.com");
        assert_eq!(first, "https://auth.example.com/.well-known/openid-configuration");
        assert_eq!(second, "https://auth.example.com/.well-known/oauth-authorization-server");
        assert_eq!(metadata_urls("https://auth.example.com/"), [first, second]);
    }

    #[test]
    fn rfc_8414_3_1_inserts_the_name_before_the_path() {
        let [first, second] = metadata_urls("https://auth.example.com/realms/a/");
        assert_eq!(first, "https://auth.example.com/realms/a/.well-known/openid-configuration");
        assert_eq!(second, "https://auth.example.com/.well-known/oauth-authorization-server/realms/a");
    }

    #[test]
    fn a_short_host_has_a_path_too() {
        assert_eq!(metadata_urls("https://i/a")[1], "https://i/.well-known/oauth-authorization-server/a");
    }

    #[test]
    fn what_is_no_metadata_may_be_at_the_other_place_and_what_is_another_issuers_may_not() {
        assert!(is_absence(&DiscoveryError::Malformed("https://i".to_owned(), KEYS)));
        let (url, found, wanted) = ("https://i".to_owned(), "https://j".to_owned(), "https://i".to_owned());
        assert!(!is_absence(&DiscoveryError::OtherIssuer { url, found, wanted }));
    }

    fn read(body: &str) -> Result<String, DiscoveryError> {
        member("https://i/x", body.as_bytes(), ("https://i", false), KEYS)
    }

    #[test]
    fn the_metadata_issuer_must_be_identical_rfc_8414_3_3() {
        for issuer in ["https://i/", "https://I", "http://i", ""] {
            let body = format!("{{\"issuer\":\"{issuer}\",\"jwks_uri\":\"https://i/jwks\"}}");
            assert!(matches!(read(&body), Err(DiscoveryError::OtherIssuer { .. })), "{issuer}");
        }
        assert_eq!(read(r#"{"issuer":"https://i","jwks_uri":"https://i/jwks"}"#).unwrap(), "https://i/jwks");
    }

    #[test]
    fn garbage_is_no_metadata() {
        for body in ["", "<html>", "[]", "{}", r#"{"issuer":"https://i"}"#, r#"{"issuer":"https://i","jwks_uri":5}"#] {
            assert!(matches!(read(body), Err(DiscoveryError::Malformed(..))), "{body}");
        }
        let twice = r#"{"issuer":"https://i","jwks_uri":"https://i/a","jwks_uri":"https://i/b"}"#;
        assert!(matches!(read(twice), Err(DiscoveryError::Malformed(..))));
    }

    #[test]
    fn a_development_provider_is_refused_outside_dev_mode() {
        let body = r#"{"issuer":"https://i","jwks_uri":"https://i/jwks","torwart_dev":true}"#;
        assert!(matches!(read(body), Err(DiscoveryError::Development(_))));
        assert!(member("https://i/x", body.as_bytes(), ("https://i", true), KEYS).is_ok());
    }
}
