//! What a Postgres snapshot sees: the text of `pg_current_snapshot()`, on the wire in the field `snapshot`.
//!
//! Decoding delivers a commit before readers can see it, so whether a list already contains a transaction is
//! decided by this set and never by comparing positions (protocol 4, the join).

use std::{fmt, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::Xid;

/// The transactions that a snapshot sees: all below `xmin`, and those below `xmax` that were not running.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Visibility {
    xmin: Xid,
    xmax: Xid,
    running: Vec<Xid>,
}

impl Visibility {
    /// Returns what sees nothing.
    pub fn of_nothing() -> Visibility {
        Visibility { xmin: Xid::new(0), xmax: Xid::new(0), running: Vec::new() }
    }

    /// Returns the oldest transaction that was still running.
    pub fn xmin(&self) -> Xid {
        self.xmin
    }

    /// Returns the last transaction of which all up to it had ended: every later snapshot sees it.
    pub fn ended(&self) -> Xid {
        Xid::new(self.xmin.as_u64().saturating_sub(1))
    }

    /// Returns the first number that was not yet given out.
    pub fn xmax(&self) -> Xid {
        self.xmax
    }

    /// Tells whether the snapshot contains a committed transaction.
    pub fn sees(&self, xid: Xid) -> bool {
        xid < self.xmin || (xid < self.xmax && self.running.binary_search(&xid).is_err())
    }

    /// Tells whether the snapshot contains all that another one does.
    pub fn contains(&self, other: &Visibility) -> bool {
        let hidden = self.running.iter().any(|xid| other.sees(*xid));
        let beyond = other.xmax.as_u64().saturating_sub(self.xmax.as_u64());
        // What lies beyond this one's end must all have been running: more than are named cannot have been.
        let ends = beyond <= other.running.len() as u64;
        let later = || (self.xmax.as_u64()..other.xmax.as_u64()).any(|xid| other.sees(Xid::new(xid)));
        !hidden && ends && !later()
    }
}

/// The text is not a snapshot.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a snapshot: expected xmin:xmax:running,... in rising order")]
pub struct VisibilityError;

impl FromStr for Visibility {
    type Err = VisibilityError;

    fn from_str(text: &str) -> Result<Self, VisibilityError> {
        let number = |digits: &str| {
            let plain = !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit());
            plain.then(|| digits.parse().ok()).flatten().map(Xid::new).ok_or(VisibilityError)
        };
        let mut parts = text.split(':');
        let (xmin, xmax, list) = match (parts.next(), parts.next(), parts.next(), parts.next()) {
            (Some(xmin), Some(xmax), Some(list), None) => (number(xmin)?, number(xmax)?, list),
            _ => return Err(VisibilityError),
        };
        let running = match list {
            "" => Vec::new(),
            list => list.split(',').map(number).collect::<Result<Vec<_>, _>>()?,
        };
        let rising = running.windows(2).all(|pair| pair[0] < pair[1]);
        let inside = running.iter().all(|xid| *xid >= xmin && *xid < xmax);
        if xmin > xmax || !rising || !inside {
            return Err(VisibilityError);
        }
        Ok(Visibility { xmin, xmax, running })
    }
}

impl fmt::Display for Visibility {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:", self.xmin, self.xmax)?;
        for (index, xid) in self.running.iter().enumerate() {
            let comma = if index == 0 { "" } else { "," };
            write!(f, "{comma}{xid}")?;
        }
        Ok(())
    }
}

impl Serialize for Visibility {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Visibility {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Visibility, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sees_what_was_committed_and_nothing_that_was_running() {
        let snapshot: Visibility = "744:760:750,752".parse().unwrap();
        for (xid, seen) in
            [(1, true), (743, true), (744, true), (750, false), (751, true), (752, false), (759, true), (760, false)]
        {
            assert_eq!(snapshot.sees(Xid::new(xid)), seen, "xid {xid}");
        }
        assert_eq!(snapshot.to_string(), "744:760:750,752");
    }

    #[test]
    fn what_had_ended_is_seen_by_every_later_snapshot() {
        let read = |text: &str| text.parse::<Visibility>().unwrap();
        assert_eq!(read("744:760:750,752").ended(), Xid::new(743));
        assert_eq!(read("744:744:").ended(), Xid::new(743));
        for later in ["744:760:750,752", "750:761:750", "800:800:"] {
            assert!(read(later).sees(read("744:760:750,752").ended()), "{later}");
        }
        assert!(!read("744:760:744,750").sees(Xid::new(744)), "the one after it may still run");
    }

    #[test]
    fn one_snapshot_contains_another_where_it_sees_all_of_it() {
        let read = |text: &str| text.parse::<Visibility>().unwrap();
        for (one, other, contains) in [
            ("10:10:", "10:10:", true),
            ("10:12:", "10:10:", true),
            ("10:10:", "10:12:", false),
            ("10:12:10", "10:12:11", false),
            ("10:12:10", "10:12:10,11", true),
            ("10:12:10", "11:12:", false),
            ("10:10:", "10:12:10,11", true),
            ("10:10:", "9:12:9,10", false),
            ("10:10:", "10:99999999999:", false),
        ] {
            let (one, other) = (read(one), read(other));
            assert_eq!(one.contains(&other), contains, "{one} {other}");
            let sees_more = (1..20).map(Xid::new).any(|xid| other.sees(xid) && !one.sees(xid));
            assert_eq!(!sees_more, contains, "{one} {other}");
        }
    }

    #[test]
    fn malformed_text_is_refused() {
        for text in ["", "1", "1:2", "2:1:", "1:5:0", "1:5:5", "1:9:3,2", "1:9:3,3", "1:9:a", "1:9:3:", "-1:2:"] {
            assert_eq!(text.parse::<Visibility>(), Err(VisibilityError), "{text:?}");
        }
        assert!("10:10:".parse::<Visibility>().unwrap().sees(Xid::new(9)));
    }
}
