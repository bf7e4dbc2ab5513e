//! Places in the activity log: the id of an activity, and the epoch that it belongs to.
//!
//! Ids rise strictly and fit a JSON number. A new epoch starts its ids at a fixed base, so that an offset
//! names its epoch by itself and one of a former epoch can never be taken for a current one (LOG-04).

use std::fmt;

use serde::{Deserialize, Serialize};

/// How many ids an epoch may use.
pub const EPOCH_SPAN: u64 = 1 << 40;

/// The number of an activity; as a reader's offset, the last activity that it has processed.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ActivityId(u64);

impl ActivityId {
    /// Wraps a number.
    pub const fn new(raw: u64) -> Self {
        ActivityId(raw)
    }

    /// Returns the number.
    pub const fn as_u64(self) -> u64 {
        self.0
    }

    /// Returns the id that lies `count` above this one.
    pub const fn plus(self, count: u64) -> Self {
        ActivityId(self.0 + count)
    }
}

impl fmt::Display for ActivityId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for ActivityId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "activity {}", self.0)
    }
}

/// The generation of an activity log; the first is 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Epoch(u32);

impl Epoch {
    /// The first generation.
    pub const FIRST: Epoch = Epoch(1);

    /// Wraps a number; generations start at 1, so 0 is read as the first.
    pub const fn new(raw: u32) -> Self {
        Epoch(if raw == 0 { 1 } else { raw })
    }

    /// Returns the number.
    pub const fn as_u32(self) -> u32 {
        self.0
    }

    /// Returns the offset that lies before the first activity of this epoch.
    pub const fn base(self) -> ActivityId {
        ActivityId((self.0 as u64 - 1) * EPOCH_SPAN)
    }

    /// Returns the epoch that follows.
    pub const fn next(self) -> Epoch {
        Epoch(self.0 + 1)
    }

    /// Tells whether an offset belongs to this epoch; one equal to the base does.
    pub const fn contains(self, offset: ActivityId) -> bool {
        offset.0 >= self.base().0 && offset.0 < self.base().0 + EPOCH_SPAN
    }
}

impl fmt::Display for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_offset_equal_to_the_base_belongs_to_the_epoch_it_begins_log_04() {
        assert_eq!(Epoch::FIRST.base(), ActivityId::new(0));
        let second = Epoch::FIRST.next();
        assert!(second.contains(second.base()));
        assert!(!Epoch::FIRST.contains(second.base()));
        assert!(!second.contains(ActivityId::new(EPOCH_SPAN - 1)));
    }
}
