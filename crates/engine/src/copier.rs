//! The initial copies of tables, joined with the running stream by watermarks (CAP-20 to CAP-22).
//!
//! For each table, one chunk at a time: note what the stream changes from now on (the window); read the chunk under a
//! snapshot; write a watermark into the source's log; when the stream reaches the watermark, append the chunk's rows
//! there, except those that the window outdates. Rows, progress and position are one append, so a crash resumes at the
//! last chunk and repeats at most one.
//! Law: a chunk counts only if its snapshot sees every transaction that was mapped before its window opened; decoding
//! delivers a commit before readers see it. A failing table fails alone.

use std::{collections::BTreeSet, sync::Arc};

use antiphon_model::{Change, Class, Commit, Transaction, Visibility, Xid};
use tokio::sync::mpsc;

use crate::{
    Fault, Mapped, Mapper, backoff,
    events::{CopyFailed, RowsCopied},
    intake::{Settled, Window},
    ports::{ChunkRows, SnapshotProgress, SnapshotTable, Source},
    task,
};

/// So many tables are copied side by side.
const TABLES_AT_ONCE: usize = 4;
/// The first chunk of a table, before the size of its rows is known.
const FIRST_CHUNK_ROWS: usize = 200;
/// Chunks are sized to about so many bytes.
const CHUNK_BYTES: usize = 2 << 20;
/// And to at most so many rows.
const CHUNK_ROWS_MAX: usize = 5_000;
/// So many transient failures in a row make a table's copy fail.
const ATTEMPTS_MAX: u32 = 20;
/// How the content of every watermark begins.
pub(crate) const WATERMARK: &str = "{\"watermark\":";

/// Runs the copies of one tenure.
pub(crate) struct Copier {
    source: Arc<dyn Source>,
    seed: String,
    copies: Vec<Copy>,
    marks: u64,
    /// Transactions mapped lately that a new snapshot might not see yet.
    recent: Vec<Xid>,
    results: mpsc::Receiver<Done>,
    done: mpsc::Sender<Done>,
}

struct Copy {
    progress: SnapshotProgress,
    step: Step,
    window: Window,
    mapped_before: Vec<Xid>,
    read_again: Vec<String>,
    /// Where the copy will stand once the rows to be read again are in.
    ahead: Option<SnapshotProgress>,
    chunk_rows: usize,
    attempts: u32,
    table: Option<Box<dyn SnapshotTable>>,
}

enum Step {
    Idle,
    Reading,
    Marked { chunk: Box<ChunkRows>, content: String },
    Over,
}

/// What a background step brought.
pub(crate) struct Done {
    entity_type: String,
    /// Whether this was the writing of a watermark, not a read.
    mark: bool,
    table: Option<Box<dyn SnapshotTable>>,
    result: Result<Option<Box<ChunkRows>>, Fault>,
}

/// What a step of a copy adds to the batch in hand.
pub(crate) struct Copied {
    /// How far the copy is now.
    pub(crate) progress: SnapshotProgress,
}

impl Copier {
    /// Makes the copier of a tenure; `seed` makes its watermarks unique.
    pub(crate) fn new(source: Arc<dyn Source>, seed: String, pending: Vec<SnapshotProgress>) -> Copier {
        // Each table has at most one step under way.
        let (done, results) = mpsc::channel(pending.len().max(1));
        let copies = pending.into_iter().map(|progress| Copy {
            progress,
            step: Step::Idle,
            window: Window::default(),
            mapped_before: Vec::new(),
            read_again: Vec::new(),
            ahead: None,
            chunk_rows: FIRST_CHUNK_ROWS,
            attempts: 0,
            table: None,
        });
        Copier { source, seed, copies: copies.collect(), marks: 0, recent: Vec::new(), results, done }
    }

    /// Tells whether anything is left to copy.
    pub(crate) fn active(&self) -> bool {
        self.copies.iter().any(|copy| !matches!(copy.step, Step::Over))
    }

    /// Waits for a background step; never returns where none is under way.
    pub(crate) async fn finished(&mut self) -> Done {
        match self.results.recv().await {
            Some(done) => done,
            None => std::future::pending().await,
        }
    }

    /// Forgets transactions that readers see by now.
    pub(crate) fn prune(&mut self, visibility: &Visibility) {
        self.recent.retain(|xid| !visibility.sees(*xid));
    }

    /// Starts what can be started.
    pub(crate) fn start(&mut self) {
        let busy = self.copies.iter().filter(|copy| matches!(copy.step, Step::Reading | Step::Marked { .. })).count();
        let free = TABLES_AT_ONCE.saturating_sub(busy);
        let idle = self.copies.iter_mut().filter(|copy| matches!(copy.step, Step::Idle));
        for copy in idle.take(free) {
            copy.step = Step::Reading;
            copy.window = Window::default();
            copy.mapped_before.clone_from(&self.recent);
            let (source, done) = (Arc::clone(&self.source), self.done.clone());
            let (table, progress) = (copy.table.take(), copy.progress.clone());
            let (again, rows_max) = (std::mem::take(&mut copy.read_again), copy.chunk_rows);
            copy.read_again.clone_from(&again);
            let wait = backoff::wait(copy.attempts, progress.rows_done);
            let pause = (copy.attempts > 0).then_some(wait);
            drop(task::spawn("copy chunk", async move {
                if let Some(pause) = pause {
                    tokio::time::sleep(pause).await;
                }
                let entity_type = progress.entity_type.clone();
                let (table, result) = read(source, table, &progress, &again, rows_max).await;
                // The receiver is gone only when the tenure has ended.
                if done.send(Done { entity_type, mark: false, table, result }).await.is_err() {
                    tracing::debug!("a chunk came after the end of its tenure");
                }
            }));
        }
    }

    /// Takes in a background step; returns progress to save where a table has failed for good.
    pub(crate) fn take(&mut self, step: Done) -> Option<Copied> {
        let Done { entity_type, mark, table, result } = step;
        let index = self.copies.iter().position(|copy| copy.progress.entity_type == entity_type)?;
        let copy = &mut self.copies[index];
        copy.table = table;
        match result {
            Ok(Some(chunk)) => {
                let hidden = copy.mapped_before.iter().any(|xid| !chunk.visibility.sees(*xid));
                self.recent.retain(|xid| !chunk.visibility.sees(*xid));
                let copy = &mut self.copies[index];
                copy.attempts = if hidden { copy.attempts + 1 } else { 0 };
                if hidden {
                    copy.step = Step::Idle;
                } else {
                    self.mark(index, chunk);
                }
                None
            }
            Ok(None) => None,
            // The stream has reached the watermark all the same: the answer was lost after the commit.
            Err(_) if mark && !matches!(copy.step, Step::Marked { .. }) => None,
            Err(fault) => copy.fail(&fault),
        }
    }

    fn mark(&mut self, index: usize, chunk: Box<ChunkRows>) {
        self.marks += 1;
        let content = format!("{WATERMARK}\"{}-{}\"}}", self.seed, self.marks);
        let copy = &mut self.copies[index];
        let done = self.done.clone();
        let (table, entity_type) = (copy.table.take(), copy.progress.entity_type.clone());
        copy.step = Step::Marked { chunk, content: content.clone() };
        drop(task::spawn("copy watermark", async move {
            let Some(mut table) = table else { return };
            let result = table.mark(&content).await.map(|()| None);
            if done.send(Done { entity_type, mark: true, table: Some(table), result }).await.is_err() {
                tracing::debug!("a watermark was written after the end of its tenure");
            }
        }));
    }

    /// Notes what a transaction touches, then, where it holds a watermark, maps the chunk that waits for it.
    pub(crate) fn observe(&mut self, transaction: &Transaction, mapper: &mut Mapper, into: &mut Mapped) -> Vec<Copied> {
        if self.recent.last() != Some(&transaction.xid) {
            self.recent.push(transaction.xid);
        }
        let mut copied = Vec::new();
        for (index, change) in transaction.changes.iter().enumerate() {
            match change {
                Change::Insert(row) | Change::Update(row) | Change::Delete(row) => {
                    let Some((entity_type, keys, whole)) = mapper.touched(row) else { continue };
                    if let Some(copy) = self.copies.iter_mut().find(|copy| copy.watches(entity_type)) {
                        keys.into_iter().for_each(|key| copy.window.touch(key, transaction.xid, whole));
                    }
                }
                Change::Truncate(relations) => {
                    let names: BTreeSet<&str> =
                        relations.iter().filter_map(|relation| mapper.entity_of(relation)).collect();
                    for copy in self.copies.iter_mut().filter(|copy| names.contains(&*copy.progress.entity_type)) {
                        copy.window.truncate(transaction.xid);
                    }
                }
                Change::Message { prefix, content } if &prefix[..] == b"antiphon" => {
                    let seq = transaction.first_ordinal + index as u64;
                    let commit = Commit {
                        lsn: transaction.commit_lsn,
                        seq,
                        last: false,
                        xid: transaction.xid,
                        at: transaction.committed_at,
                    };
                    copied.extend(self.reached(content, commit, mapper, into));
                }
                Change::Message { .. } => {}
            }
        }
        copied
    }

    fn reached(&mut self, content: &[u8], commit: Commit, mapper: &mut Mapper, into: &mut Mapped) -> Option<Copied> {
        let waits =
            |copy: &&mut Copy| matches!(&copy.step, Step::Marked { content: own, .. } if own.as_bytes() == content);
        let copy = self.copies.iter_mut().find(waits)?;
        let Step::Marked { chunk, .. } = std::mem::replace(&mut copy.step, Step::Idle) else { return None };
        let copied = copy.settle(*chunk, commit, mapper, into);
        Some(copied)
    }

    /// Returns the relations of chunks that wait, so that their shapes can be learned before they are mapped.
    pub(crate) fn waiting_relations(&self) -> Vec<Arc<antiphon_model::Relation>> {
        let relation = |copy: &Copy| match &copy.step {
            Step::Marked { chunk, .. } => Some(Arc::clone(&chunk.relation)),
            _ => None,
        };
        self.copies.iter().filter_map(relation).collect()
    }

    /// Returns how far every copy is.
    pub(crate) fn progress(&self) -> impl Iterator<Item = &SnapshotProgress> {
        self.copies.iter().map(|copy| &copy.progress)
    }
}

impl Copy {
    fn watches(&self, entity_type: &str) -> bool {
        self.progress.entity_type == entity_type && matches!(self.step, Step::Reading | Step::Marked { .. })
    }

    fn settle(&mut self, chunk: ChunkRows, mark: Commit, mapper: &mut Mapper, into: &mut Mapped) -> Copied {
        // Readers see commits in another order than the log's: a list may see a row's later delete and not the mark.
        // What every later list sees is a transaction that had ended when the chunk was read.
        let commit = Commit { xid: chunk.visibility.ended(), ..mark };
        let bytes: usize = chunk.rows.iter().map(antiphon_model::Tuple::byte_len).sum();
        let mut again = Vec::new();
        let mut fresh = Vec::with_capacity(chunk.rows.len());
        for row in chunk.rows {
            let Some(id) = mapper.copied_id(&chunk.relation, &row) else { continue };
            match self.window.settle(&id, &chunk.visibility) {
                Settled::Fresh => fresh.push(row),
                Settled::Stale => {}
                Settled::ReadAgain => again.push(id),
            }
        }
        if !fresh.is_empty() {
            let mean = bytes / fresh.len().max(1) + 1;
            self.chunk_rows = (CHUNK_BYTES / mean).clamp(1, CHUNK_ROWS_MAX);
        }
        mapper.map_copied(&chunk.relation, &fresh, commit, into);
        let reached = self.ahead.take().unwrap_or(chunk.progress);
        self.read_again = again;
        let rows = fresh.len() as u64;
        if self.read_again.is_empty() {
            let rows_done = self.progress.rows_done + rows;
            self.progress = SnapshotProgress { rows_done, ..reached };
        } else {
            // Until those rows are in, a crash must repeat the chunk: the saved place stays before it.
            self.progress.rows_done += rows;
            self.ahead = Some(reached);
        }
        let complete = self.progress.complete;
        self.step = if complete { Step::Over } else { Step::Idle };
        if complete {
            self.table = None;
        }
        RowsCopied { entity_type: &self.progress.entity_type, rows, rows_done: self.progress.rows_done, complete }
            .emit();
        Copied { progress: self.progress.clone() }
    }

    fn fail(&mut self, fault: &Fault) -> Option<Copied> {
        self.attempts += 1;
        let again = fault.class() == Class::Transient && self.attempts < ATTEMPTS_MAX;
        CopyFailed { entity_type: &self.progress.entity_type, fault, final_: !again }.emit();
        self.table = None;
        if again {
            self.step = Step::Idle;
            return None;
        }
        self.step = Step::Over;
        self.progress.failure = Some(format!("{}: {}", fault.code(), fault.detail()));
        Some(Copied { progress: self.progress.clone() })
    }
}

type Read = (Option<Box<dyn SnapshotTable>>, Result<Option<Box<ChunkRows>>, Fault>);

async fn read(
    source: Arc<dyn Source>,
    table: Option<Box<dyn SnapshotTable>>,
    progress: &SnapshotProgress,
    again: &[String],
    rows_max: usize,
) -> Read {
    let mut table = match table {
        Some(table) => table,
        None => match source.snapshot_table(&progress.entity_type).await {
            Ok(table) => table,
            Err(fault) => return (None, Err(fault)),
        },
    };
    let chunk = match again {
        [] => table.chunk(progress, rows_max).await,
        again => table.reread(again, progress).await,
    };
    (Some(table), chunk.map(|chunk| Some(Box::new(chunk))))
}
