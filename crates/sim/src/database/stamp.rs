//! The stamp trigger of the simulated database, rule by rule as the generated function has it (house 2).
//!
//! Law: the stamp is the only writer of a row's metadata; every column whose value changed gets the id, and the field
//! that a mutation names gets it on the mutation's own row, once, whether it changed or not.

use antiphon_model::{EVERY_FIELD, SOURCE_SQL, TransactionId, Tx};

use super::table::{Row, Table};

/// What a transaction says of its statements.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Said<'a> {
    /// Plain SQL: an id is made of this clock and this number.
    Nothing {
        /// The database's clock in milliseconds.
        now_ms: u64,
        /// The transaction's number.
        xid: u64,
    },
    /// The door's setting.
    Mutation {
        /// Who writes.
        tx: &'a Tx,
        /// Whether this is the mutation's own row, stamped for the first time.
        target: bool,
    },
}

/// Stamps a row that comes into being.
pub(crate) fn inserted(table: &Table, row: &mut Row, said: Said<'_>) {
    let (id, mut tx) = author(said);
    tx.fields = [(EVERY_FIELD.to_owned(), id)].into();
    tx.changed_field = None;
    row[table.tx()] = Some(tx.to_json());
}

/// Stamps a row that changes.
pub(crate) fn updated(table: &Table, old: &Row, new: &mut Row, said: Said<'_>) {
    let before = table.tx_of(old).unwrap_or_default();
    let (mut id, mut tx) = author(said);
    if let Said::Nothing { xid, .. } = said
        && let Some(largest) = before.fields.values().max().filter(|largest| **largest >= id)
        && let Ok(largest) = TransactionId::parse(largest)
    {
        let above = TransactionId::new(largest.wall_ms(), largest.logical() + 1, &format!("sql-{xid}"));
        id = above.map_or(id, |above| above.as_str().to_owned());
        tx.transaction_id.clone_from(&id);
    }
    let changed = (0..table.tx()).filter(|column| old[*column] != new[*column]);
    let mut stamped: Vec<(String, String)> =
        changed.map(|column| (table.relation.columns[column].name.clone(), id.clone())).collect();
    match said {
        Said::Mutation { tx: said, target: true } => {
            stamped.extend(said.changed_field.iter().map(|field| (field.clone(), id.clone())));
            stamped.extend(said.fields.iter().map(|(field, id)| (field.clone(), id.clone())));
        }
        _ => tx.changed_field = None,
    }
    new[table.tx()].clone_from(&old[table.tx()]);
    if !stamped.is_empty() {
        tx.fields = before.fields;
        tx.fields.extend(stamped);
        new[table.tx()] = Some(tx.to_json());
    }
}

fn author(said: Said<'_>) -> (String, Tx) {
    match said {
        Said::Nothing { now_ms, xid } => {
            let id = TransactionId::of_sql(now_ms, antiphon_model::Xid::new(xid)).as_str().to_owned();
            (id.clone(), Tx { transaction_id: id, source_id: SOURCE_SQL.to_owned(), ..Tx::default() })
        }
        Said::Mutation { tx, .. } => {
            let id = tx.transaction_id.clone();
            (id, Tx { fields: Default::default(), ..tx.clone() })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{super::table, *};

    fn page() -> (std::sync::Arc<Table>, Row) {
        let page = table::all().remove(1);
        let mut row = page.empty("1", "acme");
        row[2] = Some("a".into());
        (page, row)
    }

    fn said(id: &str, field: &str) -> Tx {
        Tx {
            transaction_id: id.into(),
            source_id: "s".into(),
            actor: Some("bob".into()),
            changed_field: Some(field.into()),
            ..Tx::default()
        }
    }

    #[test]
    fn every_changed_column_and_the_named_field_get_the_id_once_mut_04() {
        let (page, mut row) = page();
        inserted(&page, &mut row, Said::Nothing { now_ms: 5, xid: 7 });
        let first = "0000000000005.0000.sql-7";
        assert_eq!(page.tx_of(&row).unwrap().field_id("title"), Some(first));
        let mut new = row.clone();
        new[3] = Some("text".into());
        let tx = said("0000000000009.0000.n", "title");
        updated(&page, &row, &mut new, Said::Mutation { tx: &tx, target: true });
        let stamp = page.tx_of(&new).unwrap();
        for (field, id) in [("title", "0000000000009.0000.n"), ("body", "0000000000009.0000.n"), ("position", first)] {
            assert_eq!(stamp.field_id(field), Some(id), "{field}");
        }
        assert_eq!((stamp.changed_field.as_deref(), stamp.actor.as_deref()), (Some("title"), Some("bob")));
        let mut same = new.clone();
        updated(&page, &new, &mut same, Said::Nothing { now_ms: 1, xid: 8 });
        assert_eq!(same, new, "nothing changed, nothing is stamped");
    }

    #[test]
    fn an_id_of_plain_sql_is_above_every_id_of_the_row_mut_04() {
        let (page, mut row) = page();
        let ahead = said("0000000000900.0003.n", "title");
        inserted(&page, &mut row, Said::Mutation { tx: &ahead, target: true });
        let mut new = row.clone();
        new[2] = Some("b".into());
        updated(&page, &row, &mut new, Said::Nothing { now_ms: 5, xid: 9 });
        let stamp = page.tx_of(&new).unwrap();
        assert_eq!(stamp.field_id("title"), Some("0000000000900.0004.sql-9"));
        assert_eq!(stamp.transaction_id, "0000000000900.0004.sql-9");
        assert_eq!((stamp.source_id.as_str(), stamp.changed_field), ("sql", None));
    }
}
