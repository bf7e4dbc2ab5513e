//! How long to wait before the next attempt.

use std::time::Duration;

/// The first wait.
const FIRST_MS: u64 = 100;
/// The longest wait: a database that is back is noticed within this time.
const LONGEST_MS: u64 = 5_000;

/// Returns the wait before attempt number `attempt` (from 0): doubling, with up to a fifth of jitter from `seed`.
pub fn wait(attempt: u32, seed: u64) -> Duration {
    let base = FIRST_MS.saturating_mul(1 << attempt.min(16)).min(LONGEST_MS);
    // A multiplicative hash spreads consecutive seeds; quality does not matter here.
    let jitter = seed.wrapping_add(u64::from(attempt)).wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 40;
    Duration::from_millis(base + jitter % (base / 5 + 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_the_longest_and_keep_within_a_fifth() {
        for attempt in 0..40 {
            let base = (FIRST_MS << attempt.min(16)).min(LONGEST_MS);
            for seed in 0..50 {
                let waited = wait(attempt, seed).as_millis() as u64;
                assert!((base..=base + base / 5).contains(&waited), "attempt {attempt} seed {seed}: {waited}");
            }
        }
    }
}
