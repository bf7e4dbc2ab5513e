//! The conformance vectors of the client machine: steps by hand, expectations by the machine itself.
//!
//! Each file is handed to the example `vectors` of `sync`, which answers with the same steps and what the machine says.

use std::{
    fs,
    io::Write,
    path::Path,
    process::{Command, Stdio},
};

use anyhow::{Context, Result, ensure};

/// Where they are.
pub const FOLDER: &str = "crates/sync/vectors";
/// What cargo is to build.
const FILLER: &[&str] = &["--package", "antiphon-sync", "--example", "vectors"];

/// Returns every file of the folder with the text that it should have.
///
/// # Errors
/// Fails where the machine does not build, or a file is not of the form.
pub fn filled(root: &Path) -> Result<Vec<(String, String)>> {
    let filler = super::build(root, FILLER, "vectors")?;
    let mut names = Vec::new();
    for entry in fs::read_dir(root.join(FOLDER)).with_context(|| format!("reading {FOLDER}"))? {
        let name = entry?.file_name().to_string_lossy().into_owned();
        if name.ends_with(".json") {
            names.push(format!("{FOLDER}/{name}"));
        }
    }
    names.sort();
    names.into_iter().map(|path| fill(root, &filler, &path).map(|text| (path, text))).collect()
}

fn fill(root: &Path, filler: &str, path: &str) -> Result<String> {
    let steps = fs::read(root.join(path)).with_context(|| format!("reading {path}"))?;
    let mut child = Command::new(filler)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .context("the program that fills vectors could not be run")?;
    // It reads all before it writes anything, so neither waits for the other. Dropping the pipe ends its input.
    child.stdin.take().context("the program has no input")?.write_all(&steps)?;
    let output = child.wait_with_output()?;
    ensure!(output.status.success(), "{path}: {}", String::from_utf8_lossy(&output.stderr).trim());
    String::from_utf8(output.stdout).with_context(|| format!("{path} is not UTF-8"))
}
