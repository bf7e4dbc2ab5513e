//! `cargo xtask gen`: reference pages and files that are made from the code, never written by hand.
//!
//! What a person reads about codes, commands, keys and addresses comes from where they are defined, so that it cannot
//! be wrong for long. The error reference is made from `model`; the conformance vectors are filled by `sync`'s example of
//! that name; the rest is what the binary prints about itself.
//! `--check` writes nothing and reports each file that differs.

mod errors;
mod vectors;

use std::{
    fs,
    path::Path,
    process::{Command, Stdio},
};

use anyhow::{Context, Result, anyhow, bail, ensure};

use crate::{finding::Finding, project::Project};

/// How a file is made.
enum Maker {
    /// By a function of this program.
    Function(fn() -> String),
    /// From the standard output of `antiphon` with these arguments.
    Binary(&'static [&'static str]),
}

/// Every generated file; a line here is all that a new one needs.
const OUTPUTS: &[(&str, Maker)] = &[
    ("docs/reference/errors.md", Maker::Function(errors::page)),
    ("docs/reference/cli.md", Maker::Binary(&["help-markdown"])),
    ("docs/reference/openapi.json", Maker::Binary(&["openapi"])),
    ("docs/reference/config.md", Maker::Binary(&["config", "reference", "--format", "markdown"])),
    ("antiphon.example.toml", Maker::Binary(&["config", "reference", "--format", "toml"])),
];

/// What cargo is to build for the binary.
const ANTIPHON: &[&str] = &["--workspace", "--bin", "antiphon"];

/// Writes every file, or with `check` reports those that differ.
///
/// # Errors
/// Fails where the binary cannot be built or a file cannot be written; each output is tried all the same.
pub fn run(project: &Project, check: bool) -> Result<Vec<Finding>> {
    // Built when first asked for, so that what needs no binary is made even while it does not build.
    let mut binary = None;
    let mut findings = Vec::new();
    let mut broken = Vec::new();
    for (path, maker) in OUTPUTS {
        let made = match maker {
            Maker::Function(function) => Ok(function()),
            Maker::Binary(arguments) => match binary.get_or_insert_with(|| build(project.root(), ANTIPHON, "antiphon"))
            {
                Ok(binary) => ask(binary, arguments),
                Err(error) => Err(anyhow!("{error:#}")),
            },
        };
        match made {
            Ok(text) => findings.extend(settle(project.root(), path, &ending_in_newline(text), check)?),
            Err(error) => broken.push(format!("{path}: {error:#}")),
        }
    }
    match vectors::filled(project.root()) {
        Ok(files) => {
            for (path, text) in files {
                findings.extend(settle(project.root(), &path, &text, check)?);
            }
        }
        Err(error) => broken.push(format!("{}: {error:#}", vectors::FOLDER)),
    }
    if !broken.is_empty() {
        bail!("these could not be made:\n  {}", broken.join("\n  "));
    }
    Ok(findings)
}

fn settle(root: &Path, path: &str, text: &str, check: bool) -> Result<Option<Finding>> {
    let target = root.join(path);
    let present = fs::read_to_string(&target).unwrap_or_default();
    if present == text {
        return Ok(None);
    }
    if check {
        let same = present.lines().zip(text.lines()).take_while(|(old, new)| old == new).count();
        let advice = "is not what the code says: run `cargo xtask gen` and commit the result";
        return Ok(Some(Finding::new(path, same + 1, "generated", advice)));
    }
    if let Some(folder) = target.parent() {
        fs::create_dir_all(folder).with_context(|| format!("making the folder of {path}"))?;
    }
    fs::write(&target, text).with_context(|| format!("writing {path}"))?;
    eprintln!("wrote {path}");
    Ok(None)
}

fn ending_in_newline(text: String) -> String {
    format!("{}\n", text.trim_end())
}

/// Builds a program with the workspace's one feature set and returns its path, as cargo tells it.
fn build(root: &Path, what: &[&str], name: &str) -> Result<String> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo)
        .args(["build", "--locked", "--message-format", "json-render-diagnostics"])
        .args(what)
        .current_dir(root)
        .stderr(Stdio::inherit())
        .output()
        .context("cargo build could not be run")?;
    ensure!(output.status.success(), "`{name}` does not build");
    let messages = String::from_utf8(output.stdout).context("cargo's messages are not UTF-8")?;
    let found = messages.lines().find_map(|message| executable(message, name));
    found.with_context(|| format!("cargo built no program named {name}"))
}

/// Returns the path that one of cargo's messages gives for a program.
fn executable(message: &str, name: &str) -> Option<String> {
    let message: serde_json::Value = serde_json::from_str(message).ok()?;
    let binary = message.pointer("/target/name")? == name;
    binary.then(|| message.get("executable")?.as_str().map(str::to_owned)).flatten()
}

/// Asks the binary about itself, without any setting of this machine, so that the answer is the same everywhere.
fn ask(binary: &str, arguments: &[&str]) -> Result<String> {
    let settings = std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("ANTIPHON_"));
    let mut command = Command::new(binary);
    for (name, _) in settings {
        command.env_remove(name);
    }
    let output = command
        .args(arguments)
        .env("COLUMNS", "100")
        .env("NO_COLOR", "1")
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("`antiphon {}` could not be run", arguments.join(" ")))?;
    let complaint = String::from_utf8_lossy(&output.stderr);
    let first = complaint.lines().next().unwrap_or_default();
    ensure!(output.status.success(), "`antiphon {}` failed: {first}", arguments.join(" "));
    ensure!(!output.stdout.is_empty(), "`antiphon {}` printed nothing", arguments.join(" "));
    String::from_utf8(output.stdout).context("the output is not UTF-8")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_binary_is_found_in_cargos_messages() {
        let message = r#"{"reason":"compiler-artifact","target":{"name":"antiphon"},"executable":"/t/antiphon"}"#;
        assert_eq!(executable(message, "antiphon").as_deref(), Some("/t/antiphon"));
        assert_eq!(executable(r#"{"target":{"name":"antiphon"},"executable":null}"#, "antiphon"), None);
        assert_eq!(executable(r#"{"target":{"name":"other"},"executable":"/t/other"}"#, "antiphon"), None);
        assert_eq!(executable("not json", "antiphon"), None);
    }

    #[test]
    fn a_stale_file_is_found_at_the_first_line_that_differs() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let present = fs::read_to_string(root.join("Cargo.toml")).expect("this crate's manifest");
        assert_eq!(settle(root, "Cargo.toml", &present, true).expect("readable"), None);
        let stale = settle(root, "Cargo.toml", &present.replacen("name", "nom", 1), true).expect("readable");
        assert_eq!(stale.map(|finding| finding.line), Some(2));
    }
}
