//! The repository as the checks see it: its root and the files that belong to it.
//!
//! A file belongs to it when git tracks it or would track it, so that a check speaks before the commit does.
//! An exported tree without git is walked instead. Nothing is written here.

use std::{
    fs, io,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result};

/// The repository.
pub struct Project {
    root: PathBuf,
    paths: Vec<String>,
}

impl Project {
    /// Opens the repository that this program was built from.
    ///
    /// # Errors
    /// Fails where the files cannot be listed.
    pub fn open() -> Result<Project> {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().context("the repository has no root")?.to_owned();
        let mut paths = match tracked(&root) {
            Some(paths) => paths,
            None => walked(&root).context("listing the repository's files")?,
        };
        paths.retain(|path| root.join(path).is_file());
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

/// Asks git; `None` where there is no git or no repository.
fn tracked(root: &Path) -> Option<Vec<String>> {
    let listed = Command::new("git")
        // CI often checks out as one user and builds as another, which git refuses unless told.
        .arg("-c")
        .arg(format!("safe.directory={}", root.display()))
        .args(["ls-files", "-z", "--cached", "--others", "--exclude-standard"])
        .current_dir(root)
        .output()
        .ok()
        .filter(|output| output.status.success())?;
    let text = String::from_utf8(listed.stdout).ok()?;
    Some(text.split('\0').filter(|path| !path.is_empty()).map(str::to_owned).collect())
}

/// Walks the tree, without what is built or installed.
fn walked(root: &Path) -> io::Result<Vec<String>> {
    let mut paths = Vec::new();
    let mut open = vec![PathBuf::new()];
    while let Some(folder) = open.pop() {
        for entry in fs::read_dir(root.join(&folder))? {
            let entry = entry?;
            let name = entry.file_name();
            let path = folder.join(&name);
            if matches!(name.to_str(), Some(".git" | "target" | "node_modules" | "artifacts")) {
                continue;
            }
            if entry.file_type()?.is_dir() {
                open.push(path);
            } else {
                paths.extend(path.to_str().map(str::to_owned));
            }
        }
    }
    Ok(paths)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tree_without_git_is_walked() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR"));
        let paths = walked(folder).expect("this crate's folder");
        assert!(paths.iter().any(|path| path == "src/project.rs"), "{paths:?}");
    }
}
