//! Real Postgres for tests: one shared cluster per version and process, private ones for faults, a database per test.
//!
//! Shared clusters start at first use and end with the process. Slots belong to a cluster, not to a database: take
//! their names from `TestDb`, which removes them with the database. A version that is not installed is skipped.

use std::{
    env, fmt,
    future::Future,
    net::SocketAddr,
    path::PathBuf,
    process,
    sync::{
        Arc, Mutex, MutexGuard, OnceLock, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use antiphon_postgres::{Cluster, ClusterConfig, Installation, StopMode};
use tokio_postgres::{Client, NoTls};

use crate::{skip::skipped, task::spawn};

/// Cleaning up after a test may take this long before it is given up.
const CLEAN_UP: Duration = Duration::from_secs(10);

/// A Postgres version that tests run against.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum PgVersion {
    /// The oldest that we support.
    V15,
    /// Only in the full matrix.
    V16,
    /// Only in the full matrix.
    V17,
    /// The newest.
    V18,
}

impl PgVersion {
    /// Every version that we support.
    pub const ALL: [PgVersion; 4] = [PgVersion::V15, PgVersion::V16, PgVersion::V17, PgVersion::V18];

    /// Returns the versions that this run is about: the oldest and the newest, or those that `ANTIPHON_PG_VERSIONS`
    /// names by their numbers, as `script/matrix` does.
    ///
    /// # Panics
    /// For a number that is no version of ours: a run that tests nothing must not pass.
    pub fn tested() -> Vec<PgVersion> {
        let Some(named) = env::var_os("ANTIPHON_PG_VERSIONS") else { return vec![PgVersion::V15, PgVersion::V18] };
        let named = named.to_string_lossy().into_owned();
        let known = |word: &str| PgVersion::ALL.into_iter().find(|version| version.major().to_string() == word);
        let versions: Option<Vec<PgVersion>> = named.split_whitespace().map(known).collect();
        let versions = versions.filter(|versions| !versions.is_empty());
        versions.unwrap_or_else(|| panic!("ANTIPHON_PG_VERSIONS is {named:?}, and we know 15, 16, 17 and 18"))
    }

    /// Finds the version's programs on this machine.
    pub fn installation(self) -> Option<Installation> {
        let usual = match self {
            PgVersion::V15 => PathBuf::from("/usr/lib/postgresql/15/bin"),
            _ => cache().join(format!("postgres-{}/bin", self.major())),
        };
        let folder = env::var_os(format!("ANTIPHON_PG{}_BIN", self.major())).map_or(usual, PathBuf::from);
        let found = Installation::at(&folder).ok()?;
        (found.version().major == self.major()).then_some(found)
    }

    /// Returns the major version.
    pub fn major(self) -> u32 {
        match self {
            PgVersion::V15 => 15,
            PgVersion::V16 => 16,
            PgVersion::V17 => 17,
            PgVersion::V18 => 18,
        }
    }
}

impl fmt::Display for PgVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Postgres {}", self.major())
    }
}

/// A running cluster.
#[derive(Clone, Debug)]
pub struct Pg {
    version: PgVersion,
    port: u16,
    cluster: Arc<Mutex<Cluster>>,
}

impl Pg {
    /// Returns this process's shared cluster of a version, `None` (and a skip) where it is not installed.
    pub async fn shared(version: PgVersion) -> Option<Pg> {
        static SHARED: [OnceLock<Option<Pg>>; 4] = [const { OnceLock::new() }; 4];
        let slot = &SHARED[version as usize];
        let found = blocking(move || slot.get_or_init(|| start(version, &[])).clone()).await;
        if found.is_none() {
            skipped(&version.to_string());
        }
        found
    }

    /// Starts a cluster of one's own, which may be broken at will; `None` (and a skip) where it is not installed.
    pub async fn private(version: PgVersion, settings: &[(&str, &str)]) -> Option<Pg> {
        let settings = owned(settings);
        let found = blocking(move || start(version, &settings)).await;
        if found.is_none() {
            skipped(&version.to_string());
        }
        found
    }

    /// Starts a cluster of one's own from programs of one's own.
    pub(crate) async fn private_of(version: PgVersion, programs: Installation, settings: &[(&str, &str)]) -> Pg {
        let settings = owned(settings);
        blocking(move || start_of(version, programs, &settings)).await
    }

    /// Returns the version.
    pub fn version(&self) -> PgVersion {
        self.version
    }

    /// Returns the port on 127.0.0.1, the same across restarts.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Returns the address.
    pub fn address(&self) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], self.port))
    }

    /// Returns the superuser's URL of a database.
    pub fn url(&self, database: &str) -> String {
        self.lock().url(database)
    }

    /// Returns the path of one of the version's programs.
    pub fn program(&self, name: &str) -> PathBuf {
        self.lock().installation().program(name)
    }

    /// Returns the process number of the server's first process while it runs.
    pub fn pid(&self) -> Option<u32> {
        self.lock().pid()
    }

    /// Returns the end of the server's log.
    pub fn log_tail(&self) -> String {
        self.lock().log_tail()
    }

    /// Stops the server until `restart`.
    pub async fn halt(&self, mode: StopMode) {
        let cluster = Arc::clone(&self.cluster);
        blocking(move || lock(&cluster).halt(mode)).await;
    }

    /// Kills the server's first process; `restart` then recovers.
    pub async fn kill9(&self) {
        self.halt(StopMode::Kill).await;
    }

    /// Starts the server again on the same port and data.
    ///
    /// # Panics
    /// When it does not start.
    pub async fn restart(&self) {
        let cluster = Arc::clone(&self.cluster);
        let started = blocking(move || lock(&cluster).restart()).await;
        assert!(started.is_ok(), "{} does not start again: {started:?}", self.version);
    }

    /// Replaces a server setting, in force after `restart`.
    pub fn set(&self, name: &str, value: &str) {
        self.lock().set(name, value);
    }

    /// Connects as superuser to the database `postgres`.
    pub async fn admin(&self) -> Client {
        connect(&self.url("postgres")).await
    }

    /// Connects as superuser to a database.
    pub async fn connect(&self, database: &str) -> Client {
        connect(&self.url(database)).await
    }

    /// Makes a database for one test; the hint helps to recognise it.
    ///
    /// # Panics
    /// When the server refuses.
    pub async fn database(&self, hint: &str) -> TestDb {
        static COUNT: AtomicU64 = AtomicU64::new(0);
        let hint: String = hint.chars().filter(|c| c.is_ascii_lowercase() || c.is_ascii_digit()).take(24).collect();
        let name = format!("t_{hint}_{}_{}", process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let log_name = format!("{name}_log");
        let admin = self.admin().await;
        for database in [&name, &log_name] {
            let made = admin.batch_execute(&format!("create database \"{database}\" template template0")).await;
            assert!(made.is_ok(), "the database {database} cannot be made: {made:?}");
        }
        TestDb { pg: self.clone(), name, log_name }
    }

    /// Takes over a cluster that was started in another way.
    pub(crate) fn adopt(version: PgVersion, cluster: Cluster) -> Pg {
        Pg { version, port: cluster.port(), cluster: Arc::new(Mutex::new(cluster)) }
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, Cluster> {
        lock(&self.cluster)
    }
}

/// A database of one test, and one more for our own tables; both go when it is dropped.
#[derive(Debug)]
pub struct TestDb {
    pg: Pg,
    name: String,
    log_name: String,
}

impl TestDb {
    /// Returns the name, which fits as an identifier without quotes.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns the cluster.
    pub fn pg(&self) -> &Pg {
        &self.pg
    }

    /// Returns the superuser's URL.
    pub fn url(&self) -> String {
        self.pg.url(&self.name)
    }

    /// Returns the superuser's URL of the database for our own tables.
    pub fn log_url(&self) -> String {
        self.pg.url(&self.log_name)
    }

    /// Returns the URL by way of a proxy.
    pub fn url_through(&self, proxy: SocketAddr) -> String {
        self.url().replace(&self.pg.address().to_string(), &proxy.to_string())
    }

    /// Returns the log's URL by way of a proxy.
    pub fn log_url_through(&self, proxy: SocketAddr) -> String {
        self.log_url().replace(&self.pg.address().to_string(), &proxy.to_string())
    }

    /// Returns a name for a slot that no other test uses.
    pub fn slot(&self) -> String {
        format!("{}_slot", self.name)
    }

    /// Returns a folder for the spool of large transactions; it goes with the cluster.
    pub fn spool(&self) -> PathBuf {
        self.pg.lock().data().with_file_name("spool").join(self.slot())
    }

    /// Returns a name for a publication.
    pub fn publication(&self) -> String {
        format!("{}_pub", self.name)
    }

    /// Connects to the database.
    pub async fn connect(&self) -> Client {
        connect(&self.url()).await
    }

    /// Connects to the database for our own tables.
    pub async fn connect_log(&self) -> Client {
        connect(&self.log_url()).await
    }
}

impl Drop for TestDb {
    fn drop(&mut self) {
        let (url, names) = (self.pg.url("postgres"), [self.name.clone(), self.log_name.clone()]);
        // A thread and runtime of its own: drop cannot wait for the test's.
        let cleaner = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().ok()?;
            runtime.block_on(async { tokio::time::timeout(CLEAN_UP, clean_up(&url, &names)).await.ok() })
        });
        // A private cluster may be down by now; it takes its databases along.
        if !matches!(cleaner.join(), Ok(Some(Ok(())))) {
            tracing::debug!(database.name = self.name, "a test database was not removed");
        }
    }
}

/// Runs a test's body against the shared cluster of every version that this run is about, one after the other.
pub async fn for_each_postgres<F, R>(body: F)
where
    F: Fn(Pg) -> R,
    R: Future<Output = ()>,
{
    for version in PgVersion::tested() {
        if let Some(pg) = Pg::shared(version).await {
            eprintln!("against {version}");
            body(pg).await;
        }
    }
}

async fn clean_up(url: &str, databases: &[String]) -> Result<(), tokio_postgres::Error> {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await?;
    let connection = spawn("test database removal", connection);
    for database in databases {
        let ended = "select pg_terminate_backend(pid) from pg_stat_activity where datname = $1 and pid <> \
                     pg_backend_pid()";
        client.execute(ended, &[database]).await?;
        loop {
            // An ended reader lets go of its slot a moment later; the caller's time limit ends the loop.
            let dropped = "select pg_drop_replication_slot(slot_name) from pg_replication_slots where database = $1 \
                           and not active";
            client.execute(dropped, &[database]).await?;
            let left = "select count(*) from pg_replication_slots where database = $1";
            if client.query_one(left, &[database]).await?.get::<_, i64>(0) == 0 {
                break;
            }
            let active = "select pg_terminate_backend(active_pid) from pg_replication_slots where database = $1 and \
                          active";
            client.execute(active, &[database]).await?;
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        client.batch_execute(&format!("drop database if exists \"{database}\" with (force)")).await?;
    }
    drop(client);
    connection.await.unwrap_or(Ok(()))
}

async fn connect(url: &str) -> Client {
    let connected = tokio_postgres::connect(url, NoTls).await;
    let (client, connection) = match connected {
        Ok(pair) => pair,
        Err(error) => panic!("the test's database cannot be reached: {error:?}"),
    };
    spawn("test connection", async move {
        if let Err(error) = connection.await {
            tracing::debug!(%error, "a test's connection ended");
        }
    });
    client
}

fn start(version: PgVersion, settings: &[(String, String)]) -> Option<Pg> {
    Some(start_of(version, version.installation()?, settings))
}

fn start_of(version: PgVersion, installation: Installation, settings: &[(String, String)]) -> Pg {
    let folder = tempfile::Builder::new().prefix("antiphon-pg-").tempdir().map(tempfile::TempDir::keep);
    let folder = folder.unwrap_or_else(|error| panic!("no temporary folder for {version}: {error}"));
    let mut config = ClusterConfig::new(installation, folder);
    config.durable = false;
    config.ephemeral = true;
    config.settings = settings.to_vec();
    match Cluster::start(config) {
        Ok(cluster) => Pg::adopt(version, cluster),
        Err(fault) => panic!("{version} does not start: {fault:?}"),
    }
}

fn owned(settings: &[(&str, &str)]) -> Vec<(String, String)> {
    settings.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

pub(crate) async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    match tokio::task::spawn_blocking(work).await {
        Ok(value) => value,
        Err(error) => std::panic::resume_unwind(error.into_panic()),
    }
}

fn lock(cluster: &Mutex<Cluster>) -> MutexGuard<'_, Cluster> {
    // A test that panicked while it held the lock has failed already; the others go on.
    cluster.lock().unwrap_or_else(PoisonError::into_inner)
}

pub(crate) fn cache() -> PathBuf {
    let home = || PathBuf::from(env::var_os("HOME").unwrap_or_default());
    env::var_os("ANTIPHON_CACHE").map_or_else(|| home().join(".cache/antiphon"), PathBuf::from)
}
