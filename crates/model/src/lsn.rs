//! A position in Postgres's write-ahead log.
//!
//! An `Lsn` is compared only with positions of the same timeline; a reader's place in our own log is an
//! `ActivityId`, a different type, so that the two can never be mixed up.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A byte position in the write-ahead log, printed as Postgres prints it (`0/16B3748`).
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Lsn(u64);

impl Lsn {
    /// The position before all others; Postgres reads it as "from where the slot is".
    pub const ZERO: Lsn = Lsn(0);

    /// Wraps a raw position.
    pub const fn new(raw: u64) -> Self {
        Lsn(raw)
    }

    /// Returns the raw position.
    pub const fn as_u64(self) -> u64 {
        self.0
    }

    /// Returns how many bytes lie between `earlier` and this position, or 0 where it is not earlier.
    pub const fn bytes_since(self, earlier: Lsn) -> u64 {
        self.0.saturating_sub(earlier.0)
    }
}

/// The text is not an LSN.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a WAL position: expected two hexadecimal numbers joined by a slash")]
pub struct LsnError;

impl FromStr for Lsn {
    type Err = LsnError;

    fn from_str(text: &str) -> Result<Self, LsnError> {
        let (high, low) = text.split_once('/').ok_or(LsnError)?;
        let part = |digits: &str| {
            let plain = !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_hexdigit());
            plain.then(|| u32::from_str_radix(digits, 16).ok()).flatten().ok_or(LsnError)
        };
        Ok(Lsn((u64::from(part(high)?) << 32) | u64::from(part(low)?)))
    }
}

impl fmt::Display for Lsn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:X}/{:X}", self.0 >> 32, self.0 & 0xFFFF_FFFF)
    }
}

impl fmt::Debug for Lsn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for Lsn {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Lsn {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_round_trips_as_postgres_prints_it() {
        for text in ["0/0", "0/16B3748", "1/0", "FFFFFFFF/FFFFFFFF"] {
            assert_eq!(text.parse::<Lsn>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn anything_else_is_refused() {
        for text in ["", "/", "0", "0/", "/0", "0/+1", "0/G", "100000000/0", "0/0/0", " 0/0"] {
            assert_eq!(text.parse::<Lsn>(), Err(LsnError), "{text:?}");
        }
    }
}
