//! How fast a copy goes: rows a second over its last half minute.
//!
//! People judge by it whether to wait, so it is that of late and not the mean since yesterday. It is measured by the wall
//! clock, which may go back: then there is no rate for a while, never a wrong one.

use std::collections::VecDeque;

use antiphon_model::Micros;

/// What lies further back, in microseconds, says nothing of the present.
const SPAN: i64 = 30_000_000;
/// So many moments are kept at most; a fast copy's span is shorter, and its pace steady.
const MOMENTS_MAX: usize = 64;
/// A shorter time, in microseconds, gives no rate.
const ELAPSED_MIN: i64 = 50_000;

/// Moments of one copy with the rows done by then.
#[derive(Debug, Default)]
pub(super) struct Pace(VecDeque<(Micros, u64)>);

impl Pace {
    /// Notes how many rows are done now.
    pub(super) fn note(&mut self, now: Micros, rows_done: u64) {
        if self.0.back().is_some_and(|(at, _)| *at > now) {
            self.0.clear();
        }
        let far = |(at, _): &(Micros, u64)| now.0 - at.0 > SPAN;
        // The newest of the old ones stays, so that a slow copy has a rate too.
        while self.0.len() >= MOMENTS_MAX || (self.0.len() > 1 && self.0.get(1).is_some_and(far)) {
            self.0.pop_front();
        }
        self.0.push_back((now, rows_done));
    }

    /// Forgets everything: a copy that stood still begins anew.
    pub(super) fn clear(&mut self) {
        self.0.clear();
    }

    /// Returns rows a second; zero where nothing is known yet.
    pub(super) fn rows_per_second(&self) -> u64 {
        let (Some((began, before)), Some((now, after))) = (self.0.front(), self.0.back()) else { return 0 };
        let elapsed = now.0 - began.0;
        if elapsed < ELAPSED_MIN {
            return 0;
        }
        (after.saturating_sub(*before) as f64 / (elapsed as f64 / 1e6)).round() as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rate_is_that_of_the_last_half_minute_cap_21() {
        let start = 1_000_000_000;
        let mut pace = Pace::default();
        assert_eq!(pace.rows_per_second(), 0);
        pace.note(Micros(start), 1_000);
        assert_eq!(pace.rows_per_second(), 0, "one moment is no rate");
        for second in 1..=60 {
            pace.note(Micros(start + second * 1_000_000), 1_000 + second as u64 * 10);
        }
        assert_eq!(pace.rows_per_second(), 10);
        for second in 61..=100 {
            pace.note(Micros(start + second * 1_000_000), 1_600 + (second as u64 - 60) * 500);
        }
        assert_eq!(pace.rows_per_second(), 500, "what was before counts no more");
        let slow = Micros(start + 1_000_000_000);
        pace.note(slow, 21_600 + 900);
        assert_eq!(pace.rows_per_second(), 1, "a chunk that took longer than the span has a rate");
        pace.note(Micros(start), 22_600);
        assert_eq!(pace.rows_per_second(), 0, "the clock went back");
        pace.clear();
        assert_eq!(pace.rows_per_second(), 0);
    }

    #[test]
    fn many_moments_are_not_kept() {
        let start = 1_000_000_000;
        let mut pace = Pace::default();
        for step in 0..10_000 {
            pace.note(Micros(start + step * 1_000), step as u64 * 7);
        }
        assert!(pace.0.len() <= MOMENTS_MAX);
        assert_eq!(pace.rows_per_second(), 7_000);
    }
}
