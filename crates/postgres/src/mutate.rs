//! Writing rows of the application's tables: one transaction in which an edit is recorded, checked and applied.
//!
//! Laws (house 17): the session's settings are pinned by the transaction itself, whatever the role's or database's say;
//! whatever a caller sends becomes a parameter; a transaction that is dropped is rolled back before its connection is
//! used again. The commit is synchronous and checks deferred constraints first.

mod config;
mod references;
mod refusal;
mod rows;
mod transaction;

use std::sync::Arc;

use antiphon_engine::{
    Fault, SealKey,
    ports::{Author, WriteError, WriteTransaction, Writes},
};
use antiphon_model::{EntityType, Xid};
use async_trait::async_trait;
use deadpool_postgres::Pool;

pub use self::config::{SessionValue, WriteConfig};
use self::{refusal::refused, transaction::Open};
use crate::{CaptureMethod, errors, rows::LiveRows};

/// Begins a transaction whose settings nobody else decides. Its statements follow one another at once: one that is idle
/// for ten seconds has lost its server behind a broken route, and holds rows that others want. The path is the default of a new database: triggers of the
/// application may count on it.
const BEGIN: &str = "begin isolation level read committed read write; set local lock_timeout = '5s';
  set local statement_timeout = '30s'; set local idle_in_transaction_session_timeout = '10s';
  set local search_path = \"$user\", public; set local synchronous_commit = on; set local check_function_bodies = on";
const START: &str = "select pg_catalog.pg_current_xact_id()::pg_catalog.text,
  (extract(epoch from pg_catalog.clock_timestamp()) * 1000)::pg_catalog.int8,
  pg_catalog.set_config('antiphon.actor', $1, true), pg_catalog.set_config('antiphon.org', $2, true),
  pg_catalog.set_config('antiphon.tx', '', true)";

/// Writes to the live database.
pub struct LiveWrites {
    means: Arc<Means>,
}

/// What every transaction needs.
struct Means {
    pool: Pool,
    rows: Arc<LiveRows>,
    key: SealKey,
    /// Every declared type: rows refer to each other.
    declared: Vec<Arc<EntityType>>,
    /// What a transaction says of itself first.
    start: String,
    /// The role that edits are made under.
    role: Option<String>,
    /// Where who writes is said.
    method: CaptureMethod,
}

impl LiveWrites {
    /// Makes a writer over a pool of its own; `rows` knows the tables, `key` seals messages.
    ///
    /// # Errors
    /// Fails with `CONFIG_INVALID` where a name in `config` can be none of Postgres's.
    pub fn new(
        pool: Pool,
        rows: Arc<LiveRows>,
        key: SealKey,
        declared: Vec<Arc<EntityType>>,
        config: WriteConfig,
    ) -> Result<LiveWrites, Fault> {
        let start = format!("{START}{}", config.session_sql()?);
        Ok(LiveWrites {
            means: Arc::new(Means { pool, rows, key, declared, start, role: config.role, method: config.method }),
        })
    }
}

#[async_trait]
impl Writes for LiveWrites {
    async fn begin(&self, author: &Author) -> Result<Box<dyn WriteTransaction>, WriteError> {
        let client = self.means.pool.get().await.map_err(errors::pool)?;
        let mut open = Open::new(client, Arc::clone(&self.means), author.clone());
        let row = {
            let client = open.client();
            let statement = client.prepare_cached(&self.means.start).await.map_err(refused)?;
            // Both are sent before the first answer is awaited, and are carried out in this order.
            let (begun, row) = futures::future::join(
                client.batch_execute(BEGIN),
                client.query_one(&statement, &[&author.subject, &author.org]),
            )
            .await;
            begun.map_err(refused)?;
            row.map_err(refused)?
        };
        let xid: String = row.get(0);
        open.began(Xid::new(xid.parse().unwrap_or_default()), row.get::<_, i64>(1).unsigned_abs());
        Ok(Box::new(open))
    }
}
