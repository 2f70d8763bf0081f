//! Handles by name, read without a lock.

use std::sync::Arc;

use arc_swap::ArcSwap;

/// Handles by a configured name, in the order of their first mention. There are few of them.
#[derive(Debug)]
pub(super) struct Named<T>(ArcSwap<Vec<(Arc<str>, Arc<T>)>>);

impl<T> Default for Named<T> {
    fn default() -> Self {
        Self(ArcSwap::default())
    }
}

impl<T: Default> Named<T> {
    /// The handle of this name, made at its first mention.
    pub(super) fn handle(&self, name: &str) -> Arc<T> {
        if let Some(known) = find(&self.0.load(), name) {
            return Arc::clone(known);
        }
        let made = (Arc::<str>::from(name), Arc::new(T::default()));
        self.0.rcu(|list| {
            let mut list = list.to_vec();
            if find(&list, name).is_none() {
                list.push(made.clone());
            }
            list
        });
        find(&self.0.load(), name).map_or(made.1, Arc::clone)
    }

    /// Does something with the handle of this name; what is known already costs neither lock nor count.
    pub(super) fn with(&self, name: &str, act: impl FnOnce(&T)) {
        match find(&self.0.load(), name) {
            Some(known) => act(known),
            None => act(&self.handle(name)),
        }
    }

    /// All of them.
    pub(super) fn all(&self) -> Arc<Vec<(Arc<str>, Arc<T>)>> {
        self.0.load_full()
    }
}

fn find<'l, T>(list: &'l [(Arc<str>, Arc<T>)], name: &str) -> Option<&'l Arc<T>> {
    list.iter().find(|(own, _)| **own == *name).map(|(_, handle)| handle)
}

#[cfg(test)]
mod tests {
    use super::super::Count;
    use super::*;

    #[test]
    fn a_name_has_one_handle_however_many_threads_ask_first() {
        let named = Named::<Count>::default();
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| (0..100).for_each(|n| named.handle(&format!("{}", n % 10)).one()));
                scope.spawn(|| (0..100).for_each(|n| named.with(&format!("{}", n % 10), Count::one)));
            }
        });
        let counts: Vec<_> = named.all().iter().map(|(_, count)| count.value()).collect();
        assert_eq!(counts, [80; 10]);
    }
}
