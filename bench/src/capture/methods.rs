//! Capture by triggers and by queries: what they cost whoever writes, and how fast a backlog of theirs is drained (CAP-32).
//!
//! The same small transactions are written three times: with nothing installed, beside triggers, and beside polls. Their
//! drains stand beside `pg_recvlogical`'s, as a share of its rate. Law: each database is new, so what is read is theirs.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use tokio_postgres::Client;

use super::{Bench, Options, line};
use crate::{
    report::{Line, Report},
    workload,
};

const WORK: &str = "10 changes a tx";
/// Of the backlog's changes: what triggers and polls read takes longer.
const SHARE: u64 = 5;

/// Whether polls have noted that there are no rows yet.
const NOTED: &str = "select exists (select from antiphon.poll_tables)";

/// What writing took.
struct Written {
    changes: u64,
    seconds: f64,
    wal_bytes: i64,
}

impl Bench {
    /// Writes with nothing installed, with triggers and with polls, and drains what the last two left.
    pub(super) async fn methods(&mut self, options: &Options, report: &mut Report) -> Result<()> {
        let changes = options.changes / SHARE / 10 * 10;
        let reference = report.lines.first().context("nothing stands beside them")?.changes_per_second;
        eprintln!("writing {changes} changes with nothing installed, beside triggers and beside polls");
        let alone = write(&self.database("plain").await?.1, changes).await?;
        report.lines.push(written_line("writes, nothing installed", &alone, &alone));
        for method in ["trigger", "query"] {
            let (source, client) = self.database(method).await?;
            let log = format!("bench_log_{method}");
            self.client.batch_execute(&format!("create database {log}")).await?;
            let arguments = ["--method", method];
            // It installs what it needs, notes that there are no rows yet, and has a place in the log with the first.
            let (mut child, mut lines) =
                self.child((&source, &log), method, &[&arguments[..], &["--count", "1"]].concat())?;
            lines.ready(&mut child).await?;
            while method == "query" && !client.query_one(NOTED, &[]).await?.get::<_, bool>(0) {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            client.batch_execute("insert into items (id, organization_id) values (-1, 'acme')").await?;
            lines.outcome(child).await?;
            let written = write(&client, changes).await?;
            report.lines.push(written_line(&format!("writes, captured by {method}"), &written, &alone));
            // A look sees rows, each once, and none that is gone.
            let rows = client.query_one("select count(*) from items where id > 0", &[]).await?.get::<_, i64>(0) as u64;
            let due = if method == "query" { rows } else { changes };
            let meter = self.meter().await?;
            let count = due.to_string();
            let (child, lines) =
                self.child((&source, &log), method, &[&arguments[..], &["--count", &count]].concat())?;
            let outcome = lines.outcome(child).await?;
            let drained = (outcome, meter.end().await?);
            let what = format!("antiphon by {method}, durable log");
            report.lines.push(line(&what, WORK, due, &drained, reference));
        }
        Ok(())
    }

    /// Makes a database with the workload's table.
    async fn database(&self, name: &str) -> Result<(String, Client)> {
        let database = format!("{}_{name}", self.database);
        self.client.batch_execute(&format!("create database {database}")).await?;
        let client = self.pg.connect(&database).await;
        workload::create(&client).await?;
        client.batch_execute("create index on items (created_at, id)").await?;
        Ok((database, client))
    }
}

async fn write(client: &Client, changes: u64) -> Result<Written> {
    let position = "select pg_current_wal_insert_lsn()::text";
    let from: String = client.query_one(position, &[]).await?.get(0);
    let began = Instant::now();
    workload::small_transactions(client, changes, true).await?;
    let seconds = began.elapsed().as_secs_f64();
    let sql = "select (pg_current_wal_insert_lsn() - $1::text::pg_lsn)::int8";
    Ok(Written { changes, seconds, wal_bytes: client.query_one(sql, &[&from]).await?.get(0) })
}

/// The rate of writing beside that with nothing installed; the bytes are the source's own write-ahead log.
fn written_line(what: &str, written: &Written, alone: &Written) -> Line {
    let per_change = |of: &Written| of.seconds * 1e6 / of.changes as f64;
    let rate = written.changes as f64 / written.seconds;
    let (took, took_alone) = (per_change(written), per_change(alone));
    let amplified = written.wal_bytes as f64 / alone.wal_bytes as f64;
    Line {
        what: what.into(),
        workload: WORK.into(),
        changes_per_second: rate,
        mb_per_second: rate * super::ROW_BYTES / 1e6,
        ratio: Some(took_alone / took),
        source_cpu_us_per_change: took,
        log_wal_bytes_per_change: Some(written.wal_bytes as f64 / written.changes as f64),
        note: format!("adds {:.1} us a change; {amplified:.2} times the write-ahead log", took - took_alone),
        ..Line::default()
    }
}
