//! Flushes what was appended, then publishes and acknowledges it; one flush serves every append that waited for it.
//!
//! Law: readers and Postgres are told only after the flush has returned, so nothing that was shown is ever taken
//! back (LOG-06), and the acknowledged position is never above the durable one.

use std::{sync::Arc, time::Duration};

use antiphon_model::{Activity, Lsn, Micros};
use tokio::sync::{mpsc, watch};

use super::Appended;
use crate::{Bus, Fault, events::BatchPublished, ports::LogFlusher};

pub(super) async fn run(
    mut flusher: Box<dyn LogFlusher>,
    bus: Bus,
    clock: Arc<dyn Fn() -> Micros + Send + Sync>,
    mut appended: mpsc::Receiver<Appended>,
    acknowledge: watch::Sender<Lsn>,
) -> Option<Fault> {
    while let Some(first) = appended.recv().await {
        let mut group = Group::default();
        group.add(first);
        while let Ok(next) = appended.try_recv() {
            group.add(next);
        }
        if let Err(fault) = group.flush(&mut *flusher, &bus, &clock).await {
            return Some(fault);
        }
        acknowledge.send_if_modified(|told| {
            let moved = group.acknowledge > *told;
            *told = group.acknowledge.max(*told);
            moved
        });
    }
    None
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
        self.activities.extend(appended.batch.activities);
        self.acknowledge = appended.acknowledge;
        self.at = self.at.max(appended.at);
    }

    async fn flush(
        &mut self,
        flusher: &mut dyn LogFlusher,
        bus: &Bus,
        clock: &Arc<dyn Fn() -> Micros + Send + Sync>,
    ) -> Result<(), Fault> {
        if let Some(up_to) = self.activities.last().map(|activity| activity.id) {
            let started = clock();
            flusher.flush(up_to).await?;
            let committed_at = self.activities.last().map(|activity| activity.commit.at);
            BatchPublished {
                activities: self.activities.len(),
                bytes: self.activities.iter().map(Activity::byte_len).sum(),
                lag_ms: committed_at.map(|at| (clock().0 - at.0) as f64 / 1000.0),
                flush: Duration::from_micros((clock().0 - started.0).unsigned_abs()),
            }
            .emit();
            bus.publish(std::mem::take(&mut self.activities), up_to);
        }
        if self.at > Micros(0) {
            bus.set_as_of(self.at);
        }
        Ok(())
    }
}
