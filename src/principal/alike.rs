//! Things that many principals have alike, kept once.

use std::fmt;
use std::hash::{BuildHasher, Hash, RandomState};
use std::sync::{Arc, Mutex, PoisonError};

/// How many things are known at a time.
const KNOWN: usize = 1024;

/// Finds what is equal to something that was made before, so that one of the two can go. It knows a thousand things, each
/// in the one place that its hash names; what comes later takes the place. Nothing but space depends on what it finds.
pub struct Alike<T: ?Sized> {
    /// Nothing until something is looked for.
    known: Mutex<Vec<Option<Arc<T>>>>,
    hasher: RandomState,
}

impl<T: ?Sized + Hash + Eq> Alike<T> {
    /// The same thing: the one that was there before, if it is still known.
    pub fn one(&self, made: Arc<T>) -> Arc<T> {
        let at = self.place(&made);
        // A panic while the lock was held cannot leave anything but whole things.
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if known.is_empty() {
            known.resize(KNOWN, None);
        }
        let Some(place) = known.get_mut(at) else { return made };
        match place {
            Some(before) if *before == made => Arc::clone(before),
            _ => Arc::clone(place.insert(made)),
        }
    }

    fn place(&self, made: &Arc<T>) -> usize {
        usize::try_from(self.hasher.hash_one(made) % KNOWN as u64).unwrap_or_default()
    }
}

impl<T: ?Sized> Default for Alike<T> {
    fn default() -> Self {
        Self { known: Mutex::default(), hasher: RandomState::new() }
    }
}

impl<T: ?Sized> fmt::Debug for Alike<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Alike").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_things_become_one_and_others_stay_what_they_are() {
        let alike = Alike::<str>::default();
        let first = alike.one("crm".into());
        assert!(Arc::ptr_eq(&first, &alike.one("crm".into())));
        for number in 0..10_000 {
            let text = number.to_string();
            assert_eq!(*alike.one(text.as_str().into()), text);
        }
        assert_eq!(&*alike.one("crm".into()), "crm", "forgotten by now or not");
    }
}
