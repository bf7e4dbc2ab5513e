//! What came of many seeds: sums, and which cells were reached (SIM-05).
//!
//! Law: a seed that fails is told at once, with the command that replays it; what was not reached is told at the end.

use std::{
    io::{self, Write},
    time::Instant,
};

use antiphon_sim::{
    Counts, Outcome,
    coverage::{Reached, Unreached, missing},
};

/// Sums of a batch of seeds.
pub(crate) struct Batch {
    began: Instant,
    seeds: u64,
    failed: u64,
    simulated_ms: u64,
    sizes: [usize; 4],
    counts: Counts,
    reached: Reached,
}

impl Batch {
    pub(crate) fn new() -> Batch {
        Batch {
            began: Instant::now(),
            seeds: 0,
            failed: 0,
            simulated_ms: 0,
            sizes: [0; 4],
            counts: Counts::new(),
            reached: Reached::new(),
        }
    }

    pub(crate) fn seconds(&self) -> u64 {
        self.began.elapsed().as_secs()
    }

    pub(crate) fn kept_every_promise(&self) -> bool {
        self.failed == 0
    }

    /// Takes what came of a seed.
    pub(crate) fn add(&mut self, out: &mut impl Write, outcome: &Outcome) -> io::Result<()> {
        self.seeds += 1;
        self.simulated_ms += outcome.simulated_ms;
        for (kind, count) in &outcome.counts {
            *self.counts.entry(kind).or_default() += count;
        }
        for (sum, size) in self.sizes.iter_mut().zip(outcome.sizes) {
            *sum += size;
        }
        for (cell, count) in &outcome.history.reached {
            *self.reached.entry(cell.clone()).or_default() += count;
        }
        if !outcome.violations.is_empty() {
            self.failed += 1;
            report(out, outcome)?;
            out.flush()?;
        }
        Ok(())
    }

    /// Says what came of them all.
    pub(crate) fn print(&self, out: &mut impl Write, cells: bool) -> io::Result<()> {
        writeln!(out, "faults by kind:")?;
        for (kind, count) in &self.counts {
            writeln!(out, "  {kind}: {count}")?;
        }
        if cells {
            writeln!(out, "reached:")?;
            for (cell, count) in &self.reached {
                writeln!(out, "  {cell}: {count}")?;
            }
        }
        let Unreached { cells, expected, explained } = missing(&self.reached, &self.counts);
        for cell in &cells {
            writeln!(out, "  unreached: {cell}")?;
        }
        for (cell, why) in explained {
            writeln!(out, "  unreached, and explained: {cell}: {why}")?;
        }
        let [transactions, activities, shown, told] = self.sizes;
        writeln!(
            out,
            "transactions {transactions}, activities {activities}, changes shown {shown}, edits answered {told}"
        )?;
        let (hours, seconds) = (self.simulated_ms as f64 / 3_600_000.0, self.began.elapsed().as_secs_f64());
        let kinds = self.counts.values().filter(|count| **count > 0).count();
        let faults: u64 = self.counts.values().sum();
        writeln!(
            out,
            "seeds {}, simulated hours {hours:.2}, faults {faults} of {kinds} kinds, transitions covered {} of {expected}, violations {}, took {seconds:.1} s",
            self.seeds,
            expected - cells.len(),
            self.failed
        )
    }
}

pub(crate) fn report(out: &mut impl Write, outcome: &Outcome) -> io::Result<()> {
    let typing = if crate::is_typing() { "--typing " } else { "" };
    writeln!(out, "seed {} failed; replay: cargo xtask sim {typing}--seed {}", outcome.seed, outcome.seed)?;
    for violation in &outcome.violations {
        let text: String = violation.to_string().chars().take(1_500).collect();
        writeln!(out, "  {text}")?;
    }
    Ok(())
}
