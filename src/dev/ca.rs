//! The local certificate authority: one root, made once, and one certificate under it for every host that is served
//! on this machine.
//!
//! Somebody may tell a browser to trust the root, so it is constrained to the names it was made for (RFC 5280 section
//! 4.2.1.10): whoever steals its key can impersonate nothing else. A host outside of them means a new root.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::{Path, PathBuf};

use rcgen::{
    BasicConstraints, CertificateParams, CidrSubnet, DistinguishedName, DnType, ExtendedKeyUsagePurpose,
    GeneralSubtree, IsCa, Issuer, KeyPair, KeyUsagePurpose, NameConstraints, SanType, SerialNumber,
};
use time::{Duration, OffsetDateTime};

use super::files::{self, FileError, Readers};
use crate::clock::Timestamp;
use crate::config::CertificateFiles;

mod existing;

/// How long the root is valid.
const ROOT_DAYS: i64 = 3650;
/// How long a host certificate is valid; browsers refuse more than 398 days.
const HOST_DAYS: i64 = 397;
/// What is closer to its end than this is made anew.
const RENEW_DAYS: i64 = 30;

/// What the directory holds when [`ensure`] returns.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Authority {
    /// The root's certificate: `curl --cacert` takes it.
    pub root: PathBuf,
    /// The host certificate and its key.
    pub host: CertificateFiles,
    /// Whether the root is one that nobody can have trusted before.
    pub root_is_new: bool,
}

/// Why there is no certificate.
#[derive(Debug, thiserror::Error)]
pub enum AuthorityError {
    /// A file cannot be read or written.
    #[error(transparent)]
    File(#[from] FileError),
    /// A key or certificate cannot be made.
    #[error("cannot make a certificate: {0}")]
    Certificate(#[from] rcgen::Error),
}

/// A name that the certificate covers.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Name {
    /// A DNS name, its first label possibly `*`.
    Dns(String),
    /// An address.
    Address(IpAddr),
}

impl Name {
    /// The name that covers a host as policies write it: `{tenant}.example.com` is covered by a wildcard, `*` by
    /// nothing. A host that no certificate can name is none.
    pub fn of_host(host: &str) -> Option<Self> {
        if let Ok(address) = host.trim_matches(['[', ']']).parse() {
            return Some(Self::Address(address));
        }
        let (first, rest) = host.split_once('.').unwrap_or((host, ""));
        let open = first == "*" || first.contains('{');
        let name = match (open, rest.is_empty()) {
            (true, true) => return None,
            (true, false) => format!("*.{rest}"),
            (false, _) => host.to_owned(),
        };
        let labels = name.strip_prefix("*.").unwrap_or(&name);
        let valid = labels.split('.').all(|label| {
            (1..=63).contains(&label.len())
                && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
        });
        (valid && name.len() <= 253).then(|| Self::Dns(name.to_ascii_lowercase()))
    }

    /// Whether a root constrained to `self` may sign for `other`.
    fn permits(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Dns(tree), Self::Dns(name)) => {
                let name = name.strip_prefix("*.").unwrap_or(name);
                name == tree || name.strip_suffix(tree.as_str()).is_some_and(|front| front.ends_with('.'))
            }
            (Self::Address(one), Self::Address(another)) => one == another,
            (Self::Dns(_), Self::Address(_)) | (Self::Address(_), Self::Dns(_)) => false,
        }
    }

    fn subtree(&self) -> GeneralSubtree {
        match self {
            Self::Dns(name) => GeneralSubtree::DnsName(name.strip_prefix("*.").unwrap_or(name).to_owned()),
            Self::Address(address) => {
                let bits = if address.is_ipv4() { 32 } else { 128 };
                GeneralSubtree::IpAddress(CidrSubnet::from_addr_prefix(*address, bits))
            }
        }
    }
}

/// Makes what is missing, about to expire or made for other hosts, and leaves the rest as it is.
///
/// `localhost`, `127.0.0.1` and `::1` are always covered, then every one of `hosts` that a certificate can name.
///
/// # Errors
/// The directory cannot be written, or a key cannot be made.
pub fn ensure(
    directory: &Path,
    hosts: impl IntoIterator<Item = impl AsRef<str>>,
    now: Timestamp,
) -> Result<Authority, AuthorityError> {
    files::prepare(directory)?;
    let names = names(hosts);
    let now = OffsetDateTime::from_unix_timestamp(now.0).unwrap_or(OffsetDateTime::UNIX_EPOCH);
    let fresh_until = now + Duration::days(RENEW_DAYS);

    let root_pair = pair(directory, "dev-ca");
    let kept = existing::read(&root_pair)?.filter(|root| root.is_fresh(now, fresh_until) && root.permits_all(&names));
    let root_is_new = kept.is_none();
    let root_key = match kept {
        Some(root) => root.key,
        None => make_root(&root_pair, &names, now)?,
    };

    let host = pair(directory, "localhost");
    let kept = existing::read(&host)?
        .is_some_and(|leaf| leaf.is_fresh(now, fresh_until) && leaf.covers_exactly(&names) && leaf.is_under(&root_key));
    if !kept {
        make_host(&host, &names, &root_key, now)?;
    }
    Ok(Authority { root: root_pair.certificate, host, root_is_new })
}

fn pair(directory: &Path, name: &str) -> CertificateFiles {
    CertificateFiles { certificate: directory.join(format!("{name}.pem")), key: directory.join(format!("{name}.key")) }
}

fn names(hosts: impl IntoIterator<Item = impl AsRef<str>>) -> BTreeSet<Name> {
    let local = [
        Name::Dns("localhost".to_owned()),
        Name::Address(IpAddr::V4(Ipv4Addr::LOCALHOST)),
        Name::Address(IpAddr::V6(Ipv6Addr::LOCALHOST)),
    ];
    let named = hosts.into_iter().filter_map(|host| Name::of_host(host.as_ref()));
    named.chain(local).collect()
}

fn make_root(files: &CertificateFiles, names: &BTreeSet<Name>, now: OffsetDateTime) -> Result<KeyPair, AuthorityError> {
    let key = KeyPair::generate()?;
    let mut params = root_params();
    params.serial_number = Some(serial());
    params.not_before = now - Duration::hours(1);
    params.not_after = now + Duration::days(ROOT_DAYS);
    params.name_constraints = Some(NameConstraints {
        permitted_subtrees: names.iter().map(Name::subtree).collect(),
        excluded_subtrees: Vec::new(),
    });
    store(files, &params.self_signed(&key)?.pem(), &key)?;
    Ok(key)
}

fn make_host(
    files: &CertificateFiles,
    names: &BTreeSet<Name>,
    root_key: &KeyPair,
    now: OffsetDateTime,
) -> Result<(), AuthorityError> {
    let key = KeyPair::generate()?;
    let mut params = CertificateParams::default();
    params.distinguished_name = distinguished_name("localhost");
    params.serial_number = Some(serial());
    params.not_before = now - Duration::hours(1);
    params.not_after = now + Duration::days(HOST_DAYS);
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    params.use_authority_key_identifier_extension = true;
    params.subject_alt_names = names
        .iter()
        .map(|name| {
            Ok(match name {
                Name::Dns(name) => SanType::DnsName(name.as_str().try_into()?),
                Name::Address(address) => SanType::IpAddress(*address),
            })
        })
        .collect::<Result<_, rcgen::Error>>()?;
    let root = Issuer::new(root_params(), root_key);
    let certificate = params.signed_by(&key, &root)?;
    store(files, &certificate.pem(), &key)?;
    Ok(())
}

/// What a signed certificate takes over from its root; the same for every root.
fn root_params() -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = distinguished_name("Torwart dev CA (this machine only)");
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params
}

fn distinguished_name(common: &str) -> DistinguishedName {
    let mut name = DistinguishedName::new();
    name.push(DnType::OrganizationName, "Torwart dev mode");
    name.push(DnType::CommonName, common);
    name
}

/// Browsers refuse two certificates of one issuer with the same serial number, so it is random.
fn serial() -> SerialNumber {
    let mut bytes = uuid::Uuid::new_v4().into_bytes();
    // The first bit must be clear: a serial number is positive (RFC 5280 section 4.1.2.2).
    if let Some(first) = bytes.first_mut() {
        *first = (*first & 0x3f) | 0x40;
    }
    SerialNumber::from_slice(&bytes)
}

/// The key goes first: a certificate without its key is no use, a key without certificate is made anew.
fn store(files: &CertificateFiles, certificate: &str, key: &KeyPair) -> Result<(), FileError> {
    files::write(&files.key, &key.serialize_pem(), Readers::Owner)?;
    files::write(&files.certificate, certificate, Readers::All)
}

#[cfg(test)]
mod tests;
