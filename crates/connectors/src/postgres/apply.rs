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
    /// Whether values are left out because they did not change.
    partial: bool,
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
        if !row.partial {
            return Ok(false);
        }
        let old = self.layout(delete)?.identity_of(delete)?;
        if old == row.identity {
            self.fold.write(&create.entity_type, row.identity, row.values);
            return Ok(true);
        }
        self.write_fold().await?;
        self.rename(&create.entity_type, &old, row.values).await?;
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
        // While rows that were listed are ahead, the row that an unchanged value belongs to may be gone from the target, and
        // the value with it: a later change of key took it along before the listing, and a delete came again.
        let unchanged = read.unchanged.iter().filter(|_| self.settling());
        let absent: Vec<usize> = read.omitted.iter().chain(unchanged).filter_map(|name| layout.place(name)).collect();
        if !absent.is_empty() {
            let id = activity.entity_id.clone().unwrap_or_default();
            // A row that is gone by now will be deleted by what follows.
            if let Some(mut present) = self.present(&activity.entity_type, (&id, &identity)).await? {
                for place in absent {
                    values[place] = present[place].take();
                }
            }
        }
        let layout = self.layout(activity)?;
        let mut unchanged = read.unchanged.iter().filter_map(|name| layout.place(name));
        let partial = unchanged.any(|place| values[place].is_none());
        Ok(Row { identity, values, partial })
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
