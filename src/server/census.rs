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
    /// Whose share it counts for, once that is known.
    address: Option<IpAddr>,
}

impl Census {
    /// A place among `all`; `None` where there is none.
    pub(super) fn admit(self: &Arc<Self>, all: usize) -> Option<Place> {
        if self.open.fetch_add(1, Ordering::AcqRel) >= all {
            self.open.fetch_sub(1, Ordering::AcqRel);
            return None;
        }
        Some(Place { census: Arc::clone(self), address: None })
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

impl Place {
    /// Counts the place for this address. `false`, and nothing is counted: the address has its `share` already.
    #[must_use]
    pub(super) fn count(&mut self, address: IpAddr, share: usize) -> bool {
        let mut by_address = self.census.by_address();
        let count = by_address.entry(address).or_insert(0);
        if *count >= share {
            if *count == 0 {
                by_address.remove(&address);
            }
            return false;
        }
        *count += 1;
        drop(by_address);
        self.uncount();
        self.address = Some(address);
        true
    }

    fn uncount(&mut self) {
        let Some(address) = self.address.take() else { return };
        if let Entry::Occupied(mut entry) = self.census.by_address().entry(address) {
            *entry.get_mut() -= 1;
            if *entry.get() == 0 {
                entry.remove();
            }
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.census.open.fetch_sub(1, Ordering::AcqRel);
        self.uncount();
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
        let mut places: Vec<Place> = (0..4).map(|_| census.admit(10).unwrap()).collect();
        assert!(places[0].count(ONE, 2) && places[1].count(ONE, 2));
        assert!(!places[2].count(ONE, 2));
        assert!(places[3].count(TWO, 2));
        places.remove(0);
        assert!(places[1].count(ONE, 2), "a place was given back");
        assert!(places[1].count(TWO, 2), "it moves to another address");
        let by_address = census.by_address();
        assert_eq!((by_address[&ONE], by_address[&TWO]), (1, 2));
        drop(by_address);
    }

    #[test]
    fn a_full_house_admits_nobody_until_somebody_leaves() {
        let census = Arc::new(Census::default());
        let mut only = census.admit(1).unwrap();
        assert!(only.count(ONE, 9) && !only.count(TWO, 0));
        assert!(census.admit(1).is_none());
        assert_eq!(census.open(), 1);
        drop(only);
        assert_eq!(census.open(), 0);
        assert!(census.by_address().is_empty());
        assert!(census.admit(1).is_some());
    }
}
