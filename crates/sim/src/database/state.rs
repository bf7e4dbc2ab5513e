//! What the simulated database holds: versions of rows, records, numbers, locks, and the log of commits.
//!
//! Laws: a number is given at the first write and commits in any order; a commit stands in the log before readers see
//! it; a row has at most one version that is not visible yet, because its lock is kept until then. What is in the log
//! survives a crash, everything else does not.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use antiphon_model::{Change, Lsn, Micros, Mutation, Visibility, Xid};

use super::{
    stream::{Acknowledged, Slot},
    table::{Row, Table},
};
use crate::typing::words_of;

/// The first number that is given out: a few before the 32-bit ones wrap around, so that every run crosses that (CAP-13).
const FIRST_XID: u64 = (1 << 32) - 40;
/// The position of the first commit.
const FIRST_LSN: u64 = 0x16_B374_8000;

/// What is locked by one transaction at a time.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum LockKey {
    /// A row: table and id.
    Row(usize, String),
    /// A record: organisation and transaction id.
    Record(String, String),
}

/// One version of a row.
#[derive(Clone, Debug)]
pub(crate) struct Version {
    pub(crate) xid: u64,
    pub(crate) row: Option<Row>,
}

/// That an edit was applied.
#[derive(Clone, Debug)]
pub(crate) struct Record {
    pub(crate) xid: u64,
    pub(crate) content_hash: String,
    pub(crate) entity_id: String,
}

/// One write to one row, as the checkers look at it.
#[derive(Clone, Debug)]
pub struct Edit {
    /// The organisation.
    pub org: String,
    /// The type.
    pub entity_type: String,
    /// The entity.
    pub entity_id: String,
    /// The mutation; `None` for plain SQL.
    pub transaction_id: Option<String>,
    /// The field that it names; `None` for a create or a delete.
    pub field: Option<String>,
    /// The id that it expected.
    pub expected: Option<String>,
    /// The id that the field, or the row, had right before.
    pub was: Option<String>,
    /// The id that the row had before its transaction; a delete may name it instead.
    pub before: Option<String>,
    /// Whether it is an operation, which expects nothing.
    pub operation: bool,
}

/// A committed transaction.
#[derive(Clone, Debug)]
pub struct Committed {
    /// The end of its commit record.
    pub lsn: Lsn,
    /// Its number.
    pub xid: Xid,
    /// When it committed, by the database's clock.
    pub at: Micros,
    /// What it changed.
    pub changes: Arc<Vec<Change>>,
    /// What it wrote, for the checkers.
    pub edits: Vec<Edit>,
    /// When it was in the log, in true microseconds since the run began.
    pub done_us: u64,
}

/// A mutation that a server refused, whether or not its answer arrived.
#[derive(Clone, Debug)]
pub struct Refused {
    /// The organisation.
    pub org: String,
    /// The mutation.
    pub transaction_id: String,
    /// The code, or `aborted`.
    pub code: &'static str,
    /// When the request came, in true microseconds since the run began.
    pub came_us: u64,
}

/// A transaction that readers do not see yet.
#[derive(Default)]
pub(crate) struct Open {
    pub(crate) changes: Vec<Change>,
    pub(crate) edits: Vec<Edit>,
    pub(crate) claimed: BTreeMap<String, Mutation>,
    /// The rows that the present mutation has stamped: its id.
    pub(crate) stamped: Option<String>,
    written: Vec<(usize, String)>,
    records: Vec<(String, String)>,
    locks: BTreeSet<LockKey>,
    waits_for: Option<u64>,
    pub(crate) logged: bool,
}

/// What a snapshot sees.
#[derive(Clone, Debug)]
pub(crate) struct Snapshot {
    xmin: u64,
    xmax: u64,
    running: Vec<u64>,
}

impl Snapshot {
    pub(crate) fn sees(&self, xid: u64) -> bool {
        xid < self.xmin || (xid < self.xmax && self.running.binary_search(&xid).is_err())
    }

    /// Returns it as the database prints it.
    pub(crate) fn visibility(&self) -> Visibility {
        let running: Vec<String> = self.running.iter().map(u64::to_string).collect();
        let text = format!("{}:{}:{}", self.xmin, self.xmax, running.join(","));
        // INVARIANT: it is of the form.
        text.parse().unwrap_or_else(|_| unreachable!("{text}"))
    }
}

/// Whether a lock could be taken.
pub(crate) enum Lock {
    /// It is held now.
    Held,
    /// Another transaction holds it.
    Wait,
    /// Waiting would never end.
    Deadlock,
}

pub(crate) struct State {
    pub(crate) tables: Vec<Arc<Table>>,
    pub(crate) rows: BTreeMap<(usize, String), Vec<Version>>,
    pub(crate) records: BTreeMap<(String, String), Record>,
    /// The place of each id among all that a row was stamped with, and by which transaction; for checkers only.
    pub(crate) stamps: BTreeMap<(usize, String), BTreeMap<String, (usize, u64)>>,
    pub(crate) log: Vec<Committed>,
    /// What servers refused; for checkers only.
    pub(crate) refused: Vec<Refused>,
    /// Words that somebody typed and that were in a row at some time; for checkers only.
    pub(crate) words: BTreeSet<String>,
    pub(crate) open: BTreeMap<u64, Open>,
    /// Rises with every crash: sessions of a former life are over.
    pub(crate) life: u64,
    pub(crate) up: bool,
    pub(crate) slot: Option<Slot>,
    pub(crate) slot_from: Lsn,
    pub(crate) acknowledged: Vec<Acknowledged>,
    /// A mutant's switch: records of what was rolled back stay.
    pub(crate) keeps_records: bool,
    holders: BTreeMap<LockKey, u64>,
    pub(super) next_xid: u64,
    restored: u64,
    completed: u64,
    end: u64,
}

impl State {
    pub(crate) fn new(tables: Vec<Arc<Table>>) -> State {
        State {
            tables,
            rows: BTreeMap::new(),
            records: BTreeMap::new(),
            stamps: BTreeMap::new(),
            log: Vec::new(),
            refused: Vec::new(),
            words: BTreeSet::new(),
            open: BTreeMap::new(),
            life: 1,
            up: true,
            slot: None,
            slot_from: Lsn::ZERO,
            acknowledged: Vec::new(),
            keeps_records: false,
            holders: BTreeMap::new(),
            next_xid: FIRST_XID,
            restored: 0,
            completed: FIRST_XID - 1,
            end: FIRST_LSN,
        }
    }

    /// Returns the end of the log.
    pub(crate) fn end(&self) -> Lsn {
        Lsn::new(self.end)
    }

    /// Gives a number to a transaction.
    pub(crate) fn begin(&mut self) -> u64 {
        let xid = self.next_xid;
        self.next_xid += 1;
        self.open.insert(xid, Open::default());
        xid
    }

    pub(crate) fn snapshot(&self) -> Snapshot {
        let xmax = self.completed + 1;
        let running: Vec<u64> = self.open.keys().copied().filter(|xid| *xid < xmax).collect();
        let xmin = self.open.keys().next().copied().unwrap_or(xmax).min(xmax);
        Snapshot { xmin, xmax, running }
    }

    /// Tries to take a lock.
    pub(crate) fn lock(&mut self, xid: u64, key: &LockKey) -> Lock {
        let holder = self.holders.get(key).copied().filter(|holder| *holder != xid);
        if let Some(holder) = holder {
            let mut at = Some(holder);
            while let Some(next) = at {
                if next == xid {
                    return Lock::Deadlock;
                }
                at = self.open.get(&next).and_then(|open| open.waits_for);
            }
            if let Some(open) = self.open.get_mut(&xid) {
                open.waits_for = Some(holder);
            }
            return Lock::Wait;
        }
        if let Some(open) = self.open.get_mut(&xid) {
            open.waits_for = None;
            open.locks.insert(key.clone());
            self.holders.insert(key.clone(), xid);
        }
        Lock::Held
    }

    /// Returns the newest version of a row that is committed or of this transaction.
    pub(crate) fn newest(&self, table: usize, id: &str, xid: u64) -> Option<&Row> {
        let versions = self.rows.get(&(table, id.to_owned()))?;
        let seen = |version: &&Version| version.xid == xid || !self.open.contains_key(&version.xid);
        versions.iter().rev().find(seen)?.row.as_ref()
    }

    /// Returns the version of a row that stood before this transaction wrote it.
    pub(crate) fn before(&self, table: usize, id: &str, xid: u64) -> Option<&Row> {
        let versions = self.rows.get(&(table, id.to_owned()))?;
        versions.iter().rev().find(|version| version.xid != xid && !self.open.contains_key(&version.xid))?.row.as_ref()
    }

    /// Returns the version of a row that a snapshot sees.
    pub(crate) fn seen<'a>(versions: &'a [Version], snapshot: &Snapshot) -> Option<&'a Row> {
        versions.iter().rev().find(|version| snapshot.sees(version.xid))?.row.as_ref()
    }

    /// Puts a new version of a row on top.
    pub(crate) fn write(&mut self, table: usize, id: &str, xid: u64, row: Option<Row>) {
        let key = (table, id.to_owned());
        if let Some(tx) = row.as_ref().and_then(|row| self.tables[table].tx_of(row)) {
            let stamps = self.stamps.entry(key.clone()).or_default();
            let place = stamps.values().map(|(place, _)| place + 1).max().unwrap_or(0);
            for id in tx.ids() {
                stamps.entry(id.to_owned()).or_insert((place, xid));
            }
        }
        let versions = self.rows.entry(key.clone()).or_default();
        if versions.last().is_some_and(|last| last.xid == xid) {
            versions.pop();
        }
        // Every snapshot is taken and used at once: what lies below the newest visible version is seen by nobody.
        while versions.len() > 1 && !self.open.contains_key(&versions[1].xid) {
            versions.remove(0);
        }
        versions.push(Version { xid, row });
        if let Some(open) = self.open.get_mut(&xid) {
            open.written.push(key);
        }
    }

    /// Inserts a record.
    pub(crate) fn record(&mut self, key: (String, String), record: Record) {
        if let Some(open) = self.open.get_mut(&record.xid) {
            open.records.push(key.clone());
        }
        self.records.insert(key, record);
    }

    /// Writes a transaction's commit into the log; `false` where it is gone. Readers do not see it yet.
    pub(crate) fn log_commit(&mut self, xid: u64, at: Micros, done_us: u64) -> bool {
        let Some(open) = self.open.get_mut(&xid) else { return false };
        open.logged = true;
        if open.changes.is_empty() {
            // Nothing is decoded of it.
            return true;
        }
        let (changes, edits) = (std::mem::take(&mut open.changes), std::mem::take(&mut open.edits));
        for key in &open.written {
            let row = self.rows.get(key).and_then(|versions| versions.last()?.row.as_ref());
            let texts = row.into_iter().flatten().flatten();
            self.words.extend(texts.flat_map(|text| words_of(text)).map(str::to_owned));
        }
        self.end += 64 + 96 * changes.len() as u64;
        let lsn = Lsn::new(self.end);
        self.log.push(Committed { lsn, xid: Xid::new(xid), at, changes: Arc::new(changes), edits, done_us });
        true
    }

    /// Ends a transaction: readers see what it logged, and nothing of it otherwise; its locks are free.
    pub(crate) fn finish(&mut self, xid: u64) {
        let Some(open) = self.open.remove(&xid) else { return };
        if !open.logged {
            for key in open.written {
                if let Some(versions) = self.rows.get_mut(&key) {
                    versions.retain(|version| version.xid != xid);
                }
                if let Some(stamps) = self.stamps.get_mut(&key) {
                    stamps.retain(|_, (_, by)| *by != xid);
                }
            }
            for key in open.records.into_iter().filter(|_| !self.keeps_records) {
                self.records.remove(&key);
            }
        }
        for key in open.locks {
            self.holders.remove(&key);
        }
        self.completed = self.completed.max(xid);
    }

    /// Loses everything that is not in the log.
    pub(crate) fn crash(&mut self) {
        let open: Vec<u64> = self.open.keys().copied().collect();
        for xid in open {
            self.finish(xid);
        }
        if let Some(slot) = &mut self.slot {
            (slot.confirmed, slot.active) = (slot.saved, None);
        }
        self.life += 1;
        self.up = false;
    }
}

/// What every reader of a restored database sees.
const FROZEN_XID: u64 = 2;
/// Where the numbers of a database begin that was restored elsewhere; each time lower, so that none comes twice.
const RESTORED_XID: u64 = 2_000_000_000;

impl State {
    /// Is restored into another cluster, after a crash: rows and records as they were, numbers from elsewhere, no slot.
    pub(crate) fn restore_elsewhere(&mut self) {
        for versions in self.rows.values_mut() {
            versions.drain(..versions.len().saturating_sub(1));
            versions.iter_mut().for_each(|version| version.xid = FROZEN_XID);
        }
        self.restored += 1;
        self.next_xid = RESTORED_XID - self.restored * 1_000_000;
        self.completed = self.next_xid - 1;
        self.slot = None;
    }
}

#[cfg(test)]
mod tests {
    use super::{super::table, *};

    fn state() -> State {
        State::new(table::all())
    }

    fn row(text: &str) -> Row {
        vec![Some("1".into()), Some("acme".into()), Some(text.into()), None, None, None]
    }

    #[test]
    fn a_commit_is_in_the_log_before_readers_see_it_house_6() {
        let mut state = state();
        let (first, second) = (state.begin(), state.begin());
        state.write(1, "1", second, Some(row("a")));
        assert!(state.log_commit(second, Micros(0), 0));
        assert!(State::seen(&state.rows[&(1, "1".into())], &state.snapshot()).is_none());
        state.finish(second);
        let snapshot = state.snapshot();
        assert!(State::seen(&state.rows[&(1, "1".into())], &snapshot).is_some());
        assert!(!snapshot.sees(first) && snapshot.sees(second), "they end out of order");
        assert_eq!(snapshot.visibility().to_string(), format!("{first}:{}:{first}", second + 1));
    }

    #[test]
    fn a_crash_keeps_what_is_in_the_log_and_nothing_else_sim_01() {
        let mut state = state();
        let (logged, lost) = (state.begin(), state.begin());
        state.write(1, "1", logged, Some(row("a")));
        state.write(1, "2", lost, Some(row("b")));
        assert!(matches!(state.lock(lost, &LockKey::Row(1, "2".into())), Lock::Held));
        state.log_commit(logged, Micros(0), 0);
        state.crash();
        let snapshot = state.snapshot();
        assert!(State::seen(&state.rows[&(1, "1".into())], &snapshot).is_some());
        assert!(State::seen(&state.rows[&(1, "2".into())], &snapshot).is_none());
        let next = state.begin();
        assert!(matches!(state.lock(next, &LockKey::Row(1, "2".into())), Lock::Held), "locks are free");
    }

    #[test]
    fn two_that_wait_for_each_other_are_told_so_mut_08() {
        let mut state = state();
        let (one, two) = (state.begin(), state.begin());
        let key = |id: &str| LockKey::Row(0, id.to_owned());
        assert!(matches!(state.lock(one, &key("a")), Lock::Held));
        assert!(matches!(state.lock(two, &key("b")), Lock::Held));
        assert!(matches!(state.lock(one, &key("b")), Lock::Wait));
        assert!(matches!(state.lock(two, &key("a")), Lock::Deadlock));
        state.finish(two);
        assert!(matches!(state.lock(one, &key("b")), Lock::Held));
    }
}
