//! The captured database, whatever the capture method (CAP-01).
//!
//! A source yields transactions in commit order and may repeat them; it never skips one without a fault that says so.
//! It acknowledges nothing by itself.

use std::sync::Arc;

use antiphon_model::{Checkpoint, Lsn, Micros, Relation, SourceIdentity, Transaction, Tuple, Visibility};
use async_trait::async_trait;
use tokio::sync::watch;

use super::SnapshotProgress;
use crate::Fault;

/// What a capture yields.
#[derive(Debug)]
pub enum Captured {
    /// Committed transactions, or parts of a large one, in commit order.
    Transactions(Vec<Transaction>),
    /// Everything that committed before this position was yielded; the source's clock said `at`.
    Progress {
        /// The position.
        lsn: Lsn,
        /// The source's clock.
        at: Micros,
    },
}

/// Is told, while a connection waits, for whom: a fault that would end by itself, for people to see.
pub type Waits<'a> = dyn Fn(Fault) + Send + Sync + 'a;

/// A database that can be captured.
///
/// Concurrency: several connections may be opened; only one can stream from the slot at a time.
#[async_trait]
pub trait Source: Send + Sync {
    /// Connects, creates publication and slot (in this order) if there never was a checkpoint, checks them otherwise,
    /// proves that this is the server that the checkpoint belongs to, and starts to stream after it.
    ///
    /// At the first connection of an epoch it returns only when every snapshot taken from then on sees what the stream
    /// will not bring: a commit may be in the source's log before the slot and become visible after it. `waits` is told
    /// now and then whom that waits for.
    /// Order: commit order. Repetition: transactions after `checkpoint.acknowledged` may come again after each
    /// connection. Durability: nothing is acknowledged but by the caller.
    async fn connect(&self, checkpoint: &Checkpoint, waits: &Waits<'_>) -> Result<Box<dyn Capture>, Fault>;

    /// Returns what a snapshot taken now sees.
    async fn visibility(&self) -> Result<Visibility, Fault>;

    /// Opens the table of an entity type for its initial copy.
    async fn snapshot_table(&self, entity_type: &str) -> Result<Box<dyn SnapshotTable>, Fault>;
}

/// A running capture.
///
/// Its connection is served by a task of its own: keepalives are answered while the caller is busy or stuck.
#[async_trait]
pub trait Capture: Send {
    /// Waits for what comes next. Cancelling the wait loses nothing.
    async fn next(&mut self) -> Result<Captured, Fault>;

    /// Returns what has arrived already, without waiting.
    fn try_next(&mut self) -> Option<Result<Captured, Fault>>;

    /// Returns the handle by which durable positions are told; a lower value than before is ignored.
    fn acknowledge(&self) -> watch::Sender<Lsn>;

    /// Returns which server this is.
    fn identity(&self) -> &SourceIdentity;

    /// Returns the source's clock at its newest sign of life; zero before the first.
    fn source_clock(&self) -> Micros;

    /// Returns the position from which the server streams: the slot's confirmed position or the one asked for.
    fn started_at(&self) -> Lsn;
}

/// Rows of one chunk of a table's copy, read under one snapshot.
#[derive(Debug)]
pub struct ChunkRows {
    /// The table's shape.
    pub relation: Arc<Relation>,
    /// The rows in key order, as text.
    pub rows: Vec<Tuple>,
    /// What the reading snapshot saw.
    pub visibility: Visibility,
    /// Where the copy stands after this chunk; `complete` where no row lies after it.
    pub progress: SnapshotProgress,
}

/// A table being copied in key order.
///
/// Order: keys rise. Repetition: reading the same chunk again is harmless. Durability: none; the caller appends.
#[async_trait]
pub trait SnapshotTable: Send {
    /// Reads the chunk after `progress`, at most `rows_max` rows.
    async fn chunk(&mut self, progress: &SnapshotProgress, rows_max: usize) -> Result<ChunkRows, Fault>;

    /// Reads given rows again (entity ids); `progress` is returned as it is.
    async fn reread(&mut self, entity_ids: &[String], progress: &SnapshotProgress) -> Result<ChunkRows, Fault>;

    /// Writes a high watermark into the source's log: a transactional logical message (prefix `antiphon`) with this
    /// content, in a transaction of its own that begins after the read returned.
    async fn mark(&mut self, content: &str) -> Result<(), Fault>;
}
