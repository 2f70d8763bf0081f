//! Client certificates: whose count on a listener, and whether what a connection has shown still does. TLS asks once, when
//! the connection begins or is resumed; requests come later, so each of them asks again.

use std::sync::Arc;

use arc_swap::ArcSwapOption;
use rustls::RootCertStore;
use rustls::crypto::CryptoProvider;
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::ClientCertVerifier;
use rustls_pki_types::{CertificateDer, UnixTime};

use super::certificate::{self, Unreadable};
use super::tls::roots;
use crate::clock::Timestamp;
use crate::config::{ClientCertificates, ListenerTls};
use crate::diagnostic::Diagnostics;
use crate::principal::ClientCertificate;

/// Whom a listener trusts; `None`: it asks nobody for a certificate.
pub(super) type Asked = Option<Arc<Trust>>;

/// Who may have issued the client certificates of a listener, and whether it takes clients without one.
#[derive(Debug)]
pub(crate) struct Trust {
    required: bool,
    roots: Arc<RootCertStore>,
    verifier: Arc<dyn ClientCertVerifier>,
}

/// What a connection has shown of its client.
#[derive(Debug)]
pub(crate) struct Shown {
    certificate: Arc<ClientCertificate>,
    expires_at: Timestamp,
    /// As the client sent it, its own certificate first.
    chain: Vec<CertificateDer<'static>>,
    /// What has verified it last.
    verified_by: ArcSwapOption<Trust>,
}

/// A connection that the listener would not accept any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Unmet;

impl Trust {
    /// Reads whom the listener trusts. `None` where a problem was found; `Some(None)` where clients are not asked.
    pub(super) fn load(tls: &ListenerTls, provider: &Arc<CryptoProvider>, problems: &mut Diagnostics) -> Option<Asked> {
        let required = match tls.client_certificates {
            ClientCertificates::None => return Some(None),
            ClientCertificates::Optional => false,
            ClientCertificates::Required => true,
        };
        let Some(path) = &tls.client_ca else {
            problems.general("`client_certificates` needs a `ca` to verify them against");
            return None;
        };
        let roots = Arc::new(roots(path, problems)?);
        let builder = WebPkiClientVerifier::builder_with_provider(Arc::clone(&roots), Arc::clone(provider));
        let builder = if required { builder } else { builder.allow_unauthenticated() };
        match builder.build() {
            Ok(verifier) => Some(Some(Arc::new(Self { required, roots, verifier }))),
            Err(error) => {
                problems.general(format!("`{}` cannot verify client certificates: {error}", path.display()));
                None
            }
        }
    }

    /// What asks clients in a handshake.
    pub(super) fn verifier(&self) -> Arc<dyn ClientCertVerifier> {
        Arc::clone(&self.verifier)
    }

    fn verifies(&self, chain: &[CertificateDer<'_>], now: Timestamp) -> bool {
        let Some((own, intermediates)) = chain.split_first() else { return false };
        let seconds = u64::try_from(now.0).unwrap_or_default();
        let now = UnixTime::since_unix_epoch(std::time::Duration::from_secs(seconds));
        self.verifier.verify_client_cert(own, intermediates, now).is_ok()
    }
}

impl Shown {
    /// What a handshake, or the one that it resumes, has verified.
    ///
    /// # Errors
    /// The certificate cannot be read.
    pub(super) fn verified(
        chain: &[CertificateDer<'_>],
        trust: Option<&Arc<Trust>>,
    ) -> Result<Option<Self>, Unreadable> {
        let Some(own) = chain.first() else { return Ok(None) };
        let (certificate, expires_at) = certificate::client(own)?;
        Ok(Some(Self {
            certificate: Arc::new(certificate),
            expires_at,
            chain: chain.iter().map(|one| one.clone().into_owned()).collect(),
            verified_by: ArcSwapOption::from(trust.map(Arc::clone)),
        }))
    }

    /// Whether a handshake with these certificates would succeed at this moment. The answer of a trust that has given
    /// it before is remembered, apart from the time.
    fn stands(&self, trust: &Arc<Trust>, now: Timestamp) -> bool {
        if now > self.expires_at {
            return false;
        }
        let before = self.verified_by.load();
        if before.as_ref().is_some_and(|before| Arc::ptr_eq(before, trust)) {
            return true;
        }
        let same = before.as_ref().is_some_and(|before| before.roots.roots == trust.roots.roots);
        if same || trust.verifies(&self.chain, now) {
            self.verified_by.store(Some(Arc::clone(trust)));
            return true;
        }
        false
    }
}

/// The certificate that counts for a request under the configuration in force: none where the listener does not ask.
///
/// # Errors
/// The listener asks for what the connection does not have: a certificate, or one of a trusted issuer that has not
/// expired.
pub(crate) fn certificate_in_force(
    shown: Option<&Shown>,
    trust: Option<&Arc<Trust>>,
    now: Timestamp,
) -> Result<Option<Arc<ClientCertificate>>, Unmet> {
    match (shown, trust) {
        (None, Some(trust)) if trust.required => Err(Unmet),
        (_, None) | (None, Some(_)) => Ok(None),
        (Some(shown), Some(trust)) if shown.stands(trust, now) => Ok(Some(Arc::clone(&shown.certificate))),
        (Some(_), Some(_)) => Err(Unmet),
    }
}
