//! A program as a child process: its lines, its signals, its end.
//!
//! Lines are kept, so that waiting for one that has come already succeeds. A child that is dropped is killed.

use std::{
    process::{ExitStatus, Stdio},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use anyhow::{Context, Result, bail};
use rustix::process::{Pid, kill_process};
use tokio::{
    io::{AsyncBufReadExt, AsyncRead, BufReader},
    process::{Child, Command},
    sync::watch,
    time::timeout,
};

use crate::task::spawn;

/// A signal to a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signal {
    /// Ends it at once (`kill -9`).
    Kill,
    /// Asks it to end.
    Term,
    /// What the interrupt key sends.
    Int,
    /// Freezes it.
    Stop,
    /// Thaws it.
    Cont,
}

/// Sends a signal to any process by its number.
pub fn signal(pid: u32, signal: Signal) -> Result<()> {
    let pid = i32::try_from(pid).ok().and_then(Pid::from_raw).context("no such process number")?;
    let signal = match signal {
        Signal::Kill => rustix::process::Signal::KILL,
        Signal::Term => rustix::process::Signal::TERM,
        Signal::Int => rustix::process::Signal::INT,
        Signal::Stop => rustix::process::Signal::STOP,
        Signal::Cont => rustix::process::Signal::CONT,
    };
    kill_process(pid, signal).with_context(|| format!("process {pid:?} cannot be signalled"))
}

/// A running program.
#[derive(Debug)]
pub struct Process {
    child: Child,
    lines: Arc<Mutex<Vec<String>>>,
    count: watch::Receiver<usize>,
}

impl Process {
    /// Starts a program whose output is captured, line by line, both streams in one list.
    pub fn start(mut command: Command) -> Result<Process> {
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
        let mut child = command.spawn().with_context(|| format!("{command:?} cannot be started"))?;
        let lines = Arc::new(Mutex::new(Vec::new()));
        let (counted, count) = watch::channel(0);
        if let Some(stdout) = child.stdout.take() {
            spawn("child stdout", capture(stdout, Arc::clone(&lines), counted.clone()));
        }
        if let Some(stderr) = child.stderr.take() {
            spawn("child stderr", capture(stderr, Arc::clone(&lines), counted));
        }
        Ok(Process { child, lines, count })
    }

    /// Returns the process number while it runs.
    pub fn pid(&self) -> Option<u32> {
        self.child.id()
    }

    /// Returns the lines so far.
    pub fn lines(&self) -> Vec<String> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Waits for a line, also one that has come already.
    ///
    /// # Errors
    /// When the deadline passes or the output ends; the error shows the output.
    pub async fn wait_for_line(&mut self, fits: impl Fn(&str) -> bool, deadline: Duration) -> Result<String> {
        let mut seen = 0;
        let found = timeout(deadline, async {
            loop {
                // Marked as seen before reading, so that a line in between wakes us.
                self.count.borrow_and_update();
                let lines = self.lines();
                if let Some(line) = lines[seen..].iter().find(|line| fits(line)) {
                    return Some(line.clone());
                }
                seen = lines.len();
                if self.count.changed().await.is_err() && self.lines().len() == seen {
                    return None;
                }
            }
        });
        match found.await {
            Ok(Some(line)) => Ok(line),
            Ok(None) => bail!("the output ended without the line:\n{}", self.lines().join("\n")),
            Err(_) => bail!("the line did not come in time:\n{}", self.lines().join("\n")),
        }
    }

    /// Sends a signal.
    pub fn signal(&self, which: Signal) -> Result<()> {
        signal(self.pid().context("the process has ended")?, which)
    }

    /// Waits for the end.
    ///
    /// # Errors
    /// When the deadline passes; the error shows the output.
    pub async fn wait(&mut self, deadline: Duration) -> Result<ExitStatus> {
        match timeout(deadline, self.child.wait()).await {
            Ok(status) => Ok(status?),
            Err(_) => bail!("the process did not end in time:\n{}", self.lines().join("\n")),
        }
    }

    /// Kills the process as a crash would and waits for its end.
    pub async fn kill9(&mut self) -> Result<ExitStatus> {
        self.signal(Signal::Kill)?;
        Ok(self.child.wait().await?)
    }
}

async fn capture(stream: impl AsyncRead + Unpin, lines: Arc<Mutex<Vec<String>>>, counted: watch::Sender<usize>) {
    let mut reader = BufReader::new(stream);
    let mut bytes = Vec::new();
    while matches!(reader.read_until(b'\n', &mut bytes).await, Ok(read) if read > 0) {
        let line = String::from_utf8_lossy(&bytes).trim_end_matches(['\r', '\n']).to_owned();
        bytes.clear();
        lines.lock().unwrap_or_else(PoisonError::into_inner).push(line);
        counted.send_modify(|count| *count += 1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DEADLINE: Duration = Duration::from_secs(10);

    fn shell(script: &str) -> Process {
        let mut command = Command::new("/bin/sh");
        command.args(["-c", script]);
        Process::start(command).expect("a shell")
    }

    #[tokio::test]
    async fn lines_of_both_streams_are_found_before_and_after_the_end() {
        let mut process = shell("echo one; echo two >&2");
        assert_eq!(process.wait_for_line(|line| line == "two", DEADLINE).await.expect("stderr"), "two");
        assert!(process.wait(DEADLINE).await.expect("the end").success());
        assert_eq!(process.wait_for_line(|line| line == "one", DEADLINE).await.expect("stdout"), "one");
        let error = process.wait_for_line(|line| line == "three", DEADLINE).await.expect_err("no such line");
        assert!(error.to_string().contains("ended without"), "{error}");
    }

    #[tokio::test]
    async fn a_killed_process_ends_by_signal_9() {
        use std::os::unix::process::ExitStatusExt;
        let mut process = shell("echo up; exec cat /dev/zero > /dev/null");
        process.wait_for_line(|line| line == "up", DEADLINE).await.expect("the start");
        assert_eq!(process.kill9().await.expect("the end").signal(), Some(9));
    }
}
