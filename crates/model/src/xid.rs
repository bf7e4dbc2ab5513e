//! Postgres's own transaction number, 64 bits wide everywhere above `wire`.
//!
//! The replication stream carries 32 bits that wrap around; comparing those is a bug that waits for two
//! billion transactions, so they are widened at intake and only this type travels further (CAP-13).

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A 64-bit transaction number; as text in JSON, because it may exceed 2^53.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Xid(u64);

impl Xid {
    /// Wraps a 64-bit number.
    pub const fn new(raw: u64) -> Self {
        Xid(raw)
    }

    /// Returns the 64-bit number.
    pub const fn as_u64(self) -> u64 {
        self.0
    }

    /// Tells whether it stands for a transaction that every snapshot sees: no real one has a number below three.
    pub const fn is_frozen(self) -> bool {
        self.0 < 3
    }

    /// Widens a 32-bit number to the 64-bit value nearest to `reference` (signed 32-bit difference).
    ///
    /// `reference` must lie within 2^31 transactions of the true value: Postgres itself guarantees that for
    /// numbers that are alive at the same time.
    pub const fn widen(low: u32, reference: Xid) -> Xid {
        let difference = low.wrapping_sub(reference.0 as u32) as i32;
        Xid(reference.0.wrapping_add_signed(difference as i64))
    }
}

impl fmt::Display for Xid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for Xid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "xid {}", self.0)
    }
}

impl Serialize for Xid {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Xid {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map(Xid).map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn widening_crosses_the_wrap_in_both_directions_cap_13() {
        let wrap = 1u64 << 32;
        for (low, reference, expected) in [
            (5, wrap - 3, wrap + 5),
            (u32::MAX, wrap + 2, wrap - 1),
            (752, 750, 752),
            (3, 7 * wrap + 9, 7 * wrap + 3),
            (u32::MAX - 1, 8 * wrap, 8 * wrap - 2),
        ] {
            assert_eq!(Xid::widen(low, Xid::new(reference)), Xid::new(expected));
        }
    }
}
