//! Takes what the source brings, maps it, and cuts it into batches.
//!
//! A batch is cut when the next stage can take it or when it is full: waiting longer would only add latency.
//! Law: the checkpoint in a batch stands exactly behind the batch's last change.

use std::{sync::Arc, time::Duration};

use antiphon_model::{ActivityId, Checkpoint, Lsn, Micros, Transaction};
use tokio::{sync::mpsc, time::Interval};

use super::{BATCH_ACTIVITIES_MAX, BATCH_BYTES_MAX, Work, Works};
use crate::{
    Bus, Fault, Mapped, Mapper,
    copier::{self, Copied, Copier, CopyStatus},
    events::TransactionsMapped,
    ports::{Batch, Capture, Captured, Schemas, Source},
};

/// A batch smaller than this waits for what has come already, never for what has not.
const BATCH_ACTIVITIES_MIN: usize = 500;
/// What is mapped so long after its commit, in microseconds of the source's own clock, belongs to a backlog.
///
/// Our clock does not come into it: the two may differ by any amount, for ever.
const CATCHING_UP_AFTER: i64 = 2_000_000;
/// While copies wait for readers to see what was captured before, look this often.
const BARRIER_INTERVAL_MS: u64 = 100;

/// What mapping noticed about the source's progress.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Observed {
    /// Whether it works through a backlog.
    pub(crate) catching_up: bool,
    /// How far the copies of tables are, while there are any.
    pub(crate) copies: Option<Vec<CopyStatus>>,
}

/// The mapping stage.
pub(super) struct Map {
    mapper: Mapper,
    copier: Copier,
    checkpoint: Checkpoint,
    schemas: Arc<dyn Schemas>,
    source: Arc<dyn Source>,
    bus: Bus,
    observer: Arc<dyn Fn(Observed) + Send + Sync>,
    /// Copies may begin once readers see everything up to here; `None` once they do.
    barrier: Option<ActivityId>,
    look: Interval,
    mapped: Mapped,
    copied: Option<Copied>,
    catching_up: bool,
    /// What was last told.
    told: Option<Observed>,
    counts: TransactionsMapped,
}

impl Map {
    pub(super) fn new(works: &Works, mapper: Mapper, copier: Copier, checkpoint: Checkpoint, last: ActivityId) -> Map {
        let barrier = copier.active().then_some(last);
        let mut look = tokio::time::interval(Duration::from_millis(BARRIER_INTERVAL_MS));
        look.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        Map {
            mapper,
            copier,
            checkpoint,
            schemas: Arc::clone(&works.schemas),
            source: Arc::clone(&works.source),
            bus: works.bus.clone(),
            observer: Arc::clone(&works.observer),
            barrier,
            look,
            mapped: Mapped::default(),
            copied: None,
            catching_up: true,
            told: None,
            counts: TransactionsMapped::default(),
        }
    }

    pub(super) async fn run(mut self, mut capture: Box<dyn Capture>, to: mpsc::Sender<Work>) -> Option<Fault> {
        let begins = self.checkpoint.identity.is_none();
        // The stream may begin before what was acknowledged: after a failover that position can lie in a history that
        // is gone, and told to the new server it would skip what stands there now (PG-29).
        self.checkpoint.acknowledged = capture.started_at();
        // After a failover the timeline is a newer one; the adapter has proved that it continues ours.
        self.checkpoint.identity = Some(capture.identity().clone());
        self.observe(false);
        // The first position of an epoch is not kept waiting for a change: lists wait for it.
        let progress = Work::Progress { checkpoint: self.checkpoint.clone(), at: Micros(0) };
        if begins && to.send(progress).await.is_err() {
            return None;
        }
        loop {
            let step = match self.step(&mut *capture, &to).await {
                Ok(step) => step,
                Err(fault) => return Some(fault),
            };
            if !step {
                return None;
            }
        }
    }

    /// Waits for one thing and handles it; `false` where the next stage is gone.
    async fn step(&mut self, capture: &mut dyn Capture, to: &mpsc::Sender<Work>) -> Result<bool, Fault> {
        enum Event {
            Captured(Captured),
            Copy(copier::Event),
            Look,
        }
        let looks = self.barrier.is_some() || self.copier.wants_visibility();
        let event = tokio::select! {
            // What is rare comes first, so that a busy source does not keep it waiting.
            biased;
            event = self.copier.next() => Event::Copy(event),
            _ = self.look.tick(), if looks => Event::Look,
            captured = capture.next() => Event::Captured(captured?),
        };
        match event {
            Event::Captured(captured) => self.gather(captured, capture, to).await,
            Event::Copy(event) => {
                if let Some(copied) = self.copier.take(event) {
                    self.copied = Some(copied);
                    if !self.send(to).await? {
                        return Ok(false);
                    }
                }
                self.learn_copied().await?;
                self.copier.start();
                self.observe(self.catching_up);
                self.send(to).await
            }
            Event::Look => {
                self.check_barrier().await?;
                Ok(true)
            }
        }
    }

    /// Takes in what has come, and what is there already while the next stage is busy, then cuts the batch.
    async fn gather(
        &mut self,
        first: Captured,
        capture: &mut dyn Capture,
        to: &mpsc::Sender<Work>,
    ) -> Result<bool, Fault> {
        let mut next = Some(first);
        let mut at = Micros(0);
        while let Some(captured) = next.take() {
            match captured {
                Captured::Transactions(transactions) => {
                    for transaction in &transactions {
                        self.transaction(transaction).await?;
                        at = at.max(transaction.committed_at);
                        if (self.full() || self.copied.is_some()) && !self.send(to).await? {
                            return Ok(false);
                        }
                    }
                }
                Captured::Progress { lsn, at: clock } => {
                    self.reached(lsn);
                    at = at.max(clock);
                }
            }
            // More that has come already joins the batch: always up to a size that spreads the cost of handing it on,
            // and beyond that while the next stage could not take it anyway.
            if self.mapped.activities.len() < BATCH_ACTIVITIES_MIN || to.capacity() == 0 {
                next = capture.try_next().transpose()?;
            }
        }
        std::mem::take(&mut self.counts).emit();
        self.observe(capture.source_clock().0.saturating_sub(at.0) > CATCHING_UP_AFTER);
        let appends = !self.mapped.activities.is_empty() || self.copied.is_some();
        if !self.send(to).await? {
            return Ok(false);
        }
        if appends || !self.checkpoint.complete {
            return Ok(true);
        }
        let progress = Work::Progress { checkpoint: self.checkpoint.clone(), at };
        Ok(to.send(progress).await.is_ok())
    }

    fn full(&self) -> bool {
        self.mapped.activities.len() >= BATCH_ACTIVITIES_MAX || self.mapped.bytes >= BATCH_BYTES_MAX
    }

    async fn transaction(&mut self, transaction: &Transaction) -> Result<(), Fault> {
        while let Some((relation, entity_type, fingerprint)) = self.mapper.unknown_shape(&transaction.changes) {
            let number = self.schemas.number(&entity_type, &fingerprint).await?;
            self.mapper.learn(&relation, number)?;
        }
        let (resent, refused) = (self.mapper.resent_changes(), self.mapper.messages_refused());
        self.mapper.map(transaction, &self.checkpoint, &mut self.mapped);
        if self.copier.active() {
            let mut copied = self.copier.observe(transaction, &mut self.mapper, &mut self.mapped);
            // A watermark is alone in its transaction, so one transaction moves at most one copy.
            self.copied = copied.pop().or(self.copied.take());
            if self.barrier.is_none() && self.copier.idle() {
                self.copier.start();
            }
        }
        let count = transaction.changes.len() as u64;
        self.counts.transactions += u64::from(transaction.last);
        self.counts.changes += count;
        self.counts.resent_changes += self.mapper.resent_changes() - resent;
        self.counts.messages_refused += self.mapper.messages_refused() - refused;
        self.advance(transaction, count);
        Ok(())
    }

    /// Moves the checkpoint behind a transaction or a part of it.
    fn advance(&mut self, transaction: &Transaction, count: u64) {
        let end = (transaction.first_ordinal + count).saturating_sub(1);
        let checkpoint = &mut self.checkpoint;
        if transaction.commit_lsn < checkpoint.lsn || (transaction.commit_lsn == checkpoint.lsn && checkpoint.complete)
        {
            return;
        }
        let ordinal = if transaction.commit_lsn == checkpoint.lsn { end.max(checkpoint.ordinal) } else { end };
        checkpoint.lsn = transaction.commit_lsn;
        checkpoint.ordinal = ordinal;
        checkpoint.complete = transaction.last;
        checkpoint.xid = transaction.xid;
        if transaction.last {
            checkpoint.acknowledged = checkpoint.acknowledged.max(transaction.commit_lsn);
        }
    }

    fn reached(&mut self, lsn: Lsn) {
        if self.checkpoint.complete {
            self.checkpoint.acknowledged = self.checkpoint.acknowledged.max(lsn);
        }
    }

    /// Sends the batch in hand, if there is one; `false` where the next stage is gone.
    async fn send(&mut self, to: &mpsc::Sender<Work>) -> Result<bool, Fault> {
        let snapshot = self.copied.take().map(|copied| copied.progress);
        if self.mapped.activities.is_empty() && snapshot.is_none() {
            return Ok(true);
        }
        let mapped = std::mem::take(&mut self.mapped);
        let over = snapshot.is_some();
        let batch = Batch {
            activities: mapped.activities,
            checkpoint: self.checkpoint.clone(),
            organisations: mapped.organisations,
            snapshot,
        };
        let sent = to.send(Work::Append(batch)).await.is_ok();
        if over {
            self.observe(self.catching_up);
        }
        Ok(sent)
    }

    async fn learn_copied(&mut self) -> Result<(), Fault> {
        for relation in self.copier.waiting_relations() {
            if let Some((entity_type, fingerprint)) = self.mapper.unknown_copied(&relation) {
                let number = self.schemas.number(&entity_type, &fingerprint).await?;
                if let Err(fault) = self.mapper.learn_copied(&relation, number) {
                    // What the stream cannot do without ends the tenure; a table's rows can wait.
                    self.copied = self.copier.fail(&entity_type, &fault).or(self.copied.take());
                }
            }
        }
        self.copier.narrow(&self.mapper);
        Ok(())
    }

    /// Lets copies begin once readers see every activity that was in the log when this tenure began.
    async fn check_barrier(&mut self) -> Result<(), Fault> {
        let Some(barrier) = self.barrier else {
            self.copier.prune(&self.source.visibility().await?);
            return Ok(());
        };
        let before = self.bus.before_list().await?;
        let visibility = self.source.visibility().await?;
        let (offset, _) = before.vouch(&visibility).await?;
        self.copier.prune(&visibility);
        if offset >= barrier {
            self.barrier = None;
            self.copier.start();
        }
        Ok(())
    }

    /// Tells what was noticed, where it is news.
    fn observe(&mut self, catching_up: bool) {
        let copies = self.copier.active().then(|| self.copier.statuses());
        let observed = Observed { catching_up, copies };
        self.catching_up = catching_up;
        if self.told.as_ref() != Some(&observed) {
            (self.observer)(observed.clone());
            self.told = Some(observed);
        }
    }
}
