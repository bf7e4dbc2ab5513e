//! Rows of the source as they are now: initial ones, and values that the log leaves out.
//!
//! A row read here may be newer than the place in the log that it is read for; what made it newer follows in the log.

use std::sync::{Mutex, PoisonError};

use antiphon_engine::{
    Fault,
    ports::{SnapshotProgress, SnapshotTable, Source},
};
use antiphon_model::{Cell, Code, Relation, Tuple};

use super::{fold::Values, layout::Layout};

/// Reads rows of the source; it keeps the table that was asked for last.
#[derive(Default)]
pub(super) struct SourceRows {
    /// Never locked: it lets a session be lent to several threads, which the port's tables by themselves cannot.
    open: Mutex<Option<(String, Box<dyn SnapshotTable>)>>,
}

impl SourceRows {
    /// Returns a row's present values; `None` where it is gone.
    pub(super) async fn present(
        &mut self,
        source: &dyn Source,
        layout: &Layout,
        (entity_id, identity): (&str, &[String]),
    ) -> Result<Option<Values>, Fault> {
        let name = &layout.entity.name;
        let open = self.open.get_mut().unwrap_or_else(PoisonError::into_inner);
        let mut table = match open.take() {
            Some((open, table)) if open == *name => table,
            _ => source.snapshot_table(name).await?,
        };
        let progress = SnapshotProgress::fresh(name.as_str());
        let chunk = table.reread(&[entity_id.to_owned()], &progress).await?;
        *open = Some((name.clone(), table));
        for row in &chunk.rows {
            let Some(values) = values(layout, &chunk.relation, row)? else { continue };
            // A key may be unique only within its organisation.
            if same_row(layout, &values, identity) {
                return Ok(Some(values));
            }
        }
        Ok(None)
    }
}

fn same_row(layout: &Layout, values: &Values, identity: &[String]) -> bool {
    let own = layout.identity.iter().map(|place| values[*place].as_ref().and_then(|text| text.as_deref()));
    own.eq(identity.iter().map(|text| Some(text.as_str())))
}

/// Returns a row's values in the order of the mirrored columns; `None` where the row is nobody's.
///
/// # Errors
/// Fails with `TRY_AGAIN` where the table has columns that the layout does not know yet.
pub(super) fn values(layout: &Layout, relation: &Relation, row: &Tuple) -> Result<Option<Values>, Fault> {
    let mut values: Values = vec![None; layout.columns.len()];
    for (column, cell) in relation.columns.iter().zip(row.cells()) {
        let text = match cell {
            Cell::Text(text) => Some(String::from_utf8_lossy(text).into_owned()),
            Cell::Null => None,
            Cell::Unchanged | Cell::Binary(_) => continue,
        };
        if layout.entity.org_column() == Some(column.name.as_str()) && text.as_deref().is_none_or(str::is_empty) {
            return Ok(None);
        }
        match layout.place(&column.name) {
            Some(place) => values[place] = Some(text),
            None if layout.entity.shows(&column.name) => {
                let detail = format!("table {} has a new column", layout.entity.table);
                return Err(Fault::new(Code::TryAgain, detail));
            }
            None => {}
        }
    }
    Ok(Some(values))
}
