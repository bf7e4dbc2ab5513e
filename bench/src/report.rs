//! A benchmark's outcome as a table for people and as JSON for whoever keeps it.
//!
//! Rates of one run stand side by side as ratios: absolute numbers of a shared machine mean little by themselves.
//! Nothing here measures.

use anyhow::Result;
use serde::Serialize;

/// One line of the table.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct Line {
    /// What ran.
    pub(crate) what: String,
    /// On what.
    pub(crate) workload: String,
    /// Changes a second.
    pub(crate) changes_per_second: f64,
    /// Megabytes of rows a second, counted alike for all: changes times the mean row.
    pub(crate) mb_per_second: f64,
    /// The rate as a share of the reference beside it in the same run.
    pub(crate) ratio: Option<f64>,
    /// Peak resident memory of the process, in MiB.
    pub(crate) peak_mib: f64,
    /// Microseconds of its CPU for each change.
    pub(crate) cpu_us_per_change: f64,
    /// Microseconds of CPU of the source's own sessions for each change (CAP-62).
    pub(crate) source_cpu_us_per_change: f64,
    /// Microseconds of CPU of the log's sessions for each change.
    pub(crate) log_cpu_us_per_change: Option<f64>,
    /// Bytes of write-ahead log that the log's own writes made for each change.
    pub(crate) log_wal_bytes_per_change: Option<f64>,
    /// Bytes that the log holds for each change, indexes included.
    pub(crate) log_bytes_per_change: Option<f64>,
    /// Anything else worth a note.
    pub(crate) note: String,
}

/// Latencies of one rate, in milliseconds.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Latency {
    /// Transactions a second asked for.
    pub(crate) rate: u64,
    /// Transactions a second reached.
    pub(crate) reached: f64,
    /// The 50th percentile.
    pub(crate) p50_ms: f64,
    /// The 95th percentile.
    pub(crate) p95_ms: f64,
    /// The 99th percentile.
    pub(crate) p99_ms: f64,
    /// The largest.
    pub(crate) max_ms: f64,
    /// What was measured.
    pub(crate) note: String,
}

/// Everything that one run found.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct Report {
    /// The server.
    pub(crate) server: String,
    /// Throughput.
    pub(crate) lines: Vec<Line>,
    /// Latency from commit to log.
    pub(crate) latencies: Vec<Latency>,
}

impl Report {
    /// Prints the table to stderr and the JSON to stdout.
    pub(crate) fn print(&self) -> Result<()> {
        let mut text = format!("\n{}\n", self.server);
        text.push_str(&format!(
            "{:<40} {:<15} {:>9} {:>6} {:>5} {:>8} {:>6} {:>6} {:>6} {:>6} {:>6}  {}\n",
            "what",
            "workload",
            "changes/s",
            "MB/s",
            "ratio",
            "peak MiB",
            "CPU us",
            "source",
            "log",
            "WAL B",
            "disk B",
            "note"
        ));
        for line in &self.lines {
            let ratio = line.ratio.map_or("-".into(), |ratio| format!("{ratio:.2}"));
            let micros = |value: Option<f64>| value.map_or("-".into(), |value| format!("{value:.2}"));
            let bytes = |value: Option<f64>| value.map_or("-".into(), |value| format!("{value:.0}"));
            text.push_str(&format!(
                "{:<40} {:<15} {:>9.0} {:>6.1} {:>5} {:>8.1} {:>6.2} {:>6.2} {:>6} {:>6} {:>6}  {}\n",
                line.what,
                line.workload,
                line.changes_per_second,
                line.mb_per_second,
                ratio,
                line.peak_mib,
                line.cpu_us_per_change,
                line.source_cpu_us_per_change,
                micros(line.log_cpu_us_per_change),
                bytes(line.log_wal_bytes_per_change),
                bytes(line.log_bytes_per_change),
                line.note
            ));
        }
        for l in &self.latencies {
            text.push_str(&format!(
                "commit to log at {}/s (reached {:.0}): p50 {:.2} ms, p95 {:.2} ms, p99 {:.2} ms, max {:.1} ms  {}\n",
                l.rate, l.reached, l.p50_ms, l.p95_ms, l.p99_ms, l.max_ms, l.note
            ));
        }
        eprintln!("{text}");
        serde_json::to_writer_pretty(std::io::stdout(), self)?;
        Ok(())
    }
}

/// Returns a percentile of sorted values, 0 where there is none.
pub(crate) fn percentile(sorted: &[f64], share: f64) -> f64 {
    if sorted.is_empty() {
        return 0.0;
    }
    let index = ((sorted.len() - 1) as f64 * share).round() as usize;
    sorted[index]
}
