//! Reading a body that policy asks about: at most `limits.inspected_body` of one request, and of all requests together
//! no more than `limits.inspected_total`.
//!
//! Memory is reserved before it is used, and given back when the last byte has been handed to the upstream's connection
//! or nobody wants it any more. What policy was asked about is what is forwarded.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use http::HeaderMap;
use http_body_util::BodyExt as _;
use hyper::body::{Body as _, Incoming};
use tokio::time::timeout;

use crate::config::Limits;
use crate::policy::Unread;
use crate::response::Refusal;
use crate::upstream::{ClientBody, Failure};

/// What is reserved first for a body of unknown length, and how much more each time that is full. Few steps, so that
/// little is copied; large ones, because memory that was not written to takes no place yet.
const FIRST: usize = 16 * 1024;
const GROWTH: usize = 8;

/// Bytes of bodies that are held at this moment, over all workers.
#[derive(Debug, Default)]
pub(crate) struct Budget(AtomicUsize);

/// Some of the budget.
#[derive(Debug)]
struct Share {
    budget: Arc<Budget>,
    bytes: usize,
}

impl Share {
    /// Takes more, unless all would exceed `total`.
    fn take(&mut self, bytes: usize, total: usize) -> Result<(), Unread> {
        let add = |taken: usize| taken.checked_add(bytes).filter(|sum| *sum <= total);
        let taken = self.budget.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, add);
        taken.map_err(|_| Unread::Exhausted)?;
        self.bytes += bytes;
        Ok(())
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.budget.0.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

/// Bytes together with the place that they take.
#[derive(Debug)]
struct Kept {
    bytes: Vec<u8>,
    share: Share,
}

impl AsRef<[u8]> for Kept {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Kept {
    /// Makes room for more. While the few bytes of the old place are copied, the rest of the new one is untouched.
    fn grow(&mut self, capacity: usize, total: usize) -> Result<(), Unread> {
        self.share.take(capacity.saturating_sub(self.share.bytes), total)?;
        self.bytes.reserve_exact(capacity.saturating_sub(self.bytes.len()));
        Ok(())
    }

    /// Adds a piece, within `limits`.
    fn push(&mut self, piece: &[u8], limits: &Limits) -> Result<(), Unread> {
        let length = self.bytes.len().saturating_add(piece.len());
        if length > limits.inspected_body {
            return Err(Unread::TooLarge);
        }
        let mut capacity = self.share.bytes.max(FIRST);
        while capacity < length {
            capacity = capacity.saturating_mul(GROWTH);
        }
        if self.share.bytes < length {
            self.grow(capacity.min(limits.inspected_body), limits.inspected_total)?;
        }
        self.bytes.extend_from_slice(piece);
        Ok(())
    }
}

/// A body after the attempt to read it.
#[derive(Debug)]
pub(super) enum Inspected {
    /// All of it, and its trailers.
    Whole(Bytes, Option<HeaderMap>),
    /// It was not read to its end: here is what was, followed by the rest.
    Unread(Unread, ClientBody),
}

/// Reads a body to its end, as far as there is room. The client is told to go on (`100-continue`) by the first attempt
/// to read.
///
/// # Errors
/// 408 for a client that is silent for `limits.body_idle_timeout`, 400 for a body that breaks off.
pub(super) async fn read(mut body: Incoming, limits: &Limits, budget: &Arc<Budget>) -> Result<Inspected, Refusal> {
    let mut kept = Kept { bytes: Vec::new(), share: Share { budget: Arc::clone(budget), bytes: 0 } };
    // An announced length decides before anything is read, and is reserved at once: who begins can also end.
    if let Some(length) = body.size_hint().exact() {
        let length = usize::try_from(length).unwrap_or(usize::MAX);
        let room = if length > limits.inspected_body {
            Err(Unread::TooLarge)
        } else {
            kept.grow(length, limits.inspected_total)
        };
        if let Err(why) = room {
            return Ok(Inspected::Unread(why, ClientBody::Incoming(body)));
        }
    }
    let mut trailers = None;
    loop {
        let next = timeout(limits.body_idle_timeout, body.frame()).await;
        let next = next.map_err(|_| Refusal::Upstream(Failure::RequestIdle(limits.body_idle_timeout)))?;
        let Some(frame) = next else {
            return Ok(Inspected::Whole(Bytes::from_owner(kept), trailers));
        };
        match frame.map_err(|_| Refusal::Upstream(Failure::RequestBroken))?.into_data() {
            Ok(piece) => {
                if let Err(why) = kept.push(&piece, limits) {
                    let begun = [Bytes::from_owner(kept), piece];
                    return Ok(Inspected::Unread(why, ClientBody::begun(begun, body)));
                }
            }
            Err(frame) => trailers = frame.into_trailers().ok().or(trailers),
        }
    }
}

/// Whether a body is announced to be empty and has not ended: data may follow all the same, against RFC 9113 section 8.1.1.
pub(super) fn is_empty_so_far(body: &Incoming) -> bool {
    body.size_hint().exact() == Some(0) && !body.is_end_stream()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Limits;

    fn kept(budget: &Arc<Budget>) -> Kept {
        Kept { bytes: Vec::new(), share: Share { budget: Arc::clone(budget), bytes: 0 } }
    }

    fn limits(body: usize, total: usize) -> Limits {
        Limits { inspected_body: body, inspected_total: total, ..crate::gateway::framing::tests::limits() }
    }

    #[test]
    fn what_is_held_of_a_body_is_reserved_and_never_more_than_the_limit() {
        let (budget, limits) = (Arc::new(Budget::default()), limits(1 << 20, 64 << 20));
        let mut body = kept(&budget);
        let refused = loop {
            if let Err(why) = body.push(&[b' '; 1000], &limits) {
                break why;
            }
            assert!(body.bytes.capacity() <= body.share.bytes, "everything held is reserved");
            assert!(budget.0.load(Ordering::Relaxed) <= 1 << 20, "and never more than the limit");
        };
        assert_eq!(refused, Unread::TooLarge);
        assert!(body.bytes.len() <= 1 << 20 && body.bytes.capacity() == 1 << 20);
        drop(body);
        assert_eq!(budget.0.load(Ordering::Relaxed), 0, "everything is given back");
    }

    #[test]
    fn all_bodies_together_stay_within_the_total() {
        let (budget, limits) = (Arc::new(Budget::default()), limits(64 * 1024, 100 * 1024));
        let (mut first, mut second) = (kept(&budget), kept(&budget));
        assert_eq!(first.grow(64 * 1024, limits.inspected_total), Ok(()));
        assert_eq!(second.grow(64 * 1024, limits.inspected_total), Err(Unread::Exhausted));
        assert_eq!(second.push(&[0; 16 * 1024], &limits), Ok(()));
        assert_eq!(second.push(&[0; 1], &limits), Err(Unread::Exhausted));
        assert_eq!(second.bytes.len(), 16 * 1024, "what was read stays");
        assert!(budget.0.load(Ordering::Relaxed) <= limits.inspected_total);
        drop(first);
        assert_eq!(second.push(&[0; 1], &limits), Ok(()));
        let bytes = Bytes::from_owner(second);
        let part = bytes.slice(1..2);
        drop(bytes);
        assert_eq!(budget.0.load(Ordering::Relaxed), 64 * 1024, "a part keeps the whole");
        drop(part);
        assert_eq!(budget.0.load(Ordering::Relaxed), 0);
    }
}
