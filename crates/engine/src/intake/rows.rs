//! One changed row as activities: create, update, delete, or the pair that a move makes.
//!
//! A row that changes its organisation is a delete for one and a create for the other; a key change is a delete and a
//! create, adjacent (protocol 4). Under FULL the old row fills what the new one calls unchanged (PG-61). On a stamped
//! table the row itself says who wrote it and which fields changed.

use antiphon_model::{Action, Activity, ActivityId, Cell, ChangedRow, Commit, OldRow, Tuple, Tx, write_string};

use super::{
    author::{Stamped, remover},
    plan::{EntityPlan, Place},
};
use crate::ImageWriter;

/// What all rows of a change have in common.
#[derive(Clone, Copy)]
pub(super) struct Context<'a> {
    /// The relation's plan.
    pub(super) plan: &'a EntityPlan,
    /// Who writes, where a message says so.
    pub(super) governing: Option<&'a Tx>,
    /// Where in the source it stands.
    pub(super) commit: Commit,
}

/// Appends the activities of a changed row.
pub(super) fn map(
    context: Context<'_>,
    image: &mut ImageWriter,
    row: &ChangedRow,
    inserted: bool,
    into: &mut Vec<Activity>,
) {
    let plan = context.plan;
    let old = old_tuple(&row.old);
    let full = match &row.old {
        OldRow::Full(old) => Some(old),
        _ => None,
    };
    let before = old.map(|old| plan.place(old, None));
    let policy = Policy::of(plan, row, inserted);
    let Some(new) = &row.new else {
        into.extend(before.and_then(|place| delete(context, place, policy.old())));
        return;
    };
    let after = plan.place(new, old);
    let moved = before.as_ref().is_some_and(|before| *before != after);
    if let Some(before) = before.filter(|_| moved) {
        into.extend(delete(context, before, policy.old()));
    }
    if after.org.is_none() {
        return;
    }
    into.push(match inserted || moved {
        true => create(context, image, new, full, after),
        false => Activity { policy: policy.both(), ..update(context, image, new, full, after) },
    });
}

/// Makes a create; `full` fills unchanged values.
pub(super) fn create(
    context: Context<'_>,
    image: &mut ImageWriter,
    new: &Tuple,
    full: Option<&Tuple>,
    place: Place,
) -> Activity {
    let stamped = stamped(context, new, full);
    let (row, details) = encode(context.plan, image, new, full, None);
    let policy = Policy { plan: context.plan, new: Some(new), old: full, differs: false }.new_only();
    let tx = stamped.map(|stamped| stamped.text);
    Activity { action: Action::Create, image: Some(row), details, tx, policy, ..blank(context, place) }
}

fn update(context: Context<'_>, image: &mut ImageWriter, new: &Tuple, full: Option<&Tuple>, place: Place) -> Activity {
    let plan = context.plan;
    let stamped = stamped(context, new, full);
    let (row, details) = encode(plan, image, new, full, stamped.as_ref());
    let changed = match &stamped {
        Some(stamped) if stamped.whole() => None,
        Some(stamped) => Some(stamped_names(plan, stamped)),
        None => full.map(|old| changed_names(plan, new, old)),
    };
    let tx = stamped.map(|stamped| stamped.text);
    Activity { action: Action::Update, image: Some(row), changed, details, tx, ..blank(context, place) }
}

fn delete(context: Context<'_>, place: Place, policy: Option<String>) -> Option<Activity> {
    place.org.as_ref()?;
    let changed = Some("[]".to_owned());
    let tx = removed(context);
    Some(Activity { action: Action::Delete, changed, tx, policy, ..blank(context, place) })
}

/// Who removed rows of the table; nobody is known where it is not stamped and no message says so.
pub(super) fn removed(context: Context<'_>) -> Option<String> {
    let known = context.plan.tx.is_some() || context.governing.is_some();
    known.then(|| remover(context.governing, context.commit))
}

/// Makes an activity without a row.
pub(super) fn blank(context: Context<'_>, place: Place) -> Activity {
    let plan = context.plan;
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
        commit: context.commit,
    }
}

/// Returns the old row, as much of it as there is.
pub(super) fn old_tuple(old: &OldRow) -> Option<&Tuple> {
    match old {
        OldRow::Absent => None,
        OldRow::Identity(tuple) | OldRow::Full(tuple) => Some(tuple),
    }
}

/// Reads the stamp of a row; one that is unchanged stands in the old row, where that is whole.
fn stamped(context: Context<'_>, new: &Tuple, full: Option<&Tuple>) -> Option<Stamped> {
    let column = context.plan.tx?;
    let cell = match new.cells().nth(column)? {
        Cell::Unchanged => full?.cells().nth(column)?,
        cell => cell,
    };
    match cell {
        Cell::Text(text) => Stamped::read(text, context.governing),
        _ => None,
    }
}

fn encode(
    plan: &EntityPlan,
    image: &mut ImageWriter,
    new: &Tuple,
    full: Option<&Tuple>,
    stamped: Option<&Stamped>,
) -> (String, Option<String>) {
    image.start();
    let mut old_cells = full.map(Tuple::cells);
    for ((shown, column), cell) in plan.shown.iter().zip(&plan.relation.columns).zip(new.cells()) {
        let old = old_cells.as_mut().and_then(Iterator::next);
        let cell = match (cell, old) {
            (Cell::Unchanged, Some(old)) => old,
            (cell, _) => cell,
        };
        let Some(name) = shown else { continue };
        match stamped {
            Some(stamped) if !stamped.changed(&column.name) => image.push_unchanged(name, &column.ty, cell),
            _ => image.push(name, &column.ty, cell),
        }
    }
    image.finish(None)
}

fn stamped_names(plan: &EntityPlan, stamped: &Stamped) -> String {
    let changed = plan.shown.iter().zip(&plan.relation.columns).filter(|(_, column)| stamped.changed(&column.name));
    array(changed.filter_map(|(shown, _)| shown.as_deref()))
}

fn changed_names(plan: &EntityPlan, new: &Tuple, old: &Tuple) -> String {
    let cells = plan.shown.iter().zip(new.cells()).zip(old.cells());
    array(cells.filter_map(|((shown, new), old)| {
        let differs = new != Cell::Unchanged && new != old;
        shown.as_deref().filter(|_| differs)
    }))
}

/// Writes names that are JSON already as an array.
fn array<'a>(list: impl Iterator<Item = &'a str>) -> String {
    let mut names = String::from("[");
    for name in list {
        if names.len() > 1 {
            names.push(',');
        }
        names.push_str(name);
    }
    names.push(']');
    names
}

/// The columns that policies read, before and after a change.
struct Policy<'a> {
    plan: &'a EntityPlan,
    new: Option<&'a Tuple>,
    old: Option<&'a Tuple>,
    /// Whether the old row may say something else than the new one.
    differs: bool,
}

impl<'a> Policy<'a> {
    fn of(plan: &'a EntityPlan, row: &'a ChangedRow, inserted: bool) -> Policy<'a> {
        Policy { plan, new: row.new.as_ref(), old: old_tuple(&row.old), differs: !inserted }
    }

    fn old(&self) -> Option<String> {
        self.write(&[("old", self.old?, None)])
    }

    fn new_only(&self) -> Option<String> {
        self.write(&[("new", self.new?, self.old)])
    }

    fn both(&self) -> Option<String> {
        let new = ("new", self.new?, self.old);
        match self.old.filter(|_| self.differs) {
            // The identity did not change, and what policies read is part of it.
            None => self.write(&[new]),
            Some(old) => self.write(&[new, ("old", old, None)]),
        }
    }

    fn write(&self, rows: &[(&str, &Tuple, Option<&Tuple>)]) -> Option<String> {
        if self.plan.policy.is_empty() {
            return None;
        }
        let mut out = String::from("{");
        for (index, (name, row, fallback)) in rows.iter().enumerate() {
            out.push_str(if index == 0 { "\"" } else { ",\"" });
            out.push_str(name);
            out.push_str("\":{");
            for (index, &column) in self.plan.policy.iter().enumerate() {
                if index > 0 {
                    out.push(',');
                }
                write_string(&mut out, &self.plan.relation.columns[column].name);
                out.push(':');
                let cell = match (row.cells().nth(column), fallback) {
                    (Some(Cell::Unchanged), Some(old)) => old.cells().nth(column),
                    (cell, _) => cell,
                };
                match cell {
                    Some(Cell::Text(text)) => write_string(&mut out, &String::from_utf8_lossy(text)),
                    _ => out.push_str("null"),
                }
            }
            out.push('}');
        }
        out.push('}');
        Some(out)
    }
}
