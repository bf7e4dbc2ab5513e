//! The customer's database, simulated: what the ports of the engine need of Postgres, with its manners (SIM-01).
//!
//! A process of its own: what was sent to it is carried out whether or not the sender still lives, so a commit whose
//! server died has happened all the same. Laws: whoever waits for a lock waits for the holder's end; a session of a life
//! before a crash is over; latencies and the time between commit and visibility are drawn by dice.

mod copy;
mod door;
mod pages;
mod sql;
mod stamp;
mod state;
mod stream;
pub(crate) mod table;
#[cfg(test)]
mod tests;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use antiphon_engine::{
    Fault, SealKey,
    ports::{Schemas, Shape},
};
use antiphon_model::{Code, EntityType, Lsn};
use tokio::sync::watch;

pub use self::{
    sql::{Sql, SqlError},
    state::{Committed, Edit, Refused},
    stream::{Acknowledged, SlotSource},
};
use self::{
    state::{Lock, LockKey, State},
    table::Table,
};
use crate::{Clock, ProcessId, Simulation};

/// A lock is waited for so long, in milliseconds.
const LOCK_TIMEOUT_MS: u64 = 5_000;

impl Default for Manners {
    fn default() -> Manners {
        Manners {
            slow_permille: 200,
            hidden_permille: 100,
            hidden_ms_max: 300,
            locks: true,
            slot_waits: true,
            records: true,
            mutant_conflicts_recorded: false,
        }
    }
}

/// How the database behaves, in permille and milliseconds.
#[derive(Clone, Copy, Debug)]
pub struct Manners {
    /// How often a statement takes a moment.
    pub slow_permille: u64,
    /// How often a commit is in the log for a while before readers see it.
    pub hidden_permille: u64,
    /// For at most how long.
    pub hidden_ms_max: u64,
    /// Whether a row's lock is really taken; a mutant's switch.
    pub locks: bool,
    /// Whether making the slot waits until readers see what committed before it; a mutant's switch.
    pub slot_waits: bool,
    /// Whether applied edits leave a record; a mutant's switch.
    pub records: bool,
    /// Whether what had no effect leaves a record all the same; a mutant's switch.
    pub mutant_conflicts_recorded: bool,
}

/// The database; cheap to clone.
#[derive(Clone)]
pub struct Database {
    shared: Arc<Shared>,
}

struct Shared {
    simulation: Simulation,
    process: ProcessId,
    clock: Clock,
    manners: Manners,
    seal_key: SealKey,
    state: Mutex<State>,
    moved: watch::Sender<u64>,
}

impl Database {
    /// Makes an empty database with every declared table.
    pub fn new(simulation: &Simulation, process: ProcessId, manners: Manners) -> Database {
        let mut state = State::new(table::all());
        state.keeps_records = manners.mutant_conflicts_recorded;
        let shared = Shared {
            simulation: simulation.clone(),
            process,
            clock: simulation.clock().skewed(0),
            manners,
            seal_key: SealKey::new(vec![7; 32]),
            state: Mutex::new(state),
            moved: watch::Sender::new(0),
        };
        Database { shared: Arc::new(shared) }
    }

    /// Returns the declared types in order.
    pub fn entities(&self) -> Vec<Arc<EntityType>> {
        self.state().tables.iter().map(|table| Arc::clone(&table.entity)).collect()
    }

    /// Returns the shape of a type; one that is not declared has none.
    pub fn shape_of(&self, entity_type: &str) -> Shape {
        self.table(entity_type).map_or(Shape { fields: Vec::new() }, |(_, table)| table.shape())
    }

    /// Returns what messages of the door are sealed with.
    pub fn seal_key(&self) -> SealKey {
        self.shared.seal_key.clone()
    }

    /// Returns the database's clock; it may jump.
    pub fn clock(&self) -> &Clock {
        &self.shared.clock
    }

    /// Returns what servers refused, in order.
    pub fn refused(&self) -> Vec<Refused> {
        self.state().refused.clone()
    }

    /// Notes what a server refused.
    pub(crate) fn note_refused(&self, refused: Refused) {
        self.state().refused.push(refused);
    }

    /// Returns every committed transaction in the order of commits.
    pub fn committed(&self) -> Vec<Committed> {
        self.state().log.clone()
    }

    /// Returns where its last commit stands in its log.
    pub fn last_commit(&self) -> Lsn {
        self.state().log.last().map(|committed| committed.lsn).unwrap_or_default()
    }

    /// Returns the present row of an entity as lists show it: image and metadata.
    pub fn row(&self, entity_type: &str, id: &str) -> Option<(String, Option<String>)> {
        let (index, table) = self.table(entity_type)?;
        let state = self.state();
        let row = state.newest(index, id, 0)?;
        let image = table.image(row);
        Some((image.image, image.tx))
    }

    /// Returns what a column of text holds now, and the id of whoever wrote it.
    pub(crate) fn text(&self, entity_type: &str, id: &str, field: &str) -> Option<(Option<String>, Option<String>)> {
        let (index, table) = self.table(entity_type)?;
        let state = self.state();
        let row = state.newest(index, id, 0)?;
        let written = table.tx_of(row).and_then(|tx| tx.field_id(field).map(str::to_owned));
        Some((written, table.text(row, field).map(str::to_owned)))
    }

    /// Returns every word that somebody typed and that was in a row at some time.
    pub(crate) fn words(&self) -> std::collections::BTreeSet<String> {
        self.state().words.clone()
    }

    /// Returns the place of a version of a row among all its versions.
    pub(crate) fn written_at(&self, entity_type: &str, id: &str, version: &str) -> Option<usize> {
        let (index, _) = self.table(entity_type)?;
        self.state().stamps.get(&(index, id.to_owned()))?.get(version).map(|(place, _)| *place)
    }

    /// Returns organisation, type, id, image and columns that rules read of every row that readers see.
    pub fn rows(&self) -> Vec<SeenRow> {
        let state = self.state();
        let snapshot = state.snapshot();
        let seen = state.rows.iter().filter_map(|((index, id), versions)| {
            let table = &state.tables[*index];
            let row = State::seen(versions, &snapshot)?;
            Some(SeenRow {
                org: row[1].clone().unwrap_or_default(),
                entity_type: table.entity.name.clone(),
                entity_id: id.clone(),
                image: table.image(row).image,
                policy: table.policy(row),
            })
        });
        seen.collect()
    }

    /// Tells whether a commit that is in the log is not visible yet.
    pub fn hides(&self) -> bool {
        self.state().open.values().any(|open| open.logged)
    }

    /// Crashes: what is not in the log is lost, and every session is over.
    pub fn crash(&self) {
        self.state().crash();
        self.notify();
    }

    /// Is restored into another cluster, where numbers of transactions are other ones; it is down until it is started.
    pub fn restore_elsewhere(&self) {
        let mut state = self.state();
        state.crash();
        state.restore_elsewhere();
        drop(state);
        self.notify();
    }

    /// Comes up again.
    pub fn start(&self) {
        self.state().up = true;
        self.notify();
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // A panic ends the run.
        self.shared.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn notify(&self) {
        self.shared.moved.send_modify(|moved| *moved += 1);
    }

    fn table(&self, entity_type: &str) -> Option<(usize, Arc<Table>)> {
        let state = self.state();
        let found = state.tables.iter().position(|table| table.entity.name == entity_type)?;
        Some((found, Arc::clone(&state.tables[found])))
    }

    /// Lets a moment pass, as every statement may take one.
    async fn pause(&self) {
        let dice = self.shared.simulation.dice();
        if dice.permille(self.shared.manners.slow_permille) {
            let ms = dice.between(1, 4);
            self.shared.clock.sleep_ms(ms).await;
        } else {
            self.shared.simulation.pass().await;
        }
    }

    /// Opens a session; the number names the database's life.
    async fn session(&self) -> Result<u64, Fault> {
        self.pause().await;
        let state = self.state();
        if state.up { Ok(state.life) } else { Err(unreachable_fault()) }
    }

    /// Fails where the database's life is another one than the session's.
    fn alive(&self, life: u64) -> Result<MutexGuard<'_, State>, Fault> {
        let state = self.state();
        if state.up && state.life == life { Ok(state) } else { Err(unreachable_fault()) }
    }

    /// Waits for a lock.
    async fn lock(&self, life: u64, xid: u64, key: LockKey) -> Result<(), Fault> {
        let mut moved = self.shared.moved.subscribe();
        let until = self.shared.clock.elapsed_us() + LOCK_TIMEOUT_MS * 1_000;
        loop {
            match self.alive(life)?.lock(xid, &key) {
                Lock::Held => return Ok(()),
                Lock::Deadlock => return Err(Fault::new(Code::TryAgain, "deadlock")),
                Lock::Wait => {}
            }
            let left = until.saturating_sub(self.shared.clock.elapsed_us()) / 1_000;
            if left == 0 {
                return Err(Fault::new(Code::TryAgain, "lock timeout"));
            }
            tokio::select! {
                biased;
                changed = moved.changed() => if changed.is_err() { return Err(unreachable_fault()) },
                () = self.shared.clock.sleep_ms(left) => {}
            }
        }
    }

    /// Carries a commit out, whoever waits for it; returns once readers see it.
    async fn commit(&self, life: u64, xid: u64) -> Result<Lsn, Fault> {
        let (done, committed) = tokio::sync::oneshot::channel();
        let database = self.clone();
        self.shared.simulation.start(self.shared.process, async move {
            database.pause().await;
            let logged = match database.alive(life) {
                Ok(mut state) => {
                    let clock = &database.shared.clock;
                    state.log_commit(xid, clock.now(), clock.elapsed_us()).then(|| state.end())
                }
                Err(_) => None,
            };
            database.notify();
            let Some(lsn) = logged else { return };
            database.shared.simulation.say(|| format!("database: {xid} committed at {lsn}"));
            let dice = database.shared.simulation.dice();
            if dice.permille(database.shared.manners.hidden_permille) {
                let ms = dice.between(1, database.shared.manners.hidden_ms_max);
                database.shared.clock.sleep_ms(ms).await;
            }
            if let Ok(mut state) = database.alive(life) {
                state.finish(xid);
                drop(state);
                database.shared.simulation.say(|| format!("database: {xid} visible"));
                database.notify();
                if done.send(lsn).is_err() {
                    // Who asked is gone; the commit has happened all the same.
                }
            }
        });
        committed.await.map_err(|_| unreachable_fault())
    }

    /// Rolls back after a moment: the database notices that nobody is there any more.
    fn abandon(&self, life: u64, xid: u64) {
        let database = self.clone();
        self.shared.simulation.start(self.shared.process, async move {
            database.pause().await;
            let finished = database.alive(life).map(|mut state| state.finish(xid));
            if finished.is_ok() {
                database.notify();
            }
        });
    }
}

/// A row that readers see.
#[derive(Clone, Debug)]
pub struct SeenRow {
    /// The organisation.
    pub org: String,
    /// The type.
    pub entity_type: String,
    /// The entity.
    pub entity_id: String,
    /// The whole row.
    pub image: String,
    /// The columns that rules read.
    pub policy: std::collections::BTreeMap<String, Option<String>>,
}

fn unreachable_fault() -> Fault {
    Fault::new(Code::SourceUnreachable, "")
}

/// Numbers the shapes of the declared tables: they never change in a run.
#[derive(Clone, Debug)]
pub struct FixedSchemas;

#[async_trait::async_trait]
impl Schemas for FixedSchemas {
    async fn number(&self, _entity_type: &str, _fingerprint: &str) -> Result<u32, Fault> {
        Ok(1)
    }

    async fn newest(&self) -> Result<std::collections::BTreeMap<String, u32>, Fault> {
        Ok(std::collections::BTreeMap::new())
    }
}
