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

/// Thousandths of the memory from which on requests are refused.
const SCARCE: u32 = 850;
/// Thousandths from which on connections are, too.
const EXHAUSTED: u32 = 950;
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
        let most = if self.0.memory() >= SCARCE { all.min(ALWAYS) } else { all };
        (before < most).then_some(room)
    }

    /// Whether memory allows another connection beside those that are open.
    pub(super) fn takes_connections(&self, open: usize) -> bool {
        self.0.memory() < EXHAUSTED || open <= ALWAYS
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

    fn load(memory: u32) -> Rc<Load> {
        let metrics = Arc::new(LoadMetrics::default());
        metrics.set_memory(memory);
        Rc::new(Load::new(metrics))
    }

    #[test]
    fn there_is_room_for_so_many_until_one_ends() {
        let load = load(SCARCE - 1);
        let rooms: Vec<_> = std::iter::from_fn(|| load.admit(100)).collect();
        assert_eq!((rooms.len(), load.0.requests()), (100, 100));
        drop(rooms);
        assert_eq!(load.0.requests(), 0);
        assert!(load.admit(100).is_some());
    }

    #[test]
    fn where_memory_is_scarce_a_few_are_let_in_and_those_inside_stay() {
        let load = load(0);
        let rooms: Vec<_> = (0..50).map(|_| load.admit(100).unwrap()).collect();
        load.0.set_memory(SCARCE);
        assert!(load.admit(100).is_none() && load.takes_connections(1000));
        assert_eq!(load.0.requests(), 50);
        drop(rooms);
        assert_eq!(std::iter::from_fn(|| load.admit(100)).take(1000).collect::<Vec<_>>().len(), ALWAYS);
        assert_eq!(std::iter::from_fn(|| load.admit(3)).take(1000).collect::<Vec<_>>().len(), 3);
        load.0.set_memory(EXHAUSTED);
        assert!(!load.takes_connections(ALWAYS + 1) && load.takes_connections(ALWAYS));
    }
}
