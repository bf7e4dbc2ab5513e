//! Answers of the directory, remembered until the directory changes: open streams ask again and again (STR-05).
//!
//! Law: an answer that was asked for before everything was forgotten is never kept after it; otherwise a change that
//! commits while a question is under way would be covered by the old answer.

use std::{
    collections::HashMap,
    hash::Hash,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

/// Answers are asked for again after this time although nothing is known to have changed: the use of tokens is noted
/// then, and an error of ours ends by itself.
const FRESH: Duration = Duration::from_secs(10);
/// At most so many answers are kept; beyond that the stale ones go, then all.
const ENTRIES_MAX: usize = 20_000;

/// Remembers answers.
pub(crate) struct Cache<K, V> {
    state: Mutex<State<K, V>>,
}

struct State<K, V> {
    era: u64,
    entries: HashMap<K, (Instant, V)>,
}

/// When a question was asked: between which two moments of forgetting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Era(u64);

impl<K, V> Default for Cache<K, V> {
    fn default() -> Self {
        Cache { state: Mutex::new(State { era: 0, entries: HashMap::new() }) }
    }
}

impl<K: Eq + Hash, V: Clone> Cache<K, V> {
    /// Returns the answer to a question asked before, or the era in which it is asked now.
    pub(crate) fn find(&self, key: &K) -> Result<V, Era> {
        let state = self.lock();
        let known = state.entries.get(key).filter(|(at, _)| at.elapsed() < FRESH);
        known.map(|(_, value)| value.clone()).ok_or(Era(state.era))
    }

    /// Keeps an answer to a question of this era; one of an earlier era is dropped.
    pub(crate) fn keep(&self, era: Era, key: K, value: V) {
        let mut state = self.lock();
        if era != Era(state.era) {
            return;
        }
        if state.entries.len() >= ENTRIES_MAX {
            state.entries.retain(|_, (at, _)| at.elapsed() < FRESH);
        }
        if state.entries.len() >= ENTRIES_MAX {
            state.entries.clear();
        }
        state.entries.insert(key, (Instant::now(), value));
    }

    /// Forgets everything: something was changed.
    pub(crate) fn clear(&self) {
        let mut state = self.lock();
        state.era += 1;
        state.entries.clear();
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State<K, V>> {
        // INVARIANT: no panic leaves the map half changed.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_from_before_a_change_is_not_kept_after_it_str_05() {
        let cache: Cache<&str, u32> = Cache::default();
        let era = cache.find(&"alice").unwrap_err();
        cache.keep(era, "alice", 1);
        assert_eq!(cache.find(&"alice"), Ok(1));
        let slow = cache.find(&"bob").unwrap_err();
        cache.clear();
        cache.keep(slow, "bob", 2);
        assert!(cache.find(&"bob").is_err() && cache.find(&"alice").is_err());
    }
}
