//! Capture by triggers, for databases whose log cannot be decoded (CAP-30 to CAP-32).
//!
//! `function` is what runs in the writer's transaction, `install`, `objects` and `remove` put it there and take it out,
//! `check` proves the database, `reader` gives transactions their order, `driver` polls and hands on, `watch` looks after
//! the rest; `image` and `horizon` decide without asking anybody. The same envelope, copier, fence and append follow as
//! with the log: a transaction's place in the order stands for its position (ADR 0031).

pub(crate) mod check;
pub(crate) mod driver;
pub(crate) mod function;
mod horizon;
mod image;
pub(crate) mod install;
pub(crate) mod objects;
pub(crate) mod reader;
mod remove;
mod watch;

use std::{sync::Arc, time::Duration};

use antiphon_engine::{
    Fault,
    ports::{Capture, SnapshotTable, Source, Waits},
};
use antiphon_model::{Checkpoint, EntityType, Visibility};
use async_trait::async_trait;
use deadpool_postgres::Pool;

pub use self::remove::plan_uninstall;
pub(crate) use self::{
    image::RecordedColumn,
    install::{METHOD, ROW},
    remove::leave,
};
use crate::{
    connect,
    conninfo::ConnectionInfo,
    snapshot::{self, Mark},
};

/// An idle source is looked at this often.
const POLL_INTERVAL: Duration = Duration::from_millis(250);
/// Triggers and partitions are looked at this often: they change by people's hands.
const WATCH_INTERVAL: Duration = Duration::from_secs(10);
/// Lists ask for the snapshot often and briefly.
const POOL_SIZE_MAX: usize = 2;

/// What to capture by triggers, and from where.
#[derive(Clone, Debug)]
pub struct TriggerConfig {
    /// The database.
    pub info: ConnectionInfo,
    /// The declared types.
    pub entities: Vec<Arc<EntityType>>,
    /// How often an idle source is looked at.
    pub poll_interval: Duration,
    /// How often triggers and partitions are looked at.
    pub watch_interval: Duration,
}

impl TriggerConfig {
    /// Makes a configuration with the usual intervals.
    pub fn new(info: ConnectionInfo, entities: Vec<Arc<EntityType>>) -> TriggerConfig {
        TriggerConfig { info, entities, poll_interval: POLL_INTERVAL, watch_interval: WATCH_INTERVAL }
    }
}

/// A database captured by triggers.
#[derive(Debug)]
pub struct TriggerSource {
    config: Arc<TriggerConfig>,
    pool: Pool,
    /// Who wrote to tables before their copies began.
    earlier: snapshot::Earlier,
}

impl TriggerSource {
    /// Makes the source; nothing is connected before the first use.
    ///
    /// # Errors
    /// Fails with `TLS_FAILED` where certificates cannot be read.
    pub fn new(config: TriggerConfig) -> Result<TriggerSource, Fault> {
        let pool = connect::pool(&config.info, "antiphon visibility", POOL_SIZE_MAX)?;
        Ok(TriggerSource { config: Arc::new(config), pool, earlier: snapshot::Earlier::default() })
    }
}

#[async_trait]
impl Source for TriggerSource {
    async fn connect(&self, checkpoint: &Checkpoint, waits: &Waits<'_>) -> Result<Box<dyn Capture>, Fault> {
        let prepared = check::prepare(&self.config, checkpoint, waits).await?;
        self.earlier.clear();
        Ok(Box::new(driver::start(Arc::clone(&self.config), prepared)))
    }

    async fn visibility(&self) -> Result<Visibility, Fault> {
        snapshot::visibility(&self.pool).await
    }

    async fn snapshot_table(&self, entity_type: &str) -> Result<Box<dyn SnapshotTable>, Fault> {
        let entity = snapshot::declared(&self.config.entities, entity_type)?;
        snapshot::open(&self.config.info, entity, Mark::AuditRow, self.earlier.clone()).await
    }
}
