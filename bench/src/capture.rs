//! The benchmark `capture`: drain, large transaction, latency; each beside its reference in the same run.
//!
//! Reference and candidate read copies of one slot, so both decode the same log. The server's disk is real (`fsync` on):
//! what is called durable is.

mod methods;

use std::{path::PathBuf, process::Stdio, time::Duration};

use antiphon_testkit::{Pg, PgVersion};
use anyhow::{Context, Result, bail};
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, BufReader},
    process::{Child, Command},
};
use tokio_postgres::Client;

use crate::{
    child,
    debezium::{Debezium, Slot},
    latency,
    recvlogical::{self, Outcome as Reference},
    report::{Latency, Line, Report},
    server::{Meter, Spent},
    workload,
};

/// What is measured.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// Changes of the backlog
    #[arg(long, default_value_t = 1_400_000)]
    changes: u64,
    /// How often reference and candidate take turns
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// Rows of the large transaction
    #[arg(long, default_value_t = 1_000_000)]
    large_rows: u64,
    /// Seconds of each latency measurement
    #[arg(long, default_value_t = 20)]
    seconds: u64,
    /// The server's version: 15 or 18
    #[arg(long, default_value_t = 15)]
    postgres: u32,
}

/// The mean size of a row in bytes, as the workload writes them.
const ROW_BYTES: f64 = 200.0;

struct Bench {
    pg: Pg,
    database: String,
    client: Client,
    folder: tempfile::TempDir,
    debezium: Option<Debezium>,
    slots: usize,
}

/// Runs everything and prints the report.
pub(crate) async fn run(options: Options) -> Result<()> {
    let version = if options.postgres == 18 { PgVersion::V18 } else { PgVersion::V15 };
    // fsync on: what becomes durable in the log must really be on disk, or the comparison means nothing.
    let settings = [
        ("fsync", "on"),
        ("full_page_writes", "on"),
        ("shared_buffers", "1GB"),
        ("max_wal_size", "8GB"),
        ("checkpoint_timeout", "30min"),
        ("max_replication_slots", "60"),
        ("autovacuum", "off"),
    ];
    let pg = Pg::private(version, &settings).await.context("that version of Postgres is not installed")?;
    let admin = pg.admin().await;
    admin.batch_execute("create database bench_app").await?;
    let server: String = admin.query_one("select version()", &[]).await?.get(0);
    let (client, connection) = tokio_postgres::connect(&pg.url("bench_app"), tokio_postgres::NoTls).await?;
    drop(antiphon_testkit::spawn("connection", connection));
    workload::create(&client).await?;
    let folder = tempfile::tempdir()?;
    let debezium = Debezium::prepare(folder.path()).await?;
    let mut bench = Bench { pg, database: "bench_app".into(), client, folder, debezium, slots: 0 };
    let mut report = Report { server, ..Report::default() };
    bench.drain(&options, &mut report).await?;
    bench.large(&options, &mut report).await?;
    for rate in [1_000, 5_000] {
        bench.latency(&options, rate, &mut report).await?;
    }
    bench.methods(&options, &mut report).await?;
    report.print()
}

impl Bench {
    /// Small transactions: the reference, the discarding log, the real log, in turn, several times.
    async fn drain(&mut self, options: &Options, report: &mut Report) -> Result<()> {
        self.slot("backlog").await?;
        eprintln!("writing a backlog of {} changes", options.changes);
        workload::small_transactions(&self.client, options.changes, false).await?;
        let before: String = self.client.query_one("select pg_current_wal_flush_lsn()::text", &[]).await?.get(0);
        let end = self.end().await?;
        let mut rounds: Vec<[Line; 3]> = Vec::new();
        for round in 0..options.rounds {
            eprintln!("drain, round {}", round + 1);
            let reference = self.reference("backlog", &end, &["proto_version=1"]).await?;
            let discard = self.antiphon("backlog", &before, true).await?;
            let log = self.antiphon("backlog", &before, false).await?;
            let rate = options.changes as f64 / reference.0.seconds;
            let work = "10 changes a tx";
            rounds.push([
                reference_line("pg_recvlogical to nothing (protocol 1)", work, options.changes, &reference),
                line("antiphon, discarding log (bench only)", work, options.changes, &discard, rate),
                line("antiphon, durable log", work, options.changes, &log, rate),
            ]);
        }
        for what in 0..3 {
            let mut of_one: Vec<Line> = rounds.iter().map(|round| round[what].clone()).collect();
            of_one.sort_by(|a, b| {
                a.ratio.unwrap_or(a.changes_per_second).total_cmp(&b.ratio.unwrap_or(b.changes_per_second))
            });
            let mut median = of_one.swap_remove(of_one.len() / 2);
            median.note = format!("median of {}; {}", options.rounds, median.note);
            report.lines.push(median);
        }
        let rate = report.lines[0].changes_per_second;
        report.lines.extend(self.debezium("backlog", "10 changes a tx", options.changes, rate).await?);
        self.drop_slot("backlog").await
    }

    /// One transaction of many rows: first as a backlog beside the reference, then live.
    async fn large(&mut self, options: &Options, report: &mut Report) -> Result<()> {
        self.slot("large").await?;
        eprintln!("writing a transaction of {} rows", options.large_rows);
        workload::large_transaction(&self.client, options.large_rows).await?;
        let before: String = self.client.query_one("select pg_current_wal_flush_lsn()::text", &[]).await?.get(0);
        let end = self.end().await?;
        let work = "one large tx";
        let streaming = ["proto_version=2", "streaming=on"];
        let reference = self.reference("large", &end, &streaming).await?;
        report.lines.push(reference_line(
            "pg_recvlogical to nothing (streaming)",
            work,
            options.large_rows,
            &reference,
        ));
        let log = self.antiphon("large", &before, false).await?;
        let rate = options.large_rows as f64 / reference.0.seconds;
        report.lines.push(line("antiphon, durable log", work, options.large_rows, &log, rate));
        report.lines.extend(self.debezium("large", work, options.large_rows, rate).await?);
        self.drop_slot("large").await?;
        self.client.batch_execute("truncate items").await?;

        self.slot("live").await?;
        let meter = self.meter().await?;
        let (mut child, mut lines) = self.start("live", &["--latencies"]).await?;
        lines.ready(&mut child).await?;
        workload::large_transaction(&self.client, options.large_rows).await?;
        let committed = crate::watched::now();
        self.caught_up("live").await?;
        let outcome = lines.outcome(child).await?;
        let spent = meter.end().await?;
        let first_ms = (outcome.first_at_micros - committed.0) as f64 / 1000.0;
        let (max_ms, ended_at) = (outcome.max_ms, outcome.ended_at_micros);
        let mut line = line("antiphon, durable log, live", work, options.large_rows, &(outcome, spent), rate);
        let seconds = (ended_at - committed.0) as f64 / 1e6;
        line.changes_per_second = options.large_rows as f64 / seconds;
        line.ratio = None;
        // The source wrote meanwhile.
        line.log_wal_bytes_per_change = None;
        line.note =
            format!("first activity {first_ms:.0} ms after the commit returned, last after {:.1} s", max_ms / 1000.0);
        report.lines.push(line);
        self.drop_slot("live").await
    }

    /// Single-row transactions at a steady rate.
    async fn latency(&mut self, options: &Options, rate: u64, report: &mut Report) -> Result<()> {
        eprintln!("latency at {rate} transactions a second");
        let name = format!("rate{rate}");
        self.slot(&name).await?;
        let (mut child, mut lines) = self.start(&name, &["--latencies"]).await?;
        lines.ready(&mut child).await?;
        let url = self.pg.url(&self.database);
        let reached = latency::write(&url, rate, options.seconds, 1_000_000_000 * rate as i64).await?;
        self.caught_up(&name).await?;
        let outcome = lines.outcome(child).await?;
        report.latencies.push(Latency {
            rate,
            reached,
            p50_ms: outcome.p50_ms,
            p95_ms: outcome.p95_ms,
            p99_ms: outcome.p99_ms,
            max_ms: outcome.max_ms,
            note: format!("{} activities, the source's fsync included", outcome.activities),
        });
        self.drop_slot(&name).await
    }

    async fn slot(&self, name: &str) -> Result<()> {
        let sql = "select pg_create_logical_replication_slot($1, 'pgoutput')";
        self.client.execute(sql, &[&name]).await?;
        Ok(())
    }

    async fn drop_slot(&self, name: &str) -> Result<()> {
        // A reader that has just ended lets go in its own time.
        let sql = "select active from pg_replication_slots where slot_name = $1";
        while self.client.query_one(sql, &[&name]).await?.get(0) {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        self.client.execute("select pg_drop_replication_slot($1)", &[&name]).await?;
        Ok(())
    }

    async fn copy(&mut self, of: &str) -> Result<String> {
        self.slots += 1;
        let name = format!("{of}_{}", self.slots);
        self.client.execute("select pg_copy_logical_replication_slot($1, $2)", &[&of, &name]).await?;
        Ok(name)
    }

    /// Commits a last change behind the workload, so that readers find an end, and returns the position behind it.
    async fn end(&self) -> Result<String> {
        let sql = "insert into items (id, organization_id) select coalesce(max(id), 0) + 1, 'acme' from items";
        self.client.execute(sql, &[]).await?;
        Ok(self.client.query_one("select pg_current_wal_flush_lsn()::text", &[]).await?.get(0))
    }

    /// Waits until the slot has confirmed all that was written.
    async fn caught_up(&self, slot: &str) -> Result<()> {
        let end: String = self.client.query_one("select pg_current_wal_flush_lsn()::text", &[]).await?.get(0);
        let sql = "select confirmed_flush_lsn >= $2::text::pg_lsn from pg_replication_slots where slot_name = $1";
        while !self.client.query_one(sql, &[&slot, &end]).await?.get::<_, bool>(0) {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        Ok(())
    }

    async fn reference(&mut self, slot: &str, end: &str, options: &[&str]) -> Result<(Reference, Spent)> {
        let copy = self.copy(slot).await?;
        let program = self.pg.program("pg_recvlogical");
        let url = self.pg.url(&self.database);
        let mut all = vec!["publication_names=bench"];
        all.extend(options);
        let meter = self.meter().await?;
        let outcome = recvlogical::drain(&program, &url, &copy, end, &all).await;
        self.drop_slot(&copy).await?;
        Ok((outcome?, meter.end().await?))
    }

    async fn antiphon(&mut self, slot: &str, before: &str, discard: bool) -> Result<(child::Outcome, Spent)> {
        let copy = self.copy(slot).await?;
        // The last change lies behind this position, so reaching it means that everything is durable.
        let mut arguments = vec!["--end", before];
        if discard {
            arguments.push("--discard");
        }
        let meter = self.meter().await?;
        let (child, lines) = self.start(&copy, &arguments).await?;
        let outcome = lines.outcome(child).await;
        self.drop_slot(&copy).await?;
        Ok((outcome?, meter.end().await?))
    }

    /// The peer in Java, where its jars are given.
    async fn debezium(&mut self, slot: &str, workload: &str, changes: u64, reference: f64) -> Result<Option<Line>> {
        let Some(debezium) = self.debezium.clone() else { return Ok(None) };
        eprintln!("the same by Debezium");
        let copy = self.copy(slot).await?;
        let at = Slot { port: self.pg.port(), database: &self.database, name: &copy };
        let meter = self.meter().await?;
        // The last change is the one that the others find their end at.
        let outcome = debezium.drain(&at, changes + 1).await?;
        let spent = meter.end().await?;
        self.drop_slot(&copy).await?;
        let mut line = reference_line("Debezium's embedded engine, counting", workload, changes, &(outcome, spent));
        line.ratio = Some(line.changes_per_second / reference);
        line.note = "once; one gigabyte of heap; its seconds without the start of the virtual machine".into();
        Ok(Some(line))
    }

    /// Starts a child on a slot with a log of its own.
    async fn start(&mut self, slot: &str, arguments: &[&str]) -> Result<(Child, Lines)> {
        let log = format!("bench_log_{slot}");
        self.client.batch_execute(&format!("create database {log}")).await?;
        self.child((&self.database, &log), slot, arguments)
    }

    /// Starts a child from a source's database into a log's.
    fn child(&self, (source, log): (&str, &str), slot: &str, arguments: &[&str]) -> Result<(Child, Lines)> {
        let spool: PathBuf = self.folder.path().join(slot);
        std::fs::create_dir_all(&spool)?;
        let mut command = Command::new(std::env::current_exe()?);
        command.args(["child", "--url", &self.pg.url(source), "--log-url", &self.pg.url(log), "--slot", slot]);
        command.arg("--spool").arg(spool).args(arguments);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
        let mut child = command.spawn()?;
        let stderr = BufReader::new(child.stderr.take().context("no stderr")?);
        Ok((child, Lines { stderr }))
    }

    async fn meter(&self) -> Result<Meter> {
        Meter::start(self.pg.connect("postgres").await).await
    }
}

fn reference_line(what: &str, workload: &str, changes: u64, (outcome, spent): &(Reference, Spent)) -> Line {
    let rate = changes as f64 / outcome.seconds;
    Line {
        what: what.into(),
        workload: workload.into(),
        changes_per_second: rate,
        mb_per_second: rate * ROW_BYTES / 1e6,
        ratio: Some(1.0),
        peak_mib: outcome.usage.peak_mib,
        cpu_us_per_change: outcome.usage.cpu_seconds * 1e6 / changes as f64,
        source_cpu_us_per_change: spent.source_cpu_seconds * 1e6 / changes as f64,
        log_cpu_us_per_change: None,
        log_wal_bytes_per_change: None,
        log_bytes_per_change: None,
        note: String::new(),
    }
}

fn line(what: &str, workload: &str, changes: u64, (outcome, spent): &(child::Outcome, Spent), reference: f64) -> Line {
    let (rate, count) = (changes as f64 / outcome.seconds, changes as f64);
    Line {
        what: what.into(),
        workload: workload.into(),
        changes_per_second: rate,
        mb_per_second: rate * ROW_BYTES / 1e6,
        ratio: Some(rate / reference),
        peak_mib: outcome.usage.peak_mib,
        cpu_us_per_change: outcome.usage.cpu_seconds * 1e6 / count,
        source_cpu_us_per_change: spent.source_cpu_seconds * 1e6 / count,
        log_cpu_us_per_change: outcome.log.map(|_| spent.log_cpu_seconds * 1e6 / count),
        log_wal_bytes_per_change: outcome.log.map(|log| log.wal as f64 / count),
        log_bytes_per_change: outcome.log.map(|log| log.stored as f64 / count),
        note: format!("{} activities", outcome.activities),
    }
}

/// What a child says.
struct Lines {
    stderr: BufReader<tokio::process::ChildStderr>,
}

impl Lines {
    async fn ready(&mut self, child: &mut Child) -> Result<()> {
        let mut line = String::new();
        while self.stderr.read_line(&mut line).await? > 0 {
            if line.trim_end() == "ready" {
                return Ok(());
            }
            line.clear();
        }
        bail!("the child ended early: {}", child.wait().await?)
    }

    /// Lets the child end and returns what it measured.
    async fn outcome(mut self, mut child: Child) -> Result<child::Outcome> {
        // Closing its input is what ends a child without a position.
        drop(child.stdin.take());
        let mut text = String::new();
        let mut said = String::new();
        let mut stdout = child.stdout.take().context("no stdout")?;
        let (read, heard) = tokio::join!(stdout.read_to_string(&mut text), self.stderr.read_to_string(&mut said));
        read?;
        heard?;
        let status = child.wait().await?;
        serde_json::from_str(&text).with_context(|| format!("the child ended with {status}: {said}"))
    }
}
