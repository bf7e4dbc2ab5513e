//! The matrix: every check under every fault, in every phase of capture, on every version; its end is one table.
//!
//! The short form takes a diagonal, each fault once and each phase on each version; `ANTIPHON_LONG` takes the whole
//! product. In the phase `snapshot` a fault strikes while a table is copied into a new epoch, in the phase `streaming`
//! while nothing but the stream runs. Five claims are judged after each: the log is the source, by key and hash; every
//! commit came once and in order; the slot follows; who reads live misses nothing; what was typed is kept, and applied
//! once.

use std::{collections::BTreeMap, fmt::Write as _, time::Duration};

use antiphon_testkit::{PgVersion, skipped, spawn};
use tokio::time::Instant;

use crate::{
    blow::{BLOWS, Blow},
    ledger::{self, Ledger},
    run::Run,
    scene::{DEADLINE, Scene},
    verdict::{self, Evidence, examples},
    witness::Witness,
};

/// What capture is doing when a fault strikes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    Snapshot,
    Streaming,
}

impl Phase {
    const ALL: [Phase; 2] = [Phase::Snapshot, Phase::Streaming];

    fn as_str(self) -> &'static str {
        match self {
            Phase::Snapshot => "snapshot",
            Phase::Streaming => "streaming",
        }
    }
}

/// The claims, and the checks of source, log and devices that each stands on; those of the ledger are judged by name too.
const CLAIMS: [(&str, &[&str]); 5] = [
    ("log", &["log is source"]),
    ("once", &["log in order", "edits once", "commits once"]),
    ("slot", &["slot follows"]),
    ("live", &["devices are source", "no complaints", "readers whole"]),
    ("kept", &["outboxes empty", "counters exact", "edits kept"]),
];

/// What the link to the source carries while a copy is to be met: its twelve megabytes would take as many seconds.
const COPY_BYTES_PER_SECOND: u64 = 1_000_000;

/// What became of a fault in a phase: what each claim has against it, or why it was left out.
type Outcome = Result<[Vec<String>; CLAIMS.len()], &'static str>;
/// The cells: by fault, version and phase.
type Cells = BTreeMap<(usize, PgVersion, Phase), Outcome>;

#[tokio::test(flavor = "multi_thread")]
async fn every_claim_holds_under_every_fault_in_every_phase_on_every_version_chaos_01() {
    let versions = PgVersion::tested();
    let began = Instant::now();
    // Versions have servers of their own, and most of the time is waiting: they go side by side.
    let worlds: Vec<_> = versions
        .iter()
        .map(|version| spawn("world of the matrix", world(*version, chosen(&versions, *version))))
        .collect();
    let mut cells = Cells::new();
    for world in worlds {
        cells.extend(world.await.expect("a world of the matrix panicked"));
    }
    println!("{}", table(&cells, &versions));
    println!("{} cells in {:.0} s", cells.len(), began.elapsed().as_secs_f64());
    let wrong: Vec<String> = cells
        .iter()
        .flat_map(|((blow, version, phase), outcome)| {
            let of = format!("{}, {version}, {}", BLOWS[*blow].0, phase.as_str());
            let found = outcome.iter().flatten().flatten();
            found.map(move |what| format!("{of}: {what}")).collect::<Vec<_>>()
        })
        .collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(cells.values().any(Result::is_ok), "nothing was done at all");
}

/// Chooses the cells of a version: all of them, or those on the diagonal.
fn chosen(versions: &[PgVersion], version: PgVersion) -> Vec<(usize, Phase)> {
    let all = (0..BLOWS.len()).flat_map(|blow| Phase::ALL.map(|phase| (blow, phase)));
    if std::env::var_os("ANTIPHON_LONG").is_some() {
        return all.collect();
    }
    let (count, own) = (versions.len(), versions.iter().position(|other| *other == version).unwrap_or(0));
    all.filter(|(blow, phase)| {
        let fits: Vec<usize> = (0..count).filter(|at| BLOWS[*blow].1.unfit(versions[*at], *phase).is_none()).collect();
        let turn = (blow / 2 + blow % 2) % 2;
        *phase == Phase::ALL[turn] && fits.get(blow % fits.len().max(1)) == Some(&own)
            || fits.is_empty() && *phase == Phase::ALL[turn] && own == 0
    })
    .collect()
}

/// Opens a world, lets one fault after the other strike, and judges after each.
async fn world(version: PgVersion, chosen: Vec<(usize, Phase)>) -> Cells {
    let (began, seed) = (Instant::now(), u64::from(std::process::id()));
    let mut cells = Cells::new();
    let Some(scene) = Scene::open_apart(version, seed).await else { return cells };
    let mut run = Run::of(scene, seed, began);
    let witnesses = Witness::start(&run.scene.apart.as_ref().expect("set apart").reader);
    run.scene.copied().await;
    for (blow, phase) in chosen {
        let (name, kind) = BLOWS[blow];
        if let Some(why) = kind.unfit(version, phase) {
            cells.insert((blow, version, phase), Err(why));
            continue;
        }
        let at = Instant::now();
        let outcome = cell(&mut run, kind, phase, &witnesses).await;
        let said = match &outcome {
            Ok(found) if found.iter().all(Vec::is_empty) => "ok",
            Ok(_) => "WRONG",
            Err(why) => {
                skipped(why);
                why
            }
        };
        println!("{version}, {}: {name}, {:.1} s: {said}", phase.as_str(), at.elapsed().as_secs_f64());
        cells.insert((blow, version, phase), outcome);
    }
    cells
}

/// One fault in one phase, under everybody's writes.
async fn cell(run: &mut Run, blow: Blow, phase: Phase, witnesses: &[Witness]) -> Outcome {
    let plain = run.write().await;
    let lines = ledger_lines(run).await;
    if phase == Phase::Snapshot {
        begin_copy(run).await;
    }
    run.scene.pg.until(run.scene.db.name(), &format!("select count(*) > {lines} from ledger")).await;
    if phase == Phase::Snapshot {
        assert!(copying(run).await, "the copy was over before the fault struck");
    }
    let struck = blow.strike(run).await;
    run.scene.links.source.heal().await.expect("the link heals");
    run.rest(plain).await;
    struck?;
    Ok(judge(run, witnesses).await)
}

async fn ledger_lines(run: &Run) -> i64 {
    run.scene.client().await.query_one("select count(*) from ledger", &[]).await.expect("the ledger").get(0)
}

/// Begins a new epoch. A running server would look again within ten seconds; one that starts looks at once.
pub async fn begin_anew(run: &mut Run) {
    run.scene.operate(&["resync", "--yes"]).await;
    run.scene.supervise().await;
    run.scene.kill_server().await;
    run.scene.start_server();
}

/// Begins a new epoch, whose copy is made slow enough by the link to be met.
async fn begin_copy(run: &mut Run) {
    begin_anew(run).await;
    run.scene.links.source.change(|faults| faults.bandwidth_bytes_per_second = Some(COPY_BYTES_PER_SECOND));
    let deadline = Instant::now() + DEADLINE;
    while !copying(run).await {
        run.scene.supervise().await;
        assert!(Instant::now() < deadline, "no copy begins:\n{}", run.scene.said());
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Whether the copy of the notes has begun and is not over.
async fn copying(run: &Run) -> bool {
    let sql = "select exists (select from log.snapshots where type = 'note' and rows_done > 0 and not complete)";
    run.scene.log_client().await.query_one(sql, &[]).await.expect("the log").get(0)
}

async fn judge(run: &mut Run, witnesses: &[Witness]) -> [Vec<String>; CLAIMS.len()] {
    let slot = slot_follows(run).await;
    let (source, log) = (run.scene.client().await, run.scene.log_client().await);
    let gather = async || Ledger::gather(&source, &log, witnesses).await.expect("the ledger can be read");
    let last = gather().await.last();
    run.until("the ledger was followed to its end", |_| {
        witnesses.iter().all(|witness| witness.shown().last().copied() == last)
    })
    .await;
    let (evidence, ledger): (Evidence, Ledger) = (run.evidence().await, gather().await);
    println!("    {}; {}", evidence.size(), ledger.size());
    let mut found: BTreeMap<&str, Vec<String>> = BTreeMap::from([("slot follows", slot)]);
    found.extend(verdict::CHECKS.iter().map(|(name, check)| (*name, check(&evidence))));
    found.extend(ledger::CHECKS.iter().map(|(name, check)| (*name, check(&ledger))));
    CLAIMS.map(|(_, checks)| {
        let of = |name: &&str| {
            let all = found.get(name).unwrap_or_else(|| panic!("there is no check {name}"));
            (!all.is_empty()).then(|| format!("{name}: {} findings\n    {}", all.len(), examples(all)))
        };
        checks.iter().filter_map(of).collect()
    })
}

/// The slot is read, and confirms what is written now.
async fn slot_follows(run: &mut Run) -> Vec<String> {
    let (client, slot) = (run.scene.client().await, run.scene.db.slot());
    let written: String = client.query_one("select pg_current_wal_lsn()::text", &[]).await.expect("a position").get(0);
    let sql =
        "select active and confirmed_flush_lsn >= $2::text::pg_lsn from pg_replication_slots where slot_name = $1";
    let deadline = Instant::now() + DEADLINE;
    loop {
        let row = client.query_opt(sql, &[&slot, &written]).await.expect("the slots can be read");
        if row.is_some_and(|row| row.get(0)) {
            return Vec::new();
        }
        if Instant::now() >= deadline {
            return vec![format!("the slot {slot} has not come to {written}")];
        }
        run.scene.supervise().await;
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Draws the table: a line for each fault, under each version and phase a column for each claim.
fn table(cells: &Cells, versions: &[PgVersion]) -> String {
    let columns: Vec<_> = versions.iter().flat_map(|version| Phase::ALL.map(|phase| (*version, phase))).collect();
    let width = CLAIMS.len() * 6;
    let mut text = format!("\n{:<18}", "fault");
    let claims: String = CLAIMS.iter().map(|(name, _)| format!("{name:<6}")).collect();
    for (version, phase) in &columns {
        write!(text, "| {:<width$}", format!("{} {}", version.major(), phase.as_str())).ok();
    }
    write!(text, "\n{:<18}", "").ok();
    text.push_str(&format!("| {claims}").repeat(columns.len()));
    let mut reasons = Vec::new();
    for (number, (name, _)) in BLOWS.iter().enumerate() {
        write!(text, "\n{name:<18}").ok();
        for (version, phase) in &columns {
            let shown = match cells.get(&(number, *version, *phase)) {
                None => String::new(),
                Some(Ok(found)) => {
                    let word = |found: &Vec<String>| if found.is_empty() { "ok" } else { "WRONG" };
                    found.iter().map(|found| format!("{:<6}", word(found))).collect()
                }
                Some(Err(why)) => {
                    reasons.push(format!("skipped: {name}, {version}, {}: {why}", phase.as_str()));
                    "skipped".to_owned()
                }
            };
            write!(text, "| {shown:<width$}").ok();
        }
    }
    reasons.insert(0, text);
    reasons.join("\n")
}
