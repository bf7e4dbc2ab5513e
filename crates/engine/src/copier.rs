//! The initial copies of tables, joined with the running stream by watermarks (CAP-20 to CAP-22).
//!
//! For each table, one chunk at a time: note what the stream changes from now on (the window); read the chunk under a
//! snapshot; write a watermark into the source's log; when the stream reaches the watermark, append the chunk's rows
//! there, except those that the window outdates. Rows, progress and position are one append, so a crash resumes at the
//! last chunk and repeats at most one.
//! Several tables have a window open at once, each its own: a watermark is of one chunk, and settles that one alone.
//! Law: a chunk counts only if its snapshot sees every transaction that was mapped before its window opened; decoding
//! delivers a commit before readers see it. A failing table fails alone.

mod copy;
mod pace;

use std::{
    collections::{BTreeSet, HashSet},
    sync::Arc,
};

use antiphon_model::{Change, Commit, Micros, Transaction, Visibility, Xid};
use copy::{Copy, Step};
pub use copy::{CopyState, CopyStatus, CopyTrouble};
use tokio::sync::mpsc;

use crate::{
    Fault, Mapped, Mapper,
    intake::Window,
    pipeline::Works,
    ports::{ChunkRows, SnapshotProgress, SnapshotTable, Source},
    task,
};

/// The first chunk of a table, before the size of its rows is known.
const FIRST_CHUNK_ROWS: usize = 200;
/// Chunks are sized to about so many bytes.
const CHUNK_BYTES: usize = 2 << 20;
/// And to at most so many rows.
const CHUNK_ROWS_MAX: usize = 5_000;
/// More transactions than this that a new snapshot might not see are worth asking which of them readers see by now.
const RECENT_MANY: usize = 4_096;
/// How the content of every watermark begins.
pub(crate) const WATERMARK: &str = "{\"watermark\":";

/// Runs the copies of one tenure.
pub(crate) struct Copier {
    source: Arc<dyn Source>,
    seed: String,
    /// So many tables are copied side by side, each on a connection of its own.
    tables_at_once: usize,
    copies: Vec<Copy>,
    marks: u64,
    /// Transactions mapped lately that a new snapshot might not see yet.
    recent: Vec<Xid>,
    events: mpsc::Receiver<Event>,
    tell: mpsc::Sender<Event>,
    clock: Arc<dyn Fn() -> Micros + Send + Sync>,
}

/// What comes to pass beside the stream.
pub(crate) enum Event {
    /// A background step ended.
    Done(Done),
    /// The copy of a type that waited may be tried again.
    Due(String),
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
    pub(crate) fn new(works: &Works, seed: String, pending: Vec<SnapshotProgress>) -> Copier {
        // Each table has at most one step or one timer under way.
        let (tell, events) = mpsc::channel(pending.len().max(1));
        let copies = pending.into_iter().map(Copy::new).collect();
        let (source, clock) = (Arc::clone(&works.source), Arc::clone(&works.clock));
        let tables_at_once = works.copies_at_once;
        Copier { source, seed, tables_at_once, copies, marks: 0, recent: Vec::new(), events, tell, clock }
    }

    /// Tells whether anything is left to copy.
    pub(crate) fn active(&self) -> bool {
        self.copies.iter().any(|copy| !matches!(copy.step, Step::Over))
    }

    /// Tells whether there is something to start.
    pub(crate) fn idle(&self) -> bool {
        self.copies.iter().any(|copy| matches!(copy.step, Step::Idle | Step::Waiting { wait: Some(_) }))
    }

    /// Waits for a background step or a copy that is due; never returns where there is neither.
    pub(crate) async fn next(&mut self) -> Event {
        match self.events.recv().await {
            Some(event) => event,
            None => std::future::pending().await,
        }
    }

    /// Tells whether transactions pile up that readers see by now.
    pub(crate) fn wants_visibility(&self) -> bool {
        self.recent.len() >= RECENT_MANY
    }

    /// Forgets transactions that readers see by now.
    pub(crate) fn prune(&mut self, visibility: &Visibility) {
        self.recent.retain(|xid| !visibility.sees(*xid));
    }

    /// Starts what can be started.
    pub(crate) fn start(&mut self) {
        for copy in &mut self.copies {
            if let Step::Waiting { wait } = &mut copy.step
                && let Some(wait) = wait.take()
            {
                let (tell, entity_type) = (self.tell.clone(), copy.progress.entity_type.clone());
                drop(task::spawn("copy wait", async move {
                    tokio::select! {
                        () = tokio::time::sleep(wait) => {}
                        () = tell.closed() => return,
                    }
                    if tell.send(Event::Due(entity_type)).await.is_err() {
                        tracing::debug!("a copy was due after the end of its tenure");
                    }
                }));
            }
        }
        let busy = self.copies.iter().filter(|copy| copy.busy()).count();
        let free = self.tables_at_once.saturating_sub(busy);
        let idle = self.copies.iter_mut().filter(|copy| matches!(copy.step, Step::Idle));
        for copy in idle.take(free) {
            copy.step = Step::Reading;
            copy.window = Window::default();
            copy.mapped_before.clone_from(&self.recent);
            let (source, tell) = (Arc::clone(&self.source), self.tell.clone());
            let (table, progress) = (copy.table.take(), copy.progress.clone());
            let (again, rows_max) = (copy.read_again.clone(), copy.chunk_rows);
            drop(task::spawn("copy chunk", async move {
                let entity_type = progress.entity_type.clone();
                let (table, result) = read(source, table, &progress, &again, rows_max).await;
                // The receiver is gone only when the tenure has ended.
                if tell.send(Event::Done(Done { entity_type, mark: false, table, result })).await.is_err() {
                    tracing::debug!("a chunk came after the end of its tenure");
                }
            }));
        }
    }

    /// Takes in what came; returns progress to save where people are to be told of a failure.
    pub(crate) fn take(&mut self, event: Event) -> Option<Copied> {
        let (Event::Due(name) | Event::Done(Done { entity_type: name, .. })) = &event;
        let index = self.copies.iter().position(|copy| copy.progress.entity_type == *name)?;
        match event {
            Event::Due(_) => {
                self.copies[index].step = Step::Idle;
                None
            }
            Event::Done(done) => self.done(index, done),
        }
    }

    fn done(&mut self, index: usize, step: Done) -> Option<Copied> {
        let Done { mark, table, result, .. } = step;
        let copy = &mut self.copies[index];
        copy.table = table;
        match result {
            Ok(Some(chunk)) => {
                let hidden = copy.mapped_before.iter().any(|xid| !chunk.visibility.sees(*xid));
                copy.mapped_before = Vec::new();
                let usable = !hidden && !copy.window.overflowed();
                self.recent.retain(|xid| !chunk.visibility.sees(*xid));
                let copy = &mut self.copies[index];
                if usable {
                    copy.came_through((self.clock)());
                    self.mark(index, chunk);
                } else {
                    copy.again_soon();
                }
                None
            }
            Ok(None) => None,
            // The stream has reached the watermark all the same: the answer was lost after the commit.
            Err(_) if mark && !matches!(copy.step, Step::Marked { .. }) => None,
            Err(fault) => copy.fail(&fault),
        }
    }

    /// A chunk that was read cannot be used, whatever is read again: its table fails, alone.
    pub(crate) fn fail(&mut self, entity_type: &str, fault: &Fault) -> Option<Copied> {
        self.copies.iter_mut().find(|copy| copy.watches(entity_type))?.fail(fault)
    }

    /// From here on a window needs to note only what touches the rows of its chunk.
    pub(crate) fn narrow(&mut self, mapper: &Mapper) {
        for copy in &mut self.copies {
            let Step::Marked { chunk, .. } = &copy.step else { continue };
            if !copy.window.narrowed() {
                let ids = chunk.rows.iter().filter_map(|row| mapper.copied_id(&chunk.relation, row));
                copy.window.narrow(ids.collect::<HashSet<String>>());
            }
        }
    }

    fn mark(&mut self, index: usize, chunk: Box<ChunkRows>) {
        self.marks += 1;
        let content = format!("{WATERMARK}\"{}-{}\"}}", self.seed, self.marks);
        let copy = &mut self.copies[index];
        let tell = self.tell.clone();
        let (table, entity_type) = (copy.table.take(), copy.progress.entity_type.clone());
        copy.step = Step::Marked { chunk, content: content.clone() };
        drop(task::spawn("copy watermark", async move {
            let Some(mut table) = table else { return };
            let result = table.mark(&content).await.map(|()| None);
            if tell.send(Event::Done(Done { entity_type, mark: true, table: Some(table), result })).await.is_err() {
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
        if copy.window.overflowed() {
            copy.again_soon();
            return None;
        }
        let copied = copy.settle(*chunk, (commit, (self.clock)()), mapper, into);
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

    /// Returns how every copy is, for people.
    pub(crate) fn statuses(&self) -> Vec<CopyStatus> {
        self.copies.iter().map(Copy::status).collect()
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
