//! The log's own database, simulated: appends that a crash may take back, flushes that make them last (house 7, 8).
//!
//! Laws: an append is an asynchronous commit, everything else a synchronous one, and a synchronous one brings every
//! commit before it to disk; a crash keeps a beginning of what was not flushed, of a length that the dice choose, and
//! ends every session. Who may append is decided as the real log decides it: fence and expected position first.

mod reader;
mod tenure;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

use antiphon_engine::{
    Fault,
    ports::{Head, SnapshotProgress},
};
use antiphon_model::{Activity, ActivityId, Checkpoint, Code, Epoch, Lsn, Micros};

pub use self::reader::LogLink;
use crate::{Clock, Simulation};

/// A call to a log that cannot be reached fails after this time.
const CALL_TIMEOUT_MS: u64 = 3_000;

/// What goes wrong inside, in permille; and the switches of mutants.
#[derive(Clone, Copy, Debug, Default)]
pub struct LogManners {
    /// How often a call takes a moment.
    pub slow_permille: u64,
    /// A flush takes at most so many milliseconds.
    pub disk_ms_max: u64,
    /// How often an append is on its way for long.
    pub late_permille: u64,
    /// How often an append is committed but its answer lost.
    pub answer_lost_permille: u64,
    /// Flushes are not waited for: an asynchronous commit raises the durable head.
    pub mutant_no_flush: bool,
    /// Appends look at neither fence nor position.
    pub mutant_no_fence: bool,
    /// Offsets below the floor are served.
    pub mutant_no_floor: bool,
    /// Appends leave the stored position where it is.
    pub mutant_no_position: bool,
    /// Capture counts as begun before the slot of the epoch is there.
    pub mutant_list_before_slot: bool,
    /// Rows of a copy carry the transaction of their watermark.
    pub mutant_copies_as_marked: bool,
    /// Every offset is vouched for.
    pub mutant_offset_is_head: bool,
}

/// Everything that a commit of the log's database may change, but for the activities.
#[derive(Clone, Debug)]
struct Kept {
    head: Head,
    checkpoint: Checkpoint,
    fence: i64,
    holder: String,
    expires_at: Micros,
    organisations: BTreeSet<(String, String)>,
    snapshots: BTreeMap<String, SnapshotProgress>,
}

impl Kept {
    /// The marks, with what the checkpoint says of them.
    fn marks(&self) -> Head {
        Head { begun: self.checkpoint.identity.is_some(), ..self.head }
    }
}

/// What was safe on disk from a moment on.
#[derive(Clone, Copy, Debug)]
pub struct Durable {
    /// The moment, in the order of everything.
    pub tick: u64,
    /// The position of the source up to which everything was safe.
    pub lsn: Lsn,
}

struct State {
    /// What the database answers.
    now: Kept,
    /// What is on disk.
    disk: Kept,
    /// Every asynchronous commit since, in order.
    pending: Vec<Kept>,
    activities: Vec<Activity>,
    former: Vec<Activity>,
    durable: Vec<Durable>,
    taken_back: u64,
    /// The session that holds the lease's lock.
    session: Option<u64>,
    life: u64,
    up: bool,
}

/// The log; cheap to clone.
#[derive(Clone)]
pub struct Log {
    shared: Arc<Shared>,
}

struct Shared {
    simulation: Simulation,
    clock: Clock,
    manners: LogManners,
    state: Mutex<State>,
}

impl Log {
    /// Makes an empty log.
    pub fn new(simulation: &Simulation, manners: LogManners) -> Log {
        let zero = ActivityId::new(0);
        let kept = Kept {
            head: Head { epoch: Epoch::FIRST, last: zero, durable: zero, visible: zero, floor: zero, begun: false },
            checkpoint: Checkpoint::start(),
            fence: 0,
            holder: String::new(),
            expires_at: Micros(0),
            organisations: BTreeSet::new(),
            snapshots: BTreeMap::new(),
        };
        let state = State {
            now: kept.clone(),
            disk: kept,
            pending: Vec::new(),
            activities: Vec::new(),
            former: Vec::new(),
            durable: Vec::new(),
            taken_back: 0,
            session: None,
            life: 1,
            up: true,
        };
        let (simulation, clock) = (simulation.clone(), simulation.clock().skewed(0));
        Log { shared: Arc::new(Shared { simulation, clock, manners, state: Mutex::new(state) }) }
    }

    /// Returns a server's way to the log.
    pub fn link(&self) -> LogLink {
        LogLink { log: self.clone(), reachable: Arc::new(AtomicBool::new(true)) }
    }

    /// Returns the marks as they stand.
    pub fn marks(&self) -> Head {
        self.state().now.marks()
    }

    /// Returns every activity of the present epoch up to the durable head, those below the floor included.
    pub fn activities(&self) -> Vec<Activity> {
        let state = self.state();
        let durable = state.now.head.durable;
        state.activities.iter().filter(|activity| activity.id <= durable).cloned().collect()
    }

    /// Returns the activities of former epochs.
    pub fn former(&self) -> Vec<Activity> {
        self.state().former.clone()
    }

    /// Returns what was safe when.
    pub fn durable(&self) -> Vec<Durable> {
        self.state().durable.clone()
    }

    /// Returns whether every declared table has been copied.
    pub fn copied(&self, tables: usize) -> bool {
        let state = self.state();
        state.now.snapshots.values().filter(|progress| progress.complete).count() == tables
    }

    /// Returns the commit up to which the source is in the log.
    pub fn captured(&self) -> Lsn {
        self.state().now.checkpoint.lsn
    }

    /// Returns how many activities crashes took back.
    pub fn taken_back(&self) -> u64 {
        self.state().taken_back
    }

    /// Returns how many commits a crash could take back now.
    pub fn unflushed(&self) -> usize {
        self.state().pending.len()
    }

    /// Loses the session that holds the lease's lock: another server may take over, and the holder does not know yet.
    pub fn lose_session(&self) {
        self.state().session = None;
    }

    /// Crashes: of what was not flushed, a beginning stays.
    pub fn crash(&self) {
        let mut guard = self.state();
        let state = &mut *guard;
        let keep = self.shared.simulation.dice().below(state.pending.len() as u64 + 1) as usize;
        let pending = std::mem::take(&mut state.pending);
        state.now = pending.into_iter().take(keep).next_back().unwrap_or_else(|| state.disk.clone());
        state.disk = state.now.clone();
        let before = state.activities.len();
        let last = state.now.head.last;
        state.activities.retain(|activity| activity.id <= last);
        state.taken_back += (before - state.activities.len()) as u64;
        // What survived is on disk.
        let durable = Durable { tick: self.shared.simulation.tick(), lsn: state.now.checkpoint.acknowledged };
        state.durable.push(durable);
        let taken_back = before - state.activities.len();
        self.shared.simulation.say(|| format!("log: crashed, {taken_back} activities taken back, last {last}"));
        state.life += 1;
        state.session = None;
        state.up = false;
    }

    /// Comes up again.
    pub fn start(&self) {
        self.state().up = true;
    }

    /// Begins a new epoch, as an operator does whose slot is lost.
    pub fn new_epoch(&self) -> Epoch {
        self.commit(|state| {
            let epoch = state.now.head.epoch.next();
            let base = epoch.base();
            state.now.head = Head { epoch, last: base, durable: base, visible: base, floor: base, begun: false };
            state.now.checkpoint = Checkpoint::start();
            state.now.fence += 1;
            state.now.holder.clear();
            state.now.expires_at = Micros(0);
            state.now.organisations.clear();
            state.now.snapshots.clear();
            let former = std::mem::take(&mut state.activities);
            state.former.extend(former);
            epoch
        })
    }

    /// Raises the floor, as retention does.
    pub fn retain_from(&self, floor: ActivityId) {
        self.commit(|state| {
            let head = &mut state.now.head;
            head.floor = head.floor.max(floor.min(head.durable).min(head.visible));
        });
    }

    /// Changes something by a synchronous commit.
    fn commit<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        let mut state = self.state();
        let result = change(&mut state);
        state.flush(self.shared.simulation.tick());
        result
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // A panic ends the run.
        self.shared.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Fails where the log's life is another one than the session's.
    fn alive(&self, life: u64) -> Result<MutexGuard<'_, State>, Fault> {
        let state = self.state();
        if state.up && state.life == life { Ok(state) } else { Err(unreachable_fault()) }
    }

    async fn pause(&self) {
        let dice = self.shared.simulation.dice();
        if dice.permille(self.shared.manners.slow_permille) {
            let ms = dice.between(1, 5);
            self.shared.clock.sleep_ms(ms).await;
        } else {
            self.shared.simulation.pass().await;
        }
    }
}

impl State {
    /// Brings everything to disk.
    fn flush(&mut self, tick: u64) {
        self.pending.clear();
        self.disk = self.now.clone();
        self.durable.push(Durable { tick, lsn: self.now.checkpoint.acknowledged });
    }
}

impl LogLink {
    /// Cuts the way to the log, or mends it.
    pub fn reach(&self, reachable: bool) {
        self.reachable.store(reachable, Ordering::Relaxed);
    }

    /// Waits for the log's answer to begin; returns its life.
    async fn call(&self) -> Result<u64, Fault> {
        if !self.reachable.load(Ordering::Relaxed) {
            self.log.shared.clock.sleep_ms(CALL_TIMEOUT_MS).await;
            return Err(unreachable_fault());
        }
        self.log.pause().await;
        let state = self.log.state();
        if state.up { Ok(state.life) } else { Err(unreachable_fault()) }
    }
}

fn unreachable_fault() -> Fault {
    Fault::new(Code::LogUnreachable, "")
}
