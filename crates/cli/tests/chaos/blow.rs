//! The faults of the matrix: those of the seeds that stand for a kind, each long enough to be noticed, and those that
//! need a scene set apart: a log's server of its own, a spool's disk, another server in the place of the source's.
//!
//! A blow ends when what it took away is back; what an operator has to do after it is part of it.

use std::time::Duration;

use antiphon_testkit::{Frozen, Pg, PgVersion, StopMode};
use serde_json::Value;
use tokio::time::Instant;

use crate::{
    fault::{Fault, Harm, Link},
    ledger,
    matrix::{Phase, begin_anew},
    run::Run,
    scene::{DEADLINE, SETTINGS},
};

/// Longer than the silence after which a database, a server and a device give each other up.
const SILENCE: Duration = Duration::from_secs(6);
/// What a standby needs to carry a slot over.
const STANDBY: &[(&str, &str)] = &[("sync_replication_slots", "on"), ("hot_standby_feedback", "on")];
/// More than a transaction that stays in memory.
const LARGE: &str = "update notes set title = 'large ' || random() where organization_id = 'initech'";

/// A fault of the matrix.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Blow {
    /// As the seeds do it.
    Struck(Fault),
    /// The server stands still for longer than anybody waits.
    Silent,
    /// Nothing passes between server and source, and nobody is told, until the server has noticed.
    HalfOpen,
    /// Our own database is restarted in good order.
    LogRestarted,
    /// Our own database is killed.
    LogKilled,
    /// The spool's disk is full while a large transaction passes.
    SpoolFull,
    /// The source's standby takes over.
    Promoted,
    /// The source is restored from an older backup, and capture begun anew.
    Restored,
}

/// Every fault with its name, in the order in which they strike: another server takes the source's place at the end.
pub const BLOWS: &[(&str, Blow)] = &[
    ("server killed", Blow::Struck(Fault::ServerKilled)),
    ("server silent", Blow::Silent),
    ("walsender ended", Blow::Struck(Fault::WalsenderEnded)),
    ("source cut off", Blow::Struck(Fault::Link(Link::Source, Harm::Refused))),
    ("source half-open", Blow::HalfOpen),
    ("clients half-open", Blow::Struck(Fault::Link(Link::Clients, Harm::BlackHole))),
    ("log restarted", Blow::LogRestarted),
    ("log killed", Blow::LogKilled),
    ("source restarted", Blow::Struck(Fault::PostgresRestarted)),
    ("spool full", Blow::SpoolFull),
    ("source promoted", Blow::Promoted),
    ("source restored", Blow::Restored),
];

impl Blow {
    /// Says why it cannot be done to a version in a phase, where that is known before.
    pub fn unfit(self, version: PgVersion, phase: Phase) -> Option<&'static str> {
        match (self, phase) {
            (Blow::Promoted, _) if version < PgVersion::V17 => Some("a standby carries slots over from 17 on"),
            (Blow::Promoted, Phase::Snapshot) => Some("a slot as young as its copy is not on the standby yet"),
            _ => None,
        }
    }

    /// Does it and takes it back; the error says what this machine lacks.
    pub async fn strike(self, run: &mut Run) -> Result<(), &'static str> {
        run.scene.supervise().await;
        match self {
            Blow::Struck(fault) => {
                let struck = fault.strike(&mut run.scene, &mut run.random).await;
                return if struck { Ok(()) } else { Err("a small disk: mounting one takes root") };
            }
            Blow::Silent => {
                let frozen = Frozen::family(run.scene.server_pid().expect("it runs")).expect("the server freezes");
                tokio::time::sleep(SILENCE).await;
                drop(frozen);
            }
            Blow::HalfOpen => {
                run.scene.links.source.blackhole(true);
                run.scene.until_ready("the silence is noticed", trouble).await;
                run.scene.links.source.strand();
                run.scene.links.source.heal().await.expect("the link heals");
            }
            Blow::LogRestarted | Blow::LogKilled => {
                let log = run.scene.apart.as_ref().expect("set apart").log.pg().clone();
                let mode = if self == Blow::LogKilled { StopMode::Kill } else { StopMode::Fast };
                log.halt(mode).await;
                log.restart().await;
            }
            Blow::SpoolFull => return spool_full(run).await,
            Blow::Promoted => promoted(run).await,
            Blow::Restored => restored(run).await,
        }
        Ok(())
    }
}

/// Whether `/readyz` says that something is wrong with the source.
fn trouble(said: &Value) -> bool {
    !said["source"]["reason"].is_null()
}

async fn spool_full(run: &mut Run) -> Result<(), &'static str> {
    let apart = run.scene.apart.as_ref().expect("set apart");
    let disk = apart.spool.as_ref().ok_or("a small disk: mounting one takes root")?;
    disk.fill().expect("the disk fills");
    run.scene.client().await.batch_execute(LARGE).await.expect("a large transaction");
    run.scene.until_ready("the full disk is told", |said| said["source"]["reason"] == "DISK_FULL").await;
    let disk = run.scene.apart.as_ref().and_then(|apart| apart.spool.as_ref());
    disk.expect("it was there").empty().expect("the disk empties");
    Ok(())
}

/// The standby has all that was captured, as the guide for operators has it set up.
async fn promoted(run: &mut Run) {
    let (primary, slot) = (run.scene.pg.clone(), run.scene.db.slot());
    let standby = primary.standby("second", &[SETTINGS, STANDBY].concat()).await;
    let admin = primary.admin().await;
    for statement in ["alter system set synchronized_standby_slots = 'second'", "select pg_reload_conf()"] {
        admin.batch_execute(statement).await.expect("the primary waits for it");
    }
    let held = "select synced and not temporary and invalidation_reason is null from pg_replication_slots
        where slot_name = $1";
    let (there, deadline) = (standby.connect("postgres").await, Instant::now() + DEADLINE);
    while !there.query_opt(held, &[&slot]).await.expect("the slots").is_some_and(|row| row.get::<_, bool>(0)) {
        // A slot is carried over once the primary's has come to where the standby began, by what this writes.
        admin.execute("select pg_log_standby_snapshot()", &[]).await.expect("a snapshot in the log");
        if Instant::now() >= deadline {
            let slots = admin.query_one("select string_agg(s::text, '; ') from pg_replication_slots s", &[]).await;
            let slots: String = slots.expect("the slots").get(0);
            panic!("the slot is not carried over:\n{slots}\n{}", run.scene.sessions().await);
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    primary.kill9().await;
    standby.promote().await;
    run.scene.replace_source(standby);
}

/// What people typed is in the backup, or still on their devices; what others wrote after it is gone.
async fn restored(run: &mut Run) {
    run.set_editing(false);
    run.sent().await;
    let backup = run.scene.pg.backup().await;
    let lines: i64 = count(&run.scene.pg, run.scene.db.name()).await;
    // Whatever is written from here on goes with the server, and readers have seen it.
    let more = format!("select count(*) > {} from ledger", lines + 6);
    run.scene.pg.until(run.scene.db.name(), &more).await;
    run.scene.pg.halt(StopMode::Immediate).await;
    let restored = backup.start(SETTINGS).await;
    run.scene.replace_source(restored);
    run.set_editing(true);
    let told = |said: &Value| said["source"]["status"] == "needs you";
    run.scene.until_ready("the restored server is recognised", told).await;
    begin_anew(run).await;
    run.scene.until_ready("capture begins anew", |said| said["ready"] == true).await;
}

async fn count(pg: &Pg, database: &str) -> i64 {
    let sql = format!("select count(*) from ledger where organization_id = '{}'", ledger::ORG);
    pg.connect(database).await.query_one(&sql, &[]).await.expect("the ledger").get(0)
}
