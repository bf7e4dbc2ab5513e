//! Saving and loading: the device's store as the client sees it (CORE-11, CORE-17, SY-52, SY-54).
//!
//! Laws: one save at a time, each a state that the client was in; an edit is told saved only when it is; while nothing can
//! be saved the client goes on in memory, says so, and tries again. What cannot be read is kept as it is and can be
//! exported; rows that cannot be read are listed again.

use antiphon_model::TransactionId;
use serde::{Deserialize, Serialize};

use super::{
    Client, Config, EntityKey, Entry, EntryKey, Now, Output, Told,
    journal::Line,
    outbox::Outbox,
    pace::Random,
    role::RoleEvent,
    rows::{Row, TypeMarks, TypeRows},
    store::{FORMAT, Record, Write},
    tabs::Tabs,
    words::Schema,
};
use crate::Clock;
use crate::{
    form::{self, Form, Written},
    ordered::{OrderedMap, OrderedSet},
};

/// While nothing can be saved, it is tried again so often, in milliseconds.
const RETRY_MS: u64 = 5_000;

/// How saving stands.
#[derive(Debug, Default)]
pub(super) struct Saving {
    token: u64,
    in_flight: Option<Vec<Write>>,
    /// The position that it holds, and the fence that it was made under.
    holds: ((u64, u64), Option<u64>),
    failing: Option<(String, u64)>,
    /// Entries that the store holds, and whether it holds them as handed over.
    handed: OrderedMap<EntryKey, bool>,
    unreadable: OrderedMap<Record, String>,
    /// The greatest generation of rows that the store held.
    pub(super) generation_max: u32,
}

impl Saving {
    /// Returns why nothing can be saved; `None` where it can.
    pub(super) fn failing(&self) -> Option<&str> {
        self.failing.as_ref().map(|(reason, _)| reason.as_str())
    }

    /// Tells whether an entry may not go out: nothing can be saved, and the store holds it as one that never left. After a
    /// crash it would be changed under the id that is known to the server already (seed 306).
    pub(super) fn holds_back(&self, key: &str) -> bool {
        self.failing.is_some() && self.handed.get(key) == Some(&false)
    }

    /// Notes an entry that is in the store as this text.
    fn stored(&mut self, key: &EntryKey, text: &str) {
        let handed = form::from_text::<Entry>(text).is_ok_and(|entry| entry.handed);
        self.handed.insert(key.clone(), handed);
    }

    /// Notes entries that were read from the store: other tabs save there too (seed 387).
    pub(super) fn read(&mut self, entries: &[Entry]) {
        self.handed.extend(entries.iter().map(|entry| (entry.key.clone(), entry.handed)));
    }

    /// Tells whether a save is on its way.
    pub(super) fn is_under_way(&self) -> bool {
        self.in_flight.is_some()
    }

    /// Returns the entries that are on their way to the store.
    pub(super) fn entries(&self) -> Vec<EntryKey> {
        let key = |write: &Write| match write {
            Write::Put(Record::Entry(key), _) => Some(key.clone()),
            _ => None,
        };
        self.in_flight.iter().flatten().filter_map(key).collect()
    }

    fn is_due(&self, now: Now) -> bool {
        self.in_flight.is_none() && self.failing.as_ref().is_none_or(|(_, at_ms)| *at_ms <= now.tick_ms)
    }

    /// Returns when saving is tried again.
    pub(super) fn wake_at_ms(&self) -> Option<u64> {
        self.failing.as_ref().filter(|_| self.in_flight.is_none()).map(|(_, at_ms)| *at_ms)
    }
}

/// Which save of a leader a store is of.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize, Form, Written)]
pub(super) struct Turn {
    pub(super) fence: u64,
    pub(super) save: u64,
}

/// What is kept besides rows, entries and the journal.
#[derive(Debug, Serialize, Deserialize, Form, Written)]
#[serde(rename_all = "camelCase")]
pub(super) struct Meta {
    format: u32,
    pub(super) clock: TransactionId,
    pub(super) epoch: u64,
    pub(super) access: String,
    #[serde(default)]
    pub(super) schema: Option<Schema>,
    #[serde(default)]
    pub(super) types: OrderedMap<String, TypeMarks>,
    #[serde(default)]
    pub(super) building: OrderedMap<String, TypeMarks>,
    #[serde(default)]
    building_epoch: u64,
    #[serde(default)]
    building_access: String,
    /// Rows that are being fetched: what the stream has said of them is in no other record (seed 5002134).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    fetching: Vec<EntityKey>,
}

/// What a store held.
#[derive(Clone, Debug, Default)]
pub struct Loaded {
    /// Every record with its JSON.
    pub records: Vec<(Record, String)>,
}

/// A store that this version cannot go on with; nothing in it was changed.
#[derive(Clone, Debug, PartialEq, Serialize, Written)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase")]
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

/// What could be read of a store.
#[derive(Debug, Default)]
pub(super) struct Stored {
    pub(super) turn: Turn,
    pub(super) meta: Option<Meta>,
    pub(super) entries: Vec<Entry>,
    pub(super) journal: OrderedMap<String, Line>,
    pub(super) rows: OrderedMap<(String, u32), OrderedMap<String, Row>>,
    pub(super) unreadable: OrderedMap<Record, String>,
}

impl Stored {
    /// Reads records; those that cannot be read are kept apart, and a newer format is refused.
    pub(super) fn read(records: Vec<(Record, String)>) -> Result<Stored, Corrupt> {
        let (mut held, mut meta) = (Stored::default(), None);
        for (record, text) in records {
            let read = match &record {
                Record::Turn => form::from_text(&text).ok().map(|turn| held.turn = turn),
                Record::Meta => form::document(&text).ok().map(|read| meta = Some(read)),
                Record::Entry(_) => form::from_text(&text).ok().map(|read| held.entries.push(read)),
                Record::Journal(key) => {
                    form::from_text(&text).ok().map(|read| drop(held.journal.insert(key.clone(), read)))
                }
                Record::Row { generation, entity_type, entity_id } => form::from_text(&text).ok().map(|read| {
                    let of_type = held.rows.entry((entity_type.clone(), *generation)).or_default();
                    of_type.insert(entity_id.clone(), read);
                }),
            };
            if read.is_none() {
                held.unreadable.insert(record, text);
            }
        }
        let format = meta.as_ref().and_then(|meta| meta.get("format")).and_then(crate::json::Value::as_u64);
        if format.is_some_and(|format| format > u64::from(FORMAT)) {
            let format = format.and_then(|format| u32::try_from(format).ok()).unwrap_or(u32::MAX);
            return Err(Corrupt::Newer { format, entries: held.entries });
        }
        held.meta = meta.and_then(|meta| Meta::read(meta).ok());
        Ok(held)
    }
}

impl Client {
    /// Makes a client of what its store held.
    ///
    /// # Errors
    /// The store is of a newer format, or the name of the instance is not fit for ids.
    pub fn new(config: Config, loaded: Loaded) -> Result<Client, Corrupt> {
        let Stored { turn, meta, entries, journal, rows, unreadable } = Stored::read(loaded.records)?;
        // Ids go on above all that were ever made here, whatever is left of the record that says so.
        let last = entries.iter().map(|entry| &entry.id).chain(meta.as_ref().map(|meta| &meta.clock)).max().cloned();
        let clock = Clock::new(&config.source, last.as_ref()).ok_or(Corrupt::BadSource)?;
        let mut saving = Saving::default();
        saving.read(&entries);
        let mut client = Client {
            random: Random::new(config.seed),
            clock,
            server_ahead_ms: 0,
            schema: None,
            epoch: 0,
            access: String::new(),
            types: OrderedMap::new(),
            building: OrderedMap::new(),
            outbox: Outbox::load(entries),
            made: Default::default(),
            journal,
            undo: Default::default(),
            dirty: Default::default(),
            saving,
            leading: None,
            unplugged: false,
            tabs: Tabs::of(turn.fence, turn.save),
            wants_schema: true,
            pace: Default::default(),
            asked: OrderedMap::new(),
            numbers: 0,
            stream: Default::default(),
            sending: Default::default(),
            fetches: Default::default(),
            subsets: Default::default(),
            shown: OrderedSet::new(),
            outbox_changed: false,
            told_status: None,
            upstream_since_ms: None,
            outputs: Default::default(),
            config,
        };
        client.take_over(meta, rows, &unreadable);
        client.saving.unreadable = unreadable;
        client.in_doubt();
        Ok(client)
    }

    pub(super) fn take_over(
        &mut self,
        meta: Option<Meta>,
        mut rows: OrderedMap<(String, u32), OrderedMap<String, Row>>,
        unreadable: &OrderedMap<Record, String>,
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
            let mut load = |kept: OrderedMap<String, TypeMarks>| {
                let whole = kept.into_iter().filter(|(name, marks)| !damaged(name, marks));
                let with_rows = whole.map(|(name, marks)| {
                    let rows = rows.remove(&(name.clone(), marks.generation)).unwrap_or_default();
                    (name, TypeRows::kept(rows, marks))
                });
                with_rows.collect::<OrderedMap<String, TypeRows>>()
            };
            (self.types, self.building) = (load(meta.types), load(meta.building));
            (self.stream.list_epoch, self.stream.list_access) = (meta.building_epoch, meta.building_access);
            self.fetches.begun = meta.fetching;
        }
        let loaded = self.types.values().chain(self.building.values()).map(|rows| rows.marks.generation);
        let left = rows.keys().map(|(_, generation)| *generation);
        self.saving.generation_max = loaded.chain(left).max().unwrap_or(0);
        // Generations that nothing refers to any more, or that cannot be read.
        let lost = unreadable.keys().filter_map(|record| match record {
            Record::Row { generation, entity_type, .. } => Some((entity_type.clone(), *generation)),
            _ => None,
        });
        for (name, generation) in rows.into_keys().chain(lost).collect::<OrderedSet<_>>() {
            self.dirty.clear(&name, generation);
        }
    }

    /// Whoever leads begins new lists: why they were begun is not kept, and the server says it again (seeds 192, 207).
    pub(super) fn drop_relisted(&mut self) {
        let again: Vec<String> = self.building.keys().filter(|name| self.types.contains_key(*name)).cloned().collect();
        for name in again {
            if let Some(rows) = self.building.remove(&name) {
                self.dirty.clear(&name, rows.marks.generation);
                self.unmark_read(&name, rows.marks.generation);
            }
        }
    }

    /// What was handed over before the client ended may have had an effect or not.
    pub(super) fn in_doubt(&mut self) {
        let sent = self.outbox.keys(&Entry::is_in_flight);
        for key in sent {
            self.outbox.update(&key, &mut self.dirty, |entry| entry.doubt = true);
        }
    }

    /// Returns records that could not be read, with what they hold.
    pub fn unreadable(&self) -> impl Iterator<Item = (&Record, &str)> {
        self.saving.unreadable.iter().map(|(record, text)| (record, text.as_str()))
    }

    /// Saves what changed, where nothing is being saved or read.
    pub(super) fn save(&mut self, now: Now) {
        if !self.saving.is_due(now) || self.dirty.is_empty() || self.tabs.reading.is_under_way() {
            return;
        }
        let mut dirty = std::mem::take(&mut self.dirty);
        let mut writes = dirty.take(|record| self.text(record));
        match self.leading {
            Some(fence) => {
                writes.retain(|write| match write {
                    Write::Remove(Record::Entry(key)) => !self.outbox.left_unsaved(key),
                    _ => true,
                });
                let turn = Turn { fence, save: self.tabs.save + 1 };
                // Two numbers cannot fail to be written.
                writes.push(Write::Put(Record::Turn, form::text(&turn)));
            }
            // Only whoever leads speaks for what is there; others add their edits.
            None => writes.retain(|write| match write {
                Write::Put(Record::Entry(key), _) => self.outbox.is_fresh(key),
                _ => false,
            }),
        }
        if writes.is_empty() {
            return;
        }
        self.saving.token += 1;
        self.saving.holds = (self.position(), self.leading);
        if self.leading.is_some() {
            self.tabs.unsaved.cover();
        }
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
        for write in &writes {
            match write {
                Write::Put(Record::Entry(key), text) => self.saving.stored(key, text),
                Write::Remove(Record::Entry(key)) => drop(self.saving.handed.remove(key)),
                _ => {}
            }
        }
        let key = |write: &Write| match write {
            Write::Put(Record::Entry(key), _) => Some(key.clone()),
            _ => None,
        };
        let entries: Vec<EntryKey> = writes.iter().filter_map(key).collect();
        entries.iter().for_each(|key| self.outbox.saved(key));
        match self.saving.holds {
            (position, Some(_)) => {
                self.tabs.unsaved.settle(true);
                (self.tabs.save, self.tabs.saved_position) = (self.tabs.save + 1, position);
                self.tell_saved(writes);
            }
            (_, None) => self.has_added_edits(),
        }
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
        if self.saving.holds.1.is_some() {
            self.tabs.unsaved.settle(false);
        }
        match (reason, self.saving.holds) {
            // Another instance leads: what is saved is in its hands, and this one keeps what it could not save.
            ("fenced", _) => self.turn(now, RoleEvent::Refused),
            // What stands under its key in the store has been hidden by it until now, so the store is read (seed 1795291095).
            ("exists", (_, None)) => {
                self.tabs.reading.want_all();
                self.read_store(now);
            }
            _ => {
                self.saving.failing = Some((reason.to_owned(), now.tick_ms.saturating_add(RETRY_MS)));
                self.tell(Told::NotSaved { reason: reason.to_owned() });
            }
        }
    }

    fn text(&self, record: &Record) -> Option<String> {
        // Records are made of texts, numbers and maps of texts: they cannot fail to be written.
        match record {
            // It is part of every save of a leader, and never of any other.
            Record::Turn => None,
            Record::Meta => Some(form::text(&self.meta())),
            Record::Entry(key) => Some(form::text(self.outbox.find(key)?)),
            Record::Journal(key) => Some(form::text(self.journal.get(key)?)),
            Record::Row { generation, entity_type, entity_id } => {
                let sides = [self.types.get(entity_type), self.building.get(entity_type)];
                let mut rows = sides.into_iter().flatten().filter(|rows| rows.marks.generation == *generation);
                Some(form::text(rows.next()?.rows.get(entity_id)?))
            }
        }
    }

    fn meta(&self) -> Meta {
        let marks = |side: &OrderedMap<String, TypeRows>| {
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
            fetching: self.fetches.keys(),
        }
    }
}
