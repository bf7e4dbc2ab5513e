//! What every test of capture by triggers needs: a database with a table, a source over it, and a reader.

use std::time::Duration;

use antiphon_model::{Cell, Change, ChangedRow, OldRow, Transaction, Tuple};
use antiphon_postgres::{ConnectionInfo, TriggerConfig, TriggerSource};
use antiphon_testkit::{Pg, TestDb};
use tokio_postgres::Client;

pub use crate::reader::{NOTES, Reader, entity, notes, until, within};

/// A database with the table `notes`.
pub struct Stage {
    pub db: TestDb,
    pub client: Client,
}

impl Stage {
    pub async fn set(pg: &Pg, hint: &str) -> Stage {
        let db = pg.database(hint).await;
        let client = db.connect().await;
        client.batch_execute(NOTES).await.unwrap();
        Stage { db, client }
    }

    pub fn config(&self) -> TriggerConfig {
        let mut config = TriggerConfig::new(ConnectionInfo::parse(&self.db.url()).unwrap(), vec![notes()]);
        config.poll_interval = Duration::from_millis(20);
        config.watch_interval = Duration::from_millis(50);
        config
    }

    pub fn source(&self) -> TriggerSource {
        TriggerSource::new(self.config()).unwrap()
    }

    pub async fn run(&self, sql: &str) {
        self.client.batch_execute(sql).await.unwrap();
    }

    pub async fn count(&self, sql: &str) -> i64 {
        self.client.query_one(sql, &[]).await.unwrap().get(0)
    }
}

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
