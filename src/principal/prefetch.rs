//! Asking memory at once for everything that a request is going to want of a remembered principal.
//!
//! Ten thousand principals do not fit a processor's caches. Where each part is read when it is needed, each is waited for
//! by itself; asked for together they all come in the time of one (docs/performance.md, "Remembered tokens").

use std::any::Any;
use std::hint::black_box;
use std::sync::Arc;

use super::{Principal, Texts};

/// Bytes that memory gives at a time, at least.
const LINE: usize = 64;

/// What is worked out from a principal and kept with it.
pub trait Derivation: Any + Send + Sync {
    /// Reads some of everything that requests want of it; what comes of it means nothing.
    fn sample(&self) -> u8;
}

impl Principal {
    /// Has everything that requests want of the principal brought from memory: itself, its texts, and what is derived from
    /// it.
    pub fn prefetch(&self) {
        let Self { subject, client, token_id, permissions, organizations, derived, .. } = self;
        let fields = (self.expires_at, self.authenticated_at, self.token_digest.last(), self.leeway, self.flow);
        let texts = [subject, client, token_id].map(|text| text.as_deref().map_or(0, sample));
        let lists = [permissions, organizations].map(|list| list.as_ref().map_or(0, Texts::sample));
        // The count stands right before what is counted.
        let derived = derived.0.get().map(|derived| (Arc::strong_count(derived), derived.sample()));
        black_box((fields, texts, lists, derived));
    }
}

impl Texts {
    fn sample(&self) -> u8 {
        sample(&*self.0)
    }
}

/// Reads a byte of each line of memory that the text is in.
pub fn sample(text: impl AsRef<[u8]>) -> u8 {
    let bytes = text.as_ref();
    bytes.iter().step_by(LINE).chain(bytes.last()).fold(0, |read, byte| read ^ byte)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;
    use crate::principal::tests::principal;

    static SAMPLED: AtomicUsize = AtomicUsize::new(0);

    struct Counting;

    impl Derivation for Counting {
        fn sample(&self) -> u8 {
            u8::from(SAMPLED.fetch_add(1, Ordering::Relaxed) > 0)
        }
    }

    #[test]
    fn every_line_is_read() {
        for length in 0..3 * LINE {
            let mut bytes = vec![0; length];
            assert_eq!(sample(&bytes), 0);
            for line in bytes.chunks_mut(LINE) {
                line.fill(1);
            }
            // The last byte is read besides.
            let read = length.div_ceil(LINE) + usize::from(length > 0);
            assert_eq!(usize::from(sample(&bytes)), read % 2, "{length}");
        }
    }

    #[test]
    fn what_is_derived_is_read_once_it_is_there() {
        let principal = principal();
        principal.prefetch();
        assert!(principal.derived.or_init(|| Counting).is_some());
        assert_eq!(SAMPLED.load(Ordering::Relaxed), 0);
        principal.prefetch();
        assert_eq!(SAMPLED.load(Ordering::Relaxed), 1);
        principal.clone().prefetch();
        assert_eq!(SAMPLED.load(Ordering::Relaxed), 1, "a clone may be changed");
    }
}
