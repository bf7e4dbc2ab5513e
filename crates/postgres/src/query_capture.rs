//! Capture by queries, for databases that can neither be decoded nor be given triggers (CAP-40, CAP-41).
//!
//! `table` says how rows are read and compared, `window` from where, `page` reads and records what differs, `door` tells
//! edits in their order, `reconcile` finds what polling cannot see, `driver` does one after the other. What is recorded
//! has its place in the order that capture by triggers keeps, and goes the same way from there (ADR 34). It tells states,
//! not history: what was changed twice between two looks is told once (PL-02), and what was deleted is not seen but by
//! the door, a column that marks it, or a reconciliation (PL-01).

mod check;
mod door;
mod driver;
mod events;
mod look;
mod objects;
mod page;
mod reconcile;
mod table;
mod window;

use std::{sync::Arc, time::Duration};

use antiphon_engine::{
    Fault, SealKey,
    ports::{Capture, SnapshotTable, Source, Waits},
};
use antiphon_model::{Checkpoint, EntityType, RelationName, Visibility};
use async_trait::async_trait;
use deadpool_postgres::Pool;

pub(crate) use self::{
    look::{check_sight, reconciled},
    objects::REMOVE,
    table::noted,
};
use crate::{
    catalogue::TableInfo,
    connect,
    conninfo::ConnectionInfo,
    snapshot::{self, Mark},
};

/// Each table is polled this often.
const POLL_INTERVAL: Duration = Duration::from_secs(1);
/// Rows that cannot be polled are counted this often, and what was consumed is dropped.
const WATCH_INTERVAL: Duration = Duration::from_secs(10);
/// Lists ask for the snapshot often and briefly.
const POOL_SIZE_MAX: usize = 2;

/// What to capture by queries, and from where.
#[derive(Clone, Debug)]
pub struct QueryConfig {
    /// The database.
    pub info: ConnectionInfo,
    /// The declared types, each with its cursor.
    pub entities: Vec<Arc<EntityType>>,
    /// How often each table is polled; a tenth of it while something is found.
    pub poll_interval: Duration,
    /// How often tables are reconciled; `None`: where somebody asks.
    pub reconcile_interval: Option<Duration>,
    /// How often rows are counted that cannot be polled.
    pub watch_interval: Duration,
    /// What messages of edits are sealed with; without it nobody's are told.
    pub seal_key: Option<SealKey>,
}

impl QueryConfig {
    /// Makes a configuration with the usual intervals.
    pub fn new(info: ConnectionInfo, entities: Vec<Arc<EntityType>>) -> QueryConfig {
        QueryConfig {
            info,
            entities,
            poll_interval: POLL_INTERVAL,
            reconcile_interval: None,
            watch_interval: WATCH_INTERVAL,
            seal_key: None,
        }
    }
}

/// A database captured by queries.
#[derive(Debug)]
pub struct QuerySource {
    config: Arc<QueryConfig>,
    pool: Pool,
    /// Who wrote to tables before their copies began.
    earlier: snapshot::Earlier,
}

impl QuerySource {
    /// Makes the source; nothing is connected before the first use.
    ///
    /// # Errors
    /// Fails with `TLS_FAILED` where certificates cannot be read.
    pub fn new(config: QueryConfig) -> Result<QuerySource, Fault> {
        let pool = connect::pool(&config.info, "antiphon visibility", POOL_SIZE_MAX)?;
        Ok(QuerySource { config: Arc::new(config), pool, earlier: snapshot::Earlier::default() })
    }
}

/// Checks the columns by which a declared table is to be polled.
///
/// # Errors
/// Fails with `CONFIG_INVALID` or `TABLE_UNFIT` where one cannot serve, with why.
pub(crate) fn check(table: &TableInfo, entity: &EntityType) -> Result<(), Fault> {
    table::check(table, entity).map(drop)
}

/// Has tables reconciled, those named or all that are polled; returns how many.
///
/// # Errors
/// Fails where the database does not answer, and with `TABLE_UNFIT` where nothing was polled yet.
pub async fn ask_reconcile(info: &ConnectionInfo, tables: &[RelationName]) -> Result<u64, Fault> {
    let client = connect::connect_sql(info, "antiphon reconcile").await?;
    look::ask(&client, tables).await
}

#[async_trait]
impl Source for QuerySource {
    async fn connect(&self, checkpoint: &Checkpoint, waits: &Waits<'_>) -> Result<Box<dyn Capture>, Fault> {
        let prepared = check::prepare(&self.config, checkpoint, waits).await?;
        self.earlier.clear();
        let reader = connect::connect_sql(&self.config.info, "antiphon capture reader").await?;
        Ok(Box::new(driver::start(Arc::clone(&self.config), reader, prepared)))
    }

    async fn visibility(&self) -> Result<Visibility, Fault> {
        snapshot::visibility(&self.pool).await
    }

    async fn snapshot_table(&self, entity_type: &str) -> Result<Box<dyn SnapshotTable>, Fault> {
        let entity = snapshot::declared(&self.config.entities, entity_type)?;
        snapshot::open(&self.config.info, entity, Mark::Placed, self.earlier.clone()).await
    }
}
