//! The storage of a device or of a browser's tabs: transactions that are whole or not there, take a moment and may fail,
//! and a fence that is compared in each (CORE-16, SY-52, SY-54).
//!
//! It may be copied, wiped, and found of a newer format, because people do that to their devices. Laws: the fence is
//! compared in the very transaction that writes, and rises for one claim at a time; what is only added must not be there;
//! who wrote under which fence is kept, so that two are found. It refuses to know what records say.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use antiphon_sync::client::{Entry, EntryKey, FORMAT, Record, Write};

use crate::Simulation;

/// Who writes: a tab in one of its lives; a device has one.
pub(crate) type Writer = (usize, u64);
/// A write that takes long takes at most so many milliseconds.
const SLOW_MS_MAX: u64 = 1_500;
/// Any other takes at most so many.
const WRITE_MS_MAX: u64 = 12;

/// A storage; cheap to clone.
#[derive(Clone)]
pub(crate) struct Storage {
    simulation: Simulation,
    slow_permille: u64,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    records: BTreeMap<Record, String>,
    fence: u64,
    full: bool,
    /// Rises when it is wiped: what was being written then is not.
    wiped: u64,
    /// Who wrote under which fence.
    writers: BTreeMap<u64, Writer>,
    wrong: Option<String>,
}

impl Storage {
    /// Makes an empty one; so many in a thousand of its transactions take long.
    pub(crate) fn new(simulation: &Simulation, slow_permille: u64) -> Storage {
        Storage { simulation: simulation.clone(), slow_permille, state: Arc::default() }
    }

    /// Returns the fence.
    pub(crate) fn fence(&self) -> u64 {
        self.state().fence
    }

    /// Raises the fence and returns what is in it, in one transaction.
    pub(crate) fn take(&self) -> (u64, Vec<(Record, String)>) {
        let mut state = self.state();
        state.fence += 1;
        (state.fence, list(&state, true))
    }

    /// Raises the fence where it is still the one that is known; returns the fence, and whether that was so.
    pub(crate) async fn claim(&self, beyond: u64) -> (u64, bool) {
        self.moment().await;
        let mut state = self.state();
        let won = state.fence == beyond;
        state.fence += u64::from(won);
        (state.fence, won)
    }

    /// Returns what is in it: everything, or the outbox. It may fail.
    pub(crate) async fn read(&self, all: bool) -> Option<Vec<(Record, String)>> {
        self.moment().await;
        let state = self.state();
        (!state.full || !self.simulation.dice().permille(100)).then(|| list(&state, all))
    }

    /// Returns what is in it.
    pub(crate) fn records(&self) -> Vec<(Record, String)> {
        list(&self.state(), true)
    }

    /// Tells whether an entry of an outbox is in it.
    pub(crate) fn has_entry(&self, key: &str) -> bool {
        self.state().records.contains_key(&Record::Entry(key.to_owned()))
    }

    /// Returns an entry of an outbox as it was saved.
    pub(crate) fn entry(&self, key: &str) -> Option<Entry> {
        let text = self.state().records.get(&Record::Entry(key.to_owned())).cloned()?;
        serde_json::from_str(&text).ok()
    }

    /// Returns the keys of the entries of an outbox that are in it.
    pub(crate) fn keys(&self) -> Vec<EntryKey> {
        let key = |record: &Record| if let Record::Entry(key) = record { Some(key.clone()) } else { None };
        self.state().records.keys().filter_map(key).collect()
    }

    /// Loses everything.
    pub(crate) fn wipe(&self) {
        let mut state = self.state();
        state.records.clear();
        state.wiped += 1;
    }

    /// Becomes what another one is.
    pub(crate) fn copy(&self, of: &Storage) {
        let (records, fence) = {
            let state = of.state();
            (state.records.clone(), state.fence)
        };
        let mut state = self.state();
        state.records = records;
        state.fence = state.fence.max(fence);
    }

    /// Writes another number of the format, or this version's.
    pub(crate) fn set_format(&self, format: Option<u32>) {
        let mut state = self.state();
        let Some(text) = state.records.get_mut(&Record::Meta) else { return };
        let mut meta: serde_json::Value = serde_json::from_str(text).unwrap_or_default();
        meta["format"] = format.unwrap_or(FORMAT).into();
        *text = meta.to_string();
    }

    /// Takes nothing more, or takes again what it is given.
    pub(crate) fn fill(&self, full: bool) {
        self.state().full = full;
    }

    /// Writes in one transaction, which takes a moment and begins at once: what was begun before a wipe is not written after.
    pub(crate) fn write(
        &self,
        writer: Writer,
        fence: Option<u64>,
        writes: Vec<Write>,
    ) -> impl Future<Output = Result<(), &'static str>> + Send + use<> {
        let (storage, wiped) = (self.clone(), self.state().wiped);
        async move { storage.write_later(wiped, writer, fence, writes).await }
    }

    async fn write_later(
        &self,
        wiped: u64,
        writer: Writer,
        fence: Option<u64>,
        writes: Vec<Write>,
    ) -> Result<(), &'static str> {
        self.moment().await;
        let mut state = self.state();
        if state.wiped != wiped {
            return Err("gone");
        }
        if fence.is_some_and(|fence| fence != state.fence) {
            return Err("fenced");
        }
        if state.full {
            return Err("full");
        }
        let known = |write: &Write| matches!(write, Write::Put(record, _) if state.records.contains_key(record));
        if fence.is_none() && writes.iter().any(known) {
            return Err("exists");
        }
        if let Some(fence) = fence {
            let first = *state.writers.entry(fence).or_insert(writer);
            if first != writer {
                state.wrong = Some(format!("under fence {fence} both {first:?} and {writer:?} wrote"));
            }
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

    /// Returns what is wrong with who wrote.
    pub(crate) fn wrong(&self) -> Option<String> {
        self.state().wrong.take()
    }

    async fn moment(&self) {
        let dice = self.simulation.dice();
        let slow = self.slow_permille > 0 && dice.permille(self.slow_permille);
        let ms = dice.below(if slow { SLOW_MS_MAX } else { WRITE_MS_MAX });
        self.simulation.clock().sleep_ms(ms).await;
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // A panic ends the run.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn list(state: &State, all: bool) -> Vec<(Record, String)> {
    let wanted = state.records.iter().filter(|(record, _)| all || matches!(record, Record::Entry(_)));
    wanted.map(|(record, text)| (record.clone(), text.clone())).collect()
}
