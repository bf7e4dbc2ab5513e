//! Builds the engine from its adapters and runs it behind HTTP.
//!
//! The one place that knows every room. Order of a stop: no new requests, streams are told and end, then capture gives
//! its lease back; what was acknowledged is durable at every moment, so there is nothing to save.

mod connections;

use std::{net::SocketAddr, path::PathBuf, sync::Arc, time::Duration};

use antiphon_engine::{
    Bus, CaptureConfig, CaptureHandle, CaptureService, Door, Fault, SealKey,
    ports::{ActivityLog, Heard, Source},
    spawn,
};
use antiphon_model::{Code, EntityType, Micros};
use antiphon_postgres::{
    CaptureMethod, ConnectionInfo, LiveCatalogue, LiveRows, LiveWrites, LogSource, QueryConfig, QuerySource,
    SourceConfig, TriggerConfig, TriggerSource, WriteConfig, connect_listening, connect_sql, ensure_objects,
    health::HealthConfig, maintain_objects, pool,
};
use antiphon_store::{Connect, Retention, Store};
use async_trait::async_trait;
use axum::Router;
use connections::Limits;
use tokio::{net::TcpListener, sync::watch, task::JoinHandle};
use tokio_util::sync::CancellationToken;

use crate::{
    admin,
    app::{App, Shapes},
    auth::{Auth, AuthConfig, Gate, Origins},
    descriptors, desk,
    live::Streams,
    mirrors::Mirrors,
    mutations::MutationLimits,
    operations::SlotView,
    router,
    source_watch::SourceWatch,
    telemetry,
};

/// Readers of our database share so many connections.
const LOG_POOL_MAX: usize = 8;
/// Lists share so many connections to the source.
const ROWS_POOL_MAX: usize = 8;
/// Edits share so many connections to the source.
const WRITES_POOL_MAX: usize = 8;
/// Maintenance of the log runs this often.
const MAINTENANCE: Duration = Duration::from_secs(60);
/// Streams have so long to end by themselves at a stop.
const DRAIN_MAX: Duration = Duration::from_secs(10);
/// What peers may take: a minute between requests of a kept connection, half a minute for a socket that is full.
const LIMITS: Limits =
    Limits { head: Duration::from_secs(60), stalled: Duration::from_secs(30), sent: None, connections: usize::MAX };
/// The source's name in the log.
pub(crate) const SOURCE: &str = "main";

/// What the server needs to know.
pub struct Config {
    /// The database to capture.
    pub source: ConnectionInfo,
    /// Where its standbys are, beyond the hosts of `source`.
    pub standby: Option<ConnectionInfo>,
    /// Our own database.
    pub log: ConnectionInfo,
    /// The replication slot.
    pub slot: String,
    /// The publication.
    pub publication: String,
    /// How the database is captured.
    pub method: CaptureMethod,
    /// How often it is looked at where its log is not decoded; `None`: as often as usual.
    pub poll_interval: Option<Duration>,
    /// How often polled tables are reconciled; `None`: where somebody asks.
    pub reconcile_interval: Option<Duration>,
    /// The declared types, with their keys.
    pub entities: Vec<EntityType>,
    /// Where large transactions wait for their commit.
    pub spool_dir: PathBuf,
    /// How much they may take there.
    pub spool_bytes_max: u64,
    /// How many tables are copied side by side, each over a connection of its own.
    pub copies_at_once: usize,
    /// What the log keeps.
    pub retention: Retention,
    /// Whether our tables are brought to this version first.
    pub migrate: bool,
    /// Streams of one organisation at once; `None`: no limit.
    pub streams_max: Option<usize>,
    /// Bytes that one WebSocket is sent a second, and at once; `None`: no limit.
    pub websocket_bytes: Option<(u64, u64)>,
    /// Bytes of server-sent events or long-polls that one connection is sent a second, and at once; `None`: no limit.
    pub stream_bytes: Option<(u64, u64)>,
    /// Edits of one organisation a second, and at once; `None`: no limit.
    pub mutations_per_second: Option<(u64, u64)>,
    /// What the application's triggers and policies are told of an edit.
    pub writes: WriteConfig,
    /// Routes beside the API's, and pages of this machine let in: only `dev` has them.
    pub page: Option<Router>,
    /// Whether Desk is served beside the API.
    pub desk: bool,
    /// The address to listen on.
    pub listen: SocketAddr,
    /// Tokens of an identity provider.
    pub auth: AuthConfig,
    /// Origins of web pages that may call.
    pub allowed_origins: Vec<String>,
    /// Networks of proxies whose `X-Forwarded-For` is believed.
    pub trusted_proxies: Vec<String>,
    /// Mirrors in other databases: the name of each, and where it is.
    pub mirrors: Vec<(String, ConnectionInfo)>,
}

/// A running server.
pub struct Service {
    address: SocketAddr,
    capture: CaptureHandle,
    drain: CancellationToken,
    stop: CancellationToken,
    ended: watch::Receiver<Option<&'static str>>,
    tasks: Vec<JoinHandle<()>>,
}

struct LogConnector(ConnectionInfo);

#[async_trait]
impl Connect for LogConnector {
    async fn connect(&self) -> Result<tokio_postgres::Client, Fault> {
        connect_sql(&self.0, "antiphon log").await.map_err(log_fault)
    }

    async fn connect_listening(&self, heard: Heard) -> Result<tokio_postgres::Client, Fault> {
        connect_listening(&self.0, "antiphon notices", heard).await.map_err(log_fault)
    }
}

impl Service {
    /// Starts everything; when it returns, the address answers.
    pub async fn start(config: Config) -> Result<Service, Fault> {
        let (origins, gate) = doors(&config)?;
        let listener = listen(config.listen).await?;
        let address = listener.local_addr().map_err(|error| internal("the address cannot be read", error))?;
        let store = open_store(&config).await?;
        let entities: Vec<Arc<EntityType>> = config.entities.iter().cloned().map(Arc::new).collect();
        let (bus, notices) = (open_bus(&store).await?, Arc::new(store.notices().await?));
        let (source, watched) = (source(&config, &entities, store.seal_key().await?)?, health(&config));
        let mirrors = Mirrors::prepare(&config, &store, (&bus, &source), &entities).await?;
        let (service, capture) = CaptureService::new(CaptureConfig {
            source_name: SOURCE.into(),
            holder: uuid::Uuid::new_v4().to_string(),
            entities: entities.clone(),
            source,
            leadership: Arc::new(store.clone()),
            schemas: Arc::new(store.clone()),
            seal_key: store.seal_key().await?,
            copies_at_once: config.copies_at_once,
            bus: bus.clone(),
            notices: Arc::clone(&notices) as _,
            clock: Arc::new(now),
        });
        let rows = pool(&config.source, "antiphon lists", ROWS_POOL_MAX)?;
        let live_rows = Arc::new(LiveRows::new(rows.clone()));
        let door = door(&config, &store, &entities, Arc::clone(&live_rows)).await?;
        let (drain, stop) = (CancellationToken::new(), CancellationToken::new());
        let auth = Auth::open(&config.auth, origins.clone(), Arc::new(store.clone()), Arc::new(store.clone())).await?;
        let app = Arc::new(App {
            entities: entities.into_iter().map(|entity| (entity.name.clone(), entity)).collect(),
            bus,
            capture: capture.clone(),
            slot: SlotView::of(&config),
            watch: SourceWatch::default(),
            rows: live_rows,
            catalogue: Arc::new(LiveCatalogue::new(rows)),
            schemas: Arc::new(store.clone()),
            directory: Arc::new(store.clone()),
            auth,
            gate,
            streams_max: config.streams_max,
            websocket_bytes: config.websocket_bytes,
            stream_bytes: config.stream_bytes,
            streams: Streams::default(),
            drain: drain.clone(),
            shapes: Shapes::default(),
            door,
            mutation_limits: MutationLimits::new(config.mutations_per_second),
            mirrors: mirrors.handles.clone(),
            metrics: recorder()?,
        });
        let page = if config.desk { Some(desk::beside(Arc::clone(&app))) } else { config.page };
        let router = router::router(Arc::clone(&app), page, origins);
        let limits = limits(config.stream_bytes);
        let (report, ended) = watch::channel(None);
        let report = |task| Ends { task, report: report.clone() };
        let [keys_stop, changes_stop, notices_stop, watch_stop] = [(); 4].map(|()| stop.clone());
        let (follower, watching) = (store.clone(), Arc::clone(&app));
        let maintenance = maintain(store, config.source, config.retention, stop.clone());
        let mut tasks = mirrors.start(|| report("mirror"), &stop);
        tasks.extend([
            spawn("capture", report("capture").after(service.run(stop.clone()))),
            spawn("notices", report("notices").after(async move { notices.run(notices_stop).await })),
            spawn("maintenance", report("maintenance").after(maintenance)),
            spawn("watch", report("watch").after(async move { watching.watch.run(watched, watch_stop).await })),
            spawn("keys", report("keys").after(async move { app.auth.run(keys_stop).await })),
            spawn("directory", report("directory").after(async move { follower.follow_changes(changes_stop).await })),
            spawn("http", report("http").after(connections::serve(listener, router, limits, drain.clone()))),
        ]);
        Ok(Service { address, capture, drain, stop, ended, tasks })
    }

    /// Returns the address that it listens on.
    pub fn local_addr(&self) -> SocketAddr {
        self.address
    }

    /// Returns the handle of capture.
    pub fn capture(&self) -> &CaptureHandle {
        &self.capture
    }

    /// Waits until a part of the server has ended that never should, by a panic.
    pub async fn failed(&self) -> Fault {
        let mut ended = self.ended.clone();
        let task = match ended.wait_for(Option::is_some).await {
            Ok(task) => task.unwrap_or_default(),
            Err(_) => "server",
        };
        Fault::new(Code::Internal, format!("the task `{task}` ended"))
    }

    /// Drains and stops; returns when everything has ended.
    pub async fn stop(self) {
        self.drain.cancel();
        let mut tasks = self.tasks.into_iter();
        // The last one is HTTP; the others stop once it has drained.
        if let Some(http) = tasks.next_back() {
            let handle = http.abort_handle();
            if tokio::time::timeout(DRAIN_MAX, http).await.is_err() {
                tracing::warn!("some connections did not end in time and were cut");
                handle.abort();
            }
        }
        self.stop.cancel();
        for task in tasks {
            let handle = task.abort_handle();
            if tokio::time::timeout(DRAIN_MAX, task).await.is_err() {
                handle.abort();
            }
        }
    }
}

/// What peers may take of this process.
fn limits(sent: Option<(u64, u64)>) -> Limits {
    Limits { sent, connections: descriptors::for_peers(descriptors::raise()), ..LIMITS }
}

/// Reads who is let in from where.
fn doors(config: &Config) -> Result<(Origins, Gate), Fault> {
    // Pages of this machine are let in only by `dev`.
    let origins = Origins::read(&config.allowed_origins, config.page.is_some())?;
    Ok((origins, Gate::new(&config.trusted_proxies)?))
}

async fn listen(address: SocketAddr) -> Result<TcpListener, Fault> {
    TcpListener::bind(address).await.map_err(|error| {
        let (code, detail) = match error.kind() {
            std::io::ErrorKind::AddrInUse => (Code::PortInUse, format!("port {}", address.port())),
            std::io::ErrorKind::PermissionDenied => {
                (Code::PortInUse, format!("port {} needs more privileges", address.port()))
            }
            _ => (Code::ConfigInvalid, format!("the address {address} cannot be listened on")),
        };
        Fault::new(code, detail).with_source(error)
    })
}

/// Opens our own database: makes it where it is missing and may be made, and checks its version.
async fn open_store(config: &Config) -> Result<Store, Fault> {
    let mut client = match connect_sql(&config.log, "antiphon migrate").await {
        Ok(client) => client,
        Err(fault) if config.migrate => {
            admin::create_database(&config.log).await.map_err(|_| log_fault(fault))?;
            connect_sql(&config.log, "antiphon migrate").await.map_err(log_fault)?
        }
        Err(fault) => return Err(log_fault(fault)),
    };
    if config.migrate {
        antiphon_store::migrate(&mut client).await?;
    } else {
        let pending = antiphon_store::pending(&mut client).await?;
        if let Some(first) = pending.first() {
            return Err(Fault::new(
                Code::LogOlder,
                format!("{} migrations are missing, the first is {}", pending.len(), first.name),
            ));
        }
    }
    let pool = pool(&config.log, "antiphon readers", LOG_POOL_MAX)?;
    Ok(Store::new(pool, Arc::new(LogConnector(config.log.clone()))))
}

/// Opens the place where readers wait for the log.
async fn open_bus(store: &Store) -> Result<Bus, Fault> {
    let log: Arc<dyn ActivityLog> = Arc::new(store.clone());
    Ok(Bus::new(Arc::clone(&log), log.head().await?))
}

/// Opens the door for writes, and makes what it needs in the application's database.
async fn door(
    config: &Config,
    store: &Store,
    entities: &[Arc<EntityType>],
    rows: Arc<LiveRows>,
) -> Result<Door, Fault> {
    let mut client = connect_sql(&config.source, "antiphon objects").await?;
    ensure_objects(&mut client, now_ms()).await?;
    let writes = pool(&config.source, "antiphon writes", WRITES_POOL_MAX)?;
    let writes = LiveWrites::new(writes, rows, store.seal_key().await?, entities.to_vec(), config.writes.clone())?;
    Ok(Door::new(Arc::new(writes), entities.iter().cloned()))
}

/// Keeps the records of mutations in partitions of a day.
async fn maintain_records(source: &ConnectionInfo) {
    let done = async { maintain_objects(&connect_sql(source, "antiphon objects").await?, now_ms()).await };
    match done.await {
        Ok(0) => {}
        Ok(dropped) => tracing::info!(dropped, "old records of mutations were dropped"),
        Err(fault) => {
            tracing::warn!(error = %fault.chain(), "records of mutations could not be maintained; it is tried again")
        }
    }
}

fn recorder() -> Result<metrics_exporter_prometheus::PrometheusHandle, Fault> {
    telemetry::install().ok_or_else(|| Fault::new(Code::Internal, "another recorder of metrics is installed"))
}

fn health(config: &Config) -> HealthConfig {
    HealthConfig {
        info: config.source.clone(),
        slot: config.slot.clone(),
        publication: config.publication.clone(),
        method: config.method,
        entities: config.entities.clone(),
    }
}

fn source(config: &Config, entities: &[Arc<EntityType>], seal_key: SealKey) -> Result<Arc<dyn Source>, Fault> {
    if config.method == CaptureMethod::Trigger {
        let mut by_triggers = TriggerConfig::new(config.source.clone(), entities.to_vec());
        by_triggers.poll_interval = config.poll_interval.unwrap_or(by_triggers.poll_interval);
        return Ok(Arc::new(TriggerSource::new(by_triggers)?));
    }
    if config.method == CaptureMethod::Query {
        let mut by_queries = QueryConfig::new(config.source.clone(), entities.to_vec());
        by_queries.poll_interval = config.poll_interval.unwrap_or(by_queries.poll_interval);
        by_queries.reconcile_interval = config.reconcile_interval;
        by_queries.seal_key = Some(seal_key);
        return Ok(Arc::new(QuerySource::new(by_queries)?));
    }
    let base = SourceConfig::new(
        config.source.clone(),
        config.slot.clone(),
        config.publication.clone(),
        entities.to_vec(),
        config.spool_dir.clone(),
    );
    let config = SourceConfig { standby: config.standby.clone(), spool_bytes_max: config.spool_bytes_max, ..base };
    Ok(Arc::new(LogSource::new(config)?))
}

async fn maintain(store: Store, source: ConnectionInfo, retention: Retention, stop: CancellationToken) {
    let mut tick = tokio::time::interval(MAINTENANCE);
    loop {
        tokio::select! {
            _ = tick.tick() => {}
            () = stop.cancelled() => return,
        }
        maintain_records(&source).await;
        match store.log_size_bytes().await {
            Ok(size) => metrics::gauge!("antiphon_log_size_bytes").set(size as f64),
            Err(fault) => tracing::debug!(error = %fault.chain(), "the activity log could not be measured"),
        }
        match store.maintain(&retention).await {
            Ok(done) if done == antiphon_store::Done::default() => {}
            Ok(done) => {
                tracing::info!(dropped = ?done.dropped, indexed = ?done.indexed, "the activity log was maintained")
            }
            Err(fault) => {
                tracing::warn!(error = %fault.chain(), "the activity log could not be maintained; it is tried again")
            }
        }
    }
}

/// Tells that a task has ended, by itself or by a panic.
pub(crate) struct Ends {
    task: &'static str,
    report: watch::Sender<Option<&'static str>>,
}

impl Ends {
    pub(crate) async fn after(self, task: impl Future<Output = ()>) {
        task.await;
    }
}

impl Drop for Ends {
    fn drop(&mut self) {
        self.report.send_modify(|ended| *ended = ended.or(Some(self.task)));
    }
}

/// A failure to reach our own database is not one of the source.
fn log_fault(fault: Fault) -> Fault {
    match fault.code() {
        Code::SourceUnreachable => {
            let detail = format!("our own database does not answer: {}", fault.detail());
            Fault::new(Code::LogUnreachable, detail).with_source(fault)
        }
        _ => fault,
    }
}

fn internal(detail: &'static str, error: std::io::Error) -> Fault {
    Fault::new(Code::Internal, detail).with_source(error)
}

pub(crate) fn now() -> Micros {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    Micros(i64::try_from(since.as_micros()).unwrap_or(i64::MAX))
}

fn now_ms() -> u64 {
    now().0.unsigned_abs() / 1_000
}
