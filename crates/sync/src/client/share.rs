//! Taking over what another instance saved, in a tab that follows (CORE-16).
//!
//! Laws: rows, position, entries and the journal of one save are taken together and as they are; rows of a generation that
//! is not shown yet are built beside those that are, as the leader does it. Nothing here is judged: the leader did.

use super::{
    Client, EntityKey, Entry, Now, State, Told,
    rows::{Row, TypeRows},
    save::Meta,
    store::{Record, Write},
};
use crate::{form, ordered::OrderedSet};

impl Client {
    /// Takes over a save of the leader's.
    pub(super) fn shared(&mut self, now: Now, writes: &[Write]) {
        for write in writes {
            match write {
                Write::Put(Record::Entry(_), text) => {
                    if let Ok(entry) = form::from_text::<Entry>(text)
                        && !(self.outbox.is_another(&entry) && self.is_used(now, &entry.key))
                    {
                        self.shared_entry(entry);
                    }
                }
                Write::Remove(Record::Entry(key)) if self.is_used(now, key) => {}
                Write::Remove(Record::Entry(key)) => {
                    if let Some(entry) = self.outbox.find(key).cloned() {
                        self.outbox.forget(key);
                        self.remember(entry.id.as_str());
                        self.touched(&entry.entity);
                    }
                }
                Write::Put(Record::Meta, text) => self.share_meta(text),
                Write::Put(Record::Row { generation, entity_type, entity_id }, text) => {
                    if let Ok(row) = form::from_text::<Row>(text) {
                        self.shared_rows(entity_type, *generation).rows.insert(entity_id.clone(), row);
                        self.shown.insert(EntityKey::new(entity_type, entity_id));
                    }
                }
                Write::Remove(Record::Row { generation, entity_type, entity_id }) => {
                    self.shared_rows(entity_type, *generation).rows.remove(entity_id);
                    self.shown.insert(EntityKey::new(entity_type, entity_id));
                }
                Write::Put(Record::Journal(key), text) => {
                    if let Ok(line) = form::from_text::<super::Line>(text)
                        && self.journal.insert(key.clone(), line.clone()).is_none()
                    {
                        self.tell(Told::Decided(Box::new(line)));
                    }
                }
                Write::Remove(Record::Journal(key)) => drop(self.journal.remove(key)),
                Write::Clear { entity_type, generation } => self.share_clear(entity_type, *generation),
                Write::Put(Record::Turn, _) | Write::Remove(Record::Turn | Record::Meta) => {}
            }
        }
    }

    /// Tells whether a key is about to be saved here: either what the leader has is this very edit, or a copy of this tab
    /// has made another; the answer tells which, and the store is read after it.
    ///
    /// What is not on its way to the store surely is another edit: it goes on under another key, so that it is not lost.
    fn is_used(&mut self, now: Now, key: &str) -> bool {
        if !self.outbox.is_fresh(key) {
            return false;
        }
        match self.saving.is_under_way() {
            true => self.tabs.reading.want_all(),
            false => self.name_anew(now),
        }
        self.outbox.is_fresh(key)
    }

    fn shared_entry(&mut self, entry: Entry) {
        self.clock.merge(&entry.id, u64::MAX);
        self.touched(&entry.entity);
        let before = self.outbox.find(&entry.key).map(|former| former.state);
        if before != Some(entry.state) {
            // What a person is asked is asked in every tab.
            match entry.state {
                State::Conflicted => self.tell(Told::Conflict(entry.key.clone())),
                State::Failed => self.tell(Told::Failed(entry.key.clone())),
                State::Pending | State::Sent | State::Accepted => {}
            }
        }
        self.outbox.forget(&entry.key);
        self.outbox.insert(entry);
    }

    fn share_clear(&mut self, entity_type: &str, generation: u32) {
        for side in [&mut self.types, &mut self.building] {
            if let Some(rows) = side.get_mut(entity_type).filter(|rows| rows.marks.generation == generation) {
                let ids = std::mem::take(&mut rows.rows).into_keys();
                self.shown.extend(ids.map(|id| EntityKey::new(entity_type, id)));
            }
        }
    }

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
        let Ok(meta) = form::from_text::<Meta>(text) else { return };
        (self.epoch, self.access) = (meta.epoch, meta.access);
        self.schema = meta.schema.or(self.schema.take());
        self.clock.merge(&meta.clock, u64::MAX);
        let names: OrderedSet<String> = self.types.keys().cloned().collect();
        for name in names.iter().filter(|name| !meta.types.contains_key(*name)) {
            if let Some(former) = self.types.remove(name) {
                self.shown_all(name, &former);
            }
        }
        for (name, marks) in meta.types {
            let shown = self.types.get(&name).is_some_and(|rows| rows.marks.generation == marks.generation);
            if !shown {
                let built = self.building.remove(&name).filter(|rows| rows.marks.generation == marks.generation);
                let rows = built.unwrap_or_else(|| TypeRows::begin(marks.generation));
                self.shown_all(&name, &rows);
                if let Some(former) = self.types.insert(name.clone(), rows) {
                    self.shown_all(&name, &former);
                }
            }
            if let Some(rows) = self.types.get_mut(&name) {
                // Whether a row that somebody has opened is on its way or nowhere.
                let looked_for = rows.marks.absent.keys().chain(marks.absent.keys());
                let differs = |id: &&String| rows.is_missing(id) != marks.absent.contains_key(*id);
                self.shown.extend(looked_for.filter(differs).map(|id| EntityKey::new(&name, id)));
                rows.marks = marks;
            }
        }
        let dropped: Vec<String> =
            self.building.keys().filter(|name| !meta.building.contains_key(*name)).cloned().collect();
        for name in dropped {
            if let Some(former) = self.building.remove(&name) {
                self.shown_all(&name, &former);
            }
        }
        for (name, marks) in meta.building {
            let generation = marks.generation;
            self.shared_rows(&name, generation).marks = marks;
        }
    }

    /// Tells of all rows of a type that they may look different.
    pub(super) fn shown_all(&mut self, name: &str, rows: &TypeRows) {
        self.shown.extend(rows.rows.keys().map(|id| EntityKey::new(name, id)));
    }
}
