//! Telling what came in a few words, for the tests of capture that record changes in the database.

use antiphon_model::{Cell, Change, ChangedRow, OldRow, Transaction, Tuple};

/// Each change in a few words: `insert 1,acme,a`, `update 1,acme,b`, `update 1,acme -> 2,acme,b`.
pub fn told(transactions: &[Transaction]) -> Vec<String> {
    transactions.iter().flat_map(|transaction| &transaction.changes).map(tell).collect()
}

fn tell(change: &Change) -> String {
    match change {
        Change::Insert(row) => format!("insert {}", new(row)),
        Change::Update(row) => match &row.old {
            OldRow::Absent => format!("update {}", new(row)),
            OldRow::Identity(old) | OldRow::Full(old) => format!("update {} -> {}", cells(old), new(row)),
        },
        Change::Delete(row) => match &row.old {
            OldRow::Identity(old) | OldRow::Full(old) => format!("delete {}", cells(old)),
            OldRow::Absent => "delete of nothing".to_owned(),
        },
        Change::Truncate(relations) => {
            let names: Vec<_> = relations.iter().map(|relation| relation.name.clone()).collect();
            format!("truncate {}", names.join(","))
        }
        Change::Message { content, .. } => format!("message {}", String::from_utf8_lossy(content)),
    }
}

fn new(row: &ChangedRow) -> String {
    row.new.as_ref().map(cells).unwrap_or_default()
}

/// The cells of a row; null is `-`, unchanged is `=`.
pub fn cells(tuple: &Tuple) -> String {
    let cell = |cell: Cell<'_>| match cell {
        Cell::Text(text) => String::from_utf8_lossy(text).into_owned(),
        Cell::Null => "-".to_owned(),
        Cell::Unchanged => "=".to_owned(),
        Cell::Binary(_) => "binary".to_owned(),
    };
    tuple.cells().map(cell).collect::<Vec<_>>().join(",")
}
