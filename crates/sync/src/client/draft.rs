//! What an editor needs while a person types: an edit upon the text that was on screen, and merging into what is typed.
//!
//! Law: an edit that its author began upon another text than the confirmed one meets that one like any other edit that
//! was made too early (CORE-07): by the field's strategy, and never as if it had been seen. It refuses to decide by itself.

use serde::Serialize;

use super::{Change, Client, Edit, EntityKey, Now, Theirs, journal::Rule, words::Strategy};
use crate::form::Written;
use crate::json::{Object, Value};
use crate::merge::{Piece, TextChange, clean, merge_text, text_changes};

/// Two edits of one text as one, and how to get there from mine.
#[derive(Clone, Debug, PartialEq, Serialize, Written)]
#[serde(rename_all = "camelCase")]
pub struct MergedText {
    /// The text; `None` where both changed the same words.
    pub text: Option<String>,
    /// What has to be done to my text for it, in order.
    pub changes: Vec<TextChange>,
    /// Where both changed the same words: what is merged, and what is not, in order.
    pub pieces: Vec<Piece>,
}

/// Merges what others wrote into what is being typed.
pub(super) fn merged_text(base: &str, mine: &str, theirs: &str) -> MergedText {
    let pieces = merge_text(base, mine, theirs);
    let text = clean(&pieces);
    let changes = text_changes(mine, text.as_deref().unwrap_or(mine));
    MergedText { pieces: if text.is_some() { Vec::new() } else { pieces }, text, changes }
}

/// An edit of one text whose author saw another text than the one that is shown.
pub(super) struct Upon {
    field: String,
    seen: String,
    typed: Value,
    shown: Value,
    /// Whether edits of this device that are not confirmed are in what is shown, and whether it wrote what is confirmed.
    layered: bool,
    own: bool,
    /// What was typed with what is shown, where that is a text with own edits in it, and both go together.
    text: Option<String>,
}

impl Upon {
    /// Returns the edit as it stands upon what is shown, where it can.
    pub(super) fn merged(&self, edit: &Edit) -> Option<Edit> {
        let fields = Object::from_iter([(self.field.clone(), Value::String(self.text.clone()?))]);
        Some(Edit::Set { entity: edit.entity().clone(), fields })
    }
}

impl Client {
    /// Compares what the author of an edit saw with what is shown; `None` where that is the same, or cannot be compared.
    pub(super) fn begun_upon(&self, edit: &Edit, seen: &str, shown: Option<&Object>) -> Option<Upon> {
        let Edit::Set { entity, fields } = edit else { return None };
        let (field, typed) = fields.iter().next().filter(|_| fields.len() == 1)?;
        let shown = shown.and_then(|row| row.get(field)).cloned().unwrap_or_default();
        // Where nothing was written yet, an editor shows an empty text.
        let text = shown.as_str().unwrap_or_default();
        if text == seen {
            return None;
        }
        let layered = self.outbox.of(entity).any(|entry| match &entry.change {
            // A row that is being made here holds what was typed into it (seed 6014169).
            Change::Create { data } => data.contains_key(field),
            change => change.field() == Some(field) && entry.mine().is_some(),
        });
        let confirmed = self.row(entity).and_then(|row| row.versions.field(field)).is_some_and(|id| self.is_mine(id));
        let strategy = self.schema.as_ref().map(|schema| schema.strategy(&entity.entity_type, field));
        let own = (layered || confirmed) && strategy == Some(Strategy::Text);
        let text = typed.as_str().filter(|_| own).and_then(|typed| clean(&merge_text(seen, typed, text)));
        Some(Upon { field: field.clone(), seen: seen.into(), typed: typed.clone(), shown, layered, own, text })
    }

    /// Puts an edit upon the text that its author saw, where others have written another since, and lets it meet theirs.
    ///
    /// What this device made itself is no other's, but may have words of others in it: texts are merged with that. Where
    /// they cannot be, a person is asked, or is told what went, where that is not confirmed yet.
    pub(super) fn ground(&mut self, now: Now, group: &str, entity: &EntityKey, upon: Upon) {
        let Upon { field, seen, typed, shown, layered, own, text } = upon;
        let made = self.outbox.of(entity).find(|entry| entry.group == group && entry.change.field() == Some(&field));
        let Some(mut entry) = made.cloned() else { return };
        let leads = self.leading.is_some();
        if own && (text.is_some() || (layered && leads)) {
            let rule = if text.is_some() { Rule::Merged } else { Rule::MineWins };
            if let Change::Value { value, .. } = &mut entry.change {
                // What was typed is what the journal tells.
                (*value, entry.base) = (typed, Some(seen.into()));
            }
            let theirs = Theirs { id: entry.expected.clone(), value: shown, ..Theirs::default() };
            return self.note(now, &entry, Some(theirs), rule);
        }
        if !entry.is_untouched() || (!own && entry.expected.as_deref().is_some_and(|id| self.is_mine(id))) {
            return;
        }
        let key = entry.key.clone();
        self.outbox.update(&key, &mut self.dirty, |entry| {
            // Which version was seen is not known any more: none is one that the server never has here.
            (entry.expected, entry.base) = (None, Some(seen.into()));
        });
        if own && leads {
            let theirs = self.present(&entry);
            return self.dispute(now, &entry, theirs);
        }
        // Whoever follows leaves that to the leader, who looks when it takes the edit in.
        if leads {
            self.review(now, entity);
        }
    }
}
