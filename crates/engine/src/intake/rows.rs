//! One changed row as activities: create, update, delete, or the pair that a move makes.
//!
//! A row that changes its organisation is a delete for one and a create for the other; a key change is a delete and a
//! create, adjacent (protocol 4). Under FULL the old row fills what the new one calls unchanged (PG-61).

use antiphon_model::{Action, Activity, ActivityId, Cell, ChangedRow, Commit, OldRow, Tuple};

use super::plan::{EntityPlan, Place};
use crate::ImageWriter;

/// Appends the activities of a changed row.
pub(super) fn map(
    plan: &EntityPlan,
    image: &mut ImageWriter,
    row: &ChangedRow,
    inserted: bool,
    commit: Commit,
    into: &mut Vec<Activity>,
) {
    let old = old_tuple(&row.old);
    let full = match &row.old {
        OldRow::Full(old) => Some(old),
        _ => None,
    };
    let before = old.map(|old| plan.place(old, None));
    let Some(new) = &row.new else {
        into.extend(before.and_then(|place| delete(plan, place, commit)));
        return;
    };
    let after = plan.place(new, old);
    let moved = before.as_ref().is_some_and(|before| *before != after);
    if let Some(before) = before.filter(|_| moved) {
        into.extend(delete(plan, before, commit));
    }
    if after.org.is_none() {
        return;
    }
    into.push(match inserted || moved {
        true => create(plan, image, new, full, after, commit),
        false => update(plan, image, new, full, after, commit),
    });
}

/// Makes a create; `full` fills unchanged values.
pub(super) fn create(
    plan: &EntityPlan,
    image: &mut ImageWriter,
    new: &Tuple,
    full: Option<&Tuple>,
    place: Place,
    commit: Commit,
) -> Activity {
    let (row, details) = encode(plan, image, new, full);
    Activity { action: Action::Create, image: Some(row), details, ..blank(plan, place, commit) }
}

fn update(
    plan: &EntityPlan,
    image: &mut ImageWriter,
    new: &Tuple,
    full: Option<&Tuple>,
    place: Place,
    commit: Commit,
) -> Activity {
    let (row, details) = encode(plan, image, new, full);
    let changed = full.map(|old| changed_names(plan, new, old));
    Activity { action: Action::Update, image: Some(row), changed, details, ..blank(plan, place, commit) }
}

fn delete(plan: &EntityPlan, place: Place, commit: Commit) -> Option<Activity> {
    place.org.as_ref()?;
    let changed = Some("[]".to_owned());
    Some(Activity { action: Action::Delete, changed, ..blank(plan, place, commit) })
}

/// Makes an activity without a row.
pub(super) fn blank(plan: &EntityPlan, place: Place, commit: Commit) -> Activity {
    Activity {
        id: ActivityId::default(),
        org: place.org.unwrap_or_default(),
        entity_type: plan.entity.name.clone(),
        entity_id: Some(place.id),
        action: Action::Update,
        image: None,
        changed: None,
        details: None,
        tx: None,
        policy: None,
        schema: plan.schema,
        commit,
    }
}

/// Returns the old row, as much of it as there is.
pub(super) fn old_tuple(old: &OldRow) -> Option<&Tuple> {
    match old {
        OldRow::Absent => None,
        OldRow::Identity(tuple) | OldRow::Full(tuple) => Some(tuple),
    }
}

fn encode(plan: &EntityPlan, image: &mut ImageWriter, new: &Tuple, full: Option<&Tuple>) -> (String, Option<String>) {
    image.start();
    let mut old_cells = full.map(Tuple::cells);
    for ((shown, column), cell) in plan.shown.iter().zip(&plan.relation.columns).zip(new.cells()) {
        let old = old_cells.as_mut().and_then(Iterator::next);
        let cell = match (cell, old) {
            (Cell::Unchanged, Some(old)) => old,
            (cell, _) => cell,
        };
        if let Some(name) = shown {
            image.push(name, &column.ty, cell);
        }
    }
    image.finish(None)
}

fn changed_names(plan: &EntityPlan, new: &Tuple, old: &Tuple) -> String {
    let mut names = String::from("[");
    for ((shown, new), old) in plan.shown.iter().zip(new.cells()).zip(old.cells()) {
        let differs = new != Cell::Unchanged && new != old;
        if let Some(name) = shown.as_ref().filter(|_| differs) {
            if names.len() > 1 {
                names.push(',');
            }
            names.push_str(name);
        }
    }
    names.push(']');
    names
}
