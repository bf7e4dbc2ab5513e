//! What every test of capture needs: a database with a table, a source over it, and a way to wait for what it yields.

use std::time::Duration;

use antiphon_engine::{Fault, ports::Capture};
use antiphon_model::{Change, Checkpoint, Transaction};
use antiphon_postgres::{ConnectionInfo, LogSource, SourceConfig, publication};
use antiphon_testkit::{Pg, TestDb};
use tempfile::TempDir;
use tokio_postgres::Client;

pub use crate::reader::{NOTES, Reader, notes, until, within};

/// Whether this run takes the sizes of the hazards, which are too long for every day.
pub fn long() -> bool {
    std::env::var_os("ANTIPHON_LONG").is_some()
}

/// A database with the table `notes` in a publication, and a folder for spools.
pub struct Stage {
    pub db: TestDb,
    pub client: Client,
    pub spool: TempDir,
}

impl Stage {
    pub async fn set(pg: &Pg, hint: &str) -> Stage {
        let db = pg.database(hint).await;
        let client = db.connect().await;
        client.batch_execute(NOTES).await.unwrap();
        publication::create_if_missing(&client, &db.publication()).await.unwrap();
        let add = format!("alter publication {} add table notes", db.publication());
        client.batch_execute(&add).await.unwrap();
        Stage { db, client, spool: tempfile::tempdir().unwrap() }
    }

    pub fn config(&self) -> SourceConfig {
        self.config_of(&self.db.url())
    }

    pub fn config_of(&self, url: &str) -> SourceConfig {
        let info = ConnectionInfo::parse(url).unwrap();
        let (slot, publication) = (self.db.slot(), self.db.publication());
        let mut config = SourceConfig::new(info, slot, publication, vec![notes()], self.spool.path());
        config.watch_interval = Duration::from_millis(50);
        config
    }

    pub fn source(&self) -> LogSource {
        LogSource::new(self.config()).unwrap()
    }

    pub async fn run(&self, sql: &str) {
        self.client.batch_execute(sql).await.unwrap();
    }

    pub async fn count(&self, sql: &str) -> i64 {
        self.client.query_one(sql, &[]).await.unwrap().get(0)
    }
}

/// Goes on reading a slot's stream.
pub fn reader_of(capture: Box<dyn Capture>, checkpoint: Checkpoint) -> Reader {
    Reader { capture, checkpoint, repeats: true }
}

/// Reads until the capture ends and returns why, however long the server takes.
pub async fn capture_end(mut reader: Reader) -> Fault {
    loop {
        if let Err(fault) = reader.capture.next().await {
            return fault;
        }
    }
}

/// The text of a column of each change's row, in order.
pub fn column(transactions: &[Transaction], index: usize) -> Vec<String> {
    let rows = transactions.iter().flat_map(|transaction| &transaction.changes).filter_map(|change| match change {
        Change::Insert(row) | Change::Update(row) => row.new.as_ref(),
        _ => None,
    });
    rows.map(|row| match row.cells().nth(index) {
        Some(antiphon_model::Cell::Text(text)) => String::from_utf8(text.to_vec()).unwrap(),
        other => format!("{other:?}"),
    })
    .collect()
}
