//! Names of files: each says its noun, and each Rust file is reached by a `mod`.
//!
//! A file that no module declares is dead: it compiles nowhere and misleads whoever reads it.
//! `mod.rs` is not used, so that a tab in an editor says what it shows.

use std::collections::BTreeMap;

use super::config::Config;
use crate::{finding::Finding, rust_text::RustText};

/// Checks every path.
pub(super) fn check(texts: &BTreeMap<&str, String>, config: &Config) -> Vec<Finding> {
    let mut findings = Vec::new();
    for path in texts.keys() {
        let name = path.rsplit('/').next().unwrap_or(path);
        let stem = name.split('.').next().unwrap_or(name);
        if config.names_forbidden.iter().any(|forbidden| forbidden == stem) {
            let advice = format!("`{stem}` names no noun: name the file by what it holds");
            findings.push(Finding::new(path, 1, "names", advice).about(stem));
        }
        if name == "mod.rs" {
            findings.push(Finding::new(path, 1, "names", "use `foo.rs` beside the folder `foo`").about("mod"));
        }
        if path.ends_with(".rs") && !declared(path, texts) {
            findings.push(Finding::new(path, 1, "dead", "no module declares it: add a `mod` line, or delete it"));
        }
    }
    findings
}

/// Returns whether a module declares the file; files that cargo finds by itself declare themselves.
fn declared(path: &str, texts: &BTreeMap<&str, String>) -> bool {
    let Some((_, inside)) = path.split_once("src/") else { return true };
    let base = &path[..path.len() - inside.len()];
    if matches!(inside, "lib.rs" | "main.rs") || inside.starts_with("bin/") {
        return true;
    }
    let module = inside.trim_end_matches(".rs");
    let (parents, name) = match module.rsplit_once('/') {
        Some((folder, name)) => (vec![format!("{base}{folder}.rs")], name),
        None => (vec![format!("{base}lib.rs"), format!("{base}main.rs")], module),
    };
    let line = format!("mod {name};");
    parents
        .iter()
        .filter_map(|parent| texts.get(parent.as_str()))
        .any(|text| !RustText::new(text).find(&line).is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(files: &[(&str, &str)]) -> Vec<(String, &'static str)> {
        let texts = files.iter().map(|&(path, text)| (path, text.to_owned())).collect();
        let config = Config { names_forbidden: vec!["utils".into()], ..Config::default() };
        check(&texts, &config).into_iter().map(|finding| (finding.path, finding.rule)).collect()
    }

    #[test]
    fn files_without_a_noun_are_found() {
        assert_eq!(found(&[("docs/utils.md", "")]), [("docs/utils.md".to_owned(), "names")]);
        assert_eq!(found(&[("a/src/lib.rs", ""), ("a/src/b/mod.rs", "")])[0].1, "names");
    }

    #[test]
    fn files_that_no_module_declares_are_found() {
        let files = [("a/src/lib.rs", "mod b;"), ("a/src/b.rs", "// mod d;\nmod c;"), ("a/src/b/c.rs", "")];
        assert!(found(&files).is_empty());
        let dead = [&files[..], &[("a/src/b/d.rs", "")]].concat();
        assert_eq!(found(&dead), [("a/src/b/d.rs".to_owned(), "dead")]);
    }

    #[test]
    fn files_that_cargo_finds_are_alive() {
        assert!(
            found(&[("a/tests/b.rs", ""), ("a/src/bin/c.rs", ""), ("a/src/main.rs", ""), ("a/build.rs", "")])
                .is_empty()
        );
    }
}
