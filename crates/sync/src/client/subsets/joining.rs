//! Joining an answer to what is shown while the stream runs (protocol 4, the join; CORE-12).
//!
//! Laws: upon an answer goes what the stream has told since it was read, for the rows that it brought and for those that
//! it says are not there; a row that was here before, and is newer than the answer, has met all of that already. An
//! answer that is older than what is still at hand of the stream is not taken.

use antiphon_model::Visibility;

use super::{
    super::{
        Client, EntityKey, Now,
        held::Held,
        rows::{Arrived, TypeRows},
        store::{Dirty, Record},
        words::{Activity, Item, TypeShape},
    },
    reading::{Asking, Came, Piece},
};
use crate::ordered::{OrderedMap, OrderedSet};

impl Client {
    /// Puts a page into what is shown, and upon it what the stream has told since.
    pub(super) fn join(&mut self, now: Now, asking: &Asking, shape: &TypeShape, came: Came) {
        let name = asking.name.as_str();
        let (open, outbox) = (&self.subsets.open, &self.outbox);
        let pinned = |entity: &EntityKey| open.contains_key(entity) || outbox.of(entity).next().is_some();
        let Some(rows) = self.types.get_mut(name) else { return };
        let since = rows.recent.since(came.offset, rows.marks.offset);
        // Read too early for what is still at hand: it is asked for once more.
        let Some(since) = since.map(|since| since.cloned().collect::<Vec<Activity>>()) else {
            return self.subsets.too_early(now);
        };
        let named = since.iter().filter_map(|activity| activity.entity_id.as_ref());
        let known: OrderedSet<String> = named.filter(|id| rows.rows.contains_key(*id)).cloned().collect();
        let snapshot = came.snapshot.clone();
        let taken = read_page(rows, (name, shape), (&asking.piece, came, self.subsets.uses), &mut self.dirty);
        let generation = rows.marks.generation;
        let mut put: OrderedSet<String> = taken.into_iter().collect();
        for activity in since {
            let Some(id) = &activity.entity_id else {
                rows.truncated((name, shape), &put, &activity, &mut self.dirty);
                continue;
            };
            // What was here before, and is newer than the page, has met all of this already.
            if known.contains(id) && !put.contains(id) {
                continue;
            }
            let entity = EntityKey::new(name, id);
            match rows.apply_part(shape, &activity, pinned(&entity), &mut self.dirty) {
                Arrived::Incomplete => self.fetches.want(&entity),
                Arrived::Put => drop(put.insert(id.clone())),
                _ => {}
            }
        }
        if rows.count(shape) {
            self.subsets.overgrown(name);
        }
        self.subsets.look();
        self.mark_read(name, generation, &snapshot);
        self.dirty.put(Record::Meta);
        for id in put {
            let entity = EntityKey::new(name, id);
            self.shown.insert(entity.clone());
            self.review(now, &entity);
        }
    }

    /// Takes a row that was asked for by its id, and upon it what the stream has told since.
    pub(in super::super) fn fetched_part(
        &mut self,
        entity: &EntityKey,
        shape: &TypeShape,
        (item, snapshot): (Option<Item>, &Visibility),
        since: &[Activity],
    ) {
        let (name, id) = (entity.entity_type.as_str(), entity.entity_id.as_str());
        let pinned = self.is_pinned(entity);
        let Some(rows) = self.types.get_mut(name) else { return };
        let taken = match item {
            Some(item) => {
                let items = OrderedMap::from([(id.to_owned(), item)]);
                !rows.put((name, shape), items, snapshot, &mut self.dirty).is_empty()
            }
            None => rows.gone((name, shape), id, snapshot, &mut self.dirty),
        };
        let of_row = |activity: &&Activity| activity.entity_id.as_deref().is_none_or(|named| named == id);
        for activity in since.iter().filter(|_| taken).filter(of_row) {
            if activity.entity_id.is_none() {
                rows.truncated((name, shape), &OrderedSet::from([id.to_owned()]), activity, &mut self.dirty);
                self.subsets.look();
            } else if rows.apply_part(shape, activity, pinned, &mut self.dirty) == Arrived::Incomplete {
                self.fetches.want(entity);
            }
        }
        if rows.count(shape) {
            self.subsets.overgrown(name);
        }
        self.subsets.loosen(entity);
    }
}

/// Takes a page of a subset; returns the ids of the rows that it brought.
pub(super) fn read_page(
    rows: &mut TypeRows,
    (name, shape): (&str, &TypeShape),
    (piece, came, used): (&Piece, Came, u64),
    dirty: &mut Dirty,
) -> Vec<String> {
    let Piece::Page { key, subset, after, .. } = piece else { return Vec::new() };
    let last = came.ids.last().and_then(|id| came.items.get(id).map(|item| subset.place(id, &item.data)));
    let taken = rows.put((name, shape), came.items, &came.snapshot, dirty);
    let held = rows.marks.subsets.entry(key.clone()).or_insert_with(|| Held::begin(subset.clone(), used));
    if after.is_none() {
        held.restart();
    }
    held.page(came.next, last, came.snapshot);
    taken
}
