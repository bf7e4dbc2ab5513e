//! postgres

mod cluster;
mod connect;
mod conninfo;
pub mod errors;
mod tls;

pub use cluster::{Cluster, ClusterConfig, FindOptions, Installation, StopMode, VERSION_MAJOR_MIN, Version};
pub use connect::{connect_sql, pool};
pub use conninfo::{ConnectionInfo, Secret, SslMode};
