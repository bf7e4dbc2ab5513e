//! From activities to what is written: each changes the fold, or the target at once where its order counts.
//!
//! A key change is a delete and a create, adjacent; where the create leaves long values out as unchanged, the target has
//! them under the old key, so the row is renamed and not made anew. Values that are too long for the log come from the
//! source. A shape that is new is asked for, and columns that the target lacks are added.

use antiphon_engine::{Fault, read_image};
use antiphon_model::{Action, Activity};

use super::{fold::Values, layout::Layout, session::Session};

/// More changes or bytes than this are written before the rest of their transaction is read.
const FOLD_CHANGES_MAX: usize = 20_000;
const FOLD_BYTES_MAX: usize = 16 << 20;

/// An activity's row as it is to be written.
struct Row {
    identity: Vec<String>,
    values: Values,
    /// The places of values that are left out because they did not change.
    left_out: Vec<usize>,
}

impl Session {
    /// Applies activities in order; nothing is committed.
    pub(super) async fn apply(&mut self, activities: &[Activity]) -> Result<(), Fault> {
        let mut index = 0;
        while let Some(activity) = activities.get(index) {
            index += 1;
            if !self.mirrors(activity).await? {
                continue;
            }
            match activity.action {
                Action::Mark => {}
                Action::Truncate => self.fold.truncate(&activity.entity_type),
                Action::Create | Action::Update => {
                    let row = self.row(activity).await?;
                    self.fold.write(&activity.entity_type, row.identity, row.values);
                }
                Action::Delete => {
                    let next = activities.get(index).filter(|next| follows(activity, next));
                    if !self.moved(activity, next).await? {
                        let identity = self.layout(activity)?.identity_of(activity)?;
                        self.fold.delete(&activity.entity_type, identity);
                    } else {
                        index += 1;
                    }
                }
            }
            let (changes, bytes) = self.fold.size();
            if changes >= FOLD_CHANGES_MAX || bytes >= FOLD_BYTES_MAX {
                self.write_fold().await?;
            }
        }
        Ok(())
    }

    /// Handles a delete and the create beside it where that one leaves values out; `false` where they are two changes.
    async fn moved(&mut self, delete: &Activity, create: Option<&Activity>) -> Result<bool, Fault> {
        let Some(create) = create else { return Ok(false) };
        let row = self.row(create).await?;
        if row.left_out.is_empty() {
            return Ok(false);
        }
        let old = self.layout(delete)?.identity_of(delete)?;
        if old == row.identity {
            self.fold.write(&create.entity_type, row.identity, row.values);
            return Ok(true);
        }
        self.write_fold().await?;
        self.rename(&create.entity_type, &old, row.values.clone()).await?;
        // A value that was left out is never null: where it is, the source had no such row any more when it was asked for.
        if self.lacks(&create.entity_type, &row.identity, &row.left_out).await? {
            let id = create.entity_id.clone().unwrap_or_default();
            if let Some(mut present) = self.present(&create.entity_type, (&id, &row.identity)).await? {
                let mut values = row.values;
                for place in row.left_out {
                    values[place] = present[place].take();
                }
                self.fold.write(&create.entity_type, row.identity, values);
            }
        }
        Ok(true)
    }

    /// Reads an activity's row; what the log leaves out for its length is asked of the source.
    async fn row(&mut self, activity: &Activity) -> Result<Row, Fault> {
        let layout = self.layout(activity)?;
        let identity = layout.identity_of(activity)?;
        let read = read_image(activity, |name| layout.place(name).map(|place| &*layout.columns[place].ty))?;
        let mut values: Values = vec![None; layout.columns.len()];
        for (name, text) in read.values {
            if let Some(place) = layout.place(&name) {
                values[place] = Some(text);
            }
        }
        for (place, text) in layout.identity.iter().zip(&identity) {
            values[*place].get_or_insert_with(|| Some(text.clone()));
        }
        let places = |names: &[String]| names.iter().filter_map(|name| layout.place(name)).collect::<Vec<usize>>();
        let (omitted, unchanged) = (places(&read.omitted), places(&read.unchanged));
        // While rows that were listed are ahead, the row that an unchanged value belongs to may be gone from the target, and
        // the value with it: a later change of key took it along before the listing, and a delete came again.
        let wanted = !omitted.is_empty() || (self.settling() && !unchanged.is_empty());
        if wanted {
            let id = activity.entity_id.clone().unwrap_or_default();
            let present = self.present(&activity.entity_type, (&id, &identity)).await?;
            for place in &omitted {
                // Null marks what is not to be had now: the row was deleted since, or has another key, under which it is
                // looked for again.
                values[*place] = present.as_ref().map_or(Some(None), |present| present[*place].clone());
            }
            if let Some(present) = present.filter(|_| self.settling()) {
                for place in &unchanged {
                    values[*place].clone_from(&present[*place]);
                }
            }
        }
        let left_out = unchanged.into_iter().filter(|place| values[*place].is_none()).collect();
        Ok(Row { identity, values, left_out })
    }
}

/// Tells whether a create may be the other half of a delete: it stands right behind it, in the same change.
fn follows(delete: &Activity, create: &Activity) -> bool {
    create.action == Action::Create
        && create.entity_type == delete.entity_type
        && create.commit.lsn == delete.commit.lsn
        && create.commit.seq == delete.commit.seq + 1
        && create.details.as_deref().is_some_and(|details| details.contains("\"unchanged\":"))
}

/// A layout with the number of the newest shape that it was made for.
pub(super) struct Shaped {
    pub(super) layout: Layout,
    /// The number of the last activity's shape; `None` before the first.
    pub(super) schema: Option<u32>,
}
