//! Who wrote, and by which mutation: the metadata that rows, activities and messages carry as `tx` (protocol 4, 5).
//!
//! One shape in three places. In a row, `fields` holds the id of every field, `*` standing for those without an entry
//! of their own. In an activity and in a message, `fields` is there only where one change carries several mutations and
//! names the id of each changed field.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::Columns;

/// The entry of `fields` that stands for every field without one of its own.
pub const EVERY_FIELD: &str = "*";
/// The `sourceId` of a writer that did not come through the mutation service.
pub const SOURCE_SQL: &str = "sql";

/// The metadata of a row or a change.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Tx {
    /// The newest mutation; of several in one change, the greatest id.
    pub transaction_id: String,
    /// Which client wrote (`sql` for plain SQL).
    pub source_id: String,
    /// The `sub` of the writer.
    #[serde(default)]
    pub actor: Option<String>,
    /// The one field that the mutation named.
    #[serde(default)]
    pub changed_field: Option<String>,
    /// Ids by field.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub fields: BTreeMap<String, String>,
}

impl Tx {
    /// Reads the text of a `tx` column or of a stored activity; `None` where it is not of the shape.
    pub fn parse(text: &str) -> Option<Tx> {
        serde_json::from_str(text).ok()
    }

    /// Returns the id of a field of the row whose metadata this is.
    pub fn field_id(&self, field: &str) -> Option<&str> {
        self.fields.get(field).or_else(|| self.fields.get(EVERY_FIELD)).map(String::as_str)
    }

    /// Returns every id that a change with this metadata confirms, each once.
    pub fn ids(&self) -> Vec<&str> {
        let mut ids: Vec<&str> = vec![&self.transaction_id];
        ids.extend(self.fields.values().map(String::as_str));
        ids.sort_unstable();
        ids.dedup();
        ids
    }

    /// Returns it without the fields that a reader may not see.
    #[must_use]
    pub fn cut(mut self, columns: &Columns) -> Tx {
        self.changed_field = self.changed_field.filter(|field| columns.contains(field));
        self.fields.retain(|field, _| field == EVERY_FIELD || columns.contains(field));
        self
    }

    /// Returns the JSON text.
    pub fn to_json(&self) -> String {
        // A struct of texts cannot fail to be written.
        serde_json::to_string(self).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_without_an_entry_has_the_id_of_every_field() {
        let row = r#"{"transactionId":"2","sourceId":"s","actor":null,"changedField":"a","fields":{"*":"1","a":"2"}}"#;
        let tx = Tx::parse(row).unwrap();
        assert_eq!((tx.field_id("a"), tx.field_id("b")), (Some("2"), Some("1")));
        assert_eq!(tx.ids(), ["1", "2"]);
        assert_eq!(tx.to_json(), row);
        assert_eq!(Tx::parse("{}"), None);
    }
}
