//! Runs seeds and says what came of them; `cargo xtask sim` calls it.
//!
//! `--seeds N [--from S]` runs N seeds, `--seed S` one with a line for each event, `--shrink S` makes a failing one
//! smaller, `--mutants` shows that each broken law is caught. A failing seed is printed with the command that replays it;
//! the exit code is 1 where a promise was broken.

use std::{
    io::{self, Write},
    process::ExitCode,
};

use antiphon_sim::{
    Counts, Mutant, Outcome, Profile,
    coverage::{Reached, missing},
    shrink, simulate,
};

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let number = |name: &str| {
        let at = words.iter().position(|word| word == name)?;
        words.get(at + 1)?.parse::<u64>().ok()
    };
    let done = match number("--seed") {
        Some(seed) => several(seed, 1),
        None if number("--shrink").is_some() => smaller(number("--shrink").unwrap_or_default()),
        None if words.iter().any(|word| word == "--mutants") => {
            let only = words.iter().position(|word| word == "--only").and_then(|at| words.get(at + 1));
            mutants(number("--seeds").unwrap_or(4_000), only.map(String::as_str))
        }
        None => several(number("--from").unwrap_or(1), number("--seeds").unwrap_or(20)),
    };
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            // Nothing is left to say where standard error is closed.
            writeln!(io::stderr(), "error: {error}").unwrap_or_default();
            ExitCode::FAILURE
        }
    }
}

fn several(from: u64, count: u64) -> io::Result<bool> {
    let mut out = io::stdout().lock();
    let (mut counts, mut failed, mut simulated_ms) = (Counts::new(), 0, 0);
    let (mut sizes, mut reached) = ([0; 4], Reached::new());
    for seed in from..from + count {
        let outcome = simulate(seed, |profile| {
            let profile = match std::env::var("TABS") {
                Ok(_) => profile.with_browsers(seed),
                Err(_) => profile.with_devices(seed),
            };
            Profile { trace: count == 1, ..profile }
        })?;
        for line in &outcome.trace {
            writeln!(out, "{line}")?;
        }
        for (kind, count) in &outcome.counts {
            *counts.entry(kind).or_default() += count;
        }
        simulated_ms += outcome.simulated_ms;
        if count == 1 {
            writeln!(out, "fingerprint {:016x}", outcome.fingerprint)?;
        }
        for (sum, size) in sizes.iter_mut().zip(outcome.sizes) {
            *sum += size;
        }
        for (cell, count) in &outcome.history.reached {
            *reached.entry(cell.clone()).or_default() += count;
        }
        if !outcome.violations.is_empty() {
            failed += 1;
            report(&mut out, &outcome)?;
        }
    }
    let hours = simulated_ms as f64 / 3_600_000.0;
    writeln!(out, "seeds {count}, failed {failed}, simulated hours {hours:.2}")?;
    writeln!(
        out,
        "transactions {}, activities {}, changes shown {}, edits answered {}",
        sizes[0], sizes[1], sizes[2], sizes[3]
    )?;
    for (kind, count) in &counts {
        writeln!(out, "  {kind}: {count}")?;
    }
    writeln!(out, "reached:")?;
    for (cell, count) in &reached {
        writeln!(out, "  {cell}: {count}")?;
    }
    for cell in missing(&reached) {
        writeln!(out, "  not reached: {cell}")?;
    }
    Ok(failed == 0)
}

/// Runs each mutant until a checker catches it.
fn mutants(seeds_max: u64, only: Option<&str>) -> io::Result<bool> {
    let mut out = io::stdout().lock();
    let mut caught = 0;
    let wanted: Vec<&Mutant> = Mutant::ALL.iter().filter(|one| only.is_none_or(|only| only == one.name())).collect();
    for mutant in &wanted {
        let mut seeds = 1..=seeds_max;
        let found = loop {
            let Some(seed) = seeds.next() else { break None };
            let outcome = simulate(seed, |profile| profile.broken_by(**mutant))?;
            if let Some(violation) = outcome.violations.first() {
                break Some((seed, violation.promise));
            }
        };
        match found {
            Some((seed, promise)) => {
                caught += 1;
                writeln!(out, "mutant {} caught seed {seed}: {promise}", mutant.name())?;
            }
            None => writeln!(out, "mutant {} escaped {seeds_max} seeds", mutant.name())?,
        }
    }
    writeln!(out, "mutants {}, caught {caught}", wanted.len())?;
    Ok(caught == wanted.len())
}

/// Makes a failing seed smaller and shows what is left, line by line.
fn smaller(seed: u64) -> io::Result<bool> {
    let mut out = io::stdout().lock();
    let Some(shrunk) = shrink(seed, |profile| profile)? else {
        writeln!(out, "seed {seed} breaks no promise")?;
        return Ok(true);
    };
    let last = simulate(seed, |_| Profile { trace: true, ..shrunk.profile.clone() })?;
    for line in &last.trace {
        writeln!(out, "{line}")?;
    }
    writeln!(out, "tried {}, left: {:?}", shrunk.tried, shrunk.profile)?;
    report(&mut out, &shrunk.outcome)?;
    Ok(false)
}

fn report(out: &mut impl Write, outcome: &Outcome) -> io::Result<()> {
    writeln!(out, "seed {} failed; replay: cargo xtask sim --seed {}", outcome.seed, outcome.seed)?;
    for violation in &outcome.violations {
        let text: String = violation.to_string().chars().take(1_500).collect();
        writeln!(out, "  {text}")?;
    }
    Ok(())
}
