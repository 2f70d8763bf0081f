//! Revocations for people: page by page, and by name.

use std::collections::BTreeMap;

use super::target::Id;
use super::{Revocation, Revocations, revocation_of};
use crate::clock::Timestamp;

/// Some of the revocations, the newest first.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Page {
    /// In their order.
    pub revocations: Vec<Revocation>,
    /// How many there are in all.
    pub total: usize,
    /// Where the next page begins, if there is one.
    pub next: Option<Place>,
}

/// A place in the list of all revocations.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// When the last one before it was revoked, in seconds.
    pub at: i64,
    /// The first half of its name.
    pub half: u64,
}

impl Revocations {
    /// The newest revocations behind a place, at most so many. One that ended is not shown.
    pub fn list(&self, most: usize, after: Option<Place>, now: Timestamp) -> Page {
        let mut chosen = BTreeMap::new();
        let mut see = |place: Place, until: Timestamp, make: &dyn Fn() -> Option<Revocation>| {
            let beyond = after.is_some_and(|after| place >= after) || until <= now;
            let crowded = || chosen.len() > most && chosen.first_key_value().is_some_and(|(least, _)| place < *least);
            if beyond || crowded() {
                return;
            }
            chosen.extend(make().map(|revocation| (place, revocation)));
            // One more than asked for tells that there is a next page.
            if chosen.len() > most + 1 {
                chosen.pop_first();
            }
        };
        let marks = self.marks().clone();
        self.table.each(|entry| {
            let place = Place { at: entry.at.0, half: entry.id };
            see(place, entry.until, &|| revocation_of(marks.get(entry.issuer as usize)?, entry));
        });
        for mark in &marks {
            for before in mark.before.load().iter() {
                let revocation = before.revocation(mark);
                let place = Place { at: before.at.0, half: revocation.id.half() };
                see(place, before.until, &|| Some(revocation.clone()));
            }
        }
        let more = chosen.len() > most;
        if more {
            chosen.pop_first();
        }
        let next = chosen.first_key_value().map(|(place, _)| *place).filter(|_| more);
        Page { revocations: chosen.into_values().rev().collect(), total: self.len(), next }
    }

    /// The revocation of this name.
    pub(super) fn by_id(&self, id: &Id) -> Option<Revocation> {
        let marks = self.marks().clone();
        let mut found = None;
        self.table.each(|entry| {
            if entry.id == id.half() {
                let revocation = marks.get(entry.issuer as usize).and_then(|mark| revocation_of(mark, entry));
                found = found.take().or(revocation.filter(|revocation| revocation.id == *id));
            }
        });
        let before = marks.iter().flat_map(|mark| {
            let before = mark.before.load();
            before.iter().map(|before| before.revocation(mark)).collect::<Vec<_>>()
        });
        found.or_else(|| before.into_iter().find(|revocation| revocation.id == *id))
    }
}
