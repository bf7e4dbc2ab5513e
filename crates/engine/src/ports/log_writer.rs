//! Writing the activity log; one fenced writer at a time.
//!
//! The right to write is a tenure: acquired, kept by renewing, lost to whoever acquires the next one (house 7 and 8).
//! Whatever fails ends the tenure; there is no way to mend one.

use antiphon_model::{Activity, ActivityId, Checkpoint};
use async_trait::async_trait;

use super::Head;
use crate::Fault;

/// What one append makes durable together.
#[derive(Clone, Debug)]
pub struct Batch {
    /// The activities in order; the append gives them their ids. May be empty: then only the checkpoint moves.
    pub activities: Vec<Activity>,
    /// Where the source stands after this batch.
    pub checkpoint: Checkpoint,
    /// Pairs (entity type, organisation) that occur for the first time.
    pub organisations: Vec<(String, String)>,
    /// How far a table's initial copy has come with this batch.
    pub snapshot: Option<SnapshotProgress>,
}

/// How far the initial copy of one table has come.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SnapshotProgress {
    /// The entity type.
    pub entity_type: String,
    /// The key (as an array of texts in JSON) of the last row copied; `None` before the first chunk.
    pub last_key: Option<String>,
    /// Rows copied so far.
    pub rows_done: u64,
    /// Rows expected in all, as far as is known now; 0 where nothing is.
    pub rows_estimated: u64,
    /// How fast rows came of late; 0 where none came.
    pub rows_per_second: u64,
    /// Whether the copy is done.
    pub complete: bool,
    /// Why it fails, where it does: it is tried again, and the others go on (CAP-22).
    pub failure: Option<String>,
}

impl SnapshotProgress {
    /// Makes the progress of a copy that has not begun.
    pub fn fresh(entity_type: impl Into<String>) -> SnapshotProgress {
        SnapshotProgress { entity_type: entity_type.into(), ..SnapshotProgress::default() }
    }

    /// Returns how long it goes on at this pace; `None` where nobody can tell.
    pub fn seconds_left(&self) -> Option<u64> {
        match (self.complete, self.rows_per_second) {
            (true, _) => Some(0),
            (false, 0) => None,
            // The estimate was reached, and rows still come.
            (false, _) if self.rows_estimated <= self.rows_done => None,
            (false, rate) => Some((self.rows_estimated - self.rows_done).div_ceil(rate)),
        }
    }
}

/// Makes one server the writer of a source.
///
/// Durability: the tenure's fence is durable before `acquire` returns. Order: fences rise. Repetition: a second
/// acquisition fences the first. Concurrency: any number may try; at most one tenure can append.
#[async_trait]
pub trait Leadership: Send + Sync {
    /// Tries to become the writer; `None` while another server holds the lease and is alive.
    ///
    /// Before it returns it flushes what an earlier writer appended and raises the durable head to the head.
    async fn acquire(&self, source: &str, holder: &str) -> Result<Option<Tenure>, Fault>;
}

/// The right to write, with all that is needed for it.
pub struct Tenure {
    /// The log's marks at the time.
    pub head: Head,
    /// Where the source stands.
    pub checkpoint: Checkpoint,
    /// Every pair (entity type, organisation) that ever had an activity.
    pub organisations: Vec<(String, String)>,
    /// How far the copies of tables have come.
    pub snapshots: Vec<SnapshotProgress>,
    /// Appends.
    pub writer: Box<dyn LogWriter>,
    /// Flushes, beside the writer.
    pub flusher: Box<dyn LogFlusher>,
    /// Keeps the right.
    pub lease: Box<dyn Lease>,
}

/// Appends to the log.
///
/// Durability: none until a flush; a batch without activities is on disk when `append` returns. Order: ids rise by call and by place in the batch. Repetition: a batch whose
/// fence or expected checkpoint no longer holds changes nothing and fails with `FENCED` or `LOG_UNREACHABLE`; after
/// any failure the writer is spent and a new tenure must be acquired. Concurrency: one call at a time.
#[async_trait]
pub trait LogWriter: Send {
    /// Appends a batch in one transaction, sets the ids of its activities, and returns the log's last id.
    async fn append(&mut self, batch: &mut Batch) -> Result<ActivityId, Fault>;
}

/// Makes appends durable and visible.
///
/// Durability: when `flush` returns, every append that had returned before the call is on disk, and readers on every
/// server see `Head::durable >= up_to`. Order and repetition: flushing an older mark changes nothing. Concurrency:
/// one call at a time, beside the writer.
#[async_trait]
pub trait LogFlusher: Send {
    /// Flushes and raises the durable head to `up_to`.
    async fn flush(&mut self, up_to: ActivityId) -> Result<(), Fault>;
}

/// Keeps the right to write.
///
/// Durability: the extended expiry is committed before `renew` returns. Concurrency: beside writer and flusher.
#[async_trait]
pub trait Lease: Send {
    /// Extends the lease; fails with `FENCED` once another server has taken over.
    async fn renew(&mut self) -> Result<(), Fault>;

    /// Gives the lease back, so that another server may take over at once.
    async fn release(&mut self) -> Result<(), Fault>;

    /// Returns how often `renew` must be called, in milliseconds.
    fn renew_interval_ms(&self) -> u64;
}
