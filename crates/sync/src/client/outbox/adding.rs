//! Edits of an instance that does not lead: each is an entry of its own, behind all that is there (CORE-16).
//!
//! Law: whoever follows touches no entry that is in the store, because the leader may be sending it at this moment. What
//! the leader would have squashed, merged or removed, it does when it takes the entry in.

use super::{Change, Edit, EntryKey, Outbox, making::Making};

impl Outbox {
    /// Takes an edit; returns the key of its group, `None` where nothing is to be sent.
    pub(super) fn append(&mut self, edit: Edit, making: &mut Making<'_>) -> Option<EntryKey> {
        let (entity, change) = match edit {
            Edit::Create { entity, data } => (entity, Change::Create { data }),
            Edit::Add { entity, field, by } => (entity, Change::Add { field, by }),
            Edit::Elements { entity, field, add, remove } => (entity, Change::Elements { field, add, remove }),
            Edit::Delete { entity } => {
                let row = super::super::view::view(making.row, self.of(&entity));
                if making.row.is_none() && self.of(&entity).next().is_none() {
                    return None;
                }
                (entity, Change::Delete { row })
            }
            Edit::Set { entity, fields } => {
                let mut group: Option<EntryKey> = None;
                for (field, value) in self.with_their_likes(&entity, fields, making) {
                    let change = Change::Value { field, value, json_null: false };
                    let key = self.add_entry(&entity, change, group.as_deref(), making);
                    group = group.or(Some(key));
                }
                return group;
            }
        };
        Some(self.add_entry(&entity, change, None, making))
    }

    /// Tells whether an entry was made here and was never saved, so that nobody else knows of it.
    pub fn is_fresh(&self, key: &str) -> bool {
        self.fresh.contains(key) && self.entries.contains_key(key)
    }

    /// Tells whether what the store holds under a key is another edit than the one here that was never saved; where it is
    /// the same, it is saved.
    pub fn is_another(&mut self, held: &super::Entry) -> bool {
        // Copies of a tab may make equal ids at one moment.
        let same = |mine: &super::Entry| mine.id == held.id && mine.entity == held.entity && mine.change == held.change;
        let other = self.is_fresh(&held.key) && !self.find(&held.key).is_some_and(same);
        if !other {
            self.saved(&held.key);
        }
        other
    }

    /// Tells whether an entry that has ended was never saved, and forgets it: what stands under its key in the store, if
    /// anything, a copy of this tab has made (seed 36963).
    pub fn left_unsaved(&mut self, key: &str) -> bool {
        !self.entries.contains_key(key) && self.fresh.remove(key)
    }

    /// Takes out what was never saved and never left, in order, but for some.
    pub fn take_fresh(&mut self, but: &[EntryKey]) -> Vec<super::Entry> {
        let fresh = self.fresh.iter().filter(|key| !but.contains(key)).filter_map(|key| self.find(key));
        // Whoever leads may have taken it in already, and it is known under its key (seed 483).
        let entries: Vec<super::Entry> = fresh.filter(|entry| entry.is_untouched()).cloned().collect();
        entries.iter().for_each(|entry| self.forget(&entry.key));
        entries
    }

    /// Takes an entry in that was never saved.
    pub fn insert_fresh(&mut self, entry: super::Entry) {
        self.fresh.insert(entry.key.clone());
        self.insert(entry);
    }

    /// Tells whether anything was made here that was never saved.
    pub fn has_fresh(&self) -> bool {
        self.fresh.iter().any(|key| self.entries.contains_key(key))
    }

    /// Notes that an entry is in the store.
    pub fn saved(&mut self, key: &str) {
        self.fresh.remove(key);
    }

    /// Puts what the store holds in the place of all but what it never held; returns the entries that went.
    pub fn replace(&mut self, entries: Vec<super::Entry>) -> Vec<super::Entry> {
        let mut next = Outbox::load(entries);
        next.counter = next.counter.max(self.counter);
        next.reached = std::mem::take(&mut self.reached);
        for key in std::mem::take(&mut self.fresh) {
            if let Some(entry) = self.entries.get(&key) {
                next.insert(entry.clone());
                next.fresh.insert(key);
            }
        }
        let former = std::mem::replace(self, next);
        former.entries.into_values().filter(|entry| !self.entries.contains_key(&entry.key)).collect()
    }
}
