//! The storage that tabs share: transactions that are whole or not there, and a fence that is compared in each (CORE-16).
//!
//! Laws: the fence is compared in the very transaction that writes, and rises for one claim at a time; what is only added
//! must not be there; who wrote under which fence is kept, so that two are found. It refuses to know what records say.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use antiphon_sync::client::{Record, Write};

use crate::Simulation;

/// Who writes: a tab in one of its lives.
pub(super) type Writer = (usize, u64);

/// A storage; cheap to clone.
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
    /// Who wrote under which fence.
    writers: BTreeMap<u64, Writer>,
    wrong: Option<String>,
}

impl Storage {
    pub(super) fn new(simulation: &Simulation) -> Storage {
        Storage { simulation: simulation.clone(), state: Arc::default() }
    }

    /// Returns the fence.
    pub(super) fn fence(&self) -> u64 {
        self.state().fence
    }

    /// Raises the fence and returns what is in it, in one transaction.
    pub(super) fn take(&self) -> (u64, Vec<(Record, String)>) {
        let mut state = self.state();
        state.fence += 1;
        (state.fence, list(&state, true))
    }

    /// Raises the fence where it is still the one that is known; returns the fence, and whether that was so.
    pub(super) async fn claim(&self, beyond: u64) -> (u64, bool) {
        self.moment().await;
        let mut state = self.state();
        let won = state.fence == beyond;
        state.fence += u64::from(won);
        (state.fence, won)
    }

    /// Returns what is in it: everything, or the outbox. It may fail.
    pub(super) async fn read(&self, all: bool) -> Option<Vec<(Record, String)>> {
        self.moment().await;
        let state = self.state();
        (!state.full || !self.simulation.dice().permille(100)).then(|| list(&state, all))
    }

    /// Returns what is in it.
    pub(super) fn records(&self) -> Vec<(Record, String)> {
        list(&self.state(), true)
    }

    /// Tells whether an entry of an outbox is in it.
    pub(super) fn has_entry(&self, key: &str) -> bool {
        self.state().records.contains_key(&Record::Entry(key.to_owned()))
    }

    /// Takes nothing more, or takes again what it is given.
    pub(super) fn fill(&self, full: bool) {
        self.state().full = full;
    }

    /// Writes in one transaction, which takes a moment.
    pub(super) async fn write(
        &self,
        writer: Writer,
        fence: Option<u64>,
        writes: Vec<Write>,
    ) -> Result<(), &'static str> {
        self.moment().await;
        let mut state = self.state();
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
    pub(super) fn wrong(&self) -> Option<String> {
        self.state().wrong.take()
    }

    async fn moment(&self) {
        let dice = self.simulation.dice();
        let ms = if dice.permille(20) { dice.below(1_500) } else { dice.below(12) };
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
