//! The outbox: every mutation that is not confirmed, in order, and what waits for what (CORE-02, CORE-03, CORE-04).
//!
//! Laws: an entry changes state only by the table of `state`; only what never left may be squashed, merged or removed; an
//! edit behind one that is on its way expects that one's id; whoever stands behind an entry that ends without effect takes
//! over what it expected. It refuses to drop an entry that nobody asked to drop.

mod adding;
mod making;
mod waiting;

use antiphon_model::TransactionId;

pub(super) use self::making::operated;
pub use self::{
    making::{Edit, Making},
    waiting::Waits,
};
use super::{
    Change, EntityKey, Entry, EntryKey, Event, State, Step, Theirs, step,
    store::{Dirty, Record},
};
use crate::ordered::{OrderedMap, OrderedSet};

/// An outbox holds so many entries; a further edit is refused, and whoever made it is told.
pub const ENTRIES_MAX: usize = 10_000;

/// The entries of one user in one organisation.
#[derive(Clone, Debug, Default)]
pub struct Outbox {
    entries: OrderedMap<EntryKey, Entry>,
    by_entity: OrderedMap<EntityKey, OrderedSet<EntryKey>>,
    by_id: OrderedMap<TransactionId, EntryKey>,
    counter: u64,
    /// Entries that were made here and never saved; also of those that have ended since.
    fresh: OrderedSet<EntryKey>,
    /// Cells of the table that were reached, and how often; what cannot happen is counted too.
    reached: OrderedMap<(State, Event), u64>,
    #[cfg(feature = "mutants")]
    pub(super) broken: Option<super::Law>,
}

impl Outbox {
    /// Takes over entries that were kept.
    pub fn load(entries: impl IntoIterator<Item = Entry>) -> Outbox {
        let mut outbox = Outbox::default();
        for entry in entries {
            outbox.insert(entry);
        }
        outbox
    }

    /// Returns the entries in order.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = &Entry> {
        self.entries.values()
    }

    /// Returns how many there are.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Tells whether nothing is left to be confirmed.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Returns an entry.
    pub fn find(&self, key: &str) -> Option<&Entry> {
        self.entries.get(key)
    }

    /// Returns the entry that a transaction id names.
    pub fn by_id(&self, id: &str) -> Option<&Entry> {
        let id = TransactionId::parse(id).ok()?;
        self.entries.get(self.by_id.get(&id)?)
    }

    /// Returns the entries of a row, in order.
    pub fn of<'a>(&'a self, entity: &EntityKey) -> impl DoubleEndedIterator<Item = &'a Entry> {
        let keys = self.by_entity.get(entity).into_iter().flatten();
        keys.filter_map(|key| self.entries.get(key))
    }

    /// Returns the entries of a group, in order.
    pub fn group(&self, group: &str) -> Vec<EntryKey> {
        let of_group = |entry: &&Entry| entry.group == group;
        // A group's entries follow its first one closely, but others may have been made by other tabs meanwhile.
        self.entries.range(group.to_owned()..).map(|(_, entry)| entry).filter(of_group).map(|e| e.key.clone()).collect()
    }

    /// Returns the keys of the entries that pass a test, in order; compiled once for all tests.
    pub(super) fn keys(&self, test: &dyn Fn(&Entry) -> bool) -> Vec<EntryKey> {
        self.entries.values().filter(|entry| test(entry)).map(|entry| entry.key.clone()).collect()
    }

    /// The same of the entries of a row.
    pub(super) fn keys_of(&self, entity: &EntityKey, test: &dyn Fn(&Entry) -> bool) -> Vec<EntryKey> {
        self.of(entity).filter(|entry| test(entry)).map(|entry| entry.key.clone()).collect()
    }

    /// Returns the rows that have entries.
    pub fn entities(&self) -> impl Iterator<Item = &EntityKey> {
        self.by_entity.keys()
    }

    /// Returns the rows of a type that have entries.
    pub(super) fn edited(&self, entity_type: &str) -> Vec<EntityKey> {
        self.by_entity.keys().filter(|entity| entity.entity_type == entity_type).cloned().collect()
    }

    /// Returns which cells of the table were reached, and how often.
    pub fn reached(&self) -> &OrderedMap<(State, Event), u64> {
        &self.reached
    }

    /// Returns the key of a new entry, above all others.
    pub fn next_key(&mut self, node: &str) -> EntryKey {
        self.counter += 1;
        format!("{:012}-{node}", self.counter)
    }

    /// Takes an entry in.
    pub fn insert(&mut self, entry: Entry) {
        // A key of another form, out of a damaged store, says nothing of those to come.
        let digits = entry.key.split('-').next().filter(|_| entry.has_proper_key());
        let number = digits.and_then(|digits| digits.parse().ok()).unwrap_or(0);
        self.counter = self.counter.max(number);
        self.by_entity.entry(entry.entity.clone()).or_default().insert(entry.key.clone());
        self.by_id.insert(entry.id.clone(), entry.key.clone());
        self.entries.insert(entry.key.clone(), entry);
    }

    /// Lets something happen to an entry, by the table; returns the entry where that ended it.
    pub fn happen(&mut self, key: &str, event: Event, dirty: &mut Dirty) -> Option<Entry> {
        let entry = self.entries.get_mut(key)?;
        let cell = (entry.state, event);
        *self.reached.entry(cell).or_default() += 1;
        match step(entry.state, event) {
            Step::To(state) => {
                entry.state = state;
                dirty.put(Record::Entry(key.to_owned()));
                None
            }
            Step::End => self.remove(key, dirty),
            Step::Never => None,
        }
    }

    /// Changes an entry in other ways than its state.
    pub fn update(&mut self, key: &str, dirty: &mut Dirty, change: impl FnOnce(&mut Entry)) {
        let mut change = Some(change);
        self.update_by(key, dirty, &mut |entry| {
            if let Some(change) = change.take() {
                change(entry);
            }
        });
    }

    /// The same, compiled once for all changes.
    fn update_by(&mut self, key: &str, dirty: &mut Dirty, change: &mut dyn FnMut(&mut Entry)) {
        let Some(entry) = self.entries.get_mut(key) else { return };
        let before = entry.id.clone();
        change(entry);
        if entry.id != before {
            let id = entry.id.clone();
            self.by_id.remove(&before);
            self.by_id.insert(id, key.to_owned());
        }
        dirty.put(Record::Entry(key.to_owned()));
    }

    /// Forgets an entry: for records that another tab removed.
    pub fn forget(&mut self, key: &str) {
        drop(self.remove(key, &mut Dirty::default()));
        self.fresh.remove(key);
    }

    fn remove(&mut self, key: &str, dirty: &mut Dirty) -> Option<Entry> {
        let entry = self.entries.remove(key)?;
        self.by_id.remove(&entry.id);
        if let Some(keys) = self.by_entity.get_mut(&entry.entity) {
            keys.remove(key);
            if keys.is_empty() {
                self.by_entity.remove(&entry.entity);
            }
        }
        dirty.put(Record::Entry(key.to_owned()));
        Some(entry)
    }

    /// Returns the next entry behind this one that builds upon it: of the same field, or of any where it makes the row.
    fn behind(&self, entry: &Entry) -> Vec<EntryKey> {
        let later = self.of(&entry.entity).filter(|other| other.key > entry.key);
        match &entry.change {
            Change::Create { .. } => {
                let expects = later.filter(|other| other.expected.as_deref() == Some(entry.id.as_str()));
                expects.map(|other| other.key.clone()).collect()
            }
            change => {
                let field = change.field();
                let mut same = later.filter(|other| other.change.field() == field || other.change.is_whole_row());
                same.next().map(|other| other.key.clone()).into_iter().collect()
            }
        }
    }

    /// Lets those behind an entry take over what stands in its place, because it ends without effect.
    pub fn bequeath_to(&mut self, entry: &Entry, theirs: &Theirs, dirty: &mut Dirty) {
        for key in self.behind(entry) {
            let expected_it = |other: &Entry| other.expected.as_deref() == Some(entry.id.as_str());
            if !self.entries.get(&key).is_some_and(|other| expected_it(other) && !other.is_in_flight()) {
                continue;
            }
            self.update(&key, dirty, |other| {
                other.expected = theirs.id.clone();
                if other.mine().is_some() && entry.mine().is_some() {
                    other.base = Some(theirs.value.clone());
                }
            });
        }
    }

    /// Lets those behind an entry take over what it expected, because it ends without effect.
    pub fn bequeath(&mut self, entry: &Entry, dirty: &mut Dirty) {
        let before =
            Theirs { id: entry.expected.clone(), value: entry.base.clone().unwrap_or_default(), ..Theirs::default() };
        self.bequeath_to(entry, &before, dirty);
    }

    /// Gives an entry a new id, and all that stand behind it ids above that, in order.
    pub fn restamp(&mut self, key: &str, dirty: &mut Dirty, mint: &mut dyn FnMut() -> TransactionId) {
        let Some(entry) = self.entries.get(key) else { return };
        let (old, new) = (entry.id.clone(), mint());
        self.update(key, dirty, |entry| {
            (entry.id, entry.source) = (new.clone(), new.node().to_owned());
            (entry.handed, entry.doubt) = (false, false);
        });
        let Some(entry) = self.entries.get(key).cloned() else { return };
        for behind in self.behind_id(&entry, &old) {
            self.update(&behind, dirty, |other| other.expected = Some(new.as_str().to_owned()));
            self.restamp(&behind, dirty, mint);
        }
    }

    /// Returns those behind an entry that expect an id of it and may still change.
    fn behind_id(&self, entry: &Entry, id: &TransactionId) -> Vec<EntryKey> {
        let later = self.of(&entry.entity).filter(|other| other.key > entry.key);
        let expects = later.filter(|other| other.expected.as_deref() == Some(id.as_str()));
        expects.filter(|other| !other.is_in_flight() && other.state != State::Accepted).map(|e| e.key.clone()).collect()
    }
}
