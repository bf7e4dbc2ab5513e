//! Chaos against the real thing: the real binary and a real Postgres, broken at seeded moments while devices edit, and at
//! the end source, log and devices compared by key and content, every edit accounted for (CHAOS-01).
//!
//! Beside the seeds there is a matrix: every check, under every fault, in every phase, on every version, as one table.
//!
//! The short form takes two seeds; `cargo xtask chaos --seeds N` is the long one. `ANTIPHON_CHAOS_SEEDS` sets how many,
//! `ANTIPHON_SEED` the first, `ANTIPHON_CHAOS_ONLY` the name of one fault, `ANTIPHON_CHAOS_ROUNDS` how often each strikes.

// The verdict is what this test is run for: it is shown, passed or not.
#![allow(clippy::print_stdout)]

mod blow;
mod device;
mod fault;
mod ledger;
mod matrix;
mod native;
mod run;
mod scene;
mod stop;
mod verdict;
mod witness;

use antiphon_testkit::PgVersion;
use run::{Run, Wish};

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_lost_whatever_breaks_under_postgres_15_chaos_01_op_03_op_04_op_09_op_10() {
    every_seed(PgVersion::V15).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_lost_whatever_breaks_under_postgres_18_chaos_01_op_03_op_04_op_09_op_10() {
    every_seed(PgVersion::V18).await;
}

async fn every_seed(version: PgVersion) {
    let wish = Wish::read();
    for seed in wish.seeds() {
        println!("{version}, seed {seed}; again: {}", wish.replay(seed, version));
        let Some(mut run) = Run::open(version, seed).await else { return };
        run.breakages(&wish).await;
        run.stops(&wish).await;
        run.finish();
    }
}
