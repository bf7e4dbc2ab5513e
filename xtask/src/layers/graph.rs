//! The resolved dependency graph, as `cargo metadata` tells it.
//!
//! Only what the rules ask for is kept: who is ours, who depends on whom, and whether only tests do.
//! Build dependencies run on the developer's machine and are left out.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    path::Path,
    process::Command,
};

use anyhow::{Context, Result, ensure};
use serde::Deserialize;

/// A package of the graph.
#[derive(Default)]
pub(super) struct Package {
    /// Its name.
    pub(super) name: String,
    /// Its manifest, relative to the root; `None` where it is not ours.
    pub(super) manifest: Option<String>,
    /// Indices of what it depends on.
    pub(super) normal: Vec<usize>,
    /// Indices of what its tests and benches depend on.
    pub(super) dev: Vec<usize>,
}

/// The graph.
#[derive(Default)]
pub(super) struct Graph {
    pub(super) packages: Vec<Package>,
}

impl Graph {
    /// Asks cargo.
    pub(super) fn load(root: &Path) -> Result<Graph> {
        let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        let output = Command::new(cargo)
            .args(["metadata", "--format-version", "1"])
            .current_dir(root)
            .output()
            .context("cargo metadata could not be run")?;
        ensure!(output.status.success(), "cargo metadata: {}", String::from_utf8_lossy(&output.stderr).trim());
        let metadata: Metadata = serde_json::from_slice(&output.stdout).context("cargo metadata has another shape")?;
        metadata.into_graph(root)
    }

    /// Finds one of our crates by its full name.
    pub(super) fn ours(&self, name: &str) -> Option<&Package> {
        self.packages.iter().find(|package| package.manifest.is_some() && package.name == name)
    }

    /// Returns the shortest way from a package to one of this name through normal dependencies.
    pub(super) fn way(&self, from: &Package, to: &str) -> Option<Vec<&str>> {
        let mut seen = BTreeSet::new();
        let mut open: VecDeque<Vec<usize>> = from.normal.iter().map(|&index| vec![index]).collect();
        while let Some(way) = open.pop_front() {
            let &last = way.last()?;
            if self.packages[last].name == to {
                return Some(way.into_iter().map(|index| self.packages[index].name.as_str()).collect());
            }
            if !seen.insert(last) {
                continue;
            }
            for &next in &self.packages[last].normal {
                let mut longer = way.clone();
                longer.push(next);
                open.push_back(longer);
            }
        }
        None
    }
}

#[derive(Deserialize)]
struct Metadata {
    packages: Vec<MetadataPackage>,
    workspace_members: BTreeSet<String>,
    resolve: Resolve,
}

#[derive(Deserialize)]
struct MetadataPackage {
    id: String,
    name: String,
    manifest_path: String,
}

#[derive(Deserialize)]
struct Resolve {
    nodes: Vec<Node>,
}

#[derive(Deserialize)]
struct Node {
    id: String,
    deps: Vec<Dependency>,
}

#[derive(Deserialize)]
struct Dependency {
    pkg: String,
    dep_kinds: Vec<DependencyKind>,
}

#[derive(Deserialize)]
struct DependencyKind {
    kind: Option<String>,
}

impl Metadata {
    fn into_graph(self, root: &Path) -> Result<Graph> {
        let index: BTreeMap<&str, usize> =
            self.packages.iter().enumerate().map(|(at, package)| (package.id.as_str(), at)).collect();
        let mut packages: Vec<Package> = Vec::with_capacity(self.packages.len());
        for package in &self.packages {
            let ours = self.workspace_members.contains(&package.id);
            let manifest = Path::new(&package.manifest_path);
            let manifest = ours.then(|| manifest.strip_prefix(root).unwrap_or(manifest).display().to_string());
            packages.push(Package { name: package.name.clone(), manifest, ..Package::default() });
        }
        for node in &self.resolve.nodes {
            let at = *index.get(node.id.as_str()).context("cargo metadata names a package twice")?;
            for dependency in &node.deps {
                let to = *index.get(dependency.pkg.as_str()).context("cargo metadata misses a package")?;
                let of = |wanted: Option<&str>| dependency.dep_kinds.iter().any(|kind| kind.kind.as_deref() == wanted);
                if of(None) {
                    packages[at].normal.push(to);
                }
                if of(Some("dev")) {
                    packages[at].dev.push(to);
                }
            }
        }
        Ok(Graph { packages })
    }
}
