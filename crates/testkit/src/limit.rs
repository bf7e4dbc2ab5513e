//! Taking means away from a running process: memory and descriptors, as a container or a busy machine does.
//!
//! What is taken can be given back: only the soft limit is lowered, so that it needs no privilege either way.

use anyhow::{Context, Result};
use rustix::process::{Pid, Resource, Rlimit, prlimit};

/// What is limited.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Means {
    /// Bytes of memory that it may write to, its threads' stacks included.
    Memory,
    /// Open files and connections: the next one has a number below this.
    Descriptors,
}

/// A limit on a process; dropping it takes it away again.
#[derive(Debug)]
#[must_use = "dropping it gives everything back at once"]
pub struct Limited {
    pid: Pid,
    resource: Resource,
    before: Rlimit,
}

impl Limited {
    /// Lowers a limit of a process.
    pub fn process(pid: u32, means: Means, to: u64) -> Result<Limited> {
        let pid = i32::try_from(pid).ok().and_then(Pid::from_raw).context("no such process number")?;
        let resource = match means {
            Means::Memory => Resource::Data,
            Means::Descriptors => Resource::Nofile,
        };
        let maximum = hard(pid, means)?;
        let before = prlimit(Some(pid), resource, Rlimit { current: Some(to), maximum });
        Ok(Limited { pid, resource, before: before.context("the limit cannot be set")? })
    }
}

impl Drop for Limited {
    fn drop(&mut self) {
        if let Err(error) = prlimit(Some(self.pid), self.resource, self.before) {
            tracing::debug!(%error, "a limited process was gone");
        }
    }
}

/// Reads the limit that a process may raise its own to.
fn hard(pid: Pid, means: Means) -> Result<Option<u64>> {
    let limits = std::fs::read_to_string(format!("/proc/{}/limits", pid.as_raw_nonzero()))?;
    let name = match means {
        Means::Memory => "Max data size",
        Means::Descriptors => "Max open files",
    };
    let line = limits.lines().find_map(|line| line.strip_prefix(name)).context("no such limit")?;
    let hard = line.split_whitespace().nth(1).context("no hard limit")?;
    if hard == "unlimited" { Ok(None) } else { Ok(Some(hard.parse()?)) }
}

/// Returns how many bytes of memory a process may write to at present, as `Means::Memory` counts them.
pub fn memory_bytes(pid: u32) -> Result<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmData:")).context("no VmData")?;
    let kilobytes: u64 = line.trim().strip_suffix(" kB").context("not in kB")?.trim().parse()?;
    Ok(kilobytes << 10)
}
