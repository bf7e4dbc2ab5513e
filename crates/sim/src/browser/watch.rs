//! What a person was promised, watched over all tabs, step by step (SIM-03, CORE-10, CORE-16).
//!
//! Laws: what was told saved is in the store until a leader confirmed it or ended it by a rule or for its person; once an
//! edit's layer goes in a tab, the row shows what was typed, unless somebody wrote the field later; only steps of whoever
//! leads end anything; under one fence one tab writes.

use std::collections::{BTreeMap, BTreeSet};

use antiphon_sync::client::{Change, Client, Edit, Entry, EntryKey, Line, Role, Rule, State, same};

use crate::{checks::Truth, storage::Storage};

/// What is known of a browser's edits.
#[derive(Default)]
pub(super) struct Book {
    /// What was told to be on the device.
    saved: BTreeSet<EntryKey>,
    /// Ids under which entries were confirmed as applied.
    confirmed: BTreeSet<String>,
    /// Keys that were confirmed.
    done: BTreeSet<EntryKey>,
    /// Keys that a rule or a person ended.
    ended: BTreeSet<EntryKey>,
    complaints: Vec<String>,
}

impl Book {
    pub(super) fn complain(&mut self, found: String) {
        if self.complaints.len() < 5 {
            self.complaints.push(found);
        }
    }

    /// Looks after a step of a tab: what left, and what the rows show now.
    pub(super) fn after(
        &mut self,
        client: &Client,
        (before, role): &(BTreeMap<EntryKey, Entry>, Option<Role>),
        person: bool,
    ) {
        let led = *role == Some(Role::Leader) || client.role() == Role::Leader;
        // Whoever takes over finds gone what the leader before it ended. That was judged when it happened, by an entry that
        // was not older than what a tab that slept still held (found by seed 1795355100).
        let took_over = led && *role != Some(Role::Leader);
        for entry in before.values().filter(|entry| client.outbox().find(&entry.key).is_none()) {
            if led && !(took_over && self.is_over(&entry.key)) {
                self.ends(client, entry, person);
            }
            if !person && !self.ended.contains(&entry.key) {
                self.shows(client, entry);
            }
        }
    }

    /// An entry is to leave the store.
    pub(super) fn removed(&mut self, client: &Client, entry: &Entry) {
        if client.outbox().find(&entry.key).is_none() && !self.is_over(&entry.key) {
            self.ends(client, entry, false);
        }
    }

    /// An entry left the outbox of whoever leads.
    fn ends(&mut self, client: &Client, entry: &Entry, person: bool) {
        let journalled = client.journal().any(|line| line.entry == entry.key);
        let id = entry.id.as_str();
        let contained = client.row(&entry.entity).is_some_and(|row| {
            row.versions.row.as_deref() == Some(id) || row.versions.fields.values().any(|version| version == id)
        });
        if entry.until.is_some() || journalled || self.done.contains(&entry.key) {
            self.ended.insert(entry.key.clone());
        } else if matches!(entry.state, State::Sent | State::Accepted) || contained {
            self.confirmed.insert(id.to_owned());
            self.done.insert(entry.key.clone());
        } else {
            self.ended.insert(entry.key.clone());
            // Squashed, merged or made moot: what was typed is in another entry, or was taken back.
            let kept = client.outbox().of(&entry.entity).next().is_some();
            if !person && !kept && matches!(entry.change, Change::Value { .. }) {
                self.complain(format!("{entry:?} went without a word"));
            }
        }
    }

    /// An entry's layer went: the row shows what was typed, or what was written later.
    fn shows(&mut self, client: &Client, entry: &Entry) {
        let row = client.row(&entry.entity);
        let (Some(row), Some(mine), Some(field)) = (row, entry.mine(), entry.change.field()) else { return };
        if entry.until.is_some() || client.outbox().of(&entry.entity).next().is_some() {
            return;
        }
        // The row is as it was before the edit, or says that it holds the edit. Anything else was written later.
        let version = row.versions.field(field);
        let speaks = version == Some(entry.id.as_str()) || version == entry.expected.as_deref();
        let differs = row.data.get(field).is_some_and(|shown| !same(shown, mine));
        if differs && speaks {
            self.complain(format!("a value flickered: {entry:?} went, and {row:?} is shown"));
        }
    }

    /// Notes what an edit of the person must show at once, and leave in the outbox.
    pub(super) fn made(&mut self, client: &Client, edit: &Edit, group: Option<&str>) {
        let entity = edit.entity();
        let shown = client.view(entity);
        match edit {
            Edit::Delete { .. } if shown.is_some() => self.complain(format!("{edit:?} left {shown:?}")),
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

    /// A rule decided; those after which an edit goes on end nothing.
    pub(super) fn decided(&mut self, line: &Line) {
        if !matches!(line.rule, Rule::MineWins | Rule::Merged | Rule::NewId | Rule::Unchanged) {
            self.ended.insert(line.entry.clone());
        }
    }

    /// A tab is gone: what was told saved, and has not ended, must be in the store.
    pub(super) fn died(&mut self, client: &Client, storage: &Storage) {
        let open: Vec<EntryKey> =
            client.outbox().iter().map(|entry| entry.key.clone()).filter(|key| self.saved.contains(key)).collect();
        for key in open {
            if !storage.has_entry(&key) && !self.is_over(&key) {
                self.complain(format!("{key} was told saved, and is not in the store after a tab is gone"));
            }
        }
        self.complaints.extend(storage.wrong());
    }

    fn is_over(&self, key: &str) -> bool {
        self.ended.contains(key) || self.done.contains(key)
    }

    /// Returns what is wrong once everything is quiet; `truth` is what the database knows.
    pub(super) fn finish(&mut self, leader: Option<&Client>, truth: &Truth) -> Vec<String> {
        if let Some(id) = self.confirmed.iter().find(|id| !truth.applied.contains(*id)).cloned() {
            self.complain(format!("{id} was confirmed, and was never applied"));
        }
        for entry in leader.iter().flat_map(|leader| leader.outbox().iter()) {
            let never =
                matches!(entry.state, State::Failed | State::Conflicted) && truth.applied.contains(entry.id.as_str());
            // What a late copy of a request did is learned from the rows alone (found by seed 3001728).
            if never && !truth.late.contains(entry.id.as_str()) {
                self.complain(format!("{entry:?} was applied, and is shown as if not"));
            }
        }
        if let Some(leader) = leader {
            let open = self.saved.iter().find(|key| leader.outbox().find(key).is_none() && !self.is_over(key));
            if let Some(key) = open.cloned() {
                self.complain(format!("{key} was told saved, and is lost"));
            }
        }
        std::mem::take(&mut self.complaints)
    }
}
