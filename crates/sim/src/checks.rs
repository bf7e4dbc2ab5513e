//! The checkers: pure functions from what a run left behind to what is wrong with it (SIM-03).
//!
//! Each says in one line what was promised and what was found. Law: a checker derives what it expects from the source's
//! own log of commits, never from what the code under test remembers; and each has a test in which it bites.

mod capture;
mod reading;
#[cfg(test)]
mod tests;
mod writing;

use std::{collections::BTreeSet, fmt};

pub(crate) use self::writing::passed_later;
pub use self::{
    capture::{acknowledged_is_durable, complete, ends_marked, in_order, replays_to_rows},
    reading::{permitted, rising, views_equal},
    writing::{no_lost_update, once, refuses_nothing_applied, told_what_happened},
};
use crate::History;

/// A promise that was broken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// The promise.
    pub promise: &'static str,
    /// What was found.
    pub found: String,
}

impl Violation {
    pub(crate) fn new(promise: &'static str, found: impl Into<String>) -> Violation {
        Violation { promise, found: found.into() }
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.promise, self.found)
    }
}

/// What the database knows of edits and of what was typed, for those who judge what people saw.
pub(crate) struct Truth {
    /// Ids that it has applied.
    pub(crate) applied: BTreeSet<String>,
    /// Those among them that were refused to a request that had come before.
    pub(crate) late: BTreeSet<String>,
    /// Words that were in a row at some time.
    pub(crate) written: BTreeSet<String>,
}

/// A checker.
pub type Checker = fn(&History) -> Vec<Violation>;

/// Every checker by name.
pub const ALL: &[(&str, Checker)] = &[
    ("complete", complete),
    ("in order", in_order),
    ("ends marked", ends_marked),
    ("acknowledged is durable", acknowledged_is_durable),
    ("replays to rows", replays_to_rows),
    ("once", once),
    ("no lost update", no_lost_update),
    ("told what happened", told_what_happened),
    ("refuses nothing applied", refuses_nothing_applied),
    ("permitted", permitted),
    ("rising", rising),
    ("views equal", views_equal),
    ("no complaints", no_complaints),
];

/// Runs every checker.
pub fn all(history: &History) -> Vec<Violation> {
    ALL.iter().flat_map(|(_, check)| check(history)).collect()
}

/// Nothing was noticed during the run.
fn no_complaints(history: &History) -> Vec<Violation> {
    history.complaints.iter().map(|found| Violation::new("nothing gets stuck", found.clone())).collect()
}
