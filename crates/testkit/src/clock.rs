//! A clock that a test steps, for a Postgres and for any program: what an operator's hand, a bad time server or a
//! resumed virtual machine does to the wall clock.
//!
//! libfaketime stands between the programs and the clock; only the wall clock is false, waits and timeouts go on by the
//! true one. A machine without the library says so and is counted. The server's other programs are left alone.

use std::{
    env, fs, io,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

use antiphon_postgres::Installation;
use tempfile::TempDir;

use crate::{
    pg::{Pg, PgVersion},
    skip::skipped,
};

/// A wall clock that is as true as the machine's until it is stepped.
#[derive(Debug)]
pub struct SteppedClock {
    folder: TempDir,
}

impl SteppedClock {
    /// Makes one; `None` (and a skip) where there is no libfaketime.
    ///
    /// # Panics
    /// When its files cannot be written.
    pub fn new() -> Option<SteppedClock> {
        let Some(library) = library() else {
            skipped("libfaketime");
            return None;
        };
        let folder = tempfile::Builder::new().prefix("antiphon-clock-").tempdir();
        let clock = SteppedClock { folder: folder.unwrap_or_else(|error| panic!("no folder for a clock: {error}")) };
        // As root a server runs as another user, who has to reach all of it.
        let reachable = fs::set_permissions(clock.folder.path(), fs::Permissions::from_mode(0o755));
        let copied = reachable.and_then(|()| fs::copy(library, clock.library()));
        copied.unwrap_or_else(|error| panic!("the library cannot be copied: {error}"));
        clock.step(0);
        Some(clock)
    }

    /// Sets how many seconds it is ahead of the true one; programs see it within a second or two.
    ///
    /// # Panics
    /// When the file cannot be written.
    pub fn step(&self, ahead_seconds: i64) {
        let (file, next) = (self.folder.path().join("ahead"), self.folder.path().join("next"));
        // Replaced at once: a program may be reading it.
        let written = fs::write(&next, format!("{ahead_seconds:+}\n"))
            .and_then(|()| fs::set_permissions(&next, fs::Permissions::from_mode(0o644)))
            .and_then(|()| fs::rename(&next, &file));
        written.unwrap_or_else(|error| panic!("the clock cannot be stepped: {error}"));
    }

    /// Returns the variables under which a program sees it.
    pub fn variables(&self) -> Vec<(&'static str, String)> {
        let path = |path: PathBuf| path.display().to_string();
        vec![
            ("LD_PRELOAD", path(self.library())),
            ("FAKETIME_TIMESTAMP_FILE", path(self.folder.path().join("ahead"))),
            ("FAKETIME_CACHE_DURATION", "1".to_owned()),
            ("FAKETIME_DONT_FAKE_MONOTONIC", "1".to_owned()),
            ("FAKETIME_DONT_RESET", "1".to_owned()),
            ("NO_FAKE_STAT", "1".to_owned()),
        ]
    }

    /// Starts a Postgres under it; `None` (and a skip) where the version is not installed.
    ///
    /// # Panics
    /// When it does not start.
    pub async fn postgres(&self, version: PgVersion, settings: &[(&str, &str)]) -> Option<Pg> {
        let Some(installation) = version.installation() else {
            skipped(&version.to_string());
            return None;
        };
        let programs = self.programs(installation.bin_dir(), version);
        let programs = programs.unwrap_or_else(|error| panic!("the programs cannot be wrapped: {error}"));
        let wrapped = Installation::at(&programs);
        let wrapped = wrapped.unwrap_or_else(|fault| panic!("the wrapped server does not run: {fault:?}"));
        Some(Pg::private_of(version, wrapped, settings).await)
    }

    /// Makes a folder with the version's programs, of which the server alone sees the stepped clock.
    fn programs(&self, real: &Path, version: PgVersion) -> io::Result<PathBuf> {
        let folder = self.folder.path().join(format!("postgres-{}", version.major()));
        fs::create_dir_all(&folder)?;
        fs::set_permissions(&folder, fs::Permissions::from_mode(0o755))?;
        for entry in fs::read_dir(real)? {
            let (path, name) = entry.map(|entry| (entry.path(), entry.file_name()))?;
            let set: Vec<String> = match name == "postgres" {
                true => self.variables().iter().map(|(name, value)| format!("{name}='{value}'")).collect(),
                false => Vec::new(),
            };
            // Each is run by its own path, from which it finds what lies beside it.
            let script = format!("#!/bin/sh\nexec env {} '{}' \"$@\"\n", set.join(" "), path.display());
            let wrapper = folder.join(name);
            fs::write(&wrapper, script)?;
            fs::set_permissions(&wrapper, fs::Permissions::from_mode(0o755))?;
        }
        Ok(folder)
    }

    fn library(&self) -> PathBuf {
        self.folder.path().join("libfaketime.so.1")
    }
}

impl Drop for SteppedClock {
    /// The library leaves two small files of shared memory behind for each program that was killed.
    fn drop(&mut self) {
        let Ok(entries) = fs::read_dir("/dev/shm") else { return };
        for path in entries.flatten().map(|entry| entry.path()) {
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            let of = name.strip_prefix("faketime_shm_").or_else(|| name.strip_prefix("sem.faketime_sem_"));
            if of.is_some_and(|pid| !Path::new("/proc").join(pid).exists())
                && let Err(error) = fs::remove_file(&path)
            {
                tracing::debug!(%error, "shared memory of a killed program was left behind");
            }
        }
    }
}

/// Finds the library where `ANTIPHON_FAKETIME` says, where Debian puts it, and where script/bootstrap does.
fn library() -> Option<PathBuf> {
    if let Some(named) = env::var_os("ANTIPHON_FAKETIME").map(PathBuf::from) {
        return named.is_file().then_some(named);
    }
    let cache = crate::pg::cache().join("faketime/usr/lib");
    [PathBuf::from("/usr/lib"), cache].iter().find_map(|root| {
        let folders = fs::read_dir(root).ok()?.flatten();
        folders.map(|folder| folder.path().join("faketime/libfaketime.so.1")).find(|path| path.is_file())
    })
}
