//! Reading the store again: after a gap, before leading, and for edits that others added (CORE-11, CORE-16).
//!
//! Laws: a save and a read never overlap, so what an instance made is either in what is read or was never saved; what was
//! never saved outlives the reading; what a person did and no save holds is done again upon what is read.

use super::{
    super::{
        Client, EntityKey, Entry, EntryKey, Now, Output, Told,
        role::{Role, RoleEvent},
        rows::TypeRows,
        save::Stored,
        store::{Dirty, Record},
    },
    READ_AGAIN_MS,
};
use crate::{
    form,
    ordered::{OrderedMap, OrderedSet},
};

/// How reading stands.
#[derive(Debug, Default)]
pub(in crate::client) struct Reading {
    /// The present one, and whether it is of everything.
    under_way: Option<(u64, bool)>,
    token: u64,
    all: bool,
    added: bool,
    again_ms: Option<u64>,
}

impl Reading {
    /// Wants everything read again.
    pub(in crate::client) fn want_all(&mut self) {
        self.all = true;
    }

    /// Wants the outbox read, for what others added.
    pub(super) fn want_added(&mut self) {
        self.added = true;
    }

    /// Tells whether the store is being read.
    pub(in crate::client) fn is_under_way(&self) -> bool {
        self.under_way.is_some()
    }

    pub(super) fn again_at_ms(&self) -> Option<u64> {
        self.again_ms.filter(|_| self.all || self.added)
    }
}

impl Client {
    /// Reads everything, whatever is being read.
    pub(super) fn read_anew(&mut self) {
        self.tabs.reading = Reading { all: true, token: self.tabs.reading.token, ..Reading::default() };
    }

    /// Asks for the store, where it is wanted and nothing is being saved.
    pub(in crate::client) fn read_store(&mut self, now: Now) {
        let reading = &mut self.tabs.reading;
        let wanted = reading.all || reading.added;
        let due = reading.again_ms.is_none_or(|at_ms| at_ms <= now.tick_ms);
        if !wanted || !due || reading.is_under_way() || self.saving.is_under_way() {
            return;
        }
        reading.token += 1;
        let all = reading.all;
        *reading = Reading { under_way: Some((reading.token, all)), token: reading.token, ..Reading::default() };
        self.outputs.push_back(Output::Read { token: self.tabs.reading.token, all });
    }

    pub(in crate::client) fn not_read(&mut self, now: Now, token: u64) {
        let reading = &mut self.tabs.reading;
        if let Some((_, all)) = reading.under_way.take_if(|(asked, _)| *asked == token) {
            (reading.all, reading.added) = (reading.all || all, reading.added || !all);
            reading.again_ms = Some(now.tick_ms.saturating_add(READ_AGAIN_MS));
        }
    }

    pub(in crate::client) fn was_read(&mut self, now: Now, token: u64, records: &[(Record, String)]) {
        let Some((_, all)) = self.tabs.reading.under_way.take_if(|(asked, _)| *asked == token) else { return };
        match all {
            true => self.reload(now, records),
            false => self.find_added(now, records),
        }
        self.take_early(now);
    }

    fn reload(&mut self, now: Now, records: &[(Record, String)]) {
        let Ok(held) = Stored::read(records.to_vec()) else {
            // A newer version leads: what is shown stays, and edits are still added.
            return self.tell(Told::Nonsense("a store of a newer version".into()));
        };
        self.meet_held(now, &held.entries);
        self.saving.read(&held.entries);
        let heir = self.tabs.role == Role::Heir;
        let former = (std::mem::take(&mut self.types), std::mem::take(&mut self.building));
        self.tabs.save = held.turn.save;
        self.tabs.fence = self.tabs.fence.max(held.turn.fence);
        self.dirty = Dirty::default();
        for entry in self.outbox.replace(held.entries) {
            self.remember(entry.id.as_str());
            self.touched(&entry.entity);
        }
        let entries: Vec<Entry> = self.outbox.iter().cloned().collect();
        for entry in entries {
            self.clock.merge(&entry.id, u64::MAX);
            self.touched(&entry.entity);
            if self.outbox.is_fresh(&entry.key) {
                self.dirty.put(Record::Entry(entry.key));
            }
        }
        self.stream.forget();
        let lines = std::mem::replace(&mut self.journal, held.journal);
        let new: Vec<_> = self.journal.iter().filter(|(key, _)| !lines.contains_key(*key)).collect();
        let told: Vec<Told> = new.into_iter().map(|(_, line)| Told::Decided(Box::new(line.clone()))).collect();
        told.into_iter().for_each(|told| self.tell(told));
        self.take_over(held.meta, held.rows, &held.unreadable);
        self.changed_since(&former);
        if heir {
            self.in_doubt();
            self.wants_schema = true;
        }
        self.do_again(now);
        self.turn(now, RoleEvent::Read);
    }

    /// Meets what the store holds under keys of edits that were never saved from here; saves and reads never overlap.
    ///
    /// Under the same id it is the very edit, which a tab saved while it was brought back from that tab's note here. Under
    /// another id a copy of this tab has made it, and the one that is here goes on under another key.
    fn meet_held(&mut self, now: Now, held: &[Entry]) {
        let others: Vec<&EntryKey> =
            held.iter().filter(|entry| self.outbox.is_another(entry)).map(|entry| &entry.key).collect();
        if others.is_empty() {
            return;
        }
        self.name_anew(now);
        others.into_iter().for_each(|key| self.part_from(key));
    }

    /// Tells which rows differ from what was shown.
    fn changed_since(&mut self, (types, building): &(OrderedMap<String, TypeRows>, OrderedMap<String, TypeRows>)) {
        let mut changed = OrderedSet::new();
        let names: OrderedSet<&String> = types.keys().chain(building.keys()).chain(self.types.keys()).collect();
        for name in names {
            let before = types.get(name).or_else(|| building.get(name)).map(|rows| &rows.rows);
            let after = self.rows_of(name).map(|rows| &rows.rows);
            let differs = |id: &&String| before.and_then(|rows| rows.get(*id)) != after.and_then(|rows| rows.get(*id));
            let ids = before.into_iter().chain(after).flat_map(OrderedMap::keys);
            changed.extend(ids.filter(differs).map(|id| EntityKey::new(name, id)));
        }
        self.shown.extend(changed);
    }

    /// Takes in edits that others added to the store.
    fn find_added(&mut self, now: Now, records: &[(Record, String)]) {
        if self.leading.is_none() {
            return;
        }
        let not_mine = records.iter().filter(|(record, _)| match record {
            // What this one ended and has not saved yet is still there.
            Record::Entry(key) => {
                self.outbox.is_fresh(key) || (self.outbox.find(key).is_none() && !self.dirty.has(record))
            }
            _ => false,
        });
        let mut added: Vec<Entry> = not_mine.filter_map(|(_, text)| form::from_text(text).ok()).collect();
        // A copy of this tab may have saved edits under keys of some that could not be saved here (seed 6006402).
        self.meet_held(now, &added);
        added.retain(|entry| self.outbox.find(&entry.key).is_none());
        self.saving.read(&added);
        for entry in &added {
            self.outbox.insert(entry.clone());
        }
        for entry in added {
            self.take_in(now, &entry.key);
        }
        self.grant_wishes(now);
    }
}
