//! Our own database for operators: bringing its tables to this version, and reading the log.
//!
//! Only what is durable is read, by the same port as the server reads. Tables of another version are refused before
//! anything is read from them, and faults name our database, so that nobody searches in the captured one.

use std::{error::Error, sync::Arc};

use antiphon_engine::{
    Fault,
    ports::{ActivityLog, Head, Heard, Scope},
};
use antiphon_model::{Activity, ActivityId, Code};
use antiphon_postgres::{
    ConnectionInfo, connect_listening, connect_sql,
    errors::{self, ServerError},
    ident, pool,
};
use antiphon_store::{Connect, Store};
use async_trait::async_trait;
use tokio_postgres::Client;

use super::{APPLICATION, Admin};

const POOL_SIZE: usize = 2;
const MAINTENANCE_DATABASE: &str = "postgres";

/// Opens connections to our database.
pub(crate) struct LogConnections(pub(crate) ConnectionInfo);

#[async_trait]
impl Connect for LogConnections {
    async fn connect(&self) -> Result<Client, Fault> {
        connect_log(&self.0).await
    }

    async fn connect_listening(&self, heard: Heard) -> Result<Client, Fault> {
        connect_listening(&self.0, APPLICATION, heard).await
    }
}

/// Reads the activity log.
pub struct LogReader(Store);

impl LogReader {
    /// Returns the log's marks.
    pub async fn head(&self) -> Result<Head, Fault> {
        self.0.head().await
    }

    /// Returns the activities with `after < id <= up_to`, at most `limit`, marks included.
    pub async fn read(
        &self,
        scope: &Scope,
        after: ActivityId,
        up_to: ActivityId,
        limit: usize,
    ) -> Result<Vec<Activity>, Fault> {
        self.0.read(scope, after, up_to, limit).await
    }
}

impl Admin {
    /// Brings our tables to this version, making our database first where it is missing; with `dry_run` only says
    /// what would be done.
    pub async fn migrate(&self, dry_run: bool) -> Result<Vec<String>, Fault> {
        let mut client = match connect_log(&self.log).await {
            Ok(client) => client,
            Err(fault) if missing(&fault) && dry_run => {
                return Ok(vec![format!("create database {} and all our tables", self.log.database())]);
            }
            Err(fault) if missing(&fault) => {
                create_database(&self.log).await?;
                connect_log(&self.log).await?
            }
            Err(fault) => return Err(fault),
        };
        let done = if dry_run {
            antiphon_store::pending(&mut client).await?
        } else {
            antiphon_store::migrate(&mut client).await?
        };
        Ok(done.into_iter().map(named).collect())
    }

    /// Opens the activity log for reading.
    pub async fn log(&self) -> Result<LogReader, Fault> {
        Ok(LogReader(self.store().await?))
    }

    /// Opens our tables, which must be of this version.
    pub(super) async fn store(&self) -> Result<Store, Fault> {
        let mut client = connect_log(&self.log).await.map_err(|fault| match missing(&fault) {
            true => Fault::new(Code::LogOlder, "our database does not exist yet").with_source(fault),
            false => fault,
        })?;
        if let [first, ..] = antiphon_store::pending(&mut client).await?.as_slice() {
            return Err(Fault::new(Code::LogOlder, format!("missing from {} on", named(first.clone()))));
        }
        let pool = pool(&self.log, APPLICATION, POOL_SIZE)?;
        Ok(Store::new(pool, Arc::new(LogConnections(self.log.clone()))))
    }
}

fn named(migration: antiphon_store::Migration) -> String {
    format!("V{} {}", migration.version, migration.name)
}

/// Connects to our database; a fault tells that it is ours.
async fn connect_log(info: &ConnectionInfo) -> Result<Client, Fault> {
    connect_sql(info, APPLICATION).await.map_err(|fault| match fault.code() {
        Code::SourceUnreachable => Fault::new(Code::LogUnreachable, fault.detail().to_owned()).with_source(fault),
        _ => fault,
    })
}

/// Tells whether a connection failed because there is no such database.
fn missing(fault: &Fault) -> bool {
    let mut cause = fault.source();
    while let Some(error) = cause {
        if let Some(reported) = error.downcast_ref::<ServerError>() {
            return reported.sqlstate == "3D000";
        }
        cause = error.source();
    }
    false
}

/// Makes our database, by way of the database that every cluster has.
pub(crate) async fn create_database(log: &ConnectionInfo) -> Result<(), Fault> {
    let client = connect_sql(&log.with_database(MAINTENANCE_DATABASE), APPLICATION).await?;
    let sql = format!("create database {} template template0 encoding 'UTF8'", ident(log.database())?);
    match client.batch_execute(&sql).await {
        Ok(()) => Ok(()),
        // Another one made it at the same time.
        Err(error) if error.code().is_some_and(|code| ["42P04", "23505"].contains(&code.code())) => Ok(()),
        Err(error) => Err(errors::sql(error)),
    }
}
