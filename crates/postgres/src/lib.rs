//! postgres

mod catalogue;
mod cluster;
mod connect;
mod conninfo;
pub mod doctor;
pub mod entities;
pub mod errors;
mod log_capture;
mod spool;
mod events;
pub mod publication;
pub mod slots;
mod quote;
mod rows;
pub mod snapshot;
mod replication;
mod tls;

pub use catalogue::{
    ColumnInfo, ForeignKey, Identity, IndexInfo, Leaf, LiveCatalogue, TableInfo, TableKind, describe, find_table,
    resolve_types,
};
pub use cluster::{Cluster, ClusterConfig, FindOptions, Installation, StopMode, VERSION_MAJOR_MIN, Version};
pub use connect::{connect_sql, pool};
pub use conninfo::{ConnectionInfo, Secret, SslMode};
pub use log_capture::{LogSource, SourceConfig};
pub use quote::{NAME_BYTES_MAX, ident, literal, qualified};
pub use rows::LiveRows;
