//! TLS towards upstreams: whom the gateway believes, and who it says it is.

use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::RootCertStore;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::server::WebPkiClientVerifier;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::task::spawn_local;
use tokio_rustls::TlsAcceptor;

use super::support::{Gate, OK, Permitted, get, run, status_of, upstream_at};
use crate::config::{self, CertificateFiles, Protocol, UpstreamTls};
use crate::diagnostic::Diagnostics;
use crate::upstream::load::Configured;

/// A certificate authority with files of its own.
struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
    directory: TempDir,
}

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join("ca.pem"), issuer.pem()).unwrap();
        Self { issuer, directory }
    }

    fn ca(&self) -> PathBuf {
        self.directory.path().join("ca.pem")
    }

    /// A certificate for a name, as files and as the server's configuration takes it.
    fn issue(&self, name: &str) -> (CertificateFiles, rcgen::Certificate, KeyPair) {
        let key = KeyPair::generate().unwrap();
        let certificate = CertificateParams::new(vec![name.to_owned()]).unwrap().signed_by(&key, &self.issuer).unwrap();
        let files = CertificateFiles {
            certificate: self.directory.path().join(format!("{name}.pem")),
            key: self.directory.path().join(format!("{name}.key")),
        };
        std::fs::write(&files.certificate, certificate.pem()).unwrap();
        std::fs::write(&files.key, key.serialize_pem()).unwrap();
        (files, certificate, key)
    }

    /// An upstream `crm.internal` that answers once a connection, with what protocol it is asked for.
    async fn serve(&self, clients: Option<&Self>, alpn: &[u8]) -> config::Upstream {
        let (_, certificate, key) = self.issue("crm.internal");
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let builder = rustls::ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .unwrap();
        let builder = match clients {
            None => builder.with_no_client_auth(),
            Some(authority) => {
                let mut roots = RootCertStore::empty();
                roots.add(authority.issuer.der().clone()).unwrap();
                let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).build().unwrap();
                builder.with_client_cert_verifier(verifier)
            }
        };
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let mut config = builder.with_single_cert(vec![certificate.der().clone()], key).unwrap();
        config.alpn_protocols = vec![alpn.to_vec()];
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        spawn_local(async move {
            let acceptor = Rc::new(acceptor);
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let acceptor = Rc::clone(&acceptor);
                spawn_local(async move {
                    let Ok(mut tls) = acceptor.accept(stream).await else { return };
                    let mut buffer = [0; 4096];
                    while tls.read(&mut buffer).await.is_ok_and(|read| read > 0) {
                        let _ = tls.write_all(OK.as_bytes()).await;
                    }
                });
            }
        });
        let mut upstream = upstream_at(address);
        upstream.endpoints[0].tls = true;
        upstream.tls = UpstreamTls { ca: Some(self.ca()), server_name: Some("crm.internal".into()), identity: None };
        upstream
    }
}

async fn status_and_failures(upstream: &config::Upstream) -> (String, String) {
    let gate = Gate::start(upstream, Permitted::default()).await;
    let answer = gate.send(get("")).await;
    (status_of(&answer).to_owned(), gate.failures().join(" "))
}

#[test]
fn an_upstream_with_the_right_certificate_is_believed() {
    run(async {
        let authority = Authority::new();
        let upstream = authority.serve(None, b"http/1.1").await;
        assert_eq!(status_and_failures(&upstream).await, ("200".into(), String::new()));
    });
}

#[test]
fn an_upstream_with_another_name_or_authority_is_502() {
    run(async {
        let authority = Authority::new();
        let mut upstream = authority.serve(None, b"http/1.1").await;
        upstream.tls.server_name = Some("other.internal".into());
        let (status, failures) = status_and_failures(&upstream).await;
        assert!(status == "502" && failures.contains("Tls("), "{status} {failures}");
        upstream.tls.server_name = None;
        assert_eq!(status_and_failures(&upstream).await.0, "502", "the endpoint's host is what is expected");

        let mut upstream = authority.serve(None, b"http/1.1").await;
        upstream.tls.ca = Some(Authority::new().directory.keep().join("ca.pem"));
        assert_eq!(status_and_failures(&upstream).await.0, "502");
        upstream.tls.ca = None;
        assert_eq!(status_and_failures(&upstream).await.0, "502", "the public roots do not know it");
    });
}

#[test]
fn the_gateway_shows_its_own_certificate() {
    run(async {
        let (authority, clients) = (Authority::new(), Authority::new());
        let mut upstream = authority.serve(Some(&clients), b"http/1.1").await;
        let (status, _) = status_and_failures(&upstream).await;
        assert_eq!(status, "502", "without one");
        upstream.tls.identity = Some(clients.issue("gateway.internal").0);
        assert_eq!(status_and_failures(&upstream).await, ("200".into(), String::new()));
        upstream.tls.identity = Some(authority.issue("gateway.internal").0);
        assert_eq!(status_and_failures(&upstream).await.0, "502", "of another authority");
    });
}

#[test]
fn an_upstream_that_does_not_agree_on_http2_is_502() {
    run(async {
        let authority = Authority::new();
        let mut upstream = authority.serve(None, b"http/1.1").await;
        upstream.protocol = Protocol::H2;
        assert_eq!(status_and_failures(&upstream).await.0, "502");
    });
}

#[test]
fn an_upstream_without_tls_where_it_belongs_is_502() {
    run(async {
        let raw = super::support::Raw::start(|_, mut talk| async move {
            talk.read().await;
            talk.say(OK).await;
        })
        .await;
        let mut upstream = raw.config();
        upstream.endpoints[0].tls = true;
        assert_eq!(status_and_failures(&upstream).await.0, "502");
        assert!(!raw.seen().contains("get"), "no request in the clear");
    });
}

#[test]
fn what_is_wrong_with_the_files_is_told_when_they_are_loaded() {
    let directory = tempfile::tempdir().unwrap();
    let (empty, absent) = (directory.path().join("empty.pem"), directory.path().join("absent.pem"));
    std::fs::write(&empty, "").unwrap();
    let told = |tls: UpstreamTls| {
        let mut upstream = upstream_at("127.0.0.1:1".parse().unwrap());
        upstream.endpoints[0].tls = true;
        upstream.tls = tls;
        let mut problems = Diagnostics::new();
        assert!(Configured::load(&upstream, None, &mut problems).is_none());
        problems.render()
    };
    let ca = |path: &PathBuf| UpstreamTls { ca: Some(path.clone()), ..UpstreamTls::default() };
    assert!(told(ca(&empty)).contains("holds no certificate"));
    assert!(told(ca(&absent)).contains("absent.pem` cannot be read"));
    let named = UpstreamTls { server_name: Some("not a name".into()), ..UpstreamTls::default() };
    assert!(told(named).contains("`not a name` is no name of a TLS server"));
    let authority = Authority::new();
    let (mut files, ..) = authority.issue("gateway.internal");
    files.key = authority.issue("other.internal").0.key;
    let mixed = UpstreamTls { identity: Some(files), ..UpstreamTls::default() };
    assert!(told(mixed).contains("cannot be used with its key"));
}
