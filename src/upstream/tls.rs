//! TLS towards endpoints: the files read once, whom to believe, whom to be.

use std::path::Path;
use std::sync::Arc;

use aws_lc_rs::digest::{Context, SHA256};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};

use crate::config::{Protocol, UpstreamTls};

/// TLS towards an endpoint.
#[derive(Debug)]
pub(super) struct Tls {
    pub(super) config: Arc<ClientConfig>,
    pub(super) name: ServerName<'static>,
}

/// The contents of the files that an upstream's `tls` names, so that what is compared is what is used.
#[derive(Default)]
pub(super) struct Files {
    ca: Option<Vec<u8>>,
    certificate: Option<Vec<u8>>,
    key: Option<Vec<u8>>,
}

impl Files {
    /// Reads them; whatever cannot be read is told.
    pub(super) fn read(tls: &UpstreamTls) -> Result<Self, String> {
        let certificates = |path| read(path).map_err(|error| unreadable("certificates", path, error));
        let key = |path| read(path).map_err(|error| unreadable("key", path, error));
        let identity = tls.identity.as_ref();
        Ok(Self {
            ca: tls.ca.as_deref().map(certificates).transpose()?,
            certificate: identity.map(|files| certificates(&files.certificate)).transpose()?,
            key: identity.map(|files| key(&files.key)).transpose()?,
        })
    }

    /// What tells these contents from others.
    pub(super) fn digest(&self) -> Vec<u8> {
        let mut context = Context::new(&SHA256);
        for file in [&self.ca, &self.certificate, &self.key] {
            context.update(&file.as_ref().map_or(0, Vec::len).to_be_bytes());
            context.update(file.as_deref().unwrap_or_default());
        }
        context.finish().as_ref().to_vec()
    }

    /// The client's side of TLS that they make.
    pub(super) fn client_config(&self, tls: &UpstreamTls, protocol: Protocol) -> Result<ClientConfig, String> {
        let provider = CryptoProvider::get_default()
            .map_or_else(|| Arc::new(rustls::crypto::aws_lc_rs::default_provider()), Arc::clone);
        let builder = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| error.to_string())?
            .with_root_certificates(self.roots(tls.ca.as_deref())?);
        let mut config = match (&tls.identity, &self.certificate, &self.key) {
            (Some(files), Some(certificate), Some(key)) => {
                let chain = certificates(certificate, &files.certificate)?;
                let key = PrivateKeyDer::from_pem_slice(key).map_err(|error| unreadable("key", &files.key, error))?;
                builder.with_client_auth_cert(chain, key).map_err(|error| {
                    format!("certificate `{}` cannot be used with its key: {error}", files.certificate.display())
                })?
            }
            _ => builder.with_no_client_auth(),
        };
        config.alpn_protocols = vec![match protocol {
            Protocol::H2 => b"h2".to_vec(),
            Protocol::Http1 => b"http/1.1".to_vec(),
        }];
        Ok(config)
    }

    fn roots(&self, path: Option<&Path>) -> Result<RootCertStore, String> {
        let (Some(path), Some(text)) = (path, &self.ca) else {
            return Ok(RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() });
        };
        let mut store = RootCertStore::empty();
        for certificate in certificates(text, path)? {
            store.add(certificate).map_err(|error| format!("CA `{}` cannot be used: {error}", path.display()))?;
        }
        Ok(store)
    }
}

fn read(path: &Path) -> std::io::Result<Vec<u8>> {
    std::fs::read(path)
}

fn unreadable(what: &str, path: &Path, error: impl std::fmt::Display) -> String {
    format!("{what} `{}` cannot be read: {error}", path.display())
}

fn certificates(text: &[u8], path: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let list: Vec<_> = CertificateDer::pem_slice_iter(text)
        .collect::<Result<_, _>>()
        .map_err(|error| unreadable("certificates", path, error))?;
    if list.is_empty() { Err(format!("`{}` holds no certificate", path.display())) } else { Ok(list) }
}
