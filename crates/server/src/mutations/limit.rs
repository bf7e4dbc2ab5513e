//! How many edits an organisation may send (MUT-07): a bucket for each, made when the first comes.
//!
//! Buckets that are full again are forgotten now and then, so that their number is bounded by who is writing.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
};

use antiphon_model::Code;
use antiphon_sync::Bucket;
use tokio::time::Instant;

use crate::problem::Problem;

/// Idle buckets are looked for when there are more than so many.
const BUCKETS_LOOKED_AT: usize = 1_024;

/// The limits of organisations.
pub(crate) struct MutationLimits {
    /// Edits a second and at once; `None`: no limit.
    rate: Option<(u64, u64)>,
    started: Instant,
    buckets: Mutex<HashMap<String, Bucket>>,
}

impl MutationLimits {
    pub(crate) fn new(rate: Option<(u64, u64)>) -> MutationLimits {
        MutationLimits { rate, started: Instant::now(), buckets: Mutex::default() }
    }

    /// Returns edits a second and at once; `None`: no limit.
    pub(crate) fn rate(&self) -> Option<(u64, u64)> {
        self.rate
    }

    /// Takes room for edits, or says when there will be some.
    pub(crate) fn take(&self, org: &str, edits: usize) -> Result<(), Problem> {
        let Some((rate, burst)) = self.rate else { return Ok(()) };
        let now_ms = u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX);
        // A panic cannot leave the map half changed.
        let mut buckets = self.buckets.lock().unwrap_or_else(PoisonError::into_inner);
        if buckets.len() > BUCKETS_LOOKED_AT {
            buckets.retain(|_, bucket| bucket.wait_ms(burst, now_ms) > 0);
        }
        let bucket = buckets.entry(org.to_owned()).or_insert_with(|| Bucket::new(rate, burst, now_ms));
        let edits = edits.max(1) as u64;
        if bucket.take(edits, now_ms) {
            return Ok(());
        }
        metrics::counter!("antiphon_mutations_refused_total", "code" => Code::RateLimited.as_str()).increment(edits);
        let wait = bucket.wait_ms(edits, now_ms).div_ceil(1_000).max(1);
        let problem = Problem::new(Code::RateLimited, "this organisation sends too many edits");
        Err(problem.retry_after(u32::try_from(wait).unwrap_or(u32::MAX)))
    }
}
