//! The data folder of `antiphon dev`: the private Postgres, the spool, and what must stay the same between runs.
//!
//! Laws: what holds secrets is readable by its owner only; a temporary folder goes with the run. As root, Postgres runs
//! as another user; where that user cannot reach the folder, Postgres's own files lie elsewhere and the folder says where.

use std::{
    collections::BTreeMap,
    fs::{self, DirBuilder, OpenOptions},
    io::{self, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

use antiphon_engine::Fault;
use antiphon_model::Code;
use antiphon_postgres::Cluster;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::demo::USERS;

const KEPT_FILE: &str = "dev.json";
/// Survives a restart of the machine and is reachable by every user.
const ELSEWHERE: &str = "/var/tmp";

/// What stays the same between runs.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Kept {
    version: u32,
    password: String,
    tokens: BTreeMap<String, String>,
    /// Where Postgres's files lie, if not here.
    cluster: Option<PathBuf>,
}

/// An open data folder.
#[derive(Debug)]
pub(super) struct Folder {
    root: PathBuf,
    temporary: bool,
    kept: Kept,
}

impl Folder {
    /// Opens a folder, making it where it is missing; `None` makes one among the temporary files.
    pub(super) fn open(data: Option<&Path>, temporary_files: &Path) -> Result<Folder, Fault> {
        let failed = |error: io::Error| {
            Fault::new(Code::PostgresStart, format!("the data folder cannot be used: {error}")).with_source(error)
        };
        let temporary = data.is_none();
        let root = match data {
            Some(folder) => folder.to_owned(),
            None => temporary_files.join(format!("antiphon-dev-{}", Uuid::new_v4().simple())),
        };
        // Others may pass through to reach Postgres's part, which is private by itself; they cannot list it.
        DirBuilder::new().recursive(true).mode(0o711).create(&root).map_err(failed)?;
        let root = root.canonicalize().map_err(failed)?;
        let file = root.join(KEPT_FILE);
        let kept = match fs::read_to_string(&file) {
            Ok(text) => serde_json::from_str(&text).map_err(|error| failed(error.into()))?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let kept = Kept::new(&root);
                write_private(&file, &serde_json::to_string_pretty(&kept).unwrap_or_default()).map_err(failed)?;
                kept
            }
            Err(error) => return Err(failed(error)),
        };
        DirBuilder::new().recursive(true).mode(0o700).create(root.join("spool")).map_err(failed)?;
        Ok(Folder { root, temporary, kept })
    }

    /// Returns the superuser's password.
    pub(super) fn password(&self) -> &str {
        &self.kept.password
    }

    /// Returns the tokens by user.
    pub(super) fn tokens(&self) -> &BTreeMap<String, String> {
        &self.kept.tokens
    }

    /// Returns where Postgres's files lie.
    pub(super) fn cluster(&self) -> PathBuf {
        self.kept.cluster.clone().unwrap_or_else(|| self.root.join("postgres"))
    }

    /// Returns where large transactions wait.
    pub(super) fn spool(&self) -> PathBuf {
        self.root.join("spool")
    }

    /// Returns the folder if it is kept.
    pub(super) fn kept(&self) -> Option<&Path> {
        (!self.temporary).then_some(&self.root)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        if !self.temporary {
            return;
        }
        let elsewhere = self.kept.cluster.iter();
        for folder in elsewhere.chain([&self.root]) {
            if let Err(error) = fs::remove_dir_all(folder)
                && error.kind() != io::ErrorKind::NotFound
            {
                tracing::warn!(%error, "a temporary folder was not removed");
            }
        }
    }
}

impl Kept {
    fn new(root: &Path) -> Kept {
        let secret = || format!("{}{}", Uuid::new_v4().simple(), Uuid::new_v4().simple());
        let tokens = USERS.iter().map(|user| (user.id.to_owned(), format!("ant_{}", secret()))).collect();
        let reachable = Cluster::could_live_in(&root.join("postgres"));
        let elsewhere = Path::new(ELSEWHERE).join(format!("antiphon-dev-{}", Uuid::new_v4().simple()));
        Kept {
            version: 1,
            password: Uuid::new_v4().simple().to_string(),
            tokens,
            cluster: (!reachable).then_some(elsewhere),
        }
    }
}

/// Writes a file that only its owner can read, whole or not at all.
fn write_private(path: &Path, text: &str) -> io::Result<()> {
    let unfinished = path.with_extension("new");
    let mut file = OpenOptions::new().create(true).truncate(true).write(true).mode(0o600).open(&unfinished)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    fs::rename(&unfinished, path)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn tokens_and_password_stay_between_runs_and_are_private() {
        let parent = std::env::temp_dir().join(format!("antiphon-test-{}", Uuid::new_v4().simple()));
        let first = Folder::open(Some(&parent), Path::new("/nowhere")).expect("the first run");
        let again = Folder::open(Some(&parent), Path::new("/nowhere")).expect("the second run");
        assert_eq!(first.tokens(), again.tokens());
        assert_eq!(first.password(), again.password());
        assert_eq!(first.cluster(), again.cluster());
        let mode = fs::metadata(parent.join(KEPT_FILE)).expect("the file").permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        drop((first, again));
        assert!(parent.exists(), "a folder that was asked for stays");
        fs::remove_dir_all(parent).expect("cleaned up");
    }

    #[test]
    fn a_temporary_folder_goes_with_the_run() {
        let folder = Folder::open(None, &std::env::temp_dir()).expect("a folder");
        let root = folder.root.clone();
        assert!(root.exists() && folder.kept().is_none());
        drop(folder);
        assert!(!root.exists());
    }
}
