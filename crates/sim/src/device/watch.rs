//! What a person was promised, watched step by step (SIM-03): nothing typed is lost, nothing flickers, and each edit ends
//! in exactly one way.
//!
//! Laws: an edit leaves the outbox only confirmed, or by a rule with a line in the journal, or by its person; once its
//! layer goes, the row shows what was typed, unless somebody wrote the field later. What was told saved outlives a crash.

use std::collections::{BTreeMap, BTreeSet};

use antiphon_sync::client::{Client, Edit, Entry, EntryKey, Line, State, same};

use crate::{checks::Truth, storage::Storage};

/// What is known of a device's edits.
#[derive(Default)]
pub(super) struct Watch {
    /// The outbox before the present step.
    before: BTreeMap<EntryKey, Entry>,
    /// What was told to be on the device.
    saved: BTreeSet<EntryKey>,
    /// Ids under which entries were confirmed as applied.
    confirmed: BTreeSet<String>,
    /// Keys that a rule or a person ended.
    ended: BTreeSet<EntryKey>,
    complaints: Vec<String>,
}

impl Watch {
    pub(super) fn complain(&mut self, found: String) {
        if self.complaints.len() < 5 {
            self.complaints.push(found);
        }
    }

    /// Looks before a step.
    pub(super) fn before(&mut self, client: &Client) {
        self.before = client.outbox().iter().map(|entry| (entry.key.clone(), entry.clone())).collect();
    }

    /// Looks after a step: what left, and what the rows show now.
    pub(super) fn after(&mut self, client: &Client) {
        let gone: Vec<Entry> =
            self.before.values().filter(|entry| client.outbox().find(&entry.key).is_none()).cloned().collect();
        for entry in gone {
            self.left(client, &entry);
        }
    }

    fn left(&mut self, client: &Client, entry: &Entry) {
        let journalled = client.journal().any(|line| line.entry == entry.key);
        let row = client.row(&entry.entity);
        let versions = row.map(|row| &row.versions);
        let id = entry.id.as_str();
        let contained = versions.is_some_and(|versions| {
            versions.row.as_deref() == Some(id) || versions.fields.values().any(|version| version == id)
        });
        if entry.until.is_some() || journalled {
            self.ended.insert(entry.key.clone());
        } else if matches!(entry.state, State::Sent | State::Accepted) || contained {
            self.confirmed.insert(id.to_owned());
        } else {
            // Taken back, squashed, or made moot by a delete: the person's own step says so right after.
            self.ended.insert(entry.key.clone());
            return;
        }
        let (Some(row), Some(mine), Some(field)) = (row, entry.mine(), entry.change.field()) else { return };
        if entry.until.is_some() || journalled || client.outbox().of(&entry.entity).next().is_some() {
            return;
        }
        // The row is as it was before the edit, or says that it holds the edit. Anything else was written later, maybe
        // in a row that was made anew, whose ids begin where its maker's clock stood.
        let version = row.versions.field(field);
        let speaks = version == Some(id) || version == entry.expected.as_deref();
        // A field that may not be seen any more shows nothing.
        let differs = row.data.get(field).is_some_and(|shown| !same(shown, mine));
        if differs && speaks {
            self.complain(format!("a value flickered: {entry:?} went, and {row:?} is shown"));
        }
    }

    /// Notes what an edit of the person must have left in the outbox.
    pub(super) fn made(&mut self, client: &Client, edit: &Edit, group: Option<&str>) {
        let entity = edit.entity();
        // Its own step has brought nothing of others: what stood there expects what it expected.
        for entry in client.outbox().of(entity) {
            let before = self.before.get(&entry.key).filter(|before| before.expected != entry.expected);
            if let Some(before) = before {
                self.complain(format!("{edit:?} made {before:?} expect {:?}", entry.expected));
                break;
            }
        }
        let shown = client.view(entity);
        match edit {
            Edit::Delete { .. } if shown.is_some() => {
                let entries: Vec<&Entry> = client.outbox().of(entity).collect();
                self.complain(format!("{edit:?} left {shown:?}; {entries:?}"));
            }
            Edit::Set { fields, .. } => {
                for (field, value) in fields {
                    let seen = shown.as_ref().and_then(|row| row.get(field));
                    if seen.is_none_or(|seen| !same(seen, value)) {
                        let entries: Vec<&Entry> = client.outbox().of(entity).collect();
                        self.complain(format!("{edit:?} shows {seen:?}; {entries:?}"));
                    }
                }
            }
            Edit::Create { .. } if shown.is_none() => self.complain(format!("{edit:?} shows nothing")),
            _ => {}
        }
        if let Some(group) = group
            && client.outbox().group(group).is_empty()
        {
            self.complain(format!("{edit:?} is in no outbox"));
        }
    }

    pub(super) fn saved(&mut self, keys: Vec<EntryKey>) {
        self.saved.extend(keys);
    }

    pub(super) fn taken_back(&mut self, keys: Vec<EntryKey>) {
        self.ended.extend(keys);
    }

    pub(super) fn decided(&mut self, line: &Line) {
        self.ended.insert(line.entry.clone());
    }

    /// Its store is gone: nothing of it can be asked for any more.
    pub(super) fn wiped(&mut self) {
        self.saved.clear();
    }

    /// Takes what the person's own step did as it is.
    pub(super) fn accept(&mut self, client: &Client) {
        self.before(client);
    }

    /// The process died: what was told saved, and has not ended, must be in the store.
    pub(super) fn died(&mut self, _life: u64, storage: &Storage) {
        let open: Vec<EntryKey> = self.before.keys().filter(|key| self.saved.contains(*key)).cloned().collect();
        for key in open {
            if !storage.has_entry(&key) && !self.ended.contains(&key) {
                self.complain(format!("{key} was told saved, and is not in the store after a crash"));
            }
        }
        self.before.clear();
    }

    /// Returns what is wrong once everything is quiet; `truth` is what the database knows.
    pub(super) fn finish(
        &mut self,
        client: Option<&Client>,
        truth: &Truth,
        shared_with_twin: &dyn Fn(&str) -> bool,
    ) -> Vec<String> {
        let lies: Vec<String> = self.confirmed.iter().filter(|id| !truth.applied.contains(*id)).cloned().collect();
        if let Some(id) = lies.first() {
            self.complain(format!("{id} was confirmed, and was never applied"));
        }
        for entry in client.iter().flat_map(|client| client.outbox().iter()) {
            let never =
                matches!(entry.state, State::Failed | State::Conflicted) && truth.applied.contains(entry.id.as_str());
            // What a late copy of a request did, or a copy of this store, is learned from the rows alone.
            if never && !shared_with_twin(&entry.key) && !truth.late.contains(entry.id.as_str()) {
                self.complain(format!("{entry:?} was applied, and is shown as if not"));
            }
        }
        std::mem::take(&mut self.complaints)
    }
}
