//! What capture promises: nothing lost or doubled, order kept, acknowledgements never above what is durable.
//!
//! Law: the expected activities are mapped from the source's log in one go, without parts, crashes or restarts; what copies
//! brought is judged by the rows that it leads to.

use std::collections::{BTreeMap, BTreeSet};

use antiphon_engine::{Mapped, Mapper, SealKey};
use antiphon_model::{Action, Activity, ActivityId, Change, Checkpoint, Commit, Transaction};

use super::Violation;
use crate::{Committed, History};

/// How a watermark of a copy begins.
const WATERMARK: &[u8] = b"{\"watermark\":";

/// Every change that committed after the slot began is in the log, once, as it was (LOG-01).
pub fn complete(history: &History) -> Vec<Violation> {
    let expected = expected(history);
    let copies: BTreeSet<u64> =
        history.committed.iter().filter(|one| watermark(one)).map(|one| one.lsn.as_u64()).collect();
    // What marks the end of a transaction depends on the parts in which it came.
    let ends = |activity: &Activity| activity.action == Action::Mark && activity.tx.is_none();
    let of_stream = |activity: &&Activity| !copies.contains(&activity.commit.lsn.as_u64()) && !ends(activity);
    let found: Vec<&Activity> = history.log.iter().filter(of_stream).collect();
    let blank = |activity: &Activity| {
        let commit = Commit { last: false, ..activity.commit };
        Activity { id: ActivityId::new(0), schema: 0, commit, ..activity.clone() }
    };
    for (index, wanted) in expected.iter().enumerate() {
        match found.get(index) {
            None => {
                return vec![Violation::new(
                    "no activity is lost",
                    format!("{} of {}: {wanted:?}", index, expected.len()),
                )];
            }
            Some(found) if blank(found) != blank(wanted) => {
                let found = format!("place {index}: wanted {wanted:?}, found {found:?}");
                return vec![Violation::new("no activity is lost or doubled", found)];
            }
            Some(_) => {}
        }
    }
    let more = found.get(expected.len());
    more.map(|more| Violation::new("no activity is doubled", format!("{more:?}"))).into_iter().collect()
}

/// Maps the source's whole log, in one go.
fn expected(history: &History) -> Vec<Activity> {
    let mut mapper = Mapper::new(&history.entities, Vec::new()).believing(SealKey::new(vec![7; 32]));
    let mut mapped = Mapped::default();
    for committed in history.committed.iter().filter(|one| one.lsn > history.slot_from && !watermark(one)) {
        let transaction = Transaction {
            commit_lsn: committed.lsn,
            xid: committed.xid,
            committed_at: committed.at,
            first_ordinal: 0,
            changes: committed.changes.to_vec(),
            last: true,
        };
        while let Some((relation, ..)) = mapper.unknown_shape(&transaction.changes) {
            if mapper.learn(&relation, 1).is_err() {
                return Vec::new();
            }
        }
        mapper.map(&transaction, &Checkpoint::start(), &mut mapped);
    }
    mapped.activities
}

/// Tells whether a transaction is a watermark of a copy.
fn watermark(committed: &Committed) -> bool {
    matches!(&committed.changes[..], [Change::Message { content, .. }] if content.starts_with(WATERMARK))
}

/// The last activity of a transaction in each organisation says so, and no other does (protocol 4).
pub fn ends_marked(history: &History) -> Vec<Violation> {
    let mut last: BTreeMap<(u64, &str), &Activity> = BTreeMap::new();
    let mut violations = Vec::new();
    for activity in &history.log {
        let before = last.insert((activity.commit.lsn.as_u64(), activity.org.as_str()), activity);
        violations.extend(before.filter(|before| before.commit.last).map(|before| {
            Violation::new("the end of a transaction is marked", format!("{before:?} is not the last: {activity:?}"))
        }));
    }
    violations.extend(
        last.values()
            .filter(|last| !last.commit.last)
            .map(|last| Violation::new("the end of a transaction is marked", format!("{last:?} is the last"))),
    );
    violations.truncate(1);
    violations
}

/// Ids rise without a gap, and with them positions: so order holds for every row and every organisation (LOG-03).
pub fn in_order(history: &History) -> Vec<Violation> {
    let place = |activity: &Activity| (activity.commit.lsn, activity.commit.seq);
    let wrong = history.log.windows(2).find(|pair| {
        let same = pair[0].commit.lsn == pair[1].commit.lsn;
        pair[1].id.as_u64() != pair[0].id.as_u64() + 1
            || place(&pair[1]) < place(&pair[0])
            || (same && pair[0].commit.xid != pair[1].commit.xid)
    });
    let found = wrong.map(|pair| Violation::new("order is kept", format!("{:?} before {:?}", pair[0], pair[1])));
    found.into_iter().collect()
}

/// The source was never told a position that a crash could still have taken back (LOG-06).
pub fn acknowledged_is_durable(history: &History) -> Vec<Violation> {
    let safe_at = |tick: u64| {
        let before = history.durable.partition_point(|durable| durable.tick < tick);
        history.durable[..before].iter().map(|durable| durable.lsn).max().unwrap_or_default()
    };
    let early = history.acknowledged.iter().find(|told| told.lsn > safe_at(told.tick));
    let found = early.map(|told| {
        let found = format!("{} was told when {} was safe", told.lsn, safe_at(told.tick));
        Violation::new("acknowledged is never above durable", found)
    });
    found.into_iter().collect()
}

/// The log, replayed from its beginning, gives the rows of the source (copies included, CAP-20).
pub fn replays_to_rows(history: &History) -> Vec<Violation> {
    let mut replayed: BTreeMap<(&str, &str, &str), &str> = BTreeMap::new();
    for activity in &history.log {
        let key = (activity.org.as_str(), activity.entity_type.as_str(), activity.entity_id.as_deref().unwrap_or(""));
        match (activity.action, activity.image.as_deref()) {
            (Action::Create | Action::Update, Some(image)) => drop(replayed.insert(key, image)),
            (Action::Delete, _) => drop(replayed.remove(&key)),
            _ => {}
        }
    }
    let rows: BTreeMap<(&str, &str, &str), &str> = history
        .rows
        .iter()
        .map(|row| ((row.org.as_str(), row.entity_type.as_str(), row.entity_id.as_str()), row.image.as_str()))
        .collect();
    let mut keys: BTreeSet<_> = rows.keys().copied().collect();
    keys.extend(replayed.keys().copied());
    let differs = keys.into_iter().find(|key| rows.get(key) != replayed.get(key));
    let found = differs.map(|key| {
        let found = format!("{key:?}: the source has {:?}, the log {:?}", rows.get(&key), replayed.get(&key));
        Violation::new("the log replays to the rows", found)
    });
    found.into_iter().collect()
}
