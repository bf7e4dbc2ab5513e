//! The environment, read once at the start and handed on as a value.
//!
//! Everything else takes what it needs as an argument, so that a test can say what the environment is.

use std::{collections::BTreeMap, path::PathBuf};

/// The variables of this process.
#[derive(Clone, Debug, Default)]
pub(crate) struct Environment {
    variables: BTreeMap<String, String>,
}

impl Environment {
    /// Reads the process's variables; those that are no text are left out.
    pub(crate) fn of_process() -> Environment {
        let variables = std::env::vars_os()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
            .collect();
        Environment { variables }
    }

    /// Makes an environment of given variables.
    #[cfg(test)]
    pub(crate) fn of(variables: &[(&str, &str)]) -> Environment {
        let pairs = variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        Environment { variables: pairs.collect() }
    }

    /// Returns a variable.
    pub(crate) fn var(&self, name: &str) -> Option<&str> {
        self.variables.get(name).map(String::as_str)
    }

    /// Returns the variables whose names begin with `prefix`.
    pub(crate) fn with_prefix<'a>(&'a self, prefix: &'a str) -> impl Iterator<Item = (&'a str, &'a str)> {
        let pairs = self.variables.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        pairs.filter(move |(name, _)| name.starts_with(prefix))
    }

    /// Returns the folders of PATH.
    pub(crate) fn path(&self) -> Vec<PathBuf> {
        self.var("PATH").map(|path| std::env::split_paths(path).collect()).unwrap_or_default()
    }

    /// Returns our cache folder.
    pub(crate) fn cache(&self) -> Option<PathBuf> {
        self.filled("ANTIPHON_CACHE").map(PathBuf::from).or_else(|| Some(self.home()?.join(".cache/antiphon")))
    }

    /// Returns our folder for what is known about running programs.
    pub(crate) fn state(&self) -> Option<PathBuf> {
        let folder = self.filled("XDG_STATE_HOME").map(PathBuf::from);
        Some(folder.or_else(|| Some(self.home()?.join(".local/state")))?.join("antiphon"))
    }

    /// Returns the folder of temporary files.
    pub(crate) fn temporary(&self) -> PathBuf {
        PathBuf::from(self.filled("TMPDIR").unwrap_or("/tmp"))
    }

    /// Returns where large transactions wait for their commit, unless configured: private to this user.
    pub(crate) fn spool(&self) -> PathBuf {
        match self.state() {
            Some(state) => state.join("spool"),
            None => self.temporary().join("antiphon-spool"),
        }
    }

    fn home(&self) -> Option<PathBuf> {
        self.filled("HOME").map(PathBuf::from)
    }

    fn filled(&self, name: &str) -> Option<&str> {
        self.var(name).filter(|value| !value.is_empty())
    }
}
