//! The repository as the checks see it: its root and the files that belong to it.
//!
//! A file belongs to it when git tracks it or would track it, so that a check speaks before the commit does.
//! Nothing is written here.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, ensure};

/// The repository.
pub struct Project {
    root: PathBuf,
    paths: Vec<String>,
}

impl Project {
    /// Opens the repository that this program was built from.
    ///
    /// # Errors
    /// Fails where git cannot list the files.
    pub fn open() -> Result<Project> {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().context("the repository has no root")?.to_owned();
        let listed = Command::new("git")
            .args(["ls-files", "-z", "--cached", "--others", "--exclude-standard"])
            .current_dir(&root)
            .output()
            .context("git is needed to list the repository's files")?;
        ensure!(listed.status.success(), "git ls-files: {}", String::from_utf8_lossy(&listed.stderr).trim());
        let mut paths: Vec<String> = String::from_utf8(listed.stdout)
            .context("a file's name is not UTF-8")?
            .split('\0')
            .filter(|path| !path.is_empty() && root.join(path).is_file())
            .map(str::to_owned)
            .collect();
        paths.sort();
        paths.dedup();
        Ok(Project { root, paths })
    }

    /// Returns the root folder.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Lists the files, relative to the root, with `/` between folders.
    pub fn paths(&self) -> &[String] {
        &self.paths
    }

    /// Reads a file as text, or `None` where it is not text.
    ///
    /// # Errors
    /// Fails where the file cannot be read.
    pub fn read(&self, path: &str) -> Result<Option<String>> {
        let bytes = fs::read(self.root.join(path)).with_context(|| format!("reading {path}"))?;
        Ok(String::from_utf8(bytes).ok())
    }

    /// Reads and parses a TOML file.
    ///
    /// # Errors
    /// Fails where the file is missing or not of this shape.
    pub fn read_toml<T: serde::de::DeserializeOwned>(&self, path: &str) -> Result<T> {
        let text = fs::read_to_string(self.root.join(path)).with_context(|| format!("reading {path}"))?;
        toml::from_str(&text).with_context(|| format!("{path} is not of the expected shape"))
    }
}
