//! All members of an upstream, and which of them gets the next request.

use std::cell::Cell;
use std::hash::{BuildHasher as _, Hasher as _, RandomState};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arc_swap::{ArcSwap, Guard};
use smallvec::{SmallVec, smallvec};

use super::endpoint::{Address, Endpoint};
use super::member::{Member, Place};
use super::moment;
use super::resolve::{Lookup, Unanswered};
use crate::config::Balance;

/// See the module's description.
#[derive(Debug)]
pub(super) struct Members {
    seats: ArcSwap<Vec<Seat>>,
    /// Whose turn it is.
    turn: AtomicUsize,
    /// Held while names are asked for.
    pub(super) resolving: tokio::sync::Mutex<()>,
    unanswered: Mutex<Unanswered>,
    pub(super) lookup: Lookup,
    /// Held while somebody is ejected or moves in or out, so that two threads never do it at once.
    changing: Mutex<()>,
}

/// A member, and the mark of being one: pools of what is none any more are closed.
#[derive(Debug, Clone)]
pub(super) struct Seat {
    pub(super) member: Arc<Member>,
    pub(super) in_force: Arc<()>,
}

impl Seat {
    fn new(endpoint: &Arc<Endpoint>, place: Place) -> Self {
        Self { member: Arc::new(Member::new(endpoint, place)), in_force: Arc::new(()) }
    }
}

impl Members {
    /// The members whose addresses are known without asking anybody.
    pub(super) fn new(endpoints: &[Arc<Endpoint>], lookup: Lookup) -> Self {
        let fixed = endpoints.iter().filter_map(|endpoint| match &endpoint.address {
            Address::Name(..) => None,
            Address::Fixed(address) => Some(Seat::new(endpoint, Place::Tcp(smallvec![*address]))),
            Address::Unix(path) => Some(Seat::new(endpoint, Place::Unix(Arc::clone(path)))),
        });
        Self {
            seats: ArcSwap::from_pointee(fixed.collect()),
            turn: AtomicUsize::new(0),
            resolving: tokio::sync::Mutex::new(()),
            unanswered: Mutex::default(),
            lookup,
            changing: Mutex::new(()),
        }
    }

    /// All of them.
    pub(super) fn seats(&self) -> Guard<Arc<Vec<Seat>>> {
        self.seats.load()
    }

    /// Whether no name has been answered, and there is nothing but names.
    pub(super) fn is_empty(&self) -> bool {
        self.seats().is_empty()
    }

    /// Why names have no answer.
    pub(super) fn unanswered(&self) -> MutexGuard<'_, Unanswered> {
        // Replaced in one piece, so a panic elsewhere does not spoil it.
        self.unanswered.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets an endpoint have these addresses and no others. Who was there before stays as it is.
    pub(super) fn adopt(&self, endpoint: &Arc<Endpoint>, addresses: &[SocketAddr]) {
        let _alone = self.changing();
        let seats = self.seats();
        let own = |seat: &&Seat| Arc::ptr_eq(&seat.member.endpoint, endpoint);
        let wanted = places(addresses);
        let before: Vec<_> = seats.iter().filter(own).map(|seat| seat.member.place.clone()).collect();
        if before == wanted {
            return;
        }
        let kept = |place: Place| {
            let known = seats.iter().filter(own).find(|seat| seat.member.place == place);
            known.cloned().unwrap_or_else(|| Seat::new(endpoint, place))
        };
        let others = seats.iter().filter(|seat| !own(seat)).cloned();
        let next: Vec<_> = others.chain(wanted.into_iter().map(kept)).collect();
        self.seats.store(Arc::new(next));
    }

    /// Ejects a member, unless no fit one would be left.
    pub(super) fn eject(&self, member: &Member) {
        let _alone = self.changing();
        let others = |seat: &Seat| seat.member.id != member.id && seat.member.is_fit();
        let now = moment::now();
        if member.outlier.is_out(|| now) || !self.seats().iter().any(others) {
            return;
        }
        let long = member.outlier.eject(now);
        tracing::warn!(endpoint = %member.endpoint.name, address = %member.name, seconds = long.as_secs(), "an endpoint fails again and again, it gets no requests for a while");
    }

    /// Who gets the next request; `tried` are those that have failed to answer it. At first, those that are ejected are
    /// asked when nobody else is left: ejection alone makes nobody unavailable.
    pub(super) fn choose<'s>(&self, seats: &'s [Seat], balance: Balance, tried: &[u64]) -> Option<&'s Seat> {
        if let [only] = seats {
            return (tried.is_empty() && only.member.is_healthy()).then_some(only);
        }
        let untried = seats.iter().filter(|seat| !tried.contains(&seat.member.id));
        let mut open: SmallVec<[&Seat; 8]> = untried.filter(|seat| seat.member.is_fit()).collect();
        if open.is_empty() && tried.is_empty() {
            open = seats.iter().filter(|seat| seat.member.is_healthy()).collect();
        }
        match balance {
            Balance::RoundRobin => {
                // What is sent again takes no turn, or two endpoints would always be asked in the same order.
                let step = usize::from(tried.is_empty());
                let turn = self.turn.fetch_add(step, Ordering::Relaxed);
                open.get(turn.checked_rem(open.len())?).copied()
            }
            Balance::RandomTwoLeastRequests => less_busy(&open),
        }
    }

    fn changing(&self) -> MutexGuard<'_, ()> {
        self.changing.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The less busy of two drawn at random.
fn less_busy<'s>(seats: &[&'s Seat]) -> Option<&'s Seat> {
    let (first, second) = match seats.len() {
        0 => return None,
        1 => (0, 0),
        count => {
            let first = draw(count);
            // One of the others, each as likely as any other.
            let second = draw(count - 1);
            (first, if second < first { second } else { second + 1 })
        }
    };
    let (first, second) = (seats.get(first)?, seats.get(second)?);
    Some(if second.member.under_way() < first.member.under_way() { second } else { first })
}

/// A number below `count`. Nothing depends on its being secret: `SplitMix64` (Steele, Lea and Flood 2014).
fn draw(count: usize) -> usize {
    thread_local! {
        static STATE: Cell<u64> = Cell::new(RandomState::new().build_hasher().finish());
    }
    let state = STATE.get().wrapping_add(0x9e37_79b9_7f4a_7c15);
    STATE.set(state);
    let mixed = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    let mixed = mixed ^ (mixed >> 31);
    let below = u128::from(mixed) * u128::try_from(count).unwrap_or(0);
    usize::try_from(below >> 64).unwrap_or(0)
}

/// One place for each address. Those of this machine itself are one, since `localhost` is both its families and seldom
/// more than one of them is listened on.
fn places(addresses: &[SocketAddr]) -> Vec<Place> {
    let (mut own, mut others): (SmallVec<[SocketAddr; 2]>, Vec<SocketAddr>) = (SmallVec::new(), Vec::new());
    for address in addresses {
        if !address.ip().to_canonical().is_loopback() {
            others.push(*address);
        } else if !own.contains(address) {
            own.push(*address);
        }
    }
    others.sort_unstable();
    others.dedup();
    let own = (!own.is_empty()).then_some(Place::Tcp(own));
    own.into_iter().chain(others.into_iter().map(|address| Place::Tcp(smallvec![address]))).collect()
}

#[cfg(test)]
mod tests;
