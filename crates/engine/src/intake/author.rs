//! Who wrote the changes of a transaction: the messages of the mutation service, and the stamps of rows (house 2, 12).
//!
//! A believed message governs the changes that follow it up to the next one, or to the transaction's end. Laws: a row's
//! stamp says who wrote it, a message who deleted it; a message whose ids no captured change of its organisation names
//! is told as a mark, so that it can be confirmed: that a row moved under it is not enough, because a row that a trigger
//! left as it was keeps an older stamp. What no key of ours sealed counts for nothing.

use std::collections::BTreeSet;

use antiphon_model::{Activity, Commit, EVERY_FIELD, SOURCE_SQL, TransactionId, Tx, Xid};

use crate::{Authorship, SealKey, open};

/// The reign of one message.
#[derive(Clone, Debug)]
pub(super) struct Reign {
    said: Authorship,
    /// Its ids that no captured change of its organisation has named yet.
    unnamed: BTreeSet<String>,
}

/// The messages of one transaction.
#[derive(Clone, Debug, Default)]
pub(super) struct Authors {
    reign: Option<Reign>,
}

/// What a message meant.
pub(super) enum Heard {
    /// It was ours; something of the reign before it was not named, where this says so.
    Ours(Option<Authorship>),
    /// It was not.
    Strange,
}

impl Authors {
    /// Takes in a message.
    pub(super) fn hear(&mut self, key: Option<&SealKey>, xid: Xid, content: &[u8]) -> Heard {
        let Some(Ok(said)) = key.map(|key| open(key, xid, content)) else { return Heard::Strange };
        let before = self.end();
        self.reign = said.map(|said| {
            let unnamed = said.tx.ids().into_iter().map(str::to_owned).collect();
            Reign { said, unnamed }
        });
        Heard::Ours(before)
    }

    /// Ends the present reign; returns it where something of it was not named.
    pub(super) fn end(&mut self) -> Option<Authorship> {
        self.reign.take().filter(|reign| !reign.unnamed.is_empty()).map(|reign| reign.said)
    }

    /// Notes what a change became.
    pub(super) fn govern(&mut self, activities: &[Activity]) {
        if let Some(reign) = &mut self.reign {
            for activity in activities.iter().filter(|activity| activity.org == reign.said.org) {
                // Read only until everything is named: a cascade may have many rows.
                if reign.unnamed.is_empty() {
                    return;
                }
                if let Some(tx) = activity.read_tx() {
                    reign.unnamed.retain(|id| !tx.ids().contains(&id.as_str()));
                }
            }
        }
    }

    /// Returns who writes at present.
    pub(super) fn tx(&self) -> Option<&Tx> {
        self.reign.as_ref().map(|reign| &reign.said.tx)
    }
}

/// What an activity says of a stamped row.
pub(super) struct Stamped {
    /// The metadata of the activity.
    pub(super) text: String,
    /// The ids of this change; empty: every field may have changed.
    ids: Vec<String>,
    fields: std::collections::BTreeMap<String, String>,
}

impl Stamped {
    /// Reads a row's metadata; `None` where it is not of the shape.
    pub(super) fn read(row: &[u8], governing: Option<&Tx>) -> Option<Stamped> {
        let Tx { transaction_id, source_id, actor, changed_field, fields } = Tx::parse(std::str::from_utf8(row).ok()?)?;
        // Several edits of the row that the message names; other rows that the statement touched name no field.
        let several = governing
            .filter(|said| said.transaction_id == transaction_id && changed_field.is_some())
            .map(|said| said.fields.clone())
            .unwrap_or_default();
        let mut ids: Vec<String> = several.values().cloned().collect();
        ids.push(transaction_id.clone());
        // A row that was made by the same id has no entries of its own.
        if fields.len() == 1 && fields.get(EVERY_FIELD) == Some(&transaction_id) {
            ids.clear();
        }
        let tx = Tx { transaction_id, source_id, actor, changed_field, fields: several };
        Some(Stamped { text: tx.to_json(), ids, fields })
    }

    /// Reads the metadata of a row that was found by looking: several edits may have come together in it, so each field
    /// that is shown and has another id than the newest is named with its own.
    pub(super) fn of_state<'a>(row: &[u8], shown: impl Iterator<Item = &'a str>) -> Option<Stamped> {
        let row = Tx::parse(std::str::from_utf8(row).ok()?)?;
        let named = shown.filter_map(|name| Some((name.to_owned(), row.field_id(name)?.to_owned())));
        let fields = named.filter(|(_, id)| *id != row.transaction_id).collect();
        let text = Tx { fields, ..row }.to_json();
        Some(Stamped { text, ids: Vec::new(), fields: Default::default() })
    }

    /// Tells whether this change stamped every field, as far as can be known.
    pub(super) fn whole(&self) -> bool {
        self.ids.is_empty()
    }

    /// Tells whether this change stamped a field.
    pub(super) fn changed(&self, field: &str) -> bool {
        self.whole() || self.id(field).is_some_and(|id| self.ids.contains(id))
    }

    /// Returns the id of a field of the row (protocol 4).
    fn id(&self, field: &str) -> Option<&String> {
        self.fields.get(field).or_else(|| self.fields.get(EVERY_FIELD))
    }
}

/// Returns who removed a row: the message's author, else plain SQL.
pub(super) fn remover(governing: Option<&Tx>, commit: Commit) -> String {
    match governing {
        Some(said) => said.to_json(),
        None => {
            let wall_ms = u64::try_from(commit.at.0.div_euclid(1_000)).unwrap_or(0);
            let id = TransactionId::of_sql(wall_ms, commit.xid);
            let source_id = SOURCE_SQL.to_owned();
            Tx { transaction_id: id.as_str().to_owned(), source_id, ..Tx::default() }.to_json()
        }
    }
}
