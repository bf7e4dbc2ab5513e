//! A token bucket: how much may pass at what rate, with a burst.
//!
//! The one limiter for messages and bytes, in and out. Law: over any span of time no more passes than the burst and the
//! rate times the span, apart from one thing that is larger than the whole burst: that passes when the bucket is full
//! and is paid for afterwards.

/// A token bucket; times are milliseconds of any clock that does not go back.
#[derive(Clone, Debug)]
pub struct Bucket {
    rate_per_second: u64,
    burst: u64,
    /// What may pass now, in thousandths; below 0 where something larger than the burst passed.
    level_milli: i128,
    at_ms: u64,
}

impl Bucket {
    /// Makes a full bucket.
    pub fn new(rate_per_second: u64, burst: u64, now_ms: u64) -> Bucket {
        Bucket { rate_per_second, burst, level_milli: i128::from(burst) * 1_000, at_ms: now_ms }
    }

    /// Takes an amount if it may pass now.
    pub fn take(&mut self, amount: u64, now_ms: u64) -> bool {
        self.fill(now_ms);
        let passes = self.level_milli >= self.needed(amount);
        if passes {
            self.level_milli -= i128::from(amount) * 1_000;
        }
        passes
    }

    /// Pays for what has passed already; the level may fall below 0.
    pub fn charge(&mut self, amount: u64, now_ms: u64) {
        self.fill(now_ms);
        self.level_milli -= i128::from(amount) * 1_000;
    }

    /// Returns in how many milliseconds an amount may pass; 0 where it may now.
    pub fn wait_ms(&mut self, amount: u64, now_ms: u64) -> u64 {
        self.fill(now_ms);
        let missing = self.needed(amount) - self.level_milli;
        if missing <= 0 {
            return 0;
        }
        let rate = i128::from(self.rate_per_second.max(1));
        u64::try_from((missing + rate - 1) / rate).unwrap_or(u64::MAX)
    }

    /// The level at which an amount passes: its own size, or a full bucket where it is larger.
    fn needed(&self, amount: u64) -> i128 {
        i128::from(amount.min(self.burst)) * 1_000
    }

    fn fill(&mut self, now_ms: u64) {
        let elapsed = now_ms.saturating_sub(self.at_ms);
        self.at_ms = self.at_ms.max(now_ms);
        let full = i128::from(self.burst) * 1_000;
        self.level_milli = (self.level_milli + i128::from(elapsed) * i128::from(self.rate_per_second)).min(full);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_burst_passes_and_then_the_rate_str_04() {
        let mut bucket = Bucket::new(20, 40, 1_000);
        assert_eq!((0..50).filter(|_| bucket.take(1, 1_000)).count(), 40);
        assert_eq!(bucket.wait_ms(1, 1_000), 50);
        assert!(!bucket.take(1, 1_049) && bucket.take(1, 1_050));
        // A clock that goes back gives nothing.
        assert!(!bucket.take(1, 0));
    }

    #[test]
    fn what_is_larger_than_the_burst_passes_when_full_and_is_paid_for_str_04() {
        let mut bucket = Bucket::new(100, 100, 0);
        assert!(bucket.take(1_000, 0));
        assert_eq!(bucket.wait_ms(1, 0), 9_010);
        assert!(!bucket.take(1, 9_000) && bucket.take(1, 9_010));
    }

    proptest! {
        #[test]
        fn prop_never_more_than_burst_and_rate(steps in proptest::collection::vec((0u64..500, 1u64..60), 1..200)) {
            let mut bucket = Bucket::new(50, 60, 0);
            let (mut now, mut passed) = (0, 0);
            for (wait, amount) in steps {
                now += wait;
                if bucket.take(amount, now) {
                    passed += amount;
                }
                prop_assert!(passed * 1_000 <= 60_000 + now * 50);
                let wait = bucket.wait_ms(amount, now);
                prop_assert!(bucket.clone().take(amount, now + wait));
            }
        }
    }
}
