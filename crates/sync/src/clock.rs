//! The hybrid logical clock that names mutations (CORE-01).
//!
//! Laws: an id is above every id that this clock made or merged, whatever the wall clock does; more than ten thousand ids
//! in a millisecond move to the next; an id from afar counts only where it is at most five minutes ahead of the server.

use antiphon_model::TransactionId;

use crate::AHEAD_MAX_MS;

/// The greatest logical part of an id.
const LOGICAL_MAX: u16 = 9_999;
/// The greatest wall time that fits into an id.
const WALL_MAX_MS: u64 = 9_999_999_999_999;

/// Makes transaction ids.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Clock {
    node: String,
    wall_ms: u64,
    logical: u16,
}

impl Clock {
    /// Makes a clock that goes on after `last`; `None` where the node's name cannot be part of an id.
    pub fn new(node: &str, last: Option<&TransactionId>) -> Option<Clock> {
        TransactionId::new(0, 0, node).ok()?;
        let (wall_ms, logical) = last.map_or((0, 0), |last| (last.wall_ms(), last.logical()));
        Some(Clock { node: node.to_owned(), wall_ms, logical })
    }

    /// Returns a new id, above all that were made or merged before.
    pub fn tick(&mut self, now_ms: u64) -> TransactionId {
        let now_ms = now_ms.min(WALL_MAX_MS);
        if now_ms > self.wall_ms {
            (self.wall_ms, self.logical) = (now_ms, 0);
        } else if self.logical < LOGICAL_MAX {
            self.logical += 1;
        } else {
            (self.wall_ms, self.logical) = (self.wall_ms + 1, 0);
        }
        self.last()
    }

    /// Takes an id from afar into account; tells whether it was near enough to the server's time.
    pub fn merge(&mut self, id: &TransactionId, server_ms: u64) -> bool {
        if id.wall_ms() > server_ms.saturating_add(AHEAD_MAX_MS) {
            return false;
        }
        (self.wall_ms, self.logical) = (self.wall_ms, self.logical).max((id.wall_ms(), id.logical()));
        true
    }

    /// Begins anew under another name at the server's time: the old one ran ahead, or is used twice.
    ///
    /// Where the name cannot be part of an id, the old one stays.
    pub fn restart(&mut self, node: &str, server_ms: u64) {
        let node = if TransactionId::new(0, 0, node).is_ok() { node.to_owned() } else { self.node.clone() };
        *self = Clock { node, wall_ms: server_ms.min(WALL_MAX_MS), logical: 0 };
    }

    /// Goes on under another name: another instance makes ids under the old one too.
    ///
    /// Where the name cannot be part of an id, the old one stays.
    pub fn rename(&mut self, node: &str) {
        if TransactionId::new(0, 0, node).is_ok() {
            node.clone_into(&mut self.node);
        }
    }

    /// Returns the newest id, to be kept.
    pub fn last(&self) -> TransactionId {
        // INVARIANT: `new` and `restart` take names of the form only, and the wall time fits in thirteen digits.
        TransactionId::new(self.wall_ms.min(WALL_MAX_MS), self.logical, &self.node)
            .unwrap_or_else(|_| TransactionId::of_sql(self.wall_ms, antiphon_model::Xid::new(0)))
    }

    /// Returns who makes the ids.
    pub fn node(&self) -> &str {
        &self.node
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn more_than_ten_thousand_ids_in_a_millisecond_move_to_the_next_core_01() {
        let mut clock = Clock::new("n", None).unwrap();
        let ids: Vec<TransactionId> = (0..20_001).map(|_| clock.tick(5)).collect();
        assert!(ids.is_sorted_by(|a, b| a < b));
        assert_eq!((ids[9_999].wall_ms(), ids[10_000].wall_ms(), ids[20_000].wall_ms()), (5, 6, 7));
    }

    #[test]
    fn what_lies_far_ahead_of_the_server_is_not_believed_core_01_sy_23() {
        let mut clock = Clock::new("n", None).unwrap();
        assert!(!clock.merge(&TransactionId::new(AHEAD_MAX_MS + 1_001, 0, "m").unwrap(), 1_000));
        assert_eq!(clock.tick(1_000).wall_ms(), 1_000);
        let near = TransactionId::new(AHEAD_MAX_MS + 1_000, 3, "m").unwrap();
        assert!(clock.merge(&near, 1_000));
        assert!(clock.tick(1_000) > near);
        clock.restart("o", 1_000);
        assert_eq!((clock.tick(0).wall_ms(), clock.node()), (1_000, "o"));
    }

    #[test]
    fn a_name_that_does_not_fit_is_refused() {
        assert_eq!(Clock::new("", None), None);
        assert_eq!(Clock::new("a.b", None), None);
    }

    proptest! {
        #[test]
        fn prop_ids_rise_whatever_the_clock_does_core_01_sy_24(steps in proptest::collection::vec((0u64..50, any::<bool>(), 0u16..9_999), 1..200)) {
            let mut clock = Clock::new("n", None).unwrap();
            let mut last = clock.last();
            for (ms, remote, logical) in steps {
                if remote {
                    clock.merge(&TransactionId::new(ms, logical, "m").unwrap(), 0);
                } else {
                    let id = clock.tick(ms);
                    prop_assert!(id > last);
                    // Kept and loaded again, it goes on.
                    clock = Clock::new("n", Some(&id)).unwrap();
                    last = id;
                }
            }
        }
    }
}
