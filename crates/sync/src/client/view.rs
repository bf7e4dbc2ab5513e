//! What a person sees of a row: the confirmed row with the outbox's entries upon it, in order (CORE-10).

use serde_json::{Map, Value};

use super::{Change, Entry, outbox::operated, rows::Row};

/// Returns the row as a person sees it; `None` where there is none.
pub fn view<'a>(row: Option<&Row>, entries: impl Iterator<Item = &'a Entry>) -> Option<Map<String, Value>> {
    let mut shown = row.map(|row| row.data.clone());
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
                if shown.is_none() {
                    // The row was deleted by others while it was edited here: what was last known stays visible.
                    shown =
                        entry.theirs.as_ref().filter(|theirs| theirs.gone).and_then(|t| t.value.as_object().cloned());
                }
                if let (Some(shown), Some(field)) = (&mut shown, change.field()) {
                    let present = shown.get(field).cloned().unwrap_or(Value::Null);
                    shown.insert(field.to_owned(), operated(&present, change));
                }
            }
        }
    }
    shown
}
