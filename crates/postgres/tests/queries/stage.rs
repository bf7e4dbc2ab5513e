//! What every test of capture by queries needs: a database with a table, a source over it, and the log's folded state.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use antiphon_model::{Cell, Change, EntityType, OldRow, Polling, Transaction, Tuple};
use antiphon_postgres::{ConnectionInfo, QueryConfig, QuerySource};
use antiphon_testkit::{Pg, TestDb};
use tokio_postgres::Client;

use crate::reader;
pub use crate::{
    reader::{Reader, until, within},
    telling::{cells, told},
};

/// What `notes` has besides: `at` is set by whoever writes, so that tests decide.
const POLLED: &str = "alter table notes add at timestamptz default now(), add gone timestamptz;
    create index on notes (at, id);";

/// A database with the table `notes`.
pub struct Stage {
    pub db: TestDb,
    pub client: Client,
}

impl Stage {
    pub async fn set(pg: &Pg, hint: &str) -> Stage {
        let db = pg.database(hint).await;
        let client = db.connect().await;
        client.batch_execute(&format!("{}; {POLLED}", reader::NOTES)).await.unwrap();
        Stage { db, client }
    }

    pub fn info(&self) -> ConnectionInfo {
        ConnectionInfo::parse(&self.db.url()).unwrap()
    }

    pub fn config(&self) -> QueryConfig {
        let mut config = QueryConfig::new(self.info(), vec![notes()]);
        config.poll_interval = Duration::from_millis(40);
        config.watch_interval = Duration::from_millis(100);
        config
    }

    pub fn source(&self) -> QuerySource {
        QuerySource::new(self.config()).unwrap()
    }

    pub async fn run(&self, sql: &str) {
        self.client.batch_execute(sql).await.unwrap();
    }

    /// Returns the rows of `notes` as `told` prints them, by key.
    pub async fn rows(&self) -> BTreeMap<String, String> {
        let sql = "select id::text, concat_ws(',', id::text, org, coalesce(body, '-'), coalesce(at::text, '-'),
            coalesce(gone::text, '-')) from notes";
        self.client.batch_execute("set timezone = 'UTC'").await.unwrap();
        self.client.query(sql, &[]).await.unwrap().iter().map(|row| (row.get(0), row.get(1))).collect()
    }
}

pub fn entity(name: &str, table: &str, cursor: &str, soft_delete: Option<&str>) -> Arc<EntityType> {
    polled(&reader::entity(name, table), cursor, soft_delete)
}

pub fn notes() -> Arc<EntityType> {
    polled(&reader::notes(), "at", None)
}

fn polled(entity: &EntityType, cursor: &str, soft_delete: Option<&str>) -> Arc<EntityType> {
    let polling = Polling { cursor: Some(cursor.into()), soft_delete: soft_delete.map(str::to_owned) };
    Arc::new(EntityType { polling, ..entity.clone() })
}

/// What was told, without the columns `at` and `gone`: `insert 1,acme,a`.
pub fn brief(transactions: &[Transaction]) -> Vec<String> {
    let cut = |line: String| {
        let sides: Vec<String> =
            line.split(" -> ").map(|side| side.split(',').take(3).collect::<Vec<_>>().join(",")).collect();
        sides.join(" -> ")
    };
    told(transactions).into_iter().map(cut).collect()
}

/// The rows that a reader of the log has.
#[derive(Debug, Default)]
pub struct Folded {
    pub rows: BTreeMap<String, String>,
    /// What was told of each row, in order: to tell a create from an update.
    pub creates: usize,
    pub updates: usize,
    pub deletes: usize,
}

impl Folded {
    /// Begins with rows that a copy told.
    pub fn of(rows: BTreeMap<String, String>) -> Folded {
        Folded { rows, ..Folded::default() }
    }

    /// Applies changes as a reader does; nothing is told that the reader knows already.
    pub fn apply(&mut self, transactions: &[Transaction]) {
        for change in transactions.iter().flat_map(|transaction| &transaction.changes) {
            match change {
                Change::Insert(row) => {
                    let new = row.new.as_ref().expect("a row");
                    let before = self.rows.insert(key(new), cells(new));
                    assert_eq!(before, None, "a row that was told is no create");
                    self.creates += 1;
                }
                Change::Update(row) => {
                    let new = row.new.as_ref().expect("a row");
                    let before = self.rows.insert(key(new), cells(new));
                    assert!(before.as_ref().is_some_and(|before| *before != cells(new)), "{before:?} {}", cells(new));
                    self.updates += 1;
                }
                Change::Delete(row) => {
                    let OldRow::Identity(old) = &row.old else { panic!("an identity") };
                    assert!(self.rows.remove(&key(old)).is_some(), "what is deleted was told");
                    self.deletes += 1;
                }
                other => panic!("{other:?}"),
            }
        }
    }
}

fn key(tuple: &Tuple) -> String {
    match tuple.cells().next() {
        Some(Cell::Text(id)) => String::from_utf8_lossy(id).into_owned(),
        other => panic!("{other:?}"),
    }
}
