//! The shape of `layers.toml` and the judgement itself.
//!
//! Laws: a crate of the workspace that the file does not name is refused; so is a named crate that does not exist;
//! so is every direct edge between our crates that is not listed. `never` looks through the whole graph.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;

use super::graph::{Graph, Package};
use crate::finding::Finding;

const FILE: &str = "layers.toml";

/// The whole file.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Rules {
    /// What stands before a short name; `xtask` has none.
    prefix: String,
    /// Our crates that any crate's tests may import.
    tests_may_import: BTreeSet<String>,
    crates: BTreeMap<String, Room>,
    /// Outside crates that only some rooms may import directly.
    only: BTreeMap<String, Only>,
}

/// One room.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Room {
    /// Ours, by short name; `"*"` for all.
    imports: BTreeSet<String>,
    /// Ours, by short name, in tests.
    #[serde(default)]
    tests_import: BTreeSet<String>,
    /// Outside crates that may not be reached on any path.
    #[serde(default)]
    never: BTreeSet<String>,
    /// The sentence that a breach is answered with.
    law: String,
}

/// An outside crate that belongs to some rooms.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Only {
    by: BTreeSet<String>,
    law: String,
}

impl Rules {
    /// Judges the graph.
    pub(super) fn check(&self, graph: &Graph) -> Vec<Finding> {
        let mut findings = Vec::new();
        for package in graph.packages.iter().filter(|package| package.manifest.is_some()) {
            let short = self.short(&package.name);
            match self.crates.get(short) {
                Some(room) => self.check_room(graph, package, short, room, &mut findings),
                None => findings.push(finding(
                    package,
                    format!("`{short}` is not in {FILE}: a new room needs a row there, and a decision in docs/adr"),
                )),
            }
            self.check_only(graph, package, short, &mut findings);
        }
        for short in self.crates.keys() {
            let exists = [format!("{}{short}", self.prefix), short.clone()].iter().any(|n| graph.ours(n).is_some());
            if !exists {
                let advice = format!("`{short}` is not in the workspace: a room opens when its first feature lands");
                findings.push(Finding::new(FILE, 1, "layers", advice));
            }
        }
        findings
    }

    fn short<'a>(&self, name: &'a str) -> &'a str {
        name.strip_prefix(&self.prefix).unwrap_or(name)
    }

    fn check_room(&self, graph: &Graph, package: &Package, short: &str, room: &Room, findings: &mut Vec<Finding>) {
        let ours = |indices: &[usize]| -> BTreeSet<String> {
            let packages = indices.iter().map(|&index| &graph.packages[index]);
            packages.filter(|to| to.manifest.is_some()).map(|to| self.short(&to.name).to_owned()).collect()
        };
        for to in ours(&package.normal) {
            if !room.imports.contains("*") && !room.imports.contains(&to) {
                findings.push(finding(package, format!("`{short}` imports `{to}`: {}", room.law)));
            }
        }
        for to in ours(&package.dev) {
            let known = [&room.imports, &room.tests_import, &self.tests_may_import];
            if to != short && !known.iter().any(|set| set.contains("*") || set.contains(&to)) {
                findings.push(finding(package, format!("the tests of `{short}` import `{to}`: {}", room.law)));
            }
        }
        for never in &room.never {
            if let Some(way) = graph.way(package, never) {
                let way = way.join(" -> ");
                findings.push(finding(package, format!("`{short}` -> {way}: {}", room.law)));
            }
        }
    }

    fn check_only(&self, graph: &Graph, package: &Package, short: &str, findings: &mut Vec<Finding>) {
        for &index in &package.normal {
            let outside = &graph.packages[index].name;
            if let Some(only) = self.only.get(outside).filter(|only| !only.by.contains(short)) {
                findings.push(finding(package, format!("`{short}` imports `{outside}`: {}", only.law)));
            }
        }
    }
}

fn finding(package: &Package, advice: String) -> Finding {
    Finding::new(package.manifest.as_deref().unwrap_or(FILE), 1, "layers", advice)
}

#[cfg(test)]
mod tests {
    use super::*;

    const RULES: &str = r#"
        prefix = "a-"
        tests_may_import = ["kit"]
        [crates.low]
        imports = []
        never = ["tokio"]
        law = "low stands on nothing"
        [crates.high]
        imports = ["low"]
        law = "high stands on low"
        [crates.kit]
        imports = ["high"]
        law = "kit is for tests"
        [only.clap]
        by = ["high"]
        law = "only high speaks to people"
    "#;

    fn package(name: &str, ours: bool, normal: &[usize], dev: &[usize]) -> Package {
        let manifest = ours.then(|| format!("{name}/Cargo.toml"));
        Package { name: name.to_owned(), manifest, normal: normal.to_vec(), dev: dev.to_vec() }
    }

    fn judge(packages: Vec<Package>) -> Vec<String> {
        let rules: Rules = toml::from_str(RULES).expect("rules");
        rules.check(&Graph { packages }).into_iter().map(|finding| finding.advice).collect()
    }

    #[test]
    fn allowed_edges_pass() {
        let found = judge(vec![
            package("a-low", true, &[], &[2]),
            package("a-high", true, &[0, 3], &[]),
            package("a-kit", true, &[1], &[]),
            package("clap", false, &[], &[]),
        ]);
        assert!(found.is_empty(), "{found:?}");
    }

    #[test]
    fn an_edge_upwards_is_refused_with_the_law() {
        let found = judge(vec![
            package("a-low", true, &[1], &[]),
            package("a-high", true, &[], &[]),
            package("a-kit", true, &[], &[]),
        ]);
        assert_eq!(found, ["`low` imports `high`: low stands on nothing"]);
    }

    #[test]
    fn what_must_never_be_seen_is_found_through_others() {
        let found = judge(vec![
            package("a-low", true, &[3], &[]),
            package("a-high", true, &[], &[]),
            package("a-kit", true, &[], &[]),
            package("middle", false, &[4], &[]),
            package("tokio", false, &[], &[]),
        ]);
        assert_eq!(found, ["`low` -> middle -> tokio: low stands on nothing"]);
    }

    #[test]
    fn what_only_tests_reach_is_not_seen() {
        let found = judge(vec![
            package("a-low", true, &[], &[3]),
            package("a-high", true, &[], &[]),
            package("a-kit", true, &[], &[]),
            package("tokio", false, &[], &[]),
        ]);
        assert!(found.is_empty(), "{found:?}");
    }

    #[test]
    fn tests_may_not_import_other_rooms() {
        let found = judge(vec![
            package("a-low", true, &[], &[1]),
            package("a-high", true, &[], &[]),
            package("a-kit", true, &[], &[]),
        ]);
        assert_eq!(found, ["the tests of `low` import `high`: low stands on nothing"]);
    }

    #[test]
    fn an_outside_crate_belongs_to_its_rooms() {
        let found = judge(vec![
            package("a-low", true, &[3], &[]),
            package("a-high", true, &[], &[]),
            package("a-kit", true, &[], &[]),
            package("clap", false, &[], &[]),
        ]);
        assert_eq!(found, ["`low` imports `clap`: only high speaks to people"]);
    }

    #[test]
    fn rooms_and_rows_match_both_ways() {
        let found = judge(vec![package("a-low", true, &[], &[]), package("a-new", true, &[], &[])]);
        assert_eq!(found.len(), 3, "{found:?}");
        assert!(found[0].contains("`new` is not in layers.toml"), "{found:?}");
    }
}
