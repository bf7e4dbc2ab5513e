//! The stamp: who wrote each field of a row last, kept by a trigger that is the only writer of the `tx` column (house 2).
//!
//! The mutation service says who writes by the transaction-local setting `antiphon.tx`; every other writer gets an id of
//! the server's. Laws: the setting counts only in sessions of the service's role; whatever value of `tx` arrives is
//! replaced; no column changes without its id changing.

pub(crate) mod function;

use antiphon_model::{RelationName, Tx};
use serde::Serialize;

/// The setting that says who writes; empty where nobody does.
pub const SETTING: &str = "antiphon.tx";
/// The trigger's name, which runs after all others whose names begin with ASCII.
pub(crate) const TRIGGER: &str = "~antiphon_stamp";
/// The setting that leaves `tx` as it arrives, for restores.
pub const KEEP_SETTING: &str = "antiphon.keep_tx";

/// What the mutation service tells the trigger before a statement.
#[derive(Clone, Copy, Debug)]
pub struct Stamp<'a> {
    /// The table of the row that the mutation names.
    pub table: &'a RelationName,
    /// The texts of that row's key, in the key's order.
    pub key: &'a [String],
    /// Who writes; `fields` only where one statement carries several mutations of the row.
    pub tx: &'a Tx,
}

#[derive(Serialize)]
struct Setting<'a> {
    table: String,
    key: &'a [String],
    #[serde(flatten)]
    tx: &'a Tx,
}

impl Stamp<'_> {
    /// Returns the text of the setting [`SETTING`].
    pub fn setting(&self) -> String {
        let setting = Setting { table: self.table.to_string(), key: self.key, tx: self.tx };
        // A struct of texts cannot fail to be written.
        serde_json::to_string(&setting).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_setting_names_its_target_and_who_writes_house_2() {
        let table = RelationName { schema: "public".into(), name: "ta\"sks".into() };
        let mut tx = Tx {
            transaction_id: "1".into(),
            source_id: "s".into(),
            changed_field: Some("title".into()),
            ..Tx::default()
        };
        let key = ["7".to_owned()];
        assert_eq!(
            Stamp { table: &table, key: &key, tx: &tx }.setting(),
            r#"{"table":"public.ta\"sks","key":["7"],"transactionId":"1","sourceId":"s","actor":null,"changedField":"title"}"#
        );
        tx.fields.insert("title".into(), "1".into());
        assert!(Stamp { table: &table, key: &key, tx: &tx }.setting().ends_with(r#","fields":{"title":"1"}}"#));
    }
}
