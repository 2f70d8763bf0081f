use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::sync::Arc;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::ServerCertVerifier as _;
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};

use super::*;

const NOW: Timestamp = Timestamp(1_790_000_000);
const DAY: i64 = 86_400;

fn contents(authority: &Authority) -> [Vec<u8>; 4] {
    let key = authority.root.with_extension("key");
    [&authority.root, &key, &authority.host.certificate, &authority.host.key].map(|path| fs::read(path).unwrap())
}

/// What a client says that trusts the root and connects to `host`.
fn verify(authority: &Authority, host: &str, now: Timestamp) -> Result<(), rustls::Error> {
    let mut roots = rustls::RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(&authority.root).unwrap()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider).build().unwrap();
    let leaf = CertificateDer::from_pem_file(&authority.host.certificate).unwrap();
    let now = UnixTime::since_unix_epoch(std::time::Duration::from_secs(u64::try_from(now.0).unwrap()));
    let host = ServerName::try_from(host).unwrap();
    verifier.verify_server_cert(&leaf, &[], &host, &[], now).map(|_| ())
}

#[test]
fn the_certificate_verifies_for_this_machine_and_every_host_of_the_policies() {
    let directory = tempfile::tempdir().unwrap();
    let hosts = ["api.example.com", "{tenant}.example.net", "*.example.org", "*", "192.0.2.7"];
    let authority = ensure(directory.path(), hosts, NOW).unwrap();
    for host in ["localhost", "127.0.0.1", "::1", "api.example.com", "a.example.net", "b.example.org", "192.0.2.7"] {
        assert_eq!(verify(&authority, host, NOW), Ok(()), "{host}");
    }
    assert!(verify(&authority, "other.example.com", NOW).is_err());
}

#[test]
fn private_keys_are_readable_by_their_owner_only() {
    let directory = tempfile::tempdir().unwrap();
    let authority = ensure(directory.path(), [""; 0], NOW).unwrap();
    for key in [authority.root.with_extension("key"), authority.host.key] {
        assert_eq!(fs::metadata(&key).unwrap().permissions().mode() & 0o777, 0o600, "{}", key.display());
    }
}

#[test]
fn a_second_start_changes_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let first = ensure(directory.path(), ["api.example.com"], NOW).unwrap();
    let before = contents(&first);
    let second = ensure(directory.path(), ["api.example.com"], NOW.plus(300 * DAY)).unwrap();
    assert_eq!(contents(&second), before);
    assert!(first.root_is_new && !second.root_is_new);
}

#[test]
fn a_certificate_about_to_expire_is_issued_again_under_the_same_root() {
    let directory = tempfile::tempdir().unwrap();
    let before = contents(&ensure(directory.path(), [""; 0], NOW).unwrap());
    let later = NOW.plus((HOST_DAYS - RENEW_DAYS + 1) * DAY);
    let authority = ensure(directory.path(), [""; 0], later).unwrap();
    let after = contents(&authority);
    assert_eq!(before[0], after[0]);
    assert_ne!(before[2], after[2]);
    assert_eq!(verify(&authority, "localhost", later.plus(300 * DAY)), Ok(()));
}

#[test]
fn a_root_about_to_expire_is_replaced_and_everything_under_it() {
    let directory = tempfile::tempdir().unwrap();
    ensure(directory.path(), [""; 0], NOW).unwrap();
    let later = NOW.plus((ROOT_DAYS - RENEW_DAYS + 1) * DAY);
    let authority = ensure(directory.path(), [""; 0], later).unwrap();
    assert!(authority.root_is_new);
    assert_eq!(verify(&authority, "localhost", later), Ok(()));
}

#[test]
fn a_host_more_is_covered_and_a_host_less_is_not() {
    let directory = tempfile::tempdir().unwrap();
    ensure(directory.path(), ["a.example.com"], NOW).unwrap();
    let both = ensure(directory.path(), ["a.example.com", "b.example.org"], NOW).unwrap();
    assert_eq!(verify(&both, "b.example.org", NOW), Ok(()));
    let fewer = ensure(directory.path(), ["b.example.org"], NOW).unwrap();
    assert!(!fewer.root_is_new, "a root may sign for fewer than it was made for");
    assert!(verify(&fewer, "a.example.com", NOW).is_err());
}

#[test]
fn a_root_is_of_no_use_for_names_it_was_not_made_for_rfc5280_4_2_1_10() {
    let directory = tempfile::tempdir().unwrap();
    let authority = ensure(directory.path(), ["api.example.com"], NOW).unwrap();
    let stolen = KeyPair::from_pem(&fs::read_to_string(authority.root.with_extension("key")).unwrap()).unwrap();
    let now = OffsetDateTime::from_unix_timestamp(NOW.0).unwrap();
    let foreign = BTreeSet::from([Name::Dns("bank.example".to_owned())]);
    make_host(&authority.host, &foreign, &stolen, now).unwrap();
    assert!(verify(&authority, "bank.example", NOW).is_err());
}

#[test]
fn a_damaged_file_or_a_foreign_key_is_replaced() {
    for (file, text) in [
        ("localhost.pem", "nonsense".to_owned()),
        ("localhost.key", KeyPair::generate().unwrap().serialize_pem()),
        ("dev-ca.pem", "nonsense".to_owned()),
        ("dev-ca.key", KeyPair::generate().unwrap().serialize_pem()),
    ] {
        let directory = tempfile::tempdir().unwrap();
        ensure(directory.path(), [""; 0], NOW).unwrap();
        fs::write(directory.path().join(file), text).unwrap();
        let authority = ensure(directory.path(), [""; 0], NOW).unwrap();
        assert_eq!(verify(&authority, "localhost", NOW), Ok(()), "{file}");
    }
}

#[test]
fn a_directory_that_cannot_be_written_is_a_clear_error() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("certs");
    fs::write(&file, "").unwrap();
    let error = ensure(&file, [""; 0], NOW).unwrap_err().to_string();
    assert!(error.starts_with("cannot create `") && error.contains("certs`: "), "{error}");
}

#[test]
fn hosts_that_no_certificate_can_name_are_left_out() {
    for host in ["*", "{tenant}", "", "a..b", "-\u{e9}-.example.com", "a b"] {
        assert_eq!(Name::of_host(host), None, "{host}");
    }
    assert_eq!(Name::of_host("{t}.Example.com"), Some(Name::Dns("*.example.com".to_owned())));
    assert_eq!(Name::of_host("[::1]"), Some(Name::Address(IpAddr::V6(Ipv6Addr::LOCALHOST))));
}
