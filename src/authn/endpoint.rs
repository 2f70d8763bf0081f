//! Where an issuer is asked about single tokens: at the URL that is configured, or that its metadata name (RFC 8414
//! section 2, OpenID Connect Discovery 1.0 section 3).

use std::time::Duration;

use tokio::sync::Mutex;
use tokio::time::Instant;

use super::discovery::{self, DiscoveryError};
use super::fetch::{Client, FetchError};
use crate::config;

/// How long the URL that the metadata name is believed.
const DISCOVERED_FOR: Duration = Duration::from_hours(1);

/// An endpoint of one issuer.
#[derive(Debug)]
pub struct Endpoint {
    place: Place,
    discovered: Mutex<Option<(String, Instant)>>,
}

#[derive(Debug)]
enum Place {
    Url(String),
    /// Where the issuer's metadata say under a name.
    Discovery {
        issuer: String,
        name: &'static str,
        dev: bool,
    },
}

impl Endpoint {
    /// The endpoint at this URL; without one, that which the issuer's metadata have under `name`. `config` says whether
    /// an embedded provider of dev mode is accepted.
    pub fn new(configured: Option<&str>, issuer: &config::Issuer, name: &'static str, config: &config::Config) -> Self {
        let place = match configured {
            Some(url) => Place::Url(url.to_owned()),
            None => Place::Discovery { issuer: issuer.issuer.clone(), name, dev: config.dev },
        };
        Self { place, discovered: Mutex::default() }
    }

    /// Checks that a client may ask there, as far as that is known without asking.
    ///
    /// # Errors
    /// [`FetchError::Url`], [`FetchError::Insecure`].
    pub fn check(&self, client: &Client) -> Result<(), FetchError> {
        match &self.place {
            Place::Url(url) => client.check(url),
            Place::Discovery { issuer, .. } => client.check(issuer),
        }
    }

    /// The URL. Of several who want to know one looks.
    ///
    /// # Errors
    /// [`DiscoveryError`].
    pub async fn url(&self, client: &Client) -> Result<String, DiscoveryError> {
        let (issuer, name, dev) = match &self.place {
            Place::Url(url) => return Ok(url.clone()),
            Place::Discovery { issuer, name, dev } => (issuer, *name, *dev),
        };
        let mut discovered = self.discovered.lock().await;
        if let Some((url, _)) = discovered.as_ref().filter(|(_, at)| at.elapsed() < DISCOVERED_FOR) {
            return Ok(url.clone());
        }
        let url = discovery::endpoint(client, issuer, dev, name).await?;
        *discovered = Some((url.clone(), Instant::now()));
        Ok(url)
    }
}
