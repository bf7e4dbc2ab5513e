//! The peer in Java: Debezium's embedded engine with a consumer that counts, where its jars are given.
//!
//! `DEBEZIUM_LIBS` names a folder with the engine, its Postgres connector and all they need; nothing of it is ours, and
//! without it there is no such line. It needs a JDK: `debezium/Drain.java` is compiled first, and what that takes, and
//! the start of the virtual machine, are in its CPU and not in its seconds.

use std::{
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use serde::Deserialize;
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, BufReader},
    process::Command,
};

use crate::{
    recvlogical::Outcome,
    usage::{self, Usage},
};

const PROGRAM: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/debezium/Drain.java");
/// The most memory it may use for objects.
const HEAP: &str = "-Xmx1g";
/// It says nothing for so long only where it is stuck.
const PATIENCE: Duration = Duration::from_secs(600);

/// The engine, ready to be started.
#[derive(Clone)]
pub(crate) struct Debezium {
    class_path: String,
}

#[derive(Deserialize)]
struct Said {
    seconds: f64,
    changes: u64,
}

/// Where the changes are.
pub(crate) struct Slot<'a> {
    pub(crate) port: u16,
    pub(crate) database: &'a str,
    pub(crate) name: &'a str,
}

impl Debezium {
    /// Compiles the consumer into a folder; `None` where no jars are given.
    pub(crate) async fn prepare(folder: &Path) -> Result<Option<Debezium>> {
        let Some(libs) = std::env::var_os("DEBEZIUM_LIBS").map(PathBuf::from) else { return Ok(None) };
        ensure!(libs.is_dir(), "DEBEZIUM_LIBS must name a folder of jars: {} is none", libs.display());
        let classes = folder.join("debezium");
        std::fs::create_dir_all(&classes)?;
        let jars = format!("{}/*", libs.display());
        let mut javac = Command::new("javac");
        javac.args(["-proc:none", "-cp", &jars, "-d"]).arg(&classes).arg(PROGRAM);
        let compiled = javac.output().await.context("javac cannot be started: a JDK is needed beside DEBEZIUM_LIBS")?;
        ensure!(compiled.status.success(), "javac: {}", String::from_utf8_lossy(&compiled.stderr));
        Ok(Some(Debezium { class_path: format!("{}:{jars}", classes.display()) }))
    }

    /// Reads so many changes of a slot.
    pub(crate) async fn drain(&self, slot: &Slot<'_>, changes: u64) -> Result<Outcome> {
        let mut command = Command::new("java");
        command.args([HEAP, "-cp", &self.class_path, "Drain", "127.0.0.1", &slot.port.to_string(), slot.database]);
        command.args(["postgres", slot.name, "bench", &changes.to_string()]);
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
        let mut child = command.spawn().context("java cannot be started")?;
        let pid = child.id().context("it ended at once")?.to_string();
        let mut lines = BufReader::new(child.stdout.take().context("no stdout")?).lines();
        let mut stderr = child.stderr.take().context("no stderr")?;
        let logged = antiphon_testkit::spawn("debezium's log", async move {
            let mut text = String::new();
            stderr.read_to_string(&mut text).await.map(|_| text)
        });
        let mut usage = Usage::default();
        let mut sample = tokio::time::interval(Duration::from_millis(20));
        let said = tokio::time::timeout(PATIENCE, async {
            loop {
                tokio::select! {
                    line = lines.next_line() => match line? {
                        Some(line) if line.starts_with('{') => break anyhow::Ok(Some(line)),
                        // Whatever it logs there.
                        Some(_) => {}
                        None => break Ok(None),
                    },
                    _ = sample.tick() => usage = usage::of(&pid).unwrap_or(usage),
                }
            }
        });
        let said = said.await.context("Debezium is stuck")??;
        child.wait().await?;
        let logged = logged.await??;
        let said =
            said.with_context(|| format!("Debezium ended: {}", &logged[logged.len().saturating_sub(2_000)..]))?;
        let said: Said = serde_json::from_str(&said)?;
        ensure!(said.changes == changes, "Debezium brought {} of {changes} changes", said.changes);
        Ok(Outcome { seconds: said.seconds, usage })
    }
}
