//! The source under watch: what may go wrong with it before it does, each as a named state with its remedy (CAP-14).
//!
//! `look` reads slot, log, transactions, publication and tables over one connection and changes nothing; `concerns`
//! makes states of what was read, without asking again. The server looks every few seconds, captures or not, so that a
//! pause shows what it costs (PG-01); the doctor looks once.
//! Law: a time until loss is only told from a rate that was measured. Names of tables, slots, databases and roles are
//! shown; statements and hosts are not.

mod concern;
mod look;
mod partitions;
mod rate;

pub use concern::{Concern, ConcernKind, Level};
pub use look::{Holder, HoldsBy, Look, TableLook, Watched};
pub use partitions::{PartitionChange, PartitionEvent};
pub use rate::LogRate;

use antiphon_engine::Fault;
use antiphon_model::{EntityType, RelationName};

use crate::{CaptureMethod, ConnectionInfo, connect};

/// What is looked at.
#[derive(Clone, Debug)]
pub struct HealthConfig {
    /// The database.
    pub info: ConnectionInfo,
    /// Our slot.
    pub slot: String,
    /// Our publication.
    pub publication: String,
    /// How it is captured: without decoding there is no slot and no publication.
    pub method: CaptureMethod,
    /// The declared types.
    pub entities: Vec<EntityType>,
}

impl HealthConfig {
    fn tables(&self) -> Vec<RelationName> {
        self.entities.iter().map(|entity| entity.table.clone()).collect()
    }
}

/// Looks at a source again and again over one connection.
pub struct Health {
    config: HealthConfig,
    client: Option<tokio_postgres::Client>,
    rate: LogRate,
    tables: Vec<TableLook>,
    partitions: partitions::Partitions,
    looks: u32,
}

/// Tables are looked at once in so many looks: each takes a few statements, and people change them seldom.
const LOOKS_PER_TABLES: u32 = 6;

impl Health {
    /// Makes it; nothing is connected before the first look.
    pub fn new(config: HealthConfig) -> Health {
        Health {
            config,
            client: None,
            rate: LogRate::default(),
            tables: Vec::new(),
            partitions: partitions::Partitions::default(),
            looks: 0,
        }
    }

    /// Looks once; a failure begins anew with another connection the next time.
    ///
    /// # Errors
    /// Fails where the source does not answer.
    pub async fn look(&mut self) -> Result<Look, Fault> {
        // Taken out, so that a look that is given up leaves no connection in the middle of an answer behind.
        let client = match self.client.take() {
            Some(client) => client,
            None => connect::connect_sql(&self.config.info, "antiphon source watch").await?,
        };
        if self.looks.is_multiple_of(LOOKS_PER_TABLES) {
            self.tables = look::tables(&client, &self.config).await?;
            self.partitions.look(&client, &self.config.tables()).await?;
        }
        let seen = (self.tables.clone(), self.partitions.changes());
        let look = look::look(&client, &self.config, &mut self.rate, seen).await?;
        self.looks = self.looks.wrapping_add(1);
        self.client = Some(client);
        Ok(look)
    }
}
