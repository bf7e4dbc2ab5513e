//! The reference: `pg_recvlogical` writing to nothing.
//!
//! What it reaches is what the server can send at all; any decent reader waits for the server.

use std::{path::Path, process::Stdio, time::Duration};

use anyhow::{Context, Result, ensure};
use tokio::{process::Command, time::Instant};

use crate::usage::{self, Usage};

/// How it went.
pub(crate) struct Outcome {
    pub(crate) seconds: f64,
    pub(crate) usage: Usage,
}

/// Reads a slot up to a position.
pub(crate) async fn drain(program: &Path, url: &str, slot: &str, end: &str, options: &[&str]) -> Result<Outcome> {
    let mut command = Command::new(program);
    command.args(["--dbname", url, "--slot", slot, "--start", "--no-loop", "--file", "/dev/null", "--endpos", end]);
    for option in options {
        command.args(["--option", option]);
    }
    command.stdout(Stdio::null()).stderr(Stdio::piped()).kill_on_drop(true);
    let started = Instant::now();
    let mut child = command.spawn().context("pg_recvlogical cannot be started")?;
    let pid = child.id().context("it ended at once")?.to_string();
    let mut usage = Usage::default();
    let mut sample = tokio::time::interval(Duration::from_millis(20));
    let status = loop {
        tokio::select! {
            status = child.wait() => break status?,
            _ = sample.tick() => usage = usage::of(&pid).unwrap_or(usage),
        }
    };
    ensure!(status.success(), "pg_recvlogical ended with {status}");
    Ok(Outcome { seconds: started.elapsed().as_secs_f64(), usage })
}
