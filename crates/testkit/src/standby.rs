//! Copies of a running cluster: a standby to be promoted, and a backup to be restored.
//!
//! A standby follows by a physical slot of its name and carries failover slots over, as the guide for operators says to
//! set it up. A backup is what `pg_basebackup` makes, or where that program is missing the same by its statements; or a
//! copy of the files of a halted server, slots and all.
//! Law: a copy ends with the test's process, like what it was copied from.

use std::{
    fs, io,
    os::unix::fs::{MetadataExt, PermissionsExt, lchown},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use antiphon_postgres::{Cluster, ClusterConfig, Installation, StopMode};
use tokio_postgres::Client;

use crate::pg::{Pg, PgVersion, blocking};

/// What a copied cluster is waited for, at most.
const SETTLE: Duration = Duration::from_secs(60);

/// A copy of a cluster's data that does not run.
#[derive(Debug)]
pub struct Backup {
    pub(crate) version: PgVersion,
    pub(crate) installation: Installation,
    pub(crate) folder: PathBuf,
    /// User and group of the server that it was made of.
    pub(crate) owner: (u32, u32),
}

impl Pg {
    /// Makes a running standby that follows by the physical slot `name`; `settings` come on top of the primary's.
    ///
    /// # Panics
    /// When it cannot be made.
    pub async fn standby(&self, name: &str, settings: &[(&str, &str)]) -> Pg {
        let made = format!("select pg_create_physical_replication_slot('{name}', true)");
        self.admin().await.batch_execute(&made).await.unwrap_or_else(|error| panic!("no slot for {name}: {error:?}"));
        let upstream = format!("host=127.0.0.1 port={} user=postgres dbname=postgres", self.port());
        let backup = self.backup().await;
        let more = format!(
            "primary_conninfo = '{upstream} application_name={name}'\nprimary_slot_name = '{name}'\ncluster_name = '{name}'\n"
        );
        fs::OpenOptions::new()
            .append(true)
            .open(backup.folder.join("data/postgresql.auto.conf"))
            .and_then(|mut file| io::Write::write_all(&mut file, more.as_bytes()))
            .and_then(|()| fs::write(backup.folder.join("data/standby.signal"), ""))
            .and_then(|()| backup.give())
            .unwrap_or_else(|error| panic!("the standby's settings cannot be written: {error}"));
        backup.start(settings).await
    }

    /// Makes a backup of the running server; as always, it holds no slots.
    ///
    /// # Panics
    /// When it cannot be made.
    pub async fn backup(&self) -> Backup {
        let folder = new_folder();
        let data = self.lock().data();
        let (copy, program) = (folder.join("data"), self.program("pg_basebackup"));
        // Not every package of binaries has the program; what it does can be done by statements.
        if program.exists() {
            let mut command = Command::new(program);
            command.args(["-c", "fast", "-X", "stream", "--no-sync", "-h", "127.0.0.1", "-U", "postgres", "-p"]);
            command.arg(self.port().to_string()).arg("-D").arg(&copy);
            blocking(move || run(command, Path::new("/"))).await;
        } else {
            self.backup_by_statements(data, copy).await;
        }
        let backup = self.copied(folder);
        // As root the programs of a server run as another user, and so must own its files.
        backup.give().unwrap_or_else(|error| panic!("the copy cannot be given to its user: {error}"));
        backup
    }

    /// Copies the files of the server, slots and all, and starts it again.
    ///
    /// # Panics
    /// When they cannot be copied.
    pub async fn copy_of_files(&self) -> Backup {
        self.halt(StopMode::Fast).await;
        let (data, folder) = (self.lock().data(), new_folder());
        let mut copy = Command::new("cp");
        copy.arg("-a").arg(&data).arg(folder.join("data"));
        blocking(move || run(copy, Path::new("/"))).await;
        self.restart().await;
        self.copied(folder)
    }

    /// Promotes a standby and waits until it takes writes.
    ///
    /// # Panics
    /// When it does not.
    pub async fn promote(&self) {
        let client = self.admin().await;
        let promoted = client.query_one("select pg_promote(true, 60)", &[]).await;
        assert!(promoted.is_ok_and(|row| row.get::<_, bool>(0)), "the standby was not promoted: {}", self.log_tail());
    }

    /// Waits until a statement on this server answers true.
    ///
    /// # Panics
    /// When it does not in time.
    pub async fn until(&self, database: &str, condition: &str) {
        let client: Client = self.connect(database).await;
        let deadline = Instant::now() + SETTLE;
        loop {
            let row = client.query_one(condition, &[]).await;
            if row.as_ref().is_ok_and(|row| row.get::<_, Option<bool>>(0) == Some(true)) {
                return;
            }
            assert!(Instant::now() < deadline, "never came: {condition}; {row:?}; {}", self.log_tail());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    pub(crate) fn copied(&self, folder: PathBuf) -> Backup {
        let server = self.lock();
        let metadata = fs::metadata(server.data()).unwrap_or_else(|error| panic!("the server's folder: {error}"));
        let owner = (metadata.uid(), metadata.gid());
        Backup { version: self.version(), installation: server.installation().clone(), folder, owner }
    }

    /// Copies the files of a running server between the statements that begin and end a backup.
    async fn backup_by_statements(&self, data: PathBuf, copy: PathBuf) {
        let admin = self.admin().await;
        let begun = admin.query_one("select pg_backup_start('copy', true)::text", &[]).await;
        begun.unwrap_or_else(|error| panic!("no backup: {error:?}"));
        let (from, to) = (data.clone(), copy.clone());
        blocking(move || {
            // The log is copied last; slots and marks of the running process are not.
            let left = ["pg_wal", "pg_replslot", "postmaster.pid", "postmaster.opts"];
            let entries = fs::read_dir(&from).unwrap_or_else(|error| panic!("the server's folder: {error}"));
            let paths = entries.filter_map(|entry| entry.ok().map(|entry| entry.path()));
            let taken = paths.filter(|path| !left.iter().any(|name| path.ends_with(name)));
            fs::create_dir_all(to.join("pg_replslot"))
                .and_then(|()| fs::set_permissions(&to, fs::Permissions::from_mode(0o700)))
                .unwrap_or_else(|error| panic!("no folder: {error}"));
            let mut command = Command::new("cp");
            command.arg("-a").args(taken).arg(&to);
            run(command, Path::new("/"));
        })
        .await;
        let ended = admin.query_one("select labelfile from pg_backup_stop(false)", &[]).await;
        let label: String = ended.unwrap_or_else(|error| panic!("no backup: {error:?}")).get(0);
        // The log up to the end of the backup is written by now.
        blocking(move || {
            let mut command = Command::new("cp");
            command.arg("-a").arg(data.join("pg_wal")).arg(&copy);
            run(command, Path::new("/"));
            fs::write(copy.join("backup_label"), label).unwrap_or_else(|error| panic!("no label: {error}"));
        })
        .await;
    }
}

impl Backup {
    /// Gives the files to whom the folder of a server belongs.
    fn give(&self) -> io::Result<()> {
        give(&self.folder.join("data"), self.owner)
    }

    /// Starts a server on the copy, on a port of its own.
    ///
    /// # Panics
    /// When it does not start.
    pub async fn start(self, settings: &[(&str, &str)]) -> Pg {
        let mut config = ClusterConfig::new(self.installation, self.folder);
        config.durable = false;
        config.ephemeral = true;
        config.settings = settings.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let started = blocking(move || Cluster::start(config)).await;
        let cluster = started.unwrap_or_else(|fault| panic!("the copy of {} does not start: {fault:?}", self.version));
        Pg::adopt(self.version, cluster)
    }
}

pub(crate) fn new_folder() -> PathBuf {
    let folder = tempfile::Builder::new().prefix("antiphon-pg-").tempdir().map(tempfile::TempDir::keep);
    folder.unwrap_or_else(|error| panic!("no temporary folder for a copy: {error}"))
}

pub(crate) fn run(mut command: Command, folder: &Path) {
    let output = command.env("LC_ALL", "C").current_dir(folder).stdin(Stdio::null()).output();
    let output = output.unwrap_or_else(|error| panic!("{command:?} cannot be run: {error}"));
    let said = [output.stdout, output.stderr].concat();
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&said));
}

fn give(path: &Path, (uid, gid): (u32, u32)) -> io::Result<()> {
    let metadata = fs::symlink_metadata(path)?;
    if (metadata.uid(), metadata.gid()) != (uid, gid) {
        lchown(path, Some(uid), Some(gid))?;
    }
    if metadata.is_dir() {
        for entry in fs::read_dir(path)? {
            give(&entry?.path(), (uid, gid))?;
        }
    }
    Ok(())
}
