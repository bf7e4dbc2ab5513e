//! `antiphon dev`: a private Postgres, the demonstration application, and the server, in one process.
//!
//! Laws: it listens on 127.0.0.1 only; whatever it started ends with it; with a data folder everything is kept, the
//! tokens too, also across SIGKILL; a Postgres that dies is started again. It refuses to use a data folder twice.

mod demo;
mod folder;
mod page;
mod ready;
mod setup;

use std::{
    collections::BTreeMap,
    net::{SocketAddr, TcpListener},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, OnceLock, PoisonError},
    time::Duration,
};

use antiphon_engine::Fault;
use antiphon_model::{Code, EntityType};
use antiphon_postgres::{Cluster, ClusterConfig, FindOptions, Installation, StopMode};
use rustix::process::{Pid, test_kill_process};
use tokio::task::JoinHandle;

use self::folder::Folder;
use crate::admin::{AdminConfig, CaptureMethod, ServeOptions, Service, serve_with_page};

const APP_DATABASE: &str = "app";
const LOG_DATABASE: &str = "antiphon";
const SLOT: &str = "antiphon";
const PUBLICATION: &str = "antiphon";
const SPOOL_BYTES_MAX: u64 = 8 << 30;
const WATCH: Duration = Duration::from_millis(500);

/// Where to look for Postgres; the caller reads the environment.
#[derive(Clone, Debug, Default)]
pub struct PostgresLookup {
    /// A folder of programs named on the command line.
    pub flag: Option<PathBuf>,
    /// A folder of programs named in the environment.
    pub environment: Option<PathBuf>,
    /// The folders of PATH.
    pub path: Vec<PathBuf>,
    /// Our cache folder.
    pub cache: Option<PathBuf>,
}

/// Says a line to the person.
pub type Talk = Box<dyn Fn(&str) + Send + Sync>;

/// How to run everything on this machine.
pub struct DevConfig {
    /// The address of the API and the page; its port may be 0.
    pub listen: SocketAddr,
    /// Where data is kept; `None`: a temporary folder, removed at the end.
    pub data: Option<PathBuf>,
    /// Where a temporary folder is made.
    pub temporary: PathBuf,
    /// SQL to run once after the demonstration's rows are made.
    pub seed: Option<String>,
    /// Where to look for Postgres.
    pub lookup: PostgresLookup,
    /// Where progress is said.
    pub talk: Talk,
}

/// What runs and how to reach it.
#[derive(Clone, Debug)]
pub struct DevInfo {
    /// The API's address.
    pub api: String,
    /// The demonstration's database.
    pub database_url: String,
    /// Our own database.
    pub log_url: String,
    /// The slot.
    pub slot: String,
    /// The publication.
    pub publication: String,
    /// Tokens by user.
    pub tokens: BTreeMap<String, String>,
    /// The organisations' ids.
    pub orgs: Vec<String>,
    /// The declared types.
    pub entities: Vec<EntityType>,
    /// The program `psql`, where it is.
    pub psql: String,
}

impl DevInfo {
    /// Returns three commands to try next: what each does, and its text.
    pub fn commands(&self) -> Vec<(&'static str, String)> {
        let alice = self.tokens.get("alice").map_or("TOKEN", String::as_str);
        let change = "update pages set title = 'Hello from psql' where id = '00000000-0000-4001-8001-000000000001'";
        vec![
            ("Watch what happens", "antiphon tail --org acme".to_owned()),
            ("Change a row", format!("{} '{}' -c \"{change}\"", self.psql, self.database_url)),
            (
                "Read the live stream",
                format!("curl -N -H 'Authorization: Bearer {alice}' '{}/v1/orgs/acme/live?live=sse'", self.api),
            ),
        ]
    }
}

/// Everything on this machine, running.
pub struct Dev {
    info: DevInfo,
    serving: Service,
    cluster: Arc<Mutex<Option<Cluster>>>,
    watch: JoinHandle<()>,
    folder: Folder,
}

impl Dev {
    /// Starts everything and waits until it answers.
    pub async fn start(config: DevConfig) -> Result<Dev, Fault> {
        free(config.listen)?;
        let talk: Arc<dyn Fn(&str) + Send + Sync> = Arc::from(config.talk);
        let lookup = config.lookup;
        let folder = Folder::open(config.data.as_deref(), &config.temporary)?;
        let durable = config.data.is_some();
        talk(if durable { "starting Postgres" } else { "making a private Postgres" });
        let path = lookup.path.clone();
        // The folder goes along, so that it cannot be removed under a server that is just starting.
        let started = tokio::task::spawn_blocking(move || {
            let cluster = start_cluster(lookup, &folder, durable)?;
            Ok::<_, Fault>((folder, cluster))
        });
        let started =
            started.await.map_err(|error| Fault::new(Code::Internal, "a thread failed").with_source(error))?;
        // Wherever the start ends early, the server is dropped first and its folder last.
        let (folder, cluster) = started?;
        talk(&format!("Postgres {} runs", cluster.installation().version()));
        let mut info = describe(&cluster, &folder, &path);

        let fresh = setup::databases(&cluster.url("postgres"), &info.database_url, config.seed.as_deref()).await?;
        talk(if fresh { "the demonstration's tables and rows are made" } else { "the data of an earlier run is kept" });
        let admin = AdminConfig {
            database_url: info.database_url.clone(),
            log_url: Some(info.log_url.clone()),
            standby_url: None,
            slot: SLOT.into(),
            publication: PUBLICATION.into(),
            entities: info.entities.clone(),
            spool_dir: folder.spool(),
            spool_bytes_max: SPOOL_BYTES_MAX,
            method: CaptureMethod::Log,
            poll_interval: None,
            reconcile_interval: None,
        };
        setup::entities(&admin).await?;
        setup::people(&admin, &info.tokens).await?;
        let options = ServeOptions::new(config.listen);
        let shown = Arc::new(OnceLock::new());
        let serving = serve_with_page(admin, options, page::router(Arc::clone(&shown))).await?;
        info.api = format!("http://{}", serving.local_addr());
        // Set once, here; the page answers that it is not ready until then.
        shown.set(info.clone()).map_err(|_| Fault::new(Code::Internal, "the page was shown twice"))?;
        talk("the server runs; waiting until it captures");
        ready::answers(serving.local_addr()).await?;
        if !ready::streams(&serving).await {
            talk("copying the rows takes its time; they appear as they come");
        }
        let cluster = Arc::new(Mutex::new(Some(cluster)));
        let watch = antiphon_engine::spawn("dev postgres watch", watch(Arc::clone(&cluster), talk));
        Ok(Dev { info, serving, cluster, watch, folder })
    }

    /// Returns what runs and how to reach it.
    pub fn info(&self) -> &DevInfo {
        &self.info
    }

    /// Returns the folder that keeps the data; `None` where it is removed at the end.
    pub fn data(&self) -> Option<&Path> {
        self.folder.kept()
    }

    /// Waits for a failure that the server cannot mend by itself.
    pub async fn failed(&self) -> Fault {
        self.serving.failed().await
    }

    /// Stops everything that was started.
    pub async fn stop(self) {
        let Dev { serving, cluster, watch, folder, .. } = self;
        watch.abort();
        serving.stop().await;
        let stopped = tokio::task::spawn_blocking(move || {
            let cluster = lock(&cluster).take();
            if let Some(cluster) = cluster {
                cluster.stop(StopMode::Fast);
            }
            drop(folder);
        });
        if let Err(error) = stopped.await {
            tracing::error!(%error, "the private Postgres was not stopped");
        }
    }
}

/// Tells whether a process of this number runs.
pub fn process_runs(pid: u32) -> bool {
    let pid = i32::try_from(pid).ok().and_then(Pid::from_raw);
    pid.is_some_and(|pid| match test_kill_process(pid) {
        Ok(()) => true,
        // It runs, as somebody else.
        Err(error) => error == rustix::io::Errno::PERM,
    })
}

/// Tells early that a port is taken, before a Postgres is made for nothing.
fn free(listen: SocketAddr) -> Result<(), Fault> {
    match TcpListener::bind(listen) {
        Ok(_) => Ok(()),
        Err(error) => Err(Fault::new(Code::PortInUse, format!("port {}", listen.port())).with_source(error)),
    }
}

fn start_cluster(lookup: PostgresLookup, folder: &Folder, durable: bool) -> Result<Cluster, Fault> {
    let options =
        FindOptions { flag: lookup.flag, environment: lookup.environment, path: lookup.path, cache: lookup.cache };
    let mut config = ClusterConfig::new(Installation::find(&options)?, folder.cluster());
    config.durable = durable;
    config.ephemeral = !durable;
    config.password = Some(folder.password().to_owned());
    Cluster::start(config)
}

fn describe(cluster: &Cluster, folder: &Folder, path: &[PathBuf]) -> DevInfo {
    let own = cluster.installation().program("psql");
    let on_path = path.iter().any(|folder| folder.join("psql").is_file());
    DevInfo {
        api: String::new(),
        database_url: cluster.url(APP_DATABASE),
        log_url: cluster.url(LOG_DATABASE),
        slot: SLOT.into(),
        publication: PUBLICATION.into(),
        tokens: folder.tokens().clone(),
        orgs: demo::ORGS.iter().map(|(id, _)| (*id).to_owned()).collect(),
        entities: demo::entities(),
        psql: if on_path || !own.is_file() { "psql".to_owned() } else { own.display().to_string() },
    }
}

/// Starts the private Postgres again when it dies.
async fn watch(cluster: Arc<Mutex<Option<Cluster>>>, talk: Arc<dyn Fn(&str) + Send + Sync>) {
    loop {
        tokio::time::sleep(WATCH).await;
        if lock(&cluster).as_mut().is_none_or(Cluster::running) {
            continue;
        }
        talk("the private Postgres ended; it is started again");
        let again = Arc::clone(&cluster);
        let restarted = tokio::task::spawn_blocking(move || lock(&again).as_mut().map_or(Ok(()), Cluster::restart));
        match restarted.await {
            Ok(Ok(())) => talk("the private Postgres runs again"),
            Ok(Err(fault)) => talk(&format!("it did not start: {fault}")),
            Err(_) => return,
        }
    }
}

fn lock(cluster: &Mutex<Option<Cluster>>) -> std::sync::MutexGuard<'_, Option<Cluster>> {
    // A panic while it was held left the cluster as it was.
    cluster.lock().unwrap_or_else(PoisonError::into_inner)
}
