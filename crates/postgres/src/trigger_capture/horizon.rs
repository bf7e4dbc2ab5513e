//! How far a reader that is bounded by the oldest running transaction has come, as positions and as time.
//!
//! Recorded transactions are read once every transaction with a number up to theirs has ended. Laws: what is said to be
//! read up to a moment holds everything that was committed before it, although a transaction with a lower number may
//! hold back what others committed meanwhile (TG-01, TG-02); one transaction is never cut but into parts in order.

use std::collections::VecDeque;

use antiphon_model::{Micros, Xid};

/// So many moments are remembered; with more, the oldest are told apart less finely.
const LOOKS_MAX: usize = 1_024;
/// One read takes at most about so many bytes.
const READ_BYTES_MAX: u64 = 2 << 20;
/// And so many changes.
const READ_CHANGES_MAX: u64 = 4_000;

/// The moments at which the source was looked at.
#[derive(Debug, Default)]
pub(super) struct Looks {
    /// The first number that was not given out yet, and the source's clock; both rise.
    seen: VecDeque<(Xid, Micros)>,
    reached: Micros,
}

impl Looks {
    /// Notes a look, at which everything below `ended` had ended and `next` was not given out yet; returns the moment
    /// before which every commit lies below `ended`.
    pub(super) fn look(&mut self, ended: Xid, next: Xid, clock: Micros) -> Micros {
        if self.seen.back().is_none_or(|(before, at)| next >= *before && clock > *at) {
            self.seen.push_back((next, clock));
        }
        while let Some((_, at)) = self.seen.front().filter(|(next, _)| *next <= ended) {
            self.reached = self.reached.max(*at);
            self.seen.pop_front();
        }
        if self.seen.len() > LOOKS_MAX {
            // To leave moments out says less, never something wrong.
            let mut index = 0;
            self.seen.retain(|_| {
                index += 1;
                index % 2 == 0
            });
        }
        self.reached
    }
}

/// A transaction that has its place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Placed {
    /// Its position.
    pub(super) position: u64,
    /// Its number.
    pub(super) xid: Xid,
    /// How many rows were recorded of it.
    pub(super) changes: u64,
    /// About how many bytes they hold.
    pub(super) bytes: u64,
    /// When its last row was recorded.
    pub(super) at: Micros,
}

/// What to read next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// So many transactions, whole.
    Whole(usize),
    /// The first one alone, in parts of so many rows.
    Parts(u64),
}

/// Decides what is read next of transactions in their order; `None` where there are none.
pub(super) fn next(placed: &[Placed]) -> Option<Next> {
    let first = placed.first()?;
    if first.bytes > READ_BYTES_MAX || first.changes > READ_CHANGES_MAX {
        let mean = (first.bytes / first.changes.max(1)).max(1);
        return Some(Next::Parts((READ_BYTES_MAX / mean).clamp(1, READ_CHANGES_MAX)));
    }
    let (mut bytes, mut changes) = (0, 0);
    let fits = |one: &&Placed| {
        bytes += one.bytes;
        changes += one.changes;
        bytes <= READ_BYTES_MAX && changes <= READ_CHANGES_MAX
    };
    Some(Next::Whole(placed.iter().take_while(fits).count()))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn time_passes_only_where_nobody_older_is_running_tg_02() {
        let mut looks = Looks::default();
        let look = |looks: &mut Looks, ended, next, at| looks.look(Xid::new(ended), Xid::new(next), Micros(at));
        assert_eq!(look(&mut looks, 10, 10, 1_000), Micros(1_000), "nobody is running: now");
        assert_eq!(look(&mut looks, 10, 12, 2_000), Micros(1_000), "10 is running: what 11 committed is not read");
        assert_eq!(look(&mut looks, 10, 15, 3_000), Micros(1_000));
        assert_eq!(look(&mut looks, 13, 16, 4_000), Micros(2_000), "10 has ended, 13 is running");
        assert_eq!(look(&mut looks, 16, 16, 4_000), Micros(4_000), "the look before holds now");
        assert_eq!(look(&mut looks, 17, 17, 5_000), Micros(5_000));
    }

    fn placed(changes: u64, bytes: u64) -> Placed {
        Placed { position: 1, xid: Xid::new(3), changes, bytes, at: Micros(0) }
    }

    #[test]
    fn a_large_transaction_is_read_in_parts_and_small_ones_together_tg_04() {
        assert_eq!(next(&[]), None);
        assert_eq!(next(&vec![placed(1, 100); 9]), Some(Next::Whole(9)));
        assert_eq!(next(&vec![placed(1_000, 100); 9]), Some(Next::Whole(4)));
        assert_eq!(next(&[placed(1, 1 << 20), placed(1, 2 << 20)]), Some(Next::Whole(1)));
        assert_eq!(next(&[placed(1_000_000, 100_000_000), placed(1, 1)]), Some(Next::Parts(4_000)));
        assert_eq!(next(&[placed(3, 30 << 20)]), Some(Next::Parts(1)));
    }

    proptest! {
        #[test]
        fn prop_no_commit_lies_before_the_moment_that_is_told_and_is_unread_tg_01(
            steps in prop::collection::vec((0_u64..4, 0_u64..6, 0_usize..8), 1..60)
        ) {
            // Transactions begin, some end in any order; each end is a commit at the clock of its step.
            let (mut running, mut following) = (Vec::new(), 100_u64);
            let mut committed: Vec<(u64, i64)> = Vec::new();
            let mut looks = Looks::default();
            for (at, (begun, ended, which)) in steps.into_iter().enumerate() {
                let clock = at as i64 * 10;
                for _ in 0..begun {
                    running.push(following);
                    following += 1;
                }
                for _ in 0..ended.min(running.len() as u64) {
                    committed.push((running.remove(which % running.len()), clock));
                }
                let horizon = running.iter().copied().min().unwrap_or(following);
                // The clock is read before the snapshot: commits of this step may be later.
                let told = looks.look(Xid::new(horizon), Xid::new(following), Micros(clock));
                for (xid, committed_at) in &committed {
                    prop_assert!(*committed_at >= told.0 || *xid < horizon, "{xid} at {committed_at}, told {told:?}");
                }
            }
        }
    }
}
