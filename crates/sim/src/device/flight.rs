//! What a device has handed to the network, and what its rows say of the source's own order (SIM-03).
//!
//! Laws: an id names one content for good (CORE-03); an edit is in the store as sent before it is handed over, unless
//! the person was told that nothing can be saved (CORE-02); an edit takes effect under one id at most; within a stream a
//! row never goes back; what a row holds is in no layer upon it (CORE-10, CORE-11).

use std::collections::{BTreeMap, BTreeSet};

use antiphon_sync::client::{Client, EntityKey, Entry, EntryKey, State};
use serde_json::Value;

use crate::{Database, storage::Storage};

/// What is known of the edits of a device that left it, and of its rows.
#[derive(Default)]
pub(super) struct Flight {
    /// What each id stood for when it was handed over.
    contents: BTreeMap<String, Value>,
    /// Under which ids each entry was handed over.
    ids: BTreeMap<EntryKey, BTreeSet<String>>,
    /// Entries that left while nothing could be saved: a crash makes them forget what they were.
    unsaved: BTreeSet<EntryKey>,
    /// Entries that another device has too, because one's store is a copy of the other's.
    twins: BTreeSet<EntryKey>,
    /// The newest version of each row that a stream has brought in this life.
    newest: BTreeMap<EntityKey, usize>,
}

impl Flight {
    /// Looks at a request before it leaves; returns what is wrong with it.
    pub(super) fn handed(&mut self, client: &Client, body: &str, storage: &Storage) -> Option<String> {
        let body: Value = serde_json::from_str(body).unwrap_or_default();
        let saving = client.status().not_saving.is_none();
        let mut wrong = None;
        for mutation in body["mutations"].as_array().into_iter().flatten() {
            let id = mutation["tx"]["transactionId"].as_str().unwrap_or_default();
            let content = content(mutation);
            let before = self.contents.entry(id.to_owned()).or_insert_with(|| content.clone());
            if *before != content {
                wrong = Some(format!("{id} stood for {before}, and now for {content}"));
            }
            let Some(entry) = client.outbox().by_id(id) else { continue };
            self.ids.entry(entry.key.clone()).or_default().insert(id.to_owned());
            if !saving {
                self.unsaved.insert(entry.key.clone());
            } else if !storage.entry(&entry.key).is_some_and(|kept| kept.state == State::Sent && kept.id == entry.id) {
                let kept = storage.entry(&entry.key);
                wrong = Some(format!("{id} was handed over, and the store has {kept:?}"));
            }
        }
        wrong
    }

    /// Looks at rows that may have changed; returns what is wrong with one.
    pub(super) fn rows(
        &mut self,
        client: &Client,
        rows: &[EntityKey],
        database: &Database,
        by_stream: bool,
    ) -> Option<String> {
        let mut wrong = None;
        for entity in rows {
            let Some(row) = client.row(entity) else { continue };
            let at = |id: &str| database.written_at(&entity.entity_type, &entity.entity_id, id);
            let present = row.versions.row.as_deref().and_then(at);
            if let Some(present) = present {
                let newest = self.newest.entry(entity.clone()).or_default();
                if by_stream && present < *newest {
                    wrong = Some(format!("{entity:?} went back to version {present} from {newest}: {row:?}"));
                }
                *newest = present;
            }
            let layered = |entry: &&Entry| {
                let shown = matches!(entry.state, State::Pending | State::Sent | State::Accepted);
                // What a copy of this store has too, that may have sent: this one learns so by an answer and a row after it.
                shown && !self.twins.contains(&entry.key) && entry.change.is_operation() && entry.until.is_none()
            };
            for entry in client.outbox().of(entity).filter(layered) {
                let written = entry.change.field().and_then(|field| row.versions.field(field)).and_then(at);
                if let (Some(own), Some(written)) = (at(entry.id.as_str()), written)
                    && own <= written
                {
                    wrong = Some(format!("counted twice: {entry:?} upon {row:?}"));
                }
            }
        }
        wrong
    }

    /// The store is a copy, or was copied, with these entries.
    pub(super) fn copied(&mut self, entries: &[EntryKey]) {
        self.twins.extend(entries.iter().cloned());
    }

    /// Tells whether its store is used twice: one id may stand for two texts there.
    pub(super) fn is_used_twice(&self) -> bool {
        !self.twins.is_empty()
    }

    /// Tells whether another device has an entry too.
    pub(super) fn is_shared(&self, key: &str) -> bool {
        self.twins.contains(key)
    }

    /// A new life begins with what the store holds.
    pub(super) fn reborn(&mut self) {
        self.newest.clear();
    }

    /// Returns the first entry that took effect under two ids.
    pub(super) fn doubled(&self, applied: &BTreeSet<String>) -> Option<String> {
        // What a copy of this store sent under the same id is another edit where its person went on typing: this one
        // is told so, and takes a new id.
        let sure = self.ids.iter().filter(|(key, _)| !self.unsaved.contains(*key) && !self.twins.contains(*key));
        sure.map(|(key, ids)| (key, ids.intersection(applied).collect::<Vec<_>>()))
            .find(|(_, ids)| ids.len() > 1)
            .map(|(key, ids)| format!("{key} took effect as {ids:?}"))
    }
}

/// What an id must always stand for: all but what it expects, and who says so.
fn content(mutation: &Value) -> Value {
    let mut content = mutation.clone();
    if let Some(tx) = content["tx"].as_object_mut() {
        for name in ["expectedTransactionId", "sourceId", "schema"] {
            tx.remove(name);
        }
    }
    content
}
