//! The source database: capture by its log, slots, snapshots, catalogue, rows, and private clusters.
//!
//! Adapters of the engine's ports over one Postgres of 15 or newer, and what an operator does to it by command line.
//! Laws: a database that needs a person gets a named reason and is never healed in silence; SQLSTATE becomes a fault in
//! one place; every session pins the settings that change how values are printed. The room knows neither our own tables
//! nor HTTP.

mod catalogue;
mod cluster;
mod connect;
mod conninfo;
mod delivery;
pub mod doctor;
pub mod entities;
pub mod errors;
mod events;
pub mod failover;
pub mod health;
mod log_capture;
mod method;
mod mutate;
mod objects;
pub mod publication;
mod query_capture;
mod quote;
mod replication;
mod rows;
pub mod slots;
pub mod snapshot;
mod spool;
pub mod stamp;
mod tenancy;
mod tls;
mod trigger_capture;

pub use catalogue::{
    ColumnInfo, ForeignKey, Identity, IndexInfo, Leaf, LiveCatalogue, TableInfo, TableKind, describe, find_table,
    resolve_types,
};
pub use cluster::{Cluster, ClusterConfig, FindOptions, Installation, StopMode, VERSION_MAJOR_MIN, Version};
pub use connect::{connect_listening, connect_sql, pool};
pub use conninfo::{ConnectionInfo, Secret, SslMode};
pub use log_capture::{LogSource, SourceConfig};
pub use method::CaptureMethod;
pub use mutate::{LiveWrites, SessionValue, WriteConfig};
pub use objects::{ensure_objects, maintain_objects};
pub use query_capture::{QueryConfig, QuerySource, ask_reconcile};
pub use quote::{NAME_BYTES_MAX, ident, literal, qualified};
pub use rows::LiveRows;
pub use trigger_capture::{TriggerConfig, TriggerSource, plan_uninstall};
