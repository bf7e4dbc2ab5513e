//! Keeps the spool busy in blocking threads while the capture's task goes on answering keepalives.
//!
//! Operations are performed in the order given, all that wait in one go. Law: only one thread works at a time, and what
//! waits is bounded by whoever asks `has_room` before it reads more.

use antiphon_engine::Fault;
use antiphon_model::Code;
use bytes::Bytes;
use tokio::task::JoinHandle;

use crate::{
    events::SpoolMeasured,
    spool::{Operation, Spool},
};

/// So much may wait to be written: a write of this size takes a few milliseconds.
const QUEUED_BYTES_MAX: usize = 4 << 20;

type Done = (Spool, Result<Option<Bytes>, Fault>);

/// The spool and what is still to be done with it.
pub(super) struct Spooler {
    /// Here while no thread has it.
    idle: Option<Spool>,
    working: Option<JoinHandle<Done>>,
    queue: Vec<Operation>,
    queued_bytes: usize,
}

impl Spooler {
    pub(super) fn new(spool: Spool) -> Spooler {
        Spooler { idle: Some(spool), working: None, queue: Vec::new(), queued_bytes: 0 }
    }

    /// Adds an operation; it begins as soon as those before it are done.
    pub(super) fn push(&mut self, operation: Operation) {
        self.queued_bytes += operation.bytes();
        self.queue.push(operation);
    }

    /// Begins with what waits, unless a thread is at work.
    pub(super) fn start(&mut self) {
        if self.queue.is_empty() {
            return;
        }
        let Some(mut spool) = self.idle.take() else { return };
        self.queued_bytes = 0;
        let operations = std::mem::take(&mut self.queue);
        self.working = Some(tokio::task::spawn_blocking(move || {
            let mut read = None;
            for operation in operations {
                match spool.perform(operation) {
                    Ok(bytes) => read = bytes.or(read),
                    Err(fault) => return (spool, Err(fault)),
                }
            }
            SpoolMeasured { bytes: spool.bytes() }.emit();
            (spool, Ok(read))
        }));
    }

    /// Tells whether more may be read that would have to wait here.
    pub(super) fn has_room(&self) -> bool {
        self.queued_bytes < QUEUED_BYTES_MAX
    }

    /// Tells whether a thread is at work.
    pub(super) fn busy(&self) -> bool {
        self.working.is_some()
    }

    /// Waits for the thread at work and returns what it read. Cancelling loses nothing.
    pub(super) async fn finished(&mut self) -> Result<Option<Bytes>, Fault> {
        let Some(working) = &mut self.working else { return std::future::pending().await };
        let joined = working.await;
        self.working = None;
        let (spool, read) = joined.map_err(|error| {
            // The spool went down with its thread; the connection ends and takes a new one.
            Fault::new(Code::Internal, "the spool's thread panicked").with_source(error)
        })?;
        self.idle = Some(spool);
        read
    }

    /// Deletes the files before the connection counts as ended.
    pub(super) async fn end(mut self) {
        if let Some(working) = self.working.take()
            && let Ok((spool, _)) = working.await
        {
            self.idle = Some(spool);
        }
        let spool = self.idle.take();
        if let Err(error) = tokio::task::spawn_blocking(move || drop(spool)).await {
            tracing::warn!(%error, "the spool could not be deleted");
        }
    }
}
