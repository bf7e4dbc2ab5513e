//! How an edit becomes entries: squashed into what never left, or put behind what did (CORE-03, CORE-13).
//!
//! Law: whatever is done here, what a person typed last is what the outbox holds for the field, and what was handed to a
//! transport is not touched.

use serde::{Deserialize, Serialize};

use super::{Change, ENTRIES_MAX, EntityKey, Entry, EntryKey, Event, Outbox, State};
use crate::form::{Form, Written};
use crate::{
    Clock,
    client::{
        law::Law,
        rows::Row,
        store::{Dirty, Record},
        value::{add, with_elements},
        words::Schema,
    },
    json::{Object, Value},
};

/// What a person does.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, Form, Written)]
#[serde(tag = "edit", rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum Edit {
    /// Makes a row.
    Create {
        /// The row.
        #[serde(flatten)]
        entity: EntityKey,
        /// Its fields, the key's among them.
        data: Object,
    },
    /// Gives fields of a row values, all together.
    Set {
        /// The row.
        #[serde(flatten)]
        entity: EntityKey,
        /// The values.
        fields: Object,
    },
    /// Adds to a counter.
    Add {
        /// The row.
        #[serde(flatten)]
        entity: EntityKey,
        /// The field.
        field: String,
        /// How much.
        by: Value,
    },
    /// Adds elements to a set and removes others.
    Elements {
        /// The row.
        #[serde(flatten)]
        entity: EntityKey,
        /// The field.
        field: String,
        /// Elements that are to be in it.
        add: Vec<Value>,
        /// Elements that are not to be in it.
        remove: Vec<Value>,
    },
    /// Removes a row.
    Delete {
        /// The row.
        #[serde(flatten)]
        entity: EntityKey,
    },
}

impl Edit {
    /// Returns the row.
    pub fn entity(&self) -> &EntityKey {
        match self {
            Edit::Create { entity, .. }
            | Edit::Set { entity, .. }
            | Edit::Add { entity, .. }
            | Edit::Elements { entity, .. }
            | Edit::Delete { entity } => entity,
        }
    }
}

/// What making entries needs to know.
pub struct Making<'a> {
    /// The time, in milliseconds since 1970.
    pub now_ms: u64,
    /// Makes ids.
    pub clock: &'a mut Clock,
    /// Which client makes the edit.
    pub source: &'a str,
    /// The row as the server confirmed it.
    pub row: Option<&'a Row>,
    /// What the types are.
    pub schema: &'a Schema,
    /// Whether the instance leads; one that does not only adds.
    pub leads: bool,
    /// What is to be saved.
    pub dirty: &'a mut Dirty,
}

impl Outbox {
    /// Tells whether there is room for another edit.
    pub fn has_room(&self) -> bool {
        self.len() < ENTRIES_MAX
    }

    /// Takes an edit; returns the key of its group, `None` where nothing is left to be sent.
    pub fn make(&mut self, edit: Edit, making: &mut Making<'_>) -> Option<EntryKey> {
        if !making.leads {
            return self.append(edit, making);
        }
        match edit {
            Edit::Create { entity, data } => Some(self.add_entry(&entity, Change::Create { data }, None, making)),
            Edit::Delete { entity } => self.delete(&entity, making),
            Edit::Add { entity, field, by } => Some(self.operate(&entity, Change::Add { field, by }, making)),
            Edit::Elements { entity, field, add, remove } => {
                Some(self.operate(&entity, Change::Elements { field, add, remove }, making))
            }
            Edit::Set { entity, fields } => self.set(&entity, fields, making),
        }
    }

    fn set(&mut self, entity: &EntityKey, fields: Object, making: &mut Making<'_>) -> Option<EntryKey> {
        let fields = self.with_their_likes(entity, fields, making);
        let mut group = None;
        for (field, value) in fields {
            let key = self.set_one(entity, field, value, group.as_deref(), making);
            group = group.or(Some(key));
        }
        group
    }

    /// Adds the fields that are judged as one with those named, as they are now.
    pub(super) fn with_their_likes(&self, entity: &EntityKey, mut fields: Object, making: &Making<'_>) -> Object {
        let Some(shape) = making.schema.types.get(&entity.entity_type) else { return fields };
        let shown = super::super::view::view(making.row, self.of(entity));
        let named: Vec<String> = fields.keys().cloned().collect();
        for group in shape.together.iter().filter(|group| group.iter().any(|field| named.contains(field))) {
            for field in group.iter().filter(|field| !named.contains(field)) {
                if let Some(value) = shown.as_ref().and_then(|row| row.get(field)) {
                    fields.insert(field.clone(), value.clone());
                }
            }
        }
        fields
    }

    fn set_one(
        &mut self,
        entity: &EntityKey,
        field: String,
        value: Value,
        group: Option<&str>,
        making: &mut Making<'_>,
    ) -> EntryKey {
        if let Some(create) = self.untouched_create(entity, Some(&field)) {
            self.update(&create, making.dirty, |entry| {
                if let Change::Create { data } = &mut entry.change {
                    data.insert(field, value);
                }
            });
            self.happen(&create, Event::Edited, making.dirty);
            return self.find(&create).map_or(create, |entry| entry.group.clone());
        }
        // What stands before a later create or delete of the row is covered by it (seed 141).
        let about = |entry: &&Entry| entry.change.field() == Some(&field) || entry.change.is_whole_row();
        let last = self.of(entity).rfind(about).cloned();
        if let Some(last) = last.filter(|last| last.mine().is_some()) {
            let editable = last.is_untouched()
                || matches!(last.state, State::Conflicted | State::Failed)
                || (last.is_in_flight() && self.breaks(Law::FlightIsImmutable));
            // A group that stands alone may take a member in; one of several keeps its members.
            if editable && (group.is_none() || last.is_untouched()) {
                self.squash(&last, value, making);
                return last.group;
            }
        }
        let change = Change::Value { field, value, json_null: false };
        self.add_entry(entity, change, group, making)
    }

    /// Puts a newer value in place of one that is not on its way.
    pub(in crate::client) fn squash(&mut self, last: &Entry, new: Value, making: &mut Making<'_>) {
        if last.is_untouched() || last.state == State::Failed {
            let id = making.clock.tick(making.now_ms);
            self.update(&last.key, making.dirty, |entry| {
                entry.id = id;
                (entry.handed, entry.doubt) = (false, false);
            });
        }
        self.update(&last.key, making.dirty, |entry| {
            if let Change::Value { value, .. } = &mut entry.change {
                *value = new;
            }
        });
        if self.breaks(Law::SquashKeepsExpected) {
            let present = making.row.zip(last.change.field());
            let present = present.and_then(|(row, field)| row.versions.field(field)).map(str::to_owned);
            self.update(&last.key, making.dirty, |entry| entry.expected = present);
        }
        self.happen(&last.key, Event::Edited, making.dirty);
        if last.state == State::Failed {
            self.retry(&last.key, making.dirty);
        }
    }

    fn operate(&mut self, entity: &EntityKey, change: Change, making: &mut Making<'_>) -> EntryKey {
        let field = change.field().unwrap_or_default().to_owned();
        if let Some(create) = self.untouched_create(entity, Some(&field)) {
            self.update(&create, making.dirty, |entry| {
                if let Change::Create { data } = &mut entry.change {
                    let present = data.get(&field).cloned().unwrap_or(Value::Null);
                    data.insert(field, operated(&present, &change));
                }
            });
            self.happen(&create, Event::Edited, making.dirty);
            return create;
        }
        let about = |entry: &&Entry| entry.change.field() == Some(&field) || entry.change.is_whole_row();
        let last = self.of(entity).rfind(about).cloned();
        if let Some(last) = last.filter(|last| last.is_untouched() && last.change.is_operation()) {
            let merged = match (&last.change, &change) {
                (Change::Add { by, .. }, Change::Add { by: more, .. }) => {
                    Some(Change::Add { field, by: add(by, more) })
                }
                (Change::Elements { add, remove, .. }, Change::Elements { add: more, remove: less, .. }) => {
                    let kept = |list: &[Value], but: &[Value], and: &[Value]| crate::elements(list, and, but);
                    Some(Change::Elements { field, add: kept(add, less, more), remove: kept(remove, more, less) })
                }
                _ => None,
            };
            if let Some(merged) = merged {
                let id = making.clock.tick(making.now_ms);
                self.update(&last.key, making.dirty, |entry| (entry.change, entry.id) = (merged, id));
                self.happen(&last.key, Event::Edited, making.dirty);
                return last.group;
            }
        }
        self.add_entry(entity, change, None, making)
    }

    fn delete(&mut self, entity: &EntityKey, making: &mut Making<'_>) -> Option<EntryKey> {
        let row = super::super::view::view(making.row, self.of(entity));
        let moot: Vec<EntryKey> = self
            .of(entity)
            .filter(|entry| entry.is_untouched() || matches!(entry.state, State::Conflicted | State::Failed))
            .map(|entry| entry.key.clone())
            .collect();
        for key in moot {
            self.happen(&key, Event::Dropped, making.dirty);
        }
        let on_its_way = self.of(entity).next().is_some();
        // A row that was to be made may have been made by others meanwhile: that one goes (seed 203).
        if making.row.is_none() && !on_its_way {
            return None;
        }
        Some(self.add_entry(entity, Change::Delete { row }, None, making))
    }

    /// Makes a row's pending entry come due at once.
    pub fn retry(&mut self, key: &str, dirty: &mut Dirty) {
        self.happen(key, Event::Retried, dirty);
        self.update(key, dirty, |entry| {
            (entry.attempts, entry.due_ms) = (0, 0);
            // The last known row of one that is gone stays visible (seed 259).
            (entry.refused, entry.theirs) = (None, entry.theirs.take().filter(|theirs| theirs.gone));
        });
    }

    /// Returns the row's create where it never left, and nothing stands behind it that would cover what is put into it.
    ///
    /// A create that was refused for its clock has not left under its new id, but edits behind it may be there (seed 141).
    fn untouched_create(&self, entity: &EntityKey, field: Option<&str>) -> Option<EntryKey> {
        if field.is_some() && self.of(entity).any(|entry| entry.change.field() == field) {
            return None;
        }
        // A delete, or a create in another tab, stands behind it and is what is shown (seeds 70034, 70119).
        let last = self.of(entity).rfind(|entry| entry.change.is_whole_row())?;
        let is_create = matches!(last.change, Change::Create { .. }) && last.is_untouched();
        is_create.then(|| last.key.clone())
    }

    pub(super) fn add_entry(
        &mut self,
        entity: &EntityKey,
        change: Change,
        group: Option<&str>,
        making: &mut Making<'_>,
    ) -> EntryKey {
        let (expected, base) = self.ground(entity, &change, making.row);
        let key = self.next_key(making.clock.node());
        let entry = Entry {
            group: group.map_or_else(|| key.clone(), str::to_owned),
            key: key.clone(),
            entity: entity.clone(),
            change,
            base,
            id: making.clock.tick(making.now_ms),
            source: making.source.to_owned(),
            expected,
            state: State::Pending,
            added: !making.leads,
            handed: false,
            doubt: false,
            attempts: 0,
            due_ms: 0,
            created_ms: making.now_ms,
            schema: making.schema.types.get(&entity.entity_type).map(|shape| shape.schema),
            xid: None,
            listed: None,
            until: None,
            kept: false,
            theirs: None,
            refused: None,
        };
        making.dirty.put(Record::Entry(key.clone()));
        self.fresh.insert(key);
        let group = entry.group.clone();
        self.insert(entry);
        group
    }

    /// Returns what a new entry builds upon: the id that it expects, and the value that the edit began with.
    fn ground(&self, entity: &EntityKey, change: &Change, row: Option<&Row>) -> (Option<String>, Option<Value>) {
        let field = change.field();
        let same = |entry: &&Entry| match field {
            Some(field) => entry.change.field() == Some(field) || matches!(entry.change, Change::Create { .. }),
            None => true,
        };
        // A text that gives way to another's is on screen until that has come: whoever types into it builds upon a version
        // that the server never has, and meets the other's text with what was typed alone (seed 1795313974).
        let shown = self.of(entity).rfind(same).filter(|entry| entry.until.as_deref().is_some_and(|id| !id.is_empty()));
        if let (Some(shown), Change::Value { .. }) = (shown, change)
            && let Some(text) = shown.mine()
        {
            return (Some(shown.id.as_str().to_owned()), Some(text.clone()));
        }
        // What gives way to another's value has no effect to build upon.
        let builds = |entry: &&Entry| same(entry) && entry.until.is_none();
        let last = self.of(entity).rfind(builds);
        let held = row.and_then(|row| field.and_then(|field| row.data.get(field))).cloned();
        match (last, change) {
            (_, Change::Create { .. }) => (None, None),
            (Some(last), _) => {
                let base = match (&last.change, field) {
                    (Change::Create { data }, Some(field)) => data.get(field).cloned().or(Some(Value::Null)),
                    (operation, Some(_)) if operation.is_operation() => held.map(|held| operated(&held, operation)),
                    (change, _) => match change {
                        Change::Value { value, .. } => Some(value.clone()),
                        _ => None,
                    },
                };
                (Some(last.id.as_str().to_owned()), base)
            }
            (None, Change::Delete { .. }) => (row.and_then(|row| row.versions.row.clone()), None),
            (None, _) => {
                let id = row.zip(field).and_then(|(row, field)| row.versions.field(field));
                (id.map(str::to_owned), held.or_else(|| row.map(|_| Value::Null)))
            }
        }
    }
}

/// Returns a value after an operation.
pub(in crate::client) fn operated(present: &Value, change: &Change) -> Value {
    match change {
        Change::Add { by, .. } => add(present, by),
        Change::Elements { add, remove, .. } => with_elements(present, add, remove),
        Change::Value { value, .. } => value.clone(),
        Change::Create { .. } | Change::Delete { .. } => present.clone(),
    }
}
