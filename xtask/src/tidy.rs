//! `cargo xtask tidy`: what of the style a program can check, so that reviews need not.
//!
//! Each rule is a small function from a file to findings; `tidy.toml` holds the numbers, the banned calls with their
//! replacement, and every exception with its reason. An exception that excuses nothing is itself a finding.

mod banned;
mod codes;
mod config;
mod decisions;
mod hazards;
mod links;
mod markdown;
mod names;
mod sizes;
mod words;

use std::collections::BTreeMap;

use anyhow::Result;

use crate::{finding::Finding, project::Project, rust_text::RustText};

/// The file with the numbers and exceptions.
const CONFIG: &str = "tidy.toml";

/// One text file under check.
struct File<'a> {
    path: &'a str,
    text: &'a str,
}

impl File<'_> {
    fn rust(&self) -> bool {
        self.path.ends_with(".rs")
    }

    fn markdown(&self) -> bool {
        self.path.ends_with(".md")
    }

    /// Returns whether the whole file is test code.
    fn tests(&self) -> bool {
        self.path.contains("/tests/") || self.path.starts_with("tests/") || self.path.ends_with("/tests.rs")
    }
}

/// Returns the page of hazards as a terminal shows it.
///
/// # Errors
/// Fails where the page cannot be read.
pub fn hazards(project: &Project) -> Result<String> {
    Ok(hazards::summary(&project.read(hazards::PAGE)?.unwrap_or_default()))
}

/// Checks every file of the repository.
///
/// # Errors
/// Fails where a file or the configuration cannot be read.
pub fn check(project: &Project) -> Result<Vec<Finding>> {
    let config: config::Config = project.read_toml(CONFIG)?;
    let mut texts = BTreeMap::new();
    for path in project.paths() {
        if let Some(text) = project.read(path)? {
            texts.insert(path.as_str(), text);
        }
    }
    let mut findings = Vec::new();
    for (&path, text) in &texts {
        let file = File { path, text };
        findings.extend(words::check(&file, &config));
        findings.extend(sizes::check_file(&file, &config));
        if file.rust() {
            let rust = RustText::new(text);
            findings.extend(sizes::check_functions(&file, &rust, &config));
            findings.extend(sizes::check_header(&file, &config));
            findings.extend(banned::check(&file, &rust, &config));
        }
        if file.rust() || path.ends_with(".sql") {
            findings.extend(words::check_sql(&file));
        }
        if file.markdown() {
            findings.extend(markdown::check(&file));
        }
    }
    findings.extend(names::check(&texts, &config));
    findings.extend(links::check(project.paths().iter().map(String::as_str), &texts));
    findings.extend(codes::check(&texts));
    findings.extend(decisions::check(&texts, &config));
    findings.extend(hazards::check(&texts));
    let mut findings = config.excuse(findings);
    findings.sort();
    Ok(findings)
}
