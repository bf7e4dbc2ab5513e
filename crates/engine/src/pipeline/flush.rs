//! Flushes what was appended, then tells readers, other servers and Postgres; one flush serves all that waited for it.
//!
//! Law: they are told only after the flush has returned, so nothing that was shown is ever taken
//! back (LOG-06), and the acknowledged position is never above the durable one.

use std::{sync::Arc, time::Duration};

use antiphon_model::{Activity, Lsn, Micros};
use tokio::sync::{mpsc, watch};

use super::{Appended, Works};
use crate::{
    Bus, Fault,
    events::BatchPublished,
    ports::{Hint, LogFlusher, Notices},
};

/// Makes durable what was appended, and tells of it.
pub(super) struct Flush {
    flusher: Box<dyn LogFlusher>,
    bus: Bus,
    notices: Arc<dyn Notices>,
    clock: Arc<dyn Fn() -> Micros + Send + Sync>,
}

impl Flush {
    pub(super) fn new(flusher: Box<dyn LogFlusher>, works: &Works) -> Flush {
        let (bus, notices) = (works.bus.clone(), Arc::clone(&works.notices));
        Flush { flusher, bus, notices, clock: Arc::clone(&works.clock) }
    }

    pub(super) async fn run(
        mut self,
        mut appended: mpsc::Receiver<Appended>,
        acknowledge: watch::Sender<Lsn>,
    ) -> Option<Fault> {
        while let Some(first) = appended.recv().await {
            let mut group = Group::default();
            group.add(first);
            while let Ok(next) = appended.try_recv() {
                group.add(next);
            }
            let (up_to, at) = (group.acknowledge, group.at);
            if let Err(fault) = self.flush(group.activities).await {
                return Some(fault);
            }
            if at > Micros(0) {
                self.bus.set_as_of(at);
            }
            acknowledge.send_if_modified(|told| {
                let moved = up_to > *told;
                *told = up_to.max(*told);
                moved
            });
        }
        None
    }

    async fn flush(&mut self, activities: Vec<Activity>) -> Result<(), Fault> {
        let (Some(first), Some(last)) = (activities.first(), activities.last()) else { return Ok(()) };
        let (from, up_to, committed_at) = (first.id, last.id, last.commit.at);
        let started = (self.clock)();
        self.flusher.flush(up_to).await?;
        let now = (self.clock)();
        BatchPublished {
            activities: activities.len(),
            bytes: activities.iter().map(Activity::byte_len).sum(),
            lag_ms: (now.0 - committed_at.0) as f64 / 1000.0,
            flush: Duration::from_micros((now.0 - started.0).unsigned_abs()),
        }
        .emit();
        self.bus.publish(activities, up_to);
        // After our own readers: this server hears its own hint, and then knows the head already.
        self.notices.publish(Hint::new(self.bus.head().epoch, from, up_to));
        Ok(())
    }
}

#[derive(Default)]
struct Group {
    activities: Vec<Activity>,
    acknowledge: Lsn,
    at: Micros,
}

impl Group {
    fn add(&mut self, appended: Appended) {
        // INVARIANT: positions come in the order of the appends.
        assert!(appended.acknowledge >= self.acknowledge, "acknowledged positions went back");
        if self.activities.is_empty() {
            // Mostly the only one: it is taken as it is.
            self.activities = appended.batch.activities;
        } else {
            self.activities.extend(appended.batch.activities);
        }
        self.acknowledge = appended.acknowledge;
        self.at = self.at.max(appended.at);
    }
}
