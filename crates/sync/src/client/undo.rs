//! Undo and redo over what was done in one go (CORE-13, SY-47).
//!
//! Laws: what never left is removed; what did is answered by an ordinary edit that expects mine, so another's later value
//! is never overwritten in silence: a field that shows something else than what was done is not undone. What can be undone
//! lives as long as the instance, unless whoever drives it keeps it and hands it to the next.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use super::{Change, Client, Edit, EntityKey, EntryKey, Law, Now, State, same, value};
use crate::form::{self, Form, Written};
use crate::json::{Object, Value};

/// So many steps can be undone.
const STEPS_MAX: usize = 100;

#[derive(Clone, Debug, Serialize, Deserialize, Form, Written)]
struct Done {
    group: Option<EntryKey>,
    /// What was done.
    edit: Edit,
    /// What undoes it.
    back: Option<Edit>,
}

/// What was done, and what was undone.
#[derive(Debug, Default, Serialize, Deserialize, Form, Written)]
pub(super) struct Undo {
    done: VecDeque<Done>,
    undone: Vec<Done>,
    #[serde(skip)]
    changed: bool,
}

impl Undo {
    /// Notes what was done to a row that looked like `before`.
    pub(super) fn done(&mut self, group: &Option<EntryKey>, entity: &EntityKey, edit: Edit, before: Option<Object>) {
        self.undone.clear();
        self.push(group.clone(), entity, edit, before);
    }

    /// Forgets all of it, where it is kept too.
    pub(super) fn forget(&mut self) {
        let changed = self.changed || !self.done.is_empty() || !self.undone.is_empty();
        *self = Undo { changed, ..Undo::default() };
    }

    fn push(&mut self, group: Option<EntryKey>, entity: &EntityKey, edit: Edit, before: Option<Object>) {
        let back = back(entity, &edit, before);
        self.changed = true;
        self.done.push_back(Done { group, edit, back });
        if self.done.len() > STEPS_MAX {
            self.done.pop_front();
        }
    }
}

fn back(entity: &EntityKey, edit: &Edit, before: Option<Object>) -> Option<Edit> {
    let entity = entity.clone();
    Some(match edit {
        Edit::Create { .. } => Edit::Delete { entity },
        Edit::Delete { .. } => Edit::Create { entity, data: before? },
        Edit::Add { field, by, .. } => Edit::Add { entity, field: field.clone(), by: value::negated(by) },
        Edit::Elements { field, add, remove, .. } => {
            let held = before.as_ref().and_then(|row| row.get(field)).and_then(Value::as_array).cloned();
            let held = held.unwrap_or_default();
            // Only what was not there before is taken out again, and only what was there is put back.
            let add_back = remove.iter().filter(|element| held.contains(element)).cloned().collect();
            let remove_back = add.iter().filter(|element| !held.contains(element)).cloned().collect();
            Edit::Elements { entity, field: field.clone(), add: add_back, remove: remove_back }
        }
        Edit::Set { fields, .. } => {
            let before = before?;
            let value = |field: &String| before.get(field).cloned().unwrap_or(Value::Null);
            Edit::Set { entity, fields: fields.keys().map(|field| (field.clone(), value(field))).collect() }
        }
    })
}

impl Client {
    /// Undoes what was done last; tells whether there was something to undo.
    pub fn undo(&mut self, now: Now) -> bool {
        let Some(step) = self.undo.done.pop_back() else { return false };
        self.undo.changed = true;
        // What is in the store is the leader's to remove; a tab that follows answers it with an edit.
        let untouched = self.leading.is_some() && self.undo_untouched(now, &step);
        if !untouched {
            let Some(back) = step.back.clone() else { return false };
            let possible = matches!(back, Edit::Create { .. }) == self.view(back.entity()).is_none();
            if !possible || !self.still_shows(&step.edit) || !self.outbox.has_room() {
                return false;
            }
            let back = match back {
                Edit::Create { entity, data } => {
                    let data = self.writable(&entity, data);
                    Edit::Create { entity, data }
                }
                other => other,
            };
            let before = self.view(back.entity());
            self.make_noted(now, back, before.as_ref());
        }
        self.undo.undone.push(step);
        self.drive(now);
        true
    }

    /// Tells whether the row still shows what an edit gave it, as far as that can be asked.
    fn still_shows(&self, edit: &Edit) -> bool {
        let Edit::Set { entity, fields } = edit else { return true };
        if self.breaks(Law::UndoSparesOthers) {
            return true;
        }
        self.view(entity)
            .is_some_and(|row| fields.iter().all(|(field, value)| same(row.get(field).unwrap_or(&Value::Null), value)))
    }

    /// Returns what can be undone and redone, as JSON, where that changed since the last call.
    pub fn take_undo(&mut self) -> Option<String> {
        std::mem::take(&mut self.undo.changed).then(|| form::text(&self.undo))
    }

    /// Takes over what a former instance over the same store could undo; what cannot be read is nothing to undo.
    pub fn resume_undo(&mut self, text: &str) {
        self.undo = form::from_text(text).unwrap_or_default();
    }

    /// Removes what never left, where it stands alone; tells whether it did.
    fn undo_untouched(&mut self, now: Now, step: &Done) -> bool {
        let Some(group) = &step.group else { return false };
        let keys = self.outbox.group(group);
        // An edit that was merged into a create, or squashed into an earlier one, is not alone.
        let same = |key: &EntryKey| {
            self.outbox.find(key).is_some_and(|entry| {
                let taken = match (&entry.change, &step.edit) {
                    (Change::Create { data }, Edit::Create { data: made, .. }) => data == made,
                    (Change::Value { field, value, .. }, Edit::Set { fields, .. }) => {
                        let before = match &step.back {
                            Some(Edit::Set { fields, .. }) => fields.get(field),
                            _ => None,
                        };
                        fields.get(field) == Some(value) && before == entry.base.as_ref()
                    }
                    (Change::Add { by, .. }, Edit::Add { by: added, .. }) => by == added,
                    (Change::Elements { add, remove, .. }, Edit::Elements { add: more, remove: less, .. }) => {
                        add == more && remove == less
                    }
                    (Change::Delete { .. }, Edit::Delete { .. }) => true,
                    _ => false,
                };
                taken && (entry.is_untouched() || entry.state == State::Conflicted)
            })
        };
        if keys.is_empty() || !keys.iter().all(same) {
            return false;
        }
        let own: Vec<EntryKey> = keys.clone();
        let with = keys.first().map(|key| self.discarded_with(key)).unwrap_or_default();
        if with.iter().any(|key| !own.contains(key)) {
            return false;
        }
        keys.first().map(|key| self.discard(now, key));
        true
    }

    /// Does again what was undone last; tells whether there was something.
    pub fn redo(&mut self, now: Now) -> bool {
        let Some(step) = self.undo.undone.pop() else { return false };
        self.undo.changed = true;
        let entity = step.edit.entity().clone();
        let before = self.view(&entity);
        // What others wrote since it was undone was not there when it was done.
        let as_undone = step.back.as_ref().is_none_or(|back| self.still_shows(back));
        if matches!(step.edit, Edit::Create { .. }) != before.is_none() || !as_undone || !self.outbox.has_room() {
            return false;
        }
        let group = self.make_noted(now, step.edit.clone(), before.as_ref());
        self.undo.push(group, &entity, step.edit, before);
        self.drive(now);
        true
    }
}
