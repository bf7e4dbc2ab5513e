//! `cargo xtask sim`: runs the simulator by seed, or shows that its mutants are caught.
//!
//! The simulator is a program of its own (`crates/sim`), built in the profile `sim`; this hands the options on.
//! `--seeds N [--from S]`, `--fresh SECONDS`, `--long`, `--seed S`, `--shrink S`, `--mutants [--only NAME]`, `--typing`.

use std::{process::Command, time::Instant};

use anyhow::Result;

/// Runs it; `false` where a promise was broken or a mutant escaped.
///
/// # Errors
/// Fails where it does not start.
pub fn run(args: &[String]) -> Result<bool> {
    let mut command = Command::new("cargo");
    command.args(["run", "--quiet", "--profile", "sim", "-p", "antiphon-sim", "--bin", "antiphon-sim", "--"]);
    let began = Instant::now();
    let success = command.args(args).status()?.success();
    eprintln!("sim: took {:.1} s, the build included", began.elapsed().as_secs_f64());
    Ok(success)
}
