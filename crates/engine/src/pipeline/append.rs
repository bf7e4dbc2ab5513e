//! Appends batches in order, each in one fenced transaction.
//!
//! Progress without activities is saved sparingly: a position is acknowledged only after it was saved, so that a slot
//! that is ahead of what we saved was moved by someone else (PG-13), and saving writes to the very log that moves it.
//! The first position of an epoch, or of another timeline, is saved at once: from then on lists may be joined with the
//! stream, and positions are told by the server that they belong to.

use std::sync::Arc;

use antiphon_model::{Checkpoint, Epoch, Micros};
use tokio::sync::mpsc;

use super::{Appended, Work};
use crate::{
    Bus, Fault,
    ports::{Batch, LogWriter},
};

/// Progress over at least so much of the source's log is saved at once: it holds disk space there.
const PROGRESS_BYTES: u64 = 8 * 1024;
/// But not more often than this, in microseconds.
const PROGRESS_INTERVAL_MIN: i64 = 1_000_000;
/// Lesser progress is saved this often, so that an idle slot advances too (PG-06).
const PROGRESS_INTERVAL_MAX: i64 = 10_000_000;

pub(super) async fn run(
    mut writer: Box<dyn LogWriter>,
    (epoch, mut saved): (Epoch, Checkpoint),
    bus: Bus,
    clock: Arc<dyn Fn() -> Micros + Send + Sync>,
    mut work: mpsc::Receiver<Work>,
    flush: mpsc::Sender<Appended>,
) -> Option<Fault> {
    let mut saved_at = clock();
    while let Some(work) = work.recv().await {
        let (mut batch, at) = match work {
            Work::Append(batch) => {
                // In the middle of a transaction its commit time is not reached yet.
                let last = batch.activities.last().filter(|_| batch.checkpoint.complete);
                let at = last.map_or(Micros(0), |activity| activity.commit.at);
                (batch, at)
            }
            Work::Progress { checkpoint, at } => (empty(checkpoint), at),
        };
        let quiet = batch.activities.is_empty() && batch.snapshot.is_none();
        if !quiet || due(&saved, &batch.checkpoint, clock().0 - saved_at.0) {
            match writer.append(&mut batch).await {
                Ok(last) => bus.appended(last),
                Err(fault) => return Some(fault),
            }
            bus.begin(epoch);
            saved = batch.checkpoint.clone();
            saved_at = clock();
        }
        // What was saved by another tenure may be ahead of where this one began.
        let acknowledge = saved.acknowledged.min(batch.checkpoint.acknowledged);
        if flush.send(Appended { batch, at, acknowledge }).await.is_err() {
            return None;
        }
    }
    None
}

fn empty(checkpoint: Checkpoint) -> Batch {
    Batch { activities: Vec::new(), checkpoint, organisations: Vec::new(), snapshot: None }
}

fn due(saved: &Checkpoint, reached: &Checkpoint, since_saved_micros: i64) -> bool {
    let bytes = reached.acknowledged.bytes_since(saved.acknowledged);
    // A position means nothing without the server and timeline that it belongs to.
    saved.identity != reached.identity
        || (bytes >= PROGRESS_BYTES && since_saved_micros >= PROGRESS_INTERVAL_MIN)
        || (bytes > 0 && since_saved_micros >= PROGRESS_INTERVAL_MAX)
}

#[cfg(test)]
mod tests {
    use antiphon_model::{Lsn, SourceIdentity};

    use super::*;

    #[test]
    fn progress_is_saved_by_size_or_after_a_while_pg_06() {
        let identity = SourceIdentity {
            system_identifier: "1".into(),
            timeline: 1,
            database_oid: 1,
            database: "app".into(),
            publication: None,
        };
        let begun = Checkpoint { acknowledged: Lsn::new(1_000), ..Checkpoint::start() };
        let saved = Checkpoint { identity: Some(identity.clone()), ..begun.clone() };
        // The first position of an epoch is saved at once, and so is the first of another timeline.
        assert!(due(&begun, &saved, 0));
        let promoted = SourceIdentity { timeline: 2, ..identity };
        assert!(due(&saved, &Checkpoint { identity: Some(promoted), ..saved.clone() }, 0));
        for (reached, since, expected) in [
            (1_000, 60_000_000, false),
            (1_001, 9_000_000, false),
            (1_001, 10_000_000, true),
            (9_192, 500_000, false),
            (9_192, 1_000_000, true),
        ] {
            let now = Checkpoint { acknowledged: Lsn::new(reached), ..saved.clone() };
            assert_eq!(due(&saved, &now, since), expected, "{reached} after {since}");
        }
    }
}
