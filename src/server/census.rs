//! How many connections are open, altogether and per client address (`limits.connections`,
//! `limits.connections_per_address`), over all workers.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::net::IpAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The connections that are open.
#[derive(Debug, Default)]
pub(super) struct Census {
    open: AtomicUsize,
    by_address: Mutex<HashMap<IpAddr, usize>>,
}

/// One connection's place. Dropping it gives the place back.
#[derive(Debug)]
pub(super) struct Place {
    census: Arc<Census>,
    address: IpAddr,
}

/// How many places there are.
#[derive(Debug, Clone, Copy)]
pub(super) struct Places {
    /// For everybody together.
    pub(super) all: usize,
    /// For one address.
    pub(super) per_address: usize,
}

impl Census {
    /// A place for a connection from this address; the limit that is reached where there is none.
    pub(super) fn admit(self: &Arc<Self>, address: IpAddr, places: Places) -> Result<Place, &'static str> {
        if self.open.fetch_add(1, Ordering::AcqRel) >= places.all {
            self.open.fetch_sub(1, Ordering::AcqRel);
            return Err("connections");
        }
        let mut by_address = self.by_address();
        let count = by_address.entry(address).or_insert(0);
        if *count >= places.per_address {
            if *count == 0 {
                by_address.remove(&address);
            }
            self.open.fetch_sub(1, Ordering::AcqRel);
            return Err("connections_per_address");
        }
        *count += 1;
        Ok(Place { census: Arc::clone(self), address })
    }

    /// Connections open at this moment.
    pub(super) fn open(&self) -> usize {
        self.open.load(Ordering::Acquire)
    }

    fn by_address(&self) -> MutexGuard<'_, HashMap<IpAddr, usize>> {
        // Counting cannot leave the map half changed, so a panic elsewhere does not spoil it.
        self.by_address.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.census.open.fetch_sub(1, Ordering::AcqRel);
        if let Entry::Occupied(mut entry) = self.census.by_address().entry(self.address) {
            *entry.get_mut() -= 1;
            if *entry.get() == 0 {
                entry.remove();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1));
    const TWO: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 2));

    #[test]
    fn an_address_gets_no_more_than_its_share_while_others_still_get_in() {
        let census = Arc::new(Census::default());
        let places = Places { all: 10, per_address: 2 };
        let first = census.admit(ONE, places);
        let _second = census.admit(ONE, places).unwrap();
        assert!(census.admit(ONE, places).is_err());
        assert!(census.admit(TWO, places).is_ok());
        drop(first);
        assert!(census.admit(ONE, places).is_ok());
    }

    #[test]
    fn a_full_house_admits_nobody_until_somebody_leaves() {
        let census = Arc::new(Census::default());
        let places = Places { all: 1, per_address: 9 };
        let only = census.admit(ONE, places).unwrap();
        assert!(census.admit(TWO, places).is_err());
        assert_eq!(census.open(), 1);
        drop(only);
        assert_eq!(census.open(), 0);
        assert!(census.by_address().is_empty());
        assert!(census.admit(TWO, places).is_ok());
    }
}
