//! The device's store: transactions that are whole or not there, that take a moment, and that may fail (SY-52, SY-54).
//!
//! It may be copied to another device, wiped, and found of a newer format, because people do that to their devices. Law:
//! it holds what was saved and nothing else; it knows no record's meaning and refuses to mend what is in it.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use antiphon_sync::client::{Entry, EntryKey, Record, Write};

use crate::Simulation;

/// A store; cheap to clone.
#[derive(Clone)]
pub(super) struct Storage {
    simulation: Simulation,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    records: BTreeMap<Record, String>,
    fence: u64,
    full: bool,
    /// Rises when it is wiped: what was being written then is not.
    wiped: u64,
}

impl Storage {
    pub(super) fn new(simulation: &Simulation) -> Storage {
        Storage { simulation: simulation.clone(), state: Arc::default() }
    }

    /// Returns what is in it.
    pub(super) fn records(&self) -> Vec<(Record, String)> {
        self.state().records.iter().map(|(record, text)| (record.clone(), text.clone())).collect()
    }

    /// Tells whether an entry of an outbox is in it.
    pub(super) fn has_entry(&self, key: &str) -> bool {
        self.state().records.contains_key(&Record::Entry(key.to_owned()))
    }

    /// Returns an entry of an outbox as it was saved.
    pub(super) fn entry(&self, key: &str) -> Option<Entry> {
        let text = self.state().records.get(&Record::Entry(key.to_owned())).cloned()?;
        serde_json::from_str(&text).ok()
    }

    /// Returns the keys of the entries of an outbox that are in it.
    pub(super) fn keys(&self) -> Vec<EntryKey> {
        let key = |record: &Record| if let Record::Entry(key) = record { Some(key.clone()) } else { None };
        self.state().records.keys().filter_map(key).collect()
    }

    /// Loses everything.
    pub(super) fn wipe(&self) {
        let mut state = self.state();
        state.records.clear();
        state.wiped += 1;
    }

    /// Becomes what another one is.
    pub(super) fn copy(&self, of: &Storage) {
        let (records, fence) = {
            let state = of.state();
            (state.records.clone(), state.fence)
        };
        let mut state = self.state();
        state.records = records;
        state.fence = state.fence.max(fence);
    }

    /// Raises the fence for whoever leads from now on, and returns it.
    pub(super) fn raise(&self) -> u64 {
        let mut state = self.state();
        state.fence += 1;
        state.fence
    }

    /// Writes another number of the format, or this version's.
    pub(super) fn set_format(&self, format: Option<u32>) {
        let mut state = self.state();
        let Some(text) = state.records.get_mut(&Record::Meta) else { return };
        let mut meta: serde_json::Value = serde_json::from_str(text).unwrap_or_default();
        meta["format"] = format.unwrap_or(antiphon_sync::client::FORMAT).into();
        *text = meta.to_string();
    }

    /// Takes nothing more, or takes again what it is given.
    pub(super) fn fill(&self, full: bool) {
        self.state().full = full;
    }

    /// Makes it whole.
    pub(super) fn mend(&self) {
        self.fill(false);
    }

    /// Writes in one transaction, which takes a moment.
    pub(super) async fn write(&self, writes: Vec<Write>) -> Result<(), &'static str> {
        let wiped = self.state().wiped;
        let ms = self.simulation.dice().below(12);
        self.simulation.clock().sleep_ms(ms).await;
        let mut state = self.state();
        if state.wiped != wiped {
            return Err("gone");
        }
        if state.full {
            return Err("full");
        }
        for write in writes {
            match write {
                Write::Put(record, text) => drop(state.records.insert(record, text)),
                Write::Remove(record) => drop(state.records.remove(&record)),
                Write::Clear { entity_type, generation } => state.records.retain(|record, _| match record {
                    Record::Row { generation: g, entity_type: t, .. } => *g != generation || *t != entity_type,
                    _ => true,
                }),
            }
        }
        Ok(())
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // A panic ends the run.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
