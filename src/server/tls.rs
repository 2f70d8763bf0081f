//! TLS towards clients: rustls with AWS-LC, TLS 1.2 and 1.3, certificates chosen by SNI, client certificates verified
//! against a listener's own CA. No renegotiation, no compression (rustls has neither), no early data (RFC 8470).

use std::fs;
use std::path::Path;
use std::sync::Arc;

use rustls::crypto::CryptoProvider;
use rustls::crypto::aws_lc_rs::{self, Ticketer};
use rustls::server::{ClientHello, NoServerSessionStorage, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::{RootCertStore, ServerConfig};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

use super::certificate::Names;
use super::clients::{Asked, Trust};
use crate::config::{CertificateFiles, ListenerTls, Protocol};
use crate::diagnostic::Diagnostics;

/// One listener's TLS, ready to accept.
#[derive(Debug, Clone)]
pub struct Terminator {
    config: Arc<ServerConfig>,
    certificates: Arc<Certificates>,
    trust: Asked,
}

/// The certificates of a listener, the default first.
#[derive(Debug)]
pub(super) struct Certificates {
    list: Vec<Certificate>,
}

#[derive(Debug)]
struct Certificate {
    names: Arc<Names>,
    key: Arc<CertifiedKey>,
}

impl Terminator {
    /// Reads every file that the listener names. What is wrong is added to `problems`; `None` then.
    pub fn load(tls: &ListenerTls, protocols: &[Protocol], problems: &mut Diagnostics) -> Option<Self> {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let list: Vec<_> =
            tls.certificates.iter().filter_map(|files| certificate(files, &provider, problems)).collect();
        let trust = Trust::load(tls, &provider, problems);
        if list.len() != tls.certificates.len() || list.is_empty() {
            return None;
        }
        let certificates = Arc::new(Certificates { list });
        let trust = trust?;
        match server_config(tls, protocols, provider, trust.as_deref(), Arc::clone(&certificates)) {
            Ok(config) => Some(Self { config: Arc::new(config), certificates, trust }),
            Err(error) => {
                problems.general(format!("cannot set up TLS: {error}"));
                None
            }
        }
    }

    /// What rustls needs to accept a connection.
    pub(super) fn config(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.config)
    }

    /// Whose client certificates count; `None` where clients are not asked for any.
    pub(crate) fn trust(&self) -> Option<&Arc<Trust>> {
        self.trust.as_ref()
    }

    /// The names of the certificate that a client with this SNI is shown.
    pub(super) fn shown(&self, server_name: Option<&str>) -> Option<Arc<Names>> {
        self.certificates.choose(server_name).map(|certificate| Arc::clone(&certificate.names))
    }
}

impl Certificates {
    /// A certificate that has the name itself, else one that covers it by a wildcard, else the first.
    fn choose(&self, server_name: Option<&str>) -> Option<&Certificate> {
        let named = server_name.and_then(|name| {
            let name = name.to_ascii_lowercase();
            self.list
                .iter()
                .find(|certificate| certificate.names.has(&name))
                .or_else(|| self.list.iter().find(|certificate| certificate.names.cover(&name)))
        });
        named.or_else(|| self.list.first())
    }
}

impl ResolvesServerCert for Certificates {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.choose(hello.server_name()).map(|certificate| Arc::clone(&certificate.key))
    }
}

fn server_config(
    tls: &ListenerTls,
    protocols: &[Protocol],
    provider: Arc<CryptoProvider>,
    trust: Option<&Trust>,
    certificates: Arc<Certificates>,
) -> Result<ServerConfig, rustls::Error> {
    let versions: &[_] =
        if tls.tls12 { &[&rustls::version::TLS13, &rustls::version::TLS12] } else { &[&rustls::version::TLS13] };
    let builder = ServerConfig::builder_with_provider(provider).with_protocol_versions(versions)?;
    let builder = match trust {
        Some(trust) => builder.with_client_cert_verifier(trust.verifier()),
        None => builder.with_no_client_auth(),
    };
    let mut config = builder.with_cert_resolver(certificates);
    config.alpn_protocols = protocols
        .iter()
        .map(|protocol| match protocol {
            Protocol::H2 => b"h2".to_vec(),
            Protocol::Http1 => b"http/1.1".to_vec(),
        })
        .collect();
    // Stateless tickets whose keys belong to this listener and this configuration: nobody resumes a session that
    // another listener's CA has verified. One ticket a handshake is what clients use.
    config.ticketer = Ticketer::new()?;
    config.send_tls13_tickets = 1;
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.max_early_data_size = 0;
    Ok(config)
}

/// Reads a CA bundle in PEM form.
pub(crate) fn roots(path: &Path, problems: &mut Diagnostics) -> Option<RootCertStore> {
    let mut roots = RootCertStore::empty();
    for certificate in chain(path, problems)? {
        if let Err(error) = roots.add(certificate) {
            problems.general(format!("`{}` holds no usable CA certificate: {error}", path.display()));
            return None;
        }
    }
    Some(roots)
}

fn certificate(files: &CertificateFiles, provider: &CryptoProvider, problems: &mut Diagnostics) -> Option<Certificate> {
    let chain = chain(&files.certificate, problems);
    let key = private_key(&files.key, problems);
    let (chain, key) = (chain?, key?);
    let names = match chain.first().map(Names::of) {
        Some(Ok(names)) => Arc::new(names),
        Some(Err(error)) => {
            problems.general(format!("`{}`: {error}", files.certificate.display()));
            return None;
        }
        None => return None,
    };
    match CertifiedKey::from_der(chain, key, provider) {
        Ok(key) => Some(Certificate { names, key: Arc::new(key) }),
        Err(error) => {
            problems.general(format!(
                "certificate `{}` and key `{}` do not work together: {error}",
                files.certificate.display(),
                files.key.display()
            ));
            None
        }
    }
}

fn chain(path: &Path, problems: &mut Diagnostics) -> Option<Vec<CertificateDer<'static>>> {
    let text = read(path, problems)?;
    match CertificateDer::pem_slice_iter(&text).collect::<Result<Vec<_>, _>>() {
        Ok(chain) if !chain.is_empty() => Some(chain),
        Ok(_) => {
            problems.general(format!("`{}` holds no certificate in PEM form", path.display()));
            None
        }
        Err(error) => {
            problems.general(format!("`{}` is not PEM: {error}", path.display()));
            None
        }
    }
}

fn private_key(path: &Path, problems: &mut Diagnostics) -> Option<PrivateKeyDer<'static>> {
    let text = zeroize::Zeroizing::new(read(path, problems)?);
    match PrivateKeyDer::from_pem_slice(&text) {
        Ok(key) => Some(key),
        Err(error) => {
            problems.general(format!("`{}` holds no private key in PEM form: {error}", path.display()));
            None
        }
    }
}

fn read(path: &Path, problems: &mut Diagnostics) -> Option<Vec<u8>> {
    match fs::read(path) {
        Ok(bytes) => Some(bytes),
        Err(error) => {
            problems.general(format!("cannot read `{}`: {error}", path.display()));
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::ClientCertificates;

    fn write(directory: &Path, name: &str, names: &[&str]) -> CertificateFiles {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let made = rcgen::generate_simple_self_signed(names).unwrap();
        let files = CertificateFiles {
            certificate: directory.join(format!("{name}.pem")),
            key: directory.join(format!("{name}.key")),
        };
        fs::write(&files.certificate, made.cert.pem()).unwrap();
        fs::write(&files.key, made.signing_key.serialize_pem()).unwrap();
        files
    }

    fn listener(certificates: Vec<CertificateFiles>) -> ListenerTls {
        ListenerTls { certificates, tls12: true, client_certificates: ClientCertificates::None, client_ca: None }
    }

    #[test]
    fn the_exact_name_wins_over_a_wildcard_and_the_first_certificate_is_the_default() {
        let directory = tempfile::tempdir().unwrap();
        let tls = listener(vec![
            write(directory.path(), "default", &["default.example.com"]),
            write(directory.path(), "wild", &["*.example.org"]),
            write(directory.path(), "exact", &["api.example.org"]),
        ]);
        let mut problems = Diagnostics::new();
        let terminator = Terminator::load(&tls, &[Protocol::Http1], &mut problems).unwrap();
        let shown = |name| terminator.shown(name).unwrap();
        assert!(shown(Some("API.example.org")).has("api.example.org"));
        assert!(shown(Some("other.example.org")).cover("other.example.org"));
        assert!(!shown(Some("other.example.org")).has("api.example.org"));
        assert!(shown(Some("elsewhere.example")).has("default.example.com"));
        assert!(shown(None).has("default.example.com"));
    }

    #[test]
    fn every_missing_or_mismatched_file_is_reported_at_once() {
        let directory = tempfile::tempdir().unwrap();
        let one = write(directory.path(), "one", &["one.example.com"]);
        let two = write(directory.path(), "two", &["two.example.com"]);
        let tls = listener(vec![
            CertificateFiles { certificate: one.certificate, key: two.key },
            CertificateFiles { certificate: directory.path().join("gone.pem"), key: directory.path().join("gone.key") },
        ]);
        let mut problems = Diagnostics::new();
        assert!(Terminator::load(&tls, &[Protocol::H2], &mut problems).is_none());
        let text = problems.render();
        assert!(text.contains("do not work together"), "{text}");
        assert!(text.contains("gone.pem") && text.contains("gone.key"), "{text}");
    }

    #[test]
    fn client_certificates_without_a_ca_are_a_problem() {
        let directory = tempfile::tempdir().unwrap();
        let mut tls = listener(vec![write(directory.path(), "one", &["one.example.com"])]);
        tls.client_certificates = ClientCertificates::Required;
        let mut problems = Diagnostics::new();
        assert!(Terminator::load(&tls, &[Protocol::H2], &mut problems).is_none());
        assert!(problems.render().contains("`ca`"));
    }
}
