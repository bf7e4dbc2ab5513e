//! What is kept on the device: records, and which of them differ from what was last saved (CORE-11, CORE-17).
//!
//! Law: each save writes everything that changed since the last one, in one transaction, so what is loaded is always a
//! state that the client was in. Records hold JSON and carry the format's version; a newer format's outbox is read as far
//! as this version knows it.

use serde::{Deserialize, Serialize};

use super::EntryKey;
use crate::{
    form::{Form, Written},
    ordered::OrderedSet,
};

/// The version of the format that this code writes.
pub const FORMAT: u32 = 1;

/// Names a record.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, Form, Written)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum Record {
    /// How many saves leaders have made, and under which fence the last one was: part of each of them.
    Turn,
    /// Position, epoch, access, clock, schema: one record.
    Meta,
    /// An entry of the outbox.
    Entry(EntryKey),
    /// A line of the journal.
    Journal(String),
    /// A confirmed row of a generation of its type.
    Row {
        /// The generation.
        generation: u32,
        /// The type.
        entity_type: String,
        /// The id.
        entity_id: String,
    },
}

impl Record {
    /// Names a row.
    pub fn row(generation: u32, entity_type: &str, entity_id: &str) -> Record {
        Record::Row { generation, entity_type: entity_type.to_owned(), entity_id: entity_id.to_owned() }
    }
}

/// A step of a save; steps are taken in order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, Form, Written)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum Write {
    /// The record holds this JSON now.
    Put(Record, String),
    /// The record is gone.
    Remove(Record),
    /// All rows of a generation of a type are gone.
    Clear {
        /// The type.
        entity_type: String,
        /// The generation.
        generation: u32,
    },
}

/// Which records differ from what was last saved.
#[derive(Clone, Debug, Default)]
pub struct Dirty {
    records: OrderedSet<Record>,
    cleared: Vec<(String, u32)>,
}

impl Dirty {
    /// Notes that a record changed, came or went.
    pub fn put(&mut self, record: Record) {
        self.records.insert(record);
    }

    /// What stands under this key in the store is not ours to write.
    pub fn leave(&mut self, record: &Record) {
        self.records.remove(record);
    }

    /// Notes that a generation of a type is not needed any more; rows that come under its number later are new ones.
    pub fn clear(&mut self, entity_type: &str, generation: u32) {
        self.records.retain(|record| match record {
            Record::Row { generation: number, entity_type: name, .. } => name != entity_type || *number != generation,
            _ => true,
        });
        self.cleared.push((entity_type.to_owned(), generation));
    }

    /// Tells whether everything is saved.
    pub fn is_empty(&self) -> bool {
        self.records.is_empty() && self.cleared.is_empty()
    }

    /// Takes what is to be saved; `text` says what a record holds now.
    pub fn take(&mut self, mut text: impl FnMut(&Record) -> Option<String>) -> Vec<Write> {
        let cleared = std::mem::take(&mut self.cleared);
        let clears = cleared.into_iter().map(|(entity_type, generation)| Write::Clear { entity_type, generation });
        let records = std::mem::take(&mut self.records).into_iter().map(|record| match text(&record) {
            Some(text) => Write::Put(record, text),
            None => Write::Remove(record),
        });
        // What was put since a clear is not cleared by it.
        clears.chain(records).collect()
    }

    /// Tells whether a record differs from what was last saved.
    pub fn has(&self, record: &Record) -> bool {
        self.records.contains(record)
    }

    /// Puts back what could not be saved.
    pub fn restore(&mut self, writes: &[Write]) {
        for write in writes {
            match write {
                // Each save has its own.
                Write::Put(Record::Turn, _) => {}
                Write::Put(record, _) | Write::Remove(record) => self.put(record.clone()),
                // What was put since is not undone by it: clears go first.
                Write::Clear { entity_type, generation } => self.cleared.push((entity_type.clone(), *generation)),
            }
        }
    }
}
