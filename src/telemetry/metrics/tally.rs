//! Counters told apart by a word of the program's own vocabulary.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

/// How many words one tally tells apart; what comes after is counted as [`OTHER`].
const WORDS: usize = 40;

/// The word for everything beyond the first [`WORDS`].
const OTHER: &str = "other";

/// Counts by word. The words are `'static`: they come from the program, never from a request, so their number is
/// small and a search from the front beats a hash. Counting takes no lock and allocates nothing.
#[derive(Debug)]
pub struct Tally {
    counts: [OnceLock<(&'static str, AtomicU64)>; WORDS],
    beyond: AtomicU64,
}

impl Default for Tally {
    fn default() -> Self {
        Self { counts: [const { OnceLock::new() }; WORDS], beyond: AtomicU64::new(0) }
    }
}

impl Tally {
    /// Counts one.
    pub fn count(&self, word: &'static str) {
        for place in &self.counts {
            let (own, count) = place.get_or_init(|| (word, AtomicU64::new(0)));
            if *own == word {
                count.fetch_add(1, Ordering::Relaxed);
                return;
            }
        }
        self.beyond.fetch_add(1, Ordering::Relaxed);
    }

    /// The count of one word.
    pub fn of(&self, word: &str) -> u64 {
        self.iter().filter(|(own, _)| *own == word).map(|(_, count)| count).sum()
    }

    /// All words that were counted, in the order of their first appearance.
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, u64)> {
        let beyond = self.beyond.load(Ordering::Relaxed);
        let known = self.counts.iter().map_while(OnceLock::get);
        let known = known.map(|(word, count)| (*word, count.load(Ordering::Relaxed)));
        known.chain((beyond > 0).then_some((OTHER, beyond)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_counted_apart() {
        let tally = Tally::default();
        for word in ["scope", "subject", "scope"] {
            tally.count(word);
        }
        assert_eq!(tally.iter().collect::<Vec<_>>(), [("scope", 2), ("subject", 1)]);
    }

    #[test]
    fn words_beyond_the_last_place_are_counted_together() {
        let tally = Tally::default();
        let words: Vec<&'static str> = (0..WORDS + 2).map(|n| &*format!("w{n}").leak()).collect();
        for word in words {
            tally.count(word);
        }
        assert_eq!(tally.of("w0"), 1);
        assert_eq!(tally.of(OTHER), 2);
        assert_eq!(tally.iter().count(), WORDS + 1);
    }

    #[test]
    fn nothing_is_lost_when_threads_count_at_once() {
        let tally = Tally::default();
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| (0..1000).for_each(|n| tally.count(["a", "b", "c"][n % 3])));
            }
        });
        assert_eq!(tally.iter().map(|(_, count)| count).sum::<u64>(), 4000);
    }
}
