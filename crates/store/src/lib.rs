//! Our own tables in our own database: activity log, checkpoints and lease, organisations, users, tokens, tickets.
//!
//! Connections come in from outside, so that the room knows neither TLS nor URLs. Reading goes through a pool;
//! appending, flushing and the lease have connections of their own, because each must outlive the others' failures.
//! The room knows nothing of the source database.

mod activity_log;
mod cache;
mod captured;
mod changes;
mod copies;
mod directory;
mod epoch;
mod errors;
mod installation;
mod lease;
mod maintenance;
mod migrate;
mod notices;
mod partitions;
mod schemas;
mod tickets;
mod tokens;

use std::sync::Arc;

use antiphon_engine::{Fault, ports::Heard};
use async_trait::async_trait;
use deadpool_postgres::{Object, Pool};
use tokio_postgres::Client;

pub use directory::{Organisation, User};
pub use maintenance::{Done, Retention};
pub use migrate::{Migration, migrate, pending};
pub use notices::PgNotices;
pub use tokens::{NewToken, TokenInfo};

/// Makes connections to our database; whoever implements it also drives them.
#[async_trait]
pub trait Connect: Send + Sync {
    /// Opens a connection.
    async fn connect(&self) -> Result<Client, Fault>;

    /// Opens a connection whose notifications go to `heard`, which is dropped when the connection ends.
    async fn connect_listening(&self, heard: Heard) -> Result<Client, Fault>;
}

/// Our tables; cheap to clone.
#[derive(Clone)]
pub struct Store {
    pool: Pool,
    connect: Arc<dyn Connect>,
    partition_ids: u64,
    cache: Arc<directory::Caches>,
    changes: Arc<changes::Changes>,
}

/// How many ids a partition spans.
const PARTITION_IDS: u64 = 1_000_000;

impl Store {
    /// Makes a store over a pool for reading and a way to open connections for writing.
    pub fn new(pool: Pool, connect: Arc<dyn Connect>) -> Store {
        Store { pool, connect, partition_ids: PARTITION_IDS, cache: Arc::default(), changes: Arc::default() }
    }

    /// The same store with partitions of another size; a log must always be opened with the same one.
    #[must_use]
    pub fn with_partition_ids(mut self, partition_ids: u64) -> Store {
        self.partition_ids = partition_ids.max(1);
        self
    }

    async fn client(&self) -> Result<Object, Fault> {
        self.pool.get().await.map_err(errors::pool)
    }
}
