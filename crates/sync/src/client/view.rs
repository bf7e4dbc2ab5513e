//! What a person sees of a row: the confirmed row with the outbox's entries upon it, in order (CORE-10).

use std::borrow::Cow;

use super::{Change, Entry, outbox::operated, rows::Row};
use crate::json::{Object, Value};

/// Returns the row as a person sees it; `None` where there is none.
pub fn view<'a>(row: Option<&Row>, entries: impl Iterator<Item = &'a Entry>) -> Option<Object> {
    lent(row, entries).map(Cow::into_owned)
}

/// The same, lent where nothing is pending.
pub fn lent<'r, 'e>(row: Option<&'r Row>, entries: impl Iterator<Item = &'e Entry>) -> Option<Cow<'r, Object>> {
    let entries: Vec<&Entry> = entries.collect();
    // Most rows are as they were confirmed, and are not copied.
    if let (Some(row), true) = (row, entries.is_empty()) {
        return Some(Cow::Borrowed(&row.data));
    }
    let mut shown = match row {
        Some(row) => Some(row.data.clone()),
        // The row was deleted by others while it was edited here: what was last known stays visible (seed 366).
        None => entries.iter().find_map(|entry| {
            let theirs = entry.theirs.as_ref().filter(|theirs| theirs.gone);
            theirs.and_then(|theirs| theirs.value.as_object().cloned())
        }),
    };
    for entry in entries {
        match &entry.change {
            Change::Create { data } => match &mut shown {
                // The confirmed row may hold more than was asked for: defaults, what triggers wrote.
                Some(shown) => shown.extend(data.clone()),
                None => shown = Some(data.clone()),
            },
            Change::Delete { .. } if !entry.kept => shown = None,
            Change::Delete { .. } => {}
            change => {
                if let (Some(shown), Some(field)) = (&mut shown, change.field()) {
                    let present = shown.get(field).cloned().unwrap_or(Value::Null);
                    shown.insert(field.to_owned(), operated(&present, change));
                }
            }
        }
    }
    shown.map(Cow::Owned)
}
