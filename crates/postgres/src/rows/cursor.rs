//! The opaque text that continues a list: where the last page ended, in which order, of which type.
//!
//! It holds values as Postgres prints them and is read back by the same types, so it survives a restart and another
//! server. It is checked when it returns and trusted in nothing: every value in it becomes a parameter.

use antiphon_engine::{Fault, ports::Order};
use antiphon_model::Code;
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use serde::{Deserialize, Serialize};

/// The form of cursors that this version writes.
const VERSION: u32 = 1;
/// A longer text cannot be a cursor of ours for any row that can be ordered by an index.
const LENGTH_MAX: usize = 1 << 20;

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Cursor {
    v: u32,
    t: String,
    o: Vec<(String, bool)>,
    k: Vec<Option<String>>,
}

/// Writes the cursor of a row; `position` holds the values that the list is ordered by.
pub(super) fn write(entity_type: &str, order: &[Order], position: Vec<Option<String>>) -> Result<String, Fault> {
    let cursor = Cursor { v: VERSION, t: entity_type.to_owned(), o: pairs(order), k: position };
    let json = serde_json::to_vec(&cursor);
    let json = json.map_err(|error| Fault::new(Code::Internal, "a cursor cannot be written").with_source(error))?;
    Ok(URL_SAFE_NO_PAD.encode(json))
}

/// Reads a cursor back and returns the position, if it belongs to this list.
pub(super) fn read(text: &str, entity_type: &str, order: &[Order], len: usize) -> Result<Vec<Option<String>>, Fault> {
    let refused = |why: &str| Fault::new(Code::ParameterInvalid, format!("after: {why}"));
    if text.len() > LENGTH_MAX {
        return Err(refused("it is too long"));
    }
    let json = URL_SAFE_NO_PAD.decode(text).map_err(|_| refused("it is not the `next` of a page"))?;
    let cursor: Cursor = serde_json::from_slice(&json).map_err(|_| refused("it is not the `next` of a page"))?;
    if cursor.v != VERSION {
        return Err(refused("it was made by another version; list again"));
    }
    if cursor.t != entity_type {
        return Err(refused("it belongs to a list of another type"));
    }
    if cursor.o != pairs(order) {
        return Err(refused("it belongs to a list in another order"));
    }
    if cursor.k.len() != len || cursor.k.iter().flatten().any(|value| value.contains('\0')) {
        return Err(refused("it does not fit the type's key"));
    }
    Ok(cursor.k)
}

fn pairs(order: &[Order]) -> Vec<(String, bool)> {
    order.iter().map(|level| (level.field.clone(), level.descending)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn order(field: &str, descending: bool) -> Vec<Order> {
        vec![Order { field: field.to_owned(), descending }]
    }

    #[test]
    fn a_cursor_of_another_list_is_refused_by_name() {
        let position = vec![Some("done".to_owned()), None, Some("7".to_owned())];
        let cursor = write("task", &order("status", true), position.clone()).unwrap();
        assert_eq!(read(&cursor, "task", &order("status", true), 3).unwrap(), position);
        let forged = URL_SAFE_NO_PAD.encode(br#"{"v":1,"t":"task","o":[["status",true]],"k":["a\u0000"]}"#);
        for (text, entity_type, order, len) in [
            (cursor.as_str(), "page", order("status", true), 3),
            (&cursor, "task", order("status", false), 3),
            (&cursor, "task", order("title", true), 3),
            (&cursor, "task", order("status", true), 2),
            ("%%%", "task", order("status", true), 3),
            ("e30", "task", order("status", true), 3),
            ("", "task", order("status", true), 3),
            (&forged, "task", order("status", true), 1),
        ] {
            let fault = read(text, entity_type, &order, len).unwrap_err();
            assert_eq!(fault.code(), Code::ParameterInvalid);
            assert!(fault.detail().starts_with("after: "), "{}", fault.detail());
        }
    }
}
