//! The differential test of mirrors: one source under load, mirrored by Antiphon while its processes and connections are
//! killed, and by Postgres's own logical replication; at the end all three hold the same rows (PIP-06, PIP-09).
//!
//! The short form is among the tests. `ANTIPHON_MIRROR_TRANSACTIONS` sets how many pgbench transactions there are (1,500
//! without it), `ANTIPHON_MIRROR_ACCOUNTS` on how many accounts (10,000 without it, 100,000 at most),
//! `ANTIPHON_MIRROR_SECONDS` a bound in time, `ANTIPHON_CAPTURE_METHOD` how the source is captured (`log` without it),
//! `ANTIPHON_SEED` the seed.

// The verdict is what this test is run for: it is shown, passed or not.
#![allow(clippy::print_stdout)]

mod pgbench;
// Other tests use the rest of it.
#[allow(dead_code)]
#[path = "../run.rs"]
mod run;
mod scene;
mod stops;
mod verify;
mod zoo;

use std::{fmt, time::Duration};

use antiphon_testkit::PgVersion;
use rand::{Rng, SeedableRng, rngs::StdRng};
use scene::Scene;
use tokio::time::Instant;
use zoo::Zoo;

/// So many sessions write into the zoo at once.
const KEEPERS: u64 = 3;

fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

#[tokio::test(flavor = "multi_thread")]
async fn source_mirror_and_native_replica_are_equal_whatever_is_killed_pip_06_pip_09() {
    let seed = number("ANTIPHON_SEED", u64::from(std::process::id()));
    for version in PgVersion::tested() {
        println!("{version}, seed {seed}");
        if let Some(scene) = Scene::open(version, number("ANTIPHON_MIRROR_ACCOUNTS", 10_000)).await {
            differ(scene, seed).await;
        }
    }
}

/// What is killed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Server,
    /// The mirror's connections.
    Connections,
    /// The mirror's Postgres.
    Target,
    Walsender,
}

impl Kind {
    const ALL: [Kind; 4] = [Kind::Server, Kind::Connections, Kind::Target, Kind::Walsender];
}

/// How often each was.
#[derive(Debug, Default)]
struct Kills([u64; Kind::ALL.len()]);

impl Kills {
    fn of(&self, kind: Kind) -> u64 {
        self.0[kind as usize]
    }

    fn total(&self) -> u64 {
        self.0.iter().sum()
    }

    fn each(&self) -> bool {
        self.0.iter().all(|count| *count > 0)
    }

    async fn strike(&mut self, scene: &mut Scene, kind: Kind) {
        match kind {
            Kind::Server => scene.kill_server().await,
            Kind::Connections => scene.kill_target_connections().await,
            Kind::Target => scene.kill_target().await,
            Kind::Walsender => scene.kill_walsender().await,
        }
        self.0[kind as usize] += 1;
    }
}

impl fmt::Display for Kills {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [server, connections, target, walsender] = self.0;
        write!(f, "server {server}, target's connections {connections}, target {target}, walsender {walsender}")
    }
}

/// The moment of a kill is what is random here; nothing waits for a condition.
async fn pause(random: &mut StdRng) {
    tokio::time::sleep(Duration::from_millis(random.random_range(200..1_200))).await;
}

async fn differ(mut scene: Scene, seed: u64) {
    let transactions = number("ANTIPHON_MIRROR_TRANSACTIONS", 1_500);
    let limit = Duration::from_secs(number("ANTIPHON_MIRROR_SECONDS", 540));
    let began = Instant::now();
    let mut random = StdRng::seed_from_u64(seed);
    let zoo = Zoo::default();
    let mut keepers = zoo.start(&scene, KEEPERS, seed);
    let mut kills = Kills::default();
    // While the first rows come in, and then while changes do.
    let mut listing = Kills::default();
    while !scene.listed().await {
        pause(&mut random).await;
        // Few, so that a slow machine gets there too.
        match listing.total() {
            0 => listing.strike(&mut scene, Kind::Server).await,
            1..4 => listing.strike(&mut scene, Kind::Connections).await,
            4 => listing.strike(&mut scene, Kind::Target).await,
            _ => scene.supervise().await,
        }
        assert!(began.elapsed() < scene::DEADLINE, "the first rows never came:\n{}", scene.said());
    }
    let mut bench = pgbench::start(&scene, transactions, limit);
    while !(kills.each() && bench.ended() && zoo.commits() >= 60) {
        pause(&mut random).await;
        let kind = Kind::ALL.into_iter().find(|kind| kills.of(*kind) == 0);
        // Whatever the seed says, each run has each; and the long form does not live by kills alone.
        match kind.or_else(|| Kind::ALL.get(random.random_range(0..16)).copied()) {
            Some(kind) => kills.strike(&mut scene, kind).await,
            None => scene.supervise().await,
        }
        assert!(began.elapsed() < limit + 2 * scene::DEADLINE, "the load does not end:\n{}", scene.said());
    }
    let benched = bench.finish().await;
    zoo.stop();
    while let Some(keeper) = keepers.join_next().await {
        keeper.expect("a keeper does not panic");
    }
    let loaded = began.elapsed();
    scene.sentinel().await;
    let caught_up = began.elapsed();
    let verdict = verify::compare(&scene).await;
    println!(
        "{benched}; {} zoo transactions, {} rolled back; kills while listing: {listing}; then: {kills}; load {:.1} s, \
         caught up at {:.1} s, all {:.1} s",
        zoo.commits(),
        zoo.rollbacks(),
        loaded.as_secs_f64(),
        caught_up.as_secs_f64(),
        began.elapsed().as_secs_f64(),
    );
    for line in &verdict.lines {
        println!("{line}");
    }
    assert!(verdict.differences.is_empty(), "seed {seed}:\n{}", verdict.differences.join("\n"));
    assert!(verdict.rows > 10_000, "too few rows to prove anything");
}
