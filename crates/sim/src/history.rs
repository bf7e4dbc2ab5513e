//! What a run has left behind, for the checkers to look at.
//!
//! Law: it holds facts only, in the order in which they happened; what they ought to have been is the checkers' business.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use antiphon_model::{Activity, EntityType, Lsn};

use crate::{Acknowledged, Committed, Durable, PlaceChange, Refused, SeenRow, coverage::Reached};

/// A change that a reader was sent.
#[derive(Clone, Debug)]
pub struct Shown {
    /// Which reader.
    pub reader: u32,
    /// Which of its streams.
    pub stream: u64,
    /// Who reads.
    pub subject: String,
    /// In which organisation.
    pub org: String,
    /// When the server sent it, in true microseconds since the run began.
    pub sent_us: u64,
    /// The activity as it was sent.
    pub activity: serde_json::Value,
}

/// What a writer was told in the end.
#[derive(Clone, Debug)]
pub struct Told {
    /// The organisation.
    pub org: String,
    /// The mutation.
    pub transaction_id: String,
    /// `applied`, `duplicate`, `conflict`, `rejected`, `aborted`.
    pub status: String,
    /// The code of a refusal.
    pub code: Option<String>,
}

/// What a reader that is quiet and connected has in the end.
#[derive(Clone, Debug)]
pub struct FinalView {
    /// Which reader.
    pub reader: u32,
    /// Who reads.
    pub subject: String,
    /// In which organisation.
    pub org: String,
    /// Which types it reads.
    pub types: Vec<String>,
    /// Which parts it keeps of types that are kept in parts; `None`: it keeps all of every type.
    pub parts: Option<Vec<FinalPart>>,
    /// Rows by type and id.
    pub rows: std::collections::BTreeMap<(String, String), serde_json::Value>,
}

/// A part of a type that a reader wants.
#[derive(Clone, Debug)]
pub struct FinalPart {
    /// The type.
    pub entity_type: String,
    /// A field and its value.
    pub equals: Option<(String, Option<String>)>,
    /// The first so many by title.
    pub first: Option<usize>,
}

/// Everything that is looked at.
#[derive(Clone, Default)]
pub struct History {
    /// The declared types.
    pub entities: Vec<Arc<EntityType>>,
    /// What the database committed, in order.
    pub committed: Vec<Committed>,
    /// What servers refused.
    pub refused: Vec<Refused>,
    /// Where the present slot began.
    pub slot_from: Lsn,
    /// The activities of the log's present epoch.
    pub log: Vec<Activity>,
    /// The activities of former epochs.
    pub former: Vec<Activity>,
    /// What was safe when.
    pub durable: Vec<Durable>,
    /// What the database was told, when.
    pub acknowledged: Vec<Acknowledged>,
    /// The rows that readers of the database see.
    pub rows: Vec<SeenRow>,
    /// Who had which place when.
    pub places: Vec<PlaceChange>,
    /// What readers were sent.
    pub shown: Vec<Shown>,
    /// What writers were told.
    pub told: Vec<Told>,
    /// What readers have in the end.
    pub views: Vec<FinalView>,
    /// Which frames, answers and states there were.
    pub reached: Reached,
    /// What should not have been in any case: states of capture, readers that never settled.
    pub complaints: Vec<String>,
}

/// Collects what happens outside of database and log; cheap to clone.
#[derive(Clone, Default)]
pub struct Recorder(Arc<Mutex<History>>);

impl Recorder {
    /// Changes the history.
    pub fn note(&self, note: impl FnOnce(&mut History)) {
        note(&mut self.lock());
    }

    /// Counts a frame, an answer or a state.
    pub fn reached(&self, cell: String) {
        *self.lock().reached.entry(cell).or_default() += 1;
    }

    /// Returns the history so far.
    pub fn history(&self) -> History {
        self.lock().clone()
    }

    fn lock(&self) -> MutexGuard<'_, History> {
        // A panic ends the run.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
