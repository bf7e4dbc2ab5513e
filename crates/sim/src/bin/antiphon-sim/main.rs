//! Runs seeds and says what came of them; `cargo xtask sim` calls it.
//!
//! `--typing` has people type in three worlds of five. `--seeds N [--from S]` runs N seeds, `--fresh SECONDS` new ones for so long, `--long` for a night, `--seed S` one with
//! a line for each event, `--shrink S` makes a failing one smaller, `--mutants [--only NAME] [--seeds N]` shows that each
//! broken law is caught. A failing seed is printed with the command that replays it; the exit code is 1 where a promise
//! was broken.

mod batch;

use std::{
    io::{self, Write},
    process::ExitCode,
    time::SystemTime,
};

use antiphon_sim::{Mutant, Profile, shrink, simulate};
use batch::{Batch, report};

/// A night, in seconds.
const NIGHT_S: u64 = 8 * 60 * 60;

/// When a batch ends.
enum Until {
    Count(u64),
    Seconds(u64),
}

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let number = |name: &str| {
        let at = words.iter().position(|word| word == name)?;
        words.get(at + 1)?.parse::<u64>().ok()
    };
    let has = |name: &str| words.iter().any(|word| word == name);
    let done = match number("--seed") {
        Some(seed) => several(seed, Until::Count(1)),
        None if number("--shrink").is_some() => smaller(number("--shrink").unwrap_or_default()),
        None if has("--long") => fresh(NIGHT_S),
        None if number("--fresh").is_some() => fresh(number("--fresh").unwrap_or_default()),
        None if has("--mutants") => {
            let only = words.iter().position(|word| word == "--only").and_then(|at| words.get(at + 1));
            mutants(number("--seeds"), only.map(String::as_str))
        }
        None => several(number("--from").unwrap_or(1), Until::Count(number("--seeds").unwrap_or(20))),
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

/// Runs seeds one after the other, so many or for so long; one alone is told line by line.
fn several(from: u64, until: Until) -> io::Result<bool> {
    let mut out = io::stdout().lock();
    let mut batch = Batch::new();
    let alone = matches!(until, Until::Count(1));
    for seed in from.. {
        let over = match until {
            Until::Count(count) => seed >= from + count,
            Until::Seconds(seconds) => batch.seconds() >= seconds,
        };
        if over {
            break;
        }
        let outcome = simulate(seed, |profile| Profile { trace: alone, ..peopled(profile, seed) })?;
        for line in &outcome.trace {
            writeln!(out, "{line}")?;
        }
        if alone {
            writeln!(out, "fingerprint {:016x}", outcome.fingerprint)?;
        }
        batch.add(&mut out, &outcome)?;
    }
    batch.print(&mut out, alone || std::env::args().any(|word| word == "--cells"))?;
    Ok(batch.kept_every_promise())
}

/// Whoever is in a world beside the scripted clients.
fn peopled(profile: Profile, seed: u64) -> Profile {
    let profile = profile.with_devices(seed);
    if is_typing() { profile.with_typing(seed) } else { profile }
}

fn is_typing() -> bool {
    std::env::args().any(|word| word == "--typing")
}

/// Seeds that nobody has chosen: they begin at the present moment, which is printed so that they can be run again.
fn fresh(seconds: u64) -> io::Result<bool> {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let from = since.as_secs();
    writeln!(io::stdout().lock(), "fresh seeds from {from} for {seconds} s; again: cargo xtask sim --from {from}")?;
    several(from, Until::Seconds(seconds))
}

/// Runs each mutant until a checker catches it.
fn mutants(seeds_max: Option<u64>, only: Option<&str>) -> io::Result<bool> {
    let mut out = io::stdout().lock();
    let mut caught = 0;
    let wanted: Vec<&(Mutant, u64)> =
        Mutant::ALL.iter().filter(|(one, _)| only.is_none_or(|only| only == one.name())).collect();
    for (mutant, kept) in &wanted {
        match mutant.hunt(*kept, seeds_max)? {
            Some(outcome) => {
                caught += 1;
                let promise = outcome.violations.first().map(|violation| violation.promise).unwrap_or_default();
                writeln!(out, "mutant {} caught seed {}: {promise}", mutant.name(), outcome.seed)?;
            }
            None => writeln!(out, "mutant {} escaped", mutant.name())?,
        }
        out.flush()?;
    }
    writeln!(out, "mutants {}, caught {caught}", wanted.len())?;
    Ok(caught == wanted.len())
}

/// Makes a failing seed smaller and shows what is left, line by line.
fn smaller(seed: u64) -> io::Result<bool> {
    let mut out = io::stdout().lock();
    let Some(shrunk) = shrink(seed, |profile| peopled(profile, seed))? else {
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
