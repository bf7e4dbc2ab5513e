//! The floor: `bench/floor/test_decoding.mjs` on a slot of its own, while the candidate is frozen.

use std::{path::Path, time::Duration};

use antiphon_testkit::{Process, Signal};
use anyhow::Result;
use tokio::process::Command;

use crate::{reader::Target, served::Served};

const PATIENCE: Duration = Duration::from_secs(30);

/// A running floor.
pub(crate) struct Floor {
    process: Process,
    /// Its stream.
    pub(crate) target: Target,
}

impl Floor {
    /// Freezes the candidate and starts the floor.
    pub(crate) async fn start(served: &Served) -> Result<Floor> {
        served.freeze(true)?;
        served.client.execute("select pg_create_logical_replication_slot('floor', 'test_decoding')", &[]).await?;
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("floor/test_decoding.mjs");
        let mut command = Command::new("node");
        command.arg(script).arg(served.pg.program("pg_recvlogical")).arg(served.pg.url("bench_app")).arg("floor");
        let mut process = Process::start(command)?;
        let line = process.wait_for_line(|line| line.starts_with("listening on "), PATIENCE).await?;
        let address = format!("127.0.0.1:{}", line.trim_start_matches("listening on ")).parse()?;
        // The slot is active once changes come.
        while !active(served).await? {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        Ok(Floor { process, target: Target { address, path: "/".to_owned(), token: String::new() } })
    }

    /// Returns the process number.
    pub(crate) fn pid(&self) -> Result<String> {
        Ok(self.process.pid().unwrap_or_default().to_string())
    }

    /// Stops it and thaws the candidate, which catches up.
    pub(crate) async fn stop(mut self, served: &Served) -> Result<()> {
        self.process.signal(Signal::Term)?;
        self.process.wait(PATIENCE).await?;
        while active(served).await? {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        served.client.execute("select pg_drop_replication_slot('floor')", &[]).await?;
        served.freeze(false)?;
        served.caught_up().await
    }
}

async fn active(served: &Served) -> Result<bool> {
    let sql = "select active from pg_replication_slots where slot_name = 'floor'";
    Ok(served.client.query_one(sql, &[]).await?.get(0))
}
