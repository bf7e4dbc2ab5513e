//! The shape of `tidy.toml`, and how its exceptions excuse findings.
//!
//! An exception names the rule, the file, if it can be narrower the item, and always a reason.
//! Law: an exception that excuses nothing is reported, so that the list only shrinks by itself.

use serde::Deserialize;

use super::CONFIG;
use crate::finding::Finding;

/// The whole file.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Config {
    pub(super) size: Size,
    /// Stems that no file may have, because they name no noun.
    #[serde(default)]
    pub(super) names_forbidden: Vec<String>,
    #[serde(default)]
    pub(super) banned: Vec<Banned>,
    #[serde(default)]
    pub(super) words: Vec<Word>,
    #[serde(default)]
    pub(super) allow: Vec<Allow>,
}

/// The limits.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Size {
    pub(super) file_lines_max: usize,
    pub(super) test_file_lines_max: usize,
    pub(super) function_lines_max: usize,
    pub(super) header_lines_min: usize,
    /// Files up to this length need one line only.
    pub(super) header_short_file_lines: usize,
    pub(super) header_lines_max: usize,
    pub(super) decision_lines_max: usize,
}

/// A call that is not made, and what is called instead.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Banned {
    pub(super) calls: Vec<String>,
    /// Path prefixes where the ban holds.
    pub(super) within: Vec<String>,
    /// Path prefixes where it does not hold after all.
    #[serde(default)]
    pub(super) except: Vec<String>,
    /// Whether it holds for test code too.
    #[serde(default)]
    pub(super) tests: bool,
    pub(super) instead: String,
}

/// A text that stands in no file.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Word {
    pub(super) texts: Vec<String>,
    pub(super) instead: String,
}

/// An exception.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Allow {
    pub(super) rule: String,
    /// The file, or a folder that ends with `/`.
    pub(super) path: String,
    /// The function, call or word; empty for the whole file.
    #[serde(default)]
    pub(super) item: String,
    pub(super) reason: String,
}

impl Allow {
    fn covers(&self, finding: &Finding) -> bool {
        let place = self.path == finding.path || (self.path.ends_with('/') && finding.path.starts_with(&self.path));
        place && self.rule == finding.rule && (self.item.is_empty() || self.item == finding.item)
    }
}

impl Config {
    /// Takes away what exceptions cover, and adds the exceptions that cover nothing.
    pub(super) fn excuse(&self, mut findings: Vec<Finding>) -> Vec<Finding> {
        let mut stale = Vec::new();
        for allow in &self.allow {
            if !findings.iter().any(|finding| allow.covers(finding)) {
                let advice =
                    format!("nothing breaks `{}` in {} any more: remove the exception", allow.rule, allow.path);
                stale.push(Finding::new(CONFIG, 1, "exceptions", advice));
            }
            if allow.reason.trim().is_empty() {
                stale.push(Finding::new(CONFIG, 1, "exceptions", format!("say why {} is excused", allow.path)));
            }
        }
        findings.retain(|finding| !self.allow.iter().any(|allow| allow.covers(finding)));
        findings.extend(stale);
        findings
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allow(path: &str, item: &str) -> Allow {
        Allow { rule: "banned".into(), path: path.into(), item: item.into(), reason: "so".into() }
    }

    #[test]
    fn an_exception_covers_its_item_only() {
        let config = Config { allow: vec![allow("a.rs", "todo!")], ..Config::default() };
        let todo = Finding::new("a.rs", 1, "banned", "").about("todo!");
        let other = Finding::new("a.rs", 2, "banned", "").about("dbg!");
        assert_eq!(config.excuse(vec![todo, other.clone()]), [other]);
    }

    #[test]
    fn an_exception_that_excuses_nothing_is_found() {
        let config = Config { allow: vec![allow("a/", "")], ..Config::default() };
        assert_eq!(config.excuse(Vec::new())[0].rule, "exceptions");
        assert!(config.excuse(vec![Finding::new("a/b.rs", 1, "banned", "")]).is_empty());
    }
}
