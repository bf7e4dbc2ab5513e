//! Rows of a type of which only parts are kept: which of them enter, stay and leave (CORE-12).
//!
//! Laws: a row is kept where a subset covers it or somebody holds on to it, and nothing else grows the store; rows are
//! shared by the subsets that overlap; what one page has seen and another has not is asked for by its id, so that a row
//! never goes back in any of them.

use antiphon_model::Visibility;

use super::{Arrived, Item, Row, TypeRows};
use crate::client::{
    held::{Entry, bytes_of},
    store::{Dirty, Record},
    words::{Action, Activity, TypeShape},
};
use crate::json::Object;
use crate::ordered::{OrderedMap, OrderedSet};

impl TypeRows {
    /// Takes an activity of a type that is kept in parts; `pinned` rows are kept whatever they hold.
    pub fn apply_part(&mut self, shape: &TypeShape, activity: &Activity, pinned: bool, dirty: &mut Dirty) -> Arrived {
        let Some(id) = &activity.entity_id else {
            self.marks.subsets.values_mut().for_each(|held| held.moved());
            return self.clear(activity, dirty);
        };
        let before = self.rows.get(id).map(|row| row.data.clone());
        if before.is_none() && activity.action != Action::Delete {
            match self.entry(shape, activity, pinned) {
                Entry::No => return Arrived::Ignored,
                Entry::Seen => return Arrived::Incomplete,
                Entry::Enters => {}
            }
        }
        let arrived = self.apply(shape, activity, dirty);
        match &arrived {
            Arrived::Gone(_) if pinned => drop(self.marks.absent.insert(id.clone(), None)),
            Arrived::Put => {
                self.marks.absent.remove(id);
                if !self.is_kept(shape, id, pinned) {
                    self.rows.remove(id);
                }
            }
            _ => {}
        }
        self.note_move(shape, id, before.as_ref());
        arrived
    }

    /// Says what a change means for a row that is not here: `Seen` where only the server can tell.
    fn entry(&self, shape: &TypeShape, activity: &Activity, pinned: bool) -> Entry {
        let (Some(id), Some(data)) = (&activity.entity_id, &activity.data) else { return Entry::No };
        let xid = activity.commit.xid;
        let known = |held: &&super::Held| held.subset.is_known(data);
        let mut entries: Vec<Entry> =
            self.marks.subsets.values().filter(known).map(|held| held.entry(shape, id, data, xid)).collect();
        if entries.len() < self.marks.subsets.len() {
            // A field that decides did not come along.
            entries.extend([Entry::Enters, Entry::Seen]);
        }
        if pinned {
            let seen = self.marks.absent.get(id).and_then(Option::as_ref).is_some_and(|snapshot| snapshot.sees(xid));
            entries.push(if seen { Entry::Seen } else { Entry::Enters });
        }
        // What is said now may be older than what was here when the row was let go of.
        let seen = |(left, snapshot): &(String, Visibility)| left == id && snapshot.sees(xid);
        if !entries.is_empty() && self.let_go.iter().any(seen) {
            entries.push(Entry::Seen);
        }
        match (entries.contains(&Entry::Enters), entries.contains(&Entry::Seen)) {
            (true, false) => Entry::Enters,
            (true, true) => Entry::Seen,
            (false, _) => Entry::No,
        }
    }

    /// Tells whether a row that is here stays.
    fn is_kept(&self, shape: &TypeShape, id: &str, pinned: bool) -> bool {
        let Some(row) = self.rows.get(id) else { return false };
        pinned || self.marks.subsets.values().any(|held| held.keeps(shape, id, &row.data))
    }

    fn note_move(&mut self, shape: &TypeShape, id: &str, before: Option<&Object>) {
        let after = self.rows.get(id).map(|row| &row.data);
        for held in self.marks.subsets.values_mut() {
            let inside = |data: Option<&Object>| data.is_some_and(|data| held.keeps(shape, id, data));
            if inside(before) != inside(after) {
                held.moved();
            }
        }
    }

    /// Puts rows of an answer in place where they are newer than what is here; returns the ids of those.
    pub fn put(
        &mut self,
        (name, shape): (&str, &TypeShape),
        items: OrderedMap<String, Item>,
        snapshot: &Visibility,
        dirty: &mut Dirty,
    ) -> Vec<String> {
        let mut taken = Vec::new();
        for (id, item) in items {
            if self.marks.absent.remove(&id).is_some() {
                dirty.put(Record::Meta);
            }
            let newer = |row: &Row| row.snapshot.as_ref().is_none_or(|known| snapshot.contains(known));
            if !self.rows.get(&id).is_none_or(newer) {
                continue;
            }
            dirty.put(Record::row(self.marks.generation, name, &id));
            let before = self.rows.insert(id.clone(), Row::listed(item, Some(snapshot.clone())));
            // One page may show that a row has left another's window; the stream will not say so again.
            self.note_move(shape, &id, before.as_ref().map(|row| &row.data));
            taken.push(id);
        }
        taken
    }

    /// Takes it that a row was asked for by its id and is not there, unless what is here is newer; tells which.
    pub fn gone(
        &mut self,
        (name, shape): (&str, &TypeShape),
        id: &str,
        snapshot: &Visibility,
        dirty: &mut Dirty,
    ) -> bool {
        let newer = |row: &Row| row.snapshot.as_ref().is_some_and(|known| !snapshot.contains(known));
        if self.rows.get(id).is_some_and(newer) {
            return false;
        }
        let before = self.rows.remove(id).map(|row| row.data);
        if before.is_some() {
            dirty.put(Record::row(self.marks.generation, name, id));
        }
        self.missing(id, snapshot);
        dirty.put(Record::Meta);
        self.note_move(shape, id, before.as_ref());
        true
    }

    /// Clears rows that a page brought which had not seen them go; all others have met that already.
    pub fn truncated(
        &mut self,
        (name, shape): (&str, &TypeShape),
        ids: &OrderedSet<String>,
        activity: &Activity,
        dirty: &mut Dirty,
    ) {
        for id in ids {
            if self.saw(shape, id, activity.commit.xid) {
                continue;
            }
            if let Some(row) = self.rows.remove(id) {
                dirty.put(Record::row(self.marks.generation, name, id));
                self.note_move(shape, id, Some(&row.data));
            }
        }
    }

    /// Notes that a row was looked for and is not there.
    pub fn missing(&mut self, id: &str, snapshot: &Visibility) {
        self.marks.absent.insert(id.to_owned(), Some(snapshot.clone()));
    }

    /// Tells whether a row was looked for and is not there.
    pub fn is_missing(&self, id: &str) -> bool {
        self.marks.absent.contains_key(id)
    }

    /// Lets go of rows that nothing keeps: one, or all; returns which.
    pub fn let_go(
        &mut self,
        name: &str,
        shape: &TypeShape,
        pinned: &dyn Fn(&str) -> bool,
        only: Option<&str>,
        dirty: &mut Dirty,
    ) -> Vec<String> {
        let one = only.map(|id| vec![id.to_owned()]);
        let ids = one.unwrap_or_else(|| self.rows.keys().chain(self.marks.absent.keys()).cloned().collect());
        let loose: Vec<String> = ids.into_iter().filter(|id| !self.is_kept(shape, id, pinned(id))).collect();
        let mut gone = Vec::new();
        for id in loose {
            let missing = if pinned(&id) { None } else { self.marks.absent.remove(&id) };
            if missing.is_some() {
                dirty.put(Record::Meta);
            }
            let row = self.rows.remove(&id);
            if row.is_some() {
                dirty.put(Record::row(self.marks.generation, name, &id));
                gone.push(id.clone());
            }
            if let Some(snapshot) = row.and_then(|row| row.snapshot).or(missing.flatten()) {
                self.remember(&id, snapshot);
            }
        }
        gone
    }

    /// Returns about how many bytes the rows take that none of some subsets, and nobody else, keeps.
    pub fn spare_bytes(
        &self,
        shape: &TypeShape,
        wanted: &dyn Fn(&str) -> bool,
        pinned: &dyn Fn(&str) -> bool,
    ) -> usize {
        let subsets = self.marks.subsets.iter().filter(|(key, _)| wanted(key));
        let active: Vec<_> = subsets.map(|(_, held)| held).collect();
        let spare = self
            .rows
            .iter()
            .filter(|(id, row)| !pinned(id) && !active.iter().any(|held| held.keeps(shape, id, &row.data)));
        spare.map(|(id, row)| id.len() + row.bytes()).sum()
    }

    /// Counts windows in which rows have moved; tells whether one was cut, so that rows are to be let go of.
    pub fn count(&mut self, shape: &TypeShape) -> bool {
        let mut cut = false;
        for held in self.marks.subsets.values_mut().filter(|held| held.is_uncounted()) {
            cut |= held.count(shape, self.rows.iter());
        }
        cut
    }
}

impl Row {
    fn bytes(&self) -> usize {
        let versions: usize = self.versions.fields.iter().map(|(name, id)| name.len() + id.len()).sum();
        bytes_of(self.data.iter()) + bytes_of(self.omitted.iter()) + versions
    }
}
