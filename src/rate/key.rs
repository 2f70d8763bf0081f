//! Whose requests are counted together.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::net::IpAddr;

use crate::policy::Per;
use crate::principal::Principal;
use crate::target::fold::fold_letter;

/// Who sent a request.
#[derive(Debug, Clone, Copy)]
pub struct Sender<'s> {
    /// What authentication established; nobody before it, and where no token is read.
    pub principal: Option<&'s Principal>,
    /// The client's address; absent when it is unknown.
    pub address: Option<IpAddr>,
}

/// Makes keys: 64 bits under a secret of this process, so that nobody can choose names that collide. Should two ever
/// do, they are counted as one.
#[derive(Debug, Default)]
pub(super) struct Keys(RandomState);

impl Keys {
    /// The key of a sender. Names are told apart by issuer, and as the issuer says they are compared. Who has no such
    /// name is counted by address, and everybody whose address is unknown as one.
    pub(super) fn key(&self, per: Per, sender: &Sender<'_>) -> u64 {
        let mut hasher = self.0.build_hasher();
        let principal = sender.principal;
        let named = match per {
            Per::Client => principal.and_then(|one| Some((one, one.client.as_deref()?, one.issuer.client_folds))),
            Per::Subject => principal.and_then(|one| Some((one, one.subject.as_deref()?, one.issuer.subject_folds))),
            Per::Issuer => principal.map(|one| (one, "", false)),
            Per::Address => None,
        };
        match (named, sender.address) {
            (Some((principal, name, folds)), _) => {
                hasher.write_u8(1);
                hasher.write(principal.issuer.name.as_bytes());
                hasher.write_u8(0xff);
                for letter in name.chars() {
                    hasher.write_u32(u32::from(if folds { fold_letter(letter) } else { letter }));
                }
            }
            (None, Some(address)) => {
                hasher.write_u8(2);
                hasher.write_u64(network(address));
            }
            (None, None) => hasher.write_u8(3),
        }
        hasher.finish()
    }
}

/// An address as far as it says who somebody is: of IPv6 the first 64 bits, since the others are the client's own to
/// choose (RFC 4291 section 2.5.4).
fn network(address: IpAddr) -> u64 {
    match address.to_canonical() {
        IpAddr::V4(address) => u64::from(address.to_bits()),
        IpAddr::V6(address) => u64::try_from(address.to_bits() >> 64).unwrap_or(u64::MAX),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::principal::{Flow, IssuerId, IssuerIdentity};

    fn principal(issuer: &str, folds: bool, subject: Option<&str>, client: Option<&str>) -> Principal {
        let issuer = IssuerIdentity { subject_folds: folds, ..IssuerIdentity::named(IssuerId(0), issuer) };
        Principal {
            subject: subject.map(str::to_owned),
            client: client.map(str::to_owned),
            flow: Flow::User,
            ..Principal::of(Arc::new(issuer))
        }
    }

    fn same(per: Per, left: (&Principal, &str), right: (&Principal, &str)) -> bool {
        let keys = Keys::default();
        let key = |(principal, address): (&Principal, &str)| {
            keys.key(per, &Sender { principal: Some(principal), address: address.parse().ok() })
        };
        key(left) == key(right)
    }

    #[test]
    fn names_are_told_apart_by_issuer() {
        let one = principal("one", false, Some("a"), Some("app"));
        let two = principal("two", false, Some("a"), Some("app"));
        for per in [Per::Client, Per::Subject, Per::Issuer] {
            assert!(same(per, (&one, "192.0.2.1"), (&one, "192.0.2.2")));
            assert!(!same(per, (&one, "192.0.2.1"), (&two, "192.0.2.1")));
        }
        let shifted = principal("onea", false, Some(""), None);
        assert!(!same(Per::Subject, (&one, ""), (&shifted, "")));
    }

    #[test]
    fn names_are_compared_as_their_issuer_says() {
        let (upper, lower) = (principal("i", false, Some("A"), None), principal("i", false, Some("a"), None));
        assert!(!same(Per::Subject, (&upper, ""), (&lower, "")));
        let (upper, lower) = (principal("i", true, Some("ÄB"), None), principal("i", true, Some("äb"), None));
        assert!(same(Per::Subject, (&upper, ""), (&lower, "")));
    }

    #[test]
    fn who_has_no_such_name_is_counted_by_address() {
        let nameless = principal("i", false, None, None);
        for per in [Per::Client, Per::Subject] {
            assert!(same(per, (&nameless, "192.0.2.1"), (&nameless, "::ffff:192.0.2.1")));
            assert!(!same(per, (&nameless, "192.0.2.1"), (&nameless, "192.0.2.2")));
            assert!(same(per, (&nameless, ""), (&nameless, "unknown")), "all of unknown address are one");
        }
        let named = principal("i", false, Some("a"), Some("app"));
        assert!(same(Per::Address, (&named, "192.0.2.1"), (&nameless, "192.0.2.1")));
    }

    #[test]
    fn an_ipv6_network_is_one_sender() {
        let nobody = principal("i", false, None, None);
        assert!(same(Per::Address, (&nobody, "2001:db8::1"), (&nobody, "2001:db8::ffff:0:0:2")));
        assert!(!same(Per::Address, (&nobody, "2001:db8::1"), (&nobody, "2001:db8:0:1::1")));
    }
}
