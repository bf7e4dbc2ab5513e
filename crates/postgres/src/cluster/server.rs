//! One run of a private server: the process, its guard, its start and its end.
//!
//! Law: the server does not outlive its owner. A guard, a small shell, reads from a pipe that only the owner holds
//! open; when the owner is gone, however it went, the read ends and the guard stops the server. (Postgres's own
//! watch over its parent does not cover the postmaster, and a parent-death signal cannot be set without unsafe code.)
//! Waiting for readiness reads `postmaster.pid`, as `pg_ctl` does.

use std::{
    io,
    os::unix::process::CommandExt,
    process::{Child, Command, ExitStatus, Stdio},
    time::{Duration, Instant},
};

use antiphon_engine::Fault;
use rustix::process::{Pid, Signal, kill_process};

use super::{
    ClusterConfig, StopMode,
    account::Account,
    folder::{Folder, quiet, start_fault},
};

/// Recovery after a crash may take this long on a slow disk.
const START: Duration = Duration::from_secs(60);
/// A fast stop waits for readers of the log; past this it becomes an immediate one.
const STOP: Duration = Duration::from_secs(20);
const POLL: Duration = Duration::from_millis(10);

/// Its arguments: the server's process number, its data folder, the cluster's folder, `delete` or `keep`.
const GUARD: &str = r#"
read -r line
file=$2/postmaster.pid
runs() { [ -r "$file" ] && read -r pid < "$file" && [ "$pid" = "$1" ]; }
if [ "$4" = delete ]; then signals="QUIT KILL"; else signals="INT QUIT"; fi
for signal in $signals; do
  if runs "$1"; then kill -s $signal "$1"; fi
  n=0
  while [ $n -lt 100 ] && runs "$1" && kill -0 "$1"; do n=$((n + 1)); sleep 0.1; done
done
if [ "$4" = delete ]; then rm -rf "$3"; fi
"#;

/// Why a start failed.
#[derive(Debug)]
pub(super) enum StartError {
    /// The port was taken.
    PortInUse(Fault),
    /// The processes of a killed run have not all gone yet.
    StillLeaving(Fault),
    /// Anything else.
    Other(Fault),
}

/// A running server.
#[derive(Debug)]
pub(super) struct Server {
    process: Child,
    guard: Child,
}

impl Server {
    /// Starts the server and waits until it takes connections.
    pub(super) fn start(config: &ClusterConfig, folder: &Folder, account: Account) -> Result<Server, StartError> {
        let failed = |error: io::Error| StartError::Other(start_fault("it cannot be run").with_source(error));
        let log = folder.log().map_err(failed)?;
        let log_bytes = log.metadata().map_err(failed)?.len();
        let mut command = Command::new(config.installation.program("postgres"));
        command.arg("-D").arg(folder.data());
        // A group of its own: the interrupt key stops us, and we stop the server in our order.
        quiet(&mut command).process_group(0).stdout(log.try_clone().map_err(failed)?).stderr(log);
        let mut process = account.apply(&mut command).spawn().map_err(failed)?;
        let guard = match guard(config, folder, account, process.id()) {
            Ok(guard) => guard,
            Err(error) => {
                process.kill().and_then(|()| process.wait()).map_err(failed)?;
                return Err(failed(error));
            }
        };
        let mut server = Server { process, guard };
        match server.wait_ready(folder, log_bytes) {
            Ok(()) => Ok(server),
            Err(error) => {
                server.end(StopMode::Immediate);
                Err(error)
            }
        }
    }

    fn wait_ready(&mut self, folder: &Folder, log_bytes: u64) -> Result<(), StartError> {
        let pid = self.process.id().to_string();
        let deadline = Instant::now() + START;
        loop {
            if let Some(status) = self.exited() {
                return Err(classify(status, folder.log_tail(log_bytes)));
            }
            let lines = folder.postmaster();
            let ours = lines.first().is_some_and(|first| first.trim() == pid);
            if ours && lines.get(7).is_some_and(|status| status.trim() == "ready") {
                return Ok(());
            }
            if Instant::now() > deadline {
                let tail = folder.log_tail(log_bytes);
                return Err(StartError::Other(start_fault(format!("it was not ready in time; its log: {tail}"))));
            }
            std::thread::sleep(POLL);
        }
    }

    pub(super) fn pid(&self) -> u32 {
        self.process.id()
    }

    /// Returns the exit status once the process has ended.
    pub(super) fn exited(&mut self) -> Option<ExitStatus> {
        self.process.try_wait().ok().flatten()
    }

    /// Sends a signal to the server's first process.
    pub(super) fn signal(&self, signal: Signal) -> io::Result<()> {
        let pid = i32::try_from(self.process.id()).ok().and_then(Pid::from_raw);
        let pid = pid.ok_or_else(|| io::Error::from(io::ErrorKind::InvalidInput))?;
        kill_process(pid, signal).map_err(io::Error::from)
    }

    /// Ends the server, more forcefully the longer it takes.
    pub(super) fn end(mut self, mode: StopMode) {
        let signals: &[Signal] = match mode {
            StopMode::Fast => &[Signal::INT, Signal::QUIT, Signal::KILL],
            StopMode::Immediate => &[Signal::QUIT, Signal::KILL],
            StopMode::Kill => &[Signal::KILL],
        };
        for signal in signals {
            if self.exited().is_some() {
                break;
            }
            if let Err(error) = self.signal(*signal) {
                tracing::warn!(%error, "a private Postgres could not be signalled");
            }
            let deadline = Instant::now() + STOP;
            while self.exited().is_none() && Instant::now() < deadline {
                std::thread::sleep(POLL);
            }
        }
        if let Err(error) = self.guard.kill().and_then(|()| self.guard.wait()) {
            tracing::warn!(%error, "the guard of a private Postgres did not end");
        }
    }
}

fn guard(config: &ClusterConfig, folder: &Folder, account: Account, pid: u32) -> io::Result<Child> {
    let mut command = Command::new("/bin/sh");
    command.args(["-c", GUARD, "antiphon-postgres-guard"]).arg(pid.to_string()).arg(folder.data()).arg(folder.root());
    command.arg(if config.ephemeral { "delete" } else { "keep" });
    command.process_group(0).stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
    account.apply(&mut command).spawn()
}

fn classify(status: ExitStatus, tail: String) -> StartError {
    // Both texts come from the server in English, see `quiet`.
    let port = tail.contains("could not bind") || tail.contains("Address already in use");
    let leaving = tail.contains("is still in use") || tail.contains("lock file \"postmaster.pid\" already exists");
    let fault = start_fault(format!("it ended at once ({status}); its log: {tail}"));
    match (port, leaving) {
        (true, _) => StartError::PortInUse(fault),
        (false, true) => StartError::StillLeaving(fault),
        (false, false) => StartError::Other(fault),
    }
}
