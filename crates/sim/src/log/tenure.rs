//! The right to write the simulated log: lease, appends, flushes.
//!
//! Law: what was sent is carried out even if its sender is gone by then, so a fence is all that stands between an old writer
//! and the log.

use antiphon_engine::{
    Fault,
    ports::{Batch, Leadership, Lease, LogFlusher, LogWriter, Tenure},
};
use antiphon_model::{Activity, ActivityId, Checkpoint, Code, Epoch, Micros};
use async_trait::async_trait;

use tokio::sync::oneshot;

use super::{Log, LogLink, State, unreachable_fault};
use crate::ProcessId;

/// The log lives on its own: nothing kills what it does for itself.
const LOG: ProcessId = ProcessId(u32::MAX);
/// An append may be so late.
const LATE_MS_MAX: u64 = 8_000;
/// A lease is good for so many microseconds after its last renewal.
const TTL_US: i64 = 10_000_000;
/// It is renewed this often.
const RENEW_MS: u64 = 3_000;
/// The log notices within this time that the session of a holder is gone.
const NOTICED_MS_MAX: u64 = 300;

#[async_trait]
impl Leadership for LogLink {
    async fn acquire(&self, _source: &str, holder: &str) -> Result<Option<Tenure>, Fault> {
        let life = self.call().await?;
        let session = self.log.shared.simulation.tick();
        let fence = {
            let mut state = self.log.alive(life)?;
            let now = self.log.shared.clock.now();
            let alone = state.session.is_none();
            if !(alone || state.now.holder == holder || state.now.expires_at < now) {
                return Ok(None);
            }
            if alone {
                state.session = Some(session);
            }
            state.now.fence += 1;
            holder.clone_into(&mut state.now.holder);
            state.now.expires_at = Micros(now.0 + TTL_US);
            let (tick, fence) = (self.log.shared.simulation.tick(), state.now.fence);
            self.log.shared.simulation.say(|| format!("log: {holder} takes the lease, fence {fence}"));
            state.flush(tick);
            state.now.fence
        };
        let lease = Held { link: self.clone(), life, session, fence };
        let (head, checkpoint) = {
            let state = self.log.alive(life)?;
            (state.now.head, state.now.checkpoint.clone())
        };
        let mut flusher = Flusher { link: self.clone(), life, epoch: head.epoch, flushed: head.durable };
        flusher.flush(head.last).await?;
        self.call().await?;
        let state = self.log.alive(life)?;
        let mut head = state.now.marks();
        head.begun |= self.log.shared.manners.mutant_list_before_slot;
        let writer = Appender {
            link: self.clone(),
            life,
            fence,
            epoch: head.epoch,
            last: head.last,
            checkpoint: checkpoint.clone(),
        };
        Ok(Some(Tenure {
            head,
            checkpoint,
            organisations: state.now.organisations.iter().cloned().collect(),
            snapshots: state.now.snapshots.values().cloned().collect(),
            writer: Box::new(writer),
            flusher: Box::new(flusher),
            lease: Box::new(lease),
        }))
    }
}

struct Appender {
    link: LogLink,
    life: u64,
    fence: i64,
    epoch: Epoch,
    last: ActivityId,
    checkpoint: Checkpoint,
}

#[async_trait]
impl LogWriter for Appender {
    async fn append(&mut self, batch: &mut Batch) -> Result<ActivityId, Fault> {
        self.link.call().await?;
        let log = self.link.log.clone();
        if log.shared.manners.mutant_copies_as_marked {
            let Checkpoint { lsn, xid, .. } = batch.checkpoint;
            let of_last = |activity: &&mut Activity| activity.commit.lsn == lsn;
            batch.activities.iter_mut().filter(of_last).for_each(|activity| activity.commit.xid = xid);
        }
        let (done, appended) = oneshot::channel();
        let append = Append {
            life: self.life,
            fence: self.fence,
            epoch: self.epoch,
            last: self.last,
            checkpoint: self.checkpoint.clone(),
            batch: batch.clone(),
        };
        let (manners, simulation) = (log.shared.manners, log.shared.simulation.clone());
        let dice = simulation.dice().clone();
        // What was sent is carried out, however late, and whether or not its sender still lives.
        let late_ms = if dice.permille(manners.late_permille) { dice.between(100, LATE_MS_MAX) } else { 0 };
        simulation.start(LOG, async move {
            log.shared.clock.sleep_ms(late_ms).await;
            let (fence, count) = (append.fence, append.batch.activities.len());
            let result = append.carry_out(&log);
            log.shared.simulation.say(|| format!("log: append of {count} under fence {fence}: {result:?}"));
            log.pause().await;
            if done.send(result).is_err() {
                // Nobody waits any more.
            }
        });
        let last = appended.await.map_err(|_| unreachable_fault())??;
        if dice.permille(manners.answer_lost_permille) {
            return Err(unreachable_fault());
        }
        let first = last.as_u64() + 1 - batch.activities.len() as u64;
        for (index, activity) in batch.activities.iter_mut().enumerate() {
            activity.id = ActivityId::new(first + index as u64);
        }
        self.last = last;
        self.checkpoint = batch.checkpoint.clone();
        Ok(last)
    }
}

/// An append on its way.
struct Append {
    life: u64,
    fence: i64,
    epoch: Epoch,
    last: ActivityId,
    checkpoint: Checkpoint,
    batch: Batch,
}

impl Append {
    /// Carries it out in one transaction.
    fn carry_out(mut self, log: &Log) -> Result<ActivityId, Fault> {
        let manners = &log.shared.manners;
        let mut guard = log.alive(self.life)?;
        let state = &mut *guard;
        if manners.mutant_no_fence {
            self.last = state.now.head.last;
        } else if !manners.mutant_no_position {
            self.fits(state)?;
        }
        let mut last = self.last;
        for activity in &mut self.batch.activities {
            last = last.plus(1);
            activity.id = last;
        }
        let Batch { activities, checkpoint, organisations, snapshot } = self.batch;
        if !manners.mutant_no_position {
            state.now.checkpoint = checkpoint;
        }
        state.now.head.last = last;
        state.now.organisations.extend(organisations);
        if let Some(progress) = snapshot {
            state.now.snapshots.insert(progress.entity_type.clone(), progress);
        }
        let empty = activities.is_empty();
        state.activities.extend(activities);
        match empty {
            true => state.flush(log.shared.simulation.tick()),
            false => state.pending.push(state.now.clone()),
        }
        Ok(last)
    }

    fn fits(&self, state: &State) -> Result<(), Fault> {
        if state.now.fence != self.fence {
            return Err(Fault::new(Code::Fenced, "fenced"));
        }
        let place = |of: &Checkpoint| (of.acknowledged, of.lsn, of.ordinal, of.complete);
        if place(&state.now.checkpoint) != place(&self.checkpoint) {
            return Err(Fault::new(Code::LogUnreachable, "unflushed appends were taken back"));
        }
        let head = &state.now.head;
        if !self.batch.activities.is_empty() && (head.epoch != self.epoch || head.last != self.last) {
            return Err(Fault::new(Code::LogUnreachable, "the head of the log is elsewhere"));
        }
        Ok(())
    }
}

struct Flusher {
    link: LogLink,
    life: u64,
    epoch: Epoch,
    flushed: ActivityId,
}

#[async_trait]
impl LogFlusher for Flusher {
    async fn flush(&mut self, up_to: ActivityId) -> Result<(), Fault> {
        if up_to <= self.flushed {
            return Ok(());
        }
        self.link.call().await?;
        let log = &self.link.log;
        // A disk takes its time, and others append meanwhile.
        let disk_ms = log.shared.simulation.dice().below(log.shared.manners.disk_ms_max + 1);
        log.shared.clock.sleep_ms(disk_ms).await;
        {
            let mut guard = log.alive(self.life)?;
            let state = &mut *guard;
            let head = &mut state.now.head;
            if head.epoch != self.epoch || head.durable >= up_to {
                return Err(Fault::new(Code::Fenced, "the durable head of the log was raised by another server"));
            }
            head.durable = up_to;
            log.shared.simulation.say(|| format!("log: flushed up to {up_to}"));
            match log.shared.manners.mutant_no_flush {
                true => state.pending.push(state.now.clone()),
                false => state.flush(log.shared.simulation.tick()),
            }
        }
        log.pause().await;
        log.alive(self.life).map(drop)?;
        self.flushed = up_to;
        Ok(())
    }
}

struct Held {
    link: LogLink,
    life: u64,
    session: u64,
    fence: i64,
}

impl Drop for Held {
    fn drop(&mut self) {
        let (log, life, session) = (self.link.log.clone(), self.life, self.session);
        let simulation = log.shared.simulation.clone();
        simulation.start(LOG, async move {
            let ms = log.shared.simulation.dice().below(NOTICED_MS_MAX);
            log.shared.clock.sleep_ms(ms).await;
            if let Ok(mut state) = log.alive(life)
                && state.session == Some(session)
            {
                state.session = None;
            }
        });
    }
}

#[async_trait]
impl Lease for Held {
    async fn renew(&mut self) -> Result<(), Fault> {
        self.link.call().await?;
        let log = &self.link.log;
        let mut state = log.alive(self.life)?;
        if state.now.fence != self.fence {
            return Err(Fault::new(Code::Fenced, "another server has taken over the lease"));
        }
        state.now.expires_at = Micros(log.shared.clock.now().0 + TTL_US);
        if state.session.is_none() {
            state.session = Some(self.session);
        }
        state.flush(log.shared.simulation.tick());
        Ok(())
    }

    async fn release(&mut self) -> Result<(), Fault> {
        self.link.call().await?;
        let log = &self.link.log;
        let mut state = log.alive(self.life)?;
        if state.now.fence == self.fence {
            state.now.expires_at = Micros(0);
            state.now.holder.clear();
            state.flush(log.shared.simulation.tick());
        }
        Ok(())
    }

    fn renew_interval_ms(&self) -> u64 {
        RENEW_MS
    }
}
