//! What a connection tells: addresses and names of certificates that have to be told apart.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;

use super::axis::{Kind, Mark};

/// Names of certificates of which every subset is tried.
const MOST_SUBSETS: usize = 6;

/// Sets of names of a kind in a certificate.
pub(super) fn certificate_names(kind: Kind, names: &BTreeSet<String>, gaps: &mut Vec<String>) -> Vec<Mark> {
    let other = "another.example".to_owned();
    let mut all: Vec<String> = vec![other];
    all.extend(names.iter().cloned());
    if kind == Kind::Subject {
        return all.into_iter().map(|name| Mark::Names(vec![name])).collect();
    }
    if all.len() > MOST_SUBSETS {
        gaps.push("many names of certificates are compared".to_owned());
    }
    let few: Vec<&String> = all.iter().take(MOST_SUBSETS).collect();
    let subsets = (0..1_usize << few.len()).map(|subset| {
        let chosen = few.iter().enumerate().filter(|(at, _)| subset >> at & 1 == 1);
        Mark::Names(chosen.map(|(_, name)| (*name).clone()).collect())
    });
    subsets.chain(all.iter().map(|name| Mark::Names(vec![name.clone()]))).collect()
}

/// One address of every set that the networks cut the addresses into, and none.
pub(super) fn addresses(networks: &[IpNet]) -> Vec<Mark> {
    let mut candidates =
        vec![IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1)), IpAddr::V6(Ipv6Addr::from(0x2001_0db8_u128 << 96 | 1))];
    for network in networks {
        let (first, last) = (network.network(), network.broadcast());
        candidates
            .extend([Some(first), Some(last), neighbour(first, false), neighbour(last, true)].into_iter().flatten());
    }
    let mut seen: BTreeMap<Vec<bool>, IpAddr> = BTreeMap::new();
    for address in candidates {
        seen.entry(networks.iter().map(|network| network.contains(&address)).collect()).or_insert(address);
    }
    seen.into_values().map(|address| Mark::Address(Some(address))).chain([Mark::Address(None)]).collect()
}

fn neighbour(address: IpAddr, above: bool) -> Option<IpAddr> {
    match address {
        IpAddr::V4(address) => {
            let bits = u32::from(address);
            let next = if above { bits.checked_add(1) } else { bits.checked_sub(1) };
            next.map(|bits| Ipv4Addr::from(bits).into())
        }
        IpAddr::V6(address) => {
            let bits = u128::from(address);
            let next = if above { bits.checked_add(1) } else { bits.checked_sub(1) };
            next.map(|bits| Ipv6Addr::from(bits).into())
        }
    }
}

#[cfg(test)]
mod tests;
