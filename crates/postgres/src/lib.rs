//! postgres

mod cluster;

pub use cluster::{Cluster, ClusterConfig, FindOptions, Installation, StopMode, VERSION_MAJOR_MIN, Version};
