//! Waiting longer after each failure, with jitter (CORE-06).
//!
//! One second times two each time, up to thirty, a fifth more or less, so that clients that failed together do not come
//! back together. Randomness comes from a seed; it knows no clock.

/// The first wait, in milliseconds.
const FIRST_MS: u64 = 1_000;
/// The longest wait, in milliseconds.
const LONGEST_MS: u64 = 30_000;
/// The longest wait that a server may ask for, in milliseconds: whatever said more was not meant.
const ASKED_MAX_MS: u64 = 60 * 60 * 1_000;

/// Randomness from a seed: the same seed, the same numbers.
#[derive(Clone, Debug)]
pub struct Random(u64);

impl Random {
    /// Makes a source of numbers.
    pub fn new(seed: u64) -> Random {
        Random(seed)
    }

    /// Returns the next number.
    pub fn next(&mut self) -> u64 {
        // SplitMix64, Steele and others 2014: enough to spread clients, and nothing secret hangs on it.
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    /// Lets something from outside into what comes next.
    pub fn stir(&mut self, with: u64) {
        self.0 ^= with;
    }

    /// Returns a name for a client that no other will have.
    pub fn name(&mut self) -> String {
        format!("{:016x}", self.next())
    }
}

/// Returns how long to wait after so many failures, in milliseconds.
pub fn backoff_ms(failures: u32, random: &mut Random) -> u64 {
    let plain = FIRST_MS.saturating_mul(1 << failures.saturating_sub(1).min(16)).min(LONGEST_MS);
    // A fifth of it less to a fifth of it more.
    plain * 4 / 5 + random.next() % (plain * 2 / 5 + 1)
}

/// When something that failed is tried again.
#[derive(Clone, Debug, Default)]
pub struct Pace {
    failures: u32,
    until_ms: u64,
}

impl Pace {
    /// Notes a failure at a moment of the steady clock; whoever answered may have said how long to wait.
    pub fn failed(&mut self, now_ms: u64, after_ms: Option<u64>, random: &mut Random) {
        self.failures = self.failures.saturating_add(1);
        let wait_ms = backoff_ms(self.failures, random).max(after_ms.unwrap_or(0).min(ASKED_MAX_MS));
        self.until_ms = now_ms.saturating_add(wait_ms);
    }

    /// Notes a success.
    pub fn succeeded(&mut self) {
        *self = Pace::default();
    }

    /// Tells whether it may be tried.
    pub fn is_due(&self, now_ms: u64) -> bool {
        self.until_ms <= now_ms
    }

    /// Returns when it may be tried.
    pub fn until_ms(&self) -> u64 {
        self.until_ms
    }

    /// Returns how often it failed since it last went well.
    pub fn failures(&self) -> u32 {
        self.failures
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_thirty_seconds_within_a_fifth_core_06() {
        let mut random = Random::new(7);
        for (failures, plain) in [(1, 1_000), (2, 2_000), (5, 16_000), (6, 30_000), (60, 30_000)] {
            for _ in 0..100 {
                let wait = backoff_ms(failures, &mut random);
                assert!((plain * 4 / 5..=plain * 6 / 5).contains(&wait), "{failures}: {wait}");
            }
        }
        let mut pace = Pace::default();
        pace.failed(100, Some(60_000), &mut random);
        assert!(!pace.is_due(60_099) && pace.is_due(60_100));
    }
}
