//! The benchmark `copies`: first copies of tables into the durable log, beside `COPY table TO STDOUT` in the same run.
//!
//! One table alone, several after one another, several side by side: the same rows each time. The reference is what the
//! server can print at all; a copy also joins the stream, becomes activities and lies on disk.

use std::{collections::BTreeMap, sync::Arc, time::Instant};

use antiphon_engine::{
    Bus, CaptureConfig, CaptureService, SealKey,
    ports::{ActivityLog, LocalNotices},
};
use antiphon_model::{EntityType, RelationName, SourceState, Sync, Tenancy};
use antiphon_postgres::{ConnectionInfo, LogSource, SourceConfig};
use antiphon_store::Store;
use antiphon_testkit::{Pg, PgVersion};
use anyhow::{Context, Result};
use futures::StreamExt;
use tokio_postgres::Client;
use tokio_util::sync::CancellationToken;

use crate::{
    child::Connector,
    report::{Line, Report},
    watched::now,
};

/// What is measured.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// Rows in all
    #[arg(long, default_value_t = 1_000_000)]
    rows: u64,
    /// Tables that they are in
    #[arg(long, default_value_t = 4)]
    tables: usize,
    /// The server's version: 15 or 18
    #[arg(long, default_value_t = 15)]
    postgres: u32,
}

/// The mean size of a row in bytes.
const ROW_BYTES: f64 = 200.0;

/// Runs everything and prints the report.
pub(crate) async fn run(options: Options) -> Result<()> {
    let version = if options.postgres == 18 { PgVersion::V18 } else { PgVersion::V15 };
    let settings = [("fsync", "on"), ("full_page_writes", "on"), ("shared_buffers", "512MB"), ("max_wal_size", "8GB")];
    let pg = Pg::private(version, &settings).await.context("that version of Postgres is not installed")?;
    let admin = pg.admin().await;
    let server: String = admin.query_one("select version()", &[]).await?.get(0);
    admin.batch_execute("create database bench_app").await?;
    let client = pg.connect("bench_app").await;
    let parts: Vec<String> = (1..=options.tables.max(1)).map(|n| format!("part{n}")).collect();
    eprintln!("writing {} rows twice", options.rows);
    fill(&client, "whole", options.rows).await?;
    for part in &parts {
        fill(&client, part, options.rows / parts.len() as u64).await?;
    }
    let whole = ["whole".to_owned()];
    let mut report = Report { server, ..Report::default() };
    let reference = printed(&client, "whole").await?;
    let rate = options.rows as f64 / reference;
    report.lines.push(line("COPY table TO STDOUT", "one table", (options.rows, reference), None));
    let mut bench = Bench { pg, runs: 0 };
    let work = format!("{} tables", parts.len());
    for (what, work, tables, at_once) in [
        ("antiphon, durable log", "one table", &whole[..], 1),
        ("antiphon, one after another", work.as_str(), &parts[..], 1),
        ("antiphon, side by side", work.as_str(), &parts[..], parts.len()),
    ] {
        let seconds = bench.copy(&client, tables, at_once).await?;
        report.lines.push(line(what, work, (options.rows, seconds), Some(rate)));
    }
    report.print()
}

struct Bench {
    pg: Pg,
    runs: usize,
}

impl Bench {
    /// Copies tables into a log of their own, and returns how many seconds that took.
    async fn copy(&mut self, client: &Client, tables: &[String], at_once: usize) -> Result<f64> {
        self.runs += 1;
        let (log, name) = (format!("bench_log_{}", self.runs), format!("copies_{}", self.runs));
        client.batch_execute(&format!("create database {log}")).await?;
        client.batch_execute(&format!("create publication {name} for table {}", tables.join(", "))).await?;
        let (info, log) =
            (ConnectionInfo::parse(&self.pg.url("bench_app"))?, ConnectionInfo::parse(&self.pg.url(&log))?);
        antiphon_store::migrate(&mut antiphon_postgres::connect_sql(&log, "antiphon bench").await?).await?;
        let pool = antiphon_postgres::pool(&log, "antiphon bench pool", 4)?;
        let store = Store::new(pool, Arc::new(Connector(log)));
        let entities: Vec<Arc<EntityType>> = tables.iter().map(|table| entity(table)).collect();
        let folder = tempfile::tempdir()?;
        let source = LogSource::new(SourceConfig::new(info, &name, &name, entities.clone(), folder.path()))?;
        let (service, handle) = CaptureService::new(CaptureConfig {
            source_name: "main".into(),
            holder: "bench".into(),
            entities,
            source: Arc::new(source),
            leadership: Arc::new(store.clone()),
            schemas: Arc::new(store.clone()),
            seal_key: SealKey::new(vec![7; 32]),
            copies_at_once: at_once,
            bus: Bus::new(Arc::new(store.clone()), store.head().await?),
            notices: Arc::new(LocalNotices::default()),
            clock: Arc::new(now),
        });
        let stop = CancellationToken::new();
        let running = antiphon_engine::spawn("capture", service.run(stop.clone()));
        let mut status = handle.subscribe();
        status.wait_for(|status| status.state == SourceState::Snapshotting).await.context("capture ended")?;
        let began = Instant::now();
        status.wait_for(|status| status.state == SourceState::Streaming).await.context("capture ended")?;
        let seconds = began.elapsed().as_secs_f64();
        stop.cancel();
        running.await?;
        Ok(seconds)
    }
}

async fn fill(client: &Client, table: &str, rows: u64) -> Result<()> {
    let sql = format!(
        "create table {table} (id int8 primary key, organization_id text not null, title text, body text, at timestamptz);
         insert into {table} select n, 'org' || n % 10, 'title ' || n, repeat(md5(n::text), 4), now()
           from generate_series(1, {rows}) n;
         vacuum analyze {table}"
    );
    for statement in sql.split(';') {
        client.batch_execute(statement).await?;
    }
    Ok(())
}

/// Reads a table as the server prints it, and throws it away.
async fn printed(client: &Client, table: &str) -> Result<f64> {
    let began = Instant::now();
    let mut rows = std::pin::pin!(client.copy_out(&format!("copy {table} to stdout")).await?);
    while let Some(piece) = rows.next().await {
        piece?;
    }
    Ok(began.elapsed().as_secs_f64())
}

fn entity(table: &str) -> Arc<EntityType> {
    Arc::new(EntityType {
        name: table.into(),
        table: RelationName { schema: "public".into(), name: table.into() },
        org: Tenancy::Column("organization_id".into()),
        key: vec!["id".into()],
        tx: "tx".into(),
        hidden: Vec::new(),
        sync: Sync::All,
        filter: Vec::new(),
        together: Vec::new(),
        refs: BTreeMap::new(),
        fields: BTreeMap::new(),
        rules: Vec::new(),
        polling: Default::default(),
    })
}

fn line(what: &str, work: &str, (rows, seconds): (u64, f64), reference: Option<f64>) -> Line {
    let rate = rows as f64 / seconds;
    Line {
        what: what.into(),
        workload: work.into(),
        changes_per_second: rate,
        mb_per_second: rate * ROW_BYTES / 1e6,
        ratio: reference.map(|reference| rate / reference),
        peak_mib: 0.0,
        cpu_us_per_change: 0.0,
        source_cpu_us_per_change: 0.0,
        log_cpu_us_per_change: None,
        log_wal_bytes_per_change: None,
        log_bytes_per_change: None,
        note: format!("{seconds:.1} s"),
    }
}
