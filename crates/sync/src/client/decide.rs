//! What a person decides: conflicts, refused edits, what is taken back (CORE-06, CORE-08, CORE-09).
//!
//! Law: a decision names the version of the server that was on screen; where a newer one is known, it is not taken, and
//! what was typed stays.

use serde::{Deserialize, Serialize};

use super::{
    Change, Client, Edit, EntityKey, Entry, EntryKey, Event, Now, State, Theirs, journal::Rule, message::Wish,
};
use crate::{
    form::{Form, Written},
    json::{Object, Value},
    ordered::OrderedSet,
};

/// How a person settles an entry.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, Form, Written)]
#[serde(rename_all = "camelCase")]
pub enum Decision {
    /// Mine, upon theirs.
    KeepMine,
    /// Theirs.
    KeepTheirs,
    /// This, upon theirs.
    Merge(Value),
    /// The row that others deleted is made again, with what was typed.
    Restore,
}

/// Why a decision was not taken; nothing was changed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Written)]
#[serde(rename_all = "camelCase")]
pub enum Undecided {
    /// There is no such conflict any more.
    NoConflict,
    /// Someone changed it again: this is newer than what was on screen.
    Newer,
    /// This cannot be decided so.
    NotPossible,
}

impl Client {
    /// Takes a decision about a conflict; `seen` is the id of the server's version that was on screen.
    ///
    /// # Errors
    /// Nothing was changed, and the reason says why.
    pub fn decide(&mut self, now: Now, key: &str, seen: Option<&str>, decision: Decision) -> Result<(), Undecided> {
        if self.leading.is_none() {
            return self.wish_decided(now, key, seen, decision);
        }
        let wish = Wish::Decide { key: key.to_owned(), seen: seen.map(str::to_owned), decision: decision.clone() };
        let entry = self.outbox.find(key).filter(|entry| entry.state == State::Conflicted).cloned();
        let Some((entry, theirs)) = entry.and_then(|entry| entry.theirs.clone().map(|theirs| (entry, theirs))) else {
            return Err(Undecided::NoConflict);
        };
        if theirs.id.as_deref() != seen {
            return Err(Undecided::Newer);
        }
        match (decision, theirs.gone) {
            (Decision::KeepMine, false) => {
                self.note(now, &entry, Some(theirs.clone()), Rule::Decided);
                self.rebase(now, &entry, &theirs, None);
            }
            (Decision::Merge(value), false) if entry.mine().is_some() => {
                self.note(now, &entry, Some(theirs.clone()), Rule::Decided);
                self.rebase(now, &entry, &theirs, Some(value));
            }
            (Decision::KeepTheirs, gone) => {
                self.note(now, &entry, Some(theirs.clone()), Rule::Decided);
                match gone {
                    true => drop(self.outbox.happen(key, Event::Dropped, &mut self.dirty)),
                    false => self.yield_to(&entry, &theirs),
                }
                if self.outbox.find(key).is_some() {
                    // Whoever decided sees the other's value as soon as the server can say it.
                    self.fetches.want(&entry.entity);
                }
            }
            (Decision::Restore, true) => self.restore(now, &entry.entity, &theirs)?,
            _ => return Err(Undecided::NotPossible),
        }
        self.wish(now, wish);
        self.touched(&entry.entity);
        self.drive(now);
        Ok(())
    }

    fn restore(&mut self, now: Now, entity: &EntityKey, theirs: &Theirs) -> Result<(), Undecided> {
        let Value::Object(row) = &theirs.value else { return Err(Undecided::NotPossible) };
        let edits: Vec<Entry> =
            self.outbox.of(entity).filter(|entry| entry.state == State::Conflicted).cloned().collect();
        let data = super::view::view(None, edits.iter()).unwrap_or_else(|| row.clone());
        let data = self.writable(entity, data);
        for entry in &edits {
            self.note(now, entry, entry.theirs.clone(), Rule::Decided);
            self.outbox.happen(&entry.key, Event::Dropped, &mut self.dirty);
        }
        let lives = |entry: &Entry| matches!(entry.state, State::Pending | State::Sent | State::Accepted);
        let made = |entry: &Entry| lives(entry) && matches!(entry.change, Change::Create { .. });
        if self.outbox.of(entity).any(made) {
            // The row is being made anew already: what was typed goes into that one, upon what was typed there since.
            let shown = self.view(entity).unwrap_or_default();
            let mut fields = Object::default();
            for entry in &edits {
                let Some((field, mine)) = entry.change.field().and_then(|field| Some((field, data.get(field)?))) else {
                    continue;
                };
                let before = Theirs { value: shown.get(field).cloned().unwrap_or_default(), ..Theirs::default() };
                fields.insert(field.to_owned(), self.upon(now, entry, mine, field, &before));
            }
            self.make(now, Edit::Set { entity: entity.clone(), fields });
        } else {
            self.make(now, Edit::Create { entity: entity.clone(), data });
        }
        Ok(())
    }

    /// Keeps of a row what a create may name.
    pub(super) fn writable(&self, entity: &EntityKey, data: Object) -> Object {
        let Some(shape) = self.schema.as_ref().and_then(|schema| schema.types.get(&entity.entity_type)) else {
            return data;
        };
        let may = |name: &String| shape.key.contains(name) || shape.can.update.contains(name);
        data.into_iter().filter(|(name, _)| may(name)).collect()
    }

    /// Sends a refused edit again; tells whether there was one.
    pub fn retry(&mut self, now: Now, key: &str) -> bool {
        let Some(entry) = self.outbox.find(key).filter(|entry| entry.state == State::Failed).cloned() else {
            return false;
        };
        self.wish(now, Wish::Retry { key: key.to_owned() });
        if self.leading.is_none() {
            return true;
        }
        for member in self.outbox.group(&entry.group) {
            if self.outbox.find(&member).is_some_and(|member| member.state == State::Failed) {
                self.outbox.retry(&member, &mut self.dirty);
                self.restamp(now, &member);
            }
        }
        self.touched(&entry.entity);
        self.drive(now);
        true
    }

    /// Returns what would go with an entry that is discarded: its group, and what waits for it.
    pub fn discarded_with(&self, key: &str) -> Vec<EntryKey> {
        let Some((entry, schema)) = self.outbox.find(key).zip(self.schema.as_ref()) else { return Vec::new() };
        let mut keys: Vec<EntryKey> = self.outbox.group(&entry.group);
        for member in keys.clone() {
            // An edit of a row lives on without an earlier edit; without the row it does not.
            let is_create = self.outbox.find(&member).is_some_and(|e| matches!(e.change, Change::Create { .. }));
            if is_create {
                keys.extend(self.outbox.dependants(&member, schema));
            }
        }
        keys.into_iter().collect::<OrderedSet<_>>().into_iter().collect()
    }

    /// Takes an edit back with all that goes with it; what is on its way stays. Returns what was taken back.
    pub fn discard(&mut self, now: Now, key: &str) -> Vec<EntryKey> {
        let with = self.discarded_with(key);
        self.wish(now, Wish::Discard { key: key.to_owned() });
        if self.leading.is_none() {
            return with;
        }
        let mut gone = Vec::new();
        for key in with.into_iter().rev() {
            let Some(entry) = self.outbox.find(&key).cloned() else { continue };
            if !matches!(entry.state, State::Pending | State::Conflicted | State::Failed) {
                continue;
            }
            self.note(now, &entry, entry.theirs.clone(), Rule::Discarded);
            self.outbox.bequeath(&entry, &mut self.dirty);
            self.outbox.happen(&key, Event::Dropped, &mut self.dirty);
            self.touched(&entry.entity);
            gone.push(key);
        }
        self.drive(now);
        gone
    }
}
