//! A database and a log in memory that crash.
//!
//! Law: `crash` leaves exactly what a flush has covered; a writer of an earlier life can change nothing.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use antiphon_engine::{
    Fault,
    ports::{
        ActivityLog, Batch, Capture, Captured, DeletedPage, EntityRef, Head, Leadership, Lease, LogFlusher, LogWriter,
        Schemas, Scope, SnapshotProgress, SnapshotTable, Source, Span, Tenure, Waits,
    },
};
use antiphon_model::{
    Activity, ActivityId, Cell, Change, ChangedRow, Checkpoint, Code, Column, EntityType, Epoch, Lsn, Micros, OldRow,
    Relation, RelationName, ReplicaIdentity, SourceIdentity, Sync, Tenancy, Transaction, Tuple, Type, Visibility, Xid,
};
use async_trait::async_trait;
use rand::{Rng, SeedableRng, rngs::StdRng};
use tokio::sync::watch;

/// The organisation that the reader follows; other rows belong to `other` or to nobody.
pub const ORG: &str = "acme";
/// A transaction with more changes than this comes in parts.
const PART: usize = 3;

/// The world; cheap to clone.
#[derive(Clone)]
pub struct World {
    state: Arc<Mutex<State>>,
}

/// A commit position and its rows: id and organisation.
type Committed = (u64, Vec<(u64, Option<&'static str>)>);

struct State {
    random: StdRng,
    life: u64,
    healed: bool,
    ended: bool,
    transactions: Vec<Committed>,
    appended: Log,
    durable: Log,
    acknowledged_max: Lsn,
    acknowledged_early: bool,
    /// What the source's clock says, and what it said at the commits that are not captured yet.
    clock: Micros,
    committed_at: Micros,
}

#[derive(Clone)]
struct Log {
    activities: Vec<Activity>,
    shown: ActivityId,
    checkpoint: Checkpoint,
}

/// The declared type.
pub fn entity() -> Arc<EntityType> {
    Arc::new(EntityType {
        name: "page".into(),
        table: RelationName { schema: "public".into(), name: "pages".into() },
        org: Tenancy::Column("org".into()),
        key: vec!["id".into()],
        tx: "tx".into(),
        hidden: vec![],
        sync: Sync::All,
        filter: vec![],
        together: vec![],
        refs: BTreeMap::new(),
        fields: BTreeMap::new(),
        rules: Vec::new(),
        polling: Default::default(),
    })
}

fn relation() -> Arc<Relation> {
    let column = |name: &str| Column {
        name: name.into(),
        identity: true,
        type_oid: 25,
        type_modifier: -1,
        ty: Arc::new(Type::text("text")),
    };
    Arc::new(Relation {
        oid: 1,
        schema: "public".into(),
        name: "pages".into(),
        identity: ReplicaIdentity::Index,
        columns: vec![column("id"), column("org")],
    })
}

impl World {
    pub fn new(seed: u64) -> World {
        let log = Log { activities: Vec::new(), shown: ActivityId::new(0), checkpoint: Checkpoint::start() };
        let state = State {
            random: StdRng::seed_from_u64(seed),
            life: 0,
            healed: false,
            ended: false,
            transactions: Vec::new(),
            appended: log.clone(),
            durable: log,
            acknowledged_max: Lsn::ZERO,
            acknowledged_early: false,
            clock: Micros(0),
            committed_at: Micros(0),
        };
        World { state: Arc::new(Mutex::new(state)) }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Commits a few transactions in the source.
    pub fn work(&self) {
        let count = self.lock().random.random_range(0..6);
        (0..count).for_each(|_| self.commit());
    }

    /// Commits a transaction in the source.
    pub fn commit(&self) {
        let mut state = self.lock();
        let lsn = state.transactions.last().map_or(100, |(lsn, _)| lsn + 10);
        let rows = state.random.random_range(1..12);
        let nobodys = state.random.random_bool(0.2);
        let org = |random: &mut StdRng| match random.random_range(0..3) {
            _ if nobodys => None,
            0 => Some(ORG),
            1 => Some("other"),
            _ => None,
        };
        let rows = (0..rows).map(|row| (lsn * 100 + row, org(&mut state.random))).collect();
        state.transactions.push((lsn, rows));
    }

    /// Sets what the source's clock says, and what it said at the commits that are not captured yet.
    pub fn set_clock(&self, clock: Micros, committed_at: Micros) {
        let mut state = self.lock();
        (state.clock, state.committed_at) = (clock, committed_at);
    }

    /// Loses what no flush has covered.
    pub fn crash(&self) {
        let mut state = self.lock();
        state.life += 1;
        state.appended = state.durable.clone();
    }

    /// Ends the work and all faults.
    pub fn heal(&self) {
        let mut state = self.lock();
        state.healed = true;
        state.ended = true;
    }

    pub fn ended(&self) -> bool {
        self.lock().ended
    }

    /// True in `percent` of the calls, until all is healed.
    pub fn chance(&self, percent: u32) -> bool {
        let mut state = self.lock();
        !state.healed && state.random.random_ratio(percent, 100)
    }

    /// What a reader of `ORG` must see.
    pub fn expected(&self) -> Vec<(u64, u64, Option<String>)> {
        let state = self.lock();
        let rows = state.transactions.iter().flat_map(|(lsn, rows)| {
            let mapped = rows.iter().filter(|(_, org)| org.is_some()).enumerate();
            mapped
                .filter(|(_, (_, org))| *org == Some(ORG))
                .map(|(seq, (id, _))| (*lsn, seq as u64, Some(id.to_string())))
        });
        rows.collect()
    }

    /// Returns the last activity that no crash takes back.
    pub fn durable(&self) -> ActivityId {
        self.lock().durable.shown
    }

    pub fn check_acknowledged(&self) -> Result<(), String> {
        let state = self.lock();
        if state.acknowledged_early { Err("a position was acknowledged before it was durable".into()) } else { Ok(()) }
    }

    fn fault(&self, percent: u32) -> Result<(), Fault> {
        if self.chance(percent) { Err(Fault::new(Code::LogUnreachable, "injected")) } else { Ok(()) }
    }
}

#[async_trait]
impl ActivityLog for World {
    async fn head(&self) -> Result<Head, Fault> {
        let state = self.lock();
        let last = state.appended.activities.last().map_or(ActivityId::new(0), |activity| activity.id);
        let durable = state.appended.shown;
        Ok(Head {
            epoch: Epoch::FIRST,
            last,
            durable,
            visible: ActivityId::new(0),
            floor: ActivityId::new(0),
            begun: true,
        })
    }

    async fn read(
        &self,
        scope: &Scope,
        after: ActivityId,
        up_to: ActivityId,
        limit: usize,
    ) -> Result<Vec<Activity>, Fault> {
        self.fault(3)?;
        let state = self.lock();
        let wanted = |activity: &&Activity| {
            let inside = activity.id > after && activity.id <= up_to;
            inside && matches!(scope, Scope::Org(org) if *org == activity.org)
        };
        Ok(state.appended.activities.iter().filter(wanted).take(limit).cloned().collect())
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

/// A writer of one life.
struct Hand {
    world: World,
    life: u64,
}

#[async_trait]
impl Leadership for World {
    async fn acquire(&self, _: &str, _: &str) -> Result<Option<Tenure>, Fault> {
        self.fault(10)?;
        let life = {
            let mut state = self.lock();
            state.life += 1;
            // A new leader first flushes (house 7).
            state.appended.shown = state.appended.activities.last().map_or(ActivityId::new(0), |activity| activity.id);
            state.durable = state.appended.clone();
            state.life
        };
        let hand = || Hand { world: self.clone(), life };
        Ok(Some(Tenure {
            head: self.head().await?,
            checkpoint: self.lock().appended.checkpoint.clone(),
            organisations: Vec::new(),
            snapshots: vec![SnapshotProgress { complete: true, ..SnapshotProgress::fresh("page") }],
            writer: Box::new(hand()),
            flusher: Box::new(hand()),
            lease: Box::new(hand()),
        }))
    }
}

impl Hand {
    fn alive(&self) -> Result<(), Fault> {
        if self.world.lock().life == self.life { Ok(()) } else { Err(Fault::new(Code::Fenced, "")) }
    }
}

#[async_trait]
impl LogWriter for Hand {
    async fn append(&mut self, batch: &mut Batch) -> Result<ActivityId, Fault> {
        tokio::task::yield_now().await;
        self.world.fault(2)?;
        self.alive()?;
        let mut state = self.world.lock();
        let mut last = state.appended.activities.last().map_or(ActivityId::new(0), |activity| activity.id);
        for activity in &mut batch.activities {
            last = last.plus(1);
            activity.id = last;
        }
        state.appended.activities.extend(batch.activities.iter().cloned());
        state.appended.checkpoint = batch.checkpoint.clone();
        if batch.activities.is_empty() {
            state.durable = state.appended.clone();
        }
        Ok(last)
    }
}

#[async_trait]
impl LogFlusher for Hand {
    async fn flush(&mut self, up_to: ActivityId) -> Result<(), Fault> {
        tokio::time::sleep(std::time::Duration::from_millis(1)).await;
        self.world.fault(2)?;
        self.alive()?;
        let mut state = self.world.lock();
        state.appended.shown = state.appended.shown.max(up_to);
        state.durable = state.appended.clone();
        Ok(())
    }
}

#[async_trait]
impl Lease for Hand {
    async fn renew(&mut self) -> Result<(), Fault> {
        self.alive()
    }

    async fn release(&mut self) -> Result<(), Fault> {
        Ok(())
    }

    fn renew_interval_ms(&self) -> u64 {
        20
    }
}

#[async_trait]
impl Schemas for World {
    async fn number(&self, _: &str, _: &str) -> Result<u32, Fault> {
        Ok(1)
    }

    async fn newest(&self) -> Result<BTreeMap<String, u32>, Fault> {
        Ok(BTreeMap::new())
    }
}

/// A connection to the source.
struct Connection {
    world: World,
    life: u64,
    next: usize,
    started_at: Lsn,
    first: usize,
    acknowledge: watch::Sender<Lsn>,
    identity: SourceIdentity,
    relation: Arc<Relation>,
}

#[async_trait]
impl Source for World {
    async fn connect(&self, checkpoint: &Checkpoint, _: &Waits<'_>) -> Result<Box<dyn Capture>, Fault> {
        self.fault(10)?;
        let mut state = self.lock();
        // The slot may have gone back to any earlier position: everything after it comes again.
        let from = state.transactions.partition_point(|(lsn, _)| *lsn <= checkpoint.acknowledged.as_u64());
        let from = from - state.random.random_range(0..=from.min(4));
        Ok(Box::new(Connection {
            world: self.clone(),
            life: state.life,
            next: from,
            started_at: Lsn::new(from.checked_sub(1).map_or(0, |before| state.transactions[before].0)),
            first: 0,
            acknowledge: watch::Sender::new(Lsn::ZERO),
            identity: SourceIdentity {
                system_identifier: "1".into(),
                timeline: 1,
                database_oid: 1,
                database: "app".into(),
                publication: None,
            },
            relation: relation(),
        }))
    }

    async fn visibility(&self) -> Result<Visibility, Fault> {
        Err(Fault::new(Code::SourceUnreachable, "not simulated"))
    }

    async fn snapshot_table(&self, _: &str) -> Result<Box<dyn SnapshotTable>, Fault> {
        Err(Fault::new(Code::SourceUnreachable, "not simulated"))
    }
}

impl Connection {
    fn take(&mut self) -> Option<Captured> {
        self.note_acknowledged();
        let state = self.world.lock();
        let (lsn, rows) = state.transactions.get(self.next)?;
        let end = (self.first + PART).min(rows.len());
        let change = |(id, org): &(u64, Option<&'static str>)| {
            let (id, org) = (id.to_string(), org.map_or(Cell::Null, |org| Cell::Text(org.as_bytes())));
            let new = Tuple::from_cells([Cell::Text(id.as_bytes()), org]);
            Change::Insert(ChangedRow { relation: Arc::clone(&self.relation), old: OldRow::Absent, new: Some(new) })
        };
        let transaction = Transaction {
            commit_lsn: Lsn::new(*lsn),
            xid: Xid::new(*lsn),
            committed_at: state.committed_at,
            first_ordinal: self.first as u64,
            changes: rows[self.first..end].iter().map(change).collect(),
            last: end == rows.len(),
        };
        (self.next, self.first) = if transaction.last { (self.next + 1, 0) } else { (self.next, end) };
        Some(Captured::Transactions(vec![transaction]))
    }

    fn note_acknowledged(&self) {
        let told = *self.acknowledge.borrow();
        let mut state = self.world.lock();
        state.acknowledged_early |= told > state.durable.checkpoint.acknowledged;
        state.acknowledged_max = state.acknowledged_max.max(told);
    }
}

#[async_trait]
impl Capture for Connection {
    async fn next(&mut self) -> Result<Captured, Fault> {
        loop {
            if self.world.lock().life != self.life || self.world.chance(2) {
                return Err(Fault::new(Code::SourceUnreachable, "injected"));
            }
            if let Some(captured) = self.take() {
                return Ok(captured);
            }
            tokio::time::sleep(std::time::Duration::from_millis(3)).await;
        }
    }

    fn try_next(&mut self) -> Option<Result<Captured, Fault>> {
        self.take().map(Ok)
    }

    fn acknowledge(&self) -> watch::Sender<Lsn> {
        self.acknowledge.clone()
    }

    fn source_clock(&self) -> Micros {
        self.world.lock().clock
    }

    fn identity(&self) -> &SourceIdentity {
        &self.identity
    }

    fn started_at(&self) -> Lsn {
        self.started_at
    }
}
