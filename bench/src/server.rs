//! What the database server spends on a reader: CPU of its sessions at the source and in the log, from `/proc`.
//!
//! Sessions come and go, so they are listed again and again, and each one's clock is read until it is gone: at most one
//! sample of 10 ms is lost at a session's end. The WAL writer counts for the log: while a backlog is drained, nobody
//! else writes.

use std::{collections::HashMap, time::Duration};

use anyhow::{Context, Result};
use tokio::{sync::oneshot, task::JoinHandle};
use tokio_postgres::Client;

use crate::usage;

/// How often the clocks are read.
const SAMPLE: Duration = Duration::from_millis(10);
/// Sessions are listed with every so many samples.
const SAMPLES_A_LIST: u32 = 5;

/// Walsenders and our other sessions are the source's; those of a log's database, and who writes for them, the log's.
const SESSIONS: &str = "select pid, coalesce(datname like 'bench_log_%' or backend_type = 'walwriter', false)
  from pg_stat_activity
  where backend_type in ('walsender', 'walwriter') or datname like 'bench_log_%'
     or (datname like 'bench_app%' and application_name like 'antiphon%')";

/// CPU seconds of the server.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Spent {
    /// Of the source's sessions: decoding and sending above all.
    pub(crate) source_cpu_seconds: f64,
    /// Of the log's sessions and the WAL writer.
    pub(crate) log_cpu_seconds: f64,
}

/// Reads along until it is ended.
pub(crate) struct Meter {
    end: oneshot::Sender<()>,
    running: JoinHandle<Result<Spent>>,
}

struct Session {
    log: bool,
    at_start: f64,
    latest: f64,
}

impl Meter {
    /// Begins to read, by a connection of its own.
    pub(crate) async fn start(client: Client) -> Result<Meter> {
        let mut sessions = HashMap::new();
        // What ran before did its work for others.
        list(&client, &mut sessions, true).await?;
        let (end, ended) = oneshot::channel();
        Ok(Meter { end, running: antiphon_testkit::spawn("meter", watch(client, sessions, ended)) })
    }

    /// Ends and tells what was spent meanwhile.
    pub(crate) async fn end(self) -> Result<Spent> {
        drop(self.end);
        self.running.await?
    }
}

async fn watch(client: Client, mut sessions: HashMap<i32, Session>, mut ended: oneshot::Receiver<()>) -> Result<Spent> {
    let mut tick = tokio::time::interval(SAMPLE);
    for sample in 0_u32.. {
        tokio::select! {
            _ = &mut ended => break,
            _ = tick.tick() => {}
        }
        if sample.is_multiple_of(SAMPLES_A_LIST) {
            list(&client, &mut sessions, false).await?;
        }
        for (pid, session) in &mut sessions {
            // One that is gone keeps its last value.
            session.latest = usage::of(&pid.to_string()).map_or(session.latest, |usage| usage.cpu_seconds);
        }
    }
    let sum = |log: bool| {
        let of = sessions.values().filter(|session| session.log == log);
        of.map(|session| session.latest - session.at_start).sum()
    };
    Ok(Spent { source_cpu_seconds: sum(false), log_cpu_seconds: sum(true) })
}

async fn list(client: &Client, sessions: &mut HashMap<i32, Session>, before: bool) -> Result<()> {
    for row in client.query(SESSIONS, &[]).await.context("the server's sessions cannot be listed")? {
        let (pid, log): (i32, bool) = (row.get(0), row.get(1));
        sessions.entry(pid).or_insert_with(|| {
            let now = usage::of(&pid.to_string()).map_or(0.0, |usage| usage.cpu_seconds);
            Session { log, at_start: if before { now } else { 0.0 }, latest: now }
        });
    }
    Ok(())
}
