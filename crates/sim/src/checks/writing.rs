//! What the door promises: one effect at most, nobody's write lost, and the truth about it.
//!
//! Law: whether an answer was true is judged by when its request came and when the edit was in the database's log; only a
//! copy of a request that was later excuses anything.

use std::collections::{BTreeMap, BTreeSet};

use antiphon_model::Code;

use super::Violation;
use crate::{Edit, History, Refused};

/// The status of an edit whose batch ended without effect.
const ABORTED: &str = "aborted";

/// Every mutation changes state at most once (MUT-02).
pub fn once(history: &History) -> Vec<Violation> {
    let mut violations = Vec::new();
    let mut seen: BTreeMap<(&str, &str), &Edit> = BTreeMap::new();
    for edit in history.committed.iter().flat_map(|committed| &committed.edits) {
        let Some(id) = edit.transaction_id.as_deref() else { continue };
        if let Some(first) = seen.insert((&edit.org, id), edit) {
            violations.push(Violation::new("a mutation has one effect", format!("{first:?}, then {edit:?}")));
        }
    }
    violations.truncate(1);
    violations
}

/// Every edit was made of what it names, or is an operation (MUT-03).
pub fn no_lost_update(history: &History) -> Vec<Violation> {
    let edits = history.committed.iter().flat_map(|committed| &committed.edits);
    let mut named = edits.filter(|edit| {
        edit.transaction_id.is_some() && !edit.operation && (edit.field.is_some() || edit.was.is_some())
    });
    // A delete may name what its own transaction has changed before.
    let fits = |edit: &Edit| edit.expected == edit.was || (edit.before.is_some() && edit.expected == edit.before);
    let lost = named.find(|edit| !fits(edit));
    lost.map(|edit| Violation::new("no update is lost", format!("{edit:?}"))).into_iter().collect()
}

/// Who was told that an edit was applied finds it in the source's log; who was told of a conflict does not.
pub fn told_what_happened(history: &History) -> Vec<Violation> {
    let edits = history.committed.iter().flat_map(|committed| &committed.edits);
    let applied: BTreeMap<(&str, &str), &Edit> =
        edits.filter_map(|edit| Some(((edit.org.as_str(), edit.transaction_id.as_deref()?), edit))).collect();
    let late = passed_later(history);
    let lies = history.told.iter().find(|told| {
        let there = applied.contains_key(&(told.org.as_str(), told.transaction_id.as_str()));
        match told.status.as_str() {
            "applied" | "duplicate" => !there,
            _ => there && !late.contains(&(told.org.as_str(), told.transaction_id.as_str())),
        }
    });
    lies.map(|told| Violation::new("an answer tells the truth", format!("{told:?}"))).into_iter().collect()
}

/// What was applied before a request came is not refused to it, for whatever reason: the record speaks first (MUT-02).
pub fn refuses_nothing_applied(history: &History) -> Vec<Violation> {
    let done = done_at(history);
    let refused = history.refused.iter().find(|refused| {
        // The record is what says that an id was used for something else; and a batch that ends without effect says so of
        // each of its edits, though a copy of that device's store has sent one of them in another batch (seed 5033419).
        let another = refused.code == Code::IdempotencyMismatch.as_str() || refused.code == ABORTED;
        let done_us = done.get(&(refused.org.as_str(), refused.transaction_id.as_str()));
        !another && done_us.is_some_and(|done_us| *done_us < refused.came_us)
    });
    let found = |refused: &Refused| Violation::new("what was applied is not refused", format!("{refused:?}"));
    refused.map(found).into_iter().collect()
}

/// Returns the organisation and the id of what was refused, and was applied after that request had come: a late copy of a
/// request is judged afresh, and what refused the first one may have passed by then.
pub(crate) fn passed_later(history: &History) -> BTreeSet<(&str, &str)> {
    let done = done_at(history);
    let late = history.refused.iter().filter_map(|refused| {
        let key = (refused.org.as_str(), refused.transaction_id.as_str());
        done.get(&key).filter(|done_us| refused.came_us <= **done_us).map(|_| key)
    });
    late.collect()
}

/// Returns when each mutation was in the database's log, by organisation and id.
fn done_at(history: &History) -> BTreeMap<(&str, &str), u64> {
    let edits =
        history.committed.iter().flat_map(|committed| committed.edits.iter().map(|edit| (edit, committed.done_us)));
    edits.filter_map(|(edit, us)| Some(((edit.org.as_str(), edit.transaction_id.as_deref()?), us))).collect()
}
