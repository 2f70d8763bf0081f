//! Step 5 of the data path: a bearer token becomes a [`Principal`], or the request ends.
//!
//! What a token must be is pure and lives in the modules below; keys come from issuers in the background. Remembered
//! tokens are answered without waiting and without allocating.

use std::sync::Arc;

use http::HeaderMap;

use crate::clock::Timestamp;
use crate::config::Config;
use crate::diagnostic::Diagnostics;
use crate::principal::{ClientCertificate, IssuerIdentity, IssuerSet, Principal};

pub mod failure;

pub use failure::{Failure, Fault, InvalidToken};

/// The configured issuers of one configuration generation: their rules, their keys, the tokens already verified.
#[derive(Debug)]
pub struct Issuers {
    identities: Vec<Arc<IssuerIdentity>>,
}

impl Issuers {
    /// Builds the issuers of a configuration. Unchanged issuers keep keys and remembered tokens of `previous`.
    /// Nothing is fetched here: keys arrive once [`Issuers::run`] runs.
    ///
    /// # Errors
    /// Files (`jwks_file`, `secret_file`, `tls.ca`) that are unreadable or hold no usable key.
    pub fn load(config: &Config, previous: Option<&Self>) -> Result<Self, Diagnostics> {
        let _ = (config, previous);
        Ok(Self { identities: Vec::new() })
    }

    /// Keeps the key sets fresh until these issuers are dropped. To be spawned on the control runtime, once.
    pub fn run(&self) -> impl Future<Output = ()> + Send + 'static {
        std::future::pending()
    }

    /// The principal of the bearer token in `headers`; `Ok(None)` when there is no bearer token at all.
    ///
    /// # Errors
    /// [`Failure`], never [`Failure::Missing`].
    pub async fn authenticate(
        &self,
        headers: &HeaderMap,
        accepted: &IssuerSet,
        certificate: Option<&ClientCertificate>,
        now: Timestamp,
    ) -> Result<Option<Arc<Principal>>, Failure> {
        let _ = (headers, accepted, certificate, now);
        std::future::ready(Err(Failure::from(Fault::Opaque))).await
    }

    /// Names and folding rules of the issuers in configured order.
    pub fn identities(&self) -> &[Arc<IssuerIdentity>] {
        &self.identities
    }

    /// How each issuer's keys are, for readiness, metrics and the admin surface.
    pub fn states(&self) -> Vec<IssuerState> {
        Vec::new()
    }

    /// What the token memory holds and how often it helped, for metrics.
    pub fn memory(&self) -> MemoryState {
        MemoryState::default()
    }
}

/// How an issuer's keys are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IssuerState {
    /// Its configured name.
    pub name: Arc<str>,
    /// Its `iss`.
    pub issuer: String,
    /// There are keys, not older than `keys.max_stale`.
    pub ready: bool,
    /// `kid` of every usable key; empty text for a key without.
    pub key_ids: Vec<String>,
    /// When the keys were last fetched or read.
    pub fetched_at: Option<Timestamp>,
    /// What went wrong last, if the last attempt failed.
    pub last_error: Option<String>,
    /// Successful fetches since start.
    pub refreshes: u64,
    /// Failed fetches since start.
    pub failures: u64,
}

/// What the token memory holds and how often it helped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct MemoryState {
    /// Tokens remembered.
    pub entries: u64,
    /// Bytes they are weighed with.
    pub bytes: u64,
    /// Look-ups that found a token still in force.
    pub hits: u64,
    /// Look-ups that did not.
    pub misses: u64,
}
