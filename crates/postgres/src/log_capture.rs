//! Capture by logical decoding: connects to the slot, proves that it is the right one, and streams (CAP-10 to CAP-17).
//!
//! `check` prepares and proves, `driver` owns socket, session, assembler and spool in a task of its own, `watch` looks at
//! what the stream itself does not tell; what comes of it goes to the caller by `delivery`, as with every method.
//! Laws: nothing is created where there was a checkpoint before; nothing is acknowledged but what the caller says is
//! durable; while the caller is busy the socket is not read, and keepalives are answered all the same (PG-35).

mod check;
mod driver;
mod pace;
mod proof;
mod spooler;
mod timeline;
mod visible;
mod watch;

use std::{
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use antiphon_engine::{
    Fault,
    ports::{Capture, SnapshotTable, Source, Waits},
};
use antiphon_model::{Checkpoint, Code, EntityType, RelationName, Visibility};
use async_trait::async_trait;
use deadpool_postgres::Pool;

use crate::{
    connect,
    conninfo::ConnectionInfo,
    errors,
    events::{Reconnected, TablesNotPublished},
    publication, slots,
    snapshot::{self, Mark},
};

/// The walsender's own memory for a transaction in progress; a larger one is streamed while it runs, so that a million
/// rows begin to arrive before their commit and the server spills nothing to its disk. 4 MB are some 20,000 small rows.
const DECODING_WORK_MEMORY: &str = "4MB";
/// What the spool may hold on disk unless configured.
const SPOOL_BYTES_MAX: u64 = 8 << 30;
/// An ordinary transaction is kept in memory up to this size.
const TRANSACTION_BYTES_MAX: usize = 8 << 20;
/// Slot and publication are looked at this often: they change by people's hands.
const WATCH_INTERVAL: Duration = Duration::from_secs(10);
/// Lists ask for the snapshot often and briefly.
const POOL_SIZE_MAX: usize = 2;

/// What to capture, and from where.
#[derive(Clone, Debug)]
pub struct SourceConfig {
    /// The database.
    pub info: ConnectionInfo,
    /// Where its standbys are, beyond the hosts of `info`.
    pub standby: Option<ConnectionInfo>,
    /// The replication slot.
    pub slot: String,
    /// The publication.
    pub publication: String,
    /// The declared types.
    pub entities: Vec<Arc<EntityType>>,
    /// Where large transactions wait for their commit.
    pub spool_dir: PathBuf,
    /// How much they may take there.
    pub spool_bytes_max: u64,
    /// How much memory an ordinary transaction may take.
    pub transaction_bytes_max: usize,
    /// The walsender's memory for a transaction in progress, as a setting of Postgres.
    pub decoding_work_memory: String,
    /// How often slot and publication are looked at.
    pub watch_interval: Duration,
}

impl SourceConfig {
    /// Makes a configuration with the usual limits.
    pub fn new(
        info: ConnectionInfo,
        slot: impl Into<String>,
        publication: impl Into<String>,
        entities: Vec<Arc<EntityType>>,
        spool_dir: impl Into<PathBuf>,
    ) -> SourceConfig {
        SourceConfig {
            info,
            standby: None,
            slot: slot.into(),
            publication: publication.into(),
            entities,
            spool_dir: spool_dir.into(),
            spool_bytes_max: SPOOL_BYTES_MAX,
            transaction_bytes_max: TRANSACTION_BYTES_MAX,
            decoding_work_memory: DECODING_WORK_MEMORY.to_owned(),
            watch_interval: WATCH_INTERVAL,
        }
    }

    fn tables(&self) -> Vec<RelationName> {
        self.entities.iter().map(|entity| entity.table.clone()).collect()
    }
}

/// A database captured by logical decoding.
#[derive(Debug)]
pub struct LogSource {
    config: Arc<SourceConfig>,
    pool: Pool,
    connected_before: AtomicBool,
    /// The run of the server that was last seen to hold our history.
    proven: proof::Proven,
    /// Who wrote to tables before their copies began.
    earlier: snapshot::Earlier,
}

impl LogSource {
    /// Makes the source; nothing is connected before the first use.
    ///
    /// # Errors
    /// Fails with `CONFIG_INVALID` for names that cannot be, and with `TLS_FAILED` where certificates cannot be read.
    pub fn new(config: SourceConfig) -> Result<LogSource, Fault> {
        slots::check_name("slot", &config.slot)?;
        slots::check_name("publication", &config.publication)?;
        let pool = connect::pool(&config.info, "antiphon visibility", POOL_SIZE_MAX)?;
        let (config, connected_before) = (Arc::new(config), AtomicBool::new(false));
        let (proven, earlier) = (proof::Proven::default(), snapshot::Earlier::default());
        Ok(LogSource { config, pool, connected_before, proven, earlier })
    }

    /// Tells of declared tables that the publication never carried; the others stream all the same.
    fn tell_missing(&self, baseline: &publication::Baseline) {
        let mut missing = self.config.tables();
        missing.retain(|table| !baseline.carries(table));
        TablesNotPublished { publication: &self.config.publication, tables: &missing }.emit();
    }

    /// Fails with `PUBLICATION_CHANGED` where the stream does not bring a table's changes: a copy made now would be
    /// followed by a gap.
    async fn published(&self, table: &RelationName) -> Result<(), Fault> {
        let (client, name) = (self.pool.get().await.map_err(errors::pool)?, &self.config.publication);
        let found = publication::find(&client, name, std::slice::from_ref(table)).await?;
        match found.is_some_and(|publication| publication.tables.contains_key(table)) {
            true => Ok(()),
            false => {
                let detail = format!("the publication {name} does not carry {table}; run `antiphon entities add`");
                Err(Fault::new(Code::PublicationChanged, detail))
            }
        }
    }
}

#[async_trait]
impl Source for LogSource {
    async fn connect(&self, checkpoint: &Checkpoint, waits: &Waits<'_>) -> Result<Box<dyn Capture>, Fault> {
        let prepared = check::prepare(&self.config, checkpoint, &self.proven, waits).await?;
        self.tell_missing(&prepared.baseline);
        self.earlier.clear();
        if self.connected_before.swap(true, Ordering::Relaxed) {
            Reconnected { slot: &self.config.slot }.emit();
        }
        let capture = driver::start(Arc::clone(&self.config), prepared, checkpoint).await?;
        Ok(Box::new(capture))
    }

    async fn visibility(&self) -> Result<Visibility, Fault> {
        snapshot::visibility(&self.pool).await
    }

    async fn snapshot_table(&self, entity_type: &str) -> Result<Box<dyn SnapshotTable>, Fault> {
        let entity = snapshot::declared(&self.config.entities, entity_type)?;
        self.published(&entity.table).await?;
        snapshot::open(&self.config.info, entity, Mark::Message, self.earlier.clone()).await
    }
}

/// A standby's snapshots name no running transactions, and its slot is not ours.
fn in_recovery() -> Fault {
    Fault::new(Code::InRecovery, "")
}
