//! Saving and loading: the device's store as the client sees it (CORE-11, CORE-17, SY-52, SY-54).
//!
//! Laws: one save at a time, each a state that the client was in; an edit is told saved only when it is; while nothing can
//! be saved the client goes on in memory, says so, and tries again. What cannot be read is kept as it is and can be
//! exported; rows that cannot be read are listed again.

use std::collections::{BTreeMap, BTreeSet};

use antiphon_model::TransactionId;
use serde::{Deserialize, Serialize};

use super::{
    Client, Config, Entry, EntryKey, Now, Output, Told,
    journal::Line,
    outbox::Outbox,
    pace::Random,
    rows::{Row, TypeMarks, TypeRows},
    store::{FORMAT, Record, Write},
    words::Schema,
};
use crate::Clock;

/// While nothing can be saved, it is tried again so often, in milliseconds.
const RETRY_MS: u64 = 5_000;

/// How saving stands.
#[derive(Debug, Default)]
pub(super) struct Saving {
    token: u64,
    in_flight: Option<Vec<Write>>,
    failing: Option<(String, u64)>,
    unreadable: BTreeMap<Record, String>,
}

impl Saving {
    /// Returns why nothing can be saved; `None` where it can.
    pub(super) fn failing(&self) -> Option<&str> {
        self.failing.as_ref().map(|(reason, _)| reason.as_str())
    }

    fn is_due(&self, now: Now) -> bool {
        self.in_flight.is_none() && self.failing.as_ref().is_none_or(|(_, at_ms)| *at_ms <= now.tick_ms)
    }

    /// Returns when saving is tried again.
    pub(super) fn wake_at_ms(&self) -> Option<u64> {
        self.failing.as_ref().filter(|_| self.in_flight.is_none()).map(|(_, at_ms)| *at_ms)
    }
}

/// What is kept besides rows, entries and the journal.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Meta {
    format: u32,
    clock: TransactionId,
    epoch: u64,
    access: String,
    #[serde(default)]
    schema: Option<Schema>,
    #[serde(default)]
    types: BTreeMap<String, TypeMarks>,
    #[serde(default)]
    building: BTreeMap<String, TypeMarks>,
    #[serde(default)]
    building_epoch: u64,
    #[serde(default)]
    building_access: String,
}

/// What a store held.
#[derive(Clone, Debug, Default)]
pub struct Loaded {
    /// Every record with its JSON.
    pub records: Vec<(Record, String)>,
}

/// A store that this version cannot go on with; nothing in it was changed.
#[derive(Clone, Debug, PartialEq)]
pub enum Corrupt {
    /// It was written by a newer version; these entries of its outbox could be read.
    Newer {
        /// The format.
        format: u32,
        /// What waits to be sent.
        entries: Vec<Entry>,
    },
    /// The client's name cannot be part of an id.
    BadSource,
}

impl Client {
    /// Makes a client of what its store held.
    ///
    /// # Errors
    /// The store is of a newer format, or the name of the instance is not fit for ids.
    pub fn new(config: Config, loaded: Loaded) -> Result<Client, Corrupt> {
        let (mut meta, mut entries, mut journal) = (None, Vec::new(), BTreeMap::new());
        let (mut rows, mut unreadable) = (BTreeMap::new(), BTreeMap::new());
        for (record, text) in loaded.records {
            let read = match &record {
                Record::Meta => serde_json::from_str::<serde_json::Value>(&text).ok().map(|read| meta = Some(read)),
                Record::Entry(_) => serde_json::from_str::<Entry>(&text).ok().map(|read| entries.push(read)),
                Record::Journal(key) => {
                    serde_json::from_str::<Line>(&text).ok().map(|read| drop(journal.insert(key.clone(), read)))
                }
                Record::Row { generation, entity_type, entity_id } => {
                    serde_json::from_str::<Row>(&text).ok().map(|read| {
                        let of_type: &mut BTreeMap<String, Row> =
                            rows.entry((entity_type.clone(), *generation)).or_default();
                        of_type.insert(entity_id.clone(), read);
                    })
                }
            };
            if read.is_none() {
                unreadable.insert(record, text);
            }
        }
        let format = meta.as_ref().and_then(|meta| meta.get("format")).and_then(serde_json::Value::as_u64);
        if format.is_some_and(|format| format > u64::from(FORMAT)) {
            let format = format.and_then(|format| u32::try_from(format).ok()).unwrap_or(u32::MAX);
            return Err(Corrupt::Newer { format, entries });
        }
        let meta: Option<Meta> = meta.and_then(|meta| serde_json::from_value(meta).ok());
        // Ids go on above all that were ever made here, whatever is left of the record that says so.
        let last = entries.iter().map(|entry| &entry.id).chain(meta.as_ref().map(|meta| &meta.clock)).max().cloned();
        let clock = Clock::new(&config.source, last.as_ref()).ok_or(Corrupt::BadSource)?;
        let mut client = Client {
            random: Random::new(config.seed),
            clock,
            server_ahead_ms: 0,
            schema: None,
            epoch: 0,
            access: String::new(),
            types: BTreeMap::new(),
            building: BTreeMap::new(),
            outbox: Outbox::load(entries),
            made: Default::default(),
            journal,
            undo: Default::default(),
            dirty: Default::default(),
            saving: Saving::default(),
            leading: None,
            unplugged: false,
            wants_schema: true,
            pace: Default::default(),
            asked: BTreeMap::new(),
            numbers: 0,
            stream: Default::default(),
            sending: Default::default(),
            fetches: Default::default(),
            subsets: Default::default(),
            shown: BTreeSet::new(),
            outbox_changed: false,
            told_status: None,
            upstream_since_ms: None,
            outputs: Default::default(),
            config,
        };
        client.take_over(meta, rows, &unreadable);
        client.saving.unreadable = unreadable;
        client.released_all();
        client.in_doubt();
        Ok(client)
    }

    fn take_over(
        &mut self,
        meta: Option<Meta>,
        mut rows: BTreeMap<(String, u32), BTreeMap<String, Row>>,
        unreadable: &BTreeMap<Record, String>,
    ) {
        if let Some(meta) = meta {
            (self.epoch, self.access, self.schema) = (meta.epoch, meta.access, meta.schema);
            let damaged = |name: &String, marks: &TypeMarks| {
                unreadable.keys().any(|record| match record {
                    Record::Row { generation, entity_type, .. } => {
                        entity_type == name && *generation == marks.generation
                    }
                    _ => false,
                })
            };
            let mut load = |kept: BTreeMap<String, TypeMarks>| {
                let whole = kept.into_iter().filter(|(name, marks)| !damaged(name, marks));
                let with_rows = whole.map(|(name, marks)| {
                    let rows = rows.remove(&(name.clone(), marks.generation)).unwrap_or_default();
                    (name, TypeRows::kept(rows, marks))
                });
                with_rows.collect::<BTreeMap<String, TypeRows>>()
            };
            (self.types, self.building) = (load(meta.types), load(meta.building));
            (self.stream.list_epoch, self.stream.list_access) = (meta.building_epoch, meta.building_access);
            // Why rows were being listed anew is not kept: the server says it again (seeds 192, 207).
            // Subsets are read anew as well: nobody wants any yet.
            let again = self.building.keys().filter(|name| self.types.contains_key(*name) || self.is_in_parts(name));
            let again: Vec<String> = again.cloned().collect();
            for name in again {
                if let Some(rows) = self.building.remove(&name) {
                    self.dirty.clear(&name, rows.marks.generation);
                }
            }
        }
        // Generations that nothing refers to any more, or that cannot be read.
        let lost = unreadable.keys().filter_map(|record| match record {
            Record::Row { generation, entity_type, .. } => Some((entity_type.clone(), *generation)),
            _ => None,
        });
        for (name, generation) in rows.into_keys().chain(lost).collect::<BTreeSet<_>>() {
            self.dirty.clear(&name, generation);
        }
    }

    /// What was handed over before the client ended may have had an effect or not.
    fn in_doubt(&mut self) {
        let sent: Vec<EntryKey> = self.outbox.iter().filter(|e| e.is_in_flight()).map(|e| e.key.clone()).collect();
        for key in sent {
            self.outbox.update(&key, &mut self.dirty, |entry| entry.doubt = true);
        }
    }

    /// Returns records that could not be read, with what they hold.
    pub fn unreadable(&self) -> impl Iterator<Item = (&Record, &str)> {
        self.saving.unreadable.iter().map(|(record, text)| (record, text.as_str()))
    }

    /// Saves what changed, where nothing is being saved.
    pub(super) fn save(&mut self, now: Now) {
        if !self.saving.is_due(now) || self.dirty.is_empty() {
            return;
        }
        let mut dirty = std::mem::take(&mut self.dirty);
        let mut writes = dirty.take(|record| self.text(record));
        if self.leading.is_none() {
            // Only whoever leads speaks for the rows; others add their edits.
            writes.retain(|write| matches!(write, Write::Put(Record::Entry(_), _) | Write::Remove(Record::Entry(_))));
        }
        if writes.is_empty() {
            return;
        }
        self.saving.token += 1;
        self.saving.in_flight = Some(writes.clone());
        self.outputs.push_back(Output::Save { token: self.saving.token, fence: self.leading, writes });
    }

    /// Tells whether what was changed before this call is durable, or cannot be made so.
    pub(super) fn is_saved(&self) -> bool {
        self.saving.failing.is_some() || (self.saving.in_flight.is_none() && self.dirty.is_empty())
    }

    pub(super) fn saved(&mut self, token: u64) {
        if token != self.saving.token {
            return;
        }
        let Some(writes) = self.saving.in_flight.take() else { return };
        self.saving.failing = None;
        let entries: Vec<EntryKey> = writes
            .into_iter()
            .filter_map(|write| match write {
                Write::Put(Record::Entry(key), _) => Some(key),
                _ => None,
            })
            .collect();
        if !entries.is_empty() {
            self.tell(Told::Saved(entries));
        }
    }

    pub(super) fn not_saved(&mut self, now: Now, token: u64, reason: &str) {
        if token != self.saving.token {
            return;
        }
        let Some(writes) = self.saving.in_flight.take() else { return };
        self.dirty.restore(&writes);
        if reason == "fenced" {
            // Another instance leads: it has what is saved, and this one keeps only its own edits.
            self.follow();
            return;
        }
        self.saving.failing = Some((reason.to_owned(), now.tick_ms.saturating_add(RETRY_MS)));
        self.tell(Told::NotSaved { reason: reason.to_owned() });
    }

    /// Takes over what another instance saved.
    pub(super) fn shared(&mut self, writes: &[Write]) {
        for write in writes {
            match write {
                Write::Put(Record::Entry(_), text) => {
                    if let Ok(entry) = serde_json::from_str::<Entry>(text) {
                        self.clock.merge(&entry.id, u64::MAX);
                        self.touched(&entry.entity);
                        self.outbox.forget(&entry.key);
                        self.outbox.insert(entry);
                    }
                }
                Write::Remove(Record::Entry(key)) => {
                    if let Some(entity) = self.outbox.find(key).map(|entry| entry.entity.clone()) {
                        self.outbox.forget(key);
                        self.touched(&entity);
                    }
                }
                Write::Put(Record::Meta, text) if self.leading.is_none() => self.share_meta(text),
                Write::Put(Record::Row { generation, entity_type, entity_id }, text) if self.leading.is_none() => {
                    if let Ok(row) = serde_json::from_str::<Row>(text) {
                        self.shared_rows(entity_type, *generation).rows.insert(entity_id.clone(), row);
                        self.shown.insert(super::EntityKey::new(entity_type, entity_id));
                    }
                }
                Write::Remove(Record::Row { generation, entity_type, entity_id }) if self.leading.is_none() => {
                    self.shared_rows(entity_type, *generation).rows.remove(entity_id);
                    self.shown.insert(super::EntityKey::new(entity_type, entity_id));
                }
                Write::Put(Record::Journal(key), text) if self.leading.is_none() => {
                    if let Ok(line) = serde_json::from_str(text) {
                        self.journal.insert(key.clone(), line);
                    }
                }
                Write::Put(..) | Write::Remove(_) | Write::Clear { .. } => {}
            }
        }
    }

    /// Rows of a generation that is not shown yet are built beside those that are.
    fn shared_rows(&mut self, entity_type: &str, generation: u32) -> &mut TypeRows {
        let known = self.types.get(entity_type).is_some_and(|rows| rows.marks.generation == generation);
        let side = if known { &mut self.types } else { &mut self.building };
        let rows = side.entry(entity_type.to_owned()).or_insert_with(|| TypeRows::begin(generation));
        if rows.marks.generation != generation {
            *rows = TypeRows::begin(generation);
        }
        rows
    }

    fn share_meta(&mut self, text: &str) {
        let Ok(meta) = serde_json::from_str::<Meta>(text) else { return };
        (self.epoch, self.access) = (meta.epoch, meta.access);
        self.schema = meta.schema.or(self.schema.take());
        self.clock.merge(&meta.clock, u64::MAX);
        for (name, marks) in meta.types {
            let shown = self.types.get(&name).is_some_and(|rows| rows.marks.generation == marks.generation);
            if !shown {
                let built = self.building.remove(&name).filter(|rows| rows.marks.generation == marks.generation);
                let rows = built.unwrap_or_else(|| TypeRows::begin(marks.generation));
                if let Some(former) = self.types.insert(name.clone(), rows) {
                    let ids = former.rows.into_keys().map(|id| super::EntityKey::new(&name, id));
                    self.shown.extend(ids);
                }
            }
            if let Some(rows) = self.types.get_mut(&name) {
                rows.marks = marks;
            }
        }
        for (name, marks) in meta.building {
            let generation = marks.generation;
            self.shared_rows(&name, generation).marks = marks;
        }
    }

    fn text(&self, record: &Record) -> Option<String> {
        // Records are made of texts, numbers and maps of texts: they cannot fail to be written.
        match record {
            Record::Meta => serde_json::to_string(&self.meta()).ok(),
            Record::Entry(key) => serde_json::to_string(self.outbox.find(key)?).ok(),
            Record::Journal(key) => serde_json::to_string(self.journal.get(key)?).ok(),
            Record::Row { generation, entity_type, entity_id } => {
                let sides = [self.types.get(entity_type), self.building.get(entity_type)];
                let mut rows = sides.into_iter().flatten().filter(|rows| rows.marks.generation == *generation);
                serde_json::to_string(rows.next()?.rows.get(entity_id)?).ok()
            }
        }
    }

    fn meta(&self) -> Meta {
        let marks = |side: &BTreeMap<String, TypeRows>| {
            side.iter().map(|(name, rows)| (name.clone(), rows.marks.clone())).collect()
        };
        Meta {
            format: FORMAT,
            clock: self.clock.last(),
            epoch: self.epoch,
            access: self.access.clone(),
            schema: self.schema.clone(),
            types: marks(&self.types),
            building: marks(&self.building),
            building_epoch: self.stream.list_epoch,
            building_access: self.stream.list_access.clone(),
        }
    }
}
