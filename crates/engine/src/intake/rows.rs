//! One changed row as activities: create, update, delete, or the pair that a move makes.
//!
//! A row that changes its organisation is a delete for one and a create for the other; a key change is a delete and a
//! create, adjacent (protocol 4). Under FULL the old row fills what the new one calls unchanged (PG-61). On a stamped
//! table the row itself says who wrote it and which fields changed.

use antiphon_model::{
    Action, Activity, ActivityId, Cell, ChangedRow, Column, Commit, OldRow, ReplicaIdentity, Tuple, Tx, write_string,
};

use super::{
    author::{Stamped, remover},
    plan::{EntityPlan, Place},
};
use crate::{ImageWriter, image::UNCHANGED_ABOVE_BYTES};

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
    let policy = Policy { plan: context.plan, new: Some(new), old: full, whole: true, differs: false }.new_only();
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
    let plan = context.plan;
    let text = stamp_of(plan, new, full)?;
    if plan.relation.identity == ReplicaIdentity::Polled {
        let columns = plan.relation.columns.iter().map(|column| column.name.as_str());
        return Stamped::of_state(text, columns.filter(|name| plan.entity.shows(name)));
    }
    Stamped::read(text, context.governing)
}

fn stamp_of<'a>(plan: &EntityPlan, new: &'a Tuple, full: Option<&'a Tuple>) -> Option<&'a [u8]> {
    let column = plan.tx?;
    match filled(new.cells().nth(column)?, full.and_then(|old| old.cells().nth(column))) {
        Cell::Text(text) => Some(text),
        _ => None,
    }
}

/// Tells whether the activity of a changed row has every value, none of them named as unchanged.
pub(super) fn whole(plan: &EntityPlan, row: &ChangedRow, new: &Tuple) -> bool {
    let full = match &row.old {
        OldRow::Full(old) => Some(old),
        _ => None,
    };
    // A row that was found by looking is told whole.
    if plan.relation.identity == ReplicaIdentity::Polled {
        return true;
    }
    let stamped = stamp_of(plan, new, full).and_then(|text| Stamped::read(text, None));
    let left_out = |column: &Column, cell: Cell<'_>| {
        let changed = stamped.as_ref().is_none_or(|stamped| stamped.changed(&column.name));
        !changed && {
            let mut value = String::new();
            antiphon_wire::encode_cell(&column.ty, cell, &mut value);
            value.len() > UNCHANGED_ABOVE_BYTES
        }
    };
    let mut old_cells = full.map(Tuple::cells);
    plan.shown.iter().zip(&plan.relation.columns).zip(new.cells()).all(|((shown, column), cell)| {
        let cell = filled(cell, old_cells.as_mut().and_then(Iterator::next));
        shown.is_none() || (cell != Cell::Unchanged && !left_out(column, cell))
    })
}

/// What is unchanged stands in the old row, where there is a whole one.
fn filled<'a>(cell: Cell<'a>, old: Option<Cell<'a>>) -> Cell<'a> {
    match (cell, old) {
        (Cell::Unchanged, Some(old)) => old,
        (cell, _) => cell,
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
        let cell = filled(cell, old_cells.as_mut().and_then(Iterator::next));
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
    /// Whether the old row holds every column, not those of the identity only.
    whole: bool,
    /// Whether the old row may say something else than the new one.
    differs: bool,
}

impl<'a> Policy<'a> {
    fn of(plan: &'a EntityPlan, row: &'a ChangedRow, inserted: bool) -> Policy<'a> {
        let (old, whole) = match &row.old {
            OldRow::Full(old) => (Some(old), true),
            OldRow::Identity(old) => (Some(old), false),
            OldRow::Absent => (None, false),
        };
        Policy { plan, new: row.new.as_ref(), old, whole, differs: !inserted }
    }

    fn old(&self) -> Option<String> {
        let old = self.old?;
        self.write(|out| self.write_row(out, "old", |column| self.held(old, column)))
    }

    fn new_only(&self) -> Option<String> {
        let new = self.new?;
        self.write(|out| self.write_row(out, "new", |column| self.present(new, column)))
    }

    fn both(&self) -> Option<String> {
        let new = self.new?;
        // Where there is no old row, the identity did not change, and what policies read is part of it.
        let old = self.old.filter(|old| self.differs && self.differ(new, old));
        self.write(|out| {
            self.write_row(out, "new", |column| self.present(new, column));
            if let Some(old) = old {
                out.push(',');
                self.write_row(out, "old", |column| self.held(old, column));
            }
        })
    }

    fn differ(&self, new: &Tuple, old: &Tuple) -> bool {
        let mut columns = self.plan.policy.iter();
        columns.any(|&column| self.held(old, column).is_some_and(|held| Some(held) != self.present(new, column)))
    }

    /// The new row's value; what is unchanged stands in the old row.
    fn present<'b>(&self, new: &'b Tuple, column: usize) -> Option<Cell<'b>>
    where
        'a: 'b,
    {
        match (new.cells().nth(column), self.old) {
            (Some(Cell::Unchanged), Some(old)) => self.held(old, column),
            (cell, _) => cell,
        }
    }

    /// The old row's value; `None` where the old row does not hold the column: nothing is said on a guess (ADR 0011).
    fn held<'b>(&self, old: &'b Tuple, column: usize) -> Option<Cell<'b>> {
        let holds = self.whole || self.plan.relation.columns[column].identity;
        old.cells().nth(column).filter(|_| holds)
    }

    fn write(&self, rows: impl FnOnce(&mut String)) -> Option<String> {
        if self.plan.policy.is_empty() {
            return None;
        }
        let mut out = String::from("{");
        rows(&mut out);
        out.push('}');
        Some(out)
    }

    fn write_row<'b>(&self, out: &mut String, name: &str, value: impl Fn(usize) -> Option<Cell<'b>>) {
        out.push('"');
        out.push_str(name);
        out.push_str("\":{");
        let mut first = true;
        for &column in &self.plan.policy {
            let text = match value(column) {
                Some(Cell::Text(text)) => Some(text),
                Some(Cell::Null) => None,
                // Not known.
                _ => continue,
            };
            if !std::mem::take(&mut first) {
                out.push(',');
            }
            write_string(out, &self.plan.relation.columns[column].name);
            out.push(':');
            match text {
                Some(text) => write_string(out, &String::from_utf8_lossy(text)),
                None => out.push_str("null"),
            }
        }
        out.push('}');
    }
}
