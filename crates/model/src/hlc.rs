//! A transaction id: the hybrid logical clock that names one mutation, or one statement of plain SQL (protocol 5).
//!
//! `{wallTime}.{logical}.{nodeId}`: 13 digits of milliseconds, 4 digits, a node of at most 40 of `A-Za-z0-9_-`. The
//! digits are fixed in number, so ids compare as bytes and the newer one is the greater. Law: only text of this form
//! becomes a `TransactionId`. No clock is read here: whoever makes an id hands the time in.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize};

use crate::Xid;

/// The digits of the wall time.
const WALL_DIGITS: usize = 13;
/// The digits of the logical part.
const LOGICAL_DIGITS: usize = 4;
/// The greatest length of a node's name.
const NODE_BYTES_MAX: usize = 40;
/// The greatest logical part.
const LOGICAL_MAX: u16 = 9_999;

/// The name of one mutation; later ones compare as greater.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct TransactionId(String);

/// The text is not a transaction id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a transaction id is 13 digits of milliseconds, 4 digits and a node of 1 to 40 of A-Za-z0-9_-, parted by dots")]
pub struct TransactionIdError;

impl TransactionId {
    /// Returns an id before all that are minted.
    pub fn least() -> TransactionId {
        TransactionId("0000000000000.0000.-".to_owned())
    }

    /// Reads an id.
    ///
    /// # Errors
    /// Fails where the text is not of the form.
    pub fn parse(text: &str) -> Result<TransactionId, TransactionIdError> {
        let digits = |part: &str, count: usize| part.len() == count && part.bytes().all(|byte| byte.is_ascii_digit());
        let mut parts = text.splitn(3, '.');
        let (wall, logical, node) = (parts.next(), parts.next(), parts.next());
        let node_fits = |node: &str| {
            (1..=NODE_BYTES_MAX).contains(&node.len())
                && node.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-')
        };
        let fits = wall.is_some_and(|part| digits(part, WALL_DIGITS))
            && logical.is_some_and(|part| digits(part, LOGICAL_DIGITS))
            && node.is_some_and(node_fits);
        if fits { Ok(TransactionId(text.to_owned())) } else { Err(TransactionIdError) }
    }

    /// Makes an id of its parts; a logical part above 9999 moves the wall time on.
    ///
    /// # Errors
    /// Fails where the node's name is not of the form, or the time lies beyond the year 2286.
    pub fn new(wall_ms: u64, logical: u16, node: &str) -> Result<TransactionId, TransactionIdError> {
        let (wall_ms, logical) = match logical > LOGICAL_MAX {
            true => (wall_ms + 1, 0),
            false => (wall_ms, logical),
        };
        TransactionId::parse(&format!("{wall_ms:013}.{logical:04}.{node}"))
    }

    /// Returns the id that the server gives to a statement of plain SQL.
    pub fn of_sql(wall_ms: u64, xid: Xid) -> TransactionId {
        TransactionId(format!("{:013}.0000.sql-{xid}", wall_ms.min(9_999_999_999_999)))
    }

    /// Returns the wall time in milliseconds since 1970.
    pub fn wall_ms(&self) -> u64 {
        // INVARIANT: the first part is 13 digits.
        self.0.get(..WALL_DIGITS).and_then(|digits| digits.parse().ok()).unwrap_or_default()
    }

    /// Returns the logical part.
    pub fn logical(&self) -> u16 {
        // INVARIANT: the second part is 4 digits.
        self.0
            .get(WALL_DIGITS + 1..WALL_DIGITS + 1 + LOGICAL_DIGITS)
            .and_then(|digits| digits.parse().ok())
            .unwrap_or_default()
    }

    /// Returns who made it.
    pub fn node(&self) -> &str {
        self.0.get(WALL_DIGITS + LOGICAL_DIGITS + 2..).unwrap_or_default()
    }

    /// Returns the text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for TransactionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for TransactionId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<TransactionId, D::Error> {
        TransactionId::parse(&String::deserialize(deserializer)?).map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn only_text_of_the_form_is_an_id() {
        for good in
            ["1769860800123.0000.a", "0000000000000.9999.A-z_0", &format!("1769860800123.0007.{}", "n".repeat(40))]
        {
            assert_eq!(TransactionId::parse(good).unwrap().as_str(), good);
        }
        for bad in [
            "",
            "1769860800123.0000.",
            "1769860800123.0000",
            "176986080012.0000.a",
            "1769860800123.000.a",
            "1769860800123.0000.a.b",
            "1769860800123.0000.ö",
            "-769860800123.0000.a",
            &format!("1769860800123.0007.{}", "n".repeat(41)),
        ] {
            assert_eq!(TransactionId::parse(bad), Err(TransactionIdError), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn prop_the_later_id_is_the_greater(a in (0u64..9_999_999_999_999, 0u16..9_999), b in (0u64..9_999_999_999_999, 0u16..9_999)) {
            let (x, y) = (TransactionId::new(a.0, a.1, "n").unwrap(), TransactionId::new(b.0, b.1, "n").unwrap());
            prop_assert_eq!(x.cmp(&y), a.cmp(&b));
            prop_assert_eq!((x.wall_ms(), x.logical(), x.node()), (a.0, a.1, "n"));
        }
    }
}
