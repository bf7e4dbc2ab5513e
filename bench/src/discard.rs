//! A log that throws everything away, to measure what capture costs without one.
//!
//! Only the bench can choose it: it is no part of the product, and no configuration names it.

use std::collections::BTreeMap;

use antiphon_engine::{
    Fault,
    ports::{
        ActivityLog, Batch, DeletedPage, EntityRef, Head, Leadership, Lease, LogFlusher, LogWriter, Schemas, Scope,
        SnapshotProgress, Span, Tenure,
    },
};
use antiphon_model::{Activity, ActivityId, Checkpoint, Epoch, Visibility};
use async_trait::async_trait;

/// Counts and forgets.
#[derive(Clone, Default)]
pub(crate) struct Discard {
    last: ActivityId,
    copied: Vec<SnapshotProgress>,
}

impl Discard {
    /// Makes a log in which the given types count as copied.
    pub(crate) fn new(types: &[&str]) -> Discard {
        let copied = types.iter().map(|name| complete(name)).collect();
        Discard { last: ActivityId::new(0), copied }
    }
}

/// The progress of a table that needs no copy.
pub(crate) fn complete(entity_type: &str) -> SnapshotProgress {
    SnapshotProgress { complete: true, ..SnapshotProgress::fresh(entity_type) }
}

const EMPTY: Head = Head {
    epoch: Epoch::FIRST,
    last: ActivityId::new(0),
    durable: ActivityId::new(0),
    visible: ActivityId::new(0),
    begun: true,
    floor: ActivityId::new(0),
};

#[async_trait]
impl ActivityLog for Discard {
    async fn head(&self) -> Result<Head, Fault> {
        Ok(EMPTY)
    }

    async fn read(&self, _: &Scope, _: ActivityId, _: ActivityId, _: usize) -> Result<Vec<Activity>, Fault> {
        Ok(Vec::new())
    }

    async fn first_invisible(&self, _: ActivityId, _: ActivityId, _: &Visibility) -> Result<Option<ActivityId>, Fault> {
        Ok(None)
    }

    async fn of_entity(&self, _: &EntityRef<'_>, _: Span, _: usize) -> Result<Vec<Activity>, Fault> {
        Ok(Vec::new())
    }

    async fn newest_of(&self, _: &str, _: &str, _: &[String], _: Span) -> Result<Vec<Activity>, Fault> {
        Ok(Vec::new())
    }

    async fn of_transaction(&self, _: &[&str], _: &str, _: Span, _: usize) -> Result<Vec<Activity>, Fault> {
        Ok(Vec::new())
    }

    async fn deletes(&self, _: &str, _: &str, _: Span, _: usize) -> Result<DeletedPage, Fault> {
        Ok(DeletedPage::default())
    }

    async fn raise_visible(&self, _: Epoch, _: ActivityId) -> Result<(), Fault> {
        Ok(())
    }
}

#[async_trait]
impl Leadership for Discard {
    async fn acquire(&self, _: &str, _: &str) -> Result<Option<Tenure>, Fault> {
        Ok(Some(Tenure {
            head: EMPTY,
            checkpoint: Checkpoint::start(),
            organisations: Vec::new(),
            snapshots: self.copied.clone(),
            writer: Box::new(self.clone()),
            flusher: Box::new(self.clone()),
            lease: Box::new(self.clone()),
        }))
    }
}

#[async_trait]
impl LogWriter for Discard {
    async fn append(&mut self, batch: &mut Batch) -> Result<ActivityId, Fault> {
        for activity in &mut batch.activities {
            self.last = self.last.plus(1);
            activity.id = self.last;
        }
        Ok(self.last)
    }
}

#[async_trait]
impl LogFlusher for Discard {
    async fn flush(&mut self, _: ActivityId) -> Result<(), Fault> {
        Ok(())
    }
}

#[async_trait]
impl Lease for Discard {
    async fn renew(&mut self) -> Result<(), Fault> {
        Ok(())
    }

    async fn release(&mut self) -> Result<(), Fault> {
        Ok(())
    }

    fn renew_interval_ms(&self) -> u64 {
        1_000
    }
}

#[async_trait]
impl Schemas for Discard {
    async fn number(&self, _: &str, _: &str) -> Result<u32, Fault> {
        Ok(1)
    }

    async fn newest(&self) -> Result<BTreeMap<String, u32>, Fault> {
        Ok(BTreeMap::new())
    }
}
