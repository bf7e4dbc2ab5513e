//! The outbox as a document that can be kept elsewhere and brought back (SDK-06, CORE-17, CORE-18).
//!
//! Laws: an export holds all that the outbox holds, what cannot be read here among it; what is brought back keeps its
//! ids, so bringing it back twice, or where it was applied meanwhile, changes nothing; it is refused under another user
//! or organisation. What was exported may have been sent since by whoever kept it: it counts as handed over.

use serde::{Deserialize, Serialize};

use super::{Client, Entry, Loaded, Now, State, outbox::ENTRIES_MAX, store::Record};
use crate::{
    form::{self, Form, Written},
    json::Value,
    ordered::OrderedSet,
};

/// The version of the document that this code writes.
const EXPORT_FORMAT: u32 = 1;

/// Whose an outbox is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, Form, Written)]
#[serde(rename_all = "camelCase")]
pub struct Owner {
    /// The user: the `sub` of its tokens.
    pub user: String,
    /// The organisation's id.
    pub organization: String,
}

/// An outbox as a document.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, Form, Written)]
#[serde(rename_all = "camelCase")]
pub struct Export {
    /// The version of the document.
    pub format: u32,
    /// Whose it is.
    #[serde(flatten)]
    pub owner: Owner,
    /// The entries in order, as they are kept; a text where that is no JSON.
    pub entries: Vec<Value>,
}

/// What was brought back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Written)]
#[serde(rename_all = "camelCase")]
pub struct Imported {
    /// Entries that are in the outbox now and were not before.
    pub taken: usize,
    /// Entries that were there already.
    pub known: usize,
    /// Entries that this version cannot read; they are in the document still.
    pub unreadable: usize,
}

/// Why nothing was brought back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Written)]
#[serde(rename_all = "camelCase")]
pub enum ImportRefused {
    /// It is no export.
    NotAnExport,
    /// It is another user's, or another organisation's.
    NotYours,
    /// There is no room for it.
    OutboxFull,
}

/// Returns the outbox of a store, as far as anything of it is left: also of one that cannot be opened.
pub fn store_outbox(owner: &Owner, loaded: &Loaded) -> Export {
    let is_entry = |record: &Record| matches!(record, Record::Entry(_));
    let entries: OrderedSet<_> = loaded.records.iter().filter(|(record, _)| is_entry(record)).collect();
    let entries = entries.into_iter().map(|(_, text)| read(text)).collect();
    Export { format: EXPORT_FORMAT, owner: owner.clone(), entries }
}

fn read(text: &str) -> Value {
    form::from_text(text).unwrap_or_else(|_| text.into())
}

impl Entry {
    /// Returns it as it stands once it was carried elsewhere: whether it had an effect since, where it came from, is known
    /// to the server alone, and only under its present id.
    #[must_use]
    pub fn carried(mut self) -> Entry {
        if matches!(self.state, State::Pending | State::Sent | State::Accepted) && self.until.is_none() {
            (self.state, self.handed, self.doubt, self.xid) = (State::Sent, true, true, None);
        }
        self
    }
}

impl Client {
    /// Returns the outbox as a document, with what of it could not be read when the store was opened.
    pub fn export(&self, owner: &Owner) -> Export {
        // An entry is made of texts, numbers and maps of texts: it can always be written.
        let entries = self.outbox().iter().map(|entry| read(&form::text(entry)));
        let lost = self.unreadable().filter(|(record, _)| matches!(record, Record::Entry(_)));
        let entries = entries.chain(lost.map(|(_, text)| read(text))).collect();
        Export { format: EXPORT_FORMAT, owner: owner.clone(), entries }
    }

    /// Brings an exported outbox back.
    ///
    /// # Errors
    /// Nothing was taken, and the reason says why.
    pub fn import(&mut self, now: Now, owner: &Owner, text: &str) -> Result<Imported, ImportRefused> {
        let export: Export = form::from_text(text).map_err(|_| ImportRefused::NotAnExport)?;
        if export.owner != *owner {
            return Err(ImportRefused::NotYours);
        }
        let (mut imported, mut taken, mut names) = (Imported::default(), Vec::new(), OrderedSet::new());
        for value in export.entries {
            match Entry::read(value).ok().filter(Entry::has_proper_key) {
                None => imported.unreadable += 1,
                Some(entry) => {
                    // Each key and each id once, whoever wrote the document.
                    let new = names.insert(entry.key.clone()) & names.insert(entry.id.as_str().to_owned());
                    match new && !self.knows(&entry) {
                        true => taken.push(entry),
                        false => imported.known += 1,
                    }
                }
            }
        }
        if self.outbox.len() + taken.len() > ENTRIES_MAX {
            return Err(ImportRefused::OutboxFull);
        }
        imported.taken = taken.len();
        for entry in taken {
            self.take_back(now, entry);
        }
        self.drive(now);
        Ok(imported)
    }

    fn knows(&self, entry: &Entry) -> bool {
        let id = entry.id.as_str();
        self.outbox.find(&entry.key).is_some() || self.outbox.by_id(id).is_some() || self.made.iter().any(|m| m == id)
    }

    fn take_back(&mut self, now: Now, entry: Entry) {
        let entry = entry.carried();
        self.merge_clock(now, entry.id.as_str());
        let entity = entry.entity.clone();
        self.dirty.put(Record::Entry(entry.key.clone()));
        self.dirty.put(Record::Meta);
        // Nobody has saved it yet, so any instance may add it.
        self.outbox.insert_fresh(entry);
        self.touched(&entity);
        // The rows may hold it already.
        self.review(now, &entity);
    }
}
