//! What the door promises: one effect at most, nobody's write lost, and the truth about it.

use std::collections::BTreeMap;

use super::Violation;
use crate::{Edit, History};

/// A late copy of a request is judged afresh, and what refused the first one may have passed by then.
const MAY_PASS: &[&str] =
    &["NOT_FOUND", "FORBIDDEN", "FIELD_FORBIDDEN", "ALREADY_EXISTS", "NOT_A_MEMBER", "CLOCK_AHEAD"];

/// Tells whether what was refused with this code may have been applied by a late copy.
pub(crate) fn may_pass(code: &str) -> bool {
    MAY_PASS.contains(&code)
}

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
    let lies = history.told.iter().find(|told| {
        let there = applied.contains_key(&(told.org.as_str(), told.transaction_id.as_str()));
        match told.status.as_str() {
            "applied" | "duplicate" => !there,
            _ => there && !told.code.as_deref().is_some_and(may_pass),
        }
    });
    lies.map(|told| Violation::new("an answer tells the truth", format!("{told:?}"))).into_iter().collect()
}
