//! How fast the server writes its log, from positions seen over the last minutes.
//!
//! A burst of a second says little about when a slot is lost, and the mean since the server's start says less: the
//! window is long enough to smooth and short enough to notice. Before there are two looks nothing is known.

use std::{collections::VecDeque, time::Duration};

use antiphon_model::Lsn;
use tokio::time::Instant;

/// Looks older than this do not count any more.
const WINDOW: Duration = Duration::from_secs(300);
/// Looks closer together than this tell no rate.
const APART_MIN: Duration = Duration::from_millis(500);
/// At one look a second the window holds so many.
const LOOKS_MAX: usize = 300;

/// The log's growth.
#[derive(Debug, Default)]
pub struct LogRate {
    looks: VecDeque<(Instant, Lsn)>,
}

impl LogRate {
    /// Notes where the log ends now and returns bytes a second, where that is known.
    pub fn note(&mut self, at: Instant, end: Lsn) -> Option<u64> {
        // Another server, or one that was restored: what was seen before says nothing.
        if self.looks.back().is_some_and(|(_, before)| *before > end) {
            self.looks.clear();
        }
        while self.looks.len() >= LOOKS_MAX || self.looks.front().is_some_and(|(seen, _)| at - *seen > WINDOW) {
            self.looks.pop_front();
        }
        self.looks.push_back((at, end));
        let (first_at, first) = *self.looks.front()?;
        let passed = at - first_at;
        (passed >= APART_MIN).then(|| (end.bytes_since(first) as f64 / passed.as_secs_f64()) as u64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_is_told_from_what_was_seen_and_never_guessed_pg_01() {
        let (mut rate, start) = (LogRate::default(), Instant::now());
        let after = |seconds: u64| start + Duration::from_secs(seconds);
        assert_eq!(rate.note(start, Lsn::new(1_000)), None);
        assert_eq!(rate.note(after(10), Lsn::new(11_000)), Some(1_000));
        assert_eq!(rate.note(after(20), Lsn::new(11_000)), Some(500));
        // What lies outside of the window is forgotten.
        assert_eq!(rate.note(after(320), Lsn::new(311_000)), Some(1_000));
        // A position that goes back belongs to another history.
        assert_eq!(rate.note(after(330), Lsn::new(5)), None);
        for second in 0..1_000 {
            rate.note(after(400 + second), Lsn::new(10 + second));
        }
        assert!(rate.looks.len() <= LOOKS_MAX);
    }
}
