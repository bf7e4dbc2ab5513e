//! Where a copy can be interrupted, and the adapters that interrupt it there.
//!
//! The adapters are the real ones, with a stop before and after each step of a chunk. A kill leaves the step hanging until
//! everything of the process is dropped at once; a reset cuts every connection to the source and lets the step go on.

use std::{
    future::pending,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

use antiphon_engine::{
    Fault,
    ports::{
        Batch, Capture, ChunkRows, Leadership, LogFlusher, LogWriter, SnapshotProgress, SnapshotTable, Source, Tenure,
        Waits,
    },
};
use antiphon_model::{ActivityId, Cell, Checkpoint, Visibility};
use antiphon_testkit::Proxy;
use async_trait::async_trait;
use tokio::sync::Notify;
use tokio_postgres::Client;

/// A chunk holds at most so many rows here, so that a copy takes many.
const CHUNK_ROWS_MAX: usize = 60;

/// A moment of a chunk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Point {
    BeforeOpen,
    AfterOpen,
    BeforeRead,
    AfterRead,
    BeforeMark,
    AfterMark,
    BeforeAppend,
    AfterAppend,
    BeforeFlush,
    AfterFlush,
}

impl Point {
    /// In the order of a chunk.
    pub const ALL: [Point; 10] = [
        Point::BeforeOpen,
        Point::AfterOpen,
        Point::BeforeRead,
        Point::AfterRead,
        Point::BeforeMark,
        Point::AfterMark,
        Point::BeforeAppend,
        Point::AfterAppend,
        Point::BeforeFlush,
        Point::AfterFlush,
    ];
}

/// What happens at a point.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Blow {
    /// Everything of the process is gone at once.
    Kill,
    /// Every connection to the source is reset.
    Reset,
}

/// The next interruption, and what was appended so far.
pub struct Trap {
    armed: Mutex<Option<(Point, Blow, u32)>>,
    pub hit: Notify,
    proxy: Proxy,
    /// Type and id of each row that a copy brought into the log.
    pub copied: Mutex<Vec<(String, String)>>,
    chunk_waits_for_flush: AtomicBool,
    /// Who writes between the reading of a chunk and its watermark.
    meddler: Client,
}

impl Trap {
    pub fn new(proxy: Proxy, meddler: Client) -> Arc<Trap> {
        let (armed, hit, copied) = (Mutex::default(), Notify::new(), Mutex::default());
        Arc::new(Trap { armed, hit, proxy, copied, chunk_waits_for_flush: AtomicBool::new(false), meddler })
    }

    /// Changes, deletes and moves rows of a chunk that was read just now: what it holds of them is old.
    async fn meddle(&self, entity_type: &str, chunk: &ChunkRows) {
        let cell = |row: usize, column: usize| match chunk.rows.get(row).and_then(|row| row.cells().nth(column)) {
            Some(Cell::Text(text)) => String::from_utf8_lossy(text).into_owned(),
            _ => "0".to_owned(),
        };
        let row = |row: usize| match entity_type {
            "pairs" => format!("list = {} and n = {}", cell(row, 0), cell(row, 1)),
            _ => format!("id = '{}'", cell(row, 0)),
        };
        // A row moves once: the copy must come to an end.
        let (moved, once) = match entity_type {
            "plain" => ("id = -id", "id > 0"),
            "wide" => ("id = 'z' || id", "id like 'k%'"),
            _ => ("n = n + 1000000", "n < 1000000"),
        };
        let sql = format!(
            "update {entity_type} set v = 'meddled' where {}; delete from {entity_type} where {};
             update {entity_type} set {moved} where {once} and {}; update {entity_type} set v = null where {}",
            row(1),
            row(2),
            row(3),
            row(4)
        );
        // It may meet a writer, and be the one that gives way.
        if let Err(error) = self.meddler.batch_execute(&sql).await {
            eprintln!("nothing was meddled with: {error}");
        }
    }

    /// Strikes at a point, after letting it pass so many times.
    pub fn arm(&self, point: Point, blow: Blow, passes: u32) {
        *self.armed.lock().unwrap_or_else(PoisonError::into_inner) = Some((point, blow, passes));
    }

    async fn at(&self, point: Point) {
        let blow = {
            let mut armed = self.armed.lock().unwrap_or_else(PoisonError::into_inner);
            match &mut *armed {
                Some((wanted, _, passes)) if *wanted == point && *passes > 0 => {
                    *passes -= 1;
                    return;
                }
                Some((wanted, blow, _)) if *wanted == point => {
                    let blow = *blow;
                    *armed = None;
                    blow
                }
                _ => return,
            }
        };
        if blow == Blow::Reset {
            self.proxy.reset();
        }
        self.hit.notify_one();
        if blow == Blow::Kill {
            pending::<()>().await;
        }
    }
}

/// A source whose tables stop.
pub struct StoppingSource<S>(pub S, pub Arc<Trap>);

#[async_trait]
impl<S: Source> Source for StoppingSource<S> {
    async fn connect(&self, checkpoint: &Checkpoint, waits: &Waits<'_>) -> Result<Box<dyn Capture>, Fault> {
        self.0.connect(checkpoint, waits).await
    }

    async fn visibility(&self) -> Result<Visibility, Fault> {
        self.0.visibility().await
    }

    async fn snapshot_table(&self, entity_type: &str) -> Result<Box<dyn SnapshotTable>, Fault> {
        self.1.at(Point::BeforeOpen).await;
        let table = self.0.snapshot_table(entity_type).await?;
        self.1.at(Point::AfterOpen).await;
        Ok(Box::new(StoppingTable(table, Arc::clone(&self.1))))
    }
}

struct StoppingTable(Box<dyn SnapshotTable>, Arc<Trap>);

#[async_trait]
impl SnapshotTable for StoppingTable {
    async fn chunk(&mut self, progress: &SnapshotProgress, rows_max: usize) -> Result<ChunkRows, Fault> {
        self.1.at(Point::BeforeRead).await;
        let chunk = self.0.chunk(progress, rows_max.min(CHUNK_ROWS_MAX)).await?;
        self.1.meddle(&progress.entity_type, &chunk).await;
        self.1.at(Point::AfterRead).await;
        Ok(chunk)
    }

    async fn reread(&mut self, entity_ids: &[String], progress: &SnapshotProgress) -> Result<ChunkRows, Fault> {
        self.1.at(Point::BeforeRead).await;
        let chunk = self.0.reread(entity_ids, progress).await?;
        self.1.at(Point::AfterRead).await;
        Ok(chunk)
    }

    async fn mark(&mut self, content: &str) -> Result<(), Fault> {
        self.1.at(Point::BeforeMark).await;
        self.0.mark(content).await?;
        self.1.at(Point::AfterMark).await;
        Ok(())
    }
}

/// A log whose appends and flushes of chunks stop.
pub struct StoppingLog<L>(pub L, pub Arc<Trap>);

#[async_trait]
impl<L: Leadership> Leadership for StoppingLog<L> {
    async fn acquire(&self, source: &str, holder: &str) -> Result<Option<Tenure>, Fault> {
        let Some(tenure) = self.0.acquire(source, holder).await? else { return Ok(None) };
        self.1.chunk_waits_for_flush.store(false, Ordering::Relaxed);
        let writer = Box::new(StoppingWriter(tenure.writer, Arc::clone(&self.1)));
        let flusher = Box::new(StoppingFlusher(tenure.flusher, Arc::clone(&self.1)));
        Ok(Some(Tenure { writer, flusher, ..tenure }))
    }
}

struct StoppingWriter(Box<dyn LogWriter>, Arc<Trap>);

#[async_trait]
impl LogWriter for StoppingWriter {
    async fn append(&mut self, batch: &mut Batch) -> Result<ActivityId, Fault> {
        let Some(progress) = &batch.snapshot else { return self.0.append(batch).await };
        let entity_type = progress.entity_type.clone();
        self.1.at(Point::BeforeAppend).await;
        let last = self.0.append(batch).await?;
        // The rows of a chunk stand at its watermark, which is alone in its transaction.
        let rows = batch.activities.iter().filter(|row| {
            row.commit.lsn == batch.checkpoint.lsn && row.entity_type == entity_type && batch.checkpoint.complete
        });
        let rows = rows.filter_map(|row| Some((row.entity_type.clone(), row.entity_id.clone()?)));
        self.1.copied.lock().unwrap_or_else(PoisonError::into_inner).extend(rows);
        self.1.chunk_waits_for_flush.store(true, Ordering::Relaxed);
        self.1.at(Point::AfterAppend).await;
        Ok(last)
    }
}

struct StoppingFlusher(Box<dyn LogFlusher>, Arc<Trap>);

#[async_trait]
impl LogFlusher for StoppingFlusher {
    async fn flush(&mut self, up_to: ActivityId) -> Result<(), Fault> {
        if !self.1.chunk_waits_for_flush.swap(false, Ordering::Relaxed) {
            return self.0.flush(up_to).await;
        }
        self.1.at(Point::BeforeFlush).await;
        self.0.flush(up_to).await?;
        self.1.at(Point::AfterFlush).await;
        Ok(())
    }
}
