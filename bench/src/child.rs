//! Antiphon's capture as a process of its own, so that memory and CPU are its own.
//!
//! It says `ready` when it streams, ends when its standard input ends or the position is reached, and prints what it saw
//! as one line of JSON. Its log is the real one, or the discarding one that only this bench can choose.

use std::{collections::BTreeMap, io::Read, sync::Arc};

use antiphon_engine::{
    Bus, CaptureConfig, CaptureService, Fault,
    ports::{ActivityLog, Leadership, Schemas, Source},
};
use antiphon_model::{EntityType, Lsn, Polling, RelationName, SourceState, Tenancy};
use antiphon_postgres::{
    ConnectionInfo, LogSource, QueryConfig, QuerySource, SourceConfig, TriggerConfig, TriggerSource,
};
use antiphon_store::{Connect, Store};
use anyhow::{Context, Result};
use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use tokio_postgres::Client;
use tokio_util::sync::CancellationToken;

use crate::{
    discard::{Discard, complete},
    report::percentile,
    usage::{self, Usage},
    watched::{Watched, now},
};

/// What the child is told.
#[derive(clap::Args, Clone)]
pub(crate) struct Options {
    #[arg(long)]
    pub(crate) url: String,
    #[arg(long)]
    pub(crate) log_url: String,
    #[arg(long)]
    pub(crate) slot: String,
    #[arg(long)]
    pub(crate) spool: std::path::PathBuf,
    /// Throw activities away
    #[arg(long)]
    pub(crate) discard: bool,
    /// Stop once everything up to here is durable; otherwise at the end of standard input
    #[arg(long)]
    pub(crate) end: Option<Lsn>,
    /// Stop once so many activities are durable
    #[arg(long, conflicts_with = "end")]
    pub(crate) count: Option<u64>,
    /// How changes are captured
    #[arg(long, value_enum, default_value = "log")]
    pub(crate) method: Method,
    /// Keep each activity's latency
    #[arg(long)]
    pub(crate) latencies: bool,
}

/// A capture method.
#[derive(clap::ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Method {
    Log,
    Trigger,
    Query,
}

/// What the child says at its end.
#[derive(Serialize, Deserialize, Debug)]
pub(crate) struct Outcome {
    pub(crate) seconds: f64,
    pub(crate) activities: u64,
    pub(crate) first_at_micros: i64,
    pub(crate) ended_at_micros: i64,
    pub(crate) p50_ms: f64,
    pub(crate) p95_ms: f64,
    pub(crate) p99_ms: f64,
    pub(crate) max_ms: f64,
    pub(crate) usage: Usage,
    /// What the log wrote ahead and what it holds, where there is one.
    pub(crate) log: Option<LogBytes>,
}

/// Sizes of a log.
#[derive(Clone, Copy, Serialize, Deserialize, Debug)]
pub(crate) struct LogBytes {
    /// Bytes of write-ahead log since the log was empty; the whole server's, so only what runs alone counts.
    pub(crate) wal: i64,
    /// Bytes of the activities and their indexes.
    pub(crate) stored: i64,
}

/// Connects to a log.
pub(crate) struct Connector(pub(crate) ConnectionInfo);

#[async_trait]
impl Connect for Connector {
    async fn connect(&self) -> Result<Client, Fault> {
        antiphon_postgres::connect_sql(&self.0, "antiphon bench log").await
    }

    async fn connect_listening(&self, heard: antiphon_engine::ports::Heard) -> Result<Client, Fault> {
        antiphon_postgres::connect_listening(&self.0, "antiphon bench log", heard).await
    }
}

fn entity() -> Arc<EntityType> {
    Arc::new(EntityType {
        name: "item".into(),
        table: RelationName { schema: "public".into(), name: "items".into() },
        org: Tenancy::Column("organization_id".into()),
        key: vec!["id".into()],
        tx: "tx".into(),
        hidden: Vec::new(),
        sync: antiphon_model::Sync::All,
        filter: Vec::new(),
        together: Vec::new(),
        refs: BTreeMap::new(),
        fields: BTreeMap::new(),
        rules: Vec::new(),
        polling: Polling { cursor: Some("created_at".into()), soft_delete: None },
    })
}

fn source(info: ConnectionInfo, options: &Options) -> Result<Arc<dyn Source>> {
    let entities = vec![entity()];
    Ok(match options.method {
        Method::Log => {
            let config = SourceConfig::new(info, options.slot.clone(), "bench", entities, &options.spool);
            Arc::new(LogSource::new(config)?)
        }
        Method::Trigger => Arc::new(TriggerSource::new(TriggerConfig::new(info, entities))?),
        Method::Query => Arc::new(QuerySource::new(QueryConfig::new(info, entities))?),
    })
}

/// Runs until told to stop.
pub(crate) async fn run(options: Options) -> Result<()> {
    let info = ConnectionInfo::parse(&options.url)?;
    let source = source(info, &options)?;
    let Log { activities: log, leadership, schemas, sizes } = log(&options).await?;
    let watched = Watched::new(leadership, options.latencies);
    let bus = Bus::new(log.clone(), log.head().await?);
    let (service, handle) = CaptureService::new(CaptureConfig {
        copies_at_once: 4,
        seal_key: antiphon_engine::SealKey::new(vec![7; 32]),
        source_name: "main".into(),
        holder: "bench".into(),
        entities: vec![entity()],
        source,
        leadership: Arc::new(watched.clone()),
        schemas,
        bus,
        notices: Arc::new(antiphon_engine::ports::LocalNotices::default()),
        clock: Arc::new(now),
    });
    let (stop, started) = (CancellationToken::new(), now());
    let running = antiphon_engine::spawn("capture", service.run(stop.clone()));
    let streams = |state: SourceState| matches!(state, SourceState::CatchingUp | SourceState::Streaming);
    handle.subscribe().wait_for(|status| streams(status.state)).await.context("capture ended")?;
    eprintln!("ready");
    match (options.end, options.count) {
        (Some(end), _) => watched.reached(|reached| reached.lsn >= end).await,
        (None, Some(count)) => watched.reached(|reached| reached.activities >= count).await,
        (None, None) => drop(tokio::task::spawn_blocking(|| std::io::stdin().read_to_end(&mut Vec::new())).await??),
    }
    let ended = now();
    let log = match &sizes {
        Some(sizes) => Some(sizes.read().await?),
        None => None,
    };
    let outcome = watched.seen(|seen| {
        seen.latencies_ms.sort_by(f64::total_cmp);
        let at = |share| percentile(&seen.latencies_ms, share);
        Ok::<_, anyhow::Error>(Outcome {
            seconds: (ended.0 - started.0) as f64 / 1e6,
            activities: seen.activities,
            first_at_micros: seen.first_at.map_or(0, |at| at.0),
            ended_at_micros: ended.0,
            p50_ms: at(0.5),
            p95_ms: at(0.95),
            p99_ms: at(0.99),
            max_ms: at(1.0),
            usage: usage::of("self")?,
            log,
        })
    })?;
    serde_json::to_writer(std::io::stdout(), &outcome)?;
    std::io::Write::flush(&mut std::io::stdout())?;
    stop.cancel();
    running.await?;
    Ok(())
}

struct Log {
    activities: Arc<dyn ActivityLog>,
    leadership: Arc<dyn Leadership>,
    schemas: Arc<dyn Schemas>,
    sizes: Option<Sizes>,
}

/// Reads what the log has written, counted from where it was empty.
struct Sizes {
    client: Client,
    from: Lsn,
}

impl Sizes {
    async fn new(client: Client) -> Result<Sizes> {
        let from: String = client.query_one("select pg_current_wal_insert_lsn()::text", &[]).await?.get(0);
        let from = from.parse().map_err(|_| anyhow::anyhow!("{from} is no position"))?;
        Ok(Sizes { client, from })
    }

    async fn read(&self) -> Result<LogBytes> {
        let sql = "select (pg_current_wal_insert_lsn() - $1::text::pg_lsn)::int8,
                     (select coalesce(sum(pg_total_relation_size(inhrelid)), 0)::int8
                        from pg_inherits where inhparent = 'log.activities'::regclass)";
        let row = self.client.query_one(sql, &[&self.from.to_string()]).await?;
        Ok(LogBytes { wal: row.get(0), stored: row.get(1) })
    }
}

async fn log(options: &Options) -> Result<Log> {
    if options.discard {
        let discard = Arc::new(Discard::new(&["item"]));
        return Ok(Log { activities: discard.clone(), leadership: discard.clone(), schemas: discard, sizes: None });
    }
    let info = ConnectionInfo::parse(&options.log_url)?;
    let mut client = antiphon_postgres::connect_sql(&info, "antiphon bench").await?;
    antiphon_store::migrate(&mut client).await?;
    let copied = complete("item");
    let sql = "insert into log.snapshots (type, rows_done, rows_estimated, complete) values ($1, 0, 0, true) on conflict do nothing";
    client.execute(sql, &[&copied.entity_type]).await?;
    let pool = antiphon_postgres::pool(&info, "antiphon bench pool", 4)?;
    let store = Arc::new(Store::new(pool, Arc::new(Connector(info))));
    let sizes = Some(Sizes::new(client).await?);
    Ok(Log { activities: store.clone(), leadership: store.clone(), schemas: store, sizes })
}
