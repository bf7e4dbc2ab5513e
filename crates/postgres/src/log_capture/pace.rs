//! When to read the stream again: at once while little comes, in gulps while much does.
//!
//! The server sends each change by itself. A reader that takes each of them costs a wake-up here, several behind it, and
//! the server's own time to wake us; one that waits a moment while the socket fills takes a hundred at once.
//! Law: what arrives after silence is read at once, and nothing is kept waiting for longer than one rest.

use std::time::Duration;

use tokio::time::Instant;

/// The flow is measured over at least this time.
const WINDOW: Duration = Duration::from_millis(1);
/// So much within a window is a flow: about 15,000 small changes a second.
const FLOW_BYTES: usize = 4 << 10;
/// A read that brought so much is large enough; more may be there already.
const GULP_BYTES: usize = 96 << 10;
/// How long a flow is let gather; timers make up to a millisecond more of it.
const REST: Duration = Duration::from_millis(1);

/// Measures what reads bring.
#[derive(Debug)]
pub(super) struct Pace {
    window_from: Instant,
    window_bytes: usize,
    rests_until: Option<Instant>,
}

impl Pace {
    pub(super) fn new(now: Instant) -> Pace {
        Pace { window_from: now, window_bytes: 0, rests_until: None }
    }

    /// Takes in what a read brought.
    pub(super) fn filled(&mut self, bytes: usize, now: Instant) {
        if now >= self.window_from + WINDOW {
            self.window_from = now;
            self.window_bytes = 0;
        }
        self.window_bytes += bytes;
        self.rests_until = (self.window_bytes >= FLOW_BYTES && bytes < GULP_BYTES).then(|| now + REST);
    }

    /// Returns until when nothing is to be read; `None` where the next read may begin.
    pub(super) fn rests_until(&mut self, now: Instant) -> Option<Instant> {
        self.rests_until = self.rests_until.filter(|until| *until > now);
        self.rests_until
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn single_changes_are_read_at_once_and_a_flow_in_gulps_cap_60() {
        let start = Instant::now();
        let mut pace = Pace::new(start);
        let at = |micros: u64| start + Duration::from_micros(micros);
        // 5,000 changes a second: one each 200 microseconds.
        for change in 0..50 {
            pace.filled(400, at(change * 200));
            assert_eq!(pace.rests_until(at(change * 200)), None);
        }
        // A flow of small reads.
        pace.filled(3 << 10, at(20_000));
        assert_eq!(pace.rests_until(at(20_000)), None);
        pace.filled(3 << 10, at(20_100));
        assert_eq!(pace.rests_until(at(20_200)), Some(at(21_100)));
        assert_eq!(pace.rests_until(at(21_100)), None);
        // What gathered meanwhile was much: more is there.
        pace.filled(100 << 10, at(21_100));
        assert_eq!(pace.rests_until(at(21_100)), None);
        // And the end of it is not followed by a rest.
        pace.filled(1 << 10, at(23_000));
        assert_eq!(pace.rests_until(at(23_000)), None);
    }
}
