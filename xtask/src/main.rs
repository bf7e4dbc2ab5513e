//! The house's own tools: the checks and generators that CI and people call by the same line.
//!
//! `cargo xtask layers`, `tidy`, `hazards`, `gen`, `sim`, `wasm` and `bless`; each prints what to do, not only what is
//! wrong.
//! Nothing here is part of the product, and the product never calls it.

mod bless;
mod chaos;
mod finding;
mod generate;
mod layers;
mod project;
mod rust_text;
mod sim;
mod tidy;
mod wasm;

use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};

use crate::{finding::Finding, project::Project};

/// Checks and generators of this repository.
#[derive(Parser)]
#[command(name = "cargo xtask")]
struct Arguments {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Checks every edge between crates against layers.toml.
    Layers,
    /// Checks files, functions, banned calls, error pages, decisions, links and names.
    Tidy {
        /// Leaves out the comparison of generated files, which builds the binary.
        #[arg(long)]
        skip_generated: bool,
    },
    /// Prints every hazard of capture with what proves it, or why nothing does.
    Hazards,
    /// Writes the generated reference pages and files.
    Gen {
        /// Compares instead of writing, and fails on a difference.
        #[arg(long)]
        check: bool,
    },
    /// Runs simulated worlds by seed: `--seeds N [--from S]`, `--fresh SECONDS`, `--long`, `--seed S`, `--shrink S`,
    /// `--mutants [--only NAME]`.
    Sim {
        /// Options of the simulator.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        args: Vec<String>,
    },
    /// Breaks the real binary and real Postgres by seed, and compares source, log and devices at the end.
    Chaos(chaos::ChaosArgs),
    /// Builds the client as WebAssembly into packages/client/core.
    Wasm(wasm::WasmArgs),
    /// Records the golden traces of real servers again.
    Bless {
        /// Options of the recorder.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        args: Vec<String>,
    },
}

fn main() -> ExitCode {
    match run(Arguments::parse().task) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error:#}");
            // What this machine lacks is told apart from what is wrong here: scripts count it as a skip.
            if error.is::<wasm::Lacking>() { ExitCode::from(3) } else { ExitCode::FAILURE }
        }
    }
}

/// Runs one task; `false` says that it had findings, which it has printed.
fn run(task: Task) -> Result<bool> {
    let project = Project::open()?;
    match task {
        Task::Layers => Ok(report("layers", &layers::check(&project)?)),
        Task::Tidy { skip_generated } => {
            let mut findings = tidy::check(&project)?;
            if !skip_generated {
                findings.extend(generate::run(&project, true)?);
            }
            Ok(report("tidy", &findings))
        }
        Task::Hazards => {
            eprint!("{}", tidy::hazards(&project)?);
            Ok(true)
        }
        Task::Gen { check } => Ok(report("gen", &generate::run(&project, check)?)),
        Task::Sim { args } => sim::run(&args),
        Task::Chaos(args) => chaos::run(&args),
        Task::Wasm(args) => wasm::run(&project, &args),
        Task::Bless { args } => bless::run(&args).map(|()| true),
    }
}

fn report(task: &str, findings: &[Finding]) -> bool {
    for finding in findings {
        eprintln!("{finding}");
    }
    match findings.len() {
        0 => eprintln!("{task}: in order"),
        count => eprintln!("{task}: {count} to settle"),
    }
    findings.is_empty()
}
