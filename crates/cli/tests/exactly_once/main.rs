//! The proof of the foundation: writers that never stop, server and Postgres killed at random moments, and then source,
//! activity log and a connected reader are compared by key, version and content (PG-12, OP-01, LOG-06, STR-01).
//!
//! `ANTIPHON_KILLS` sets the number of kills (6 by default, 50 for the long form), `ANTIPHON_SEED` the seed.

// The verdict is what this test is run for: it is shown, passed or not.
#![allow(clippy::print_stdout)]

mod failover;
mod hints;
mod means;
mod scene;
mod verify;
mod workload;

use std::{sync::Arc, time::Duration};

use antiphon_testkit::PgVersion;
use failover::Joiner;
use hints::Listener;
use rand::{Rng, SeedableRng, rngs::StdRng};
use scene::{Method, Scene, Under};
use workload::Workload;

/// So many sessions write at once.
const SESSIONS: u64 = 8;

fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_lost_or_doubled_whatever_is_killed_or_ended_pg_12_op_01_op_02_op_13_log_06() {
    let kills = number("ANTIPHON_KILLS", 6);
    let seed = number("ANTIPHON_SEED", u64::from(std::process::id()));
    println!("seed {seed}, kills {kills}");
    for version in PgVersion::tested() {
        let Some(mut scene) = Scene::open(version, 0).await else { continue };
        // Rows of this test come by stream alone: the copy of the empty table is over before the first of them.
        scene.copied().await;
        run(scene, kills.div_ceil(2), seed).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_lost_or_doubled_by_triggers_whatever_is_killed_or_ended_cap_30_cap_31_op_01_op_13() {
    let (kills, seed) = (number("ANTIPHON_KILLS", 6), number("ANTIPHON_SEED", u64::from(std::process::id())));
    println!("seed {seed}, kills {kills}");
    for version in PgVersion::tested() {
        let under = Under { method: Method::Trigger, ..Under::default() };
        let Some(mut scene) = Scene::open_under(version, 0, under).await else { continue };
        scene.copied().await;
        run(scene, kills.div_ceil(2), seed).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn polled_rows_come_to_the_tables_state_and_never_go_back_whatever_is_killed_or_ended_cap_40_op_01_op_13() {
    let (kills, seed) = (number("ANTIPHON_KILLS", 6), number("ANTIPHON_SEED", u64::from(std::process::id())));
    println!("seed {seed}, kills {kills}");
    for version in PgVersion::tested() {
        let under = Under { method: Method::Query, ..Under::default() };
        // Some rows from before, so that the copy is interrupted too.
        let Some(mut scene) = Scene::open_under(version, 2_000, under).await else { continue };
        let mut random = StdRng::seed_from_u64(seed);
        let reader = scene.follow("acme");
        let workload = Arc::new(Workload::of(scene.ids().await));
        let mut writers = workload.start(&scene.pg, scene.database(), SESSIONS, seed);
        kill(&mut scene, kills.div_ceil(2), &mut random, &workload).await;
        workload.stop();
        while writers.join_next().await.is_some() {}
        scene.copied().await;
        scene.reconcile().await;
        let sentinel = scene.sentinel().await;
        let shown = scene.collect(reader, &sentinel).await;
        let log = verify::log(&scene.log_client().await).await.expect("the log can be read");
        let source = verify::source(&scene.client().await).await.expect("the source can be read");
        let verdict = verify::compare_end(&log, &source);
        let seen = verify::compare_reader(&shown, &log, "acme");
        println!(
            "{} commits, {} rows, {} activities, {} shown",
            workload.commits(),
            source.len(),
            log.len(),
            shown.len()
        );
        println!("log:    {verdict}");
        println!("reader: {seen}");
        assert!(workload.commits() > 20, "too little was written to prove anything");
        assert!(verdict.clean(), "seed {seed}: {verdict:#?}");
        assert!(seen.clean(), "seed {seed}: {seen:#?}");
    }
}

/// Kills server, database or both at random moments, or has the server end.
async fn kill(scene: &mut Scene, kills: u64, random: &mut StdRng, workload: &Workload) {
    for kill in 0..kills {
        // The moment of a kill is what is random here; nothing waits for a condition.
        tokio::time::sleep(Duration::from_millis(random.random_range(200..2_000))).await;
        match random.random_range(0..10) {
            // Whatever the seed says, each run has these.
            _ if kill == 0 => scene.kill_server_twice(Duration::from_millis(random.random_range(0..500))).await,
            _ if kill == 1 => scene.end_server(random.random_bool(0.5)).await,
            0..6 => scene.kill_server().await,
            6..9 => scene.kill_postgres().await,
            _ => {
                scene.kill_postgres_and_server().await;
            }
        }
        println!("kill {} of {kills}, {} commits", kill + 1, workload.commits());
    }
}

async fn run(mut scene: Scene, kills: u64, seed: u64) {
    let mut random = StdRng::seed_from_u64(seed);
    let reader = scene.follow("acme");
    let hints = Listener::start(scene.log_url());
    let workload = Arc::new(Workload::default());
    let mut writers = workload.start(&scene.pg, scene.database(), SESSIONS, seed);
    kill(&mut scene, kills, &mut random, &workload).await;
    workload.stop();
    while writers.join_next().await.is_some() {}
    hints.listening(&scene.log_client().await).await;
    let sentinel = scene.sentinel().await;
    let shown = scene.collect(reader, &sentinel).await;
    let log = verify::log(&scene.log_client().await).await.expect("the log can be read");
    let source = verify::source(&scene.client().await).await.expect("the source can be read");
    let verdict = verify::compare(&log, &source);
    let seen = verify::compare_reader(&shown, &log, "acme");
    println!("{} commits, {} rows, {} activities, {} shown", workload.commits(), source.len(), log.len(), shown.len());
    println!("log:    {verdict}");
    println!("reader: {seen}");
    let told = hints.end(&scene.log_client().await).await;
    println!("hints:  {told}");
    assert!(log.len() > 100, "too little happened to prove anything");
    assert!(verdict.clean(), "seed {seed}: {verdict:#?}");
    assert!(seen.clean(), "seed {seed}: {seen:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn copy_and_stream_together_equal_the_table_under_load_and_changing_keys_cap_20_pg_88_pg_91_pg_92() {
    copy_under_load(Method::Log, 20_000).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn copy_and_what_triggers_record_equal_the_table_under_load_and_changing_keys_cap_20_cap_31() {
    copy_under_load(Method::Trigger, 5_000).await;
}

async fn copy_under_load(method: Method, rows: i32) {
    let seed = number("ANTIPHON_SEED", u64::from(std::process::id()));
    println!("seed {seed}");
    for version in PgVersion::tested() {
        let under = Under { method, ..Under::default() };
        let Some(mut scene) = Scene::open_under(version, rows, under).await else { continue };
        let workload = Arc::new(Workload::of(scene.ids().await));
        let mut writers = workload.start(&scene.pg, scene.database(), SESSIONS, seed);
        // In the middle of the copy, wherever that is: it has to go on at its last chunk.
        scene.until_log("a chunk", "select exists (select from log.snapshots where rows_done > 0)").await;
        scene.kill_server().await;
        scene.copied().await;
        workload.stop();
        while writers.join_next().await.is_some() {}
        let sentinel = scene.sentinel().await;
        let reader = scene.follow("acme");
        scene.collect(reader, &sentinel).await;
        let log = verify::log(&scene.log_client().await).await.expect("the log can be read");
        let source = verify::source(&scene.client().await).await.expect("the source can be read");
        let verdict = verify::compare_end(&log, &source);
        println!("{} commits, {} rows, {} activities: {verdict}", workload.commits(), source.len(), log.len());
        assert!(workload.commits() > 20, "too little was written to prove anything");
        assert!(verdict.clean(), "seed {seed}: {verdict:#?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn readers_at_one_server_miss_and_double_nothing_while_the_capturing_other_is_killed_log_05_op_01() {
    let kills = number("ANTIPHON_KILLS", 6);
    let seed = number("ANTIPHON_SEED", u64::from(std::process::id()));
    println!("seed {seed}, kills {kills}");
    for version in PgVersion::tested() {
        let Some(mut scene) = Scene::open(version, 0).await else { continue };
        scene.copied().await;
        let mut random = StdRng::seed_from_u64(seed);
        let mut other = scene.another();
        let bases = [scene.base(), other.base()];
        let both = |first: usize| vec![bases[first].clone(), bases[1 - first].clone()];
        let readers = [scene.follow_at(both(0), "acme"), scene.follow_at(both(1), "acme")];
        let workload = Arc::new(Workload::default());
        let mut writers = workload.start(&scene.pg, scene.database(), SESSIONS, seed);
        let mut joiners = Vec::new();
        for kill in 0..kills.div_ceil(2) {
            // The moment of a kill is what is random here; nothing waits for a condition.
            tokio::time::sleep(Duration::from_millis(random.random_range(200..2_000))).await;
            let leads = scene.capturing(&bases).await;
            joiners.push(Joiner::start(&scene, both(1 - leads)));
            match leads {
                0 => scene.kill_server().await,
                _ => scene.kill_another(&mut other).await,
            }
            joiners.push(Joiner::start(&scene, both(1 - leads)));
            joiners.push(Joiner::start(&scene, both(leads)));
            println!("kill {} of server {leads}, {} commits", kill + 1, workload.commits());
        }
        workload.stop();
        while writers.join_next().await.is_some() {}
        let sentinel = scene.sentinel().await;
        let log = scene.log_client().await;
        for reader in readers {
            let shown = scene.collect(reader, &sentinel).await;
            let log = verify::log(&log).await.expect("the log can be read");
            let seen = verify::compare_reader(&shown, &log, "acme");
            println!("reader: {seen}, {} shown", shown.len());
            assert!(seen.clean(), "seed {seed}: {seen:#?}");
        }
        let source = verify::source(&scene.client().await).await.expect("the source can be read");
        let verdict = verify::compare(&verify::log(&log).await.expect("the log can be read"), &source);
        assert!(verdict.clean(), "seed {seed}: {verdict:#?}");
        for joiner in joiners {
            assert_eq!(joiner.differs(&source).await, Vec::<String>::new(), "seed {seed}: list and stream");
        }
    }
}
