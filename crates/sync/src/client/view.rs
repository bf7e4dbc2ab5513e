//! What a person sees of a row: the confirmed row with the outbox's entries upon it, in order (CORE-10).

use serde_json::{Map, Value};

use super::{Change, Entry, outbox::operated, rows::Row};

/// Returns the row as a person sees it; `None` where there is none.
pub fn view<'a>(row: Option<&Row>, entries: impl Iterator<Item = &'a Entry>) -> Option<Map<String, Value>> {
    let entries: Vec<&Entry> = entries.collect();
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
    shown
}
