//! What one activity is to one reader: shown, confirmed, or passed by.
//!
//! Sight is decided before and after the change by the one policy function (protocol 4): no/yes is a create of the
//! whole row, yes/no a delete, yes/yes the change, no/no nothing.

use std::{collections::BTreeMap, ops::Deref};

use antiphon_model::{Action, Activity, Columns, EntityType, Reader, Tx};

use super::{CONFIRM_IDS_MAX, Frame, StreamServer};

/// How a reader sees an activity; `None` where it is not for the reader.
pub fn sight(entity: &EntityType, reader: &Reader, activity: &Activity) -> Option<(Action, Columns)> {
    if activity.action == Action::Mark {
        return None;
    }
    // A type without conditions looks the same in every row.
    if let Some(rights) = entity.rights_of_all(reader.role) {
        return (!rights.read.is_empty()).then_some((activity.action, rights.read));
    }
    if activity.action == Action::Truncate {
        let read = entity.rights_at_most(reader.role).read;
        return (!read.is_empty()).then_some((Action::Truncate, read));
    }
    let values = activity.policy.as_deref().and_then(|text| serde_json::from_str::<Values>(text).ok());
    let values = values.unwrap_or_default();
    let columns = |row: Option<&BTreeMap<String, Option<String>>>| match row {
        Some(row) => entity.rights(reader, |column| row.get(column).and_then(Option::as_deref)).read,
        None => Columns::none(),
    };
    let before = match activity.action {
        Action::Create => Columns::none(),
        _ => columns(values.old.as_ref().or(values.new.as_ref())),
    };
    let after = match activity.action {
        Action::Delete => Columns::none(),
        _ => columns(values.new.as_ref()),
    };
    match (before.is_empty(), after.is_empty()) {
        (true, true) => None,
        (true, false) => Some((Action::Create, after)),
        (false, true) => Some((Action::Delete, before)),
        // Other columns than before: the reader takes the row anew.
        (false, false) if before != after => Some((Action::Create, after)),
        (false, false) => Some((activity.action, after)),
    }
}

/// The texts of the columns that policies read.
#[derive(Default, serde::Deserialize)]
struct Values {
    new: Option<BTreeMap<String, Option<String>>>,
    old: Option<BTreeMap<String, Option<String>>>,
}

impl<A: Deref<Target: AsRef<Activity>>> StreamServer<A> {
    /// Shows an activity, or confirms what it holds of the reader, or passes it by.
    pub(super) fn pass(&mut self, activity: A) {
        let passing: &Activity = (*activity).as_ref();
        let (id, last) = (passing.id, passing.commit.last);
        let seen = self.seen(passing);
        let whole = matches!(&seen, Some((_, Columns::All)));
        let own = if whole { Vec::new() } else { self.own_ids(passing) };
        let shown = seen.is_some();
        if let Some((action, columns)) = seen {
            self.frames.push_back(Frame::Change { activity, action, columns });
        }
        if !own.is_empty() {
            self.confirm(own, id);
        }
        if last && !shown {
            self.frames.push_back(Frame::Offset(id));
        }
    }

    fn seen(&self, activity: &Activity) -> Option<(Action, Columns)> {
        let config = &self.config;
        let wanted = config.types.as_ref().is_none_or(|types| types.contains(&activity.entity_type));
        let listed = config.snapshot.as_ref().is_some_and(|snapshot| snapshot.sees(activity.commit.xid));
        if !wanted || listed {
            return None;
        }
        let at = config.entities.binary_search_by(|entity| entity.name.as_str().cmp(&activity.entity_type)).ok()?;
        let (action, columns) = sight(&config.entities[at], &config.reader, activity)?;
        // An update of which nothing is left for the reader is not shown.
        let emptied = action == Action::Update && activity.touches_none(&columns);
        (!emptied).then_some((action, columns))
    }

    /// Returns the ids of the reader's own mutations in an activity.
    fn own_ids(&self, activity: &Activity) -> Vec<String> {
        let subject = &self.config.reader.subject;
        let Some(text) = activity.tx.as_deref() else { return Vec::new() };
        let own = Tx::parse(text).filter(|tx| tx.actor.as_ref() == Some(subject));
        own.map(|tx| tx.ids().into_iter().map(str::to_owned).collect()).unwrap_or_default()
    }

    /// Adds ids to the confirm that stands last, where there is room, so that many become few frames.
    fn confirm(&mut self, ids: Vec<String>, at: antiphon_model::ActivityId) {
        for id in ids {
            match self.frames.back_mut() {
                Some(Frame::Confirm { transaction_ids, offset }) if transaction_ids.len() < CONFIRM_IDS_MAX => {
                    transaction_ids.push(id);
                    *offset = at;
                }
                _ => self.frames.push_back(Frame::Confirm { transaction_ids: vec![id], offset: at }),
            }
        }
    }
}
