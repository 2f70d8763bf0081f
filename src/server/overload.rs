//! When there is too much to do: who is still let in, so that those who were go on.
//!
//! Requests under way are counted over all workers. There may be as many as connections, so that connections of HTTP/2 do
//! not multiply what `limits.connections` says. Where memory runs short, fewer are let in, yet always a few: an
//! allocator may keep what it once had, and a gateway that refuses everybody would never find out that it can serve.

use std::cell::OnceCell;
use std::rc::Rc;
use std::sync::Arc;

use super::pulse::Busy;
use crate::telemetry::metrics::LoadMetrics;

/// Requests, and connections, that are served however scarce memory is.
const ALWAYS: usize = 16;

/// What one worker knows of the load on all of them.
#[derive(Debug)]
pub(crate) struct Load(Arc<LoadMetrics>);

/// What a request takes of its connection and of the whole gateway, as long as anything of it goes on.
#[derive(Debug)]
pub(crate) struct Occupied {
    _busy: Busy,
    load: Rc<Load>,
    room: OnceCell<Room>,
}

/// There is too much to do already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct NoRoom;

/// One request under way. Dropping it counts it out.
#[derive(Debug)]
struct Room(Rc<Load>);

impl Occupied {
    /// A request that keeps its connection busy, and is not counted yet.
    pub(crate) fn new(busy: Busy, load: &Rc<Load>) -> Self {
        Self { _busy: busy, load: Rc::clone(load), room: OnceCell::new() }
    }

    /// Counts the request among those under way, of which there may be `all`.
    ///
    /// # Errors
    /// There are as many, or too little memory is left.
    pub(crate) fn find_room(&self, all: usize) -> Result<(), NoRoom> {
        let room = self.load.admit(all).ok_or(NoRoom)?;
        // It is asked for once.
        self.room.get_or_init(|| room);
        Ok(())
    }
}

impl Load {
    pub(super) fn new(metrics: Arc<LoadMetrics>) -> Self {
        Self(metrics)
    }

    /// Room for a request among `all`; `None` where there is none.
    fn admit(self: &Rc<Self>, all: usize) -> Option<Room> {
        let before = self.0.begin_request();
        // Counted before it is known to be one: dropping it takes that back.
        let room = Room(Rc::clone(self));
        (before < all.min(self.0.most_requests().max(ALWAYS))).then_some(room)
    }

    /// Whether memory allows so many connections.
    pub(super) fn takes_connections(&self, open: usize) -> bool {
        open <= self.0.most_connections().max(ALWAYS)
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        self.0.0.end_request();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load() -> Rc<Load> {
        Rc::new(Load::new(Arc::default()))
    }

    fn admitted(load: &Rc<Load>, all: usize) -> Vec<Room> {
        std::iter::from_fn(|| load.admit(all)).take(1000).collect()
    }

    #[test]
    fn there_is_room_for_so_many_until_one_ends() {
        let load = load();
        let rooms = admitted(&load, 100);
        assert_eq!((rooms.len(), load.0.requests()), (100, 100));
        drop(rooms);
        assert_eq!(load.0.requests(), 0);
        assert!(load.admit(100).is_some());
    }

    #[test]
    fn where_memory_is_short_fewer_are_let_in_and_those_inside_stay() {
        let load = load();
        load.0.set_memory(700, [50, 2000]);
        let rooms = admitted(&load, 100);
        assert_eq!(rooms.len(), 50);
        load.0.set_memory(850, [0, 2000]);
        assert!(load.admit(100).is_none() && load.takes_connections(1000));
        assert_eq!(load.0.requests(), 50);
        drop(rooms);
        assert_eq!(admitted(&load, 100).len(), ALWAYS);
        assert_eq!(admitted(&load, 3).len(), 3);
        load.0.set_memory(900, [0, 20]);
        assert!(!load.takes_connections(21) && load.takes_connections(20));
        load.0.set_memory(950, [0, 0]);
        assert!(!load.takes_connections(ALWAYS + 1) && load.takes_connections(ALWAYS));
    }
}
