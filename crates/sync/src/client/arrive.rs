//! Rows that arrive, and what they mean for the edits upon them (CORE-07, CORE-09, CORE-10, CORE-11).
//!
//! Law: a row and the end of its own edit's layer come in one step, so nothing flickers. An edit on its way waits for its
//! answer; one that is not, meets what arrived at once.

use super::{
    Change, Client, EntityKey, Entry, EntryKey, Event, Law, Now, Refused, State, Theirs, Told, held,
    journal::Rule,
    rows::{Arrived, Row},
    words::{Action, Activity, Problem},
};

/// Why an edit is refused whose row left this user's sight.
const ROW_LEFT: &str = "ROW_LEFT";

impl Client {
    /// Takes an activity.
    pub(super) fn arrive(&mut self, now: Now, activity: &Activity) {
        if let Some(tx) = &activity.tx {
            for id in tx.ids() {
                self.merge_clock(now, id);
            }
        }
        let arrived = self.apply(activity);
        if let Some(tx) = &activity.tx {
            let own: Vec<EntryKey> =
                tx.ids().iter().filter_map(|id| self.outbox.by_id(id)).map(|entry| entry.key.clone()).collect();
            for key in own {
                self.take_own_long(&key);
                self.confirm(&key);
            }
        }
        let Some(id) = &activity.entity_id else {
            if let Arrived::Cleared(ids) = arrived {
                ids.iter()
                    .for_each(|id| self.row_left(now, &EntityKey::new(&activity.entity_type, id), None, activity));
            }
            return;
        };
        let entity = EntityKey::new(&activity.entity_type, id);
        match arrived {
            Arrived::Put => {
                self.shown.insert(entity.clone());
                let lacks = self.row(&entity).is_some_and(Row::is_partly);
                self.subsets.look_for_long(lacks);
                self.review(now, &entity);
            }
            Arrived::Gone(row) => self.row_left(now, &entity, Some(*row), activity),
            Arrived::Incomplete => self.fetches.want(&entity),
            Arrived::Ignored | Arrived::Cleared(_) => self.end_yielded(&entity),
        }
        self.fetches.hold(&entity, activity);
    }

    /// What this device wrote itself, and is too long to come back, is shown until it was looked at.
    fn take_own_long(&mut self, key: &str) {
        let Some(entry) = self.outbox.find(key) else { return };
        let (Some(value), Some(field)) = (entry.mine(), entry.change.field()) else { return };
        let rows = self.types.get_mut(&entry.entity.entity_type);
        let Some(row) = rows.and_then(|rows| rows.rows.get_mut(&entry.entity.entity_id)) else { return };
        let own = row.versions.field(field) == Some(entry.id.as_str());
        if let Some(about) = row.omitted.value_mut(field).filter(|_| own && !row.data.contains_key(field)) {
            *about = crate::json::Value::Null;
            row.data.insert(field.to_owned(), value.clone());
        }
    }

    fn apply(&mut self, activity: &Activity) -> Arrived {
        let name = &activity.entity_type;
        let in_parts = self.is_in_parts(name);
        let entity = activity.entity_id.as_ref().filter(|_| in_parts).map(|id| EntityKey::new(name, id));
        let pinned = entity.as_ref().is_some_and(|entity| self.is_pinned(entity));
        let awaited = entity.as_ref().is_some_and(|entity| self.is_awaited(entity));
        let shape = self.schema.as_ref().and_then(|schema| schema.types.get(name));
        let (Some(shape), Some(rows)) = (shape, self.types.get_mut(name)) else {
            // A type that is new here: the schema tells what it is.
            self.wants_schema |= shape.is_none();
            return Arrived::Ignored;
        };
        if activity.schema.is_some_and(|number| number > shape.schema) {
            self.wants_schema = true;
        }
        if activity.activity_id <= rows.marks.offset {
            return Arrived::Ignored;
        }
        if !in_parts {
            return rows.apply(shape, activity, &mut self.dirty);
        }
        rows.recent.begin(rows.marks.offset);
        rows.recent.push(activity);
        if awaited && activity.action != Action::Delete {
            return Arrived::Ignored;
        }
        let rows_before = rows.rows.len();
        let arrived = rows.apply_part(shape, activity, pinned, &mut self.dirty);
        if activity.entity_id.is_none() {
            // Whether open rows are still there is asked.
            self.subsets.look();
        }
        if rows.count(shape) {
            self.subsets.overgrown(name);
        }
        if rows.rows.len() > rows_before {
            self.subsets.grew(held::bytes_of(activity.data.iter().flat_map(crate::json::Object::iter)));
        }
        arrived
    }

    /// Tells whether a row that is not here is being fetched to see whether an operation is in it: what the stream says of
    /// it meanwhile would be shown with the operation counted twice, or not (seed 25962).
    fn is_awaited(&self, entity: &EntityKey) -> bool {
        let accepted = |entry: &Entry| entry.state == State::Accepted && entry.until.is_none();
        let operation = self.outbox.of(entity).any(|entry| accepted(entry) && entry.change.is_operation());
        operation && self.row(entity).is_none() && self.fetches.is_wanted(entity)
    }

    fn row_left(&mut self, now: Now, entity: &EntityKey, row: Option<Row>, activity: &Activity) {
        self.shown.insert(entity.clone());
        let deleted_by_me = self.outbox.of(entity).any(|entry| matches!(entry.change, Change::Delete { .. }));
        if activity.reason.as_deref() == Some("access") {
            self.access_lost(now, entity);
        } else if !deleted_by_me {
            let theirs = Theirs {
                id: activity.tx.as_ref().map(|tx| tx.transaction_id.clone()),
                value: row.map(|row| row.data.into()).unwrap_or_default(),
                gone: true,
                actor: activity.tx.as_ref().and_then(|tx| tx.actor.clone()),
                at: activity.created_at.clone(),
            };
            self.gone(now, entity, &theirs);
        }
        self.end_yielded(entity);
    }

    /// Others deleted a row that has edits: it stays visible, and a person decides.
    fn gone(&mut self, now: Now, entity: &EntityKey, theirs: &Theirs) {
        let edits: Vec<Entry> =
            self.outbox.of(entity).filter(|entry| entry.change.field().is_some()).cloned().collect();
        for entry in edits {
            match entry.state {
                // Its answer will say the same; until then the row that it was made upon is kept.
                _ if entry.is_unsettled() => {
                    self.outbox.update(&entry.key, &mut self.dirty, |entry| {
                        (entry.theirs, entry.refused) = (Some(theirs.clone()), None);
                    });
                }
                State::Pending | State::Conflicted => self.meet(now, &entry.key, theirs.clone()),
                State::Sent | State::Accepted | State::Failed => {}
            }
        }
    }

    /// A row with edits is missing in a new list: it was deleted, or left sight.
    pub(super) fn left_unseen(&mut self, now: Now, entity: &EntityKey, row: Row) {
        let theirs = Theirs { value: row.data.into(), gone: true, ..Theirs::default() };
        let deleted_by_me = self.outbox.of(entity).any(|entry| matches!(entry.change, Change::Delete { .. }));
        if !deleted_by_me {
            self.gone(now, entity, &theirs);
        }
        self.end_yielded(entity);
    }

    fn access_lost(&mut self, now: Now, entity: &EntityKey) {
        for key in self.outbox.keys_of(entity, &Entry::is_open) {
            self.left_sight(now, &key);
        }
        for key in self.outbox.keys_of(entity, &Entry::is_unsettled) {
            // Its answer will not say why the row is gone.
            let left = Refused { code: ROW_LEFT.into(), detail: String::new() };
            self.outbox.update(&key, &mut self.dirty, |entry| entry.refused = Some(left));
        }
    }

    /// The row of an edit left this user's sight: what was typed is kept, and what others wrote there is not.
    pub(super) fn left_sight(&mut self, now: Now, key: &str) {
        self.refuse(now, key, &Problem { code: ROW_LEFT.into(), ..Problem::default() });
        self.outbox.update(key, &mut self.dirty, |entry| entry.theirs = None);
    }

    /// Looks at the edits of a row that has come anew: which of them are in it, and which meet another's value.
    pub(super) fn review(&mut self, now: Now, entity: &EntityKey) {
        let contained = self.outbox.keys_of(entity, &|entry| self.contains(entry));
        contained.iter().for_each(|key| self.confirm(key));
        self.end_yielded(entity);
        let open = self.outbox.keys_of(entity, &|entry| self.is_met(entry));
        for key in open {
            // What one of them did may have changed the others.
            let Some(entry) = self.outbox.find(&key).filter(|entry| self.is_met(entry)).cloned() else { continue };
            let theirs = self.present(&entry);
            match entry.state {
                State::Conflicted => self.conflict_moved(now, &entry, theirs),
                _ => self.meet(now, &key, theirs),
            }
        }
    }

    /// Tells whether the confirmed row has an edit in it.
    fn contains(&self, entry: &Entry) -> bool {
        if self.breaks(Law::RowsConfirm) {
            return false;
        }
        let name = &entry.entity.entity_type;
        let Some(rows) = self.rows_of(name) else { return false };
        if let Some(row) = rows.rows.get(&entry.entity.entity_id) {
            let id = entry.id.as_str();
            if row.versions.row.as_deref() == Some(id) || row.versions.fields.values().any(|version| version == id) {
                return true;
            }
        }
        self.is_listed(&entry.key)
    }

    /// Tells whether the server holds a newer value of what an edit is about than the edit was made upon.
    fn is_met(&self, entry: &Entry) -> bool {
        let open = entry.is_open();
        let compared = entry.mine().is_some() || matches!(entry.change, Change::Delete { .. });
        // Whoever stands behind another edit waits to see what becomes of that.
        let behind = entry.expected.as_deref().is_some_and(|expected| self.outbox.by_id(expected).is_some());
        if !open || !compared || behind {
            return false;
        }
        let Some(row) = self.row(&entry.entity) else { return false };
        let present = match entry.change.field() {
            // What it is compared with is still to come.
            Some(field) if row.lacks(field) => return false,
            Some(field) => row.versions.field(field),
            None => row.versions.row.as_deref(),
        };
        let known = match (&entry.theirs, entry.state) {
            (Some(theirs), State::Conflicted) => theirs.id.as_deref(),
            _ => entry.expected.as_deref(),
        };
        present.is_some_and(|present| known.is_none_or(|known| present > known) && !self.is_mine(present))
    }

    /// Someone changed a field again while a person is asked about it.
    fn conflict_moved(&mut self, now: Now, entry: &Entry, theirs: Theirs) {
        let same = entry.agrees_with(&theirs.value);
        let back = entry.base.as_ref().is_some_and(|base| super::same(base, &theirs.value));
        if same {
            self.note(now, entry, Some(theirs.clone()), Rule::Same);
            self.yield_to(entry, &theirs);
        } else if back && entry.mine().is_some() {
            self.note(now, entry, Some(theirs.clone()), Rule::Unchanged);
            self.rebase(now, entry, &theirs, None);
        } else {
            self.outbox.happen(&entry.key, Event::Disputed, &mut self.dirty);
            self.outbox.update(&entry.key, &mut self.dirty, |entry| entry.theirs = Some(theirs));
            self.tell(Told::Conflict(entry.key.clone()));
        }
        self.touched(&entry.entity);
    }
}
