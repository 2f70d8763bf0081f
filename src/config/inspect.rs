//! Looks into the files that a configuration names: whether they are there and hold what they should. Each finding
//! points at the value that names the file.

use std::path::Path;

use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use x509_cert::der::Decode as _;

use super::{Config, FileKind, FileUse};
use crate::clock::Timestamp;
use crate::diagnostic::Diagnostics;

/// Seconds before its end at which a certificate is a warning: two weeks, when automatic renewal has failed.
const SOON: i64 = 14 * 24 * 3600;

/// Reports every file that is missing, unreadable or holds something else. `now`: for the validity of certificates.
pub fn inspect(config: &Config, now: Timestamp) -> Diagnostics {
    let mut problems = Diagnostics::new();
    for file in config.files.iter().filter(|file| file.kind != FileKind::Policies) {
        look(file, now, &mut problems);
    }
    problems
}

fn look(file: &FileUse, now: Timestamp, problems: &mut Diagnostics) {
    let shown = file.path.display();
    let bytes = match read(&file.path) {
        Ok(bytes) => bytes,
        Err(fault) => {
            let message = match fault.kind() {
                std::io::ErrorKind::NotFound => format!("the file `{shown}` does not exist"),
                std::io::ErrorKind::PermissionDenied => format!("the file `{shown}` may not be read"),
                std::io::ErrorKind::IsADirectory => format!("`{shown}` is a directory, not a file"),
                _ => format!("the file `{shown}` cannot be read: {fault}"),
            };
            problems.error(file.place.clone(), message);
            return;
        }
    };
    match file.kind {
        FileKind::Policies => {}
        FileKind::Certificate | FileKind::CaBundle => certificates(file, &bytes, now, problems),
        FileKind::Key => {
            if PrivateKeyDer::from_pem_slice(&bytes).is_err() {
                problems
                    .error(file.place.clone(), format!("the file `{shown}` holds no private key"))
                    .help("a key is PEM that begins with `-----BEGIN PRIVATE KEY-----`, without a password");
            }
        }
        FileKind::KeySet => {
            let keys = serde_json::from_slice::<serde_json::Value>(&bytes).ok();
            if !keys.is_some_and(|set| set.get("keys").is_some_and(serde_json::Value::is_array)) {
                problems
                    .error(file.place.clone(), format!("the file `{shown}` holds no JSON Web Key Set"))
                    .help("it looks like `{\"keys\": [...]}` (RFC 7517 section 5)");
            }
        }
        FileKind::Secret => {
            if bytes.trim_ascii().is_empty() {
                problems.error(file.place.clone(), format!("the file `{shown}` is empty"));
            }
        }
    }
}

/// Every certificate of a PEM file, of which there must be one, and until when the first is valid.
fn certificates(file: &FileUse, bytes: &[u8], now: Timestamp, problems: &mut Diagnostics) {
    let shown = file.path.display();
    let parsed: Result<Vec<_>, ()> = CertificateDer::pem_slice_iter(bytes)
        .map(|der| der.map_err(drop).and_then(|der| x509_cert::Certificate::from_der(&der).map_err(drop)))
        .collect();
    let Some(first) = parsed.ok().and_then(|all| all.into_iter().next()) else {
        problems
            .error(file.place.clone(), format!("the file `{shown}` holds no certificate"))
            .help("certificates are PEM that begins with `-----BEGIN CERTIFICATE-----`");
        return;
    };
    if file.kind != FileKind::Certificate {
        return;
    }
    let seconds = |time: x509_cert::time::Time| i64::try_from(time.to_unix_duration().as_secs()).unwrap_or(i64::MAX);
    let validity = first.tbs_certificate.validity;
    let (from, until) = (seconds(validity.not_before), seconds(validity.not_after));
    let finding = if until <= now.0 {
        Some("has expired")
    } else if from > now.0 {
        Some("is not valid yet")
    } else if until - SOON <= now.0 {
        Some("expires within two weeks")
    } else {
        None
    };
    if let Some(finding) = finding {
        problems.warning(file.place.clone(), format!("the certificate in `{shown}` {finding}"));
    }
}

fn read(path: &Path) -> std::io::Result<Vec<u8>> {
    if path.is_dir() {
        return Err(std::io::ErrorKind::IsADirectory.into());
    }
    std::fs::read(path)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::diagnostic::{Place, Source, Span};

    fn found(kind: FileKind, content: &[u8], now: i64) -> String {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("file");
        std::fs::write(&path, content).unwrap();
        let source = Arc::new(Source { path: "torwart.yaml".into(), text: "x".to_owned() });
        let mut config = Config::empty("torwart.yaml".into());
        config.files.push(FileUse { kind, path, place: Place { source, span: Span::default() } });
        inspect(&config, Timestamp(now)).render()
    }

    #[test]
    fn files_hold_what_they_are_named_for() {
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        let (certificate, key) = (made.cert.pem(), made.signing_key.serialize_pem());
        let now = 1_790_000_000;
        assert_eq!(found(FileKind::Certificate, certificate.as_bytes(), now), "");
        assert_eq!(found(FileKind::CaBundle, certificate.as_bytes(), now), "");
        assert_eq!(found(FileKind::Key, key.as_bytes(), now), "");
        assert_eq!(found(FileKind::KeySet, b"{\"keys\": []}", now), "");
        assert_eq!(found(FileKind::Secret, b"s\n", now), "");
        assert!(found(FileKind::Certificate, key.as_bytes(), now).contains("holds no certificate"));
        assert!(found(FileKind::CaBundle, b"", now).contains("holds no certificate"));
        assert!(found(FileKind::Key, certificate.as_bytes(), now).contains("holds no private key"));
        assert!(found(FileKind::KeySet, b"[]", now).contains("holds no JSON Web Key Set"));
        assert!(found(FileKind::Secret, b" \n", now).contains("is empty"));
    }

    #[test]
    fn a_certificate_outside_of_its_time_is_a_warning() {
        let key = rcgen::KeyPair::generate().unwrap();
        let mut parameters = rcgen::CertificateParams::new(["localhost".to_owned()]).unwrap();
        parameters.not_before = rcgen::date_time_ymd(2026, 1, 1);
        parameters.not_after = rcgen::date_time_ymd(2026, 12, 31);
        let pem = parameters.self_signed(&key).unwrap().pem();
        let at = |year, month, day| {
            let now = rcgen::date_time_ymd(year, month, day).unix_timestamp();
            found(FileKind::Certificate, pem.as_bytes(), now)
        };
        assert!(at(2025, 12, 31).contains("warning: the certificate in"));
        assert!(at(2025, 12, 31).contains("is not valid yet"));
        assert_eq!(at(2026, 6, 1), "");
        assert!(at(2026, 12, 20).contains("expires within two weeks"));
        assert!(at(2027, 1, 1).contains("has expired"));
    }
}
