//! `cargo xtask chaos`: the long form of the chaos tests, against the real binary and real Postgres.
//!
//! The tests themselves are a target of the command line's room (`crates/cli/tests/chaos`); this hands them what is asked
//! for by environment. `--seeds N` tries so many seeds, `--seed S` does one again, `--only NAME` with a single fault.

use std::{process::Command, time::Instant};

use anyhow::Result;
use clap::Args;

/// Some ten minutes on a small machine.
const SEEDS: u64 = 20;

/// What to break, and how often.
#[derive(Args)]
pub struct ChaosArgs {
    /// How many seeds to try [default: 20, or 1 with --seed]
    #[arg(long)]
    seeds: Option<u64>,
    /// One seed to do again; with --seeds, the first.
    #[arg(long)]
    seed: Option<u64>,
    /// Only this version of Postgres.
    #[arg(long, value_name = "MAJOR")]
    postgres: Option<u32>,
    /// Only this fault, by the name that the test prints.
    #[arg(long, value_name = "FAULT")]
    only: Option<String>,
    /// How often each fault strikes within a seed.
    #[arg(long, default_value_t = 3)]
    rounds: u64,
}

/// Runs them; `false` where a check found something.
///
/// # Errors
/// Fails where they do not start.
pub fn run(args: &ChaosArgs) -> Result<bool> {
    let mut command = Command::new("cargo");
    command.args(["test", "--package", "antiphon-cli", "--test", "chaos", "--", "--nocapture"]);
    // The matrix beside them is no matter of seeds.
    command.arg(args.postgres.map_or_else(|| "nothing_is_lost".to_owned(), |major| format!("postgres_{major}")));
    let seeds = args.seeds.unwrap_or(if args.seed.is_some() { 1 } else { SEEDS });
    command.env("ANTIPHON_CHAOS_SEEDS", seeds.to_string()).env("ANTIPHON_CHAOS_ROUNDS", args.rounds.to_string());
    command.env("ANTIPHON_CHAOS_ONLY", args.only.as_deref().unwrap_or_default());
    if let Some(seed) = args.seed {
        command.env("ANTIPHON_SEED", seed.to_string());
    }
    let began = Instant::now();
    let success = command.status()?.success();
    eprintln!("chaos: took {:.1} s, the build included", began.elapsed().as_secs_f64());
    Ok(success)
}
