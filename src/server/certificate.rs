//! What certificates say: the names that a server certificate covers, and who a client certificate is.

use std::net::IpAddr;

use aws_lc_rs::digest;
use rustls_pki_types::CertificateDer;
use x509_cert::Certificate;
use x509_cert::der::Decode;
use x509_cert::ext::pkix::SubjectAltName;
use x509_cert::ext::pkix::name::GeneralName;

use crate::clock::Timestamp;
use crate::principal::ClientCertificate;

/// The names that a server certificate covers: its subject alternative names (RFC 9525 section 6.3; the common name
/// counts for nothing).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Names {
    exact: Vec<String>,
    /// `*.example.com` as `example.com`.
    wildcard: Vec<String>,
    addresses: Vec<IpAddr>,
}

/// A certificate that cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("not a certificate in DER form: {0}")]
pub(crate) struct Unreadable(#[from] x509_cert::der::Error);

impl Names {
    /// The names of a certificate.
    ///
    /// # Errors
    /// The bytes are no certificate.
    pub(crate) fn of(certificate: &CertificateDer<'_>) -> Result<Self, Unreadable> {
        let mut names = Self::default();
        for name in alternative_names(&Certificate::from_der(certificate)?)? {
            match name {
                GeneralName::DnsName(dns) => match dns.as_str().strip_prefix("*.") {
                    Some(parent) => names.wildcard.push(parent.to_ascii_lowercase()),
                    None => names.exact.push(dns.as_str().to_ascii_lowercase()),
                },
                GeneralName::IpAddress(octets) => names.addresses.extend(address(octets.as_bytes())),
                _ => {}
            }
        }
        Ok(names)
    }

    /// Whether the certificate has this very name, wildcards aside. `host` is in lower case.
    pub(crate) fn has(&self, host: &str) -> bool {
        self.exact.iter().any(|name| name == host)
    }

    /// Whether the certificate covers the host: by name, by a wildcard that stands for exactly one label (RFC 9525
    /// section 6.3), or as an address without brackets. `host` is in lower case.
    pub(crate) fn cover(&self, host: &str) -> bool {
        if let Ok(address) = host.parse::<IpAddr>() {
            return self.addresses.contains(&address);
        }
        let parent = host.split_once('.').and_then(|(label, parent)| (!label.is_empty()).then_some(parent));
        self.has(host) || parent.is_some_and(|parent| self.wildcard.iter().any(|name| name == parent))
    }
}

/// Who a client certificate is, once TLS has verified it, and the last moment of its validity.
///
/// # Errors
/// The bytes are no certificate.
pub(crate) fn client(certificate: &CertificateDer<'_>) -> Result<(ClientCertificate, Timestamp), Unreadable> {
    let parsed = Certificate::from_der(certificate)?;
    let mut found = ClientCertificate {
        subject: parsed.tbs_certificate.subject.to_string(),
        thumbprint: sha256(certificate),
        ..ClientCertificate::default()
    };
    for name in alternative_names(&parsed)? {
        match name {
            GeneralName::DnsName(dns) => found.dns.push(dns.to_string()),
            GeneralName::UniformResourceIdentifier(uri) => found.uri.push(uri.to_string()),
            GeneralName::Rfc822Name(email) => found.email.push(email.to_string()),
            _ => {}
        }
    }
    let last = parsed.tbs_certificate.validity.not_after.to_unix_duration().as_secs();
    Ok((found, Timestamp(i64::try_from(last).unwrap_or(i64::MAX))))
}

fn alternative_names(certificate: &Certificate) -> Result<Vec<GeneralName>, Unreadable> {
    Ok(certificate.tbs_certificate.get::<SubjectAltName>()?.map(|(_, names)| names.0).unwrap_or_default())
}

fn sha256(bytes: &[u8]) -> [u8; 32] {
    let mut out = [0; 32];
    out.copy_from_slice(digest::digest(&digest::SHA256, bytes).as_ref());
    out
}

fn address(octets: &[u8]) -> Option<IpAddr> {
    <[u8; 4]>::try_from(octets)
        .map(IpAddr::from)
        .or_else(|_| <[u8; 16]>::try_from(octets).map(IpAddr::from))
        .ok()
        .map(|address| address.to_canonical())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn certificate(names: &[&str]) -> CertificateDer<'static> {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        rcgen::generate_simple_self_signed(names).unwrap().cert.der().clone()
    }

    #[test]
    fn a_wildcard_stands_for_exactly_one_label_rfc_9525_section_6_3() {
        let names = Names::of(&certificate(&["*.example.com"])).unwrap();
        assert!(names.cover("api.example.com"));
        assert!(!names.cover("example.com"));
        assert!(!names.cover("a.b.example.com"));
        assert!(!names.cover(".example.com"));
        assert!(!names.has("api.example.com"));
    }

    #[test]
    fn names_are_compared_without_case_and_addresses_as_addresses() {
        let names = Names::of(&certificate(&["API.Example.com", "127.0.0.1", "::1"])).unwrap();
        assert!(names.cover("api.example.com") && names.has("api.example.com"));
        assert!(names.cover("127.0.0.1") && names.cover("::1"));
        assert!(!names.cover("127.0.0.2"));
    }

    #[test]
    fn a_client_is_known_by_its_names_its_whole_subject_and_its_thumbprint() {
        let key = rcgen::KeyPair::generate().unwrap();
        let mut params = rcgen::CertificateParams::new(vec!["client.example.com".to_owned()]).unwrap();
        params.distinguished_name = rcgen::DistinguishedName::new();
        params.distinguished_name.push(rcgen::DnType::CountryName, "DE");
        params.distinguished_name.push(rcgen::DnType::CommonName, "batch");
        params.subject_alt_names.push(rcgen::SanType::URI("spiffe://example.com/batch".try_into().unwrap()));
        params.subject_alt_names.push(rcgen::SanType::Rfc822Name("ops@example.com".try_into().unwrap()));
        let der = params.self_signed(&key).unwrap().der().clone();
        let (found, last) = client(&der).unwrap();
        assert_eq!(found.dns, ["client.example.com"]);
        assert_eq!(found.uri, ["spiffe://example.com/batch"]);
        assert_eq!(found.email, ["ops@example.com"]);
        assert_eq!(found.subject, "CN=batch,C=DE");
        assert_eq!(found.thumbprint, sha256(&der));
        assert_eq!(last.0, params.not_after.unix_timestamp());
    }

    #[test]
    fn bytes_that_are_no_certificate_are_an_error() {
        assert!(Names::of(&CertificateDer::from(vec![1, 2, 3])).is_err());
        assert!(client(&CertificateDer::from(Vec::new())).is_err());
    }
}
