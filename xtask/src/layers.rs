//! `cargo xtask layers`: every edge between crates, held against `layers.toml`.
//!
//! Floors are what makes a change in one room harmless in another, so an edge that the file does not name is refused
//! with the room's own law. Direct edges between our crates and what a room must never see (through any path of the
//! resolved graph) are checked; development dependencies are checked apart. What cargo resolves is the truth.

mod graph;
mod rules;

use anyhow::Result;

use crate::{finding::Finding, project::Project};

/// Checks the workspace.
///
/// # Errors
/// Fails where cargo or the file cannot be read.
pub fn check(project: &Project) -> Result<Vec<Finding>> {
    let rules: rules::Rules = project.read_toml("layers.toml")?;
    let graph = graph::Graph::load(project.root())?;
    Ok(rules.check(&graph))
}
