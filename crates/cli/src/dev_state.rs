//! The state file of a running `antiphon dev`, by which other commands find it without configuration.
//!
//! Laws: only its owner can read it (it holds tokens and a database password); it goes away when `dev` stops; one
//! whose process is gone is not believed.

use std::{
    collections::BTreeMap,
    fs::{self, DirBuilder, OpenOptions},
    io::{self, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
    process,
};

use antiphon_model::EntityType;
use antiphon_server::admin::Fault;
use serde::{Deserialize, Serialize};

use crate::{
    environment::Environment,
    settings::{DATABASE_LOG_URL, DATABASE_PUBLICATION, DATABASE_SLOT, DATABASE_URL, Key, SERVER_LISTEN, Settings},
};

const FILE_NAME: &str = "dev.json";

/// What a running `antiphon dev` says about itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct DevState {
    /// Its process number.
    pub(crate) pid: u32,
    /// The API's address.
    pub(crate) api: String,
    /// The application's database.
    pub(crate) database_url: String,
    /// Our own database.
    pub(crate) log_url: String,
    /// The slot.
    pub(crate) slot: String,
    /// The publication.
    pub(crate) publication: String,
    /// Tokens by user.
    pub(crate) tokens: BTreeMap<String, String>,
    /// The declared types.
    pub(crate) entities: Vec<EntityType>,
}

impl DevState {
    /// Returns the configuration that follows from it.
    pub(crate) fn settings(&self, path: &Path) -> Result<Settings, Fault> {
        let values: [(Key, String); 5] = [
            (DATABASE_URL, self.database_url.clone()),
            (DATABASE_LOG_URL, self.log_url.clone()),
            (DATABASE_SLOT, self.slot.clone()),
            (DATABASE_PUBLICATION, self.publication.clone()),
            (SERVER_LISTEN, self.api.trim_start_matches("http://").to_owned()),
        ];
        Settings::of_dev(path, &values, self.entities.clone())
    }
}

/// The written file; it is removed when this is dropped.
#[derive(Debug)]
pub(crate) struct Written {
    path: PathBuf,
}

impl Drop for Written {
    fn drop(&mut self) {
        // Another `dev` may have written its own in the meantime.
        if read(&self.path).is_some_and(|state| state.pid == process::id())
            && let Err(error) = fs::remove_file(&self.path)
        {
            tracing::debug!(%error, "the state file was not removed");
        }
    }
}

/// Writes the state file, whole or not at all.
pub(crate) fn write(environment: &Environment, state: &DevState) -> io::Result<Option<Written>> {
    let Some(folder) = environment.state() else { return Ok(None) };
    DirBuilder::new().recursive(true).mode(0o700).create(&folder)?;
    let path = folder.join(FILE_NAME);
    let unfinished = folder.join(format!("{FILE_NAME}.{}", process::id()));
    let mut file = OpenOptions::new().create(true).truncate(true).write(true).mode(0o600).open(&unfinished)?;
    file.write_all(serde_json::to_string_pretty(state)?.as_bytes())?;
    fs::rename(&unfinished, &path)?;
    Ok(Some(Written { path }))
}

/// Finds the running `antiphon dev` of this user.
pub(crate) fn find(environment: &Environment) -> Option<(PathBuf, DevState)> {
    let path = environment.state()?.join(FILE_NAME);
    let state = read(&path)?;
    antiphon_server::dev::process_runs(state.pid).then_some((path, state))
}

fn read(path: &Path) -> Option<DevState> {
    serde_json::from_str(&fs::read_to_string(path).ok()?).ok()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn state(pid: u32) -> DevState {
        DevState {
            pid,
            api: "http://127.0.0.1:7411".into(),
            database_url: "postgres://h/app".into(),
            log_url: "postgres://h/antiphon".into(),
            slot: "antiphon".into(),
            publication: "antiphon".into(),
            tokens: BTreeMap::from([("alice".into(), "ant_x".into())]),
            entities: Vec::new(),
        }
    }

    #[test]
    fn the_file_is_private_found_while_the_process_runs_and_gone_afterwards() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let environment = Environment::of(&[("XDG_STATE_HOME", &folder.path().display().to_string())]);
        let own = state(process::id());
        let written = write(&environment, &own).expect("written").expect("a folder for it");
        let (path, found) = find(&environment).expect("found");
        assert_eq!(found, own);
        assert_eq!(fs::metadata(&path).expect("the file").permissions().mode() & 0o777, 0o600);
        assert_eq!(found.settings(&path).expect("settings").text(&DATABASE_URL), Some("postgres://h/app"));
        drop(written);
        assert!(find(&environment).is_none());
    }

    #[test]
    fn a_file_of_a_dead_process_is_not_believed() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let environment = Environment::of(&[("XDG_STATE_HOME", &folder.path().display().to_string())]);
        let mut child = process::Command::new("true").spawn().expect("a child");
        let pid = child.id();
        child.wait().expect("its end");
        let written = write(&environment, &state(pid)).expect("written");
        assert!(written.is_some() && find(&environment).is_none());
    }
}
