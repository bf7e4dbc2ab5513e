//! Freezing a process with all that it has started, as a paused virtual machine or a starved host would.
//!
//! The law is that whatever was frozen is thawed, however a test ends: a stopped child outlives the kill of its parent.

use anyhow::Result;

use crate::process::{Signal, signal};

/// Processes that stand still; dropping it lets them go on.
#[derive(Debug)]
#[must_use = "dropping it thaws at once"]
pub struct Frozen {
    processes: Vec<u32>,
}

impl Frozen {
    /// Stops a process, then its children, so that none is started in between.
    pub fn family(parent: u32) -> Result<Frozen> {
        signal(parent, Signal::Stop)?;
        let mut frozen = Frozen { processes: vec![parent] };
        for child in children(parent) {
            // One that has ended since the look has nothing left to stop.
            if signal(child, Signal::Stop).is_ok() {
                frozen.processes.push(child);
            }
        }
        Ok(frozen)
    }

    /// Returns how many processes stand still.
    pub fn count(&self) -> usize {
        self.processes.len()
    }
}

impl Drop for Frozen {
    fn drop(&mut self) {
        for process in self.processes.iter().rev() {
            if let Err(error) = signal(*process, Signal::Cont) {
                tracing::debug!(%error, process, "a frozen process was gone");
            }
        }
    }
}

/// Finds the direct children of a process where the system says so.
fn children(parent: u32) -> Vec<u32> {
    let Ok(entries) = std::fs::read_dir("/proc") else { return Vec::new() };
    let number = |entry: std::fs::DirEntry| entry.file_name().to_str()?.parse::<u32>().ok();
    entries.flatten().filter_map(number).filter(|process| parent_of(*process) == Some(parent)).collect()
}

fn parent_of(process: u32) -> Option<u32> {
    let line = std::fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
    // The name is in brackets and may hold anything; after it come the state and the parent.
    line.rsplit_once(')')?.1.split_whitespace().nth(1)?.parse().ok()
}
