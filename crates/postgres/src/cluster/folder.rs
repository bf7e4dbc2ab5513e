//! The folder of a private cluster: its lock, the server's data, its settings and its log.
//!
//! Laws: one process owns a folder at a time (a file lock, gone with its process, however it ends); data comes into
//! being whole or not at all (made beside its place, then renamed); a server left behind by a dead owner is stopped
//! before another starts, and never one whose data lies elsewhere.

use std::{
    fs::{self, DirBuilder, File, OpenOptions},
    io::{self, Read, Seek, SeekFrom, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use antiphon_engine::Fault;
use antiphon_model::Code;
use rustix::process::{Pid, Signal, kill_process, test_kill_process};

use super::{ClusterConfig, account::Account};

/// A log larger than this is begun anew at the next start.
const LOG_BYTES_MAX: u64 = 16 * 1024 * 1024;
/// As much of the log's end as fits into an error.
const LOG_TAIL_BYTES: u64 = 2_000;
/// A path of a Unix socket is at most 104 bytes long on the strictest system; the file's name takes 20.
const SOCKET_DIR_BYTES_MAX: usize = 80;
/// How long an orphan may take to end by each signal.
const ORPHAN_STOP: Duration = Duration::from_secs(10);
const POLL: Duration = Duration::from_millis(10);

/// A cluster's folder, owned by this process.
#[derive(Debug)]
pub(super) struct Folder {
    root: PathBuf,
    account: Account,
    _lock: File,
}

impl Folder {
    /// Makes the folder where it is missing and takes its lock.
    pub(super) fn open(root: &Path, account: Account) -> Result<Folder, Fault> {
        let failed = |error: io::Error| start_fault("its folder cannot be used").with_source(error);
        if let Some(parent) = root.parent() {
            fs::create_dir_all(parent).map_err(failed)?;
        }
        match DirBuilder::new().mode(0o700).create(root) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(failed(error)),
            _ => {}
        }
        let root = root.canonicalize().map_err(failed)?;
        account.own(&root).map_err(failed)?;
        if !account.reaches(&root) {
            let detail = "as root the server runs as another user, who cannot reach its folder; choose another folder";
            return Err(start_fault(detail));
        }
        let lock = OpenOptions::new().create(true).append(true).mode(0o600).open(root.join("lock")).map_err(failed)?;
        account.own(&root.join("lock")).map_err(failed)?;
        lock.try_lock()
            .map_err(|error| start_fault("another process uses its folder").with_source(io::Error::from(error)))?;
        Ok(Folder { root, account, _lock: lock })
    }

    pub(super) fn root(&self) -> &Path {
        &self.root
    }

    pub(super) fn data(&self) -> PathBuf {
        self.root.join("data")
    }

    /// Runs initdb if there is no data yet.
    pub(super) fn initialise(&self, config: &ClusterConfig) -> Result<(), Fault> {
        if self.data().exists() {
            return Ok(());
        }
        let failed = |error: io::Error| start_fault("its data cannot be made").with_source(error);
        let password_file = self.root.join("password.new");
        if let Some(password) = &config.password {
            self.write(&password_file, password).map_err(failed)?;
        }
        let mut result = Ok(());
        for locale in ["--locale=C.UTF-8", "--no-locale"] {
            result = self.initdb(config, locale, &password_file);
            if result.is_ok() {
                break;
            }
        }
        if config.password.is_some() {
            fs::remove_file(&password_file).map_err(failed)?;
        }
        result
    }

    fn initdb(&self, config: &ClusterConfig, locale: &str, password_file: &Path) -> Result<(), Fault> {
        let failed = |error: io::Error| start_fault("its data cannot be made").with_source(error);
        let unfinished = self.root.join("data.new");
        if unfinished.exists() {
            fs::remove_dir_all(&unfinished).map_err(failed)?;
        }
        let mut command = Command::new(config.installation.program("initdb"));
        command.arg("-D").arg(&unfinished).args(["-U", &config.superuser, "-E", "UTF8", locale]);
        match config.password {
            Some(_) => command.args(["-A", "scram-sha-256", "--pwfile"]).arg(password_file),
            None => command.args(["-A", "trust"]),
        };
        if !config.durable {
            command.arg("--no-sync");
        }
        let output = self.account.apply(quiet(&mut command)).output().map_err(failed)?;
        if !output.status.success() {
            let text = String::from_utf8_lossy(&output.stderr);
            return Err(start_fault(format!("initdb: {}", text.trim())));
        }
        let mut conf = OpenOptions::new().append(true).open(unfinished.join("postgresql.conf")).map_err(failed)?;
        conf.write_all(b"\ninclude 'antiphon.conf'\n").map_err(failed)?;
        fs::rename(&unfinished, self.data()).map_err(failed)
    }

    /// Writes the settings of the next start; `alter system` still overrides them.
    pub(super) fn configure(&self, config: &ClusterConfig, port: u16) -> Result<(), Fault> {
        let data = self.data();
        let data_text = data.to_string_lossy();
        let socket_dir = if data_text.len() <= SOCKET_DIR_BYTES_MAX { data_text.as_ref() } else { "" };
        let port = port.to_string();
        let mut settings = vec![
            ("port", port.as_str()),
            ("listen_addresses", "127.0.0.1"),
            // Inside the data folder only its owner (and root) can reach the socket.
            ("unix_socket_directories", socket_dir),
            ("wal_level", "logical"),
            ("max_replication_slots", "20"),
            ("max_wal_senders", "20"),
            ("logging_collector", "off"),
            ("log_destination", "stderr"),
        ];
        if !config.durable {
            // Killed processes lose nothing by this: only a crash of the machine would.
            settings.extend([("fsync", "off"), ("full_page_writes", "off")]);
        }
        settings.extend(config.settings.iter().map(|(name, value)| (name.as_str(), value.as_str())));
        let lines: String =
            settings.iter().map(|(name, value)| format!("{name} = '{}'\n", quote_setting(value))).collect();
        self.write(&data.join("antiphon.conf"), &lines)
            .map_err(|error| start_fault("its settings cannot be written").with_source(error))
    }

    fn write(&self, path: &Path, text: &str) -> io::Result<()> {
        let mut file = OpenOptions::new().create(true).write(true).truncate(true).mode(0o600).open(path)?;
        file.write_all(text.as_bytes())?;
        self.account.own(path)
    }

    /// Opens the log to append to it.
    pub(super) fn log(&self) -> io::Result<File> {
        let path = self.root.join("postgres.log");
        if fs::metadata(&path).is_ok_and(|metadata| metadata.len() > LOG_BYTES_MAX) {
            fs::rename(&path, self.root.join("postgres.log.old"))?;
        }
        OpenOptions::new().create(true).append(true).mode(0o600).open(path)
    }

    /// Returns the end of what was logged since the log had `from_bytes`.
    pub(super) fn log_tail(&self, from_bytes: u64) -> String {
        let read = || -> io::Result<String> {
            let mut file = File::open(self.root.join("postgres.log"))?;
            let length = file.metadata()?.len();
            file.seek(SeekFrom::Start(from_bytes.max(length.saturating_sub(LOG_TAIL_BYTES)).min(length)))?;
            let mut bytes = Vec::new();
            file.read_to_end(&mut bytes)?;
            Ok(String::from_utf8_lossy(&bytes).trim().to_owned())
        };
        read().unwrap_or_else(|error| format!("its log cannot be read: {error}"))
    }

    /// Returns the lines of the server's own file about itself, none while it does not run.
    pub(super) fn postmaster(&self) -> Vec<String> {
        let text = fs::read_to_string(self.data().join("postmaster.pid")).unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    }

    /// Stops a server that a dead owner left behind on this very data.
    pub(super) fn stop_orphan(&self) -> Result<(), Fault> {
        let Some(pid) = self.postmaster().first().and_then(|line| line.trim().parse().ok()).and_then(Pid::from_raw)
        else {
            return Ok(());
        };
        if !self.is_our_server(pid) {
            return Ok(());
        }
        tracing::warn!(pid = pid.as_raw_nonzero().get(), "a private Postgres was left behind and is stopped");
        for signal in [Signal::INT, Signal::QUIT, Signal::KILL] {
            if kill_process(pid, signal).is_err() {
                return Ok(());
            }
            let deadline = Instant::now() + ORPHAN_STOP;
            while Instant::now() < deadline {
                if !self.is_our_server(pid) {
                    return Ok(());
                }
                std::thread::sleep(POLL);
            }
        }
        Err(start_fault("a server left behind on its data does not stop"))
    }

    /// Reports whether a live process serves this data; a recycled process number does not count.
    fn is_our_server(&self, pid: Pid) -> bool {
        if test_kill_process(pid).is_err() {
            return false;
        }
        let proc = PathBuf::from(format!("/proc/{}", pid.as_raw_nonzero()));
        if proc.exists() {
            // A server's working directory is its data folder; a zombie has none.
            return fs::read_link(proc.join("cwd")).is_ok_and(|cwd| cwd == self.data());
        }
        let mut ps = Command::new("ps");
        let output = ps.args(["-o", "command=", "-p", &pid.as_raw_nonzero().to_string()]).output();
        output.is_ok_and(|output| {
            String::from_utf8_lossy(&output.stdout).contains(self.data().to_string_lossy().as_ref())
        })
    }
}

/// Makes a fault of a private cluster.
pub(super) fn start_fault(detail: impl Into<std::borrow::Cow<'static, str>>) -> Fault {
    Fault::new(Code::PostgresStart, detail)
}

/// Keeps the caller's terminal and settings away from a server's program.
pub(super) fn quiet(command: &mut Command) -> &mut Command {
    for name in ["PGDATA", "PGPORT", "PGHOST", "PGOPTIONS", "PGUSER", "PGDATABASE"] {
        command.env_remove(name);
    }
    // Messages are recognised by their text, so they must be in English.
    command.env("LC_ALL", "C").stdin(Stdio::null())
}

fn quote_setting(value: &str) -> String {
    value.replace('\\', "\\\\").replace('\'', "''")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_with_quotes_and_backslashes_stay_one_value() {
        assert_eq!(quote_setting(r"a'b\c"), r"a''b\\c");
    }

    #[test]
    fn a_folder_has_one_owner_at_a_time() {
        let parent = tempfile::tempdir().expect("a temporary folder");
        let root = parent.path().join("cluster");
        let first = Folder::open(&root, Account::Same).expect("the first owner");
        assert_eq!(Folder::open(&root, Account::Same).expect_err("the second owner").code(), Code::PostgresStart);
        drop(first);
        Folder::open(&root, Account::Same).expect("the next owner");
    }
}
