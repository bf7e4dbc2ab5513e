//! The slot and the stream of commits: what capture reads, and what it acknowledges (CAP-01).
//!
//! Laws: commits come in the order of the log, from the later of the slot's position and the one asked for; a transaction
//! may come in parts; after a crash of the database the slot may stand where it stood before. One connection at a time.

use antiphon_engine::{
    Fault,
    ports::{Capture, Captured, SnapshotTable, Source, Waits},
};
use antiphon_model::{Checkpoint, Code, Lsn, Micros, SourceIdentity, Transaction, Visibility, Xid};
use async_trait::async_trait;
use tokio::sync::watch;

use super::{Committed, Database, copy::Copying, state::State};
use crate::ProcessId;

/// A quiet stream tells how far the log is after this time.
const KEEPALIVE_MS: u64 = 500;
/// So many transactions come at once.
const TRANSACTIONS_MAX: u64 = 6;
/// The database notices within this time that a reader of the slot is gone.
const NOTICED_MS_MAX: u64 = 200;

/// The replication slot.
#[derive(Clone, Debug, Default)]
pub(crate) struct Slot {
    pub(crate) confirmed: Lsn,
    /// What a crash brings back.
    pub(crate) saved: Lsn,
    /// Which connection reads it.
    pub(crate) active: Option<u64>,
    /// What readers did not see yet when it was made.
    pub(crate) running: Vec<u64>,
}

/// A position that capture told the database was durable.
#[derive(Clone, Copy, Debug)]
pub struct Acknowledged {
    /// The moment, in the order of everything.
    pub tick: u64,
    /// The position.
    pub lsn: Lsn,
}

/// One server's way to the database.
#[derive(Clone)]
pub struct SlotSource {
    pub(super) database: Database,
    /// The server, with which its tasks die.
    process: ProcessId,
    /// A mutant's switch: numbers as the wire has them, 32 bits wide.
    narrow: bool,
}

impl Database {
    /// Returns a server's way to the slot.
    pub fn source(&self, process: ProcessId, narrow: bool) -> SlotSource {
        SlotSource { database: self.clone(), process, narrow }
    }

    /// Drops the slot: the next capture begins at the end of the log.
    pub fn drop_slot(&self) {
        self.state().slot = None;
        self.notify();
    }

    /// Returns where the present slot began.
    pub fn slot_from(&self) -> Lsn {
        self.state().slot_from
    }

    /// Returns everything that capture has acknowledged.
    pub fn acknowledged(&self) -> Vec<Acknowledged> {
        self.state().acknowledged.clone()
    }
}

#[async_trait]
impl Source for SlotSource {
    async fn connect(&self, checkpoint: &Checkpoint, _: &Waits<'_>) -> Result<Box<dyn Capture>, Fault> {
        let life = self.database.session().await?;
        if checkpoint.identity.is_none() {
            self.prepare_slot(life).await?;
        }
        let mut state = self.database.alive(life)?;
        let connection = self.database.shared.simulation.tick();
        let Some(slot) = &mut state.slot else { return Err(Fault::new(Code::SlotMissing, "")) };
        if slot.active.is_some() {
            return Err(Fault::new(Code::SlotInUse, ""));
        }
        if checkpoint.identity.is_some()
            && checkpoint.acknowledged > Lsn::ZERO
            && slot.confirmed > checkpoint.acknowledged
        {
            return Err(Fault::new(Code::SlotAdvanced, ""));
        }
        slot.active = Some(connection);
        let started_at = slot.confirmed;
        let next = state.log.partition_point(|committed| committed.lsn <= started_at);
        drop(state);
        let acknowledge = watch::Sender::new(Lsn::ZERO);
        self.listen(life, connection, acknowledge.subscribe());
        let identity = SourceIdentity {
            system_identifier: "7000000000000000001".into(),
            timeline: 1,
            database_oid: 5,
            database: "app".into(),
            publication: None,
        };
        let source = self.clone();
        Ok(Box::new(Reading { source, life, connection, next, part: 0, started_at, identity, acknowledge }))
    }

    async fn visibility(&self) -> Result<Visibility, Fault> {
        let life = self.database.session().await?;
        let visibility = self.database.alive(life)?.snapshot().visibility();
        self.database.pause().await;
        Ok(visibility)
    }

    async fn snapshot_table(&self, entity_type: &str) -> Result<Box<dyn SnapshotTable>, Fault> {
        let life = self.database.session().await?;
        let table = self.database.table(entity_type);
        let (index, table) = table.ok_or_else(|| Fault::new(Code::TableUnfit, entity_type.to_owned()))?;
        Ok(Box::new(Copying { database: self.database.clone(), life, index, table }))
    }
}

impl SlotSource {
    /// Makes the slot at the end of the log, unless it is there, and waits until readers see everything before it.
    ///
    /// What committed before the slot began is not streamed, so a copy must find it; a commit that is in the log and not
    /// visible yet would be in neither.
    async fn prepare_slot(&self, life: u64) -> Result<(), Fault> {
        let running = {
            let mut state = self.database.alive(life)?;
            let (end, running) = (state.end(), state.open.keys().copied().collect());
            if state.slot.is_none() {
                state.slot = Some(Slot { confirmed: end, saved: end, active: None, running });
                state.slot_from = end;
            }
            state.slot.as_ref().map(|slot| slot.running.clone()).unwrap_or_default()
        };
        let waits = |state: &State| running.iter().any(|xid| state.open.contains_key(xid));
        while self.database.shared.manners.slot_waits && waits(&*self.database.alive(life)?) {
            self.database.shared.clock.sleep_ms(10).await;
        }
        Ok(())
    }

    /// Carries what is acknowledged to the slot, a moment later.
    fn listen(&self, life: u64, connection: u64, mut told: watch::Receiver<Lsn>) {
        let database = self.database.clone();
        let work = async move {
            while told.changed().await.is_ok() {
                database.pause().await;
                let lsn = *told.borrow_and_update();
                let tick = database.shared.simulation.tick();
                let save = database.shared.simulation.dice().permille(100);
                let Ok(mut state) = database.alive(life) else { return };
                state.acknowledged.push(Acknowledged { tick, lsn });
                if let Some(slot) = state.slot.as_mut().filter(|slot| slot.active == Some(connection)) {
                    slot.confirmed = slot.confirmed.max(lsn);
                    if save {
                        slot.saved = slot.confirmed;
                    }
                }
            }
        };
        self.database.shared.simulation.start(self.process, work);
    }
}

/// A running capture.
struct Reading {
    source: SlotSource,
    life: u64,
    connection: u64,
    /// The next transaction of the log.
    next: usize,
    /// The first change of it that was not sent yet.
    part: usize,
    started_at: Lsn,
    identity: SourceIdentity,
    acknowledge: watch::Sender<Lsn>,
}

impl Drop for Reading {
    fn drop(&mut self) {
        let (database, life, connection) = (self.source.database.clone(), self.life, self.connection);
        let shared = &self.source.database.shared;
        shared.simulation.start(shared.process, async move {
            let ms = database.shared.simulation.dice().below(NOTICED_MS_MAX);
            database.shared.clock.sleep_ms(ms).await;
            if let Ok(mut state) = database.alive(life)
                && let Some(slot) = state.slot.as_mut().filter(|slot| slot.active == Some(connection))
            {
                slot.active = None;
            }
        });
    }
}

impl Reading {
    /// Takes what is in the log; `None` where nothing new is.
    fn take(&mut self) -> Result<Option<Vec<Transaction>>, Fault> {
        let dice = self.source.database.shared.simulation.dice().clone();
        let state = self.source.database.alive(self.life)?;
        let owns = state.slot.as_ref().is_some_and(|slot| slot.active == Some(self.connection));
        if !owns {
            return Err(Fault::new(Code::SourceUnreachable, "the slot is read by another connection"));
        }
        let mut taken = Vec::new();
        let most = dice.between(1, TRANSACTIONS_MAX) as usize;
        while taken.len() < most
            && let Some(committed) = state.log.get(self.next)
        {
            let left = committed.changes.len() - self.part;
            // Large transactions come in parts; the cut falls anywhere.
            let count = if left > 1 && dice.permille(200) { dice.between(1, left as u64) as usize } else { left };
            taken.push(part(committed, self.part, count, self.source.narrow));
            self.part += count;
            if self.part == committed.changes.len() {
                (self.next, self.part) = (self.next + 1, 0);
            }
        }
        Ok((!taken.is_empty()).then_some(taken))
    }
}

fn part(committed: &Committed, first: usize, count: usize, narrow: bool) -> Transaction {
    let xid = committed.xid.as_u64();
    Transaction {
        commit_lsn: committed.lsn,
        xid: Xid::new(if narrow { xid & u64::from(u32::MAX) } else { xid }),
        committed_at: committed.at,
        first_ordinal: first as u64,
        changes: committed.changes[first..first + count].to_vec(),
        last: first + count == committed.changes.len(),
    }
}

#[async_trait]
impl Capture for Reading {
    async fn next(&mut self) -> Result<Captured, Fault> {
        let database = self.source.database.clone();
        let mut moved = database.shared.moved.subscribe();
        // A commit takes its time to get here; a cancelled wait has taken nothing yet.
        database.pause().await;
        loop {
            if let Some(taken) = self.take()? {
                return Ok(Captured::Transactions(taken));
            }
            tokio::select! {
                biased;
                changed = moved.changed() => if changed.is_err() { return Err(super::unreachable_fault()) },
                () = database.shared.clock.sleep_ms(KEEPALIVE_MS) => {
                    let state = database.alive(self.life)?;
                    if self.next == state.log.len() {
                        let at = Micros(database.shared.clock.now().0);
                        return Ok(Captured::Progress { lsn: state.end(), at });
                    }
                }
            }
        }
    }

    fn try_next(&mut self) -> Option<Result<Captured, Fault>> {
        self.take().map(|taken| taken.map(Captured::Transactions)).transpose()
    }

    fn acknowledge(&self) -> watch::Sender<Lsn> {
        self.acknowledge.clone()
    }

    fn source_clock(&self) -> Micros {
        Micros(self.source.database.shared.clock.now().0)
    }

    fn identity(&self) -> &SourceIdentity {
        &self.identity
    }

    fn started_at(&self) -> Lsn {
        self.started_at
    }
}
