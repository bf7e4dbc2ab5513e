//! What operators do, as functions: the façade that the command line uses, so that it knows no adapter.
//!
//! Every call opens what it needs and closes it: an operator's command has no state of its own. Documents that are
//! shown as JSON are defined here, in camel case, and change only by addition.

mod entities;
mod log;
mod mirrors;
mod people;
mod plan;
mod resync;
mod serving;
mod slots;
mod source;

use std::{path::PathBuf, time::Duration};

use antiphon_model::EntityType;
use antiphon_postgres::ConnectionInfo;

pub(crate) use crate::compose::SOURCE;
pub use crate::{Service, auth::AuthConfig};
pub use antiphon_engine::{
    Fault,
    ports::{Head, Scope, Shape, SnapshotProgress},
};
pub use antiphon_postgres::CaptureMethod;

pub(crate) use self::log::create_database;
pub(crate) use self::serving::serve_with_page;
pub use self::{
    entities::{EntityStatus, Identity, Plan, Progress, Proposal, Step},
    log::LogReader,
    people::{Org, People, Place, TokenInfo, User},
    plan::PlannedType,
    resync::{ResyncPlan, ResyncTable},
    serving::{ServeOptions, serve},
    slots::Slot,
    source::{Finding, Outcome},
};

/// The name of our own database where nobody gives another.
pub(crate) const LOG_DATABASE: &str = "antiphon";
/// How our connections of operators' commands name themselves.
pub(crate) const APPLICATION: &str = "antiphon admin";

/// What operators' commands need to know.
#[derive(Clone)]
pub struct AdminConfig {
    /// The database to capture.
    pub database_url: String,
    /// Our own database; `None`: the database `antiphon` of the same cluster.
    pub log_url: Option<String>,
    /// Where the standbys are, beyond the hosts of `database_url`.
    pub standby_url: Option<String>,
    /// The slot's name.
    pub slot: String,
    /// The publication's name.
    pub publication: String,
    /// The declared types; an empty key stands for the primary key.
    pub entities: Vec<EntityType>,
    /// Where large transactions wait.
    pub spool_dir: PathBuf,
    /// How many bytes the spool may hold.
    pub spool_bytes_max: u64,
    /// How the database is captured.
    pub method: CaptureMethod,
    /// How often it is looked at where its log is not decoded; `None`: as often as usual.
    pub poll_interval: Option<Duration>,
    /// How often polled tables are reconciled; `None`: where somebody asks.
    pub reconcile_interval: Option<Duration>,
}

/// Performs operators' commands.
pub struct Admin {
    config: AdminConfig,
    source: ConnectionInfo,
    log: ConnectionInfo,
    standby: Option<ConnectionInfo>,
}

impl Admin {
    /// Reads the connection URLs; nothing is connected yet.
    pub fn new(config: AdminConfig) -> Result<Admin, Fault> {
        let source = ConnectionInfo::parse(&config.database_url)?;
        let log = match &config.log_url {
            Some(url) => ConnectionInfo::parse(url)?,
            None => source.with_database(LOG_DATABASE),
        };
        let standby = config.standby_url.as_deref().map(ConnectionInfo::parse).transpose()?;
        Ok(Admin { config, source, log, standby })
    }
}

/// Returns the OpenAPI document of the API.
pub fn openapi() -> String {
    crate::openapi_document()
}
