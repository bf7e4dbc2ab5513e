//! What a process has used: CPU seconds and the peak of its memory, from `/proc`.

use anyhow::{Context, Result};

/// CPU and memory of a process so far.
#[derive(Clone, Copy, Debug, Default, serde::Serialize, serde::Deserialize)]
pub(crate) struct Usage {
    /// Seconds of CPU, user and system.
    pub(crate) cpu_seconds: f64,
    /// The most memory that was resident at once, in MiB.
    pub(crate) peak_mib: f64,
}

/// Linux counts CPU time of processes in hundredths of a second for user space.
const TICKS_PER_SECOND: f64 = 100.0;

/// Reads the usage of a process by its id, or of this one for `self`.
pub(crate) fn of(process: &str) -> Result<Usage> {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat"))?;
    // The name may hold blanks: the fields begin behind its closing bracket.
    let (_, fields) = stat.rsplit_once(") ").context("an unexpected /proc/stat")?;
    let fields: Vec<&str> = fields.split(' ').collect();
    let ticks = |index: usize| fields.get(index).and_then(|text| text.parse::<f64>().ok()).unwrap_or(0.0);
    let status = std::fs::read_to_string(format!("/proc/{process}/status"))?;
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap_or("0");
    let peak_kib: f64 = peak.trim().trim_end_matches(" kB").parse().unwrap_or(0.0);
    Ok(Usage { cpu_seconds: (ticks(11) + ticks(12)) / TICKS_PER_SECOND, peak_mib: peak_kib / 1024.0 })
}

/// Returns how much memory of a process is resident now, in KiB.
pub(crate) fn resident_kib(process: &str) -> Result<f64> {
    let status = std::fs::read_to_string(format!("/proc/{process}/status"))?;
    let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("no VmRSS")?;
    Ok(resident.trim().trim_end_matches(" kB").parse()?)
}
