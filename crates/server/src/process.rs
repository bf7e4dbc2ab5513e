//! What the process itself uses, from `/proc`; elsewhere these metrics are absent.
//!
//! Names are the usual ones of Prometheus, so that dashboards made for others show us too.

/// Clock ticks in a second, which Linux fixes for what `/proc` shows.
const TICKS_PER_SECOND: f64 = 100.0;

/// Sets the gauges.
pub(crate) fn measure() {
    let read = |name: &str| std::fs::read_to_string(format!("/proc/self/{name}")).ok();
    if let Some(bytes) = read("status").as_deref().and_then(resident_bytes) {
        metrics::gauge!("process_resident_memory_bytes").set(bytes as f64);
    }
    if let Some(ticks) = read("stat").as_deref().and_then(processor_ticks) {
        metrics::gauge!("process_cpu_seconds_total").set(ticks as f64 / TICKS_PER_SECOND);
    }
    if let Some(most) = rustix::process::getrlimit(rustix::process::Resource::Nofile).current {
        metrics::gauge!("process_max_fds").set(most as f64);
    }
    if let Ok(open) = std::fs::read_dir("/proc/self/fd") {
        metrics::gauge!("process_open_fds").set(open.count() as f64);
    }
}

fn resident_bytes(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    line.trim().strip_suffix(" kB")?.parse::<u64>().ok()?.checked_mul(1024)
}

/// Adds up user and system time; a program's name may hold blanks and brackets, so fields are counted after it.
fn processor_ticks(stat: &str) -> Option<u64> {
    let mut fields = stat.rsplit_once(')')?.1.split_ascii_whitespace().skip(11);
    let user: u64 = fields.next()?.parse().ok()?;
    user.checked_add(fields.next()?.parse().ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_linux_writes_is_read_str_07() {
        assert_eq!(resident_bytes("Name:\tx\nVmRSS:\t    2048 kB\n"), Some(2_097_152));
        let stat = "7 (an (odd) name) S 1 7 7 0 -1 4194560 9 9 9 9 150 50 0 0 20 0";
        assert_eq!(processor_ticks(stat), Some(200));
        for other in ["", "VmRSS: many kB", "7 (x) S"] {
            assert_eq!((resident_bytes(other), processor_ticks(other)), (None, None));
        }
    }
}
