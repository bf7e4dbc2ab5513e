//! A private Postgres cluster as a child process: for `antiphon dev` and for tests.
//!
//! It exists so that a person with Postgres's programs, and nothing else set up, has a database that captures.
//! Laws: it listens on 127.0.0.1 only; it does not outlive this process, however that ends; what was committed
//! survives both (unless `durable` is off and the machine itself crashes); starting again recovers.
//! Everything blocks: call it from a blocking thread. It reads no environment: all comes in as arguments.

mod account;
mod folder;
mod installation;
mod server;

use std::{
    collections::hash_map::RandomState,
    fmt,
    hash::{BuildHasher, Hasher},
    net::{Ipv4Addr, TcpListener},
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use antiphon_engine::Fault;
use antiphon_model::Code;

pub use self::installation::{FindOptions, Installation, VERSION_MAJOR_MIN, Version};
use self::{
    account::Account,
    folder::{Folder, start_fault},
    server::{Server, StartError},
};

/// How long a start waits for the port or the processes of a killed run.
const SETTLE: Duration = Duration::from_secs(20);
const SETTLE_POLL: Duration = Duration::from_millis(50);
/// Below the range from which systems choose ports of outgoing connections, so that none takes ours while we are down.
const PORTS: std::ops::Range<u16> = 15_500..28_000;
const PORT_TRIES: usize = 50;

/// How to run a private cluster.
#[derive(Clone)]
pub struct ClusterConfig {
    /// The programs to run.
    pub installation: Installation,
    /// The cluster's folder, made where it is missing; the server's own files lie in `data` inside it.
    pub data_dir: PathBuf,
    /// The port; `None` takes a free one.
    pub port: Option<u16>,
    /// Server settings on top of what capture needs.
    pub settings: Vec<(String, String)>,
    /// Whether data must survive a crash of the machine.
    pub durable: bool,
    /// Whether the folder is deleted at the end.
    pub ephemeral: bool,
    /// The superuser's name.
    pub superuser: String,
    /// The superuser's password, set when the data is made; `None` trusts every connection from this machine.
    pub password: Option<String>,
}

impl ClusterConfig {
    /// Makes the configuration of a durable cluster whose superuser is `postgres`.
    pub fn new(installation: Installation, data_dir: impl Into<PathBuf>) -> ClusterConfig {
        ClusterConfig {
            installation,
            data_dir: data_dir.into(),
            port: None,
            settings: Vec::new(),
            durable: true,
            ephemeral: false,
            superuser: "postgres".to_owned(),
            password: None,
        }
    }
}

impl fmt::Debug for ClusterConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClusterConfig")
            .field("installation", &self.installation)
            .field("data_dir", &self.data_dir)
            .field("port", &self.port)
            .field("settings", &self.settings)
            .finish_non_exhaustive()
    }
}

/// How a server is stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StopMode {
    /// Ends sessions, writes a checkpoint, ends.
    Fast,
    /// Ends without a checkpoint; the next start recovers.
    Immediate,
    /// Kills the first process; its children find out by themselves.
    Kill,
}

/// A private cluster, owned by this process; dropping it stops the server at once.
#[derive(Debug)]
pub struct Cluster {
    config: ClusterConfig,
    folder: Folder,
    account: Account,
    port: u16,
    had_port: bool,
    server: Option<Server>,
}

impl Cluster {
    /// Makes the data where it is missing, starts the server and waits until it takes connections.
    pub fn start(config: ClusterConfig) -> Result<Cluster, Fault> {
        let account = Account::choose()
            .ok_or_else(|| start_fault("Postgres does not run as root and no user `postgres` or `nobody` exists"))?;
        if !account.reaches(config.installation.bin_dir()) {
            let detail = "as root the server runs as another user, who cannot reach the folder of the programs";
            return Err(start_fault(detail));
        }
        let folder = Folder::open(&config.data_dir, account)?;
        folder.stop_orphan()?;
        folder.initialise(&config)?;
        let port = config.port.unwrap_or(0);
        let mut cluster = Cluster { config, folder, account, port, had_port: false, server: None };
        cluster.launch()?;
        Ok(cluster)
    }

    /// Reports whether the server's user could reach a cluster in this folder; only root needs to ask.
    pub fn could_live_in(data_dir: &Path) -> bool {
        Account::choose().is_some_and(|account| account.reaches(data_dir))
    }

    /// Stops the server and gives the folder up.
    pub fn stop(mut self, mode: StopMode) {
        self.halt(mode);
    }

    /// Stops the server; `restart` starts it again on the same port.
    pub fn halt(&mut self, mode: StopMode) {
        if let Some(server) = self.server.take() {
            server.end(mode);
        }
    }

    /// Kills the server's first process as a crash would.
    pub fn kill9(&mut self) {
        self.halt(StopMode::Kill);
    }

    /// Starts the server again on the same port and data, stopping it first where it runs.
    pub fn restart(&mut self) -> Result<(), Fault> {
        self.halt(StopMode::Fast);
        self.folder.stop_orphan()?;
        self.launch()
    }

    /// Replaces a setting, in force after the next `restart`.
    pub fn set(&mut self, name: &str, value: &str) {
        self.config.settings.retain(|(existing, _)| existing != name);
        self.config.settings.push((name.to_owned(), value.to_owned()));
    }

    /// Returns the port, the same for the cluster's whole life.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Returns the process number of the server's first process while it runs.
    pub fn pid(&self) -> Option<u32> {
        self.server.as_ref().map(Server::pid)
    }

    /// Reports whether the server's first process runs.
    pub fn running(&mut self) -> bool {
        self.server.as_mut().is_some_and(|server| server.exited().is_none())
    }

    /// Returns the programs that the cluster runs on.
    pub fn installation(&self) -> &Installation {
        &self.config.installation
    }

    /// Returns the server's data folder, in which its Unix socket lies too.
    pub fn data(&self) -> PathBuf {
        self.folder.data()
    }

    /// Returns the end of the server's log.
    pub fn log_tail(&self) -> String {
        self.folder.log_tail(0)
    }

    /// Returns the connection URL of a database; it holds the password.
    pub fn url(&self, database: &str) -> String {
        let user = percent_encode(&self.config.superuser);
        let password = self.config.password.as_deref().map(|text| format!(":{}", percent_encode(text)));
        let (password, port, database) = (password.unwrap_or_default(), self.port, percent_encode(database));
        format!("postgres://{user}{password}@127.0.0.1:{port}/{database}")
    }

    fn launch(&mut self) -> Result<(), Fault> {
        let deadline = Instant::now() + SETTLE;
        // A port that clients have been told stays; one that nobody knows yet may change.
        let choose = self.port == 0;
        loop {
            if choose {
                self.port = free_port()?;
            }
            self.folder.configure(&self.config, self.port)?;
            let fault = match Server::start(&self.config, &self.folder, self.account) {
                Ok(server) => {
                    self.server = Some(server);
                    self.had_port = true;
                    return Ok(());
                }
                Err(StartError::Other(fault)) => return Err(fault),
                Err(StartError::PortInUse(fault)) => {
                    Fault::new(Code::PortInUse, format!("port {}", self.port)).with_source(fault)
                }
                Err(StartError::StillLeaving(fault)) => fault,
            };
            // A port that was asked for and never ours belongs to someone who will keep it.
            let foreign = fault.code() == Code::PortInUse && !choose && !self.had_port;
            if foreign || Instant::now() > deadline {
                return Err(fault);
            }
            std::thread::sleep(SETTLE_POLL);
        }
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        self.halt(StopMode::Immediate);
        if self.config.ephemeral
            && let Err(error) = std::fs::remove_dir_all(self.folder.root())
        {
            tracing::warn!(%error, "the folder of a private Postgres could not be deleted");
        }
    }
}

fn free_port() -> Result<u16, Fault> {
    for _ in 0..PORT_TRIES {
        let random = RandomState::new().build_hasher().finish();
        let span = u64::from(PORTS.end - PORTS.start);
        let port = PORTS.start + u16::try_from(random % span).unwrap_or(0);
        if TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok() {
            return Ok(port);
        }
    }
    let any = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).and_then(|listener| listener.local_addr());
    any.map(|address| address.port()).map_err(|error| start_fault("there is no free port").with_source(error))
}

fn percent_encode(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn url_parts_are_encoded() {
        assert_eq!(percent_encode("p@ss w/ör?d"), "p%40ss%20w%2F%C3%B6r%3Fd");
    }
}
