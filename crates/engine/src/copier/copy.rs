//! The copy of one table: where it stands, what becomes of its chunks, and what it does when one fails.
//!
//! A copy is never given up: what hinders it is shown with its reason, and it is tried again, later and later, so that
//! what a person mended is noticed without a restart. While it waits it holds no connection and takes no other's turn.
//! Law: a failure changes nothing of what was copied; the next try reads the chunk after the last saved one.

use std::time::Duration;

use antiphon_model::{Class, Code, Commit, Micros, Xid};

use super::{CHUNK_BYTES, CHUNK_ROWS_MAX, Copied, FIRST_CHUNK_ROWS, pace::Pace};
use crate::{
    Fault, Mapped, Mapper, backoff,
    events::{CopyFailed, RowsCopied},
    intake::{Settled, Window},
    ports::{ChunkRows, SnapshotProgress, SnapshotTable},
};

/// So many transient failures in a row are shown as a failure.
const TRANSIENT_MAX: u32 = 5;
/// A copy that needs a person is looked at again after this long, then twice as long, and so on,
const LASTING_MS: u64 = 1_000;
/// up to this.
const LASTING_MAX_MS: u64 = 60_000;

/// What a copy is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CopyState {
    /// It waits for its turn.
    Queued,
    /// Its rows come in.
    Copying,
    /// Something hindered it that ends by itself; it is tried again.
    Retrying,
    /// Something hinders it that does not look as if it would end by itself; it is tried again all the same.
    Failed,
    /// Every row is in.
    Complete,
}

impl CopyState {
    /// Every state.
    pub const ALL: [CopyState; 5] =
        [CopyState::Queued, CopyState::Copying, CopyState::Retrying, CopyState::Failed, CopyState::Complete];

    /// Returns the word on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            CopyState::Queued => "queued",
            CopyState::Copying => "copying",
            CopyState::Retrying => "retrying",
            CopyState::Failed => "failed",
            CopyState::Complete => "complete",
        }
    }
}

/// What hinders a copy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CopyTrouble {
    /// The reason.
    pub code: Code,
    /// The particulars, without secrets.
    pub detail: String,
    /// How often it was tried in vain, in a row.
    pub attempts: u32,
}

/// How far the initial copy of a table is, for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CopyStatus {
    /// The figures.
    pub progress: SnapshotProgress,
    /// What it is doing.
    pub state: CopyState,
    /// What hinders it.
    pub trouble: Option<CopyTrouble>,
}

/// The copy of one table in one tenure.
pub(super) struct Copy {
    pub(super) progress: SnapshotProgress,
    pub(super) step: Step,
    pub(super) window: Window,
    pub(super) mapped_before: Vec<Xid>,
    pub(super) read_again: Vec<String>,
    /// Where the copy will stand once the rows to be read again are in.
    ahead: Option<SnapshotProgress>,
    pub(super) chunk_rows: usize,
    attempts: u32,
    trouble: Option<CopyTrouble>,
    pace: Pace,
    pub(super) table: Option<Box<dyn SnapshotTable>>,
}

pub(super) enum Step {
    Idle,
    Reading,
    Marked {
        chunk: Box<ChunkRows>,
        content: String,
    },
    /// Until its timer ends; `None` once that runs.
    Waiting {
        wait: Option<Duration>,
    },
    Over,
}

impl Copy {
    pub(super) fn new(progress: SnapshotProgress) -> Copy {
        Copy {
            progress,
            step: Step::Idle,
            window: Window::default(),
            mapped_before: Vec::new(),
            read_again: Vec::new(),
            ahead: None,
            chunk_rows: FIRST_CHUNK_ROWS,
            attempts: 0,
            trouble: None,
            pace: Pace::default(),
            table: None,
        }
    }

    /// Tells whether a connection works for it.
    pub(super) fn busy(&self) -> bool {
        matches!(self.step, Step::Reading | Step::Marked { .. })
    }

    /// Tells whether it is about a type and its window is open.
    pub(super) fn watches(&self, entity_type: &str) -> bool {
        self.busy() && self.progress.entity_type == entity_type
    }

    /// Returns how it is, for people.
    pub(super) fn status(&self) -> CopyStatus {
        let state = match (&self.step, &self.trouble) {
            (Step::Over, _) => CopyState::Complete,
            (_, Some(_)) if self.progress.failure.is_some() => CopyState::Failed,
            (_, Some(_)) => CopyState::Retrying,
            (Step::Idle, None) => CopyState::Queued,
            _ => CopyState::Copying,
        };
        CopyStatus { progress: self.progress.clone(), state, trouble: self.trouble.clone() }
    }

    /// Reads the same chunk again after a short while: it could not be used, and nothing is wrong.
    pub(super) fn again_soon(&mut self) {
        self.attempts += 1;
        self.step = Step::Waiting { wait: Some(self.wait(Class::Transient)) };
    }

    /// The newest chunk can be used.
    pub(super) fn came_through(&mut self, now: Micros) {
        self.attempts = 0;
        if self.pace.rows_per_second() == 0 {
            self.pace.note(now, self.progress.rows_done);
        }
    }

    /// Takes what the window leaves of a chunk into the log.
    pub(super) fn settle(
        &mut self,
        chunk: ChunkRows,
        (mark, now): (Commit, Micros),
        mapper: &mut Mapper,
        into: &mut Mapped,
    ) -> Copied {
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
        self.window = Window::default();
        self.pace.note(now, self.progress.rows_done + fresh.len() as u64);
        self.advance(fresh.len() as u64, chunk.progress, again)
    }

    fn advance(&mut self, rows: u64, reached: SnapshotProgress, again: Vec<String>) -> Copied {
        let reached = self.ahead.take().unwrap_or(reached);
        let rows_done = self.progress.rows_done + rows;
        let rows_estimated = match reached.complete {
            true => rows_done,
            false => reached.rows_estimated.max(rows_done),
        };
        self.progress.rows_done = rows_done;
        self.progress.rows_estimated = rows_estimated;
        self.progress.rows_per_second = self.pace.rows_per_second();
        self.progress.failure = None;
        self.trouble = None;
        self.read_again = again;
        if self.read_again.is_empty() {
            self.progress.last_key = reached.last_key;
            self.progress.complete = reached.complete;
        } else {
            // Until those rows are in, a crash must repeat the chunk: the saved place stays before it.
            self.progress.rows_estimated = self.progress.rows_estimated.max(reached.rows_estimated);
            self.ahead = Some(reached);
        }
        let complete = self.progress.complete;
        self.step = if complete { Step::Over } else { Step::Idle };
        if complete {
            self.table = None;
        }
        RowsCopied { entity_type: &self.progress.entity_type, rows, rows_done, complete }.emit();
        Copied { progress: self.progress.clone() }
    }

    /// Notes a failure; returns progress to save where it is one that people are told of.
    pub(super) fn fail(&mut self, fault: &Fault) -> Option<Copied> {
        self.attempts += 1;
        let lasting = fault.class() != Class::Transient || self.attempts >= TRANSIENT_MAX;
        let wait = self.wait(fault.class());
        self.step = Step::Waiting { wait: Some(wait) };
        self.table = None;
        self.window = Window::default();
        self.pace.clear();
        self.progress.rows_per_second = 0;
        let (code, detail) = (fault.code(), fault.detail().to_owned());
        self.trouble = Some(CopyTrouble { code, detail, attempts: self.attempts });
        let told = lasting.then(|| format!("{code}: {}", fault.detail()));
        let news = told.is_some() && told != self.progress.failure;
        self.progress.failure = told.or(self.progress.failure.take());
        CopyFailed { entity_type: &self.progress.entity_type, fault, lasting, wait }.emit();
        news.then(|| Copied { progress: self.progress.clone() })
    }

    fn wait(&self, class: Class) -> Duration {
        let soon = backoff::wait(self.attempts, self.progress.rows_done);
        if class == Class::Transient {
            return soon;
        }
        let doubled = LASTING_MS.saturating_mul(1 << (self.attempts.saturating_sub(1)).min(16));
        Duration::from_millis(doubled.min(LASTING_MAX_MS)).max(soon)
    }
}
