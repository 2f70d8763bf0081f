//! Certificates that an earlier start has left: whether they still serve.

use std::collections::BTreeSet;
use std::net::IpAddr;

use rcgen::{KeyPair, PublicKeyData as _};
use time::OffsetDateTime;
use x509_cert::Certificate;
use x509_cert::der::{DecodePem as _, Encode as _};
use x509_cert::ext::pkix::name::GeneralName;
use x509_cert::ext::pkix::{AuthorityKeyIdentifier, NameConstraints, SubjectAltName};

use super::{Name, root_params};
use crate::config::CertificateFiles;
use crate::dev::files::{self, FileError, Readers};

/// A certificate and the key that belongs to it.
pub(super) struct Existing {
    certificate: Certificate,
    /// The private key.
    pub(super) key: KeyPair,
}

/// The pair, or `None` when a file is missing, is no such thing, or the two do not belong together: then it is made
/// anew, for nothing here is worth more than being made anew.
pub(super) fn read(files: &CertificateFiles) -> Result<Option<Existing>, FileError> {
    let key = files::read(&files.key, Readers::Owner)?;
    let certificate = files::read(&files.certificate, Readers::All)?;
    Ok(key.zip(certificate).and_then(|(key, certificate)| parse(&key, &certificate)))
}

fn parse(key: &str, certificate: &str) -> Option<Existing> {
    let key = KeyPair::from_pem(key).ok()?;
    let certificate = Certificate::from_pem(certificate).ok()?;
    let public = certificate.tbs_certificate.subject_public_key_info.to_der().ok()?;
    (public == key.subject_public_key_info()).then_some(Existing { certificate, key })
}

impl Existing {
    /// Whether it is valid and stays so until then.
    pub(super) fn is_fresh(&self, now: OffsetDateTime, until: OffsetDateTime) -> bool {
        let validity = &self.certificate.tbs_certificate.validity;
        let seconds =
            |time: x509_cert::time::Time| i64::try_from(time.to_unix_duration().as_secs()).unwrap_or(i64::MAX);
        seconds(validity.not_before) <= now.unix_timestamp() && until.unix_timestamp() < seconds(validity.not_after)
    }

    /// Whether this root may sign for all of these. One without constraints may not: it is none of ours.
    pub(super) fn permits_all(&self, names: &BTreeSet<Name>) -> bool {
        let Ok(Some((true, constraints))) = self.certificate.tbs_certificate.get::<NameConstraints>() else {
            return false;
        };
        let permitted: Vec<Name> = constraints
            .permitted_subtrees
            .unwrap_or_default()
            .iter()
            .filter_map(|subtree| name(&subtree.base))
            .collect();
        names.iter().all(|wanted| permitted.iter().any(|tree| tree.permits(wanted)))
    }

    /// Whether these are its names, no fewer and no more.
    pub(super) fn covers_exactly(&self, names: &BTreeSet<Name>) -> bool {
        let Ok(Some((_, SubjectAltName(covered)))) = self.certificate.tbs_certificate.get::<SubjectAltName>() else {
            return false;
        };
        covered.iter().map(name).collect::<Option<BTreeSet<Name>>>().as_ref() == Some(names)
    }

    /// Whether the root with this key has signed it.
    pub(super) fn is_under(&self, root_key: &KeyPair) -> bool {
        let Ok(Some((_, authority))) = self.certificate.tbs_certificate.get::<AuthorityKeyIdentifier>() else {
            return false;
        };
        let wanted = root_params().key_identifier(root_key);
        authority.key_identifier.is_some_and(|identifier| identifier.as_bytes() == wanted)
    }
}

/// Addresses are four or sixteen bytes, in constraints followed by a mask that is all ones in what we make.
fn name(general: &GeneralName) -> Option<Name> {
    match general {
        GeneralName::DnsName(name) => Some(Name::Dns(name.as_str().to_owned())),
        GeneralName::IpAddress(bytes) => {
            let bytes = bytes.as_bytes();
            let address = match bytes.len() {
                4 | 16 => bytes,
                8 | 32 => bytes.get(..bytes.len() / 2)?,
                _ => return None,
            };
            let four = <[u8; 4]>::try_from(address).map(IpAddr::from);
            let sixteen = <[u8; 16]>::try_from(address).map(IpAddr::from);
            four.or(sixteen).ok().map(Name::Address)
        }
        _ => None,
    }
}
