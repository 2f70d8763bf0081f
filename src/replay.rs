//! Requests of the past, decided again: what `torwart replay` and `torwart explain REQUEST-ID` do.
//!
//! [`record`] makes a request and a principal out of an audit record, [`Judge`] decides them with the policies that are
//! loaded and says whether that changes anything, [`audit`] does so for whole files on every core. [`access`] takes access
//! logs of other servers instead, which know no principal.

pub mod access;
pub mod audit;
mod judge;
mod lines;
pub mod record;
pub mod search;
mod tally;

pub use judge::{Judge, Judgement, Outcome};
pub use lines::ReadError;
pub use tally::{Change, Group, Tally};
