//! A log that is watched: when each activity became durable, and how far the source is.
//!
//! It wraps the real log (or the discarding one) at the engine's port, so that what is measured is exactly what runs.

use std::sync::{Arc, Mutex, PoisonError};

use antiphon_engine::{
    Fault,
    ports::{Batch, Leadership, LogFlusher, LogWriter, Tenure},
};
use antiphon_model::{ActivityId, Lsn, Micros};
use async_trait::async_trait;
use tokio::sync::watch;

/// Returns the wall clock in microseconds.
pub(crate) fn now() -> Micros {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    Micros(since.as_micros() as i64)
}

/// What was seen.
#[derive(Default)]
pub(crate) struct Seen {
    /// Milliseconds from commit to durable of each activity, where they are kept.
    pub(crate) latencies_ms: Vec<f64>,
    /// How many activities became durable.
    pub(crate) activities: u64,
    /// When the first did.
    pub(crate) first_at: Option<Micros>,
    pending: Vec<Pending>,
}

/// A batch that is not durable yet.
struct Pending {
    last: ActivityId,
    lsn: Lsn,
    count: u64,
    commits: Vec<Micros>,
}

/// How far the log is durable.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Reached {
    /// The source's position.
    pub(crate) lsn: Lsn,
    /// Activities since the start.
    pub(crate) activities: u64,
}

/// Wraps a log.
#[derive(Clone)]
pub(crate) struct Watched {
    inner: Arc<dyn Leadership>,
    keep_latencies: bool,
    reached: watch::Sender<Reached>,
    seen: Arc<Mutex<Seen>>,
}

impl Watched {
    /// Wraps `inner`; `keep_latencies` costs memory for each activity.
    pub(crate) fn new(inner: Arc<dyn Leadership>, keep_latencies: bool) -> Watched {
        Watched { inner, keep_latencies, reached: watch::Sender::new(Reached::default()), seen: Arc::default() }
    }

    /// Waits until enough is durable.
    pub(crate) async fn reached(&self, enough: impl Fn(Reached) -> bool) {
        let mut reached = self.reached.subscribe();
        // The sender lives in self.
        drop(reached.wait_for(|reached| enough(*reached)).await);
    }

    /// Looks at what was seen.
    pub(crate) fn seen<T>(&self, look: impl FnOnce(&mut Seen) -> T) -> T {
        look(&mut self.seen.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

#[async_trait]
impl Leadership for Watched {
    async fn acquire(&self, source: &str, holder: &str) -> Result<Option<Tenure>, Fault> {
        let Some(mut tenure) = self.inner.acquire(source, holder).await? else { return Ok(None) };
        tenure.writer = Box::new(Writer { inner: tenure.writer, watched: self.clone() });
        tenure.flusher = Box::new(Flusher { inner: tenure.flusher, watched: self.clone() });
        Ok(Some(tenure))
    }
}

struct Writer {
    inner: Box<dyn LogWriter>,
    watched: Watched,
}

#[async_trait]
impl LogWriter for Writer {
    async fn append(&mut self, batch: &mut Batch) -> Result<ActivityId, Fault> {
        let last = self.inner.append(batch).await?;
        let commits = match self.watched.keep_latencies {
            true => batch.activities.iter().map(|activity| activity.commit.at).collect(),
            false => Vec::new(),
        };
        let count = batch.activities.len() as u64;
        self.watched.seen(|seen| {
            seen.activities += count;
            seen.pending.push(Pending { last, lsn: batch.checkpoint.acknowledged, count, commits });
        });
        Ok(last)
    }
}

struct Flusher {
    inner: Box<dyn LogFlusher>,
    watched: Watched,
}

#[async_trait]
impl LogFlusher for Flusher {
    async fn flush(&mut self, up_to: ActivityId) -> Result<(), Fault> {
        self.inner.flush(up_to).await?;
        let at = now();
        let moved = self.watched.seen(|seen| {
            seen.first_at.get_or_insert(at);
            let mut moved = Reached::default();
            let done = seen.pending.iter().take_while(|batch| batch.last <= up_to).count();
            for batch in seen.pending.drain(..done).collect::<Vec<_>>() {
                moved.lsn = moved.lsn.max(batch.lsn);
                moved.activities += batch.count;
                seen.latencies_ms.extend(batch.commits.iter().map(|commit| (at.0 - commit.0) as f64 / 1000.0));
            }
            moved
        });
        self.watched.reached.send_modify(|reached| {
            reached.lsn = reached.lsn.max(moved.lsn);
            reached.activities += moved.activities;
        });
        Ok(())
    }
}
