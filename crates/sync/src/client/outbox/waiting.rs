//! What waits for what: a closed list (CORE-04).
//!
//! An edit waits for the earlier edit of its field; every edit and delete for the row's create; a delete also for edits of
//! the row that are on their way, because it names the row's last writer; a create or an edit whose reference names a row
//! with a create in the outbox waits for that; a delete waits for deletes of rows that refer to its row; the entries of a
//! group go together. Nothing else waits.

use serde::Serialize;

use super::{Change, EntityKey, Entry, EntryKey, Outbox, State};
use crate::client::words::Schema;
use crate::{
    form::{self, Written},
    json::Value,
    ordered::OrderedSet,
};

/// Why an entry does not go out yet.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Written)]
#[serde(rename_all = "camelCase")]
pub enum Waits {
    /// For another entry.
    For(EntryKey),
    /// For the rest of its group.
    ForGroup(EntryKey),
}

impl Outbox {
    /// Returns what an entry waits for; `None` where it may go. Entries in `going` go before it in the same request.
    pub fn waits(&self, entry: &Entry, schema: &Schema) -> Option<Waits> {
        if let Some(key) = self.waits_itself(entry, schema) {
            return Some(Waits::For(key));
        }
        let stuck = |other: &&Entry| {
            let ready = matches!(other.state, State::Pending | State::Sent | State::Accepted);
            !ready || self.waits_itself(other, schema).is_some()
        };
        let members = self.group(&entry.group);
        let others = members.iter().filter(|key| **key != entry.key).filter_map(|key| self.find(key));
        others.filter(stuck).map(|other| Waits::ForGroup(other.key.clone())).next()
    }

    /// Returns the entries that wait for this one, directly or not: what goes where it goes.
    pub fn dependants(&self, key: &str, schema: &Schema) -> Vec<EntryKey> {
        let mut found: OrderedSet<EntryKey> = OrderedSet::from([key.to_owned()]);
        let waits = |entry: &Entry, found: &OrderedSet<EntryKey>| {
            self.waits_itself(entry, schema).is_some_and(|waited| found.contains(&waited))
        };
        loop {
            let more: Vec<EntryKey> = self
                .iter()
                .filter(|entry| !found.contains(&entry.key) && waits(entry, &found))
                .map(|entry| entry.key.clone())
                .collect();
            if more.is_empty() {
                break;
            }
            found.extend(more);
        }
        found.remove(key);
        found.into_iter().collect()
    }

    /// Returns what an entry waits for by itself, whatever its group does.
    fn waits_itself(&self, entry: &Entry, schema: &Schema) -> Option<EntryKey> {
        let unsettled = |other: &&Entry| other.state != State::Accepted;
        let mut earlier = self.of(&entry.entity).filter(|other| other.key < entry.key).filter(unsettled);
        let blocks = |other: &&Entry| match (&entry.change, &other.change) {
            (_, Change::Create { .. } | Change::Delete { .. }) => true,
            (Change::Create { .. }, _) => true,
            // Operations on one field do not disturb each other, but a value does.
            (Change::Delete { .. }, _) => other.group != entry.group,
            (mine, theirs) => mine.field() == theirs.field() && !(mine.is_operation() && theirs.is_operation()),
        };
        if let Some(other) = earlier.rfind(blocks) {
            return Some(other.key.clone());
        }
        match &entry.change {
            Change::Delete { .. } => self.referring_delete(entry, schema),
            change => self.referred_create(entry, change, schema),
        }
    }

    fn referred_create(&self, entry: &Entry, change: &Change, schema: &Schema) -> Option<EntryKey> {
        let shape = schema.types.get(&entry.entity.entity_type)?;
        let value = |field: &str| match change {
            Change::Create { data } => data.get(field),
            Change::Value { field: named, value, .. } if named == field => Some(value),
            _ => None,
        };
        shape.refs.iter().find_map(|(field, target)| {
            let id = match value(field)? {
                Value::String(id) => id.clone(),
                Value::Number(id) => form::text(id),
                _ => return None,
            };
            let creates = self.of(&EntityKey::new(target, id)).find(|other| {
                matches!(other.change, Change::Create { .. })
                    && other.state != State::Accepted
                    && other.key != entry.key
            });
            creates.map(|other| other.key.clone())
        })
    }

    fn referring_delete(&self, entry: &Entry, schema: &Schema) -> Option<EntryKey> {
        let refers = |other: &&Entry| {
            let Change::Delete { row: Some(row) } = &other.change else { return false };
            let Some(shape) = schema.types.get(&other.entity.entity_type) else { return false };
            let names = |value: &Value| value.as_str() == Some(&entry.entity.entity_id);
            shape.refs.iter().any(|(field, target)| {
                *target == entry.entity.entity_type && row.get(field).is_some_and(names) && other.entity != entry.entity
            })
        };
        let open = |other: &&Entry| matches!(other.state, State::Pending | State::Sent) && other.key < entry.key;
        self.iter().filter(open).find(refers).map(|other| other.key.clone())
    }
}
