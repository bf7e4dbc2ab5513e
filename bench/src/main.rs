//! Measures beside a reference in one run, as ratios: capture, the trigger that stamps, streams, limits.
//!
//! `capture` prepares a private Postgres and a backlog, then lets `pg_recvlogical` and Antiphon read the same backlog
//! through copies of one slot, in turn. Antiphon runs as a child process of its own, so that memory and CPU are its own.
//! The table goes to stderr, the same as JSON to stdout. Build with `--release`; `script/bench` does.

mod backlog;
mod capture;
mod child;
mod copies;
mod debezium;
mod discard;
mod figures;
mod fleet;
mod floor;
mod idle;
mod latency;
mod limits;
mod pace;
mod reader;
mod recvlogical;
mod report;
mod served;
mod server;
mod stamp;
mod streams;
mod usage;
mod watched;
mod workload;

use anyhow::Result;
use clap::{Parser, Subcommand};

/// Measurements.
#[derive(Parser)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Drain of a backlog, a large transaction, and latency from commit to log
    Capture(capture::Options),
    /// First copies of tables, alone and side by side
    Copies(copies::Options),
    /// What stamping who wrote each field costs a row
    Stamp(stamp::Options),
    /// What readers of a running server see: latency, deliveries, idle memory, lists and catch-up
    Streams(streams::Options),
    /// A client that floods, and what the others notice
    Limits(limits::Options),
    /// What the other commands run as a process of its own
    #[command(hide = true)]
    Child(child::Options),
}

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    match arguments.command {
        Command::Capture(options) => runtime.block_on(capture::run(options)),
        Command::Copies(options) => runtime.block_on(copies::run(options)),
        Command::Stamp(options) => runtime.block_on(stamp::run(options)),
        Command::Streams(options) => runtime.block_on(streams::run(options)),
        Command::Limits(options) => runtime.block_on(limits::run(options)),
        Command::Child(options) => runtime.block_on(child::run(options)),
    }
}
